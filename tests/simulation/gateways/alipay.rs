//! Alipay: there is no trade before the payer opened the page or scanned the code, which may be late or twice; what was
//! opened and not paid is closed at its end.

use tongbao::domain::event::{CloseAnswer, Finding};
use tongbao::domain::time::Instant;

use super::{LAG_MS, Mood, Submitted, Told, unclear};
use crate::sights::{self, Sight};
use crate::world::MINUTE;

/// How long after its end a trade may still take money that was on its way.
const SETTLES_MS: i64 = 5 * MINUTE;
const CLOSING_TAKES_MS: i64 = 3_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// TRADE_NOT_EXIST, and yet it may be paid.
    Unopened,
    WaitBuyerPay {
        since: Instant,
    },
    Closing {
        until: Instant,
    },
    TradeClosed,
    TradeSuccess,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payer {
    Away,
    Paying,
}

#[derive(Debug)]
pub struct Trade {
    expires_at: Instant,
    payer: Payer,
    state: State,
}

impl Trade {
    pub fn new(expires_at: Instant) -> Self {
        Trade { expires_at, payer: Payer::Away, state: State::Unopened }
    }

    fn settle(&mut self, now: Instant) {
        let ends_at = self.last_at();
        match self.state {
            State::Closing { until } if now >= until => self.state = State::TradeClosed,
            State::WaitBuyerPay { .. } if now > ends_at => self.state = State::TradeClosed,
            State::Unopened
            | State::WaitBuyerPay { .. }
            | State::Closing { .. }
            | State::TradeClosed
            | State::TradeSuccess => {}
        }
    }

    /// The last moment at which money may be taken, as far as the payer has got.
    fn last_at(&self) -> Instant {
        match self.payer {
            Payer::Away => self.expires_at,
            Payer::Paying => self.expires_at.plus_ms(SETTLES_MS),
        }
    }

    fn is_alive(&self, now: Instant) -> bool {
        match self.state {
            State::Unopened | State::WaitBuyerPay { .. } => true,
            State::Closing { until } => now < until,
            State::TradeClosed | State::TradeSuccess => false,
        }
    }
}

impl super::Trade for Trade {
    /// `precreate`: a code to be scanned.
    fn submit(&mut self, now: Instant) -> Submitted {
        self.settle(now);
        match self.state {
            State::TradeClosed => Submitted::Refused("ACQ.TRADE_HAS_CLOSE"),
            State::TradeSuccess => Submitted::Unclear("ACQ.TRADE_HAS_SUCCESS"),
            State::Unopened | State::WaitBuyerPay { .. } | State::Closing { .. } if now < self.expires_at => {
                Submitted::Taken { code: 0 }
            }
            State::Unopened | State::WaitBuyerPay { .. } | State::Closing { .. } => {
                Submitted::Refused("ACQ.INVALID_PARAMETER")
            }
        }
    }

    fn query(&mut self, now: Instant, mood: Mood) -> Told {
        self.settle(now);
        Told::Finding(match self.state {
            State::TradeSuccess => return Told::Money,
            State::Unopened => Finding::NotExist,
            State::WaitBuyerPay { since } if now.since_ms(since) < LAG_MS && mood == Mood::Other => Finding::NotExist,
            State::WaitBuyerPay { .. } | State::Closing { .. } => Finding::Pending,
            State::TradeClosed => Finding::Closed,
        })
    }

    fn close(&mut self, now: Instant, mood: Mood) -> CloseAnswer {
        self.settle(now);
        match (self.state, mood) {
            (State::Unopened, _) => CloseAnswer::NotExist,
            (State::WaitBuyerPay { .. }, Mood::Plain) => {
                self.state = State::TradeClosed;
                CloseAnswer::Closed
            }
            (State::WaitBuyerPay { .. }, Mood::Other) => {
                self.state = State::Closing { until: now.plus_ms(CLOSING_TAKES_MS) };
                CloseAnswer::Closed
            }
            (State::Closing { .. } | State::TradeClosed | State::TradeSuccess, _) => {
                unclear("ACQ.REASON_TRADE_STATUS_INVALID")
            }
        }
    }

    fn end(&mut self) {
        self.state = State::TradeClosed;
    }

    fn open(&mut self, now: Instant) {
        match self.state {
            State::Unopened if now < self.expires_at => self.state = State::WaitBuyerPay { since: now },
            State::Unopened => sights::note(Sight::BrowserLate),
            State::WaitBuyerPay { .. } | State::Closing { .. } | State::TradeClosed | State::TradeSuccess => {}
        }
    }

    fn agree(&mut self, _code: u32, now: Instant) -> bool {
        self.settle(now);
        let agrees = self.payer == Payer::Away && self.may_take(now) && self.state != State::Unopened;
        if agrees {
            self.payer = Payer::Paying;
        }
        agrees
    }

    /// The trade waits on.
    fn decline(&mut self, _mood: Mood) {
        self.payer = Payer::Away;
    }

    fn takes(&self, now: Instant) -> bool {
        self.payer == Payer::Paying && self.is_alive(now) && now <= self.last_at()
    }

    fn may_take(&self, now: Instant) -> bool {
        self.takes(now) || (self.payer == Payer::Away && self.is_alive(now) && now < self.expires_at)
    }

    fn paid(&mut self, _now: Instant) {
        self.state = State::TradeSuccess;
    }
}
