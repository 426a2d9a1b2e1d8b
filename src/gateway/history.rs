//! MII: what twins were (FGMV-29 8.3.4), at a moment, between two, and again as a stream.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix_web::HttpResponse;
use futures_util::stream;
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, Interval, sleep_until},
};
use twinway_protocol::{JsonDoc, Problem, ProblemKind, SystemId, signal::Event, time::Timestamp, twin::Invocation};
use utoipa::ToSchema;

use super::{
    Shared,
    call::{Call, JSON, Reply},
    limits::Slot,
    mii::{ACCESS, CURSOR, EVENT_STREAM, LIMIT},
    routes::{Answer, Later, Parameter, Route},
    schemas::schema,
    sse,
    twins::TWIN,
};
use crate::{
    enabler::Mii,
    history::{
        HistoryKind, HistoryPage, HistoryQuery, HistoryRange, MissedVersions, Moment, TwinMoment, What, read_place,
        write_place,
    },
    outside::{Gap, MissedTwin, wall, write_event},
};

const PROPERTY: Parameter = Parameter::text("property", "Only this property.");
const KIND: Parameter = Parameter::text("kind", "Only `properties`, `actions` or `events`; absent: all of them.");
const FROM: Parameter = Parameter::text("from", "Not before this moment (RFC 3339).");
const TO: Parameter = Parameter::text("to", "Not behind this moment (RFC 3339).");
/// How many moments a replay reads at once.
const REPLAY_PAGE: usize = 256;
/// The largest factor by which a replay is faster than what it shows; beyond it is as fast as possible.
const SPEED_MAX: f64 = 1_000_000.0;

pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/mii/v1/twins/{id}/history",
        "readTwinHistory",
        ACCESS,
        "What a twin was between two moments: values, actions, events. Whoever may read the twin may read its history.",
    )
    .path_parameters(&[TWIN])
    .query(&[
        Parameter::text("at", "What the properties were at this moment (RFC 3339); goes with `property` only."),
        PROPERTY,
        KIND,
        FROM,
        TO,
        CURSOR,
        LIMIT,
    ])
    .answers(&[Answer::new(
        200,
        "A page, in the order of time; with `at` the values then.",
        JSON,
        Some(schema::<HistoryDocument>),
    )])
    .later(read),
    Route::get(
        "/mii/v1/twins/{id}/history/replay",
        "replayTwin",
        ACCESS,
        "Tells what happened to a twin again, by the events that told it then. It ends with the event `end`.",
    )
    .path_parameters(&[TWIN])
    .query(&[
        PROPERTY,
        KIND,
        FROM,
        TO,
        Parameter::text("speed", "How many times as fast as it happened: `1`, `60`; absent: as fast as possible."),
        Parameter::text("lastEventId", "Begin behind this event, for those who cannot set `Last-Event-ID`."),
    ])
    .answers(&[EVENT_STREAM])
    .replay(),
];

fn moment(call: &Call<'_>, name: &str) -> Result<Option<Timestamp>, Problem> {
    let read = |text: &str| {
        let invalid =
            || Problem::new(ProblemKind::InvalidQuery, format!("`{name}` is `{text}`, which is no RFC 3339 moment"));
        Timestamp::parse(text).ok_or_else(invalid)
    };
    call.query.get(name).map(read).transpose()
}

fn kind(call: &Call<'_>) -> Result<Option<HistoryKind>, Problem> {
    let read = |text: &str| {
        let detail = format!("`kind` is `properties`, `actions` or `events`, not `{text}`");
        HistoryKind::parse(text).ok_or_else(|| Problem::new(ProblemKind::InvalidQuery, detail))
    };
    call.query.get("kind").map(read).transpose()
}

/// What a history answers with.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum HistoryDocument {
    /// With `at`.
    Moment(TwinMoment),
    /// Without.
    Page(HistoryPage),
}

fn read(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (mii, twin) = (call.mii()?, call.twin()?);
        let Some(at) = moment(&call, "at")? else {
            let (from, to) = (moment(&call, "from")?, moment(&call, "to")?);
            let (property, cursor, limit) = (call.text("property"), call.text("cursor"), call.limit()?);
            let query = HistoryQuery { kind: kind(&call)?, property, from, to, cursor, limit };
            return Reply::json(200, &HistoryDocument::Page(mii.twin_history(&twin, query).await?));
        };
        if let Some(other) =
            ["kind", "from", "to", "cursor", "limit"].into_iter().find(|name| call.query.get(name).is_some())
        {
            return Err(Problem::new(ProblemKind::InvalidQuery, format!("`at` does not go with `{other}`")));
        }
        let moment = mii.twin_at(&twin, call.query.get("property"), at).await?;
        Reply::json(200, &HistoryDocument::Moment(moment))
    })
}

/// Changes of a twin that are told again.
struct Replay {
    mii: Mii,
    system: SystemId,
    /// What is to be read next.
    range: HistoryRange,
    ready: VecDeque<Moment>,
    /// Whether there is nothing behind what is ready.
    all_read: bool,
    ended: bool,
    /// How many times as fast as it happened; absent: as fast as possible.
    speed: Option<f64>,
    /// When the first was told, and when it had happened.
    began: Option<(Instant, Timestamp)>,
    beat: Interval,
    stopping: watch::Receiver<bool>,
    _place: Slot,
}

