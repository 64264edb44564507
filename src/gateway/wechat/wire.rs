//! How WeChat Pay tells of money: notifications sealed under the APIv3 key and signed like its answers.

use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::offset;

use super::bodies::Product;
use super::sealing::{Sealed, Sealing};
use super::signing::{Merchant, Signer, valid_s};
use crate::config::sandbox;
use crate::gateway::alphanumeric;
use crate::gateway::books::{Capture, Notice, RefundNotice};
use crate::gateway::fate::RefundState;
use crate::gateway::wire::{Callback, TimeScale, Wire};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// pay.weixin.qq.com merchant docs 4012791861.
const RETRY_MS: [i64; 15] = [
    15 * SECOND_MS,
    15 * SECOND_MS,
    30 * SECOND_MS,
    3 * MINUTE_MS,
    10 * MINUTE_MS,
    20 * MINUTE_MS,
    30 * MINUTE_MS,
    30 * MINUTE_MS,
    30 * MINUTE_MS,
    60 * MINUTE_MS,
    3 * HOUR_MS,
    3 * HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    6 * HOUR_MS,
];
const NONCE_LENGTH: usize = 32;
/// The one payer of the sandbox, where a request names none.
const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";
pub const BANK: &str = "OTHERS";

/// One merchant, as WeChat Pay knows it.
pub struct WechatWire {
    pub merchant: Merchant,
    pub sealing: Sealing,
    /// By the platform certificate.
    platform: Signer,
    /// By the WeChat Pay public key.
    public: Signer,
    platform_certificate: String,
    platform_valid_s: (i64, i64),
    /// Made when the first callback is forged: few runs need it.
    stranger: OnceLock<Option<Signer>>,
    retry_ms: Vec<i64>,
}

/// By which key WeChat Pay tells of a payment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Telling {
    /// The payment's request named no public key: its merchant may know of none.
    #[default]
    Certificate,
    /// A merchant that changes over to the public key is told by both kinds; here each payment has its own.
    Either,
}

/// What is kept with a payment.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub product: Product,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    pub description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    #[serde(default)]
    pub telling: Telling,
}

impl Kept {
    pub fn read(data: Option<&str>) -> Option<Self> {
        serde_json::from_str(data?).ok()
    }
}

#[derive(Serialize)]
struct Notification<'a> {
    id: String,
    create_time: String,
    resource_type: &'static str,
    event_type: &'static str,
    summary: &'static str,
    resource: Resource<'a>,
}

#[derive(Serialize)]
struct Resource<'a> {
    original_type: &'a str,
    #[serde(flatten)]
    sealed: Sealed,
}

/// What a notification is about.
#[derive(Debug, Clone, Copy)]
enum Event {
    Paid,
    Refunded,
    /// Over, and nothing was paid.
    Closed,
    /// The payer's bank does not take it.
    Abnormal,
}

impl Event {
    const fn of_refund(state: RefundState) -> Option<Self> {
        match state {
            RefundState::Refunded => Some(Event::Refunded),
            RefundState::Ended => Some(Event::Closed),
            RefundState::Stuck => Some(Event::Abnormal),
            RefundState::Pending | RefundState::Returned => None,
        }
    }
}

impl WechatWire {
    /// None if a key or certificate is malformed.
    pub fn new(account: &sandbox::Wechat, time_scale: TimeScale) -> Option<Self> {
        let appids = [std::slice::from_ref(&account.appid), &account.more_appids].concat();
        Some(WechatWire {
            merchant: Merchant::new(&account.mchid, appids, &account.merchant_certificate)?,
            sealing: Sealing::new(&account.api_v3_key)?,
            platform: Signer::new(&account.platform_serial, &account.platform_key)?,
            public: Signer::new(&account.public_key_id, &account.public_key_private)?,
            platform_certificate: account.platform_certificate.clone(),
            platform_valid_s: valid_s(&account.platform_certificate)?,
            stranger: OnceLock::new(),
            retry_ms: time_scale.all(&RETRY_MS),
        })
    }

