//! Money on its way back: done at once at one channel, only accepted at another, once for each number.

use tongbao::domain::channel::Channel;
use tongbao::domain::event::RefundOutcome;
use tongbao::domain::id::AttemptNumber;
use tongbao::domain::time::Instant;

use super::{Gateways, LAG_MS, Mood, Payment};

/// How long a refund takes that is not done at once.
const REFUND_TAKES_MS: i64 = 90_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refund {
    pub(super) amount_minor: i64,
    made_at: Instant,
    done_at: Instant,
}

impl Gateways {
    pub(super) fn refund(
        &mut self,
        number: AttemptNumber,
        (refund_number, amount_minor): (&str, i64),
        now: Instant,
        mood: Mood,
    ) -> RefundOutcome {
        let Some(payment) = self.payments.get_mut(&number) else { return RefundOutcome::NotExist };
        if let Some(refund) = payment.refunds.get(refund_number) {
            assert_eq!(refund.amount_minor, amount_minor, "a refund that is repeated is the same refund");
            return payment.refund_again(*refund, now);
        }
        let captured = payment.capture.as_ref().map_or(0, |capture| capture.amount_minor);
        if amount_minor > captured - payment.refunded_minor() {
            return RefundOutcome::Rejected { code: "refund_exceeds".into() };
        }
        let done_at = match mood {
            Mood::Plain => now,
            Mood::Other => now.plus_ms(REFUND_TAKES_MS),
        };
        let refund = Refund { amount_minor, made_at: now, done_at };
        payment.refunds.insert(refund_number.to_owned(), refund);
        match payment.channel {
            Channel::Simpay => RefundOutcome::Done,
            Channel::Alipay | Channel::Stripe => refund.stands(now),
            // They only say that they will see to it.
            Channel::Wechat | Channel::Unionpay => RefundOutcome::Unknown { why: "accepted".into() },
        }
    }

    pub(super) fn query_refund(
        &mut self,
        number: AttemptNumber,
        refund_number: &str,
        now: Instant,
        mood: Mood,
    ) -> RefundOutcome {
        let refund = self.payments.get(&number).and_then(|payment| payment.refunds.get(refund_number));
        match refund {
            Some(refund) if mood == Mood::Plain || now.since_ms(refund.made_at) >= LAG_MS => refund.stands(now),
            Some(_) | None => RefundOutcome::NotExist,
        }
    }
}

impl Payment {
    fn refund_again(&self, refund: Refund, now: Instant) -> RefundOutcome {
        match self.channel {
            Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Stripe => refund.stands(now),
            Channel::Unionpay => RefundOutcome::Unknown { why: "12 duplicate".into() },
        }
    }
}

impl Refund {
    fn stands(&self, now: Instant) -> RefundOutcome {
        if now >= self.done_at { RefundOutcome::Done } else { RefundOutcome::Unknown { why: "under way".into() } }
    }
}
