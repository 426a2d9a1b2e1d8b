//! One HTTP request: from its head to its answer.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    Error, FromRequest as _, HttpRequest, HttpResponse,
    body::{BoxBody, SizedStream},
    dev::{self, ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt as _,
    future::{Either, LocalBoxFuture, Ready, ready},
};
use twinway_protocol::{Problem, ProblemKind};

use super::{
    Shared,
    auth::Known,
    call::{Call, Extras, Found, MERGE_PATCH, Reply},
    figures::Figures,
    history, problem,
    router::Located,
    routes::{Access, Now, Route, Run, Verb},
    session, sse, upload,
};

/// One thread of the gateway.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    figures: Arc<Figures>,
}

/// An answer that is there already, or that comes.
type Answering = Either<Ready<Result<ServiceResponse, Error>>, LocalBoxFuture<'static, Result<ServiceResponse, Error>>>;

impl Worker {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { figures: shared.figures.of_worker(), shared: Arc::clone(shared) }
    }

    /// What every answer has, and is counted by.
    fn finish(&self, asked: HttpRequest, route: Option<usize>, answered: Answered, began: Instant) -> ServiceResponse {
        let shared = &*self.shared;
        let mut response = answered.unwrap_or_else(|problem| refusal(shared, &asked, problem));
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        allow_origin(shared, &asked, headers);
        self.figures.count(route, response.status().as_u16(), began.elapsed());
        ServiceResponse::new(asked, response)
    }
}

type Answered = Result<HttpResponse, Problem>;

/// Answers a request. Nothing is left to the framework's own errors: what cannot be done is a problem document.
pub(super) fn handle(worker: &Rc<Worker>, request: ServiceRequest) -> Answering {
    let began = Instant::now();
    let (request, payload) = request.into_parts();
    let done = |route, answered, request| {
        let response = worker.finish(request, route, answered, began);
        Either::Left(ready(Ok(response)))
    };
    if let Some(response) = preflight(&worker.shared, &request) {
        return done(None, Ok(response), request);
    }
    let found = check_head(&worker.shared, &request)
        .and_then(|()| worker.shared.router.find(Verb::read(request.method().as_str()), request.uri().path()));
    let located = match found {
        Ok(found) => found,
        Err(problem) => return done(None, Err(problem), request),
    };
    let Located { number, route, .. } = located;
    // What needs neither a body nor an actor is answered here, without a future: it is what is asked most.
    if let (Run::Now(run), None) = (route.run, route.body) {
        let answered = at_once(&worker.shared, &request, located, run, began);
        return done(Some(number), answered, request);
    }
    let worker = Rc::clone(worker);
    Either::Right(Box::pin(async move {
        let answered = carry_out(&worker.shared, &request, payload, located, began).await;
        Ok(worker.finish(request, Some(number), answered, began))
    }))
}

fn at_once(shared: &Shared, request: &HttpRequest, located: Located, run: Now, began: Instant) -> Answered {
    let found = read(request, located)?;
    let known = authenticate(shared, request, located.route)?;
    run(&found.admit(shared, known, extras(request.headers()), began)?).map(respond)
}

fn read(request: &HttpRequest, located: Located) -> Result<Found<'_>, Problem> {
    let uri = request.uri();
    Found::read(located, uri.path(), uri.query().unwrap_or_default())
}

