//! One group as one transaction. Rows go in many at a time, by statements of a few fixed lengths, so that each is
//! prepared once and kept.

use std::collections::HashSet;
use std::sync::OnceLock;

use rusqlite::{CachedStatement, Connection, OptionalExtension, ToSql, TransactionBehavior, params, params_from_iter};
use sqlx::types::Uuid;

use super::super::batch::{Batch, MovedRow};
use super::super::{Committed, NextActionChange, StoreError};
use super::faults::{changing_fault, writing_fault};
use crate::domain::id::OrderId;

/// How many rows a statement takes when more are waiting than the shortest of these; fewer rows have a statement of
/// just their number, so that a small group is few statements. The longest has fewer parameters than SQLite allows
/// (32,766).
const LENGTHS: [usize; 3] = [256, 128, 64];

/// A statement around a list of rows.
struct Rows {
    before: &'static str,
    columns: usize,
    after: &'static str,
    /// By length.
    texts: [OnceLock<String>; LENGTHS[0] + 1],
}

/// The parameters of a statement, from its first to its last.
struct Values<'s, 'c> {
    statement: &'s mut CachedStatement<'c>,
    bound: usize,
}

impl Values<'_, '_> {
    fn put(&mut self, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
        for value in values {
            self.bound += 1;
            self.statement.raw_bind_parameter(self.bound, value)?;
        }
        Ok(())
    }
}

impl Rows {
    const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Rows { before, columns, after, texts: [const { OnceLock::new() }; LENGTHS[0] + 1] }
    }

    /// The statement for as many of `waiting` rows as one takes, and how many these are.
    fn text(&self, waiting: usize) -> (&str, usize) {
        let length = LENGTHS.into_iter().find(|length| *length <= waiting).unwrap_or(waiting);
        let text = self.texts[length].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns].join(","));
            format!("{}{}{}", self.before, vec![row.as_str(); length].join(","), self.after)
        });
        (text, length)
    }

    /// Executes the statement over all of `rows`; how many rows it changed.
    fn write<T>(
        &self,
        connection: &Connection,
        rows: &[T],
        bind: fn(&T, &mut Values<'_, '_>) -> rusqlite::Result<()>,
    ) -> Result<usize, StoreError> {
        let mut changed = 0;
        let mut waiting = rows;
        while !waiting.is_empty() {
            let (text, length) = self.text(waiting.len());
            let (now, later) = waiting.split_at(length);
            let mut statement = connection.prepare_cached(text).map_err(changing_fault)?;
            let mut values = Values { statement: &mut statement, bound: 0 };
            now.iter().try_for_each(|row| bind(row, &mut values)).map_err(changing_fault)?;
            changed += statement.raw_execute().map_err(changing_fault)?;
            waiting = later;
        }
        Ok(changed)
    }
}

const OWNER: &str = "UPDATE owner SET beat = beat + 1, group_number = ?, at = ? WHERE id = 1 AND epoch = ?";
static CREATED: Rows = Rows::new(
    "INSERT INTO orders (id, platform_id, merchant_order_id, state, channel, version, currency, amount_minor, \
     created_at, expires_at, next_due_at, request, webhook_url, next_action, snapshot) VALUES ",
    15,
    " ON CONFLICT (platform_id, merchant_order_id) DO NOTHING",
);
static PRESENT: Rows = Rows::new("SELECT id FROM orders WHERE id IN (VALUES ", 1, ")");
static MOVED: Rows = Rows::new(
    "UPDATE orders SET version = v.column3, state = v.column4, channel = v.column5, next_due_at = v.column6, \
     next_action = CASE v.column7 WHEN 1 THEN v.column8 ELSE orders.next_action END, snapshot = v.column9 \
     FROM (VALUES ",
    9,
    ") AS v WHERE orders.id = v.column1 AND orders.version = v.column2",
);
static PAYERS: Rows = Rows::new(
    "INSERT INTO payers (order_id, ordinal, payer) VALUES ",
    3,
    " ON CONFLICT (order_id, ordinal) DO UPDATE SET payer = excluded.payer",
);
static JOURNAL: Rows = Rows::new("INSERT INTO journal (order_id, version, at, body) VALUES ", 4, "");
static ATTEMPTS: Rows = Rows::new(
    "INSERT INTO attempts (order_id, ordinal, channel, account, payable_minor, opened_at, frozen) VALUES ",
    7,
    "",
);
static CAPTURES: Rows = Rows::new(
    "INSERT INTO captures (channel, account, reference, order_id, ordinal, currency, amount_minor, at) VALUES ",
    8,
    "",
);
static ENTRIES: Rows =
    Rows::new("INSERT INTO entries (order_id, version, place, kind, currency, at, lines) VALUES ", 7, "");
