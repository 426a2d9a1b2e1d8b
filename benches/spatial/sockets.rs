//! 200 robots tell where they are 50 times a second, over the WebSocket session of their twin system, and the metaverse
//! system hears over its own where the map has them (FGMV-28 7.3.2).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{ClientRequestBuilder, Message},
};
use twinway::{
    Enabler,
    actors::port::journal::Journal,
    enabler::EnablerOptions,
    gateway::{GatewayConfig, GatewayOptions, NoHost, Principal, Principals, Role, serve},
    journal::{DataDirectory, SqliteJournal, SqliteOptions},
    outside::{Outgoing, OutsideLimits},
    protocol::{
        TwinId,
        access::Right,
        message::{OutsideAnswer, OutsideRequest, TwinGrant, TwinPropertiesAndPermission},
        spatial::{Bounds, Point, WatchDocument},
    },
};

const ROBOTS: u32 = 200;
const PERIOD: Duration = Duration::from_millis(20);

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn open(address: std::net::SocketAddr, path: &str, token: &str) -> Socket {
    let request = ClientRequestBuilder::new(format!("ws://{address}{path}").parse().expect("a URI"))
        .with_header("Authorization", format!("Bearer {token}"))
        .with_sub_protocol("twinway.v1.json");
    connect_async(request).await.expect("it opens").0
}

fn robots() -> Value {
    let twin = |number: u32| {
        json!({"id": format!("robot-{number}"), "physicalObject": format!("urn:robot:{number}"), "description": {
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Robot",
            "securityDefinitions": {"nosec_sc": {"scheme": "nosec"}}, "security": "nosec_sc",
            "properties": {"pose": {"type": "object", "forms": [{"href": "/pose"}]}},
        }})
    };
    json!({"id": "plant", "type": "factory", "title": "A plant", "twins": (0..ROBOTS).map(twin).collect::<Vec<_>>()})
}

/// Everything before the first location: twins, map, permission, watch.
async fn prepare(enabler: &Enabler) {
    let id = |text: &str| text.parse().expect("a name");
    let (mii, dii) = (enabler.mii(id("plaza")), enabler.dii(id("plant")));
    let description = serde_json::from_value(robots()).expect("a description");
    dii.register(description).await.expect("it is registered");
    let twins: Vec<twinway::protocol::TwinId> =
        (0..ROBOTS).map(|number| format!("robot-{number}").parse().expect("a name")).collect();
    mii.select_twins(twins.clone(), Vec::new()).await.expect("they are selected");
    let map: twinway::protocol::MapId = "factory".parse().expect("a name");
    mii.define_map(map.clone(), super::definition()).await.expect("it is defined");
    let entries = twins.iter().map(|twin| {
        let mut entry = super::entry(twin.into(), Point::new(0.0, 0.0, 0.0));
        entry.twin = Some(twin.clone());
        entry
    });
    mii.put_map_entries(map.clone(), entries.collect()).await.expect("they stand");
    let (min, max) = (Point::new(-1e4, -1e4, -1e4), Point::new(1e4, 1e4, 1e4));
    mii.watch_map(map.clone(), WatchDocument { bounds: Bounds { min, max }, user: None }).await.expect("it watches");
    let user: twinway::protocol::UserId = "ada".parse().expect("a name");
    mii.request_permission(user, twins.clone(), BTreeSet::from([Right::Read])).await.expect("it is granted");
    let device = enabler.device("ada".parse().expect("a name"));
    device.attach(&id("plaza")).await.expect("it is attached");
    let (plant, plaza) = (id("plant"), id("plaza"));
    for twin in twins {
        device.authorize_location(&plant, &plaza, map.clone(), twin, "pose").await.expect("the user may");
    }
}

pub(crate) fn run(seconds: u64) {
    actix_web::rt::System::new().block_on(measure(seconds));
}

