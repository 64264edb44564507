//! A platform's balance, and what changed it.

use std::collections::BTreeMap;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::App;
use super::auth::Caller;
use super::lists::{Page, read_instant, read_limit, read_place};
use super::problem::{ApiError, Code};
use super::query::Query;
use super::{schema, settlements};
use crate::domain::id::{OrderId, PlatformId, RefundId};
use crate::domain::ledger::{LedgerAccount, TransactionKind};
use crate::domain::money::{Currency, format_minor};
use crate::domain::settlement::SettlementId;
use crate::domain::stream::{Kind, StreamId};
use crate::domain::time::Instant;
use crate::domain::view;
use crate::engine::clock;
use crate::engine::unreadable::Table;
use crate::store::{LineKey, Store, StoredTransaction, TransactionFilter, TransactionPlace, last_key};

const PARAMETERS: [&str; 8] =
    ["type", "order", "refund", "settlement", "created_after", "created_before", "limit", "cursor"];
/// Types that nothing is booked as yet.
const LATER_TYPES: [&str; 3] = ["hold", "release", "dispute"];

/// The types that a list may be filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WantedType {
    Booked(TransactionKind),
    Later,
}

impl WantedType {
    fn parse(text: &str) -> Option<Self> {
        let later = LATER_TYPES.contains(&text).then_some(WantedType::Later);
        TransactionKind::parse(text).map(WantedType::Booked).or(later)
    }
}

/// What is ours of a platform's money, by currency. `+` is the platform's own.
#[derive(Serialize)]
struct BalanceView {
    currency: String,
    open: String,
    settled: String,
    held: String,
    position: String,
}

/// What the ledger says of a platform in one currency: what is owed to us is positive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Booked {
    /// Of the open cycle, with the fees that are due.
    pub open_minor: i64,
    /// Of closed cycles, as long as it is not paid out.
    pub settled_minor: i64,
    pub held_minor: i64,
    /// Of money that platforms took themselves.
    pub position_minor: i64,
}

impl Booked {
    /// What the platform owes us, of open cycles and of closed ones; negative where we owe it.
    pub fn owed_to_us_minor(&self) -> i64 {
        self.open_minor.saturating_add(self.settled_minor)
    }
}

/// What is booked of a platform, by currency.
///
/// # Errors
/// The store is away, or holds what it cannot.
pub async fn booked(store: &dyn Store, platform: PlatformId) -> Result<BTreeMap<String, Booked>, ApiError> {
    let mut booked: BTreeMap<String, Booked> = BTreeMap::new();
    for sum in store.balances_of_platform(platform).await? {
        let of_currency = booked.entry(sum.currency).or_default();
        let part = match LedgerAccount::parse(&sum.account) {
            Some(LedgerAccount::Platform(_) | LedgerAccount::FeesDue(_)) => &mut of_currency.open_minor,
            Some(LedgerAccount::Settlement(_)) => &mut of_currency.settled_minor,
            Some(LedgerAccount::Held(_)) => &mut of_currency.held_minor,
            Some(LedgerAccount::Position(_) | LedgerAccount::Netting(_)) => &mut of_currency.position_minor,
            Some(
                LedgerAccount::Channel(_)
                | LedgerAccount::Fees(_)
                | LedgerAccount::RefundPending(_)
                | LedgerAccount::Suspense(_)
                | LedgerAccount::Wallet(_)
                | LedgerAccount::Transit(_)
                | LedgerAccount::Unclaimed(_)
                | LedgerAccount::Dispute(_)
                | LedgerAccount::Cost(_)
                | LedgerAccount::BankCost
                | LedgerAccount::Bank(_)
                | LedgerAccount::Payout(_)
                | LedgerAccount::Equity
                | LedgerAccount::WrittenOff,
            )
            | None => return Err(ApiError::internal()),
        };
        *part = part.checked_add(sum.amount_minor).ok_or_else(ApiError::internal)?;
    }
    Ok(booked)
}

