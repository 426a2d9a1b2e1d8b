//! Whether a filter can be about what is searched at all: names that are there, and types that fit.

use super::{
    Kind,
    field::{Field, Shape},
};
use crate::expression::{Each, Expression, ExpressionError, Fault, Function, Node, NodeKind, Operator};

/// What a part of a filter can be, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
enum Type {
    Any,
    Null,
    Truth,
    Number,
    Text,
    Object,
    List(Box<Type>),
}

impl Type {
    fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    /// Whether one value can be of both types.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::List(a), Self::List(b)) => a.meets(b),
            (a, b) => a == b,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Null => "null",
            Self::Truth => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Object => "an object",
            Self::List(_) => "a list",
        }
    }
}

/// Checks a filter over what is of this kind.
pub(super) fn check(filter: &Expression, kind: Kind) -> Result<(), ExpressionError> {
    let check = Check { filter, kind };
    let of = check.of(filter.root(), None)?;
    check.needs(filter.root(), &of, &Type::Truth)
}

/// The items of macros, by name.
struct Scope<'s> {
    name: &'s str,
    of: Type,
    around: Option<&'s Scope<'s>>,
}

struct Check<'f> {
    filter: &'f Expression,
    kind: Kind,
}

type Typed = Result<Type, ExpressionError>;

