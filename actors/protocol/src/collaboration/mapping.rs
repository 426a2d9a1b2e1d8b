//! How a third-party system's own API is called: method, path, body, and what its answers mean.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// Turns an operation into a request of the system's own API, and its answer into an outcome.
///
/// Its expressions know `input` (what the operation is given), `user`, `userInformation` (what the system knows the
/// user by), `metaverse`, `operation` and `idempotencyKey`; those about the answer know `status`, `headers` and
/// `body` beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiMapping {
    /// The URL below which the API is; absent: the system's webhook. Only a system itself can say it.
    #[serde(default)]
    pub base: Option<String>,
    /// The method.
    #[serde(default)]
    pub method: ApiMethod,
    /// The path below the base, beginning with `/`. `{name}` stands for the parameter of that name.
    pub path: String,
    /// Expressions for the path's parameters; a parameter without one is the member of `input` with its name.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// Expressions for the query's parameters; one whose value is null is left out.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Expressions for headers; one whose value is null is left out.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// An expression for the body; absent: `input`, with methods that have a body.
    #[serde(default)]
    pub body: Option<String>,
    /// How the body is written.
    #[serde(default)]
    pub body_form: BodyForm,
    /// What the answer means: the first rule whose condition is true counts. Otherwise a status from 200 to 299 is
    /// success, 408, 429, 502, 503 and 504 may be tried again, and all else is a refusal.
    #[serde(default)]
    pub outcomes: Vec<OutcomeRule>,
    /// An expression for the operation's output; absent: the answer's body.
    #[serde(default)]
    pub output: Option<String>,
}

/// The methods that an API can be called by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum ApiMethod {
    /// GET, without a body.
    Get,
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE, without a body.
    Delete,
}

impl ApiMethod {
    /// The method's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether requests of this method have a body.
    #[must_use]
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum BodyForm {
    /// As `application/json`.
    #[default]
    Json,
    /// As `application/x-www-form-urlencoded`: the members of an object.
    Form,
    /// As `text/plain`: a string.
    Text,
}

/// What an answer means, if it is like this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutcomeRule {
    /// The condition, an expression.
    pub when: String,
    /// What it means.
    pub outcome: ApiOutcome,
    /// An expression for what is said of it, to a person.
    #[serde(default)]
    pub detail: Option<String>,
}

/// What the answer of an API means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum ApiOutcome {
    /// It was done.
    Success,
    /// It was not done, and will not be.
    Refused,
    /// It was not done, and can be tried again.
    Retryable,
}

/// A request of an API, ready to be sent: nothing about it is left to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCall {
    /// The method.
    pub method: ApiMethod,
    /// The URL below which it must stay.
    pub base: Arc<str>,
    /// The path below the base, and the query.
    pub target: String,
    /// The headers: lower-case names, each with a value that a header may have.
    pub headers: Vec<(String, String)>,
    /// The media type and the text of the body.
    pub body: Option<(&'static str, String)>,
}
