//! Balance transactions: a platform's lines of the ledger, as it sees them.

use std::ops::Range;

use sqlx::FromRow;
use sqlx::types::Uuid;

use super::StoreError;
use super::rows::{Readable, narrow, stream, unreadable};
use crate::domain::cycle::CycleId;
use crate::domain::id::{OrderId, PlatformId, RefundId, RefundOrdinal};
use crate::domain::ledger::{LedgerAccount, TransactionKind};
use crate::domain::money::Currency;
use crate::domain::partition::LaneId;
use crate::domain::stream::StreamId;
use crate::domain::time::Instant;

/// Which line of the ledger it is: of which stream and step, of which entry there, and its number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineKey {
    pub stream: StreamId,
    pub version: u32,
    pub entry: u32,
    pub line: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTransaction {
    pub key: LineKey,
    pub kind: TransactionKind,
    pub account: LedgerAccount,
    /// As it is booked: what is owed to us is positive.
    pub amount_minor: i64,
    pub currency: Currency,
    pub refund: Option<RefundId>,
    /// The other platform, and its name.
    pub counterparty_id: Option<PlatformId>,
    pub counterparty: Option<String>,
    /// None where it is settled by no cycle.
    pub cycle: Option<CycleId>,
    pub at: Instant,
    pub effective_at: Instant,
}

/// Where a transaction stands among those of its platform.
pub type TransactionPlace = (Instant, LineKey);

/// Which transactions of a platform a list wants, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionFilter {
    pub platform: PlatformId,
    pub kind: Option<TransactionKind>,
    pub order: Option<OrderId>,
    pub refund: Option<RefundId>,
    pub cycle: Option<CycleId>,
    pub created_after: Option<Instant>,
    pub created_before: Option<Instant>,
    /// Only transactions that stand before: the last one of the page before.
    pub before: Option<TransactionPlace>,
    pub limit: u32,
}

/// A page of a platform's lines of one type, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementFilter {
    pub platform: PlatformId,
    pub kind: TransactionKind,
    /// From this instant on, as long as no page was read.
    pub from: Instant,
    pub until: Instant,
    /// The last one of the page before.
    pub after: Option<TransactionPlace>,
    pub limit: u32,
}

#[derive(Debug, FromRow)]
pub struct LineKeyColumns {
    at: i64,
    kind: i64,
    id: Uuid,
    version: i64,
    entry: i64,
    line: i64,
}

impl LineKeyColumns {
    fn key(&self) -> Result<LineKey, StoreError> {
        Ok(LineKey {
            stream: stream(self.kind, self.id)?,
            version: narrow(self.version, "version")?,
            entry: narrow(self.entry, "entry")?,
            line: narrow(self.line, "line")?,
        })
    }
}

impl Readable for LineKeyColumns {
    type Value = TransactionPlace;
    fn read(self) -> Result<TransactionPlace, StoreError> {
        Ok((Instant(self.at), self.key()?))
    }
}

#[derive(Debug, FromRow)]
pub struct TransactionColumns {
    #[sqlx(flatten)]
    key: LineKeyColumns,
    transaction_kind: String,
    account: String,
    amount_minor: i64,
    currency: String,
    refund: Option<i64>,
    incarnation: Option<i64>,
    counterparty: Option<i64>,
    counterparty_name: Option<String>,
    effective_at: i64,
    cycle: i64,
}

impl Readable for TransactionColumns {
    type Value = StoredTransaction;
    fn read(self) -> Result<StoredTransaction, StoreError> {
        let key = self.key.key()?;
        let refund = match (self.refund, self.incarnation, key.stream.order()) {
            (Some(ordinal), Some(incarnation), Some(order)) => {
                let ordinal = RefundOrdinal::try_from(narrow::<u8>(ordinal, "refund")?);
                let incarnation = narrow::<u16>(incarnation, "incarnation")?.try_into();
                let unreadable = |_| unreadable("refund");
                let (ordinal, incarnation) = (ordinal.map_err(unreadable)?, incarnation.map_err(unreadable)?);
                Some(RefundId { order, ordinal, incarnation })
            }
            (_, _, _) => None,
        };
        let counterparty = self.counterparty.map(|number| narrow(number, "platform number")).transpose()?;
        let cycle = match self.cycle {
            0 => None,
            number => Some(CycleId::from_number(number).ok_or_else(|| unreadable("cycle"))?),
        };
        Ok(StoredTransaction {
            at: Instant(self.key.at),
            key,
            kind: TransactionKind::parse(&self.transaction_kind).ok_or_else(|| unreadable("kind of transaction"))?,
            account: LedgerAccount::parse(&self.account).ok_or_else(|| unreadable("ledger account"))?,
            amount_minor: self.amount_minor,
            currency: Currency::parse(&self.currency).ok_or_else(|| unreadable("currency"))?,
            refund,
            counterparty_id: counterparty.map(PlatformId),
            counterparty: self.counterparty_name,
            cycle,
            effective_at: Instant(self.effective_at),
        })
    }
}

