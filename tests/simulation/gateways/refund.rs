//! Money on its way back: done at once at one channel, only accepted at another, once for each number. At some of them
//! it may end without being paid or wait for money of ours, and what was paid may come back weeks later.

use tongbao::domain::channel::Channel;
use tongbao::domain::dated::Dated;
use tongbao::domain::event::{Hold, RefundOutcome, Rejection};
use tongbao::domain::id::AttemptNumber;
use tongbao::domain::time::Instant;

use super::{Gateways, LAG_MS, Mood, Payment, RefundRequest};
use crate::sights::{self, Sight};
use crate::world::HOUR;

/// How long a refund takes that is not done at once.
const REFUND_TAKES_MS: i64 = 90_000;
/// The same at Alipay, where a query does not find it as long as it takes.
const ALIPAY_TAKES_MS: i64 = 3 * HOUR;
/// How long a refund waits for money of ours.
const MONEY_COMES_MS: i64 = 3 * HOUR;
/// How many numbers of a suspense refund may be used up: fewer than there are, so that every run comes to rest without a person.
const FAILURES_MAX: usize = 4;

/// How a refund ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Paid,
    /// CLOSED, failed: nothing was paid and nothing ever will be.
    Failed,
    /// It was paid, and the payer's bank sent it back.
    CameBack,
    /// Nothing goes on before somebody at the channel sees to it.
    Stuck,
}

/// What becomes of a refund that is taken next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    Good,
    Fails,
    Sticks,
    /// There is no money of ours to pay it from, for a while.
    LacksMoney,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refund {
    /// Its place among those of its order.
    index: u16,
    amount_minor: i64,
    made_at: Instant,
    ends_at: Instant,
    hold: Hold,
    end: End,
}

impl Gateways {
    /// What becomes of the next refund of this payment, where its channel's refunds can come to that.
    pub fn spoil_refund(&mut self, number: AttemptNumber, luck: Luck) {
        let Some(payment) = self.payments.get_mut(&number) else { return };
        payment.next_refund = match (payment.account.channel(), luck) {
            // A failed one is told of as one that was never there, and the same number is taken again.
            (Channel::Simpay | Channel::Alipay, Luck::Fails) => Luck::Good,
            (Channel::Alipay | Channel::Unionpay, Luck::Sticks) => Luck::Good,
            (Channel::Simpay | Channel::Alipay | Channel::Unionpay, Luck::LacksMoney) => Luck::Good,
            (_, luck) => luck,
        };
    }

    /// Refuses a refund, if it can be. UnionPay and Stripe tell a repeat of what they took before anything else, and
    /// take no number again that they refused.
    pub fn refuse_refund(
        &mut self,
        number: AttemptNumber,
        asked: &RefundRequest,
        is_for_good: bool,
    ) -> Option<RefundOutcome> {
        let payment = self.payments.get_mut(&number)?;
        let is_new = !payment.refunds.contains_key(&asked.refund_number);
        let may_use_up = payment.may_use_up(asked);
        let (class, code) = match payment.account.channel() {
            // It does not look whether it has this number already.
            Channel::Alipay if is_for_good => (Rejection::Refused, "not_allowed"),
            Channel::Simpay | Channel::Wechat | Channel::Unionpay | Channel::Stripe if is_for_good && is_new => {
                (Rejection::Refused, "not_allowed")
            }
            Channel::Simpay | Channel::Wechat | Channel::Unionpay | Channel::Stripe if is_for_good => return None,
            Channel::Simpay | Channel::Wechat | Channel::Alipay => (Rejection::Poor, "balance"),
            Channel::Unionpay | Channel::Stripe if is_new && may_use_up => {
                payment.refunds_refused.push(asked.refund);
                (Rejection::DeadNumber, "balance")
            }
            Channel::Unionpay | Channel::Stripe => return None,
        };
        Some(RefundOutcome::Rejected { class, code: code.into() })
    }

