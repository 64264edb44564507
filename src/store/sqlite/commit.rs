//! One group as one transaction. Every table has one statement, prepared once and executed row by row.

use std::collections::HashSet;

use rusqlite::{CachedStatement, Connection, TransactionBehavior, params};

use super::super::batch::{Batch, Name};
use super::super::companions::{Calendars, Companions, Stamped};
use super::super::line::{self, Line, Verb, Visitor};
use super::super::rows::{StoredCut, StoredMember, lane_version, stream};
use super::super::statements::{BALANCES_OF_LANE, CUTS_OF_LANE, LANE_VERSION, MEMBERS_OF_LANE};
use super::super::{Committed, LaneBalance, StoreError};
use super::faults::{changing_fault, writing_fault};

const LANE: &str = "UPDATE lanes SET beat = beat + 1, group_number = ?, at = ?, next_place = ? \
     WHERE lane = ? AND epoch = ? AND next_place = ?";
const NAMED: &str = "SELECT 1 FROM orders WHERE platform_id = ? AND merchant_order_id = ?";
const MOVED: &str = "UPDATE heads SET version = ?4, state = ?5, facet = ?6, next_due_at = ?7, epoch = ?8, \
     next_action = CASE ?9 WHEN 1 THEN ?10 ELSE next_action END, snapshot = ?11 \
     WHERE kind = ?1 AND id = ?2 AND version = ?3";

/// Commits a group; `companions` are how the last one left them, where that is known.
pub fn commit(
    connection: &mut Connection,
    batch: Batch,
    companions: &mut Option<Companions>,
) -> Result<Committed, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(changing_fault)?;
    match write(&transaction, batch, companions) {
        Ok((companions, duplicates, stamped)) => match transaction.commit() {
            Ok(()) => {
                let next_place = stamped.next_place;
                companions.adopt(stamped);
                Ok(Committed { duplicates, next_place })
            }
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
        | StoreError::NameTaken(_)
        | StoreError::Unavailable(_)
        | StoreError::Corrupt(_)
        | StoreError::Broken(_)
        | StoreError::Fenced => StoreError::Unavailable(format!("not rolled back after {why}")),
    }
}

/// Writes a group; the losers, and how it leaves what goes along with its lane.
fn write<'k>(
    connection: &Connection,
    mut batch: Batch,
    kept: &'k mut Option<Companions>,
) -> Result<(&'k mut Companions, Vec<usize>, Stamped), StoreError> {
    let duplicates = batch.leave_losers_out(&taken(connection, &batch.names)?);
    let companions = match kept.take_if(|companions| companions.next_place == batch.first_place) {
        Some(companions) => companions,
        None => companions_of(connection, &batch)?,
    };
    let companions = kept.insert(companions);
    let stamped = batch.place(companions)?;
    let mut lane = connection.prepare_cached(LANE).map_err(changing_fault)?;
    let row = params![batch.number, batch.at, stamped.next_place, batch.lane, batch.epoch, batch.first_place];
    if lane.execute(row).map_err(changing_fault)? == 0 {
        return Err(StoreError::Fenced);
    }
    let mut writer = Writer(connection);
    writer.visit(batch.new_heads())?;
    let mut moved = connection.prepare_cached(MOVED).map_err(changing_fault)?;
    for row in &batch.moved {
        if execute(&mut moved, row)? == 0 {
            let stream = stream(row.kind, row.id)?;
            return Err(StoreError::Conflict(format!("not at the version its step was decided on: {stream}")));
        }
    }
    writer.visit(&batch.put_off)?;
    if writer.write(&batch.taken)? < batch.taken.len() {
        return Err(StoreError::Conflict("a message that is taken is not there".to_owned()));
    }
    if writer.write(&batch.keys_revoked)? < batch.keys_revoked.len() {
        return Err(StoreError::Conflict("a key that is revoked is not there".to_owned()));
    }
    batch.visit(&mut writer)?;
    Ok((companions, duplicates, stamped))
}

