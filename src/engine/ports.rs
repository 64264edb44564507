//! What aggregates need of the rest of the engine: narrow handles, given to who needs them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::ask::Details;
use super::clock::course::Certainty;
use super::lane::{Admission, WriteError};
use super::supervisor::Call;
use super::webhooks::Letter;
use crate::channels::Ask;
use crate::domain::channel::{Channel, Method};
use crate::domain::closing::Cover;
use crate::domain::cycle::CycleId;
use crate::domain::id::{Account, Incarnation, OrderId, PlatformId, RefundId};
use crate::domain::journal::Salt;
use crate::domain::money::Currency;
use crate::domain::note::Note;
use crate::domain::operator::{OperatorId, Role};
use crate::domain::order::Order;
use crate::domain::partition::LaneId;
use crate::domain::payer::{Payer, PayerMark};
use crate::domain::platform::KeyHash;
use crate::domain::routing::Outlook;
use crate::domain::settlement::Totals;
use crate::domain::stream::StreamId;
use crate::domain::time::Instant;
use crate::domain::validation::Facts;
use crate::store::{
    DeadLetter, Due, LaneBalance, MessageKey, Reply, Seen, StoredHead, StoredInboxRow, StoredMessage, StoredOperator,
    StoredOrder, StoredRefund, Unit,
};

/// The clock, and which take-over of the store this is.
pub trait Time: Send + Sync + 'static {
    fn now(&self) -> Instant;
    fn certainty(&self) -> Certainty;
    fn incarnation(&self) -> Incarnation;
    /// For spans within this process: it never steps.
    fn steady(&self) -> Instant;
    /// By how much instants that were stored may lie ahead of now, in all: it grows with each step back.
    fn behind_ms(&self) -> i64;
    fn sleep(&self, span: Duration) -> Sleep;
}

pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the salts of journal rows come from: a source that nobody can foretell.
pub trait Salts: Send + Sync + 'static {
    fn salt(&self) -> Salt;
}

/// What became of a unit.
pub type Verdict<'a> = Pin<Box<dyn Future<Output = Result<(), WriteError>> + Send + 'a>>;

/// The way to the lanes, for whatever is to become durable.
pub trait Lanes: Send + Sync + 'static {
    fn write(&self, admission: Admission, unit: Unit) -> Verdict<'_>;
    /// Those that write.
    fn active(&self) -> Vec<LaneId>;
    /// Whether a stream that was last in hand under this epoch was in this process's hands.
    fn is_ours(&self, stream: StreamId, epoch: i64) -> bool;
}

/// What is read of orders.
pub trait OrderReads: Send + Sync + 'static {
    fn order(&self, id: OrderId) -> Reply<'_, Option<StoredOrder>>;
    /// A refund that a platform asked for.
    fn refund(&self, id: RefundId) -> Reply<'_, Option<StoredRefund>>;
    fn platform_name(&self, id: PlatformId) -> Reply<'_, Box<str>>;
}

/// How streams stand.
pub trait HeadReads: Send + Sync + 'static {
    fn head(&self, stream: StreamId) -> Reply<'_, Option<StoredHead>>;
}

/// What is read of operators.
pub trait OperatorReads: Send + Sync + 'static {
    fn named<'a>(&'a self, name: &'a str) -> Reply<'a, Option<StoredOperator>>;
    /// The newest one's number.
    fn last(&self) -> Reply<'_, Option<OperatorId>>;
    /// Whether an operator has this key, or had it.
    fn has_key(&self, hash: KeyHash) -> Reply<'_, bool>;
    /// How many operators of this role have a key that is in force.
    fn in_force(&self, role: Role, now: Instant) -> Reply<'_, i64>;
}

/// What is read of what people change by hand.
pub trait ActReads: Send + Sync + 'static {
    fn order(&self, id: OrderId) -> Reply<'_, Option<StoredOrder>>;
    fn debt_bound(&self, platform: PlatformId, currency: Currency) -> Reply<'_, Option<i64>>;
    fn operator<'a>(&'a self, name: &'a str) -> Reply<'a, Option<StoredOperator>>;
    /// Whose key this is, in force or revoked.
    fn key_owner(&self, hash: KeyHash) -> Reply<'_, Option<OperatorId>>;
}

/// What is read of platforms.
pub trait PlatformReads: Send + Sync + 'static {
    fn named<'a>(&'a self, name: &'a str) -> Reply<'a, Option<PlatformId>>;
    /// The newest one's number.
    fn last(&self) -> Reply<'_, Option<PlatformId>>;
    /// Whether a platform has this key, or had it.
    fn has_key(&self, hash: KeyHash) -> Reply<'_, bool>;
}

