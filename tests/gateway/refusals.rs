//! What is refused, and how it is told.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{LAMP_PATH, home, json_of, problem, world};

#[actix_web::test]
async fn every_documented_route_asks_for_a_token_or_says_that_it_does_not() {
    let world = world().await;
    let document =
        json_of(world.client.get(world.url("/openapi.json")).send().await.expect("it answers"), StatusCode::OK).await;
    let mut closed = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let path = path.replace(['{', '}'], "");
            let method: Method = method.to_uppercase().parse().expect("a method");
            let response = world.client.request(method, world.url(&path)).send().await.expect("it answers");
            if operation["security"] == json!([{}]) {
                assert_ne!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
            } else {
                assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer", "{path}");
                problem(response, "unauthenticated").await;
                closed += 1;
            }
        }
    }
    assert!(closed > 30);
    world.end().await;
}

#[actix_web::test]
async fn a_token_opens_the_routes_of_its_own_role_only() {
    let world = world().await;
    problem(world.get("home-token", "/mii/v1/twins").await, "not-allowed").await;
    problem(world.get("world-token", "/ops/v1/status").await, "not-allowed").await;
    problem(world.get("world-token", "/metrics").await, "not-allowed").await;
    problem(world.get("world-token", "/mii/v1/twins?as=another").await, "not-allowed").await;
    problem(world.get("home-token", "/dii/v1/systems/another").await, "not-allowed").await;
    problem(world.get("wrong", "/mii/v1/twins").await, "unauthenticated").await;
    assert_eq!(world.get("operator-token", "/mii/v1/twins?as=world").await.status(), StatusCode::OK);
    world.end().await;
}

#[actix_web::test]
async fn what_is_no_route_is_a_problem() {
    let world = world().await;
    problem(world.get("world-token", "/nothing").await, "route-unknown").await;
    problem(world.get("world-token", "/mii/v1/twins/%ff").await, "invalid-query").await;
    let response = world.ask("world-token", Method::DELETE, "/mii/v1/reach").send().await.expect("it answers");
    assert_eq!(response.headers()[header::ALLOW], "PUT");
    problem(response, "method-not-allowed").await;
    world.end().await;
}

#[actix_web::test]
async fn a_parameter_that_is_not_understood_is_named() {
    let world = world().await;
    for (query, name) in [("limit=many", "limit"), ("colour=red", "colour"), ("cursor=a&cursor=b", "cursor")] {
        let document =
            problem(world.get("world-token", &format!("/mii/v1/twins?{query}")).await, "invalid-query").await;
        assert!(document["detail"].as_str().is_some_and(|detail| detail.contains(name)), "{document}");
    }
    let path = format!("{LAMP_PATH}/permission");
    problem(world.get("world-token", &path).await, "invalid-query").await;
    world.end().await;
}

#[actix_web::test]
async fn a_mistake_in_a_body_is_told_with_its_place() {
    let world = world().await;
    let mut body = home();
    body["twins"][0]["id"] = json!(7);
    let document = problem(world.post("home-token", "/dii/v1/systems", body).await, "invalid-document").await;
    assert_eq!(document["pointer"], "/twins/0/id");
    let mut body = home();
    body["colour"] = json!("red");
    let document = problem(world.post("home-token", "/dii/v1/systems", body).await, "invalid-document").await;
    assert_eq!(document["pointer"], "/colour");
    let mut body = home();
    body["twins"][0]["description"]["properties"]["on"]["forms"][0]["href"] = json!(1);
    let document = problem(world.post("home-token", "/dii/v1/systems", body).await, "invalid-document").await;
    assert_eq!(document["pointer"], "/twins/0/description/properties/on/forms/0/href");
    let broken = world.ask("home-token", Method::POST, "/dii/v1/systems").header("content-type", "application/json");
    problem(broken.body("{\"id\":").send().await.expect("it answers"), "invalid-document").await;
    world.end().await;
}

#[actix_web::test]
async fn another_media_type_is_refused() {
    let world = world().await;
    let text = world.ask("home-token", Method::POST, "/dii/v1/systems").header("content-type", "text/plain").body("{}");
    problem(text.send().await.expect("it answers"), "media-type-unsupported").await;
    world.end().await;
}

#[actix_web::test]
async fn every_type_of_problem_explains_itself() {
    let world = world().await;
    let list =
        json_of(world.client.get(world.url("/problems")).send().await.expect("it answers"), StatusCode::OK).await;
    for kind in list.as_array().expect("a list") {
        let url = world.url(kind["type"].as_str().expect("a path"));
        let one: Value = world.client.get(&url).send().await.expect("it answers").json().await.expect("it is JSON");
        assert_eq!(&one, kind);
        let page = world.client.get(&url).header("accept", "text/html").send().await.expect("it answers");
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        assert!(page.text().await.expect("a page").contains("<h1>"));
    }
    let unknown = world.client.get(world.url("/problems/none")).send().await.expect("it answers");
    problem(unknown, "route-unknown").await;
    world.end().await;
}
