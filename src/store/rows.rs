//! Rows as they are read, and what they mean. What cannot be read is [`StoreError::Corrupt`].

use std::fmt;
use std::sync::Arc;

use sqlx::FromRow;
use sqlx::types::Uuid;

use super::companions::{Calendars, LaneCut};
use super::{
    Balance, ChannelTotal, Claim, Count, DeadLetter, Due, Frozen, GivenAnswer, InboxReason, InboxRow, JournalRow,
    KeptAnswer, KeyRow, LaneBalance, LaneRow, LastChannel, MessageKey, OperatorAct, OperatorKeyRow, OrderTerms,
    OutboxItem, OutboxPlace, OutboxRow, Places, Service, StoreError, StoredEntry, StoredHead, StoredInboxRow,
    StoredLine, StoredMessage, StoredOperator, StoredOrder, StoredPlatform, SumOfLines,
};
use crate::domain::calendar::Schedule;
use crate::domain::channel::Channel;
use crate::domain::cycle::CalendarId;
use crate::domain::event::WebhookKind;
use crate::domain::id::{Account, Incarnation, OrderId, PlatformId};
use crate::domain::ledger::Heading;
use crate::domain::money::Currency;
use crate::domain::operator::{Key, OperatorId, Role};
use crate::domain::order::{FeeBearer, Order};
use crate::domain::partition::{LaneId, Partition};
use crate::domain::payer::{Payer, PayerMark};
use crate::domain::platform::KeyHash;
use crate::domain::request::{Asked, Request};
use crate::domain::stream::{Kind, StreamId};
use crate::domain::time::Instant;

/// A row that is read as a value.
pub trait Readable {
    type Value;
    fn read(self) -> Result<Self::Value, StoreError>;
}

/// All rows as values.
pub fn read_all<R: Readable>(rows: Vec<R>) -> Result<Vec<R::Value>, StoreError> {
    rows.into_iter().map(R::read).collect()
}

/// What was read, where it could be; what could not is counted and said.
pub fn passed_over<T>(table: &'static str, read: Result<T, StoreError>) -> Option<T> {
    read.inspect_err(|error| {
        metrics::counter!("tongbao_rows_passed_over_total", "table" => table).increment(1);
        tracing::error!(table, %error, "a stored row cannot be read and is passed over");
    })
    .ok()
}

pub fn unreadable(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a stored {what} cannot be read"))
}

pub fn narrow<T: TryFrom<i64>>(value: i64, what: &str) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| unreadable(what))
}

pub fn channel(name: &str) -> Result<Channel, StoreError> {
    Channel::parse(name).ok_or_else(|| unreadable("channel"))
}

pub fn order_id(key: Uuid) -> OrderId {
    OrderId::from_u128(key.as_u128())
}

/// The stream whose rows have this key.
pub fn stream(kind: i64, id: Uuid) -> Result<StreamId, StoreError> {
    Ok(StreamId { kind: Kind(narrow(kind, "kind of stream")?), id: id.as_u128() })
}

fn snapshot(text: &str, id: Uuid) -> Result<Order, StoreError> {
    serde_json::from_str(text)
        .map_err(|_| StoreError::Corrupt(format!("the stored order {} cannot be read", order_id(id))))
}

fn webhook_kind(name: &str) -> Result<WebhookKind, StoreError> {
    WebhookKind::parse(name).ok_or_else(|| unreadable("webhook kind"))
}

pub const fn fee_bearer_name(bearer: FeeBearer) -> &'static str {
    match bearer {
        FeeBearer::Payer => "payer",
        FeeBearer::Platform => "platform",
    }
}

#[derive(FromRow)]
pub struct LaneColumns {
    lane: i64,
    epoch: i64,
    beat: i64,
    group_number: i64,
    incarnation: i64,
    holder: String,
    at: i64,
    next_place: i64,
    retired: i64,
}

impl Readable for LaneColumns {
    type Value = LaneRow;
    fn read(self) -> Result<LaneRow, StoreError> {
        let corrupt = |what: &str| StoreError::Corrupt(format!("a lane's {what}"));
        let incarnation = u16::try_from(self.incarnation).ok().and_then(|value| Incarnation::try_from(value).ok());
        Ok(LaneRow {
            lane: LaneId(u32::try_from(self.lane).map_err(|_| corrupt("number"))?),
            epoch: self.epoch,
            beat: self.beat,
            group: self.group_number,
            incarnation: incarnation.ok_or_else(|| corrupt("incarnation"))?,
            holder: self.holder,
            at: Instant(self.at),
            next_place: self.next_place,
            service: if self.retired == 0 { Service::Active } else { Service::Retired },
        })
    }
}

