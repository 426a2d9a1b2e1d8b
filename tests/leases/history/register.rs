//! Whether a history is one of a register that holds a holder or nobody: each operation took effect at one moment
//! between its sending and its answer (Herlihy and Wing, "Linearizability", TOPLAS 1990). Objects are judged one by one,
//! which is the same (their theorem 1).
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", JPDC 1993) with the memory of Lowe
//! ("Testing for linearizability", 2017). `stateright`'s `LinearizabilityTester` does not fit: what happens to a lease has
//! events that nobody invokes (a preemption begins, a daemon restarts, a lease may have expired by then), operations
//! whose effect is bounded in time though their answer is lost, and answers that are only known as a bound; and it
//! searches without memory.

use std::collections::{BTreeSet, HashMap};

use twinway::protocol::lease::Token;

/// By how much two readings of the wall clock may differ by being cut to milliseconds, and by its being adjusted.
const CLOCK_MS: u64 = 25;
/// How many states are looked at before a history is given up as too large.
const STATES_MAX: usize = 3_000_000;

/// Something that took effect at one moment of its interval.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    pub(crate) user: String,
    /// The first place in the history where it may have taken effect, and the place by which it had.
    pub(crate) from: u64,
    pub(crate) by: u64,
    /// The wall clock at these places.
    pub(crate) from_ms: u64,
    pub(crate) by_ms: u64,
    /// It may also never have taken effect.
    pub(crate) may_be_lost: bool,
    pub(crate) effect: Effect,
}

impl Operation {
    fn preempts(&self, user: &str) -> bool {
        self.user == user && matches!(self.effect, Effect::Preempting { .. })
    }
}

/// What it did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// The user has the object; the token is not known if the answer was lost.
    Granted {
        priority: u8,
        ttl_ms: u64,
        token: Option<Token>,
    },
    /// A request of this priority began to take the object from its holder.
    Preempting {
        priority: u8,
    },
    /// The request of this priority came to nothing; its preemption, if there was one, with it.
    GaveUp {
        priority: u8,
        at_once: bool,
        excused: bool,
    },
    /// The user's token passed.
    Used {
        token: Token,
    },
    Renewed {
        token: Token,
        ttl_ms: u64,
    },
    Released {
        token: Token,
    },
    /// The user's token did not pass, since the lease is being revoked.
    Revoking {
        token: Token,
    },
    /// The user's token did not pass.
    Over {
        token: Token,
        excused: bool,
    },
    /// The user had the object for one change.
    OneShot {
        priority: u8,
    },
    /// The daemon began a new life, in which holders have so long to come back.
    Restarted {
        return_ms: u64,
    },
    /// Somebody looked.
    Seen {
        holder: Option<(String, u8)>,
        token: Option<Token>,
        excused: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    user: String,
    priority: u8,
    token: Option<Token>,
    /// It cannot have expired before.
    lasts_ms: u64,
    /// It has a new token that nobody has seen yet.
    refenced: bool,
    /// Whose requests it is being revoked for.
    preempted_by: BTreeSet<String>,
}

impl Held {
    fn is_preempted(&self) -> bool {
        !self.preempted_by.is_empty()
    }
}

/// The register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    held: Option<Held>,
    /// No token that is given later is lower.
    highest: Token,
}

impl State {
    /// Nobody has the object, or may have it no more by then.
    fn vacant(&self, by_ms: u64) -> bool {
        self.held.as_ref().is_none_or(|held| held.lasts_ms <= by_ms.saturating_add(CLOCK_MS))
    }

    /// Whoever has it is below `priority`, or loses it to somebody who came to nothing.
    fn is_below(&self, priority: u8) -> bool {
        self.held.as_ref().is_some_and(|held| held.priority < priority || held.is_preempted())
    }

    /// The same state if `user` shows its own token. A new life gives it a token of a higher epoch.
    fn shown(&self, user: &str, token: Token) -> Option<Self> {
        let held = self.held.as_ref().filter(|held| held.user == user)?;
        let fits = match held.token {
            Some(known) if known == token => !held.refenced,
            Some(known) => held.refenced && token > known && token.epoch > known.epoch,
            None => token >= self.highest,
        };
        let held = Held { token: Some(token), refenced: false, ..held.clone() };
        fits.then(|| Self { held: Some(held), highest: token.max(self.highest) })
    }

