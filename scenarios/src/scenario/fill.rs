//! Texts and documents with gaps: `${…}` holds an expression, which is evaluated when the document is needed.

use serde_json::{Map, Value};
use twinway_actors::expression::Expression;

/// Values by name, for expressions.
pub type Variables = Map<String, Value>;

/// A document with gaps. A text that is one gap and nothing else becomes the gap's value, whatever its type.
#[derive(Clone, Debug)]
pub struct Fill(Part);

#[derive(Clone, Debug)]
enum Part {
    Value(Value),
    Text(Vec<Piece>),
    List(Vec<Part>),
    Object(Vec<(Vec<Piece>, Part)>),
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Gap(Box<Expression>),
}

impl Fill {
    /// Reads a document.
    ///
    /// # Errors
    /// A gap that does not end, or an expression with a mistake.
    pub fn read(value: &Value) -> Result<Self, String> {
        part(value).map(Self)
    }

    /// The document, without gaps.
    ///
    /// # Errors
    /// An expression that has no value.
    pub fn fill(&self, variables: &Variables) -> Result<Value, String> {
        filled(&self.0, variables)
    }

    /// The document as text: a text without its quotes, everything else as JSON.
    ///
    /// # Errors
    /// As for [`Fill::fill`].
    pub fn text(&self, variables: &Variables) -> Result<String, String> {
        self.fill(variables).map(shown)
    }
}

fn shown(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn part(value: &Value) -> Result<Part, String> {
    Ok(match value {
        Value::String(text) => Part::Text(pieces(text)?),
        Value::Array(items) => Part::List(items.iter().map(part).collect::<Result<_, _>>()?),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| -> Result<_, String> { Ok((pieces(name)?, part(value)?)) };
            Part::Object(fields.iter().map(field).collect::<Result<_, _>>()?)
        }
        other => Part::Value(other.clone()),
    })
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let end = end_of_gap(behind).ok_or_else(|| format!("`${{{behind}` does not end"))?;
        let (inside, after) = (behind.get(..end).unwrap_or_default(), behind.get(end + 1..).unwrap_or_default());
        let expression = Expression::parse(inside).map_err(|problem| format!("`{inside}`: {}", problem))?;
        pieces.push(Piece::Gap(Box::new(expression)));
        rest = after;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// Where the brace is that ends the gap: expressions have maps in braces, and texts in quotes.
fn end_of_gap(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => {
                characters.next();
            }
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

fn filled(part: &Part, variables: &Variables) -> Result<Value, String> {
    Ok(match part {
        Part::Value(value) => value.clone(),
        Part::Text(pieces) => match pieces.as_slice() {
            [Piece::Gap(expression)] => value_of(expression, variables)?,
            pieces => Value::String(joined(pieces, variables)?),
        },
        Part::List(parts) => Value::Array(parts.iter().map(|part| filled(part, variables)).collect::<Result<_, _>>()?),
        Part::Object(fields) => {
            let field = |(name, part): &(Vec<Piece>, Part)| -> Result<_, String> {
                Ok((joined(name, variables)?, filled(part, variables)?))
            };
            Value::Object(fields.iter().map(field).collect::<Result<_, _>>()?)
        }
    })
}

fn joined(pieces: &[Piece], variables: &Variables) -> Result<String, String> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Gap(expression) => text.push_str(&shown(value_of(expression, variables)?)),
        }
    }
    Ok(text)
}

fn value_of(expression: &Expression, variables: &Variables) -> Result<Value, String> {
    expression.evaluate(variables).map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Fill, Variables};

    fn filled(document: &Value) -> Result<Value, String> {
        let Value::Object(variables) = json!({"lamp": "urn:lamp:1", "level": 3, "names": ["a", "b"]}) else {
            return Err("it is an object".to_owned());
        };
        let variables: Variables = variables;
        Fill::read(document)?.fill(&variables)
    }

    #[test]
    fn a_text_that_is_one_gap_becomes_its_value_and_other_texts_take_it_in() {
        let document = json!({"${lamp}": ["${level + 1}", "level ${level} of ${lamp}", "${names}", 7, null]});
        let wanted = json!({"urn:lamp:1": [4, "level 3 of urn:lamp:1", ["a", "b"], 7, null]});
        assert_eq!(filled(&document), Ok(wanted));
    }

    #[test]
    fn braces_and_quotes_inside_a_gap_do_not_end_it() {
        assert_eq!(filled(&json!("${ {'a': '}'}.a } end")), Ok(json!("} end")));
    }

    #[test]
    fn a_gap_that_does_not_end_or_says_nothing_sensible_is_told() {
        assert!(filled(&json!("${level")).is_err_and(|why| why.contains("does not end")));
        assert!(filled(&json!("${level +}")).is_err());
        assert!(filled(&json!("${nobody}")).is_err_and(|why| why.contains("nobody")));
    }
}
