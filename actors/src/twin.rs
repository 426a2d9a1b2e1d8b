//! A digital twin: what it shows, and who watches it (FGMV-28 REQ-DT-01; FGMV-29 9.2 steps 10, 14, 17 and 18).
//!
//! There may be millions: what a twin keeps is small, and its values exist once, in what readers were handed.

mod invoking;
mod pacing;
mod refreshing;
mod shown;
mod wants;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Behaviour, EntityId, Envelope, JsonDoc, Out, PendingKey, Problem, ProblemKind, Recovery, Ref, SystemId, TwinId,
    message::{
        AdoptProperties, ChangeApplied, ChangeReflected, DTAC, DTDA, DTIA, DTSR, DescribeTwin, DigitalTwinSystemMsg,
        EmitTwinEvent, ForgetTwin, Kept, MetaverseSystemMsg, NotifyWatcher, PassPermission, PropertyValues, ReadTwin,
        Reannounce, ReflectChange, ReflectLease, RefreshTwin, ReportAction, TellLease, TwinGone,
        TwinInformationChanged, TwinMessage, TwinMsg, TwinRead, WatchTwin, Wire,
    },
    signal::{Event, Signal},
    time::Timestamp,
    twin::{DropReason, PropertyValue, RegisteredTwin, TwinView},
};

use crate::{
    Settings,
    mutation::{Mutation, broken},
};
pub use invoking::{EndedRecord, InvokedRecord, TWIN_ACTIONS_ENDED_KEPT, TWIN_ACTIONS_MAX};
pub(crate) use shown::PropertyNames;
use shown::Shown;
use wants::Wants;

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
    /// An action is on its way to the device.
    Invoked(InvokedRecord),
    /// An action has ended.
    InvocationEnded(EndedRecord),
}

