//! Model gateways, one for every channel account, each in its channel's own states (`gateways/NAME.rs`). They keep the
//! truth: which money was taken and which was given back.
//!
//! What a gateway says is put into the domain's words here, by the table of what each channel makes certain; how long a
//! channel may still change its mind is written down once more in the models, so that a rule that was weakened shows.

mod alipay;
mod refund;
mod simpay;
mod stripe;
mod unionpay;
mod wechat;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use tongbao::domain::channel::{Channel, Method};
use tongbao::domain::dated::Dated;
use tongbao::domain::event::{CloseAnswer, Fault, Finding, RefundOutcome, SendOutcome};
use tongbao::domain::id::{Account, AttemptNumber};
use tongbao::domain::time::Instant;

use crate::sights::{self, Sight};
pub use refund::Luck;
use refund::Refund;

/// How long a replica of a gateway may not know yet what was just made.
const LAG_MS: i64 = 2_000;
/// What is taken so shortly before its end is taken in the last moment.
const LAST_MOMENT_MS: i64 = 1_500;

/// A request as it travels: everything that a gateway needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Submit(Terms),
    Query,
    Close,
    Refund(RefundRequest),
    QueryRefund { refund_number: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRequest {
    /// Its place among the refunds of its order, which no true gateway knows.
    pub refund: u16,
    /// By a platform; else it is of suspense.
    pub is_asked_for: bool,
    pub refund_number: String,
    pub amount_minor: i64,
    pub captured_minor: i64,
}

/// What is frozen with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub amount_minor: i64,
    pub expires_at: Instant,
    pub method: Method,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// With the code that is then shown to the payer.
    Submit(SendOutcome, u32),
    Query(Finding),
    Close(CloseAnswer),
    Refund(RefundOutcome),
}

/// What a payer was shown: of which attempt, and which of the codes that were made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub number: AttemptNumber,
    pub code: u32,
}

/// Whose attempt it is.
pub type Whose<'a> = (AttemptNumber, &'a Account);

/// How an answer may deviate from the plain one without being wrong: a replica lags behind, work is still under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Plain,
    Other,
}

/// What a create call comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Submitted {
    Taken {
        code: u32,
    },
    /// The answer itself tells of the money.
    Money,
    Refused(&'static str),
    Unclear(&'static str),
}

/// What a query comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Money,
    Finding(Finding),
}

/// One attempt in the states of its channel. The money itself lies with the [`Payment`].
trait Trade: Debug {
    /// The create call, for the first time or once more.
    fn submit(&mut self, now: Instant) -> Submitted;
    fn query(&mut self, now: Instant, mood: Mood) -> Told;
    fn close(&mut self, now: Instant, mood: Mood) -> CloseAnswer;
    /// It is ended for good, by the channel's own people.
    fn end(&mut self);
    /// The payer opens what was shown, be it for the first time or once more.
    fn open(&mut self, now: Instant);
    /// The payer agrees to pay by what was shown; whether money is now on its way.
    fn agree(&mut self, code: u32, now: Instant) -> bool;
    /// The money on its way is refused by the payer's bank.
    fn decline(&mut self, mood: Mood);
    /// Whether money that arrives now is taken.
    fn takes(&self, now: Instant) -> bool;
    /// Whether money may be taken, now or later.
    fn may_take(&self, now: Instant) -> bool;
    fn paid(&mut self, now: Instant);
}

/// Whether the gateway keeps its word about this payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Honesty {
    Honest,
    /// It takes the money although it said that it never would.
    Lies,
}

#[derive(Debug)]
pub struct Payment {
    pub account: Account,
    /// None where the number was ended before it was ever created.
    pub terms: Option<Terms>,
    pub honesty: Honesty,
    pub capture: Option<Capture>,
    /// The channel's own name of it, where it is told before any money moves.
    name: Option<Box<str>>,
    trade: Box<dyn Trade>,
    refunds: BTreeMap<String, Refund>,
    /// The refunds whose numbers were refused and are taken no more, one for each number.
    refunds_refused: Vec<u16>,
    /// The refunds that were ended here for good.
    refunds_stopped: BTreeSet<u16>,
    /// What becomes of the next one.
    next_refund: Luck,
    /// What happened before money was taken.
    preludes: Vec<Sight>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    pub reference: String,
    pub amount_minor: i64,
}

#[derive(Debug, Default)]
pub struct Gateways {
    payments: BTreeMap<AttemptNumber, Payment>,
    references: BTreeMap<Account, u32>,
    /// Stripe keeps the answer of the first run of a create and repeats it, an error included.
    failures: BTreeSet<AttemptNumber>,
}

