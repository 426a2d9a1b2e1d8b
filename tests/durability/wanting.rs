//! What is wanted of twins, and who watches them, when the daemon is killed meanwhile (FGMV-29 8.3.4).

use std::time::Duration;

use serde_json::json;
use twinway::{
    client::{Client, EventStream, Incoming, Session, Told},
    outside::{EventsFrom, SystemKind, WatchQuery},
    protocol::{
        InvocationId, JsonDoc, TwinId, UserId,
        access::Right,
        message::{
            ActionReport, ActionStopping, ChangeTerms, DeviceFenced, OutsideAnswer, OutsideRequest, PermissionGrant,
            PropertyValues, WhatToDo,
        },
        registry::TwinSystemDescription,
        twin::InvocationState,
    },
};

use super::{
    daemon::{Daemon, Place, runtime},
    kill::STRICT,
    world::{number, system, user, values},
};

/// A property of the arm.
const SPEED: &str = "speed";

fn arm() -> TwinId {
    "arm".parse().expect("it is a name")
}

fn ada() -> UserId {
    user("ada")
}

fn cell() -> TwinSystemDescription {
    let forms = json!([{ "href": "/it" }]);
    let text = json!({ "id": "home", "type": "cell", "title": "A cell", "twins": [{
        "id": "arm", "physicalObject": "urn:arm", "description": {
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Arm",
            "securityDefinitions": { "none": { "scheme": "nosec" } }, "security": "none",
            "properties": { SPEED: { "type": "number", "forms": forms } },
            "actions": { "fetch": { "forms": forms } },
        },
    }] });
    serde_json::from_str(&text.to_string()).expect("it is a description")
}

/// The cell is registered, the plaza has selected the arm, and ada may change it.
async fn settled(place: &Place) -> Daemon {
    let daemon = place.start();
    let home = daemon.client("home");
    home.register_twin_system(&cell()).await.expect("it registers");
    daemon.client("plaza").select_twins(&[arm()], &[]).await.expect("it is selected");
    let rights = [Right::Read, Right::Change].into();
    let grant = PermissionGrant { metaverse: system("plaza"), user: ada(), rights, expires_at: None, role: None };
    home.grant_permission(&arm(), &grant).await.expect("it is permitted");
    daemon
}

async fn at_work(daemon: &Daemon) -> Session {
    daemon.client("home").session(SystemKind::DigitalTwin).await.expect("it opens")
}

/// The next thing that the device of the arm is asked, fences apart: those it answers.
async fn asked(session: &mut Session) -> (String, OutsideRequest) {
    loop {
        if let Incoming::Request { id, body } = session.next().await {
            match *body {
                OutsideRequest::FenceDevice(_) => {
                    let fenced = OutsideAnswer::FenceDevice(DeviceFenced::default());
                    session.answer(&id, &fenced).await.expect("it is heard");
                }
                other => return (id, other),
            }
        }
    }
}

async fn watch(client: &Client, from: EventsFrom) -> EventStream {
    client.watch(SystemKind::Metaverse, from, &WatchQuery::default()).await.expect("it opens")
}

fn kind(event_type: &str) -> &str {
    event_type.strip_prefix("io.twinway.").unwrap_or(event_type)
}

/// The types of the events up to the first of `last`, which is among them.
async fn told_until(stream: &mut EventStream, last: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    loop {
        if let Told::Event { event, .. } = stream.next().await.expect("the stream stands") {
            kinds.push(kind(&event.event_type).to_owned());
            if kind(&event.event_type) == last {
                return kinds;
            }
        }
    }
}

fn how(state: InvocationState, progress: Option<u8>) -> ActionReport {
    ActionReport { state, progress, detail: None, output: None }
}

async fn invoked(daemon: &Daemon, session: &mut Session) -> InvocationId {
    let plaza = daemon.client("plaza");
    let what = WhatToDo { action: "fetch".to_owned(), input: None };
    let terms = ChangeTerms { expects: None, within_ms: Some(120_000) };
    let invoke = async {
        let invocation = plaza.invoke_action(&ada(), &arm(), &what, None, terms).await;
        invocation.expect("it is on its way").id
    };
    let (id, (_, request)) = tokio::join!(invoke, asked(session));
    let OutsideRequest::InvokeAction(order) = request else { panic!("{request:?}") };
    assert_eq!(order.0.invocation, id);
    id
}

