//! The store on SQLite: one writer, readers beside it (write-ahead log), every commit forced to the disk.

mod commit;
mod committer;
mod direct;
mod faults;
mod reserve;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::types::Uuid;
use sqlx::{ConnectOptions, Connection as _, QueryBuilder, Sqlite, query, query_as, query_scalar};
use tokio::sync::OwnedMutexGuard;

use self::committer::Committer;
use self::direct::Direct;
use self::faults::{reading_fault, writing_fault};
use self::reserve::Reserve;
use super::batch::Batch;
use super::division::Division;
use super::lanes::{ACQUIRE_TIMEOUT, Engine, Lanes};
use super::pages;
use super::refunds::{AccountColumns, RefundColumns, RefundKeyColumns};
use super::rows::*;
use super::settlements::{
    BankDetailsColumns, ClosedColumns, CoverColumns, NameColumn, NettingPlaceColumns, PayoutColumns, SettlementColumns,
    StreamIdColumn, TotalsColumns,
};
use super::statements::*;
use super::tables::{key, stream_key};
use super::transactions::{BookedLineColumns, LedgerLineColumns, LineKeyColumns, TransactionColumns};
use super::{
    Balance, Birth, BookedLine, BookedSpan, ChannelTotal, Committed, Count, DeadLetter, Doubt, Due, Frozen, Group,
    Integrity, JournalRow, KeptAnswer, KeyRow, LaneBalance, LaneRow, LastChannel, LedgerLine, MIGRATED, MODE,
    MessageKey, NettingPlace, OperatorAct, OperatorKeyRow, OrderFilter, OrderTerms, OutboxItem, OutboxPlace, Owner,
    PayoutFilter, PayoutRow, Places, RefundFilter, RefundPlace, Reply, STORE_ID, Schema, Seen, SettlementFilter,
    StatementFilter, Store, StoreError, StoredBankDetails, StoredEntry, StoredHead, StoredInboxRow, StoredMessage,
    StoredOperator, StoredOrder, StoredPlatform, StoredRefund, StoredSettlement, StoredTransaction, SumOfLines,
    TransactionFilter, TransactionPlace,
};
use crate::domain::bank::BankName;
use crate::domain::closing::Cover;
use crate::domain::cycle::{CalendarId, CycleId};
use crate::domain::id::{Account, Incarnation, OrderId, PlatformId, RefundId};
use crate::domain::journal::{LaneEvent, Salt, Title};
use crate::domain::ledger::LedgerAccount;
use crate::domain::money::Currency;
use crate::domain::operator::{self, OperatorId, Role};
use crate::domain::order::Order;
use crate::domain::partition::{LaneId, Partition};
use crate::domain::payee::PayeeId;
use crate::domain::payer::PayerMark;
use crate::domain::payout::PayoutState;
use crate::domain::settlement::{SettlementState, Totals};
use crate::domain::stream::{Kind, StreamId};
use crate::domain::time::Instant;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

/// Tables have row numbers, and so their rows of a kilobyte or two lie where they came, few to a page: the smaller the
/// page, the less is logged with a row.
const PAGE_BYTES: u32 = 4_096;

const CHANNEL_TOTALS: &str = "SELECT channel, currency, SUM(captures) AS captures, \
         SUM(captured) AS captured_minor, SUM(refunded) AS refunded_minor \
     FROM (SELECT channel, currency, COUNT(*) AS captures, 0 AS captured, 0 AS refunded FROM captures GROUP BY 1, 2 \
         UNION ALL SELECT substr(account, 9, instr(substr(account, 9), ':') - 1), currency, 0, \
             CASE WHEN entry_kind IN ('payment', 'suspense') THEN amount_minor ELSE 0 END, \
             CASE WHEN entry_kind IN ('refund_paid', 'refund_returned') THEN -amount_minor ELSE 0 END \
         FROM lines WHERE account LIKE 'channel:%') \
     GROUP BY 1, 2 ORDER BY 1, 2";

/// The right to write, beside which nobody has it.
type Lane = OwnedMutexGuard<Option<SqliteConnection>>;

pub struct SqliteStore {
    /// For everything but groups.
    lanes: Lanes<File>,
    committer: Committer,
    /// For what requests ask for one by one: orders, refunds, and who it is that asks.
    direct: Direct,
    file: PathBuf,
    busy_timeout: Duration,
}

