//! Deliveries of subscriptions: when twins are read again, and what of it is told (FGMV-29 9.1 steps 16 to 19).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway_protocol::{
    Out, PendingKey, Problem, ProblemKind, TwinId,
    message::{
        AcquisitionResponse, DeliverTwinInformation, DeliveryReason, ForwardAcquisition, TSI, TwinAccessChanged,
        TwinRefusal,
    },
    twin::TwinView,
};

use super::{Dtda, DtdaRecord, Waiting, register::Running};
use crate::settings::pending_full;

/// After a restart twins are read again after this many milliseconds: the others have to recover too.
const RESUME_MS: u64 = 1_000;
/// A twin that cannot be read is tried again after this many milliseconds, then after twice as many, and so on.
const RETRY_MS: u64 = 1_000;
/// The longest pause between two tries, in milliseconds.
const RETRY_MS_MAX: u64 = 60_000;
/// How often in a row a twin cannot be read before the system is told: an entity that recovers knows no twin for a moment.
const TRIES_UNTOLD: u32 = 3;

/// The timer of a subscription's next reading.
fn due_key(number: u64) -> PendingKey {
    PendingKey::from_bits(number.wrapping_mul(2))
}

/// The timer of its end.
pub(super) fn expiry_key(number: u64) -> PendingKey {
    PendingKey::from_bits(number.wrapping_mul(2).wrapping_add(1))
}

impl Running {
    fn is_periodic(&self) -> bool {
        self.made.subscription.period_ms.is_some()
    }

    fn has(&self, twin: &TwinId) -> bool {
        self.made.subscription.twins.contains(twin)
    }

    fn all(&self) -> BTreeSet<TwinId> {
        self.made.subscription.twins.clone()
    }

    /// The twins are to be read this early, but not sooner after the last time than was asked for.
    fn wish(&mut self, at_ms: u64) {
        let at = at_ms.max(self.read_ms.saturating_add(self.made.subscription.min_interval_ms));
        self.next_ms = Some(self.next_ms.map_or(at, |next| next.min(at)));
    }

    /// Takes note of what is told; true: it was not told yet.
    fn is_news(&mut self, view: &TwinView) -> bool {
        let version = match &self.made.subscription.properties {
            None => view.version,
            Some(_) => view.properties.values().map(|property| property.version).max().unwrap_or(0),
        };
        self.seen.insert(view.id.clone(), version) != Some(version)
    }

    /// A twin could not be read; true: the system is to be told.
    fn fails(&mut self, twin: &TwinId) -> bool {
        let times = self.failing.entry(twin.clone()).or_default();
        *times = times.saturating_add(1);
        *times == TRIES_UNTOLD
    }

    fn retry_ms(&self) -> u64 {
        let times = self.failing.values().copied().min().unwrap_or(1).saturating_sub(1);
        RETRY_MS.saturating_mul(1 << times.min(16)).min(RETRY_MS_MAX)
    }

    /// When the twins are read again, as far as this is known now.
    fn plan(&mut self, now_ms: u64) {
        if self.is_periodic() {
            // The interval of a subscription by period is the period.
            return self.wish(now_ms);
        }
        if !self.due.is_empty() {
            self.wish(now_ms);
        }
        if !self.failing.is_empty() {
            self.due.extend(self.failing.keys().cloned());
            self.wish(now_ms.saturating_add(self.retry_ms()));
        }
    }

    /// What of a reading is told, and what could not be read: for good, and for now.
    fn sift(&mut self, response: AcquisitionResponse, reason: DeliveryReason) -> Sifted {
        let mut sifted = Sifted::default();
        for view in response.twins {
            if self.has(&view.id) {
                self.failing.remove(&view.id);
                if self.is_news(&view) || reason != DeliveryReason::Changed {
                    sifted.told.push(view);
                }
            }
        }
        for refusal in response.refused {
            if !self.has(&refusal.twin) {
                continue;
            }
            if refusal.problem.kind == ProblemKind::PermissionMissing {
                sifted.lost.push(refusal);
            } else if self.fails(&refusal.twin) {
                sifted.failed.push(refusal);
            }
        }
        sifted
    }
}

