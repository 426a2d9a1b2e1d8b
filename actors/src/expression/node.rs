//! An expression as a tree, made of what the crate `cel` has read.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, SelectExpr, SourceInfo, operators},
};
use serde_json::{Number, Value};

use super::{Fault, Function, Misfit};

/// A part of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands in the text: the offset of a character.
    pub at: usize,
    /// What it is.
    pub kind: NodeKind,
}

/// What a part of an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// A value that the text names.
    Literal(Value),
    /// A variable, and fields in each other: `charge.amount`.
    Path(Vec<Box<str>>),
    /// A field of something that is no variable.
    Select(Box<Node>, Box<str>),
    /// An item of a list, or a field by its name.
    Index(Box<[Node; 2]>),
    /// `has(…)`: whether a field is there.
    Has(Box<Node>, Box<str>),
    /// `!`
    Not(Box<Node>),
    /// `-`, of one
    Negate(Box<Node>),
    /// `&&`: false as soon as one of both is, whatever the other comes to.
    And(Box<[Node; 2]>),
    /// `||`: true as soon as one of both is, whatever the other comes to.
    Or(Box<[Node; 2]>),
    /// `? :`
    If(Box<[Node; 3]>),
    /// An operator of two.
    Binary(Operator, Box<[Node; 2]>),
    /// `[…]`
    List(Vec<Node>),
    /// `{…}`: keys and values.
    Object(Vec<[Node; 2]>),
    /// A function; what it is called on comes first.
    Call(Function, Vec<Node>),
    /// Something for each item of a list, or each key of an object.
    Each(Box<EachNode>),
}

/// One of CEL's macros over lists.
#[derive(Clone, Debug, PartialEq)]
pub struct EachNode {
    /// Which.
    pub each: Each,
    /// The list, or the object.
    pub over: Node,
    /// The name of the item in `body`.
    pub item: Box<str>,
    /// Of `map` with three parts: which items it is for.
    pub only: Option<Node>,
    /// What is done with each.
    pub body: Node,
}

/// What is done with the items of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Each {
    /// Whether all are so.
    All,
    /// Whether one or more are so.
    Exists,
    /// Whether exactly one is so.
    ExistsOne,
    /// What each comes to.
    Map,
    /// Those that are so.
    Filter,
}

impl Each {
    fn named(name: &str, parts: usize) -> Option<Self> {
        match (name, parts) {
            ("all", 2) => Some(Self::All),
            ("exists", 2) => Some(Self::Exists),
            ("exists_one" | "existsOne", 2) => Some(Self::ExistsOne),
            ("map", 2 | 3) => Some(Self::Map),
            ("filter", 2) => Some(Self::Filter),
            _ => None,
        }
    }
}

/// An operator of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `in`
    In,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

impl Operator {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            operators::EQUALS => Self::Equal,
            operators::NOT_EQUALS => Self::NotEqual,
            operators::LESS => Self::Less,
            operators::LESS_EQUALS => Self::LessOrEqual,
            operators::GREATER => Self::Greater,
            operators::GREATER_EQUALS => Self::GreaterOrEqual,
            operators::IN => Self::In,
            operators::ADD => Self::Add,
            operators::SUBSTRACT => Self::Subtract,
            operators::MULTIPLY => Self::Multiply,
            operators::DIVIDE => Self::Divide,
            operators::MODULO => Self::Remainder,
            _ => return None,
        })
    }

    /// As it is written.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// The tree of what was read. It is as deep as the guard has allowed.
pub(super) fn of(tree: &IdedExpr, source: &SourceInfo) -> Result<Node, Misfit> {
    // The parser counts bytes.
    let bytes = source.offset_for(tree.id).map_or(0, |(start, _)| start as usize);
    let at = source.source.get(..bytes).map_or(0, |before| before.chars().count());
    let kind = match &tree.expr {
        Expr::Literal(literal) => NodeKind::Literal(value(literal, at)?),
        Expr::Ident(name) => NodeKind::Path(vec![name.trim_start_matches('.').into()]),
        Expr::Select(SelectExpr { operand, field, test: false }) => return Ok(select(of(operand, source)?, field, at)),
        Expr::Select(SelectExpr { operand, field, test: true }) => {
            NodeKind::Has(Box::new(of(operand, source)?), field.as_str().into())
        }
        Expr::List(list) => NodeKind::List(all(&list.elements, source)?),
        Expr::Map(map) => {
            let entries = map.entries.iter().map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Ok([of(&entry.key, source)?, of(&entry.value, source)?]),
                EntryExpr::StructField(_) => Err(unfit(at)),
            });
            NodeKind::Object(entries.collect::<Result<_, _>>()?)
        }
        Expr::Call(call) => called(call, at, source)?,
        Expr::Struct(_) => return Err(Misfit::new(Fault::Syntax, at, "an object is written as `{\"field\": value}`")),
        Expr::Comprehension(_) | Expr::Unspecified => return Err(unfit(at)),
    };
    Ok(Node { at, kind })
}

