//! Digital twin information acquisition (DTIA, FGMV-29 8.3.3): steps 6 to 12 of FGMV-29 9.2, and 17 of 9.1.

mod collecting;
mod listing;
mod requesting;
mod selections;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Mailbox, Meta, Out, Pending, PendingKey, Problem, ProblemKind, Recovery, Ref,
    SystemId, TwinId,
    message::{
        DTSR, DigitalTwinSystemMsg, DtiaMsg, ForgetTwinSystem, KeepTwinSystem, Kept, ListTwins, Reannounce,
        SelectTwins, TwinMsg, TwinsSelected, WatchTwin, Wire,
    },
    registry::TwinSystem,
    twin::{Affordances, RegisteredTwin, TwinEntry},
};

use super::{gathering::Gathering, limit_reached, twin_unknown};
use crate::{
    Settings,
    discovery::{Index, Searches},
    mutation,
    settings::pending_full,
};
use collecting::Collecting;
use listing::About;
use requesting::Requesting;
use selections::Selections;
pub use selections::{SelectionChange, SelectionPace};

/// The longest period of a selection, in milliseconds: a day.
const SELECTION_PERIOD_MS_MAX: u32 = 86_400_000;

/// What is known of a twin.
#[derive(Debug)]
struct KnownTwin {
    system: SystemId,
    system_entity: Ref<DigitalTwinSystemMsg>,
    entity: Ref<TwinMsg>,
    entry: Arc<TwinEntry>,
    affordances: Affordances,
    about: About,
}

/// A selection that is written down and waits for its twins to keep it.
#[derive(Debug)]
struct Selecting {
    asker: Asker<SelectTwins>,
    metaverse: SystemId,
    kept: Gathering,
}

/// What waits for answers.
#[derive(Debug)]
enum Waiting {
    Selecting(Box<Selecting>),
    Requesting(Box<Requesting>),
    Collecting(Box<Collecting>),
}

/// What DTIA writes down.
#[derive(Debug, Serialize, Deserialize)]
pub enum DtiaRecord {
    /// A metaverse system selected twins, or let them go.
    SelectionChanged(SelectionChange),
    /// It said how often it wants some of them synchronized.
    SelectionPaced(SelectionPace),
}

/// Digital twin information acquisition.
#[derive(Debug)]
pub struct Dtia {
    systems: BTreeSet<SystemId>,
    twins: Index<KnownTwin>,
    searches: Searches,
    selections: Selections,
    waiting: Pending<Waiting>,
    settings: Settings,
}

impl Behaviour for Dtia {
    type Wire = Wire;
    type Msg = DtiaMsg;
    type Record = DtiaRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            systems: BTreeSet::new(),
            twins: Index::default(),
            searches: Searches::default(),
            selections: Selections::default(),
            waiting: Pending::new(settings.pending_questions_max, incarnation),
            settings: settings.clone(),
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DtiaMsg>, out: &mut Out<'_, Self>) {
        match message {
            DtiaMsg::ForgetTwinSystem(ForgetTwinSystem { system, twins }) => {
                self.forget(&twins, out);
                self.systems.remove(&system.description.id);
                out.reply(meta.asker::<ForgetTwinSystem>(out.event()), Ok(Kept));
            }
            DtiaMsg::KeepTwinSystem(KeepTwinSystem { system, twins, gone }) => {
                self.forget(&gone, out);
                let kept = self.keep(&system, &twins).map(|()| Kept);
                out.reply(meta.asker::<KeepTwinSystem>(out.event()), kept);
            }
            DtiaMsg::ListTwins(question) => {
                let listed = self.list(question, out);
                out.reply(meta.asker::<ListTwins>(out.event()), listed);
            }
            DtiaMsg::SelectTwins(question) => self.select(&meta, question, out),
            DtiaMsg::Kept(answer) => self.selected(&meta, answer, out),
            DtiaMsg::RequestTwinPropertiesAndPermission(question) => self.request(&meta, question, out),
            DtiaMsg::TwinPropertiesAndPermission(answer) => self.answered(&meta, answer, out),
            DtiaMsg::TwinPermissionManaged(answer) => self.managed(&meta, answer, out),
            DtiaMsg::CollectTwinInformation(question) => self.collect(&meta, question, out),
            DtiaMsg::TwinRead(answer) => match self.waiting.get_mut(meta.pending) {
                Some(Waiting::Requesting(_)) => self.read(&meta, answer, out),
                Some(Waiting::Collecting(_)) => self.collected(&meta, answer, out),
                _ => {}
            },
            DtiaMsg::Reannounce(_) => self.reannounce(meta.from, out),
        }
    }

    fn replay(&mut self, record: DtiaRecord) {
        match record {
            DtiaRecord::SelectionChanged(change) => self.selections.take_over(change),
            DtiaRecord::SelectionPaced(pace) => self.selections.pace(pace),
        }
    }

    fn snapshot(&self, part: u64, into: &mut Vec<DtiaRecord>) {
        into.extend(self.selections.snapshot(part).map(DtiaRecord::SelectionChanged));
        into.extend(self.selections.paces(part).into_iter().map(DtiaRecord::SelectionPaced));
    }

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        // When the daemon starts, DTSR recovers too and tells everybody.
        if why == Recovery::Failure {
            out.send(DTSR, Reannounce);
        }
        // A selection may have become durable here, and its twin may not have heard of it.
        for (twin, watch) in self.selections.watches() {
            out.ask(twin, watch, PendingKey::NONE);
        }
    }
}

