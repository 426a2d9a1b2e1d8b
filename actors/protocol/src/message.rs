//! One message type a step of the operation flows, grouped by where it belongs; and who accepts which.
//!
//! A message that an external system's actor accepts and sends on is one type: what comes from outside
//! is the step's message already, and the actor's sending it is the step.

mod acquiring;
mod authorizing;
mod collaborating;
mod dtif;
mod external;
mod lease;
mod models;
mod places;
mod registering;
mod rights;
mod sif;
mod spatial;
mod synchronizing;
mod twins;
mod upkeep;

pub use acquiring::*;
pub use authorizing::*;
pub use collaborating::*;
pub use dtif::*;
pub use external::*;
pub use lease::*;
pub use models::*;
pub use places::*;
pub use registering::*;
pub use rights::*;
pub use sif::*;
pub use spatial::*;
pub use synchronizing::*;
pub use twins::*;
pub use upkeep::*;

use crate::{EntityId, Ref, Step, StepId, mailboxes, signal::Signal};

/// Names the step of message types, and what answers a question.
macro_rules! steps {
    (@step $flow:literal $number:literal) => { Some($crate::step_id!($flow, $number)) };
    (@step) => { None };
    // What must not wait behind a flood.
    (@lane control) => { $crate::Lane::Control };
    (@lane $verb:ident) => { $crate::Lane::Data };
    ($(
        $verb:ident $Name:ident $(-> $Answer:ident)? $(= $flow:literal $number:literal $(or $refused:literal)?)?;
    )*) => {$(
        impl $crate::Step for $Name {
            const STEP: Option<StepId> = $crate::message::steps!(@step $($flow $number)?);
            const NAME: &'static str = stringify!($Name);
            const LANE: $crate::Lane = $crate::message::steps!(@lane $verb);
        }
        $crate::message::steps!(@verb $verb $Name $($Answer)? $(, $flow $(or $refused)?)?);
    )*};
    (@verb tell $Name:ident $(, $flow:literal)?) => { impl $crate::Tell for $Name {} };
    (@verb control $Name:ident $(, $flow:literal)?) => { impl $crate::Tell for $Name {} };
    (@verb answer $Name:ident $(, $flow:literal)?) => {};
    (@verb ask $Name:ident $Answer:ident $(, $flow:literal)?) => {
        impl $crate::Ask for $Name { type Answer = $Answer; }
    };
    // A question that the flow's text lets be rejected in a step of its own.
    (@verb ask $Name:ident $Answer:ident, $flow:literal or $refused:literal) => {
        impl $crate::Ask for $Name {
            type Answer = $Answer;
            fn refused(problem: &$crate::Problem) -> Option<StepId> {
                if problem.is_rejection() { Some($crate::step_id!($flow, $refused)) } else { <$Answer as $crate::Step>::STEP }
            }
        }
    };
}
pub(crate) use steps;

/// Tells the kept part of a register again to the entity that asks: it lost what it derives from it.
#[derive(Clone, Copy, Debug)]
pub struct Reannounce;

/// What was told is kept; from now on it is found.
#[derive(Clone, Copy, Debug)]
pub struct Kept;

steps! {
    tell Reannounce;
    answer Kept;
}

