//! Callbacks of gateways: verified over the received bytes, acknowledged once durable.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::App;
use super::json;
use super::problem::{ApiError, Code};
use crate::channels::{Acknowledgement, CallbackError, Heard, Received, RefundNotice};
use crate::config::accounts::DEFAULT_ACCOUNT;
use crate::domain::channel::Channel;
use crate::domain::event::Refusal;
use crate::domain::id::{Account, RefundNumber};
use crate::engine::ask::{AskError, Taken};

/// Takes a gateway's callback for the account `default`, in the gateway's own format.
#[utoipa::path(
    post,
    path = "/v1/callbacks/{channel}",
    operation_id = "take_callback",
    tag = "callbacks",
    params(("channel" = String, Path)),
    responses((status = 200, description = "Durable; answered in the gateway's own way."))
)]
pub async fn default_account(
    app: Data<App>,
    channel: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    receive(&app, &channel, DEFAULT_ACCOUNT, &request, payload).await
}

/// Takes a gateway's callback for one account, in the gateway's own format.
#[utoipa::path(
    post,
    path = "/v1/callbacks/{channel}/{account}",
    operation_id = "take_account_callback",
    tag = "callbacks",
    params(("channel" = String, Path), ("account" = String, Path)),
    responses((status = 200, description = "Durable; answered in the gateway's own way."))
)]
pub async fn named_account(
    app: Data<App>,
    path: Path<(String, String)>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let (channel, account) = path.into_inner();
    receive(&app, &channel, &account, &request, payload).await
}

async fn receive(
    app: &App,
    channel: &str,
    account: &str,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let channel = Channel::parse(channel).ok_or_else(ApiError::not_found)?;
    let account = Account::new(channel, account);
    let adapter = app.accounts.adapter(&account).ok_or_else(ApiError::not_found)?;
    let sender = app.limits.sender(request);
    app.limits.may_verify(sender).inspect_err(|_| count(channel, "unheard"))?;
    let body = json::bytes(request, payload, &app.config.server).await?;
    let headers: Vec<(String, String)> = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let received = Received { headers: &headers, body: &body };
    let heard = app.accounts.hear(&account, &received).ok_or_else(ApiError::not_found)?;
    let notice = match heard {
        Ok(Heard::Capture(notice)) => notice,
        Ok(Heard::Refund(notice)) => {
            let taken = app.hear_refund(adapter.account(), notice).await;
            count(channel, refund_verdict(&taken));
            return taken.map(|_| acknowledged(adapter.acknowledgement()));
        }
        Ok(Heard::Nothing) => {
            count(channel, "without_consequence");
            return Ok(acknowledged(adapter.acknowledgement()));
        }
        Err(error) => {
            count(channel, error.name());
            return Err(app.limits.failure(sender, unbelieved(error)));
        }
    };
    let taken = app.inbox.take(adapter.account(), notice, &body).await;
    count(channel, verdict(&taken));
    match taken {
        Ok(Taken::ByOrder | Taken::ByInbox) => Ok(acknowledged(adapter.acknowledgement())),
        // It verified, so whatever the order has against it is a contradiction with what is on record.
        Err(AskError::Refused(refusal)) => Err(refused(refusal)),
        Err(error) => Err(error.into()),
    }
}

/// What became of a callback about a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefundHeard {
    Taken,
    /// It is of no refund of ours. What is refunded elsewhere is found in the channel's bill.
    Foreign,
}

fn refund_verdict(taken: &Result<RefundHeard, ApiError>) -> &'static str {
    match taken {
        Ok(RefundHeard::Taken) => "taken",
        Ok(RefundHeard::Foreign) => "refund_unknown",
        Err(_) => "put_off",
    }
}

impl App {
    /// Takes a verified callback about a refund to its order. Nothing is lost by one that no order takes: a refund of
    /// ours is asked for until its channel has decided.
    async fn hear_refund(&self, account: &Account, notice: RefundNotice) -> Result<RefundHeard, ApiError> {
        let Some(number) = RefundNumber::attempt_of(&notice.number) else { return Ok(RefundHeard::Foreign) };
        match self.desk.refund_notice(number.order, account, notice).await {
            Ok(()) => Ok(RefundHeard::Taken),
            Err(
                AskError::NotFound
                | AskError::Refused(Refusal::RefundUnknown | Refusal::AttemptUnknown | Refusal::OutOfPlace),
            ) => Ok(RefundHeard::Foreign),
            Err(AskError::Refused(refusal)) => Err(refused(refusal)),
            Err(error) => Err(error.into()),
        }
    }
}

fn acknowledged(acknowledgement: Acknowledgement) -> HttpResponse {
    let Acknowledgement { status, content_type, body } = acknowledgement;
    match status {
        204 => HttpResponse::NoContent().finish(),
        _ => HttpResponse::Ok().insert_header((CONTENT_TYPE, content_type)).body(body),
    }
}

fn unbelieved(error: CallbackError) -> ApiError {
    match error {
        CallbackError::Forged => ApiError::new(Code::CallbackUnverified, "The signature does not verify."),
        CallbackError::Stale => ApiError::new(Code::CallbackStale, "The timestamp is too far from now."),
        CallbackError::Unreadable => ApiError::new(Code::CallbackUnreadable, "The body cannot be read."),
    }
}

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::AccountDiffers | Refusal::CaptureContradicts | Refusal::AttemptUnknown => refusal.into(),
        Refusal::OrderFinal
        | Refusal::AttemptOpen { .. }
        | Refusal::AttemptsUsedUp
        | Refusal::ChannelUnusable { .. }
        | Refusal::OrderNotPaid
        | Refusal::RefundExceeds { .. }
        | Refusal::BalanceInsufficient
        | Refusal::RefundLimit { .. }
        | Refusal::RefundWindowOver
        | Refusal::RefundFinal
        | Refusal::RefundUnknown
        | Refusal::OutOfPlace => ApiError::new(Code::CallbackRefused, "The order does not take this callback."),
    }
}

fn verdict(taken: &Result<Taken, AskError>) -> &'static str {
    match taken {
        Ok(Taken::ByOrder) => "taken",
        Ok(Taken::ByInbox) => "kept",
        Err(AskError::Refused(_)) => "refused",
        Err(
            AskError::Duplicate
            | AskError::Overloaded
            | AskError::StoreAway
            | AskError::OutcomeUnknown
            | AskError::Quarantined
            | AskError::NotFound,
        ) => "put_off",
    }
}

fn count(channel: Channel, verdict: &'static str) {
    metrics::counter!("tongbao_callbacks_total", "channel" => channel.name(), "verdict" => verdict).increment(1);
}
