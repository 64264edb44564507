//! `simpay`, the plain channel of the sandbox: JSON over HTTP, signed with HMAC-SHA256 on both sides.
//!
//! Every request is `POST {base}/simpay/v1/…` with `Simpay-Account`, `Simpay-Timestamp` (unix seconds), `Simpay-Nonce`
//! and `Simpay-Signature`, the base64 HMAC of `REQUEST\nPATH\nACCOUNT\nTIMESTAMP\nNONCE\nBODY\n`. An answer signs
//! `ANSWER\nSTATUS\nACCOUNT\nTIMESTAMP\nNONCE\nBODY\n` with the request's nonce, which binds it to the request. A
//! callback signs `CALLBACK\nACCOUNT\nTIMESTAMP\nNONCE\nBODY\n`. The first words keep the three apart.
//!
//! | call | answers |
//! |---|---|
//! | `payments` | 200 `waiting` with a `qr_code`, 200 `paid`, 409 `number_used`, 409 `payment_closed`, 422 `refused`, 422 `expired` |
//! | `payments/query` | 200 `waiting`, `paid`, `declined`, `closed`; 404 `not_exist` |
//! | `payments/close` | 200 `closed`, also for a number never seen, which then stays closed; 409 `already_paid` |
//! | `refunds` | 200 with the refund's state, the same again for the same fields; refusals: see `refunds` |
//! | `refunds/query` | 200 with the refund's state, 404 `not_exist` |
//!
//! A callback tells of a payment that succeeded, or of a refund that came to an end or back.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod refunds;
#[cfg(test)]
mod tests;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use self::refunds::RefundCallback;
use super::{
    Acknowledgement, Adapter, Answer, Ask, Attempted, CallbackError, Heard, NextAction, Notice, Outgoing, Reading,
    Received, RefundAsk, Stamp, Submission, Submitted, Verb, is_name, is_showable,
};
use crate::domain::channel::Channel;
use crate::domain::dated::Dated;
use crate::domain::event::{CloseAnswer, Fault, Finding, RefundOutcome, SendOutcome};
use crate::domain::id::Account;
use crate::domain::money::Currency;
use crate::domain::time::Instant;

/// How far a callback's or an answer's clock may be from ours.
const SKEW_MAX_S: i64 = 300;

pub struct Simpay {
    account: Account,
    base_url: String,
    key: hmac::Key,
}

#[derive(Serialize)]
struct Payment<'a> {
    number: String,
    amount_minor: i64,
    currency: &'a str,
    method: &'a str,
    description: &'a str,
    notify_url: String,
    expires_at: i64,
}

/// What is read of it again.
#[derive(Deserialize)]
struct Asked {
    currency: Currency,
}

#[derive(Serialize)]
struct Number {
    number: String,
}

