//! FGMV-29 9.1 and 9.2 from separate processes: the digital twin system and the third-party system are examples that
//! run on their own, the metaverse system is the test. What happened is read from the daemon's recorded trace.

use std::collections::BTreeSet;

use serde_json::json;
use twinway::{
    client::{Client, CloudEvent, EventStream, Told},
    outside::{EventsFrom, SystemKind},
    protocol::{
        JsonDoc, SystemId, TwinId, UserId,
        access::{AuthorizationDecision, Right},
        message::PropertyValues,
        registry::SystemQuery,
    },
};

use crate::support::{Daemon, PATIENCE, Process};

/// All deliveries and own steps of 9.1. A step that one entity hands on to the next is one delivery each.
const STEPS_9_1: [&str; 25] = [
    "1 ThirdPartySystem → Tpsr RegisterThirdPartySystem",
    "2 Tpsr own",
    "3 Tpsr → ThirdPartySystem ThirdPartySystemRegistered",
    "4 MetaverseSystem → Tpsd SearchThirdPartySystems",
    "5 Tpsd → MetaverseSystem ThirdPartySystemsFound",
    "6 MetaverseSystem → Tpsaa RequestUserAuthorization",
    "7 Tpsaa → ThirdPartySystem ForwardUserAuthorization",
    "8 ThirdPartySystem → Tpsaa UserAndPermissionInformation",
    "9 Tpsaa own",
    "10 Tpsaa → MetaverseSystem UserAuthorizationDecided",
    "11 MetaverseSystem own",
    "12 MetaverseSystem → Sdc UseThirdPartySystem",
    "13 Sdc → Tpsaa VerifyUserAuthorization",
    "13 Tpsaa → Sdc UserAuthorizationVerified",
    "14 Sdc → ThirdPartySystem ExecuteService",
    "14x ThirdPartySystem → Sdc ServiceExecuted",
    "14x Sdc → MetaverseSystem ServiceResult",
    "15 ThirdPartySystem → Dtda AcquireTwinInformation",
    "16 Dtda → Tsi ForwardAcquisition",
    "17 Tsi → Dtac VerifyAcquisition",
    "17 Dtac → Tsi AcquisitionVerified",
    "17 Tsi → Dtia CollectTwinInformation",
    "17 Dtia → Tsi TwinInformationCollected",
    "18 Tsi → Dtda AcquisitionResponse",
    "19 Dtda → ThirdPartySystem TwinInformation",
];

/// All deliveries and own steps of 9.2. The last `14` tells the change of step 18.
const STEPS_9_2: [&str; 32] = [
    "1 DigitalTwinSystem → Dtsr RegisterTwinSystem",
    "2 Dtsr own",
    "3 Dtsr → DigitalTwinSystem TwinSystemRegistered",
    "4 MetaverseSystem → Dtsd SearchTwinSystems",
    "5 Dtsd → MetaverseSystem TwinSystemsFound",
    "6 MetaverseSystem → Dtia ListTwins",
    "6 MetaverseSystem → Dtia SelectTwins",
    "7 Dtia → MetaverseSystem TwinsListed",
    "7 Dtia → MetaverseSystem TwinsSelected",
    "8 MetaverseSystem → Dtia RequestTwinPropertiesAndPermission",
    "9 Dtia → DigitalTwinSystem ForwardTwinPropertiesRequest",
    "10 DigitalTwinSystem → Dtia TwinPropertiesAndPermission",
    "10 Dtia → Dtac ManageTwinPermission",
    "11 Dtac own",
    "10 Dtac → Twin AdoptProperties",
    "12 Dtia → MetaverseSystem TwinPropertiesAndPermissionGranted",
    "13 MetaverseSystem own",
    "14 PhysicalObject → DigitalTwinSystem PhysicalChange",
    "14 DigitalTwinSystem → Dts PhysicalChange",
    "14 Dts → Twin ReflectChange",
    "14 Twin → MetaverseSystem ReflectChange",
    "15 MetaverseSystem → Dts ChangeTwin",
    "16 Dts → Dtac VerifyChange",
    "16 Dtac → Dts ChangeVerified",
    "17 Dts → Twin ApplyChange",
    "17 Twin → PhysicalObject ApplyChange",
    "17 PhysicalObject → DigitalTwinSystem ApplyChange",
    "18 DigitalTwinSystem → PhysicalObject ChangeApplied",
    "18 PhysicalObject → Twin ChangeApplied",
    "14 Twin → MetaverseSystem ReflectChange",
    "18 Twin → Dts ChangeApplied",
    "18x Dts → MetaverseSystem ChangeCompleted",
];

fn lamp() -> TwinId {
    "lamp".parse().expect("a name")
}

fn user(name: &str) -> UserId {
    name.parse().expect("a name")
}

fn advisor() -> SystemId {
    "advisor".parse().expect("a name")
}

fn on(value: bool) -> PropertyValues {
    PropertyValues::from([("on".to_owned(), JsonDoc::from_value(&value).expect("it is JSON"))])
}

/// The next event of the lamp.
async fn heard(events: &mut EventStream) -> Box<CloudEvent> {
    let next = tokio::time::timeout(PATIENCE, events.next()).await.expect("it comes").expect("the stream stands");
    let Told::Event { event, .. } = next else { panic!("{next:?}") };
    assert_eq!(event.subject.as_deref(), Some("lamp"));
    event
}

