//! Orders: create, read, pay, cancel.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::App;
use super::address::Addresses;
use super::auth::Caller;
use super::draft::{self, Draft};
use super::edge;
use super::idempotency::{self, Fingerprint};
use super::json;
use super::problem::{ApiError, Code};
use super::reservations::Reserved;
use super::schema;
use crate::domain::event::{Created, Refusal};
use crate::domain::id::{OrderId, PlatformId};
use crate::domain::order::{Order, Webhooks};
use crate::domain::payer::{Payer, PayerMark};
use crate::domain::request::Asked;
use crate::domain::rules::RulesVersion;
use crate::domain::splits::Split;
use crate::domain::view::{self, Beside};
use crate::engine::ask::{Addressee, AskError, Command, Details, Known, NewOrder, Patience};
use crate::engine::clock;
use crate::store::{Claim, KeptAnswer, StoredOrder, StoredPlatform};

pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Creates an order, and sets out to pay for it if a channel is given.
///
/// Waits at most 3 s for the channel's first answer, so that `next_action` is in the order. The same request again
/// gets the order as it is now, with `Idempotent-Replayed: true`.
#[utoipa::path(
    post,
    path = "/v1/orders",
    operation_id = "create_order",
    tag = "orders",
    security(("platform_key" = [])),
    params(("Prefer" = Option<String>, Header, description = "`respond-async`: answer as soon as it is durable.")),
    request_body = schema::NewOrder,
    responses(
        (status = 201, description = "Created; `Location` tells where it is.", body = schema::Order),
        (status = 200, description = "It was created before by the same request.", body = schema::Order)
    )
)]
pub async fn create(
    app: Data<App>,
    Caller(platform): Caller,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let addresses = Addresses::of(&app.config);
    let draft = Draft::read(&body, addresses, edge::trace(request.headers()))?;
    let patience = edge::patience(request.headers());
    loop {
        match app.creating.reserve(platform.id, &draft.merchant_order_id) {
            Reserved::Mine(_reservation) => return app.place(&platform, &draft, patience).await,
            Reserved::Busy(waiting) => waiting.over().await,
        }
        // The one before may have come to nothing, and then this one is the first.
        if let Some(first) = app.store.order_by_merchant_id(platform.id, &draft.merchant_order_id).await? {
            return app.repeat(&draft, &first).await;
        }
    }
}

/// An order as it is now.
#[utoipa::path(
    get,
    path = "/v1/orders/{id}",
    operation_id = "get_order",
    tag = "orders",
    security(("platform_key" = [])),
    params(("id" = String, Path, description = "The order's id, `ord_…`.")),
    responses((status = 200, description = "The order.", body = schema::Order))
)]
pub async fn get(app: Data<App>, Caller(platform): Caller, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let stored = app.owned(platform.id, &id).await?;
    app.show_stored(StatusCode::OK, &stored).await
}

/// Pays for an order by a channel. By the channel that is open already, its `next_action` is refreshed; once that
/// attempt's own time is over, it is closed first and another one is opened.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/pay",
    operation_id = "handle_payment",
    tag = "orders",
    security(("platform_key" = [])),
    params(("id" = String, Path, description = "The order's id, `ord_…`."), ("Prefer" = Option<String>, Header, description = "`respond-async`: answer as soon as it is durable."), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, kept at least 24 h.")),
    request_body = schema::Choice,
    responses(
        (status = 200, description = "The order.", body = schema::Order),
        (status = 202, description = "The attempt before is still being closed.", body = schema::Order)
    )
)]
pub async fn pay(
    app: Data<App>,
    Caller(platform): Caller,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::body(&request, payload, &app.config.server).await?;
    let mut fields = json::object(&body, &["channel", "method", "payer"])?;
    let (channel, method) = draft::choice(fields.take("channel"), fields.take("method"))?;
    let payer = draft::optional_payer(fields.take("payer"))?.map(Arc::new);
    let command = Command::Pay { channel, method, payer };
    take(&app, &platform, &id, &request, &body, command).await
}

