//! The operators themselves: who there is, their keys, and what they did.

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
use crate::domain::operator::{Key, Role};
use crate::domain::time::Instant;
use crate::domain::view;
use crate::engine::changes::{ChangeError, Staffing};
use crate::engine::clock;
use crate::store::{OperatorAct, OperatorKeyRow};

/// A key of its own that somebody makes, as its hash: the key itself never leaves the person's machine.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    key: Key,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoked {
    hint: Option<Box<str>>,
}

#[derive(Serialize)]
struct OperatorView {
    name: Box<str>,
    role: Role,
    keys: Vec<KeyView>,
}

#[derive(Serialize)]
struct KeyView {
    hint: Box<str>,
    #[serde(serialize_with = "view::rfc3339")]
    created_at: Instant,
    #[serde(serialize_with = "view::optional_rfc3339")]
    expires_at: Option<Instant>,
    #[serde(serialize_with = "view::optional_rfc3339")]
    revoked_at: Option<Instant>,
    in_force: bool,
}

#[derive(Serialize)]
struct ActView {
    #[serde(serialize_with = "view::rfc3339")]
    at: Instant,
    operator: Box<str>,
    act: Box<str>,
    subject: Box<str>,
    outcome: Box<str>,
}

impl KeyView {
    fn of(row: OperatorKeyRow, now: Instant) -> Self {
        let in_force = row.revoked_at.is_none() && row.key.is_in_force(now);
        let (created_at, expires_at, revoked_at) = (row.created_at, row.key.expires_at, row.revoked_at);
        KeyView { hint: row.key.hint, created_at, expires_at, revoked_at, in_force }
    }
}

/// All operators with their keys, of which only the first characters are shown.
#[utoipa::path(
    get,
    path = "/v1/operator/operators",
    operation_id = "list_operators",
    tag = "operators",
    security(("operator_key" = [])),
    responses((status = 200, description = "All there ever were.", body = schema::Operators))
)]
pub async fn list(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?;
    let now = clock::now();
    let mut data = Vec::new();
    for operator in app.store.operators().await? {
        let operator = operator.value?;
        let keys = app.store.operator_keys(operator.id).await?;
        let keys = keys.into_iter().map(|row| KeyView::of(row, now)).collect();
        data.push(OperatorView { name: operator.name, role: operator.role, keys });
    }
    Page::whole(data).answer()
}

/// Puts a further key of one's own in force. The body has its hash: nobody else ever has the key.
#[utoipa::path(
    post,
    path = "/v1/operator/keys",
    operation_id = "add_operator_key",
    tag = "operators",
    security(("operator_key" = [])),
    request_body = schema::NewOperatorKey,
    responses((status = 204, description = "The key is in force."))
)]
pub async fn add_key(
    app: Data<App>,
    person: Operator,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let NewKey { key } = read(&body)?;
    let subject = key.hint.clone();
    let staffing = Staffing::AddKey { name: person.name().into(), key };
    let done = app.changes.staff(staffing).await.map_err(ApiError::from);
    app.noted(&person, "key_added", &subject, done).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Revokes an operator's keys: those that begin with `hint`, or all.
#[utoipa::path(
    post,
    path = "/v1/operator/operators/{name}/revoke",
    operation_id = "revoke_operator_keys",
    tag = "operators",
    security(("operator_key" = [])),
    params(("name" = String, Path, description = "The operator's name.")),
    request_body = schema::RevokedOperatorKeys,
    responses((status = 204, description = "They are in force no more."))
)]
pub async fn revoke(
    app: Data<App>,
    person: Operator,
    name: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let Revoked { hint } = read(&body)?;
    app.store.operator_by_name(&name).await?.ok_or_else(ApiError::not_found)?;
    let staffing = Staffing::RevokeKeys { name: name.as_str().into(), hint };
    let done = app.changes.staff(staffing).await.map_err(ApiError::from);
    app.operators.forget();
    app.noted(&person, "keys_revoked", &name, done).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// What operators did and what was refused them, the newest first.
#[utoipa::path(
    get,
    path = "/v1/operator/acts",
    operation_id = "list_operator_acts",
    tag = "operators",
    security(("operator_key" = [])),
    params(
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of acts.", body = schema::OperatorActs))
)]
pub async fn acts(app: Data<App>, _: Operator, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["limit", "cursor"])?;
    let limit = lists::read_limit(&query)?;
    let before = lists::read_place(&query, |cursor| u128::from_str_radix(cursor, 16).ok())?;
    let mut acts = app.store.operator_acts(before, limit.and_one()).await?;
    let more = limit.cut(&mut acts);
    let next_cursor = acts.last().filter(|_| more).map(|last| format!("{:032x}", last.id));
    let view = |act: OperatorAct| {
        let OperatorAct { id: _, at, operator, act, subject, outcome } = act;
        ActView { at, operator, act, subject, outcome }
    };
    Page { data: acts.into_iter().map(view).collect(), next_cursor }.answer()
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::new(Code::BodyInvalid, format!("The body cannot be read: {error}.")))
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(why) => ApiError::new(Code::ChangeRefused, why),
            ChangeError::StoreAway(_) => ApiError::store_unavailable(),
            ChangeError::Partly { .. } | ChangeError::OutcomeUnknown => ApiError::outcome_unknown(),
        }
    }
}
