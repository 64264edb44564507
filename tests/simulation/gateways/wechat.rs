//! WeChat Pay: a resend makes a fresh code and the old one dies; a close that was answered may still be worked on; an
//! order that was not paid stays NOTPAY long after its end.

use tongbao::domain::event::{CloseAnswer, Finding};
use tongbao::domain::time::Instant;

use super::{LAG_MS, Mood, Submitted, Told, Trade, unclear};
use crate::sights::{self, Sight};
use crate::world::{HOUR, MINUTE};

/// How long after its end an order may still take money that was on its way.
const SETTLES_MS: i64 = 5 * MINUTE;
/// `time_expire` must lie so far ahead.
const AHEAD_MIN_MS: i64 = MINUTE;
const CODE_LIVES_MS: i64 = 2 * HOUR;
const CLOSING_TAKES_MS: i64 = 3_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    NotPay,
    /// A close was answered and is being worked on: until then the payer may still be faster.
    Closing {
        until: Instant,
    },
    Closed,
    PayError,
    Success,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payer {
    Away,
    /// USERPAYING.
    Paying,
}

#[derive(Debug)]
pub struct Order {
    made_at: Instant,
    expires_at: Instant,
    code: u32,
    code_dies_at: Instant,
    payer: Payer,
    state: State,
}

impl Order {
    pub fn new(expires_at: Instant, now: Instant) -> Self {
        Order { made_at: now, expires_at, code: 0, code_dies_at: now, payer: Payer::Away, state: State::NotPay }
    }

    fn settle(&mut self, now: Instant) {
        if let State::Closing { until } = self.state
            && now >= until
        {
            self.state = State::Closed;
        }
    }

    fn is_alive(&self, now: Instant) -> bool {
        match self.state {
            State::NotPay => true,
            State::Closing { until } => now < until,
            State::Closed | State::PayError | State::Success => false,
        }
    }
}

impl Trade for Order {
    fn submit(&mut self, now: Instant) -> Submitted {
        self.settle(now);
        match self.state {
            State::NotPay if self.expires_at.since_ms(now) < AHEAD_MIN_MS => Submitted::Refused("PARAM_ERROR"),
            State::NotPay => {
                self.code += 1;
                self.code_dies_at = now.plus_ms(CODE_LIVES_MS);
                Submitted::Taken { code: self.code }
            }
            State::Closing { .. } => Submitted::Unclear("SYSTEM_ERROR"),
            State::Closed | State::PayError => Submitted::Refused("ORDER_CLOSED"),
            State::Success => Submitted::Unclear("ORDERPAID"),
        }
    }

    fn query(&mut self, now: Instant, mood: Mood) -> Told {
        self.settle(now);
        let is_new = now.since_ms(self.made_at) < LAG_MS;
        let is_over = !self.may_take(now);
        Told::Finding(match (self.state, mood) {
            (State::Success, _) => return Told::Money,
            (State::NotPay, Mood::Other) if is_new => Finding::NotExist,
            (State::NotPay, Mood::Other) if is_over => {
                self.state = State::Closed;
                Finding::Closed
            }
            (State::NotPay | State::Closing { .. }, Mood::Plain | Mood::Other) => Finding::Pending,
            (State::Closed, _) => Finding::Closed,
            (State::PayError, _) => Finding::Declined,
        })
    }

    fn close(&mut self, now: Instant, mood: Mood) -> CloseAnswer {
        self.settle(now);
        match (self.state, self.payer, mood) {
            (State::NotPay, Payer::Away, Mood::Plain) => {
                self.state = State::Closed;
                CloseAnswer::Closed
            }
            (State::NotPay, Payer::Paying, Mood::Plain) => unclear("TRADE_ERROR"),
            (State::NotPay, Payer::Away | Payer::Paying, Mood::Other) => {
                self.state = State::Closing { until: now.plus_ms(CLOSING_TAKES_MS) };
                CloseAnswer::Closed
            }
            (State::Closing { .. } | State::Closed, _, _) => CloseAnswer::Closed,
            (State::PayError, _, _) => unclear("TRADE_ERROR"),
            (State::Success, _, _) => CloseAnswer::AlreadyPaid,
        }
    }

    fn end(&mut self) {
        self.state = State::Closed;
    }

    fn open(&mut self, _now: Instant) {}

    fn agree(&mut self, code: u32, now: Instant) -> bool {
        self.settle(now);
        let is_payable = code == self.code && now < self.code_dies_at && now < self.expires_at;
        if code != self.code {
            sights::note(Sight::DeadCode);
        }
        let agrees = self.payer == Payer::Away && is_payable && self.is_alive(now);
        if agrees {
            self.payer = Payer::Paying;
        }
        agrees
    }

    /// Mostly the payer may try again.
    fn decline(&mut self, mood: Mood) {
        self.payer = Payer::Away;
        match (self.state, mood) {
            (State::NotPay | State::Closing { .. }, Mood::Other) => self.state = State::PayError,
            (State::NotPay | State::Closing { .. }, Mood::Plain)
            | (State::Closed | State::PayError | State::Success, Mood::Plain | Mood::Other) => {}
        }
    }

    fn takes(&self, now: Instant) -> bool {
        self.payer == Payer::Paying && self.is_alive(now) && now <= self.expires_at.plus_ms(SETTLES_MS)
    }

    fn may_take(&self, now: Instant) -> bool {
        self.takes(now) || (self.payer == Payer::Away && self.is_alive(now) && now < self.expires_at)
    }

    fn paid(&mut self, _now: Instant) {
        if let State::Closing { .. } = self.state {
            sights::note(Sight::PaidWhileClosing);
        }
        self.state = State::Success;
    }
}
