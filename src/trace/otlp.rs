//! Traces as OpenTelemetry knows them: OTLP 1 in its JSON form (`opentelemetry-proto`, "JSON Protobuf Encoding").
//!
//! All that one message from outside led to is a trace; an event in it is a span whose parent is the turn that caused
//! it, with links to whatever else led to it. A span is a moment: deliveries have no length. The ids follow from the
//! events' ids and the recording's beginning, so that the same recording gives the same spans, and two recordings never
//! the same.
//!
//! | attribute | is |
//! |---|---|
//! | `twinway.event` | the event's id, as in the recording |
//! | `twinway.flow.clause`, `twinway.flow.step` | the step that it is: the clause that numbers it, and the number |
//! | `twinway.message`, `twinway.refused` | the type of the message, and whether it is the refusal of a question |
//! | `twinway.from`, `messaging.destination.name` | who sent, and who handled it |
//!
//! Events come in the order in which actors handed them over, so an effect can come before its cause. [`Spans`] waits
//! for [`WINDOW_EVENTS`] further events before it says whose trace an event is in, and remembers [`EVENTS_KEPT`] of them:
//! its memory does not grow with the recording.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
};

use serde::Serialize;
use twinway_protocol::{
    EventId,
    flow::{OWN, REFUSED},
    time::Timestamp,
    trace::TraceEvent,
};

use super::entity;

/// For how many further events an event waits until its cause is looked for.
pub const WINDOW_EVENTS: usize = 1 << 14;
/// Of how many events it is known whose trace they are in. What was caused by an older one begins a trace by itself, which has
/// the older one's id.
pub const EVENTS_KEPT: usize = 1 << 17;
/// How many other causes of an event are told; of more it is told how many were left out.
pub const LINKS_MAX: usize = 128;
/// How many spans one request has.
pub const BATCH_SPANS_MAX: usize = 512;
/// After how many bytes a request is closed although it has fewer.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// `SPAN_KIND_INTERNAL` of `opentelemetry/proto/trace/v1/trace.proto`.
const INTERNAL: u8 = 1;
/// `SPAN_KIND_CONSUMER`: whoever handles a message.
const CONSUMER: u8 = 5;

/// An event on its way to be a span.
#[derive(Clone, Debug)]
pub struct Spanned {
    /// Its id.
    pub event: EventId,
    /// What caused it, first of all.
    pub cause: EventId,
    /// What else led to it.
    pub joined: Box<[EventId]>,
    /// Who sent it, such as `Dts/0`.
    pub from: Box<str>,
    /// Who handled it.
    pub to: Box<str>,
    /// The step that it is: clause and number.
    pub step: Option<(Cow<'static, str>, Cow<'static, str>)>,
    /// The message, as traces name it.
    pub name: Cow<'static, str>,
    /// Nanoseconds since the recording began.
    pub at_ns: u64,
    /// Where it stands, for who tells of mistakes.
    pub place: u64,
}

impl From<&TraceEvent> for Spanned {
    fn from(traced: &TraceEvent) -> Self {
        Self {
            event: traced.event,
            cause: traced.cause,
            joined: traced.joined.clone(),
            from: entity(traced.from).into(),
            to: entity(traced.to).into(),
            step: traced.step.map(|step| (step.flow.into(), step.number.into())),
            name: traced.name.into(),
            at_ns: traced.at_ns,
            place: 0,
        }
    }
}

/// Why an event cannot be a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Its causes lead back to it.
    #[error("event {0:?} is among its own causes")]
    Loop(EventId),
    /// There was one with the same id.
    #[error("event {0:?} is there twice")]
    Twice(EventId),
}

/// What is known of an event.
#[derive(Clone, Copy, Debug)]
enum Known {
    Cause(EventId),
    /// The event that its trace began with.
    Root(EventId),
}

