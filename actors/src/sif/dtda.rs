//! Digital twin data acquisition (FGMV-29 8.2.5, 9.1 steps 15, 16 and 19): third-party systems ask here for twins.

use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, Problem, ProblemKind,
    message::{AcquireTwinInformation, AcquisitionResponse, DtdaMsg, ForwardAcquisition, TSI, TwinInformation, Wire},
};

use crate::{NoRecord, Settings, settings::pending_full};

/// Digital twin data acquisition.
#[derive(Debug)]
pub struct Dtda {
    pending: Pending<Asker<AcquireTwinInformation>>,
    twins_max: usize,
}

impl Dtda {
    /// FGMV-29 9.1 steps 15 and 16.
    fn acquire(&mut self, meta: Meta, message: AcquireTwinInformation, out: &mut Out<'_, Self>) {
        let asker = meta.asker(out.event());
        if let Err(problem) = self.check(&message) {
            return out.reply(asker, Err(problem));
        }
        match self.pending.insert(asker) {
            Ok(key) => {
                let AcquireTwinInformation { system, twins, properties } = message;
                out.ask(TSI, ForwardAcquisition { system, twins, properties }, key);
            }
            Err(asker) => out.reply(asker, Err(pending_full())),
        }
    }

    fn check(&self, message: &AcquireTwinInformation) -> Result<(), Problem> {
        if message.twins.is_empty() {
            return Err(Problem::new(ProblemKind::InvalidDocument, "at least one twin is expected here").at("/twins"));
        }
        if message.twins.len() > self.twins_max {
            let detail = format!("request_twins_max: one request names at most {} twins", self.twins_max);
            return Err(Problem::new(ProblemKind::LimitReached, detail).at("/twins"));
        }
        Ok(())
    }

    /// FGMV-29 9.1 step 19.
    fn respond(&mut self, meta: Meta, answer: Result<AcquisitionResponse, Problem>, out: &mut Out<'_, Self>) {
        if let Some(asker) = self.pending.take(meta.pending) {
            out.reply(asker, answer.map(|response| TwinInformation { twins: response.twins }));
        }
    }
}

impl Behaviour for Dtda {
    type Wire = Wire;
    type Msg = DtdaMsg;
    type Record = NoRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self {
            pending: Pending::new(settings.pending_questions_max, incarnation),
            twins_max: settings.request_twins_max,
        }
    }

    fn handle(&mut self, envelope: Envelope<DtdaMsg>, out: &mut Out<'_, Self>) {
        match envelope.message {
            DtdaMsg::AcquireTwinInformation(message) => self.acquire(envelope.meta, message, out),
            DtdaMsg::AcquisitionResponse(answer) => self.respond(envelope.meta, answer, out),
        }
    }

    fn replay(&mut self, record: NoRecord) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<NoRecord>) {}
}

#[cfg(test)]
mod tests {
    use twinway_protocol::{
        EntityId, Mailbox, Problem, ProblemKind, TwinId,
        message::{AcquireTwinInformation, AcquisitionResponse, DtdaMsg, TsiMsg, TwinInformation},
    };

    use super::Dtda;
    use crate::{
        Settings,
        sif::testing::{THIRD_PARTY, answer, key, shown, system_id, to_kind},
        trial::Trial,
    };

    const TSI: EntityId = EntityId::new(TsiMsg::KIND, 0, 0);

    fn dtda(settings: &Settings) -> Trial<Dtda> {
        Trial::new(EntityId::new(DtdaMsg::KIND, 0, 0), settings)
    }

    fn acquire(twins: &[&str]) -> AcquireTwinInformation {
        let twins = twins.iter().map(|twin| TwinId::new(*twin).expect("it is a name")).collect();
        AcquireTwinInformation { system: system_id("shop"), twins, properties: None }
    }

    #[test]
    fn a_request_goes_to_tsi_and_its_answer_back_once() {
        let mut dtda = dtda(&Settings::default());
        let effects = dtda.deliver(THIRD_PARTY, key(3), acquire(&["lamp"]));
        assert_eq!(shown(&effects), ["9.1/16 ForwardAcquisition to Tsi"]);
        let asked = to_kind(effects, TsiMsg::KIND).0.pending;
        let response = || Ok::<_, Problem>(AcquisitionResponse { twins: Vec::new() });
        let effects = dtda.deliver(TSI, asked, DtdaMsg::AcquisitionResponse(response()));
        assert_eq!(shown(&effects), ["9.1/19 TwinInformation to ThirdPartySystem"]);
        assert!(answer::<TwinInformation>(effects, THIRD_PARTY, key(3)).is_some_and(|answer| answer.is_ok()));
        assert!(dtda.deliver(TSI, asked, DtdaMsg::AcquisitionResponse(response())).is_empty());
    }

    #[test]
    fn a_refusal_comes_back_as_it_is() {
        let mut dtda = dtda(&Settings::default());
        let effects = dtda.deliver(THIRD_PARTY, key(3), acquire(&["lamp"]));
        let asked = to_kind(effects, TsiMsg::KIND).0.pending;
        let problem = Problem::new(ProblemKind::PermissionMissing, "not yours");
        let effects = dtda.deliver(TSI, asked, DtdaMsg::AcquisitionResponse(Err(problem.clone())));
        assert_eq!(answer::<TwinInformation>(effects, THIRD_PARTY, key(3)).map(Result::err), Some(Some(problem)));
    }

    #[test]
    fn a_request_names_some_twins_but_not_too_many() {
        let settings = Settings { request_twins_max: 1, pending_questions_max: 1, ..Settings::default() };
        let mut dtda = dtda(&settings);
        let mut refused = |twins: &[&str]| {
            let effects = dtda.deliver(THIRD_PARTY, key(3), acquire(twins));
            answer::<TwinInformation>(effects, THIRD_PARTY, key(3)).and_then(Result::err)
        };
        let empty = refused(&[]).expect("it is refused");
        assert_eq!((empty.kind, empty.pointer.as_deref()), (ProblemKind::InvalidDocument, Some("/twins")));
        assert_eq!(refused(&["a", "b"]).map(|problem| problem.kind), Some(ProblemKind::LimitReached));
        // One that is asked fills the table.
        assert_eq!(refused(&["a"]), None);
        assert_eq!(refused(&["a"]).map(|problem| problem.kind), Some(ProblemKind::LimitReached));
    }
}
