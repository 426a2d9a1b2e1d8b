//! Digital twin synchronization (DTS, FGMV-29 8.3.4): steps 14 to 18 of FGMV-29 9.2.

use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, Problem,
    message::{
        ApplyChange, ChangeApplied, ChangeCompleted, ChangeTwin, ChangeVerified, DTAC, DtsMsg, KeepTwinSystem, Kept,
        PhysicalChange, ReflectChange, VerifyChange, Wire,
    },
};

use crate::{NoRecord, Settings, settings::pending_full};

/// A change on its way from the virtual to the physical.
#[derive(Debug)]
struct Change {
    asker: Asker<ChangeTwin>,
    wanted: ChangeTwin,
}

/// Digital twin synchronization. It remembers only the changes that are under way.
#[derive(Debug)]
pub struct Dts {
    changes: Pending<Change>,
}

impl Behaviour for Dts {
    type Wire = Wire;
    type Msg = DtsMsg;
    type Record = NoRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self { changes: Pending::new(settings.pending_questions_max, incarnation) }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<DtsMsg>, out: &mut Out<'_, Self>) {
        match message {
            // Messages carry the addresses that they need, so that there is nothing to keep.
            DtsMsg::KeepTwinSystem(_) => out.reply(meta.asker::<KeepTwinSystem>(out.event()), Ok(Kept)),
            DtsMsg::PhysicalChange(change) => reflect(change, out),
            DtsMsg::ChangeTwin(wanted) => self.change(&meta, wanted, out),
            DtsMsg::ChangeVerified(answer) => self.verified(&meta, answer, out),
            DtsMsg::ChangeApplied(answer) => self.applied(&meta, answer, out),
            DtsMsg::StopTwin(_)
            | DtsMsg::SyncVerified(_)
            | DtsMsg::SyncLeaseGranted(_)
            | DtsMsg::SyncLeaseSettled(_) => {}
        }
    }

    fn replay(&mut self, record: NoRecord) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<NoRecord>) {}
}

/// FGMV-29 9.2 step 14: what the object did is shown by its twin.
fn reflect(change: PhysicalChange, out: &mut Out<'_, Dts>) {
    let PhysicalChange { twin, entity, values, at, reporter } = change;
    out.send(entity, ReflectChange { twin, values, at, version: 0, reporter });
}

impl Dts {
    /// FGMV-29 9.2 steps 15 and 16: a wanted change is verified first.
    fn change(&mut self, meta: &Meta, wanted: ChangeTwin, out: &mut Out<'_, Self>) {
        let verify = VerifyChange {
            metaverse: wanted.metaverse.clone(),
            user: wanted.user.clone(),
            twin: wanted.twin.clone(),
            values: wanted.values.clone(),
        };
        match self.changes.insert(Change { asker: meta.asker(out.event()), wanted }) {
            Ok(key) => out.ask(DTAC, verify, key),
            Err(Change { asker, .. }) => out.reply(asker, Err(pending_full())),
        }
    }

    /// FGMV-29 9.2 step 17: a valid request goes to the twin, and by it to the twin system; an invalid one is rejected.
    fn verified(&mut self, meta: &Meta, answer: Result<ChangeVerified, Problem>, out: &mut Out<'_, Self>) {
        let Some(change) = self.changes.get_mut(meta.pending) else { return };
        match answer {
            Ok(ChangeVerified { entity, .. }) => {
                let apply = ApplyChange {
                    twin: change.wanted.twin.clone(),
                    metaverse: change.wanted.metaverse.clone(),
                    user: change.wanted.user.clone(),
                    values: change.wanted.values.clone(),
                    token: change.wanted.token,
                    not_after: None,
                    stop: false,
                    system_entity: ApplyChange::nowhere(),
                };
                out.ask(entity, apply, meta.pending);
            }
            Err(problem) => self.complete(meta, Err(problem), out),
        }
    }

    /// FGMV-29 9.2 steps 18 and 18x: the twin system has answered.
    fn applied(&mut self, meta: &Meta, answer: Result<ChangeApplied, Problem>, out: &mut Out<'_, Self>) {
        self.complete(meta, answer.map(|ChangeApplied { values, .. }| ChangeCompleted { values }), out);
    }

