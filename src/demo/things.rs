//! The things of the home: what they are, in Thing Descriptions, and how they are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use twinway_protocol::{
    JsonDoc, NameError, ObjectUri, TwinId,
    access::{Characteristics, Right},
    message::PropertyValues,
    twin::{TwinClass, TwinEntry},
};

use super::{ADVISOR, ARM, DOOR, LAMP, document, system, twin};

/// The power of the lamp per percent of brightness, in watts.
const WATTS_A_PERCENT: f64 = 0.09;

fn form(thing: &str, kind: &str, name: &str) -> Value {
    json!([{ "href": format!("http://home.example/{thing}/{kind}/{name}") }])
}

/// A Thing Description (W3C WoT Thing Description 1.1) with these properties and actions.
fn describe(thing: &str, title: &str, properties: Value, actions: &[(&str, &str)]) -> Value {
    let mut properties = properties;
    for (name, property) in properties.as_object_mut().into_iter().flatten() {
        if let Some(property) = property.as_object_mut() {
            property.insert("forms".to_owned(), form(thing, "properties", name));
        }
    }
    let actions: BTreeMap<_, _> = actions
        .iter()
        .map(|(name, description)| {
            (*name, json!({ "description": description, "forms": form(thing, "actions", name) }))
        })
        .collect();
    let mut description = json!({
        "@context": "https://www.w3.org/2022/wot/td/v1.1",
        "id": format!("urn:example:home:{thing}"),
        "title": title,
        "securityDefinitions": { "nosec_sc": { "scheme": "nosec" } },
        "security": ["nosec_sc"],
        "properties": properties,
    });
    if let (Some(description), false) = (description.as_object_mut(), actions.is_empty()) {
        description.insert("actions".to_owned(), json!(actions));
    }
    description
}

fn lamp() -> Value {
    let properties = json!({
        "on": { "title": "Switched on", "type": "boolean" },
        "brightness": { "title": "Brightness", "type": "integer", "minimum": 0, "maximum": 100, "unit": "percent" },
        "power": { "title": "Power drawn", "type": "number", "unit": "watt", "readOnly": true },
    });
    describe(LAMP, "Lamp in the hall", properties, &[])
}

fn door() -> Value {
    let properties = json!({
        "open": { "title": "Stands open", "type": "boolean" },
        "locked": { "title": "Locked", "type": "boolean" },
    });
    describe(DOOR, "Front door", properties, &[])
}

fn arm() -> Value {
    let properties = json!({
        "joints": {
            "title": "Angles of the joints, from the base", "type": "array", "unit": "degree",
            "items": { "type": "number", "minimum": -180, "maximum": 180 }, "minItems": 6, "maxItems": 6,
        },
        "gripper": { "title": "Gripper", "type": "string", "enum": ["open", "closed"] },
        "moving": { "title": "In motion", "type": "boolean", "readOnly": true },
    });
    describe(ARM, "Robot arm in the kitchen", properties, &[("stop", "Stops every joint at once")])
}

/// The list of twins that the home registers (FGMV-28 REQ-DT-02).
pub(super) fn entries() -> Result<Vec<TwinEntry>, NameError> {
    let advisor = BTreeMap::from([(system(ADVISOR)?, BTreeSet::from([Right::Read]))]);
    // What the arm does is nobody's business but the home's.
    let things = [(LAMP, lamp(), advisor.clone()), (DOOR, door(), advisor), (ARM, arm(), BTreeMap::new())];
    let entry = |(id, description, access): (&str, Value, _)| {
        Ok(TwinEntry {
            id: twin(id)?,
            physical_object: Some(ObjectUri::new(format!("urn:example:home:object:{id}"))?),
            class: TwinClass::Object,
            description: document(&description),
            characteristics: Characteristics::default(),
            access,
        })
    };
    things.into_iter().map(entry).collect()
}

/// How the things are now.
#[derive(Debug)]
pub(super) struct Things {
    values: BTreeMap<&'static str, BTreeMap<&'static str, Value>>,
    ticks: u32,
}

impl Things {
    pub(super) fn new() -> Self {
        let lamp = BTreeMap::from([("on", json!(true)), ("brightness", json!(80)), ("power", json!(7.2))]);
        let door = BTreeMap::from([("open", json!(false)), ("locked", json!(true))]);
        let joints = json!([0.0, -90.0, 90.0, 0.0, 45.0, 0.0]);
        let arm = BTreeMap::from([("joints", joints), ("gripper", json!("open")), ("moving", json!(false))]);
        Self { values: BTreeMap::from([(LAMP, lamp), (DOOR, door), (ARM, arm)]), ticks: 0 }
    }

    /// All values of a twin's thing.
    pub(super) fn values_of(&self, twin: &TwinId) -> PropertyValues {
        let values = self.values.get(twin.as_str()).into_iter().flatten();
        values.map(|(name, value)| ((*name).to_owned(), document(value))).collect()
    }

    /// Does what was asked for (9.2 step 17), all of it or nothing. Gives what is different now, which can be more:
    /// a lamp that is dimmed draws less power.
    pub(super) fn apply(&mut self, twin: &TwinId, values: &PropertyValues) -> Result<PropertyValues, String> {
        let before = self.values_of(twin);
        let thing = self.values.get_mut(twin.as_str()).ok_or_else(|| format!("there is no `{twin}` here"))?;
        let mut next = thing.clone();
        for (name, value) in values {
            let present = next.get_mut(name.as_str()).ok_or_else(|| format!("`{twin}` has no `{name}`"))?;
            let value: Value = value.read().map_err(|error| error.to_string())?;
            check(name, present, &value)?;
            *present = value;
        }
        *thing = next;
        self.draw_power();
        let mut now = self.values_of(twin);
        now.retain(|name, value| values.contains_key(name) || before.get(name) != Some(value));
        Ok(now)
    }

