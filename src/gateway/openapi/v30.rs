//! The projection of an OpenAPI 3.1 document to 3.0, for generators that read only that.

use serde_json::{Map, Value, json};

/// The members of a document under which names stand that are not keywords.
const NAMED: [&str; 12] = [
    "properties",
    "patternProperties",
    "schemas",
    "responses",
    "parameters",
    "requestBodies",
    "headers",
    "securitySchemes",
    "paths",
    "content",
    "variables",
    "mapping",
];

/// What 3.0 has no word for and does not need to be told.
const UNKNOWN: [&str; 9] = [
    "$schema",
    "$id",
    "$comment",
    "propertyNames",
    "patternProperties",
    "contentEncoding",
    "contentMediaType",
    "prefixItems",
    "unevaluatedProperties",
];

/// The same document in 3.0, as far as 3.0 can say it: what it cannot say is left out, so that it accepts more.
pub(super) fn project(mut document: Value) -> Value {
    if let Some(root) = document.as_object_mut() {
        root.insert("openapi".to_owned(), json!("3.0.3"));
        root.remove("webhooks");
        root.remove("jsonSchemaDialect");
        if let Some(info) = root.get_mut("info").and_then(Value::as_object_mut) {
            info.remove("summary");
            // 3.0 knows a licence's name and URL only.
            if let Some(license) = info.get_mut("license").and_then(Value::as_object_mut) {
                license.remove("identifier");
            }
        }
    }
    keywords(&mut document);
    document
}

/// Projects a value whose members are keywords.
fn keywords(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(keywords),
        Value::Object(members) => {
            object(members);
            for (name, member) in members.iter_mut() {
                match name.as_str() {
                    // What stands in these is data, not schemas.
                    "example" | "default" | "enum" => {}
                    name if NAMED.contains(&name) => names(member),
                    _ => keywords(member),
                }
            }
        }
        _ => {}
    }
}

/// Projects a value whose members' names are not keywords, such as `properties` with a property `const`.
fn names(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(keywords),
        // `parameters` of an operation is a list.
        other => keywords(other),
    }
}

fn object(members: &mut Map<String, Value>) {
    if reference(members) {
        return;
    }
    nullable_type(members);
    nullable_choice(members);
    if let Some(only) = members.remove("const") {
        members.insert("enum".to_owned(), json!([only]));
    }
    if let Some(Value::Array(examples)) = members.get_mut("examples") {
        let first = (!examples.is_empty()).then(|| examples.swap_remove(0));
        members.remove("examples");
        if let Some(first) = first {
            members.insert("example".to_owned(), first);
        }
    }
    bound(members, "exclusiveMinimum", "minimum");
    bound(members, "exclusiveMaximum", "maximum");
    for name in UNKNOWN {
        members.remove(name);
    }
}

/// In 3.0 what stands beside `$ref` is ignored: it goes around a list of one. Gives whether it was a bare reference.
fn reference(members: &mut Map<String, Value>) -> bool {
    let Some(target @ Value::String(_)) = members.get("$ref").cloned() else { return false };
    if members.len() == 1 {
        return true;
    }
    members.remove("$ref");
    members.insert("allOf".to_owned(), json!([{ "$ref": target }]));
    false
}

/// `type: [T, "null"]` is `type: T, nullable: true`; of several other types none is said.
fn nullable_type(members: &mut Map<String, Value>) {
    match members.get("type") {
        Some(Value::Array(types)) => {
            let nullable = types.iter().any(|one| one == "null");
            let mut others: Vec<Value> = types.iter().filter(|one| *one != "null").cloned().collect();
            members.remove("type");
            if let (Some(one), true) = (others.pop(), others.is_empty()) {
                members.insert("type".to_owned(), one);
            }
            if nullable {
                members.insert("nullable".to_owned(), json!(true));
            }
        }
        Some(Value::String(only)) if only == "null" => {
            members.remove("type");
            members.insert("nullable".to_owned(), json!(true));
            members.insert("enum".to_owned(), json!([null]));
        }
        _ => {}
    }
}

/// `oneOf: [null, T]` is `allOf: [T], nullable: true`.
fn nullable_choice(members: &mut Map<String, Value>) {
    for name in ["oneOf", "anyOf"] {
        let Some(Value::Array(choices)) = members.get_mut(name) else { continue };
        let all = choices.len();
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if choices.len() == all {
            continue;
        }
        let rest = std::mem::take(choices);
        members.remove(name);
        members.insert("nullable".to_owned(), json!(true));
        members.insert(if rest.len() == 1 { "allOf" } else { name }.to_owned(), Value::Array(rest));
    }
}

/// `exclusiveMinimum: 3` is `minimum: 3, exclusiveMinimum: true`.
fn bound(members: &mut Map<String, Value>, exclusive: &str, inclusive: &str) {
    if let Some(limit @ Value::Number(_)) = members.get(exclusive).cloned() {
        members.insert(inclusive.to_owned(), limit);
        members.insert(exclusive.to_owned(), json!(true));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::document, keywords, project};

    fn projected(mut schema: Value) -> Value {
        keywords(&mut schema);
        schema
    }

    #[test]
    fn what_3_0_says_otherwise_is_said_otherwise() {
        assert_eq!(projected(json!({"type": ["string", "null"]})), json!({"type": "string", "nullable": true}));
        assert_eq!(projected(json!({"const": 7})), json!({"enum": [7]}));
        assert_eq!(projected(json!({"examples": ["a", "b"]})), json!({"example": "a"}));
        assert_eq!(projected(json!({"exclusiveMinimum": 3})), json!({"minimum": 3, "exclusiveMinimum": true}));
        assert_eq!(
            projected(json!({"oneOf": [{"type": "null"}, {"$ref": "#/x"}]})),
            json!({"nullable": true, "allOf": [{"$ref": "#/x"}]})
        );
        assert_eq!(
            projected(json!({"$ref": "#/x", "description": "d"})),
            json!({"allOf": [{"$ref": "#/x"}], "description": "d"})
        );
        assert_eq!(projected(json!({"type": ["string", "integer"]})), json!({}));
    }

    #[test]
    fn a_property_with_a_keywords_name_stays() {
        let schema = json!({"properties": {"const": {"type": "string"}, "examples": {"type": "array"}}});
        assert_eq!(projected(schema.clone()), schema);
    }

    #[test]
    fn the_projection_has_nothing_that_only_3_1_has() {
        let document = project(serde_json::to_value(document()).expect("it is written"));
        assert_eq!(document["openapi"], "3.0.3");
        assert!(document.get("webhooks").is_none());
        for part in ["paths", "components"] {
            check(&document[part], part, true);
        }
    }

    /// `named`: the members' names are not keywords.
    fn check(value: &Value, at: &str, named: bool) {
        if let Value::Array(items) = value {
            items.iter().for_each(|item| check(item, at, false));
        }
        let Value::Object(members) = value else { return };
        for (name, member) in members {
            let at = format!("{at}/{name}");
            if !named {
                let only_3_1 = match name.as_str() {
                    "type" => !member.is_string() || member == "null",
                    "exclusiveMinimum" | "exclusiveMaximum" => member.is_number(),
                    "$ref" => members.len() > 1,
                    "const" | "examples" | "$schema" | "$id" | "propertyNames" | "prefixItems" => true,
                    _ => false,
                };
                assert!(!only_3_1, "{at}: {member}");
            }
            let map = ["properties", "schemas", "responses", "securitySchemes", "content"].contains(&name.as_str());
            check(member, &at, map && !named || at == "components");
        }
    }
}
