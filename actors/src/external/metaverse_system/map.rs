//! The spatial maps of a metaverse system (FGMV-28 7.3): what its actor keeps of them, and writes down.

mod deleting;
mod following;
mod locating;
mod making;
mod observing;
mod reading;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, JsonDoc, MapId, Out, Pending, Problem, ProblemKind, Ref, SystemId, TwinId, UserId,
    message::{AuthorizeLocation, NotifyUser, RequestObservations, UserDeviceMsg},
    signal::{Event, Signal},
    spatial::{
        ChangeKind, EntryFacts, KeptObservation, Localization, MapChange, MapDefinition, ObservationId, Placed, Point,
        WatchDocument, Watched,
    },
};

use super::{MetaverseSystem, document};
use crate::{
    Settings,
    spatial::{Index, Watches},
};
use observing::References;
use reading::Finder;

/// What is written down of maps. They go by number: a record of a location is small.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MapRecord {
    /// A map is this.
    Defined {
        /// Its number.
        map: u32,
        /// What it is.
        definition: Arc<MapDefinition>,
    },
    /// A part of a map is watched.
    Watched {
        /// The map.
        map: u32,
        /// The watch.
        watch: u32,
        /// Which part, and for whom.
        document: WatchDocument,
    },
    /// It is watched no longer.
    Unwatched {
        /// The map.
        map: u32,
        /// The watch.
        watch: u32,
    },
    /// A twin system was named to make twins for a map.
    Invited {
        /// The map.
        map: u32,
        /// The twin system.
        system: SystemId,
    },
    /// A twin's location moves its entry.
    Located {
        /// The map.
        map: u32,
        /// The twin.
        twin: TwinId,
        /// What tells where it is, and who is told.
        location: Located,
    },
    /// An entry stands in a slot.
    Put {
        /// The map.
        map: u32,
        /// The slot.
        slot: u32,
        /// What it is.
        facts: Arc<EntryFacts>,
        /// Where.
        placed: Placed,
    },
    /// Entries have moved.
    Moved {
        /// The map.
        map: u32,
        /// Slots, and where their entries are now.
        moves: Vec<(u32, Placed)>,
    },
    /// A slot is empty.
    Removed {
        /// The map.
        map: u32,
        /// The slot.
        slot: u32,
    },
    /// Something was recorded for the map.
    Observed {
        /// The map.
        map: u32,
        /// What, and who recorded it.
        observation: Arc<KeptObservation>,
    },
    /// What was recorded is forgotten.
    Unobserved {
        /// The map.
        map: u32,
        /// What it is.
        observation: ObservationId,
        /// Who recorded it.
        user: UserId,
    },
    /// A twin's location moves its entry no longer.
    Unlocated {
        /// The map.
        map: u32,
        /// The twin.
        twin: TwinId,
    },
    /// The user who lets a twin's location move its entry has lost the permission to read the twin, or has it again.
    LocationPermitted {
        /// The map.
        map: u32,
        /// The twin.
        twin: TwinId,
        /// Whether the user has it.
        permitted: bool,
    },
    /// The slots of one part of the journal are empty: their map is deleted.
    Cleared {
        /// The map.
        map: u32,
        /// The first of the slots.
        from: u32,
    },
    /// A map is no more, and nothing of it.
    Deleted {
        /// The map.
        map: u32,
    },
}

/// What tells where a twin is, and who is told that the map follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The user who authorized it.
    pub user: UserId,
    /// The property that has its pose.
    pub property: Box<str>,
}

/// What waits for an answer.
#[derive(Debug)]
enum Waiting {
    Requesting(Asker<RequestObservations>, RequestObservations),
    Locating(Asker<AuthorizeLocation>, MapId, TwinId, Located),
    /// What was found on the map, and what the user prefers.
    Finding(Finder, Box<Localization>, BTreeSet<String>),
}

/// One map.
#[derive(Debug, Default)]
struct KeptMap {
    /// A replay may bring entries first.
    definition: Option<Arc<MapDefinition>>,
    index: Index,
    watches: Watches,
    /// The twin systems that were named to make twins for it.
    invited: BTreeSet<SystemId>,
    /// What was recorded for it, and by whom.
    observed: BTreeMap<(ObservationId, UserId), Arc<KeptObservation>>,
}

/// The maps of one metaverse system.
#[derive(Debug)]
pub(super) struct Maps {
    by_number: BTreeMap<u32, KeptMap>,
    numbers: BTreeMap<MapId, u32>,
    /// Of each twin whose location is kept the same, the maps on which it is.
    located: BTreeMap<TwinId, BTreeMap<u32, Located>>,
    /// Those of them whose users may not read them at present.
    suspended: BTreeSet<(TwinId, u32)>,
    references: References,
    waiting: Pending<Waiting>,
    limits: Limits,
}

