//! FGMV-29 8.3.1, and steps 1 to 3 of 9.2.

mod listing;
mod synchronizing;

use std::sync::Arc;

use twinway_protocol::{
    Effect, EntityId, JsonDoc, Mailbox, PendingKey, Problem, ProblemKind,
    message::{
        DTIA, DTSR, DigitalTwinSystemMsg, DtsdMsg, Kept, PhysicalObjectMsg, Reannounce, RegisterTwinSystem, TwinMsg,
        TwinSystemRegistered, UpdateTwinSystem, Wire, own,
    },
    registry::TwinSystemDescription,
    signal::Signal,
    twin::TwinEntry,
};

use super::{Dtsr, DtsrRecord};
use crate::{
    Settings,
    dtif::sample::{
        caller, description, from_snapshots, heard, object_actor, restarted, sent_to, system_actor, twin, twin_actor,
    },
    trial::{Trial, sent},
};

/// The key with which systems register.
const ASKED: PendingKey = PendingKey::from_bits(9);

fn trial() -> Trial<Dtsr> {
    Trial::new(DTSR.id(), &Settings::default())
}

fn register(trial: &mut Trial<Dtsr>, slot: u32, description: TwinSystemDescription) -> Vec<Effect<Wire>> {
    let message = RegisterTwinSystem { description: Box::new(description) };
    trial.deliver(system_actor(slot).id(), ASKED, message)
}

/// What is told of a system's standing is not answered.
fn is_asked(effect: &Effect<Wire>) -> bool {
    !matches!(effect, Effect::Send { wire: Some(Wire::Dtsd(DtsdMsg::KeepStanding(_))), .. })
}

/// Answers everything that `effects` asked, and gives the last turn's effects.
fn keep_all(trial: &mut Trial<Dtsr>, effects: Vec<Effect<Wire>>) -> Vec<Effect<Wire>> {
    let mut last = Vec::new();
    for (meta, _) in sent(effects.into_iter().filter(is_asked).collect()) {
        assert!(last.is_empty(), "answered before everyone keeps it");
        last = trial.deliver(meta.to, meta.pending, Ok(Kept));
    }
    last
}

fn registered(trial: &mut Trial<Dtsr>, slot: u32, description: TwinSystemDescription) -> TwinSystemRegistered {
    let asked = register(trial, slot, description);
    // What everyone is known to keep is answered at once.
    let answered = asked.iter().any(|effect| {
        matches!(effect, Effect::Send { meta, .. } if meta.to == system_actor(slot).id() && meta.pending == ASKED)
    });
    let last = if answered { asked } else { keep_all(trial, asked) };
    heard(last).expect("it is answered").expect("it is registered")
}

fn refusal(trial: &mut Trial<Dtsr>, slot: u32, description: TwinSystemDescription) -> Problem {
    let records = trial.records.len();
    let effects = register(trial, slot, description);
    assert_eq!(trial.records.len(), records, "a refusal changes nothing");
    heard::<TwinSystemRegistered>(effects).expect("it is answered").expect_err("it is refused")
}

fn lamps() -> TwinSystemDescription {
    description("home", vec![twin("a", Some("urn:a")), twin("b", Some("urn:a")), twin("c", None)])
}

#[test]
fn steps_1_to_3_make_the_twins_and_answer_after_everyone_keeps_them() {
    let mut trial = trial();
    let asked = register(&mut trial, 4, lamps());
    let spawned: Vec<EntityId> =
        asked.iter().filter_map(|effect| if let Effect::Spawn(id) = effect { Some(*id) } else { None }).collect();
    let twins = [twin_actor(0).id(), twin_actor(1).id(), twin_actor(2).id()];
    assert_eq!(spawned, [&twins[..], &[object_actor(0).id()]].concat(), "one object, however many twins");
    assert!(asked.iter().any(|effect| matches!(effect, Effect::Own(step) if *step == own::TWIN_SYSTEM_MANAGED)));
    assert!(asked.iter().any(|effect| matches!(effect, Effect::Signal(Signal::TwinSystem(_)))));
    assert_eq!(trial.records.len(), 2, "the twins in a part of their own");

    let last = keep_all(&mut trial, asked);
    let (meta, _) = sent_to::<DigitalTwinSystemMsg>(last).pop().expect("it is answered");
    assert_eq!((meta.to, meta.pending), (system_actor(4).id(), PendingKey::from_bits(9)));
}

