//! The addresses of UnionPay: three of its gateway, where one is for browsers, and one of its file host.

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::calls::{Call, Outcome, Page, Shown, answer};
use crate::domain::money::{Currency, format_minor};
use crate::gateway::replies::{befall, elsewhere};
use crate::gateway::{Gateway, now_ms};

pub fn routes(service: &mut web::ServiceConfig) {
    service
        .route("/gateway/api/frontTransReq.do", web::post().to(front))
        .route("/cashier", web::get().to(cashier))
        .route("/gateway/api/queryTrans.do", web::post().to(query))
        .route("/gateway/api/backTransReq.do", web::post().to(back))
        .route("/filedownload/", web::post().to(file));
}

async fn front(gateway: web::Data<Gateway>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::Front).await
}

async fn query(gateway: web::Data<Gateway>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::Query).await
}

async fn back(gateway: web::Data<Gateway>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::Back).await
}

async fn file(gateway: web::Data<Gateway>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    serve(&gateway, &request, &body, Call::File).await
}

async fn serve(gateway: &Gateway, request: &HttpRequest, body: &[u8], call: Call) -> HttpResponse {
    if !is_form(request) {
        return stranger();
    }
    match answer(gateway, &gateway.unionpay, call, body, now_ms()) {
        Outcome::Answer { body, fault } => match befall(&fault).await {
            Some(instead) => instead,
            // What it says of itself is as it is: the body is no form, whatever the type may suggest.
            None => HttpResponse::Ok().content_type("text/html;charset=UTF-8").body(body),
        },
        Outcome::Page(page) => shown(request, &page),
        Outcome::Stranger => stranger(),
        Outcome::Broken => HttpResponse::InternalServerError().body("system error"),
    }
}

fn is_form(request: &HttpRequest) -> bool {
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// What UnionPay says to whom it does not know; it is not signed.
fn stranger() -> HttpResponse {
    HttpResponse::BadRequest().body("Invalid request.")
}

/// The page that a payer sees in place of the cashier. The payer of the sandbox needs no button.
#[derive(Template)]
#[template(
    source = r#"<!doctype html>
<html lang="zh">
<meta charset="utf-8">
<title>银联在线支付 UnionPay</title>
<h1>银联在线支付 UnionPay</h1>
<p>订单 Order {{ order_id }}</p>
{% if let Some(amount) = amount %}<p>¥{{ amount }}</p>
<p>正在支付 The payer is paying.</p>
{% endif %}{% if let Some(message) = message %}<p>{{ message }}</p>
{% endif %}{% if let Some(front_url) = front_url %}<p><a href="{{ front_url }}">返回商户 Back to the shop</a></p>
{% endif %}</html>
"#,
    ext = "html"
)]
struct PageTemplate<'a> {
    order_id: &'a str,
    amount: Option<&'a str>,
    message: Option<&'a str>,
    front_url: Option<&'a str>,
}

/// What the cashier shows, as its address says; an empty text is none.
#[derive(Deserialize)]
struct Cashier {
    order_id: String,
    amount: String,
    front_url: String,
}

fn shown(request: &HttpRequest, page: &Page) -> HttpResponse {
    let (order_id, front_url) = (page.order_id.as_str(), page.front_url.as_deref());
    match &page.shown {
        Shown::Cashier { amount_minor } => {
            let amount = Currency::parse("CNY").map(|currency| format_minor(*amount_minor, currency));
            let path = format!("{}/cashier", request.path().trim_end_matches("/gateway/api/frontTransReq.do"));
            let amount = amount.unwrap_or_default();
            let query =
                [("order_id", order_id), ("amount", amount.as_str()), ("front_url", front_url.unwrap_or_default())];
            elsewhere(request, &path, &query)
        }
        Shown::Refused(refused) => {
            let message = format!("{} {}", refused.code, refused.message);
            let template = PageTemplate { order_id, amount: None, message: Some(&message), front_url };
            rendered(StatusCode::BAD_REQUEST, &template)
        }
    }
}

async fn cashier(shown: web::Query<Cashier>) -> HttpResponse {
    let amount = Some(shown.amount.as_str()).filter(|text| !text.is_empty());
    let front_url = Some(shown.front_url.as_str()).filter(|text| !text.is_empty());
    rendered(StatusCode::OK, &PageTemplate { order_id: &shown.order_id, amount, message: None, front_url })
}

fn rendered(status: StatusCode, template: &PageTemplate<'_>) -> HttpResponse {
    match template.render() {
        Ok(page) => HttpResponse::build(status).content_type("text/html;charset=UTF-8").body(page),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
