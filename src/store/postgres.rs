//! The store on PostgreSQL (14 or later): a connection for each lane that writes, each group in one statement, and a
//! pool that reads.

mod commit;
mod integrity;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use sqlx::types::Uuid;
use sqlx::{ConnectOptions, Connection as _, Postgres, QueryBuilder, query, query_as, query_scalar};

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

static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");

/// How the writer's session plans. Its one statement has one right plan, by the keys, however small the tables are
/// when it is planned; and it is planned once.
const WRITER_SESSION: [(&str, &str); 9] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    // A statement of the writer is never cancelled, but it may be refused while it only waits for a lock.
    ("statement_timeout", "0"),
    ("lock_timeout", "5s"),
    ("default_transaction_isolation", "read committed"),
    ("synchronous_commit", "on"),
];
/// How long PostgreSQL may take to end the session of a connection that was given up.
const TERMINATION_MS: i64 = 2_000;

const CHANNEL_TOTALS: &str = "SELECT * FROM (SELECT channel, currency, SUM(captures)::bigint AS captures, \
         SUM(captured)::bigint AS captured_minor, SUM(refunded)::bigint AS refunded_minor \
     FROM (SELECT channel, currency, COUNT(*) AS captures, 0 AS captured, 0 AS refunded FROM captures GROUP BY 1, 2 \
         UNION ALL SELECT split_part(account, ':', 2), currency, 0, \
             CASE WHEN entry_kind IN ('payment', 'suspense') THEN amount_minor ELSE 0 END, \
             CASE WHEN entry_kind IN ('refund_paid', 'refund_returned') THEN -amount_minor ELSE 0 END \
         FROM lines WHERE account LIKE 'channel:%') booked \
     GROUP BY 1, 2) sums ORDER BY channel COLLATE \"C\", currency COLLATE \"C\"";

pub struct PostgresStore {
    lanes: Lanes<Server>,
    companions: commit::Kept,
}

impl PostgresStore {
    pub fn open(address: &str, readers: u32, statement_timeout: Duration) -> Result<Self, StoreError> {
        let unusable = |_| StoreError::Unavailable("the store's url is not postgres://…".to_owned());
        let options: PgConnectOptions = address.parse().map_err(unusable)?;
        let options = verified(options, address).application_name("tongbao").disable_statement_logging();
        let server = Server { options, readers, statement_timeout, sessions: Mutex::default() };
        Ok(PostgresStore { lanes: Lanes::new(server, statement_timeout), companions: commit::Kept::default() })
    }
}

/// Any other encoding holds some texts and refuses others, and which it does is found out by the payer who writes one.
fn is_utf8(encoding: String) -> Result<(), StoreError> {
    if encoding == "UTF8" {
        return Ok(());
    }
    let make = "make one by `createdb --encoding=UTF8 --template=template0 NAME`";
    Err(StoreError::Unavailable(format!("the database's encoding is {encoding} and must be UTF8: {make}")))
}

/// `require` asks for encryption alone, and yet whoever names an authority wants the server to be vouched for by it:
/// so it is with libpq (PostgreSQL's documentation, 34.19.1).
fn verified(options: PgConnectOptions, address: &str) -> PgConnectOptions {
    const ROOT: [&str; 3] = ["sslrootcert", "ssl-root-cert", "ssl-ca"];
    let is_named = |url: url::Url| url.query_pairs().any(|(name, _)| ROOT.contains(&name.as_ref()));
    let has_root = url::Url::parse(address).is_ok_and(is_named) || std::env::var_os("PGSSLROOTCERT").is_some();
    match options.get_ssl_mode() {
        PgSslMode::Require if has_root => options.ssl_mode(PgSslMode::VerifyCa),
        PgSslMode::Disable
        | PgSslMode::Allow
        | PgSslMode::Prefer
        | PgSslMode::Require
        | PgSslMode::VerifyCa
        | PgSslMode::VerifyFull => options,
    }
}

/// A connection to a server that a failover left behind is of no use, though it still answers.
async fn is_standby(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await
}

/// The server, as the writer comes to it.
struct Server {
    options: PgConnectOptions,
    readers: u32,
    statement_timeout: Duration,
    /// By lane.
    sessions: Mutex<BTreeMap<LaneId, Sessions>>,
}