/// Whether the payer's browser carries the request, so that no call of ours makes the trade.
pub fn is_carried(channel: Channel, method: Method) -> bool {
    match channel {
        Channel::Unionpay => true,
        Channel::Alipay => match method {
            Method::Page | Method::Wap => true,
            Method::Qr | Method::Native | Method::Jsapi | Method::H5 | Method::App | Method::Card => false,
        },
        Channel::Simpay | Channel::Wechat | Channel::Stripe => false,
    }
}

fn begin(channel: Channel, expires_at: Instant, now: Instant) -> Box<dyn Trade> {
    match channel {
        Channel::Simpay => Box::new(simpay::Payment::new(expires_at, now)),
        Channel::Wechat => Box::new(wechat::Order::new(expires_at, now)),
        Channel::Alipay => Box::new(alipay::Trade::new(expires_at)),
        Channel::Unionpay => Box::new(unionpay::Transaction::new(expires_at)),
        Channel::Stripe => Box::new(stripe::Intent::new(now)),
    }
}

fn unclear(why: &str) -> CloseAnswer {
    CloseAnswer::Unknown { why: why.into() }
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
        self.payments.get(&number).is_some_and(|payment| payment.capture.is_none() && payment.trade.may_take(now))
    }

    /// Answers a request.
    pub fn serve(&mut self, whose: Whose<'_>, request: &Request, now: Instant, mood: Mood) -> Reply {
        let (number, account) = whose;
        if let Some(payment) = self.payments.get(&number) {
            assert_eq!(&payment.account, account, "an attempt stays at its account");
        }
        match request {
            Request::Submit(terms) => self.submit(whose, *terms, now),
            Request::Query => Reply::Query(self.query(number, now, mood)),
            Request::Close => Reply::Close(self.close(whose, now, mood)),
            Request::Refund(asked) => Reply::Refund(self.refund(number, asked, now, mood)),
            Request::QueryRefund { refund_number } => {
                Reply::Refund(self.query_refund(number, refund_number, now, mood))
            }
        }
    }

    fn submit(&mut self, whose: Whose<'_>, terms: Terms, now: Instant) -> Reply {
        let (number, account) = whose;
        if self.failures.contains(&number) {
            sights::note(Sight::FailureRepeated);
            return Reply::Submit(SendOutcome::Unknown { why: "the first answer again".into() }, 0);
        }
        if let Some(payment) = self.payments.get_mut(&number) {
            let is_same = payment.terms.is_none_or(|known| known == terms);
            assert!(is_same, "a resend carries the frozen fields of the first send");
            let submitted = payment.trade.submit(now);
            return payment.submitted(submitted);
        }
        let mut payment = self.payment_of(account, terms, now);
        let submitted = payment.trade.submit(now);
        let reply = payment.submitted(submitted);
        if let Submitted::Taken { .. } = submitted {
            self.payments.insert(number, payment);
        }
        reply
    }

    fn payment_of(&mut self, account: &Account, terms: Terms, now: Instant) -> Payment {
        Payment {
            account: account.clone(),
            terms: Some(terms),
            honesty: Honesty::Honest,
            capture: None,
            name: (account.channel() == Channel::Stripe).then(|| self.reference(account).into()),
            trade: begin(account.channel(), terms.expires_at, now),
            refunds: BTreeMap::new(),
            refunds_refused: Vec::new(),
            refunds_stopped: BTreeSet::new(),
            next_refund: Luck::Good,
            preludes: Vec::new(),
        }
    }

    /// Two accounts give the same references: only both together name a capture.
    fn reference(&mut self, account: &Account) -> String {
        let count = self.references.entry(account.clone()).or_default();
        *count += 1;
        format!("R{count}")
    }

    /// The first run of this create failed, and its answer is kept.
    pub fn keep_failure(&mut self, number: AttemptNumber, channel: Channel) {
        if channel == Channel::Stripe && !self.payments.contains_key(&number) {
            self.failures.insert(number);
        }
    }

    /// From here on a browser may bring the form at any time.
    pub fn hand_out(&mut self, (number, account): Whose<'_>, terms: Terms, now: Instant) {
        if !self.payments.contains_key(&number) {
            let payment = self.payment_of(account, terms, now);
            self.payments.insert(number, payment);
        }
    }

    fn query(&mut self, number: AttemptNumber, now: Instant, mood: Mood) -> Finding {
        let Some(payment) = self.payments.get_mut(&number) else { return Finding::NotExist };
        match (payment.trade.query(now, mood), &payment.capture) {
            (Told::Finding(finding), _) => {
                if finding == Finding::NotExist {
                    payment.preludes.push(Sight::PaidAfterNotExist);
                }
                finding
            }
            (Told::Money, Some(capture)) => {
                let reference = capture.reference.as_str().into();
                Finding::Paid { reference, amount_minor: capture.amount_minor, dated: Dated::NOT_TOLD }
            }
            (Told::Money, None) => unreachable!("what is paid has a capture"),
        }
    }

    fn close(&mut self, whose: Whose<'_>, now: Instant, mood: Mood) -> CloseAnswer {
        let (number, account) = whose;
        match (self.payments.get_mut(&number), account.channel()) {
            (Some(payment), _) => payment.trade.close(now, mood),
            (None, Channel::Simpay) => {
                self.foreclose(number, account, now);
                CloseAnswer::Closed
            }
            (None, Channel::Alipay | Channel::Stripe) => CloseAnswer::NotExist,
            (None, Channel::Wechat) => unclear("ORDER_NOT_EXIST"),
            (None, Channel::Unionpay) => unreachable!("UnionPay has no such call"),
        }
    }

    /// Has a number ended for good, even one that was never created.
    pub fn foreclose(&mut self, number: AttemptNumber, account: &Account, now: Instant) {
        let payment = self.payments.entry(number).or_insert_with(|| Payment {
            account: account.clone(),
            terms: None,
            honesty: Honesty::Honest,
            capture: None,
            name: None,
            trade: begin(account.channel(), now, now),
            refunds: BTreeMap::new(),
            refunds_refused: Vec::new(),
            refunds_stopped: BTreeSet::new(),
            next_refund: Luck::Good,
            preludes: Vec::new(),
        });
        if payment.capture.is_none() {
            payment.trade.end();
        }
    }

    /// The payer's browser brings what it was given, in time or late, once or again.
    pub fn open(&mut self, number: AttemptNumber, now: Instant) {
        if let Some(payment) = self.payments.get_mut(&number) {
            payment.trade.open(now);
        }
    }

    /// The payer opens what was shown and agrees; whether money is now on its way.
    pub fn agree(&mut self, shown: Shown, now: Instant) -> bool {
        let Some(payment) = self.payments.get_mut(&shown.number) else { return false };
        payment.trade.open(now);
        payment.capture.is_none() && payment.trade.agree(shown.code, now)
    }

    pub fn decline(&mut self, number: AttemptNumber, mood: Mood) {
        if let Some(payment) = self.payments.get_mut(&number) {
            payment.trade.decline(mood);
            payment.preludes.push(Sight::PaidAfterDecline);
        }
    }

    /// Takes the money that is on its way, if that is still possible.
    pub fn take(&mut self, number: AttemptNumber, amount_minor: i64, now: Instant) -> Option<Capture> {
        let payment = self.payments.get(&number)?;
        let lies = payment.honesty == Honesty::Lies;
        if payment.capture.is_some() || !(lies || payment.trade.takes(now)) {
            return None;
        }
        if !lies && !payment.trade.takes(now.plus_ms(LAST_MOMENT_MS)) {
            sights::note(Sight::TakenInTheLastMoment);
        }
        let (account, name) = (payment.account.clone(), payment.name.clone());
        let reference = name.map_or_else(|| self.reference(&account), String::from);
        let payment = self.payments.get_mut(&number)?;
        let capture = Capture { reference, amount_minor };
        payment.trade.paid(now);
        payment.preludes.drain(..).for_each(sights::note);
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
    fn submitted(&self, submitted: Submitted) -> Reply {
        match (submitted, &self.capture) {
            (Submitted::Taken { code }, _) => {
                Reply::Submit(SendOutcome::Accepted { reference: self.name.clone() }, code)
            }
            (Submitted::Money, Some(capture)) => {
                let reference = capture.reference.as_str().into();
                let (amount_minor, dated) = (capture.amount_minor, Dated::NOT_TOLD);
                Reply::Submit(SendOutcome::Paid { reference, amount_minor, dated }, 0)
            }
            (Submitted::Money, None) => unreachable!("what is paid has a capture"),
            (Submitted::Refused(code), _) => {
                Reply::Submit(SendOutcome::Rejected { fault: Fault::Payment, code: code.into() }, 0)
            }
            (Submitted::Unclear(why), _) => Reply::Submit(SendOutcome::Unknown { why: why.into() }, 0),
        }
    }

    /// Taken minus given back.
    pub fn net_minor(&self) -> i64 {
        self.capture.as_ref().map_or(0, |capture| capture.amount_minor) - self.refunded_minor()
    }
}
