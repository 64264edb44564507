//! A platform's settlements: what it had of each cycle, and of the open ones so far.

use std::collections::BTreeMap;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::App;
use super::auth::Caller;
use super::lists::{Page, read_limit, read_place};
use super::problem::{ApiError, Code};
use super::query::Query;
use super::schema;
use crate::domain::cycle::CycleId;
use crate::domain::id::PlatformId;
use crate::domain::ledger::{Heading, LedgerAccount};
use crate::domain::money::{Currency, format_minor};
use crate::domain::payee::PayeeId;
use crate::domain::payout_id::PayoutId;
use crate::domain::settlement::{CycleTotals, SettlementId, SettlementState, Totals};
use crate::domain::time::Instant;
use crate::domain::view::{self, SettlementFigures, SettlementView};
use crate::engine::calendars;
use crate::store::{LaneBalance, SettlementFilter, StoredSettlement};

/// A line may have been decided so long before its cycle began, and committed in it: its commit waited for the store.
const EARLIER_MS: i64 = 7 * 86_400_000;
/// A clock may have been set back between the last lines and the closing.
const LATER_MS: i64 = 86_400_000;

/// Between which instants the lines of a closed cycle were booked.
pub(super) fn span(stored: &StoredSettlement) -> (Instant, Instant) {
    let from = Instant(stored.starts_at.0.saturating_sub(EARLIER_MS));
    (from, Instant(stored.closed_at.0.saturating_add(LATER_MS)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing is netted as yet.
    Netted,
    Settled(SettlementState),
}

impl State {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "open" => Some(State::Open),
            "netted" => Some(State::Netted),
            other => SettlementState::parse(other).map(State::Settled),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Netted => "netted",
            State::Settled(state) => state.name(),
        }
    }
}

/// A settlement, closed or not.
struct Found {
    id: SettlementId,
    currency: Currency,
    number: u32,
    span: Option<(Instant, Instant)>,
    totals: Totals,
    state: State,
    /// As it is told: one between platforms that have all paid each other is netted, until we have paid too.
    told: &'static str,
    payout: Option<u32>,
}

impl From<StoredSettlement> for Found {
    fn from(stored: StoredSettlement) -> Self {
        Found {
            id: SettlementId { platform: stored.platform, cycle: stored.cycle },
            currency: stored.currency,
            number: stored.number,
            span: Some((stored.starts_at, stored.ends_at)),
            told: stored.state_name(),
            totals: stored.totals,
            state: State::Settled(stored.state),
            payout: stored.payout,
        }
    }
}

/// Where a settlement stands in the list: by currency, and the newest of each first.
type SettlementPlace = (Currency, u32);

fn read_cursor(text: &str) -> Option<SettlementPlace> {
    let (currency, number) = text.split_once('-')?;
    Some((Currency::parse(currency)?, number.parse().ok()?))
}

fn write_cursor((currency, number): SettlementPlace) -> String {
    format!("{}-{number}", currency.code())
}

/// A platform's settlements, the newest of each currency first. An open cycle stands there too, once anything is booked
/// in it, with what it comes to so far.
#[utoipa::path(
    get,
    path = "/v1/settlements",
    operation_id = "list_settlements",
    tag = "settlements",
    security(("platform_key" = [])),
    params(
        ("state" = Option<schema::SettlementState>, Query),
        ("currency" = Option<String>, Query, description = "Of this currency."),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of settlements.", body = schema::Settlements))
)]
pub async fn list(app: Data<App>, Caller(platform): Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["state", "currency", "limit", "cursor"])?;
    let limit = read_limit(&query)?;
    let expected = "open, closed, netted, paid_out or carried";
    let state = query.parse(Code::StateUnknown, "state", expected, State::parse)?;
    let only = query.parse(Code::CurrencyUnknown, "currency", "a currency's code", Currency::parse)?;
    let after = read_place(&query, read_cursor)?;

    let (currencies, mut open) = app.open_cycles(platform.id).await?;
    open.retain(|_| state.is_none_or(|state| state == State::Open));
    let mut found: Vec<Found> = Vec::new();
    let currencies = currencies.into_values().filter(|currency| only.is_none_or(|only| only == *currency));
    for currency in currencies {
        let before = match after {
            Some((last, _)) if currency.code() < last.code() => continue,
            Some((last, number)) if currency == last => Some(number),
            Some(_) | None => None,
        };
        let missing = (limit.and_one() as usize).saturating_sub(found.len());
        if missing == 0 {
            break;
        }
        let newest = open.extract_if(.., |open| open.currency == currency);
        found.extend(newest.filter(|open| before.is_none_or(|before| open.number < before)));
        let state = match state {
            Some(State::Open | State::Netted) => continue,
            Some(State::Settled(state)) => Some(state),
            None => None,
        };
        let limit = u32::try_from(missing).map_err(|_| ApiError::internal())?;
        let filter = SettlementFilter { platform: platform.id, currency, state, before, limit };
        found.extend(app.store.settlements(&filter).await?.into_iter().map(Found::from));
    }
    let more = limit.cut(&mut found);
    let next_cursor = found.last().filter(|_| more).map(|last| write_cursor((last.currency, last.number)));
    let mut names = BTreeMap::new();
    let mut data = Vec::with_capacity(found.len());
    for found in found {
        data.push(app.show_settlement(found, &mut names).await?);
    }
    Page { data, next_cursor }.answer()
}

