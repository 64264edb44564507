//! The fields of requests: what must stand there, and in what form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::clock;
use super::form::{Fields, signed_text};
use super::signing::Merchant;

/// Why a request is refused, as UnionPay says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub code: &'static str,
    pub message: &'static str,
}

pub const SUCCESS: Refused = Refused { code: "00", message: "成功[0000000]" };
pub const PENDING: Refused = Refused { code: "05", message: "交易已受理，请稍后查询交易结果[2000005]" };
pub const FAILED: Refused = Refused { code: "01", message: "交易失败[3000001]" };
pub const MALFORMED: Refused = Refused { code: "10", message: "报文格式错误[6100010]" };
pub const BAD_SIGNATURE: Refused = Refused { code: "11", message: "验证签名失败[6131011]" };
pub const DUPLICATE: Refused = Refused { code: "12", message: "重复交易[2010002]" };
pub const STALE: Refused = Refused { code: "10", message: "txnTime无效[6100010]" };
pub const MISSING: Refused = Refused { code: "13", message: "报文交易要素缺失[6100013]" };
pub const NOT_FOUND: Refused = Refused { code: "34", message: "查无此交易[2600000]" };
pub const NO_ORIGINAL: Refused = Refused { code: "35", message: "原交易不存在或状态不正确[2010002]" };
pub const AMOUNT_DIFFERS: Refused = Refused { code: "36", message: "与原交易信息不符[2040004]" };
pub const RISKY: Refused = Refused { code: "38", message: "风险受限[2080001]" };
pub const NO_BALANCE: Refused = Refused { code: "64", message: "余额不足[1000051]" };
pub const NO_FILE: Refused = Refused { code: "98", message: "文件不存在[5100098]" };

const URL_MAX: usize = 256;
/// How far the time of a purchase or refund may be from ours: the kit of 2018 says that another time than the current
/// one is refused, and not how many minutes count as current. A payer may take this long to send the form.
const TXN_TIME_SKEW_MS: i64 = 60 * 60_000;
const RESERVED_MAX: usize = 1_024;
const ORDER_ID_LENGTHS: std::ops::RangeInclusive<usize> = 8..=40;
const AMOUNT_LENGTHS: std::ops::RangeInclusive<usize> = 1..=12;

/// What the books keep with a payment or refund: a transaction is named by its time too.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub txn_time: String,
    pub reserved: Option<String>,
}

impl Kept {
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("plain structs always serialise")
    }

    pub fn read(data: Option<&str>) -> Option<Self> {
        serde_json::from_str(data?).ok()
    }
}

/// A request whose signature is right.
pub struct Request(Fields);

impl Request {
    /// Checks what every request has. Who it says it comes from was looked up before.
    pub fn verify(fields: Fields, merchant: &Merchant) -> Result<Self, Refused> {
        let request = Request(fields);
        request.exact("version", &["5.1.0"])?;
        request.exact("encoding", &["UTF-8", "utf-8"])?;
        request.exact("signMethod", &["01"])?;
        // The sender leaves empty values out before it signs.
        if request.0.values().any(|value| value.is_empty() || value.trim() != value) {
            return Err(MALFORMED);
        }
        if request.needed("certId")? != merchant.cert_id || !merchant.signed(&request.0) {
            return Err(BAD_SIGNATURE);
        }
        request.exact("accessType", &["0"])?;
        Ok(request)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn needed(&self, name: &str) -> Result<&str, Refused> {
        self.get(name).filter(|value| !value.is_empty()).ok_or(MISSING)
    }

    pub fn exact(&self, name: &str, allowed: &[&str]) -> Result<&str, Refused> {
        let value = self.needed(name)?;
        if allowed.contains(&value) { Ok(value) } else { Err(MALFORMED) }
    }

    /// 8 to 40 letters and digits: neither `-` nor `_`.
    pub fn order_id(&self) -> Result<&str, Refused> {
        let value = self.needed("orderId")?;
        let is_order_id =
            ORDER_ID_LENGTHS.contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_order_id { Ok(value) } else { Err(MALFORMED) }
    }

    pub fn txn_time(&self) -> Result<&str, Refused> {
        let value = self.needed("txnTime")?;
        clock::parse(value).map(|_| value).ok_or(MALFORMED)
    }

    /// The same where it names a new transaction.
    pub fn fresh_txn_time(&self, now: i64) -> Result<&str, Refused> {
        let value = self.needed("txnTime")?;
        let at = clock::parse(value).ok_or(MALFORMED)?;
        if now.abs_diff(at) <= TXN_TIME_SKEW_MS.unsigned_abs() { Ok(value) } else { Err(STALE) }
    }

    /// Fen, without a zero in front.
    pub fn amount(&self) -> Result<i64, Refused> {
        let value = self.needed("txnAmt")?;
        let is_amount = AMOUNT_LENGTHS.contains(&value.len())
            && value.bytes().all(|byte| byte.is_ascii_digit())
            && !value.starts_with('0');
        value.parse().ok().filter(|_| is_amount).ok_or(MALFORMED)
    }

    pub fn address(&self, name: &str) -> Result<&str, Refused> {
        let value = self.needed(name)?;
        let is_address = value.len() <= URL_MAX
            && url::Url::parse(value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if is_address { Ok(value) } else { Err(MALFORMED) }
    }

    pub fn reserved(&self) -> Result<Option<&str>, Refused> {
        match self.get("reqReserved") {
            Some(text) if text.len() > RESERVED_MAX || text.chars().any(char::is_control) => Err(MALFORMED),
            reserved => Ok(reserved),
        }
    }

    /// What a refund gives as its reason: special characters travel as base64, so that a text that is none is no reason.
    pub fn reason(&self) -> Option<String> {
        String::from_utf8(STANDARD.decode(self.get("reqReserved")?).ok()?).ok()
    }

    /// Everything that the merchant meant: of two requests that differ only by who signed, it is the same.
    pub fn meaning(&self) -> String {
        let mut fields = self.0.clone();
        fields.remove("certId");
        signed_text(&fields)
    }

    /// The fields that an answer repeats.
    pub fn repeated(&self) -> Fields {
        let names = ["version", "encoding", "txnType", "txnSubType", "bizType", "accessType", "merId", "orderId"]
            .into_iter()
            .chain(["txnTime", "txnAmt", "currencyCode", "origQryId", "reqReserved", "settleDate", "fileType"]);
        names.filter_map(|name| Some((name.to_owned(), self.0.get(name)?.clone()))).collect()
    }
}
