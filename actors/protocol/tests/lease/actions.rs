//! What can be done to a world, and how histories of it are made up.

use proptest::prelude::*;
use twinway_protocol::{
    EntityId,
    lease::{
        Booking, Fencing, HolderClass, Input, Manner, Objects, Request, RequestId, Shown, Terms, Token,
        rules::{Event, Violation},
    },
};

use crate::world::{Asked, Setup, USERS, World, claimant, object, system};

/// One thing that is done. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Request { user: usize, objects: u8, wait_ms: u32, ttl_ms: u32, manner: u8, id: bool },
    Batch { object: usize, users: u8, wait_ms: u32 },
    Repeat { user: usize, which: usize },
    Cancel { user: usize, which: usize },
    Renew { user: usize, object: usize, back: usize, ttl_ms: u32 },
    Release { user: usize, object: usize, back: usize },
    Yield { user: usize, object: usize, yields: bool },
    KeepAlive { user: usize },
    Command { user: usize, object: usize, of: usize, back: usize },
    Weigh { object: usize, which: usize, priority: u8 },
    Deny { object: usize, which: usize },
    Reserve { user: usize, object: usize, in_ms: u64, for_ms: u64 },
    Unreserve { object: usize },
    Revoke { object: usize, grace: bool },
    ReplaceGate { object: usize },
    Pass(u64),
    Snapshot { object: usize },
    Die,
    Restore { kept: usize },
    Panic,
    GatePanics { object: usize },
    DeviceSilent { object: usize, for_ms: u64 },
    Pause(u64),
    WallJumps(i64),
}

