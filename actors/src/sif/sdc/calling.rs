//! Asking a third-party system, in its own shape if it has one (FGMV-29 8.2.4, 9.1 steps 14 and 14x).

use std::sync::Arc;

use serde_json::Value;
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind, SystemId,
    collaboration::{ApiCall, ApiMapping},
    message::{ServiceExecuted, ServiceRequest},
    registry::ThirdPartySystem,
};

use super::SHARE;
use crate::sif::{
    converting::{self, Conversion},
    transform::{self, value},
};

/// What a mapping's expressions know of a request, beside its input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'f> {
    pub(super) metaverse: &'f SystemId,
    pub(super) user: &'f str,
    pub(super) information: &'f JsonDoc,
    pub(super) key: &'f str,
}

/// The operation that a request counts as.
pub(super) fn operation(request: &ServiceRequest) -> &str {
    match request {
        ServiceRequest::Use { operation, .. } => operation,
        ServiceRequest::Share { .. } => SHARE,
    }
}

/// # Errors
/// [`ProblemKind::InvalidDocument`] when the system says what it offers, and this is not among it.
pub(super) fn offers(system: &ThirdPartySystem, operation: &str) -> Result<(), Problem> {
    let apis = &system.description.apis;
    if operation == SHARE || apis.is_empty() || apis.iter().any(|api| api.operation == operation) {
        return Ok(());
    }
    let detail = format!("`{}` offers no operation `{operation}`", system.description.id);
    Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/operation"))
}

/// Makes the request of the system's own API, if it is to be called so: by the mapping of the request, or else by the
/// one that the system registered.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`] when the data does not fit the mapping, or nobody said where the API is.
pub(super) fn prepare(
    system: &ThirdPartySystem,
    own: Option<(&Arc<ApiMapping>, &str)>,
    request: &ServiceRequest,
    facts: Facts<'_>,
) -> Result<Option<(ApiCall, Conversion)>, Problem> {
    let operation = operation(request);
    let apis = &system.description.apis;
    let registered = apis.iter().find(|api| api.operation == operation).and_then(|api| api.mapping.as_ref());
    let Some((mapping, at)) = own.or(registered.map(|mapping| (mapping, ""))) else { return Ok(None) };
    let (input, topic) = match request {
        ServiceRequest::Use { input, .. } => (value(input), Value::Null),
        ServiceRequest::Share { topic, data } => (value(data), Value::String(topic.to_string())),
    };
    let names = [
        ("input", input),
        ("topic", topic),
        ("user", facts.user.into()),
        ("userInformation", value(facts.information)),
        ("metaverse", facts.metaverse.as_str().into()),
        ("operation", operation.into()),
        ("idempotencyKey", facts.key.into()),
    ];
    converting::prepare(system, registered, (mapping, at), names).map(Some)
}

/// What came of it: as the system said, or as its API's answer is to be read.
///
/// # Errors
/// The system's own, and those of the mapping.
pub(super) fn converted(
    answer: Result<ServiceExecuted, Problem>,
    conversion: Option<Conversion>,
) -> Result<JsonDoc, Problem> {
    let output = answer?.output;
    let Some(conversion) = conversion else { return Ok(output) };
    transform::document(&conversion.read(&output).1?, usize::MAX)
}