#[test]
fn an_object_hears_of_all_its_twins() {
    let mut trial = trial();
    let asked = sent_to::<PhysicalObjectMsg>(register(&mut trial, 4, lamps()));
    let [(_, PhysicalObjectMsg::RepresentObject(message))] = &asked[..] else { panic!("one object: {asked:?}") };
    let entities: Vec<_> = message.twins.iter().map(|twin| (twin.entity, twin.system)).collect();
    assert_eq!(entities, [(twin_actor(0), system_actor(4)), (twin_actor(1), system_actor(4))]);
}

#[test]
fn a_problem_of_one_who_should_keep_it_is_the_answer() {
    let mut trial = trial();
    let asked = register(&mut trial, 0, description("home", Vec::new()));
    let asked = sent(asked.into_iter().filter(is_asked).collect());
    let mut last = Vec::new();
    for (index, (meta, _)) in asked.into_iter().enumerate() {
        let answer = if index == 1 { Err(Problem::new(ProblemKind::Overloaded, "full")) } else { Ok(Kept) };
        last = trial.deliver(meta.to, meta.pending, answer);
    }
    let answer = heard::<TwinSystemRegistered>(last).expect("it is answered");
    assert_eq!(answer.expect_err("it failed").kind, ProblemKind::Overloaded);
    // To try again is no conflict, and mends it.
    registered(&mut trial, 0, description("home", Vec::new()));
}

#[test]
fn the_same_registration_again_succeeds_and_changes_nothing() {
    let mut trial = trial();
    let first = registered(&mut trial, 4, lamps());
    let again = registered(&mut trial, 4, lamps());
    assert_eq!(first.system, again.system);
    assert_eq!(trial.records.len(), 2);
}

#[test]
fn a_different_registration_of_the_same_id_is_told_what_differs() {
    let mut trial = trial();
    registered(&mut trial, 4, lamps());
    let mut other = lamps();
    "Another title".clone_into(&mut other.title);
    other.twins[1] = Arc::new(TwinEntry { physical_object: None, ..TwinEntry::clone(&other.twins[1]) });
    other.twins[2] = Arc::new(twin("d", None));
    let problem = refusal(&mut trial, 4, other);
    assert_eq!(problem.kind, ProblemKind::AlreadyRegistered);
    assert_eq!(problem.differences, ["title", "twins: `c` removed", "twins: `b` changed", "twins: `d` added"]);
}

