//! FGMV-29 8.2.3, and steps 6 to 10 and 13 of 9.1.

mod asking;
mod revoking;

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    Behaviour, Effect, EntityId, Mailbox, PendingKey, PermissionId, Problem, ProblemKind, UserId,
    access::{AuthorizationDecision, AuthorizationGrant, UserAuthorization},
    message::{
        AuthorizationSettled, DecideUserAuthorization, KeepThirdPartySystem, MetaverseSystemMsg, ReadUserAuthorization,
        RequestUserAuthorization, SdcMsg, ThirdPartySystemMsg, TpsaaMsg, TpsrMsg, UserAndPermissionInformation,
        UserAuthorizationDecided, UserAuthorizationVerified, VerifyUserAuthorization, Wire,
    },
    time::{Now, Timestamp},
};

use super::{Tpsaa, USER_AUTHORIZATIONS_MAX};
use crate::{
    Settings,
    sif::testing::{METAVERSE, THIRD_PARTY, answer, json, key, registered, shown, system_id, to_kind},
    trial::Trial,
};

const ID: EntityId = EntityId::new(TpsaaMsg::KIND, 0, 0);
const SDC: EntityId = EntityId::new(SdcMsg::KIND, 0, 0);

/// TPSAA that knows a lamp shop.
fn tpsaa() -> Trial<Tpsaa> {
    let mut tpsaa = Trial::new(ID, &Settings::default());
    let tpsr = EntityId::new(TpsrMsg::KIND, 0, 0);
    let effects = tpsaa.deliver(tpsr, key(1), KeepThirdPartySystem { system: registered("shop", 1) });
    assert_eq!(shown(&effects), ["Kept to Tpsr"]);
    tpsaa
}

fn ada() -> UserId {
    UserId::new("ada").expect("it is a name")
}

fn scope(operations: &[&str]) -> BTreeSet<String> {
    operations.iter().map(|operation| (*operation).to_owned()).collect()
}

fn grant(operations: &[&str], expires_at: Option<u64>) -> AuthorizationDecision {
    AuthorizationDecision::Granted(AuthorizationGrant {
        user_information: json("{\"customer\":7}"),
        scope: scope(operations),
        expires_at: expires_at.map(Timestamp::from_unix_ms),
    })
}

fn denial() -> AuthorizationDecision {
    AuthorizationDecision::Denied("the account is closed".to_owned())
}

fn login() -> AuthorizationDecision {
    AuthorizationDecision::Pending("https://shop.example/login".to_owned())
}

/// Asks for `operations` of the shop, for Ada.
fn request(tpsaa: &mut Trial<Tpsaa>, operations: &[&str]) -> Vec<Effect<Wire>> {
    let question = RequestUserAuthorization {
        system: system_id("shop"),
        metaverse: system_id("plaza"),
        user: ada(),
        scope: Arc::new(scope(operations)),
    };
    tpsaa.deliver(METAVERSE, key(5), question)
}

/// The third-party system's answer to the request that `effects` forward.
fn decide(tpsaa: &mut Trial<Tpsaa>, effects: Vec<Effect<Wire>>, decision: AuthorizationDecision) -> Vec<Effect<Wire>> {
    let asked = to_kind(effects, ThirdPartySystemMsg::KIND).0.pending;
    let information = UserAndPermissionInformation::Decision(decision);
    tpsaa.deliver(THIRD_PARTY, asked, TpsaaMsg::UserAndPermissionInformation(Ok(information)))
}

fn decided(effects: Vec<Effect<Wire>>) -> Result<UserAuthorization, Problem> {
    let answer = answer::<UserAuthorizationDecided>(effects, METAVERSE, key(5)).expect("it is answered");
    answer.map(|decided| *decided.authorization)
}

/// Asks for `operations` and has `decision` said of it.
fn authorize(
    tpsaa: &mut Trial<Tpsaa>,
    operations: &[&str],
    decision: AuthorizationDecision,
) -> Result<UserAuthorization, Problem> {
    let effects = request(tpsaa, operations);
    decided(decide(tpsaa, effects, decision))
}

fn settle(
    tpsaa: &mut Trial<Tpsaa>,
    system: &str,
    authorization: &PermissionId,
    decision: AuthorizationDecision,
) -> Vec<Effect<Wire>> {
    let message = DecideUserAuthorization {
        system: system_id(system),
        authorization: authorization.clone(),
        decision: Box::new(decision),
    };
    tpsaa.deliver(THIRD_PARTY, key(8), message)
}

fn settled(effects: Vec<Effect<Wire>>) -> Result<UserAuthorization, Problem> {
    let answer = answer::<AuthorizationSettled>(effects, THIRD_PARTY, key(8)).expect("it is answered");
    answer.map(|settled| *settled.authorization)
}