/// The balance of a platform, by currency: of the open cycle, of closed cycles that are not paid out, and held back. Apart
/// from it stands its position: what other platforms owe it of money that they took in their own channel accounts, less
/// what it owes them.
#[utoipa::path(
    get,
    path = "/v1/balance",
    operation_id = "get_balance",
    tag = "balance",
    security(("platform_key" = [])),
    responses((status = 200, description = "A row for each currency.", body = schema::Balances))
)]
pub async fn balance(app: Data<App>, Caller(platform): Caller) -> Result<HttpResponse, ApiError> {
    let row = |(code, booked): (String, Booked)| {
        let currency = Currency::parse(&code).ok_or_else(ApiError::internal)?;
        // The ledger says what is owed to us; the platform is told what is its own.
        let own = |amount_minor: i64| format_minor(amount_minor.saturating_neg(), currency);
        Ok(BalanceView {
            currency: code,
            open: own(booked.open_minor),
            settled: own(booked.settled_minor),
            held: own(booked.held_minor),
            position: own(booked.position_minor),
        })
    };
    let data =
        booked(app.store.as_ref(), platform.id).await?.into_iter().map(row).collect::<Result<Vec<_>, ApiError>>()?;
    Page::whole(data).answer()
}

#[derive(Serialize)]
pub(super) struct TransactionView {
    pub id: String,
    object: &'static str,
    #[serde(rename = "type")]
    pub kind: TransactionKind,
    pub amount: String,
    pub currency: Currency,
    pub order: Option<OrderId>,
    pub refund: Option<RefundId>,
    settlement: Option<SettlementId>,
    pub counterparty: Option<String>,
    pub position: bool,
    #[serde(serialize_with = "view::rfc3339")]
    pub created_at: Instant,
    #[serde(serialize_with = "view::rfc3339")]
    pub effective_at: Instant,
}

impl TransactionView {
    pub(super) fn of(platform: PlatformId, stored: StoredTransaction) -> Self {
        TransactionView {
            id: transaction_id(stored.key),
            object: "balance_transaction",
            kind: stored.kind,
            // The ledger says what is owed to us; the platform is told what is its own.
            amount: format_minor(stored.amount_minor.saturating_neg(), stored.currency),
            currency: stored.currency,
            order: stored.key.stream.order(),
            refund: stored.refund,
            settlement: stored.cycle.map(|cycle| SettlementId { platform, cycle }),
            counterparty: stored.counterparty,
            position: matches!(stored.account, LedgerAccount::Position(_)),
            created_at: stored.at,
            effective_at: stored.effective_at,
        }
    }
}

