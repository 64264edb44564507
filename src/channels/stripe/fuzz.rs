//! Fuzz targets: see [`crate::channels::fuzz`].

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use secrecy::SecretString;
use serde_json::Value;

use super::{Credentials, Stripe, bill as statement, webhook as events};
use crate::channels::properties::{
    NOW, ask, attempt, is_sound_bill, is_sound_notice, is_told, message, read_all, stand_once, value,
};
use crate::channels::{Adapter, Answer, Heard, Received};
use crate::domain::channel::Method;
use crate::domain::event::{CloseAnswer, Finding, SendOutcome};

const SECRET: &str = "whsec_c2VjcmV0";

static STRIPE: LazyLock<Stripe> = LazyLock::new(|| {
    let credentials = Credentials {
        secret_key: SecretString::from("sk_test_key"),
        webhook_secrets: vec![SecretString::from("whsec_old"), SecretString::from(SECRET)],
        version: "2026-10-28.endive".into(),
    };
    Stripe::new("default", "https://api.stripe.com", credentials).expect("good credentials")
});

/// Headers and body in front of the signature. The secret is fixed, so that an input can bear a right one.
pub fn webhook(data: &[u8]) {
    let (headers, body) = message(data);
    let Ok(heard) = STRIPE.callback(&Received { headers: &headers, body }, NOW) else { return };
    is_sound_notice(&heard);
    let (_, header) =
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("stripe-signature")).expect("it is signed");
    let timestamp = header.split(',').find_map(|part| part.strip_prefix("t=")).expect("it has a time");
    let is_right = |secret: &str| {
        let text = [timestamp.as_bytes(), b".", body].concat();
        let mut hex = String::new();
        for byte in hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), &text).as_ref() {
            write!(hex, "{byte:02x}").expect("a string takes everything");
        }
        header.split(',').any(|part| part.strip_prefix("v1=") == Some(&hex))
    };
    assert!(is_right("whsec_old") || is_right(SECRET), "a webhook was believed that nobody signed");
    let seconds: i64 = timestamp.parse().expect("seconds");
    assert!((NOW.0 / 1_000 - seconds).abs() <= 300, "a stale webhook was believed");
}

/// A webhook's body behind the signature.
pub fn event(data: &[u8]) {
    let Ok(heard) = events::read(data, false) else { return };
    stand_once(data, &["object", "type", "livemode", "data", "account"]);
    if let Heard::Refund(notice) = &heard {
        let Some(value) = value(data) else { return };
        assert_eq!(value["data"]["object"]["metadata"]["refund_number"].as_str(), Some(notice.number.as_str()));
        assert_eq!(notice.word, None, "an event is a reason to ask");
    }
    if let Some(notice) = is_sound_notice(&heard) {
        let Some(value) = value(data) else { return };
        let intent = &value["data"]["object"];
        assert_eq!(intent["amount_received"].as_i64(), Some(notice.amount_minor));
        assert_eq!(intent["currency"].as_str().map(str::to_uppercase).as_ref(), Some(&notice.currency));
        assert_eq!((&intent["status"], &value["livemode"]), (&Value::from("succeeded"), &Value::from(false)));
    }
}

/// A status line of three digits, headers and the body of an answer. Nobody signs these.
pub fn answer(data: &[u8]) {
    let (head, rest) = data.split_at_checked(3).unwrap_or((b"200", data));
    let status = std::str::from_utf8(head).ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let (headers, body) = message(rest.strip_prefix(b"\n").unwrap_or(rest));
    let frozen = STRIPE.freeze(&ask(Method::Card, "USD"));
    let all = read_all(&*STRIPE, &frozen, "USD", &Answer { status, headers, body: body.to_vec() });
    let good = matches!(all.submitted.outcome, SendOutcome::Accepted { .. } | SendOutcome::Paid { .. })
        || !matches!(all.finding, None | Some(Finding::Unknown { .. }))
        || matches!(all.closed, Some(CloseAnswer::Closed | CloseAnswer::AlreadyPaid))
        || is_told(&all.refund)
        || is_told(&all.refund_query);
    assert!(!good || status == 200, "status {status} was taken for a success");
    if let Some(Finding::Paid { amount_minor, .. }) = all.finding {
        let Some(value) = value(body) else { return };
        let number = attempt("USD").number.to_string();
        let listed = value["data"].as_array().into_iter().flatten();
        let is_it = |intent: &Value| {
            intent["amount_received"].as_i64() == Some(amount_minor) && intent["metadata"]["attempt"] == number
        };
        assert!(std::iter::once(&value).chain(listed).any(is_it), "the capture stands there as it was read");
    }
}

/// The pages of a bill, one a line.
pub fn bill(data: &[u8]) {
    let mut seen = HashSet::new();
    for page in data.split(|byte| *byte == b'\n') {
        let before = seen.clone();
        match statement::read(page, &mut seen) {
            Ok((lines, after)) => {
                assert_eq!(seen.len(), before.len() + lines.len(), "every entry is counted once");
                assert!(after.is_none_or(|id| seen.contains(&id) && !before.contains(&id)), "the list gets on");
                is_sound_bill(&Ok(lines), page.len());
            }
            Err(error) => return is_sound_bill(&Err(error), page.len()),
        }
    }
}

#[test]
fn a_frozen_request_is_kept_as_it_was() {
    crate::channels::properties::frozen_is_kept(&*STRIPE, Method::Card, "USD");
}