fn verify(tpsaa: &mut Trial<Tpsaa>, operation: &str) -> Result<UserAuthorizationVerified, Problem> {
    let question = VerifyUserAuthorization {
        system: system_id("shop"),
        metaverse: system_id("plaza"),
        user: ada(),
        operation: operation.into(),
    };
    answer(tpsaa.deliver(SDC, key(6), question), SDC, key(6)).expect("it is answered at once")
}

fn refusal(tpsaa: &mut Trial<Tpsaa>, operation: &str) -> Option<ProblemKind> {
    verify(tpsaa, operation).err().map(|problem| problem.kind)
}

fn at(tpsaa: &mut Trial<Tpsaa>, unix_ms: u64) {
    tpsaa.now = Now { monotonic_ms: unix_ms, wall: Timestamp::from_unix_ms(unix_ms) };
}

#[test]
fn a_request_is_forwarded_decided_recorded_and_answered() {
    let mut tpsaa = tpsaa();
    let effects = request(&mut tpsaa, &["order"]);
    assert_eq!(shown(&effects), ["9.1/7 ForwardUserAuthorization to ThirdPartySystem"]);
    assert!(tpsaa.records.is_empty(), "nothing is known yet");
    let effects = decide(&mut tpsaa, effects, grant(&["order"], None));
    assert_eq!(shown(&effects), ["9.1/9 own", "9.1/10 UserAuthorizationDecided to MetaverseSystem"]);
    assert_eq!(tpsaa.records.len(), 1);
    let authorization = decided(effects).expect("it is granted");
    let verified = verify(&mut tpsaa, "order").expect("the user may");
    assert_eq!(verified.authorization, authorization.id);
    assert_eq!(refusal(&mut tpsaa, "cancel"), Some(ProblemKind::PermissionMissing));
}

#[test]
fn a_second_answer_changes_nothing() {
    let mut tpsaa = tpsaa();
    let effects = request(&mut tpsaa, &[]);
    let asked = to_kind(effects, ThirdPartySystemMsg::KIND).0.pending;
    let information = || TpsaaMsg::UserAndPermissionInformation(Ok(UserAndPermissionInformation::Decision(denial())));
    assert!(!tpsaa.deliver(THIRD_PARTY, asked, information()).is_empty());
    assert!(tpsaa.deliver(THIRD_PARTY, asked, information()).is_empty());
    assert_eq!(tpsaa.records.len(), 1);
}

#[test]
fn a_denial_is_recorded_and_answered_with_its_reason() {
    let mut tpsaa = tpsaa();
    let effects = request(&mut tpsaa, &["order"]);
    let effects = decide(&mut tpsaa, effects, denial());
    assert_eq!(shown(&effects), ["9.1/9 own", "9.1/10 UserAuthorizationDecided refused to MetaverseSystem"]);
    let problem = decided(effects).expect_err("it is denied");
    assert_eq!(problem.kind, ProblemKind::PermissionDenied);
    assert!(problem.detail.contains("the account is closed"));
    assert_eq!(tpsaa.records.len(), 1);
    assert_eq!(refusal(&mut tpsaa, "order"), Some(ProblemKind::PermissionDenied));
}

#[test]
fn what_a_third_party_fails_at_reaches_the_asker_and_is_not_recorded() {
    let mut tpsaa = tpsaa();
    let effects = request(&mut tpsaa, &["order"]);
    let asked = to_kind(effects, ThirdPartySystemMsg::KIND).0.pending;
    let timeout = Problem::new(ProblemKind::OutsideTimeout, "no answer came");
    let effects = tpsaa.deliver(THIRD_PARTY, asked, TpsaaMsg::UserAndPermissionInformation(Err(timeout.clone())));
    assert_eq!(decided(effects), Err(timeout));
    // A grant of what nobody asked for is a failure of the third party.
    let problem = authorize(&mut tpsaa, &["order"], grant(&["order", "cancel"], None)).expect_err("it is refused");
    assert_eq!(problem.kind, ProblemKind::OutsideFailed);
    assert!(tpsaa.records.is_empty());
    assert_eq!(refusal(&mut tpsaa, "order"), Some(ProblemKind::PermissionMissing));
}

#[test]
fn who_asks_for_nothing_in_particular_takes_what_is_given() {
    let mut tpsaa = tpsaa();
    authorize(&mut tpsaa, &[], grant(&["*"], None)).expect("it is granted");
    assert!(verify(&mut tpsaa, "whatever").is_ok());
}

