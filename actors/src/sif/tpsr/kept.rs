//! What TPSR writes down (FGMV-29 9.1 step 2).
//!
//! What a system registers is written as the JSON document that it is: members that descriptions get later are absent in
//! older records, and nothing else changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    JsonDoc, Ref, SystemId,
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
    #[serde(with = "crate::codec::document")]
    description: ThirdPartyDescription,
}

impl From<&ThirdPartySystem> for Described {
    fn from(system: &ThirdPartySystem) -> Self {
        let ThirdPartySystem { description, registered_at, version, entity } = system.clone();
        Self { registered_at, version, entity, description }
    }
}

impl From<Described> for ThirdPartySystem {
    fn from(described: Described) -> Self {
        let Described { registered_at, version, entity, description } = described;
        Self { description, registered_at, version, entity }
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
    use twinway_protocol::JsonDoc;

    use super::{Described, Record};
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

    #[test]
    fn what_a_later_build_wrote_is_refused_and_not_passed_over() {
        let shop = crate::sif::testing::registered("shop", 1);
        let Described { registered_at, version, entity, description } = Described::from(&*shop);
        let mut document = serde_json::to_value(description).expect("it is written");
        let record = |document: &serde_json::Value| {
            let description = JsonDoc::from_value(document).expect("it is JSON");
            codec::encode(&(registered_at, version, entity, description)).expect("it encodes")
        };
        let read = |bytes: &[u8]| codec::decode::<Described>(bytes);
        let known = record(&document);
        assert_eq!(twinway_protocol::registry::ThirdPartySystem::from(read(&known).expect("it decodes")), *shop);
        document["later"] = true.into();
        let refused = read(&record(&document)).expect_err("it has a member that nobody here knows").to_string();
        assert!(refused.contains("later"), "{refused}");
    }
}