/// A problem as a response, with the headers that belong to its kind.
fn refusal(shared: &Shared, request: &HttpRequest, problem: Problem) -> HttpResponse {
    let kind = problem.kind;
    let mut reply = problem::reply(problem, Some(request.uri().path()));
    match kind {
        ProblemKind::MethodNotAllowed => {
            if let Some(verbs) = shared.router.allowed(request.uri().path()) {
                reply = reply.with("allow", verbs);
            }
        }
        // A rate is at least one request a second, so that there is room again within one.
        ProblemKind::TooManyRequests => reply = reply.with("retry-after", "1".to_owned()),
        _ => {}
    }
    let mut response = respond(reply);
    if matches!(kind, ProblemKind::BodyTooLarge | ProblemKind::HeaderTooLarge) {
        // The rest of the body is not read, so nothing more can come on this connection.
        response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    response
}

async fn carry_out(
    shared: &Arc<Shared>,
    request: &HttpRequest,
    mut payload: dev::Payload,
    located: Located,
    began: Instant,
) -> Answered {
    let route = located.route;
    let found = read(request, located)?;
    let headers = request.headers();
    let ticketed = match found.query.get("ticket").filter(|_| matches!(route.run, Run::Session(_))) {
        Some(ticket) => Some(shared.tickets.take(ticket, began)?),
        None => None,
    };
    let known = match &ticketed {
        Some(known) => Some(known),
        None => authenticate(shared, request, route)?,
    };
    // Who may not call is told so before a body is read: it could be large.
    let mut call = found.admit(shared, known, extras(headers), began)?;
    let broken = |error| Problem::new(ProblemKind::InvalidDocument, format!("the body cannot be received: {error}"));
    let payload = web::Payload::from_request(request, &mut payload).await.map_err(broken)?;
    // Boxed: what every request carries with it is as large as the largest that it could become.
    match route.run {
        Run::Events(kind) => return Box::pin(sse::open(shared, &call, kind, text(headers, &LAST_EVENT_ID))).await,
        Run::Replay => return Box::pin(history::replay(shared, &call, text(headers, &LAST_EVENT_ID))).await,
        Run::Session(kind) => return Box::pin(session::open(shared, &call, kind, request, payload)).await,
        Run::Receive(run) => {
            check_media(route, headers)?;
            let upload = upload::incoming(shared, told_length(headers), payload)?;
            return Box::pin(run(call, upload)).await.map(respond);
        }
        Run::Now(_) | Run::Later(_) => {}
    }
    if route.body.is_some() {
        call.extras.merge_patch = check_media(route, headers)?;
        call.extras.body = read_body(shared, headers, payload).await?;
    }
    run(call).await.map(respond)
}

/// Carries a call out that is not a stream.
pub(super) async fn run(call: Call<'_>) -> Result<Reply, Problem> {
    match call.route.run {
        Run::Now(run) => run(&call),
        Run::Later(run) => run(call).await,
        Run::Receive(_) | Run::Events(_) | Run::Replay | Run::Session(_) => {
            Err(Problem::new(ProblemKind::InvalidQuery, "a streaming route cannot be called within a session"))
        }
    }
}

/// The last event that a listener heard.
static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The token of the sync lease under which the caller acts.
static LEASE_TOKEN: HeaderName = HeaderName::from_static("sync-lease-token");
/// The name of a request, by which it is known again.
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The system that an operator acts for.
static ACTING_AS: HeaderName = HeaderName::from_static("twinway-as");

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn extras(headers: &HeaderMap) -> Extras<'_> {
    Extras {
        acting_as: text(headers, &ACTING_AS),
        if_none_match: text(headers, &header::IF_NONE_MATCH),
        if_match: text(headers, &header::IF_MATCH),
        lease_token: text(headers, &LEASE_TOKEN),
        idempotency_key: text(headers, &IDEMPOTENCY_KEY),
        accept: text(headers, &header::ACCEPT),
        media: text(headers, &header::CONTENT_TYPE),
        ..Extras::default()
    }
}

/// Whose token the request has; on an open route nobody asks.
fn authenticate<'a>(
    shared: &'a Shared,
    request: &HttpRequest,
    route: &Route,
) -> Result<Option<&'a Arc<Known>>, Problem> {
    match route.access {
        Access::Open => Ok(None),
        Access::Any | Access::Only(_) => {
            shared.principals.authenticate(text(request.headers(), &header::AUTHORIZATION)).map(Some)
        }
    }
}

fn check_head(shared: &Shared, request: &HttpRequest) -> Result<(), Problem> {
    let max = shared.config.header_bytes_max;
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if target + headers > max {
        let detail = format!("path, query and headers have more than {max} bytes (`header_bytes_max`)");
        return Err(Problem::new(ProblemKind::HeaderTooLarge, detail));
    }
    Ok(())
}

