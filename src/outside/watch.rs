//! What a subscriber wants to hear of the events of its system. It chooses among what it is told anyway: who hears
//! of which twin is decided by the selection (FGMV-29 9.2 steps 6 and 14).

use std::{borrow::Cow, cell::OnceCell, collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use twinway_actors::expression::{Expression, ExpressionError, Fault, Gap as NotThere, Node, NodeKind, Variables};
use twinway_protocol::{JsonDoc, Problem, signal::Event, twin::TwinView};

use super::{gap::Mark, readers::Readers};

/// What an interface calls the parameter `filter` of a subscription.
pub const WATCH_FILTER_HELP: &str = "Only events of which this CEL expression is true. Variables: `type` (without `io.twinway.`), \
    `subject`, `twin`, `system` (the twin's), `time`, `number` and `data`: `data.values.temperature > 30`. An event of which it comes to \
    nothing, because a field is not there for instance, is not told.";
/// How many steps a filter may take for one event.
pub const WATCH_FILTER_STEPS_MAX: u64 = 10_000;

/// What a subscriber wants, as it says it. Nothing said: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WatchQuery {
    /// Events of this type; with a `*` at its end, of all that begin so.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Events about this twin.
    pub twin: Option<String>,
    /// Changes of this property.
    pub property: Option<String>,
    /// Events about twins of this digital twin system, or about the system itself.
    pub system: Option<String>,
    /// Events of which this CEL expression is true.
    pub filter: Option<String>,
    /// Whether only the newest value of each property of each twin is wanted, while the subscriber is behind.
    pub newest: bool,
}

/// What a subscriber wants, understood.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    wanted: WatchQuery,
    filter: Option<Arc<Expression>>,
}

impl Watch {
    /// Understands what a subscriber wants.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::InvalidQuery`] for a filter that is no expression, or names what no event
    /// has, with the place.
    pub fn read(wanted: WatchQuery) -> Result<Self, Problem> {
        let read = |text: &String| {
            let filter = Expression::parse(text)?;
            check(&filter, filter.root(), &mut Vec::new())?;
            Ok::<_, ExpressionError>(Arc::new(filter))
        };
        let filter = wanted.filter.as_ref().map(read).transpose().map_err(|error| {
            let problem = Problem::from(error);
            Problem { detail: format!("`filter`: {}", problem.detail), ..problem }
        })?;
        Ok(Self { wanted, filter })
    }

    /// Whether only the newest values are wanted.
    pub(super) const fn newest(&self) -> bool {
        self.wanted.newest
    }

    fn is_kind(&self, kind: &str) -> bool {
        self.wanted.kind.as_ref().is_none_or(|wanted| {
            let wanted = wanted.strip_prefix("io.twinway.").unwrap_or(wanted);
            wanted.strip_suffix('*').map_or(kind == wanted, |start| kind.starts_with(start))
        })
    }

    /// Whether an event of which only this is known may have been wanted.
    pub(super) fn concerns(&self, mark: &Mark) -> bool {
        let twin = |wanted: &String| mark.twin.as_ref().is_some_and(|twin| twin.as_str() == wanted);
        self.is_kind(mark.kind) && self.wanted.twin.as_ref().is_none_or(twin)
    }

    /// Whether an expression chooses among events: it cannot choose among values.
    pub(super) const fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether a value that a twin shows now is wanted.
    pub(super) fn wants(&self, view: &TwinView, property: &str) -> bool {
        let named = self.wanted.property.as_ref().is_none_or(|wanted| wanted == property);
        named && self.wanted.system.as_ref().is_none_or(|wanted| view.system.as_str() == wanted)
    }

    /// Whether an event is wanted.
    pub(super) fn passes(&self, number: u64, event: &Event, readers: &Readers) -> bool {
        let twin = |wanted: &String| event.twin.as_ref().is_some_and(|twin| twin.as_str() == wanted);
        if !self.is_kind(event.kind) || !self.wanted.twin.as_ref().is_none_or(twin) {
            return false;
        }
        if self.wanted.property.as_ref().is_some_and(|name| !changes(event, name)) {
            return false;
        }
        if self.wanted.system.is_none() && self.filter.is_none() {
            return true;
        }
        let seen = Seen { number, event, system: system(event, readers), values: Default::default() };
        if self.wanted.system.as_ref().is_some_and(|wanted| seen.system.as_deref() != Some(wanted)) {
            return false;
        }
        self.filter.as_ref().is_none_or(|filter| holds(filter, &seen))
    }
}

