//! One subscriber to the events of a system: where it is, what it wants, and, if it wants the newest only, what it has
//! not been told yet.
//!
//! A subscriber reads at its own pace from what the system keeps for all, so that nobody waits for it. One that wants the
//! newest only takes everything up to now each time it reads, and keeps the last value of each property of each twin.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use twinway_protocol::{JsonDoc, TwinId, signal::Event, time::Timestamp, twin::TwinView};

use super::{
    Hub, Outgoing,
    events::Cursor,
    gap::{Gap, Mark},
    sessions::System,
    watch::Watch,
};

/// After how many events that are not wanted a subscriber lets others run.
const PASSED_OVER_MAX: usize = 16;

/// What a look at the events came to.
pub(super) enum Heard {
    /// This is told next.
    Told(Outgoing),
    /// Many were looked at; there may be more.
    Again,
    /// Nothing is there.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Listener {
    cursor: Cursor,
    watch: Watch,
    behind: Behind,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    pub(super) fn new(cursor: Cursor, watch: Watch, permit: OwnedSemaphorePermit) -> Self {
        Self { cursor, watch, behind: Behind::default(), _permit: permit }
    }

    /// Whether changes of a twin may be wanted.
    pub(super) fn is_about(&self, twin: &TwinId) -> bool {
        self.watch.concerns(&Mark { kind: "twin.changed", twin: Some(twin.clone()), version: None })
    }

    pub(super) fn hear(&mut self, hub: &Hub, system: &System) -> Heard {
        // The lock is held for one event: those who tell do not wait for a filter.
        let read = |cursor: &mut Cursor| {
            let watch = &self.watch;
            system.state.lock().ring.read(cursor, |mark| watch.concerns(mark))
        };
        let wanted = |outgoing: &Outgoing| match outgoing {
            Outgoing::Event { number, event, .. } => self.watch.passes(*number, event, &hub.readers),
            Outgoing::Gap(_) | Outgoing::Request { .. } => true,
        };
        for _ in 0..PASSED_OVER_MAX {
            if self.watch.newest() && self.behind.waiting.len() >= hub.limits.events_kept_max {
                break;
            }
            match read(&mut self.cursor) {
                None if self.watch.newest() => break,
                None => return Heard::Nothing,
                Some(outgoing) if !wanted(&outgoing) => {}
                Some(outgoing) if self.watch.newest() => self.behind.add(outgoing, hub, &self.watch),
                Some(outgoing) => return Heard::Told(outgoing),
            }
        }
        if !self.watch.newest() {
            return Heard::Again;
        }
        let more = system.state.lock().ring.has_more(&self.cursor);
        let full = self.behind.waiting.len() >= hub.limits.events_kept_max;
        if more && !full {
            return Heard::Again;
        }
        match self.behind.take(self.cursor.next) {
            Some(outgoing) => Heard::Told(outgoing),
            None => Heard::Nothing,
        }
    }
}

/// What a subscriber that wants the newest only has not been told.
#[derive(Debug, Default)]
struct Behind {
    /// By the number of the first event that went into it; what the twin's later events say goes into it too.
    waiting: BTreeMap<u64, Waiting>,
    by_twin: BTreeMap<TwinId, u64>,
    /// Events that were missed and whose values a later event, which is to come, replaces.
    replaced: BTreeMap<TwinId, u64>,
}

#[derive(Debug)]
enum Waiting {
    As(Outgoing),
    Changed(Changed),
}

#[derive(Debug)]
struct Changed {
    twin: TwinId,
    newest: Newest,
    /// Events that it takes the place of.
    skipped: u64,
}

/// What `twin.changed` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Newest {
    values: BTreeMap<String, JsonDoc>,
    version: u64,
    at: Timestamp,
}

impl Behind {
    fn add(&mut self, outgoing: Outgoing, hub: &Hub, watch: &Watch) {
        match outgoing {
            Outgoing::Event { number, event, skipped } => {
                let newest = (event.kind == "twin.changed").then(|| event.data.read::<Newest>().ok()).flatten();
                match (event.twin.clone(), newest) {
                    (Some(twin), Some(newest)) => self.merge(number, twin, newest, 0),
                    _ => {
                        let outgoing = Outgoing::Event { number, event, skipped };
                        self.waiting.insert(number, Waiting::As(outgoing));
                    }
                }
            }
            Outgoing::Gap(gap) => self.mend(gap, hub, watch),
            Outgoing::Request { .. } => {}
        }
    }

