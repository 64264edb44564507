//! For operators: calendars, closing a cycle before its end, and when the next ones end.

use std::collections::BTreeSet;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use super::App;
use super::auth::Operator;
use super::json;
use super::lists::{self, Page};
use super::problem::{ApiError, Code};
use super::query::Query;
use super::schema;
use crate::domain::calendar::Schedule;
use crate::domain::closing::{Calendar, Cycle, Refusal, Terms};
use crate::domain::cycle::{CalendarId, CycleId};
use crate::domain::id::PlatformId;
use crate::domain::ledger::LedgerAccount;
use crate::domain::money::{Currency, format_minor};
use crate::domain::platform::is_name;
use crate::domain::settlement::SettlementId;
use crate::domain::stream::Kind;
use crate::domain::time::Instant;
use crate::domain::view;
use crate::engine::calendars::{Told, read};
use crate::engine::letter::TellError;

/// Calendars that are read at once.
const CALENDARS_AT_ONCE: u32 = 200;

#[derive(Serialize)]
struct CalendarView {
    id: CalendarId,
    name: String,
    currency: Currency,
    schedule: Option<String>,
    open: Option<CycleView>,
    closing: Option<CycleView>,
}

#[derive(Serialize)]
struct CycleView {
    number: u32,
    #[serde(serialize_with = "view::rfc3339")]
    from: Instant,
    #[serde(serialize_with = "view::rfc3339")]
    to: Instant,
}

impl From<Cycle> for CycleView {
    fn from(Cycle { from, number, to }: Cycle) -> Self {
        CycleView { number, from, to }
    }
}

impl CalendarView {
    /// None of one that was never made.
    fn of(calendar: &Calendar) -> Option<Self> {
        let terms = calendar.terms.as_ref()?;
        Some(CalendarView {
            id: calendar.id,
            name: terms.name.to_string(),
            currency: terms.currency,
            schedule: calendar.schedule.as_ref().map(ToString::to_string),
            open: calendar.open.map(CycleView::from),
            closing: calendar.closing.as_ref().map(|closing| closing.cycle.into()),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    number: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reschedule {
    schedule: String,
}

/// All calendars, with the cycle that is open and the one that is being closed.
#[utoipa::path(
    get,
    path = "/v1/operator/calendars",
    operation_id = "list_calendars",
    tag = "operators",
    security(("operator_key" = [])),
    responses((status = 200, description = "All of them, by id.", body = schema::Calendars))
)]
pub async fn list(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let (mut data, mut after) = (Vec::new(), 0);
    loop {
        let page = app.store.streams(Kind::CALENDAR, after, CALENDARS_AT_ONCE).await?;
        let Some(last) = page.last().and_then(|seen| seen.key) else { break };
        for seen in page {
            let id = seen.key.and_then(|id| u32::try_from(id).ok()).ok_or_else(ApiError::internal)?;
            data.extend(CalendarView::of(&read(CalendarId(id), &seen.value?.snapshot)?));
        }
        after = last;
    }
    Page::whole(data).answer()
}

/// Closes the open cycle now, before its end. It ends by a cut in each lane, and is settled from then on: the list of
/// calendars tells when that is done.
#[utoipa::path(
    post,
    path = "/v1/operator/calendars/{id}/close",
    operation_id = "close_cycle",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = u32, Path, description = "The calendar's id.")),
    request_body = schema::CloseCycle,
    responses((status = 202, description = "The cycle is being closed.", body = schema::Calendar))
)]
pub async fn close(
    app: Data<App>,
    person: Operator,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let Close { number } = given(&body)?;
    let id = calendar_id(&id)?;
    app.calendar(id).await?;
    let done = app.tell(id, Told::CloseEarly { number, operator: person.name().into() }).await;
    app.noted(&person, "cycle_closed", &format!("{id}.{number}"), done).await?;
    Ok(HttpResponse::Accepted().json(app.calendar(id).await?))
}

