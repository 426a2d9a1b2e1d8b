//! How registered systems stand (FGMV-29 8.2.1 and 8.3.1): what is measured of them, the lifetime of their registrations,
//! and what follows from both by the operator's rules. Both registers watch their systems by it.

mod registrar;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use twinway_protocol::{
    EntityId, JsonDoc, PendingKey, Problem, ProblemKind, SystemId,
    message::ReportPerformance,
    registry::{Breaker, BreakerState, Health, Performance, Reach, ServiceLevel, Standing},
    signal::{Event, Signal},
    time::{Now, Timestamp},
};

use crate::{Settings, settings::HealthRules};
pub(crate) use registrar::{Registered, Registrar, unknown};

/// The key of the timer by which a register looks at what is due.
pub(crate) const WATCH: PendingKey = PendingKey::from_bits(u64::MAX - 1);
/// Over how long availability is measured, in milliseconds.
const AVAILABILITY_MS: u64 = 86_400_000;
/// How many outages of that time are told apart; older ones count as one.
const OUTAGES_MAX: usize = 64;

/// How a system stood when that changed, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    health: Health,
    since: Timestamp,
    reason: Option<String>,
    heard_at: Option<Timestamp>,
}

impl Stood {
    fn of(standing: &Standing) -> Self {
        let Standing { health, since, reason, heard_at, .. } = standing;
        Self { health: *health, since: *since, reason: reason.clone(), heard_at: *heard_at }
    }
}

/// What a registration says that matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'d> {
    /// What the system promises.
    pub(crate) level: Option<&'d ServiceLevel>,
    /// How it is reached.
    pub(crate) reach: &'d Reach,
    /// When it registered.
    pub(crate) registered_at: Timestamp,
    /// Whether it is one that is called through a circuit breaker.
    pub(crate) has_breaker: bool,
}

/// What is known of one system.
#[derive(Debug, Default)]
struct Watched {
    standing: Arc<Standing>,
    promised_p99_ms: Option<f64>,
    failed_in_a_row: u32,
    in_session: bool,
    /// It keeps a session, or has sent a heartbeat: its silence means something.
    gives_signs: bool,
    heard_ms: u64,
    since_ms: u64,
    outages: VecDeque<(u64, u64)>,
    due_ms: Option<u64>,
    /// As it was last told.
    told: Option<Arc<Standing>>,
}

/// What came of looking at a system.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) system: SystemId,
    pub(crate) standing: Arc<Standing>,
    /// Its health is another one: to be written down, and told.
    pub(crate) stood: Option<Stood>,
    /// Whether it stands otherwise than was told before, be it in a figure.
    pub(crate) is_news: bool,
}

/// How all systems of one register stand.
#[derive(Debug)]
pub(crate) struct Standings {
    rules: HealthRules,
    lifetime_ms: (u64, u64),
    watched: BTreeMap<SystemId, Watched>,
    due: BTreeSet<(u64, SystemId)>,
    armed_ms: Option<u64>,
}

