//! What a chain may be (FGMV-29 8.2.4), with the place of every mistake.

use std::collections::BTreeSet;

use twinway_protocol::{
    Problem, ProblemKind,
    collaboration::{Chain, ChainStep, Compensation, Retry},
};

use crate::{
    Settings,
    sif::{
        mapping,
        transform::{parse, within},
    },
};

/// The longest name of a step, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The longest key under which a request is repeated, in bytes.
pub(super) const KEY_BYTES_MAX: usize = 256;
/// The longest operation or topic, in bytes.
const LABEL_BYTES_MAX: usize = 512;

fn refuse(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidDocument, detail).at(pointer)
}

/// Checks a chain before anything of it is carried out.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`] with the place; [`ProblemKind::LimitReached`] with the limit.
pub(super) fn check(chain: &Chain, settings: &Settings) -> Result<(), Problem> {
    if chain.steps.is_empty() || chain.steps.len() > settings.chain_steps_max {
        let detail = format!("a chain has from 1 to chain_steps_max = {} steps", settings.chain_steps_max);
        return Err(refuse("/steps", detail));
    }
    within(&chain.input, settings.chain_data_bytes_max).map_err(|problem| problem.at("/input"))?;
    if chain.deadline_ms.is_some_and(|ms| ms == 0 || ms > settings.chain_deadline_ms_max) {
        let detail = format!("from 1 to chain_deadline_ms_max = {}", settings.chain_deadline_ms_max);
        return Err(refuse("/deadlineMs", detail));
    }
    expression(chain.output.as_deref(), "/output")?;
    let mut names = BTreeSet::new();
    for (index, step) in chain.steps.iter().enumerate() {
        let at = format!("/steps/{index}");
        self::step(step, &at, settings)?;
        if !names.insert(&step.name) {
            return Err(refuse(format!("{at}/name"), format!("two steps have the name `{}`", step.name)));
        }
    }
    Ok(())
}

fn step(step: &ChainStep, at: &str, settings: &Settings) -> Result<(), Problem> {
    let mut letters = step.name.chars();
    let begins = letters.next().is_some_and(|first| first.is_ascii_alphabetic());
    if !begins || step.name.len() > NAME_BYTES_MAX || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let detail = format!("a letter, then letters, digits and `_`: at most {NAME_BYTES_MAX}");
        return Err(refuse(format!("{at}/name"), detail));
    }
    match (&step.operation, &step.topic) {
        (Some(operation), None) => label(operation, &format!("{at}/operation"))?,
        (None, Some(topic)) => label(topic, &format!("{at}/topic"))?,
        _ => return Err(refuse(at, "a step has either `operation` or `topic`")),
    }
    for (member, text) in [("when", &step.when), ("input", &step.input), ("output", &step.output)] {
        expression(text.as_deref(), &format!("{at}/{member}"))?;
    }
    retry(step.retry, &format!("{at}/retry"), settings)?;
    if let Some(mapping) = &step.mapping {
        mapping::check(mapping, &format!("{at}/mapping"), false)?;
    }
    step.compensation.as_ref().map_or(Ok(()), |undo| compensation(undo, &format!("{at}/compensation"), settings))
}

fn compensation(undo: &Compensation, at: &str, settings: &Settings) -> Result<(), Problem> {
    label(&undo.operation, &format!("{at}/operation"))?;
    expression(undo.input.as_deref(), &format!("{at}/input"))?;
    retry(undo.retry, &format!("{at}/retry"), settings)?;
    undo.mapping.as_ref().map_or(Ok(()), |mapping| mapping::check(mapping, &format!("{at}/mapping"), false))
}

fn expression(text: Option<&str>, at: &str) -> Result<(), Problem> {
    text.map_or(Ok(()), |text| parse(text, at).map(|_| ()))
}

fn label(text: &str, at: &str) -> Result<(), Problem> {
    if text.trim().is_empty() || text.len() > LABEL_BYTES_MAX {
        return Err(refuse(at, format!("text of at most {LABEL_BYTES_MAX} bytes is expected here")));
    }
    Ok(())
}

fn retry(retry: Option<Retry>, at: &str, settings: &Settings) -> Result<(), Problem> {
    let Some(retry) = retry else { return Ok(()) };
    if retry.count > settings.chain_retries_max {
        return Err(refuse(
            format!("{at}/count"),
            format!("at most chain_retries_max = {}", settings.chain_retries_max),
        ));
    }
    if retry.backoff_ms > settings.chain_backoff_ms_max {
        let detail = format!("at most chain_backoff_ms_max = {}", settings.chain_backoff_ms_max);
        return Err(refuse(format!("{at}/backoffMs"), detail));
    }
    Ok(())
}
