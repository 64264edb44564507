//! What platforms pay each other: a platform's own transfers and what it confirms of them, and whole runs for operators.

use std::collections::HashMap;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::App;
use super::auth::{Caller, Operator};
use super::lists::{self, Page};
use super::problem::{ApiError, Code};
use super::query::Query;
use super::schema;
use crate::domain::cycle::{CalendarId, CycleId};
use crate::domain::id::PlatformId;
use crate::domain::machine::Machine;
use crate::domain::money::{Currency, format_minor};
use crate::domain::netting::{Fact, Made, NettingRun, Refusal, Transfer, cycle_of, stream_number};
use crate::domain::time::Instant;
use crate::domain::view;
use crate::engine::ask::AskError;
use crate::engine::letter::TellError;
use crate::engine::nettings::read;
use crate::engine::quiet::Word;
use crate::store::NettingPlace;

const PREFIX: &str = "net_";

/// A transfer as one of its two platforms sees it.
#[derive(Serialize)]
struct NettingView {
    id: String,
    object: &'static str,
    calendar: CalendarId,
    cycle: u32,
    direction: &'static str,
    counterparty: String,
    amount: String,
    currency: Currency,
    state: &'static str,
    #[serde(serialize_with = "instant")]
    paid_at: Option<Instant>,
    #[serde(serialize_with = "instant")]
    received_at: Option<Instant>,
    #[serde(serialize_with = "view::rfc3339")]
    created_at: Instant,
}

/// A run as operators see it.
#[derive(Serialize)]
struct RunView {
    id: CycleId,
    calendar: CalendarId,
    cycle: u32,
    currency: Currency,
    state: &'static str,
    sum: String,
    positions: Vec<PositionView>,
    outside: Vec<OutsideView>,
    transfers: Vec<TransferView>,
    #[serde(serialize_with = "view::rfc3339")]
    created_at: Instant,
}

#[derive(Serialize)]
struct PositionView {
    platform: String,
    amount: String,
}

#[derive(Serialize)]
struct OutsideView {
    platform: String,
    counterparty: String,
    amount: String,
}

#[derive(Serialize)]
struct TransferView {
    id: String,
    payer: String,
    payee: String,
    amount: String,
    state: &'static str,
    #[serde(serialize_with = "instant")]
    paid_at: Option<Instant>,
    #[serde(serialize_with = "instant")]
    received_at: Option<Instant>,
}

#[expect(clippy::ref_option, reason = "serde hands fields over so")]
fn instant<S: serde::Serializer>(at: &Option<Instant>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(Instant::rfc3339).serialize(serializer)
}

/// Platforms' names, each looked up once for an answer.
#[derive(Default)]
struct Names(HashMap<PlatformId, String>);

impl Names {
    async fn of(&mut self, app: &App, platform: PlatformId) -> Result<String, ApiError> {
        if let Some(name) = self.0.get(&platform) {
            return Ok(name.clone());
        }
        let name = app.platform_name(platform).await?;
        self.0.insert(platform, name.clone());
        Ok(name)
    }
}

/// What the platform pays to others and gets from them, the newest first.
#[utoipa::path(
    get,
    path = "/v1/nettings",
    operation_id = "list_nettings",
    tag = "nettings",
    security(("platform_key" = [])),
    params(
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of transfers.", body = schema::Nettings))
)]
pub async fn list(app: Data<App>, Caller(platform): Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["limit", "cursor"])?;
    let limit = lists::read_limit(&query)?;
    let before = lists::read_place(&query, read_cursor)?;
    let mut places = app.store.nettings_of_platform(platform.id, before, limit.and_one()).await?;
    let more = limit.cut(&mut places);
    let next_cursor = places.last().filter(|_| more).map(|place| write_cursor(*place));
    let (mut names, mut runs) = (Names::default(), HashMap::new());
    let mut data = Vec::with_capacity(places.len());
    for (_, cycle, number) in places {
        let run = match runs.remove(&cycle) {
            Some(run) => run,
            None => app.netting_run(cycle).await?.ok_or_else(ApiError::internal)?,
        };
        data.push(app.show_netting(&run, number, platform.id, &mut names).await?);
        runs.insert(cycle, run);
    }
    Page { data, next_cursor }.answer()
}

