//! What a refusal of the lease table is to whom it is told.

use twinway_protocol::{
    Problem, ProblemKind, SystemId,
    lease::{Conflict, End, LeaseLimits, Refused, Token},
    problem::LeaseContext,
};

use super::history::party;

fn context(conflict: &Conflict, viewer: Option<&SystemId>) -> LeaseContext {
    LeaseContext {
        holder: Some(party(&conflict.who, conflict.priority, viewer)),
        // The number of a token is no secret: only its holder's system and user can use it.
        token: Some(conflict.token).filter(|token| *token != Token::NONE),
        expires_in_ms: conflict.expires_in_ms,
    }
}

/// The problem that a requester of system `viewer` is answered with.
pub(super) fn problem(refused: Refused, limits: &LeaseLimits, viewer: Option<&SystemId>) -> Problem {
    use ProblemKind as Kind;
    let limit = |name: &str, max: u128| format!("{name} is {max}");
    match refused {
        Refused::Ended(end, conflict) => {
            let problem = Problem::new(kind_of(end), detail_of(end, conflict.as_deref()));
            match conflict {
                Some(conflict) => problem.with_lease(context(&conflict, viewer)),
                None => problem,
            }
        }
        Refused::Ttl => {
            let detail = format!("1 to {} milliseconds (lease_ttl_ms_max) are expected here", limits.lease_ttl_ms_max);
            Problem::new(Kind::LeaseTtl, detail).at("/ttlMs")
        }
        Refused::Wait => {
            let detail =
                format!("at most {} milliseconds (lease_wait_ms_max) are expected here", limits.lease_wait_ms_max);
            Problem::new(Kind::LeaseWait, detail).at("/waitMs")
        }
        Refused::Set => {
            let detail = format!("1 to {} twins of different objects are expected here", limits.lease_set_objects_max);
            Problem::new(Kind::LeaseSet, detail).at("/twins")
        }
        Refused::QueueFull => {
            Problem::new(Kind::LimitReached, limit("lease_queue_max", limits.lease_queue_max as u128))
        }
        Refused::ClaimsFull => {
            Problem::new(Kind::LimitReached, limit("lease_claims_max", limits.lease_claims_max as u128))
        }
        Refused::IdReused => {
            Problem::new(Kind::RequestIdReused, "the id is that of a request of another user, or for other objects")
                .at("/requestId")
        }
        Refused::Superseded => Problem::new(Kind::RequestRepeated, "the same request was sent again meanwhile"),
        Refused::TokenUnknown => Problem::new(Kind::LeaseTokenUnknown, "no lease on this object has this token"),
        Refused::TokenStale(own) => {
            let stale = |detail: String| Problem::new(Kind::LeaseTokenStale, detail);
            match own {
                Some(token) => stale(format!("tokens are of a newer epoch now: yours is {token}"))
                    .with_lease(LeaseContext { token: Some(token), ..LeaseContext::default() }),
                None => stale("tokens are of a newer epoch now".to_owned()),
            }
        }
        Refused::TokenForeign => Problem::new(Kind::LeaseTokenForeign, "the lease on this object has another token"),
        Refused::NotYours => Problem::new(Kind::LeaseNotYours, "it was given to another user or another system"),
        Refused::Revoking(in_ms) => {
            let problem = Problem::new(Kind::LeaseRevoking, format!("it is revoked, and ends in {in_ms} milliseconds"));
            problem.with_lease(LeaseContext { expires_in_ms: Some(in_ms), ..LeaseContext::default() })
        }
        Refused::Unknown => {
            let detail = "nobody holds the object, or nothing with this id waits for it or has it reserved";
            Problem::new(Kind::LeaseRequestUnknown, detail)
        }
        Refused::Window => {
            let detail = format!(
                "a window that ends later than now and later than it begins, at most {} milliseconds ahead; at most {} for an object",
                limits.lease_reservation_ahead_ms_max, limits.lease_reservations_max
            );
            Problem::new(Kind::ReservationWindow, detail)
        }
        Refused::NotAsked => Problem::new(Kind::LeaseRequestUnknown, "nobody who waits has asked the holder to yield"),
        Refused::Taken(reservation) => {
            let detail = format!("it is reserved from {} to {}", reservation.from, reservation.until);
            let holder = Some(party(&reservation.who, reservation.wanted.priority, viewer));
            Problem::new(Kind::ReservationTaken, detail).with_lease(LeaseContext { holder, ..LeaseContext::default() })
        }
    }
}

fn kind_of(end: End) -> ProblemKind {
    use ProblemKind as Kind;
    match end {
        End::Released | End::Yielded => Kind::LeaseEnded,
        End::Expired | End::Preempted | End::Revoked => Kind::LeaseLost,
        End::Held => Kind::LeaseHeld,
        End::GateSilent | End::Quarantined => Kind::ObjectQuarantined,
        End::WaitOver => Kind::LeaseWaitOver,
        End::Cancelled => Kind::LeaseCancelled,
        End::Declined => Kind::LeaseDeclined,
        End::Displaced => Kind::LeaseDisplaced,
        End::Denied => Kind::PermissionMissing,
        End::Retired => Kind::TwinUnknown,
    }
}

fn detail_of(end: End, conflict: Option<&Conflict>) -> String {
    let why = match end {
        End::Released => "it was given back",
        End::Yielded => "its holder yielded it",
        End::Expired => "it was not renewed in time",
        End::Preempted => "a higher priority took the object",
        End::Revoked => "an operator took the object back",
        End::Held => "somebody holds the object",
        End::GateSilent | End::Quarantined => "the object's gate does not answer",
        End::WaitOver => "the object could not be had in time",
        End::Cancelled => "its requester cancelled it",
        End::Declined => "the holder does not yield",
        End::Displaced => "a higher priority came before it was granted",
        End::Denied => "its user may not change the object any more",
        End::Retired => "nothing stands for the object any more: its twin system was deregistered, or lists it no more",
    };
    match conflict {
        Some(Conflict { priority, expires_in_ms: Some(in_ms), .. }) => {
            format!(
                "{why}; the present lease has priority {priority} and ends in {in_ms} milliseconds unless it is renewed"
            )
        }
        Some(Conflict { priority, .. }) => format!("{why}; first in line is a request of priority {priority}"),
        None => why.to_owned(),
    }
}
