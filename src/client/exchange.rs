//! Any route of the interface, as it is: for tools, and for routes that have no method here.

use std::collections::BTreeMap;

use reqwest::{Method, Url, header::CONTENT_TYPE};

use super::{Client, ClientError, call};

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The HTTP status.
    pub status: u16,
    /// The headers that are text, by their names in lower case; of those that come twice, the last.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// Uses a route: `method`, and a path with its query, percent-encoded. Whatever the status, the answer is given;
    /// a body without a `content-type` among `headers` is JSON.
    ///
    /// # Errors
    /// The daemon cannot be reached, does not answer in time, or answers with too much.
    pub async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Option<Vec<u8>>,
    ) -> Result<Exchange, ClientError> {
        let protocol = |error: String| ClientError::Protocol(error);
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| protocol(error.to_string()))?;
        let base: Url = self.shared.base.clone().map_err(ClientError::Protocol)?;
        let mut url = base.join(path).map_err(|error| protocol(format!("`{path}`: {error}")))?;
        if url.origin() != base.origin() {
            // The token is for the daemon alone.
            return Err(protocol(format!("`{path}` leads away from the daemon")));
        }
        if let Some(system) = &self.acting_as {
            url.query_pairs_mut().append_pair("as", system.as_str());
        }
        let mut request = self.shared.http.request(method, url).timeout(self.limit());
        if !self.token().is_empty() {
            request = request.bearer_auth(self.token());
        }
        if let Some(body) = body {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str())) {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            request = request.body(body);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers = response.headers().iter().filter_map(text).collect();
        Ok(Exchange { status, headers, body: call::read(response).await? })
    }
}
