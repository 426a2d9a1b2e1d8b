//! The subscriptions that DTDA keeps (FGMV-29 8.2.5).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Ref, SubscriptionId, SystemId, TwinId,
    message::{DeliveryReason, ThirdPartySystemMsg, TwinSubscription},
};

use crate::sif::numbered::{Numbered, take_out};

/// A subscription as it was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// Counts the subscriptions; its part of the journal.
    pub number: u64,
    /// The actor of the third-party system.
    pub entity: Ref<ThirdPartySystemMsg>,
    /// The subscription.
    pub subscription: TwinSubscription,
}

/// A subscription, and what is known of its deliveries in this life.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) made: Made,
    /// The versions that were told.
    pub(super) seen: BTreeMap<TwinId, u64>,
    /// Twins that are to be read.
    pub(super) due: BTreeSet<TwinId>,
    /// Twins that could not be read lately: how often in a row.
    pub(super) failing: BTreeMap<TwinId, u32>,
    /// The twins that TSI was asked for and has not answered.
    pub(super) asked: Option<Arc<[TwinId]>>,
    /// Why the next delivery comes, if not for the usual reason.
    pub(super) reason: Option<DeliveryReason>,
    /// When twins were last read, on the monotonic clock in milliseconds.
    pub(super) read_ms: u64,
    /// When they are to be read next.
    pub(super) next_ms: Option<u64>,
    /// When the timer for that runs out.
    pub(super) armed_ms: Option<u64>,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(super) struct Register {
    pub(super) all: Numbered<Running>,
    by_system: BTreeMap<SystemId, BTreeMap<SubscriptionId, u64>>,
    by_twin: BTreeMap<TwinId, BTreeSet<u64>>,
}

impl Register {
    /// The subscriptions of one third-party system, in the order of their ids.
    pub(super) fn of_system(&self, system: &SystemId) -> impl Iterator<Item = (&SubscriptionId, u64)> {
        self.by_system.get(system).into_iter().flatten().map(|(id, number)| (id, *number))
    }

    /// The number of a system's subscription.
    pub(super) fn find(&self, system: &SystemId, id: &SubscriptionId) -> Option<u64> {
        self.by_system.get(system)?.get(id).copied()
    }

    /// The subscriptions that have this twin.
    pub(super) fn of_twin(&self, twin: &TwinId) -> Vec<u64> {
        self.by_twin.get(twin).into_iter().flatten().copied().collect()
    }

    pub(super) fn keep(&mut self, made: Made) {
        let Made { number, subscription, .. } = &made;
        self.by_system.entry(subscription.system.clone()).or_default().insert(subscription.id.clone(), *number);
        for twin in &subscription.twins {
            self.by_twin.entry(twin.clone()).or_default().insert(*number);
        }
        let running = Running {
            seen: BTreeMap::new(),
            due: BTreeSet::new(),
            failing: BTreeMap::new(),
            asked: None,
            reason: None,
            read_ms: 0,
            next_ms: None,
            armed_ms: None,
            made,
        };
        self.all.insert(running.made.number, running);
    }

    /// Takes twins out of a subscription.
    pub(super) fn lose(&mut self, number: u64, twins: &[TwinId]) {
        let Some(running) = self.all.get_mut(number) else { return };
        for twin in twins {
            running.made.subscription.twins.remove(twin);
            running.due.remove(twin);
            running.seen.remove(twin);
            running.failing.remove(twin);
            take_out(&mut self.by_twin, twin, number);
        }
    }

    pub(super) fn forget(&mut self, number: u64) {
        let Some(running) = self.all.remove(number) else { return };
        let TwinSubscription { id, system, twins, .. } = &running.made.subscription;
        for twin in twins {
            take_out(&mut self.by_twin, twin, number);
        }
        if let Some(ids) = self.by_system.get_mut(system) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_system.remove(system);
            }
        }
    }
}
