//! What `biz_content` may hold, call by call: the members that mean something here. Of the others Alipay documents
//! dozens, by product and by merchant, and like the true gateway this one does not look at them.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;

use super::answers::{Failure, INVALID_PARAMETER};
use super::units;

const NUMBER_MAX: usize = 64;
const SUBJECT_MAX: usize = 256;
const REFUND_REASON_MAX: usize = 256;

/// One JSON object. Without the look at its first byte an array of its values would pass too.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Failure> {
    if !text.trim_start().starts_with('{') {
        return Err(INVALID_PARAMETER);
    }
    serde_json::from_str(text).map_err(|_| INVALID_PARAMETER)
}

/// `alipay.trade.page.pay`, `alipay.trade.wap.pay`, `alipay.trade.precreate`.
#[derive(Deserialize)]
pub struct Payment {
    pub out_trade_no: String,
    #[serde(deserialize_with = "price")]
    pub total_amount: String,
    pub subject: String,
    #[serde(default)]
    pub product_code: Option<String>,
    #[serde(default)]
    pub time_expire: Option<String>,
    #[serde(default)]
    pub timeout_express: Option<String>,
    #[serde(default)]
    pub seller_id: Option<String>,
    #[serde(default)]
    pub body: Option<String>,
    #[serde(default)]
    pub passback_params: Option<String>,
}

/// What makes two requests the same.
#[derive(Serialize)]
pub struct Asked<'a> {
    pub method: &'a str,
    pub out_trade_no: &'a str,
    pub total_fen: i64,
    pub subject: &'a str,
    pub time_expire: Option<&'a str>,
    pub timeout_express: Option<&'a str>,
    pub notify_url: Option<&'a str>,
}

/// `alipay.trade.query`, `alipay.trade.close`.
#[derive(Deserialize)]
pub struct Trade {
    #[serde(default)]
    pub out_trade_no: Option<String>,
    #[serde(default)]
    pub trade_no: Option<String>,
}

/// `alipay.trade.refund`.
#[derive(Deserialize)]
pub struct Refund {
    #[serde(default)]
    pub out_trade_no: Option<String>,
    #[serde(default)]
    pub trade_no: Option<String>,
    #[serde(deserialize_with = "price")]
    pub refund_amount: String,
    #[serde(default)]
    pub out_request_no: Option<String>,
    #[serde(default)]
    pub refund_reason: Option<String>,
}

/// `alipay.trade.fastpay.refund.query`.
#[derive(Deserialize)]
pub struct RefundQuery {
    #[serde(default)]
    pub out_trade_no: Option<String>,
    #[serde(default)]
    pub trade_no: Option<String>,
    pub out_request_no: String,
}

/// `alipay.open.app.alipaycert.download`.
#[derive(Deserialize)]
pub struct CertificateQuery {
    pub alipay_cert_sn: String,
}

/// `alipay.data.dataservice.bill.downloadurl.query`.
#[derive(Deserialize)]
pub struct BillQuery {
    pub bill_type: String,
    pub bill_date: String,
}

/// An amount, which merchants write as a text or as a number: its digits as they stand there.
fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?.get();
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).map_err(de::Error::custom),
        Some(b'-' | b'0'..=b'9') => Ok(raw.to_owned()),
        Some(_) | None => Err(de::Error::custom("neither a text nor a number")),
    }
}

impl Payment {
    /// The amount in fen, if number, amount, subject and expiry are as Alipay takes them.
    pub fn check(&self) -> Result<i64, Failure> {
        let subject_fits = !self.subject.is_empty()
            && self.subject.chars().count() <= SUBJECT_MAX
            && !self.subject.contains(['/', '=', '&'])
            && !self.subject.chars().any(char::is_control);
        if !is_number(&self.out_trade_no) || !subject_fits {
            return Err(INVALID_PARAMETER);
        }
        units::fen(&self.total_amount).ok_or(INVALID_PARAMETER)
    }
}

impl Refund {
    /// The reason, if it is none or one that Alipay takes.
    pub fn reason(&self) -> Result<Option<&str>, Failure> {
        match self.refund_reason.as_deref() {
            Some(reason) if reason.chars().count() > REFUND_REASON_MAX => Err(INVALID_PARAMETER),
            reason => Ok(reason),
        }
    }
}

/// Up to 64 of letters, digits and underscores.
pub fn is_number(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=NUMBER_MAX).contains(&text.len()) && text.bytes().all(plain)
}
