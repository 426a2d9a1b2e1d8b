//! A world around the table: a supervisor, gates, devices, systems and users, and messages that take their time, overtake
//! each other, are lost and doubled. Everything that can be seen goes to an observer of the fourteen rules.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use twinway_protocol::{
    EntityId, Recovery,
    lease::{
        Change, Claimant, Done, Effect, Fencing, Holder, HolderClass, Input, LeaseLimits, Notice, Refused, Reply,
        Request, RequestId, Shown, Table, Terms, Token, Wanted,
        mutation::{Mutation, broken},
        rules::{Event, GateEvent, Observer},
    },
    time::{Now, Timestamp},
};

use crate::gate::{Device, FromDevice, Gate, GateOut, ToDevice, ToGate};

/// How many users there are: every second one is of the first metaverse system.
pub(crate) const USERS: usize = 5;
/// The wall clock at the beginning.
const WALL_MS: u64 = 1_700_000_000_000;

/// What a world is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) objects: Vec<(Terms, Fencing)>,
    pub(crate) priorities: [u8; USERS],
    /// Of 16 messages of a session, how many are lost; doubled ones are as many.
    pub(crate) lossy: u64,
}

/// Limits so small that everything ends soon.
pub(crate) fn limits() -> LeaseLimits {
    LeaseLimits {
        lease_ttl_ms_max: 2_000,
        lease_wait_ms_max: 1_500,
        lease_set_objects_max: 3,
        lease_queue_max: 4,
        lease_claims_max: 10_000,
        lease_fence_ms_max: 300,
        lease_fence_retry_ms: 100,
        lease_return_ms: 400,
        lease_request_id_ttl_ms: 2_500,
        lease_reservations_max: 3,
        lease_reservation_ahead_ms_max: 5_000,
        lease_reservation_claim_ms: 300,
    }
}

/// By then nobody wants anything, in milliseconds.
const REST_MS: u64 = 12_000;

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    FromSession(Asked),
    ToTable(Input),
    ToGate(EntityId, Option<u32>, ToGate),
    Command(EntityId, usize, Token),
    ToDevice(EntityId, ToDevice),
    FromDevice(EntityId, FromDevice),
    ToUser(usize, Vec<EntityId>, Token),
    Wake(EntityId),
    Commit,
    Due,
}

/// What a session carries to the supervisor; the asker's key is given on arrival.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Request(Request),
    Batch(Vec<Request>),
    Cancel(EntityId, RequestId),
    Renew(Shown, u32),
    Release(Shown),
    Yield(Shown, bool),
    KeepAlive(EntityId),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    /// The tokens that it ever heard of, by object.
    pub(crate) tokens: BTreeMap<EntityId, Vec<Token>>,
    /// What it asked for with an id.
    pub(crate) asked: Vec<Request>,
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) table: Table,
    pub(crate) observer: Observer,
    pub(crate) users: Vec<User>,
    pub(crate) gates: BTreeMap<EntityId, Gate>,
    pub(crate) devices: BTreeMap<EntityId, Device>,
    pub(crate) log: Vec<(Option<EntityId>, Change)>,
    pub(crate) snapshots: BTreeMap<EntityId, (usize, Vec<Change>)>,
    pub(crate) commits: Vec<usize>,
    pub(crate) durable: usize,
    pub(crate) outbox: VecDeque<(usize, Effect)>,
    pub(crate) replies: BTreeMap<Reply, (usize, Vec<EntityId>)>,
    pub(crate) next_reply: Reply,
    pub(crate) happenings: BTreeMap<(u64, u64), Happening>,
    pub(crate) order: BTreeMap<(u8, EntityId), u64>,
    counter: u64,
    /// A backup was restored: a device that is replaced after that has seen nothing, and nobody would notice.
    pub(crate) restored: bool,
    /// For when the next tick is on its way.
    pub(crate) due_ms: u64,
    chance: u64,
    pub(crate) now_ms: u64,
    pub(crate) wall_offset_ms: i64,
    pub(crate) paused_until_ms: u64,
    pub(crate) calm: bool,
    /// What happened, for whoever reads a failure.
    pub(crate) story: Option<Vec<String>>,
}

pub(crate) fn object(number: usize) -> EntityId {
    EntityId::new(9, 0, u32::try_from(number).expect("few objects"))
}

pub(crate) fn system(user: usize) -> EntityId {
    EntityId::new(7, 0, u32::try_from(user % 2).expect("two systems"))
}

