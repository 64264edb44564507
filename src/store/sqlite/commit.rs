//! One group as one transaction. Rows go in many at a time, by statements of a few fixed lengths, so that each is
//! prepared once and kept.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use sqlx::query::QueryScalar;
use sqlx::sqlite::SqliteConnection;
use sqlx::types::Uuid;
use sqlx::{AssertSqlSafe, query, query_scalar};

use super::super::batch::Batch;
use super::super::{Committed, NextActionChange, StoreError};
use super::{Change, reading_fault, writing_fault};
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
    texts: [OnceLock<Arc<str>>; LENGTHS[0] + 1],
}

impl Rows {
    const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Rows { before, columns, after, texts: [const { OnceLock::new() }; LENGTHS[0] + 1] }
    }

    /// The statement for as many of `waiting` rows as one takes, and how many these are.
    fn text(&self, waiting: usize) -> (Arc<str>, usize) {
        let length = LENGTHS.into_iter().find(|length| *length <= waiting).unwrap_or(waiting);
        let text = self.texts[length].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns].join(","));
            format!("{}{}{}", self.before, vec![row.as_str(); length].join(","), self.after).into()
        });
        (Arc::clone(text), length)
    }

    /// Executes the statement over all of `rows`; how many rows it changed.
    async fn write<T>(
        &self,
        connection: &mut SqliteConnection,
        rows: Vec<T>,
        bind: fn(Change, T) -> Change,
    ) -> Result<usize, StoreError> {
        let mut rows = rows.into_iter();
        let mut changed = 0;
        while rows.len() > 0 {
            let (text, length) = self.text(rows.len());
            let statement = rows.by_ref().take(length).fold(query(AssertSqlSafe(text)), bind);
            changed += statement.execute(&mut *connection).await.map_err(reading_fault)?.rows_affected();
        }
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }
}

const OWNER: &str = "UPDATE owner SET beat = beat + 1, group_number = ? WHERE id = 1 AND epoch = ?";
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
static PAYERS: Rows = Rows::new("INSERT INTO payers (order_id, payer) VALUES ", 2, "");
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
static OUTBOX: Rows = Rows::new("INSERT INTO outbox (order_id, sequence, kind, at, next_at, snapshot) VALUES ", 6, "");
static DELIVERED: Rows = Rows::new("DELETE FROM outbox WHERE (order_id, sequence) IN (VALUES ", 2, ")");
static UNDELIVERED: Rows = Rows::new(
    "UPDATE outbox SET tries = v.column3, next_at = v.column4, why = v.column5 FROM (VALUES ",
    5,
    ") AS v WHERE outbox.order_id = v.column1 AND outbox.sequence = v.column2",
);
static INBOX: Rows =
    Rows::new("INSERT INTO inbox (reason, channel, account, number, order_id, body, at) VALUES ", 7, "");
static INBOX_DONE: Rows = Rows::new("DELETE FROM inbox WHERE id IN (VALUES ", 1, ")");
static ANSWERS: Rows = Rows::new(
    "INSERT INTO answers (platform_id, key, fingerprint, order_id, status, body, at) VALUES ",
    7,
    " ON CONFLICT (platform_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
     order_id = excluded.order_id, status = excluded.status, body = excluded.body, at = excluded.at",
);

pub async fn commit(connection: &mut SqliteConnection, batch: Batch) -> Result<Committed, StoreError> {
    query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(reading_fault)?;
    let done = match write(connection, batch).await {
        Ok(committed) => match query("COMMIT").execute(&mut *connection).await {
            Ok(_) => return Ok(committed),
            Err(error) => writing_fault(error),
        },
        Err(error) => error,
    };
    Err(roll_back(connection, done).await)
}

/// Some errors make SQLite roll back by itself; then there is nothing left to do.
async fn roll_back(connection: &mut SqliteConnection, why: StoreError) -> StoreError {
    match query("ROLLBACK").execute(connection).await {
        Ok(_) => why,
        Err(error) if error.as_database_error().is_some_and(|fault| fault.message().contains("no transaction")) => why,
        // The connection is closed then, which rolls back.
        Err(error) => match why {
            StoreError::InDoubt(_) => why,
            StoreError::Conflict(_) | StoreError::Unavailable(_) | StoreError::Corrupt(_) | StoreError::Fenced => {
                StoreError::Unavailable(format!("not rolled back after {why}: {error}"))
            }
        },
    }
}

