//! Refunds: create, read, list.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::App;
use super::auth::Caller;
use super::draft;
use super::edge;
use super::idempotency::{self, Fingerprint};
use super::json::{self, Json};
use super::lists::{Limit, Page, read_instant, read_limit, read_place};
use super::orders::{JSON, REPLAYED, applied};
use super::problem::{ApiError, Code};
use super::query::Query;
use super::reservations::Reserved;
use super::schema;
use crate::domain::event::Refusal;
use crate::domain::id::{OrderId, RefundId};
use crate::domain::money::{Currency, format_minor};
use crate::domain::refund::{FeePolicy, RefundState};
use crate::domain::time::Instant;
use crate::engine::ask::{AskError, Patience, RefundWanted};
use crate::engine::clock;
use crate::engine::unreadable::Table;
use crate::store::{Claim, OrderTerms, RefundFilter, RefundPlace, StoredPlatform, StoredRefund, last_key};

const FIELDS: [&str; 4] = ["merchant_refund_id", "amount", "reason", "fee_policy"];
const PARAMETERS: [&str; 7] =
    ["merchant_refund_id", "order", "state", "created_after", "created_before", "limit", "cursor"];
const REASON_MAX: usize = 80;

/// A refund as a platform posted it.
struct Draft {
    merchant_refund_id: Box<str>,
    /// None: all that is left.
    amount_minor: Option<i64>,
    reason: Option<Box<str>>,
    fee_policy: FeePolicy,
}

impl Draft {
    fn read(body: &[u8], currency: Currency) -> Result<Self, ApiError> {
        let invalid = |field: &'static str, why: &'static str| ApiError::field(Code::FieldInvalid, field, why);
        let mut fields = json::object(body, &FIELDS)?;
        let named = fields.take("merchant_refund_id").text().filter(|text| draft::is_merchant_order_id(text));
        let named = named.map(|text| Box::from(text.as_ref()));
        let merchant_refund_id =
            named.ok_or_else(|| invalid("merchant_refund_id", "1 to 64 of 0-9 A-Z a-z _ . : - are required"))?;
        let amount_minor = match fields.take("amount") {
            Json::Null => None,
            given => Some(draft::amount(given.text().as_deref(), currency)?),
        };
        let reason = match fields.take("reason") {
            Json::Null => None,
            given => Some(
                draft::text(given, REASON_MAX)
                    .ok_or_else(|| invalid("reason", "1 to 80 characters, no control characters"))?,
            ),
        };
        let fee_policy = match fields.take("fee_policy") {
            Json::Null => FeePolicy::default(),
            given => given
                .text()
                .as_deref()
                .and_then(FeePolicy::parse)
                .ok_or_else(|| invalid("fee_policy", "proportional or kept"))?,
        };
        Ok(Draft { merchant_refund_id, amount_minor, reason: reason.map(Into::into), fee_policy })
    }

    /// The first field in which this request differs from what is on record under its name.
    fn difference(&self, order: OrderId, stored: &StoredRefund) -> Option<&'static str> {
        let row = &stored.row;
        // Without an amount it asks for all that could have been asked for then.
        let amount_minor = self.amount_minor.unwrap_or(row.refundable_minor);
        let same = [
            ("order", order == stored.order),
            ("amount", amount_minor == row.amount_minor),
            ("reason", self.reason == row.reason),
            ("fee_policy", self.fee_policy == row.fee_policy),
        ];
        same.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
    }

    fn wanted(&self) -> RefundWanted {
        RefundWanted {
            merchant_refund_id: self.merchant_refund_id.clone(),
            reason: self.reason.clone(),
            amount_minor: self.amount_minor,
            fee_policy: self.fee_policy,
            seller_max_minor: None,
        }
    }
}