/// A digital twin.
#[derive(Debug)]
pub struct Twin {
    described: Option<Box<Described>>,
    shown: Shown,
    /// In the order of names.
    watchers: Vec<Watcher>,
    /// Made with the first change that is asked of the twin: most never are.
    wants: Option<Box<Wants>>,
    /// How many changes of it may wait for their answers.
    questions_max: u32,
    /// How long its system may take to answer, in milliseconds.
    answer_ms_max: u32,
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
            wants: None,
            questions_max: u32::try_from(settings.pending_questions_max).unwrap_or(u32::MAX),
            answer_ms_max: u32::try_from(settings.outside_answer_ms_max).unwrap_or(u32::MAX),
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
            TwinMsg::ObserveTwin(_) => self.wants(out).is_observed = true,
            TwinMsg::PassTwinMessage(pass) => out.send(pass.entity, *pass.message),
            TwinMsg::TwinMessage(message) => self.hear(&message, out),
            TwinMsg::ReflectLease(reflected) => self.reflect_lease(reflected, out),
            TwinMsg::ChangeUnderWay(change) => self.under_way(change.change, change.until, out),
            TwinMsg::ChangeDropped(change) => self.dropped(change.change, DropReason::LeaseEnded, out),
            TwinMsg::ActionOver(over) => self.action_over(over.change, &over.ended, out),
            TwinMsg::ActionEnded(answer) => {
                if let Ok(ended) = &answer {
                    self.action_over(meta.pending, ended, out);
                }
                self.applied(&meta, answer.map(ChangeApplied::from), out);
            }
            TwinMsg::EmitTwinEvent(event) => {
                let emitted = self.emit(&event, out).map(|()| Kept);
                out.reply(meta.asker::<EmitTwinEvent>(out.event()), emitted);
            }
            TwinMsg::RefreshTwin(_) => {
                self.refresh(Some(meta.asker::<RefreshTwin>(out.event())), out);
            }
            TwinMsg::TwinPropertiesRead(answer) => self.refreshed(&meta, answer, out),
            TwinMsg::SynchronizeEvery(every) => self.synchronize_every(every.period_ms, out),
            TwinMsg::PassPermission(pass) => self.pass_permission(pass, out),
            TwinMsg::ReportAction(report) => {
                let reported = self.report_action(report, out).map(|()| Kept);
                out.reply(meta.asker::<ReportAction>(out.event()), reported);
            }
            TwinMsg::CancelAction(cancel) => self.cancel_action(&meta, &cancel, out),
            TwinMsg::ActionStopping(answer) => self.stopping(&meta, answer, out),
        }
    }

    fn timeout(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        self.overdue(key, out);
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
            TwinRecord::Invoked(invoked) => self.replay_invoked(invoked),
            TwinRecord::InvocationEnded(ended) => self.replay_ended(ended),
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
        self.snapshot_invocations(into);
    }

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        self.await_invocations(out);
        // When the daemon starts, DTSR recovers too and tells everybody.
        if why == Recovery::Failure {
            // Whether it was observed is forgotten: who no longer wants to know does not mind hearing it once.
            self.wants(out).is_observed = true;
            out.send(DTAC, Reannounce);
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
            desired: self.desired_shown(),
            invocations: self.invocations_shown(),
            description: twin.entry.description.clone(),
        });
        out.signal(Signal::Twin(Arc::clone(&view)));
        self.shown = Shown::View(view);
        self.described = Some(Box::new(Described { system, system_entity, twin, properties: names }));
        self.tell_observer(out);
        Ok(())
    }

    /// Within FGMV-29 9.2 step 7. It needs no description: after a restart DTIA may be first to speak.
    fn watch(&mut self, watch: WatchTwin, out: &mut Out<'_, Self>) {
        let WatchTwin { metaverse, entity, selected, period_ms } = watch;
        let watching = self.watcher(&metaverse).ok().and_then(|index| self.watchers.get(index));
        let record = match (watching, selected) {
            (Some(watcher), true) if watcher.entity == entity => None,
            (None, false) => None,
            (_, true) => Some(TwinRecord::Watched { metaverse: metaverse.clone(), entity }),
            (Some(_), false) => Some(TwinRecord::Unwatched { metaverse: metaverse.clone() }),
        };
        if let Some(record) = record {
            out.record(PART, record.clone());
            self.replay(record);
            self.arm_period(out);
        }
        // It is not written down: DTIA has it, and tells it again.
        self.pace(Some(metaverse), period_ms, out);
    }

    /// FGMV-29 8.3.1: no system lists the twin any more. Who selected it hears so, and who waits for a change.
    fn end(&mut self, out: &mut Out<'_, Self>) {
        let Some(described) = self.described.take() else { return };
        let twin = described.twin.entry.id.clone();
        if let Some(mut wants) = self.wants.take() {
            let waiting: Vec<_> = wants.waiting.drain().collect();
            waiting.into_iter().for_each(|waiting| waiting.refuse(&undescribed(), out));
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

    /// FGMV-28 REQ-DT-06: a message from another twin reaches those who watch this one.
    fn hear(&self, message: &TwinMessage, out: &mut Out<'_, Self>) {
        for watcher in &self.watchers {
            out.send(watcher.entity, message.clone());
        }
    }

    /// FGMV-29 8.3.5: a user's metaverse system hears what became of the user's permission, if it selected the twin.
    fn pass_permission(&self, pass: PassPermission, out: &mut Out<'_, Self>) {
        let watcher = self.watcher(&pass.metaverse).ok().and_then(|index| self.watchers.get(index));
        if let (Some(watcher), Ok(described)) = (watcher, self.described()) {
            let (twin, at) = (described.twin.entry.id.clone(), out.now().wall);
            out.send(watcher.entity, NotifyWatcher { event: pass.event, twin, at, data: pass.data });
        }
    }

    /// FGMV-28 REQ-DT-07: those who selected the twin hear what became of the lease of its object.
    fn reflect_lease(&self, reflected: ReflectLease, out: &mut Out<'_, Self>) {
        if self.watchers.is_empty() {
            return;
        }
        let ReflectLease { twin, moment } = reflected;
        let subject = twin.as_ref().map(ToString::to_string).unwrap_or_default();
        // Leases come and go more often than anybody looks: it is written when somebody reads it.
        let (at, data) = (moment.at, JsonDoc::deferred(moment));
        // One for all of them: there may be many, and nobody of them is told anything else.
        let event = Arc::new(Event::new("lease.changed", subject, twin, at, data));
        for watcher in &self.watchers {
            out.send(watcher.entity, TellLease { event: Arc::clone(&event) });
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
        self.publish(out);
        self.tell_observer(out);
        Some(accepted)
    }

    /// FGMV-29 8.2.5: DTDA hears that there is something new, and asks for it when it is time: a flood of changes
    /// is one message.
    fn tell_observer(&mut self, out: &mut Out<'_, Self>) {
        if let (Some(wants), Some(described)) = (&mut self.wants, &self.described)
            && std::mem::take(&mut wants.is_observed)
        {
            out.send(DTDA, TwinInformationChanged { twin: described.twin.entry.id.clone() });
        }
    }

    /// Readers have what the twin shows now.
    fn publish(&self, out: &mut Out<'_, Self>) {
        if let Shown::View(view) = &self.shown {
            out.signal(Signal::Twin(Arc::clone(view)));
        }
    }

    /// FGMV-29 9.2 step 14: those who selected the twin hear of it.
    fn reflect(&self, twin: &TwinId, values: Arc<PropertyValues>, at: Timestamp, out: &mut Out<'_, Self>) {
        self.reflect_to(self.watchers.iter(), twin, values, at, out);
    }

    fn reflect_to<'w>(
        &self,
        watchers: impl Iterator<Item = &'w Watcher>,
        twin: &TwinId,
        values: Arc<PropertyValues>,
        at: Timestamp,
        out: &mut Out<'_, Self>,
    ) {
        let version = self.shown.version();
        for watcher in watchers {
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
