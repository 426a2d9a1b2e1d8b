//! The actor of a metaverse system: asks the functional entities for it (FGMV-29 9.1 and 9.2), and tells it what changes.

mod events;
mod map;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Answers, Ask, Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, PendingKey, Problem, ProblemKind, Recovery,
    Ref, SystemId, UserId,
    access::{AuthorizationDecision, UserAuthorization},
    message::{
        ActionInvoked, ActionStopping, AttachUserDevice, AuthorizationSettled, CancelAction, CancelExecution,
        CancelSyncLease, CancelSyncReservation, ChangeCompleted, ChangeTwin, DTAC, DTIA, DTS, DTSD, DefineMap,
        DeleteMap, EXECUTION_ENDED, ExecutionEnded, ExecutionShown, ExecutionsListed, ForgetObservation, InvokeAction,
        KeepObservation, KeepSyncLeases, Kept, ListExecutions, ListMaps, ListObservations, ListSyncLeases,
        ListTwinPermissions, ListTwins, ListUserAuthorizations, MetaverseSystemMsg, NotifyExecution, NotifyUser,
        NotifyWatcher, OpenSystem, PutMapEntries, ReadExecution, ReadMap, ReadSyncLease, ReadTwinPermission,
        ReadUserAuthorization, RefreshTwin, ReleaseSyncLease, RemoveMapEntry, RenewSyncLease, RequestSyncLease,
        RequestSyncLeases, RequestTwinPropertiesAndPermission, RequestUserAuthorization, ReserveSync,
        RevokeUserAuthorization, RunChain, RunService, SDC, SYNC_SUPERVISOR, SearchThirdPartySystems,
        SearchTwinSystems, SelectTwins, SendTwinMessage, ServiceResult, ServiceRunning, ShareData, StopTwin,
        SyncLeaseGranted, SyncLeaseSettled, SyncLeaseShown, SyncLeasesDecided, SyncLeasesKept, SyncLeasesListed,
        SyncReserved, TPSAA, TPSD, TakeTwinOffMap, TellLease, TellUser, ThirdPartySystemsFound, TwinGone,
        TwinMessageSent, TwinPermissionShown, TwinPermissionsListed, TwinPropertiesAndPermissionGranted, TwinRefreshed,
        TwinSystemsFound, TwinsListed, TwinsSelected, UnwatchMap, UpdateLocations, UseThirdPartySystem,
        UserAuthorizationDecided, UserAuthorizationsListed, UserDeviceAttached, UserDeviceMsg, WatchMap, Wire,
        WithdrawLocation, YieldSyncLease, own,
    },
    signal::{Event, Signal},
};

use super::{opened::Opened, passing::passes};
use crate::Settings;
use events::{LoginRequired, change_event, document, execution_event, gone_event, message_event, notice_event, tell};
use map::Maps;
pub use map::{Located, MapRecord};

/// How many users of one metaverse system may have a device attached.
pub const ATTACHED_DEVICES_MAX: usize = 1_000_000;

/// The actor of one metaverse system.
#[derive(Debug)]
pub struct MetaverseSystem {
    opened: Option<Opened>,
    devices: BTreeMap<UserId, Ref<UserDeviceMsg>>,
    pending: Pending<Waiting>,
    maps: Maps,
}

/// What it writes down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// The system has this name, and is reached like this.
    Opened(Opened),
    /// A user is told things by this device.
    DeviceAttached {
        /// The user.
        user: UserId,
        /// The device's actor.
        device: Ref<UserDeviceMsg>,
    },
    /// Something of a spatial map.
    Map(MapRecord),
}

