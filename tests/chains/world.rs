//! The three third parties, and the chain that uses them.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use twinway::{
    client::Client,
    protocol::{
        SystemId, UserId,
        collaboration::{Chain, Execution},
        registry::ThirdPartyDescription,
    },
};

use super::{
    daemon::{Daemon, WAIT_MAX},
    server::{Act, Seen, Server},
};

/// How long an execution may take in these tests.
pub(crate) const WAIT: Duration = WAIT_MAX;

pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("it is a name")
}

/// The servers, whatever becomes of the daemon.
pub(crate) struct World {
    /// JSON and paths: `POST /api/customers/7/orders`.
    pub(crate) shop: Server,
    /// A form and a query; it says that it refuses in the body of a 200: `POST /cgi/make?order=o-1`.
    pub(crate) works: Server,
    /// The enabler's own frame, by webhook.
    pub(crate) courier: Server,
}

pub(crate) fn sell(seen: &Seen) -> Act {
    match seen.method.as_str() {
        "POST" => Act::Answer(201, json!({"order": {"number": "o/1", "pieces": seen.json()["pieces"]}})),
        _ => Act::Answer(204, Value::Null),
    }
}

pub(crate) fn make(seen: &Seen) -> Act {
    if seen.target.starts_with("/cgi/make") {
        Act::Answer(200, json!({"ok": 1, "job": 17}))
    } else {
        Act::Answer(200, json!({"ok": 1}))
    }
}

pub(crate) fn bring(_seen: &Seen) -> Act {
    Act::Answer(200, json!({"executeService": {"output": {"day": "monday"}}}))
}

impl World {
    pub(crate) async fn start() -> Self {
        Self { shop: Server::start(sell).await, works: Server::start(make).await, courier: Server::start(bring).await }
    }

    /// All three register, and ada may use them.
    pub(crate) async fn register(&self, daemon: &Daemon) {
        for (id, document) in [("shop", self.shop()), ("works", self.works()), ("courier", self.courier())] {
            let description: ThirdPartyDescription = serde_json::from_value(document).expect("it is a description");
            daemon.client(id).register_third_party_system(&description).await.expect("it is acceptable");
        }
        let plaza = daemon.client("plaza");
        for id in ["shop", "works", "courier"] {
            let scope = BTreeSet::from(["*".to_owned()]);
            let authorization = plaza.request_user_authorization(&name(id), &name("ada"), &scope).await;
            authorization.expect("it is granted");
        }
    }

    fn shop(&self) -> Value {
        let base = format!("{}/api", self.shop.url);
        json!({
            "id": "shop", "type": "commerce", "title": "Lamp shop",
            "reach": {"webhook": format!("{}/twinway", self.shop.url)},
            "apis": [
                {"operation": "sell", "mapping": {
                    "base": base, "method": "POST", "path": "/customers/{customer}/orders",
                    "parameters": {"customer": "userInformation.customer"},
                    "headers": {"x-channel": "metaverse"},
                    "body": "{'article': input.item, 'pieces': input.count}",
                    "outcomes": [{"when": "status == 409", "outcome": "refused", "detail": "body.reason"}],
                    "output": "{'id': body.order.number}"}},
                {"operation": "refund", "mapping": {
                    "base": base, "method": "DELETE", "path": "/customers/{customer}/orders/{order}",
                    "parameters": {"customer": "userInformation.customer"}}},
            ],
        })
    }

    fn works(&self) -> Value {
        json!({
            "id": "works", "type": "manufacturer", "title": "Lamp works",
            "reach": {"webhook": format!("{}/cgi", self.works.url)},
            "apis": [
                {"operation": "make", "mapping": {
                    "path": "/make", "query": {"order": "input.order"}, "bodyForm": "form",
                    "body": "{'count': input.count, 'colour': 'warm white'}",
                    "outcomes": [{"when": "body.ok == 0", "outcome": "refused", "detail": "body.why"}],
                    "output": "{'job': body.job}"}},
                {"operation": "scrap", "mapping": {"method": "GET", "path": "/scrap", "query": {"job": "input.job"}}},
            ],
        })
    }

    fn courier(&self) -> Value {
        json!({
            "id": "courier", "type": "logistics", "title": "Courier",
            "reach": {"webhook": format!("{}/twinway", self.courier.url)},
            "apis": [{"operation": "bring"}],
        })
    }
}

/// FGMV-28 7.1.2, as a chain: sold, made, brought.
pub(crate) fn order() -> Value {
    json!({
        "user": "ada",
        "input": {"item": "lamp", "count": 2},
        "steps": [
            {"name": "sale", "system": "shop", "operation": "sell",
             "compensation": {"operation": "refund", "input": "{'order': results.sale.id}"}},
            {"name": "made", "system": "works", "operation": "make", "idempotent": true,
             "input": "{'order': results.sale.id, 'count': input.count}",
             "compensation": {"operation": "scrap"}},
            {"name": "brought", "system": "courier", "operation": "bring",
             "input": "{'parcel': results.made.job, 'to': user}"},
        ],
        "output": "{'order': results.sale.id, 'day': results.brought.day}",
    })
}

pub(crate) fn chain(document: Value) -> Chain {
    serde_json::from_value(document).expect("it is a chain")
}

pub(crate) async fn run(plaza: &Client, document: Value) -> Execution {
    plaza.run_chain(&chain(document), None, WAIT).await.expect("it is acceptable")
}

pub(crate) fn ada() -> UserId {
    name("ada")
}

pub(crate) fn system(id: &str) -> SystemId {
    name(id)
}
