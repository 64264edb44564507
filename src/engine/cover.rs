//! Whether we hold what we owe.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant as Moment;

use crate::domain::id::PlatformId;
use crate::domain::ledger::LedgerAccount;
use crate::store::{Balance, Store, StoreError};

/// Every balance is read for it.
const MEASURE_EVERY: Duration = Duration::from_mins(1);

/// What we hold of a currency, and what we owe.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cover {
    pub held_minor: i128,
    pub owed_minor: i128,
}

impl Cover {
    /// How much less is held than is owed.
    pub fn short_minor(&self) -> i128 {
        (self.owed_minor - self.held_minor).max(0)
    }
}

/// By currency. A platform's accounts are taken together; where it owes us, that is no money that others could be paid by.
///
/// # Errors
/// [`StoreError::Corrupt`] for a balance of no account of ours.
pub fn covers(balances: &[Balance]) -> Result<BTreeMap<String, Cover>, StoreError> {
    let mut covers: BTreeMap<String, Cover> = BTreeMap::new();
    let mut platforms: BTreeMap<(&str, PlatformId), i128> = BTreeMap::new();
    for balance in balances {
        let unknown = || StoreError::Corrupt(format!("{} is no account", balance.account));
        let account = LedgerAccount::parse(&balance.account).ok_or_else(unknown)?;
        let minor = i128::from(balance.amount_minor);
        let cover = covers.entry(balance.currency.clone()).or_default();
        match account {
            LedgerAccount::Bank(_)
            | LedgerAccount::Transit(_)
            | LedgerAccount::Wallet(_)
            | LedgerAccount::Channel(_) => cover.held_minor += minor,
            LedgerAccount::Platform(platform)
            | LedgerAccount::FeesDue(platform)
            | LedgerAccount::Settlement(platform)
            | LedgerAccount::Held(platform) => {
                *platforms.entry((&balance.currency, platform)).or_default() -= minor;
            }
            LedgerAccount::Payout(_)
            | LedgerAccount::Suspense(_)
            | LedgerAccount::RefundPending(_)
            | LedgerAccount::Unclaimed(_) => cover.owed_minor -= minor,
            LedgerAccount::Fees(_)
            | LedgerAccount::Dispute(_)
            | LedgerAccount::Cost(_)
            | LedgerAccount::BankCost
            | LedgerAccount::Position(_)
            | LedgerAccount::Netting(_)
            | LedgerAccount::Equity
            | LedgerAccount::WrittenOff => {}
        }
    }
    for ((currency, _), own_minor) in platforms {
        covers.entry(currency.to_owned()).or_default().owed_minor += own_minor.max(0);
    }
    Ok(covers)
}

/// What `tongbao_ledger_short` was last measured by.
#[derive(Default)]
pub struct CoverWatch(Mutex<Option<Moment>>);

impl CoverWatch {
    /// Says of each currency whether less is held than is owed, unless it was said within the last minute.
    ///
    /// # Errors
    /// The balances cannot be read.
    pub async fn measure(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut last = self.0.lock().await;
        if last.is_some_and(|last| last.elapsed() < MEASURE_EVERY) {
            return Ok(());
        }
        *last = Some(Moment::now());
        for (currency, cover) in covers(&store.balances().await?)? {
            let short = if cover.short_minor() > 0 { 1.0 } else { 0.0 };
            metrics::gauge!("tongbao_ledger_short", "currency" => currency).set(short);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debt_of_one_platform_pays_no_other() {
        let rows = |rows: &[(&str, i64)]| -> Vec<Balance> {
            let row = |(account, amount_minor): &(&str, i64)| Balance {
                account: (*account).to_owned(),
                currency: "CNY".to_owned(),
                amount_minor: *amount_minor,
            };
            rows.iter().map(row).collect()
        };
        let sold =
            [("channel:wechat:default", 10_000), ("platform:1", -9_000), ("fees_due:1", 50), ("settlement:2", -950)];
        let cover = |of: &[(&str, i64)]| covers(&rows(of)).unwrap().remove("CNY").unwrap();
        assert_eq!(cover(&sold), Cover { held_minor: 10_000, owed_minor: 9_900 });
        assert_eq!(cover(&sold).short_minor(), 0);
        let owing = [sold.as_slice(), &[("settlement:3", 500), ("suspense:wechat:default", -300)]].concat();
        assert_eq!(cover(&owing), Cover { held_minor: 10_000, owed_minor: 10_200 });
        assert_eq!(cover(&owing).short_minor(), 200);
        assert!(covers(&rows(&[("nonsense", 1)])).is_err());
    }
}