impl Dtia {
    fn keep(&mut self, system: &TwinSystem, twins: &[RegisteredTwin]) -> Result<(), Problem> {
        self.systems.insert(system.description.id.clone());
        twins.iter().try_for_each(|twin| self.keep_twin(system, twin))
    }

    /// FGMV-29 8.3.1: with a twin end the selections of it. Whoever had selected it hears that from the twin.
    fn forget(&mut self, twins: &[RegisteredTwin], out: &mut Out<'_, Self>) {
        for twin in twins {
            self.twins.forget(&twin.entry.id);
        }
        for change in self.selections.without(twins) {
            out.record(change.number, DtiaRecord::SelectionChanged(change.clone()));
            self.selections.take_over(change);
        }
    }

    /// Keeps what waits; without room for it, whoever asked is told, and nothing else is to happen.
    fn wait(&mut self, waiting: Waiting, out: &mut Out<'_, Self>) -> Option<PendingKey> {
        match self.waiting.insert(waiting) {
            Ok(key) => return Some(key),
            Err(Waiting::Selecting(selecting)) => out.reply(selecting.asker, Err(pending_full())),
            Err(Waiting::Requesting(requesting)) => out.reply(requesting.asker, Err(pending_full())),
            Err(Waiting::Collecting(collecting)) => out.reply(collecting.asker, Err(pending_full())),
        }
        None
    }

    fn known(&self, twin: &TwinId) -> Result<&KnownTwin, Problem> {
        self.twins.get(twin).ok_or_else(|| twin_unknown(twin))
    }

