//! A bounded queue in place of actix's mailbox: a control lane that goes first, a data lane, and a waker.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    task::Waker,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use twinway_protocol::{EntityId, Envelope, Lane, Mailbox, Meta, WireSet};

use crate::port::journal::{Listener, Position};

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The inbox holds as much as it may.
    Full,
    /// Nobody is there, any more or yet.
    Gone,
}

/// What the runtime itself asks of a shell.
#[derive(Debug)]
pub(crate) enum Command {
    /// Make the entity, unless it is there.
    Spawn(EntityId),
    /// Every entity was replayed: let yours say so.
    Recovered,
    /// Write snapshots of what changed; answer whether all could be.
    Checkpoint(oneshot::Sender<bool>),
    /// Answer when nothing waits here, with how many turns were taken so far.
    Idle(oneshot::Sender<u64>),
    /// End; answer when that is done.
    Stop(oneshot::Sender<()>),
}

/// How the runtime reaches a shell, whatever its mailbox.
pub(crate) trait Inlet<W>: Send + Sync {
    /// Takes the message out of `wire`, where it stays when it is rejected.
    fn push(&self, meta: &Meta, wire: &mut Option<W>, admitted: bool) -> Result<(), Rejection>;
    fn command(&self, command: Command);
}

#[derive(Debug)]
struct Lanes<M> {
    control: VecDeque<Envelope<M>>,
    data: VecDeque<Envelope<M>>,
    commands: VecDeque<Command>,
    waker: Option<Waker>,
    closed: bool,
}

/// The queue of one shell. Any thread pushes; one pump takes.
#[derive(Debug)]
pub struct Inbox<M> {
    lanes: Mutex<Lanes<M>>,
    outside_max: usize,
    total_max: usize,
    /// How many messages the pump took out at last and may not have begun with yet: they count against the limits.
    in_hand: AtomicUsize,
    /// Set while the data lane holds something: an empty lane costs no lock.
    filled: AtomicBool,
    /// Set while the control lane or the commands hold something: the pump looks at it between turns.
    urgent: AtomicBool,
    /// Whether the next push wakes the pump; written under the lock. It is set when messages are taken, so that a
    /// pump that finds no more of them sleeps without taking the lock again: a push in between has woken it.
    wanted: AtomicBool,
    durable: AtomicU64,
    poisoned: AtomicBool,
}

impl<M> Inbox<M> {
    /// An empty inbox that refuses messages from outside when `outside_max` wait, and all when `total_max` do.
    #[must_use]
    pub fn new(outside_max: usize, total_max: usize) -> Self {
        // The smallest that grows: most actors of a large register are told one thing at a time.
        let (control, data, commands) = (VecDeque::new(), VecDeque::with_capacity(1), VecDeque::new());
        Self {
            lanes: Mutex::new(Lanes { control, data, commands, waker: None, closed: false }),
            outside_max,
            total_max,
            in_hand: AtomicUsize::new(0),
            filled: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            durable: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
        }
    }

    /// Puts a message in. `admitted` says that it comes from an actor, not from outside.
    ///
    /// # Errors
    /// Gives it back when the inbox is full or closed.
    pub fn push(&self, envelope: Envelope<M>, lane: Lane, admitted: bool) -> Result<(), (Rejection, Envelope<M>)> {
        match self.room(admitted) {
            Ok(mut lanes) => {
                self.put(&mut lanes, envelope, lane);
                Ok(())
            }
            Err(rejection) => Err((rejection, envelope)),
        }
    }