/// What comes of a reading.
#[derive(Default)]
struct Sifted {
    told: Vec<Arc<TwinView>>,
    lost: Vec<TwinRefusal>,
    failed: Vec<TwinRefusal>,
}

impl Dtda {
    /// The subscription is made, and these are what its twins are.
    pub(super) fn begin(&mut self, number: u64, twins: &[Arc<TwinView>], out: &mut Out<'_, Self>) {
        let now_ms = out.now().monotonic_ms;
        let Some(running) = self.register.all.get_mut(number) else { return };
        running.read_ms = now_ms;
        for view in twins {
            running.is_news(view);
        }
        // What changed between the reading and this turn was told when there was no subscription yet.
        running.due = running.all();
        running.plan(now_ms);
        self.go_on(number, out);
    }

    /// After a restart: what was told is not known any more, so everything is told again.
    pub(super) fn resume(&mut self, out: &mut Out<'_, Self>) {
        let now = out.now();
        for number in self.register.all.numbers() {
            let Some(running) = self.register.all.get_mut(number) else { continue };
            let left_ms = running.made.subscription.expires_at.unix_ms().saturating_sub(now.wall.unix_ms());
            out.timer(left_ms, expiry_key(number));
            running.due = running.all();
            running.reason = Some(DeliveryReason::Resumed);
            running.next_ms = Some(now.monotonic_ms.saturating_add(RESUME_MS));
            self.go_on(number, out);
        }
    }

    /// A twin has changed: it is read when the interval is over.
    pub(super) fn changed(&mut self, twin: &TwinId, out: &mut Out<'_, Self>) {
        let now_ms = out.now().monotonic_ms;
        for number in self.register.of_twin(twin) {
            let Some(running) = self.register.all.get_mut(number).filter(|running| !running.is_periodic()) else {
                continue;
            };
            running.due.insert(twin.clone());
            running.wish(now_ms);
            self.go_on(number, out);
        }
    }

    /// FGMV-29 8.3.5: what may be read is verified again, without waiting for an interval; what is no more is lost.
    pub(super) fn access_changed(&mut self, access: &TwinAccessChanged, out: &mut Out<'_, Self>) {
        let now_ms = out.now().monotonic_ms;
        for twin in &access.changed {
            for number in self.register.of_twin(twin) {
                let Some(running) = self.register.all.get_mut(number) else { continue };
                running.due.insert(twin.clone());
                running.reason.get_or_insert(DeliveryReason::Changed);
                running.next_ms = Some(now_ms);
                self.go_on(number, out);
            }
        }
        let mut lost: BTreeMap<u64, Vec<TwinRefusal>> = BTreeMap::new();
        for twin in &access.gone {
            for number in self.register.of_twin(twin) {
                let problem = Problem::new(ProblemKind::TwinUnknown, format!("no system lists `{twin}` any more"));
                lost.entry(number).or_default().push(TwinRefusal { twin: twin.clone(), problem });
            }
        }
        for (number, refused) in lost {
            let twins = refused.iter().map(|refusal| refusal.twin.clone()).collect();
            self.write(number, DtdaRecord::Lost { number, twins }, out);
            self.tell(number, DeliveryReason::Changed, Vec::new(), refused, out);
        }
    }

    /// Reads the twins of a subscription if it is time, or has itself woken when it is.
    fn go_on(&mut self, number: u64, out: &mut Out<'_, Self>) {
        let now_ms = out.now().monotonic_ms;
        let Some(running) = self.register.all.get_mut(number) else { return };
        let Some(next_ms) = running.next_ms.filter(|_| running.asked.is_none()) else { return };
        if next_ms <= now_ms {
            return self.read_twins(number, out);
        }
        if running.armed_ms.is_none_or(|armed_ms| next_ms < armed_ms) {
            running.armed_ms = Some(next_ms);
            out.timer(next_ms.saturating_sub(now_ms), due_key(number));
        }
    }

