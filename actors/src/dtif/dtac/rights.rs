//! Rights and characteristics of each twin: kept, changed, read, and ended (FGMV-29 8.3.5).
//!
//! A permission that ends is told to the metaverse system that it was given to. From then on its user's changes are
//! refused at FGMV-29 9.2 step 16, and a sync lease that the user holds is revoked with the grace of its terms, so that
//! nobody keeps an object from others who may not change it any more.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    EntityId, JsonDoc, Mailbox, Out, PendingKey, PermissionId, Problem, ProblemKind, Ref, SystemId, TwinId,
    access::{Right, TwinPermission},
    message::{
        CharacteristicsShown, GrantTwinPermission, ListTwinPermissions, PassPermission, PermissionGrant,
        PermissionLost, PermissionsOf, RevokeTwinPermission, SYNC_SUPERVISOR, SetCharacteristics, SynchronizeEvery,
        TwinCharacteristics, TwinMsg, TwinPermissionShown, TwinPermissionsListed,
    },
    registry::Page,
    time::Timestamp,
    twin::TwinEntry,
};

use super::{super::member, Dtac, DtacRecord, Holder, KnownTwin, acquiring::tell_access};
use crate::schema;

/// The longest time for which a timer of a permission's end is set at once, in milliseconds: 30 days.
const EXPIRY_TIMER_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
/// How many third-party systems one twin's characteristics may name, and how many properties or actions.
const CHARACTERISTICS_MEMBERS_MAX: usize = 1_000;
/// How often a twin can be synchronized periodically, in milliseconds.
const PERIOD_MS_MIN: u32 = 100;
/// How seldom, in milliseconds: once a day.
const PERIOD_MS_MAX: u32 = 86_400_000;
/// Where the parts of the journal begin that hold characteristics; below are those of permissions.
const CHARACTERISTICS_PARTS: u64 = 1 << 63;

/// What a twin system said anew of a twin, and what it had registered then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    changeable: Option<BTreeSet<String>>,
    invocable: Option<BTreeSet<String>>,
    access: BTreeMap<SystemId, BTreeSet<Right>>,
    period_ms: Option<u32>,
    registered_changeable: Option<BTreeSet<String>>,
    registered_access: BTreeMap<SystemId, BTreeSet<Right>>,
}

/// What a metaverse system is told of a permission.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended<'p> {
    permission: &'p TwinPermission,
    why: &'static str,
}

fn part_of(slot: u32) -> u64 {
    CHARACTERISTICS_PARTS | u64::from(slot)
}

impl Dtac {
    /// Who may do what with a twin, or what a user may do.
    pub(super) fn list_permissions(&self, list: &ListTwinPermissions) -> Result<TwinPermissionsListed, Problem> {
        let limit = Page::<()>::items(list.limit);
        let cursor =
            list.cursor.as_deref().map(str::parse::<u64>).transpose().map_err(|_| {
                Problem::new(ProblemKind::InvalidQuery, "`cursor` is not one that a page before has given")
            })?;
        let from = cursor.map_or(0, |last| last.saturating_add(1));
        let numbers: Vec<u64> = match &*list.of {
            PermissionsOf::Twin(twin) => {
                self.known(twin)?;
                self.on_twin.get(twin).into_iter().flat_map(|numbers| numbers.range(from..)).copied().collect()
            }
            PermissionsOf::User(system, user) => {
                // No name sorts before `!`.
                let first: Option<Holder> = TwinId::new("!").ok().map(|twin| (system.clone(), user.clone(), twin));
                let behind = first.into_iter().flat_map(|first| self.permissions.range(first..));
                let own = behind.take_while(|((of, who, _), _)| of == system && who == user);
                let numbers: BTreeSet<u64> =
                    own.map(|(_, kept)| kept.number).filter(|number| *number >= from).collect();
                numbers.into_iter().collect()
            }
        };
        let page = numbers.iter().take(limit);
        let next = numbers.get(limit).and_then(|_| page.clone().next_back()).map(u64::to_string);
        let kept = page.filter_map(|number| self.permissions.get(self.holders.get(number)?));
        let items = kept.map(|kept| kept.permission.clone()).collect();
        Ok(TwinPermissionsListed { page: Page { items, next } })
    }

    /// A twin system permits something without having been asked.
    pub(super) fn grant_permission(
        &mut self,
        message: GrantTwinPermission,
        out: &mut Out<'_, Self>,
    ) -> Result<TwinPermissionShown, Problem> {
        let GrantTwinPermission { twin, grant } = message;
        self.known(&twin)?;
        let PermissionGrant { metaverse, user, rights, expires_at, role } = *grant;
        if rights.is_empty() {
            let detail = "at least one right is expected here; to take all of them back, revoke the permission";
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/rights"));
        }
        if expires_at.is_some_and(|end| end <= out.now().wall) {
            return Err(Problem::new(ProblemKind::InvalidDocument, "this moment is over").at("/expiresAt"));
        }
        let id = PermissionId::new(format!("perm-{:016x}", out.chance()))
            .map_err(|error| Problem::new(ProblemKind::Internal, error.to_string()))?;
        let permission = TwinPermission { id, metaverse, user, twin, rights, expires_at };
        self.record(permission.clone(), role, out);
        self.announce("permission.granted", &permission, JsonDoc::from_value(&permission), out);
        Ok(TwinPermissionShown { permission: Box::new(permission) })
    }

