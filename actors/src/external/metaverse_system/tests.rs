//! A metaverse system's part in FGMV-29 9.1 and 9.2.

use std::sync::Arc;

use twinway_protocol::{
    Answers, Ask, Behaviour, Effect, EntityId, Mailbox, PendingKey, PermissionId, Problem, ProblemKind, Ref, Step,
    TwinId, UserId,
    access::{AuthorizationDecision, UserAuthorization},
    message::*,
    registry::{Page, SystemQuery},
    signal::{Event, Signal},
    time::Timestamp,
};

use super::MetaverseSystem;
use crate::{
    Settings,
    sif::testing::{CALLER, METAVERSE, answer, json, key, shown, system_id, to_kind},
    trial::Trial,
};

const DEVICE: EntityId = EntityId::new(UserDeviceMsg::KIND, 0, 4);

fn new() -> Trial<MetaverseSystem> {
    Trial::new(METAVERSE, &Settings::default())
}

/// The actor of the plaza, with Ada's device.
fn plaza() -> Trial<MetaverseSystem> {
    let mut plaza = new();
    let effects = plaza.deliver(CALLER, key(1), OpenSystem { id: system_id("plaza"), reach: None });
    assert_eq!(shown(&effects), ["signal", "Kept to Caller"]);
    let effects = attach(&mut plaza, DEVICE);
    assert_eq!(shown(&effects), ["UserDeviceAttached to UserDevice"]);
    plaza
}

fn attach(plaza: &mut Trial<MetaverseSystem>, device: EntityId) -> Vec<Effect<Wire>> {
    let question = AttachUserDevice { metaverse: Ref::new(METAVERSE), device: Ref::new(device), user: ada() };
    plaza.deliver(device, key(2), question)
}

fn ada() -> UserId {
    UserId::new("ada").expect("it is a name")
}

fn twin(id: &str) -> TwinId {
    TwinId::new(id).expect("it is a name")
}

/// `question` of a caller goes where `expected` says, and `reply` comes back once.
fn passes<T, A>(plaza: &mut Trial<MetaverseSystem>, question: T, expected: &[&str], reply: A)
where
    T: Ask<Answer = A>,
    A: Answers<Wire> + Clone,
    MetaverseSystemMsg: From<T> + From<Result<A, Problem>>,
{
    let effects = plaza.deliver(CALLER, key(3), question);
    assert_eq!(shown(&effects), expected);
    let asked = crate::trial::sent(effects).pop().expect("it is passed on").0;
    // What answers another question is no answer to this one.
    let stray: MetaverseSystemMsg = if A::NAME == ChangeCompleted::NAME {
        Ok::<_, Problem>(TwinMessageSent).into()
    } else {
        Ok::<_, Problem>(ChangeCompleted { values: Box::default() }).into()
    };
    assert!(plaza.deliver(asked.to, asked.pending, stray).is_empty());
    let effects = plaza.deliver(asked.to, asked.pending, Ok::<A, Problem>(reply.clone()));
    assert!(answer::<A>(effects, CALLER, key(3)).is_some_and(|answer| answer.is_ok()), "{} comes back", A::NAME);
    assert!(plaza.deliver(asked.to, asked.pending, Ok::<A, Problem>(reply)).is_empty(), "{} comes once", A::NAME);
}

fn authorization(decision: AuthorizationDecision) -> Box<UserAuthorization> {
    Box::new(UserAuthorization {
        id: PermissionId::new("auth-1").expect("it is a name"),
        metaverse: system_id("plaza"),
        user: ada(),
        system: system_id("shop"),
        decision,
    })
}

fn request_authorization() -> RequestUserAuthorization {
    RequestUserAuthorization {
        system: system_id("shop"),
        metaverse: system_id("plaza"),
        user: ada(),
        scope: Arc::default(),
    }
}

