//! An outside as a story: lines of questions, each asked when the one before it on its line is answered.

use std::{collections::BTreeSet, fmt};

use twinway_protocol::{Answers, Ask, EntityId, Mailbox, Problem, ProblemKind, Ref, StepId, WireSet};

use crate::outside::{CallId, Hands, Outside};

/// How often a question is repeated in a run with faults.
const ATTEMPTS_MAX: u32 = 16;
/// Who was refused this often asks again only when time has passed, if it can: a refusal for now, such as that of an open circuit, needs it.
const ATTEMPTS_AT_ONCE_MAX: u32 = 8;

/// What a line makes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// As it should be: on with the next question.
    Done,
    /// Ask it again when the world is at rest.
    Again,
    /// This must not be. In a run with faults the question is repeated instead, a few times.
    Wrong(String),
    /// This must not be, unless a fault made it so: in a run with faults it is on with the next question.
    Spoilt(String),
}

/// Any success is as it should be.
pub fn granted<A>(answer: Result<A, Problem>) -> Heard {
    match answer {
        Ok(_) => Heard::Done,
        Err(problem) => Heard::Wrong(format!("refused: {}: {}", problem.kind.slug(), problem.detail)),
    }
}

/// A refusal of this kind is as it should be.
pub fn refused<A>(kind: ProblemKind) -> impl Fn(Result<A, Problem>) -> Heard {
    move |answer| match answer {
        Err(problem) if problem.kind == kind => Heard::Done,
        Err(problem) => Heard::Wrong(format!("refused as {} and not as {}", problem.kind.slug(), kind.slug())),
        Ok(_) => Heard::Wrong(format!("granted, and not refused as {}", kind.slug())),
    }
}

type Act<W> = Box<dyn Fn(&mut Hands<W>) -> CallId>;
type Check<W> = Box<dyn Fn(W) -> Heard>;
type Hears<W> = Box<dyn Fn(EntityId, &<W as WireSet>::Signal) -> bool>;
type OnSignal<W> = Box<dyn Fn(EntityId, <W as WireSet>::Signal, &mut Hands<W>)>;

/// What somebody does.
enum Deed<W: WireSet> {
    /// Asks, and judges the answer.
    Ask(&'static str, Act<W>, Check<W>),
    /// Takes a step that happens outside the actors.
    Take(StepId),
    /// Waits for a signal.
    Hear(Hears<W>),
}

struct Part<W: WireSet> {
    deed: Deed<W>,
    /// Lines that must have come so far before.
    after: Vec<(usize, usize)>,
}

/// A line of a story: somebody who asks one question after the other.
pub struct Line<W: WireSet> {
    name: &'static str,
    parts: Vec<Part<W>>,
    after: Vec<(usize, usize)>,
}

impl<W: WireSet> fmt::Debug for Line<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<W: WireSet> Line<W> {
    /// A line of somebody with this name.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, parts: Vec::new(), after: Vec::new() }
    }

    /// What comes next on this line waits until line number `line` (from 0) has `parts` answers.
    #[must_use]
    pub fn after(mut self, line: usize, parts: usize) -> Self {
        self.after.push((line, parts));
        self
    }

    /// Asks the entity at `to`, which is made if it is not there, what `question` makes.
    #[must_use]
    pub fn ask<M, T>(
        self,
        to: Ref<M>,
        question: impl Fn() -> T + 'static,
        check: impl Fn(Result<T::Answer, Problem>) -> Heard + 'static,
    ) -> Self
    where
        M: Mailbox<Wire = W> + From<T> + 'static,
        T: Ask<Answer: Answers<W>> + Clone,
    {
        let act = move |hands: &mut Hands<W>| {
            hands.spawn(to);
            hands.ask(to, question())
        };
        let check = move |wire: W| match T::Answer::heard(wire) {
            Some(answer) => check(answer),
            None => Heard::Wrong("an answer of another type".to_owned()),
        };
        self.part(Deed::Ask(T::NAME, Box::new(act), Box::new(check)))
    }

