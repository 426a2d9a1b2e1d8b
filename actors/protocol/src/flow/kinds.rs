//! What an event is to each flow, looked up once for each kind of event: most events are of few kinds.

use super::Taken;
use crate::trace::TraceEvent;

/// How many kinds are known at a time; one more takes the place of another.
const KINDS_MAX: usize = 1 << 10;

/// What tells kinds of recorded events apart. Names are compared by where they are kept: they are there for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Key {
    step: usize,
    name: usize,
    name_len: usize,
    from: u8,
    to: u8,
}

impl Key {
    fn of(event: &TraceEvent) -> Self {
        Self {
            step: event.step.map_or(0, crate::StepId::address),
            name: event.name.as_ptr().addr(),
            name_len: event.name.len(),
            from: event.from.kind(),
            to: event.to.kind(),
        }
    }

    fn home(&self) -> usize {
        let mixed = (self.step as u64).rotate_left(24) ^ self.name as u64 ^ ((self.name_len as u64) << 56);
        let mixed = mixed ^ (u64::from(self.from) << 48) ^ (u64::from(self.to) << 40);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - KINDS_MAX.trailing_zeros())) as usize
    }
}

/// The kinds that are known.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    keys: Vec<Key>,
    /// For each of `keys` what it is to each flow.
    taken: Vec<Taken>,
}

impl Kinds {
    /// What an event is to each of so many flows, as `look_up` says of one that is not known.
    pub(super) fn taken<T: Iterator<Item = Taken>>(
        &mut self,
        event: &TraceEvent,
        flows: usize,
        look_up: impl FnOnce() -> T,
    ) -> &[Taken] {
        if self.keys.is_empty() {
            self.keys = vec![Key::default(); KINDS_MAX];
            self.taken = vec![Taken::Nothing; KINDS_MAX * flows];
        }
        let key = Key::of(event);
        let at = key.home();
        let taken = self.taken.get_mut(at * flows..(at + 1) * flows).unwrap_or_default();
        if let Some(known) = self.keys.get_mut(at).filter(|known| **known != key) {
            *known = key;
            taken.iter_mut().zip(look_up()).for_each(|(place, taken)| *place = taken);
        }
        taken
    }
}
