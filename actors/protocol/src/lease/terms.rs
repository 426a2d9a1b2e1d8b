//! Who asks for an object, with which priority, and on which terms it is lent.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{RequestId, Token};
use crate::{EntityId, JsonDoc, SystemId, TwinId, UserId, WorldId, time::Timestamp};

/// How much a request for synchronization weighs: larger wins (FGMV-28 REQ-DT-08).
pub type Priority = u8;

/// What kind of requester it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum HolderClass {
    /// A person, through a metaverse system.
    #[default]
    Person,
    /// A program that acts for a person.
    Service,
    /// Whoever averts harm: no grace and no minimum hold stand in the way. Only a rule that says so admits it.
    Emergency,
}

/// Who holds or wants an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The user.
    pub user: UserId,
    /// The virtual world in which the user acts.
    pub world: WorldId,
    /// The metaverse system that speaks for the user.
    pub system: SystemId,
    /// What kind of requester it is.
    pub class: HolderClass,
}

/// Who asks, and through which twins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claimant {
    /// Who.
    pub holder: Holder,
    /// What the permission says the user is, for the rules of priority.
    pub role: Option<Arc<str>>,
    /// The most that the requester asked for; it can only lower what the rules give.
    pub claimed: Option<Priority>,
    /// The twins through which the objects are asked for, in the order of the objects.
    pub twins: Box<[TwinId]>,
}

/// On which terms an object is lent, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Terms {
    /// How long a holder that is revoked has before it loses the object.
    pub grace_ms: u32,
    /// How long a holder has an object at least before it can be revoked.
    pub min_hold_ms: u32,
    /// How long a lease can be renewed while others wait; 0: for ever.
    pub hold_ms_max: u32,
}

/// One object of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wanted {
    /// The object's actor.
    pub object: EntityId,
    /// The requester's priority on it.
    pub priority: Priority,
    /// Its terms.
    pub terms: Terms,
}

/// What a request wants: one object or a set of them, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Objects {
    /// One object.
    One(Wanted),
    /// Several, each once.
    Set(Box<[Wanted]>),
}

impl Objects {
    /// The objects in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[Wanted] {
        match self {
            Self::One(wanted) => std::slice::from_ref(wanted),
            Self::Set(set) => set,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Wanted] {
        match self {
            Self::One(wanted) => std::slice::from_mut(wanted),
            Self::Set(set) => set,
        }
    }

    /// What the request weighs: a set has one place in the global order of waiters, by the lowest of its priorities.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.as_slice().iter().map(|wanted| wanted.priority).min().unwrap_or(0)
    }

    /// Whether `object` is among them.
    #[must_use]
    pub fn contains(&self, object: EntityId) -> bool {
        self.as_slice().iter().any(|wanted| wanted.object == object)
    }
}

/// How a requester wants to be treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Manner {
    /// The holder is asked to yield, where nothing can be forced.
    pub ask: bool,
    /// After losing the object to a higher priority or a silent gate, the requester waits for it again.
    pub requeue: bool,
    /// It is for one change (FGMV-29 9.2 step 15 without a token): it waits behind others of its kind only.
    pub one_shot: bool,
}

/// A request for a lease (FGMV-28 7.1.3 steps 6 and 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The actor of the metaverse system that asks.
    pub system: EntityId,
    /// The requester's id of the request.
    pub id: Option<RequestId>,
    /// Who asks.
    pub who: Arc<Claimant>,
    /// For what.
    pub objects: Objects,
    /// How long the lease lasts without a renewal, in milliseconds from the grant.
    pub ttl_ms: u32,
    /// How long the requester waits if the object is not free, in milliseconds; 0: it is refused at once.
    pub wait_ms: u32,
    /// How it wants to be treated.
    pub manner: Manner,
}

/// How a gate knows that nothing sent under a lower token can act on the device any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Fencing {
    /// Every earlier command was answered (FGMV-29 9.2 step 18).
    #[default]
    Drained,
    /// Commands carry `notAfter`, the device honours it, and that of every earlier command has passed.
    Deadline,
    /// The digital twin system checks tokens, and has answered the fence itself.
    Device,
}

/// What a holder has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The lease's token.
    pub token: Token,
    /// What the lease weighs.
    pub priority: Priority,
    /// How long it lasts without a renewal, in milliseconds from now.
    pub expires_in_ms: u64,
    /// How its objects are fenced, in the order of the request; the weakest counts.
    pub fencing: Fencing,
    /// If the lease is being revoked: in how many milliseconds it ends.
    pub revoked_in_ms: Option<u64>,
}