fn action() -> impl Strategy<Value = Action> {
    let (user, thing) = (0..USERS, 0..3_usize);
    let wait = prop_oneof![Just(0), 50..1_500_u32];
    prop_oneof![
        12 => (user.clone(), 1..8_u8, wait.clone(), 100..2_000_u32, any::<u8>(), any::<bool>()).prop_map(
            |(user, objects, wait_ms, ttl_ms, manner, id)| Action::Request { user, objects, wait_ms, ttl_ms, manner, id }
        ),
        2 => (thing.clone(), any::<u8>(), wait).prop_map(|(object, users, wait_ms)| Action::Batch { object, users, wait_ms }),
        3 => (user.clone(), 0..4_usize).prop_map(|(user, which)| Action::Repeat { user, which }),
        2 => (user.clone(), 0..4_usize).prop_map(|(user, which)| Action::Cancel { user, which }),
        3 => (user.clone(), thing.clone(), 0..3_usize, 1..2_000_u32)
            .prop_map(|(user, object, back, ttl_ms)| Action::Renew { user, object, back, ttl_ms }),
        4 => (user.clone(), thing.clone(), 0..2_usize)
            .prop_map(|(user, object, back)| Action::Release { user, object, back }),
        1 => (user.clone(), thing.clone(), any::<bool>())
            .prop_map(|(user, object, yields)| Action::Yield { user, object, yields }),
        2 => user.clone().prop_map(|user| Action::KeepAlive { user }),
        12 => (user.clone(), thing.clone(), user.clone(), 0..3_usize)
            .prop_map(|(user, object, of, back)| Action::Command { user, object, of, back }),
        2 => (thing.clone(), 0..4_usize, 0..5_u8)
            .prop_map(|(object, which, priority)| Action::Weigh { object, which, priority }),
        1 => (thing.clone(), 0..4_usize).prop_map(|(object, which)| Action::Deny { object, which }),
        1 => (user, thing.clone(), 0..1_500_u64, 50..1_000_u64)
            .prop_map(|(user, object, in_ms, for_ms)| Action::Reserve { user, object, in_ms, for_ms }),
        1 => thing.clone().prop_map(|object| Action::Unreserve { object }),
        1 => (thing.clone(), any::<bool>()).prop_map(|(object, grace)| Action::Revoke { object, grace }),
        1 => thing.clone().prop_map(|object| Action::ReplaceGate { object }),
        16 => (0..120_u64).prop_map(Action::Pass),
        2 => (100..900_u64).prop_map(Action::Pass),
        2 => thing.clone().prop_map(|object| Action::Snapshot { object }),
        1 => Just(Action::Die),
        1 => (0..100_usize).prop_map(|kept| Action::Restore { kept }),
        1 => Just(Action::Panic),
        1 => thing.clone().prop_map(|object| Action::GatePanics { object }),
        1 => (thing, 50..800_u64).prop_map(|(object, for_ms)| Action::DeviceSilent { object, for_ms }),
        1 => (10..250_u64).prop_map(Action::Pause),
        1 => prop_oneof![-5_000..5_000_i64, -100_000_000..100_000_000_i64].prop_map(Action::WallJumps),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    let way = prop_oneof![Just(Fencing::Device), Just(Fencing::Deadline), Just(Fencing::Drained)];
    let terms = (
        prop_oneof![Just(0), 1..200_u32],
        prop_oneof![3 => Just(0), 1 => 1..200_u32],
        prop_oneof![2 => Just(0), 1 => 100..1_000_u32],
    )
        .prop_map(|(grace_ms, min_hold_ms, hold_ms_max)| Terms { grace_ms, min_hold_ms, hold_ms_max });
    let objects = prop_oneof![
        prop::collection::vec((terms.clone(), way), 1..4),
        // All devices check tokens: only then a restored backup is sure to be noticed.
        prop::collection::vec((terms, Just(Fencing::Device)), 1..3),
    ];
    (any::<u64>(), objects, prop::array::uniform5(0..4_u8), 0..3_u64)
        .prop_map(|(seed, objects, priorities, lossy)| Setup { seed, objects, priorities, lossy })
}

/// A world and what is done to it.
pub(crate) fn history(actions_max: usize) -> impl Strategy<Value = (Setup, Vec<Action>)> {
    (setup(), prop::collection::vec(action(), 1..actions_max))
}

/// Runs a history to its rest, and says what was violated.
pub(crate) fn run(setup: &Setup, actions: &[Action], story: bool) -> (Vec<Violation>, World) {
    let mut world = World::new(setup.clone());
    world.story = story.then(Vec::new);
    for action in actions {
        world.act(action);
        if !world.observer.violations().is_empty() {
            return (world.observer.take_violations(), world);
        }
    }
    world.rest();
    (world.observer.take_violations(), world)
}

impl World {
    /// The number of somebody who has an object, waits for it, or has reserved it.
    fn one_of(&self, object: EntityId, which: usize) -> Option<u64> {
        let view = self.table.view(object, 8)?;
        let claims = view.holder.iter().chain(&view.queue).map(|claim| claim.arrival);
        let claims: Vec<u64> = claims.chain(view.reservations.iter().map(|kept| kept.id)).collect();
        claims.get(which.checked_rem(claims.len())?).copied()
    }

    fn pick(&self, number: usize) -> EntityId {
        object(number % self.setup.objects.len())
    }

    /// A token that a user has heard of: `back` many before the last.
    fn token(&self, user: usize, object: EntityId, back: usize) -> Token {
        let tokens = self.users[user].tokens.get(&object);
        tokens.and_then(|tokens| tokens.iter().rev().nth(back)).copied().unwrap_or(Token { epoch: 1, n: 1 })
    }

    fn shown(&self, user: usize, number: usize, back: usize) -> Shown {
        let object = self.pick(number);
        let who = claimant(user, HolderClass::Person);
        Shown { object, token: self.token(user, object, back), system: system(user), user: who.holder.user.clone() }
    }

    pub(crate) fn act(&mut self, action: &Action) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:>6} DO {action:?}", self.now_ms));
        }
        match *action {
            Action::Request { user, objects, wait_ms, ttl_ms, manner, id } => {
                self.request(user, objects, wait_ms, ttl_ms, manner, id);
            }
            Action::Batch { object, users, wait_ms } => {
                let of = |user: usize| self.one(user, object, wait_ms);
                let requests = (0..USERS).filter(|user| users & (1 << user) != 0).map(of).collect();
                self.ask(Asked::Batch(requests));
            }
            Action::Repeat { user, which } => {
                if let Some(request) = self.users[user].asked.iter().rev().nth(which).cloned() {
                    self.ask(Asked::Request(request));
                }
            }
            Action::Cancel { user, which } => {
                if let Some(id) = self.users[user].asked.iter().rev().nth(which).and_then(|request| request.id) {
                    self.ask(Asked::Cancel(system(user), id));
                }
            }
            Action::Renew { user, object, back, ttl_ms } => {
                self.ask(Asked::Renew(self.shown(user, object, back), ttl_ms));
            }
            Action::Release { user, object, back } => self.ask(Asked::Release(self.shown(user, object, back))),
            Action::Yield { user, object, yields } => self.ask(Asked::Yield(self.shown(user, object, 0), yields)),
            Action::KeepAlive { user } => self.ask(Asked::KeepAlive(system(user))),
            Action::Command { user, object, of, back } => {
                // Mostly with one's own token, now and then with somebody else's.
                let of = if of == 0 { (user + 1) % USERS } else { user };
                let object = self.pick(object);
                self.send_command(object, user, self.token(of, object, back));
            }
            Action::Weigh { object, which, priority } => {
                let object = self.pick(object);
                if let Some(arrival) = self.one_of(object, which) {
                    self.step(Input::Weigh { object, arrival, priority });
                }
            }
            Action::Deny { object, which } => {
                let object = self.pick(object);
                if let Some(arrival) = self.one_of(object, which) {
                    self.step(Input::Deny { object, arrival });
                }
            }
            Action::Reserve { user, object, in_ms, for_ms } => {
                let from = self.now().wall.plus_ms(in_ms);
                let booking = Booking {
                    system: system(user),
                    who: claimant(user, HolderClass::Person),
                    wanted: self.wanted(object, user),
                    from,
                    until: from.plus_ms(for_ms),
                    ttl_ms: 400,
                };
                let reply = self.reply(user, Vec::new());
                self.step(Input::Reserve(booking, reply));
            }
            Action::Unreserve { object } => {
                let object = self.pick(object);
                let view = self.table.view(object, 0);
                if let Some(kept) = view.and_then(|view| view.reservations.first().cloned()) {
                    let reply = self.reply(0, Vec::new());
                    self.step(Input::Unreserve { object, id: kept.id, system: None, reply });
                }
            }
            Action::Revoke { object, grace } => {
                let (object, reply) = (self.pick(object), self.reply(0, Vec::new()));
                self.step(Input::Revoke { object, grace, reply });
            }
            Action::ReplaceGate { .. } if self.restored => {}
            Action::ReplaceGate { object } => {
                let (object, reply) = (self.pick(object), self.reply(0, Vec::new()));
                self.step(Input::ReplaceGate { object, reply });
            }
            Action::Pass(ms) => self.pass(ms),
            Action::Snapshot { object } => self.snapshot(object),
            Action::Die => self.die(None),
            Action::Restore { kept } => self.restore(kept),
            Action::Panic => self.panic(),
            Action::GatePanics { object } => self.restart_gate(self.pick(object)),
            Action::DeviceSilent { object, for_ms } => {
                let (object, until_ms) = (self.pick(object), self.now_ms + for_ms);
                self.devices.get_mut(&object).expect("it has a device").silent_until_ms = until_ms;
            }
            Action::Pause(ms) => {
                self.paused_until_ms = self.now_ms + ms;
                let now = self.now();
                self.observer.see(Event::Paused, now);
                self.pass(ms);
                self.observer.see(Event::Paused, now);
            }
            Action::WallJumps(ms) => self.wall_offset_ms += ms,
        }
    }

    fn one(&self, user: usize, number: usize, wait_ms: u32) -> Request {
        Request {
            system: system(user),
            id: None,
            who: claimant(user, HolderClass::Person),
            objects: Objects::One(self.wanted(number, user)),
            ttl_ms: 700,
            wait_ms,
            manner: Manner::default(),
        }
    }

    fn request(&mut self, user: usize, objects: u8, wait_ms: u32, ttl_ms: u32, manner: u8, id: bool) {
        let wanted = (0..self.setup.objects.len()).filter(|number| objects & (1 << number) != 0);
        let wanted: Vec<_> = wanted.map(|number| self.wanted(number, user)).collect();
        let objects = match wanted[..] {
            [] => Objects::One(self.wanted(0, user)),
            [one] => Objects::One(one),
            _ => Objects::Set(wanted.into()),
        };
        let id = id.then(|| RequestId(u128::from(self.chance(u64::MAX))));
        let manner = Manner { ask: manner & 1 != 0, requeue: manner & 2 != 0, one_shot: manner & 28 == 4 };
        let class = if manner.one_shot && manner.ask { HolderClass::Emergency } else { HolderClass::Person };
        let request =
            Request { system: system(user), id, who: claimant(user, class), objects, ttl_ms, wait_ms, manner };
        if id.is_some() {
            self.users[user].asked.push(request.clone());
        }
        self.ask(Asked::Request(request));
    }

    fn snapshot(&mut self, number: usize) {
        if self.is_all_durable() {
            let (object, mut changes) = (self.pick(number), Vec::new());
            self.table.snapshot(Some(object), &mut changes);
            self.snapshots.insert(object, (self.log.len(), changes));
            self.check_replay();
        }
    }

    /// An older backup takes the journal's place, with all devices at rest. That its tokens are not given again is sure
    /// where every device answers fences; elsewhere the daemon only dies.
    fn restore(&mut self, kept: usize) {
        if self.setup.objects.iter().any(|(_, way)| *way != Fencing::Device) {
            return self.die(None);
        }
        for number in 0..self.setup.objects.len() {
            self.purge(object(number));
            self.gates.get_mut(&object(number)).expect("it has a gate").forget();
        }
        self.restored = true;
        let commit = self.commits[self.commits.len() * kept / 100];
        self.die(Some(commit));
    }
}
