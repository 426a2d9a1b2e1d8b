//! Recovering an entity from the journal, under a limit and with a backoff.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use tokio::task::JoinHandle;
use twinway_protocol::{Behaviour, EntityId, EventId, Recovery, WireSet};

use super::{
    cells::{CellState, Cells},
    shell::Shell,
    turn::panic_text,
};
use crate::{
    codec,
    port::journal::{Entry, EntryKind, JournalError},
};

/// Reads the records of one entity on a thread that may wait.
type Reading = JoinHandle<Result<Vec<Entry>, JournalError>>;

/// The failures of one entity, and its next recovery.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// When it failed, on the monotonic clock, within the window.
    at_ms: VecDeque<u64>,
    /// When it is to be recovered.
    pub(super) due_ms: Option<u64>,
    /// Reads its records, while it is being recovered.
    reading: Option<Reading>,
}

impl Failures {
    pub(super) fn is_settled(&self) -> bool {
        self.due_ms.is_none() && self.reading.is_none()
    }
}

impl<B: Behaviour, C: Cells<B>> Shell<B, C> {
    pub(super) fn schedule_recovery(&mut self, id: EntityId, now_ms: u64, counted: bool) {
        let options = &self.shared.options;
        let failures = self.failures.entry(id).or_default();
        if counted {
            while failures.at_ms.front().is_some_and(|at| at + options.restart_window_ms < now_ms) {
                failures.at_ms.pop_front();
            }
            failures.at_ms.push_back(now_ms);
        }
        let count = u32::try_from(failures.at_ms.len()).unwrap_or(u32::MAX);
        if count > options.restarts_max {
            let reason = format!("it failed {count} times within {} ms", options.restart_window_ms);
            self.quarantine(id, reason);
            return;
        }
        let doubled = options.restart_backoff_ms.saturating_mul(1 << count.saturating_sub(1).min(20));
        failures.due_ms = Some(now_ms + doubled.min(options.restart_backoff_ms_max));
        if let Some(cell) = self.cells.get(id)
            && matches!(cell.state, CellState::Running(_))
        {
            cell.state = CellState::Recovering(VecDeque::new());
        }
    }

    /// Takes an entity out of service until the next start, and says why.
    fn quarantine(&mut self, id: EntityId, reason: String) {
        let name = B::Wire::kind_name(id.kind());
        tracing::error!(?id, kind = name, reason, "the entity is quarantined");
        metrics::counter!("twinway_quarantined_total", "kind" => name).increment(1);
        self.shared.quarantined.lock().push((id, reason));
        self.failures.remove(&id);
        let Some(cell) = self.cells.get(id) else { return };
        if let CellState::Recovering(parked) = std::mem::replace(&mut cell.state, CellState::Quarantined) {
            // In quarantine each of them is turned away.
            self.deliver_parked(parked);
        }
    }

    /// Begins to read the records of those whose time has come, and whose own records are all durable.
    pub(super) fn start_recoveries(&mut self, durable: u64) {
        if self.failures.is_empty() {
            return;
        }
        let now_ms = self.shared.now().monotonic_ms;
        let due: Vec<EntityId> = self
            .failures
            .iter()
            .filter(|(_, failures)| failures.due_ms.is_some_and(|due_ms| due_ms <= now_ms))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let last = self.cells.get(id).map_or(0, |cell| cell.last);
            let Some(failures) = self.failures.get_mut(&id) else { continue };
            if last > durable {
                // The listener wakes the pump; until then there is nothing to wait for on the clock.
                failures.due_ms = Some(now_ms + 1);
                continue;
            }
            failures.due_ms = None;
            let journal = Arc::clone(&self.shared.journal);
            failures.reading = Some(actix_rt::task::spawn_blocking(move || {
                let mut entries = Vec::new();
                journal.replay(Some(id), &mut |entry| entries.push(entry)).map(|()| entries)
            }));
        }
    }

    /// Goes on with those whose records have been read; the others wake the pump when theirs are.
    pub(super) fn finish_recoveries(&mut self, task: &mut TaskContext<'_>) {
        if self.failures.is_empty() {
            return;
        }
        let mut read = Vec::new();
        for (id, failures) in &mut self.failures {
            if let Some(reading) = &mut failures.reading
                && let Poll::Ready(entries) = Pin::new(reading).poll(task)
            {
                failures.reading = None;
                read.push((*id, entries));
            }
        }
        for (id, entries) in read {
            let entries = match entries {
                Ok(Ok(entries)) => Ok(entries),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            self.finish_recovery(id, entries);
        }
    }

    fn finish_recovery(&mut self, id: EntityId, entries: Result<Vec<Entry>, String>) {
        let incarnation = self.incarnation();
        let mut behaviour = B::new(id, &self.settings, incarnation);
        let replayed = entries.and_then(|entries| {
            let parts: Vec<_> = entries.iter().map(|entry| (entry.entity, entry.part)).collect();
            entries.into_iter().try_for_each(|entry| replay(&mut behaviour, &entry))?;
            Ok(parts)
        });
        match replayed {
            Err(reason) => self.quarantine(id, format!("its records cannot be replayed: {reason}")),
            Ok(parts) => {
                self.mark_dirty(parts);
                let Some(cell) = self.cells.get(id) else { return };
                let before = std::mem::replace(&mut cell.state, CellState::Running(behaviour));
                tracing::info!(?id, kind = B::Wire::kind_name(id.kind()), "recovered");
                self.take_turn_alone(id, "recovered", EventId::NONE, |behaviour, out| {
                    behaviour.recovered(Recovery::Failure, out);
                });
                if let CellState::Recovering(parked) = before {
                    self.deliver_parked(parked);
                }
            }
        }
    }
}

/// Takes one entry over into a behaviour. A panic of the behaviour is an error here.
pub(super) fn replay<B: Behaviour>(behaviour: &mut B, entry: &Entry) -> Result<(), String> {
    let records: Vec<B::Record> = match entry.kind {
        EntryKind::Record => vec![codec::decode(&entry.bytes).map_err(|error| error.to_string())?],
        EntryKind::Snapshot if entry.bytes.is_empty() => Vec::new(),
        EntryKind::Snapshot => codec::decode(&entry.bytes).map_err(|error| error.to_string())?,
        EntryKind::Forget => Vec::new(),
    };
    catch_unwind(AssertUnwindSafe(|| records.into_iter().for_each(|record| behaviour.replay(record))))
        .map_err(|panic| format!("a record made it panic: {}", panic_text(&*panic)))
}
