//! What becomes of a registration (FGMV-29 8.2.1 and 8.3.1).

use reqwest::Method;
use serde::Serialize;
use twinway_protocol::{
    JsonDoc, SystemId, TwinId,
    registry::{Page, Standing, ThirdPartyDescription, ThirdPartyListing, TwinSystemDescription, TwinSystemListing},
    twin::TwinEntry,
};

use super::{Client, ClientError, call::Call};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RenewalBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lifetime_ms: Option<u64>,
}

#[derive(Serialize)]
struct ListChangeBody<'b> {
    twins: &'b [TwinEntry],
    remove: &'b [TwinId],
}

/// The kinds of systems that register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// A digital twin system: DII.
    TwinSystem,
    /// A third-party system: SII.
    ThirdParty,
}

impl Registered {
    fn interface(self) -> &'static str {
        match self {
            Self::TwinSystem => "dii",
            Self::ThirdParty => "sii",
        }
    }
}

/// What both kinds of systems do with their registrations.
impl Client {
    fn registration(&self, method: Method, kind: Registered, id: &SystemId, rest: &[&str]) -> Call<'_> {
        let mut path = vec![kind.interface(), "v1", "systems", id.as_str()];
        path.extend(rest);
        self.call(method, &path)
    }

    /// Describes a twin system anew, with its list of twins; only if its version is `if_version`, when one is named.
    ///
    /// # Errors
    /// Not registered, another version, or an invalid description with its place. Nothing was changed then.
    pub async fn replace_twin_system(
        &self,
        description: &TwinSystemDescription,
        if_version: Option<u64>,
    ) -> Result<TwinSystemListing, ClientError> {
        let call = self.registration(Method::PUT, Registered::TwinSystem, &description.id, &[]);
        call.body(description).if_version(if_version).json().await
    }

    /// Describes a third-party system anew; only if its version is `if_version`, when one is named.
    ///
    /// # Errors
    /// Not registered, another version, or an invalid description with its place. Nothing was changed then.
    pub async fn replace_third_party_system(
        &self,
        description: &ThirdPartyDescription,
        if_version: Option<u64>,
    ) -> Result<ThirdPartyListing, ClientError> {
        let call = self.registration(Method::PUT, Registered::ThirdParty, &description.id, &[]);
        call.body(description).if_version(if_version).json().await
    }

    /// Changes a registration by a JSON merge patch (RFC 7396). Gives it as it is now.
    ///
    /// # Errors
    /// Those of [`Client::replace_twin_system`].
    pub async fn patch_registration(
        &self,
        kind: Registered,
        id: &SystemId,
        patch: &JsonDoc,
        if_version: Option<u64>,
    ) -> Result<JsonDoc, ClientError> {
        let call = self.registration(Method::PATCH, kind, id, &[]).media_type("application/merge-patch+json");
        call.body(patch).if_version(if_version).document().await
    }

    /// Ends a registration, and everything that it maintained.
    ///
    /// # Errors
    /// Not registered, or another version. Nothing was changed then.
    pub async fn deregister(
        &self,
        kind: Registered,
        id: &SystemId,
        if_version: Option<u64>,
    ) -> Result<(), ClientError> {
        self.registration(Method::DELETE, kind, id, &[]).if_version(if_version).done().await
    }

    /// Renews a registration, for as long as it was registered or as `lifetime_ms` says.
    ///
    /// # Errors
    /// Not registered, or a lifetime out of bounds.
    pub async fn renew_registration(
        &self,
        kind: Registered,
        id: &SystemId,
        lifetime_ms: Option<u64>,
    ) -> Result<Standing, ClientError> {
        self.registration(Method::POST, kind, id, &["renew"]).body(&RenewalBody { lifetime_ms }).json().await
    }

    /// Says that a system is there.
    ///
    /// # Errors
    /// Not registered.
    pub async fn heartbeat(&self, kind: Registered, id: &SystemId) -> Result<Standing, ClientError> {
        self.registration(Method::POST, kind, id, &["heartbeat"]).json().await
    }

    /// A page of a twin system's list, as it is registered.
    ///
    /// # Errors
    /// Not registered.
    pub async fn listed_twins(
        &self,
        id: &SystemId,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<TwinEntry>, ClientError> {
        let limit = limit.map(|limit| limit.to_string());
        let call = self.registration(Method::GET, Registered::TwinSystem, id, &["twins"]);
        call.query("cursor", cursor).query("limit", limit.as_deref()).json().await
    }

    /// Changes a part of a twin system's list: lists `twins`, new and changed ones, and lists those in `remove` no more.
    ///
    /// # Errors
    /// Not registered, another version, an invalid entry with its place, or one to remove that is not listed. Nothing was
    /// changed then.
    pub async fn change_listed_twins(
        &self,
        id: &SystemId,
        twins: &[TwinEntry],
        remove: &[TwinId],
        if_version: Option<u64>,
    ) -> Result<TwinSystemListing, ClientError> {
        let call = self.registration(Method::PATCH, Registered::TwinSystem, id, &["twins"]);
        call.body(&ListChangeBody { twins, remove }).if_version(if_version).json().await
    }
}
