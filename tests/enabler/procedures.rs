//! FGMV-29 9.1 and 9.2 from end to end: every step in its order, as the trace recorded it.

use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, sync_channel},
};

use twinway::{
    Enabler,
    actors::runtime::{TraceChunk, TraceFeed},
    enabler::EnablerOptions,
    monitor::Monitor,
    protocol::{ProblemKind, registry::SystemQuery},
    scenarios::flow::embedded,
};

use super::{
    house::{House, home, json, kind, name, rights, shop, values},
    outsiders::{Answering, ada, scope, willing},
    steps::Steps,
};

/// How many chunks of events may wait: more than any test here makes.
const CHUNKS_MAX: usize = 100_000;

struct Recorded {
    house: House,
    chunks: Receiver<TraceChunk>,
    feed: TraceFeed,
}

impl Recorded {
    async fn start() -> Self {
        let (sender, chunks) = sync_channel(CHUNKS_MAX);
        let feed = TraceFeed::new(sender);
        let options = EnablerOptions { trace: Some(feed.clone()), ..EnablerOptions::default() };
        Self { house: House::in_memory(options).await, chunks, feed }
    }

    fn enabler(&self) -> &Enabler {
        &self.house.enabler
    }

    /// Ends the enabler, so that everything is recorded.
    async fn steps(self) -> Steps {
        self.house.enabler.shutdown().await.expect("it ends in order");
        assert_eq!(self.feed.lost()(), 0, "there is room for all events");
        Steps::new(self.chunks.try_iter().flat_map(|chunk| chunk.events))
    }
}

fn assert_judged(steps: &Steps, flow: &str) {
    assert_eq!(steps.wrong(flow), Vec::<String>::new());
}

/// FGMV-29 9.2 steps 1 to 12 for the lamp.
async fn up_to_step_12(enabler: &Enabler) -> Answering {
    let home_system = enabler.dii(name("home"));
    home_system.register(home()).await.expect("it is registered");
    let answering = Answering::twin_system(home_system, willing).await;
    let world = enabler.mii(name("world"));
    let found = world.search_twin_systems(SystemQuery::default()).await.expect("it is understood");
    assert_eq!(found.items.len(), 1);
    let listed = world.list_twins(Some(name("home")), None, None).await.expect("it is known");
    assert_eq!(listed.items.len(), 2);
    world.select_twins(vec![name("lamp")], vec![]).await.expect("it is known");
    world.request_permission(ada(), vec![name("lamp")], rights()).await.expect("it is granted");
    answering
}

/// FGMV-29 9.1 steps 1 to 10.
async fn up_to_step_10(enabler: &Enabler) -> Answering {
    let shop_system = enabler.sii(name("shop"));
    shop_system.register(shop()).await.expect("it is registered");
    let answering = Answering::third_party(shop_system, willing).await;
    let world = enabler.mii(name("world"));
    let found = world.search_third_party_systems(SystemQuery::default()).await.expect("it is understood");
    assert_eq!(found.items.len(), 1);
    world.request_user_authorization(name("shop"), ada(), scope()).await.expect("it is granted");
    answering
}

const UP_TO_STEP_12: [&str; 17] = [
    "1 DigitalTwinSystem → Dtsr RegisterTwinSystem",
    "2 Dtsr own",
    "3 Dtsr → DigitalTwinSystem TwinSystemRegistered",
    "4 MetaverseSystem → Dtsd SearchTwinSystems",
    "5 Dtsd → MetaverseSystem TwinSystemsFound",
    "6 MetaverseSystem → Dtia ListTwins",
    "7 Dtia → MetaverseSystem TwinsListed",
    "6 MetaverseSystem → Dtia SelectTwins",
    "7 Dtia → MetaverseSystem TwinsSelected",
    "8 MetaverseSystem → Dtia RequestTwinPropertiesAndPermission",
    "9 Dtia → DigitalTwinSystem ForwardTwinPropertiesRequest",
    "10 DigitalTwinSystem → Dtia TwinPropertiesAndPermission",
    "10 Dtia → Dtac ManageTwinPermission",
    "11 Dtac own",
    "10 Dtac → Twin AdoptProperties",
    "12 Dtia → MetaverseSystem TwinPropertiesAndPermissionGranted",
    "13 MetaverseSystem own",
];