    /// FGMV-29 9.2 step 6: the metaverse system selects, all or nothing.
    fn select(&mut self, meta: &Meta, question: SelectTwins, out: &mut Out<'_, Self>) {
        let asker = mutation::asked(meta).asker::<SelectTwins>(out.event());
        let change = match self.judge(&question) {
            Ok(change) => change,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let SelectTwins { metaverse, metaverse_entity: entity, .. } = question;
        let kept = Gathering::new(change.told.len());
        let selecting = Selecting { asker, metaverse: metaverse.clone(), kept };
        let Some(key) = self.wait(Waiting::Selecting(Box::new(selecting)), out) else { return };
        if !self.selections.is_same(&change.change) {
            out.record(change.change.number, DtiaRecord::SelectionChanged(change.change.clone()));
            self.selections.take_over(change.change);
        }
        if let Some(pace) = change.pace.filter(|pace| self.selections.is_news(pace)) {
            out.record(pace.number, DtiaRecord::SelectionPaced(pace.clone()));
            self.selections.pace(pace);
        }
        if change.told.is_empty() {
            return self.answer_selection(key, out);
        }
        // Every twin is told, also what it should know: that mends what an earlier attempt left undone.
        for (twin, (id, selected)) in change.told {
            let (metaverse, period_ms) = (metaverse.clone(), self.selections.period(&metaverse, &id));
            out.ask(twin, WatchTwin { metaverse, entity, selected, period_ms }, key);
        }
    }

    fn judge(&self, question: &SelectTwins) -> Result<Judged, Problem> {
        let limits = &self.settings;
        if question.twins.len() + question.release.len() > limits.request_twins_max {
            return Err(limit_reached("request_twins_max", limits.request_twins_max));
        }
        self.check_period(question.period_ms)?;
        let selection = self.selections.of(&question.metaverse).map(selections::Selection::twins);
        let mut change = SelectionChange {
            number: self.selections.number_of(&question.metaverse),
            metaverse: question.metaverse.clone(),
            entity: question.metaverse_entity,
            selected: BTreeMap::new(),
            released: question.release.iter().cloned().collect(),
        };
        let mut told = BTreeMap::new();
        for (index, twin) in question.twins.iter().enumerate() {
            let entity = self.known(twin)?.entity;
            if change.released.contains(twin) {
                let detail = format!("`{twin}` is to be selected and let go at once");
                return Err(Problem::new(ProblemKind::InvalidDocument, detail).at(format!("/twins/{index}")));
            }
            let is_new = selection.is_none_or(|selection| !selection.contains_key(twin));
            if is_new && self.selections.watchers(entity) >= limits.twin_watchers_max {
                return Err(limit_reached("twin_watchers_max", limits.twin_watchers_max));
            }
            change.selected.insert(twin.clone(), entity);
            told.insert(entity, (twin.clone(), true));
        }
        for twin in &change.released {
            let selected = selection.and_then(|selection| selection.get(twin)).copied();
            let entity = selected.map_or_else(|| self.known(twin).map(|known| known.entity), Ok)?;
            told.insert(entity, (twin.clone(), false));
        }
        let kept = selection.into_iter().flat_map(BTreeMap::keys);
        let kept = kept.filter(|twin| !change.released.contains(*twin) && !change.selected.contains_key(*twin));
        if kept.count() + change.selected.len() > limits.selected_twins_max {
            return Err(limit_reached("selected_twins_max", limits.selected_twins_max));
        }
        let twins = || change.selected.keys().cloned().collect();
        let pace =
            question.period_ms.map(|period_ms| SelectionPace { number: change.number, period_ms, twins: twins() });
        Ok(Judged { change, pace, told })
    }

    fn check_period(&self, period_ms: Option<u32>) -> Result<(), Problem> {
        let least = self.settings.selection_period_ms_min;
        let is_out_of_bounds = |ms: &u32| *ms != 0 && !(least..=SELECTION_PERIOD_MS_MAX).contains(ms);
        if period_ms.is_some_and(|ms| is_out_of_bounds(&ms)) {
            let detail = format!(
                "selection_period_ms_min: from {least} to {SELECTION_PERIOD_MS_MAX} milliseconds are expected here, or 0"
            );
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/periodMs"));
        }
        Ok(())
    }

    /// FGMV-29 9.2 step 7: answered when every twin knows.
    fn selected(&mut self, meta: &Meta, answer: Result<Kept, Problem>, out: &mut Out<'_, Self>) {
        if let Some(Waiting::Selecting(selecting)) = self.waiting.get_mut(meta.pending)
            && selecting.kept.hear(answer)
        {
            self.answer_selection(meta.pending, out);
        }
    }

    fn answer_selection(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        if let Some(Waiting::Selecting(selecting)) = self.waiting.take(key) {
            let Selecting { asker, metaverse, kept } = *selecting;
            let selection = self.selections.of(&metaverse);
            let selected = selection.map(|selection| selection.twins().keys().cloned().collect()).unwrap_or_default();
            out.reply(asker, kept.outcome().map(|()| TwinsSelected { selected }));
        }
    }

    /// A twin has recovered, and may have missed who selected it.
    fn reannounce(&self, from: EntityId, out: &mut Out<'_, Self>) {
        if from.kind() == TwinMsg::KIND {
            for watch in self.selections.watches_of(from) {
                out.ask(Ref::<TwinMsg>::new(from), watch, PendingKey::NONE);
            }
        }
    }
}

/// A change of a selection that may be made, and whom to tell whether they are selected.
struct Judged {
    change: SelectionChange,
    pace: Option<SelectionPace>,
    told: BTreeMap<Ref<TwinMsg>, (TwinId, bool)>,
}

#[cfg(test)]
mod tests;
