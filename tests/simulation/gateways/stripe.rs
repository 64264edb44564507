//! Stripe: a create under the same key is the same intent, a decline leaves the intent open, a cancel is certain, and
//! nothing ends by itself.

use tongbao::domain::event::{CloseAnswer, Finding};
use tongbao::domain::time::Instant;

use super::{LAG_MS, Mood, Submitted, Told, Trade, unclear};
use crate::world::DAY;

/// A key may be forgotten after so long; the same create then makes a second intent.
const KEY_LIVES_MS: i64 = DAY;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RequiresPaymentMethod,
    Processing,
    Canceled,
    Succeeded,
}

#[derive(Debug)]
pub struct Intent {
    made_at: Instant,
    state: State,
}

impl Intent {
    pub fn new(now: Instant) -> Self {
        Intent { made_at: now, state: State::RequiresPaymentMethod }
    }
}

impl Trade for Intent {
    /// Under a known key the first answer comes again, whatever has become of the intent.
    fn submit(&mut self, now: Instant) -> Submitted {
        let is_known = now.since_ms(self.made_at) < KEY_LIVES_MS;
        assert!(is_known, "a create is repeated under a key that is forgotten: there are two intents now");
        Submitted::Taken { code: 0 }
    }

    fn query(&mut self, now: Instant, mood: Mood) -> Told {
        let is_new = now.since_ms(self.made_at) < LAG_MS;
        Told::Finding(match self.state {
            State::Succeeded => return Told::Money,
            State::RequiresPaymentMethod if is_new && mood == Mood::Other => Finding::NotExist,
            State::RequiresPaymentMethod | State::Processing => Finding::Pending,
            State::Canceled => Finding::Closed,
        })
    }

    fn close(&mut self, _now: Instant, mood: Mood) -> CloseAnswer {
        match (self.state, mood) {
            (State::Processing, Mood::Plain) => unclear("payment_intent_unexpected_state"),
            (State::RequiresPaymentMethod | State::Canceled, _) | (State::Processing, Mood::Other) => {
                self.state = State::Canceled;
                CloseAnswer::Closed
            }
            (State::Succeeded, _) => CloseAnswer::AlreadyPaid,
        }
    }

    fn end(&mut self) {
        self.state = State::Canceled;
    }

    fn open(&mut self, _now: Instant) {}

    fn agree(&mut self, _code: u32, _now: Instant) -> bool {
        let agrees = self.state == State::RequiresPaymentMethod;
        if agrees {
            self.state = State::Processing;
        }
        agrees
    }

    fn decline(&mut self, _mood: Mood) {
        if self.state == State::Processing {
            self.state = State::RequiresPaymentMethod;
        }
    }

    fn takes(&self, _now: Instant) -> bool {
        self.state == State::Processing
    }

    fn may_take(&self, _now: Instant) -> bool {
        match self.state {
            State::RequiresPaymentMethod | State::Processing => true,
            State::Canceled | State::Succeeded => false,
        }
    }

    fn paid(&mut self, _now: Instant) {
        self.state = State::Succeeded;
    }
}
