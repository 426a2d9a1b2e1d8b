//! Digital twin access control (DTAC, FGMV-29 8.3.5): steps 10, 11 and 16 of FGMV-29 9.2, and 17 of 9.1.
//!
//! It keeps who may do what with which twin, and knows what each twin's object can be asked to do at all, and who may
//! be synchronized with it before whom (FGMV-28 REQ-DT-08).

mod acquiring;
mod changing;
mod following;
mod rights;
mod sync;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, PendingKey, PermissionId, Problem, ProblemKind, Recovery,
    Ref, SystemId, TwinId, UserId,
    access::{Right, TwinPermission},
    message::{
        AdoptProperties, CancelAction, DTSR, DtacMsg, FollowTwinPermission, ForgetTwinSystem, GrantTwinPermission,
        KeepTwinSystem, Kept, ListTwinPermissions, ManageTwinPermission, PassTwinMessage, PhysicalObjectMsg,
        ReadCharacteristics, ReadTwinPermission, Reannounce, RefreshTwin, RevokeTwinPermission, RoleChanged,
        SYNC_SUPERVISOR, SendTwinMessage, SetCharacteristics, TwinGrant, TwinMessage, TwinMessageSent, TwinMsg,
        TwinPermissionManaged, TwinPermissionShown, TwinRefusal, VerifyAcquisition, VerifyAction, VerifyChange,
        VerifySync, Wire, own,
    },
    time::Timestamp,
    twin::{Affordances, RegisteredTwin, TwinEntry},
};

use super::twin_unknown;
use crate::{
    Settings,
    mutation::{Mutation, broken},
    settings::pending_full,
};
use acquiring::tell_access;
use following::Followers;
pub use rights::Said;

/// What is known of a twin.
#[derive(Debug)]
struct KnownTwin {
    entity: Ref<TwinMsg>,
    object: Option<Ref<PhysicalObjectMsg>>,
    entry: Arc<TwinEntry>,
    affordances: Affordances,
}

/// Whose permission it is, and on what.
type Holder = (SystemId, UserId, TwinId);

/// A permission with the part of the journal that holds it.
#[derive(Debug)]
struct Numbered {
    number: u64,
    permission: TwinPermission,
    /// What the user is to the twin, for its rules of priority.
    role: Option<Arc<str>>,
}

impl Numbered {
    fn to_record(&self) -> DtacRecord {
        let (number, permission) = (self.number, self.permission.clone());
        match &self.role {
            None => DtacRecord::Permitted { number, permission },
            Some(role) => DtacRecord::PermittedAs { number, permission, role: Arc::clone(role) },
        }
    }
}

/// Permissions that are written down and wait for their twins to take the properties.
#[derive(Debug)]
struct Managing {
    asker: Asker<ManageTwinPermission>,
    permissions: Vec<TwinPermission>,
    refused: Vec<TwinRefusal>,
    /// By the actors that have not answered.
    adopting: BTreeMap<EntityId, TwinId>,
}

/// What DTAC writes down.
#[derive(Debug, Serialize, Deserialize)]
pub enum DtacRecord {
    /// A permission was given, in place of what the user had on the twin before.
    Permitted {
        /// The part: one for each user of a metaverse system and twin, in the order of their first permission.
        number: u64,
        /// The permission.
        permission: TwinPermission,
    },
    /// The same, to a user who is something to the twin.
    PermittedAs {
        /// The part.
        number: u64,
        /// The permission.
        permission: TwinPermission,
        /// What the user is, for the twin's rules of priority (FGMV-28 REQ-DT-08).
        role: Arc<str>,
    },
    /// The permission was revoked, or ended with its twin.
    Forgotten {
        /// The part.
        number: u64,
    },
    /// A twin system says anew what a twin can be asked, or registered something else since, so that this counts.
    Characterized {
        /// The twin.
        twin: TwinId,
        /// The slot of its actor, which is in its part.
        slot: u32,
        /// What it said; none: what is registered counts.
        said: Option<Said>,
    },
    /// An actor is told of a permission whenever it changes, or no longer.
    Followed {
        /// The actor.
        by: EntityId,
        /// Whose permission it is, and on what.
        holder: Holder,
        /// Whether it is told.
        follows: bool,
    },
}