#[derive(Deserialize)]
struct PaymentAnswer {
    number: String,
    state: String,
    #[serde(default)]
    amount_minor: Option<i64>,
    #[serde(default)]
    captured_minor: Option<i64>,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    qr_code: Option<String>,
    #[serde(default)]
    expires_at: Option<i64>,
    /// In milliseconds.
    #[serde(default)]
    paid_at: Option<i64>,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Callback {
    event: String,
    #[serde(rename = "id")]
    _id: String,
    number: String,
    account: String,
    reference: String,
    amount_minor: i64,
    currency: String,
    /// In milliseconds.
    paid_at: i64,
}

/// What a believed answer says.
enum Told {
    Payment(PaymentAnswer),
    Failure { status: u16, code: String },
}

impl Simpay {
    /// # Errors
    /// The key is not base64 of at least 32 bytes; the key itself is never shown.
    pub fn new(name: &str, base_url: &str, key: &SecretString) -> Result<Self, String> {
        let account = Account::new(Channel::Simpay, name);
        let key =
            STANDARD.decode(key.expose_secret()).map_err(|_| format!("simpay account {name}: key is not base64"))?;
        if key.len() < 32 {
            return Err(format!("simpay account {name}: key is shorter than 32 bytes"));
        }
        let base_url = format!("{}/simpay/v1", base_url.trim_end_matches('/'));
        Ok(Simpay { account, base_url, key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    fn outgoing(&self, call: &str, body: Vec<u8>, stamp: &Stamp) -> Outgoing {
        let timestamp = stamp.at.0.div_euclid(1_000).to_string();
        let path = format!("/simpay/v1/{call}");
        let tag = self.sign(&["REQUEST", &path, self.account.name(), &timestamp, &stamp.nonce], &body);
        Outgoing {
            verb: Verb::Post,
            url: format!("{}/{call}", self.base_url),
            headers: vec![
                ("content-type", "application/json".into()),
                ("simpay-account", self.account.name().to_owned()),
                ("simpay-timestamp", timestamp),
                ("simpay-nonce", stamp.nonce.clone()),
                ("simpay-signature", STANDARD.encode(tag.as_ref())),
            ],
            body,
        }
    }

    fn sign(&self, head: &[&str], body: &[u8]) -> hmac::Tag {
        hmac::sign(&self.key, &signed_text(head, body))
    }

    fn verify(&self, head: &[&str], body: &[u8], signature: Option<&str>) -> bool {
        let Some(signature) = signature.and_then(|text| STANDARD.decode(text).ok()) else { return false };
        hmac::verify(&self.key, &signed_text(head, body), &signature).is_ok()
    }

    /// Whether an answer is the gateway's own answer to the request with this stamp.
    fn believed(&self, stamp: &Stamp, answer: &Answer) -> Result<(), &'static str> {
        let timestamp = answer.header("simpay-timestamp").ok_or("the answer is not signed")?;
        let nonce = answer.header("simpay-nonce").ok_or("the answer is not signed")?;
        let status = answer.status.to_string();
        let head = ["ANSWER", &status, self.account.name(), timestamp, nonce];
        if !self.verify(&head, &answer.body, answer.header("simpay-signature")) {
            return Err("the answer's signature does not verify");
        }
        if nonce != stamp.nonce {
            return Err("the answer belongs to another request");
        }
        if !is_fresh(timestamp, stamp.at) {
            return Err("the answer is stale");
        }
        Ok(())
    }

    fn told(&self, stamp: &Stamp, answer: &Answer) -> Result<Told, String> {
        self.believed(stamp, answer)?;
        if answer.status == 200 {
            return Ok(Told::Payment(read(&answer.body).ok_or("unreadable answer")?));
        }
        let failure: Failure = read(&answer.body).ok_or("unreadable answer")?;
        Ok(Told::Failure { status: answer.status, code: failure.code })
    }
}

fn signed_text(head: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(head.iter().map(|part| part.len() + 1).sum::<usize>() + body.len() + 1);
    for part in head {
        text.extend_from_slice(part.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(body);
    text.push(b'\n');
    text
}

fn is_fresh(timestamp: &str, now: Instant) -> bool {
    let Ok(seconds) = timestamp.parse::<i64>() else { return false };
    now.0.div_euclid(1_000).checked_sub(seconds).is_some_and(|skew| skew.abs() <= SKEW_MAX_S)
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("plain structs always serialise")
}

/// Reads an object. The reader would take an array for one too, and of bytes it would not look at all.
fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let text = std::str::from_utf8(body).ok()?;
    text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok())?
}

/// What a payment's capture is, if the answer has one that can be believed.
fn captured(payment: &PaymentAnswer, amount_minor: Option<i64>, currency: Currency) -> Option<(Box<str>, i64, Dated)> {
    let reference = payment.reference.as_deref().filter(|text| is_name(text))?;
    let amount_minor = amount_minor.filter(|amount| currency.can_be(*amount))?;
    Some((reference.into(), amount_minor, dated(payment.paid_at)))
}

fn dated(at_ms: Option<i64>) -> Dated {
    at_ms.map_or(Dated::NOT_TOLD, |at_ms| Dated::at(Instant(at_ms)))
}

/// An answer that is signed by nobody says nothing but that something is wrong on the way: 401 and 429 alone are
/// refusals by the gateway's door, before anything was looked at.
fn refused_at_the_door(answer: &Answer) -> Option<SendOutcome> {
    match answer.status {
        401 | 403 => Some(SendOutcome::Rejected { fault: Fault::Ours, code: "unauthenticated".into() }),
        429 => Some(SendOutcome::Later { why: "rate_limited".into() }),
        _ => None,
    }
}

impl Adapter for Simpay {
    fn account(&self) -> &Account {
        &self.account
    }

    fn freeze(&self, ask: &Ask<'_>) -> Box<str> {
        let payment = Payment {
            number: ask.number.to_string(),
            amount_minor: ask.payable_minor,
            currency: ask.currency.code(),
            method: ask.method.name(),
            description: ask.description,
            notify_url: ask.notify_url.clone(),
            expires_at: ask.expires_at.0,
        };
        serde_json::to_string(&payment).expect("plain structs always serialise").into()
    }

    fn submit(&self, frozen: &str, stamp: &Stamp) -> Submission {
        Submission::Call(self.outgoing("payments", frozen.as_bytes().to_vec(), stamp))
    }

    fn read_submit(&self, frozen: &str, stamp: &Stamp, answer: &Answer) -> Submitted {
        let unknown = |why: &str| SendOutcome::Unknown { why: why.into() };
        let (outcome, next_action) = match (refused_at_the_door(answer), self.told(stamp, answer)) {
            (Some(refused), _) => (refused, None),
            (None, Err(why)) => (unknown(&why), None),
            (None, Ok(Told::Payment(payment))) => match payment.state.as_str() {
                "waiting" => match (payment.qr_code, payment.expires_at) {
                    (Some(qr_code), Some(expires_at)) if is_showable(&qr_code) => (
                        SendOutcome::Accepted { reference: None },
                        Some(NextAction::QrCode { qr_code, expires_at: Instant(expires_at) }),
                    ),
                    _ => (unknown("the answer has no code to pay by"), None),
                },
                "paid" => match read(frozen.as_bytes())
                    .and_then(|Asked { currency }| captured(&payment, payment.amount_minor, currency))
                {
                    Some((reference, amount_minor, dated)) => {
                        (SendOutcome::Paid { reference, amount_minor, dated }, None)
                    }
                    None => (unknown("the answer has no capture"), None),
                },
                _ => (unknown("the answer has a state that a create cannot have"), None),
            },
            (None, Ok(Told::Failure { status, code })) => match (status, code.as_str()) {
                (422, "refused" | "expired") | (409, "payment_closed" | "number_used") => {
                    (SendOutcome::Rejected { fault: Fault::Payment, code: code.into() }, None)
                }
                (400, _) => (SendOutcome::Rejected { fault: Fault::Ours, code: code.into() }, None),
                _ => (unknown(&code), None),
            },
        };
        Submitted { outcome, next_action }
    }

    fn query(&self, attempt: &Attempted, stamp: &Stamp) -> Outgoing {
        self.outgoing("payments/query", json(&Number { number: attempt.number.to_string() }), stamp)
    }

    fn read_query(&self, attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<Finding> {
        let unknown = |why: &str| Finding::Unknown { why: why.into() };
        Reading::Told(match self.told(stamp, answer) {
            Err(why) => unknown(&why),
            Ok(Told::Failure { status: 404, code }) if code == "not_exist" => Finding::NotExist,
            Ok(Told::Failure { code, .. }) => unknown(&code),
            Ok(Told::Payment(payment)) if payment.number != attempt.number.to_string() => {
                unknown("the answer speaks of another payment")
            }
            Ok(Told::Payment(payment)) => match payment.state.as_str() {
                "waiting" => Finding::Pending,
                "declined" => Finding::Declined,
                "closed" => Finding::Closed,
                "paid" => match captured(&payment, payment.captured_minor, attempt.currency) {
                    Some((reference, amount_minor, dated)) => Finding::Paid { reference, amount_minor, dated },
                    None => unknown("the answer has no capture"),
                },
                _ => unknown("the answer has an unknown state"),
            },
        })
    }

    fn close(&self, attempt: &Attempted, stamp: &Stamp) -> Option<Outgoing> {
        Some(self.outgoing("payments/close", json(&Number { number: attempt.number.to_string() }), stamp))
    }

    fn read_close(&self, _attempt: &Attempted, stamp: &Stamp, answer: &Answer) -> Reading<CloseAnswer> {
        Reading::Told(match self.told(stamp, answer) {
            Ok(Told::Payment(payment)) if payment.state == "closed" => CloseAnswer::Closed,
            Ok(Told::Payment(_)) => CloseAnswer::Unknown { why: "the answer has an unknown state".into() },
            Ok(Told::Failure { code, .. }) if code == "already_paid" => CloseAnswer::AlreadyPaid,
            Ok(Told::Failure { code, .. }) => CloseAnswer::Unknown { why: code.into() },
            Err(why) => CloseAnswer::Unknown { why: why.into() },
        })
    }

    fn refund(&self, ask: &RefundAsk, stamp: &Stamp) -> Outgoing {
        self.outgoing("refunds", refunds::request(ask), stamp)
    }

    fn read_refund(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        match self.believed(stamp, answer) {
            Ok(()) => refunds::sent(ask, answer),
            Err(why) => RefundOutcome::Unknown { why: why.into() },
        }
    }

    fn query_refund(&self, ask: &RefundAsk, stamp: &Stamp) -> Outgoing {
        self.outgoing("refunds/query", refunds::question(ask), stamp)
    }

    fn read_refund_query(&self, ask: &RefundAsk, stamp: &Stamp, answer: &Answer) -> RefundOutcome {
        match self.believed(stamp, answer) {
            Ok(()) => refunds::found(ask, answer),
            Err(why) => RefundOutcome::Unknown { why: why.into() },
        }
    }

    fn callback(&self, received: &Received<'_>, now: Instant) -> Result<Heard, CallbackError> {
        let header = |name| received.header(name).ok_or(CallbackError::Forged);
        let (timestamp, nonce) = (header("simpay-timestamp")?, header("simpay-nonce")?);
        let head = ["CALLBACK", self.account.name(), timestamp, nonce];
        if header("simpay-account")? != self.account.name()
            || !self.verify(&head, received.body, received.header("simpay-signature"))
        {
            return Err(CallbackError::Forged);
        }
        if !is_fresh(timestamp, now) {
            return Err(CallbackError::Stale);
        }
        // Neither has all fields of the other, and both refuse a field that they do not have.
        if let Some(callback) = read::<RefundCallback>(received.body) {
            return callback.heard().map(Heard::Refund).ok_or(CallbackError::Unreadable);
        }
        let callback: Callback = read(received.body).ok_or(CallbackError::Unreadable)?;
        if callback.event != "payment.succeeded" || callback.account != self.account.name() {
            return Err(CallbackError::Unreadable);
        }
        Notice::of(&callback.number, &callback.reference, callback.amount_minor, &callback.currency)
            .map(|notice| Heard::Capture(notice.dated(dated(Some(callback.paid_at)))))
            .ok_or(CallbackError::Unreadable)
    }

    fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement { status: 200, content_type: "application/json", body: r#"{"code":"ok"}"# }
    }
}
