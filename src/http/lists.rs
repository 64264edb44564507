//! Lists: a platform's orders, an order's journal.

use std::fmt::Display;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;

use super::App;
use super::auth::Caller;
use super::draft;
use super::problem::{ApiError, Code};
use super::query::Query;
use super::schema;
use crate::domain::channel::Channel;
use crate::domain::id::OrderId;
use crate::domain::order::{Order, State};
use crate::domain::time::Instant;
use crate::domain::view;
use crate::engine::clock;
use crate::engine::unreadable::Table;
use crate::store::{JournalRow, OrderFilter, last_key};

const PARAMETERS: [&str; 7] =
    ["merchant_order_id", "state", "channel", "created_after", "created_before", "limit", "cursor"];
const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 100;

/// A page of a list.
#[derive(Serialize)]
pub struct Page<T> {
    pub data: Vec<T>,
    pub next_cursor: Option<String>,
}

/// A step of an order, as it stands in the journal.
#[derive(Serialize)]
struct JournalStep {
    version: u32,
    #[serde(serialize_with = "view::rfc3339")]
    at: Instant,
    events: Vec<Value>,
}

impl<T: Serialize> Page<T> {
    pub fn answer(&self) -> Result<HttpResponse, ApiError> {
        let body = serde_json::to_string(self).map_err(|_| ApiError::internal())?;
        Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(body))
    }

    pub fn whole(data: Vec<T>) -> Self {
        Page { data, next_cursor: None }
    }
}

/// A platform's orders, newest first.
#[utoipa::path(
    get,
    path = "/v1/orders",
    operation_id = "list_orders",
    tag = "orders",
    security(("platform_key" = [])),
    params(
        ("merchant_order_id" = Option<String>, Query),
        ("state" = Option<schema::State>, Query),
        ("channel" = Option<schema::Channel>, Query, description = "Orders paid or being paid by this channel."),
        ("created_after" = Option<String>, Query, description = "RFC 3339."),
        ("created_before" = Option<String>, Query, description = "RFC 3339."),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of orders.", body = schema::Orders))
)]
pub async fn orders(app: Data<App>, Caller(platform): Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &PARAMETERS)?;
    let limit = read_limit(&query)?;
    let filter = OrderFilter {
        platform: platform.id,
        merchant_order_id: query.parse(
            Code::MerchantOrderIdInvalid,
            "merchant_order_id",
            "1 to 64 of 0-9 A-Z a-z _ . : -",
            |text| draft::is_merchant_order_id(text).then(|| text.into()),
        )?,
        state: query.parse(
            Code::StateUnknown,
            "state",
            "created, validating, submitted, succeeded or failed",
            State::parse,
        )?,
        channel: query.parse(
            Code::ChannelUnknown,
            "channel",
            "simpay, wechat, alipay, unionpay or stripe",
            Channel::parse,
        )?,
        created_after: read_instant(&query, Code::CreatedAfterInvalid, "created_after")?,
        created_before: read_instant(&query, Code::CreatedBeforeInvalid, "created_before")?,
        before: read_place(&query, read_cursor)?,
        limit: limit.and_one(),
    };
    let mut stored = app.store.orders(&filter).await?;
    let more = limit.cut(&mut stored);
    // An order that cannot be read is not on the page, and the page goes on behind it.
    let next_cursor = last_key(&stored).filter(|_| more).map(write_cursor);
    let listed = app.unreadable.pass_over(Table::Orders, stored, ToString::to_string, clock::now());
    let outlooks = app.advice.outlooks_for(platform.id, listed.iter()).await;
    let data = listed
        .iter()
        .zip(&outlooks)
        .map(|(stored, outlook)| {
            let request = &stored.request;
            let beside = app.beside(&request.merchant_order_id, &request.asked, outlook);
            view::order_view(&stored.order, &beside, stored.next_action.as_deref())
        })
        .collect();
    Page { data, next_cursor }.answer()
}

/// The order's journal: its steps with their events, oldest first.
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/events",
    operation_id = "list_events",
    tag = "orders",
    security(("platform_key" = [])),
    params(
        ("id" = String, Path, description = "The order's id, `ord_…`."),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of the journal.", body = schema::Journal))
)]
pub async fn events(
    app: Data<App>,
    Caller(platform): Caller,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["limit", "cursor"])?;
    let limit = read_limit(&query)?;
    let after = read_place(&query, read_version)?.unwrap_or(0);
    let stored = app.owned(platform.id, &id).await?;
    let mut journal = app.store.journal_page(stored.order.id.into(), after, limit.and_one()).await?;
    let more = limit.cut(&mut journal);
    let next_cursor = journal.last().filter(|_| more).map(|row| URL_SAFE_NO_PAD.encode(row.version.to_be_bytes()));
    let data = journal.iter().map(journal_step).collect::<Result<Vec<_>, _>>()?;
    Page { data, next_cursor }.answer()
}