passes! {
    MetaverseSystem {
        // FGMV-29 9.1 steps 4 and 5.
        ThirdPartySystemsFound: SearchThirdPartySystems => TPSD;
        // FGMV-29 9.1 steps 6 and 10.
        UserAuthorizationDecided: RequestUserAuthorization => TPSAA, ReadUserAuthorization => TPSAA;
        // FGMV-29 9.1 steps 11, 12 and 14x.
        ServiceResult:
            UseThirdPartySystem own own::THIRD_PARTY_SERVICE_RUN => SDC,
            ShareData own own::THIRD_PARTY_SERVICE_RUN => SDC;
        // FGMV-29 8.2.3: renewed by asking again, revoked by either side.
        AuthorizationSettled: RevokeUserAuthorization => TPSAA;
        UserAuthorizationsListed: ListUserAuthorizations => TPSAA;
        // FGMV-29 8.2.4: chains.
        ExecutionShown:
            RunChain own own::THIRD_PARTY_SERVICE_RUN => SDC,
            ReadExecution => SDC,
            CancelExecution => SDC;
        ExecutionsListed: ListExecutions => SDC;
        // FGMV-29 9.2 steps 4 and 5.
        TwinSystemsFound: SearchTwinSystems => DTSD;
        // FGMV-29 9.2 steps 6 and 7.
        TwinsListed: ListTwins => DTIA;
        TwinsSelected: SelectTwins => DTIA;
        // FGMV-29 9.2 steps 8 and 12.
        TwinPropertiesAndPermissionGranted: RequestTwinPropertiesAndPermission => DTIA;
        TwinPermissionShown: ReadTwinPermission => DTAC;
        // FGMV-29 9.2 steps 15 and 18x.
        ChangeCompleted: ChangeTwin => DTS, StopTwin => DTS;
        ActionInvoked: InvokeAction => DTS;
        ActionStopping: CancelAction => DTAC;
        // FGMV-29 8.3.5.
        TwinPermissionsListed: ListTwinPermissions => DTAC;
        // FGMV-28 REQ-DT-07.
        TwinRefreshed: RefreshTwin => DTAC;
        // FGMV-28 REQ-DT-06.
        TwinMessageSent: SendTwinMessage => DTAC;
        // FGMV-28 7.1.3 steps 7 and 10.
        SyncLeaseGranted: RequestSyncLease => SYNC_SUPERVISOR, RenewSyncLease => SYNC_SUPERVISOR;
        SyncLeasesDecided: RequestSyncLeases => SYNC_SUPERVISOR;
        SyncLeaseSettled:
            ReleaseSyncLease => SYNC_SUPERVISOR,
            YieldSyncLease => SYNC_SUPERVISOR,
            CancelSyncLease => SYNC_SUPERVISOR,
            CancelSyncReservation => SYNC_SUPERVISOR;
        SyncLeasesKept: KeepSyncLeases => SYNC_SUPERVISOR;
        SyncReserved: ReserveSync => SYNC_SUPERVISOR;
        SyncLeaseShown: ReadSyncLease => SYNC_SUPERVISOR;
        SyncLeasesListed: ListSyncLeases => SYNC_SUPERVISOR;
    }
}

impl MetaverseSystem {
    fn open(&mut self, meta: Meta, message: OpenSystem, out: &mut Out<'_, Self>) {
        let answer = Opened::after(self.opened.as_ref(), message).map(|opened| {
            opened.signal(out);
            if self.opened.as_ref() != Some(&opened) {
                out.record(0, Record::Opened(opened.clone()));
                self.replay(Record::Opened(opened));
            }
            Kept
        });
        out.reply(meta.asker::<OpenSystem>(out.event()), answer);
    }

    fn id(&self) -> Option<&SystemId> {
        self.opened.as_ref().map(|opened| &opened.id)
    }

    fn attach(&mut self, meta: Meta, message: AttachUserDevice, out: &mut Out<'_, Self>) {
        let answer = match self.devices.get(&message.user) {
            Some(device) if *device == message.device => Ok(UserDeviceAttached),
            None if self.devices.len() >= ATTACHED_DEVICES_MAX => {
                let detail = format!("{ATTACHED_DEVICES_MAX} users have a device attached already");
                Err(Problem::new(ProblemKind::LimitReached, detail))
            }
            // A user's newest device takes the place of the one before.
            _ => {
                let record = Record::DeviceAttached { user: message.user, device: message.device };
                out.record(0, record.clone());
                self.replay(record);
                Ok(UserDeviceAttached)
            }
        };
        out.reply(meta.asker::<AttachUserDevice>(out.event()), answer);
    }

    /// FGMV-29 9.1 step 10: where a person has to log in, that person is told, if a device of theirs is known.
    fn ask_to_log_in(&self, authorization: &UserAuthorization, out: &mut Out<'_, Self>) {
        let AuthorizationDecision::Pending(login) = &authorization.decision else { return };
        let Some(device) = self.devices.get(&authorization.user) else { return };
        let data = document(&LoginRequired { authorization: &authorization.id, system: &authorization.system, login });
        out.send(*device, NotifyUser { event: "login.required", data });
    }

    /// FGMV-28 7.2.1 step 6: what happens in a virtual world is told to a user who is not there.
    fn tell_user(&self, TellUser { user, data }: TellUser, out: &mut Out<'_, Self>) -> Result<Kept, Problem> {
        let detail = || format!("no device of `{user}` is attached");
        let device = self.devices.get(&user).ok_or_else(|| Problem::new(ProblemKind::OutsideUnreachable, detail()))?;
        out.send(*device, NotifyUser { event: "user.notified", data });
        Ok(Kept)
    }

