//! What is made durable together: groups of units, and what the unit of a step is made of. Nothing in a group's commit
//! knows what kind of stream a step is of; rows of orders are tables like others.

use std::fmt;
use std::sync::Arc;

use super::{DeadLetterChange, Delivery, InboxRow, KeptAnswer, OutboxRow, StoredPlatform};
use crate::domain::calendar::Schedule;
use crate::domain::channel::Channel;
use crate::domain::cycle::{CalendarId, CycleId};
use crate::domain::dated::Day;
use crate::domain::id::{Account, Incarnation, OrderId, PlatformId, RefundOrdinal};
use crate::domain::journal::{Join, Salt};
use crate::domain::ledger::Entry;
use crate::domain::money::Currency;
use crate::domain::operator::{self, OperatorId, Role};
use crate::domain::partition::{LaneId, Partition};
use crate::domain::payee::PayeeId;
use crate::domain::payer::{Payer, PayerMark};
use crate::domain::payout::Payout;
use crate::domain::platform::{Key, KeyHash};
use crate::domain::refund::{Attention, FeePolicy, RefundFailure, RefundState};
use crate::domain::request::Request;
use crate::domain::settlement::SettlementState;
use crate::domain::stream::StreamId;
use crate::domain::time::Instant;

/// Units that are committed together or not at all.
#[derive(Debug)]
pub struct Group<'a> {
    /// Whose row it changes first, and by whose connection it is written.
    pub lane: LaneId,
    pub epoch: i64,
    /// The number this group will have: the last one of its lane's plus one.
    pub number: i64,
    /// The place that its first journal row gets; the lane's row must say so too.
    pub first_place: i64,
    /// By the owner's clock.
    pub at: Instant,
    pub units: &'a [Unit],
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Places in the group of new streams whose name was taken: nothing of them was written.
    pub duplicates: Vec<usize>,
    /// The place that the lane's next journal row gets.
    pub next_place: i64,
}

/// What one waiter wants durable.
#[derive(Debug)]
pub enum Unit {
    /// A step of a stream. At most one of a stream stands in a group.
    Step(Box<StepUnit>),
    /// When a stream is to be looked at next, where that changes without a step.
    PutOff(PutOff),
    /// The answer given under an `Idempotency-Key`.
    Answer(Box<KeptAnswer>),
    /// A verified callback that no order could take.
    Inbox(Box<InboxRow>),
    /// The inbox row was taken up.
    InboxDone { id: i64 },
    /// What became of webhook deliveries.
    Delivery(Delivery),
    /// What is done with a webhook that was given up.
    DeadLetter(DeadLetterChange),
    /// A cycle ends in a lane, before the group that this stands in.
    Cut(Box<Cut>),
    /// What an operator did, or was refused.
    OperatorAct(Box<OperatorAct>),
}

/// Where a unit is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// By the lane of this partition.
    Partition(Partition),
    Lane(LaneId),
}

/// A calendar's cycle ends in one lane: what the lane books from this group on is of a later one. The same again changes
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub lane: LaneId,
    pub calendar: CalendarId,
    /// The cycle that ends; 0 begins the calendar.
    pub number: u32,
    pub at: Instant,
    /// When the cycle after it ends, and by what schedule those after that.
    pub ends_at: Instant,
    pub schedule: Schedule,
    /// Platforms that belong to another calendar from here on.
    pub joins: Vec<Join>,
    /// Of its row in the lane's journal.
    pub salt: Salt,
}

