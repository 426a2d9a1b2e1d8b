//! A third-party system's part in FGMV-29 9.1: steps 1, 8, 14x and 15.

use std::sync::Arc;

use twinway_protocol::{
    Behaviour, Effect, EntityId, Mailbox, PendingKey, PermissionId, Problem, ProblemKind, TwinId, UserId,
    access::AuthorizationDecision,
    message::{
        AcquireTwinInformation, AnswerAccepted, AnswerRequest, AuthorizationSettled, DecideUserAuthorization, DtdaMsg,
        ExecuteService, ForwardUserAuthorization, KeepThirdPartySystem, Kept, OpenSystem, OutsideAnswer,
        OutsideRequest, RegisterThirdPartySystem, RequestUndelivered, SdcMsg, ServiceExecuted, ServiceRequest,
        ThirdPartySystemMsg, ThirdPartySystemRegistered, TpsaaMsg, TpsrMsg, TwinInformation,
        UserAndPermissionInformation, Wire,
    },
    registry::Reach,
    signal::Signal,
};

use super::ThirdPartySystem;
use crate::{
    Settings,
    sif::testing::{CALLER, THIRD_PARTY, answer, description, json, key, registered, shown, system_id, to_kind},
    trial::Trial,
};

const TPSR: EntityId = EntityId::new(TpsrMsg::KIND, 0, 0);
const TPSAA: EntityId = EntityId::new(TpsaaMsg::KIND, 0, 0);
const SDC: EntityId = EntityId::new(SdcMsg::KIND, 0, 0);

fn new(settings: &Settings) -> Trial<ThirdPartySystem> {
    Trial::new(THIRD_PARTY, settings)
}

/// The actor of the lamp shop.
fn shop() -> Trial<ThirdPartySystem> {
    let mut shop = new(&Settings::default());
    shop.deliver(CALLER, key(1), OpenSystem { id: system_id("shop"), reach: None });
    shop
}

fn authorize(shop: &mut Trial<ThirdPartySystem>, asks: u64) -> Vec<Effect<Wire>> {
    let question = ForwardUserAuthorization {
        authorization: PermissionId::new("auth-1").expect("it is a name"),
        metaverse: system_id("plaza"),
        user: UserId::new("ada").expect("it is a name"),
        scope: Arc::default(),
        call: None,
    };
    shop.deliver(TPSAA, key(asks), question)
}

fn execute(shop: &mut Trial<ThirdPartySystem>, asks: u64) -> Vec<Effect<Wire>> {
    let question = ExecuteService {
        authorization: PermissionId::new("auth-1").expect("it is a name"),
        metaverse: system_id("plaza"),
        user: UserId::new("ada").expect("it is a name"),
        request: Box::new(ServiceRequest::Share { topic: "taste".into(), data: json("1") }),
        idempotency_key: None,
        context: None,
        call: None,
    };
    shop.deliver(SDC, key(asks), question)
}

/// The request that leaves the daemon.
fn request(effects: &[Effect<Wire>]) -> (PendingKey, &OutsideRequest) {
    let requests: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Signal(Signal::Request { entity, request, body }) => {
                assert_eq!(*entity, THIRD_PARTY);
                Some((*request, &**body))
            }
            _ => None,
        })
        .collect();
    let [request] = requests.as_slice() else { panic!("one request leaves: {effects:?}") };
    *request
}

fn decided() -> OutsideAnswer {
    let decision = AuthorizationDecision::Denied("no".to_owned());
    OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Decision(decision))
}

fn executed() -> OutsideAnswer {
    OutsideAnswer::ExecuteService(ServiceExecuted { output: json("2") })
}

fn reply(shop: &mut Trial<ThirdPartySystem>, request: PendingKey, answer: OutsideAnswer) -> Vec<Effect<Wire>> {
    shop.deliver(CALLER, key(7), AnswerRequest { request, answer: Box::new(answer) })
}

