//! Links: how messages get from one actor to another.

use std::sync::Arc;

use twinway_protocol::{Meta, WireSet};

use crate::runtime::Arrival;

/// Carries messages between the actors of one system. Without one, a message arrives at once, in the order of
/// sending (causal within a lane). A link of its own can hold, reorder, double or lose them, or take them elsewhere.
pub trait Link<W: WireSet>: Send + Sync + 'static {
    /// Carries one message: now or later, `arrival` takes it in. Called on the sender's thread; it must not block.
    fn carry(&self, meta: Meta, wire: W, arrival: Arrival<W>);
}

/// A link, or none where messages arrive at once.
pub(crate) type OwnLink<W> = Option<Arc<dyn Link<W>>>;
