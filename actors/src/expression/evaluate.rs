//! What an expression comes to.

use std::{borrow::Cow, cell::Cell};

use serde_json::{Map, Value};

use super::{
    Each, Fault, Gap, Misfit, Node, NodeKind, Operator, Variables, descend,
    node::EachNode,
    operation::{binary, kind_of, negate},
};

/// What `node` comes to, within `steps`.
pub(super) fn evaluate(node: &Node, variables: &impl Variables, steps: &mut u64) -> Result<Value, Misfit> {
    within(variables, steps, |run| {
        let value = run.value(node, None)?;
        if let Cow::Borrowed(value) = value {
            run.steps.weigh(value, node.at)?;
        }
        Ok(value.into_owned())
    })
}

/// Whether `node` holds, within `steps`.
pub(super) fn holds(node: &Node, variables: &impl Variables, steps: &mut u64) -> Result<bool, Misfit> {
    within(variables, steps, |run| run.truth(node, None))
}

fn within<V: Variables, T>(
    variables: &V,
    steps: &mut u64,
    take: impl FnOnce(&Run<'_, V>) -> Result<T, Misfit>,
) -> Result<T, Misfit> {
    let run = Run { variables, steps: Steps(Cell::new(*steps)) };
    let taken = take(&run);
    *steps = run.steps.0.get();
    taken
}

/// The steps that are left.
pub(super) struct Steps(Cell<u64>);

impl Steps {
    /// Takes `count` steps.
    pub(super) fn take(&self, count: usize, at: usize) -> Result<(), Misfit> {
        match self.0.get().checked_sub(count as u64) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => {
                self.0.set(0);
                Err(Misfit::new(Fault::Limit, at, "the evaluation takes more steps than it may"))
            }
        }
    }

    /// Takes the steps for looking at all of `value`, or copying it.
    pub(super) fn weigh(&self, value: &Value, at: usize) -> Result<(), Misfit> {
        match value {
            Value::String(text) => self.take(1 + text.len() / 16, at),
            Value::Array(items) => {
                self.take(1 + items.len(), at)?;
                items.iter().try_for_each(|item| self.weigh(item, at))
            }
            Value::Object(fields) => {
                self.take(1 + fields.len(), at)?;
                fields.iter().try_for_each(|(name, value)| {
                    self.take(name.len() / 16, at)?;
                    self.weigh(value, at)
                })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => self.take(1, at),
        }
    }

    /// `value` as one's own; what is shared is copied, and costs its weight.
    pub(super) fn own(&self, value: Cow<'_, Value>, at: usize) -> Result<Value, Misfit> {
        if let Cow::Borrowed(value) = value {
            self.weigh(value, at)?;
        }
        Ok(value.into_owned())
    }
}

/// The item of a macro, by its name, and those around it.
#[derive(Clone, Copy)]
struct Scope<'s> {
    name: &'s str,
    value: &'s Value,
    around: Option<&'s Scope<'s>>,
}

fn named<'s>(scope: Option<&'s Scope<'s>>, name: &str) -> Option<&'s Value> {
    let mut scope = scope;
    while let Some(inner) = scope {
        if inner.name == name {
            return Some(inner.value);
        }
        scope = inner.around;
    }
    None
}

struct Run<'v, V> {
    variables: &'v V,
    steps: Steps,
}

type Outcome<'s> = Result<Cow<'s, Value>, Misfit>;

