//! Calls of the Rust client that nothing else makes: each reaches its route, and reads what that answers.

use reqwest::StatusCode;
use serde_json::json;
use twinway::{
    client::{Client, ClientError},
    protocol::{JsonDoc, ProblemKind, SystemId, TwinId, UserId, message::OutsideAnswer, spatial::LocalizationRequest},
};

use crate::{
    maps::entry,
    support::{json_of, world},
};

fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> ProblemKind {
    answer.expect_err("it is refused").kind().expect("by the daemon")
}

#[actix_web::test]
async fn what_the_client_asks_is_what_the_gateway_answers() {
    let world = world().await;
    world.factory().await;
    let observed = world.observed().await.parse().expect("it is an id");
    let client = |token: &str| Client::new(world.url(""), token);
    let (lobby, home, shop, ada) =
        (client("world-token"), client("home-token"), client("shop-token"), client("ada-token"));
    let (metaverse, works) = (SystemId::new("world").expect("a name"), SystemId::new("home").expect("a name"));
    let (robot, press) = (TwinId::new("robot").expect("a name"), TwinId::new("press").expect("a name"));
    let (user, factory) = (UserId::new("ada").expect("a name"), "factory".parse().expect("a name"));

    assert_eq!(lobby.liveness().await.expect("it lives").status, "ok");
    let explained = lobby.explain_problem("lease-lost").await.expect("there is one");
    assert!(explained.as_str().contains("lease-lost"), "{explained:?}");

    assert_eq!(home.twin_of_system(&works, &robot).await.expect("it is listed").id, robot);
    let page = home.listed_twins(&works, None, Some(1)).await.expect("there is a list");
    assert!(page.items.len() == 1 && page.next.is_some(), "{page:?}");
    assert!(lobby.twin_properties(&robot).await.expect("it is known").is_empty());
    assert_eq!(refused(lobby.twin_refreshed(&robot, &user).await), ProblemKind::PermissionMissing);
    let faster = JsonDoc::parse("7").expect("it is JSON");
    assert_eq!(
        refused(lobby.change_twin_property(&user, &robot, "pose", &faster).await),
        ProblemKind::PermissionMissing
    );
    let answer = OutsideAnswer::Failed("it is broken".to_owned());
    assert_eq!(refused(home.answer_as_twin_system("7", &answer).await), ProblemKind::RequestUnknown);
    assert_eq!(refused(shop.answer_as_third_party_system("7", &answer).await), ProblemKind::RequestUnknown);

    assert_eq!(world.entries(json!([entry("bench", 1.0, 2.0)])).await.status(), 204);
    let registered =
        world.post("shop-token", "/sii/v1/systems", json!({"id": "shop", "type": "s", "title": "S"})).await;
    json_of(registered, StatusCode::CREATED).await;
    let asked = json!({"near": {"local": {"x": 0, "y": 0, "z": 0}}, "radiusM": 10});
    let asked: LocalizationRequest = serde_json::from_value(asked).expect("it is a question");
    let found = shop.find_at_place_from_afar(&metaverse, &factory, &asked).await.expect("it may ask");
    assert_eq!(found.entries.len(), 1);
    assert_eq!(ada.map_on_device(&metaverse, &factory).await.expect("she sees it").entries.len(), 1);
    let own = ada.own_observations(&metaverse, &factory, None).await.expect("she sees them").items;
    assert_eq!(own.iter().map(|kept| &kept.id).collect::<Vec<_>>(), [&observed]);
    ada.delete_own_observation(&metaverse, &observed).await.expect("it is hers");
    let list = json_of(world.get("world-token", "/mii/v1/maps/factory/observations").await, StatusCode::OK).await;
    assert_eq!(list["items"], json!([]));

    let version = home.twin_system(&works).await.expect("it is registered").version;
    let changed = home.change_listed_twins(&works, &[], std::slice::from_ref(&press), Some(version)).await;
    assert_eq!(changed.expect("it is listed").twin_count, 1);
    world.end().await;
}