/// The twin system that maintains the event's twin, or that the event is about.
fn system(event: &Event, readers: &Readers) -> Option<String> {
    match &event.twin {
        Some(twin) => readers.twins.get(twin).map(|view| view.system.to_string()),
        None => event.kind.starts_with("system.").then(|| event.subject.clone()),
    }
}

#[derive(Deserialize)]
struct Changes {
    values: BTreeMap<String, IgnoredAny>,
}

fn changes(event: &Event, property: &str) -> bool {
    event.kind == "twin.changed" && event.data.read::<Changes>().is_ok_and(|data| data.values.contains_key(property))
}

fn holds(filter: &Expression, seen: &Seen<'_>) -> bool {
    let mut steps = WATCH_FILTER_STEPS_MAX;
    match filter.holds_within(seen, &mut steps) {
        Ok(holds) => holds,
        Err(error) => {
            // What is not there is no mistake: events differ.
            if error.fault == Fault::Limit {
                metrics::counter!("twinway_event_filters_given_up_total").increment(1);
            }
            false
        }
    }
}

/// What a filter can name.
const VARIABLES: [&str; 7] = ["type", "subject", "twin", "system", "time", "number", "data"];

/// An event as the variables of a filter; what is looked at is made once.
struct Seen<'e> {
    number: u64,
    event: &'e Event,
    system: Option<String>,
    values: [OnceCell<Option<Value>>; VARIABLES.len()],
}

impl Seen<'_> {
    fn make(&self, name: &str) -> Option<Value> {
        let event = self.event;
        Some(match name {
            "type" => Value::from(event.kind),
            "subject" => Value::from(event.subject.as_str()),
            "twin" => Value::from(event.twin.as_ref()?.as_str()),
            "system" => Value::from(self.system.as_deref()?),
            "time" => Value::from(event.at.to_string()),
            "number" => Value::from(self.number),
            "data" => read(&event.data)?,
            _ => return None,
        })
    }
}

fn read(document: &JsonDoc) -> Option<Value> {
    document.read().ok()
}

impl Variables for Seen<'_> {
    fn value(&self, path: &[Box<str>]) -> Result<Cow<'_, Value>, NotThere> {
        let (name, fields) = path.split_first().ok_or(NotThere::Missing(0))?;
        let slot = VARIABLES.iter().position(|known| *known == &**name).and_then(|index| self.values.get(index));
        let mut value =
            slot.and_then(|slot| slot.get_or_init(|| self.make(name)).as_ref()).ok_or(NotThere::Missing(0))?;
        for (index, field) in fields.iter().enumerate() {
            let object = value.as_object().ok_or(NotThere::NoObject(index + 1))?;
            value = object.get(&**field).ok_or(NotThere::Missing(index + 1))?;
        }
        Ok(Cow::Borrowed(value))
    }
}

