//! Why calls fail: in UnionPay's words, or because the books are broken.

use super::fields::{AMOUNT_DIFFERS, DUPLICATE, FAILED, NO_ORIGINAL, RISKY, Refused};
use crate::gateway::books::Refusal;

/// Why a call is not carried out.
pub enum Failure {
    Refused(Refused),
    /// The books do not take it.
    Broken,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Failure::Refused(refused)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(match refusal {
            Refusal::NumberUsed | Refusal::AlreadyPaid => DUPLICATE,
            // UnionPay names no bounds of refunds, and no merchant without money.
            Refusal::PaymentClosed
            | Refusal::Refused
            | Refusal::Expired
            | Refusal::RefundPoor
            | Refusal::RefundTooSoon
            | Refusal::TooManyRefunds => FAILED,
            Refusal::RefundRefused => RISKY,
            Refusal::NotExist => NO_ORIGINAL,
            Refusal::RefundExceeds => AMOUNT_DIFFERS,
            Refusal::Broken => return Failure::Broken,
        })
    }
}
