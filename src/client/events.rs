//! The stream of events that a system is told, and how it goes on after a break.

use std::time::Duration;

use reqwest::{Response, header::ACCEPT};
use tokio::time::Instant;
use twinway_protocol::TwinId;

use super::{
    Client, ClientError, CloudEvent, SILENCE_MS_MAX, SseMessage, SseParser, backoff::Backoff, call, interface,
};
use crate::outside::{EventsFrom, Gap, SystemKind, WatchQuery};

/// What a system is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something happened.
    Event {
        /// Counts the system's events, from 1; 0 when the daemon did not say.
        number: u64,
        /// What happened.
        event: Box<CloudEvent>,
    },
    /// Events are gone before they could be told.
    Gap(Gap),
}

/// A stream of events. When it breaks, it goes on behind the last event that it gave.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    kind: SystemKind,
    from: EventsFrom,
    /// What is wanted of all events, as parameters of the query.
    wanted: Vec<(&'static str, String)>,
    open: Option<Open>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    response: Response,
    parser: SseParser,
}

impl Client {
    /// Listens to the events of the system that the token speaks for. When this answers, the stream is open: what
    /// happens from then on is told.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn events(&self, kind: SystemKind, from: EventsFrom) -> Result<EventStream, ClientError> {
        self.watch(kind, from, &WatchQuery::default()).await
    }

    /// Listens to those events that are wanted.
    ///
    /// # Errors
    /// Those of every request; a filter that is not understood is refused with the place of its mistake.
    pub async fn watch(
        &self,
        kind: SystemKind,
        from: EventsFrom,
        wanted: &WatchQuery,
    ) -> Result<EventStream, ClientError> {
        let WatchQuery { kind: event_type, twin, property, system, filter, newest } = wanted.clone();
        let texts =
            [("type", event_type), ("twin", twin), ("property", property), ("system", system), ("filter", filter)];
        let mut wanted: Vec<_> = texts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        wanted.extend(newest.then(|| ("newest", "true".to_owned())));
        self.listen(kind, from, wanted).await
    }

    /// Listens to what happens to sync leases: what this metaverse system's users are told of theirs, and every
    /// change at twins that it selected; of one twin or of all.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn lease_events(&self, twin: Option<&TwinId>, from: EventsFrom) -> Result<EventStream, ClientError> {
        let (kind, twin) = (Some("lease.*".to_owned()), twin.map(TwinId::to_string));
        self.watch(SystemKind::Metaverse, from, &WatchQuery { kind, twin, ..WatchQuery::default() }).await
    }

    async fn listen(
        &self,
        kind: SystemKind,
        from: EventsFrom,
        wanted: Vec<(&'static str, String)>,
    ) -> Result<EventStream, ClientError> {
        let mut stream = EventStream {
            client: self.clone(),
            kind,
            from,
            wanted,
            open: None,
            backoff: Backoff::default(),
            not_before: None,
        };
        stream.connect().await?;
        Ok(stream)
    }
}

impl EventStream {
    /// What comes next. Breaks are mended in silence; it can be dropped and called again without a loss.
    ///
    /// # Errors
    /// The daemon refuses to go on (the token is not valid any more), or what comes is no event stream of a daemon.
    pub async fn next(&mut self) -> Result<Told, ClientError> {
        loop {
            if let Some(message) = self.open.as_mut().and_then(|open| open.parser.next_message()) {
                return self.told(&message);
            }
            match self.read_on().await {
                Ok(()) => {}
                Err(error) if error.is_final() => return Err(error),
                Err(_) => {
                    self.open = None;
                    self.not_before = Some(Instant::now() + self.backoff.failed());
                }
            }
        }
    }

    /// Reads some more bytes, of a new connection if there is none.
    async fn read_on(&mut self) -> Result<(), ClientError> {
        let Some(open) = &mut self.open else { return self.connect().await };
        let silence = Duration::from_millis(SILENCE_MS_MAX);
        let chunk = tokio::time::timeout(silence, open.response.chunk()).await.map_err(|_| ClientError::Timeout)??;
        let Some(chunk) = chunk else { return Err(ClientError::Unreachable("the stream has ended".to_owned())) };
        open.parser.push(&chunk).map_err(|error| ClientError::Protocol(error.to_string()))
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        if let Some(moment) = self.not_before {
            tokio::time::sleep_until(moment).await;
        }
        let mut path = interface(self.kind).to_vec();
        path.push("events");
        let http = &self.client.shared.http;
        let mut url = self.client.url(&path)?;
        for (name, value) in &self.wanted {
            url.query_pairs_mut().append_pair(name, value);
        }
        let mut request = http.get(url).header(ACCEPT, "text/event-stream, application/problem+json");
        request = request.bearer_auth(self.client.token());
        if let EventsFrom::After(number) = self.from {
            request = request.header("Last-Event-ID", number);
        }
        let answered = tokio::time::timeout(self.client.limit(), request.send()).await;
        let response = answered.map_err(|_| ClientError::Timeout)??;
        if !response.status().is_success() {
            return Err(call::refusal(response).await);
        }
        self.open = Some(Open { response, parser: SseParser::default() });
        Ok(())
    }

    fn told(&mut self, message: &SseMessage) -> Result<Told, ClientError> {
        let protocol = |error: serde_json::Error| ClientError::Protocol(format!("an event cannot be read: {error}"));
        self.backoff.succeeded();
        let number = message.id.parse().ok();
        if let Some(number) = number {
            self.from = EventsFrom::After(number);
        }
        if message.event == "gap" {
            return serde_json::from_str(&message.data).map(Told::Gap).map_err(protocol);
        }
        let event = Box::new(serde_json::from_str(&message.data).map_err(protocol)?);
        Ok(Told::Event { number: number.unwrap_or(0), event })
    }
}