/// Makes spans of events, and batches of spans. See the [module](self).
#[derive(Debug)]
pub struct Spans {
    /// Two recordings differ in it.
    seed: u64,
    begun_ns: u64,
    begun: Timestamp,
    known: HashMap<EventId, Known>,
    /// Those known, the oldest first.
    order: VecDeque<EventId>,
    window: VecDeque<Spanned>,
    window_max: usize,
    kept_max: usize,
    batch: Batch,
}

/// Spans that are written down but not handed over yet.
#[derive(Debug, Default)]
struct Batch {
    body: Vec<u8>,
    spans: usize,
}

/// A request to a collector: `ExportTraceServiceRequest` in JSON.
#[derive(Debug)]
pub struct Request {
    /// The document, in one line.
    pub body: Vec<u8>,
    /// How many spans it has.
    pub spans: usize,
}

impl Spans {
    /// Spans of a recording that began at `begun`.
    #[must_use]
    pub fn new(begun: Timestamp) -> Self {
        Self::bounded(begun, WINDOW_EVENTS, EVENTS_KEPT)
    }

    fn bounded(begun: Timestamp, window_max: usize, kept_max: usize) -> Self {
        Self {
            seed: mixed(begun.unix_ms()),
            begun_ns: begun.unix_ms().saturating_mul(1_000_000),
            begun,
            known: HashMap::new(),
            order: VecDeque::new(),
            window: VecDeque::new(),
            window_max,
            kept_max: kept_max.max(window_max + 1),
            batch: Batch::default(),
        }
    }

    /// Takes an event; gives a request when one is full.
    ///
    /// # Errors
    /// The event is there twice, or one before it is among its own causes: with where that one stands. The event is left
    /// out then.
    pub fn push(&mut self, event: Spanned) -> Result<Option<Request>, (SpanError, u64)> {
        if self.known.contains_key(&event.event) {
            return Err((SpanError::Twice(event.event), event.place));
        }
        let known = if event.cause == EventId::NONE { Known::Root(event.event) } else { Known::Cause(event.cause) };
        self.known.insert(event.event, known);
        self.order.push_back(event.event);
        if self.order.len() > self.kept_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.window.push_back(event);
        if self.window.len() > self.window_max { self.settle_one() } else { Ok(None) }
    }

    /// Makes a span of the oldest event that waits, whatever may come yet: a full request, if that made one.
    ///
    /// # Errors
    /// The event is among its own causes, and left out.
    pub fn settle_one(&mut self) -> Result<Option<Request>, (SpanError, u64)> {
        let Some(event) = self.window.pop_front() else { return Ok(None) };
        let Some(trace) = self.root(event.event) else {
            return Err((SpanError::Loop(event.event), event.place));
        };
        self.write(&event, trace);
        let full = self.batch.spans >= BATCH_SPANS_MAX || self.batch.body.len() >= BATCH_BYTES_MAX;
        Ok(if full { self.take_request() } else { None })
    }

