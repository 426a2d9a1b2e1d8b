//! One call of an operation, whichever way it came, and its answer.

use std::{borrow::Cow, time::Instant};

use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use percent_encoding::percent_decode;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use twinway_protocol::{Problem, ProblemKind, SystemId, TwinId, UserId, lease::Token, message::ChangeTerms};

use super::{
    Shared,
    auth::{Known, Role},
    json,
    router::{Located, Segments},
    routes::{Access, Route, Run},
};
use crate::{
    Enabler,
    enabler::{Device, Dii, Mii, Sii},
};

pub(super) const JSON: &str = "application/json";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(super) const PROBLEM: &str = "application/problem+json";
pub(super) const HTML: &str = "text/html; charset=utf-8";

/// How many bytes most documents have at most.
const BODY_BYTES: usize = 512;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// The media type; empty when there is no body.
    pub(super) media: &'static str,
    pub(super) body: Bytes,
    /// What goes out in the place of `body`, as it is read: its length, and its pieces.
    pub(super) stream: Option<BodyStream>,
    pub(super) headers: Vec<(&'static str, String)>,
}

/// A body that is read while it is sent.
pub(super) struct BodyStream {
    pub(super) bytes: u64,
    pub(super) pieces: LocalBoxStream<'static, Result<Bytes, Problem>>,
}

impl std::fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyStream").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Reply {
    pub(super) fn new(status: u16, media: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, media, body: body.into(), stream: None, headers: Vec::new() }
    }

    pub(super) fn streamed(status: u16, media: &'static str, stream: BodyStream) -> Self {
        Self { stream: Some(stream), ..Self::new(status, media, Bytes::new()) }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self::new(status, "", Bytes::new())
    }

    pub(super) fn json(status: u16, document: &impl Serialize) -> Result<Self, Problem> {
        let mut body = Vec::with_capacity(BODY_BYTES);
        serde_json::to_writer(&mut body, document).map_err(|error| {
            Problem::new(ProblemKind::Internal, format!("the answer cannot be written as JSON: {error}"))
        })?;
        Ok(Self::new(status, JSON, body))
    }

    pub(super) fn with(mut self, header: &'static str, value: String) -> Self {
        self.headers.push((header, value));
        self
    }
}

/// The parameters of a query.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads a query as forms write it.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`]: not UTF-8, or a parameter that comes twice.
    pub(super) fn read(text: &'a str) -> Result<Self, Problem> {
        let mut query = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if query.iter().any(|(earlier, _)| *earlier == name) {
                return Err(invalid(format!("the query parameter `{name}` comes twice")));
            }
            query.push((name, value));
        }
        Ok(Self(query))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| &**value)
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidQuery, detail)
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let not_text = |_| invalid(format!("`{text}` in the query is not UTF-8 text"));
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode(spaced.as_bytes()).decode_utf8().map_err(not_text)?;
        return Ok(Cow::Owned(decoded.into_owned()));
    }
    percent_decode(text.as_bytes()).decode_utf8().map_err(not_text)
}

/// What the transport knows of a request beside its path and query.
#[derive(Debug, Default)]
pub(super) struct Extras<'a> {
    pub(super) body: Bytes,
    /// Whether the body came as a merge patch.
    pub(super) merge_patch: bool,
    /// The header `Content-Type`.
    pub(super) media: Option<&'a str>,
    /// The header `Twinway-As`.
    pub(super) acting_as: Option<&'a str>,
    /// The header `If-None-Match`.
    pub(super) if_none_match: Option<&'a str>,
    /// The header `If-Match`, or what a session's frame says in its place.
    pub(super) if_match: Option<&'a str>,
    /// The header `Sync-Lease-Token`, or what a session's frame says in its place.
    pub(super) lease_token: Option<&'a str>,
    /// The header `Idempotency-Key`, or what a session's frame says in its place.
    pub(super) idempotency_key: Option<&'a str>,
    /// The header `Accept`.
    pub(super) accept: Option<&'a str>,
}

/// One call of one operation.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    pub(super) route: &'static Route,
    pub(super) segments: Segments<'a>,
    pub(super) query: Query<'a>,
    /// Who calls, and the system that it calls for; none on an open route.
    who: Option<(&'a Arc<Known>, Acting)>,
    pub(super) extras: Extras<'a>,
}

/// Whom a caller acts for.
#[derive(Debug)]
enum Acting {
    /// The system that its token is of.
    Itself,
    /// Another one; the caller is an operator.
    For(SystemId),
}

