//! Where signals go: snapshots to readers, requests and events to external systems.

use twinway_protocol::{EntityId, WireSet};

/// Takes what leaves the actors. Called on the arbiters' threads, after what the signal shows is durable; it
/// must not block. Signals of one entity come in the order in which it gave them.
pub trait Outlet<W: WireSet>: Send + Sync + 'static {
    /// `from` signals.
    fn signal(&self, from: EntityId, signal: W::Signal);
}

/// Drops every signal: for systems that have none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOutlet;

impl<W: WireSet> Outlet<W> for NoOutlet {
    fn signal(&self, _from: EntityId, _signal: W::Signal) {}
}