#[test]
fn an_action_outlives_a_kill_with_its_progress_its_cancellation_and_one_end() {
    let place = Place::new(STRICT);
    runtime().block_on(async {
        let mut daemon = settled(&place).await;
        let mut session = at_work(&daemon).await;
        let id = invoked(&daemon, &mut session).await;
        let running = how(InvocationState::Running, Some(40));
        daemon.client("home").report_action(&arm(), &id, &running).await.expect("it is shown");
        daemon.kill();

        daemon = place.start();
        let mut session = at_work(&daemon).await;
        let (plaza, home) = (daemon.client("plaza"), daemon.client("home"));
        let mut stream = watch(&plaza, EventsFrom::Now).await;
        let found = plaza.invocation(&arm(), &id).await.expect("it is known");
        assert!(!found.state.is_end(), "{found:?}");
        home.report_action(&arm(), &id, &how(InvocationState::Running, Some(60))).await.expect("it goes on");
        assert_eq!(plaza.invocation(&arm(), &id).await.expect("it is known").progress, Some(60));
        let user = ada();
        let twin = arm();
        let cancel = plaza.cancel_action(&user, &twin, &id);
        let device = async {
            let (request, body) = asked(&mut session).await;
            assert!(matches!(&body, OutsideRequest::CancelAction(stop) if stop.invocation == id), "{body:?}");
            session.answer(&request, &OutsideAnswer::CancelAction(ActionStopping {})).await.expect("it is heard");
        };
        let (cancelled, ()) = tokio::join!(cancel, device);
        cancelled.expect("it is tried");
        // The device says twice how it ended; what it says later changes nothing.
        for state in [InvocationState::Cancelled, InvocationState::Cancelled, InvocationState::Completed] {
            home.report_action(&arm(), &id, &how(state, None)).await.expect("it is taken");
        }
        home.report_change(&arm(), &values(SPEED, 1), None).await.expect("it is shown");
        let told = told_until(&mut stream, "twin.changed").await;
        assert_eq!(told, ["action.progress", "action.ended", "twin.changed"], "it is told once");
        daemon.kill();

        daemon = place.start();
        let plaza = daemon.client("plaza");
        let mut stream = watch(&plaza, EventsFrom::Now).await;
        let found = plaza.invocation(&arm(), &id).await.expect("it is known");
        assert_eq!(found.state, InvocationState::Cancelled);
        let home = daemon.client("home");
        home.report_action(&arm(), &id, &how(InvocationState::Completed, None)).await.expect("it is taken");
        home.report_change(&arm(), &values(SPEED, 2), None).await.expect("it is shown");
        assert_eq!(told_until(&mut stream, "twin.changed").await, ["twin.changed"], "its end is not told again");
    });
}

