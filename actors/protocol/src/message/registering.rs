//! What becomes of registrations (FGMV-29 8.2.1 and 8.3.1): updated, renewed, ended, and watched.
//!
//! A system changes its own registration by its actor, which passes the question on to the register.

use std::sync::Arc;

use super::{Kept, ThirdPartySystemRegistered, TwinSystemRegistered, steps};
use crate::{
    Ref, StepId, SystemId, TwinId,
    message::ThirdPartySystemMsg,
    registry::{Breaker, Page, Performance, Standing, ThirdPartyDescription, TwinSystem, TwinSystemDescription},
    twin::{RegisteredTwin, TwinEntry},
};

/// A third-party system describes itself anew, in whole: a merge patch is applied before it gets here.
#[derive(Clone, Debug)]
pub struct UpdateThirdPartySystem {
    /// What it registers from now on.
    pub description: Box<ThirdPartyDescription>,
    /// Only if this is the version of what is registered; absent: whatever it is.
    pub if_version: Option<u64>,
}

/// A twin system describes itself anew, in whole.
#[derive(Clone, Debug)]
pub struct UpdateTwinSystem {
    /// What it registers from now on. Its list of twins counts if `with_twins` says so.
    pub description: Box<TwinSystemDescription>,
    /// Whether the list replaces the one that is registered; otherwise the twins stay as they are.
    pub with_twins: bool,
    /// Only if this is the version of what is registered; absent: whatever it is.
    pub if_version: Option<u64>,
}

/// A twin system changes a part of its list of twins.
#[derive(Clone, Debug)]
pub struct ChangeTwinList {
    /// The system.
    pub system: SystemId,
    /// The twins that it lists from now on, new ones and changed ones.
    pub twins: Vec<Arc<TwinEntry>>,
    /// Those that it lists no more.
    pub remove: Vec<TwinId>,
    /// Only if this is the version of what is registered; absent: whatever it is.
    pub if_version: Option<u64>,
}

/// A twin system reads its own list.
#[derive(Clone, Debug)]
pub struct ListOwnTwins {
    /// The system.
    pub system: SystemId,
    /// Where the page before ended.
    pub cursor: Option<Box<str>>,
    /// At most this many.
    pub limit: Option<u32>,
}

/// The list, as it is registered.
#[derive(Clone, Debug)]
pub struct OwnTwinsListed {
    /// A page of it, in the order of ids.
    pub page: Page<Arc<TwinEntry>>,
}

/// A system ends its registration.
#[derive(Clone, Debug)]
pub struct Deregister {
    /// The system.
    pub system: SystemId,
    /// Only if this is the version of what is registered; absent: whatever it is.
    pub if_version: Option<u64>,
}

/// It is registered no more, and what it maintained is gone.
#[derive(Clone, Copy, Debug)]
pub struct Deregistered;

/// A system renews its registration.
#[derive(Clone, Debug)]
pub struct RenewRegistration {
    /// The system.
    pub system: SystemId,
    /// For how long from now on, in milliseconds; absent: as it registered.
    pub lifetime_ms: Option<u64>,
}

/// A system says that it is there.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The system.
    pub system: SystemId,
}

/// How the system stands now.
#[derive(Clone, Debug)]
pub struct SystemStands {
    /// Its standing.
    pub standing: Arc<Standing>,
}

/// The register tells those who derive something from it: a third-party system is registered no more.
#[derive(Clone, Debug)]
pub struct ForgetThirdPartySystem {
    /// The system.
    pub system: SystemId,
    /// Its actor.
    pub entity: Ref<ThirdPartySystemMsg>,
}

/// The register tells those who derive something from it: a twin system is registered no more.
#[derive(Clone, Debug)]
pub struct ForgetTwinSystem {
    /// The system, as it was.
    pub system: Arc<TwinSystem>,
    /// All twins that it had.
    pub twins: Arc<[RegisteredTwin]>,
}

/// The register tells a twin that no system lists it any more: it ends.
#[derive(Clone, Copy, Debug)]
pub struct ForgetTwin;

/// A twin tells those who selected it that it is no more.
#[derive(Clone, Debug)]
pub struct TwinGone {
    /// The twin.
    pub twin: TwinId,
}

/// The register tells those who look for systems, or use them, how one stands.
#[derive(Clone, Debug)]
pub struct KeepStanding {
    /// The system.
    pub system: SystemId,
    /// How it stands now.
    pub standing: Arc<Standing>,
}

/// SDC tells the register that a third-party system is called in another way than before (FGMV-29 8.2.4).
#[derive(Clone, Debug)]
pub struct ReportBreaker {
    /// The system.
    pub system: SystemId,
    /// Its breaker now.
    pub breaker: Breaker,
}

/// The actor of an external system tells the register what it measured of its system since it last did: by a timer,
/// never a message a call.
#[derive(Clone, Debug)]
pub struct ReportPerformance {
    /// The system.
    pub system: SystemId,
    /// What was measured over the window.
    pub performance: Box<Performance>,
    /// How many calls failed in a row until now.
    pub failed_in_a_row: u32,
    /// How long ago the system was last heard of, in milliseconds; absent: never.
    pub heard_ms_ago: Option<u64>,
    /// Whether its session is open: then it is there, however silent.
    pub in_session: bool,
}

/// The gateway tells a system's actor that its session opened or closed.
#[derive(Clone, Copy, Debug)]
pub struct SessionChanged {
    /// Whether it is open now.
    pub open: bool,
}

steps! {
    ask UpdateThirdPartySystem -> ThirdPartySystemRegistered;
    ask UpdateTwinSystem -> TwinSystemRegistered;
    ask ChangeTwinList -> TwinSystemRegistered;
    ask ListOwnTwins -> OwnTwinsListed;
    answer OwnTwinsListed;
    ask Deregister -> Deregistered;
    answer Deregistered;
    ask RenewRegistration -> SystemStands;
    ask Heartbeat -> SystemStands;
    answer SystemStands;
    ask ForgetThirdPartySystem -> Kept;
    ask ForgetTwinSystem -> Kept;
    ask ForgetTwin -> Kept;
    tell TwinGone;
    tell KeepStanding;
    tell ReportPerformance;
    tell ReportBreaker;
    tell SessionChanged;
}
