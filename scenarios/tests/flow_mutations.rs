//! The simulator's proof of the flows is proven: with a bug planted in a behaviour, a schedule of a named world breaks
//! the order of its flow or a promise beside it, and the schedule that shows it is one that a person can follow.

#![cfg(feature = "mutations")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use twinway_actors::mutation::{self, Mutation};
use twinway_scenarios::{
    driver::What,
    explore::{Failure, Plan, explore},
    fault::Faults,
    worlds,
};

/// How many schedules may be needed to notice a bug.
const SCHEDULES_MAX: u64 = 2_000;
/// How many turns a person follows.
const TURNS_MAX: usize = 200;

/// The bugs, each with a world, the faults that it needs, and what it is noticed as: a rule and what it says.
const PLANTED: &[(Mutation, &str, &str, &str)] = &[
    (Mutation::RegistrationToldBeforeDurable, "9.1", "", "durable, then visible"),
    (Mutation::RegistrationToldBeforeFound, "9.1", "", "SearchThirdPartySystems was found"),
    (Mutation::AuthorizationStepMissing, "9.1", "", "the flow 9.1: violated: 9 < 10"),
    (Mutation::AuthorizationUnchecked, "9.1-rejected", "", "granted, and not refused as permission-missing"),
    (Mutation::ServiceBeforeVerified, "9.1", "", "the flow 9.1: violated: 13 < 14"),
    (Mutation::RejectionUnsaid, "9.1-rejected", "", "UseThirdPartySystem of a caller was never answered"),
    (Mutation::ReadingUnchecked, "9.1-unread", "", "granted, and not refused as permission-missing"),
    (Mutation::ReadingUnverified, "9.1", "", "9.1 step 17 was taken 2 times, not 4"),
    (Mutation::AnswerBeforeManaged, "9.2", "", "the flow 9.2: violated: 2 < 3"),
    (Mutation::SearchAnsweredTwice, "9.2", "", "every question is answered once"),
    (Mutation::SilentAfterFailure, "9.2", "restart", "SearchTwinSystems was found"),
    (Mutation::AnswerToNeighbour, "9.2", "", "TwinsSelected answers what was not asked"),
    (Mutation::PermissionToldBeforeDurable, "9.2", "", "durable, then visible"),
    (Mutation::PermissionToldBeforeManaged, "9.2", "", "the flow 9.2: violated: 11 < 12"),
    (Mutation::OlderReportWins, "9.2-late", "", "nothing older is shown"),
    (Mutation::WatchersForgotten, "9.2", "restart=3", "who selected a twin hears of its changes"),
    (Mutation::ChangeUnchecked, "9.2-rejected", "", "was taken, which it has not"),
    (Mutation::AppliedBeforeVerified, "9.2", "", "the flow 9.2: violated: 16 < 17"),
    (Mutation::GatePassedBy, "9.2", "", "9.2 step 17 was taken 2 times, not 3"),
    (Mutation::OneShotKept, "9.2", "", "a lease of one change ends with it"),
    (Mutation::AnswerOfAnother, "7.1.3", "duplicate", "an answer settles the request that it names"),
    (Mutation::KeysBeginAnew, "7.2.1-silent", "restart", "an earlier life is over"),
];

/// The first schedule that breaks a rule, shrunk.
fn search(world: &str, faults: &str) -> Option<Failure> {
    let mut world = worlds::find(world)?;
    world.set_faults(Faults::parse(faults).ok()?);
    explore(&mut world, &Plan::default().runs(SCHEDULES_MAX), |_| {}).failure
}

/// How many turns a schedule has.
fn turns(failure: &Failure) -> usize {
    failure.shortest.told.iter().filter(|told| matches!(told.what, What::Deliver | What::Panic)).count()
}

#[test]
fn every_planted_bug_is_noticed_by_the_simulator_and_shown_in_a_schedule_that_can_be_followed() {
    let mut wrong = Vec::new();
    println!(
        "| planted bug | world | faults | runs | deliveries | departures | noticed as |\n|---|---|---|---|---|---|---|"
    );
    for (bug, world, faults, wanted) in PLANTED {
        mutation::set(Some(*bug));
        let failure = search(world, faults);
        mutation::set(None);
        let Some(failure) = failure else {
            wrong.push(format!("{bug:?} is not noticed"));
            continue;
        };
        let noticed = failure.shortest.violations.first().map(ToString::to_string).unwrap_or_default();
        let (runs, turns, departures) = (failure.after_runs, turns(&failure), failure.shortest.schedule.departures());
        let shown: String = noticed.chars().take(120).collect();
        println!("| {bug:?} | {world} | {faults} | {runs} | {turns} | {departures} | {shown} |");
        if !noticed.contains(wanted) {
            wrong.push(format!("{bug:?} is noticed as `{noticed}`, and not as `{wanted}`"));
        }
        if turns > TURNS_MAX {
            wrong.push(format!("{bug:?} takes {turns} deliveries to show"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_switch_is_tried() {
    for bug in Mutation::ALL {
        assert!(PLANTED.iter().any(|(tried, ..)| tried == bug), "{bug:?}");
    }
}