/// Looks for variables that no event has; `items` are the names that macros give.
fn check<'n>(filter: &Expression, node: &'n Node, items: &mut Vec<&'n str>) -> Result<(), ExpressionError> {
    let mut all = |nodes: &[&'n Node]| nodes.iter().try_for_each(|node| check(filter, node, items));
    match &node.kind {
        NodeKind::Literal(_) => Ok(()),
        NodeKind::Path(path) => match path.first() {
            Some(name) if !VARIABLES.contains(&&**name) && !items.contains(&&**name) => {
                let known = VARIABLES.join(", ");
                Err(filter.mistake(node, Fault::Missing, format!("an event has no `{name}`; it has {known}")))
            }
            _ => Ok(()),
        },
        NodeKind::Select(of, _) | NodeKind::Has(of, _) | NodeKind::Not(of) | NodeKind::Negate(of) => all(&[of]),
        NodeKind::Index(both) | NodeKind::And(both) | NodeKind::Or(both) | NodeKind::Binary(_, both) => {
            let [left, right] = &**both;
            all(&[left, right])
        }
        NodeKind::If(three) => {
            let [condition, so, otherwise] = &**three;
            all(&[condition, so, otherwise])
        }
        NodeKind::List(nodes) | NodeKind::Call(_, nodes) => all(&nodes.iter().collect::<Vec<_>>()),
        NodeKind::Object(entries) => all(&entries.iter().flatten().collect::<Vec<_>>()),
        NodeKind::Each(each) => {
            check(filter, &each.over, items)?;
            items.push(&each.item);
            let checked = each.only.iter().chain([&each.body]).try_for_each(|part| check(filter, part, items));
            items.pop();
            checked
        }
    }
}

#[cfg(test)]
mod tests {
    use twinway_protocol::{JsonDoc, signal::Event, time::Timestamp};

    use super::{Readers, Watch, WatchQuery};

    fn passes(wanted: WatchQuery, event: &Event) -> bool {
        Watch::read(wanted).expect("it is understood").passes(7, event, &Readers::default())
    }

    fn of_kind(kind: &str) -> WatchQuery {
        WatchQuery { kind: Some(kind.to_owned()), ..WatchQuery::default() }
    }

    fn filter(text: &str) -> WatchQuery {
        WatchQuery { filter: Some(text.to_owned()), ..WatchQuery::default() }
    }

    fn event(kind: &'static str, data: &str) -> Event {
        let twin = Some("arm".parse().expect("a name"));
        let data = JsonDoc::parse(data).expect("it is JSON");
        Event::new(kind, "arm".to_owned(), twin, Timestamp::default(), data)
    }

    #[test]
    fn a_subscriber_hears_what_it_asked_for() {
        let event = event("lease.granted", "null");
        assert!(passes(WatchQuery::default(), &event) && passes(of_kind("*"), &event));
        assert!(passes(of_kind("lease.*"), &event) && passes(of_kind("io.twinway.lease.*"), &event));
        assert!(!passes(of_kind("lease"), &event) && !passes(of_kind("twin.*"), &event));
        let of_twin = |twin: &str| WatchQuery { twin: Some(twin.to_owned()), ..WatchQuery::default() };
        assert!(passes(of_twin("arm"), &event) && !passes(of_twin("belt"), &event));
    }

    #[test]
    fn a_property_is_one_that_the_event_changes() {
        let changed = event("twin.changed", "{\"values\":{\"on\":true},\"version\":3}");
        let of = |name: &str| WatchQuery { property: Some(name.to_owned()), ..WatchQuery::default() };
        assert!(passes(of("on"), &changed) && !passes(of("off"), &changed));
        assert!(!passes(of("on"), &event("twin.message", "{\"values\":{\"on\":true}}")));
    }

    #[test]
    fn a_filter_is_of_the_event_and_what_is_not_there_does_not_pass() {
        let changed = event("twin.changed", "{\"values\":{\"heat\":31.5},\"version\":3}");
        for text in
            ["data.values.heat > 30", "type == 'twin.changed' && twin == 'arm'", "number == 7 && has(data.version)"]
        {
            assert!(passes(filter(text), &changed), "{text}");
        }
        for text in ["data.values.heat > 40", "data.values.cold > 1", "system == 'home'", "data.values.heat"] {
            assert!(!passes(filter(text), &changed), "{text}");
        }
        assert!(passes(filter("['a', 'b'].exists(name, name == 'a' && subject == 'arm')"), &changed));
    }

    #[test]
    fn a_mistake_in_a_filter_is_told_with_its_place() {
        for (text, place) in
            [("twin ==", "column 8"), ("twin == 'a' &&\n  heat > 3", "line 2 column 3"), ("twin == $", "column 9")]
        {
            let problem = Watch::read(filter(text)).expect_err("it is refused");
            assert!(problem.detail.contains(place), "{text}: {}", problem.detail);
        }
    }
}
