//! A gate and its device as section "sync leases" of the design describes them, no more.

use std::sync::Arc;

use twinway_protocol::{
    EntityId,
    lease::{
        Claimant, Fencing, Holder, Token,
        mutation::{Mutation, broken},
    },
};

/// What a gate is told.
#[derive(Clone, Debug)]
pub(crate) enum ToGate {
    Fence { token: Token, to: Option<Arc<Claimant>>, ttl_ms: u64, stop: bool, replaced: bool, restricted: bool },
    Restrict { token: Token, restricted: bool },
    Extend { token: Token, ttl_ms: u64 },
}

/// What a gate sends to the device behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToDevice {
    Command {
        number: u64,
        token: Token,
        not_after_ms: u64,
    },
    SafeStop {
        number: u64,
    },
    /// A token, and the life of the gate that sends it.
    Fence(Token, u32),
}

/// What a device answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromDevice {
    Done { number: u64 },
    Fenced { token: Token, life: u32, seen_before: Token },
}

/// What follows at a gate.
#[derive(Clone, Debug)]
pub(crate) enum GateOut {
    Device(ToDevice),
    Fenced {
        token: Token,
        seen_before: Token,
        to: Option<Arc<Claimant>>,
    },
    Restricted(Token, bool),
    /// Look again at this moment.
    Wake(u64),
}

#[derive(Clone, Debug)]
struct Opening {
    to: Option<Arc<Claimant>>,
    ttl_ms: u64,
    /// The safe stop that has to be answered.
    stop: Option<u64>,
    replaced: bool,
}

/// The physical object's actor, as far as leases are concerned.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) object: EntityId,
    pub(crate) way: Fencing,
    pub(crate) incarnation: u32,
    pub(crate) token: Token,
    opening: Option<Opening>,
    open_for: Option<Holder>,
    restricted: bool,
    deadline_ms: u64,
    /// Until when at least it will accept the token that it is being fenced for.
    extended_ms: u64,
    /// What was sent and not answered: it outlives the gate's lives, because it is written down before it is sent.
    under_way: Vec<(u64, Token, u64)>,
    numbers: u64,
    device_fenced: Token,
    /// What the device had seen before this life of the gate sent it anything.
    seen_before: Option<Token>,
}

/// How long a device may act on a command, in milliseconds.
pub(crate) const COMMAND_MS_MAX: u64 = 60;

impl Gate {
    pub(crate) fn new(object: EntityId, way: Fencing) -> Self {
        Self {
            object,
            way,
            incarnation: 1,
            token: Token::NONE,
            opening: None,
            open_for: None,
            restricted: false,
            deadline_ms: 0,
            extended_ms: 0,
            under_way: Vec::new(),
            numbers: 0,
            device_fenced: Token::NONE,
            seen_before: None,
        }
    }

    /// A new life: closed until fenced.
    pub(crate) fn restart(&mut self) {
        let (under_way, numbers) = (std::mem::take(&mut self.under_way), self.numbers);
        *self = Self { incarnation: self.incarnation + 1, under_way, numbers, ..Self::new(self.object, self.way) };
    }

    /// An operator saw the device at rest.
    pub(crate) fn forget(&mut self) {
        self.under_way.clear();
    }

