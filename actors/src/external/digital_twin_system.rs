//! The actor of a digital twin system: it speaks for one system outside (FGMV-29 9.2 steps 1, 3, 9, 10, 14, 17 and 18;
//! FGMV-28 7.1.3 step 8).
//!
//! Digital twin systems never reach each other (FGMV-29 9.2, NOTE): what leaves this actor goes to the entities of
//! the digital twin integration functions, to its own system's objects, outside, and for a map to the metaverse
//! system whose map it is (FGMV-28 7.3).

mod space;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Ask, Asker, Behaviour, EntityId, Envelope, InvocationId, JsonDoc, Meta, Out, Pending, PendingKey, Problem,
    ProblemKind, Recovery, Ref, SystemId, TwinId,
    message::{
        AnswerRequest, ApplyChange, AuthorizeLocation, ChangeReflected, ChangeTwinList, ConstructSpatialMap, DTS, DTSR,
        Deregister, DigitalTwinSystemMsg, DtsrMsg, EmitTwinEvent, FenceDevice, ForgetTwinSystem,
        ForwardTwinPropertiesRequest, Heartbeat, KeepTwinSystem, Kept, ListOwnTwins, ObserveChange, OpenSystem,
        PhysicalChange, PhysicalChangeReported, PhysicalObjectMsg, ReadThingModel, ReadTwinProperties, Reannounce,
        RegisterTwinSystem, RenewRegistration, ReportAction, ReportPerformance, ReportPhysicalChange, Reporter,
        RequestLocalization, SetSynchronization, StopAction, TakeTwinOffMap, TwinMsg, TwinSystemRegistered,
        UpdateTwinSystem, Wire,
    },
    registry::Reach,
    signal::Signal,
};

mod actions;
mod models;
mod rights;

use super::outside::OutsideRequests;
use crate::{Settings, dtif::member, settings::pending_full, twin::PropertyNames};
use rights::Rights;

/// A twin of this system's list.
#[derive(Debug)]
struct ListedTwin {
    entity: Ref<TwinMsg>,
    object: Option<Ref<PhysicalObjectMsg>>,
    properties: PropertyNames,
}

/// What waits for an answer from within.
#[derive(Debug)]
enum Waiting {
    Registering(Asker<RegisterTwinSystem>),
    Reporting(Asker<ReportPhysicalChange>),
    Setting(Asker<SetSynchronization>),
    Updating(Asker<UpdateTwinSystem>),
    ChangingList(Asker<ChangeTwinList>),
    Listing(Asker<ListOwnTwins>),
    Deregistering(Asker<Deregister>),
    Renewing(Asker<RenewRegistration>),
    Beating(Asker<Heartbeat>),
    Constructing(Asker<ConstructSpatialMap>),
    Locating(Asker<AuthorizeLocation>),
    Localizing(Asker<RequestLocalization>),
    TakingOff(Asker<TakeTwinOffMap>),
    ReportingAction(Asker<ReportAction>),
    Emitting(Asker<EmitTwinEvent>),
    Rights(Rights),
}

/// What the actor writes down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DigitalTwinSystemRecord {
    /// The system has this name, and said how it is reached.
    Opened {
        /// Its name.
        id: SystemId,
        /// How it is reached; absent: as it registers.
        reach: Option<Reach>,
    },
    /// The system describes twins by this Thing Model.
    Model {
        /// Its name.
        id: String,
        /// The document, byte for byte.
        model: JsonDoc,
    },
}

/// The actor of a digital twin system.
#[derive(Debug)]
pub struct DigitalTwinSystem {
    id: Option<SystemId>,
    /// What was said when it was opened. It wins over what was registered.
    reach_opened: Option<Reach>,
    reach_registered: Option<Reach>,
    twins: BTreeMap<TwinId, ListedTwin>,
    waiting: Pending<Waiting>,
    outside: OutsideRequests,
    /// The requests by which actions were handed out.
    actions: BTreeMap<InvocationId, PendingKey>,
    /// Its Thing Models, by name.
    models: BTreeMap<String, JsonDoc>,
    shown_ms_max: u64,
}

/// All of the actor's state is one part of the journal.
const PART: u64 = 0;

