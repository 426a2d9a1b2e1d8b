//! A journal that is torn or damaged: the daemon says so and does not start. It never goes on without what is missing.

use std::{fs, process::Command};

use super::{
    chance::Chance,
    check::check,
    daemon::{Daemon, Place, Started, runtime},
    facts::{Facts, Registration},
    world::{advisor, home, system},
};

/// Records are durable before they are acknowledged, and all of them stay.
const ALL_KEPT: &str = "[journal]\nloss_window_ms = 0\n";
/// How often a log is cut, each time at another length.
const CUTS: u64 = 8;

impl Place {
    /// A copy of this place's data under another one, with the same settings.
    pub(crate) fn copy(&self, settings: &str) -> Self {
        let copy = Self::new(settings);
        fs::create_dir_all(copy.data()).expect("there is room");
        for file in fs::read_dir(self.data()).expect("it is there") {
            let file = file.expect("it can be read");
            // What was observed stands beside the journal, in a directory of its own.
            if file.path().is_dir() {
                continue;
            }
            fs::copy(file.path(), copy.data().join(file.file_name())).expect("there is room");
        }
        copy
    }
}

impl Daemon {
    /// SIGTERM, and waits until it has ended in order.
    pub(crate) fn stop(mut self) {
        let told = Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status();
        assert!(told.is_ok_and(|status| status.success()), "it could not be told");
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "it ended with {status}");
    }
}

/// A daemon that acknowledged registrations and was killed, and what it acknowledged.
async fn killed(settings: &str) -> (Place, Facts) {
    let (place, mut facts) = (Place::new(settings), Facts::default());
    let mut daemon = place.start();
    for number in 0..6 {
        let (home_id, advisor_id) = (format!("home-{number}"), format!("advisor-{number}"));
        let sent = home(&home_id, 2);
        let listing = daemon.client(&home_id).register_twin_system(&sent).await.expect("it registers");
        let registration = Registration { acknowledged: Some(listing), ..Registration::sent(sent) };
        facts.homes.insert(system(&home_id), registration);
        let sent = advisor(&advisor_id);
        let listing = daemon.client(&advisor_id).register_third_party_system(&sent).await.expect("it registers");
        let registration = Registration { acknowledged: Some(listing), ..Registration::sent(sent) };
        facts.advisors.insert(system(&advisor_id), registration);
    }
    daemon.kill();
    (place, facts)
}

/// That the daemon does not start, and how it says why.
fn refused(place: &Place) -> String {
    let Started::Ended(status, log) = place.try_start() else { panic!("it must not start") };
    assert_eq!(status.code(), Some(1), "{log}");
    let verified = place.journal("verify");
    assert_eq!(verified.status.code(), Some(8), "{}", String::from_utf8_lossy(&verified.stdout));
    for said in ["the journal is damaged", "twinway journal verify", "twinway journal restore"] {
        assert!(log.contains(said), "`{said}` is missing in: {log}");
    }
    log
}

#[test]
fn a_torn_log_is_told_and_nothing_acknowledged_goes_missing_in_silence() {
    let mut chance = Chance::from_environment();
    runtime().block_on(async {
        let (place, mut facts) = killed(ALL_KEPT).await;
        let whole = fs::read(place.data().join("journal.db-wal")).expect("there is a log");
        let mut refusals = 0;
        let last = whole.len() as u64 - 1;
        for length in (0..CUTS).map(|_| chance.below(last)).chain([last]) {
            let torn = place.copy(ALL_KEPT);
            fs::write(torn.data().join("journal.db-wal"), &whole[..length as usize]).expect("there is room");
            match torn.try_start() {
                Started::Up(daemon) => {
                    // What was cut off had been moved into the database already.
                    check(&daemon, &mut facts).await;
                }
                Started::Ended(status, log) => {
                    refusals += 1;
                    assert_eq!(status.code(), Some(1), "{log}");
                    assert!(refused(&torn).contains("acknowledged"), "cut to {length}: {log}");
                }
            }
        }
        assert!(refusals > 0, "no cut was found");
    });
}

#[test]
fn a_damaged_journal_is_told_with_the_place_and_what_to_do() {
    runtime().block_on(async {
        let (place, _) = killed(ALL_KEPT).await;
        // A daemon that ends in order leaves everything in the database file.
        place.start().stop();
        let path = place.data().join("journal.db");
        let mut bytes = fs::read(&path).expect("it is there");
        let wanted = b"The home home-3";
        // Wherever it stands: pages keep what is no longer used.
        let found: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(wanted)).collect();
        assert!(!found.is_empty(), "it was not written");
        found.into_iter().for_each(|at| bytes[at] ^= 1);
        fs::write(&path, bytes).expect("it can be written");
        let log = refused(&place);
        assert!(log.contains("position") && log.contains(&place.data().display().to_string()), "{log}");
    });
}