/// Digital twin access control.
#[derive(Debug)]
pub struct Dtac {
    twins: BTreeMap<TwinId, KnownTwin>,
    permissions: BTreeMap<Holder, Numbered>,
    holders: BTreeMap<u64, Holder>,
    number_next: u64,
    managing: Pending<Managing>,
    cancelling: Pending<Asker<CancelAction>>,
    refreshing: Pending<Asker<RefreshTwin>>,
    /// The numbers of the permissions on each twin.
    on_twin: BTreeMap<TwinId, BTreeSet<u64>>,
    /// What twin systems said anew of their twins.
    said: BTreeMap<TwinId, Said>,
    /// By the slots of their actors, the twins of which something was said.
    slots: BTreeMap<u32, TwinId>,
    followers: Followers,
    /// What this entity said before it failed may have been by rules that it has forgotten.
    has_forgotten: bool,
}

impl Behaviour for Dtac {
    type Wire = Wire;
    type Msg = DtacMsg;
    type Record = DtacRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            twins: BTreeMap::new(),
            permissions: BTreeMap::new(),
            holders: BTreeMap::new(),
            number_next: 0,
            managing: Pending::new(settings.pending_questions_max, incarnation),
            cancelling: Pending::new(settings.pending_questions_max, incarnation),
            refreshing: Pending::new(settings.pending_questions_max, incarnation),
            on_twin: BTreeMap::new(),
            said: BTreeMap::new(),
            slots: BTreeMap::new(),
            followers: Followers::default(),
            has_forgotten: false,
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DtacMsg>, out: &mut Out<'_, Self>) {
        let now = out.now().wall;
        match message {
            DtacMsg::ForgetTwinSystem(ForgetTwinSystem { twins, .. }) => {
                self.forget_twins(&twins, out);
                out.reply(meta.asker::<ForgetTwinSystem>(out.event()), Ok(Kept));
            }
            DtacMsg::KeepTwinSystem(KeepTwinSystem { twins, gone, .. }) => {
                self.forget_twins(&gone, out);
                let kept = self.keep(&twins, out).map(|()| Kept);
                out.reply(meta.asker::<KeepTwinSystem>(out.event()), kept);
            }
            DtacMsg::ManageTwinPermission(answers) => self.manage(&meta, answers, out),
            DtacMsg::Kept(answer) => self.adopted(&meta, answer, out),
            DtacMsg::VerifyChange(change) => {
                out.reply(meta.asker::<VerifyChange>(out.event()), self.verify_change(&change, now));
            }
            DtacMsg::ListTwinPermissions(list) => {
                out.reply(meta.asker::<ListTwinPermissions>(out.event()), self.list_permissions(&list));
            }
            DtacMsg::GrantTwinPermission(message) => {
                let granted = self.grant_permission(message, out);
                out.reply(meta.asker::<GrantTwinPermission>(out.event()), granted);
            }
            DtacMsg::RevokeTwinPermission(message) => {
                let revoked = self.revoke_permission(&message, out).map(|()| Kept);
                out.reply(meta.asker::<RevokeTwinPermission>(out.event()), revoked);
            }
            DtacMsg::ReadCharacteristics(message) => {
                let shown = self.characteristics(&message.twin);
                out.reply(meta.asker::<ReadCharacteristics>(out.event()), shown);
            }
            DtacMsg::SetCharacteristics(message) => {
                let set = self.set_characteristics(message, out);
                out.reply(meta.asker::<SetCharacteristics>(out.event()), set);
            }
            DtacMsg::VerifyAction(action) => {
                out.reply(meta.asker::<VerifyAction>(out.event()), self.verify_action(&action, now));
            }
            DtacMsg::RefreshTwin(refresh) => self.refresh(&meta, refresh, out),
            DtacMsg::TwinRefreshed(answer) => {
                if let Some(asker) = self.refreshing.take(meta.pending) {
                    out.reply(asker, answer);
                }
            }
            DtacMsg::Reannounce(_) => self.tell_period(meta.from, out),
            DtacMsg::CancelAction(cancel) => self.cancel_action(&meta, cancel, out),
            DtacMsg::ActionStopping(answer) => {
                if let Some(asker) = self.cancelling.take(meta.pending) {
                    out.reply(asker, answer);
                }
            }
            DtacMsg::VerifyAcquisition(acquisition) => {
                let verified = Ok(self.verify_acquisition(&acquisition));
                out.reply(meta.asker::<VerifyAcquisition>(out.event()), verified);
            }
            DtacMsg::VerifySync(sync) => {
                out.reply(meta.asker::<VerifySync>(out.event()), self.verify_sync(&sync, now));
            }
            DtacMsg::ReadTwinPermission(ReadTwinPermission { metaverse, user, twin }) => {
                let permission = self.permission((metaverse, user, twin), now);
                let shown =
                    permission.map(|found| TwinPermissionShown { permission: Box::new(found.permission.clone()) });
                out.reply(meta.asker::<ReadTwinPermission>(out.event()), shown);
            }
            DtacMsg::FollowTwinPermission(message) => {
                let followed = self.follow(&meta, message, out);
                out.reply(meta.asker::<FollowTwinPermission>(out.event()), followed);
            }
            DtacMsg::UnfollowTwinPermission(message) => self.unfollow(meta.from, &message, out),
            DtacMsg::SendTwinMessage(message) => {
                let sent = self.send_message(message, out);
                out.reply(meta.asker::<SendTwinMessage>(out.event()), sent);
            }
        }
    }

    fn timeout(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        self.permission_due(key.to_bits(), out);
    }

    fn replay(&mut self, record: DtacRecord) {
        let numbered = match record {
            DtacRecord::Permitted { number, permission } => Numbered { number, permission, role: None },
            DtacRecord::PermittedAs { number, permission, role } => Numbered { number, permission, role: Some(role) },
            DtacRecord::Forgotten { number } => {
                // A number is not given again, however much of the end of the list is forgotten.
                self.number_next = self.number_next.max(number.saturating_add(1));
                return self.forget_permission(number);
            }
            DtacRecord::Characterized { twin, slot, said } => {
                self.slots.insert(slot, twin.clone());
                match said {
                    Some(said) => self.said.insert(twin, said),
                    None => self.said.remove(&twin),
                };
                return;
            }
            DtacRecord::Followed { by, holder, follows } => return self.followers.replay(by, holder, follows),
        };
        self.permit(numbered);
    }

    fn snapshot(&self, part: u64, into: &mut Vec<DtacRecord>) {
        let kept = self.holders.get(&part).and_then(|holder| self.permissions.get(holder));
        into.extend(kept.map(Numbered::to_record));
        self.snapshot_said(part, into);
        self.followers.snapshot(part, into);
    }

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        self.arm_all(out);
        self.tell_all_followers(out);
        // When the daemon starts, DTSR recovers too and tells everybody.
        if why == Recovery::Failure {
            self.has_forgotten = true;
            out.send(DTSR, Reannounce);
        }
    }
}

