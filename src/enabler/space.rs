//! Spatial maps (FGMV-28 7.3), as each kind of external system sees them.

use bytes::Bytes;
use futures_util::Stream;
use twinway_protocol::{
    EntryId, MapId, Problem, ProblemKind, Ref, SystemId, TwinId, UserId,
    message::{
        AuthorizeLocation, CheckObservationRequest, ConstructSpatialMap, DefineMap, DeleteMap, DigitalTwinSystemMsg,
        FindAtPlace, ForgetObservation, ListMaps, ListObservations, LocationsUpdated, MetaverseSystemMsg,
        PutMapEntries, ReadMap, RemoveMapEntry, RequestLocalization, RequestObservations, StartCapture, TakeTwinOffMap,
        UnwatchMap, UpdateLocations, UploadObservation, WatchMap, WithdrawLocation,
    },
    registry::Page,
    spatial::{
        DefinitionDocument, EntryDocument, KeptObservation, Localization, LocalizationRequest, LocationDocument,
        MapView, MediaType, Observation, ObservationId, PoseDocument, Viewer, WatchDocument,
    },
    time::Timestamp,
};

use super::{Device, Dii, Enabler, Mii, Sii};
use crate::{observations::Reading, outside::SystemKind};

/// The most entries that a map is read with as a whole.
const WHOLE_ENTRIES_MAX: usize = 200_000;
/// How many are asked for at once.
const PAGE: u32 = 1_000;

/// What a user's device recorded (FGMV-28 7.3.1 step 2.2).
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The request that it was recorded for.
    pub request: u32,
    /// What the bytes are.
    pub media_type: MediaType,
    /// The serial number of what was recorded.
    pub serial_number: Option<String>,
    /// Where the device was.
    pub pose: PoseDocument,
    /// When.
    pub at: Timestamp,
}

impl Enabler {
    async fn metaverse_actor(&self, id: &SystemId) -> Result<Ref<MetaverseSystemMsg>, Problem> {
        self.actor(SystemKind::Metaverse, id).await
    }

    async fn twin_system_actor(&self, id: &SystemId) -> Result<Ref<DigitalTwinSystemMsg>, Problem> {
        if self.outside().twin_system(id).is_none() {
            let detail = format!("no twin system `{id}` is registered");
            return Err(Problem::new(ProblemKind::SystemUnknown, detail).at("/twinSystem"));
        }
        self.actor(SystemKind::DigitalTwin, id).await
    }

    /// Opens an observation, whosever it is: what it is, and its bytes as a stream.
    ///
    /// # Errors
    /// [`ProblemKind::ObservationUnknown`]; [`ProblemKind::Overloaded`] when too many are read; or what failed.
    pub async fn observation(&self, id: ObservationId) -> Result<Reading, Problem> {
        self.inner.observations.read(id).await
    }

    async fn list_observations(
        &self,
        metaverse: &SystemId,
        list: ListObservations,
    ) -> Result<Page<KeptObservation>, Problem> {
        Ok(self.look(self.metaverse_actor(metaverse).await?, list).await?.page)
    }

    /// What is not named any more is gone when this answers; what could not be taken away is tried again later.
    async fn collect(&self) {
        if let Err(problem) = self.inner.observations.collected().await {
            tracing::warn!(%problem, "bytes that nobody names are still kept");
        }
    }

    async fn read_map(
        &self,
        metaverse: &SystemId,
        map: &MapId,
        (viewer, by_device): (Viewer, bool),
        (after, limit): (Option<EntryId>, u32),
    ) -> Result<MapView, Problem> {
        let question = ReadMap { map: map.clone(), viewer, by_device, after, limit };
        Ok(*self.look(self.metaverse_actor(metaverse).await?, question).await?.view)
    }

