//! How an order becomes rows: what its head says, and the rows of tables that only orders have.

use super::StoreError;
use super::unit::{AttemptRow, CaptureRow, Head, NextActionChange, OrderRow, UniqueName};
use crate::domain::order::Order;
use crate::domain::partition::Partition;
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
        })
    }
}
