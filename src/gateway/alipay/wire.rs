//! How Alipay tells of money: `trade_status_sync` notifications, forms that are signed without `sign_type`.

use std::sync::OnceLock;

use aws_lc_rs::digest;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::form::{self, Parameters};
use super::signing::{AppKey, SigningKey, certificate_sn, root_sn, signed_text};
use super::units::{beijing, compact_day, yuan};
use crate::config::sandbox;
use crate::gateway::books::{Notice, RefundNotice};
use crate::gateway::fate::RefundState;
use crate::gateway::wire::{Callback, TimeScale, Wire};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// opendocs.alipay.com: 4 m, 10 m, 10 m, 1 h, 2 h, 6 h, 15 h.
const RETRY_MS: [i64; 7] =
    [4 * MINUTE_MS, 10 * MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 2 * HOUR_MS, 6 * HOUR_MS, 15 * HOUR_MS];
/// The one payer of the sandbox.
pub const BUYER_ID: &str = "2088000000000001";
pub const BUYER_LOGON_ID: &str = "pay***@sandbox.example";

/// One application, as Alipay knows it.
pub struct AlipayWire {
    pub app_id: String,
    pub seller_id: String,
    pub app_key: AppKey,
    pub key: SigningKey,
    pub certificates: Certificates,
    /// Made when the first callback is forged: few runs need it.
    stranger: OnceLock<Option<SigningKey>>,
    retry_ms: Vec<i64>,
}

/// The names of the certificates of both sides, for merchants who use them.
pub struct Certificates {
    pub app_sn: String,
    pub alipay_sn: String,
    pub root_sn: String,
    /// Alipay's own, as PEM.
    pub alipay: String,
}

/// What is kept with a payment.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub subject: String,
    pub created_at: i64,
    pub notify_url: Option<String>,
    pub origin: Origin,
    /// What the merchant wants to read again in notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passback_params: Option<String>,
}

/// Whose request made a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The payer's browser, with the merchant's signature.
    Browser,
    /// The merchant, for a code to be scanned.
    Scan,
}

impl Kept {
    pub fn read(data: Option<&str>) -> Option<Self> {
        serde_json::from_str(data?).ok()
    }
}

impl AlipayWire {
    /// None if a key or certificate is malformed.
    pub fn new(account: &sandbox::Alipay, time_scale: TimeScale) -> Option<Self> {
        Some(AlipayWire {
            app_id: account.app_id.clone(),
            seller_id: account.seller_id.clone(),
            app_key: AppKey::from_pem(&account.app_public_key)?,
            key: SigningKey::from_pem(&account.alipay_key)?,
            certificates: Certificates {
                app_sn: certificate_sn(&account.app_certificate)?,
                alipay_sn: certificate_sn(&account.alipay_certificate)?,
                root_sn: root_sn(&account.root_certificate)?,
                alipay: account.alipay_certificate.clone(),
            },
            stranger: OnceLock::new(),
            retry_ms: time_scale.all(&RETRY_MS),
        })
    }

    fn notification(&self, trade: &Trade<'_>, sent_at: i64) -> Parameters {
        let amount = yuan(trade.captured_minor);
        let funds = json!([{ "amount": amount, "fundChannel": "ALIPAYACCOUNT" }]).to_string();
        let mut fields = vec![
            ("app_id", self.app_id.clone()),
            ("auth_app_id", self.app_id.clone()),
            ("buyer_id", BUYER_ID.to_owned()),
            ("buyer_pay_amount", amount.clone()),
            ("charset", "utf-8".to_owned()),
            ("fund_bill_list", funds),
            ("gmt_payment", beijing(trade.paid_at)),
            ("invoice_amount", amount.clone()),
            ("notify_id", notify_id(trade)),
            ("notify_time", beijing(sent_at)),
            ("notify_type", "trade_status_sync".to_owned()),
            ("out_trade_no", trade.number.to_owned()),
            ("point_amount", "0.00".to_owned()),
            ("receipt_amount", amount.clone()),
            ("seller_id", self.seller_id.clone()),
            ("sign_type", "RSA2".to_owned()),
            ("total_amount", amount),
            ("trade_no", trade.trade_no.to_owned()),
            ("trade_status", trade.status.to_owned()),
            ("version", "1.0".to_owned()),
        ];
        if let Some(kept) = trade.kept {
            fields.push(("gmt_create", beijing(kept.created_at)));
            fields.push(("subject", kept.subject.clone()));
            fields.extend(kept.body.clone().map(|text| ("body", text)));
            fields.extend(kept.passback_params.clone().map(|text| ("passback_params", text)));
        }
        if let Some(refund) = &trade.refund {
            fields.push(("gmt_refund", beijing(refund.at)));
            fields.push(("out_biz_no", refund.number.to_owned()));
            fields.push(("refund_fee", yuan(refund.total_minor)));
        }
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn told(&self, notice: &Notice, key: &SigningKey, sent_at: i64) -> Callback {
        let kept = Kept::read(notice.data.as_deref());
        let trade = Trade {
            number: &notice.number,
            trade_no: &notice.capture.reference,
            status: "TRADE_SUCCESS",
            captured_minor: notice.capture.amount_minor,
            paid_at: notice.capture.at,
            kept: kept.as_ref(),
            refund: None,
        };
        signed(self.notification(&trade, sent_at), key)
    }
}

/// What a notification tells of.
struct Trade<'a> {
    number: &'a str,
    trade_no: &'a str,
    status: &'a str,
    captured_minor: i64,
    paid_at: i64,
    kept: Option<&'a Kept>,
    refund: Option<Refunding<'a>>,
}

