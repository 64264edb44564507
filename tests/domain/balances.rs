//! What the ledger must hold of an order, worked out from the order alone: who was given what, what went back and where
//! it waits. It adds up what each fact is worth to each account, and knows nothing of entries.

use std::collections::BTreeMap;

use tongbao::domain::bank::BankName;
use tongbao::domain::id::Account;
use tongbao::domain::ledger::{Entry, LedgerAccount};
use tongbao::domain::merchant::Merchant;
use tongbao::domain::order::{Attempt, FeeBearer, Order, Purpose};
use tongbao::domain::refund::{Cause, PaidFrom, Refund, RefundState, Stage};
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
        for capture in &order.captures {
            let attempt = order.attempt(capture.ordinal).expect("a capture belongs to an attempt");
            balances.add_held(attempt, LedgerAccount::Channel, capture.amount_minor);
            match capture.purpose {
                Purpose::Suspense(_) => balances.add_held(attempt, LedgerAccount::Suspense, -capture.amount_minor),
                // What everybody was given of the payment.
                Purpose::Payment => {
                    let parts = splits::divide(order.amount_minor, &order.splits);
                    balances.add_parts(order, attempt, &parts.expect("shares are at most the amount"), -1);
                    balances.add_fee(order, attempt, attempt.fee_minor);
                }
            }
        }
        for refund in &order.refunds {
            balances.add_refund(order, refund);
        }
        balances.settled()
    }

    /// What the operator holds, or owes payers, by an account: of a seller's own it holds nothing.
    fn add_held(&mut self, attempt: &Attempt, kind: fn(Account) -> LedgerAccount, amount_minor: i64) {
        match attempt.merchant {
            Merchant::Operator => self.add(kind(attempt.account.clone()), amount_minor),
            Merchant::Seller => {}
        }
    }

    fn add_parts(&mut self, order: &Order, attempt: &Attempt, parts: &[i64], sign: i64) {
        let shares = order.splits.iter().map(|split| split.to).zip(parts.iter().skip(1));
        match attempt.merchant {
            Merchant::Operator => {
                self.add(LedgerAccount::Platform(order.platform), sign * parts[0]);
                shares.for_each(|(party, part)| self.add(LedgerAccount::Platform(party), sign * part));
            }
            Merchant::Seller => {
                for (party, part) in shares {
                    self.add(LedgerAccount::Position(party), sign * part);
                    self.add(LedgerAccount::Position(order.platform), -sign * part);
                }
            }
        }
    }

    fn add_fee(&mut self, order: &Order, attempt: &Attempt, fee_minor: i64) {
        self.add(LedgerAccount::Fees(attempt.channel()), -fee_minor);
        match (attempt.merchant, order.fee_bearer) {
            (Merchant::Operator, FeeBearer::Payer) => {}
            (Merchant::Operator, FeeBearer::Platform) | (Merchant::Seller, FeeBearer::Payer | FeeBearer::Platform) => {
                self.add(LedgerAccount::FeesDue(order.platform), fee_minor);
            }
        }
    }

    fn add_refund(&mut self, order: &Order, refund: &Refund) {
        let attempt = order.attempt_of(refund).expect("a refund is of a capture");
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
            Cause::Suspense => self.add_held(attempt, LedgerAccount::Suspense, refund.amount_minor),
            Cause::Asked(asked) => {
                self.add_parts(order, attempt, &asked.parts, 1);
                self.add_fee(order, attempt, -asked.fee_minor);
            }
        }
        let paid_from = match refund.stage {
            Stage::Succeeded { paid_from: PaidFrom::Channel, .. } => LedgerAccount::Channel,
            Stage::Succeeded { paid_from: PaidFrom::Bank, .. } => |_: Account| LedgerAccount::Bank(BankName::main()),
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Doubtful { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => LedgerAccount::RefundPending,
        };
        self.add_held(attempt, paid_from, -refund.amount_minor);
    }
}
