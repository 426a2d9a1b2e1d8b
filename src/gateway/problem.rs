//! Problems as HTTP tells them (RFC 9457), and the pages that explain their types.

use std::fmt::Write as _;

use serde::Serialize;
use twinway_protocol::{Problem, ProblemKind, message::TwinRefusal, problem::LeaseContext};
use utoipa::ToSchema;

use super::{
    call::{Call, HTML, JSON, PROBLEM, Reply},
    routes::{Access, Answer, Parameter, Route},
    schemas::{list_of, schema},
};

/// What went wrong, as RFC 9457 problem details.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemDocument {
    /// The problem's type; a GET of it explains the type.
    #[serde(rename = "type")]
    kind: String,
    /// A short summary of the type.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    detail: String,
    /// The place in the request's document (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    /// What differs from what is registered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    differences: Vec<String>,
    /// What is with the object, for problems of sync leases.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<LeaseContext>)]
    lease: Option<Box<LeaseContext>>,
    /// The path that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
}

impl ProblemDocument {
    pub(super) fn new(problem: Problem, instance: Option<&str>) -> Self {
        Self {
            kind: format!("/problems/{}", problem.kind.slug()),
            title: problem.kind.title(),
            status: problem.kind.status(),
            detail: problem.detail,
            pointer: problem.pointer,
            differences: problem.differences,
            lease: problem.lease,
            instance: instance.map(str::to_owned),
        }
    }
}

/// A twin for which a permission was asked and not given.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = TwinRefusal)]
pub(super) struct RefusalDocument {
    /// The twin.
    twin: twinway_protocol::TwinId,
    /// Why.
    problem: ProblemDocument,
}

impl From<TwinRefusal> for RefusalDocument {
    fn from(refusal: TwinRefusal) -> Self {
        Self { twin: refusal.twin, problem: ProblemDocument::new(refusal.problem, None) }
    }
}

/// A problem as an answer.
pub(super) fn reply(problem: Problem, instance: Option<&str>) -> Reply {
    let kind = problem.kind;
    // A document of texts and numbers is always written; an empty body would still carry the status.
    let body = serde_json::to_vec(&ProblemDocument::new(problem, instance)).unwrap_or_default();
    let reply = Reply::new(kind.status(), PROBLEM, body);
    if kind == ProblemKind::Unauthenticated { reply.with("www-authenticate", "Bearer".to_owned()) } else { reply }
}

/// The explanation of one type of problem.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemType {
    /// The type's URI.
    #[serde(rename = "type")]
    kind: String,
    /// A short summary.
    title: &'static str,
    /// The HTTP status that it comes with.
    status: u16,
    /// What it means and what to do.
    help: &'static str,
}

impl From<ProblemKind> for ProblemType {
    fn from(kind: ProblemKind) -> Self {
        let (title, status, help) = (kind.title(), kind.status(), kind.help());
        Self { kind: format!("/problems/{}", kind.slug()), title, status, help }
    }
}

pub(super) const ROUTES: &[Route] = &[
    Route::get("/problems", "listProblemTypes", Access::Open, "Every type of problem that the daemon answers with.")
        .answers(&[Answer::new(200, "The types.", JSON, Some(list_of::<ProblemType>))])
        .now(list),
    Route::get("/problems/{slug}", "explainProblemType", Access::Open, "What a type of problem means and what to do.")
        .path_parameters(&[Parameter::needed("slug", "The last part of the problem's `type`.")])
        .answers(&[
            Answer::new(200, "The explanation.", JSON, Some(schema::<ProblemType>)),
            Answer::new(200, "The explanation.", HTML, None),
        ])
        .now(explain),
];

fn list(call: &Call<'_>) -> Result<Reply, Problem> {
    if call.wants_html() {
        return Ok(Reply::new(200, HTML, page("Problems", ProblemKind::ALL)));
    }
    let types: Vec<ProblemType> = ProblemKind::ALL.iter().map(|kind| (*kind).into()).collect();
    Reply::json(200, &types)
}

fn explain(call: &Call<'_>) -> Result<Reply, Problem> {
    let slug = call.segment(0)?;
    let unknown = || Problem::new(ProblemKind::RouteUnknown, format!("there is no type of problem `{slug}`"));
    let kind = ProblemKind::ALL.iter().find(|kind| kind.slug() == slug).ok_or_else(unknown)?;
    if call.wants_html() {
        return Ok(Reply::new(200, HTML, page(kind.title(), std::slice::from_ref(kind))));
    }
    Reply::json(200, &ProblemType::from(*kind))
}

fn page(title: &str, kinds: &[ProblemKind]) -> Vec<u8> {
    let mut html = format!("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{}</title>", escape(title));
    for kind in kinds {
        let (slug, status) = (kind.slug(), kind.status());
        // Writing to a string does not fail.
        let _ = write!(
            html,
            "<h1><a href=\"/problems/{slug}\">{}</a></h1><p>{status} <code>{slug}</code></p><p>{}</p>",
            escape(kind.title()),
            escape(kind.help())
        );
    }
    html.push_str("</html>");
    html.into_bytes()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