impl Standings {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            rules: settings.health.clone(),
            lifetime_ms: (settings.registration_lifetime_ms_min, settings.registration_lifetime_ms_max),
            watched: BTreeMap::new(),
            due: BTreeSet::new(),
            armed_ms: None,
        }
    }

    /// Whether a registration may last so long.
    ///
    /// # Errors
    /// [`ProblemKind::LimitReached`] with the bounds.
    pub(crate) fn check_lifetime(&self, lifetime_ms: Option<u64>) -> Result<(), Problem> {
        let (min, max) = self.lifetime_ms;
        if lifetime_ms.is_none_or(|ms| (min..=max).contains(&ms)) {
            return Ok(());
        }
        let detail = format!("registration_lifetime_ms_min is {min}, registration_lifetime_ms_max is {max}");
        Err(Problem::new(ProblemKind::LimitReached, detail).at("/lifetimeMs"))
    }

    /// How a system stands.
    pub(crate) fn of(&self, system: &SystemId) -> Arc<Standing> {
        self.watched.get(system).map(|watched| Arc::clone(&watched.standing)).unwrap_or_default()
    }

    /// How a system stood when that last changed, to be written down again; nothing if it is as when it registered.
    pub(crate) fn stood(&self, system: &SystemId, registered_at: Timestamp) -> Option<Stood> {
        let standing = &self.watched.get(system)?.standing;
        let as_registered = standing.health == Health::Healthy
            && (standing.since == registered_at || standing.since == Timestamp::default());
        (!as_registered).then(|| Stood::of(standing))
    }

    /// When a system's registration ends.
    pub(crate) fn expires_at(&self, system: &SystemId) -> Option<Timestamp> {
        self.watched.get(system).and_then(|watched| watched.standing.expires_at)
    }

    /// Takes over when a system's registration ends, from what was written down.
    pub(crate) fn replay_lifetime(&mut self, system: &SystemId, expires_at: Option<Timestamp>) {
        let watched = self.watched.entry(system.clone()).or_default();
        Arc::make_mut(&mut watched.standing).expires_at = expires_at;
    }

    /// Takes over how a system stood, from what was written down.
    pub(crate) fn replay_stood(&mut self, system: &SystemId, stood: Stood) {
        let standing = Arc::make_mut(&mut self.watched.entry(system.clone()).or_default().standing);
        let Stood { health, since, reason, heard_at } = stood;
        (standing.health, standing.since, standing.reason, standing.heard_at) = (health, since, reason, heard_at);
    }

    /// A system is registered, or described anew, or the register has recovered: silence counts from now on.
    pub(crate) fn watch(&mut self, system: &SystemId, terms: Terms<'_>, now: Now) -> Moved {
        let watched = self.watched.entry(system.clone()).or_default();
        watched.promised_p99_ms = terms.level.and_then(|level| level.p99_ms);
        watched.gives_signs |= matches!(terms.reach, Reach::Session);
        watched.heard_ms = now.monotonic_ms;
        if watched.since_ms == 0 {
            watched.since_ms = now.monotonic_ms;
        }
        if watched.standing.since == Timestamp::default() {
            Arc::make_mut(&mut watched.standing).since = terms.registered_at;
        }
        if terms.has_breaker && watched.standing.breaker.is_none() {
            let breaker = Breaker { state: BreakerState::Closed, since: terms.registered_at };
            Arc::make_mut(&mut watched.standing).breaker = Some(breaker);
        }
        self.judge(system, now)
    }

    /// A system is registered no more.
    pub(crate) fn forget(&mut self, system: &SystemId) {
        if let Some(due_ms) = self.watched.remove(system).and_then(|watched| watched.due_ms) {
            self.due.remove(&(due_ms, system.clone()));
        }
    }

    /// A registration was renewed, and ends then.
    pub(crate) fn renew(&mut self, system: &SystemId, expires_at: Option<Timestamp>, now: Now) -> Moved {
        self.replay_lifetime(system, expires_at);
        self.hear(system, now);
        self.judge(system, now)
    }

    /// A system has sent a heartbeat.
    pub(crate) fn heartbeat(&mut self, system: &SystemId, now: Now) -> Moved {
        if let Some(watched) = self.watched.get_mut(system) {
            watched.gives_signs = true;
        }
        self.hear(system, now);
        self.judge(system, now)
    }

    fn hear(&mut self, system: &SystemId, now: Now) {
        let Some(watched) = self.watched.get_mut(system) else { return };
        (watched.heard_ms, watched.failed_in_a_row) = (now.monotonic_ms, 0);
        Arc::make_mut(&mut watched.standing).heard_at = Some(now.wall);
    }

    /// A system's actor has told what it measured; nothing if nobody registered as that system.
    pub(crate) fn report(&mut self, report: ReportPerformance, now: Now) -> Option<Moved> {
        let ReportPerformance { system, performance, failed_in_a_row, heard_ms_ago, in_session } = report;
        let watched = self.watched.get_mut(&system)?;
        watched.failed_in_a_row = failed_in_a_row;
        watched.in_session = in_session;
        watched.gives_signs |= in_session;
        let standing = Arc::make_mut(&mut watched.standing);
        if let Some(ago) = heard_ms_ago {
            watched.heard_ms = watched.heard_ms.max(now.monotonic_ms.saturating_sub(ago));
            let heard_at = Timestamp::from_unix_ms(now.wall.unix_ms().saturating_sub(ago));
            standing.heard_at = standing.heard_at.max(Some(heard_at));
        }
        standing.performance = *performance;
        Some(self.judge(&system, now))
    }

    /// A third-party system is called in another way than before (FGMV-29 8.2.4).
    pub(crate) fn breaker(&mut self, system: &SystemId, breaker: Breaker, now: Now) -> Moved {
        if let Some(watched) = self.watched.get_mut(system) {
            Arc::make_mut(&mut watched.standing).breaker = Some(breaker);
        }
        self.judge(system, now)
    }

    /// The systems of which a breaker is not closed.
    pub(crate) fn broken(&self) -> Vec<SystemId> {
        let is_broken = |watched: &Watched| watched.standing.breaker.is_some_and(|of| of.state != BreakerState::Closed);
        self.watched.iter().filter(|(_, watched)| is_broken(watched)).map(|(id, _)| id.clone()).collect()
    }

    /// Looks at all systems for which something is due.
    pub(crate) fn tick(&mut self, now: Now) -> Vec<Moved> {
        self.armed_ms = None;
        let mut moved = Vec::new();
        while let Some((due_ms, system)) = self.due.first().cloned() {
            if due_ms > now.monotonic_ms {
                break;
            }
            self.due.remove(&(due_ms, system.clone()));
            if let Some(watched) = self.watched.get_mut(&system) {
                watched.due_ms = None;
            }
            moved.push(self.judge(&system, now));
        }
        moved
    }

    /// In how many milliseconds the register has to look again, if that is sooner than it knows.
    pub(crate) fn arm(&mut self, now: Now) -> Option<u64> {
        let (due_ms, _) = self.due.first()?;
        if self.armed_ms.is_some_and(|armed_ms| armed_ms <= *due_ms) {
            return None;
        }
        self.armed_ms = Some(*due_ms);
        Some(due_ms.saturating_sub(now.monotonic_ms))
    }

    /// Decides how a system stands, and when to look at it again.
    fn judge(&mut self, system: &SystemId, now: Now) -> Moved {
        let Some(watched) = self.watched.get_mut(system) else {
            return Moved { system: system.clone(), standing: Arc::default(), stood: None, is_news: false };
        };
        let (health, reason) = self.rules.health(watched, now);
        let before = watched.standing.health;
        let standing = Arc::make_mut(&mut watched.standing);
        standing.reason = reason;
        let changed = health != before;
        if changed {
            (standing.health, standing.since) = (health, now.wall);
            watched.outage(before, health, now.monotonic_ms);
        }
        let availability = watched.availability(health, now.monotonic_ms);
        Arc::make_mut(&mut watched.standing).performance.availability = Some(availability);
        let due_ms = self.rules.due_ms(watched, now);
        if due_ms != watched.due_ms {
            if let Some(old_ms) = std::mem::replace(&mut watched.due_ms, due_ms) {
                self.due.remove(&(old_ms, system.clone()));
            }
            self.due.extend(due_ms.map(|due_ms| (due_ms, system.clone())));
        }
        let standing = Arc::clone(&watched.standing);
        let is_news = watched.told.as_ref().is_none_or(|told| !is_told(told, &standing));
        watched.told = Some(Arc::clone(&standing));
        Moved { system: system.clone(), stood: changed.then(|| Stood::of(&standing)), standing, is_news }
    }
}

