//! Schedules that once broke a rule break none any more; and those of planted bugs find their bug again.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::path::{Path, PathBuf};

use twinway_scenarios::regression::{Regression, all};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

/// What a file's schedule does now: what is violated, or nothing.
fn replayed(regression: &Regression) -> Vec<String> {
    let mut world = regression.world().expect("the file was read, so its world is known");
    let failure = regression.replay(&mut world).err();
    failure.into_iter().flat_map(|failure| failure.shortest.violations).map(|said| said.to_string()).collect()
}

#[test]
fn no_schedule_of_the_past_breaks_a_rule() {
    let files = all(&folder()).unwrap_or_else(|error| panic!("{error}"));
    assert!(files.len() >= 5, "only {} files of past failures are found", files.len());
    let failed: Vec<_> = files
        .iter()
        .map(|(path, regression)| (path, replayed(regression)))
        .filter(|(_, violated)| !violated.is_empty())
        .map(|(path, violated)| format!("{}: {}", path.display(), violated.join("; ")))
        .collect();
    assert!(failed.is_empty(), "repeat it with `twinway simulate --replay FILE`:\n{}", failed.join("\n"));
}

#[cfg(feature = "mutations")]
mod planted {
    use twinway_actors::mutation::{self, Mutation};
    use twinway_scenarios::{
        explore::{Plan, explore},
        fault::Faults,
        worlds,
    };

    use super::{Regression, all, folder, replayed};

    /// The planted bugs whose schedules are kept, each with its world and faults.
    const KEPT: &[(Mutation, &str, &str)] = &[
        (Mutation::RegistrationToldBeforeFound, "9.1", ""),
        (Mutation::AuthorizationUnchecked, "9.1-rejected", ""),
        (Mutation::AnswerBeforeManaged, "9.2", ""),
        (Mutation::SilentAfterFailure, "9.2", "restart"),
        (Mutation::OlderReportWins, "9.2-late", ""),
        (Mutation::AnswerOfAnother, "7.1.3", "duplicate"),
    ];

    fn with<T>(bug: Mutation, act: impl FnOnce() -> T) -> T {
        mutation::set(Some(bug));
        let done = act();
        mutation::set(None);
        done
    }

    fn write_all() {
        for (bug, world, faults) in KEPT {
            let faults = Faults::parse(faults).expect("they are faults");
            let mut simulated = worlds::find(world).expect("it is a world").faults(faults);
            let failure = with(*bug, || explore(&mut simulated, &Plan::default().runs(2_000), |_| {}).failure);
            let failure = failure.unwrap_or_else(|| panic!("{bug:?} is not found"));
            let planted = Some(format!("{bug:?}"));
            let regression = Regression { planted, ..Regression::of(world, faults, &failure) };
            regression.save(&folder()).expect("the file can be written");
        }
    }

    #[test]
    fn a_schedule_that_was_saved_finds_its_bug_when_it_is_repeated() {
        let bug = Mutation::RejectionUnsaid;
        let mut world = worlds::find("9.1-rejected").expect("it is a world");
        let found = with(bug, || explore(&mut world, &Plan::default().seed(3), |_| {}).failure).expect("it is found");
        let saved = Regression::of("9.1-rejected", Faults::NONE, &found);
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("saved");
        let path = saved.save(&folder).expect("the file can be written");
        let read = Regression::read(&path).expect("it is read as it was written");
        assert_eq!(read, saved);
        assert!(!read.violated.is_empty());
        assert_eq!((with(bug, || replayed(&read)), replayed(&read)), (read.violated.clone(), Vec::new()));
    }

    #[test]
    fn a_kept_schedule_finds_its_planted_bug_again() {
        if std::env::var_os("TWINWAY_WRITE_SNAPSHOTS").is_some() {
            write_all();
        }
        let mut unfound = Vec::new();
        let mut tried = 0;
        for (path, regression) in all(&folder()).unwrap_or_else(|error| panic!("{error}")) {
            let Some(planted) = &regression.planted else { continue };
            let bug = Mutation::ALL.iter().find(|bug| format!("{bug:?}") == *planted);
            let bug = bug.unwrap_or_else(|| panic!("{}: there is no bug `{planted}` to plant", path.display()));
            tried += 1;
            if with(*bug, || replayed(&regression)).is_empty() {
                unfound.push(path.display().to_string());
            }
        }
        assert_eq!(tried, KEPT.len(), "a file of a planted bug is missing; TWINWAY_WRITE_SNAPSHOTS=1 writes all");
        let why =
            "these do not find their bug any more; if worlds have changed, TWINWAY_WRITE_SNAPSHOTS=1 writes them anew";
        assert!(unfound.is_empty(), "{why}:\n{}", unfound.join("\n"));
    }
}
