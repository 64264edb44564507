//! The store: SQL and nothing but SQL. One trait, two implementations.
//!
//! Everything that a stream's step makes durable arrives as [`Unit`]s in a [`Group`]; one group is one atomic commit,
//! whose first act is its lane's row (fence, beat, number). Reads see only what is durable.

mod batch;
pub mod companions;
mod division;
mod journal;
mod lanes;
mod line;
mod orders;
pub mod pages;
mod postgres;
mod refunds;
mod rows;
mod settlements;
mod sqlite;
mod statements;
mod tables;
mod transactions;
mod unit;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::FromRow;
use sqlx::migrate::Migrator;

use crate::domain::bank::BankName;
use crate::domain::bank_details::BankDetails;
use crate::domain::channel::Channel;
use crate::domain::closing::Cover;
use crate::domain::cycle::{CalendarId, CycleId};
use crate::domain::event::WebhookKind;
use crate::domain::id::{Account, Incarnation, OrderId, PlatformId, RefundId};
use crate::domain::ledger::{Heading, LedgerAccount, Transaction, TransactionKind};
use crate::domain::money::Currency;
use crate::domain::operator::{self, OperatorId, Role};
use crate::domain::order::{FeeBearer, Order, State};
use crate::domain::partition::{LaneId, Partition};
use crate::domain::payee::PayeeId;
use crate::domain::payer::{Payer, PayerMark};
use crate::domain::payout::PayoutState;
use crate::domain::platform::KeyHash;
use crate::domain::request::Request;
use crate::domain::settlement::{SettlementState, Totals};
use crate::domain::stream::{Kind, StreamId};
use crate::domain::time::Instant;

use companions::Purse;
pub use journal::JournalRow;
pub use orders::RefundName;
pub use refunds::{RefundFilter, RefundPlace, StoredRefund};
pub use transactions::{
    BookedLine, BookedSpan, LedgerLine, LineKey, StatementFilter, StoredTransaction, TransactionFilter,
    TransactionPlace,
};
pub use unit::*;

pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What can become of an operation of the store, by what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Another version or another owner was first: discard what was decided and look again.
    Conflict(String),
    /// A capture's reference at its account is on record by another order. Nothing was written.
    ReferenceTaken(String),
    /// What a platform wants to call a refund is another refund's name. Nothing was written.
    NameTaken(String),
    /// Nothing of it happened; later it may.
    Unavailable(String),
    /// The connection went away while it was being committed: read the group's number back by a write.
    InDoubt(String),
    /// A row that the store will never take, or one that cannot be read: split the group, or stop and look.
    Corrupt(String),
    /// The store itself is ill: it refuses what it should take (a damaged file or index, a missing right). Nothing of it
    /// was written, and no row is to blame.
    Broken(String),
    /// Another process has taken the store over: stop.
    Fenced,
}

