//! Watching twins and reading what they were, over real sockets (FGMV-29 9.2 step 14, 8.3.4).

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use twinway::{
    client::{Client, EventStream, SseParser, Told},
    config::{Config, Secret, TokenConfig},
    daemon::Daemon,
    enabler::EnablerOptions,
    gateway::{GatewayConfig, NoHost, Role},
    history::{History, HistoryOptions, MemoryHistory},
    outside::{EventsFrom, OutsideLimits, SystemKind, WatchQuery},
    protocol::{SystemId, time::Timestamp},
};

use crate::{
    sessions::{hear, say},
    support::{LAMP, LAMP_PATH, World, home, json_of, problem, world_of},
};

async fn watched(outside: OutsideLimits) -> World {
    let history = History::start(MemoryHistory::new(Timestamp::default()), &HistoryOptions::default());
    let history = Some(history.expect("it starts"));
    let options = EnablerOptions { outside, history, ..EnablerOptions::default() };
    let world = world_of(GatewayConfig::default(), Arc::new(NoHost), options).await;
    assert_eq!(world.register_home().await.status(), StatusCode::CREATED);
    let selection = world.post("world-token", "/mii/v1/selections", json!({"select": [LAMP]})).await;
    assert_eq!(selection.status(), StatusCode::OK);
    world
}

impl World {
    /// The lamp's twin system reports a value; the answer comes when the twin shows it.
    async fn report(&self, on: bool, second: u32) -> Value {
        let at = format!("2026-01-02T03:04:{second:02}Z");
        let body = json!({"twin": LAMP, "values": {"on": on}, "at": at});
        json_of(self.post("home-token", "/dii/v1/changes", body).await, StatusCode::OK).await
    }

    fn of(&self, token: &str) -> Client {
        Client::new(format!("http://{}", self.gateway.address()), token)
    }
}

async fn watch(client: &Client, from: EventsFrom, wanted: &WatchQuery) -> EventStream {
    client.watch(SystemKind::Metaverse, from, wanted).await.expect("it opens")
}

/// The next event: its number and the versions that it shows.
async fn next(stream: &mut EventStream) -> (u64, Value) {
    match stream.next().await.expect("the stream stands") {
        Told::Event { number, event } => (number, event.data.read().expect("it is JSON")),
        Told::Gap(gap) => (0, json!(gap)),
    }
}

#[actix_web::test]
async fn a_fast_subscriber_hears_all_in_order_once_beside_one_that_does_not_read_and_both_resume() {
    let world = watched(OutsideLimits { events_kept_max: 4, ..OutsideLimits::default() }).await;
    let client = world.of("world-token");
    // It is open, and nobody reads from it.
    let _idle = watch(&client, EventsFrom::Now, &WatchQuery::default()).await;
    let mut fast = watch(&client, EventsFrom::Now, &WatchQuery::default()).await;
    let mut numbers = Vec::new();
    for second in 0..10 {
        let shown = world.report(second % 2 == 0, second).await;
        let (number, data) = next(&mut fast).await;
        assert_eq!(data["version"], shown["version"]);
        numbers.push(number);
    }
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    let mut again = watch(&client, EventsFrom::After(numbers[7]), &WatchQuery::default()).await;
    assert_eq!((next(&mut again).await.0, next(&mut again).await.0), (numbers[8], numbers[9]));
    // Further back than what is kept: it is told which versions of which twin it missed.
    let mut behind = watch(&client, EventsFrom::After(numbers[1]), &WatchQuery::default()).await;
    let (_, gap) = next(&mut behind).await;
    let expected = json!({"missed": 4, "firstNumber": numbers[2], "lastNumber": numbers[5], "twins":
        [{"twin": LAMP, "missed": 4, "firstVersion": 3, "lastVersion": 6}]});
    assert_eq!(gap, expected);
    assert_eq!(next(&mut behind).await.0, numbers[6]);
    world.end().await;
}

