//! Calls third-party systems in their own shape (FGMV-29 8.2.4): a request that was prepared is sent as it is, and its
//! status, some headers and the body go back. What they mean is not decided here.

use std::{str::FromStr, sync::Arc, time::Duration};

use reqwest::{
    Method, Request, Response, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::{Map, Value, json};
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind,
    collaboration::ApiCall,
    message::{OutsideAnswer, OutsideRequest, ServiceExecuted, UserAndPermissionInformation},
};

use super::{
    Hub,
    sessions::{Asked, System},
    webhook::{IDEMPOTENCY_KEY, WEBHOOK_ANSWER_BYTES_MAX, Webhooks, failure, hand_in, read, unreachable},
};

/// The headers of an answer that are handed on.
const ANSWER_HEADERS: [&str; 4] = ["content-type", "etag", "location", "retry-after"];
/// The header by which a system knows for which execution it works, to name it in what it asks for in turn.
const EXECUTION: &str = "twinway-execution";

impl Hub {
    /// Sends a request to the API of a third-party system, beside those that go to its webhook.
    pub(super) fn call_api(self: &Arc<Self>, system: &Arc<System>, asked: Asked) {
        let refuse = |problem| self.undelivered(system.entity, asked.request, problem, false);
        let Some(webhooks) = self.webhooks.get() else { return refuse(unreachable("calls are not started")) };
        let max = self.limits.webhook_calls_per_system_max;
        {
            let mut state = system.state.lock();
            if state.calls >= max {
                drop(state);
                let detail = format!("webhook_calls_per_system_max ({max}) of the external system is used up");
                return refuse(Problem::new(ProblemKind::Overloaded, detail));
            }
            state.calls += 1;
        }
        let Ok(permit) = Arc::clone(&webhooks.requests).try_acquire_owned() else {
            system.state.lock().calls -= 1;
            let max = self.limits.webhook_queue_max;
            return refuse(Problem::new(ProblemKind::Overloaded, format!("webhook_queue_max ({max}) is used up")));
        };
        let (hub, system) = (Arc::clone(self), Arc::clone(system));
        webhooks.runtime.spawn(async move {
            let Some(webhooks) = hub.webhooks.get() else { return };
            let called = webhooks.call(&hub, &system, &asked).await;
            drop(permit);
            system.state.lock().calls -= 1;
            if let Err(problem) = called {
                let handed_out = problem.kind != ProblemKind::OutsideUnreachable;
                hub.undelivered(system.entity, asked.request, problem, handed_out);
            }
        });
    }
}

impl Webhooks {
    async fn call(&self, hub: &Hub, system: &System, asked: &Asked) -> Result<(), Problem> {
        let Ok(_call) = self.calls.acquire().await else { return Err(unreachable("calls have ended")) };
        let left = hub.limits.answer_within().saturating_sub(asked.since.elapsed());
        if left.is_zero() {
            // Its actor has told the asker that no answer came: it is not to be carried out now.
            return Ok(());
        }
        let within = left.min(Duration::from_millis(hub.limits.webhook_answer_ms_max));
        let mut request = request(asked)?;
        *request.timeout_mut() = Some(within);
        let unclear = |error: &reqwest::Error| match failure(error, within) {
            // Once there was a connection, it may have read the request.
            problem if problem.kind == ProblemKind::OutsideFailed => {
                Problem { kind: ProblemKind::OutsideUnclear, ..problem }
            }
            problem => problem,
        };
        let response = self.client.execute(request).await.map_err(|error| unclear(&error))?;
        let (status, headers) = (response.status().as_u16(), headers(&response));
        let body = read(response, WEBHOOK_ANSWER_BYTES_MAX).await.map_err(|error| unclear(&error))?;
        if body.len() > WEBHOOK_ANSWER_BYTES_MAX {
            let detail = format!("its answer was cut off: it has more than {WEBHOOK_ANSWER_BYTES_MAX} bytes");
            return Err(Problem::new(ProblemKind::OutsideUnclear, detail));
        }
        let answer = json!({ "status": status, "headers": headers, "body": text_or_json(&body) });
        let output = JsonDoc::from_value(&answer)
            .map_err(|error| Problem::new(ProblemKind::OutsideUnclear, error.to_string()))?;
        let answer = match &*asked.body {
            OutsideRequest::AuthorizeUser(_) => {
                OutsideAnswer::AuthorizeUser(UserAndPermissionInformation::Answered(output))
            }
            _ => OutsideAnswer::ExecuteService(ServiceExecuted { output }),
        };
        hand_in(hub, system, asked.request, answer).await
    }
}