impl StoreError {
    /// Why what is stored cannot be read; none where no row is to blame.
    pub fn corruption(&self) -> Option<&str> {
        match self {
            StoreError::Corrupt(why) => Some(why),
            StoreError::Conflict(_)
            | StoreError::ReferenceTaken(_)
            | StoreError::NameTaken(_)
            | StoreError::Unavailable(_)
            | StoreError::InDoubt(_)
            | StoreError::Broken(_)
            | StoreError::Fenced => None,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Conflict(why) => write!(f, "conflict: {why}"),
            StoreError::ReferenceTaken(why) => write!(f, "a reference is taken: {why}"),
            StoreError::NameTaken(why) => write!(f, "a name is taken: {why}"),
            StoreError::Unavailable(why) => write!(f, "unavailable: {why}"),
            StoreError::InDoubt(why) => write!(f, "in doubt: {why}"),
            StoreError::Corrupt(why) => write!(f, "corrupt: {why}"),
            StoreError::Broken(why) => write!(f, "broken: {why}"),
            StoreError::Fenced => f.write_str("another process owns the store"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The row of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRow {
    pub lane: LaneId,
    /// Grows with every take-over; every group's update names it.
    pub epoch: i64,
    /// Grows with every group and every beat.
    pub beat: i64,
    /// The number of the last group.
    pub group: i64,
    /// Drawn at each take-over, and never the one before.
    pub incarnation: Incarnation,
    /// Who holds it, for people; empty when nobody does.
    pub holder: String,
    /// When it last wrote, by its clock.
    pub at: Instant,
    /// The place that its next journal row gets.
    pub next_place: i64,
    pub service: Service,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Active,
    /// It has no partition and writes nothing any more.
    Retired,
}

/// The one process that may write: it holds all lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub epoch: i64,
    /// Of all lanes together, as are the groups.
    pub beat: i64,
    pub group: i64,
    pub incarnation: Incarnation,
    pub holder: String,
    /// When a lane last wrote, by its clock.
    pub at: Instant,
    /// All that there ever were, by number.
    pub lanes: Vec<LaneRow>,
}

impl Owner {
    /// # Errors
    /// [`StoreError::Corrupt`] if no lane is there, or another process has some of them.
    fn of(lanes: Vec<LaneRow>) -> Result<Self, StoreError> {
        let corrupt = |why: &str| StoreError::Corrupt(format!("lanes: {why}"));
        let first = lanes.first().ok_or_else(|| corrupt("there is none"))?;
        let (epoch, incarnation, holder) = (first.epoch, first.incarnation, first.holder.clone());
        if lanes.iter().any(|lane| (lane.epoch, lane.incarnation) != (epoch, incarnation)) {
            return Err(corrupt("two processes hold some of them"));
        }
        let at = lanes.iter().map(|lane| lane.at).fold(first.at, Instant::max);
        let (beat, group) = lanes.iter().fold((0, 0), |(beat, group), lane| (beat + lane.beat, group + lane.group));
        Ok(Owner { epoch, beat, group, incarnation, holder, at, lanes })
    }

    /// The lanes that write.
    pub fn active(&self) -> impl Iterator<Item = &LaneRow> {
        self.lanes.iter().filter(|lane| lane.service == Service::Active)
    }
}

/// An attempt's request as it is stored, and who pays, which lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    pub request: Box<str>,
    /// None where the platform named nobody, or it was erased.
    pub payer: Option<Payer>,
}

/// A webhook to be delivered: all that its tries need but the platform's secret.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxRow {
    pub kind: WebhookKind,
    pub sequence: u32,
    pub at: Instant,
    /// Whose secret signs it.
    pub platform: PlatformId,
    pub url: Arc<str>,
    /// The trace id that it is sent under.
    pub trace: u128,
    /// What every try sends, byte for byte.
    pub body: Arc<[u8]>,
}

/// Without address and body, which are the platform's own.
impl fmt::Debug for OutboxRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, sequence, at) = (&self.kind, &self.sequence, &self.at);
        let mut shown = f.debug_struct("OutboxRow");
        shown.field("kind", kind).field("sequence", sequence).field("at", at).finish_non_exhaustive()
    }
}

/// What is on record under an `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    pub claim: Claim,
    /// None while only the claim is durable, which its command's own commit carried.
    pub given: Option<GivenAnswer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenAnswer {
    pub status: u16,
    /// Without `next_action`, which may hold a channel's secret.
    pub body: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxReason {
    OrderQuarantined,
    OrderUnknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRow {
    pub reason: InboxReason,
    pub account: Account,
    /// The attempt's number as the callback gave it.
    pub number: Box<str>,
    pub order: Option<OrderId>,
    /// What it tells, as JSON.
    pub body: Vec<u8>,
    /// What it was read from, byte for byte.
    pub raw: Vec<u8>,
    /// Of account and content: the same again is kept once.
    pub digest: [u8; 32],
    pub at: Instant,
}

/// A row of a look through many: one that cannot be read keeps no others from being seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<K, T> {
    /// None where not even that can be read.
    pub key: Option<K>,
    pub value: Result<T, StoreError>,
}

/// The rows' values, where every one of them has to be readable.
///
/// # Errors
/// Of the first that is not.
pub fn whole<K, T>(rows: Vec<Seen<K, T>>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(|row| row.value).collect()
}

/// The key of the last row whose key can be read: where the next page begins.
pub fn last_key<K: Copy, T>(page: &[Seen<K, T>]) -> Option<K> {
    page.iter().rev().find_map(|row| row.key)
}

/// Where a webhook stands among those that are due: when, of which stream, and its sequence.
pub type OutboxPlace = (Instant, StreamId, u32);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInboxRow {
    pub id: i64,
    pub row: InboxRow,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    Delivered {
        stream: StreamId,
        sequence: u32,
    },
    Failed {
        stream: StreamId,
        sequence: u32,
        tries: u32,
        next_at: Instant,
        why: Box<str>,
    },
    /// No more tries; kept until it is replayed.
    Dead {
        stream: StreamId,
        sequence: u32,
        tries: u32,
        why: Box<str>,
    },
}

/// What is done with a webhook that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterChange {
    /// It is due again, as if it had never been tried.
    Replayed { stream: StreamId, sequence: u32, at: Instant },
    /// It will never be sent.
    Erased { stream: StreamId, sequence: u32 },
}

#[derive(Clone, PartialEq, Eq)]
pub struct StoredOrder {
    pub order: Order,
    pub request: Request,
    /// Who was named last, by the create or since.
    pub payer: Option<Arc<Payer>>,
    /// JSON; none when nothing remains to be done by the payer.
    pub next_action: Option<Box<str>>,
    /// When it is next due, as the due finder sees it.
    pub next_due_at: Option<Instant>,
    /// Of the owner that last had it in hand.
    pub epoch: i64,
}

