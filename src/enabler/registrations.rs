//! What becomes of a registration, for both kinds of systems that register (FGMV-29 8.2.1 and 8.3.1).

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use twinway_protocol::{
    JsonDoc, Problem, ProblemKind, SystemId, TwinId, merge_patch,
    message::{
        ChangeTwinList, Deregister, Heartbeat, ListOwnTwins, RenewRegistration, ThirdPartySystemRegistered,
        TwinSystemRegistered, UpdateThirdPartySystem, UpdateTwinSystem,
    },
    registry::{Page, Standing, ThirdPartyDescription, TwinSystemDescription},
    twin::TwinEntry,
};

use super::{Dii, Sii};
use crate::outside::check_reach;

/// How often a patch is applied anew when somebody else changed the registration meanwhile.
const PATCH_TRIES_MAX: usize = 8;

/// What a description becomes by a merge patch.
fn patched<T: Serialize + DeserializeOwned>(description: &T, patch: &JsonDoc) -> Result<T, Problem> {
    let refused = |error: serde_json::Error| Problem::new(ProblemKind::InvalidDocument, error.to_string());
    let mut document = serde_json::to_value(description).map_err(refused)?;
    let patch: serde_json::Value = patch.read().map_err(refused)?;
    if !patch.is_object() {
        return Err(Problem::new(ProblemKind::InvalidDocument, "a merge patch of a registration is an object").at(""));
    }
    merge_patch(&mut document, patch);
    serde_json::from_value(document).map_err(refused)
}

/// Whether a patch is to be applied anew: nobody named a version, and somebody else was faster.
fn again(outcome: &Result<impl Sized, Problem>, if_version: Option<u64>, tries: usize) -> bool {
    let lost = outcome.as_ref().is_err_and(|problem| problem.kind == ProblemKind::VersionMismatch);
    lost && if_version.is_none() && tries < PATCH_TRIES_MAX
}

fn unknown(id: &SystemId) -> Problem {
    Problem::new(ProblemKind::SystemUnknown, format!("no system `{id}` is registered"))
}

impl Sii {
    /// Describes the system anew, in whole (FGMV-29 8.2.1).
    ///
    /// # Errors
    /// Not registered, another version than `if_version`, or an invalid description with its place. Nothing was changed
    /// then.
    pub async fn update(
        &self,
        description: ThirdPartyDescription,
        if_version: Option<u64>,
    ) -> Result<ThirdPartySystemRegistered, Problem> {
        super::same_id(&self.id, &description.id)?;
        check_reach(&description.reach).map_err(|problem| problem.at("/reach/webhook"))?;
        let question = UpdateThirdPartySystem { description: Box::new(description), if_version };
        self.enabler.ask(self.actor().await?, question).await
    }

    /// Changes the description by a JSON merge patch (RFC 7396).
    ///
    /// # Errors
    /// Those of [`Sii::update`].
    pub async fn patch(&self, patch: &JsonDoc, if_version: Option<u64>) -> Result<ThirdPartySystemRegistered, Problem> {
        for tries in 1.. {
            let system = self.enabler.outside().third_party_system(&self.id).ok_or_else(|| unknown(&self.id))?;
            let description = patched(&system.description, patch)?;
            let outcome = self.update(description, if_version.or(Some(system.version))).await;
            if !again(&outcome, if_version, tries) {
                return outcome;
            }
        }
        Err(unknown(&self.id))
    }

    /// Ends the registration: users' authorizations end with it, and what the system was being asked is refused.
    ///
    /// # Errors
    /// Not registered, or another version than `if_version`. Nothing was changed then.
    pub async fn deregister(&self, if_version: Option<u64>) -> Result<(), Problem> {
        let question = Deregister { system: self.id.clone(), if_version };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }

    /// Renews the registration, for as long as it was registered or as `lifetime_ms` says.
    ///
    /// # Errors
    /// Not registered, or a lifetime out of bounds.
    pub async fn renew(&self, lifetime_ms: Option<u64>) -> Result<Arc<Standing>, Problem> {
        let question = RenewRegistration { system: self.id.clone(), lifetime_ms };
        Ok(self.enabler.ask(self.actor().await?, question).await?.standing)
    }

    /// Says that the system is there. It renews no lifetime.
    ///
    /// # Errors
    /// Not registered.
    pub async fn heartbeat(&self) -> Result<Arc<Standing>, Problem> {
        let question = Heartbeat { system: self.id.clone() };
        Ok(self.enabler.ask(self.actor().await?, question).await?.standing)
    }
}

