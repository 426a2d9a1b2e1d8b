//! History in memory: for hosts that want none on a disk, and for tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use twinway_protocol::{TwinId, time::Timestamp};

use super::{Extent, HistoryError, HistoryKind, HistoryRange, HistoryStore, Moment, Retention, Shortened, What};

/// Where a moment stands in its twin's time.
type Place = (Timestamp, u64);

/// What came, as it is looked at again when it is to be let go.
#[derive(Debug)]
struct Came {
    twin: TwinId,
    place: Place,
    now: Timestamp,
}

/// One property, action or event of a twin.
#[derive(Debug, Default)]
struct Series {
    places: BTreeSet<Place>,
    bytes: u64,
    dropped: u64,
    kept_from: Timestamp,
}

/// What is kept of one twin.
#[derive(Debug, Default)]
struct Kept {
    moments: BTreeMap<Place, Moment>,
    series: BTreeMap<(HistoryKind, String), Series>,
}

impl Kept {
    /// Lets a moment go; gives what it cost.
    fn take_out(&mut self, place: Place) -> u64 {
        let Some(moment) = self.moments.remove(&place) else { return 0 };
        let bytes = moment.bytes();
        if let Some((kind, name, _)) = moment.series()
            && let Some(series) = self.series.get_mut(&(kind, name.to_owned()))
        {
            series.places.remove(&place);
            series.bytes = series.bytes.saturating_sub(bytes);
        }
        bytes
    }

    /// The oldest of a series that has more than is kept of one; never its last.
    fn surplus(&self, of: &(HistoryKind, String), retention: Retention) -> Option<Place> {
        let series = self.series.get(of)?;
        let count = series.places.len() as u64;
        let is_too_much = count > retention.property_values_max || series.bytes > retention.property_bytes_max;
        series.places.first().copied().filter(|_| count > 1 && is_too_much)
    }

    /// Lets the oldest of a series go, as long as there is more than is kept of one; gives what that cost.
    fn shorten(&mut self, of: &(HistoryKind, String), retention: Retention) -> u64 {
        let mut freed = 0_u64;
        while let Some(oldest) = self.surplus(of, retention) {
            freed = freed.saturating_add(self.take_out(oldest));
            let Some(series) = self.series.get_mut(of) else { break };
            series.dropped += 1;
            let known_from = series.places.first().map_or(oldest.0, |(at, _)| *at);
            series.kept_from = series.kept_from.max(known_from);
        }
        freed
    }
}

/// Keeps history in memory.
#[derive(Debug, Default)]
pub struct MemoryHistory {
    twins: BTreeMap<TwinId, Kept>,
    /// In the order of their sequence.
    came: VecDeque<Came>,
    extent: Extent,
}

/// How many of those that came may be gone already, beside as many as are kept.
const CAME_GONE_MAX: usize = 1_024;

impl MemoryHistory {
    /// Keeps nothing yet, of what comes from `now` on.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { extent: Extent { kept_from: now, ..Extent::default() }, ..Self::default() }
    }

    /// Something was kept for its time: what it replaced goes, or itself, if it replaces nothing.
    fn pass(&mut self, came: &Came) {
        let Some(kept) = self.twins.get_mut(&came.twin) else { return };
        let Some(passed) = kept.moments.get(&came.place) else { return };
        let gone: Vec<Place> = match (&passed.what, passed.series()) {
            (What::Value { .. }, Some((kind, name, _))) => {
                let series = kept.series.get(&(kind, name.to_owned()));
                series.into_iter().flat_map(|series| series.places.range(..came.place)).copied().collect()
            }
            (What::Gone, _) => kept.moments.keys().filter(|place| place.1 <= came.place.1).copied().collect(),
            _ => vec![came.place],
        };
        let freed = gone.into_iter().map(|place| kept.take_out(place)).sum();
        if kept.moments.is_empty() {
            self.twins.remove(&came.twin);
        }
        self.extent.bytes = self.extent.bytes.saturating_sub(freed);
    }

    /// What is gone before its time is not looked at again.
    fn forget_gone(&mut self) {
        let kept: usize = self.twins.values().map(|kept| kept.moments.len()).sum();
        if self.came.len() > kept * 2 + CAME_GONE_MAX {
            let twins = &self.twins;
            self.came.retain(|came| twins.get(&came.twin).is_some_and(|kept| kept.moments.contains_key(&came.place)));
        }
    }
}