#[test]
fn a_system_that_is_not_registered_is_not_asked() {
    let mut tpsaa = Trial::new(ID, &Settings::default());
    let problem = decided(request(&mut tpsaa, &[])).expect_err("it is refused");
    assert_eq!(problem.kind, ProblemKind::SystemUnknown);
}

#[test]
fn a_full_table_of_questions_is_told() {
    let settings = Settings { pending_questions_max: 1, ..Settings::default() };
    let mut tpsaa = Trial::<Tpsaa>::new(ID, &settings);
    let tpsr = EntityId::new(TpsrMsg::KIND, 0, 0);
    tpsaa.deliver(tpsr, key(1), KeepThirdPartySystem { system: registered("shop", 1) });
    request(&mut tpsaa, &[]);
    let problem = decided(request(&mut tpsaa, &[])).expect_err("it is refused");
    assert_eq!(problem.kind, ProblemKind::LimitReached);
}

#[test]
fn a_person_who_logged_in_later_is_told_of_and_may_from_then_on() {
    let mut tpsaa = tpsaa();
    let id = authorize(&mut tpsaa, &["order"], login()).expect("it is pending").id;
    assert_eq!(refusal(&mut tpsaa, "order"), Some(ProblemKind::PermissionMissing));
    let effects = settle(&mut tpsaa, "shop", &id, grant(&["order"], None));
    assert_eq!(
        shown(&effects),
        ["9.1/9 own", "9.1/10 UserAuthorizationSettled to MetaverseSystem", "AuthorizationSettled to ThirdPartySystem"]
    );
    assert_eq!(to_kind(settle(&mut tpsaa, "shop", &id, denial()), MetaverseSystemMsg::KIND).0.to, METAVERSE);
    settle(&mut tpsaa, "shop", &id, grant(&["order"], None));
    assert_eq!(verify(&mut tpsaa, "order").map(|verified| verified.authorization), Ok(id.clone()));
    // The same decision again is no news.
    let records = tpsaa.records.len();
    let effects = settle(&mut tpsaa, "shop", &id, grant(&["order"], None));
    assert_eq!(shown(&effects), ["AuthorizationSettled to ThirdPartySystem"]);
    assert_eq!(tpsaa.records.len(), records);
}

#[test]
fn a_later_decision_is_the_deciding_systems_own_and_within_what_was_asked() {
    let mut tpsaa = tpsaa();
    let id = authorize(&mut tpsaa, &["order"], login()).expect("it is pending").id;
    let refused = |tpsaa: &mut Trial<Tpsaa>, system, id: &PermissionId, decision| {
        settled(settle(tpsaa, system, id, decision)).map_err(|problem| problem.kind)
    };
    let unknown = PermissionId::new("auth-0").expect("it is a name");
    assert_eq!(refused(&mut tpsaa, "shop", &unknown, denial()), Err(ProblemKind::RequestUnknown));
    assert_eq!(refused(&mut tpsaa, "bank", &id, grant(&["order"], None)), Err(ProblemKind::NotAllowed));
    assert_eq!(refused(&mut tpsaa, "shop", &id, grant(&["*"], None)), Err(ProblemKind::InvalidDocument));
    assert_eq!(refusal(&mut tpsaa, "order"), Some(ProblemKind::PermissionMissing));
}

#[test]
fn an_authorization_is_read_by_its_metaverse_system_only() {
    let mut tpsaa = tpsaa();
    let authorization = authorize(&mut tpsaa, &["order"], login()).expect("it is pending");
    let mut read = |metaverse| {
        let question =
            ReadUserAuthorization { metaverse: system_id(metaverse), authorization: authorization.id.clone() };
        decided(tpsaa.deliver(METAVERSE, key(5), question)).map_err(|problem| problem.kind)
    };
    assert_eq!(read("plaza"), Ok(authorization.clone()));
    assert_eq!(read("arena"), Err(ProblemKind::RequestUnknown));
}

#[test]
fn a_grant_permits_until_its_end_and_an_older_one_may_outlive_it() {
    let mut tpsaa = tpsaa();
    authorize(&mut tpsaa, &["order"], grant(&["order"], Some(2_000))).expect("it is granted");
    at(&mut tpsaa, 1_999);
    assert!(verify(&mut tpsaa, "order").is_ok());
    at(&mut tpsaa, 2_000);
    assert_eq!(refusal(&mut tpsaa, "order"), Some(ProblemKind::PermissionExpired));
    assert_eq!(refusal(&mut tpsaa, "cancel"), Some(ProblemKind::PermissionMissing));
    let longer = authorize(&mut tpsaa, &["order"], grant(&["order"], Some(9_000))).expect("it is granted").id;
    // A grant that had ended before it was given, and a denial, take nothing from it.
    authorize(&mut tpsaa, &["order"], grant(&["order"], Some(1))).expect("it is kept");
    assert!(authorize(&mut tpsaa, &["order"], denial()).is_err());
    assert_eq!(verify(&mut tpsaa, "order").map(|verified| verified.authorization), Ok(longer));
    // The newest word counts when nothing is valid any more.
    at(&mut tpsaa, 9_000);
    assert_eq!(refusal(&mut tpsaa, "order"), Some(ProblemKind::PermissionDenied));
}