    fn complete(&mut self, meta: &Meta, answer: Result<ChangeCompleted, Problem>, out: &mut Out<'_, Self>) {
        if let Some(Change { asker, .. }) = self.changes.take(meta.pending) {
            out.reply(asker, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use twinway_protocol::{
        EntityId, PendingKey, Problem, ProblemKind, StepId,
        message::{
            ApplyChange, ChangeApplied, ChangeCompleted, ChangeTwin, ChangeVerified, DTAC, DTS, DtacMsg, DtsMsg,
            MetaverseSystemMsg, PhysicalChange, ReflectChange, TwinMsg,
        },
        time::Timestamp,
    };

    use super::Dts;
    use crate::{
        Settings,
        dtif::sample::{heard, metaverse, sent_to, system_actor, system_id, twin_actor, twin_id, user, values},
        trial::Trial,
    };

    fn trial(settings: &Settings) -> Trial<Dts> {
        Trial::new(DTS.id(), settings)
    }

    fn wanted() -> ChangeTwin {
        let values = Arc::new(values(&[("on", "true")]));
        ChangeTwin { metaverse: system_id("world"), user: user("ada"), twin: twin_id("a"), values, token: None }
    }

    /// Steps 15 and 16, up to the question to DTAC.
    fn asked(trial: &mut Trial<Dts>) -> PendingKey {
        let effects = trial.deliver(metaverse(1).id(), PendingKey::from_bits(3), wanted());
        let verify = sent_to::<DtacMsg>(effects);
        let [(meta, DtacMsg::VerifyChange(question))] = &verify[..] else { panic!("{verify:?}") };
        assert_eq!(question.twin, twin_id("a"));
        meta.pending
    }

    fn rejected(trial: &mut Trial<Dts>, from: EntityId, key: PendingKey, answer: impl Into<DtsMsg>) -> Option<StepId> {
        let answers = sent_to::<MetaverseSystemMsg>(trial.deliver(from, key, answer));
        let [(meta, MetaverseSystemMsg::ChangeCompleted(Err(_)))] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!((meta.to, meta.pending), (metaverse(1).id(), PendingKey::from_bits(3)));
        meta.step
    }

    #[test]
    fn steps_15_to_18x_go_by_dtac_and_the_twin() {
        let mut trial = trial(&Settings::default());
        let key = asked(&mut trial);
        let verified = Ok(ChangeVerified { entity: twin_actor(5), has_object: false });
        let apply = sent_to::<TwinMsg>(trial.deliver(DTAC.id(), key, verified));
        let [(meta, TwinMsg::ApplyChange(ApplyChange { user: by, .. }))] = &apply[..] else { panic!("{apply:?}") };
        assert_eq!((meta.to, by), (twin_actor(5).id(), &user("ada")));
        let applied = Ok(ChangeApplied { values: Box::new(values(&[("on", "true")])), seen: None });
        let effects = trial.deliver(twin_actor(5).id(), meta.pending, applied);
        let completed = heard::<ChangeCompleted>(effects).expect("it is answered").expect("it is done");
        assert_eq!(*completed.values, values(&[("on", "true")]));
        // An answer that comes twice finds nothing.
        let again = Ok(ChangeApplied { values: Box::default(), seen: None });
        assert!(trial.deliver(twin_actor(5).id(), meta.pending, again).is_empty());
    }

    #[test]
    fn an_invalid_request_is_rejected_in_step_17_and_reaches_no_twin() {
        let mut trial = trial(&Settings::default());
        let key = asked(&mut trial);
        let answer: Result<ChangeVerified, _> = Err(Problem::new(ProblemKind::PermissionExpired, "yesterday"));
        assert_eq!(rejected(&mut trial, DTAC.id(), key, answer), Some(twinway_protocol::step_id!("9.2", "17")));
    }

    #[test]
    fn a_failure_of_the_twin_system_is_no_rejection() {
        let mut trial = trial(&Settings::default());
        let key = asked(&mut trial);
        trial.deliver(DTAC.id(), key, Ok(ChangeVerified { entity: twin_actor(5), has_object: false }));
        let answer: Result<ChangeApplied, _> = Err(Problem::new(ProblemKind::OutsideFailed, "broken"));
        let step = rejected(&mut trial, twin_actor(5).id(), key, answer);
        assert_eq!(step, Some(twinway_protocol::step_id!("9.2", "18x")));
    }

    #[test]
    fn a_physical_change_goes_to_the_twin() {
        let mut trial = trial(&Settings::default());
        let (twin, at) = (twin_id("a"), Timestamp::from_unix_ms(7));
        let values = Arc::new(values(&[("on", "true")]));
        let change = PhysicalChange { twin, entity: twin_actor(5), values, at, reporter: None };
        let reflect = sent_to::<TwinMsg>(trial.deliver(system_actor(0).id(), PendingKey::NONE, change));
        let [(meta, TwinMsg::ReflectChange(ReflectChange { version: 0, .. }))] = &reflect[..] else {
            panic!("{reflect:?}")
        };
        assert_eq!(meta.to, twin_actor(5).id());
    }

    #[test]
    fn an_answer_from_before_a_crash_completes_no_change_of_after_it() {
        let mut before = trial(&Settings::default());
        let old = asked(&mut before);
        let mut after = trial(&Settings::default());
        after.recovered();
        asked(&mut after);
        let done = Ok(ChangeApplied { values: Box::default(), seen: None });
        assert!(after.deliver(twin_actor(5).id(), old, done).is_empty());
    }

    #[test]
    fn a_full_table_is_told() {
        let mut trial = trial(&Settings { pending_questions_max: 1, ..Settings::default() });
        asked(&mut trial);
        let effects = trial.deliver(metaverse(1).id(), PendingKey::from_bits(3), wanted());
        let problem = heard::<ChangeCompleted>(effects).expect("it is answered").expect_err("it is refused");
        assert_eq!(problem.kind, ProblemKind::LimitReached);
    }
}
