//! A user of a metaverse system in a process of its own: it asks for objects, drives them, keeps them, gives them back, or
//! does not.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use twinway::protocol::{lease::Token, message::SyncLease};

use super::record::{Act, Event, Outcome, Recorder};
use crate::{
    api::{Api, Failure, Wish},
    chance::{Chance, SEED},
    plant::SPEED,
};

/// Who is who: the number of the client, its system, and its user with what it weighs.
pub(crate) const CLIENTS: [(&str, &str, u8); 6] = [
    ("plaza", "chief-ada", 9),
    ("lobby", "chief-bob", 9),
    ("plaza", "worker-cyd", 5),
    ("lobby", "worker-dan", 5),
    ("plaza", "guest-fay", 1),
    ("lobby", "guest-gil", 1),
];
/// What a client process is told by its environment.
const NUMBER: &str = "TWINWAY_LEASE_CLIENT";
const URL: &str = "TWINWAY_LEASE_URL";
const FILE: &str = "TWINWAY_LEASE_FILE";
const OPERATIONS: &str = "TWINWAY_LEASE_OPERATIONS";
/// Operations of different clients have different numbers.
const NUMBERS_EACH: u64 = 1_000_000;
/// How long an answer is waited for, beside what the client itself said it would wait.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A client that runs. It is killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts client `number`, as the test `name` over again.
    pub(crate) fn start(name: &str, number: usize, url: &str, file: &Path, operations: u64, seed: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("it runs"));
        command.args(["--exact", name, "--nocapture", "--include-ignored", "--test-threads=1"]);
        command.env(NUMBER, number.to_string()).env(URL, url).env(FILE, file);
        command.env(OPERATIONS, operations.to_string()).env(SEED, seed.to_string());
        Self(command.stdout(Stdio::null()).spawn().expect("it starts"))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has done everything.
    pub(crate) fn is_done(&mut self) -> bool {
        match self.0.try_wait().expect("it is ours") {
            Some(status) => {
                assert!(status.success(), "a client ended with {status}");
                true
            }
            None => false,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs as a client, if this process is one.
pub(crate) fn run_as_one() -> bool {
    let said = |name| std::env::var(name).ok();
    let Some(number) = said(NUMBER) else { return false };
    let number: usize = number.parse().expect("it is a number");
    let (system, user, priority) = CLIENTS[number];
    let url = said(URL).expect("it is told where");
    let mut client = Client {
        api: Api::operator(&url).acting_as(system).within(ANSWER_MAX),
        recorder: Recorder::open(Path::new(&said(FILE).expect("it is told where"))),
        chance: Chance::from_environment(),
        user,
        priority,
        next_op: number as u64 * NUMBERS_EACH + 1,
        heard: 0,
        stale: Vec::new(),
    };
    let operations: u64 = said(OPERATIONS).expect("it is told how many").parse().expect("it is a number");
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("there are threads").block_on(async move {
        // However slow the machine is: what reached nobody, because the daemon was being started, shows nothing.
        while client.heard < operations {
            client.turn().await;
        }
    });
    true
}

struct Client {
    api: Api,
    recorder: Recorder,
    chance: Chance,
    user: &'static str,
    priority: u8,
    next_op: u64,
    /// How many operations were answered.
    heard: u64,
    /// Tokens of leases that are over, or may be.
    stale: Vec<(String, Token)>,
}

impl Client {
    fn one_in(&mut self, many: u64) -> bool {
        self.chance.below(many) == 0
    }

    /// Lets some time pass: what is to be shown is that it does not matter when.
    async fn pause(&mut self, ms_max: u64) {
        tokio::time::sleep(Duration::from_millis(self.chance.below(ms_max))).await;
    }

    fn sent(&mut self, twin: &str, act: Act) -> u64 {
        let op = self.next_op;
        self.next_op += 1;
        self.recorder.note(Event::Sent { op, user: self.user.to_owned(), twin: twin.to_owned(), act });
        op
    }

    /// Notes what came of something. A daemon that failed in the middle may have done it or not.
    fn answered<T>(
        &mut self,
        op: u64,
        result: Result<T, Failure>,
        outcome: impl Fn(&T) -> Outcome,
    ) -> Result<T, Failure> {
        let outcome = match &result {
            Ok(answer) => outcome(answer),
            Err(Failure::Refused(refusal)) if refusal.status < 500 => Outcome::Refused { slug: refusal.slug.clone() },
            Err(_) => Outcome::Lost,
        };
        self.heard += u64::from(outcome != Outcome::Lost);
        self.recorder.note(Event::Answered { op, outcome });
        result
    }

    /// One encounter with one object.
    async fn turn(&mut self) {
        let twin = super::run::TWINS[self.chance.below(3) as usize];
        match self.chance.below(8) {
            0 => drop(self.change(twin, None).await),
            1 if !self.stale.is_empty() => {
                let place = self.chance.below(self.stale.len() as u64) as usize;
                let (twin, token) = self.stale[place].clone();
                // What is over stays over, whatever it is used for.
                match self.chance.below(3) {
                    0 => drop(self.change(&twin, Some(token)).await),
                    1 => drop(self.renew(&twin, token, 500).await),
                    _ => drop(self.release(&twin, token).await),
                }
            }
            _ => {
                if let Some(lease) = self.acquire(twin).await {
                    self.hold(twin, lease.token).await;
                }
            }
        }
        self.pause(30).await;
    }

    /// Asks, and asks again by the same id if the answer was lost.
    async fn acquire(&mut self, twin: &str) -> Option<SyncLease> {
        let ttl_ms = 300 + self.chance.below(1_500);
        let wait_ms = if self.one_in(2) { 0 } else { 50 + self.chance.below(700) };
        let id = format!("{:08x}-0000-4000-8000-{:012x}", self.next_op, self.chance.next() >> 16);
        let wish = Wish::of(self.user).with("ttlMs", ttl_ms).with("waitMs", wait_ms).with("requestId", id);
        for attempt in 0..3 {
            let act = Act::Acquire { priority: self.priority, ttl_ms, wait_ms, again: attempt > 0 };
            let op = self.sent(twin, act);
            let asked = self.api.acquire(twin, &wish).await;
            match self.answered(op, asked, |lease| Outcome::Granted { token: lease.token }) {
                Ok(lease) => return Some(lease),
                Err(Failure::Lost(_)) => self.pause(200).await,
                Err(Failure::Refused(_)) => return None,
            }
        }
        None
    }

    /// Drives an object, keeps it for a while, and gives it back or not.
    async fn hold(&mut self, twin: &str, mut token: Token) {
        for _ in 0..self.chance.below(6) {
            let result = match self.chance.below(4) {
                0 => self.renew(twin, token, 300 + self.chance.clone().below(1_000)).await,
                _ => self.change(twin, Some(token)).await,
            };
            self.pause(80).await;
            // The daemon began a new life: the holder's new token may be told.
            match result {
                Err(Failure::Refused(refusal)) if refusal.slug == "lease-token-stale" => {
                    self.stale.push((twin.to_owned(), token));
                    token = refusal.token().unwrap_or(token);
                }
                Err(Failure::Refused(refusal)) if refusal.slug == "lease-lost" => break,
                _ => {}
            }
        }
        if !self.one_in(4) {
            let _ = self.release(twin, token).await;
        }
        self.stale.push((twin.to_owned(), token));
    }

    async fn change(&mut self, twin: &str, token: Option<Token>) -> Result<(), Failure> {
        let op = self.sent(twin, Act::Change { token });
        let changed = self.api.change(twin, self.user, token, &json!({ SPEED: op })).await;
        self.answered(op, changed, |_| Outcome::Done).map(|_| ())
    }

    async fn renew(&mut self, twin: &str, token: Token, ttl_ms: u64) -> Result<(), Failure> {
        let op = self.sent(twin, Act::Renew { token, ttl_ms });
        let renewed = self.api.renew(twin, self.user, token, ttl_ms).await;
        self.answered(op, renewed, |_| Outcome::Done).map(|_| ())
    }

    async fn release(&mut self, twin: &str, token: Token) -> Result<(), Failure> {
        let op = self.sent(twin, Act::Release { token });
        let released = self.api.release(twin, self.user, token).await;
        self.answered(op, released, |()| Outcome::Done)
    }
}
