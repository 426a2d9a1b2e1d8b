//! An enabler behind a gateway on a free port, and a client of it.

use std::{net::TcpListener, sync::Arc};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use twinway::{
    Enabler,
    actors::port::journal::MemoryJournal,
    enabler::EnablerOptions,
    gateway::{Gateway, GatewayConfig, GatewayOptions, Host, NoHost, Principal, Principals, Role, serve},
    protocol::SystemId,
};

/// The lamp's id is a URL: as one segment of a path it is percent-encoded.
pub(crate) const LAMP: &str = "http://home.example/lamp?n=1";
pub(crate) const LAMP_PATH: &str = "/mii/v1/twins/http:%2F%2Fhome.example%2Flamp%3Fn=1";

pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) enabler: Enabler,
    pub(crate) client: reqwest::Client,
}

pub(crate) async fn world() -> World {
    world_with(GatewayConfig::default(), Arc::new(NoHost)).await
}

pub(crate) async fn world_with(config: GatewayConfig, host: Arc<dyn Host>) -> World {
    world_of(config, host, EnablerOptions::default()).await
}

pub(crate) async fn world_of(config: GatewayConfig, host: Arc<dyn Host>, options: EnablerOptions) -> World {
    let enabler = Enabler::start(options, Arc::new(MemoryJournal::default())).await.expect("it starts");
    let roles = [
        ("world-token", Role::Metaverse, "world"),
        ("home-token", Role::TwinSystem, "home"),
        ("shop-token", Role::ThirdParty, "shop"),
        ("ada-token", Role::Device, "ada"),
        ("operator-token", Role::Operator, "root"),
    ];
    let tokens =
        roles.map(|(token, role, id)| (token.to_owned(), Principal { role, id: SystemId::new(id).expect("a name") }));
    let principals = Principals::new(tokens).expect("they are usable");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let options = GatewayOptions { config, host };
    let gateway = serve(enabler.clone(), principals, options, listener).await.expect("it serves");
    World { gateway, enabler, client: reqwest::Client::new() }
}

impl World {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.address())
    }

    pub(crate) fn ask(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).bearer_auth(token)
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Response {
        self.ask(token, Method::GET, path).send().await.expect("it answers")
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: Value) -> Response {
        self.ask(token, Method::POST, path).json(&body).send().await.expect("it answers")
    }

    pub(crate) async fn register_home(&self) -> Response {
        self.post("home-token", "/dii/v1/systems", home()).await
    }

    pub(crate) async fn end(self) {
        self.gateway.stop().await;
        self.enabler.shutdown().await.expect("the enabler ends");
    }
}

pub(crate) fn home() -> Value {
    json!({
        "id": "home", "type": "home", "title": "A house",
        "twins": [{"id": LAMP, "physicalObject": "urn:lamp", "description": {
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Lamp",
            "securityDefinitions": {"nosec_sc": {"scheme": "nosec"}}, "security": "nosec_sc",
            "properties": {"on": {"type": "boolean", "forms": [{"href": "/on"}]}},
            "events": {"burnt-out": {"forms": [{"href": "/burnt-out"}]}},
        }}],
    })
}

/// Checks that an answer is a problem document of this kind, and gives it.
pub(crate) async fn problem(response: Response, slug: &str) -> Value {
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let document: Value = response.json().await.expect("a problem is JSON");
    assert_eq!(document["type"], format!("/problems/{slug}"), "{document}");
    assert_eq!(document["status"], status.as_u16());
    document
}

pub(crate) async fn json_of(response: Response, status: StatusCode) -> Value {
    let found = response.status();
    let text = response.text().await.expect("a body");
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).expect("it is JSON")
}
