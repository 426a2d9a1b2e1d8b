//! Which metaverse system has selected which twins (FGMV-29 9.2 steps 6 and 7).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    EntityId, Ref, SystemId, TwinId,
    message::{MetaverseSystemMsg, TwinMsg, WatchTwin},
    twin::RegisteredTwin,
};

/// What one request changed in a selection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelectionChange {
    /// The part: one for each metaverse system, in the order in which they first selected something.
    pub number: u64,
    /// The metaverse system.
    pub metaverse: SystemId,
    /// Its actor.
    pub entity: Ref<MetaverseSystemMsg>,
    /// The twins that it selected, with their actors.
    pub selected: BTreeMap<TwinId, Ref<TwinMsg>>,
    /// The twins that it let go.
    pub released: BTreeSet<TwinId>,
}

/// How often a metaverse system wants twins that it selected synchronized (FGMV-28 REQ-DT-07).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelectionPace {
    /// The part, as of [`SelectionChange`].
    pub number: u64,
    /// How often, in milliseconds; 0: not of itself.
    pub period_ms: u32,
    /// Which twins.
    pub twins: BTreeSet<TwinId>,
}

/// What one metaverse system has selected.
#[derive(Debug)]
pub(super) struct Selection {
    metaverse: SystemId,
    entity: Ref<MetaverseSystemMsg>,
    twins: BTreeMap<TwinId, Ref<TwinMsg>>,
    /// Of those that it wants synchronized periodically: how often, in milliseconds.
    periods: BTreeMap<TwinId, u32>,
}

impl Selection {
    fn watch(&self, twin: &TwinId) -> WatchTwin {
        let period_ms = self.periods.get(twin).copied();
        WatchTwin { metaverse: self.metaverse.clone(), entity: self.entity, selected: true, period_ms }
    }

    /// What the twin with this actor is to be told. Only the periods are looked through: few have one.
    fn watch_of(&self, twin: EntityId) -> WatchTwin {
        let is_it = |id: &&TwinId| self.twins.get(*id).is_some_and(|entity| entity.id() == twin);
        let id = self.periods.keys().find(is_it);
        let period_ms = id.and_then(|id| self.periods.get(id)).copied();
        WatchTwin { metaverse: self.metaverse.clone(), entity: self.entity, selected: true, period_ms }
    }

    pub(super) fn twins(&self) -> &BTreeMap<TwinId, Ref<TwinMsg>> {
        &self.twins
    }
}

/// What all metaverse systems have selected.
#[derive(Debug, Default)]
pub(super) struct Selections {
    numbers: BTreeMap<SystemId, u64>,
    selections: BTreeMap<u64, Selection>,
    /// By the twin's actor: the numbers of those who selected it.
    watchers: BTreeMap<EntityId, BTreeSet<u64>>,
}

impl Selections {
    /// The number under which a metaverse system is or will be kept.
    pub(super) fn number_of(&self, metaverse: &SystemId) -> u64 {
        let next = || self.selections.last_key_value().map_or(0, |(last, _)| last + 1);
        self.numbers.get(metaverse).copied().unwrap_or_else(next)
    }

    pub(super) fn of(&self, metaverse: &SystemId) -> Option<&Selection> {
        self.selections.get(self.numbers.get(metaverse)?)
    }

    pub(super) fn has(&self, metaverse: &SystemId, twin: &TwinId) -> bool {
        self.of(metaverse).is_some_and(|selection| selection.twins.contains_key(twin))
    }

    /// How many have selected the twin with this actor.
    pub(super) fn watchers(&self, twin: Ref<TwinMsg>) -> usize {
        self.watchers.get(&twin.id()).map_or(0, BTreeSet::len)
    }

    /// Whether `change` would leave everything as it is.
    pub(super) fn is_same(&self, change: &SelectionChange) -> bool {
        self.of(&change.metaverse).is_some_and(|selection| {
            selection.entity == change.entity
                && change.selected.iter().all(|(twin, entity)| selection.twins.get(twin) == Some(entity))
                && !change.released.iter().any(|twin| selection.twins.contains_key(twin))
        })
    }

