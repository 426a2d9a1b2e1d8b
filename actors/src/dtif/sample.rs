//! For unit tests: twin systems as DTSR would keep them (FGMV-29 9.2 step 2), and a look at what a turn sent.

use std::{collections::BTreeMap, fmt::Display, sync::Arc};

use twinway_protocol::{
    Answers, Behaviour, Effect, EntityId, JsonDoc, Mailbox, Meta, Problem, Ref, SystemId, TwinId, UserId,
    access::{Characteristics, Right},
    message::{
        CallerMsg, DigitalTwinSystemMsg, ForgetTwinSystem, KeepTwinSystem, MetaverseSystemMsg, PhysicalObjectMsg,
        PropertyValues, TwinMsg, Wire,
    },
    registry::{TwinSystem, TwinSystemDescription},
    time::Timestamp,
    twin::{RegisteredTwin, TwinClass, TwinEntry},
};

use crate::{
    Settings, codec,
    trial::{Trial, sent},
};

pub(crate) fn caller() -> EntityId {
    EntityId::new(CallerMsg::KIND, 0, 0)
}

pub(crate) fn metaverse(slot: u32) -> Ref<MetaverseSystemMsg> {
    Ref::new(EntityId::new(MetaverseSystemMsg::KIND, 0, slot))
}

pub(crate) fn system_actor(slot: u32) -> Ref<DigitalTwinSystemMsg> {
    Ref::new(EntityId::new(DigitalTwinSystemMsg::KIND, 0, slot))
}

pub(crate) fn twin_actor(slot: u32) -> Ref<TwinMsg> {
    Ref::new(EntityId::new(TwinMsg::KIND, 0, slot))
}

pub(crate) fn object_actor(slot: u32) -> Ref<PhysicalObjectMsg> {
    Ref::new(EntityId::new(PhysicalObjectMsg::KIND, 0, slot))
}

pub(crate) fn system_id(id: &str) -> SystemId {
    SystemId::new(id).expect("it is a name")
}

pub(crate) fn twin_id(id: &str) -> TwinId {
    TwinId::new(id).expect("it is a name")
}

pub(crate) fn twin_ids(ids: &[&str]) -> Arc<[TwinId]> {
    ids.iter().map(|id| twin_id(id)).collect()
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).expect("it is a name")
}

pub(crate) fn json(text: &str) -> JsonDoc {
    JsonDoc::parse(text).expect("it is JSON")
}

pub(crate) fn values(of: &[(&str, &str)]) -> PropertyValues {
    of.iter().map(|(name, value)| ((*name).to_owned(), json(value))).collect()
}

pub(crate) fn names<T: Display>(of: impl IntoIterator<Item = T>) -> Vec<String> {
    of.into_iter().map(|name| name.to_string()).collect()
}

/// A lamp with the properties `on` and `level`, and `power`, which is read-only. Third party `grid` may read it.
pub(crate) fn twin(id: &str, object: Option<&str>) -> TwinEntry {
    let description = r#"{"@context":"https://www.w3.org/2022/wot/td/v1.1","title":"Lamp",
        "securityDefinitions":{"nosec_sc":{"scheme":"nosec"}},"security":"nosec_sc","properties":{
        "on":{"forms":[{"href":"/on"}]},"level":{"forms":[{"href":"/level"}]},
        "power":{"readOnly":true,"forms":[{"href":"/power"}]}}}"#;
    TwinEntry {
        id: twin_id(id),
        physical_object: object.map(|uri| uri.parse().expect("it is a name")),
        class: TwinClass::Object,
        description: json(description),
        characteristics: Characteristics::default(),
        access: BTreeMap::from([(system_id("grid"), [Right::Read].into())]),
    }
}

pub(crate) fn description(id: &str, twins: Vec<TwinEntry>) -> TwinSystemDescription {
    TwinSystemDescription {
        id: system_id(id),
        system_type: "home".to_owned(),
        title: format!("The system {id}"),
        description: String::new(),
        properties: BTreeMap::new(),
        reach: twinway_protocol::registry::Reach::Session,
        lifetime_ms: None,
        service_level: None,
        twins: twins.into_iter().map(Arc::new).collect(),
    }
}

/// A registered system: twin and object slots are those of the system times 10, and on.
pub(crate) fn twin_system(id: &str, slot: u32, twins: Vec<TwinEntry>) -> Sample {
    let twins = (slot * 10..).zip(twins);
    let twins = twins.map(|(slot, entry)| RegisteredTwin {
        entity: twin_actor(slot),
        object: entry.physical_object.as_ref().map(|_| object_actor(slot)),
        entry: Arc::new(entry),
    });
    let twins: Vec<_> = twins.collect();
    let system = TwinSystem {
        description: description(id, Vec::new()),
        registered_at: Timestamp::from_unix_ms(5),
        version: 1,
        entity: system_actor(slot),
        twin_count: u32::try_from(twins.len()).expect("they are few"),
    };
    Sample { system: Arc::new(system), twins }
}

/// A registered system with its twins.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) system: Arc<TwinSystem>,
    pub(crate) twins: Vec<RegisteredTwin>,
}

impl Sample {
    /// What DTSR tells of it when all is new.
    pub(crate) fn keep(&self) -> KeepTwinSystem {
        let (system, twins) = (Arc::clone(&self.system), self.twins.clone().into());
        KeepTwinSystem { system, twins, gone: [].into() }
    }

    /// What DTSR tells of it when it is registered no more.
    pub(crate) fn forget(&self) -> ForgetTwinSystem {
        ForgetTwinSystem { system: Arc::clone(&self.system), twins: self.twins.clone().into() }
    }
}

/// The first answer of this type among what a turn sent.
pub(crate) fn heard<T: Answers<Wire>>(effects: Vec<Effect<Wire>>) -> Option<Result<T, Problem>> {
    sent(effects).into_iter().find_map(|(_, wire)| T::heard(wire))
}

/// What a turn sent to entities of one kind.
pub(crate) fn sent_to<M: Mailbox<Wire = Wire>>(effects: Vec<Effect<Wire>>) -> Vec<(Meta, M)> {
    sent(effects).into_iter().filter_map(|(meta, wire)| Some((meta, M::from_wire(wire).ok()?))).collect()
}

/// The same entity after a restart: its records went through the codec of the journal.
pub(crate) fn restarted<B: Behaviour<Wire = Wire, Settings = Settings>>(trial: &Trial<B>, id: EntityId) -> Trial<B> {
    let mut again = Trial::new(id, &Settings::default());
    for record in &trial.records {
        replay_bytes(&mut again, record);
    }
    again
}

/// The same entity made from snapshots of these parts.
pub(crate) fn from_snapshots<B: Behaviour<Wire = Wire, Settings = Settings>>(
    trial: &Trial<B>,
    id: EntityId,
    parts: &[u64],
) -> Trial<B> {
    let mut again = Trial::new(id, &Settings::default());
    for part in parts {
        let mut records = Vec::new();
        trial.behaviour.snapshot(*part, &mut records);
        for record in &records {
            replay_bytes(&mut again, record);
        }
    }
    again
}

fn replay_bytes<B: Behaviour>(trial: &mut Trial<B>, record: &B::Record) {
    let bytes = codec::encode(record).expect("a record encodes");
    trial.behaviour.replay(codec::decode(&bytes).expect("a record decodes"));
}
