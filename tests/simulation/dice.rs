//! Chance from a seed. A generator of our own (SplitMix64), so that a seed means the same run after every upgrade.

#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// From the first to the last, both included.
    pub fn between(&mut self, (first, last): (i64, i64)) -> i64 {
        let span = u64::try_from(last - first + 1).expect("the last is not before the first");
        first + i64::try_from(self.below(span)).expect("it lies below the span")
    }

    /// Whether something happens that happens so often in a thousand.
    pub fn happens(&mut self, per_1000: u32) -> bool {
        per_1000 > 0 && self.below(1_000) < u64::from(per_1000)
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let place = self.below(choices.len() as u64);
        choices[usize::try_from(place).expect("a place in a slice")]
    }
}
