//! Notifications: a form, signed over its decoded fields.

use super::wire::{self, Parameters, Uncovered};
use super::{Alipay, captured, yuan};
use crate::channels::{CallbackError, Heard, Notice, Received, RefundNotice};
use crate::domain::id::RefundNumber;
use crate::domain::time::Instant;

/// Alipay tries for about 25 hours, and a late try may bear the time of the first.
const AGE_MAX_MS: i64 = 48 * 60 * 60 * 1_000;
/// How far its clock may run before ours.
const AHEAD_MAX_MS: i64 = 10 * 60 * 1_000;

pub fn read(alipay: &Alipay, received: &Received<'_>, now: Instant) -> Result<Heard, CallbackError> {
    let fields = wire::read_form(received.body).map_err(|_| CallbackError::Unreadable)?;
    verify(alipay, &fields, now)?;
    told(alipay, &fields, now)
}

/// What verified fields say.
pub(super) fn told(alipay: &Alipay, fields: &Parameters, now: Instant) -> Result<Heard, CallbackError> {
    let text = |name: &str| fields.get(name).map(String::as_str);
    let sent_at = text("notify_time").and_then(yuan::read_clock).ok_or(CallbackError::Unreadable)?;
    if !(-AHEAD_MAX_MS..=AGE_MAX_MS).contains(&now.since_ms(sent_at)) {
        return Err(CallbackError::Stale);
    }
    if text("app_id") != Some(&alipay.app_id) {
        return Err(CallbackError::Unreadable);
    }
    if text("notify_type") != Some("trade_status_sync") {
        return Ok(Heard::Nothing);
    }
    if alipay.seller_id.is_some() && text("seller_id") != alipay.seller_id.as_deref() {
        return Err(CallbackError::Unreadable);
    }
    let refund = refund(fields);
    match text("trade_status") {
        // One of ours follows a payment that we know; of anybody else's refund the payment may be news.
        Some("TRADE_SUCCESS" | "TRADE_FINISHED") => match refund.filter(|number| is_ours(number, fields)) {
            Some(number) => asked_about(number),
            None => capture(fields),
        },
        // Closed without a payment, or by a refund in full that may have overtaken the payment's own notification: a
        // query tells.
        Some("TRADE_CLOSED") => refund.map_or(Ok(Heard::Nothing), asked_about),
        Some("WAIT_BUYER_PAY") => Ok(Heard::Nothing),
        Some(_) | None => Err(CallbackError::Unreadable),
    }
}

/// The number of the refund because of which the trade is told of once more, as a refund of a part does
/// (the page on notifications, `out_biz_no`). `refund_fee` beside it is of all refunds of the trade.
fn refund(fields: &Parameters) -> Option<&str> {
    let told = |name: &str| fields.get(name).map(String::as_str).filter(|text| !text.is_empty());
    told("out_biz_no").filter(|_| told("gmt_refund").or(told("refund_fee")).is_some())
}

/// Whether it is a refund of ours, of the very payment.
fn is_ours(refund: &str, fields: &Parameters) -> bool {
    let attempt = RefundNumber::attempt_of(refund).map(|attempt| attempt.to_string());
    attempt.is_some() && attempt.as_ref() == fields.get("out_trade_no")
}

/// A notification does not tell what became of one refund among several: it is a reason to ask.
fn asked_about(number: &str) -> Result<Heard, CallbackError> {
    RefundNotice::of(number, None).map(Heard::Refund).ok_or(CallbackError::Unreadable)
}

/// Messages that name a `method` sign `sign_type` too; those about trades have none. The documents differ about empty
/// values, the official SDKs keep them: so they are kept first, and left out at a second look.
fn verify(alipay: &Alipay, fields: &Parameters, now: Instant) -> Result<(), CallbackError> {
    let sign = fields.get("sign").ok_or(CallbackError::Forged)?;
    if fields.get("sign_type").is_some_and(|kind| kind != "RSA2") {
        return Err(CallbackError::Forged);
    }
    let uncovered = if fields.contains_key("method") { Uncovered::Sign } else { Uncovered::SignAndType };
    let cert_sn = fields.get("alipay_cert_sn").map(String::as_str);
    let is_right = |text: &str| alipay.keys.verify(text, sign, cert_sn, now).is_ok();
    if is_right(&wire::signed_text(fields, uncovered)) || is_right(&wire::signed_text_of_filled(fields, uncovered)) {
        return Ok(());
    }
    Err(CallbackError::Forged)
}

fn capture(fields: &Parameters) -> Result<Heard, CallbackError> {
    let number = fields.get("out_trade_no").ok_or(CallbackError::Unreadable)?;
    let (reference, amount_minor) = captured(fields).map_err(|_| CallbackError::Unreadable)?;
    let notice = Notice::of(number, &reference, amount_minor, yuan::currency().code());
    let dated = yuan::dated(fields.get("gmt_payment"));
    notice.map(|notice| Heard::Capture(notice.dated(dated))).ok_or(CallbackError::Unreadable)
}