/// The session of a lane's connection, and those that were given up and may still be at work.
#[derive(Default)]
struct Sessions {
    current: Option<Session>,
    given_up: Vec<Session>,
}

/// A process number comes again after a while, together with its start it does not.
#[derive(Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
struct Session {
    pid: i32,
    started_us: i64,
}

impl Engine for Server {
    type Database = Postgres;

    fn readers(&self) -> PgPool {
        let reading = self.options.clone().options([
            ("statement_timeout", format!("{}ms", self.statement_timeout.as_millis())),
            ("default_transaction_read_only", "on".to_owned()),
        ]);
        PgPoolOptions::new()
            .max_connections(self.readers)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // The check below asks the server already.
            .test_before_acquire(false)
            .before_acquire(|connection, _| Box::pin(async move { Ok(!is_standby(connection).await?) }))
            .connect_lazy_with(reading)
    }

    /// A statement whose connection was lost may still be on its way or at work. Its session is ended before anything
    /// else is written, so that what is read back by the next write stays true.
    fn connect(&self, lane: LaneId) -> Reply<'_, PgConnection> {
        Box::pin(async move {
            let away = |error: sqlx::Error| StoreError::Unavailable(lost(error));
            let mut connection = self.options.clone().options(WRITER_SESSION).connect().await.map_err(away)?;
            if is_standby(&mut connection).await.map_err(away)? {
                return Err(StoreError::Unavailable("the server is a standby".to_owned()));
            }
            let given_up = self.sessions_of(lane, |sessions| sessions.given_up.clone());
            for session in given_up {
                let ended: Vec<bool> = query_scalar(
                    "SELECT pg_terminate_backend(pid, $3) FROM pg_stat_activity \
                     WHERE pid = $1 AND (extract(epoch FROM backend_start) * 1000000)::bigint = $2",
                )
                .bind(session.pid)
                .bind(session.started_us)
                .bind(TERMINATION_MS)
                .fetch_all(&mut connection)
                .await
                .map_err(away)?;
                if ended.contains(&false) {
                    return Err(StoreError::Unavailable("a session that was given up is still at work".to_owned()));
                }
                self.sessions_of(lane, |sessions| sessions.given_up.retain(|other| *other != session));
            }
            let session = query_as(
                "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint AS started_us \
                 FROM pg_stat_activity WHERE pid = pg_backend_pid()",
            );
            let session: Session = session.fetch_one(&mut connection).await.map_err(away)?;
            self.sessions_of(lane, |sessions| sessions.current = Some(session));
            Ok(connection)
        })
    }

    /// Without a farewell, which might wait for a server that is not there any more.
    fn discard(&self, lane: LaneId, connection: PgConnection) -> Reply<'_, ()> {
        drop(connection);
        self.sessions_of(lane, |sessions| sessions.given_up.extend(sessions.current.take()));
        Box::pin(async { Ok(()) })
    }
}

impl Server {
    fn sessions_of<T>(&self, lane: LaneId, work: impl FnOnce(&mut Sessions) -> T) -> T {
        work(self.sessions.lock().expect("nothing panics while it holds the sessions").entry(lane).or_default())
    }
}

/// The key by which no reference of an account is booked twice.
const REFERENCES: &str = "captures_pkey";
/// The key by which no two refunds of a platform have one name.
const REFUND_NAMES: &str = "refunds_by_merchant_id";
/// The keys that two may race for; every other constraint is one that a row never meets.
const RACES: [&str; 10] = [
    "heads_pkey",
    "journal_pkey",
    "orders_pkey",
    "orders_by_merchant_id",
    "platforms_pkey",
    "platforms_name_key",
    "keys_pkey",
    "operators_pkey",
    "operators_name_key",
    "operator_keys_pkey",
];
/// What `commit` refuses by.
const FENCED: &str = "TB001";
const CONFLICT: &str = "TB002";

/// What an error means while nothing is being committed.
fn reading_fault(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(fault) => judge(fault.as_ref(), Doing::Reading),
        sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::RowNotFound
        | sqlx::Error::Encode(_) => StoreError::Corrupt(error.to_string()),
        other => StoreError::Unavailable(lost(other)),
    }
}

