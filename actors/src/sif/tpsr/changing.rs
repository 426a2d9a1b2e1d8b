//! What becomes of registrations (FGMV-29 8.2.1): changed, ended, called in another way. What is alike for twin systems is in
//! [`Registrar`].

use std::sync::Arc;

use twinway_protocol::{
    Mailbox, Meta, Out, SystemId,
    message::{Deregister, SdcMsg, ThirdPartySystemRegistered, UpdateThirdPartySystem},
    registry::{Breaker, BreakerState, ThirdPartySystem},
    signal::Signal,
};

use super::{Record, Tpsr, checks, spreading::Waiting};
use crate::standing::{Registered, Registrar};

impl Tpsr {
    /// FGMV-29 8.2.1: a system describes itself anew. To repeat it changes nothing, but mends what an earlier attempt left
    /// undone.
    pub(super) fn update(&mut self, meta: Meta, message: UpdateThirdPartySystem, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<UpdateThirdPartySystem>(out.event());
        let UpdateThirdPartySystem { description, if_version } = message;
        let admitted = self.own(&meta, &description.id, if_version).and_then(|system| {
            checks::check(&description)?;
            self.standings.check_lifetime(description.lifetime_ms)?;
            Ok(system)
        });
        let before = match admitted {
            Ok(before) => before,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let is_same = before.description == *description;
        if is_same && !self.unspread.contains(&description.id) {
            self.begin_lifetime(&before, out);
            return out.reply(asker, Ok(ThirdPartySystemRegistered { system: before, is_new: false }));
        }
        let version = if is_same { before.version } else { before.version.saturating_add(1) };
        let (registered_at, entity) = (before.registered_at, before.entity);
        let system = Arc::new(ThirdPartySystem { description: *description, registered_at, version, entity });
        let Some(key) = self.spread(&system, Waiting::Updating(asker), out) else { return };
        if !is_same {
            self.describe(&system, out);
        }
        self.tell_deriving(&system, key, out);
        self.begin_lifetime(&system, out);
    }

    /// FGMV-29 8.2.1: a system is registered no more. What it was being asked is refused, and its users' authorizations
    /// end, before it hears so.
    pub(super) fn deregister(&mut self, meta: Meta, message: &Deregister, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<Deregister>(out.event());
        let system = match self.own(&meta, &message.system, message.if_version) {
            Ok(system) => system,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let Some(key) = self.spread_gone(&system, Waiting::Deregistering(asker), out) else { return };
        out.record(system.part(), Record::Deregistered(message.system.clone()));
        self.drop_system(&message.system);
        out.signal(Signal::ThirdPartySystemGone(message.system.clone()));
        self.tell_gone(key, out);
    }

    pub(super) fn drop_system(&mut self, id: &SystemId) {
        if let Some(system) = self.systems.remove(id) {
            self.parts.remove(&system.part());
        }
        self.unspread.remove(id);
        self.spreading.remove(id);
        self.standings.forget(id);
    }

    /// FGMV-29 8.2.4: SDC calls a system in another way than before.
    pub(super) fn breaker(&mut self, system: &SystemId, breaker: Breaker, out: &mut Out<'_, Self>) {
        let moved = self.standings.breaker(system, breaker, out.now());
        self.moved(&moved, out);
    }

    /// An entity has lost what it derives from the register. SDC has lost its breakers with it: they are closed.
    pub(super) fn reannounce(&mut self, kind: u8, out: &mut Out<'_, Self>) {
        self.announce(kind, out);
        if kind == SdcMsg::KIND {
            let breaker = Breaker { state: BreakerState::Closed, since: out.now().wall };
            for system in self.standings.broken() {
                self.breaker(&system, breaker, out);
            }
        }
    }
}
