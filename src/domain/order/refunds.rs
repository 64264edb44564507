//! What an order knows of its money on its way back: who has how much left, what may still be refunded, and when each
//! refund is due.

use super::{Attempt, Capture, FeeBearer, Order, Purpose};
use crate::domain::allotment;
use crate::domain::dated::{Dated, Effective, Plausible};
use crate::domain::id::{PlatformId, RefundId, RefundNumber, RefundOrdinal, RefundSubject, Round};
use crate::domain::ledger::{Booking, Fee, Parts};
use crate::domain::merchant::Merchant;
use crate::domain::refund::{Asked, Cause, FeePolicy, PaidFrom, Refund, Stage};
use crate::domain::retry;
use crate::domain::rules::Rulebook;
use crate::domain::splits;
use crate::domain::time::Instant;

/// What is left of an order's payment: of each party, and of the fee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The seller first, then those who were given a share.
    pub parts: Vec<i64>,
    pub fee: Fee,
}

impl Left {
    /// What of the payment may still go back.
    pub fn payable_minor(&self) -> i64 {
        self.parts_minor() + self.fee.paid_minor()
    }

    fn parts_minor(&self) -> i64 {
        self.parts.iter().sum()
    }

    /// The most that a refund by this policy may be.
    pub fn refundable_minor(&self, policy: FeePolicy) -> i64 {
        match policy {
            FeePolicy::Proportional => self.payable_minor(),
            FeePolicy::Kept => self.parts_minor(),
        }
    }

    /// What each party and the fee give to a refund of this amount; none where there is less left.
    pub fn give(&self, amount_minor: i64, policy: FeePolicy) -> Option<(Box<[i64]>, i64)> {
        match (policy, self.fee) {
            (FeePolicy::Kept, _) => Some((allotment::allot(&self.parts, amount_minor)?, 0)),
            (FeePolicy::Proportional, Fee::OfPayer(fee)) => {
                let parties: Vec<i64> = self.parts.iter().copied().chain([fee]).collect();
                let given = allotment::allot(&parties, amount_minor)?;
                let (fee, parts) = given.split_last()?;
                Some((parts.into(), *fee))
            }
            (FeePolicy::Proportional, Fee::OfPlatform(fee)) => {
                let parts = allotment::allot(&self.parts, amount_minor)?;
                Some((parts, half_up(fee, amount_minor, self.parts_minor())?))
            }
        }
    }
}

/// `fee × amount / total`, half up.
fn half_up(fee: i64, amount: i64, total: i64) -> Option<i64> {
    let (product, total) = (i128::from(fee) * i128::from(amount), i128::from(total));
    if total <= 0 {
        return None;
    }
    i64::try_from((2 * product + total) / (2 * total)).ok()
}

impl Order {
    /// What it was paid by.
    pub fn payment(&self) -> Option<(u16, &Capture)> {
        let place = self.captures.iter().position(|capture| capture.purpose == Purpose::Payment)?;
        Some((u16::try_from(place).ok()?, self.captures.get(place)?))
    }

    /// Refunds that the platform asked for, with what it asked.
    pub fn asked_refunds(&self) -> impl Iterator<Item = (&Refund, &Asked)> {
        self.refunds.iter().filter_map(|refund| Some((refund, refund.asked()?)))
    }

    /// What each party got and what has not gone back; none where the order is not paid.
    pub fn left(&self) -> Option<Left> {
        let (_, capture) = self.payment()?;
        let fee_minor = self.attempt(capture.ordinal)?.fee_minor;
        let mut parts = splits::divide(self.amount_minor, &self.splits)?.into_vec();
        let mut fee_left = fee_minor;
        for (_, asked) in self.asked_refunds().filter(|(refund, _)| refund.stage.reserves()) {
            for (left, part) in parts.iter_mut().zip(&asked.parts) {
                *left -= part;
            }
            fee_left -= asked.fee_minor;
        }
        Some(Left { parts, fee: self.fee(fee_left) })
    }

    /// A fee, by who bears it.
    pub(in crate::domain) const fn fee(&self, fee_minor: i64) -> Fee {
        match self.fee_bearer {
            FeeBearer::Payer => Fee::OfPayer(fee_minor),
            FeeBearer::Platform => Fee::OfPlatform(fee_minor),
        }
    }

    /// What its payer has back of what the order was paid by.
    pub fn refunded_minor(&self) -> i64 {
        let given = self.asked_refunds().filter(|(refund, _)| refund.stage.is_paid());
        given.map(|(refund, _)| refund.amount_minor).sum()
    }

    /// What is left of the payment beside all refunds that did not fail or come back; 0 where it is not paid.
    pub fn refundable_minor(&self, policy: FeePolicy) -> i64 {
        self.left().map_or(0, |left| left.refundable_minor(policy))
    }

