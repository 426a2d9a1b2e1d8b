//! FGMV-28 REQ-DT-08: what twins say of their synchronization is kept, and everyone concerned hears of it.

use std::{collections::BTreeMap, sync::Arc};

use twinway_protocol::{
    Behaviour, Effect, PendingKey, Problem, ProblemKind, TwinId,
    access::Characteristics,
    lease::{PriorityRule, Synchronization},
    message::{
        DTAC, DTSR, DigitalTwinSystemMsg, DtacMsg, Kept, PhysicalObjectMsg, Reannounce, SYNC_SUPERVISOR,
        SetSynchronization, SyncSupervisorMsg, TwinMsg, Wire,
    },
    signal::Signal,
    twin::{RegisteredTwin, TwinEntry},
};

use super::{keep_all, lamps, refusal, register, registered, trial};
use crate::{
    Settings, codec,
    dtif::{
        dtsr::{Dtsr, DtsrRecord},
        sample::{
            caller, description, from_snapshots, heard, json, object_actor, restarted, sent_to, system_actor,
            system_id, twin, twin_actor, twin_id, twin_system, user, values,
        },
    },
    trial::{Trial, sent},
};

/// The part that holds the first twins.
const TWINS: u64 = 1 << 40;

/// What a twin can say, with everything in it.
fn says(priority: u8) -> Arc<Synchronization> {
    let rule = PriorityRule { user: Some(user("ada")), role: Some("operator".into()), priority, ..Default::default() };
    Arc::new(Synchronization {
        priorities: vec![rule],
        default_priority: 1,
        grace_ms: 500,
        safe_stop: Some(values(&[("on", "false"), ("level", "0")])),
        ..Synchronization::default()
    })
}

fn saying(entry: TwinEntry, synchronization: Arc<Synchronization>) -> TwinEntry {
    let characteristics = Characteristics { synchronization: Some(synchronization), ..entry.characteristics };
    TwinEntry { characteristics, ..entry }
}

/// Two twins of one object, of which the second has something to say, and a twin without an object.
fn quiet_and_loud(priority: u8) -> twinway_protocol::registry::TwinSystemDescription {
    let loud = saying(twin("b", Some("urn:a")), says(priority));
    description("home", vec![twin("a", Some("urn:a")), loud, twin("c", None)])
}

fn set(trial: &mut Trial<Dtsr>, slot: u32, twin: &str, says: Arc<Synchronization>) -> Vec<Effect<Wire>> {
    let message = SetSynchronization { twin: twin_id(twin), synchronization: says };
    trial.deliver(system_actor(slot).id(), PendingKey::from_bits(5), message)
}

fn refused_to_set(trial: &mut Trial<Dtsr>, slot: u32, twin: &str, says: Arc<Synchronization>) -> Problem {
    let records = trial.records.len();
    let effects = set(trial, slot, twin, says);
    assert_eq!((trial.records.len(), effects.len()), (records, 1), "a refusal changes nothing");
    heard::<Kept>(effects).expect("it is answered").expect_err("it is refused")
}

fn said(twins: &[RegisteredTwin]) -> BTreeMap<TwinId, Arc<Synchronization>> {
    let said = twins.iter().filter_map(|twin| {
        let said = twin.entry.characteristics.synchronization.clone()?;
        Some((twin.entry.id.clone(), said))
    });
    said.collect()
}

/// What the actor of an object is told of its synchronization.
fn of_object(effects: Vec<Effect<Wire>>) -> Vec<Arc<Synchronization>> {
    let told = sent_to::<PhysicalObjectMsg>(effects).into_iter().filter_map(|(_, message)| match message {
        PhysicalObjectMsg::RepresentObject(message) => Some(message.synchronization),
        _ => None,
    });
    told.collect()
}

/// The twins that DTAC is told to keep, by system.
fn kept_by_dtac(effects: Vec<Effect<Wire>>) -> Vec<Arc<[RegisteredTwin]>> {
    let told = sent_to::<DtacMsg>(effects).into_iter().filter_map(|(_, message)| match message {
        DtacMsg::KeepTwinSystem(message) => Some(message.twins),
        _ => None,
    });
    told.collect()
}

#[test]
fn the_first_twin_that_has_something_to_say_speaks_for_the_object() {
    let mut trial = trial();
    assert_eq!(of_object(register(&mut trial, 4, quiet_and_loud(7))), [says(7)]);
    let silent = description("barn", vec![twin("x", Some("urn:x"))]);
    assert_eq!(of_object(register(&mut trial, 5, silent)), [Arc::default()]);
    let both = vec![saying(twin("y", Some("urn:y")), says(3)), saying(twin("z", Some("urn:y")), says(9))];
    assert_eq!(of_object(register(&mut trial, 6, description("shed", both))), [says(3)]);
}

