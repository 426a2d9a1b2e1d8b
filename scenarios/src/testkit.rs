//! The kit for users: worlds of your own behaviours, rules of your own, and one call that looks for an order in which
//! a rule does not hold.
//!
//! A property test of a flow is a world and a [`check`]:
//!
//! ```ignore
//! #[test]
//! fn an_order_is_shipped_in_any_order_of_messages() -> Outcome {
//!     let cast = Cast::default().entity::<Till>(()).entity::<Bank>(()).entity::<Stock>(());
//!     let story = Story::new(vec![Line::new("buyer").ask(TILL, || Buy, granted)]);
//!     check(World::new(cast, story).rule(EveryCallIsAnswered::default()), &Plan::default())
//! }
//! ```
//!
//! When it fails, it shows the shortest bad schedule as a numbered list and as a sequence diagram, and what repeats it.

use twinway_protocol::WireSet;

pub use crate::{
    driver::{Action, Driver, Fifo, Pct, Point, Random, Replay, Search, What},
    explore::{Failure, Plan, Strategy, Summary, explore, fingerprint, replay},
    fault::{Fault, Faults},
    link::{Links, Order, Promise},
    outside::{CallId, Hands, Outside},
    render::{mermaid, numbered_list},
    rule::{
        EarlierLivesAreOver, EveryCallIsAnswered, EveryQuestionIsAnsweredOnce, FollowsFlow, Found, NobodyPanics, Rule,
        Seen, Sights, Violation, rule, rule_of,
    },
    run::{Run, Schedule},
    shrink::shrink,
    story::{Heard, Line, Story, granted, refused},
    world::{Cast, World, WorldOptions},
    worlds,
};
pub use twinway_actors::assembly::Assembly;

/// What a property test gives.
pub type Outcome = Result<(), Box<Failure>>;

/// Looks for an order in which a rule of `world` does not hold.
///
/// # Errors
/// The first that was found, shrunk, and ready to be shown.
pub fn check<W: WireSet>(mut world: World<W>, plan: &Plan) -> Outcome {
    match explore(&mut world, plan, |_| {}).failure {
        Some(failure) => Err(Box::new(failure)),
        None => Ok(()),
    }
}

/// Schedules for proptest, which shrinks them to the fewest departures from the order of sending: at most `points_max`
/// choices, most of them small. Give them to [`replay`].
#[cfg(feature = "proptest")]
pub fn schedules(points_max: usize) -> impl proptest::strategy::Strategy<Value = Schedule> {
    use proptest::{collection::vec, prelude::*};
    let choice = prop_oneof![4 => Just(0_u32), 4 => 1..4_u32, 1 => 4..64_u32];
    (any::<u64>(), vec(choice, 0..=points_max)).prop_map(|(seed, choices)| Schedule { seed, choices })
}
