//! Observations (FGMV-28 7.3.1): asked for, uploaded, read, listed and forgotten.

use reqwest::{Body, Method};
use serde::{Deserialize, Serialize};
use twinway_protocol::{
    MapId, SystemId, UserId,
    registry::Page,
    spatial::{KeptObservation, Observation, ObservationId},
};

use super::{Client, ClientError};
use crate::enabler::Recorded;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObservationRequestBody<'b> {
    user: &'b UserId,
    twin_system: &'b SystemId,
    wanted: &'b str,
}

#[derive(Deserialize)]
struct RequestBody {
    request: u32,
}

/// The routes of observations. Their errors are those of [`ClientError`]; which problems a route knows, `/openapi.json` lists.
impl Client {
    /// Has a user's device record something for a map (FGMV-28 7.3.1 step 2.1). Gives the number to upload under.
    ///
    /// # Errors
    /// No such map or twin system, or no device of that user.
    pub async fn request_observations(
        &self,
        map: &MapId,
        user: &UserId,
        twin_system: &SystemId,
        wanted: &str,
    ) -> Result<u32, ClientError> {
        let body = ObservationRequestBody { user, twin_system, wanted };
        let call = self.post(&["mii", "v1", "maps", map.as_str(), "observation-requests"]).body(&body);
        call.json::<RequestBody>().await.map(|body| body.request)
    }

    /// Says that a user's device begins to record (FGMV-28 7.3.1 step 1).
    ///
    /// # Errors
    /// Those of every request.
    pub async fn start_capture(&self) -> Result<(), ClientError> {
        self.post(&["device", "v1", "captures"]).done().await
    }

    /// Hands over what a user's device recorded (FGMV-28 7.3.1 step 2.2): in one piece, or as a stream.
    ///
    /// # Errors
    /// Nobody asked under that number, bytes that are not what they are said to be, too many, or no room.
    pub async fn upload_observation(
        &self,
        recorded: &Recorded,
        bytes: impl Into<Body>,
    ) -> Result<Observation, ClientError> {
        let pose = serde_json::to_string(&recorded.pose).map_err(|error| ClientError::Protocol(error.to_string()))?;
        let call = self.post(&["device", "v1", "observations"]).query("request", Some(&recorded.request.to_string()));
        let call = call.query("pose", Some(&pose)).query("at", Some(&recorded.at.to_string()));
        let call = call.query("serialNumber", recorded.serial_number.as_deref());
        call.bytes_of(recorded.media_type.name(), bytes).json().await
    }

    /// Writes the bytes of an observation down as they come; gives how many there were. For a metaverse system.
    ///
    /// # Errors
    /// No such observation, or what cannot be written.
    pub async fn read_observation(
        &self,
        observation: &ObservationId,
        into: &mut impl std::io::Write,
    ) -> Result<u64, ClientError> {
        self.get(&["mii", "v1", "observations", observation.as_str()]).accept("*/*").write_into(into).await
    }

    /// The same, for a twin system.
    ///
    /// # Errors
    /// No such observation, or what cannot be written.
    pub async fn read_uploaded_observation(
        &self,
        observation: &ObservationId,
        into: &mut impl std::io::Write,
    ) -> Result<u64, ClientError> {
        self.get(&["dii", "v1", "observations", observation.as_str()]).accept("*/*").write_into(into).await
    }

    /// A page of what was recorded for a map of a metaverse system.
    ///
    /// # Errors
    /// No such map.
    pub async fn observations(
        &self,
        map: &MapId,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Page<KeptObservation>, ClientError> {
        let limit = limit.map(|limit| limit.to_string());
        let call = self.get(&["mii", "v1", "maps", map.as_str(), "observations"]);
        call.query("cursor", cursor).query("limit", limit.as_deref()).json().await
    }

    /// A page of what the device's user recorded for a map.
    ///
    /// # Errors
    /// No such map.
    pub async fn own_observations(
        &self,
        metaverse: &SystemId,
        map: &MapId,
        cursor: Option<&str>,
    ) -> Result<Page<KeptObservation>, ClientError> {
        let call = self.get(&["device", "v1", "observations", metaverse.as_str(), map.as_str()]);
        call.query("cursor", cursor).json().await
    }

    /// Forgets what was recorded for the metaverse system's maps.
    ///
    /// # Errors
    /// No such observation.
    pub async fn delete_observation(&self, observation: &ObservationId) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["mii", "v1", "observations", observation.as_str()]).done().await
    }

    /// Has forgotten what the device's user recorded for a metaverse system.
    ///
    /// # Errors
    /// This user recorded no such thing for it.
    pub async fn delete_own_observation(
        &self,
        metaverse: &SystemId,
        observation: &ObservationId,
    ) -> Result<(), ClientError> {
        let path = ["device", "v1", "observations", metaverse.as_str(), observation.as_str()];
        self.call(Method::DELETE, &path).done().await
    }
}