async fn measure(seconds: u64) {
    let place = tempfile::tempdir().expect("there is room");
    let directory = Arc::new(DataDirectory::open(place.path()).expect("it opens"));
    let journal: Arc<dyn Journal> =
        Arc::new(SqliteJournal::open(directory, &SqliteOptions::default()).expect("it opens"));
    let outside = OutsideLimits { events_kept_max: 100_000, ..OutsideLimits::default() };
    let options = EnablerOptions { outside, ..EnablerOptions::default() };
    let enabler = Enabler::start(options, journal).await.expect("it starts");
    let tokens = [("plant-token", Role::TwinSystem, "plant"), ("plaza-token", Role::Metaverse, "plaza")];
    let tokens =
        tokens.map(|(token, role, id)| (token.to_owned(), Principal { role, id: id.parse().expect("a name") }));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let config = GatewayConfig { session_calls_max: 4_096, requests_per_second_max: 0, ..GatewayConfig::default() };
    let options = GatewayOptions { config, host: Arc::new(NoHost) };
    let principals = Principals::new(tokens).expect("they are usable");
    let gateway = serve(enabler.clone(), principals, options, listener).await.expect("it serves");
    prepare_with_answers(&enabler).await;
    let plant = open(gateway.address(), "/dii/v1/session", "plant-token").await;
    let plaza = open(gateway.address(), "/mii/v1/session", "plaza-token").await;
    let begun = Instant::now();
    let rounds = seconds * 1_000 / PERIOD.as_millis() as u64;
    let (mut sender, mut replies) = plant.split();
    let telling = async move {
        for round in 1..=rounds {
            let due = begun + PERIOD * u32::try_from(round).expect("not that long");
            tokio::time::sleep_until(due.into()).await;
            for robot in 0..ROBOTS {
                // The place along x says when it was sent, the one along y counts.
                let x = begun.elapsed().as_secs_f64();
                let pose = json!({"local": {"x": x, "y": round, "z": 0}});
                let body = json!({"twin": format!("robot-{robot}"), "values": {"pose": pose}});
                let call = json!({"call": "", "method": "POST", "path": "/dii/v1/changes", "body": body});
                sender.feed(Message::text(call.to_string())).await.expect("it is sent");
            }
            sender.flush().await.expect("it is sent");
        }
        sender
    };
    let acknowledged = async move {
        let (mut bad, mut left) = (0_u64, rounds * u64::from(ROBOTS));
        while left > 0 {
            let Some(Ok(frame)) = replies.next().await else { break };
            // Pings are no replies.
            if !frame.is_text() {
                continue;
            }
            left -= 1;
            let reply: Value = serde_json::from_slice(&frame.into_data()).unwrap_or_default();
            bad += u64::from(reply["status"] != 200);
        }
        bad
    };
    let heard = hear(plaza, begun, rounds);
    let (sender, bad, mut heard) = tokio::join!(telling, acknowledged, heard);
    drop(sender);
    heard.late.sort_unstable();
    let (p50, p99) = (super::percentile(&heard.late, 0.5), super::percentile(&heard.late, 0.99));
    println!(
        "{ROBOTS} robots at 50 Hz for {seconds} s: {} of {} heard on the map, {} out of order, {bad} refused",
        heard.late.len(),
        rounds * u64::from(ROBOTS),
        heard.reordered
    );
    println!("  from the robot to the watcher: p50 {p50:?}, p99 {p99:?}");
    gateway.stop().await;
    enabler.shutdown().await.expect("it ends");
}

/// The permission is asked of the twin system while the map is prepared: here it answers for itself.
async fn prepare_with_answers(enabler: &Enabler) {
    let dii = enabler.dii("plant".parse().expect("a name"));
    let mut session = dii.session().await.expect("it opens");
    let answering = async move {
        while let Some(outgoing) = session.next().await {
            let Outgoing::Request { request, body } = outgoing else { continue };
            let OutsideRequest::DescribeTwins(asked) = &*body else { continue };
            let grant = |twin: &TwinId| TwinGrant {
                twin: twin.clone(),
                properties: BTreeMap::new(),
                rights: (*asked.rights).clone(),
                expires_at: None,
                role: None,
            };
            let twins = asked.twins.iter().map(grant).collect();
            let answer = OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins });
            dii.answer(request, answer).await.expect("it is awaited");
        }
    };
    tokio::select! {
        () = answering => {}
        () = prepare(enabler) => {}
    }
}

struct Heard {
    late: Vec<Duration>,
    reordered: u64,
}

async fn hear(mut plaza: Socket, begun: Instant, rounds: u64) -> Heard {
    let (mut late, mut reordered, mut last) = (Vec::new(), 0, BTreeMap::new());
    let wanted = (rounds * u64::from(ROBOTS)) as usize;
    while late.len() < wanted {
        let next = tokio::time::timeout(Duration::from_secs(5), plaza.next()).await;
        let Ok(Some(Ok(frame))) = next else { break };
        let frame: Value = serde_json::from_slice(&frame.into_data()).unwrap_or_default();
        let now = begun.elapsed().as_secs_f64();
        for change in frame["event"]["data"]["changes"].as_array().into_iter().flatten() {
            let (x, y) = (&change["pose"]["local"]["x"], &change["pose"]["local"]["y"]);
            let (sent, round) = (x.as_f64().unwrap_or_default(), y.as_f64().unwrap_or_default());
            let robot = change["entry"].as_str().unwrap_or_default().to_owned();
            let before = last.insert(robot, round).unwrap_or_default();
            // A gap is a loss, which is counted by itself.
            reordered += u64::from(round <= before);
            late.push(Duration::from_secs_f64((now - sent).max(0.0)));
        }
    }
    Heard { late, reordered }
}
