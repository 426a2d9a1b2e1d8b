//! The actor of a physical object: what happens to the object goes to all its twins, and what is asked of it by one
//! of them goes to its digital twin system (FGMV-29 9.2 steps 14, 17 and 18).

use std::sync::Arc;

use twinway_protocol::{
    Asker, Behaviour, EntityId, Envelope, Meta, Out, Pending, Problem, ProblemKind, Recovery,
    message::{
        ApplyChange, ChangeApplied, DTSR, Kept, ObserveChange, PhysicalChange, PhysicalObjectMsg, Reannounce,
        RepresentObject, Representation, Wire,
    },
};

use crate::{NoRecord, Settings, settings::pending_full};

/// The actor of a physical object. What stands for the object comes from DTSR.
#[derive(Debug)]
pub struct PhysicalObject {
    twins: Arc<[Representation]>,
    changes: Pending<Asker<ApplyChange>>,
}

impl Behaviour for PhysicalObject {
    type Wire = Wire;
    type Msg = PhysicalObjectMsg;
    type Record = NoRecord;
    type Settings = Settings;

    fn new(_id: EntityId, settings: &Settings, incarnation: u32) -> Self {
        Self { twins: Arc::from([]), changes: Pending::new(settings.pending_questions_max, incarnation) }
    }

    fn handle(&mut self, Envelope { meta, message }: Envelope<PhysicalObjectMsg>, out: &mut Out<'_, Self>) {
        match message {
            PhysicalObjectMsg::RepresentObject(RepresentObject { twins, .. }) => {
                self.twins = twins;
                out.reply(meta.asker::<RepresentObject>(out.event()), Ok(Kept));
            }
            PhysicalObjectMsg::ObserveChange(change) => self.observe(&change, out),
            PhysicalObjectMsg::ApplyChange(change) => self.apply(&meta, change, out),
            PhysicalObjectMsg::ChangeApplied(answer) => self.applied(&meta, answer, out),
            PhysicalObjectMsg::FenceGate(_)
            | PhysicalObjectMsg::RestrictGate(_)
            | PhysicalObjectMsg::ExtendGate(_)
            | PhysicalObjectMsg::ReflectLease(_)
            | PhysicalObjectMsg::DeviceFenced(_) => {}
        }
    }

    fn replay(&mut self, record: NoRecord) {
        match record {}
    }

    fn snapshot(&self, _part: u64, _into: &mut Vec<NoRecord>) {}

    fn recovered(&mut self, why: Recovery, out: &mut Out<'_, Self>) {
        // When the daemon starts, DTSR recovers too and tells everybody.
        if why == Recovery::Failure {
            out.send(DTSR, Reannounce);
        }
    }
}

impl PhysicalObject {
    /// FGMV-29 9.2 step 14: every twin of the object hears of it, by the system that maintains it.
    fn observe(&self, change: &ObserveChange, out: &mut Out<'_, Self>) {
        // A report that comes before DTSR has said what stands for the object is not passed on, so that its
        // reporter is told that it failed, and repeats it.
        if !self.twins.iter().any(|twin| twin.twin == change.twin) {
            return;
        }
        for twin in self.twins.iter() {
            let physical = PhysicalChange {
                twin: twin.twin.clone(),
                entity: twin.entity,
                values: Arc::clone(&change.values),
                at: change.at,
                reporter: (twin.twin == change.twin).then_some(change.reporter),
            };
            out.send(twin.system, physical);
        }
    }

    /// FGMV-29 9.2 step 17.
    fn apply(&mut self, meta: &Meta, change: ApplyChange, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ApplyChange>(out.event());
        if !self.twins.iter().any(|twin| twin.twin == change.twin) {
            let detail = format!("`{}` does not stand for this object, or not yet", change.twin);
            return out.reply(asker, Err(Problem::new(ProblemKind::TwinUnknown, detail)));
        }
        match self.changes.insert(asker) {
            Ok(key) => out.ask(change.system_entity, change, key),
            Err(asker) => out.reply(asker, Err(pending_full())),
        }
    }

