//! From what was recorded to what is judged.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    client::CLIENTS,
    devices,
    record::{Act, Event, Moment, Outcome},
    register::{Effect, Operation, explain},
};
use crate::plant::{Line, Thing};

/// How long a handover takes at most while the daemon runs, in milliseconds: grace, and a gate that is fenced.
const HANDOVER_MS: u64 = 8_000;
/// How long what nobody heard the end of may stand in others' way, in milliseconds: a lease for one change, and what it
/// waits for.
const ECHO_MS: u64 = 30_000;

/// An operation as a client saw it. Places are lines of the file.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) op: u64,
    pub(crate) user: String,
    pub(crate) twin: String,
    pub(crate) act: Act,
    pub(crate) outcome: Outcome,
    pub(crate) sent: u64,
    pub(crate) sent_ms: u64,
    /// Without an answer: the end of everything.
    pub(crate) answered: u64,
    pub(crate) answered_ms: u64,
}

impl Call {
    fn overlaps(&self, other: &Self) -> bool {
        self.sent < other.answered && other.sent < self.answered
    }

    /// Whether this may stand in the way of `other`, though nobody was told that it holds anything.
    fn hides_from(&self, other: &Self) -> bool {
        let takes = matches!(self.act, Act::Acquire { .. } | Act::Change { token: None });
        let lost = self.outcome == Outcome::Lost && self.sent < other.answered;
        takes
            && self.op != other.op
            && (self.overlaps(other) || lost && other.answered_ms < self.sent_ms.saturating_add(ECHO_MS))
    }
}

/// A life of the daemon that began: the lines and times of the kill before it and of its being there, and the line at
/// which there was none.
#[derive(Clone, Copy, Debug)]
struct Restart {
    killed: (u64, u64),
    gone: u64,
    started: (u64, u64),
}

/// Everything that was recorded, put together.
pub(crate) struct History {
    pub(crate) calls: Vec<Call>,
    restarts: Vec<Restart>,
    /// The wall clock at each line of the file: the latest that it was until then, because whoever wrote the line may have
    /// been stopped after it looked.
    times: Vec<u64>,
    /// What the devices heard, each with its line in the file as its place.
    pub(crate) lines: Vec<Line>,
}

impl History {
    pub(crate) fn new(moments: &[Moment], lines: &[Line]) -> Self {
        let end = (moments.len() as u64, u64::MAX);
        let mut history = Self { calls: Vec::new(), restarts: Vec::new(), times: Vec::new(), lines: Vec::new() };
        let (mut places, mut given_up) = (BTreeMap::new(), BTreeMap::new());
        let (mut killed, mut gone) = (None, None);
        let mut open: BTreeMap<u64, usize> = BTreeMap::new();
        for (place, moment) in (0..).zip(moments) {
            let at = (place, moment.at_ms);
            history.times.push(moment.at_ms.max(history.times.last().copied().unwrap_or_default()));
            match &moment.event {
                Event::Sent { op, user, twin, act } => {
                    open.insert(*op, history.calls.len());
                    history.calls.push(Call {
                        op: *op,
                        user: user.clone(),
                        twin: twin.clone(),
                        act: act.clone(),
                        outcome: Outcome::Lost,
                        sent: place,
                        sent_ms: moment.at_ms,
                        answered: end.0,
                        answered_ms: end.1,
                    });
                }
                Event::Answered { op, outcome } => {
                    let call = &mut history.calls[open.remove(op).expect("it was sent, and is answered once")];
                    call.outcome = outcome.clone();
                    if *outcome == Outcome::Lost {
                        given_up.insert(*op, place);
                    } else {
                        (call.answered, call.answered_ms) = at;
                    }
                }
                Event::Heard { place: number } => drop(places.insert(*number, place)),
                Event::Killed => killed = Some(at),
                Event::Gone => gone = Some(place),
                Event::Started => {
                    let killed = killed.take().expect("it was killed before");
                    let gone = gone.take().unwrap_or(place);
                    history.restarts.push(Restart { killed, gone, started: at });
                }
            }
        }
        // What was begun and given up while there was no daemon reached nobody. On a slow machine that is most of what is
        // lost, and each such call that might have been carried out doubles what is to be searched.
        let Self { calls, restarts, .. } = &mut history;
        calls.retain(|call| {
            let given_up = given_up.get(&call.op);
            !restarts.iter().any(|restart| {
                restart.gone < call.sent && given_up.is_some_and(|given_up| *given_up < restart.started.0)
            })
        });
        history.lines = lines.iter().map(|line| Line { place: places[&line.place], ..line.clone() }).collect();
        history.lines.sort_by_key(|line| line.place);
        history
    }

