//! The statements that turn the pages of long lists: any page costs as many rows as it has, whatever is filtered by.
//!
//! A platform's lines have one index, by their type and then by their time, and its refunds one by their state. Where no
//! type is asked for, the first rows of each type are merged: some hundred more rows read for a page, while a second
//! index would cost every payment. A type or state that this version does not know is on no page; audits read those.

use std::sync::LazyLock;

use sqlx::types::Uuid;

use super::refunds::RefundFilter;
use super::tables::{key, stream_key};
use super::transactions::{StatementFilter, TransactionFilter};
use crate::domain::ledger::TransactionKind;
use crate::domain::refund::RefundState;

const LINE_PLACE: &str = "at, kind, id, version, entry, line";
const LINE_COLUMNS: &str = "at, kind, id, version, entry, line, transaction_kind, account, amount_minor, currency, \
     refund, counterparty, effective_at, cycle";
const REFUND_PLACE: &str = "created_at, order_id, ordinal";

/// $1 platform, $2 after, $3 to $8 before which place, $9 how many.
pub static TRANSACTIONS: LazyLock<String> = LazyLock::new(|| transactions(all_kinds(), ""));
/// The same, and $10 the type.
pub static TRANSACTIONS_OF_KIND: LazyLock<String> = LazyLock::new(|| transactions(["$10".to_owned()], ""));
/// As all types, and $10 the cycle. No index has the cycle: whoever asks says between which instants it lies.
pub static TRANSACTIONS_OF_CYCLE: LazyLock<String> = LazyLock::new(|| transactions(all_kinds(), "AND cycle = $10"));
/// As one type, and $11 the cycle.
pub static TRANSACTIONS_OF_KIND_AND_CYCLE: LazyLock<String> =
    LazyLock::new(|| transactions(["$10".to_owned()], "AND cycle = $11"));
/// $1 platform, $2 the type, $3 before which instant, $4 to $9 after which place, $10 how many; the oldest first.
pub static STATEMENT_LINES: LazyLock<String> = LazyLock::new(|| {
    let page = format!(
        "SELECT {LINE_COLUMNS} FROM lines WHERE platform_id = $1 AND transaction_kind = $2 AND at < $3 \
         AND ({LINE_PLACE}) > ($4, $5, $6, $7, $8, $9) ORDER BY {LINE_PLACE} LIMIT $10"
    );
    let order = LINE_PLACE.split(", ").map(|column| format!("l.{column}")).collect::<Vec<_>>().join(", ");
    shown(&page, &order)
});
/// $1 platform, $2 after, $3 to $5 before which place, $6 how many.
pub static REFUNDS: LazyLock<String> =
    LazyLock::new(|| refunds(RefundState::ALL.map(|state| format!("'{}'", state.name()))));
/// The same, and $7 the state.
pub static REFUNDS_OF_STATE: LazyLock<String> = LazyLock::new(|| refunds(["$7".to_owned()]));

fn descending(place: &str, table: &str) -> String {
    place.split(", ").map(|column| format!("{table}{column} DESC")).collect::<Vec<_>>().join(", ")
}

/// The first rows of all parts together. A part has its own LIMIT, so that it ends where its index does.
fn merged(parts: impl IntoIterator<Item = String>, place: &str, limit: &str) -> String {
    let order = descending(place, "");
    let part = |(text, number): (String, usize)| {
        format!("SELECT * FROM ({text} ORDER BY {order} LIMIT {limit}) part_{number}")
    };
    let parts = parts.into_iter().zip(0..).map(part).collect::<Vec<_>>().join(" UNION ALL ");
    format!("{parts} ORDER BY {order} LIMIT {limit}")
}

fn all_kinds() -> impl Iterator<Item = String> {
    TransactionKind::ALL.into_iter().map(|kind| format!("'{}'", kind.name()))
}

fn transactions(kinds: impl IntoIterator<Item = String>, condition: &str) -> String {
    let part = |kind: String| {
        format!(
            "SELECT {LINE_COLUMNS} FROM lines WHERE platform_id = $1 AND transaction_kind = {kind} AND at > $2 \
             AND ({LINE_PLACE}) < ($3, $4, $5, $6, $7, $8) {condition}"
        )
    };
    shown(&merged(kinds.into_iter().map(part), LINE_PLACE, "$9"), &descending(LINE_PLACE, "l."))
}

/// The lines of a page with what is told of them from elsewhere.
fn shown(page: &str, order: &str) -> String {
    format!(
        "SELECT l.at, l.kind, l.id, l.version, l.entry, l.line, l.transaction_kind, l.account, l.amount_minor, \
         l.currency, l.refund, r.incarnation, l.counterparty, c.name AS counterparty_name, l.effective_at, l.cycle \
         FROM ({page}) l LEFT JOIN refunds r ON l.kind = 1 AND r.order_id = l.id AND r.ordinal = l.refund \
         LEFT JOIN platforms c ON c.id = l.counterparty ORDER BY {order}"
    )
}

fn refunds(states: impl IntoIterator<Item = String>) -> String {
    let part = |state: String| {
        format!(
            "SELECT order_id, ordinal, incarnation, platform_id, merchant_refund_id, currency, amount_minor, \
             refundable_minor, fee_minor, fee_policy, parts, reason, channel, account, created_at, state, attention, \
             failure, reference, finished_at FROM refunds WHERE platform_id = $1 AND state = {state} AND created_at > $2 \
             AND ({REFUND_PLACE}) < ($3, $4, $5)"
        )
    };
    merged(states.into_iter().map(part), REFUND_PLACE, "$6")
}

/// The place of a line as the columns have it.
pub type LinePlace = (i64, i64, Uuid, i64, i64, i64);

/// The one bound from above, whether an instant or the page before sets it: of two, a database searches by one and reads
/// all rows up to the other.
pub fn before_line(filter: &TransactionFilter) -> LinePlace {
    const LAST: LinePlace = (i64::MAX, i64::MAX, Uuid::max(), i64::MAX, i64::MAX, i64::MAX);
    let first_at = |at: i64| (at, i64::MIN, Uuid::nil(), i64::MIN, i64::MIN, i64::MIN);
    let instant = filter.created_before.map_or(LAST, |before| first_at(before.0));
    let page = filter.before.map_or(LAST, |(at, place)| {
        let (kind, id) = stream_key(place.stream);
        (at.0, kind, id, i64::from(place.version), i64::from(place.entry), i64::from(place.line))
    });
    instant.min(page)
}

/// After which line a page of a statement begins.
pub fn after_line(filter: &StatementFilter) -> LinePlace {
    match filter.after {
        None => (filter.from.0, i64::MIN, Uuid::nil(), i64::MIN, i64::MIN, i64::MIN),
        Some((at, place)) => {
            let (kind, id) = stream_key(place.stream);
            (at.0, kind, id, i64::from(place.version), i64::from(place.entry), i64::from(place.line))
        }
    }
}

/// The place of a refund as the columns have it.
pub type RefundPlace = (i64, Uuid, i64);

pub fn before_refund(filter: &RefundFilter) -> RefundPlace {
    const LAST: RefundPlace = (i64::MAX, Uuid::max(), i64::MAX);
    let instant = filter.created_before.map_or(LAST, |before| (before.0, Uuid::nil(), i64::MIN));
    let page = filter
        .before
        .map_or(LAST, |(created_at, order, ordinal)| (created_at.0, key(order), i64::from(u8::from(ordinal))));
    instant.min(page)
}