/// What goes along with a lane, as the store has it.
fn companions_of(connection: &Connection, batch: &Batch) -> Result<Companions, StoreError> {
    let mut ask = connection.prepare_cached(BALANCES_OF_LANE).map_err(changing_fault)?;
    let balances = ask.query_map([batch.lane], |row| {
        Ok(LaneBalance {
            lane: row.get("lane")?,
            account: row.get("account")?,
            currency: row.get("currency")?,
            cycle: row.get("cycle")?,
            heading: row.get("heading")?,
            counterparty: row.get("counterparty")?,
            amount_minor: row.get("amount_minor")?,
        })
    });
    let balances = balances.map_err(changing_fault)?.map(|row| row.map(LaneBalance::into_sum));
    let balances = balances.collect::<Result<_, _>>().map_err(changing_fault)?;
    let mut calendars = Calendars::default();
    let mut ask = connection.prepare_cached(CUTS_OF_LANE).map_err(changing_fault)?;
    let cuts = ask.query_map([batch.lane], |row| {
        Ok(StoredCut {
            calendar: row.get("calendar")?,
            number: row.get("number")?,
            ends_at: row.get("ends_at")?,
            schedule: row.get("schedule")?,
        })
    });
    for cut in cuts.map_err(changing_fault)? {
        cut.map_err(changing_fault)?.read_into(&mut calendars)?;
    }
    let mut ask = connection.prepare_cached(MEMBERS_OF_LANE).map_err(changing_fault)?;
    let members = ask.query_map([batch.lane], |row| {
        Ok(StoredMember {
            platform_id: row.get("platform_id")?,
            currency: row.get("currency")?,
            calendar: row.get("calendar")?,
        })
    });
    for member in members.map_err(changing_fault)? {
        member.map_err(changing_fault)?.read_into(&mut calendars)?;
    }
    let id = u128::from(batch.lane.unsigned_abs()).to_be_bytes();
    let mut ask = connection.prepare_cached(LANE_VERSION).map_err(changing_fault)?;
    let version = ask.query_row([&id[..]], |row| row.get::<_, i64>(0)).map_err(changing_fault)?;
    Ok(Companions::new(batch.first_place, lane_version(version)?, balances, calendars))
}

/// Which of these names are on record, by their index.
fn taken(connection: &Connection, names: &[Name]) -> Result<HashSet<usize>, StoreError> {
    let mut taken = HashSet::new();
    let mut ask = connection.prepare_cached(NAMED).map_err(changing_fault)?;
    for (index, name) in names.iter().enumerate() {
        if ask.exists(params![name.platform_id, name.merchant_order_id]).map_err(changing_fault)? {
            taken.insert(index);
        }
    }
    Ok(taken)
}

struct Writer<'c>(&'c Connection);

impl Writer<'_> {
    /// Writes all of `rows`; how many there were.
    fn write<L: Line>(&self, rows: &[L]) -> Result<usize, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let mut statement = self.0.prepare_cached(&text::<L>()).map_err(changing_fault)?;
        rows.iter().try_fold(0, |changed, row| Ok(changed + execute(&mut statement, row)?))
    }
}

impl Visitor for Writer<'_> {
    type Fault = StoreError;

    fn visit<L: Line>(&mut self, rows: &[L]) -> Result<(), StoreError> {
        self.write(rows).map(drop)
    }
}

fn execute<L: Line>(statement: &mut CachedStatement<'_>, row: &L) -> Result<usize, StoreError> {
    line::bind(row, statement).map_err(changing_fault)?;
    statement.raw_execute().map_err(changing_fault)
}

