//! Errors as WeChat Pay words them: a status, a code and a message, signed by nobody.

use actix_web::http::StatusCode;
use serde::Serialize;

use super::signing::Disbelief;
use crate::gateway::books::Refusal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
}

impl Failure {
    pub fn new(status: StatusCode, code: &'static str, message: &str) -> Self {
        Failure { status, code, message: message.to_owned() }
    }

    pub fn param(message: &str) -> Self {
        Failure::new(StatusCode::BAD_REQUEST, "PARAM_ERROR", message)
    }

    pub fn invalid(message: &str) -> Self {
        Failure::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)
    }

    pub fn order_not_exist() -> Self {
        Failure::new(StatusCode::NOT_FOUND, "ORDER_NOT_EXIST", "there is no such order")
    }

    pub fn resource_not_exists() -> Self {
        Failure::new(StatusCode::NOT_FOUND, "RESOURCE_NOT_EXISTS", "there is no such thing")
    }

    /// What the books refuse to a payment: to its create and its close.
    pub fn of_payment(refusal: Refusal) -> Self {
        let (status, code, message) = match refusal {
            Refusal::NumberUsed => {
                (StatusCode::FORBIDDEN, "OUT_TRADE_NO_USED", "the number was used with other fields")
            }
            Refusal::PaymentClosed => (StatusCode::BAD_REQUEST, "ORDER_CLOSED", "the order is closed"),
            Refusal::Refused => (StatusCode::FORBIDDEN, "RULE_LIMIT", "the rules do not allow this"),
            Refusal::Expired => (StatusCode::BAD_REQUEST, "PARAM_ERROR", "`time_expire` has passed"),
            Refusal::NotExist => return Failure::order_not_exist(),
            Refusal::AlreadyPaid => (StatusCode::BAD_REQUEST, "ORDERPAID", "the order was paid"),
            Refusal::RefundExceeds
            | Refusal::RefundRefused
            | Refusal::RefundPoor
            | Refusal::RefundTooSoon
            | Refusal::TooManyRefunds
            | Refusal::Broken => return Failure::broken(),
        };
        Failure::new(status, code, message)
    }

    /// What the books refuse to a refund: the codes of merchant doc 4014959631, which has none of its own for the 51st
    /// refund of a payment, so that it is an `INVALID_REQUEST` like all that goes against the rules.
    pub fn of_refund(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NumberUsed => Failure::invalid("the refund's number was used with other fields"),
            Refusal::Refused => Failure::invalid("the currency is not the payment's"),
            Refusal::RefundExceeds => Failure::invalid("more than was paid and not yet given back"),
            Refusal::NotExist => Failure::resource_not_exists(),
            Refusal::RefundRefused => {
                Failure::new(StatusCode::FORBIDDEN, "USER_ACCOUNT_ABNORMAL", "the payer's account is closed")
            }
            Refusal::RefundPoor => Failure::new(StatusCode::FORBIDDEN, "NOT_ENOUGH", "the balance is too low"),
            Refusal::RefundTooSoon => {
                let message = "a payment's refunds must be a minute apart";
                Failure::new(StatusCode::TOO_MANY_REQUESTS, "FREQUENCY_LIMITED", message)
            }
            Refusal::TooManyRefunds => Failure::invalid("a payment can be refunded 50 times at most"),
            Refusal::PaymentClosed | Refusal::Expired | Refusal::AlreadyPaid | Refusal::Broken => Failure::broken(),
        }
    }

    pub fn broken() -> Self {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "SYSTEM_ERROR", "the system has a fault")
    }

    pub fn body(&self) -> Vec<u8> {
        serde_json::to_vec(&Body { code: self.code, message: &self.message }).expect("our own structs are JSON")
    }
}

impl From<Disbelief> for Failure {
    fn from(disbelief: Disbelief) -> Self {
        let message = match disbelief {
            Disbelief::Malformed => "the Authorization is missing or malformed",
            Disbelief::Stale => "the timestamp is more than five minutes from ours",
            Disbelief::Unknown => "there is no such merchant",
            Disbelief::Serial => "the serial is not of the merchant's certificate",
            Disbelief::Signature => "the signature is wrong",
        };
        Failure::new(StatusCode::UNAUTHORIZED, "SIGN_ERROR", message)
    }
}