#[test]
fn of_several_grants_the_newest_permits() {
    let mut tpsaa = tpsaa();
    authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("it is granted");
    let newest = authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("it is granted").id;
    assert_eq!(verify(&mut tpsaa, "order").map(|verified| verified.authorization), Ok(newest));
}

#[test]
fn what_permits_nothing_makes_room_and_a_grant_never_does() {
    let mut tpsaa = tpsaa();
    for _ in 1..USER_AUTHORIZATIONS_MAX {
        authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("it is granted");
    }
    let pending = authorize(&mut tpsaa, &["order"], login()).expect("it is pending").id;
    authorize(&mut tpsaa, &["order"], grant(&["order"], None)).expect("the login that never came made room");
    let gone = settled(settle(&mut tpsaa, "shop", &pending, denial())).map_err(|problem| problem.kind);
    assert_eq!(gone, Err(ProblemKind::RequestUnknown));
    let problem = decided(request(&mut tpsaa, &["order"])).expect_err("there is no more room");
    assert_eq!(problem.kind, ProblemKind::LimitReached);
    // Replaying makes the same state: the forgotten one stays forgotten.
    let mut after = replayed(&tpsaa);
    let problem = decided(request(&mut after, &["order"])).expect_err("there is no more room");
    assert_eq!(problem.kind, ProblemKind::LimitReached);
}

/// A new TPSAA with the records of another, through the journal's format.
fn replayed(before: &Trial<Tpsaa>) -> Trial<Tpsaa> {
    let mut after = tpsaa();
    for record in &before.records {
        let bytes = crate::codec::encode(record).expect("a record can be written");
        after.behaviour.replay(crate::codec::decode(&bytes).expect("and read"));
    }
    after
}

#[test]
fn after_a_restart_the_same_is_permitted() {
    let mut before = tpsaa();
    let pending = authorize(&mut before, &["order"], login()).expect("it is pending").id;
    let granted = authorize(&mut before, &["cancel"], grant(&["cancel"], Some(5_000))).expect("it is granted").id;
    settle(&mut before, "shop", &pending, grant(&["order"], None));
    let mut after = replayed(&before);
    for tpsaa in [&mut before, &mut after] {
        assert_eq!(verify(tpsaa, "order").map(|verified| verified.authorization), Ok(pending.clone()));
        assert_eq!(verify(tpsaa, "cancel").map(|verified| verified.authorization), Ok(granted.clone()));
    }
    // A later decision still reaches the metaverse system that asked.
    assert_eq!(to_kind(settle(&mut after, "shop", &pending, denial()), MetaverseSystemMsg::KIND).0.to, METAVERSE);
    assert_eq!(refusal(&mut after, "order"), Some(ProblemKind::PermissionMissing));
    assert_eq!(shown(&after.recovered()), ["Reannounce to Tpsr"]);
}

#[test]
fn a_snapshot_of_each_part_makes_the_same_state() {
    let mut before = tpsaa();
    authorize(&mut before, &["order"], grant(&["order"], None)).expect("it is granted");
    let pending = authorize(&mut before, &["cancel"], login()).expect("it is pending").id;
    settle(&mut before, "shop", &pending, grant(&["cancel"], None));
    let mut after = tpsaa();
    for part in 0..2 {
        let mut records = Vec::new();
        before.behaviour.snapshot(part, &mut records);
        assert_eq!(records.len(), 1, "a part is one authorization");
        records.into_iter().for_each(|record| after.behaviour.replay(record));
    }
    assert!(verify(&mut after, "order").is_ok() && verify(&mut after, "cancel").is_ok());
    assert_eq!(after.behaviour.register.all.next(), before.behaviour.register.all.next());
}

#[test]
fn an_answer_to_no_request_is_ignored() {
    let mut tpsaa = tpsaa();
    let information = UserAndPermissionInformation::Decision(grant(&["*"], None));
    let stray = TpsaaMsg::UserAndPermissionInformation(Ok(information));
    assert!(tpsaa.deliver(THIRD_PARTY, PendingKey::from_bits(77), stray).is_empty());
    assert!(tpsaa.records.is_empty());
}