#[actix_web::test]
async fn a_filter_chooses_and_a_mistake_in_it_is_told_with_its_place_before_the_stream_begins() {
    let world = watched(OutsideLimits::default()).await;
    let refused = world.get("world-token", "/mii/v1/events?filter=data.values.on+%26%26+heat+%3E+3").await;
    let document = problem(refused, "invalid-query").await;
    let detail = document["detail"].as_str().expect("text");
    assert!(detail.contains("no `heat`") && detail.contains("line 1 column 19"), "{detail}");
    problem(world.get("world-token", "/mii/v1/events?newest=often").await, "invalid-query").await;
    let wanted = WatchQuery { filter: Some("data.values.on && system == 'home'".to_owned()), ..WatchQuery::default() };
    let mut stream = watch(&world.of("world-token"), EventsFrom::Now, &wanted).await;
    for second in 0..4 {
        world.report(second == 3, second).await;
    }
    assert_eq!(next(&mut stream).await.1["values"], json!({"on": true}));
    world.end().await;
}

#[actix_web::test]
async fn nobody_hears_of_a_twin_that_it_has_not_selected_whatever_it_asks_for() {
    let world = watched(OutsideLimits::default()).await;
    let other = world.of("operator-token").acting_as(SystemId::new("other").expect("a name"));
    let wanted = WatchQuery { twin: Some(LAMP.to_owned()), ..WatchQuery::default() };
    let mut stream = watch(&other, EventsFrom::Now, &wanted).await;
    world.report(true, 1).await;
    other.select_twins(&[LAMP.parse().expect("a name")], &[]).await.expect("it is selected");
    let shown = world.report(false, 2).await;
    assert_eq!(next(&mut stream).await.1["version"], shown["version"]);
    world.end().await;
}

#[actix_web::test]
async fn a_session_has_several_subscriptions_each_with_its_own_choice_and_end() {
    let world = watched(OutsideLimits::default()).await;
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    say(&mut socket, json!({"subscribe": "a", "events": {"type": "twin.changed", "property": "on"}})).await;
    assert_eq!(hear(&mut socket).await.expect("a reply"), json!({"reply": "subscribe:a", "status": 204}));
    for (id, events, status) in [
        ("b", json!({"filter": "data.values.on"}), 204),
        ("a", json!({}), 409),
        ("c", json!({"filter": "data.values.on +"}), 400),
    ] {
        say(&mut socket, json!({"subscribe": id, "events": events})).await;
        let reply = hear(&mut socket).await.expect("a reply");
        assert_eq!((&reply["reply"], &reply["status"]), (&json!(format!("subscribe:{id}")), &json!(status)));
    }
    world.report(false, 1).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        told.push(hear(&mut socket).await.expect("an event")["subscription"].clone());
    }
    // The session's own stream of events goes on beside it.
    assert!(told.contains(&json!("a")) && told.contains(&Value::Null), "{told:?}");
    say(&mut socket, json!({"unsubscribe": "a"})).await;
    assert_eq!(hear(&mut socket).await.expect("a reply"), json!({"reply": "unsubscribe:a", "status": 204}));
    world.report(true, 2).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        told.push(hear(&mut socket).await.expect("an event")["subscription"].clone());
    }
    assert!(told.contains(&json!("b")) && told.contains(&Value::Null), "{told:?}");
    say(&mut socket, json!({"unsubscribe": "a"})).await;
    assert_eq!(hear(&mut socket).await.expect("a reply")["status"], 404);
    world.end().await;
}

#[actix_web::test]
async fn what_sessions_subscribe_to_counts_with_all_other_subscriptions() {
    // The session's own events are one of them.
    let config = GatewayConfig { subscriptions_max: 2, ..GatewayConfig::default() };
    let world = world_of(config, Arc::new(NoHost), EnablerOptions::default()).await;
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    let mut reply_to = async |frame: Value| {
        say(&mut socket, frame).await;
        hear(&mut socket).await.expect("a reply")
    };
    assert_eq!(reply_to(json!({"subscribe": "a"})).await["status"], 204);
    let refused = reply_to(json!({"subscribe": "b"})).await;
    assert_eq!(refused["body"]["type"], "/problems/limit-reached", "{refused}");
    assert!(
        refused["body"]["detail"].as_str().is_some_and(|detail| detail.contains("`subscriptions_max`")),
        "{refused}"
    );
    assert_eq!(reply_to(json!({"unsubscribe": "a"})).await["status"], 204);
    assert_eq!(reply_to(json!({"subscribe": "b"})).await["status"], 204, "the place is free again");
    world.end().await;
}