#[tokio::test]
async fn procedure_9_2_takes_all_its_steps_in_order() {
    let recorded = Recorded::start().await;
    let home = up_to_step_12(recorded.enabler()).await;
    let world = recorded.enabler().mii(name("world"));
    world.run_service(vec![name("lamp")]).await.expect("it runs");
    let system = recorded.enabler().dii(name("home"));
    system.report(name("lamp"), values(&[("on", "false")]), None).await.expect("it is shown");
    world.change_twin(ada(), name("lamp"), values(&[("on", "true")])).await.expect("it is done");
    drop(home);

    let steps = recorded.steps().await;
    let then = [
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
    assert_eq!(steps.sequence("9.2"), [&UP_TO_STEP_12[..], &then[..]].concat());
    assert_judged(&steps, "9.2");
}

#[tokio::test]
async fn procedure_9_2_rejects_an_invalid_change_in_step_17() {
    let recorded = Recorded::start().await;
    let home = up_to_step_12(recorded.enabler()).await;
    let world = recorded.enabler().mii(name("world"));
    world.run_service(vec![name("lamp")]).await.expect("it runs");
    let rejected = world.change_twin(name("bob"), name("lamp"), values(&[("on", "true")])).await;
    assert_eq!(kind(rejected), ProblemKind::PermissionMissing);
    drop(home);

    let steps = recorded.steps().await;
    let then = [
        "15 MetaverseSystem → Dts ChangeTwin",
        "16 Dts → Dtac VerifyChange",
        "16 Dtac → Dts ChangeVerified refused",
        "17 Dts → MetaverseSystem ChangeCompleted refused",
    ];
    assert_eq!(steps.sequence("9.2"), [&UP_TO_STEP_12[..], &then[..]].concat());
    assert_judged(&steps, "9.2");
}

const UP_TO_STEP_13: [&str; 14] = [
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
];

#[tokio::test]
async fn procedure_9_1_takes_all_its_steps_in_order() {
    let recorded = Recorded::start().await;
    let enabler = recorded.enabler();
    enabler.dii(name("home")).register(home()).await.expect("it is registered");
    let answering = up_to_step_10(enabler).await;
    let world = enabler.mii(name("world"));
    world.use_third_party_system(name("shop"), ada(), "order", json("{}")).await.expect("it is done");
    let shop = enabler.sii(name("shop"));
    let properties = BTreeSet::from(["on".to_owned()]);
    shop.acquire(vec![name("lamp")], Some(properties)).await.expect("it may read");
    drop(answering);

    let steps = recorded.steps().await;
    let then = [
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
    assert_eq!(steps.sequence("9.1"), [&UP_TO_STEP_13[..], &then[..]].concat());
    assert_judged(&steps, "9.1");
}

#[tokio::test]
async fn procedure_9_1_rejects_an_invalid_request_in_step_14() {
    let recorded = Recorded::start().await;
    let answering = up_to_step_10(recorded.enabler()).await;
    let world = recorded.enabler().mii(name("world"));
    let rejected = world.use_third_party_system(name("shop"), name("bob"), "order", json("{}")).await;
    assert_eq!(kind(rejected), ProblemKind::PermissionMissing);
    drop(answering);

    let steps = recorded.steps().await;
    let then = ["13 Tpsaa → Sdc UserAuthorizationVerified refused", "14 Sdc → MetaverseSystem ServiceResult refused"];
    let verified = UP_TO_STEP_13.len() - 1;
    assert_eq!(steps.sequence("9.1"), [&UP_TO_STEP_13[..verified], &then[..]].concat());
    assert_judged(&steps, "9.1");
}

/// Sharing data takes the same steps as using a system.
#[tokio::test]
async fn procedure_9_1_shares_data_in_step_12() {
    let recorded = Recorded::start().await;
    let answering = up_to_step_10(recorded.enabler()).await;
    let world = recorded.enabler().mii(name("world"));
    world.share_data(name("shop"), ada(), "taste", json("[1]")).await.expect("it is taken");
    drop(answering);

    let steps = recorded.steps().await;
    let sequence = steps.sequence("9.1");
    assert!(sequence.contains(&"12 MetaverseSystem → Sdc ShareData".to_owned()), "{sequence:?}");
    assert_eq!(sequence.len(), UP_TO_STEP_13.len() + 3);
    assert_judged(&steps, "9.1");
}

/// The monitor judges the same by the same rule while the enabler runs.
#[tokio::test]
async fn a_running_enabler_can_be_watched() {
    let (monitor, feed) = Monitor::begin(embedded()).expect("it begins");
    let house = House::in_memory(EnablerOptions { trace: Some(feed), ..EnablerOptions::default() }).await;
    let home = up_to_step_12(&house.enabler).await;
    drop(home);
    house.enabler.shutdown().await.expect("it ends in order");
    let reports = monitor.finish().expect("it ends");
    let (_, report) = reports.iter().find(|(flow, _)| flow.name() == "9.2").expect("it watches 9.2");
    assert!(report.is_strictly_held(), "{report:?}");
    assert_eq!((report.steps, report.lost_events), (16, 0));
}
