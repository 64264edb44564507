//! Money on its way back: done at once at one channel, only accepted at another, once for each number, and at some of
//! them it may end without being paid.

use tongbao::domain::channel::Channel;
use tongbao::domain::event::RefundOutcome;
use tongbao::domain::id::AttemptNumber;
use tongbao::domain::time::Instant;

use super::{Gateways, LAG_MS, Mood, Payment};
use crate::sights::{self, Sight};

/// How long a refund takes that is not done at once.
const REFUND_TAKES_MS: i64 = 90_000;
/// How many numbers of a payment's refund may be used up: fewer than there are, so that every run comes to rest without a person.
const FAILURES_MAX: usize = 4;

/// How a refund ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Paid,
    /// CLOSED, failed: nothing was paid and nothing ever will be.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refund {
    amount_minor: i64,
    made_at: Instant,
    ends_at: Instant,
    end: End,
}

impl Gateways {
    /// Has the next refund of this payment fail, where its channel's refunds can.
    pub fn spoil_refund(&mut self, number: AttemptNumber) {
        let Some(payment) = self.payments.get_mut(&number) else { return };
        payment.next_refund = match payment.account.channel() {
            // A failed one is told of as one that was never there, and the same number is taken again.
            Channel::Simpay | Channel::Alipay => End::Paid,
            Channel::Wechat | Channel::Unionpay | Channel::Stripe if payment.numbers_used_up() < FAILURES_MAX => {
                End::Failed
            }
            Channel::Wechat | Channel::Unionpay | Channel::Stripe => End::Paid,
        };
    }

    /// Refuses a refund, if it can be. UnionPay and Stripe tell a repeat of what they took before anything else, and
    /// take no number again that they refused.
    pub fn refuse_refund(&mut self, number: AttemptNumber, refund_number: &str) -> Option<RefundOutcome> {
        let payment = self.payments.get_mut(&number)?;
        let code = "balance".into();
        match payment.account.channel() {
            Channel::Simpay | Channel::Wechat | Channel::Alipay => Some(RefundOutcome::Rejected { code }),
            Channel::Unionpay | Channel::Stripe => {
                let is_new = !payment.refunds.contains_key(refund_number);
                (is_new && payment.numbers_used_up() < FAILURES_MAX).then(|| {
                    payment.refunds_refused += 1;
                    RefundOutcome::Spent { code }
                })
            }
        }
    }

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
        if amount_minor > payment.refundable_minor(now) {
            return RefundOutcome::Rejected { code: "refund_exceeds".into() };
        }
        let ends_at = match mood {
            Mood::Plain => now,
            Mood::Other => now.plus_ms(REFUND_TAKES_MS),
        };
        let end = std::mem::replace(&mut payment.next_refund, End::Paid);
        if end == End::Paid && payment.failed_refunds() > 0 {
            sights::note(Sight::RefundedAnew);
        }
        let refund = Refund { amount_minor, made_at: now, ends_at, end };
        payment.refunds.insert(refund_number.to_owned(), refund);
        match payment.account.channel() {
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
    fn failed_refunds(&self) -> usize {
        self.refunds.values().filter(|refund| refund.end == End::Failed).count()
    }

    fn numbers_used_up(&self) -> usize {
        self.failed_refunds() + self.refunds_refused
    }

    /// What was given back, or will be.
    pub(super) fn refunded_minor(&self) -> i64 {
        self.refunds.values().filter(|refund| refund.end == End::Paid).map(|refund| refund.amount_minor).sum()
    }

    /// What a refund under a new number may take: what is under way counts until it has failed. UnionPay does not look:
    /// under another number it pays twice.
    fn refundable_minor(&self, now: Instant) -> i64 {
        let captured = self.capture.as_ref().map_or(0, |capture| capture.amount_minor);
        match self.account.channel() {
            Channel::Unionpay => captured,
            Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Stripe => {
                let holds = |refund: &&Refund| refund.end == End::Paid || now < refund.ends_at;
                captured - self.refunds.values().filter(holds).map(|refund| refund.amount_minor).sum::<i64>()
            }
        }
    }

    fn refund_again(&self, refund: Refund, now: Instant) -> RefundOutcome {
        match self.account.channel() {
            Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Stripe => refund.stands(now),
            Channel::Unionpay => RefundOutcome::Unknown { why: "12 duplicate".into() },
        }
    }
}

impl Refund {
    fn stands(&self, now: Instant) -> RefundOutcome {
        match self.end {
            End::Paid | End::Failed if now < self.ends_at => RefundOutcome::Unknown { why: "under way".into() },
            End::Paid => RefundOutcome::Done,
            End::Failed => RefundOutcome::Dead { code: "CLOSED".into() },
        }
    }
}
