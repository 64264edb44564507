//! The place of a cell in memory: its mailbox, and the cell itself while nobody works on it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::carry::Way;
use super::cell::Cell;
use super::host::Host;
use super::letter::Letter;
use crate::domain::time::Instant;

pub struct Slot<H: Host> {
    pub id: u128,
    /// Where its cell is worked on.
    pub way: Box<dyn Way>,
    inner: Mutex<Inner<H>>,
}

struct Inner<H: Host> {
    mailbox: VecDeque<Letter<H>>,
    phase: Phase<H>,
    touched_at: Instant,
}

enum Phase<H: Host> {
    /// Somebody works on the cell and looks into the mailbox before they stop.
    Working,
    Resting(Box<Cell<H>>),
    /// The cell has left.
    Gone,
}

/// What became of a letter.
pub enum Put<H: Host> {
    Taken,
    /// It is taken, and the cell is to be worked on.
    Woken(Box<Cell<H>>),
    /// The cell has left; a new one must be made for it.
    Gone(Letter<H>),
}

impl<H: Host> Slot<H> {
    /// A slot whose cell is being worked on.
    pub fn new(id: u128, way: Box<dyn Way>, first: Option<Letter<H>>, now: Instant) -> Self {
        let mailbox = first.into_iter().collect();
        Slot { id, way, inner: Mutex::new(Inner { mailbox, phase: Phase::Working, touched_at: now }) }
    }

    pub fn put(&self, letter: Letter<H>, now: Instant) -> Put<H> {
        let mut inner = self.inner();
        match letter {
            Letter::Told { .. } | Letter::Errand(_) => inner.touched_at = now,
            Letter::Idle => {}
        }
        match std::mem::replace(&mut inner.phase, Phase::Working) {
            Phase::Gone => {
                inner.phase = Phase::Gone;
                return Put::Gone(letter);
            }
            Phase::Working => {}
            Phase::Resting(cell) => {
                inner.mailbox.push_back(letter);
                return Put::Woken(cell);
            }
        }
        inner.mailbox.push_back(letter);
        Put::Taken
    }

    /// The next letter for whoever works on the cell.
    pub fn next(&self) -> Option<Letter<H>> {
        self.inner().mailbox.pop_front()
    }

    /// Puts the cell to rest; back it comes where something has come meanwhile.
    pub fn rest(&self, cell: Box<Cell<H>>) -> Option<Box<Cell<H>>> {
        let mut inner = self.inner();
        if !inner.mailbox.is_empty() {
            return Some(cell);
        }
        inner.phase = Phase::Resting(cell);
        None
    }

    /// Ends the cell's stay, unless something has come meanwhile. A cell never leaves a letter behind.
    pub fn leave(&self) -> bool {
        let mut inner = self.inner();
        if !inner.mailbox.is_empty() {
            return false;
        }
        inner.phase = Phase::Gone;
        true
    }

    /// Ends the stay of a cell that was lost; what it had not begun with comes back.
    pub fn lose(&self) -> VecDeque<Letter<H>> {
        let mut inner = self.inner();
        inner.phase = Phase::Gone;
        std::mem::take(&mut inner.mailbox)
    }

    /// Since when nothing was told to a cell that rests.
    pub fn rests_since(&self) -> Option<Instant> {
        let inner = self.inner();
        match inner.phase {
            Phase::Resting(_) => Some(inner.touched_at),
            Phase::Working | Phase::Gone => None,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<H>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
