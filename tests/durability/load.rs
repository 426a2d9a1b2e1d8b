//! Clients that register, select, ask and change until the daemon is gone, and keep what it acknowledged.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use twinway::{
    client::{Client, ClientError},
    outside::SystemKind,
    protocol::TwinId,
};

use super::{
    chance::Chance,
    daemon::Daemon,
    facts::{Authorization, Registration, SharedFacts},
    outsiders::{LATER, answering},
    world::{LEVEL, POWER, advisor, all_rights, granted, home, lamp, number, scope, system, user, values},
};

/// The systems that are there in every round: two homes, an advisor, two worlds.
pub(crate) const HOMES: [&str; 2] = ["home-0", "home-1"];
pub(crate) const HOME_LAMPS: u64 = 4;
pub(crate) const ADVISOR: &str = "advisor-0";
pub(crate) const WORLDS: [&str; 2] = ["world-0", "world-1"];
/// The user who changes the lamps of the homes.
const DRIVER: &str = "driver";
/// How much each client leaves behind in one round, so that looking at all of it stays short.
const EACH_MAX: u64 = 15;

/// What becomes of a request: nothing if the daemon went away meanwhile.
fn acknowledged<T>(result: Result<T, ClientError>) -> Option<T> {
    match result {
        Ok(answer) => Some(answer),
        Err(ClientError::Unreachable(_) | ClientError::Timeout) => None,
        Err(other) => panic!("under load: {other:?}"),
    }
}

/// A client and what it needs to put load on the daemon.
#[derive(Clone)]
struct Loader {
    client: Client,
    facts: SharedFacts,
    /// Names what is made in this round.
    round: String,
    chance: Chance,
}

/// Makes what is there in every round. It is acknowledged before anything is killed.
pub(crate) async fn settle(daemon: &Daemon, facts: &SharedFacts, chance: &mut Chance) {
    let mut loader = |id: &str| Loader {
        client: daemon.client(id),
        facts: facts.clone(),
        round: String::new(),
        chance: chance.split(),
    };
    loader(ADVISOR).register_advisor(ADVISOR).await.expect("the daemon lives");
    for id in HOMES {
        loader(id).register_home(id, HOME_LAMPS).await.expect("the daemon lives");
        let lamps = (0..HOME_LAMPS).map(|number| lamp(id, number)).collect::<Vec<_>>();
        let (answers, world) = (answering(daemon.client(id), SystemKind::DigitalTwin).await, loader(WORLDS[0]));
        world.select(&lamps, &[]).await.expect("the daemon lives");
        world.permit(DRIVER, &lamps).await.expect("the daemon lives");
        answers.abort();
    }
}

impl Chance {
    /// Another source, for another task.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }
}

/// Starts clients on everything at once. They end when the daemon is gone.
pub(crate) async fn load(daemon: &Daemon, facts: &SharedFacts, round: u64, chance: &mut Chance) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for id in HOMES {
        tasks.spawn(joined(answering(daemon.client(id), SystemKind::DigitalTwin).await));
    }
    tasks.spawn(joined(answering(daemon.client(ADVISOR), SystemKind::ThirdParty).await));
    let mut loader = |id: &str, part: &str| {
        let round = format!("{round}-{part}");
        Loader { client: daemon.client(id), facts: facts.clone(), round, chance: chance.split() }
    };
    for part in ["a", "b"] {
        tasks.spawn(loader("root", part).homes());
    }
    tasks.spawn(loader("root", "a").advisors());
    for (world, home) in WORLDS.into_iter().zip(HOMES) {
        tasks.spawn(loader(world, world).selections());
        tasks.spawn(loader(world, world).authorizations());
        for number in 0..HOME_LAMPS {
            tasks.spawn(loader(home, home).reports(lamp(home, number)));
        }
        tasks.spawn(loader(WORLDS[0], home).changes(lamp(home, 0)));
        tasks.spawn(loader(WORLDS[0], home).changes(lamp(home, 1)));
    }
    tasks.spawn(loader(WORLDS[0], WORLDS[0]).permissions());
    tasks
}

async fn joined(task: tokio::task::JoinHandle<()>) {
    task.await.expect("it does not panic");
}

impl Loader {
    async fn register_home(&self, id: &str, lamps: u64) -> Option<()> {
        let sent = home(id, lamps);
        self.facts.lock().homes.insert(system(id), Registration::sent(sent.clone()));
        let client = self.client.clone().acting_as(system(id));
        let listing = acknowledged(client.register_twin_system(&sent).await)?;
        self.facts.lock().homes.get_mut(&system(id))?.acknowledged = Some(listing);
        Some(())
    }

    async fn register_advisor(&self, id: &str) -> Option<()> {
        let sent = advisor(id);
        self.facts.lock().advisors.insert(system(id), Registration::sent(sent.clone()));
        let client = self.client.clone().acting_as(system(id));
        let listing = acknowledged(client.register_third_party_system(&sent).await)?;
        self.facts.lock().advisors.get_mut(&system(id))?.acknowledged = Some(listing);
        Some(())
    }

    async fn homes(mut self) {
        for number in 0..EACH_MAX {
            let (id, lamps) = (format!("home-{}-{number}", self.round), 1 + self.chance.below(4));
            if self.register_home(&id, lamps).await.is_none() {
                return;
            }
        }
    }

    async fn advisors(self) {
        for number in 0..EACH_MAX {
            if self.register_advisor(&format!("advisor-{}-{number}", self.round)).await.is_none() {
                return;
            }
        }
    }

