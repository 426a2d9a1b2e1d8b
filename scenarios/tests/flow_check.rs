//! What the checker tells of a trace, beside the verdicts of edges that the reference of the protocol crate holds.

#[cfg(test)]
mod check {
    use std::sync::Arc;

    use twinway_protocol::{
        EventId,
        flow::{Checker, Flow, Limits, Report, Traced},
    };
    use twinway_scenarios::flow::{find, read};

    /// A guest orders, the cook notes it and serves, or is out of it; the bill may come any time.
    const TEA: &str = r#"
name = "tea"
order = ["1 < 2 < 3 ... 4", "2 < 3x", "1 < 5 < 3"]
[entities]
Guest = "guest"
Cook = "cook"
[[step]]
number = "1"
from = "Guest"
to = "Cook"
message = ["Order"]
[[step]]
number = "2"
own = "Cook"
[[step]]
number = "3"
from = "Cook"
to = "Guest"
message = ["Serve"]
rejected = ["Cook -> Guest: OutOfIt"]
choice = "end"
[[step]]
number = "3x"
from = "Cook"
to = "Guest"
message = ["ServeWater"]
choice = "end"
[[step]]
number = "4"
from = "Cook"
to = "Guest"
message = ["Bill"]
later = ["Guest -> Guest: Remember"]
repeated = true
[[step]]
number = "5"
optional = true
from = "Cook"
to = "Cook"
message = ["Sugar"]
"#;

