//! Refunds: accepted at once, done (or not) later.

use serde_json::{Value, json};

use super::bodies::{self, Refund as Request};
use super::calls::{Caller, Done, yuan};
use super::failure::Failure;
use super::wire::{clock, numbered, status};
use crate::gateway::Gateway;
use crate::gateway::books::{BookedRefund, Refund, RefundLimits, Refunding, View};
use crate::gateway::fate::RefundState;
use crate::gateway::payer::Conduct;
use crate::gateway::refund_script::RefundScript;

/// Of one payment, and how far apart (merchant docs 4012791862 and 4014959631); the gap is the sandbox's where its time
/// is another.
const REFUNDS_MAX: usize = 50;
const GAP_MS: i64 = 60_000;

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
        script: RefundScript::of(request.reason.as_deref()),
        limits: RefundLimits { refunds_max: REFUNDS_MAX, gap_ms: gateway.time_scale.of(GAP_MS) },
        reference: Some(&reference),
        notify_url: request.notify_url.as_deref(),
        data: None,
    };
    let refunding = gateway.books.refund(caller.account, &refund, now).map_err(Failure::of_refund)?;
    if let Refunding::New(booked) = &refunding {
        gateway.arrange_refund(caller.account, &request.out_refund_no, booked);
    }
    let fault = gateway.fault_of_refund(caller.account, &refunding);
    Ok(Done::ok(&shown(&request.out_refund_no, refunding.booked(), &view, now)?, fault))
}

pub fn query(gateway: &Gateway, caller: Caller<'_>, refund_number: &str, now: i64) -> Result<Done, Failure> {
    let refund = gateway.books.refund_of(caller.account, refund_number).ok_or_else(Failure::resource_not_exists)?;
    let view = gateway.books.view(caller.account, &refund.number, now).ok_or_else(Failure::broken)?;
    let fault = gateway.fault(caller.account, &refund.number, "query_refund", Conduct::Answers);
    Ok(Done::ok(&shown(refund_number, &refund, &view, now)?, fault))
}

fn shown(refund_number: &str, refund: &BookedRefund, view: &View, now: i64) -> Result<Value, Failure> {
    let state = refund.state_at(now);
    let capture = view.capture.as_ref().ok_or_else(Failure::broken)?;
    let mut shown = json!({
        "refund_id": refund.reference.as_deref().unwrap_or_default(),
        "out_refund_no": refund_number,
        "transaction_id": &*capture.reference,
        "out_trade_no": &*refund.number,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "create_time": clock(refund.at),
        "status": status(state),
        "funds_account": "AVAILABLE",
        "amount": {
            "total": capture.amount_minor,
            "refund": refund.amount_minor,
            "payer_total": capture.amount_minor,
            "payer_refund": refund.amount_minor,
            "settlement_refund": refund.amount_minor,
            "settlement_total": capture.amount_minor,
            "discount_refund": 0,
            "currency": "CNY",
        },
    });
    if let (RefundState::Refunded, Some(at)) = (state, refund.fate.refunded_at()) {
        shown["success_time"] = clock(at).into();
    }
    Ok(shown)
}
