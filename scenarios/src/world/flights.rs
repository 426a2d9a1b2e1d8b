//! Messages under way, and which of them may arrive next.

use twinway_protocol::{EntityId, Lane, Meta, WireSet};

use crate::link::{Order, Promise};

/// How many messages under way the driver chooses among. What is sent beyond waits, in the order of sending, until
/// one of them has arrived.
pub(crate) const FLIGHTS_MAX: usize = 128;

/// A set of messages under way, by slot.
pub(crate) type Slots = u128;

/// What somebody knows: which messages are under way, and how late it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    pub(crate) slots: Slots,
    /// Microseconds since the run began.
    pub(crate) us: u64,
}

/// One message under way.
pub(crate) struct Flight<W> {
    pub(crate) meta: Meta,
    pub(crate) wire: W,
    /// The shell that it is for.
    pub(crate) to: u32,
    /// The count of its sending: what names it, whatever else is under way.
    pub(crate) sent: u64,
    pub(crate) promise: Promise,
    /// When it was sent.
    pub(crate) us: u64,
    control: bool,
    /// What was under way, and known to its sender, when it was sent.
    before: Slots,
    /// The same message again, if it may come twice.
    pub(crate) copy: Option<Box<W>>,
}

/// All messages under way.
pub(crate) struct Flights<W> {
    slots: Vec<Option<Flight<W>>>,
    free: Vec<u8>,
    /// Slots in the order of sending.
    order: Vec<u8>,
    control: Slots,
    overflow: std::collections::VecDeque<Flight<W>>,
    sent: u64,
}

impl<W: WireSet> Flights<W> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            order: Vec::new(),
            control: 0,
            overflow: std::collections::VecDeque::new(),
            sent: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        for slot in self.order.drain(..) {
            if let Some(flight) = self.slots.get_mut(usize::from(slot)) {
                *flight = None;
            }
            self.free.push(slot);
        }
        self.overflow.clear();
        self.control = 0;
        // Slots are given from the lowest on, so that a run does not depend on the run before.
        self.free.sort_unstable_by(|a, b| b.cmp(a));
    }

    pub(crate) fn restart(&mut self) {
        self.clear();
        self.sent = 0;
    }

    /// Slots in the order of sending.
    pub(crate) fn order(&self) -> &[u8] {
        &self.order
    }

    pub(crate) fn get(&self, slot: u8) -> Option<&Flight<W>> {
        self.slots.get(usize::from(slot))?.as_ref()
    }

    /// Puts a message under way whose sender knew of `known`. Gives its slot as a set, for the sender to know of.
    pub(crate) fn send(
        &mut self,
        meta: Meta,
        (wire, copy): (W, Option<Box<W>>),
        to: u32,
        promise: Promise,
        known: Known,
    ) -> Slots {
        self.sent += 1;
        let control = wire.lane() == Lane::Control;
        let Known { slots: before, us } = known;
        let flight = Flight { meta, wire, to, sent: self.sent, promise, us, control, before, copy };
        if !self.overflow.is_empty() || self.order.len() >= FLIGHTS_MAX {
            self.overflow.push_back(flight);
            return 0;
        }
        self.enter(flight)
    }

    fn enter(&mut self, flight: Flight<W>) -> Slots {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                // There are at most FLIGHTS_MAX.
                (self.slots.len() - 1) as u8
            }
        };
        let bit = 1 << slot;
        if flight.control {
            self.control |= bit;
        }
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = Some(flight);
        }
        self.order.push(slot);
        bit
    }

    /// Takes a message out. From now on nobody's `before` names its slot; knowledge that shells keep is the caller's.
    pub(crate) fn take(&mut self, slot: u8) -> Option<(Flight<W>, Slots)> {
        let flight = self.slots.get_mut(usize::from(slot))?.take()?;
        let bit: Slots = 1 << slot;
        self.order.retain(|other| *other != slot);
        self.control &= !bit;
        for other in &self.order {
            if let Some(Some(other)) = self.slots.get_mut(usize::from(*other)) {
                other.before &= !bit;
            }
        }
        self.free.push(slot);
        let before = flight.before;
        self.admit();
        Some((flight, before))
    }

    /// Puts the copy of a message under way, behind everything else; gives whom it is for.
    pub(crate) fn double(&mut self, slot: u8) -> Option<EntityId> {
        let flight = self.slots.get_mut(usize::from(slot))?.as_mut()?;
        let wire = *flight.copy.take()?;
        let (meta, to, promise) = (flight.meta, flight.to, flight.promise);
        let known = Known { slots: flight.before, us: flight.us };
        self.send(meta, (wire, None), to, promise, known);
        Some(meta.to)
    }

    /// What waited for a slot goes behind everything that is under way already.
    fn admit(&mut self) {
        while self.order.len() < FLIGHTS_MAX
            && let Some(mut flight) = self.overflow.pop_front()
        {
            flight.before = self.order.iter().fold(0, |slots, slot| slots | (1 << slot));
            self.enter(flight);
        }
    }

    /// Everything that is under way to a shell; from the slots in `order`.
    pub(crate) fn masks(&self, to: &mut [Slots]) {
        to.fill(0);
        for slot in &self.order {
            if let Some(flight) = self.get(*slot)
                && let Some(mask) = to.get_mut(flight.to as usize)
            {
                *mask |= 1 << *slot;
            }
        }
    }

    /// Whether a message must wait for another one; `to` is what is under way to its receiver.
    pub(crate) fn must_wait(&self, flight: &Flight<W>, to: Slots) -> bool {
        // Data waits for control that was sent before; control overtakes data.
        let lane = if flight.control { self.control } else { Slots::MAX };
        let rivals = flight.before & to & lane;
        match flight.promise.order {
            Order::Causal => rivals != 0,
            Order::Fifo => rivals != 0 && self.any_from(rivals, flight),
            Order::Unordered => false,
        }
    }

    fn any_from(&self, mut rivals: Slots, of: &Flight<W>) -> bool {
        while rivals != 0 {
            let slot = rivals.trailing_zeros() as u8;
            rivals &= rivals - 1;
            if self.get(slot).is_some_and(|rival| rival.meta.from == of.meta.from) {
                return true;
            }
        }
        false
    }
}