/// One rule of priority. What it names must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriorityRule {
    /// This user.
    #[serde(default)]
    pub user: Option<UserId>,
    /// Users whose permission says they are this.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub role: Option<Arc<str>>,
    /// Users who act in this virtual world.
    #[serde(default)]
    pub world: Option<WorldId>,
    /// Their priority; larger wins.
    pub priority: Priority,
    /// Whether they may ask in the emergency class.
    #[serde(default)]
    pub emergency: bool,
}

/// What the twin's characteristics say of synchronization with its object (FGMV-28 REQ-DT-08). Priorities count at once, for
/// whoever has the object or waits too; the rest counts for what is asked for from then on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Synchronization {
    /// The rules of priority. The most specific that matches counts: a user before a role before a world.
    #[serde(default)]
    pub priorities: Vec<PriorityRule>,
    /// The priority of whom no rule names.
    #[serde(default)]
    pub default_priority: Priority,
    /// How long a holder that is revoked has before it loses the object, in milliseconds.
    #[serde(default)]
    pub grace_ms: u32,
    /// How long a holder has the object at least before it can be revoked, in milliseconds.
    #[serde(default)]
    pub min_hold_ms: u32,
    /// How long a lease can be renewed while others wait, in milliseconds; 0: for ever.
    #[serde(default)]
    pub hold_ms_max: u32,
    /// How the device is fenced.
    #[serde(default)]
    pub fencing: Fencing,
    /// For how long the device may act on a command at most, in milliseconds from its sending: every command carries it
    /// as `notAfter`. 0: as long as an external system may take to answer.
    #[serde(default)]
    pub command_ms_max: u32,
    /// The values that bring the device to a safe stop; absent: it needs none.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<BTreeMap<String, JsonDoc>>))]
    pub safe_stop: Option<BTreeMap<String, JsonDoc>>,
}

impl Synchronization {
    /// The terms on which the object is lent.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms { grace_ms: self.grace_ms, min_hold_ms: self.min_hold_ms, hold_ms_max: self.hold_ms_max }
    }

    /// The rule that counts for a user: the most specific, and of several equally specific ones the highest.
    #[must_use]
    pub fn rule(&self, user: &UserId, role: Option<&str>, world: &WorldId) -> Option<&PriorityRule> {
        let matches = |rule: &&PriorityRule| {
            rule.user.as_ref().is_none_or(|named| named == user)
                && rule.role.as_deref().is_none_or(|named| Some(named) == role)
                && rule.world.as_ref().is_none_or(|named| named == world)
        };
        let specific = |rule: &&PriorityRule| {
            (rule.user.is_some(), rule.role.is_some(), rule.world.is_some(), rule.priority, rule.emergency)
        };
        self.priorities.iter().filter(matches).max_by_key(specific)
    }
}

/// An object kept for somebody from some moment on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its number: it stands in the order of requests.
    pub id: u64,
    /// The actor of the metaverse system that reserved.
    pub system: EntityId,
    /// For whom.
    pub who: Arc<Claimant>,
    /// What.
    pub wanted: Wanted,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How long the lease lasts without a renewal, in milliseconds.
    pub ttl_ms: u32,
}

#[cfg(test)]
mod tests {
    use super::{PriorityRule, Synchronization};

    fn rule(user: Option<&str>, role: Option<&str>, world: Option<&str>, priority: u8) -> PriorityRule {
        let (user, world) =
            (user.map(|name| name.parse().expect("a name")), world.map(|name| name.parse().expect("a name")));
        PriorityRule { user, role: role.map(Into::into), world, priority, emergency: false }
    }

    #[test]
    fn the_most_specific_rule_gives_the_priority_of_req_dt_08() {
        let rules = vec![
            rule(None, None, Some("plaza"), 9),
            rule(None, Some("operator"), None, 5),
            rule(Some("ada"), None, None, 2),
            rule(Some("ada"), None, Some("lab"), 3),
        ];
        let said = Synchronization { priorities: rules, default_priority: 1, ..Synchronization::default() };
        let priority = |user: &str, role, world: &str| {
            let rule = said.rule(&user.parse().expect("a name"), role, &world.parse().expect("a name"));
            rule.map_or(said.default_priority, |rule| rule.priority)
        };
        assert_eq!(priority("ada", Some("operator"), "plaza"), 2);
        assert_eq!(priority("ada", None, "lab"), 3);
        assert_eq!(priority("bob", Some("operator"), "plaza"), 5);
        assert_eq!(priority("bob", None, "plaza"), 9);
        assert_eq!(priority("bob", None, "lab"), 1);
    }
}
