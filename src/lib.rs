//! Twinway joins virtual worlds to the physical one: the integration enabler of ITU-T FGMV-29.
//!
//! - [`Enabler`]: the enabler inside a host program, with a typed view for each kind of external system.
//! - [`daemon`]: the enabler as a process of its own, with its [`gateway`] and its [`journal`].
//! - [`history`]: what twins were.
//! - `testkit`: looks for an order of messages in which a flow of yours breaks (feature `testkit`).
//! - [`scenario`]: use cases that run for real, each party a process of its own.
//! - [`client`]: for external systems that talk to a daemon.

pub mod client;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod enabler;
pub mod gateway;
pub mod history;
pub mod journal;
pub mod monitor;
pub mod observations;
pub mod outside;
pub mod scenario;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod trace;

pub use enabler::Enabler;
pub use twinway_actors as actors;
pub use twinway_protocol as protocol;
pub use twinway_scenarios as scenarios;