#[test]
fn what_was_said_survives_replay_and_snapshots() {
    let mut trial = trial();
    let first = registered(&mut trial, 4, quiet_and_loud(7));
    registered(&mut trial, 5, description("barn", vec![twin("x", Some("urn:x"))]));
    let asked = set(&mut trial, 5, "x", says(2));
    keep_all(&mut trial, asked);

    for mut again in [restarted(&trial, DTSR.id()), from_snapshots(&trial, DTSR.id(), &[4, 5, TWINS])] {
        again.recovered();
        let told = again.deliver(DTAC.id(), PendingKey::NONE, Reannounce);
        let all: BTreeMap<_, _> = kept_by_dtac(told).iter().flat_map(|twins| said(twins)).collect();
        assert_eq!(all, BTreeMap::from([(twin_id("b"), says(7)), (twin_id("x"), says(2))]));
        let told = again.deliver(object_actor(1).id(), PendingKey::NONE, Reannounce);
        assert_eq!(of_object(told), [says(2)]);
        assert_eq!(registered(&mut again, 4, quiet_and_loud(7)).system, first.system);
        let problem = refusal(&mut again, 4, quiet_and_loud(8));
        assert_eq!(problem.differences, ["twins: `b` changed"]);
        // What was said last is what is registered.
        let anew = description("barn", vec![saying(twin("x", Some("urn:x")), says(2))]);
        registered(&mut again, 5, anew);
    }
}

#[test]
fn a_journal_of_before_reads_as_ever() {
    // Written by the version before twins could say anything.
    let golden: &[u8] = &[
        1, 0, 4, 104, 111, 109, 101, 4, 104, 111, 109, 101, 15, 84, 104, 101, 32, 115, 121, 115, 116, 101, 109, 32,
        104, 111, 109, 101, 0, 0, 0, 0, 5, 253, 4, 0, 0, 0, 0, 0, 0, 13, 2, 1, 97, 1, 5, 117, 114, 110, 58, 97, 0, 2,
        123, 125, 1, 1, 2, 111, 110, 0, 253, 40, 0, 0, 0, 0, 0, 0, 17, 1, 253, 40, 0, 0, 0, 0, 0, 0, 15, 1, 98, 0, 0,
        2, 123, 125, 0, 1, 4, 103, 114, 105, 100, 1, 0, 253, 41, 0, 0, 0, 0, 0, 0, 17, 0,
    ];
    let mut first = TwinEntry { description: json("{}"), access: BTreeMap::new(), ..twin("a", Some("urn:a")) };
    first.characteristics = Characteristics { changeable: Some(["on".to_owned()].into()), synchronization: None };
    let was = twin_system("home", 4, vec![first, TwinEntry { description: json("{}"), ..twin("b", None) }]);
    let record: DtsrRecord = codec::decode(golden).expect("it decodes");
    assert_eq!(codec::encode(&record).expect("it encodes"), golden, "and is written as it was");
    let later = DtsrRecord::Synchronized { system: system_id("home"), twins: vec![(twin_id("b"), says(7))] };

    let mut again = trial();
    again.behaviour.replay(record);
    again.behaviour.replay(later.clone());
    // Compacted before it could give the twins parts of their own, it loses none of them.
    let compacted = from_snapshots(&again, DTSR.id(), &[4]);
    let expected = |told: Vec<Effect<Wire>>| {
        let [kept] = &kept_by_dtac(told)[..] else { panic!("one system") };
        assert_eq!((kept[0].clone(), kept[1].entity), (was.twins[0].clone(), was.twins[1].entity));
        assert_eq!(said(kept), BTreeMap::from([(twin_id("b"), says(7))]));
    };
    for mut again in [again, compacted] {
        expected(again.recovered());
        // From now on the twins have parts of their own, in whatever order those come back beside the old record.
        let mut parts = again.records.clone();
        parts.reverse();
        for records in [again.records.clone(), parts] {
            let mut third = trial();
            let own = |record: &DtsrRecord| matches!(record, DtsrRecord::Listed { .. });
            let (chunks, of_system): (Vec<_>, Vec<_>) = records.into_iter().partition(own);
            chunks.into_iter().for_each(|record| third.behaviour.replay(record));
            third.behaviour.replay(codec::decode(golden).expect("it decodes"));
            third.behaviour.replay(later.clone());
            of_system.into_iter().for_each(|record| third.behaviour.replay(record));
            expected(third.deliver(DTAC.id(), PendingKey::NONE, Reannounce));
        }
    }
}

