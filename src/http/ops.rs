//! Operation: is the process there, can it work, what does it count.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::web::Data;
use serde_json::json;

use super::App;
use crate::actors::registry::Readiness;

/// `GET /healthz`: the process answers.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: store and writer work.
pub async fn readyz(app: Data<App>) -> HttpResponse {
    match app.registry.readiness() {
        Readiness::Ready => HttpResponse::Ok().json(json!({ "status": "ready", "reason": null })),
        Readiness::NotReady(reason) => HttpResponse::ServiceUnavailable()
            .insert_header((RETRY_AFTER, "1"))
            .json(json!({ "status": "not_ready", "reason": reason })),
    }
}

/// `GET /metrics`, for Prometheus.
pub async fn metrics(app: Data<App>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body((app.metrics)())
}