    /// All of a map that a viewer may see. Pages are read one after the other: what moves meanwhile is where it was
    /// when its page was read.
    async fn whole_map(&self, metaverse: &SystemId, map: &MapId, who: (Viewer, bool)) -> Result<MapView, Problem> {
        let mut whole = self.read_map(metaverse, map, who.clone(), (None, PAGE)).await?;
        while let Some(after) = whole.next.take() {
            if whole.entries.len() >= WHOLE_ENTRIES_MAX {
                let detail = format!("a map is read as a whole up to {WHOLE_ENTRIES_MAX} entries; read it by pages");
                return Err(Problem::new(ProblemKind::LimitReached, detail));
            }
            let page = self.read_map(metaverse, map, who.clone(), (Some(after), PAGE)).await?;
            whole.entries.extend(page.entries);
            whole.next = page.next;
        }
        Ok(whole)
    }
}

/// Spatial maps of a metaverse system (FGMV-28 7.3).
impl Mii {
    /// The ids of its maps.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn maps(&self) -> Result<Vec<MapId>, Problem> {
        Ok(self.enabler.look(self.actor().await?, ListMaps).await?.maps)
    }

    /// Defines a map, or says anew what it is called and who may see it.
    ///
    /// # Errors
    /// A definition that is not acceptable, with the place; another anchor for a map that has entries. The map stays
    /// as it was then.
    pub async fn define_map(&self, map: MapId, document: DefinitionDocument) -> Result<(), Problem> {
        let question = DefineMap { map, document: Box::new(document) };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }

    /// A page of a map: what `user` may see of it, or all of it.
    ///
    /// # Errors
    /// [`ProblemKind::MapUnknown`].
    pub async fn map(
        &self,
        map: &MapId,
        user: Option<UserId>,
        after: Option<EntryId>,
        limit: u32,
    ) -> Result<MapView, Problem> {
        self.enabler.read_map(&self.id, map, (viewer(user), false), (after, limit)).await
    }

    /// All of a map that `user` may see, or all of it: for glTF (see [`twinway_protocol::spatial::gltf`]).
    ///
    /// # Errors
    /// [`ProblemKind::MapUnknown`], or a map that is too large to be read as a whole.
    pub async fn whole_map(&self, map: &MapId, user: Option<UserId>) -> Result<MapView, Problem> {
        self.enabler.whole_map(&self.id, map, (viewer(user), false)).await
    }

    /// Puts entries on a map, each in place of the one with its id: all of them, or none.
    ///
    /// # Errors
    /// The first entry that is not acceptable, with its place, or too many.
    pub async fn put_map_entries(&self, map: MapId, entries: Vec<EntryDocument>) -> Result<(), Problem> {
        self.enabler.ask(self.actor().await?, PutMapEntries { map, entries }).await.map(|_| ())
    }

    /// Takes an entry off a map.
    ///
    /// # Errors
    /// [`ProblemKind::MapUnknown`], [`ProblemKind::MapEntryUnknown`].
    pub async fn remove_map_entry(&self, map: MapId, entry: EntryId) -> Result<(), Problem> {
        self.enabler.ask(self.actor().await?, RemoveMapEntry { map, entry }).await.map(|_| ())
    }

    /// Deletes a map, with all that stands on it and was recorded for it. When it answers, the bytes that nobody else
    /// names are gone too.
    ///
    /// # Errors
    /// [`ProblemKind::MapUnknown`].
    pub async fn delete_map(&self, map: MapId) -> Result<(), Problem> {
        self.enabler.ask(self.actor().await?, DeleteMap { map }).await?;
        self.enabler.collect().await;
        Ok(())
    }

    /// Opens what was recorded for a map of the metaverse system: what it is, and its bytes as a stream.
    ///
    /// # Errors
    /// [`ProblemKind::ObservationUnknown`], also when only other metaverse systems' maps have it;
    /// [`ProblemKind::Overloaded`] when too many are read; or what failed.
    pub async fn observation(&self, id: ObservationId) -> Result<Reading, Problem> {
        self.enabler.inner.observations.read_named(self.actor().await?.id(), id).await
    }

    /// What was recorded for a map, in the order of ids.
    ///
    /// # Errors
    /// [`ProblemKind::MapUnknown`].
    pub async fn observations(
        &self,
        map: MapId,
        cursor: Option<String>,
        limit: Option<u32>,
    ) -> Result<Page<KeptObservation>, Problem> {
        let list = ListObservations { map, user: None, cursor: cursor.map(Into::into), limit };
        self.enabler.list_observations(&self.id, list).await
    }

    /// Forgets what was recorded for the system's maps. When it answers, the bytes are gone, unless another metaverse
    /// system names them.
    ///
    /// # Errors
    /// [`ProblemKind::ObservationUnknown`].
    pub async fn delete_observation(&self, observation: ObservationId) -> Result<(), Problem> {
        let metaverse_entity = self.actor().await?;
        let question = ForgetObservation { metaverse_entity, observation, user: None };
        self.enabler.ask(metaverse_entity, question).await?;
        self.enabler.collect().await;
        Ok(())
    }

    /// Moves entries; what is older than what the map knows changes nothing.
    ///
    /// # Errors
    /// The first location that is not acceptable, with its place. Nothing was moved then.
    pub async fn update_locations(
        &self,
        map: MapId,
        updates: Vec<LocationDocument>,
    ) -> Result<LocationsUpdated, Problem> {
        self.enabler.ask(self.actor().await?, UpdateLocations { map, updates }).await
    }

    /// Watches a part of a map: events `map.changed` tell what comes, moves and goes there. Gives the watch's number.
    ///
    /// # Errors
    /// A box that is none, or too many watches.
    pub async fn watch_map(&self, map: MapId, watch: WatchDocument) -> Result<u32, Problem> {
        let question = WatchMap { map, watch: Box::new(watch) };
        Ok(self.enabler.ask(self.actor().await?, question).await?.watch)
    }

    /// Watches it no longer.
    ///
    /// # Errors
    /// [`ProblemKind::MapEntryUnknown`] when there is no such watch.
    pub async fn unwatch_map(&self, map: MapId, watch: u32) -> Result<(), Problem> {
        self.enabler.ask(self.actor().await?, UnwatchMap { map, watch }).await.map(|_| ())
    }

    /// What is at a place, for `user` or for the system itself (FGMV-28 7.3.3).
    ///
    /// # Errors
    /// A question that is not acceptable, with the place.
    pub async fn find_at_place(
        &self,
        map: MapId,
        user: Option<UserId>,
        request: LocalizationRequest,
    ) -> Result<Localization, Problem> {
        let metaverse_entity = self.actor().await?;
        let question = FindAtPlace { metaverse_entity, map, third_party: None, user, request: Box::new(request) };
        Ok(*self.enabler.look(metaverse_entity, question).await?.found)
    }

    /// Has the device of `user` record something for a map, of which a twin system is to make twins (FGMV-28 7.3.1 step
    /// 2.1). Gives the number under which the device may upload.
    ///
    /// # Errors
    /// No such map or twin system, or no device of that user.
    pub async fn request_observations(
        &self,
        map: MapId,
        user: UserId,
        twin_system: SystemId,
        wanted: &str,
    ) -> Result<u32, Problem> {
        let twin_system_entity = self.enabler.twin_system_actor(&twin_system).await?;
        let (metaverse, wanted) = (self.id.clone(), wanted.into());
        let question = RequestObservations { metaverse, map, user, twin_system, twin_system_entity, wanted };
        Ok(self.enabler.ask(self.actor().await?, question).await?.request)
    }
}

