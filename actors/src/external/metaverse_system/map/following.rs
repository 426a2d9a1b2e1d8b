//! Whether a map may follow a twin (FGMV-28 7.3.2): as long as its user lets it, and may read the twin.

use serde::Serialize;
use twinway_protocol::{
    EntryId, MapId, Out, PendingKey, Problem, ProblemKind, SystemId, TwinId, UserId,
    access::{Right, TwinPermission},
    message::{
        DTAC, FollowTwinPermission, Kept, LocationAuthorized, NotifyUser, TwinPermissionChanged,
        TwinPermissionFollowed, UnfollowTwinPermission, WithdrawLocation,
    },
    spatial::{ChangeKind, Following},
    time::Timestamp,
};

use super::{super::document, MapRecord, Maps, MetaverseSystem, Told, Waiting, event, locating::Devices, structure};

/// What is told when a map begins or ceases to follow a twin.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FollowingChanged<'m> {
    map: &'m MapId,
    twin: &'m TwinId,
    user: &'m UserId,
    following: Following,
}

/// Whether a permission lets a map follow its twin.
fn permits(permission: Option<&TwinPermission>, now: Timestamp) -> bool {
    permission.is_some_and(|found| found.rights.contains(&Right::Read) && found.expires_at.is_none_or(|end| end > now))
}

impl Maps {
    /// Whether a twin's location moves its entry on a map.
    pub(super) fn following(&self, map: u32, twin: Option<&TwinId>) -> Following {
        let Some(twin) = twin.filter(|twin| self.located.get(*twin).is_some_and(|on| on.contains_key(&map))) else {
            return Following::None;
        };
        if self.suspended.contains(&(twin.clone(), map)) { Following::PermissionMissing } else { Following::Followed }
    }

    pub(super) fn located_on(&self, map: u32) -> Vec<TwinId> {
        self.located.iter().filter(|(_, on)| on.contains_key(&map)).map(|(twin, _)| twin.clone()).collect()
    }

    /// DTAC says what the user may who let a map follow a twin, and will say when that changes.
    pub(in super::super) fn followed(
        &mut self,
        pending: PendingKey,
        answer: Result<TwinPermissionFollowed, Problem>,
        devices: &Devices,
        out: &mut Out<'_, MetaverseSystem>,
    ) {
        if !matches!(self.waiting.get_mut(pending), Some(Waiting::Locating(..))) {
            // Asked again after a failure.
            if let Ok(TwinPermissionFollowed { user, twin, permission }) = answer {
                self.permission_changed(TwinPermissionChanged { user, twin, permission }, devices, out);
            }
            return;
        }
        let Some(Waiting::Locating(asker, map, twin, location)) = self.waiting.take(pending) else { return };
        let now = out.now().wall;
        // The map may be another one by now, or none.
        let answer = answer.and_then(|shown| Ok((shown, self.number(&map)?)));
        let answer = answer.and_then(|(shown, number)| {
            if !permits(shown.permission.as_deref(), now) {
                self.unfollow(&location.user, &twin, out);
                let detail = format!("`{}` may not read `{twin}`", location.user);
                return Err(Problem::new(ProblemKind::PermissionMissing, detail));
            }
            let before = self.located.get(&twin).and_then(|on| on.get(&number)).map(|before| before.user.clone());
            self.keep(structure(number), MapRecord::Located { map: number, twin: twin.clone(), location }, out);
            if let Some(before) = before {
                self.unfollow(&before, &twin, out);
            }
            self.tell_following(number, &twin, devices, out);
            Ok(LocationAuthorized)
        });
        out.reply(asker, answer);
    }

    /// FGMV-28 7.3.2: who lost the permission lets no map follow any more, at once; with the permission it goes on.
    pub(in super::super) fn permission_changed(
        &mut self,
        change: TwinPermissionChanged,
        devices: &Devices,
        out: &mut Out<'_, MetaverseSystem>,
    ) {
        let TwinPermissionChanged { user, twin, permission } = change;
        let permitted = permits(permission.as_deref(), out.now().wall);
        let on = self.located.get(&twin).into_iter().flatten();
        let of_user: Vec<u32> = on.filter(|(_, location)| location.user == user).map(|(map, _)| *map).collect();
        for map in of_user {
            if self.suspended.contains(&(twin.clone(), map)) == permitted {
                self.keep(structure(map), MapRecord::LocationPermitted { map, twin: twin.clone(), permitted }, out);
                self.tell_following(map, &twin, devices, out);
            }
        }
    }

