//! Reading acts: those of the scenario, and those of its variants, which say only what is different.

use std::{collections::BTreeMap, mem, sync::Arc};

use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::{Mistake, Reader, document, documents, expression, expressions, patience, text};
use crate::scenario::{Act, Call, Deed, Fill, Hear, Place};

/// How long an act waits for an event unless it says otherwise, in milliseconds.
const HEARD_WITHIN_MS: u64 = 10_000;
/// How often a call can be made.
const TIMES_MAX: u32 = 10_000;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ActFile {
    #[serde(default)]
    pub(super) name: String,
    by: Option<Spanned<String>>,
    step: Option<Spanned<String>>,
    to: Option<String>,
    says: Option<Spanned<String>>,
    together: Option<String>,
    call: Option<Spanned<String>>,
    headers: Option<BTreeMap<String, Spanned<String>>>,
    body: Option<Spanned<toml::Value>>,
    upload: Option<Spanned<String>>,
    download: Option<Spanned<String>>,
    times: Option<Spanned<u32>>,
    every_ms: Option<Spanned<u64>>,
    hear: Option<Spanned<String>>,
    #[serde(rename = "where")]
    that: Option<Spanned<String>>,
    within_ms: Option<Spanned<u64>>,
    remember: Option<BTreeMap<String, Spanned<toml::Value>>>,
    #[serde(default)]
    recall: bool,
    #[serde(default)]
    away: bool,
    #[serde(default)]
    back: bool,
    expect: Option<Spanned<String>>,
    #[serde(default)]
    keep: BTreeMap<String, Spanned<String>>,
    /// Of a variant only: which act of the scenario it stands before or after.
    before: Option<Spanned<String>>,
    after: Option<Spanned<String>>,
}

impl ActFile {
    /// What this act does not say is as in `other`. If it does something else, or expects something else, it says so
    /// itself: what is done of `other`, and what is kept of it, make no sense then.
    fn like(mut self, other: &Self) -> Self {
        let Self { by, step, to, says, together, .. } = other.clone();
        self.by = self.by.or(by);
        self.step = self.step.or(step);
        self.to = self.to.or(to);
        self.says = self.says.or(says);
        self.together = self.together.or(together);
        if self.expect.is_none() {
            let Self { expect, keep, .. } = other.clone();
            self.expect = expect;
            self.keep.extend(keep.into_iter().filter(|(name, _)| !self.keep.contains_key(name)).collect::<Vec<_>>());
        }
        if self.hear.is_some() || self.remember.is_some() || self.recall || self.away || self.back {
            return self;
        }
        let other = other.clone();
        self.call = self.call.or(other.call);
        self.headers = self.headers.or(other.headers);
        if self.body.is_none() && self.upload.is_none() {
            (self.body, self.upload) = (other.body, other.upload);
        }
        self.times = self.times.or(other.times);
        self.every_ms = self.every_ms.or(other.every_ms);
        if self.expect.is_none() {
            self.download = self.download.or(other.download);
        }
        if self.call.is_none() {
            self.hear = other.hear;
            self.that = self.that.or(other.that);
            self.within_ms = self.within_ms.or(other.within_ms);
            self.remember = other.remember;
            (self.recall, self.away, self.back) = (other.recall, other.away, other.back);
        }
        self
    }
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        self.bytes.get(..at).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// An act of the scenario itself.
    pub(super) fn act(&self, read: Spanned<ActFile>) -> Result<Act, Mistake> {
        if let Some(place) = read.get_ref().before.as_ref().or(read.get_ref().after.as_ref()) {
            return Err((place.span().start, "`before` and `after` belong to a variant".to_owned()));
        }
        let at = read.span().start;
        self.said(at, read.into_inner())
    }

    /// An act of a variant: its place among those `of_scenario`, and what it is.
    pub(super) fn act_of_variant(
        &self,
        read: Spanned<ActFile>,
        of_scenario: &BTreeMap<String, ActFile>,
    ) -> Result<(Place, Act), Mistake> {
        let at = read.span().start;
        let mut read = read.into_inner();
        let unknown = |at, name: &str| (at, format!("no act of the scenario has the name `{name}`"));
        let place = match (read.before.take(), read.after.take()) {
            (Some(_), Some(after)) => {
                return Err((after.span().start, "an act is `before` or `after` another, not both".to_owned()));
            }
            (None, None) => {
                let other = of_scenario.get(&read.name).ok_or_else(|| unknown(at, &read.name))?;
                let place = Place::Of(read.name.clone());
                return Ok((place, self.said(at, read.like(other))?));
            }
            (before, after) => {
                let is_before = before.is_some();
                let (name, at) =
                    before.or(after).map_or((String::new(), at), |name| (name.get_ref().clone(), name.span().start));
                if !of_scenario.contains_key(&name) {
                    return Err(unknown(at, &name));
                }
                if is_before { Place::Before(name) } else { Place::After(name) }
            }
        };
        Ok((place, self.said(at, read)?))
    }