    /// By how much a refund of this amount would lower what we owe the seller: its part, less the fee that it gets back.
    /// Its part of money that it took itself is none of ours. None where so much is not left.
    pub fn seller_gives(&self, amount_minor: i64, policy: FeePolicy) -> Option<i64> {
        let merchant = self.attempt(self.payment()?.1.ordinal)?.merchant;
        let (parts, fee_minor) = self.left()?.give(amount_minor, policy)?;
        match (merchant, self.fee_bearer) {
            (Merchant::Operator, FeeBearer::Payer) => parts.first().copied(),
            (Merchant::Operator, FeeBearer::Platform) => parts.first()?.checked_sub(fee_minor),
            (Merchant::Seller, FeeBearer::Payer | FeeBearer::Platform) => fee_minor.checked_neg(),
        }
    }

    /// Those who were given a share, with the parts that stand behind the seller's.
    pub(in crate::domain) fn others(&self, parts: &[i64]) -> Vec<(PlatformId, i64)> {
        self.splits.iter().map(|split| split.to).zip(parts.iter().skip(1).copied()).collect()
    }

    /// Whether an operator should look at one of its refunds.
    pub fn has_stuck_refunds(&self) -> bool {
        self.refunds.iter().any(Refund::is_stuck)
    }

    /// The refund of a capture that is not what the order was paid by.
    pub fn suspense_refund(&self, capture: u16) -> Option<&Refund> {
        self.refunds.iter().find(|refund| refund.is_of_suspense() && refund.capture == capture)
    }

    /// The attempt whose capture a refund gives back.
    pub fn attempt_of(&self, refund: &Refund) -> Option<&Attempt> {
        self.attempt(self.captures.get(usize::from(refund.capture))?.ordinal)
    }

    /// The number that a refund has at its channel in a round.
    pub fn refund_number(&self, refund: &Refund, round: Round) -> Option<RefundNumber> {
        let (before, rest) = self.captures.split_at_checked(usize::from(refund.capture))?;
        let capture = rest.first()?;
        let attempt = self.number(self.attempt(capture.ordinal)?);
        let subject = match &refund.cause {
            Cause::Asked(asked) => RefundSubject::Asked(asked.ordinal),
            Cause::Suspense => {
                let place = before.iter().filter(|other| other.ordinal == capture.ordinal).count();
                RefundSubject::Suspense { place: u16::try_from(place).ok()? }
            }
        };
        Some(RefundNumber { attempt, subject, incarnation: refund.incarnation, round })
    }

    /// The refund that has this number at its channel or had it, and in which round.
    pub fn refund_numbered(&self, number: &str) -> Option<(u16, Round)> {
        self.refunds.iter().zip(0u16..).find_map(|(refund, index)| {
            let mut rounds = (0..=refund.round.0).map(Round);
            let round = rounds
                .find(|round| self.refund_number(refund, *round).is_some_and(|known| known.to_string() == number))?;
            Some((index, round))
        })
    }

    /// The id of a refund that the platform asked for.
    pub fn refund_id(&self, refund: &Refund) -> Option<RefundId> {
        let ordinal = refund.asked()?.ordinal;
        Some(RefundId { order: self.id, ordinal, incarnation: refund.incarnation })
    }

    /// The refund of this ordinal, with its place.
    pub fn asked_refund(&self, ordinal: RefundOrdinal) -> Option<(u16, &Refund)> {
        let is_it = |refund: &Refund| refund.asked().is_some_and(|asked| asked.ordinal == ordinal);
        let place = self.refunds.iter().position(is_it)?;
        Some((u16::try_from(place).ok()?, self.refunds.get(place)?))
    }

    /// When a refund is due; none where nothing is to be done for it by itself.
    pub(in crate::domain) fn refund_due_at(&self, refund: &Refund, now: Instant) -> Option<Instant> {
        if let Some(last) = refund.last_in_doubt() {
            return Some(last.due_at);
        }
        match refund.stage {
            Stage::Unconfirmed { since } => {
                let channel = self.attempt_of(refund)?.channel();
                Some(retry::next_tick(self.rulebook().queries(channel), since, now))
            }
            Stage::Waiting { due_at } | Stage::Owed { due_at, .. } | Stage::Doubtful { due_at, .. } => Some(due_at),
            Stage::Succeeded { paid_from: PaidFrom::Channel, .. } => {
                let (channel, due_at) = (self.attempt_of(refund)?.channel(), self.look_since(refund)?);
                // A look that brought no answer is repeated at the pace of queries.
                Some(if due_at > now {
                    due_at
                } else {
                    retry::next_tick(self.rulebook().queries(channel), due_at, now)
                })
            }
            Stage::Succeeded { paid_from: PaidFrom::Bank, .. } | Stage::Failed { .. } | Stage::Returned { .. } => None,
        }
    }

