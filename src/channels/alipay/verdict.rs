//! What Alipay's refusals mean.

use crate::domain::event::Rejection;

/// A refusal, whichever call it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It may have been carried out, now or by an earlier request, or the state of the trade was in the way: ask.
    Unclear,
    /// Nothing was done, and the same may be asked again later.
    Busy,
    /// Certainly not carried out: something is wrong with our account, key or permission.
    Us,
    /// Certainly not carried out: this payment, or this refund, is not to be had.
    This,
    /// The gateway knows no such trade.
    Absent,
}

/// What says "later", whichever call it answers and whoever signed it: `isv.app-call-limited` and its like come by a
/// status of 200.
///
/// Source: opendocs.alipay.com common/02km9f, 40005 `call limited`.
const LATER: &[&str] = &["40005"];

/// Whether a refusal by this `code` asks for the same once more.
pub fn is_later(code: &str) -> bool {
    LATER.contains(&code)
}

/// By `code`. 40004 is the business's own, told apart by `sub_code`. 10003 waits for the payer, which the calls that
/// we make never answer.
///
/// Source: opendocs.alipay.com common/02km9f (public error codes).
const CODES: &[(&str, Meaning)] = &[
    ("10003", Meaning::Unclear),
    ("20000", Meaning::Unclear),
    ("20001", Meaning::Us),
    ("40001", Meaning::Us),
    ("40002", Meaning::Us),
    ("40003", Meaning::Us),
    ("40005", Meaning::Busy),
    ("40006", Meaning::Us),
];

/// By `sub_code` of 40004.
///
/// Source: opendocs.alipay.com, the error tables of alipay.trade.precreate, query, close, refund and
/// alipay.trade.fastpay.refund.query (open/02ekfg to 02ekft, 028r8t). What concerns merchants under a service provider
/// is left out: it is unclear, as is everything that is not listed.
const SUB_CODES: &[(&str, Meaning)] = &[
    ("ACQ.SYSTEM_ERROR", Meaning::Unclear),
    // The documents have this misspelling too.
    ("AQC.SYSTEM_ERROR", Meaning::Unclear),
    ("ACQ.TRADE_NOT_EXIST", Meaning::Absent),
    ("ACQ.TRADE_HAS_SUCCESS", Meaning::Unclear),
    ("ACQ.TRADE_STATUS_ERROR", Meaning::Unclear),
    ("ACQ.REASON_TRADE_STATUS_INVALID", Meaning::Unclear),
    // The refund's number is taken with another amount: what became of that one, only a query tells.
    ("ACQ.DISCORDANT_REPEAT_REQUEST", Meaning::Unclear),
    // A code was asked for by this number before.
    ("ACQ.APPLY_PC_MERCHANT_CODE_ERROR", Meaning::Unclear),
    ("ACQ.REFUND_CHARGE_ERROR", Meaning::Unclear),
    ("ACQ.TRADE_HAS_CLOSE", Meaning::This),
    ("ACQ.CONTEXT_INCONSISTENT", Meaning::This),
    ("ACQ.INVALID_PARAMETER", Meaning::This),
    ("ACQ.EXIST_FORBIDDEN_WORD", Meaning::This),
    ("ACQ.TOTAL_FEE_EXCEED", Meaning::This),
    ("ACQ.BEYOND_PER_RECEIPT_SINGLE_RESTRICTION", Meaning::This),
    ("ACQ.MERCHANT_PERM_RECEIPT_SINGLE_LIMIT", Meaning::This),
    ("ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR", Meaning::This),
    ("ACQ.BUYER_SELLER_EQUAL", Meaning::This),
    ("ACQ.BUYER_NOT_EXIST", Meaning::This),
    ("ACQ.BUYER_ERROR", Meaning::This),
    ("ACQ.CUSTOMER_VALIDATE_ERROR", Meaning::This),
    ("ACQ.USER_NOT_MATCH_ERR", Meaning::This),
    ("ACQ.ERROR_BUYER_CERTIFY_LEVEL_LIMIT", Meaning::This),
    ("ACQ.TRADE_BUYER_NOT_MATCH", Meaning::This),
    ("ACQ.BUYER_ENABLE_STATUS_FORBID", Meaning::This),
    ("ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR", Meaning::This),
    ("ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR", Meaning::This),
    ("ACQ.SELLER_BALANCE_NOT_ENOUGH", Meaning::This),
    ("ACQ.REASON_TRADE_BEEN_FREEZEN", Meaning::This),
    ("ACQ.REASON_TRADE_REFUND_FEE_ERR", Meaning::This),
    ("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", Meaning::This),
    ("ACQ.REFUND_FEE_ERROR", Meaning::This),
    ("ACQ.REFUND_ACCOUNT_NOT_EXIST", Meaning::This),
    ("ACQ.NOT_ALLOW_PARTIAL_REFUND", Meaning::This),
    ("ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND", Meaning::This),
    ("ACQ.CURRENCY_NOT_SUPPORT", Meaning::This),
    ("ACQ.TRADE_SETTLE_ERROR", Meaning::This),
    ("ACQ.TRADE_NOT_ALLOW_REFUND", Meaning::This),
    ("ACQ.TRADE_HAS_FINISHED", Meaning::This),
    ("ACQ.ACCESS_FORBIDDEN", Meaning::Us),
    ("ACQ.PARTNER_ERROR", Meaning::Us),
    ("ACQ.BEYOND_PAY_RESTRICTION", Meaning::Us),
    ("ACQ.BEYOND_PER_RECEIPT_RESTRICTION", Meaning::Us),
    ("ACQ.BEYOND_PER_RECEIPT_DAY_RESTRICTION", Meaning::Us),
    ("ACQ.MERCHANT_PERM_RECEIPT_DAY_LIMIT", Meaning::Us),
    ("ACQ.MERCHANT_PERM_RECEIPT_SUSPEND_LIMIT", Meaning::Us),
    ("ACQ.MERCHANT_AGREEMENT_NOT_EXIST", Meaning::Us),
    ("ACQ.MERCHANT_AGREEMENT_INVALID", Meaning::Us),
    ("ACQ.MERCHANT_STATUS_NOT_NORMAL", Meaning::Us),
    ("ACQ.SELLER_BEEN_BLOCKED", Meaning::Us),
    ("ACQ.SELLER_NOT_EXIST", Meaning::Us),
    ("ACQ.INVALID_RECEIVE_ACCOUNT", Meaning::Us),
    ("ACQ.INVALID_STORE_ID", Meaning::Us),
    ("ACQ.RISK_MERCHANT_IP_NOT_EXIST", Meaning::Us),
];

