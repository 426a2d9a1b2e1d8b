//! Worlds of the integration enabler: all its entities, and external systems that are simulated.

mod leases;
mod outsiders;
mod procedure_7_1_3;
mod procedure_9_1;
mod procedure_9_2;
mod promises;
mod steps;

use twinway_actors::{Settings, assembly};
use twinway_protocol::message::Wire;

pub use leases::LeaseInvariants;
pub use procedure_7_1_3::procedure_7_1_3;
pub use procedure_9_1::{procedure_9_1, procedure_9_1_rejected};
pub use procedure_9_2::{procedure_9_2, procedure_9_2_late, procedure_9_2_rejected};
pub use steps::StepsAreTaken;

use crate::{
    flow,
    outside::Outside,
    rule::{EarlierLivesAreOver, EveryCallIsAnswered, EveryQuestionIsAnsweredOnce, FollowsFlow, NobodyPanics},
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

/// The invariants of sync leases, for a world of [`enabler`].
#[must_use]
pub fn lease_invariants() -> LeaseInvariants {
    LeaseInvariants::new(Settings::default().lease)
}

/// A world as it is run by name: by all that the enabler promises, and by these flows. Their `loose` edges are those
/// that the world's outside does not keep.
fn judged(world: World<Wire>, flows: &[&str], loose: &'static [&'static str]) -> World<Wire> {
    let world = world
        .rule(EarlierLivesAreOver::default().given_back(&["SyncLeaseGranted"]))
        .rule(promises::durable_then_visible())
        .rule(promises::nothing_older_is_shown())
        .rule(promises::who_selected_hears())
        .rule(promises::leases_of_one_change_end())
        .rule(promises::answers_name_their_request());
    let known = flows.iter().filter_map(|name| flow::find(name));
    known.fold(world, |world, flow| world.rule(FollowsFlow::new(flow).loose(loose)))
}

/// Makes a world.
pub type Make = fn() -> World<Wire>;

/// The worlds that have names, each with what it is.
pub const WORLDS: [(&str, &str, Make); 6] = [
    ("7.1.3", "FGMV-28 7.1.3: users of two metaverse systems want one object, and lose it to each other", || {
        judged(procedure_7_1_3(), &[], &[])
    }),
    (
        "9.1",
        "FGMV-29 9.1: a user of a virtual world uses a third-party system, which reads a twin",
        // The shop reads the twin whenever it likes.
        || judged(procedure_9_1(), &["9.1", "9.2"], &["14 ... 15"]),
    ),
    (
        "9.1-rejected",
        "FGMV-29 9.1: a user without authorization is rejected in step 14",
        // Who is rejected never came to step 10, and the shop reads when it likes.
        || judged(procedure_9_1_rejected(), &["9.1"], &["10 ... 11", "14 ... 15"]),
    ),
    ("9.2", "FGMV-29 9.2: a user of a virtual world changes a twin while its object changes", || {
        judged(procedure_9_2().rule(lease_invariants()), &["9.2"], &[])
    }),
    ("9.2-late", "FGMV-29 9.2: of two reports of a property the older comes second, perhaps (step 14)", || {
        judged(procedure_9_2_late(), &["9.2"], &[])
    }),
    (
        "9.2-rejected",
        "FGMV-29 9.2: a user without permission is rejected in step 17",
        // Who is rejected ran no service before, and gets no lease either.
        || judged(procedure_9_2_rejected().rule(StepsAreTaken::new("7.1.3", &[])), &["9.2"], &["13 ... 15"]),
    ),
];

/// The world with this name.
#[must_use]
pub fn find(name: &str) -> Option<World<Wire>> {
    WORLDS.iter().find(|(known, _, _)| *known == name).map(|(_, _, make)| make())
}
