//! The parts of a payment that were given back, or are about to be.

use super::{RefundLimits, Refusal};
use crate::gateway::fate::{Fate, RefundState};

#[derive(Default)]
pub struct Parts(Vec<Part>);

/// What a payment knows of one of its refunds.
#[derive(Clone, Copy)]
pub struct Part {
    pub amount_minor: i64,
    pub taken_at: i64,
    pub fate: Fate,
}

impl Parts {
    pub fn add(&mut self, part: Part) {
        self.0.push(part);
    }

    /// What the payer has back.
    pub fn refunded_minor(&self, now: i64) -> i64 {
        self.sum(|state| state == RefundState::Refunded, now)
    }

    /// What no further refund can have.
    pub fn reserved_minor(&self, now: i64) -> i64 {
        self.sum(RefundState::reserves, now)
    }

    fn sum(&self, counts: impl Fn(RefundState) -> bool, now: i64) -> i64 {
        let parts = self.0.iter().filter(|part| counts(part.fate.state_at(now)));
        parts.fold(0, |sum, part| sum.saturating_add(part.amount_minor))
    }

    /// Whether a further refund is within the channel's limits. Those that ended count: each was a refund.
    pub fn admit(&self, limits: RefundLimits, now: i64) -> Result<(), Refusal> {
        if self.0.len() >= limits.refunds_max {
            return Err(Refusal::TooManyRefunds);
        }
        match self.0.last() {
            Some(last) if now.saturating_sub(last.taken_at) < limits.gap_ms => Err(Refusal::RefundTooSoon),
            Some(_) | None => Ok(()),
        }
    }
}
