//! The journal of a world, and the lives that end and begin with it: commits, snapshots, crashes, panics.

use twinway_protocol::{
    EntityId, Recovery,
    lease::{Input, Table, Token, rules::Event},
};

use crate::world::{Happening, World, limits};

impl Happening {
    /// Whether it is lost when the daemon dies: all but what is on its way between devices and users.
    pub(crate) fn is_in_process(&self) -> bool {
        !matches!(
            self,
            Self::ToDevice(..) | Self::FromDevice(..) | Self::ToUser(..) | Self::Command(..) | Self::FromSession(_)
        )
    }
}

impl World {
    /// What was written down so far is durable.
    pub(crate) fn commit(&mut self) {
        if self.durable == self.log.len() {
            return;
        }
        let now = self.now();
        self.observer.see(Event::Durable(self.log.len() - self.durable), now);
        self.durable = self.log.len();
        self.commits.push(self.durable);
        if self.chance(4) == 0 {
            self.check_replay();
        }
        self.release();
    }

    pub(crate) fn check_replay(&mut self) {
        let (replayed, now) = (self.replay(), self.now());
        self.observer.see(Event::Replayed { live: &self.table, replayed: &replayed }, now);
    }

    pub(crate) fn is_all_durable(&self) -> bool {
        self.durable == self.log.len()
    }

    fn replay(&self) -> Table {
        let mut table = Table::new(limits());
        for at in 0..=self.log.len() {
            for (object, (taken_at, changes)) in &self.snapshots {
                if *taken_at == at {
                    changes.iter().for_each(|change| table.replay(Some(*object), change));
                }
            }
            if let Some((object, change)) = self.log.get(at) {
                let in_snapshot = object.and_then(|object| self.snapshots.get(&object));
                if in_snapshot.is_none_or(|(taken_at, _)| *taken_at <= at) {
                    table.replay(*object, change);
                }
            }
        }
        table
    }

    /// An operator has seen to the device: nothing is on its way to it any more.
    pub(crate) fn replace_device(&mut self, object: EntityId, token: Token) {
        self.purge(object);
        self.gates.get_mut(&object).expect("it has a gate").forget();
        self.devices.get_mut(&object).expect("it has a device").replaced(token);
    }

    pub(crate) fn purge(&mut self, object: EntityId) {
        self.happenings.retain(|_, happening| !matches!(happening, Happening::ToDevice(to, _) if *to == object));
    }

    /// The gate's actor panics, and begins a new life.
    pub(crate) fn restart_gate(&mut self, object: EntityId) {
        let gate = self.gates.get_mut(&object).expect("it has a gate");
        gate.restart();
        let incarnation = gate.incarnation;
        self.in_order((1, object), 10, Happening::ToTable(Input::GateStarted { object, incarnation }));
    }

    /// The daemon dies, and starts again: what was not durable and what was on its way inside it is lost.
    pub(crate) fn die(&mut self, backup: Option<usize>) {
        if let Some(kept) = backup {
            self.log.truncate(kept);
            self.snapshots.retain(|_, (taken_at, _)| *taken_at <= kept);
            self.commits.retain(|commit| *commit <= kept);
        } else {
            self.log.truncate(self.durable);
        }
        self.durable = self.log.len();
        self.happenings.retain(|_, happening| !happening.is_in_process());
        self.order.clear();
        self.due_ms = u64::MAX;
        self.paused_until_ms = 0;
        let now = self.now();
        let records = backup.map(|_| &self.log[..]);
        self.observer.see(Event::Died(records), now);
        self.begin_life(Recovery::Start);
        for object in self.gates.keys().copied().collect::<Vec<_>>() {
            self.restart_gate(object);
        }
    }

    /// The supervisor alone panics: its records become durable, and it replays them.
    pub(crate) fn panic(&mut self) {
        self.commit();
        let now = self.now();
        self.observer.see(Event::Died(None), now);
        self.begin_life(Recovery::Failure);
    }

    fn begin_life(&mut self, why: Recovery) {
        self.outbox.clear();
        self.replies.clear();
        self.table = self.replay();
        self.step(Input::Recover(why));
    }
}
