//! Callbacks of the real channels, right in every part that a test does not make wrong: made with the keys of the
//! simulated gateway, by the channels' documents and not by the server's code.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use time::OffsetDateTime;
use time::macros::{format_description, offset};
use tongbao::config::sandbox::{Alipay, Stripe, Unionpay, Wechat};
use url::form_urlencoded;

use super::client::{Answer, Client};
use super::gateway::now_s;

/// A payment that a callback tells of.
#[derive(Debug, Clone)]
pub struct Payment {
    pub number: String,
    pub amount_minor: i64,
    /// As the channel names it: `CNY`, `156`, `usd`.
    pub currency: &'static str,
    /// When it is told, in unix seconds.
    pub told_at: i64,
}

impl Payment {
    pub fn of(number: &str, amount_minor: i64, currency: &'static str) -> Self {
        Payment { number: number.to_owned(), amount_minor, currency, told_at: now_s() }
    }
}

/// A callback as it is sent.
#[derive(Debug, Clone)]
pub struct Message {
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Message {
    pub async fn send(&self, client: &Client, path: &str) -> Answer {
        let request = client.anonymous().request(reqwest::Method::POST, path).header("content-type", self.content_type);
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        client.send(request.body(self.body.clone())).await
    }

    /// The same with other bytes under the same signature.
    pub fn with(&self, from: &str, to: &str) -> Self {
        let text = String::from_utf8(self.body.clone()).expect("a body of text");
        assert!(text.contains(from), "{from} in {text}");
        Message { body: text.replacen(from, to, 1).into_bytes(), ..self.clone() }
    }

    /// Cut off in the middle.
    pub fn cut(&self) -> Self {
        Message { body: self.body[..self.body.len() / 2].to_vec(), ..self.clone() }
    }

    pub fn huge(&self) -> Self {
        Message { body: [self.body.as_slice(), &vec![b' '; 80 * 1024]].concat(), ..self.clone() }
    }
}

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const JSON: &str = "application/json";

/// A notification of WeChat Pay's to `account`, by its public key and under its name, signed by `signer`.
pub fn wechat(account: &Wechat, signer: &Wechat, payment: &Payment) -> Message {
    wechat_of(account, signer, payment, |resource| resource)
}

/// The same with another text under seal and signature.
pub fn wechat_of(
    account: &Wechat,
    signer: &Wechat,
    payment: &Payment,
    change: impl FnOnce(String) -> String,
) -> Message {
    let resource = json!({
        "appid": account.appid, "mchid": account.mchid, "out_trade_no": payment.number,
        "transaction_id": "4200000925202101284997714292", "trade_type": "NATIVE", "trade_state": "SUCCESS",
        "amount": {"total": payment.amount_minor, "payer_total": payment.amount_minor, "currency": payment.currency},
    });
    let resource = change(resource.to_string());
    let sealed = wechat_sealed(account, ("TRANSACTION.SUCCESS", "transaction"), resource);
    wechat_signed(sealed, (&account.public_key_id, &rsa_key(&signer.public_key_private)), payment.told_at)
}

/// The body of a notification of this event, with `resource` of this kind under the account's seal.
pub fn wechat_sealed(account: &Wechat, (event_type, kind): (&str, &str), resource: String) -> String {
    let mut text = resource.into_bytes();
    let (nonce, key) = ("fdasflkja484", account.api_v3_key.expose_secret().as_bytes());
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"))
        .seal_in_place_append_tag(
            Nonce::try_assume_unique_for_key(nonce.as_bytes()).expect("12 bytes"),
            Aad::from(kind.as_bytes()),
            &mut text,
        )
        .expect("it is sealed");
    let body = json!({
        "id": "EV-1", "create_time": "2026-01-01T10:00:00+08:00", "event_type": event_type,
        "resource_type": "encrypt-resource", "summary": "成功",
        "resource": {
            "original_type": kind, "algorithm": "AEAD_AES_256_GCM", "ciphertext": STANDARD.encode(text),
            "associated_data": kind, "nonce": nonce,
        },
    });
    body.to_string()
}

/// A notification under the signature of a key, and the name that this key is told by.
pub fn wechat_signed(body: String, (serial, key): (&str, &RsaKeyPair), told_at: i64) -> Message {
    let signature = rsa_by(key, &format!("{told_at}\n593BEC0C930BF1AF\n{body}\n"));
    let headers = vec![
        ("wechatpay-timestamp", told_at.to_string()),
        ("wechatpay-nonce", "593BEC0C930BF1AF".into()),
        ("wechatpay-serial", serial.to_owned()),
        ("wechatpay-signature-type", "WECHATPAY2-SHA256-RSA2048".into()),
        ("wechatpay-signature", signature),
    ];
    Message { content_type: JSON, headers, body: body.into_bytes() }
}

/// A notification of Alipay's to `account`, signed by `signer`; `more` comes on top and is signed too.
pub fn alipay(account: &Alipay, signer: &Alipay, payment: &Payment, more: &[(&str, &str)]) -> Message {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let at = OffsetDateTime::from_unix_timestamp(payment.told_at).expect("a time").to_offset(offset!(+8));
    let yuan = format!("{}.{:02}", payment.amount_minor / 100, payment.amount_minor % 100);
    let mut fields = vec![
        ("app_id", account.app_id.clone()),
        ("notify_id", "2026010100222100005056670500001".into()),
        ("notify_time", at.format(&form).expect("a time")),
        ("notify_type", "trade_status_sync".into()),
        ("out_trade_no", payment.number.clone()),
        ("seller_id", account.seller_id.clone()),
        ("total_amount", yuan),
        ("trade_no", "2026010122001400000000000001".into()),
        ("trade_status", "TRADE_SUCCESS".into()),
    ];
    fields.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let sign = rsa(&signer.alipay_key, &joined(&mut fields));
    fields.extend([("sign_type", "RSA2".to_owned()), ("sign", sign)]);
    encoded(&fields)
}

/// A notification of UnionPay's to `account`, signed by `signer` with its certificate.
pub fn unionpay(account: &Unionpay, signer: &Unionpay, payment: &Payment) -> Message {
    let mut fields = vec![
        ("accessType", "0".to_owned()),
        ("bizType", "000201".into()),
        ("currencyCode", payment.currency.into()),
        ("encoding", "UTF-8".into()),
        ("merId", account.mer_id.clone()),
        ("orderId", payment.number.clone()),
        ("queryId", "782209081322060674028".into()),
        ("respCode", "00".into()),
        ("respMsg", "成功[0000000]".into()),
        ("signMethod", "01".into()),
        ("signPubKeyCert", format!("{}\r\n", signer.signer_certificate)),
        ("txnAmt", payment.amount_minor.to_string()),
        ("txnSubType", "01".into()),
        ("txnTime", "20260101100000".into()),
        ("txnType", "01".into()),
        ("version", "5.1.0".into()),
    ];
    let hash = hex(digest(&SHA256, joined(&mut fields).as_bytes()).as_ref());
    fields.push(("signature", rsa(&signer.signer_key, &hash)));
    encoded(&fields)
}

/// A webhook of Stripe's, signed by `signer`; it may speak of another account that is connected to ours.
pub fn stripe(signer: &Stripe, payment: &Payment, connected: Option<&str>) -> Message {
    let mut body = json!({
        "id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "created": payment.told_at,
        "livemode": false, "api_version": "2026-10-28.endive", "pending_webhooks": 1,
        "data": {"object": {
            "id": "pi_3MtwBwLkdIwHu7ix28a3tqPa", "object": "payment_intent", "status": "succeeded",
            "amount": payment.amount_minor, "amount_received": payment.amount_minor, "currency": payment.currency,
            "metadata": {"attempt": payment.number},
        }},
    });
    if let Some(account) = connected {
        body["account"] = json!(account);
    }
    stripe_signed(body.to_string(), signer.webhook_secret.expose_secret(), payment.told_at)
}

/// An event under the signature of this secret.
pub fn stripe_signed(body: String, secret: &str, told_at: i64) -> Message {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{told_at}.{body}").as_bytes());
    let header = format!("t={told_at},v1={}", hex(tag.as_ref()));
    Message { content_type: JSON, headers: vec![("stripe-signature", header)], body: body.into_bytes() }
}

/// `a=1&b=2`, sorted and not encoded: what Alipay and UnionPay sign.
fn joined(fields: &mut [(&str, String)]) -> String {
    fields.sort();
    fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn encoded(fields: &[(&str, String)]) -> Message {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into_bytes();
    Message { content_type: FORM, headers: Vec::new(), body }
}

pub fn rsa_key(pem: &SecretString) -> RsaKeyPair {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose_secret().as_bytes()).expect("a key in PEM");
    RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("an RSA key")
}

fn rsa(key: &SecretString, text: &str) -> String {
    rsa_by(&rsa_key(key), text)
}

fn rsa_by(key: &RsaKeyPair, text: &str) -> String {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("it signs");
    STANDARD.encode(signature)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
