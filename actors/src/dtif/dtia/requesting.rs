//! A metaverse system asks for properties and permission (FGMV-29 9.2 steps 8 to 12).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway_protocol::{
    Asker, EntityId, EventId, Meta, Out, PendingKey, Problem, ProblemKind, Ref, SystemId, TwinId, UserId,
    access::{Right, TwinPermission},
    message::{
        DTAC, DigitalTwinSystemMsg, ForwardTwinPropertiesRequest, ManageTwinPermission, ReadTwin,
        RequestTwinPropertiesAndPermission, TwinGrant, TwinPermissionManaged, TwinPropertiesAndPermission,
        TwinPropertiesAndPermissionGranted, TwinRead, TwinRefusal,
    },
    twin::TwinView,
};

use super::{super::limit_reached, Dtia, Waiting};
use crate::mutation::{Mutation, broken};

/// A request under way.
#[derive(Debug)]
pub(super) struct Requesting {
    pub(super) asker: Asker<RequestTwinPropertiesAndPermission>,
    metaverse: SystemId,
    user: UserId,
    rights: Arc<BTreeSet<Right>>,
    /// In the order asked for, each once.
    twins: Vec<TwinId>,
    /// By the actors of the twin systems that have not answered (step 10): what they were asked for.
    forwarded: BTreeMap<EntityId, BTreeSet<TwinId>>,
    /// The answers' events: all of them led to step 11.
    heard: Vec<EventId>,
    grants: BTreeMap<TwinId, TwinGrant>,
    refused: BTreeMap<TwinId, Problem>,
    permissions: BTreeMap<TwinId, TwinPermission>,
    /// By the actors of the twins that have not been read.
    reading: BTreeMap<EntityId, TwinId>,
    views: BTreeMap<TwinId, Arc<TwinView>>,
}

/// What each twin system is to be asked for.
type Forwards = BTreeMap<Ref<DigitalTwinSystemMsg>, Vec<TwinId>>;

