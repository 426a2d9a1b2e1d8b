//! Registered systems, by all that a search asks for.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use twinway_protocol::SystemId;

use super::{
    Fact, Field, Subject,
    field::Shape,
    plan::{Condition, Plan},
};

/// How many words of one system are found.
pub(super) const WORDS_INDEXED_MAX: usize = 1_000;

/// A number as a key: in the order of numbers, where `-0.0` is `0.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(i64);

impl Key {
    pub(super) const LOWEST: Self = Self(i64::MIN);
    pub(super) const HIGHEST: Self = Self(i64::MAX);

    pub(super) fn new(number: f64) -> Self {
        let bits = (number + 0.0).to_bits().cast_signed();
        // Negative numbers have their bits in the opposite order.
        Self(bits ^ (((bits >> 63).cast_unsigned() >> 1).cast_signed()))
    }

    /// The next smaller number.
    pub(super) fn below(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The next larger number.
    pub(super) fn above(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Where a system is kept; with its birth it is told from those that had the place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    slot: u32,
    born: u32,
}

/// Systems by id, for one value of a field.
pub(super) type Posting = BTreeMap<SystemId, u32>;

/// A system that is kept.
#[derive(Debug)]
pub(super) struct Entry<S> {
    pub(super) subject: S,
    born: u32,
    /// In order, and shared with the index.
    words: Box<[Arc<str>]>,
}

impl<S> Entry<S> {
    pub(super) fn has_word(&self, prefix: &str) -> bool {
        let at = self.words.partition_point(|word| **word < *prefix);
        self.words.get(at).is_some_and(|word| word.starts_with(prefix))
    }
}

/// The words of a text, each once, in lower case.
pub(super) fn words_of(text: &str) -> BTreeSet<Box<str>> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.to_lowercase().into()).take(WORDS_INDEXED_MAX).collect()
}

/// Registered systems of one kind.
#[derive(Debug)]
pub(crate) struct Index<S> {
    slots: Vec<Option<Entry<S>>>,
    free: Vec<u32>,
    births: u32,
    ids: Posting,
    /// Of texts, and of the items of lists.
    texts: BTreeMap<Field, BTreeMap<Box<str>, Posting>>,
    /// By number and slot: they are gathered, so that they need no order of ids, which takes more room.
    numbers: BTreeMap<Field, BTreeSet<(Key, u32)>>,
    words: BTreeMap<Arc<str>, BTreeSet<u32>>,
}

impl<S> Default for Index<S> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            births: 0,
            ids: BTreeMap::new(),
            texts: BTreeMap::new(),
            numbers: BTreeMap::new(),
            words: BTreeMap::new(),
        }
    }
}

/// Takes `id` out of the posting of `key`, and the posting out when nothing is left in it.
fn take_out<K: Ord + Borrow<Q>, Q: Ord + ?Sized>(postings: &mut BTreeMap<K, Posting>, key: &Q, id: &SystemId) {
    if let Some(posting) = postings.get_mut(key) {
        posting.remove(id);
        if posting.is_empty() {
            postings.remove(key);
        }
    }
}

impl<S: Subject> Index<S> {
    /// How many systems are kept.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The system of this id.
    pub(crate) fn get(&self, id: &SystemId) -> Option<&S> {
        self.entry_of(id).map(|entry| &entry.subject)
    }

    pub(super) fn entry_of(&self, id: &SystemId) -> Option<&Entry<S>> {
        self.entry(*self.ids.get(id)?)
    }

    /// The system of this id, to change what no index keeps of it.
    pub(crate) fn get_mut(&mut self, id: &SystemId) -> Option<&mut S> {
        let slot = *self.ids.get(id)?;
        self.slots.get_mut(slot as usize)?.as_mut().map(|entry| &mut entry.subject)
    }

