//! What TPSR writes down (FGMV-29 9.1 step 2).
//!
//! What a system registers is written as the JSON document that it is: members that descriptions get later are absent in
//! older records, and nothing else changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind, Ref, SystemId,
    message::ThirdPartySystemMsg,
    registry::{Api, Reach, ServiceCharge, ServiceLevel, ThirdPartyDescription, ThirdPartySystem},
    time::Timestamp,
};

use crate::standing::Stood;

/// What it writes down. Only ever appended to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// A system was registered, as it was written before its description was a document.
    Registered(Box<FirstThirdPartySystem>),
    /// A system is registered like this now.
    Described(Box<Described>),
    /// A system is registered no more.
    Deregistered(SystemId),
    /// A registration ends then; absent: never.
    Renewed(SystemId, Option<Timestamp>),
    /// A system stands in another way than before.
    Stood(SystemId, Stood),
}

/// A registered system.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Described {
    /// When it registered.
    registered_at: Timestamp,
    /// Counts the changes of the description.
    version: u64,
    /// Its actor.
    entity: Ref<ThirdPartySystemMsg>,
    /// What it registered.
    description: JsonDoc,
}

impl Described {
    /// # Errors
    /// [`ProblemKind::Internal`] when the description is no document; every one is.
    pub(super) fn new(system: &ThirdPartySystem) -> Result<Self, Problem> {
        let refused = |error: serde_json::Error| Problem::new(ProblemKind::Internal, error.to_string());
        Ok(Self {
            registered_at: system.registered_at,
            version: system.version,
            entity: system.entity,
            description: JsonDoc::from_value(&system.description).map_err(refused)?,
        })
    }

    /// The system; none: a later build wrote what this one does not read.
    pub(super) fn system(self) -> Option<ThirdPartySystem> {
        let Self { registered_at, version, entity, description } = self;
        Some(ThirdPartySystem { description: description.read().ok()?, registered_at, version, entity })
    }
}

/// How a registered system was written first. Never changed: journals have it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FirstThirdPartySystem {
    description: FirstDescription,
    registered_at: Timestamp,
    entity: Ref<ThirdPartySystemMsg>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FirstDescription {
    id: SystemId,
    system_type: String,
    title: String,
    description: String,
    properties: BTreeMap<String, JsonDoc>,
    service_charge: Option<FirstCharge>,
    service_level: Option<FirstLevel>,
    apis: Vec<FirstApi>,
    reach: Reach,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FirstCharge {
    amount: f64,
    currency: String,
    per: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FirstLevel {
    availability: Option<f64>,
    p99_ms: Option<f64>,
    description: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FirstApi {
    operation: String,
    description: Option<String>,
}

impl From<FirstThirdPartySystem> for ThirdPartySystem {
    fn from(first: FirstThirdPartySystem) -> Self {
        let FirstThirdPartySystem { description: first, registered_at, entity } = first;
        let service_charge =
            first.service_charge.map(|FirstCharge { amount, currency, per }| ServiceCharge { amount, currency, per });
        let service_level = first.service_level.map(|FirstLevel { availability, p99_ms, description }| ServiceLevel {
            availability,
            p99_ms,
            description,
        });
        let api = |FirstApi { operation, description }| Api { operation, description, mapping: None };
        let description = ThirdPartyDescription {
            id: first.id,
            system_type: first.system_type,
            title: first.title,
            description: first.description,
            properties: first.properties,
            service_charge,
            service_level,
            apis: first.apis.into_iter().map(api).collect(),
            authorization: None,
            reach: first.reach,
            lifetime_ms: None,
        };
        Self { description, registered_at, version: 1, entity }
    }
}

#[cfg(test)]
mod tests {
    use super::Record;
    use crate::codec;

    /// What the build before wrote when the shop of the tests registered.
    const FIRST: &str = include_str!("kept/first.hex");

    #[test]
    fn a_journal_of_the_first_build_still_reads() {
        let bytes: Vec<u8> = FIRST
            .trim()
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("it is text"), 16).expect("it is hex"))
            .collect();
        let record: Record = codec::decode(&bytes).expect("it decodes");
        let Record::Registered(first) = &record else { panic!("{record:?}") };
        let system = twinway_protocol::registry::ThirdPartySystem::from((**first).clone());
        assert_eq!(system, (*crate::sif::testing::registered("shop", 1)).clone());
        assert_eq!(codec::encode(&record).expect("it encodes"), bytes, "and is written as it was");
    }
}
