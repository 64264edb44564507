//! For operators: what no query settles, and orders that cannot be worked on.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::App;
use super::auth::Operator;
use super::draft;
use super::json::{self, Json};
use super::lists::{self, Page};
use super::problem::{ApiError, Code};
use super::query::Query;
use super::schema;
use crate::domain::dated::Dated;
use crate::domain::event::{Finding, RefundResolution, Refusal};
use crate::domain::id::OrderId;
use crate::domain::money::{Currency, format_minor};
use crate::domain::order::Order;
use crate::domain::proposal::Act;
use crate::domain::refund::{Attention, Refund, RefundState};
use crate::domain::time::Instant;
use crate::domain::view;
use crate::engine::ask::AskError;
use crate::engine::clock;
use crate::engine::quarantine::{Held, Quarantined};
use crate::engine::unreadable::{Table, Unreadable};
use crate::store::last_key;

const REFUND_RESOLUTION_FIELDS: [&str; 3] = ["refund", "resolution", "evidence"];
const RESOLUTION_FIELDS: [&str; 5] = ["attempt", "finding", "reference", "amount", "evidence"];
/// The longest name of a capture that a channel may give one: Stripe's ids (docs.stripe.com/upgrades).
const REFERENCE_MAX: usize = 255;
const EVIDENCE_MAX: usize = 500;

/// Proposes what became of an attempt, by what a person found out at the channel.
#[utoipa::path(
    post,
    path = "/v1/operator/orders/{id}/resolve",
    operation_id = "resolve_attempt",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = String, Path, description = "The order's id, `ord_…`.")),
    request_body = schema::Resolution,
    responses((status = 202, description = "The proposal, which another person approves.", body = schema::Proposal))
)]
pub async fn resolve(
    app: Data<App>,
    person: Operator,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let id = order_id(&id)?;
    let stored = app.store.order(id).await?.ok_or_else(ApiError::not_found)?;
    let Found { ordinal, finding, evidence } = resolution(&body, stored.order.currency)?;
    let act = Act::ResolveAttempt { order: id, ordinal, finding };
    app.propose(&person, act, evidence, StatusCode::ACCEPTED).await
}

/// Proposes how a refund ended that its channel does not bring to an end, by what a person found out or did.
#[utoipa::path(
    post,
    path = "/v1/operator/orders/{id}/refunds/resolve",
    operation_id = "resolve_refund",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = String, Path, description = "The order's id, `ord_…`.")),
    request_body = schema::RefundResolution,
    responses((status = 202, description = "The proposal, which another person approves.", body = schema::Proposal))
)]
pub async fn resolve_refund(
    app: Data<App>,
    person: Operator,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let id = order_id(&id)?;
    let stored = app.store.order(id).await?.ok_or_else(ApiError::not_found)?;
    let (refund, resolution, evidence) = refund_resolution(&body, &stored.order)?;
    let act = Act::ResolveRefund { order: id, refund, resolution };
    app.propose(&person, act, evidence, StatusCode::ACCEPTED).await
}

/// Orders that cannot be worked on, and why.
#[utoipa::path(
    get,
    path = "/v1/operator/quarantine",
    operation_id = "list_quarantine",
    tag = "operators",
    security(("operator_key" = [])),
    params(
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of orders, by id.", body = schema::Quarantine))
)]
pub async fn quarantine(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["limit", "cursor"])?;
    let limit = lists::read_limit(&query)?;
    let after = lists::read_place(&query, lists::read_cursor)?;
    let held = app.desk.directory().quarantine().list(after.map(OrderId::as_u128), limit.and_one() as usize);
    let mut held: Vec<(OrderId, Quarantined)> =
        held.into_iter().map(|(id, held)| (OrderId::from_u128(id), held)).collect();
    let more = limit.cut(&mut held);
    let next_cursor = held.last().filter(|_| more).map(|(last, _)| lists::write_cursor(*last));
    let mut data = Vec::with_capacity(held.len());
    for (order, held) in held {
        data.push(app.show_held(order, held).await?);
    }
    Page { data, next_cursor }.answer()
}

/// Refunds that wait for money or a person at their channel, or that it does not bring to an end, by order; those of
/// suspense money are among them.
#[utoipa::path(
    get,
    path = "/v1/operator/stuck_refunds",
    operation_id = "list_stuck_refunds",
    tag = "operators",
    security(("operator_key" = [])),
    params(
        ("limit" = Option<u32>, Query, description = "Of how many orders, 1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of refunds.", body = schema::StuckRefunds))
)]
pub async fn stuck_refunds(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["limit", "cursor"])?;
    let limit = lists::read_limit(&query)?;
    let after = lists::read_place(&query, lists::read_cursor)?;
    let mut stored = app.store.stuck_refunds(after, limit.and_one()).await?;
    let more = limit.cut(&mut stored);
    let next_cursor = last_key(&stored).filter(|_| more).map(lists::write_cursor);
    let read = app.unreadable.pass_over(Table::Orders, stored, ToString::to_string, clock::now());
    let data = read.iter().flat_map(|(since, order)| StuckView::of(order, *since)).collect();
    Page { data, next_cursor }.answer()
}