/// By `sub_code` of 40004 that answers a refund: whose affair it is. Each of these is certain, see above.
///
/// The rest of what is certain is answered to other calls; if one of those ever came here, a person has to look: it is
/// no word on this money. No number dies by a refusal, since Alipay wants a retry under the same one.
///
/// Source: the error table of alipay.trade.refund as above, with the remedies that public libraries keep of it.
const REFUNDS: &[(&str, Rejection)] = &[
    ("ACQ.SELLER_BALANCE_NOT_ENOUGH", Rejection::Poor),
    ("ACQ.NOT_ALLOW_PARTIAL_REFUND", Rejection::Refused),
    ("ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND", Rejection::Refused),
    // More than is left, or not all of what can only go back as a whole.
    ("ACQ.REASON_TRADE_REFUND_FEE_ERR", Rejection::Refused),
    ("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", Rejection::Refused),
    ("ACQ.REFUND_FEE_ERROR", Rejection::Refused),
    // There is nobody to give it to.
    ("ACQ.BUYER_NOT_EXIST", Rejection::Refused),
    ("ACQ.REFUND_ACCOUNT_NOT_EXIST", Rejection::Refused),
    // Its time is over, or all of it went back otherwise.
    ("ACQ.TRADE_HAS_CLOSE", Rejection::Refused),
    ("ACQ.TRADE_HAS_FINISHED", Rejection::Refused),
    ("ACQ.TRADE_NOT_ALLOW_REFUND", Rejection::Refused),
    ("ACQ.CURRENCY_NOT_SUPPORT", Rejection::Ours),
    ("ACQ.INVALID_PARAMETER", Rejection::Ours),
    // Alipay itself is to be asked why; what is frozen may be let go.
    ("ACQ.REASON_TRADE_BEEN_FREEZEN", Rejection::Ours),
    ("ACQ.TRADE_SETTLE_ERROR", Rejection::Ours),
];

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub code: String,
    pub sub_code: Option<String>,
    pub signed: Signed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// By one of Alipay's keys.
    Yes,
    /// By nobody, as the gateway's door refuses: what it says of a trade is not believed.
    No,
}

