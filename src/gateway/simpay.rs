//! The far end of the channel `simpay`: its calls, their bodies and their answers.

mod callers;
mod refunds;
pub mod routes;
mod signing;
#[cfg(test)]
mod tests;
mod wire;

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::StatusCode;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::accounts::{AccountId, Channel};
use super::address::Address;
use super::books::{Asked, CloseRule, Refusal, State, Taken};
use super::faults::Fault;
use super::nonces::Nonces;
use super::payer::{Conduct, Script};
use super::roster::Roster;
use super::{Gateway, GatewayError, alphanumeric};
use crate::config::{Config, sandbox};
use crate::domain::money::Currency;
use signing::Signer;
use wire::SimpayWire;

const NUMBER_LENGTHS: std::ops::RangeInclusive<usize> = 6..=64;
const DESCRIPTION_MAX: usize = 127;
const QR_TOKEN_LENGTH: usize = 24;

/// What simpay knows of its merchants.
pub struct Simpay {
    wires: Vec<(AccountId, Arc<SimpayWire>)>,
    nonces: Nonces,
}

impl Simpay {
    /// # Errors
    /// A key cannot be made or read, or is malformed.
    pub fn open(config: &Config, roster: &mut Roster) -> Result<Self, GatewayError> {
        let mut wires = Vec::new();
        for name in sandbox::accounts(config, Channel::Simpay.name()).map_err(GatewayError::Config)? {
            let key = sandbox::simpay_key(&config.data.dir, &name).map_err(GatewayError::Config)?;
            let wire = Arc::new(SimpayWire::new(Signer::new(&name, &key)?, &config.gateway.callback_retry_ms));
            wires.push((roster.enlist(Channel::Simpay, &name, wire.clone()), wire));
        }
        Ok(Simpay { wires, nonces: Nonces::new() })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Create,
    Query,
    Close,
    Refund,
    QueryRefund,
}

/// What a call comes to: its answer, and whether and when the caller gets to see it.
pub struct Outcome {
    pub status: StatusCode,
    pub body: Vec<u8>,
    pub fault: Fault,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody<'a> {
    #[serde(borrow)]
    number: Cow<'a, str>,
    amount_minor: i64,
    currency: Currency,
    method: Method,
    #[serde(borrow)]
    description: Cow<'a, str>,
    #[serde(borrow)]
    notify_url: Cow<'a, str>,
    expires_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    Qr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberBody<'a> {
    #[serde(borrow)]
    number: Cow<'a, str>,
}

#[derive(Serialize)]
struct WaitingAnswer<'a> {
    number: &'a str,
    state: State,
    amount_minor: i64,
    currency: Currency,
    qr_code: &'a str,
    expires_at: i64,
}

#[derive(Serialize)]
struct PaidAnswer<'a> {
    number: &'a str,
    state: State,
    amount_minor: i64,
    currency: Currency,
    reference: &'a str,
}

#[derive(Serialize)]
struct QueryAnswer<'a> {
    number: &'a str,
    state: State,
    amount_minor: i64,
    captured_minor: i64,
    currency: Currency,
    reference: Option<&'a str>,
}

#[derive(Serialize)]
struct CloseAnswer<'a> {
    number: &'a str,
    state: State,
}

#[derive(Serialize)]
struct ErrorAnswer<'a> {
    code: &'a str,
    message: &'a str,
}