    /// What is wrong, if anything is.
    pub(crate) fn judge(&self, things: &[Thing], return_ms: u64) -> Result<(), String> {
        for thing in things {
            let twin = thing.twin.as_str();
            explain(&self.operations(twin, return_ms)).map_err(|error| format!("the lease of `{twin}`: {error}"))?;
            devices::check(self, thing).map_err(|error| format!("the device of `{twin}`: {error}"))?;
        }
        Ok(())
    }

    pub(crate) fn calls_of<'h>(&'h self, twin: &'h str) -> impl Iterator<Item = &'h Call> {
        self.calls.iter().filter(move |call| call.twin == twin)
    }

    /// The line at which the device of a twin acted on an operation.
    fn acted(&self, call: &Call) -> Option<u64> {
        let of_it =
            |line: &&Line| line.twin == call.twin && line.command().is_some_and(|it| it.speed == call.op && it.acted);
        self.lines.iter().find(of_it).map(|line| line.place)
    }

    fn operations(&self, twin: &str, return_ms: u64) -> Vec<Operation> {
        let calls: Vec<&Call> = self.calls_of(twin).collect();
        let mut operations: Vec<Operation> = calls.iter().flat_map(|call| self.effects(call, &calls)).collect();
        operations.extend(self.restarts.iter().map(|restart| Operation {
            user: "the daemon".to_owned(),
            from: restart.killed.0,
            by: restart.started.0,
            from_ms: restart.killed.1,
            by_ms: restart.started.1,
            may_be_lost: false,
            effect: Effect::Restarted { return_ms },
        }));
        operations.sort_by_key(|operation| operation.from);
        operations
    }

    /// Until when something without an answer may have taken effect: a daemon that is killed carries nothing out that did
    /// not wait in its journal.
    fn lost_by(&self, call: &Call) -> (u64, u64) {
        let kill = self.restarts.iter().find(|restart| restart.killed.0 > call.sent);
        kill.map_or((call.answered, call.answered_ms), |restart| restart.killed)
    }

    /// The place and time by which something is over, whether its answer came or not: a request waits no longer than it
    /// said, beside what a handover takes, and for as long as there is no daemon.
    fn over(&self, call: &Call) -> (u64, u64) {
        let Act::Acquire { wait_ms, .. } = call.act else { return (call.answered, call.answered_ms) };
        let mut over_ms = call.sent_ms + wait_ms + HANDOVER_MS;
        for Restart { killed, started, .. } in self.restarts.iter().filter(|restart| restart.started.0 > call.sent) {
            if killed.1 <= over_ms {
                over_ms += started.1.saturating_sub(killed.1.max(call.sent_ms));
            }
        }
        let place = self.times.partition_point(|at_ms| *at_ms <= over_ms) as u64;
        if call.outcome == Outcome::Lost && place < call.answered {
            return (place, over_ms);
        }
        (call.answered, call.answered_ms)
    }

