//! Reading a world file: TOML, with the place of everything that can be wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    str,
    sync::Arc,
};

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;
use twinway_actors::expression::Expression;
use twinway_protocol::{SystemId, flow::Flow};

use super::{
    ACTS_MAX, Act, Answer, Call, Deed, FILE_BYTES_MAX, Fill, Hear, Kind, PARTIES_MAX, Party, Reply, Scenario,
    ScenarioError, Variant,
};
use crate::flow;

/// How long an act waits for an event unless it says otherwise, in milliseconds.
const HEARD_WITHIN_MS: u64 = 10_000;
/// The longest that an act may wait, in milliseconds.
const WITHIN_MS_MAX: u64 = 600_000;

/// The types of requests that a party can be asked.
const REQUESTS: [&str; 5] = ["authorizeUser", "executeService", "describeTwins", "applyChange", "fenceDevice"];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorldFile {
    name: String,
    title: String,
    clause: String,
    flow: Spanned<String>,
    #[serde(default)]
    answers: Vec<String>,
    #[serde(rename = "let", default)]
    values: BTreeMap<String, toml::Value>,
    #[serde(default)]
    settings: toml::Table,
    #[serde(rename = "party")]
    parties: Vec<Spanned<PartyFile>>,
    #[serde(rename = "act")]
    acts: Vec<Spanned<ActFile>>,
    #[serde(rename = "variant", default)]
    variants: Vec<Spanned<VariantFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartyFile {
    name: Spanned<String>,
    kind: Spanned<String>,
    #[serde(default)]
    title: String,
    #[serde(default = "yes")]
    session: bool,
    #[serde(rename = "answer", default)]
    answers: Vec<Spanned<AnswerFile>>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerFile {
    /// Of a variant only: whose answer it is.
    by: Option<Spanned<String>>,
    to: Spanned<String>,
    when: Option<Spanned<String>>,
    with: Option<Spanned<toml::Value>>,
    failed: Option<Spanned<String>>,
    #[serde(default)]
    silent: bool,
    #[serde(default)]
    remember: BTreeMap<String, Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActFile {
    #[serde(default)]
    name: String,
    by: Spanned<String>,
    step: Option<Spanned<String>>,
    #[serde(default)]
    to: String,
    says: Spanned<String>,
    together: Option<String>,
    call: Option<Spanned<String>>,
    #[serde(default)]
    headers: BTreeMap<String, Spanned<String>>,
    body: Option<Spanned<toml::Value>>,
    upload: Option<Spanned<String>>,
    hear: Option<Spanned<String>>,
    #[serde(rename = "where")]
    that: Option<Spanned<String>>,
    within_ms: Option<Spanned<u64>>,
    remember: Option<BTreeMap<String, Spanned<toml::Value>>>,
    #[serde(default)]
    away: bool,
    #[serde(default)]
    back: bool,
    expect: Option<Spanned<String>>,
    #[serde(default)]
    keep: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantFile {
    name: Spanned<String>,
    title: String,
    #[serde(rename = "let", default)]
    values: BTreeMap<String, toml::Value>,
    #[serde(rename = "answer", default)]
    answers: Vec<Spanned<AnswerFile>>,
    #[serde(rename = "act", default)]
    acts: Vec<Spanned<ActFile>>,
    until: Option<Spanned<String>>,
}

/// A mistake at a byte of the file.
type Mistake = (usize, String);

/// What is known while a file is read.
struct Reader<'r> {
    bytes: &'r [u8],
    flow: Arc<Flow>,
    parties: BTreeSet<String>,
    beside: &'r dyn Fn(&str) -> Result<Vec<u8>, String>,
}

/// Reads a scenario from the bytes of a file, which errors call `file`. `beside` gives the files that it names.
///
/// # Errors
/// The first mistake, with its line.
pub fn read(
    file: &str,
    bytes: &[u8],
    beside: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Scenario, ScenarioError> {
    let wrong = |(at, message): Mistake| ScenarioError::at(file, bytes, at, message);
    if bytes.len() > FILE_BYTES_MAX {
        return Err(wrong((FILE_BYTES_MAX, format!("a world file has at most {FILE_BYTES_MAX} bytes"))));
    }
    let text = str::from_utf8(bytes).map_err(|error| wrong((error.valid_up_to(), "this is not UTF-8".to_owned())))?;
    let read: WorldFile = toml::from_str(text).map_err(|error| {
        // What is missing from a whole table is told at its beginning.
        wrong((error.span().map_or(0, |span| span.start), error.message().trim().replace('\n', "; ")))
    })?;
    scenario(read, bytes, beside).map_err(wrong)
}

fn scenario(
    read: WorldFile,
    bytes: &[u8],
    beside: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Scenario, Mistake> {
    let at = read.flow.span().start;
    let flow = flow::find(read.flow.get_ref()).ok_or_else(|| {
        let known: Vec<&str> = flow::embedded().iter().map(|flow| flow.name()).collect();
        (at, format!("there is no flow `{}`; known are {}", read.flow.get_ref(), known.join(", ")))
    })?;
    if read.parties.len() > PARTIES_MAX {
        return Err((at, format!("a scenario has at most {PARTIES_MAX} parties")));
    }
    let mut reader = Reader { bytes, flow, parties: BTreeSet::new(), beside };
    for party in &read.parties {
        let name = &party.get_ref().name;
        let at = name.span().start;
        SystemId::new(name.get_ref().as_str()).map_err(|error| (at, error.to_string()))?;
        if !reader.parties.insert(name.get_ref().clone()) {
            return Err((at, format!("`{}` is a party already", name.get_ref())));
        }
    }
    let acts = reader.acts(read.acts)?;
    let names: BTreeSet<&str> = acts.iter().map(|act| act.name.as_str()).filter(|name| !name.is_empty()).collect();
    let variants =
        read.variants.into_iter().map(|variant| reader.variant(variant.into_inner(), &names)).collect::<Result<_, _>>();
    let variants: Vec<Variant> = variants?;
    Ok(Scenario {
        name: read.name,
        title: read.title,
        clause: read.clause,
        answers: read.answers,
        values: read.values.into_iter().map(|(name, value)| (name, json(value))).collect(),
        settings: json(toml::Value::Table(read.settings)),
        parties: read.parties.into_iter().map(|party| reader.party(party.into_inner())).collect::<Result<_, _>>()?,
        acts,
        variants,
        flow: reader.flow,
    })
}

fn expression(text: Spanned<String>) -> Result<Expression, Mistake> {
    let at = text.span().start;
    Expression::parse(text.get_ref()).map_err(|problem| (at, problem.to_string()))
}

fn expressions(texts: BTreeMap<String, Spanned<String>>) -> Result<BTreeMap<String, Expression>, Mistake> {
    texts.into_iter().map(|(name, text)| Ok((name, expression(text)?))).collect()
}

fn text(text: Spanned<String>) -> Result<Fill, Mistake> {
    let at = text.span().start;
    Fill::read(&Value::String(text.into_inner())).map_err(|why| (at, why))
}

fn document(value: Spanned<toml::Value>) -> Result<Fill, Mistake> {
    let at = value.span().start;
    Fill::read(&json(value.into_inner())).map_err(|why| (at, why))
}

fn documents(values: BTreeMap<String, Spanned<toml::Value>>) -> Result<BTreeMap<String, Fill>, Mistake> {
    values.into_iter().map(|(name, value)| Ok((name, document(value)?))).collect()
}

/// TOML as JSON. There is no date in JSON, and no `null` in TOML: a date becomes its text.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(truth) => Value::Bool(truth),
        toml::Value::Datetime(moment) => Value::String(moment.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(json).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(name, value)| (name, json(value))).collect())
        }
    }
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        self.bytes.get(..at).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn known_party(&self, name: &Spanned<String>) -> Result<(), Mistake> {
        if self.parties.contains(name.get_ref()) {
            return Ok(());
        }
        let known: Vec<&str> = self.parties.iter().map(String::as_str).collect();
        Err((name.span().start, format!("there is no party `{}`; known are {}", name.get_ref(), known.join(", "))))
    }

    fn party(&self, read: PartyFile) -> Result<Party, Mistake> {
        let kind = match read.kind.get_ref().as_str() {
            "metaverse" => Kind::Metaverse,
            "digital-twin" => Kind::DigitalTwin,
            "third-party" => Kind::ThirdParty,
            "user-device" => Kind::UserDevice,
            other => {
                let message = format!("`{other}`: a party is metaverse, digital-twin, third-party or user-device");
                return Err((read.kind.span().start, message));
            }
        };
        Ok(Party {
            name: read.name.into_inner(),
            kind,
            title: read.title,
            session: read.session,
            answers: read.answers.into_iter().map(answer).collect::<Result<_, _>>()?,
        })
    }

    fn acts(&self, read: Vec<Spanned<ActFile>>) -> Result<Vec<Act>, Mistake> {
        if let Some(over) = read.get(ACTS_MAX) {
            return Err((over.span().start, format!("a scenario has at most {ACTS_MAX} acts")));
        }
        read.into_iter().map(|act| self.act(act)).collect()
    }

    fn act(&self, read: Spanned<ActFile>) -> Result<Act, Mistake> {
        let line = self.line(read.span().start);
        let mut read = read.into_inner();
        self.known_party(&read.by)?;
        if let Some(step) = &read.step
            && !self.flow.steps().iter().any(|known| known.number == *step.get_ref())
        {
            let message = format!("{} has no step `{}`", self.flow.name(), step.get_ref());
            return Err((step.span().start, message));
        }
        let deed = self.deed(&mut read)?;
        Ok(Act {
            line,
            name: read.name,
            by: read.by.into_inner(),
            step: read.step.map(Spanned::into_inner),
            to: read.to,
            says: text(read.says)?,
            together: read.together,
            deed,
            expect: read.expect.map(expression).transpose()?,
            keep: expressions(read.keep)?,
        })
    }

    fn deed(&self, read: &mut ActFile) -> Result<Deed, Mistake> {
        let at = read.by.span().start;
        let ways = [read.call.is_some(), read.hear.is_some(), read.remember.is_some(), read.away, read.back];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err((at, "an act is one of `call`, `hear`, `remember`, `away` and `back`".to_owned()));
        }
        if read.call.is_none() && (read.body.is_some() || read.upload.is_some() || !read.headers.is_empty()) {
            return Err((at, "`headers`, `body` and `upload` belong to a `call`".to_owned()));
        }
        if read.hear.is_none() && (read.that.is_some() || read.within_ms.is_some()) {
            return Err((at, "`where` and `within_ms` belong to a `hear`".to_owned()));
        }
        if let Some(call) = read.call.take() {
            return self.call(call, read).map(Deed::Call);
        }
        if let Some(event) = read.hear.take() {
            let within_ms = read.within_ms.take();
            if let Some(within) = within_ms.as_ref().filter(|within| *within.get_ref() > WITHIN_MS_MAX) {
                return Err((within.span().start, format!("an act waits at most {WITHIN_MS_MAX} ms")));
            }
            let within_ms = within_ms.map_or(HEARD_WITHIN_MS, Spanned::into_inner);
            let that = read.that.take().map(expression).transpose()?;
            return Ok(Deed::Hear(Box::new(Hear { event: event.into_inner(), that, within_ms })));
        }
        Ok(match (read.remember.take(), read.away, read.back) {
            (Some(remember), _, _) => Deed::Remember(documents(remember)?),
            (None, true, _) => Deed::Away,
            (None, false, true) => Deed::Back,
            (None, false, false) => Deed::Think,
        })
    }

    fn call(&self, call: Spanned<String>, read: &mut ActFile) -> Result<Box<Call>, Mistake> {
        let at = call.span().start;
        let form = || (at, format!("`{}` is no call: it looks like `POST /mii/v1/selection`", call.get_ref()));
        let (method, path) = call.get_ref().split_once(' ').ok_or_else(form)?;
        if !METHODS.contains(&method) || !path.starts_with('/') {
            return Err(form());
        }
        let bytes = match read.upload.take() {
            Some(file) => {
                let bytes = (self.beside)(file.get_ref());
                let wrong = |why| (file.span().start, format!("`{}`: {why}", file.get_ref()));
                Some(Arc::from(bytes.map_err(wrong)?))
            }
            None => None,
        };
        if bytes.is_some() && read.body.is_some() {
            return Err((at, "a call has a `body` or an `upload`, not both".to_owned()));
        }
        let headers = std::mem::take(&mut read.headers);
        Ok(Box::new(Call {
            method: method.to_owned(),
            path: Fill::read(&Value::String(path.to_owned())).map_err(|why| (at, why))?,
            headers: headers.into_iter().map(|(name, value)| Ok((name, text(value)?))).collect::<Result<_, _>>()?,
            body: read.body.take().map(document).transpose()?,
            bytes,
        }))
    }

    fn variant(&self, read: VariantFile, names: &BTreeSet<&str>) -> Result<Variant, Mistake> {
        let at = read.name.span().start;
        let unknown = |name: &str| format!("no act of the scenario has the name `{name}`");
        let acts = self.acts(read.acts)?;
        if let Some(act) = acts.iter().find(|act| !names.contains(act.name.as_str())) {
            return Err((at, unknown(&act.name)));
        }
        if let Some(until) = read.until.as_ref().filter(|until| !names.contains(until.get_ref().as_str())) {
            return Err((until.span().start, unknown(until.get_ref())));
        }
        let mut answers = Vec::new();
        for read in read.answers {
            let by = read.get_ref().by.clone();
            let by = by.ok_or_else(|| (read.span().start, "an answer of a variant says `by` whom".to_owned()))?;
            self.known_party(&by)?;
            answers.push((by.into_inner(), answer(read)?));
        }
        Ok(Variant {
            name: read.name.into_inner(),
            title: read.title,
            values: read.values.into_iter().map(|(name, value)| (name, json(value))).collect(),
            answers,
            acts,
            until: read.until.map(Spanned::into_inner),
        })
    }
}

fn answer(read: Spanned<AnswerFile>) -> Result<Answer, Mistake> {
    let at = read.span().start;
    let read = read.into_inner();
    if !REQUESTS.contains(&read.to.get_ref().as_str()) {
        let message = format!("nobody is asked `{}`; known are {}", read.to.get_ref(), REQUESTS.join(", "));
        return Err((read.to.span().start, message));
    }
    let reply = match (read.with, read.failed, read.silent) {
        (Some(with), None, false) => Reply::With(document(with)?),
        (None, Some(failed), false) => Reply::Failed(text(failed)?),
        (None, None, true) => Reply::Silent,
        _ => return Err((at, "an answer is one of `with`, `failed` and `silent`".to_owned())),
    };
    Ok(Answer {
        to: read.to.into_inner(),
        when: read.when.map(expression).transpose()?,
        reply,
        remember: documents(read.remember)?,
    })
}