/// What changed the platform's balance, newest first. The sum over a currency is its balance (`open`, `settled` and
/// `held`), always; that of the transactions of `position` is its position before netting.
#[utoipa::path(
    get,
    path = "/v1/balance_transactions",
    operation_id = "list_balance_transactions",
    tag = "balance",
    security(("platform_key" = [])),
    params(
        ("type" = Option<schema::TransactionType>, Query),
        ("order" = Option<String>, Query, description = "Of this order."),
        ("refund" = Option<String>, Query, description = "Of this refund."),
        ("settlement" = Option<String>, Query, description = "Of this settlement, `set_…`."),
        ("created_after" = Option<String>, Query, description = "RFC 3339."),
        ("created_before" = Option<String>, Query, description = "RFC 3339."),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of transactions.", body = schema::BalanceTransactions))
)]
pub async fn transactions(
    app: Data<App>,
    Caller(platform): Caller,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &PARAMETERS)?;
    let limit = read_limit(&query)?;
    let wanted = query.parse(Code::FieldInvalid, "type", "a type of balance transactions", WantedType::parse)?;
    let settlement = query.parse(Code::FieldInvalid, "settlement", "a settlement's id", |text| text.parse().ok())?;
    let settlement: Option<SettlementId> = settlement;
    let created_after = read_instant(&query, Code::CreatedAfterInvalid, "created_after")?;
    let created_before = read_instant(&query, Code::CreatedBeforeInvalid, "created_before")?;
    let (kind, is_later) = match wanted {
        None => (None, false),
        Some(WantedType::Booked(kind)) => (Some(kind), false),
        Some(WantedType::Later) => (None, true),
    };
    let span = match settlement {
        Some(settlement) if settlement.platform == platform.id => {
            app.store.settlement(platform.id, settlement.cycle).await?.map(|stored| settlements::span(&stored))
        }
        Some(_) | None => None,
    };
    let filter = TransactionFilter {
        platform: platform.id,
        kind,
        order: query.parse(Code::FieldInvalid, "order", "an order's id", |text| text.parse().ok())?,
        refund: query.parse(Code::FieldInvalid, "refund", "a refund's id", |text| text.parse().ok())?,
        cycle: settlement.map(|settlement| settlement.cycle),
        created_after: created_after.max(span.map(|(from, _)| from)),
        created_before: created_before.into_iter().chain(span.map(|(_, until)| until)).min(),
        before: read_place(&query, read_cursor)?,
        limit: limit.and_one(),
    };
    if is_later || settlement.is_some_and(|settlement| settlement.platform != platform.id) {
        return Page::<TransactionView>::whole(Vec::new()).answer();
    }
    let mut stored = app.store.transactions(&filter).await?;
    let more = limit.cut(&mut stored);
    let next_cursor = last_key(&stored).filter(|_| more).map(write_cursor);
    let shown = |(_, key): &TransactionPlace| key.stream.to_string();
    let read = app.unreadable.pass_over(Table::Lines, stored, shown, clock::now());
    Page { data: read.into_iter().map(|stored| TransactionView::of(platform.id, stored)).collect(), next_cursor }
        .answer()
}

fn transaction_id(key: LineKey) -> String {
    format!("txn_{}", URL_SAFE_NO_PAD.encode(key_bytes(key)))
}

fn key_bytes(key: LineKey) -> [u8; 29] {
    let mut bytes = [0; 29];
    let parts = [key.stream.kind.0].into_iter().chain(key.stream.id.to_be_bytes());
    let numbers = [key.version, key.entry, key.line].into_iter().flat_map(u32::to_be_bytes);
    for (place, byte) in bytes.iter_mut().zip(parts.chain(numbers)) {
        *place = byte;
    }
    bytes
}

fn write_cursor((at, key): TransactionPlace) -> String {
    let mut bytes = at.0.to_be_bytes().to_vec();
    bytes.extend(key_bytes(key));
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor(text: &str) -> Option<TransactionPlace> {
    let bytes: [u8; 37] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (at, rest) = bytes.split_first_chunk::<8>()?;
    let (kind, rest) = rest.split_first()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (entry, rest) = rest.split_first_chunk::<4>()?;
    let (line, _) = rest.split_first_chunk::<4>()?;
    let stream = StreamId { kind: Kind(*kind), id: u128::from_be_bytes(*id) };
    let [version, entry, line] = [version, entry, line].map(|number| u32::from_be_bytes(*number));
    Some((Instant(i64::from_be_bytes(*at)), LineKey { stream, version, entry, line }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_contract_is_known() {
        for kind in TransactionKind::ALL {
            assert_eq!(WantedType::parse(kind.name()), Some(WantedType::Booked(kind)));
        }
        for later in LATER_TYPES {
            assert_eq!(WantedType::parse(later), Some(WantedType::Later));
        }
        assert_eq!(WantedType::parse("gift"), None);
    }

    #[test]
    fn a_cursor_is_read_back_and_an_id_names_one_line() {
        let stream = StreamId { kind: Kind::ORDER, id: 0x0194_0000_1111_7222_8333_4444_5555_6666 };
        let key = LineKey { stream, version: 7, entry: 1, line: 300 };
        let place = (Instant(1_790_000_000_123), key);
        assert_eq!(read_cursor(&write_cursor(place)), Some(place));
        assert_eq!(read_cursor("x"), None);
        assert_ne!(transaction_id(key), transaction_id(LineKey { line: 301, ..key }));
    }
}
