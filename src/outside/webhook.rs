//! Calls external systems back: requests at once, events one after the other.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, Response, StatusCode, Url, header::CONTENT_TYPE, redirect::Policy};
use serde::Serialize;
use tokio::{runtime::Handle, sync::Semaphore};
use twinway_protocol::{
    PendingKey, Problem, ProblemKind,
    message::{AnswerRequest, OutsideAnswer, OutsideRequest},
    registry::Reach,
};

use super::{
    Hub, Outgoing, OutsideLimits, envelope,
    gap::Gap,
    hub::wall,
    sessions::{Asked, System},
};

/// The longest URL of a webhook, in bytes.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2_048;
/// The largest answer that a webhook may give, in bytes.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// The header by which a system knows that it is asked the same again (draft-ietf-httpapi-idempotency-key-header).
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How much of a failure's body is shown, in bytes.
const FAILURE_BYTES_SHOWN: usize = 512;
/// How often an event is sent again.
const EVENT_RETRIES: u32 = 3;
/// Each pause before sending again is this many times the one before.
const BACKOFF_FACTOR: u32 = 4;

/// What webhooks are called with.
#[derive(Debug)]
pub(super) struct Webhooks {
    pub(super) runtime: Handle,
    pub(super) client: Client,
    /// One permit a call that is under way.
    pub(super) calls: Arc<Semaphore>,
    /// One permit a request that is under way or waits for a call to end.
    pub(super) requests: Arc<Semaphore>,
}

/// A request as it goes to an external system: `request` is its id, `type` and `data` say what is asked.
#[derive(Debug, Serialize)]
pub struct RequestFrame<'a> {
    request: String,
    #[serde(flatten)]
    body: &'a OutsideRequest,
}

impl<'a> RequestFrame<'a> {
    /// The frame of a request.
    #[must_use]
    pub fn new(request: PendingKey, body: &'a OutsideRequest) -> Self {
        Self { request: request.to_bits().to_string(), body }
    }
}

/// Checks that a system can be reached this way at all.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`] when the URL of a webhook is not one that this build can call.
pub fn check_reach(reach: &Reach) -> Result<(), Problem> {
    let Reach::Webhook(url) = reach else { return Ok(()) };
    let problem = |detail: String| Err(Problem::new(ProblemKind::InvalidDocument, detail));
    if url.len() > WEBHOOK_URL_BYTES_MAX {
        return problem(format!("a webhook's URL has at most {WEBHOOK_URL_BYTES_MAX} bytes"));
    }
    match Url::parse(url) {
        Ok(parsed) if parsed.scheme() == "http" && parsed.has_host() => Ok(()),
        Ok(parsed) if parsed.scheme() == "https" => {
            problem("this build has no TLS and cannot call an `https` webhook; use `http`, or a session".into())
        }
        Ok(parsed) => problem(format!("a webhook's URL begins with `http://`, not with `{}:`", parsed.scheme())),
        Err(error) => problem(format!("a webhook needs an absolute `http` URL: {error}")),
    }
}

impl Webhooks {
    pub(super) fn new(runtime: &Handle, limits: &OutsideLimits) -> Result<Self, Problem> {
        // A webhook is called where it was registered and nowhere else: no redirects, no proxy of the environment.
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(Duration::from_millis(limits.webhook_answer_ms_max))
            .user_agent(concat!("twinway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Problem::new(ProblemKind::Internal, format!("no HTTP client: {error}")))?;
        let permits = |n: usize| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS)));
        let (calls, requests) = (permits(limits.webhook_calls_max), permits(limits.webhook_queue_max));
        Ok(Self { runtime: runtime.clone(), client, calls, requests })
    }

    async fn request(&self, hub: &Hub, system: &System, url: &str, asked: &Asked) -> Result<(), Problem> {
        check_reach(&Reach::Webhook(url.to_owned())).map_err(|p| unreachable(p.detail))?;
        let Ok(_call) = self.calls.acquire().await else { return Err(unreachable("webhooks have ended")) };
        let left = hub.limits.answer_within().saturating_sub(asked.since.elapsed());
        if left.is_zero() {
            // Its actor has told the asker that no answer came: it is not to be carried out now.
            return Ok(());
        }
        let within = left.min(Duration::from_millis(hub.limits.webhook_answer_ms_max));
        let frame = RequestFrame::new(asked.request, &asked.body);
        let mut call = self.client.post(url).header("Twinway-Request", &frame.request).timeout(within).json(&frame);
        if let OutsideRequest::ExecuteService(question) = &*asked.body
            && let Some(key) = &question.idempotency_key
        {
            call = call.header(IDEMPOTENCY_KEY, &**key);
        }
        let response = call.send().await.map_err(|error| failure(&error, within))?;
        match response.status() {
            StatusCode::ACCEPTED => Ok(()),
            StatusCode::OK => {
                let body = read(response, WEBHOOK_ANSWER_BYTES_MAX).await.map_err(|error| failure(&error, within))?;
                if body.len() > WEBHOOK_ANSWER_BYTES_MAX {
                    return Err(failed(format!("its answer has more than {WEBHOOK_ANSWER_BYTES_MAX} bytes")));
                }
                let answer: OutsideAnswer = serde_json::from_slice(&body)
                    .map_err(|error| failed(format!("its webhook's answer is not one: {error}")))?;
                hand_in(hub, system, asked.request, answer).await
            }
            status => {
                let body = read(response, FAILURE_BYTES_SHOWN).await.unwrap_or_default();
                let shown = body.get(..FAILURE_BYTES_SHOWN).unwrap_or(&body);
                let said = String::from_utf8_lossy(shown);
                Err(failed(format!("its webhook answered {status}: {said}")))
            }
        }
    }

    /// Sends an event, and again when it fails. Whether it arrived.
    async fn event(&self, hub: &Hub, url: &str, envelope: String) -> bool {
        let body = bytes::Bytes::from(envelope);
        let mut pause = Duration::from_millis(hub.limits.webhook_backoff_ms);
        for retries_left in (0..=EVENT_RETRIES).rev() {
            let sent = {
                let Ok(_call) = self.calls.acquire().await else { return false };
                let call = self.client.post(url).header(CONTENT_TYPE, "application/cloudevents+json");
                call.body(body.clone()).send().await
            };
            if sent.is_ok_and(|response| response.status().is_success()) {
                return true;
            }
            if hub.is_closed() {
                return false;
            }
            if retries_left > 0 {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(BACKOFF_FACTOR);
            }
        }
        false
    }
}