/// The statement that writes a row of this table.
fn text<L: Line>() -> String {
    let table = L::TABLE;
    let each = |columns: &[(&str, &str)], first: usize, between: &str| {
        let numbered = columns.iter().zip(first..).map(|((name, _), number)| format!("{name} = ?{number}"));
        numbered.collect::<Vec<_>>().join(between)
    };
    match L::VERB {
        Verb::Insert(taken) => {
            let values = vec!["?"; L::COLUMNS.len()].join(", ");
            format!("INSERT INTO {table} ({}) VALUES ({values}) {taken}", line::names::<L>())
        }
        Verb::Update { keys } => {
            let (key, rest) = L::COLUMNS.split_at(keys);
            format!("UPDATE {table} SET {} WHERE {}", each(rest, keys + 1, ", "), each(key, 1, " AND "))
        }
        Verb::Delete => format!("DELETE FROM {table} WHERE {}", each(L::COLUMNS, 1, " AND ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection as _};

    use super::super::super::{Group, InboxReason, InboxRow, Unit};
    use super::super::committer::{self, Committer};
    use std::sync::Arc;

    use super::*;
    use crate::domain::channel::Channel;
    use crate::domain::id::Account;
    use crate::domain::partition::LaneId;
    use crate::domain::time::Instant;

    fn callbacks(number: i64) -> Batch {
        let digest = |place: u8| {
            let mut digest = [place; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            digest
        };
        let row = |place| InboxRow {
            reason: InboxReason::OrderUnknown,
            account: Account::new(Channel::Simpay, "default"),
            number: number.to_string().into(),
            order: None,
            body: vec![0; 4_096],
            raw: Vec::new(),
            digest: digest(place),
            at: Instant(0),
        };
        let units: Vec<Unit> = (0..16).map(|place| Unit::Inbox(Box::new(row(place)))).collect();
        let (lane, at) = (LaneId::FIRST, Instant(0));
        Batch::of(&Group { lane, epoch: 0, number, first_place: 0, at, units: &units }).unwrap()
    }

    /// A new store in a folder of its own.
    async fn made(name: &str) -> (PathBuf, PathBuf) {
        let folder = std::env::temp_dir().join(format!("tongbao-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("store.db");
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut maker = options.connect().await.unwrap();
        super::super::MIGRATOR.run_direct(None, &mut maker, false).await.unwrap();
        maker.close().await.unwrap();
        (folder, file)
    }

    /// A group of these logs some 20 pages.
    #[tokio::test]
    async fn the_log_stays_short_but_behind_a_long_read() {
        let (folder, file) = made("log").await;
        let log = folder.join("store.db-wal");
        let pages = || std::fs::metadata(&log).unwrap().len() / 4_096;
        let committer = Committer::start(file.clone(), Duration::from_secs(1)).unwrap();
        let right = Arc::new(tokio::sync::Mutex::new(None));
        let commit = async |numbers: std::ops::Range<i64>| {
            for number in numbers {
                committer.commit(callbacks(number), right.clone().lock_owned().await).await.unwrap();
            }
        };
        commit(1..150).await;
        assert!((400..700).contains(&pages()), "{} pages", pages());

        let reader = Connection::open(&file).unwrap();
        reader.execute_batch("BEGIN; SELECT COUNT(*) FROM inbox").unwrap();
        commit(150..250).await;
        assert!(pages() > 1_500, "nothing that is read is written over: {} pages", pages());
        drop(reader);
        let grown = pages();
        commit(250..400).await;
        assert!(pages() < grown + 600, "the log begins anew: {} pages after {grown}", pages());
        committer.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// A file that may grow no further stands for a disk that is full.
    #[tokio::test]
    async fn a_full_disk_writes_nothing_and_then_goes_on() {
        let (folder, file) = made("full").await;
        let mut connection = committer::open(&file, Duration::from_secs(1)).unwrap();
        connection.execute_batch("PRAGMA max_page_count = 200").unwrap();
        let count = |connection: &Connection, question| connection.query_row(question, [], |row| row.get::<_, i64>(0));
        let (mut number, mut companions) = (0, None);
        let refused = loop {
            number += 1;
            assert!(number < 100, "the file is never full");
            match commit(&mut connection, callbacks(number), &mut companions) {
                Ok(_) => {}
                Err(refused) => break refused,
            }
        };
        assert!(number > 1, "some fitted in");
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
        let group = "SELECT group_number FROM lanes";
        let rows = "SELECT COUNT(*) FROM inbox";
        assert_eq!(count(&connection, group).unwrap(), number - 1);
        assert_eq!(count(&connection, rows).unwrap(), (number - 1) * 16);
        connection.execute_batch("PRAGMA max_page_count = 2000").unwrap();
        commit(&mut connection, callbacks(number), &mut companions).expect("there is room again");
        assert_eq!(count(&connection, rows).unwrap(), number * 16);
        drop(connection);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