/// Whether the body's media type is one of the route's; gives whether it is a merge patch.
fn check_media(route: &Route, headers: &HeaderMap) -> Result<bool, Problem> {
    let sent = text(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let media = sent.split(';').next().unwrap_or_default().trim();
    if !route.body_media.iter().any(|own| own.eq_ignore_ascii_case(media)) {
        let detail = format!("the body is `{media}`, and the route reads {}", route.body_media.join(" or "));
        return Err(Problem::new(ProblemKind::MediaTypeUnsupported, detail));
    }
    Ok(media.eq_ignore_ascii_case(MERGE_PATCH))
}

/// How long the body is said to be.
fn told_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse().ok())
}

async fn read_body(shared: &Shared, headers: &HeaderMap, mut payload: web::Payload) -> Result<Bytes, Problem> {
    let max = shared.config.body_bytes_max;
    let too_large =
        || Problem::new(ProblemKind::BodyTooLarge, format!("a body has at most {max} bytes (`body_bytes_max`)"));
    if told_length(headers).is_some_and(|told| told > max as u64) {
        return Err(too_large());
    }
    let within = Duration::from_millis(shared.config.request_body_ms_max);
    let broken = |error| Problem::new(ProblemKind::InvalidDocument, format!("the body cannot be received: {error}"));
    let read = async {
        // Mostly it comes in one piece: then it stays where it is.
        let (mut whole, mut pieces) = (Bytes::new(), BytesMut::new());
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(broken)?;
            if whole.len() + pieces.len() + chunk.len() > max {
                return Err(too_large());
            }
            if whole.is_empty() && pieces.is_empty() {
                whole = chunk;
            } else {
                pieces.extend_from_slice(&std::mem::take(&mut whole));
                pieces.extend_from_slice(&chunk);
            }
        }
        Ok(if pieces.is_empty() { whole } else { pieces.freeze() })
    };
    let slow = |_| {
        let detail = format!("the body did not come within {} ms (`request_body_ms_max`)", within.as_millis());
        Problem::new(ProblemKind::InvalidDocument, detail)
    };
    tokio::time::timeout(within, read).await.map_err(slow)?
}

fn respond(reply: Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::new(status);
    let headers = response.headers_mut();
    if !reply.media.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.media));
    }
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    match reply.stream {
        Some(stream) => response.set_body(BoxBody::new(SizedStream::new(stream.bytes, stream.pieces))),
        None => response.set_body(BoxBody::new(reply.body)),
    }
}

fn origin<'a>(shared: &Shared, request: &'a HttpRequest) -> Option<&'a HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    shared.config.allowed_origins.iter().any(|allowed| allowed == text).then_some(origin)
}

/// The headers that pages of allowed origins may send: all that [`extras`] reads.
const ALLOWED_HEADERS: &str = "authorization, content-type, if-match, if-none-match, twinway-as, last-event-id, sync-lease-token, \
    idempotency-key";
/// The headers that pages of allowed origins may read, beside those that every page may.
const EXPOSED_HEADERS: &str = "age, etag, location, retry-after";

/// Answers a browser that asks whether a page of another origin may call (CORS), if the configuration lets it.
fn preflight(shared: &Shared, request: &HttpRequest) -> Option<HttpResponse> {
    if request.method() != actix_web::http::Method::OPTIONS {
        return None;
    }
    origin(shared, request)?;
    let verbs = shared.router.allowed(request.uri().path())?;
    let reply = Reply::empty(204)
        .with("access-control-allow-methods", verbs)
        .with("access-control-allow-headers", ALLOWED_HEADERS.to_owned())
        .with("access-control-max-age", "600".to_owned());
    Some(respond(reply))
}

fn allow_origin(shared: &Shared, request: &HttpRequest, headers: &mut HeaderMap) {
    if shared.config.allowed_origins.is_empty() {
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin(shared, request) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
}