/// Cancels an order. An open attempt is closed at its channel first; if it is paid meanwhile, the order succeeds.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/cancel",
    operation_id = "cancel_order",
    tag = "orders",
    security(("platform_key" = [])),
    params(("id" = String, Path, description = "The order's id, `ord_…`."), ("Prefer" = Option<String>, Header, description = "`respond-async`: answer as soon as it is durable."), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, kept at least 24 h.")),
    responses(
        (status = 200, description = "The order.", body = schema::Order),
        (status = 202, description = "The open attempt is still being closed.", body = schema::Order)
    )
)]
pub async fn cancel(
    app: Data<App>,
    Caller(platform): Caller,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = json::bytes(&request, payload, &app.config.server).await?;
    if !body.is_empty() {
        json::require_json(&request)?;
        json::object(&body, &[])?;
    }
    take(&app, &platform, &id, &request, &body, Command::Cancel).await
}

/// A command under an `Idempotency-Key`.
struct Keyed {
    platform: PlatformId,
    id: String,
    key: Box<str>,
    fingerprint: Fingerprint,
    command: Command,
    patience: Patience,
}

/// Takes a command to an order, at most once per `Idempotency-Key`.
async fn take(
    app: &Data<App>,
    platform: &StoredPlatform,
    id: &str,
    request: &HttpRequest,
    body: &[u8],
    command: Command,
) -> Result<HttpResponse, ApiError> {
    let patience = edge::patience(request.headers());
    if let Some(key) = idempotency::key(request.headers())? {
        let fingerprint = idempotency::fingerprint(request.method().as_str(), request.path(), body);
        let (platform, id, key) = (platform.id, id.to_owned(), key.into());
        let (app, asked) = (app.clone(), Keyed { platform, id, key, fingerprint, command, patience });
        // A task of its own: should the client go, the key stays taken until what was asked for is over.
        let answer = actix_web::rt::spawn(async move { app.keyed(asked).await }).await;
        return answer.map_err(|_| ApiError::internal())?;
    }
    let stored = app.owned(platform.id, id).await?;
    check_payer(&stored, &command)?;
    let placed = app.desk.ask(stored.order.id, command, patience, None).await?;
    let mut answer = app.write_asked(&stored, &placed.order, placed.next_action(&stored)).await?.answer();
    applied(answer.headers_mut(), patience);
    Ok(answer)
}

/// Checks that a payment has what its way cannot do without of who pays, and that an attempt which would go on as it is
/// was opened for the same payer: what is sent again is sent byte for byte.
fn check_payer(stored: &StoredOrder, command: &Command) -> Result<(), ApiError> {
    let (channel, method, named) = match command {
        Command::Cancel => return Ok(()),
        Command::Pay { channel, method, payer } => (*channel, *method, payer),
    };
    if stored.order.state.is_final() {
        return Ok(());
    }
    let Some(fact) = channel.needs(method) else { return Ok(()) };
    let last = &stored.payer;
    let now = clock::now();
    let told = |payer: &Option<Arc<Payer>>| payer.as_ref().and_then(|payer| payer.told(fact));
    match stored.order.open_attempt().filter(|open| open.is_renewed_by(channel, method, now)) {
        Some(open) if named.is_some() && told(named) != told(last) => {
            let detail = "The open attempt was made for another payer. Pay by it, or choose another way to pay first.";
            let seconds = u64::try_from(open.expires_at.since_ms(now)).unwrap_or(0).div_ceil(1_000).max(1);
            Err(ApiError::field(Code::AttemptOpen, draft::field_of(fact), detail).retry_after(seconds))
        }
        Some(_) => Ok(()),
        None => draft::require(channel, method, named.as_ref().or(last.as_ref()).map(Arc::as_ref)),
    }
}

/// An answer's status and body, before it is sent or kept.
struct Written {
    status: StatusCode,
    body: String,
}

/// What was claimed and then given up is refused again, since refusals are never kept.
fn held_back(order: &Order, command: &Command) -> Option<Refusal> {
    let (channel, method) = match command {
        Command::Cancel => return None,
        Command::Pay { channel, method, .. } => (*channel, *method),
    };
    let now = clock::now();
    let open = order.open_attempt().filter(|attempt| !attempt.is_renewed_by(channel, method, now))?;
    order.held_back_by(open.ordinal, now)
}

