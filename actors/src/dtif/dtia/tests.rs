//! FGMV-29 8.3.3, and steps 6 to 12 of 9.2.

mod searching;

use std::{collections::BTreeMap, sync::Arc};

use twinway_protocol::{
    Effect, EntityId, PendingKey, Problem, ProblemKind,
    access::{Right, TwinPermission},
    message::{
        CollectTwinInformation, DTAC, DTIA, DTSR, DigitalTwinSystemMsg, DtacMsg, Kept, ListTwins, Reannounce,
        RequestTwinPropertiesAndPermission, SelectTwins, TSI, TwinGrant, TwinInformationCollected, TwinMsg,
        TwinPermissionManaged, TwinPropertiesAndPermission, TwinPropertiesAndPermissionGranted, TwinRead, TwinRefusal,
        TwinsListed, TwinsSelected, Wire,
    },
    registry::{Page, TwinQuery},
    twin::{PropertyValue, TwinClass, TwinListing, TwinView},
};

use super::Dtia;
use crate::{
    Settings,
    dtif::sample::{
        caller, from_snapshots, heard, json, metaverse, names, restarted, sent_to, system_actor, system_id, twin,
        twin_actor, twin_id, twin_ids, twin_system, user, values,
    },
    trial::{Trial, sent},
};

/// `home` (actor 0) maintains a and b (actors 0 and 1), `barn` (actor 1) maintains c (actor 10).
fn keep(trial: &mut Trial<Dtia>) {
    let home = twin_system("home", 0, vec![twin("a", Some("urn:a")), twin("b", None)]);
    for system in [home, twin_system("barn", 1, vec![twin("c", None)])] {
        assert!(heard::<Kept>(trial.deliver(DTSR.id(), PendingKey::NONE, system.keep())).is_some());
    }
}

fn with(settings: &Settings) -> Trial<Dtia> {
    let mut trial = Trial::new(DTIA.id(), settings);
    keep(&mut trial);
    trial
}

fn trial() -> Trial<Dtia> {
    with(&Settings::default())
}

fn select(trial: &mut Trial<Dtia>, name: &str, twins: &[&str], release: &[&str]) -> Vec<Effect<Wire>> {
    let question = SelectTwins {
        metaverse: system_id(name),
        metaverse_entity: metaverse(1),
        twins: twin_ids(twins),
        release: twin_ids(release),
        period_ms: None,
    };
    trial.deliver(caller(), PendingKey::from_bits(3), question)
}

/// Steps 6 and 7, with every twin answering.
fn selected(trial: &mut Trial<Dtia>, name: &str, twins: &[&str], release: &[&str]) -> Vec<String> {
    let mut last = Vec::new();
    for (meta, _) in sent_to::<TwinMsg>(select(trial, name, twins, release)) {
        assert!(last.is_empty(), "answered before every twin knows");
        last = trial.deliver(meta.to, meta.pending, Ok(Kept));
    }
    names(heard::<TwinsSelected>(last).expect("it is answered").expect("they are selected").selected)
}

fn refused(trial: &mut Trial<Dtia>, name: &str, twins: &[&str], release: &[&str]) -> Problem {
    let records = trial.records.len();
    let effects = select(trial, name, twins, release);
    assert_eq!((effects.len(), trial.records.len()), (1, records), "nothing else happens");
    heard::<TwinsSelected>(effects).expect("it is answered").expect_err("it is refused")
}

fn list(
    trial: &mut Trial<Dtia>,
    system: Option<&str>,
    cursor: Option<&str>,
    limit: Option<u32>,
) -> Result<Page<TwinListing>, ProblemKind> {
    let (system, cursor) = (system.map(system_id), cursor.map(Into::into));
    search(trial, TwinQuery { system, cursor, limit, ..TwinQuery::default() }).map_err(|problem| problem.kind)
}

fn search(trial: &mut Trial<Dtia>, query: TwinQuery) -> Result<Page<TwinListing>, Problem> {
    let question = ListTwins { metaverse: system_id("world"), query: Box::new(query) };
    let listed = heard::<TwinsListed>(trial.deliver(caller(), PendingKey::NONE, question)).expect("it is answered");
    listed.map(|listed| listed.page)
}

