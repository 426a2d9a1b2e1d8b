//! Reading a flow file: TOML, with the place of everything that can be wrong.

use std::{collections::BTreeMap, ops::Range, str, sync::Arc};

use serde::Deserialize;
use toml::Spanned;
use twinway_protocol::flow::{Branch, Entity, Flow, FlowDraft, FlowStep, Hop, OWN, Part, Span};

use super::{FILE_BYTES_MAX, FlowFileError};

/// What a file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowFile {
    name: Spanned<String>,
    #[serde(default)]
    title: String,
    #[serde(default)]
    clause: String,
    #[serde(default)]
    order: Vec<Spanned<String>>,
    entities: BTreeMap<Spanned<String>, String>,
    #[serde(rename = "step", default)]
    steps: Vec<Spanned<StepFile>>,
}

/// What it says of a step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    number: Spanned<String>,
    #[serde(default)]
    title: String,
    #[serde(default)]
    clause: String,
    from: Option<Spanned<String>>,
    to: Option<Spanned<String>>,
    own: Option<Spanned<String>>,
    #[serde(default)]
    message: Vec<String>,
    #[serde(default)]
    hops: Vec<Spanned<String>>,
    #[serde(default)]
    rejected: Vec<Spanned<String>>,
    #[serde(default)]
    later: Vec<Spanned<String>>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    repeated: bool,
    #[serde(default)]
    extension: bool,
    choice: Option<String>,
    contains: Option<Spanned<ContainsFile>>,
    carried_by: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContainsFile {
    flow: String,
    steps: String,
    part: Option<PartFile>,
}

/// Which end of a span a step is.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PartFile {
    Begin,
    End,
}

/// A mistake at some bytes of the file.
type Mistake = (Range<usize>, String);

/// Reads a flow from the bytes of a file, which errors call `file`. Its steps may contain spans of `known` flows.
///
/// # Errors
/// The first mistake, with its line.
pub fn read(file: &str, bytes: &[u8], known: &[Arc<Flow>]) -> Result<Flow, FlowFileError> {
    let wrong = |at: usize, message: String| FlowFileError::at(file, bytes, at, message);
    if bytes.len() > FILE_BYTES_MAX {
        return Err(wrong(FILE_BYTES_MAX, format!("a flow file has at most {FILE_BYTES_MAX} bytes")));
    }
    let text = str::from_utf8(bytes).map_err(|error| wrong(error.valid_up_to(), "this is not UTF-8".to_owned()))?;
    let read: FlowFile = toml::from_str(text).map_err(|error| {
        // What is missing from a whole table is told at its beginning.
        let at = error.span().map_or(0, |span| span.start);
        wrong(at, error.message().trim().replace('\n', "; "))
    })?;
    let spans = Spans::of(&read);
    let draft = draft(read, known).map_err(|(span, message)| wrong(span.start, message))?;
    draft.check().map_err(|error| wrong(spans.find(error.part), error.mistake.to_string()))
}

/// Where the parts of a draft stand in the file.
struct Spans {
    name: usize,
    entities: Vec<usize>,
    steps: Vec<usize>,
    order: Vec<usize>,
}

impl Spans {
    fn of(read: &FlowFile) -> Self {
        Self {
            name: read.name.span().start,
            entities: in_order(read.entities.keys().map(Spanned::span)),
            steps: read.steps.iter().map(|step| step.get_ref().number.span().start).collect(),
            order: read.order.iter().map(|chain| chain.span().start).collect(),
        }
    }

    fn find(&self, part: Part) -> usize {
        let found = match part {
            Part::Flow => None,
            Part::Entity(at) => self.entities.get(at),
            Part::Step(at) => self.steps.get(at),
            Part::Order(at) => self.order.get(at),
        };
        found.copied().unwrap_or(self.name)
    }
}

fn in_order(spans: impl Iterator<Item = Range<usize>>) -> Vec<usize> {
    let mut starts: Vec<usize> = spans.map(|span| span.start).collect();
    starts.sort_unstable();
    starts
}

fn draft(read: FlowFile, known: &[Arc<Flow>]) -> Result<FlowDraft, Mistake> {
    let name = read.name.into_inner();
    // The order in which people wrote them down is the order in which they want to see them.
    let mut entities: Vec<(Spanned<String>, String)> = read.entities.into_iter().collect();
    entities.sort_by_key(|(name, _)| name.span().start);
    let steps =
        read.steps.into_iter().map(|step| self::step(&name, step.into_inner(), known)).collect::<Result<_, _>>()?;
    Ok(FlowDraft {
        name,
        title: read.title,
        clause: read.clause,
        entities: entities.into_iter().map(|(name, title)| Entity { name: name.into_inner(), title }).collect(),
        steps,
        order: read.order.into_iter().map(Spanned::into_inner).collect(),
    })
}