    /// The lanes, if one more message may come in.
    #[inline]
    fn room(&self, admitted: bool) -> Result<MutexGuard<'_, Lanes<M>>, Rejection> {
        let limit = if admitted { self.total_max } else { self.outside_max };
        let lanes = self.lanes.lock();
        if lanes.closed {
            return Err(Rejection::Gone);
        }
        if lanes.data.len() + lanes.control.len() + self.in_hand.load(Ordering::Acquire) >= limit {
            return Err(Rejection::Full);
        }
        Ok(lanes)
    }

    /// Wakes the pump, if that is wanted. The lock is held meanwhile: waking only marks its task as ready.
    #[inline]
    fn wake_up(&self, lanes: &Lanes<M>) {
        if self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(false, Ordering::Release);
            if let Some(waker) = &lanes.waker {
                waker.wake_by_ref();
            }
        }
    }

    #[inline]
    fn put(&self, lanes: &mut Lanes<M>, envelope: Envelope<M>, lane: Lane) {
        match lane {
            Lane::Data => {
                lanes.data.push_back(envelope);
                self.filled.store(true, Ordering::Release);
            }
            Lane::Control => {
                lanes.control.push_back(envelope);
                self.urgent.store(true, Ordering::Release);
            }
        }
        self.wake_up(lanes);
    }

    /// Moves the messages of the data lane into `batch`, which is empty.
    pub(crate) fn take(&self, batch: &mut VecDeque<Envelope<M>>) {
        if !self.filled.load(Ordering::Acquire) {
            return;
        }
        let mut lanes = self.lanes.lock();
        std::mem::swap(batch, &mut lanes.data);
        self.in_hand.store(batch.len(), Ordering::Release);
        self.filled.store(false, Ordering::Release);
        self.wanted.store(lanes.waker.is_some(), Ordering::Release);
    }

    /// The pump has begun with the last message that it took.
    pub(crate) fn nothing_in_hand(&self) {
        self.in_hand.store(0, Ordering::Release);
    }

    /// Whether the control lane or the commands hold something.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Acquire)
    }

    /// The next message of the control lane; none while commands wait.
    pub(crate) fn take_control(&self) -> Option<Envelope<M>> {
        let mut lanes = self.lanes.lock();
        if !lanes.commands.is_empty() {
            // A command that was given before a message was sent goes first.
            return None;
        }
        let taken = lanes.control.pop_front();
        self.note_urgent(&lanes);
        taken
    }

    pub(crate) fn take_command(&self) -> Option<Command> {
        if !self.is_urgent() {
            return None;
        }
        let mut lanes = self.lanes.lock();
        let taken = lanes.commands.pop_front();
        self.note_urgent(&lanes);
        taken
    }

    fn note_urgent(&self, lanes: &Lanes<M>) {
        self.urgent.store(!lanes.control.is_empty() || !lanes.commands.is_empty(), Ordering::Release);
    }

    pub(crate) fn command(&self, command: Command) {
        let mut lanes = self.lanes.lock();
        if lanes.closed {
            // Dropping it tells whoever waits for its answer.
            return;
        }
        lanes.commands.push_back(command);
        self.urgent.store(true, Ordering::Release);
        self.wake_up(&lanes);
    }

    /// Leaves `waker` to be woken by the next push; false if something is there already (and `data` counts), or
    /// if the journal has news for turns that are `held`.
    pub(crate) fn sleep(&self, waker: &Waker, data: bool, durable_seen: u64, held: bool) -> bool {
        let mut lanes = self.lanes.lock();
        let awake = (data && (!lanes.data.is_empty() || !lanes.control.is_empty()))
            || !lanes.commands.is_empty()
            || self.durable.load(Ordering::Acquire) != durable_seen
            || (held && self.is_poisoned());
        match &mut lanes.waker {
            Some(there) if there.will_wake(waker) => {}
            there => *there = Some(waker.clone()),
        }
        if !awake {
            self.wanted.store(true, Ordering::Release);
        }
        !awake
    }

    /// The same for a pump whose waker is left here already, without the lock; false if it is to be asked under it.
    pub(crate) fn sleeps_on(&self, data: bool, durable_seen: u64, held: bool) -> bool {
        // Who comes after this was read finds a pump that wants to be woken.
        self.wanted.load(Ordering::Acquire)
            && !(data && self.filled.load(Ordering::Acquire))
            && !self.is_urgent()
            && self.durable() == durable_seen
            && !(held && self.is_poisoned())
    }

    pub(crate) fn is_empty(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.data.is_empty() && lanes.control.is_empty()
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Takes no more, and gives back all that waits.
    pub(crate) fn close(&self) -> Vec<Envelope<M>> {
        let mut lanes = self.lanes.lock();
        lanes.closed = true;
        lanes.commands.clear();
        let mut left: Vec<_> = lanes.control.drain(..).collect();
        left.extend(lanes.data.drain(..));
        left
    }

    pub(crate) fn wake(&self) {
        self.wake_up(&self.lanes.lock());
    }
}