    /// FGMV-29 9.1 step 16, for a subscription.
    fn read_twins(&mut self, number: u64, out: &mut Out<'_, Self>) {
        let Some(running) = self.register.all.get_mut(number) else { return };
        running.next_ms = None;
        let due = std::mem::take(&mut running.due);
        let twins = if running.is_periodic() { running.all() } else { due };
        let twins: Arc<[TwinId]> = twins.into_iter().collect();
        let subscription = &running.made.subscription;
        let forward = ForwardAcquisition {
            system: subscription.system.clone(),
            twins: Arc::clone(&twins),
            properties: subscription.properties.clone().map(Arc::new),
            observe: !running.is_periodic(),
        };
        running.read_ms = out.now().monotonic_ms;
        running.asked = Some(twins);
        match self.waiting.insert(Waiting::Delivering(number)) {
            Ok(key) => out.ask_beside(TSI, forward, key),
            Err(_) => self.delivered(number, Err(pending_full()), out),
        }
    }

    /// FGMV-29 9.1 step 19, for a subscription.
    pub(super) fn delivered(
        &mut self,
        number: u64,
        answer: Result<AcquisitionResponse, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        // It may have ended meanwhile.
        let Some(running) = self.register.all.get_mut(number) else { return };
        let Some(asked) = running.asked.take() else { return };
        let response = answer.unwrap_or_else(|problem| {
            let refused = asked.iter().map(|twin| TwinRefusal { twin: twin.clone(), problem: problem.clone() });
            AcquisitionResponse { twins: Vec::new(), refused: refused.collect() }
        });
        let usual = if running.is_periodic() { DeliveryReason::Period } else { DeliveryReason::Changed };
        // Who is to be told everything again is told so when something can be read.
        let reason = if response.twins.is_empty() { running.reason } else { running.reason.take() };
        let reason = reason.unwrap_or(usual);
        let Sifted { told, mut lost, mut failed } = running.sift(response, reason);
        if !lost.is_empty() {
            let twins = lost.iter().map(|refusal| refusal.twin.clone()).collect();
            self.write(number, DtdaRecord::Lost { number, twins }, out);
        }
        lost.append(&mut failed);
        if !told.is_empty() || !lost.is_empty() {
            self.tell(number, reason, told, lost, out);
        }
        if let Some(running) = self.register.all.get_mut(number) {
            running.plan(out.now().monotonic_ms);
            self.go_on(number, out);
        }
    }

    /// Tells the third-party system. With its last twin the subscription ends.
    fn tell(
        &mut self,
        number: u64,
        reason: DeliveryReason,
        twins: Vec<Arc<TwinView>>,
        refused: Vec<TwinRefusal>,
        out: &mut Out<'_, Self>,
    ) {
        let Some(running) = self.register.all.get(number) else { return };
        let (entity, subscription) = (running.made.entity, running.made.subscription.id.clone());
        let is_over = running.made.subscription.twins.is_empty();
        let reason = if is_over { DeliveryReason::NoTwins } else { reason };
        if is_over {
            self.write(number, DtdaRecord::Ended(number), out);
        }
        out.send(entity, DeliverTwinInformation { subscription, reason, twins, refused });
    }

    pub(super) fn time_over(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let (number, now) = (key.to_bits() / 2, out.now());
        let Some(running) = self.register.all.get_mut(number) else { return };
        if key == due_key(number) {
            // A timer that was overtaken by an earlier one finds nothing to do.
            running.armed_ms.take_if(|armed_ms| *armed_ms <= now.monotonic_ms);
            return self.go_on(number, out);
        }
        let left_ms = running.made.subscription.expires_at.unix_ms().saturating_sub(now.wall.unix_ms());
        if left_ms > 0 {
            return out.timer(left_ms, key);
        }
        let (entity, subscription) = (running.made.entity, running.made.subscription.id.clone());
        self.write(number, DtdaRecord::Ended(number), out);
        let (twins, refused) = (Vec::new(), Vec::new());
        out.send(entity, DeliverTwinInformation { subscription, reason: DeliveryReason::Expired, twins, refused });
    }
}
