//! Sync leases: who is synchronized with a physical object (FGMV-28 7.1.3).

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use twinway_protocol::{
    TwinId, UserId,
    lease::{RequestId, Token},
    message::{LeaseBooking, LeaseListing, LeaseRequest, LeaseView, OperatorAct, PropertyValues, SyncLease},
    registry::Page,
};

use super::{
    Client, ClientError, ProblemDocument,
    call::Call,
    mii::{ValuesBody, paged},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RenewalBody<'b> {
    user: &'b UserId,
    token: Token,
    ttl_ms: u32,
}

#[derive(Serialize)]
struct YieldingBody<'b> {
    user: &'b UserId,
    token: Token,
    yields: bool,
}

#[derive(Serialize)]
struct BatchBody<'b> {
    requests: &'b [LeaseRequest],
}

#[derive(Deserialize)]
struct DecidedBody {
    answers: Vec<Decision>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Decision {
    Lease(Box<SyncLease>),
    Problem(Box<ProblemDocument>),
}

#[derive(Deserialize)]
struct KeptBody {
    leases: u32,
}

#[derive(Deserialize)]
struct ReservedBody {
    id: u64,
}

#[derive(Serialize)]
struct ReasonBody<'b> {
    reason: &'b str,
}

fn milliseconds(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

/// The routes of sync leases. Their errors are those of [`ClientError`]; where an object cannot be had, the
/// problem's `lease` says who has it, as far as the asker may know.
impl Client {
    fn at_twin(&self, method: Method, twin: &TwinId, rest: &[&str]) -> Call<'_> {
        let path = ["mii", "v1", "twins", twin.as_str()];
        self.call(method, &[&path[..], rest].concat())
    }

    /// Asks for synchronization with the objects of the request's twins, all of them or nothing (7.1.3 steps 7
    /// to 10). [`Client::within`] counts beside the request's own wait; whoever may have to wait for a long grace
    /// of another gives it, or repeats the request with the same id.
    ///
    /// # Errors
    /// Somebody else has the object, and every other kind of problem about leases.
    pub async fn request_lease(&self, request: &LeaseRequest) -> Result<SyncLease, ClientError> {
        let call = match request.twins.as_slice() {
            [twin] => self.at_twin(Method::POST, twin, &["sync-lease"]),
            _ => self.post(&["mii", "v1", "sync-leases"]),
        };
        call.body(request).longer(milliseconds(request.wait_ms)).json().await
    }

    /// Asks for several users at once, who all want the object of `twin` (7.1.3 steps 6 to 11). Gives everyone's own
    /// answer, in their order; at most one is a lease.
    ///
    /// # Errors
    /// They cannot be decided at all.
    pub async fn request_leases(
        &self,
        twin: &TwinId,
        requests: &[LeaseRequest],
    ) -> Result<Vec<Result<SyncLease, ClientError>>, ClientError> {
        let longest = requests.iter().map(|request| request.wait_ms).max().unwrap_or(0);
        let call = self.at_twin(Method::POST, twin, &["sync-lease", "batch"]).body(&BatchBody { requests });
        let decided: DecidedBody = call.longer(milliseconds(longest)).json().await?;
        let answer = |decision| match decision {
            Decision::Lease(lease) => Ok(*lease),
            Decision::Problem(problem) => Err(ClientError::Problem(problem)),
        };
        Ok(decided.answers.into_iter().map(answer).collect())
    }

    /// Keeps a lease for `ttl_ms` from now on. [`Client::hold`] does it by itself.
    ///
    /// # Errors
    /// A token that does not count (any more), or too long a time.
    pub async fn renew_lease(
        &self,
        user: &UserId,
        twin: &TwinId,
        token: Token,
        ttl_ms: u32,
    ) -> Result<SyncLease, ClientError> {
        let body = RenewalBody { user, token, ttl_ms };
        self.at_twin(Method::PUT, twin, &["sync-lease"]).body(&body).json().await
    }

    /// Gives the objects of a lease back.
    ///
    /// # Errors
    /// A token that does not count (any more).
    pub async fn release_lease(&self, user: &UserId, twin: &TwinId, token: Token) -> Result<(), ClientError> {
        let call = self.at_twin(Method::DELETE, twin, &["sync-lease"]).query("user", Some(user.as_str()));
        call.query("token", Some(&token.to_string())).done().await
    }

    /// Answers all who asked for an object of the lease: gives it up, or declines.
    ///
    /// # Errors
    /// A token that does not count (any more); `lease-request-unknown` when it is declined and nobody who waits has asked.
    pub async fn yield_lease(
        &self,
        user: &UserId,
        twin: &TwinId,
        token: Token,
        yields: bool,
    ) -> Result<(), ClientError> {
        let body = YieldingBody { user, token, yields };
        self.at_twin(Method::POST, twin, &["sync-lease", "yield"]).body(&body).done().await
    }

    /// Wants what waits under this id no more.
    ///
    /// # Errors
    /// No such request waits.
    pub async fn cancel_lease_request(&self, id: RequestId) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["mii", "v1", "lease-requests", &id.to_string()]).done().await
    }

    /// Renews every lease of this system. Gives how many there are.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn keep_leases(&self) -> Result<u32, ClientError> {
        let kept: KeptBody = self.post(&["mii", "v1", "sync-leases", "keep-alive"]).json().await?;
        Ok(kept.leases)
    }

    /// What is with the object of a twin, as far as this system may know.
    ///
    /// # Errors
    /// Unknown twin, or it stands for no object.
    pub async fn lease(&self, twin: &TwinId) -> Result<LeaseView, ClientError> {
        self.at_twin(Method::GET, twin, &["sync-lease"]).json().await
    }

    /// The objects that somebody has or waits for, or whose gate does not answer.
    ///
    /// # Errors
    /// A cursor that is none.
    pub async fn leases(&self, cursor: Option<&str>, limit: Option<u32>) -> Result<Page<LeaseListing>, ClientError> {
        paged(self.get(&["mii", "v1", "sync-leases"]), cursor, limit).json().await
    }

    /// Has the object of a twin kept for later. Gives the reservation's number.
    ///
    /// # Errors
    /// The window is not acceptable, or taken.
    pub async fn reserve(&self, twin: &TwinId, booking: &LeaseBooking) -> Result<u64, ClientError> {
        let reserved: ReservedBody = self.at_twin(Method::POST, twin, &["reservations"]).body(booking).json().await?;
        Ok(reserved.id)
    }

    /// Wants a reservation no more.
    ///
    /// # Errors
    /// This system has no such reservation.
    pub async fn cancel_reservation(&self, twin: &TwinId, id: u64) -> Result<(), ClientError> {
        self.at_twin(Method::DELETE, twin, &["reservations", &id.to_string()]).done().await
    }

    /// Has the object of a twin brought to a safe stop, whoever holds it.
    ///
    /// # Errors
    /// It has no safe stop, the user may not, and those of the twin system.
    pub async fn stop_twin(&self, user: &UserId, twin: &TwinId) -> Result<PropertyValues, ClientError> {
        let call = self.at_twin(Method::POST, twin, &["stop"]).query("user", Some(user.as_str()));
        Ok(call.json::<ValuesBody>().await?.values)
    }

    /// What is with the object of a twin, all names included. Only for operators.
    ///
    /// # Errors
    /// As for [`Client::lease`].
    pub async fn inspect_lease(&self, twin: &TwinId) -> Result<LeaseView, ClientError> {
        self.get(&["ops", "v1", "twins", twin.as_str(), "sync-lease"]).json().await
    }

    /// As [`Client::leases`], all names included. Only for operators.
    ///
    /// # Errors
    /// As for [`Client::leases`].
    pub async fn inspect_leases(
        &self,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<LeaseListing>, ClientError> {
        paged(self.get(&["ops", "v1", "sync-leases"]), cursor, limit).json().await
    }

    /// Revokes or clears the lease on the object of a twin, or ends its quarantine. Only for operators. It is written
    /// down with the token's name and the reason.
    ///
    /// # Errors
    /// Unknown twin, no object, or nothing to do it to.
    pub async fn operate_lease(&self, twin: &TwinId, act: OperatorAct, reason: &str) -> Result<(), ClientError> {
        let act = match act {
            OperatorAct::Revoke => "revoke",
            OperatorAct::Clear => "clear",
            OperatorAct::ReplaceGate => "replace-gate",
        };
        let path = ["ops", "v1", "twins", twin.as_str(), "sync-lease", act];
        self.post(&path).body(&ReasonBody { reason }).done().await
    }
}
