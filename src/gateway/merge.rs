//! JSON merge patches (RFC 7396) of properties.

use serde_json::Value;
use twinway_protocol::{JsonDoc, Problem, ProblemKind, merge_patch};

use super::json;

/// What a property's value becomes by a merge patch (RFC 7396): a patch that is an object changes only the
/// members that it names, of the value that is published now.
pub(super) fn merged(name: &str, present: Option<&JsonDoc>, patch: &JsonDoc) -> Result<JsonDoc, Problem> {
    let mut pointer = String::new();
    json::push(&mut pointer, name);
    let refuse = |detail: String| Problem::new(ProblemKind::InvalidDocument, detail).at(pointer.clone());
    let unreadable = |error: serde_json::Error| refuse(error.to_string());
    match patch.read::<Value>().map_err(unreadable)? {
        Value::Null => {
            let detail = "in a merge patch null removes a member, and a property cannot be removed; send the value \
                          null as application/json";
            Err(refuse(detail.to_owned()))
        }
        members @ Value::Object(_) => {
            let mut value = present.map_or(Ok(Value::Null), JsonDoc::read::<Value>).map_err(unreadable)?;
            merge_patch(&mut value, members);
            JsonDoc::from_value(&value).map_err(unreadable)
        }
        _ => Ok(patch.clone()),
    }
}

#[cfg(test)]
mod tests {
    use twinway_protocol::{JsonDoc, ProblemKind};

    use super::merged;

    fn doc(text: &str) -> JsonDoc {
        JsonDoc::parse(text).expect("it is JSON")
    }

    #[test]
    fn a_merge_patch_changes_only_the_members_it_names() {
        let present = doc(r#"{"r":1,"g":2,"b":{"x":1,"y":2}}"#);
        let value = merged("color", Some(&present), &doc(r#"{"g":null,"b":{"y":3}}"#)).expect("it is a patch");
        assert_eq!(value.read::<serde_json::Value>().ok(), Some(serde_json::json!({"r":1,"b":{"x":1,"y":3}})));
        assert_eq!(merged("on", Some(&doc("true")), &doc("false")).expect("a value").as_str(), "false");
        assert_eq!(merged("new", None, &doc(r#"{"a":1,"b":null}"#)).expect("a value").as_str(), r#"{"a":1}"#);
    }

    #[test]
    fn a_merge_patch_cannot_remove_a_property() {
        let problem = merged("a/b", Some(&doc("1")), &doc("null")).expect_err("it is refused");
        assert_eq!((problem.kind, problem.pointer.as_deref()), (ProblemKind::InvalidDocument, Some("/a~1b")));
    }
}
