//! Scenarios, run for real: a daemon on a socket, and each party as a process that uses its public interfaces only.
//!
//! What a scenario is stands in [`twinway_scenarios::scenario`]; here are the processes. The director ([`run`]) starts
//! the daemon and the parties, tells each party what to do when it is its turn, and judges what came of it. A party
//! ([`party`]) reads what it is told from its standard input, and answers by itself what the daemon asks of it.

mod answering;
mod exchange;
mod judge;
mod order;
mod party;
mod picture;
mod run;
mod stage;

pub use judge::{FlowVerdict, Verdict};
pub use order::{Done, Order, Told as PartyTold};
pub use party::party;
pub use picture::picture;
pub use run::{ActDone, Outcome, RunOptions, Told, run};
