//! What WeChat Pay's states and error codes mean to us, as data.

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

/// Codes of a refund (merchant document 4013071036). A rate limit is left open: the refund may be under way. `NOT_ENOUGH` and
/// `RESOURCE_NOT_EXISTS` pass with time, under the same number.
const REFUND: &[(&str, Verdict)] = &[
    ("INVALID_REQUEST", Verdict::Declined),
    ("MCH_NOT_EXISTS", Verdict::OurFault),
    ("NOT_ENOUGH", Verdict::Later),
    ("NO_AUTH", Verdict::OurFault),
    ("PARAM_ERROR", Verdict::Declined),
    ("RESOURCE_NOT_EXISTS", Verdict::Later),
    ("SIGN_ERROR", Verdict::OurFault),
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
    of(CREATE, status, code)
}

pub(super) fn of_refund(status: u16, code: &str) -> Verdict {
    of(REFUND, status, code)
}

pub(super) fn trade(state: &str) -> Option<Trade> {
    TRADE.iter().find(|(known, _)| *known == state).map(|(_, trade)| *trade)
}

fn of(table: &[(&str, Verdict)], status: u16, code: &str) -> Verdict {
    match status {
        // The door: nothing was looked at, whatever the code is.
        401 => Verdict::OurFault,
        400..500 => table.iter().find(|(known, _)| *known == code).map_or(Verdict::Open, |(_, verdict)| *verdict),
        0..400 | 500.. => Verdict::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_name_each_code_once() {
        for table in [CREATE, REFUND] {
            assert!(table.is_sorted_by(|(left, _), (right, _)| left < right));
        }
        assert!(TRADE.is_sorted_by(|(left, _), (right, _)| left < right));
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
        assert_eq!(of_refund(429, "FREQUENCY_LIMITED"), Verdict::Open);
        assert_eq!(of_create(429, "FREQUENCY_LIMITED"), Verdict::Later);
        assert_eq!(of_create(401, ""), Verdict::OurFault);
    }
}
