//! The operators, on JSON values.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::{Number, Value};

use super::{Fault, Misfit, Operator, evaluate::Steps};

/// What a value is, for a person.
pub(super) const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A number of JSON. Whole ones are kept apart: a fraction has not all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Numeric {
    Whole(i128),
    Fraction(f64),
}

impl Numeric {
    pub(super) fn of(number: &Number) -> Self {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        whole.map_or_else(|| Self::Fraction(number.as_f64().unwrap_or_default()), Self::Whole)
    }

    pub(super) fn fraction(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Fraction(fraction) => fraction,
        }
    }

    /// As a value, unless JSON cannot write it.
    pub(super) fn into_value(self, at: usize) -> Result<Value, Misfit> {
        let number = match self {
            Self::Whole(whole) => {
                i64::try_from(whole).map(Number::from).or_else(|_| u64::try_from(whole).map(Number::from)).ok()
            }
            Self::Fraction(fraction) => Number::from_f64(fraction),
        };
        let message = "the result is too large for a number";
        number.map(Value::Number).ok_or_else(|| Misfit::new(Fault::Arithmetic, at, message))
    }

    /// Exact, though a fraction has fewer digits than a whole number.
    pub(super) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            (Self::Fraction(a), Self::Fraction(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Whole(a), Self::Fraction(b)) => whole_and_fraction(a, b),
            (Self::Fraction(a), Self::Whole(b)) => whole_and_fraction(b, a).reverse(),
        }
    }
}

fn whole_and_fraction(whole: i128, fraction: f64) -> Ordering {
    // Casts of fractions saturate, and whole numbers have 65 bits: a saturated one is beyond them all.
    whole
        .cmp(&(fraction.trunc() as i128))
        .then_with(|| 0.0_f64.partial_cmp(&fraction.fract()).unwrap_or(Ordering::Equal))
}

/// Whether two values are the same; numbers by what they are worth.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Numeric::of(left).order(Numeric::of(right)).is_eq(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, left)| right.get(name).is_some_and(|right| equal(left, right)))
        }
        (left, right) => left == right,
    }
}

/// `-value`
pub(super) fn negate(value: &Value, at: usize) -> Result<Value, Misfit> {
    let Value::Number(number) = value else {
        return Err(Misfit::new(Fault::Mismatch, at, format!("`-` does not fit {}", kind_of(value))));
    };
    let negative = match Numeric::of(number) {
        Numeric::Whole(whole) => Numeric::Whole(-whole),
        Numeric::Fraction(fraction) => Numeric::Fraction(-fraction),
    };
    negative.into_value(at)
}

/// `left operator right`
pub(super) fn binary(
    operator: Operator,
    left: Cow<'_, Value>,
    right: Cow<'_, Value>,
    steps: &Steps,
    at: usize,
) -> Result<Value, Misfit> {
    match operator {
        Operator::Equal | Operator::NotEqual => {
            steps.weigh(&left, at)?;
            Ok((equal(&left, &right) == (operator == Operator::Equal)).into())
        }
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            let order = order(&left, &right, steps, at)?.ok_or_else(|| misfit(operator, &left, &right, at))?;
            Ok(match operator {
                Operator::Less => order.is_lt(),
                Operator::LessOrEqual => order.is_le(),
                Operator::Greater => order.is_gt(),
                _ => order.is_ge(),
            }
            .into())
        }
        Operator::In => contains(&left, &right, steps, at)?.ok_or_else(|| misfit(operator, &left, &right, at)),
        Operator::Add => add(left, right, steps, at),
        Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            arithmetic(operator, &left, &right, at)
        }
    }
}

fn misfit(operator: Operator, left: &Value, right: &Value, at: usize) -> Misfit {
    let message = format!("`{}` does not fit {} and {}", operator.sign(), kind_of(left), kind_of(right));
    Misfit::new(Fault::Mismatch, at, message)
}

fn order(left: &Value, right: &Value, steps: &Steps, at: usize) -> Result<Option<Ordering>, Misfit> {
    Ok(match (left, right) {
        (Value::Number(left), Value::Number(right)) => Some(Numeric::of(left).order(Numeric::of(right))),
        (Value::String(left), Value::String(right)) => {
            steps.take(left.len().min(right.len()) / 16, at)?;
            Some(left.cmp(right))
        }
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => None,
    })
}

fn contains(item: &Value, of: &Value, steps: &Steps, at: usize) -> Result<Option<Value>, Misfit> {
    Ok(match (item, of) {
        (item, Value::Array(items)) => {
            for other in items {
                steps.weigh(other, at)?;
                if equal(item, other) {
                    return Ok(Some(true.into()));
                }
            }
            Some(false.into())
        }
        (Value::String(name), Value::Object(fields)) => Some(fields.contains_key(name).into()),
        _ => None,
    })
}

fn add(left: Cow<'_, Value>, right: Cow<'_, Value>, steps: &Steps, at: usize) -> Result<Value, Misfit> {
    match (&*left, &*right) {
        (Value::String(_), Value::String(_)) | (Value::Array(_), Value::Array(_)) => {
            // What is appended to may be moved with all that it holds, so that it is paid for as well.
            steps.weigh(&left, at)?;
            match (left.into_owned(), steps.own(right, at)?) {
                (Value::String(left), Value::String(right)) => Ok((left + &right).into()),
                (Value::Array(mut left), Value::Array(right)) => {
                    left.extend(right);
                    Ok(Value::Array(left))
                }
                (left, right) => Err(misfit(Operator::Add, &left, &right, at)),
            }
        }
        (left, right) => arithmetic(Operator::Add, left, right, at),
    }
}

fn arithmetic(operator: Operator, left: &Value, right: &Value, at: usize) -> Result<Value, Misfit> {
    let (Value::Number(a), Value::Number(b)) = (left, right) else {
        return Err(misfit(operator, left, right, at));
    };
    let (a, b) = (Numeric::of(a), Numeric::of(b));
    if let (Numeric::Whole(a), Numeric::Whole(b)) = (a, b) {
        let whole = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            Operator::Divide => a.checked_div(b),
            _ => a.checked_rem(b),
        };
        let message = "a division by zero";
        return whole
            .ok_or_else(|| Misfit::new(Fault::Arithmetic, at, message))
            .and_then(|whole| Numeric::Whole(whole).into_value(at));
    }
    let (x, y) = (a.fraction(), b.fraction());
    Numeric::Fraction(match operator {
        Operator::Add => x + y,
        Operator::Subtract => x - y,
        Operator::Multiply => x * y,
        Operator::Divide if y == 0.0 => return Err(Misfit::new(Fault::Arithmetic, at, "a division by zero")),
        Operator::Divide => x / y,
        _ => return Err(Misfit::new(Fault::Mismatch, at, "`%` is for whole numbers")),
    })
    .into_value(at)
}
