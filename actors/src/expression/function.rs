//! The functions of expressions.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    Fault, Misfit,
    evaluate::Steps,
    operation::{Numeric, kind_of},
};

/// A function. What it may be called on is its first part: `name.size()` is `size(name)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `size`: the characters of a text, the items of a list, the fields of an object.
    Size,
    /// `text.contains(part)`
    Contains,
    /// `text.startsWith(part)`
    StartsWith,
    /// `text.endsWith(part)`
    EndsWith,
    /// `text.lowerAscii()`
    LowerAscii,
    /// `text.upperAscii()`
    UpperAscii,
    /// `text.trim()`
    Trim,
    /// `text.split(separator)`
    Split,
    /// `list.join(separator)`
    Join,
    /// `text.replace(old, new)`
    Replace,
    /// `text.substring(from)` and `text.substring(from, to)`, in characters from 0
    Substring,
    /// `string(value)`
    Text,
    /// `int(value)`: the whole part of a number, or the whole number that a text is.
    Whole,
    /// `double(value)`
    Fraction,
    /// `bool(value)`
    Truth,
}

impl Function {
    /// The function of this name with so many parts, what it is called on included.
    pub(super) fn named(name: &str, parts: usize) -> Option<Self> {
        Some(match (name, parts) {
            ("size", 1) => Self::Size,
            ("contains", 2) => Self::Contains,
            ("startsWith", 2) => Self::StartsWith,
            ("endsWith", 2) => Self::EndsWith,
            ("lowerAscii", 1) => Self::LowerAscii,
            ("upperAscii", 1) => Self::UpperAscii,
            ("trim", 1) => Self::Trim,
            ("split", 2) => Self::Split,
            ("join", 1 | 2) => Self::Join,
            ("replace", 3) => Self::Replace,
            ("substring", 2 | 3) => Self::Substring,
            ("string", 1) => Self::Text,
            ("int" | "uint", 1) => Self::Whole,
            ("double", 1) => Self::Fraction,
            ("bool", 1) => Self::Truth,
            _ => return None,
        })
    }

    /// What it comes to.
    pub(super) fn call<'s>(
        self,
        parts: Vec<Cow<'s, Value>>,
        steps: &Steps,
        at: usize,
    ) -> Result<Cow<'s, Value>, Misfit> {
        let values: Vec<&Value> = parts.iter().map(|part| &**part).collect();
        // Each of them looks at all of its parts, and makes no more than they are, apart from `replace` and `join`.
        values.iter().try_for_each(|value| self.pays(value, steps, at))?;
        let value = match (self, values.as_slice()) {
            (Self::Size, [Value::String(text)]) => Value::from(text.chars().count()),
            (Self::Size, [Value::Array(items)]) => Value::from(items.len()),
            (Self::Size, [Value::Object(fields)]) => Value::from(fields.len()),
            (Self::Contains, [Value::String(text), Value::String(part)]) => text.contains(part.as_str()).into(),
            (Self::StartsWith, [Value::String(text), Value::String(part)]) => text.starts_with(part.as_str()).into(),
            (Self::EndsWith, [Value::String(text), Value::String(part)]) => text.ends_with(part.as_str()).into(),
            (Self::LowerAscii, [Value::String(text)]) => text.to_ascii_lowercase().into(),
            (Self::UpperAscii, [Value::String(text)]) => text.to_ascii_uppercase().into(),
            (Self::Trim, [Value::String(text)]) => text.trim().into(),
            (Self::Split, [Value::String(text), Value::String(by)]) => split(text, by, steps, at)?,
            (Self::Join, [Value::Array(items), rest @ ..]) => join(items, rest.first(), steps, at)?,
            (Self::Replace, [Value::String(text), Value::String(old), Value::String(new)]) => {
                steps.take(text.matches(old.as_str()).count() * (1 + new.len() / 16), at)?;
                text.replace(old.as_str(), new).into()
            }
            (Self::Substring, [Value::String(text), range @ ..]) => substring(text, range, at)?,
            (Self::Text, [value]) => text(value, at)?,
            (Self::Whole, [value]) => whole(value, at)?,
            (Self::Fraction, [value]) => fraction(value, at)?,
            (Self::Truth, [Value::Bool(value)]) => (*value).into(),
            (Self::Truth, [Value::String(text)]) if text == "true" || text == "false" => (text == "true").into(),
            (_, values) => {
                let kinds: Vec<_> = values.iter().map(|value| kind_of(value)).collect();
                let message = format!("the function does not fit {}", kinds.join(" and "));
                return Err(Misfit::new(Fault::Mismatch, at, message));
            }
        };
        Ok(Cow::Owned(value))
    }

    fn pays(self, value: &Value, steps: &Steps, at: usize) -> Result<(), Misfit> {
        match (self, value) {
            (Self::Size, Value::Array(_) | Value::Object(_)) => Ok(()),
            _ => steps.weigh(value, at),
        }
    }
}