    /// A user lets a map follow a twin no longer.
    pub(in super::super) fn withdraw_location(
        &mut self,
        message: &WithdrawLocation,
        devices: &Devices,
        out: &mut Out<'_, MetaverseSystem>,
    ) -> Result<Kept, Problem> {
        let WithdrawLocation { user, map, twin, .. } = message;
        let number = self.number(map)?;
        let location = self.located.get(twin).and_then(|on| on.get(&number));
        let location = location.ok_or_else(|| {
            let detail = format!("nobody lets `{map}` follow `{twin}`");
            Problem::new(ProblemKind::PermissionUnknown, detail)
        })?;
        if user.as_ref() != Some(&location.user) {
            let detail = format!("`{}` lets `{map}` follow `{twin}`, and nobody else ends that", location.user);
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        let user = location.user.clone();
        self.unlocate(number, twin, out);
        self.tell_of(number, twin, &user, devices, out);
        Ok(Kept)
    }

    /// A map follows a twin no longer.
    pub(super) fn unlocate(&mut self, map: u32, twin: &TwinId, out: &mut Out<'_, MetaverseSystem>) {
        let Some(location) = self.located.get(twin).and_then(|on| on.get(&map)).cloned() else { return };
        self.keep(structure(map), MapRecord::Unlocated { map, twin: twin.clone() }, out);
        self.unfollow(&location.user, twin, out);
    }

    pub(super) fn replay_unlocated(&mut self, map: u32, twin: &TwinId) {
        self.suspended.remove(&(twin.clone(), map));
        if let Some(on) = self.located.get_mut(twin) {
            on.remove(&map);
            if on.is_empty() {
                self.located.remove(twin);
            }
        }
    }

    /// DTAC need not tell of a permission, unless another map follows the twin by it.
    fn unfollow(&self, user: &UserId, twin: &TwinId, out: &mut Out<'_, MetaverseSystem>) {
        let mut on = self.located.get(twin).into_iter().flatten();
        if !on.any(|(_, location)| location.user == *user) {
            out.send(DTAC, UnfollowTwinPermission { user: user.clone(), twin: twin.clone() });
        }
    }

    /// After a failure: what DTAC said meanwhile may be lost.
    pub(in super::super) fn follow_all(&self, metaverse: &SystemId, out: &mut Out<'_, MetaverseSystem>) {
        for (twin, on) in &self.located {
            for location in on.values() {
                let (metaverse, user, twin) = (metaverse.clone(), location.user.clone(), twin.clone());
                out.ask(DTAC, FollowTwinPermission { metaverse, user, twin }, PendingKey::NONE);
            }
        }
    }

    fn tell_following(&self, map: u32, twin: &TwinId, devices: &Devices, out: &mut Out<'_, MetaverseSystem>) {
        let location = self.located.get(twin).and_then(|on| on.get(&map));
        if let Some(location) = location {
            self.tell_of(map, twin, &location.user, devices, out);
        }
    }

    /// Tells the metaverse system, its watchers of the place, and the user's device.
    fn tell_of(&self, map: u32, twin: &TwinId, user: &UserId, devices: &Devices, out: &mut Out<'_, MetaverseSystem>) {
        let Some(kept) = self.by_number.get(&map) else { return };
        let Some(definition) = &kept.definition else { return };
        let following = self.following(map, Some(twin));
        let data = document(&FollowingChanged { map: &definition.id, twin, user, following });
        event("map.following", definition.id.to_string(), data.clone(), out);
        if let Some(device) = devices.get(user) {
            out.send(*device, NotifyUser { event: "map.following", data });
        }
        let slot = kept.index.slot_of(&EntryId::from(twin)).and_then(|slot| kept.index.get(slot));
        if let Some(slot) = slot {
            let change = if following == Following::Followed { ChangeKind::Followed } else { ChangeKind::Unfollowed };
            let mut told = Told::default();
            told.add_following(kept, &slot.facts, &slot.placed, change);
            told.tell(kept, devices, out);
        }
    }
}