/// 9.2 steps 4 to 12.
async fn integrate_the_lamp(plaza: &Client) {
    let query = SystemQuery { system_type: Some("home".to_owned()), ..SystemQuery::default() };
    let found = plaza.search_twin_systems(&query).await.expect("it is searched").items;
    let [listing] = found.as_slice() else { panic!("{found:?}") };
    let listed = plaza.list_twins(Some(&listing.system.id), None, None).await.expect("they are listed");
    assert_eq!(listed.items.iter().map(|twin| &twin.id).collect::<Vec<_>>(), [&lamp()]);
    assert_eq!(plaza.select_twins(&[lamp()], &[]).await.expect("it is selected"), [lamp()]);
    let rights = BTreeSet::from([Right::Read, Right::Change]);
    let granted = plaza.request_permission(&user("ana"), &[lamp()], &rights).await.expect("it is granted");
    assert_eq!((granted.permissions.len(), granted.refused.len()), (1, 0));
}

/// 9.2 steps 13 to 18x.
async fn live_with_the_lamp(plaza: &Client, home: &mut Process) {
    let mut events = plaza.events(SystemKind::Metaverse, EventsFrom::Now).await.expect("it listens");
    plaza.run_service(&[lamp()]).await.expect("it runs");
    home.type_line();
    let shown: serde_json::Value = heard(&mut events).await.data.read().expect("it is JSON");
    assert_eq!(shown["values"], json!({"on": true}));
    let now = plaza.change_twin(&user("ana"), &lamp(), &on(false)).await.expect("ana may");
    assert_eq!(now, on(false));
    let shown: serde_json::Value = heard(&mut events).await.data.read().expect("it is JSON");
    assert_eq!(shown["values"], json!({"on": false}));
}

#[tokio::test]
async fn a_twin_system_is_integrated_in_the_18_steps_of_9_2() {
    let daemon = Daemon::start("");
    let mut home = daemon.join("twin_system", "home");
    let plaza = daemon.client("plaza");
    integrate_the_lamp(&plaza).await;
    live_with_the_lamp(&plaza, &mut home).await;
    home.hang_up();
    let trace = daemon.end();
    assert_eq!(trace.steps("9.2"), STEPS_9_2);
    assert_eq!(trace.wrong("9.2"), [""; 0]);
    assert_eq!(trace.steps("9.1"), [""; 0]);
}

#[tokio::test]
async fn a_third_party_system_is_integrated_in_the_19_steps_of_9_1() {
    let daemon = Daemon::start("");
    // Steps 15 to 19 are about a twin, so there is one.
    let home = daemon.join("twin_system", "home");
    let third_party = daemon.join("third_party", "advisor");
    let plaza = daemon.client("plaza");
    let query = SystemQuery { operation: Some("advise".to_owned()), ..SystemQuery::default() };
    let found = plaza.search_third_party_systems(&query).await.expect("it is searched").items;
    assert_eq!(found.iter().map(|listing| &listing.system.id).collect::<Vec<_>>(), [&advisor()]);
    let scope = BTreeSet::from(["advise".to_owned()]);
    let asked = plaza.request_user_authorization(&advisor(), &user("ana"), &scope).await.expect("it is decided");
    assert!(matches!(asked.decision, AuthorizationDecision::Granted(_)), "{asked:?}");
    let input = JsonDoc::from_value("lamp").expect("it is JSON");
    let output = plaza.use_third_party_system(&advisor(), &user("ana"), "advise", &input).await.expect("ana may");
    assert_eq!(output.as_str(), "\"leave it off\"");
    third_party.hang_up();
    home.hang_up();
    let trace = daemon.end();
    assert_eq!(trace.steps("9.1"), STEPS_9_1);
    assert_eq!(trace.wrong("9.1"), [""; 0]);
    assert_eq!(trace.steps("9.2"), STEPS_9_2[..3]);
}

/// FGMV-29 9.2 step 17, the rejecting branch.
#[tokio::test]
async fn a_change_without_permission_is_rejected_in_step_17_and_the_object_is_left_alone() {
    let daemon = Daemon::start("");
    let home = daemon.join("twin_system", "home");
    let change = json!({"on": true}).to_string();
    let path = "/mii/v1/twins/lamp/properties?user=guest";
    let answer = daemon.send("plaza", reqwest::Method::PATCH, path, change).await;
    let document = daemon.problem(answer, 403, "permission-missing").await;
    assert_eq!(document["instance"], "/mii/v1/twins/lamp/properties");
    home.hang_up();
    let trace = daemon.end();
    let expected = [
        &STEPS_9_2[..3],
        &["15 MetaverseSystem → Dts ChangeTwin", "16 Dts → Dtac VerifyChange", "16 Dtac → Dts ChangeVerified refused"],
        &["17 Dts → MetaverseSystem ChangeCompleted refused"],
    ];
    assert_eq!(trace.steps("9.2"), expected.concat());
    assert_eq!(trace.wrong("9.2"), [""; 0]);
}

/// FGMV-29 9.1 step 14, the rejecting branch.
#[tokio::test]
async fn a_service_without_authorization_is_rejected_in_step_14_and_the_third_party_is_not_asked() {
    let daemon = Daemon::start("");
    let third_party = daemon.join("third_party", "advisor");
    let call = json!({"system": "advisor", "user": "guest", "operation": "advise", "input": "lamp"});
    let answer = daemon.post("plaza", "/mii/v1/service-calls", &call).await;
    let document = daemon.problem(answer, 403, "permission-missing").await;
    assert_eq!(document["instance"], "/mii/v1/service-calls");
    third_party.hang_up();
    let trace = daemon.end();
    let expected = [
        &STEPS_9_1[..3],
        &["11 MetaverseSystem own", "12 MetaverseSystem → Sdc UseThirdPartySystem"],
        &["13 Sdc → Tpsaa VerifyUserAuthorization", "13 Tpsaa → Sdc UserAuthorizationVerified refused"],
        &["14 Sdc → MetaverseSystem ServiceResult refused"],
    ];
    assert_eq!(trace.steps("9.1"), expected.concat());
    assert_eq!(trace.wrong("9.1"), [""; 0]);
}