/// What is said of a connection that is gone or never was. The driver quotes a character of a password that SASLprep
/// (RFC 4013) does not allow.
fn lost(error: sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(_) => "the user or password in the store's url has characters that PostgreSQL's \
             authentication does not take here: use ASCII"
            .to_owned(),
        other => other.to_string(),
    }
}

/// What an error means after a statement that writes was sent.
fn writing_fault(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(fault) if ends_in_doubt(fault.as_ref()) => StoreError::InDoubt(fault.to_string()),
        sqlx::Error::Database(fault) => judge(fault.as_ref(), Doing::Writing),
        // It never left.
        sqlx::Error::Encode(_) => StoreError::Corrupt(error.to_string()),
        lost => StoreError::InDoubt(lost.to_string()),
    }
}

/// Whether the session ended with this, perhaps after it had committed: shut down, crashed, or in the server's own
/// words unknown.
fn ends_in_doubt(fault: &dyn DatabaseError) -> bool {
    fault.code().is_some_and(|code| matches!(code.as_ref(), "57P01" | "57P02" | "57P05" | "40003" | "08007"))
}

/// Whether a session does not know its own statements, or knows those of another one: a pooler gave it to somebody else
/// in between.
fn is_of_another_session(code: &str) -> bool {
    const STATEMENT_UNKNOWN: &str = "26000";
    const STATEMENT_KNOWN: &str = "42P05";
    code == STATEMENT_UNKNOWN || code == STATEMENT_KNOWN
}

/// What helps then.
const SESSIONS: &str =
    "is there a pooler in transaction mode? Sessions of its own are needed, as a pooler gives them in session mode";

/// What a statement that failed was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Reading,
    Writing,
}

/// Classes of errors that are the database's or its administrator's, whatever is asked: who may connect, what there is
/// and who may use it, and the server's own configuration.
const BROKEN: [&str; 5] = ["28", "3D", "3F", "42", "F0"];
/// Of errors that are a damaged page's or index's: of the rows on it, where they are only read.
const DAMAGED: &str = "XX";

fn judge(fault: &dyn DatabaseError, doing: Doing) -> StoreError {
    let code = fault.code().unwrap_or_default();
    let text = format!("{} ({code})", fault.message());
    if is_of_another_session(&code) {
        return StoreError::Unavailable(format!("{text}: {SESSIONS}"));
    }
    let later = ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class));
    // A lock that was not free in time, and a server that became a standby.
    if later || matches!(code.as_ref(), "55P03" | "25006") {
        return StoreError::Unavailable(text);
    }
    if BROKEN.iter().any(|class| code.starts_with(class)) {
        return StoreError::Broken(text);
    }
    match doing {
        Doing::Writing if code.starts_with(DAMAGED) => return StoreError::Broken(text),
        Doing::Writing | Doing::Reading => {}
    }
    if code == FENCED {
        return StoreError::Fenced;
    }
    let taken = fault.constraint().filter(|_| fault.is_unique_violation());
    match taken {
        Some(REFERENCES) => return StoreError::ReferenceTaken(text),
        Some(REFUND_NAMES) => return StoreError::NameTaken(text),
        Some(_) | None => {}
    }
    let race = taken.is_some_and(|key| RACES.contains(&key));
    if code == CONFLICT {
        return StoreError::Conflict(match named(fault.message()) {
            Some(stream) => format!("not at the version its step was decided on: {stream}"),
            None => text,
        });
    }
    if race { StoreError::Conflict(text) } else { StoreError::Corrupt(text) }
}

/// The stream that `commit` refuses for.
fn named(message: &str) -> Option<StreamId> {
    let (kind, id) = message.split_once(' ')?;
    stream(kind.parse().ok()?, Uuid::parse_str(id).ok()?).ok()
}

const CLOCK: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

questions!(PostgresStore, Postgres);

impl Store for PostgresStore {
    fn file(&self) -> Option<&Path> {
        None
    }

