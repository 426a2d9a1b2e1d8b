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
mod promises;
mod steps;
mod user;

use std::collections::BTreeSet;

use twinway_actors::{Settings, assembly};
use twinway_protocol::{flow::FlowStep, message::Wire};

pub use leases::LeaseInvariants;
pub use procedure_7_1_1::{
    procedure_7_1_1, procedure_7_1_1_denied, procedure_7_1_1_refused, procedure_7_1_1_unsynchronized,
};
pub use procedure_7_1_2::{procedure_7_1_2, procedure_7_1_2_complete, procedure_7_1_2_denied, procedure_7_1_2_refused};
pub use procedure_7_1_3::{procedure_7_1_3, procedure_7_1_3_silent, procedure_7_1_3_together};
pub use procedure_7_2_1::{procedure_7_2_1, procedure_7_2_1_denied, procedure_7_2_1_silent};
pub use procedure_7_3_1::{procedure_7_3_1, procedure_7_3_1_absurd, procedure_7_3_1_unreached};
pub use procedure_7_3_2::{procedure_7_3_2, procedure_7_3_2_denied};
pub use procedure_7_3_3::{procedure_7_3_3, procedure_7_3_3_absurd, procedure_7_3_3_stranger};
pub use procedure_9_1::{procedure_9_1, procedure_9_1_rejected, procedure_9_1_unread};
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
    // Whoever is refused by an open circuit asks again when the world is at rest, and then no time has passed.
    let settings = Settings { circuit_open_ms: 0, ..Settings::default() };
    World::new(assembly::entities(Cast::default(), &settings), outside)
        .rule(EveryCallIsAnswered::default())
        .rule(EveryQuestionIsAnsweredOnce::default())
        .rule(NobodyPanics)
}

/// The invariants of sync leases, for a world of [`enabler`].
#[must_use]
pub fn lease_invariants() -> LeaseInvariants {
    LeaseInvariants::new(Settings::default().lease)
}

/// A world as it is run by name: by this flow of the texts and every flow of which that contains spans, by the
/// invariants of sync leases, and by what the enabler promises beside them.
fn judged(world: World<Wire>, name: &str) -> World<Wire> {
    let flow = flow::find(name);
    let spans: BTreeSet<&str> = flow.iter().flat_map(|flow| flow.steps()).filter_map(span).collect();
    let contained = spans.into_iter().filter_map(flow::find);
    let world = contained.fold(world, |world, flow| world.rule(FollowsFlow::contained(flow)));
    let world = flow.into_iter().fold(world, |world, flow| world.rule(FollowsFlow::new(flow)));
    world
        .rule(lease_invariants())
        .rule(EarlierLivesAreOver::default().given_back(&["SyncLeaseGranted"]))
        .rule(promises::durable_then_visible())
        .rule(promises::nothing_older_is_shown())
        .rule(promises::who_selected_hears())
        .rule(promises::leases_of_one_change_end())
        .rule(promises::answers_name_their_request())
}

/// The flow of which a step contains a span.
fn span(step: &FlowStep) -> Option<&str> {
    Some(step.contains.as_ref()?.flow.as_str())
}

/// Makes a world.
pub type Make = fn() -> World<Wire>;

