//! WebSocket sessions: requests and events go out, answers and calls come in.
//!
//! A frame is one answer or call, or an array of them. All that is under way runs at once, and each reply names its
//! call. Whoever sends arrays gets arrays: replies and news that are ready together come together.

use std::{
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, rt, web};
use actix_ws::{AggregatedMessage, CloseCode, ProtocolError};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use serde_json::value::RawValue;
use tokio::time::{Instant, Sleep, sleep_until};
use twinway_protocol::{Problem, ProblemKind};

use super::{
    Shared,
    call::{Call, Reply},
    frame::{self, Incoming, Said, not_a_frame},
    json,
    limits::Slot,
    problem,
    sending::{End, Frames, end},
    sse,
    subscriptions::Subscriptions,
    under_way::{self, Done, Owner, Work},
};
use crate::outside::{self, Outgoing, SystemKind};

const SUBPROTOCOL: &str = "twinway.v1.json";
/// News that comes before this many times `session_gather_ms` are over comes often enough to gather.
const OFTEN: u32 = 4;
/// Closed, since a newer session of the same system has come.
const REPLACED: u16 = 4001;

struct Session {
    owner: Rc<Owner>,
    frames: Frames,
    /// Calls and answers under way, each giving its reply.
    under_way: FuturesUnordered<Work>,
    subscriptions: Subscriptions,
    heard: Instant,
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
    let silence = Duration::from_millis(shared.config.session_silence_ms_max);
    let session = Session {
        owner: Rc::new(owner),
        frames: Frames::new(socket, silence),
        under_way: FuturesUnordered::new(),
        subscriptions: Subscriptions::default(),
        heard: Instant::now(),
        gathers_until: None,
        told_at: None,
        _place: places,
    };
    rt::spawn(session.run(outgoing, messages));
    Ok(response)
}

impl Session {
    async fn run(mut self, mut outgoing: outside::Session, mut messages: actix_ws::AggregatedMessageStream) {
        let shared = Arc::clone(&self.owner.shared);
        let mut beat = sse::heartbeat(&shared);
        let mut stopping = shared.stopping.subscribe();
        let mut stopped = pin!(stopping.wait_for(|stopping| *stopping));
        let calls_max = shared.config.session_calls_max.max(1);
        // One timer for all that gathers: it is set far more often than it ends.
        let mut gathers = pin!(sleep_until(self.heard));
        let why = loop {
            // Beyond twice the limit nothing is read: the client is told by its full socket.
            let reads = self.under_way.len() < calls_max * 2;
            let gathering = self.gathers_until;
            if let Some(until) = gathering.filter(|until| *until != gathers.deadline()) {
                gathers.as_mut().reset(until);
            }
            let gathering = gathering.map(|_| gathers.as_mut());
            let step = tokio::select! {
                biased;
                _ = &mut stopped => Err(end(CloseCode::Away, "the daemon is shutting down")),
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => match self.reply(done).await {
                    // News goes with it, in the same write.
                    Ok(()) => self.tell_all(&mut outgoing, true).await,
                    failed => failed,
                },
                message = messages.recv(), if reads => self.hear(message).await,
                next = next(&mut outgoing, gathering) => match next {
                    Next::Gathered => self.tell_all(&mut outgoing, false).await,
                    Next::Outgoing(next) => match self.tell(None, &next).await {
                        Ok(()) => self.tell_all(&mut outgoing, true).await,
                        failed => failed,
                    }
                    Next::End if outgoing.replaced() => Err(end(CloseCode::Other(REPLACED), "a newer session has taken its place")),
                    Next::End => Err(end(CloseCode::Away, "the daemon is shutting down")),
                },
                Some((id, next)) = self.subscriptions.next(), if !self.subscriptions.is_empty() => self.tell(Some(&id), &next).await,
                _ = beat.tick() => self.beat().await,
            };
            let step = match step {
                Ok(()) => self.frames.flush().await,
                failed => failed,
            };
            if let Err(why) = step {
                break why;
            }
        };
        self.frames.close(why).await;
    }

    /// Sends a reply, and with it, to a client that sends arrays, all others that are ready.
    async fn reply(&mut self, done: Done) -> Result<(), End> {
        self.send_reply(done).await?;
        while self.frames.are_arrays()
            && let Some(Some(done)) = self.under_way.next().now_or_never()
        {
            self.send_reply(done).await?;
        }
        Ok(())
    }

    async fn send_reply(&mut self, (id, reply): Done) -> Result<(), End> {
        let write = |into: &mut String| {
            frame::write_reply(into, &id, &reply);
            Ok(())
        };
        self.frames.add(write).await
    }