impl<V: Variables> Run<'_, V> {
    fn value<'s>(&'s self, node: &'s Node, scope: Option<&'s Scope<'s>>) -> Outcome<'s> {
        self.steps.take(1, node.at)?;
        let owned = |value: Value| Ok(Cow::Owned(value));
        match &node.kind {
            NodeKind::Literal(value) => Ok(Cow::Borrowed(value)),
            NodeKind::Path(path) => self.at_path(path, node.at, scope),
            NodeKind::Select(of, field) => {
                let of = self.value(of, scope)?;
                self.item(
                    of,
                    |of| descend(of, std::slice::from_ref(field), 0).ok(),
                    node.at,
                    || format!("there is no field `{field}`"),
                )
            }
            NodeKind::Index(both) => self.index(both, node.at, scope),
            NodeKind::Has(of, field) => self.has(of, field, scope).map(|has| Cow::Owned(has.into())),
            NodeKind::Not(of) => owned((!self.truth(of, scope)?).into()),
            NodeKind::Negate(of) => owned(negate(&*self.value(of, scope)?, node.at)?),
            NodeKind::And(both) => owned(self.either(both, false, scope)?.into()),
            NodeKind::Or(both) => owned(self.either(both, true, scope)?.into()),
            NodeKind::If(parts) => {
                let [condition, yes, no] = &**parts;
                self.value(if self.truth(condition, scope)? { yes } else { no }, scope)
            }
            NodeKind::Binary(operator, both) => owned(self.binary(*operator, both, node.at, scope)?),
            NodeKind::List(nodes) => {
                let items = nodes.iter().map(|node| self.owned(node, scope));
                owned(Value::Array(items.collect::<Result<_, _>>()?))
            }
            NodeKind::Object(entries) => self.object(entries, scope).map(Cow::Owned),
            NodeKind::Call(function, nodes) => {
                let parts: Vec<_> = nodes.iter().map(|node| self.value(node, scope)).collect::<Result<_, _>>()?;
                function.call(parts, &self.steps, node.at)
            }
            NodeKind::Each(each) => self.each(each, node.at, scope).map(Cow::Owned),
        }
    }

    fn owned(&self, node: &Node, scope: Option<&Scope<'_>>) -> Result<Value, Misfit> {
        let value = self.value(node, scope)?;
        self.steps.own(value, node.at)
    }

    fn truth(&self, node: &Node, scope: Option<&Scope<'_>>) -> Result<bool, Misfit> {
        let value = self.value(node, scope)?;
        let mismatch =
            || Misfit::new(Fault::Mismatch, node.at, format!("this is {}, not true or false", kind_of(&value)));
        value.as_bool().ok_or_else(mismatch)
    }

    fn at_path<'s>(&'s self, path: &'s [Box<str>], at: usize, scope: Option<&'s Scope<'s>>) -> Outcome<'s> {
        let found = match path.split_first() {
            Some((name, fields)) => match named(scope, name) {
                Some(value) => descend(value, fields, 1).map(Cow::Borrowed),
                None => self.variables.value(path),
            },
            None => Err(Gap::Missing(0)),
        };
        found.map_err(|gap| match gap {
            Gap::Missing(part) => {
                let path = path.get(..=part).unwrap_or(path).join(".");
                Misfit::new(Fault::Missing, at, format!("there is no `{path}`"))
            }
            Gap::NoObject(part) => {
                let path = path.get(..part).unwrap_or(path).join(".");
                Misfit::new(Fault::Mismatch, at, format!("`{path}` is no object, and has no fields"))
            }
        })
    }

    /// A part of `of`, which shares what `of` shares.
    fn item<'s>(
        &'s self,
        of: Cow<'s, Value>,
        part: impl Fn(&Value) -> Option<&Value>,
        at: usize,
        missing: impl FnOnce() -> String,
    ) -> Outcome<'s> {
        let found = match &of {
            Cow::Borrowed(of) => part(of).map(Cow::Borrowed),
            Cow::Owned(of) => match part(of) {
                Some(value) => Some(Cow::Owned(self.steps.own(Cow::Borrowed(value), at)?)),
                None => None,
            },
        };
        found.ok_or_else(|| Misfit::new(Fault::Missing, at, missing()))
    }

    fn index<'s>(&'s self, [of, key]: &'s [Node; 2], at: usize, scope: Option<&'s Scope<'s>>) -> Outcome<'s> {
        let of = self.value(of, scope)?;
        let key = self.value(key, scope)?;
        let place = match (&*of, &*key) {
            (Value::Array(_), Value::Number(number)) => number
                .as_u64()
                .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0 && *n < 1e15).map(|n| n as u64)),
            (Value::Object(_), Value::String(_)) => None,
            (of, key) => {
                let message = format!("{} has no items by {}", kind_of(of), kind_of(key));
                return Err(Misfit::new(Fault::Mismatch, at, message));
            }
        };
        let place = place.and_then(|place| usize::try_from(place).ok());
        self.item(
            of,
            |of| match (of, &*key) {
                (Value::Object(fields), Value::String(key)) => fields.get(key),
                (Value::Array(items), _) => place.and_then(|place| items.get(place)),
                _ => None,
            },
            at,
            || format!("there is no item {}", *key),
        )
    }

    fn has(&self, of: &Node, field: &str, scope: Option<&Scope<'_>>) -> Result<bool, Misfit> {
        // A path is asked for as a whole, so that nothing is built only to be asked for a field.
        if let NodeKind::Path(path) = &of.kind {
            let mut path = path.clone();
            path.push(field.into());
            return match self.at_path(&path, of.at, scope) {
                Ok(_) => Ok(true),
                Err(misfit) if misfit.fault == Fault::Missing => Ok(false),
                Err(misfit) => Err(misfit),
            };
        }
        let of_value = self.value(of, scope)?;
        match &*of_value {
            Value::Object(fields) => Ok(fields.contains_key(field)),
            other => Err(Misfit::new(Fault::Mismatch, of.at, format!("this is {}, and has no fields", kind_of(other)))),
        }
    }

    /// `&&` and `||`: `decides` is the truth of one that settles both, even where the other has none.
    fn either(&self, [left, right]: &[Node; 2], decides: bool, scope: Option<&Scope<'_>>) -> Result<bool, Misfit> {
        let left = match self.truth(left, scope) {
            Err(misfit) if misfit.fault == Fault::Limit => return Err(misfit),
            Ok(truth) if truth == decides => return Ok(decides),
            left => left,
        };
        match self.truth(right, scope) {
            Ok(truth) if truth == decides => Ok(decides),
            Err(misfit) if misfit.fault == Fault::Limit => Err(misfit),
            right => left.and(right),
        }
    }

    fn binary(
        &self,
        operator: Operator,
        [left, right]: &[Node; 2],
        at: usize,
        scope: Option<&Scope<'_>>,
    ) -> Result<Value, Misfit> {
        let left = self.value(left, scope)?;
        let right = self.value(right, scope)?;
        binary(operator, left, right, &self.steps, at)
    }

    fn object(&self, entries: &[[Node; 2]], scope: Option<&Scope<'_>>) -> Result<Value, Misfit> {
        let mut fields = Map::new();
        for [key, value] in entries {
            let Value::String(name) = self.owned(key, scope)? else {
                return Err(Misfit::new(Fault::Mismatch, key.at, "the keys of an object are texts"));
            };
            if fields.contains_key(&name) {
                return Err(Misfit::new(Fault::Mismatch, key.at, format!("the key `{name}` stands here twice")));
            }
            fields.insert(name, self.owned(value, scope)?);
        }
        Ok(Value::Object(fields))
    }

    fn each(&self, each: &EachNode, at: usize, scope: Option<&Scope<'_>>) -> Result<Value, Misfit> {
        let over = self.value(&each.over, scope)?;
        let mut gathered = Gathered::default();
        match &*over {
            Value::Array(items) => {
                for item in items {
                    if self.one(each, item, scope, &mut gathered)? {
                        break;
                    }
                }
            }
            Value::Object(fields) => {
                for name in fields.keys() {
                    let name = self.steps.own(Cow::Owned(Value::from(name.as_str())), at)?;
                    if self.one(each, &name, scope, &mut gathered)? {
                        break;
                    }
                }
            }
            other => {
                let message = format!("this goes through a list or an object, and not through {}", kind_of(other));
                return Err(Misfit::new(Fault::Mismatch, at, message));
            }
        }
        gathered.into_value(each.each)
    }

    /// One item of a macro; true: the others do not matter.
    fn one(
        &self,
        each: &EachNode,
        item: &Value,
        around: Option<&Scope<'_>>,
        gathered: &mut Gathered,
    ) -> Result<bool, Misfit> {
        self.steps.take(1, each.body.at)?;
        let scope = Scope { name: &each.item, value: item, around };
        let scope = Some(&scope);
        match each.each {
            Each::Map => {
                if each.only.as_ref().map_or(Ok(true), |only| self.truth(only, scope))? {
                    gathered.items.push(self.owned(&each.body, scope)?);
                }
                Ok(false)
            }
            Each::Filter => {
                if self.truth(&each.body, scope)? {
                    gathered.items.push(self.steps.own(Cow::Borrowed(item), each.body.at)?);
                }
                Ok(false)
            }
            Each::ExistsOne => {
                gathered.count += usize::from(self.truth(&each.body, scope)?);
                Ok(false)
            }
            Each::All | Each::Exists => match self.truth(&each.body, scope) {
                Ok(truth) if truth == (each.each == Each::Exists) => {
                    gathered.count += 1;
                    Ok(true)
                }
                Ok(_) => Ok(false),
                Err(misfit) if misfit.fault == Fault::Limit => Err(misfit),
                // As with `&&` and `||`, another item may still decide.
                Err(misfit) => {
                    gathered.misfit.get_or_insert(misfit);
                    Ok(false)
                }
            },
        }
    }
}

/// What the items of a macro came to.
#[derive(Default)]
struct Gathered {
    items: Vec<Value>,
    count: usize,
    misfit: Option<Misfit>,
}

impl Gathered {
    fn into_value(self, each: Each) -> Result<Value, Misfit> {
        match (each, self.misfit) {
            (Each::Map | Each::Filter, _) => Ok(Value::Array(self.items)),
            (Each::ExistsOne, _) => Ok((self.count == 1).into()),
            (Each::All | Each::Exists, Some(misfit)) if self.count == 0 => Err(misfit),
            (Each::All, _) => Ok((self.count == 0).into()),
            (Each::Exists, _) => Ok((self.count > 0).into()),
        }
    }
}