    /// FGMV-29 9.2 step 18.
    fn applied(&mut self, meta: &Meta, answer: Result<ChangeApplied, Problem>, out: &mut Out<'_, Self>) {
        if let Some(asker) = self.changes.take(meta.pending) {
            out.reply(asker, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use twinway_protocol::{
        PendingKey, ProblemKind,
        message::{
            ApplyChange, ChangeApplied, DTSR, DigitalTwinSystemMsg, ObserveChange, Reporter, RepresentObject,
            Representation, TwinMsg,
        },
        time::Timestamp,
    };

    use super::PhysicalObject;
    use crate::{
        Settings,
        dtif::sample::{heard, object_actor, sent_to, system_actor, system_id, twin_actor, twin_id, user, values},
        trial::Trial,
    };

    fn undescribed() -> Trial<PhysicalObject> {
        Trial::new(object_actor(0).id(), &Settings::default())
    }

    fn trial() -> Trial<PhysicalObject> {
        let mut trial = undescribed();
        let twins = [("a", 4, 1), ("b", 5, 2)].map(|(twin, entity, system)| Representation {
            twin: twin_id(twin),
            entity: twin_actor(entity),
            system: system_actor(system),
        });
        let represent = RepresentObject {
            object: "urn:a".parse().expect("it is a name"),
            twins: Arc::new(twins),
            synchronization: Arc::default(),
        };
        trial.deliver(DTSR.id(), PendingKey::NONE, represent);
        trial
    }

    fn observe(trial: &mut Trial<PhysicalObject>, twin: &str) -> Vec<(u32, u32, bool)> {
        let reporter = Reporter { entity: system_actor(1), report: PendingKey::from_bits(8) };
        let values = Arc::new(values(&[("on", "true")]));
        let change = ObserveChange { twin: twin_id(twin), values, at: Timestamp::from_unix_ms(5), reporter };
        let sent = sent_to::<DigitalTwinSystemMsg>(trial.deliver(system_actor(1).id(), PendingKey::NONE, change));
        let changes = sent.into_iter().map(|(meta, message)| {
            let DigitalTwinSystemMsg::PhysicalChange(change) = message else { panic!("{message:?}") };
            (meta.to.slot(), change.entity.id().slot(), change.reporter.is_some())
        });
        changes.collect()
    }

    fn apply(twin: &str) -> ApplyChange {
        ApplyChange {
            twin: twin_id(twin),
            metaverse: system_id("world"),
            user: user("ada"),
            values: Arc::new(values(&[("on", "true")])),
            token: None,
            not_after: None,
            stop: false,
            system_entity: system_actor(2),
        }
    }

    #[test]
    fn step_14_goes_to_every_twin_and_the_reporter_hears_of_one() {
        assert_eq!(observe(&mut trial(), "b"), [(1, 4, false), (2, 5, true)]);
    }

    #[test]
    fn what_does_not_stand_for_the_object_neither_reports_nor_changes_it() {
        assert!(observe(&mut trial(), "c").is_empty());
        for (mut trial, twin) in [(trial(), "c"), (undescribed(), "a")] {
            let effects = trial.deliver(twin_actor(4).id(), PendingKey::NONE, apply(twin));
            let problem = heard::<ChangeApplied>(effects).expect("it is answered").expect_err("it is refused");
            assert_eq!(problem.kind, ProblemKind::TwinUnknown);
        }
    }

    #[test]
    fn steps_17_and_18_go_to_the_twin_system_and_back() {
        let mut trial = trial();
        let asked =
            sent_to::<DigitalTwinSystemMsg>(trial.deliver(twin_actor(5).id(), PendingKey::from_bits(3), apply("b")));
        let [(meta, DigitalTwinSystemMsg::ApplyChange(_))] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!(meta.to, system_actor(2).id());
        let done = Ok(ChangeApplied { values: Box::default(), seen: None });
        let answers = sent_to::<TwinMsg>(trial.deliver(meta.to, meta.pending, done));
        let [(meta, TwinMsg::ChangeApplied(Ok(_)))] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!((meta.to, meta.pending), (twin_actor(5).id(), PendingKey::from_bits(3)));
    }
}