    /// Keeps a system, in place of what was kept of it. The items of its lists are told apart, with [`Index::link`].
    pub(crate) fn keep(&mut self, subject: S) {
        let id = subject.id().clone();
        let slot = match self.ids.get(&id) {
            Some(slot) => *slot,
            None => self.admit(&id),
        };
        let words = words(&subject);
        let before = self.slots.get_mut(slot as usize).and_then(Option::take);
        let (keys, born, words_before) = match before {
            Some(entry) => (keys(Some(&entry.subject)), entry.born, entry.words),
            None => {
                self.births = self.births.wrapping_add(1);
                (keys::<S>(None), self.births, Box::default())
            }
        };
        let words = self.index_words(&words, &words_before, slot);
        self.index_fields(keys, Some(&subject), &id, slot);
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(Entry { subject, born, words });
        }
    }

    /// Changes a system in what is not written in words.
    pub(crate) fn change(&mut self, id: &SystemId, change: impl FnOnce(&mut S)) {
        let Some(slot) = self.ids.get(id).copied() else { return };
        let Some(mut entry) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        let before = keys(Some(&entry.subject));
        change(&mut entry.subject);
        self.index_fields(before, Some(&entry.subject), id, slot);
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(entry);
        }
    }

    /// Forgets a system. The items of its lists must have been taken out with [`Index::unlink`].
    pub(crate) fn forget(&mut self, id: &SystemId) {
        let Some(slot) = self.ids.remove(id) else { return };
        let Some(entry) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        self.index_words(&BTreeSet::new(), &entry.words, slot);
        self.index_fields(keys(Some(&entry.subject)), None, id, slot);
        self.free.push(slot);
    }

    /// A list of the system has this item now.
    pub(crate) fn link(&mut self, field: Field, item: &str, id: &SystemId) {
        if let Some(slot) = self.ids.get(id) {
            self.texts.entry(field).or_default().entry(item.into()).or_default().insert(id.clone(), *slot);
        }
    }

    /// No list of the system has this item any more.
    pub(crate) fn unlink(&mut self, field: Field, item: &str, id: &SystemId) {
        if let Some(postings) = self.texts.get_mut(&field) {
            take_out(postings, item, id);
        }
    }

    fn admit(&mut self, id: &SystemId) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.ids.insert(id.clone(), slot);
        slot
    }

    fn index_words(&mut self, words: &BTreeSet<Box<str>>, before: &[Arc<str>], slot: u32) -> Box<[Arc<str>]> {
        for word in before.iter().filter(|word| !words.contains(&***word)) {
            if let Some(slots) = self.words.get_mut(&**word) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.words.remove(&**word);
                }
            }
        }
        let mut shared = Vec::with_capacity(words.len());
        for word in words {
            let word = match self.words.get_key_value(&**word) {
                Some((known, _)) => Arc::clone(known),
                None => Arc::from(&**word),
            };
            self.words.entry(Arc::clone(&word)).or_default().insert(slot);
            shared.push(word);
        }
        shared.into()
    }

    /// Costs as many changes of the index as there are changed fields.
    fn index_fields(&mut self, before: Vec<Option<FieldKey>>, after: Option<&S>, id: &SystemId, slot: u32) {
        for ((field, before), after) in indexed::<S>().zip(before).zip(keys(after)) {
            if before == after {
                continue;
            }
            match before {
                Some(FieldKey::Text(text)) => self.unlink(field, &text, id),
                Some(FieldKey::Number(key)) => {
                    self.numbers.entry(field).or_default().remove(&(key, slot));
                }
                None => {}
            }
            match after {
                Some(FieldKey::Text(text)) => {
                    self.texts.entry(field).or_default().entry(text).or_default().insert(id.clone(), slot);
                }
                Some(FieldKey::Number(key)) => {
                    self.numbers.entry(field).or_default().insert((key, slot));
                }
                None => {}
            }
        }
    }

    pub(super) fn entry(&self, slot: u32) -> Option<&Entry<S>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Where a system is kept now.
    pub(super) fn place(&self, slot: u32) -> Option<Place> {
        self.entry(slot).map(|entry| Place { slot, born: entry.born })
    }

    /// What is kept at a place, if it is still what was there.
    pub(super) fn at(&self, place: Place) -> Option<&Entry<S>> {
        self.entry(place.slot).filter(|entry| entry.born == place.born)
    }
}

/// A fact as an index keeps it.
#[derive(PartialEq)]
enum FieldKey {
    Text(Box<str>),
    Number(Key),
}