    /// Whether `token` was that of `user` beyond doubt.
    fn is_of(&self, user: &str, token: Token, by_ms: u64) -> bool {
        let held = self.held.as_ref().filter(|held| held.user == user && held.token == Some(token));
        held.is_some_and(|held| !held.refenced && !held.is_preempted()) && !self.vacant(by_ms)
    }

    fn after(&self, op: &Operation) -> Option<Self> {
        let user = op.user.as_str();
        match &op.effect {
            Effect::Granted { priority, ttl_ms, token } => {
                if let Some(same) = token.and_then(|token| self.shown(user, token)) {
                    return Some(same);
                }
                let newer = token.is_none_or(|token| token > self.highest);
                let held = Held {
                    user: user.to_owned(),
                    priority: *priority,
                    token: *token,
                    lasts_ms: op.from_ms + ttl_ms,
                    refenced: false,
                    preempted_by: BTreeSet::new(),
                };
                let highest = token.unwrap_or_default().max(self.highest);
                (newer && (self.is_below(*priority) || self.vacant(op.by_ms)))
                    .then_some(Self { held: Some(held), highest })
            }
            Effect::Preempting { priority } => {
                let mut after = self.clone();
                let held = after.held.as_mut().filter(|held| held.priority < *priority)?;
                held.preempted_by.insert(op.user.clone());
                Some(after)
            }
            Effect::GaveUp { priority, at_once, excused } => {
                let in_the_way = |held: &Held| !at_once || held.priority >= *priority || held.is_preempted();
                let refused = *excused || self.held.as_ref().is_some_and(in_the_way);
                let mut after = self.clone();
                if let Some(held) = &mut after.held {
                    held.preempted_by.remove(user);
                }
                refused.then_some(after)
            }
            Effect::Used { token } => {
                self.shown(user, *token).filter(|same| !same.held.as_ref().is_none_or(Held::is_preempted))
            }
            Effect::Renewed { token, ttl_ms } => {
                let mut same = self.shown(user, *token)?;
                let held = same.held.as_mut().filter(|held| !held.is_preempted())?;
                held.lasts_ms = held.lasts_ms.max(op.from_ms + ttl_ms);
                Some(same)
            }
            Effect::Released { token } => self.shown(user, *token).map(|same| Self { held: None, ..same }),
            Effect::Revoking { token } => {
                self.shown(user, *token).filter(|same| same.held.as_ref().is_some_and(Held::is_preempted))
            }
            Effect::Over { token, excused } => (*excused || !self.is_of(user, *token, op.by_ms)).then(|| self.clone()),
            Effect::OneShot { priority } => {
                let free = self.vacant(op.by_ms) || self.is_below(*priority);
                free.then(|| Self { held: None, ..self.clone() })
            }
            Effect::Restarted { return_ms } => {
                let mut after = self.clone();
                if let Some(held) = &mut after.held {
                    held.refenced = true;
                    // One that may have been over before is not made to last.
                    if held.lasts_ms > op.by_ms {
                        held.lasts_ms = op.from_ms + return_ms;
                    }
                }
                Some(after)
            }
            Effect::Seen { excused: true, .. } => Some(self.clone()),
            Effect::Seen { holder: None, .. } => self.vacant(op.by_ms).then(|| self.clone()),
            Effect::Seen { holder: Some((user, priority)), token, .. } => {
                let same = token.map_or_else(|| Some(self.clone()), |token| self.shown(user, token))?;
                same.held.as_ref().is_some_and(|held| held.user == *user && held.priority == *priority).then_some(same)
            }
        }
    }
}

/// A set of operations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Done(Vec<u64>);

impl Done {
    fn none(count: usize) -> Self {
        Self(vec![0; count / 64 + 1])
    }

    fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    fn with(&self, index: usize) -> Self {
        let mut with = self.clone();
        with.0[index / 64] |= 1 << (index % 64);
        with
    }

    /// Those within `other`, and those that are not.
    fn split(&self, other: &Self) -> (Self, Self) {
        let each =
            |of: fn(&u64, &u64) -> u64| Self(self.0.iter().zip(&other.0).map(|(own, other)| of(own, other)).collect());
        (each(|own, other| own & other), each(|own, other| own & !other))
    }

    fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own & !other == 0)
    }
}

/// What was looked at. Of two ways to one state that differ only in what may be lost, the one that used less of it can go on
/// in every way in which the other can.
struct Seen {
    /// What may be lost.
    losable: Done,
    least: HashMap<(Done, State), Vec<Done>>,
    count: usize,
}

