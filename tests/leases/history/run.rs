//! Histories that are lived through.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use twinway::{client::Client, outside::SystemKind};

use super::{
    client::{CLIENTS, Process, run_as_one},
    judge::History,
    proxy::Proxy,
    record::{Act, Event, Outcome, Recorder},
};
use crate::{
    api::Api,
    chance::Chance,
    daemon::{Daemon, Place, TOKEN, runtime},
    plant::{PLANT, Plant, Thing},
    world::{LOBBY, PLAZA, all_judged_and_kept, settle},
};

/// One for each way to fence.
pub(crate) const TWINS: [&str; 3] = ["arm", "belt", "oven"];
const RETURN_MS: u64 = 700;
const SETTINGS: &str = "[monitor]\nenabled = true\n[journal]\nloss_window_ms = 0\n[runtime]\ncheckpoint_bytes = 20000\n\
    [entities]\noutside_answer_ms_max = 3000\ndevice_clock_margin_ms = 50\n\
    [entities.lease]\nlease_return_ms = 700\nlease_fence_ms_max = 5000\nlease_fence_retry_ms = 100\n";
/// A start takes some of this, in milliseconds; some are killed somewhere within.
const START_MS_MAX: u64 = 120;
/// The longest time that a process is stopped, in milliseconds.
const PAUSE_MS_MAX: u64 = 900;
/// Operations of whoever looks, beside those of the clients.
const LOOKS: u64 = 900_000_000;

fn things() -> Vec<Thing> {
    vec![
        Thing::new("arm").with("graceMs", 250),
        Thing::new("belt").with("fencing", "deadline").with("commandMsMax", 300),
        Thing::new("oven").with("fencing", "device"),
    ]
}

/// A daemon, its devices and its clients, until all clients have done what they had to.
struct Life {
    place: Place,
    daemon: Daemon,
    proxy: Proxy,
    recorder: Arc<Recorder>,
    looks: u64,
}

impl Life {
    fn signal(id: u32, name: &str) {
        let sent = std::process::Command::new("kill").args([name, &id.to_string()]).status();
        // A client may have ended meanwhile.
        sent.expect("there is a `kill`");
    }

    async fn stopped_for(&self, id: u32, chance: &mut Chance) {
        Self::signal(id, "-STOP");
        tokio::time::sleep(Duration::from_millis(chance.below(PAUSE_MS_MAX))).await;
        Self::signal(id, "-CONT");
    }

    /// SIGKILL, and a new life; what was acknowledged before is looked for at once.
    async fn restart(&mut self, chance: &mut Chance) {
        self.recorder.note(Event::Killed);
        self.daemon.kill();
        self.recorder.note(Event::Gone);
        while chance.below(3) == 0 {
            self.place.start_and_kill(Duration::from_millis(chance.below(START_MS_MAX)));
        }
        self.daemon = self.place.start();
        self.recorder.note(Event::Started);
        self.proxy.aim(&self.daemon.url);
        for twin in TWINS {
            self.look(twin).await;
        }
    }

    /// Looks who has an object, as soon as that is decided.
    async fn look(&mut self, twin: &str) {
        let operator = Api::operator(&self.daemon.url);
        loop {
            operator.until(twin, |view| seen(view).is_some()).await;
            self.looks += 1;
            let (op, user, act) = (LOOKS + self.looks, "the operator".to_owned(), Act::Look);
            self.recorder.note(Event::Sent { op, user, twin: twin.to_owned(), act });
            let outcome = seen(&operator.view(twin).await);
            let decided = outcome.is_some();
            let outcome = outcome.unwrap_or(Outcome::Refused { slug: "undecided".to_owned() });
            self.recorder.note(Event::Answered { op, outcome });
            if decided {
                return;
            }
        }
    }
}

/// Who has an object, if that is decided.
fn seen(view: &Value) -> Option<Outcome> {
    let holder = || {
        let (user, priority) = (view["holder"]["user"].as_str()?, view["holder"]["priority"].as_u64()?);
        Some((user.to_owned(), u8::try_from(priority).ok()?))
    };
    let token = || view["token"].as_str()?.parse().ok();
    match view["phase"].as_str() {
        Some("held" | "revoking") => Some(Outcome::Seen { holder: holder(), token: token() }),
        Some("free") => Some(Outcome::Seen { holder: None, token: None }),
        _ => None,
    }
}

