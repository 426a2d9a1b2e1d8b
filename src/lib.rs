//! Twinway joins virtual worlds to the physical one: the integration enabler of ITU-T FGMV-29.

pub mod journal;

pub use twinway_actors as actors;
pub use twinway_protocol as protocol;
