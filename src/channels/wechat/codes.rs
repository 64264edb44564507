//! What WeChat Pay's states and error codes mean to us, as data.

use crate::domain::event::Rejection;

/// What an error code says of the request that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Certainly not taken, for what this payment is.
    Declined,
    /// Certainly not taken, for what our account is or may do.
    OurFault,
    /// Certainly not taken, and worth sending again unchanged.
    Later,
    /// It may have been taken.
    Open,
}

/// Codes of a create. Source: the error tables of the orders' pages (pay.weixin.qq.com, merchant documents 4012791877,
/// 4012791834, 4012791856) as they stood in November 2026. What is not here, and every status of 500 and above, is open.
///
/// `PARAM_ERROR` and `INVALID_REQUEST` may come from a single payer's openid, so they are this payment's fault: one
/// platform's bad input must not make the channel look ill to all. `ORDERPAID` of older pages is left open: only a query
/// tells of money.
const CREATE: &[(&str, Verdict)] = &[
    ("APPID_MCHID_NOT_MATCH", Verdict::OurFault),
    (FREQUENCY_LIMITED, Verdict::Later),
    ("INVALID_REQUEST", Verdict::Declined),
    ("MCH_NOT_EXISTS", Verdict::OurFault),
    ("NO_AUTH", Verdict::OurFault),
    ("ORDER_CLOSED", Verdict::Declined),
    ("OUT_TRADE_NO_USED", Verdict::Declined),
    ("PARAM_ERROR", Verdict::Declined),
    (RATELIMIT_EXCEEDED, Verdict::Later),
    ("RULE_LIMIT", Verdict::Declined),
    ("SIGN_ERROR", Verdict::OurFault),
];

/// Codes of a refund, and whose affair each is: those of its page's table (merchant document 4013071036), which the Java
/// library `com.egzosn.pay` keeps beside its `WxRefundResult` (v3). What is not here, and every status of 500 and above, is
/// open; so is `SYSTEM_ERROR`, because the refund may be under way. A rate limit says that this request was not taken: that
/// its page wants a query first is for the requests before it, one of which may be under way. No number dies by a refusal: the page wants a retry under the same one.
///
/// `INVALID_REQUEST` is what breaks a rule of the business: a year has passed, or less is left of the payment. The page
/// says that this application has failed, and that only its message tells why.
const REFUND: &[(&str, Rejection)] = &[
    ("INVALID_REQUEST", Rejection::Refused),
    ("MCH_NOT_EXISTS", Rejection::Ours),
    ("NOT_ENOUGH", Rejection::Poor),
    ("NO_AUTH", Rejection::Ours),
    ("PARAM_ERROR", Rejection::Ours),
    ("RESOURCE_NOT_EXISTS", Rejection::Ours),
    ("SIGN_ERROR", Rejection::Ours),
    ("USER_ACCOUNT_ABNORMAL", Rejection::Refused),
];

/// What a refund's `status` says; notifications call it `refund_status` (merchant document 4013071041;
/// pay.weixin.qq.com/wiki/doc/apiv3/apis/chapter3_1_11.shtml).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefundStatus {
    /// Taken, and not paid yet.
    Processing,
    Success,
    /// It failed for good, and another try needs another number.
    Closed,
    /// The money has left and did not arrive: a person must send it on at WeChat Pay's console.
    Abnormal,
}

const REFUND_STATUS: &[(&str, RefundStatus)] = &[
    ("ABNORMAL", RefundStatus::Abnormal),
    ("CLOSED", RefundStatus::Closed),
    ("PROCESSING", RefundStatus::Processing),
    ("SUCCESS", RefundStatus::Success),
];

/// What a `trade_state` says (merchant document 4012791859).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trade {
    /// Paid; a later refund does not undo that.
    Paid,
    Waiting,
    Closed,
    Declined,
}