fn accepted(effects: Vec<Effect<Wire>>) -> Result<(), ProblemKind> {
    let accepted = answer::<AnswerAccepted>(effects, CALLER, key(7)).expect("it is answered at once");
    accepted.map(|_| ()).map_err(|problem| problem.kind)
}

fn opened(effects: &[Effect<Wire>]) -> Option<Reach> {
    effects.iter().find_map(|effect| match effect {
        Effect::Signal(Signal::Opened { entity, id, reach }) => {
            assert_eq!((*entity, id.as_str()), (THIRD_PARTY, "shop"));
            Some(reach.clone())
        }
        _ => None,
    })
}

fn webhook() -> Reach {
    Reach::Webhook("https://shop.example/twinway".to_owned())
}

#[test]
fn a_registration_goes_to_tpsr_and_says_how_the_system_is_reached() {
    let mut shop = shop();
    let mut hooked = description("shop");
    hooked.reach = webhook();
    let question = RegisterThirdPartySystem { description: Box::new(hooked.clone()) };
    let effects = shop.deliver(CALLER, key(2), question);
    assert_eq!(shown(&effects), ["9.1/1 RegisterThirdPartySystem to Tpsr"]);
    let asked = to_kind(effects, TpsrMsg::KIND).0.pending;
    let mut system = twinway_protocol::registry::ThirdPartySystem::clone(&registered("shop", 1));
    system.description = hooked;
    let registered = ThirdPartySystemRegistered { system: Arc::new(system), is_new: true };
    let effects = shop.deliver(TPSR, asked, ThirdPartySystemMsg::ThirdPartySystemRegistered(Ok(registered)));
    assert_eq!(opened(&effects), Some(webhook()));
    assert!(answer::<ThirdPartySystemRegistered>(effects, CALLER, key(2)).is_some_and(|answer| answer.is_ok()));
    // Opened again without a word about how it is reached, it is reached as before.
    let effects = shop.deliver(CALLER, key(1), OpenSystem { id: system_id("shop"), reach: None });
    assert_eq!(opened(&effects), Some(webhook()));
}

#[test]
fn a_system_registers_itself_and_no_other() {
    let mut shop = shop();
    let question = RegisterThirdPartySystem { description: Box::new(description("bank")) };
    let effects = shop.deliver(CALLER, key(2), question);
    let refused = answer::<ThirdPartySystemRegistered>(effects, CALLER, key(2)).and_then(Result::err);
    assert_eq!(refused.map(|problem| problem.kind), Some(ProblemKind::NotAllowed));
    let effects = shop.deliver(CALLER, key(1), OpenSystem { id: system_id("bank"), reach: None });
    let refused = answer::<Kept>(effects, CALLER, key(1)).and_then(Result::err);
    assert_eq!(refused.map(|problem| problem.kind), Some(ProblemKind::NotAllowed));
}

#[test]
fn a_question_leaves_the_daemon_and_the_first_answer_that_fits_comes_back() {
    let mut shop = shop();
    let effects = authorize(&mut shop, 3);
    assert_eq!(shown(&effects), [&format!("timer {}", Settings::default().outside_answer_ms_max), "signal"]);
    let (id, body) = request(&effects);
    assert!(matches!(body, OutsideRequest::AuthorizeUser(_)), "{body:?}");
    let effects = reply(&mut shop, id, decided());
    assert_eq!(
        shown(&effects),
        ["timer 5000", "9.1/8 UserAndPermissionInformation to Tpsaa", "AnswerAccepted to Caller"]
    );
    let effects = reply(&mut shop, id, decided());
    assert_eq!(shown(&effects), ["AnswerAccepted refused to Caller"], "nobody hears a second answer");
    assert_eq!(accepted(effects), Err(ProblemKind::RequestUnknown));
    assert!(shop.timeout(id).is_empty(), "its time is over");
}

