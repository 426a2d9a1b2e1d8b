//! What was recorded for maps (FGMV-28 7.3.1 step 2.2): who recorded it, and whose bytes are still named.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use twinway_protocol::{
    Out, Problem, ProblemKind, UserId,
    message::{ForgetObservation, KeepObservation, Kept, ListObservations, ObservationsListed},
    registry::Page,
    signal::Signal,
    spatial::{EntryFacts, KeptObservation, ObservationId},
};

use super::{MapRecord, Maps, MetaverseSystem, Told, locating::Devices, part_of, structure};

/// How often the maps of one metaverse system name each observation.
#[derive(Debug, Default)]
pub(super) struct References {
    counts: BTreeMap<ObservationId, usize>,
    /// Those that came or went since the outside was told.
    changed: BTreeSet<ObservationId>,
}

impl References {
    pub(super) fn add(&mut self, observation: Option<&ObservationId>) {
        let Some(id) = observation else { return };
        let count = self.counts.entry(id.clone()).or_default();
        *count += 1;
        if *count == 1 {
            self.changed.insert(id.clone());
        }
    }

    pub(super) fn end(&mut self, observation: Option<&ObservationId>) {
        let Some((id, count)) = observation.and_then(|id| Some((id, self.counts.get_mut(id)?))) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(id);
            self.changed.insert(id.clone());
        }
    }

    pub(super) fn has(&self, observation: &ObservationId) -> bool {
        self.counts.contains_key(observation)
    }

    /// Tells whoever keeps the bytes what came and went.
    pub(super) fn tell(&mut self, out: &mut Out<'_, MetaverseSystem>) {
        if self.changed.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        let (held, released) = changed.into_iter().partition(|id| self.counts.contains_key(id));
        out.signal(Signal::Observations { held, released });
    }

    /// Tells all of it: whoever keeps the bytes knows nothing yet.
    fn tell_all(&mut self, out: &mut Out<'_, MetaverseSystem>) {
        self.changed.clear();
        if !self.counts.is_empty() {
            out.signal(Signal::Observations { held: self.counts.keys().cloned().collect(), released: Vec::new() });
        }
    }
}

impl Maps {
    /// After a start or a failure.
    pub(in super::super) fn tell_references(&mut self, out: &mut Out<'_, MetaverseSystem>) {
        self.references.tell_all(out);
    }

    pub(super) fn replay_observed(&mut self, map: u32, observation: Arc<KeptObservation>) {
        self.references.add(Some(&observation.id));
        let key = (observation.id.clone(), observation.user.clone());
        let before = self.by_number.entry(map).or_default().observed.insert(key, observation);
        self.references.end(before.map(|before| before.id.clone()).as_ref());
    }

    pub(super) fn replay_unobserved(&mut self, map: u32, observation: ObservationId, user: UserId) {
        let kept = self.by_number.get_mut(&map).and_then(|kept| kept.observed.remove(&(observation, user)));
        self.references.end(kept.map(|kept| kept.id.clone()).as_ref());
    }

    /// Within FGMV-28 7.3.1 step 2.2: from now on the bytes are named, until somebody forgets them.
    pub(in super::super) fn keep_observation(
        &mut self,
        message: KeepObservation,
        out: &mut Out<'_, MetaverseSystem>,
    ) -> Result<Kept, Problem> {
        let KeepObservation { map, user, observation } = message;
        let (number, kept, definition) = self.kept(&map)?;
        Self::may_look(definition, &user)?;
        let key = (observation.id.clone(), user.clone());
        if kept.observed.len() >= self.limits.observations && !kept.observed.contains_key(&key) {
            let detail = format!("`map_observations_max` is {}", self.limits.observations);
            return Err(Problem::new(ProblemKind::LimitReached, detail));
        }
        let observation = Arc::new(KeptObservation::read(*observation, map, user, &definition.frame)?);
        if kept.observed.get(&key) != Some(&observation) {
            self.keep(structure(number), MapRecord::Observed { map: number, observation }, out);
        }
        Ok(Kept)
    }

