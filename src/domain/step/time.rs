//! What time alone brings: queries, closes, refunds and looks that have come due.

use super::{Asking, Draft};
use crate::domain::event::Effect;
use crate::domain::order::{AttemptState, CloseStage, Purpose, RefundStage, State, Wish};
use crate::domain::retry;

impl Draft {
    pub(super) fn propose_overdue(&mut self, asking: Asking) {
        let (at, pace) = (self.at, self.order.pace);
        for attempt in &self.order.attempts {
            let ordinal = attempt.ordinal;
            let first_gap = retry::gap_ms(retry::queries(attempt.channel, pace), 0);
            let since = if attempt.is_open() { Some(attempt.paced_from) } else { attempt.claimed_at };
            let due = since.is_some_and(|since| at.since_ms(since) >= first_gap);
            match (asking, attempt.state) {
                (Asking::Due, _) if !due => {}
                (Asking::Everything, _) if since.is_none() => {}
                (Asking::Due, AttemptState::Closing)
                    if attempt.can_be_closed() && attempt.close != CloseStage::Answered =>
                {
                    self.effects.push(Effect::Close { ordinal });
                }
                (
                    Asking::Due | Asking::Everything,
                    AttemptState::Open | AttemptState::Closing | AttemptState::Dead | AttemptState::Captured,
                ) => self.effects.push(Effect::Query { ordinal }),
            }
        }
        self.propose_refunds(asking);
        for attempt in &self.order.attempts {
            if self.order.watch_since(attempt).is_some_and(|since| since <= at) {
                self.effects.push(Effect::Query { ordinal: attempt.ordinal });
            }
        }
        if let (State::Created, Some(Wish::Switch { channel, method })) = (self.order.state, self.order.wish) {
            self.effects.push(Effect::Choose { channel, method });
        }
    }

    pub(super) fn propose_refunds(&mut self, asking: Asking) {
        for (capture, index) in self.order.captures.iter().zip(0u8..) {
            let Purpose::Suspense { refund, .. } = capture.purpose else { continue };
            match (refund, asking) {
                (RefundStage::Done { .. }, _) => {}
                (RefundStage::Unconfirmed { .. }, _) => self.effects.push(Effect::Query { ordinal: capture.ordinal }),
                (RefundStage::Owed { due_at, .. } | RefundStage::Doubtful { due_at, .. }, _) if due_at > self.at => {}
                (RefundStage::Owed { .. }, Asking::Due) => self.effects.push(Effect::Refund { capture: index }),
                (RefundStage::Owed { .. }, Asking::Everything) | (RefundStage::Doubtful { .. }, _) => {
                    self.effects.push(Effect::QueryRefund { capture: index });
                }
            }
        }
    }
}
