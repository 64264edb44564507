//! The nonces of the requests that were taken lately: each is good once.
//!
//! They are not kept over a restart: every call is idempotent by its number, so a repeat changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

/// How far a request's timestamp may be from our clock.
pub const WINDOW_S: u64 = 300;
/// Nonces are forgotten by slots of this many seconds.
const SLOT_S: u64 = 60;
const SHARDS: usize = 16;
/// Nonces remembered in all: about 28,000 requests per second over the window, at 10 to 20 bytes each.
const NONCES_MAX: usize = 1 << 23;

#[derive(Debug, PartialEq, Eq)]
pub enum NonceError {
    Used,
    /// No room: to take the request would mean to forget a nonce that is still good.
    Full,
}

/// Keyed hashes of nonces, by the slot of their request's timestamp. Two nonces share a hash once in 10^12 requests.
pub struct Nonces {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    shard_max: usize,
}

#[derive(Default)]
struct Shard {
    slots: BTreeMap<u64, HashSet<u64>>,
    held: usize,
}

impl Nonces {
    pub fn new() -> Self {
        Self::with_capacity(NONCES_MAX)
    }

    fn with_capacity(nonces_max: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Shard::default()));
        Nonces { hasher: RandomState::new(), shards, shard_max: nonces_max.div_ceil(SHARDS) }
    }

    /// Takes the nonce of a request whose timestamp was found to be within the window.
    ///
    /// # Errors
    /// It was taken before, or there is no room.
    pub fn take(&self, account: &str, nonce: &str, timestamp_s: u64, now_s: u64) -> Result<(), NonceError> {
        let hash = self.hasher.hash_one((account, nonce));
        let mut shard = self.shards[hash as usize % SHARDS].lock().expect("no holder panics");
        shard.forget(now_s);
        if shard.slots.values().any(|slot| slot.contains(&hash)) {
            return Err(NonceError::Used);
        }
        if shard.held >= self.shard_max {
            return Err(NonceError::Full);
        }
        shard.held += 1;
        shard.slots.entry(timestamp_s / SLOT_S).or_default().insert(hash);
        Ok(())
    }
}

impl Shard {
    /// Drops the slots of which every timestamp would be refused as stale.
    fn forget(&mut self, now_s: u64) {
        while let Some(slot) = self.slots.first_entry() {
            if (slot.key() + 1) * SLOT_S + WINDOW_S > now_s {
                break;
            }
            self.held -= slot.remove().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_once_whatever_its_timestamp() {
        let nonces = Nonces::new();
        assert_eq!(nonces.take("default", "n", 1_000, 1_000), Ok(()));
        assert_eq!(nonces.take("default", "n", 1_000, 1_000), Err(NonceError::Used));
        assert_eq!(nonces.take("default", "n", 1_250, 1_000), Err(NonceError::Used));
        assert_eq!(nonces.take("other", "n", 1_000, 1_000), Ok(()));
        // Still within the window of its timestamp.
        assert_eq!(nonces.take("default", "n", 1_300, 1_300), Err(NonceError::Used));
    }

    #[test]
    fn nonces_are_forgotten_after_the_window_and_bounded_within_it() {
        let nonces = Nonces::with_capacity(SHARDS);
        let refused = (0..1000).filter(|n| nonces.take("a", &n.to_string(), 1_000, 1_000).is_err()).count();
        assert_eq!(refused, 1000 - SHARDS);
        assert_eq!(nonces.take("a", "0", 2_000, 2_000), Ok(()));
    }
}