    /// How many events wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.window.len()
    }

    /// What is ready, if anything is.
    pub fn take_request(&mut self) -> Option<Request> {
        let Batch { mut body, spans } = std::mem::take(&mut self.batch);
        if spans == 0 {
            return None;
        }
        body.extend_from_slice(b"]}]}]}");
        Some(Request { body, spans })
    }

    /// The event that the trace of this one began with; none: its causes are a loop.
    fn root(&mut self, event: EventId) -> Option<EventId> {
        let (mut path, mut at) = (Vec::new(), event);
        let root = loop {
            match self.known.get(&at) {
                Some(Known::Root(root)) => break *root,
                Some(Known::Cause(cause)) => {
                    path.push(at);
                    at = *cause;
                    // Longer than all that is known: something is in it twice.
                    if path.len() > self.known.len() {
                        return None;
                    }
                }
                None => break at,
            }
        };
        for passed in path {
            self.known.insert(passed, Known::Root(root));
        }
        Some(root)
    }

    fn write(&mut self, event: &Spanned, trace: EventId) {
        let links: Vec<Link> = event
            .joined
            .iter()
            .take(LINKS_MAX)
            .map(|other| {
                let trace = self.root(*other).unwrap_or(*other);
                Link { trace_id: self.trace_id(trace), span_id: self.span_id(*other) }
            })
            .collect();
        let at = self.begun_ns.saturating_add(event.at_ns).to_string();
        let own = event.name == OWN;
        let span = Span {
            trace_id: self.trace_id(trace),
            span_id: self.span_id(event.event),
            parent_span_id: (event.cause != EventId::NONE).then(|| self.span_id(event.cause)),
            name: name(event),
            kind: if own { INTERNAL } else { CONSUMER },
            start_time_unix_nano: &at,
            end_time_unix_nano: &at,
            attributes: attributes(event, own),
            links,
            dropped_links_count: event.joined.len().saturating_sub(LINKS_MAX),
        };
        let before = self.batch.body.len();
        if self.batch.spans == 0 {
            self.batch.body = head(self.begun);
        } else {
            self.batch.body.push(b',');
        }
        // Writing plain data into memory does not fail; if it did, the span would be missing and nothing else.
        match serde_json::to_writer(&mut self.batch.body, &span) {
            Ok(()) => self.batch.spans += 1,
            Err(_) => self.batch.body.truncate(before),
        }
    }

    /// 16 bytes: the recording, and the event that the trace began with. Its last 7 bytes are as good as chance, as
    /// W3C Trace Context wants it of ids by which is sampled.
    fn trace_id(&self, root: EventId) -> String {
        format!("{:016x}{}", self.seed, self.span_id(root))
    }

    /// 8 bytes, never all zero: of one recording no two events have the same.
    fn span_id(&self, event: EventId) -> String {
        let id = mixed(event.to_bits() ^ self.seed);
        // One event of 2^64 would have the id that means none.
        format!("{:016x}", if id == 0 { self.seed | 1 } else { id })
    }
}

/// Spreads a number over all 64 bits, and no two to the same (SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn name(event: &Spanned) -> String {
    let message = event.name.strip_suffix(REFUSED).unwrap_or(&event.name);
    match &event.step {
        Some((flow, step)) => format!("{flow} step {step} {message}"),
        None => message.to_owned(),
    }
}

fn attributes(event: &Spanned, own: bool) -> Vec<Attribute<'_>> {
    let text = |key, text: &'_ str| Attribute { key, value: Value::String(text.to_owned().into()) };
    let mut attributes = vec![text("twinway.event", &format!("{:?}", event.event))];
    if let Some((flow, step)) = &event.step {
        attributes.push(text("twinway.flow.clause", flow));
        attributes.push(text("twinway.flow.step", step));
    }
    let message = event.name.strip_suffix(REFUSED);
    attributes.push(text("twinway.message", message.unwrap_or(&event.name)));
    if message.is_some() {
        attributes.push(Attribute { key: "twinway.refused", value: Value::Bool(true) });
    }
    attributes.push(text("twinway.from", &event.from));
    if own {
        attributes.push(text("twinway.to", &event.to));
    } else {
        attributes.push(text("messaging.system", "twinway"));
        attributes.push(text("messaging.operation.type", "process"));
        attributes.push(text("messaging.destination.name", &event.to));
    }
    attributes
}

/// All of a request before its first span.
fn head(begun: Timestamp) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let begun = begun.to_string();
    let attribute = |key, value: &str| {
        let text = serde_json::Value::from(value);
        format!("{{\"key\":\"{key}\",\"value\":{{\"stringValue\":{text}}}}}")
    };
    let resource = [
        attribute("service.name", "twinway"),
        attribute("service.version", version),
        attribute("twinway.recording.begun", &begun),
    ];
    let resource = resource.join(",");
    format!(
        "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{resource}]}},\"scopeSpans\":[{{\"scope\":{{\"name\":\
         \"twinway\",\"version\":\"{version}\"}},\"spans\":["
    )
    .into_bytes()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Span<'e> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: String,
    kind: u8,
    start_time_unix_nano: &'e str,
    end_time_unix_nano: &'e str,
    attributes: Vec<Attribute<'e>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_links_count: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    trace_id: String,
    span_id: String,
}

