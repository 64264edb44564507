//! What stands beside an order of its refunds: their names and reasons, and how they are shown.

use super::{Beside, Orders};
use crate::domain::event::RowChange;
use crate::domain::id::{PlatformId, RefundOrdinal};
use crate::domain::money::format_minor;
use crate::domain::order::Order;
use crate::domain::refund::Refund;
use crate::domain::time::Instant;
use crate::domain::view::{PartView, RefundView, refund_failure};
use crate::engine::ask::RefundWanted;
use crate::engine::lane::WriteError;
use crate::engine::ports::OrderReads;
use crate::store::{RefundName, RefundRow, RefundStanding, Row, StoreError, StoredRefund};

/// What a platform asked for, and when.
pub struct NamedRefund {
    ordinal: RefundOrdinal,
    name: RefundName,
    created_at: Instant,
}

impl NamedRefund {
    /// Of the refund that the order's last step opened.
    pub fn newest(order: &Order, name: RefundName) -> Option<Self> {
        let (_, asked) = order.asked_refunds().last()?;
        Some(NamedRefund { ordinal: asked.ordinal, name, created_at: order.last_at })
    }

    /// Of the refund that the order's last step opened because of this.
    pub fn wanted(order: &Order, wanted: RefundWanted) -> Option<Self> {
        let RefundWanted { merchant_refund_id, reason, fee_policy, .. } = wanted;
        let mut before = order.clone();
        before.refunds.pop();
        let refundable_minor = before.refundable_minor(fee_policy);
        NamedRefund::newest(order, RefundName { merchant_refund_id, reason, refundable_minor })
    }

    /// The refund as it is stored with this order.
    pub fn stored(self, order: &Order) -> Option<StoredRefund> {
        let (refund, _) = order.asked_refunds().find(|(_, asked)| asked.ordinal == self.ordinal)?;
        let row = RefundRow::of(order, refund, self.name, self.created_at)?;
        Some(StoredRefund { order: order.id, row })
    }

    pub fn is_under_way(&self, order: &Order) -> bool {
        order.asked_refunds().any(|(refund, asked)| asked.ordinal == self.ordinal && refund.stage.is_under_way())
    }
}

/// What was asked for by a refund of the order as a step leaves it, and when; none where only the store knows.
pub fn asked<'a>(
    order: &Order,
    refund: &Refund,
    kept: &'a [NamedRefund],
    beside: &'a Beside,
) -> Option<(&'a RefundName, Instant)> {
    let ordinal = refund.asked()?.ordinal;
    let (_, newest) = order.asked_refunds().last()?;
    match &beside.refund {
        Some(name) if newest.ordinal == ordinal => Some((name, order.last_at)),
        Some(_) | None => {
            let named = kept.iter().find(|named| named.ordinal == ordinal)?;
            Some((&named.name, named.created_at))
        }
    }
}

/// What a step makes of the row of a refund that a platform asked for.
///
/// # Errors
/// [`WriteError::Culprit`] where the refund is none of these, or a new one has no name.
pub fn row(order: &Order, index: u16, change: RowChange, beside: &mut Beside) -> Result<Row, WriteError> {
    let culprit = |why: &str| WriteError::Culprit(why.to_owned());
    let refund = order.refunds.get(usize::from(index)).ok_or_else(|| culprit("a refund is not the order's"))?;
    let ordinal = refund.asked().ok_or_else(|| culprit("a refund of suspense has no row"))?.ordinal;
    match change {
        RowChange::Changed => Ok(Row::RefundMoved { ordinal, standing: RefundStanding::of(refund) }),
        RowChange::New => {
            let name = beside.refund.clone().ok_or_else(|| culprit("a new refund has no name"))?;
            let row = RefundRow::of(order, refund, name, order.last_at);
            Ok(Row::Refund(Box::new(row.ok_or_else(|| culprit("a refund has no attempt"))?)))
        }
    }
}

/// A refund as a step that is not committed yet leaves it.
///
/// # Errors
/// [`WriteError::Away`] where the store is, [`WriteError::Culprit`] where what it holds of the refund cannot be read.
pub async fn shown_after(
    orders: &Orders,
    order: &Order,
    refund: &Refund,
    asked: Option<(&RefundName, Instant)>,
) -> Result<RefundView, WriteError> {
    let culprit = |why: &str| WriteError::Culprit(why.to_owned());
    let id = order.refund_id(refund).ok_or_else(|| culprit("a refund of suspense is not told of"))?;
    let row = match asked {
        Some((name, created_at)) => RefundRow::of(order, refund, name.clone(), created_at),
        None => orders.reads.refund(id).await.map_err(|error| unread(&error))?.map(|stored| stored.row),
    };
    let row = row.ok_or_else(|| culprit("a refund has no row"))?;
    let stored = StoredRefund { order: order.id, row: RefundRow { standing: RefundStanding::of(refund), ..row } };
    shown(orders.reads.as_ref(), &stored).await.map_err(|error| unread(&error))
}

/// A row that cannot be read holds its order back, as the order's own would.
fn unread(error: &StoreError) -> WriteError {
    error.corruption().map_or(WriteError::Away, |why| WriteError::Culprit(why.to_owned()))
}

/// A refund as it is stored, with the names of its parties.
///
/// # Errors
/// [`StoreError`] where a name cannot be read.
pub async fn shown(reads: &dyn OrderReads, stored: &StoredRefund) -> Result<RefundView, StoreError> {
    let mut names = Vec::with_capacity(stored.row.parts.len());
    for (platform, _) in &stored.row.parts {
        names.push(reads.platform_name(*platform).await?);
    }
    Ok(view(stored, names))
}

fn view(stored: &StoredRefund, names: Vec<Box<str>>) -> RefundView {
    let RefundRow { currency, .. } = stored.row;
    let money = |amount_minor| format_minor(amount_minor, currency);
    let part = |(platform, (_, amount_minor)): (Box<str>, &(PlatformId, i64))| PartView {
        platform,
        amount: money(*amount_minor),
    };
    let (row, standing) = (&stored.row, &stored.row.standing);
    RefundView {
        id: stored.id(),
        object: "refund",
        order: stored.order,
        merchant_refund_id: row.merchant_refund_id.clone(),
        state: standing.state,
        amount: money(row.amount_minor),
        currency,
        fee_returned: money(row.fee_minor),
        parts: names.into_iter().zip(&row.parts).map(part).collect(),
        fee_policy: row.fee_policy,
        reason: row.reason.clone(),
        channel: row.account.channel(),
        channel_reference: standing.reference.clone(),
        attention: standing.attention,
        failure: standing.failure.map(refund_failure),
        created_at: row.created_at,
        finished_at: standing.finished_at,
        sequence: None,
    }
}