/// What decides, beside the order itself, who may ask for its money back: nothing here changes with its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderTerms {
    pub platform: PlatformId,
    pub currency: Currency,
    pub amount_minor: i64,
    /// What its platform may owe in this currency after refunds; none: any debt.
    pub debt_bound_minor: Option<i64>,
}

/// Without what remains to be done by the payer: see [`NextActionChange`].
impl fmt::Debug for StoredOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (order, request) = (&self.order, &self.request);
        f.debug_struct("StoredOrder").field("order", order).field("request", request).finish_non_exhaustive()
    }
}

/// What is stored of any stream's last version.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHead {
    pub version: u32,
    /// Of the owner under which the last step was taken.
    pub epoch: i64,
    pub state: Box<str>,
    pub facet: Option<Box<str>>,
    pub next_due_at: Option<Instant>,
    pub next_action: Option<Box<str>>,
    pub snapshot: Box<str>,
}

/// Without what remains to be done by the payer: see [`NextActionChange`].
impl fmt::Debug for StoredHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("StoredHead");
        shown.field("version", &self.version).field("epoch", &self.epoch).field("state", &self.state);
        shown.field("facet", &self.facet).field("next_due_at", &self.next_due_at);
        shown.field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

/// A message that was not taken yet, by whom it is for, who sent it, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageKey {
    pub to: StreamId,
    pub from: StreamId,
    pub number: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    pub key: MessageKey,
    pub at: Instant,
    pub body: Box<[u8]>,
}

/// Which orders of a platform a list wants, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFilter {
    pub platform: PlatformId,
    pub merchant_order_id: Option<String>,
    pub state: Option<State>,
    pub channel: Option<Channel>,
    pub created_after: Option<Instant>,
    pub created_before: Option<Instant>,
    /// Only orders with a smaller id: the last one of the page before.
    pub before: Option<OrderId>,
    pub limit: u32,
}

#[derive(Clone, PartialEq, Eq)]
pub struct StoredPlatform {
    pub id: PlatformId,
    /// 1..=64 of `[0-9a-z-]`.
    pub name: String,
    pub fee_bearer: FeeBearer,
    /// `whsec_…`
    pub webhook_secret: String,
    pub webhook_url: Option<String>,
}

/// Without the secret.
impl fmt::Debug for StoredPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, name, fee_bearer) = (&self.id, &self.name, &self.fee_bearer);
        let mut shown = f.debug_struct("StoredPlatform");
        shown.field("id", id).field("name", name).field("fee_bearer", fee_bearer).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub platform: PlatformId,
    pub hash: KeyHash,
    /// The first characters, for people to tell keys apart.
    pub hint: String,
    pub created_at: Instant,
    pub revoked_at: Option<Instant>,
}

/// A key of an operator's, in force or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorKeyRow {
    pub operator: OperatorId,
    pub key: operator::Key,
    pub created_at: Instant,
    pub revoked_at: Option<Instant>,
}

/// A webhook as the dispatcher needs it.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxItem {
    pub stream: StreamId,
    pub row: OutboxRow,
    pub tries: u32,
    pub next_at: Instant,
    /// The platform's: `whsec_…`
    pub secret: Box<str>,
}

/// Without the secret.
impl fmt::Debug for OutboxItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stream, row, tries, next_at) = (&self.stream, &self.row, &self.tries, &self.next_at);
        let mut shown = f.debug_struct("OutboxItem");
        shown.field("stream", stream).field("row", row).field("tries", tries).field("next_at", next_at);
        shown.finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub stream: StreamId,
    pub sequence: u32,
    pub kind: WebhookKind,
    pub at: Instant,
    pub tries: u32,
    pub why: String,
}

/// A stream and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub due_at: Instant,
    pub stream: StreamId,
}

/// How a store is born.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Kept for ever: see [`MODE`].
    pub mode: &'static str,
    pub at: Instant,
}

/// The name under which a store keeps whose it is.
pub const STORE_ID: &str = "store_id";
/// The name under which a store keeps the mode that it was born in.
pub const MODE: &str = "mode";

/// One sum that a lane keeps: see [`Purse`].
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LaneBalance {
    pub lane: i64,
    pub account: String,
    pub currency: String,
    pub cycle: i64,
    /// Empty where there is none.
    pub heading: String,
    /// 0 where there is none.
    pub counterparty: i64,
    pub amount_minor: i64,
}

