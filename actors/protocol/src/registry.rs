//! What a registration collects (FGMV-29 8.2.1 and 8.3.1), and what is made of it.

mod standing;

use std::{collections::BTreeMap, sync::Arc};

pub use standing::{Breaker, BreakerState, Health, Performance, Standing};

use serde::{Deserialize, Serialize};

use crate::{
    JsonDoc, Ref, SystemId,
    collaboration::ApiMapping,
    message::{DigitalTwinSystemMsg, ThirdPartySystemMsg},
    time::Timestamp,
    twin::TwinEntry,
};

/// How an external system is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// By the WebSocket session that it keeps open.
    #[default]
    Session,
    /// By calling it back at this URL.
    Webhook(String),
}

/// What a third-party system charges for its service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceCharge {
    /// How much.
    pub amount: f64,
    /// The currency, as an ISO 4217 code.
    pub currency: String,
    /// What is charged for: `call`, `month`, …
    #[serde(default)]
    pub per: Option<String>,
}

/// What a system promises of its service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceLevel {
    /// The share of time in which it answers, between 0 and 1.
    #[serde(default)]
    pub availability: Option<f64>,
    /// The time within which 99 of 100 calls are answered, in milliseconds.
    #[serde(default)]
    pub p99_ms: Option<f64>,
    /// What else it promises, in words.
    #[serde(default)]
    pub description: Option<String>,
}

/// One operation that a third-party system offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Api {
    /// The name by which it is called.
    pub operation: String,
    /// What it does.
    #[serde(default)]
    pub description: Option<String>,
    /// How the system's own API is called for it; absent: the system is asked by session or webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<ApiMapping>))]
    pub mapping: Option<Arc<ApiMapping>>,
}

/// What a third-party system registers (FGMV-29 8.2.1, 9.1 step 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ThirdPartyDescription {
    /// The system's id.
    pub id: SystemId,
    /// What kind of system it is: `commerce`, `manufacturer`, …
    #[serde(rename = "type")]
    pub system_type: String,
    /// Its name for people.
    pub title: String,
    /// What it does, for people.
    #[serde(default)]
    pub description: String,
    /// What else can be said of it.
    #[serde(default)]
    pub properties: BTreeMap<String, JsonDoc>,
    /// What it charges.
    #[serde(default)]
    pub service_charge: Option<ServiceCharge>,
    /// What it promises.
    #[serde(default)]
    pub service_level: Option<ServiceLevel>,
    /// What it can be called for.
    #[serde(default)]
    pub apis: Vec<Api>,
    /// How the system's own API is asked what a user may do (9.1 step 7); absent: by session or webhook. Its expressions know
    /// `input` (with `authorization`, the id, and `scope`), `user`, `metaverse` and `idempotencyKey`, and `output` makes the
    /// decision: `{'granted': {'userInformation': body.customer, 'scope': input.scope}}`, or `pending` with where to log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<ApiMapping>))]
    pub authorization: Option<Arc<ApiMapping>>,
    /// How it is reached.
    #[serde(default)]
    pub reach: Reach,
    /// For how long the registration counts without being renewed, in milliseconds, within
    /// `registration_lifetime_ms_min` and `registration_lifetime_ms_max`; absent: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_ms: Option<u64>,
}

/// What a digital twin system registers (FGMV-29 8.3.1, 9.2 step 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TwinSystemDescription {
    /// The system's id.
    pub id: SystemId,
    /// What kind of system it is: `home`, `factory`, …
    #[serde(rename = "type")]
    pub system_type: String,
    /// Its name for people.
    pub title: String,
    /// What it does, for people.
    #[serde(default)]
    pub description: String,
    /// What else can be said of it.
    #[serde(default)]
    pub properties: BTreeMap<String, JsonDoc>,
    /// How it is reached.
    #[serde(default)]
    pub reach: Reach,
    /// For how long the registration counts without being renewed, in milliseconds, within
    /// `registration_lifetime_ms_min` and `registration_lifetime_ms_max`; absent: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_ms: Option<u64>,
    /// What it promises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_level: Option<ServiceLevel>,
    /// The twins that it maintains (FGMV-28 REQ-DT-02).
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<TwinEntry>))]
    pub twins: Vec<Arc<TwinEntry>>,
}

/// A third-party system as TPSR keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct ThirdPartySystem {
    /// What it registered.
    pub description: ThirdPartyDescription,
    /// When it registered.
    pub registered_at: Timestamp,
    /// Counts the changes of the description, from 1 on; a system that registers again goes on counting elsewhere.
    pub version: u64,
    /// Its actor.
    pub entity: Ref<ThirdPartySystemMsg>,
}

/// A digital twin system as DTSR keeps it. Its twins, which can be many, are kept beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct TwinSystem {
    /// What it registered, without its twins.
    pub description: TwinSystemDescription,
    /// When it registered.
    pub registered_at: Timestamp,
    /// Counts the changes of the description and of the list of twins, from 1 on.
    pub version: u64,
    /// Its actor.
    pub entity: Ref<DigitalTwinSystemMsg>,
    /// How many twins it lists.
    pub twin_count: u32,
}

/// A third-party system as a search shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ThirdPartyListing {
    /// What it registered, with the service level that it promises.
    pub system: ThirdPartyDescription,
    /// When it registered.
    pub registered_at: Timestamp,
    /// Counts the changes of what it registered; what `If-Match` names.
    #[serde(default)]
    pub version: u64,
    /// How it stands, with what was measured of its service level.
    #[serde(default)]
    pub standing: Standing,
}

