//! Events as server-sent events (WHATWG HTML, 9.2).

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};
use twinway_protocol::{Problem, ProblemKind, SystemId};

use super::{Shared, call::Call, limits::Slot};
use crate::outside::{EventsFrom, Outgoing, Session, SystemKind, Watch, WatchQuery, write_event};

/// A clock that ticks at once and then every `heartbeat_ms`.
pub(super) fn heartbeat(shared: &Shared) -> Interval {
    let mut beat = interval(Duration::from_millis(shared.config.heartbeat_ms.max(1)));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

struct Open {
    system: SystemId,
    session: Session,
    beat: Interval,
    stopping: watch::Receiver<bool>,
    _place: Slot,
}

/// What a listener wants, as the query says it.
fn wanted(call: &Call<'_>) -> Result<Watch, Problem> {
    let newest = match call.query.get("newest") {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(other) => {
            let detail = format!("`newest` is `true` or `false`, not `{other}`");
            return Err(Problem::new(ProblemKind::InvalidQuery, detail));
        }
    };
    Watch::read(WatchQuery {
        kind: call.text("type"),
        twin: call.text("twin"),
        property: call.text("property"),
        system: call.text("system"),
        filter: call.text("filter"),
        newest,
    })
}

/// Opens a stream of the events of the system that the caller acts for, or of what concerns operators.
pub(super) async fn open(
    shared: &Arc<Shared>,
    call: &Call<'_>,
    kind: Option<SystemKind>,
    last_event: Option<&str>,
) -> Result<HttpResponse, Problem> {
    let from = match last_event.or(call.query.get("lastEventId")) {
        None => EventsFrom::Now,
        Some(number) => number.parse().map(EventsFrom::After).map_err(|_| {
            Problem::new(ProblemKind::InvalidQuery, format!("`{number}` is not the number of an event"))
        })?,
    };
    let watch = wanted(call)?;
    let place = shared.subscriptions.take()?;
    let session = match kind {
        Some(SystemKind::Metaverse) => call.mii()?.watch(from, watch).await?,
        Some(SystemKind::DigitalTwin) => call.dii()?.watch(from, watch).await?,
        Some(SystemKind::ThirdParty) => call.sii()?.watch(from, watch).await?,
        Some(SystemKind::UserDevice) => call.device()?.watch(from, watch).await?,
        None => call.enabler().outside().watch_operation(from, watch)?,
    };
    let system = session.system().clone();
    let open = Open { system, session, beat: heartbeat(shared), stopping: shared.stopping.subscribe(), _place: place };
    Ok(respond(stream::unfold(open, |mut open| async move {
        let text = next(&mut open).await?;
        Some((text, open))
    })))
}

/// An answer that goes on for as long as messages come.
pub(super) fn respond(messages: impl Stream<Item = String> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        // Proxies that collect answers before they pass them on would hold events back.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(messages.map(|text| Ok::<_, actix_web::Error>(Bytes::from(text))))
}

async fn next(open: &mut Open) -> Option<String> {
    loop {
        tokio::select! {
            biased;
            _ = open.stopping.wait_for(|stopping| *stopping) => return None,
            outgoing = open.session.next() => {
                if let Some(text) = write(&open.system, outgoing?) {
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
        Outgoing::Event { number, event, skipped } => {
            let mut data = String::new();
            write_event(&mut data, &event, system, number, skipped);
            let data = one_line(data);
            Some(format!("id: {number}\nevent: io.twinway.{}\ndata: {data}\n\n", event.kind))
        }
        Outgoing::Gap(gap) => Some(format!("event: gap\ndata: {}\n\n", serde_json::to_string(&gap).ok()?)),
    }
}

/// A carried document may have line breaks, which would end the `data` line. Between JSON tokens a space is the
/// same, and within a JSON text they cannot stand unescaped.
pub(super) fn one_line(text: String) -> String {
    if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use twinway_protocol::{JsonDoc, SystemId, signal::Event, time::Timestamp};

    use super::{Outgoing, write};
    use crate::outside::Gap;

    #[test]
    fn a_document_with_line_breaks_stays_one_message() {
        let data = JsonDoc::parse("{\r\n \"a\":\n\"b\\n\"}").expect("it is JSON");
        let event = Event::new("twin.changed", "t".to_owned(), None, Timestamp::default(), data);
        let outgoing = Outgoing::Event { number: 3, event: Arc::new(event), skipped: 0 };
        let text = write(&SystemId::new("s").expect("a name"), outgoing).expect("it is written");
        let lines: Vec<_> = text.split('\n').collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[..2], ["id: 3", "event: io.twinway.twin.changed"]);
        let data: serde_json::Value = serde_json::from_str(lines[2].trim_start_matches("data: ")).expect("it is JSON");
        assert_eq!(data["data"]["a"], "b\n");
        assert_eq!(lines[3..], ["", ""]);
    }

    #[test]
    fn a_gap_is_told() {
        let text = write(&SystemId::new("s").expect("a name"), Outgoing::Gap(Gap { missed: 9, ..Gap::default() }));
        assert_eq!(text.as_deref(), Some("event: gap\ndata: {\"missed\":9}\n\n"));
    }
}
