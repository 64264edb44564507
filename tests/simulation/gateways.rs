//! Model gateways, one for every channel account, by the channel's own rules. They keep the truth: which money was taken
//! and which was given back.

use std::collections::BTreeMap;

use tongbao::domain::channel::{Channel, Closing, Lapse};
use tongbao::domain::event::{CloseAnswer, Fault, Finding, RefundOutcome, SendOutcome};
use tongbao::domain::id::{Account, AttemptNumber};
use tongbao::domain::time::Instant;

/// A request as it travels: everything that a gateway needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Submit { amount_minor: i64, expires_at: Instant },
    Query,
    Close,
    Refund { refund_number: String, amount_minor: i64 },
    QueryRefund { refund_number: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Submit(SendOutcome),
    Query(Finding),
    Close(CloseAnswer),
    Refund(RefundOutcome),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Closed or asked for before it was ever created.
    Foreclosed,
    Waiting,
    /// The close was accepted and is being worked on: until then the payer may still be faster.
    Closing {
        until: Instant,
    },
    Closed,
    Declined,
    Paid,
}

/// Whether the gateway keeps its word about this payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Honesty {
    Honest,
    /// It takes the money although it said that it never would.
    Lies,
}

#[derive(Debug, Clone)]
pub struct Payment {
    pub channel: Channel,
    pub account: Account,
    pub asked_minor: i64,
    pub expires_at: Instant,
    pub created_at: Instant,
    pub state: State,
    pub honesty: Honesty,
    /// The payer has agreed and money is on its way.
    pub agreed: bool,
    /// Alipay's trades exist only once the payer has opened them.
    pub opened: bool,
    pub capture: Option<Capture>,
    pub refunds: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    pub reference: String,
    pub amount_minor: i64,
}

/// How a query may deviate from the plain truth without being wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Plain,
    /// A replica lags behind, or an expired payment is reported closed early.
    Other,
}

#[derive(Debug, Default)]
pub struct Gateways {
    payments: BTreeMap<AttemptNumber, Payment>,
    references: BTreeMap<(Channel, Account), u32>,
}

impl Gateways {
    pub fn payment(&self, number: AttemptNumber) -> Option<&Payment> {
        self.payments.get(&number)
    }

    pub fn payments(&self) -> impl Iterator<Item = (&AttemptNumber, &Payment)> {
        self.payments.iter()
    }

    /// Whether this attempt could still take money, if the gateway keeps its word.
    pub fn may_capture(&self, number: AttemptNumber, now: Instant) -> bool {
        self.payments.get(&number).is_some_and(|payment| payment.may_be_captured(now))
    }

    /// Answers a request.
    pub fn serve(
        &mut self,
        (number, channel, account): (AttemptNumber, Channel, &Account),
        request: &Request,
        now: Instant,
        mood: Mood,
    ) -> Reply {
        if let Some(payment) = self.payments.get_mut(&number) {
            assert_eq!((payment.channel, &payment.account), (channel, account), "an attempt stays at its account");
            payment.grow_old(now);
        }
        match request {
            Request::Submit { amount_minor, expires_at } => {
                Reply::Submit(self.submit((number, channel, account), (*amount_minor, *expires_at), now))
            }
            Request::Query => Reply::Query(self.query(number, now, mood)),
            Request::Close => Reply::Close(self.close((number, channel, account), now, mood)),
            Request::Refund { refund_number, amount_minor } => {
                Reply::Refund(self.refund(number, refund_number, *amount_minor))
            }
            Request::QueryRefund { refund_number } => {
                let done =
                    self.payments.get(&number).is_some_and(|payment| payment.refunds.contains_key(refund_number));
                Reply::Refund(if done { RefundOutcome::Done } else { RefundOutcome::NotExist })
            }
        }
    }