impl Hub {
    /// Sends a request to the system's webhook; it is counted in the system's calls already.
    pub(super) fn call_webhook(self: &Arc<Self>, system: &Arc<System>, url: String, asked: Asked) {
        let refuse = |problem| {
            system.state.lock().calls -= 1;
            self.undelivered(system.entity, asked.request, problem, false);
        };
        let Some(webhooks) = self.webhooks.get() else { return refuse(unreachable("webhooks are not started")) };
        let Ok(permit) = Arc::clone(&webhooks.requests).try_acquire_owned() else {
            let max = self.limits.webhook_queue_max;
            return refuse(Problem::new(ProblemKind::Overloaded, format!("webhook_queue_max ({max}) is used up")));
        };
        let (hub, system) = (Arc::clone(self), Arc::clone(system));
        webhooks.runtime.spawn(async move {
            let Some(webhooks) = hub.webhooks.get() else { return };
            let sent = webhooks.request(&hub, &system, &url, &asked).await;
            drop(permit);
            system.state.lock().calls -= 1;
            if let Err(problem) = sent {
                // Without a connection nothing was sent. Whatever else went wrong, the system may have read the request.
                let handed_out = problem.kind != ProblemKind::OutsideUnreachable;
                hub.undelivered(system.entity, asked.request, problem, handed_out);
            }
        });
    }

    /// Has the system's webhook told what it was not told yet, unless that is under way.
    pub(super) fn tell_webhook(self: &Arc<Self>, system: &Arc<System>) {
        let Some(webhooks) = self.webhooks.get() else { return };
        {
            let mut state = system.state.lock();
            if state.telling || state.untold_url().is_none() {
                return;
            }
            state.telling = true;
        }
        let (hub, system) = (Arc::clone(self), Arc::clone(system));
        webhooks.runtime.spawn(async move {
            if let Some(webhooks) = hub.webhooks.get() {
                while webhooks.tell_next(&hub, &system).await {}
            }
        });
    }
}

impl Webhooks {
    /// Tells the next event. `false`: there is none, or it is not for the webhook any more.
    async fn tell_next(&self, hub: &Hub, system: &System) -> bool {
        let (url, before, after, outgoing) = {
            let mut state = system.state.lock();
            let before = state.told.clone();
            let mut after = before.clone();
            let next = state.untold_url().filter(|_| !hub.is_closed()).zip(state.ring.read(&mut after, |_| true));
            let Some((url, outgoing)) = next else {
                state.telling = false;
                return false;
            };
            (url, before, after, outgoing)
        };
        let (arrived, missed) = match &outgoing {
            Outgoing::Event { number, event, .. } => {
                let mut text = String::new();
                envelope::write_event(&mut text, event, &system.id, *number, 0);
                (self.event(hub, &url, text).await, Some(Gap::of(*number, event)))
            }
            Outgoing::Gap(gap) => {
                let text = envelope::gap(&system.id, after.next, gap, wall());
                (self.event(hub, &url, text).await, Some(gap.clone()))
            }
            Outgoing::Request { .. } => (true, None),
        };
        let mut state = system.state.lock();
        // A session may have opened meanwhile and have told it: then it goes on from there.
        if state.told == before {
            state.told = after;
            if !arrived {
                state.told.gap = missed.map(Box::new);
            }
        }
        true
    }
}

pub(super) async fn hand_in(
    hub: &Hub,
    system: &System,
    request: PendingKey,
    answer: OutsideAnswer,
) -> Result<(), Problem> {
    let Some(actors) = hub.actors.read().clone() else { return Err(unreachable("no actors are there")) };
    let message = AnswerRequest { request, answer: Box::new(answer) };
    match actors.answer(system.entity, message, hub.limits.answer_within()).await {
        Ok(()) => Ok(()),
        // Answered by other means, or given up: nobody waits.
        Err(problem) if problem.kind == ProblemKind::RequestUnknown => Ok(()),
        // The request still waits, but the webhook will not answer again.
        Err(problem) if problem.kind == ProblemKind::AnswerMismatch => Err(failed(problem.detail)),
        Err(problem) => Err(problem),
    }
}

/// The body, or the first part of it, which has more than `max` bytes then.
pub(super) async fn read(mut response: Response, max: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > max {
            break;
        }
    }
    Ok(body)
}

fn failed(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::OutsideFailed, detail)
}

pub(super) fn unreachable(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::OutsideUnreachable, detail)
}

pub(super) fn failure(error: &reqwest::Error, within: Duration) -> Problem {
    if error.is_connect() {
        unreachable(format!("no connection to its webhook: {}", cause(error)))
    } else if error.is_timeout() {
        let detail = format!("its webhook did not answer within {} ms", within.as_millis());
        Problem::new(ProblemKind::OutsideTimeout, detail)
    } else {
        failed(format!("the call of its webhook broke off: {}", cause(error)))
    }
}

/// The innermost cause: the outer ones only repeat the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
