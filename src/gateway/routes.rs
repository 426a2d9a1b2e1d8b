//! The table of operations: what is served, what the documents say, and what a session can call.

use std::borrow::Cow;

use bytes::Bytes;
use futures_util::{future::LocalBoxFuture, stream::LocalBoxStream};
use percent_encoding::percent_decode_str;
use twinway_protocol::{Problem, ProblemKind};

use super::{
    acquiring, actions,
    auth::Role,
    call::{Call, JSON, MERGE_PATCH, Reply},
    device, dii, executions, history, information, leases, mii, observations, ops, problem, registrations, rights,
    schemas::SchemaOf,
    sii, spatial, twins,
};
use crate::outside::SystemKind;

/// The methods that routes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Reads a method's name. A HEAD is a GET whose body is not sent.
    pub(super) fn read(name: &str) -> Option<Self> {
        match name {
            "GET" | "HEAD" => Some(Self::Get),
            "POST" => Some(Self::Post),
            "PUT" => Some(Self::Put),
            "PATCH" => Some(Self::Patch),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// Who may call a route. An operator may call every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody, without a token.
    Open,
    /// Every token.
    Any,
    /// Tokens of this role.
    Only(Role),
}

/// A parameter of a path or a query.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) needed: bool,
    pub(super) number: bool,
}

impl Parameter {
    pub(super) const fn text(name: &'static str, about: &'static str) -> Self {
        Self { name, about, needed: false, number: false }
    }

    pub(super) const fn number(name: &'static str, about: &'static str) -> Self {
        Self { name, about, needed: false, number: true }
    }

    pub(super) const fn needed(name: &'static str, about: &'static str) -> Self {
        Self { name, about, needed: true, number: false }
    }
}

/// An answer that is not a problem.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) media: &'static str,
    pub(super) schema: Option<SchemaOf>,
}

impl Answer {
    pub(super) const fn new(status: u16, about: &'static str, media: &'static str, schema: Option<SchemaOf>) -> Self {
        Self { status, about, media, schema }
    }

    /// An answer without a body.
    pub(super) const fn empty(status: u16, about: &'static str) -> Self {
        Self { status, about, media: "", schema: None }
    }
}

/// An answer that comes later.
pub(super) type Later<'a> = LocalBoxFuture<'a, Result<Reply, Problem>>;

/// A body that is taken in piece by piece.
pub(super) type Upload = LocalBoxStream<'static, Result<Bytes, Problem>>;

/// What answers at once.
pub(super) type Now = fn(&Call<'_>) -> Result<Reply, Problem>;

/// How a route is carried out.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// At once.
    Now(Now),
    /// By asking actors.
    Later(for<'a> fn(Call<'a>) -> Later<'a>),
    /// By taking the body in as it comes, and asking actors.
    Receive(for<'a> fn(Call<'a>, Upload) -> Later<'a>),
    /// By a stream of the events of a system; of none: of what concerns operators.
    Events(Option<SystemKind>),
    /// By a stream of what a twin's properties were.
    Replay,
    /// By a WebSocket session.
    Session(SystemKind),
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now",
            Self::Later(_) => "Later",
            Self::Receive(_) => "Receive",
            Self::Events(_) => "Events",
            Self::Replay => "Replay",
            Self::Session(_) => "Session",
        })
    }
}

/// One operation.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) verb: Verb,
    /// The path, with its parameters in braces.
    pub(super) path: &'static str,
    /// The operation's id in the OpenAPI documents.
    pub(super) id: &'static str,
    pub(super) access: Access,
    pub(super) about: &'static str,
    pub(super) path_parameters: &'static [Parameter],
    pub(super) query: &'static [Parameter],
    /// Headers that only this route reads.
    pub(super) headers: &'static [Parameter],
    pub(super) body: Option<SchemaOf>,
    pub(super) body_media: &'static [&'static str],
    pub(super) answers: &'static [Answer],
    /// Whether it needs a journal that can be written.
    pub(super) writes: bool,
    pub(super) run: Run,
}

fn undone(_: &Call<'_>) -> Result<Reply, Problem> {
    Err(Problem::new(ProblemKind::Internal, "the route is in the table without what carries it out"))
}

impl Route {
    const fn new(verb: Verb, path: &'static str, id: &'static str, access: Access, about: &'static str) -> Self {
        Self {
            verb,
            path,
            id,
            access,
            about,
            path_parameters: &[],
            query: &[],
            headers: &[],
            body: None,
            body_media: &[],
            answers: &[],
            writes: !matches!(verb, Verb::Get),
            run: Run::Now(undone),
        }
    }

    pub(super) const fn get(path: &'static str, id: &'static str, access: Access, about: &'static str) -> Self {
        Self::new(Verb::Get, path, id, access, about)
    }