impl<M: Send + 'static> Listener for Inbox<M> {
    fn durable(&self, position: Position) {
        self.durable.fetch_max(position.0, Ordering::AcqRel);
        self.wake();
    }

    fn poisoned(&self, _reason: &str) {
        self.poisoned.store(true, Ordering::Release);
        self.wake();
    }
}

impl<W: WireSet, M: Mailbox<Wire = W>> Inlet<W> for Inbox<M> {
    fn push(&self, meta: &Meta, wire: &mut Option<W>, admitted: bool) -> Result<(), Rejection> {
        let Some(lane) = wire.as_ref().map(WireSet::lane) else { return Ok(()) };
        let mut lanes = self.room(admitted)?;
        // Moved once, from where its sender wrote it into the lane, and only now: to load it before the lock would
        // wait for the stores of the sender's turn.
        let Some(message) = wire.take() else { return Ok(()) };
        match M::from_wire(message) {
            Ok(message) => {
                self.put(&mut lanes, Envelope { meta: *meta, message }, lane);
                Ok(())
            }
            Err(other) => {
                *wire = Some(other);
                Err(Rejection::Gone)
            }
        }
    }

    fn command(&self, command: Command) {
        Inbox::command(self, command);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Wake, Waker},
    };

    use twinway_protocol::{EntityId, Envelope, EventId, Lane, Meta, PendingKey};

    use super::{Inbox, Rejection};

    fn envelope(message: u32) -> Envelope<u32> {
        let nobody = EntityId::from_bits(0);
        let meta = Meta { from: nobody, to: nobody, cause: EventId::NONE, pending: PendingKey::NONE, step: None };
        Envelope { meta, message }
    }

    #[test]
    fn a_full_inbox_gives_the_message_back_and_says_so() {
        let inbox = Inbox::new(1, 2);
        inbox.push(envelope(1), Lane::Data, false).expect("there is room");
        let (rejection, back) = inbox.push(envelope(2), Lane::Data, false).expect_err("it is full for the outside");
        assert_eq!((rejection, back.message), (Rejection::Full, 2));
        inbox.push(envelope(2), Lane::Data, true).expect("there is room for actors");
        assert_eq!(inbox.push(envelope(3), Lane::Data, true).expect_err("it is full").0, Rejection::Full);
    }

    #[test]
    fn control_goes_before_data_and_each_lane_keeps_its_order() {
        let inbox = Inbox::new(10, 10);
        for (message, lane) in [(1, Lane::Data), (2, Lane::Control), (3, Lane::Data), (4, Lane::Control)] {
            inbox.push(envelope(message), lane, true).expect("there is room");
        }
        let control: Vec<_> = std::iter::from_fn(|| inbox.take_control()).map(|e| e.message).collect();
        let mut batch = VecDeque::new();
        inbox.take(&mut batch);
        let data: Vec<_> = batch.into_iter().map(|e| e.message).collect();
        assert_eq!((control, data), (vec![2, 4], vec![1, 3]));
    }

    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_comes_after_a_batch_was_taken_wakes_the_pump_once() {
        let (inbox, woken) = (Inbox::new(10, 10), Arc::new(Woken(AtomicUsize::new(0))));
        let waker = Waker::from(Arc::clone(&woken));
        assert!(!inbox.sleeps_on(true, 0, false), "nobody is there to be woken");
        assert!(inbox.sleep(&waker, true, 0, false));
        let push = |message| inbox.push(envelope(message), Lane::Data, true).expect("there is room");
        push(1);
        push(2);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(!inbox.sleeps_on(true, 0, false), "two messages wait");
        inbox.take(&mut VecDeque::new());
        assert!(inbox.sleeps_on(true, 0, false));
        push(3);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert!(!inbox.sleeps_on(true, 0, false), "a message waits");
    }

    #[test]
    fn a_closed_inbox_takes_nothing_and_gives_all_back() {
        let inbox = Inbox::new(10, 10);
        inbox.push(envelope(1), Lane::Data, true).expect("there is room");
        assert_eq!(inbox.close().len(), 1);
        assert_eq!(inbox.push(envelope(2), Lane::Data, true).expect_err("it is closed").0, Rejection::Gone);
    }
}
