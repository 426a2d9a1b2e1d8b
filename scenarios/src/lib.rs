//! Flows as data, simulated worlds, and the property-test kit. It is empty so far.
//!
//! It will hold the operation flows of FGMV-28 and FGMV-29 as partial orders of steps, the rule that checks a trace
//! against one, and a world in which a driver delivers the messages of `twinway-actors`' entities in any order that
//! their links allow, with faults: drop, duplicate, delay, panic, crash. Messages know their steps already
//! ([`twinway_protocol::Step`]), and traces their causes ([`twinway_protocol::trace::TraceEvent`]).