    /// Later values take the place of those that wait.
    fn merge(&mut self, number: u64, twin: TwinId, newest: Newest, skipped: u64) {
        let skipped = skipped.saturating_add(self.replaced.remove(&twin).unwrap_or(0));
        let waiting = self.by_twin.get(&twin).and_then(|first| self.waiting.get_mut(first));
        if let Some(Waiting::Changed(changed)) = waiting {
            changed.newest.values.extend(newest.values);
            changed.newest.version = changed.newest.version.max(newest.version);
            changed.newest.at = changed.newest.at.max(newest.at);
            changed.skipped = changed.skipped.saturating_add(skipped + 1);
            return;
        }
        self.by_twin.insert(twin.clone(), number);
        self.waiting.insert(number, Waiting::Changed(Changed { twin, newest, skipped }));
    }

    /// The newest values of what was missed are those that the twin still shows since then; what cannot be had so is
    /// a gap.
    fn mend(&mut self, gap: Gap, hub: &Hub, watch: &Watch) {
        let (Some(number), Some(twins)) = (gap.first_number, gap.twins.clone()) else {
            let number = gap.first_number.unwrap_or(0);
            self.waiting.insert(number, Waiting::As(Outgoing::Gap(gap)));
            return;
        };
        let mut lost = Vec::new();
        // Twins wait one behind the other within the numbers that the gap has for them.
        for (number, missed) in (number..).zip(twins) {
            let versions = missed.first_version.zip(missed.last_version);
            let view = missed.twin.as_ref().and_then(|twin| hub.readers.twins.get(twin));
            match view.zip(versions).and_then(|(view, versions)| since(&view, versions, watch)) {
                Some(newest) if newest.values.is_empty() => {
                    // All that was missed, or all of it that is wanted, is told by a later event, which is to come.
                    let replaced = missed.twin.map(|twin| self.replaced.entry(twin).or_default());
                    replaced.into_iter().for_each(|count| *count += missed.missed);
                }
                Some(newest) => {
                    let twin = missed.twin.into_iter();
                    twin.for_each(|twin| self.merge(number, twin, newest.clone(), missed.missed.saturating_sub(1)));
                }
                None => lost.push((number, missed)),
            }
        }
        for (number, missed) in lost {
            let (first_number, last_number) = (gap.first_number, gap.last_number);
            let part = Gap { missed: missed.missed, first_number, last_number, twins: Some(vec![missed]) };
            self.waiting.insert(number, Waiting::As(Outgoing::Gap(part)));
        }
    }

    /// What has waited longest. Its number is one behind which everything is still to be told: whoever resumes there
    /// misses nothing.
    fn take(&mut self, next: u64) -> Option<Outgoing> {
        let (_, waiting) = self.waiting.pop_first()?;
        let number = self.waiting.first_key_value().map_or(next, |(first, _)| *first).saturating_sub(1);
        match waiting {
            Waiting::As(Outgoing::Event { event, skipped, .. }) => Some(Outgoing::Event { number, event, skipped }),
            Waiting::As(outgoing) => Some(outgoing),
            Waiting::Changed(Changed { twin, newest, skipped }) => {
                self.by_twin.remove(&twin);
                let data = JsonDoc::from_value(&newest).unwrap_or_else(|_| JsonDoc::null());
                let (subject, at) = (twin.to_string(), newest.at);
                let event = Event::new("twin.changed", subject, Some(twin), at, data);
                Some(Outgoing::Event { number, event: Arc::new(event), skipped })
            }
        }
    }
}

/// What a twin shows since one of these versions, of what is wanted; `None`: that cannot be said.
fn since(view: &TwinView, (first, last): (u64, u64), watch: &Watch) -> Option<Newest> {
    if watch.has_filter() {
        return None;
    }
    let mut newest = Newest { values: BTreeMap::new(), version: 0, at: Timestamp::default() };
    for (name, property) in view.properties.iter().filter(|(_, it)| (first..=last).contains(&it.version)) {
        if watch.wants(view, name) {
            newest.values.insert(name.clone(), property.value.clone());
            newest.version = newest.version.max(property.version);
            newest.at = newest.at.max(property.at);
        }
    }
    Some(newest)
}
