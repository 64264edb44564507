//! simpay: ends its payments itself, and a close is certain.

use tongbao::domain::event::{CloseAnswer, Finding};
use tongbao::domain::time::Instant;

use super::{LAG_MS, Mood, Submitted, Told, Trade};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Agreed,
    Closed,
    Declined,
    Paid,
}

#[derive(Debug)]
pub struct Payment {
    made_at: Instant,
    expires_at: Instant,
    state: State,
}

impl Payment {
    pub fn new(expires_at: Instant, now: Instant) -> Self {
        Payment { made_at: now, expires_at, state: State::Waiting }
    }
}

impl Trade for Payment {
    fn submit(&mut self, now: Instant) -> Submitted {
        match self.state {
            State::Waiting | State::Agreed if now < self.expires_at => Submitted::Taken { code: 0 },
            State::Waiting | State::Agreed => Submitted::Refused("expired"),
            State::Closed | State::Declined => Submitted::Refused("payment_closed"),
            State::Paid => Submitted::Money,
        }
    }

    fn query(&mut self, now: Instant, mood: Mood) -> Told {
        let is_new = now.since_ms(self.made_at) < LAG_MS;
        Told::Finding(match self.state {
            State::Paid => return Told::Money,
            State::Waiting if is_new && mood == Mood::Other => Finding::NotExist,
            State::Waiting | State::Agreed if now <= self.expires_at => Finding::Pending,
            State::Waiting | State::Agreed | State::Closed => {
                self.state = State::Closed;
                Finding::Closed
            }
            State::Declined => Finding::Declined,
        })
    }

    fn close(&mut self, _now: Instant, _mood: Mood) -> CloseAnswer {
        match self.state {
            State::Paid => CloseAnswer::AlreadyPaid,
            State::Declined => CloseAnswer::Closed,
            State::Waiting | State::Agreed | State::Closed => {
                self.state = State::Closed;
                CloseAnswer::Closed
            }
        }
    }

    fn end(&mut self) {
        self.state = State::Closed;
    }

    fn open(&mut self, _now: Instant) {}

    fn agree(&mut self, _code: u32, now: Instant) -> bool {
        let agrees = self.state == State::Waiting && now < self.expires_at;
        if agrees {
            self.state = State::Agreed;
        }
        agrees
    }

    fn decline(&mut self, _mood: Mood) {
        if self.state == State::Agreed {
            self.state = State::Declined;
        }
    }

    fn takes(&self, now: Instant) -> bool {
        self.state == State::Agreed && now <= self.expires_at
    }

    fn may_take(&self, now: Instant) -> bool {
        self.takes(now) || (self.state == State::Waiting && now < self.expires_at)
    }

    fn paid(&mut self, _now: Instant) {
        self.state = State::Paid;
    }
}
