//! UnionPay: the payer's browser brings the form, in time or late, once or again; nothing can be closed; while the
//! issuer is at work a query answers 03 to 06, which says nothing, however long that takes; a refusal of the issuer is
//! not the end before `payTimeout`; and the callback may be ahead of what a query knows, or never come true.

use tongbao::domain::event::{CloseAnswer, Finding};
use tongbao::domain::time::Instant;

use super::{Mood, Submitted, Told, Trade};
use crate::sights::{self, Sight};
use crate::world::{MINUTE, SECOND};

/// How long after `payTimeout` a query may still say of money on its way that there is none.
const SETTLES_MS: i64 = 10 * MINUTE;
/// How long a query may not know yet what was just taken.
const BOOKING_TAKES_MS: i64 = 30 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The form is out; nothing is known here: 34.
    AtBrowser,
    Posted,
    /// 03 to 06.
    Issuing,
    /// A failure code of the issuer.
    Refused,
    Paid {
        at: Instant,
    },
    Ended,
}

#[derive(Debug)]
pub struct Transaction {
    /// `payTimeout`.
    expires_at: Instant,
    state: State,
}

impl Transaction {
    pub fn new(expires_at: Instant) -> Self {
        Transaction { expires_at, state: State::AtBrowser }
    }
}

impl Trade for Transaction {
    fn submit(&mut self, _now: Instant) -> Submitted {
        unreachable!("only a browser brings it")
    }

    fn query(&mut self, now: Instant, mood: Mood) -> Told {
        let in_process = || Finding::Unknown { why: "05".into() };
        let may_deny = now <= self.expires_at.plus_ms(SETTLES_MS);
        Told::Finding(match (self.state, mood) {
            (State::Paid { at }, Mood::Other) if now.since_ms(at) < BOOKING_TAKES_MS => in_process(),
            (State::Paid { .. }, Mood::Plain | Mood::Other) => return Told::Money,
            (State::Issuing, Mood::Other) if may_deny => Finding::NotExist,
            (State::Issuing, Mood::Plain | Mood::Other) => {
                if !may_deny {
                    sights::note(Sight::IssuerSlow);
                }
                in_process()
            }
            // A failure code: time makes it certain, nothing else does.
            (State::Refused, _) | (State::Posted, Mood::Other) => Finding::Pending,
            (State::AtBrowser | State::Ended, _) | (State::Posted, Mood::Plain) => Finding::NotExist,
        })
    }

    fn close(&mut self, _now: Instant, _mood: Mood) -> CloseAnswer {
        unreachable!("UnionPay has no such call")
    }

    fn end(&mut self) {
        self.state = State::Ended;
    }

    fn open(&mut self, now: Instant) {
        if self.state == State::AtBrowser && now < self.expires_at {
            self.state = State::Posted;
        }
    }

    fn agree(&mut self, _code: u32, now: Instant) -> bool {
        match self.state {
            State::Posted | State::Refused if now < self.expires_at => {
                self.state = State::Issuing;
                true
            }
            State::AtBrowser | State::Posted | State::Issuing | State::Refused | State::Paid { .. } | State::Ended => {
                false
            }
        }
    }

    fn decline(&mut self, _mood: Mood) {
        if self.state == State::Issuing {
            self.state = State::Refused;
        }
    }

    /// What the issuer has in hand is taken whenever it comes: 42 stands for that after `payTimeout`.
    fn takes(&self, _now: Instant) -> bool {
        self.state == State::Issuing
    }

    fn may_take(&self, now: Instant) -> bool {
        match self.state {
            State::AtBrowser | State::Posted | State::Refused => now < self.expires_at,
            State::Issuing => true,
            State::Paid { .. } | State::Ended => false,
        }
    }

    fn paid(&mut self, now: Instant) {
        self.state = State::Paid { at: now };
    }
}