impl SumOfLines {
    /// Under which heading and counterparty the balances have it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for lines of an account or a kind that we do not know.
    pub fn sum_key(&self) -> Result<(&'static str, i64), StoreError> {
        let corrupt = || StoreError::Corrupt(format!("a line of {} cannot be read", self.account));
        let account = LedgerAccount::parse(&self.account).ok_or_else(corrupt)?;
        let Some(kind) = &self.transaction_kind else { return Ok(("", 0)) };
        let kind = TransactionKind::parse(kind).ok_or_else(corrupt)?;
        let counterparty = self.counterparty.map(u32::try_from).transpose().map_err(|_| corrupt())?.map(PlatformId);
        let transaction = Transaction { kind, counterparty };
        let heading = Heading::of(&account, transaction, self.amount_minor);
        let counterparty = heading.and_then(|heading| heading.counterparty(transaction));
        Ok((heading.map_or("", Heading::name), counterparty.map_or(0, |platform| i64::from(platform.0))))
    }
}

impl LaneBalance {
    fn into_sum(self) -> (Purse, i64) {
        let (account, currency) = (self.account.into(), self.currency.into());
        let (cycle, counterparty) = (self.cycle, self.counterparty);
        let heading = rows::heading_name(&self.heading);
        (Purse { account, currency, cycle, heading, counterparty }, self.amount_minor)
    }
}

/// One account's sum in one currency over a lane's lines of one kind of stream, one kind of transaction and one sign.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct SumOfLines {
    pub lane: i64,
    pub kind: i64,
    pub account: String,
    pub currency: String,
    pub cycle: i64,
    pub transaction_kind: Option<String>,
    pub counterparty: Option<i64>,
    pub amount_minor: i64,
}

/// How far a lane's journal reaches. No row is missing if there are `count` of them up to place `count` - 1, and the
/// lane's next one gets place `count`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Places {
    pub lane: i64,
    pub count: i64,
    pub first: i64,
    pub last: i64,
}

/// One account's sum in one currency over all entries.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Balance {
    pub account: String,
    pub currency: String,
    pub amount_minor: i64,
}

impl Balance {
    /// The sums over all lanes, by account and currency.
    fn over_lanes(balances: Vec<LaneBalance>) -> Result<Vec<Self>, StoreError> {
        let mut sums: BTreeMap<(String, String), i64> = BTreeMap::new();
        for LaneBalance { account, currency, amount_minor, .. } in balances {
            let overflows = || StoreError::Corrupt(format!("the balance of {account} overflows"));
            let before = sums.get(&(account.clone(), currency.clone())).copied().unwrap_or_default();
            let sum = before.checked_add(amount_minor).ok_or_else(overflows)?;
            sums.insert((account, currency), sum);
        }
        let balance = |((account, currency), amount_minor)| Balance { account, currency, amount_minor };
        Ok(sums.into_iter().map(balance).collect())
    }
}

/// Captures and refunds by channel, as our books have them.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ChannelTotal {
    pub channel: String,
    pub currency: String,
    pub captures: i64,
    pub captured_minor: i64,
    pub refunded_minor: i64,
}

/// What a database says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Integrity {
    pub faults: Vec<String>,
    /// What could not be looked at, and why.
    pub unchecked: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Count {
    pub name: String,
    pub count: i64,
}

/// What a writer does about a commit whose outcome is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The server is asked by a write once it can be reached again.
    ReadBack,
    /// Only a fresh start of this process knows the truth.
    Stop,
}

/// Opens the store at `url`: `sqlite://PATH` or `postgres://…`. Nothing is read or written yet; `readers` connections
/// read, and `statement_timeout` bounds what each of them may take.
///
/// # Panics
/// Outside of a runtime: the one it is called on drives the store.
///
/// # Errors
/// [`StoreError::Unavailable`] for an address that cannot be understood or a folder that cannot be made. The address
/// is not quoted, because it may hold a password.
pub fn open(url: &SecretString, readers: u32, statement_timeout: Duration) -> Result<Arc<dyn Store>, StoreError> {
    let address = url.expose_secret();
    let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
    match scheme {
        "sqlite" => Ok(Arc::new(sqlite::SqliteStore::open(address, readers, statement_timeout)?)),
        "postgres" | "postgresql" => Ok(Arc::new(postgres::PostgresStore::open(address, readers, statement_timeout)?)),
        _ => Err(StoreError::Unavailable(
            "the store's url must begin with sqlite://, postgres:// or postgresql://".to_owned(),
        )),
    }
}

/// How far a store is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// There is none yet.
    Absent,
    /// An earlier version of this program made it.
    Older,
    Current,
    /// A later version of this program made it.
    Newer,
}

impl Schema {
    /// Compares the migrations that a store says it has had with those that there are.
    fn of(had: &[i64], known: &Migrator) -> Self {
        let last = |versions: &mut dyn Iterator<Item = i64>| versions.max();
        let (had, known) = (last(&mut had.iter().copied()), last(&mut known.iter().map(|migration| migration.version)));
        match had.cmp(&known) {
            _ if had.is_none() => Schema::Absent,
            Ordering::Less => Schema::Older,
            Ordering::Equal => Schema::Current,
            Ordering::Greater => Schema::Newer,
        }
    }
}