    /// Takes a step of a flow that happens outside the actors.
    #[must_use]
    pub fn take(self, step: StepId) -> Self {
        self.part(Deed::Take(step))
    }

    /// Waits until an entity hands over such a signal; one that came before counts too. In a run with faults it may be
    /// lost: when the world is at rest and nobody waits for an answer, who waits for it goes on.
    #[must_use]
    pub fn hear(self, hears: impl Fn(EntityId, &W::Signal) -> bool + 'static) -> Self {
        self.part(Deed::Hear(Box::new(hears)))
    }

    fn part(mut self, deed: Deed<W>) -> Self {
        self.parts.push(Part { deed, after: std::mem::take(&mut self.after) });
        self
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    done: usize,
    call: Option<CallId>,
    attempts: u32,
    /// It failed, and is asked again when the world is at rest: who asks again at once asks too early.
    later: bool,
    /// When the world first came to rest after that, in milliseconds.
    rested_ms: Option<u64>,
}

/// An outside of lines that ask, and of simulated systems that answer what they are signalled.
pub struct Story<W: WireSet> {
    lines: Vec<Line<W>>,
    on_signal: OnSignal<W>,
    places: Vec<Place>,
    /// The lines and the parts whose signal has come.
    heard: BTreeSet<(usize, usize)>,
}

impl<W: WireSet> fmt::Debug for Story<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Story").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl<W: WireSet> Story<W> {
    /// These lines at once; nobody hears the signals.
    #[must_use]
    pub fn new(lines: Vec<Line<W>>) -> Self {
        let places = lines.iter().map(|_| Place::default()).collect();
        Self { lines, on_signal: Box::new(|_, _, _| {}), places, heard: BTreeSet::new() }
    }

    /// The same, with simulated systems that hear signals, and ask and tell in turn.
    #[must_use]
    pub fn on_signal(mut self, hear: impl Fn(EntityId, W::Signal, &mut Hands<W>) + 'static) -> Self {
        self.on_signal = Box::new(hear);
        self
    }

    /// Does all that can be done now.
    fn go_on(&mut self, hands: &mut Hands<W>) {
        loop {
            let mut done = false;
            for index in 0..self.lines.len() {
                done |= self.go_on_with(index, hands);
            }
            // Others may have waited for what was done at once.
            if !done {
                break;
            }
        }
    }

    /// Does what comes next on a line, if it can; true if it is done.
    fn go_on_with(&mut self, index: usize, hands: &mut Hands<W>) -> bool {
        let Some(place) = self.places.get(index).copied().filter(|place| place.call.is_none() && !place.later) else {
            return false;
        };
        let Some(part) = self.lines.get(index).and_then(|line| line.parts.get(place.done)) else { return false };
        let come = |(line, parts): &(usize, usize)| self.places.get(*line).is_none_or(|other| other.done >= *parts);
        if !part.after.iter().all(come) {
            return false;
        }
        let call = match &part.deed {
            Deed::Ask(_, act, _) => Some(act(hands)),
            Deed::Take(step) => {
                hands.took(*step);
                None
            }
            Deed::Hear(_) if self.heard.contains(&(index, place.done)) => None,
            Deed::Hear(_) => return false,
        };
        let done = place.done + usize::from(call.is_none());
        if let Some(place) = self.places.get_mut(index) {
            *place = Place { done, call, ..*place };
        }
        call.is_none()
    }

    /// Notes for whom a signal is; true if it is for somebody.
    fn hear(&mut self, entity: EntityId, signal: &W::Signal) -> bool {
        let mut anybody = false;
        let Self { lines, places, heard, .. } = self;
        for (index, (line, place)) in lines.iter().zip(places).enumerate() {
            for (at, part) in line.parts.iter().enumerate().skip(place.done) {
                if matches!(&part.deed, Deed::Hear(hears) if hears(entity, signal)) {
                    heard.insert((index, at));
                    anybody = true;
                }
            }
        }
        anybody
    }

