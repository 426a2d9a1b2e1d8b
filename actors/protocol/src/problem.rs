//! What can go wrong, in one list: the problem types of RFC 9457 that the interfaces answer with.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($Kind:ident = $slug:literal, $status:literal, $title:literal, $help:literal;)*) => {
        /// The kind of a problem. Only ever appended to: journals and links carry its number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum ProblemKind {
            $(#[doc = $title] #[serde(rename = $slug)] $Kind,)*
        }

        impl ProblemKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$Kind,)*];

            /// The last part of the problem's `type` URI.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$Kind => $slug,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$Kind => $status,)* }
            }

            /// A short summary, the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$Kind => $title,)* }
            }

            /// What it means and what to do, in a sentence or two.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$Kind => $help,)* }
            }
        }
    };
}

kinds! {
    InvalidDocument = "invalid-document", 400, "The document is not acceptable", "The body is not JSON of the expected form. `pointer` names the place inside the document (RFC 6901) and `detail` what was expected there.";
    InvalidQuery = "invalid-query", 400, "A parameter is not acceptable", "A query parameter, header or path segment has a value that is not understood; `detail` names it.";
    Unauthenticated = "unauthenticated", 401, "No valid token", "Send `Authorization: Bearer TOKEN` with a token of the daemon's configuration, or a fresh ticket when opening a WebSocket.";
    NotAllowed = "not-allowed", 403, "The token does not allow this", "The token is valid, but of another role or another system than this route asks for.";
    PermissionMissing = "permission-missing", 403, "No permission for this", "The user has no permission that covers this. Request one first; for a twin with the permissions route, for a third-party system with a user authorization.";
    PermissionExpired = "permission-expired", 403, "The permission has expired", "A permission was granted once and is past its end. Request it again.";
    PermissionDenied = "permission-denied", 403, "The permission was denied", "The system that decides about this permission said no.";
    BehaviourNotPermitted = "behaviour-not-permitted", 403, "The object cannot perform this", "The twin's characteristics do not include this property or action (FGMV-29 8.3.5).";
    SystemUnknown = "system-unknown", 404, "No such system", "No system with this id is registered.";
    TwinUnknown = "twin-unknown", 404, "No such twin", "No registered twin system lists a twin with this id.";
    PropertyUnknown = "property-unknown", 404, "No such property", "The twin's description names no such property, or it has no value yet.";
    RequestUnknown = "request-unknown", 404, "No such request", "No request with this id waits for an answer: it was answered already, it was given up, or it never was.";
    RouteUnknown = "route-unknown", 404, "No such route", "The daemon serves no such path. `/openapi.json` lists those it does.";
    MethodNotAllowed = "method-not-allowed", 405, "The route has no such method", "`/openapi.json` lists the methods of every route.";
    AlreadyRegistered = "already-registered", 409, "Already registered, and different", "The id is registered with other contents. `differences` lists what differs; change the registration instead, or use another id.";
    ObjectOwned = "object-owned", 409, "The physical object belongs to another system", "Another twin system named this physical object first, and has not agreed that others list it.";
    TwinListedElsewhere = "twin-listed-elsewhere", 409, "Another system lists this twin", "A twin's id is unique in a metaverse (FGMV-28 REQ-DT-01), and another twin system lists it.";
    NotSelected = "not-selected", 409, "The twin is not selected", "Select the twin first (FGMV-29 9.2 step 6).";
    AnswerMismatch = "answer-mismatch", 409, "The answer does not fit the request", "The answer is for another kind of request than the one with this id, or from another system. The request still waits.";
    BodyTooLarge = "body-too-large", 413, "The body is too large", "`detail` names the limit in bytes.";
    MediaTypeUnsupported = "media-type-unsupported", 415, "The media type is not understood", "Send `application/json`, or `application/merge-patch+json` for a change.";
    TooManyRequests = "too-many-requests", 429, "Too many requests", "The rate limit of this token is used up. `Retry-After` says in seconds when to try again.";
    LimitReached = "limit-reached", 429, "A limit is reached", "`detail` names the limit. Nothing was changed.";
    HeaderTooLarge = "header-too-large", 431, "A header is too large", "`detail` names the limit in bytes.";
    Internal = "internal", 500, "The daemon failed", "The entity that handled the request failed and is being recovered from the journal. Nothing was acknowledged; repeat the request.";
    OutsideFailed = "outside-failed", 502, "The external system failed", "The external system answered with an error, or with something that is not an answer. `detail` has what it said.";
    ReadOnly = "read-only", 503, "The daemon is read-only", "The journal cannot be written now; `/readyz` says why. What was acknowledged is safe and can be read.";
    Overloaded = "overloaded", 503, "The daemon is overloaded", "An inbox is full. Nothing was changed; try again.";
    ShuttingDown = "shutting-down", 503, "The daemon is shutting down", "It takes no new requests. Nothing was changed.";
    OutsideUnreachable = "outside-unreachable", 503, "The external system cannot be reached", "It has neither an open session nor a webhook that answers.";
    OutsideTimeout = "outside-timeout", 504, "The external system did not answer in time", "The request was delivered and no answer came within the limit that `detail` names. It may still have been carried out.";
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

/// What stood in the way of an answer.
///
/// Unless the kind says otherwise, a problem means that nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct Problem {
    /// Which kind of problem.
    pub kind: ProblemKind,
    /// What happened this time, for a person.
    pub detail: String,
    /// The place in the request's document, as an RFC 6901 pointer.
    pub pointer: Option<String>,
    /// What differs from what is registered, for [`ProblemKind::AlreadyRegistered`].
    pub differences: Vec<String>,
}

impl Problem {
    /// A problem of `kind`, with what happened this time.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), pointer: None, differences: Vec::new() }
    }

    /// The same problem, at this place of the document.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Whether the request itself was refused as invalid, before anything was carried out: the rejecting
    /// branches of FGMV-29 9.1 step 14 and 9.2 step 17.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(self.kind.status(), 400..=499)
    }
}

#[cfg(test)]
mod tests {
    use super::{Problem, ProblemKind};

    #[test]
    fn every_kind_has_its_own_slug() {
        let mut slugs: Vec<_> = ProblemKind::ALL.iter().map(|kind| kind.slug()).collect();
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), ProblemKind::ALL.len());
    }

    #[test]
    fn a_failure_of_the_outside_is_not_a_rejection() {
        assert!(!Problem::new(ProblemKind::OutsideFailed, "it fell over").is_rejection());
        assert!(Problem::new(ProblemKind::PermissionExpired, "yesterday").is_rejection());
    }
}
