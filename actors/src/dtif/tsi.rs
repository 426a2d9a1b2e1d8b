//! Third-party system interaction (TSI, FGMV-29 8.3.6): steps 16 to 18 of FGMV-29 9.1.

use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, Problem,
    message::{
        AcquisitionResponse, AcquisitionVerified, CollectTwinInformation, DTAC, DTIA, ForwardAcquisition, TsiMsg,
        TwinInformationCollected, VerifyAcquisition, Wire,
    },
};

use crate::{
    NoRecord, Settings,
    mutation::{Mutation, broken},
    settings::pending_full,
};

/// A third-party system's request under way.
#[derive(Debug)]
struct Acquisition {
    asker: Asker<ForwardAcquisition>,
    wanted: ForwardAcquisition,
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
        match self.acquisitions.insert(Acquisition { asker: meta.asker(out.event()), wanted }) {
            Ok(key) if broken(Mutation::ReadingUnverified) => {
                let VerifyAcquisition { twins, .. } = verify;
                out.ask(DTIA, CollectTwinInformation { twins, properties: None }, key);
            }
            Ok(key) => out.ask(DTAC, verify, key),
            Err(Acquisition { asker, .. }) => out.reply(asker, Err(pending_full())),
        }
    }

    /// FGMV-29 9.1 step 17: it may.
    fn verified(&mut self, meta: &Meta, answer: Result<AcquisitionVerified, Problem>, out: &mut Out<'_, Self>) {
        let Some(acquisition) = self.acquisitions.get_mut(meta.pending) else { return };
        match answer {
            Ok(AcquisitionVerified) => {
                let twins = acquisition.wanted.twins.clone();
                let properties = acquisition.wanted.properties.clone();
                out.ask(DTIA, CollectTwinInformation { twins, properties }, meta.pending);
            }
            Err(problem) => self.respond(meta, Err(problem), out),
        }
    }

    fn collected(&mut self, meta: &Meta, answer: Result<TwinInformationCollected, Problem>, out: &mut Out<'_, Self>) {
        let answer = answer.map(|TwinInformationCollected { twins }| AcquisitionResponse { twins });
        self.respond(meta, answer, out);
    }

    /// FGMV-29 9.1 step 18.
    fn respond(&mut self, meta: &Meta, answer: Result<AcquisitionResponse, Problem>, out: &mut Out<'_, Self>) {
        if let Some(Acquisition { asker, .. }) = self.acquisitions.take(meta.pending) {
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
        let wanted = ForwardAcquisition { system: system_id("grid"), twins: twin_ids(&["a"]), properties: None };
        let verify = sent_to::<DtacMsg>(trial.deliver(DTDA.id(), PendingKey::from_bits(3), wanted));
        let [(meta, DtacMsg::VerifyAcquisition(_))] = &verify[..] else { panic!("{verify:?}") };
        meta.pending
    }

    #[test]
    fn steps_16_to_18_go_by_dtac_and_dtia() {
        let mut trial = Trial::<Tsi>::new(TSI.id(), &Settings::default());
        let key = asked(&mut trial);
        let collect = sent_to::<DtiaMsg>(trial.deliver(DTAC.id(), key, Ok(AcquisitionVerified)));
        let [(meta, DtiaMsg::CollectTwinInformation(question))] = &collect[..] else { panic!("{collect:?}") };
        assert_eq!(question.twins, twin_ids(&["a"]));
        let effects = trial.deliver(DTIA.id(), meta.pending, Ok(TwinInformationCollected { twins: Vec::new() }));
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