/// An operation that was found, before anybody asked who calls.
pub(super) struct Found<'a> {
    pub(super) route: &'static Route,
    pub(super) segments: Segments<'a>,
    pub(super) query: Query<'a>,
}

impl<'a> Found<'a> {
    /// Reads a path whose route was found, and a query.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`].
    pub(super) fn read(located: Located, path: &'a str, query: &'a str) -> Result<Self, Problem> {
        Ok(Self { route: located.route, segments: located.read_segments(path)?, query: Query::read(query)? })
    }

    /// Lets the call in: rate, role, the system it acts for, parameters, and whether writes are possible now.
    ///
    /// # Errors
    /// What it is refused for.
    pub(super) fn admit(
        self,
        shared: &'a Shared,
        known: Option<&'a Arc<Known>>,
        extras: Extras<'a>,
        now: Instant,
    ) -> Result<Call<'a>, Problem> {
        let Self { route, segments, query } = self;
        let mut who = None;
        if route.access != Access::Open {
            let known = known.ok_or_else(|| Problem::new(ProblemKind::Unauthenticated, "the route needs a token"))?;
            shared.take_rate(known, now)?;
            check_role(route.access, known)?;
            who = Some((known, acting_for(known, query.get("as").or(extras.acting_as))?));
        }
        check_parameters(route, &query)?;
        if route.writes {
            shared.writable()?;
        }
        Ok(Call { shared, route, segments, query, who, extras })
    }
}

fn check_role(access: Access, known: &Known) -> Result<(), Problem> {
    let role = known.principal.role;
    match access {
        Access::Open | Access::Any => Ok(()),
        Access::Only(_) if role == Role::Operator => Ok(()),
        Access::Only(needed) if role == needed => Ok(()),
        Access::Only(needed) => {
            let detail = format!("the route is for {needed} tokens, and this one is for a {role}");
            Err(Problem::new(ProblemKind::NotAllowed, detail))
        }
    }
}

fn acting_for(known: &Known, named: Option<&str>) -> Result<Acting, Problem> {
    match named {
        None => Ok(Acting::Itself),
        Some(named) if named == known.principal.id.as_str() => Ok(Acting::Itself),
        Some(named) if known.principal.role == Role::Operator => {
            SystemId::new(named).map(Acting::For).map_err(|error| invalid(format!("`as`: {error}")))
        }
        Some(_) => Err(Problem::new(ProblemKind::NotAllowed, "only an operator may act for another system")),
    }
}

fn check_parameters(route: &Route, query: &Query<'_>) -> Result<(), Problem> {
    for (name, _) in &query.0 {
        let common = name == "as" || (name == "ticket" && matches!(route.run, Run::Session(_)));
        if !common && !route.query.iter().any(|parameter| parameter.name == name) {
            return Err(invalid(format!("the route has no query parameter `{name}`")));
        }
    }
    match route.query.iter().find(|parameter| parameter.needed && query.get(parameter.name).is_none()) {
        Some(missing) => Err(invalid(format!("the query parameter `{}` is missing", missing.name))),
        None => Ok(()),
    }
}