/// The worlds that have names, each with what it is.
pub const WORLDS: [(&str, &str, Make); 28] = [
    ("7.1.1", "FGMV-28 7.1.1: what a user made is ordered, delivered, and synchronized with its product", || {
        judged(procedure_7_1_1(), "7.1.1")
    }),
    ("7.1.1-denied", "FGMV-28 7.1.1: the user has no authorization for the commerce system", || {
        judged(procedure_7_1_1_denied(), "7.1.1")
    }),
    ("7.1.1-refused", "FGMV-28 7.1.1: the commerce system has nobody who makes it", || {
        judged(procedure_7_1_1_refused(), "7.1.1")
    }),
    ("7.1.1-unsynchronized", "FGMV-28 7.1.1: the product cannot be synchronized", || {
        judged(procedure_7_1_1_unsynchronized(), "7.1.1")
    }),
    ("7.1.2", "FGMV-28 7.1.2: what a recipe lacks at home is ordered, and nothing else", || {
        judged(procedure_7_1_2(), "7.1.2")
    }),
    ("7.1.2-complete", "FGMV-28 7.1.2: all is at home, and nothing is ordered", || {
        judged(procedure_7_1_2_complete(), "7.1.2")
    }),
    ("7.1.2-denied", "FGMV-28 7.1.2: the user may not look what is at home", || {
        judged(procedure_7_1_2_denied(), "7.1.2")
    }),
    ("7.1.2-refused", "FGMV-28 7.1.2: the supplier does not take the order", || {
        judged(procedure_7_1_2_refused(), "7.1.2")
    }),
    ("7.1.3", "FGMV-28 7.1.3: users of two metaverse systems want one object, and lose it to each other", || {
        judged(procedure_7_1_3(), "7.1.3")
    }),
    ("7.1.3-silent", "FGMV-28 7.1.3: the object does not answer, and nobody of those who wait gets it", || {
        judged(procedure_7_1_3_silent(), "7.1.3")
    }),
    ("7.1.3-together", "FGMV-28 7.1.3: several users are decided together, and at most one of them succeeds", || {
        judged(procedure_7_1_3_together(), "7.1.3")
    }),
    ("7.2.1", "FGMV-28 7.2.1: a guest is told to a user in a virtual world, who opens the door", || {
        judged(procedure_7_2_1(), "7.2.1")
    }),
    ("7.2.1-denied", "FGMV-28 7.2.1: the user may not open the door", || judged(procedure_7_2_1_denied(), "7.2.1")),
    ("7.2.1-silent", "FGMV-28 7.2.1: the door does not answer", || judged(procedure_7_2_1_silent(), "7.2.1")),
    ("7.3.1", "FGMV-28 7.3.1: a map is made of what a user's device records", || judged(procedure_7_3_1(), "7.3.1")),
    ("7.3.1-absurd", "FGMV-28 7.3.1: what stands nowhere is not put on the map", || {
        judged(procedure_7_3_1_absurd(), "7.3.1")
    }),
    ("7.3.1-unreached", "FGMV-28 7.3.1: the user has no device there, and nothing is made", || {
        judged(procedure_7_3_1_unreached(), "7.3.1")
    }),
    ("7.3.2", "FGMV-28 7.3.2: a robot moves, and the map follows", || judged(procedure_7_3_2(), "7.3.2")),
    ("7.3.2-denied", "FGMV-28 7.3.2: who may not read the twin cannot have it followed", || {
        judged(procedure_7_3_2_denied(), "7.3.2")
    }),
    ("7.3.3", "FGMV-28 7.3.3: what is at a place is found, on the spot and from afar", || {
        judged(procedure_7_3_3(), "7.3.3")
    }),
    ("7.3.3-absurd", "FGMV-28 7.3.3: a place that is none is refused", || judged(procedure_7_3_3_absurd(), "7.3.3")),
    ("7.3.3-stranger", "FGMV-28 7.3.3: a device that is not attached finds nothing", || {
        judged(procedure_7_3_3_stranger(), "7.3.3")
    }),
    ("9.1", "FGMV-29 9.1: a user of a virtual world uses a third-party system, which reads a twin", || {
        judged(procedure_9_1(), "9.1")
    }),
    ("9.1-rejected", "FGMV-29 9.1: a user without authorization is rejected in step 14", || {
        judged(procedure_9_1_rejected(), "9.1")
    }),
    ("9.1-unread", "FGMV-29 9.1: the third-party system may not read the twin, and is rejected in step 17", || {
        judged(procedure_9_1_unread(), "9.1")
    }),
    ("9.2", "FGMV-29 9.2: a user of a virtual world changes a twin while its object changes", || {
        judged(procedure_9_2(), "9.2")
    }),
    ("9.2-late", "FGMV-29 9.2: of two reports of a property the older comes second, perhaps (step 14)", || {
        judged(procedure_9_2_late(), "9.2")
    }),
    ("9.2-rejected", "FGMV-29 9.2: a user without permission is rejected in step 17", || {
        judged(procedure_9_2_rejected(), "9.2")
    }),
];

/// The world with this name.
#[must_use]
pub fn find(name: &str) -> Option<World<Wire>> {
    WORLDS.iter().find(|(known, _, _)| *known == name).map(|(_, _, make)| make())
}
