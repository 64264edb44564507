//! Stored rows that cannot be read: which, why, and since when. Looks through many rows pass them over. The list lives
//! in memory and is bounded; a row that is not met again for a while is taken off it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::time::Instant;
use crate::store::{Seen, StoreError};

/// More than these are said once, and none of them by name: so many are the store's illness and not the rows'.
const LISTED_MAX: usize = 1_000;
/// Longer than any look takes to come round again.
const FORGET_AFTER_MS: i64 = 600_000;

/// Where rows are looked for that one of them must not stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Orders,
    Outbox,
    Inbox,
    Platforms,
    Refunds,
    Lines,
}

impl Table {
    pub const ALL: [Table; 6] =
        [Table::Orders, Table::Outbox, Table::Inbox, Table::Platforms, Table::Refunds, Table::Lines];

    pub const fn name(self) -> &'static str {
        match self {
            Table::Orders => "orders",
            Table::Outbox => "outbox",
            Table::Inbox => "inbox",
            Table::Platforms => "platforms",
            Table::Refunds => "refunds",
            Table::Lines => "lines",
        }
    }
}

/// Why a row cannot be read, and since when that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub why: String,
    pub since: Instant,
    met_at: Instant,
}

#[derive(Default)]
pub struct UnreadableRows(Mutex<BTreeMap<(Table, String), Unreadable>>);

impl UnreadableRows {
    /// The rows' values; those that cannot be read are listed and passed over.
    pub fn pass_over<K, T>(
        &self,
        table: Table,
        rows: Vec<Seen<K, T>>,
        name: impl Fn(&K) -> String,
        now: Instant,
    ) -> Vec<T> {
        let value = |row: Seen<K, T>| match row.value {
            Ok(value) => Some(value),
            Err(error) => {
                self.met(table, row.key.as_ref().map(&name), &error, now);
                None
            }
        };
        rows.into_iter().filter_map(value).collect()
    }

    /// A row was met that cannot be read; `row` none where not even its key can.
    pub fn met(&self, table: Table, row: Option<String>, error: &StoreError, now: Instant) {
        let row = row.unwrap_or_else(|| "a row without a readable key".into());
        let mut rows = self.rows();
        let is_full = rows.len() >= LISTED_MAX;
        match rows.entry((table, row)) {
            Entry::Occupied(mut known) => known.get_mut().met_at = now,
            Entry::Vacant(_) if is_full => {}
            Entry::Vacant(new) => {
                let row = &new.key().1;
                tracing::error!(table = table.name(), row, %error, "a stored row cannot be read and is passed over");
                metrics::counter!("tongbao_rows_passed_over_total", "table" => table.name()).increment(1);
                new.insert(Unreadable { why: error.to_string(), since: now, met_at: now });
                if rows.len() == LISTED_MAX {
                    tracing::error!(most = LISTED_MAX, "no more unreadable rows are listed");
                }
            }
        }
    }

    /// Takes rows off the list that were not met for long, and measures the rest.
    pub fn measure(&self, now: Instant) {
        let mut rows = self.rows();
        rows.retain(|_, row| now.since_ms(row.met_at) < FORGET_AFTER_MS);
        for table in Table::ALL {
            let count = rows.keys().filter(|(of, _)| *of == table).count();
            metrics::gauge!("tongbao_rows_unreadable", "table" => table.name()).set(count as f64);
        }
    }

    pub fn list(&self) -> Vec<(Table, String, Unreadable)> {
        self.rows().iter().map(|((table, row), found)| (*table, row.clone(), found.clone())).collect()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<(Table, String), Unreadable>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000);

    fn corrupt() -> StoreError {
        StoreError::Corrupt("a stored webhook kind cannot be read".into())
    }

    #[test]
    fn what_can_be_read_is_passed_on_and_the_rest_is_listed_once() {
        let unreadable = UnreadableRows::default();
        let rows = || {
            vec![
                Seen { key: Some(1), value: Ok("one") },
                Seen { key: Some(2), value: Err(corrupt()) },
                Seen { key: Some(3), value: Ok("three") },
                Seen { key: None, value: Err(corrupt()) },
            ]
        };
        for round in 0..3 {
            let read = unreadable.pass_over(Table::Outbox, rows(), ToString::to_string, NOW.plus_ms(round));
            assert_eq!(read, ["one", "three"]);
        }
        let listed = unreadable.list();
        assert_eq!(listed.len(), 2);
        assert_eq!((listed[0].0, listed[0].1.as_str(), listed[0].2.since), (Table::Outbox, "2", NOW));
        unreadable.measure(NOW.plus_ms(FORGET_AFTER_MS));
        assert_eq!(unreadable.list().len(), 2, "met again since");
        unreadable.measure(NOW.plus_ms(FORGET_AFTER_MS + 2));
        assert!(unreadable.list().is_empty());
    }

    #[test]
    fn the_list_is_bounded() {
        let unreadable = UnreadableRows::default();
        for row in 0..LISTED_MAX + 10 {
            unreadable.met(Table::Inbox, Some(row.to_string()), &corrupt(), NOW);
        }
        assert_eq!(unreadable.list().len(), LISTED_MAX);
    }
}
