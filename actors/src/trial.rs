//! For unit tests: one behaviour, delivered to by hand, with what it says shown.

use std::cell::Cell;

use twinway_protocol::{
    Behaviour, Effect, EntityId, Envelope, EventId, Mailbox, Meta, Out, PendingKey, Recovery, Turn, WireSet,
    time::{Now, Timestamp},
};

thread_local! {
    /// Every entity of a test begins a life of its own.
    static LIVES: Cell<u32> = const { Cell::new(1) };
}

/// One behaviour under test.
pub(crate) struct Trial<B: Behaviour> {
    pub(crate) behaviour: B,
    pub(crate) records: Vec<B::Record>,
    pub(crate) now: Now,
    id: EntityId,
    event: EventId,
}

impl<B: Behaviour> Trial<B> {
    /// A new entity of this type, at 1970-01-01T00:00:01Z.
    pub(crate) fn new(id: EntityId, settings: &B::Settings) -> Self {
        let now = Now { monotonic_ms: 1_000, wall: Timestamp::from_unix_ms(1_000) };
        Self {
            behaviour: B::new(id, settings, LIVES.replace(LIVES.get() + 1_000)),
            records: Vec::new(),
            now,
            id,
            event: EventId::new(1, 1),
        }
    }

    fn turn(&mut self, take: impl FnOnce(&mut B, &mut Out<'_, B>)) -> Vec<Effect<B::Wire>> {
        let mut turn = Turn::default();
        self.event = self.event.next();
        take(&mut self.behaviour, &mut Out::new(&mut turn, self.id, self.event, self.now, 7));
        self.records.extend(turn.records.into_iter().map(|(_, record)| record));
        turn.effects
    }

    /// One turn: `message` comes from `from`, with `pending` as its key.
    pub(crate) fn deliver(
        &mut self,
        from: EntityId,
        pending: PendingKey,
        message: impl Into<B::Msg>,
    ) -> Vec<Effect<B::Wire>> {
        let message = message.into();
        let step = message.describe().0;
        let meta = Meta { from, to: self.id, cause: EventId::NONE, pending, step };
        self.turn(|behaviour, out| behaviour.handle(Envelope { meta, message }, out))
    }

    /// One turn: a timer has run out.
    pub(crate) fn timeout(&mut self, key: PendingKey) -> Vec<Effect<B::Wire>> {
        self.turn(|behaviour, out| behaviour.timeout(key, out))
    }

    /// One turn: the records were replayed.
    pub(crate) fn recovered(&mut self) -> Vec<Effect<B::Wire>> {
        self.starts(Recovery::Failure)
    }

    /// One turn: the records were replayed, for this reason.
    pub(crate) fn starts(&mut self, why: Recovery) -> Vec<Effect<B::Wire>> {
        self.turn(|behaviour, out| behaviour.recovered(why, out))
    }
}

/// The messages among `effects`, with what travels with them.
pub(crate) fn sent<W: WireSet>(effects: Vec<Effect<W>>) -> Vec<(Meta, W)> {
    effects
        .into_iter()
        .filter_map(|effect| if let Effect::Send { wire, meta } = effect { Some((meta, wire?)) } else { None })
        .collect()
}
