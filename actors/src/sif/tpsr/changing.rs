//! What becomes of registrations (FGMV-29 8.2.1): changed, renewed, watched, ended.

use std::sync::Arc;

use twinway_protocol::{
    Meta, Out, Problem, ProblemKind, SystemId,
    message::{
        Deregister, Heartbeat, RenewRegistration, ReportPerformance, SystemStands, ThirdPartySystemRegistered,
        UpdateThirdPartySystem,
    },
    registry::ThirdPartySystem,
    signal::Signal,
};

use super::{Record, Tpsr, checks, part_of, spreading::Waiting, terms};
use crate::standing::{Moved, version_mismatch};

pub(super) fn unknown(id: &SystemId) -> Problem {
    Problem::new(ProblemKind::SystemUnknown, format!("no third-party system `{id}` is registered"))
}

impl Tpsr {
    /// The registered system, if it is its own actor that speaks.
    fn own(&self, meta: &Meta, id: &SystemId) -> Result<Arc<ThirdPartySystem>, Problem> {
        let system = self.systems.get(id).ok_or_else(|| unknown(id))?;
        if system.entity.id() != meta.from {
            let detail = format!("`{id}` speaks through another actor");
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        Ok(Arc::clone(system))
    }

    /// FGMV-29 8.2.1: a system describes itself anew. To repeat it changes nothing, but mends what an earlier attempt left
    /// undone.
    pub(super) fn update(&mut self, meta: Meta, message: UpdateThirdPartySystem, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<UpdateThirdPartySystem>(out.event());
        let UpdateThirdPartySystem { description, if_version } = message;
        let admitted = self.own(&meta, &description.id).and_then(|system| {
            version_mismatch(system.version, if_version)?;
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
        if !is_same && let Err(problem) = self.describe(&system, out) {
            return self.give_up(key, &problem, out);
        }
        self.tell_deriving(&system, key, out);
        self.begin_lifetime(&system, out);
    }

    /// FGMV-29 8.2.1: a system is registered no more. What it was being asked is refused, and its users' authorizations
    /// end, before it hears so.
    pub(super) fn deregister(&mut self, meta: Meta, message: &Deregister, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<Deregister>(out.event());
        let admitted = self.own(&meta, &message.system).and_then(|system| {
            version_mismatch(system.version, message.if_version)?;
            Ok(system)
        });
        let system = match admitted {
            Ok(system) => system,
            Err(problem) => return out.reply(asker, Err(problem)),
        };
        let Some(key) = self.spread_gone(&system, Waiting::Deregistering(asker), out) else { return };
        out.record(part_of(&system), Record::Deregistered(message.system.clone()));
        self.drop_system(&message.system);
        out.signal(Signal::ThirdPartySystemGone(message.system.clone()));
        self.tell_gone(key, out);
    }

    pub(super) fn drop_system(&mut self, id: &SystemId) {
        if let Some(system) = self.systems.remove(id) {
            self.parts.remove(&part_of(&system));
        }
        self.unspread.remove(id);
        self.spreading.remove(id);
        self.standings.forget(id);
    }

    /// FGMV-29 8.2.1: the registration goes on.
    pub(super) fn renew(&mut self, meta: Meta, message: &RenewRegistration, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<RenewRegistration>(out.event());
        let admitted = self.own(&meta, &message.system).and_then(|system| {
            self.standings.check_lifetime(message.lifetime_ms)?;
            Ok(system)
        });
        match admitted {
            Ok(system) => {
                let moved = self.renew_for(&system, message.lifetime_ms.or(system.description.lifetime_ms), out);
                out.reply(asker, Ok(SystemStands { standing: moved.standing }));
            }
            Err(problem) => out.reply(asker, Err(problem)),
        }
    }

    /// The lifetime that the system registered begins, or begins again.
    pub(super) fn begin_lifetime(&mut self, system: &ThirdPartySystem, out: &mut Out<'_, Self>) {
        let id = &system.description.id;
        let moved = self.standings.watch(id, terms(system), out.now());
        match system.description.lifetime_ms {
            None if self.standings.expires_at(id).is_none() => self.moved(&moved, out),
            lifetime_ms => drop(self.renew_for(system, lifetime_ms, out)),
        }
    }

    fn renew_for(&mut self, system: &ThirdPartySystem, lifetime_ms: Option<u64>, out: &mut Out<'_, Self>) -> Moved {
        let id = &system.description.id;
        let expires_at = lifetime_ms.map(|ms| out.now().wall.plus_ms(ms));
        if expires_at != self.standings.expires_at(id) {
            out.record(part_of(system), Record::Renewed(id.clone(), expires_at));
        }
        let moved = self.standings.renew(id, expires_at, out.now());
        self.moved(&moved, out);
        moved
    }

    /// FGMV-29 8.2.1: the system says that it is there.
    pub(super) fn heartbeat(&mut self, meta: Meta, message: &Heartbeat, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<Heartbeat>(out.event());
        match self.own(&meta, &message.system) {
            Ok(_) => {
                let moved = self.standings.heartbeat(&message.system, out.now());
                self.moved(&moved, out);
                out.reply(asker, Ok(SystemStands { standing: moved.standing }));
            }
            Err(problem) => out.reply(asker, Err(problem)),
        }
    }

    /// FGMV-29 8.2.1: what the system's actor measured of it.
    pub(super) fn reported(&mut self, meta: Meta, report: ReportPerformance, out: &mut Out<'_, Self>) {
        if self.own(&meta, &report.system).is_ok()
            && let Some(moved) = self.standings.report(report, out.now())
        {
            self.moved(&moved, out);
        }
    }
}