/// A settlement.
#[utoipa::path(
    get,
    path = "/v1/settlements/{id}",
    operation_id = "get_settlement",
    tag = "settlements",
    security(("platform_key" = [])),
    params(("id" = String, Path, description = "The settlement's id, `set_…`.")),
    responses((status = 200, description = "The settlement.", body = schema::Settlement))
)]
pub async fn get(app: Data<App>, Caller(platform): Caller, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = owned(platform.id, &id)?;
    let found = match app.store.settlement(id.platform, id.cycle).await? {
        Some(stored) => Found::from(stored),
        None => app.open_settlement(id).await?.ok_or_else(ApiError::not_found)?,
    };
    Ok(HttpResponse::Ok().json(app.show_settlement(found, &mut BTreeMap::new()).await?))
}

/// The platform's own settlement of this id; another's is not there.
pub(super) fn owned(platform: PlatformId, id: &str) -> Result<SettlementId, ApiError> {
    let id: Option<SettlementId> = id.parse().ok();
    id.filter(|id| id.platform == platform).ok_or_else(ApiError::not_found)
}

/// By code.
type Currencies = BTreeMap<&'static str, Currency>;
type Names = BTreeMap<PlatformId, String>;

impl App {
    async fn open_settlement(&self, id: SettlementId) -> Result<Option<Found>, ApiError> {
        Ok(self.open_cycles(id.platform).await?.1.into_iter().find(|open| open.id == id))
    }

    /// Whether the platform has anything in this cycle, which is not closed.
    pub(super) async fn is_open(&self, id: SettlementId) -> Result<bool, ApiError> {
        Ok(self.open_settlement(id).await?.is_some())
    }

