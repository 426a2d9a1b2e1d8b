//! What a metaverse system and its users' devices can do (MII).

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde::{Deserialize, Serialize};
use twinway_protocol::{
    JsonDoc, PermissionId, SystemId, TwinId, UserId,
    access::{Right, TwinPermission, UserAuthorization},
    lease::Token,
    message::{ChangeTerms, PropertyValues},
    registry::{Page, Reach, SystemQuery, ThirdPartyListing, TwinQuery, TwinSystemListing},
    twin::{PropertyValue, TwinListing, TwinView},
};

use super::{Client, ClientError, Granted, call::Call};

const MERGE_PATCH: &str = "application/merge-patch+json";

#[derive(Serialize)]
struct AuthorizationBody<'b> {
    system: &'b SystemId,
    user: &'b UserId,
    scope: &'b BTreeSet<String>,
}

#[derive(Serialize)]
struct ServiceCallBody<'b> {
    system: &'b SystemId,
    user: &'b UserId,
    operation: &'b str,
    input: &'b JsonDoc,
}

#[derive(Serialize)]
struct DataShareBody<'b> {
    system: &'b SystemId,
    user: &'b UserId,
    topic: &'b str,
    data: &'b JsonDoc,
}

#[derive(Deserialize)]
struct OutputBody {
    output: JsonDoc,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SelectionBody<'b> {
    select: &'b [TwinId],
    release: &'b [TwinId],
    #[serde(skip_serializing_if = "Option::is_none")]
    period_ms: Option<u32>,
}

#[derive(Deserialize)]
struct SelectedBody {
    selected: Vec<TwinId>,
}

#[derive(Serialize)]
struct PermissionBody<'b> {
    user: &'b UserId,
    twins: &'b [TwinId],
    rights: &'b BTreeSet<Right>,
}

#[derive(Serialize)]
struct RunBody<'b> {
    twins: &'b [TwinId],
}

#[derive(Deserialize)]
pub(super) struct ValuesBody {
    pub(super) values: PropertyValues,
}

#[derive(Serialize)]
struct MessageBody<'b> {
    user: &'b UserId,
    from: &'b TwinId,
    content: &'b JsonDoc,
}

#[derive(Serialize)]
struct DeviceBody<'b> {
    metaverse: &'b SystemId,
}

pub(super) fn paged<'c>(call: Call<'c>, cursor: Option<&str>, limit: Option<u32>) -> Call<'c> {
    let limit = limit.map(|limit| limit.to_string());
    call.query("cursor", cursor).query("limit", limit.as_deref())
}

fn searched<'c>(call: Call<'c>, query: &SystemQuery) -> Call<'c> {
    let call = call
        .query("type", query.system_type.as_deref())
        .query("text", query.text.as_deref())
        .query("filter", query.filter.as_deref())
        .query("sort", query.sort.as_deref())
        .query("operation", query.operation.as_deref())
        .query("physicalObject", query.physical_object.as_deref());
    paged(call, query.cursor.as_deref(), query.limit)
}

/// The routes of the MII. Their errors are those of [`ClientError`]; which problems a route knows, `/openapi.json` lists.
impl Client {
    /// Searches for third-party systems (FGMV-29 9.1 steps 4 and 5).
    ///
    /// # Errors
    /// A query that is not acceptable, and those of every request.
    pub async fn search_third_party_systems(
        &self,
        query: &SystemQuery,
    ) -> Result<Page<ThirdPartyListing>, ClientError> {
        searched(self.get(&["mii", "v1", "third-party-systems"]), query).json().await
    }

    /// Asks that `user` may use a third-party system (9.1 steps 6 to 10). The decision may be pending.
    ///
    /// # Errors
    /// Unknown system, denied, or the system fails, cannot be reached or does not answer in time.
    pub async fn request_user_authorization(
        &self,
        system: &SystemId,
        user: &UserId,
        scope: &BTreeSet<String>,
    ) -> Result<UserAuthorization, ClientError> {
        let body = AuthorizationBody { system, user, scope };
        self.post(&["mii", "v1", "user-authorizations"]).body(&body).json().await
    }

    /// Reads an authorization again.
    ///
    /// # Errors
    /// When this system has no such authorization.
    pub async fn user_authorization(&self, id: &PermissionId) -> Result<UserAuthorization, ClientError> {
        self.get(&["mii", "v1", "user-authorizations", id.as_str()]).json().await
    }