/// Whether it stands as was told. Availability goes on by itself, and is told with what else changes.
fn is_told(told: &Standing, now: &Standing) -> bool {
    let (one, other) = (&told.performance, &now.performance);
    (told.health, told.since, told.heard_at, told.expires_at) == (now.health, now.since, now.heard_at, now.expires_at)
        && told.reason == now.reason
        && told.breaker == now.breaker
        && (one.calls, one.failed, one.p50_ms, one.p99_ms) == (other.calls, other.failed, other.p50_ms, other.p99_ms)
}

fn is_up(health: Health) -> bool {
    matches!(health, Health::Healthy | Health::Degraded)
}

impl Watched {
    fn outage(&mut self, before: Health, after: Health, now_ms: u64) {
        match (is_up(before), is_up(after)) {
            (true, false) => {
                if self.outages.len() >= OUTAGES_MAX
                    && let (Some((from_ms, _)), Some(second)) = (self.outages.pop_front(), self.outages.front_mut())
                {
                    second.0 = from_ms;
                }
                self.outages.push_back((now_ms, u64::MAX));
            }
            (false, true) => {
                if let Some((_, until_ms)) = self.outages.back_mut() {
                    *until_ms = now_ms;
                }
            }
            _ => {}
        }
    }

    /// The share of the last day, or of the time since it is watched, in which it was there.
    fn availability(&mut self, health: Health, now_ms: u64) -> f64 {
        let begin_ms = self.since_ms.max(now_ms.saturating_sub(AVAILABILITY_MS));
        self.outages.retain(|(_, until_ms)| *until_ms > begin_ms);
        let length_ms = now_ms.saturating_sub(begin_ms);
        if length_ms == 0 {
            return if is_up(health) { 1.0 } else { 0.0 };
        }
        let out_ms: u64 = self
            .outages
            .iter()
            .map(|(from_ms, until_ms)| (*until_ms).min(now_ms).saturating_sub((*from_ms).max(begin_ms)))
            .sum();
        1.0 - out_ms.min(length_ms) as f64 / length_ms as f64
    }
}

