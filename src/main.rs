//! The `twinway` command: the daemon, and tools that talk to it.

mod cli;

use std::process::ExitCode;

/// Requests and messages are made on one thread and freed on another, at which the system's allocator is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
