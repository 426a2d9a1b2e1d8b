//! What a search asks for, made into conditions that an index can answer, and the rest.

use std::cmp::{Ordering, Reverse};

use serde_json::Value;
use twinway_protocol::{Problem, ProblemKind};

use super::{
    Fact, Kind, Query, Seen, Subject, check,
    field::{Field, Shape},
    index::{Entry, Key, words_of},
    query::Wanted,
};
use crate::expression::{Expression, ExpressionError, Fault, Node, NodeKind, Operator};

/// How many words one search may have.
const TEXT_WORDS_MAX: usize = 32;
/// By how many fields one search may be sorted.
const SORT_KEYS_MAX: usize = 8;

/// A condition that is checked without evaluating an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// A text is one of these.
    Is(Field, Vec<Box<str>>),
    /// A list has this item.
    Lists(Field, Box<str>),
    /// A number is between these, both included.
    Between(Field, Key, Key),
    /// A word of id, title or description begins like this.
    Word(Box<str>),
}

impl Condition {
    pub(super) fn holds<S: Subject>(&self, entry: &Entry<S>) -> bool {
        match self {
            Self::Is(field, texts) => match entry.subject.fact(*field) {
                Fact::Text(own) => texts.iter().any(|text| **text == *own),
                _ => false,
            },
            Self::Lists(field, item) => entry.subject.lists(*field, item),
            Self::Between(field, low, high) => {
                let own = entry.subject.fact(*field).as_number().map(Key::new);
                own.is_some_and(|own| *low <= own && own <= *high)
            }
            Self::Word(word) => entry.has_word(word),
        }
    }
}

/// By what a search is sorted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SortKey {
    pub(super) field: Field,
    descending: bool,
}

/// What a search asks for.
#[derive(Debug)]
pub(super) struct Plan {
    /// All of them must hold.
    pub(super) conditions: Vec<Condition>,
    /// Empty: the order of ids.
    pub(super) sort: Vec<SortKey>,
    /// The filter, with those of its parts that are no conditions.
    rest: Option<(Expression, Vec<Node>)>,
}

impl Plan {
    /// Reads a search for what is of this kind.
    pub(super) fn of(query: &Query, kind: Kind) -> Result<Self, Problem> {
        let mut conditions = Vec::new();
        for Wanted { parameter, field, text } in &query.wanted {
            if !field.is_of(kind) {
                return Err(invalid(format!("`{parameter}` is not asked of {}", kind.plural())));
            }
            conditions.push(match field.shape() {
                Shape::Texts => Condition::Lists(*field, text.as_str().into()),
                _ => Condition::Is(*field, vec![text.as_str().into()]),
            });
        }
        let words = words_of(query.text.as_deref().unwrap_or_default());
        if words.len() > TEXT_WORDS_MAX {
            return Err(invalid(format!(
                "`text` has at most {TEXT_WORDS_MAX} words, and this one has {}",
                words.len()
            )));
        }
        conditions.extend(words.into_iter().map(Condition::Word));
        let sort = query.sort.as_deref().map_or(Ok(Vec::new()), |sort| sort_keys(sort, kind))?;
        let rest = match &query.filter {
            None => None,
            Some(text) => {
                let filter = Expression::parse(text).map_err(in_filter)?;
                check::check(&filter, kind).map_err(in_filter)?;
                let mut rest = Vec::new();
                split(filter.root(), &mut conditions, &mut rest);
                (!rest.is_empty()).then_some((filter, rest))
            }
        };
        Ok(Self { conditions: joined(conditions), sort, rest })
    }

