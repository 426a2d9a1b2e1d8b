//! Within FGMV-29 9.1 step 2: telling those who derive something from the register what is new, and what is no more.

use std::{collections::BTreeSet, sync::Arc};

use twinway_protocol::{
    Asker, EventId, Mailbox, Meta, Out, PendingKey, Problem, Ref, SystemId,
    message::{
        Deregister, Deregistered, ForgetThirdPartySystem, KeepStanding, KeepThirdPartySystem, Kept,
        RegisterThirdPartySystem, SDC, SdcMsg, TPSAA, TPSD, ThirdPartySystemMsg, ThirdPartySystemRegistered, TpsaaMsg,
        TpsdMsg, UpdateThirdPartySystem,
    },
    registry::ThirdPartySystem,
};

use super::Tpsr;
use crate::{
    mutation::{Mutation, broken},
    settings::pending_full,
    standing::unknown,
};

/// The kinds of the entities that derive something from this register.
pub(super) const DERIVING: [u8; 3] = [TpsdMsg::KIND, TpsaaMsg::KIND, SdcMsg::KIND];

/// How long TPSR waits before it tells its register again to an entity that could not take it, in milliseconds.
const ANNOUNCE_AGAIN_MS: u64 = 1_000;

/// What is on its way to the entities that derive something from it.
#[derive(Debug)]
pub(super) struct Spreading {
    news: News,
    /// The kinds of those that have not taken it yet.
    missing: BTreeSet<u8>,
    /// The turns in which the others said so.
    taken_in: Vec<EventId>,
    /// Who waits for all of them.
    pub(super) waiting: Vec<Waiting>,
}

/// What is told.
#[derive(Debug)]
enum News {
    /// A system is registered like this.
    Kept(Arc<ThirdPartySystem>),
    /// This system is registered no more.
    Gone(SystemId, Ref<ThirdPartySystemMsg>),
}

/// Who waits until everyone has taken it.
#[derive(Debug)]
pub(super) enum Waiting {
    Registering { asker: Asker<RegisterThirdPartySystem>, is_new: bool },
    Updating(Asker<UpdateThirdPartySystem>),
    Deregistering(Asker<Deregister>),
}

impl Waiting {
    pub(super) fn refuse(self, problem: Problem, out: &mut Out<'_, Tpsr>) {
        match self {
            Self::Registering { asker, .. } => out.reply(asker, Err(problem)),
            Self::Updating(asker) => out.reply(asker, Err(problem)),
            Self::Deregistering(asker) => out.reply(asker, Err(problem)),
        }
    }

    fn settle(self, news: &News, out: &mut Out<'_, Tpsr>) {
        let registered = |system: &Arc<ThirdPartySystem>, is_new| {
            Ok(ThirdPartySystemRegistered { system: Arc::clone(system), is_new })
        };
        match (self, news) {
            (Self::Registering { asker, is_new }, News::Kept(system)) => out.reply(asker, registered(system, is_new)),
            (Self::Updating(asker), News::Kept(system)) => out.reply(asker, registered(system, false)),
            (Self::Deregistering(asker), _) => out.reply(asker, Ok(Deregistered)),
            // Nobody who registers waits for a system to be gone.
            (waiting, News::Gone(id, _)) => waiting.refuse(unknown::<ThirdPartySystem>(id), out),
        }
    }
}

impl Tpsr {
    /// Keeps who waits until everyone has taken `system`. Without room for that, it answers and gives no key.
    pub(super) fn spread(
        &mut self,
        system: &Arc<ThirdPartySystem>,
        waiting: Waiting,
        out: &mut Out<'_, Self>,
    ) -> Option<PendingKey> {
        let key = self.await_all(News::Kept(Arc::clone(system)), DERIVING.into(), waiting, out)?;
        self.spreading.insert(system.description.id.clone(), key);
        Some(key)
    }

    /// As [`Tpsr::spread`], of a system that is registered no more; its own actor is told too.
    pub(super) fn spread_gone(
        &mut self,
        system: &ThirdPartySystem,
        waiting: Waiting,
        out: &mut Out<'_, Self>,
    ) -> Option<PendingKey> {
        let missing = DERIVING.into_iter().chain([ThirdPartySystemMsg::KIND]).collect();
        self.await_all(News::Gone(system.description.id.clone(), system.entity), missing, waiting, out)
    }

    fn await_all(
        &mut self,
        news: News,
        missing: BTreeSet<u8>,
        waiting: Waiting,
        out: &mut Out<'_, Self>,
    ) -> Option<PendingKey> {
        match self.pending.insert(Spreading { news, missing, taken_in: Vec::new(), waiting: vec![waiting] }) {
            Ok(key) => Some(key),
            Err(spreading) => {
                spreading.waiting.into_iter().for_each(|waiting| waiting.refuse(pending_full(), out));
                None
            }
        }
    }