async fn write(connection: &mut SqliteConnection, mut batch: Batch) -> Result<Committed, StoreError> {
    let fenced = query(OWNER).bind(batch.number).bind(batch.epoch).execute(&mut *connection).await;
    if fenced.map_err(reading_fault)?.rows_affected() == 0 {
        return Err(StoreError::Fenced);
    }
    let duplicates = create(connection, &mut batch).await?;
    change(connection, &mut batch).await?;
    PAYERS.write(connection, batch.payers, |statement, row| statement.bind(row.order_id).bind(row.payer)).await?;
    JOURNAL
        .write(connection, batch.journal, |statement, row| {
            statement.bind(row.order_id).bind(row.version).bind(row.at).bind(row.body)
        })
        .await?;
    ATTEMPTS
        .write(connection, batch.attempts, |statement, row| {
            let statement = statement.bind(row.order_id).bind(row.ordinal).bind(row.channel).bind(row.account);
            statement.bind(row.payable_minor).bind(row.opened_at).bind(row.frozen)
        })
        .await?;
    CAPTURES
        .write(connection, batch.captures, |statement, row| {
            let statement = statement.bind(row.channel).bind(row.account).bind(row.reference).bind(row.order_id);
            statement.bind(row.ordinal).bind(row.currency).bind(row.amount_minor).bind(row.at)
        })
        .await?;
    ENTRIES
        .write(connection, batch.entries, |statement, row| {
            let statement = statement.bind(row.order_id).bind(row.version).bind(row.place).bind(row.kind);
            statement.bind(row.currency).bind(row.at).bind(row.lines)
        })
        .await?;
    OUTBOX
        .write(connection, batch.outbox, |statement, row| {
            let statement = statement.bind(row.order_id).bind(row.sequence).bind(row.kind).bind(row.at);
            statement.bind(row.at).bind(row.snapshot)
        })
        .await?;
    DELIVERED.write(connection, batch.delivered, |statement, row| statement.bind(row.0).bind(row.1)).await?;
    UNDELIVERED
        .write(connection, batch.undelivered, |statement, row| {
            statement.bind(row.order_id).bind(row.sequence).bind(row.tries).bind(row.next_at).bind(row.why)
        })
        .await?;
    INBOX
        .write(connection, batch.inbox, |statement, row| {
            let statement = statement.bind(row.reason).bind(row.channel).bind(row.account).bind(row.number);
            statement.bind(row.order_id).bind(row.body).bind(row.at)
        })
        .await?;
    INBOX_DONE.write(connection, batch.inbox_done, |statement, id| statement.bind(id)).await?;
    ANSWERS
        .write(connection, batch.answers, |statement, row| {
            let statement = statement.bind(row.platform_id).bind(row.key).bind(row.fingerprint);
            statement.bind(row.order_id).bind(row.status).bind(row.body).bind(row.at)
        })
        .await?;
    Ok(Committed { duplicates })
}

/// Inserts the new orders and takes all rows of those out of the batch whose merchant order id was taken.
async fn create(connection: &mut SqliteConnection, batch: &mut Batch) -> Result<Vec<usize>, StoreError> {
    let created = std::mem::take(&mut batch.created);
    let wanted: Vec<(Uuid, usize)> = created.iter().map(|row| (row.head.id, row.place)).collect();
    let inserted = CREATED
        .write(connection, created, |statement, row| {
            let statement = statement.bind(row.head.id).bind(row.platform_id).bind(row.merchant_order_id);
            let statement = statement.bind(row.head.state).bind(row.head.channel).bind(row.head.version);
            let statement = statement.bind(row.currency).bind(row.amount_minor).bind(row.created_at);
            let statement = statement.bind(row.expires_at).bind(row.head.next_due_at).bind(row.request);
            statement.bind(row.webhook_url).bind(row.next_action).bind(row.head.snapshot)
        })
        .await?;
    if inserted == wanted.len() {
        return Ok(Vec::new());
    }
    let present = present(connection, wanted.iter().map(|(id, _)| *id)).await?;
    let (losers, mut places): (HashSet<Uuid>, Vec<usize>) =
        wanted.into_iter().filter(|(id, _)| !present.contains(id)).unzip();
    places.sort_unstable();
    batch.leave_out(&losers);
    Ok(places)
}