#[derive(FromRow)]
pub struct PartitionColumns {
    number: i64,
    lane: i64,
}

impl Readable for PartitionColumns {
    type Value = (Partition, LaneId);
    fn read(self) -> Result<(Partition, LaneId), StoreError> {
        let partition = u16::try_from(self.number).ok().and_then(Partition::from_index);
        let lane = u32::try_from(self.lane).ok().map(LaneId);
        partition.zip(lane).ok_or_else(|| StoreError::Corrupt("a partition's lane".to_owned()))
    }
}

/// The error names the order: it is what an operator looks for.
fn asked(text: &str, id: Uuid) -> Result<Asked, StoreError> {
    Asked::read(text)
        .ok_or_else(|| StoreError::Corrupt(format!("the stored request of {} cannot be read", order_id(id))))
}

fn payer_of(text: &str, id: Uuid) -> Result<Arc<Payer>, StoreError> {
    let payer = Payer::read(text)
        .ok_or_else(|| StoreError::Corrupt(format!("the stored payer of {} cannot be read", order_id(id))))?;
    Ok(Arc::new(payer))
}

#[derive(FromRow)]
pub struct OrderColumns {
    id: Uuid,
    snapshot: String,
    next_action: Option<String>,
    next_due_at: Option<i64>,
    epoch: i64,
    payer: Option<String>,
    last_payer: Option<String>,
    merchant_order_id: String,
    request: String,
    order_webhook_url: Option<String>,
}

impl OrderColumns {
    /// The same from a row of SQLite's that was read directly.
    pub fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(OrderColumns {
            id: Uuid::from_bytes(row.get("id")?),
            snapshot: row.get("snapshot")?,
            next_action: row.get("next_action")?,
            next_due_at: row.get("next_due_at")?,
            epoch: row.get("epoch")?,
            payer: row.get("payer")?,
            last_payer: row.get("last_payer")?,
            merchant_order_id: row.get("merchant_order_id")?,
            request: row.get("request")?,
            order_webhook_url: row.get("order_webhook_url")?,
        })
    }
}

impl Readable for OrderColumns {
    type Value = StoredOrder;
    fn read(self) -> Result<StoredOrder, StoreError> {
        let first = self.payer.as_deref().map(|payer| payer_of(payer, self.id)).transpose()?;
        // Mostly nobody else was named since.
        let last = match self.last_payer.as_deref() {
            last if last == self.payer.as_deref() => first.clone(),
            last => last.map(|payer| payer_of(payer, self.id)).transpose()?,
        };
        Ok(StoredOrder {
            order: snapshot(&self.snapshot, self.id)?,
            request: Request {
                merchant_order_id: self.merchant_order_id.into(),
                webhook_url: self.order_webhook_url.map(Into::into),
                asked: asked(&self.request, self.id)?,
                payer: first,
            },
            payer: last,
            next_action: self.next_action.map(Into::into),
            next_due_at: self.next_due_at.map(Instant),
            epoch: self.epoch,
        })
    }
}

#[derive(Debug, FromRow)]
pub struct OrderTermsColumns {
    platform_id: i64,
    currency: String,
    amount_minor: i64,
    debt_bound_minor: Option<i64>,
}

impl OrderTermsColumns {
    /// The same from a row of SQLite's that was read directly.
    pub fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(OrderTermsColumns {
            platform_id: row.get("platform_id")?,
            currency: row.get("currency")?,
            amount_minor: row.get("amount_minor")?,
            debt_bound_minor: row.get("debt_bound_minor")?,
        })
    }
}

impl Readable for OrderTermsColumns {
    type Value = OrderTerms;
    fn read(self) -> Result<OrderTerms, StoreError> {
        Ok(OrderTerms {
            platform: PlatformId(narrow(self.platform_id, "platform number")?),
            currency: Currency::parse(&self.currency).ok_or_else(|| unreadable("currency"))?,
            amount_minor: self.amount_minor,
            debt_bound_minor: self.debt_bound_minor,
        })
    }
}