    /// Runs a service with a third-party system (9.1 steps 11 to 14x) and gives its output.
    ///
    /// # Errors
    /// The rejecting branch of step 14, and those of the system itself.
    pub async fn use_third_party_system(
        &self,
        system: &SystemId,
        user: &UserId,
        operation: &str,
        input: &JsonDoc,
    ) -> Result<JsonDoc, ClientError> {
        let body = ServiceCallBody { system, user, operation, input };
        let answer: OutputBody = self.post(&["mii", "v1", "service-calls"]).body(&body).json().await?;
        Ok(answer.output)
    }

    /// Shares data with a third-party system (9.1 steps 11 to 14x) and gives its output.
    ///
    /// # Errors
    /// As for [`Client::use_third_party_system`].
    pub async fn share_data(
        &self,
        system: &SystemId,
        user: &UserId,
        topic: &str,
        data: &JsonDoc,
    ) -> Result<JsonDoc, ClientError> {
        let body = DataShareBody { system, user, topic, data };
        let answer: OutputBody = self.post(&["mii", "v1", "data-shares"]).body(&body).json().await?;
        Ok(answer.output)
    }

    /// Searches for digital twin systems (9.2 steps 4 and 5).
    ///
    /// # Errors
    /// A query that is not acceptable, and those of every request.
    pub async fn search_twin_systems(&self, query: &SystemQuery) -> Result<Page<TwinSystemListing>, ClientError> {
        searched(self.get(&["mii", "v1", "twin-systems"]), query).json().await
    }