impl Dii {
    /// Describes the system anew, in whole, with its list of twins (FGMV-29 8.3.1). What changes in the list is carried
    /// out; what stays costs nothing.
    ///
    /// # Errors
    /// Not registered, another version than `if_version`, an invalid description with its place, or a twin or object of
    /// another system. Nothing was changed then.
    pub async fn update(
        &self,
        description: TwinSystemDescription,
        if_version: Option<u64>,
    ) -> Result<TwinSystemRegistered, Problem> {
        self.update_as(description, true, if_version).await
    }

    async fn update_as(
        &self,
        description: TwinSystemDescription,
        with_twins: bool,
        if_version: Option<u64>,
    ) -> Result<TwinSystemRegistered, Problem> {
        super::same_id(&self.id, &description.id)?;
        check_reach(&description.reach).map_err(|problem| problem.at("/reach/webhook"))?;
        let question = UpdateTwinSystem { description: Box::new(description), with_twins, if_version };
        self.enabler.ask(self.actor().await?, question).await
    }

    /// Changes the description by a JSON merge patch (RFC 7396). The list of twins stays unless the patch has `twins`,
    /// which replaces it.
    ///
    /// # Errors
    /// Those of [`Dii::update`].
    pub async fn patch(&self, patch: &JsonDoc, if_version: Option<u64>) -> Result<TwinSystemRegistered, Problem> {
        let members: std::collections::BTreeMap<String, JsonDoc> = patch.read().map_err(|_| {
            Problem::new(ProblemKind::InvalidDocument, "a merge patch of a registration is an object").at("")
        })?;
        let with_twins = members.contains_key("twins");
        for tries in 1.. {
            let system = self.enabler.outside().twin_system(&self.id).ok_or_else(|| unknown(&self.id))?;
            let mut description = patched(&system.description, patch)?;
            if with_twins {
                // Descriptions of twins are kept as they came: they must not go through the patch.
                description.twins = match members.get("twins") {
                    Some(twins) => twins
                        .read::<Option<Vec<Arc<TwinEntry>>>>()
                        .map_err(|error| Problem::new(ProblemKind::InvalidDocument, error.to_string()).at("/twins"))?,
                    None => None,
                }
                .unwrap_or_default();
            }
            let outcome = self.update_as(description, with_twins, if_version.or(Some(system.version))).await;
            if !again(&outcome, if_version, tries) {
                return outcome;
            }
        }
        Err(unknown(&self.id))
    }

    /// Changes a part of the list of twins: lists `twins`, new ones and changed ones, and lists those in `remove` no more.
    ///
    /// # Errors
    /// Not registered, another version than `if_version`, an invalid entry with its place, a twin or object of another
    /// system, or one to remove that is not listed. Nothing was changed then.
    pub async fn change_twins(
        &self,
        twins: Vec<TwinEntry>,
        remove: Vec<TwinId>,
        if_version: Option<u64>,
    ) -> Result<TwinSystemRegistered, Problem> {
        let twins = twins.into_iter().map(Arc::new).collect();
        let question = ChangeTwinList { system: self.id.clone(), twins, remove, if_version };
        self.enabler.ask(self.actor().await?, question).await
    }

    /// A page of the list of twins, as it is registered, in the order of ids.
    ///
    /// # Errors
    /// Not registered, or a cursor that no page gave.
    pub async fn twins(&self, cursor: Option<&str>, limit: Option<u32>) -> Result<Page<Arc<TwinEntry>>, Problem> {
        let question = ListOwnTwins { system: self.id.clone(), cursor: cursor.map(Into::into), limit };
        Ok(self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Ends the registration: selections of its twins, permissions on them and leases of their objects end, then the
    /// twins.
    ///
    /// # Errors
    /// Not registered, or another version than `if_version`. Nothing was changed then.
    pub async fn deregister(&self, if_version: Option<u64>) -> Result<(), Problem> {
        let question = Deregister { system: self.id.clone(), if_version };
        self.enabler.ask_within(self.actor().await?, question, self.enabler.inner.handover_within).await.map(|_| ())
    }

    /// Renews the registration, for as long as it was registered or as `lifetime_ms` says.
    ///
    /// # Errors
    /// Not registered, or a lifetime out of bounds.
    pub async fn renew(&self, lifetime_ms: Option<u64>) -> Result<Arc<Standing>, Problem> {
        let question = RenewRegistration { system: self.id.clone(), lifetime_ms };
        Ok(self.enabler.ask(self.actor().await?, question).await?.standing)
    }

    /// Says that the system is there. It renews no lifetime.
    ///
    /// # Errors
    /// Not registered.
    pub async fn heartbeat(&self) -> Result<Arc<Standing>, Problem> {
        let question = Heartbeat { system: self.id.clone() };
        Ok(self.enabler.ask(self.actor().await?, question).await?.standing)
    }
}