    /// Who signs an answer: whoever the request names, else the platform certificate.
    pub fn answering(&self, wanted_serial: Option<&str>) -> &Signer {
        match wanted_serial {
            Some(serial) if serial == self.public.serial => &self.public,
            Some(_) | None => &self.platform,
        }
    }

    /// How a payment will be told of whose request wants its answer signed by this key.
    pub fn telling(&self, wanted_serial: Option<&str>) -> Telling {
        if wanted_serial == Some(&self.public.serial) { Telling::Either } else { Telling::Certificate }
    }

    fn teller(&self, number: &str, data: Option<&str>) -> &Signer {
        match Kept::read(data).map_or(Telling::default(), |kept| kept.telling) {
            Telling::Either if digest(&SHA256, number.as_bytes()).as_ref()[0].is_multiple_of(2) => &self.public,
            Telling::Either | Telling::Certificate => &self.platform,
        }
    }

    /// The platform certificates, sealed.
    pub fn certificates(&self) -> Vec<u8> {
        let (from_s, until_s) = self.platform_valid_s;
        json_bytes(&json!({ "data": [{
            "serial_no": self.platform.serial,
            "effective_time": clock(from_s * 1_000),
            "expire_time": clock(until_s * 1_000),
            "encrypt_certificate": self.sealing.seal(self.platform_certificate.as_bytes(), "certificate"),
        }] }))
    }

    /// The appid that a payment was asked for with.
    pub fn appid<'a>(&'a self, kept: &'a Kept) -> Option<&'a str> {
        kept.appid.as_deref().or(self.merchant.appids.first().map(String::as_str))
    }

    /// A capture as query and notification tell it.
    pub fn transaction(&self, number: &str, capture: &Capture, state: &str, kept: &Kept) -> Value {
        json!({
            "appid": self.appid(kept),
            "mchid": self.merchant.mchid,
            "out_trade_no": number,
            "transaction_id": &*capture.reference,
            "trade_type": kept.product.name(),
            "trade_state": state,
            "trade_state_desc": if state == "REFUND" { "转入退款" } else { "支付成功" },
            "bank_type": BANK,
            "attach": kept.attach.as_deref().unwrap_or_default(),
            "success_time": clock(capture.at),
            "payer": { "openid": kept.openid.as_deref().unwrap_or(OPENID) },
            "amount": {
                "total": capture.amount_minor,
                "payer_total": capture.amount_minor,
                "currency": "CNY",
                "payer_currency": "CNY",
            },
        })
    }

    fn notification(&self, event: Event, id: &str, content: &Value, signer: &Signer, sent_at: i64) -> Callback {
        let (event_type, original_type, summary) = match event {
            Event::Paid => ("TRANSACTION.SUCCESS", "transaction", "支付成功"),
            Event::Refunded => ("REFUND.SUCCESS", "refund", "退款成功"),
            Event::Closed => ("REFUND.CLOSED", "refund", "退款关闭"),
            Event::Abnormal => ("REFUND.ABNORMAL", "refund", "退款异常"),
        };
        let sealed = self.sealing.seal(&json_bytes(content), original_type);
        let body = json_bytes(&Notification {
            id: stable_id(id),
            create_time: clock(sent_at),
            resource_type: "encrypt-resource",
            event_type,
            summary,
            resource: Resource { original_type, sealed },
        });
        let headers = signer.headers(&body, fresh_nonce(), sent_at / 1_000);
        Callback { headers, content_type: "application/json", body }
    }

    fn paid(&self, notice: &Notice, signer: &Signer, sent_at: i64) -> Callback {
        let kept = Kept::read(notice.data.as_deref()).unwrap_or(Kept {
            product: Product::Native,
            appid: None,
            description: String::new(),
            attach: None,
            openid: None,
            telling: Telling::default(),
        });
        let content = self.transaction(&notice.number, &notice.capture, "SUCCESS", &kept);
        self.notification(Event::Paid, &notice.capture.reference, &content, signer, sent_at)
    }
}