    /// FGMV-29 9.2 steps 6 and 7.
    async fn select(&self, select: &[TwinId], release: &[TwinId]) -> Option<()> {
        let world = system(self.world());
        let wanted = {
            let mut facts = self.facts.lock();
            let selection = facts.selections.entry(world.clone()).or_default();
            let mut wanted: BTreeSet<TwinId> = selection.acknowledged.clone();
            wanted.extend(select.iter().cloned());
            wanted.retain(|twin| !release.contains(twin));
            selection.under_way = Some(wanted.clone());
            wanted
        };
        let selected = acknowledged(self.client.select_twins(select, release).await)?;
        assert_eq!(selected.into_iter().collect::<BTreeSet<_>>(), wanted, "what the answer says is selected");
        let mut facts = self.facts.lock();
        let selection = facts.selections.entry(world).or_default();
        selection.acknowledged = wanted;
        selection.under_way = None;
        Some(())
    }

    /// Whom this client acts as, when it is a world.
    fn world(&self) -> String {
        WORLDS.into_iter().find(|world| self.round.ends_with(world)).unwrap_or(WORLDS[0]).to_owned()
    }

    /// Selects twins of homes that are registered, and lets some go; the lamps of the first homes stay selected.
    async fn selections(mut self) {
        loop {
            let known: Vec<TwinId> = {
                let facts = self.facts.lock();
                let homes = facts.homes.values().filter(|home| home.acknowledged.is_some());
                homes.flat_map(|home| home.sent.twins.iter().map(|twin| twin.id.clone())).collect()
            };
            let fixed = |twin: &TwinId| HOMES.iter().any(|home| twin.as_str().starts_with(&format!("{home}.")));
            let (mut select, mut release) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..1 + self.chance.below(4) {
                let twin = known[self.chance.below(known.len() as u64) as usize].clone();
                if fixed(&twin) || self.chance.below(3) > 0 {
                    select.insert(twin)
                } else {
                    release.insert(twin)
                };
            }
            release.retain(|twin| !select.contains(twin));
            let (select, release): (Vec<_>, Vec<_>) = (Vec::from_iter(select), Vec::from_iter(release));
            if self.select(&select, &release).await.is_none() {
                return;
            }
        }
    }

    /// FGMV-29 9.2 steps 8 to 12.
    async fn permit(&self, name: &str, twins: &[TwinId]) -> Option<()> {
        let granted = acknowledged(self.client.request_permission(&user(name), twins, &all_rights()).await)?;
        assert!(granted.refused.is_empty() && granted.permissions.len() == twins.len(), "{granted:?}");
        self.facts.lock().permissions.extend(granted.permissions);
        Some(())
    }

    async fn permissions(mut self) {
        for number in 0..EACH_MAX {
            let twins = HOMES.map(|home| lamp(home, self.chance.below(HOME_LAMPS)));
            if self.permit(&format!("user-{}-{number}", self.round), &twins).await.is_none() {
                return;
            }
        }
    }

    /// FGMV-29 9.1 steps 6 to 10; for some users the decision comes later.
    async fn authorizations(mut self) {
        let (advisor, third_party) = (system(ADVISOR), self.client.clone().acting_as(system(ADVISOR)));
        for number in 0..EACH_MAX {
            let prefix = if self.chance.below(2) == 0 { LATER } else { "user-" };
            let user = user(format!("{prefix}{}-{number}", self.round));
            let asked = self.client.request_user_authorization(&advisor, &user, &scope()).await;
            let Some(authorization) = acknowledged(asked) else { return };
            let id = authorization.id.clone();
            let kept = Authorization { acknowledged: authorization, under_way: None };
            self.facts.lock().authorizations.insert(id.clone(), kept);
            if prefix != LATER || self.chance.below(3) == 0 {
                continue;
            }
            let decision = granted(&user);
            self.facts.lock().authorizations.get_mut(&id).expect("it is kept").under_way = Some(decision.clone());
            let Some(decided) = acknowledged(third_party.decide_user_authorization(&id, &decision).await) else {
                return;
            };
            assert_eq!(decided.decision, decision);
            let kept = Authorization { acknowledged: decided, under_way: None };
            self.facts.lock().authorizations.insert(id, kept);
        }
    }

    /// FGMV-29 9.2 step 14: the only one who reports this twin's power.
    async fn reports(self, twin: TwinId) {
        loop {
            let value = self.count(&twin, |counted| &mut counted.power_sent);
            let reported = self.client.report_change(&twin, &values(POWER, value), None).await;
            let Some(version) = acknowledged(reported) else { return };
            self.facts.lock().twins.entry(twin.clone()).or_default().power = Some((version, value));
        }
    }

    /// FGMV-29 9.2 steps 15 to 18x: the only one who changes this twin's level.
    async fn changes(self, twin: TwinId) {
        loop {
            let value = self.count(&twin, |counted| &mut counted.level_sent);
            let changed = self.client.change_twin(&user(DRIVER), &twin, &values(LEVEL, value)).await;
            let Some(changed) = acknowledged(changed) else { return };
            assert_eq!(changed.get(LEVEL), Some(&number(value)));
            self.facts.lock().twins.entry(twin.clone()).or_default().level = Some(value);
            // What is published is a promise too.
            let Some(view) = acknowledged(self.client.twin(&twin).await) else { return };
            self.facts.lock().twins.entry(twin.clone()).or_default().view = Some(view);
        }
    }

    fn count(&self, twin: &TwinId, sent: impl Fn(&mut super::facts::Counted) -> &mut u64) -> u64 {
        let mut facts = self.facts.lock();
        let sent = sent(facts.twins.entry(twin.clone()).or_default());
        *sent += 1;
        *sent
    }
}
