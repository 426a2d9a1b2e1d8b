//! Metaverse systems and operators as they speak HTTP: what is answered, what is refused, and what is lost.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use twinway::protocol::{lease::Token, message::SyncLease};

use super::daemon::{TOKEN, WAIT_MAX};

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The last part of the problem's type.
    pub(crate) slug: String,
    pub(crate) document: Value,
}

impl Refusal {
    /// The priority of whoever has the object, as far as it is told.
    pub(crate) fn holder_priority(&self) -> Option<u64> {
        self.document["lease"]["holder"]["priority"].as_u64()
    }

    /// The token that counts now.
    pub(crate) fn token(&self) -> Option<Token> {
        self.document["lease"]["token"].as_str().map(|text| text.parse().expect("it is a token"))
    }
}

/// Why there is no answer as it was wished.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// Nothing was done.
    Refused(Refusal),
    /// Whether it was done is not known.
    Lost(String),
}

impl Failure {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Lost(why) => panic!("the answer was lost: {why}"),
        }
    }
}

/// Checks that something was refused, and why.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, status: u16, slug: &str) -> Refusal {
    let refusal = result.expect_err("it is to be refused").refusal();
    assert_eq!((refusal.status, refusal.slug.as_str()), (status, slug), "{}", refusal.document);
    refusal
}

/// What a user asks for. The rest of a request are its fields by name.
#[derive(Clone, Debug)]
pub(crate) struct Wish(pub(crate) Value);

impl Wish {
    /// For ten seconds, without waiting.
    pub(crate) fn of(user: &str) -> Self {
        Self(json!({ "user": user, "ttlMs": 10_000 }))
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }

    /// Waits as long as the tests are patient.
    pub(crate) fn waiting(self) -> Self {
        self.with("waitMs", WAIT_MAX.as_millis() as u64)
    }
}

/// One who speaks as a system.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    url: String,
    system: Option<String>,
}

impl Api {
    /// An operator.
    pub(crate) fn operator(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).timeout(WAIT_MAX);
        Self { http: http.build().expect("it can be made"), url: url.to_owned(), system: None }
    }

    /// The same, in the place of `system`.
    pub(crate) fn acting_as(&self, system: &str) -> Self {
        Self { system: Some(system.to_owned()), ..self.clone() }
    }

    /// The same, less patient: an answer that takes longer counts as lost.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).timeout(limit);
        self.http = http.build().expect("it can be made");
        self
    }

    /// Sends a request. `path` begins with the interface and has no query but `query`.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        token: Option<Token>,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.url)).expect("it is an address");
        let acting = self.system.iter().map(|system| ("as", system.as_str()));
        url.query_pairs_mut().extend_pairs(query.iter().copied().chain(acting));
        let mut request = self.http.request(method, url).bearer_auth(TOKEN);
        if let Some(token) = token {
            request = request.header("Sync-Lease-Token", token.to_string());
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let lost = |error: reqwest::Error| Failure::Lost(error.to_string());
        let response = request.send().await.map_err(lost)?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(lost)?;
        let body: Value = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")),
        };
        if status < 300 {
            return Ok(body);
        }
        let slug = body["type"].as_str().unwrap_or_default().trim_start_matches("/problems/").to_owned();
        Err(Failure::Refused(Refusal { status, slug, document: body }))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(Method::POST, path, &[], None, Some(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, &[], None, None).await
    }

    /// FGMV-28 7.1.3 steps 7 to 10.
    pub(crate) async fn acquire(&self, twin: &str, wish: &Wish) -> Result<SyncLease, Failure> {
        self.post(&lease_of(twin), &wish.0).await.map(lease)
    }

    /// The same for a set of twins.
    pub(crate) async fn acquire_set(&self, twins: &[&str], wish: &Wish) -> Result<SyncLease, Failure> {
        self.post("/mii/v1/sync-leases", &wish.clone().with("twins", twins).0).await.map(lease)
    }

    pub(crate) async fn renew(&self, twin: &str, user: &str, token: Token, ttl_ms: u64) -> Result<SyncLease, Failure> {
        let body = json!({ "user": user, "token": token, "ttlMs": ttl_ms });
        self.send(Method::PUT, &lease_of(twin), &[], None, Some(&body)).await.map(lease)
    }

    pub(crate) async fn release(&self, twin: &str, user: &str, token: Token) -> Result<(), Failure> {
        let query = [("user", user), ("token", &token.to_string())];
        self.send(Method::DELETE, &lease_of(twin), &query, None, None).await.map(|_| ())
    }

    /// FGMV-29 9.2 steps 15 to 18x; without a token the change takes a lease for itself.
    pub(crate) async fn change(
        &self,
        twin: &str,
        user: &str,
        token: Option<Token>,
        values: &Value,
    ) -> Result<Value, Failure> {
        let path = format!("/mii/v1/twins/{twin}/properties");
        self.send(Method::PATCH, &path, &[("user", user)], token, Some(values)).await
    }

    pub(crate) async fn stop(&self, twin: &str, user: &str) -> Result<Value, Failure> {
        self.send(Method::POST, &format!("/mii/v1/twins/{twin}/stop"), &[("user", user)], None, None).await
    }

    /// What is with a twin's object, as this one may know it.
    pub(crate) async fn view(&self, twin: &str) -> Value {
        let path = match self.system {
            Some(_) => lease_of(twin),
            None => format!("/ops/v1/twins/{twin}/sync-lease"),
        };
        self.get(&path).await.unwrap_or_else(|failure| panic!("it is not shown: {failure:?}"))
    }

    /// Looks at a twin's object until it is as wished.
    pub(crate) async fn until(&self, twin: &str, wished: impl Fn(&Value) -> bool) -> Value {
        let looking = async {
            loop {
                let view = self.view(twin).await;
                if wished(&view) {
                    return view;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT_MAX, looking).await.expect("it becomes as wished")
    }

    /// Until so many wait for it.
    pub(crate) async fn until_waiting(&self, twin: &str, waiting: u64) -> Value {
        self.until(twin, |view| view["waiting"] == waiting).await
    }

    /// An operator acts.
    pub(crate) async fn operate(&self, twin: &str, act: &str, why: &str) -> Result<(), Failure> {
        let path = format!("/ops/v1/twins/{twin}/sync-lease/{act}");
        self.post(&path, &json!({ "reason": why })).await.map(|_| ())
    }
}

pub(crate) fn lease_of(twin: &str) -> String {
    format!("/mii/v1/twins/{twin}/sync-lease")
}

fn lease(body: Value) -> SyncLease {
    serde_json::from_value(body).expect("it is a lease")
}