/// Opens the plant's session again and again.
async fn keep_open(plant: Plant, client: Client) {
    loop {
        match client.session(SystemKind::DigitalTwin).await {
            Ok(session) => plant.clone().run(session).await,
            // The daemon is being started.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn live(name: &str, file: &Path, operations: u64, chance: &mut Chance) -> History {
    let recorder = Arc::new(Recorder::open(file));
    let (things, heard) = (things(), Arc::clone(&recorder));
    let plant = Plant::placed(&things, move || heard.heard());
    let place = Place::new(SETTINGS);
    let (daemon, proxy) = (place.start(), Proxy::start().await);
    proxy.aim(&daemon.url);
    let devices = Client::new(&proxy.url, TOKEN).acting_as(PLANT.parse().expect("it is a name"));
    let devices = tokio::spawn(keep_open(plant.clone(), devices));
    let users = CLIENTS.map(|(_, user, _)| user);
    settle(&daemon.client(PLANT), &[daemon.client(PLAZA), daemon.client(LOBBY)], &things, &users).await;

    let start = |(number, seed)| Process::start(name, number, &proxy.url, file, operations, seed);
    let seeds: Vec<u64> = CLIENTS.map(|_| chance.next()).to_vec();
    let mut clients: Vec<Process> = seeds.into_iter().enumerate().map(start).collect();
    let mut life = Life { place, daemon, proxy, recorder, looks: 0 };
    loop {
        clients.retain_mut(|client| !client.is_done());
        if clients.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100 + chance.below(700))).await;
        match chance.below(6) {
            0 | 1 => life.restart(chance).await,
            2 => life.stopped_for(life.daemon.process.id(), chance).await,
            3 => {
                let client = chance.below(clients.len() as u64) as usize;
                life.stopped_for(clients[client].id(), chance).await;
            }
            4 => life.proxy.cut(),
            _ => life.look(TWINS[chance.below(3) as usize]).await,
        }
    }
    // Of its last life: the earlier ones were killed with what they had counted.
    all_judged_and_kept(&life.daemon.url);
    life.restart(chance).await;
    devices.abort();
    life.daemon.kill();
    let verified = life.place.journal("verify");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let lines: Vec<_> = TWINS.iter().flat_map(|twin| plant.lines_of(twin)).collect();
    History::new(&life.recorder.read(), &lines)
}

/// Lives through one history and judges it; what was recorded of a bad one is kept.
fn live_and_judge(name: &str, operations: u64, chance: &mut Chance) {
    let directory = TempDir::new().expect("there is room");
    let file = directory.path().join("history");
    let history = runtime().block_on(live(name, &file, operations, chance));
    println!("{:#?}", history.counts());
    if let Err(wrong) = history.judge(&things(), RETURN_MS) {
        panic!("{wrong}\nrecorded in {}", directory.keep().display());
    }
    for seen in ["acquire: done", "change: done", "release: done", "device: safe stop", "look: held"] {
        assert!(history.counts().contains_key(seen), "`{seen}` was never seen, so this shows little");
    }
}

#[test]
fn a_history_under_kills_pauses_and_broken_connections_is_that_of_a_register() {
    let name = "history::run::a_history_under_kills_pauses_and_broken_connections_is_that_of_a_register";
    if !run_as_one() {
        live_and_judge(name, 30, &mut Chance::from_environment());
    }
}

#[test]
#[ignore = "a long search: many histories; `./check.sh --long` runs it"]
fn every_history_under_kills_pauses_and_broken_connections_is_that_of_a_register() {
    let name = "history::run::every_history_under_kills_pauses_and_broken_connections_is_that_of_a_register";
    if run_as_one() {
        return;
    }
    let mut chance = Chance::from_environment();
    for _ in 0..15 {
        live_and_judge(name, 100, &mut chance);
    }
}
