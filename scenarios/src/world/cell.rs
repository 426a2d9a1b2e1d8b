//! A behaviour without its type: what a world holds of an entity, with the entity's records.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use twinway_actors::codec;
use twinway_protocol::{
    Behaviour, Effect, EntityId, Envelope, EventId, Mailbox, Meta, Out, PendingKey, Recovery, Turn, WireSet, time::Now,
};

/// What a turn is about.
#[derive(Clone, Copy)]
pub(crate) enum Task {
    /// The message that came in is handled.
    Message(Meta),
    /// A timer has run out.
    Timeout(PendingKey),
    /// Its records are replayed.
    Recovered(Recovery),
}

/// When a turn is, and whose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) id: EntityId,
    pub(crate) event: EventId,
    pub(crate) now: Now,
    pub(crate) chance: u64,
}

/// What a turn gave, besides its records.
pub(crate) struct Yield<W: WireSet> {
    pub(crate) effects: Vec<Effect<W>>,
    pub(crate) joined: Vec<EventId>,
    /// How many records wait to be written down.
    pub(crate) records: u64,
    pub(crate) batched: bool,
}

impl<W: WireSet> Default for Yield<W> {
    fn default() -> Self {
        Self { effects: Vec::new(), joined: Vec::new(), records: 0, batched: true }
    }
}

/// A record as rules see it: they know its type, or read its text.
pub trait AnyRecord: Any + fmt::Debug {
    /// To be downcast to the type of a behaviour's record.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Any + fmt::Debug> AnyRecord for T {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An entity of some type.
pub(crate) trait Cell<W: WireSet> {
    /// Another entity of this type, which has written nothing down.
    fn begin(&mut self, id: EntityId, incarnation: u32);
    /// One turn; a message is taken out of `incoming`.
    ///
    /// # Errors
    /// What the behaviour said when it panicked.
    fn turn(&mut self, task: Task, incoming: &mut Option<W>, at: Moment, into: &mut Yield<W>) -> Result<(), String>;
    /// Writes the last turn's records down at the positions after `before`, and shows each.
    fn write(&mut self, before: u64, see: &mut dyn FnMut(u64, &dyn AnyRecord));
    /// Drops the last turn's records.
    fn drop_turn(&mut self);
    /// A crash: what stands after `durable` is lost.
    fn lose_after(&mut self, durable: u64);
    fn has_records(&self) -> bool;
    fn behaviour(&self) -> &dyn Any;
    /// Makes the behaviour anew and replays its records.
    ///
    /// # Errors
    /// Why they cannot be replayed.
    fn restore(&mut self, id: EntityId, incarnation: u32) -> Result<(), String>;
}

struct Written<R> {
    position: u64,
    record: R,
}

struct CellOf<B: Behaviour> {
    behaviour: B,
    settings: B::Settings,
    written: Vec<Written<B::Record>>,
    turn: Turn<B>,
}

impl<B: Behaviour> Cell<B::Wire> for CellOf<B> {
    fn begin(&mut self, id: EntityId, incarnation: u32) {
        self.behaviour = B::new(id, &self.settings, incarnation);
        self.written.clear();
        self.turn.clear();
    }

    fn turn(
        &mut self,
        task: Task,
        incoming: &mut Option<B::Wire>,
        at: Moment,
        into: &mut Yield<B::Wire>,
    ) -> Result<(), String> {
        std::mem::swap(&mut self.turn.effects, &mut into.effects);
        std::mem::swap(&mut self.turn.joined, &mut into.joined);
        let (behaviour, turn) = (&mut self.behaviour, &mut self.turn);
        // After a panic the behaviour is made anew from its records, as in the runtime.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut out = Out::new(turn, at.id, at.event, at.now, at.chance);
            match task {
                Task::Message(meta) => {
                    if let Some(Ok(message)) = incoming.take().map(B::Msg::from_wire) {
                        behaviour.handle(Envelope { meta, message }, &mut out);
                    }
                }
                Task::Timeout(key) => behaviour.timeout(key, &mut out),
                Task::Recovered(why) => behaviour.recovered(why, &mut out),
            }
        }));
        std::mem::swap(&mut self.turn.effects, &mut into.effects);
        std::mem::swap(&mut self.turn.joined, &mut into.joined);
        into.records = self.turn.records.len() as u64;
        into.batched = self.turn.batched;
        self.turn.batched = true;
        outcome.map_err(|panic| panic_text(&*panic))
    }

    fn write(&mut self, before: u64, see: &mut dyn FnMut(u64, &dyn AnyRecord)) {
        for (position, (part, record)) in (before + 1..).zip(self.turn.records.drain(..)) {
            see(part, &record);
            self.written.push(Written { position, record });
        }
    }

    fn drop_turn(&mut self) {
        self.turn.clear();
    }

    fn lose_after(&mut self, durable: u64) {
        self.written.retain(|written| written.position <= durable);
    }

    fn has_records(&self) -> bool {
        !self.written.is_empty()
    }

    fn behaviour(&self) -> &dyn Any {
        &self.behaviour
    }

    fn restore(&mut self, id: EntityId, incarnation: u32) -> Result<(), String> {
        self.behaviour = B::new(id, &self.settings, incarnation);
        self.turn.clear();
        for Written { record, .. } in &self.written {
            // Through the codec, as they would come back from a disk.
            let bytes = codec::encode(record).map_err(|error| error.to_string())?;
            let record: B::Record = codec::decode(&bytes).map_err(|error| error.to_string())?;
            let behaviour = &mut self.behaviour;
            catch_unwind(AssertUnwindSafe(|| behaviour.replay(record)))
                .map_err(|panic| format!("a record made it panic: {}", panic_text(&*panic)))?;
        }
        Ok(())
    }
}

/// Makes the entities of one type.
pub(crate) trait Kind<W: WireSet> {
    fn make(&self, id: EntityId, incarnation: u32) -> Box<dyn Cell<W>>;
}

pub(crate) struct KindOf<B: Behaviour>(pub(crate) B::Settings);

impl<B: Behaviour> Kind<B::Wire> for KindOf<B> {
    fn make(&self, id: EntityId, incarnation: u32) -> Box<dyn Cell<B::Wire>> {
        let behaviour = B::new(id, &self.0, incarnation);
        Box::new(CellOf { behaviour, settings: self.0.clone(), written: Vec::new(), turn: Turn::default() })
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}
