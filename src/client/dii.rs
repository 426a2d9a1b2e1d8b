//! What a digital twin system can do (DII).

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    SystemId, TwinId,
    lease::Synchronization,
    message::{OutsideAnswer, PropertyValues},
    registry::{TwinSystemDescription, TwinSystemListing},
    time::Timestamp,
    twin::TwinView,
};

use reqwest::Method;

use super::{Client, ClientError};

#[derive(Serialize)]
struct ChangeBody<'b> {
    twin: &'b TwinId,
    values: &'b PropertyValues,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct VersionBody {
    version: u64,
}

/// The routes of the DII.
impl Client {
    /// Registers a twin system and its twins (FGMV-29 9.2 steps 1 to 3). The same again changes nothing.
    ///
    /// # Errors
    /// An invalid description with its place, a twin or object of another system, or what differs from an
    /// earlier registration. Nothing was changed then.
    pub async fn register_twin_system(
        &self,
        description: &TwinSystemDescription,
    ) -> Result<TwinSystemListing, ClientError> {
        self.post(&["dii", "v1", "systems"]).body(description).json().await
    }

    /// A twin system as it is registered.
    ///
    /// # Errors
    /// Unknown system.
    pub async fn twin_system(&self, id: &SystemId) -> Result<TwinSystemListing, ClientError> {
        self.get(&["dii", "v1", "systems", id.as_str()]).json().await
    }

    /// One of a twin system's own twins, as it is published.
    ///
    /// # Errors
    /// Unknown system or twin.
    pub async fn twin_of_system(&self, system: &SystemId, twin: &TwinId) -> Result<TwinView, ClientError> {
        self.get(&["dii", "v1", "systems", system.as_str(), "twins", twin.as_str()]).json().await
    }

    /// Tells that the object of a twin has changed (9.2 step 14). Gives the twin's version that shows it.
    ///
    /// # Errors
    /// Not one of its twins, or a property that the twin does not have.
    pub async fn report_change(
        &self,
        twin: &TwinId,
        values: &PropertyValues,
        at: Option<Timestamp>,
    ) -> Result<u64, ClientError> {
        let call = self.post(&["dii", "v1", "changes"]).body(&ChangeBody { twin, values, at });
        Ok(call.json::<VersionBody>().await?.version)
    }

    /// Says anew how one of its twins is synchronized with its object, and by whom (FGMV-28 REQ-DT-08).
    ///
    /// # Errors
    /// Not one of its twins, a twin without an object, or rules that are not acceptable.
    pub async fn set_synchronization(
        &self,
        twin: &TwinId,
        synchronization: &Synchronization,
    ) -> Result<(), ClientError> {
        let path = ["dii", "v1", "twins", twin.as_str(), "synchronization"];
        self.call(Method::PUT, &path).body(synchronization).done().await
    }

    /// Answers a request that came by webhook (9.2 steps 10 and 18).
    ///
    /// # Errors
    /// The request is unknown or answered already, or the answer does not fit it: then it still waits.
    pub async fn answer_as_twin_system(&self, request: &str, answer: &OutsideAnswer) -> Result<(), ClientError> {
        self.post(&["dii", "v1", "requests", request, "answer"]).body(answer).done().await
    }
}