    pub(super) fn refund(
        &mut self,
        number: AttemptNumber,
        asked: &RefundRequest,
        now: Instant,
        mood: Mood,
    ) -> RefundOutcome {
        let Some(payment) = self.payments.get_mut(&number) else { return RefundOutcome::NotExist };
        let RefundRequest { refund: index, refund_number, amount_minor, .. } = asked;
        let captured_minor = payment.capture.as_ref().map(|capture| capture.amount_minor);
        assert_eq!(captured_minor, Some(asked.captured_minor), "a refund names the amount of its capture");
        if let Some(refund) = payment.refunds.get(refund_number) {
            assert_eq!(refund.amount_minor, *amount_minor, "a refund that is repeated is the same refund");
            return payment.refund_again(*refund, now);
        }
        if payment.refunds_stopped.contains(index) {
            return RefundOutcome::Rejected { class: Rejection::Refused, code: "stopped".into() };
        }
        if *amount_minor > payment.refundable_minor(now) {
            return RefundOutcome::Rejected { class: Rejection::Refused, code: "refund_exceeds".into() };
        }
        let (channel, may_use_up) = (payment.account.channel(), payment.may_use_up(asked));
        let luck = std::mem::replace(&mut payment.next_refund, Luck::Good);
        let takes_ms = match (luck, mood, channel) {
            (Luck::LacksMoney, _, _) => MONEY_COMES_MS,
            (Luck::Good | Luck::Fails | Luck::Sticks, Mood::Plain, _) => 0,
            (Luck::Good | Luck::Fails | Luck::Sticks, Mood::Other, Channel::Alipay) => ALIPAY_TAKES_MS,
            (
                Luck::Good | Luck::Fails | Luck::Sticks,
                Mood::Other,
                Channel::Simpay | Channel::Wechat | Channel::Unionpay | Channel::Stripe,
            ) => REFUND_TAKES_MS,
        };
        let (end, hold) = match luck {
            Luck::Fails if may_use_up => (End::Failed, Hold::Processing),
            Luck::Good | Luck::Fails => (End::Paid, Hold::Processing),
            Luck::Sticks => {
                sights::note(Sight::RefundStuck);
                (End::Stuck, Hold::Processing)
            }
            Luck::LacksMoney => {
                sights::note(Sight::RefundLackedMoney);
                (End::Paid, Hold::Balance)
            }
        };
        if end == End::Paid && payment.failed_refunds(*index) > 0 {
            sights::note(Sight::RefundedAnew);
        }
        let (index, amount_minor) = (*index, *amount_minor);
        let refund = Refund { index, amount_minor, made_at: now, ends_at: now.plus_ms(takes_ms), hold, end };
        payment.refunds.insert(refund_number.clone(), refund);
        match channel {
            Channel::Simpay => refund.ended(),
            Channel::Alipay | Channel::Stripe => refund.stands(now),
            // They only say that they will see to it.
            Channel::Wechat => RefundOutcome::Pending { hold: Hold::Processing },
            Channel::Unionpay => RefundOutcome::Unknown { why: "accepted".into() },
        }
    }

    pub(super) fn query_refund(
        &mut self,
        number: AttemptNumber,
        refund_number: &str,
        now: Instant,
        mood: Mood,
    ) -> RefundOutcome {
        let Some(payment) = self.payments.get(&number) else { return RefundOutcome::NotExist };
        let Some(refund) = payment.refunds.get(refund_number) else { return RefundOutcome::NotExist };
        let is_hidden = match payment.account.channel() {
            Channel::Alipay => now < refund.ends_at,
            Channel::Simpay | Channel::Wechat | Channel::Unionpay | Channel::Stripe => {
                mood == Mood::Other && now.since_ms(refund.made_at) < LAG_MS
            }
        };
        if is_hidden { RefundOutcome::NotExist } else { refund.stands(now) }
    }

    /// The payer's bank sends a refund's money back, if it has it; how it stands then.
    pub fn refund_comes_back(&mut self, number: AttemptNumber, refund_number: &str, now: Instant) -> bool {
        let payment = self.payments.get_mut(&number);
        let refund = payment.and_then(|payment| payment.refunds.get_mut(refund_number));
        let Some(refund) = refund.filter(|refund| refund.end == End::Paid && now >= refund.ends_at) else {
            return false;
        };
        refund.end = End::CameBack;
        true
    }