/// The fields that have one value, and an index.
fn indexed<S: Subject>() -> impl Iterator<Item = Field> {
    let one = |field: &Field| field.is_indexed() && field.is_of(S::KIND) && field.shape() != Shape::Texts;
    Field::ALL.iter().copied().filter(one)
}

/// What an index keeps of a system, by field.
fn keys<S: Subject>(subject: Option<&S>) -> Vec<Option<FieldKey>> {
    let key = |field| match subject?.fact(field) {
        Fact::Text(text) => Some(FieldKey::Text(text.into())),
        other => other.as_number().map(Key::new).map(FieldKey::Number),
    };
    indexed::<S>().map(key).collect()
}

fn words<S: Subject>(subject: &S) -> BTreeSet<Box<str>> {
    let texts = [Field::Id, Field::Title, Field::Description].map(|field| match subject.fact(field) {
        Fact::Text(text) => text,
        _ => "",
    });
    words_of(&texts.join("\n"))
}

/// The systems that a search has to look at.
pub(super) enum Candidates<'i> {
    /// These, in the order of ids.
    Walked(&'i Posting),
    /// These, gathered and not in order yet.
    Gathered(Vec<u32>),
    /// None.
    Nobody,
}

impl<S: Subject> Index<S> {
    /// The fewest candidates that an index gives for a plan. What has to be gathered counts `gathering` times as much as what
    /// is in the order of ids already.
    pub(super) fn candidates(&self, plan: &Plan, gathering: usize) -> Candidates<'_> {
        let mut walked = &self.ids;
        for condition in &plan.conditions {
            let Some((field, value)) = one_posting(condition) else { continue };
            match self.texts.get(&field).and_then(|postings| postings.get(value)) {
                None => return Candidates::Nobody,
                Some(posting) if posting.len() < walked.len() => walked = posting,
                Some(_) => {}
            }
        }
        let mut best: Option<Vec<u32>> = None;
        for condition in &plan.conditions {
            let most = best.as_ref().map_or(walked.len() / gathering, Vec::len);
            if let Some(found) = self.gather(condition, most) {
                best = Some(found);
            }
        }
        match best {
            Some(best) => Candidates::Gathered(best),
            None => Candidates::Walked(walked),
        }
    }

    /// The systems for which one condition holds, unless they are more than `most`, or no index has them.
    fn gather(&self, condition: &Condition, most: usize) -> Option<Vec<u32>> {
        match condition {
            Condition::Is(field, texts) if field.is_indexed() && texts.len() != 1 => {
                // A text that is named twice is one.
                let texts: BTreeSet<_> = texts.iter().collect();
                let own = self.texts.get(field);
                let postings = texts.into_iter().filter_map(|text| own?.get(text));
                at_most(postings.flat_map(Posting::values).copied(), most)
            }
            Condition::Word(word) => {
                let words = self.words.range::<str, _>((Bound::Included(&**word), Bound::Unbounded));
                let words = words.take_while(|(own, _)| own.starts_with(&**word));
                // A system can have several words that begin so.
                let mut found = at_most(words.flat_map(|(_, slots)| slots).copied(), most)?;
                found.sort_unstable();
                found.dedup();
                Some(found)
            }
            Condition::Between(_, low, high) if low > high => Some(Vec::new()),
            Condition::Between(field, low, high) if field.is_indexed() => {
                let numbers = self.numbers.get(field)?;
                at_most(numbers.range((*low, 0)..=(*high, u32::MAX)).map(|(_, slot)| *slot), most)
            }
            _ => None,
        }
    }
}

fn at_most(mut slots: impl Iterator<Item = u32>, most: usize) -> Option<Vec<u32>> {
    let found: Vec<u32> = slots.by_ref().take(most).collect();
    slots.next().is_none().then_some(found)
}

/// The one value of a field that has a posting in the order of ids.
fn one_posting(condition: &Condition) -> Option<(Field, &str)> {
    match condition {
        Condition::Is(field, texts) if field.is_indexed() => match texts.as_slice() {
            [text] => Some((*field, text)),
            _ => None,
        },
        Condition::Lists(field, item) => Some((*field, item)),
        _ => None,
    }
}
