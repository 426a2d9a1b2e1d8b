//! One state of a world, and what moves it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use twinway_protocol::{
    EntityId, Recovery,
    lease::{
        Change, Claimant, Done, Effect, Holder, HolderClass, Input, LeaseLimits, Notice, Refused, Reply, Table, Token,
        mutation::{Mutation, broken},
        rules::{Event, GateEvent, Observer, Violation},
    },
    time::{Now, Timestamp},
};

use crate::{
    gate::{Device, FromDevice, Gate, GateOut, ToDevice, ToGate},
    leases::{Budget, Leases},
};

/// The wall clock at the beginning.
const WALL_MS: u64 = 1_700_000_000_000;

/// Limits so small that the moments at which something is due are few.
pub(crate) fn limits() -> LeaseLimits {
    LeaseLimits {
        lease_ttl_ms_max: 1_000,
        lease_wait_ms_max: 1_000,
        lease_fence_ms_max: 50,
        lease_fence_retry_ms: 50,
        lease_return_ms: 100,
        // No id is forgotten within a search: keys of claims are never used again, and need not be told apart.
        lease_request_id_ttl_ms: 1_000_000,
        ..LeaseLimits::default()
    }
}

pub(crate) fn object(number: usize) -> EntityId {
    EntityId::new(9, 0, u32::try_from(number).expect("few objects"))
}

pub(crate) fn system(user: usize) -> EntityId {
    EntityId::new(7, 0, u32::try_from(user).expect("few users"))
}

pub(crate) fn claimant(user: usize) -> Arc<Claimant> {
    let name = |text: String| text.parse().expect("a name");
    let holder = Holder {
        user: name(format!("user{user}")),
        world: "world".parse().expect("a name"),
        system: format!("system{user}").parse().expect("a name"),
        class: HolderClass::Person,
    };
    Arc::new(Claimant { holder, role: None, claimed: None, twins: Box::default() })
}

/// A number for a value, by all that its text for developers tells.
fn print(value: &impl Debug) -> u64 {
    print_of(&format!("{value:?}"))
}

fn print_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Messages in no order: kept sorted by their prints, so that equal bags are equal.
#[derive(Clone, Debug)]
pub(crate) struct Bag<T>(Vec<(u64, T)>);

impl<T: Clone + Debug> Bag<T> {
    fn put(&mut self, message: T) {
        let print = print(&message);
        let at = self.0.partition_point(|(other, _)| *other < print);
        self.0.insert(at, (print, message));
    }

    pub(crate) fn take(&mut self, at: usize) -> T {
        self.0.remove(at).1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The places of messages that differ.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len()).filter(|at| *at == 0 || self.0[*at].0 != self.0[at - 1].0)
    }
}

/// What is between an object's gate and the others.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) gate: Gate,
    pub(crate) device: Device,
    /// In order, inside the daemon.
    pub(crate) to_gate: VecDeque<ToGate>,
    pub(crate) from_gate: VecDeque<Input>,
    /// In no order, outside.
    pub(crate) to_device: Bag<ToDevice>,
    pub(crate) from_device: Bag<FromDevice>,
    /// Copies that are late; those to the gate with the life of the gate that they were meant for.
    pub(crate) late_to_gate: Bag<(u32, ToGate)>,
    pub(crate) late_from_gate: Bag<Input>,
    /// When the gate wants to look again.
    pub(crate) wake_ms: Option<u64>,
}

/// Everything there is.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) now_ms: u64,
    pub(crate) table: Arc<Table>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) sites: Vec<Site>,
    /// Records, each with a print of all up to it.
    log: Vec<(u64, Option<EntityId>, Arc<Change>)>,
    durable: usize,
    outbox: VecDeque<(usize, Effect)>,
    replies: BTreeMap<Reply, (usize, Vec<EntityId>)>,
    next_reply: Reply,
    /// Which tokens each user has ever heard of.
    pub(crate) known: BTreeSet<(usize, EntityId, Token)>,
    /// Which wishes were asked for.
    pub(crate) asked: u8,
    pub(crate) left: Budget,
    pub(crate) accepted: bool,
    prints: [u64; 2],
}