#[actix_web::test]
async fn what_a_twin_was_is_read_at_a_moment_between_two_and_as_a_stream() {
    let world = watched(OutsideLimits::default()).await;
    for (second, on) in [(10, true), (20, false), (30, true)] {
        world.report(on, second).await;
    }
    let history = format!("{LAMP_PATH}/history");
    let get = |query: &str| world.ask("world-token", Method::GET, &format!("{history}{query}")).send();
    let at = json_of(get("?at=2026-01-02T03:04:25Z").await.expect("it answers"), StatusCode::OK).await;
    assert_eq!(at["properties"], json!({"on": {"value": false, "version": 2, "at": "2026-01-02T03:04:20.000Z"}}));
    let before = json_of(get("?at=2026-01-02T03:04:09Z").await.expect("it answers"), StatusCode::OK).await;
    assert_eq!(before["properties"], json!({}));
    let between = get("?property=on&from=2026-01-02T03:04:20Z&limit=1").await.expect("it answers");
    let between = json_of(between, StatusCode::OK).await;
    assert_eq!(
        between["items"],
        json!([{"at": "2026-01-02T03:04:20.000Z", "version": 2, "property": "on", "value": false}])
    );
    let cursor = between["next"].as_str().expect("there is more");
    let rest = json_of(get(&format!("?cursor={cursor}")).await.expect("it answers"), StatusCode::OK).await;
    assert_eq!((&rest["items"][0]["version"], &rest["next"]), (&json!(3), &Value::Null));
    for wrong in ["?at=yesterday", "?at=2026-01-02T03:04:25Z&limit=3", "?cursor=x"] {
        problem(get(wrong).await.expect("it answers"), "invalid-query").await;
    }
    problem(world.get("world-token", "/mii/v1/twins/nobody/history").await, "twin-unknown").await;

    let replay =
        async |query: &str| messages(world.get("world-token", &format!("{history}/replay{query}")).await).await;
    let all = replay("?speed=1000000").await;
    let kinds: Vec<_> = all.iter().map(|message| message.0.as_str()).collect();
    assert_eq!(kinds, ["io.twinway.twin.changed", "io.twinway.twin.changed", "io.twinway.twin.changed", "end"]);
    assert_eq!(all[1].2["data"], json!({"values": {"on": false}, "version": 2, "at": "2026-01-02T03:04:20.000Z"}));
    let rest = replay(&format!("?lastEventId={}", all[1].1)).await;
    assert_eq!(rest.iter().map(|message| &message.1).collect::<Vec<_>>(), [&all[2].1, &String::new()]);
    problem(world.get("world-token", &format!("{history}/replay?speed=0")).await, "invalid-query").await;
    world.end().await;
}

/// FGMV-29 8.3.4: behaviour is synchronized too, and is part of what a twin was.
#[actix_web::test]
async fn what_happened_to_a_twin_is_in_its_history_and_told_again() {
    let world = watched(OutsideLimits::default()).await;
    world.report(true, 10).await;
    let event = json!({"name": "burnt-out", "at": "2026-01-02T03:04:11Z"});
    let emitted = world.post("home-token", &format!("{}/events", LAMP_PATH.replace("/mii", "/dii")), event).await;
    assert_eq!(emitted.status(), StatusCode::ACCEPTED);
    let path = format!("{LAMP_PATH}/history");
    let read =
        async |query: &str| json_of(world.get("world-token", &format!("{path}{query}")).await, StatusCode::OK).await;
    let all = read("").await;
    assert_eq!((&all["complete"], all["items"].as_array().map(Vec::len)), (&json!(true), Some(2)));
    let events = read("?kind=events").await;
    assert_eq!(events["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(events["items"][0]["event"], json!({"name": "burnt-out", "data": null}));
    assert_eq!(read("?kind=properties").await["items"][0]["property"], "on");
    assert_eq!(read("?kind=actions").await["items"], json!([]));
    problem(world.get("world-token", &format!("{path}?kind=dreams")).await, "invalid-query").await;
    problem(world.get("world-token", &format!("{path}?kind=events&property=on")).await, "invalid-query").await;
    let told = messages(world.get("world-token", &format!("{path}/replay")).await).await;
    let kinds: Vec<_> = told.iter().map(|message| message.0.as_str()).collect();
    assert_eq!(kinds, ["io.twinway.twin.changed", "io.twinway.twin.event", "end"]);
    assert_eq!(told[1].2["data"]["name"], "burnt-out");
    world.end().await;
}

/// The messages of an event stream that ends: type, id (empty: none of its own) and data.
async fn messages(response: reqwest::Response) -> Vec<(String, String, Value)> {
    let body = response.bytes().await.expect("it ends");
    let mut parser = SseParser::default();
    parser.push(&body).expect("they are short");
    let mut last = String::new();
    std::iter::from_fn(|| parser.next_message())
        .map(|message| {
            let data = serde_json::from_str(&message.data).expect("it is JSON");
            let id = if message.id == last { String::new() } else { message.id.clone() };
            last.clone_from(&message.id);
            (message.event, id, data)
        })
        .collect()
}

#[actix_web::test]
async fn operators_hear_how_registered_systems_stand_and_others_do_not() {
    let world = watched(OutsideLimits::default()).await;
    problem(world.get("world-token", "/ops/v1/events").await, "not-allowed").await;
    let response = world.get("operator-token", "/ops/v1/events?type=system.*").await;
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &"text/event-stream".parse().expect("text"))
    );
    world.end().await;
}