/// Gives money of a succeeded order back to its payer.
///
/// Waits at most 3 s for the channel's certain word. The same request again gets the refund as it is now, with
/// `Idempotent-Replayed: true`.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/refunds",
    operation_id = "create_refund",
    tag = "refunds",
    security(("platform_key" = [])),
    params(("id" = String, Path, description = "The order's id, `ord_…`."), ("Prefer" = Option<String>, Header, description = "`respond-async`: answer as soon as it is durable."), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, kept at least 24 h.")),
    request_body = schema::NewRefund,
    responses(
        (status = 201, description = "Created; `Location` tells where it is.", body = schema::Refund),
        (status = 200, description = "It was created before by the same request.", body = schema::Refund)
    )
)]
pub async fn create(
    app: Data<App>,
    Caller(platform): Caller,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let patience = edge::patience(request.headers());
    let id: OrderId = id.parse().map_err(|_| ApiError::not_found())?;
    let terms = app.store.order_terms(id).await?.filter(|terms| terms.platform == platform.id);
    let terms = terms.ok_or_else(ApiError::not_found)?;
    let draft = Draft::read(&body, terms.currency)?;
    let asked = Asked { order: id, terms, draft, patience };
    match idempotency::key(request.headers())? {
        None => {
            let app = app.clone();
            // A task of its own: should the client go, the refund's name stays taken until it is durable.
            let answer = actix_web::rt::spawn(async move { app.refund(&platform, &asked, None).await }).await;
            answer.map_err(|_| ApiError::internal())?.map(Answered::answer)
        }
        Some(key) => {
            let fingerprint = idempotency::fingerprint(request.method().as_str(), request.path(), &body);
            let (app, key) = (app.clone(), Box::from(key));
            // A task of its own: should the client go, the key stays taken until what was asked for is over.
            let answer =
                actix_web::rt::spawn(async move { app.keyed_refund(&platform, asked, key, fingerprint).await }).await;
            answer.map_err(|_| ApiError::internal())?
        }
    }
}

/// A refund that is asked for, of an order of the caller's.
struct Asked {
    order: OrderId,
    terms: OrderTerms,
    draft: Draft,
    patience: Patience,
}

/// A refund as it is answered.
struct Answered {
    status: StatusCode,
    body: String,
    location: String,
    patience: Patience,
}

impl Answered {
    fn answer(self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status).insert_header((CONTENT_TYPE, JSON)).body(self.body);
        match self.status {
            StatusCode::CREATED => {
                if let Ok(location) = HeaderValue::from_str(&self.location) {
                    answer.headers_mut().insert(LOCATION, location);
                }
                applied(answer.headers_mut(), self.patience);
            }
            _ => {
                answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            }
        }
        answer
    }
}

impl App {
    /// Opens a refund, or finds the one that was opened under its name.
    async fn refund(
        &self,
        platform: &StoredPlatform,
        asked: &Asked,
        claim: Option<Box<Claim>>,
    ) -> Result<Answered, ApiError> {
        let Asked { order: id, terms, draft, patience } = asked;
        let (id, currency) = (*id, terms.currency);
        let _reservation = loop {
            match self.refunding.reserve(platform.id, &draft.merchant_refund_id) {
                Reserved::Mine(reservation) => break reservation,
                Reserved::Busy(waiting) => waiting.over().await,
            }
        };
        // While a commit's outcome is open, a name that nobody can read may still be taken.
        if self.lanes.is_away() {
            return Err(ApiError::store_unavailable());
        }
        if let Some(first) = self.store.refund_by_merchant_id(platform.id, &draft.merchant_refund_id).await? {
            return self.repeat_refund(asked, first).await;
        }
        // Without an amount it takes what is left when it is its turn. A seller never gives more than the order's amount.
        let most_minor = draft.amount_minor.unwrap_or(terms.amount_minor);
        let allowed = self.may_owe(platform.id, (currency, terms.debt_bound_minor), most_minor).await?;
        let wanted = RefundWanted { seller_max_minor: allowed.seller_max_minor, ..draft.wanted() };
        let opened = self.desk.refund(id, wanted, *patience, (claim, || allowed.release())).await;
        let stored = match opened {
            // The name was given while this one was on its way, by a lane or process that reserves names of its own.
            Err(AskError::Duplicate) => {
                let first = self.store.refund_by_merchant_id(platform.id, &draft.merchant_refund_id).await?;
                return self.repeat_refund(asked, first.ok_or_else(ApiError::internal)?).await;
            }
            opened => opened.map_err(|error| refused(error, currency))?,
        };
        self.write_refund(StatusCode::CREATED, stored, *patience).await
    }