impl Wire for WechatWire {
    fn reference(&self, at: i64) -> String {
        numbered("42000", at)
    }

    fn callback(&self, notice: &Notice, sent_at: i64) -> Callback {
        self.paid(notice, self.teller(&notice.number, notice.data.as_deref()), sent_at)
    }

    fn forged(&self, notice: &Notice, sent_at: i64) -> Callback {
        let named = self.teller(&notice.number, notice.data.as_deref());
        let stranger = self.stranger.get_or_init(|| Signer::stranger(&named.serial));
        let mut callback = self.paid(notice, named, sent_at);
        match stranger {
            // Another key under the true name.
            Some(stranger) => {
                callback.headers = stranger.headers(&callback.body, fresh_nonce(), sent_at / 1_000);
                name(&mut callback.headers, &named.serial);
            }
            // Without a key, a signature over something else is as wrong.
            None => callback.headers = named.headers(b"", fresh_nonce(), sent_at / 1_000),
        }
        callback
    }

    fn tells(&self, state: RefundState) -> bool {
        Event::of_refund(state).is_some()
    }

    fn refund_callback(&self, notice: &RefundNotice, sent_at: i64) -> Option<Callback> {
        let capture = notice.payment.capture.as_ref()?;
        let event = Event::of_refund(notice.news.state)?;
        let mut content = json!({
            "mchid": self.merchant.mchid,
            "out_trade_no": &*notice.number,
            "transaction_id": &*capture.reference,
            "out_refund_no": &*notice.refund_number,
            "refund_id": notice.refund.reference.as_deref().unwrap_or_default(),
            "refund_status": status(notice.news.state),
            "user_received_account": "支付用户零钱",
            "amount": {
                "total": capture.amount_minor,
                "refund": notice.refund.amount_minor,
                "payer_total": capture.amount_minor,
                "payer_refund": notice.refund.amount_minor,
            },
        });
        if notice.news.state == RefundState::Refunded {
            content["success_time"] = clock(notice.news.at).into();
        }
        let signer = self.teller(&notice.number, notice.payment.data.as_deref());
        Some(self.notification(event, &notice.refund_number, &content, signer, sent_at))
    }

    /// 200 or 204, whatever the body.
    fn is_acknowledgement(&self, status: u16, _body: &[u8]) -> bool {
        matches!(status, 200 | 204)
    }

    fn retry_ms(&self) -> &[i64] {
        &self.retry_ms
    }
}

fn name(headers: &mut [(&'static str, String)], serial: &str) {
    for (header, value) in headers {
        if *header == "wechatpay-serial" {
            value.replace_range(.., serial);
        }
    }
}

pub fn fresh_nonce() -> String {
    String::from_utf8_lossy(&alphanumeric::<NONCE_LENGTH>()).into_owned()
}

/// A fresh number of WeChat Pay's own: a kind, the day, and digits, 28 in all.
pub fn numbered(kind: &str, at: i64) -> String {
    let day: String = clock(at).chars().take(10).filter(char::is_ascii_digit).collect();
    let mut rng = rand::rng();
    let mut number = format!("{kind}{day}");
    while number.len() < 28 {
        number.push(char::from(b'0' + rng.random_range(0..10u8)));
    }
    number
}

/// The same in every try, 36 characters.
fn stable_id(of: &str) -> String {
    let digest = digest(&SHA256, of.as_bytes());
    let hex: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A refund's status, which its notification calls `refund_status`. No refund of WeChat Pay leaves success again.
pub const fn status(state: RefundState) -> &'static str {
    match state {
        RefundState::Pending => "PROCESSING",
        RefundState::Refunded | RefundState::Returned => "SUCCESS",
        RefundState::Ended => "CLOSED",
        RefundState::Stuck => "ABNORMAL",
    }
}

/// RFC 3339 in Beijing's time, to the second.
pub fn clock(at_ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at_ms.div_euclid(1_000))
        .ok()
        .and_then(|at| at.to_offset(offset!(+8)).format(&Rfc3339).ok())
        .unwrap_or_default()
}

pub fn json_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own values are JSON")
}