impl HealthRules {
    /// What a system is by these rules, and why.
    fn health(&self, watched: &Watched, now: Now) -> (Health, Option<String>) {
        if let Some(end) = watched.standing.expires_at.filter(|end| *end <= now.wall) {
            return (Health::Expired, Some(format!("its registration ended at {end} and was not renewed")));
        }
        if self.offline_failed_in_a_row > 0 && watched.failed_in_a_row >= self.offline_failed_in_a_row {
            let reason = format!("the last {} calls were not answered", watched.failed_in_a_row);
            return (Health::Offline, Some(reason));
        }
        if self.silent_ms(watched).is_some_and(|end_ms| end_ms <= now.monotonic_ms) {
            return (Health::Offline, Some(format!("nothing was heard of it for {} ms", self.offline_silence_ms)));
        }
        match self.degraded(watched) {
            Some(reason) => (Health::Degraded, Some(reason)),
            None => (Health::Healthy, None),
        }
    }

    fn degraded(&self, watched: &Watched) -> Option<String> {
        let Performance { calls, error_rate, p99_ms, .. } = watched.standing.performance;
        if calls < self.calls_min.max(1) {
            return None;
        }
        // What makes it worse is apart from what makes it better again.
        let already = watched.standing.health == Health::Degraded;
        let rate_max = if already { self.recovered_error_rate } else { self.degraded_error_rate };
        if error_rate > rate_max {
            return Some(format!(
                "{:.1} % of its calls failed; {:.1} % are allowed",
                error_rate * 100.0,
                rate_max * 100.0
            ));
        }
        let (measured, promised) = (p99_ms?, watched.promised_p99_ms?);
        let factor = if already { 1.0 } else { self.degraded_p99_factor };
        (measured > promised * factor).then(|| format!("its p99 is {measured} ms; it promises {promised} ms"))
    }

    /// When silence makes a system offline, on the monotonic clock in milliseconds.
    fn silent_ms(&self, watched: &Watched) -> Option<u64> {
        let counts = watched.gives_signs && !watched.in_session && self.offline_silence_ms > 0;
        counts.then(|| watched.heard_ms.saturating_add(self.offline_silence_ms))
    }

    /// When the system has to be looked at, if nothing is heard of it until then.
    fn due_ms(&self, watched: &Watched, now: Now) -> Option<u64> {
        let later = |end_ms: &u64| *end_ms > now.monotonic_ms;
        let silent_ms = self.silent_ms(watched).filter(later);
        let ends = watched.standing.expires_at.filter(|end| *end > now.wall);
        let expires_ms =
            ends.map(|end| now.monotonic_ms.saturating_add(end.unix_ms().saturating_sub(now.wall.unix_ms())));
        [silent_ms, expires_ms].into_iter().flatten().min()
    }
}

/// Whether what is registered has the version that somebody expects.
///
/// # Errors
/// [`ProblemKind::VersionMismatch`] with the version that it has.
fn version_mismatch(version: u64, expected: Option<u64>) -> Result<(), Problem> {
    match expected.filter(|expected| *expected != version) {
        Some(expected) => {
            let detail = format!("what is registered has the version {version}, not {expected}");
            Err(Problem::new(ProblemKind::VersionMismatch, detail))
        }
        None => Ok(()),
    }
}

/// What the outside is told of a system that stands in another way than before.
fn signals(entity: EntityId, moved: &Moved, at: Timestamp) -> Vec<Signal> {
    let (system, standing) = (moved.system.clone(), Arc::clone(&moved.standing));
    let mut signals = vec![Signal::Standing { entity, system, standing, changed: moved.stood.is_some() }];
    if moved.stood.is_some() {
        let data = JsonDoc::from_value(&*moved.standing).unwrap_or_else(|_| JsonDoc::null());
        let event = Event::new("system.standing", moved.system.to_string(), None, at, data);
        signals.push(Signal::Event { entity, event: Arc::new(event) });
    }
    signals
}

#[cfg(test)]
mod tests;
