//! What external systems register and say in these tests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use twinway::protocol::{
    JsonDoc, SystemId, TwinId, UserId,
    access::{AuthorizationDecision, AuthorizationGrant, Right},
    message::PropertyValues,
    registry::{ThirdPartyDescription, TwinSystemDescription},
};

/// The property that only reports change, and that which only users change.
pub(crate) const POWER: &str = "power";
pub(crate) const LEVEL: &str = "level";
/// The operation that every third-party system offers.
pub(crate) const ADVISE: &str = "advise";

pub(crate) fn system(id: impl AsRef<str>) -> SystemId {
    id.as_ref().parse().expect("it is a name")
}

pub(crate) fn user(id: impl AsRef<str>) -> UserId {
    id.as_ref().parse().expect("it is a name")
}

/// The names of the twins of a home.
pub(crate) fn lamp(home: &str, number: u64) -> TwinId {
    format!("{home}.lamp-{number}").parse().expect("it is a name")
}

/// A twin system with so many lamps; every second one stands for a physical object.
pub(crate) fn home(id: &str, lamps: u64) -> TwinSystemDescription {
    let twin = |number: u64| {
        let lamp = lamp(id, number);
        let property = json!({ "type": "number", "forms": [{ "href": "/it" }] });
        json!({
            "id": lamp,
            "physicalObject": (number.is_multiple_of(2)).then(|| format!("urn:{lamp}")),
            "description": {
                "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": format!("Lamp {number} of {id}"),
                "securityDefinitions": { "none": { "scheme": "nosec" } }, "security": "none",
                "properties": { POWER: property, LEVEL: property },
            },
        })
    };
    let twins: Vec<_> = (0..lamps).map(twin).collect();
    let text = json!({ "id": id, "type": "home", "title": format!("The home {id}"), "twins": twins }).to_string();
    serde_json::from_str(&text).expect("it is a description")
}

pub(crate) fn advisor(id: &str) -> ThirdPartyDescription {
    let api = json!({ "operation": ADVISE });
    let charge = json!({ "amount": 0.02, "currency": "EUR", "per": "call" });
    let text = json!({ "id": id, "type": "consulting", "title": id, "serviceCharge": charge, "apis": [api] });
    serde_json::from_str(&text.to_string()).expect("it is a description")
}

pub(crate) fn number(value: u64) -> JsonDoc {
    JsonDoc::from_value(&value).expect("it is a number")
}

pub(crate) fn values(name: &str, value: u64) -> PropertyValues {
    BTreeMap::from([(name.to_owned(), number(value))])
}

pub(crate) fn all_rights() -> BTreeSet<Right> {
    BTreeSet::from([Right::Read, Right::Change, Right::Message])
}

pub(crate) fn scope() -> BTreeSet<String> {
    BTreeSet::from([ADVISE.to_owned()])
}

pub(crate) fn granted(user: &UserId) -> AuthorizationDecision {
    let user_information = JsonDoc::from_value(&json!({ "account": user })).expect("it is a document");
    AuthorizationDecision::Granted(AuthorizationGrant { user_information, scope: scope(), expires_at: None })
}
