//! Flows as data, simulated worlds, and the property-test kit.
//!
//! [`flow`] has the operation flows of FGMV-28 and FGMV-29 as files that people read, and loads a user's own.
//! Messages know their steps ([`twinway_protocol::Step`]), traces their causes ([`twinway_protocol::trace::TraceEvent`]),
//! and [`twinway_protocol::flow::Checker`] judges one by the other.

pub mod flow;
