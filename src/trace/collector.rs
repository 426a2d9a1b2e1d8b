//! A collector of OpenTelemetry, reached by OTLP over HTTP with JSON bodies.

use std::{error::Error as _, time::Duration};

use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect::Policy,
};
use serde::Deserialize;

/// How long a collector may take to answer one request.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often a request is sent at most.
pub(super) const ATTEMPTS_MAX: u32 = 3;
/// The pause before it is sent again; four times as long each time.
const BACKOFF: Duration = Duration::from_millis(100);
/// The longest pause that a collector can ask for.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How much of an answer is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Checks that spans can be sent there.
///
/// # Errors
/// Says why not.
pub fn check_url(url: &str) -> Result<Url, String> {
    match Url::parse(url) {
        Ok(parsed) if parsed.scheme() == "http" && parsed.has_host() => Ok(parsed),
        Ok(parsed) if parsed.scheme() == "https" => Err("this build speaks no TLS; use `http`".to_owned()),
        Ok(_) => Err("it begins with `http://`, such as http://127.0.0.1:4318/v1/traces".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Why a collector did not take a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectorError {
    /// It is not there, or does not answer.
    #[error("the collector cannot be reached: {0}")]
    Unreachable(String),
    /// It does not want it.
    #[error("the collector answers {0}")]
    Refused(String),
}

/// What a collector made of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How many spans it did not want.
    pub rejected: u64,
    /// What it says about them.
    pub message: String,
}

/// `ExportTraceServiceResponse`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    partial_success: Option<PartialSuccess>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct PartialSuccess {
    rejected_spans: serde_json::Value,
    error_message: String,
}

/// What came of one attempt that is worth another.
struct Again {
    error: CollectorError,
    after: Option<Duration>,
}

/// A collector.
#[derive(Clone, Debug)]
pub struct Collector {
    client: Client,
    url: Url,
}

impl Collector {
    /// The collector at `url`, such as `http://127.0.0.1:4318/v1/traces`.
    ///
    /// # Errors
    /// Those of [`check_url`], or the machine gives no HTTP client.
    pub fn new(url: &str) -> Result<Self, String> {
        let url = check_url(url)?;
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(ANSWER_WITHIN)
            .user_agent(concat!("twinway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, url })
    }

    /// Sends a request, and again if that may help, as the protocol says: 429, 502, 503 and 504, after as long as the
    /// collector wants, and when it could not be reached.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn send(&self, body: Vec<u8>) -> Result<Accepted, CollectorError> {
        let body = bytes::Bytes::from(body);
        let mut pause = BACKOFF;
        for attempt in 1.. {
            match self.attempt(body.clone()).await {
                Ok(Ok(accepted)) => return Ok(accepted),
                Ok(Err(again)) if attempt < ATTEMPTS_MAX => {
                    tokio::time::sleep(again.after.unwrap_or(pause).min(BACKOFF_MAX)).await;
                    pause *= 4;
                }
                Ok(Err(again)) => return Err(again.error),
                Err(error) => return Err(error),
            }
        }
        Ok(Accepted::default())
    }

    async fn attempt(&self, body: bytes::Bytes) -> Result<Result<Accepted, Again>, CollectorError> {
        let call = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let mut response = match call.send().await {
            Ok(response) => response,
            Err(error) => {
                let why = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
                return Ok(Err(Again { error: CollectorError::Unreachable(why), after: None }));
            }
        };
        let status = response.status();
        if status.is_success() {
            let mut answer = Vec::new();
            while let Ok(Some(chunk)) = response.chunk().await {
                if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                    break;
                }
                answer.extend_from_slice(&chunk);
            }
            return Ok(Ok(accepted(&answer)));
        }
        let error = CollectorError::Refused(status.to_string());
        let again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        if !again {
            return Err(error);
        }
        let seconds = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        Ok(Err(Again { error, after: seconds.map(Duration::from_secs) }))
    }
}

/// What a success says. A collector that says nothing, or nothing that can be read, has taken all.
fn accepted(answer: &[u8]) -> Accepted {
    let answer: Option<Answer> = serde_json::from_slice(answer).ok();
    let Some(PartialSuccess { rejected_spans, error_message }) = answer.and_then(|answer| answer.partial_success)
    else {
        return Accepted::default();
    };
    // 64-bit integers are text in JSON; a number is taken too, as the mapping says.
    let rejected = match &rejected_spans {
        serde_json::Value::String(text) => text.parse().unwrap_or(0),
        other => other.as_u64().unwrap_or(0),
    };
    Accepted { rejected, message: error_message }
}

#[cfg(test)]
mod tests {
    use super::{accepted, check_url};

    #[test]
    fn spans_go_where_this_build_can_send_them() {
        assert!(check_url("http://127.0.0.1:4318/v1/traces").is_ok());
        for (url, why) in [("https://a/v1/traces", "no TLS"), ("ftp://a/", "begins with"), ("a", "relative URL")] {
            let said = check_url(url).expect_err("it cannot");
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn spans_that_a_collector_does_not_want_are_counted() {
        let refused = accepted(br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#);
        assert_eq!((refused.rejected, refused.message.as_str()), (3, "too old"));
        for all in [&b"{}"[..], b"", b"{\"partialSuccess\":{}}", b"<html>"] {
            assert_eq!(accepted(all).rejected, 0);
        }
    }
}