static OUTBOX: Rows = Rows::new(
    "INSERT INTO outbox (order_id, sequence, kind, at, next_at, platform_id, url, trace, body) VALUES ",
    9,
    "",
);
static DELIVERED: Rows = Rows::new("DELETE FROM outbox WHERE (order_id, sequence) IN (VALUES ", 2, ")");
static UNDELIVERED: Rows = Rows::new(
    "UPDATE outbox SET tries = v.column3, next_at = v.column4, why = v.column5 FROM (VALUES ",
    5,
    ") AS v WHERE outbox.order_id = v.column1 AND outbox.sequence = v.column2",
);
static INBOX: Rows = Rows::new(
    "INSERT INTO inbox (reason, channel, account, number, order_id, body, raw, digest, at) VALUES ",
    9,
    " ON CONFLICT (digest) DO NOTHING",
);
static INBOX_DONE: Rows = Rows::new("DELETE FROM inbox WHERE id IN (VALUES ", 1, ")");
static ANSWERS: Rows = Rows::new(
    "INSERT INTO answers (platform_id, key, fingerprint, order_id, status, body, at) VALUES ",
    7,
    " ON CONFLICT (platform_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
     order_id = excluded.order_id, status = excluded.status, body = excluded.body, at = excluded.at",
);
static PAID_BY: Rows = Rows::new(
    "INSERT INTO payer_channels (payer, channel, at) VALUES ",
    3,
    " ON CONFLICT (payer) DO UPDATE SET channel = excluded.channel, at = excluded.at \
     WHERE excluded.at >= payer_channels.at",
);

pub fn commit(connection: &mut Connection, batch: Batch) -> Result<Committed, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(changing_fault)?;
    match write(&transaction, batch) {
        Ok(committed) => match transaction.commit() {
            Ok(()) => Ok(committed),
            Err(error) => Err(roll_back(connection, writing_fault(error))),
        },
        Err(error) => {
            drop(transaction);
            Err(roll_back(connection, error))
        }
    }
}

/// What a transaction that failed leaves is nothing; a connection that cannot let go of it is given up, which rolls
/// back.
fn roll_back(connection: &Connection, why: StoreError) -> StoreError {
    if connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok() {
        return why;
    }
    match why {
        StoreError::InDoubt(_) => why,
        StoreError::Conflict(_)
        | StoreError::ReferenceTaken(_)
        | StoreError::Unavailable(_)
        | StoreError::Corrupt(_)
        | StoreError::Broken(_)
        | StoreError::Fenced => StoreError::Unavailable(format!("not rolled back after {why}")),
    }
}

