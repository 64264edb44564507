//! The calls of simpay over HTTP: who asks, and how an answer is signed.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};

use super::callers::{self, Caller, Disbelief};
use super::signing::{NONCE, SIGNATURE, TIMESTAMP};
use super::{Call, answer, error_body};
use crate::gateway::replies::befall;
use crate::gateway::{Gateway, now_ms};

pub fn routes(service: &mut web::ServiceConfig) {
    service
        .route("/v1/payments", web::post().to(create))
        .route("/v1/payments/query", web::post().to(query))
        .route("/v1/payments/close", web::post().to(close))
        .route("/v1/refunds", web::post().to(refund))
        .route("/v1/refunds/query", web::post().to(query_refund));
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
    let caller = match callers::verify(&gateway.simpay, request, body, now_s) {
        Ok(caller) => caller,
        Err(disbelief) => return disbelieve(disbelief),
    };
    let outcome = answer(gateway, caller.account, call, body, now);
    if let Some(instead) = befall(&outcome.fault).await {
        return instead;
    }
    signed(caller, outcome.status, &outcome.body).body(outcome.body)
}

/// The head of an answer that is bound to its request by the request's nonce.
fn signed(caller: Caller, status: StatusCode, body: &[u8]) -> HttpResponseBuilder {
    let timestamp = (now_ms() / 1000).to_string();
    let signature = caller.wire.signer.answer(status.as_u16(), &timestamp, &caller.nonce, body);
    let mut response = HttpResponse::build(status);
    response
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .insert_header((TIMESTAMP, timestamp))
        .insert_header((NONCE, caller.nonce))
        .insert_header((SIGNATURE, signature));
    response
}

/// A 401 is not signed: whoever it goes to, there is no key that they are known to share with us.
fn disbelieve(disbelief: Disbelief) -> HttpResponse {
    let (code, message) = match disbelief {
        Disbelief::Unauthenticated => ("unauthenticated", "the account, the headers or the signature are not right"),
        Disbelief::Stale => ("stale", "the timestamp is too far from the gateway's clock"),
        Disbelief::NonceUsed => ("nonce_used", "the nonce was used before"),
        Disbelief::TooMany(caller) => {
            let body = error_body("rate_limited", "too many requests");
            let mut response = signed(caller, StatusCode::TOO_MANY_REQUESTS, &body);
            return response.insert_header((RETRY_AFTER, "1")).body(body);
        }
    };
    HttpResponse::Unauthorized().content_type("application/json").body(error_body(code, message))
}
