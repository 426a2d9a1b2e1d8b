//! Worlds of the integration enabler: all its entities, and external systems that are simulated.

pub(crate) mod checks;
mod leases;
mod outsiders;
mod places;
mod procedure_7_1_1;
mod procedure_7_1_2;
mod procedure_7_1_3;
mod procedure_7_2_1;
mod procedure_7_3_1;
mod procedure_7_3_2;
mod procedure_7_3_3;
mod procedure_9_1;
mod procedure_9_2;
mod steps;
mod user;

use std::collections::BTreeSet;

use twinway_actors::{Settings, assembly};
use twinway_protocol::message::Wire;

pub use leases::LeaseInvariants;
pub use procedure_7_1_1::{
    procedure_7_1_1, procedure_7_1_1_denied, procedure_7_1_1_refused, procedure_7_1_1_unsynchronized,
};
pub use procedure_7_1_2::{procedure_7_1_2, procedure_7_1_2_complete, procedure_7_1_2_denied, procedure_7_1_2_refused};
pub use procedure_7_1_3::procedure_7_1_3;
pub use procedure_7_2_1::{procedure_7_2_1, procedure_7_2_1_denied, procedure_7_2_1_silent};
pub use procedure_7_3_1::{procedure_7_3_1, procedure_7_3_1_absurd, procedure_7_3_1_unreached};
pub use procedure_7_3_2::{procedure_7_3_2, procedure_7_3_2_denied};
pub use procedure_7_3_3::{procedure_7_3_3, procedure_7_3_3_absurd, procedure_7_3_3_stranger};
pub use procedure_9_1::{procedure_9_1, procedure_9_1_rejected};
pub use procedure_9_2::{procedure_9_2, procedure_9_2_rejected};
pub use steps::StepsAreTaken;

use crate::{
    flow,
    outside::Outside,
    rule::{EveryCallIsAnswered, EveryQuestionIsAnsweredOnce, FollowsFlow, NobodyPanics},
    world::{Cast, World},
};

/// A world of all entities of the enabler with this outside, judged by the rules that hold of every flow.
#[must_use]
pub fn enabler(outside: impl Outside<Wire> + 'static) -> World<Wire> {
    World::new(assembly::entities(Cast::default(), &Settings::default()), outside)
        .rule(EveryCallIsAnswered::default())
        .rule(EveryQuestionIsAnsweredOnce::default())
        .rule(NobodyPanics)
}

/// The same world, judged by this flow of the texts, and by every flow of which it contains spans.
#[must_use]
pub fn follows(world: World<Wire>, name: &str) -> World<Wire> {
    let Some(flow) = flow::find(name) else { return world };
    let spans: BTreeSet<&str> =
        flow.steps().iter().filter_map(|step| Some(step.contains.as_ref()?.flow.as_str())).collect();
    let contained = spans.into_iter().filter_map(flow::find);
    let world = contained.fold(world, |world, flow| world.rule(FollowsFlow::contained(flow)));
    world.rule(FollowsFlow::new(flow))
}

/// The invariants of sync leases, for a world of [`enabler`].
#[must_use]
pub fn lease_invariants() -> LeaseInvariants {
    LeaseInvariants::new(Settings::default().lease)
}

/// Makes a world.
pub type Make = fn() -> World<Wire>;

/// The worlds that have names, each with what it is.
pub const WORLDS: [(&str, &str, Make); 24] = [
    (
        "7.1.1",
        "FGMV-28 7.1.1: what a user made is ordered, delivered, and synchronized with its product",
        procedure_7_1_1,
    ),
    ("7.1.1-denied", "FGMV-28 7.1.1: the user has no authorization for the commerce system", procedure_7_1_1_denied),
    ("7.1.1-refused", "FGMV-28 7.1.1: the commerce system has nobody who makes it", procedure_7_1_1_refused),
    ("7.1.1-unsynchronized", "FGMV-28 7.1.1: the product cannot be synchronized", procedure_7_1_1_unsynchronized),
    ("7.1.2", "FGMV-28 7.1.2: what a recipe lacks at home is ordered, and nothing else", procedure_7_1_2),
    ("7.1.2-complete", "FGMV-28 7.1.2: all is at home, and nothing is ordered", procedure_7_1_2_complete),
    ("7.1.2-denied", "FGMV-28 7.1.2: the user may not look what is at home", procedure_7_1_2_denied),
    ("7.1.2-refused", "FGMV-28 7.1.2: the supplier does not take the order", procedure_7_1_2_refused),
    (
        "7.1.3",
        "FGMV-28 7.1.3: users of two metaverse systems want one object, and lose it to each other",
        procedure_7_1_3,
    ),
    ("7.2.1", "FGMV-28 7.2.1: a guest is told to a user in a virtual world, who opens the door", procedure_7_2_1),
    ("7.2.1-denied", "FGMV-28 7.2.1: the user may not open the door", procedure_7_2_1_denied),
    ("7.2.1-silent", "FGMV-28 7.2.1: the door does not answer", procedure_7_2_1_silent),
    ("7.3.1", "FGMV-28 7.3.1: a map is made of what a user's device records", procedure_7_3_1),
    ("7.3.1-absurd", "FGMV-28 7.3.1: what stands nowhere is not put on the map", procedure_7_3_1_absurd),
    ("7.3.1-unreached", "FGMV-28 7.3.1: the user has no device there, and nothing is made", procedure_7_3_1_unreached),
    ("7.3.2", "FGMV-28 7.3.2: a robot moves, and the map follows", procedure_7_3_2),
    ("7.3.2-denied", "FGMV-28 7.3.2: who may not read the twin cannot have it followed", procedure_7_3_2_denied),
    ("7.3.3", "FGMV-28 7.3.3: what is at a place is found, on the spot and from afar", procedure_7_3_3),
    ("7.3.3-absurd", "FGMV-28 7.3.3: a place that is none is refused", procedure_7_3_3_absurd),
    ("7.3.3-stranger", "FGMV-28 7.3.3: a device that is not attached finds nothing", procedure_7_3_3_stranger),
    ("9.1", "FGMV-29 9.1: a user of a virtual world uses a third-party system, which reads a twin", || {
        follows(procedure_9_1(), "9.1")
    }),
    ("9.1-rejected", "FGMV-29 9.1: a user without authorization is rejected in step 14", || {
        follows(procedure_9_1_rejected(), "9.1")
    }),
    ("9.2", "FGMV-29 9.2: a user of a virtual world changes a twin while its object changes", || {
        follows(procedure_9_2(), "9.2").rule(lease_invariants())
    }),
    ("9.2-rejected", "FGMV-29 9.2: a user without permission is rejected in step 17", || {
        follows(procedure_9_2_rejected(), "9.2").rule(lease_invariants())
    }),
];

/// The world with this name.
#[must_use]
pub fn find(name: &str) -> Option<World<Wire>> {
    WORLDS.iter().find(|(known, _, _)| *known == name).map(|(_, _, make)| make())
}