    /// Tells a client that sends arrays all that is there. If that is anything, or `more` has just been sent, and the last
    /// time was a moment ago, nothing is told for a moment: news gathers, and leaves with what comes next in one write.
    async fn tell_all(&mut self, outgoing: &mut outside::Session, more: bool) -> Result<(), End> {
        self.gathers_until = None;
        if !self.frames.are_arrays() {
            return Ok(());
        }
        let mut told = more;
        while let Some(next) = outgoing.ready() {
            self.tell(None, &next).await?;
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

    async fn tell(&mut self, subscription: Option<&str>, outgoing: &Outgoing) -> Result<(), End> {
        let system = &self.owner.system;
        self.frames.add(|into| frame::write_outgoing(into, system, subscription, outgoing)).await
    }

    async fn beat(&mut self) -> Result<(), End> {
        if self.heard.elapsed() > Duration::from_millis(self.owner.shared.config.session_silence_ms_max) {
            return Err(end(CloseCode::Policy, "nothing was heard of the client"));
        }
        self.frames.ping().await
    }

    async fn hear(&mut self, message: Option<Result<AggregatedMessage, ProtocolError>>) -> Result<(), End> {
        self.heard = Instant::now();
        match message {
            Some(Ok(AggregatedMessage::Text(text))) => {
                for done in self.accept(&text, text.as_bytes()) {
                    self.send_reply(done).await?;
                }
                Ok(())
            }
            Some(Ok(AggregatedMessage::Ping(bytes))) => self.frames.pong(&bytes).await,
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

    /// Begins what a frame asks for; gives the replies that are there at once. `bytes` are those of `text`: what is carried
    /// on of it is a piece of them.
    fn accept(&mut self, text: &str, bytes: &Bytes) -> Vec<Done> {
        if !text.trim_ascii_start().starts_with('[') {
            return self.read(text, bytes).into_iter().collect();
        }
        self.frames.use_arrays();
        if let Ok(frames) = serde_json::from_str::<Vec<Incoming<'_>>>(text) {
            return frames.into_iter().filter_map(|frame| self.begin(frame, bytes)).collect();
        }
        // One frame that is not understood does not keep the others from being carried out.
        match json::read::<Vec<&RawValue>>(text.as_bytes(), "") {
            Ok(frames) => frames.iter().filter_map(|frame| self.read(frame.get(), bytes)).collect(),
            Err(problem) => vec![(String::new(), problem::reply(problem, None))],
        }
    }

    fn read(&mut self, text: &str, bytes: &Bytes) -> Option<Done> {
        match json::read(text.as_bytes(), "") {
            Ok(frame) => self.begin(frame, bytes),
            Err(problem) => Some((String::new(), problem::reply(problem, None))),
        }
    }

    /// Begins what a frame asks for; gives the reply that is there at once.
    fn begin(&mut self, frame: Incoming<'_>, bytes: &Bytes) -> Option<Done> {
        let (id, done) = match frame.read() {
            Ok(Said::Answer(id, data)) => {
                let data = bytes.slice_ref(data.get().as_bytes());
                self.under_way.push(under_way::answer(&self.owner, id, data));
                return None;
            }
            Ok(Said::Call(id, asked)) => {
                let max = self.owner.shared.config.session_calls_max.max(1);
                // Answers end what began before: they pass where new calls are refused.
                if self.under_way.len() < max {
                    self.under_way.push(under_way::call(&self.owner, id, asked, bytes));
                    return None;
                }
                (id, Err(Problem::new(ProblemKind::LimitReached, format!("`session_calls_max` is {max}"))))
            }
            // A subscription begins at once, so that its first event comes after the reply.
            Ok(Said::Subscribe(id, wanted, after)) => {
                let reply = frame::reply_to_subscribe(&id);
                let of = (self.owner.kind, &self.owner.system);
                let shared = &self.owner.shared;
                (reply, self.admit().and_then(|()| self.subscriptions.subscribe(shared, of, id, wanted, after)))
            }
            Ok(Said::Unsubscribe(id)) => {
                let reply = frame::reply_to_unsubscribe(&id);
                (reply, self.admit().and_then(|()| self.subscriptions.unsubscribe(&id)))
            }
            Err(id) => (id, Err(not_a_frame())),
        };
        Some((id, done.map_or_else(|problem| problem::reply(problem, None), |()| Reply::empty(204))))
    }

    /// Takes one request out of what the token may ask.
    fn admit(&self) -> Result<(), Problem> {
        self.owner.shared.take_rate(&self.owner.known, std::time::Instant::now())
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

async fn next(outgoing: &mut outside::Session, gathering: Option<Pin<&mut Sleep>>) -> Next {
    match gathering {
        None => outgoing.next().await.map_or(Next::End, Next::Outgoing),
        Some(over) => {
            // Either way the news is told; what ends the session is found out after it.
            tokio::select! {
                () = outgoing.pressing() => {}
                () = over => {}
            }
            Next::Gathered
        }
    }
}
