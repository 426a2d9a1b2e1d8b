//! What is asked of a twin's history, and the answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twinway_protocol::{Problem, ProblemKind, TwinId, registry::PAGE_ITEMS_MAX, time::Timestamp, twin::PropertyValue};
use utoipa::ToSchema;

use super::{Extent, History, HistoryItem, HistoryKind, Moment, Shortened, What};

/// What is wanted of a twin's history: what is behind `after` of what happened from `from` to `to`, both included.
#[derive(Clone, Debug)]
pub struct HistoryRange {
    /// The twin.
    pub twin: TwinId,
    /// Only this; what was missed is told all the same.
    pub kind: Option<HistoryKind>,
    /// Only values of this property.
    pub property: Option<String>,
    /// Not before this moment.
    pub from: Timestamp,
    /// Not behind this moment.
    pub to: Timestamp,
    /// Behind this time and sequence.
    pub after: Option<(Timestamp, u64)>,
    /// At most this many.
    pub limit: usize,
}

/// What is wanted of a twin's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only values, actions or events; absent: all of them.
    pub kind: Option<HistoryKind>,
    /// Only values of this property.
    pub property: Option<String>,
    /// Not before this moment; absent: from the first that is kept.
    pub from: Option<Timestamp>,
    /// Not behind this moment; absent: to the last.
    pub to: Option<Timestamp>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// At most this many.
    pub limit: Option<u32>,
}

/// A page of a twin's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryPage {
    /// What happened, in the order of time.
    pub items: Vec<HistoryItem>,
    /// Where the next page begins; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Nothing of what was asked for was let go that came since then. Of the time before, there is what was in effect then.
    pub kept_from: Timestamp,
    /// Nothing was let go of what was asked for; without a `from`: ever.
    pub complete: bool,
    /// Of what was asked for: that of which there was more than is kept of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortened: Vec<Shortened>,
}

/// What a twin's properties were at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TwinMoment {
    /// The moment.
    pub at: Timestamp,
    /// The values that the properties had; those that had none, or none that is known, are not there.
    pub properties: BTreeMap<String, PropertyValue>,
    /// Nothing of that was let go that came since then: of an earlier moment, not all may be known.
    pub kept_from: Timestamp,
    /// The moment is not before that.
    pub complete: bool,
    /// Of what was asked for: that of which there was more than is kept of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortened: Vec<Shortened>,
}

/// A time and a sequence, as cursors and the ids of a replay write it.
pub(crate) fn write_place(at: Timestamp, sequence: u64) -> String {
    format!("{}-{sequence}", at.unix_ms())
}

pub(crate) fn read_place(text: &str) -> Result<(Timestamp, u64), Problem> {
    let read = || {
        let (at, sequence) = text.split_once('-')?;
        Some((Timestamp::from_unix_ms(at.parse().ok()?), sequence.parse().ok()?))
    };
    read().ok_or_else(|| Problem::new(ProblemKind::InvalidQuery, format!("`{text}` is no place in a history")))
}

/// What is said to be shortened of what was asked for, and since when all of that is kept.
fn reach(
    mut shortened: Vec<Shortened>,
    kind: Option<HistoryKind>,
    property: Option<&str>,
    extent: &Extent,
) -> (Vec<Shortened>, Timestamp) {
    let kind = property.map_or(kind, |_| Some(HistoryKind::Properties));
    shortened.retain(|found| {
        kind.is_none_or(|kind| kind == found.kind) && property.is_none_or(|property| property == found.name)
    });
    let kept_from = shortened.iter().map(|found| found.kept_from).fold(extent.kept_from, Timestamp::max);
    (shortened, kept_from)
}

impl History {
    /// A page of what happened to a twin.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`] for a cursor that is none, or a property of what has none; or what failed.
    pub async fn page(&self, twin: &TwinId, query: HistoryQuery) -> Result<HistoryPage, Problem> {
        let HistoryQuery { kind, property, from, to, cursor, limit } = query;
        if property.is_some() && kind.is_some_and(|kind| kind != HistoryKind::Properties) {
            return Err(Problem::new(ProblemKind::InvalidQuery, "`property` goes with the kind `properties` only"));
        }
        let limit = limit.unwrap_or(PAGE_ITEMS_MAX).clamp(1, PAGE_ITEMS_MAX) as usize;
        let range = HistoryRange {
            twin: twin.clone(),
            kind,
            property: property.clone(),
            from: from.unwrap_or_default(),
            to: to.unwrap_or(Timestamp::MAX),
            after: cursor.as_deref().map(read_place).transpose()?,
            limit: limit + 1,
        };
        let (mut moments, extent, shortened) = self.moments(range).await?;
        let more = moments.len() > limit;
        moments.truncate(limit);
        let next = moments.last().filter(|_| more).map(|last| write_place(last.at, last.sequence));
        let items = moments.into_iter().map(HistoryItem::from).collect();
        let (shortened, kept_from) = reach(shortened, kind, property.as_deref(), &extent);
        let complete = match from {
            Some(from) => from >= kept_from,
            None => !extent.has_let_go && shortened.is_empty(),
        };
        Ok(HistoryPage { items, next, kept_from, complete, shortened })
    }

    /// What a twin's properties were at a moment.
    ///
    /// # Errors
    /// What failed.
    pub async fn at(&self, twin: &TwinId, property: Option<&str>, at: Timestamp) -> Result<TwinMoment, Problem> {
        let twin = twin.clone();
        let look = move |store: &mut dyn super::HistoryStore| {
            Ok((store.at(&twin, at)?, store.extent()?, store.shortened(&twin)?))
        };
        let (moments, extent, shortened) = self.aside(look).await?;
        let properties = moments.into_iter().filter_map(|Moment { at, version, what, .. }| match what {
            What::Value { property: name, value } if property.is_none_or(|wanted| wanted == name) => {
                Some((name, PropertyValue { value, version, at }))
            }
            _ => None,
        });
        let properties = properties.collect();
        let (shortened, kept_from) = reach(shortened, Some(HistoryKind::Properties), property, &extent);
        Ok(TwinMoment { at, properties, kept_from, complete: at >= kept_from, shortened })
    }
}
