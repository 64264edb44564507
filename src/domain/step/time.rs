//! What time alone brings: queries, closes, refunds and looks that have come due.

use super::{Asking, Draft};
use crate::domain::event::Effect;
use crate::domain::order::{AttemptState, CloseStage, State, Wish};
use crate::domain::retry;

impl Draft {
    pub(super) fn propose_overdue(&mut self, asking: Asking) {
        let (now, book) = (self.now, self.order.rulebook());
        for attempt in &self.order.attempts {
            let ordinal = attempt.ordinal;
            let open = attempt.is_open().then_some((attempt.queries(book), attempt.paced_from));
            let claimed = attempt.claimed_at.map(|since| (book.queries(attempt.channel()), since));
            let has_passed = |(schedule, since)| now.since_ms(since) >= retry::gap_ms(schedule, 0);
            match (asking, attempt.state) {
                (Asking::Due, _) if !open.into_iter().chain(claimed).any(has_passed) => {}
                (Asking::Everything, _) if open.is_none() && claimed.is_none() => {}
                (Asking::Due, AttemptState::Closing)
                    if attempt.can_be_closed(book)
                        && attempt.close != CloseStage::Answered
                        && !attempt.needs_asking(now, book) =>
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
            if self.order.watch_since(attempt).is_some_and(|since| since <= now) {
                self.effects.push(Effect::Query { ordinal: attempt.ordinal });
            }
        }
        if let (State::Created, Some(Wish::Switch { channel, method })) = (self.order.state, self.order.wish) {
            self.effects.push(Effect::Choose { channel, method });
        }
    }
}