async fn present(
    connection: &mut SqliteConnection,
    mut ids: impl ExactSizeIterator<Item = Uuid>,
) -> Result<HashSet<Uuid>, StoreError> {
    let mut present = HashSet::new();
    while ids.len() > 0 {
        let (text, length) = PRESENT.text(ids.len());
        let ask = ids.by_ref().take(length).fold(query_scalar::<_, Uuid>(AssertSqlSafe(text)), QueryScalar::bind);
        present.extend(ask.fetch_all(&mut *connection).await.map_err(reading_fault)?);
    }
    Ok(present)
}

/// Updates the orders that were there, each from the version its step was decided on.
async fn change(connection: &mut SqliteConnection, batch: &mut Batch) -> Result<(), StoreError> {
    let moved = std::mem::take(&mut batch.moved);
    let wanted: Vec<(Uuid, i64)> = moved.iter().map(|row| (row.head.id, row.expected_version)).collect();
    let changed = MOVED
        .write(connection, moved, |statement, row| {
            let (change, next_action) = match row.next_action {
                NextActionChange::Keep => (0, None),
                NextActionChange::Store(action) => (1, Some(action.into_string())),
                NextActionChange::Wipe => (1, None),
            };
            let statement = statement.bind(row.head.id).bind(row.expected_version).bind(row.head.version);
            let statement = statement.bind(row.head.state).bind(row.head.channel).bind(row.head.next_due_at);
            statement.bind(change).bind(next_action).bind(row.head.snapshot)
        })
        .await?;
    if changed == wanted.len() {
        return Ok(());
    }
    Err(name_conflict(connection, wanted).await?)
}

/// Finds the order that was not as it was expected, among rows as they were before this transaction.
async fn name_conflict(connection: &mut SqliteConnection, wanted: Vec<(Uuid, i64)>) -> Result<StoreError, StoreError> {
    query("ROLLBACK").execute(&mut *connection).await.map_err(reading_fault)?;
    for (id, expected) in wanted {
        let there: Option<i64> = query_scalar("SELECT version FROM orders WHERE id = ?")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await
            .map_err(reading_fault)?;
        if there != Some(expected) {
            let id = OrderId::from_u128(id.as_u128());
            return Ok(StoreError::Conflict(format!("not at the version its step was decided on: {id}")));
        }
    }
    Ok(StoreError::Conflict("an order has two steps in one group".to_owned()))
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection as _};

    use super::super::super::batch::InboxLine;
    use super::*;

    fn callbacks(number: i64) -> Batch {
        let row = |_| InboxLine {
            reason: "order_unknown",
            channel: "simpay",
            account: "default".to_owned(),
            number: number.to_string(),
            order_id: None,
            body: vec![0; 4_096],
            at: 0,
        };
        Batch { number, inbox: (0..16).map(row).collect(), ..Batch::default() }
    }

    /// A file that may grow no further stands for a disk that is full.
    #[tokio::test]
    async fn a_full_disk_writes_nothing_and_then_goes_on() {
        let folder = std::env::temp_dir().join(format!("tongbao-full-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let options = SqliteConnectOptions::new().filename(folder.join("store.db")).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        super::super::MIGRATOR.run_direct(None, &mut connection, false).await.unwrap();
        query("PRAGMA max_page_count = 200").execute(&mut connection).await.unwrap();
        let mut number = 0;
        let refused = loop {
            number += 1;
            assert!(number < 100, "the file is never full");
            match commit(&mut connection, callbacks(number)).await {
                Ok(_) => {}
                Err(refused) => break refused,
            }
        };
        assert!(number > 1, "some fitted in");
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
        let group = "SELECT group_number FROM owner";
        let rows = "SELECT COUNT(*) FROM inbox";
        assert_eq!(query_scalar::<_, i64>(group).fetch_one(&mut connection).await.unwrap(), number - 1);
        assert_eq!(query_scalar::<_, i64>(rows).fetch_one(&mut connection).await.unwrap(), (number - 1) * 16);
        query("PRAGMA max_page_count = 2000").execute(&mut connection).await.unwrap();
        commit(&mut connection, callbacks(number)).await.expect("there is room again");
        assert_eq!(query_scalar::<_, i64>(rows).fetch_one(&mut connection).await.unwrap(), number * 16);
        connection.close().await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
