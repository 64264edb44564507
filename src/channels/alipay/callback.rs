//! Notifications: a form, signed over its decoded fields.

use super::wire::{self, Parameters, Uncovered};
use super::{Alipay, captured, yuan};
use crate::channels::{CallbackError, Heard, Notice, Received};
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
    match text("trade_status") {
        Some("TRADE_SUCCESS" | "TRADE_FINISHED") => capture(fields),
        // Closed without a payment, or by a refund in full that overtook the payment's own notification: a query tells.
        Some("TRADE_CLOSED" | "WAIT_BUYER_PAY") => Ok(Heard::Nothing),
        Some(_) | None => Err(CallbackError::Unreadable),
    }
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
    notice.map(Heard::Capture).ok_or(CallbackError::Unreadable)
}
