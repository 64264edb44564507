//! Refunds: accepted at once, done a moment later.

use serde_json::{Value, json};

use super::bodies::{self, Refund as Request};
use super::calls::{Caller, Done, yuan};
use super::failure::Failure;
use super::wire::{clock, done_at, numbered};
use crate::gateway::Gateway;
use crate::gateway::books::{Refund, Refunded, Refunding, View};
use crate::gateway::payer::Conduct;

pub fn refund(gateway: &Gateway, caller: Caller<'_>, body: &[u8], now: i64) -> Result<Done, Failure> {
    let request: Request = bodies::read(body)?;
    request.check()?;
    let number = match (&request.transaction_id, &request.out_trade_no) {
        (Some(reference), _) => gateway.books.referred(caller.account, reference),
        (None, Some(number)) => Some(number.as_str().into()),
        (None, None) => return Err(Failure::param("`transaction_id` or `out_trade_no` is missing")),
    };
    let number = number.ok_or_else(Failure::resource_not_exists)?;
    if request.out_trade_no.as_deref().is_some_and(|given| given != &*number) {
        return Err(Failure::param("`transaction_id` and `out_trade_no` do not belong together"));
    }
    let view = gateway.books.view(caller.account, &number, now).ok_or_else(Failure::resource_not_exists)?;
    if request.amount.total != view.captured_minor() {
        return Err(Failure::invalid("`amount.total` is not what was paid"));
    }
    let reference = numbered("50300", now);
    let refund = Refund {
        refund_number: &request.out_refund_no,
        number: &number,
        amount_minor: request.amount.refund,
        currency: yuan(),
        reference: Some(&reference),
        notify_url: request.notify_url.as_deref(),
        data: None,
    };
    let refunded = match gateway.books.refund(caller.account, &refund, now).map_err(Failure::of_refund)? {
        Refunding::New(refunded) => {
            if request.notify_url.is_some() {
                gateway.tell_refund(caller.account, &number, &request.out_refund_no, done_at(&refunded));
            }
            refunded
        }
        Refunding::Again(refunded) => refunded,
    };
    let fault = gateway.fault(caller.account, &number, "refund", Conduct::Answers);
    Ok(Done::ok(&shown(&request.out_refund_no, &refunded, &view, now)?, fault))
}

pub fn query(gateway: &Gateway, caller: Caller<'_>, refund_number: &str, now: i64) -> Result<Done, Failure> {
    let refunded = gateway.books.refunded(caller.account, refund_number).ok_or_else(Failure::resource_not_exists)?;
    let view = gateway.books.view(caller.account, &refunded.number, now).ok_or_else(Failure::broken)?;
    let fault = gateway.fault(caller.account, &refunded.number, "query_refund", Conduct::Answers);
    Ok(Done::ok(&shown(refund_number, &refunded, &view, now)?, fault))
}

fn shown(refund_number: &str, refunded: &Refunded, view: &View, now: i64) -> Result<Value, Failure> {
    let capture = view.capture.as_ref().ok_or_else(Failure::broken)?;
    let mut shown = json!({
        "refund_id": refunded.reference.as_deref().unwrap_or_default(),
        "out_refund_no": refund_number,
        "transaction_id": &*capture.reference,
        "out_trade_no": &*refunded.number,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": clock(refunded.at),
        "status": "PROCESSING",
        "funds_account": "AVAILABLE",
        "amount": {
            "total": capture.amount_minor,
            "refund": refunded.amount_minor,
            "payer_total": capture.amount_minor,
            "payer_refund": refunded.amount_minor,
            "settlement_refund": refunded.amount_minor,
            "settlement_total": capture.amount_minor,
            "discount_refund": 0,
            "currency": "CNY",
        },
    });
    let done_at = done_at(refunded);
    if done_at <= now {
        shown["status"] = "SUCCESS".into();
        shown["success_time"] = clock(done_at).into();
    }
    Ok(shown)
}