impl Dtac {
    fn keep(&mut self, twins: &[RegisteredTwin], out: &mut Out<'_, Self>) -> Result<(), Problem> {
        let mut changed = Vec::new();
        for twin in twins {
            let affordances = Affordances::read(&twin.entry.description)?;
            let (entity, object) = (twin.entity, twin.object);
            let known = KnownTwin { entity, object, entry: Arc::clone(&twin.entry), affordances };
            let had_said = self.said.contains_key(&twin.entry.id);
            let before = self.twins.insert(twin.entry.id.clone(), known);
            self.tell_of_rules(before.as_ref(), &twin.entry, out);
            self.forget_said(&twin.entry, twin.entity.id().slot(), out);
            self.tell_period(twin.entity.id(), out);
            // Before it failed, this entity may have known another rule.
            let is_news = before.map_or(self.has_forgotten, |before| before.entry.access != twin.entry.access);
            if is_news || had_said && !self.said.contains_key(&twin.entry.id) {
                changed.push(twin.entry.id.clone());
            }
        }
        tell_access(changed, Vec::new(), out);
        Ok(())
    }

    /// FGMV-29 8.3.1: with a twin end the permissions on it.
    fn forget_twins(&mut self, twins: &[RegisteredTwin], out: &mut Out<'_, Self>) {
        if twins.is_empty() {
            return;
        }
        for twin in twins {
            self.twins.remove(&twin.entry.id);
        }
        tell_access(Vec::new(), twins.iter().map(|twin| twin.entry.id.clone()).collect(), out);
        let gone: BTreeSet<&TwinId> = twins.iter().map(|twin| &twin.entry.id).collect();
        let ended = self.permissions.iter().filter(|((_, _, twin), _)| gone.contains(twin));
        for (number, holder) in ended.map(|(holder, kept)| (kept.number, holder.clone())).collect::<Vec<_>>() {
            out.record(number, DtacRecord::Forgotten { number });
            self.replay(DtacRecord::Forgotten { number });
            self.tell_followers(&holder.0, &holder.1, &holder.2, out);
        }
    }

