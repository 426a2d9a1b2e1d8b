//! Starting and ending an enabler, and what it can do in between.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use twinway_actors::{
    Settings,
    assembly::integration_enabler,
    port::{
        journal::{Condition, Journal, JournalError},
        outlet::Outlet,
    },
    runtime::{Options, StartError, TraceFeed},
};
use twinway_protocol::{EntityId, Problem, ProblemKind, message::Wire};

use super::{Enabler, Inner};
use crate::{
    history::History,
    monitor::LeaseFeed,
    observations::Observations,
    outside::{KeptEvents, Outside, OutsideLimits},
};

/// What an enabler is started with; every part has defaults.
#[derive(Clone, Debug, Default)]
pub struct EnablerOptions {
    /// The limits of the runtime.
    pub runtime: Options,
    /// The limits of the entities.
    pub entities: Settings,
    /// The limits of the way out. How long an external system may take stands in `entities`, and goes for it too.
    pub outside: OutsideLimits,
    /// Who listens to the trace of all steps.
    pub trace: Option<TraceFeed>,
    /// Where the bytes of observations are kept; by default in memory.
    pub observations: Observations,
    /// Who judges the sync leases.
    pub leases: Option<LeaseFeed>,
    /// What keeps what twins were; by default nothing does.
    pub history: Option<History>,
    /// The events of the run before, for those who resume.
    pub events: KeptEvents,
}

/// A caller waits this much longer than an external system may take, so that it hears why there is no answer.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// Takes away the bytes of observations that no record names. An entity in quarantine has not said what it names: then
/// nothing is taken away in this run.
async fn sweep(observations: &Observations, quarantined: &[(EntityId, String)]) {
    if !quarantined.is_empty() {
        tracing::warn!("an entity is in quarantine: bytes of observations that nobody names are kept");
    } else if let Err(problem) = observations.sweep().await {
        tracing::warn!(%problem, "bytes of observations that nobody names are still kept");
    }
}

/// How many threads run actors, and serve, where nobody says: half as many as there are cores. A request goes through
/// several entities, and every hop from thread to thread costs more than the work of the entity behind it; the other
/// half of the cores is for the journal, the history, who watches, and the clients.
fn arbiters(wanted: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if wanted > 0 { wanted } else { (cores / 2).max(1) }
}

impl Enabler {
    /// Starts an enabler on threads of its own: everything that `journal` holds is there again. Call it within a
    /// tokio runtime; webhooks are called by tasks of that runtime.
    ///
    /// # Errors
    /// When the journal cannot be read or taken over, or no threads can be had. Nothing runs then.
    pub async fn start(options: EnablerOptions, journal: Arc<dyn Journal>) -> Result<Self, StartError> {
        // One limit: what its actor has given up is not handed out any more.
        let answer_ms_max = options.entities.outside_answer_ms_max;
        let watched = options.leases.is_some();
        let outside = Outside::resuming(OutsideLimits { answer_ms_max, ..options.outside }, options.events)
            .watched_by(options.leases);
        let outside = outside.kept_by(options.history).naming(options.observations.clone());
        let outside = Arc::new(outside);
        let entities = Settings { lease_watched: watched, ..options.entities };
        let answer_within = Duration::from_millis(answer_ms_max) + ANSWER_MARGIN;
        let fence_within = Duration::from_millis(entities.lease.lease_fence_ms_max);
        // The minimum hold and the grace, each as long as the terms of a lease may name.
        let handover_within = Duration::from_millis(entities.lease_terms_ms_max.into()) * 2;
        let chance = getrandom::u64().map_err(|error| StartError::Thread(error.to_string()))?;
        let outlet = Arc::clone(&outside) as Arc<dyn Outlet<Wire>>;
        let runtime = Options { arbiters: arbiters(options.runtime.arbiters), ..options.runtime };
        let builder = integration_enabler(runtime, &entities, Arc::clone(&journal), outlet, chance);
        let system = builder.trace(options.trace).start().await?;
        let handle = system.handle();
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && let Err(problem) = outside.start_webhooks(&runtime)
        {
            tracing::error!(%problem, "webhooks cannot be called");
        }
        // Entities that recovered may have asked already: that goes out now, when there is a way.
        outside.attach(handle.clone());
        sweep(&options.observations, &handle.quarantined()).await;
        let system = Mutex::new(Some(system));
        Ok(Self {
            inner: Arc::new(Inner {
                handle,
                outside,
                journal,
                system,
                answer_within,
                fence_within,
                handover_within,
                observations: options.observations,
            }),
        })
    }

    /// Takes no more requests, lets what is under way finish, makes everything durable and ends. A second call does
    /// nothing.
    ///
    /// # Errors
    /// When the journal could not be closed in order.
    pub async fn shutdown(&self) -> Result<(), JournalError> {
        let system = self.inner.system.lock().take();
        let Some(system) = system else { return Ok(()) };
        let ended = system.shutdown().await;
        self.inner.outside.close();
        self.inner.outside.detach();
        if let Some(history) = self.inner.outside.history().cloned() {
            let (done, closed) = tokio::sync::oneshot::channel();
            let closing = std::thread::Builder::new().name("history-close".to_owned()).spawn(move || {
                history.close();
                // Whoever shuts down may have gone.
                let _ = done.send(());
            });
            if closing.is_ok() {
                // It ends with its thread.
                let _ = closed.await;
            }
        }
        ended
    }

    /// Why this enabler is not fully in service; empty: it is.
    #[must_use]
    pub fn impediments(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match self.inner.journal.condition() {
            Condition::Writable => {}
            Condition::ReadOnly { reason } => reasons.push(format!("the journal is read-only: {reason}")),
            Condition::Poisoned { reason } => {
                reasons.push(format!("the journal is poisoned, and only a restart helps: {reason}"));
            }
        }
        if self.inner.system.lock().is_none() {
            reasons.push("it is shutting down".to_owned());
        }
        let quarantined = self.inner.handle.quarantined();
        reasons.extend(quarantined.into_iter().map(|(id, reason)| format!("entity {id:?} is in quarantine: {reason}")));
        reasons
    }

    /// Whether anything can be written down.
    ///
    /// # Errors
    /// [`ProblemKind::ReadOnly`] with why not.
    pub fn writable(&self) -> Result<(), Problem> {
        match self.inner.journal.condition() {
            Condition::Writable => Ok(()),
            Condition::ReadOnly { reason } | Condition::Poisoned { reason } => {
                Err(Problem::new(ProblemKind::ReadOnly, reason))
            }
        }
    }

    /// Writes snapshots of all that changed, so that the next start is short.
    ///
    /// # Errors
    /// Says why it could not; nothing is lost then.
    pub async fn checkpoint(&self) -> Result<(), String> {
        let task = match &*self.inner.system.lock() {
            Some(system) => system.checkpoint(),
            None => return Err("it is shutting down".to_owned()),
        };
        task.await
    }

    /// How many there are of everything, by name: what `/ops/v1/status` and the metrics show.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let counts = serde_json::to_value(self.inner.outside.counts()).unwrap_or_default();
        let mut all: BTreeMap<String, u64> = counts
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
            .collect();
        all.insert("deadLetters".to_owned(), self.inner.handle.dead_letters());
        all.insert("requestsUnderWay".to_owned(), self.inner.handle.requests_under_way() as u64);
        all.insert("quarantined".to_owned(), self.inner.handle.quarantined().len() as u64);
        all
    }
}
