//! DTDA alone (FGMV-29 8.2.5).

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
    AcquireTwinInformation { system: system_id("shop"), twins, properties: None, strict: false }
}

#[test]
fn a_request_goes_to_tsi_and_its_answer_back_once() {
    let mut dtda = dtda(&Settings::default());
    let effects = dtda.deliver(THIRD_PARTY, key(3), acquire(&["lamp"]));
    assert_eq!(shown(&effects), ["9.1/16 ForwardAcquisition to Tsi"]);
    let asked = to_kind(effects, TsiMsg::KIND).0.pending;
    let response = || Ok::<_, Problem>(AcquisitionResponse { twins: Vec::new(), refused: Vec::new() });
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

mod subscriptions;
