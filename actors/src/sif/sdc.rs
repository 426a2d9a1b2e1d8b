//! System and data collaboration (FGMV-29 8.2.4, 9.1 steps 12 to 14): metaverse systems use third-party systems and
//! share data with them, if TPSAA says that the user may.

use std::{collections::BTreeMap, sync::Arc};

use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, PendingKey, PermissionId, Problem, ProblemKind, Recovery,
    Ref, SystemId, UserId,
    message::{
        ExecuteService, KeepThirdPartySystem, Kept, Reannounce, SdcMsg, ServiceExecuted, ServiceRequest, ServiceResult,
        ShareData, TPSAA, TPSR, ThirdPartySystemMsg, UseThirdPartySystem, UserAuthorizationVerified,
        VerifyUserAuthorization, Wire,
    },
    registry::ThirdPartySystem,
};

use crate::{
    NoRecord, Settings,
    mutation::{Mutation, broken},
    settings::pending_full,
};

/// The operation that sharing data counts as.
const SHARE: &str = "share";

/// System and data collaboration. The systems that it knows are derived from TPSR's register.
#[derive(Debug)]
pub struct Sdc {
    systems: BTreeMap<SystemId, Arc<ThirdPartySystem>>,
    pending: Pending<Waiting>,
}

/// Who asked, by the type of the question.
#[derive(Debug)]
enum WhoAsked {
    ToUse(Asker<UseThirdPartySystem>),
    ToShare(Asker<ShareData>),
}

impl WhoAsked {
    fn answer(self, answer: Result<ServiceResult, Problem>, out: &mut Out<'_, Sdc>) {
        match self {
            Self::ToUse(asker) => out.reply(asker, answer),
            Self::ToShare(asker) => out.reply(asker, answer),
        }
    }
}

/// A request, whichever way it was asked.
#[derive(Debug)]
struct Request {
    system: SystemId,
    metaverse: SystemId,
    user: UserId,
    request: Box<ServiceRequest>,
}

impl Request {
    fn operation(&self) -> &str {
        match &*self.request {
            ServiceRequest::Use { operation, .. } => operation,
            ServiceRequest::Share { .. } => SHARE,
        }
    }
}

/// How far a request is.
#[derive(Debug)]
enum Waiting {
    /// TPSAA is asked whether the user may.
    Verifying { who: WhoAsked, request: Request, entity: Ref<ThirdPartySystemMsg> },
    /// The third-party system is asked to do it.
    Executing(WhoAsked),
}

impl Sdc {
    /// FGMV-29 9.1 steps 12 and 13.
    fn collaborate(&mut self, who: WhoAsked, request: Request, out: &mut Out<'_, Self>) {
        let entity = match self.find(&request) {
            Ok(entity) => entity,
            Err(problem) => return who.answer(Err(problem), out),
        };
        let verify = VerifyUserAuthorization {
            system: request.system.clone(),
            metaverse: request.metaverse.clone(),
            user: request.user.clone(),
            operation: request.operation().into(),
        };
        if broken(Mutation::ServiceBeforeVerified)
            && let Ok(authorization) = PermissionId::new("none")
        {
            let Request { metaverse, user, request: wanted, .. } = &request;
            let (metaverse, user, request) = (metaverse.clone(), user.clone(), wanted.clone());
            out.ask(entity, ExecuteService { authorization, metaverse, user, request }, PendingKey::NONE);
        }
        match self.pending.insert(Waiting::Verifying { who, request, entity }) {
            Ok(key) => out.ask(TPSAA, verify, key),
            Err(Waiting::Verifying { who, .. } | Waiting::Executing(who)) => who.answer(Err(pending_full()), out),
        }
    }

    /// The system that is asked, if what is asked of it is something that it offers.
    fn find(&self, request: &Request) -> Result<Ref<ThirdPartySystemMsg>, Problem> {
        let Some(system) = self.systems.get(&request.system) else {
            let detail = format!("no third-party system `{}` is registered", request.system);
            return Err(Problem::new(ProblemKind::SystemUnknown, detail));
        };
        let apis = &system.description.apis;
        if let ServiceRequest::Use { operation, .. } = &*request.request
            && !apis.is_empty()
            && !apis.iter().any(|api| *api.operation == **operation)
        {
            let detail = format!("`{}` offers no operation `{operation}`", request.system);
            return Err(Problem::new(ProblemKind::InvalidDocument, detail).at("/operation"));
        }
        Ok(system.entity)
    }

    /// FGMV-29 9.1 step 14: a valid request goes to the third-party system, an invalid one is rejected.
    fn verified(&mut self, meta: Meta, answer: Result<UserAuthorizationVerified, Problem>, out: &mut Out<'_, Self>) {
        if !matches!(self.pending.get_mut(meta.pending), Some(Waiting::Verifying { .. })) {
            return;
        }
        let Some(Waiting::Verifying { who, request, entity }) = self.pending.take(meta.pending) else { return };
        let authorization = match answer {
            Ok(verified) => verified.authorization,
            Err(_) if broken(Mutation::RejectionUnsaid) => return,
            Err(problem) => return who.answer(Err(problem), out),
        };
        let Request { metaverse, user, request, .. } = request;
        match self.pending.insert(Waiting::Executing(who)) {
            Ok(key) => out.ask(entity, ExecuteService { authorization, metaverse, user, request }, key),
            Err(Waiting::Verifying { who, .. } | Waiting::Executing(who)) => who.answer(Err(pending_full()), out),
        }
    }

    /// FGMV-29 9.1 step 14x.
    fn executed(&mut self, meta: Meta, answer: Result<ServiceExecuted, Problem>, out: &mut Out<'_, Self>) {
        if !matches!(self.pending.get_mut(meta.pending), Some(Waiting::Executing(_))) {
            return;
        }
        if let Some(Waiting::Executing(who)) = self.pending.take(meta.pending) {
            who.answer(answer.map(|executed| ServiceResult { output: executed.output }), out);
        }
    }
}

impl Behaviour for Sdc {
    type Wire = Wire;
    type Msg = SdcMsg;
    type Record = NoRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self { systems: BTreeMap::new(), pending: Pending::new(settings.pending_questions_max, incarnation) }
    }

    fn handle(&mut self, envelope: Envelope<SdcMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        let event = out.event();
        match envelope.message {
            SdcMsg::KeepThirdPartySystem(message) => {
                self.systems.insert(message.system.description.id.clone(), message.system);
                out.reply(meta.asker::<KeepThirdPartySystem>(event), Ok(Kept));
            }
            SdcMsg::UseThirdPartySystem(message) => {
                let UseThirdPartySystem { system, metaverse, user, operation, input } = message;
                let request = Box::new(ServiceRequest::Use { operation, input });
                self.collaborate(WhoAsked::ToUse(meta.asker(event)), Request { system, metaverse, user, request }, out);
            }
            SdcMsg::ShareData(message) => {
                let ShareData { system, metaverse, user, topic, data } = message;
                let request = Box::new(ServiceRequest::Share { topic, data });
                self.collaborate(
                    WhoAsked::ToShare(meta.asker(event)),
                    Request { system, metaverse, user, request },
                    out,
                );
            }
            SdcMsg::UserAuthorizationVerified(answer) => self.verified(meta, answer, out),
            SdcMsg::ServiceExecuted(answer) => self.executed(meta, answer, out),
        }
    }

    fn replay(&mut self, record: NoRecord) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<NoRecord>) {}

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        // When the daemon starts, TPSR recovers too and tells everybody.
        if why == Recovery::Failure {
            out.send(TPSR, Reannounce);
        }
    }
}

#[cfg(test)]
mod tests;
