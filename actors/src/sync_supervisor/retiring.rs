//! Objects that nothing stands for any more (FGMV-29 8.3.1): their leases end and their gates close before DTSR hears that
//! it is so, and ends their actors.

use twinway_protocol::{
    Asker, EntityId, Out, PendingKey, Problem,
    lease::{Input, Wanted},
    message::{ForgetTwinSystem, KeepTwinSystem, Kept},
    twin::RegisteredTwin,
};

use super::{SyncSupervisor, Waiting};
use crate::settings::pending_full;

/// Who told that twins are gone.
#[derive(Debug)]
pub(super) enum Teller {
    Keeping(Asker<KeepTwinSystem>),
    Forgetting(Asker<ForgetTwinSystem>),
}

impl Teller {
    pub(super) fn answer(self, answer: Result<Kept, Problem>, out: &mut Out<'_, SyncSupervisor>) {
        match self {
            Self::Keeping(asker) => out.reply(asker, answer),
            Self::Forgetting(asker) => out.reply(asker, answer),
        }
    }
}

impl SyncSupervisor {
    /// Twins that no system lists any more; with the last twin of an object goes the object.
    pub(super) fn retire(&mut self, twins: &[RegisteredTwin], teller: Teller, out: &mut Out<'_, Self>) {
        let objects = self.without(twins);
        if objects.is_empty() {
            return teller.answer(Ok(Kept), out);
        }
        let whole = match self.waiting.insert(Waiting::Retired(teller, objects.len())) {
            Ok(whole) => whole,
            Err(waiting) => return Self::refuse(waiting, pending_full(), out),
        };
        for object in objects {
            self.ending.insert(object);
            match self.waiting.insert(Waiting::Retiring { whole, object }) {
                Ok(key) => self.step(Input::Retire { object, reply: key.to_bits() }, out),
                Err(_) => self.retired(whole, object, out),
            }
        }
    }

    /// Takes twins away; gives the objects that nothing stands for any more.
    fn without(&mut self, twins: &[RegisteredTwin]) -> Vec<EntityId> {
        let mut gone = Vec::new();
        for twin in twins {
            let id = &twin.entry.id;
            let object = twin.object.map(|object| object.id());
            // Listed again meanwhile, the same name stands for another twin.
            if self.twins.get(id).is_some_and(|known| *known == object) {
                self.twins.remove(id);
            }
            let Some(object) = object else { continue };
            let Some(known) = self.objects.get_mut(&object) else {
                // It was told before, and the answer did not arrive.
                gone.push(object);
                continue;
            };
            known.twins.retain(|(other, _)| other != id);
            if known.twins.is_empty() {
                self.objects.remove(&object);
                gone.push(object);
            }
        }
        gone.dedup();
        gone
    }

    /// Whether DTAC let pass what is about an object that ends meanwhile, and that nobody lists again.
    pub(super) fn is_late(&self, wanted: &[Wanted]) -> bool {
        wanted.iter().any(|wanted| self.ending.contains(&wanted.object) && !self.objects.contains_key(&wanted.object))
    }

    /// The gate of an object is closed, or does not answer.
    pub(super) fn retired(&mut self, whole: PendingKey, object: EntityId, out: &mut Out<'_, Self>) {
        self.ending.remove(&object);
        self.step(Input::Forget { object }, out);
        let Some(Waiting::Retired(_, left)) = self.waiting.get_mut(whole) else { return };
        *left = left.saturating_sub(1);
        if *left > 0 {
            return;
        }
        if let Some(Waiting::Retired(teller, _)) = self.waiting.take(whole) {
            teller.answer(Ok(Kept), out);
        }
    }
}