    /// Whether a system matches; takes the steps that are needed off `steps`.
    ///
    /// # Errors
    /// Only that the steps were not enough.
    pub(super) fn matches<S: Subject>(&self, entry: &Entry<S>, steps: &mut u64) -> Result<bool, ExpressionError> {
        if !self.conditions.iter().all(|condition| condition.holds(entry)) {
            return Ok(false);
        }
        let Some((filter, parts)) = &self.rest else { return Ok(true) };
        for part in parts {
            match filter.part_holds_within(part, &Seen(&entry.subject), steps) {
                Ok(true) => {}
                Err(error) if error.fault == Fault::Limit => return Err(error),
                // What is absent, or of another type than others have, does not match.
                Ok(false) | Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The order of two that are equal by the first field of the sort.
    pub(super) fn order_of_equals<S: Subject>(&self, left: &S, right: &S) -> Ordering {
        let others = self.sort.iter().skip(1);
        let order = others.map(|key| key.rank(left).cmp(&key.rank(right))).find(|order| order.is_ne());
        order.unwrap_or(Ordering::Equal).then_with(|| left.id().cmp(right.id()))
    }
}

/// Where a fact comes in an order, which goes from the lowest rank up. What has no value comes last, up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank<'s> {
    Number(Key),
    Up(&'s str),
    Down(Reverse<&'s str>),
    Absent,
}

impl SortKey {
    pub(super) fn rank<S: Subject>(self, subject: &S) -> Rank<'_> {
        match subject.fact(self.field) {
            Fact::Text(text) if self.descending => Rank::Down(Reverse(text)),
            Fact::Text(text) => Rank::Up(text),
            other => match other.as_number().map(Key::new) {
                Some(key) if self.descending => Rank::Number(key.turned()),
                Some(key) => Rank::Number(key),
                None => Rank::Absent,
            },
        }
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidQuery, detail)
}

pub(super) fn in_filter(error: ExpressionError) -> Problem {
    invalid(format!("`filter`: {error}"))
}

fn sort_keys(text: &str, kind: Kind) -> Result<Vec<SortKey>, Problem> {
    let key = |name: &str| {
        let (descending, name) = name.strip_prefix('-').map_or((false, name), |name| (true, name));
        let sortable = |field: &Field| field.is_of(kind) && matches!(field.shape(), Shape::Text | Shape::Number);
        Field::named(name).filter(sortable).map(|field| SortKey { field, descending }).ok_or_else(|| {
            let names: Vec<_> = Field::ALL.iter().copied().filter(sortable).map(Field::path).collect();
            invalid(format!("`sort`: there is no `{name}` to sort {} by, but: {}", kind.plural(), names.join(", ")))
        })
    };
    let keys: Vec<_> = text.split(',').map(|name| key(name.trim())).collect::<Result<_, _>>()?;
    if keys.len() > SORT_KEYS_MAX {
        return Err(invalid(format!("`sort` has at most {SORT_KEYS_MAX} fields")));
    }
    Ok(keys)
}

/// The parts that `&&` joins: those that an index or a look at one field answers, and the others.
fn split(node: &Node, conditions: &mut Vec<Condition>, rest: &mut Vec<Node>) {
    match &node.kind {
        NodeKind::And(both) => both.iter().for_each(|part| split(part, conditions, rest)),
        NodeKind::Literal(Value::Bool(true)) => {}
        _ => match condition(node) {
            Some(condition) => conditions.push(condition),
            None => rest.push(node.clone()),
        },
    }
}

fn condition(node: &Node) -> Option<Condition> {
    let NodeKind::Binary(operator, both) = &node.kind else { return None };
    let [left, right] = &**both;
    if *operator == Operator::In {
        return match (field_of(left), field_of(right)) {
            (Some(field), None) if field.shape() == Shape::Text => Some(Condition::Is(field, texts(right)?)),
            (None, Some(field)) if field.shape() == Shape::Texts => Some(Condition::Lists(field, text(left)?)),
            _ => None,
        };
    }
    let (field, operator, value) = match (field_of(left), field_of(right)) {
        (Some(field), None) => (field, *operator, right),
        (None, Some(field)) => (field, turned(*operator), left),
        _ => return None,
    };
    match (field.shape(), operator) {
        (Shape::Text, Operator::Equal) => Some(Condition::Is(field, vec![text(value)?])),
        (Shape::Number, _) => between(field, operator, Key::new(number(value)?)),
        _ => None,
    }
}

fn between(field: Field, operator: Operator, key: Key) -> Option<Condition> {
    let (low, high) = match operator {
        Operator::Equal => (key, key),
        Operator::Less => (Key::LOWEST, key.below()),
        Operator::LessOrEqual => (Key::LOWEST, key),
        Operator::Greater => (key.above(), Key::HIGHEST),
        Operator::GreaterOrEqual => (key, Key::HIGHEST),
        _ => return None,
    };
    Some(Condition::Between(field, low, high))
}

/// The operator with its sides changed.
fn turned(operator: Operator) -> Operator {
    match operator {
        Operator::Less => Operator::Greater,
        Operator::LessOrEqual => Operator::GreaterOrEqual,
        Operator::Greater => Operator::Less,
        Operator::GreaterOrEqual => Operator::LessOrEqual,
        same => same,
    }
}

fn field_of(node: &Node) -> Option<Field> {
    let NodeKind::Path(path) = &node.kind else { return None };
    Field::at(path).filter(|(_, rest)| rest.is_empty()).map(|(field, _)| field)
}

fn text(node: &Node) -> Option<Box<str>> {
    match &node.kind {
        NodeKind::Literal(Value::String(text)) => Some(text.as_str().into()),
        _ => None,
    }
}

fn texts(node: &Node) -> Option<Vec<Box<str>>> {
    match &node.kind {
        NodeKind::List(items) => items.iter().map(text).collect(),
        _ => None,
    }
}

/// A number that a fraction can say exactly: what cannot is left to the expression.
fn number(node: &Node) -> Option<f64> {
    let NodeKind::Literal(Value::Number(number)) = &node.kind else { return None };
    let fraction = number.as_f64()?;
    match number.as_i64() {
        Some(whole) if whole.unsigned_abs() > 1 << 53 => None,
        None if number.is_u64() => None,
        _ => Some(fraction),
    }
}

/// The conditions, with those on one number made into one.
fn joined(conditions: Vec<Condition>) -> Vec<Condition> {
    let mut joined: Vec<Condition> = Vec::new();
    for condition in conditions {
        if let Condition::Between(field, low, high) = &condition {
            let same = joined.iter_mut().find_map(|other| match other {
                Condition::Between(other, low, high) if other == field => Some((low, high)),
                _ => None,
            });
            if let Some((own_low, own_high)) = same {
                *own_low = (*own_low).max(*low);
                *own_high = (*own_high).min(*high);
                continue;
            }
        }
        if !joined.contains(&condition) {
            joined.push(condition);
        }
    }
    joined
}
