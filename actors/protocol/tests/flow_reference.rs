//! The checker against a reference that is slow and obvious: it looks for causes by walking back through the trace.

#[cfg(test)]
mod reference {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::Arc,
    };

    use proptest::prelude::*;
    use twinway_protocol::{
        EventId,
        flow::{
            Branch, Checker, Checkers, Entity, Finding, FindingKind, Flow, FlowDraft, FlowStep, Hop, Limits, OWN,
            Report, Traced,
        },
    };

    /// An event of a made-up trace.
    #[derive(Clone, Debug)]
    struct Event {
        id: EventId,
        cause: EventId,
        joined: Vec<EventId>,
        step: Option<usize>,
        own: bool,
    }

    /// Events of any actors, in an order in which causes come first.
    #[derive(Clone, Debug)]
    struct Case {
        flow: Arc<Flow>,
        events: Vec<Event>,
    }

    fn flow(steps: usize, edges: &BTreeMap<(usize, usize), bool>) -> Flow {
        let step = |at: usize| FlowStep {
            number: at.to_string(),
            title: String::new(),
            clause: String::new(),
            from: "A".into(),
            to: "A".into(),
            hops: vec![Hop {
                flow: "f".into(),
                number: at.to_string(),
                from: "A".into(),
                to: "A".into(),
                messages: vec![format!("M{at}"), OWN.into()],
                branch: Branch::Main,
            }],
            optional: false,
            repeated: true,
            extension: false,
            choice: None,
            contains: None,
        };
        let order = edges.iter().map(|((a, b), must)| format!("{a} {} {b}", if *must { "<" } else { "..." }));
        let draft = FlowDraft {
            name: "f".into(),
            entities: vec![Entity { name: "A".into(), title: String::new() }],
            steps: (0..steps).map(step).collect(),
            order: order.collect(),
            ..FlowDraft::default()
        };
        draft.check().expect("edges lead from lower to higher numbers")
    }

    /// How one turn is made: its actor, how many numbers that leaves out, its parents among those before it, its step, and its
    /// own steps.
    type Seed = (u32, u64, Vec<prop::sample::Index>, Option<usize>, Vec<usize>);

    fn events(seeds: Vec<Seed>, steps: usize) -> Vec<Event> {
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        let mut turns: Vec<EventId> = Vec::new();
        let mut events: Vec<Event> = Vec::new();
        for (actor, left_out, parents, step, own) in seeds {
            *counts.entry(actor).or_default() += left_out;
            let mut next = || {
                let count = counts.entry(actor).or_default();
                *count += 1;
                EventId::new(actor, *count)
            };
            let id = next();
            let mut parents = parents.iter().filter(|_| !turns.is_empty()).map(|parent| *parent.get(&turns));
            let cause = parents.next().unwrap_or(EventId::NONE);
            let joined = parents.collect();
            events.push(Event { id, cause, joined, step: step.map(|step| step % steps), own: false });
            for step in own {
                events.push(Event { id: next(), cause: id, joined: Vec::new(), step: Some(step % steps), own: true });
            }
            turns.push(id);
        }
        events
    }

    fn cases() -> impl Strategy<Value = Case> {
        let edges = prop::collection::btree_map((0_usize..7, 0_usize..7), any::<bool>(), 0..14);
        let own = prop_oneof![6 => Just(Vec::new()), 1 => prop::collection::vec(0_usize..7, 1..3)];
        // A life of an entity that failed takes a number that no event has.
        let left_out = prop_oneof![6 => Just(0_u64), 1 => 1_u64..3];
        let parents = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
        let turn = (0_u32..4, left_out, parents, prop::option::of(0_usize..7), own);
        (1_usize..8, edges, prop::collection::vec(turn, 0..40)).prop_map(|(steps, edges, seeds)| {
            let kept = edges.into_iter().filter(|((a, b), _)| a < b && *b < steps).collect();
            Case { flow: Arc::new(flow(steps, &kept)), events: events(seeds, steps) }
        })
    }

    /// What is known of a case by looking at all of it again and again.
    struct Reference<'c> {
        case: &'c Case,
        events: BTreeMap<EventId, &'c Event>,
    }

    impl<'c> Reference<'c> {
        fn new(case: &'c Case) -> Self {
            Self { case, events: case.events.iter().map(|event| (event.id, event)).collect() }
        }

        /// An own step stands between its turn and whatever else the turn caused.
        fn parents(&self, event: &Event) -> Vec<EventId> {
            let named = event.joined.iter().chain([&event.cause]).filter(|parent| **parent != EventId::NONE);
            let last_own = |turn: EventId| {
                let own = self.case.events.iter().filter(|own| own.own && own.cause == turn);
                own.filter(|own| !event.own || own.id < event.id).map(|own| own.id).max()
            };
            named.map(|parent| last_own(*parent).unwrap_or(*parent)).collect()
        }

        /// Steps that follow from a step along `<`, if nothing must cause it.
        fn begun_anew(&self, step: usize) -> BTreeSet<usize> {
            let must =
                |from: usize| self.case.flow.edges().iter().filter(move |edge| edge.must_cause && edge.from == from);
            let mut found = BTreeSet::new();
            if self.case.flow.edges().iter().any(|edge| edge.must_cause && edge.to == step) {
                return found;
            }
            let mut open = vec![step];
            while let Some(step) = open.pop() {
                open.extend(must(step).map(|edge| edge.to).filter(|to| found.insert(*to)));
            }
            found
        }

        fn caused(&self, earlier: usize, event: &Event) -> bool {
            let (mut seen, mut open) = (BTreeSet::new(), self.parents(event));
            while let Some(id) = open.pop() {
                let event = self.events[&id];
                if event.step == Some(earlier) {
                    return true;
                }
                let over = event.step.is_some_and(|step| self.begun_anew(step).contains(&earlier));
                if !over && seen.insert(id) {
                    open.extend(self.parents(event));
                }
            }
            false
        }

        fn before(&self, earlier: usize, event: &Event) -> bool {
            let with_order = |event: &Event| {
                let same = self.events.range(..event.id).next_back().map(|(id, _)| *id);
                let mut parents = self.parents(event);
                parents.extend(same.filter(|id| id.actor() == event.id.actor()));
                parents
            };
            let (mut seen, mut open) = (BTreeSet::new(), with_order(event));
            while let Some(id) = open.pop() {
                let event = self.events[&id];
                if event.step == Some(earlier) {
                    return true;
                }
                if seen.insert(id) {
                    open.extend(with_order(event));
                }
            }
            false
        }

        /// What is lucky or violated, and how many edges are satisfied.
        fn judge(&self) -> (Vec<(EventId, FindingKind)>, u64) {
            let (mut wrong, mut satisfied) = (Vec::new(), 0);
            for event in &self.case.events {
                for (at, edge) in
                    self.case.flow.edges().iter().enumerate().filter(|(_, edge)| event.step == Some(edge.to))
                {
                    let (caused, before) = (self.caused(edge.from, event), self.before(edge.from, event));
                    match (caused || !edge.must_cause && before, before) {
                        (true, _) => satisfied += 1,
                        (false, true) => wrong.push((event.id, FindingKind::Lucky(at))),
                        (false, false) => wrong.push((event.id, FindingKind::Violated(at))),
                    }
                }
            }
            wrong.sort_by_key(|(id, kind)| (*id, format!("{kind:?}")));
            (wrong, satisfied)
        }
    }

    fn each(events: &[Event], mut take: impl FnMut(&Traced<'_>)) {
        for (at, event) in events.iter().enumerate() {
            let number = event.step.map(|step| step.to_string());
            let message = event.step.map_or("other".to_owned(), |step| format!("M{step}"));
            let traced = Traced {
                event: event.id,
                cause: event.cause,
                joined: &event.joined,
                from: "A",
                to: "A",
                step: number.as_deref().map(|number| ("f", number)),
                name: if event.own { OWN } else { &message },
                place: at as u64,
            };
            take(&traced);
        }
    }

    fn check(case: &Case, events: &[Event], limits: Limits) -> (Vec<Finding>, Report) {
        let mut checker = Checker::new(Arc::clone(&case.flow), limits);
        let mut findings = Vec::new();
        each(events, |traced| checker.event(traced, |finding| findings.push(finding)));
        let report = checker.finish(|finding| findings.push(finding));
        (findings, report)
    }

    /// The same by several flows at once.
    fn check_all(flows: [&Arc<Flow>; 2], events: &[Event], limits: Limits) -> Vec<(Vec<Finding>, Report)> {
        let [first, second] = flows;
        let mut checkers = Checkers::new(Arc::clone(first), [Arc::clone(second)], limits);
        let mut findings = [Vec::new(), Vec::new()];
        each(events, |traced| checkers.event(traced, |flow, finding| findings[flow].push(finding)));
        checkers.end(|flow, finding| findings[flow].push(finding));
        findings.into_iter().zip(checkers.reports().map(|(_, report)| report.clone())).collect()
    }

    /// What is lucky or violated among findings.
    fn edges(findings: &[Finding]) -> Vec<(EventId, FindingKind)> {
        let edge = |finding: &&Finding| matches!(finding.kind, FindingKind::Lucky(_) | FindingKind::Violated(_));
        let mut edges: Vec<_> = findings.iter().filter(edge).map(|finding| (finding.event, finding.kind)).collect();
        edges.sort_by_key(|(id, kind)| (*id, format!("{kind:?}")));
        edges
    }

    /// The same events as different actors may hand them over: each in its own order, between them none.
    fn shuffled(events: &[Event], picks: &[prop::sample::Index]) -> Vec<Event> {
        let mut actors: BTreeMap<u32, Vec<Event>> = BTreeMap::new();
        for event in events.iter().rev() {
            actors.entry(event.id.actor()).or_default().push(event.clone());
        }
        let mut order = Vec::new();
        for at in 0..events.len() {
            let names: Vec<u32> = actors.keys().copied().collect();
            let actor = picks.get(at).map_or(names[0], |pick| *pick.get(&names));
            let left = actors.get_mut(&actor).expect("it has some left");
            order.extend(left.pop());
            if left.is_empty() {
                actors.remove(&actor);
            }
        }
        order
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: ProptestConfig::default().cases.max(1_500), ..ProptestConfig::default() })]

        #[test]
        fn the_checker_says_what_the_reference_says(case in cases()) {
            let (wrong, satisfied) = Reference::new(&case).judge();
            let (findings, report) = check(&case, &case.events, Limits::in_order());
            prop_assert_eq!(edges(&findings), wrong);
            prop_assert_eq!(report.verdicts().satisfied, satisfied);
            prop_assert_eq!((report.unexpected, report.broken, report.verdicts().unjudged), (0, 0, 0));
        }

        #[test]
        fn the_order_in_which_actors_hand_their_events_over_changes_nothing(
            case in cases(),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let (wrong, satisfied) = Reference::new(&case).judge();
            let events = shuffled(&case.events, &picks);
            let (findings, report) = check(&case, &events, Limits { whole: true, ..Limits::any_order() });
            prop_assert_eq!(edges(&findings), wrong);
            prop_assert_eq!(report.verdicts().satisfied, satisfied);
            prop_assert_eq!(report.broken, 0);
        }

        #[test]
        fn flows_that_share_their_events_are_judged_as_each_alone(
            case in cases(),
            other in cases(),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
            settle in 0_usize..40,
            kept in 2_usize..80,
        ) {
            let events = shuffled(&case.events, &picks);
            let limits = Limits { settle_events: settle, events_kept: kept, instances_open: 4, actors_kept: 3, ..Limits::any_order() };
            let together = check_all([&case.flow, &other.flow], &events, limits);
            let alone = [&case, &other].map(|case| check(case, &events, limits));
            prop_assert_eq!(together, Vec::from(alone));
        }

        #[test]
        fn what_is_forgotten_makes_nothing_wrong_that_was_right(case in cases(), kept in 2_usize..20) {
            let wrong: BTreeSet<String> =
                Reference::new(&case).judge().0.iter().map(|(id, kind)| format!("{id:?} {}", edge(*kind))).collect();
            let limits = Limits { events_kept: kept, instances_open: 1, actors_kept: 2, joined_waiting: 1, ..Limits::in_order() };
            let (findings, report) = check(&case, &case.events, limits);
            for (id, kind) in edges(&findings) {
                let finding = format!("{id:?} {}", edge(kind));
                prop_assert!(wrong.contains(&finding), "{} is right", finding);
            }
            prop_assert!(report.forgotten_events + kept as u64 >= report.events);
        }

        #[test]
        fn no_trace_however_broken_makes_it_fail(
            events in prop::collection::vec((0_u64..24, 0_u64..24, prop::collection::vec(0_u64..24, 0..3), 0_usize..9, any::<bool>()), 0..60),
            settle in 0_usize..40,
            kept in 2_usize..60,
        ) {
            let case = Case { flow: Arc::new(flow(3, &BTreeMap::from([((0, 1), true), ((1, 2), true)]))), events: Vec::new() };
            let id = |bits: u64| EventId::new((bits / 8) as u32, bits % 8);
            let events: Vec<Event> = events.into_iter().map(|(event, cause, joined, step, own)| Event {
                id: id(event), cause: id(cause), joined: joined.into_iter().map(id).collect(), step: Some(step), own,
            }).collect();
            let limits = Limits { settle_events: settle, events_kept: kept, joined_waiting: 8, ..Limits::any_order() };
            let (findings, report) = check(&case, &events, limits);
            prop_assert_eq!(report.events, events.len() as u64);
            prop_assert!(report.holds() == findings.iter().all(Finding::is_lucky));
        }
    }

    /// The edge of a finding, whatever its verdict.
    fn edge(kind: FindingKind) -> usize {
        match kind {
            FindingKind::Lucky(edge) | FindingKind::Violated(edge) => edge,
            _ => usize::MAX,
        }
    }
}
