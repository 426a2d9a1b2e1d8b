//! WebSocket sessions: requests and events go out, answers and calls come in.
//!
//! A frame is one answer or call, or an array of them. All that is under way runs at once, and each reply names its
//! call. Whoever sends arrays gets arrays: the replies that are ready together come together.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, rt, web};
use actix_ws::{AggregatedMessage, CloseCode, CloseReason, ProtocolError};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};
use twinway_protocol::{PendingKey, Problem, ProblemKind, SystemId, message::OutsideAnswer};

use super::{
    Shared,
    auth::Known,
    call::{Call, Extras, Found, JSON, Reply},
    frame::{self, Incoming, not_a_frame, reply_frame},
    json,
    limits::Slot,
    problem,
    routes::Verb,
    server, sse,
    subscriptions::Subscriptions,
};
use crate::outside::{self, Outgoing, RequestFrame, SystemKind};

const SUBPROTOCOL: &str = "twinway.v1.json";
/// Closed, since a newer session of the same system has come.
const REPLACED: u16 = 4001;

/// Whose session it is.
#[derive(Clone)]
struct Owner {
    shared: Arc<Shared>,
    known: Arc<Known>,
    kind: SystemKind,
    system: SystemId,
}

struct Session {
    owner: Owner,
    socket: actix_ws::Session,
    /// Calls and answers under way, each giving its reply.
    under_way: FuturesUnordered<LocalBoxFuture<'static, String>>,
    subscriptions: Subscriptions,
    heard: Instant,
    /// Whether the client sends arrays.
    batches: bool,
    _place: (Slot, Slot),
}

/// Opens the session of the system that the caller acts for.
pub(super) async fn open(
    shared: &Arc<Shared>,
    call: &Call<'_>,
    kind: SystemKind,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let places = (shared.sessions.take()?, shared.subscriptions.take()?);
    let refused = |error: actix_web::Error| {
        Problem::new(ProblemKind::InvalidQuery, format!("the request does not open a WebSocket: {error}"))
    };
    // The handshake is checked first: the session that is opened ends an earlier one.
    let (response, socket, messages) =
        actix_ws::handle_with_protocols(request, payload, &[SUBPROTOCOL]).map_err(refused)?;
    let outgoing = match kind {
        SystemKind::Metaverse => call.mii()?.session().await?,
        SystemKind::DigitalTwin => call.dii()?.session().await?,
        SystemKind::ThirdParty => call.sii()?.session().await?,
        SystemKind::UserDevice => {
            return Err(Problem::new(ProblemKind::RouteUnknown, "devices have event streams only"));
        }
    };
    let max = shared.config.body_bytes_max;
    let messages = messages.max_frame_size(max).aggregate_continuations().max_continuation_size(max);
    let owner = Owner { shared: Arc::clone(shared), known: Arc::clone(call.known()?), kind, system: call.system()? };
    let session = Session {
        owner,
        socket,
        under_way: FuturesUnordered::new(),
        subscriptions: Subscriptions::default(),
        heard: Instant::now(),
        batches: false,
        _place: places,
    };
    rt::spawn(session.run(outgoing, messages));
    Ok(response)
}

/// Why a session ends.
type End = Option<CloseReason>;

fn end(code: CloseCode, why: &str) -> End {
    Some(CloseReason { code, description: Some(why.to_owned()) })
}

