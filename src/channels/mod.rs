//! The far sides: pure building and parsing per channel, and one sender that does the HTTP.
//!
//! Channels do not know each other. What a channel says ends in the domain's words: a send's outcome, a finding, a
//! close answer, a refund outcome, a verified callback.

pub mod alipay;
pub mod bill;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod joined;
#[cfg(any(test, fuzzing))]
mod properties;
#[cfg(test)]
mod reversed;
pub mod sender;
pub mod simpay;
pub mod stripe;
pub mod unionpay;
pub mod wechat;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::Date;

use self::bill::Bill;
use crate::domain::channel::{Method, PayerFact};
use crate::domain::dated::Dated;
use crate::domain::event::{CloseAnswer, Finding, RefundOutcome, RefundWord, SendOutcome};
use crate::domain::id::{Account, AttemptNumber, RefundId};
use crate::domain::money::Currency;
use crate::domain::payer;
use crate::domain::time::Instant;
use crate::domain::view::rfc3339;

/// HTTP's own word for "later" (RFC 6585, section 4).
const TOO_MANY_REQUESTS: u16 = 429;
/// The longest name of a payment or refund that a channel documents: Stripe's ids (docs.stripe.com/upgrades). Alipay's
/// `trade_no` has 64 at most, WeChat Pay's `transaction_id` 32, UnionPay's `queryId` 21.
const NAME_MAX: usize = 255;
const SHOWN_MAX: usize = 2_048;

/// What is fresh with every transmission: nothing in an adapter reads a clock or makes randomness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    pub at: Instant,
    /// 32 of `[0-9A-Za-z]`.
    pub nonce: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
}

/// An HTTP request, ready to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub verb: Verb,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// Headers may hold a key and are not shown; nor is the body.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.verb, self.url)
    }
}

/// An HTTP answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// What the channel's server takes for now.
    pub fn dated(&self) -> Option<Instant> {
        self.header("date").and_then(Instant::parse_http_date)
    }

    /// The earlier of our time and the server's: what is over by both is over.
    pub fn not_after(&self, at: Instant) -> Instant {
        self.dated().map_or(at, |dated| dated.min(at))
    }
}

/// The one value of a header: of two, a signature could mean either.
fn only<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then_some(value.as_str())
}

/// A callback, as it came.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

impl Received<'_> {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// What the channel's server takes for now.
    pub fn dated(&self) -> Option<Instant> {
        self.header("date").and_then(Instant::parse_http_date)
    }

    /// The earlier of our time and the server's: what is over by both is over.
    pub fn not_after(&self, at: Instant) -> Instant {
        self.dated().map_or(at, |dated| dated.min(at))
    }
}

/// What a request tells of who pays, where a method cannot do without it. It is never frozen: it lies in the payers'
/// table alone and is put in with each send, so that a request is repeated byte for byte while that row stands, and not
/// at all once it is erased.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payer {
    /// The payer's name at the channel.
    pub openid: Option<String>,
    /// Where the payer's browser is.
    pub ip: Option<String>,
}

impl Payer {
    /// Of who is stored to pay; nothing where nobody was named, or who was is erased.
    pub fn of(stored: Option<&payer::Payer>) -> Self {
        let told = |fact| stored.and_then(|payer| payer.told(fact));
        Payer { openid: told(PayerFact::Openid), ip: told(PayerFact::Ip) }
    }
}

/// Who pays is not shown.
impl fmt::Debug for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payer")
    }
}

/// What an attempt asks of its channel; frozen, but for the payer, when the attempt is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask<'a> {
    pub number: AttemptNumber,
    pub method: Method,
    pub payable_minor: i64,
    pub currency: Currency,
    pub description: &'a str,
    pub notify_url: String,
    pub return_url: Option<&'a str>,
    pub payer: &'a Payer,
    pub opened_at: Instant,
    pub expires_at: Instant,
}

/// An attempt as its channel may be asked about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    pub number: AttemptNumber,
    pub opened_at: Instant,
    pub expires_at: Instant,
    /// No send of it gets to its channel later than this.
    pub arrives_by: Instant,
    pub payable_minor: i64,
    pub currency: Currency,
    /// The channel's own name of it, once an answer or a capture told it.
    pub reference: Option<Box<str>>,
}

/// What remains to be done by the payer, as the contract has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum NextAction {
    /// A picture for the payer's app to scan.
    QrCode {
        qr_code: String,
        #[serde(serialize_with = "rfc3339")]
        expires_at: Instant,
    },
    /// An address for the payer's browser.
    Redirect {
        url: String,
        #[serde(serialize_with = "rfc3339")]
        expires_at: Instant,
    },
    /// A form for the payer's browser to post (`application/x-www-form-urlencoded`, UTF-8).
    Form {
        url: String,
        fields: BTreeMap<String, String>,
        #[serde(serialize_with = "rfc3339")]
        expires_at: Instant,
    },
    /// What the channel's own software in the payer's browser or app is called with.
    Client {
        parameters: BTreeMap<String, String>,
        #[serde(serialize_with = "rfc3339")]
        expires_at: Instant,
    },
}

/// How an attempt gets to its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submission {
    Call(Outgoing),
    /// The payer's browser carries it there: no call is made, and this is all that is known of it.
    Carried(Submitted),
}

/// What an answer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    Told(T),
    /// The next request is needed to know.
    Ask(Outgoing),
}

/// The answer to a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    pub outcome: SendOutcome,
    pub next_action: Option<NextAction>,
}

/// A money movement that a verified callback tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// As given: it names an attempt of ours, or not.
    pub number: String,
    pub reference: String,
    pub amount_minor: i64,
    pub currency: String,
    #[serde(default, skip_serializing_if = "Dated::is_not_told")]
    pub dated: Dated,
}

