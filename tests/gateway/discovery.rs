//! Searching for systems over sockets (FGMV-29 8.2.2 and 8.3.2; 9.1 and 9.2 steps 4 and 5).

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    sessions::{hear, say},
    support::{World, json_of, problem, world},
};

const SHOPS: &str = "/mii/v1/third-party-systems";

fn search(base: &str, parameters: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    format!("{base}?{}", parameters.iter().map(pair).collect::<Vec<_>>().join("&"))
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("a list").iter().filter_map(|item| item["system"]["id"].as_str()).collect()
}

/// Three shops, of which the first charges nothing.
async fn shops() -> World {
    let world = world().await;
    for (id, charge) in [("a", Value::Null), ("b", json!(7.5)), ("c", json!(3))] {
        let charge = if charge.is_null() { charge } else { json!({"amount": charge, "currency": "EUR"}) };
        let shop = json!({
            "id": id, "type": "commerce", "title": format!("Shop {id}"), "description": "Sells lamps", "serviceCharge": charge,
        });
        let path = format!("/sii/v1/systems?as={id}");
        json_of(world.post("operator-token", &path, shop).await, StatusCode::CREATED).await;
    }
    world
}

#[actix_web::test]
async fn a_search_takes_a_filter_words_and_an_order() {
    let world = shops().await;
    let found = async |parameters: &[(&str, &str)]| {
        json_of(world.get("world-token", &search(SHOPS, parameters)).await, StatusCode::OK).await
    };
    let cheap = r#"system.type == "commerce" && charge.amount < 5.0 && standing.health == "healthy""#;
    assert_eq!(ids(&found(&[("filter", cheap)]).await), ["c"]);
    assert_eq!(ids(&found(&[("filter", "!has(charge.amount)")]).await), ["a"]);
    assert_eq!(ids(&found(&[("text", "LAMP sho b")]).await), ["b"]);
    let mut seen = Vec::new();
    let mut page = found(&[("sort", "-charge.amount"), ("limit", "2")]).await;
    seen.extend(ids(&page).into_iter().map(str::to_owned));
    let next = page["next"].as_str().expect("there is more").to_owned();
    page = found(&[("sort", "-charge.amount"), ("limit", "2"), ("cursor", &next)]).await;
    seen.extend(ids(&page).into_iter().map(str::to_owned));
    assert_eq!((seen, &page["next"]), (vec!["b".to_owned(), "c".to_owned(), "a".to_owned()], &Value::Null));
    world.end().await;
}

/// The place of a mistake is in the answer, and the daemon goes on.
#[actix_web::test]
async fn a_filter_with_a_mistake_is_refused_with_its_place() {
    let world = shops().await;
    let deep = "(".repeat(1_500);
    for (path, filter, what) in [
        (SHOPS, "charge.amount <", "line 1 column 16"),
        (SHOPS, "charge.amount < 'five'", "`<` does not fit a number and a text, at line 1 column 15"),
        (SHOPS, "charge.price < 5", "third-party systems have no `charge.price`"),
        (SHOPS, &deep, "more than 24 brackets stand in each other"),
        ("/mii/v1/twin-systems", "charge.amount < 5", "digital twin systems have no `charge.amount`"),
    ] {
        let answer = world.get("world-token", &search(path, &[("filter", filter)])).await;
        let document = problem(answer, "invalid-query").await;
        let detail = document["detail"].as_str().expect("a text");
        assert!(detail.starts_with("`filter`: ") && detail.contains(what), "{detail}");
    }
    let stale = search(SHOPS, &[("sort", "system.title"), ("cursor", "5.1")]);
    assert_eq!(problem(world.get("world-token", &stale).await, "cursor-expired").await["status"], 410);
    assert_eq!(ids(&json_of(world.get("world-token", SHOPS).await, StatusCode::OK).await), ["a", "b", "c"]);
    world.end().await;
}

#[actix_web::test]
async fn a_session_searches_as_a_request_does() {
    let world = shops().await;
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    let path = search(SHOPS, &[("filter", "charge.amount > 5")]);
    say(&mut socket, json!({"call": "1", "method": "GET", "path": path})).await;
    let reply = hear(&mut socket).await.expect("a reply");
    assert_eq!(ids(&reply["body"]), ["b"], "{reply}");
    world.end().await;
}

