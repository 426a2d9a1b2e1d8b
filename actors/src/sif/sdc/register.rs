//! The executions that SDC keeps (FGMV-29 8.2.4): those under way, and those that ended not long ago.

use std::collections::{BTreeMap, BTreeSet};

use twinway_protocol::{
    Asker, ExecutionId, PendingKey, Problem, ProblemKind, SystemId,
    collaboration::{self as view, ExecutionState},
    message::{ListExecutions, ReadExecution, RunChain},
    registry::Page,
    time::Timestamp,
};

use super::{
    execution::Execution,
    record::{Happening, Record, Started},
};
use crate::sif::numbered::{Numbered, take_out};

/// An execution, and what of it is not written down.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) execution: Execution,
    /// What it waits for before it goes on.
    pub(super) driver: Option<PendingKey>,
    /// Its deadline.
    pub(super) deadline: Option<PendingKey>,
    /// It was under way when this life of SDC began, and the systems may not be known yet.
    pub(super) recovering: bool,
    /// Who waits for its end.
    pub(super) waiters: BTreeMap<PendingKey, Waiter>,
}

impl Kept {
    /// Why no further step may be begun, if so.
    pub(super) fn stop(&self, now: Timestamp) -> Option<Problem> {
        if self.execution.cancelling {
            return Some(Problem::new(ProblemKind::ExecutionCancelled, "the execution was cancelled"));
        }
        // In this life its timer says it, whatever the wall clock does.
        let late = self.deadline.is_none() && self.execution.started.deadline_at <= now;
        late.then(|| Problem::new(ProblemKind::OutsideTimeout, "the steps were not done within `deadlineMs`"))
    }
}

/// Who waits for the end of an execution.
#[derive(Debug)]
pub(super) enum Waiter {
    Run(Asker<RunChain>),
    Read(Asker<ReadExecution>),
}

/// All executions.
#[derive(Debug, Default)]
pub(super) struct Register {
    pub(super) all: Numbered<Kept>,
    by_id: BTreeMap<ExecutionId, u64>,
    by_key: BTreeMap<(SystemId, Box<str>), u64>,
    by_metaverse: BTreeMap<SystemId, BTreeSet<u64>>,
    under_way: BTreeMap<SystemId, BTreeSet<u64>>,
    ended: BTreeSet<(Timestamp, u64)>,
}

impl Register {
    pub(super) fn by_id(&self, id: &ExecutionId) -> Option<&Kept> {
        self.by_id.get(id).and_then(|number| self.all.get(*number))
    }

    /// The execution that a metaverse system asked for under this key.
    pub(super) fn by_key(&self, metaverse: &SystemId, key: &str) -> Option<u64> {
        self.by_key.get(&(metaverse.clone(), key.into())).copied()
    }

    /// How many executions of a metaverse system are under way.
    pub(super) fn under_way_of(&self, metaverse: &SystemId) -> usize {
        self.under_way.get(metaverse).map_or(0, BTreeSet::len)
    }

    /// Every execution that is under way.
    pub(super) fn under_way(&self) -> Vec<u64> {
        self.under_way.values().flatten().copied().collect()
    }

    /// What ended first, and when.
    pub(super) fn first_ended(&self) -> Option<(Timestamp, u64)> {
        self.ended.first().copied()
    }

    /// The execution of this id, if it is this metaverse system's: nobody else learns that it exists.
    ///
    /// # Errors
    /// [`ProblemKind::RequestUnknown`].
    pub(super) fn of(&self, metaverse: &SystemId, id: &ExecutionId) -> Result<u64, Problem> {
        let found = self.by_id(id).filter(|kept| kept.execution.started.metaverse == *metaverse);
        let unknown = || Problem::new(ProblemKind::RequestUnknown, format!("there is no execution `{id}`"));
        found.map(|kept| kept.execution.started.number).ok_or_else(unknown)
    }

    /// A page of a metaverse system's executions, the oldest first. Cursors are numbers.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`] for a cursor that no page gave.
    pub(super) fn list(&self, question: &ListExecutions) -> Result<Page<view::Execution>, Problem> {
        let no_cursor = |_| Problem::new(ProblemKind::InvalidQuery, "`cursor` is not the `next` of a page");
        let from = match &question.cursor {
            Some(cursor) => cursor.parse::<u64>().map_err(no_cursor)?.saturating_add(1),
            None => 0,
        };
        let limit = Page::<()>::items(question.limit);
        let own = self.by_metaverse.get(&question.metaverse).into_iter().flat_map(|all| all.range(from..));
        let mut found = own
            .filter_map(|number| self.all.get(*number))
            .filter(|kept| question.state.is_none_or(|state: ExecutionState| kept.execution.state() == state));
        let items: Vec<_> = found.by_ref().take(limit).collect();
        let more = found.next().is_some();
        let next = items.last().filter(|_| more).map(|kept| kept.execution.started.number.to_string());
        Ok(Page { items: items.into_iter().map(|kept| kept.execution.view()).collect(), next })
    }

    pub(super) fn replay(&mut self, record: Record) {
        match record {
            Record::Started(started) => self.start(*started),
            Record::Happened { number, at, what } => {
                let Some(kept) = self.all.get_mut(number) else { return };
                kept.execution.apply(at, what);
                if kept.execution.ended.is_some() {
                    take_out(&mut self.under_way, &kept.execution.started.metaverse, number);
                    self.ended.insert((at, number));
                }
            }
            Record::Forgotten(number) => self.forget(number),
        }
    }

    fn start(&mut self, started: Started) {
        let (number, metaverse) = (started.number, started.metaverse.clone());
        let (id, key) = (started.id.clone(), started.key.clone());
        let execution = Execution::new(started);
        self.by_id.insert(id, number);
        if let Some(key) = key {
            self.by_key.insert((metaverse.clone(), key), number);
        }
        self.by_metaverse.entry(metaverse.clone()).or_default().insert(number);
        self.under_way.entry(metaverse).or_default().insert(number);
        let kept = Kept { execution, driver: None, deadline: None, recovering: false, waiters: BTreeMap::new() };
        self.all.insert(number, kept);
    }

    fn forget(&mut self, number: u64) {
        let Some(Kept { execution, .. }) = self.all.remove(number) else { return };
        let Started { id, metaverse, key, .. } = execution.started;
        self.by_id.remove(&id);
        if let Some(key) = key {
            self.by_key.remove(&(metaverse.clone(), key));
        }
        take_out(&mut self.by_metaverse, &metaverse, number);
        if let Some((_, at)) = execution.ended {
            self.ended.remove(&(at, number));
        }
    }

    /// The records that make the same execution again.
    pub(super) fn snapshot(&self, number: u64, into: &mut Vec<Record>) {
        let Some(Kept { execution, .. }) = self.all.get(number) else { return };
        into.push(Record::Started(Box::new(execution.started.clone())));
        let happened = |(at, what): &(Timestamp, Happening)| Record::Happened { number, at: *at, what: what.clone() };
        into.extend(execution.happened.iter().map(happened));
    }
}
