//! Random choices that a seed repeats.

/// The environment variable that holds the seed of a run to be repeated.
pub(crate) const SEED: &str = "TWINWAY_SEED";

/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Seeded by the environment, or anew; the seed is printed, and with it what repeats the run.
    pub(crate) fn from_environment() -> Self {
        let seed = match std::env::var(SEED) {
            Ok(text) => text.parse().expect("the seed is a number"),
            Err(_) => getrandom::u64().expect("the machine has random numbers"),
        };
        println!("{SEED}={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}
