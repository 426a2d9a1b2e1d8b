//! What people see of an object's lease, and the same in words.

use std::fmt::Write as _;

use twinway_protocol::{
    SystemId, TwinId,
    lease::{ClaimView, Claimant, Grant, ObjectView, Phase, Token},
    message::{LeaseListing, LeaseView, ReservationView, SyncLease, WaitingView},
};

use super::{
    KnownObject,
    history::{History, party},
};

/// How many of those in line are shown.
pub(super) const QUEUE_SHOWN_MAX: usize = 100;

/// A lease as its holder sees it.
pub(super) fn lease(claim: &Claimant, grant: Grant) -> SyncLease {
    SyncLease {
        twins: claim.twins.to_vec(),
        holder: claim.holder.clone(),
        token: grant.token,
        priority: grant.priority,
        expires_in_ms: grant.expires_in_ms,
        fencing: grant.fencing,
        revoked_in_ms: grant.revoked_in_ms,
    }
}

/// An object's lease, as far as `viewer` may see it; none: an operator.
pub(super) fn view(
    known: &KnownObject,
    object: Option<ObjectView>,
    history: &History,
    viewer: Option<&SystemId>,
) -> LeaseView {
    let phase = object.as_ref().map_or(Phase::Free, |object| object.phase);
    let explanation = explain(known, object.as_ref(), viewer);
    let holder = object.as_ref().and_then(|object| object.holder.as_ref());
    let mine = |claim: &ClaimView| viewer.is_none_or(|viewer| *viewer == claim.who.holder.system);
    let grant = holder.and_then(|claim| claim.grant.as_ref());
    LeaseView {
        object: known.uri.clone(),
        twins: known.twins.iter().map(|(twin, _)| twin.clone()).collect(),
        phase,
        holder: holder.map(|claim| party(&claim.who, claim.priority, viewer)),
        token: holder.filter(|claim| mine(claim)).and_then(|claim| claim.grant.as_ref()).map(|grant| grant.token),
        expires_in_ms: grant.map(|grant| grant.expires_in_ms),
        revoked_in_ms: grant.and_then(|grant| grant.revoked_in_ms),
        fencing: grant.map(|grant| grant.fencing),
        waiting: object.as_ref().map_or(0, |object| u32::try_from(object.waiting).unwrap_or(u32::MAX)),
        queue: object.iter().flat_map(|object| &object.queue).map(|claim| waiting(claim, viewer)).collect(),
        reservations: object
            .iter()
            .flat_map(|object| &object.reservations)
            .map(|kept| ReservationView {
                id: kept.id,
                party: party(&kept.who, kept.wanted.priority, viewer),
                from: kept.from,
                until: kept.until,
            })
            .collect(),
        history: history.of(known.entity).map(|moment| moment.shown_to(viewer)).collect(),
        explanation,
    }
}

fn waiting(claim: &ClaimView, viewer: Option<&SystemId>) -> WaitingView {
    WaitingView {
        party: party(&claim.who, claim.priority, viewer),
        objects: u32::try_from(claim.objects.as_slice().len()).unwrap_or(u32::MAX),
        waits_ms: claim.waits_ms,
    }
}

/// An object as lists show it.
pub(super) fn listing(known: &KnownObject, object: &ObjectView, viewer: Option<&SystemId>) -> Option<LeaseListing> {
    Some(LeaseListing {
        object: known.uri.clone(),
        twin: known.twins.first()?.0.clone(),
        phase: object.phase,
        holder: object.holder.as_ref().map(|claim| party(&claim.who, claim.priority, viewer)),
        expires_in_ms: object.holder.as_ref().and_then(|claim| Some(claim.grant.as_ref()?.expires_in_ms)),
        waiting: u32::try_from(object.waiting).unwrap_or(u32::MAX),
    })
}

/// Who somebody is, in words.
fn name(who: &Claimant, viewer: Option<&SystemId>) -> String {
    let holder = &who.holder;
    let known = viewer.is_none_or(|viewer| *viewer == holder.system);
    if known {
        let twin = who.twins.first().map(TwinId::as_str).unwrap_or_default();
        format!("`{}` of `{}` (in `{}`, through `{twin}`)", holder.user, holder.system, holder.world)
    } else {
        "a user of another system".to_owned()
    }
}

/// Says in words who has the object and why, who is next, and what may be done now.
fn explain(known: &KnownObject, object: Option<&ObjectView>, viewer: Option<&SystemId>) -> String {
    let mut text = String::new();
    let uri = &known.uri;
    let Some(object) = object else {
        return format!("Nobody ever had `{uri}`. A request is granted at once.");
    };
    let untouched = object.token == Token::NONE && object.waiting == 0;
    let seconds = |ms: u64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
    let holder = object.holder.as_ref();
    let who = holder.map(|claim| name(&claim.who, viewer)).unwrap_or_default();
    let priority = holder.map_or(0, |claim| claim.priority);
    let grant = holder.and_then(|claim| claim.grant.as_ref());
    // Writing into a `String` cannot fail.
    let _ = match (object.phase, grant) {
        (Phase::Held, Some(grant)) => write!(
            text,
            "{who} holds `{uri}` at priority {priority}, for {} more unless the lease is renewed.",
            seconds(grant.expires_in_ms)
        ),
        (Phase::Revoking, Some(grant)) => write!(
            text,
            "{who} holds `{uri}` at priority {priority}, and is being revoked: for {} more only a safe stop and a release are accepted.",
            seconds(grant.revoked_in_ms.unwrap_or_default())
        ),
        (Phase::Fencing, _) if holder.is_some() => write!(
            text,
            "{who} is about to have `{uri}` at priority {priority}: its gate makes sure that nothing older can act any more."
        ),
        (Phase::Quarantined, _) => write!(
            text,
            "The gate of `{uri}` does not answer: its device may still act on earlier commands. Nobody is given the object until the gate answers, or an operator has seen to the device and replaces the gate."
        ),
        (Phase::Fencing, _) => write!(text, "Nobody has `{uri}`; its gate is closing."),
        _ if untouched => write!(text, "Nobody ever had `{uri}`."),
        _ => write!(text, "Nobody has `{uri}`."),
    };
    if object.stop_owed {
        text.push_str(" A safe stop is owed to the device, and comes before anything else.");
    }
    let _ = match object.queue.first() {
        None if object.phase == Phase::Held => write!(
            text,
            " Nobody waits; a request above priority {priority} revokes the lease, any other is refused or waits."
        ),
        None => Ok(()),
        Some(next) => {
            let many = if next.objects.as_slice().len() > 1 {
                ", who wants it together with others and waits until all can be had"
            } else {
                ""
            };
            write!(
                text,
                " Next of {} is {} at priority {}{many}.",
                object.waiting,
                name(&next.who, viewer),
                next.priority
            )
        }
    };
    let kept = object.reservations.iter().min_by_key(|kept| kept.from);
    if let Some(kept) = kept {
        let (by, priority, from, until) = (name(&kept.who, viewer), kept.wanted.priority, kept.from, kept.until);
        let _ = write!(text, " It is reserved by {by} at priority {priority} from {from} to {until}.");
    }
    let _ = match kept {
        _ if object.phase != Phase::Free || !object.queue.is_empty() => Ok(()),
        None => write!(text, " A request is granted at once."),
        Some(kept) => write!(
            text,
            " Until {} a request is granted at once; its lease ends then, unless it is above priority {} or the same user's.",
            kept.from, kept.wanted.priority
        ),
    };
    text
}