fn step(flow: &str, step: StepFile, known: &[Arc<Flow>]) -> Result<FlowStep, Mistake> {
    let at = step.number.span();
    let number = step.number.into_inner();
    let wrong = |message: &str| (at.clone(), format!("step `{number}` {message}"));
    let (from, to) = match (&step.own, &step.from, &step.to) {
        (Some(own), None, None) => (own.get_ref().clone(), own.get_ref().clone()),
        (None, Some(from), Some(to)) => (from.get_ref().clone(), to.get_ref().clone()),
        _ => return Err(wrong("says either `from` and `to`, or whose `own` it is")),
    };
    let hop = |from: &str, to: &str, messages: Vec<String>, branch: Branch| Hop {
        flow: flow.to_owned(),
        number: number.clone(),
        from: from.to_owned(),
        to: to.to_owned(),
        messages,
        branch,
    };
    let mut hops = Vec::new();
    let ways = [!step.message.is_empty(), !step.hops.is_empty(), step.own.is_some(), step.contains.is_some()];
    if ways.iter().filter(|way| **way).count() > 1 {
        return Err(wrong("is more than one of `message`, `hops`, `own` and `contains`"));
    }
    if step.own.is_some() {
        hops.push(hop(&from, &to, vec![OWN.to_owned()], Branch::Main));
    }
    if !step.message.is_empty() {
        hops.push(hop(&from, &to, step.message, Branch::Main));
    }
    for (texts, branch) in [(step.hops, Branch::Main), (step.rejected, Branch::Rejected), (step.later, Branch::Later)] {
        for text in texts {
            let (from, to, message) = arrow(text.get_ref()).ok_or_else(|| {
                (text.span(), format!("`{}` is no hop: it looks like `Cook -> Guest: Serve`", text.get_ref()))
            })?;
            hops.push(hop(from, to, message.split(" or ").map(|name| name.trim().to_owned()).collect(), branch));
        }
    }
    let contains = match step.contains {
        None => None,
        Some(contains) => {
            let at = contains.span();
            let (span, ends) = contained(&contains.into_inner(), known).map_err(|message| (at, message))?;
            hops.extend(ends);
            Some(span)
        }
    };
    match &step.carried_by {
        Some(by) if by.get_ref() != "outside" => {
            return Err((by.span(), format!("`{}`: what carries a step is a message, or `outside`", by.get_ref())));
        }
        Some(by) if !hops.is_empty() => {
            return Err((by.span(), format!("step `{number}` is carried by messages, so it is not outside")));
        }
        None if hops.is_empty() => {
            return Err(wrong(
                "has no message type; one that happens outside the system says `carried_by = \"outside\"`",
            ));
        }
        _ => {}
    }
    Ok(FlowStep {
        title: step.title,
        clause: step.clause,
        from,
        to,
        hops,
        optional: step.optional,
        repeated: step.repeated,
        extension: step.extension,
        choice: step.choice,
        contains,
        number,
    })
}

/// `Cook -> Guest: Serve`, or `Cook -> Guest: Serve or Bring`.
fn arrow(text: &str) -> Option<(&str, &str, &str)> {
    let (from, rest) = text.split_once("->")?;
    let (to, message) = rest.split_once(':')?;
    let parts = (from.trim(), to.trim(), message.trim());
    let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
    let named = is_name(parts.0) && is_name(parts.1) && parts.2.split(" or ").map(str::trim).all(is_name);
    named.then_some(parts)
}

/// The span, and the hops that begin and end it.
fn contained(contains: &ContainsFile, known: &[Arc<Flow>]) -> Result<(Span, Vec<Hop>), String> {
    let Some(flow) = known.iter().find(|flow| flow.name() == contains.flow) else {
        let names: Vec<&str> = known.iter().map(|flow| flow.name()).collect();
        return Err(format!("there is no flow `{}`; known are {}", contains.flow, names.join(", ")));
    };
    let (first, last) = contains.steps.split_once('-').unwrap_or((&contains.steps, &contains.steps));
    let place = |number: &str| {
        let found = flow.steps().iter().position(|step| step.number == number);
        found.ok_or_else(|| format!("there is no step `{number}` in {}", flow.name()))
    };
    let (begin, end) = (place(first)?, place(last)?);
    if begin > end {
        return Err(format!("step {last} comes before step {first} in {}", flow.name()));
    }
    let main = |step: usize| {
        let hops = flow.steps().get(step).map(|step| step.hops.as_slice()).unwrap_or_default();
        hops.iter().filter(|hop| hop.branch == Branch::Main)
    };
    let mut hops: Vec<Hop> = Vec::new();
    if contains.part != Some(PartFile::End) {
        hops.extend(main(begin).next().cloned());
    }
    if contains.part != Some(PartFile::Begin) {
        hops.extend(main(end).next_back().filter(|hop| hops.first() != Some(hop)).cloned());
    }
    if contains.part != Some(PartFile::Begin) {
        // A span that rejects ends early, and so does what contains it.
        let steps = flow.steps().iter().take(end + 1).skip(begin);
        hops.extend(steps.flat_map(|step| &step.hops).filter(|hop| hop.branch == Branch::Rejected).cloned());
    }
    if hops.is_empty() {
        return Err(format!("steps {} of {} happen outside the system", contains.steps, flow.name()));
    }
    Ok((Span { flow: flow.name().to_owned(), first: first.to_owned(), last: last.to_owned() }, hops))
}
