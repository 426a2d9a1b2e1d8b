//! The judge of a running enabler: it says nothing of what is right, and of everything that it judges it sees what is
//! not. What is planted is planted into what was seen, as a broken supervisor or gate would have made it.

use std::{collections::BTreeMap, sync::Arc};

use twinway_protocol::{
    lease::{
        Change, ClaimRef, Claimant, Done, Effect, End, Holder, HolderClass, Input, ObjectView, Over, RequestId, Token,
        rules::{Rule, Violation},
        watch::{GateDid, Judge, LINE_SEEN_MAX, Watched},
    },
    time::Now,
};

use crate::{
    table::{One, request},
    world::{claimant, limits, object},
};

/// A table of which everything is seen, with gates that answer at once.
struct Seen {
    one: One,
    all: Vec<(Watched, Now)>,
    /// For whom each fence was.
    to: BTreeMap<Token, Option<Arc<Claimant>>>,
}

impl Seen {
    fn new() -> Self {
        let mut seen = Self { one: One::blank(limits()), all: Vec::new(), to: BTreeMap::new() };
        seen.push(Watched::Began { records: Vec::new() });
        seen.step(Input::Recover(twinway_protocol::Recovery::Start));
        seen
    }

    fn push(&mut self, watched: Watched) {
        self.all.push((watched, self.one.now()));
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.one.step(input.clone());
        for effect in &effects {
            if let Effect::Fence { token, to, .. } = effect {
                self.to.insert(*token, to.clone());
            }
        }
        let views = self.one.table.objects(0).filter_map(|object| self.one.table.view(object, LINE_SEEN_MAX));
        let views = views.collect();
        self.push(Watched::Step { input, effects: effects.clone(), views });
        effects
    }

    fn ask(&mut self, user: usize, priority: u8, wait_ms: u32) {
        self.one.reply += 1;
        self.step(Input::Request(request(user, &[0], priority, wait_ms), self.one.reply));
    }

    /// The gate answers the newest token.
    fn fenced(&mut self) {
        let token = self.one.view(object(0)).token;
        self.push(Watched::Gate { object: object(0), did: GateDid::Fenced(token, self.to[&token].clone()) });
        let fencing = twinway_protocol::lease::Fencing::Drained;
        self.step(Input::Fenced { object: object(0), token, incarnation: 1, fencing, seen_before: Token::NONE });
    }

    fn accepted(&mut self, user: usize, token: Token) {
        let did = GateDid::Accepted(token, who(user));
        self.push(Watched::Gate { object: object(0), did });
    }

    fn after(&mut self, ms: u64) {
        self.one.now_ms += ms;
        self.step(Input::Tick);
    }

    fn token(&self) -> Token {
        self.one.view(object(0)).token
    }

    fn judged(&self) -> Vec<Violation> {
        let mut judge = Judge::new(limits());
        self.all.iter().flat_map(|(watched, now)| judge.see(watched, *now)).collect()
    }

    fn rules(&self) -> Vec<Rule> {
        self.judged().into_iter().map(|violation| violation.rule).collect()
    }

    /// The last step, to be made another.
    fn last(&mut self) -> (&mut Input, &mut Vec<Effect>, &mut Vec<ObjectView>) {
        let last = self.all.iter_mut().rev().find_map(|(watched, _)| match watched {
            Watched::Step { input, effects, views } => Some((input, effects, views)),
            _ => None,
        });
        last.expect("there was a step")
    }
}

fn who(user: usize) -> Holder {
    claimant(user, HolderClass::Person).holder.clone()
}

/// User 0 holds at priority 2 and drives.
fn held() -> Seen {
    let mut seen = Seen::new();
    seen.ask(0, 2, 0);
    seen.fenced();
    seen.accepted(0, seen.token());
    seen
}