    pub(super) fn take_over(&mut self, change: SelectionChange) {
        let SelectionChange { number, metaverse, entity, selected, released } = change;
        self.numbers.insert(metaverse.clone(), number);
        let selection = self.selections.entry(number).or_insert_with(|| Selection {
            metaverse,
            entity,
            twins: BTreeMap::new(),
            periods: BTreeMap::new(),
        });
        selection.entity = entity;
        for twin in &released {
            selection.periods.remove(twin);
            if let Some(twin) = selection.twins.remove(twin)
                && let Some(watchers) = self.watchers.get_mut(&twin.id())
            {
                watchers.remove(&number);
                if watchers.is_empty() {
                    self.watchers.remove(&twin.id());
                }
            }
        }
        for (twin, entity) in selected {
            self.watchers.entry(entity.id()).or_default().insert(number);
            selection.twins.insert(twin, entity);
        }
    }

    /// Takes over how often twins are wanted synchronized.
    pub(super) fn pace(&mut self, pace: SelectionPace) {
        let Some(selection) = self.selections.get_mut(&pace.number) else { return };
        for twin in pace.twins {
            if pace.period_ms == 0 {
                selection.periods.remove(&twin);
            } else if selection.twins.contains_key(&twin) {
                selection.periods.insert(twin, pace.period_ms);
            }
        }
    }

    /// Whether it says something else than what counts.
    pub(super) fn is_news(&self, pace: &SelectionPace) -> bool {
        let wanted = Some(pace.period_ms).filter(|ms| *ms != 0);
        self.selections
            .get(&pace.number)
            .is_some_and(|selection| pace.twins.iter().any(|twin| selection.periods.get(twin).copied() != wanted))
    }

    /// How often a metaverse system wants a twin synchronized, in milliseconds.
    pub(super) fn period(&self, metaverse: &SystemId, twin: &TwinId) -> Option<u32> {
        self.of(metaverse)?.periods.get(twin).copied()
    }

    /// How often the twins of the selection with this number are wanted synchronized.
    pub(super) fn paces(&self, number: u64) -> Vec<SelectionPace> {
        let mut by_period: BTreeMap<u32, BTreeSet<TwinId>> = BTreeMap::new();
        for (twin, period_ms) in self.selections.get(&number).into_iter().flat_map(|selection| &selection.periods) {
            by_period.entry(*period_ms).or_default().insert(twin.clone());
        }
        by_period.into_iter().map(|(period_ms, twins)| SelectionPace { number, period_ms, twins }).collect()
    }

    /// The change that makes the selection with this number from nothing.
    pub(super) fn snapshot(&self, number: u64) -> Option<SelectionChange> {
        let selection = self.selections.get(&number)?;
        Some(SelectionChange {
            number,
            metaverse: selection.metaverse.clone(),
            entity: selection.entity,
            selected: selection.twins.clone(),
            released: BTreeSet::new(),
        })
    }

    /// The changes by which nobody has any of these twins selected.
    pub(super) fn without(&self, twins: &[RegisteredTwin]) -> Vec<SelectionChange> {
        let mut released: BTreeMap<u64, BTreeSet<TwinId>> = BTreeMap::new();
        for twin in twins {
            for number in self.watchers.get(&twin.entity.id()).into_iter().flatten() {
                released.entry(*number).or_default().insert(twin.entry.id.clone());
            }
        }
        let change = |(number, released): (u64, BTreeSet<TwinId>)| {
            let Selection { metaverse, entity, .. } = self.selections.get(&number)?;
            let (metaverse, entity, selected) = (metaverse.clone(), *entity, BTreeMap::new());
            Some(SelectionChange { number, metaverse, entity, selected, released })
        };
        released.into_iter().filter_map(change).collect()
    }

    /// What all twins are to be told again.
    pub(super) fn watches(&self) -> impl Iterator<Item = (Ref<TwinMsg>, WatchTwin)> + '_ {
        let selections = self.selections.values();
        selections.flat_map(|selection| selection.twins.iter().map(|(id, twin)| (*twin, selection.watch(id))))
    }

    /// What one twin is to be told again.
    pub(super) fn watches_of(&self, twin: EntityId) -> impl Iterator<Item = WatchTwin> + '_ {
        let numbers = self.watchers.get(&twin).into_iter().flatten();
        let selections = numbers.filter_map(|number| self.selections.get(number));
        selections.map(move |selection| selection.watch_of(twin))
    }
}