    fn submit(
        &mut self,
        (number, channel, account): (AttemptNumber, Channel, &Account),
        (asked_minor, expires_at): (i64, Instant),
        now: Instant,
    ) -> SendOutcome {
        let closed = || SendOutcome::Rejected { fault: Fault::Payment, code: "payment_closed".into() };
        if let Some(payment) = self.payments.get(&number) {
            let known = payment.state == State::Foreclosed
                || (payment.asked_minor, payment.expires_at) == (asked_minor, expires_at);
            assert!(known, "a resend carries the frozen fields of the first send");
            return match (payment.state, &payment.capture) {
                (State::Foreclosed | State::Closed | State::Declined, _) => closed(),
                (State::Waiting | State::Closing { .. }, _) => SendOutcome::Accepted { reference: None },
                (State::Paid, Some(capture)) if channel == Channel::Simpay => SendOutcome::Paid {
                    reference: capture.reference.as_str().into(),
                    amount_minor: capture.amount_minor,
                },
                (State::Paid, _) => SendOutcome::Unknown { why: "already paid".into() },
            };
        }
        if now >= expires_at {
            return SendOutcome::Rejected { fault: Fault::Payment, code: "expired".into() };
        }
        self.payments.insert(
            number,
            Payment {
                channel,
                account: account.clone(),
                asked_minor,
                expires_at,
                created_at: now,
                state: State::Waiting,
                honesty: Honesty::Honest,
                agreed: false,
                opened: channel != Channel::Alipay,
                capture: None,
                refunds: BTreeMap::new(),
            },
        );
        SendOutcome::Accepted { reference: None }
    }

    fn query(&mut self, number: AttemptNumber, now: Instant, mood: Mood) -> Finding {
        let Some(payment) = self.payments.get_mut(&number) else { return Finding::NotExist };
        let just_created = now.since_ms(payment.created_at) < 2_000;
        match (payment.state, &payment.capture) {
            (State::Paid, Some(capture)) => {
                Finding::Paid { reference: capture.reference.as_str().into(), amount_minor: capture.amount_minor }
            }
            (State::Paid, None) => unreachable!("what is paid has a capture"),
            (State::Waiting | State::Closing { .. }, _) if !payment.opened => Finding::NotExist,
            (State::Waiting, _) if just_created && mood == Mood::Other => Finding::NotExist,
            (State::Waiting | State::Closing { .. }, _) => payment.waiting(now, mood),
            (State::Foreclosed | State::Closed, _) => Finding::Closed,
            (State::Declined, _) => Finding::Declined,
        }
    }

    fn close(
        &mut self,
        (number, channel, account): (AttemptNumber, Channel, &Account),
        now: Instant,
        mood: Mood,
    ) -> CloseAnswer {
        let unknown = || CloseAnswer::Unknown { why: "not_exist".into() };
        let Some(payment) = self.payments.get_mut(&number) else {
            return match channel {
                Channel::Simpay => {
                    self.foreclose(number, channel, account, now);
                    CloseAnswer::Closed
                }
                Channel::Wechat | Channel::Alipay | Channel::Unionpay | Channel::Stripe => unknown(),
            };
        };
        match (payment.state, channel.rules().closing) {
            (_, Closing::Impossible) => unreachable!("a channel without a close is never asked to close"),
            (State::Waiting | State::Closing { .. }, _) if !payment.opened => unknown(),
            (State::Waiting, Closing::Confirmed) if mood == Mood::Other => {
                payment.state = State::Closing { until: now.plus_ms(3_000) };
                CloseAnswer::Closed
            }
            (State::Waiting, Closing::Certain | Closing::Confirmed) => {
                payment.state = State::Closed;
                CloseAnswer::Closed
            }
            (
                State::Closing { .. } | State::Closed | State::Declined | State::Foreclosed,
                Closing::Certain | Closing::Confirmed,
            ) => CloseAnswer::Closed,
            (State::Paid, Closing::Certain | Closing::Confirmed) => CloseAnswer::AlreadyPaid,
        }
    }

    /// Remembers a number so that it can never be created any more.
    pub fn foreclose(&mut self, number: AttemptNumber, channel: Channel, account: &Account, now: Instant) {
        let payment = self.payments.entry(number).or_insert_with(|| Payment {
            channel,
            account: account.clone(),
            asked_minor: 0,
            expires_at: now,
            created_at: now,
            state: State::Foreclosed,
            honesty: Honesty::Honest,
            agreed: false,
            opened: true,
            capture: None,
            refunds: BTreeMap::new(),
        });
        if payment.capture.is_none() && payment.state != State::Foreclosed {
            payment.state = State::Closed;
        }
    }

    fn refund(&mut self, number: AttemptNumber, refund_number: &str, amount_minor: i64) -> RefundOutcome {
        let rejected = |code: &str| RefundOutcome::Rejected { code: code.into() };
        let Some(payment) = self.payments.get_mut(&number) else { return RefundOutcome::NotExist };
        if let Some(refunded) = payment.refunds.get(refund_number) {
            assert_eq!(*refunded, amount_minor, "a refund that is repeated is the same refund");
            return RefundOutcome::Done;
        }
        let captured = payment.capture.as_ref().map_or(0, |capture| capture.amount_minor);
        if amount_minor > captured - payment.refunds.values().sum::<i64>() {
            return rejected("refund_exceeds");
        }
        payment.refunds.insert(refund_number.to_owned(), amount_minor);
        RefundOutcome::Done
    }

