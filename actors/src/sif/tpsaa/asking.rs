//! Asking a third-party system what a user may do, in its own shape if it has one (FGMV-29 9.1 steps 7 and 8).

use serde_json::json;
use twinway_protocol::{
    PermissionId, Problem, ProblemKind, SystemId,
    access::AuthorizationDecision,
    collaboration::ApiCall,
    message::{RequestUserAuthorization, UserAndPermissionInformation},
    registry::ThirdPartySystem,
};

use crate::sif::converting::{self, Conversion};

/// Makes the request of the system's own API, if it registered how that is asked.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`] when the request does not fit the mapping, or the system did not say where its API is.
pub(super) fn prepare(
    system: &ThirdPartySystem,
    id: &PermissionId,
    request: &RequestUserAuthorization,
) -> Result<Option<(ApiCall, Conversion)>, Problem> {
    let Some(mapping) = &system.description.authorization else { return Ok(None) };
    let names = [
        ("input", json!({ "authorization": id, "scope": &*request.scope })),
        ("user", request.user.as_str().into()),
        ("metaverse", request.metaverse.as_str().into()),
        ("idempotencyKey", id.as_str().into()),
    ];
    converting::prepare(system, Some(mapping), (mapping, ""), names).map(Some)
}

/// What the system decided: as it said, or as its API's answer is to be read. An API that refuses, and is well, denies.
///
/// # Errors
/// Those of the mapping; [`ProblemKind::OutsideFailed`] when what it comes to is no decision.
pub(super) fn read(
    system: &SystemId,
    information: UserAndPermissionInformation,
    conversion: Option<Conversion>,
) -> Result<AuthorizationDecision, Problem> {
    let failed = |detail: String| Problem::new(ProblemKind::OutsideFailed, format!("`{system}`: {detail}"));
    let (answer, conversion) = match (information, conversion) {
        (UserAndPermissionInformation::Decision(decision), _) => return Ok(decision),
        (UserAndPermissionInformation::Answered(answer), Some(conversion)) => (answer, conversion),
        (UserAndPermissionInformation::Answered(_), None) => {
            return Err(failed("it was not asked by its API".to_owned()));
        }
    };
    match conversion.read(&answer) {
        (_, Ok(value)) => {
            serde_json::from_value(value).map_err(|error| failed(format!("this is no decision: {error}")))
        }
        // From 500 on it is not well: that says nothing of the user.
        (Some(..500), Err(problem)) if problem.kind == ProblemKind::OutsideFailed => {
            Ok(AuthorizationDecision::Denied(problem.detail))
        }
        (_, Err(problem)) => Err(problem),
    }
}