fn viewer(user: Option<UserId>) -> Viewer {
    user.map_or(Viewer::Owner, Viewer::User)
}

/// A twin system's part in spatial maps (FGMV-28 7.3.1).
impl Dii {
    /// Has a metaverse system put the twins that were made on its map (FGMV-28 7.3.1 steps 3 to 6), and send it to
    /// `user`. Gives how many entries the map has.
    ///
    /// # Errors
    /// Twins of others, an entry that is not acceptable, or a map for which nobody asked this system. The map stays as it was.
    pub async fn construct_map(
        &self,
        metaverse: &SystemId,
        map: MapId,
        user: Option<UserId>,
        entries: Vec<EntryDocument>,
    ) -> Result<u32, Problem> {
        let metaverse_entity = self.enabler.metaverse_actor(metaverse).await?;
        let question = ConstructSpatialMap { system: None, metaverse_entity, map, user, entries };
        Ok(self.enabler.ask(self.actor().await?, question).await?.entry_count)
    }
}

impl Dii {
    /// Takes one of its own twins off a map for which it was asked to make twins.
    ///
    /// # Errors
    /// A twin of another system; no such map or entry; a map for which nobody asked this system.
    pub async fn take_off_map(&self, metaverse: &SystemId, map: MapId, twin: TwinId) -> Result<(), Problem> {
        let metaverse_entity = self.enabler.metaverse_actor(metaverse).await?;
        let question = TakeTwinOffMap { metaverse_entity, system: None, map, twin };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }
}