#[test]
fn an_answer_to_another_kind_of_request_is_refused_and_the_request_still_waits() {
    let mut shop = shop();
    let effects = execute(&mut shop, 3);
    let (id, body) = request(&effects);
    assert!(matches!(body, OutsideRequest::ExecuteService(_)), "{body:?}");
    let effects = reply(&mut shop, id, decided());
    assert_eq!(accepted(effects), Err(ProblemKind::AnswerMismatch));
    let effects = reply(&mut shop, id, executed());
    assert_eq!(shown(&effects), ["timer 5000", "9.1/14x ServiceExecuted to Sdc", "AnswerAccepted to Caller"]);
}

#[test]
fn answers_find_their_own_requests() {
    let mut shop = shop();
    let (first, second) = (request(&execute(&mut shop, 3)).0, request(&execute(&mut shop, 4)).0);
    assert_ne!(first, second);
    assert_eq!(to_kind(reply(&mut shop, second, executed()), SdcMsg::KIND).0.pending, key(4));
    assert_eq!(to_kind(reply(&mut shop, first, executed()), SdcMsg::KIND).0.pending, key(3));
    assert_eq!(accepted(reply(&mut shop, key(99), executed())), Err(ProblemKind::RequestUnknown));
}

fn gone() -> Problem {
    Problem::new(ProblemKind::OutsideUnreachable, "the session is closed")
}

type End = fn(&mut Trial<ThirdPartySystem>, PendingKey) -> Vec<Effect<Wire>>;

#[test]
fn a_system_that_fails_stays_silent_or_cannot_be_reached_is_told_to_the_asker() {
    let mut shop = shop();
    let mut heard = |end: End| {
        let id = request(&execute(&mut shop, 3)).0;
        let effects = end(&mut shop, id);
        let problem = answer::<ServiceExecuted>(effects, SDC, key(3)).and_then(Result::err);
        // Whatever comes afterwards finds no request.
        assert_eq!(accepted(reply(&mut shop, id, executed())), Err(ProblemKind::RequestUnknown));
        problem.expect("the asker hears of it")
    };
    let failed = heard(|shop, id| reply(shop, id, OutsideAnswer::Failed("out of lamps".to_owned())));
    assert_eq!((failed.kind, failed.detail.as_str()), (ProblemKind::OutsideFailed, "out of lamps"));
    assert_eq!(heard(|shop, id| shop.timeout(id)).kind, ProblemKind::OutsideTimeout);
    let undelivered = heard(|shop, id| {
        let message = RequestUndelivered { request: id, problem: Box::new(gone()), handed_out: false };
        shop.deliver(CALLER, PendingKey::NONE, message)
    });
    assert_eq!(undelivered, gone());
    // FGMV-29 8.2.4: what was handed out and cut off may have been done.
    let cut_off = heard(|shop, id| {
        let message = RequestUndelivered { request: id, problem: Box::new(gone()), handed_out: true };
        shop.deliver(CALLER, PendingKey::NONE, message)
    });
    assert_eq!(cut_off.kind, ProblemKind::OutsideUnclear);
}

#[test]
fn requests_that_are_outside_have_a_limit() {
    let mut shop = new(&Settings { pending_questions_max: 1, ..Settings::default() });
    let first = request(&execute(&mut shop, 3)).0;
    let effects = execute(&mut shop, 4);
    assert_eq!(shown(&effects).len(), 1, "nothing leaves the daemon");
    let problem = answer::<ServiceExecuted>(effects, SDC, key(4)).and_then(Result::err);
    assert_eq!(problem.map(|problem| problem.kind), Some(ProblemKind::LimitReached));
    assert_eq!(accepted(reply(&mut shop, first, executed())), Ok(()));
    request(&execute(&mut shop, 5));
}

