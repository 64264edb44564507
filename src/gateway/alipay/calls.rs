//! What each call does to the books, and what it answers.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answers::{self, Failure, success};
use super::bill::Link;
use super::content::{self, BillQuery, CertificateQuery, Payment, RefundQuery};
use super::request::{Method, Request};
use super::units::{self, beijing, yuan, yuan_currency};
use super::wire::{BUYER_ID, BUYER_LOGON_ID, Kept, Origin};
use crate::gateway::address::Address;
use crate::gateway::books::{Asked, CloseRule, Refund, RefundLimits, Refunding, State, Taken, View};
use crate::gateway::fate::RefundState;
use crate::gateway::faults::Fault;
use crate::gateway::payer::{Conduct, Script};
use crate::gateway::refund_script::RefundScript;
use crate::gateway::wire::Wire;
use crate::gateway::{Gateway, alphanumeric};

const CODE_LENGTH: usize = 24;
/// A payment whose request names no end has one nevertheless: a code lives for two hours, a page for fifteen days.
const CODE_LIVES_MS: i64 = 2 * 60 * 60_000;
const PAGE_LIVES_MS: i64 = 15 * 24 * 60 * 60_000;

/// What a call comes to, and whether and when the caller gets to see it.
pub struct Outcome {
    pub content: Value,
    pub fault: Fault,
}

/// Carries out a merchant's call. `here` is where the merchant reaches the gateway.
pub fn answer(gateway: &Gateway, request: &Request, here: &str, now: i64) -> Outcome {
    let done = match request.method {
        Method::Precreate => precreate(gateway, request, now),
        Method::Query => query(gateway, request, now),
        Method::Close => close(gateway, request, now),
        Method::Refund => refund(gateway, request, now),
        Method::RefundQuery => refund_query(gateway, request, now),
        Method::BillUrl => bill_url(gateway, request, here, now),
        Method::Certificate => certificate(request),
        // They come by the browser, which is answered with pages.
        Method::PagePay | Method::WapPay => Err(answers::INVALID_METHOD),
    };
    done.unwrap_or_else(|failure| Outcome { content: failure.content(), fault: Fault::NONE })
}

/// A payment that was asked for, and what it is by now.
pub struct Placed {
    pub payment: Payment,
    pub amount_fen: i64,
    pub taken: Taken,
    pub script: Script,
}

/// Puts a payment into the books, whichever way it came.
pub fn place(gateway: &Gateway, request: &Request, origin: Origin, now: i64) -> Result<Placed, Failure> {
    let payment: Payment = content::read(&request.content)?;
    let amount_fen = payment.check()?;
    let product_fits = match (request.method, payment.product_code.as_deref()) {
        (Method::PagePay, Some("FAST_INSTANT_TRADE_PAY")) => true,
        (Method::WapPay, Some("QUICK_WAP_WAY" | "QUICK_WAP_PAY")) => true,
        (Method::Precreate, None | Some("QR_CODE_OFFLINE" | "FACE_TO_FACE_PAYMENT")) => true,
        (_, _) => false,
    };
    let is_seller = payment.seller_id.as_ref().is_none_or(|seller| *seller == request.wire.seller_id);
    let notify_url = request.notify_url.as_deref();
    let notify_url_fits = notify_url.is_none_or(|url| Address::parse(url).is_some());
    if !product_fits || !is_seller || !notify_url_fits {
        return Err(answers::INVALID_PARAMETER);
    }
    let lives_ms = match (payment.timeout_express.as_deref(), origin) {
        (Some(text), _) => units::lifetime(text, now).ok_or(answers::INVALID_PARAMETER)?,
        (None, Origin::Scan) => CODE_LIVES_MS,
        (None, Origin::Browser) => PAGE_LIVES_MS,
    };
    let expires_at = match payment.time_expire.as_deref() {
        Some(text) => units::instant(text).ok_or(answers::INVALID_PARAMETER)?,
        None => now.saturating_add(lives_ms),
    };
    let script = match (Script::of(&payment.subject), origin) {
        // What a browser brings can be refused to nobody but the payer, who is turned away.
        (Script::Refuse, Origin::Browser) => Script::Decline,
        (script, Origin::Browser | Origin::Scan) => script,
    };
    let kept = Kept {
        subject: payment.subject.clone(),
        created_at: now,
        notify_url: notify_url.map(str::to_owned),
        origin,
        body: payment.body.clone(),
        passback_params: payment.passback_params.clone(),
    };
    let data = serde_json::to_string(&kept).map_err(|_| answers::SYSTEM_ERROR)?;
    let trade_no = request.wire.reference(now);
    let asked = Asked {
        number: &payment.out_trade_no,
        fingerprint: fingerprint(&content::Asked {
            method: request.method.name(),
            out_trade_no: &payment.out_trade_no,
            total_fen: amount_fen,
            subject: &payment.subject,
            time_expire: payment.time_expire.as_deref(),
            timeout_express: payment.timeout_express.as_deref(),
            notify_url,
        }),
        amount_minor: amount_fen,
        currency: yuan_currency(),
        script,
        notify_url,
        expires_at,
        reference: Some(&trade_no),
        data: Some(&data),
    };
    let taken = gateway.books.create(request.account, &asked, now).map_err(answers::of_creation)?;
    if let Taken::New(id) = &taken {
        gateway.arrange_payment(id.clone(), script, amount_fen, now);
    }
    Ok(Placed { payment, amount_fen, taken, script })
}

