//! The model that is searched: what can happen next in a state, and what must hold in all of them.

use stateright::{Model, Property};
use twinway_protocol::{
    EntityId, UserId,
    lease::{
        Fencing, Input, Manner, Objects, Phase, Request, RequestId, Shown, Terms, Token, Wanted, mutation::Mutation,
        rules::Rule,
    },
};

use crate::state::{State, claimant, object, system};

/// How often what is left to chance may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Commands that a gate accepts.
    pub(crate) commands: u8,
    /// Leases that are given back.
    pub(crate) releases: u8,
    /// Requests that arrive twice.
    pub(crate) repeats: u8,
    /// Messages of gates and devices that are lost.
    pub(crate) losses: u8,
    /// Messages between supervisor and gate that are doubled, with a late copy.
    pub(crate) copies: u8,
    /// Moments that pass while a device or a gate has not answered.
    pub(crate) slow: u8,
    /// Deaths of the daemon.
    pub(crate) deaths: u8,
    /// Panics of the supervisor alone.
    pub(crate) panics: u8,
}

/// What a user asks for, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The numbers of the objects.
    pub(crate) objects: &'static [usize],
    pub(crate) priority: u8,
    pub(crate) wait_ms: u32,
}

/// A small world.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    pub(crate) objects: Vec<(Terms, Fencing)>,
    /// One of each user.
    pub(crate) wishes: Vec<Wish>,
    pub(crate) budget: Budget,
    /// Until when requests arrive, in milliseconds.
    pub(crate) asks_until_ms: u64,
    /// A check that is taken out.
    #[cfg_attr(not(feature = "mutations"), expect(dead_code, reason = "no check can be taken out of this build"))]
    pub(crate) without: Option<Mutation>,
}

/// How long a lease lasts that nobody renews, in milliseconds.
const TTL_MS: u32 = 200;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A user's request arrives, once more if it did before.
    Ask(usize),
    Release(usize, EntityId, Token),
    Command(usize, EntityId, Token),
    Commit,
    ToGate(usize),
    FromGate(usize),
    ToDevice(usize, usize),
    FromDevice(usize, usize),
    LoseToDevice(usize, usize),
    LoseFromDevice(usize, usize),
    CopyToGate(usize),
    CopyFromGate(usize),
    LateToGate(usize, usize),
    LateFromGate(usize, usize),
    /// Time passes until the table has something due.
    Tick,
    /// Time passes until a gate has.
    Wake(usize),
    Die,
    Panic,
}

impl Leases {
    fn request(&self, user: usize) -> Request {
        let wish = &self.wishes[user];
        let wanted = |number: &usize| Wanted {
            object: object(*number),
            priority: wish.priority,
            terms: self.objects[*number].0,
        };
        let objects = match wish.objects {
            [one] => Objects::One(wanted(one)),
            set => Objects::Set(set.iter().map(wanted).collect()),
        };
        Request {
            system: system(user),
            id: Some(RequestId(user as u128)),
            who: claimant(user),
            objects,
            ttl_ms: TTL_MS,
            wait_ms: wish.wait_ms,
            manner: Manner::default(),
        }
    }

    fn of_users(&self, state: &State, actions: &mut Vec<Action>) {
        let wishes = if state.now_ms <= self.asks_until_ms { self.wishes.len() } else { 0 };
        for user in 0..wishes {
            let again = state.asked & (1 << user) != 0;
            if (again && state.left.repeats > 0) || (!again && self.is_next_of_its_like(user, state)) {
                actions.push(Action::Ask(user));
            }
        }
        for (user, object, token) in state.known.iter().copied() {
            if state.left.releases > 0 {
                actions.push(Action::Release(user, object, token));
            }
            if state.left.commands > 0 {
                actions.push(Action::Command(user, object, token));
            }
        }
    }

    /// Users of the same wish differ in nothing but their names, by which nobody decides anything: they ask in the order
    /// of their numbers, and every other order is one of these with the names exchanged.
    fn is_next_of_its_like(&self, user: usize, state: &State) -> bool {
        let like = |other: &usize| self.wishes[*other] == self.wishes[user];
        (0..user).filter(like).all(|other| state.asked & (1 << other) != 0)
    }