impl Unit {
    /// By whose lane it is written. What is of no stream's goes where the same again goes too.
    pub fn address(&self) -> Address {
        Address::Partition(match self {
            Unit::Cut(cut) => return Address::Lane(cut.lane),
            Unit::Step(step) => step.stream.partition(),
            Unit::PutOff(put_off) => put_off.stream.partition(),
            Unit::Answer(answer) => answer.claim.order.partition(),
            Unit::Inbox(row) => match row.order {
                Some(order) => order.partition(),
                None => Partition::from_low_bits(u128::from(row.digest[0]) << 8 | u128::from(row.digest[1])),
            },
            Unit::InboxDone { id } => Partition::from_low_bits(u128::from(id.unsigned_abs())),
            Unit::Delivery(
                Delivery::Delivered { stream, .. } | Delivery::Failed { stream, .. } | Delivery::Dead { stream, .. },
            ) => stream.partition(),
            Unit::DeadLetter(DeadLetterChange::Replayed { stream, .. } | DeadLetterChange::Erased { stream, .. }) => {
                stream.partition()
            }
            Unit::OperatorAct(act) => Partition::of_hash(&[act.operator.as_bytes()]),
        })
    }
}

/// What somebody did by hand, or was refused. It is written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorAct {
    /// They grow with time, and no two are the same: written twice, it is there once.
    pub id: u128,
    pub at: Instant,
    /// The person's name; of somebody without a key in force what was tried by.
    pub operator: Box<str>,
    pub act: Box<str>,
    /// What it was done to.
    pub subject: Box<str>,
    /// `done`, or the code of the refusal.
    pub outcome: Box<str>,
}

impl OperatorAct {
    /// Characters of each text: what a stranger sends is cut off.
    pub const TEXT_MAX: usize = 200;
}

pub struct StepUnit {
    pub stream: StreamId,
    /// The version that the step was decided on; 0 for a new stream. The row must have it, or the group fails.
    pub expected_version: u32,
    /// The journal's: one more.
    pub version: u32,
    /// The stream's last instant, which is the journal row's.
    pub at: Instant,
    /// When it was decided, by the clock: the stream's last instant may lie ahead of it.
    pub decided_at: Instant,
    pub head: Head,
    /// The step's row of the journal: see [`Title::write`](crate::domain::journal::Title::write).
    pub journal: Vec<u8>,
    /// Of a new stream only: whoever comes second with it is a duplicate, of which nothing is written.
    pub name: Option<UniqueName>,
    /// What the kind of stream keeps in tables of its own.
    pub rows: Vec<Row>,
    pub entries: Vec<Entry>,
    pub webhooks: Vec<OutboxRow>,
    /// To other streams.
    pub messages: Vec<MessageRow>,
    /// The message that this step takes. It must be there, or the group fails: a message is taken once.
    pub taken: Option<TakenMessage>,
    /// The request under an `Idempotency-Key` that this step is taken for.
    pub claim: Option<Box<Claim>>,
}

/// Without what it writes: the journal's salt is shown to nobody.
impl fmt::Debug for StepUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stream, version, head) = (&self.stream, &self.version, &self.head);
        let mut shown = f.debug_struct("StepUnit");
        shown.field("stream", stream).field("version", version).field("head", head).finish_non_exhaustive()
    }
}

impl StepUnit {
    /// Whether the stream may have its name: in another partition another lane could give the name once more.
    pub fn is_in_place(&self) -> bool {
        self.name.as_ref().is_none_or(|name| name.partition() == self.stream.partition())
    }
}

/// The part of a stream that changes with every step.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    pub state: &'static str,
    /// What lists filter by besides: an order's channel.
    pub facet: Option<&'static str>,
    /// When the stream next owes the world something; none when it owes nothing.
    pub next_due_at: Option<Instant>,
    pub next_action: NextActionChange,
    /// What the stream is loaded from: JSON.
    pub snapshot: Box<str>,
}

/// Without the snapshot, which is long and stands in the journal too.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Head");
        shown.field("state", &self.state).field("facet", &self.facet).field("next_due_at", &self.next_due_at);
        shown.field("next_action", &self.next_action).finish_non_exhaustive()
    }
}

/// What remains to be done by whoever the stream waits for.
#[derive(Clone, PartialEq, Eq)]
pub enum NextActionChange {
    Keep,
    /// JSON.
    Store(Box<str>),
    Wipe,
}

/// Whoever has a next action may pay by it; some hold a secret.
impl fmt::Debug for NextActionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NextActionChange::Keep => "Keep",
            NextActionChange::Store(_) => "Store",
            NextActionChange::Wipe => "Wipe",
        })
    }
}