/// What is read of platforms that are told something.
pub trait Addressees: Send + Sync + 'static {
    fn name(&self, id: PlatformId) -> Reply<'_, Box<str>>;
    /// Where its webhooks go by its terms.
    fn webhook_url(&self, id: PlatformId) -> Reply<'_, Option<Box<str>>>;
}

/// What is read of any stream.
pub trait StreamReads: Send + Sync + 'static {
    fn head(&self, stream: StreamId) -> Reply<'_, Option<StoredHead>>;
}

/// What is read of a cycle that ends.
pub trait CycleReads: Send + Sync + 'static {
    /// In which anything is booked.
    fn currencies(&self) -> Reply<'_, Vec<String>>;
    /// Where each lane cut it.
    fn cuts(&self, cycle: CycleId) -> Reply<'_, Vec<Cover>>;
    /// Ledger accounts with sums in it that are not closed, by name, after that one.
    fn accounts<'a>(&'a self, cycle: CycleId, after: &'a str, limit: u32) -> Reply<'a, Vec<String>>;
    /// A platform's sums in it that are not closed.
    fn sums(&self, platform: PlatformId, cycle: CycleId) -> Reply<'_, Vec<LaneBalance>>;
    /// What platforms had of it, as it is settled, by platform, after that one.
    fn totals(&self, cycle: CycleId, after: PlatformId, limit: u32) -> Reply<'_, Vec<(PlatformId, Totals)>>;
}

/// What is read of webhooks that were given up.
pub trait DeadLetters: Send + Sync + 'static {
    /// By stream and sequence, after the place `after`.
    fn dead(&self, after: Option<(StreamId, u32)>, limit: u32) -> Reply<'_, Vec<Seen<(StreamId, u32), DeadLetter>>>;
}

/// What is read to find what is due.
pub trait DueReads: Send + Sync + 'static {
    /// Streams that are due after the place `after` and not later than `until`, in order of (due_at, stream).
    fn due(&self, after: Option<Due>, until: Instant, limit: u32) -> Reply<'_, Vec<Due>>;
}

/// What is read of messages.
pub trait MessageReads: Send + Sync + 'static {
    /// Messages that were not taken yet, by their key, after the place `after`.
    fn messages(&self, after: Option<MessageKey>, limit: u32) -> Reply<'_, Vec<Seen<MessageKey, StoredMessage>>>;
}

/// What is read of the inbox.
pub trait InboxReads: Send + Sync + 'static {
    fn of(&self, order: OrderId) -> Reply<'_, Vec<Seen<i64, StoredInboxRow>>>;
    /// Orders for which callbacks lie there because they could not be spoken to, by id, after the place `after`.
    fn orders(&self, after: Option<OrderId>, limit: u32) -> Reply<'_, Vec<OrderId>>;
    fn size(&self) -> Reply<'_, i64>;
}

/// Our accounts at the channels.
pub trait Accounts: Send + Sync + 'static {
    /// What is known of a channel and a payer at this moment.
    fn facts(&self, platform: PlatformId, choice: (Channel, Method), details: &Details) -> Facts;
    /// The business fields of an attempt's request; none where its account is not served.
    fn freeze(&self, account: &Account, ask: &Ask<'_>) -> Option<Box<str>>;
    /// Where a channel sends the callbacks of an account.
    fn notify_url(&self, account: &Account) -> String;
    /// Sends a call on its way; its answer comes as a fact.
    ///
    /// # Errors
    /// The account is not served: the call comes back.
    fn call(&self, account: &Account, call: Call) -> Result<(), Box<Call>>;
}

/// How channels have done of late, and what payers paid by.
pub trait Advice: Send + Sync + 'static {
    fn noted(&self, order: &Order, notes: &[Note]);
    /// Hashes of the payer's identifiers.
    fn marks(&self, platform: PlatformId, payer: Option<&Payer>) -> Vec<PayerMark>;
    /// What the choice of a channel rests on for an order as a step leaves it that is not committed yet.
    fn outlook_after<'a>(
        &'a self,
        order: &'a Order,
        notes: &'a [Note],
        payer: Arc<[PayerMark]>,
    ) -> Pin<Box<dyn Future<Output = Outlook> + Send + 'a>>;
}

/// Webhooks that are durable and may go out.
pub trait Outbox: Send + Sync + 'static {
    fn written(&self, letter: Letter);
}

/// Callbacks that lie in the inbox.
pub trait Parked: Send + Sync + 'static {
    /// An order is in memory again and may take what lies there for it.
    fn is_back(&self, order: OrderId);
}