/// A digital twin system as a search shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TwinSystemListing {
    /// What it registered, without its twins.
    pub system: TwinSystemDescription,
    /// How many twins it maintains.
    pub twin_count: u32,
    /// When it registered.
    pub registered_at: Timestamp,
    /// Counts the changes of what it registered; what `If-Match` names.
    #[serde(default)]
    pub version: u64,
    /// How it stands, with what was measured of its service level.
    #[serde(default)]
    pub standing: Standing,
}

/// What a search asks for. All that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SystemQuery {
    /// This type of system.
    #[serde(default, rename = "type")]
    pub system_type: Option<String>,
    /// The beginnings of words of id, title or description, whatever the case: all of them.
    #[serde(default)]
    pub text: Option<String>,
    /// A CEL expression over the system: `system.type == "commerce" && charge.amount < 5.0`.
    #[serde(default)]
    pub filter: Option<String>,
    /// Fields to sort by, with commas between and `-` before those that go down: `performance.p99_ms,-charge.amount`.
    /// Absent: by id, which also decides between equals.
    #[serde(default)]
    pub sort: Option<String>,
    /// Third-party systems that offer this operation.
    #[serde(default)]
    pub operation: Option<String>,
    /// Twin systems that maintain a twin of this object.
    #[serde(default)]
    pub physical_object: Option<String>,
    /// Where the page before ended.
    #[serde(default)]
    pub cursor: Option<String>,
    /// At most this many; absent or 0: [`PAGE_ITEMS_DEFAULT`], never over [`PAGE_ITEMS_MAX`].
    #[serde(default)]
    pub limit: Option<u32>,
}

/// What a search for twins asks for (FGMV-29 9.2 step 6). All that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TwinQuery {
    /// Twins that this twin system lists.
    #[serde(default)]
    pub system: Option<SystemId>,
    /// Twins that stand for this object.
    #[serde(default)]
    pub physical_object: Option<String>,
    /// The beginnings of words of id, title or description, whatever the case: all of them.
    #[serde(default)]
    pub text: Option<String>,
    /// A CEL expression over the twin: `"brightness" in twin.properties`.
    #[serde(default)]
    pub filter: Option<String>,
    /// Fields to sort by, with commas between and `-` before those that go down. Absent: by id, which also decides between equals.
    #[serde(default)]
    pub sort: Option<String>,
    /// Where the page before ended.
    #[serde(default)]
    pub cursor: Option<String>,
    /// At most this many; absent or 0: [`PAGE_ITEMS_DEFAULT`], never over [`PAGE_ITEMS_MAX`].
    #[serde(default)]
    pub limit: Option<u32>,
}

/// How many items a page has when the request does not say.
pub const PAGE_ITEMS_DEFAULT: u32 = 50;
/// The most items that a page has.
pub const PAGE_ITEMS_MAX: u32 = 1000;

/// One page of a list, in the order of ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The `cursor` of the next page; absent: there is none.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// How many items a page has when this many are asked for.
    #[must_use]
    pub fn items(limit: Option<u32>) -> usize {
        limit.filter(|limit| *limit > 0).unwrap_or(PAGE_ITEMS_DEFAULT).min(PAGE_ITEMS_MAX) as usize
    }

    /// The page after `cursor` of `all`, which come in the order of their keys.
    ///
    /// Cursors are keys: a page starts behind the last key of the page before, so that what is there
    /// throughout appears exactly once, whatever comes or goes meanwhile.
    pub fn of<'k, U>(
        all: impl Iterator<Item = (&'k str, U)>,
        cursor: Option<&str>,
        limit: Option<u32>,
        item: impl Fn(U) -> T,
    ) -> Self {
        let limit = Self::items(limit);
        let mut items = Vec::new();
        let mut last: Option<&'k str> = None;
        for (key, value) in all.filter(|(key, _)| cursor.is_none_or(|cursor| *key > cursor)) {
            if items.len() == limit {
                return Self { items, next: last.map(str::to_owned) };
            }
            items.push(item(value));
            last = Some(key);
        }
        Self { items, next: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, Page};

    #[test]
    fn a_page_has_no_more_items_than_the_limit_whatever_is_asked_for() {
        let (usual, most) = (PAGE_ITEMS_DEFAULT as usize, PAGE_ITEMS_MAX as usize);
        assert_eq!([None, Some(0), Some(7), Some(u32::MAX)].map(Page::<()>::items), [usual, usual, 7, most]);
    }

    proptest! {
        #[test]
        fn what_is_there_throughout_is_on_exactly_one_page(
            before in prop::collection::btree_set("[a-d]{1,3}", 0..40),
            after in prop::collection::btree_set("[a-d]{1,3}", 0..40),
            limit in 1_u32..7,
            change_at in 0_usize..10,
        ) {
            let (mut all, mut seen, mut cursor) = (&before, Vec::new(), None);
            for page in 0.. {
                if page == change_at {
                    all = &after;
                }
                let items = all.iter().map(|id| (id.as_str(), id));
                let Page { items, next } = Page::of(items, cursor.as_deref(), Some(limit), String::clone);
                prop_assert!(items.len() <= limit as usize);
                seen.extend(items);
                let Some(next) = next else { break };
                cursor = Some(next);
            }
            prop_assert!(seen.is_sorted_by(|a, b| a < b), "in order, and none twice");
            let seen: BTreeSet<_> = seen.into_iter().collect();
            prop_assert!(before.intersection(&after).all(|id| seen.contains(id)));
        }
    }
}
