//! The proof of the sync leases: the fourteen invariants over made-up histories of a whole world, the table of states
//! and events, every row of the design's table of events, and the proof that the proof can fail.

#[cfg(test)]
mod actions;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod live;
#[cfg(test)]
mod lives;
#[cfg(all(test, feature = "mutations"))]
mod proof;
#[cfg(test)]
mod retired;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod table;
#[cfg(test)]
mod taken;
#[cfg(test)]
mod terms;
#[cfg(test)]
mod world;
