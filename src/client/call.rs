//! One request: how it is built, sent and read.

use std::time::Duration;

use reqwest::{
    Body, Method, Response, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, IF_MATCH},
};
use serde::{Serialize, de::DeserializeOwned};
use twinway_protocol::{JsonDoc, lease::Token, message::ChangeTerms};

use super::{ANSWER_BYTES_MAX, Client, ClientError, ProblemDocument};

/// How much of an answer that is no problem document is quoted, in characters.
const QUOTE_CHARS_MAX: usize = 300;

/// A request that is being put together.
pub(super) struct Call<'c> {
    client: &'c Client,
    method: Method,
    url: Result<Url, ClientError>,
    body: Option<Result<Body, ClientError>>,
    media_type: &'static str,
    accept: &'static str,
    lease_token: Option<Token>,
    idempotency_key: Option<String>,
    if_version: Option<u64>,
    longer: Duration,
}

impl<'c> Call<'c> {
    pub(super) fn new(client: &'c Client, method: Method, url: Result<Url, ClientError>) -> Self {
        Self {
            client,
            method,
            url,
            body: None,
            media_type: "application/json",
            accept: "application/json, application/problem+json",
            lease_token: None,
            idempotency_key: None,
            if_version: None,
            longer: Duration::ZERO,
        }
    }

    /// Adds a query parameter, if there is a value.
    pub(super) fn query(mut self, name: &str, value: Option<&str>) -> Self {
        if let (Ok(url), Some(value)) = (&mut self.url, value) {
            url.query_pairs_mut().append_pair(name, value);
        }
        self
    }

    pub(super) fn body<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        let written = serde_json::to_vec(body).map_err(|error| ClientError::Protocol(error.to_string()));
        self.body = Some(written.map(Body::from));
        self
    }

    /// A body that is not JSON.
    pub(super) fn bytes_of(mut self, media_type: &'static str, bytes: impl Into<Body>) -> Self {
        self.body = Some(Ok(bytes.into()));
        self.media_type = media_type;
        self
    }

    /// Wants an answer of this media type.
    pub(super) fn accept(mut self, media_types: &'static str) -> Self {
        self.accept = media_types;
        self
    }

    pub(super) fn media_type(mut self, media_type: &'static str) -> Self {
        self.media_type = media_type;
        self
    }

    /// Shows the token of a sync lease, if there is one.
    pub(super) fn lease_token(mut self, token: Option<Token>) -> Self {
        self.lease_token = token;
        self
    }

    /// Names the request, if it has a name: the same again is the same request.
    pub(super) fn idempotency_key(mut self, key: Option<&str>) -> Self {
        self.idempotency_key = key.map(str::to_owned);
        self
    }

    /// Has nothing changed unless what is kept has this version, if one is named.
    pub(super) fn if_version(mut self, version: Option<u64>) -> Self {
        self.if_version = version;
        self
    }

    /// Names the version that the twin must have, and how long it is wanted.
    pub(super) fn terms(mut self, terms: ChangeTerms) -> Self {
        self.if_version = terms.expects;
        let within_ms = terms.within_ms.map(|ms| ms.to_string());
        self.query("deadlineMs", within_ms.as_deref())
    }

    /// Waits this much longer for the answer than for others.
    pub(super) fn longer(mut self, by: Duration) -> Self {
        self.longer = by;
        self
    }

    /// Sends it. Whatever the status, the answer's head has come then.
    pub(super) async fn send(self) -> Result<Response, ClientError> {
        let shared = &self.client.shared;
        let mut request = shared.http.request(self.method, self.url?).timeout(self.client.limit() + self.longer);
        request = request.header(ACCEPT, self.accept);
        if !self.client.token().is_empty() {
            request = request.bearer_auth(self.client.token());
        }
        if let Some(token) = self.lease_token {
            request = request.header("Sync-Lease-Token", token.to_string());
        }
        if let Some(key) = self.idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(version) = self.if_version {
            request = request.header(IF_MATCH, format!("\"{version}\""));
        }
        if let Some(body) = self.body {
            request = request.header(CONTENT_TYPE, self.media_type).body(body?);
        }
        Ok(request.send().await?)
    }

    /// Sends it and gives the answer's bytes.
    async fn bytes(self) -> Result<Vec<u8>, ClientError> {
        let response = self.send().await?;
        if response.status().is_success() { read(response).await } else { Err(refusal(response).await) }
    }

    /// Sends it and writes the answer's bytes down as they come; gives how many there were.
    pub(super) async fn write_into(self, into: &mut impl std::io::Write) -> Result<u64, ClientError> {
        let mut response = self.send().await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let mut written = 0;
        while let Some(piece) = response.chunk().await? {
            into.write_all(&piece).map_err(|error| ClientError::Protocol(format!("it cannot be written: {error}")))?;
            written += piece.len() as u64;
        }
        Ok(written)
    }

    /// Sends it and reads the answer.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Protocol(error.to_string()))
    }

    /// Sends it and keeps the answer byte for byte.
    pub(super) async fn document(self) -> Result<JsonDoc, ClientError> {
        JsonDoc::parse(self.text().await?).map_err(|error| ClientError::Protocol(error.to_string()))
    }

    /// Sends it and gives the answer as text.
    pub(super) async fn text(self) -> Result<String, ClientError> {
        String::from_utf8(self.bytes().await?).map_err(|error| ClientError::Protocol(error.to_string()))
    }

    /// Sends it; the answer has nothing to read.
    pub(super) async fn done(self) -> Result<(), ClientError> {
        self.bytes().await.map(|_| ())
    }
}

/// The whole body, up to the limit.
pub(super) async fn read(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::Protocol(format!("an answer has at most {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What an answer that is no success says.
pub(super) async fn refusal(response: Response) -> ClientError {
    let status = response.status();
    match read(response).await {
        Ok(body) => ClientError::Problem(Box::new(problem(status, &body))),
        Err(error) => error,
    }
}

/// The problem document in `body`, or one made of the status: what stands between client and daemon has its own pages.
pub(super) fn problem(status: StatusCode, body: &[u8]) -> ProblemDocument {
    let read = serde_json::from_slice::<ProblemDocument>(body).ok();
    if let Some(mut document) = read.filter(|document| !document.title.is_empty()) {
        document.status = status.as_u16();
        return document;
    }
    let quote: String = String::from_utf8_lossy(body).trim().chars().take(QUOTE_CHARS_MAX).collect();
    ProblemDocument::blank(status.as_u16(), status.canonical_reason().unwrap_or("Refused"), quote)
}
