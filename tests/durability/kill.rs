//! SIGKILL at random moments: while the daemon works, and while it starts.

use std::time::Duration;

use super::{
    chance::Chance,
    check::check,
    daemon::{Place, runtime},
    facts::SharedFacts,
    load::{load, settle},
};

/// Records are durable before they are acknowledged, and snapshots are taken often.
pub(crate) const STRICT: &str = "[journal]\nloss_window_ms = 0\n[runtime]\ncheckpoint_bytes = 20000\n";

/// How many kills one data directory goes through.
const ROUNDS: u64 = 12;
/// How long a round has at most before it is killed, in milliseconds.
const ROUND_MS_MAX: u64 = 1_200;
/// A start takes some of this, in milliseconds; it is killed somewhere within.
const START_MS_MAX: u64 = 120;

/// A data directory through many kills.
fn live_through_kills(chance: &mut Chance) {
    let place = Place::new(STRICT);
    let facts = SharedFacts::default();
    let runtime = runtime();
    runtime.block_on(async {
        place.start_and_kill(Duration::from_millis(chance.below(START_MS_MAX)));
        let mut daemon = place.start();
        settle(&daemon, &facts, chance).await;
        for round in 0..ROUNDS {
            let tasks = load(&daemon, &facts, round, chance).await;
            tokio::time::sleep(Duration::from_millis(chance.below(ROUND_MS_MAX))).await;
            daemon.kill();
            tasks.join_all().await;
            while chance.below(2) == 0 {
                place.start_and_kill(Duration::from_millis(chance.below(START_MS_MAX)));
            }
            daemon = place.start();
            let mut known = std::mem::take(&mut *facts.lock());
            check(&daemon, &mut known).await;
            *facts.lock() = known;
        }
        daemon.kill();
    });
    let verified = place.journal("verify");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let counts = facts.lock().counts();
    println!("acknowledged and found: {counts:?}");
    assert!(counts.iter().all(|(_, count)| *count > 0), "{counts:?}");
}

#[test]
fn what_a_killed_daemon_acknowledged_is_there_and_nothing_is_there_by_half() {
    live_through_kills(&mut Chance::from_environment());
}

#[test]
#[ignore = "a long search: hundreds of kills; `./check.sh --long` runs it"]
fn what_a_killed_daemon_acknowledged_is_there_however_often_it_is_killed() {
    let mut chance = Chance::from_environment();
    for _ in 0..25 {
        live_through_kills(&mut chance);
    }
}
