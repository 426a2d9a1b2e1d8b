//! Reading a world file: TOML, with the place of everything that can be wrong.

mod act;

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
    ACTS_MAX, Act, Answer, FILE_BYTES_MAX, Fill, Kind, PARTIES_MAX, Party, Place, Reply, Scenario, ScenarioError,
    Variant,
};
use crate::flow;
use act::ActFile;

/// The longest that an act may wait, and that an answer may take, in milliseconds.
const WITHIN_MS_MAX: u64 = 600_000;

/// The types of requests that a party can be asked.
const REQUESTS: [&str; 5] = ["authorizeUser", "executeService", "describeTwins", "applyChange", "fenceDevice"];

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
    chance: BTreeMap<String, Spanned<Vec<toml::Value>>>,
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
    cut: bool,
    after_ms: Option<Spanned<u64>>,
    #[serde(default)]
    remember: BTreeMap<String, Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VariantFile {
    name: String,
    title: String,
    #[serde(rename = "answers", default)]
    clauses: Vec<String>,
    #[serde(rename = "let", default)]
    values: BTreeMap<String, toml::Value>,
    #[serde(rename = "answer", default)]
    answers: Vec<Spanned<AnswerFile>>,
    #[serde(rename = "act", default)]
    acts: Vec<Spanned<ActFile>>,
    #[serde(default)]
    without: Vec<Spanned<String>>,
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
    if let Some(over) = read.acts.get(ACTS_MAX) {
        return Err((over.span().start, format!("a scenario has at most {ACTS_MAX} acts")));
    }
    let named = read.acts.iter().map(Spanned::get_ref).filter(|act| !act.name.is_empty());
    let named: BTreeMap<String, ActFile> = named.map(|act| (act.name.clone(), act.clone())).collect();
    let acts = read.acts.into_iter().map(|act| reader.act(act)).collect::<Result<_, _>>()?;
    let variants = read.variants.into_iter().map(|variant| reader.variant(variant.into_inner(), &named));
    let variants = variants.collect::<Result<_, _>>()?;
    Ok(Scenario {
        name: read.name,
        title: read.title,
        clause: read.clause,
        clauses: read.answers,
        values: read.values.into_iter().map(|(name, value)| (name, json(value))).collect(),
        chance: read.chance.into_iter().map(left_to_chance).collect::<Result<_, _>>()?,
        settings: json(toml::Value::Table(read.settings)),
        parties: read.parties.into_iter().map(|party| reader.party(party.into_inner())).collect::<Result<_, _>>()?,
        acts,
        variants,
        flow: reader.flow,
    })
}

fn left_to_chance((name, values): (String, Spanned<Vec<toml::Value>>)) -> Result<(String, Vec<Value>), Mistake> {
    if values.get_ref().is_empty() {
        return Err((values.span().start, format!("there is nothing to draw `{name}` from")));
    }
    Ok((name, values.into_inner().into_iter().map(json).collect()))
}

/// A time that somebody may be kept waiting, in milliseconds.
fn patience(ms: Option<Spanned<u64>>, usual: u64) -> Result<u64, Mistake> {
    match ms {
        Some(ms) if *ms.get_ref() > WITHIN_MS_MAX => {
            Err((ms.span().start, format!("nobody is kept waiting for more than {WITHIN_MS_MAX} ms")))
        }
        Some(ms) => Ok(ms.into_inner()),
        None => Ok(usual),
    }
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

    fn variant(&self, read: VariantFile, of_scenario: &BTreeMap<String, ActFile>) -> Result<Variant, Mistake> {
        let unknown = |name: &Spanned<String>| {
            (name.span().start, format!("no act of the scenario has the name `{}`", name.get_ref()))
        };
        let acts: Vec<(Place, Act)> =
            read.acts.into_iter().map(|act| self.act_of_variant(act, of_scenario)).collect::<Result<_, _>>()?;
        let own = |name: &str| acts.iter().any(|(_, act)| act.name == name);
        if let Some(until) = &read.until
            && !of_scenario.contains_key(until.get_ref())
            && !own(until.get_ref())
        {
            return Err(unknown(until));
        }
        if let Some(without) = read.without.iter().find(|name| !of_scenario.contains_key(name.get_ref())) {
            return Err(unknown(without));
        }
        let mut answers = Vec::new();
        for read in read.answers {
            let by = read.get_ref().by.clone();
            let by = by.ok_or_else(|| (read.span().start, "an answer of a variant says `by` whom".to_owned()))?;
            self.known_party(&by)?;
            answers.push((by.into_inner(), answer(read)?));
        }
        Ok(Variant {
            name: read.name,
            title: read.title,
            clauses: read.clauses,
            values: read.values.into_iter().map(|(name, value)| (name, json(value))).collect(),
            answers,
            acts,
            without: read.without.into_iter().map(Spanned::into_inner).collect(),
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
    let reply = match (read.with, read.failed, read.silent, read.cut) {
        (Some(with), None, false, false) => Reply::With(document(with)?),
        (None, Some(failed), false, false) => Reply::Failed(text(failed)?),
        (None, None, true, false) => Reply::Silent,
        (None, None, false, true) => Reply::Cut,
        _ => return Err((at, "an answer is one of `with`, `failed`, `silent` and `cut`".to_owned())),
    };
    if let Some(after) = read.after_ms.as_ref().filter(|_| matches!(reply, Reply::Silent | Reply::Cut)) {
        return Err((after.span().start, "`after_ms` belongs to an answer that is given".to_owned()));
    }
    Ok(Answer {
        to: read.to.into_inner(),
        when: read.when.map(expression).transpose()?,
        reply,
        after_ms: patience(read.after_ms, 0)?,
        remember: documents(read.remember)?,
    })
}
