//! Data schemas of Thing Descriptions (W3C WoT Thing Description 1.1, section 5.3.2): whether a value fits what the
//! twin's own description says of a property, of an action's input or of an event's data (FGMV-29 8.3.4).
//!
//! A data schema stands for itself: one that refers elsewhere (`$ref`), to itself or to the network, is not followed.
//! Such a schema, and one that does not compile, judges nothing: real descriptions have them, and a thing is not to be
//! kept out for the sake of a check. [`unjudged`] says which ones these are, and why.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};
use twinway_protocol::{JsonDoc, Problem, ProblemKind};

use crate::dtif::member;

/// The deepest nesting of a schema that judges. What is deeper is not followed.
const SCHEMA_DEPTH_MAX: usize = 16;
/// How many steps a pattern may go back in one value.
const PATTERN_STEPS_MAX: usize = 100_000;
/// The largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// How many compiled schemas one thread remembers.
const COMPILED_KEPT: usize = 128;
/// How much of what is said of a misfit is kept, in characters.
const DETAIL_CHARS_MAX: usize = 300;

/// What judges a value: the vocabulary of data schemas, and what descriptions take from JSON Schema beside it. All else
/// (`$id`, `$schema`, forms, texts) is left out before anything compiles.
const JUDGING: [&str; 24] = [
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
];

/// Which schema of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of<'n> {
    /// A property's.
    Property(&'n str),
    /// That of an action's input.
    Input(&'n str),
    /// That of an event's data.
    Event(&'n str),
}

impl<'n> Of<'n> {
    /// Where the schema stands in a description: the kind of affordance, its name, and the member inside.
    const fn place(self) -> (&'static str, &'n str, Option<&'static str>) {
        match self {
            Self::Property(name) => ("properties", name, None),
            Self::Input(name) => ("actions", name, Some("input")),
            Self::Event(name) => ("events", name, Some("data")),
        }
    }
}

/// What a schema is good for.
type Judge = Result<Option<Validator>, String>;

/// A compiled schema, by the description that has it.
struct Compiled {
    description: JsonDoc,
    kind: &'static str,
    name: Box<str>,
    judge: Rc<Judge>,
}

thread_local! {
    /// The schemas that this thread used last, the newest first: one schema judges many values. What is compiled depends
    /// on the text alone, so nobody can tell.
    static COMPILED: RefCell<VecDeque<Compiled>> = const { RefCell::new(VecDeque::new()) };
}

/// Whether `value` fits its schema. What has no schema, or one that cannot judge, fits.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`], with the place of the misfit below `pointer`.
pub(crate) fn check(description: &JsonDoc, of: Of<'_>, value: &JsonDoc, pointer: &str) -> Result<(), Problem> {
    let judge = judge(description, of);
    let Ok(Some(validator)) = &*judge else { return Ok(()) };
    let refuse = |place: &str, detail: String| {
        Problem::new(ProblemKind::InvalidDocument, detail).at(format!("{pointer}{place}"))
    };
    let value: Value = value.read().map_err(|error| refuse("", error.to_string()))?;
    validator.validate(&value).map_err(|misfit| {
        let detail: String = misfit.to_string().chars().take(DETAIL_CHARS_MAX).collect();
        refuse(misfit.instance_path().as_str(), format!("the description of the twin does not allow this: {detail}"))
    })
}

/// The schemas of a description that judge nothing although they are there: where each stands, and why.
pub(crate) fn unjudged(description: &JsonDoc) -> Vec<(String, String)> {
    let Ok(thing) = description.read::<Value>() else { return Vec::new() };
    let mut found = Vec::new();
    for (kind, inside) in [("properties", None), ("actions", Some("input")), ("events", Some("data"))] {
        let affordances = thing.get(kind).and_then(Value::as_object);
        for (name, affordance) in affordances.into_iter().flatten() {
            let schema = inside.map_or(Some(affordance), |inside| affordance.get(inside));
            if let Some(Err(why)) = schema.map(compile) {
                let place = member(&member("", kind), name);
                found.push((inside.map_or(place.clone(), |inside| member(&place, inside)), why));
            }
        }
    }
    found
}

fn judge(description: &JsonDoc, of: Of<'_>) -> Rc<Judge> {
    let (kind, name, inside) = of.place();
    COMPILED.with_borrow_mut(|compiled| {
        let find_by = |is_same: fn(&JsonDoc, &JsonDoc) -> bool| {
            compiled.iter().position(|known| {
                is_same(&known.description, description) && known.kind == kind && *known.name == *name
            })
        };
        // What came back from a disk has the same text at another place: to compare costs far less than to compile.
        let known = find_by(JsonDoc::shares_text_with).or_else(|| find_by(|a, b| a.as_str() == b.as_str()));
        if let Some(mut known) = known.and_then(|index| compiled.remove(index)) {
            let judge = Rc::clone(&known.judge);
            known.description = description.clone();
            compiled.push_front(known);
            return judge;
        }
        let judge = Rc::new(find(description, kind, name, inside));
        compiled.truncate(COMPILED_KEPT - 1);
        let known = Compiled { description: description.clone(), kind, name: name.into(), judge: Rc::clone(&judge) };
        compiled.push_front(known);
        judge
    })
}

fn find(description: &JsonDoc, kind: &str, name: &str, inside: Option<&str>) -> Judge {
    let thing: Value = description.read().map_err(|error| error.to_string())?;
    let affordance = thing.get(kind).and_then(|affordances| affordances.get(name));
    let schema = match inside {
        None => affordance,
        Some(inside) => affordance.and_then(|affordance| affordance.get(inside)),
    };
    schema.map_or(Ok(None), compile)
}

/// Compiles a schema; none: it says nothing that could be judged by.
fn compile(schema: &Value) -> Judge {
    let judging = judging(schema, SCHEMA_DEPTH_MAX)?;
    if judging.as_object().is_some_and(Map::is_empty) {
        return Ok(None);
    }
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(PATTERN_STEPS_MAX)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX);
    // Draft 7 is the JSON Schema that data schemas are a subset of.
    let options = jsonschema::options().with_draft(Draft::Draft7).with_pattern_options(patterns);
    let compiled = options.build(&judging);
    compiled.map(Some).map_err(|error| error.to_string().chars().take(DETAIL_CHARS_MAX).collect())
}

/// What of a schema judges values.
fn judging(schema: &Value, depth: usize) -> Result<Value, String> {
    let Value::Object(schema) = schema else { return Ok(schema.clone()) };
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("it nests deeper than {SCHEMA_DEPTH_MAX}"));
    };
    if schema.contains_key("$ref") {
        return Err("it refers to another schema by `$ref`, which is not followed".to_owned());
    }
    let mut kept = Map::new();
    for (name, part) in schema.iter().filter(|(name, _)| JUDGING.contains(&name.as_str())) {
        let part = match (name.as_str(), part) {
            ("properties", Value::Object(members)) => {
                let members = members.iter().map(|(name, part)| Ok((name.clone(), judging(part, depth)?)));
                Value::Object(members.collect::<Result<_, String>>()?)
            }
            ("allOf" | "anyOf" | "oneOf" | "items", Value::Array(parts)) => {
                Value::Array(parts.iter().map(|part| judging(part, depth)).collect::<Result<_, _>>()?)
            }
            ("items" | "not" | "contains" | "additionalProperties", part) => judging(part, depth)?,
            (_, part) => part.clone(),
        };
        kept.insert(name.clone(), part);
    }
    Ok(Value::Object(kept))
}

