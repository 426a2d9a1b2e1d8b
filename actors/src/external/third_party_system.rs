//! The actor of a third-party system (FGMV-29 9.1): registers it, asks it, and answers for it.

mod delivering;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Answers, Ask, Asker, Behaviour, EntityId, Envelope, JsonDoc, Meta, Out, Pending, PendingKey, Problem, ProblemKind,
    Recovery,
    access::UserAuthorization,
    message::{
        AcquireTwinInformation, AuthorizationSettled, DTDA, DecideUserAuthorization, Deregister, Deregistered,
        EndTwinSubscription, EndTwinSubscriptions, ExecuteService, FindAtPlace, ForgetThirdPartySystem,
        ForwardUserAuthorization, Heartbeat, KeepThirdPartySystem, Kept, ListTwinSubscriptions, ListUserAuthorizations,
        OpenSystem, ReadTwinSubscription, RegisterThirdPartySystem, RenewRegistration, RenewTwinSubscription,
        ReportPerformance, RevokeUserAuthorization, SubscribeTwinInformation, SystemStands, TPSAA, TPSR,
        ThirdPartySystemMsg, ThirdPartySystemRegistered, TwinInformation, TwinSubscriptionShown,
        TwinSubscriptionsListed, UpdateThirdPartySystem, UserAuthorizationsListed, Wire,
    },
    registry::ThirdPartyDescription,
    signal::{Event, Signal},
};

use super::{opened::Opened, outside::OutsideRequests, passing::passes};
use crate::{Settings, settings::pending_full};

/// The actor of one third-party system.
#[derive(Debug)]
pub struct ThirdPartySystem {
    opened: Option<Opened>,
    outside: OutsideRequests,
    pending: Pending<Waiting>,
    finding: Pending<Asker<FindAtPlace>>,
}

/// What it writes down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Record {
    /// The system has this name, and is reached like this.
    Opened(Opened),
}

passes! {
    ThirdPartySystem {
        // FGMV-29 9.1 steps 1 and 3.
        ThirdPartySystemRegistered: RegisterThirdPartySystem => TPSR, UpdateThirdPartySystem => TPSR;
        // FGMV-29 8.2.1.
        Deregistered: Deregister => TPSR;
        SystemStands: RenewRegistration => TPSR, Heartbeat => TPSR;
        // FGMV-29 9.1 step 8, later.
        AuthorizationSettled: DecideUserAuthorization => TPSAA, RevokeUserAuthorization => TPSAA;
        UserAuthorizationsListed: ListUserAuthorizations => TPSAA;
        // FGMV-29 9.1 steps 15 and 19.
        TwinInformation: AcquireTwinInformation => DTDA;
        // FGMV-29 8.2.5.
        TwinSubscriptionShown:
            SubscribeTwinInformation => DTDA, ReadTwinSubscription => DTDA, RenewTwinSubscription => DTDA,
            EndTwinSubscription => DTDA;
        TwinSubscriptionsListed: ListTwinSubscriptions => DTDA;
    }
}

impl ThirdPartySystem {
    fn open(&mut self, meta: Meta, message: OpenSystem, out: &mut Out<'_, Self>) {
        let answer = Opened::after(self.opened.as_ref(), message).map(|opened| {
            self.keep(opened, out);
            Kept
        });
        out.reply(meta.asker::<OpenSystem>(out.event()), answer);
    }

    fn keep(&mut self, opened: Opened, out: &mut Out<'_, Self>) {
        opened.signal(out);
        if self.opened.as_ref() != Some(&opened) {
            out.record(0, Record::Opened(opened.clone()));
            self.replay(Record::Opened(opened));
        }
    }

    /// What it registered says how it is reached from now on.
    fn keep_registered(&mut self, description: &ThirdPartyDescription, out: &mut Out<'_, Self>) {
        // The register outlives a name that was never recorded, but never changes one.
        if self.opened.as_ref().is_none_or(|opened| opened.id == description.id) {
            self.keep(Opened { id: description.id.clone(), reach: description.reach.clone() }, out);
        }
    }