#[derive(Debug, FromRow)]
pub struct SnapshotColumns {
    id: Uuid,
    snapshot: String,
}

impl Readable for SnapshotColumns {
    type Value = Order;
    fn read(self) -> Result<Order, StoreError> {
        snapshot(&self.snapshot, self.id)
    }
}

/// An order with a refund that is stuck.
#[derive(Debug, FromRow)]
pub struct StuckColumns {
    since: i64,
    #[sqlx(flatten)]
    order: SnapshotColumns,
}

impl Readable for StuckColumns {
    type Value = (Instant, Order);
    fn read(self) -> Result<(Instant, Order), StoreError> {
        Ok((Instant(self.since), self.order.read()?))
    }
}

/// A platform by its name.
#[derive(Debug, FromRow)]
pub struct NamedPlatformColumns {
    platform_id: i64,
    name: String,
}

impl Readable for NamedPlatformColumns {
    type Value = (String, PlatformId);
    fn read(self) -> Result<(String, PlatformId), StoreError> {
        Ok((self.name, PlatformId(narrow(self.platform_id, "platform number")?)))
    }
}

#[derive(Debug, FromRow)]
pub struct JournalColumns {
    kind: i64,
    id: Uuid,
    version: i64,
    at: i64,
    body: Vec<u8>,
    lane: i64,
    place: i64,
}

impl Readable for JournalColumns {
    type Value = JournalRow;
    fn read(self) -> Result<JournalRow, StoreError> {
        Ok(JournalRow {
            stream: stream(self.kind, self.id)?,
            version: narrow(self.version, "version")?,
            at: Instant(self.at),
            body: self.body,
            lane: LaneId(narrow(self.lane, "lane")?),
            place: self.place,
        })
    }
}

#[derive(Debug, FromRow)]
pub struct DueColumns {
    next_due_at: i64,
    kind: i64,
    id: Uuid,
}

impl Readable for DueColumns {
    type Value = Due;
    fn read(self) -> Result<Due, StoreError> {
        Ok(Due { due_at: Instant(self.next_due_at), stream: stream(self.kind, self.id)? })
    }
}

#[derive(FromRow)]
pub struct HeadColumns {
    version: i64,
    epoch: i64,
    state: String,
    facet: Option<String>,
    next_due_at: Option<i64>,
    next_action: Option<String>,
    snapshot: String,
}

impl Readable for HeadColumns {
    type Value = StoredHead;
    fn read(self) -> Result<StoredHead, StoreError> {
        Ok(StoredHead {
            version: narrow(self.version, "version")?,
            epoch: self.epoch,
            state: self.state.into(),
            facet: self.facet.map(Into::into),
            next_due_at: self.next_due_at.map(Instant),
            next_action: self.next_action.map(Into::into),
            snapshot: self.snapshot.into(),
        })
    }
}

#[derive(FromRow)]
pub struct HeadSnapshotColumns {
    kind: i64,
    id: Uuid,
    snapshot: String,
}

impl Readable for HeadSnapshotColumns {
    type Value = (StreamId, Box<str>);
    fn read(self) -> Result<(StreamId, Box<str>), StoreError> {
        Ok((stream(self.kind, self.id)?, self.snapshot.into()))
    }
}

/// What messages are found by.
#[derive(Debug, FromRow)]
pub struct MessageKeyColumns {
    to_kind: i64,
    to_id: Uuid,
    from_kind: i64,
    from_id: Uuid,
    number: i64,
}

impl Readable for MessageKeyColumns {
    type Value = MessageKey;
    fn read(self) -> Result<MessageKey, StoreError> {
        Ok(MessageKey {
            to: stream(self.to_kind, self.to_id)?,
            from: stream(self.from_kind, self.from_id)?,
            number: narrow(self.number, "number of a message")?,
        })
    }
}

#[derive(Debug, FromRow)]
pub struct MessageColumns {
    #[sqlx(flatten)]
    key: MessageKeyColumns,
    at: i64,
    body: Vec<u8>,
}

impl Readable for MessageColumns {
    type Value = StoredMessage;
    fn read(self) -> Result<StoredMessage, StoreError> {
        Ok(StoredMessage { key: self.key.read()?, at: Instant(self.at), body: self.body.into() })
    }
}

#[derive(Debug, FromRow)]
pub struct OrderIdColumn(Uuid);

