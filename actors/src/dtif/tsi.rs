//! Third-party system interaction (TSI, FGMV-29 8.3.6): steps 16 to 18 of FGMV-29 9.1.

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, Problem, TwinId,
    message::{
        AcquisitionResponse, AcquisitionVerified, CollectTwinInformation, DTAC, DTIA, ForwardAcquisition, TsiMsg,
        TwinInformationCollected, TwinRefusal, VerifyAcquisition, Wire,
    },
};

use crate::{NoRecord, Settings, settings::pending_full};

/// A third-party system's request under way.
#[derive(Debug)]
struct Acquisition {
    asker: Asker<ForwardAcquisition>,
    wanted: ForwardAcquisition,
    /// It is for a subscription, and no step: the third-party system did not ask now.
    beside: bool,
    refused: Vec<TwinRefusal>,
}

/// Third-party system interaction. It remembers only the requests that are under way.
#[derive(Debug)]
pub struct Tsi {
    acquisitions: Pending<Acquisition>,
}

impl Behaviour for Tsi {
    type Wire = Wire;
    type Msg = TsiMsg;
    type Record = NoRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self { acquisitions: Pending::new(settings.pending_questions_max, incarnation) }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<TsiMsg>, out: &mut Out<'_, Self>) {
        match message {
            TsiMsg::ForwardAcquisition(wanted) => self.forwarded(&meta, wanted, out),
            TsiMsg::AcquisitionVerified(answer) => self.verified(&meta, answer, out),
            TsiMsg::TwinInformationCollected(answer) => self.collected(&meta, answer, out),
        }
    }

    fn replay(&mut self, record: NoRecord) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<NoRecord>) {}
}

impl Tsi {
    /// FGMV-29 9.1 steps 16 and 17: may the system read these twins?
    fn forwarded(&mut self, meta: &Meta, wanted: ForwardAcquisition, out: &mut Out<'_, Self>) {
        let verify = VerifyAcquisition { system: wanted.system.clone(), twins: wanted.twins.clone() };
        let (asker, beside) = (meta.asker(out.event()), meta.step.is_none());
        match self.acquisitions.insert(Acquisition { asker, wanted, beside, refused: Vec::new() }) {
            Ok(key) if beside => out.ask_beside(DTAC, verify, key),
            Ok(key) => out.ask(DTAC, verify, key),
            Err(Acquisition { asker, .. }) => out.reply(asker, Err(pending_full())),
        }
    }

    /// FGMV-29 9.1 step 17: it may, all of them or some.
    fn verified(&mut self, meta: &Meta, answer: Result<AcquisitionVerified, Problem>, out: &mut Out<'_, Self>) {
        let Some(acquisition) = self.acquisitions.get_mut(meta.pending) else { return };
        let refused = match answer {
            Ok(AcquisitionVerified { refused }) => refused,
            Err(problem) => return self.respond(meta, Err(problem), out),
        };
        let wanted = &acquisition.wanted;
        let out_of_reach: BTreeSet<&TwinId> = refused.iter().map(|refusal| &refusal.twin).collect();
        let twins: Arc<[TwinId]> = match out_of_reach.is_empty() {
            true => Arc::clone(&wanted.twins),
            false => wanted.twins.iter().filter(|twin| !out_of_reach.contains(*twin)).cloned().collect(),
        };
        let collect = CollectTwinInformation { twins, properties: wanted.properties.clone(), observe: wanted.observe };
        acquisition.refused = refused;
        // What is refused altogether is not collected.
        if collect.twins.is_empty() {
            let nothing = AcquisitionResponse { twins: Vec::new(), refused: Vec::new() };
            self.respond(meta, Ok(nothing), out);
        } else if acquisition.beside {
            out.ask_beside(DTIA, collect, meta.pending);
        } else {
            out.ask(DTIA, collect, meta.pending);
        }
    }

    fn collected(&mut self, meta: &Meta, answer: Result<TwinInformationCollected, Problem>, out: &mut Out<'_, Self>) {
        let answer = answer.map(|TwinInformationCollected { twins, refused }| AcquisitionResponse { twins, refused });
        self.respond(meta, answer, out);
    }

    /// FGMV-29 9.1 step 18.
    fn respond(&mut self, meta: &Meta, answer: Result<AcquisitionResponse, Problem>, out: &mut Out<'_, Self>) {
        if let Some(Acquisition { asker, refused, .. }) = self.acquisitions.take(meta.pending) {
            let answer = answer.map(|response| AcquisitionResponse {
                refused: refused.into_iter().chain(response.refused).collect(),
                ..response
            });
            out.reply(asker, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use twinway_protocol::{
        PendingKey, Problem, ProblemKind,
        message::{
            AcquisitionResponse, AcquisitionVerified, DTAC, DTDA, DTIA, DtacMsg, DtiaMsg, ForwardAcquisition, TSI,
            TwinInformationCollected,
        },
    };

    use super::Tsi;
    use crate::{
        Settings,
        dtif::sample::{heard, sent_to, system_id, twin_ids},
        trial::Trial,
    };

    fn asked(trial: &mut Trial<Tsi>) -> PendingKey {
        let wanted =
            ForwardAcquisition { system: system_id("grid"), twins: twin_ids(&["a"]), properties: None, observe: false };
        let verify = sent_to::<DtacMsg>(trial.deliver(DTDA.id(), PendingKey::from_bits(3), wanted));
        let [(meta, DtacMsg::VerifyAcquisition(_))] = &verify[..] else { panic!("{verify:?}") };
        meta.pending
    }

    #[test]
    fn steps_16_to_18_go_by_dtac_and_dtia() {
        let mut trial = Trial::<Tsi>::new(TSI.id(), &Settings::default());
        let key = asked(&mut trial);
        let collect =
            sent_to::<DtiaMsg>(trial.deliver(DTAC.id(), key, Ok(AcquisitionVerified { refused: Vec::new() })));
        let [(meta, DtiaMsg::CollectTwinInformation(question))] = &collect[..] else { panic!("{collect:?}") };
        assert_eq!(question.twins, twin_ids(&["a"]));
        let effects = trial.deliver(
            DTIA.id(),
            meta.pending,
            Ok(TwinInformationCollected { twins: Vec::new(), refused: Vec::new() }),
        );
        assert!(heard::<AcquisitionResponse>(effects).expect("it is answered").is_ok());
    }

    #[test]
    fn what_dtac_refuses_is_not_collected() {
        let mut trial = Trial::<Tsi>::new(TSI.id(), &Settings::default());
        let key = asked(&mut trial);
        let answer: Result<AcquisitionVerified, _> = Err(Problem::new(ProblemKind::PermissionMissing, "no"));
        let effects = trial.deliver(DTAC.id(), key, answer);
        assert_eq!(effects.len(), 1);
        let problem = heard::<AcquisitionResponse>(effects).expect("it is answered").expect_err("it is refused");
        assert_eq!(problem.kind, ProblemKind::PermissionMissing);
    }
}
