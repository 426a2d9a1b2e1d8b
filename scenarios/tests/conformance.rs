//! The report of conformance: what a check says that it answers is there, every clause that worlds can answer is answered,
//! and a behaviour that is broken makes the right rows red.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;

use twinway_scenarios::{
    conformance::{self, Report, Verdict},
    driver::Fifo,
    scenario,
    story::{Line, Story},
    worlds::enabler,
};

/// Without scenarios, whose processes `tests/cli` runs.
fn simulated() -> Report {
    conformance::run(None, |_| {})
}

fn ids() -> BTreeSet<String> {
    conformance::clauses().into_iter().map(|clause| clause.id).collect()
}

#[test]
fn what_checks_and_scenarios_answer_is_asked_for() {
    let known = ids();
    let said = conformance::checks().flat_map(|check| check.answers.iter().map(|id| (check.name, (*id).to_owned())));
    let of_scenarios = scenario::embedded().iter().flat_map(|one| {
        let of_variants = one.variants.iter().flat_map(|variant| &variant.clauses);
        one.clauses.iter().chain(of_variants).map(|id| (one.name.as_str(), id.clone()))
    });
    let unknown: Vec<_> = said.chain(of_scenarios).filter(|(_, id)| !known.contains(id)).collect();
    assert_eq!(unknown, [], "nobody asks for it");
}

#[test]
fn no_two_clauses_and_no_two_checks_have_the_same_name() {
    assert_eq!(ids().len(), conformance::clauses().len());
    let names: BTreeSet<&str> = conformance::checks().map(|check| check.name).collect();
    assert_eq!(names.len(), conformance::checks().count());
}

#[test]
fn simulated_worlds_alone_answer_every_clause() {
    let report = simulated();
    let failed: Vec<_> = report.evidence.iter().filter(|evidence| !evidence.holds).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let open = report.rows.iter().filter(|row| row.verdict != Verdict::Holds);
    let open: Vec<&str> = open.map(|row| row.clause.id.as_str()).collect();
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn a_check_whose_story_does_not_come_to_its_end_does_not_hold() {
    let story = Story::new(vec![Line::new("ada").hear(|_, _| false)]);
    let mut world = enabler(story);
    assert!(!world.run(0, &mut Fifo));
    let said: Vec<&str> = world.violations().iter().map(|violation| violation.what.as_str()).collect();
    assert_eq!(said, ["ada never came to hear a signal, the part 1 of its line"]);
}

#[cfg(feature = "mutations")]
mod broken {
    use twinway_actors::mutation as behaviours;
    use twinway_protocol::lease::mutation::{self as leases, Mutation};
    use twinway_scenarios::conformance::{Kind, Report, Verdict};

    use super::simulated;

    /// The requirements and functions that something which answers them does not hold for.
    fn red(report: &Report) -> Vec<String> {
        let rows = report.rows.iter().filter(|row| row.verdict == Verdict::Broken && row.clause.kind != Kind::Step);
        rows.map(|row| row.clause.id.clone()).collect()
    }

    #[test]
    fn an_equal_priority_that_evicts_makes_the_row_of_priorities_red_and_no_other() {
        leases::set(Some(Mutation::EqualEvicts));
        let report = simulated();
        leases::set(None);
        assert_eq!(red(&report), ["FGMV-28 REQ-DT-08"]);
    }

    #[test]
    fn an_authorization_that_nobody_looks_at_makes_its_rows_red_and_unrelated_ones_stay_green() {
        behaviours::set(Some(behaviours::Mutation::AuthorizationUnchecked));
        let report = simulated();
        behaviours::set(None);
        let red = red(&report);
        for id in ["FGMV-29 8.2.3 user information", "FGMV-29 8.2.3 permission"] {
            assert!(red.iter().any(|red| red == id), "{id} stays green: {red:?}");
        }
        for id in ["FGMV-28 REQ-DT-01", "FGMV-28 REQ-DT-08", "FGMV-29 8.2.2 search", "FGMV-29 8.3.5 access"] {
            assert!(!red.iter().any(|red| red == id), "{id} is red: {red:?}");
        }
    }
}