#[test]
fn a_change_whose_deadline_passed_while_the_daemon_was_down_never_reaches_the_device() {
    let place = Place::new(STRICT);
    runtime().block_on(async {
        let mut daemon = settled(&place).await;
        let mut session = at_work(&daemon).await;
        let plaza = daemon.client("plaza");
        let open = async {
            let terms = ChangeTerms { expects: None, within_ms: Some(1_000) };
            plaza.change_twin_on(&ada(), &arm(), &values(SPEED, 7), None, terms).await
        };
        let killed = async {
            let (_, request) = asked(&mut session).await;
            let OutsideRequest::ApplyChange(change) = &request else { panic!("{request:?}") };
            // The device has not acted on it, and has no connection any more.
            daemon.kill();
            change.not_after.expect("a change of an object ends")
        };
        let (failed, not_after) = tokio::join!(open, killed);
        failed.expect_err("nobody knows what became of it");
        while twinway::protocol::time::Timestamp::from_unix_ms(now_ms()) <= not_after {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }

        daemon = place.start();
        let mut session = at_work(&daemon).await;
        let plaza = daemon.client("plaza");
        let view = plaza.twin(&arm()).await.expect("it is there");
        assert_eq!((view.desired, view.properties.get(SPEED)), (None, None));
        // What comes next is what is asked for next: the window does not open ten minutes later on the motorway.
        let (twin, user, wanted) = (arm(), ada(), values(SPEED, 3));
        let change = plaza.change_twin_on(&user, &twin, &wanted, None, ChangeTerms::default());
        let device = async {
            let (id, request) = asked(&mut session).await;
            let OutsideRequest::ApplyChange(change) = request else { panic!("{request:?}") };
            assert_eq!(change.values[SPEED], number(3));
            let applied = twinway::protocol::message::ChangeApplied {
                values: Box::new(PropertyValues::clone(&change.values)),
                seen: None,
            };
            session.answer(&id, &OutsideAnswer::ApplyChange(applied)).await.expect("it is heard");
        };
        let (changed, ()) = tokio::join!(change, device);
        assert_eq!(changed.expect("it is done")[SPEED], number(3));
        // Nor does it come after that.
        let (again, (id, request)) = tokio::join!(async { plaza.refresh_twin(&user, &twin).await }, async {
            let (id, request) = asked(&mut session).await;
            let read = twinway::protocol::message::TwinPropertiesRead { values: values(SPEED, 3) };
            session.answer(&id, &OutsideAnswer::ReadProperties(read)).await.expect("it is heard");
            (id, request)
        });
        assert!(matches!(request, OutsideRequest::ReadProperties(_)), "{id} {request:?}");
        again.expect("it is read");
    });
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is later than 1970");
    u64::try_from(since.as_millis()).expect("it fits")
}

/// What a stream tells next: the version of a change, or a gap as JSON.
async fn version(stream: &mut EventStream) -> (u64, serde_json::Value) {
    match stream.next().await.expect("the stream stands") {
        Told::Event { number, event } => {
            (number, event.data.read::<serde_json::Value>().expect("it is JSON")["version"].clone())
        }
        Told::Gap(gap) => (0, json!(gap)),
    }
}

#[test]
fn a_watch_that_is_resumed_after_a_kill_says_up_to_which_version_it_missed_what_it_has_not_seen() {
    let place = Place::new(STRICT);
    runtime().block_on(async {
        let mut daemon = settled(&place).await;
        let (plaza, home) = (daemon.client("plaza"), daemon.client("home"));
        let mut stream = watch(&plaza, EventsFrom::Now).await;
        for value in 1..=5 {
            home.report_change(&arm(), &values(SPEED, value), None).await.expect("it is shown");
        }
        let (mut seen, mut last) = (0, JsonDoc::null().as_str().into());
        for _ in 0..3 {
            (seen, last) = version(&mut stream).await;
        }
        assert_eq!(last, json!(3));
        drop(stream);
        daemon.kill();

        daemon = place.start();
        let (plaza, home) = (daemon.client("plaza"), daemon.client("home"));
        // Before anything happens, and after: what is told behind the gap is not in it.
        for (value, behind) in [(6, None), (7, Some(6))] {
            let mut stream = watch(&plaza, EventsFrom::After(seen)).await;
            let (_, gap) = version(&mut stream).await;
            assert_eq!(gap, json!({"missed": 0, "twins": [{"twin": "arm", "missed": 0, "lastVersion": 5}]}));
            if let Some(behind) = behind {
                assert_eq!(version(&mut stream).await.1, json!(behind));
            }
            home.report_change(&arm(), &values(SPEED, value), None).await.expect("it is shown");
            assert_eq!(version(&mut stream).await.1, json!(value));
        }
        // What versions 4 and 5 were is in the history, as far as the last moments before the kill were written; what
        // was not is told there by its versions.
        let page = plaza.twin_history(&arm(), &Default::default()).await.expect("it is read");
        let known: u64 = page.items.iter().map(|item| item.missed.map_or(1, |missed| missed.missed)).sum();
        assert_eq!(known, 7, "{:?}", page.items);
    });
}