const TWINS: &str = "/mii/v1/twins";

fn twins(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("a list").iter().filter_map(|item| item["id"].as_str()).collect()
}

/// A home with a lamp, a heater and a clock, of which only the last has no object.
async fn house() -> World {
    let world = world().await;
    let thing = |id: &str, object: Value, title: &str, property: &str| {
        json!({"id": id, "physicalObject": object, "description": {
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": title, "description": "In the hall",
            "securityDefinitions": {"nosec_sc": {"scheme": "nosec"}}, "security": "nosec_sc",
            "properties": {property: {"forms": [{"href": "/p"}]}},
        }})
    };
    let list = json!([
        thing("lamp", json!("urn:lamp"), "Lamp", "on"),
        thing("heater", json!("urn:heater"), "Heater", "target"),
        thing("clock", Value::Null, "Clock", "on"),
    ]);
    let home = json!({"id": "home", "type": "home", "title": "A house", "twins": list});
    json_of(world.post("home-token", "/dii/v1/systems", home).await, StatusCode::CREATED).await;
    world
}

/// FGMV-29 8.3.1: the list of twins is searchable, over HTTP and over a session alike; what was acknowledged is found by the
/// next search.
#[actix_web::test]
async fn a_list_of_twins_is_searched_by_filter_words_and_order() {
    let world = house().await;
    let found = async |parameters: &[(&str, &str)]| {
        json_of(world.get("world-token", &search(TWINS, parameters)).await, StatusCode::OK).await
    };
    assert_eq!(twins(&found(&[("filter", "'on' in twin.properties && has(twin.object)")]).await), ["lamp"]);
    assert_eq!(twins(&found(&[("text", "HALL clo")]).await), ["clock"]);
    assert_eq!(twins(&found(&[("physicalObject", "urn:heater"), ("system", "home")]).await), ["heater"]);
    let sorted = [("sort", "-twin.title"), ("limit", "2")];
    let page = found(&sorted).await;
    assert_eq!(twins(&page), ["lamp", "heater"]);
    let next = page["next"].as_str().expect("there is more").to_owned();
    assert_eq!(twins(&found(&[sorted[0], sorted[1], ("cursor", &next)]).await), ["clock"]);
    let own = search("/mii/v1/twin-systems/home/twins", &[("filter", "twin.title.startsWith('He')")]);
    assert_eq!(twins(&json_of(world.get("world-token", &own).await, StatusCode::OK).await), ["heater"]);
    let mut socket = world.open("world-token", "/mii/v1/session").await;
    let path = search(TWINS, &[("filter", "!has(twin.object)")]);
    say(&mut socket, json!({"call": "1", "method": "GET", "path": path})).await;
    let reply = hear(&mut socket).await.expect("a reply");
    assert_eq!(twins(&reply["body"]), ["clock"], "{reply}");
    let path = "/dii/v1/systems/home/twins/clock";
    let gone = world.ask("home-token", reqwest::Method::DELETE, path).send().await.expect("it answers");
    assert_eq!(gone.status(), StatusCode::OK);
    assert!(twins(&found(&[("filter", "!has(twin.object)")]).await).is_empty());
    world.end().await;
}

/// Who may not list twins does not find them, and a search says nothing that a list does not show.
#[actix_web::test]
async fn a_search_for_twins_has_the_place_of_a_mistake_and_the_access_of_a_list() {
    let world = house().await;
    for (filter, what) in [
        ("twin.title <", "line 1 column 13"),
        ("'on' in twin.properties && twin.title < 5", "line 1 column 39"),
        ("twin.values.on == true", "twins have no `twin.values.on`"),
    ] {
        let answer = world.get("world-token", &search(TWINS, &[("filter", filter)])).await;
        let document = problem(answer, "invalid-query").await;
        let detail = document["detail"].as_str().expect("a text");
        assert!(detail.starts_with("`filter`: ") && detail.contains(what), "{detail}");
    }
    for token in ["home-token", "shop-token"] {
        let answer = world.get(token, &search(TWINS, &[("filter", "true")])).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{token}");
    }
    problem(world.get("world-token", &search(TWINS, &[("system", "attic")])).await, "system-unknown").await;
    world.end().await;
}
