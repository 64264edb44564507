//! Refunds that platforms asked for, as they are found beside their orders.

use sqlx::FromRow;
use sqlx::types::Uuid;

use super::StoreError;
use super::rows::{Readable, channel, narrow, order_id, unreadable};
use super::unit::{RefundRow, RefundStanding};
use crate::domain::id::{Account, Incarnation, OrderId, PlatformId, RefundId, RefundOrdinal};
use crate::domain::money::Currency;
use crate::domain::refund::{Attention, FeePolicy, RefundFailure, RefundState};
use crate::domain::time::Instant;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRefund {
    pub order: OrderId,
    pub row: RefundRow,
}

impl StoredRefund {
    pub fn id(&self) -> RefundId {
        RefundId { order: self.order, ordinal: self.row.ordinal, incarnation: self.row.incarnation }
    }

    /// Where it stands in lists.
    pub fn place(&self) -> RefundPlace {
        (self.row.created_at, self.order, self.row.ordinal)
    }
}

/// Where a refund stands among those of its platform: when it was created, of which order, and its ordinal there.
pub type RefundPlace = (Instant, OrderId, RefundOrdinal);

/// Which refunds of a platform a list wants, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundFilter {
    pub platform: PlatformId,
    pub merchant_refund_id: Option<String>,
    pub order: Option<OrderId>,
    pub state: Option<RefundState>,
    pub created_after: Option<Instant>,
    pub created_before: Option<Instant>,
    /// Only refunds that stand before: the last one of the page before.
    pub before: Option<RefundPlace>,
    pub limit: u32,
}

#[derive(Debug, FromRow)]
pub struct RefundKeyColumns {
    created_at: i64,
    order_id: Uuid,
    ordinal: i64,
}

impl Readable for RefundKeyColumns {
    type Value = RefundPlace;
    fn read(self) -> Result<RefundPlace, StoreError> {
        Ok((Instant(self.created_at), order_id(self.order_id), ordinal(self.ordinal)?))
    }
}

fn ordinal(value: i64) -> Result<RefundOrdinal, StoreError> {
    RefundOrdinal::try_from(narrow::<u8>(value, "refund")?).map_err(|_| unreadable("refund"))
}

/// An account by which refunds are owed.
#[derive(Debug, FromRow)]
pub struct AccountColumns {
    channel: String,
    account: String,
}

impl Readable for AccountColumns {
    type Value = Account;
    fn read(self) -> Result<Account, StoreError> {
        Ok(Account::new(channel(&self.channel)?, &self.account))
    }
}

#[derive(Debug, FromRow)]
pub struct RefundColumns {
    order_id: Uuid,
    ordinal: i64,
    incarnation: i64,
    platform_id: i64,
    merchant_refund_id: String,
    currency: String,
    amount_minor: i64,
    refundable_minor: i64,
    fee_minor: i64,
    fee_policy: String,
    parts: String,
    reason: Option<String>,
    channel: String,
    account: String,
    created_at: i64,
    state: String,
    attention: Option<String>,
    failure: Option<String>,
    reference: Option<String>,
    finished_at: Option<i64>,
}

impl RefundColumns {
    /// The same from a row of SQLite's that was read directly.
    pub fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(RefundColumns {
            order_id: Uuid::from_bytes(row.get("order_id")?),
            ordinal: row.get("ordinal")?,
            incarnation: row.get("incarnation")?,
            platform_id: row.get("platform_id")?,
            merchant_refund_id: row.get("merchant_refund_id")?,
            currency: row.get("currency")?,
            amount_minor: row.get("amount_minor")?,
            refundable_minor: row.get("refundable_minor")?,
            fee_minor: row.get("fee_minor")?,
            fee_policy: row.get("fee_policy")?,
            parts: row.get("parts")?,
            reason: row.get("reason")?,
            channel: row.get("channel")?,
            account: row.get("account")?,
            created_at: row.get("created_at")?,
            state: row.get("state")?,
            attention: row.get("attention")?,
            failure: row.get("failure")?,
            reference: row.get("reference")?,
            finished_at: row.get("finished_at")?,
        })
    }
}

impl Readable for RefundColumns {
    type Value = StoredRefund;
    fn read(self) -> Result<StoredRefund, StoreError> {
        let incarnation = Incarnation::try_from(narrow::<u16>(self.incarnation, "incarnation")?);
        let parts: Vec<(u32, i64)> = serde_json::from_str(&self.parts).map_err(|_| unreadable("refund's parts"))?;
        let attention = self.attention.map(|name| Attention::parse(&name).ok_or_else(|| unreadable("attention")));
        let failure = self.failure.map(|name| RefundFailure::parse(&name).ok_or_else(|| unreadable("failure")));
        let standing = RefundStanding {
            state: RefundState::parse(&self.state).ok_or_else(|| unreadable("refund's state"))?,
            attention: attention.transpose()?,
            failure: failure.transpose()?,
            reference: self.reference.map(Into::into),
            finished_at: self.finished_at.map(Instant),
        };
        Ok(StoredRefund {
            order: order_id(self.order_id),
            row: RefundRow {
                ordinal: ordinal(self.ordinal)?,
                incarnation: incarnation.map_err(|_| unreadable("incarnation"))?,
                platform: PlatformId(narrow(self.platform_id, "platform number")?),
                merchant_refund_id: self.merchant_refund_id.into(),
                currency: Currency::parse(&self.currency).ok_or_else(|| unreadable("currency"))?,
                amount_minor: self.amount_minor,
                refundable_minor: self.refundable_minor,
                fee_minor: self.fee_minor,
                fee_policy: FeePolicy::parse(&self.fee_policy).ok_or_else(|| unreadable("fee policy"))?,
                parts: parts.into_iter().map(|(platform, part)| (PlatformId(platform), part)).collect(),
                reason: self.reason.map(Into::into),
                account: Account::new(channel(&self.channel)?, &self.account),
                created_at: Instant(self.created_at),
                standing,
            },
        })
    }
}
