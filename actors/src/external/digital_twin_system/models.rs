//! Thing Models (W3C WoT Thing Description 1.1, section 10; FGMV-29 8.3.1): a class of twins described once, by whose
//! name and placeholders a twin list describes its twins.
//!
//! In a list such a description is `{"model": NAME, "placeholders": {...}, "with": {...}}`: the placeholders are filled
//! in, and `with`, a merge patch (RFC 7396), adds what is the twin's own. What comes of it is the twin's description.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Map, Value};
use twinway_protocol::{
    JsonDoc, Meta, Out, Problem, ProblemKind, merge_patch,
    message::{KeepThingModel, RegisterTwinSystem, ThingModelShown},
    twin::{DEPTH_MAX, DESCRIPTION_BYTES_MAX},
};

use super::{DigitalTwinSystem, DigitalTwinSystemRecord, PART};
use crate::dtif::member;

/// How many Thing Models one twin system may have.
const THING_MODELS_MAX: usize = 1_000;
/// The type of a document that describes a class of things.
const THING_MODEL: &str = "tm:ThingModel";
/// What only Thing Models have, and other models than those that stand for themselves.
const NOT_FOLLOWED: [&str; 2] = ["tm:ref", "tm:extends"];

/// A description by reference.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference<'r> {
    model: String,
    #[serde(default, borrow)]
    placeholders: Option<&'r serde_json::value::RawValue>,
    #[serde(default, borrow)]
    with: Option<&'r serde_json::value::RawValue>,
}

fn refuse(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidDocument, detail).at(pointer)
}

impl DigitalTwinSystem {
    /// A Thing Model is kept byte for byte. The same again changes nothing; another one under its name is refused.
    pub(super) fn keep_model(&mut self, meta: &Meta, message: KeepThingModel, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<KeepThingModel>(out.event());
        let KeepThingModel { id, model } = message;
        let kept = match self.models.get(&*id) {
            Some(known) if *known == model => Ok(()),
            Some(_) => {
                let detail = format!("the Thing Model `{id}` is registered with other contents");
                Err(Problem::new(ProblemKind::AlreadyRegistered, detail))
            }
            None if self.models.len() >= THING_MODELS_MAX => {
                let detail = format!("a twin system has at most {THING_MODELS_MAX} Thing Models");
                Err(Problem::new(ProblemKind::LimitReached, detail))
            }
            None => check(&model),
        };
        let is_new = kept.is_ok() && !self.models.contains_key(&*id);
        if is_new {
            let record = DigitalTwinSystemRecord::Model { id: id.into(), model: model.clone() };
            out.record(PART, record.clone());
            twinway_protocol::Behaviour::replay(self, record);
        }
        out.reply(asker, kept.map(|()| ThingModelShown { model }));
    }

