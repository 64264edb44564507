//! What the ledger must hold of an order, worked out from the order alone: who was given what, what went back and where
//! it waits. It adds up what each fact is worth to each account, and knows nothing of entries.

use std::collections::BTreeMap;

use tongbao::domain::ledger::{Entry, LedgerAccount};
use tongbao::domain::order::{FeeBearer, Order, Purpose};
use tongbao::domain::refund::{Cause, PaidFrom, RefundState, Stage};
use tongbao::domain::splits;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Balances(BTreeMap<LedgerAccount, i64>);

impl Balances {
    pub fn book(&mut self, entry: &Entry) {
        for line in entry.lines() {
            self.add(line.account.clone(), line.amount_minor);
        }
    }

    fn add(&mut self, account: LedgerAccount, amount_minor: i64) {
        let balance = self.0.entry(account).or_default();
        *balance += amount_minor;
    }

    pub fn iter(&self) -> impl Iterator<Item = (&LedgerAccount, i64)> {
        self.0.iter().map(|(account, amount_minor)| (account, *amount_minor))
    }

    /// Without what is zero, which an account that was never booked on is too.
    pub fn settled(mut self) -> Self {
        self.0.retain(|_, amount_minor| *amount_minor != 0);
        self
    }

    pub fn of(order: &Order) -> Self {
        let mut balances = Balances::default();
        for (capture, place) in order.captures.iter().zip(0u16..) {
            let attempt = order.attempt(capture.ordinal).expect("a capture belongs to an attempt");
            balances.add(LedgerAccount::Channel(attempt.account.clone()), capture.amount_minor);
            match capture.purpose {
                Purpose::Suspense(_) => {
                    balances.add(LedgerAccount::Suspense(attempt.account.clone()), -capture.amount_minor);
                }
                Purpose::Payment => balances.add_payment(order, attempt.fee_minor, place),
            }
        }
        for refund in &order.refunds {
            balances.add_refund(order, refund);
        }
        balances.settled()
    }

    /// What everybody was given of the payment.
    fn add_payment(&mut self, order: &Order, fee_minor: i64, place: u16) {
        let account = order.attempt(order.captures[usize::from(place)].ordinal).expect("an attempt").account.clone();
        let parts = splits::divide(order.amount_minor, &order.splits).expect("shares are at most the amount");
        self.add_parts(order, &parts, -1);
        self.add(LedgerAccount::Fees(account.channel()), -fee_minor);
        match order.fee_bearer {
            FeeBearer::Payer => {}
            FeeBearer::Platform => self.add(LedgerAccount::FeesDue(order.platform), fee_minor),
        }
    }

    fn add_parts(&mut self, order: &Order, parts: &[i64], sign: i64) {
        let parties = std::iter::once(order.platform).chain(order.splits.iter().map(|split| split.to));
        for (party, part) in parties.zip(parts) {
            self.add(LedgerAccount::Platform(party), sign * part);
        }
    }

    fn add_refund(&mut self, order: &Order, refund: &tongbao::domain::refund::Refund) {
        let account = order.attempt_of(refund).expect("a refund is of a capture").account.clone();
        let is_given = match (&refund.cause, refund.state()) {
            (_, RefundState::Failed | RefundState::Returned) => false,
            (Cause::Suspense, RefundState::Created) => false,
            (Cause::Asked(_), RefundState::Created) => true,
            (_, RefundState::Submitted | RefundState::Succeeded) => true,
        };
        if !is_given {
            return;
        }
        match &refund.cause {
            Cause::Suspense => self.add(LedgerAccount::Suspense(account.clone()), refund.amount_minor),
            Cause::Asked(asked) => {
                self.add_parts(order, &asked.parts, 1);
                self.add(LedgerAccount::Fees(account.channel()), asked.fee_minor);
                match order.fee_bearer {
                    FeeBearer::Payer => {}
                    FeeBearer::Platform => self.add(LedgerAccount::FeesDue(order.platform), -asked.fee_minor),
                }
            }
        }
        let paid_from = match refund.stage {
            Stage::Succeeded { paid_from: PaidFrom::Channel, .. } => LedgerAccount::Channel(account),
            Stage::Succeeded { paid_from: PaidFrom::Bank, .. } => LedgerAccount::Bank,
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Doubtful { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => LedgerAccount::RefundPending(account),
        };
        self.add(paid_from, -refund.amount_minor);
    }
}
