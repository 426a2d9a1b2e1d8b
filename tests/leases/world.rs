//! A daemon, a plant with its devices, and metaverse systems with users who may use them.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::task::JoinHandle;
use twinway::{
    client::{Client, Incoming, Session},
    outside::SystemKind,
    protocol::{TwinId, UserId, access::Right},
};

use super::{
    api::Api,
    daemon::{Daemon, Place, WAIT_MAX},
    plant::{PLANT, Plant, Thing, description},
};

/// Two metaverse systems.
pub(crate) const PLAZA: &str = "plaza";
pub(crate) const LOBBY: &str = "lobby";
/// Records are durable before they are acknowledged, and what is waited for in the tests does not take long.
const QUICK: &str = "[journal]\nloss_window_ms = 0\n[entities]\ndevice_clock_margin_ms = 50\n";
/// Who may use every twin of the tests, in both systems: a role each, and several of some.
const USERS: [&str; 7] = ["chief-ada", "chief-bob", "worker-cyd", "worker-dan", "worker-eve", "guest-fay", "guest-gil"];

/// All of it.
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