    fn effects(&self, call: &Call, others: &[&Call]) -> Vec<Operation> {
        let operation = |(by, by_ms): (u64, u64), may_be_lost: bool, effect: Effect| Operation {
            user: call.user.clone(),
            from: call.sent,
            by,
            from_ms: call.sent_ms,
            by_ms,
            may_be_lost,
            effect,
        };
        let answered = self.over(call);
        let sure = |effect| vec![operation(answered, false, effect)];
        let hidden = || others.iter().any(|other| other.hides_from(call));
        let revokes = |priority| {
            others.iter().any(|other| {
                let revoked = matches!(&other.outcome, Outcome::Refused { slug } if slug == "lease-revoking");
                revoked && other.answered > call.sent && other.sent < answered.0 && weight(&other.user) < priority
            })
        };
        match (&call.act, &call.outcome) {
            (Act::Acquire { priority, ttl_ms, wait_ms, again }, outcome) => {
                let (priority, ttl_ms) = (*priority, *ttl_ms);
                let revokes = revokes(priority);
                let preempting = revokes.then(|| operation(answered, true, Effect::Preempting { priority }));
                let gave_up = |excused| Effect::GaveUp { priority, at_once: *wait_ms == 0, excused };
                let mut effects: Vec<Operation> = preempting.into_iter().collect();
                match outcome {
                    Outcome::Granted { token } => {
                        effects.extend(sure(Effect::Granted { priority, ttl_ms, token: Some(*token) }));
                    }
                    Outcome::Refused { slug } => {
                        let about_others =
                            ["lease-held", "lease-wait-over", "lease-displaced"].contains(&slug.as_str());
                        effects.extend(sure(gave_up(!about_others || *again || hidden())));
                    }
                    _ => {
                        effects.push(operation(answered, true, Effect::Granted { priority, ttl_ms, token: None }));
                        if revokes {
                            effects.push(operation(answered, true, gave_up(true)));
                        }
                    }
                }
                effects
            }
            (Act::Renew { token, ttl_ms }, Outcome::Done) => sure(Effect::Renewed { token: *token, ttl_ms: *ttl_ms }),
            (Act::Release { token }, Outcome::Done) => sure(Effect::Released { token: *token }),
            (Act::Release { token }, Outcome::Lost) => {
                vec![operation(self.lost_by(call), true, Effect::Released { token: *token })]
            }
            (Act::Change { token }, Outcome::Done | Outcome::Lost) => {
                // Once the device has acted, the gate had let it pass.
                let acted = self.acted(call).map(|place| (place, call.answered_ms));
                let by = acted.filter(|(place, _)| *place < call.answered).unwrap_or(answered);
                match token {
                    Some(token) if acted.is_some() || call.outcome == Outcome::Done => {
                        vec![operation(by, false, Effect::Used { token: *token })]
                    }
                    Some(_) => Vec::new(),
                    None => {
                        let effect = Effect::OneShot { priority: weight(&call.user) };
                        one_shot(&operation(by, call.outcome == Outcome::Lost, effect), revokes)
                    }
                }
            }
            (Act::Renew { token, .. } | Act::Release { token } | Act::Change { token: Some(token) }, refused) => {
                let Outcome::Refused { slug } = refused else { return Vec::new() };
                match slug.as_str() {
                    "lease-revoking" => sure(Effect::Revoking { token: *token }),
                    slug if slug.starts_with("lease-") => {
                        sure(Effect::Over { token: *token, excused: self.outranked(call, others) })
                    }
                    _ => Vec::new(),
                }
            }
            (Act::Change { token: None }, _) => {
                let nothing = Effect::GaveUp { priority: 0, at_once: false, excused: true };
                one_shot(&operation(answered, true, nothing), revokes)
            }
            (Act::Look, Outcome::Seen { holder, token }) => {
                let holder = holder.clone();
                let one_shot = |other: &&&Call| matches!(other.act, Act::Change { token: None });
                let excused = others.iter().filter(one_shot).any(|other| other.hides_from(call));
                sure(Effect::Seen { holder, token: *token, excused })
            }
            (Act::Look, _) => Vec::new(),
        }
    }

    /// Whether a higher request that came to nothing may have ended the lease first.
    fn outranked(&self, call: &Call, others: &[&Call]) -> bool {
        others.iter().any(|other| {
            let takes = matches!(other.act, Act::Acquire { .. } | Act::Change { token: None });
            let in_vain = matches!(other.outcome, Outcome::Refused { .. } | Outcome::Lost);
            takes && in_vain && weight(&other.user) > weight(&call.user) && other.sent < call.answered
        })
    }

    /// How much of each was seen, for a run that shows nothing to be told from one that shows much.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let mut count = |what: String| *counts.entry(what).or_insert(0) += 1;
        for call in &self.calls {
            let act = match call.act {
                Act::Acquire { .. } => "acquire",
                Act::Renew { .. } => "renew",
                Act::Release { .. } => "release",
                Act::Change { token: Some(_) } => "change",
                Act::Change { token: None } => "change without token",
                Act::Look => "look",
            };
            let outcome = match &call.outcome {
                Outcome::Granted { .. } | Outcome::Done => "done",
                Outcome::Refused { slug } => slug,
                Outcome::Lost => "lost",
                Outcome::Seen { holder: Some(_), .. } => "held",
                Outcome::Seen { holder: None, .. } => "free",
            };
            count(format!("{act}: {outcome}"));
        }
        for command in self.lines.iter().filter_map(Line::command) {
            count(format!(
                "device: {}",
                if command.stop {
                    "safe stop"
                } else if command.acted {
                    "acted"
                } else {
                    "refused"
                }
            ));
        }
        counts.insert("restarts".to_owned(), self.restarts.len());
        let epochs: BTreeSet<u64> = self.lines.iter().filter_map(|line| Some(line.command()?.token?.epoch)).collect();
        counts.insert("epochs at devices".to_owned(), epochs.len());
        counts
    }
}

/// A change without a token takes the object as a request does, and comes to nothing as one.
fn one_shot(taking: &Operation, revokes: impl Fn(u8) -> bool) -> Vec<Operation> {
    let priority = weight(&taking.user);
    let effect = |effect| Operation { effect, may_be_lost: true, ..taking.clone() };
    let mut effects = Vec::new();
    if revokes(priority) {
        effects.push(effect(Effect::Preempting { priority }));
        effects.push(effect(Effect::GaveUp { priority, at_once: false, excused: true }));
    }
    if matches!(taking.effect, Effect::OneShot { .. }) {
        effects.push(taking.clone());
    }
    effects
}

/// What a user weighs.
pub(crate) fn weight(user: &str) -> u8 {
    CLIENTS.iter().find(|(_, name, _)| *name == user).map_or(0, |(_, _, priority)| *priority)
}
