//! Flows as data, simulated worlds, and the property-test kit.
//!
//! [`flow`] has the operation flows of FGMV-28 and FGMV-29 as files that people read, and loads a user's own.
//! Messages know their steps ([`twinway_protocol::Step`]), traces their causes ([`twinway_protocol::trace::TraceEvent`]),
//! and [`twinway_protocol::flow::Checker`] judges one by the other.
//!
//! A [`World`](world::World) runs the behaviours that production runs on one thread, in virtual time. Every message is
//! held until a [`Driver`](driver::Driver) lets it arrive, in an order that its link promises ([`link`]); faults are
//! actions like deliveries ([`fault`]). A run is judged by [rules](rule::Rule), and repeated by its schedule.
//!
//! [`scenario`] has the use cases of FGMV-28 as files too: who takes part, and who does what. Those run against a daemon.
//! [`conformance`] says of every clause of the texts what was executed that answers it.

pub mod conformance;
pub mod driver;
pub mod explore;
pub mod fault;
pub mod flow;
pub mod link;
pub mod outside;
pub mod regression;
pub mod render;
pub mod rule;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod story;
pub mod testkit;
pub mod world;
pub mod worlds;
