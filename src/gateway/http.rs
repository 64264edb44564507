//! The gateway's routes: one scope per channel's wire, and `/sim` for those who look into the books.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::{Gateway, alipay, now_ms, simpay, stripe, unionpay, wechat};

const BODY_MAX: usize = 64 * 1024;

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

async fn totals(gateway: web::Data<Gateway>) -> HttpResponse {
    HttpResponse::Ok().json(gateway.books.totals(now_ms()))
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
