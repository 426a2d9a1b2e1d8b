//! What is kept of a twin: values, actions, events, and what is missing of them.

use serde::{Deserialize, Serialize};
use twinway_protocol::{JsonDoc, TwinId, time::Timestamp, twin::Invocation};
use utoipa::ToSchema;

use super::HISTORY_ROW_BYTES;

/// What happened to a twin, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Counts all that is kept, in the order in which it came.
    pub sequence: u64,
    /// The twin.
    pub twin: TwinId,
    /// When, by the clock of whoever said so.
    pub at: Timestamp,
    /// The twin's version then.
    pub version: u64,
    /// What.
    pub what: What,
}

/// What can have happened to a twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A property got a value.
    Value {
        /// The property.
        property: String,
        /// Its value.
        value: JsonDoc,
    },
    /// Something was not kept.
    Missed(MissedVersions),
    /// The twin was listed no more.
    Gone,
    /// An action was invoked, or ended.
    Action {
        /// The action.
        action: String,
        /// The invocation as it stood then, as JSON. It does not say who invoked it: a history has many readers.
        invocation: JsonDoc,
    },
    /// An event of the twin.
    Event {
        /// Its name.
        name: String,
        /// What it said.
        data: JsonDoc,
    },
}

/// What a history is of, beside the twin itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum HistoryKind {
    /// The values of properties.
    Properties,
    /// Actions that were invoked and ended.
    Actions,
    /// Events.
    Events,
}

impl HistoryKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Properties, Self::Actions, Self::Events];

    /// As interfaces write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Properties => "properties",
            Self::Actions => "actions",
            Self::Events => "events",
        }
    }

    /// As interfaces write it, read.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Moment {
    /// What it costs of the limit, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let own = self.series().map_or(0, |(_, name, document)| name.len() + document.as_str().len());
        HISTORY_ROW_BYTES.saturating_add(own as u64)
    }

    /// The property, action or event that it is one of, and what it says; none: it is of the twin itself.
    #[must_use]
    pub fn series(&self) -> Option<(HistoryKind, &str, &JsonDoc)> {
        match &self.what {
            What::Value { property, value } => Some((HistoryKind::Properties, property, value)),
            What::Action { action, invocation } => Some((HistoryKind::Actions, action, invocation)),
            What::Event { name, data } => Some((HistoryKind::Events, name, data)),
            What::Missed(_) | What::Gone => None,
        }
    }
}

/// Versions and events of a twin that were not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissedVersions {
    /// Not before this version.
    pub first_version: u64,
    /// Not behind this one.
    pub last_version: u64,
    /// How many of those.
    pub missed: u64,
    /// How many events of the twin.
    #[serde(default, skip_serializing_if = "is_none")]
    pub events: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Of one property, action or event the oldest was let go before its time: there was more of it than is kept of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shortened {
    /// Of what.
    pub kind: HistoryKind,
    /// The property, action or event.
    pub name: String,
    /// How many were let go.
    pub dropped: u64,
    /// It is known since this moment.
    pub kept_from: Timestamp,
}

/// What happened to a twin, as interfaces tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryItem {
    /// When, by the clock of whoever said so.
    pub at: Timestamp,
    /// The twin's version then.
    pub version: u64,
    /// The property that got a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<JsonDoc>,
    /// The action that was invoked or has ended, as it stood then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Box<Invocation>>,
    /// An event of the twin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<PastEvent>,
    /// What was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<MissedVersions>,
    /// The twin was listed no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// An event of a twin, as it was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastEvent {
    /// Its name.
    pub name: String,
    /// What it said.
    #[serde(default = "JsonDoc::null")]
    pub data: JsonDoc,
}

impl From<Moment> for HistoryItem {
    fn from(moment: Moment) -> Self {
        let Moment { at, version, what, .. } = moment;
        let blank =
            Self { at, version, property: None, value: None, action: None, event: None, missed: None, gone: false };
        match what {
            What::Value { property, value } => Self { property: Some(property), value: Some(value), ..blank },
            What::Missed(missed) => Self { missed: Some(missed), ..blank },
            What::Gone => Self { gone: true, ..blank },
            // What is kept was made of an invocation.
            What::Action { invocation, .. } => Self { action: invocation.read().ok().map(Box::new), ..blank },
            What::Event { name, data } => Self { event: Some(PastEvent { name, data }), ..blank },
        }
    }
}