mailboxes! {
    /// A message on its way to any entity of Twinway.
    pub enum Wire signals Signal {
        /// What third-party system registration accepts (FGMV-29 8.2.1).
        Tpsr(TpsrMsg) = 1 {
            asks { RegisterThirdPartySystem, UpdateThirdPartySystem, Deregister, RenewRegistration, Heartbeat }
            tells { Reannounce, ReportPerformance, ReportBreaker }
            hears { Kept }
        }
        /// What third-party system discovery accepts (FGMV-29 8.2.2).
        Tpsd(TpsdMsg) = 2 {
            asks { KeepThirdPartySystem, SearchThirdPartySystems, ForgetThirdPartySystem, FindRegisteredPlaces }
            tells { KeepStanding }
            hears {}
        }
        /// What third-party system authentication and authorization accepts (FGMV-29 8.2.3).
        Tpsaa(TpsaaMsg) = 3 {
            asks {
                KeepThirdPartySystem, RequestUserAuthorization, DecideUserAuthorization, VerifyUserAuthorization, ReadUserAuthorization,
                ForgetThirdPartySystem, RevokeUserAuthorization, ListUserAuthorizations
            }
            tells {}
            hears { UserAndPermissionInformation }
        }
        /// What system and data collaboration accepts (FGMV-29 8.2.4).
        Sdc(SdcMsg) = 4 {
            asks {
                KeepThirdPartySystem, UseThirdPartySystem, ShareData, ForgetThirdPartySystem, RunChain, ReadExecution, CancelExecution,
                ListExecutions
            }
            tells { KeepStanding }
            hears { UserAuthorizationVerified, ServiceExecuted }
        }
        /// What digital twin data acquisition accepts (FGMV-29 8.2.5).
        Dtda(DtdaMsg) = 5 {
            asks {
                AcquireTwinInformation, SubscribeTwinInformation, ReadTwinSubscription, EndTwinSubscription, ListTwinSubscriptions,
                RenewTwinSubscription
            }
            tells { TwinInformationChanged, TwinAccessChanged, EndTwinSubscriptions }
            hears { AcquisitionResponse }
        }
        /// What digital twin system registration accepts (FGMV-29 8.3.1).
        Dtsr(DtsrMsg) = 6 {
            asks {
                RegisterTwinSystem, SetSynchronization, UpdateTwinSystem, ChangeTwinList, ListOwnTwins, Deregister, RenewRegistration,
                Heartbeat
            }
            tells { Reannounce, ReportPerformance }
            hears { Kept }
        }
        /// What digital twin system discovery accepts (FGMV-29 8.3.2).
        Dtsd(DtsdMsg) = 7 {
            asks { KeepTwinSystem, SearchTwinSystems, ForgetTwinSystem }
            tells { KeepStanding }
            hears {}
        }
        /// What digital twin information acquisition accepts (FGMV-29 8.3.3).
        Dtia(DtiaMsg) = 8 {
            asks { KeepTwinSystem, ListTwins, SelectTwins, RequestTwinPropertiesAndPermission, CollectTwinInformation, ForgetTwinSystem }
            tells { Reannounce }
            hears { Kept, TwinPropertiesAndPermission, TwinPermissionManaged, TwinRead }
        }
        /// What digital twin synchronization accepts (FGMV-29 8.3.4).
        Dts(DtsMsg) = 9 {
            asks { KeepTwinSystem, ChangeTwin, StopTwin, ForgetTwinSystem, InvokeAction }
            tells { PhysicalChange, ActionBegan }
            hears { ChangeVerified, ChangeApplied, SyncVerified, SyncLeaseGranted, SyncLeaseSettled }
        }
        /// What digital twin access control accepts (FGMV-29 8.3.5).
        Dtac(DtacMsg) = 10 {
            asks {
                KeepTwinSystem, ManageTwinPermission, VerifyChange, VerifyAcquisition, VerifySync, SendTwinMessage, ReadTwinPermission,
                ForgetTwinSystem, VerifyAction, CancelAction, ListTwinPermissions, GrantTwinPermission, RevokeTwinPermission,
                ReadCharacteristics, SetCharacteristics, RefreshTwin, FollowTwinPermission
            }
            tells { Reannounce, UnfollowTwinPermission }
            hears { Kept, ActionStopping, TwinRefreshed }
        }
        /// What third-party system interaction accepts (FGMV-29 8.3.6).
        Tsi(TsiMsg) = 11 {
            asks { ForwardAcquisition }
            tells {}
            hears { AcquisitionVerified, TwinInformationCollected }
        }
        /// What the actor of a metaverse system accepts.
        MetaverseSystem(MetaverseSystemMsg) = 12 {
            asks {
                OpenSystem, SearchThirdPartySystems, RequestUserAuthorization, ReadUserAuthorization, UseThirdPartySystem, ShareData,
                SearchTwinSystems, ListTwins, SelectTwins, RequestTwinPropertiesAndPermission, ReadTwinPermission, RunService,
                ChangeTwin, SendTwinMessage, AttachUserDevice, StopTwin, RequestSyncLease, RequestSyncLeases, RenewSyncLease,
                ReleaseSyncLease, YieldSyncLease, CancelSyncLease, KeepSyncLeases, ReserveSync, CancelSyncReservation, ReadSyncLease,
                ListSyncLeases, RevokeUserAuthorization, ListUserAuthorizations, RunChain, ReadExecution, CancelExecution,
                ListExecutions, DefineMap, PutMapEntries, RemoveMapEntry, UpdateLocations, ReadMap, ListMaps, WatchMap, UnwatchMap,
                FindAtPlace, RequestObservations, ConstructSpatialMap, AuthorizeLocation, ForwardLocalization, InvokeAction,
                CancelAction, ListTwinPermissions, RefreshTwin, TellUser, DeleteMap, TakeTwinOffMap, KeepObservation,
                ForgetObservation, ListObservations, WithdrawLocation
            }
            tells {
                UserAuthorizationSettled, ReflectChange, TwinMessage, NotifyLease, TellLease, TwinGone, NotifyExecution, NotifyWatcher,
                ExecutionEnded, TwinPermissionChanged
            }
            hears {
                ThirdPartySystemsFound, UserAuthorizationDecided, ServiceResult, TwinSystemsFound, TwinsListed, TwinsSelected,
                TwinPropertiesAndPermissionGranted, TwinPermissionShown, ChangeCompleted, TwinMessageSent, SyncLeaseGranted,
                SyncLeasesDecided, SyncLeaseSettled, SyncLeasesKept, SyncReserved, SyncLeaseShown, SyncLeasesListed,
                AuthorizationSettled, UserAuthorizationsListed, ExecutionShown, ExecutionsListed, ObservationsRequested, ActionInvoked,
                ActionStopping, TwinPermissionsListed, TwinRefreshed, TwinPermissionFollowed,
                RegisteredPlacesFound
            }
        }
        /// What the actor of a digital twin system accepts.
        DigitalTwinSystem(DigitalTwinSystemMsg) = 13 {
            asks {
                OpenSystem, KeepTwinSystem, RegisterTwinSystem, ReportPhysicalChange, ForwardTwinPropertiesRequest, ApplyChange,
                FenceDevice, AnswerRequest, SetSynchronization, UpdateTwinSystem, ChangeTwinList, ListOwnTwins, Deregister,
                RenewRegistration, Heartbeat, ForgetTwinSystem, UploadObservation, ConstructSpatialMap, AuthorizeLocation,
                RequestLocalization, CarryOutAction, StopAction, ReportAction, ListTwinPermissions, GrantTwinPermission,
                RevokeTwinPermission, ReadCharacteristics, SetCharacteristics, EmitTwinEvent, ReadTwinProperties, KeepThingModel,
                ReadThingModel, TakeTwinOffMap
            }
            tells { PhysicalChange, ChangeReflected, RequestUndelivered, SessionChanged }
            hears {
                TwinSystemRegistered, Kept, OwnTwinsListed, Deregistered, SystemStands, SpatialMapConstructed, LocationAuthorized,
                LocalizationFound, TwinPermissionsListed, TwinPermissionShown, CharacteristicsShown
            }
        }
        /// What the actor of a third-party system accepts.
        ThirdPartySystem(ThirdPartySystemMsg) = 14 {
            asks {
                OpenSystem, KeepThirdPartySystem, RegisterThirdPartySystem, ForwardUserAuthorization, DecideUserAuthorization,
                ExecuteService, AcquireTwinInformation, AnswerRequest, UpdateThirdPartySystem, Deregister, RenewRegistration, Heartbeat,
                ForgetThirdPartySystem, RevokeUserAuthorization, ListUserAuthorizations, FindAtPlace, SubscribeTwinInformation,
                ReadTwinSubscription, EndTwinSubscription, ListTwinSubscriptions, RenewTwinSubscription
            }
            tells { RequestUndelivered, SessionChanged, UserAuthorizationRevoked, DeliverTwinInformation }
            hears {
                ThirdPartySystemRegistered, AuthorizationSettled, TwinInformation, Deregistered, SystemStands, UserAuthorizationsListed,
                PlaceFound, TwinSubscriptionShown, TwinSubscriptionsListed
            }
        }
        /// What the actor of a physical object accepts.
        PhysicalObject(PhysicalObjectMsg) = 15 {
            asks { RepresentObject, ApplyChange, ExtendGate }
            tells { ObserveChange, FenceGate, RestrictGate, ReflectLease, WeighGate }
            hears { ChangeApplied, DeviceFenced, ActionEnded }
        }
        /// What the actor of a user's device accepts.
        UserDevice(UserDeviceMsg) = 16 {
            asks {
                OpenSystem, AttachUserDevice, StartCapture, RequestObservations, CheckObservationRequest, UploadObservation,
                AuthorizeLocation, RequestLocalization, ForgetObservation, WithdrawLocation
            }
            tells { NotifyUser, SendSpatialMap, LocationSynchronized }
            hears { Kept, UserDeviceAttached, ObservationUploaded, LocationAuthorized, LocalizationFound }
        }
        /// What a digital twin accepts.
        Twin(TwinMsg) = 17 {
            asks {
                DescribeTwin, WatchTwin, AdoptProperties, ReadTwin, ApplyChange, ForgetTwin, ReportAction, CancelAction, EmitTwinEvent,
                RefreshTwin
            }
            tells {
                ReflectChange, PassTwinMessage, TwinMessage, ReflectLease, ChangeUnderWay, ChangeDropped, ActionOver, PassPermission,
                SynchronizeEvery, ObserveTwin
            }
            hears { ChangeApplied, ActionEnded, ActionStopping, TwinPropertiesRead }
        }
        /// What the supervisor of sync leases accepts (FGMV-28 7.1.3).
        SyncSupervisor(SyncSupervisorMsg) = 18 {
            asks {
                KeepTwinSystem, RequestSyncLease, RequestSyncLeases, RenewSyncLease, ReleaseSyncLease, YieldSyncLease, CancelSyncLease,
                KeepSyncLeases, ReserveSync, CancelSyncReservation, OperateSyncLease, ReadSyncLease, ListSyncLeases, ForgetTwinSystem
            }
            tells { AbandonSyncLeases, GateFenced, GateStarted, RulesChanged, RoleChanged, PermissionLost }
            hears { SyncVerified, GateExtended }
        }
        /// What a caller outside the actors hears: a gateway, a host program.
        Caller(CallerMsg) = 255 {
            asks {}
            tells {}
            hears {
                Kept, ThirdPartySystemRegistered, ThirdPartySystemsFound, UserAuthorizationDecided, ServiceResult, TwinInformation,
                TwinSystemRegistered, TwinSystemsFound, TwinsListed, TwinsSelected, TwinPropertiesAndPermissionGranted, ServiceRunning,
                TwinPermissionShown, ChangeCompleted, TwinMessageSent, PhysicalChangeReported, AnswerAccepted, AuthorizationSettled,
                UserDeviceAttached, SyncLeaseGranted, SyncLeasesDecided, SyncLeaseSettled, SyncLeasesKept, SyncReserved, SyncLeaseShown,
                SyncLeasesListed, OwnTwinsListed, Deregistered, SystemStands, UserAuthorizationsListed, ExecutionShown, ExecutionsListed,
                LocationsUpdated, MapShown, MapsListed, MapWatched, PlaceFound, ObservationsRequested, ObservationUploaded,
                SpatialMapConstructed, LocationAuthorized, LocalizationFound, ActionInvoked, ActionStopping, TwinPermissionsListed,
                CharacteristicsShown, TwinRefreshed, ThingModelShown, TwinSubscriptionShown, TwinSubscriptionsListed,
                ObservationRequestStands, ObservationsListed
            }
        }
    }

    answers {
        Kept => Tpsr(TpsrMsg), Dtsr(DtsrMsg), Dtia(DtiaMsg), Dtac(DtacMsg), DigitalTwinSystem(DigitalTwinSystemMsg),
            UserDevice(UserDeviceMsg), Caller(CallerMsg);
        ThirdPartySystemRegistered => ThirdPartySystem(ThirdPartySystemMsg), Caller(CallerMsg);
        ThirdPartySystemsFound => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        UserAndPermissionInformation => Tpsaa(TpsaaMsg);
        UserAuthorizationDecided => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        AuthorizationSettled => ThirdPartySystem(ThirdPartySystemMsg), Caller(CallerMsg), MetaverseSystem(MetaverseSystemMsg);
        UserAuthorizationVerified => Sdc(SdcMsg);
        ServiceExecuted => Sdc(SdcMsg);
        ServiceResult => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        TwinInformation => ThirdPartySystem(ThirdPartySystemMsg), Caller(CallerMsg);
        TwinSubscriptionShown => ThirdPartySystem(ThirdPartySystemMsg), Caller(CallerMsg);
        TwinSubscriptionsListed => ThirdPartySystem(ThirdPartySystemMsg), Caller(CallerMsg);
        AcquisitionResponse => Dtda(DtdaMsg);
        AcquisitionVerified => Tsi(TsiMsg);
        TwinInformationCollected => Tsi(TsiMsg);
        TwinSystemRegistered => DigitalTwinSystem(DigitalTwinSystemMsg), Caller(CallerMsg);
        TwinSystemsFound => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        TwinsListed => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        TwinsSelected => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        TwinPropertiesAndPermission => Dtia(DtiaMsg);
        TwinPermissionManaged => Dtia(DtiaMsg);
        TwinPropertiesAndPermissionGranted => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        TwinPermissionShown => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg), DigitalTwinSystem(DigitalTwinSystemMsg);
        TwinRead => Dtia(DtiaMsg);
        ServiceRunning => Caller(CallerMsg);
        ChangeVerified => Dts(DtsMsg);
        ChangeApplied => Dts(DtsMsg), PhysicalObject(PhysicalObjectMsg), Twin(TwinMsg);
        ChangeCompleted => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        TwinMessageSent => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        PhysicalChangeReported => Caller(CallerMsg);
        AnswerAccepted => Caller(CallerMsg);
        UserDeviceAttached => UserDevice(UserDeviceMsg), Caller(CallerMsg);
        SyncLeaseGranted => MetaverseSystem(MetaverseSystemMsg), Dts(DtsMsg), Caller(CallerMsg);
        SyncLeasesDecided => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        SyncLeaseSettled => MetaverseSystem(MetaverseSystemMsg), Dts(DtsMsg), Caller(CallerMsg);
        SyncLeasesKept => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        SyncReserved => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        SyncLeaseShown => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        SyncLeasesListed => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        SyncVerified => SyncSupervisor(SyncSupervisorMsg), Dts(DtsMsg);
        GateExtended => SyncSupervisor(SyncSupervisorMsg);
        DeviceFenced => PhysicalObject(PhysicalObjectMsg);
        OwnTwinsListed => DigitalTwinSystem(DigitalTwinSystemMsg), Caller(CallerMsg);
        Deregistered => ThirdPartySystem(ThirdPartySystemMsg), DigitalTwinSystem(DigitalTwinSystemMsg), Caller(CallerMsg);
        SystemStands => ThirdPartySystem(ThirdPartySystemMsg), DigitalTwinSystem(DigitalTwinSystemMsg), Caller(CallerMsg);
        UserAuthorizationsListed => MetaverseSystem(MetaverseSystemMsg), ThirdPartySystem(ThirdPartySystemMsg), Caller(CallerMsg);
        ExecutionShown => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        ExecutionsListed => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        LocationsUpdated => Caller(CallerMsg);
        ObservationRequestStands => Caller(CallerMsg);
        ObservationsListed => Caller(CallerMsg);
        TwinPermissionFollowed => MetaverseSystem(MetaverseSystemMsg);
        RegisteredPlacesFound => MetaverseSystem(MetaverseSystemMsg);
        MapShown => Caller(CallerMsg);
        MapsListed => Caller(CallerMsg);
        MapWatched => Caller(CallerMsg);
        PlaceFound => ThirdPartySystem(ThirdPartySystemMsg), Caller(CallerMsg);
        ObservationsRequested => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        ObservationUploaded => UserDevice(UserDeviceMsg), Caller(CallerMsg);
        SpatialMapConstructed => DigitalTwinSystem(DigitalTwinSystemMsg), Caller(CallerMsg);
        LocationAuthorized => DigitalTwinSystem(DigitalTwinSystemMsg), UserDevice(UserDeviceMsg), Caller(CallerMsg);
        LocalizationFound => DigitalTwinSystem(DigitalTwinSystemMsg), UserDevice(UserDeviceMsg), Caller(CallerMsg);
        TwinPermissionsListed => MetaverseSystem(MetaverseSystemMsg), DigitalTwinSystem(DigitalTwinSystemMsg), Caller(CallerMsg);
        CharacteristicsShown => DigitalTwinSystem(DigitalTwinSystemMsg), Caller(CallerMsg);
        TwinRefreshed => MetaverseSystem(MetaverseSystemMsg), Dtac(DtacMsg), Caller(CallerMsg);
        TwinPropertiesRead => Twin(TwinMsg);
        ThingModelShown => Caller(CallerMsg);
        ActionInvoked => MetaverseSystem(MetaverseSystemMsg), Caller(CallerMsg);
        ActionEnded => PhysicalObject(PhysicalObjectMsg), Twin(TwinMsg);
        ActionStopping => MetaverseSystem(MetaverseSystemMsg), Dtac(DtacMsg), Twin(TwinMsg), Caller(CallerMsg);
    }
}

