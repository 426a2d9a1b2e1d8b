//! Those outside the actors who wait for an answer.

use parking_lot::Mutex;
use tokio::sync::oneshot;
use twinway_protocol::{EntityId, Pending, PendingKey};

/// The kind of mailbox that stands for callers outside the actors in every system.
pub const CALLER_KIND: u8 = 255;

/// The address that questions from outside come from.
pub(crate) const CALLER: EntityId = EntityId::new(CALLER_KIND, 0, 0);

/// Callers by key, each waiting on a channel.
#[derive(Debug)]
pub(crate) struct Callers<W>(Mutex<Pending<oneshot::Sender<W>>>);

impl<W> Callers<W> {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Mutex::new(Pending::new(limit, 0)))
    }

    /// A place for one answer; `None` when too many wait.
    pub(crate) fn wait(&self) -> Option<(PendingKey, oneshot::Receiver<W>)> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().insert(sender).ok().map(|key| (key, receiver))
    }

    /// Hands an answer over; false when nobody waits for it any more.
    pub(crate) fn answer(&self, key: PendingKey, wire: W) -> bool {
        let sender = self.0.lock().take(key);
        sender.is_some_and(|sender| sender.send(wire).is_ok())
    }

    /// Hands several over, all of `answers`.
    pub(crate) fn answer_all(&self, answers: &mut Vec<(PendingKey, W)>) {
        // Taken under one lock, and sent without it.
        let senders: Vec<_> = {
            let mut waiting = self.0.lock();
            answers.iter().map(|(key, _)| waiting.take(*key)).collect()
        };
        for ((key, wire), sender) in answers.drain(..).zip(senders) {
            if sender.is_none_or(|sender| sender.send(wire).is_err()) {
                tracing::debug!(?key, "an answer came after its caller had gone");
            }
        }
    }

    pub(crate) fn give_up(&self, key: PendingKey) {
        self.0.lock().take(key);
    }

    /// Nobody will be answered: every caller hears that its answer is lost.
    pub(crate) fn fail_all(&self) {
        self.0.lock().drain().for_each(drop);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
