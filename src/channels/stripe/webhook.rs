//! Stripe's webhooks: `Stripe-Signature: t=…,v1=…[,v1=…][,v0=…]`, HMAC-SHA256 over `t`, a point and the received body.
//! The key is the whole text of the secret, `whsec_` included, where Standard Webhooks would decode what follows it.

use aws_lc_rs::{constant_time, hmac};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{CallbackError, Heard, Notice, Received, RefundNotice, only};
use super::money;
use super::objects::{self, Intent, IntentStatus, NamedRefund};
use crate::domain::time::Instant;

/// How far a webhook's clock may be from ours.
const SKEW_MAX_S: i64 = 300;
const BODY_MAX: usize = 256 * 1024;
/// Two secrets during a rotation and a little more; further signatures are not looked at.
const SIGNATURES_MAX: usize = 8;

/// Several during a rotation.
pub struct Secrets(Vec<hmac::Key>);

#[derive(Deserialize)]
struct Event<'a> {
    object: String,
    #[serde(rename = "type")]
    kind: String,
    livemode: bool,
    /// Named where the event is about a connected account; we have none.
    #[serde(default)]
    account: Option<String>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Secrets {
    pub fn new(secrets: &[SecretString]) -> Self {
        let key = |secret: &SecretString| hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        Secrets(secrets.iter().map(key).collect())
    }

    /// # Errors
    /// No signature of ours is over these bytes, or it is too old or too far ahead.
    pub fn verify(&self, received: &Received<'_>, now: Instant) -> Result<(), CallbackError> {
        let header = only(received.headers, "stripe-signature").ok_or(CallbackError::Forged)?;
        let (timestamp, signatures) = read_header(header).ok_or(CallbackError::Forged)?;
        let is_ours = self.0.iter().any(|key| {
            let mut context = hmac::Context::with_key(key);
            context.update(timestamp.as_bytes());
            context.update(b".");
            context.update(received.body);
            let tag = context.sign();
            signatures.iter().any(|given| constant_time::verify_slices_are_equal(tag.as_ref(), given).is_ok())
        });
        if !is_ours {
            return Err(CallbackError::Forged);
        }
        let seconds: i64 = timestamp.parse().map_err(|_| CallbackError::Forged)?;
        let skew = now.0.div_euclid(1_000).checked_sub(seconds).ok_or(CallbackError::Stale)?;
        if skew.checked_abs().is_some_and(|skew| skew <= SKEW_MAX_S) { Ok(()) } else { Err(CallbackError::Stale) }
    }
}

/// The one timestamp, as it was signed, and the signatures of the scheme `v1`.
fn read_header(header: &str) -> Option<(&str, Vec<[u8; 32]>)> {
    let mut timestamp = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.split_once('=')? {
            ("t", text) => {
                let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                if timestamp.replace(text).is_some() || !is_plain {
                    return None;
                }
            }
            // One that is malformed is as wrong as any other, and another may be right.
            ("v1", text) if signatures.len() < SIGNATURES_MAX => signatures.extend(hex(text)),
            _ => {}
        }
    }
    Some((timestamp?, signatures))
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then_some(bytes)?.try_into().ok()
}

/// Reads a verified event.
///
/// # Errors
/// It is not an event, or one of another mode or account than ours.
pub fn read(body: &[u8], livemode: bool) -> Result<Heard, CallbackError> {
    let event: Event<'_> = objects::read(body).map_err(|_| CallbackError::Unreadable)?;
    if event.object != "event" || event.livemode != livemode || event.account.is_some() {
        return Err(CallbackError::Unreadable);
    }
    let object = event.data.object.get().as_bytes();
    match event.kind.as_str() {
        "payment_intent.succeeded" => read_intent(object),
        "refund.created" | "refund.updated" | "refund.failed" => read_refund(object),
        // `charge.refunded` among them: it tells of the charge, and not which of its refunds it is about.
        _ => Ok(Heard::Nothing),
    }
}

/// A refund that nobody gave a number is none of ours.
fn read_refund(object: &[u8]) -> Result<Heard, CallbackError> {
    let refund: NamedRefund = objects::read(object).map_err(|_| CallbackError::Unreadable)?;
    if refund.object != "refund" {
        return Err(CallbackError::Unreadable);
    }
    let Some(number) = refund.metadata.refund_number else { return Ok(Heard::Nothing) };
    RefundNotice::of(&number, None).map(Heard::Refund).ok_or(CallbackError::Unreadable)
}

fn read_intent(object: &[u8]) -> Result<Heard, CallbackError> {
    let intent: Intent = objects::read(object).map_err(|_| CallbackError::Unreadable)?;
    // An intent that nobody gave a number is another system's on the same account.
    let Some(number) = &intent.metadata.attempt else { return Ok(Heard::Nothing) };
    let captured = money::from_wire(intent.amount_received, &intent.currency);
    let is_whole = intent.object == "payment_intent"
        && intent.status == IntentStatus::Succeeded
        && objects::is_id(&intent.id, "pi_");
    captured
        .filter(|_| is_whole)
        .and_then(|(amount_minor, currency)| Notice::of(number, &intent.id, amount_minor, currency.code()))
        .map(|notice| Heard::Capture(notice.dated(intent.dated())))
        .ok_or(CallbackError::Unreadable)
}

/// # Errors
/// Why it is not believed.
pub fn hear(secrets: &Secrets, received: &Received<'_>, livemode: bool, now: Instant) -> Result<Heard, CallbackError> {
    if received.body.len() > BODY_MAX {
        return Err(CallbackError::Unreadable);
    }
    secrets.verify(received, now)?;
    read(received.body, livemode)
}