/// The request as HTTP has it.
fn request(asked: &Asked) -> Result<Request, Problem> {
    // Nothing has been sent when one of these fails.
    let wrong = |detail: String| Problem::new(ProblemKind::InvalidDocument, detail);
    let Some(call) = asked.api_call() else { return Err(wrong("it is no request of an API".to_owned())) };
    let method = Method::from_str(call.method.as_str()).map_err(|error| wrong(error.to_string()))?;
    let mut request = Request::new(method, below(call)?);
    let mut set = |name: &str, value: &str| -> Result<(), Problem> {
        let name = HeaderName::from_str(name).map_err(|error| wrong(error.to_string()))?;
        let value = HeaderValue::from_str(value).map_err(|error| wrong(error.to_string()))?;
        request.headers_mut().insert(name, value);
        Ok(())
    };
    for (name, value) in &call.headers {
        set(name, value)?;
    }
    if let OutsideRequest::ExecuteService(question) = &*asked.body {
        if let Some(key) = &question.idempotency_key {
            set(IDEMPOTENCY_KEY, key)?;
        }
        if let Some(context) = &question.context {
            set(EXECUTION, context.execution.as_str())?;
        }
    }
    if let OutsideRequest::AuthorizeUser(question) = &*asked.body {
        set(IDEMPOTENCY_KEY, question.authorization.as_str())?;
    }
    if let Some((media, text)) = &call.body {
        set(CONTENT_TYPE.as_str(), media)?;
        *request.body_mut() = Some(text.clone().into());
    }
    Ok(request)
}

/// The URL of a call, which is below the one that the system registered: whatever a mapping or its data say, no other
/// host and no other path is called.
fn below(call: &ApiCall) -> Result<Url, Problem> {
    let wrong = |detail: String| Problem::new(ProblemKind::InvalidDocument, detail);
    let base = Url::parse(&call.base).map_err(|error| wrong(format!("the base of the API: {error}")))?;
    if base.scheme() != "http" || !base.has_host() {
        return Err(wrong("the base of an API is an absolute `http` URL: this build has no TLS".to_owned()));
    }
    let root = base.path().trim_end_matches('/').to_owned();
    let mut url = base.clone();
    let (path, query) = call.target.split_once('?').map_or((call.target.as_str(), None), |(p, q)| (p, Some(q)));
    url.set_path(&format!("{root}{path}"));
    url.set_query(query);
    url.set_fragment(None);
    // Reading a URL resolves `..` in every disguise: what is left must still be below.
    let is_below = url.path().strip_prefix(&root).is_some_and(|rest| rest.starts_with('/'));
    if url.origin() != base.origin() || !is_below {
        return Err(wrong(format!("`{}` is not below `{}`", call.target, call.base)));
    }
    Ok(url)
}

fn headers(response: &Response) -> Map<String, Value> {
    let text = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
    ANSWER_HEADERS.iter().filter_map(|name| Some(((*name).to_owned(), Value::String(text(name)?)))).collect()
}

/// A body is JSON if it can be read as that, whatever its media type says, and otherwise text.
fn text_or_json(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

#[cfg(test)]
mod tests {
    use twinway_protocol::collaboration::{ApiCall, ApiMethod};

    use super::below;

    fn url(base: &str, target: &str) -> Result<String, String> {
        let call = ApiCall {
            method: ApiMethod::Get,
            base: base.into(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: None,
        };
        below(&call).map(String::from).map_err(|problem| problem.detail)
    }

    #[test]
    fn a_call_stays_below_what_was_registered() {
        assert_eq!(
            url("http://shop.example/api/", "/orders/7?x=1"),
            Ok("http://shop.example/api/orders/7?x=1".to_owned())
        );
        assert_eq!(url("http://shop.example:81", "/orders"), Ok("http://shop.example:81/orders".to_owned()));
        for target in ["/../admin", "/a/../../admin", "/%2e%2e/admin", "/%2E%2e/%2e%2E/admin"] {
            assert!(url("http://shop.example/api", target).is_err(), "{target}");
        }
        // What looks like a host is a path here.
        assert_eq!(
            url("http://shop.example/api", "//evil.example/x"),
            Ok("http://shop.example/api//evil.example/x".to_owned())
        );
        assert!(url("file:///etc", "/passwd").is_err());
        assert!(url("https://shop.example", "/x").is_err());
    }
}