fn speed(call: &Call<'_>) -> Result<Option<f64>, Problem> {
    let Some(text) = call.query.get("speed") else { return Ok(None) };
    match text.parse() {
        Ok(speed) if speed > 0.0 && speed <= SPEED_MAX => Ok(Some(speed)),
        _ => {
            let detail = format!("`speed` is a number above 0 and up to {SPEED_MAX}, not `{text}`");
            Err(Problem::new(ProblemKind::InvalidQuery, detail))
        }
    }
}

/// Opens a stream that tells again what happened to a twin, up to now if no end is named.
pub(super) async fn replay(
    shared: &Arc<Shared>,
    call: &Call<'_>,
    last_event: Option<&str>,
) -> Result<HttpResponse, Problem> {
    let (mii, twin) = (call.mii()?, call.twin()?);
    let range = HistoryRange {
        twin,
        kind: kind(call)?,
        property: call.text("property"),
        from: moment(call, "from")?.unwrap_or_default(),
        to: moment(call, "to")?.unwrap_or_else(wall),
        after: last_event.or(call.query.get("lastEventId")).map(read_place).transpose()?,
        limit: REPLAY_PAGE,
    };
    let speed = speed(call)?;
    let place = shared.subscriptions.take()?;
    let mut replay = Replay {
        mii,
        system: call.system()?,
        range,
        ready: VecDeque::new(),
        all_read: false,
        ended: false,
        speed,
        began: None,
        beat: sse::heartbeat(shared),
        stopping: shared.stopping.subscribe(),
        _place: place,
    };
    // Who may not read, or what is not there, is told before the stream begins.
    replay.read().await?;
    Ok(sse::respond(stream::unfold(replay, |mut replay| async move {
        let text = replay.next().await?;
        Some((text, replay))
    })))
}

impl Replay {
    async fn read(&mut self) -> Result<(), Problem> {
        let moments = self.mii.twin_moments(self.range.clone()).await?;
        self.all_read = moments.len() < self.range.limit;
        self.range.after = moments.last().map(|last| (last.at, last.sequence)).or(self.range.after);
        self.ready.extend(moments);
        Ok(())
    }

    /// The next message; `None`: the stream is over.
    async fn next(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        if self.ready.is_empty() && !self.all_read {
            // The twin may have gone meanwhile, or the daemon ends: the client resumes, and is told why not.
            self.read().await.ok()?;
        }
        let Some(at) = self.ready.front().map(|moment| moment.at) else {
            self.ended = true;
            return Some("event: end\ndata: {}\n\n".to_owned());
        };
        let due = self.due(at);
        tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stopping| *stopping) => None,
            () = sleep_until(due) => self.ready.pop_front().and_then(|moment| write(&self.system, moment)),
            _ = self.beat.tick() => Some(": alive\n\n".to_owned()),
        }
    }

    /// When a moment is to be told.
    fn due(&mut self, at: Timestamp) -> Instant {
        let now = Instant::now();
        let Some(speed) = self.speed else { return now };
        let (began, first) = *self.began.get_or_insert((now, at));
        let behind_ms = at.unix_ms().saturating_sub(first.unix_ms()) as f64 / speed;
        // A pause of years is one of as long as clocks count.
        began.checked_add(Duration::from_millis(behind_ms as u64)).unwrap_or(now)
    }
}

/// What `twin.changed` says of one property.
#[derive(Serialize)]
struct Change {
    values: BTreeMap<String, JsonDoc>,
    version: u64,
    at: Timestamp,
}

/// What `twin.event` says.
#[derive(Serialize)]
struct Emitted {
    name: String,
    data: JsonDoc,
    at: Timestamp,
}

fn write(system: &SystemId, moment: Moment) -> Option<String> {
    let Moment { sequence, twin, at, version, what } = moment;
    let id = write_place(at, sequence);
    let (kind, data) = match what {
        What::Value { property, value } => {
            let change = Change { values: BTreeMap::from([(property, value)]), version, at };
            ("twin.changed", JsonDoc::from_value(&change).ok()?)
        }
        What::Gone => ("twin.gone", JsonDoc::null()),
        What::Action { invocation, .. } => {
            let has_ended = invocation.read::<Invocation>().is_ok_and(|invocation| invocation.state.is_end());
            (if has_ended { "action.ended" } else { "action.progress" }, invocation)
        }
        What::Event { name, data } => ("twin.event", JsonDoc::from_value(&Emitted { name, data, at }).ok()?),
        What::Missed(MissedVersions { first_version, last_version, missed, events }) => {
            let versions = (missed > 0).then_some((first_version, last_version));
            let (first_version, last_version) = versions.unzip();
            let missed = missed.saturating_add(events);
            let twins = Some(vec![MissedTwin { twin: Some(twin), missed, first_version, last_version }]);
            let gap = serde_json::to_string(&Gap { missed, twins, ..Gap::default() }).ok()?;
            return Some(format!("id: {id}\nevent: gap\ndata: {gap}\n\n"));
        }
    };
    let event = Event::new(kind, twin.to_string(), Some(twin), at, data);
    let mut data = String::new();
    write_event(&mut data, &event, system, sequence, 0);
    let data = sse::one_line(data);
    Some(format!("id: {id}\nevent: io.twinway.{kind}\ndata: {data}\n\n"))
}
