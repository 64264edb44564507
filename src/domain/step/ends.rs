//! How attempts and orders end.

use super::Draft;
use crate::domain::event::{Effect, WebhookKind, Write};
use crate::domain::order::{AttemptFailure, AttemptState, OrderFailure, State, Wish};

impl Draft {
    /// The attempt is certainly dead; what was wished for then comes true.
    pub(super) fn dies(&mut self, ordinal: u8, failure: Option<AttemptFailure>) {
        if let Some(attempt) = self.order.attempts.iter_mut().find(|attempt| attempt.ordinal == ordinal) {
            attempt.state = AttemptState::Dead;
            attempt.failure = failure;
        }
        if self.order.state.is_final() {
            return;
        }
        match self.order.wish {
            Some(Wish::Cancel) => self.fail(OrderFailure::Cancelled),
            Some(Wish::Expiry) => self.fail(OrderFailure::Expired),
            Some(Wish::Switch { channel, method }) => {
                self.order.state = State::Created;
                self.writes.push(Write::WipeNextAction);
                self.effects.push(Effect::Choose { channel, method });
            }
            None => {
                let failure = failure.unwrap_or(AttemptFailure::ChannelDeclined);
                self.order.last_failure = Some(failure);
                if let Some(attempt) = self.order.attempts.iter_mut().find(|attempt| attempt.ordinal == ordinal) {
                    attempt.failure = Some(failure);
                }
                if self.order.attempts_used_up() {
                    self.fail(OrderFailure::AttemptsUsedUp);
                } else {
                    self.order.state = State::Created;
                    self.writes.push(Write::WipeNextAction);
                    self.webhook(WebhookKind::OrderAttemptFailed);
                }
            }
        }
    }

    pub(super) fn fail(&mut self, failure: OrderFailure) {
        self.order.failure = Some(failure);
        self.finish_as(State::Failed);
        self.webhook(WebhookKind::OrderFailed);
    }

    pub(super) fn finish_as(&mut self, state: State) {
        assert!(!self.order.state.is_final(), "a final state never changes");
        self.order.state = state;
        self.order.finished_at = Some(self.at);
        self.order.watched_from = (self.now < self.at).then_some(self.now);
        self.order.wish = None;
        self.writes.push(Write::WipeNextAction);
    }
}
