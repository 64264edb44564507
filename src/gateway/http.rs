//! The gateway's routes: one scope per channel's wire, and `/sim` for those who look into the books.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::faults::Fault;
use super::payer::Conduct;
use super::{Gateway, alipay, now_ms, simpay, stripe, unionpay, wechat};

const BODY_MAX: usize = 64 * 1024;
/// Callers that have not given up by then are let go.
const HANG_MAX: Duration = Duration::from_secs(60);

pub fn routes(service: &mut web::ServiceConfig) {
    service
        .app_data(web::PayloadConfig::new(BODY_MAX))
        .service(web::scope("/simpay").configure(simpay::routes::routes))
        .service(web::scope("/unionpay").configure(unionpay::routes::routes))
        .service(web::scope("/stripe").configure(stripe::routes::routes))
        .service(web::scope("/alipay").configure(alipay::routes::routes))
        .service(web::scope("/wechat").configure(wechat::routes::routes))
        .route("/sim/totals", web::get().to(totals))
        .route("/sim/orders/{number}", web::get().to(order))
        .route("/healthz", web::get().to(HttpResponse::Ok))
        .default_service(web::to(async || problem(StatusCode::NOT_FOUND, "not_found", "there is nothing here")));
}

/// Keeps a caller waiting as its fault says. None: it may have its answer.
pub async fn befall(fault: &Fault) -> Option<HttpResponse> {
    if !fault.latency.is_zero() {
        tokio::time::sleep(fault.latency).await;
    }
    match fault.conduct {
        Conduct::Answers => None,
        Conduct::Hangs => {
            // A caller that gives up ends this wait: its connection closes and takes the request with it.
            tokio::time::sleep(HANG_MAX).await;
            Some(HttpResponse::GatewayTimeout().force_close().finish())
        }
        Conduct::Fails => Some(HttpResponse::InternalServerError().body("something went wrong here")),
    }
}

/// Sends a browser on to this listener under its other name. True gateways send whoever posts a form to them on to a
/// cashier of another origin, which the page that the form stood on must allow.
pub fn elsewhere(http: &HttpRequest, path: &str, query: &[(&str, &str)]) -> HttpResponse {
    let connection = http.connection_info();
    let host = match connection.host().rsplit_once(':') {
        Some(("127.0.0.1", port)) => format!("localhost:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        Some(_) | None => connection.host().to_owned(),
    };
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let address = format!("{}://{host}{path}?{query}", connection.scheme());
    HttpResponse::Found().insert_header((LOCATION, address)).finish()
}

async fn totals(gateway: web::Data<Gateway>) -> HttpResponse {
    HttpResponse::Ok().json(gateway.books.totals())
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

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, web};

    use super::*;
    use crate::config::Config;

    #[actix_web::test]
    async fn no_far_end_reads_a_huge_body() {
        let folder = std::env::temp_dir().join(format!("tongbao-huge-{}", std::process::id()));
        let mut config = Config::load(&[]).unwrap();
        config.data.dir = folder.clone();
        config.channels.values_mut().for_each(|channel| channel.enabled = true);
        let gateway = web::Data::new(Gateway::open(&config).unwrap());
        std::fs::remove_dir_all(folder).unwrap();
        let app = init_service(App::new().app_data(gateway).configure(routes)).await;
        for (path, content_type) in [
            ("/simpay/v1/payments", "application/json"),
            ("/wechat/v3/pay/transactions/native", "application/json"),
            ("/alipay/gateway.do", "application/x-www-form-urlencoded;charset=utf-8"),
            ("/unionpay/gateway/api/queryTrans.do", "application/x-www-form-urlencoded;charset=UTF-8"),
            ("/stripe/v1/payment_intents", "application/x-www-form-urlencoded"),
        ] {
            for (length, is_huge) in [(BODY_MAX, false), (BODY_MAX + 1, true)] {
                let request = TestRequest::post().uri(path).insert_header(("content-type", content_type));
                let response = call_service(&app, request.set_payload(vec![b'a'; length]).to_request()).await;
                let status = response.status();
                assert_ne!(status, StatusCode::NOT_FOUND, "{path}");
                assert_eq!(status == StatusCode::PAYLOAD_TOO_LARGE, is_huge, "{path} with {length} bytes: {status}");
            }
        }
    }
}
