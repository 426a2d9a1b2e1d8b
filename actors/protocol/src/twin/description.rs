//! The typed view of a Thing Description: what Twinway needs of it, checked with the place of every mistake.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use serde_json::{Map, Value};

use crate::{JsonDoc, Problem, ProblemKind};

/// The deepest nesting of objects and arrays in a description. The JSON reader itself stops at 128.
pub const DEPTH_MAX: usize = 64;
/// The largest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1024 * 1024;

/// What a description says of one property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PropertyAffordance {
    /// It cannot be written.
    pub read_only: bool,
    /// It cannot be read.
    pub write_only: bool,
}

/// What can be done with a thing, as its description says (W3C WoT Thing Description 1.1, section 5.3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affordances {
    /// The thing's title.
    pub title: String,
    /// Its properties.
    pub properties: BTreeMap<String, PropertyAffordance>,
    /// The names of its actions.
    pub actions: BTreeSet<String>,
    /// The names of its events.
    pub events: BTreeSet<String>,
}

/// How many readings one thread remembers.
const READINGS_KEPT: usize = 4;
/// The largest description whose reading is remembered, in bytes.
const READING_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    /// The newest readings of this thread: one description is read by every entity that hears of its twin, and reading
    /// it costs more than all else that they do with it. A reading depends on the text alone, so nobody can tell.
    static READINGS: RefCell<VecDeque<(JsonDoc, Affordances)>> = const { RefCell::new(VecDeque::new()) };
}

fn refuse(pointer: &str, detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidDocument, detail).at(pointer)
}

fn token(pointer: &str, key: &str) -> String {
    // RFC 6901: `~` and `/` are escaped.
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn object<'v>(value: &'v Value, pointer: &str) -> Result<&'v Map<String, Value>, Problem> {
    value.as_object().ok_or_else(|| refuse(pointer, "an object is expected here"))
}

fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str, Problem> {
    value.as_str().ok_or_else(|| refuse(pointer, "text is expected here"))
}