fn use_shop() -> UseThirdPartySystem {
    UseThirdPartySystem {
        system: system_id("shop"),
        metaverse: system_id("plaza"),
        user: ada(),
        operation: "order".into(),
        input: json("{}"),
    }
}

#[test]
fn what_it_asks_of_third_party_systems_is_passed_on_and_answered() {
    let mut plaza = plaza();
    let plaza = &mut plaza;
    let search = SearchThirdPartySystems { query: Box::new(SystemQuery::default()) };
    let page = Page { items: Vec::new(), next: None };
    passes(plaza, search, &["9.1/4 SearchThirdPartySystems to Tpsd"], ThirdPartySystemsFound { page });
    let denied = || authorization(AuthorizationDecision::Denied("no".to_owned()));
    let decided = || UserAuthorizationDecided { authorization: denied() };
    passes(plaza, request_authorization(), &["9.1/6 RequestUserAuthorization to Tpsaa"], decided());
    let read = ReadUserAuthorization { metaverse: system_id("plaza"), authorization: denied().id };
    passes(plaza, read, &["ReadUserAuthorization to Tpsaa"], decided());
    let result = || ServiceResult { output: json("1") };
    passes(plaza, use_shop(), &["9.1/11 own", "9.1/12 UseThirdPartySystem to Sdc"], result());
    let share = ShareData {
        system: system_id("shop"),
        metaverse: system_id("plaza"),
        user: ada(),
        topic: "taste".into(),
        data: json("{}"),
    };
    passes(plaza, share, &["9.1/11 own", "9.1/12 ShareData to Sdc"], result());
}

#[test]
fn what_it_asks_of_twins_is_passed_on_and_answered() {
    let mut plaza = plaza();
    let plaza = &mut plaza;
    let metaverse = || system_id("plaza");
    let search = SearchTwinSystems { query: Box::new(SystemQuery::default()) };
    let found = TwinSystemsFound { page: Page { items: Vec::new(), next: None } };
    passes(plaza, search, &["9.2/4 SearchTwinSystems to Dtsd"], found);
    let list = ListTwins { metaverse: metaverse(), query: Box::default() };
    let listed = TwinsListed { page: Page { items: Vec::new(), next: None } };
    passes(plaza, list, &["9.2/6 ListTwins to Dtia"], listed);
    passes(plaza, select(CALLER), &["9.2/6 SelectTwins to Dtia"], TwinsSelected { selected: Vec::new() });
    let request = RequestTwinPropertiesAndPermission {
        metaverse: metaverse(),
        user: ada(),
        twins: [twin("lamp")].into(),
        rights: Arc::default(),
    };
    let granted =
        TwinPropertiesAndPermissionGranted { permissions: Vec::new(), twins: Vec::new(), refused: Vec::new() };
    passes(plaza, request, &["9.2/8 RequestTwinPropertiesAndPermission to Dtia"], granted);
    let change = ChangeTwin {
        metaverse: metaverse(),
        user: ada(),
        twin: twin("lamp"),
        values: Arc::default(),
        token: None,
        terms: ChangeTerms::default(),
    };
    passes(plaza, change, &["9.2/15 ChangeTwin to Dts"], ChangeCompleted { values: Box::default() });
    let say = SendTwinMessage {
        metaverse: metaverse(),
        user: ada(),
        from: twin("avatar"),
        to: twin("lamp"),
        content: json("\"hi\""),
    };
    passes(plaza, say, &["SendTwinMessage to Dtac"], TwinMessageSent);
}

fn select(metaverse_entity: EntityId) -> SelectTwins {
    SelectTwins {
        metaverse: system_id("plaza"),
        metaverse_entity: Ref::new(metaverse_entity),
        twins: [twin("lamp")].into(),
        release: [].into(),
        period_ms: None,
    }
}

#[test]
fn changes_of_the_twins_that_it_selects_come_to_itself() {
    let (_, wire) = to_kind(plaza().deliver(CALLER, key(3), select(CALLER)), DtiaMsg::KIND);
    let Wire::Dtia(DtiaMsg::SelectTwins(question)) = wire else { panic!("it selects") };
    assert_eq!(question.metaverse_entity.id(), METAVERSE);
}