impl HistoryStore for MemoryHistory {
    fn append(&mut self, moments: &[Moment], now: Timestamp, retention: Retention) -> Result<(), HistoryError> {
        let mut freed = 0_u64;
        for moment in moments {
            let place = (moment.at, moment.sequence);
            self.came.push_back(Came { twin: moment.twin.clone(), place, now });
            self.extent.last_sequence = moment.sequence;
            self.extent.bytes = self.extent.bytes.saturating_add(moment.bytes());
            let kept = self.twins.entry(moment.twin.clone()).or_default();
            kept.moments.insert(place, moment.clone());
            if let Some((kind, name, _)) = moment.series() {
                let of = (kind, name.to_owned());
                let series = kept.series.entry(of.clone()).or_default();
                series.places.insert(place);
                series.bytes = series.bytes.saturating_add(moment.bytes());
                freed = freed.saturating_add(kept.shorten(&of, retention));
            }
        }
        self.extent.bytes = self.extent.bytes.saturating_sub(freed);
        if freed > 0 {
            self.forget_gone();
        }
        Ok(())
    }

    fn read(&mut self, range: &HistoryRange) -> Result<Vec<Moment>, HistoryError> {
        let wanted = |moment: &&Moment| match (moment.series(), &range.property) {
            (Some((kind, name, _)), Some(property)) => kind == HistoryKind::Properties && name == property,
            (Some((kind, ..)), None) => range.kind.is_none_or(|wanted| wanted == kind),
            (None, _) => true,
        };
        let begin = (range.from, 0).max(range.after.map_or((range.from, 0), |(at, sequence)| (at, sequence + 1)));
        let kept = self.twins.get(&range.twin);
        let found = kept.into_iter().flat_map(|kept| kept.moments.range(begin..)).map(|(_, moment)| moment);
        Ok(found.take_while(|moment| moment.at <= range.to).filter(wanted).take(range.limit).cloned().collect())
    }

    fn at(&mut self, twin: &TwinId, at: Timestamp) -> Result<Vec<Moment>, HistoryError> {
        let moments = || {
            let all = self.twins.get(twin).into_iter().flat_map(|kept| kept.moments.values());
            all.take_while(|moment| moment.at <= at)
        };
        let gone = moments().filter(|moment| moment.what == What::Gone).map(|moment| moment.sequence).max();
        let mut last: BTreeMap<&str, &Moment> = BTreeMap::new();
        for moment in moments().filter(|moment| gone.is_none_or(|gone| moment.sequence > gone)) {
            if let What::Value { property, .. } = &moment.what {
                last.insert(property, moment);
            }
        }
        Ok(last.into_values().cloned().collect())
    }

    fn has(&mut self, moment: &Moment) -> Result<bool, HistoryError> {
        let kept = self.twins.get(&moment.twin);
        let then = |kept: &Kept| {
            let mut then = kept.moments.range((moment.at, 0)..=(moment.at, u64::MAX));
            then.any(|(_, kept)| kept.what == moment.what)
        };
        Ok(kept.is_some_and(then))
    }

    fn trim(&mut self, retention: Retention, now: Timestamp, rows_max: usize) -> Result<bool, HistoryError> {
        for _ in 0..rows_max {
            let Some(oldest) = self.came.front() else { return Ok(false) };
            let old = oldest.now.plus_ms(retention.retention_ms) <= now;
            if !old && self.extent.bytes <= retention.bytes_max {
                return Ok(false);
            }
            let Some(came) = self.came.pop_front() else { return Ok(false) };
            self.pass(&came);
            self.extent.kept_from = self.extent.kept_from.max(came.now);
            self.extent.has_let_go = true;
        }
        Ok(true)
    }

    fn extent(&mut self) -> Result<Extent, HistoryError> {
        Ok(self.extent)
    }

    fn shortened(&mut self, twin: &TwinId) -> Result<Vec<Shortened>, HistoryError> {
        let series = self.twins.get(twin).into_iter().flat_map(|kept| &kept.series);
        let shortened = series.filter(|(_, series)| series.dropped > 0);
        Ok(shortened
            .map(|((kind, name), series)| {
                let (dropped, kept_from) = (series.dropped, series.kept_from);
                Shortened { kind: *kind, name: name.clone(), dropped, kept_from }
            })
            .collect())
    }
}