/// A third-party system's part in spatial maps (FGMV-28 7.3.3).
impl Sii {
    /// What is at a place of a map, from afar.
    ///
    /// # Errors
    /// [`ProblemKind::PermissionMissing`] when the map does not name this system; a question that is not acceptable.
    pub async fn find_at_place(
        &self,
        metaverse: &SystemId,
        map: MapId,
        request: LocalizationRequest,
    ) -> Result<Localization, Problem> {
        let metaverse_entity = self.enabler.metaverse_actor(metaverse).await?;
        let request = Box::new(request);
        let question = FindAtPlace { metaverse_entity, map, third_party: None, user: None, request };
        Ok(*self.enabler.look(self.actor().await?, question).await?.found)
    }
}

/// A user's device on the spot (FGMV-28 7.3).
impl Device {
    /// Says that the device begins to record (FGMV-28 7.3.1 step 1).
    ///
    /// # Errors
    /// Those of every request.
    pub async fn start_capture(&self) -> Result<(), Problem> {
        self.enabler.ask(self.actor().await?, StartCapture).await.map(|_| ())
    }

    /// Hands over what was recorded (FGMV-28 7.3.1 step 2.2): the bytes are kept as they come, and then written down
    /// and told to the twin system.
    ///
    /// # Errors
    /// Nobody asked under that number, bytes that are not what they are said to be, a pose that is none, no room, too
    /// many uploads at once, or what `bytes` says. Nothing is kept then, and nobody is told.
    pub async fn upload(
        &self,
        recorded: Recorded,
        bytes: impl Stream<Item = Result<Bytes, Problem>>,
    ) -> Result<Observation, Problem> {
        let device = self.actor().await?;
        let Recorded { request, media_type, serial_number, pose, at } = recorded;
        Observation::check(serial_number.as_deref(), &pose)?;
        // Before anything is kept: what nobody asked for takes no room.
        let stands = self.enabler.ask(device, CheckObservationRequest { request }).await?;
        let metaverse_entity = self.enabler.metaverse_actor(&stands.purpose.metaverse).await?;
        let received = self.enabler.inner.observations.receive(&self.user, media_type, bytes).await?;
        let (id, length) = (received.id.clone(), received.bytes);
        let observation = Observation { id, media_type, bytes: length, serial_number, pose, at };
        let kept = Box::new(observation.clone());
        let question = UploadObservation { request, observation: kept, metaverse_entity, purpose: None };
        let enabler = self.enabler.clone();
        // A task of its own: whoever asks may go away, and the bytes must stay until it is known who names them.
        let written = tokio::spawn(async move {
            let written = enabler.ask(device, question).await;
            match &written {
                Err(problem) if matches!(problem.kind, ProblemKind::Internal | ProblemKind::ReadOnly) => {
                    received.keep_until_restart();
                }
                // Whoever hears that nothing is kept finds nothing.
                Err(_) => {
                    drop(received);
                    enabler.collect().await;
                }
                Ok(_) => drop(received),
            }
            written
        });
        written.await.map_err(|error| Problem::new(ProblemKind::Internal, error.to_string()))??;
        Ok(observation)
    }