    /// The same request again: the refund as it is now, if it is the same.
    async fn repeat_refund(&self, asked: &Asked, first: StoredRefund) -> Result<Answered, ApiError> {
        let Asked { order, draft, patience, .. } = asked;
        if let Some(field) = draft.difference(*order, &first) {
            let detail = format!("{} is the name of a refund with another {field}.", draft.merchant_refund_id);
            return Err(ApiError::field(Code::RefundConflict, field, detail));
        }
        self.write_refund(StatusCode::OK, first, *patience).await
    }

    async fn keyed_refund(
        &self,
        platform: &StoredPlatform,
        asked: Asked,
        key: Box<str>,
        fingerprint: Fingerprint,
    ) -> Result<HttpResponse, ApiError> {
        let (_running, kept) = self.take_key(platform.id, &key, &fingerprint).await?;
        if let Some(given) = kept.and_then(|kept| kept.given) {
            let status = StatusCode::from_u16(given.status).map_err(|_| ApiError::internal())?;
            let replayed = (REPLAYED, HeaderValue::from_static("true"));
            let mut answer = HttpResponse::build(status);
            return Ok(answer
                .insert_header((CONTENT_TYPE, JSON))
                .insert_header(replayed)
                .body(String::from(given.body)));
        }
        // Where the claim is there and its answer was lost, the refund's own name finds what was done under it.
        let claim = Claim { platform: platform.id, key, fingerprint, order: asked.order, at: clock::now() };
        let answered = self.refund(platform, &asked, Some(Box::new(claim.clone()))).await?;
        self.keep(claim, answered.status, answered.body.clone()).await?;
        Ok(answered.answer())
    }

    async fn write_refund(
        &self,
        status: StatusCode,
        stored: StoredRefund,
        patience: Patience,
    ) -> Result<Answered, ApiError> {
        let location = self.config.public_url(&format!("/v1/refunds/{}", stored.id()));
        let shown = self.desk.refund_view(&stored).await?;
        let body = serde_json::to_string(&shown).map_err(|_| ApiError::internal())?;
        Ok(Answered { status, body, location, patience })
    }

    async fn list_refunds(&self, filter: RefundFilter, limit: Limit) -> Result<HttpResponse, ApiError> {
        let mut stored = self.store.refunds(&filter).await?;
        let more = limit.cut(&mut stored);
        let next_cursor = last_key(&stored).filter(|_| more).map(write_cursor);
        let shown = |(_, order, _): &RefundPlace| order.to_string();
        let mut data = Vec::with_capacity(stored.len());
        for stored in self.unreadable.pass_over(Table::Refunds, stored, shown, clock::now()) {
            data.push(self.desk.refund_view(&stored).await?);
        }
        Page { data, next_cursor }.answer()
    }
}

/// Why a refund was not opened, told with what is left.
fn refused(error: AskError, currency: Currency) -> ApiError {
    match error {
        AskError::Refused(Refusal::RefundExceeds { remaining_minor }) => {
            let remaining = format_minor(remaining_minor, currency);
            let detail = format!("{remaining} {currency} is left of what the order was paid by.");
            ApiError::field(Code::RefundExceedsRemaining, "amount", detail).with_remaining(remaining)
        }
        AskError::Refused(refusal) => refusal.into(),
        error @ (AskError::Duplicate
        | AskError::Overloaded
        | AskError::StoreAway
        | AskError::OutcomeUnknown
        | AskError::Quarantined
        | AskError::NotFound) => error.into(),
    }
}

/// A refund as it is now.
#[utoipa::path(
    get,
    path = "/v1/refunds/{id}",
    operation_id = "get_refund",
    tag = "refunds",
    security(("platform_key" = [])),
    params(("id" = String, Path, description = "The refund's id, `re_…`.")),
    responses((status = 200, description = "The refund.", body = schema::Refund))
)]
pub async fn get(app: Data<App>, Caller(platform): Caller, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let id: RefundId = id.parse().map_err(|_| ApiError::not_found())?;
    let stored = app.store.refund(id).await?.filter(|stored| stored.row.platform == platform.id);
    let shown = app.desk.refund_view(&stored.ok_or_else(ApiError::not_found)?).await?;
    let body = serde_json::to_string(&shown).map_err(|_| ApiError::internal())?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON)).body(body))
}

