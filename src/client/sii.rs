//! What a third-party system can do (SII).

use twinway_protocol::{
    PermissionId, SystemId,
    access::{AuthorizationDecision, UserAuthorization},
    message::OutsideAnswer,
    registry::{ThirdPartyDescription, ThirdPartyListing},
};

use super::{Client, ClientError};

/// The routes of the SII.
impl Client {
    /// Registers a third-party system (FGMV-29 9.1 steps 1 to 3). The same again changes nothing.
    ///
    /// # Errors
    /// An invalid description with its place, or what differs from an earlier registration. Nothing was changed then.
    pub async fn register_third_party_system(
        &self,
        description: &ThirdPartyDescription,
    ) -> Result<ThirdPartyListing, ClientError> {
        self.post(&["sii", "v1", "systems"]).body(description).json().await
    }

    /// A third-party system as it is registered.
    ///
    /// # Errors
    /// Unknown system.
    pub async fn third_party_system(&self, id: &SystemId) -> Result<ThirdPartyListing, ClientError> {
        self.get(&["sii", "v1", "systems", id.as_str()]).json().await
    }

    /// Decides about an authorization later than it was asked for (9.1 step 8).
    ///
    /// # Errors
    /// This system was asked for no such authorization.
    pub async fn decide_user_authorization(
        &self,
        authorization: &PermissionId,
        decision: &AuthorizationDecision,
    ) -> Result<UserAuthorization, ClientError> {
        let path = ["sii", "v1", "authorizations", authorization.as_str(), "decision"];
        self.post(&path).body(decision).json().await
    }

    /// Answers a request that came by webhook (9.1 steps 8 and 14x).
    ///
    /// # Errors
    /// The request is unknown or answered already, or the answer does not fit it: then it still waits.
    pub async fn answer_as_third_party_system(&self, request: &str, answer: &OutsideAnswer) -> Result<(), ClientError> {
        self.post(&["sii", "v1", "requests", request, "answer"]).body(answer).done().await
    }
}
