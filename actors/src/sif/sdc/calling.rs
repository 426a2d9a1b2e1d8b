//! Asking a third-party system, in its own shape if it has one (FGMV-29 8.2.4, 9.1 steps 14 and 14x).

use std::sync::Arc;

use serde_json::Value;
use twinway_protocol::{
    JsonDoc, Out, Problem, ProblemKind, SystemId,
    collaboration::{ApiCall, ApiMapping},
    message::{ServiceExecuted, ServiceRequest},
    registry::{Reach, ThirdPartySystem},
    signal::Signal,
};

use super::{SHARE, Sdc, circuit::is_failure};
use crate::sif::{
    mapping,
    transform::{self, Names, value},
};

/// How the answer of a system's own API is read.
#[derive(Debug)]
pub(super) struct Conversion {
    mapping: Arc<ApiMapping>,
    names: Names,
    at: String,
}

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
    // Where the API is, is the system's own to say: of this operation, of any, or by its webhook.
    let base = registered.and_then(|mapping| mapping.base.as_deref());
    let base = base.or_else(|| apis.iter().find_map(|api| api.mapping.as_ref()?.base.as_deref()));
    let base = match (base, &system.description.reach) {
        (Some(base), _) => base,
        (None, Reach::Webhook(url)) => url.as_str(),
        (None, Reach::Session) => {
            let detail = format!("`{}` did not say where its API is: it has no webhook", system.description.id);
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at(at));
        }
    };
    let (input, topic) = match request {
        ServiceRequest::Use { input, .. } => (value(input), Value::Null),
        ServiceRequest::Share { topic, data } => (value(data), Value::String(topic.to_string())),
    };
    let mut names = Names::new();
    for (name, value) in [
        ("input", input),
        ("topic", topic),
        ("user", facts.user.into()),
        ("userInformation", value(facts.information)),
        ("metaverse", facts.metaverse.as_str().into()),
        ("operation", operation.into()),
        ("idempotencyKey", facts.key.into()),
    ] {
        names.insert(name.to_owned(), value);
    }
    let call = mapping::call(mapping, base, &names, at)?;
    Ok(Some((call, Conversion { mapping: Arc::clone(mapping), names, at: at.to_owned() })))
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
    let Some(Conversion { mapping, mut names, at }) = conversion else { return Ok(output) };
    let value = mapping::outcome(&mapping, &output, &mut names, &at)?;
    transform::document(&value, usize::MAX)
}

impl Sdc {
    /// Whether the system is called at all now.
    ///
    /// # Errors
    /// [`ProblemKind::OutsideUnreachable`] while its circuit is open: nothing is sent.
    pub(super) fn admit(&mut self, system: &SystemId, out: &Out<'_, Self>) -> Result<(), Problem> {
        match self.circuits.get_mut(system) {
            Some(circuit) => circuit.admit(out.now().monotonic_ms, &self.settings),
            None => Ok(()),
        }
    }

    /// Its circuit hears what became of a call.
    pub(super) fn heard_of(&mut self, system: &SystemId, answer: Result<(), &Problem>, out: &mut Out<'_, Self>) {
        let failed = answer.is_err_and(is_failure);
        if !failed && !self.circuits.contains_key(system) {
            return;
        }
        let circuit = self.circuits.entry(system.clone()).or_default();
        let changed = circuit.heard(failed, out.now().monotonic_ms, &self.settings);
        let open = circuit.is_open();
        if !failed {
            // A circuit that is closed and has seen no failure is like none.
            self.circuits.remove(system);
        }
        if changed {
            out.signal(Signal::Circuit { system: system.clone(), open });
        }
    }
}
