//! What the unit tests of the entities of FGMV-29 8.2 share.

use std::sync::Arc;

use twinway_protocol::{
    Answers, Effect, EntityId, JsonDoc, Mailbox, Meta, PendingKey, Problem, Ref, SystemId, WireSet,
    message::{CallerMsg, MetaverseSystemMsg, ThirdPartySystemMsg, Wire},
    registry::{Api, Reach, ThirdPartyDescription, ThirdPartySystem},
    time::Timestamp,
};

/// Somebody outside the actors.
pub(crate) const CALLER: EntityId = EntityId::new(CallerMsg::KIND, 0, 9);
/// The actor of a metaverse system.
pub(crate) const METAVERSE: EntityId = EntityId::new(MetaverseSystemMsg::KIND, 0, 1);
/// The actor of a third-party system.
pub(crate) const THIRD_PARTY: EntityId = EntityId::new(ThirdPartySystemMsg::KIND, 0, 1);

/// The key of somebody's question.
pub(crate) fn key(number: u64) -> PendingKey {
    PendingKey::from_bits(number)
}

pub(crate) fn system_id(id: &str) -> SystemId {
    SystemId::new(id).expect("it is a name")
}

pub(crate) fn json(text: &str) -> JsonDoc {
    JsonDoc::parse(text).expect("it is JSON")
}

/// What the system `id` registers: a shop that sells lamps.
pub(crate) fn description(id: &str) -> ThirdPartyDescription {
    ThirdPartyDescription {
        authorization: None,
        id: system_id(id),
        system_type: "commerce".to_owned(),
        title: "Lamp shop".to_owned(),
        description: "Sells lamps, and the bulbs in them".to_owned(),
        properties: [("region".to_owned(), json("\"eu\""))].into(),
        service_charge: None,
        service_level: None,
        apis: vec![Api { operation: "order".to_owned(), description: None, mapping: None }],
        reach: Reach::Session,
        lifetime_ms: None,
    }
}

/// The system `id` as it is kept, with its actor in `slot`.
pub(crate) fn registered(id: &str, slot: u32) -> Arc<ThirdPartySystem> {
    Arc::new(ThirdPartySystem {
        description: description(id),
        registered_at: Timestamp::from_unix_ms(1_000),
        version: 1,
        entity: Ref::new(EntityId::new(ThirdPartySystemMsg::KIND, 0, slot)),
    })
}

/// The only message among `effects` that answers `to`'s question `pending` with an `A`, if there is one.
pub(crate) fn answer<A: Answers<Wire>>(
    effects: Vec<Effect<Wire>>,
    to: EntityId,
    pending: PendingKey,
) -> Option<Result<A, Problem>> {
    let mut answers = crate::trial::sent(effects)
        .into_iter()
        .filter(|(meta, _)| meta.to == to && meta.pending == pending)
        .filter_map(|(_, wire)| A::heard(wire));
    let first = answers.next();
    assert!(answers.next().is_none(), "a question is answered once");
    first
}

/// What `effects` are, in order: steps as `9.1/2`, other messages by name, the rest by what it is.
pub(crate) fn shown(effects: &[Effect<Wire>]) -> Vec<String> {
    let show = |effect: &Effect<Wire>| match effect {
        Effect::Send { wire, meta } => {
            let name = wire.as_ref().map_or("nothing", |wire| wire.describe().1);
            match meta.step {
                Some(step) => format!("{step} {name} to {}", Wire::kind_name(meta.to.kind())),
                None => format!("{name} to {}", Wire::kind_name(meta.to.kind())),
            }
        }
        Effect::Own(step) => format!("{step} own"),
        Effect::Timer { after_ms, .. } => format!("timer {after_ms}"),
        Effect::Spawn(_) => "spawn".to_owned(),
        Effect::Signal(_) => "signal".to_owned(),
        Effect::Stop => "stop".to_owned(),
    };
    effects.iter().map(show).collect()
}

/// The first message to `kind` among `effects`.
pub(crate) fn to_kind(effects: Vec<Effect<Wire>>, kind: u8) -> (Meta, Wire) {
    let mut messages = crate::trial::sent(effects).into_iter();
    messages.find(|(meta, _)| meta.to.kind() == kind).expect("there is a message to this kind")
}
