//! A group on its way into the store.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{Act, READ_BACK_GAP, Verdict};

/// What is asked of the store for the units that are being tried.
pub enum Stage {
    Committing,
    /// Whether they were committed, by a write of the owner's row; given up at `until`.
    ReadingBack {
        why: String,
        until: Duration,
    },
    /// Nothing is asked: the store did not answer, and is asked again at `again_at`.
    Pausing {
        why: String,
        until: Duration,
        again_at: Duration,
    },
    FindingLosers,
}

pub struct Underway<U, W> {
    units: Arc<Vec<U>>,
    /// By place; none where the waiter was told.
    waiting: Vec<Option<W>>,
    /// What is still to be tried after `tried`, in order.
    open: VecDeque<Range<usize>>,
    tried: Range<usize>,
    pub stage: Stage,
    pub begun_at: Duration,
}

impl<U, W> Underway<U, W> {
    pub fn new(pending: impl Iterator<Item = (U, W)>, now: Duration) -> Self {
        let (units, waiting): (Vec<U>, Vec<Option<W>>) = pending.map(|(unit, waiter)| (unit, Some(waiter))).unzip();
        Underway {
            open: std::iter::once(0..units.len()).collect(),
            units: Arc::new(units),
            waiting,
            tried: 0..0,
            stage: Stage::Committing,
            begun_at: now,
        }
    }

    pub fn len(&self) -> usize {
        self.units.len()
    }

    pub fn units(&self) -> &Arc<Vec<U>> {
        &self.units
    }

    pub fn tried(&self) -> Range<usize> {
        self.tried.clone()
    }

    /// Goes to the next units; false when all were judged.
    pub fn advance(&mut self) -> bool {
        let Some(next) = self.open.pop_front() else { return false };
        self.tried = next;
        self.stage = Stage::Committing;
        true
    }

    /// The units that were tried are tried once more.
    pub fn retry(&mut self) {
        self.open.push_front(self.tried());
    }

    /// The units that were tried are tried in halves.
    pub fn split(&mut self) {
        let Range { start, end } = self.tried;
        let middle = start + (end - start) / 2;
        self.open.push_front(middle..end);
        self.open.push_front(start..middle);
    }

    /// Waits before the next look at an open outcome. If that took too long, says what left it open.
    pub fn pause(&mut self, now: Duration) -> Option<String> {
        let Stage::ReadingBack { why, until } = &mut self.stage else { panic!("nothing is being read back") };
        let (why, until) = (std::mem::take(why), *until);
        let again_at = now + READ_BACK_GAP;
        if again_at >= until {
            return Some(why);
        }
        self.stage = Stage::Pausing { why, until, again_at };
        None
    }

    /// Whether it is time to look again; then that is what happens.
    pub fn looks_again(&mut self, now: Duration) -> bool {
        let Stage::Pausing { why, until, again_at } = &mut self.stage else { return false };
        if *again_at > now {
            return false;
        }
        self.stage = Stage::ReadingBack { why: std::mem::take(why), until: *until };
        true
    }

    pub fn tell(&mut self, places: Range<usize>, verdict: &Verdict, acts: &mut VecDeque<Act<U, W>>) {
        let waiting = self.waiting[places].iter_mut().filter_map(Option::take);
        acts.extend(waiting.map(|waiter| Act::Tell(waiter, verdict.clone())));
    }
}