impl Check<'_> {
    fn mismatch(&self, node: &Node, message: String) -> ExpressionError {
        self.filter.mistake(node, Fault::Mismatch, message)
    }

    fn needs(&self, node: &Node, of: &Type, needed: &Type) -> Result<(), ExpressionError> {
        if of.meets(needed) {
            return Ok(());
        }
        Err(self.mismatch(node, format!("this is {}, and {} is needed", of.name(), needed.name())))
    }

    fn truth(&self, node: &Node, scope: Option<&Scope<'_>>) -> Typed {
        self.needs(node, &self.of(node, scope)?, &Type::Truth)?;
        Ok(Type::Truth)
    }

    fn of(&self, node: &Node, scope: Option<&Scope<'_>>) -> Typed {
        match &node.kind {
            NodeKind::Literal(value) => Ok(match value {
                serde_json::Value::Null => Type::Null,
                serde_json::Value::Bool(_) => Type::Truth,
                serde_json::Value::Number(_) => Type::Number,
                serde_json::Value::String(_) => Type::Text,
                _ => Type::Any,
            }),
            NodeKind::Path(path) => self.path(node, path, scope),
            NodeKind::Select(of, _) => self.object(of, scope).map(|()| Type::Any),
            NodeKind::Has(of, field) => self.has(node, of, field, scope),
            NodeKind::Index(both) => self.index(node, both, scope),
            NodeKind::Not(of) => self.truth(of, scope),
            NodeKind::Negate(of) => {
                self.needs(of, &self.of(of, scope)?, &Type::Number)?;
                Ok(Type::Number)
            }
            NodeKind::And(both) | NodeKind::Or(both) => {
                both.iter().try_for_each(|part| self.truth(part, scope).map(|_| ()))?;
                Ok(Type::Truth)
            }
            NodeKind::If(parts) => {
                let [condition, yes, no] = &**parts;
                self.truth(condition, scope)?;
                let (yes, no) = (self.of(yes, scope)?, self.of(no, scope)?);
                Ok(if yes == no { yes } else { Type::Any })
            }
            NodeKind::Binary(operator, both) => self.binary(node, *operator, both, scope),
            NodeKind::List(items) => self.list(items, scope),
            NodeKind::Object(entries) => {
                for [key, value] in entries {
                    self.needs(key, &self.of(key, scope)?, &Type::Text)?;
                    self.of(value, scope)?;
                }
                Ok(Type::Object)
            }
            NodeKind::Call(function, parts) => self.call(node, *function, parts, scope),
            NodeKind::Each(each) => {
                let item = match self.of(&each.over, scope)? {
                    Type::List(item) => *item,
                    Type::Object => Type::Text,
                    Type::Any => Type::Any,
                    other => {
                        let message = format!("this goes through a list, and not through {}", other.name());
                        return Err(self.mismatch(node, message));
                    }
                };
                let inner = Scope { name: &each.item, of: item.clone(), around: scope };
                if let Some(only) = &each.only {
                    self.truth(only, Some(&inner))?;
                }
                match each.each {
                    Each::Map => Ok(Type::list(self.of(&each.body, Some(&inner))?)),
                    Each::Filter => self.truth(&each.body, Some(&inner)).map(|_| Type::list(item)),
                    Each::All | Each::Exists | Each::ExistsOne => self.truth(&each.body, Some(&inner)),
                }
            }
        }
    }

    fn path(&self, node: &Node, path: &[Box<str>], scope: Option<&Scope<'_>>) -> Typed {
        let mut inner = scope;
        while let Some(item) = inner {
            if path.first().is_some_and(|name| **name == *item.name) {
                return match (&item.of, path.len()) {
                    (of, 1) => Ok(of.clone()),
                    (Type::Any | Type::Object, _) => Ok(Type::Any),
                    (of, _) => Err(self.mismatch(node, format!("`{}` is {}, and has no fields", item.name, of.name()))),
                };
            }
            inner = item.around;
        }
        let (field, rest) = self.field(node, path)?;
        match (field.shape(), rest) {
            (Shape::Text, []) => Ok(Type::Text),
            (Shape::Number, []) => Ok(Type::Number),
            (Shape::Texts, []) => Ok(Type::list(Type::Text)),
            (Shape::Documents, []) => Ok(Type::Object),
            (Shape::Documents, _) => Ok(Type::Any),
            (..) => Err(self.mismatch(node, format!("`{}` has no fields", field.path()))),
        }
    }

    /// The field that a path names, if what is searched has it.
    fn field<'p>(&self, node: &Node, path: &'p [Box<str>]) -> Result<(Field, &'p [Box<str>]), ExpressionError> {
        match Field::at(path) {
            Some((field, rest)) if field.is_of(self.kind) => Ok((field, rest)),
            _ => {
                let own = Field::ALL.iter().filter(|field| field.is_of(self.kind)).map(|field| field.path());
                // Of a group that is there, only its fields are named.
                let group = path.first().map(|name| format!("{name}.")).unwrap_or_default();
                let near: Vec<_> = own.clone().filter(|name| name.starts_with(&group)).collect();
                let named = if near.is_empty() { own.collect() } else { near };
                let message = format!("{} have no `{}`, but: {}", self.kind.plural(), path.join("."), named.join(", "));
                Err(self.filter.mistake(node, Fault::Missing, message))
            }
        }
    }

    fn has(&self, node: &Node, of: &Node, field: &str, scope: Option<&Scope<'_>>) -> Typed {
        let named = |name: &str| std::iter::successors(scope, |scope| scope.around).any(|scope| scope.name == name);
        match &of.kind {
            NodeKind::Path(path) if !path.first().is_some_and(|name| named(name)) => {
                let mut path = path.clone();
                path.push(field.into());
                self.path(node, &path, scope)?;
            }
            _ => self.object(of, scope)?,
        }
        Ok(Type::Truth)
    }

    fn object(&self, node: &Node, scope: Option<&Scope<'_>>) -> Result<(), ExpressionError> {
        self.needs(node, &self.of(node, scope)?, &Type::Object)
    }

    fn index(&self, node: &Node, [of, key]: &[Node; 2], scope: Option<&Scope<'_>>) -> Typed {
        let (of, key) = (self.of(of, scope)?, self.of(key, scope)?);
        match (&of, &key) {
            (Type::List(item), Type::Number | Type::Any) => Ok((**item).clone()),
            (Type::Object | Type::Any, Type::Text | Type::Any) | (Type::Any, Type::Number) => Ok(Type::Any),
            _ => Err(self.mismatch(node, format!("{} has no items by {}", of.name(), key.name()))),
        }
    }

    fn list(&self, items: &[Node], scope: Option<&Scope<'_>>) -> Typed {
        let mut common = None;
        for item in items {
            let of = self.of(item, scope)?;
            common = Some(match common {
                Some(other) if other != of => Type::Any,
                _ => of,
            });
        }
        Ok(Type::list(common.unwrap_or(Type::Any)))
    }

    fn binary(&self, node: &Node, operator: Operator, both: &[Node; 2], scope: Option<&Scope<'_>>) -> Typed {
        let [left_node, right_node] = both;
        let (left, right) = (self.of(left_node, scope)?, self.of(right_node, scope)?);
        let fits = match operator {
            Operator::Equal | Operator::NotEqual => {
                self.vocabulary(both)?;
                left.meets(&right)
            }
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                let ordered = |of: &Type| matches!(of, Type::Any | Type::Number | Type::Text | Type::Truth);
                left.meets(&right) && ordered(&left) && ordered(&right)
            }
            Operator::In => match &right {
                Type::List(item) => left.meets(item),
                Type::Object => left.meets(&Type::Text),
                other => *other == Type::Any,
            },
            Operator::Add => {
                let added = |of: &Type| matches!(of, Type::Any | Type::Number | Type::Text | Type::List(_));
                if left.meets(&right) && added(&left) && added(&right) {
                    return Ok(if left == right { left } else { Type::Any });
                }
                false
            }
            Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
                if left.meets(&Type::Number) && right.meets(&Type::Number) {
                    return Ok(Type::Number);
                }
                false
            }
        };
        if fits {
            return Ok(Type::Truth);
        }
        let message = format!("`{}` does not fit {} and {}", operator.sign(), left.name(), right.name());
        Err(self.mismatch(node, message))
    }

    /// A health, say, that there is not.
    fn vocabulary(&self, both: &[Node; 2]) -> Result<(), ExpressionError> {
        let known = |node: &Node| match &node.kind {
            NodeKind::Path(path) => Field::at(path).and_then(|(field, _)| field.vocabulary()),
            _ => None,
        };
        let Some((what, words)) = both.iter().find_map(known) else { return Ok(()) };
        for node in both {
            match &node.kind {
                NodeKind::Literal(serde_json::Value::String(text)) if !words.contains(&text.as_str()) => {
                    return Err(self.mismatch(node, format!("{what} is one of: {}", words.join(", "))));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn call(&self, node: &Node, function: Function, parts: &[Node], scope: Option<&Scope<'_>>) -> Typed {
        let types: Vec<Type> = parts.iter().map(|part| self.of(part, scope)).collect::<Result<_, _>>()?;
        let all = |needed: &[Type]| {
            parts.iter().zip(&types).zip(needed).try_for_each(|((part, of), needed)| self.needs(part, of, needed))
        };
        let text = || Type::Text;
        match function {
            Function::Size => match types.first() {
                Some(Type::Any | Type::Text | Type::Object | Type::List(_)) => Ok(Type::Number),
                _ => Err(self.mismatch(node, "`size` is for a text, a list or an object".to_owned())),
            },
            Function::Contains | Function::StartsWith | Function::EndsWith => {
                all(&[text(), text()]).map(|()| Type::Truth)
            }
            Function::LowerAscii | Function::UpperAscii | Function::Trim => all(&[text()]).map(|()| Type::Text),
            Function::Split => all(&[text(), text()]).map(|()| Type::list(Type::Text)),
            Function::Join => all(&[Type::list(Type::Text), text()]).map(|()| Type::Text),
            Function::Replace => all(&[text(), text(), text()]).map(|()| Type::Text),
            Function::Substring => all(&[text(), Type::Number, Type::Number]).map(|()| Type::Text),
            Function::Text => Ok(Type::Text),
            Function::Whole | Function::Fraction => Ok(Type::Number),
            Function::Truth => Ok(Type::Truth),
        }
    }
}
