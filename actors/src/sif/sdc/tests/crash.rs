//! An execution after a crash at every record (FGMV-29 8.2.4).

use twinway_protocol::{
    Behaviour, EntityId, Mailbox, ProblemKind, Recovery, Ref,
    collaboration::{ExecutionState, StepState},
    message::{ExecuteService, SdcMsg},
};

use super::scene::{Answer, Scene, failed, operation, order, willing};
use crate::{
    Settings,
    sif::{
        sdc::{Happening, Record, Sdc},
        testing::{METAVERSE, system_id},
    },
    trial::Trial,
};

/// A new life with these records, through the journal's format. Its systems are told first, or last.
fn after_a_crash<'a>(
    records: &[Record],
    told_first: bool,
    answers: impl FnMut(&ExecuteService) -> Answer + 'a,
) -> Scene<'a> {
    let mut scene = Scene::new(&Settings::default(), answers);
    for record in records {
        let bytes = crate::codec::encode(record).expect("a record can be written");
        scene.sdc.behaviour.replay(crate::codec::decode(&bytes).expect("and read"));
    }
    if told_first {
        scene.register();
    }
    let effects = scene.sdc.starts(Recovery::Start);
    scene.follow(effects);
    scene.register();
    scene.wait(60_000);
    scene
}

/// Steps that a prefix of the records says were sent.
fn sent(records: &[Record]) -> Vec<u32> {
    let step = |record: &Record| match record {
        Record::Happened { what: Happening::Sent { step, .. }, .. } => Some(*step),
        _ => None,
    };
    records.iter().filter_map(step).collect()
}

#[test]
fn after_a_crash_at_any_record_a_chain_goes_on_or_is_undone_and_no_step_is_done_twice_unknowingly() {
    for (fails, told_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let answers = move |question: &ExecuteService| match operation(question) {
            "bring" if fails => failed(ProblemKind::OutsideFailed),
            _ => willing(question),
        };
        let mut whole = Scene::open(&Settings::default(), answers);
        whole.start(&order()).expect("it is acceptable");
        let records = std::mem::take(&mut whole.sdc.records);
        assert!(records.len() >= 8, "{records:?}");
        for cut in 1..=records.len() {
            let before = &records[..cut];
            let scene = after_a_crash(before, told_first, answers);
            let state = scene.sdc.behaviour.register.all.get(0).expect("it is kept").execution.view();
            assert!(state.state.has_ended(), "cut {cut}: {state:?}");
            let sent_before = sent(before);
            for (index, operation) in ["sell", "make", "bring"].into_iter().enumerate() {
                let index = u32::try_from(index).expect("it is small");
                let again = scene.asked.iter().any(|(_, asked, _)| asked == operation);
                let twice = sent_before.contains(&index) && again;
                assert!(!twice || operation == "make", "cut {cut}: {operation} was asked for twice: {state:?}");
            }
            // Where nobody knows, that is said, or it was undone.
            let left = |state| matches!(state, StepState::Uncertain | StepState::CompensationFailed);
            let uncertain = state.steps.iter().any(|step| left(step.state));
            assert_eq!(uncertain, state.state == ExecutionState::Uncertain, "cut {cut}: {state:?}");
            if state.state != ExecutionState::Succeeded && !uncertain {
                let kept =
                    state.steps.iter().zip(["shop", "factory"]).any(|(step, _)| step.state == StepState::Succeeded);
                assert!(!kept, "cut {cut}: something was not undone: {state:?}");
            }
        }
    }
}

#[test]
fn a_snapshot_makes_the_same_execution() {
    let mut scene = Scene::open(&Settings::default(), |question| match operation(question) {
        "make" => None,
        _ => willing(question),
    });
    let execution = scene.start_with(&order(), Some("k")).expect("it is acceptable");
    let mut records = Vec::new();
    scene.sdc.behaviour.snapshot(0, &mut records);
    let mut after = Trial::<Sdc>::new(EntityId::new(SdcMsg::KIND, 0, 0), &Settings::default());
    records.into_iter().for_each(|record| after.behaviour.replay(record));
    let kept = after.behaviour.register.by_id(&execution.id).expect("it is kept");
    assert_eq!(kept.execution.view(), scene.read(&execution));
    assert_eq!(kept.execution.started.metaverse_entity, Ref::new(METAVERSE));
    assert_eq!(after.behaviour.register.by_key(&system_id("plaza"), "k"), Some(0));
}

/// What had to be done by a moment that has passed while the daemon was down is not begun any more.
#[test]
fn a_deadline_that_passed_while_the_daemon_was_down_begins_no_further_step() {
    let mut whole = Scene::open(&Settings::default(), willing);
    whole.start(&order()).expect("it is acceptable");
    let records = std::mem::take(&mut whole.sdc.records);
    let done = |record: &Record| matches!(record, Record::Happened { what: Happening::Done { step: 0, .. }, .. });
    let cut = records.iter().position(done).expect("the first step is done") + 1;
    let mut scene = Scene::new(&Settings::default(), willing);
    records[..cut].iter().for_each(|record| scene.sdc.behaviour.replay(record.clone()));
    scene.register();
    scene.sdc.now.wall = scene.sdc.now.wall.plus_ms(Settings::default().chain_deadline_ms + 1);
    let effects = scene.sdc.starts(Recovery::Start);
    scene.follow(effects);
    scene.wait(60_000);
    assert_eq!(scene.operations(), ["shop refund"], "what was done is undone, and nothing else is asked for");
}