#[test]
fn what_it_decides_later_and_asks_for_is_passed_on_and_answered() {
    let mut shop = shop();
    let decide = DecideUserAuthorization {
        system: system_id("shop"),
        authorization: PermissionId::new("auth-1").expect("it is a name"),
        decision: Box::new(AuthorizationDecision::Denied("no".to_owned())),
    };
    let effects = shop.deliver(CALLER, key(4), decide);
    assert_eq!(shown(&effects), ["9.1/8 DecideUserAuthorization to Tpsaa"]);
    let asked = to_kind(effects, TpsaaMsg::KIND).0.pending;
    // An answer to another type of question is none.
    let stray = ThirdPartySystemMsg::TwinInformation(Ok(TwinInformation { twins: Vec::new(), refused: Vec::new() }));
    assert!(shop.deliver(TPSAA, asked, stray).is_empty());
    let unknown = Problem::new(ProblemKind::RequestUnknown, "which?");
    let effects = shop.deliver(TPSAA, asked, ThirdPartySystemMsg::AuthorizationSettled(Err(unknown.clone())));
    let heard = answer::<AuthorizationSettled>(effects, CALLER, key(4)).and_then(Result::err);
    assert_eq!(heard, Some(unknown));

    let twins = [TwinId::new("lamp").expect("it is a name")].into();
    let acquire = AcquireTwinInformation { system: system_id("shop"), twins, properties: None, strict: false };
    let effects = shop.deliver(CALLER, key(5), acquire);
    assert_eq!(shown(&effects), ["9.1/15 AcquireTwinInformation to Dtda"]);
    let asked = to_kind(effects, DtdaMsg::KIND).0.pending;
    let information =
        ThirdPartySystemMsg::TwinInformation(Ok(TwinInformation { twins: Vec::new(), refused: Vec::new() }));
    let effects = shop.deliver(EntityId::new(DtdaMsg::KIND, 0, 0), asked, information);
    assert!(answer::<TwinInformation>(effects, CALLER, key(5)).is_some_and(|answer| answer.is_ok()));
}

#[test]
fn questions_that_are_passed_on_have_a_limit() {
    let mut shop = new(&Settings { pending_questions_max: 1, ..Settings::default() });
    let question = || RegisterThirdPartySystem { description: Box::new(description("shop")) };
    shop.deliver(CALLER, key(2), question());
    let effects = shop.deliver(CALLER, key(3), question());
    let refused = answer::<ThirdPartySystemRegistered>(effects, CALLER, key(3)).and_then(Result::err);
    assert_eq!(refused.map(|problem| problem.kind), Some(ProblemKind::LimitReached));
}

#[test]
fn after_a_restart_it_is_reached_as_before() {
    let mut before = shop();
    let mut system = twinway_protocol::registry::ThirdPartySystem::clone(&registered("shop", 1));
    system.description.reach = webhook();
    let effects = before.deliver(TPSR, key(1), KeepThirdPartySystem { system: Arc::new(system) });
    assert_eq!(opened(&effects), Some(webhook()));
    assert!(answer::<Kept>(effects, TPSR, key(1)).is_some_and(|answer| answer.is_ok()));
    let mut after = new(&Settings::default());
    assert!(after.recovered().is_empty(), "a new one has nothing to tell");
    for record in &before.records {
        let bytes = crate::codec::encode(record).expect("a record can be written");
        after.behaviour.replay(crate::codec::decode(&bytes).expect("and read"));
    }
    assert_eq!(opened(&after.recovered()), Some(webhook()));
    let mut snapshot = Vec::new();
    after.behaviour.snapshot(0, &mut snapshot);
    let mut again = new(&Settings::default());
    snapshot.into_iter().for_each(|record| again.behaviour.replay(record));
    assert_eq!(opened(&again.recovered()), Some(webhook()));
    // Keeping what is kept already writes nothing.
    let records = before.records.len();
    before.deliver(CALLER, key(1), OpenSystem { id: system_id("shop"), reach: None });
    assert_eq!(before.records.len(), records);
}
