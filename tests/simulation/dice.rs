//! Chance from a seed. A generator of our own (SplitMix64), so that a seed means the same run after every upgrade.

use std::sync::atomic::{AtomicU64, Ordering};

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Shared by the world and the engine's ports: whoever rolls next gets what is next.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(AtomicU64::new(seed))
    }

    /// Another generator of the same seed, which takes nothing from this one.
    pub fn beside(&self) -> Self {
        Dice::new(!self.0.load(Ordering::Relaxed))
    }

    pub fn roll(&self) -> u64 {
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// From the first to the last, both included.
    pub fn between(&self, (first, last): (i64, i64)) -> i64 {
        let span = u64::try_from(last - first + 1).expect("the last is not before the first");
        first + i64::try_from(self.below(span)).expect("it lies below the span")
    }

    /// Whether something happens that happens so often in a thousand.
    pub fn happens(&self, per_1000: u32) -> bool {
        per_1000 > 0 && self.below(1_000) < u64::from(per_1000)
    }

    /// A place among so many.
    pub fn place(&self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).expect("it lies below the count")
    }

    pub fn pick<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.place(choices.len())]
    }
}
