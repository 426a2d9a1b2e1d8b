//! What waits to be written, and the thread that writes it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;
use twinway_protocol::{
    TwinId,
    signal::Event,
    time::Timestamp,
    twin::{Invocation, InvocationState, TwinView},
};

use super::{HistoryError, HistoryStore, MissedVersions, Moment, PastEvent, Retention, What};
use crate::outside::wall;

/// How many views one transaction takes at most.
const BATCH_MAX: usize = 4_096;
/// How many rows one look for what is to be let go takes at most.
const TRIM_ROWS_MAX: usize = 1_024;
/// How long what comes gathers before it is written, unless a reader waits for it: each batch costs a transaction.
const GATHERED_FOR: Duration = Duration::from_millis(10);
/// How often is looked for what is to be let go when nothing else happens.
const TRIM_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
enum Item {
    View(Arc<TwinView>),
    Gone(TwinId, Timestamp),
    Event(Arc<Event>),
    /// So many events of a twin found no room.
    EventsMissed(TwinId, u64),
}

impl Item {
    fn twin(&self) -> Option<&TwinId> {
        match self {
            Self::View(view) => Some(&view.id),
            Self::Gone(twin, _) | Self::EventsMissed(twin, _) => Some(twin),
            Self::Event(event) => event.twin.as_ref(),
        }
    }
}

/// Of a twin for which the queue had no room, or of which something could not be written: its newest view, or that it is
/// gone, and how many events came.
#[derive(Debug, Default)]
struct Beyond {
    newest: Option<Item>,
    events: u64,
}

impl Beyond {
    fn add(&mut self, item: Item) {
        match item {
            Item::Event(_) => self.events += 1,
            Item::EventsMissed(_, events) => self.events += events,
            Item::View(_) | Item::Gone(..) => self.newest = Some(item),
        }
    }

    fn items(self, twin: TwinId) -> impl Iterator<Item = Item> {
        (self.events > 0).then_some(Item::EventsMissed(twin, self.events)).into_iter().chain(self.newest)
    }
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<(u64, Item)>,
    /// The newest views of twins that the queue had no room for, and of those twins what came since.
    beyond: BTreeMap<TwinId, Beyond>,
    /// How many were put, since the start.
    put: u64,
    /// How many of them the thread has taken.
    taken: u64,
    /// How many of them a reader waits for.
    asked: u64,
    closed: bool,
    idle: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.beyond.is_empty()
    }
}

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    written: watch::Sender<u64>,
    queue_max: usize,
}

impl Queue {
    pub(super) fn new(queue_max: usize) -> Self {
        Self { waiting: Mutex::default(), wake: Condvar::new(), written: watch::Sender::new(0), queue_max }
    }

    pub(super) fn put(&self, view: &Arc<TwinView>) {
        self.push(&view.id, || Item::View(Arc::clone(view)));
    }

    pub(super) fn gone(&self, twin: &TwinId, at: Timestamp) {
        self.push(twin, || Item::Gone(twin.clone(), at));
    }

    pub(super) fn event(&self, event: &Arc<Event>) {
        if let Some(twin) = &event.twin {
            self.push(twin, || Item::Event(Arc::clone(event)));
        }
    }

    fn push(&self, twin: &TwinId, item: impl FnOnce() -> Item) {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return;
        }
        waiting.put += 1;
        if waiting.queue.len() >= self.queue_max || waiting.beyond.contains_key(twin) {
            metrics::counter!("twinway_history_put_off_total").increment(1);
            waiting.beyond.entry(twin.clone()).or_default().add(item());
        } else {
            let number = waiting.put;
            waiting.queue.push_back((number, item()));
        }
        if waiting.idle || waiting.queue.len() == self.gathered_max() {
            waiting.idle = false;
            self.wake.notify_one();
        }
    }

    /// What gathers no longer than until it is so many.
    fn gathered_max(&self) -> usize {
        BATCH_MAX.min(self.queue_max / 2 + 1)
    }

    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.idle = false;
        self.wake.notify_one();
    }

    /// Waits until what was put before is written, or will never be.
    pub(super) async fn written(&self) {
        let put = {
            let mut waiting = self.waiting.lock();
            waiting.asked = waiting.put;
            if waiting.asked > waiting.taken {
                self.wake.notify_one();
            }
            waiting.put
        };
        // It ends with the queue itself, which is kept here.
        let _ = self.written.subscribe().wait_for(|written| *written >= put).await;
    }

    /// What is to be written next, and the count of what is written then; `None`: nothing comes any more.
    fn take(&self) -> Option<(Vec<Item>, u64)> {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() && !waiting.closed {
            waiting.idle = true;
            self.wake.wait_for(&mut waiting, TRIM_EVERY);
            waiting.idle = false;
        }
        if waiting.is_empty() {
            return (!waiting.closed).then(|| (Vec::new(), waiting.put));
        }
        if waiting.queue.len() < self.gathered_max() && waiting.asked <= waiting.taken && !waiting.closed {
            self.wake.wait_for(&mut waiting, GATHERED_FOR);
        }
        let count = waiting.queue.len().min(BATCH_MAX);
        let mut items: Vec<_> = waiting.queue.drain(..count).map(|(_, item)| item).collect();
        if waiting.queue.is_empty() {
            items.extend(std::mem::take(&mut waiting.beyond).into_iter().flat_map(|(twin, beyond)| beyond.items(twin)));
        }
        let written = waiting.queue.front().map_or(waiting.put, |(number, _)| number.saturating_sub(1));
        waiting.taken = written;
        Some((items, written))
    }
}