/// Those of [`Settings`].
#[derive(Clone, Copy, Debug)]
struct Limits {
    maps: usize,
    entries: usize,
    request_entries: usize,
    watches: usize,
    regions: usize,
    observations: usize,
}

/// How many slots of a map one part of the journal has. A snapshot is of a part: a map of a million entries is not
/// written again because one of them moved.
const PART_SLOTS: u32 = 1_024;

/// The part of the journal with a map's own state. Part 0 is the system's.
fn structure(map: u32) -> u64 {
    (u64::from(map) + 1) << 32
}

/// The part of the journal with a slot.
fn part_of(map: u32, slot: u32) -> u64 {
    structure(map) + 1 + u64::from(slot / PART_SLOTS)
}

impl Maps {
    pub(super) fn new(settings: &Settings, incarnation: u32) -> Self {
        // Its keys and those of the questions that are passed on must differ: answers of one type come to both.
        let keys = incarnation.wrapping_add(1 << 31);
        Self {
            by_number: BTreeMap::new(),
            numbers: BTreeMap::new(),
            located: BTreeMap::new(),
            suspended: BTreeSet::new(),
            references: References::default(),
            waiting: Pending::new(settings.pending_questions_max, keys),
            limits: Limits {
                maps: settings.maps_max,
                entries: settings.map_entries_max,
                request_entries: settings.map_request_entries_max,
                watches: settings.map_watches_max,
                regions: settings.map_regions_max,
                observations: settings.map_observations_max,
            },
        }
    }

    pub(super) fn replay(&mut self, record: MapRecord) {
        match record {
            MapRecord::Defined { map, definition } => {
                self.numbers.insert(definition.id.clone(), map);
                self.by_number.entry(map).or_default().definition = Some(definition);
            }
            MapRecord::Watched { map, watch, document } => {
                self.by_number.entry(map).or_default().watches.insert(watch, document);
            }
            MapRecord::Unwatched { map, watch } => {
                self.by_number.entry(map).or_default().watches.remove(watch);
            }
            MapRecord::Invited { map, system } => {
                self.by_number.entry(map).or_default().invited.insert(system);
            }
            MapRecord::Located { map, twin, location } => {
                self.suspended.remove(&(twin.clone(), map));
                self.located.entry(twin).or_default().insert(map, location);
            }
            MapRecord::Put { map, slot, facts, placed } => {
                self.references.add(facts.observation.as_ref());
                let before = self.by_number.entry(map).or_default().index.put(slot, facts, placed);
                self.references.end(before.and_then(|before| before.facts.observation.clone()).as_ref());
            }
            MapRecord::Moved { map, moves } => {
                let index = &mut self.by_number.entry(map).or_default().index;
                for (slot, placed) in moves {
                    index.relocate(slot, placed);
                }
            }
            MapRecord::Removed { map, slot } => {
                let entry = self.by_number.entry(map).or_default().index.remove(slot);
                self.references.end(entry.and_then(|entry| entry.facts.observation.clone()).as_ref());
            }
            MapRecord::Observed { map, observation } => self.replay_observed(map, observation),
            MapRecord::Unobserved { map, observation, user } => self.replay_unobserved(map, observation, user),
            MapRecord::Unlocated { map, twin } => self.replay_unlocated(map, &twin),
            MapRecord::LocationPermitted { map, twin, permitted: true } => {
                self.suspended.remove(&(twin, map));
            }
            MapRecord::LocationPermitted { map, twin, permitted: false } => {
                self.suspended.insert((twin, map));
            }
            MapRecord::Cleared { map, from } => self.replay_cleared(map, from),
            MapRecord::Deleted { map } => self.replay_deleted(map),
        }
    }