/// The migrations that a store has had.
const MIGRATED: &str = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";

/// A database that holds everything. Implementations own their connections: one that writes, a few that read.
///
/// Futures of the write side are never dropped before they end.
pub trait Store: Send + Sync + 'static {
    /// The file of an embedded store; none for a server's.
    fn file(&self) -> Option<&Path>;
    /// How far the store is made, without touching it. [`StoreError::Unavailable`] where it is of no use to us.
    fn schema(&self) -> Reply<'_, Schema>;
    /// Brings the schema up to date. A store that is made by this is born now: it gets its id, its mode, and the first
    /// row of its first lane's journal, which tells both.
    fn migrate(&self, birth: Birth) -> Reply<'_, ()>;

    // --- the owner -----------------------------------------------------------------------------------------
    fn owner(&self) -> Reply<'_, Owner>;
    /// What time it is at the store's server; none where it has no clock but ours.
    fn clock(&self) -> Reply<'_, Option<Instant>>;
    /// Takes all lanes over if they still are as `seen`: epoch + 1, another incarnation, the new holder. None when one of
    /// them moved meanwhile.
    fn take_over<'a>(&'a self, seen: &'a Owner, holder: &'a str) -> Reply<'a, Option<Owner>>;
    /// Divides all partitions among `count` lanes, in one transaction that writes every lane's row:
    /// [`StoreError::Fenced`] when the epoch is another's. Lanes retire, and new ones have numbers that none had.
    fn divide(&self, epoch: i64, count: u16) -> Reply<'_, Owner>;
    /// Which lane has each partition.
    fn partitions(&self) -> Reply<'_, Vec<(Partition, LaneId)>>;
    /// A write that beats and reads the lane's row back; [`StoreError::Fenced`] when the epoch is another's.
    fn beat(&self, lane: LaneId, epoch: i64, at: Instant) -> Reply<'_, LaneRow>;
    /// Gives all lanes back.
    fn release(&self, epoch: i64) -> Reply<'_, ()>;

    /// Before the first write of a start: carries the log of an embedded store over into its file, without making
    /// anybody wait who uses it too. A log that filled the disk would refuse that write.
    fn make_room(&self) -> Reply<'_, ()>;
    /// Gives all connections up. An embedded store is one whole file then, for whoever copies it.
    fn close(&self) -> Reply<'_, ()>;

    // --- the writer ----------------------------------------------------------------------------------------
    fn commit<'a>(&'a self, group: &'a Group<'a>) -> Reply<'a, Committed>;
    fn doubt(&self) -> Doubt;

    // --- streams -------------------------------------------------------------------------------------------
    fn head(&self, stream: StreamId) -> Reply<'_, Option<StoredHead>>;
    fn journal(&self, stream: StreamId) -> Reply<'_, Vec<JournalRow>>;
    /// Streams of a kind that were made before the one of this id, the newest first, where their ids grow with time;
    /// their states and snapshots. None: in whatever state.
    fn heads<'a>(
        &'a self,
        kind: Kind,
        state: Option<&'a str>,
        before: Option<u128>,
        limit: u32,
    ) -> Reply<'a, Vec<(StreamId, Box<str>)>>;
    /// The steps after version `after`, at most `limit` of them.
    fn journal_page(&self, stream: StreamId, after: u32, limit: u32) -> Reply<'_, Vec<JournalRow>>;
    /// Streams that are due after the place `after` and not later than `until`, in order of (due_at, stream).
    fn due(&self, after: Option<Due>, until: Instant, limit: u32) -> Reply<'_, Vec<Due>>;
    /// What was sent to a stream and not taken yet, by sender and number.
    fn messages_to(&self, stream: StreamId) -> Reply<'_, Vec<Seen<MessageKey, StoredMessage>>>;
    /// Everybody's messages that were not taken yet, by their key, after the place `after`.
    fn messages_due(&self, after: Option<MessageKey>, limit: u32) -> Reply<'_, Vec<Seen<MessageKey, StoredMessage>>>;

    // --- orders --------------------------------------------------------------------------------------------
    fn order(&self, id: OrderId) -> Reply<'_, Option<StoredOrder>>;
    /// Without the order's changing part, which is long.
    fn order_terms(&self, id: OrderId) -> Reply<'_, Option<OrderTerms>>;
    fn order_by_merchant_id<'a>(&'a self, platform: PlatformId, id: &'a str) -> Reply<'a, Option<StoredOrder>>;
    fn orders<'a>(&'a self, filter: &'a OrderFilter) -> Reply<'a, Vec<Seen<OrderId, StoredOrder>>>;
    fn frozen(&self, id: OrderId, ordinal: u8) -> Reply<'_, Option<Frozen>>;

    // --- refunds -------------------------------------------------------------------------------------------

    /// One that a platform asked for.
    fn refund(&self, id: RefundId) -> Reply<'_, Option<StoredRefund>>;
    fn refund_by_merchant_id<'a>(&'a self, platform: PlatformId, id: &'a str) -> Reply<'a, Option<StoredRefund>>;
    fn refunds<'a>(&'a self, filter: &'a RefundFilter) -> Reply<'a, Vec<Seen<RefundPlace, StoredRefund>>>;
    /// Orders with refunds that are stuck, and since when, by id, after the place `after`.
    fn stuck_refunds(&self, after: Option<OrderId>, limit: u32) -> Reply<'_, Vec<Seen<OrderId, (Instant, Order)>>>;
    /// Since when an order is among those.
    fn stuck_since(&self, order: OrderId) -> Reply<'_, Option<Instant>>;
    fn inbox(&self, order: OrderId) -> Reply<'_, Vec<Seen<i64, StoredInboxRow>>>;
    /// All callbacks in the inbox by number, for an audit, after the number `after`.
    fn inbox_rows(&self, after: i64, limit: u32) -> Reply<'_, Vec<Seen<i64, StoredInboxRow>>>;
    /// How many callbacks lie there for an order.
    fn inbox_size_of(&self, order: OrderId) -> Reply<'_, i64>;
    /// Orders for which callbacks lie in the inbox because they could not be spoken to, by id, after the place `after`.
    fn inbox_orders(&self, after: Option<OrderId>, limit: u32) -> Reply<'_, Vec<OrderId>>;
    fn answer<'a>(&'a self, platform: PlatformId, key: &'a str) -> Reply<'a, Option<KeptAnswer>>;
    /// Removes answers kept since before `before`, at most `limit` of them; how many.
    fn forget_answers(&self, before: Instant, limit: u32) -> Reply<'_, u64>;

    // --- payers --------------------------------------------------------------------------------------------
    /// What is known of these payers, in no order.
    fn last_channels<'a>(&'a self, payers: &'a [PayerMark]) -> Reply<'a, Vec<LastChannel>>;
    /// Removes what payers paid by before `before`, at most `limit` of it; how many.
    fn forget_last_channels(&self, before: Instant, limit: u32) -> Reply<'_, u64>;

    // --- webhooks ------------------------------------------------------------------------------------------
    /// Undelivered webhooks that are due at `now`, oldest first, after the place `after` (next_at, stream, sequence).
    fn outbox<'a>(
        &'a self,
        now: Instant,
        after: Option<OutboxPlace>,
        limit: u32,
    ) -> Reply<'a, Vec<Seen<OutboxPlace, OutboxItem>>>;
    /// By stream and sequence, after the place `after`.
    fn dead_letters(
        &self,
        after: Option<(StreamId, u32)>,
        limit: u32,
    ) -> Reply<'_, Vec<Seen<(StreamId, u32), DeadLetter>>>;
    /// Makes what is due after `now` due so much earlier; how many. A clock that ran ahead put it off by as much.
    fn hasten_outbox(&self, by_ms: i64, now: Instant) -> Reply<'_, u64>;

    // --- platforms -----------------------------------------------------------------------------------------
    fn platform_by_key<'a>(&'a self, key_hash: &'a [u8; 32]) -> Reply<'a, Option<StoredPlatform>>;
    fn platform_by_name<'a>(&'a self, name: &'a str) -> Reply<'a, Option<StoredPlatform>>;
    /// The newest one's number.
    fn last_platform(&self) -> Reply<'_, Option<PlatformId>>;
    /// Whose key this is, in force or revoked.
    fn key_owner<'a>(&'a self, key_hash: &'a [u8; 32]) -> Reply<'a, Option<PlatformId>>;
    fn platforms(&self) -> Reply<'_, Vec<Seen<PlatformId, StoredPlatform>>>;
    fn platform(&self, id: PlatformId) -> Reply<'_, Option<StoredPlatform>>;
    /// The platforms of these names that get shares from that one.
    fn share_receivers<'a>(&'a self, names: &'a [&'a str], from: PlatformId)
    -> Reply<'a, BTreeMap<String, PlatformId>>;
    /// From whom platforms get shares: who gets them and from whom.
    fn share_consents(&self) -> Reply<'_, Vec<(PlatformId, PlatformId)>>;
    /// By which accounts refunds that platforms asked for are still to be paid.
    fn accounts_owing(&self) -> Reply<'_, Vec<Account>>;
    /// What a platform may owe after refunds; none: any debt.
    fn debt_bound(&self, platform: PlatformId, currency: Currency) -> Reply<'_, Option<i64>>;
    /// All there ever were, by their age.
    fn keys(&self, platform: PlatformId) -> Reply<'_, Vec<KeyRow>>;

    // --- operators -----------------------------------------------------------------------------------------
    /// Whose key this is, as long as it was not revoked; whether it has run out is for whoever knows the time.
    fn operator_by_key<'a>(&'a self, key_hash: &'a [u8; 32]) -> Reply<'a, Option<(StoredOperator, operator::Key)>>;
    fn operator_by_name<'a>(&'a self, name: &'a str) -> Reply<'a, Option<StoredOperator>>;
    /// The newest one's number.
    fn last_operator(&self) -> Reply<'_, Option<OperatorId>>;
    /// Whose key this is, in force or revoked.
    fn operator_key_owner<'a>(&'a self, key_hash: &'a [u8; 32]) -> Reply<'a, Option<OperatorId>>;
    fn operators(&self) -> Reply<'_, Vec<Seen<OperatorId, StoredOperator>>>;
    /// All there ever were, by their age.
    fn operator_keys(&self, operator: OperatorId) -> Reply<'_, Vec<OperatorKeyRow>>;
    /// How many of a role have a key that is in force.
    fn operators_in_force(&self, role: Role, now: Instant) -> Reply<'_, i64>;
    /// What operators did or were refused, the newest first, before the act of this id.
    fn operator_acts(&self, before: Option<u128>, limit: u32) -> Reply<'_, Vec<OperatorAct>>;

    // --- settings ------------------------------------------------------------------------------------------
    /// The value kept under a name, if there is one.
    fn kept_setting<'a>(&'a self, name: &'a str) -> Reply<'a, Option<String>>;
    /// The value kept under a name, `value` if there was none yet. Settings are no part of the books: a start makes them
    /// while it holds the store, before its lanes write.
    fn setting<'a>(&'a self, name: &'a str, value: &'a str) -> Reply<'a, String>;

    // --- cycles --------------------------------------------------------------------------------------------
    /// Where each lane cut it.
    fn cuts(&self, cycle: CycleId) -> Reply<'_, Vec<Cover>>;
    /// Ledger accounts with sums in a cycle that are not closed, by name, after that one.
    fn accounts_of_cycle<'a>(&'a self, cycle: CycleId, after: &'a str, limit: u32) -> Reply<'a, Vec<String>>;
    /// A platform's sums in a cycle that are not closed.
    fn sums_of_cycle(&self, platform: PlatformId, cycle: CycleId) -> Reply<'_, Vec<LaneBalance>>;
    /// In which currencies anything is booked.
    fn booked_currencies(&self) -> Reply<'_, Vec<String>>;
    /// What is stored of the streams of a kind, by id, after that one.
    fn streams(&self, kind: Kind, after: u128, limit: u32) -> Reply<'_, Vec<Seen<u128, StoredHead>>>;
    fn settlement(&self, platform: PlatformId, cycle: CycleId) -> Reply<'_, Option<StoredSettlement>>;
    fn payout(&self, payee: PayeeId, number: u32) -> Reply<'_, Option<PayoutRow>>;
    /// By platform, currency and number.
    fn payouts<'a>(&'a self, filter: &'a PayoutFilter) -> Reply<'a, Vec<PayoutRow>>;
    /// What was given to a bank of ours to pay and not answered yet.
    fn leaving_bank<'a>(&'a self, bank: &'a BankName, currency: Currency) -> Reply<'a, i64>;
    fn bank_details(&self, payee: PayeeId, number: u32) -> Reply<'_, Option<StoredBankDetails>>;
    /// Of one cycle, by platform, after that one.
    fn settlements_of_cycle(&self, cycle: CycleId, after: PlatformId, limit: u32) -> Reply<'_, Vec<StoredSettlement>>;
    /// Which calendar a platform's lines are stamped by.
    fn calendar_of(&self, platform: PlatformId, currency: Currency) -> Reply<'_, CalendarId>;
    /// Which cycles of which platforms are closed.
    fn closed_cycles(&self) -> Reply<'_, Vec<(PlatformId, CycleId)>>;
    /// A platform's in a currency, the newest first.
    fn settlements<'a>(&'a self, filter: &'a SettlementFilter) -> Reply<'a, Vec<StoredSettlement>>;
    /// What platforms had of a closed cycle, by platform, after that one.
    fn totals_of_cycle(&self, cycle: CycleId, after: PlatformId, limit: u32) -> Reply<'_, Vec<(PlatformId, Totals)>>;
    /// The transfers of netting runs that a platform pays or gets, the newest first, before that one.
    fn nettings_of_platform(
        &self,
        platform: PlatformId,
        before: Option<NettingPlace>,
        limit: u32,
    ) -> Reply<'_, Vec<NettingPlace>>;

    // --- the books -----------------------------------------------------------------------------------------
    /// What the database finds wrong with itself, indexes included.
    fn integrity(&self) -> Reply<'_, Integrity>;
    /// How often it was found ill since it was opened: see [`StoreError::Broken`].
    fn refusals(&self) -> u64;
    /// Of each account, over all lanes.
    fn balances(&self) -> Reply<'_, Vec<Balance>>;
    /// Of each account, over all lanes, by the lines that were booked at that instant or before.
    fn balances_at(&self, at: Instant) -> Reply<'_, Vec<Balance>>;
    /// The lines of an account that were booked at that instant or before, the newest first.
    fn ledger_lines<'a>(&'a self, account: &'a LedgerAccount, at: Instant, limit: u32) -> Reply<'a, Vec<LedgerLine>>;
    /// In the order in which they were booked.
    fn booked_lines<'a>(&'a self, span: &'a BookedSpan) -> Reply<'a, Vec<BookedLine>>;
    /// All that makes a platform's balance, in all lanes, as their last groups left it: one picture.
    fn balances_of_platform(&self, platform: PlatformId) -> Reply<'_, Vec<LaneBalance>>;
    /// What changed a platform's balance.
    fn transactions<'a>(
        &'a self,
        filter: &'a TransactionFilter,
    ) -> Reply<'a, Vec<Seen<TransactionPlace, StoredTransaction>>>;
    /// A page of the lines of a statement.
    fn statement_lines<'a>(
        &'a self,
        filter: &'a StatementFilter,
    ) -> Reply<'a, Vec<Seen<TransactionPlace, StoredTransaction>>>;
    /// Each lane's own, as its last group left them.
    fn balances_by_lane(&self) -> Reply<'_, Vec<LaneBalance>>;
    /// What the balances must be: the sums over all lines.
    fn sums_of_lines(&self) -> Reply<'_, Vec<SumOfLines>>;
    /// How far each lane's journal reaches.
    fn places(&self) -> Reply<'_, Vec<Places>>;
    fn channel_totals(&self) -> Reply<'_, Vec<ChannelTotal>>;
    fn counts_by_state(&self) -> Reply<'_, Vec<Count>>;
    /// All orders by id, for an audit, after the place `after`.
    fn scan(&self, after: Option<OrderId>, limit: u32) -> Reply<'_, Vec<Seen<OrderId, Order>>>;
    /// All entries of a stream, as stored.
    fn entries(&self, stream: StreamId) -> Reply<'_, Vec<StoredEntry>>;
    fn outbox_size(&self) -> Reply<'_, i64>;
    fn inbox_size(&self) -> Reply<'_, i64>;
}