/// Ends the thread when nobody keeps it.
#[derive(Debug)]
pub(super) struct End {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl End {
    /// Waits until the thread has ended.
    pub(super) fn join(&self) {
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the history failed");
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Makes moments of what is published, and writes them.
pub(super) struct Writer {
    queue: Arc<Queue>,
    store: Arc<Mutex<dyn HistoryStore>>,
    retention: Retention,
    sequence: u64,
    /// What was written last of each twin. Readers keep the same views, so that this costs their addresses only.
    last: HashMap<TwinId, Arc<TwinView>>,
}

impl Writer {
    pub(super) fn begin(
        queue: Arc<Queue>,
        store: Arc<Mutex<dyn HistoryStore>>,
        retention: Retention,
    ) -> Result<End, HistoryError> {
        let sequence = store.lock().extent()?.last_sequence;
        let mut writer = Self { queue: Arc::clone(&queue), store, retention, sequence, last: HashMap::new() };
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|error| HistoryError(error.to_string()))?;
        Ok(End { queue, thread: Mutex::new(Some(thread)) })
    }

    fn run(&mut self) {
        // Whatever happens, nobody waits for ever for what was put.
        struct Ended(Arc<Queue>);
        impl Drop for Ended {
            fn drop(&mut self) {
                self.0.close();
                self.0.written.send_replace(u64::MAX);
            }
        }
        let _ended = Ended(Arc::clone(&self.queue));
        let mut failing = false;
        let mut unwritten: BTreeMap<TwinId, Beyond> = BTreeMap::new();
        while let Some((new, written)) = self.queue.take() {
            let again = std::mem::take(&mut unwritten).into_iter().flat_map(|(twin, beyond)| beyond.items(twin));
            let items: Vec<Item> = again.chain(new).collect();
            let kept = self.write(&items);
            if kept.is_err() {
                // What was not written is found by comparing with the store again.
                self.last.clear();
                for (twin, item) in items.into_iter().filter_map(|item| Some((item.twin()?.clone(), item))) {
                    unwritten.entry(twin).or_default().add(item);
                }
            }
            match kept.and_then(|()| self.trim()) {
                Ok(()) => failing = false,
                Err(error) => {
                    metrics::counter!("twinway_history_failures_total").increment(1);
                    if !failing {
                        tracing::error!(%error, "history is not kept; what is missed will be told");
                    }
                    failing = true;
                }
            }
            self.queue.written.send_replace(written);
        }
    }

    fn write(&mut self, items: &[Item]) -> Result<(), HistoryError> {
        let (before, mut moments, mut events_missed) = (self.sequence, Vec::new(), 0);
        for item in items {
            match item {
                Item::View(view) => self.changes(view, &mut moments)?,
                Item::Gone(twin, at) => {
                    let version = self.last.remove(twin).map_or(0, |view| view.version);
                    self.push(&mut moments, twin, *at, version, What::Gone);
                }
                Item::Event(event) => self.happened(event, &mut moments),
                Item::EventsMissed(twin, events) => {
                    events_missed += *events;
                    let missed = MissedVersions { events: *events, ..MissedVersions::default() };
                    self.push(&mut moments, twin, wall(), self.version(twin), What::Missed(missed));
                }
            }
        }
        if moments.is_empty() {
            return Ok(());
        }
        let kept = self.store.lock().append(&moments, wall(), self.retention);
        match &kept {
            Ok(()) => {
                metrics::counter!("twinway_history_values_total").increment(moments.len() as u64);
                metrics::counter!("twinway_history_missed_total").increment(events_missed);
            }
            Err(_) => self.sequence = before,
        }
        kept
    }

    fn push(&mut self, moments: &mut Vec<Moment>, twin: &TwinId, at: Timestamp, version: u64, what: What) {
        self.sequence += 1;
        moments.push(Moment { sequence: self.sequence, twin: twin.clone(), at, version, what });
    }

    /// What a view shows that was not written.
    fn changes(&mut self, view: &Arc<TwinView>, moments: &mut Vec<Moment>) -> Result<(), HistoryError> {
        let known = self.known(view, moments)?;
        let mut new: Vec<_> = view
            .properties
            .iter()
            .filter(|(name, property)| known.get(*name) != Some(&(property.version, property.at)))
            .collect();
        new.sort_by_key(|(_, property)| property.version);
        // A view's own version is also that of what is not described any more.
        let written = || known.values().map(|(version, _)| *version).max().unwrap_or(0);
        let before = self.last.get(&view.id).map_or_else(written, |last| last.version);
        // A lower version is a twin that was registered anew, or whose last changes a crash took. Of one of which nothing was
        // written, all versions before are missed: a crash took them, or it is older than its history.
        if let Some((_, newest)) = new.last()
            && newest.version > before
        {
            let mut shown: Vec<_> =
                new.iter().map(|(_, property)| property.version).filter(|it| *it > before).collect();
            shown.dedup();
            let missed = (newest.version - before).saturating_sub(shown.len() as u64);
            if missed > 0 {
                metrics::counter!("twinway_history_missed_total").increment(missed);
                let (first_version, last_version) = (before + 1, newest.version);
                let missed = MissedVersions { first_version, last_version, missed, ..MissedVersions::default() };
                self.push(moments, &view.id, newest.at, newest.version, What::Missed(missed));
            }
        }
        for (property, value) in new {
            let what = What::Value { property: property.clone(), value: value.value.clone() };
            self.push(moments, &view.id, value.at, value.version, what);
        }
        self.actions(view, moments)?;
        self.last.insert(view.id.clone(), Arc::clone(view));
        Ok(())
    }

    fn version(&self, twin: &TwinId) -> u64 {
        self.last.get(twin).map_or(0, |view| view.version)
    }

    /// An event of a twin, as its watchers were told it.
    fn happened(&mut self, event: &Event, moments: &mut Vec<Moment>) {
        if let (Some(twin), Ok(PastEvent { name, data })) = (&event.twin, event.data.read()) {
            self.push(moments, twin, event.at, self.version(twin), What::Event { name, data });
        }
    }

    /// Actions that a view shows as invoked, or as ended, and the one before did not. Their progress is not kept.
    fn actions(&mut self, view: &TwinView, moments: &mut Vec<Moment>) -> Result<(), HistoryError> {
        let Some(shown) = &view.invocations else { return Ok(()) };
        let last = self.last.get(&view.id).cloned();
        for invocation in shown.values() {
            let before = last.as_ref().and_then(|last| last.invocations.as_ref()?.get(&invocation.id));
            let (state, by) = (InvocationState::Pending, None);
            let begun = Invocation { state, by, progress: None, detail: None, ..invocation.clone() };
            let begun = Invocation { output: None, ended_at: None, ..begun };
            let is_new = before.is_none().then_some(begun);
            let has_ended = invocation.state.is_end() && before.is_none_or(|before| !before.state.is_end());
            let ended = has_ended.then(|| Invocation { by: None, ..invocation.clone() });
            for invocation in is_new.into_iter().chain(ended) {
                let at = invocation.ended_at.unwrap_or(invocation.at);
                let Ok(document) = twinway_protocol::JsonDoc::from_value(&invocation) else { continue };
                let what = What::Action { action: invocation.action, invocation: document };
                let moment = Moment { sequence: 0, twin: view.id.clone(), at, version: view.version, what };
                // After a start twins show again what they showed before.
                if last.is_some() || !self.was_kept(&moment)? {
                    self.push(moments, &view.id, at, view.version, moment.what);
                }
            }
        }
        Ok(())
    }

    /// Whether the store has this, or had it.
    fn was_kept(&self, moment: &Moment) -> Result<bool, HistoryError> {
        let mut store = self.store.lock();
        Ok(moment.at < store.extent()?.kept_from || store.has(moment)?)
    }

    /// Version and time of what was written last of each property of a twin.
    fn known(&self, view: &TwinView, moments: &[Moment]) -> Result<BTreeMap<String, (u64, Timestamp)>, HistoryError> {
        if let Some(last) = self.last.get(&view.id) {
            let known = last.properties.iter().map(|(name, property)| (name.clone(), (property.version, property.at)));
            return Ok(known.collect());
        }
        // It may have gone and come back within one batch, which the store does not know yet.
        if moments.iter().any(|moment| moment.twin == view.id && matches!(moment.what, What::Gone)) {
            return Ok(BTreeMap::new());
        }
        let kept = self.store.lock().at(&view.id, Timestamp::MAX)?;
        Ok(kept
            .into_iter()
            .filter_map(|Moment { at, version, what, .. }| match what {
                What::Value { property, .. } => Some((property, (version, at))),
                _ => None,
            })
            .collect())
    }

    fn trim(&self) -> Result<(), HistoryError> {
        let mut store = self.store.lock();
        store.trim(self.retention, wall(), TRIM_ROWS_MAX)?;
        metrics::gauge!("twinway_history_bytes").set(store.extent()?.bytes as f64);
        Ok(())
    }
}