impl Session {
    async fn run(mut self, mut outgoing: outside::Session, mut messages: actix_ws::AggregatedMessageStream) {
        let mut beat = sse::heartbeat(&self.owner.shared);
        let mut stopping = self.owner.shared.stopping.subscribe();
        let silence = Duration::from_millis(self.owner.shared.config.session_silence_ms_max);
        let calls_max = self.owner.shared.config.session_calls_max.max(1);
        let why = loop {
            // Beyond twice the limit nothing is read: the client is told by its full socket.
            let reads = self.under_way.len() < calls_max * 2;
            let step = tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => Err(end(CloseCode::Away, "the daemon is shutting down")),
                Some(reply) = self.under_way.next(), if !self.under_way.is_empty() => self.reply(reply).await,
                message = messages.recv(), if reads => self.hear(message).await,
                next = outgoing.next() => match next {
                    Some(next) => self.tell(None, next).await,
                    None if outgoing.replaced() => Err(end(CloseCode::Other(REPLACED), "a newer session has taken its place")),
                    None => Err(end(CloseCode::Away, "the daemon is shutting down")),
                },
                Some((id, next)) = self.subscriptions.next(), if !self.subscriptions.is_empty() => self.tell(Some(&id), next).await,
                _ = beat.tick() => self.beat(silence).await,
            };
            if let Err(why) = step {
                break why;
            }
        };
        // Whether the client still hears why is its own affair.
        let _ = timeout(silence, self.socket.close(why)).await;
    }

    /// Sends a reply, and with it, to a client that sends arrays, all others that are ready.
    async fn reply(&mut self, reply: String) -> Result<(), End> {
        let mut replies = vec![reply];
        while self.batches
            && let Some(Some(reply)) = self.under_way.next().now_or_never()
        {
            replies.push(reply);
        }
        self.send_replies(replies).await
    }

    async fn send_replies(&mut self, replies: Vec<String>) -> Result<(), End> {
        if self.batches && !replies.is_empty() {
            return self.send(format!("[{}]", replies.join(","))).await;
        }
        for reply in replies {
            self.send(reply).await?;
        }
        Ok(())
    }

    /// Sends a frame. A client that does not read is closed: its socket and its buffer are full by then.
    async fn send(&mut self, text: String) -> Result<(), End> {
        let silence = Duration::from_millis(self.owner.shared.config.session_silence_ms_max);
        match timeout(silence, self.socket.text(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(None),
            Err(_) => Err(end(CloseCode::Policy, "the client does not read")),
        }
    }

    async fn beat(&mut self, silence: Duration) -> Result<(), End> {
        if self.heard.elapsed() > silence {
            return Err(end(CloseCode::Policy, "nothing was heard of the client"));
        }
        match timeout(silence, self.socket.ping(b"")).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(None),
        }
    }

    async fn tell(&mut self, subscription: Option<&str>, outgoing: Outgoing) -> Result<(), End> {
        let text = match &outgoing {
            Outgoing::Request { request, body } => serde_json::to_string(&RequestFrame::new(*request, body)).map(Some),
            Outgoing::Event { .. } | Outgoing::Gap(_) => frame::frame(&self.owner.system, subscription, &outgoing),
        };
        match text {
            Ok(Some(text)) => self.send(text).await,
            Ok(None) => Ok(()),
            Err(error) => Err(end(CloseCode::Error, &error.to_string())),
        }
    }

    async fn hear(&mut self, message: Option<Result<AggregatedMessage, ProtocolError>>) -> Result<(), End> {
        self.heard = Instant::now();
        match message {
            Some(Ok(AggregatedMessage::Text(text))) => {
                let replies = self.accept(&text);
                self.send_replies(replies).await
            }
            Some(Ok(AggregatedMessage::Ping(bytes))) => self.socket.pong(&bytes).await.map_err(|_| None),
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
            Some(Ok(AggregatedMessage::Binary(_))) => {
                Err(end(CloseCode::Unsupported, "frames of this subprotocol are text"))
            }
            Some(Ok(AggregatedMessage::Close(_))) => Err(end(CloseCode::Normal, "")),
            Some(Err(ProtocolError::Overflow)) => Err(end(CloseCode::Size, "a message is over `body_bytes_max`")),
            Some(Err(error)) => Err(end(CloseCode::Protocol, &error.to_string())),
            None => Err(None),
        }
    }

    /// Begins what a frame asks for; gives the replies that are there at once.
    fn accept(&mut self, text: &str) -> Vec<String> {
        if !text.trim_ascii_start().starts_with('[') {
            return self.begin(text).into_iter().collect();
        }
        self.batches = true;
        // One frame that is not understood does not keep the others from being carried out.
        match json::read::<Vec<Box<RawValue>>>(text.as_bytes(), "") {
            Ok(frames) => frames.iter().filter_map(|frame| self.begin(frame.get())).collect(),
            Err(problem) => vec![reply_frame("", &problem::reply(problem, None))],
        }
    }

    fn begin(&mut self, text: &str) -> Option<String> {
        let refused = |(id, problem): (String, _)| Some(reply_frame(&id, &problem::reply(problem, None)));
        let frame: Incoming = match json::read(text.as_bytes(), "") {
            Ok(frame) => frame,
            Err(problem) => return refused((String::new(), problem)),
        };
        if frame.subscribe.is_some() || frame.unsubscribe.is_some() {
            let (id, done) = self.subscription(frame);
            let reply = done.map_or_else(|problem| problem::reply(problem, None), |()| Reply::empty(204));
            return Some(reply_frame(&id, &reply));
        }
        let (id, work) = match self.work(frame) {
            Ok(begun) => begun,
            Err(problem) => return refused(problem),
        };
        self.under_way.push(Box::pin(async move {
            let reply = work.await.unwrap_or_else(|problem| problem::reply(problem, None));
            reply_frame(&id, &reply)
        }));
        None
    }

    /// Begins or ends a subscription; gives the id of the reply too. It begins at once, so that its first event comes
    /// after the reply.
    fn subscription(&mut self, frame: Incoming) -> (String, Result<(), Problem>) {
        let Owner { shared, known, kind, system } = self.owner.clone();
        let admit = || shared.take_rate(&known, std::time::Instant::now());
        match frame {
            Incoming {
                subscribe: Some(id),
                events,
                after,
                unsubscribe: None,
                answer: None,
                data: None,
                call: None,
                method: None,
                path: None,
                body: None,
                lease_token: None,
                idempotency_key: None,
                if_match: None,
            } => {
                let reply = format!("subscribe:{id}");
                let wanted = events.unwrap_or_default();
                let begun =
                    admit().and_then(|()| self.subscriptions.subscribe(&shared, (kind, &system), id, wanted, after));
                (reply, begun)
            }
            Incoming {
                unsubscribe: Some(id),
                subscribe: None,
                events: None,
                after: None,
                answer: None,
                data: None,
                call: None,
                method: None,
                path: None,
                body: None,
                lease_token: None,
                idempotency_key: None,
                if_match: None,
            } => (format!("unsubscribe:{id}"), admit().and_then(|()| self.subscriptions.unsubscribe(&id))),
            Incoming { subscribe, unsubscribe, .. } => {
                let id = subscribe.map(|id| format!("subscribe:{id}"));
                let id = id.or(unsubscribe.map(|id| format!("unsubscribe:{id}"))).unwrap_or_default();
                (id, Err(not_a_frame()))
            }
        }
    }

    /// What one answer or call asks for, under the id of its reply; or the problem to reply with.
    fn work(&self, frame: Incoming) -> Result<(String, Work), (String, Problem)> {
        let max = self.owner.shared.config.session_calls_max.max(1);
        match frame {
            Incoming {
                answer: Some(id),
                data: Some(data),
                call: None,
                method: None,
                path: None,
                body: None,
                lease_token: None,
                idempotency_key: None,
                if_match: None,
                subscribe: None,
                events: None,
                after: None,
                unsubscribe: None,
            } => Ok((format!("answer:{id}"), answer(self.owner.clone(), id, data))),
            Incoming {
                answer: None,
                data: None,
                call: Some(id),
                method: Some(method),
                path: Some(path),
                body,
                lease_token,
                idempotency_key,
                if_match,
                subscribe: None,
                events: None,
                after: None,
                unsubscribe: None,
            } => {
                // Answers end what began before: they pass where new calls are refused.
                if self.under_way.len() >= max {
                    return Err((id, Problem::new(ProblemKind::LimitReached, format!("`session_calls_max` is {max}"))));
                }
                Ok((
                    id,
                    call(self.owner.clone(), method, path, body, Headers { lease_token, if_match, idempotency_key }),
                ))
            }
            Incoming { answer, call, .. } => {
                let id = call.or(answer.map(|id| format!("answer:{id}"))).unwrap_or_default();
                Err((id, not_a_frame()))
            }
        }
    }
}