#[test]
fn at_most_twenty_different_twins_are_named() {
    let mut trial = trial();
    registered(&mut trial, 4, description("home", Vec::new()));
    let many = (0..33).map(|index| twin(&format!("t{index}"), None)).collect();
    let problem = refusal(&mut trial, 4, description("home", many));
    assert_eq!(problem.differences.len(), 21);
    assert_eq!(problem.differences.last().map(String::as_str), Some("twins: 13 more"));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let mut trial = trial();
    registered(&mut trial, 4, lamps());
    let refused = |trial: &mut Trial<Dtsr>, twins| {
        let problem = refusal(trial, 5, description("barn", twins));
        (problem.kind, problem.pointer.unwrap_or_default())
    };
    let bad = TwinEntry { description: JsonDoc::parse(r#"{"@context":"x","title":1}"#).unwrap(), ..twin("x", None) };
    assert_eq!(
        refused(&mut trial, vec![twin("y", None), bad]),
        (ProblemKind::InvalidDocument, "/twins/1/description/title".to_owned())
    );
    assert_eq!(
        refused(&mut trial, vec![twin("y", None), twin("y", None)]),
        (ProblemKind::InvalidDocument, "/twins/1/id".to_owned())
    );
    assert_eq!(
        refused(&mut trial, vec![twin("a", None)]),
        (ProblemKind::TwinListedElsewhere, "/twins/0/id".to_owned())
    );
    assert_eq!(
        refused(&mut trial, vec![twin("y", Some("urn:a"))]),
        (ProblemKind::ObjectOwned, "/twins/0/physicalObject".to_owned())
    );
    // Nothing of the refused lists was kept.
    registered(&mut trial, 5, description("barn", vec![twin("y", Some("urn:y"))]));
}

#[test]
fn limits_are_named() {
    let settings =
        Settings { system_twins_max: 1, registered_systems_max: 1, pending_questions_max: 1, ..Settings::default() };
    let mut trial = Trial::<Dtsr>::new(DTSR.id(), &settings);
    let problem = refusal(&mut trial, 1, description("home", vec![twin("a", None), twin("b", None)]));
    assert_eq!((problem.kind, problem.detail.as_str()), (ProblemKind::LimitReached, "system_twins_max is 1"));
    let asked = register(&mut trial, 1, description("home", vec![twin("a", None)]));
    let problem = refusal(&mut trial, 1, description("home", vec![twin("a", None)]));
    assert!(problem.detail.contains("pending_questions_max"), "{problem}");
    keep_all(&mut trial, asked);
    let problem = refusal(&mut trial, 2, description("barn", Vec::new()));
    assert_eq!(problem.detail, "registered_systems_max is 1");
}

#[test]
fn only_the_actor_of_a_twin_system_registers() {
    let mut trial = trial();
    let message = RegisterTwinSystem { description: Box::new(lamps()) };
    let effects = trial.deliver(caller(), PendingKey::NONE, message);
    let problem = heard::<TwinSystemRegistered>(effects).expect("it is answered").expect_err("it is refused");
    assert_eq!(problem.kind, ProblemKind::NotAllowed);
}

#[test]
fn after_a_restart_everything_is_told_again_with_the_same_addresses() {
    let mut trial = trial();
    registered(&mut trial, 4, lamps());
    let barn = registered(&mut trial, 2, description("barn", vec![twin("y", Some("urn:y"))]));
    // Parts come back in any order.
    for mut again in [restarted(&trial, DTSR.id()), from_snapshots(&trial, DTSR.id(), &[4, 2, 77, 1 << 40])] {
        let effects = again.recovered();
        let published = |effect: &&Effect<Wire>| matches!(effect, Effect::Signal(Signal::TwinSystem(_)));
        assert_eq!(effects.iter().filter(published).count(), 2);
        let told = sent(effects.into_iter().filter(is_asked).collect());
        assert!(told.iter().all(|(meta, _)| meta.pending == PendingKey::NONE));
        let twins = told.iter().filter(|(meta, _)| meta.to.kind() == TwinMsg::KIND).count();
        assert_eq!((told.len(), twins), (4 + 2 + 6 + 6, 4));
        assert!(again.deliver(DTIA.id(), PendingKey::NONE, Ok(Kept)).is_empty());
        assert_eq!(registered(&mut again, 2, description("barn", vec![twin("y", Some("urn:y"))])).system, barn.system);
        let next = registered(&mut again, 7, description("shed", vec![twin("z", Some("urn:z"))]));
        let told = sent(again.deliver(next.system.entity.id(), PendingKey::NONE, Reannounce));
        let [(_, Wire::DigitalTwinSystem(DigitalTwinSystemMsg::KeepTwinSystem(kept)))] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(kept.twins[0].entity, twin_actor(4), "no address is given twice");
        assert_eq!(kept.twins[0].object, Some(object_actor(2)));
    }
}

#[test]
fn whoever_recovered_is_told_its_part_again() {
    let mut trial = trial();
    registered(&mut trial, 4, lamps());
    let mut told = |from: EntityId| sent(trial.deliver(from, PendingKey::NONE, Reannounce));
    let receivers: Vec<_> = told(DTIA.id()).iter().map(|(meta, _)| meta.to).collect();
    assert_eq!(receivers, [DTIA.id()]);
    assert!(matches!(&told(twin_actor(1).id())[..],
        [(_, Wire::Twin(TwinMsg::DescribeTwin(twin)))] if twin.twin.entry.id.as_str() == "b"));
    assert!(matches!(&told(object_actor(0).id())[..], [(_, Wire::PhysicalObject(_))]));
    assert!(matches!(&told(system_actor(4).id())[..], [(_, Wire::DigitalTwinSystem(_))]));
    assert!(told(system_actor(5).id()).is_empty() && told(twin_actor(9).id()).is_empty());
    assert!(matches!(&told(EntityId::new(DtsdMsg::KIND, 0, 0))[..], [(_, Wire::Dtsd(_)), (_, Wire::Dtsd(_))]));
}

/// FGMV-29 8.3.1: of a long list, what changes is written down and told, and nothing else.
#[test]
fn a_list_that_is_registered_again_with_ten_changes_costs_the_ten() {
    let list = |changed: usize| {
        let entry = |index: usize| {
            let mut entry = twin(&format!("t{index:04}"), None);
            entry.access.retain(|_, _| index >= changed);
            entry
        };
        description("home", (0..1_000).map(entry).collect())
    };
    let mut trial = trial();
    registered(&mut trial, 4, list(0));
    let written = trial.records.len();
    let (description, if_version) = (Box::new(list(10)), Some(1));
    let update = UpdateTwinSystem { description, with_twins: true, if_version };
    let asked = trial.deliver(system_actor(4).id(), ASKED, update);
    let listed = trial.records[written..].iter().map(|record| match record {
        DtsrRecord::Listed { twins, .. } => twins.len(),
        _ => 0,
    });
    assert_eq!(listed.sum::<usize>(), 10);
    assert_eq!(sent_to::<TwinMsg>(asked).len(), 10);
}
