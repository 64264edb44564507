//! How attempts and orders end.

use super::Draft;
use crate::domain::event::{Effect, WebhookKind, Write};
use crate::domain::note::{AttemptEnd, Note};
use crate::domain::order::{Attempt, AttemptFailure, AttemptState, OrderFailure, State, Wish};
use crate::domain::time::Instant;

impl Draft {
    /// The attempt is certainly dead; what was wished for then comes true.
    pub(super) fn dies(&mut self, ordinal: u8, failure: Option<AttemptFailure>) {
        let (wish, is_final) = (self.order.wish, self.order.state.is_final());
        // Where nothing else was wanted, only its channel can have ended it.
        let failure =
            if wish.is_none() && !is_final { failure.or(Some(AttemptFailure::ChannelDeclined)) } else { failure };
        if let Some(attempt) = self.order.attempts.iter_mut().find(|attempt| attempt.ordinal == ordinal) {
            attempt.state = AttemptState::Dead;
            attempt.failure = failure;
            let (account, end) = (attempt.account.clone(), attempt.end(wish, self.at));
            self.notes.push(Note::AttemptEnded { ordinal, account, end });
        }
        if is_final {
            return;
        }
        match wish {
            Some(Wish::Cancel) => self.fail(OrderFailure::Cancelled),
            Some(Wish::Expiry) => self.fail(OrderFailure::Expired),
            Some(Wish::Switch { channel, method }) => {
                self.reach(State::Created);
                self.writes.push(Write::WipeNextAction);
                self.effects.push(Effect::Choose { channel, method });
            }
            None => {
                self.order.last_failure = failure;
                if self.order.attempts_used_up() {
                    self.fail(OrderFailure::AttemptsUsedUp);
                } else {
                    self.reach(State::Created);
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
        self.reach(state);
        self.order.finished_at = Some(self.at);
        self.order.watched_from = (self.now < self.at).then_some(self.now);
        self.order.wish = None;
        self.writes.push(Write::WipeNextAction);
    }
}

impl Attempt {
    /// By whose doing it is dead since `at`, under the wish that stood then.
    fn end(&self, wish: Option<Wish>, at: Instant) -> AttemptEnd {
        match (self.failure, wish) {
            (Some(AttemptFailure::ChannelDeclined | AttemptFailure::ChannelUnavailable), _) if at < self.expires_at => {
                AttemptEnd::FailedByChannel
            }
            // Whatever the channel says by then: its payer let the time pass.
            (Some(AttemptFailure::ChannelDeclined | AttemptFailure::ChannelUnavailable), _)
            | (None, Some(Wish::Expiry)) => AttemptEnd::RanOut,
            (Some(AttemptFailure::ChannelUnsuitable | AttemptFailure::HeldBack), _) => AttemptEnd::Withheld,
            (Some(AttemptFailure::AmountInsufficient | AttemptFailure::AmountMismatch), _) => AttemptEnd::WrongAmount,
            (None, Some(Wish::Switch { .. })) => AttemptEnd::Switched,
            (None, Some(Wish::Cancel)) => AttemptEnd::Cancelled,
            // Without a wish a certain end has a failure while its order is not final, and no attempt is open in a
            // failed order.
            (None, None) => AttemptEnd::Superseded,
        }
    }
}