/// Why a call is answered with an error.
enum Failure {
    Malformed(Cow<'static, str>),
    Refusal(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refusal(refusal)
    }
}

/// The answer of a call that went well, and whether and when its caller gets to see it.
struct Done {
    fault: Fault,
    body: Vec<u8>,
}

/// Carries out a call of a believed caller.
pub fn answer(gateway: &Gateway, account: AccountId, call: Call, body: &[u8], now: i64) -> Outcome {
    let done = match call {
        Call::Create => create(gateway, account, body, now),
        Call::Query => query(gateway, account, body, now),
        Call::Close => close(gateway, account, body, now),
        Call::Refund => refunds::refund(gateway, account, body, now),
        Call::QueryRefund => refunds::query(gateway, account, body, now),
    };
    match done {
        Ok(done) => Outcome { status: StatusCode::OK, body: done.body, fault: done.fault },
        Err(failure) => {
            let (status, code, message) = failure.parts();
            Outcome { status, body: error_body(code, &message), fault: Fault::NONE }
        }
    }
}

pub fn error_body(code: &str, message: &str) -> Vec<u8> {
    json(&ErrorAnswer { code, message })
}

fn create(gateway: &Gateway, account: AccountId, body: &[u8], now: i64) -> Result<Done, Failure> {
    let request: CreateBody<'_> = parse(body)?;
    number_form(&request.number)?;
    amount_form(request.amount_minor, request.currency)?;
    let description = &*request.description;
    if description.chars().count() > DESCRIPTION_MAX || description.chars().any(char::is_control) {
        return Err(Failure::Malformed("`description` must be at most 127 characters, none of them control".into()));
    }
    address_form(&request.notify_url)?;
    let script = Script::of(description);
    let asked = Asked {
        number: &request.number,
        fingerprint: fingerprint(&request),
        amount_minor: request.amount_minor,
        currency: request.currency,
        script,
        notify_url: Some(&request.notify_url),
        expires_at: request.expires_at,
        reference: None,
        data: None,
    };
    let body = match gateway.books.create(account, &asked, now)? {
        Taken::New(payment) => {
            gateway.arrange_payment(payment, script, request.amount_minor, now);
            waiting(&request)
        }
        Taken::Again => waiting(&request),
        Taken::Paid(capture) => json(&PaidAnswer {
            number: &request.number,
            state: State::Paid,
            amount_minor: capture.amount_minor,
            currency: request.currency,
            reference: &capture.reference,
        }),
    };
    Ok(Done { fault: gateway.fault(account, &request.number, "create", script.conduct()), body })
}

/// A payment that waits for its payer. The simulated payer scans whichever code is the last, so that none is kept.
fn waiting(request: &CreateBody<'_>) -> Vec<u8> {
    let token = alphanumeric::<QR_TOKEN_LENGTH>();
    json(&WaitingAnswer {
        number: &request.number,
        state: State::Waiting,
        amount_minor: request.amount_minor,
        currency: request.currency,
        qr_code: &format!("simpay://pay/{}", String::from_utf8_lossy(&token)),
        expires_at: request.expires_at,
    })
}

fn query(gateway: &Gateway, account: AccountId, body: &[u8], now: i64) -> Result<Done, Failure> {
    let NumberBody { number } = parse(body)?;
    number_form(&number)?;
    let view = gateway.books.view(account, &number, now).ok_or(Refusal::NotExist)?;
    let body = json(&QueryAnswer {
        number: &number,
        state: view.state,
        amount_minor: view.asked_minor,
        captured_minor: view.captured_minor(),
        currency: view.currency,
        reference: view.reference.as_deref(),
    });
    Ok(Done { fault: gateway.fault(account, &number, "query", Conduct::Answers), body })
}

fn close(gateway: &Gateway, account: AccountId, body: &[u8], now: i64) -> Result<Done, Failure> {
    let NumberBody { number } = parse(body)?;
    number_form(&number)?;
    gateway.close(account, &number, CloseRule::Remembered, now)?;
    let body = json(&CloseAnswer { number: &number, state: State::Closed });
    Ok(Done { fault: gateway.fault(account, &number, "close", Conduct::Answers), body })
}

/// Reads a body: one JSON object, nothing unknown in it. Without the look at its first byte an array would pass too.
fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::Malformed("the body must be a JSON object".into()));
    }
    serde_json::from_slice(body).map_err(|error| Failure::Malformed(error.to_string().into()))
}

fn number_form(number: &str) -> Result<(), Failure> {
    if NUMBER_LENGTHS.contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(Failure::Malformed("`number` must be 6 to 64 of 0-9, A-Z, a-z".into()))
}

fn address_form(notify_url: &str) -> Result<(), Failure> {
    match Address::parse(notify_url) {
        Some(_) => Ok(()),
        None => Err(Failure::Malformed("`notify_url` must be http or https, at most 255 characters".into())),
    }
}

fn amount_form(amount_minor: i64, currency: Currency) -> Result<(), Failure> {
    if (1..=currency.max_minor()).contains(&amount_minor) {
        return Ok(());
    }
    Err(Failure::Malformed("`amount_minor` must be more than zero and within the currency's bound".into()))
}

/// Two requests ask the same if their business fields do, however their JSON is written.
fn fingerprint(request: &CreateBody<'_>) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, &json(request));
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own structs are JSON")
}

impl Failure {
    fn parts(self) -> (StatusCode, &'static str, Cow<'static, str>) {
        let refusal = match self {
            Failure::Malformed(message) => return (StatusCode::BAD_REQUEST, "malformed", message),
            Failure::Refusal(refusal) => refusal,
        };
        let (status, code, message) = match refusal {
            Refusal::NumberUsed => (StatusCode::CONFLICT, "number_used", "the number was used with other fields"),
            Refusal::PaymentClosed => (StatusCode::CONFLICT, "payment_closed", "the payment is closed or declined"),
            Refusal::Refused => (StatusCode::UNPROCESSABLE_ENTITY, "refused", "the channel refuses this"),
            Refusal::Expired => (StatusCode::UNPROCESSABLE_ENTITY, "expired", "`expires_at` is in the past"),
            Refusal::NotExist => (StatusCode::NOT_FOUND, "not_exist", "there is no such number"),
            Refusal::AlreadyPaid => (StatusCode::CONFLICT, "already_paid", "the payment was paid"),
            Refusal::RefundExceeds => {
                (StatusCode::UNPROCESSABLE_ENTITY, "refund_exceeds", "more than was captured and not yet refunded")
            }
            Refusal::RefundRefused => (StatusCode::CONFLICT, "refund_refused", "this refund will never be made"),
            Refusal::RefundPoor => (StatusCode::CONFLICT, "not_enough", "there is no money for it at present"),
            Refusal::RefundTooSoon => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too soon after another refund"),
            Refusal::TooManyRefunds => (StatusCode::CONFLICT, "refund_refused", "too many refunds of the payment"),
            Refusal::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "broken", "the books cannot be written"),
        };
        (status, code, message.into())
    }
}
