//! What a metaverse system can ask of the past of a twin (FGMV-29 8.3.4).

use twinway_protocol::{Problem, ProblemKind, TwinId, time::Timestamp};

use super::Mii;
use crate::history::{History, HistoryPage, HistoryQuery, HistoryRange, Moment, TwinMoment};

impl Mii {
    /// Who may read the twin as it is may read what it was.
    fn readable_history(&self, twin: &TwinId) -> Result<History, Problem> {
        self.twin(twin)?;
        let none = || Problem::new(ProblemKind::RouteUnknown, "no history is kept (`history.enabled`)");
        self.enabler.outside().history().cloned().ok_or_else(none)
    }

    /// What happened to a twin (values, actions, events), a page at a time, in the order of time. What was published before is in it.
    ///
    /// # Errors
    /// [`ProblemKind::TwinUnknown`]; [`ProblemKind::InvalidQuery`] for a cursor that is none, or a property of actions; and
    /// [`ProblemKind::RouteUnknown`] when no history is kept.
    pub async fn twin_history(&self, twin: &TwinId, query: HistoryQuery) -> Result<HistoryPage, Problem> {
        self.readable_history(twin)?.page(twin, query).await
    }

    /// What a twin's properties, or the one of them, were at a moment.
    ///
    /// # Errors
    /// As for [`Mii::twin_history`].
    pub async fn twin_at(&self, twin: &TwinId, property: Option<&str>, at: Timestamp) -> Result<TwinMoment, Problem> {
        self.readable_history(twin)?.at(twin, property, at).await
    }

    /// What happened to a twin, as it is kept, for whoever shows it again.
    ///
    /// # Errors
    /// As for [`Mii::twin_history`].
    pub async fn twin_moments(&self, range: HistoryRange) -> Result<Vec<Moment>, Problem> {
        Ok(self.readable_history(&range.twin)?.moments(range).await?.0)
    }
}
