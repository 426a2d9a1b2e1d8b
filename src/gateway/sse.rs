//! Events as server-sent events (WHATWG HTML, 9.2).

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
};
use bytes::Bytes;
use futures_util::stream;
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};
use twinway_protocol::{Problem, ProblemKind, SystemId, signal::Event};

use super::{Shared, call::Call, event::Gap, limits::Slot};
use crate::outside::{CloudEvent, EventsFrom, Outgoing, Session, SystemKind};

/// A clock that ticks at once and then every `heartbeat_ms`.
pub(super) fn heartbeat(shared: &Shared) -> Interval {
    let mut beat = interval(Duration::from_millis(shared.config.heartbeat_ms.max(1)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// What a listener wants to hear.
struct Filter {
    /// Events of this type; with a `*` at its end, of all that begin so.
    kind: Option<String>,
    /// Events about this twin.
    twin: Option<String>,
}

impl Filter {
    fn passes(&self, event: &Event) -> bool {
        let kind = |wanted: &String| {
            let wanted = wanted.strip_prefix("io.twinway.").unwrap_or(wanted);
            wanted.strip_suffix('*').map_or(event.kind == wanted, |start| event.kind.starts_with(start))
        };
        let twin = |wanted: &String| event.twin.as_ref().is_some_and(|twin| twin.as_str() == wanted);
        self.kind.as_ref().is_none_or(kind) && self.twin.as_ref().is_none_or(twin)
    }
}

struct Open {
    system: SystemId,
    session: Session,
    filter: Filter,
    beat: Interval,
    stopping: watch::Receiver<bool>,
    _place: Slot,
}

/// Opens a stream of the events of the system that the caller acts for.
pub(super) async fn open(
    shared: &Arc<Shared>,
    call: &Call<'_>,
    kind: SystemKind,
    last_event: Option<&str>,
) -> Result<HttpResponse, Problem> {
    let from = match last_event.or(call.query.get("lastEventId")) {
        None => EventsFrom::Now,
        Some(number) => number.parse().map(EventsFrom::After).map_err(|_| {
            Problem::new(ProblemKind::InvalidQuery, format!("`{number}` is not the number of an event"))
        })?,
    };
    let place = shared.subscriptions.take()?;
    let session = match kind {
        SystemKind::Metaverse => call.mii()?.events(from).await?,
        SystemKind::DigitalTwin => call.dii()?.events(from).await?,
        SystemKind::ThirdParty => call.sii()?.events(from).await?,
        SystemKind::UserDevice => call.device()?.events(from).await?,
    };
    let open = Open {
        system: call.system()?,
        session,
        filter: Filter { kind: call.text("type"), twin: call.text("twin") },
        beat: heartbeat(shared),
        stopping: shared.stopping.subscribe(),
        _place: place,
    };
    let body = stream::unfold(open, |mut open| async move {
        let text = next(&mut open).await?;
        Some((Ok::<_, actix_web::Error>(Bytes::from(text)), open))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        // Proxies that collect answers before they pass them on would hold events back.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body))
}

async fn next(open: &mut Open) -> Option<String> {
    loop {
        tokio::select! {
            biased;
            _ = open.stopping.wait_for(|stopping| *stopping) => return None,
            outgoing = open.session.next() => {
                let outgoing = outgoing?;
                if matches!(&outgoing, Outgoing::Event { event, .. } if !open.filter.passes(event)) {
                    continue;
                }
                if let Some(text) = write(&open.system, outgoing) {
                    return Some(text);
                }
            }
            _ = open.beat.tick() => return Some(": alive\n\n".to_owned()),
        }
    }
}

/// One message of the stream; requests go to sessions and webhooks only.
fn write(system: &SystemId, outgoing: Outgoing) -> Option<String> {
    match outgoing {
        Outgoing::Request { .. } => None,
        Outgoing::Event { number, event } => {
            let cloud_event = CloudEvent::new(system, number, &event);
            let data = one_line(serde_json::to_string(&cloud_event).ok()?);
            Some(format!("id: {number}\nevent: io.twinway.{}\ndata: {data}\n\n", event.kind))
        }
        Outgoing::Gap { missed } => {
            Some(format!("event: gap\ndata: {}\n\n", serde_json::to_string(&Gap { missed }).ok()?))
        }
    }
}

/// A carried document may have line breaks, which would end the `data` line. Between JSON tokens a space is the
/// same, and within a JSON text they cannot stand unescaped.
fn one_line(text: String) -> String {
    if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use twinway_protocol::{JsonDoc, SystemId, signal::Event, time::Timestamp};

    use super::{Filter, Outgoing, write};

    #[test]
    fn a_document_with_line_breaks_stays_one_message() {
        let event = Event {
            kind: "twin.changed",
            subject: "t".to_owned(),
            twin: None,
            at: Timestamp::default(),
            data: JsonDoc::parse("{\r\n \"a\":\n\"b\\n\"}").expect("it is JSON"),
        };
        let outgoing = Outgoing::Event { number: 3, event: Arc::new(event) };
        let text = write(&SystemId::new("s").expect("a name"), outgoing).expect("it is written");
        let lines: Vec<_> = text.split('\n').collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[..2], ["id: 3", "event: io.twinway.twin.changed"]);
        let data: serde_json::Value = serde_json::from_str(lines[2].trim_start_matches("data: ")).expect("it is JSON");
        assert_eq!(data["data"]["a"], "b\n");
        assert_eq!(lines[3..], ["", ""]);
    }

    #[test]
    fn a_listener_hears_what_it_asked_for() {
        let event = Event {
            kind: "lease.granted",
            subject: "arm".to_owned(),
            twin: Some("arm".parse().expect("a name")),
            at: Timestamp::default(),
            data: JsonDoc::null(),
        };
        let passes = |kind: Option<&str>, twin: Option<&str>| {
            Filter { kind: kind.map(str::to_owned), twin: twin.map(str::to_owned) }.passes(&event)
        };
        assert!(passes(None, None) && passes(Some("*"), None) && passes(Some("lease.granted"), Some("arm")));
        assert!(passes(Some("lease.*"), None) && passes(Some("io.twinway.lease.*"), None));
        assert!(!passes(Some("lease"), None) && !passes(Some("twin.*"), None) && !passes(None, Some("belt")));
    }

    #[test]
    fn a_gap_is_told() {
        let text = write(&SystemId::new("s").expect("a name"), Outgoing::Gap { missed: 9 });
        assert_eq!(text.as_deref(), Some("event: gap\ndata: {\"missed\":9}\n\n"));
    }
}
