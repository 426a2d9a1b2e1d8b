mod breaker;
mod chains;
mod crash;
mod scene;

use std::sync::Arc;

use twinway_protocol::{
    Effect, EntityId, Mailbox, PendingKey, PermissionId, Problem, ProblemKind, UserId,
    access::AuthorizationGrant,
    message::{
        KeepThirdPartySystem, SdcMsg, ServiceExecuted, ServiceRequest, ServiceResult, ShareData, ThirdPartySystemMsg,
        TpsaaMsg, TpsrMsg, UseThirdPartySystem, UserAuthorizationVerified, Wire,
    },
    registry::ThirdPartySystem,
};

use super::Sdc;
use crate::{
    Settings,
    sif::testing::{METAVERSE, THIRD_PARTY, answer, json, key, registered, shown, system_id, to_kind},
    trial::Trial,
};

const TPSR: EntityId = EntityId::new(TpsrMsg::KIND, 0, 0);
const TPSAA: EntityId = EntityId::new(TpsaaMsg::KIND, 0, 0);

/// SDC that knows a lamp shop.
fn sdc(settings: &Settings) -> Trial<Sdc> {
    let mut sdc = Trial::new(EntityId::new(SdcMsg::KIND, 0, 0), settings);
    let effects = sdc.deliver(TPSR, key(1), KeepThirdPartySystem { system: registered("shop", 1) });
    assert_eq!(shown(&effects), ["Kept to Tpsr"]);
    sdc
}

fn ada() -> UserId {
    UserId::new("ada").expect("it is a name")
}

fn call(sdc: &mut Trial<Sdc>, operation: &str) -> Vec<Effect<Wire>> {
    let question = UseThirdPartySystem {
        system: system_id("shop"),
        metaverse: system_id("plaza"),
        user: ada(),
        operation: operation.into(),
        input: json("{\"lamps\":2}"),
    };
    sdc.deliver(METAVERSE, key(5), question)
}

fn share(sdc: &mut Trial<Sdc>) -> Vec<Effect<Wire>> {
    let question = ShareData {
        system: system_id("shop"),
        metaverse: system_id("plaza"),
        user: ada(),
        topic: "taste".into(),
        data: json("\"warm\""),
    };
    sdc.deliver(METAVERSE, key(5), question)
}

fn verified() -> UserAuthorizationVerified {
    let grant = AuthorizationGrant { user_information: json("{}"), scope: ["*".to_owned()].into(), expires_at: None };
    let authorization = PermissionId::new("auth-1").expect("it is a name");
    UserAuthorizationVerified { authorization, grant: Box::new(grant) }
}

/// TPSAA's answer to what `effects` ask it.
fn verify(
    sdc: &mut Trial<Sdc>,
    effects: Vec<Effect<Wire>>,
    answer: Result<UserAuthorizationVerified, Problem>,
) -> Vec<Effect<Wire>> {
    let asked = to_kind(effects, TpsaaMsg::KIND).0.pending;
    sdc.deliver(TPSAA, asked, SdcMsg::UserAuthorizationVerified(answer))
}

fn result(effects: Vec<Effect<Wire>>) -> Result<ServiceResult, Problem> {
    answer(effects, METAVERSE, key(5)).expect("it is answered")
}

fn executed(sdc: &mut Trial<Sdc>, asked: PendingKey) -> Vec<Effect<Wire>> {
    sdc.deliver(THIRD_PARTY, asked, SdcMsg::ServiceExecuted(Ok(ServiceExecuted { output: json("\"sold\"") })))
}

#[test]
fn a_valid_request_is_verified_executed_and_answered() {
    let mut sdc = sdc(&Settings::default());
    let effects = call(&mut sdc, "order");
    assert_eq!(shown(&effects), ["9.1/13 VerifyUserAuthorization to Tpsaa"]);
    let effects = verify(&mut sdc, effects, Ok(verified()));
    assert_eq!(shown(&effects), ["9.1/14 ExecuteService to ThirdPartySystem"]);
    let (meta, wire) = to_kind(effects, ThirdPartySystemMsg::KIND);
    let Wire::ThirdPartySystem(ThirdPartySystemMsg::ExecuteService(execute)) = wire else { panic!("it is executed") };
    assert_eq!((execute.authorization.as_str(), &execute.user), ("auth-1", &ada()));
    assert_eq!(*execute.request, ServiceRequest::Use { operation: "order".into(), input: json("{\"lamps\":2}") });
    let effects = executed(&mut sdc, meta.pending);
    assert_eq!(shown(&effects), ["9.1/14x ServiceResult to MetaverseSystem"]);
    assert_eq!(result(effects).expect("it was done").output, json("\"sold\""));
    assert!(executed(&mut sdc, meta.pending).is_empty(), "a second answer finds nothing");
}

#[test]
fn sharing_data_is_verified_as_the_operation_share() {
    let mut sdc = sdc(&Settings::default());
    let effects = share(&mut sdc);
    let (meta, wire) = to_kind(effects, TpsaaMsg::KIND);
    let Wire::Tpsaa(TpsaaMsg::VerifyUserAuthorization(question)) = wire else { panic!("it is verified") };
    assert_eq!(&*question.operation, "share");
    let effects = sdc.deliver(TPSAA, meta.pending, SdcMsg::UserAuthorizationVerified(Ok(verified())));
    let (meta, wire) = to_kind(effects, ThirdPartySystemMsg::KIND);
    let Wire::ThirdPartySystem(ThirdPartySystemMsg::ExecuteService(execute)) = wire else { panic!("it is executed") };
    assert_eq!(*execute.request, ServiceRequest::Share { topic: "taste".into(), data: json("\"warm\"") });
    assert!(result(executed(&mut sdc, meta.pending)).is_ok());
}

