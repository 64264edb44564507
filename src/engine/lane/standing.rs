//! How a lane stands, as others may see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Debug, Default)]
pub struct Standing {
    pending: AtomicUsize,
    away: AtomicBool,
    stopped: AtomicBool,
    broken: AtomicBool,
}

impl Standing {
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
        self.away.store(true, Ordering::Release);
        metrics::gauge!("tongbao_store_away").set(1.0);
    }

    pub(super) fn set_back(&self) {
        self.away.store(false, Ordering::Release);
        metrics::gauge!("tongbao_store_away").set(0.0);
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn set_broken(&self) {
        self.broken.store(true, Ordering::Release);
        metrics::gauge!("tongbao_store_broken").set(1.0);
    }

    pub(super) fn set_mended(&self) {
        self.broken.store(false, Ordering::Release);
        metrics::gauge!("tongbao_store_broken").set(0.0);
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
