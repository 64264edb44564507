//! What goes along with a lane and must say what its journal says: the balances of its accounts. They are stamped anew
//! for each try of a group, from how the last committed one left them; a try that fails leaves nothing behind.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::StoreError;

/// What a sum is kept of: a ledger account in one currency and one cycle; of a platform's also by what its lines are to
/// it, and by the other platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purse {
    pub account: Arc<str>,
    pub currency: Arc<str>,
    pub cycle: i64,
    /// Empty where the account is no platform's.
    pub transaction_kind: &'static str,
    /// 0 where there is none.
    pub counterparty: i64,
}

/// How the last committed group of a lane left what goes along with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Companions {
    /// The place that the lane's next journal row has. Whoever begins at another one has not seen what these have.
    pub next_place: i64,
    balances: HashMap<Purse, i64>,
}

/// A try of a group: what it changes, and nothing else.
#[derive(Debug)]
pub struct Trial<'c> {
    before: &'c Companions,
    next_place: i64,
    changed: BTreeMap<Purse, Changed>,
}

/// A balance after the last line of a try that changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    pub amount_minor: i64,
    /// Of the journal row that this line belongs to.
    pub place: i64,
    pub account: Known,
}

/// Whether any group before has booked on an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Before,
    New,
}

/// What a try leaves once it is committed.
#[derive(Debug)]
pub struct Stamped {
    pub next_place: i64,
    pub changed: BTreeMap<Purse, Changed>,
}

impl Companions {
    pub fn new(next_place: i64, balances: HashMap<Purse, i64>) -> Self {
        Companions { next_place, balances }
    }

    /// Begins a try.
    pub fn attempt(&self) -> Trial<'_> {
        Trial { before: self, next_place: self.next_place, changed: BTreeMap::new() }
    }

    /// The try was committed.
    pub fn adopt(&mut self, stamped: Stamped) {
        self.next_place = stamped.next_place;
        self.balances.extend(stamped.changed.into_iter().map(|(purse, changed)| (purse, changed.amount_minor)));
    }
}

impl Trial<'_> {
    /// The place of the next row.
    pub fn place(&mut self) -> i64 {
        let place = self.next_place;
        self.next_place += 1;
        place
    }

    /// Books a line of the row at `place`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the sum is no number that the store holds.
    pub fn book(&mut self, purse: Purse, amount_minor: i64, place: i64) -> Result<(), StoreError> {
        let (before, account) = match (self.changed.get(&purse), self.before.balances.get(&purse)) {
            (Some(changed), _) => (changed.amount_minor, changed.account),
            (None, Some(before)) => (*before, Known::Before),
            (None, None) => (0, Known::New),
        };
        let sum = before.checked_add(amount_minor);
        let amount_minor =
            sum.ok_or_else(|| StoreError::Corrupt(format!("the balance of {} overflows", purse.account)))?;
        self.changed.insert(purse, Changed { amount_minor, place, account });
        Ok(())
    }

    pub fn end(self) -> Stamped {
        Stamped { next_place: self.next_place, changed: self.changed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purse(account: &str) -> Purse {
        let (account, currency, transaction_kind) = (account.into(), "CNY".into(), "");
        Purse { account, currency, cycle: 1, transaction_kind, counterparty: 0 }
    }

    #[test]
    fn a_try_that_fails_leaves_nothing_behind() {
        let mut companions = Companions::new(7, HashMap::from([(purse("fees:simpay"), -3)]));
        let before = companions.clone();
        let mut failed = companions.attempt();
        let place = failed.place();
        failed.book(purse("fees:simpay"), -4, place).unwrap();
        drop(failed.end());
        assert_eq!(companions, before);

        let mut written = companions.attempt();
        for amount in [-1, -1] {
            let place = written.place();
            written.book(purse("fees:simpay"), amount, place).unwrap();
            written.book(purse("platform:1"), -amount, place).unwrap();
        }
        let stamped = written.end();
        assert_eq!(stamped.next_place, 9, "a place of a try that failed is given again");
        let changed = |amount_minor, account| Changed { amount_minor, place: 8, account };
        assert_eq!(stamped.changed[&purse("fees:simpay")], changed(-5, Known::Before));
        assert_eq!(stamped.changed[&purse("platform:1")], changed(2, Known::New));
        companions.adopt(stamped);
        let after = HashMap::from([(purse("fees:simpay"), -5), (purse("platform:1"), 2)]);
        assert_eq!(companions, Companions::new(9, after));
    }

    #[test]
    fn a_balance_that_overflows_is_refused() {
        let companions = Companions::new(1, HashMap::from([(purse("platform:1"), i64::MIN)]));
        let mut attempt = companions.attempt();
        assert!(matches!(attempt.book(purse("platform:1"), -1, 1), Err(StoreError::Corrupt(_))));
    }
}