    pub(super) const fn post(path: &'static str, id: &'static str, access: Access, about: &'static str) -> Self {
        Self::new(Verb::Post, path, id, access, about)
    }

    pub(super) const fn put(path: &'static str, id: &'static str, access: Access, about: &'static str) -> Self {
        Self::new(Verb::Put, path, id, access, about)
    }

    pub(super) const fn patch(path: &'static str, id: &'static str, access: Access, about: &'static str) -> Self {
        let mut route = Self::new(Verb::Patch, path, id, access, about);
        route.body_media = &[MERGE_PATCH, JSON];
        route
    }

    pub(super) const fn delete(path: &'static str, id: &'static str, access: Access, about: &'static str) -> Self {
        Self::new(Verb::Delete, path, id, access, about)
    }

    pub(super) const fn path_parameters(mut self, parameters: &'static [Parameter]) -> Self {
        self.path_parameters = parameters;
        self
    }

    pub(super) const fn query(mut self, parameters: &'static [Parameter]) -> Self {
        self.query = parameters;
        self
    }

    pub(super) const fn headers(mut self, parameters: &'static [Parameter]) -> Self {
        self.headers = parameters;
        self
    }

    pub(super) const fn body(mut self, schema: SchemaOf) -> Self {
        self.body = Some(schema);
        if self.body_media.is_empty() {
            self.body_media = &[JSON];
        }
        self
    }

    /// The media types of a body that is not JSON.
    pub(super) const fn media(mut self, media: &'static [&'static str]) -> Self {
        self.body_media = media;
        self
    }

    pub(super) const fn answers(mut self, answers: &'static [Answer]) -> Self {
        self.answers = answers;
        self
    }

    /// It changes nothing that the journal keeps, or it ends something that began before: it is served while
    /// the journal cannot be written.
    pub(super) const fn writes_nothing(mut self) -> Self {
        self.writes = false;
        self
    }

    pub(super) const fn now(mut self, run: Now) -> Self {
        self.run = Run::Now(run);
        self
    }

    pub(super) const fn later(mut self, run: for<'a> fn(Call<'a>) -> Later<'a>) -> Self {
        self.run = Run::Later(run);
        self
    }

    pub(super) const fn receive(mut self, run: for<'a> fn(Call<'a>, Upload) -> Later<'a>) -> Self {
        self.run = Run::Receive(run);
        self
    }

    pub(super) const fn events(mut self, kind: SystemKind) -> Self {
        self.run = Run::Events(Some(kind));
        self
    }

    pub(super) const fn operator_events(mut self) -> Self {
        self.run = Run::Events(None);
        self
    }

    pub(super) const fn replay(mut self) -> Self {
        self.run = Run::Replay;
        self
    }

    pub(super) const fn session(mut self, kind: SystemKind) -> Self {
        self.run = Run::Session(kind);
        self
    }
}

/// Every operation that is served.
pub(super) fn all() -> impl Iterator<Item = &'static Route> {
    [
        mii::ROUTES,
        executions::ROUTES,
        information::ROUTES,
        twins::ROUTES,
        history::ROUTES,
        actions::ROUTES,
        rights::ROUTES,
        leases::ROUTES,
        device::ROUTES,
        spatial::ROUTES,
        observations::ROUTES,
        dii::ROUTES,
        sii::ROUTES,
        acquiring::ROUTES,
        registrations::ROUTES,
        ops::ROUTES,
        leases::OPERATOR_ROUTES,
        problem::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// The most parameters that a path has.
pub(super) const SEGMENTS_MAX: usize = 2;
/// The values of a path's parameters, decoded.
pub(super) type Segments<'a> = [Cow<'a, str>; SEGMENTS_MAX];

struct Entry {
    /// The literal segments; `None` stands for a parameter.
    template: Vec<Option<&'static str>>,
    routes: Vec<Numbered>,
}

/// A route, and its number in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered {
    pub(super) number: usize,
    pub(super) route: &'static Route,
}

/// Finds the operation of a path.
///
/// Paths are matched as they came, before anything is decoded: a twin's id that is a URL stays one segment
/// when its slashes are percent-encoded, and is decoded exactly once.
pub(super) struct Router {
    /// By the number of segments.
    by_length: Vec<Vec<Entry>>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Router")
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

impl Router {
    pub(super) fn new(routes: impl Iterator<Item = &'static Route>) -> Self {
        let mut by_length: Vec<Vec<Entry>> = Vec::new();
        for (number, route) in routes.enumerate() {
            let template: Vec<_> =
                segments(route.path).map(|segment| (!segment.starts_with('{')).then_some(segment)).collect();
            if by_length.len() <= template.len() {
                by_length.resize_with(template.len() + 1, Vec::new);
            }
            let Some(entries) = by_length.get_mut(template.len()) else { continue };
            match entries.iter_mut().find(|entry| entry.template == template) {
                Some(entry) => entry.routes.push(Numbered { number, route }),
                None => entries.push(Entry { template, routes: vec![Numbered { number, route }] }),
            }
        }
        Self { by_length }
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        let entries = self.by_length.get(segments(path).count())?;
        entries.iter().find(|entry| matches(&entry.template, path))
    }