    fn of_messages(state: &State, actions: &mut Vec<Action>) {
        for (at, site) in state.sites.iter().enumerate() {
            if !site.to_gate.is_empty() {
                actions.push(Action::ToGate(at));
            }
            if !site.from_gate.is_empty() {
                actions.push(Action::FromGate(at));
            }
            actions.extend(site.to_device.places().map(|place| Action::ToDevice(at, place)));
            actions.extend(site.from_device.places().map(|place| Action::FromDevice(at, place)));
            actions.extend(site.late_to_gate.places().map(|place| Action::LateToGate(at, place)));
            actions.extend(site.late_from_gate.places().map(|place| Action::LateFromGate(at, place)));
            if state.left.losses > 0 {
                actions.extend(site.to_device.places().map(|place| Action::LoseToDevice(at, place)));
                actions.extend(site.from_device.places().map(|place| Action::LoseFromDevice(at, place)));
            }
            if state.left.copies > 0 && !site.to_gate.is_empty() {
                actions.push(Action::CopyToGate(at));
            }
            if state.left.copies > 0 && !site.from_gate.is_empty() {
                actions.push(Action::CopyFromGate(at));
            }
        }
    }

    /// Commits and what the supervisor tells its gates are faster than any timer; devices need not be.
    fn of_time(state: &State, actions: &mut Vec<Action>) {
        let Some(next_ms) = state.next_ms().filter(|_| state.is_settled()) else { return };
        if !state.is_answered() && state.left.slow == 0 {
            return;
        }
        if state.table.due_ms() == Some(next_ms) {
            actions.push(Action::Tick);
        }
        let waking = state.sites.iter().enumerate().filter(|(_, site)| site.wake_ms == Some(next_ms));
        actions.extend(waking.map(|(at, _)| Action::Wake(at)));
    }

    fn pass(state: &mut State) {
        if !state.is_answered() {
            state.left.slow -= 1;
        }
        state.now_ms = state.next_ms().map_or(state.now_ms, |next_ms| next_ms.max(state.now_ms));
    }

    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Ask(user) => {
                state.left.repeats -= state.asked >> user & 1;
                state.asked |= 1 << user;
                let reply = state.reply(user, self.wishes[user].objects.iter().copied().map(object).collect());
                state.step(Input::Request(self.request(user), reply));
            }
            Action::Release(user, object, token) => {
                state.left.releases -= 1;
                let named: UserId = claimant(user).holder.user.clone();
                let reply = state.reply(user, Vec::new());
                state.step(Input::Release { shown: Shown { object, token, system: system(user), user: named }, reply });
            }
            Action::Command(user, object, token) => {
                state.left.commands -= 1;
                // One that is refused is as good as lost.
                return state.command(user, object.slot() as usize, token).then_some(());
            }
            Action::Commit => state.commit(),
            Action::ToGate(at) => {
                let told = state.sites[at].to_gate.pop_front()?;
                state.at_gate(at, |gate, now_ms, out| gate.told(told, now_ms, out));
            }
            Action::FromGate(at) => {
                let input = state.sites[at].from_gate.pop_front()?;
                state.step(input);
            }
            Action::ToDevice(at, place) => state.at_device(at, place),
            Action::FromDevice(at, place) => {
                let answer = state.sites[at].from_device.take(place);
                state.at_gate(at, |gate, now_ms, out| gate.answered(answer, now_ms, out));
            }
            Action::LoseToDevice(at, place) => {
                state.left.losses -= 1;
                state.sites[at].to_device.take(place);
            }
            Action::LoseFromDevice(at, place) => {
                state.left.losses -= 1;
                state.sites[at].from_device.take(place);
            }
            Action::CopyToGate(at) => {
                state.left.copies -= 1;
                state.copy_to_gate(at);
            }
            Action::CopyFromGate(at) => {
                state.left.copies -= 1;
                state.copy_from_gate(at);
            }
            Action::LateToGate(at, place) => {
                let (life, told) = state.sites[at].late_to_gate.take(place);
                // A copy that outlived the gate's life is not delivered.
                if life == state.sites[at].gate.incarnation {
                    state.at_gate(at, |gate, now_ms, out| gate.told(told, now_ms, out));
                }
            }
            Action::LateFromGate(at, place) => {
                let input = state.sites[at].late_from_gate.take(place);
                state.step(input);
            }
            Action::Tick => {
                Self::pass(state);
                state.step(Input::Tick);
            }
            Action::Wake(at) => {
                Self::pass(state);
                state.sites[at].wake_ms = None;
                state.at_gate(at, |gate, now_ms, out| gate.try_open(now_ms, out));
            }
            Action::Die => {
                state.left.deaths -= 1;
                state.die();
            }
            Action::Panic => {
                state.left.panics -= 1;
                state.panic();
            }
        }
        Some(())
    }
}

