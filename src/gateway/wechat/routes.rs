//! The calls of WeChat Pay over HTTP: who asks, and how an answer is signed.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse, web};

use super::bodies::Product;
use super::calls::{self, Caller, Done};
use super::failure::Failure;
use super::signing::{Claim, Disbelief, Request, Signer};
use super::wire::fresh_nonce;
use super::{refunds, statement};
use crate::gateway::faults::Fault;
use crate::gateway::replies::befall;
use crate::gateway::{Gateway, alphanumeric, now_ms};

/// Where this far end stands in the simulated gateway.
const PREFIX: &str = "/wechat";
const SERIAL: &str = "wechatpay-serial";
const REQUEST_ID: &str = "request-id";
const REQUEST_ID_LENGTH: usize = 32;

pub fn routes(service: &mut web::ServiceConfig) {
    let trade = "/v3/pay/transactions/out-trade-no/{number}";
    service
        .route(&format!("{trade}/close"), web::post().to(close))
        .route(trade, web::get().to(query))
        .route("/v3/pay/transactions/id/{reference}", web::get().to(query_by_reference))
        .route("/v3/pay/transactions/{product}", web::post().to(create))
        .route("/v3/refund/domestic/refunds", web::post().to(refund))
        .route("/v3/refund/domestic/refunds/{number}", web::get().to(query_refund))
        .route("/v3/certificates", web::get().to(certificates))
        .route("/v3/bill/tradebill", web::get().to(bill))
        .route("/v3/billdownload/file", web::get().to(download));
}

type Shared = web::Data<Gateway>;

async fn create(gateway: Shared, request: HttpRequest, product: web::Path<String>, body: web::Bytes) -> HttpResponse {
    answer(&gateway, &request, &body, |caller, now| {
        let product = Product::parse(&product).ok_or_else(Failure::resource_not_exists)?;
        calls::create(&gateway, caller, product, &body, now)
    })
    .await
}

async fn query(gateway: Shared, request: HttpRequest, number: web::Path<String>, body: web::Bytes) -> HttpResponse {
    answer(&gateway, &request, &body, |caller, now| {
        names_merchant(&request, caller)?;
        calls::query(&gateway, caller, &number, now)
    })
    .await
}

async fn query_by_reference(
    gateway: Shared,
    request: HttpRequest,
    reference: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    answer(&gateway, &request, &body, |caller, now| {
        names_merchant(&request, caller)?;
        calls::query_by_reference(&gateway, caller, &reference, now)
    })
    .await
}

async fn close(gateway: Shared, request: HttpRequest, number: web::Path<String>, body: web::Bytes) -> HttpResponse {
    answer(&gateway, &request, &body, |caller, now| calls::close(&gateway, caller, &number, &body, now)).await
}

async fn refund(gateway: Shared, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    answer(&gateway, &request, &body, |caller, now| refunds::refund(&gateway, caller, &body, now)).await
}

async fn query_refund(
    gateway: Shared,
    request: HttpRequest,
    number: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    answer(&gateway, &request, &body, |caller, now| refunds::query(&gateway, caller, &number, now)).await
}

async fn certificates(gateway: Shared, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    answer(&gateway, &request, &body, |caller, _| {
        let body = caller.wire.certificates();
        Ok(Done { status: StatusCode::OK, body, fault: Fault::NONE })
    })
    .await
}

async fn bill(gateway: Shared, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let home = {
        let connection = request.connection_info();
        format!("{}://{}", connection.scheme(), connection.host())
    };
    answer(&gateway, &request, &body, |caller, now| {
        statement::address(&gateway, caller, request.query_string(), &home, now)
    })
    .await
}

async fn download(gateway: Shared, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let now = now_ms();
    let file = believed(&gateway, &request, &body, now)
        .and_then(|caller| statement::download(&gateway, caller, request.query_string(), now));
    match file {
        Ok(file) => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(file),
        Err(failure) => refused(&failure),
    }
}

async fn answer(
    gateway: &Gateway,
    request: &HttpRequest,
    body: &[u8],
    call: impl FnOnce(Caller<'_>, i64) -> Result<Done, Failure>,
) -> HttpResponse {
    let now = now_ms();
    let caller = match believed(gateway, request, body, now) {
        Ok(caller) => caller,
        Err(failure) => return refused(&failure),
    };
    let done = match call(caller, now) {
        Ok(done) => done,
        Err(failure) => return refused(&failure),
    };
    if let Some(instead) = befall(&done.fault).await {
        return instead;
    }
    let wanted = request.headers().get(SERIAL).and_then(|serial| serial.to_str().ok());
    signed(caller.wire.answering(wanted), done)
}

/// Who asks. What is wrong with a request is found in the true gateway's order: form, time, merchant, signature.
fn believed<'a>(gateway: &'a Gateway, request: &HttpRequest, body: &[u8], now: i64) -> Result<Caller<'a>, Failure> {
    let headers = request.headers();
    for name in [USER_AGENT, ACCEPT] {
        if header(headers, name.as_str()).is_none_or(str::is_empty) {
            return Err(Failure::param(&format!("the header {name} is missing")));
        }
    }
    let is_json = |kind: &str| kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json");
    if !body.is_empty() && !header(headers, CONTENT_TYPE.as_str()).is_some_and(is_json) {
        return Err(Failure::param("the header content-type must be application/json"));
    }
    let claim = Claim::read(header(headers, AUTHORIZATION.as_str()).ok_or(Disbelief::Malformed)?)?;
    let (account, wire) = gateway.wechat.wire(&claim.mchid).ok_or(Disbelief::Unknown)?;
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let signed = Request { verb: request.method().as_str(), path, prefix: PREFIX, body };
    wire.merchant.verify(&claim, &signed, (now / 1_000).unsigned_abs())?;
    Ok(Caller { account, wire, telling: wire.telling(header(headers, SERIAL)) })
}

/// The one value of a header: of two, the signature could mean either.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (None | Some(_), _) => None,
    }
}

/// A query names the merchant once more, in its address.
fn names_merchant(request: &HttpRequest, caller: Caller<'_>) -> Result<(), Failure> {
    let parameters = statement::parameters(request.query_string())?;
    match parameters.get("mchid") {
        Some(mchid) if *mchid == caller.wire.merchant.mchid => Ok(()),
        Some(_) | None => Err(Failure::param("`mchid` is missing, or not the one that signed")),
    }
}

fn signed(signer: &Signer, done: Done) -> HttpResponse {
    let mut response = HttpResponse::build(done.status);
    for header in signer.headers(&done.body, fresh_nonce(), now_ms() / 1_000) {
        response.insert_header(header);
    }
    response.insert_header((REQUEST_ID, request_id()));
    if done.body.is_empty() {
        return response.finish();
    }
    response.content_type("application/json; charset=utf-8").body(done.body)
}

/// An error is signed by nobody.
fn refused(failure: &Failure) -> HttpResponse {
    HttpResponse::build(failure.status)
        .insert_header((REQUEST_ID, request_id()))
        .content_type("application/json; charset=utf-8")
        .body(failure.body())
}

fn request_id() -> String {
    String::from_utf8_lossy(&alphanumeric::<REQUEST_ID_LENGTH>()).into_owned()
}