    /// Whoever waits for a signal that may be lost waits no more.
    fn stop_waiting(&mut self) {
        for (index, (line, place)) in self.lines.iter().zip(&self.places).enumerate() {
            if matches!(line.parts.get(place.done).map(|part| &part.deed), Some(Deed::Hear(_))) {
                self.heard.insert((index, place.done));
            }
        }
    }

    fn put_off(&mut self, index: usize) {
        if let Some(place) = self.places.get_mut(index) {
            place.later = true;
        }
    }

    fn of_call(&mut self, call: CallId) -> Option<(usize, &mut Place)> {
        self.places.iter_mut().enumerate().find(|(_, place)| place.call == Some(call))
    }
}

impl<W: WireSet> Outside<W> for Story<W> {
    fn begin(&mut self, hands: &mut Hands<W>) {
        self.places.fill(Place::default());
        self.heard.clear();
        self.go_on(hands);
    }

    fn signal(&mut self, entity: EntityId, signal: W::Signal, hands: &mut Hands<W>) {
        let heard = self.hear(entity, &signal);
        (self.on_signal)(entity, signal, hands);
        if heard {
            self.go_on(hands);
        }
    }

    fn answer(&mut self, call: CallId, answer: W, hands: &mut Hands<W>) {
        let Some((index, place)) = self.of_call(call) else { return };
        place.call = None;
        place.attempts += 1;
        let Place { done, attempts, .. } = *place;
        let Some((line, part)) = self.lines.get(index).and_then(|line| Some((line, line.parts.get(done)?))) else {
            return;
        };
        let Deed::Ask(name, _, check) = &part.deed else { return };
        match check(answer) {
            Heard::Spoilt(what) if !hands.may_fail() => hands.violated(format!("{}: {name} was {what}", line.name)),
            Heard::Done | Heard::Spoilt(_) => {
                if let Some(place) = self.places.get_mut(index) {
                    *place = Place { done: done + 1, ..Place::default() };
                }
            }
            Heard::Again if attempts < ATTEMPTS_MAX => self.put_off(index),
            Heard::Wrong(_) if hands.may_fail() && attempts < ATTEMPTS_MAX => self.put_off(index),
            Heard::Again => hands.violated(format!("{}: {} did not succeed in {attempts} attempts", line.name, name)),
            Heard::Wrong(what) => hands.violated(format!("{}: {} was {what}", line.name, name)),
        }
        self.go_on(hands);
    }

    fn lost(&mut self, call: CallId, hands: &mut Hands<W>) {
        if let Some((_, place)) = self.of_call(call) {
            place.call = None;
            self.go_on(hands);
        }
    }

    fn restarted(&mut self, hands: &mut Hands<W>) {
        self.go_on(hands);
    }

    fn at_rest(&mut self, hands: &mut Hands<W>) {
        let (now_ms, last) = (hands.now().monotonic_ms, !hands.time_can_pass());
        for place in self.places.iter_mut().filter(|place| place.later) {
            let since_ms = *place.rested_ms.get_or_insert(now_ms);
            if last || place.attempts < ATTEMPTS_AT_ONCE_MAX || since_ms < now_ms {
                (place.later, place.rested_ms) = (false, None);
            }
        }
        self.go_on(hands);
        // Where somebody still waits for an answer, its time will run out: then it is asked again, and may be signalled.
        let nobody_asks = self.places.iter().all(|place| place.call.is_none() && !place.later);
        if hands.may_fail() && nobody_asks && hands.deeds.is_empty() {
            self.stop_waiting();
            self.go_on(hands);
        }
    }

    fn waits_for(&self) -> Option<String> {
        let mut lines = self.lines.iter().zip(&self.places);
        lines.find_map(|(line, place)| {
            let part = line.parts.get(place.done)?;
            let what = match &part.deed {
                Deed::Ask(name, ..) => format!("ask {name}"),
                Deed::Take(step) => format!("take step {}", step.number),
                Deed::Hear(_) => "hear a signal".to_owned(),
            };
            Some(format!("{} never came to {what}, the part {} of its line", line.name, place.done + 1))
        })
    }
}
