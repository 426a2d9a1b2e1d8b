//! In which order parties begin what they do at once: by the seed, and so the same in every run with it.

use crate::driver::Chance;

/// How long after the first one the last one begins at most, in milliseconds.
pub const START_MS_MAX: u64 = 40;

/// When one of several begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Which of them, by its place among them.
    pub which: usize,
    /// How long after all are told, in milliseconds.
    pub after_ms: u64,
}

/// When each of `count` acts begins that are done at once, the first one first. `place` is that of the first among all
/// acts, so that not everything that is done at once has the same order.
#[must_use]
pub fn starts(seed: u64, place: usize, count: usize) -> Vec<Start> {
    let mut chance = Chance(seed ^ (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, chance.below(last + 1));
    }
    // Spread evenly: two that begin in the same moment would come in an order that no seed repeats.
    let step = START_MS_MAX / count.saturating_sub(1).max(1) as u64;
    order.into_iter().zip(0..).map(|(which, turn)| Start { which, after_ms: step * turn }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{START_MS_MAX, Start, starts};

    fn order(seed: u64, place: usize) -> Vec<usize> {
        starts(seed, place, 4).iter().map(|Start { which, .. }| *which).collect()
    }

    #[test]
    fn everyone_begins_once_in_an_order_that_the_seed_repeats() {
        let orders: BTreeSet<Vec<usize>> = (0..100).map(|seed| order(seed, 7)).collect();
        assert!(orders.len() > 15, "seeds make a difference: {orders:?}");
        for seed in 0..100 {
            assert_eq!(order(seed, 7), order(seed, 7));
            assert_eq!(order(seed, 7).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([0, 1, 2, 3]));
            assert!(starts(seed, 7, 4).iter().all(|start| start.after_ms <= START_MS_MAX));
        }
        assert!((0..100).any(|seed| order(seed, 7) != order(seed, 8)));
    }

    #[test]
    fn who_is_alone_begins_at_once() {
        assert_eq!(starts(3, 0, 1), [Start { which: 0, after_ms: 0 }]);
    }
}