impl Seen {
    /// Takes a state in; false: another one stands for it.
    fn insert(&mut self, (done, state): &(Done, State)) -> bool {
        let (used, sure) = done.split(&self.losable);
        let least = self.least.entry((sure, state.clone())).or_default();
        if least.iter().any(|less| less.is_within(&used)) {
            return false;
        }
        least.retain(|more| !used.is_within(more));
        least.push(used);
        self.count += 1;
        true
    }
}

/// Whether the operations on one object can be put into an order that explains them; otherwise how far the best got.
pub(crate) fn explain(operations: &[Operation]) -> Result<(), String> {
    let start = (Done::none(operations.len()), State::default());
    let losable = (0..operations.len()).filter(|index| operations[*index].may_be_lost);
    let losable = losable.fold(Done::none(operations.len()), |all, index| all.with(index));
    let mut seen = Seen { losable, least: HashMap::new(), count: 0 };
    let mut open = vec![start];
    let mut best: Option<(usize, Done, State)> = None;
    while let Some((done, state)) = open.pop() {
        let left = || (0..operations.len()).filter(|index| !done.has(*index));
        let due = left().filter(|index| !operations[*index].may_be_lost).map(|index| operations[index].by).min();
        let Some(due) = due else { return Ok(()) };
        let count = operations.len() - left().count();
        if best.as_ref().is_none_or(|(most, ..)| count > *most) {
            best = Some((count, done.clone(), state.clone()));
        }
        // An operation that may be lost is not waited for, but cannot come after what began when it was over. Only what
        // cannot be lost counts here: the rest of what is done may have been lost.
        let surely = |index: &usize| done.has(*index) && !operations[*index].may_be_lost;
        let latest = (0..operations.len()).filter(surely).map(|index| operations[index].from).max();
        let mut next: Vec<usize> = left()
            .filter(|index| operations[*index].from < due && latest.is_none_or(|latest| operations[*index].by > latest))
            .collect();
        // What had to be done first is tried first: it is popped last in, first out.
        next.sort_by_key(|index| std::cmp::Reverse((operations[*index].may_be_lost, operations[*index].by)));
        // What changes nothing, now or later, may as well take effect now, unless something else could only come before it.
        let first_over = left().filter(|index| operations[*index].may_be_lost).map(|index| operations[index].by).min();
        let preempts = |user: &str| left().any(|index| operations[index].preempts(user));
        let idle = next.iter().copied().find(|index| {
            let op = &operations[*index];
            let alone = first_over.is_none_or(|over| over > op.from);
            let for_good = match op.effect {
                // Later there may be somebody whom it takes something from.
                Effect::Restarted { .. } | Effect::OneShot { .. } => false,
                Effect::GaveUp { .. } => !preempts(&op.user),
                _ => true,
            };
            for_good && !op.may_be_lost && alone && state.after(op).as_ref() == Some(&state)
        });
        if let Some(idle) = idle {
            next = vec![idle];
        }
        for index in next {
            let op = &operations[index];
            // What may be lost and changes nothing is as good as lost.
            let Some(after) = state.after(op).filter(|after| !op.may_be_lost || *after != state) else { continue };
            let mut done = done.with(index);
            let latest = latest.unwrap_or_default().max(if op.may_be_lost { 0 } else { op.from });
            // What can take effect no more is done with: whether it did makes no difference any more.
            for index in left().filter(|index| operations[*index].may_be_lost && operations[*index].by <= latest) {
                done = done.with(index);
            }
            let step = (done, after);
            if seen.insert(&step) {
                open.push(step);
            }
        }
        if seen.count > STATES_MAX {
            return Err(format!("too large to decide: {} operations", operations.len()));
        }
    }
    let Some((count, done, state)) = best else { return Ok(()) };
    let left = operations.iter().enumerate().filter(|(index, _)| !done.has(*index)).map(|(_, op)| op);
    let near: Vec<String> = left.take(8).map(|op| format!("{op:?}")).collect();
    let before = operations.iter().enumerate().filter(|(index, _)| done.has(*index)).map(|(_, op)| op);
    let before: Vec<String> = before.rev().take(8).map(|op| format!("{op:?}")).collect();
    Err(format!(
        "after {count} of {} operations, in {state:?}, none of these is possible:\n  {}\nbefore them:\n  {}",
        operations.len(),
        near.join("\n  "),
        before.join("\n  ")
    ))
}