#[derive(Serialize)]
struct StuckView {
    order: OrderId,
    /// As [`resolve_refund`] takes it.
    refund: String,
    cause: &'static str,
    account: String,
    amount: String,
    currency: Currency,
    state: RefundState,
    attention: Option<Attention>,
    tries: Option<u16>,
    #[serde(serialize_with = "view::rfc3339")]
    since: Instant,
}

impl StuckView {
    fn of(order: &Order, since: Instant) -> Vec<Self> {
        let view = |refund: &Refund| {
            let number = order.refund_number(refund, refund.round)?.to_string();
            Some(StuckView {
                order: order.id,
                refund: order.refund_id(refund).map_or(number, |id| id.to_string()),
                cause: if refund.is_of_suspense() { "suspense" } else { "asked" },
                account: order.attempt_of(refund)?.account.to_string(),
                amount: format_minor(refund.amount_minor, order.currency),
                currency: order.currency,
                state: refund.state(),
                attention: refund.attention,
                tries: refund.tries(),
                since,
            })
        };
        order.refunds.iter().filter(|refund| refund.is_stuck()).filter_map(view).collect()
    }
}

/// Tries a quarantined order again at once.
#[utoipa::path(
    post,
    path = "/v1/operator/quarantine/{id}/retry",
    operation_id = "retry_quarantined",
    tag = "operators",
    security(("operator_key" = [])),
    params(("id" = String, Path, description = "The order's id, `ord_…`.")),
    responses((status = 202, description = "It is being tried; the list tells how it went.", body = schema::Quarantined))
)]
pub async fn retry(app: Data<App>, person: Operator, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id = order_id(&id)?;
    let held = app.desk.directory().try_again(id.as_u128()).map_err(ApiError::from);
    let held = app.noted(&person, "order_retried", &id.to_string(), held).await?;
    Ok(HttpResponse::Accepted().json(app.show_held(id, held).await?))
}

/// Stored rows that cannot be read and are passed over. The list lives in memory.
#[utoipa::path(
    get,
    path = "/v1/operator/unreadable",
    operation_id = "list_unreadable",
    tag = "operators",
    security(("operator_key" = [])),
    responses((status = 200, description = "All of them, at most 1,000.", body = schema::UnreadableRows))
)]
pub async fn unreadable(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let rows = app.unreadable.list().into_iter();
    let view = |(table, row, Unreadable { why, since, .. }): (Table, String, Unreadable)| UnreadableView {
        table: table.name(),
        row,
        why,
        since,
    };
    Page::whole(rows.map(view).collect()).answer()
}

#[derive(Serialize)]
struct UnreadableView {
    table: &'static str,
    row: String,
    why: String,
    #[serde(serialize_with = "view::rfc3339")]
    since: Instant,
}

#[derive(Serialize)]
struct HeldView {
    order: OrderId,
    why: String,
    #[serde(serialize_with = "view::rfc3339")]
    since: Instant,
    tries: usize,
    #[serde(serialize_with = "view::rfc3339")]
    retry_at: Instant,
    held: &'static str,
    inbox: i64,
}

impl App {
    async fn show_held(&self, order: OrderId, held: Quarantined) -> Result<HeldView, ApiError> {
        let inbox = self.store.inbox_size_of(order).await?;
        let Quarantined { why, since, tries, retry_at, held } = held;
        let held = match held {
            Held::Back => "back",
            Held::OnTrial => "on_trial",
        };
        Ok(HeldView { order, why, since, tries, retry_at, held, inbox })
    }
}

fn order_id(text: &str) -> Result<OrderId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found())
}

/// What a person found out about an attempt.
#[derive(Debug)]
pub struct Found {
    pub ordinal: u8,
    pub finding: Finding,
    pub evidence: Box<str>,
}

fn resolution(body: &[u8], currency: Currency) -> Result<Found, ApiError> {
    let mut fields = json::object(body, &RESOLUTION_FIELDS)?;
    let ordinal = fields.take("attempt").integer().and_then(|number| u8::try_from(number).ok()?.checked_sub(1));
    let ordinal = ordinal.ok_or_else(unknown_attempt)?;
    let (reference, amount) = (fields.take("reference"), fields.take("amount"));
    let finding = match fields.take("finding").text().as_deref() {
        Some("paid") => Finding::Paid {
            reference: words(reference, Code::ReferenceInvalid, "reference", REFERENCE_MAX)?,
            amount_minor: draft::amount(amount.text().as_deref(), currency)?,
            dated: Dated::NOT_TOLD,
        },
        Some("not_paid") => {
            nothing(&reference, Code::ReferenceInvalid, "reference")?;
            nothing(&amount, Code::AmountInvalid, "amount")?;
            Finding::Closed
        }
        _ => return Err(ApiError::field(Code::FindingUnknown, "finding", "paid or not_paid is required")),
    };
    let evidence = words(fields.take("evidence"), Code::EvidenceInvalid, "evidence", EVIDENCE_MAX)?;
    Ok(Found { ordinal, finding, evidence })
}