fn view(id: &str) -> Arc<TwinView> {
    let value =
        |text: &str| PropertyValue { value: json(text), version: 1, at: twinway_protocol::time::Timestamp::default() };
    Arc::new(TwinView {
        id: twin_id(id),
        system: system_id("home"),
        physical_object: None,
        class: TwinClass::Object,
        version: 1,
        properties: BTreeMap::from([("on".to_owned(), value("true")), ("level".to_owned(), value("3"))]),
        desired: None,
        invocations: None,
        description: json("{}"),
    })
}

fn grant(twin: &str, rights: &[Right]) -> TwinGrant {
    let rights = rights.iter().copied().collect();
    TwinGrant { twin: twin_id(twin), properties: values(&[("on", "true")]), rights, expires_at: None, role: None }
}

fn request(trial: &mut Trial<Dtia>, twins: &[&str], rights: &[Right]) -> Vec<Effect<Wire>> {
    let question = RequestTwinPropertiesAndPermission {
        metaverse: system_id("world"),
        user: user("ada"),
        twins: twin_ids(twins),
        rights: Arc::new(rights.iter().copied().collect()),
    };
    trial.deliver(caller(), PendingKey::from_bits(5), question)
}

/// Steps 8 and 9 for a, b and c; gives the key of the questions.
fn forwarded(trial: &mut Trial<Dtia>) -> PendingKey {
    selected(trial, "world", &["a", "b", "c"], &[]);
    let asked = sent_to::<DigitalTwinSystemMsg>(request(trial, &["c", "b", "a"], &[Right::Read, Right::Change]));
    let forwards: Vec<_> = asked
        .iter()
        .map(|(meta, message)| {
            let DigitalTwinSystemMsg::ForwardTwinPropertiesRequest(forward) = message else { panic!("{message:?}") };
            (meta.to, names(forward.twins.iter()))
        })
        .collect();
    let (home, barn) = (system_actor(0).id(), system_actor(1).id());
    assert_eq!(forwards, [(home, vec!["b".to_owned(), "a".to_owned()]), (barn, vec!["c".to_owned()])]);
    asked[0].0.pending
}

fn answer(trial: &mut Trial<Dtia>, system: u32, key: PendingKey, twins: Vec<TwinGrant>) -> Vec<Effect<Wire>> {
    trial.deliver(system_actor(system).id(), key, Ok(TwinPropertiesAndPermission { twins }))
}

fn managed_question(effects: Vec<Effect<Wire>>) -> Vec<TwinGrant> {
    match sent_to::<DtacMsg>(effects).pop() {
        Some((_, DtacMsg::ManageTwinPermission(question))) => question.twins,
        other => panic!("{other:?}"),
    }
}

/// Steps 10 (to DTAC), 11 and 12: DTAC permits what has rights, every twin is read.
fn granted(
    trial: &mut Trial<Dtia>,
    key: PendingKey,
    effects: Vec<Effect<Wire>>,
) -> Result<TwinPropertiesAndPermissionGranted, Problem> {
    let (permitted, denied): (Vec<_>, Vec<_>) =
        managed_question(effects).into_iter().partition(|grant| !grant.rights.is_empty());
    let permissions = permitted.into_iter().map(|grant| TwinPermission {
        id: format!("perm-{}", grant.twin).parse().expect("it is a name"),
        metaverse: system_id("world"),
        user: user("ada"),
        twin: grant.twin,
        rights: grant.rights,
        expires_at: None,
    });
    let denial = || Problem::new(ProblemKind::PermissionDenied, "the twin system said no");
    let refused = denied.into_iter().map(|grant| TwinRefusal { twin: grant.twin, problem: denial() });
    let managed = Ok(TwinPermissionManaged { permissions: permissions.collect(), refused: refused.collect() });
    let mut last = trial.deliver(DTAC.id(), key, managed);
    let reads: Vec<EntityId> = last
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { meta, wire: Some(Wire::Twin(TwinMsg::ReadTwin(_))) } => Some(meta.to),
            _ => None,
        })
        .collect();
    for twin in reads {
        let id = if twin == twin_actor(10).id() { "c" } else { ["a", "b"][twin.slot() as usize] };
        last = trial.deliver(twin, key, Ok(TwinRead { view: view(id) }));
    }
    heard::<TwinPropertiesAndPermissionGranted>(last).expect("it is answered")
}