    /// Lists the twins of a system, or of all (9.2 steps 6 and 7).
    ///
    /// # Errors
    /// Unknown system.
    pub async fn list_twins(
        &self,
        system: Option<&SystemId>,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<TwinListing>, ClientError> {
        let (system, cursor) = (system.cloned(), cursor.map(str::to_owned));
        self.search_twins(&TwinQuery { system, cursor, limit, ..TwinQuery::default() }).await
    }

    /// Searches for twins (9.2 steps 6 and 7), in their entries and Thing Descriptions.
    ///
    /// # Errors
    /// Unknown system, a filter with a mistake (with its place), a cursor that is not known any more.
    pub async fn search_twins(&self, query: &TwinQuery) -> Result<Page<TwinListing>, ClientError> {
        let call = match &query.system {
            Some(system) => self.get(&["mii", "v1", "twin-systems", system.as_str(), "twins"]),
            None => self.get(&["mii", "v1", "twins"]),
        };
        let call = call
            .query("physicalObject", query.physical_object.as_deref())
            .query("text", query.text.as_deref())
            .query("filter", query.filter.as_deref())
            .query("sort", query.sort.as_deref());
        paged(call, query.cursor.as_deref(), query.limit).json().await
    }

    /// Selects twins and lets others go (9.2 steps 6 and 7), all of it or nothing. Gives all that are selected now.
    ///
    /// # Errors
    /// Unknown twins, too many twins.
    pub async fn select_twins(&self, select: &[TwinId], release: &[TwinId]) -> Result<Vec<TwinId>, ClientError> {
        self.select_twins_every(select, release, None).await
    }

    /// The same, and says how often this system wants the values of `select` asked for (FGMV-28 REQ-DT-07): every
    /// `period_ms` milliseconds; 0: not of itself; none: as it said before.
    ///
    /// # Errors
    /// As for [`Client::select_twins`], and a period out of bounds.
    pub async fn select_twins_every(
        &self,
        select: &[TwinId],
        release: &[TwinId],
        period_ms: Option<u32>,
    ) -> Result<Vec<TwinId>, ClientError> {
        let body = SelectionBody { select, release, period_ms };
        let answer: SelectedBody = self.post(&["mii", "v1", "selections"]).body(&body).json().await?;
        Ok(answer.selected)
    }

    /// Asks for the properties of selected twins and for permission (9.2 steps 8 to 12).
    ///
    /// # Errors
    /// A twin is not selected; when all were refused for one reason, that reason.
    pub async fn request_permission(
        &self,
        user: &UserId,
        twins: &[TwinId],
        rights: &BTreeSet<Right>,
    ) -> Result<Granted, ClientError> {
        self.post(&["mii", "v1", "permissions"]).body(&PermissionBody { user, twins, rights }).json().await
    }

    /// What `user` may do with a twin.
    ///
    /// # Errors
    /// No permission, or an expired one.
    pub async fn permission(&self, user: &UserId, twin: &TwinId) -> Result<TwinPermission, ClientError> {
        let path = ["mii", "v1", "twins", twin.as_str(), "permission"];
        self.get(&path).query("user", Some(user.as_str())).json().await
    }

    /// Says that this system runs its service with these twins (9.2 step 13).
    ///
    /// # Errors
    /// Those of every request.
    pub async fn run_service(&self, twins: &[TwinId]) -> Result<(), ClientError> {
        self.post(&["mii", "v1", "runs"]).body(&RunBody { twins }).done().await
    }

    /// A twin as it is published.
    ///
    /// # Errors
    /// Unknown twin.
    pub async fn twin(&self, twin: &TwinId) -> Result<TwinView, ClientError> {
        self.get(&["mii", "v1", "twins", twin.as_str()]).json().await
    }

    /// A twin's Thing Description, byte for byte.
    ///
    /// # Errors
    /// Unknown twin.
    pub async fn twin_description(&self, twin: &TwinId) -> Result<JsonDoc, ClientError> {
        self.get(&["mii", "v1", "twins", twin.as_str(), "description"]).document().await
    }

    /// The values of a twin's properties.
    ///
    /// # Errors
    /// Unknown twin.
    pub async fn twin_properties(&self, twin: &TwinId) -> Result<BTreeMap<String, PropertyValue>, ClientError> {
        self.get(&["mii", "v1", "twins", twin.as_str(), "properties"]).json().await
    }

    /// The value of one of a twin's properties.
    ///
    /// # Errors
    /// Unknown twin or property.
    pub async fn twin_property(&self, twin: &TwinId, name: &str) -> Result<PropertyValue, ClientError> {
        self.get(&["mii", "v1", "twins", twin.as_str(), "properties", name]).json().await
    }

    /// Asks that a twin's object be changed (9.2 steps 15 to 18x). Gives the values that its properties have then.
    ///
    /// # Errors
    /// The rejecting branch of step 17, somebody else has the object, and those of the twin system itself.
    pub async fn change_twin(
        &self,
        user: &UserId,
        twin: &TwinId,
        values: &PropertyValues,
    ) -> Result<PropertyValues, ClientError> {
        self.change_twin_with(user, twin, values, None).await
    }

    /// As [`Client::change_twin`], with the token of the user's sync lease.
    ///
    /// # Errors
    /// As for [`Client::change_twin`]; and those of a token that does not count (any more).
    pub async fn change_twin_with(
        &self,
        user: &UserId,
        twin: &TwinId,
        values: &PropertyValues,
        token: Option<Token>,
    ) -> Result<PropertyValues, ClientError> {
        self.change_twin_on(user, twin, values, token, ChangeTerms::default()).await
    }

    /// As [`Client::change_twin_with`], if the twin is still of the version that `terms` name, and only within their time.
    ///
    /// # Errors
    /// As for [`Client::change_twin_with`]; the twin has another version, or the deadline is over.
    pub async fn change_twin_on(
        &self,
        user: &UserId,
        twin: &TwinId,
        values: &PropertyValues,
        token: Option<Token>,
        terms: ChangeTerms,
    ) -> Result<PropertyValues, ClientError> {
        let call = self.call(Method::PATCH, &["mii", "v1", "twins", twin.as_str(), "properties"]);
        let call = call.query("user", Some(user.as_str())).lease_token(token).terms(terms);
        let call = call.media_type(MERGE_PATCH).body(values);
        Ok(call.json::<ValuesBody>().await?.values)
    }

    /// As [`Client::change_twin`], for one property.
    ///
    /// # Errors
    /// As for [`Client::change_twin`].
    pub async fn change_twin_property(
        &self,
        user: &UserId,
        twin: &TwinId,
        name: &str,
        value: &JsonDoc,
    ) -> Result<PropertyValues, ClientError> {
        let call = self.call(Method::PUT, &["mii", "v1", "twins", twin.as_str(), "properties", name]);
        let call = call.query("user", Some(user.as_str())).body(value);
        Ok(call.json::<ValuesBody>().await?.values)
    }

    /// Has one twin send another a message (FGMV-28 REQ-DT-06).
    ///
    /// # Errors
    /// Unknown twins, or no permission to speak for the one and to the other.
    pub async fn send_twin_message(
        &self,
        user: &UserId,
        from: &TwinId,
        to: &TwinId,
        content: &JsonDoc,
    ) -> Result<(), ClientError> {
        let path = ["mii", "v1", "twins", to.as_str(), "messages"];
        self.post(&path).body(&MessageBody { user, from, content }).done().await
    }

    /// Says how this metaverse system is to be told events. The other kinds say it when they register.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn set_reach(&self, reach: &Reach) -> Result<(), ClientError> {
        self.call(Method::PUT, &["mii", "v1", "reach"]).body(reach).done().await
    }

    /// Lets this user's device hear what concerns the user at a metaverse system.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn attach_device(&self, metaverse: &SystemId) -> Result<(), ClientError> {
        self.post(&["mii", "v1", "devices"]).body(&DeviceBody { metaverse }).done().await
    }
}
