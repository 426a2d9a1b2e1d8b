//! Who is told of a permission whenever it changes (FGMV-28 7.3.2): a map follows a twin only as long as its user may
//! read the twin, so that the end of a permission must come to it at once, and after a restart too.

use std::collections::{BTreeMap, BTreeSet};

use twinway_protocol::{
    EntityId, Meta, Out, Problem, Ref, SystemId, TwinId, UserId,
    message::{
        FollowTwinPermission, MetaverseSystemMsg, TwinPermissionChanged, TwinPermissionFollowed, UnfollowTwinPermission,
    },
    time::Timestamp,
};

use super::{Dtac, DtacRecord, Holder};

/// Where the parts of the journal begin that hold who follows permissions: one for each follower. Below are those of
/// permissions, above those of characteristics.
const FOLLOWERS_PARTS: u64 = 1 << 62;

/// Which permissions are followed, and by whom.
#[derive(Debug, Default)]
pub(super) struct Followers {
    by_holder: BTreeMap<Holder, BTreeSet<EntityId>>,
    by_entity: BTreeMap<EntityId, BTreeSet<Holder>>,
}

impl Followers {
    pub(super) fn replay(&mut self, by: EntityId, holder: Holder, follows: bool) {
        let (entities, holders) =
            (self.by_holder.entry(holder.clone()).or_default(), self.by_entity.entry(by).or_default());
        if follows {
            entities.insert(by);
            holders.insert(holder);
            return;
        }
        entities.remove(&by);
        holders.remove(&holder);
        if entities.is_empty() {
            self.by_holder.remove(&holder);
        }
        if holders.is_empty() {
            self.by_entity.remove(&by);
        }
    }

    /// The records of one follower's part.
    pub(super) fn snapshot(&self, part: u64, into: &mut Vec<DtacRecord>) {
        let of_part = self.by_entity.iter().filter(|(by, _)| part_of(**by) == part);
        for (by, holders) in of_part {
            let record = |holder: &Holder| DtacRecord::Followed { by: *by, holder: holder.clone(), follows: true };
            into.extend(holders.iter().map(record));
        }
    }
}

/// Followers are the actors of metaverse systems: slot and generation name one.
fn part_of(by: EntityId) -> u64 {
    FOLLOWERS_PARTS | u64::from(by.slot())
}

impl Dtac {
    /// Says what a user may, and will say when that changes.
    pub(super) fn follow(
        &mut self,
        meta: &Meta,
        message: FollowTwinPermission,
        out: &mut Out<'_, Self>,
    ) -> Result<TwinPermissionFollowed, Problem> {
        let FollowTwinPermission { metaverse, user, twin } = message;
        self.known(&twin)?;
        let holder = (metaverse, user, twin);
        let follows = self.followers.by_entity.get(&meta.from).is_some_and(|holders| holders.contains(&holder));
        if !follows {
            self.keep_follower(meta.from, holder.clone(), true, out);
        }
        let (user, twin) = (holder.1.clone(), holder.2.clone());
        Ok(TwinPermissionFollowed { user, twin, permission: self.present(holder, out.now().wall) })
    }

    /// Its follower need not hear of it any more.
    pub(super) fn unfollow(&mut self, by: EntityId, message: &UnfollowTwinPermission, out: &mut Out<'_, Self>) {
        let UnfollowTwinPermission { user, twin } = message;
        let holders = self.followers.by_entity.get(&by).into_iter().flatten();
        let found = holders.filter(|(_, who, what)| who == user && what == twin).cloned().collect::<Vec<_>>();
        for holder in found {
            self.keep_follower(by, holder, false, out);
        }
    }

    fn keep_follower(&mut self, by: EntityId, holder: Holder, follows: bool, out: &mut Out<'_, Self>) {
        out.record(part_of(by), DtacRecord::Followed { by, holder: holder.clone(), follows });
        self.followers.replay(by, holder, follows);
    }

    fn present(&self, holder: Holder, now: Timestamp) -> Option<Box<twinway_protocol::access::TwinPermission>> {
        self.permission(holder, now).ok().map(|kept| Box::new(kept.permission.clone()))
    }

    /// A permission was given, changed, or is over.
    pub(super) fn tell_followers(&self, metaverse: &SystemId, user: &UserId, twin: &TwinId, out: &mut Out<'_, Self>) {
        let holder = (metaverse.clone(), user.clone(), twin.clone());
        let Some(entities) = self.followers.by_holder.get(&holder) else { return };
        let permission = self.present(holder, out.now().wall);
        for entity in entities {
            let (user, twin, permission) = (user.clone(), twin.clone(), permission.clone());
            let to = Ref::<MetaverseSystemMsg>::new(*entity);
            out.send(to, TwinPermissionChanged { user, twin, permission });
        }
    }

    /// After a restart or a failure: what was told may not have come.
    pub(super) fn tell_all_followers(&self, out: &mut Out<'_, Self>) {
        for (metaverse, user, twin) in self.followers.by_holder.keys() {
            self.tell_followers(metaverse, user, twin, out);
        }
    }
}
