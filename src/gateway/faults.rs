//! Faults by chance. Each is drawn from the seed, the number and the call alone, never from the order in which
//! requests happen to arrive, so that a run can be repeated.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::payer::{Conduct, Notices};
use crate::config;

const CHANCES: u32 = 10_000;

pub struct Faults(config::Faults);

/// What befalls one call.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub conduct: Conduct,
    pub latency: Duration,
}

impl Fault {
    pub const NONE: Fault = Fault { conduct: Conduct::Answers, latency: Duration::ZERO };
}

impl Faults {
    pub fn new(config: &config::Faults) -> Self {
        Faults(config.clone())
    }

    /// Whether any call can be befallen at all: most runs have no faults and should not pay for them.
    pub fn befall_calls(&self) -> bool {
        (self.0.latency_ms, self.0.latency_jitter_ms) != (0, 0)
            || (self.0.hang_per_10000, self.0.error_per_10000) != (0, 0)
    }

    /// The fault of the `nth` call of this kind of a payment. The count is part of the draw because a repeat must
    /// be able to succeed.
    pub fn of_call(&self, number: &str, call: &str, nth: u16) -> Fault {
        let mut rng = self.rng(&[number, call, &nth.to_string()]);
        let jitter_ms = rng.random_range(0..=self.0.latency_jitter_ms);
        let chance = rng.random_range(0..CHANCES);
        let conduct = if chance < self.0.hang_per_10000 {
            Conduct::Hangs
        } else if chance < self.0.hang_per_10000.saturating_add(self.0.error_per_10000) {
            Conduct::Fails
        } else {
            Conduct::Answers
        };
        Fault { conduct, latency: Duration::from_millis(self.0.latency_ms.saturating_add(jitter_ms)) }
    }

    /// The callbacks of a payment whose script asks for one.
    pub fn notices(&self, number: &str) -> Notices {
        if (self.0.callback_lost_per_10000, self.0.callback_twice_per_10000) == (0, 0) {
            return Notices::ONE;
        }
        let chance = self.rng(&[number, "callback"]).random_range(0..CHANCES);
        if chance < self.0.callback_lost_per_10000 {
            Notices::NONE
        } else if chance < self.0.callback_lost_per_10000.saturating_add(self.0.callback_twice_per_10000) {
            Notices::TWO
        } else {
            Notices::ONE
        }
    }

    fn rng(&self, parts: &[&str]) -> StdRng {
        // FNV-1a, with a byte between the parts that no part contains.
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
        let hash = bytes
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        StdRng::seed_from_u64(hash ^ self.0.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(seed: u64) -> Faults {
        Faults(config::Faults {
            seed,
            latency_ms: 5,
            latency_jitter_ms: 10,
            hang_per_10000: 1_000,
            error_per_10000: 2_000,
            callback_lost_per_10000: 500,
            callback_twice_per_10000: 1_500,
        })
    }

    #[test]
    fn faults_come_as_often_as_configured_and_repeat_with_their_seed() {
        let (one, again, other) = (faults(1), faults(1), faults(2));
        let numbers: Vec<String> = (0..10_000).map(|n| format!("number{n}")).collect();
        let count = |wanted: Conduct| {
            numbers.iter().filter(|number| one.of_call(number, "create", 0).conduct == wanted).count()
        };
        assert!((850..1150).contains(&count(Conduct::Hangs)));
        assert!((1800..2200).contains(&count(Conduct::Fails)));
        let notices = |wanted| numbers.iter().filter(|number| one.notices(number) == wanted).count();
        assert!((400..600).contains(&notices(Notices::NONE)));
        assert!((1350..1650).contains(&notices(Notices::TWO)));
        let draw = |faults: &Faults| -> Vec<Fault> { numbers.iter().map(|n| faults.of_call(n, "query", 3)).collect() };
        assert_eq!(draw(&one), draw(&again));
        assert_ne!(draw(&one), draw(&other));
        assert!(draw(&one).iter().all(|fault| (5..=15).contains(&fault.latency.as_millis())));
    }

    #[test]
    fn a_repeat_can_fare_better_than_the_first_call() {
        let faults = faults(1);
        let number = (0..).map(|n| n.to_string()).find(|n| faults.of_call(n, "create", 0).conduct == Conduct::Hangs);
        let number = number.unwrap();
        assert!((1..100).any(|nth| faults.of_call(&number, "create", nth).conduct == Conduct::Answers));
    }
}
