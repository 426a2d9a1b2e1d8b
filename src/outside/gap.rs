//! What a subscriber missed, told exactly as long as it is known.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use twinway_protocol::{TwinId, signal::Event};

/// How many twins a gap of unknown size names at most.
pub(super) const GAP_TWINS_MAX: usize = 10_000;

/// Events that are gone before they could be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gap {
    /// How many; 0: nobody knows, because they were of an earlier run of the daemon.
    pub missed: u64,
    /// The number of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_number: Option<u64>,
    /// The number of the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_number: Option<u64>,
    /// What it was about, twin by twin: all of it. Absent: that is not known any more.
    ///
    /// Where `missed` is 0, these are the twins that the system has selected, each with the last version that is not told
    /// behind the gap: who has seen an older one has missed those in between, and one who has seen a newer one has seen
    /// what a crash took back. What the versions were is in the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twins: Option<Vec<MissedTwin>>,
}

/// What was missed about one twin: changes of its values, or else other events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissedTwin {
    /// The twin; absent: events about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<TwinId>,
    /// How many events; 0: nobody knows.
    pub missed: u64,
    /// The first version of the twin that was missed; absent: these are no changes of its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_version: Option<u64>,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_version: Option<u64>,
}

impl MissedTwin {
    /// Changes of a twin's values are told apart from what else is about it.
    fn same(&self, other: &Self) -> bool {
        self.twin == other.twin && self.first_version.is_some() == other.first_version.is_some()
    }

    fn add(&mut self, missed: u64, first: Option<u64>, last: Option<u64>) {
        self.missed = self.missed.saturating_add(missed);
        self.first_version = [self.first_version, first].into_iter().flatten().min();
        self.last_version = self.last_version.max(last);
    }
}

impl Gap {
    /// Whether nobody has counted it.
    pub(super) fn is_of_another_run(&self) -> bool {
        self.missed == 0 && self.twins.is_none()
    }

    /// The gap that this one event leaves.
    pub(super) fn of(number: u64, event: &Event) -> Self {
        Self::between(number, number, [&Mark::of(event)])
    }

    fn between<'m>(first: u64, last: u64, marks: impl IntoIterator<Item = &'m Mark>) -> Self {
        let mut twins: BTreeMap<(Option<&TwinId>, bool), MissedTwin> = BTreeMap::new();
        let mut missed = 0;
        for mark in marks {
            missed += 1;
            let blank = || MissedTwin { twin: mark.twin.clone(), missed: 0, first_version: None, last_version: None };
            let key = (mark.twin.as_ref(), mark.version.is_some());
            twins.entry(key).or_insert_with(blank).add(1, mark.version, mark.version);
        }
        let twins = Some(twins.into_values().collect());
        Self { missed, first_number: Some(first), last_number: Some(last), twins }
    }

    /// This gap and the one behind it as one.
    pub(super) fn and(self, behind: Self) -> Self {
        if self.missed == 0 || behind.missed == 0 {
            // An uncounted gap stays uncounted: a number would promise that it is all.
            return Self::default();
        }
        let twins = self.twins.zip(behind.twins).map(|(mut all, more)| {
            for other in more {
                match all.iter_mut().find(|known| known.same(&other)) {
                    Some(known) => known.add(other.missed, other.first_version, other.last_version),
                    None => all.push(other),
                }
            }
            all
        });
        Self {
            missed: self.missed.saturating_add(behind.missed),
            first_number: self.first_number,
            last_number: behind.last_number,
            twins,
        }
    }
}

/// What stays of an event that is not kept any more.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) kind: &'static str,
    pub(super) twin: Option<TwinId>,
    /// The twin's version, of a change of its values.
    pub(super) version: Option<u64>,
}

impl Mark {
    fn of(event: &Event) -> Self {
        Self { kind: event.kind, twin: event.twin.clone(), version: version(event) }
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// The version of the twin that an event shows, if it is a change of its values.
pub(super) fn version(event: &Event) -> Option<u64> {
    (event.kind == "twin.changed").then(|| event.data.read::<Versioned>().ok().map(|data| data.version)).flatten()
}

/// What stays of the events before those that are kept: the newest marks, without a hole.
#[derive(Debug)]
pub(super) struct Marks {
    marks: VecDeque<Mark>,
    kept_max: usize,
}

impl Marks {
    pub(super) fn new(kept_max: usize) -> Self {
        Self { marks: VecDeque::new(), kept_max }
    }

    pub(super) fn push(&mut self, event: &Event) {
        if self.kept_max == 0 {
            return;
        }
        if self.marks.len() >= self.kept_max {
            self.marks.pop_front();
        }
        self.marks.push_back(Mark::of(event));
    }

    /// The gap from event `from` up to, without it, event `until`, which is the first that is kept. `None`: nothing
    /// in it concerns the subscriber.
    pub(super) fn gap(&self, from: u64, until: u64, concerns: impl Fn(&Mark) -> bool) -> Option<Gap> {
        let missed = until.saturating_sub(from);
        let last = until.saturating_sub(1);
        let marked = self.marks.len() as u64;
        if missed > marked {
            return Some(Gap { missed, first_number: Some(from), last_number: Some(last), twins: None });
        }
        let skip = usize::try_from(marked - missed).unwrap_or(usize::MAX);
        let gap = Gap::between(from, last, self.marks.iter().skip(skip).filter(|mark| concerns(mark)));
        (gap.missed > 0).then_some(gap)
    }
}