impl Readable for OrderIdColumn {
    type Value = OrderId;
    fn read(self) -> Result<OrderId, StoreError> {
        Ok(order_id(self.0))
    }
}

/// What rows of orders are found by.
#[derive(Debug, FromRow)]
pub struct IdColumn {
    id: Uuid,
}

impl Readable for IdColumn {
    type Value = OrderId;
    fn read(self) -> Result<OrderId, StoreError> {
        Ok(order_id(self.id))
    }
}

#[derive(Debug, FromRow)]
pub struct InboxKey {
    id: i64,
}

impl Readable for InboxKey {
    type Value = i64;
    fn read(self) -> Result<i64, StoreError> {
        Ok(self.id)
    }
}

#[derive(Debug, FromRow)]
pub struct InboxColumns {
    id: i64,
    reason: String,
    channel: String,
    account: String,
    number: String,
    order_id: Option<Uuid>,
    body: Vec<u8>,
    raw: Vec<u8>,
    digest: Vec<u8>,
    at: i64,
}

impl Readable for InboxColumns {
    type Value = StoredInboxRow;
    fn read(self) -> Result<StoredInboxRow, StoreError> {
        let row = InboxRow {
            reason: InboxReason::parse(&self.reason).ok_or_else(|| unreadable("inbox reason"))?,
            account: Account::new(channel(&self.channel)?, &self.account),
            number: self.number.into(),
            order: self.order_id.map(order_id),
            body: self.body,
            raw: self.raw,
            digest: self.digest.try_into().map_err(|_| unreadable("digest"))?,
            at: Instant(self.at),
        };
        Ok(StoredInboxRow { id: self.id, row })
    }
}

#[derive(Debug, FromRow)]
pub struct AnswerColumns {
    platform_id: i64,
    key: String,
    fingerprint: Vec<u8>,
    order_id: Uuid,
    status: Option<i64>,
    body: Option<String>,
    at: i64,
}

impl Readable for AnswerColumns {
    type Value = KeptAnswer;
    fn read(self) -> Result<KeptAnswer, StoreError> {
        let claim = Claim {
            platform: PlatformId(narrow(self.platform_id, "platform number")?),
            key: self.key.into(),
            fingerprint: self.fingerprint.try_into().map_err(|_| unreadable("fingerprint"))?,
            order: order_id(self.order_id),
            at: Instant(self.at),
        };
        let given = match (self.status, self.body) {
            (Some(status), Some(body)) => Some(GivenAnswer { status: narrow(status, "status")?, body: body.into() }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(unreadable("kept answer")),
        };
        Ok(KeptAnswer { claim, given })
    }
}

#[derive(Debug, FromRow)]
pub struct PlatformColumns {
    platform_id: i64,
    name: String,
    fee_bearer: String,
    webhook_secret: String,
    webhook_url: Option<String>,
}

impl PlatformColumns {
    /// The same from a row of SQLite's that was read directly.
    pub fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(PlatformColumns {
            platform_id: row.get("platform_id")?,
            name: row.get("name")?,
            fee_bearer: row.get("fee_bearer")?,
            webhook_secret: row.get("webhook_secret")?,
            webhook_url: row.get("webhook_url")?,
        })
    }
}

impl Readable for PlatformColumns {
    type Value = StoredPlatform;
    fn read(self) -> Result<StoredPlatform, StoreError> {
        let fee_bearer = match self.fee_bearer.as_str() {
            "payer" => FeeBearer::Payer,
            "platform" => FeeBearer::Platform,
            _ => return Err(unreadable("fee bearer")),
        };
        Ok(StoredPlatform {
            id: PlatformId(narrow(self.platform_id, "platform number")?),
            name: self.name,
            fee_bearer,
            webhook_secret: self.webhook_secret,
            webhook_url: self.webhook_url,
        })
    }
}

#[derive(Debug, FromRow)]
pub struct PlatformKey {
    platform_id: i64,
}

impl Readable for PlatformKey {
    type Value = PlatformId;
    fn read(self) -> Result<PlatformId, StoreError> {
        Ok(PlatformId(narrow(self.platform_id, "platform number")?))
    }
}

#[derive(Debug, FromRow)]
pub struct ConsentColumns {
    platform_id: i64,
    from_id: i64,
}

