//! Fuzz targets: see [`crate::channels::fuzz`].

use std::sync::LazyLock;

use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use secrecy::SecretString;
use serde_json::Value;

use super::keys::Keys;
use super::{Alipay, Credentials, Trust, bill as statement, callback, requests, wire, yuan};
use crate::channels::properties::{
    NOW, ask, attempt, is_sound_bill, is_sound_notice, is_told, never_believed, never_heard, read_all,
};
use crate::channels::{Adapter, Answer, Heard};
use crate::domain::channel::Method;
use crate::domain::event::{Finding, SendOutcome};

const APP_ID: &str = "2021000000000001";

static ALIPAY: LazyLock<Alipay> = LazyLock::new(|| {
    Alipay::new("default", "https://openapi.example", credentials(&OURS, &THEIRS)).expect("good credentials")
});
static OURS: LazyLock<KeyPair> = LazyLock::new(key);
static THEIRS: LazyLock<KeyPair> = LazyLock::new(key);
/// The far end, which signs with the other key.
static GATEWAY: LazyLock<Keys> = LazyLock::new(|| Keys::new(&credentials(&THEIRS, &OURS)).expect("good credentials"));

fn key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key")
}

fn credentials(signing: &KeyPair, believed: &KeyPair) -> Credentials {
    Credentials {
        app_id: APP_ID.into(),
        seller_id: None,
        app_key: SecretString::from(signing.serialize_pem()),
        trust: Trust::PublicKey { pem: believed.public_key_pem() },
    }
}

/// A form in front of the signature; its fields behind it.
pub fn notification(data: &[u8]) {
    never_heard(&*ALIPAY, data);
    let Ok(fields) = wire::read_form(data) else { return };
    let written = wire::encoded(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    assert_eq!(wire::read_form(written.as_bytes()).as_ref(), Ok(&fields), "decoding undoes encoding");
    let Ok(heard) = callback::told(&ALIPAY, &fields, NOW) else { return };
    if let Heard::Refund(notice) = &heard {
        assert_eq!((fields["app_id"].as_str(), &fields["out_biz_no"]), (APP_ID, &notice.number));
        assert_eq!(notice.word, None, "a notification does not tell what became of a refund");
    }
    if let Some(notice) = is_sound_notice(&heard) {
        assert_eq!(fields["app_id"], APP_ID);
        assert_eq!(fields["out_trade_no"], notice.number);
        is_amount(&fields["total_amount"], notice.amount_minor);
    }
}

/// The cutting of the signed text out of an answer, and an answer in front of the signature.
pub fn envelope(data: &[u8]) {
    let frozen = ALIPAY.freeze(&ask(Method::Qr, "CNY"));
    never_believed(&*ALIPAY, &frozen, "CNY", data);
    let Ok(envelope) = wire::envelope(data, requests::QUERY) else { return };
    let content = envelope.content.as_bytes();
    let within = data.as_ptr_range();
    assert!(within.contains(&content.as_ptr()) && content.as_ptr_range().end <= within.end, "cut from what came");
    // This reader goes less deep and knows no half surrogates.
    let Ok(whole) = serde_json::from_slice::<Value>(data) else { return };
    let inner: Value = serde_json::from_slice(content).expect("JSON within JSON");
    assert!(whole.get("alipay_trade_query_response").or(whole.get("error_response")) == Some(&inner));
    if let Ok(texts) = wire::texts(envelope.content) {
        assert!(texts.iter().all(|(name, text)| inner[name] == *text.as_str()));
    }
}

/// The inner object of an answer, signed as Alipay would.
pub fn answer(data: &[u8]) {
    let Ok(content) = std::str::from_utf8(data) else { return };
    // What is not even read would only be signed in vain.
    let Ok(fields) = wire::texts(content) else { return };
    let attempt = attempt("CNY");
    let frozen = ALIPAY.freeze(&ask(Method::Qr, "CNY"));
    let sign = GATEWAY.sign(content);
    for method in [requests::PRECREATE, requests::QUERY, requests::CLOSE, requests::REFUND, requests::REFUND_QUERY] {
        let name = format!("{}_response", method.replace('.', "_"));
        let body = format!(r#"{{"{name}":{content},"sign":"{sign}"}}"#).into_bytes();
        let all = read_all(&*ALIPAY, &frozen, "CNY", &Answer { status: 200, headers: Vec::new(), body });
        let good = matches!(all.submitted.outcome, SendOutcome::Accepted { .. } | SendOutcome::Paid { .. })
            || matches!(all.finding, Some(Finding::Paid { .. } | Finding::Closed | Finding::Pending))
            || is_told(&all.refund)
            || is_told(&all.refund_query);
        assert!(!good || fields["code"] == "10000", "a refusal was taken for a success");
        if let Some(Finding::Paid { amount_minor, .. }) = all.finding {
            assert_eq!(fields["out_trade_no"], attempt.number.to_string());
            is_amount(&fields["total_amount"], amount_minor);
        }
    }
}

/// A file as it is downloaded, or the table in it.
pub fn bill(data: &[u8]) {
    is_sound_bill(&statement::read(data), usize::MAX);
    is_sound_bill(&statement::lines(data), data.len());
}

/// An amount is that of its text, whose last zeros may be left out.
fn is_amount(text: &str, amount_minor: i64) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert_eq!(yuan::written(amount_minor), format!("{whole}.{fraction:0<2}"));
}

#[test]
fn a_frozen_request_is_kept_as_it_was() {
    crate::channels::properties::frozen_is_kept(&*ALIPAY, Method::Qr, "CNY");
    crate::channels::properties::frozen_is_kept(&*ALIPAY, Method::Page, "CNY");
}
