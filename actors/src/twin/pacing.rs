//! How often a twin is synchronized with its object (FGMV-28 REQ-DT-07): as its own characteristics say, and as each
//! metaverse system that selected it says for itself. Its twin system is asked when the first of them is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use twinway_protocol::{Out, PendingKey, SystemId, TwinId, message::PropertyValues};

use super::{Twin, Watcher};

/// How often, and when next.
#[derive(Debug)]
struct Pace {
    period_ms: u32,
    /// On the monotonic clock, in milliseconds.
    due_ms: u64,
}

/// For whom a twin is synchronized periodically.
#[derive(Debug, Default)]
pub(super) struct Paces {
    /// By metaverse system; none: as the twin's characteristics say, for whoever has selected it.
    of: BTreeMap<Option<SystemId>, Pace>,
    /// The timer that counts, and when it runs out.
    timer: Option<(PendingKey, u64)>,
    /// Whose turn it is while the twin system is asked.
    asking: Option<BTreeSet<Option<SystemId>>>,
}

impl Paces {
    /// True: it is not what it was.
    fn set(&mut self, who: Option<SystemId>, period_ms: Option<u32>, now_ms: u64) -> bool {
        if self.of.get(&who).map(|pace| pace.period_ms) == period_ms {
            return false;
        }
        match period_ms {
            Some(period_ms) => {
                let due_ms = now_ms.saturating_add(u64::from(period_ms));
                self.of.insert(who, Pace { period_ms, due_ms });
            }
            None => drop(self.of.remove(&who)),
        }
        true
    }

    /// Whether a reading that was due for some is not told to this system, which says for itself how often it wants one.
    pub(super) fn spares(&self, metaverse: &SystemId) -> bool {
        let (who, asking) = (Some(metaverse.clone()), self.asking.as_ref());
        self.of.contains_key(&who) && asking.is_some_and(|asking| !asking.contains(&who))
    }

    pub(super) fn is_timer(&self, key: PendingKey) -> bool {
        self.timer.is_some_and(|(timer, _)| timer == key)
    }
}

impl Twin {
    /// DTAC says how often the twin is to be synchronized.
    pub(super) fn synchronize_every(&mut self, period_ms: Option<u32>, out: &mut Out<'_, Self>) {
        self.pace(None, period_ms, out);
    }

    /// Who selected the twin says how often, or no more.
    pub(super) fn pace(&mut self, who: Option<SystemId>, period_ms: Option<u32>, out: &mut Out<'_, Self>) {
        // Most twins have none, and keep nothing of it.
        if period_ms.is_none() && self.wants.is_none() {
            return;
        }
        let now_ms = out.now().monotonic_ms;
        if self.wants(out).paces.set(who, period_ms, now_ms) {
            self.arm_period(out);
        }
    }

    /// Only while somebody has selected the twin there is a next time.
    pub(super) fn arm_period(&mut self, out: &mut Out<'_, Self>) {
        let Some(paces) = self.wants.as_mut().map(|wants| &mut wants.paces) else { return };
        let next = paces.of.values().map(|pace| pace.due_ms).min();
        let Some(next_ms) = next.filter(|_| !self.watchers.is_empty() && paces.asking.is_none()) else { return };
        // A timer that was set for later finds that it does not count.
        if paces.timer.is_none_or(|(_, at_ms)| next_ms < at_ms) {
            let key = PendingKey::from_bits(out.chance());
            paces.timer = Some((key, next_ms));
            out.timer(next_ms.saturating_sub(out.now().monotonic_ms), key);
        }
    }

    /// It is time for some: the twin system is asked once for all of them.
    pub(super) fn period_over(&mut self, out: &mut Out<'_, Self>) {
        let now_ms = out.now().monotonic_ms;
        let Some(paces) = self.wants.as_mut().map(|wants| &mut wants.paces) else { return };
        paces.timer = None;
        let due = paces.of.iter().filter(|(_, pace)| pace.due_ms <= now_ms);
        let due: BTreeSet<_> = due.map(|(who, _)| who.clone()).collect();
        if due.is_empty() || self.watchers.is_empty() {
            return self.arm_period(out);
        }
        paces.asking = Some(due);
        if !self.refresh(None, out) {
            self.period_answered(out);
        }
    }

    /// The twin system has answered, or cannot: the next time is a period from now, so that a slow one is never asked
    /// twice at once.
    pub(super) fn period_answered(&mut self, out: &mut Out<'_, Self>) {
        let now_ms = out.now().monotonic_ms;
        let Some(paces) = self.wants.as_mut().map(|wants| &mut wants.paces) else { return };
        for who in paces.asking.take().unwrap_or_default() {
            if let Some(pace) = paces.of.get_mut(&who) {
                pace.due_ms = now_ms.saturating_add(u64::from(pace.period_ms));
            }
        }
        self.arm_period(out);
    }

    /// FGMV-28 REQ-DT-07: what was read. If it was time for some to hear it, those who say themselves how often they
    /// want to hear it do so at their own time.
    pub(super) fn reflect_read(
        &self,
        twin: &TwinId,
        values: Arc<PropertyValues>,
        was_due: bool,
        out: &mut Out<'_, Self>,
    ) {
        let paces = self.wants.as_ref().map(|wants| &wants.paces).filter(|_| was_due);
        let told = |watcher: &&Watcher| !paces.is_some_and(|paces| paces.spares(&watcher.metaverse));
        self.reflect_to(self.watchers.iter().filter(told), twin, values, out.now().wall, out);
    }
}