fn read_version(text: &str) -> Option<u32> {
    let bytes: [u8; 4] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

fn journal_step(row: &JournalRow) -> Result<JournalStep, ApiError> {
    let unreadable = |error: &dyn Display| {
        tracing::error!(%error, "a journal row cannot be read");
        ApiError::internal()
    };
    let record = row.record::<Order>().map_err(|error| unreadable(&error))?;
    let events = record.events.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
    let mut events = events.map_err(|error| unreadable(&error))?;
    events.iter_mut().for_each(spell_instants);
    Ok(JournalStep { version: row.version, at: row.at, events })
}

/// The journal counts milliseconds; readers outside are told instants as everywhere else.
fn spell_instants(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match field.as_i64().filter(|_| name == "at" || name == "since" || name.ends_with("_at")) {
                    Some(at) => *field = Value::String(Instant(at).rfc3339()),
                    None => spell_instants(field),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(spell_instants),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How many rows a page may have.
#[derive(Clone, Copy)]
pub struct Limit(u32);

impl Limit {
    /// One more than asked for tells whether there is a next page.
    pub fn and_one(self) -> u32 {
        self.0 + 1
    }

    /// Leaves a page of the rows that were read, and tells whether there is a next one.
    pub fn cut<T>(self, rows: &mut Vec<T>) -> bool {
        let more = rows.len() > self.0 as usize;
        rows.truncate(self.0 as usize);
        more
    }
}

pub fn read_limit(query: &Query<'_>) -> Result<Limit, ApiError> {
    let limit = query.parse(Code::LimitInvalid, "limit", "a whole number, 1 to 100", limit)?;
    Ok(Limit(limit.unwrap_or(LIMIT_DEFAULT)))
}

/// After which row a page begins, by the cursor that the page before ended with.
pub fn read_place<T>(query: &Query<'_>, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, ApiError> {
    query.parse(Code::CursorInvalid, "cursor", "the `next_cursor` of a page before", read)
}

pub fn read_instant(query: &Query<'_>, code: Code, name: &'static str) -> Result<Option<Instant>, ApiError> {
    query.parse(code, name, "an RFC 3339 instant", Instant::parse_rfc3339)
}

fn limit(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|limit| plain && (1..=LIMIT_MAX).contains(limit))
}

pub fn write_cursor(last: OrderId) -> String {
    URL_SAFE_NO_PAD.encode(last.as_u128().to_be_bytes())
}

pub fn read_cursor(text: &str) -> Option<OrderId> {
    let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    Some(OrderId::from_u128(u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Event, Fact};
    use crate::domain::id::Incarnation;
    use crate::domain::journal::{Salt, Title};
    use crate::domain::partition::LaneId;
    use serde_json::json;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        let id = OrderId::from_u128(0x0194_0000_1111_7222_8333_4444_5555_6666);
        let cursor = write_cursor(id);
        assert_eq!(read_cursor(&cursor), Some(id));
        for broken in ["", "x", "ord_0", &cursor[1..], &format!("{cursor}AA"), "+/+/+/+/+/+/+/+/+/+/+/"] {
            assert_eq!(read_cursor(broken), None, "{broken}");
        }
    }

    #[test]
    fn limits_are_plain() {
        for (text, expected) in
            [("1", Some(1)), ("100", Some(100)), ("0", None), ("101", None), ("+5", None), ("1.0", None), ("x", None)]
        {
            assert_eq!(limit(text), expected, "{text}");
        }
    }

    #[test]
    fn instants_within_events_are_spelled_out() {
        let mut event = json!({"at": 0, "type": "validated", "verdict": {"expires_at": 1_500, "account": "default"},
            "amount_minor": 5, "list": [{"since": 1}]});
        spell_instants(&mut event);
        assert_eq!(
            event,
            json!({
                "at": "1970-01-01T00:00:00.000Z",
                "type": "validated",
                "verdict": {"expires_at": "1970-01-01T00:00:01.500Z", "account": "default"},
                "amount_minor": 5,
                "list": [{"since": "1970-01-01T00:00:00.001Z"}],
            })
        );
    }

    #[test]
    fn a_step_is_shown_without_what_else_its_row_holds() {
        let (id, at) = (OrderId::from_u128(7), Instant(0));
        let event = Event { at, incarnation: Incarnation::default(), fact: Fact::CancelAsked };
        let body = Title::of::<Order>(id.as_u128(), 2, at).write(Salt([7; 16]), &[event]).unwrap();
        let row = JournalRow { stream: id.into(), version: 2, at, body, lane: LaneId::FIRST, place: 2 };
        let step = serde_json::to_value(journal_step(&row).unwrap()).unwrap();
        let event = json!({"at": "1970-01-01T00:00:00.000Z", "incarnation": 0, "type": "cancel_asked"});
        assert_eq!(step, json!({"version": 2, "at": "1970-01-01T00:00:00.000Z", "events": [event]}));
        assert!(journal_step(&JournalRow { version: 3, ..row }).is_err(), "it is the row of another step");
    }
}