impl Behaviour for DigitalTwinSystem {
    type Wire = Wire;
    type Msg = DigitalTwinSystemMsg;
    type Record = DigitalTwinSystemRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            id: None,
            reach_opened: None,
            reach_registered: None,
            twins: BTreeMap::new(),
            waiting: Pending::new(settings.pending_questions_max, incarnation),
            outside: OutsideRequests::new(settings),
            actions: BTreeMap::new(),
            models: BTreeMap::new(),
            shown_ms_max: settings.outside_answer_ms_max,
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DigitalTwinSystemMsg>, out: &mut Out<'_, Self>) {
        use DigitalTwinSystemMsg as Msg;
        match message {
            Msg::OpenSystem(message) => {
                let opened = self.open(message, out).map(|()| Kept);
                out.reply(meta.asker::<OpenSystem>(out.event()), opened);
            }
            Msg::RegisterTwinSystem(message) => self.register(&meta, message, out),
            Msg::TwinSystemRegistered(answer) => self.registered(&meta, answer, out),
            Msg::KeepTwinSystem(message) => {
                let kept = self.keep(&message, out).map(|()| Kept);
                out.reply(meta.asker::<KeepTwinSystem>(out.event()), kept);
                // A register that has recovered has forgotten what it was told.
                if meta.pending == PendingKey::NONE {
                    let report = self.outside.told_again(&message.system.description.id, out.now().monotonic_ms);
                    tell_register(report, out);
                }
            }
            Msg::ForwardTwinPropertiesRequest(question) => {
                self.outside.ask(meta.asker::<ForwardTwinPropertiesRequest>(out.event()), question, out);
            }
            Msg::ReportPhysicalChange(report) => self.report(&meta, report, out),
            // FGMV-29 9.2 step 14: what its object did, the twin system passes on.
            Msg::PhysicalChange(change) => out.send(DTS, change),
            Msg::ChangeReflected(reflected) => self.reflected(reflected, out),
            Msg::ApplyChange(question) => {
                self.outside.ask(meta.asker::<ApplyChange>(out.event()), question, out);
            }
            // FGMV-28 7.1.3 step 8, to the device itself.
            Msg::FenceDevice(question) => {
                self.outside.ask(meta.asker::<FenceDevice>(out.event()), question, out);
            }
            // FGMV-29 8.3.1: the registration is changed, renewed or ended, by the system's own word.
            Msg::UpdateTwinSystem(message) => {
                self.ask_register(Waiting::Updating(meta.asker(out.event())), message, out);
            }
            Msg::ChangeTwinList(message) => {
                self.ask_register(Waiting::ChangingList(meta.asker(out.event())), message, out);
            }
            Msg::ListOwnTwins(message) => {
                self.ask_register(Waiting::Listing(meta.asker(out.event())), message, out);
            }
            Msg::Deregister(message) => {
                self.ask_register(Waiting::Deregistering(meta.asker(out.event())), message, out);
            }
            Msg::RenewRegistration(message) => {
                self.ask_register(Waiting::Renewing(meta.asker(out.event())), message, out);
            }
            Msg::Heartbeat(message) => self.ask_register(Waiting::Beating(meta.asker(out.event())), message, out),
            Msg::OwnTwinsListed(answer) => {
                if let Some(Waiting::Listing(asker)) = self.waiting.take(meta.pending) {
                    out.reply(asker, answer);
                }
            }
            Msg::Deregistered(answer) => {
                if let Some(Waiting::Deregistering(asker)) = self.waiting.take(meta.pending) {
                    out.reply(asker, answer);
                }
            }
            Msg::SystemStands(answer) => match self.waiting.take(meta.pending) {
                Some(Waiting::Renewing(asker)) => out.reply(asker, answer),
                Some(Waiting::Beating(asker)) => out.reply(asker, answer),
                _ => {}
            },
            Msg::ForgetTwinSystem(message) => {
                self.twins.clear();
                self.reach_registered = None;
                self.outside.refuse_all(&format!("`{}` is registered no more", message.system.description.id), out);
                out.reply(meta.asker::<ForgetTwinSystem>(out.event()), Ok(Kept));
            }
            Msg::SessionChanged(changed) => {
                let report = self.outside.session(changed.open, self.id.as_ref(), out.now().monotonic_ms);
                tell_register(report, out);
            }
            Msg::CarryOutAction(question) => self.carry_out(&meta, question, out),
            Msg::StopAction(question) => {
                self.outside.ask(meta.asker::<StopAction>(out.event()), question, out);
            }
            Msg::ReportAction(report) => self.report_action(&meta, report, out),
            Msg::EmitTwinEvent(event) => self.emit(&meta, event, out),
            Msg::ReadTwinProperties(question) => {
                self.outside.ask(meta.asker::<ReadTwinProperties>(out.event()), question, out);
            }
            Msg::KeepThingModel(message) => self.keep_model(&meta, message, out),
            Msg::ReadThingModel(message) => {
                out.reply(meta.asker::<ReadThingModel>(out.event()), self.model(&message.id));
            }
            Msg::ListTwinPermissions(message) => self.list_permissions(&meta, message, out),
            Msg::GrantTwinPermission(message) => self.own(&meta, message.twin.clone(), message, Rights::Granting, out),
            Msg::RevokeTwinPermission(message) => self.own(&meta, message.twin.clone(), message, Rights::Revoking, out),
            Msg::ReadCharacteristics(message) => self.own(&meta, message.twin.clone(), message, Rights::Reading, out),
            Msg::SetCharacteristics(message) => self.own(&meta, message.twin.clone(), message, Rights::Setting, out),
            Msg::TwinPermissionsListed(answer) => self.permissions_listed(&meta, answer, out),
            Msg::TwinPermissionShown(answer) => self.permission_shown(&meta, answer, out),
            Msg::CharacteristicsShown(answer) => self.characteristics_shown(&meta, answer, out),
            Msg::SetSynchronization(message) => self.set_synchronization(&meta, message, out),
            Msg::TakeTwinOffMap(message) => self.take_off_map(&meta, message, out),
            Msg::Kept(answer) => self.kept(&meta, answer, out),
            Msg::AnswerRequest(answer) => self.outside.answer(meta.asker::<AnswerRequest>(out.event()), answer, out),
            Msg::RequestUndelivered(message) => self.outside.undelivered(message, out),
            // FGMV-28 7.3.1 steps 2.2 to 4.
            Msg::UploadObservation(message) => self.uploaded(&meta, &message, out),
            Msg::ConstructSpatialMap(message) => self.construct(&meta, message, out),
            Msg::SpatialMapConstructed(answer) => self.constructed(&meta, answer, out),
            // FGMV-28 7.3.2 step 2.
            Msg::AuthorizeLocation(message) => self.authorize_location(&meta, message, out),
            Msg::LocationAuthorized(answer) => self.location_authorized(&meta, answer, out),
            // FGMV-28 7.3.3 steps 1.1, 1.2 and 3.
            Msg::RequestLocalization(message) => self.localize(&meta, message, out),
            Msg::LocalizationFound(answer) => self.localized(&meta, answer, out),
        }
    }

    fn timeout(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        match self.waiting.take(key) {
            Some(Waiting::Reporting(asker)) => {
                let limit = self.shown_ms_max;
                let detail = format!("the twin did not show the change within outside_answer_ms_max = {limit} ms");
                out.reply(asker, Err(Problem::new(ProblemKind::Internal, detail)));
            }
            // Nothing sets a timer for what DTSR or a metaverse system is asked.
            Some(_) => {}
            None => {
                let report = self.outside.timeout(key, self.id.as_ref(), out);
                tell_register(report, out);
            }
        }
    }

    fn replay(&mut self, record: DigitalTwinSystemRecord) {
        match record {
            DigitalTwinSystemRecord::Opened { id, reach } => {
                self.id = Some(id);
                self.reach_opened = reach;
            }
            DigitalTwinSystemRecord::Model { id, model } => {
                self.models.insert(id, model);
            }
        }
    }

    fn snapshot(&self, _part: u64, into: &mut Vec<DigitalTwinSystemRecord>) {
        let reach = self.reach_opened.clone();
        into.extend(self.id.clone().map(|id| DigitalTwinSystemRecord::Opened { id, reach }));
        let model =
            |(id, model): (&String, &JsonDoc)| DigitalTwinSystemRecord::Model { id: id.clone(), model: model.clone() };
        into.extend(self.models.iter().map(model));
    }

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        self.signal_opened(out);
        // When the daemon starts, DTSR recovers too and tells everybody.
        if why == Recovery::Failure {
            out.send(DTSR, Reannounce);
        }
    }
}

