//! Third-party system authentication and authorization (FGMV-29 8.2.3, 9.1 steps 6 to 10 and 13): asks third-party
//! systems what a user may do, keeps what they say, and answers by it.

mod asking;
mod register;
mod revoking;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use register::{AUTHORIZATIONS_MAX, Kept, USER_AUTHORIZATIONS_MAX};
use register::{Register, denied, holder, not_asked};
use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, PermissionId, Problem, ProblemKind, Recovery, Ref,
    SystemId,
    access::{AuthorizationDecision, UserAuthorization},
    message::{
        self, AuthorizationSettled, DecideUserAuthorization, ForgetThirdPartySystem, ForwardUserAuthorization,
        KeepThirdPartySystem, ListUserAuthorizations, MetaverseSystemMsg, ReadUserAuthorization, Reannounce,
        RequestUserAuthorization, RevokeUserAuthorization, TPSR, TpsaaMsg, UserAndPermissionInformation,
        UserAuthorizationDecided, UserAuthorizationSettled, UserAuthorizationVerified, UserAuthorizationsListed,
        VerifyUserAuthorization, Wire, own,
    },
    registry::ThirdPartySystem,
};

use super::converting::Conversion;
use crate::{
    Settings,
    mutation::{Mutation, broken},
    settings::pending_full,
};

/// Third-party system authentication and authorization. The systems that it knows are derived from TPSR's register.
#[derive(Debug)]
pub struct Tpsaa {
    systems: BTreeMap<SystemId, Arc<ThirdPartySystem>>,
    register: Register,
    pending: Pending<Asked>,
}

/// An authorization that a third-party system is asked for.
#[derive(Debug)]
struct Asked {
    asker: Asker<RequestUserAuthorization>,
    id: PermissionId,
    metaverse_entity: Ref<MetaverseSystemMsg>,
    request: RequestUserAuthorization,
    /// Where the system's own API is asked.
    conversion: Option<Conversion>,
}

/// What it writes down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// A third-party system decided.
    Decided(Box<Kept>),
    /// The authorization with this number permits nothing any more, and made room for a newer one.
    Forgotten(u64),
}

