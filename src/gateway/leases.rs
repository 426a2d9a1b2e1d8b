//! MII: sync leases, who is synchronized with a physical object (FGMV-28 7.1.3); and what operators do about them.

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Problem, ProblemKind, TwinId, UserId,
    lease::{RequestId, Token},
    message::{LeaseBooking, LeaseListing, LeaseMoment, LeaseRequest, LeaseView, OperatorAct, SyncLease, WaitingView},
};
use utoipa::ToSchema;

use super::{
    auth::Role,
    call::{Call, JSON, Reply},
    mii::{ACCESS, CURSOR, LIMIT},
    problem::ProblemDocument,
    routes::{Access, Answer, Later, Parameter, Route},
    schemas::{page_of, schema},
    twins::{Changed, TWIN, USER},
};

const OPERATOR: Access = Access::Only(Role::Operator);
const TOKEN: Parameter = Parameter::needed("token", "The lease's token, such as `7.42`.");
const GRANTED: Answer = Answer::new(
    201,
    "It is granted: durable, and the objects are fenced. A request that came again gets its present answer.",
    JSON,
    Some(schema::<SyncLease>),
);
const LISTED: Answer = Answer::new(
    200,
    "A page of objects that somebody has or waits for, or whose gate does not answer.",
    JSON,
    Some(page_of::<LeaseListing>),
);
const SHOWN: Answer = Answer::new(200, "All of it.", JSON, Some(schema::<LeaseView>));
/// The longest reason that an operator can give, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/mii/v1/twins/{id}/sync-lease",
        "requestSyncLease",
        ACCESS,
        "Asks for synchronization with a twin's object for a user (FGMV-28 7.1.3 steps 7 to 10); waits at most `waitMs`.",
    )
    .path_parameters(&[TWIN])
    .body(schema::<LeaseRequest>)
    .answers(&[GRANTED])
    .later(request),
    Route::get(
        "/mii/v1/twins/{id}/sync-lease",
        "readSyncLease",
        ACCESS,
        "What is with a twin's object: who has it, who waits, and what may be done now.",
    )
    .path_parameters(&[TWIN])
    .answers(&[SHOWN])
    .later(read),
    Route::put("/mii/v1/twins/{id}/sync-lease", "renewSyncLease", ACCESS, "Keeps a lease for longer.")
        .path_parameters(&[TWIN])
        .body(schema::<Renewal>)
        .answers(&[Answer::new(200, "It is kept.", JSON, Some(schema::<SyncLease>))])
        .later(renew),
    Route::delete("/mii/v1/twins/{id}/sync-lease", "releaseSyncLease", ACCESS, "Gives the objects of a lease back.")
        .path_parameters(&[TWIN])
        .query(&[USER, TOKEN])
        .answers(&[Answer::empty(204, "They are given back, and their gates have closed.")])
        .later(release),
    Route::post(
        "/mii/v1/twins/{id}/sync-lease/batch",
        "requestSyncLeases",
        ACCESS,
        "Asks for several users at once, who are decided together (FGMV-28 7.1.3 steps 6 to 11): one at most has the object or, with `waitMs`, waits for it.",
    )
    .path_parameters(&[TWIN])
    .body(schema::<Batch>)
    .answers(&[Answer::new(200, "Everyone's own answer; at most one is a lease.", JSON, Some(schema::<Decided>))])
    .later(request_batch),
    Route::post(
        "/mii/v1/twins/{id}/sync-lease/yield",
        "yieldSyncLease",
        ACCESS,
        "Answers all who asked for an object of the lease: gives it up, or declines.",
    )
    .path_parameters(&[TWIN])
    .body(schema::<Yielding>)
    .answers(&[Answer::empty(204, "Those who asked have their answer.")])
    .later(yields),
    Route::get("/mii/v1/twins/{id}/sync-lease/queue", "readSyncLeaseQueue", ACCESS, "Who waits for a twin's object.")
        .path_parameters(&[TWIN])
        .answers(&[Answer::new(200, "Those who wait.", JSON, Some(schema::<Queue>))])
        .later(read_queue),
    Route::get(
        "/mii/v1/twins/{id}/sync-lease/history",
        "readSyncLeaseHistory",
        ACCESS,
        "What happened lately to the lease of a twin's object.",
    )
    .path_parameters(&[TWIN])
    .answers(&[Answer::new(200, "What happened.", JSON, Some(schema::<History>))])
    .later(read_history),
    Route::delete("/mii/v1/lease-requests/{id}", "cancelSyncLeaseRequest", ACCESS, "Wants what waits no more.")
        .path_parameters(&[Parameter::needed("id", "The request's id, a UUID.")])
        .answers(&[Answer::empty(204, "It waits no more.")])
        .later(cancel),
    Route::post(
        "/mii/v1/sync-leases",
        "requestSyncLeaseOfSet",
        ACCESS,
        "Asks for synchronization with the objects of several twins: all of them or nothing.",
    )
    .body(schema::<LeaseRequest>)
    .answers(&[GRANTED])
    .later(request_set),
    Route::get("/mii/v1/sync-leases", "listSyncLeases", ACCESS, "Lists objects that somebody has or waits for.")
        .query(&[CURSOR, LIMIT])
        .answers(&[LISTED])
        .later(list),
    Route::post(
        "/mii/v1/sync-leases/keep-alive",
        "keepSyncLeases",
        ACCESS,
        "Renews every lease of this system, each for as long as it was asked for.",
    )
    .answers(&[Answer::new(200, "They are renewed.", JSON, Some(schema::<Kept>))])
    .later(keep),
    Route::post("/mii/v1/twins/{id}/reservations", "reserveSync", ACCESS, "Has a twin's object kept for later.")
        .path_parameters(&[TWIN])
        .body(schema::<LeaseBooking>)
        .answers(&[Answer::new(201, "It is reserved.", JSON, Some(schema::<Reserved>))])
        .later(reserve),
    Route::delete(
        "/mii/v1/twins/{id}/reservations/{number}",
        "cancelSyncReservation",
        ACCESS,
        "Wants a reservation no more.",
    )
    .path_parameters(&[TWIN, Parameter { number: true, ..Parameter::needed("number", "The reservation's number.") }])
    .answers(&[Answer::empty(204, "It is gone.")])
    .later(cancel_reservation),
    Route::post(
        "/mii/v1/twins/{id}/stop",
        "stopTwin",
        ACCESS,
        "Has a twin's object brought to a safe stop, whoever holds it. The user needs the right `stop`.",
    )
    .path_parameters(&[TWIN])
    .query(&[USER])
    .answers(&[Answer::new(200, "The values that the properties have now.", JSON, Some(schema::<Changed>))])
    // A device must not run on because a disk is full.
    .writes_nothing()
    .later(stop),
];

