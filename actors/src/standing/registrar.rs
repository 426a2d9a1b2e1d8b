//! What both registers do with the standing of their systems (FGMV-29 8.2.1 and 8.3.1): renew, hear, measure, tell.

use std::sync::Arc;

use twinway_protocol::{
    Answers, Behaviour, EntityId, Meta, Out, PendingKey, Problem, ProblemKind, SystemId,
    message::{Heartbeat, KeepStanding, RenewRegistration, ReportPerformance, SystemStands, Wire},
    registry::{ThirdPartySystem, TwinSystem},
    time::Timestamp,
};

use super::{Moved, Standings, Stood, Terms, WATCH, signals, version_mismatch};

/// A system as a register keeps it.
pub(crate) trait Registered {
    /// What one is called.
    const KIND: &'static str;
    /// Its id.
    fn id(&self) -> &SystemId;
    /// Its actor.
    fn entity(&self) -> EntityId;
    /// Counts the changes of its description.
    fn version(&self) -> u64;
    /// What it registered that matters to its standing.
    fn terms(&self) -> Terms<'_>;
    /// For how long the registration counts without being renewed, in milliseconds.
    fn lifetime_ms(&self) -> Option<u64>;

    /// The part of the register's records that is its own.
    fn part(&self) -> u64 {
        u64::from(self.entity().slot())
    }
}

macro_rules! registered {
    ($System:ty, $kind:literal, $has_breaker:literal) => {
        impl Registered for $System {
            const KIND: &'static str = $kind;

            fn id(&self) -> &SystemId {
                &self.description.id
            }

            fn entity(&self) -> EntityId {
                self.entity.id()
            }

            fn version(&self) -> u64 {
                self.version
            }

            fn terms(&self) -> Terms<'_> {
                let (level, reach) = (self.description.service_level.as_ref(), &self.description.reach);
                Terms { level, reach, registered_at: self.registered_at, has_breaker: $has_breaker }
            }

            fn lifetime_ms(&self) -> Option<u64> {
                self.description.lifetime_ms
            }
        }
    };
}

registered!(ThirdPartySystem, "third-party system", true);
registered!(TwinSystem, "twin system", false);

/// What somebody hears who names a system that is not registered.
pub(crate) fn unknown<S: Registered>(id: &SystemId) -> Problem {
    Problem::new(ProblemKind::SystemUnknown, format!("no {} `{id}` is registered", S::KIND))
}

/// A register that watches its systems.
pub(crate) trait Registrar: Behaviour<Wire = Wire> {
    /// What it registers.
    type System: Registered;