    fn flow(text: &str) -> Arc<Flow> {
        Arc::new(read("flow", text.as_bytes(), &[]).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Checks events, each `actor.count cause[+joined…] [flow:]step from to message`, and gives what is told.
    fn told(flow: &Arc<Flow>, limits: Limits, events: &[&str]) -> (Vec<String>, Report) {
        let id = |text: &str| {
            let (actor, count) = text.split_once('.').expect("an id");
            EventId::new(actor.parse().expect("a number"), count.parse().expect("a number"))
        };
        let mut checker = Checker::new(Arc::clone(flow), limits);
        let mut told = Vec::new();
        for (place, event) in events.iter().enumerate() {
            let words: Vec<&str> = event.splitn(6, ' ').collect();
            let [event, parents, step, from, to, name] = words.as_slice() else { panic!("{event}") };
            let parents: Vec<EventId> = parents.split('+').map(id).collect();
            let step = (*step != "-").then(|| step.split_once(':').unwrap_or((flow.name(), step)));
            let traced = Traced {
                event: id(event),
                cause: parents[0],
                joined: &parents[1..],
                from,
                to,
                step,
                name,
                place: place as u64,
            };
            checker.event(&traced, |finding| told.push(finding.shown(flow).to_string()));
        }
        let report = checker.finish(|finding| told.push(finding.shown(flow).to_string()));
        (told, report)
    }

    fn of(events: &[&str]) -> Vec<String> {
        told(&flow(TEA), Limits::in_order(), events).0
    }

    const ORDER: &str = "1.1 0.0 1 Guest Cook Order";
    const NOTE: &str = "1.2 1.1 2 Cook Cook own";
    const SERVE: &str = "2.1 1.1 3 Cook Guest Serve";

    #[test]
    fn what_a_turn_causes_is_caused_by_its_own_step() {
        let (told, report) = told(&flow(TEA), Limits::in_order(), &[ORDER, NOTE, SERVE]);
        assert_eq!(told, [""; 0]);
        assert!(report.is_strictly_held());
        assert_eq!((report.steps, report.instances), (3, 1));
    }

    #[test]
    fn a_step_that_never_came_is_missing_and_what_waits_for_it_is_not_told() {
        assert_eq!(of(&[ORDER]), ["missing: step 2 of what 1.1 began"]);
        assert_eq!(of(&[ORDER, NOTE]), ["missing: step 3 of what 1.1 began", "missing: step 3x of what 1.1 began"]);
    }

    #[test]
    fn an_answer_before_its_record_is_violated_and_one_that_does_not_wait_for_it_is_lucky() {
        assert_eq!(of(&[ORDER, SERVE, NOTE])[0], "violated: 2 < 3 at 2.1: step 2 did not come before");
        let apart = [
            "1.1 0.0 1 Guest Cook Order",
            "1.2 1.1 2 Cook Cook own",
            "1.3 0.0 - Clock Cook Tick",
            "2.1 1.3 3 Cook Guest Serve",
        ];
        assert_eq!(of(&apart)[0], "lucky: 2 < 3 at 2.1: it came in this order, but was not caused");
    }

    #[test]
    fn a_cause_of_an_earlier_round_is_none_of_a_later_one() {
        let again = [ORDER, NOTE, SERVE, "1.3 2.1 1 Guest Cook Order", "2.2 1.3 3 Cook Guest Serve"];
        assert_eq!(of(&again)[0], "lucky: 2 < 3 at 2.2: it came in this order, but was not caused");
    }

    #[test]
    fn a_rejection_and_a_refusal_end_the_flow() {
        assert_eq!(of(&[ORDER, NOTE, "2.1 1.1 3 Cook Guest OutOfIt"]), [""; 0]);
        assert_eq!(
            of(&[ORDER, "2.1 1.1 3 Cook Guest Serve refused"]),
            [""; 0],
            "nothing was noted, so nothing is served"
        );
        let unasked = of(&["2.1 0.0 3 Cook Guest Serve refused"]);
        assert_eq!(unasked, ["violated: 2 < 3 at 2.1: step 2 did not come before"], "nobody had asked");
    }

    #[test]
    fn a_flow_that_goes_on_after_it_was_refused_or_rejected_is_told() {
        let ended = TEA.replace("1 < 5 < 3\"]", "1 < 5 < 3\", \"3 < 6\"]");
        let flow = flow(&format!(
            "{ended}[[step]]\nnumber = \"6\"\noptional = true\nfrom = \"Guest\"\nto = \"Cook\"\nmessage = [\"Praise\"]\n"
        ));
        for end in ["2.1 1.1 3 Cook Guest OutOfIt", "2.1 1.1 3 Cook Guest Serve refused"] {
            let praise = "1.3 2.1 6 Guest Cook Praise";
            let (told, report) = told(&flow, Limits::in_order(), &[ORDER, NOTE, end, praise]);
            assert_eq!(told, ["unexpected: step 6 at 1.3: step 3 refused, and with that the flow ended"], "{end}");
            assert!(!report.holds());
            // It was served after all.
            let served = [ORDER, NOTE, end, "2.2 1.1 3 Cook Guest Serve", "1.3 2.2+2.1 6 Guest Cook Praise"];
            let told = super::check::told(&flow, Limits::in_order(), &served).0;
            assert!(told.iter().all(|told| !told.contains("refused, and with")), "{told:?}");
        }
    }

    #[test]
    fn what_was_passed_on_to_nobody_is_missing() {
        let hops = "hops = [\"Cook -> Waiter: Bring\", \"Waiter -> Guest: Bring\", \"Cook -> Guest: Serve\"]";
        let flow = TEA
            .replace("message = [\"Serve\"]", hops)
            .replace("Cook = \"cook\"", "Cook = \"cook\"\nWaiter = \"waiter\"");
        let flow = super::check::flow(&flow);
        let (bring, on) = ("2.1 1.1 3 Cook Waiter Bring", "3.1 2.1 3 Waiter Guest Bring");
        let of = |events: &[&str]| told(&flow, Limits::in_order(), events).0;
        assert_eq!(of(&[ORDER, NOTE, bring, on]), [""; 0]);
        assert_eq!(of(&[ORDER, NOTE, SERVE]), [""; 0], "the cook brings it too");
        assert_eq!(of(&[ORDER, NOTE, bring]), ["missing: step 3 of what 1.1 began"]);
        assert_eq!(of(&[ORDER, NOTE, bring, "3.1 2.1 3 Waiter Guest Bring refused"]), [""; 0]);
    }

    #[test]
    fn a_cause_that_was_let_go_hides_nothing_that_is_missing_elsewhere() {
        let limits = Limits { events_kept: 8, settle_events: 2, whole: true, ..Limits::any_order() };
        let others: Vec<String> = (1..=20).map(|n| format!("7.{n} 0.0 - A B x")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let join = "8.1 7.20+7.1 - A B x";
        let (told, report) = told(&flow(TEA), limits, &[&[ORDER, NOTE][..], &others, &[join]].concat());
        assert_eq!(report.forgotten_parents, 1);
        assert_eq!(told, ["missing: step 3 of what 1.1 began", "missing: step 3x of what 1.1 began"]);
    }

    #[test]
    fn what_a_runtime_refuses_because_nobody_is_there_is_no_repetition_of_what_the_asker_had_before() {
        let again = [ORDER, NOTE, SERVE, "1.3 2.1 1 Guest Cook Order", "2.2 2.1+2.1 3 Cook Guest Serve refused"];
        assert_eq!(of(&again), ["missing: step 2 of what 1.3 began"], "that order was lost");
        let twice = [ORDER, NOTE, SERVE, "2.2 1.1 3 Cook Guest Serve refused"];
        assert_eq!(of(&twice), ["repeated: step 3 at 2.2"], "it was the cook who answered again");
    }

    /// Three ask for a lease, the gate is fenced for the first, and does not answer.
    const UNFENCED: [&str; 4] = [
        "1.1 2.1 7 MetaverseSystem SyncSupervisor RequestSyncLease",
        "1.2 2.2 7 MetaverseSystem SyncSupervisor RequestSyncLease",
        "1.3 4.1 7 Dts SyncSupervisor RequestSyncLease",
        "3.1 1.1 8 SyncSupervisor PhysicalObject FenceGate",
    ];

    fn of_leases(events: &[&str]) -> Vec<String> {
        let begun = [
            "2.1 0.0 - Nobody MetaverseSystem Wish",
            "2.2 0.0 - Nobody MetaverseSystem Wish",
            "4.1 0.0 - Nobody Dts Wish",
        ];
        let events = [&begun[..], &UNFENCED, events].concat();
        let leases = find("7.1.3").expect("it is there");
        told(&leases, Limits { whole: false, ..Limits::in_order() }, &events).0
    }

    #[test]
    fn each_of_several_who_are_refused_in_one_turn_has_its_answer() {
        // The time of the fence is over: all who waited are refused in that turn, in any order (FGMV-28 7.1.3 step 10).
        let over = "1.4 1.1+1.1+1.2+1.3 - SyncSupervisor SyncSupervisor timeout";
        let refused = [
            "2.3 1.4+2.1 10 SyncSupervisor MetaverseSystem SyncLeaseGranted refused",
            "2.4 1.4+2.2 10 SyncSupervisor MetaverseSystem SyncLeaseGranted refused",
            "4.2 1.4+4.1 10 SyncSupervisor Dts SyncLeaseGranted refused",
        ];
        assert_eq!(of_leases(&[&[over][..], &refused].concat()), [""; 0]);
        for left_out in 0..refused.len() {
            let mut answers = refused.to_vec();
            answers.remove(left_out);
            let told = of_leases(&[&[over][..], &answers].concat());
            assert_eq!(told.len(), 1, "one of them has no answer: {told:?}");
            assert!(told[0].starts_with("missing: step "), "{told:?}");
        }
    }

    #[test]
    fn who_is_granted_is_told_apart_from_those_who_are_refused_in_the_same_turn() {
        let fenced = "1.4 3.1+1.1+1.2+1.3 9 PhysicalObject SyncSupervisor GateFenced";
        let granted = "2.3 1.4+2.1 10 SyncSupervisor MetaverseSystem SyncLeaseGranted";
        let refused = [
            "2.4 1.4+2.2 10 SyncSupervisor MetaverseSystem SyncLeaseGranted refused",
            "4.2 1.4+4.1 10 SyncSupervisor Dts SyncLeaseGranted refused",
        ];
        for order in
            [[granted, refused[0], refused[1]], [refused[0], granted, refused[1]], [refused[1], refused[0], granted]]
        {
            assert_eq!(of_leases(&[&[fenced][..], &order].concat()), [""; 0], "{order:?}");
        }
    }

    #[test]
    fn what_the_outside_does_next_does_not_go_on_with_what_it_heard_of() {
        // The outside heard that the cook had noted one order, took a step of another flow, and then gave another order.
        let events = [
            "2.1 0.0 - Nobody Guest Wish",
            "1.1 2.1 1 Guest Cook Order",
            "1.2 1.1 2 Cook Cook own",
            "9.1 1.2 visit:4 Caller Caller outside",
            "2.2 9.1 - Nobody Guest Wish",
            "1.3 2.2 1 Guest Cook Order",
            "1.4 1.3 2 Cook Cook own",
            "2.3 1.3+2.2 3 Cook Guest Serve",
            "2.4 1.1+2.1 3 Cook Guest Serve",
        ];
        let (told, report) = told(&flow(TEA), Limits { outside: true, ..Limits::in_order() }, &events);
        assert_eq!((told, report.instances), (Vec::new(), 2));
    }

    #[test]
    fn one_step_of_a_choice_is_taken() {
        let water = "2.1 1.1 3x Cook Guest ServeWater";
        assert_eq!(of(&[ORDER, NOTE, water]), [""; 0]);
        let both = of(&[ORDER, NOTE, water, "2.2 1.1 3 Cook Guest Serve"]);
        assert_eq!(both, ["unexpected: step 3 at 2.2: another of its choice was taken"]);
    }

    #[test]
    fn a_step_comes_once_in_an_instance_and_as_often_as_it_may_otherwise() {
        let again = of(&[ORDER, NOTE, SERVE, "2.2 1.1 3 Cook Guest Serve"]);
        assert_eq!(again, ["repeated: step 3 at 2.2"]);
        let other_guest = ["1.3 0.0 1 Guest Cook Order", "1.4 1.3 2 Cook Cook own", "2.2 1.3 3 Cook Guest Serve"];
        assert_eq!(of(&[&[ORDER, NOTE, SERVE][..], &other_guest].concat()), [""; 0]);
        assert_eq!(of(&[ORDER, NOTE, SERVE, "2.2 0.0 4 Cook Guest Bill", "2.3 2.2 4 Cook Guest Bill"]), [""; 0]);
    }

    #[test]
    fn an_optional_step_may_be_left_out_but_not_come_late() {
        assert_eq!(of(&[ORDER, NOTE, "1.3 1.1 5 Cook Cook Sugar", "2.1 1.3 3 Cook Guest Serve"]), [""; 0]);
        let late = of(&[ORDER, NOTE, SERVE, "1.3 1.1 5 Cook Cook Sugar"]);
        assert_eq!(late, ["violated: 5 < 3 at 1.3: step 5 did not come before"]);
    }

    #[test]
    fn what_may_come_any_time_after_comes_not_before() {
        let early = of(&["2.1 0.0 4 Cook Guest Bill"]);
        assert_eq!(early, ["violated: 3 ... 4 at 2.1: step 3 did not come before"]);
        let (told, report) = told(&flow(TEA), Limits::any_order(), &["2.1 0.0 4 Cook Guest Bill"]);
        assert_eq!((told.len(), report.verdicts().unjudged), (0, 1), "it may have come in an earlier life");
    }

    #[test]
    fn a_step_that_is_unknown_or_goes_another_way_is_unexpected() {
        assert_eq!(of(&["1.1 0.0 9 Guest Cook Order"]), ["unexpected: 1.1 is a step that tea does not have"]);
        for way in ["Cook Guest Order", "Guest Guest Order", "Guest Cook Serve"] {
            let told = of(&[&format!("1.1 0.0 1 {way}")]);
            assert_eq!(told, ["unexpected: step 1 at 1.1 is not between these entities, or with this message"]);
        }
    }

    #[test]
    fn a_parent_that_never_happened_a_loop_and_an_id_that_comes_twice_are_told() {
        assert_eq!(of(&["1.1 7.7 - A B x"]), ["broken trace: 1.1 was caused by 7.7, which never happened"]);
        let flow = flow(TEA);
        let (told, report) =
            told(&flow, Limits::any_order(), &["1.1 2.1 - A B x", "2.1 1.1 - A B x", "2.1 0.0 - A B x"]);
        assert_eq!(told, ["broken trace: 2.1 is there twice", "broken trace: 2.1 was caused by 1.1, and that by 2.1"]);
        assert_eq!((report.holds(), report.broken), (false, 2));
    }

    #[test]
    fn two_beginnings_that_lead_to_one_step_are_one_instance() {
        let join =
            TEA.replace("order = [\"1 < 2 < 3 ... 4\", \"2 < 3x\", \"1 < 5 < 3\"]", "order = [\"1 < 3\", \"5 < 3\"]");
        let join = join.replace("optional = true\n", "").replace("choice = \"end\"\n", "");
        let events = ["1.1 0.0 1 Guest Cook Order", "1.2 0.0 5 Cook Cook Sugar", "2.1 1.2+1.1 3 Cook Guest Serve"];
        let (told, report) = told(&flow(&join), Limits::in_order(), &events);
        assert_eq!((told, report.instances), (Vec::<String>::new(), 2));
    }

    #[test]
    fn thousands_of_instances_that_lie_in_each_other_are_told_apart() {
        let (count, flow) = (5_000, flow(TEA));
        let orders = (0..count).map(|n| format!("{}.1 0.0 1 Guest Cook Order", 2 * n + 1));
        let notes = (0..count).map(|n| format!("{}.2 {0}.1 2 Cook Cook own", 2 * n + 1));
        let served = (0..count)
            .map(|n| format!("{}.1 {}.1 3 Cook Guest Serve", 2 * n + 2, 2 * n + 1))
            .filter(|event| !event.starts_with("2002."));
        let events: Vec<String> = orders.chain(notes).chain(served).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let (told, report) = told(&flow, Limits::in_order(), &events);
        assert_eq!((report.instances, report.verdicts().satisfied, report.verdicts().lucky), (5_000, 9_999, 0));
        assert_eq!(told, ["missing: step 3 of what 2001.1 began", "missing: step 3x of what 2001.1 began"]);
    }

    #[test]
    fn memory_is_bounded_and_what_was_let_go_is_counted() {
        let limits = Limits { events_kept: 16, instances_open: 4, ..Limits::in_order() };
        let events: Vec<String> = (1..=1_000).map(|n| format!("1.{n} 0.0 1 Guest Cook Order")).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).chain(["2.1 1.1 3 Cook Guest Serve"]).collect();
        let (told, report) = told(&flow(TEA), limits, &events);
        assert_eq!((report.forgotten_events, report.forgotten_instances, report.forgotten_parents), (985, 996, 1));
        assert_eq!(report.verdicts().unjudged, 2, "the cause of the last is not known any more: {told:?}");
    }

    #[test]
    fn what_there_is_no_room_for_is_not_judged_and_nobody_is_blamed_for_it() {
        const OTHER: &str = "7.1 0.0 - A B x";
        const BILL: &str = "2.1 0.0 4 Cook Guest Bill";
        let flow = flow(TEA);
        let broken = |limits: Limits, events: &[&str]| {
            told(&flow, limits, events).0.iter().filter(|told| !told.starts_with("missing")).count()
        };
        // The bill came before the tea; whose earlier events are not known may have served it.
        assert_eq!(broken(Limits::in_order(), &[OTHER, BILL]), 1);
        assert_eq!(broken(Limits { actors_kept: 0, ..Limits::in_order() }, &[OTHER, BILL]), 0);
        // What served it is among the parents for which there is no room.
        let served = [ORDER, NOTE, OTHER, "2.1 0.0+7.1+1.1 3 Cook Guest Serve"];
        assert_eq!(broken(Limits::in_order(), &served), 0);
        assert_eq!(broken(Limits { joined_waiting: 1, ..Limits::in_order() }, &served), 0);
    }

    #[test]
    fn what_may_be_among_what_was_lost_is_not_missing() {
        let mut checker = Checker::new(flow(TEA), Limits::any_order());
        let (event, cause, joined) = (EventId::new(1, 1), EventId::NONE, &[][..]);
        let (step, from, to, name) = (Some(("tea", "1")), "Guest", "Cook", "Order");
        checker
            .event(&Traced { event, cause, joined, from, to, step, name, place: 1 }, |finding| panic!("{finding:?}"));
        // However much that is together.
        checker.lost(u64::MAX);
        checker.lost(1);
        let report = checker.finish(|finding| panic!("{finding:?}"));
        assert_eq!((report.missing, report.lost_events), (0, u64::MAX));
    }

    #[test]
    fn a_lost_event_excuses_what_hangs_on_it() {
        let flow = find("9.2").expect("it is there");
        let mut checker = Checker::new(Arc::clone(&flow), Limits::any_order());
        checker.lost(3);
        let parent = EventId::new(9, 9);
        let traced = Traced {
            event: EventId::new(1, 1),
            cause: parent,
            joined: &[],
            from: "Dts",
            to: "Dtac",
            step: Some(("9.2", "16")),
            name: "VerifyChange",
            place: 2,
        };
        checker.event(&traced, |finding| panic!("{finding:?}"));
        let report = checker.finish(|finding| panic!("{finding:?}"));
        assert_eq!((report.holds(), report.verdicts().unjudged, report.lost_events), (true, 1, 3));
    }
}