    /// What the device's user recorded for a map, in the order of ids.
    ///
    /// # Errors
    /// [`ProblemKind::MapUnknown`].
    pub async fn observations(
        &self,
        metaverse: &SystemId,
        map: MapId,
        cursor: Option<String>,
        limit: Option<u32>,
    ) -> Result<Page<KeptObservation>, Problem> {
        let list = ListObservations { map, user: Some(self.user.clone()), cursor: cursor.map(Into::into), limit };
        self.enabler.list_observations(metaverse, list).await
    }

    /// Has forgotten what the device's user recorded for a metaverse system.
    ///
    /// # Errors
    /// [`ProblemKind::ObservationUnknown`]: this user recorded no such thing for it.
    pub async fn delete_observation(&self, metaverse: &SystemId, observation: ObservationId) -> Result<(), Problem> {
        let metaverse_entity = self.enabler.metaverse_actor(metaverse).await?;
        let question = ForgetObservation { metaverse_entity, observation, user: None };
        self.enabler.ask(self.actor().await?, question).await?;
        self.enabler.collect().await;
        Ok(())
    }

    /// Lets a twin's location be kept the same no longer (FGMV-28 7.3.2).
    ///
    /// # Errors
    /// [`ProblemKind::MapUnknown`]; [`ProblemKind::PermissionUnknown`] when nobody lets the map follow the twin;
    /// [`ProblemKind::NotAllowed`] when another user does.
    pub async fn withdraw_location(&self, metaverse: &SystemId, map: MapId, twin: TwinId) -> Result<(), Problem> {
        let metaverse_entity = self.enabler.metaverse_actor(metaverse).await?;
        let question = WithdrawLocation { user: None, metaverse_entity, map, twin };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }

    /// All of a map that the device's user may see (FGMV-28 7.3.1 step 6).
    ///
    /// # Errors
    /// [`ProblemKind::MapUnknown`]; the device is not attached to the metaverse system.
    pub async fn whole_map(&self, metaverse: &SystemId, map: &MapId) -> Result<MapView, Problem> {
        self.enabler.whole_map(metaverse, map, (Viewer::User(self.user.clone()), true)).await
    }

    /// Lets a twin's location be kept the same on a map (FGMV-28 7.3.2 step 2): from now on the twin's `property` moves
    /// its entry.
    ///
    /// # Errors
    /// No such twin, property, map or entry, or no permission of this user to read the twin.
    pub async fn authorize_location(
        &self,
        twin_system: &SystemId,
        metaverse: &SystemId,
        map: MapId,
        twin: TwinId,
        property: &str,
    ) -> Result<(), Problem> {
        let twin_system_entity = self.enabler.twin_system_actor(twin_system).await?;
        let metaverse_entity = self.enabler.metaverse_actor(metaverse).await?;
        let property = property.into();
        let question = AuthorizeLocation { user: None, twin_system_entity, metaverse_entity, map, twin, property };
        self.enabler.ask(self.actor().await?, question).await.map(|_| ())
    }

    /// What is at a place, by a twin system (FGMV-28 7.3.3).
    ///
    /// # Errors
    /// A question that is not acceptable, with the place; the device is not attached to the metaverse system.
    pub async fn localize(
        &self,
        twin_system: &SystemId,
        metaverse: &SystemId,
        map: MapId,
        request: LocalizationRequest,
    ) -> Result<Localization, Problem> {
        let twin_system_entity = self.enabler.twin_system_actor(twin_system).await?;
        let metaverse_entity = self.enabler.metaverse_actor(metaverse).await?;
        let request = Box::new(request);
        let question = RequestLocalization { user: None, twin_system_entity, metaverse_entity, map, request };
        Ok(*self.enabler.look(self.actor().await?, question).await?.found)
    }
}
