//! What a far end must say of its protocol so that the gateway can tell merchants of money: one [`Wire`] per account.

use super::books::{Notice, RefundNotice};
use super::fate::RefundState;

/// A callback, ready to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    pub headers: Vec<(&'static str, String)>,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// What ends a payment that nobody has paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// A merchant's call, or time.
    Merchant,
    /// There is no such call.
    Time,
}

/// How a channel tells of money. Pure but for fresh numbers and signatures.
pub trait Wire: Send + Sync {
    /// A fresh reference for a capture, as the channel writes them.
    fn reference(&self, at: i64) -> String;

    /// The callback that tells of a capture, as it is sent at this instant.
    fn callback(&self, notice: &Notice, sent_at: i64) -> Callback;

    /// The same fields, signed by a key that nobody trusts.
    fn forged(&self, notice: &Notice, sent_at: i64) -> Callback;

    /// Whether the channel tells of refunds that get into this state.
    fn tells(&self, _state: RefundState) -> bool {
        false
    }

    /// The callback that tells of what became of a refund; none where the channel sends none of it.
    fn refund_callback(&self, _notice: &RefundNotice, _sent_at: i64) -> Option<Callback> {
        None
    }

    /// Whether a merchant's answer ends the tries.
    fn is_acknowledgement(&self, status: u16, body: &[u8]) -> bool;

    /// The gaps between tries of a callback that is not acknowledged.
    fn retry_ms(&self) -> &[i64];

    fn ended_by(&self) -> EndedBy {
        EndedBy::Merchant
    }
}

/// How long the spans that a protocol fixes take here: nobody waits in a sandbox for a callback of the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeScale {
    percent: u8,
}

impl TimeScale {
    pub const fn percent(percent: u8) -> Self {
        TimeScale { percent }
    }

    pub fn of(self, span_ms: i64) -> i64 {
        span_ms.saturating_mul(i64::from(self.percent)) / 100
    }

    pub fn all(self, spans_ms: &[i64]) -> Vec<i64> {
        spans_ms.iter().map(|span_ms| self.of(*span_ms)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_scaled_without_overflow() {
        let scale = TimeScale::percent(10);
        assert_eq!(scale.all(&[15_000, 0, 5]), [1_500, 0, 0]);
        assert_eq!(TimeScale::percent(100).of(7), 7);
        assert_eq!(TimeScale::percent(200).of(i64::MAX), i64::MAX / 100);
    }
}