    /// The payer opens the payment and agrees; whether money is now on its way.
    pub fn agree(&mut self, number: AttemptNumber, now: Instant) -> bool {
        let Some(payment) = self.payments.get_mut(&number) else { return false };
        payment.grow_old(now);
        match payment.state {
            State::Waiting | State::Closing { .. } if !payment.agreed && payment.takes_payers(now) => {
                payment.opened = true;
                payment.agreed = true;
                true
            }
            State::Foreclosed
            | State::Waiting
            | State::Closing { .. }
            | State::Closed
            | State::Declined
            | State::Paid => false,
        }
    }

    /// The payer's bank says no: final at some channels, nothing at all at others.
    pub fn decline(&mut self, number: AttemptNumber) {
        let Some(payment) = self.payments.get_mut(&number) else { return };
        payment.agreed = false;
        match (payment.state, payment.channel) {
            (State::Waiting | State::Closing { .. }, Channel::Simpay | Channel::Wechat) => {
                payment.state = State::Declined;
            }
            (_, Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay | Channel::Stripe) => {}
        }
    }

    /// Takes the money that is on its way, if that is still possible.
    pub fn take(&mut self, number: AttemptNumber, amount_minor: i64, now: Instant) -> Option<Capture> {
        let payment = self.payments.get_mut(&number)?;
        payment.grow_old(now);
        let lies = payment.honesty == Honesty::Lies;
        if payment.capture.is_some() || !(lies || (payment.agreed && payment.may_be_captured(now))) {
            return None;
        }
        let count = self.references.entry((payment.channel, payment.account.clone())).or_default();
        *count += 1;
        // Two accounts give the same references: only both together name a capture.
        let capture = Capture { reference: format!("R{count}"), amount_minor };
        payment.state = State::Paid;
        payment.capture = Some(capture.clone());
        Some(capture)
    }

    /// Lets this payment be captured although it is closed.
    pub fn begin_to_lie(&mut self, number: AttemptNumber) {
        if let Some(payment) = self.payments.get_mut(&number) {
            payment.honesty = Honesty::Lies;
        }
    }
}

impl Payment {
    /// Taken minus given back.
    pub fn net_minor(&self) -> i64 {
        self.capture.as_ref().map_or(0, |capture| capture.amount_minor) - self.refunds.values().sum::<i64>()
    }

    /// Until when an agreed payment may still be captured.
    fn last_capture_at(&self) -> Instant {
        let rules = self.channel.rules();
        match rules.lapse {
            Lapse::Never if self.channel == Channel::Stripe => Instant(i64::MAX),
            Lapse::Never | Lapse::NotExist | Lapse::NotExistOrPending => self.expires_at.plus_ms(rules.grace_ms),
        }
    }

    fn may_be_captured(&self, now: Instant) -> bool {
        match self.state {
            State::Waiting => now <= self.last_capture_at() && (self.agreed || self.takes_payers(now)),
            State::Closing { until } => now < until && now <= self.last_capture_at(),
            State::Foreclosed | State::Closed | State::Declined | State::Paid => false,
        }
    }

    /// Whether a payer may still begin to pay.
    fn takes_payers(&self, now: Instant) -> bool {
        self.channel == Channel::Stripe || now < self.expires_at
    }

    /// What time alone does.
    fn grow_old(&mut self, now: Instant) {
        match (self.state, self.channel) {
            (State::Closing { until }, _) if now >= until => self.state = State::Closed,
            (State::Waiting, Channel::Simpay) if now > self.expires_at => self.state = State::Closed,
            (State::Waiting, Channel::Alipay) if self.opened && now > self.last_capture_at() => {
                self.state = State::Closed;
            }
            (
                State::Foreclosed
                | State::Waiting
                | State::Closing { .. }
                | State::Closed
                | State::Declined
                | State::Paid,
                Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay | Channel::Stripe,
            ) => {}
        }
    }

    /// What a query says of a payment that waits for its payer.
    fn waiting(&mut self, now: Instant, mood: Mood) -> Finding {
        let over = !self.may_be_captured(now);
        match (self.channel, mood) {
            (Channel::Wechat, Mood::Other) if over => {
                self.state = State::Closed;
                Finding::Closed
            }
            (Channel::Unionpay, Mood::Other) if over => Finding::NotExist,
            (
                Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay | Channel::Stripe,
                Mood::Plain | Mood::Other,
            ) => Finding::Pending,
        }
    }
}
