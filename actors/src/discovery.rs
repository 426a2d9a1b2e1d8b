//! What both kinds of discovery share (FGMV-29 8.2.2 and 8.3.2): an index of registered systems, and searches in it.
//!
//! A search has conditions (`type`, `operation`, `physicalObject`, the words of `text`, and the parts of `filter` that `&&`
//! joins) and an order. The planner takes the conditions that an index answers, goes through the smallest of them, and
//! checks the others per candidate: the cost grows with the answer, and not with the register.
//!
//! # The variables of a filter
//! A filter is an [expression](crate::expression) that is true or false of a system. [`Field`] has the table of what it may name.
//! What is optional can be absent, and then a comparison with it does not hold; `has(charge.amount)` asks for it. A mistake
//! that can be seen without looking at systems (a name that is not there, a text compared with a number) is a problem. The values of
//! `system.properties` are any JSON: where one does not fit the comparison, the system does not match.
//!
//! # Pages
//! What matches throughout is on exactly one page, whatever changes meanwhile. In the order of ids, a cursor is the last id. In
//! another order, the values by which it is sorted can change between two pages, so that no value can be the cursor: the first
//! page fixes the order of all candidates, and its cursor names that order and the place in it. Such orders are kept until
//! `search_cursors_max` others were made, or the daemon restarts; then their cursors are a problem of their own kind.
//! A page looks at a bounded number of records, so that it can have fewer items than asked for, even none, and a `next` still.

mod check;
mod field;
mod index;
mod plan;
mod search;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value};
use twinway_protocol::{
    JsonDoc, SystemId,
    registry::{ServiceLevel, Standing},
};

use crate::{
    Settings,
    expression::{Gap, Variables, descend},
};
pub use field::{FILTER_HELP, Field};
pub(crate) use index::Index;
pub(crate) use search::{Conditions, Searches};

/// How much a search may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SearchLimits {
    /// How many records one page looks at.
    pub(crate) scanned: usize,
    /// How many records a search sorts.
    pub(crate) sorted: usize,
    /// How many sorted searches can be gone on with.
    pub(crate) cursors: usize,
}

impl From<&Settings> for SearchLimits {
    fn from(settings: &Settings) -> Self {
        Self {
            scanned: settings.search_records_scanned_max,
            sorted: settings.search_records_sorted_max,
            cursors: settings.search_cursors_max,
        }
    }
}

/// The two kinds of systems that are searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Third-party systems, by TPSD.
    ThirdParty,
    /// Digital twin systems, by DTSD.
    TwinSystem,
}

impl Kind {
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::ThirdParty => "third-party systems",
            Self::TwinSystem => "digital twin systems",
        }
    }
}

/// What is known of one field of a system.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fact<'a> {
    /// Nothing.
    Absent,
    /// A text.
    Text(&'a str),
    /// A fraction.
    Number(f64),
    /// A whole number.
    Count(u64),
    /// A list of texts.
    List(Vec<&'a str>),
    /// Documents by name.
    Documents(&'a BTreeMap<String, JsonDoc>),
}

impl<'a> Fact<'a> {
    pub(crate) fn text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Absent, Self::Text)
    }

    pub(crate) fn number(number: Option<f64>) -> Self {
        // JSON cannot write the others.
        number.filter(|number| number.is_finite()).map_or(Self::Absent, Self::Number)
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Count(count) => Some(*count as f64),
            _ => None,
        }
    }

    fn value(&self) -> Option<Value> {
        Some(match self {
            Self::Absent => return None,
            Self::Text(text) => Value::from(*text),
            Self::Number(number) => Value::from(*number),
            Self::Count(count) => Value::from(*count),
            Self::List(items) => Value::from(items.clone()),
            Self::Documents(of) => {
                let read = |(name, document): (&String, &JsonDoc)| Some((name.clone(), document.read().ok()?));
                Value::Object(of.iter().filter_map(read).collect::<Map<_, _>>())
            }
        })
    }
}

/// A registered system, as an index sees it.
pub(crate) trait Subject {
    /// Which kind of system it is.
    const KIND: Kind;
    /// Its id.
    fn id(&self) -> &SystemId;
    /// What is known of it.
    fn fact(&self, field: Field) -> Fact<'_>;
    /// Whether a field that is a list has this item.
    fn lists(&self, field: Field, item: &str) -> bool;
}

/// What the standing of a system says of a field.
pub(crate) fn standing_fact(standing: &Standing, field: Field) -> Fact<'_> {
    let measured = &standing.performance;
    match field {
        Field::Health => Fact::Text(field::health(standing.health)),
        Field::Reason => Fact::text(standing.reason.as_deref()),
        Field::Calls => Fact::Count(measured.calls),
        Field::Failed => Fact::Count(measured.failed),
        Field::ErrorRate => Fact::number(Some(measured.error_rate)),
        Field::MeasuredP50 => Fact::number(measured.p50_ms),
        Field::MeasuredP99 => Fact::number(measured.p99_ms),
        Field::MeasuredAvailability => Fact::number(measured.availability),
        _ => Fact::Absent,
    }
}

/// What a system promises, as a field.
pub(crate) fn promised_fact(level: Option<&ServiceLevel>, field: Field) -> Fact<'_> {
    let Some(level) = level else { return Fact::Absent };
    match field {
        Field::PromisedAvailability => Fact::number(level.availability),
        Field::PromisedP99 => Fact::number(level.p99_ms),
        _ => Fact::text(level.description.as_deref()),
    }
}

/// A system as the variables of a filter.
struct Seen<'s, S>(&'s S);

impl<S: Subject> Variables for Seen<'_, S> {
    fn value(&self, path: &[Box<str>]) -> Result<Cow<'_, Value>, Gap> {
        let (field, fields) = Field::at(path).ok_or(Gap::Missing(0))?;
        let depth = path.len() - fields.len();
        // One of many properties is read without the others.
        if let (Fact::Documents(of), [name, rest @ ..]) = (self.0.fact(field), fields) {
            let document = of.get(&**name).ok_or(Gap::Missing(depth))?;
            let value: Value = document.read().map_err(|_| Gap::Missing(depth))?;
            return Ok(Cow::Owned(descend(&value, rest, depth + 1)?.clone()));
        }
        let value = self.0.fact(field).value().ok_or(Gap::Missing(depth - 1))?;
        Ok(Cow::Owned(descend(&value, fields, depth)?.clone()))
    }
}