#[test]
fn a_record_of_twins_that_the_system_does_not_list_changes_no_other() {
    let mut trial = trial();
    registered(&mut trial, 4, lamps());
    registered(&mut trial, 5, description("barn", vec![twin("x", Some("urn:x"))]));
    let twins = vec![(twin_id("a"), says(3)), (twin_id("nobody"), says(3)), (twin_id("x"), says(4))];
    let system = "barn".parse().expect("it is a name");
    trial.behaviour.replay(DtsrRecord::Synchronized { system, twins });
    let told = trial.deliver(DTAC.id(), PendingKey::NONE, Reannounce);
    let all: BTreeMap<_, _> = kept_by_dtac(told).iter().flat_map(|twins| said(twins)).collect();
    assert!(all.is_empty(), "what stands in a part of its own is newer than any such record");
}

/// Everything that cannot be said, with its problem and its place.
fn wrong() -> Vec<(Synchronization, ProblemKind, &'static str)> {
    let plain = Synchronization::default;
    let stop = |of: &[(&str, &str)]| Synchronization { safe_stop: Some(values(of)), ..plain() };
    let day = 86_400_000;
    vec![
        (
            Synchronization { priorities: vec![PriorityRule::default(); 1_001], ..plain() },
            ProblemKind::LimitReached,
            "/priorities",
        ),
        (Synchronization { grace_ms: day + 1, ..plain() }, ProblemKind::LimitReached, "/graceMs"),
        (Synchronization { min_hold_ms: day + 1, ..plain() }, ProblemKind::LimitReached, "/minHoldMs"),
        (Synchronization { hold_ms_max: day + 1, ..plain() }, ProblemKind::LimitReached, "/holdMsMax"),
        (Synchronization { command_ms_max: day + 1, ..plain() }, ProblemKind::LimitReached, "/commandMsMax"),
        (stop(&[]), ProblemKind::InvalidDocument, "/safeStop"),
        (stop(&[("on", "false"), ("x/y", "1")]), ProblemKind::PropertyUnknown, "/safeStop/x~1y"),
        (stop(&[("power", "0")]), ProblemKind::BehaviourNotPermitted, "/safeStop/power"),
    ]
}

#[test]
fn what_cannot_be_said_is_told_with_its_place() {
    let mut trial = trial();
    registered(&mut trial, 4, lamps());
    for (says, kind, place) in wrong() {
        let says = Arc::new(says);
        let bad = saying(twin("z", Some("urn:z")), Arc::clone(&says));
        let problem = refusal(&mut trial, 5, description("barn", vec![twin("y", None), bad]));
        let whole = format!("/twins/1/characteristics/synchronization{place}");
        assert_eq!((problem.kind, problem.pointer), (kind, Some(whole)));
        let problem = refused_to_set(&mut trial, 4, "a", says);
        assert_eq!((problem.kind, problem.pointer.as_deref()), (kind, Some(place)));
    }
    let day = 86_400_000;
    let most = Synchronization {
        priorities: vec![PriorityRule::default(); 1_000],
        grace_ms: day,
        min_hold_ms: day,
        hold_ms_max: day,
        command_ms_max: day,
        ..Synchronization::default()
    };
    let asked = set(&mut trial, 4, "a", Arc::new(most));
    assert!(
        heard::<Kept>(keep_all(&mut trial, asked)).expect("it is answered").is_ok(),
        "the limits themselves are fine"
    );
}

#[test]
fn the_limits_of_what_can_be_said_are_named() {
    let settings = Settings { priority_rules_max: 0, lease_terms_ms_max: 499, ..Settings::default() };
    let mut trial = Trial::<Dtsr>::new(DTSR.id(), &settings);
    registered(&mut trial, 4, lamps());
    assert_eq!(refused_to_set(&mut trial, 4, "a", says(1)).detail, "priority_rules_max is 0");
    let slow = Arc::new(Synchronization { grace_ms: 500, ..Synchronization::default() });
    assert_eq!(refused_to_set(&mut trial, 4, "a", slow).detail, "lease_terms_ms_max is 499");
}

