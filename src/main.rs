//! The `twinway` command: the daemon, and tools that talk to it.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
