//! Deadlines of all orders, apart from their mailboxes: an actor's own timers starve while its mailbox is busy.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::domain::time::Instant;

/// How exact a timer is. Nothing in the domain is finer than a second.
pub const TICK: Duration = Duration::from_millis(50);
/// A lock per shard, so that the threads that arm timers rarely meet.
const SHARDS: usize = 16;

/// When which order wants to be woken: one deadline each, and none of an order that wants none.
#[derive(Default)]
struct Shard {
    by_time: BTreeSet<(i64, u128)>,
    by_order: HashMap<u128, i64>,
}

impl Shard {
    fn arm(&mut self, id: u128, at: i64) {
        self.disarm(id);
        self.by_time.insert((at, id));
        self.by_order.insert(id, at);
    }

    fn disarm(&mut self, id: u128) {
        if let Some(before) = self.by_order.remove(&id) {
            self.by_time.remove(&(before, id));
        }
    }
}

pub struct Timers {
    shards: [Mutex<Shard>; SHARDS],
}

impl Timers {
    pub fn new() -> Self {
        Timers { shards: std::array::from_fn(|_| Mutex::default()) }
    }

    fn shard(&self, id: u128) -> MutexGuard<'_, Shard> {
        lock(&self.shards[(id % SHARDS as u128) as usize])
    }

    /// Wakes an order at this instant, and not at the one before.
    pub fn arm(&self, id: u128, at: Instant) {
        self.shard(id).arm(id, at.0);
    }

    pub fn disarm(&self, id: u128) {
        self.shard(id).disarm(id);
    }

    /// Takes out everything that is due at `now`.
    pub fn due(&self, now: Instant) -> Vec<u128> {
        let mut due = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            while let Some((at, id)) = shard.by_time.first().copied().filter(|(at, _)| *at <= now.0) {
                shard.by_time.remove(&(at, id));
                shard.by_order.remove(&id);
                due.push(id);
            }
        }
        due
    }

    /// The clock was set back: nobody waits longer for that.
    pub fn set_back(&self, by_ms: i64) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let armed: Vec<(u128, i64)> = shard.by_order.drain().collect();
            shard.by_time.clear();
            for (id, at) in armed {
                shard.arm(id, at.saturating_sub(by_ms));
            }
        }
    }

    /// When it is to be woken, if it is.
    pub fn armed_at(&self, id: u128) -> Option<Instant> {
        self.shard(id).by_order.get(&id).copied().map(Instant)
    }

    /// The earliest deadline.
    pub fn first(&self) -> Option<Instant> {
        self.shards.iter().filter_map(|shard| lock(shard).by_time.first().map(|(at, _)| Instant(*at))).min()
    }

    /// Deadlines in memory.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).by_time.len()).sum()
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().expect("no holder of a timer lock panics")
}

impl Default for Timers {
    fn default() -> Self {
        Timers::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_out_once_and_the_rest_stays() {
        let timers = Timers::new();
        for (id, at) in [(1, 30), (2, 10), (17, 20), (33, 40)] {
            timers.arm(id, Instant(at));
        }
        assert_eq!(timers.first(), Some(Instant(10)));
        let mut due = timers.due(Instant(30));
        due.sort();
        assert_eq!(due, [1, 2, 17]);
        assert!(timers.due(Instant(39)).is_empty());
        assert_eq!(timers.due(Instant(40)), [33]);
        assert_eq!((timers.count(), timers.first()), (0, None));
    }

    #[test]
    fn report_an_order_that_is_armed_again_and_again_holds_one_deadline() {
        let timers = Timers::new();
        let [one, other] = [1, 17];
        for at in 0..10_000 {
            timers.arm(one, Instant(86_400_000 - at));
            timers.arm(other, Instant(86_400_000 + at));
        }
        assert_eq!(timers.count(), 2);
        timers.disarm(other);
        assert_eq!(timers.count(), 1, "an order that wants nothing any more holds nothing");
        assert_eq!(timers.due(Instant(86_400_000 - 9_999)), [one], "the newest deadline holds");
    }

    #[test]
    fn nobody_waits_longer_for_a_clock_that_was_set_back() {
        let timers = Timers::new();
        let id = 5;
        timers.arm(id, Instant(500_000));
        timers.set_back(120_000);
        assert_eq!((timers.due(Instant(379_999)), timers.due(Instant(380_000))), (vec![], vec![id]));
    }
}