    pub(crate) fn told(&mut self, told: ToGate, now_ms: u64, out: &mut Vec<GateOut>) {
        match told {
            ToGate::Fence { token, to, ttl_ms, stop, replaced, restricted } => {
                self.fence(token, to, ttl_ms, stop, replaced, restricted, now_ms, out);
            }
            ToGate::Restrict { token, restricted } if token == self.token => {
                self.restricted = restricted;
                if self.opening.is_none() {
                    out.push(GateOut::Restricted(token, restricted));
                }
            }
            ToGate::Extend { token, ttl_ms } if token == self.token && self.opening.is_some() => {
                self.extended_ms = self.extended_ms.max(now_ms + ttl_ms);
            }
            ToGate::Extend { token, ttl_ms } if token == self.token => {
                self.deadline_ms = self.deadline_ms.max(now_ms + ttl_ms);
            }
            ToGate::Restrict { .. } | ToGate::Extend { .. } => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of the one message that it handles")]
    fn fence(
        &mut self,
        token: Token,
        to: Option<Arc<Claimant>>,
        ttl_ms: u64,
        stop: bool,
        replaced: bool,
        restricted: bool,
        now_ms: u64,
        out: &mut Vec<GateOut>,
    ) {
        if token < self.token && !broken(Mutation::GateTakesOlderFence) {
            return;
        }
        if token == self.token && self.opening.is_none() {
            return out.push(GateOut::Fenced { token, seen_before: self.seen_before(), to });
        }
        if token != self.token {
            self.restricted = restricted;
            self.extended_ms = 0;
        }
        self.token = token;
        self.open_for = None;
        if replaced {
            self.forget();
        }
        let stop = stop.then(|| {
            self.numbers += 1;
            out.push(GateOut::Device(ToDevice::SafeStop { number: self.numbers }));
            self.numbers
        });
        if self.way == Fencing::Device {
            out.push(GateOut::Device(ToDevice::Fence(token, self.incarnation)));
        }
        self.opening = Some(Opening { to, ttl_ms, stop, replaced });
        self.try_open(now_ms, out);
    }

    /// Answers the fence once nothing older can act any more.
    pub(crate) fn try_open(&mut self, now_ms: u64, out: &mut Vec<GateOut>) {
        let Some(opening) = &self.opening else { return };
        let older = || self.under_way.iter().filter(|(_, token, _)| *token < self.token);
        let fenced = match self.way {
            Fencing::Device => self.device_fenced >= self.token || opening.replaced,
            Fencing::Drained => older().next().is_none(),
            Fencing::Deadline => {
                let latest_ms = older().map(|(.., not_after_ms)| *not_after_ms).max();
                if let Some(latest_ms) = latest_ms.filter(|latest_ms| *latest_ms >= now_ms) {
                    out.push(GateOut::Wake(latest_ms + 1));
                }
                latest_ms.is_none_or(|latest_ms| latest_ms < now_ms)
            }
        };
        let at_rest = opening.stop.is_none() || opening.replaced;
        if (!fenced && !broken(Mutation::FencedWhileUnderWay)) || !at_rest {
            return;
        }
        let Some(opening) = self.opening.take() else { return };
        if self.seen_before() < self.token {
            self.open_for = opening.to.as_ref().map(|claimant| claimant.holder.clone());
            self.deadline_ms = self.extended_ms.max(now_ms + opening.ttl_ms);
        }
        out.push(GateOut::Fenced { token: self.token, seen_before: self.seen_before(), to: opening.to });
        if self.restricted {
            out.push(GateOut::Restricted(self.token, true));
        }
    }

    fn seen_before(&self) -> Token {
        self.seen_before.unwrap_or(Token::NONE)
    }

    /// A command of a holder: tells whether it is accepted.
    pub(crate) fn command(&mut self, token: Token, from: &Holder, now_ms: u64, out: &mut Vec<GateOut>) -> bool {
        let right = token == self.token || broken(Mutation::GateOpen);
        let holder = self.open_for.as_ref() == Some(from) || broken(Mutation::AnybodysToken);
        let open = self.open_for.is_some() && self.opening.is_none();
        let free = !self.restricted || broken(Mutation::RestrictionIgnored);
        if !(right && holder && open && free && now_ms <= self.deadline_ms) {
            return false;
        }
        self.numbers += 1;
        let not_after_ms = now_ms + COMMAND_MS_MAX;
        self.under_way.push((self.numbers, token, not_after_ms));
        out.push(GateOut::Device(ToDevice::Command { number: self.numbers, token, not_after_ms }));
        true
    }

    pub(crate) fn answered(&mut self, answer: FromDevice, now_ms: u64, out: &mut Vec<GateOut>) {
        match answer {
            FromDevice::Done { number } => {
                self.under_way.retain(|(sent, ..)| *sent != number);
                if let Some(opening) = self.opening.as_mut().filter(|opening| opening.stop == Some(number)) {
                    opening.stop = None;
                }
            }
            // What an earlier life had asked for says nothing about this one.
            FromDevice::Fenced { life, .. } if life != self.incarnation => {}
            FromDevice::Fenced { token, seen_before, .. } => {
                self.seen_before.get_or_insert(seen_before);
                self.device_fenced = self.device_fenced.max(token);
            }
        }
        self.try_open(now_ms, out);
    }
}

/// The device, behind its digital twin system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Device {
    fenced: Token,
    pub(crate) seen: Token,
    /// Until when nothing reaches it or comes back.
    pub(crate) silent_until_ms: u64,
}

impl Device {
    /// What it answers, and the token on which it acted.
    pub(crate) fn get(&mut self, way: Fencing, told: ToDevice, now_ms: u64) -> (FromDevice, Option<Token>) {
        match told {
            ToDevice::Command { number, token, not_after_ms } => {
                self.seen = self.seen.max(token);
                let acts = match way {
                    Fencing::Device => token >= self.fenced,
                    Fencing::Deadline => now_ms <= not_after_ms,
                    Fencing::Drained => true,
                };
                (FromDevice::Done { number }, acts.then_some(token))
            }
            ToDevice::SafeStop { number } => (FromDevice::Done { number }, None),
            ToDevice::Fence(token, life) => {
                self.fenced = self.fenced.max(token);
                let seen_before = self.seen;
                self.seen = seen_before.max(token);
                (FromDevice::Fenced { token, life, seen_before }, None)
            }
        }
    }

    /// It was replaced: the new one has seen the newest token.
    pub(crate) fn replaced(&mut self, token: Token) {
        self.fenced = self.fenced.max(token);
        self.seen = self.seen.max(token);
    }
}