fn split(text: &str, by: &str, steps: &Steps, at: usize) -> Result<Value, Misfit> {
    steps.take(text.matches(by).count() * 2, at)?;
    // An empty separator gives the characters.
    if by.is_empty() {
        return Ok(text.chars().map(String::from).collect::<Vec<_>>().into());
    }
    Ok(text.split(by).collect::<Vec<_>>().into())
}

fn join(items: &[Value], by: Option<&&Value>, steps: &Steps, at: usize) -> Result<Value, Misfit> {
    let by = match by {
        None => "",
        Some(Value::String(by)) => by.as_str(),
        Some(_) => return Err(Misfit::new(Fault::Mismatch, at, "`join` puts a text between the items")),
    };
    steps.take(items.len() * (1 + by.len() / 16), at)?;
    let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    let mismatch = || Misfit::new(Fault::Mismatch, at, "`join` is for a list of texts");
    Ok(texts.ok_or_else(mismatch)?.join(by).into())
}

fn substring(text: &str, range: &[&Value], at: usize) -> Result<Value, Misfit> {
    let length = text.chars().count();
    let place = |value: Option<&&Value>, absent: usize| match value {
        None => Ok(absent),
        Some(value) => value
            .as_u64()
            .and_then(|place| usize::try_from(place).ok())
            .filter(|place| *place <= length)
            .ok_or_else(|| Misfit::new(Fault::Missing, at, format!("there is no character {value} of {length}"))),
    };
    let (from, to) = (place(range.first(), 0)?, place(range.get(1), length)?);
    if from > to {
        return Err(Misfit::new(Fault::Missing, at, "the part ends before it begins"));
    }
    Ok(text.chars().skip(from).take(to - from).collect::<String>().into())
}

fn text(value: &Value, at: usize) -> Result<Value, Misfit> {
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string().into()),
        other => Err(Misfit::new(Fault::Mismatch, at, format!("{} cannot become a text", kind_of(other)))),
    }
}

fn whole(value: &Value, at: usize) -> Result<Value, Misfit> {
    let unfit = || Misfit::new(Fault::Mismatch, at, format!("{} cannot become a whole number", kind_of(value)));
    match value {
        Value::Number(number) => match Numeric::of(number) {
            Numeric::Whole(_) => Ok(value.clone()),
            Numeric::Fraction(fraction) => Numeric::Whole(fraction.trunc() as i128).into_value(at),
        },
        Value::String(text) => text.parse::<i64>().map(Value::from).map_err(|_| unfit()),
        _ => Err(unfit()),
    }
}

fn fraction(value: &Value, at: usize) -> Result<Value, Misfit> {
    let unfit = || Misfit::new(Fault::Mismatch, at, format!("{} cannot become a number", kind_of(value)));
    let fraction = match value {
        Value::Number(number) => Numeric::of(number).fraction(),
        Value::String(text) => text.parse().map_err(|_| unfit())?,
        _ => return Err(unfit()),
    };
    Numeric::Fraction(fraction).into_value(at)
}
