//! Seeds: every random number of a run derives from one of them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// A point in a tree of seeds.
///
/// Nothing in this crate carries a stateful generator. Code that needs randomness derives a seed
/// from the run's seed and its own place in the run ([`child`](Seed::child) by name,
/// [`at`](Seed::at) by number). A result therefore does not depend on the order of calls, the
/// number of threads or the backend, and an interrupted run can resume as if it had never stopped.
///
/// ```
/// use burn_vae::Seed;
///
/// let run = Seed::new(0);
/// assert_eq!(run.child("shuffle").at(3), Seed::new(0).child("shuffle").at(3));
/// assert_ne!(run.child("shuffle").at(3), run.child("noise").at(3));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(u64);

impl Seed {
    /// The root of a tree.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the seed of a named part. No name yields the seed of a number.
    pub fn child(self, name: &str) -> Self {
        // Names start from a different point than numbers: without the constant, "" would be number
        // 0.
        const NAMES: u64 = 0x6a09_e667_f3bc_c908; // the fractional part of sqrt(2)
        let start = Self(self.0 ^ NAMES).at(name.len() as u64);
        name.bytes().fold(start, |seed, byte| seed.at(u64::from(byte)))
    }

    /// Returns the seed of a numbered part, such as an epoch or a step.
    pub fn at(self, index: u64) -> Self {
        Self(mix(self.0 ^ mix(index)))
    }

    /// Returns the seed as a number, for example to seed another generator.
    pub fn value(self) -> u64 {
        self.0
    }

    /// Returns a generator seeded here. Its stream is the same on every platform and in every
    /// release.
    pub(crate) fn rng(self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.0)
    }
}

impl From<u64> for Seed {
    fn from(seed: u64) -> Self {
        Self(seed)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014), a bijection on 64 bits.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use std::collections::HashSet;

    #[test]
    fn streams_are_the_same_in_every_release() {
        // Expected values from SplitMix64 in Python integers.
        assert_eq!(Seed::new(0).child("noise").at(7).value(), 4_589_022_449_392_699_649);
        assert_eq!(Seed::new(0).child("noise").at(7).rng().next_u64(), 16_468_957_598_038_249_496);
    }

    /// Names are hashed byte by byte, but never equal a chain of numbers.
    #[test]
    fn names_and_numbers_do_not_meet() {
        let run = Seed::new(3);
        let names = ["", "a", "b", "ab", "\0", "\0\0", "noise"].map(|name| run.child(name));
        let mut numbers = HashSet::new();
        for i in 0..300 {
            numbers.insert(run.at(i));
            numbers.extend((0..300).map(|j| run.at(i).at(j)));
        }
        numbers.insert(run.at(2).at(97).at(98));
        numbers.insert("noise".bytes().fold(run.at(5), |seed, byte| seed.at(u64::from(byte))));
        assert!(names.iter().all(|name| !numbers.contains(name)));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }

    #[test]
    fn no_two_places_of_a_long_run_share_a_seed() {
        let run = Seed::new(1);
        let mut seen = HashSet::new();
        for name in ["encoder", "decoder", "shuffle", "noise", "noisf", "enoise"] {
            for step in 0..50_000 {
                assert!(seen.insert(run.child(name).at(step)), "{name} {step}");
            }
        }
    }
}