impl DigitalTwinSystem {
    fn open(&mut self, message: OpenSystem, out: &mut Out<'_, Self>) -> Result<(), Problem> {
        if self.id.as_ref().is_some_and(|id| *id != message.id) {
            let detail = format!("this is the actor of another system than `{}`", message.id);
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        let reach = message.reach.map_or_else(|| self.reach_opened.clone(), |reach| Some(*reach));
        if self.id.is_none() || reach != self.reach_opened {
            let record = DigitalTwinSystemRecord::Opened { id: message.id, reach };
            out.record(PART, record.clone());
            self.replay(record);
        }
        self.signal_opened(out);
        Ok(())
    }

    fn signal_opened(&self, out: &mut Out<'_, Self>) {
        if let Some(id) = self.id.clone() {
            let reach = self.reach_opened.as_ref().or(self.reach_registered.as_ref()).cloned().unwrap_or_default();
            out.signal(Signal::Opened { entity: out.me(), id, reach });
        }
    }

    /// FGMV-29 9.2 step 1: a system registers itself, and no other.
    fn register(&mut self, meta: &Meta, message: RegisterTwinSystem, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RegisterTwinSystem>(out.event());
        if self.id.as_ref() != Some(&message.description.id) {
            let detail = format!("this system cannot register `{}`", message.description.id);
            return out.reply(asker, Err(Problem::new(ProblemKind::NotAllowed, detail).at("/id")));
        }
        let message = match models::described(message, &self.models) {
            Ok(message) => message,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        match self.waiting.insert(Waiting::Registering(asker)) {
            Ok(key) => out.ask(DTSR, message, key),
            Err(waiting) => Self::refuse(waiting, out),
        }
    }

    /// FGMV-29 9.2 step 3.
    fn registered(&mut self, meta: &Meta, answer: Result<TwinSystemRegistered, Problem>, out: &mut Out<'_, Self>) {
        match self.waiting.take(meta.pending) {
            Some(Waiting::Registering(asker)) => out.reply(asker, answer),
            Some(Waiting::Updating(asker)) => out.reply(asker, answer),
            Some(Waiting::ChangingList(asker)) => out.reply(asker, answer),
            _ => {}
        }
    }

    /// FGMV-29 8.3.1: what the system wants of its own registration, DTSR decides.
    fn ask_register<T: Ask>(&mut self, waiting: Waiting, question: T, out: &mut Out<'_, Self>)
    where
        DtsrMsg: From<T>,
        DigitalTwinSystemMsg: From<Result<T::Answer, Problem>>,
    {
        match self.waiting.insert(waiting) {
            Ok(key) => out.ask(DTSR, question, key),
            Err(waiting) => Self::refuse(waiting, out),
        }
    }

    /// DTSR says what is registered of this system: within step 2, and after a restart.
    fn keep(&mut self, message: &KeepTwinSystem, out: &mut Out<'_, Self>) -> Result<(), Problem> {
        let KeepTwinSystem { system, twins, gone } = message;
        for twin in gone.iter() {
            self.twins.remove(&twin.entry.id);
        }
        for twin in twins.iter() {
            let properties = PropertyNames::read(&twin.entry.description)?;
            let listed = ListedTwin { entity: twin.entity, object: twin.object, properties };
            self.twins.insert(twin.entry.id.clone(), listed);
        }
        self.reach_registered = Some(system.description.reach.clone());
        self.signal_opened(out);
        Ok(())
    }

    /// Before FGMV-29 9.2 step 14: an object has changed. The answer leaves when the twin shows it.
    fn report(&mut self, meta: &Meta, report: ReportPhysicalChange, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ReportPhysicalChange>(out.event());
        let (twin, object) = match self.check_report(&report) {
            Ok(listed) => (listed.entity, listed.object),
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let report_key = match self.waiting.insert(Waiting::Reporting(asker)) {
            Ok(key) => key,
            Err(waiting) => return Self::refuse(waiting, out),
        };
        out.timer(self.shown_ms_max, report_key);
        let reporter = Reporter { entity: Ref::new(out.me()), report: report_key };
        // A clock outside that runs ahead must not keep later values out.
        let now = out.now().wall;
        let at = report.at.map_or(now, |at| at.min(now));
        let ReportPhysicalChange { twin: id, values, .. } = report;
        match object {
            Some(object) => out.send(object, ObserveChange { twin: id, values, at, reporter }),
            None => {
                out.send(DTS, PhysicalChange { twin: id, entity: twin, values, at, reporter: Some(reporter) });
            }
        }
    }

    fn check_report(&self, report: &ReportPhysicalChange) -> Result<&ListedTwin, Problem> {
        let Some(listed) = self.twins.get(&report.twin) else {
            return Err(not_listed(&report.twin));
        };
        if report.values.is_empty() {
            let detail = "at least one property is expected here";
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/values"));
        }
        match report.values.keys().find(|name| !listed.properties.has(name)) {
            None => Ok(listed),
            Some(name) => {
                let detail = format!("the description of `{}` has no property `{name}`", report.twin);
                Err(Problem::new(ProblemKind::PropertyUnknown, detail).at(member("/values", name)))
            }
        }
    }

    fn reflected(&mut self, reflected: ChangeReflected, out: &mut Out<'_, Self>) {
        if let Some(Waiting::Reporting(asker)) = self.waiting.take(reflected.report) {
            out.reply(asker, Ok(PhysicalChangeReported { version: reflected.version }));
        }
    }

    fn refuse(waiting: Waiting, out: &mut Out<'_, Self>) {
        match waiting {
            Waiting::Registering(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Reporting(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Setting(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Updating(asker) => out.reply(asker, Err(pending_full())),
            Waiting::ChangingList(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Listing(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Deregistering(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Renewing(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Beating(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Constructing(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Locating(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Localizing(asker) => out.reply(asker, Err(pending_full())),
            Waiting::TakingOff(asker) => out.reply(asker, Err(pending_full())),
            Waiting::ReportingAction(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Emitting(asker) => out.reply(asker, Err(pending_full())),
            Waiting::Rights(asker) => asker.refuse(&pending_full(), out),
        }
    }

    /// FGMV-28 REQ-DT-08: a system says how its own twins are synchronized, and of no other's.
    fn set_synchronization(&mut self, meta: &Meta, message: SetSynchronization, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<SetSynchronization>(out.event());
        if !self.twins.contains_key(&message.twin) {
            return out.reply(asker, Err(not_listed(&message.twin)));
        }
        match self.waiting.insert(Waiting::Setting(asker)) {
            Ok(key) => out.ask(DTSR, message, key),
            Err(waiting) => Self::refuse(waiting, out),
        }
    }

    fn kept(&mut self, meta: &Meta, answer: Result<Kept, Problem>, out: &mut Out<'_, Self>) {
        match self.waiting.take(meta.pending) {
            Some(Waiting::Setting(asker)) => out.reply(asker, answer),
            Some(Waiting::ReportingAction(asker)) => out.reply(asker, answer),
            Some(Waiting::Emitting(asker)) => out.reply(asker, answer),
            Some(Waiting::TakingOff(asker)) => out.reply(asker, answer),
            Some(Waiting::Rights(Rights::Revoking(asker))) => out.reply(asker, answer),
            // Nothing else is answered like this.
            Some(_) | None => {}
        }
    }
}

/// FGMV-29 8.3.1: what was measured of the system.
fn tell_register(report: Option<ReportPerformance>, out: &mut Out<'_, DigitalTwinSystem>) {
    if let Some(report) = report {
        out.send(DTSR, report);
    }
}

fn not_listed(twin: &TwinId) -> Problem {
    Problem::new(ProblemKind::TwinUnknown, format!("this system lists no twin `{twin}`"))
}

#[cfg(test)]
mod tests;