fn flag(affordance: &Map<String, Value>, name: &str, pointer: &str) -> Result<bool, Problem> {
    match affordance.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(refuse(&token(pointer, name), "true or false is expected here")),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Section 5.3.4.2: a form is an object with an `href`.
fn check_forms(affordance: &Map<String, Value>, pointer: &str, required: bool) -> Result<(), Problem> {
    let pointer_forms = token(pointer, "forms");
    let Some(forms) = affordance.get("forms") else {
        return if required { Err(refuse(pointer, "`forms` is missing here")) } else { Ok(()) };
    };
    let forms = forms.as_array().ok_or_else(|| refuse(&pointer_forms, "an array of forms is expected here"))?;
    if forms.is_empty() {
        return Err(refuse(&pointer_forms, "at least one form is expected here"));
    }
    for (index, form) in forms.iter().enumerate() {
        let pointer_form = format!("{pointer_forms}/{index}");
        let form = object(form, &pointer_form)?;
        let href = form.get("href").ok_or_else(|| refuse(&pointer_form, "`href` is missing here"))?;
        text(href, &token(&pointer_form, "href"))?;
    }
    Ok(())
}

/// An affordance's name, its members, and its place.
type Affordance<'v> = (&'v String, &'v Map<String, Value>, String);

fn affordances<'v>(thing: &'v Map<String, Value>, name: &'static str) -> Result<Vec<Affordance<'v>>, Problem> {
    let pointer = token("", name);
    let Some(found) = thing.get(name) else { return Ok(Vec::new()) };
    object(found, &pointer)?
        .iter()
        .map(|(key, value)| {
            let pointer = token(&pointer, key);
            let affordance = object(value, &pointer)?;
            check_forms(affordance, &pointer, true)?;
            Ok((key, affordance, pointer))
        })
        .collect()
}

/// Section 5.3.1.1: `security` names definitions of `securityDefinitions`, and both are mandatory.
fn check_security(thing: &Map<String, Value>) -> Result<(), Problem> {
    let definitions =
        thing.get("securityDefinitions").ok_or_else(|| refuse("", "`securityDefinitions` is missing here"))?;
    let definitions = object(definitions, "/securityDefinitions")?;
    if definitions.is_empty() {
        return Err(refuse("/securityDefinitions", "at least one definition is expected here"));
    }
    for (name, definition) in definitions {
        let pointer = token("/securityDefinitions", name);
        let scheme =
            object(definition, &pointer)?.get("scheme").ok_or_else(|| refuse(&pointer, "`scheme` is missing here"))?;
        text(scheme, &token(&pointer, "scheme"))?;
    }
    let security = thing.get("security").ok_or_else(|| refuse("", "`security` is missing here"))?;
    let names: Vec<(&Value, String)> = match security {
        Value::Array(names) if !names.is_empty() => {
            names.iter().enumerate().map(|(index, name)| (name, format!("/security/{index}"))).collect()
        }
        Value::Array(_) => return Err(refuse("/security", "at least one name is expected here")),
        name => vec![(name, "/security".to_owned())],
    };
    for (name, pointer) in names {
        if !definitions.contains_key(text(name, &pointer)?) {
            return Err(refuse(&pointer, "this names no definition in `securityDefinitions`"));
        }
    }
    Ok(())
}

/// The type of a document that describes a class of things (section 10).
const THING_MODEL: &str = "tm:ThingModel";

/// Section 5.3.1.1: `@context` is a URI or several; `@type` is a name or several, and a Thing Model's is no thing's.
fn check_kind(thing: &Map<String, Value>) -> Result<(), Problem> {
    let context = thing.get("@context").ok_or_else(|| refuse("", "`@context` is missing here"))?;
    if !context.is_string() && !context.is_array() {
        return Err(refuse("/@context", "text or an array is expected here"));
    }
    let types: Vec<(&Value, String)> = match thing.get("@type") {
        None => Vec::new(),
        Some(Value::Array(types)) => {
            types.iter().enumerate().map(|(index, name)| (name, format!("/@type/{index}"))).collect()
        }
        Some(name) => vec![(name, "/@type".to_owned())],
    };
    for (name, pointer) in types {
        if text(name, &pointer)? == THING_MODEL {
            return Err(refuse(
                &pointer,
                "a Thing Model describes a class of things: a description of one is expected",
            ));
        }
    }
    Ok(())
}

impl Affordances {
    /// Reads a Thing Description.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidDocument`] with the place in the description, when something mandatory is missing
    /// or has the wrong type, or when it is too large or too deep.
    pub fn read(description: &JsonDoc) -> Result<Self, Problem> {
        READINGS.with_borrow_mut(|readings| {
            let find_by = |is_same: fn(&JsonDoc, &JsonDoc) -> bool| {
                readings.iter().position(|(read, _)| is_same(read, description))
            };
            // What came back from a disk has the same text at another place.
            let known = find_by(JsonDoc::shares_text_with).or_else(|| find_by(|a, b| a.as_str() == b.as_str()));
            if let Some((read, affordances)) = known.and_then(|at| readings.get_mut(at)) {
                *read = description.clone();
                return Ok(affordances.clone());
            }
            let affordances = Self::read_anew(description)?;
            if description.as_str().len() <= READING_BYTES_MAX {
                readings.truncate(READINGS_KEPT - 1);
                readings.push_front((description.clone(), affordances.clone()));
            }
            Ok(affordances)
        })
    }

    fn read_anew(description: &JsonDoc) -> Result<Self, Problem> {
        if description.as_str().len() > DESCRIPTION_BYTES_MAX {
            return Err(refuse("", format!("a description has at most {DESCRIPTION_BYTES_MAX} bytes")));
        }
        let thing: Value = description.read().map_err(|error| refuse("", error.to_string()))?;
        if depth(&thing) > DEPTH_MAX {
            return Err(refuse("", format!("a description nests at most {DEPTH_MAX} deep")));
        }
        let thing = object(&thing, "")?;
        check_kind(thing)?;
        let title = thing.get("title").ok_or_else(|| refuse("", "`title` is missing here"))?;
        let mut read = Self { title: text(title, "/title")?.to_owned(), ..Self::default() };
        if let Some(id) = thing.get("id") {
            text(id, "/id")?;
        }
        check_security(thing)?;
        check_forms(thing, "", false)?;
        for (name, affordance, pointer) in affordances(thing, "properties")? {
            let property = PropertyAffordance {
                read_only: flag(affordance, "readOnly", &pointer)?,
                write_only: flag(affordance, "writeOnly", &pointer)?,
            };
            read.properties.insert(name.clone(), property);
        }
        read.actions = affordances(thing, "actions")?.into_iter().map(|(name, ..)| name.clone()).collect();
        read.events = affordances(thing, "events")?.into_iter().map(|(name, ..)| name.clone()).collect();
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::Affordances;
    use crate::JsonDoc;

    fn pointer_of_refusal(text: &str) -> Option<String> {
        Affordances::read(&JsonDoc::parse(text).expect("it is JSON")).expect_err("it is refused").pointer
    }

    const HEAD: &str = r#""@context":"https://www.w3.org/2022/wot/td/v1.1","title":"Lamp",
        "securityDefinitions":{"nosec_sc":{"scheme":"nosec"}},"security":"nosec_sc""#;

    #[test]
    fn a_description_gives_its_affordances() {
        let text = format!(
            r#"{{{HEAD},"properties":{{"on":{{"type":"boolean","forms":[{{"href":"/on"}}]}},
            "power":{{"readOnly":true,"forms":[{{"href":"/power"}}]}}}},"actions":{{"blink":{{"forms":[{{"href":"/b"}}]}}}}}}"#
        );
        let read = Affordances::read(&JsonDoc::parse(text).expect("it is JSON")).expect("it is a description");
        assert_eq!(read.title, "Lamp");
        assert!(read.properties["power"].read_only && !read.properties["on"].read_only);
        assert!(read.actions.contains("blink"));
    }

    #[test]
    fn a_thing_model_is_no_description_of_a_thing() {
        for (types, place) in [(r#""tm:ThingModel""#, "/@type"), (r#"["Lamp","tm:ThingModel"]"#, "/@type/1")] {
            assert_eq!(pointer_of_refusal(&format!(r#"{{{HEAD},"@type":{types}}}"#)).as_deref(), Some(place));
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let at = |tail: &str| pointer_of_refusal(&format!("{{{HEAD},{tail}}}"));
        assert_eq!(
            at(r#""properties":{"a/b":{"forms":[{"href":1}]}}"#).as_deref(),
            Some("/properties/a~1b/forms/0/href")
        );
        assert_eq!(
            at(r#""properties":{"on":{"readOnly":"no","forms":[{"href":""}]}}"#).as_deref(),
            Some("/properties/on/readOnly")
        );
        assert_eq!(at(r#""actions":[]"#).as_deref(), Some("/actions"));
        assert_eq!(at(r#""@type":["a",{}]"#).as_deref(), Some("/@type/1"));
        assert_eq!(pointer_of_refusal(r#"{"@context":7}"#).as_deref(), Some("/@context"));
        assert_eq!(pointer_of_refusal(r#"{"@context":"x","title":7}"#).as_deref(), Some("/title"));
        assert_eq!(pointer_of_refusal("[]").as_deref(), Some(""));
    }
}
