//! What a question becomes that is asked of a system's own API, and how its answer is read (FGMV-29 8.2.4): of services, which
//! SDC asks for, and of users' authorizations, which TPSAA does.

use std::sync::Arc;

use serde_json::Value;
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind,
    collaboration::{ApiCall, ApiMapping},
    registry::{Reach, ThirdPartyDescription, ThirdPartySystem},
};

use super::{mapping, transform::Names};

/// How the answer of a system's own API is read.
#[derive(Debug)]
pub(crate) struct Conversion {
    mapping: Arc<ApiMapping>,
    names: Names,
    at: String,
}

/// All mappings that a system registered.
fn registered(description: &ThirdPartyDescription) -> impl Iterator<Item = &Arc<ApiMapping>> {
    description.apis.iter().filter_map(|api| api.mapping.as_ref()).chain(&description.authorization)
}

/// Makes the request of the system's own API, by a mapping that stands at `at`. `own` is the one that the system registered
/// for this very question.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`] when the data does not fit the mapping, or nobody said where the API is.
pub(crate) fn prepare<const N: usize>(
    system: &ThirdPartySystem,
    own: Option<&Arc<ApiMapping>>,
    (mapping, at): (&Arc<ApiMapping>, &str),
    names: [(&str, Value); N],
) -> Result<(ApiCall, Conversion), Problem> {
    // Where the API is, is the system's own to say: of this question, of any, or by its webhook.
    let description = &system.description;
    let base = own.and_then(|mapping| mapping.base.as_deref());
    let base = base.or_else(|| registered(description).find_map(|mapping| mapping.base.as_deref()));
    let base = match (base, &description.reach) {
        (Some(base), _) => base,
        (None, Reach::Webhook(url)) => url.as_str(),
        (None, Reach::Session) => {
            let detail = format!("`{}` did not say where its API is: it has no webhook", description.id);
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at(at));
        }
    };
    let names: Names = names.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let call = mapping::call(mapping, base, &names, at)?;
    Ok((call, Conversion { mapping: Arc::clone(mapping), names, at: at.to_owned() }))
}

impl Conversion {
    /// What the API's answer comes to. With the status that it had, if it had one that could be read.
    ///
    /// # Errors
    /// Those of [`mapping::outcome`].
    pub(crate) fn read(self, answer: &JsonDoc) -> (Option<u64>, Result<Value, Problem>) {
        let Self { mapping, mut names, at } = self;
        let outcome = mapping::outcome(&mapping, answer, &mut names, &at);
        (names.get("status").and_then(Value::as_u64), outcome)
    }
}
