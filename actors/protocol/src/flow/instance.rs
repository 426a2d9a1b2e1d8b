//! Instances of a flow's chains: which steps of each have come. There is room for a limited number of them.

use super::{Flow, report::FindingKind};
use crate::EventId;

/// Which instance an event belongs to; zero means none.
pub(super) type InstanceId = u32;

/// One run through a chain of `<`, begun by a step that nothing must cause.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Instance {
    id: InstanceId,
    /// The instance that took this one up: two beginnings that led to one step.
    merged: InstanceId,
    pub(super) began: EventId,
    pub(super) place: u64,
    pub(super) seen: u64,
    /// What caused its steps: it is not missing, although another instance may have it.
    pub(super) behind: u64,
    hops: u128,
    /// The steps that it has by a refusal alone.
    refused: u64,
    /// The steps that were refused or rejected in it, and those that were done.
    ended: u64,
    done: u64,
    pub(super) chain: u8,
    /// It was ended early by a rejection, or something in it was refused: nothing more needs to come.
    pub(super) excused: bool,
}

impl Instance {
    /// Whether this hop was taken in it before; from now on it was.
    pub(super) fn take(&mut self, hop: u8) -> bool {
        let bit = 1_u128 << hop;
        let before = self.hops & bit != 0;
        self.hops |= bit;
        before
    }

    /// Whether it has these steps by refusals alone.
    pub(super) fn is_refused(&self, bits: u64) -> bool {
        self.refused & bits != 0
    }

    /// Notes a step that refuses or does not. Tells whether it shows that a refusal was of another instance: of what one
    /// turn refuses and grants to several, nobody tells which is whose, but each has only one answer.
    pub(super) fn note_answer(&mut self, bit: u64, refused: bool) -> bool {
        let (had_refusal, had_it) = (self.refused & bit != 0, self.seen & bit != 0);
        if refused && !had_it {
            self.refused |= bit;
        } else if !refused {
            self.refused &= !bit;
        }
        had_it && (refused || had_refusal)
    }

    /// Notes that a step was done, or that it was refused or rejected.
    pub(super) fn note_end(&mut self, bit: u64, is_done: bool) {
        let of = if is_done { &mut self.done } else { &mut self.ended };
        *of |= bit;
    }

    /// Whether all that it has of these steps was refused or rejected.
    pub(super) fn has_ended(&self, bits: u64) -> bool {
        let has = self.seen & bits;
        has != 0 && has & !(self.ended & !self.done) == 0
    }

    pub(super) fn took(&self, hop: u8) -> bool {
        self.hops & (1_u128 << hop) != 0
    }

    /// Whether this hop of a step can come next: what must cause the step has come, and the hop has not.
    pub(super) fn awaits(&self, rule: &super::Rule, hop: u8) -> bool {
        let comes_next = rule.needs.iter().any(|need| need.must_cause && need.mask & self.seen != 0);
        !self.excused && !self.took(hop) && (comes_next || rule.bit & self.seen != 0)
    }

    /// The steps that should have come and did not.
    fn due(&self, flow: &Flow, seen: u64) -> u64 {
        if self.excused || self.merged != 0 || self.id == 0 {
            return 0;
        }
        let mut due = 0;
        for (rule, step) in flow.rules.iter().zip(&flow.steps) {
            let chosen = (rule.bit | rule.others) & (seen | self.behind) != 0;
            if rule.chain == self.chain && !rule.optional && !step.is_outside() && !chosen {
                due |= rule.bit;
            }
        }
        due
    }

    /// Those of them that wait for no other. A step that came by itself, caused by nothing of its instance, is not
    /// missing somewhere: `strays` counts such steps, and each stands in for one. A refusal that was of another instance
    /// than it seemed ends one that lacks it: `refusals` counts these.
    fn missing(&self, flow: &Flow, strays: &mut [u64], refusals: &mut [u64]) -> u64 {
        let mut seen = self.seen;
        let due = self.due(flow, seen);
        for (rule, refusal) in flow.rules.iter().zip(refusals) {
            if due & rule.bit != 0 && *refusal > 0 {
                *refusal -= 1;
                return 0;
            }
        }
        for (rule, stray) in flow.rules.iter().zip(&mut *strays) {
            if due & rule.bit != 0 && rule.others & seen == 0 && *stray > 0 {
                *stray -= 1;
                seen |= rule.bit;
            }
        }
        let due = self.due(flow, seen);
        let passed_over = self.passed_over(flow, strays);
        let waits = |rule: &&super::Rule| {
            let behind = rule.needs.iter().any(|need| need.must_cause && need.mask & due != 0 && need.mask & seen == 0);
            due & rule.bit != 0 && !behind
        };
        flow.rules.iter().filter(waits).fold(passed_over, |mask, rule| mask | rule.bit)
    }

