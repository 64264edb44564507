//! Alipay over HTTP: one address for every call, by merchants and by browsers, and one for bills.

use actix_web::{HttpRequest, HttpResponse, web};

use super::answers::{self, Signed, envelope, response_name};
use super::bill::Day;
use super::cashier::{Opened, Shown};
use super::form::{self, Parameters};
use super::request::{Carrier, Disbelief, Method, Request, Trust};
use super::wire::Kept;
use super::{calls, cashier};
use crate::gateway::accounts::Channel;
use crate::gateway::books::{BillRefund, Moment};
use crate::gateway::replies::{befall, elsewhere};
use crate::gateway::{Gateway, now_ms};

pub fn routes(service: &mut web::ServiceConfig) {
    service
        .route("/gateway.do", web::post().to(gateway_do))
        .route("/gateway.do", web::get().to(gateway_do))
        .route("/cashier", web::get().to(shown))
        .route("/bills/{token}", web::get().to(bill));
}

async fn gateway_do(gateway: web::Data<Gateway>, http: HttpRequest, body: web::Bytes) -> HttpResponse {
    let now = now_ms();
    let Some(parameters) = form::read(http.query_string(), &body) else {
        return answer(&envelope(&response_name(None), &answers::INVALID_ARGUMENTS.content(), None));
    };
    let request = match gateway.alipay.verify(&parameters, now) {
        Ok(request) => request,
        Err(disbelief) => return disbelieve(&parameters, &disbelief),
    };
    if request.method.carrier() == Carrier::Browser {
        return match cashier::open(&gateway, &request, now) {
            Opened::Cashier(shown) => elsewhere(&http, &format!("{}/cashier", prefix(&http)), &shown.pairs()),
            Opened::Refusal(refusal) => page(refusal),
        };
    }
    let outcome = calls::answer(&gateway, &request, &here(&http), now);
    if let Some(instead) = befall(&outcome.fault).await {
        return instead;
    }
    let signed = Signed { wire: &request.wire, certificate_sn: certificate_sn(&request) };
    // Who asks for the certificate cannot verify anything yet.
    let signed = Some(&signed).filter(|_| request.method != Method::Certificate);
    answer(&envelope(&response_name(Some(request.method.name())), &outcome.content, signed))
}

fn certificate_sn(request: &Request) -> Option<&str> {
    match request.trust {
        Trust::PublicKeys => None,
        Trust::Certificates => Some(&request.wire.certificates.alipay_sn),
    }
}

/// Where the caller reached us, for addresses in answers.
fn here(http: &HttpRequest) -> String {
    let connection = http.connection_info();
    format!("{}://{}{}", connection.scheme(), connection.host(), prefix(http))
}

fn prefix(http: &HttpRequest) -> &str {
    http.path().trim_end_matches("/gateway.do")
}

async fn shown(shown: web::Query<Shown>) -> HttpResponse {
    page(shown.page())
}

/// Whoever names no account of ours shares no key with us, and gets an answer that nobody signed.
fn disbelieve(parameters: &Parameters, disbelief: &Disbelief) -> HttpResponse {
    let method = parameters.get("method").map(String::as_str).filter(|method| is_method_name(method));
    if matches!(method, Some("alipay.trade.page.pay" | "alipay.trade.wap.pay")) {
        return page(cashier::refusal(disbelief.failure));
    }
    let signed = disbelief.wire.as_ref().map(|wire| Signed { wire, certificate_sn: None });
    answer(&envelope(&response_name(method), &disbelief.failure.content(), signed.as_ref()))
}

/// What stands in the answer as a name must not end it.
fn is_method_name(method: &str) -> bool {
    method.len() <= 128 && method.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.')
}

fn answer(text: &str) -> HttpResponse {
    HttpResponse::Ok().content_type("text/html;charset=utf-8").body(text.to_owned())
}

fn page(page: cashier::Page) -> HttpResponse {
    HttpResponse::Ok().content_type(page.content_type).body(page.body)
}

async fn bill(gateway: web::Data<Gateway>, token: web::Path<String>) -> HttpResponse {
    let now = now_ms();
    match bill_of(&gateway, &token, now) {
        Some(zip) => HttpResponse::Ok().content_type("application/zip").body(zip),
        None => HttpResponse::NotFound().content_type("text/plain").body("the address has expired"),
    }
}

fn bill_of(gateway: &Gateway, token: &str, now: i64) -> Option<Vec<u8>> {
    let link = gateway.alipay.links.read(token, now)?;
    let (account, wire) = gateway.alipay.wires.iter().find(|(_, wire)| wire.app_id == link.app_id)?;
    let span = link.span;
    let with_kept = |line: BillRefund| {
        let kept = gateway.books.view(*account, &line.refund.number, now);
        let kept = kept.and_then(|view| Kept::read(view.data.as_deref()));
        (line, kept)
    };
    // What is still on its way to the payer is not in it.
    let until = span.1.min(now.saturating_add(1));
    let refunds = gateway.books.refunds_between(*account, Moment::Refunded, span.0, until);
    let refunds = refunds.into_iter().map(with_kept).collect();
    let captures = gateway.books.captured_between(*account, span.0, span.1);
    let cost = gateway.costs.of(Channel::Alipay);
    Day { seller_id: &wire.seller_id, span, captures, refunds, cost, now }.zip()
}