fn kinds(granted: &TwinPropertiesAndPermissionGranted) -> Vec<(String, ProblemKind)> {
    granted.refused.iter().map(|refusal| (refusal.twin.to_string(), refusal.problem.kind)).collect()
}

#[test]
fn steps_6_and_7_list_the_twins_page_by_page() {
    let mut trial = trial();
    selected(&mut trial, "world", &["b"], &[]);
    selected(&mut trial, "arena", &["a"], &[]);
    let page = list(&mut trial, None, None, Some(2)).expect("it is a list");
    let shown: Vec<_> = page.items.iter().map(|twin| (twin.id.as_str(), twin.selected)).collect();
    assert_eq!((shown, page.items[0].title.as_str()), (vec![("a", false), ("b", true)], "Lamp"));
    let page = list(&mut trial, None, page.next.as_deref(), Some(2)).expect("it is a list");
    assert_eq!((names(page.items.iter().map(|twin| &twin.id)), page.next), (vec!["c".to_owned()], None));
    let page = list(&mut trial, Some("home"), Some("a"), None).expect("it is a list");
    assert_eq!(names(page.items.iter().map(|twin| &twin.id)), ["b"]);
    assert_eq!(list(&mut trial, Some("shed"), None, None).err(), Some(ProblemKind::SystemUnknown));
    assert_eq!(list(&mut trial, None, Some("no cursor"), None).err(), Some(ProblemKind::InvalidQuery));
}

#[test]
fn twins_are_selected_and_let_go_when_they_know() {
    let mut trial = trial();
    assert_eq!(selected(&mut trial, "world", &["c", "a"], &[]), ["a", "c"]);
    let watch = sent_to::<TwinMsg>(select(&mut trial, "world", &["b"], &["a"]));
    let told: Vec<_> = watch
        .iter()
        .map(|(meta, message)| match message {
            TwinMsg::WatchTwin(watch) => (meta.to.slot(), watch.selected, watch.entity),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(0, false, metaverse(1)), (1, true, metaverse(1))]);
    assert_eq!(selected(&mut trial, "world", &["b"], &["a"]), ["b", "c"]);
}

#[test]
fn a_selection_is_all_or_nothing() {
    let mut trial =
        with(&Settings { twin_watchers_max: 2, selected_twins_max: 2, request_twins_max: 3, ..Settings::default() });
    selected(&mut trial, "world", &["a"], &[]);
    let problem = refused(&mut trial, "world", &["b", "nobody"], &["a"]);
    assert_eq!(problem.kind, ProblemKind::TwinUnknown);
    assert!(problem.detail.contains("`nobody`"));
    assert_eq!(refused(&mut trial, "world", &["b"], &["nobody"]).kind, ProblemKind::TwinUnknown);
    assert_eq!(refused(&mut trial, "world", &["b"], &["b"]).kind, ProblemKind::InvalidDocument);
    assert_eq!(refused(&mut trial, "world", &["b", "c"], &[]).detail, "selected_twins_max is 2");
    assert_eq!(refused(&mut trial, "world", &["a", "b"], &["c", "c"]).detail, "request_twins_max is 3");
    assert_eq!(selected(&mut trial, "world", &["b", "c"], &["a"]), ["b", "c"], "what is let go makes room");
    selected(&mut trial, "arena", &["b"], &[]);
    assert_eq!(refused(&mut trial, "third", &["a", "b"], &[]).detail, "twin_watchers_max is 2");
    assert_eq!(selected(&mut trial, "arena", &["b"], &[]), ["b"], "who has it selected may say so again");
}

#[test]
fn to_select_again_writes_nothing_and_tells_the_twins_again() {
    let mut trial = trial();
    selected(&mut trial, "world", &["a"], &[]);
    let watch = sent_to::<TwinMsg>(select(&mut trial, "world", &["a"], &["b"]));
    assert_eq!((watch.len(), trial.records.len()), (2, 1));
}