impl Tpsaa {
    /// FGMV-29 9.1 steps 6 and 7.
    fn request(&mut self, meta: Meta, request: RequestUserAuthorization, out: &mut Out<'_, Self>) {
        let asker = meta.asker(out.event());
        let system = match self.admit(&request, out) {
            Ok(system) => system,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let Some(id) = self.fresh_id(out) else {
            return out.reply(asker, Err(Problem::new(ProblemKind::Internal, "no id could be made")));
        };
        let (call, conversion) = match asking::prepare(&system, &id, &request) {
            Ok(prepared) => prepared.unzip(),
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let forward = ForwardUserAuthorization {
            authorization: id.clone(),
            metaverse: request.metaverse.clone(),
            user: request.user.clone(),
            scope: Arc::clone(&request.scope),
            call: call.map(Box::new),
        };
        match self.pending.insert(Asked { asker, id, metaverse_entity: Ref::new(meta.from), request, conversion }) {
            Ok(key) => out.ask(system.entity, forward, key),
            Err(asked) => out.reply(asked.asker, Err(pending_full())),
        }
    }

    fn admit(&self, request: &RequestUserAuthorization, out: &Out<'_, Self>) -> Result<Arc<ThirdPartySystem>, Problem> {
        let Some(system) = self.systems.get(&request.system) else {
            let detail = format!("no third-party system `{}` is registered", request.system);
            return Err(Problem::new(ProblemKind::SystemUnknown, detail));
        };
        // A decision that was made must be kept: the room for it is there before the question is asked.
        if self.register.all.len().saturating_add(self.pending.len()) >= AUTHORIZATIONS_MAX {
            let detail = format!("{AUTHORIZATIONS_MAX} authorizations are kept already");
            return Err(Problem::new(ProblemKind::LimitReached, detail));
        }
        let holder = (request.metaverse.clone(), request.user.clone(), request.system.clone());
        self.register.make_room(&holder, out.now().wall)?;
        Ok(Arc::clone(system))
    }

    fn fresh_id(&self, out: &mut Out<'_, Self>) -> Option<PermissionId> {
        loop {
            let id = PermissionId::new(format!("auth-{:016x}", out.chance())).ok()?;
            if self.register.get(&id).is_none() {
                return Some(id);
            }
        }
    }

    /// FGMV-29 9.1 steps 8 to 10.
    fn decided(&mut self, meta: Meta, answer: Result<UserAndPermissionInformation, Problem>, out: &mut Out<'_, Self>) {
        let Some(asked) = self.pending.take(meta.pending) else { return };
        let Asked { asker, id, metaverse_entity, request, conversion } = asked;
        let RequestUserAuthorization { system, metaverse, user, scope } = request;
        let decision = answer.and_then(|information| asking::read(&system, information, conversion));
        let decision = match decision.and_then(|decision| check(&system, &scope, decision)) {
            Ok(decision) => decision,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let authorization = UserAuthorization { id, metaverse, user, system, decision };
        match self.register.make_room(&holder(&authorization), out.now().wall) {
            Ok(None) => {}
            Ok(Some(number)) => self.write(number, Record::Forgotten(number), out),
            Err(problem) => return out.reply(asker, Err(problem)),
        }
        // FGMV-29 9.1 step 9.
        let number = self.register.all.next();
        let kept = Kept { number, metaverse_entity, asked: scope, authorization: authorization.clone() };
        self.write(number, Record::Decided(Box::new(kept)), out);
        if !broken(Mutation::AuthorizationStepMissing) {
            out.own(own::AUTHORIZATION_MANAGED);
        }
        let answer = match &authorization.decision {
            AuthorizationDecision::Denied(reason) => Err(denied(&authorization.system, reason)),
            _ => Ok(UserAuthorizationDecided { authorization: Box::new(authorization) }),
        };
        out.reply(asker, answer);
    }

    /// FGMV-29 9.1 steps 8 to 10, later.
    fn decide(
        &mut self,
        message: DecideUserAuthorization,
        out: &mut Out<'_, Self>,
    ) -> Result<UserAuthorization, Problem> {
        let unknown = || {
            let detail = format!("there is no authorization `{}`", message.authorization);
            Problem::new(ProblemKind::RequestUnknown, detail)
        };
        let kept = self.register.get(&message.authorization).ok_or_else(unknown)?;
        if kept.authorization.system != message.system {
            let detail = format!("`{}` is another system's authorization", message.authorization);
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        if *message.decision == AuthorizationDecision::Revoked {
            let detail = "only a metaverse system revokes; a third-party system denies";
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/revoked"));
        }
        // What the user's side has taken back, only that side can ask for again.
        if kept.authorization.decision == AuthorizationDecision::Revoked {
            let detail = format!("`{}` was revoked by its metaverse system", message.authorization);
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        let extra = not_asked(&kept.asked, &message.decision);
        if !extra.is_empty() {
            let detail = format!("nobody asked for {}", extra.join(", "));
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/granted/scope"));
        }
        // The same decision again changes nothing, and is no news.
        if kept.authorization.decision == *message.decision {
            return Ok(kept.authorization.clone());
        }
        let mut kept = kept.clone();
        kept.authorization.decision = *message.decision;
        let (number, metaverse, authorization) = (kept.number, kept.metaverse_entity, kept.authorization.clone());
        self.write(number, Record::Decided(Box::new(kept)), out);
        out.own(own::AUTHORIZATION_MANAGED);
        out.send(metaverse, UserAuthorizationSettled { authorization: Box::new(authorization.clone()) });
        Ok(authorization)
    }

    /// Only the metaverse system that asked for an authorization learns that it exists.
    fn read(&self, message: &ReadUserAuthorization) -> Result<UserAuthorizationDecided, Problem> {
        let kept = self.register.get(&message.authorization);
        match kept.filter(|kept| kept.authorization.metaverse == message.metaverse) {
            Some(kept) => Ok(UserAuthorizationDecided { authorization: Box::new(kept.authorization.clone()) }),
            None => {
                let detail = format!("there is no authorization `{}`", message.authorization);
                Err(Problem::new(ProblemKind::RequestUnknown, detail))
            }
        }
    }

    /// FGMV-29 9.1 step 13.
    fn verify(
        &self,
        question: &VerifyUserAuthorization,
        out: &Out<'_, Self>,
    ) -> Result<UserAuthorizationVerified, Problem> {
        let (authorization, grant) = self.register.verify(question, out.now().wall)?;
        Ok(UserAuthorizationVerified { authorization: authorization.clone(), grant: Box::new(grant.clone()) })
    }

    /// FGMV-29 8.2.1: a system that is registered no more gives no user anything; who was told otherwise hears it.
    fn forget(&mut self, system: &SystemId, out: &mut Out<'_, Self>) {
        self.systems.remove(system);
        for (number, entity, mut authorization) in self.register.of_system(system) {
            self.write(number, Record::Forgotten(number), out);
            authorization.decision = AuthorizationDecision::Denied(format!("`{system}` is registered no more"));
            out.send(entity, UserAuthorizationSettled { authorization: Box::new(authorization) });
        }
    }

    fn write(&mut self, part: u64, record: Record, out: &mut Out<'_, Self>) {
        out.record(part, record.clone());
        self.replay(record);
    }
}

impl Behaviour for Tpsaa {
    type Wire = Wire;
    type Msg = TpsaaMsg;
    type Record = Record;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            systems: BTreeMap::new(),
            register: Register::default(),
            pending: Pending::new(settings.pending_questions_max, incarnation),
        }
    }

    fn handle(&mut self, envelope: Envelope<TpsaaMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        let event = out.event();
        match envelope.message {
            TpsaaMsg::KeepThirdPartySystem(message) => {
                self.systems.insert(message.system.description.id.clone(), message.system);
                out.reply(meta.asker::<KeepThirdPartySystem>(event), Ok(message::Kept));
            }
            TpsaaMsg::ForgetThirdPartySystem(message) => {
                self.forget(&message.system, out);
                out.reply(meta.asker::<ForgetThirdPartySystem>(event), Ok(message::Kept));
            }
            TpsaaMsg::RequestUserAuthorization(message) => self.request(meta, message, out),
            TpsaaMsg::UserAndPermissionInformation(answer) => self.decided(meta, answer, out),
            TpsaaMsg::DecideUserAuthorization(message) => {
                let settled = self.decide(message, out);
                let answer = settled.map(|decided| AuthorizationSettled { authorization: Box::new(decided) });
                out.reply(meta.asker::<DecideUserAuthorization>(event), answer);
            }
            TpsaaMsg::RevokeUserAuthorization(message) => {
                let revoked = self.revoke(&message, out);
                let answer = revoked.map(|revoked| AuthorizationSettled { authorization: Box::new(revoked) });
                out.reply(meta.asker::<RevokeUserAuthorization>(event), answer);
            }
            TpsaaMsg::ListUserAuthorizations(message) => {
                let answer = self.list(&message).map(|page| UserAuthorizationsListed { page: Box::new(page) });
                out.reply(meta.asker::<ListUserAuthorizations>(event), answer);
            }
            TpsaaMsg::ReadUserAuthorization(message) => {
                out.reply(meta.asker::<ReadUserAuthorization>(event), self.read(&message));
            }
            TpsaaMsg::VerifyUserAuthorization(message) => {
                let verified = self.verify(&message, out);
                out.reply(meta.asker::<VerifyUserAuthorization>(event), verified);
            }
        }
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Decided(kept) => self.register.keep(*kept),
            Record::Forgotten(number) => self.register.forget(number),
        }
    }

    fn snapshot(&self, part: u64, into: &mut Vec<Record>) {
        into.extend(self.register.all.get(part).cloned().map(|kept| Record::Decided(Box::new(kept))));
    }

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        // When the daemon starts, TPSR recovers too and tells everybody.
        if why == Recovery::Failure {
            out.send(TPSR, Reannounce);
        }
    }
}

/// A third-party system that grants what was not asked for has not understood the question.
fn check(
    system: &SystemId,
    asked: &BTreeSet<String>,
    decision: AuthorizationDecision,
) -> Result<AuthorizationDecision, Problem> {
    if decision == AuthorizationDecision::Revoked {
        let detail = format!("`{system}` revoked what it was asked for: only the asker does");
        return Err(Problem::new(ProblemKind::OutsideFailed, detail));
    }
    let extra = not_asked(asked, &decision);
    if extra.is_empty() {
        return Ok(decision);
    }
    let detail = format!("`{system}` granted what nobody asked for: {}", extra.join(", "));
    Err(Problem::new(ProblemKind::OutsideFailed, detail))
}

#[cfg(test)]
mod tests;