    /// Since when a refund that was paid is to be looked at once more.
    pub(in crate::domain) fn look_since(&self, refund: &Refund) -> Option<Instant> {
        match refund.stage {
            Stage::Succeeded { at, looks, paid_from: PaidFrom::Channel } => {
                let channel = self.attempt_of(refund)?.channel();
                Some(at.plus_ms(self.rulebook().refund_look_ms(channel, looks)?))
            }
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Doubtful { .. }
            | Stage::Succeeded { paid_from: PaidFrom::Bank, .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => None,
        }
    }

    /// How a movement of this capture's money is booked, and whether what its channel told of the time can be.
    pub(in crate::domain) fn booking<'a>(
        &self,
        attempt: &'a Attempt,
        (dated, begun_at, booked_at): (Dated, Instant, Instant),
    ) -> (Booking<'a>, Plausible) {
        let (effective, plausible) = Effective::of(attempt.channel(), dated, begun_at, booked_at);
        let Attempt { account, merchant, .. } = attempt;
        let (merchant, seller, currency) = (*merchant, self.platform, self.currency);
        (Booking { account, merchant, seller, currency, effective }, plausible)
    }

    /// Captured minus given back by the channel, in minor units.
    pub fn net_captured_minor(&self) -> i64 {
        let captured: i64 = self.captures.iter().map(|capture| capture.amount_minor).sum();
        let given = self.refunds.iter().filter(|refund| refund.stage.is_paid_by_channel());
        captured - given.map(|refund| refund.amount_minor).sum::<i64>()
    }
}

impl Asked {
    /// What its parties give, by who they are.
    pub(in crate::domain) fn parts<'a>(&self, others: &'a [(PlatformId, i64)]) -> Parts<'a> {
        Parts { seller_minor: self.parts.first().copied().unwrap_or_default(), others }
    }
}

impl Refund {
    /// When it goes next, or else went. Its date may lie behind or ahead of that: it stays as it is while a send may be
    /// known by it, whatever becomes of the clock or of the send.
    pub(in crate::domain) const fn goes_at(&self) -> Instant {
        match self.stage {
            Stage::Waiting { due_at } | Stage::Owed { due_at, .. } => due_at,
            Stage::Unconfirmed { .. }
            | Stage::Doubtful { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => self.dated_at,
        }
    }

    /// Counts what it waits for from `now` at the latest.
    pub(in crate::domain) fn bring_back(&mut self, now: Instant, book: Rulebook) {
        let round = self.round;
        let gap_ms = |tries: u16| match (tries.checked_sub(1), round.0.checked_sub(1)) {
            (Some(tried), _) => retry::gap_ms(book.refunds(), tried),
            (None, Some(before)) => book.next_round_ms(Round(before)).unwrap_or_default(),
            (None, None) => 0,
        };
        match &mut self.stage {
            Stage::Unconfirmed { since } => *since = (*since).min(now),
            Stage::Owed { tries, due_at } => *due_at = (*due_at).min(now.plus_ms(gap_ms(*tries))),
            Stage::Doubtful { tries, due_at, sent_at, resent_at } => {
                *due_at = (*due_at).min(now.plus_ms(gap_ms(*tries)));
                *sent_at = (*sent_at).min(now);
                *resent_at = resent_at.map(|at| at.min(now));
            }
            Stage::Waiting { due_at } => *due_at = (*due_at).min(now.plus_ms(book.refunds_wait_max_ms())),
            // Looks are counted in days.
            Stage::Succeeded { .. } | Stage::Failed { .. } | Stage::Returned { .. } => {}
        }
        if let Some(last) = self.paid_earlier.as_mut().and_then(|paid| paid.doubt.as_mut()) {
            last.due_at = last.due_at.min(now.plus_ms(retry::gap_ms(book.refunds(), last.tries)));
            last.sent_by = last.sent_by.min(now);
        }
    }
}

impl Stage {
    /// Whether its channel's money is less by it.
    pub const fn is_paid_by_channel(self) -> bool {
        match self {
            Stage::Succeeded { paid_from: PaidFrom::Channel, .. } => true,
            Stage::Succeeded { paid_from: PaidFrom::Bank, .. }
            | Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Doubtful { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => false,
        }
    }

    /// Whether the payer has the money.
    pub const fn is_paid(self) -> bool {
        match self {
            Stage::Succeeded { .. } => true,
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Doubtful { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => false,
        }
    }
}
