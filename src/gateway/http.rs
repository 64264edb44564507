//! The gateway's routes: one scope per channel's wire, and `/sim` for those who look into the books.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde_json::json;

use super::payer::Conduct;
use super::signing::{self, Caller, Disbelief, NONCE, SIGNATURE, TIMESTAMP};
use super::simpay::{self, Call};
use super::{Gateway, now_ms};

const BODY_MAX: usize = 64 * 1024;
/// Callers that have not given up by then are let go.
const HANG_MAX: Duration = Duration::from_secs(60);

pub fn routes(service: &mut web::ServiceConfig) {
    service
        .app_data(web::PayloadConfig::new(BODY_MAX))
        .service(
            web::scope("/simpay/v1")
                .route("/payments", web::post().to(create))
                .route("/payments/query", web::post().to(query))
                .route("/payments/close", web::post().to(close))
                .route("/refunds", web::post().to(refund))
                .route("/refunds/query", web::post().to(query_refund)),
        )
        .route("/sim/totals", web::get().to(totals))
        .route("/sim/orders/{number}", web::get().to(order))
        .route("/healthz", web::get().to(HttpResponse::Ok))
        .default_service(web::to(async || problem(StatusCode::NOT_FOUND, "not_found", "there is nothing here")));
}

async fn create(gateway: web::Data<Gateway>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::Create).await
}

async fn query(gateway: web::Data<Gateway>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::Query).await
}

async fn close(gateway: web::Data<Gateway>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::Close).await
}

async fn refund(gateway: web::Data<Gateway>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::Refund).await
}

async fn query_refund(gateway: web::Data<Gateway>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::QueryRefund).await
}

async fn serve(gateway: &Gateway, request: &HttpRequest, body: &[u8], call: Call) -> HttpResponse {
    let now = now_ms();
    let now_s = (now / 1000).unsigned_abs();
    let caller = match signing::verify(&gateway.signers, &gateway.nonces, request, body, now_s) {
        Ok(caller) => caller,
        Err(disbelief) => return disbelieve(gateway, disbelief),
    };
    let outcome = simpay::answer(gateway, caller.account, call, body, now);
    if !outcome.fault.latency.is_zero() {
        tokio::time::sleep(outcome.fault.latency).await;
    }
    match outcome.fault.conduct {
        Conduct::Answers => {}
        Conduct::Hangs => {
            // A caller that gives up ends this wait: its connection closes and takes the request with it.
            tokio::time::sleep(HANG_MAX).await;
            return HttpResponse::GatewayTimeout().force_close().finish();
        }
        Conduct::Fails => return HttpResponse::InternalServerError().body("something went wrong here"),
    }
    signed(gateway, caller, outcome.status, &outcome.body).body(outcome.body)
}

/// The head of an answer that is bound to its request by the request's nonce.
fn signed(gateway: &Gateway, caller: Caller, status: StatusCode, body: &[u8]) -> HttpResponseBuilder {
    let timestamp = (now_ms() / 1000).to_string();
    let signer = &gateway.signers[caller.account.0];
    let signature = signer.answer(status.as_u16(), &timestamp, &caller.nonce, body);
    let mut response = HttpResponse::build(status);
    response
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .insert_header((TIMESTAMP, timestamp))
        .insert_header((NONCE, caller.nonce))
        .insert_header((SIGNATURE, signature));
    response
}

/// A 401 is not signed: whoever it goes to, there is no key that they are known to share with us.
fn disbelieve(gateway: &Gateway, disbelief: Disbelief) -> HttpResponse {
    let (code, message) = match disbelief {
        Disbelief::Unauthenticated => ("unauthenticated", "the account, the headers or the signature are not right"),
        Disbelief::Stale => ("stale", "the timestamp is too far from the gateway's clock"),
        Disbelief::NonceUsed => ("nonce_used", "the nonce was used before"),
        Disbelief::TooMany(caller) => {
            let body = simpay::error_body("rate_limited", "too many requests");
            let mut response = signed(gateway, caller, StatusCode::TOO_MANY_REQUESTS, &body);
            return response.insert_header((RETRY_AFTER, "1")).body(body);
        }
    };
    HttpResponse::Unauthorized().content_type("application/json").body(simpay::error_body(code, message))
}

async fn totals(gateway: web::Data<Gateway>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "simpay": gateway.books.totals() }))
}

async fn order(gateway: web::Data<Gateway>, number: web::Path<String>) -> HttpResponse {
    match gateway.books.order_line(&number, now_ms()) {
        Some(line) => HttpResponse::Ok().json(line),
        None => problem(StatusCode::NOT_FOUND, "not_found", "the books know no such number"),
    }
}

fn problem(status: StatusCode, code: &str, detail: &str) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or_default();
    let body =
        json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail, "code": code });
    HttpResponse::build(status).content_type("application/problem+json").body(body.to_string())
}
