//! Data processing and transformation (FGMV-29 8.2.4): one system's data becomes the next one's by expressions.

use serde_json::{Map, Value};
use twinway_protocol::{JsonDoc, Problem, ProblemKind};

use crate::expression::Expression;

/// What expressions know by name.
pub(crate) type Names = Map<String, Value>;

/// The value of a document that is carried.
pub(crate) fn value(document: &JsonDoc) -> Value {
    // A document was JSON when it came; what is nested too deeply to be read again counts as nothing.
    document.read().unwrap_or_default()
}

/// The document of a value.
///
/// # Errors
/// [`ProblemKind::LimitReached`] when it has more than `bytes_max` bytes.
pub(crate) fn document(value: &Value, bytes_max: usize) -> Result<JsonDoc, Problem> {
    let document = JsonDoc::from_value(value).unwrap_or_else(|_| JsonDoc::null());
    within(&document, bytes_max)?;
    Ok(document)
}

/// # Errors
/// [`ProblemKind::LimitReached`] when the document has more than `bytes_max` bytes.
pub(crate) fn within(document: &JsonDoc, bytes_max: usize) -> Result<(), Problem> {
    let bytes = document.as_str().len();
    if bytes <= bytes_max {
        return Ok(());
    }
    let detail = format!("chain_data_bytes_max = {bytes_max}: the data has {bytes} bytes");
    Err(Problem::new(ProblemKind::LimitReached, detail))
}

/// Reads an expression that stands at `pointer` of a document.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`] with both places: in the document, and in the expression.
pub(crate) fn parse(text: &str, pointer: &str) -> Result<Expression, Problem> {
    Expression::parse(text).map_err(|error| Problem::new(ProblemKind::InvalidDocument, error.to_string()).at(pointer))
}

/// What an expression that stands at `pointer` comes to.
///
/// # Errors
/// As [`parse`]; and [`ProblemKind::InvalidDocument`] when it does not fit the data.
pub(crate) fn evaluate(text: &str, names: &Names, pointer: &str) -> Result<Value, Problem> {
    parse(text, pointer)?
        .evaluate(names)
        .map_err(|error| Problem::new(ProblemKind::InvalidDocument, error.to_string()).at(pointer))
}

/// Whether a condition that stands at `pointer` is true.
///
/// # Errors
/// As [`evaluate`]; and [`ProblemKind::InvalidDocument`] when it is neither true nor false.
pub(crate) fn holds(text: &str, names: &Names, pointer: &str) -> Result<bool, Problem> {
    match evaluate(text, names, pointer)? {
        Value::Bool(holds) => Ok(holds),
        _ => Err(Problem::new(ProblemKind::InvalidDocument, "a condition is true or false").at(pointer)),
    }
}