    /// A twin system takes a permission back.
    pub(super) fn revoke_permission(
        &mut self,
        message: &RevokeTwinPermission,
        out: &mut Out<'_, Self>,
    ) -> Result<(), Problem> {
        let numbers = self.on_twin.get(&message.twin).into_iter().flatten();
        let mut kept = numbers.filter_map(|number| self.permissions.get(self.holders.get(number)?));
        let found = kept.find(|kept| kept.permission.id == message.permission);
        let Some((number, permission)) = found.map(|kept| (kept.number, kept.permission.clone())) else {
            let detail = format!("no permission on `{}` has the id `{}`", message.twin, message.permission);
            return Err(Problem::new(ProblemKind::PermissionUnknown, detail));
        };
        out.record(number, DtacRecord::Forgotten { number });
        self.forget_permission(number);
        self.ended(&permission, "revoked", out);
        Ok(())
    }

    pub(super) fn forget_permission(&mut self, number: u64) {
        let Some(holder) = self.holders.remove(&number) else { return };
        if let Some(numbers) = self.on_twin.get_mut(&holder.2) {
            numbers.remove(&number);
        }
        self.permissions.remove(&holder);
    }

    /// A permission may be over. Whatever was set last counts.
    pub(super) fn permission_due(&mut self, number: u64, out: &mut Out<'_, Self>) {
        let kept = self.holders.get(&number).and_then(|holder| self.permissions.get(holder));
        let Some((permission, end)) = kept.and_then(|kept| Some((&kept.permission, kept.permission.expires_at?)))
        else {
            return;
        };
        if end > out.now().wall {
            return self.arm(number, Some(end), out);
        }
        let permission = permission.clone();
        self.ended(&permission, "expired", out);
    }

    /// Has a permission's end noticed.
    pub(super) fn arm(&self, number: u64, end: Option<Timestamp>, out: &mut Out<'_, Self>) {
        // What was over when it was given has no end to be told.
        if let Some(end) = end.filter(|end| *end > out.now().wall) {
            let left_ms = end.unix_ms().saturating_sub(out.now().wall.unix_ms());
            out.timer(left_ms.min(EXPIRY_TIMER_MS_MAX), PendingKey::from_bits(number));
        }
    }

    /// After a restart. What ended meanwhile is not told again: its user hears it with the next change.
    pub(super) fn arm_all(&self, out: &mut Out<'_, Self>) {
        let now = out.now().wall;
        for kept in self.permissions.values() {
            self.arm(kept.number, kept.permission.expires_at.filter(|end| *end > now), out);
        }
    }

    fn ended(&self, permission: &TwinPermission, why: &'static str, out: &mut Out<'_, Self>) {
        self.tell_followers(&permission.metaverse, &permission.user, &permission.twin, out);
        self.announce("permission.ended", permission, JsonDoc::from_value(&Ended { permission, why }), out);
        self.lost(permission, out);
    }

    /// Nobody keeps an object that they may not change any more.
    pub(super) fn lost(&self, permission: &TwinPermission, out: &mut Out<'_, Self>) {
        if permission.rights.contains(&Right::Change) {
            let TwinPermission { metaverse, user, twin, .. } = permission.clone();
            out.send(SYNC_SUPERVISOR, PermissionLost { metaverse, user, twin });
        }
    }

    fn announce<E>(
        &self,
        event: &'static str,
        permission: &TwinPermission,
        data: Result<JsonDoc, E>,
        out: &mut Out<'_, Self>,
    ) {
        if let (Ok(known), Ok(data)) = (self.known(&permission.twin), data) {
            out.send(known.entity, PassPermission { metaverse: permission.metaverse.clone(), event, data });
        }
    }

    /// What a twin's object can be asked at all.
    pub(super) fn characteristics(&self, twin: &TwinId) -> Result<CharacteristicsShown, Problem> {
        let known = self.known(twin)?;
        let entry = &known.entry;
        let characteristics = match self.said.get(twin) {
            Some(said) => TwinCharacteristics {
                changeable: said.changeable.clone(),
                invocable: said.invocable.clone(),
                access: said.access.clone(),
                period_ms: said.period_ms,
            },
            None => TwinCharacteristics {
                changeable: entry.characteristics.changeable.clone(),
                invocable: None,
                access: entry.access.clone(),
                period_ms: None,
            },
        };
        let unjudged = schema::unjudged(&entry.description);
        let synchronization = entry.characteristics.synchronization.clone();
        Ok(CharacteristicsShown { characteristics: Box::new(characteristics), synchronization, unjudged })
    }

