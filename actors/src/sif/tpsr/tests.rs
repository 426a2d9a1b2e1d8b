//! FGMV-29 8.2.1, and steps 1 to 3 of 9.1.

mod changing;

use twinway_protocol::{
    Effect, EntityId, JsonDoc, Mailbox, PendingKey, Problem, ProblemKind,
    message::{
        Kept, Reannounce, RegisterThirdPartySystem, SdcMsg, ThirdPartySystemMsg, ThirdPartySystemRegistered, TpsaaMsg,
        TpsdMsg, TpsrMsg, Wire,
    },
    registry::{Api, Reach, ServiceCharge, ServiceLevel, ThirdPartyDescription},
};

use super::Tpsr;
use crate::{
    Settings,
    sif::testing::{CALLER, THIRD_PARTY, answer, description, json, key, shown, to_kind},
    trial::Trial,
};

const ID: EntityId = EntityId::new(TpsrMsg::KIND, 0, 0);
const DERIVING: [EntityId; 3] =
    [EntityId::new(TpsdMsg::KIND, 0, 0), EntityId::new(TpsaaMsg::KIND, 0, 0), EntityId::new(SdcMsg::KIND, 0, 0)];

fn tpsr() -> Trial<Tpsr> {
    Trial::new(ID, &Settings::default())
}

fn register(
    tpsr: &mut Trial<Tpsr>,
    from: EntityId,
    asks: u64,
    description: ThirdPartyDescription,
) -> Vec<Effect<Wire>> {
    tpsr.deliver(from, key(asks), RegisterThirdPartySystem { description: Box::new(description) })
}

fn kept(tpsr: &mut Trial<Tpsr>, from: EntityId, pending: PendingKey) -> Vec<Effect<Wire>> {
    tpsr.deliver(from, pending, TpsrMsg::Kept(Ok(Kept)))
}

type Answer = Result<ThirdPartySystemRegistered, Problem>;

fn answered(effects: Vec<Effect<Wire>>, asks: u64) -> Option<Answer> {
    answer(effects, THIRD_PARTY, key(asks))
}

fn refused(effects: Vec<Effect<Wire>>, from: EntityId, asks: u64) -> Problem {
    let answer: Answer = answer(effects, from, key(asks)).expect("it is answered at once");
    answer.expect_err("it is refused")
}

/// Registers the system `id` of the actor in `slot`, all the way.
fn registered(tpsr: &mut Trial<Tpsr>, id: &str, slot: u32) {
    let effects = register(tpsr, EntityId::new(ThirdPartySystemMsg::KIND, 0, slot), u64::from(slot), description(id));
    let pending = to_kind(effects, TpsdMsg::KIND).0.pending;
    for from in DERIVING {
        kept(tpsr, from, pending);
    }
}

#[test]
fn a_registration_is_recorded_and_answered_when_everyone_has_taken_it() {
    let mut tpsr = tpsr();
    let effects = register(&mut tpsr, THIRD_PARTY, 1, description("shop"));
    assert_eq!(
        shown(&effects),
        [
            "9.1/2 own",
            "signal",
            "KeepThirdPartySystem to Tpsd",
            "KeepThirdPartySystem to Tpsaa",
            "KeepThirdPartySystem to Sdc",
            "KeepStanding to Tpsd",
            "KeepStanding to Sdc",
            "signal",
            "timer 90000"
        ]
    );
    assert_eq!(tpsr.records.len(), 1);
    let pending = to_kind(effects, TpsdMsg::KIND).0.pending;
    // One that says it twice does not stand for another.
    for from in [DERIVING[0], DERIVING[1], DERIVING[0]] {
        assert!(kept(&mut tpsr, from, pending).is_empty());
    }
    let effects = kept(&mut tpsr, DERIVING[2], pending);
    assert_eq!(shown(&effects), ["9.1/3 ThirdPartySystemRegistered to ThirdPartySystem"]);
    let system = answered(effects, 1).expect("it is answered").expect("it is registered").system;
    assert_eq!((system.description.clone(), system.entity.id()), (description("shop"), THIRD_PARTY));
    assert!(kept(&mut tpsr, DERIVING[2], pending).is_empty());
}

#[test]
fn the_same_registration_again_changes_nothing_and_waits_for_the_first() {
    let mut tpsr = tpsr();
    let pending = to_kind(register(&mut tpsr, THIRD_PARTY, 1, description("shop")), TpsdMsg::KIND).0.pending;
    assert_eq!(shown(&register(&mut tpsr, THIRD_PARTY, 2, description("shop"))), ["9.1/2 own"], "it waits");
    kept(&mut tpsr, DERIVING[0], pending);
    kept(&mut tpsr, DERIVING[1], pending);
    let effects = kept(&mut tpsr, DERIVING[2], pending);
    assert_eq!(effects.len(), 2, "both are answered");
    // Later it is answered at once; another way to write the same document is no difference.
    let mut rewritten = description("shop");
    rewritten.properties.insert("region".to_owned(), json(" \"\\u0065u\" "));
    let effects = register(&mut tpsr, THIRD_PARTY, 3, rewritten);
    assert!(answered(effects, 3).is_some_and(|answer| answer.is_ok()));
    assert_eq!(tpsr.records.len(), 1);
}