fn handed_over(seen: &mut Seen) {
    let old = seen.token();
    seen.ask(1, 5, 1_000);
    seen.push(Watched::Gate { object: object(0), did: GateDid::Restricted(old, true) });
    seen.after(101);
    seen.fenced();
    seen.accepted(1, seen.token());
}

#[test]
fn what_is_right_is_not_told() {
    let mut seen = held();
    handed_over(&mut seen);
    seen.ask(2, 1, 500);
    seen.after(501);
    seen.ask(3, 1, 1_000);
    let shown = seen.one.shown(1);
    seen.step(Input::Release { shown, reply: 90 });
    seen.fenced();
    seen.after(5_000);
    assert_eq!(seen.judged(), []);
}

#[test]
fn a_new_life_of_the_supervisor_goes_on_with_what_gates_and_askers_have_seen() {
    let mut seen = held();
    let old = seen.token();
    seen.push(Watched::Began { records: Vec::new() });
    seen.step(Input::Recover(twinway_protocol::Recovery::Failure));
    seen.fenced();
    assert_eq!(seen.judged(), []);
    seen.accepted(0, old);
    assert_eq!(seen.rules(), [Rule::FenceNeverDecreases]);
}

#[test]
fn who_has_not_seen_everything_judges_nothing_until_a_life_begins() {
    let seen = held();
    let mut judge = Judge::new(limits());
    let late = |judge: &mut Judge| {
        seen.all[2..].iter().flat_map(|(watched, now)| judge.see(watched, *now)).collect::<Vec<_>>()
    };
    assert_eq!((late(&mut judge), judge.judges()), (vec![], false), "it came too late");
    let all: Vec<_> = seen.all.iter().flat_map(|(watched, now)| judge.see(watched, *now)).collect();
    assert_eq!((all, judge.judges()), (vec![], true));
    judge.lost();
    assert_eq!((late(&mut judge), judge.judges()), (vec![], false), "again it was the same, and it is not told");
    // What the journal says of it is enough to begin with.
    let mut records = Vec::new();
    for at in [None, Some(object(0))] {
        let mut changes = Vec::new();
        seen.one.table.snapshot(at, &mut changes);
        records.extend(changes.into_iter().map(|change| (at, change)));
    }
    let mut again = seen.one.table.clone();
    let mut effects = Vec::new();
    let recover = Input::Recover(twinway_protocol::Recovery::Failure);
    again.step(recover.clone(), seen.one.now(), &mut effects);
    let views = vec![again.view(object(0), LINE_SEEN_MAX).expect("it is held")];
    let mut told = judge.see(&Watched::Began { records }, seen.one.now());
    told.extend(judge.see(&Watched::Step { input: recover, effects, views }, seen.one.now()));
    assert_eq!((told, judge.judges()), (vec![], true));
}

/// What is planted into what is right, and the invariant that does not hold then.
type Plant = (Rule, fn() -> Seen);

