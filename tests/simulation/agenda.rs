//! What happens when: virtual time, and among equals the order in which it was put down.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use tongbao::domain::time::Instant;

#[derive(Debug)]
pub struct Agenda<T> {
    pub now: Instant,
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    things: BTreeMap<u64, T>,
    next: u64,
}

impl<T> Agenda<T> {
    pub fn new(now: Instant) -> Self {
        Agenda { now, heap: BinaryHeap::new(), things: BTreeMap::new(), next: 0 }
    }

    pub fn at(&mut self, at: Instant, thing: T) {
        self.heap.push(Reverse((at.max(self.now), self.next)));
        self.things.insert(self.next, thing);
        self.next += 1;
    }

    pub fn after(&mut self, span_ms: i64, thing: T) {
        self.at(self.now.plus_ms(span_ms), thing);
    }

    /// The next thing; the clock goes there.
    pub fn next(&mut self) -> Option<T> {
        let Reverse((at, key)) = self.heap.pop()?;
        self.now = at;
        self.things.remove(&key)
    }
}