/// A line of the ledger, as an account's lines are looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerLine {
    pub stream: StreamId,
    pub version: u32,
    pub entry_kind: String,
    pub transaction_kind: Option<String>,
    pub counterparty: Option<PlatformId>,
    pub currency: String,
    pub amount_minor: i64,
    pub at: Instant,
    pub effective_at: Instant,
    /// As 20261130.
    pub bill_day: i64,
}

#[derive(Debug, FromRow)]
pub struct LedgerLineColumns {
    kind: i64,
    id: Uuid,
    version: i64,
    entry_kind: String,
    transaction_kind: Option<String>,
    counterparty: Option<i64>,
    currency: String,
    amount_minor: i64,
    at: i64,
    effective_at: i64,
    bill_day: i64,
}

impl Readable for LedgerLineColumns {
    type Value = LedgerLine;
    fn read(self) -> Result<LedgerLine, StoreError> {
        let counterparty = self.counterparty.map(|number| narrow(number, "platform number")).transpose()?;
        Ok(LedgerLine {
            stream: stream(self.kind, self.id)?,
            version: narrow(self.version, "version")?,
            entry_kind: self.entry_kind,
            transaction_kind: self.transaction_kind,
            counterparty: counterparty.map(PlatformId),
            currency: self.currency,
            amount_minor: self.amount_minor,
            at: Instant(self.at),
            effective_at: Instant(self.effective_at),
            bill_day: self.bill_day,
        })
    }
}

/// Which lines of a lane are wanted: those at these places that were booked from an instant on and before another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedSpan {
    pub lane: LaneId,
    pub places: Range<i64>,
    pub from: Instant,
    pub until: Instant,
}

/// A line of the ledger, with where it was booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedLine {
    pub key: LineKey,
    pub lane: i64,
    pub place: i64,
    pub entry_kind: String,
    pub account: String,
    pub currency: String,
    pub amount_minor: i64,
    pub transaction_kind: Option<String>,
    pub counterparty: Option<PlatformId>,
    /// See [`CycleId::from_number`]; 0 where it is settled by no cycle.
    pub cycle: i64,
    pub at: Instant,
    pub effective_at: Instant,
    /// As 20261130.
    pub bill_day: i64,
}

#[derive(Debug, FromRow)]
pub struct BookedLineColumns {
    #[sqlx(flatten)]
    key: LineKeyColumns,
    lane: i64,
    place: i64,
    entry_kind: String,
    account: String,
    currency: String,
    amount_minor: i64,
    transaction_kind: Option<String>,
    counterparty: Option<i64>,
    cycle: i64,
    effective_at: i64,
    bill_day: i64,
}

impl Readable for BookedLineColumns {
    type Value = BookedLine;
    fn read(self) -> Result<BookedLine, StoreError> {
        let counterparty = self.counterparty.map(|number| narrow(number, "platform number")).transpose()?;
        Ok(BookedLine {
            key: self.key.key()?,
            lane: self.lane,
            place: self.place,
            entry_kind: self.entry_kind,
            account: self.account,
            currency: self.currency,
            amount_minor: self.amount_minor,
            transaction_kind: self.transaction_kind,
            counterparty: counterparty.map(PlatformId),
            cycle: self.cycle,
            at: Instant(self.key.at),
            effective_at: Instant(self.effective_at),
            bill_day: self.bill_day,
        })
    }
}
