//! The table of operations: what is served, what the documents say, and what a session can call.

use bytes::Bytes;
use futures_util::{future::LocalBoxFuture, stream::LocalBoxStream};
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
