//! API conversion (FGMV-29 8.2.4): an operation becomes a request of the system's own API, and its answer an outcome.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind,
    collaboration::{ApiCall, ApiMapping, ApiOutcome, BodyForm},
};

use super::transform::{Names, evaluate, holds, parse};

/// How many parameters, headers or rules of each sort a mapping may have.
pub const MAPPING_MEMBERS_MAX: usize = 64;
/// The longest base, path or header value of a mapping, in bytes; a query has at most twice as many.
pub const MAPPING_TEXT_BYTES_MAX: usize = 4 * 1024;
/// Headers that a mapping may set, beside those that begin with `x-`: none of them steers the connection.
const HEADERS: [&str; 10] = [
    "accept",
    "accept-language",
    "authorization",
    "content-language",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "prefer",
    "soapaction",
    "api-key",
];
/// Statuses after which a request may be tried again: it was not carried out.
const RETRYABLE: [u64; 5] = [408, 429, 502, 503, 504];

/// What an API answered, as the way out hands it in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ApiAnswer {
    pub(crate) status: u64,
    pub(crate) headers: Map<String, Value>,
    pub(crate) body: Value,
}

fn refuse(pointer: &str, detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidDocument, detail).at(pointer)
}

/// Checks a mapping before anything is called by it. `registered`: by the system itself, which may say where its API is.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`] with the place, below `at`.
pub(crate) fn check(mapping: &ApiMapping, at: &str, registered: bool) -> Result<(), Problem> {
    let place = |member: &str| format!("{at}/{member}");
    match &mapping.base {
        Some(_) if !registered => return Err(refuse(&place("base"), "only the system itself says where its API is")),
        Some(base) => check_base(base).map_err(|detail| refuse(&place("base"), detail))?,
        None => {}
    }
    template(&mapping.path).map_err(|detail| refuse(&place("path"), detail))?;
    for (member, all) in [("parameters", &mapping.parameters), ("query", &mapping.query), ("headers", &mapping.headers)]
    {
        if all.len() > MAPPING_MEMBERS_MAX {
            return Err(refuse(&place(member), format!("at most {MAPPING_MEMBERS_MAX} are allowed here")));
        }
        for (name, text) in all {
            parse(text, &place(&format!("{member}/{}", token(name))))?;
        }
    }
    for name in mapping.headers.keys() {
        if !(HEADERS.contains(&name.as_str()) || name.starts_with("x-") && name.bytes().all(header_name_byte)) {
            let detail = format!("a header is `x-…` or one of {}, in lower case", HEADERS.join(", "));
            return Err(refuse(&place(&format!("headers/{}", token(name))), detail));
        }
    }
    for (member, text) in [("body", &mapping.body), ("output", &mapping.output)] {
        text.as_deref().map_or(Ok(()), |text| parse(text, &place(member)).map(|_| ()))?;
    }
    if mapping.body.is_some() && !mapping.method.has_body() {
        return Err(refuse(&place("body"), format!("{} has no body", mapping.method.as_str())));
    }
    if mapping.outcomes.len() > MAPPING_MEMBERS_MAX {
        return Err(refuse(&place("outcomes"), format!("at most {MAPPING_MEMBERS_MAX} are allowed here")));
    }
    for (index, rule) in mapping.outcomes.iter().enumerate() {
        parse(&rule.when, &place(&format!("outcomes/{index}/when")))?;
        let detail = place(&format!("outcomes/{index}/detail"));
        rule.detail.as_deref().map_or(Ok(()), |text| parse(text, &detail).map(|_| ()))?;
    }
    Ok(())
}

fn check_base(base: &str) -> Result<(), String> {
    let Some(rest) = base.strip_prefix("http://") else {
        return Err("the base of an API begins with `http://`; this build has no TLS".to_owned());
    };
    if base.len() > MAPPING_TEXT_BYTES_MAX {
        return Err(format!("at most {MAPPING_TEXT_BYTES_MAX} bytes are allowed here"));
    }
    if rest.is_empty() || rest.starts_with('/') || rest.contains(['?', '#', '@', '\\']) || !rest.is_ascii() {
        return Err("the base of an API is a host and a path: without user, query or fragment".to_owned());
    }
    Ok(())
}

