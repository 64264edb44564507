//! What follows from the notes of a durable step: metrics and alarms.

use crate::domain::note::Note;
use crate::domain::order::{Order, OrderFailure, State};

/// Takes the notes of one step; `order` is as the step left it.
pub fn heed(order: &Order, notes: &[Note]) {
    for note in notes {
        match note {
            // An order is counted in the state that a step leaves it in, not in those that it passes on the way.
            Note::OrderCreated | Note::StateReached { .. } | Note::AttemptOpened { .. } | Note::AttemptEnded { .. } => {
            }
            Note::CaptureContradicted { capture, ordinal } => {
                tracing::error!(order = %order.id, capture, ordinal,
                    "a channel tells of a capture otherwise than it is on record");
                metrics::counter!("tongbao_contradictions_total").increment(1);
            }
            Note::RefundStuck { refund } => {
                tracing::error!(order = %order.id, refund, "a refund waits for a person");
                metrics::counter!("tongbao_refunds_stuck_total").increment(1);
            }
            Note::RefundNotPermitted { refund } => {
                tracing::error!(order = %order.id, refund, "a channel does not let us refund");
                metrics::counter!("tongbao_refunds_not_permitted_total").increment(1);
            }
            Note::RefundContradicted { refund } => {
                tracing::error!(order = %order.id, refund, "a channel has paid a refund that was over, or one of its numbers that was");
                metrics::counter!("tongbao_contradictions_total").increment(1);
            }
            Note::InstantImplausible => {
                metrics::counter!("tongbao_instants_implausible_total").increment(1);
            }
            Note::EntryBooked { kind } => {
                metrics::counter!("tongbao_entries_total", "kind" => kind.name()).increment(1);
            }
        }
    }
    if let Some((state, failure)) = Note::state_left_in(notes) {
        count_state(state, failure);
    }
}

/// Counts arrivals in a state; those in `failed` by their reason.
fn count_state(state: State, failure: Option<OrderFailure>) {
    let reason = match failure {
        None => "",
        Some(OrderFailure::Expired) => "expired",
        Some(OrderFailure::Cancelled) => "cancelled",
        Some(OrderFailure::RiskRefused) => "risk_refused",
        Some(OrderFailure::AttemptsUsedUp) => "attempts_used_up",
    };
    metrics::counter!("tongbao_orders_total", "state" => state.name(), "reason" => reason).increment(1);
}