    /// A twin system says anew what a twin can be asked: it counts until it registers something else.
    pub(super) fn set_characteristics(
        &mut self,
        message: SetCharacteristics,
        out: &mut Out<'_, Self>,
    ) -> Result<CharacteristicsShown, Problem> {
        let SetCharacteristics { twin, characteristics } = message;
        let known = self.known(&twin)?;
        check(known, &characteristics)?;
        let TwinCharacteristics { changeable, invocable, access, period_ms } = *characteristics;
        let said = Said {
            changeable,
            invocable,
            access,
            period_ms,
            registered_changeable: known.entry.characteristics.changeable.clone(),
            registered_access: known.entry.access.clone(),
        };
        let entity = known.entity.id();
        let slot = entity.slot();
        if self.said.get(&twin) != Some(&said) {
            let record = DtacRecord::Characterized { twin: twin.clone(), slot, said: Some(said.clone()) };
            out.record(part_of(slot), record);
            self.said.insert(twin.clone(), said);
            self.slots.insert(slot, twin.clone());
            self.tell_period(entity, out);
            tell_access(vec![twin.clone()], Vec::new(), out);
        }
        self.characteristics(&twin)
    }

    /// FGMV-28 REQ-DT-07: a twin hears how often it is to be synchronized, if that was ever said.
    pub(super) fn tell_period(&self, entity: EntityId, out: &mut Out<'_, Self>) {
        let said = self.slots.get(&entity.slot()).and_then(|twin| self.said.get(twin));
        if let Some(said) = said.filter(|_| entity.kind() == TwinMsg::KIND) {
            out.send(Ref::<TwinMsg>::new(entity), SynchronizeEvery { period_ms: said.period_ms });
        }
    }

    /// What was said of a twin counts until its system registers something else of it.
    pub(super) fn forget_said(&mut self, entry: &TwinEntry, slot: u32, out: &mut Out<'_, Self>) {
        let is_old = |said: &Said| {
            said.registered_changeable != entry.characteristics.changeable || said.registered_access != entry.access
        };
        if self.said.get(&entry.id).is_some_and(is_old) {
            self.said.remove(&entry.id);
            if let Ok(known) = self.known(&entry.id) {
                out.send(known.entity, SynchronizeEvery { period_ms: None });
            }
            out.record(part_of(slot), DtacRecord::Characterized { twin: entry.id.clone(), slot, said: None });
        }
    }

    /// What is said of the twin whose actor has the slot that is in `part`.
    pub(super) fn snapshot_said(&self, part: u64, into: &mut Vec<DtacRecord>) {
        if part < CHARACTERISTICS_PARTS {
            return;
        }
        let found = self.slots.get(&((part & !CHARACTERISTICS_PARTS) as u32));
        if let Some((twin, said)) = found.and_then(|twin| self.said.get_key_value(twin)) {
            let slot = (part & !CHARACTERISTICS_PARTS) as u32;
            into.push(DtacRecord::Characterized { twin: twin.clone(), slot, said: Some(said.clone()) });
        }
    }

    /// Whether a property of the twin may be changed by users at all.
    pub(super) fn is_changeable(&self, known: &KnownTwin, name: &str) -> bool {
        let said = self.said.get(&known.entry.id).map(|said| &said.changeable);
        let changeable = said.unwrap_or(&known.entry.characteristics.changeable);
        changeable.as_ref().is_none_or(|changeable| changeable.contains(name))
    }

    /// Whether an action of the twin may be invoked by users at all.
    pub(super) fn is_invocable(&self, twin: &TwinId, name: &str) -> bool {
        let invocable = self.said.get(twin).and_then(|said| said.invocable.as_ref());
        invocable.is_none_or(|invocable| invocable.contains(name))
    }

    /// What third-party systems may do with the twin.
    pub(super) fn access<'d>(&'d self, known: &'d KnownTwin) -> &'d BTreeMap<SystemId, BTreeSet<Right>> {
        self.said.get(&known.entry.id).map_or(&known.entry.access, |said| &said.access)
    }
}

fn check(known: &KnownTwin, said: &TwinCharacteristics) -> Result<(), Problem> {
    let (properties, actions) = (&known.affordances.properties, &known.affordances.actions);
    for (place, named) in [("changeable", &said.changeable), ("invocable", &said.invocable)] {
        let Some(named) = named else { continue };
        let knows =
            |name: &String| if place == "changeable" { properties.contains_key(name) } else { actions.contains(name) };
        if let Some((index, name)) = named.iter().enumerate().find(|(_, name)| !knows(name)) {
            let kind = if place == "changeable" { ProblemKind::PropertyUnknown } else { ProblemKind::ActionUnknown };
            let detail = format!("the description of `{}` has no `{name}`", known.entry.id);
            return Err(Problem::new(kind, detail).at(member(&member("", place), &index.to_string())));
        }
    }
    if let Some(period_ms) = said.period_ms.filter(|period| !(PERIOD_MS_MIN..=PERIOD_MS_MAX).contains(period)) {
        let detail = format!("a period has from {PERIOD_MS_MIN} to {PERIOD_MS_MAX} ms, and not {period_ms}");
        return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/periodMs"));
    }
    if said.access.len() > CHARACTERISTICS_MEMBERS_MAX {
        let detail = format!("at most {CHARACTERISTICS_MEMBERS_MAX} systems can be named");
        return Err(Problem::new(ProblemKind::LimitReached, detail).at("/access"));
    }
    Ok(())
}
