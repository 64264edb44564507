//! How a lane stands, as others may see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Debug)]
pub struct Standing {
    pending: AtomicUsize,
    away: AtomicBool,
    stopped: AtomicBool,
    broken: AtomicBool,
}

impl Standing {
    /// The gauges count lanes: they are there from the start, and no lane sets what another one has said.
    pub(super) fn new() -> Self {
        metrics::gauge!("tongbao_store_away").increment(0.0);
        metrics::gauge!("tongbao_store_broken").increment(0.0);
        Standing {
            pending: AtomicUsize::new(0),
            away: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    /// The store does not answer, or nobody knows yet whether it took a group: nothing is taken.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    /// The lane writes nothing any more.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether the store refused lately what it should take.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Units whose waiters were not told yet.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn set_away(&self) {
        if !self.away.swap(true, Ordering::AcqRel) {
            metrics::gauge!("tongbao_store_away").increment(1.0);
        }
    }

    pub(super) fn set_back(&self) {
        if self.away.swap(false, Ordering::AcqRel) {
            metrics::gauge!("tongbao_store_away").decrement(1.0);
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn set_broken(&self) {
        if !self.broken.swap(true, Ordering::AcqRel) {
            metrics::gauge!("tongbao_store_broken").increment(1.0);
        }
    }

    pub(super) fn set_mended(&self) {
        if self.broken.swap(false, Ordering::AcqRel) {
            metrics::gauge!("tongbao_store_broken").decrement(1.0);
        }
    }
}

/// A counted seat in a lane's queue, given back however the wait ends.
#[derive(Debug)]
pub struct Seat(Arc<Standing>);

impl Seat {
    pub(super) fn take(standing: &Arc<Standing>, bound: usize) -> Option<Self> {
        let before = standing.pending.fetch_add(1, Ordering::AcqRel);
        let seat = Seat(standing.clone());
        (before < bound).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::AcqRel);
    }
}