impl Readable for ConsentColumns {
    type Value = (PlatformId, PlatformId);
    fn read(self) -> Result<(PlatformId, PlatformId), StoreError> {
        let platform = |number| narrow(number, "platform number").map(PlatformId);
        Ok((platform(self.platform_id)?, platform(self.from_id)?))
    }
}

#[derive(Debug, FromRow)]
pub struct KeyColumns {
    platform_id: i64,
    hash: Vec<u8>,
    hint: String,
    created_at: i64,
    revoked_at: Option<i64>,
}

impl Readable for KeyColumns {
    type Value = KeyRow;
    fn read(self) -> Result<KeyRow, StoreError> {
        Ok(KeyRow {
            platform: PlatformId(narrow(self.platform_id, "platform number")?),
            hash: KeyHash(self.hash.try_into().map_err(|_| unreadable("key"))?),
            hint: self.hint,
            created_at: Instant(self.created_at),
            revoked_at: self.revoked_at.map(Instant),
        })
    }
}

#[derive(Debug, FromRow)]
pub struct OperatorColumns {
    operator_id: i64,
    name: String,
    role: String,
}

impl Readable for OperatorColumns {
    type Value = StoredOperator;
    fn read(self) -> Result<StoredOperator, StoreError> {
        Ok(StoredOperator {
            id: OperatorId(narrow(self.operator_id, "operator's number")?),
            name: self.name.into(),
            role: Role::parse(&self.role).ok_or_else(|| unreadable("role"))?,
        })
    }
}

#[derive(Debug, FromRow)]
pub struct OperatorNumber {
    operator_id: i64,
}

impl Readable for OperatorNumber {
    type Value = OperatorId;
    fn read(self) -> Result<OperatorId, StoreError> {
        Ok(OperatorId(narrow(self.operator_id, "operator's number")?))
    }
}

