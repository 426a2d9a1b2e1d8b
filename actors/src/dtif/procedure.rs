//! The procedure of FGMV-29 9.2 through all its entities, delivered in the order of sending.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use twinway_protocol::{
    Behaviour, Effect, EntityId, Mailbox, Meta, PendingKey, Recovery, StepId, WireSet,
    access::Right,
    message::{
        AnswerRequest, ApplyChange, ChangeApplied, ChangeCompleted, ChangeTerms, ChangeTwin, DTAC, DTIA, DTS, DTSD,
        DTSR, DigitalTwinSystemMsg, DtacMsg, DtiaMsg, DtsMsg, DtsdMsg, DtsrMsg, ForwardTwinPropertiesRequest,
        MetaverseSystemMsg, OpenSystem, OutsideAnswer, OutsideRequest, PhysicalObjectMsg, PropertyValues,
        RegisterTwinSystem, ReportPhysicalChange, RequestTwinPropertiesAndPermission, SYNC_SUPERVISOR,
        SearchTwinSystems, SelectTwins, SyncSupervisorMsg, TwinGrant, TwinMsg, TwinPropertiesAndPermission, Wire,
    },
    registry::SystemQuery,
    signal::Signal,
};

use super::{
    dtac::Dtac,
    dtia::Dtia,
    dts::Dts,
    dtsd::Dtsd,
    dtsr::Dtsr,
    sample::{caller, description, metaverse, system_actor, system_id, twin, twin_id, twin_ids, user, values},
};
use crate::{
    Settings,
    external::{digital_twin_system::DigitalTwinSystem, physical_object::PhysicalObject},
    sync_supervisor::SyncSupervisor,
    trial::Trial,
    twin::Twin,
};

trait Entity {
    fn take(&mut self, meta: Meta, wire: Wire) -> Vec<Effect<Wire>>;
}

impl<B: Behaviour<Wire = Wire>> Entity for Trial<B> {
    fn take(&mut self, meta: Meta, wire: Wire) -> Vec<Effect<Wire>> {
        let message = B::Msg::from_wire(wire).expect("it is for this kind of entity");
        self.deliver(meta.from, meta.pending, message)
    }
}

/// All entities, and a twin system outside that permits everything and does whatever it is asked.
struct World {
    entities: BTreeMap<EntityId, Box<dyn Entity>>,
    queue: VecDeque<(Meta, Wire)>,
    /// Every step with who took it: deliveries by receiver, own steps with `own`.
    steps: Vec<String>,
    /// What reached the metaverse system and callers.
    arrived: Vec<Wire>,
}

impl World {
    fn new() -> Self {
        let mut world =
            Self { entities: BTreeMap::new(), queue: VecDeque::new(), steps: Vec::new(), arrived: Vec::new() };
        let entities =
            [DTSR.id(), DTSD.id(), DTIA.id(), DTS.id(), DTAC.id(), SYNC_SUPERVISOR.id(), system_actor(0).id()];
        entities.into_iter().for_each(|id| world.spawn(id));
        world
    }

    fn spawn(&mut self, id: EntityId) {
        fn entity<B: Behaviour<Wire = Wire, Settings = Settings>>(id: EntityId) -> Box<dyn Entity> {
            Box::new(Trial::<B>::new(id, &Settings::default()))
        }
        /// What begins an epoch when the daemon starts.
        fn started<B: Behaviour<Wire = Wire, Settings = Settings>>(id: EntityId) -> Box<dyn Entity> {
            let mut trial = Trial::<B>::new(id, &Settings::default());
            trial.starts(Recovery::Start);
            Box::new(trial)
        }
        self.entities.entry(id).or_insert_with(|| match id.kind() {
            DtsrMsg::KIND => entity::<Dtsr>(id),
            DtsdMsg::KIND => entity::<Dtsd>(id),
            DtiaMsg::KIND => entity::<Dtia>(id),
            DtsMsg::KIND => entity::<Dts>(id),
            DtacMsg::KIND => entity::<Dtac>(id),
            SyncSupervisorMsg::KIND => started::<SyncSupervisor>(id),
            DigitalTwinSystemMsg::KIND => entity::<DigitalTwinSystem>(id),
            PhysicalObjectMsg::KIND => entity::<PhysicalObject>(id),
            TwinMsg::KIND => entity::<Twin>(id),
            kind => panic!("no entity of kind {kind} is made here"),
        });
    }

