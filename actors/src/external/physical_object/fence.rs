//! Fences: what the gate does until nothing that was sent under a lower token can act any more (FGMV-28 7.1.3 steps 8
//! and 9).

use std::{collections::BTreeMap, sync::Arc};

use twinway_protocol::{
    Behaviour, Mailbox, Meta, Out, PendingKey, Problem, Ref, SystemId, UserId,
    lease::{
        Fencing, Token,
        mutation::{Mutation, broken},
        watch::GateDid,
    },
    message::{ApplyChange, ChangeApplied, ChangeDropped, DeviceFenced, FenceDevice, FenceGate, TwinMsg},
};

use super::{Asked, PART, PhysicalObject, PhysicalObjectRecord, gate::Holder};

/// In whose name a gate has a device stopped.
const GATE: &str = "twinway";

/// The fence that is worked on.
#[derive(Debug)]
pub(super) struct Work {
    token: Token,
    ttl_ms: u64,
    /// A safe stop is owed.
    stop: bool,
    /// The device was seen to be at rest.
    replaced: bool,
    device: Device,
    /// How often a twin system was asked to fence: only the first answer of an only one says what was there before.
    device_asked: usize,
    /// The safe stop failed. It is tried again after a while, and when the supervisor repeats the fence.
    stop_failed: bool,
}

/// How far the twin systems have come that were asked to fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Unasked,
    /// So many have not answered, and whether all that did have fenced.
    Asked(usize, bool),
    /// One of them did not. They are asked again after a while, and when the supervisor repeats the fence.
    Failed,
    Fenced,
}

impl Work {
    /// What failed is to be asked again.
    pub(super) fn try_again(&mut self) {
        self.stop_failed = false;
        if self.device == Device::Failed {
            self.device = Device::Unasked;
        }
    }

    fn has_failed(&self) -> bool {
        self.stop_failed || self.device == Device::Failed
    }
}

impl PhysicalObject {
    /// FGMV-28 7.1.3 step 8: from now on nothing of a lower token passes, and this one only when the fence is done.
    pub(super) fn fence(&mut self, fence: FenceGate, out: &mut Out<'_, Self>) {
        let FenceGate { token, to, priority, ttl_ms, stop, replaced, restricted } = fence;
        let newest = self.gate.newest();
        if token < newest && !broken(Mutation::GateTakesOlderFence) {
            return;
        }
        match &mut self.work {
            // Again: what failed is tried again, and an operator may have seen to the device meanwhile.
            Some(work) if work.token == token => {
                work.stop = work.stop && stop;
                work.replaced |= replaced;
                work.try_again();
            }
            None if token == newest && token != Token::NONE => return self.say_fenced(token, out),
            _ => {
                self.gate.shut(Holder { token, to, priority, restricted });
                self.fenced_in = out.event();
                self.drop_commands(token, out);
                let device = Device::Unasked;
                self.work = Some(Work { token, ttl_ms, stop, replaced, device, device_asked: 0, stop_failed: false });
            }
        }
        self.advance(out);
    }

    /// What is wanted dies with its lease: twins show it no more, though the fence waits for the device's answers.
    fn drop_commands(&self, below: Token, out: &mut Out<'_, Self>) {
        for asked in self.asked.iter() {
            if let Asked::Command { asker, token, change } = asked
                && *token < below
                && asker.id().kind() == TwinMsg::KIND
            {
                out.send(Ref::<TwinMsg>::new(asker.id()), ChangeDropped { change: *change });
            }
        }
    }

    /// Goes on with the fence, as far as it can be gone on with.
    pub(super) fn advance(&mut self, out: &mut Out<'_, Self>) {
        let Some(work) = &self.work else { return };
        // How the object is fenced is known when DTSR has told it.
        if self.object.is_none() {
            return;
        }
        if work.replaced {
            return self.fenced(out);
        }
        if work.stop && self.synchronization.safe_stop.is_some() {
            return self.safe_stop(out);
        }
        if broken(Mutation::FencedWhileUnderWay) || self.nothing_can_act(out) {
            self.fenced(out);
        }
    }

    /// A twin system that cannot be reached now may be soon: after a restart the daemon is there first.
    pub(super) fn try_again_later(&self, out: &mut Out<'_, Self>) {
        if let Some(work) = self.work.as_ref().filter(|work| work.has_failed()) {
            out.timer(self.retry_ms, PendingKey::from_bits(work.token.n));
        }
    }