    /// The steps that it has in part: somebody was told and did not pass it on.
    fn passed_over(&self, flow: &Flow, strays: &mut [u64]) -> u64 {
        if self.excused || self.merged != 0 || self.id == 0 {
            return 0;
        }
        let mut over = 0;
        for (rule, stray) in flow.rules.iter().zip(strays).filter(|(rule, _)| rule.chain == self.chain) {
            if rule.passed_on.iter().all(|(hop, next)| self.hops & hop == 0 || self.hops & next != 0) {
                continue;
            }
            match stray.checked_sub(1) {
                Some(left) => *stray = left,
                None => over |= rule.bit,
            }
        }
        over
    }
}

/// The instances that are known, the newest ones.
#[derive(Debug)]
pub(super) struct Instances {
    ring: Vec<Instance>,
    max: usize,
    next: InstanceId,
}

impl Instances {
    pub(super) fn new(max: usize) -> Self {
        Self { ring: Vec::new(), max: max.max(1), next: 1 }
    }

    /// Forgets all instances, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.ring.clear();
        self.next = 1;
    }

    fn slot(&self, id: InstanceId) -> usize {
        id as usize % self.max
    }

    /// Begins an instance. Tells whether another had to go for it that was not complete.
    pub(super) fn begin(&mut self, flow: &Flow, chain: u8, began: EventId, place: u64) -> (InstanceId, bool) {
        let id = self.next;
        self.next = self.next.checked_add(1).unwrap_or(1);
        let instance = Instance { id, began, place, chain, ..Instance::default() };
        let slot = self.slot(id);
        while self.ring.len() <= slot {
            self.ring.push(Instance::default());
        }
        let Some(old) = self.ring.get_mut(slot) else { return (0, false) };
        let incomplete = old.due(flow, old.seen) != 0;
        *old = instance;
        (id, incomplete)
    }

    /// The id of the instance that `id` stands for now; zero if it is gone.
    pub(super) fn known(&mut self, id: InstanceId) -> InstanceId {
        let mut root = id;
        // Each merge leads to an older instance, so this ends.
        while root != 0 {
            match self.ring.get(self.slot(root)) {
                Some(instance) if instance.id == root && instance.merged == 0 => break,
                Some(instance) if instance.id == root => root = instance.merged,
                _ => root = 0,
            }
        }
        // The way is made short, so that a long row of merges is walked once.
        if root != id
            && let Some(instance) = self.get(id)
        {
            instance.merged = root;
            // What it stood for is gone, and so is it.
            if root == 0 {
                instance.id = 0;
            }
        }
        root
    }

    pub(super) fn get(&mut self, id: InstanceId) -> Option<&mut Instance> {
        let slot = self.slot(id);
        self.ring.get_mut(slot).filter(|instance| id != 0 && instance.id == id)
    }

    pub(super) fn chain(&self, id: InstanceId) -> Option<u8> {
        self.ring.get(self.slot(id)).filter(|instance| id != 0 && instance.id == id).map(|instance| instance.chain)
    }

    /// Makes one instance of two known ones, and gives its id.
    pub(super) fn merge(&mut self, one: InstanceId, other: InstanceId) -> InstanceId {
        let (kept, gone) = (one.min(other), one.max(other));
        let Some(instance) = self.get(gone) else { return kept };
        instance.merged = kept;
        let (seen, behind, hops, excused) = (instance.seen, instance.behind, instance.hops, instance.excused);
        let (refused, ended, done) = (instance.refused, instance.ended, instance.done);
        if let Some(instance) = self.get(kept) {
            // What one of the two has without a refusal, both have.
            let granted = (instance.seen & !instance.refused) | (seen & !refused);
            instance.refused = (instance.refused | refused) & !granted;
            instance.seen |= seen;
            instance.behind |= behind;
            instance.hops |= hops;
            instance.ended |= ended;
            instance.done |= done;
            instance.excused |= excused;
        }
        kept
    }

    /// Tells of every instance which steps it still lacks, the oldest instance first.
    pub(super) fn missing(
        &self,
        flow: &Flow,
        strays: &mut [u64],
        refusals: &mut [u64],
        mut tell: impl FnMut(FindingKind, EventId, u64),
    ) {
        let mut all: Vec<&Instance> = self.ring.iter().filter(|instance| instance.id != 0).collect();
        all.sort_by_key(|instance| instance.id);
        for instance in all {
            let missing = instance.missing(flow, strays, refusals);
            for (step, rule) in flow.rules.iter().enumerate() {
                if missing & rule.bit != 0 {
                    tell(FindingKind::Missing(step), instance.began, instance.place);
                }
            }
        }
    }
}