pub(super) const OPERATOR_ROUTES: &[Route] = &[
    Route::get(
        "/ops/v1/twins/{id}/sync-lease",
        "inspectSyncLease",
        OPERATOR,
        "What is with a twin's object, all names included.",
    )
    .path_parameters(&[TWIN])
    .answers(&[SHOWN])
    .later(inspect),
    Route::post(
        "/ops/v1/twins/{id}/sync-lease/{act}",
        "operateSyncLease",
        OPERATOR,
        "Revokes or clears a lease, or replaces the gate of an object in quarantine. It is written down.",
    )
    .path_parameters(&[
        TWIN,
        Parameter::needed(
            "act",
            "`revoke`: with the grace of its terms; `clear`: at once; `replace-gate`: its device was seen to be at rest.",
        ),
    ])
    .body(schema::<Reason>)
    .answers(&[Answer::empty(204, "It is done.")])
    .later(operate),
    Route::get(
        "/ops/v1/sync-leases",
        "inspectSyncLeases",
        OPERATOR,
        "Lists objects that somebody has or waits for, all names included.",
    )
    .query(&[CURSOR, LIMIT])
    .answers(&[LISTED])
    .later(inspect_all),
];

/// Keeps a lease.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = LeaseRenewal)]
struct Renewal {
    /// The user who holds it.
    user: UserId,
    /// Its token.
    token: Token,
    /// For how long from now on, in milliseconds.
    ttl_ms: u32,
}

/// Answers somebody who asked for the object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = LeaseYielding)]
struct Yielding {
    /// The user who holds it.
    user: UserId,
    /// The lease's token.
    token: Token,
    /// Whether it is given up.
    yields: bool,
}

/// Requests that are decided together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = LeaseBatch)]
struct Batch {
    /// What each user wants.
    requests: Vec<LeaseRequest>,
}

/// What came of requests that were decided together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeaseBatchDecided)]
struct Decided {
    /// In the order of the requests.
    answers: Vec<Decision>,
}

/// What came of one of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LeaseDecision)]
enum Decision {
    /// The lease.
    Lease(Box<SyncLease>),
    /// Why there is none.
    Problem(Box<ProblemDocument>),
}

/// Who waits for an object.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeaseQueue)]
struct Queue {
    /// How many.
    waiting: u32,
    /// First the next; the first hundred.
    queue: Vec<WaitingView>,
}

/// What happened to the lease of an object.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeaseHistory)]
struct History {
    /// The newest last.
    history: Vec<LeaseMoment>,
}

/// The leases of a system are renewed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeasesKept)]
struct Kept {
    /// How many there are.
    leases: u32,
}

/// An object is reserved.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeaseReserved)]
struct Reserved {
    /// The reservation's number.
    id: u64,
}

/// Why an operator does something.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OperatorReason)]
struct Reason {
    /// For those who read the history later.
    reason: String,
}

/// A request for the twin that the path names; it may name it too, but no other.
fn for_twin(mut request: LeaseRequest, twin: &TwinId, pointer: &str) -> Result<LeaseRequest, Problem> {
    if request.twins.is_empty() {
        request.twins.push(twin.clone());
    }
    if request.twins == [twin.clone()] {
        return Ok(request);
    }
    let detail = format!("the path names `{twin}`; a set of twins is asked for at `/mii/v1/sync-leases`");
    Err(Problem::new(ProblemKind::InvalidDocument, detail).at(pointer))
}