/// Where the functional entities are: there is one of each.
macro_rules! functional_entities {
    ($($(#[$doc:meta])* $NAME:ident: $Msg:ident;)*) => {$(
        $(#[$doc])*
        pub const $NAME: Ref<$Msg> = Ref::new(EntityId::new(<$Msg as $crate::Mailbox>::KIND, 0, 0));
    )*};
}

functional_entities! {
    /// Third-party system registration.
    TPSR: TpsrMsg;
    /// Third-party system discovery.
    TPSD: TpsdMsg;
    /// Third-party system authentication and authorization.
    TPSAA: TpsaaMsg;
    /// System and data collaboration.
    SDC: SdcMsg;
    /// Digital twin data acquisition.
    DTDA: DtdaMsg;
    /// Digital twin system registration.
    DTSR: DtsrMsg;
    /// Digital twin system discovery.
    DTSD: DtsdMsg;
    /// Digital twin information acquisition.
    DTIA: DtiaMsg;
    /// Digital twin synchronization.
    DTS: DtsMsg;
    /// Digital twin access control.
    DTAC: DtacMsg;
    /// Third-party system interaction.
    TSI: TsiMsg;
    /// The supervisor of sync leases.
    SYNC_SUPERVISOR: SyncSupervisorMsg;
}

/// Declares own steps, and a list of them with who takes each.
macro_rules! own_steps {
    ($($(#[$doc:meta])* $NAME:ident: $Who:literal = $flow:literal $number:literal;)*) => {
        $($(#[$doc])* pub const $NAME: StepId = $crate::step_id!($flow, $number);)*
        /// All of them, each with the kind of entity that takes it.
        pub const ALL: &[(&str, StepId)] = &[$(($Who, $NAME),)*];
    };
}

/// The steps that entities take by themselves.
pub mod own {
    use crate::StepId;

    own_steps! {
        /// FGMV-29 9.1 step 2: TPSR manages the registered information.
        THIRD_PARTY_MANAGED: "Tpsr" = "9.1" "2";
        /// FGMV-29 9.1 step 9: TPSAA manages user and permission information.
        AUTHORIZATION_MANAGED: "Tpsaa" = "9.1" "9";
        /// FGMV-29 9.1 step 11: the metaverse system runs the service with the third-party system.
        THIRD_PARTY_SERVICE_RUN: "MetaverseSystem" = "9.1" "11";
        /// FGMV-29 9.2 step 2: DTSR manages the registered information and the twin list.
        TWIN_SYSTEM_MANAGED: "Dtsr" = "9.2" "2";
        /// FGMV-29 9.2 step 11: the twins' properties and permission are managed.
        TWIN_PERMISSION_MANAGED: "Dtac" = "9.2" "11";
        /// FGMV-29 9.2 step 13: the metaverse system runs the service with the twins.
        TWIN_SERVICE_RUN: "MetaverseSystem" = "9.2" "13";
        /// FGMV-28 7.3.1 step 1: a user's device records on the spot.
        CAPTURE_STARTED: "UserDevice" = "7.3.1" "1";
        /// FGMV-28 7.3.1 step 3: the twin system makes twins of what was recorded.
        TWINS_BUILT: "DigitalTwinSystem" = "7.3.1" "3";
        /// FGMV-28 7.3.1 step 5: the metaverse system makes the map.
        MAP_CONSTRUCTED: "MetaverseSystem" = "7.3.1" "5";
        /// FGMV-28 7.3.2 step 4: the metaverse system moves an entry of the map.
        LOCATION_UPDATED: "MetaverseSystem" = "7.3.2" "4";
        /// FGMV-28 7.3.3 step 2: the metaverse system finds services and information.
        PLACE_SEARCHED: "MetaverseSystem" = "7.3.3" "2";
    }
}

const _: () = assert!(<RegisterTwinSystem as Step>::STEP.is_some());

#[cfg(test)]
mod tests {
    use super::Wire;

    #[test]
    fn a_message_on_a_link_is_small() {
        // Every hop moves a message once or twice: what is larger than two lines of the cache is boxed.
        assert!(size_of::<Wire>() <= 128, "Wire has {} bytes", size_of::<Wire>());
    }
}