pub(crate) fn claimant(user: usize, class: HolderClass) -> Arc<Claimant> {
    let name = |text: String| text.parse().expect("a name");
    Arc::new(Claimant {
        holder: Holder {
            user: name(format!("user{user}")),
            world: "world".parse().expect("a name"),
            system: format!("system{}", user % 2).parse().expect("a name"),
            class,
        },
        role: None,
        claimed: None,
        twins: Box::default(),
    })
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let gates = setup.objects.iter().enumerate().map(|(at, (_, way))| (object(at), Gate::new(object(at), *way)));
        let mut world = Self {
            table: Table::new(limits()),
            observer: Observer::new(limits()),
            users: vec![User::default(); USERS],
            gates: gates.collect(),
            devices: (0..setup.objects.len()).map(|at| (object(at), Device::default())).collect(),
            log: Vec::new(),
            snapshots: BTreeMap::new(),
            commits: vec![0],
            durable: 0,
            outbox: VecDeque::new(),
            replies: BTreeMap::new(),
            next_reply: 0,
            happenings: BTreeMap::new(),
            order: BTreeMap::new(),
            counter: 0,
            restored: false,
            due_ms: u64::MAX,
            chance: setup.seed,
            now_ms: 1,
            wall_offset_ms: 0,
            paused_until_ms: 0,
            calm: false,
            story: None,
            setup,
        };
        world.step(Input::Recover(Recovery::Start));
        world
    }

    pub(crate) fn now(&self) -> Now {
        let wall = (WALL_MS + self.now_ms).saturating_add_signed(self.wall_offset_ms);
        Now { monotonic_ms: self.now_ms, wall: Timestamp::from_unix_ms(wall) }
    }

    /// A number below `below`, the same in every run of this world (Steele et al., "SplitMix", OOPSLA 2014).
    pub(crate) fn chance(&mut self, below: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }

    pub(crate) fn wanted(&self, number: usize, user: usize) -> Wanted {
        let number = number % self.setup.objects.len();
        Wanted { object: object(number), priority: self.setup.priorities[user], terms: self.setup.objects[number].0 }
    }

    fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = format!("{:>6} {}", self.now_ms, line(self));
            self.story.get_or_insert_default().push(line);
        }
    }

    pub(crate) fn at(&mut self, at_ms: u64, happening: Happening) {
        self.counter += 1;
        self.happenings.insert((at_ms.max(self.now_ms), self.counter), happening);
    }

    /// In `delay_ms` at most, and after what was sent before it on the same way.
    /// When it comes is given back.
    pub(crate) fn in_order(&mut self, way: (u8, EntityId), delay_ms: u64, happening: Happening) -> u64 {
        let at_ms = (self.now_ms + self.chance(delay_ms)).max(self.order.get(&way).copied().unwrap_or(0));
        self.order.insert(way, at_ms);
        self.at(at_ms, happening);
        at_ms
    }

    /// It may be lost, doubled, and overtaken.
    fn over_session(&mut self, happening: Happening) {
        let copies = match self.chance(16) {
            _ if self.calm => 1,
            luck if luck < self.setup.lossy => 0,
            luck if luck < 2 * self.setup.lossy => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay_ms = self.chance(40);
            self.at(self.now_ms + delay_ms, happening.clone());
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, for_ms: u64) {
        let until_ms = self.now_ms + for_ms;
        while let Some(((at_ms, _), _)) = self.happenings.first_key_value()
            && *at_ms <= until_ms
        {
            let ((at_ms, _), happening) = self.happenings.pop_first().expect("there is one");
            self.now_ms = self.now_ms.max(at_ms);
            self.happen(happening);
            if !self.observer.violations().is_empty() {
                return;
            }
        }
        self.now_ms = until_ms;
    }

    /// A wish of a user sets out.
    pub(crate) fn ask(&mut self, asked: Asked) {
        self.over_session(Happening::FromSession(asked));
    }

    pub(crate) fn send_command(&mut self, object: EntityId, user: usize, token: Token) {
        self.over_session(Happening::Command(object, user, token));
    }

    pub(crate) fn reply(&mut self, user: usize, objects: Vec<EntityId>) -> Reply {
        self.next_reply += 1;
        self.replies.insert(self.next_reply, (user, objects));
        self.next_reply
    }

    fn happen(&mut self, happening: Happening) {
        if !matches!(happening, Happening::Due | Happening::Commit) {
            self.tell(|_| format!("{happening:?}"));
        }
        let to_supervisor =
            matches!(happening, Happening::FromSession(_) | Happening::ToTable(_) | Happening::Commit | Happening::Due);
        if to_supervisor && self.now_ms < self.paused_until_ms {
            return self.at(self.paused_until_ms, happening);
        }
        match happening {
            Happening::FromSession(asked) => self.arrive(asked),
            Happening::ToTable(input) => self.step(input),
            Happening::Due => {
                self.due_ms = u64::MAX;
                self.step(Input::Tick);
            }
            Happening::Commit => self.commit(),
            Happening::ToGate(object, life, told) => {
                let mut out = Vec::new();
                let now_ms = self.now_ms;
                let gate = self.gates.get_mut(&object).expect("it has a gate");
                // A copy that outlived the gate's life is not delivered.
                if life.is_none_or(|life| life == gate.incarnation) {
                    gate.told(told, now_ms, &mut out);
                }
                self.follow(object, out);
            }
            Happening::Command(object, user, token) => {
                let (mut out, now_ms) = (Vec::new(), self.now_ms);
                let from = claimant(user, HolderClass::Person).holder.clone();
                let gate = self.gates.get_mut(&object).expect("it has a gate");
                if gate.command(token, &from, now_ms, &mut out) {
                    self.at_gate(object, GateEvent::Accepted(token, &from));
                }
                self.follow(object, out);
            }
            Happening::ToDevice(object, told) => {
                let now_ms = self.now_ms;
                let way = self.gates[&object].way;
                let device = self.devices.get_mut(&object).expect("it has a device");
                if now_ms < device.silent_until_ms && !self.calm {
                    return;
                }
                let (answer, acted) = device.get(way, told, now_ms);
                if let Some(token) = acted {
                    self.at_gate(object, GateEvent::Acted(token));
                }
                let delay_ms = self.chance(30);
                self.at(now_ms + delay_ms, Happening::FromDevice(object, answer));
            }
            Happening::FromDevice(object, answer) => {
                let (mut out, now_ms) = (Vec::new(), self.now_ms);
                if now_ms < self.devices[&object].silent_until_ms && !self.calm {
                    return;
                }
                self.gates.get_mut(&object).expect("it has a gate").answered(answer, now_ms, &mut out);
                self.follow(object, out);
            }
            Happening::Wake(object) => {
                let (mut out, now_ms) = (Vec::new(), self.now_ms);
                self.gates.get_mut(&object).expect("it has a gate").try_open(now_ms, &mut out);
                self.follow(object, out);
            }
            Happening::ToUser(user, objects, token) => {
                for object in objects {
                    self.users[user].tokens.entry(object).or_default().push(token);
                }
            }
        }
    }

    fn arrive(&mut self, asked: Asked) {
        let user = |request: &Request| {
            request.who.holder.user.to_string().trim_start_matches("user").parse().expect("a user's number")
        };
        let objects = |request: &Request| request.objects.as_slice().iter().map(|wanted| wanted.object).collect();
        let input = match asked {
            Asked::Request(request) => {
                let reply = self.reply(user(&request), objects(&request));
                Input::Request(request, reply)
            }
            Asked::Batch(requests) => {
                let with_reply = |request: Request| {
                    let reply = self.reply(user(&request), objects(&request));
                    (request, reply)
                };
                Input::Batch(requests.into_iter().map(with_reply).collect())
            }
            Asked::Cancel(system, id) => Input::Cancel { system, id, reply: self.reply(0, Vec::new()) },
            Asked::Renew(shown, ttl_ms) => {
                let reply = self.reply(0, Vec::new());
                Input::Renew { shown, ttl_ms, reply }
            }
            Asked::Release(shown) => Input::Release { shown, reply: self.reply(0, Vec::new()) },
            Asked::Yield(shown, yields) => Input::Yield { shown, yields, reply: self.reply(0, Vec::new()) },
            Asked::KeepAlive(system) => Input::KeepAlive { system, reply: self.reply(0, Vec::new()) },
        };
        self.step(input);
    }

    fn at_gate(&mut self, object: EntityId, event: GateEvent<'_>) {
        let now = self.now();
        self.observer.see(Event::Gate { object, event }, now);
    }

    fn follow(&mut self, object: EntityId, out: Vec<GateOut>) {
        for follows in out {
            self.tell(|_| format!("  gate {object:?}: {follows:?}"));
            match follows {
                GateOut::Device(told) => {
                    let delay_ms = self.chance(50);
                    self.at(self.now_ms + delay_ms, Happening::ToDevice(object, told));
                }
                GateOut::Fenced { token, seen_before, to } => {
                    if seen_before < token {
                        self.at_gate(object, GateEvent::Fenced(token, to.as_deref()));
                    }
                    let gate = &self.gates[&object];
                    let (incarnation, fencing) = (gate.incarnation, gate.way);
                    let input = Input::Fenced { object, token, incarnation, fencing, seen_before };
                    if self.chance(16) == 0 && !self.calm {
                        let late_ms = self.chance(200);
                        self.at(self.now_ms + late_ms, Happening::ToTable(input.clone()));
                    }
                    self.in_order((1, object), 10, Happening::ToTable(input));
                }
                GateOut::Restricted(token, restricted) => {
                    self.at_gate(object, GateEvent::Restricted(token, restricted));
                }
                GateOut::Wake(at_ms) => self.at(at_ms, Happening::Wake(object)),
            }
        }
    }

    /// The supervisor takes a turn.
    pub(crate) fn step(&mut self, input: Input) {
        let (now, mut effects) = (self.now(), Vec::new());
        self.table.step(input.clone(), now, &mut effects);
        for effect in &effects {
            self.tell(|_| format!("  table: {effect:?}"));
        }
        self.observer.see(Event::Step { input: &input, effects: &effects }, now);
        let before = self.log.len();
        for effect in effects {
            match effect {
                Effect::Record(entity, change) => self.log.push((entity, change)),
                effect => self.outbox.push_back((self.log.len(), effect)),
            }
        }
        for number in 0..self.setup.objects.len() {
            self.observer.see(Event::Look(&self.table, object(number)), now);
        }
        if self.log.len() > before {
            let delay_ms = self.chance(12);
            self.at(self.now_ms + delay_ms, Happening::Commit);
        }
        self.release();
        if let Some(due_ms) = self.table.due_ms().filter(|due_ms| *due_ms < self.due_ms) {
            self.due_ms = due_ms;
            self.at(due_ms, Happening::Due);
        }
    }

    /// Sends what its records no longer hold back.
    pub(crate) fn release(&mut self) {
        let at_once = broken(Mutation::ToldBeforeDurable);
        while let Some((_, effect)) = self.outbox.pop_front_if(|(needs, _)| *needs <= self.durable || at_once) {
            let now = self.now();
            self.observer.see(Event::Left(&effect), now);
            self.send(effect);
        }
    }

    fn send(&mut self, effect: Effect) {
        let (object, told) = match effect {
            Effect::Fence { object, token, to, ttl_ms, stop, replaced, restricted, .. } => {
                if replaced {
                    self.replace_device(object, token);
                }
                (object, ToGate::Fence { token, to, ttl_ms, stop, replaced, restricted })
            }
            Effect::Restrict { object, token, restricted } => (object, ToGate::Restrict { token, restricted }),
            Effect::Extend { object, token, ttl_ms } => (object, ToGate::Extend { token, ttl_ms }),
            Effect::Answer(reply, answer) => {
                let Some((user, objects)) = self.replies.remove(&reply) else { return };
                match answer {
                    Ok(Done::Granted(grant)) => self.over_session(Happening::ToUser(user, objects, grant.token)),
                    Err(Refused::TokenStale(Some(token))) => {
                        self.over_session(Happening::ToUser(user, objects, token));
                    }
                    Ok(_) | Err(_) => {}
                }
                return;
            }
            Effect::Tell { who, objects, notice: Notice::Granted(grant), .. } => {
                let user = who.holder.user.to_string().trim_start_matches("user").parse().expect("a user's number");
                let objects = objects.as_slice().iter().map(|wanted| wanted.object).collect();
                return self.over_session(Happening::ToUser(user, objects, grant.token));
            }
            // What a holder weighs only tells who is refused.
            Effect::Tell { .. } | Effect::Record(..) | Effect::Weigh { .. } => return,
        };
        let life = self.gates[&object].incarnation;
        // A copy comes behind what it is a copy of; what was sent later it may overtake, and be overtaken by.
        let copy = (self.chance(16) == 0 && !self.calm).then(|| (self.chance(300), told.clone()));
        let at_ms = self.in_order((0, object), 10, Happening::ToGate(object, None, told));
        if let Some((late_ms, told)) = copy {
            self.at(at_ms + late_ms, Happening::ToGate(object, Some(life), told));
        }
    }

    /// Faults stop, and time passes until nobody can be waiting any more.
    pub(crate) fn rest(&mut self) {
        self.calm = true;
        self.paused_until_ms = 0;
        for device in self.devices.values_mut() {
            device.silent_until_ms = 0;
        }
        for _ in 0..REST_MS / 500 {
            self.pass(500);
            if !self.observer.violations().is_empty() {
                return;
            }
            for number in 0..self.setup.objects.len() {
                let view = self.table.view(object(number), 0).filter(|_| !self.restored);
                if view.is_some_and(|view| view.phase == twinway_protocol::lease::Phase::Quarantined) {
                    let reply = self.reply(0, Vec::new());
                    self.step(Input::ReplaceGate { object: object(number), reply });
                }
            }
        }
        let now = self.now();
        self.commit();
        self.observer.see(Event::Quiet, now);
    }
}