impl Refused {
    pub fn meaning(&self) -> Meaning {
        match (self.code.as_str(), self.signed, &self.sub_code) {
            ("40004", Signed::Yes, Some(sub_code)) => found(SUB_CODES, sub_code),
            ("40004", Signed::Yes | Signed::No, Some(_) | None) => Meaning::Unclear,
            (code, Signed::Yes | Signed::No, Some(_) | None) => found(CODES, code),
        }
    }

    /// What a refund that is certainly not taken is refused for; it is asked where [`Self::meaning`] says so.
    pub fn of_refund(&self) -> Rejection {
        let known = REFUNDS.iter().find(|(known, _)| *known == self.name());
        known.map_or(Rejection::Ours, |(_, class)| *class)
    }

    /// The code that says the most.
    pub fn name(&self) -> &str {
        self.sub_code.as_deref().unwrap_or(&self.code)
    }
}

fn found(table: &[(&str, Meaning)], name: &str) -> Meaning {
    table.iter().find(|(known, _)| *known == name).map_or(Meaning::Unclear, |(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, sub_code: Option<&str>, signed: Signed) -> Refused {
        Refused { code: code.into(), sub_code: sub_code.map(Into::into), signed }
    }

    #[test]
    fn every_code_is_listed_once() {
        for table in [CODES, SUB_CODES] {
            let mut names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), table.len());
        }
    }

    #[test]
    fn each_refusal_of_a_refund_is_a_certain_one() {
        let mut names: Vec<_> = REFUNDS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), REFUNDS.len());
        for (name, class) in REFUNDS {
            let refused = refused("40004", Some(name), Signed::Yes);
            assert_eq!((refused.meaning(), refused.of_refund()), (Meaning::This, *class), "{name}");
        }
        for (code, sub_code) in [("40002", "isv.invalid-signature"), ("40006", "isv.insufficient-isv-permissions")] {
            assert_eq!(refused(code, Some(sub_code), Signed::Yes).of_refund(), Rejection::Ours, "{code}");
        }
    }

    #[test]
    fn what_is_not_known_or_not_signed_is_unclear() {
        let meaning = |code, sub_code, signed| refused(code, sub_code, signed).meaning();
        assert_eq!(meaning("40004", Some("ACQ.TRADE_HAS_CLOSE"), Signed::Yes), Meaning::This);
        assert_eq!(meaning("40004", Some("ACQ.TRADE_HAS_CLOSE"), Signed::No), Meaning::Unclear);
        assert_eq!(meaning("40004", Some("ACQ.TRADE_NOT_EXIST"), Signed::No), Meaning::Unclear);
        assert_eq!(meaning("40004", Some("ACQ.SOMETHING_NEW"), Signed::Yes), Meaning::Unclear);
        assert_eq!(meaning("40004", Some("ACQ.SELLER_BEEN_BLOCKED"), Signed::Yes), Meaning::Us);
        assert_eq!(meaning("40004", Some("ACQ.APPLY_PC_MERCHANT_CODE_ERROR"), Signed::Yes), Meaning::Unclear);
        assert_eq!(meaning("40004", None, Signed::Yes), Meaning::Unclear);
        assert_eq!(meaning("40002", Some("isv.invalid-app-id"), Signed::No), Meaning::Us);
        assert_eq!(meaning("40005", Some("isv.app-call-limited"), Signed::Yes), Meaning::Busy);
        assert_eq!(meaning("20000", Some("aop.unknow-error"), Signed::Yes), Meaning::Unclear);
        assert_eq!(meaning("50000", None, Signed::Yes), Meaning::Unclear);
    }
}