fn config(data: &std::path::Path) -> Config {
    let token = |token: &str, role, id: &str| TokenConfig {
        token: Secret::new(token),
        token_file: None,
        role,
        id: SystemId::new(id).expect("a name"),
    };
    let tokens = vec![
        token("world-token-of-tests", Role::Metaverse, "world"),
        token("home-token-of-tests", Role::TwinSystem, "home"),
    ];
    let listen = "127.0.0.1:0".parse().expect("an address");
    Config { listen, data: data.to_path_buf(), tokens, ..Config::default() }
}

async fn report(daemon: &Daemon, on: bool, second: u32) {
    let body = json!({"twin": LAMP, "values": {"on": on}, "at": format!("2026-01-02T03:04:{second:02}Z")});
    let ask = reqwest::Client::new().post(format!("{}/dii/v1/changes", daemon.url())).json(&body);
    let answer = ask.bearer_auth("home-token-of-tests").send().await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::OK);
}

#[actix_web::test]
async fn a_listener_resumes_and_history_goes_on_across_a_restart_of_the_daemon() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = config(directory.path());
    let lamp = LAMP.parse().expect("a name");
    let daemon = Daemon::start(&config, Vec::new()).await.expect("it starts");
    let ask = reqwest::Client::new().post(format!("{}/dii/v1/systems", daemon.url())).json(&home());
    let registered = ask.bearer_auth("home-token-of-tests").send().await.expect("it answers");
    assert_eq!(registered.status(), StatusCode::CREATED);
    let client = Client::new(daemon.url(), "world-token-of-tests");
    client.select_twins(std::slice::from_ref(&lamp), &[]).await.expect("it is selected");
    let mut stream = watch(&client, EventsFrom::Now, &WatchQuery::default()).await;
    report(&daemon, true, 1).await;
    report(&daemon, false, 2).await;
    let (seen, _) = next(&mut stream).await;
    drop(stream);
    daemon.stop().await.expect("it stops");

    let daemon = Daemon::start(&config, Vec::new()).await.expect("it starts again");
    let client = Client::new(daemon.url(), "world-token-of-tests");
    report(&daemon, true, 3).await;
    let mut stream = watch(&client, EventsFrom::After(seen), &WatchQuery::default()).await;
    let (second, third) = (next(&mut stream).await, next(&mut stream).await);
    assert_eq!((second.0, &second.1["version"]), (seen + 1, &json!(2)));
    assert_eq!((third.0, &third.1["version"]), (seen + 2, &json!(3)));
    drop(stream);
    let page = client.twin_history(&lamp, &Default::default()).await.expect("it is read");
    assert_eq!(page.items.iter().map(|item| item.version).collect::<Vec<_>>(), [1, 2, 3]);
    let then = Timestamp::parse("2026-01-02T03:04:01.500Z").expect("a moment");
    let moment = client.twin_at(&lamp, Some("on"), then).await.expect("it is read");
    assert_eq!(moment.properties["on"].value.as_str(), "true");
    daemon.stop().await.expect("it stops");
}
