//! The subscriptions of one WebSocket session: each with an id of the client's, its own choice of events and its own place
//! in them.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{
    StreamExt as _,
    future::{AbortHandle, Abortable, LocalBoxFuture, abortable},
    stream::FuturesUnordered,
};
use twinway_protocol::{Problem, ProblemKind, SystemId};

use super::{Shared, limits::Slot};
use crate::outside::{EventsFrom, Outgoing, Session, SystemKind, Watch, WatchQuery};

/// The longest id of a subscription, in bytes.
const ID_BYTES_MAX: usize = 128;

/// A subscription that has been waited for, and what came.
struct Waited {
    id: String,
    session: Session,
    place: Slot,
    outgoing: Option<Outgoing>,
}

#[derive(Default)]
pub(super) struct Subscriptions {
    open: BTreeMap<String, AbortHandle>,
    waiting: FuturesUnordered<Abortable<LocalBoxFuture<'static, Waited>>>,
}

impl Subscriptions {
    /// Begins a subscription.
    ///
    /// # Errors
    /// [`ProblemKind::InvalidQuery`] for a filter that is not understood; [`ProblemKind::LimitReached`]; and
    /// [`ProblemKind::AlreadyRegistered`] when there is one with this id.
    pub(super) fn subscribe(
        &mut self,
        shared: &Arc<Shared>,
        of: (SystemKind, &SystemId),
        id: String,
        wanted: WatchQuery,
        after: Option<u64>,
    ) -> Result<(), Problem> {
        let max = shared.config.session_subscriptions_max;
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            let detail = format!("the id of a subscription has 1 to {ID_BYTES_MAX} bytes");
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/subscribe"));
        }
        if self.open.contains_key(&id) {
            let detail = format!("the session has a subscription `{id}`");
            return Err(Problem::new(ProblemKind::AlreadyRegistered, detail).at("/subscribe"));
        }
        if self.open.len() >= max {
            return Err(Problem::new(ProblemKind::LimitReached, format!("`session_subscriptions_max` is {max}")));
        }
        let watch = Watch::read(wanted)?;
        let place = shared.subscriptions.take()?;
        let from = after.map_or(EventsFrom::Now, EventsFrom::After);
        let session = shared.enabler.outside().watch(of.0, of.1, from, watch)?;
        self.wait(id, session, place);
        Ok(())
    }

    /// Ends a subscription; what has not been told is not told any more.
    ///
    /// # Errors
    /// [`ProblemKind::RequestUnknown`] when there is none with this id.
    pub(super) fn unsubscribe(&mut self, id: &str) -> Result<(), Problem> {
        let unknown = || Problem::new(ProblemKind::RequestUnknown, format!("the session has no subscription `{id}`"));
        self.open.remove(id).ok_or_else(unknown)?.abort();
        Ok(())
    }

    fn wait(&mut self, id: String, mut session: Session, place: Slot) {
        let name = id.clone();
        let work: LocalBoxFuture<'static, Waited> = Box::pin(async move {
            let outgoing = session.next().await;
            Waited { id: name, session, place, outgoing }
        });
        let (work, handle) = abortable(work);
        self.open.insert(id, handle);
        self.waiting.push(work);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What comes next, and of which subscription; `None`: none is left. It can be dropped without a loss.
    pub(super) async fn next(&mut self) -> Option<(String, Outgoing)> {
        while let Some(waited) = self.waiting.next().await {
            let Ok(Waited { id, session, place, outgoing }) = waited else { continue };
            match outgoing {
                Some(outgoing) => {
                    self.wait(id.clone(), session, place);
                    return Some((id, outgoing));
                }
                None => {
                    self.open.remove(&id);
                }
            }
        }
        None
    }
}
