//! What twins were (FGMV-29 8.3.4), for metaverse systems and tools.

use twinway_protocol::{TwinId, time::Timestamp};

use super::{Client, ClientError};
use crate::history::{HistoryKind, HistoryPage, HistoryQuery, TwinMoment};

impl Client {
    /// What happened to a twin (values, actions, events), a page at a time, in the order of time.
    ///
    /// # Errors
    /// Those of every request; an unknown twin, a daemon that keeps no history, a cursor that is none.
    pub async fn twin_history(&self, twin: &TwinId, query: &HistoryQuery) -> Result<HistoryPage, ClientError> {
        let HistoryQuery { kind, property, from, to, cursor, limit } = query;
        let text = |moment: &Option<Timestamp>| moment.map(|moment| moment.to_string());
        self.get(&["mii", "v1", "twins", twin.as_str(), "history"])
            .query("kind", kind.map(HistoryKind::as_str))
            .query("property", property.as_deref())
            .query("from", text(from).as_deref())
            .query("to", text(to).as_deref())
            .query("cursor", cursor.as_deref())
            .query("limit", limit.map(|limit| limit.to_string()).as_deref())
            .json()
            .await
    }

    /// What a twin's properties, or the one of them, were at a moment.
    ///
    /// # Errors
    /// As for [`Client::twin_history`].
    pub async fn twin_at(
        &self,
        twin: &TwinId,
        property: Option<&str>,
        at: Timestamp,
    ) -> Result<TwinMoment, ClientError> {
        self.get(&["mii", "v1", "twins", twin.as_str(), "history"])
            .query("property", property)
            .query("at", Some(&at.to_string()))
            .json()
            .await
    }
}
