//! Stripe's calls over HTTP: who asks, in which version and under which key.

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::failure::Failure;
use super::reply::Reply;
use super::{Asking, Call, Kind, answer, id};
use crate::config::accounts::STRIPE_VERSION;
use crate::gateway::accounts::AccountId;
use crate::gateway::replies::befall;
use crate::gateway::{Gateway, now_ms};

const VERSION: &str = "stripe-version";
const KEY: &str = "idempotency-key";

pub fn routes(service: &mut web::ServiceConfig) {
    service
        .route("/v1/payment_intents", web::post().to(create_intent))
        .route("/v1/payment_intents", web::get().to(list_intents))
        .route("/v1/payment_intents/{id}", web::get().to(retrieve_intent))
        .route("/v1/payment_intents/{id}/confirm", web::post().to(confirm_intent))
        .route("/v1/payment_intents/{id}/cancel", web::post().to(cancel_intent))
        .route("/v1/refunds", web::post().to(create_refund))
        .route("/v1/refunds", web::get().to(list_refunds))
        .route("/v1/refunds/{id}", web::get().to(retrieve_refund))
        .route("/v1/charges/{id}", web::get().to(retrieve_charge))
        .route("/v1/balance_transactions", web::get().to(list_balance))
        .route("/v1/balance_transactions/{id}", web::get().to(retrieve_balance))
        .default_service(web::to(async || respond(&Failure::unknown_route().reply()).finish()));
}

type Shared = web::Data<Gateway>;

async fn create_intent(gateway: Shared, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::CreateIntent).await
}

async fn list_intents(gateway: Shared, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::ListIntents).await
}

async fn retrieve_intent(
    gateway: Shared,
    request: HttpRequest,
    body: web::Bytes,
    id: web::Path<String>,
) -> HttpResponse {
    serve(&gateway, &request, &body, Call::RetrieveIntent(&id)).await
}

async fn confirm_intent(
    gateway: Shared,
    request: HttpRequest,
    body: web::Bytes,
    id: web::Path<String>,
) -> HttpResponse {
    serve(&gateway, &request, &body, Call::ConfirmIntent(&id)).await
}

async fn cancel_intent(gateway: Shared, request: HttpRequest, body: web::Bytes, id: web::Path<String>) -> HttpResponse {
    serve(&gateway, &request, &body, Call::CancelIntent(&id)).await
}

async fn create_refund(gateway: Shared, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::CreateRefund).await
}

async fn list_refunds(gateway: Shared, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::ListRefunds).await
}

async fn retrieve_refund(
    gateway: Shared,
    request: HttpRequest,
    body: web::Bytes,
    id: web::Path<String>,
) -> HttpResponse {
    serve(&gateway, &request, &body, Call::RetrieveRefund(&id)).await
}

async fn list_balance(gateway: Shared, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::ListBalance).await
}

async fn retrieve_charge(
    gateway: Shared,
    request: HttpRequest,
    body: web::Bytes,
    id: web::Path<String>,
) -> HttpResponse {
    serve(&gateway, &request, &body, Call::RetrieveCharge(&id)).await
}

async fn retrieve_balance(
    gateway: Shared,
    request: HttpRequest,
    body: web::Bytes,
    id: web::Path<String>,
) -> HttpResponse {
    serve(&gateway, &request, &body, Call::RetrieveBalance(&id)).await
}

async fn serve(gateway: &Gateway, request: &HttpRequest, body: &[u8], call: Call<'_>) -> HttpResponse {
    let asking = match asking(gateway, request, body, call) {
        Ok(asking) => asking,
        Err(failure) => return respond(&failure.reply()).finish(),
    };
    let outcome = answer(gateway, &asking);
    if let Some(instead) = befall(&outcome.fault).await {
        return instead;
    }
    let version = header(request.headers(), VERSION).ok().flatten().unwrap_or(STRIPE_VERSION);
    let mut response = respond(&outcome.reply);
    response.0.insert_header((VERSION, version));
    if let Some(key) = asking.key {
        response.0.insert_header((KEY, key));
    }
    if outcome.replayed {
        response.0.insert_header(("idempotent-replayed", "true"));
    }
    response.finish()
}

/// Finds out who asks, and what for.
fn asking<'a>(
    gateway: &Gateway,
    request: &'a HttpRequest,
    body: &'a [u8],
    call: Call<'a>,
) -> Result<Asking<'a>, Failure> {
    let headers = request.headers();
    let account = caller(gateway, headers)?;
    if let Some(version) = header(headers, VERSION)?
        && !is_version(version)
    {
        return Err(Failure::invalid(format!("Invalid Stripe API version: {version}")));
    }
    let form = match call.kind() {
        Kind::Reads => request.query_string().as_bytes(),
        Kind::Writes => {
            let content_type = header(headers, CONTENT_TYPE.as_str())?.unwrap_or_default();
            let essence = content_type.split(';').next().unwrap_or_default().trim();
            if !body.is_empty() && !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
                return Err(Failure::invalid(format!("Invalid request: the content type {content_type} is no form.")));
            }
            body
        }
    };
    Ok(Asking { account, call, form, key: header(headers, KEY)?, now: now_ms() })
}

fn caller(gateway: &Gateway, headers: &HeaderMap) -> Result<AccountId, Failure> {
    let unauthorized = || Failure::unauthorized("Invalid API Key provided.");
    let given = header(headers, AUTHORIZATION.as_str())?.ok_or_else(unauthorized)?;
    let key = match given.strip_prefix("Bearer ") {
        Some(key) => key.to_owned(),
        None => user(given).ok_or_else(unauthorized)?,
    };
    gateway.stripe.account_of(&key).ok_or_else(unauthorized)
}

/// The name of a basic authorization, as `curl -u sk_test_…:` writes it; the password is empty.
fn user(authorization: &str) -> Option<String> {
    let given = STANDARD.decode(authorization.strip_prefix("Basic ")?).ok()?;
    String::from_utf8(given).ok()?.strip_suffix(':').map(str::to_owned)
}

/// The one value of a header.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Failure> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| Failure::invalid(format!("The header {name} is malformed.")))
        }
        (Some(_), Some(_)) => Err(Failure::invalid(format!("The header {name} comes twice."))),
    }
}

/// `2026-10-28.endive`, or a bare date as before 2024.
fn is_version(text: &str) -> bool {
    let (date, name) = text.split_once('.').unwrap_or((text, "x"));
    let shaped = date.bytes().zip(*b"0000-00-00").all(|(byte, shape)| match shape {
        b'-' => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    date.len() == 10 && shaped && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

struct Response(actix_web::HttpResponseBuilder, Reply);

fn respond(reply: &Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Response(HttpResponse::build(status), reply.clone())
}

impl Response {
    fn finish(mut self) -> HttpResponse {
        self.0.insert_header((CONTENT_TYPE, "application/json")).insert_header(("request-id", id("req")));
        self.0.body(self.1.body.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_dates_with_a_name() {
        assert!(is_version("2026-10-28.endive") && is_version("2020-08-27"));
        for text in ["", "2026-10-2", "2026-10-28.", "2026-10-28.Endive", "2026/10/28", "2026-10-280", "latest"] {
            assert!(!is_version(text), "{text}");
        }
    }
}