/// A platform's refunds, newest first.
#[utoipa::path(
    get,
    path = "/v1/refunds",
    operation_id = "list_refunds",
    tag = "refunds",
    security(("platform_key" = [])),
    params(
        ("merchant_refund_id" = Option<String>, Query),
        ("order" = Option<String>, Query, description = "Refunds of this order."),
        ("state" = Option<schema::RefundState>, Query),
        ("created_after" = Option<String>, Query, description = "RFC 3339."),
        ("created_before" = Option<String>, Query, description = "RFC 3339."),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of refunds.", body = schema::Refunds))
)]
pub async fn list(app: Data<App>, Caller(platform): Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &PARAMETERS)?;
    let limit = read_limit(&query)?;
    let filter = RefundFilter {
        platform: platform.id,
        merchant_refund_id: query.parse(
            Code::FieldInvalid,
            "merchant_refund_id",
            "1 to 64 of 0-9 A-Z a-z _ . : -",
            |text| draft::is_merchant_order_id(text).then(|| text.into()),
        )?,
        order: query.parse(Code::FieldInvalid, "order", "an order's id", |text| text.parse().ok())?,
        state: query.parse(
            Code::StateUnknown,
            "state",
            "created, submitted, succeeded, failed or returned",
            RefundState::parse,
        )?,
        created_after: read_instant(&query, Code::CreatedAfterInvalid, "created_after")?,
        created_before: read_instant(&query, Code::CreatedBeforeInvalid, "created_before")?,
        before: read_place(&query, read_cursor)?,
        limit: limit.and_one(),
    };
    app.list_refunds(filter, limit).await
}

/// The refunds of an order, newest first.
#[utoipa::path(
    get,
    path = "/v1/orders/{id}/refunds",
    operation_id = "list_order_refunds",
    tag = "refunds",
    security(("platform_key" = [])),
    params(
        ("id" = String, Path, description = "The order's id, `ord_…`."),
        ("limit" = Option<u32>, Query, description = "1 to 100, default 20."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of refunds.", body = schema::Refunds))
)]
pub async fn of_order(
    app: Data<App>,
    Caller(platform): Caller,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::read(&request, &["limit", "cursor"])?;
    let limit = read_limit(&query)?;
    let before = read_place(&query, read_cursor)?;
    let order = app.owned(platform.id, &id).await?.order.id;
    let filter = RefundFilter {
        platform: platform.id,
        merchant_refund_id: None,
        order: Some(order),
        state: None,
        created_after: None,
        created_before: None,
        before,
        limit: limit.and_one(),
    };
    app.list_refunds(filter, limit).await
}

fn write_cursor((created_at, order, ordinal): RefundPlace) -> String {
    let mut bytes = created_at.0.to_be_bytes().to_vec();
    bytes.extend(order.as_u128().to_be_bytes());
    bytes.push(ordinal.into());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor(text: &str) -> Option<RefundPlace> {
    let bytes: [u8; 25] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (created_at, rest) = bytes.split_first_chunk::<8>()?;
    let (order, rest) = rest.split_first_chunk::<16>()?;
    let ordinal = rest.first().copied()?.try_into().ok()?;
    let order = OrderId::from_u128(u128::from_be_bytes(*order));
    Some((Instant(i64::from_be_bytes(*created_at)), order, ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::RefundOrdinal;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        let order = OrderId::from_u128(0x0194_0000_1111_7222_8333_4444_5555_6666);
        let place = (Instant(1_790_000_000_123), order, RefundOrdinal::after(63).unwrap());
        let cursor = write_cursor(place);
        assert_eq!(read_cursor(&cursor), Some(place));
        for broken in ["", "x", &cursor[1..], &format!("{cursor}AA")] {
            assert_eq!(read_cursor(broken), None, "{broken}");
        }
    }
}