    /// A registered system.
    fn registered(&self, id: &SystemId) -> Option<&Arc<Self::System>>;
    /// How its systems stand.
    fn standings(&mut self) -> &mut Standings;
    /// That a registration ends then.
    fn renewed(id: SystemId, expires_at: Option<Timestamp>) -> Self::Record;
    /// That a system stands otherwise than before.
    fn stood(id: SystemId, stood: Stood) -> Self::Record;
    /// Tells those who look for systems, or use them, how one stands.
    fn tell_standing(keep: KeepStanding, out: &mut Out<'_, Self>);

    /// The registered system, if it is its own actor that speaks, and the version that it expects.
    fn own(&self, meta: &Meta, id: &SystemId, if_version: Option<u64>) -> Result<Arc<Self::System>, Problem> {
        let system = self.registered(id).ok_or_else(|| unknown::<Self::System>(id))?;
        if system.entity() != meta.from {
            let detail = format!("`{id}` speaks through another actor");
            return Err(Problem::new(ProblemKind::NotAllowed, detail));
        }
        version_mismatch(system.version(), if_version)?;
        Ok(Arc::clone(system))
    }

    /// FGMV-29 8.2.1 and 8.3.1: the registration goes on.
    fn renew(&mut self, meta: &Meta, message: &RenewRegistration, out: &mut Out<'_, Self>)
    where
        SystemStands: Answers<Wire>,
    {
        let asker = meta.asker::<RenewRegistration>(out.event());
        let admitted = self.own(meta, &message.system, None).and_then(|system| {
            self.standings().check_lifetime(message.lifetime_ms)?;
            Ok(system)
        });
        let stands = admitted.map(|system| {
            let moved = self.renew_for(&*system, message.lifetime_ms.or(system.lifetime_ms()), out);
            SystemStands { standing: moved.standing }
        });
        out.reply(asker, stands);
    }

    /// The lifetime that the system registered begins, or begins again.
    fn begin_lifetime(&mut self, system: &Self::System, out: &mut Out<'_, Self>) {
        let moved = self.standings().watch(system.id(), system.terms(), out.now());
        match system.lifetime_ms() {
            None if self.standings().expires_at(system.id()).is_none() => self.moved(&moved, out),
            lifetime_ms => drop(self.renew_for(system, lifetime_ms, out)),
        }
    }

    /// Has the registration end so many milliseconds from now on, or never.
    fn renew_for(&mut self, system: &Self::System, lifetime_ms: Option<u64>, out: &mut Out<'_, Self>) -> Moved {
        let (id, now) = (system.id(), out.now());
        let expires_at = lifetime_ms.map(|ms| now.wall.plus_ms(ms));
        if expires_at != self.standings().expires_at(id) {
            out.record(system.part(), Self::renewed(id.clone(), expires_at));
        }
        let moved = self.standings().renew(id, expires_at, now);
        self.moved(&moved, out);
        moved
    }

    /// FGMV-29 8.2.1 and 8.3.1: the system says that it is there.
    fn heartbeat(&mut self, meta: &Meta, message: &Heartbeat, out: &mut Out<'_, Self>)
    where
        SystemStands: Answers<Wire>,
    {
        let asker = meta.asker::<Heartbeat>(out.event());
        let stands = self.own(meta, &message.system, None).map(|_| {
            let moved = self.standings().heartbeat(&message.system, out.now());
            self.moved(&moved, out);
            SystemStands { standing: moved.standing }
        });
        out.reply(asker, stands);
    }

    /// FGMV-29 8.2.1 and 8.3.1: what the system's actor measured of it.
    fn reported(&mut self, meta: &Meta, report: ReportPerformance, out: &mut Out<'_, Self>) {
        if self.own(meta, &report.system, None).is_ok()
            && let Some(moved) = self.standings().report(report, out.now())
        {
            self.moved(&moved, out);
        }
    }

    /// A timer has run out: the systems are looked at for which something is due. Tells whether it was the timer for that.
    fn look(&mut self, key: PendingKey, out: &mut Out<'_, Self>) -> bool {
        if key != WATCH {
            return false;
        }
        for moved in self.standings().tick(out.now()) {
            self.moved(&moved, out);
        }
        self.arm(out);
        true
    }

    /// The register has recovered: it watches a system again.
    fn watch_again(&mut self, system: &Self::System, out: &mut Out<'_, Self>) {
        let moved = self.standings().watch(system.id(), system.terms(), out.now());
        self.moved(&moved, out);
    }

    /// What came of looking at a system is written down, told to those who look for it or use it, and published.
    fn moved(&mut self, moved: &Moved, out: &mut Out<'_, Self>) {
        let Some(system) = self.registered(&moved.system).map(Arc::clone) else { return };
        if let Some(stood) = &moved.stood {
            out.record(system.part(), Self::stood(moved.system.clone(), stood.clone()));
        }
        if moved.is_news {
            let keep = KeepStanding { system: moved.system.clone(), standing: Arc::clone(&moved.standing) };
            Self::tell_standing(keep, out);
            for signal in signals(system.entity(), moved, out.now().wall) {
                out.signal(signal);
            }
        }
        self.arm(out);
    }

    /// Sets the timer by which the register looks at what is due.
    fn arm(&mut self, out: &mut Out<'_, Self>) {
        if let Some(after_ms) = self.standings().arm(out.now()) {
            out.timer(after_ms, WATCH);
        }
    }
}