fn write(connection: &Connection, mut batch: Batch) -> Result<Committed, StoreError> {
    let mut owner = connection.prepare_cached(OWNER).map_err(changing_fault)?;
    if owner.execute(params![batch.number, batch.at, batch.epoch]).map_err(changing_fault)? == 0 {
        return Err(StoreError::Fenced);
    }
    let duplicates = create(connection, &mut batch)?;
    change(connection, &batch.moved)?;
    PAYERS.write(connection, &batch.payers, |row, values| {
        values.put(params![row.order_id.as_bytes(), row.ordinal, row.payer])
    })?;
    JOURNAL.write(connection, &batch.journal, |row, values| {
        values.put(params![row.order_id.as_bytes(), row.version, row.at, row.body])
    })?;
    ATTEMPTS.write(connection, &batch.attempts, |row, values| {
        let key = row.order_id.as_bytes();
        values.put(params![key, row.ordinal, row.channel, row.account, row.payable_minor, row.opened_at, row.frozen])
    })?;
    CAPTURES.write(connection, &batch.captures, |row, values| {
        values.put(params![row.channel, row.account, row.reference, row.order_id.as_bytes()])?;
        values.put(params![row.ordinal, row.currency, row.amount_minor, row.at])
    })?;
    ENTRIES.write(connection, &batch.entries, |row, values| {
        let key = row.order_id.as_bytes();
        values.put(params![key, row.version, row.place, row.kind, row.currency, row.at, row.lines])
    })?;
    OUTBOX.write(connection, &batch.outbox, |row, values| {
        values.put(params![row.order_id.as_bytes(), row.sequence, row.kind, row.at, row.next_at])?;
        values.put(params![row.platform_id, row.url, row.trace.as_slice(), row.body.as_ref()])
    })?;
    DELIVERED
        .write(connection, &batch.delivered, |(id, sequence), values| values.put(params![id.as_bytes(), sequence]))?;
    UNDELIVERED.write(connection, &batch.undelivered, |row, values| {
        values.put(params![row.order_id.as_bytes(), row.sequence, row.tries, row.next_at, row.why])
    })?;
    INBOX.write(connection, &batch.inbox, |row, values| {
        let order = row.order_id.as_ref().map(Uuid::as_bytes);
        values.put(params![row.reason, row.channel, row.account, row.number, order])?;
        values.put(params![row.body, row.raw, row.digest.as_slice(), row.at])
    })?;
    INBOX_DONE.write(connection, &batch.inbox_done, |id, values| values.put(params![id]))?;
    ANSWERS.write(connection, &batch.answers, |row, values| {
        let order = row.order_id.as_bytes();
        values.put(params![row.platform_id, row.key, row.fingerprint, order, row.status, row.body, row.at])
    })?;
    PAID_BY.write(connection, &batch.paid_by, |row, values| values.put(params![row.payer, row.channel, row.at]))?;
    Ok(Committed { duplicates })
}

/// Inserts the new orders and takes all rows of those out of the batch whose merchant order id was taken.
fn create(connection: &Connection, batch: &mut Batch) -> Result<Vec<usize>, StoreError> {
    let inserted = CREATED.write(connection, &batch.created, |row, values| {
        values.put(params![row.head.id.as_bytes(), row.platform_id, row.merchant_order_id])?;
        values.put(params![row.head.state, row.head.channel, row.head.version, row.currency, row.amount_minor])?;
        values.put(params![row.created_at, row.expires_at, row.head.next_due_at, row.request, row.webhook_url])?;
        values.put(params![row.next_action, row.head.snapshot])
    })?;
    if inserted == batch.created.len() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = batch.created.iter().map(|row| row.head.id).collect();
    let present = present(connection, &ids)?;
    let (losers, mut places): (HashSet<Uuid>, Vec<usize>) =
        batch.created.iter().filter(|row| !present.contains(&row.head.id)).map(|row| (row.head.id, row.place)).unzip();
    places.sort_unstable();
    batch.leave_out(&losers);
    Ok(places)
}

fn present(connection: &Connection, ids: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    let mut present = HashSet::new();
    let mut waiting = ids;
    while !waiting.is_empty() {
        let (text, length) = PRESENT.text(waiting.len());
        let (now, later) = waiting.split_at(length);
        let keys = now.iter().map(Uuid::as_bytes);
        let mut ask = connection.prepare_cached(text).map_err(changing_fault)?;
        let rows = ask.query_map(params_from_iter(keys), |row| row.get::<_, [u8; 16]>(0)).map_err(changing_fault)?;
        for row in rows {
            present.insert(Uuid::from_bytes(row.map_err(changing_fault)?));
        }
        waiting = later;
    }
    Ok(present)
}

