//! Webhooks: what is believed, and what is read of it.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::super::*;
use super::refunds::refund;
use super::{NOW, SECRET, intent, number, refund_ask, stripe, with};
use crate::channels::reversed::reversed;
use crate::channels::{Notice, RefundNotice};
use crate::domain::dated::Dated;

fn event(kind: &str, object: &Value) -> Value {
    json!({
        "id": "evt_1", "object": "event", "type": kind, "created": 1_790_000_000, "livemode": false,
        "api_version": "2026-10-28.endive", "pending_webhooks": 1, "data": {"object": object},
        "request": {"id": "req_1", "idempotency_key": number().to_string()}
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex(hmac::sign(&key, &[timestamp.as_bytes(), b".", body].concat()).as_ref())
}

pub fn hear(header: &str, body: &[u8], now: Instant) -> Result<Heard, CallbackError> {
    let headers = [("Stripe-Signature".to_owned(), header.to_owned())];
    stripe().callback(&Received { headers: &headers, body }, now)
}

pub fn hear_signed(body: &[u8]) -> Result<Heard, CallbackError> {
    hear(&format!("t=1790000000,v1={}", signature(SECRET, "1790000000", body)), body, NOW)
}

#[test]
fn a_malformed_signature_beside_the_right_one_does_no_harm() {
    let body = event("payment_intent.succeeded", &intent("succeeded")).to_string();
    let right = signature(SECRET, "1790000000", body.as_bytes());
    for other in ["", "xyz", &"A".repeat(64), &"0".repeat(63), &"0".repeat(64)] {
        let heard = hear(&format!("t=1790000000,v1={other},v1={right}"), body.as_bytes(), NOW);
        assert!(matches!(heard, Ok(Heard::Capture(_))), "{other}");
        assert_eq!(hear(&format!("t=1790000000,v1={other}"), body.as_bytes(), NOW), Err(CallbackError::Forged));
    }
}

#[test]
fn the_order_of_an_events_fields_does_not_matter() {
    let event = event("payment_intent.succeeded", &intent("succeeded"));
    let (one, other) = (event.to_string(), reversed(&event));
    assert_ne!(one, other);
    let heard = hear_signed(one.as_bytes());
    assert!(matches!(heard, Ok(Heard::Capture(_))), "{heard:?}");
    assert_eq!(hear_signed(other.as_bytes()), heard);
}

/// The message, secret and signature of async-stripe's test `test_webhook_construct_event` (2018).
const PUBLISHED: &str = r#"{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "ii_123",
      "object": "invoiceitem",
      "amount": 1000,
      "currency": "usd",
      "customer": "cus_123",
      "date": 1533204620,
      "description": "Test Invoice Item",
      "discountable": false,
      "invoice": "in_123",
      "livemode": false,
      "metadata": {},
      "period": {
        "start": 1533204620,
        "end": 1533204620
      },
      "proration": false,
      "quantity": 3
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "invoiceitem.created"
}
"#;
const PUBLISHED_HEADER: &str = "t=1533204620,\
    v1=82216eca827bcb7b34b8055eb2d2d9e6bc13b9ac39ded14a61e69f70c565f53a,\
    v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef";

#[test]
fn a_published_signature_verifies() {
    let secrets = Secrets::new(&[SecretString::from("webhook_secret")]);
    let headers = [("stripe-signature".to_owned(), PUBLISHED_HEADER.to_owned())];
    let received = Received { headers: &headers, body: PUBLISHED.as_bytes() };
    let sent_at = Instant(1_533_204_620_000);
    assert_eq!(secrets.verify(&received, sent_at), Ok(()));
    // Its `v0`, which anybody could be asked to take for a signature, is none.
    let swapped = PUBLISHED_HEADER.replace("v1=", "v2=").replace("v0=", "v1=");
    let headers = [("stripe-signature".to_owned(), swapped)];
    let forged = Received { headers: &headers, body: PUBLISHED.as_bytes() };
    assert_eq!(secrets.verify(&forged, sent_at), Err(CallbackError::Forged));
    // An event of a connected account is not ours.
    assert_eq!(webhook::read(PUBLISHED.as_bytes(), false), Err(CallbackError::Unreadable));
    let own = PUBLISHED.replace("  \"account\": \"acct_123\",\n", "");
    assert_eq!(webhook::read(own.as_bytes(), false), Ok(Heard::Nothing));
}

#[test]
fn a_success_names_the_capture_and_other_events_nothing() {
    let succeeded = event("payment_intent.succeeded", &intent("succeeded")).to_string();
    let capture = Heard::Capture(Notice {
        number: number().to_string(),
        reference: "pi_1".into(),
        amount_minor: 2000,
        currency: "USD".into(),
        dated: Dated::NOT_TOLD,
    });
    assert_eq!(hear_signed(succeeded.as_bytes()), Ok(capture.clone()));
    for kind in ["payment_intent.payment_failed", "payment_intent.canceled", "charge.refunded", "x"] {
        assert_eq!(hear_signed(event(kind, &json!({})).to_string().as_bytes()), Ok(Heard::Nothing), "{kind}");
    }
    let foreign = event("payment_intent.succeeded", &with(intent("succeeded"), "metadata", json!({})));
    assert_eq!(hear_signed(foreign.to_string().as_bytes()), Ok(Heard::Nothing));
    // During a rotation two secrets sign.
    let body = succeeded.as_bytes();
    let (old, new) = (signature("whsec_older", "1790000000", body), signature("whsec_old", "1790000000", body));
    assert_eq!(hear(&format!("t=1790000000,v1={old},v1={new},v0=ff"), body, NOW), Ok(capture));
}

#[test]
fn trap_02_a_signature_is_over_the_received_bytes() {
    let body = event("payment_intent.succeeded", &intent("succeeded")).to_string();
    let header = format!("t=1790000000,v1={}", signature(SECRET, "1790000000", body.as_bytes()));
    assert!(hear(&header, body.as_bytes(), NOW).is_ok());
    for changed in
        [body.replace("2000", "9999"), body.replace(':', ": "), format!("{body}\n"), body[..body.len() - 1].to_owned()]
    {
        assert_eq!(hear(&header, changed.as_bytes(), NOW), Err(CallbackError::Forged));
    }
}

#[test]
fn trap_09_doubled_fields_and_amounts_that_are_no_integers_are_refused() {
    let body = event("payment_intent.succeeded", &intent("succeeded")).to_string();
    for (from, to) in [
        ("\"amount_received\":2000", "\"amount_received\":1,\"amount_received\":2000"),
        ("\"amount_received\":2000", "\"amount_received\":\"2000\""),
        ("\"amount_received\":2000", "\"amount_received\":2e3"),
        ("\"amount_received\":2000", "\"amount_received\":0"),
        ("\"livemode\":false,\"object\":\"event\"", "\"livemode\":false,\"livemode\":false,\"object\":\"event\""),
        ("\"currency\":\"usd\"", "\"currency\":\"zzz\""),
        ("\"status\":\"succeeded\"", "\"status\":\"processing\""),
        ("\"id\":\"pi_1\"", "\"id\":\"pi/1\""),
        ("\"object\":\"event\"", "\"object\":\"list\""),
        ("\"livemode\":false,\"object\":\"event\"", "\"livemode\":true,\"object\":\"event\""),
    ] {
        assert!(body.contains(from), "{from} in {body}");
        let changed = body.replace(from, to);
        assert_eq!(hear_signed(changed.as_bytes()), Err(CallbackError::Unreadable), "{to}");
    }
    for body in ["", "{}", "[]", "\u{feff}{}", "{\"object\":\"event\"}"] {
        assert_eq!(hear_signed(body.as_bytes()), Err(CallbackError::Unreadable), "{body}");
    }
    assert_eq!(hear_signed(&vec![b' '; 300 * 1024]), Err(CallbackError::Unreadable));
    assert_eq!(hear_signed(&[0xff, 0xfe]), Err(CallbackError::Unreadable));
}

#[test]
fn trap_10_the_key_is_the_whole_text_of_the_secret() {
    let body = event("payment_intent.succeeded", &intent("succeeded")).to_string();
    let standard_webhooks = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    let tag = hmac::sign(&standard_webhooks, format!("1790000000.{body}").as_bytes());
    let header = format!("t=1790000000,v1={}", hex(tag.as_ref()));
    assert_eq!(hear(&header, body.as_bytes(), NOW), Err(CallbackError::Forged));
}

#[test]
fn a_signature_that_is_missing_malformed_or_old_is_refused() {
    let body = event("payment_intent.succeeded", &intent("succeeded")).to_string().into_bytes();
    let good = signature(SECRET, "1790000000", &body);
    for header in [
        String::new(),
        "t=1790000000".into(),
        format!("v1={good}"),
        format!("t=,v1={good}"),
        format!("t=1790000000,t=1790000000,v1={good}"),
        format!("t=+1790000000,v1={good}"),
        format!("t=1790000000,v1={}", &good[..62]),
        format!("t=1790000000,v1={}", good.to_uppercase()),
        format!("t=1790000000,v0={good}"),
        format!("t=1790000001,v1={good}"),
        format!("t=1790000000, v1={good}"),
    ] {
        assert_eq!(hear(&header, &body, NOW), Err(CallbackError::Forged), "{header}");
    }
    let header = format!("t=1790000000,v1={good}");
    let both = [("stripe-signature".to_owned(), header.clone()), ("Stripe-Signature".to_owned(), header.clone())];
    assert_eq!(stripe().callback(&Received { headers: &both, body: &body }, NOW), Err(CallbackError::Forged));
    assert_eq!(stripe().callback(&Received { headers: &[], body: &body }, NOW), Err(CallbackError::Forged));
    for (skew_ms, expected) in [(300_000, true), (301_000, false), (-300_000, true), (-301_000, false)] {
        let heard = hear(&header, &body, NOW.plus_ms(skew_ms));
        assert_eq!(heard.is_ok(), expected, "{skew_ms}");
        assert!(expected || heard == Err(CallbackError::Stale));
    }
    let endless = "9".repeat(40);
    let header = format!("t={endless},v1={}", signature(SECRET, &endless, &body));
    assert_eq!(hear(&header, &body, NOW), Err(CallbackError::Forged));
    let far = i64::MAX.to_string();
    let header = format!("t={far},v1={}", signature(SECRET, &far, &body));
    assert_eq!(hear(&header, &body, NOW), Err(CallbackError::Stale));
}

/// A refund's events may come before the payment's, and a declined try after it.
#[test]
fn trap_08_no_other_event_undoes_a_success() {
    for (kind, object) in [
        ("charge.refunded", json!({"id": "ch_1", "object": "charge", "amount_refunded": 2000, "refunded": true})),
        ("refund.created", with(refund("succeeded"), "metadata", json!({}))),
        ("payment_intent.payment_failed", intent("requires_payment_method")),
        ("payment_intent.canceled", intent("canceled")),
    ] {
        assert_eq!(hear_signed(event(kind, &object).to_string().as_bytes()), Ok(Heard::Nothing), "{kind}");
    }
    let kinds = ["refund.created", "refund.updated", "refund.failed"];
    for kind in kinds {
        let told = RefundNotice { number: refund_ask().refund_number, word: None };
        let body = event(kind, &refund("failed")).to_string();
        assert_eq!(hear_signed(body.as_bytes()), Ok(Heard::Refund(told)), "{kind}");
    }
    // The intent of a payment that was given back stays what it was.
    let refunded = with(intent("succeeded"), "latest_charge", json!({"amount_refunded": 2000, "refunded": true}));
    let body = event("payment_intent.succeeded", &refunded).to_string();
    assert!(matches!(hear_signed(body.as_bytes()), Ok(Heard::Capture(_))));
}

/// An event is a reason to ask, and of the refund nothing is read but whose it is.
#[test]
fn a_refunds_event_gives_its_number() {
    let heard = |kind: &str, object: &Value| hear_signed(event(kind, object).to_string().as_bytes());
    let told = |number: &str| Ok(Heard::Refund(RefundNotice { number: number.into(), word: None }));
    let numbered = |number: &str| with(refund("pending"), "metadata", json!({"refund_number": number}));
    assert_eq!(heard("refund.updated", &numbered("another's")), told("another's"));
    assert_eq!(
        heard("refund.updated", &with(refund("a_new_status"), "amount", json!("x"))),
        told(&refund_ask().refund_number)
    );
    for wrong in [
        numbered(""),
        numbered(&"A".repeat(256)),
        numbered("a\u{0}b"),
        with(refund("pending"), "metadata", json!({"refund_number": 7})),
        with(refund("pending"), "object", json!("charge")),
        json!({}),
    ] {
        assert_eq!(heard("refund.updated", &wrong), Err(CallbackError::Unreadable), "{wrong}");
    }
    // These tell of the charge, or of a refund once more.
    for kind in ["charge.refunded", "charge.refund.updated"] {
        assert_eq!(heard(kind, &refund("succeeded")), Ok(Heard::Nothing), "{kind}");
    }
    let body = event("refund.updated", &refund("succeeded")).to_string();
    assert_eq!(hear("t=1790000000,v1=00", body.as_bytes(), NOW), Err(CallbackError::Forged));
    let doubled = body.replace("\"refund_number\":", "\"refund_number\":\"x\",\"refund_number\":");
    assert_eq!(hear_signed(doubled.as_bytes()), Err(CallbackError::Unreadable));
}
