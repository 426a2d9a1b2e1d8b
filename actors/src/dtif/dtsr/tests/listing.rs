//! FGMV-29 8.3.1: the list of twins as a whole and in part.

use twinway_protocol::{
    Effect, Problem, ProblemKind,
    message::{ChangeTwinList, DtiaMsg, TwinSystemRegistered, UpdateTwinSystem, Wire},
    twin::TwinEntry,
};

use super::{ASKED, Dtsr, lamps, refusal, registered, trial};
use crate::{
    Settings,
    dtif::sample::{description, heard, sent_to, system_actor, system_id, twin, twin_id},
    trial::Trial,
};

fn change(trial: &mut Trial<Dtsr>, twins: Vec<TwinEntry>, remove: &[&str]) -> Vec<Effect<Wire>> {
    let message = ChangeTwinList {
        system: system_id("home"),
        twins: twins.into_iter().map(std::sync::Arc::new).collect(),
        remove: remove.iter().map(|id| twin_id(id)).collect(),
        if_version: None,
    };
    trial.deliver(system_actor(0).id(), ASKED, message)
}

fn refused(trial: &mut Trial<Dtsr>, twins: Vec<TwinEntry>, remove: &[&str]) -> Problem {
    let records = trial.records.len();
    let effects = change(trial, twins, remove);
    assert_eq!(trial.records.len(), records, "a refusal changes nothing");
    heard::<TwinSystemRegistered>(effects).expect("it is answered").expect_err("it is refused")
}

/// What DTIA is told: the twins that come, and those that go.
fn told(effects: Vec<Effect<Wire>>) -> (Vec<String>, Vec<String>) {
    match sent_to::<DtiaMsg>(effects).pop() {
        Some((_, DtiaMsg::KeepTwinSystem(keep))) => {
            let ids = |twins: &[twinway_protocol::twin::RegisteredTwin]| {
                twins.iter().map(|twin| twin.entry.id.to_string()).collect::<Vec<_>>()
            };
            (ids(&keep.twins), ids(&keep.gone))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_list_takes_out_what_it_does_not_name_however_it_is_ordered() {
    let mut trial = trial();
    registered(&mut trial, 0, lamps());
    let again = description("home", vec![twin("d", None), twin("c", None), twin("a", Some("urn:a"))]);
    let message = UpdateTwinSystem { description: Box::new(again), with_twins: true, if_version: None };
    let effects = trial.deliver(system_actor(0).id(), ASKED, message);
    assert_eq!(told(effects), (vec!["d".to_owned()], vec!["b".to_owned()]));
}

#[test]
fn what_a_part_of_a_list_says_of_one_twin_it_says_once() {
    let mut trial = trial();
    registered(&mut trial, 0, lamps());
    let twice = refused(&mut trial, vec![twin("a", Some("urn:a")), twin("a", Some("urn:a"))], &[]);
    assert_eq!((twice.kind, twice.pointer.as_deref()), (ProblemKind::InvalidDocument, Some("/twins/1/id")));
    let twice = refused(&mut trial, vec![twin("new", None), twin("new", None)], &[]);
    assert_eq!((twice.kind, twice.pointer.as_deref()), (ProblemKind::InvalidDocument, Some("/twins/1/id")));
    for both in ["a", "new"] {
        let object = (both == "a").then_some("urn:a");
        let problem = refused(&mut trial, vec![twin(both, object)], &["b", both]);
        assert_eq!((problem.kind, problem.pointer.as_deref()), (ProblemKind::InvalidDocument, Some("/remove/1")));
        assert!(problem.detail.contains("at once"), "{}", problem.detail);
    }
    let problem = refused(&mut trial, Vec::new(), &["nobody"]);
    assert_eq!((problem.kind, problem.pointer.as_deref()), (ProblemKind::TwinUnknown, Some("/remove/0")));
}

#[test]
fn a_list_that_grows_in_parts_has_the_same_limit_as_a_whole_one() {
    let mut trial: Trial<Dtsr> =
        Trial::new(twinway_protocol::message::DTSR.id(), &Settings { system_twins_max: 3, ..Settings::default() });
    registered(&mut trial, 0, lamps());
    let problem = refused(&mut trial, vec![twin("d", None)], &[]);
    assert_eq!(problem.kind, ProblemKind::LimitReached);
    assert!(problem.detail.contains("system_twins_max"), "{}", problem.detail);
    assert_eq!(told(change(&mut trial, vec![twin("d", None)], &["c"])).1, ["c"], "one goes, one comes");
}

#[test]
fn an_actor_speaks_for_one_twin_system() {
    let mut trial = trial();
    registered(&mut trial, 0, lamps());
    let problem = refusal(&mut trial, 0, description("barn", Vec::new()));
    assert_eq!((problem.kind, problem.pointer.as_deref()), (ProblemKind::NotAllowed, Some("/id")));
}
