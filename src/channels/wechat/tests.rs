//! WeChat Pay as the tests have it: keys made for one run, and answers and notifications that are signed by them.

mod bills;
mod callbacks;
mod golden;
mod money;
mod refunds;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, SerialNumber};
use secrecy::SecretString;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::keys::Signer;
use super::{Credentials, PublicKey, Wechat};
use crate::channels::{Adapter, Answer, Ask, Attempted, Payer, Received, RefundAsk, Stamp, Submission};
use crate::domain::channel::Method;
use crate::domain::dated::Dated;
use crate::domain::id::{AttemptNumber, Incarnation, OrderId};
use crate::domain::money::Currency;
use crate::domain::time::Instant;

const NOW: Instant = Instant(1_790_000_000_123);
const API_V3_KEY: &str = "0123456789abcdefghijklmnopqrstuv";
const MCHID: &str = "1900000001";
const APPID: &str = "wxd678efh567hg6787";
const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0119000000012026092100192382001802";
const REFERENCE: &str = "4200000925202101284997714292";
const BASE_URL: &str = "http://127.0.0.1:8090/wechat";

static MERCHANT: LazyLock<KeyPair> = LazyLock::new(key);
static PLATFORM: LazyLock<KeyPair> = LazyLock::new(key);
static STRANGER: LazyLock<KeyPair> = LazyLock::new(key);

fn key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

/// A certificate of `key`, valid for `days` before and after now.
fn certificate(key: &KeyPair, serial: u8, days: std::ops::Range<i64>) -> (String, String) {
    let now = OffsetDateTime::from_unix_timestamp(NOW.0 / 1_000).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let mut number = [serial; 20];
    number[0] = 0x4A;
    params.serial_number = Some(SerialNumber::from_slice(&number));
    params.not_before = now + time::Duration::days(days.start);
    params.not_after = now + time::Duration::days(days.end);
    let hex = number.iter().map(|byte| format!("{byte:02X}")).collect();
    (hex, params.self_signed(key).unwrap().pem())
}

fn credentials() -> Credentials {
    Credentials {
        mchid: MCHID.into(),
        appid: APPID.into(),
        appids: BTreeMap::new(),
        merchant_serial: "408B07E79B8269FEC3D5D3E6AB8ED163A6A380DB".into(),
        merchant_key: SecretString::from(MERCHANT.serialize_pem()),
        api_v3_key: SecretString::from(API_V3_KEY),
        public_key: Some(PublicKey { id: PUBLIC_KEY_ID.into(), pem: PLATFORM.public_key_pem() }),
        platform_certificates: Vec::new(),
    }
}

fn adapter(credentials: Credentials) -> Wechat {
    Wechat::new("default", BASE_URL, credentials).unwrap()
}

fn wechat() -> Wechat {
    adapter(credentials())
}

fn stamp() -> Stamp {
    Stamp { at: NOW, nonce: "593BEC0C930BF1AFEB40B4A08C8FB242".into() }
}

fn attempt() -> Attempted {
    Attempted {
        number: AttemptNumber {
            order: OrderId::from_u128(0x0194_0000_1111_7222_8333_4444_5555_6666),
            ordinal: 3,
            incarnation: Incarnation::default(),
        },
        opened_at: NOW.plus_ms(-60_000),
        expires_at: NOW.plus_ms(7_200_000),
        arrives_by: NOW.plus_ms(7_500_000),
        payable_minor: 20_060,
        currency: Currency::parse("CNY").unwrap(),
        reference: None,
    }
}

static PAYER: LazyLock<Payer> =
    LazyLock::new(|| Payer { openid: Some("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".into()), ip: Some("192.0.2.7".into()) });

fn ask(method: Method) -> Ask<'static> {
    let attempt = attempt();
    Ask {
        number: attempt.number,
        method,
        payable_minor: attempt.payable_minor,
        currency: attempt.currency,
        description: "茶 \"Tea\"",
        notify_url: "https://m.example/v1/callbacks/wechat".into(),
        return_url: Some("https://shop.example/thanks?a=1&b=2"),
        payer: &PAYER,
        opened_at: attempt.opened_at,
        expires_at: attempt.expires_at,
    }
}