#[test]
fn a_twin_that_does_not_keep_it_is_the_answer() {
    let mut trial = trial();
    let watch = sent_to::<TwinMsg>(select(&mut trial, "world", &["a"], &[]));
    let failure: Result<Kept, _> = Err(Problem::new(ProblemKind::Overloaded, "full"));
    let answer = heard::<TwinsSelected>(trial.deliver(watch[0].0.to, watch[0].0.pending, failure));
    assert_eq!(answer.expect("it is answered").expect_err("it failed").kind, ProblemKind::Overloaded);
}

#[test]
fn a_restart_forgets_no_selection_and_tells_the_twins_again() {
    let mut trial = trial();
    selected(&mut trial, "world", &["a", "c"], &[]);
    selected(&mut trial, "arena", &["a"], &[]);
    selected(&mut trial, "world", &["b"], &["c"]);
    for mut again in [restarted(&trial, DTIA.id()), from_snapshots(&trial, DTIA.id(), &[1, 0, 9])] {
        let told = sent(again.recovered());
        assert_eq!(told.iter().map(|(meta, _)| meta.to).next(), Some(DTSR.id()));
        let slots: Vec<_> = told.iter().skip(1).map(|(meta, _)| meta.to.slot()).collect();
        assert_eq!(slots, [0, 1, 0]);
        let of_a = sent_to::<TwinMsg>(again.deliver(twin_actor(0).id(), PendingKey::NONE, Reannounce));
        assert_eq!(of_a.len(), 2);
        assert!(again.deliver(twin_actor(10).id(), PendingKey::NONE, Reannounce).is_empty());
        keep(&mut again);
        assert_eq!(selected(&mut again, "world", &["a"], &[]), ["a", "b"]);
        assert_eq!(selected(&mut again, "new", &["c"], &[]), ["c"]);
        assert_eq!(selected(&mut again, "arena", &["a"], &[]), ["a"]);
    }
}

#[test]
fn steps_8_to_12_bring_properties_and_permission_from_every_system() {
    let mut trial = trial();
    let key = forwarded(&mut trial);
    assert!(answer(&mut trial, 1, key, vec![grant("c", &[Right::Read])]).is_empty(), "not all systems have answered");
    let effects = answer(&mut trial, 0, key, vec![grant("a", &[Right::Change]), grant("b", &[])]);
    let granted = granted(&mut trial, key, effects).expect("there are permissions");
    assert_eq!(names(granted.permissions.iter().map(|permission| &permission.twin)), ["c", "a"]);
    assert_eq!(names(granted.twins.iter().map(|view| &view.id)), ["c", "a"]);
    assert_eq!(kinds(&granted), [("b".to_owned(), ProblemKind::PermissionDenied)]);
}

#[test]
fn nobody_gets_more_rights_than_were_asked_for() {
    let mut trial = trial();
    let key = forwarded(&mut trial);
    answer(&mut trial, 1, key, vec![grant("c", &[Right::Stop, Right::Read])]);
    let effects = answer(&mut trial, 0, key, vec![grant("a", &[Right::Message]), grant("b", &[Right::Change])]);
    let rights: Vec<_> = managed_question(effects).into_iter().map(|grant| grant.rights).collect();
    assert_eq!(rights, [[].into(), [Right::Change].into(), [Right::Read].into()]);
}

#[test]
fn a_system_that_fails_takes_only_its_own_twins_along() {
    let mut trial = trial();
    let key = forwarded(&mut trial);
    let failure: Result<TwinPropertiesAndPermission, _> = Err(Problem::new(ProblemKind::OutsideTimeout, "too late"));
    trial.deliver(system_actor(0).id(), key, failure);
    let effects = answer(&mut trial, 1, key, vec![grant("c", &[Right::Read])]);
    let granted = granted(&mut trial, key, effects).expect("there is a permission");
    let timeout = ProblemKind::OutsideTimeout;
    assert_eq!(kinds(&granted), [("b".to_owned(), timeout), ("a".to_owned(), timeout)]);
}