    /// The holder did not let go by itself: nobody else has the device before it stands still.
    fn safe_stop(&mut self, out: &mut Out<'_, Self>) {
        let (Some(work), Some(first)) = (&mut self.work, self.twins.first()) else { return };
        let Some(values) = self.synchronization.safe_stop.clone() else { return };
        let (Ok(metaverse), Ok(user)) = (SystemId::new(GATE), UserId::new(GATE)) else { return };
        if self.stopping || work.stop_failed {
            return;
        }
        let stop = ApplyChange {
            twin: first.twin.clone(),
            metaverse,
            user,
            values: Arc::new(values),
            token: None,
            not_after: None,
            stop: true,
            errand: None,
            system_entity: first.system,
        };
        match self.asked.insert(Asked::SafeStop) {
            Ok(key) => {
                self.stopping = true;
                // Nobody in a virtual world asked for it: it is no change of FGMV-29 9.2 steps 15 to 18.
                out.ask_beside(first.system, stop, key);
            }
            Err(_) => work.stop_failed = true,
        }
    }

    /// Only that it has stopped counts. Otherwise the fence is not answered, until it is tried again.
    pub(super) fn stopped(&mut self, answer: Result<ChangeApplied, Problem>, out: &mut Out<'_, Self>) {
        self.stopping = false;
        if let Some(work) = &mut self.work {
            match &answer {
                Ok(_) => work.stop = false,
                Err(_) => work.stop_failed = true,
            }
        }
        self.try_again_later(out);
        if let Ok(applied) = answer {
            self.show(&applied.values, out);
        }
    }

    /// Whether nothing that was sent under a lower token can act any more. If not, what it takes to know is asked.
    fn nothing_can_act(&mut self, out: &mut Out<'_, Self>) -> bool {
        let Some(work) = &self.work else { return false };
        if work.device == Device::Fenced || self.under_way.is_untouched() {
            return true;
        }
        match self.synchronization.fencing {
            Fencing::Device => {
                self.fence_device(out);
                false
            }
            Fencing::Deadline => {
                let over_in_ms = self.under_way.over_in_ms(out.now());
                let over = over_in_ms == 0 || self.under_way.is_drained();
                if !over {
                    out.timer(over_in_ms, PendingKey::from_bits(work.token.n));
                }
                over
            }
            Fencing::Drained => {
                // What will not be answered any more: a twin system that answers a fence has dealt with it.
                if self.under_way.is_unclear() {
                    self.fence_device(out);
                }
                self.under_way.is_drained()
            }
        }
    }

    /// Every twin system that stands for the object is asked, once: each may have been sent something.
    fn fence_device(&mut self, out: &mut Out<'_, Self>) {
        let (Some(work), Some(object)) = (&mut self.work, &self.object) else { return };
        if work.device != Device::Unasked {
            return;
        }
        let systems: BTreeMap<_, _> = self.twins.iter().rev().map(|twin| (twin.system.id(), twin)).collect();
        let (mut asked, mut all) = (0, true);
        for twin in systems.into_values() {
            let Ok(key) = self.asked.insert(Asked::Fence(work.token)) else {
                all = false;
                break;
            };
            let question = FenceDevice { object: object.clone(), twin: twin.twin.clone(), token: work.token };
            out.ask(twin.system, question, key);
            asked += 1;
        }
        work.device_asked += asked;
        work.device = if asked == 0 { Device::Failed } else { Device::Asked(asked, all) };
    }

    /// FGMV-28 7.1.3 step 9, of the device itself.
    pub(super) fn device_fenced(
        &mut self,
        meta: &Meta,
        answer: Result<DeviceFenced, Problem>,
        out: &mut Out<'_, Self>,
    ) {
        let Some(Asked::Fence(token)) = self.asked.take(meta.pending) else { return };
        if let Ok(DeviceFenced { seen: Some(seen) }) = &answer {
            let first = self.work.as_ref().is_some_and(|work| work.token == token && work.device_asked == 1);
            self.saw(*seen, first, out);
        }
        // An answer to the fence before this one, or to a question that was asked again, says nothing.
        let Some(work) = self.work.as_mut().filter(|work| work.token == token) else { return };
        let Device::Asked(waiting, all) = work.device else { return };
        work.device = match (waiting.saturating_sub(1), all && answer.is_ok()) {
            (0, true) => Device::Fenced,
            (0, false) => Device::Failed,
            (waiting, all) => Device::Asked(waiting, all),
        };
        self.try_again_later(out);
        self.advance(out);
    }

    /// FGMV-28 7.1.3 step 9: nothing sent under a lower token can act any more, and the gate opens for its holder.
    fn fenced(&mut self, out: &mut Out<'_, Self>) {
        let Some(Work { token, ttl_ms, .. }) = self.work.take() else { return };
        self.under_way.safe_below(token);
        if self.commanding.is_some() {
            let record = PhysicalObjectRecord::Drained { token };
            out.record_batched(PART, record.clone());
            self.replay(record);
        }
        self.gate.open(out.now().monotonic_ms.saturating_add(ttl_ms));
        if self.watched {
            let to = self.gate.fenced.as_ref().and_then(|fenced| fenced.to.clone());
            self.show_gate(GateDid::Fenced(token, to), out);
        }
        self.say_fenced(token, out);
    }
}
