//! What can go wrong, in one list: the problem types of RFC 9457 that the interfaces answer with.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{lease::Token, message::LeaseParty};

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
    ObjectNone = "object-none", 409, "The twin stands for no object", "A sync lease is for a physical object, and this twin's entry names none.";
    LeaseHeld = "lease-held", 409, "Somebody holds the object", "Another user is synchronized with the physical object, at a priority that is not below yours. `lease` says at which, and for how long. Wait with `waitMs`, or ask later.";
    LeaseLost = "lease-lost", 409, "The lease is lost", "The lease ended before this: it expired, was revoked, or a higher priority took the object. `lease` has the priority and the token that count now.";
    LeaseEnded = "lease-ended", 409, "The lease has ended already", "It was released, and cannot be released or renewed again.";
    LeaseRevoking = "lease-revoking", 409, "The lease is being revoked", "Until the grace is over, only the safe stop and a release are accepted.";
    LeaseNotYours = "lease-not-yours", 403, "The lease is somebody else's", "Only the user and the system that were given a token can use it.";
    LeaseTokenUnknown = "lease-token-unknown", 409, "Nobody was given this token", "Show the token of the answer or event by which the lease was granted.";
    LeaseTokenForeign = "lease-token-foreign", 409, "The token is of another object", "The token is of a lease on another object, or of one that ended long ago.";
    LeaseTokenStale = "lease-token-stale", 409, "The token is out of date", "The daemon or the object's gate began a new life since, or its user has another lease on the object now. If the lease is still yours, an event brought its new token, and `lease` has it.";
    LeaseTtl = "lease-ttl", 400, "The lease would last too long", "`ttlMs` is 0 or above `lease_ttl_ms_max`.";
    LeaseWait = "lease-wait", 400, "The wait would be too long", "`waitMs` is above `lease_wait_ms_max`.";
    LeaseSet = "lease-set", 400, "The set of objects is not acceptable", "A request names from one to `lease_set_objects_max` twins, each of another object.";
    LeaseWaitOver = "lease-wait-over", 409, "The wait is over", "The object could not be had within `waitMs`.";
    LeaseCancelled = "lease-cancelled", 409, "The request was cancelled", "Its requester wanted it no more.";
    LeaseDeclined = "lease-declined", 409, "The holder declined", "The holder was asked to yield, and did not.";
    LeaseDisplaced = "lease-displaced", 409, "A higher priority came first", "A request of a higher priority took the place of this one before it was granted.";
    LeaseRequestUnknown = "lease-request-unknown", 404, "No such request", "No request with this id waits, nobody holds the object, or nobody has asked its holder to yield.";
    RequestIdReused = "request-id-reused", 409, "The request id was used for another request", "A request id stands for one request: the same user, the same objects. Use a new one.";
    RequestRepeated = "request-repeated", 409, "The request came again", "The same request was sent again, and its answer goes there.";
    ObjectQuarantined = "object-quarantined", 503, "The object's gate does not answer", "The device may still act on earlier commands, so that nobody is given the object until its gate has answered or an operator has seen to it.";
    ReservationWindow = "reservation-window", 400, "The time is not acceptable", "The window is over, ends before it begins, is too far ahead, or too many reservations stand.";
    ReservationTaken = "reservation-taken", 409, "The object is reserved", "Somebody of a priority that is not below yours has reserved the object for a part of this time.";
    SafeStopNone = "safe-stop-none", 409, "The object has no safe stop", "The twin's characteristics do not say how its object is brought to a safe stop.";
    OutsideUnclear = "outside-unclear", 502, "It is not known whether it was done", "The request was handed to the external system, and what it says to it will not be heard: its session closed, or its webhook broke off. It may have been carried out, or may be yet.";
    VersionMismatch = "version-mismatch", 412, "The version is another one", "What is kept was changed meanwhile: its version is not the one that `If-Match` names. Read it again, and decide whether the change is still right.";
    CursorExpired = "cursor-expired", 410, "The cursor is no more", "A sorted search can be gone on with until `search_cursors_max` others were made, and until the daemon restarts. Begin it again.";
    ExecutionCancelled = "execution-cancelled", 409, "The execution was cancelled", "Its metaverse system wanted it to go no further; what was done is undone as far as compensations are declared.";
    MapUnknown = "map-unknown", 404, "No such map", "The metaverse system has no spatial map with this id, or not for this asker.";
    MapEntryUnknown = "map-entry-unknown", 404, "No such entry on the map", "The spatial map has no entry or watch with this id, or not for this asker.";
    ObservationUnknown = "observation-unknown", 404, "No such observation", "No observation with this id is kept, or nobody asked this user for one.";
    DeadlineOver = "deadline-over", 504, "The deadline is over", "What was asked for was not confirmed by `deadlineMs`. The device must not act on it any more; whether it did before, the twin shows when it reports.";
    ActionUnknown = "action-unknown", 404, "No such action", "The twin's description names no such action.";
    InvocationUnknown = "invocation-unknown", 404, "No such invocation", "The twin has no invocation with this id, or it ended too long ago.";
    PermissionUnknown = "permission-unknown", 404, "No such permission", "No permission on this twin has this id.";
    EventUnknown = "event-unknown", 404, "No such event", "The twin's description names no such event.";
    ModelUnknown = "model-unknown", 404, "No such Thing Model", "The twin system has registered no Thing Model with this id.";
    SubscriptionUnknown = "subscription-unknown", 404, "No such subscription", "The system has no subscription with this id: it ended, or it never was.";
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
    /// What is with the object, for problems of leases.
    pub lease: Option<Box<LeaseContext>>,
}

/// What is with an object, for whom it could not be had by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LeaseContext {
    /// Who has it, as far as the asker may know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<LeaseParty>,
    /// The token that counts now: higher than the one that lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// In how many milliseconds the lease ends unless it is renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

impl Problem {
    /// A problem of `kind`, with what happened this time.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), pointer: None, differences: Vec::new(), lease: None }
    }

    /// The same problem, at this place of the document.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// The same problem, with what is with the object.
    #[must_use]
    pub fn with_lease(mut self, lease: LeaseContext) -> Self {
        self.lease = Some(Box::new(lease));
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