type Work = LocalBoxFuture<'static, Result<Reply, Problem>>;

fn answer(owner: Owner, id: String, data: Box<RawValue>) -> Work {
    Box::pin(async move {
        owner.shared.take_rate(&owner.known, std::time::Instant::now())?;
        let unknown = || Problem::new(ProblemKind::RequestUnknown, format!("there is no request `{id}`"));
        let request = id.parse().map(PendingKey::from_bits).map_err(|_| unknown())?;
        let answer: OutsideAnswer = json::read(data.get().as_bytes(), "/data")?;
        match owner.kind {
            SystemKind::DigitalTwin => owner.shared.enabler.dii(owner.system).answer(request, answer).await?,
            SystemKind::ThirdParty => owner.shared.enabler.sii(owner.system).answer(request, answer).await?,
            SystemKind::Metaverse | SystemKind::UserDevice => return Err(unknown()),
        }
        Ok(Reply::empty(204))
    })
}

/// What stands in a frame in the place of headers.
struct Headers {
    lease_token: Option<String>,
    if_match: Option<String>,
    idempotency_key: Option<String>,
}

/// Carries a call out as if it had come as a request of its own.
fn call(owner: Owner, method: String, target: String, body: Option<Box<RawValue>>, headers: Headers) -> Work {
    Box::pin(async move {
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let found = Found::read(owner.shared.router.find(Verb::read(&method), path)?.route, path, query)?;
        let body = body.map(|body| Bytes::from(String::from(Box::<str>::from(body)))).unwrap_or_default();
        let extras = Extras {
            body,
            // As the session's own system, also when an operator opened it.
            acting_as: Some(owner.system.as_str()),
            accept: Some(JSON),
            lease_token: headers.lease_token.as_deref(),
            if_match: headers.if_match.as_deref(),
            idempotency_key: headers.idempotency_key.as_deref(),
            ..Extras::default()
        };
        let call = found.admit(&owner.shared, Some(&owner.known), extras, std::time::Instant::now())?;
        server::run(call).await
    })
}
