//! Messages under way, and which of them may arrive next.

use std::collections::VecDeque;

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

/// What the driver looks at of a message under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) from: EntityId,
    /// The shell that it is for.
    pub(crate) to: u32,
    /// The count of its sending: what names it, whatever else is under way.
    pub(crate) sent: u64,
    pub(crate) promise: Promise,
    /// What was under way, and known to its sender, when it was sent; and when that was.
    pub(crate) known: Known,
    control: bool,
    /// Something newer was let past: it goes when nothing else is left, unless the driver picks it.
    pub(crate) late: bool,
    /// Whether there is a copy of it.
    pub(crate) double: bool,
}

/// What it carries.
pub(crate) struct Load<W> {
    pub(crate) meta: Meta,
    pub(crate) wire: W,
    /// The same message again, if it may come twice.
    copy: Option<Box<W>>,
}

/// All messages under way.
pub(crate) struct Flights<W> {
    flights: Vec<Flight>,
    loads: Vec<Option<Load<W>>>,
    free: Vec<u8>,
    /// Slots in the order of sending.
    order: Vec<u8>,
    control: Slots,
    /// What is under way to a shell.
    towards: Vec<Slots>,
    overflow: VecDeque<(Flight, Load<W>)>,
    sent: u64,
}

impl<W: WireSet> Flights<W> {
    pub(crate) fn new() -> Self {
        Self {
            flights: Vec::new(),
            loads: Vec::new(),
            free: Vec::new(),
            order: Vec::new(),
            control: 0,
            towards: Vec::new(),
            overflow: VecDeque::new(),
            sent: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        for slot in self.order.drain(..) {
            if let Some(load) = self.loads.get_mut(usize::from(slot)) {
                *load = None;
            }
            self.free.push(slot);
        }
        self.overflow.clear();
        self.control = 0;
        self.towards.fill(0);
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

    pub(crate) fn get(&self, slot: u8) -> Option<&Flight> {
        self.flights.get(usize::from(slot))
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
        let (from, sent, double) = (meta.from, self.sent, copy.is_some());
        let flight = Flight { from, to, sent, promise, known, control, late: false, double };
        let load = Load { meta, wire, copy };
        if !self.overflow.is_empty() || self.order.len() >= FLIGHTS_MAX {
            self.overflow.push_back((flight, load));
            return 0;
        }
        self.enter(flight, load)
    }

    fn enter(&mut self, flight: Flight, load: Load<W>) -> Slots {
        let to = flight.to as usize;
        let slot = match self.free.pop() {
            Some(slot) => {
                if let (Some(a), Some(b)) =
                    (self.flights.get_mut(usize::from(slot)), self.loads.get_mut(usize::from(slot)))
                {
                    *a = flight;
                    *b = Some(load);
                }
                slot
            }
            None => {
                self.flights.push(flight);
                self.loads.push(Some(load));
                // There are at most FLIGHTS_MAX.
                (self.flights.len() - 1) as u8
            }
        };
        let bit = 1 << slot;
        if flight.control {
            self.control |= bit;
        }
        if self.towards.len() <= to {
            self.towards.resize(to + 1, 0);
        }
        if let Some(towards) = self.towards.get_mut(to) {
            *towards |= bit;
        }
        self.order.push(slot);
        bit
    }

    /// Takes a message out. From now on nothing under way knows of its slot; what shells know is the caller's.
    pub(crate) fn take(&mut self, slot: u8) -> Option<(Flight, Load<W>)> {
        let load = self.loads.get_mut(usize::from(slot))?.take()?;
        let flight = *self.flights.get(usize::from(slot))?;
        let bit: Slots = 1 << slot;
        self.order.retain(|other| *other != slot);
        self.control &= !bit;
        if let Some(towards) = self.towards.get_mut(flight.to as usize) {
            *towards &= !bit;
        }
        // Of those that are not under way it does not matter.
        for other in &mut self.flights {
            other.known.slots &= !bit;
        }
        self.free.push(slot);
        if !self.overflow.is_empty() {
            self.admit();
        }
        Some((flight, load))
    }

    /// Puts the copy of a message under way, behind everything else; gives whom it is for.
    pub(crate) fn double(&mut self, slot: u8) -> Option<EntityId> {
        let load = self.loads.get_mut(usize::from(slot))?.as_mut()?;
        let (meta, wire) = (load.meta, *load.copy.take()?);
        let flight = self.flights.get_mut(usize::from(slot))?;
        flight.double = false;
        let (to, promise, known) = (flight.to, flight.promise, flight.known);
        self.send(meta, (wire, None), to, promise, known);
        Some(meta.to)
    }

    /// What waited for a slot goes behind everything that is under way already.
    fn admit(&mut self) {
        while self.order.len() < FLIGHTS_MAX
            && let Some((mut flight, load)) = self.overflow.pop_front()
        {
            flight.known.slots = self.order.iter().fold(0, |slots, slot| slots | (1 << slot));
            self.enter(flight, load);
        }
    }

    /// Something newer goes before this message.
    pub(crate) fn let_past(&mut self, slot: u8) {
        if let Some(flight) = self.flights.get_mut(usize::from(slot)) {
            flight.late = true;
        }
    }

    /// Whether a message must wait for another one to the same entity.
    pub(crate) fn must_wait(&self, flight: &Flight) -> bool {
        let towards = self.towards.get(flight.to as usize).copied().unwrap_or_default();
        // Data waits for control that was sent before; control overtakes data.
        let lane = if flight.control { self.control } else { Slots::MAX };
        let rivals = flight.known.slots & towards & lane;
        match flight.promise.order {
            Order::Causal => rivals != 0,
            Order::Fifo => rivals != 0 && self.any_from(rivals, flight.from),
            Order::Unordered => false,
        }
    }

    fn any_from(&self, mut rivals: Slots, from: EntityId) -> bool {
        while rivals != 0 {
            let slot = rivals.trailing_zeros() as u8;
            rivals &= rivals - 1;
            if self.get(slot).is_some_and(|rival| rival.from == from) {
                return true;
            }
        }
        false
    }
}