    /// Somebody at the channel has a refund that is stuck there paid.
    pub fn push_refund(&mut self, number: AttemptNumber, index: u16) {
        let Some(payment) = self.payments.get_mut(&number) else { return };
        let stuck = payment.refunds.values_mut().find(|refund| refund.index == index && refund.end == End::Stuck);
        if let Some(refund) = stuck {
            refund.end = End::Paid;
        }
    }

    /// Somebody at the channel ends a refund for good, under any number; whether nothing of it was paid or ever will be.
    pub fn stop_refund(&mut self, number: AttemptNumber, index: u16) -> bool {
        let Some(payment) = self.payments.get_mut(&number) else { return false };
        if payment.times_paid(index) > 0 {
            return false;
        }
        payment.refunds_stopped.insert(index);
        for refund in payment.refunds.values_mut().filter(|refund| refund.index == index) {
            refund.end = End::Failed;
        }
        true
    }

    /// When a refund comes to its end; none where the number is not known.
    pub fn refund_ends_at(&self, number: AttemptNumber, refund_number: &str) -> Option<Instant> {
        Some(self.payments.get(&number)?.refunds.get(refund_number)?.ends_at)
    }

    /// How a refund stands by its gateway's books, and how much it is; none where the number is not known.
    pub fn refund_stands(
        &self,
        number: AttemptNumber,
        refund_number: &str,
        now: Instant,
    ) -> Option<(i64, RefundOutcome)> {
        let refund = self.payments.get(&number)?.refunds.get(refund_number)?;
        Some((refund.amount_minor, refund.stands(now)))
    }
}

impl Payment {
    fn failed_refunds(&self, index: u16) -> usize {
        self.refunds.values().filter(|refund| refund.index == index && refund.end == End::Failed).count()
    }

    /// Whether another number of a refund may come to nothing: of suspense only so many.
    fn may_use_up(&self, asked: &RefundRequest) -> bool {
        let refused = self.refunds_refused.iter().filter(|index| **index == asked.refund).count();
        asked.is_asked_for || self.failed_refunds(asked.refund) + refused < FAILURES_MAX
    }

    /// What was given back, or will be.
    pub(super) fn refunded_minor(&self) -> i64 {
        self.refunds.values().filter(|refund| refund.end == End::Paid).map(|refund| refund.amount_minor).sum()
    }

    /// Under how many numbers a refund was paid or will be.
    pub fn times_paid(&self, index: u16) -> usize {
        let is_paid = |refund: &&Refund| match refund.end {
            End::Paid | End::CameBack => refund.index == index,
            End::Failed | End::Stuck => false,
        };
        self.refunds.values().filter(is_paid).count()
    }

    /// What a refund under a new number may take: what is under way counts until it has failed. UnionPay does not look:
    /// under another number it pays twice.
    fn refundable_minor(&self, now: Instant) -> i64 {
        let captured = self.capture.as_ref().map_or(0, |capture| capture.amount_minor);
        match self.account.channel() {
            Channel::Unionpay => captured,
            Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Stripe => {
                let holds = |refund: &&Refund| match refund.end {
                    End::Paid | End::Stuck => true,
                    End::Failed | End::CameBack => now < refund.ends_at,
                };
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
        if now < self.ends_at { RefundOutcome::Pending { hold: self.hold } } else { self.ended() }
    }

    fn ended(&self) -> RefundOutcome {
        match self.end {
            End::Paid => RefundOutcome::Done { reference: None, dated: Dated::NOT_TOLD },
            End::Failed => RefundOutcome::Ended { code: "CLOSED".into() },
            End::Stuck => RefundOutcome::Stuck { code: "ABNORMAL".into() },
            End::CameBack => RefundOutcome::Returned { code: "CARD_CLOSED".into(), dated: Dated::NOT_TOLD },
        }
    }
}