#[test]
fn a_rejection_comes_back_as_the_step_that_it_is() {
    let mut plaza = plaza();
    let effects = plaza.deliver(CALLER, key(3), use_shop());
    let asked = to_kind(effects, SdcMsg::KIND).0;
    let missing = Problem::new(ProblemKind::PermissionMissing, "ask first");
    let effects = plaza.deliver(asked.to, asked.pending, MetaverseSystemMsg::ServiceResult(Err(missing.clone())));
    assert_eq!(shown(&effects), ["9.1/14 ServiceResult refused to Caller"]);
    assert_eq!(answer::<ServiceResult>(effects, CALLER, key(3)).and_then(Result::err), Some(missing));
}

#[test]
fn a_service_runs_and_a_full_table_runs_none() {
    let mut plaza = plaza();
    let effects = plaza.deliver(CALLER, key(3), RunService { twins: [].into() });
    assert_eq!(shown(&effects), ["9.2/13 own", "ServiceRunning to Caller"]);
    let mut full =
        Trial::<MetaverseSystem>::new(METAVERSE, &Settings { pending_questions_max: 1, ..Settings::default() });
    full.deliver(CALLER, key(3), use_shop());
    let effects = full.deliver(CALLER, key(4), use_shop());
    assert_eq!(shown(&effects).len(), 1, "step 11 is not taken: {effects:?}");
    let refused = answer::<ServiceResult>(effects, CALLER, key(4)).and_then(Result::err);
    assert_eq!(refused.map(|problem| problem.kind), Some(ProblemKind::LimitReached));
}

fn event(effects: &[Effect<Wire>]) -> Arc<Event> {
    let told = effects.iter().find_map(|effect| match effect {
        Effect::Signal(Signal::Event { entity, event }) => {
            assert_eq!(*entity, METAVERSE);
            Some(Arc::clone(event))
        }
        _ => None,
    });
    told.expect("an event is told")
}