    pub(super) fn tell_deriving(&self, system: &Arc<ThirdPartySystem>, key: PendingKey, out: &mut Out<'_, Self>) {
        for kind in DERIVING {
            tell(kind, system, key, out);
        }
    }

    /// Tells whoever has not taken it yet that a system is registered no more.
    pub(super) fn tell_gone(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let Some(Spreading { news: News::Gone(system, entity), missing, .. }) = self.pending.get_mut(key) else {
            return;
        };
        let forget = || ForgetThirdPartySystem { system: system.clone(), entity: *entity };
        for kind in missing.iter() {
            match *kind {
                TpsdMsg::KIND => out.ask(TPSD, forget(), key),
                TpsaaMsg::KIND => out.ask(TPSAA, forget(), key),
                SdcMsg::KIND => out.ask(SDC, forget(), key),
                _ => out.ask(*entity, forget(), key),
            }
        }
    }

    /// Within FGMV-29 9.1 step 2: one entity has taken what it was told, or could not. Step 3 follows the last.
    pub(super) fn kept(&mut self, meta: Meta, answer: Result<Kept, Problem>, out: &mut Out<'_, Self>) {
        let kind = meta.from.kind();
        let Some(spreading) = self.pending.get_mut(meta.pending) else {
            if answer.is_err() && DERIVING.contains(&kind) && self.behind.insert(kind) {
                out.timer(ANNOUNCE_AGAIN_MS, PendingKey::from_bits(u64::from(kind)));
            }
            return;
        };
        if let Err(problem) = answer {
            // What is no more has to be gone everywhere, however long that takes.
            if matches!(spreading.news, News::Gone(..)) {
                return out.timer(ANNOUNCE_AGAIN_MS, meta.pending);
            }
            return self.give_up(meta.pending, &problem, out);
        }
        spreading.missing.remove(&kind);
        if !spreading.missing.is_empty() && !broken(Mutation::RegistrationToldBeforeFound) {
            return spreading.taken_in.push(out.event());
        }
        let Some(spreading) = self.pending.take(meta.pending) else { return };
        if let News::Kept(system) = &spreading.news {
            let id = &system.description.id;
            // What came later is on its way still.
            if self.spreading.get(id) == Some(&meta.pending) {
                self.spreading.remove(id);
                self.unspread.remove(id);
            }
        }
        for event in spreading.taken_in {
            out.join(event);
        }
        for waiting in spreading.waiting {
            waiting.settle(&spreading.news, out);
        }
    }

    /// What is registered stays so, but not everyone knows: the same registration again tells them.
    pub(super) fn give_up(&mut self, key: PendingKey, problem: &Problem, out: &mut Out<'_, Self>) {
        let Some(spreading) = self.pending.take(key) else { return };
        if let News::Kept(system) = &spreading.news
            && self.spreading.get(&system.description.id) == Some(&key)
        {
            self.spreading.remove(&system.description.id);
        }
        for waiting in spreading.waiting {
            let detail = format!("registered, but not found yet; repeat the registration: {}", problem.detail);
            waiting.refuse(Problem::new(problem.kind, detail), out);
        }
    }

    /// Tells again what an entity could not take.
    pub(super) fn tell_again(&mut self, key: PendingKey, out: &mut Out<'_, Self>) {
        let late: Vec<u8> = self.behind.iter().copied().filter(|kind| u64::from(*kind) == key.to_bits()).collect();
        if late.is_empty() {
            return self.tell_gone(key, out);
        }
        for kind in late {
            self.behind.remove(&kind);
            self.announce(kind, out);
        }
    }

    /// Tells the whole register to the entities of `kind`, which lost what they derive from it.
    pub(super) fn announce(&self, kind: u8, out: &mut Out<'_, Self>) {
        for (id, system) in &self.systems {
            tell(kind, system, PendingKey::NONE, out);
            let keep = || KeepStanding { system: id.clone(), standing: self.standings.of(id) };
            match kind {
                TpsdMsg::KIND => out.send(TPSD, keep()),
                SdcMsg::KIND => out.send(SDC, keep()),
                _ => {}
            }
        }
    }
}

fn tell(kind: u8, system: &Arc<ThirdPartySystem>, key: PendingKey, out: &mut Out<'_, Tpsr>) {
    let keep = KeepThirdPartySystem { system: Arc::clone(system) };
    match kind {
        TpsdMsg::KIND => out.ask(TPSD, keep, key),
        TpsaaMsg::KIND => out.ask(TPSAA, keep, key),
        SdcMsg::KIND => out.ask(SDC, keep, key),
        // Nobody else derives anything from this register.
        _ => {}
    }
}