/// Two requests ask the same if their business fields do, however their JSON is written.
fn fingerprint(asked: &content::Asked<'_>) -> [u8; 32] {
    let text = serde_json::to_vec(asked).expect("our own structs are JSON");
    digest::digest(&digest::SHA256, &text).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn precreate(gateway: &Gateway, request: &Request, now: i64) -> Result<Outcome, Failure> {
    let Placed { payment, taken, script, .. } = place(gateway, request, Origin::Scan, now)?;
    match taken {
        Taken::New(_) | Taken::Again => {}
        Taken::Paid(_) => return Err(answers::TRADE_HAS_SUCCESS),
    }
    let code = alphanumeric::<CODE_LENGTH>();
    let content = success(json!({
        "out_trade_no": payment.out_trade_no,
        "qr_code": format!("https://qr.alipay.com/{}", String::from_utf8_lossy(&code)),
    }));
    let fault = gateway.fault(request.account, &payment.out_trade_no, "precreate", script.conduct());
    Ok(Outcome { content, fault })
}

/// A trade that somebody opened.
struct Trade {
    number: Arc<str>,
    view: View,
    kept: Kept,
}

/// The trade of a number; `trade_no` wins. It exists from when its code was scanned or its page was opened.
fn find(
    gateway: &Gateway,
    request: &Request,
    out_trade_no: Option<&str>,
    trade_no: Option<&str>,
    now: i64,
) -> Result<Trade, Failure> {
    let number = match (trade_no, out_trade_no) {
        (Some(trade_no), _) => gateway.books.referred(request.account, trade_no).ok_or(answers::TRADE_NOT_EXIST)?,
        (None, Some(number)) if content::is_number(number) => Arc::from(number),
        (None, _) => return Err(answers::INVALID_PARAMETER),
    };
    let view = gateway.books.view(request.account, &number, now).ok_or(answers::TRADE_NOT_EXIST)?;
    let kept = Kept::read(view.data.as_deref()).ok_or(answers::SYSTEM_ERROR)?;
    if opened_at(gateway, &kept) > now.min(view.expires_at) {
        return Err(answers::TRADE_NOT_EXIST);
    }
    Ok(Trade { number, view, kept })
}

/// The simulated payer scans half-way to paying.
fn opened_at(gateway: &Gateway, kept: &Kept) -> i64 {
    match kept.origin {
        Origin::Browser => kept.created_at,
        Origin::Scan => kept.created_at.saturating_add(gateway.payer_delay_ms / 2),
    }
}

/// How this call of a trade is answered; what the script says of a creation that was no call befalls the first one.
fn fault(gateway: &Gateway, request: &Request, trade: &Trade, call: &str) -> Fault {
    match trade.kept.origin {
        Origin::Browser => gateway.fault_after_browser(request.account, &trade.number, call, trade.view.script),
        Origin::Scan => gateway.fault(request.account, &trade.number, call, Conduct::Answers),
    }
}

fn query(gateway: &Gateway, request: &Request, now: i64) -> Result<Outcome, Failure> {
    let asked: content::Trade = content::read(&request.content)?;
    let trade = find(gateway, request, asked.out_trade_no.as_deref(), asked.trade_no.as_deref(), now)?;
    let fault = fault(gateway, request, &trade, "query");
    let view = &trade.view;
    let status = match view.state {
        State::Waiting => "WAIT_BUYER_PAY",
        State::Paid if view.refunded_minor < view.captured_minor() => "TRADE_SUCCESS",
        State::Paid | State::Declined | State::Closed => "TRADE_CLOSED",
    };
    // Of a trade that was paid all amounts are what was paid.
    let total = view.capture.as_ref().map_or(view.asked_minor, |capture| capture.amount_minor);
    let paid = yuan(view.captured_minor());
    let mut content = success(json!({
        "buyer_logon_id": BUYER_LOGON_ID,
        "buyer_pay_amount": paid,
        "buyer_user_id": BUYER_ID,
        "invoice_amount": paid,
        "out_trade_no": &*trade.number,
        "point_amount": "0.00",
        "receipt_amount": paid,
        "total_amount": yuan(total),
        "trade_no": view.reference.as_deref(),
        "trade_status": status,
    }));
    if let Some(capture) = &view.capture {
        content["send_pay_date"] = beijing(capture.at).into();
        content["fund_bill_list"] = json!([{ "amount": paid, "fund_channel": "ALIPAYACCOUNT" }]);
    }
    Ok(Outcome { content, fault })
}

/// Only a trade that waits for its payer can be closed. One whose time is over is closed by itself, and yet the close
/// that the script `sim:late` waits for is answered as done.
fn close(gateway: &Gateway, request: &Request, now: i64) -> Result<Outcome, Failure> {
    let asked: content::Trade = content::read(&request.content)?;
    let trade = find(gateway, request, asked.out_trade_no.as_deref(), asked.trade_no.as_deref(), now)?;
    let view = &trade.view;
    match view.state {
        State::Waiting => {}
        State::Closed if view.closed_at.is_none() && view.script == Script::Late => {}
        State::Paid | State::Declined | State::Closed => return Err(answers::TRADE_STATUS_ERROR),
    }
    gateway.close(request.account, &trade.number, CloseRule::MustExist, now).map_err(answers::of_close)?;
    let content = success(json!({ "out_trade_no": &*trade.number, "trade_no": view.reference.as_deref() }));
    Ok(Outcome { content, fault: fault(gateway, request, &trade, "close") })
}

fn refund(gateway: &Gateway, request: &Request, now: i64) -> Result<Outcome, Failure> {
    let asked: content::Refund = content::read(&request.content)?;
    let trade = find(gateway, request, asked.out_trade_no.as_deref(), asked.trade_no.as_deref(), now)?;
    let amount_minor = units::fen(&asked.refund_amount).ok_or(answers::REFUND_FEE_ERR)?;
    // Without a number of its own only the whole can be given back, under the trade's number.
    let refund_number = match asked.out_request_no.as_deref() {
        Some(number) if !number.is_empty() && number.len() <= 64 => number,
        Some(_) => return Err(answers::INVALID_PARAMETER),
        None if amount_minor == trade.view.captured_minor() => &trade.number,
        None => return Err(answers::INVALID_PARAMETER),
    };
    let is_known = gateway.books.refund_of(request.account, refund_number).is_some();
    match trade.view.state {
        State::Paid if trade.view.reserved_minor < trade.view.captured_minor() || is_known => {}
        State::Paid => return Err(answers::TRADE_HAS_FINISHED),
        State::Waiting | State::Declined | State::Closed => return Err(answers::TRADE_NOT_ALLOW_REFUND),
    }
    let refund = Refund {
        refund_number,
        number: &trade.number,
        amount_minor,
        currency: yuan_currency(),
        script: RefundScript::of(asked.reason()?),
        limits: RefundLimits::NONE,
        reference: None,
        notify_url: trade.kept.notify_url.as_deref(),
        data: None,
    };
    let refunding = gateway.books.refund(request.account, &refund, now).map_err(answers::of_refund)?;
    let fund_change = match &refunding {
        Refunding::New(booked) => {
            gateway.arrange_refund(request.account, refund_number, booked);
            if booked.state_at(now) == RefundState::Refunded { "Y" } else { "N" }
        }
        Refunding::Again(_) => "N",
    };
    let view = gateway.books.view(request.account, &trade.number, now).ok_or(answers::SYSTEM_ERROR)?;
    let content = success(json!({
        "buyer_logon_id": BUYER_LOGON_ID,
        "buyer_user_id": BUYER_ID,
        "fund_change": fund_change,
        "gmt_refund_pay": beijing(now),
        "out_trade_no": &*trade.number,
        "refund_fee": yuan(view.refunded_minor),
        "trade_no": view.reference.as_deref(),
    }));
    let fault = match refunding.conduct() {
        Conduct::Answers => fault(gateway, request, &trade, "refund"),
        Conduct::Hangs | Conduct::Fails => gateway.fault_of_refund(request.account, &refunding),
    };
    Ok(Outcome { content, fault })
}

/// A refund that is not there, or not done, is told of by saying nothing of it.
fn refund_query(gateway: &Gateway, request: &Request, now: i64) -> Result<Outcome, Failure> {
    let asked: RefundQuery = content::read(&request.content)?;
    let trade = find(gateway, request, asked.out_trade_no.as_deref(), asked.trade_no.as_deref(), now)?;
    let fault = fault(gateway, request, &trade, "refund_query");
    let refund = gateway.books.refund_of(request.account, &asked.out_request_no);
    let refund = refund.filter(|refund| refund.number == trade.number);
    let refunded_at = refund.as_ref().and_then(|refund| refund.fate.refunded_at()).filter(|at| *at <= now);
    let content = match (refund, refunded_at) {
        (None, _) | (Some(_), None) => success(json!({})),
        (Some(refund), Some(at)) => success(json!({
            "gmt_refund_pay": beijing(at),
            "out_request_no": asked.out_request_no,
            "out_trade_no": &*trade.number,
            "refund_amount": yuan(refund.amount_minor),
            "refund_status": "REFUND_SUCCESS",
            "total_amount": yuan(trade.view.captured_minor()),
            "trade_no": trade.view.reference.as_deref(),
        })),
    };
    Ok(Outcome { content, fault })
}

/// True bills come the next morning, and until then the answer is `BILL_NOT_EXIST`; here a day that is not over has one
/// of what there is so far.
fn bill_url(gateway: &Gateway, request: &Request, here: &str, now: i64) -> Result<Outcome, Failure> {
    let asked: BillQuery = content::read(&request.content).map_err(|_| answers::INVALID_BILL_ARGUMENTS)?;
    let day = units::date(&asked.bill_date).filter(|_| asked.bill_type == "trade");
    let day = day.ok_or(answers::INVALID_BILL_ARGUMENTS)?;
    let span = units::bounds(day).ok_or(answers::INVALID_BILL_ARGUMENTS)?;
    if span.0 > now {
        return Err(answers::BILL_NOT_EXIST);
    }
    let token = gateway.alipay.links.token(&Link { app_id: request.wire.app_id.clone(), span, issued_at: now });
    let content = success(json!({ "bill_download_url": format!("{here}/bills/{token}") }));
    Ok(Outcome { content, fault: Fault::NONE })
}

/// The certificate that answers are signed by. What is answered to another name is not documented.
fn certificate(request: &Request) -> Result<Outcome, Failure> {
    let asked: CertificateQuery = content::read(&request.content)?;
    let certificates = &request.wire.certificates;
    if asked.alipay_cert_sn != certificates.alipay_sn {
        return Err(answers::INVALID_PARAMETER);
    }
    let content = success(json!({ "alipay_cert_content": STANDARD.encode(&certificates.alipay) }));
    Ok(Outcome { content, fault: Fault::NONE })
}
