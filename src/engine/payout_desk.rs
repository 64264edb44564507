//! Where operators bring what is to become of payouts. One export at a time, so that what the bank account holds is
//! counted once.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::directory::Directory;
use super::letter::TellError;
use super::payees::{Payees, Told, read};
use crate::domain::bank::BankName;
use crate::domain::bank_details::BankDetails;
use crate::domain::id::PlatformId;
use crate::domain::ledger::LedgerAccount;
use crate::domain::money::Currency;
use crate::domain::payee::{Fact, Payee, PayeeId, Refusal};
use crate::domain::payout::PayoutState;
use crate::domain::payout_id::PayoutId;
use crate::domain::stream::Kind;
use crate::domain::time::Instant;
use crate::store::{PayoutFilter, PayoutRow, Store, StoreError};

/// Payees that are looked at together.
const PAGE: u32 = 200;
/// Payouts that one command makes or one file holds: what a person can look through, and banks take.
pub const PAYOUTS_AT_ONCE: usize = 500;

/// Why nothing came of it.
#[derive(Debug)]
pub enum PayoutError {
    Store(StoreError),
    Told(TellError<Refusal>),
    /// The bank account has less, by our books, than is to leave it.
    CoverMissing {
        held_minor: i64,
        leaving_minor: i64,
    },
    /// Nothing is approved that could be exported.
    NothingToExport,
}

impl From<StoreError> for PayoutError {
    fn from(error: StoreError) -> Self {
        PayoutError::Store(error)
    }
}

impl From<TellError<Refusal>> for PayoutError {
    fn from(error: TellError<Refusal>) -> Self {
        PayoutError::Told(error)
    }
}

/// A file for a bank: the payouts that stand in it never change.
#[derive(Debug)]
pub struct File {
    pub id: String,
    pub bank: BankName,
    pub currency: Currency,
    pub payouts: Vec<(PayoutRow, BankDetails)>,
}

impl File {
    /// When it was made, as its id says.
    pub fn made_at(&self) -> Option<Instant> {
        made_at(&self.id)
    }
}

/// `TB` and the instant in milliseconds: unique, because one export runs at a time.
fn file_id(at: Instant) -> String {
    format!("TB{:015}", at.0.max(0))
}

fn made_at(id: &str) -> Option<Instant> {
    let digits = id.strip_prefix("TB").filter(|digits| digits.len() == 15)?;
    digits.parse().ok().map(Instant)
}

pub struct PayoutDesk {
    store: Arc<dyn Store>,
    payees: Arc<Directory<Payees>>,
    exporting: Mutex<()>,
}

impl PayoutDesk {
    pub fn new(store: Arc<dyn Store>, payees: Arc<Directory<Payees>>) -> Self {
        PayoutDesk { store, payees, exporting: Mutex::new(()) }
    }

    pub fn now(&self) -> Instant {
        self.payees.host().time.now()
    }

    /// Tells a payee something; the payee as it is then.
    ///
    /// # Errors
    /// [`PayoutError`].
    pub async fn tell(&self, payee: PayeeId, fact: Fact) -> Result<Payee, PayoutError> {
        Ok(self.payees.tell(payee.as_u128(), Told::Fact(fact)).await?)
    }

    /// Proposes where a payee is to be paid to; the number of the details.
    ///
    /// # Errors
    /// [`PayoutError`].
    pub async fn propose_details(
        &self,
        payee: PayeeId,
        details: &BankDetails,
        operator: &str,
    ) -> Result<u32, PayoutError> {
        let written = serde_json::to_string(details);
        let details = written.map_err(|error| StoreError::Corrupt(error.to_string()))?.into();
        let told = Told::ProposeDetails { details, operator: operator.into() };
        Ok(self.payees.tell(payee.as_u128(), told).await?.details_made)
    }

