//! A lease that is kept as long as somebody wants it.

use std::time::Duration;

use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use twinway_protocol::{
    ProblemKind, TwinId, UserId,
    lease::{Phase, RequestId, Token},
    message::{LeaseRequest, SyncLease},
};

use super::{Client, ClientError, EventStream, backoff::Backoff};
use crate::outside::EventsFrom;

/// How it stands with a lease that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// It is held, and is being renewed.
    Held,
    /// It is being revoked: until it ends only the safe stop and its release are accepted.
    Revoking {
        /// In how many milliseconds it ends.
        ends_in_ms: u64,
    },
    /// It has ended, or may have: the daemon was not reached for as long as it lasts. Nothing more is accepted.
    Lost(ClientError),
}

/// A lease that is renewed in the background, a third of its time after the last renewal. Dropping it gives the
/// objects back, as [`HeldLease::release`] does, which also tells whether that was done.
#[derive(Debug)]
pub struct HeldLease {
    lease: SyncLease,
    token: watch::Receiver<Token>,
    state: watch::Receiver<LeaseState>,
    /// Dropped: the objects are given back, and nobody asks what came of it.
    release: Option<oneshot::Sender<oneshot::Sender<Result<(), ClientError>>>>,
}

impl Client {
    /// Asks for a lease and keeps it. Call it within a tokio runtime, whose tasks renew it.
    ///
    /// # Errors
    /// As for [`Client::request_lease`], and for a request that names no twin.
    pub async fn hold(&self, mut request: LeaseRequest) -> Result<HeldLease, ClientError> {
        let Some(twin) = request.twins.first().cloned() else {
            return Err(ClientError::Protocol("the request names no twin".to_owned()));
        };
        // What is asked for twice because an answer was lost must be one request.
        if request.request_id.is_none() {
            request.request_id = chance_request_id();
        }
        // Listening first, so that nothing falls between. Without it the renewals tell, only later.
        let events = self.lease_events(Some(&twin), EventsFrom::Now).await.ok();
        let asked = Instant::now();
        let lease = self.request_lease(&request).await?;
        let lasts = Duration::from_millis(lease.expires_in_ms);
        // It lasts from the grant on, which came after the question and before the answer. Who may have waited for
        // long counts from the answer, and renews at once to know better.
        let waited = asked.elapsed() > lasts / 3;
        let granted = if waited { Instant::now() } else { asked };
        let (state_sender, state) = watch::channel(LeaseState::Held);
        let (token_sender, token) = watch::channel(lease.token);
        let (release, releasing) = oneshot::channel();
        let keeper = Keeper {
            client: self.clone(),
            user: request.user,
            twin,
            ttl_ms: request.ttl_ms,
            token: token_sender,
            state: state_sender,
            until: granted + lasts,
            waited,
            events,
        };
        tokio::spawn(keeper.run(releasing));
        Ok(HeldLease { lease, token, state, release: Some(release) })
    }
}

/// An id for a request that nobody else has; `None` when the machine gives no chance.
#[must_use]
pub fn chance_request_id() -> Option<RequestId> {
    let half = || getrandom::u64().ok().map(u128::from);
    Some(RequestId((half()? << 64) | half()?))
}

impl HeldLease {
    /// The lease as it was granted.
    #[must_use]
    pub fn lease(&self) -> &SyncLease {
        &self.lease
    }

    /// The token to show with changes. It becomes another when the daemon begins a new life.
    #[must_use]
    pub fn token(&self) -> Token {
        *self.token.borrow()
    }

    /// How it stands with it, now and as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<LeaseState> {
        self.state.clone()
    }

    /// Waits until it is lost, and gives why.
    pub async fn lost(&self) -> ClientError {
        let mut state = self.state.clone();
        let ended = || ClientError::Unreachable("nobody renews it any more".to_owned());
        match state.wait_for(|state| matches!(state, LeaseState::Lost(_))).await {
            Ok(state) => match &*state {
                LeaseState::Lost(why) => why.clone(),
                LeaseState::Held | LeaseState::Revoking { .. } => ended(),
            },
            Err(_) => ended(),
        }
    }

    /// Gives the objects back.
    ///
    /// # Errors
    /// It was lost before, or the daemon cannot be reached: then it ends by itself when its time is over.
    pub async fn release(mut self) -> Result<(), ClientError> {
        let (tell, told) = oneshot::channel();
        let asked = self.release.take().is_some_and(|release| release.send(tell).is_ok());
        match told.await {
            Ok(done) if asked => done,
            _ => Err(self.lost().await),
        }
    }
}

