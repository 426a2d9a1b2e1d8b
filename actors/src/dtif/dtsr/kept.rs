//! What DTSR writes down (FGMV-29 9.2 step 2).
//!
//! A system's description is one part of the journal, its twins are others, in chunks by their addresses: to change ten of
//! a hundred thousand twins writes those ten. What was registered is written as the JSON documents that it is: members that
//! they get later are absent in older records, and nothing else changes.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    JsonDoc, ObjectUri, Ref, SystemId, TwinId,
    access::{Characteristics, Right},
    lease::Synchronization,
    message::{DigitalTwinSystemMsg, PhysicalObjectMsg, TwinMsg},
    registry::{Reach, TwinSystem, TwinSystemDescription},
    time::Timestamp,
    twin::{RegisteredTwin, TwinClass, TwinEntry},
};

use crate::standing::Stood;

/// How many twins one part of the journal holds.
const CHUNK: u32 = 64;

/// The part that says which addresses were given.
pub(super) const GIVEN: u64 = 1 << 41;

/// The part that holds a twin.
pub(super) fn chunk_of(twin: Ref<TwinMsg>) -> u64 {
    (1 << 40) | u64::from(twin.id().slot() / CHUNK)
}

/// The slots of a chunk, if `part` is one.
pub(super) fn slots_of(part: u64) -> Option<std::ops::Range<u32>> {
    let number = u32::try_from(part.checked_sub(1 << 40)?).ok()?;
    let first = number.checked_mul(CHUNK)?;
    Some(first..first.saturating_add(CHUNK))
}

/// What DTSR writes down. Only ever appended to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DtsrRecord {
    /// A twin system is registered, with its twins and their addresses, as it was written before twins had parts of their
    /// own.
    Registered(Box<FirstTwinSystem>),
    /// How twins of a registered system are synchronized with their objects, in place of what was said of them before
    /// (FGMV-28 REQ-DT-08). Written before twins had parts of their own.
    Synchronized {
        /// The twin system.
        system: SystemId,
        /// The twins, each with what its characteristics say.
        twins: Vec<(TwinId, Arc<Synchronization>)>,
    },
    /// A twin system is registered like this now; its twins are in parts of their own.
    Described(Box<Described>),
    /// In the part of a chunk: twins of a system, new or anew.
    Listed {
        /// The twin system.
        system: SystemId,
        /// The twins.
        twins: Vec<Listed>,
    },
    /// In the part of a chunk: twins that the system lists no more, and whose actors have to end.
    Unlisted {
        /// The twin system.
        system: SystemId,
        /// The twins.
        twins: Vec<Listed>,
    },
    /// In the part of a chunk: their actors have ended.
    Ended(Vec<Ref<TwinMsg>>),
    /// A twin system is registered no more.
    Deregistered(SystemId),
    /// A registration ends then; absent: never.
    Renewed(SystemId, Option<Timestamp>),
    /// A system stands in another way than before.
    Stood(SystemId, Stood),
    /// Addresses below these were given, also those that are used no more.
    Given {
        /// To twins.
        twins: u32,
        /// To physical objects.
        objects: u32,
    },
}

/// A registered twin system.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Described {
    registered_at: Timestamp,
    version: u64,
    entity: Ref<DigitalTwinSystemMsg>,
    /// What it registered, without its twins.
    #[serde(with = "crate::codec::document")]
    description: TwinSystemDescription,
}

/// A listed twin with its address and that of its object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    entity: Ref<TwinMsg>,
    object: Option<Ref<PhysicalObjectMsg>>,
    /// What the list says of it.
    #[serde(with = "apart")]
    entry: Arc<TwinEntry>,
}

/// An entry as two documents: what the list says without the description, and the description. Within a document white
/// space at its ends would be lost, and it stays as it came byte for byte.
mod apart {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use twinway_protocol::{JsonDoc, twin::TwinEntry};

    use crate::codec::document;

    #[derive(Serialize, Deserialize)]
    struct Apart {
        #[serde(with = "document")]
        entry: TwinEntry,
        description: JsonDoc,
    }