#[cfg(test)]
mod tests {
    use twinway_protocol::JsonDoc;

    use super::{Of, check, unjudged};

    fn doc(text: impl Into<String>) -> JsonDoc {
        JsonDoc::parse(text.into()).expect("it is JSON")
    }

    fn place_of_misfit(schema: &str, value: &str) -> Option<String> {
        let description = doc(format!(r#"{{"properties":{{"p":{schema}}}}}"#));
        let refused = check(&description, Of::Property("p"), &doc(value), "/p").err()?;
        refused.pointer
    }

    #[test]
    fn a_value_is_judged_by_the_schema_of_its_own_property_with_the_place_of_the_misfit() {
        let color = r#"{"type":"object","title":"t","$schema":"http://nowhere.example/","$id":"x","required":["r"],
            "properties":{"r":{"type":"integer","minimum":0,"maximum":255,"unit":"1"}},"forms":[{"href":"/"}]}"#;
        assert_eq!(place_of_misfit(color, r#"{"r":7}"#), None);
        assert_eq!(place_of_misfit(color, r#"{"r":256}"#).as_deref(), Some("/p/r"));
        assert_eq!(place_of_misfit(color, r#"{"g":1}"#).as_deref(), Some("/p"));
        assert_eq!(place_of_misfit(r#"{"enum":["a","b"]}"#, r#""c""#).as_deref(), Some("/p"));
        assert_eq!(place_of_misfit(r#"{"items":[{"type":"string"}]}"#, r#"[1]"#).as_deref(), Some("/p/0"));
    }

    #[test]
    fn inputs_and_events_have_their_schema_inside_and_what_has_none_fits() {
        let description = doc(
            r#"{"actions":{"fade":{"input":{"type":"number"}},"blink":{}},"events":{"hot":{"data":{"type":"string"}}}}"#,
        );
        for (of, value, fits) in [
            (Of::Input("fade"), "1", true),
            (Of::Input("fade"), "true", false),
            (Of::Input("blink"), "true", true),
            (Of::Input("unknown"), "1", true),
            (Of::Event("hot"), "1", false),
        ] {
            assert_eq!(check(&description, of, &doc(value), "").is_ok(), fits, "{of:?} {value}");
        }
    }

    #[test]
    fn schemas_that_refer_to_themselves_or_elsewhere_or_do_not_compile_judge_nothing_and_are_named() {
        for schema in [
            r##"{"$ref":"#"}"##,
            r##"{"type":"object","properties":{"next":{"$ref":"#/properties/p"}}}"##,
            r#"{"$ref":"http://nowhere.example/schema.json"}"#,
            r#"{"type":"float"}"#,
            r#"{"pattern":"("}"#,
        ] {
            let description = doc(format!(r#"{{"properties":{{"p":{schema},"q":{{"type":"string"}}}}}}"#));
            assert!(check(&description, Of::Property("p"), &doc("[[[1]]]"), "").is_ok(), "{schema}");
            let named: Vec<_> = unjudged(&description).into_iter().map(|(place, _)| place).collect();
            assert_eq!(named, ["/properties/p"], "{schema}");
        }
        let nested =
            |depth: usize| format!("{}{}{}", r#"{"items":"#.repeat(depth), r#"{"type":"string"}"#, "}".repeat(depth));
        let value = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(place_of_misfit(&nested(10), &value(10)).is_some());
        assert_eq!(place_of_misfit(&nested(20), &value(20)), None, "what is deeper is not followed");
    }

    #[test]
    fn a_pattern_that_goes_back_without_end_is_cut_short() {
        let value = format!("\"{}!\"", "a".repeat(60));
        // Whatever it says of the value, it says it soon.
        let _ = place_of_misfit(r#"{"pattern":"^(?=a)(a|a)*(?<!b)\\1$"}"#, &value);
    }
}
