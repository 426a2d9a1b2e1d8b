//! Expressions in CEL, the Common Expression Language, over JSON: the filters of searches (FGMV-29 8.2.2, 8.3.2) and
//! what turns one system's data into another's (8.2.4).
//!
//! The crate `cel` reads the text; its tree becomes the smaller [`Node`]s, which are evaluated here. There are two
//! reasons. The crate's interpreter has no limit: `.map(x, x + x)` a few times over is more than any memory. And
//! it works on values of its own, so that every record would be converted before a filter could look at one field.
//!
//! # What differs from CEL
//! Values are JSON: objects have text as keys, there are no bytes, no durations, and no unsigned numbers apart from the
//! others. An operation on a whole number and a fraction is one on fractions, where CEL would refuse it; `7 / 2` stays `3`.
//!
//! # Limits
//! [`EXPRESSION_BYTES_MAX`], [`EXPRESSION_BRACKETS_MAX`] and [`EXPRESSION_DEPTH_MAX`] hold before the parser sees the text, and
//! [`EXPRESSION_STEPS_MAX`] while it is evaluated. A step is one node, one item or 16 bytes that are looked at or made, so
//! steps bound the time and the memory alike. Nothing that is written in an expression, or handed to it, makes it panic.

mod evaluate;
mod function;
mod guard;
mod node;
mod operation;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, panic::catch_unwind, sync::LazyLock};

use serde_json::{Map, Value};
use twinway_protocol::{Problem, ProblemKind};

pub use function::Function;
pub use node::{Each, Node, NodeKind, Operator};

/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 4_096;
/// How many brackets stand in each other.
pub const EXPRESSION_BRACKETS_MAX: usize = 24;
/// How deeply the parts of an expression stand in each other: brackets, and operators and selections in a row.
pub const EXPRESSION_DEPTH_MAX: usize = 64;
/// How many steps one evaluation takes.
pub const EXPRESSION_STEPS_MAX: u64 = 1_000_000;

/// What is wrong with an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The text is not an expression.
    Syntax,
    /// It names what is not there: a variable, a field, a key or an item.
    Missing,
    /// An operation does not fit the values.
    Mismatch,
    /// A result cannot be written as a number: a division by zero, or one that is too large.
    Arithmetic,
    /// A limit is reached.
    Limit,
}

/// What is wrong with an expression, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    /// Which kind of mistake.
    pub fault: Fault,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// What is wrong there, for a person.
    pub message: String,
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at line {} column {} of the expression", self.message, self.line, self.column)
    }
}

impl std::error::Error for ExpressionError {}

/// As a parameter that is not acceptable; who carries expressions in a document says so in its own words.
impl From<ExpressionError> for Problem {
    fn from(error: ExpressionError) -> Self {
        Self::new(ProblemKind::InvalidQuery, error.to_string())
    }
}

/// A fault at a place, the offset of a character, before it is put into words.
#[derive(Clone, Debug)]
pub(crate) struct Misfit {
    fault: Fault,
    at: usize,
    message: String,
}

impl Misfit {
    fn new(fault: Fault, at: usize, message: impl Into<String>) -> Self {
        Self { fault, at, message: message.into() }
    }

    fn in_text(self, text: &str) -> ExpressionError {
        let before = || text.chars().take(self.at);
        let line = before().filter(|c| *c == '\n').count() + 1;
        let column = before().collect::<Vec<_>>().iter().rev().take_while(|c| **c != '\n').count() + 1;
        ExpressionError { fault: self.fault, line, column, message: self.message }
    }
}

/// Why a path leads nowhere; the number is that of the part of the path, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// There is no variable or field of this name.
    Missing(usize),
    /// What the path names before is no object, and has no fields.
    NoObject(usize),
}

/// What an expression is about.
pub trait Variables {
    /// The value at `path`: a variable, and fields in each other. The path is never empty.
    ///
    /// # Errors
    /// Says which part of the path is not there.
    fn value(&self, path: &[Box<str>]) -> Result<Cow<'_, Value>, Gap>;
}

impl Variables for Map<String, Value> {
    fn value(&self, path: &[Box<str>]) -> Result<Cow<'_, Value>, Gap> {
        let (name, fields) = path.split_first().ok_or(Gap::Missing(0))?;
        let value = self.get(&**name).ok_or(Gap::Missing(0))?;
        Ok(Cow::Borrowed(descend(value, fields, 1)?))
    }
}

