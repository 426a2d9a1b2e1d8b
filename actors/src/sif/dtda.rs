//! Digital twin data acquisition (FGMV-29 8.2.5, 9.1 steps 15, 16 and 19): third-party systems ask here for twins, once
//! or as a subscription.
//!
//! A delivery of a subscription is steps 16 to 19 again: what may be read is verified each time. Twins say once that
//! something is new, and are asked for it when it is time, so that a flood of changes costs one reading an interval.

mod delivering;
mod register;
mod subscribing;

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, PendingKey, Problem, ProblemKind, Recovery, TwinId,
    message::{
        AcquireTwinInformation, AcquisitionResponse, DtdaMsg, EndTwinSubscription, ForwardAcquisition,
        ListTwinSubscriptions, ReadTwinSubscription, RenewTwinSubscription, TSI, TwinInformation, Wire,
    },
    time::Timestamp,
};

use crate::{Settings, settings::pending_full};
pub use register::Made;
use register::Register;
use subscribing::Subscribing;

/// What waits for TSI.
#[derive(Debug)]
enum Waiting {
    Acquiring {
        asker: Asker<AcquireTwinInformation>,
        strict: bool,
    },
    Subscribing(Box<Subscribing>),
    /// For the subscription with this number.
    Delivering(u64),
}

/// What DTDA writes down. A part is a subscription.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DtdaRecord {
    /// A third-party system has subscribed.
    Subscribed(Box<Made>),
    /// It may not read some of the twins any more.
    Lost {
        /// The subscription.
        number: u64,
        /// The twins.
        twins: Vec<TwinId>,
    },
    /// The subscription has ended.
    Ended(u64),
    /// It lasts longer.
    Renewed {
        /// The subscription.
        number: u64,
        /// When it ends now.
        expires_at: Timestamp,
    },
}

/// Digital twin data acquisition.
#[derive(Debug)]
pub struct Dtda {
    waiting: Pending<Waiting>,
    register: Register,
    settings: Settings,
}

impl Dtda {
    /// FGMV-29 9.1 steps 15 and 16.
    fn acquire(&mut self, meta: Meta, message: AcquireTwinInformation, out: &mut Out<'_, Self>) {
        let asker = meta.asker(out.event());
        if let Err(problem) = self.check_twins(&message.twins) {
            return out.reply(asker, Err(problem));
        }
        let AcquireTwinInformation { system, twins, properties, strict } = message;
        match self.waiting.insert(Waiting::Acquiring { asker, strict }) {
            Ok(key) => out.ask(TSI, ForwardAcquisition { system, twins, properties, observe: false }, key),
            Err(waiting) => Self::refuse(waiting, out),
        }
    }

    fn check_twins(&self, twins: &[TwinId]) -> Result<(), Problem> {
        if twins.is_empty() {
            return Err(Problem::new(ProblemKind::InvalidDocument, "at least one twin is expected here").at("/twins"));
        }
        let limit = self.settings.request_twins_max;
        if twins.len() > limit {
            let detail = format!("request_twins_max: one request names at most {limit} twins");
            return Err(Problem::new(ProblemKind::LimitReached, detail).at("/twins"));
        }
        Ok(())
    }

    fn refuse(waiting: Waiting, out: &mut Out<'_, Self>) {
        match waiting {
            Waiting::Acquiring { asker, .. } => out.reply(asker, Err(pending_full())),
            Waiting::Subscribing(subscribing) => out.reply(subscribing.asker, Err(pending_full())),
            Waiting::Delivering(_) => {}
        }
    }

    /// FGMV-29 9.1 step 19.
    fn respond(&mut self, meta: &Meta, answer: Result<AcquisitionResponse, Problem>, out: &mut Out<'_, Self>) {
        match self.waiting.take(meta.pending) {
            Some(Waiting::Acquiring { asker, strict }) => {
                let answer = answer.and_then(|response| judge(response, strict));
                let answer = answer.map(|AcquisitionResponse { twins, refused }| TwinInformation { twins, refused });
                out.reply(asker, answer);
            }
            Some(Waiting::Subscribing(subscribing)) => self.subscribed(*subscribing, answer, out),
            Some(Waiting::Delivering(number)) => self.delivered(number, answer, out),
            None => {}
        }
    }
}

/// An answer without any twin, and for one kind of reason, is that reason; with `strict` one refusal refuses all.
fn judge(response: AcquisitionResponse, strict: bool) -> Result<AcquisitionResponse, Problem> {
    let kind = response.refused.first().map(|refusal| refusal.problem.kind);
    let is_one_reason = response.refused.iter().all(|refusal| Some(refusal.problem.kind) == kind);
    match response.refused.first() {
        Some(first) if strict || (response.twins.is_empty() && is_one_reason) => Err(first.problem.clone()),
        _ => Ok(response),
    }
}

impl Behaviour for Dtda {
    type Wire = Wire;
    type Msg = DtdaMsg;
    type Record = DtdaRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            waiting: Pending::new(settings.pending_questions_max, incarnation),
            register: Register::default(),
            settings: settings.clone(),
        }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DtdaMsg>, out: &mut Out<'_, Self>) {
        match message {
            DtdaMsg::AcquireTwinInformation(message) => self.acquire(meta, message, out),
            DtdaMsg::AcquisitionResponse(answer) => self.respond(&meta, answer, out),
            DtdaMsg::SubscribeTwinInformation(message) => self.subscribe(&meta, message, out),
            DtdaMsg::ReadTwinSubscription(message) => {
                let shown = self.read(&message.system, &message.subscription);
                out.reply(meta.asker::<ReadTwinSubscription>(out.event()), shown);
            }
            DtdaMsg::RenewTwinSubscription(message) => {
                let renewed = self.renew(&message, out);
                out.reply(meta.asker::<RenewTwinSubscription>(out.event()), renewed);
            }
            DtdaMsg::EndTwinSubscription(message) => {
                let ended = self.end_wanted(&message, out);
                out.reply(meta.asker::<EndTwinSubscription>(out.event()), ended);
            }
            DtdaMsg::ListTwinSubscriptions(message) => {
                out.reply(meta.asker::<ListTwinSubscriptions>(out.event()), Ok(self.list(&message)));
            }
            DtdaMsg::TwinInformationChanged(changed) => self.changed(&changed.twin, out),
            DtdaMsg::TwinAccessChanged(access) => self.access_changed(&access, out),
            DtdaMsg::EndTwinSubscriptions(ended) => self.end_all(&ended.system, out),
        }
    }

    fn timeout(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        self.time_over(key, out);
    }

    fn replay(&mut self, record: DtdaRecord) {
        match record {
            DtdaRecord::Subscribed(made) => self.register.keep(*made),
            DtdaRecord::Lost { number, twins } => self.register.lose(number, &twins),
            DtdaRecord::Ended(number) => self.register.forget(number),
            DtdaRecord::Renewed { number, expires_at } => {
                if let Some(running) = self.register.all.get_mut(number) {
                    running.made.subscription.expires_at = expires_at;
                }
            }
        }
    }

    fn snapshot(&self, part: u64, into: &mut Vec<DtdaRecord>) {
        let made = self.register.all.get(part).map(|running| running.made.clone());
        into.extend(made.map(|made| DtdaRecord::Subscribed(Box::new(made))));
    }

    fn recovered(&mut self, _why: Recovery, out: &mut Out<'_, Self>) {
        self.resume(out);
    }
}

#[cfg(test)]
mod tests;