impl Dtia {
    /// FGMV-29 9.2 steps 8 and 9: the request goes to the systems that maintain the twins.
    pub(super) fn request(
        &mut self,
        meta: &Meta,
        question: RequestTwinPropertiesAndPermission,
        out: &mut Out<'_, Self>,
    ) {
        let asker = meta.asker::<RequestTwinPropertiesAndPermission>(out.event());
        let (twins, forwards) = match self.route(&question) {
            Ok(route) => route,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let RequestTwinPropertiesAndPermission { metaverse, user, rights, .. } = question;
        let requesting = Requesting {
            asker,
            metaverse: metaverse.clone(),
            user: user.clone(),
            rights: Arc::clone(&rights),
            twins,
            forwarded: forwards.iter().map(|(to, twins)| (to.id(), twins.iter().cloned().collect())).collect(),
            heard: Vec::new(),
            grants: BTreeMap::new(),
            refused: BTreeMap::new(),
            permissions: BTreeMap::new(),
            reading: BTreeMap::new(),
            views: BTreeMap::new(),
        };
        let Some(key) = self.wait(Waiting::Requesting(Box::new(requesting)), out) else { return };
        for (system, twins) in forwards {
            let forward = ForwardTwinPropertiesRequest {
                metaverse: metaverse.clone(),
                user: user.clone(),
                twins: twins.into(),
                rights: Arc::clone(&rights),
            };
            out.ask(system, forward, key);
        }
    }

    fn route(&self, question: &RequestTwinPropertiesAndPermission) -> Result<(Vec<TwinId>, Forwards), Problem> {
        let missing = |what: &str, pointer: &str| {
            Err(Problem::new(ProblemKind::InvalidDocument, format!("at least one {what} is expected here")).at(pointer))
        };
        if question.twins.is_empty() {
            return missing("twin", "/twins");
        }
        if question.rights.is_empty() {
            return missing("right", "/rights");
        }
        if question.twins.len() > self.settings.request_twins_max {
            return Err(limit_reached("request_twins_max", self.settings.request_twins_max));
        }
        let (mut twins, mut forwards) = (Vec::new(), Forwards::new());
        let mut seen = BTreeSet::new();
        for twin in question.twins.iter() {
            let known = self.known(twin)?;
            if !self.selections.has(&question.metaverse, twin) {
                let detail = format!("`{}` has not selected `{twin}`", question.metaverse);
                return Err(Problem::new(ProblemKind::NotSelected, detail));
            }
            if seen.insert(twin) {
                twins.push(twin.clone());
                forwards.entry(known.system_entity).or_default().push(twin.clone());
            }
        }
        Ok((twins, forwards))
    }

    /// FGMV-29 9.2 step 10: a twin system answers. Where it fails, its twins are refused, and nothing else.
    pub(super) fn answered(
        &mut self,
        meta: &Meta,
        answer: Result<TwinPropertiesAndPermission, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        let Some(Waiting::Requesting(requesting)) = self.waiting.get_mut(meta.pending) else { return };
        let Some(asked) = requesting.forwarded.remove(&meta.from) else { return };
        requesting.heard.push(out.event());
        match answer {
            Err(problem) => requesting.refused.extend(asked.into_iter().map(|twin| (twin, problem.clone()))),
            Ok(TwinPropertiesAndPermission { twins }) => {
                let twins_known = &self.twins;
                let has = |twin: &TwinId, property: &str| {
                    twins_known.get(twin).is_some_and(|known| known.affordances.properties.contains_key(property))
                };
                requesting.take(asked, twins, has);
            }
        }
        if !requesting.forwarded.is_empty() {
            return;
        }
        requesting.heard.iter().for_each(|event| out.join(*event));
        let grants: Vec<TwinGrant> = std::mem::take(&mut requesting.grants).into_values().collect();
        if grants.is_empty() {
            return self.answer_request(meta.pending, out);
        }
        let (metaverse, user) = (requesting.metaverse.clone(), requesting.user.clone());
        if broken(Mutation::PermissionToldBeforeManaged) {
            self.answer_request(meta.pending, out);
        }
        out.ask(DTAC, ManageTwinPermission { metaverse, user, twins: grants }, meta.pending);
    }

    /// FGMV-29 9.2 step 11: the permissions are written down. What the twins show now goes with the answer.
    pub(super) fn managed(
        &mut self,
        meta: &Meta,
        answer: Result<TwinPermissionManaged, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        let Some(Waiting::Requesting(requesting)) = self.waiting.get_mut(meta.pending) else { return };
        let managed = match answer {
            Ok(managed) => managed,
            Err(problem) => {
                if let Some(Waiting::Requesting(requesting)) = self.waiting.take(meta.pending) {
                    out.reply(requesting.asker, Err(problem));
                }
                return;
            }
        };
        requesting.refused.extend(managed.refused.into_iter().map(|refusal| (refusal.twin, refusal.problem)));
        for permission in managed.permissions {
            if let Some(known) = self.twins.get(&permission.twin) {
                requesting.reading.insert(known.entity.id(), permission.twin.clone());
                out.ask(known.entity, ReadTwin, meta.pending);
            }
            requesting.permissions.insert(permission.twin.clone(), permission);
        }
        if requesting.reading.is_empty() {
            self.answer_request(meta.pending, out);
        }
    }

    pub(super) fn read(&mut self, meta: &Meta, answer: Result<TwinRead, Problem>, out: &mut Out<'_, Self>) {
        let Some(Waiting::Requesting(requesting)) = self.waiting.get_mut(meta.pending) else { return };
        let Some(twin) = requesting.reading.remove(&meta.from) else { return };
        match answer {
            Ok(TwinRead { view }) => {
                requesting.views.insert(twin, view);
            }
            Err(problem) => {
                requesting.permissions.remove(&twin);
                requesting.refused.insert(twin, problem);
            }
        }
        if requesting.reading.is_empty() {
            self.answer_request(meta.pending, out);
        }
    }

    /// FGMV-29 9.2 step 12.
    fn answer_request(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        if let Some(Waiting::Requesting(requesting)) = self.waiting.take(key) {
            let (asker, answer) = requesting.outcome();
            out.reply(asker, answer);
        }
    }
}

impl Requesting {
    /// Checks what a twin system said of the twins that it was asked for, and takes what is acceptable.
    fn take(&mut self, asked: BTreeSet<TwinId>, said: Vec<TwinGrant>, has: impl Fn(&TwinId, &str) -> bool) {
        let failed = |detail: String| Problem::new(ProblemKind::OutsideFailed, detail);
        let mut missing = asked.clone();
        for mut grant in said {
            let twin = grant.twin.clone();
            if missing.remove(&twin) {
                if let Some(name) = grant.properties.keys().find(|name| !has(&twin, name)) {
                    let detail = format!("the twin system gave a value for `{name}`, which `{twin}` does not describe");
                    self.refused.insert(twin, failed(detail));
                } else {
                    // Nobody gets more than was asked for.
                    grant.rights.retain(|right| self.rights.contains(right));
                    self.grants.insert(twin, grant);
                }
            } else if asked.contains(&twin) {
                self.grants.remove(&twin);
                let problem = failed(format!("the twin system answered for `{twin}` more than once"));
                self.refused.insert(twin, problem);
            } else if !self.twins.contains(&twin) {
                let problem = failed(format!("the twin system answered for `{twin}` without being asked to"));
                self.refused.insert(twin, problem);
            }
            // What is left is another system's to answer for, and not for this one to spoil.
        }
        for twin in missing {
            let problem = failed(format!("the twin system said nothing of `{twin}`"));
            self.refused.insert(twin, problem);
        }
    }

    /// The answer, in the order asked for. Without any permission and for one kind of reason, it is that reason.
    fn outcome(
        self,
    ) -> (Asker<RequestTwinPropertiesAndPermission>, Result<TwinPropertiesAndPermissionGranted, Problem>) {
        let Self { asker, twins, mut refused, mut permissions, mut views, .. } = self;
        if permissions.is_empty() {
            let kinds: BTreeSet<ProblemKind> = refused.values().map(|problem| problem.kind).collect();
            let first = twins.iter().find_map(|twin| refused.get(twin));
            if let (1, Some(problem)) = (kinds.len(), first) {
                return (asker, Err(problem.clone()));
            }
        }
        let mut granted =
            TwinPropertiesAndPermissionGranted { permissions: Vec::new(), twins: Vec::new(), refused: Vec::new() };
        for twin in twins {
            granted.permissions.extend(permissions.remove(&twin));
            granted.twins.extend(views.remove(&twin));
            granted.refused.extend(refused.remove(&twin).map(|problem| TwinRefusal { twin, problem }));
        }
        granted.refused.extend(refused.into_iter().map(|(twin, problem)| TwinRefusal { twin, problem }));
        (asker, Ok(granted))
    }
}