fn refund_ask() -> RefundAsk {
    let attempt = attempt();
    RefundAsk {
        refund_number: crate::channels::properties::first_refund(attempt.number),
        id: None,
        attempt,
        reference: REFERENCE.into(),
        dated_at: NOW,
        captured_minor: 20_059,
        amount_minor: 20_059,
        reason: Some("货不对板, sold out".into()),
        notify_url: "https://m.example/v1/callbacks/wechat".into(),
    }
}

/// How a message of WeChat Pay's is signed; each test spoils one thing.
struct Far<'a> {
    key: &'a KeyPair,
    serial: &'a str,
    at: Instant,
}

const PLATFORM_SERIAL: &str = PUBLIC_KEY_ID;

fn far() -> Far<'static> {
    Far { key: &PLATFORM, serial: PLATFORM_SERIAL, at: NOW }
}

impl Far<'_> {
    fn headers(&self, body: &[u8]) -> Vec<(String, String)> {
        let timestamp = (self.at.0 / 1_000).to_string();
        let signer = Signer::new(&SecretString::from(self.key.serialize_pem())).unwrap();
        let signature = signer.sign(&[timestamp.as_bytes(), b"c5ac7061fccab6bf3e254dcf98995b8c", body]);
        [
            ("Wechatpay-Timestamp", timestamp.as_str()),
            ("Wechatpay-Nonce", "c5ac7061fccab6bf3e254dcf98995b8c"),
            ("Wechatpay-Signature", &signature),
            ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048"),
            ("Wechatpay-Serial", self.serial),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn answer(&self, status: u16, body: impl ToString) -> Answer {
        let body = body.to_string().into_bytes();
        Answer { status, headers: self.headers(&body), body }
    }
}

fn unsigned(status: u16, body: impl ToString) -> Answer {
    Answer { status, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn failure(status: u16, code: &str) -> Answer {
    unsigned(status, json!({"code": code, "message": "…", "detail": {"location": "uri"}}))
}

/// A resource as WeChat Pay encrypts it.
fn sealed(plain: &[u8], associated: &str) -> Value {
    let nonce = "fdasflkja484";
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, API_V3_KEY.as_bytes()).unwrap());
    let mut text = plain.to_vec();
    let nonce_bytes = Nonce::try_assume_unique_for_key(nonce.as_bytes()).unwrap();
    key.seal_in_place_append_tag(nonce_bytes, Aad::from(associated.as_bytes()), &mut text).unwrap();
    json!({
        "original_type": "transaction",
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": STANDARD.encode(text),
        "associated_data": associated,
        "nonce": nonce,
    })
}

/// A payment as queries and notifications tell it, by the example of the published pages.
fn transaction() -> Value {
    json!({
        "appid": APPID, "mchid": MCHID, "out_trade_no": attempt().number.to_string(), "transaction_id": REFERENCE,
        "trade_type": "NATIVE", "trade_state": "SUCCESS", "trade_state_desc": "支付成功", "bank_type": "OTHERS",
        "attach": "", "success_time": "2026-09-21T22:13:01+08:00", "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        "amount": {"total": 20_060, "payer_total": 20_000, "currency": "CNY", "payer_currency": "CNY"},
    })
}

/// When that was.
fn paid_at() -> Dated {
    Dated::at(Instant::parse_rfc3339("2026-09-21T22:13:01+08:00").unwrap())
}

/// `base` with one thing changed: a path such as `amount.total`, and what stands there instead.
fn changed(mut base: Value, path: &str, value: Value) -> Value {
    let pointer = format!("/{}", path.replace('.', "/"));
    *base.pointer_mut(&pointer).unwrap_or_else(|| panic!("{path} is there")) = value;
    base
}
