//! What links promise: only orders that a message's link allows are explored.

use std::collections::BTreeMap;

/// The order in which a link delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// No message arrives before another one to the same entity that was sent earlier, as far as anybody could know.
    /// So it is within a process.
    #[default]
    Causal,
    /// What one entity sends to another arrives in the order of sending; nothing is promised between pairs. So it is
    /// over one connection.
    Fifo,
    /// Nothing is promised. So it is with requests of their own.
    Unordered,
}

/// What a link promises. In each order, control messages may overtake data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// In which order it delivers.
    pub order: Order,
    /// Whether a message may arrive twice, if the faults of the run allow it.
    pub duplicates: bool,
    /// Whether a message may be lost, if the faults of the run allow it.
    pub loses: bool,
}

impl Promise {
    /// Links within one process, as the runtime has them.
    pub const IN_PROCESS: Self = Self { order: Order::Causal, duplicates: false, loses: false };
    /// A connection whose break may cost what is under way.
    pub const SESSION: Self = Self { order: Order::Fifo, duplicates: false, loses: true };
    /// Requests that each find their own way, and may be repeated.
    pub const REQUESTS: Self = Self { order: Order::Unordered, duplicates: true, loses: true };
}

/// What the links of a world promise.
#[derive(Clone, Debug)]
pub struct Links {
    inside: Promise,
    outside: Promise,
    pairs: BTreeMap<(u8, u8), Promise>,
}

impl Default for Links {
    /// Between entities as in one process; from callers outside by requests.
    fn default() -> Self {
        Self { inside: Promise::IN_PROCESS, outside: Promise::REQUESTS, pairs: BTreeMap::new() }
    }
}

impl Links {
    /// The same, but between any two entities like this.
    #[must_use]
    pub fn inside(mut self, promise: Promise) -> Self {
        self.inside = promise;
        self
    }

    /// The same, but from callers and external systems like this.
    #[must_use]
    pub fn outside(mut self, promise: Promise) -> Self {
        self.outside = promise;
        self
    }

    /// The same, but from entities of one kind of mailbox to those of another like this.
    #[must_use]
    pub fn between(mut self, from: u8, to: u8, promise: Promise) -> Self {
        self.pairs.insert((from, to), promise);
        self
    }

    pub(crate) fn promise(&self, from: u8, to: u8) -> Promise {
        if !self.pairs.is_empty()
            && let Some(promise) = self.pairs.get(&(from, to))
        {
            return *promise;
        }
        if from == twinway_actors::runtime::CALLER_KIND { self.outside } else { self.inside }
    }
}