struct Refunding<'a> {
    number: &'a str,
    at: i64,
    /// Of all refunds of the trade.
    total_minor: i64,
}

/// The same in every try.
fn notify_id(trade: &Trade<'_>) -> String {
    let refund = trade.refund.as_ref().map_or("", |refund| refund.number);
    let digest = digest::digest(&digest::SHA256, format!("{} {refund}", trade.trade_no).as_bytes());
    digest.as_ref().iter().take(17).map(|byte| format!("{byte:02x}")).collect()
}

fn signed(mut parameters: Parameters, key: &SigningKey) -> Callback {
    let sign = key.sign(signed_text(&parameters, &["sign", "sign_type"]).as_bytes());
    parameters.insert("sign".to_owned(), sign);
    Callback {
        headers: Vec::new(),
        content_type: "application/x-www-form-urlencoded; charset=utf-8",
        body: form::write(&parameters).into_bytes(),
    }
}

impl Wire for AlipayWire {
    /// A `trade_no`: the day, four digits and sixteen more.
    fn reference(&self, at: i64) -> String {
        let number: u64 = rand::rng().random_range(0..10u64.pow(16));
        format!("{}2200{number:016}", compact_day(at))
    }

    fn callback(&self, notice: &Notice, sent_at: i64) -> Callback {
        self.told(notice, &self.key, sent_at)
    }

    fn forged(&self, notice: &Notice, sent_at: i64) -> Callback {
        let stranger = self.stranger.get_or_init(SigningKey::stranger);
        // Without any other key there is none to forge with, and the merchant's own fields are left unsigned.
        match stranger {
            Some(key) => self.told(notice, key, sent_at),
            None => Callback { headers: Vec::new(), content_type: "text/plain", body: Vec::new() },
        }
    }

    /// Only of money that the payer has.
    fn tells(&self, state: RefundState) -> bool {
        state == RefundState::Refunded
    }

    /// What is given back in part leaves the trade as it is; all of it closes the trade.
    fn refund_callback(&self, notice: &RefundNotice, sent_at: i64) -> Option<Callback> {
        let news = Some(notice.news).filter(|news| self.tells(news.state))?;
        let capture = notice.payment.capture.as_ref()?;
        let kept = Kept::read(notice.payment.data.as_deref());
        let is_whole = notice.payment.refunded_minor == capture.amount_minor;
        let trade = Trade {
            number: &notice.number,
            trade_no: &capture.reference,
            status: if is_whole { "TRADE_CLOSED" } else { "TRADE_SUCCESS" },
            captured_minor: capture.amount_minor,
            paid_at: capture.at,
            kept: kept.as_ref(),
            refund: Some(Refunding {
                number: &notice.refund_number,
                at: news.at,
                total_minor: notice.payment.refunded_minor,
            }),
        };
        Some(signed(self.notification(&trade, sent_at), &self.key))
    }

    /// Seven characters, and nothing else.
    fn is_acknowledgement(&self, status: u16, body: &[u8]) -> bool {
        status == 200 && body == b"success"
    }

    fn retry_ms(&self) -> &[i64] {
        &self.retry_ms
    }
}
