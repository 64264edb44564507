//! How Alipay answers: 200 whatever happened, an object named after the method, and a signature over its very text.

use serde_json::{Value, json};

use super::wire::AlipayWire;
use crate::gateway::books::Refusal;

/// Why a call is answered with an error. Codes and texts: opendocs.alipay.com/common/02km9f and the calls' own pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub code: &'static str,
    pub sub_code: &'static str,
    pub sub_msg: &'static str,
}

const fn failure(code: &'static str, sub_code: &'static str, sub_msg: &'static str) -> Failure {
    Failure { code, sub_code, sub_msg }
}

pub const MISSING_METHOD: Failure = failure("40001", "isv.missing-method", "缺少方法名参数");
pub const INVALID_METHOD: Failure = failure("40002", "isv.invalid-method", "不存在的方法名");
pub const MISSING_APP_ID: Failure = failure("40001", "isv.missing-app-id", "缺少appId参数");
pub const INVALID_APP_ID: Failure = failure("40002", "isv.invalid-app-id", "无效的AppID参数");
pub const MISSING_SIGNATURE: Failure = failure("40001", "isv.missing-signature", "缺少签名参数");
pub const INVALID_SIGNATURE: Failure = failure("40002", "isv.invalid-signature", "验签出错");
pub const INVALID_SIGNATURE_TYPE: Failure = failure("40002", "isv.invalid-signature-type", "无效的签名类型");
pub const INVALID_TIMESTAMP: Failure = failure("40002", "isv.invalid-timestamp", "非法的时间戳参数");
pub const INVALID_VERSION: Failure = failure("40002", "isv.invalid-version", "无效的版本号");
pub const INVALID_FORMAT: Failure = failure("40002", "isv.invalid-format", "无效的数据格式");
pub const INVALID_CHARSET: Failure = failure("40002", "isv.invalid-charset", "字符集错误");
pub const INVALID_ARGUMENTS: Failure = failure("40002", "isv.invalid-parameter", "参数无效");
pub const INVALID_PARAMETER: Failure = failure("40004", "ACQ.INVALID_PARAMETER", "参数无效");
pub const TRADE_NOT_EXIST: Failure = failure("40004", "ACQ.TRADE_NOT_EXIST", "交易不存在");
pub const TRADE_STATUS_ERROR: Failure = failure("40004", "ACQ.TRADE_STATUS_ERROR", "交易状态不合法");
pub const TRADE_HAS_SUCCESS: Failure = failure("40004", "ACQ.TRADE_HAS_SUCCESS", "交易已被支付");
pub const TRADE_HAS_CLOSE: Failure = failure("40004", "ACQ.TRADE_HAS_CLOSE", "交易已经关闭");
pub const CONTEXT_INCONSISTENT: Failure = failure("40004", "ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改");
pub const TOTAL_FEE_EXCEED: Failure = failure("40004", "ACQ.TOTAL_FEE_EXCEED", "订单总金额超过限额");
pub const SYSTEM_ERROR: Failure = failure("40004", "ACQ.SYSTEM_ERROR", "接口返回错误");
pub const DISCORDANT_REPEAT_REQUEST: Failure = failure("40004", "ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求");
pub const REFUND_FEE_ERR: Failure = failure("40004", "ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额无效");
pub const REFUND_EXCEEDS: Failure = failure("40004", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限");
pub const TRADE_NOT_ALLOW_REFUND: Failure = failure("40004", "ACQ.TRADE_NOT_ALLOW_REFUND", "当前交易不允许退款");
pub const SELLER_BALANCE_NOT_ENOUGH: Failure = failure("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足");
pub const TRADE_HAS_FINISHED: Failure = failure("40004", "ACQ.TRADE_HAS_FINISHED", "交易已完结");
/// Misspelt as the true one is.
pub const INVALID_BILL_ARGUMENTS: Failure = failure("40004", "INVAILID_ARGUMENTS", "入参不合法");
pub const BILL_NOT_EXIST: Failure = failure("40004", "BILL_NOT_EXIST", "账单不存在");

impl Failure {
    pub fn content(self) -> Value {
        let msg = match self.code {
            "40001" => "Missing Required Arguments",
            "40002" => "Invalid Arguments",
            _ => "Business Failed",
        };
        json!({ "code": self.code, "msg": msg, "sub_code": self.sub_code, "sub_msg": self.sub_msg })
    }
}

/// What the books refuse of a payment that is asked for.
pub fn of_creation(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::NumberUsed => CONTEXT_INCONSISTENT,
        Refusal::PaymentClosed => TRADE_HAS_CLOSE,
        Refusal::AlreadyPaid => TRADE_HAS_SUCCESS,
        Refusal::Refused => TOTAL_FEE_EXCEED,
        Refusal::Expired
        | Refusal::NotExist
        | Refusal::RefundExceeds
        | Refusal::RefundRefused
        | Refusal::RefundPoor
        | Refusal::RefundTooSoon
        | Refusal::TooManyRefunds => INVALID_PARAMETER,
        Refusal::Broken => SYSTEM_ERROR,
    }
}

pub fn of_close(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::NotExist => TRADE_NOT_EXIST,
        Refusal::AlreadyPaid | Refusal::PaymentClosed => TRADE_STATUS_ERROR,
        Refusal::NumberUsed
        | Refusal::Refused
        | Refusal::Expired
        | Refusal::RefundExceeds
        | Refusal::RefundRefused
        | Refusal::RefundPoor
        | Refusal::RefundTooSoon
        | Refusal::TooManyRefunds => INVALID_PARAMETER,
        Refusal::Broken => SYSTEM_ERROR,
    }
}

pub fn of_refund(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::NumberUsed => DISCORDANT_REPEAT_REQUEST,
        Refusal::RefundExceeds => REFUND_EXCEEDS,
        Refusal::NotExist => TRADE_NOT_EXIST,
        Refusal::RefundRefused => TRADE_NOT_ALLOW_REFUND,
        Refusal::RefundPoor => SELLER_BALANCE_NOT_ENOUGH,
        Refusal::AlreadyPaid
        | Refusal::PaymentClosed
        | Refusal::Refused
        | Refusal::Expired
        | Refusal::RefundTooSoon
        | Refusal::TooManyRefunds => INVALID_PARAMETER,
        Refusal::Broken => SYSTEM_ERROR,
    }
}

/// The fields of a call that went well, with the words that every such answer has.
pub fn success(mut fields: Value) -> Value {
    fields["code"] = "10000".into();
    fields["msg"] = "Success".into();
    fields
}

/// Who signs an answer.
pub struct Signed<'a> {
    pub wire: &'a AlipayWire,
    /// The certificate is named to those who named theirs.
    pub certificate_sn: Option<&'a str>,
}

/// The name under which the answer to a method stands.
pub fn response_name(method: Option<&str>) -> String {
    match method {
        Some(method) => format!("{}_response", method.replace('.', "_")),
        None => "error_response".to_owned(),
    }
}

/// The text of an answer. Slashes are escaped in it, which JSON allows, so that only who verifies the received text
/// verifies anything.
pub fn envelope(name: &str, content: &Value, signed: Option<&Signed<'_>>) -> String {
    let content = content.to_string().replace('/', "\\/");
    let Some(Signed { wire, certificate_sn }) = signed else { return format!(r#"{{"{name}":{content}}}"#) };
    let sign = wire.key.sign(content.as_bytes());
    match certificate_sn {
        Some(sn) => format!(r#"{{"{name}":{content},"alipay_cert_sn":"{sn}","sign":"{sign}"}}"#),
        None => format!(r#"{{"{name}":{content},"sign":"{sign}"}}"#),
    }
}