/// A part of a path's template.
enum Part<'t> {
    Text(&'t str),
    Parameter(&'t str),
}

/// The parts of a path's template.
fn template(path: &str) -> Result<Vec<Part<'_>>, String> {
    if !path.starts_with('/') || path.len() > MAPPING_TEXT_BYTES_MAX {
        return Err(format!("a path begins with `/` and has at most {MAPPING_TEXT_BYTES_MAX} bytes"));
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\\%\"<>`^|".contains(&byte);
    if !path.bytes().all(plain) || path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("a path has plain segments: no `.`, `..`, `%`, `?` or `#`".to_owned());
    }
    let mut parts = Vec::new();
    let mut rest = path;
    while let Some((text, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').ok_or("a `{` of the path has no `}`")?;
        if name.is_empty() || name.contains(['{', '/']) || text.contains('}') {
            return Err("a parameter of a path stands as `{name}`".to_owned());
        }
        parts.extend([Part::Text(text), Part::Parameter(name)]);
        rest = behind;
    }
    if rest.contains('}') {
        return Err("a `}` of the path has no `{`".to_owned());
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

/// Makes the request of an operation. `at` is where the mapping stands, for problems.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`] when an expression does not fit the data, or its value not the place where it goes.
pub(crate) fn call(mapping: &ApiMapping, base: &str, names: &Names, at: &str) -> Result<ApiCall, Problem> {
    let place = |member: &str| format!("{at}/{member}");
    let mut target = String::new();
    for part in template(&mapping.path).map_err(|detail| refuse(&place("path"), detail))? {
        match part {
            Part::Text(text) => target.push_str(text),
            Part::Parameter(name) => {
                let pointer = place(&format!("parameters/{}", token(name)));
                let value = match mapping.parameters.get(name) {
                    Some(text) => evaluate(text, names, &pointer)?,
                    None => names.get("input").and_then(|input| input.get(name)).cloned().unwrap_or_default(),
                };
                // As a segment these two would lead out of the API.
                let text = scalar(&value).filter(|text| !matches!(text.as_str(), "" | "." | ".."));
                let text = text.ok_or_else(|| refuse(&pointer, "a path's parameter is a text or a number"))?;
                escape(&text, &mut target);
            }
        }
    }
    let mut between = '?';
    for (name, text) in &mapping.query {
        let pointer = place(&format!("query/{}", token(name)));
        let value = evaluate(text, names, &pointer)?;
        if value.is_null() {
            continue;
        }
        let text = scalar(&value).ok_or_else(|| refuse(&pointer, "a query's parameter is a text or a number"))?;
        pair(name, &text, &mut between, '&', &mut target);
    }
    if target.len() > 3 * MAPPING_TEXT_BYTES_MAX {
        return Err(refuse(&place("path"), format!("the request's path has {} bytes", target.len())));
    }
    let mut headers = Vec::new();
    for (name, text) in &mapping.headers {
        let pointer = place(&format!("headers/{}", token(name)));
        let value = evaluate(text, names, &pointer)?;
        if value.is_null() {
            continue;
        }
        let printable = |text: &String| {
            text.len() <= MAPPING_TEXT_BYTES_MAX && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        };
        let text = scalar(&value).filter(printable);
        headers.push((name.clone(), text.ok_or_else(|| refuse(&pointer, "a header's value is printable ASCII"))?));
    }
    let body = body(mapping, names, &place("body"))?;
    Ok(ApiCall { method: mapping.method, base: base.into(), target, headers, body })
}

fn body(mapping: &ApiMapping, names: &Names, pointer: &str) -> Result<Option<(&'static str, String)>, Problem> {
    if !mapping.method.has_body() {
        return Ok(None);
    }
    let value = match &mapping.body {
        Some(text) => evaluate(text, names, pointer)?,
        None => names.get("input").cloned().unwrap_or_default(),
    };
    Ok(Some(match (mapping.body_form, value) {
        (BodyForm::Json, value) => ("application/json", value.to_string()),
        (BodyForm::Text, Value::String(text)) => ("text/plain; charset=utf-8", text),
        (BodyForm::Text, _) => return Err(refuse(pointer, "a body of plain text is a string")),
        (BodyForm::Form, Value::Object(members)) => {
            let (mut text, mut between) = (String::new(), '\0');
            for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                let value = scalar(value).ok_or_else(|| refuse(pointer, "a form's members are texts and numbers"))?;
                pair(name, &value, &mut between, '&', &mut text);
            }
            ("application/x-www-form-urlencoded", text)
        }
        (BodyForm::Form, _) => return Err(refuse(pointer, "the body of a form is an object")),
    }))
}

/// What the answer of an API comes to: the operation's output, or the problem that it is.
///
/// # Errors
/// [`ProblemKind::OutsideFailed`] for a refusal, [`ProblemKind::OutsideUnreachable`] for what may be tried again;
/// [`ProblemKind::OutsideUnclear`] when the answer is not what the mapping expects: it may have been carried out.
pub(crate) fn outcome(mapping: &ApiMapping, answer: &JsonDoc, names: &mut Names, at: &str) -> Result<Value, Problem> {
    let unclear = |problem: Problem| Problem { kind: ProblemKind::OutsideUnclear, ..problem };
    let answer: ApiAnswer =
        answer.read().map_err(|error| unclear(Problem::new(ProblemKind::OutsideUnclear, error.to_string())))?;
    let status = answer.status;
    names.insert("status".to_owned(), status.into());
    names.insert("headers".to_owned(), Value::Object(answer.headers));
    names.insert("body".to_owned(), answer.body);
    let place = |member: String| format!("{at}/{member}");
    for (index, rule) in mapping.outcomes.iter().enumerate() {
        // What a rule asks for need not be in every answer.
        if !holds(&rule.when, names, &place(format!("outcomes/{index}/when"))).unwrap_or(false) {
            continue;
        }
        let pointer = place(format!("outcomes/{index}/detail"));
        let said = rule.detail.as_ref().and_then(|text| scalar(&evaluate(text, names, &pointer).ok()?));
        return settle(rule.outcome, status, said, mapping, names, at)
            .map_err(|p| if p.pointer.is_some() { unclear(p) } else { p });
    }
    let outcome = match status {
        200..=299 => ApiOutcome::Success,
        status if RETRYABLE.contains(&status) => ApiOutcome::Retryable,
        _ => ApiOutcome::Refused,
    };
    settle(outcome, status, None, mapping, names, at).map_err(|p| if p.pointer.is_some() { unclear(p) } else { p })
}

fn settle(
    outcome: ApiOutcome,
    status: u64,
    said: Option<String>,
    mapping: &ApiMapping,
    names: &Names,
    at: &str,
) -> Result<Value, Problem> {
    let said = || said.unwrap_or_else(|| shown(names.get("body")));
    match outcome {
        ApiOutcome::Success => match &mapping.output {
            Some(text) => evaluate(text, names, &format!("{at}/output")),
            None => Ok(names.get("body").cloned().unwrap_or_default()),
        },
        ApiOutcome::Refused => {
            Err(Problem::new(ProblemKind::OutsideFailed, format!("it answered {status}: {}", said())))
        }
        ApiOutcome::Retryable => {
            Err(Problem::new(ProblemKind::OutsideUnreachable, format!("it answered {status}, for now: {}", said())))
        }
    }
}

/// The beginning of an answer, for a person.
fn shown(body: Option<&Value>) -> String {
    let text = match body {
        None | Some(Value::Null) => return "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    text.chars().take(200).collect()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Writes `name=value` behind what separates it from the pair before.
fn pair(name: &str, value: &str, between: &mut char, next: char, into: &mut String) {
    if *between != '\0' {
        into.push(*between);
    }
    *between = next;
    escape(name, into);
    into.push('=');
    escape(value, into);
}

/// RFC 3986: all but unreserved characters are percent-encoded.
fn escape(text: &str, into: &mut String) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // A string can always be written to.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

fn header_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
}

/// RFC 6901: `~` and `/` are escaped.
fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
