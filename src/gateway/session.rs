//! WebSocket sessions: requests and events go out, answers and calls come in.
//!
//! A frame is one answer or call, or an array of them. All that is under way runs at once, and each reply names its
//! call. Whoever sends arrays gets arrays: the replies that are ready together come together.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, rt, web};
use actix_ws::{AggregatedMessage, CloseCode, CloseReason, ProtocolError};
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout, timeout_at};
use twinway_protocol::{Problem, ProblemKind};

use super::{
    Shared,
    call::{Call, Reply},
    frame::{self, Incoming, not_a_frame, write_reply},
    json,
    limits::Slot,
    problem, sse,
    subscriptions::Subscriptions,
    under_way::{Asked, Done, Owner, Work},
};
use crate::outside::{self, Outgoing, RequestFrame, SystemKind};

const SUBPROTOCOL: &str = "twinway.v1.json";
/// What a reply has beside its id and body, about, in bytes.
const REPLY_BYTES: usize = 48;
/// News that comes before this many times `session_gather_ms` are over comes often enough to gather.
const OFTEN: u32 = 4;
/// Closed, since a newer session of the same system has come.
const REPLACED: u16 = 4001;

struct Session {
    owner: Owner,
    socket: actix_ws::Session,
    /// Calls and answers under way, each giving its reply.
    under_way: FuturesUnordered<Work>,
    subscriptions: Subscriptions,
    heard: Instant,
    /// Whether the client sends arrays.
    batches: bool,
    /// Until when news may gather.
    gathers_until: Option<Instant>,
    /// When the client was last told or answered something, if it sends arrays.
    told_at: Option<Instant>,
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
        gathers_until: None,
        told_at: None,
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
            let gathers_until = self.gathers_until;
            let step = tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => Err(end(CloseCode::Away, "the daemon is shutting down")),
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => match self.reply(done).await {
                    // News goes with it, in the same write.
                    Ok(()) if self.batches => self.tell_all(&mut outgoing, true).await,
                    step => step,
                },
                message = messages.recv(), if reads => self.hear(message).await,
                next = next(&mut outgoing, gathers_until) => match next {
                    Next::Gathered => self.tell_all(&mut outgoing, false).await,
                    Next::Outgoing(next) => match self.tell(None, next).await {
                        Ok(()) => self.tell_all(&mut outgoing, true).await,
                        failed => failed,
                    }
                    Next::End if outgoing.replaced() => Err(end(CloseCode::Other(REPLACED), "a newer session has taken its place")),
                    Next::End => Err(end(CloseCode::Away, "the daemon is shutting down")),
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
    async fn reply(&mut self, done: Done) -> Result<(), End> {
        let mut replies = vec![done];
        while self.batches
            && let Some(Some(done)) = self.under_way.next().now_or_never()
        {
            replies.push(done);
        }
        self.send_replies(&replies).await
    }

    async fn send_replies(&mut self, replies: &[Done]) -> Result<(), End> {
        let bytes = replies.iter().map(|(id, reply)| id.len() + reply.body.len() + REPLY_BYTES).sum();
        let mut text = String::with_capacity(bytes);
        for (id, reply) in replies {
            if self.batches {
                text.push(if text.is_empty() { '[' } else { ',' });
                write_reply(&mut text, id, reply);
            } else {
                write_reply(&mut text, id, reply);
                self.send(std::mem::take(&mut text)).await?;
            }
        }
        if text.is_empty() {
            return Ok(());
        }
        text.push(']');
        self.send(text).await
    }

    /// Tells a client that sends arrays all that is there. If that is anything, or `more` has just been sent, and the last
    /// time was a moment ago, nothing is told for a moment: news gathers, and leaves with what comes next in one write.
    async fn tell_all(&mut self, outgoing: &mut outside::Session, more: bool) -> Result<(), End> {
        self.gathers_until = None;
        if !self.batches {
            return Ok(());
        }
        let mut told = more;
        while let Some(next) = outgoing.ready() {
            self.tell(None, next).await?;
            told = true;
        }
        let gather = Duration::from_millis(self.owner.shared.config.session_gather_ms);
        if told && !gather.is_zero() {
            let now = Instant::now();
            let often = self.told_at.is_some_and(|at| now.saturating_duration_since(at) < gather * OFTEN);
            // What comes once in a while costs no timer.
            self.gathers_until = often.then(|| now.checked_add(gather)).flatten();
            self.told_at = Some(now);
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
                self.send_replies(&replies).await
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
    fn accept(&mut self, text: &str) -> Vec<Done> {
        if !text.trim_ascii_start().starts_with('[') {
            return self.read(text).into_iter().collect();
        }
        self.batches = true;
        if let Ok(frames) = serde_json::from_str::<Vec<Incoming>>(text) {
            return frames.into_iter().filter_map(|frame| self.begin(frame)).collect();
        }
        // One frame that is not understood does not keep the others from being carried out.
        match json::read::<Vec<Box<RawValue>>>(text.as_bytes(), "") {
            Ok(frames) => frames.iter().filter_map(|frame| self.read(frame.get())).collect(),
            Err(problem) => vec![(String::new(), problem::reply(problem, None))],
        }
    }

    fn read(&mut self, text: &str) -> Option<Done> {
        match json::read(text.as_bytes(), "") {
            Ok(frame) => self.begin(frame),
            Err(problem) => Some((String::new(), problem::reply(problem, None))),
        }
    }

    fn begin(&mut self, frame: Incoming) -> Option<Done> {
        if frame.subscribe.is_some() || frame.unsubscribe.is_some() {
            let (id, done) = self.subscription(frame);
            return Some((id, done.map_or_else(|problem| problem::reply(problem, None), |()| Reply::empty(204))));
        }
        match self.work(frame) {
            Ok(work) => {
                self.under_way.push(work);
                None
            }
            Err((id, problem)) => Some((id, problem::reply(problem, None))),
        }
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
    fn work(&self, frame: Incoming) -> Result<Work, (String, Problem)> {
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
            } => Ok(self.owner.answer(id, data)),
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
                Ok(self.owner.call(id, Asked { method, target: path, body, lease_token, if_match, idempotency_key }))
            }
            Incoming { answer, call, .. } => {
                let id = call.or(answer.map(|id| format!("answer:{id}"))).unwrap_or_default();
                Err((id, not_a_frame()))
            }
        }
    }
}

/// What comes out beside replies.
enum Next {
    Outgoing(Outgoing),
    /// News has gathered for long enough, or something came that does not wait.
    Gathered,
    /// Nothing comes any more.
    End,
}

async fn next(outgoing: &mut outside::Session, gathers_until: Option<Instant>) -> Next {
    match gathers_until {
        None => outgoing.next().await.map_or(Next::End, Next::Outgoing),
        Some(until) => {
            // Either way the news is told; what ends the session is found out after it.
            let _ = timeout_at(until, outgoing.pressing()).await;
            Next::Gathered
        }
    }
}
