//! A digital twin: what it shows, and who watches it (FGMV-28 REQ-DT-01; FGMV-29 9.2 steps 10, 14, 17 and 18).
//!
//! There may be millions: what a twin keeps is small, and its values exist once, in what readers were handed.

mod shown;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, Problem, ProblemKind, Recovery, Ref, SystemId, TwinId,
    message::{
        AdoptProperties, ApplyChange, ChangeApplied, ChangeReflected, DTIA, DTSR, DescribeTwin, DigitalTwinSystemMsg,
        ForgetTwin, Kept, MetaverseSystemMsg, PropertyValues, ReadTwin, Reannounce, ReflectChange, ReflectLease,
        TwinGone, TwinMessage, TwinMsg, TwinRead, WatchTwin, Wire,
    },
    signal::Signal,
    time::Timestamp,
    twin::{PropertyValue, RegisteredTwin, TwinView},
};

use crate::{
    Settings,
    mutation::{Mutation, broken},
    settings::pending_full,
};
pub(crate) use shown::PropertyNames;
use shown::Shown;

/// What DTSR tells of the twin.
#[derive(Debug)]
struct Described {
    system: SystemId,
    system_entity: Ref<DigitalTwinSystemMsg>,
    twin: Arc<RegisteredTwin>,
    properties: PropertyNames,
}

/// How new values come to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Reported: as of some moment, and perhaps late. Written down within the loss window.
    Reported(Timestamp),
    /// Said by the twin system when it was asked for them.
    Adopted,
    /// Carried out on request: newer than whatever was reported, even by a clock that runs ahead.
    Applied,
}

/// A metaverse system that selected the twin.
#[derive(Debug)]
struct Watcher {
    metaverse: SystemId,
    entity: Ref<MetaverseSystemMsg>,
}

/// What a twin writes down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum TwinRecord {
    /// Properties have new values.
    Changed {
        /// The version that shows them.
        version: u64,
        /// Those that are new.
        properties: BTreeMap<String, PropertyValue>,
    },
    /// A metaverse system selected the twin.
    Watched {
        /// The metaverse system.
        metaverse: SystemId,
        /// Its actor.
        entity: Ref<MetaverseSystemMsg>,
    },
    /// A metaverse system let the twin go.
    Unwatched {
        /// The metaverse system.
        metaverse: SystemId,
    },
}

/// A digital twin.
#[derive(Debug)]
pub struct Twin {
    described: Option<Box<Described>>,
    shown: Shown,
    /// In the order of names.
    watchers: Vec<Watcher>,
    /// Made with the first change that is asked of the twin: most never are.
    changes: Option<Box<Pending<Asker<ApplyChange>>>>,
    questions_max: usize,
}

impl Behaviour for Twin {
    type Wire = Wire;
    type Msg = TwinMsg;
    type Record = TwinRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, _incarnation: u32) -> Self {
        Self {
            described: None,
            shown: Shown::Undescribed(Box::default()),
            watchers: Vec::new(),
            changes: None,
            questions_max: settings.pending_questions_max,
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<TwinMsg>, out: &mut Out<'_, Self>) {
        match message {
            TwinMsg::DescribeTwin(description) => {
                let described = self.describe(description, out).map(|()| Kept);
                out.reply(meta.asker::<DescribeTwin>(out.event()), described);
            }
            TwinMsg::WatchTwin(watch) => {
                self.watch(watch, out);
                out.reply(meta.asker::<WatchTwin>(out.event()), Ok(Kept));
            }
            TwinMsg::AdoptProperties(properties) => {
                let adopted = self.adopt(&properties, out).map(|()| Kept);
                out.reply(meta.asker::<AdoptProperties>(out.event()), adopted);
            }
            TwinMsg::ForgetTwin(_) => {
                self.end(out);
                out.reply(meta.asker::<ForgetTwin>(out.event()), Ok(Kept));
                out.stop();
            }
            TwinMsg::ReadTwin(ReadTwin) => {
                let read = self.view().map(|view| TwinRead { view: Arc::clone(view) });
                out.reply(meta.asker::<ReadTwin>(out.event()), read);
            }
            TwinMsg::ReflectChange(change) => self.reflect_reported(&change, out),
            TwinMsg::ApplyChange(change) => self.apply(&meta, change, out),
            TwinMsg::ChangeApplied(answer) => self.applied(&meta, answer, out),
            TwinMsg::PassTwinMessage(pass) => out.send(pass.entity, *pass.message),
            TwinMsg::TwinMessage(message) => self.hear(&message, out),
            TwinMsg::ReflectLease(reflected) => self.reflect_lease(&reflected, out),
        }
    }

    fn replay(&mut self, record: TwinRecord) {
        match record {
            TwinRecord::Changed { version, properties } => self.shown.change(version, properties),
            TwinRecord::Watched { metaverse, entity } => {
                let place = match self.watcher(&metaverse) {
                    Ok(index) => index..index + 1,
                    Err(index) => index..index,
                };
                self.watchers.splice(place, [Watcher { metaverse, entity }]);
            }
            TwinRecord::Unwatched { metaverse } => {
                if let Ok(index) = self.watcher(&metaverse) {
                    self.watchers.remove(index);
                }
            }
        }
    }

    fn snapshot(&self, _part: u64, into: &mut Vec<TwinRecord>) {
        if self.shown.version() > 0 {
            let (version, properties) = (self.shown.version(), self.shown.properties().clone());
            into.push(TwinRecord::Changed { version, properties });
        }
        into.extend(
            self.watchers
                .iter()
                .map(|watcher| TwinRecord::Watched { metaverse: watcher.metaverse.clone(), entity: watcher.entity }),
        );
    }

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        // When the daemon starts, DTSR recovers too and tells everybody.
        if why == Recovery::Failure {
            out.send(DTSR, Reannounce);
            if broken(Mutation::WatchersForgotten) {
                return self.watchers.clear();
            }
            out.send(DTIA, Reannounce);
        }
    }
}