#[test]
fn an_invalid_request_is_rejected_and_reaches_no_third_party() {
    let mut sdc = sdc(&Settings::default());
    for kind in [ProblemKind::PermissionMissing, ProblemKind::PermissionExpired, ProblemKind::PermissionDenied] {
        for ask in [|sdc: &mut Trial<Sdc>| call(sdc, "order"), share] {
            let effects = ask(&mut sdc);
            let effects = verify(&mut sdc, effects, Err(Problem::new(kind, "no")));
            // FGMV-29 9.1 step 14: the rejecting branch.
            assert_eq!(shown(&effects), ["9.1/14 ServiceResult refused to MetaverseSystem"]);
            assert_eq!(result(effects).map(|_| ()).map_err(|problem| problem.kind), Err(kind));
        }
    }
}

#[test]
fn what_a_system_does_not_offer_is_rejected_before_anybody_is_asked() {
    let mut sdc = sdc(&Settings::default());
    let effects = call(&mut sdc, "cancel");
    assert_eq!(shown(&effects), ["9.1/14 ServiceResult refused to MetaverseSystem"]);
    let problem = result(effects).expect_err("it is refused");
    assert_eq!((problem.kind, problem.pointer.as_deref()), (ProblemKind::InvalidDocument, Some("/operation")));
    // A system that did not say what it offers is asked.
    let mut silent = ThirdPartySystem::clone(&registered("shop", 1));
    silent.description.apis.clear();
    sdc.deliver(TPSR, key(1), KeepThirdPartySystem { system: Arc::new(silent) });
    assert_eq!(shown(&call(&mut sdc, "cancel")), ["9.1/13 VerifyUserAuthorization to Tpsaa"]);
    let mut empty = Trial::<Sdc>::new(EntityId::new(SdcMsg::KIND, 0, 0), &Settings::default());
    assert_eq!(result(call(&mut empty, "order")).map(|_| ()).map_err(|p| p.kind), Err(ProblemKind::SystemUnknown));
    assert_eq!(result(share(&mut empty)).map(|_| ()).map_err(|p| p.kind), Err(ProblemKind::SystemUnknown));
}

#[test]
fn what_a_third_party_fails_at_is_no_rejection() {
    let mut sdc = sdc(&Settings::default());
    let effects = call(&mut sdc, "order");
    let asked = to_kind(verify(&mut sdc, effects, Ok(verified())), ThirdPartySystemMsg::KIND).0.pending;
    let timeout = Problem::new(ProblemKind::OutsideTimeout, "no answer came");
    let effects = sdc.deliver(THIRD_PARTY, asked, SdcMsg::ServiceExecuted(Err(timeout)));
    assert_eq!(shown(&effects), ["9.1/14x ServiceResult refused to MetaverseSystem"]);
}

#[test]
fn an_answer_of_another_kind_leaves_the_request_waiting() {
    let mut sdc = sdc(&Settings::default());
    let effects = call(&mut sdc, "order");
    let asked = to_kind(effects, TpsaaMsg::KIND).0.pending;
    assert!(executed(&mut sdc, asked).is_empty());
    let effects = sdc.deliver(TPSAA, asked, SdcMsg::UserAuthorizationVerified(Ok(verified())));
    let executing = to_kind(effects, ThirdPartySystemMsg::KIND).0.pending;
    for stale in [asked, executing] {
        assert!(sdc.deliver(TPSAA, stale, SdcMsg::UserAuthorizationVerified(Ok(verified()))).is_empty());
    }
    assert!(result(executed(&mut sdc, executing)).is_ok());
}

#[test]
fn a_full_table_of_questions_is_told() {
    let mut sdc = sdc(&Settings { pending_questions_max: 1, ..Settings::default() });
    let effects = call(&mut sdc, "order");
    assert_eq!(result(share(&mut sdc)).map(|_| ()).map_err(|p| p.kind), Err(ProblemKind::LimitReached));
    // The one that waits still goes its way.
    assert_eq!(shown(&verify(&mut sdc, effects, Ok(verified()))), ["9.1/14 ExecuteService to ThirdPartySystem"]);
}

#[test]
fn an_answer_to_a_question_from_before_a_crash_finds_no_question_of_after_it() {
    let settings = Settings::default();
    let stale = to_kind(call(&mut sdc(&settings), "order"), TpsaaMsg::KIND).0.pending;
    let mut after = sdc(&settings);
    let effects = call(&mut after, "order");
    assert!(after.deliver(TPSAA, stale, SdcMsg::UserAuthorizationVerified(Ok(verified()))).is_empty());
    assert_eq!(shown(&verify(&mut after, effects, Ok(verified()))), ["9.1/14 ExecuteService to ThirdPartySystem"]);
}

#[test]
fn systems_that_were_lost_are_asked_for_again() {
    assert_eq!(shown(&sdc(&Settings::default()).recovered()), ["Reannounce to Tpsr"]);
}
