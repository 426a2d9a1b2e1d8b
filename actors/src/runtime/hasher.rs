//! A hash of numbers that the runtime itself gives.

use std::hash::Hasher;

/// Spreads addresses and keys, which nobody outside can choose: Fibonacci hashing (Knuth, volume 3, 6.4).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let spread = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // A map takes its place from the low bits.
        self.0 = spread ^ (spread >> 32);
    }
}
