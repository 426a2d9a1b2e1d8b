//! Worlds of the integration enabler: all its entities, and external systems that are simulated.

pub(crate) mod checks;
mod leases;
mod outsiders;
mod procedure_7_1_3;
mod procedure_9_1;
mod procedure_9_2;
mod steps;

use std::collections::BTreeSet;

use twinway_actors::{Settings, assembly};
use twinway_protocol::message::Wire;

pub use leases::LeaseInvariants;
pub use procedure_7_1_3::procedure_7_1_3;
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

/// What the procedure's worlds are judged by where they are run by name: its one-shot leases too.
fn procedure_9_2_judged() -> World<Wire> {
    procedure_9_2().rule(lease_invariants())
}

/// Makes a world.
pub type Make = fn() -> World<Wire>;

/// The worlds that have names, each with what it is.
pub const WORLDS: [(&str, &str, Make); 5] = [
    (
        "7.1.3",
        "FGMV-28 7.1.3: users of two metaverse systems want one object, and lose it to each other",
        procedure_7_1_3,
    ),
    ("9.1", "FGMV-29 9.1: a user of a virtual world uses a third-party system, which reads a twin", procedure_9_1),
    ("9.1-rejected", "FGMV-29 9.1: a user without authorization is rejected in step 14", procedure_9_1_rejected),
    ("9.2", "FGMV-29 9.2: a user of a virtual world changes a twin while its object changes", procedure_9_2_judged),
    ("9.2-rejected", "FGMV-29 9.2: a user without permission is rejected in step 17", procedure_9_2_rejected),
];

/// The world with this name.
#[must_use]
pub fn find(name: &str) -> Option<World<Wire>> {
    WORLDS.iter().find(|(known, _, _)| *known == name).map(|(_, _, make)| make())
}
