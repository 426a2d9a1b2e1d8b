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