    /// Gives what was permitted before, if anything was.
    fn permit(&mut self, numbered: Numbered) -> Option<Numbered> {
        let TwinPermission { metaverse, user, twin, .. } = &numbered.permission;
        let holder = (metaverse.clone(), user.clone(), twin.clone());
        self.number_next = self.number_next.max(numbered.number.saturating_add(1));
        self.holders.insert(numbered.number, holder.clone());
        self.on_twin.entry(holder.2.clone()).or_default().insert(numbered.number);
        self.permissions.insert(holder, numbered)
    }

    fn number_of(&self, holder: &Holder) -> u64 {
        self.permissions.get(holder).map_or(self.number_next, |kept| kept.number)
    }

    /// FGMV-29 9.2 steps 10 and 11: what the twin systems said is written down, and the twins take their properties.
    fn manage(&mut self, meta: &Meta, answers: ManageTwinPermission, out: &mut Out<'_, Self>) {
        let ManageTwinPermission { metaverse, user, twins } = answers;
        let asker = meta.asker::<ManageTwinPermission>(out.event());
        let managing = Managing { asker, permissions: Vec::new(), refused: Vec::new(), adopting: BTreeMap::new() };
        let key = match self.managing.insert(managing) {
            Ok(key) => key,
            Err(Managing { asker, .. }) => {
                return out.reply(asker, Err(pending_full()));
            }
        };
        let (mut permissions, mut refused, mut adopting) = (Vec::new(), Vec::new(), BTreeMap::new());
        for grant in twins {
            match self.admit(&grant, out) {
                Ok((entity, id)) => {
                    let TwinGrant { twin, properties, rights, expires_at, role } = grant;
                    let (metaverse, user) = (metaverse.clone(), user.clone());
                    let permission = TwinPermission { id, metaverse, user, twin: twin.clone(), rights, expires_at };
                    self.record(permission.clone(), role, out);
                    permissions.push(permission);
                    adopting.insert(entity.id(), twin);
                    out.ask(entity, AdoptProperties { values: Box::new(properties) }, key);
                }
                Err(problem) => refused.push(TwinRefusal { twin: grant.twin, problem }),
            }
        }
        if !permissions.is_empty() {
            out.own(own::TWIN_PERMISSION_MANAGED);
        }
        let nobody_adopts = adopting.is_empty();
        if let Some(managing) = self.managing.get_mut(key) {
            (managing.permissions, managing.refused, managing.adopting) = (permissions, refused, adopting);
        }
        if nobody_adopts {
            self.managed(key, out);
        }
    }

    /// Whether a permission follows from what a twin system said: the twin's actor, and the permission's id.
    fn admit(&self, grant: &TwinGrant, out: &mut Out<'_, Self>) -> Result<(Ref<TwinMsg>, PermissionId), Problem> {
        let entity = self.known(&grant.twin)?.entity;
        if grant.rights.is_empty() {
            let detail = format!("the twin system of `{}` said no", grant.twin);
            return Err(Problem::new(ProblemKind::PermissionDenied, detail));
        }
        let id = PermissionId::new(format!("perm-{:016x}", out.chance()))
            .map_err(|error| Problem::new(ProblemKind::Internal, error.to_string()))?;
        Ok((entity, id))
    }