/// Says that a transfer was paid, where the platform pays it, or that it was received, where it gets it. What both have
/// confirmed is booked. Confirmed again, nothing changes.
#[utoipa::path(
    post,
    path = "/v1/nettings/{id}/confirm",
    operation_id = "confirm_netting",
    tag = "nettings",
    security(("platform_key" = [])),
    params(("id" = String, Path, description = "The transfer's id, `net_…`.")),
    responses((status = 200, description = "The transfer as it is then.", body = schema::Netting))
)]
pub async fn confirm(app: Data<App>, Caller(platform): Caller, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let (cycle, number) = read_id(&id).ok_or_else(ApiError::not_found)?;
    if app.netting_run(cycle).await?.is_none() {
        return Err(ApiError::not_found());
    }
    let told = Word::Told(Fact::Confirmed { number, platform: platform.id });
    let run = app.nettings.tell(stream_number(cycle), told).await.map_err(not_confirmed)?;
    let shown = app.show_netting(&run, number, platform.id, &mut Names::default()).await?;
    Ok(HttpResponse::Ok().json(shown))
}

/// Netting runs, the newest cycle of each calendar first: what each platform pays or gets, and by which transfers.
#[utoipa::path(
    get,
    path = "/v1/operator/nettings",
    operation_id = "list_netting_runs",
    tag = "operators",
    security(("operator_key" = [])),
    params(
        ("calendar" = Option<u32>, Query, description = "Of this calendar, by its number."),
        ("cycle" = Option<u32>, Query, description = "Of this cycle of `calendar`."),
        ("state" = Option<schema::NettingRunState>, Query),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of runs.", body = schema::NettingRuns))
)]
pub async fn runs(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["calendar", "cycle", "state", "limit", "cursor"])?;
    let limit = lists::read_limit(&query)?;
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
    let calendar = query.parse(Code::FieldInvalid, "calendar", "a calendar's number", number)?;
    let cycle = query.parse(Code::FieldInvalid, "cycle", "a cycle's number", number)?;
    let known = |text: &str| NettingRun::STATES.into_iter().find(|name| *name == text);
    let state = query.parse(Code::StateUnknown, "state", "open or done", known)?;
    let before = lists::read_place(&query, |text| text.parse::<CycleId>().ok())?.map(stream_number);
    let found = match (calendar, cycle) {
        (None, Some(_)) => {
            return Err(ApiError::field(Code::FieldInvalid, "cycle", "A cycle is named with its calendar."));
        }
        (Some(calendar), Some(number)) => {
            let run = app.netting_run(CycleId { calendar: CalendarId(calendar), number }).await?;
            let run = run.filter(|run| state.is_none_or(|state| state == run.state_name()));
            return app.show_runs(run.as_slice(), None).await;
        }
        (Some(calendar), None) => {
            // Their numbers follow each other: those of a calendar lie below the first one of the next calendar.
            let (first, end) = (u128::from(calendar) << 32, (u128::from(calendar) + 1) << 32);
            let before = before.map_or(end, |before| before.min(end));
            let mut heads = app.store.heads(NettingRun::KIND, state, Some(before), limit.and_one()).await?;
            heads.retain(|(stream, _)| stream.id >= first);
            heads
        }
        (None, None) => app.store.heads(NettingRun::KIND, state, before, limit.and_one()).await?,
    };
    let mut runs = Vec::with_capacity(found.len());
    for (stream, snapshot) in &found {
        let cycle = cycle_of(stream.id).ok_or_else(ApiError::internal)?;
        runs.push(read(cycle, snapshot)?);
    }
    let more = limit.cut(&mut runs);
    let next_cursor = runs.last().filter(|_| more).map(|run| run.id.to_string());
    app.show_runs(&runs, next_cursor).await
}

impl App {
    async fn netting_run(&self, cycle: CycleId) -> Result<Option<NettingRun>, ApiError> {
        let head = self.store.head(cycle.into()).await?;
        Ok(head.map(|head| read(cycle, &head.snapshot)).transpose()?)
    }

    async fn show_netting(
        &self,
        run: &NettingRun,
        number: u32,
        platform: PlatformId,
        names: &mut Names,
    ) -> Result<NettingView, ApiError> {
        let found = run.transfer(number).filter(|transfer| transfer.is_of(platform));
        let transfer = found.ok_or_else(ApiError::internal)?;
        let currency = made(run)?.currency;
        let (direction, counterparty) =
            if transfer.payer == platform { ("pays", transfer.payee) } else { ("gets", transfer.payer) };
        Ok(NettingView {
            id: write_id(run.id, transfer),
            object: "netting",
            calendar: run.id.calendar,
            cycle: run.id.number,
            direction,
            counterparty: names.of(self, counterparty).await?,
            amount: format_minor(transfer.amount_minor, currency),
            currency,
            state: transfer.state().name(),
            paid_at: transfer.paid_at,
            received_at: transfer.received_at,
            created_at: run.made_at,
        })
    }