    /// One second of life. Gives what changed.
    pub(super) fn tick(&mut self) -> (&'static str, PropertyValues) {
        self.ticks = self.ticks.wrapping_add(1);
        match self.ticks % 6 {
            0 => self.toggle(LAMP, "on"),
            3 => self.toggle(DOOR, "open"),
            _ => self.move_arm(),
        }
    }

    /// The door opens or closes, the lamp is switched.
    pub(super) fn toggle(&mut self, thing: &'static str, name: &'static str) -> (&'static str, PropertyValues) {
        let mut changed = PropertyValues::new();
        if let Some(value) = self.values.get_mut(thing).and_then(|values| values.get_mut(name)) {
            *value = json!(!value.as_bool().unwrap_or(false));
            changed.insert(name.to_owned(), document(value));
        }
        self.draw_power();
        if thing == LAMP {
            changed.extend(
                self.values
                    .get(LAMP)
                    .and_then(|lamp| lamp.get("power"))
                    .map(|power| ("power".to_owned(), document(power))),
            );
        }
        (thing, changed)
    }

    fn move_arm(&mut self) -> (&'static str, PropertyValues) {
        let turn = f64::from(self.ticks % 72) * 5.0 - 180.0;
        let joints = json!([turn, -90.0, 90.0 - turn / 4.0, 0.0, 45.0, turn / 2.0]);
        let mut changed = PropertyValues::new();
        if let Some(value) = self.values.get_mut(ARM).and_then(|arm| arm.get_mut("joints")) {
            *value = joints;
            changed.insert("joints".to_owned(), document(value));
        }
        (ARM, changed)
    }

    fn draw_power(&mut self) {
        let Some(lamp) = self.values.get_mut(LAMP) else { return };
        let on = lamp.get("on").and_then(Value::as_bool).unwrap_or(false);
        let brightness = lamp.get("brightness").and_then(Value::as_f64).unwrap_or(0.0);
        let watts = if on { (brightness * WATTS_A_PERCENT * 100.0).round() / 100.0 } else { 0.0 };
        lamp.insert("power", json!(watts));
    }
}

/// Whether a property can have this value: the thing's own check, as its description says it.
fn check(name: &str, present: &Value, value: &Value) -> Result<(), String> {
    let fits = match (name, value) {
        ("power" | "moving", _) => false,
        ("brightness", value) => value.as_u64().is_some_and(|percent| percent <= 100),
        ("gripper", value) => value == "open" || value == "closed",
        ("joints", Value::Array(angles)) => {
            angles.len() == 6 && angles.iter().all(|it| it.as_f64().is_some_and(|angle| angle.abs() <= 180.0))
        }
        _ => std::mem::discriminant(present) == std::mem::discriminant(value),
    };
    if fits { Ok(()) } else { Err(format!("`{name}` cannot be `{value}`")) }
}

/// The value of a property as JSON, for who reads a twin.
pub(super) fn value_of(doc: &JsonDoc) -> Value {
    doc.read().unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use twinway_protocol::{JsonDoc, message::PropertyValues, twin::Affordances};

    use super::{LAMP, Things, entries, twin};

    fn values(text: &str) -> PropertyValues {
        serde_json::from_str::<PropertyValues>(text).expect("it is JSON")
    }

    #[test]
    fn every_description_is_a_thing_description_of_all_that_the_thing_has() {
        let things = Things::new();
        for entry in entries().expect("the names are names") {
            let read = Affordances::read(&entry.description).expect("it is a description");
            let described: Vec<_> = read.properties.keys().cloned().collect();
            let had: Vec<_> = things.values_of(&entry.id).into_keys().collect();
            assert_eq!(described, had, "{}", entry.id);
            assert!(entry.physical_object.is_some());
        }
    }

    #[test]
    fn a_change_that_a_thing_cannot_make_changes_nothing() {
        let mut things = Things::new();
        let lamp = twin(LAMP).expect("it is a name");
        let before = things.values_of(&lamp);
        for refused in [
            r#"{"brightness":50,"on":"yes"}"#,
            r#"{"brightness":101}"#,
            r#"{"brightness":50.5}"#,
            r#"{"power":1}"#,
            r#"{"colour":"red"}"#,
        ] {
            assert!(things.apply(&lamp, &values(refused)).is_err(), "{refused}");
            assert_eq!(things.values_of(&lamp), before);
        }
        let now = things.apply(&lamp, &values(r#"{"brightness":50}"#)).expect("a lamp dims");
        assert_eq!(now, values(r#"{"brightness":50,"power":4.5}"#));
        assert_eq!(things.values_of(&lamp).get("power").map(JsonDoc::as_str), Some("4.5"));
    }

    #[test]
    fn whatever_changes_while_the_home_lives_is_described() {
        let mut things = Things::new();
        let mut changed = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let (thing, values) = things.tick();
            let now = things.values_of(&twin(thing).expect("it is a name"));
            assert!(!values.is_empty() && values.iter().all(|(name, value)| now.get(name) == Some(value)));
            changed.insert(thing);
        }
        assert_eq!(changed.len(), 3, "all things live: {changed:?}");
    }
}
