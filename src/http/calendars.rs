//! For operators: calendars, closing a cycle before its end, and when the next ones end.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use super::App;
use super::auth::Operator;
use super::json;
use super::lists::Page;
use super::problem::{ApiError, Code};
use super::query::Query;
use super::schema;
use crate::domain::calendar::Schedule;
use crate::domain::closing::{Calendar, Cycle, Refusal};
use crate::domain::cycle::CalendarId;
use crate::domain::money::Currency;
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
    json::require_json(&request)?;
    let body = json::bytes(&request, payload, &app.config.server).await?;
    let Close { number } = given(&body)?;
    let id = calendar_id(&id)?;
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
    json::require_json(&request)?;
    let body = json::bytes(&request, payload, &app.config.server).await?;
    let Reschedule { schedule } = given(&body)?;
    let schedule = Schedule::parse(&schedule)
        .map_err(|error| ApiError::field(Code::FieldInvalid, "schedule", error.to_string()))?;
    let id = calendar_id(&id)?;
    let done = app.tell(id, Told::Reschedule { schedule, operator: person.name().into() }).await;
    app.noted(&person, "calendar_rescheduled", &id.to_string(), done).await?;
    Ok(HttpResponse::Ok().json(app.calendar(id).await?))
}

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