impl Hash for State {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.prints.hash(to);
        self.log.last().map(|(print, ..)| print).hash(to);
        (self.now_ms, self.durable, self.log.len(), self.next_reply, self.asked, self.accepted).hash(to);
        (&self.known, &self.replies, &self.left).hash(to);
        for site in &self.sites {
            let [to_device, from_device] = [self.prints_of(&site.to_device), self.prints_of(&site.from_device)];
            (to_device, from_device).hash(to);
            (self.prints_of(&site.late_to_gate), self.prints_of(&site.late_from_gate)).hash(to);
            format!("{:?}{:?}", site.gate, site.device).hash(to);
            format!("{:?}{:?}{:?}", site.to_gate, site.from_gate, site.wake_ms).hash(to);
        }
        format!("{:?}", self.outbox).hash(to);
    }
}

impl Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let views: Vec<_> = (0..self.sites.len()).filter_map(|at| self.table.view(object(at), 8)).collect();
        f.debug_struct("State")
            .field("now_ms", &self.now_ms)
            .field("views", &views)
            .field("sites", &self.sites)
            .field("violations", &self.observer.violations())
            .finish_non_exhaustive()
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let print = |state: &Self| {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            hasher.finish()
        };
        print(self) == print(other)
    }
}

impl State {
    pub(crate) fn new(model: &Leases) -> Self {
        let site = |(at, (_, way)): (usize, &_)| Site {
            gate: Gate::new(object(at), *way),
            device: Device::default(),
            to_gate: VecDeque::new(),
            from_gate: VecDeque::new(),
            to_device: Bag(Vec::new()),
            from_device: Bag(Vec::new()),
            late_to_gate: Bag(Vec::new()),
            late_from_gate: Bag(Vec::new()),
            wake_ms: None,
        };
        let mut state = Self {
            now_ms: 1,
            table: Arc::new(Table::new(limits())),
            observer: Arc::new(Observer::new(limits())),
            sites: model.objects.iter().enumerate().map(site).collect(),
            log: Vec::new(),
            durable: 0,
            outbox: VecDeque::new(),
            replies: BTreeMap::new(),
            next_reply: 0,
            known: BTreeSet::new(),
            asked: 0,
            left: model.budget,
            accepted: false,
            prints: [0; 2],
        };
        state.step(Input::Recover(Recovery::Start));
        // A world begins with its first epoch written down: one more order of events at its beginning tells nothing.
        state.commit();
        state.seal(None);
        state
    }

    fn prints_of<T>(&self, bag: &Bag<T>) -> Vec<u64> {
        bag.0.iter().map(|(print, _)| *print).collect()
    }

