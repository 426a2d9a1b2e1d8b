//! Rights and characteristics of twins, refreshing, events and Thing Models.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use twinway_protocol::{
    JsonDoc, PermissionId, TwinId, UserId,
    access::TwinPermission,
    lease::Synchronization,
    message::{EmittedEvent, PermissionGrant, TwinCharacteristics},
    registry::Page,
};

use super::{Client, ClientError, mii::paged};

#[derive(Deserialize)]
struct VersionBody {
    version: u64,
}

#[derive(Serialize)]
struct ModelBody<'b> {
    id: &'b str,
    model: &'b JsonDoc,
}

/// What a twin can be asked at all, and by whom first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwinRules {
    /// What its object can be asked, and what third-party systems may do with the twin.
    pub characteristics: TwinCharacteristics,
    /// Who is synchronized with the object before whom: by user, role and world; absent: nothing was said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synchronization: Option<Synchronization>,
    /// Data schemas of the description that judge nothing.
    pub unjudged: Vec<UnjudgedSchema>,
}

/// A data schema that judges nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnjudgedSchema {
    /// Where it stands in the description.
    pub pointer: String,
    /// Why.
    pub why: String,
}

/// Rights, refreshing, events and Thing Models. Their errors are those of [`ClientError`].
impl Client {
    /// What a user of this metaverse system may do with twins.
    ///
    /// # Errors
    /// A cursor that no page before has given.
    pub async fn permissions(
        &self,
        user: &UserId,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<TwinPermission>, ClientError> {
        let call = self.get(&["mii", "v1", "permissions"]).query("user", Some(user.as_str()));
        paged(call, cursor, limit).json().await
    }

    /// Has the twin system asked now what a twin's values are. Gives the version that shows them.
    ///
    /// # Errors
    /// No permission to read the twin, and those of the twin system.
    pub async fn refresh_twin(&self, user: &UserId, twin: &TwinId) -> Result<u64, ClientError> {
        let call = self.post(&["mii", "v1", "twins", twin.as_str(), "refresh"]).query("user", Some(user.as_str()));
        Ok(call.json::<VersionBody>().await?.version)
    }

    /// As a twin system: who may do what with a twin.
    ///
    /// # Errors
    /// Not one of its twins.
    pub async fn permissions_on(
        &self,
        twin: &TwinId,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<TwinPermission>, ClientError> {
        paged(self.get(&["dii", "v1", "twins", twin.as_str(), "permissions"]), cursor, limit).json().await
    }

    /// As a twin system: permits a user something, in place of what was permitted before.
    ///
    /// # Errors
    /// Not one of its twins, no right, or an end that is over.
    pub async fn grant_permission(
        &self,
        twin: &TwinId,
        grant: &PermissionGrant,
    ) -> Result<TwinPermission, ClientError> {
        self.call(Method::PUT, &["dii", "v1", "twins", twin.as_str(), "permissions"]).body(grant).json().await
    }

    /// As a twin system: takes a permission back.
    ///
    /// # Errors
    /// Not one of its twins, or no such permission.
    pub async fn revoke_permission(&self, twin: &TwinId, permission: &PermissionId) -> Result<(), ClientError> {
        let path = ["dii", "v1", "twins", twin.as_str(), "permissions", permission.as_str()];
        self.call(Method::DELETE, &path).done().await
    }

    /// As a twin system: what a twin can be asked at all (FGMV-29 8.3.5), and who is synchronized with its object first.
    ///
    /// # Errors
    /// Not one of its twins.
    pub async fn characteristics(&self, twin: &TwinId) -> Result<TwinRules, ClientError> {
        self.get(&["dii", "v1", "twins", twin.as_str(), "characteristics"]).json().await
    }

    /// As a twin system: says anew what a twin can be asked, by a JSON merge patch, until it registers something else of
    /// it. Who comes first is said by [`Client::set_synchronization`].
    ///
    /// # Errors
    /// Not one of its twins, properties or actions that it does not have, a period out of bounds. Nothing was changed then.
    pub async fn change_characteristics(&self, twin: &TwinId, patch: &JsonDoc) -> Result<TwinRules, ClientError> {
        let path = ["dii", "v1", "twins", twin.as_str(), "characteristics"];
        let call = self.call(Method::PATCH, &path).media_type("application/merge-patch+json");
        call.body(patch).json().await
    }

    /// As a twin system: tells of an event of a twin.
    ///
    /// # Errors
    /// Not one of its twins, an event that it does not have, or data that its description does not allow.
    pub async fn emit_event(&self, twin: &TwinId, event: &EmittedEvent) -> Result<(), ClientError> {
        self.post(&["dii", "v1", "twins", twin.as_str(), "events"]).body(event).done().await
    }

    /// As a twin system: registers a Thing Model, by which its lists describe twins.
    ///
    /// # Errors
    /// No Thing Model, one that refers to others, or another one of this name.
    pub async fn register_thing_model(&self, id: &str, model: &JsonDoc) -> Result<(), ClientError> {
        self.post(&["dii", "v1", "thing-models"]).body(&ModelBody { id, model }).done().await
    }

    /// As a twin system: a Thing Model that it registered, byte for byte.
    ///
    /// # Errors
    /// It registered none of this name.
    pub async fn thing_model(&self, id: &str) -> Result<JsonDoc, ClientError> {
        self.get(&["dii", "v1", "thing-models", id]).document().await
    }
}