const PLANTED: [Plant; 13] = [
    (Rule::OneHolder, || {
        let mut seen = held();
        seen.accepted(7, seen.token());
        seen
    }),
    (Rule::OneHolder, || {
        // It is granted once more, and the lease before is not ended.
        let mut seen = held();
        let token = Token { n: seen.token().n + 1, ..seen.token() };
        let record = newcomer(1);
        let granted = Change::Granted { claim: ClaimRef::New(record), token, over: None };
        seen.last().1.push(Effect::Record(Some(object(0)), granted));
        seen
    }),
    (Rule::FenceNeverDecreases, || {
        let mut seen = held();
        let old = seen.token();
        handed_over(&mut seen);
        seen.accepted(0, old);
        seen
    }),
    (Rule::TokenUnique, || {
        let mut seen = held();
        let token = seen.token();
        seen.last().1.push(Effect::Record(Some(object(0)), Change::Refenced { token }));
        seen
    }),
    (Rule::DurableThenFencedThenVisible, || {
        let mut seen = held();
        seen.all.retain(|(watched, _)| !matches!(watched, Watched::Gate { .. }));
        seen
    }),
    (Rule::NothingOfOlderEpoch, || {
        let mut seen = held();
        seen.push(Watched::Began { records: Vec::new() });
        seen.step(Input::Recover(twinway_protocol::Recovery::Failure));
        seen.last().1.retain(|effect| !matches!(effect, Effect::Record(Some(_), _)));
        seen
    }),
    (Rule::EqualNeverEvicts, || {
        let mut seen = held();
        let arrival = seen.one.view(object(0)).holder.expect("it is held").arrival;
        let over = Over { arrival, end: End::Preempted, back: None, stop: true };
        let token = Token { n: seen.token().n + 1, ..seen.token() };
        seen.last().1.push(Effect::Record(Some(object(0)), Change::Ended { over, token }));
        seen
    }),
    (Rule::FifoWithinPriority, || {
        let mut seen = held();
        seen.ask(1, 1, 1_000);
        let arrival = seen.one.view(object(0)).holder.expect("it is held").arrival;
        let over = Some(Over { arrival, end: End::Released, back: None, stop: false });
        let token = Token { n: seen.token().n + 1, ..seen.token() };
        let granted = Change::Granted { claim: ClaimRef::New(newcomer(2)), token, over };
        seen.last().1.push(Effect::Record(Some(object(0)), granted));
        seen
    }),
    (Rule::RepeatedIdChangesNothing, || {
        let mut seen = held();
        let mut record = newcomer(0);
        record.id = Some(RequestId(1));
        seen.last().1.push(Effect::Record(Some(object(0)), Change::Queued(record)));
        seen
    }),
    (Rule::RestrictedToSafeStop, || {
        let mut seen = held();
        let token = seen.token();
        seen.ask(1, 5, 1_000);
        seen.push(Watched::Gate { object: object(0), did: GateDid::Restricted(token, true) });
        seen.accepted(0, token);
        seen
    }),
    (Rule::ClocksBreakNothing, || {
        let mut seen = held();
        let arrival = seen.one.view(object(0)).holder.expect("it is held").arrival;
        let over = Over { arrival, end: End::Expired, back: None, stop: true };
        let token = Token { n: seen.token().n + 1, ..seen.token() };
        seen.last().1.push(Effect::Record(Some(object(0)), Change::Ended { over, token }));
        seen
    }),
    (Rule::OneAnswerEach, || {
        let mut seen = held();
        seen.last().1.push(Effect::Answer(1, Ok(Done::Settled)));
        seen
    }),
    (Rule::NotFreeWhileWanted, || {
        let mut seen = held();
        seen.ask(1, 1, 1_000);
        seen.last().2.iter_mut().find(|view| view.object == object(0)).expect("it is seen").holder = None;
        seen
    }),
];

/// A request that the table has not seen.
fn newcomer(user: usize) -> Box<twinway_protocol::lease::ClaimRecord> {
    let mut seen = Seen::new();
    // Its number is higher than any of the other's.
    (10..12).for_each(|other| seen.ask(other, 3, 1_000));
    seen.ask(user, 1, 1_000);
    let queued = seen.last().1.iter().find_map(|effect| match effect {
        Effect::Record(_, Change::Queued(record)) => Some(record.clone()),
        _ => None,
    });
    let mut record = queued.expect("it waits");
    record.id = None;
    record
}

#[test]
fn every_invariant_that_is_judged_is_seen_failing_while_an_enabler_runs() {
    for (rule, planted) in PLANTED {
        let judged = planted().judged();
        assert!(judged.iter().any(|violation| violation.rule == rule), "{rule:?}: {judged:?}");
    }
    let untried: Vec<Rule> =
        Judge::RULES.into_iter().filter(|rule| !PLANTED.iter().any(|(planted, _)| planted == rule)).collect();
    assert_eq!(untried, [], "each has to be seen failing");
}
