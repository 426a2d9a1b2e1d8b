//! What is watched: systems by looking again, twins by their events.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use serde::Serialize;
use twinway::{
    client::{Client, EventStream, Told},
    outside::{EventsFrom, Gap, SystemKind, WatchQuery},
    protocol::TwinId,
};

use super::{
    exit::Failure,
    lease::in_words,
    output::{Format, Output, printable},
    system::{self, Listing, Which},
};

/// What becomes of a lease, which people are told in words; the data of other events are what their system made them.
const LEASE_CHANGED: &str = "lease.changed";

/// Which events are wanted.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Only events of this type, such as `twin.changed`; `lease.*`: all that begin so.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only changes of this property.
    #[arg(long)]
    property: Option<String>,
    /// Only events of which this CEL expression is true, such as `data.values.temperature > 30`.
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,
    /// Only the newest values, while this terminal is behind.
    #[arg(long)]
    newest: bool,
    /// Have the values asked for every so many milliseconds, for this system (FGMV-28 REQ-DT-07); 0: no more.
    #[arg(long, value_name = "MS")]
    every_ms: Option<u32>,
}

#[derive(Serialize)]
struct SystemChange<'c> {
    change: &'static str,
    #[serde(flatten)]
    system: &'c Listing,
}

/// The interface tells no events of registrations, so it is asked again and again.
pub(crate) async fn systems(client: &Client, which: &Which, every_ms: u64, output: &mut Output) -> Result<(), Failure> {
    let mut known: BTreeMap<String, Listing> = BTreeMap::new();
    loop {
        let found = system::find(client, which, None).await?;
        let found: BTreeMap<_, _> = found.into_iter().map(|listing| (listing.key(), listing)).collect();
        for (change, system) in differences(&known, &found) {
            match output.format() {
                Format::Json => output.json_line(&SystemChange { change, system })?,
                Format::Table => output.line(&printable(&format!("{change:<8} {}", system.row().join("  "))))?,
            }
        }
        known = found;
        tokio::time::sleep(Duration::from_millis(every_ms)).await;
    }
}

fn differences<'l>(
    known: &'l BTreeMap<String, Listing>,
    found: &'l BTreeMap<String, Listing>,
) -> Vec<(&'static str, &'l Listing)> {
    let gone = known.iter().filter(|(key, _)| !found.contains_key(*key)).map(|(_, listing)| ("gone", listing));
    let here = found.iter().filter_map(|(key, listing)| match known.get(key) {
        None => Some(("there", listing)),
        Some(before) if before != listing => Some(("changed", listing)),
        Some(_) => None,
    });
    gone.chain(here).collect()
}

/// Events of twins go to the metaverse systems that selected them, so the twins are selected while they are watched.
pub(crate) async fn twins(
    client: &Client,
    ids: &[TwinId],
    wanted: WatchArgs,
    output: &mut Output,
) -> Result<(), Failure> {
    let WatchArgs { event_type, property, filter, newest, every_ms } = wanted;
    let twin = if let [id] = ids { Some(id.to_string()) } else { None };
    let wanted = WatchQuery { kind: event_type, twin, property, system: None, filter, newest };
    // Listening first, so that nothing falls between.
    let events = client.watch(SystemKind::Metaverse, EventsFrom::Now, &wanted).await?;
    client.select_twins_every(ids, &[], every_ms).await?;
    tell(events, ids, output).await
}

/// What happens to leases. Without twins: what this system is told, of those that it selected and of its users' own.
pub(crate) async fn leases(client: &Client, ids: &[TwinId], output: &mut Output) -> Result<(), Failure> {
    let only = match ids {
        [id] => Some(id),
        _ => None,
    };
    let events = client.lease_events(only, EventsFrom::Now).await?;
    if !ids.is_empty() {
        client.select_twins(ids, &[]).await?;
    }
    tell(events, ids, output).await
}

/// Writes events about these, or about all.
pub(crate) async fn tell<I: std::fmt::Display>(
    mut events: EventStream,
    ids: &[I],
    output: &mut Output,
) -> Result<(), Failure> {
    loop {
        match (events.next().await?, output.format()) {
            (Told::Event { event, .. }, format) => {
                let subject = event.subject.as_deref().unwrap_or_default();
                if !ids.is_empty() && !ids.iter().any(|id| id.to_string() == subject) {
                    continue;
                }
                if format == Format::Json {
                    output.json_line(&event)?;
                    continue;
                }
                let time = event.time.map(|time| time.to_string()).unwrap_or_default();
                let kind = event.event_type.strip_prefix("io.twinway.").unwrap_or(&event.event_type);
                let words =
                    if kind == LEASE_CHANGED { event.data.read().ok().map(|moment| in_words(&moment)) } else { None };
                let told = words.as_deref().unwrap_or(event.data.as_str());
                output.line(&printable(&format!("{time}  {subject}  {kind}  {told}")))?;
            }
            // Results are data only: what was missed is told beside them.
            (Told::Gap(gap), _) => output.note(&missed(&gap)),
        }
    }
}

fn missed(gap: &Gap) -> String {
    match (gap.missed, &gap.twins) {
        (0, _) => "some events were missed".to_owned(),
        (missed, None) => format!("{missed} events were missed"),
        (missed, Some(twins)) => {
            let about = twins.iter().map(|missed| {
                let twin = missed.twin.as_ref().map_or("no twin", TwinId::as_str);
                match missed.first_version.zip(missed.last_version) {
                    Some((first, last)) => format!("{twin}: versions {first} to {last}"),
                    None => format!("{twin}: {} events", missed.missed),
                }
            });
            format!("{missed} events were missed ({})", about.collect::<Vec<_>>().join("; "))
        }
    }
}