impl Model for Leases {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Behind a violation nothing is of interest.
        if state.is_broken() {
            return;
        }
        self.of_users(state, actions);
        if !state.is_all_durable() {
            actions.push(Action::Commit);
        }
        Self::of_messages(state, actions);
        Self::of_time(state, actions);
        if state.left.deaths > 0 {
            actions.push(Action::Die);
        }
        if state.left.panics > 0 {
            actions.push(Action::Panic);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        // The switches are a thread's own, and the search has several.
        #[cfg(feature = "mutations")]
        twinway_protocol::lease::mutation::set(self.without);
        let mut state = last.clone();
        let moved = self.act(&mut state, action);
        #[cfg(feature = "mutations")]
        twinway_protocol::lease::mutation::set(None);
        moved?;
        state.seal(Some(last));
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("1 one holder", holds::<1>),
            Property::always("2 fence never decreases", holds::<2>),
            Property::always("3 token unique", holds::<3>),
            Property::always("4 durable, then fenced, then visible", holds::<4>),
            Property::always("5 nothing of older epoch", holds::<5>),
            Property::always("6 higher holds in time", holds::<6>),
            Property::always("7 equal never evicts", holds::<7>),
            Property::always("8 first come, first served", holds::<8>),
            Property::always("9 repeated id changes nothing", holds::<9>),
            Property::always("10 restricted to safe stop", holds::<10>),
            Property::always("11 replay gives the same", holds::<11>),
            Property::always("12 clocks break nothing", holds::<12>),
            Property::always("13 one answer each", holds::<13>),
            Property::always("14 not free while wanted", holds::<14>),
            // With finitely many steps to take, every way ends; it has to end at rest.
            Property::eventually("comes to rest", |_, state: &State| state.is_at_rest() || state.is_broken()),
            // What has to be possible, or else the search proves little.
            Property::sometimes("a command is accepted", |model: &Self, state: &State| {
                model.budget.commands == 0 || state.accepted
            }),
            Property::sometimes("everybody has held", |model: &Self, state: &State| {
                (0..model.wishes.len()).all(|user| state.known.iter().any(|(known, ..)| *known == user))
            }),
            Property::sometimes("a holder is revoked", |_, state: &State| in_phase(state, Phase::Revoking)),
            Property::sometimes("a gate is in quarantine", |model: &Self, state: &State| {
                model.budget.slow == 0 || in_phase(state, Phase::Quarantined)
            }),
        ]
    }
}

fn in_phase(state: &State, phase: Phase) -> bool {
    (0..state.sites.len()).any(|at| state.table.view(object(at), 0).is_some_and(|view| view.phase == phase))
}

fn holds<const NUMBER: u8>(_: &Leases, state: &State) -> bool {
    let of = |rule: Rule| rule.number() == NUMBER;
    !state.observer.violations().iter().any(|violation| of(violation.rule))
        && (!state.is_at_rest() || !state.violations().iter().any(|violation| of(violation.rule)))
}