impl<'a> Call<'a> {
    pub(super) fn enabler(&self) -> &'a Enabler {
        &self.shared.enabler
    }

    /// Who calls.
    pub(super) fn known(&self) -> Result<&'a Arc<Known>, Problem> {
        let nobody = || Problem::new(ProblemKind::Unauthenticated, "the route needs a token");
        self.who.as_ref().map(|(known, _)| *known).ok_or_else(nobody)
    }

    /// The system that the caller acts for.
    pub(super) fn system(&self) -> Result<SystemId, Problem> {
        let known = self.known()?;
        Ok(match &self.who {
            Some((_, Acting::For(system))) => system.clone(),
            _ => known.principal.id.clone(),
        })
    }

    pub(super) fn mii(&self) -> Result<Mii, Problem> {
        Ok(self.enabler().mii(self.system()?))
    }

    pub(super) fn dii(&self) -> Result<Dii, Problem> {
        Ok(self.enabler().dii(self.system()?))
    }

    pub(super) fn sii(&self) -> Result<Sii, Problem> {
        Ok(self.enabler().sii(self.system()?))
    }

    /// The device of the user that the caller is.
    pub(super) fn device(&self) -> Result<Device, Problem> {
        let user = UserId::new(self.system()?.as_str()).map_err(|error| invalid(error.to_string()))?;
        Ok(self.enabler().device(user))
    }

    /// A parameter of the path, decoded.
    pub(super) fn segment(&self, index: usize) -> Result<&str, Problem> {
        self.segments.get(index).map(|segment| &**segment).ok_or_else(|| invalid("the path has too few segments"))
    }

    /// A parameter of the path that is a name.
    pub(super) fn name<T>(&self, index: usize) -> Result<T, Problem>
    where
        T: std::str::FromStr<Err = twinway_protocol::NameError>,
    {
        let text = self.segment(index)?;
        text.parse().map_err(|error| invalid(format!("the path segment `{text}`: {error}")))
    }

    /// The twin that the path names first.
    pub(super) fn twin(&self) -> Result<TwinId, Problem> {
        self.name(0)
    }

    /// The user that the query names.
    pub(super) fn user(&self) -> Result<UserId, Problem> {
        let text = self.query.get("user").ok_or_else(|| invalid("the query parameter `user` is missing"))?;
        UserId::new(text).map_err(|error| invalid(format!("`user`: {error}")))
    }

    /// How many items a page shall have.
    pub(super) fn limit(&self) -> Result<Option<u32>, Problem> {
        let read = |text: &str| text.parse().map_err(|_| invalid(format!("`limit` is not a number: `{text}`")));
        self.query.get("limit").map(read).transpose()
    }

    /// The token of the sync lease under which the caller acts, if it shows one.
    pub(super) fn lease_token(&self) -> Result<Option<Token>, Problem> {
        let read = |text: &str| text.parse().map_err(|error| invalid(format!("`Sync-Lease-Token`: {error}")));
        self.extras.lease_token.map(read).transpose()
    }

    /// On which terms something is asked of a twin: the version that `If-Match` names, and `deadlineMs`.
    pub(super) fn terms(&self) -> Result<ChangeTerms, Problem> {
        let read = |text: &str| text.parse().map_err(|_| invalid(format!("`deadlineMs` is not a number: `{text}`")));
        let within_ms = self.query.get("deadlineMs").map(read).transpose()?;
        let expects = match self.extras.if_match {
            None | Some("*") => None,
            Some(tag) => Some(version_of(tag).ok_or_else(|| {
                let detail = format!("`If-Match` is not one `ETag` of a twin: `{tag}`");
                Problem::new(ProblemKind::VersionMismatch, detail)
            })?),
        };
        Ok(ChangeTerms { expects, within_ms })
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.query.get(name).map(str::to_owned)
    }

    /// The body.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        json::read(&self.extras.body, "")
    }

    /// Whether the caller would rather have `media` than JSON.
    pub(super) fn prefers(&self, media: &str) -> bool {
        self.extras.accept.is_some_and(|accept| quality(accept, media) > quality(accept, JSON))
    }

    /// Whether the caller would rather have a page than a document.
    pub(super) fn wants_html(&self) -> bool {
        self.prefers("text/html")
    }
}

/// The version of a twin that an `ETag` names; behind it may stand that more is wanted of the twin.
fn version_of(tag: &str) -> Option<u64> {
    let tag = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    tag.split('+').next()?.parse().ok()
}

/// How much an `Accept` header wants a media type, in thousandths; of several ranges that fit, the closest counts.
fn quality(accept: &str, media: &str) -> u32 {
    let kind = media.split('/').next().unwrap_or_default();
    let mut best = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let fit = match parts.next().unwrap_or_default() {
            exact if exact.eq_ignore_ascii_case(media) => 3,
            "*/*" => 1,
            some if some.strip_suffix("/*").is_some_and(|own| own.eq_ignore_ascii_case(kind)) => 2,
            _ => continue,
        };
        let q = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        if fit > best.0 {
            best = (fit, (q.clamp(0.0, 1.0) * 1000.0) as u32);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::{JSON, Query, quality};

    #[test]
    fn a_query_is_decoded_as_forms_write_it() {
        let query = Query::read("text=a+b%2Bc&empty=&user=%C3%A9").expect("it is a query");
        assert_eq!(query.get("text"), Some("a b+c"));
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.get("user"), Some("é"));
        assert_eq!(query.get("absent"), None);
    }

    #[test]
    fn a_parameter_that_comes_twice_is_refused() {
        assert!(Query::read("a=1&a=2").is_err());
        assert!(Query::read("a=%ff").is_err());
    }

    #[test]
    fn a_browser_prefers_a_page_and_curl_a_document() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert!(quality(browser, "text/html") > quality(browser, JSON));
        for accept in ["*/*", "application/json", "text/html;q=0.5, application/json"] {
            assert!(quality(accept, "text/html") <= quality(accept, JSON), "{accept}");
        }
    }
}