fn refund_resolution(body: &[u8], order: &Order) -> Result<(u16, RefundResolution, Box<str>), ApiError> {
    let mut fields = json::object(body, &REFUND_RESOLUTION_FIELDS)?;
    let unknown = || ApiError::field(Code::FieldInvalid, "refund", "a refund's id or its number at the channel");
    let refund = fields.take("refund").text().and_then(|text| refund_named(order, &text)).ok_or_else(unknown)?;
    let resolution = match fields.take("resolution").text().as_deref() {
        Some("failed") => RefundResolution::Failed,
        Some("paid_otherwise") => RefundResolution::PaidOtherwise,
        _ => return Err(ApiError::field(Code::FieldInvalid, "resolution", "failed or paid_otherwise is required")),
    };
    let evidence = words(fields.take("evidence"), Code::EvidenceInvalid, "evidence", EVIDENCE_MAX)?;
    Ok((refund, resolution, evidence))
}

/// The refund of this id, or of this number at its channel: suspense has no id.
fn refund_named(order: &Order, text: &str) -> Option<u16> {
    let is_it = |refund: &Refund| order.refund_id(refund).is_some_and(|id| id.to_string() == text);
    let by_id = order.refunds.iter().position(is_it).and_then(|place| u16::try_from(place).ok());
    by_id.or_else(|| order.refund_numbered(text).map(|(index, _)| index))
}

pub fn words(given: Json<'_>, code: Code, field: &'static str, max: usize) -> Result<Box<str>, ApiError> {
    let words = draft::text(given, max).map(String::into_boxed_str);
    words.ok_or_else(|| {
        ApiError::field(code, field, format!("1 to {max} characters are required, no control characters"))
    })
}

fn nothing(given: &Json<'_>, code: Code, field: &'static str) -> Result<(), ApiError> {
    match given.is_null() {
        true => Ok(()),
        false => Err(ApiError::field(code, field, "only what was paid has it")),
    }
}

fn unknown_attempt() -> ApiError {
    ApiError::field(Code::AttemptUnknown, "attempt", "the number of one of the order's attempts is required")
}

/// Why an order does not take what was found out about an attempt.
pub fn refused(error: AskError) -> ApiError {
    let why: Cow<'static, str> = match error {
        AskError::Refused(Refusal::AttemptUnknown) => return unknown_attempt(),
        AskError::Refused(Refusal::CaptureContradicts) => {
            "The attempt has a capture that this finding contradicts; look at the order.".into()
        }
        AskError::Refused(
            Refusal::OrderFinal
            | Refusal::AttemptOpen { .. }
            | Refusal::AttemptsUsedUp
            | Refusal::ChannelUnusable { .. }
            | Refusal::AccountDiffers
            | Refusal::OutOfPlace,
        ) => "The order does not take this finding.".into(),
        error => return error.into(),
    };
    ApiError::new(Code::ResolutionRefused, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn full() -> Value {
        json!({"attempt": 2, "finding": "paid", "reference": "4200", "amount": "200.60",
            "evidence": "statement 2026-01-02, line 7"})
    }

    fn read(body: &Value) -> Result<Found, ApiError> {
        resolution(&serde_json::to_vec(body).unwrap(), Currency::parse("CNY").unwrap())
    }

    #[test]
    fn a_resolution_is_read() {
        let paid = read(&full()).unwrap();
        assert_eq!(paid.ordinal, 1);
        assert_eq!(
            paid.finding,
            Finding::Paid { reference: "4200".into(), amount_minor: 20_060, dated: Dated::NOT_TOLD }
        );
        let not_paid = json!({"attempt": 1, "finding": "not_paid", "evidence": "call 7"});
        assert_eq!(read(&not_paid).unwrap().finding, Finding::Closed);
    }

    #[test]
    fn each_field_is_refused_by_its_own_code() {
        let long = "x".repeat(501);
        let table = [
            ("attempt", json!(0), Code::AttemptUnknown),
            ("attempt", json!(257), Code::AttemptUnknown),
            ("attempt", json!("1"), Code::AttemptUnknown),
            ("finding", json!("perhaps"), Code::FindingUnknown),
            ("finding", json!("not_paid"), Code::ReferenceInvalid),
            ("finding", Value::Null, Code::FindingUnknown),
            ("reference", json!(""), Code::ReferenceInvalid),
            ("reference", json!("x".repeat(256)), Code::ReferenceInvalid),
            ("amount", json!(200.60), Code::AmountInvalid),
            ("amount", json!("200.601"), Code::AmountInvalid),
            ("evidence", json!("l\ni"), Code::EvidenceInvalid),
            ("evidence", json!(long), Code::EvidenceInvalid),
            ("evidence", Value::Null, Code::EvidenceInvalid),
            ("who", json!("li"), Code::FieldUnknown),
        ];
        for (field, value, code) in table {
            let mut body = full();
            body[field] = value;
            assert_eq!(read(&body).unwrap_err().code, code, "{body}");
        }
    }
}