/// What `fields` lead to from `value`; `depth` is the number of the first of them in its path.
pub(crate) fn descend<'v>(value: &'v Value, fields: &[Box<str>], depth: usize) -> Result<&'v Value, Gap> {
    let mut value = value;
    for (index, field) in fields.iter().enumerate() {
        let object = value.as_object().ok_or(Gap::NoObject(depth + index))?;
        value = object.get(&**field).ok_or(Gap::Missing(depth + index))?;
    }
    Ok(value)
}

/// How many brackets may stand in each other for an expression to be read on the stack of its thread.
const BRACKETS_IN_PLACE_MAX: usize = 4;
/// The stack for reading those with more brackets, in bytes.
const STACK_BYTES: usize = 16 << 20;

fn read(text: &str) -> Result<Node, ExpressionError> {
    // Macros stay calls: they become nodes of their own, which have no accumulators that grow.
    static PARSER: LazyLock<cel::Env> = LazyLock::new(cel::Env::default);
    // The parser is the work of others, and large; what it does not stand is a mistake in the text.
    let parsed = catch_unwind(|| PARSER.parser().enable_optional_syntax(false).parse_with_source_info(text));
    let (tree, source) = parsed.map_err(|_| unread(text))?.map_err(|errors| guard::worded(&errors, text))?;
    node::of(&tree, &source).map_err(|misfit| misfit.in_text(text))
}

fn read_apart(text: &str) -> Result<Node, ExpressionError> {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    std::thread::scope(|scope| {
        let reading = thread.spawn_scoped(scope, || read(text)).map_err(|_| unread(text))?;
        reading.join().unwrap_or_else(|_| Err(unread(text)))
    })
}

fn unread(text: &str) -> ExpressionError {
    Misfit::new(Fault::Syntax, 0, "the expression cannot be read").in_text(text)
}

/// An expression that was read, and can be evaluated any number of times.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Box<str>,
    root: Node,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`Fault::Syntax`] or [`Fault::Limit`], with the place.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let brackets = guard::check(text).map_err(|misfit| misfit.in_text(text))?;
        // The parser takes up to 200 kB of stack a bracket.
        let root = if brackets <= BRACKETS_IN_PLACE_MAX { read(text)? } else { read_apart(text)? };
        Ok(Self { text: text.into(), root })
    }

    /// The text, as it came.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The expression as a tree.
    #[must_use]
    pub const fn root(&self) -> &Node {
        &self.root
    }

    /// What it comes to, within [`EXPRESSION_STEPS_MAX`].
    ///
    /// # Errors
    /// Every [`Fault`] but that of the syntax, with the place.
    pub fn evaluate(&self, variables: &impl Variables) -> Result<Value, ExpressionError> {
        let mut steps = EXPRESSION_STEPS_MAX;
        self.evaluate_within(variables, &mut steps)
    }

    /// What it comes to; takes the steps that are needed off `steps`, and needs no more than that.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn evaluate_within(&self, variables: &impl Variables, steps: &mut u64) -> Result<Value, ExpressionError> {
        evaluate::evaluate(&self.root, variables, steps).map_err(|misfit| misfit.in_text(&self.text))
    }

    /// Whether it holds; takes the steps that are needed off `steps`.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and [`Fault::Mismatch`] when it comes to something else than true or false.
    pub fn holds_within(&self, variables: &impl Variables, steps: &mut u64) -> Result<bool, ExpressionError> {
        self.part_holds_within(&self.root, variables, steps)
    }

    /// Whether a part of it holds; takes the steps that are needed off `steps`.
    ///
    /// # Errors
    /// As [`Expression::holds_within`].
    pub fn part_holds_within(
        &self,
        part: &Node,
        variables: &impl Variables,
        steps: &mut u64,
    ) -> Result<bool, ExpressionError> {
        evaluate::holds(part, variables, steps).map_err(|misfit| misfit.in_text(&self.text))
    }

    /// The mistake that a part of this expression is, in words: for those who check it against what they know.
    #[must_use]
    pub fn mistake(&self, node: &Node, fault: Fault, message: impl Into<String>) -> ExpressionError {
        Misfit::new(fault, node.at, message).in_text(&self.text)
    }
}