    /// The records of `part`, which is none of part 0.
    pub(super) fn snapshot(&self, part: u64, into: &mut Vec<super::Record>) {
        let numbered = u32::try_from((part >> 32).saturating_sub(1)).ok();
        let Some((map, kept)) = numbered.and_then(|map| Some((map, self.by_number.get(&map)?))) else { return };
        let chunk = u32::try_from(part & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let records = &mut |record| into.push(super::Record::Map(record));
        if let Some(chunk) = chunk.checked_sub(1) {
            let from = chunk.saturating_mul(PART_SLOTS);
            for (slot, entry) in kept.index.in_slots(from..from.saturating_add(PART_SLOTS)) {
                records(MapRecord::Put { map, slot, facts: Arc::clone(&entry.facts), placed: entry.placed });
            }
            return;
        }
        if let Some(definition) = kept.definition.clone() {
            records(MapRecord::Defined { map, definition });
        }
        for (watch, document) in kept.watches.iter() {
            records(MapRecord::Watched { map, watch, document: document.clone() });
        }
        // A number that was given once is not given again.
        if let Some(last) = kept.watches.next().checked_sub(1).filter(|last| kept.watches.get(*last).is_none()) {
            records(MapRecord::Unwatched { map, watch: last });
        }
        for system in &kept.invited {
            records(MapRecord::Invited { map, system: system.clone() });
        }
        for (twin, on) in &self.located {
            if let Some(location) = on.get(&map).cloned() {
                records(MapRecord::Located { map, twin: twin.clone(), location });
            }
            if self.suspended.contains(&(twin.clone(), map)) {
                records(MapRecord::LocationPermitted { map, twin: twin.clone(), permitted: false });
            }
        }
        for observation in kept.observed.values().cloned() {
            records(MapRecord::Observed { map, observation });
        }
    }

    /// Writes down what a map is, or who has to do with it, and takes it over.
    fn keep(&mut self, part: u64, record: MapRecord, out: &mut Out<'_, MetaverseSystem>) {
        out.record(part, super::Record::Map(record.clone()));
        self.replay(record);
        // Before any answer of the turn: whoever hears that something is kept finds that its bytes are.
        self.references.tell(out);
    }

    /// Writes locations down within the loss window. The index has them already.
    fn keep_moves(map: u32, moves: Vec<(u32, Placed)>, out: &mut Out<'_, MetaverseSystem>) {
        let mut parts: BTreeMap<u64, Vec<(u32, Placed)>> = BTreeMap::new();
        for moved in moves {
            parts.entry(part_of(map, moved.0)).or_default().push(moved);
        }
        for (part, moves) in parts {
            out.record_batched(part, super::Record::Map(MapRecord::Moved { map, moves }));
        }
    }

    fn number(&self, id: &MapId) -> Result<u32, Problem> {
        self.numbers.get(id).copied().ok_or_else(|| unknown(id))
    }

    fn kept(&self, id: &MapId) -> Result<(u32, &KeptMap, &Arc<MapDefinition>), Problem> {
        let number = self.number(id)?;
        let kept = self.by_number.get(&number).ok_or_else(|| unknown(id))?;
        Ok((number, kept, kept.definition.as_ref().ok_or_else(|| unknown(id))?))
    }
}

fn unknown(map: &MapId) -> Problem {
    Problem::new(ProblemKind::MapUnknown, format!("there is no map `{map}`"))
}

/// What the watchers of one map are told of one turn: one event each, whatever happens in it.
#[derive(Debug, Default)]
struct Told {
    by_watch: BTreeMap<u32, Vec<MapChange>>,
}

impl Told {
    /// An entry that was at `before` is as `now` says; absent: it is nowhere.
    fn add(&mut self, map: &KeptMap, facts: &EntryFacts, before: Option<Point>, now: Option<Point>, placed: &Placed) {
        let Some(definition) = map.definition.as_ref().filter(|_| !map.watches.is_empty()) else { return };
        map.watches.noticed(&definition.regions, before, now, |watch, change| {
            self.push(watch, facts, change, placed);
        });
    }

    /// An entry follows its twin from now on, or does no longer.
    fn add_following(&mut self, map: &KeptMap, facts: &EntryFacts, placed: &Placed, change: ChangeKind) {
        let Some(definition) = &map.definition else { return };
        map.watches.noticed(&definition.regions, None, Some(placed.pose.local), |watch, _| {
            self.push(watch, facts, change, placed);
        });
    }

    fn push(&mut self, watch: u32, facts: &EntryFacts, change: ChangeKind, placed: &Placed) {
        // Who may not see where it went is not told.
        let pose = (change != ChangeKind::Left).then_some(placed.pose);
        let (entry, at, version) = (facts.id.clone(), placed.at, placed.version);
        self.by_watch.entry(watch).or_default().push(MapChange { entry, change, pose, at, version });
    }

    fn tell(self, map: &KeptMap, devices: &BTreeMap<UserId, Ref<UserDeviceMsg>>, out: &mut Out<'_, MetaverseSystem>) {
        let Some(definition) = &map.definition else { return };
        for (watch, changes) in self.by_watch {
            let data = document(&Watched { map: definition.id.clone(), watch, changes });
            let user = map.watches.get(watch).and_then(|watch| watch.user.as_ref());
            if let Some(device) = user.and_then(|user| devices.get(user)) {
                out.send(*device, NotifyUser { event: "map.changed", data: data.clone() });
            }
            event("map.changed", format!("{}/{watch}", definition.id), data, out);
        }
    }
}

fn event(kind: &'static str, subject: String, data: JsonDoc, out: &mut Out<'_, MetaverseSystem>) {
    let event = Event::new(kind, subject, None, out.now().wall, data);
    out.signal(Signal::Event { entity: out.me(), event: Arc::new(event) });
}

#[cfg(test)]
mod tests;