    /// Takes the prints of what has changed.
    pub(crate) fn seal(&mut self, before: Option<&Self>) {
        let [table, observer] = before.map_or([0; 2], |before| before.prints);
        let same_table = before.is_some_and(|before| Arc::ptr_eq(&before.table, &self.table));
        let same_observer = before.is_some_and(|before| Arc::ptr_eq(&before.observer, &self.observer));
        self.prints = [
            // The long form: the short one of a slab leaves out what is in it.
            if same_table { table } else { print_of(&format!("{:#?}", self.table)) },
            if same_observer { observer } else { print(&self.observer) },
        ];
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.now_ms, wall: Timestamp::from_unix_ms(WALL_MS + self.now_ms) }
    }

    fn see(&mut self, event: Event<'_>) {
        let now = self.now();
        Arc::make_mut(&mut self.observer).see(event, now);
    }

    pub(crate) fn reply(&mut self, user: usize, objects: Vec<EntityId>) -> Reply {
        self.next_reply += 1;
        self.replies.insert(self.next_reply, (user, objects));
        self.next_reply
    }

    /// The supervisor takes a turn.
    pub(crate) fn step(&mut self, input: Input) {
        let (now, mut effects) = (self.now(), Vec::new());
        Arc::make_mut(&mut self.table).step(input.clone(), now, &mut effects);
        self.see(Event::Step { input: &input, effects: &effects });
        for effect in effects {
            if let Effect::Record(entity, change) = effect {
                let before = self.log.last().map_or(0, |(print, ..)| *print);
                self.log.push((print(&(before, entity, &change)), entity, Arc::new(change)));
            } else {
                self.outbox.push_back((self.log.len(), effect));
            }
        }
        let table = Arc::clone(&self.table);
        for at in 0..self.sites.len() {
            self.see(Event::Look(&*table, object(at)));
        }
        self.release();
    }

    pub(crate) fn is_all_durable(&self) -> bool {
        self.durable == self.log.len()
    }

    /// What was written down so far is durable, and replays to what there is.
    pub(crate) fn commit(&mut self) {
        let records = self.log.len() - self.durable;
        self.see(Event::Durable(records));
        self.durable = self.log.len();
        let (live, replayed) = (Arc::clone(&self.table), self.replay());
        self.see(Event::Replayed { live: &live, replayed: &replayed });
        self.release();
    }

    fn replay(&self) -> Table {
        let mut table = Table::new(limits());
        for (_, object, change) in &self.log {
            table.replay(*object, change);
        }
        table
    }

    /// Sends what its records no longer hold back.
    fn release(&mut self) {
        let at_once = broken(Mutation::ToldBeforeDurable);
        let durable = self.durable;
        while let Some((_, effect)) = self.outbox.pop_front_if(|(needs, _)| *needs <= durable || at_once) {
            self.see(Event::Left(&effect));
            self.send(effect);
        }
    }

    fn send(&mut self, effect: Effect) {
        match effect {
            Effect::Fence { object, token, to, ttl_ms, stop, replaced, restricted, .. } => {
                self.tell_gate(object, ToGate::Fence { token, to, ttl_ms, stop, replaced, restricted });
            }
            Effect::Restrict { object, token, restricted } => {
                self.tell_gate(object, ToGate::Restrict { token, restricted });
            }
            Effect::Extend { object, token, ttl_ms } => self.tell_gate(object, ToGate::Extend { token, ttl_ms }),
            Effect::Answer(reply, answer) => {
                let Some((user, objects)) = self.replies.remove(&reply) else { return };
                let token = match answer {
                    Ok(Done::Granted(grant)) => grant.token,
                    Err(Refused::TokenStale(Some(token))) => token,
                    Ok(_) | Err(_) => return,
                };
                self.known.extend(objects.into_iter().map(|object| (user, object, token)));
            }
            Effect::Tell { who, objects, notice: Notice::Granted(grant), .. } => {
                let user = who.holder.user.to_string().trim_start_matches("user").parse().expect("a user's number");
                let objects = objects.as_slice().iter().map(|wanted| wanted.object);
                self.known.extend(objects.map(|object| (user, object, grant.token)));
            }
            Effect::Tell { .. } | Effect::Record(..) | Effect::Weigh { .. } => {}
        }
    }

    fn tell_gate(&mut self, object: EntityId, told: ToGate) {
        self.sites[object.slot() as usize].to_gate.push_back(told);
    }

    /// Has a gate take a turn, and sends what follows.
    pub(crate) fn at_gate(&mut self, at: usize, turn: impl FnOnce(&mut Gate, u64, &mut Vec<GateOut>)) {
        let mut out = Vec::new();
        turn(&mut self.sites[at].gate, self.now_ms, &mut out);
        for follows in out {
            let site = &mut self.sites[at];
            match follows {
                GateOut::Device(told) => site.to_device.put(told),
                GateOut::Fenced { token, seen_before, to } => {
                    let (incarnation, fencing) = (site.gate.incarnation, site.gate.way);
                    let object = object(at);
                    site.from_gate.push_back(Input::Fenced { object, token, incarnation, fencing, seen_before });
                    if seen_before < token {
                        self.gate_event(at, GateEvent::Fenced(token, to.as_deref()));
                    }
                }
                GateOut::Restricted(token, restricted) => {
                    self.gate_event(at, GateEvent::Restricted(token, restricted));
                }
                GateOut::Wake(at_ms) => site.wake_ms = Some(site.wake_ms.map_or(at_ms, |other_ms| other_ms.min(at_ms))),
            }
        }
    }

    fn gate_event(&mut self, at: usize, event: GateEvent<'_>) {
        self.see(Event::Gate { object: object(at), event });
    }

    /// A command of a user reaches a gate; tells whether it is accepted.
    pub(crate) fn command(&mut self, user: usize, at: usize, token: Token) -> bool {
        let from = claimant(user).holder.clone();
        let mut accepted = false;
        self.at_gate(at, |gate, now_ms, out| accepted = gate.command(token, &from, now_ms, out));
        if accepted {
            self.accepted = true;
            self.gate_event(at, GateEvent::Accepted(token, &from));
        }
        accepted
    }

    /// A message reaches a device.
    pub(crate) fn at_device(&mut self, at: usize, place: usize) {
        let now_ms = self.now_ms;
        let site = &mut self.sites[at];
        let told = site.to_device.take(place);
        let (answer, acted) = site.device.get(site.gate.way, told, now_ms);
        site.from_device.put(answer);
        if let Some(token) = acted {
            self.gate_event(at, GateEvent::Acted(token));
        }
    }

    /// The next message between supervisor and gate is doubled, and its copy is late.
    pub(crate) fn copy_to_gate(&mut self, at: usize) {
        let site = &mut self.sites[at];
        let copy = site.to_gate.front().cloned();
        copy.into_iter().for_each(|told| site.late_to_gate.put((site.gate.incarnation, told)));
    }

    pub(crate) fn copy_from_gate(&mut self, at: usize) {
        let site = &mut self.sites[at];
        let copy = site.from_gate.front().cloned();
        copy.into_iter().for_each(|input| site.late_from_gate.put(input));
    }

    /// The daemon dies, and starts again: what was not durable and what was on its way inside it is lost.
    pub(crate) fn die(&mut self) {
        self.log.truncate(self.durable);
        for site in &mut self.sites {
            site.to_gate.clear();
            site.from_gate.clear();
            (site.late_to_gate, site.late_from_gate) = (Bag(Vec::new()), Bag(Vec::new()));
        }
        self.begin_life(Recovery::Start);
        for (at, site) in self.sites.iter_mut().enumerate() {
            site.gate.restart();
            site.wake_ms = None;
            let incarnation = site.gate.incarnation;
            site.from_gate.push_back(Input::GateStarted { object: object(at), incarnation });
        }
    }

    /// The supervisor alone panics: its records become durable, and it replays them.
    pub(crate) fn panic(&mut self) {
        self.commit();
        self.begin_life(Recovery::Failure);
    }

    fn begin_life(&mut self, why: Recovery) {
        self.see(Event::Died(None));
        self.outbox.clear();
        self.replies.clear();
        self.table = Arc::new(self.replay());
        self.step(Input::Recover(why));
    }

    /// Whether nothing is on its way inside the daemon to where it takes effect.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_all_durable() && self.sites.iter().all(|site| site.to_gate.is_empty())
    }

    /// Whether nobody is waited for.
    pub(crate) fn is_answered(&self) -> bool {
        let answered =
            |site: &Site| site.from_gate.is_empty() && site.to_device.is_empty() && site.from_device.is_empty();
        self.is_settled() && self.sites.iter().all(answered)
    }

    /// Whether nothing is on its way, and nothing will ever be due.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_answered() && self.next_ms().is_none()
    }

    /// When something is due next.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.table.due_ms().into_iter().chain(self.sites.iter().filter_map(|site| site.wake_ms)).min()
    }

    /// Whether a rule was violated on the way here.
    pub(crate) fn is_broken(&self) -> bool {
        !self.observer.violations().is_empty()
    }

    /// What is violated, and what would be if this were the end.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut observer = Observer::clone(&self.observer);
        if self.is_at_rest() {
            observer.see(Event::Quiet, self.now());
        }
        observer.take_violations()
    }
}