#[test]
fn another_registration_under_the_same_id_is_refused_with_what_differs() {
    let mut tpsr = tpsr();
    registered(&mut tpsr, "shop", 1);
    let mut other = description("shop");
    other.title = "x".repeat(400);
    other.service_charge = Some(ServiceCharge { amount: 1.5, currency: "EUR".to_owned(), per: None });
    let problem = refused(register(&mut tpsr, THIRD_PARTY, 2, other), THIRD_PARTY, 2);
    assert_eq!(problem.kind, ProblemKind::AlreadyRegistered);
    let [charge, title] = problem.differences.as_slice() else { panic!("two differ: {:?}", problem.differences) };
    assert_eq!(charge, r#"serviceCharge: null -> {"amount":1.5,"currency":"EUR","per":null}"#);
    assert!(title.starts_with("title: \"Lamp shop\" -> \"xxx") && title.chars().count() < 200, "{title}");
    assert_eq!(tpsr.records.len(), 1);
}

#[test]
fn what_cannot_be_registered_is_refused_with_its_place() {
    type Break = fn(&mut ThirdPartyDescription);
    let cases: [(&str, Break); 13] = [
        ("/type", |d| d.system_type.clear()),
        ("/title", |d| d.title = "x".repeat(super::LABEL_BYTES_MAX + 1)),
        ("/description", |d| d.description = "x".repeat(super::TEXT_BYTES_MAX + 1)),
        ("/properties/a~1b", |d| {
            let large = JsonDoc::from_value(&"x".repeat(super::PROPERTY_BYTES_MAX)).expect("it is JSON");
            d.properties.insert("a/b".to_owned(), large);
        }),
        ("/serviceCharge/amount", |d| {
            d.service_charge = Some(ServiceCharge { amount: -0.01, currency: "EUR".to_owned(), per: None });
        }),
        ("/serviceCharge/amount", |d| {
            d.service_charge = Some(ServiceCharge { amount: f64::NAN, currency: "EUR".to_owned(), per: None });
        }),
        ("/serviceCharge/currency", |d| {
            d.service_charge = Some(ServiceCharge { amount: 0.0, currency: String::new(), per: None });
        }),
        ("/serviceLevel/availability", |d| {
            d.service_level = Some(ServiceLevel { availability: Some(1.01), ..ServiceLevel::default() });
        }),
        ("/serviceLevel/p99Ms", |d| {
            d.service_level = Some(ServiceLevel { p99_ms: Some(f64::INFINITY), ..ServiceLevel::default() });
        }),
        ("/apis/1/operation", |d| d.apis.push(Api { operation: "order".to_owned(), description: None, mapping: None })),
        ("/apis", |d| {
            let api = |n: usize| Api { operation: n.to_string(), description: None, mapping: None };
            d.apis = (0..=super::APIS_MAX).map(api).collect();
        }),
        ("/authorization/path", |d| {
            let mapping = serde_json::from_str(r#"{"path": "grants"}"#).expect("it is a mapping");
            d.authorization = Some(std::sync::Arc::new(mapping));
        }),
        ("/reach/webhook", |d| d.reach = Reach::Webhook("file:///etc/passwd".to_owned())),
    ];
    let mut tpsr = tpsr();
    for (pointer, break_it) in cases {
        let mut broken = description("shop");
        break_it(&mut broken);
        let problem = refused(register(&mut tpsr, THIRD_PARTY, 1, broken), THIRD_PARTY, 1);
        assert_eq!((problem.kind, problem.pointer.as_deref()), (ProblemKind::InvalidDocument, Some(pointer)));
    }
    assert!(tpsr.records.is_empty());
}

#[test]
fn limits_are_told_and_nothing_is_changed() {
    let settings = Settings { registered_systems_max: 2, pending_questions_max: 1, ..Settings::default() };
    let mut tpsr = Trial::<Tpsr>::new(ID, &settings);
    let second = EntityId::new(ThirdPartySystemMsg::KIND, 0, 2);
    // The first registration fills the table of questions.
    let pending = to_kind(register(&mut tpsr, THIRD_PARTY, 1, description("a")), TpsdMsg::KIND).0.pending;
    let problem = refused(register(&mut tpsr, second, 2, description("b")), second, 2);
    assert_eq!((problem.kind, tpsr.records.len()), (ProblemKind::LimitReached, 1));
    for from in DERIVING {
        kept(&mut tpsr, from, pending);
    }
    // An actor speaks for one system.
    let problem = refused(register(&mut tpsr, THIRD_PARTY, 3, description("b")), THIRD_PARTY, 3);
    assert_eq!(problem.kind, ProblemKind::NotAllowed);
    // Nobody else registers for it: later requests would reach nobody.
    let problem = refused(register(&mut tpsr, CALLER, 3, description("b")), CALLER, 3);
    assert_eq!(problem.kind, ProblemKind::NotAllowed);
    registered(&mut tpsr, "b", 2);
    let third = EntityId::new(ThirdPartySystemMsg::KIND, 0, 3);
    let problem = refused(register(&mut tpsr, third, 4, description("c")), third, 4);
    assert_eq!((problem.kind, tpsr.records.len()), (ProblemKind::LimitReached, 2));
}

#[test]
fn a_registration_that_not_everyone_could_take_is_completed_by_repeating_it() {
    let mut tpsr = tpsr();
    let pending = to_kind(register(&mut tpsr, THIRD_PARTY, 1, description("shop")), TpsdMsg::KIND).0.pending;
    let full = Problem::new(ProblemKind::Overloaded, "its inbox is full");
    let effects = tpsr.deliver(DERIVING[0], pending, TpsrMsg::Kept(Err(full)));
    assert_eq!(refused(effects, THIRD_PARTY, 1).kind, ProblemKind::Overloaded);
    let effects = register(&mut tpsr, THIRD_PARTY, 2, description("shop"));
    assert_eq!(effects.len(), 4, "step 2, and everyone is told again");
    let pending = to_kind(effects, TpsdMsg::KIND).0.pending;
    kept(&mut tpsr, DERIVING[0], pending);
    kept(&mut tpsr, DERIVING[1], pending);
    let effects = kept(&mut tpsr, DERIVING[2], pending);
    assert!(answered(effects, 2).is_some_and(|answer| answer.is_ok()));
    assert_eq!(tpsr.records.len(), 1);
}

#[test]
fn after_a_restart_everyone_is_told_and_answers_are_as_before() {
    let mut before = tpsr();
    registered(&mut before, "shop", 1);
    registered(&mut before, "printer", 2);
    let mut after = tpsr();
    let mut snapshot = Vec::new();
    for part in [1, 2, 3] {
        twinway_protocol::Behaviour::snapshot(&before.behaviour, part, &mut snapshot);
    }
    assert_eq!(format!("{snapshot:?}"), format!("{:?}", before.records), "a snapshot is what the records make");
    for record in before.records {
        let bytes = crate::codec::encode(&record).expect("a record can be written");
        let read = crate::codec::decode(&bytes).expect("and read");
        twinway_protocol::Behaviour::replay(&mut after.behaviour, read);
    }
    let told = shown(&after.recovered());
    let count = |what: &str| told.iter().filter(|effect| *effect == what).count();
    for kind in ["Tpsd", "Tpsaa", "Sdc", "ThirdPartySystem"] {
        assert_eq!(count(&format!("KeepThirdPartySystem to {kind}")), 2, "{told:?}");
    }
    assert_eq!((count("spawn"), count("signal")), (2, 4), "what is registered is published, and how it stands");
    let mut other = description("shop");
    other.title = "Boat shop".to_owned();
    let problem = refused(register(&mut after, THIRD_PARTY, 3, other), THIRD_PARTY, 3);
    assert_eq!(problem.kind, ProblemKind::AlreadyRegistered);
}

#[test]
fn whoever_lost_the_register_is_told_it_alone() {
    let mut tpsr = tpsr();
    registered(&mut tpsr, "shop", 1);
    let effects = tpsr.deliver(DERIVING[1], PendingKey::NONE, Reannounce);
    assert_eq!(shown(&effects), ["KeepThirdPartySystem to Tpsaa"]);
    // What could not be taken is told again, later and once.
    let full = || TpsrMsg::Kept(Err(Problem::new(ProblemKind::Overloaded, "its inbox is full")));
    let effects = tpsr.deliver(DERIVING[1], PendingKey::NONE, full());
    let [Effect::Timer { key, .. }] = effects.as_slice() else { panic!("a timer is set: {effects:?}") };
    assert!(tpsr.deliver(DERIVING[1], PendingKey::NONE, full()).is_empty());
    assert_eq!(shown(&tpsr.timeout(*key)), ["KeepThirdPartySystem to Tpsaa"]);
    assert!(tpsr.timeout(*key).is_empty());
}