#[test]
fn what_is_said_anew_is_written_down_and_answered_when_everyone_keeps_it() {
    let mut trial = trial();
    let before = registered(&mut trial, 4, lamps());
    let asked = set(&mut trial, 4, "b", says(7));
    let [.., DtsrRecord::Listed { twins, .. }, DtsrRecord::Described(_)] = &trial.records[..] else {
        panic!("{:?}", trial.records)
    };
    assert_eq!(twins.len(), 1, "the twin, and no other");
    assert!(asked.iter().any(|effect| matches!(effect, Effect::Signal(Signal::TwinSystem(system))
        if system.version == before.system.version + 1)));
    let (mut object, mut twins, mut kept) = (Vec::new(), Vec::new(), 0);
    let copy = sent(asked);
    let receivers: Vec<_> = copy.iter().map(|(meta, _)| (meta.to, meta.pending)).collect();
    for (_, wire) in copy {
        match wire {
            Wire::PhysicalObject(PhysicalObjectMsg::RepresentObject(message)) => object.push(message.synchronization),
            Wire::Twin(TwinMsg::DescribeTwin(message)) => twins.push(message.twin),
            Wire::DigitalTwinSystem(DigitalTwinSystemMsg::KeepTwinSystem(_))
            | Wire::Dtsd(_)
            | Wire::Dtia(_)
            | Wire::Dtac(_)
            | Wire::Dts(_)
            | Wire::SyncSupervisor(SyncSupervisorMsg::KeepTwinSystem(_)) => kept += 1,
            other => panic!("nobody asked for {other:?}"),
        }
    }
    assert_eq!((object, kept), (vec![says(7)], 6));
    let [described] = &twins[..] else { panic!("one twin: {twins:?}") };
    assert_eq!(
        (described.entity, described.entry.characteristics.synchronization.clone()),
        (twin_actor(1), Some(says(7)))
    );

    let mut last = Vec::new();
    for (to, pending) in receivers {
        assert!(last.is_empty(), "answered before everyone keeps it");
        last = trial.deliver(to, pending, Ok(Kept));
    }
    let answers = sent_to::<DigitalTwinSystemMsg>(last);
    let [(meta, DigitalTwinSystemMsg::Kept(Ok(Kept)))] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((meta.to, meta.pending), (system_actor(4).id(), PendingKey::from_bits(5)));
}

#[test]
fn to_say_the_same_again_is_no_mistake_and_mends_what_failed() {
    let mut trial = trial();
    registered(&mut trial, 4, lamps());
    let asked = sent(set(&mut trial, 4, "c", says(7)));
    assert_eq!(asked.len(), 1 + 6, "a twin without an object has no object to tell");
    let mut last = Vec::new();
    for (index, (meta, _)) in asked.into_iter().enumerate() {
        let answer = if index == 2 { Err(Problem::new(ProblemKind::Overloaded, "full")) } else { Ok(Kept) };
        last = trial.deliver(meta.to, meta.pending, answer);
    }
    let problem = heard::<Kept>(last).expect("it is answered").expect_err("it failed");
    assert_eq!(problem.kind, ProblemKind::Overloaded);
    let records = trial.records.len();
    let asked = set(&mut trial, 4, "c", says(7));
    assert!(heard::<Kept>(keep_all(&mut trial, asked)).expect("it is answered").is_ok());
    assert_eq!(trial.records.len(), records);
}

#[test]
fn only_the_system_that_lists_a_twin_says_how_it_is_synchronized() {
    let mut trial = trial();
    registered(&mut trial, 4, lamps());
    registered(&mut trial, 5, description("barn", Vec::new()));
    assert_eq!(refused_to_set(&mut trial, 5, "a", says(7)).kind, ProblemKind::NotAllowed);
    assert_eq!(refused_to_set(&mut trial, 4, "nobody", says(7)).kind, ProblemKind::TwinUnknown);
    let message = SetSynchronization { twin: twin_id("a"), synchronization: says(7) };
    let effects = trial.deliver(caller(), PendingKey::NONE, message);
    let problem = heard::<Kept>(effects).expect("it is answered").expect_err("it is refused");
    assert_eq!(problem.kind, ProblemKind::NotAllowed);
}

#[test]
fn a_full_table_of_questions_changes_nothing() {
    let settings = Settings { pending_questions_max: 1, ..Settings::default() };
    let mut trial = Trial::<Dtsr>::new(DTSR.id(), &settings);
    registered(&mut trial, 4, lamps());
    let waiting = set(&mut trial, 4, "a", says(7));
    let problem = refused_to_set(&mut trial, 4, "b", says(7));
    assert!(problem.detail.contains("pending_questions_max"), "{problem}");
    keep_all(&mut trial, waiting);
    let told = trial.deliver(DTAC.id(), PendingKey::NONE, Reannounce);
    assert_eq!(said(&kept_by_dtac(told)[0]).into_keys().collect::<Vec<_>>(), [twin_id("a")]);
}

#[test]
fn the_supervisor_is_told_of_systems_and_told_again_when_it_has_recovered() {
    let mut trial = trial();
    let told = sent_to::<SyncSupervisorMsg>(register(&mut trial, 4, quiet_and_loud(7)));
    let again = sent_to::<SyncSupervisorMsg>(trial.deliver(SYNC_SUPERVISOR.id(), PendingKey::NONE, Reannounce));
    for told in [told, again] {
        let [(meta, SyncSupervisorMsg::KeepTwinSystem(message))] = &told[..] else { panic!("{told:?}") };
        assert_eq!(meta.to, SYNC_SUPERVISOR.id());
        assert_eq!(said(&message.twins), BTreeMap::from([(twin_id("b"), says(7))]));
    }
}
