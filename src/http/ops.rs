//! Operation: is the process there, can it work, what does it count.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::web::Data;
use serde_json::json;

use super::App;
use super::schema;

/// The process answers.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "get_health",
    tag = "operation",
    responses((status = 200, description = "It does.", body = schema::Liveness))
)]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Store and writer work.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "get_readiness",
    tag = "operation",
    responses(
        (status = 200, description = "They do.", body = schema::Readiness),
        (status = 503, description = "They do not, and why.", body = schema::Readiness)
    )
)]
pub async fn readyz(app: Data<App>) -> HttpResponse {
    match not_ready(&app) {
        None => HttpResponse::Ok().json(json!({ "status": "ready", "reason": null })),
        Some(reason) => HttpResponse::ServiceUnavailable()
            .insert_header((RETRY_AFTER, "1"))
            .json(json!({ "status": "not_ready", "reason": reason })),
    }
}

/// Why nothing can be accepted at the moment.
fn not_ready(app: &App) -> Option<&'static str> {
    if app.desk.is_draining() {
        Some("stopping")
    } else if app.lanes.is_away() {
        Some("the store is away")
    } else if app.lanes.is_broken() {
        Some("the store refuses what it should take")
    } else {
        None
    }
}

/// What is counted, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "get_metrics",
    tag = "operation",
    responses((status = 200, description = "Prometheus' text format.", content_type = "text/plain"))
)]
pub async fn metrics(app: Data<App>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body((app.metrics)())
}