/// Changes when the cycles after the open one end.
#[utoipa::path(
    post,
    path = "/v1/operator/calendars/{id}/reschedule",
    operation_id = "reschedule_calendar",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = u32, Path, description = "The calendar's id.")),
    request_body = schema::RescheduleCalendar,
    responses((status = 200, description = "It holds from the end of the open cycle on.", body = schema::Calendar))
)]
pub async fn reschedule(
    app: Data<App>,
    person: Operator,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let Reschedule { schedule } = given(&body)?;
    let schedule = Schedule::parse(&schedule)
        .map_err(|error| ApiError::field(Code::FieldInvalid, "schedule", error.to_string()))?;
    let id = calendar_id(&id)?;
    app.calendar(id).await?;
    let done = app.tell(id, Told::Reschedule { schedule, operator: person.name().into() }).await;
    app.noted(&person, "calendar_rescheduled", &id.to_string(), done).await?;
    Ok(HttpResponse::Ok().json(app.calendar(id).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCalendar {
    name: String,
    currency: String,
    schedule: String,
}

/// Makes a calendar of its own beside a currency's, for platforms that join it.
#[utoipa::path(
    post,
    path = "/v1/operator/calendars",
    operation_id = "create_calendar",
    tag = "operators",
    security(("operator_key" = [])),
    request_body = schema::NewCalendar,
    responses((status = 201, description = "The calendar; its first cycle is open.", body = schema::Calendar))
)]
pub async fn create(
    app: Data<App>,
    person: Operator,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let NewCalendar { name, currency, schedule } = given(&body)?;
    let invalid = |field, why: String| ApiError::field(Code::FieldInvalid, field, why);
    if !is_name(&name) {
        return Err(invalid("name", "1 to 64 of 0-9, a-z and - are required".to_owned()));
    }
    let currency = Currency::parse(&currency).ok_or_else(|| {
        ApiError::field(Code::CurrencyUnknown, "currency", "an ISO 4217 code such as CNY is required")
    })?;
    let schedule = Schedule::parse(&schedule).map_err(|error| invalid("schedule", error.to_string()))?;
    let close_after_ms = app.config.settlement.close_after_ms;
    let terms = Terms { close_after_ms, currency, name: name.as_str().into() };
    let id = app.unused_calendar().await?;
    let done = app.tell(id, Told::Create { terms, schedule }).await;
    app.noted(&person, "calendar_created", &format!("{id} {name}"), done).await?;
    Ok(HttpResponse::Created().json(app.calendar(id).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    platform: String,
}

#[derive(Serialize)]
struct JoinView {
    platform: String,
    calendar: CalendarId,
    /// `now`, or `next_cycle`: with the end of the cycle that is open in the calendar that it leaves.
    from: &'static str,
}

/// Has a platform settled by this calendar: at once where nothing is booked of it yet in the currency, else from the end
/// of the cycle on that is open in the calendar that it leaves.
#[utoipa::path(
    post,
    path = "/v1/operator/calendars/{id}/join",
    operation_id = "join_calendar",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = u32, Path, description = "The calendar's id.")),
    request_body = schema::JoinCalendar,
    responses((status = 200, description = "From when on.", body = schema::Joined))
)]
pub async fn join(
    app: Data<App>,
    person: Operator,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let Join { platform: name } = given(&body)?;
    let calendar = calendar_id(&id)?;
    let currency = app.calendar(calendar).await?.currency;
    let platform = app.platform_named(&name, "platform").await?;
    let before = app.store.calendar_of(platform, currency).await?;
    let is_booked = app.store.balances_of_platform(platform).await?.iter().any(|sum| sum.currency == currency.code());
    let (done, from) = match is_booked {
        _ if before == calendar => (Ok(()), "now"),
        false => (app.tell(calendar, Told::Join { platform }).await, "now"),
        true => {
            app.begin_calendar(before, currency).await?;
            (app.tell(before, Told::Leave { platform, calendar }).await, "next_cycle")
        }
    };
    app.noted(&person, "calendar_joined", &format!("{calendar} {name}"), done).await?;
    Ok(HttpResponse::Ok().json(JoinView { platform: name, calendar, from }))
}

#[derive(Serialize)]
struct SettledView {
    /// None while the cycle is open.
    id: Option<SettlementId>,
    platform: String,
    currency: Currency,
    state: &'static str,
    brought_forward: Option<String>,
    net: String,
}

/// What the platforms have of a cycle, by platform: settled, or of the open one so far (without what is brought forward).
#[utoipa::path(
    get,
    path = "/v1/operator/settlements",
    operation_id = "list_settlements_of_cycle",
    tag = "operators",
    security(("operator_key" = [])),
    params(
        ("calendar" = u32, Query, description = "The calendar's id."),
        ("cycle" = u32, Query, description = "The cycle's number there."),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of settlements.", body = schema::SettledOfCycle))
)]
pub async fn settled(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["calendar", "cycle", "limit", "cursor"])?;
    let number = |name| query.parse(Code::FieldInvalid, name, "a number", |text| text.parse::<u32>().ok());
    let (Some(calendar), Some(number)) = (number("calendar")?, number("cycle")?) else {
        return Err(ApiError::field(Code::FieldInvalid, "calendar", "a calendar and a cycle are required"));
    };
    let cycle = CycleId { calendar: CalendarId(calendar), number };
    let currency = app.calendar(cycle.calendar).await?.currency;
    let limit = lists::read_limit(&query)?;
    let after = lists::read_place(&query, |cursor| cursor.parse().ok().map(PlatformId))?.unwrap_or(PlatformId(0));
    let stored = app.store.settlements_of_cycle(cycle, after, limit.and_one()).await?;
    if stored.is_empty() && after == PlatformId(0) {
        return app.open_of_cycle(cycle, currency).await;
    }
    let mut stored = stored;
    let more = limit.cut(&mut stored);
    let next_cursor = stored.last().filter(|_| more).map(|row| row.platform.0.to_string());
    let mut data = Vec::with_capacity(stored.len());
    for row in stored {
        let platform = app.store.platform(row.platform).await?.ok_or_else(ApiError::internal)?;
        data.push(SettledView {
            id: Some(SettlementId { platform: row.platform, cycle }),
            platform: platform.name,
            currency,
            state: row.state_name(),
            brought_forward: Some(format_minor(row.totals.brought_forward_minor, currency)),
            net: format_minor(row.totals.net_minor, currency),
        });
    }
    Page { data, next_cursor }.answer()
}

