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
struct Load<W> {
    meta: Meta,
    /// None: nothing is under way in this slot.
    wire: Option<W>,
    /// The same message again, if it may come twice.
    copy: Option<Box<W>>,
}

/// After so many arrivals their slots are taken out of what everybody knows, all at once, and given again.
const STALE_MAX: u32 = 16;

/// All messages under way.
pub(crate) struct Flights<W> {
    flights: Vec<Flight>,
    loads: Vec<Load<W>>,
    /// How many slots were ever given in this run: those behind are nobody's.
    given: usize,
    free: Vec<u8>,
    /// Slots of what has arrived, of which somebody may still know. They stand in nobody's way, and are not given again
    /// before nobody knows of them.
    stale: Slots,
    /// Slots in the order of sending.
    order: Vec<u8>,
    control: Slots,
    late: Slots,
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
            given: 0,
            free: Vec::new(),
            stale: 0,
            order: Vec::new(),
            control: 0,
            late: 0,
            towards: Vec::new(),
            overflow: VecDeque::new(),
            sent: 0,
        }
    }

    /// Nothing is under way, and nobody knows of anything.
    pub(crate) fn clear(&mut self) {
        for slot in self.order.drain(..) {
            if let Some(load) = self.loads.get_mut(usize::from(slot)) {
                (load.wire, load.copy) = (None, None);
            }
        }
        self.overflow.clear();
        (self.control, self.late, self.stale, self.given) = (0, 0, 0, 0);
        self.free.clear();
        self.towards.fill(0);
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

    /// Puts a message under way, which is taken out of `wire`, and whose sender knew of `known`. Gives its slot as a
    /// set, for the sender to know of.
    pub(crate) fn send(
        &mut self,
        meta: Meta,
        (wire, copy): (&mut Option<W>, Option<Box<W>>),
        to: u32,
        promise: Promise,
        known: Known,
    ) -> Slots {
        self.sent += 1;
        let control = wire.as_ref().is_some_and(|wire| wire.lane() == Lane::Control);
        let (from, sent, double) = (meta.from, self.sent, copy.is_some());
        let flight = Flight { from, to, sent, promise, known, control, late: false, double };
        if !self.overflow.is_empty() || self.order.len() >= FLIGHTS_MAX {
            self.overflow.push_back((flight, Load { meta, wire: wire.take(), copy }));
            return 0;
        }
        self.enter(flight, meta, wire, copy)
    }

    fn enter(&mut self, flight: Flight, meta: Meta, wire: &mut Option<W>, copy: Option<Box<W>>) -> Slots {
        let to = flight.to as usize;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.given += 1;
            // Who sends has seen to it that there is one of the FLIGHTS_MAX.
            (self.given - 1) as u8
        });
        match (self.flights.get_mut(usize::from(slot)), self.loads.get_mut(usize::from(slot))) {
            (Some(place), Some(load)) => {
                *place = flight;
                (load.meta, load.copy) = (meta, copy);
                load.wire = wire.take();
            }
            _ => {
                self.flights.push(flight);
                self.loads.push(Load { meta, wire: wire.take(), copy });
            }
        }
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

    /// Takes a message out, into `wire`. Before anything else is sent the caller frees the slots that
    /// [`Flights::is_full_of_stale`] speaks of, and then lets in what waited.
    pub(crate) fn take(&mut self, slot: u8, wire: &mut Option<W>) -> Option<(Flight, Meta)> {
        let load = self.loads.get_mut(usize::from(slot)).filter(|load| load.wire.is_some())?;
        *wire = load.wire.take();
        load.copy = None;
        let meta = load.meta;
        let flight = *self.flights.get(usize::from(slot))?;
        let bit: Slots = 1 << slot;
        if let Some(at) = self.order.iter().position(|other| *other == slot) {
            self.order.remove(at);
        }
        self.control &= !bit;
        self.late &= !bit;
        if let Some(towards) = self.towards.get_mut(flight.to as usize) {
            *towards &= !bit;
        }
        self.stale |= bit;
        Some((flight, meta))
    }

    /// Whether slots have to be freed: many of them could be, or there is no other.
    pub(crate) fn is_full_of_stale(&self) -> bool {
        let spent = self.free.is_empty() && (self.given >= FLIGHTS_MAX || self.stale.count_ones() >= STALE_MAX);
        self.stale != 0 && (spent || !self.overflow.is_empty())
    }

    /// Frees the slots of what has arrived; nothing under way knows of them from now on. What shells know is the
    /// caller's: it gets the slots.
    pub(crate) fn free_stale(&mut self) -> Slots {
        let stale = std::mem::take(&mut self.stale);
        // Of those that are not under way it does not matter.
        for other in &mut self.flights {
            other.known.slots &= !stale;
        }
        self.free.extend((0..FLIGHTS_MAX as u8).filter(|slot| stale & (1 << slot) != 0));
        stale
    }

    /// Puts the copy of a message under way, behind everything else; gives whom it is for.
    pub(crate) fn double(&mut self, slot: u8) -> Option<EntityId> {
        let load = self.loads.get_mut(usize::from(slot))?;
        let (meta, mut wire) = (load.meta, Some(*load.copy.take()?));
        let flight = self.flights.get_mut(usize::from(slot))?;
        flight.double = false;
        let (to, promise, known) = (flight.to, flight.promise, flight.known);
        self.send(meta, (&mut wire, None), to, promise, known);
        Some(meta.to)
    }

    /// What waited for a slot goes behind everything that is under way already.
    pub(crate) fn admit(&mut self) {
        while self.order.len() < FLIGHTS_MAX
            && let Some((mut flight, mut load)) = self.overflow.pop_front()
        {
            flight.known.slots = self.order.iter().fold(0, |slots, slot| slots | (1 << slot));
            self.enter(flight, load.meta, &mut load.wire, load.copy);
        }
    }

    /// Something newer goes before this message.
    pub(crate) fn let_past(&mut self, slot: u8) {
        if let Some(flight) = self.flights.get_mut(usize::from(slot)) {
            flight.late = true;
            self.late |= 1 << slot;
        }
    }

    /// Whether something newer went before any of them.
    pub(crate) fn are_late(&self) -> bool {
        self.late != 0
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
