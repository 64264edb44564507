//! Payments: create, query, close.

use actix_web::http::StatusCode;
use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::bodies::{self, Close, Create, Product};
use super::failure::Failure;
use super::wire::{Kept, Telling, WechatWire, json_bytes};
use crate::domain::money::Currency;
use crate::gateway::accounts::AccountId;
use crate::gateway::books::{Asked, CloseRule, Fingerprint, Refusal, State, Taken, View};
use crate::gateway::faults::Fault;
use crate::gateway::payer::{Conduct, Script};
use crate::gateway::{Gateway, alphanumeric};

const TOKEN_LENGTH: usize = 16;

/// A merchant whose signature was right.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub account: AccountId,
    pub wire: &'a WechatWire,
    /// By the key that the request names.
    pub telling: Telling,
}

/// An answer that is signed, and whether and when the caller gets to see it.
#[derive(Debug)]
pub struct Done {
    pub status: StatusCode,
    pub body: Vec<u8>,
    pub fault: Fault,
}

impl Done {
    pub fn ok(body: &Value, fault: Fault) -> Self {
        Done { status: StatusCode::OK, body: json_bytes(body), fault }
    }
}

pub fn create(gateway: &Gateway, caller: Caller<'_>, product: Product, body: &[u8], now: i64) -> Result<Done, Failure> {
    let request: Create = bodies::read(body)?;
    request.check(product)?;
    let merchant = &caller.wire.merchant;
    if request.mchid != merchant.mchid {
        return Err(Failure::param("`mchid` is not the one that signed"));
    }
    if !merchant.appids.contains(&request.appid) {
        let message = "`appid` and `mchid` do not belong together";
        return Err(Failure::new(StatusCode::BAD_REQUEST, "APPID_MCHID_NOT_MATCH", message));
    }
    let expires_at = bodies::within_life(request.expires_at(now)?, now);
    let script = Script::of(&request.description);
    let kept = json_bytes(&Kept {
        product,
        appid: Some(request.appid.clone()),
        description: request.description.clone(),
        attach: request.attach.clone(),
        openid: request.payer.as_ref().map(|payer| payer.openid.clone()),
        telling: caller.telling,
    });
    let asked = Asked {
        number: &request.out_trade_no,
        fingerprint: fingerprint(product, &request),
        amount_minor: request.amount.total,
        currency: yuan(),
        script,
        notify_url: Some(&request.notify_url),
        expires_at,
        reference: None,
        data: std::str::from_utf8(&kept).ok(),
    };
    match gateway.books.create(caller.account, &asked, now).map_err(Failure::of_payment)? {
        Taken::New(payment) => gateway.arrange_payment(payment, script, request.amount.total, now),
        Taken::Again => {}
        Taken::Paid(_) => return Err(Failure::of_payment(Refusal::AlreadyPaid)),
    }
    let fault = gateway.fault(caller.account, &request.out_trade_no, "create", script.conduct());
    Ok(Done::ok(&link(product), fault))
}

/// How the payer gets to the payment. The simulated payer takes whichever is the last, so that none is kept.
fn link(product: Product) -> Value {
    let token = alphanumeric::<TOKEN_LENGTH>();
    let token = String::from_utf8_lossy(&token);
    match product {
        Product::Native => json!({ "code_url": format!("weixin://wxpay/bizpayurl?pr={token}") }),
        Product::Jsapi | Product::App => json!({ "prepay_id": format!("wx{token}") }),
        Product::H5 => json!({
            "h5_url": format!("https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx{token}")
        }),
    }
}

pub fn query(gateway: &Gateway, caller: Caller<'_>, number: &str, now: i64) -> Result<Done, Failure> {
    bodies::number_form(number)?;
    let view = gateway.books.view(caller.account, number, now).ok_or_else(Failure::order_not_exist)?;
    let kept = Kept::read(view.data.as_deref()).ok_or_else(Failure::broken)?;
    let body = shown(caller.wire, number, &view, &kept);
    Ok(Done::ok(&body, gateway.fault(caller.account, number, "query", Conduct::Answers)))
}

pub fn query_by_reference(gateway: &Gateway, caller: Caller<'_>, reference: &str, now: i64) -> Result<Done, Failure> {
    let number = gateway.books.referred(caller.account, reference).ok_or_else(Failure::order_not_exist)?;
    query(gateway, caller, &number, now)
}

fn shown(wire: &WechatWire, number: &str, view: &View, kept: &Kept) -> Value {
    let (state, description) = match (view.state, &view.capture) {
        (State::Paid, Some(capture)) => {
            let state = if view.reserved_minor > 0 { "REFUND" } else { "SUCCESS" };
            return wire.transaction(number, capture, state, kept);
        }
        // What merely ran out of time is not closed by that.
        (State::Closed, _) if view.closed_at.is_none() => ("NOTPAY", "订单未支付"),
        (State::Waiting, _) | (State::Paid, None) => ("NOTPAY", "订单未支付"),
        (State::Declined, _) => ("PAYERROR", "支付失败"),
        (State::Closed, _) => ("CLOSED", "订单已关闭"),
    };
    json!({
        "appid": wire.appid(kept),
        "mchid": wire.merchant.mchid,
        "out_trade_no": number,
        "trade_state": state,
        "trade_state_desc": description,
        "amount": { "total": view.asked_minor, "currency": "CNY" },
    })
}

/// 204, again and again; what was paid is not closed.
pub fn close(gateway: &Gateway, caller: Caller<'_>, number: &str, body: &[u8], now: i64) -> Result<Done, Failure> {
    bodies::number_form(number)?;
    let request: Close = bodies::read(body)?;
    if request.mchid != caller.wire.merchant.mchid {
        return Err(Failure::param("`mchid` is not the one that signed"));
    }
    gateway.close(caller.account, number, CloseRule::MustExist, now).map_err(Failure::of_payment)?;
    let fault = gateway.fault(caller.account, number, "close", Conduct::Answers);
    Ok(Done { status: StatusCode::NO_CONTENT, body: Vec::new(), fault })
}

/// Two requests ask the same if their fields do, however their JSON is written.
fn fingerprint(product: Product, request: &Create) -> Fingerprint {
    let digest = digest::digest(&digest::SHA256, &json_bytes(&(product, request)));
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

pub fn yuan() -> Currency {
    Currency::parse("CNY").expect("CNY is a currency")
}