#[test]
fn changes_messages_and_decisions_are_told_to_the_system() {
    let mut plaza = plaza();
    let change = ReflectChange {
        twin: twin("lamp"),
        values: Arc::new([("on".to_owned(), json("true"))].into()),
        at: Timestamp::from_unix_ms(500),
        version: 3,
        reporter: None,
    };
    let told = event(&plaza.deliver(DEVICE, PendingKey::NONE, change));
    assert_eq!((told.kind, told.subject.as_str(), &told.twin), ("twin.changed", "lamp", &Some(twin("lamp"))));
    assert_eq!(told.data.as_str(), r#"{"values":{"on":true},"version":3,"at":"1970-01-01T00:00:00.500Z"}"#);
    assert_eq!(told.at, Timestamp::from_unix_ms(500));

    let said = TwinMessage { from: twin("avatar"), to: twin("lamp"), user: ada(), content: json("\"hi\"") };
    let told = event(&plaza.deliver(DEVICE, PendingKey::NONE, said));
    assert_eq!((told.kind, told.subject.as_str(), &told.twin), ("twin.message", "lamp", &Some(twin("lamp"))));
    assert_eq!(told.data.as_str(), r#"{"from":"avatar","to":"lamp","user":"ada","content":"hi"}"#);

    let settled = UserAuthorizationSettled { authorization: authorization(AuthorizationDecision::Denied("no".into())) };
    let effects = plaza.deliver(DEVICE, PendingKey::NONE, settled);
    assert_eq!(effects.len(), 1, "nobody has to log in");
    let told = event(&effects);
    assert_eq!((told.kind, told.subject.as_str(), &told.twin), ("authorization.decided", "auth-1", &None));
    assert_eq!(told.data.read::<UserAuthorization>().expect("it reads back").user, ada());
}

/// What the asker and Ada's device hear when Ada has to log in.
fn login_required(plaza: &mut Trial<MetaverseSystem>) -> Vec<Effect<Wire>> {
    let effects = plaza.deliver(CALLER, key(3), request_authorization());
    let asked = to_kind(effects, TpsaaMsg::KIND).0;
    let pending = authorization(AuthorizationDecision::Pending("https://shop.example/login".to_owned()));
    let decided = UserAuthorizationDecided { authorization: pending };
    plaza.deliver(asked.to, asked.pending, MetaverseSystemMsg::UserAuthorizationDecided(Ok(decided)))
}

#[test]
fn a_person_who_has_to_log_in_is_told_on_their_device() {
    let mut plaza = plaza();
    let effects = login_required(&mut plaza);
    assert_eq!(shown(&effects), ["NotifyUser to UserDevice", "9.1/10 UserAuthorizationDecided to Caller"]);
    let (meta, wire) = to_kind(effects, UserDeviceMsg::KIND);
    let Wire::UserDevice(UserDeviceMsg::NotifyUser(notice)) = wire else { panic!("it is a notice") };
    assert_eq!((meta.to, notice.event), (DEVICE, "login.required"));
    assert_eq!(
        notice.data.as_str(),
        r#"{"authorization":"auth-1","system":"shop","login":"https://shop.example/login"}"#
    );
    // Without a device only the metaverse system can tell the person.
    assert_eq!(shown(&login_required(&mut new())), ["9.1/10 UserAuthorizationDecided to Caller"]);
}

#[test]
fn a_user_is_told_what_the_metaverse_system_says_on_their_device() {
    let tell = || TellUser { user: ada(), data: json(r#"{"guest": true}"#) };
    let effects = plaza().deliver(CALLER, key(4), tell());
    assert_eq!(shown(&effects), ["NotifyUser to UserDevice", "Kept to Caller"]);
    let (meta, wire) = to_kind(effects, UserDeviceMsg::KIND);
    let Wire::UserDevice(UserDeviceMsg::NotifyUser(notice)) = wire else { panic!("it is a notice") };
    assert_eq!((meta.to, notice.event, notice.data.as_str()), (DEVICE, "user.notified", r#"{"guest": true}"#));
    // Without a device nobody is told, and the metaverse system hears that.
    let refused = answer::<Kept>(new().deliver(CALLER, key(4), tell()), CALLER, key(4)).expect("it is answered");
    assert_eq!(refused.expect_err("there is no device").kind, ProblemKind::OutsideUnreachable);
}

#[test]
fn after_a_restart_name_and_devices_are_as_before() {
    let mut before = plaza();
    let newer = EntityId::new(UserDeviceMsg::KIND, 0, 5);
    attach(&mut before, newer);
    let records = before.records.len();
    attach(&mut before, newer);
    assert_eq!(before.records.len(), records, "attaching again writes nothing");
    let mut after = new();
    for record in &before.records {
        let bytes = crate::codec::encode(record).expect("a record can be written");
        after.behaviour.replay(crate::codec::decode(&bytes).expect("and read"));
    }
    let mut snapshot = Vec::new();
    after.behaviour.snapshot(0, &mut snapshot);
    assert_eq!(snapshot.len(), 2, "a device that was replaced is gone");
    let mut again = new();
    snapshot.into_iter().for_each(|record| again.behaviour.replay(record));
    for plaza in [&mut after, &mut again] {
        assert_eq!(shown(&plaza.recovered()), ["signal"]);
        assert_eq!(to_kind(login_required(plaza), UserDeviceMsg::KIND).0.to, newer);
        let effects = plaza.deliver(CALLER, key(1), OpenSystem { id: system_id("arena"), reach: None });
        let refused = answer::<Kept>(effects, CALLER, key(1)).and_then(Result::err);
        assert_eq!(refused.map(|problem| problem.kind), Some(ProblemKind::NotAllowed));
    }
}