/// All of a twin's state is one part of the journal.
const PART: u64 = 0;

impl Twin {
    fn described(&self) -> Result<&Described, Problem> {
        self.described.as_deref().ok_or_else(undescribed)
    }

    fn view(&self) -> Result<&Arc<TwinView>, Problem> {
        if let Shown::View(view) = &self.shown { Ok(view) } else { Err(undescribed()) }
    }

    fn watcher(&self, metaverse: &SystemId) -> Result<usize, usize> {
        self.watchers.binary_search_by(|watcher| watcher.metaverse.cmp(metaverse))
    }

    /// Within FGMV-29 9.2 step 2. What DTSR says is not written down here: DTSR has it, and tells it again.
    fn describe(&mut self, description: DescribeTwin, out: &mut Out<'_, Self>) -> Result<(), Problem> {
        let DescribeTwin { system, system_entity, twin } = description;
        if self
            .described
            .as_ref()
            .is_some_and(|known| known.twin == twin && known.system == system && known.system_entity == system_entity)
        {
            return Ok(());
        }
        let names = PropertyNames::read(&twin.entry.description)?;
        if self.described.is_none() && self.watchers.is_empty() {
            // A selection may be durable at DTIA of which this twin, made anew after a crash, has not heard.
            out.send(DTIA, Reannounce);
        }
        let mut properties = self.shown.properties().clone();
        properties.retain(|name, _| names.has(name));
        let view = Arc::new(TwinView {
            id: twin.entry.id.clone(),
            system: system.clone(),
            physical_object: twin.entry.physical_object.clone(),
            class: twin.entry.class,
            version: self.shown.version(),
            properties,
            description: twin.entry.description.clone(),
        });
        out.signal(Signal::Twin(Arc::clone(&view)));
        self.shown = Shown::View(view);
        self.described = Some(Box::new(Described { system, system_entity, twin, properties: names }));
        Ok(())
    }

    /// Within FGMV-29 9.2 step 7. It needs no description: after a restart DTIA may be first to speak.
    fn watch(&mut self, watch: WatchTwin, out: &mut Out<'_, Self>) {
        let WatchTwin { metaverse, entity, selected } = watch;
        let watching = self.watcher(&metaverse).ok().and_then(|index| self.watchers.get(index));
        let record = match (watching, selected) {
            (Some(watcher), true) if watcher.entity == entity => return,
            (None, false) => return,
            (_, true) => TwinRecord::Watched { metaverse, entity },
            (Some(_), false) => TwinRecord::Unwatched { metaverse },
        };
        out.record(PART, record.clone());
        self.replay(record);
    }

    /// FGMV-29 8.3.1: no system lists the twin any more. Who selected it hears so, and who waits for a change.
    fn end(&mut self, out: &mut Out<'_, Self>) {
        let Some(described) = self.described.take() else { return };
        let twin = described.twin.entry.id.clone();
        for asker in self.changes.take().into_iter().flat_map(|mut changes| changes.drain().collect::<Vec<_>>()) {
            out.reply(asker, Err(undescribed()));
        }
        for watcher in &self.watchers {
            out.send(watcher.entity, TwinGone { twin: twin.clone() });
        }
        out.signal(Signal::TwinGone(twin));
    }

    /// FGMV-29 9.2 step 10: the twin system said what the properties are.
    fn adopt(&mut self, properties: &AdoptProperties, out: &mut Out<'_, Self>) -> Result<(), Problem> {
        self.described()?;
        self.change(&properties.values, Change::Adopted, out);
        Ok(())
    }