    fn schema(&self) -> Reply<'_, Schema> {
        Box::pin(async move {
            let had = self.lanes.read(|pool| async move {
                let encoding = query_scalar("SHOW server_encoding").fetch_one(&pool).await.map_err(reading_fault)?;
                is_utf8(encoding)?;
                let made: bool = query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
                    .fetch_one(&pool)
                    .await
                    .map_err(reading_fault)?;
                if !made {
                    return Ok(Vec::new());
                }
                query_scalar(MIGRATED).fetch_all(&pool).await.map_err(reading_fault)
            });
            Ok(Schema::of(&had.await?, &MIGRATOR))
        })
    }

    /// Its server keeps house by itself.
    fn make_room(&self) -> Reply<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self) -> Reply<'_, ()> {
        Box::pin(self.lanes.close())
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
        Box::pin(async move {
            let (batch, kept) = (Batch::of(group)?, Arc::clone(&self.companions));
            self.lanes.write(group.lane, move |connection| Box::pin(commit::commit(connection, batch, kept))).await
        })
    }

    fn order(&self, id: OrderId) -> Reply<'_, Option<StoredOrder>> {
        self.maybe(query_as::<_, OrderColumns>(ORDER).bind(key(id)))
    }

    fn order_terms(&self, id: OrderId) -> Reply<'_, Option<OrderTerms>> {
        self.maybe(query_as::<_, OrderTermsColumns>(ORDER_TERMS).bind(key(id)))
    }

    fn refund(&self, id: RefundId) -> Reply<'_, Option<StoredRefund>> {
        let ask = query_as::<_, RefundColumns>(REFUND).bind(key(id.order)).bind(i64::from(u8::from(id.ordinal)));
        self.maybe(ask.bind(i64::from(u16::from(id.incarnation))))
    }

    fn refund_by_merchant_id<'a>(&'a self, platform: PlatformId, id: &'a str) -> Reply<'a, Option<StoredRefund>> {
        let ask = query_as::<_, RefundColumns>(REFUND_BY_MERCHANT_ID).bind(i64::from(platform.0));
        self.maybe(ask.bind(id.to_owned()))
    }

    fn platform_by_key<'a>(&'a self, key_hash: &'a [u8; 32]) -> Reply<'a, Option<StoredPlatform>> {
        self.maybe(query_as::<_, PlatformColumns>(PLATFORM_BY_KEY).bind(key_hash.to_vec()))
    }

    fn frozen(&self, id: OrderId, ordinal: u8) -> Reply<'_, Option<Frozen>> {
        self.maybe(query_as::<_, FrozenColumns>(FROZEN).bind(key(id)).bind(i64::from(ordinal)))
    }

    fn clock(&self) -> Reply<'_, Option<Instant>> {
        let ask = query_as::<_, NumberColumn>(CLOCK);
        Box::pin(async move { Ok(Some(Instant(self.one(ask).await?))) })
    }

    fn doubt(&self) -> Doubt {
        Doubt::ReadBack
    }

    fn integrity(&self) -> Reply<'_, Integrity> {
        Box::pin(self.lanes.read_at_length(|pool| async move { integrity::check(&pool).await.map_err(reading_fault) }))
    }

    statements!(Postgres);
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::fmt;

    use sqlx::error::ErrorKind;

    use super::*;

    #[test]
    fn report_a_password_that_the_driver_refuses_is_not_shown() {
        let refused =
            sqlx::Error::Configuration("Failed to saslprep password: Error(ProhibitedCharacter('🔑'))".into());
        let StoreError::Unavailable(said) = reading_fault(refused) else { panic!("it is no damage") };
        assert!(said.contains("password") && !said.contains('🔑'), "{said}");
    }

    /// What a server says; only its code counts.
    #[derive(Debug)]
    struct Said(&'static str);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            "as the server words it"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn report_a_pooler_in_transaction_mode_is_named() {
        let fault = |code| sqlx::Error::Database(Box::new(Said(code)));
        // PostgreSQL's documentation, appendix A: invalid_sql_statement_name, duplicate_prepared_statement.
        for code in ["26000", "42P05"] {
            for said in [reading_fault(fault(code)), writing_fault(fault(code))] {
                assert!(matches!(&said, StoreError::Unavailable(why) if why.contains("pooler")), "{code}: {said}");
            }
        }
        // undefined_table
        assert!(matches!(reading_fault(fault("42P01")), StoreError::Broken(_)));
    }
}