/// What renews a lease.
struct Keeper {
    client: Client,
    user: UserId,
    twin: TwinId,
    ttl_ms: u32,
    token: watch::Sender<Token>,
    state: watch::Sender<LeaseState>,
    /// Until when it lasts if the daemon is not reached again: never later than the daemon thinks.
    until: Instant,
    /// Whether it is not known well since when it lasts.
    waited: bool,
    events: Option<EventStream>,
}

/// What came of trying to renew it.
enum Renewed {
    /// It is as it should be, or is being revoked: look again after this time.
    Again(Duration),
    /// It is over.
    Over(ClientError),
}

impl Keeper {
    async fn run(mut self, mut releasing: oneshot::Receiver<oneshot::Sender<Result<(), ClientError>>>) {
        let mut backoff = Backoff::default();
        let mut next = Instant::now() + if self.waited { Duration::ZERO } else { self.pause() };
        loop {
            tokio::select! {
                biased;
                told = &mut releasing => {
                    let done = self.client.release_lease(&self.user, &self.twin, self.token()).await;
                    if let Ok(tell) = told {
                        let _ = tell.send(done);
                    }
                    return;
                }
                () = tokio::time::sleep_until(self.until) => return self.lose(ClientError::Timeout),
                () = tokio::time::sleep_until(next) => {}
                heard = hear(&mut self.events) => if !heard {
                    self.events = None;
                    continue;
                },
            }
            // However long the daemon takes to answer: the lease does not last longer for that.
            let until = self.until;
            let renewed = tokio::select! {
                renewed = self.renew(&mut backoff) => renewed,
                () = tokio::time::sleep_until(until) => Renewed::Over(ClientError::Timeout),
            };
            match renewed {
                Renewed::Again(pause) => next = Instant::now() + pause,
                Renewed::Over(why) => return self.lose(why),
            }
        }
    }

    fn token(&self) -> Token {
        *self.token.borrow()
    }

    fn pause(&self) -> Duration {
        Duration::from_millis((u64::from(self.ttl_ms) / 3).max(1))
    }

    fn lose(&self, why: ClientError) {
        self.state.send_replace(LeaseState::Lost(why));
    }

    async fn renew(&mut self, backoff: &mut Backoff) -> Renewed {
        let asked = Instant::now();
        match self.client.renew_lease(&self.user, &self.twin, self.token(), self.ttl_ms).await {
            Ok(lease) => {
                backoff.succeeded();
                self.until = asked + Duration::from_millis(lease.expires_in_ms);
                self.tell(lease.revoked_in_ms);
                Renewed::Again(self.pause())
            }
            Err(error) => match error.kind() {
                Some(ProblemKind::LeaseRevoking | ProblemKind::LeaseTokenStale) => self.look(error).await,
                _ if error.is_final() => Renewed::Over(error),
                _ => Renewed::Again(backoff.failed()),
            },
        }
    }

    /// Looks why it cannot be renewed: it is being revoked, or has another token since the daemon began a new life.
    async fn look(&mut self, refused: ClientError) -> Renewed {
        let asked = Instant::now();
        let view = match self.client.lease(&self.twin).await {
            Ok(view) => view,
            Err(error) if error.is_final() => return Renewed::Over(error),
            Err(_) => return Renewed::Again(Duration::from_millis(100)),
        };
        let mine = view.holder.as_ref().is_some_and(|holder| holder.user.as_ref() == Some(&self.user));
        let (true, Some(token)) = (mine, view.token) else { return Renewed::Over(refused) };
        if token < self.token() {
            return Renewed::Over(refused);
        }
        let fresh = token > self.token();
        self.token.send_replace(token);
        if let Some(expires_in_ms) = view.expires_in_ms {
            self.until = asked + Duration::from_millis(expires_in_ms);
        }
        match (view.phase, view.revoked_in_ms) {
            (Phase::Revoking, Some(ends_in_ms)) => {
                self.tell(Some(ends_in_ms));
                let ends = Duration::from_millis(ends_in_ms);
                self.until = self.until.min(asked + ends);
                Renewed::Again(ends.min(self.pause()))
            }
            _ if fresh => Renewed::Again(Duration::ZERO),
            _ => Renewed::Again(self.pause()),
        }
    }

    fn tell(&self, revoked_in_ms: Option<u64>) {
        let state = revoked_in_ms.map_or(LeaseState::Held, |ends_in_ms| LeaseState::Revoking { ends_in_ms });
        self.state.send_if_modified(|before| {
            let same = std::mem::discriminant(before) == std::mem::discriminant(&state);
            *before = state;
            !same
        });
    }
}

/// Waits until something happens to the lease; gives false when there is nothing to listen to any more. What
/// happened is asked of the daemon: an event can be older than what is known already.
async fn hear(events: &mut Option<EventStream>) -> bool {
    match events {
        Some(events) => events.next().await.is_ok(),
        None => std::future::pending().await,
    }
}