#[test]
fn an_answer_must_be_for_the_twins_asked_for_each_once_and_of_what_they_describe() {
    let mut trial = trial();
    let key = forwarded(&mut trial);
    answer(&mut trial, 1, key, vec![grant("c", &[Right::Read])]);
    // `c` is another system's, `x` nobody's, `a` comes twice and `b` not at all.
    let said = ["a", "c", "x", "a"].map(|twin| grant(twin, &[Right::Change]));
    let effects = answer(&mut trial, 0, key, said.into());
    let granted = granted(&mut trial, key, effects).expect("there is a permission");
    assert_eq!(granted.permissions[0].rights, [Right::Read].into(), "what another system granted stays");
    let failed = ProblemKind::OutsideFailed;
    let expected = ["b", "a", "x"].map(|twin| (twin.to_owned(), failed));
    assert_eq!(kinds(&granted), expected);

    let key = forwarded(&mut trial);
    let wrong = TwinGrant { properties: values(&[("colour", "1")]), ..grant("c", &[Right::Read]) };
    answer(&mut trial, 1, key, vec![wrong]);
    let effects = answer(&mut trial, 0, key, vec![grant("a", &[Right::Read]), grant("b", &[Right::Read])]);
    let refused = granted_problem(&mut trial, key, effects);
    assert!(refused.contains("`colour`"), "{refused}");
}

fn granted_problem(trial: &mut Trial<Dtia>, key: PendingKey, effects: Vec<Effect<Wire>>) -> String {
    let granted = granted(trial, key, effects).expect("there is a permission");
    granted.refused.into_iter().map(|refusal| refusal.problem.detail).collect()
}

#[test]
fn without_any_permission_the_one_reason_is_the_answer() {
    let mut trial = trial();
    let key = forwarded(&mut trial);
    answer(&mut trial, 1, key, vec![grant("c", &[])]);
    let effects = answer(&mut trial, 0, key, vec![grant("a", &[]), grant("b", &[])]);
    let problem = granted(&mut trial, key, effects).expect_err("nothing is permitted");
    assert_eq!(problem.kind, ProblemKind::PermissionDenied);

    // Several reasons are told twin by twin; DTAC is not asked for nothing.
    let key = forwarded(&mut trial);
    answer(&mut trial, 1, key, Vec::new());
    let failure: Result<TwinPropertiesAndPermission, _> = Err(Problem::new(ProblemKind::OutsideTimeout, "too late"));
    let last = trial.deliver(system_actor(0).id(), key, failure);
    let granted = heard::<TwinPropertiesAndPermissionGranted>(last).expect("it is answered").expect("two reasons");
    assert_eq!((granted.permissions.len(), granted.refused.len()), (0, 3));
}

#[test]
fn a_request_is_for_selected_twins_and_for_something() {
    let mut trial = trial();
    selected(&mut trial, "world", &["a"], &[]);
    let mut refused = |twins: &[&str], rights: &[Right]| {
        let effects = request(&mut trial, twins, rights);
        assert_eq!(effects.len(), 1);
        let answer = heard::<TwinPropertiesAndPermissionGranted>(effects).expect("it is answered");
        let problem = answer.expect_err("it is refused");
        (problem.kind, problem.pointer.unwrap_or_default())
    };
    assert_eq!(refused(&["a", "b"], &[Right::Read]).0, ProblemKind::NotSelected);
    assert_eq!(refused(&["nobody"], &[Right::Read]).0, ProblemKind::TwinUnknown);
    assert_eq!(refused(&[], &[Right::Read]), (ProblemKind::InvalidDocument, "/twins".to_owned()));
    assert_eq!(refused(&["a"], &[]), (ProblemKind::InvalidDocument, "/rights".to_owned()));
}

