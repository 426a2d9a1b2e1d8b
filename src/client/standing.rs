//! A session that is opened again when it breaks.

use tokio::time::Instant;
use twinway_protocol::message::OutsideAnswer;

use super::{Client, ClientError, Closing, Incoming, Session, backoff::Backoff};
use crate::outside::SystemKind;

/// A session that stands: breaks are mended, with growing waits between attempts. What the enabler asked before a
/// break and was not answered is lost with it; the enabler tells its asker.
#[derive(Debug)]
pub struct StandingSession {
    client: Client,
    kind: SystemKind,
    session: Option<Session>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

impl Client {
    /// Opens the session of the system that the token speaks for, and keeps it open.
    ///
    /// # Errors
    /// As for [`Client::session`], for the first time.
    pub async fn standing_session(&self, kind: SystemKind) -> Result<StandingSession, ClientError> {
        let session = Some(self.session(kind).await?);
        Ok(StandingSession { client: self.clone(), kind, session, backoff: Backoff::default(), not_before: None })
    }
}

impl StandingSession {
    /// What comes next. It is closed only for good: another session has taken its place, or the daemon refuses it.
    /// It can be dropped and called again without a loss.
    pub async fn next(&mut self) -> Incoming {
        loop {
            let Some(session) = &mut self.session else {
                if let Err(error) = self.reopen().await {
                    return Incoming::Closed(Closing::Refused(error));
                }
                continue;
            };
            match session.next().await {
                Incoming::Closed(Closing::Ended(_)) => {
                    self.session = None;
                    self.not_before = Some(Instant::now() + self.backoff.failed());
                }
                other => {
                    self.backoff.succeeded();
                    return other;
                }
            }
        }
    }

    /// One attempt.
    async fn reopen(&mut self) -> Result<(), ClientError> {
        if let Some(moment) = self.not_before {
            tokio::time::sleep_until(moment).await;
        }
        match self.client.session(self.kind).await {
            Ok(session) => self.session = Some(session),
            Err(error) if error.is_final() => return Err(error),
            Err(_) => self.not_before = Some(Instant::now() + self.backoff.failed()),
        }
        Ok(())
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the session is broken; the request is lost then.
    pub async fn answer(&mut self, id: &str, answer: &OutsideAnswer) -> Result<(), ClientError> {
        match &mut self.session {
            Some(session) => session.answer(id, answer).await,
            None => Err(ClientError::Unreachable("the session is being opened again".to_owned())),
        }
    }
}