/// What a platform calls a stream of its own; no two have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniqueName {
    pub platform: PlatformId,
    pub merchant_order_id: Box<str>,
}

/// A row of a kind's own tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// The fixed part of a new order. Its unit has the order's name.
    Order(Box<OrderRow>),
    Payer(NamedPayer),
    Attempt(AttemptRow),
    Capture(CaptureRow),
    /// A refund that a platform asked for.
    Refund(Box<RefundRow>),
    RefundMoved {
        ordinal: RefundOrdinal,
        standing: RefundStanding,
    },
    /// An order has refunds that are stuck, since then at the latest.
    RefundsStuck {
        since: Instant,
    },
    /// It has none, whether it had or not.
    RefundsMove,
    PaidBy(LastChannel),
    /// A new platform.
    Platform(Box<StoredPlatform>),
    Key(AddedKey),
    KeyRevoked(RevokedKey),
    /// The platform gets shares from another one, from now on.
    SharesAccepted(ShareConsent),
    /// And no more.
    SharesRefused(ShareConsent),
    DebtBound(DebtBound),
    /// A cycle of a platform's is closed: its totals, and the sums that are kept no more.
    Settlement(Box<SettlementRow>),
    SettlementMoved(SettlementMoved),
    /// A payout as it is now.
    Payout(Box<PayoutRow>),
    /// Where somebody proposes that a payee be paid to.
    BankDetails(Box<BankDetailsRow>),
    BankDetailsInForce(BankDetailsInForce),
    /// A new operator.
    Operator(StoredOperator),
    RoleChanged(ChangedRole),
    OperatorKey(AddedOperatorKey),
    OperatorKeyRevoked(RevokedOperatorKey),
    /// A platform pays or gets a transfer of a netting run.
    NettingParty(NettingPartyRow),
    /// What a platform owed others of a cycle, and they it, is paid.
    Netted(NettedRow),
}

/// By what a platform's transfers are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NettingPartyRow {
    pub platform: PlatformId,
    pub cycle: CycleId,
    /// The transfer's, in the run.
    pub number: u32,
    pub made_at: Instant,
}

/// Beside the platform's settlement of the cycle, which its payee changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NettedRow {
    pub platform: PlatformId,
    pub cycle: CycleId,
    pub netted_at: Instant,
}

/// What a platform had of a closed cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlementRow {
    pub platform: PlatformId,
    pub cycle: CycleId,
    pub currency: Currency,
    /// Among the platform's in this currency, from 1.
    pub number: u32,
    pub starts_at: Instant,
    pub ends_at: Instant,
    pub closed_at: Instant,
    /// JSON.
    pub totals: Box<str>,
    pub state: SettlementState,
    /// The sums that its closing brought to zero.
    pub closed: Vec<ClosedSum>,
}

/// A sum of a closed cycle, by the lane that kept it: see [`Purse`](super::companions::Purse).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSum {
    pub lane: LaneId,
    pub account: Box<str>,
    pub heading: &'static str,
    pub counterparty: i64,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettlementMoved {
    pub platform: PlatformId,
    pub cycle: CycleId,
    pub state: SettlementState,
    /// The payout that it is in.
    pub payout: Option<u32>,
}

/// An operator as people know one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOperator {
    pub id: OperatorId,
    pub name: Box<str>,
    pub role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedRole {
    pub operator: OperatorId,
    pub role: Role,
}

/// A key of an operator's from now on. No two operators ever have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedOperatorKey {
    pub operator: OperatorId,
    pub key: operator::Key,
    pub created_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedOperatorKey {
    pub operator: OperatorId,
    pub hash: KeyHash,
    pub revoked_at: Instant,
}

/// A payout as it is kept beside its payee, to be found when the payee knows it no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutRow {
    pub payee: PayeeId,
    pub payout: Payout,
}

/// Where a payee is paid to, apart from everything else.
#[derive(Clone, PartialEq, Eq)]
pub struct BankDetailsRow {
    pub payee: PayeeId,
    pub number: u32,
    /// JSON.
    pub details: Box<str>,
    pub created_at: Instant,
}

