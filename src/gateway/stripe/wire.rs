//! Webhooks: events, signed with the endpoint's secret.

use std::fmt::Write;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::objects::{self, Intent, IntentData, related, seconds};
use super::{ID_LENGTH, id};
use crate::config::accounts::STRIPE_VERSION;
use crate::gateway::alphanumeric;
use crate::gateway::books::{Notice, RefundNotice, State};
use crate::gateway::fate::RefundState;
use crate::gateway::wire::{Callback, TimeScale, Wire};

const MINUTE: i64 = 60_000;
/// In test mode Stripe tries three times within a few hours.
const RETRY_MS: [i64; 2] = [MINUTE, 60 * MINUTE];

pub struct StripeWire {
    key: hmac::Key,
    retry_ms: Vec<i64>,
}

impl StripeWire {
    /// The whole text `whsec_…` is the key.
    pub fn new(secret: &SecretString, scale: TimeScale) -> Self {
        StripeWire {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()),
            retry_ms: scale.all(&RETRY_MS),
        }
    }
}

impl Wire for StripeWire {
    fn reference(&self, _at: i64) -> String {
        id("pi")
    }

    fn callback(&self, notice: &Notice, sent_at: i64) -> Callback {
        callback(&self.key, &paid(notice), sent_at)
    }

    fn forged(&self, notice: &Notice, sent_at: i64) -> Callback {
        callback(&hmac::Key::new(hmac::HMAC_SHA256, &alphanumeric::<ID_LENGTH>()), &paid(notice), sent_at)
    }

    /// Every turn is an event.
    fn tells(&self, _state: RefundState) -> bool {
        true
    }

    fn refund_callback(&self, notice: &RefundNotice, sent_at: i64) -> Option<Callback> {
        let intent_id = notice.payment.reference.as_deref()?;
        let news = notice.news;
        let (kind, suffix) = if notice.refund.is_first(news) {
            ("refund.created", "Created")
        } else {
            match news.state {
                RefundState::Pending | RefundState::Refunded | RefundState::Stuck => ("refund.updated", "Updated"),
                RefundState::Ended | RefundState::Returned => ("refund.failed", "Failed"),
            }
        };
        // As it stood then: an event tells the same in every try.
        let object = objects::refund(&notice.refund_number, intent_id, &notice.refund, news.at);
        let event = event(kind, &format!("{}{suffix}", notice.refund_number), news.at, object);
        Some(callback(&self.key, &event, sent_at))
    }

    fn is_acknowledgement(&self, status: u16, _body: &[u8]) -> bool {
        (200..300).contains(&status)
    }

    fn retry_ms(&self) -> &[i64] {
        &self.retry_ms
    }
}

/// The event of an intent that was paid; its id is the same in every copy and try.
fn paid(notice: &Notice) -> Value {
    let intent = IntentData::read(notice.data.as_ref()).map(|data| Intent {
        data,
        state: State::Paid,
        amount: notice.asked_minor,
        currency: notice.currency,
        capture: Some(notice.capture.clone()),
        refunded: 0,
        canceled_at: None,
    });
    let name = intent.as_ref().map_or("", |intent| &intent.data.id).to_owned();
    let object = intent.map_or(Value::Null, |intent| intent.json());
    event("payment_intent.succeeded", &name, notice.capture.at, object)
}

fn event(kind: &str, of: &str, at: i64, object: Value) -> Value {
    json!({
        "id": related(of, "evt"),
        "object": "event",
        "api_version": STRIPE_VERSION,
        "created": seconds(at),
        "data": { "object": object },
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null },
        "type": kind,
    })
}

fn callback(key: &hmac::Key, event: &Value, sent_at: i64) -> Callback {
    let body = event.to_string();
    let timestamp = seconds(sent_at);
    let tag = hmac::sign(key, format!("{timestamp}.{body}").as_bytes());
    let mut signature = format!("t={timestamp},v1=");
    for byte in tag.as_ref() {
        write!(signature, "{byte:02x}").expect("a string takes everything");
    }
    Callback {
        headers: vec![("stripe-signature", signature)],
        content_type: "application/json; charset=utf-8",
        body: body.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `hmac.new(secret, f"{t}.{body}", sha256)` as stripe-python's `_webhook.py` does.
    #[test]
    fn trap_10_the_whole_secret_is_the_key() {
        let wire = StripeWire::new(&"whsec_test_secret".into(), TimeScale::percent(10));
        let callback = callback(&wire.key, &json!({ "id": "evt_1" }), 1_790_000_000_123);
        assert_eq!(callback.body, br#"{"id":"evt_1"}"#);
        let expected = "t=1790000000,v1=621e30333c3e6f1df3159281b9d0e6983411cc64573a2fb2802f56791c7a24c1";
        assert_eq!(callback.headers, [("stripe-signature", expected.to_owned())]);
        assert_eq!(wire.retry_ms(), [6_000, 360_000]);
        assert!(wire.is_acknowledgement(204, b"") && !wire.is_acknowledgement(302, b"ok"));
    }
}
