//! Fuzz targets: see [`crate::channels::fuzz`].

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use secrecy::SecretString;
use serde_json::json;

use super::keys::PlatformKey;
use super::pay::Order;
use super::wire::{Asked, Created, Product, parse};
use super::{Credentials, PublicKey, Wechat, bill as statement};
use crate::channels::properties::{
    NOW, attempt, is_sound_bill, is_sound_finding, is_sound_notice, is_sound_refund, is_sound_submitted, is_told,
    never_believed, never_heard, refund_ask, stamp, stand_once, value,
};
use crate::channels::{Adapter, Answer, Heard, RefundNotice, Submitted};
use crate::domain::event::{Finding, SendOutcome};

const API_V3_KEY: &str = "0123456789abcdefghijklmnopqrstuv";
const MCHID: &str = "1900000001";
const NONCE: &str = "fdasflkja484";

static WECHAT: LazyLock<Wechat> = LazyLock::new(|| {
    let key = || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let credentials = Credentials {
        mchid: MCHID.into(),
        appid: "wxd678efh567hg6787".into(),
        appids: BTreeMap::new(),
        merchant_serial: "408B07E79B8269FEC3D5D3E6AB8ED163A6A380DB".into(),
        merchant_key: SecretString::from(key().serialize_pem()),
        api_v3_key: SecretString::from(API_V3_KEY),
        public_key: Some(PublicKey {
            id: "PUB_KEY_ID_0119000000012026092100192382001802".into(),
            pem: key().public_key_pem(),
        }),
        platform_certificates: Vec::new(),
    };
    Wechat::new("default", "https://api.example", credentials).expect("good credentials")
});

/// Headers and body of a notification, and of an answer, in front of the signature.
pub fn notification(data: &[u8]) {
    never_heard(&*WECHAT, data);
    let frozen = WECHAT.freeze(&crate::channels::properties::ask(crate::domain::channel::Method::Native, "CNY"));
    never_believed(&*WECHAT, &frozen, "CNY", data);
}

/// What a notification has sealed.
pub fn resource(data: &[u8]) {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, API_V3_KEY.as_bytes()).expect("32 bytes"));
    let mut text = data.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(NONCE.as_bytes()).expect("12 bytes");
    key.seal_in_place_append_tag(nonce, Aad::from(b"transaction"), &mut text).expect("it is sealed");
    for event_type in ["TRANSACTION.SUCCESS", "REFUND.SUCCESS", "REFUND.CLOSED", "REFUND.ABNORMAL"] {
        let envelope = json!({
            "id": "EV-1", "event_type": event_type, "resource_type": "encrypt-resource",
            "resource": {
                "algorithm": "AEAD_AES_256_GCM", "ciphertext": STANDARD.encode(&text), "nonce": NONCE,
                "associated_data": "transaction",
            },
        });
        let Some(heard) = WECHAT.read_notice(envelope.to_string().as_bytes()) else { continue };
        if let Heard::Refund(RefundNotice { number, word: Some(word) }) = &heard {
            stand_once(data, &["mchid", "out_refund_no", "refund_status", "amount"]);
            let Some(value) = value(data) else { return };
            assert_eq!((&value["mchid"], &value["out_refund_no"]), (&MCHID.into(), &number.as_str().into()));
            assert_eq!(value["amount"]["refund"].as_i64(), Some(word.amount_minor));
            assert_eq!(event_type.strip_prefix("REFUND."), value["refund_status"].as_str());
        }
        if let Some(notice) = is_sound_notice(&heard) {
            stand_once(data, &["appid", "mchid", "out_trade_no", "trade_state", "transaction_id", "amount"]);
            let Some(value) = value(data) else { return };
            assert_eq!(value["amount"]["total"].as_i64(), Some(notice.amount_minor));
            assert_eq!(value["mchid"], MCHID);
        }
    }
    // An envelope as it is: nobody else can seal one.
    assert_eq!(WECHAT.read_notice(data), None, "a resource was opened that nobody sealed");
}

/// The body of an answer, behind the signature.
pub fn answer(data: &[u8]) {
    let attempt = attempt("CNY");
    let finding = WECHAT.find(&attempt, data);
    is_sound_finding(&finding, attempt.currency);
    if let Finding::Paid { amount_minor, .. } = finding
        && let Some(value) = value(data)
    {
        stand_once(data, &["appid", "mchid", "out_trade_no", "trade_state", "transaction_id", "amount"]);
        assert_eq!(value["amount"]["total"].as_i64(), Some(amount_minor));
        assert_eq!(value["out_trade_no"], attempt.number.to_string());
    }
    let ask = refund_ask("CNY", "4200000925202101284997714292");
    let refund = WECHAT.refund_state(&ask, data);
    is_sound_refund(&refund);
    if is_told(&refund)
        && let Some(value) = value(data)
    {
        stand_once(data, &["out_refund_no", "transaction_id", "out_trade_no", "status", "amount"]);
        assert_eq!(value["amount"]["refund"].as_i64(), Some(ask.amount_minor));
    }
    if let Some(created) = parse::<Created<'_>>(data) {
        for product in [Product::Native, Product::H5] {
            let order = Order {
                product,
                asked: Asked { appid: "wxd678efh567hg6787".into() },
                return_url: Some("https://shop.example/?a=1"),
                expires_at: attempt.expires_at,
            };
            let next_action = WECHAT.next_action(&order, &created, &stamp());
            let outcome = SendOutcome::Accepted { reference: None };
            is_sound_submitted(&Submitted { outcome, next_action }, attempt.currency);
        }
    }
}

/// Keys and certificates, and the list that brings them.
pub fn keys(data: &[u8]) {
    let listed = Answer { status: 200, headers: Vec::new(), body: data.to_vec() };
    assert!(WECHAT.read_upkeep(&stamp(), &listed).is_err(), "certificates were taken that nobody sealed");
    let Ok(pem) = std::str::from_utf8(data) else { return };
    if let Ok((serial, key)) = PlatformKey::of_certificate(pem) {
        assert!(!serial.starts_with('0'), "{serial}");
        assert!(!key.is_valid(NOW) || key.has_future(NOW));
    }
    if let Ok(key) = PlatformKey::of_public_key(pem) {
        assert!(key.is_valid(NOW));
    }
}

pub fn bill(data: &[u8]) {
    is_sound_bill(&statement::read(data, MCHID), data.len());
}

#[test]
fn a_frozen_request_is_kept_as_it_was() {
    crate::channels::properties::frozen_is_kept(&*WECHAT, crate::domain::channel::Method::Native, "CNY");
    crate::channels::properties::frozen_is_kept(&*WECHAT, crate::domain::channel::Method::Jsapi, "CNY");
    crate::channels::properties::frozen_is_kept(&*WECHAT, crate::domain::channel::Method::H5, "CNY");
}
