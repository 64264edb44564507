//! What `biz_content` may hold, call by call. Fields that Alipay documents and that change nothing here are named, so
//! that a misspelt one is noticed.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::answers::{Failure, INVALID_PARAMETER};
use super::units;

const NUMBER_MAX: usize = 64;
const SUBJECT_MAX: usize = 256;

/// One JSON object. Without the look at its first byte an array of its values would pass too.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Failure> {
    if !text.trim_start().starts_with('{') {
        return Err(INVALID_PARAMETER);
    }
    serde_json::from_str(text).map_err(|_| INVALID_PARAMETER)
}

/// `alipay.trade.page.pay`, `alipay.trade.wap.pay`, `alipay.trade.precreate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    pub out_trade_no: String,
    pub total_amount: String,
    pub subject: String,
    #[serde(default)]
    pub product_code: Option<String>,
    #[serde(default)]
    pub time_expire: Option<String>,
    #[serde(default, rename = "seller_id")]
    pub seller_id: Option<String>,
    #[serde(default, rename = "body")]
    _body: Option<IgnoredAny>,
    #[serde(default, rename = "quit_url")]
    _quit_url: Option<IgnoredAny>,
    #[serde(default, rename = "qr_pay_mode")]
    _qr_pay_mode: Option<IgnoredAny>,
    #[serde(default, rename = "goods_detail")]
    _goods_detail: Option<IgnoredAny>,
    #[serde(default, rename = "extend_params")]
    _extend_params: Option<IgnoredAny>,
    #[serde(default, rename = "passback_params")]
    _passback_params: Option<IgnoredAny>,
    #[serde(default, rename = "store_id")]
    _store_id: Option<IgnoredAny>,
    #[serde(default, rename = "operator_id")]
    _operator_id: Option<IgnoredAny>,
    #[serde(default, rename = "terminal_id")]
    _terminal_id: Option<IgnoredAny>,
}

/// What makes two requests the same.
#[derive(Serialize)]
pub struct Asked<'a> {
    pub method: &'a str,
    pub out_trade_no: &'a str,
    pub total_fen: i64,
    pub subject: &'a str,
    pub time_expire: Option<&'a str>,
    pub notify_url: &'a str,
}

/// `alipay.trade.query`, `alipay.trade.close`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trade {
    #[serde(default)]
    pub out_trade_no: Option<String>,
    #[serde(default)]
    pub trade_no: Option<String>,
    #[serde(default, rename = "query_options")]
    _query_options: Option<IgnoredAny>,
    #[serde(default, rename = "operator_id")]
    _operator_id: Option<IgnoredAny>,
}

/// `alipay.trade.refund`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    #[serde(default)]
    pub out_trade_no: Option<String>,
    #[serde(default)]
    pub trade_no: Option<String>,
    pub refund_amount: String,
    #[serde(default)]
    pub out_request_no: Option<String>,
    #[serde(default, rename = "refund_reason")]
    _refund_reason: Option<IgnoredAny>,
    #[serde(default, rename = "query_options")]
    _query_options: Option<IgnoredAny>,
}

/// `alipay.trade.fastpay.refund.query`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundQuery {
    #[serde(default)]
    pub out_trade_no: Option<String>,
    #[serde(default)]
    pub trade_no: Option<String>,
    pub out_request_no: String,
    #[serde(default, rename = "query_options")]
    _query_options: Option<IgnoredAny>,
}

/// `alipay.data.dataservice.bill.downloadurl.query`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillQuery {
    pub bill_type: String,
    pub bill_date: String,
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

/// Up to 64 of letters, digits and underscores.
pub fn is_number(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=NUMBER_MAX).contains(&text.len()) && text.bytes().all(plain)
}
