//! How an order becomes rows: what its head says, and the rows of tables that only orders have.

use super::StoreError;
use super::unit::{AttemptRow, CaptureRow, Head, NextActionChange, OrderRow, RefundRow, RefundStanding, UniqueName};
use crate::domain::order::Order;
use crate::domain::partition::Partition;
use crate::domain::refund::{Refund, Stage};
use crate::domain::request::Request;
use crate::domain::time::Instant;

impl Head {
    /// An order's, as it is once a step was decided at `now`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it cannot be written, which no order causes.
    pub fn of(order: &Order, next_action: NextActionChange, now: Instant) -> Result<Self, StoreError> {
        let attempt = order.current_attempt().or_else(|| order.attempts.last());
        let snapshot = serde_json::to_string(order)
            .map_err(|error| StoreError::Corrupt(format!("a row cannot be written: {error}")))?;
        Ok(Head {
            state: order.state.name(),
            facet: attempt.map(|attempt| attempt.channel().name()),
            next_due_at: order.next_due_at(now),
            next_action,
            snapshot: snapshot.into(),
        })
    }
}

impl UniqueName {
    pub fn of(order: &Order, request: &Request) -> Self {
        UniqueName { platform: order.platform, merchant_order_id: request.merchant_order_id.clone() }
    }

    /// Where two that want this name meet.
    pub fn partition(&self) -> Partition {
        self.platform.partition_of(&self.merchant_order_id)
    }
}

impl OrderRow {
    pub fn of(order: &Order, request: Request) -> Self {
        OrderRow {
            platform: order.platform,
            currency: order.currency,
            amount_minor: order.amount_minor,
            created_at: order.created_at,
            expires_at: order.expires_at,
            request,
        }
    }
}

impl AttemptRow {
    /// None for an attempt that the order has not.
    pub fn of(order: &Order, ordinal: u8, frozen: Box<str>) -> Option<Self> {
        let attempt = order.attempt(ordinal)?;
        Some(AttemptRow {
            ordinal,
            account: attempt.account.clone(),
            payable_minor: attempt.payable_minor,
            opened_at: attempt.opened_at,
            frozen,
        })
    }
}

impl CaptureRow {
    /// Of `captures[index]`; none where the order has no such capture, or its attempt is not there.
    pub fn of(order: &Order, index: u16) -> Option<Self> {
        let capture = order.captures.get(usize::from(index))?;
        Some(CaptureRow {
            account: order.attempt(capture.ordinal)?.account.clone(),
            reference: capture.reference.clone(),
            ordinal: capture.ordinal,
            currency: order.currency,
            amount_minor: capture.amount_minor,
            at: capture.at,
            effective_at: capture.effective_at,
            bill_day: capture.bill_day,
        })
    }
}

/// What a platform asked for, beside what its order keeps of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundName {
    pub merchant_refund_id: Box<str>,
    pub reason: Option<Box<str>>,
    /// The most that could have been asked for.
    pub refundable_minor: i64,
}

impl RefundRow {
    /// Of a refund of the order; none where it is not one that its platform asked for.
    pub fn of(order: &Order, refund: &Refund, name: RefundName, created_at: Instant) -> Option<Self> {
        let asked = refund.asked()?;
        let platforms = std::iter::once(order.platform).chain(order.splits.iter().map(|split| split.to));
        Some(RefundRow {
            ordinal: asked.ordinal,
            incarnation: refund.incarnation,
            platform: order.platform,
            merchant_refund_id: name.merchant_refund_id,
            currency: order.currency,
            amount_minor: refund.amount_minor,
            refundable_minor: name.refundable_minor,
            fee_minor: asked.fee_minor,
            fee_policy: asked.fee_policy,
            parts: platforms.zip(asked.parts.iter().copied()).collect(),
            reason: name.reason,
            account: order.attempt_of(refund)?.account.clone(),
            created_at,
            standing: RefundStanding::of(refund),
        })
    }
}

impl RefundStanding {
    pub fn of(refund: &Refund) -> Self {
        let failure = match refund.stage {
            Stage::Failed { failure, .. } => Some(failure),
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Doubtful { .. }
            | Stage::Succeeded { .. }
            | Stage::Returned { .. } => None,
        };
        RefundStanding {
            state: refund.state(),
            attention: refund.attention,
            failure,
            reference: refund.reference.clone(),
            finished_at: refund.stage.finished_at(),
        }
    }
}