const TRADE: &[(&str, Trade)] = &[
    ("ACCEPT", Trade::Waiting),
    ("CLOSED", Trade::Closed),
    ("NOTPAY", Trade::Waiting),
    ("PAYERROR", Trade::Declined),
    ("REFUND", Trade::Paid),
    ("REVOKED", Trade::Closed),
    ("SUCCESS", Trade::Paid),
    ("USERPAYING", Trade::Waiting),
];

/// The query's word for an order that was never made.
pub(super) const ORDER_NOT_EXIST: &str = "ORDER_NOT_EXIST";
/// The refund query's word for a refund that was never received.
pub(super) const REFUND_NOT_EXIST: &str = "RESOURCE_NOT_EXISTS";
/// Asked too often; both names are in use.
pub(super) const FREQUENCY_LIMITED: &str = "FREQUENCY_LIMITED";
pub(super) const RATELIMIT_EXCEEDED: &str = "RATELIMIT_EXCEEDED";
/// The bill is still being made.
pub(super) const STATEMENT_CREATING: &str = "STATEMENT_CREATING";
/// There was no trade on that day.
pub(super) const NO_STATEMENT_EXIST: &str = "NO_STATEMENT_EXIST";

/// What says "later", whichever call it answers.
const LATER: &[&str] = &[FREQUENCY_LIMITED, RATELIMIT_EXCEEDED];

/// Whether a refusal asks for the same once more.
pub(super) fn is_later(status: u16, code: &str) -> bool {
    match status {
        429 => true,
        400..500 => LATER.contains(&code),
        0..400 | 500.. => false,
    }
}

pub(super) fn of_create(status: u16, code: &str) -> Verdict {
    match status {
        // The door: nothing was looked at, whatever the code is.
        401 => Verdict::OurFault,
        400..500 => found(CREATE, code).unwrap_or(Verdict::Open),
        0..400 | 500.. => Verdict::Open,
    }
}

/// Why a refund was certainly not taken; none where it may have been.
pub(super) fn of_refund(status: u16, code: &str) -> Option<Rejection> {
    match status {
        401 => Some(Rejection::Ours),
        400..500 => found(REFUND, code),
        0..400 | 500.. => None,
    }
}

pub(super) fn trade(state: &str) -> Option<Trade> {
    found(TRADE, state)
}

pub(super) fn refund_status(status: &str) -> Option<RefundStatus> {
    found(REFUND_STATUS, status)
}

fn found<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_name_each_code_once() {
        fn is_sorted<T>(table: &[(&str, T)]) -> bool {
            table.is_sorted_by(|(left, _), (right, _)| left < right)
        }
        assert!(is_sorted(CREATE) && is_sorted(REFUND) && is_sorted(TRADE) && is_sorted(REFUND_STATUS));
    }

    #[test]
    fn nothing_above_499_and_nothing_unheard_of_is_certain() {
        for (code, _) in CREATE {
            assert_eq!(of_create(500, code), Verdict::Open, "{code}");
            assert_eq!(of_create(202, code), Verdict::Open, "{code}");
        }
        for code in ["SYSTEM_ERROR", "ORDERPAID", "BANKERROR", "TRADE_ERROR", "", "param_error"] {
            assert_eq!(of_create(400, code), Verdict::Open, "{code}");
        }
        for (code, _) in REFUND {
            assert_eq!((of_refund(500, code), of_refund(202, code)), (None, None), "{code}");
        }
        for code in ["SYSTEM_ERROR", "RULE_LIMIT", "TRADE_OVERDUE", "", "not_enough"] {
            assert_eq!(of_refund(403, code), None, "{code}");
        }
        assert_eq!(of_refund(429, "FREQUENCY_LIMITED"), None);
        assert_eq!(of_refund(401, ""), Some(Rejection::Ours));
        assert_eq!(of_create(429, "FREQUENCY_LIMITED"), Verdict::Later);
        assert_eq!(of_create(401, ""), Verdict::OurFault);
    }
}