impl App {
    /// Makes a new order of the draft.
    async fn place(
        &self,
        platform: &StoredPlatform,
        draft: &Draft,
        patience: Patience,
    ) -> Result<HttpResponse, ApiError> {
        let splits = self.splits(platform, &draft.asked).await?;
        let created_at = clock::now();
        let id = clock::fresh_order_id(platform.id.partition_of(&draft.merchant_order_id));
        let request = draft.request(platform.webhook_url.as_deref());
        let payer: Arc<[PayerMark]> = self.advice.stats().marks(platform.id, request.payer.as_deref()).into();
        let (trace, addressee) = (request.asked.trace_of(id), Addressee::of(&request));
        let details = Arc::new(Details::of_new(&request));
        let new = NewOrder {
            facts: Created {
                id,
                platform: platform.id,
                currency: draft.asked.currency,
                amount_minor: draft.amount_minor,
                rates: self.terms.rates(&platform.name, created_at),
                rules: RulesVersion::CURRENT,
                fee_bearer: platform.fee_bearer,
                pace: self.terms.pace,
                time_scale: self.terms.time_scale,
                webhooks: match addressee {
                    Some(_) => Webhooks::Wanted,
                    None => Webhooks::NotWanted,
                },
                attempts_max: draft.asked.attempts_max,
                expires_at: created_at.plus_ms(i64::from(draft.asked.expires_in) * 1_000),
                splits,
            },
            request,
            details,
            choice: draft.asked.choice(),
            known: Known { trace, addressee, payer: payer.clone() },
        };
        match self.desk.create(new, patience).await {
            Ok(placed) => {
                let outlook = self.advice.outlook_by(&placed.order, &payer).await;
                let beside = self.beside(&draft.merchant_order_id, &draft.asked, &outlook);
                let written = write(StatusCode::CREATED, &placed.order, &beside, placed.next_action.as_deref())?;
                let location = self.config.public_url(&format!("/v1/orders/{id}"));
                let mut answer = written.answer();
                if let Ok(location) = HeaderValue::from_str(&location) {
                    answer.headers_mut().insert(LOCATION, location);
                }
                applied(answer.headers_mut(), patience);
                Ok(answer)
            }
            Err(AskError::Duplicate) => {
                let first = self.store.order_by_merchant_id(platform.id, &draft.merchant_order_id).await?;
                // The index refused the name, so a row has it.
                self.repeat(draft, &first.ok_or_else(ApiError::internal)?).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The shares of an order, by the numbers of who gets them: each must have agreed to get shares from this platform.
    async fn splits(&self, seller: &StoredPlatform, asked: &Asked) -> Result<Box<[Split]>, ApiError> {
        let names: Vec<&str> = asked.splits.iter().map(|split| &*split.to).collect();
        let receivers = self.store.share_receivers(&names, seller.id).await?;
        let mut splits = Vec::with_capacity(asked.splits.len());
        for (split, place) in asked.splits.iter().zip(0u32..) {
            let invalid = |why: &'static str| ApiError::field(Code::SplitInvalid, format!("splits[{place}].to"), why);
            if *split.to == *seller.name {
                return Err(invalid("what is not given away is yours already"));
            }
            let to = receivers.get(&*split.to).copied();
            let to = to.ok_or_else(|| invalid("no platform of this name accepts shares from you"))?;
            let share = split.share(asked.currency).ok_or_else(ApiError::internal)?;
            splits.push(Split { to, share });
        }
        Ok(splits.into())
    }

    /// The same request again: the order as it is now, if it is the same.
    async fn repeat(&self, draft: &Draft, first: &StoredOrder) -> Result<HttpResponse, ApiError> {
        if let Some(field) = draft.difference(&first.request) {
            let detail = format!("{} is the name of an order with another {field}.", draft.merchant_order_id);
            return Err(ApiError::field(Code::OrderConflict, field, detail));
        }
        let written = self.write_stored(StatusCode::OK, first).await?;
        let mut answer = written.answer();
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(answer)
    }

    /// A command that was posted under a key, at most once.
    async fn keyed(&self, asked: Keyed) -> Result<HttpResponse, ApiError> {
        let Keyed { platform, id, key, fingerprint, command, patience } = asked;
        let (_running, kept) = self.take_key(platform, &key, &fingerprint).await?;
        if let Some(kept) = kept {
            return self.replay(kept, &command).await;
        }
        let stored = self.owned(platform, &id).await?;
        check_payer(&stored, &command)?;
        let order = stored.order.id;
        let claim = Claim { platform, key, fingerprint, order, at: clock::now() };
        let placed = self.desk.ask(order, command, patience, Some(Box::new(claim.clone()))).await?;
        let kept = self.write_asked(&stored, &placed.order, None).await?;
        self.keep(claim, kept.status, kept.body.clone()).await?;
        let mut answer = kept.with_next_action(placed.next_action(&stored)).answer();
        applied(answer.headers_mut(), patience);
        Ok(answer)
    }

    /// The answer that was given before, with what remains to be done by now. If it was lost, the order as it is now
    /// becomes the answer.
    async fn replay(&self, kept: KeptAnswer, command: &Command) -> Result<HttpResponse, ApiError> {
        let stored = self.store.order(kept.claim.order).await?.ok_or_else(ApiError::internal)?;
        let written = match kept.given {
            Some(given) => Written {
                status: StatusCode::from_u16(given.status).map_err(|_| ApiError::internal())?,
                body: given.body.into(),
            },
            None => {
                if let Some(refusal) = held_back(&stored.order, command) {
                    return Err(AskError::Refused(refusal).into());
                }
                let written = self.write_asked(&stored, &stored.order, None).await?;
                self.keep(kept.claim, written.status, written.body.clone()).await?;
                written
            }
        };
        let mut answer = written.with_next_action(stored.next_action.as_deref()).answer();
        answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(answer)
    }

    /// What is answered to a command: `order` is what became of the stored one.
    async fn write_asked(
        &self,
        stored: &StoredOrder,
        order: &Order,
        next_action: Option<&str>,
    ) -> Result<Written, ApiError> {
        let status = if is_closing(order) { StatusCode::ACCEPTED } else { StatusCode::OK };
        let outlook = self.advice.outlook_for(order, stored.payer.as_deref()).await;
        write(
            status,
            order,
            &self.beside(&stored.request.merchant_order_id, &stored.request.asked, &outlook),
            next_action,
        )
    }

    /// The order of this id, if it is the platform's.
    pub(super) async fn owned(&self, platform: PlatformId, id: &str) -> Result<StoredOrder, ApiError> {
        let id: OrderId = id.parse().map_err(|_| ApiError::not_found())?;
        let stored = self.store.order(id).await?;
        stored.filter(|stored| stored.order.platform == platform).ok_or_else(ApiError::not_found)
    }

    pub(super) async fn show_stored(&self, status: StatusCode, stored: &StoredOrder) -> Result<HttpResponse, ApiError> {
        Ok(self.write_stored(status, stored).await?.answer())
    }

    async fn write_stored(&self, status: StatusCode, stored: &StoredOrder) -> Result<Written, ApiError> {
        let StoredOrder { order, request, payer, next_action, .. } = stored;
        let outlook = self.advice.outlook_for(order, payer.as_deref()).await;
        write(status, order, &self.beside(&request.merchant_order_id, &request.asked, &outlook), next_action.as_deref())
    }
}

fn write(
    status: StatusCode,
    order: &Order,
    beside: &Beside<'_>,
    next_action: Option<&str>,
) -> Result<Written, ApiError> {
    let view = view::order_view(order, beside, next_action);
    let body = serde_json::to_string(&view).map_err(|_| ApiError::internal())?;
    Ok(Written { status, body })
}

impl Written {
    fn with_next_action(self, next_action: Option<&str>) -> Self {
        Written { body: idempotency::with_next_action(&self.body, next_action), ..self }
    }

    fn answer(self) -> HttpResponse {
        HttpResponse::build(self.status).insert_header((CONTENT_TYPE, JSON)).body(self.body)
    }
}

/// Whether what was asked for still waits for an attempt to be closed.
fn is_closing(order: &Order) -> bool {
    order.wish.is_some() && !order.state.is_final()
}

pub(super) fn applied(headers: &mut HeaderMap, patience: Patience) {
    match patience {
        Patience::Durable => headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async")),
        Patience::FirstAnswer => return,
    };
}