impl SqliteStore {
    pub fn open(address: &str, readers: u32, statement_timeout: Duration) -> Result<Self, StoreError> {
        let unusable = |_| StoreError::Unavailable("the store's url is not sqlite://PATH".to_owned());
        let options: SqliteConnectOptions = address.parse().map_err(unusable)?;
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .page_size(PAGE_BYTES)
            .foreign_keys(true)
            .busy_timeout(statement_timeout)
            .pragma("temp_store", "memory")
            .disable_statement_logging();
        let file = options.get_filename().to_owned();
        let committer = Committer::start(file.clone(), statement_timeout)?;
        let lanes = Lanes::new(File { options, readers }, statement_timeout);
        let direct = Direct::new(file.clone());
        Ok(SqliteStore { lanes, committer, direct, file, busy_timeout: statement_timeout })
    }

    /// Works on the file on a thread that may be kept waiting.
    async fn beside_tasks(
        &self,
        work: impl FnOnce(&Path, Duration) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), StoreError> {
        let (file, busy_timeout) = (self.file.clone(), self.busy_timeout);
        let done = tokio::task::spawn_blocking(move || work(&file, busy_timeout)).await;
        done.map_err(|_| StoreError::Unavailable("the runtime is shutting down".to_owned()))?.map_err(reading_fault)
    }
}

/// The file, as the writer opens it.
struct File {
    options: SqliteConnectOptions,
    readers: u32,
}

impl Engine for File {
    type Database = Sqlite;

    fn readers(&self) -> SqlitePool {
        let reading = self.options.clone().create_if_missing(false).pragma("query_only", "on");
        SqlitePoolOptions::new()
            .max_connections(self.readers)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(reading)
    }

    fn connect(&self, _: LaneId) -> Reply<'_, SqliteConnection> {
        Box::pin(async move {
            make_folder(self.options.get_filename())?;
            let options = self.options.clone().create_if_missing(true);
            options.connect().await.map_err(reading_fault)
        })
    }

    fn discard(&self, _: LaneId, connection: SqliteConnection) -> Reply<'_, ()> {
        Box::pin(async move { connection.close().await.map_err(reading_fault) })
    }
}

fn make_folder(file: &Path) -> Result<(), StoreError> {
    let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
    if folder == PathBuf::new() {
        return Ok(());
    }
    std::fs::create_dir_all(&folder)
        .map_err(|error| StoreError::Unavailable(format!("the folder {} cannot be made: {error}", folder.display())))
}

questions!(SqliteStore, Sqlite);

impl Store for SqliteStore {
    fn file(&self) -> Option<&Path> {
        Some(&self.file)
    }