#[test]
fn step_17_of_9_1_reads_the_twins_in_the_order_asked_for() {
    let mut trial = trial();
    let collect = |trial: &mut Trial<Dtia>, twins: &[&str]| {
        let properties = Some(Arc::new(["on".to_owned()].into()));
        trial.deliver(
            TSI.id(),
            PendingKey::from_bits(3),
            CollectTwinInformation { twins: twin_ids(twins), properties, observe: false },
        )
    };
    let reads = sent_to::<TwinMsg>(collect(&mut trial, &["b", "a", "b"]));
    let mut last = Vec::new();
    for (meta, _) in &reads {
        assert!(last.is_empty());
        let view = view(["a", "b"][meta.to.slot() as usize]);
        last = trial.deliver(meta.to, meta.pending, Ok(TwinRead { view }));
    }
    let twins = heard::<TwinInformationCollected>(last).expect("it is answered").expect("they are read").twins;
    assert_eq!(names(twins.iter().map(|view| &view.id)), ["b", "a", "b"]);
    assert!(twins.iter().all(|view| names(view.properties.keys()) == ["on"]));

    let asked = sent_to::<TwinMsg>(collect(&mut trial, &["a", "nobody"]))[0].0.pending;
    let refused =
        heard::<TwinInformationCollected>(trial.deliver(twin_actor(0).id(), asked, Ok(TwinRead { view: view("a") })));
    let collected = refused.expect("it is answered").expect("one is read");
    assert_eq!((collected.twins.len(), collected.refused[0].problem.kind), (1, ProblemKind::TwinUnknown));
    let reads = sent_to::<TwinMsg>(collect(&mut trial, &["a"]));
    let failure: Result<TwinRead, _> = Err(Problem::new(ProblemKind::Internal, "it fell over"));
    let last = trial.deliver(reads[0].0.to, reads[0].0.pending, failure);
    let failed = heard::<TwinInformationCollected>(last).expect("it is answered");
    assert_eq!(failed.expect("it is told").refused[0].problem.kind, ProblemKind::Internal);
}

/// FGMV-28 REQ-DT-07: who selects says for itself how often.
#[test]
fn a_period_is_of_one_system_and_its_twins_and_outlives_a_restart() {
    let mut trial = trial();
    let every = |trial: &mut Trial<Dtia>, name: &str, twins: &[&str], period_ms| {
        let question = SelectTwins {
            metaverse: system_id(name),
            metaverse_entity: metaverse(1),
            twins: twin_ids(twins),
            release: [].into(),
            period_ms,
        };
        trial.deliver(caller(), PendingKey::from_bits(3), question)
    };
    let told = |effects: Vec<Effect<Wire>>| -> Vec<(u32, Option<u32>)> {
        let told = sent_to::<TwinMsg>(effects).into_iter();
        told.filter_map(|(meta, message)| match message {
            TwinMsg::WatchTwin(watch) => Some((meta.to.slot(), watch.period_ms)),
            _ => None,
        })
        .collect()
    };
    assert_eq!(told(every(&mut trial, "fast", &["a", "b"], Some(2_000))), [(0, Some(2_000)), (1, Some(2_000))]);
    assert_eq!(told(every(&mut trial, "world", &["a"], Some(60_000))), [(0, Some(60_000))]);
    let wrong = heard::<TwinsSelected>(every(&mut trial, "world", &["a"], Some(10))).expect("it is answered");
    assert_eq!(wrong.expect_err("it is too often").pointer.as_deref(), Some("/periodMs"));
    // To select again without a word leaves it, and 0 ends it.
    assert_eq!(told(every(&mut trial, "world", &["a"], None)), [(0, Some(60_000))]);
    let mut again = restarted(&trial, DTIA.id());
    assert_eq!(told(again.recovered()), [(0, Some(2_000)), (1, Some(2_000)), (0, Some(60_000))]);
    let mut again = from_snapshots(&trial, DTIA.id(), &[0, 1]);
    keep(&mut again);
    let page = list(&mut again, None, None, None).expect("it is listed");
    assert_eq!(page.items[0].period_ms, Some(60_000));
    let effects = again.deliver(twin_actor(0).id(), PendingKey::NONE, Reannounce);
    assert_eq!(told(effects), [(0, Some(2_000)), (0, Some(60_000))]);
    assert_eq!(told(every(&mut again, "world", &["a"], Some(0))), [(0, None)]);
    assert_eq!(told(select(&mut again, "fast", &[], &["a"])), [(0, None)]);
    assert_eq!(told(every(&mut again, "fast", &["a"], None)), [(0, None)], "what is let go is forgotten");
}

#[test]
fn a_full_table_is_told_and_changes_nothing() {
    let mut trial = with(&Settings { pending_questions_max: 1, ..Settings::default() });
    selected(&mut trial, "world", &["a"], &[]);
    select(&mut trial, "world", &["b"], &[]);
    assert!(refused(&mut trial, "world", &["c"], &[]).detail.contains("pending_questions_max"));
    let effects = request(&mut trial, &["a"], &[Right::Read]);
    let answer = heard::<TwinPropertiesAndPermissionGranted>(effects).expect("it is answered");
    assert_eq!(answer.expect_err("it is refused").kind, ProblemKind::LimitReached);
}