/// A refund that a verified callback tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundNotice {
    /// As given: it is a refund's of ours, or not.
    pub number: String,
    /// What is told of it; none where the callback is but a reason to ask.
    pub word: Option<RefundWord>,
}

impl RefundNotice {
    /// None where the number is nothing that may be kept: see [`is_name`].
    pub fn of(number: &str, word: Option<RefundWord>) -> Option<Self> {
        is_name(number).then(|| RefundNotice { number: number.to_owned(), word })
    }
}

impl Notice {
    /// None where a part of it is nothing that may be kept: see [`is_name`] and [`Currency::can_be`].
    pub fn of(number: &str, reference: &str, amount_minor: i64, currency: &str) -> Option<Self> {
        // What no ISO currency is, moves no money whatever its amount.
        let can_be = Currency::parse(currency).map_or(amount_minor > 0, |currency| currency.can_be(amount_minor));
        (can_be && [number, reference, currency].into_iter().all(is_name)).then(|| Notice {
            number: number.to_owned(),
            reference: reference.to_owned(),
            amount_minor,
            currency: currency.to_owned(),
            dated: Dated::NOT_TOLD,
        })
    }

    /// The same, with when the channel says that the money moved.
    #[must_use]
    pub fn dated(self, dated: Dated) -> Self {
        Notice { dated, ..self }
    }
}

/// Whether a foreign text may be kept as the name of something: 1 to 64 bytes without control characters, of which a
/// store could not keep a NUL.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A text as far as so many characters of it go.
fn cut(text: &str, characters_max: usize) -> &str {
    text.char_indices().nth(characters_max).map_or(text, |(end, _)| &text[..end])
}

/// Whether a foreign text may be handed to a payer, as a code, an address or a parameter: 1 to 2,048 visible ASCII
/// characters.
pub fn is_showable(text: &str) -> bool {
    (1..=SHOWN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What a verified callback says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Capture(Notice),
    Refund(RefundNotice),
    /// Nothing that an order would not find out by asking.
    Nothing,
}

/// What the gateway wants to read once the callback is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement {
    /// 200, or 204 without a body.
    pub status: u16,
    pub content_type: &'static str,
    pub body: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackError {
    /// No signature, or one that does not verify.
    Forged,
    /// Its time is too far from ours.
    Stale,
    /// Verified or not, it cannot be read.
    Unreadable,
}

impl CallbackError {
    pub const fn name(self) -> &'static str {
        match self {
            CallbackError::Forged => "forged",
            CallbackError::Stale => "stale",
            CallbackError::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for CallbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A refund as the channel needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundAsk {
    pub refund_number: String,
    /// Where its reason is still to be read: it is kept under it.
    pub id: Option<RefundId>,
    pub attempt: Attempted,
    /// Of the capture that is given back.
    pub reference: Box<str>,
    /// When it was first due under that number, as the channel is told.
    pub dated_at: Instant,
    pub captured_minor: i64,
    pub amount_minor: i64,
    /// What the platform tells its payer of it; none of suspense.
    pub reason: Option<Box<str>>,
    pub notify_url: String,
}

/// One account at one channel: builds its requests, reads its answers. Pure.
pub trait Adapter: Send + Sync + 'static {
    fn account(&self) -> &Account;
    /// The business fields of an attempt, which every send of it repeats byte for byte, without anything personal.
    fn freeze(&self, ask: &Ask<'_>) -> Box<str>;
    /// The same with what it tells of the payer, as it is submitted; none where that is not known any more.
    fn complete<'a>(&self, frozen: &'a str, _payer: &Payer) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(frozen))
    }

    /// `frozen` is completed, here and in the following.
    fn submit(&self, frozen: &str, stamp: &Stamp) -> Submission;
    fn read_submit(&self, frozen: &str, stamp: &Stamp, answer: &Answer) -> Submitted;
    /// Whether an answer to any call is the channel's word for "later", by the table beside its verdicts: the same
    /// request may be made again after a while, and does no harm if it was taken after all.
    fn says_later(&self, answer: &Answer) -> bool {
        answer.status == TOO_MANY_REQUESTS
    }
    fn query(&self, attempt: &Attempted, stamp: &Stamp) -> Outgoing;
    fn read_query(&self, attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<Finding>;
    /// None where the channel has no such call.
    fn close(&self, attempt: &Attempted, stamp: &Stamp) -> Option<Outgoing>;
    fn read_close(&self, attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<CloseAnswer>;
    fn refund(&self, ask: &RefundAsk, stamp: &Stamp) -> Outgoing;
    fn read_refund(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome;
    fn query_refund(&self, ask: &RefundAsk, stamp: &Stamp) -> Outgoing;
    fn read_refund_query(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome;

    /// Verifies a callback over its received bytes and reads it.
    ///
    /// # Errors
    /// Why it is not believed; nothing of it may be used then.
    fn callback(&self, received: &Received<'_>, now: Instant) -> Result<Heard, CallbackError>;
    fn acknowledgement(&self) -> Acknowledgement;

    /// The account's statement of a day of the channel's own calendar: Beijing's days, Stripe's are of UTC. None where
    /// the channel has no statements.
    fn bill(&self, _date: Date) -> Option<Bill<'_>> {
        None
    }

    /// What the account must ask now to go on understanding its channel, such as for new keys; none while nothing is
    /// due. It is looked at every few seconds, so the adapter keeps its own measure.
    fn upkeep(&self, _stamp: &Stamp) -> Option<Outgoing> {
        None
    }

    /// # Errors
    /// Why nothing came of it, for the log.
    fn read_upkeep(&self, _stamp: &Stamp, _answer: &Answer) -> Result<(), String> {
        Ok(())
    }
}