    fn said(&self, at: usize, mut read: ActFile) -> Result<Act, Mistake> {
        let by = read.by.take().ok_or_else(|| (at, "an act says `by` whom".to_owned()))?;
        if !by.get_ref().contains("${") {
            self.known_party(&by)?;
        }
        let says = read.says.take().ok_or_else(|| (at, "an act `says` what is done".to_owned()))?;
        if let Some(step) = &read.step
            && !self.flow.steps().iter().any(|known| known.number == *step.get_ref())
        {
            let message = format!("{} has no step `{}`", self.flow.name(), step.get_ref());
            return Err((step.span().start, message));
        }
        let deed = self.deed(by.span().start, &mut read)?;
        Ok(Act {
            line: self.line(at),
            name: read.name,
            by: text(by)?,
            step: read.step.map(Spanned::into_inner),
            to: read.to.unwrap_or_default(),
            says: text(says)?,
            together: read.together,
            deed,
            expect: read.expect.map(expression).transpose()?,
            keep: expressions(read.keep)?,
        })
    }

    fn deed(&self, at: usize, read: &mut ActFile) -> Result<Deed, Mistake> {
        let (calls, hears) = (read.call.is_some(), read.hear.is_some());
        let ways = [calls, hears, read.remember.is_some(), read.recall, read.away, read.back];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err((at, "an act is one of `call`, `hear`, `recall`, `remember`, `away` and `back`".to_owned()));
        }
        let of_call = [read.headers.is_some(), read.body.is_some(), read.upload.is_some(), read.download.is_some()];
        if !calls && (of_call.contains(&true) || read.times.is_some() || read.every_ms.is_some()) {
            let all = "`headers`, `body`, `upload`, `download`, `times` and `every_ms` belong to a `call`";
            return Err((at, all.to_owned()));
        }
        if !hears && (read.that.is_some() || read.within_ms.is_some()) {
            return Err((at, "`where` and `within_ms` belong to a `hear`".to_owned()));
        }
        if let Some(call) = read.call.take() {
            return self.call(call, read).map(Deed::Call);
        }
        if let Some(event) = read.hear.take() {
            let within_ms = patience(read.within_ms.take(), HEARD_WITHIN_MS)?;
            let that = read.that.take().map(expression).transpose()?;
            return Ok(Deed::Hear(Box::new(Hear { event: event.into_inner(), that, within_ms })));
        }
        Ok(match read.remember.take() {
            Some(remember) => Deed::Remember(documents(remember)?),
            None if read.recall => Deed::Recall,
            None if read.away => Deed::Away,
            None if read.back => Deed::Back,
            None => Deed::Think,
        })
    }

    fn call(&self, call: Spanned<String>, read: &mut ActFile) -> Result<Box<Call>, Mistake> {
        let at = call.span().start;
        let form = || (at, format!("`{}` is no call: it looks like `POST /mii/v1/selection`", call.get_ref()));
        let (method, path) = call.get_ref().split_once(' ').ok_or_else(form)?;
        if !METHODS.contains(&method) || !path.starts_with('/') {
            return Err(form());
        }
        let (bytes, download) = (self.file(read.upload.take())?, self.file(read.download.take())?);
        if bytes.is_some() && read.body.is_some() {
            return Err((at, "a call has a `body` or an `upload`, not both".to_owned()));
        }
        if let Some(times) = read.times.as_ref().filter(|times| !(1..=TIMES_MAX).contains(times.get_ref())) {
            return Err((times.span().start, format!("a call is made from 1 to {TIMES_MAX} times")));
        }
        let headers = mem::take(&mut read.headers).unwrap_or_default();
        Ok(Box::new(Call {
            method: method.to_owned(),
            path: Fill::read(&Value::String(path.to_owned())).map_err(|why| (at, why))?,
            headers: headers.into_iter().map(|(name, value)| Ok((name, text(value)?))).collect::<Result<_, _>>()?,
            body: read.body.take().map(document).transpose()?,
            bytes,
            download,
            times: read.times.take().map_or(1, Spanned::into_inner),
            every_ms: patience(read.every_ms.take(), 0)?,
        }))
    }

    /// The bytes of a file that stands beside the world file.
    fn file(&self, name: Option<Spanned<String>>) -> Result<Option<Arc<[u8]>>, Mistake> {
        let Some(name) = name else { return Ok(None) };
        let bytes = (self.beside)(name.get_ref());
        bytes
            .map(|bytes| Some(Arc::from(bytes)))
            .map_err(|why| (name.span().start, format!("`{}`: {why}", name.get_ref())))
    }
}