/// Bank details that were approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BankDetailsInForce {
    pub payee: PayeeId,
    pub number: u32,
    pub in_force_at: Instant,
}

/// Without the details.
impl fmt::Debug for BankDetailsRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (payee, number) = (&self.payee, &self.number);
        f.debug_struct("BankDetailsRow").field("payee", payee).field("number", number).finish_non_exhaustive()
    }
}

/// What a platform may owe after refunds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebtBound {
    pub platform: PlatformId,
    pub currency: Currency,
    /// None: any debt.
    pub most_minor: Option<i64>,
}

/// That a platform gets shares from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareConsent {
    pub platform: PlatformId,
    pub from: PlatformId,
}

/// What never changes of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    pub platform: PlatformId,
    pub currency: Currency,
    pub amount_minor: i64,
    pub created_at: Instant,
    pub expires_at: Instant,
    pub request: Request,
}

/// Who pays from an attempt on: the attempts before it keep who they were opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPayer {
    pub ordinal: u8,
    pub payer: Arc<Payer>,
}

/// The request that a new attempt was opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    pub ordinal: u8,
    pub account: Account,
    pub payable_minor: i64,
    pub opened_at: Instant,
    /// The business fields of its request, frozen: JSON, and nothing personal in it.
    pub frozen: Box<str>,
}

/// Money that a channel says it took. No reference of an account is booked twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureRow {
    pub account: Account,
    pub reference: Box<str>,
    pub ordinal: u8,
    pub currency: Currency,
    pub amount_minor: i64,
    pub at: Instant,
    /// By the channel's clock and calendar.
    pub effective_at: Instant,
    pub bill_day: Day,
}

/// A refund as it is kept beside its order, to be found by what its platform calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRow {
    pub ordinal: RefundOrdinal,
    pub incarnation: Incarnation,
    pub platform: PlatformId,
    pub merchant_refund_id: Box<str>,
    pub currency: Currency,
    pub amount_minor: i64,
    /// The most that could have been asked for.
    pub refundable_minor: i64,
    /// What of the fee goes back.
    pub fee_minor: i64,
    pub fee_policy: FeePolicy,
    /// What each party gives, the seller first.
    pub parts: Box<[(PlatformId, i64)]>,
    pub reason: Option<Box<str>>,
    /// The account that pays it back.
    pub account: Account,
    pub created_at: Instant,
    pub standing: RefundStanding,
}

/// How far a refund has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundStanding {
    pub state: RefundState,
    pub attention: Option<Attention>,
    pub failure: Option<RefundFailure>,
    /// The channel's own name of it.
    pub reference: Option<Box<str>>,
    pub finished_at: Option<Instant>,
}

/// What a payer paid by last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastChannel {
    pub payer: PayerMark,
    pub channel: Channel,
    pub at: Instant,
}

/// A key that is in force from now on. No two platforms have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedKey {
    pub platform: PlatformId,
    pub key: Key,
    pub created_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedKey {
    pub platform: PlatformId,
    pub hash: KeyHash,
    pub revoked_at: Instant,
}

/// That a request under an `Idempotency-Key` was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub platform: PlatformId,
    pub key: Box<str>,
    /// SHA-256 of method, path and body.
    pub fingerprint: [u8; 32],
    /// The order that was asked.
    pub order: OrderId,
    pub at: Instant,
}

/// A message to another stream: it lies in the store from the sender's step until the receiver's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Among all that the sender ever sends; never used again.
    pub number: u32,
    pub to: StreamId,
    pub at: Instant,
    /// JSON.
    pub body: Box<[u8]>,
}

/// The message that a step takes, by its sender and number; the receiver journals both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenMessage {
    pub from: StreamId,
    pub number: u32,
}

/// When a stream is to be looked at next, unless it has moved meanwhile: then its step has said so. It also says that
/// this owner has it in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutOff {
    pub stream: StreamId,
    pub version: u32,
    pub next_due_at: Instant,
}
