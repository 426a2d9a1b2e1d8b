//! What was tried and what the daemon acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use twinway::protocol::{
    PermissionId, SystemId, TwinId,
    access::{AuthorizationDecision, TwinPermission, UserAuthorization},
    registry::{ThirdPartyDescription, ThirdPartyListing, TwinSystemDescription, TwinSystemListing},
    twin::TwinView,
};

/// A registration that was sent, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Registration<D, L> {
    pub(crate) sent: D,
    pub(crate) acknowledged: Option<L>,
    /// Whether its twins were seen to take reports.
    pub(crate) probed: bool,
}

impl<D, L> Registration<D, L> {
    pub(crate) fn sent(sent: D) -> Self {
        Self { sent, acknowledged: None, probed: false }
    }
}

/// What one metaverse system has selected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    pub(crate) acknowledged: BTreeSet<TwinId>,
    /// What it is if the request that was under way was carried out.
    pub(crate) under_way: Option<BTreeSet<TwinId>>,
}

/// An authorization, and the decision that was under way.
#[derive(Clone, Debug)]
pub(crate) struct Authorization {
    pub(crate) acknowledged: UserAuthorization,
    pub(crate) under_way: Option<AuthorizationDecision>,
}

/// What is known of a twin whose properties count upwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    /// The last numbers that were sent, acknowledged or not.
    pub(crate) power_sent: u64,
    pub(crate) level_sent: u64,
    /// The last report that was acknowledged, with the version that shows it.
    pub(crate) power: Option<(u64, u64)>,
    /// The last change that was acknowledged.
    pub(crate) level: Option<u64>,
    /// The newest view that was read.
    pub(crate) view: Option<TwinView>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) homes: BTreeMap<SystemId, Registration<TwinSystemDescription, TwinSystemListing>>,
    pub(crate) advisors: BTreeMap<SystemId, Registration<ThirdPartyDescription, ThirdPartyListing>>,
    pub(crate) selections: BTreeMap<SystemId, Selection>,
    pub(crate) permissions: Vec<TwinPermission>,
    pub(crate) authorizations: BTreeMap<PermissionId, Authorization>,
    pub(crate) twins: BTreeMap<TwinId, Counted>,
}

pub(crate) type SharedFacts = Arc<Mutex<Facts>>;

impl Facts {
    /// How much of each kind was acknowledged.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 6] {
        let changed = self.twins.values().filter(|twin| twin.level.is_some()).count();
        [
            ("twin systems", self.homes.values().filter(|home| home.acknowledged.is_some()).count()),
            ("third-party systems", self.advisors.values().filter(|advisor| advisor.acknowledged.is_some()).count()),
            ("selected twins", self.selections.values().map(|selection| selection.acknowledged.len()).sum()),
            ("permissions", self.permissions.len()),
            ("authorizations", self.authorizations.len()),
            ("changed twins", changed),
        ]
    }
}
