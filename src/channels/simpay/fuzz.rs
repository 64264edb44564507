//! Fuzz targets: see [`crate::channels::fuzz`].

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Simpay;
use crate::channels::properties::{
    NOW, ask, attempt, is_sound_notice, is_told, never_believed, never_heard, read_all, refund_ask, stamp, stand_once,
    value,
};
use crate::channels::{Adapter, Answer, Heard, Received, RefundNotice};
use crate::domain::channel::Method;
use crate::domain::event::{CloseAnswer, Finding, RefundOutcome, SendOutcome};

const NONCE: &str = "c5ac7061fccab6bf3e254dcf98995b8c";
const FIELDS: &[&str] = &["event", "id", "number", "account", "reference", "amount_minor", "currency", "paid_at"];
const OF_REFUND: &[&str] = &["refund_number", "number", "state", "amount_minor", "currency", "finished_at"];

static SIMPAY: LazyLock<Simpay> = LazyLock::new(|| {
    // A stranger's key must not fit, so it is made for this run.
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).expect("random bytes");
    let key = STANDARD.encode(key).into();
    Simpay::new("default", "https://simpay.example", &key).expect("a good key")
});

/// Headers and body in front of the signature; the whole as a signed body behind it.
pub fn callback(data: &[u8]) {
    never_heard(&*SIMPAY, data);
    let timestamp = (NOW.0 / 1_000).to_string();
    let tag = SIMPAY.sign(&["CALLBACK", "default", &timestamp, NONCE], data);
    let signature = STANDARD.encode(tag.as_ref());
    let headers = [
        ("simpay-account", "default"),
        ("simpay-timestamp", &timestamp),
        ("simpay-nonce", NONCE),
        ("simpay-signature", &signature),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let Ok(heard) = SIMPAY.callback(&Received { headers: &headers, body: data }, NOW) else { return };
    stand_once(data, FIELDS);
    stand_once(data, OF_REFUND);
    if let Heard::Refund(RefundNotice { number, word: Some(word) }) = &heard {
        let Some(value) = value(data) else { return };
        assert_eq!(
            (value["refund_number"].as_str(), value["amount_minor"].as_i64()),
            (Some(number.as_str()), Some(word.amount_minor))
        );
        assert_eq!(value["state"] == "refunded", matches!(word.outcome, RefundOutcome::Done { .. }));
    }
    if let Some(notice) = is_sound_notice(&heard) {
        let Some(value) = value(data) else { return };
        assert_eq!(value["amount_minor"].as_i64(), Some(notice.amount_minor));
        assert_eq!(value["account"], "default");
    }
}

/// Headers and body of an answer in front of the signature; a status of three digits and a signed body behind it.
pub fn answer(data: &[u8]) {
    let frozen = SIMPAY.freeze(&ask(Method::Qr, "CNY"));
    let (head, body) = data.split_at_checked(3).unwrap_or((b"200", data));
    never_believed(&*SIMPAY, &frozen, "CNY", body);
    let status: u16 = std::str::from_utf8(head).ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let (stamp, timestamp) = (stamp(), (NOW.0 / 1_000).to_string());
    let tag = SIMPAY.sign(&["ANSWER", &status.to_string(), "default", &timestamp, &stamp.nonce], body);
    let signature = STANDARD.encode(tag.as_ref());
    let headers =
        [("simpay-timestamp", timestamp.as_str()), ("simpay-nonce", &stamp.nonce), ("simpay-signature", &signature)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    let all = read_all(&*SIMPAY, &frozen, "CNY", &Answer { status, headers, body: body.to_vec() });
    let good = matches!(all.submitted.outcome, SendOutcome::Accepted { .. } | SendOutcome::Paid { .. })
        || !matches!(all.finding, Some(Finding::Unknown { .. } | Finding::NotExist))
        || all.closed == Some(CloseAnswer::Closed)
        || is_told(&all.refund)
        || is_told(&all.refund_query);
    assert!(!good || status == 200, "status {status} was taken for a success");
    if matches!(all.refund, RefundOutcome::Done { .. })
        && let Some(value) = value(body)
    {
        stand_once(body, &["refund_number", "state", "amount_minor"]);
        let ask = refund_ask("CNY", "SP1");
        assert_eq!((&value["state"], &value["refund_number"]), (&"refunded".into(), &ask.refund_number.into()));
        assert_eq!(value["amount_minor"].as_i64(), Some(ask.amount_minor));
    }
    if let Some(Finding::Paid { amount_minor, .. }) = all.finding {
        stand_once(body, &["number", "state", "captured_minor", "reference"]);
        let Some(value) = value(body) else { return };
        assert_eq!(value["captured_minor"].as_i64(), Some(amount_minor));
        assert_eq!(value["number"], attempt("CNY").number.to_string());
    }
}

#[test]
fn a_frozen_request_is_kept_as_it_was() {
    crate::channels::properties::frozen_is_kept(&*SIMPAY, Method::Qr, "CNY");
}