    pub(super) fn model(&self, id: &str) -> Result<ThingModelShown, Problem> {
        let unknown = || Problem::new(ProblemKind::ModelUnknown, format!("there is no Thing Model `{id}`"));
        self.models.get(id).map(|model| ThingModelShown { model: model.clone() }).ok_or_else(unknown)
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether it is a Thing Model that stands for itself.
fn check(model: &JsonDoc) -> Result<(), Problem> {
    if model.as_str().len() > DESCRIPTION_BYTES_MAX {
        return Err(refuse("", format!("a Thing Model has at most {DESCRIPTION_BYTES_MAX} bytes")));
    }
    let value: Value = model.read().map_err(|error| refuse("", error.to_string()))?;
    if depth(&value) > DEPTH_MAX {
        return Err(refuse("", format!("a Thing Model nests at most {DEPTH_MAX} deep")));
    }
    let types = match value.get("@type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => Vec::new(),
    };
    if !types.contains(&THING_MODEL) {
        return Err(refuse("/@type", format!("`{THING_MODEL}` is expected here")));
    }
    stands_alone(&value, "")
}

/// FGMV-29 has no one who would follow a reference to a model elsewhere.
fn stands_alone(value: &Value, pointer: &str) -> Result<(), Problem> {
    match value {
        Value::Array(items) => {
            let mut places = items.iter().enumerate();
            places.try_for_each(|(index, item)| stands_alone(item, &format!("{pointer}/{index}")))
        }
        Value::Object(members) => members.iter().try_for_each(|(name, part)| {
            let place = member(pointer, name);
            let refers = NOT_FOLLOWED.contains(&name.as_str())
                || (name == "rel" && part.as_str().is_some_and(|rel| NOT_FOLLOWED.contains(&rel)));
            if refers {
                return Err(refuse(place, "models that refer to other models are not followed: write it out"));
            }
            stands_alone(part, &place)
        }),
        _ => Ok(()),
    }
}

/// A registration whose descriptions by reference are written out. Those that are the same share one text.
pub(super) fn described(
    mut message: RegisterTwinSystem,
    models: &BTreeMap<String, JsonDoc>,
) -> Result<RegisterTwinSystem, Problem> {
    let mut written: BTreeMap<(String, String, String), JsonDoc> = BTreeMap::new();
    for (index, entry) in message.description.twins.iter_mut().enumerate() {
        let text = entry.description.as_str();
        if !text.contains("\"model\"") || text.contains("\"@context\"") {
            continue;
        }
        let at = format!("/twins/{index}/description");
        let reference: Reference<'_> =
            serde_json::from_str(text).map_err(|error| refuse(at.clone(), error.to_string()))?;
        let raw = |part: Option<&serde_json::value::RawValue>| part.map(|raw| raw.get().to_owned()).unwrap_or_default();
        let key = (reference.model.clone(), raw(reference.placeholders), raw(reference.with));
        let description = match written.get(&key) {
            Some(description) => description.clone(),
            None => {
                let description = instance(&reference, models).map_err(|problem| {
                    let inside = problem.pointer.clone().unwrap_or_default();
                    problem.at(format!("{at}{inside}"))
                })?;
                written.insert(key, description.clone());
                description
            }
        };
        Arc::make_mut(entry).description = description;
    }
    Ok(message)
}

fn instance(reference: &Reference<'_>, models: &BTreeMap<String, JsonDoc>) -> Result<JsonDoc, Problem> {
    let Some(model) = models.get(&reference.model) else {
        let detail = format!("the system has no Thing Model `{}`", reference.model);
        return Err(Problem::new(ProblemKind::ModelUnknown, detail).at("/model"));
    };
    let members = |raw: Option<&serde_json::value::RawValue>, place: &str| -> Result<Map<String, Value>, Problem> {
        raw.map_or(Ok(Map::new()), |raw| {
            serde_json::from_str(raw.get()).map_err(|error| refuse(place, error.to_string()))
        })
    };
    let placeholders = members(reference.placeholders, "/placeholders")?;
    let with = members(reference.with, "/with")?;
    let mut thing: Value = model.read().map_err(|error| refuse("/model", error.to_string()))?;
    let mut filling = Filling { placeholders: &placeholders, used: BTreeSet::new() };
    filling.fill(&mut thing)?;
    if let Some(unused) = placeholders.keys().find(|name| !filling.used.contains(name.as_str())) {
        let detail = format!("the Thing Model `{}` has no placeholder `{unused}`", reference.model);
        return Err(refuse(member("/placeholders", unused), detail));
    }
    no_model_any_more(&mut thing);
    fill_forms(&mut thing);
    merge_patch(&mut thing, Value::Object(with));
    JsonDoc::from_value(&thing).map_err(|error| refuse("", error.to_string()))
}

/// A thing is no class of things, and has everything that its class leaves open.
fn no_model_any_more(thing: &mut Value) {
    let Some(members) = thing.as_object_mut() else { return };
    members.remove("tm:optional");
    match members.get_mut("@type") {
        Some(Value::Array(types)) => types.retain(|name| name != THING_MODEL),
        _ => {
            members.remove("@type");
        }
    }
    if members.get("@type").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        members.remove("@type");
    }
}

/// Where a model leaves open how an affordance is reached, it is reached by its name: whoever wants something of the thing
/// goes by its twin system.
fn fill_forms(thing: &mut Value) {
    for kind in ["properties", "actions", "events"] {
        let affordances = thing.get_mut(kind).and_then(Value::as_object_mut);
        for (name, affordance) in affordances.into_iter().flatten() {
            if let Some(affordance) = affordance.as_object_mut().filter(|affordance| !affordance.contains_key("forms"))
            {
                affordance.insert("forms".to_owned(), serde_json::json!([{"href": format!("{kind}/{name}")}]));
            }
        }
    }
}

/// Fills placeholders in, and notes which there are.
struct Filling<'p> {
    placeholders: &'p Map<String, Value>,
    used: BTreeSet<String>,
}