    fn schema(&self) -> Reply<'_, Schema> {
        Box::pin(async move {
            if !self.file.exists() {
                return Ok(Schema::Absent);
            }
            let had = self.lanes.read(|pool| async move {
                let made = query_scalar("SELECT COUNT(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'");
                let made: i64 = made.fetch_one(&pool).await.map_err(reading_fault)?;
                if made == 0 {
                    Ok(Vec::new())
                } else {
                    query_scalar(MIGRATED).fetch_all(&pool).await.map_err(reading_fault)
                }
            });
            Ok(Schema::of(&had.await?, &MIGRATOR))
        })
    }

    fn make_room(&self) -> Reply<'_, ()> {
        Box::pin(async move {
            self.beside_tasks(|file, busy_timeout| {
                let reserve = Reserve::of(file);
                reserve.carry_over(|| committer::carry_over(file, busy_timeout))?;
                reserve.keep();
                Ok(())
            })
            .await
        })
    }

    fn close(&self) -> Reply<'_, ()> {
        Box::pin(async move {
            self.direct.close();
            self.committer.close().await;
            self.lanes.close().await?;
            if !self.file.exists() {
                return Ok(());
            }
            // The last connection does this by itself, but another process may be reading.
            self.beside_tasks(committer::carry_over).await
        })
    }

    fn migrate(&self, birth: Birth) -> Reply<'_, ()> {
        Box::pin(self.lanes.apart(move |connection| {
            Box::pin(async move {
                MIGRATOR.run_direct(None, &mut *connection, false).await.map_err(|error| match error {
                    MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => writing_fault(error),
                    other => StoreError::Corrupt(other.to_string()),
                })?;
                give_birth(connection, birth).await
            })
        }))
    }

    fn commit<'a>(&'a self, group: &'a Group<'a>) -> Reply<'a, Committed> {
        Box::pin(async move { self.committer.commit(Batch::of(group)?, self.lanes.lane(group.lane).await).await })
    }

    fn order(&self, id: OrderId) -> Reply<'_, Option<StoredOrder>> {
        Box::pin(async move {
            match self.direct.maybe(ORDER, [key(id).as_bytes()], OrderColumns::of) {
                Some(found) => found,
                None => self.maybe(query_as::<_, OrderColumns>(ORDER).bind(key(id))).await,
            }
        })
    }

    fn order_terms(&self, id: OrderId) -> Reply<'_, Option<OrderTerms>> {
        Box::pin(async move {
            match self.direct.maybe(ORDER_TERMS, [key(id).as_bytes()], OrderTermsColumns::of) {
                Some(found) => found,
                None => self.maybe(query_as::<_, OrderTermsColumns>(ORDER_TERMS).bind(key(id))).await,
            }
        })
    }

    fn refund(&self, id: RefundId) -> Reply<'_, Option<StoredRefund>> {
        Box::pin(async move {
            let (order, ordinal, incarnation) = (key(id.order), u8::from(id.ordinal), u16::from(id.incarnation));
            match self.direct.maybe(REFUND, (order.as_bytes(), ordinal, incarnation), RefundColumns::of) {
                Some(found) => found,
                None => {
                    let ask = query_as::<_, RefundColumns>(REFUND).bind(order).bind(i64::from(ordinal));
                    self.maybe(ask.bind(i64::from(incarnation))).await
                }
            }
        })
    }

    fn refund_by_merchant_id<'a>(&'a self, platform: PlatformId, id: &'a str) -> Reply<'a, Option<StoredRefund>> {
        Box::pin(async move {
            match self.direct.maybe(REFUND_BY_MERCHANT_ID, (platform.0, id), RefundColumns::of) {
                Some(found) => found,
                None => {
                    let ask = query_as::<_, RefundColumns>(REFUND_BY_MERCHANT_ID).bind(i64::from(platform.0));
                    self.maybe(ask.bind(id.to_owned())).await
                }
            }
        })
    }

    fn platform_by_key<'a>(&'a self, key_hash: &'a [u8; 32]) -> Reply<'a, Option<StoredPlatform>> {
        Box::pin(async move {
            match self.direct.maybe(PLATFORM_BY_KEY, [key_hash], PlatformColumns::of) {
                Some(found) => found,
                None => self.maybe(query_as::<_, PlatformColumns>(PLATFORM_BY_KEY).bind(key_hash.to_vec())).await,
            }
        })
    }

    fn frozen(&self, id: OrderId, ordinal: u8) -> Reply<'_, Option<Frozen>> {
        Box::pin(async move {
            match self.direct.maybe(FROZEN, (key(id).as_bytes(), ordinal), FrozenColumns::of) {
                Some(found) => found,
                None => self.maybe(query_as::<_, FrozenColumns>(FROZEN).bind(key(id)).bind(i64::from(ordinal))).await,
            }
        })
    }

    fn clock(&self) -> Reply<'_, Option<Instant>> {
        Box::pin(async { Ok(None) })
    }

    fn doubt(&self) -> Doubt {
        Doubt::Stop
    }

    fn integrity(&self) -> Reply<'_, Integrity> {
        Box::pin(async move {
            let look = |pool| async move {
                let found = query_scalar::<_, String>("PRAGMA integrity_check").fetch_all(&pool).await;
                found.map_err(reading_fault)
            };
            let found = match self.lanes.read_at_length(look).await {
                Ok(found) => found,
                // Too damaged to be looked at.
                Err(StoreError::Corrupt(why) | StoreError::Broken(why)) => vec![why],
                Err(error) => return Err(error),
            };
            let faults = found.into_iter().filter(|line| line != "ok").collect();
            Ok(Integrity { faults, unchecked: Vec::new() })
        })
    }

    statements!(Sqlite);
}
