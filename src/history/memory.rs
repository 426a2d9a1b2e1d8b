//! History in memory: for hosts that want none on a disk, and for tests.

use std::collections::{BTreeMap, VecDeque};

use twinway_protocol::{TwinId, time::Timestamp};

use super::{Extent, HistoryError, HistoryRange, HistoryStore, Moment, Retention, What};

/// What came, as it is looked at again when it is to be let go.
#[derive(Debug)]
struct Came {
    twin: TwinId,
    at: Timestamp,
    sequence: u64,
    now: Timestamp,
}

/// Keeps history in memory.
#[derive(Debug, Default)]
pub struct MemoryHistory {
    twins: BTreeMap<TwinId, BTreeMap<(Timestamp, u64), Moment>>,
    /// In the order of their sequence.
    came: VecDeque<Came>,
    extent: Extent,
}

impl MemoryHistory {
    /// Keeps nothing yet, of what comes from `now` on.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { extent: Extent { kept_from: now, ..Extent::default() }, ..Self::default() }
    }

    /// Something was kept for its time: what it replaced goes.
    fn pass(&mut self, came: &Came) {
        let Some(moments) = self.twins.get_mut(&came.twin) else { return };
        let key = (came.at, came.sequence);
        let Some(passed) = moments.get(&key).cloned() else { return };
        let replaced = |moment: &Moment| match (&passed.what, &moment.what) {
            (What::Value { property, .. }, What::Value { property: other, .. }) => {
                property == other && (moment.at, moment.sequence) < key
            }
            (What::Missed(_), _) => moment.sequence == came.sequence,
            (What::Gone, _) => moment.sequence <= came.sequence,
            _ => false,
        };
        let mut freed = 0;
        moments.retain(|_, moment| {
            let goes = replaced(moment);
            freed += if goes { moment.bytes() } else { 0 };
            !goes
        });
        if moments.is_empty() {
            self.twins.remove(&came.twin);
        }
        self.extent.bytes = self.extent.bytes.saturating_sub(freed);
    }
}

impl HistoryStore for MemoryHistory {
    fn append(&mut self, moments: &[Moment], now: Timestamp) -> Result<(), HistoryError> {
        for moment in moments {
            let Moment { at, sequence, .. } = *moment;
            self.came.push_back(Came { twin: moment.twin.clone(), at, sequence, now });
            self.extent.last_sequence = sequence;
            self.extent.bytes = self.extent.bytes.saturating_add(moment.bytes());
            self.twins.entry(moment.twin.clone()).or_default().insert((at, sequence), moment.clone());
        }
        Ok(())
    }

    fn read(&mut self, range: &HistoryRange) -> Result<Vec<Moment>, HistoryError> {
        let wanted = |moment: &&Moment| match (&range.property, &moment.what) {
            (Some(wanted), What::Value { property, .. }) => property == wanted,
            _ => true,
        };
        let begin = (range.from, 0).max(range.after.map_or((range.from, 0), |(at, sequence)| (at, sequence + 1)));
        let found = self.twins.get(&range.twin).into_iter().flatten().map(|(_, moment)| moment);
        let found = found.skip_while(|moment| (moment.at, moment.sequence) < begin);
        Ok(found.take_while(|moment| moment.at <= range.to).filter(wanted).take(range.limit).cloned().collect())
    }

    fn at(&mut self, twin: &TwinId, at: Timestamp) -> Result<Vec<Moment>, HistoryError> {
        let moments = || {
            let all = self.twins.get(twin).into_iter().flatten().map(|(_, moment)| moment);
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
        }
        Ok(true)
    }

    fn extent(&mut self) -> Result<Extent, HistoryError> {
        Ok(self.extent)
    }
}