    pub(super) fn serialize<S: Serializer>(entry: &TwinEntry, serializer: S) -> Result<S::Ok, S::Error> {
        let description = entry.description.clone();
        Apart { entry: TwinEntry { description: JsonDoc::null(), ..entry.clone() }, description }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<TwinEntry>, D::Error> {
        let Apart { entry, description } = Apart::deserialize(deserializer)?;
        Ok(Arc::new(TwinEntry { description, ..entry }))
    }
}

impl From<&TwinSystem> for Described {
    fn from(system: &TwinSystem) -> Self {
        let TwinSystem { description, registered_at, version, entity, twin_count: _ } = system.clone();
        Self { registered_at, version, entity, description }
    }
}

impl From<Described> for TwinSystem {
    fn from(described: Described) -> Self {
        let Described { registered_at, version, entity, description } = described;
        Self { description, registered_at, version, entity, twin_count: 0 }
    }
}

impl Listed {
    pub(super) fn id(&self) -> &TwinId {
        &self.entry.id
    }
}

impl From<&RegisteredTwin> for Listed {
    fn from(twin: &RegisteredTwin) -> Self {
        Self { entity: twin.entity, object: twin.object, entry: Arc::clone(&twin.entry) }
    }
}

impl From<Listed> for RegisteredTwin {
    fn from(Listed { entity, object, entry }: Listed) -> Self {
        Self { entry, entity, object }
    }
}

/// What is written of twins, by the parts that hold them.
pub(super) fn by_chunk(twins: &[RegisteredTwin]) -> BTreeMap<u64, Vec<Listed>> {
    let mut chunks: BTreeMap<u64, Vec<Listed>> = BTreeMap::new();
    for twin in twins {
        chunks.entry(chunk_of(twin.entity)).or_default().push(twin.into());
    }
    chunks
}

/// How a registered twin system was written first. Never changed: journals have it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FirstTwinSystem {
    description: FirstDescription,
    registered_at: Timestamp,
    entity: Ref<DigitalTwinSystemMsg>,
    twins: Vec<FirstTwin>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FirstDescription {
    id: SystemId,
    system_type: String,
    title: String,
    description: String,
    properties: BTreeMap<String, JsonDoc>,
    reach: Reach,
    /// Always empty: the twins stood beside it.
    twins: Vec<FirstEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FirstTwin {
    entry: FirstEntry,
    entity: Ref<TwinMsg>,
    object: Option<Ref<PhysicalObjectMsg>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FirstEntry {
    id: TwinId,
    physical_object: Option<ObjectUri>,
    class: TwinClass,
    description: JsonDoc,
    /// `changeable` was all that was written of the characteristics.
    changeable: Option<std::collections::BTreeSet<String>>,
    /// In the place of what is written apart.
    synchronization: (),
    access: BTreeMap<SystemId, std::collections::BTreeSet<Right>>,
}

impl From<FirstEntry> for TwinEntry {
    fn from(first: FirstEntry) -> Self {
        let FirstEntry { id, physical_object, class, description, changeable, access, .. } = first;
        let characteristics = Characteristics { changeable, synchronization: None };
        Self { id, physical_object, class, description, characteristics, access }
    }
}

impl FirstTwinSystem {
    /// The system and its twins.
    pub(super) fn read(self) -> (TwinSystem, Vec<RegisteredTwin>) {
        let Self { description: first, registered_at, entity, twins } = self;
        let description = TwinSystemDescription {
            id: first.id,
            system_type: first.system_type,
            title: first.title,
            description: first.description,
            properties: first.properties,
            reach: first.reach,
            lifetime_ms: None,
            service_level: None,
            twins: Vec::new(),
        };
        let twin = |FirstTwin { entry, entity, object }: FirstTwin| RegisteredTwin {
            entry: Arc::new(entry.into()),
            entity,
            object,
        };
        let twins: Vec<_> = twins.into_iter().map(twin).collect();
        (TwinSystem { description, registered_at, version: 1, entity, twin_count: 0 }, twins)
    }
}