    /// Forgets what was recorded: all that names it, or what one user recorded. The entries that were made of it stay,
    /// and name it no longer once nobody has recorded it.
    pub(in super::super) fn forget_observation(
        &mut self,
        message: &ForgetObservation,
        devices: &Devices,
        out: &mut Out<'_, MetaverseSystem>,
    ) -> Result<Kept, Problem> {
        let id = &message.observation;
        let is_meant = |user: &UserId| message.user.as_ref().is_none_or(|own| own == user);
        let mut found: Vec<(u32, UserId)> = Vec::new();
        for (number, kept) in &self.by_number {
            let recorded = kept.observed.keys().filter(|(own, user)| own == id && is_meant(user));
            found.extend(recorded.map(|(_, user)| (*number, user.clone())));
        }
        let mut maps: BTreeSet<u32> = found.iter().map(|(number, _)| *number).collect();
        if message.user.is_none() {
            // An entry of its own can name what nobody recorded for its map.
            maps.extend(
                self.by_number.iter().filter(|(_, kept)| names(kept, id).next().is_some()).map(|(map, _)| *map),
            );
        }
        if maps.is_empty() {
            return Err(Problem::new(ProblemKind::ObservationUnknown, format!("no observation `{id}` is kept")));
        }
        for (number, user) in found {
            let record = MapRecord::Unobserved { map: number, observation: id.clone(), user };
            self.keep(structure(number), record, out);
        }
        for number in maps {
            self.unname(number, id, devices, out);
        }
        Ok(Kept)
    }

    /// Has the entries of a map name an observation no longer, unless somebody's is still kept.
    fn unname(&mut self, number: u32, id: &ObservationId, devices: &Devices, out: &mut Out<'_, MetaverseSystem>) {
        let Some(kept) = self.by_number.get(&number) else { return };
        if kept.observed.keys().any(|(own, _)| own == id) {
            return;
        }
        let (mut told, mut without) = (Told::default(), Vec::new());
        for slot in names(kept, id) {
            let facts = Arc::new(EntryFacts { observation: None, ..EntryFacts::clone(&slot.facts) });
            let at = slot.placed.pose.local;
            told.add(kept, &facts, Some(at), Some(at), &slot.placed);
            without.extend(kept.index.slot_of(&facts.id).map(|place| (place, facts, slot.placed)));
        }
        for (slot, facts, placed) in without {
            self.keep(part_of(number, slot), MapRecord::Put { map: number, slot, facts, placed }, out);
        }
        if let Some(kept) = self.by_number.get(&number) {
            told.tell(kept, devices, out);
        }
    }

    /// What was recorded for a map, in the order of ids.
    pub(in super::super) fn list_observations(&self, list: &ListObservations) -> Result<ObservationsListed, Problem> {
        let (_, kept, _) = self.kept(&list.map)?;
        // Two users can have recorded the same: their names tell them apart.
        let start = match list.cursor.as_deref().map(read_cursor) {
            None => Bound::Unbounded,
            Some(key) => Bound::Excluded(key.ok_or_else(|| {
                Problem::new(ProblemKind::InvalidQuery, "`cursor` is not one that a page before has given")
            })?),
        };
        let is_meant = |user: &UserId| list.user.as_ref().is_none_or(|own| own == user);
        let mut meant = kept.observed.range((start, Bound::Unbounded)).filter(|((_, user), _)| is_meant(user));
        let found: Vec<_> = meant.by_ref().take(Page::<()>::items(list.limit)).collect();
        let more = meant.next().is_some();
        let next = found.last().filter(|_| more).map(|((id, user), _)| format!("{id}/{user}"));
        let items = found.into_iter().map(|(_, observation)| KeptObservation::clone(observation)).collect();
        Ok(ObservationsListed { page: Page { items, next } })
    }
}

fn read_cursor(cursor: &str) -> Option<(ObservationId, UserId)> {
    let (id, user) = cursor.split_once('/')?;
    Some((id.parse().ok()?, user.parse().ok()?))
}

fn names<'k>(kept: &'k super::KeptMap, id: &'k ObservationId) -> impl Iterator<Item = &'k crate::spatial::Slot> {
    kept.index.after(None).filter(move |slot| slot.facts.observation.as_ref() == Some(id))
}
