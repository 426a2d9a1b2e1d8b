//! What the actors ask of the world. Each port is a trait with a memory adapter and one contract suite.

pub mod journal;
pub mod link;
pub mod outlet;
