//! Platforms that owe us of closed cycles, and since when.

use super::payees::read;
use crate::domain::id::PlatformId;
use crate::domain::money::Currency;
use crate::domain::payee::PayeeId;
use crate::domain::stream::Kind;
use crate::domain::time::Instant;
use crate::store::{SettlementFilter, Store, StoreError, StoredSettlement};

/// Payees that are read together.
const PAGE: u32 = 200;
/// Settlements that are looked through for the beginning of a debt.
const SETTLEMENTS_MAX: u32 = 100;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debtor {
    pub payee: PayeeId,
    pub owed_minor: i64,
    /// When the settlement was closed with which the debt began, or the oldest that was looked at. None where no
    /// settlement is negative.
    pub since: Option<Instant>,
}

impl Debtor {
    pub const fn platform(&self) -> PlatformId {
        self.payee.platform
    }

    pub const fn currency(&self) -> Currency {
        self.payee.currency
    }

    pub fn days(&self, now: Instant) -> Option<i64> {
        self.since.map(|since| now.since_ms(since).max(0).div_euclid(DAY_MS))
    }
}

/// Those after the payee of this number, by number, at most `limit` of them.
///
/// # Errors
/// The store's, also for a payee that cannot be read: a list without it would say that it owes nothing.
pub async fn debtors(store: &dyn Store, mut after: u128, limit: usize) -> Result<Vec<Debtor>, StoreError> {
    let mut found = Vec::new();
    loop {
        let page = store.streams(Kind::PAYEE, after, PAGE).await?;
        let Some(last) = page.iter().rev().find_map(|row| row.key) else { return Ok(found) };
        after = last;
        for row in page {
            if found.len() >= limit {
                return Ok(found);
            }
            let unknown = || StoreError::Corrupt("a payee's number cannot be read".to_owned());
            let payee = row.key.and_then(PayeeId::from_u128).ok_or_else(unknown)?;
            let owed_minor = read(payee, &row.value?.snapshot)?.settled_minor.saturating_neg();
            if owed_minor > 0 {
                let filter = SettlementFilter {
                    platform: payee.platform,
                    currency: payee.currency,
                    state: None,
                    before: None,
                    limit: SETTLEMENTS_MAX,
                };
                let since = since(&store.settlements(&filter).await?);
                found.push(Debtor { payee, owed_minor, since });
            }
        }
    }
}

/// Of settlements, the newest first. One that brings no debt forward began the debt itself.
fn since(settlements: &[StoredSettlement]) -> Option<Instant> {
    let mut since = None;
    for settlement in settlements.iter().take_while(|settlement| settlement.totals.net_minor < 0) {
        since = Some(settlement.closed_at);
        if settlement.totals.brought_forward_minor >= 0 {
            break;
        }
    }
    since
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cycle::{CalendarId, CycleId};
    use crate::domain::settlement::{SettlementState, Sums, Totals};

    /// The nets of settlements and what they brought forward, the newest first; each was closed at its number.
    fn began(rows: &[(i64, i64)]) -> Option<i64> {
        let newest_first = (1..=u32::try_from(rows.len()).unwrap()).rev();
        let settlement = |(number, (net_minor, brought_forward_minor)): (u32, &(i64, i64))| StoredSettlement {
            platform: PlatformId(7),
            cycle: CycleId { calendar: CalendarId(1), number },
            currency: Currency::parse("CNY").unwrap(),
            number,
            starts_at: Instant(0),
            ends_at: Instant(0),
            closed_at: Instant(i64::from(number)),
            totals: Totals {
                brought_forward_minor: *brought_forward_minor,
                covers: Vec::new(),
                net_minor: *net_minor,
                sums: Sums::default(),
            },
            state: SettlementState::Carried,
            payout: None,
            netted_at: None,
        };
        let settlements: Vec<_> = newest_first.zip(rows).map(settlement).collect();
        since(&settlements).map(|at| at.0)
    }

    #[test]
    fn a_debt_is_as_old_as_the_settlement_that_began_it() {
        assert_eq!(began(&[]), None);
        assert_eq!(began(&[(5, 0)]), None);
        assert_eq!(began(&[(-5, 0)]), Some(1));
        assert_eq!(began(&[(-5, -3), (-3, 2), (2, 0)]), Some(2));
        // The first debt was paid before the next one began.
        assert_eq!(began(&[(-5, 0), (-3, 0)]), Some(2));
        // It was negative before, but not ever since.
        assert_eq!(began(&[(-5, 4), (4, -1), (-1, 0)]), Some(3));
        // Further back nobody looked.
        assert_eq!(began(&[(-5, -4), (-4, -3)]), Some(1));
    }

    #[test]
    fn days_are_whole_ones() {
        let payee = PayeeId { currency: Currency::parse("CNY").unwrap(), platform: PlatformId(7) };
        let debtor = Debtor { payee, owed_minor: 1, since: Some(Instant(0)) };
        assert_eq!(debtor.days(Instant(2 * DAY_MS - 1)), Some(1));
        assert_eq!(debtor.days(Instant(-1)), Some(0));
    }
}