#[derive(Debug, FromRow)]
pub struct OperatorKeyColumns {
    operator_id: i64,
    hash: Vec<u8>,
    hint: String,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl Readable for OperatorKeyColumns {
    type Value = OperatorKeyRow;
    fn read(self) -> Result<OperatorKeyRow, StoreError> {
        Ok(OperatorKeyRow {
            operator: OperatorId(narrow(self.operator_id, "operator's number")?),
            key: Key {
                expires_at: self.expires_at.map(Instant),
                hash: KeyHash(self.hash.try_into().map_err(|_| unreadable("key"))?),
                hint: self.hint.into(),
            },
            created_at: Instant(self.created_at),
            revoked_at: self.revoked_at.map(Instant),
        })
    }
}

/// Whose key it is, and the key.
#[derive(Debug, FromRow)]
pub struct KeyedOperatorColumns {
    #[sqlx(flatten)]
    operator: OperatorColumns,
    #[sqlx(flatten)]
    key: OperatorKeyColumnsOfOne,
}

#[derive(Debug, FromRow)]
pub struct OperatorKeyColumnsOfOne {
    hash: Vec<u8>,
    hint: String,
    expires_at: Option<i64>,
}

impl Readable for KeyedOperatorColumns {
    type Value = (StoredOperator, Key);
    fn read(self) -> Result<(StoredOperator, Key), StoreError> {
        let OperatorKeyColumnsOfOne { hash, hint, expires_at } = self.key;
        let hash = KeyHash(hash.try_into().map_err(|_| unreadable("key"))?);
        Ok((self.operator.read()?, Key { expires_at: expires_at.map(Instant), hash, hint: hint.into() }))
    }
}

#[derive(Debug, FromRow)]
pub struct OperatorActColumns {
    id: Uuid,
    at: i64,
    operator: String,
    act: String,
    subject: String,
    outcome: String,
}

impl Readable for OperatorActColumns {
    type Value = OperatorAct;
    fn read(self) -> Result<OperatorAct, StoreError> {
        Ok(OperatorAct {
            id: self.id.as_u128(),
            at: Instant(self.at),
            operator: self.operator.into(),
            act: self.act.into(),
            subject: self.subject.into(),
            outcome: self.outcome.into(),
        })
    }
}

#[derive(Debug, FromRow)]
pub struct OutboxKey {
    next_at: i64,
    kind: i64,
    id: Uuid,
    sequence: i64,
}

impl Readable for OutboxKey {
    type Value = OutboxPlace;
    fn read(self) -> Result<OutboxPlace, StoreError> {
        Ok((Instant(self.next_at), stream(self.kind, self.id)?, narrow(self.sequence, "sequence")?))
    }
}

#[derive(FromRow)]
pub struct OutboxColumns {
    kind: i64,
    id: Uuid,
    sequence: i64,
    webhook_kind: String,
    at: i64,
    tries: i64,
    next_at: i64,
    platform_id: i64,
    url: String,
    trace: Vec<u8>,
    body: Vec<u8>,
    /// None where the platform is not there.
    webhook_secret: Option<String>,
}

impl Readable for OutboxColumns {
    type Value = OutboxItem;
    fn read(self) -> Result<OutboxItem, StoreError> {
        Ok(OutboxItem {
            stream: stream(self.kind, self.id)?,
            row: OutboxRow {
                kind: webhook_kind(&self.webhook_kind)?,
                sequence: narrow(self.sequence, "sequence")?,
                at: Instant(self.at),
                platform: PlatformId(narrow(self.platform_id, "platform number")?),
                url: self.url.into(),
                trace: u128::from_be_bytes(self.trace.try_into().map_err(|_| unreadable("trace"))?),
                body: self.body.into(),
            },
            tries: narrow(self.tries, "number of tries")?,
            next_at: Instant(self.next_at),
            secret: self.webhook_secret.ok_or_else(|| unreadable("webhook's platform"))?.into(),
        })
    }
}

#[derive(Debug, FromRow)]
pub struct DeadLetterKey {
    kind: i64,
    id: Uuid,
    sequence: i64,
}

impl Readable for DeadLetterKey {
    type Value = (StreamId, u32);
    fn read(self) -> Result<(StreamId, u32), StoreError> {
        Ok((stream(self.kind, self.id)?, narrow(self.sequence, "sequence")?))
    }
}

#[derive(Debug, FromRow)]
pub struct DeadLetterColumns {
    kind: i64,
    id: Uuid,
    sequence: i64,
    webhook_kind: String,
    at: i64,
    tries: i64,
    why: String,
}

impl Readable for DeadLetterColumns {
    type Value = DeadLetter;
    fn read(self) -> Result<DeadLetter, StoreError> {
        Ok(DeadLetter {
            stream: stream(self.kind, self.id)?,
            sequence: narrow(self.sequence, "sequence")?,
            kind: webhook_kind(&self.webhook_kind)?,
            at: Instant(self.at),
            tries: narrow(self.tries, "number of tries")?,
            why: self.why,
        })
    }
}

#[derive(Debug, FromRow)]
pub struct LineColumns {
    version: i64,
    entry: i64,
    entry_kind: String,
    account: String,
    currency: String,
    amount_minor: i64,
    effective_at: i64,
    bill_day: i64,
    transaction_kind: Option<String>,
    counterparty: Option<i64>,
    refund: Option<i64>,
}

/// Lines as the entries that they make, by version and number.
pub fn entries(lines: Vec<LineColumns>) -> Vec<StoredEntry> {
    let mut entries: Vec<StoredEntry> = Vec::new();
    let mut last = None;
    for line in lines {
        let place = (line.version, line.entry);
        if last.replace(place) != Some(place) {
            entries.push(StoredEntry {
                kind: line.entry_kind,
                currency: line.currency,
                effective_at: Instant(line.effective_at),
                bill_day: line.bill_day,
                refund: line.refund,
                lines: Vec::new(),
            });
        }
        if let Some(entry) = entries.last_mut() {
            entry.lines.push(StoredLine {
                account: line.account,
                amount_minor: line.amount_minor,
                transaction_kind: line.transaction_kind,
                counterparty: line.counterparty,
            });
        }
    }
    entries
}

/// The heading of a sum, or nothing where it has none that we know.
pub fn heading_name(name: &str) -> &'static str {
    Heading::parse(name).map_or("", Heading::name)
}

/// How a lane cut a calendar last.
#[derive(FromRow)]
pub struct StoredCut {
    pub calendar: i64,
    pub number: i64,
    pub ends_at: i64,
    pub schedule: String,
}

