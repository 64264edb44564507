//! Deadlines of all orders, apart from their mailboxes: an actor's own timers starve while its mailbox is busy.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Mutex;
use std::time::Duration;

use crate::domain::id::OrderId;
use crate::domain::time::Instant;

/// How exact a timer is. Nothing in the domain is finer than a second.
pub const TICK: Duration = Duration::from_millis(50);
/// A lock per shard, so that the threads that arm timers rarely meet.
const SHARDS: usize = 16;

type Shard = Mutex<BinaryHeap<Reverse<(i64, u128)>>>;

/// When which order wants to be woken. Entries that an order no longer wants are left to come up: the order looks at
/// what it armed last.
pub struct Timers {
    shards: [Shard; SHARDS],
}

impl Timers {
    pub fn new() -> Self {
        Timers { shards: std::array::from_fn(|_| Mutex::new(BinaryHeap::new())) }
    }

    pub fn arm(&self, id: OrderId, at: Instant) {
        let shard = &self.shards[(id.as_u128() % SHARDS as u128) as usize];
        shard.lock().expect("no holder of a timer lock panics").push(Reverse((at.0, id.as_u128())));
    }

    /// Takes out everything that is due at `now`.
    pub fn due(&self, now: Instant) -> Vec<OrderId> {
        let mut due = Vec::new();
        for shard in &self.shards {
            let mut heap = shard.lock().expect("no holder of a timer lock panics");
            while heap.peek().is_some_and(|Reverse((at, _))| *at <= now.0) {
                due.extend(heap.pop().map(|Reverse((_, id))| OrderId::from_u128(id)));
            }
        }
        due
    }
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
            timers.arm(OrderId::from_u128(id), Instant(at));
        }
        let mut due = timers.due(Instant(30));
        due.sort();
        assert_eq!(due, [1, 2, 17].map(OrderId::from_u128));
        assert!(timers.due(Instant(39)).is_empty());
        assert_eq!(timers.due(Instant(40)), [OrderId::from_u128(33)]);
    }
}