    /// In which currencies anything was ever booked of the platform, and its cycles that are not closed, the newest first.
    async fn open_cycles(&self, platform: PlatformId) -> Result<(Currencies, Vec<Found>), ApiError> {
        let mut currencies = Currencies::new();
        let mut settled: BTreeMap<&'static str, i64> = BTreeMap::new();
        let mut cycles: BTreeMap<(&'static str, CycleId), CycleTotals> = BTreeMap::new();
        for sum in self.store.balances_of_platform(platform).await? {
            let currency = Currency::parse(&sum.currency).ok_or_else(ApiError::internal)?;
            let account = LedgerAccount::parse(&sum.account).ok_or_else(ApiError::internal)?;
            let code = currency.code();
            currencies.insert(code, currency);
            if let Some(cycle) = CycleId::from_number(sum.cycle) {
                add(cycles.entry((code, cycle)).or_default(), &account, &sum)?;
            } else if matches!(account, LedgerAccount::Settlement(_)) {
                let settled = settled.entry(code).or_default();
                *settled = settled.checked_sub(sum.amount_minor).ok_or_else(ApiError::internal)?;
            }
        }
        let mut open: Vec<Found> = Vec::new();
        for ((code, cycle), CycleTotals { sums, .. }) in cycles {
            let Some(currency) = currencies.get(code).copied() else { continue };
            // It may have been closed since its sums were read.
            if self.store.settlement(platform, cycle).await?.is_some() {
                continue;
            }
            let number = match open.last().filter(|last| last.currency == currency) {
                Some(last) => last.number,
                None => self.last_number(platform, currency).await?,
            };
            let brought = settled.entry(code).or_default();
            let own_minor = sums.own_minor().map_err(|_| ApiError::internal())?;
            let net_minor = brought.checked_add(own_minor).ok_or_else(ApiError::internal)?;
            let brought_forward_minor = std::mem::replace(brought, net_minor);
            open.push(Found {
                id: SettlementId { platform, cycle },
                currency,
                number: number.saturating_add(1),
                span: self.span_of(cycle).await?,
                totals: Totals { brought_forward_minor, covers: Vec::new(), net_minor, sums },
                state: State::Open,
                told: State::Open.name(),
                payout: None,
            });
        }
        open.reverse();
        Ok((currencies, open))
    }

    async fn last_number(&self, platform: PlatformId, currency: Currency) -> Result<u32, ApiError> {
        let filter = SettlementFilter { platform, currency, state: None, before: None, limit: 1 };
        Ok(self.store.settlements(&filter).await?.first().map_or(0, |last| last.number))
    }

    /// From when to when a cycle lasts that is not closed. None where its calendar has not begun.
    async fn span_of(&self, cycle: CycleId) -> Result<Option<(Instant, Instant)>, ApiError> {
        let Some(head) = self.store.head(cycle.calendar.into()).await? else { return Ok(None) };
        let calendar = calendars::read(cycle.calendar, &head.snapshot)?;
        let closing = calendar.closing.as_ref().map(|closing| closing.cycle);
        let known = closing.into_iter().chain(calendar.open).find(|known| known.number == cycle.number);
        if let Some(known) = known {
            return Ok(Some((known.from, known.to)));
        }
        // What moves after the end of the open cycle is booked in the next one, before the open one is closed.
        let next = calendar.open.filter(|open| open.number.saturating_add(1) == cycle.number);
        Ok(next.zip(calendar.schedule).map(|(open, schedule)| (open.to, schedule.next_after(open.to))))
    }

    pub(super) async fn figures_of(&self, stored: StoredSettlement) -> Result<SettlementFigures, ApiError> {
        self.figures(&Found::from(stored), &mut BTreeMap::new()).await
    }

    async fn figures(&self, found: &Found, names: &mut Names) -> Result<SettlementFigures, ApiError> {
        let positions = &found.totals.sums.positions;
        let mut others = Vec::with_capacity(positions.len());
        for (other, _) in positions {
            others.push(self.name_of(*other, names).await?);
        }
        Ok(view::settlement_figures((found.id, found.currency, found.number), found.span, &found.totals, others))
    }

    async fn show_settlement(&self, found: Found, names: &mut Names) -> Result<SettlementView, ApiError> {
        let carried_minor = match found.state {
            State::Open | State::Netted => 0,
            State::Settled(state) => view::carried_minor(state, found.totals.net_minor),
        };
        let payee = PayeeId { currency: found.currency, platform: found.id.platform };
        Ok(SettlementView {
            figures: self.figures(&found, names).await?,
            state: found.told,
            carried_forward: format_minor(carried_minor, found.currency),
            payout: found.payout.map(|number| PayoutId { payee, number }.to_string()),
            sequence: None,
        })
    }

    async fn name_of(&self, platform: PlatformId, names: &mut Names) -> Result<String, ApiError> {
        if let Some(name) = names.get(&platform) {
            return Ok(name.clone());
        }
        let stored = self.store.platform(platform).await?.ok_or_else(ApiError::internal)?;
        let name = stored.name.to_string();
        names.insert(platform, name.clone());
        Ok(name)
    }
}

fn add(totals: &mut CycleTotals, account: &LedgerAccount, sum: &LaneBalance) -> Result<(), ApiError> {
    let heading = Heading::parse(&sum.heading).ok_or_else(ApiError::internal)?;
    let counterparty = match sum.counterparty {
        0 => None,
        other => Some(u32::try_from(other).map(PlatformId).map_err(|_| ApiError::internal())?),
    };
    totals.add(account, heading, counterparty, sum.amount_minor).map_err(|_| ApiError::internal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        let place = (Currency::parse("CNY").unwrap(), 7);
        assert_eq!(read_cursor(&write_cursor(place)), Some(place));
        for broken in ["", "CNY", "CNY-", "cny-7", "CNY-x", "7"] {
            assert_eq!(read_cursor(broken), None, "{broken}");
        }
    }
}
