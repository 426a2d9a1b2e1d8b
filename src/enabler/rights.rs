//! Rights and characteristics of twins (FGMV-29 8.3.5), refreshing (FGMV-28 REQ-DT-07), events and Thing Models.

use std::sync::Arc;

use twinway_protocol::{
    JsonDoc, PermissionId, Problem, TwinId, UserId,
    access::TwinPermission,
    lease::Synchronization,
    message::{
        CharacteristicsShown, EmitTwinEvent, EmittedEvent, GrantTwinPermission, KeepThingModel, ListTwinPermissions,
        PermissionGrant, PermissionsOf, ReadCharacteristics, ReadThingModel, RefreshTwin, RevokeTwinPermission,
        SetCharacteristics, TwinCharacteristics,
    },
    registry::Page,
};

use super::{Dii, Mii};

/// What a twin can be asked at all, and by whom first.
#[derive(Clone, Debug)]
pub struct Characteristics {
    /// What its object can be asked, and what third-party systems may do with the twin.
    pub characteristics: TwinCharacteristics,
    /// Who is synchronized with the object before whom (FGMV-28 REQ-DT-08); none: nothing was said of it.
    pub synchronization: Option<Arc<Synchronization>>,
    /// The data schemas of its description that judge nothing: where each stands, and why.
    pub unjudged: Vec<(String, String)>,
}

impl From<CharacteristicsShown> for Characteristics {
    fn from(shown: CharacteristicsShown) -> Self {
        let CharacteristicsShown { characteristics, synchronization, unjudged } = shown;
        Self { characteristics: *characteristics, synchronization, unjudged }
    }
}

impl Mii {
    /// The permissions of one of this system's users, ended ones among them.
    ///
    /// # Errors
    /// A cursor that no page before has given.
    pub async fn permissions(
        &self,
        user: UserId,
        cursor: Option<String>,
        limit: Option<u32>,
    ) -> Result<Page<TwinPermission>, Problem> {
        let of = Box::new(PermissionsOf::User(self.id.clone(), user));
        let question = ListTwinPermissions { of, cursor: cursor.map(String::into_boxed_str), limit };
        Ok(self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Has the twin system asked now what a twin's values are (FGMV-28 REQ-DT-07). Gives the version that shows them.
    ///
    /// # Errors
    /// No permission to read the twin, and those of the twin system.
    pub async fn refresh_twin(&self, user: UserId, twin: TwinId) -> Result<u64, Problem> {
        let question = RefreshTwin { metaverse: self.id.clone(), user, twin };
        Ok(self.enabler.ask(self.actor().await?, question).await?.version)
    }
}

impl Dii {
    /// Who may do what with one of its twins.
    ///
    /// # Errors
    /// Not one of its twins.
    pub async fn permissions(
        &self,
        twin: TwinId,
        cursor: Option<String>,
        limit: Option<u32>,
    ) -> Result<Page<TwinPermission>, Problem> {
        let of = Box::new(PermissionsOf::Twin(twin));
        let question = ListTwinPermissions { of, cursor: cursor.map(String::into_boxed_str), limit };
        Ok(self.enabler.look(self.actor().await?, question).await?.page)
    }

    /// Permits something without having been asked, in place of what was permitted before. The user's metaverse system
    /// hears it (`permission.granted`), if it selected the twin.
    ///
    /// # Errors
    /// Not one of its twins, no right, or an end that is over.
    pub async fn grant_permission(&self, twin: TwinId, grant: PermissionGrant) -> Result<TwinPermission, Problem> {
        let question = GrantTwinPermission { twin, grant: Box::new(grant) };
        Ok(*self.enabler.ask(self.actor().await?, question).await?.permission)
    }

    /// Takes a permission back: told by `permission.ended`; a sync lease held under it is revoked.
    ///
    /// # Errors
    /// Not one of its twins, or [`twinway_protocol::ProblemKind::PermissionUnknown`].
    pub async fn revoke_permission(&self, twin: TwinId, permission: PermissionId) -> Result<(), Problem> {
        self.enabler.ask(self.actor().await?, RevokeTwinPermission { twin, permission }).await.map(|_| ())
    }

    /// What one of its twins can be asked at all.
    ///
    /// # Errors
    /// Not one of its twins.
    pub async fn characteristics(&self, twin: TwinId) -> Result<Characteristics, Problem> {
        Ok(self.enabler.look(self.actor().await?, ReadCharacteristics { twin }).await?.into())
    }

    /// Says anew what one of its twins can be asked, until it registers something else of it.
    ///
    /// # Errors
    /// Not one of its twins, properties or actions that it does not have, a period out of bounds.
    pub async fn set_characteristics(
        &self,
        twin: TwinId,
        characteristics: TwinCharacteristics,
    ) -> Result<Characteristics, Problem> {
        let question = SetCharacteristics { twin, characteristics: Box::new(characteristics) };
        Ok(self.enabler.ask(self.actor().await?, question).await?.into())
    }

    /// Tells of an event of one of its twins: it reaches those who selected the twin as `twin.event`.
    ///
    /// # Errors
    /// Not one of its twins, an event that it does not have, or data that its description does not allow.
    pub async fn emit_event(&self, twin: TwinId, event: EmittedEvent) -> Result<(), Problem> {
        self.enabler.ask(self.actor().await?, EmitTwinEvent { twin, emitted: Box::new(event) }).await.map(|_| ())
    }

    /// Registers a Thing Model, by which the system's lists describe twins. The same again changes nothing.
    ///
    /// # Errors
    /// No Thing Model, one that refers to others, another one of this name, or too many.
    pub async fn keep_thing_model(&self, id: &str, model: JsonDoc) -> Result<(), Problem> {
        self.enabler.ask(self.actor().await?, KeepThingModel { id: id.into(), model }).await.map(|_| ())
    }

    /// A Thing Model of its own, byte for byte.
    ///
    /// # Errors
    /// [`twinway_protocol::ProblemKind::ModelUnknown`].
    pub async fn thing_model(&self, id: &str) -> Result<JsonDoc, Problem> {
        Ok(self.enabler.look(self.actor().await?, ReadThingModel { id: id.into() }).await?.model)
    }
}