/// Updates the orders that were there, each from the version its step was decided on.
fn change(connection: &Connection, moved: &[MovedRow]) -> Result<(), StoreError> {
    let changed = MOVED.write(connection, moved, |row, values| {
        let (change, next_action) = match &row.next_action {
            NextActionChange::Keep => (0, None),
            NextActionChange::Store(action) => (1, Some(action)),
            NextActionChange::Wipe => (1, None),
        };
        values.put(params![row.head.id.as_bytes(), row.expected_version, row.head.version, row.head.state])?;
        values.put(params![row.head.channel, row.head.next_due_at, change, next_action, row.head.snapshot])
    })?;
    if changed == moved.len() {
        return Ok(());
    }
    Err(name_conflict(connection, moved)?)
}

/// Finds the order that was not as it was expected, among rows as they were before this transaction.
fn name_conflict(connection: &Connection, moved: &[MovedRow]) -> Result<StoreError, StoreError> {
    connection.execute_batch("ROLLBACK").map_err(changing_fault)?;
    for row in moved {
        let there: Option<i64> = connection
            .query_row("SELECT version FROM orders WHERE id = ?", [row.head.id.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(changing_fault)?;
        if there != Some(row.expected_version) {
            let id = OrderId::from_u128(row.head.id.as_u128());
            return Ok(StoreError::Conflict(format!("not at the version its step was decided on: {id}")));
        }
    }
    Ok(StoreError::Conflict("an order has two steps in one group".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection as _};

    use super::super::super::batch::InboxLine;
    use super::super::committer;
    use super::*;

    fn callbacks(number: i64) -> Batch {
        let digest = |place: u8| {
            let mut digest = [place; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            digest
        };
        let row = |place| InboxLine {
            reason: "order_unknown",
            channel: "simpay",
            account: "default".to_owned(),
            number: number.to_string(),
            order_id: None,
            body: vec![0; 4_096],
            raw: Vec::new(),
            digest: digest(place),
            at: 0,
        };
        Batch { number, inbox: (0..16).map(row).collect(), ..Batch::default() }
    }

    /// A file that may grow no further stands for a disk that is full.
    #[tokio::test]
    async fn a_full_disk_writes_nothing_and_then_goes_on() {
        let folder = std::env::temp_dir().join(format!("tongbao-full-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("store.db");
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut maker = options.connect().await.unwrap();
        super::super::MIGRATOR.run_direct(None, &mut maker, false).await.unwrap();
        maker.close().await.unwrap();
        let mut connection = committer::open(&file, Duration::from_secs(1)).unwrap();
        connection.execute_batch("PRAGMA max_page_count = 200").unwrap();
        let count = |connection: &Connection, question| connection.query_row(question, [], |row| row.get::<_, i64>(0));
        let mut number = 0;
        let refused = loop {
            number += 1;
            assert!(number < 100, "the file is never full");
            match commit(&mut connection, callbacks(number)) {
                Ok(_) => {}
                Err(refused) => break refused,
            }
        };
        assert!(number > 1, "some fitted in");
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
        let group = "SELECT group_number FROM owner";
        let rows = "SELECT COUNT(*) FROM inbox";
        assert_eq!(count(&connection, group).unwrap(), number - 1);
        assert_eq!(count(&connection, rows).unwrap(), (number - 1) * 16);
        connection.execute_batch("PRAGMA max_page_count = 2000").unwrap();
        commit(&mut connection, callbacks(number)).expect("there is room again");
        assert_eq!(count(&connection, rows).unwrap(), number * 16);
        drop(connection);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
