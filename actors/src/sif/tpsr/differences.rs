//! FGMV-29 8.2.1: what differs between what is registered and what shall be registered under the same id.

use serde_json::{Map, Value};
use twinway_protocol::registry::ThirdPartyDescription;

/// How much of a member's value is shown, in characters.
const SHOWN_CHARACTERS_MAX: usize = 120;

fn members(description: &ThirdPartyDescription) -> Map<String, Value> {
    match serde_json::to_value(description) {
        Ok(Value::Object(members)) => members,
        // A description is an object, and its keys are text.
        Ok(_) | Err(_) => Map::new(),
    }
}

fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "absent".to_owned(), Value::to_string);
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// The members of the JSON document that differ, each with both values. Writing the same value in another way is no
/// difference.
pub(super) fn differences(registered: &ThirdPartyDescription, other: &ThirdPartyDescription) -> Vec<String> {
    let (registered, other) = (members(registered), members(other));
    let names = registered.keys().chain(other.keys().filter(|name| !registered.contains_key(*name)));
    names
        .filter(|name| registered.get(*name) != other.get(*name))
        .map(|name| format!("{name}: {} -> {}", shown(registered.get(name)), shown(other.get(name))))
        .collect()
}