impl Filling<'_> {
    fn fill(&mut self, value: &mut Value) -> Result<(), Problem> {
        match value {
            Value::String(text) => {
                if let Some(filled) = self.text(text)? {
                    *value = filled;
                }
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.fill(item)),
            Value::Object(members) => {
                let mut filled = Map::new();
                for (name, mut part) in std::mem::take(members) {
                    self.fill(&mut part)?;
                    let name = match self.text(&name)? {
                        Some(Value::String(name)) => name,
                        Some(other) => other.to_string(),
                        None => name,
                    };
                    filled.insert(name, part);
                }
                *members = filled;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Section 10.3.4: a text that is one placeholder becomes its value, whatever type that has; within a text it is
    /// written out. None: there is no placeholder.
    fn text(&mut self, text: &str) -> Result<Option<Value>, Problem> {
        let mut filled = String::new();
        let mut rest = text;
        let mut found = false;
        while let Some((before, behind)) = rest.split_once("{{") {
            let Some((name, after)) = behind.split_once("}}") else { break };
            let Some(value) = self.placeholders.get(name) else {
                return Err(refuse("/placeholders", format!("the placeholder `{name}` is not filled")));
            };
            self.used.insert(name.to_owned());
            found = true;
            if before.is_empty() && after.is_empty() && filled.is_empty() {
                return Ok(Some(value.clone()));
            }
            filled.push_str(before);
            match value {
                Value::String(value) => filled.push_str(value),
                value => filled.push_str(&value.to_string()),
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(found.then_some(Value::String(filled)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};
    use twinway_protocol::{JsonDoc, Problem, ProblemKind};

    use super::{Reference, check, instance};

    fn model() -> BTreeMap<String, JsonDoc> {
        let model = json!({
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "@type": ["tm:ThingModel", "Lamp"], "title": "{{ROOM}} lamp",
            "tm:optional": ["/properties/on"],
            "properties": {"level": {"maximum": "{{MAX}}", "forms": [{"href": "http://{{HOST}}/level"}]}},
        });
        BTreeMap::from([("lamp".to_owned(), JsonDoc::from_value(&model).expect("it is JSON"))])
    }

    fn written(reference: &Value) -> Result<Value, Problem> {
        let text = reference.to_string();
        let read: Result<Reference<'_>, _> = serde_json::from_str(&text);
        let invalid = |error: serde_json::Error| Problem::new(ProblemKind::Internal, error.to_string());
        instance(&read.map_err(invalid)?, &model())?.read().map_err(invalid)
    }

    #[test]
    fn placeholders_are_filled_with_their_types_and_what_is_the_twins_own_is_added() {
        let thing = written(&json!({
            "model": "lamp", "placeholders": {"ROOM": "Kitchen", "MAX": 7, "HOST": "a.example"}, "with": {"id": "urn:1"},
        }));
        let expected = json!({
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "@type": ["Lamp"], "title": "Kitchen lamp", "id": "urn:1",
            "properties": {"level": {"maximum": 7, "forms": [{"href": "http://a.example/level"}]}},
        });
        assert_eq!(thing.expect("it is written out"), expected);
    }

    #[test]
    fn a_placeholder_that_is_not_filled_or_that_the_model_does_not_have_is_told() {
        let place = |reference: Value| {
            let problem = written(&reference).expect_err("it is refused");
            (problem.kind, problem.pointer.expect("it has a place"))
        };
        let invalid = ProblemKind::InvalidDocument;
        let some = json!({"model": "lamp", "placeholders": {"ROOM": "Kitchen"}});
        assert_eq!(place(some), (invalid, "/placeholders".to_owned()));
        let more = json!({"model": "lamp", "placeholders": {"ROOM": "K", "MAX": 1, "HOST": "h", "X": 1}});
        assert_eq!(place(more), (invalid, "/placeholders/X".to_owned()));
        assert_eq!(place(json!({"model": "door"})), (ProblemKind::ModelUnknown, "/model".to_owned()));
    }

    #[test]
    fn a_model_that_refers_to_another_one_is_refused_with_the_place() {
        let refused = |model: Value| {
            let model = JsonDoc::from_value(&model).expect("it is JSON");
            check(&model).expect_err("it is refused").pointer.expect("it has a place")
        };
        let refers =
            json!({"@type": "tm:ThingModel", "properties": {"on": {"tm:ref": "http://nowhere.example/tm#/x"}}});
        assert_eq!(refused(refers), "/properties/on/tm:ref");
        let extends = json!({"@type": "tm:ThingModel", "links": [{"rel": "tm:extends", "href": "x"}]});
        assert_eq!(refused(extends), "/links/0/rel");
        assert_eq!(refused(json!({"@type": "Lamp"})), "/@type");
    }
}