    /// Delivers `message` and all that follows from it; gives the steps that were taken.
    fn run<M: Mailbox<Wire = Wire>>(
        &mut self,
        from: EntityId,
        to: EntityId,
        step: Option<StepId>,
        message: M,
    ) -> String {
        let cause = twinway_protocol::EventId::NONE;
        let meta = Meta { from, to, cause, pending: PendingKey::NONE, step };
        self.queue.push_back((meta, message.into_wire()));
        while let Some((meta, wire)) = self.queue.pop_front() {
            if let Some(step) = meta.step {
                self.steps.push(format!("{}:{}", step.number, Wire::kind_name(meta.to.kind())));
            }
            match self.entities.get_mut(&meta.to) {
                Some(entity) => {
                    let effects = entity.take(meta, wire);
                    self.follow(meta.to, effects);
                }
                None => self.arrived.push(wire),
            }
        }
        std::mem::take(&mut self.steps).join(" ")
    }

    fn follow(&mut self, of: EntityId, effects: Vec<Effect<Wire>>) {
        for effect in effects {
            match effect {
                Effect::Send { wire, meta } => self.queue.extend(wire.map(|wire| (meta, wire))),
                Effect::Spawn(id) => self.spawn(id),
                Effect::Own(step) => self.steps.push(format!("{}:own", step.number)),
                Effect::Signal(Signal::Request { request, body, .. }) => {
                    let answer = AnswerRequest { request, answer: Box::new(outside(*body)) };
                    let meta = Meta {
                        from: caller(),
                        to: of,
                        cause: twinway_protocol::EventId::NONE,
                        pending: PendingKey::NONE,
                        step: None,
                    };
                    self.queue.push_back((meta, DigitalTwinSystemMsg::from(answer).into_wire()));
                }
                Effect::Signal(_) | Effect::Timer { .. } | Effect::Stop => {}
            }
        }
    }

    fn changes(&mut self) -> Vec<(String, u64)> {
        let arrived = std::mem::take(&mut self.arrived).into_iter();
        let changes = arrived.filter_map(|wire| match wire {
            Wire::MetaverseSystem(MetaverseSystemMsg::ReflectChange(change)) => {
                Some((change.twin.to_string(), change.version))
            }
            _ => None,
        });
        changes.collect()
    }
}

fn outside(request: OutsideRequest) -> OutsideAnswer {
    match request {
        OutsideRequest::DescribeTwins(ForwardTwinPropertiesRequest { twins, rights, .. }) => {
            let twins = twins.iter().map(|twin| TwinGrant {
                twin: twin.clone(),
                properties: values(&[("on", "false")]),
                rights: (*rights).clone(),
                expires_at: None,
                role: None,
            });
            OutsideAnswer::DescribeTwins(TwinPropertiesAndPermission { twins: twins.collect() })
        }
        OutsideRequest::ApplyChange(ApplyChange { values, .. }) => {
            OutsideAnswer::ApplyChange(ChangeApplied { values: Box::new((*values).clone()), seen: None })
        }
        other => panic!("a twin system is not asked this: {other:?}"),
    }
}