fn unfit(at: usize) -> Misfit {
    Misfit::new(Fault::Syntax, at, "this is not understood")
}

fn all(trees: &[IdedExpr], source: &SourceInfo) -> Result<Vec<Node>, Misfit> {
    trees.iter().map(|tree| of(tree, source)).collect()
}

fn value(literal: &LiteralValue, at: usize) -> Result<Value, Misfit> {
    Ok(match literal {
        LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
        LiteralValue::Int(value) => Value::from(*value.inner()),
        LiteralValue::UInt(value) => Value::from(*value.inner()),
        LiteralValue::Double(value) => Number::from_f64(*value.inner())
            .map(Value::Number)
            .ok_or_else(|| Misfit::new(Fault::Arithmetic, at, "the number is too large"))?,
        LiteralValue::String(value) => Value::from(value.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::Bytes(_) => return Err(Misfit::new(Fault::Syntax, at, "JSON has no bytes")),
    })
}

fn select(operand: Node, field: &str, at: usize) -> Node {
    match operand {
        // A path stands where it begins.
        Node { at, kind: NodeKind::Path(mut path) } => {
            path.push(field.into());
            Node { at, kind: NodeKind::Path(path) }
        }
        operand => Node { at, kind: NodeKind::Select(Box::new(operand), field.into()) },
    }
}

fn called(call: &CallExpr, at: usize, source: &SourceInfo) -> Result<NodeKind, Misfit> {
    let name = call.func_name.trim_start_matches('.');
    if let Some(target) = &call.target {
        if let Some(each) = Each::named(name, call.args.len()) {
            return over(each, of(target, source)?, &call.args, at, source);
        }
        let mut parts = vec![of(target, source)?];
        parts.extend(all(&call.args, source)?);
        return function(name, parts, true, at);
    }
    let parts = all(&call.args, source)?;
    match (name, <[Node; 1]>::try_from(parts)) {
        (operators::LOGICAL_NOT, Ok([of])) => Ok(NodeKind::Not(Box::new(of))),
        (operators::NEGATE, Ok([of])) => Ok(NodeKind::Negate(Box::new(of))),
        (operators::HAS, Ok([of])) => has(of),
        (_, Ok([of])) => function(name, vec![of], false, at),
        (_, Err(parts)) => operation(name, parts, at),
    }
}

fn operation(name: &str, parts: Vec<Node>, at: usize) -> Result<NodeKind, Misfit> {
    match (name, <[Node; 2]>::try_from(parts)) {
        (operators::LOGICAL_AND, Ok(both)) => Ok(NodeKind::And(Box::new(both))),
        (operators::LOGICAL_OR, Ok(both)) => Ok(NodeKind::Or(Box::new(both))),
        (operators::INDEX, Ok(both)) => Ok(NodeKind::Index(Box::new(both))),
        (_, Ok(both)) => match Operator::named(name) {
            Some(operator) => Ok(NodeKind::Binary(operator, Box::new(both))),
            None => function(name, both.into(), false, at),
        },
        (operators::CONDITIONAL, Err(parts)) => match <[Node; 3]>::try_from(parts) {
            Ok(parts) => Ok(NodeKind::If(Box::new(parts))),
            Err(_) => Err(unfit(at)),
        },
        (_, Err(parts)) => function(name, parts, false, at),
    }
}

fn has(of: Node) -> Result<NodeKind, Misfit> {
    let at = of.at;
    match of.kind {
        NodeKind::Path(mut path) if path.len() > 1 => {
            let field = path.pop().unwrap_or_default();
            Ok(NodeKind::Has(Box::new(Node { at, kind: NodeKind::Path(path) }), field))
        }
        NodeKind::Select(of, field) => Ok(NodeKind::Has(of, field)),
        _ => Err(Misfit::new(Fault::Syntax, at, "`has` asks for a field: `has(charge.amount)`")),
    }
}

fn over(each: Each, over: Node, parts: &[IdedExpr], at: usize, source: &SourceInfo) -> Result<NodeKind, Misfit> {
    let unfit = || Misfit::new(Fault::Syntax, at, "the first part names the item: `list.exists(item, …)`");
    let (item, rest) = parts.split_first().ok_or_else(unfit)?;
    let Expr::Ident(item) = &item.expr else { return Err(unfit()) };
    let (body, only) = rest.split_last().ok_or_else(unfit)?;
    let only = only.first().map(|only| of(only, source)).transpose()?;
    let body = of(body, source)?;
    Ok(NodeKind::Each(Box::new(EachNode { each, over, item: item.as_str().into(), only, body })))
}

fn function(name: &str, parts: Vec<Node>, on_target: bool, at: usize) -> Result<NodeKind, Misfit> {
    let given = parts.len() - usize::from(on_target);
    match Function::named(name, parts.len()) {
        Some(function) => Ok(NodeKind::Call(function, parts)),
        None => Err(Misfit::new(Fault::Syntax, at, format!("there is no function `{name}` of {given}"))),
    }
}