    /// FGMV-28 7.3.3: a third-party system asks a metaverse system what is at a place, for itself and no other.
    fn find_at_place(&mut self, meta: &Meta, message: FindAtPlace, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<FindAtPlace>(out.event());
        let Some(own) = self.opened.as_ref().map(|opened| opened.id.clone()) else {
            return out.reply(asker, Err(Problem::new(ProblemKind::Internal, "the system has no name")));
        };
        match self.finding.insert(asker) {
            Ok(key) => {
                out.ask(message.metaverse_entity, FindAtPlace { third_party: Some(own), ..message }, key);
            }
            Err(asker) => out.reply(asker, Err(pending_full())),
        }
    }

    /// FGMV-29 9.1 step 1: a system registers itself and no other.
    fn register(&mut self, meta: Meta, message: RegisterThirdPartySystem, out: &mut Out<'_, Self>) {
        match self.opened.as_ref().filter(|opened| opened.id != message.description.id) {
            Some(opened) => {
                let detail = format!("`{}` cannot register `{}`", opened.id, message.description.id);
                let problem = Problem::new(ProblemKind::NotAllowed, detail).at("/id");
                out.reply(meta.asker::<RegisterThirdPartySystem>(out.event()), Err(problem));
            }
            None => pass(&mut self.pending, meta, message, out),
        }
    }
}

/// FGMV-29 8.2.1: what was measured of the system.
fn tell_register(report: Option<ReportPerformance>, out: &mut Out<'_, ThirdPartySystem>) {
    if let Some(report) = report {
        out.send(TPSR, report);
    }
}