    /// The methods that a path has, as the header `Allow` lists them.
    pub(super) fn allowed(&self, path: &str) -> Option<String> {
        let verbs: Vec<_> = self.entry(path)?.routes.iter().map(|found| found.route.verb.as_str()).collect();
        Some(verbs.join(", "))
    }

    /// The operation of this path and method.
    ///
    /// # Errors
    /// [`ProblemKind::RouteUnknown`], [`ProblemKind::MethodNotAllowed`].
    pub(super) fn find(&self, verb: Option<Verb>, path: &str) -> Result<Numbered, Problem> {
        let unknown = || Problem::new(ProblemKind::RouteUnknown, format!("there is no route `{path}`"));
        let entry = self.entry(path).ok_or_else(unknown)?;
        let not_so =
            || Problem::new(ProblemKind::MethodNotAllowed, "the header `Allow` lists the methods of the route");
        entry.routes.iter().find(|found| Some(found.route.verb) == verb).copied().ok_or_else(not_so)
    }
}

impl Route {
    /// The parameters of a path that is this route's.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`] for a segment that does not decode to text.
    pub(super) fn read_segments<'a>(&self, path: &'a str) -> Result<Segments<'a>, Problem> {
        let mut decoded = Segments::default();
        let parameters = segments(self.path).zip(segments(path)).filter(|(named, _)| named.starts_with('{'));
        for (slot, (_, segment)) in decoded.iter_mut().zip(parameters) {
            *slot = percent_decode_str(segment).decode_utf8().map_err(|_| {
                Problem::new(ProblemKind::InvalidQuery, format!("the path segment `{segment}` is not UTF-8 text"))
            })?;
        }
        Ok(decoded)
    }
}

fn matches(template: &[Option<&'static str>], path: &str) -> bool {
    template.iter().zip(segments(path)).all(|(literal, segment)| match literal {
        Some(literal) => *literal == segment,
        None => !segment.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use twinway_protocol::ProblemKind;

    use super::{Router, SEGMENTS_MAX, Verb, all};

    fn find(verb: Verb, path: &str) -> Result<(&'static str, Vec<String>), ProblemKind> {
        let router = Router::new(all());
        let route = router.find(Some(verb), path).map_err(|problem| problem.kind)?.route;
        let segments = route.read_segments(path).map_err(|problem| problem.kind)?;
        Ok((route.id, segments.iter().filter(|text| !text.is_empty()).map(|text| text.to_string()).collect()))
    }

    #[test]
    fn an_id_that_is_a_url_is_one_segment_and_decoded_once() {
        let found = find(Verb::Get, "/mii/v1/twins/http:%2F%2Fa.example%2Fx%3Fy%2541/properties/on%2Foff");
        assert_eq!(found, Ok(("readTwinProperty", vec!["http://a.example/x?y%41".to_owned(), "on/off".to_owned()])));
        let found = find(Verb::Get, "/mii/v1/twins/urn:dev:1");
        assert_eq!(found, Ok(("readTwin", vec!["urn:dev:1".to_owned()])));
    }

    #[test]
    fn what_is_not_served_is_a_problem() {
        assert_eq!(find(Verb::Get, "/mii/v1/twins/"), Err(ProblemKind::RouteUnknown));
        assert_eq!(find(Verb::Get, "/mii/v1/nothing"), Err(ProblemKind::RouteUnknown));
        assert_eq!(find(Verb::Get, "/a/b/c/d/e/f/g/h/i/j"), Err(ProblemKind::RouteUnknown));
        assert_eq!(find(Verb::Put, "/mii/v1/twins"), Err(ProblemKind::MethodNotAllowed));
        assert_eq!(find(Verb::Get, "/mii/v1/twins/%ff"), Err(ProblemKind::InvalidQuery));
    }

    #[test]
    fn the_table_has_every_operation_once_and_complete() {
        let (mut ids, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for route in all() {
            assert!(ids.insert(route.id), "{} is there twice", route.id);
            assert!(paths.insert((route.path, route.verb)), "{} is there twice", route.path);
            let named: Vec<_> = super::segments(route.path)
                .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            let documented: Vec<_> = route.path_parameters.iter().map(|parameter| parameter.name).collect();
            assert_eq!(named, documented, "{}", route.path);
            assert!(named.len() <= SEGMENTS_MAX);
            assert!(!route.answers.is_empty(), "{} has no answer", route.id);
        }
    }

    #[test]
    fn every_operation_is_found_by_its_path() {
        for route in all() {
            assert_eq!(find(route.verb, route.path).map(|found| found.0), Ok(route.id));
        }
    }
}