impl StoredCut {
    pub fn read_into(self, calendars: &mut Calendars) -> Result<(), StoreError> {
        let corrupt = || StoreError::Corrupt(format!("a cut of the calendar {} cannot be read", self.calendar));
        let calendar = u32::try_from(self.calendar).map(CalendarId).map_err(|_| corrupt())?;
        let number = u32::try_from(self.number).map_err(|_| corrupt())?;
        let schedule = Schedule::parse(&self.schedule).map_err(|_| corrupt())?;
        calendars.cuts.insert(calendar, LaneCut { number, ends_at: Instant(self.ends_at), schedule });
        Ok(())
    }
}

/// Which calendar a platform has that is not its currency's own.
#[derive(FromRow)]
pub struct StoredMember {
    pub platform_id: i64,
    pub currency: String,
    pub calendar: i64,
}

impl StoredMember {
    pub fn read_into(self, calendars: &mut Calendars) -> Result<(), StoreError> {
        let corrupt = || StoreError::Corrupt(format!("the calendar of platform {} cannot be read", self.platform_id));
        let platform = u32::try_from(self.platform_id).map(PlatformId).map_err(|_| corrupt())?;
        let currency = Currency::parse(&self.currency).ok_or_else(corrupt)?;
        let calendar = u32::try_from(self.calendar).map(CalendarId).map_err(|_| corrupt())?;
        calendars.members.insert((platform, currency), calendar);
        Ok(())
    }
}

/// # Errors
/// [`StoreError::Corrupt`] for what is no version.
pub fn lane_version(version: i64) -> Result<u32, StoreError> {
    u32::try_from(version).map_err(|_| StoreError::Corrupt(format!("a lane is at version {version}")))
}

#[derive(FromRow)]
pub struct FrozenColumns {
    frozen: String,
    payer: Option<String>,
}

/// Without the payer, who belongs in no log.
impl fmt::Debug for FrozenColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrozenColumns").field("frozen", &self.frozen).finish_non_exhaustive()
    }
}

impl FrozenColumns {
    /// The same from a row of SQLite's that was read directly.
    pub fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(FrozenColumns { frozen: row.get("frozen")?, payer: row.get("payer")? })
    }
}

impl Readable for FrozenColumns {
    type Value = Frozen;
    fn read(self) -> Result<Frozen, StoreError> {
        let payer = self.payer.map(|payer| Payer::read(&payer).ok_or_else(|| unreadable("payer"))).transpose()?;
        Ok(Frozen { request: self.frozen.into(), payer })
    }
}

#[derive(Debug, FromRow)]
pub struct TextColumn(String);

impl Readable for TextColumn {
    type Value = Box<str>;
    fn read(self) -> Result<Box<str>, StoreError> {
        Ok(self.0.into())
    }
}

#[derive(Debug, FromRow)]
pub struct NumberColumn(i64);

impl Readable for NumberColumn {
    type Value = i64;
    fn read(self) -> Result<i64, StoreError> {
        Ok(self.0)
    }
}

/// Rows that are values as they stand.
macro_rules! plain {
    ($($value:ty),*) => {$(
        impl Readable for $value {
            type Value = Self;
            fn read(self) -> Result<Self, StoreError> {
                Ok(self)
            }
        }
    )*};
}

plain!(Balance, ChannelTotal, Count, LaneBalance, Places, SumOfLines);

#[derive(Debug, FromRow)]
pub struct LastChannelColumns {
    payer: Vec<u8>,
    channel: String,
    at: i64,
}

impl Readable for LastChannelColumns {
    type Value = LastChannel;
    fn read(self) -> Result<LastChannel, StoreError> {
        Ok(LastChannel {
            payer: PayerMark(self.payer.try_into().map_err(|_| unreadable("payer"))?),
            channel: channel(&self.channel)?,
            at: Instant(self.at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYER: &str = r#"{"form":1,"id":"hidden7Q","ip":null,"openid":null}"#;

    #[test]
    fn a_payer_is_not_shown_by_debug() {
        let columns = FrozenColumns { frozen: "{\"a\":1}".into(), payer: Some(PAYER.into()) };
        let mut shown = format!("{columns:?} {columns:#?}");
        let frozen = columns.read().unwrap();
        assert!(frozen.payer.as_ref().is_some_and(|payer| payer.id == "hidden7Q"));
        shown += &format!("{frozen:?} {frozen:#?}");
        assert!(!shown.contains("hidden7Q"), "{shown}");
        assert_eq!(shown.matches("a\\\":1").count(), 4, "{shown}");
    }
}