    async fn show_runs(&self, runs: &[NettingRun], next_cursor: Option<String>) -> Result<HttpResponse, ApiError> {
        let mut names = Names::default();
        let mut data = Vec::with_capacity(runs.len());
        for run in runs {
            data.push(self.show_run(run, &mut names).await?);
        }
        Page { data, next_cursor }.answer()
    }

    async fn show_run(&self, run: &NettingRun, names: &mut Names) -> Result<RunView, ApiError> {
        let Made { currency, outside, positions } = made(run)?;
        let money = |minor: i64| format_minor(minor, *currency);
        let mut shown = RunView {
            id: run.id,
            calendar: run.id.calendar,
            cycle: run.id.number,
            currency: *currency,
            state: run.state_name(),
            sum: money(positions.iter().try_fold(0i64, |sum, (_, net)| sum.checked_add(*net)).unwrap_or(i64::MAX)),
            positions: Vec::with_capacity(positions.len()),
            outside: Vec::with_capacity(outside.len()),
            transfers: Vec::with_capacity(run.transfers.len()),
            created_at: run.made_at,
        };
        for (platform, net) in positions {
            shown.positions.push(PositionView { platform: names.of(self, *platform).await?, amount: money(*net) });
        }
        for left in outside {
            let (platform, counterparty) =
                (names.of(self, left.platform).await?, names.of(self, left.counterparty).await?);
            shown.outside.push(OutsideView { platform, counterparty, amount: money(left.amount_minor) });
        }
        for transfer in &run.transfers {
            shown.transfers.push(TransferView {
                id: write_id(run.id, transfer),
                payer: names.of(self, transfer.payer).await?,
                payee: names.of(self, transfer.payee).await?,
                amount: money(transfer.amount_minor),
                state: transfer.state().name(),
                paid_at: transfer.paid_at,
                received_at: transfer.received_at,
            });
        }
        Ok(shown)
    }
}

fn made(run: &NettingRun) -> Result<&Made, ApiError> {
    run.made.as_ref().ok_or_else(ApiError::internal)
}

/// Another platform's transfer is none.
fn not_confirmed(error: TellError<Refusal>) -> ApiError {
    match error {
        TellError::Refused(
            Refusal::OutOfPlace | Refusal::Unbalanced | Refusal::TransferUnknown | Refusal::NotAParty,
        )
        | TellError::NotFound => ApiError::not_found(),
        TellError::Duplicate | TellError::Overloaded => AskError::Overloaded.into(),
        TellError::StoreAway => AskError::StoreAway.into(),
        TellError::OutcomeUnknown => AskError::OutcomeUnknown.into(),
        TellError::Quarantined => AskError::Quarantined.into(),
    }
}

/// `net_12345.7.1`: the calendar, the cycle and the transfer.
fn write_id(cycle: CycleId, transfer: &Transfer) -> String {
    format!("{PREFIX}{cycle}.{}", transfer.number)
}

fn read_id(text: &str) -> Option<(CycleId, u32)> {
    let (cycle, number) = text.strip_prefix(PREFIX)?.rsplit_once('.')?;
    let (cycle, parsed) = (cycle.parse().ok()?, number.parse::<u32>().ok()?);
    (parsed > 0 && parsed.to_string() == number).then_some((cycle, parsed))
}

fn write_cursor((at, cycle, number): NettingPlace) -> String {
    URL_SAFE_NO_PAD.encode([&at.0.to_be_bytes()[..], &cycle.as_number().to_be_bytes(), &number.to_be_bytes()].concat())
}

fn read_cursor(text: &str) -> Option<NettingPlace> {
    let bytes: [u8; 20] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (at, rest) = bytes.split_first_chunk::<8>()?;
    let (cycle, rest) = rest.split_first_chunk::<8>()?;
    let number = u32::from_be_bytes(rest.try_into().ok()?);
    Some((Instant(i64::from_be_bytes(*at)), CycleId::from_number(i64::from_be_bytes(*cycle))?, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_has_one_id_and_a_place_one_cursor() {
        let cycle = CycleId { calendar: CalendarId(1_805), number: 3 };
        assert_eq!(read_id("net_1805.3.12"), Some((cycle, 12)));
        for text in ["1805.3.1", "net_1805.3", "net_1805.3.0", "net_1805.3.01", "net_1805.0.1", "net_a.3.1", "net_"] {
            assert_eq!(read_id(text), None, "{text}");
        }
        let place = (Instant(1_790_000_000_123), cycle, 12);
        assert_eq!(read_cursor(&write_cursor(place)), Some(place));
        assert_eq!(read_cursor("x"), None);
    }
}