/// A world in which `world` has selected the lamp's twins a and b, and may change a.
fn at_step_12() -> World {
    let mut world = World::new();
    let system = system_actor(0).id();
    let open = OpenSystem { id: system_id("home"), reach: None };
    world.run(caller(), system, None, DigitalTwinSystemMsg::from(open));
    let twins = vec![twin("a", Some("urn:lamp")), twin("b", Some("urn:lamp"))];
    let register = RegisterTwinSystem { description: Box::new(description("home", twins)) };
    let steps = world.run(caller(), system, None, DigitalTwinSystemMsg::from(register));
    assert_eq!(steps, "1:Dtsr 2:own 3:DigitalTwinSystem 3:Caller");

    let search = SearchTwinSystems { query: Box::new(SystemQuery::default()) };
    let steps = world.run(metaverse(0).id(), DTSD.id(), None, DtsdMsg::from(search));
    assert_eq!(steps, "5:MetaverseSystem");

    let select = SelectTwins {
        metaverse: system_id("world"),
        metaverse_entity: metaverse(0),
        twins: twin_ids(&["a", "b"]),
        release: twin_ids(&[]),
        period_ms: None,
    };
    assert_eq!(world.run(metaverse(0).id(), DTIA.id(), None, DtiaMsg::from(select)), "7:MetaverseSystem");

    let request = RequestTwinPropertiesAndPermission {
        metaverse: system_id("world"),
        user: user("ada"),
        twins: twin_ids(&["a"]),
        rights: Arc::new([Right::Change].into()),
    };
    let steps = world.run(metaverse(0).id(), DTIA.id(), None, DtiaMsg::from(request));
    assert_eq!(steps, "9:DigitalTwinSystem 10:Dtia 10:Dtac 11:own 10:Twin 12:MetaverseSystem");
    world.arrived.clear();
    world
}

fn change(world: &mut World, of: &str, wanted: PropertyValues) -> (String, Result<ChangeCompleted, String>) {
    let values = Arc::new(wanted);
    let change = ChangeTwin {
        metaverse: system_id("world"),
        user: user("ada"),
        twin: twin_id(of),
        values,
        token: None,
        terms: ChangeTerms::default(),
    };
    let steps = world.run(metaverse(0).id(), DTS.id(), None, DtsMsg::from(change));
    let answer = world.arrived.iter().rev().find_map(|wire| match wire {
        Wire::MetaverseSystem(MetaverseSystemMsg::ChangeCompleted(answer)) => Some(answer.clone()),
        _ => None,
    });
    (steps, answer.expect("it is answered").map_err(|problem| problem.kind.slug().to_owned()))
}

#[test]
fn step_14_shows_a_change_of_the_object_by_each_of_its_twins() {
    let mut world = at_step_12();
    let values = Arc::new(values(&[("on", "true")]));
    let report = ReportPhysicalChange { twin: twin_id("b"), values, at: None };
    let steps = world.run(caller(), system_actor(0).id(), None, DigitalTwinSystemMsg::from(report));
    let hops = ["DigitalTwinSystem", "Dts", "Twin", "MetaverseSystem"];
    let hops: Vec<_> = hops.iter().flat_map(|hop| [format!("14:{hop}"), format!("14:{hop}")]).collect();
    assert_eq!(steps, hops.join(" "));
    assert_eq!(world.changes(), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
}

#[test]
fn steps_15_to_18x_change_the_object_and_everyone_sees_it() {
    let mut world = at_step_12();
    let (steps, answer) = change(&mut world, "a", values(&[("level", "4")]));
    assert_eq!(
        steps,
        "16:Dtac 16:Dts 7:SyncSupervisor 8:PhysicalObject 9:SyncSupervisor 10:Dts \
         17:Twin 17:PhysicalObject 17:DigitalTwinSystem 18:PhysicalObject 18:Twin 14:MetaverseSystem 18:Dts \
         18x:MetaverseSystem",
        "FGMV-28 7.1.3 steps 7 to 10 for this change only, and then its end"
    );
    assert_eq!(*answer.expect("it is done").values, values(&[("level", "4")]));
    assert_eq!(world.changes(), [("a".to_owned(), 2)]);
}

#[test]
fn an_invalid_change_ends_in_step_17_and_reaches_nobody() {
    let mut world = at_step_12();
    for (twin, wanted, kind) in [
        ("b", ("on", "true"), "permission-missing"),
        ("a", ("power", "1"), "behaviour-not-permitted"),
        ("a", ("colour", "1"), "property-unknown"),
        ("x", ("on", "true"), "twin-unknown"),
    ] {
        let (steps, answer) = change(&mut world, twin, values(&[wanted]));
        assert_eq!(steps, "16:Dtac 16:Dts 17:MetaverseSystem");
        assert_eq!(answer.expect_err("it is rejected"), kind);
    }
    assert!(world.changes().is_empty());
}