    fn record(&mut self, permission: TwinPermission, role: Option<Arc<str>>, out: &mut Out<'_, Self>) {
        let TwinPermission { metaverse, user, twin, .. } = &permission;
        let holder = (metaverse.clone(), user.clone(), twin.clone());
        let numbered = Numbered { number: self.number_of(&holder), permission, role: role.clone() };
        if broken(Mutation::PermissionToldBeforeDurable) {
            out.record_batched(numbered.number, numbered.to_record());
        } else {
            out.record(numbered.number, numbered.to_record());
        }
        self.arm(numbered.number, numbered.permission.expires_at, out);
        let may_change = numbered.permission.rights.contains(&Right::Change);
        let before = self.permit(numbered);
        self.tell_followers(&holder.0, &holder.1, &holder.2, out);
        // Who had no permission before can have no lease to weigh again.
        let Some(before) = before else { return };
        if !may_change {
            return self.lost(&before.permission, out);
        }
        if before.role != role {
            let (metaverse, user, twin) = holder;
            out.send(SYNC_SUPERVISOR, RoleChanged { metaverse, user, twin, role });
        }
    }

    /// A twin has taken its properties. Where it could not, the permission is no use yet, and asking again mends it.
    fn adopted(&mut self, meta: &Meta, answer: Result<Kept, Problem>, out: &mut Out<'_, Self>) {
        let Some(managing) = self.managing.get_mut(meta.pending) else { return };
        let Some(twin) = managing.adopting.remove(&meta.from) else { return };
        if let Err(problem) = answer {
            managing.permissions.retain(|permission| permission.twin != twin);
            managing.refused.push(TwinRefusal { twin, problem });
        }
        if managing.adopting.is_empty() {
            self.managed(meta.pending, out);
        }
    }

    fn managed(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        if let Some(Managing { asker, permissions, refused, .. }) = self.managing.take(key) {
            out.reply(asker, Ok(TwinPermissionManaged { permissions, refused }));
        }
    }

    /// A permission that has not ended.
    fn permission(&self, holder: Holder, now: Timestamp) -> Result<&Numbered, Problem> {
        let Some(kept) = self.permissions.get(&holder) else {
            let (metaverse, user, twin) = holder;
            let detail = format!("`{user}` of `{metaverse}` has no permission on `{twin}`");
            return Err(Problem::new(ProblemKind::PermissionMissing, detail));
        };
        match kept.permission.expires_at {
            Some(end) if end <= now => {
                let detail = format!("the permission `{}` ended at {end}", kept.permission.id);
                Err(Problem::new(ProblemKind::PermissionExpired, detail))
            }
            _ => Ok(kept),
        }
    }

    /// A permission that has not ended and gives one of these rights.
    fn permitted(&self, holder: Holder, needed: &[Right], now: Timestamp) -> Result<&Numbered, Problem> {
        let kept = self.permission(holder, now)?;
        if needed.iter().any(|right| kept.permission.rights.contains(right)) {
            return Ok(kept);
        }
        let TwinPermission { id, user, twin, rights, .. } = &kept.permission;
        let detail =
            format!("the permission `{id}` of `{user}` on `{twin}` gives {rights:?}, and one of {needed:?} is needed");
        Err(Problem::new(ProblemKind::PermissionMissing, detail))
    }

    fn known(&self, twin: &TwinId) -> Result<&KnownTwin, Problem> {
        self.twins.get(twin).ok_or_else(|| twin_unknown(twin))
    }

    /// FGMV-28 REQ-DT-06: avatars and twins send each other messages, as far as the user may use both.
    fn send_message(&self, message: SendTwinMessage, out: &mut Out<'_, Self>) -> Result<TwinMessageSent, Problem> {
        let now = out.now().wall;
        let SendTwinMessage { metaverse, user, from, to, content } = message;
        let (sender, receiver) = (self.known(&from)?.entity, self.known(&to)?.entity);
        self.permitted((metaverse.clone(), user.clone(), from.clone()), &[Right::Message, Right::Change], now)?;
        self.permitted((metaverse, user.clone(), to.clone()), &[Right::Message], now)?;
        let message = Box::new(TwinMessage { from, to, user, content });
        out.send(sender, PassTwinMessage { entity: receiver, message });
        Ok(TwinMessageSent)
    }
}

#[cfg(test)]
mod tests;
