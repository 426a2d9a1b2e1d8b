//! The runtime of Twinway on actix.

pub mod codec;
pub mod port;
pub mod runtime;
