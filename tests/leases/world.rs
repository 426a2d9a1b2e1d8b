//! A daemon, a plant with its devices, and metaverse systems with users who may use them.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;
use tokio::task::JoinHandle;
use twinway::{
    client::{Client, Incoming, Session},
    outside::SystemKind,
    protocol::{TwinId, UserId, access::Right},
};

use super::{
    api::Api,
    daemon::{Daemon, Place, TOKEN, WAIT_MAX},
    plant::{PLANT, Plant, Thing, description},
};

/// Two metaverse systems.
pub(crate) const PLAZA: &str = "plaza";
pub(crate) const LOBBY: &str = "lobby";
/// Records are durable before they are acknowledged, and what is waited for in the tests does not take long.
const QUICK: &str =
    "[monitor]\nenabled = true\n[journal]\nloss_window_ms = 0\n[entities]\ndevice_clock_margin_ms = 50\n";
/// Who may use every twin of the tests, in both systems: a role each, and several of some.
const USERS: [&str; 7] = ["chief-ada", "chief-bob", "worker-cyd", "worker-dan", "worker-eve", "guest-fay", "guest-gil"];

/// All of it. Its daemon judges itself: what it did to its end was as the invariants of sync leases say.
pub(crate) struct World {
    place: Place,
    daemon: Option<Daemon>,
    pub(crate) plant: Plant,
    session: Option<JoinHandle<()>>,
}

impl World {
    /// Starts a daemon with these twins. `limits` are entries of `entities.lease`.
    pub(crate) async fn start(things: &[Thing], limits: &str) -> Self {
        let place = Place::new(&format!("{QUICK}[entities.lease]\n{limits}"));
        let daemon = place.start();
        let plant = Plant::new(things);
        let mut world = Self { place, daemon: Some(daemon), plant, session: None };
        world.join().await;
        settle(&world.client(PLANT), &[world.client(PLAZA), world.client(LOBBY)], things, &USERS).await;
        world
    }

    async fn join(&mut self) {
        self.session = Some(self.plant.open(&self.client(PLANT)).await);
    }

    pub(crate) fn url(&self) -> &str {
        &self.daemon().url
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it runs")
    }

    pub(crate) fn client(&self, system: &str) -> Client {
        self.daemon().client(system)
    }

    pub(crate) fn operator(&self) -> Api {
        Api::operator(&self.daemon().url)
    }

    /// A metaverse system that speaks HTTP.
    pub(crate) fn api(&self, system: &str) -> Api {
        self.operator().acting_as(system)
    }

    /// What a metaverse system is told.
    pub(crate) async fn ears(&self, system: &str) -> Ears {
        Ears { session: self.client(system).session(SystemKind::Metaverse).await.expect("the daemon opens it") }
    }

    /// SIGKILL, and a new life.
    pub(crate) async fn restart(&mut self) {
        self.daemon.take().expect("it runs").kill();
        if let Some(session) = self.session.take() {
            session.await.expect("it ends with the daemon");
        }
        self.daemon = Some(self.place.start());
        self.join().await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.as_ref().filter(|_| !std::thread::panicking()) {
            all_judged_and_kept(&daemon.url);
        }
    }
}

pub(crate) fn metrics_of(url: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = format!(
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text
}

/// Checks that a daemon saw all that its leases did, and that nothing of it was as it must not be.
pub(crate) fn all_judged_and_kept(url: &str) {
    let metrics = metrics_of(url);
    let lines = || metrics.lines().filter(|line| line.starts_with("twinway_lease_violations_total{"));
    assert_eq!(lines().count(), 12, "each rule that is judged is shown: {metrics}");
    assert_eq!(lines().find(|line| !line.ends_with(" 0")), None);
    for line in ["twinway_lease_judging 1", "twinway_lease_unjudged_total 0"] {
        assert!(metrics.lines().any(|shown| shown == line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("twinway_lease_judged_total 0"), "{metrics}");
}

/// Registers the plant and has every user permitted everything, by each of the systems.
pub(crate) async fn settle(plant: &Client, systems: &[Client], things: &[Thing], users: &[&str]) {
    let described = serde_json::from_value(description(things)).expect("it is a description");
    plant.register_twin_system(&described).await.expect("it registers");
    let twins: Vec<TwinId> = things.iter().map(|thing| thing.twin.parse().expect("it is a name")).collect();
    let rights = BTreeSet::from([Right::Read, Right::Change, Right::Stop]);
    for system in systems {
        system.select_twins(&twins, &[]).await.expect("they are selected");
        for user in users {
            let user: UserId = user.parse().expect("it is a name");
            let granted = system.request_permission(&user, &twins, &rights).await.expect("it is granted");
            assert!(granted.refused.is_empty(), "{granted:?}");
        }
    }
}

/// The session of a metaverse system, by which it is told what it did not ask.
pub(crate) struct Ears {
    session: Session,
}

impl Ears {
    /// The data of the next event of this kind; others are passed over.
    pub(crate) async fn hear(&mut self, kind: &str) -> Value {
        let listening = async {
            loop {
                match self.session.next().await {
                    Incoming::Event { event, .. } if event.event_type == format!("io.twinway.{kind}") => {
                        return event.data.read().expect("it is JSON");
                    }
                    Incoming::Closed(why) => panic!("while `{kind}` was awaited: {why:?}"),
                    _ => {}
                }
            }
        };
        let heard = tokio::time::timeout(WAIT_MAX, listening).await;
        heard.unwrap_or_else(|_| panic!("`{kind}` was not told"))
    }
}
