//! Numbers that look drawn and can be led back: a Feistel network over 64 bits.

const ROUNDS: usize = 4;

/// One to one on all 64-bit numbers; other seeds give other numbers. Nobody is kept from guessing them.
pub struct Scramble {
    keys: [u32; ROUNDS],
}

impl Scramble {
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self { keys: std::array::from_fn(|_| (split_mix(&mut state) >> 32) as u32) }
    }

    pub fn apply(&self, number: u64) -> u64 {
        let [left, right] =
            self.keys.iter().fold(halves(number), |[left, right], key| [right, left ^ mix(right, *key)]);
        joined(left, right)
    }

    pub fn undo(&self, number: u64) -> u64 {
        let keys = self.keys.iter().rev();
        let [left, right] = keys.fold(halves(number), |[left, right], key| [right ^ mix(left, *key), left]);
        joined(left, right)
    }
}

fn halves(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}

fn joined(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// The finaliser of MurmurHash3.
fn mix(half: u32, key: u32) -> u32 {
    let mut mixed = half ^ key;
    mixed = (mixed ^ mixed >> 16).wrapping_mul(0x85eb_ca6b);
    mixed = (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35);
    mixed ^ mixed >> 16
}

/// SplitMix64.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_led_back() {
        for seed in [0, 1, u64::MAX] {
            let scramble = Scramble::new(seed);
            for number in (0..1_000).chain([u64::MAX, 1 << 32, 123_456_789_012]) {
                assert_eq!(scramble.undo(scramble.apply(number)), number);
            }
        }
    }

    #[test]
    fn neighbours_are_spread_over_all_numbers() {
        let scramble = Scramble::new(42);
        let mut counts = [0; 16];
        (0..16_000).for_each(|number| counts[(scramble.apply(number) >> 60) as usize] += 1);
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert_ne!(scramble.apply(1), Scramble::new(43).apply(1));
    }
}
