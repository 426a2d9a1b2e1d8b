//! The searched model of the sync leases: the real table, the gates and devices of the lease proof and users, in worlds
//! so small that every order of events is tried. Messages wait as long as they like, overtake each other where nothing
//! orders them, are doubled and lost; a daemon dies with all that was not durable. Time is logical: it goes on only by
//! an action, to the next moment at which something is due.

#[cfg(test)]
#[path = "../lease/gate.rs"]
#[expect(
    dead_code,
    reason = "the histories of the lease proof silence a device; here its messages are lost one by one"
)]
mod gate;
#[cfg(test)]
mod leases;
#[cfg(all(test, feature = "mutations"))]
mod proof;
#[cfg(test)]
mod state;
#[cfg(test)]
mod worlds;