/// Ledger accounts of an open cycle that are looked at for a list of it.
const OPEN_ACCOUNTS_MAX: u32 = 3_000;
/// Calendars beside those of currencies: each is cut in every lane.
const MADE_MAX: u32 = 1_000;

fn calendar_id(text: &str) -> Result<CalendarId, ApiError> {
    text.parse().map(CalendarId).map_err(|_| ApiError::not_found())
}

fn given<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::new(Code::BodyInvalid, format!("The body cannot be read: {error}.")))
}

impl App {
    async fn tell(&self, id: CalendarId, told: Told) -> Result<(), ApiError> {
        match self.calendars.tell(u128::from(id.0), told).await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    /// Makes a currency's own calendar, if nobody has yet.
    async fn begin_calendar(&self, id: CalendarId, currency: Currency) -> Result<(), ApiError> {
        if self.store.head(id.into()).await?.is_some() {
            return Ok(());
        }
        let settings = &self.config.settlement;
        let name = currency.code().to_ascii_lowercase().into();
        let terms = Terms { close_after_ms: settings.close_after_ms, currency, name };
        let told = Told::Create { terms, schedule: settings.schedule.clone() };
        match self.calendars.tell(u128::from(id.0), told).await {
            Ok(_) | Err(TellError::Refused(Refusal::OutOfPlace)) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    /// A number that no calendar has.
    async fn unused_calendar(&self) -> Result<CalendarId, ApiError> {
        let first = CalendarId::FIRST_MADE.0;
        let made = self.store.streams(Kind::CALENDAR, u128::from(first - 1), MADE_MAX).await?;
        let last = made.last().and_then(|seen| seen.key).and_then(|id| u32::try_from(id).ok());
        let next = last.map_or(first, |last| last + 1);
        match next - first < MADE_MAX {
            true => Ok(CalendarId(next)),
            false => Err(ApiError::new(Code::ChangeRefused, "There are as many calendars as there may be.")),
        }
    }

    async fn open_of_cycle(&self, cycle: CycleId, currency: Currency) -> Result<HttpResponse, ApiError> {
        let mut platforms = BTreeSet::new();
        for account in self.store.accounts_of_cycle(cycle, "", OPEN_ACCOUNTS_MAX).await? {
            platforms.extend(LedgerAccount::parse(&account).and_then(|account| account.platform()));
        }
        let mut data = Vec::with_capacity(platforms.len());
        for platform in platforms {
            let sums = self.store.sums_of_cycle(platform, cycle).await?;
            let own = sums.iter().filter(|sum| !sum.account.starts_with("position:")).map(|sum| sum.amount_minor);
            let net_minor = own.fold(0i64, i64::saturating_sub);
            let platform = self.store.platform(platform).await?.ok_or_else(ApiError::internal)?;
            data.push(SettledView {
                id: None,
                platform: platform.name,
                currency,
                state: "open",
                brought_forward: None,
                net: format_minor(net_minor, currency),
            });
        }
        Page::whole(data).answer()
    }

    async fn calendar(&self, id: CalendarId) -> Result<CalendarView, ApiError> {
        let head = self.store.head(id.into()).await?.ok_or_else(ApiError::not_found)?;
        CalendarView::of(&read(id, &head.snapshot)?).ok_or_else(ApiError::not_found)
    }
}

fn refused(error: TellError<Refusal>) -> ApiError {
    let come_again = |code, detail: &'static str| ApiError::new(code, detail).retry_after(1);
    match error {
        TellError::Refused(Refusal::IsClosed) => ApiError::new(Code::CycleClosed, "It never changes any more."),
        TellError::Refused(Refusal::IsClosing) => {
            come_again(Code::CycleClosing, "One cycle of a calendar is closed at a time.")
        }
        TellError::Refused(Refusal::OutOfOrder) => {
            ApiError::new(Code::CycleOutOfOrder, "Cycles are closed one after the other.")
        }
        TellError::Refused(Refusal::OutOfPlace | Refusal::TooManyJoins) | TellError::Duplicate => {
            ApiError::new(Code::ChangeRefused, "The calendar does not take this now.")
        }
        TellError::NotFound => ApiError::not_found(),
        TellError::Overloaded | TellError::Quarantined => {
            come_again(Code::Overloaded, "Nothing was accepted; try again.")
        }
        TellError::StoreAway => ApiError::store_unavailable(),
        TellError::OutcomeUnknown => ApiError::outcome_unknown(),
    }
}