/// A closed cycle of a platform's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSettlement {
    pub platform: PlatformId,
    pub cycle: CycleId,
    pub currency: Currency,
    pub number: u32,
    pub starts_at: Instant,
    pub ends_at: Instant,
    pub closed_at: Instant,
    pub totals: Totals,
    pub state: SettlementState,
    /// The number of the payout that it is in.
    pub payout: Option<u32>,
    /// When the last was paid that it owed other platforms, or they it, of money that they took themselves.
    pub netted_at: Option<Instant>,
}

/// Which payouts a list wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutFilter {
    pub state: Option<PayoutState>,
    pub platform: Option<PlatformId>,
    pub currency: Option<Currency>,
    pub file: Option<String>,
    /// The last one of the page before.
    pub after: Option<(PayeeId, u32)>,
    pub limit: u32,
}

/// Where a payee is paid to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBankDetails {
    pub details: BankDetails,
    /// None where nobody has approved them.
    pub in_force_at: Option<Instant>,
}
impl StoredSettlement {
    /// `netted` says that between platforms all is paid; what we owe the platform comes after that.
    pub const fn state_name(&self) -> &'static str {
        match (self.state, self.netted_at) {
            (SettlementState::Closed | SettlementState::Carried, Some(_)) => "netted",
            (SettlementState::Closed | SettlementState::Carried, None) | (SettlementState::PaidOut, _) => {
                self.state.name()
            }
        }
    }
}

/// A transfer of a netting run: when the run was made, the run's cycle, and the transfer's number there.
pub type NettingPlace = (Instant, CycleId, u32);

/// Which settlements of a platform a list wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementFilter {
    pub platform: PlatformId,
    pub currency: Currency,
    pub state: Option<SettlementState>,
    /// Only those with a smaller number.
    pub before: Option<u32>,
    pub limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    pub kind: String,
    pub currency: String,
    pub effective_at: Instant,
    /// As 20261130.
    pub bill_day: i64,
    /// The ordinal of the refund that it is about.
    pub refund: Option<i64>,
    pub lines: Vec<StoredLine>,
}

/// A line as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLine {
    pub account: String,
    pub amount_minor: i64,
    pub transaction_kind: Option<String>,
    pub counterparty: Option<i64>,
}
