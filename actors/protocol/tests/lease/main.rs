//! The proof of the sync leases: the fourteen invariants over made-up histories of a whole world, the table of states
//! and events, every row of the design's table of events, and the proof that the proof can fail.

mod actions;
mod gate;
mod histories;
#[cfg(feature = "mutations")]
mod proof;
mod table;
mod world;