    /// FGMV-29 9.2 step 14: the physical object has changed.
    fn reflect_reported(&mut self, change: &ReflectChange, out: &mut Out<'_, Self>) {
        if let Some(accepted) = self.change(&change.values, Change::Reported(change.at), out) {
            // All of them, in the usual case: then nothing is copied.
            let all = accepted.len() == change.values.len();
            let values = if all { Arc::clone(&change.values) } else { Arc::new(accepted) };
            self.reflect(&change.twin, values, change.at, out);
        }
        // What was not accepted is shown by something newer.
        if let Some(reporter) = change.reporter {
            out.send(reporter.entity, ChangeReflected { report: reporter.report, version: self.shown.version() });
        }
    }

    /// FGMV-29 9.2 step 17: by the physical object, where there is one, to the twin system.
    fn apply(&mut self, meta: &Meta, change: ApplyChange, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ApplyChange>(out.event());
        let (system, object) = match self.described() {
            Ok(described) => (described.system_entity, described.twin.object),
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let change = ApplyChange { system_entity: system, ..change };
        let object = object.filter(|_| !broken(Mutation::GatePassedBy));
        let questions_max = self.questions_max;
        let changes = self.changes.get_or_insert_with(|| {
            // A twin that has recovered makes its table anew: no answer from before finds a question in it.
            Box::new(Pending::new(questions_max, out.chance() as u32))
        });
        match (changes.insert(asker), object) {
            (Ok(key), Some(object)) => out.ask(object, change, key),
            (Ok(key), None) => out.ask(system, change, key),
            (Err(asker), _) => out.reply(asker, Err(pending_full())),
        }
    }

    /// FGMV-29 9.2 step 18: the twin system has done it.
    fn applied(&mut self, meta: &Meta, answer: Result<ChangeApplied, Problem>, out: &mut Out<'_, Self>) {
        let Some(asker) = self.changes.as_mut().and_then(|changes| changes.take(meta.pending)) else { return };
        if let (Ok(applied), Ok(described)) = (&answer, self.described()) {
            let twin = described.twin.entry.id.clone();
            if let Some(accepted) = self.change(&applied.values, Change::Applied, out) {
                self.reflect(&twin, Arc::new(accepted), out.now().wall, out);
            }
        }
        out.reply(asker, answer);
    }

    /// FGMV-28 REQ-DT-06: a message from another twin reaches those who watch this one.
    fn hear(&self, message: &TwinMessage, out: &mut Out<'_, Self>) {
        for watcher in &self.watchers {
            out.send(watcher.entity, message.clone());
        }
    }

    /// FGMV-28 REQ-DT-07: those who selected the twin hear what became of the lease of its object.
    fn reflect_lease(&self, reflected: &ReflectLease, out: &mut Out<'_, Self>) {
        for watcher in &self.watchers {
            out.send(watcher.entity, reflected.clone());
        }
    }

    /// Shows new values, writes them down and publishes them; gives those that are shown now, if there are any.
    fn change(&mut self, values: &PropertyValues, how: Change, out: &mut Out<'_, Self>) -> Option<PropertyValues> {
        let version = self.shown.version().saturating_add(1);
        let now = out.now().wall;
        let mut accepted = PropertyValues::new();
        let mut properties = BTreeMap::new();
        for (name, value) in values {
            // Twins of one object may differ in what they describe: each takes what is its own.
            if self.described.as_ref().is_some_and(|described| !described.properties.has(name)) {
                continue;
            }
            let shown_at = self.shown.properties().get(name).map(|shown| shown.at);
            let at = match how {
                Change::Reported(at) => at,
                Change::Adopted => now,
                Change::Applied => shown_at.map_or(now, |shown_at| shown_at.max(now)),
            };
            if shown_at.is_some_and(|shown_at| shown_at > at) && !broken(Mutation::OlderReportWins) {
                continue;
            }
            properties.insert(name.clone(), PropertyValue { value: value.clone(), version, at });
            accepted.insert(name.clone(), value.clone());
        }
        if accepted.is_empty() {
            return None;
        }
        let record = TwinRecord::Changed { version, properties };
        match how {
            Change::Reported(_) => out.record_batched(PART, record.clone()),
            Change::Adopted | Change::Applied => out.record(PART, record.clone()),
        }
        self.replay(record);
        if let Shown::View(view) = &self.shown {
            out.signal(Signal::Twin(Arc::clone(view)));
        }
        Some(accepted)
    }

    /// FGMV-29 9.2 step 14: those who selected the twin hear of it.
    fn reflect(&self, twin: &TwinId, values: Arc<PropertyValues>, at: Timestamp, out: &mut Out<'_, Self>) {
        let version = self.shown.version();
        for watcher in &self.watchers {
            let change = ReflectChange { twin: twin.clone(), values: Arc::clone(&values), at, version, reporter: None };
            out.send(watcher.entity, change);
        }
    }
}

fn undescribed() -> Problem {
    Problem::new(ProblemKind::TwinUnknown, "the twin is not registered, or has not been told yet what it is")
}

#[cfg(test)]
mod tests;