#[derive(Serialize)]
struct Attribute<'e> {
    key: &'static str,
    value: Value<'e>,
}

#[derive(Serialize)]
enum Value<'e> {
    #[serde(rename = "stringValue")]
    String(Cow<'e, str>),
    #[serde(rename = "boolValue")]
    Bool(bool),
}

#[cfg(test)]
mod tests {
    use twinway_protocol::{EventId, time::Timestamp};

    use super::{SpanError, Spanned, Spans};

    fn event(actor: u32, count: u64, cause: EventId) -> Spanned {
        Spanned {
            event: EventId::new(actor, count),
            cause,
            joined: Box::default(),
            from: "Dts/0".into(),
            to: "Dtac/0".into(),
            step: None,
            name: "VerifyChange".into(),
            at_ns: 0,
            place: 7,
        }
    }

    fn spans(mut spans: Spans, events: &[Spanned]) -> Vec<serde_json::Value> {
        events.iter().for_each(|event| drop(spans.push(event.clone()).expect("it is sound")));
        while spans.waiting() > 0 {
            spans.settle_one().expect("it is sound");
        }
        let request = spans.take_request().expect("there are some");
        let document: serde_json::Value = serde_json::from_slice(&request.body).expect("it is JSON");
        document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("a list").clone()
    }

    #[test]
    fn an_effect_that_comes_before_its_cause_is_in_the_trace_of_the_cause() {
        let (first, second) = (EventId::new(1, 1), EventId::new(2, 1));
        let events = [event(3, 1, second), event(2, 1, first), event(1, 1, EventId::NONE)];
        let made = spans(Spans::new(Timestamp::from_unix_ms(5)), &events);
        assert!(made.iter().all(|span| span["traceId"] == made[0]["traceId"]), "{made:?}");
        assert_eq!(made[0]["parentSpanId"], made[1]["spanId"]);
        assert_eq!(made[2].get("parentSpanId"), None);
    }

    #[test]
    fn the_same_recording_gives_the_same_ids_and_another_other_ones() {
        let made = |begun| spans(Spans::new(Timestamp::from_unix_ms(begun)), &[event(1, 1, EventId::NONE)]);
        assert_eq!(made(1), made(1));
        assert_ne!(made(1)[0]["traceId"], made(2)[0]["traceId"]);
        assert_ne!(made(1)[0]["spanId"], made(2)[0]["spanId"]);
    }

    #[test]
    fn a_loop_and_an_event_that_is_there_twice_are_told_with_their_places() {
        let (first, second) = (EventId::new(1, 1), EventId::new(2, 1));
        let mut looped = Spans::new(Timestamp::default());
        looped.push(event(1, 1, second)).expect("nothing is known yet");
        looped.push(event(2, 1, first)).expect("it is not looked at yet");
        assert_eq!(looped.settle_one().expect_err("a loop"), (SpanError::Loop(first), 7));
        let twice = looped.push(event(2, 1, first)).expect_err("it was there");
        assert_eq!(twice, (SpanError::Twice(second), 7));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_children_of_what_is_forgotten_stay_together() {
        let mut spans = Spans::bounded(Timestamp::default(), 4, 16);
        let old = EventId::new(9, 9);
        for count in 1..=10_000 {
            spans.push(event(1, count, if count > 9_998 { old } else { EventId::NONE })).expect("it is sound");
            assert!(spans.known.len() <= 16 && spans.order.len() <= 16 && spans.window.len() <= 4);
        }
        let [one, other] = [9_999, 10_000].map(|count| spans.root(EventId::new(1, count)));
        assert_eq!((one, other), (Some(old), Some(old)));
    }
}