    /// FGMV-29 9.1 step 10, later.
    fn authorization_settled(&self, authorization: &UserAuthorization, out: &mut Out<'_, Self>) {
        let (subject, data) = (authorization.id.to_string(), document(authorization));
        tell(Event::new("authorization.decided", subject, None, out.now().wall, data), out);
        self.ask_to_log_in(authorization, out);
    }

    /// FGMV-29 9.1 step 10.
    fn authorization_decided(
        &mut self,
        meta: Meta,
        answer: Result<UserAuthorizationDecided, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        // Reading an authorization again sends nobody to log in again.
        let requested = matches!(self.pending.get_mut(meta.pending), Some(Waiting::RequestUserAuthorization(_)));
        if let Some(decided) = answer.as_ref().ok().filter(|_| requested) {
            self.ask_to_log_in(&decided.authorization, out);
        }
        Heard::hear(&mut self.pending, meta, answer, out);
    }
}

impl Behaviour for MetaverseSystem {
    type Wire = Wire;
    type Msg = MetaverseSystemMsg;
    type Record = Record;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            opened: None,
            devices: BTreeMap::new(),
            pending: Pending::new(settings.pending_questions_max, incarnation),
            maps: Maps::new(settings, incarnation),
        }
    }

    fn handle(&mut self, envelope: Envelope<MetaverseSystemMsg>, out: &mut Out<'_, Self>) {
        use MetaverseSystemMsg as Msg;
        let meta = envelope.meta;
        let pending = &mut self.pending;
        match envelope.message {
            Msg::OpenSystem(message) => self.open(meta, message, out),
            Msg::AttachUserDevice(message) => self.attach(meta, message, out),
            // FGMV-29 9.1 steps 4 and 5.
            Msg::SearchThirdPartySystems(message) => pass(pending, meta, message, out),
            Msg::ThirdPartySystemsFound(answer) => Heard::hear(pending, meta, answer, out),
            // FGMV-29 9.1 steps 6 and 10.
            Msg::RequestUserAuthorization(message) => pass(pending, meta, message, out),
            Msg::ReadUserAuthorization(message) => pass(pending, meta, message, out),
            Msg::UserAuthorizationDecided(answer) => self.authorization_decided(meta, answer, out),
            // FGMV-28 7.2.1 step 6.
            Msg::TellUser(message) => answer::<TellUser>(meta, self.tell_user(message, out), out),
            Msg::UserAuthorizationSettled(message) => self.authorization_settled(&message.authorization, out),
            // FGMV-29 9.1 steps 11, 12 and 14x.
            Msg::UseThirdPartySystem(message) => pass(pending, meta, message, out),
            Msg::ShareData(message) => pass(pending, meta, message, out),
            Msg::ServiceResult(answer) => Heard::hear(pending, meta, answer, out),
            // FGMV-29 8.2.3 and 8.2.4.
            Msg::RevokeUserAuthorization(message) => pass(pending, meta, message, out),
            Msg::AuthorizationSettled(answer) => Heard::hear(pending, meta, answer, out),
            Msg::ListUserAuthorizations(message) => pass(pending, meta, message, out),
            Msg::UserAuthorizationsListed(answer) => Heard::hear(pending, meta, answer, out),
            Msg::RunChain(message) => pass(pending, meta, message, out),
            Msg::ReadExecution(message) => pass(pending, meta, message, out),
            Msg::CancelExecution(message) => pass(pending, meta, message, out),
            Msg::ExecutionShown(answer) => Heard::hear(pending, meta, answer, out),
            Msg::ListExecutions(message) => pass(pending, meta, message, out),
            Msg::ExecutionsListed(answer) => Heard::hear(pending, meta, answer, out),
            Msg::NotifyExecution(notice) => tell(execution_event(notice, out.now().wall), out),
            Msg::ExecutionEnded(ExecutionEnded { execution, data }) => {
                let notice = NotifyExecution { event: EXECUTION_ENDED, execution, data };
                tell(execution_event(notice, out.now().wall), out);
            }
            // FGMV-29 9.2 steps 4 to 7.
            Msg::SearchTwinSystems(message) => pass(pending, meta, message, out),
            Msg::TwinSystemsFound(answer) => Heard::hear(pending, meta, answer, out),
            Msg::ListTwins(message) => pass(pending, meta, message, out),
            Msg::TwinsListed(answer) => Heard::hear(pending, meta, answer, out),
            Msg::SelectTwins(message) => {
                // Changes of the selected twins come to this actor, whatever was asked.
                let metaverse_entity = Ref::new(out.me());
                pass(pending, meta, SelectTwins { metaverse_entity, ..message }, out);
            }
            Msg::TwinsSelected(answer) => Heard::hear(pending, meta, answer, out),
            // FGMV-29 9.2 steps 8 and 12.
            Msg::RequestTwinPropertiesAndPermission(message) => pass(pending, meta, message, out),
            Msg::TwinPropertiesAndPermissionGranted(answer) => Heard::hear(pending, meta, answer, out),
            Msg::ReadTwinPermission(message) => pass(pending, meta, message, out),
            Msg::TwinPermissionShown(answer) => Heard::hear(pending, meta, answer, out),
            // FGMV-29 9.2 step 13.
            Msg::RunService(_) => {
                out.own(own::TWIN_SERVICE_RUN);
                out.reply(meta.asker::<RunService>(out.event()), Ok(ServiceRunning));
            }
            // FGMV-29 8.3.1: a selected twin is no more.
            Msg::TwinGone(TwinGone { twin }) => tell(gone_event(twin, out.now().wall), out),
            // FGMV-29 9.2 step 14.
            Msg::ReflectChange(message) => {
                tell(change_event(&message), out);
                self.maps.reflect(&message, &self.devices, out);
            }
            // FGMV-29 9.2 steps 15 and 18x.
            Msg::ChangeTwin(message) => pass(pending, meta, message, out),
            Msg::ChangeCompleted(answer) => Heard::hear(pending, meta, answer, out),
            Msg::InvokeAction(message) => pass(pending, meta, message, out),
            Msg::ActionInvoked(answer) => Heard::hear(pending, meta, answer, out),
            Msg::RefreshTwin(message) => pass(pending, meta, message, out),
            Msg::TwinRefreshed(answer) => Heard::hear(pending, meta, answer, out),
            Msg::ListTwinPermissions(message) => pass(pending, meta, message, out),
            Msg::TwinPermissionsListed(answer) => Heard::hear(pending, meta, answer, out),
            Msg::CancelAction(message) => pass(pending, meta, message, out),
            Msg::ActionStopping(answer) => Heard::hear(pending, meta, answer, out),
            Msg::NotifyWatcher(NotifyWatcher { event, twin, at, data }) => {
                tell(Event::new(event, twin.to_string(), Some(twin), at, data), out);
            }
            // FGMV-28 REQ-DT-06.
            Msg::SendTwinMessage(message) => pass(pending, meta, message, out),
            Msg::TwinMessageSent(answer) => Heard::hear(pending, meta, answer, out),
            Msg::TwinMessage(message) => tell(message_event(message, out.now().wall), out),
            Msg::StopTwin(message) => pass(pending, meta, message, out),
            // FGMV-28 7.1.3 steps 7 and 10.
            Msg::RequestSyncLease(message) => pass(pending, meta, message, out),
            Msg::RequestSyncLeases(message) => pass(pending, meta, message, out),
            Msg::RenewSyncLease(message) => pass(pending, meta, message, out),
            Msg::ReleaseSyncLease(message) => pass(pending, meta, message, out),
            Msg::YieldSyncLease(message) => pass(pending, meta, message, out),
            Msg::CancelSyncLease(message) => pass(pending, meta, message, out),
            Msg::KeepSyncLeases(message) => pass(pending, meta, message, out),
            Msg::ReserveSync(message) => pass(pending, meta, message, out),
            Msg::CancelSyncReservation(message) => pass(pending, meta, message, out),
            Msg::ReadSyncLease(message) => pass(pending, meta, message, out),
            Msg::ListSyncLeases(message) => pass(pending, meta, message, out),
            Msg::SyncLeaseGranted(answer) => Heard::hear(pending, meta, answer, out),
            Msg::SyncLeasesDecided(answer) => Heard::hear(pending, meta, answer, out),
            Msg::SyncLeaseSettled(answer) => Heard::hear(pending, meta, answer, out),
            Msg::SyncLeasesKept(answer) => Heard::hear(pending, meta, answer, out),
            Msg::SyncReserved(answer) => Heard::hear(pending, meta, answer, out),
            Msg::SyncLeaseShown(answer) => Heard::hear(pending, meta, answer, out),
            Msg::SyncLeasesListed(answer) => Heard::hear(pending, meta, answer, out),
            Msg::NotifyLease(notice) => tell(notice_event(notice, out.now().wall), out),
            Msg::TellLease(TellLease { event }) => out.signal(Signal::Event { entity: out.me(), event }),
            // FGMV-28 7.3.1 to 7.3.3.
            Msg::DefineMap(message) => answer::<DefineMap>(meta, self.maps.define(message, out), out),
            Msg::PutMapEntries(message) => {
                answer::<PutMapEntries>(meta, self.maps.put(message, &self.devices, out), out);
            }
            Msg::RemoveMapEntry(message) => {
                answer::<RemoveMapEntry>(meta, self.maps.remove(&message, &self.devices, out), out);
            }
            Msg::UpdateLocations(message) => {
                answer::<UpdateLocations>(meta, self.maps.update(message, &self.devices, out), out);
            }
            Msg::ReadMap(message) => {
                answer::<ReadMap>(meta, self.maps.show(self.id(), &message, &self.devices), out);
            }
            Msg::ListMaps(_) => answer::<ListMaps>(meta, Ok(self.maps.list()), out),
            Msg::WatchMap(message) => answer::<WatchMap>(meta, self.maps.watch(message, out), out),
            Msg::UnwatchMap(message) => answer::<UnwatchMap>(meta, self.maps.unwatch(&message, out), out),
            Msg::FindAtPlace(message) => {
                let own = self.id().cloned();
                self.maps.find_at_place(meta.asker(out.event()), own, message, out);
            }
            Msg::RegisteredPlacesFound(answer) => self.maps.places_found(meta.pending, answer, out),
            Msg::RequestObservations(message) => {
                let own = self.id().cloned();
                self.maps.request_observations(&meta, own, message, &self.devices, out);
            }
            Msg::ObservationsRequested(answer) => self.maps.observations_requested(&meta, answer, out),
            Msg::ConstructSpatialMap(message) => {
                let own = self.id().cloned();
                self.maps.construct(meta.asker(out.event()), own.as_ref(), message, &self.devices, out);
            }
            Msg::AuthorizeLocation(message) => {
                let own = self.id().cloned();
                self.maps.authorize_location(meta.asker(out.event()), own, message, out);
            }
            Msg::TwinPermissionFollowed(answer) => self.maps.followed(meta.pending, answer, &self.devices, out),
            Msg::TwinPermissionChanged(change) => self.maps.permission_changed(change, &self.devices, out),
            Msg::WithdrawLocation(message) => {
                answer::<WithdrawLocation>(meta, self.maps.withdraw_location(&message, &self.devices, out), out);
            }
            Msg::DeleteMap(message) => answer::<DeleteMap>(meta, self.maps.delete(&message, &self.devices, out), out),
            Msg::TakeTwinOffMap(message) => {
                answer::<TakeTwinOffMap>(meta, self.maps.take_twin_off(&message, &self.devices, out), out);
            }
            Msg::KeepObservation(message) => {
                answer::<KeepObservation>(meta, self.maps.keep_observation(message, out), out);
            }
            Msg::ForgetObservation(message) => {
                answer::<ForgetObservation>(meta, self.maps.forget_observation(&message, &self.devices, out), out);
            }
            Msg::ListObservations(message) => {
                answer::<ListObservations>(meta, self.maps.list_observations(&message), out);
            }
            Msg::ForwardLocalization(message) => {
                let own = self.id().cloned();
                self.maps.localize(meta.asker(out.event()), own, message, &self.devices, out);
            }
        }
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Opened(opened) => self.opened = Some(opened),
            Record::DeviceAttached { user, device } => {
                self.devices.insert(user, device);
            }
            Record::Map(record) => self.maps.replay(record),
        }
    }

    fn snapshot(&self, part: u64, into: &mut Vec<Record>) {
        if part != 0 {
            return self.maps.snapshot(part, into);
        }
        into.extend(self.opened.clone().map(Record::Opened));
        let attached = |(user, device): (&UserId, &_)| Record::DeviceAttached { user: user.clone(), device: *device };
        into.extend(self.devices.iter().map(attached));
    }

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        self.maps.tell_references(out);
        let Some(opened) = &self.opened else { return };
        opened.signal(out);
        // When the daemon starts, DTAC recovers too and tells everybody.
        if why == Recovery::Failure {
            self.maps.follow_all(&opened.id, out);
        }
    }
}

/// Answers at once.
fn answer<T>(meta: Meta, answer: Result<T::Answer, Problem>, out: &mut Out<'_, MetaverseSystem>)
where
    T: Ask<Answer: Answers<Wire>>,
{
    out.reply(meta.asker::<T>(out.event()), answer);
}

#[cfg(test)]
mod tests;