/// Waits for what may take as long as others want, unless the daemon ends before.
async fn unless_stopping<T>(call: &Call<'_>, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let mut stopping = call.shared.stopping.subscribe();
    tokio::select! {
        biased;
        answer = work => answer,
        _ = stopping.wait_for(|stopping| *stopping) => {
            let detail = "the daemon is shutting down; the request keeps its place: send it again with its `requestId`";
            Err(Problem::new(ProblemKind::ShuttingDown, detail))
        }
    }
}

async fn grant(call: &Call<'_>, request: LeaseRequest) -> Result<Reply, Problem> {
    let mii = call.mii()?;
    Reply::json(201, &unless_stopping(call, mii.request_lease(request)).await?)
}

fn request(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { grant(&call, for_twin(call.body()?, &call.twin()?, "/twins")?).await })
}

fn request_set(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { grant(&call, call.body()?).await })
}

fn request_batch(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let (Batch { requests }, twin) = (call.body()?, call.twin()?);
        let named = |(n, request)| for_twin(request, &twin, &format!("/requests/{n}/twins"));
        let requests = requests.into_iter().enumerate().map(named).collect::<Result<Vec<_>, _>>()?;
        let mii = call.mii()?;
        let answers = unless_stopping(&call, mii.request_leases(requests)).await?;
        let decision = |answer| match answer {
            Ok(lease) => Decision::Lease(Box::new(lease)),
            Err(problem) => Decision::Problem(Box::new(ProblemDocument::new(problem, None))),
        };
        Reply::json(200, &Decided { answers: answers.into_iter().map(decision).collect() })
    })
}

fn read(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.mii()?.lease(call.twin()?).await?) })
}

fn read_queue(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let LeaseView { waiting, queue, .. } = call.mii()?.lease(call.twin()?).await?;
        Reply::json(200, &Queue { waiting, queue })
    })
}

fn read_history(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let LeaseView { history, .. } = call.mii()?.lease(call.twin()?).await?;
        Reply::json(200, &History { history })
    })
}

fn renew(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let Renewal { user, token, ttl_ms } = call.body()?;
        Reply::json(200, &call.mii()?.renew_lease(user, call.twin()?, token, ttl_ms).await?)
    })
}

fn release(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let text = call.query.get("token").unwrap_or_default();
        let token = text.parse().map_err(|error| invalid(&format!("`token`: {error}")))?;
        call.mii()?.release_lease(call.user()?, call.twin()?, token).await?;
        Ok(Reply::empty(204))
    })
}

fn yields(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let Yielding { user, token, yields } = call.body()?;
        call.mii()?.yield_lease(user, call.twin()?, token, yields).await?;
        Ok(Reply::empty(204))
    })
}

fn cancel(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let id: RequestId = call.segment(0)?.parse().map_err(|error| invalid(&format!("the path's `id`: {error}")))?;
        call.mii()?.cancel_lease_request(id).await?;
        Ok(Reply::empty(204))
    })
}

fn list(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.mii()?.leases(call.text("cursor"), call.limit()?).await?) })
}

fn keep(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &Kept { leases: call.mii()?.keep_leases().await? }) })
}

fn reserve(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let booking: LeaseBooking = call.body()?;
        Reply::json(201, &Reserved { id: call.mii()?.reserve(call.twin()?, booking).await? })
    })
}

fn cancel_reservation(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let text = call.segment(1)?;
        let number = text.parse().map_err(|_| invalid(&format!("`{text}` is not the number of a reservation")))?;
        call.mii()?.cancel_reservation(call.twin()?, number).await?;
        Ok(Reply::empty(204))
    })
}

fn stop(call: Call<'_>) -> Later<'_> {
    Box::pin(
        async move { Reply::json(200, &Changed { values: call.mii()?.stop_twin(call.user()?, call.twin()?).await? }) },
    )
}

fn inspect(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.enabler().lease(call.twin()?).await?) })
}

fn inspect_all(call: Call<'_>) -> Later<'_> {
    Box::pin(async move { Reply::json(200, &call.enabler().leases(call.text("cursor"), call.limit()?).await?) })
}

fn operate(call: Call<'_>) -> Later<'_> {
    Box::pin(async move {
        let act = match call.segment(1)? {
            "revoke" => OperatorAct::Revoke,
            "clear" => OperatorAct::Clear,
            "replace-gate" => OperatorAct::ReplaceGate,
            other => return Err(invalid(&format!("`{other}` is none of `revoke`, `clear` and `replace-gate`"))),
        };
        let Reason { reason } = call.body()?;
        if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
            let detail = format!("a reason has from 1 to {REASON_BYTES_MAX} bytes");
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/reason"));
        }
        // Who did it is the token's name, never something that the caller writes.
        let by = format!("{}: {}", call.known()?.principal.id, reason.trim());
        call.enabler().operate_lease(call.twin()?, act, &by).await?;
        Ok(Reply::empty(204))
    })
}

fn invalid(detail: &str) -> Problem {
    Problem::new(ProblemKind::InvalidQuery, detail)
}