    /// Proposes payouts of all that is settled in a currency and enough to be paid out, of one platform or of all.
    ///
    /// # Errors
    /// [`PayoutError`]; those that were made before stay.
    pub async fn create(
        &self,
        only: Option<PlatformId>,
        (currency, payout_min_minor): (Currency, i64),
        bank: &BankName,
        operator: &str,
    ) -> Result<Vec<PayoutRow>, PayoutError> {
        let mut made = Vec::new();
        for payee in self.payable(only, currency, payout_min_minor).await? {
            let fact = Fact::PayoutCreated { operator: operator.into(), bank: bank.clone(), payout_min_minor };
            match self.tell(payee, fact).await {
                Ok(after) => {
                    let newest = after.payout(after.payouts_made).cloned();
                    made.extend(newest.map(|payout| PayoutRow { payee, payout }));
                }
                // Somebody else was faster, or one that was asked for by name has nothing to be paid.
                Err(PayoutError::Told(TellError::Refused(Refusal::NothingToPay { .. }))) if only.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Payees with enough to be paid out; the one that is asked for in any case.
    async fn payable(
        &self,
        only: Option<PlatformId>,
        currency: Currency,
        payout_min_minor: i64,
    ) -> Result<Vec<PayeeId>, PayoutError> {
        if let Some(platform) = only {
            return Ok(vec![PayeeId { currency, platform }]);
        }
        let (mut payable, mut after) = (Vec::new(), 0);
        loop {
            let page = self.store.streams(Kind::PAYEE, after, PAGE).await?;
            let Some(last) = page.iter().rev().find_map(|row| row.key) else { return Ok(payable) };
            after = last;
            for row in page {
                let (Some(payee), Ok(head)) = (row.key.and_then(PayeeId::from_u128), row.value) else { continue };
                if payee.currency != currency {
                    continue;
                }
                let free_minor = read(payee, &head.snapshot)?.free_minor();
                if free_minor > 0 && free_minor >= payout_min_minor {
                    payable.push(payee);
                }
                if payable.len() >= PAYOUTS_AT_ONCE {
                    return Ok(payable);
                }
            }
        }
    }

    /// Puts what is approved into a file, if the bank account holds as much by our books.
    ///
    /// # Errors
    /// [`PayoutError`]. Payouts that were exported before it stand in a file of their own.
    pub async fn export(&self, bank: &BankName, currency: Currency) -> Result<File, PayoutError> {
        let _turn = self.exporting.lock().await;
        let filter = PayoutFilter {
            state: Some(PayoutState::Approved),
            platform: None,
            currency: Some(currency),
            file: None,
            after: None,
            limit: u32::try_from(PAYOUTS_AT_ONCE).unwrap_or(u32::MAX),
        };
        let approved = self.store.payouts(&filter).await?;
        let approved: Vec<PayoutRow> = approved.into_iter().filter(|row| row.payout.bank == *bank).collect();
        if approved.is_empty() {
            return Err(PayoutError::NothingToExport);
        }
        let overflow = || StoreError::Corrupt("payouts overflow".to_owned());
        let mut leaving_minor = self.store.leaving_bank(bank, currency).await?;
        for row in &approved {
            leaving_minor = leaving_minor.checked_add(row.payout.amount_minor).ok_or_else(overflow)?;
        }
        let held_minor = self.held_minor(bank, currency).await?;
        if leaving_minor > held_minor {
            return Err(PayoutError::CoverMissing { held_minor, leaving_minor });
        }
        let id = file_id(self.now());
        for row in &approved {
            let fact = Fact::PayoutExported { number: row.payout.number, file: id.as_str().into() };
            match self.tell(row.payee, fact).await {
                // It was cancelled meanwhile.
                Ok(_) | Err(PayoutError::Told(TellError::Refused(_))) => {}
                Err(error) => return Err(error),
            }
        }
        let file = self.read_file(&id).await?;
        file.ok_or(PayoutError::NothingToExport)
    }

    /// What a bank account holds by our books.
    async fn held_minor(&self, bank: &BankName, currency: Currency) -> Result<i64, StoreError> {
        let account = LedgerAccount::Bank(bank.clone()).to_string();
        let balances = self.store.balances().await?.into_iter();
        let held = balances.filter(|row| row.account == account && row.currency == currency.code());
        Ok(held.map(|row| row.amount_minor).sum())
    }

    /// A file, once nobody adds to it.
    ///
    /// # Errors
    /// The store's.
    pub async fn file(&self, id: &str) -> Result<Option<File>, StoreError> {
        let _turn = self.exporting.lock().await;
        self.read_file(id).await
    }

    async fn read_file(&self, id: &str) -> Result<Option<File>, StoreError> {
        if made_at(id).is_none() {
            return Ok(None);
        }
        let filter = PayoutFilter {
            state: None,
            platform: None,
            currency: None,
            file: Some(id.to_owned()),
            after: None,
            limit: u32::try_from(PAYOUTS_AT_ONCE).unwrap_or(u32::MAX),
        };
        let mut payouts = Vec::new();
        for row in self.store.payouts(&filter).await? {
            let corrupt = || StoreError::Corrupt(format!("payout {} was exported without details", row.payout.number));
            let number = row.payout.details.ok_or_else(corrupt)?;
            let stored = self.store.bank_details(row.payee, number).await?.ok_or_else(corrupt)?;
            payouts.push((row, stored.details));
        }
        let Some((first, _)) = payouts.first() else { return Ok(None) };
        let (bank, currency) = (first.payout.bank.clone(), first.payee.currency);
        Ok(Some(File { id: id.to_owned(), bank, currency, payouts }))
    }

    /// # Errors
    /// The store's.
    pub async fn payout(&self, id: PayoutId) -> Result<Option<PayoutRow>, StoreError> {
        self.store.payout(id.payee, id.number).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_when_it_was_made() {
        let at = Instant(1_796_000_000_123);
        assert_eq!(file_id(at), "TB001796000000123");
        assert_eq!(made_at(&file_id(at)), Some(at));
        for id in ["", "TB1", "TX001796000000123", "TB0017960000001234"] {
            assert_eq!(made_at(id), None, "{id}");
        }
    }
}