impl Behaviour for ThirdPartySystem {
    type Wire = Wire;
    type Msg = ThirdPartySystemMsg;
    type Record = Record;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            opened: None,
            outside: OutsideRequests::new(settings),
            pending: Pending::new(settings.pending_questions_max, incarnation),
            finding: Pending::new(settings.pending_questions_max, incarnation),
        }
    }

    fn handle(&mut self, envelope: Envelope<ThirdPartySystemMsg>, out: &mut Out<'_, Self>) {
        let meta = envelope.meta;
        let event = out.event();
        match envelope.message {
            ThirdPartySystemMsg::OpenSystem(message) => self.open(meta, message, out),
            // FGMV-29 9.1 steps 1 to 3.
            ThirdPartySystemMsg::RegisterThirdPartySystem(message) => self.register(meta, message, out),
            ThirdPartySystemMsg::ThirdPartySystemRegistered(answer) => {
                if let Ok(registered) = &answer {
                    self.keep_registered(&registered.system.description, out);
                }
                Heard::hear(&mut self.pending, meta, answer, out);
            }
            ThirdPartySystemMsg::KeepThirdPartySystem(message) => {
                self.keep_registered(&message.system.description, out);
                out.reply(meta.asker::<KeepThirdPartySystem>(event), Ok(Kept));
                let report = self.outside.told_again(&message.system.description.id, out.now().monotonic_ms);
                tell_register(report, out);
            }
            // FGMV-29 8.2.1: the registration is changed, renewed or ended.
            ThirdPartySystemMsg::UpdateThirdPartySystem(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::Deregister(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::Deregistered(answer) => Heard::hear(&mut self.pending, meta, answer, out),
            ThirdPartySystemMsg::RenewRegistration(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::Heartbeat(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::SystemStands(answer) => Heard::hear(&mut self.pending, meta, answer, out),
            ThirdPartySystemMsg::ForgetThirdPartySystem(message) => {
                self.outside.refuse_all(&format!("`{}` is registered no more", message.system), out);
                out.send(DTDA, EndTwinSubscriptions { system: message.system });
                out.reply(meta.asker::<ForgetThirdPartySystem>(event), Ok(Kept));
            }
            ThirdPartySystemMsg::SessionChanged(changed) => {
                let id = self.opened.as_ref().map(|opened| &opened.id);
                let report = self.outside.session(changed.open, id, out.now().monotonic_ms);
                tell_register(report, out);
            }
            // FGMV-29 9.1 steps 7 and 8.
            ThirdPartySystemMsg::ForwardUserAuthorization(question) => {
                self.outside.ask(meta.asker::<ForwardUserAuthorization>(event), question, out);
            }
            ThirdPartySystemMsg::DecideUserAuthorization(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::AuthorizationSettled(answer) => Heard::hear(&mut self.pending, meta, answer, out),
            // FGMV-29 8.2.3: taken back by either side.
            ThirdPartySystemMsg::RevokeUserAuthorization(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::UserAuthorizationRevoked(message) => tell_revoked(&message.authorization, out),
            ThirdPartySystemMsg::ListUserAuthorizations(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::UserAuthorizationsListed(answer) => Heard::hear(&mut self.pending, meta, answer, out),
            // FGMV-29 9.1 step 14.
            ThirdPartySystemMsg::ExecuteService(question) => {
                self.outside.ask(meta.asker::<ExecuteService>(event), question, out);
            }
            ThirdPartySystemMsg::AnswerRequest(message) => self.outside.answer(meta.asker(event), message, out),
            ThirdPartySystemMsg::RequestUndelivered(message) => self.outside.undelivered(message, out),
            // FGMV-29 9.1 steps 15 and 19.
            ThirdPartySystemMsg::AcquireTwinInformation(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::TwinInformation(answer) => Heard::hear(&mut self.pending, meta, answer, out),
            // FGMV-29 8.2.5: the same again and again.
            ThirdPartySystemMsg::SubscribeTwinInformation(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::ReadTwinSubscription(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::RenewTwinSubscription(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::EndTwinSubscription(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::TwinSubscriptionShown(answer) => Heard::hear(&mut self.pending, meta, answer, out),
            ThirdPartySystemMsg::ListTwinSubscriptions(message) => pass(&mut self.pending, meta, message, out),
            ThirdPartySystemMsg::TwinSubscriptionsListed(answer) => Heard::hear(&mut self.pending, meta, answer, out),
            ThirdPartySystemMsg::DeliverTwinInformation(message) => delivering::tell(message, out),
            // FGMV-28 7.3.3, from afar.
            ThirdPartySystemMsg::FindAtPlace(message) => self.find_at_place(&meta, message, out),
            ThirdPartySystemMsg::PlaceFound(answer) => {
                if let Some(asker) = self.finding.take(meta.pending) {
                    out.reply(asker, answer);
                }
            }
        }
    }

    fn timeout(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let id = self.opened.as_ref().map(|opened| &opened.id);
        let report = self.outside.timeout(key, id, out);
        tell_register(report, out);
    }

    fn replay(&mut self, record: Record) {
        let Record::Opened(opened) = record;
        self.opened = Some(opened);
    }

    fn snapshot(&self, _part: u64, into: &mut Vec<Record>) {
        into.extend(self.opened.clone().map(Record::Opened));
    }

    fn recovered(&mut self, _why: Recovery, out: &mut Out<'_, Self>) {
        if let Some(opened) = &self.opened {
            opened.signal(out);
        }
    }
}

/// The user's side has taken an authorization back.
fn tell_revoked(authorization: &UserAuthorization, out: &mut Out<'_, ThirdPartySystem>) {
    // It cannot fail to be JSON: its keys are text.
    let data = JsonDoc::from_value(authorization).unwrap_or_else(|_| JsonDoc::null());
    let event = Event::new("authorization.revoked", authorization.id.to_string(), None, out.now().wall, data);
    out.signal(Signal::Event { entity: out.me(), event: Arc::new(event) });
}

#[cfg(test)]
mod tests;
