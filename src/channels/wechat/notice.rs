//! Notifications: a signed envelope around an encrypted resource.

use std::borrow::Cow;

use serde::Deserialize;

use super::codes::{RefundStatus, Trade, refund_status, trade};
use super::keys::Disbelief;
use super::sealed::Sealed;
use super::wire::{CURRENCY, Time, Transaction, is_name, parse};
use super::{Wechat, refund_outcome};
use crate::channels::{CallbackError, Heard, Notice, Received, RefundNotice};
use crate::domain::dated::Dated;
use crate::domain::event::RefundWord;
use crate::domain::money::Currency;
use crate::domain::time::Instant;

/// A notification has about a thousand bytes; a longer body is not hashed.
const BODY_MAX: usize = 64 * 1024;
const RESOURCE_TYPE: &str = "encrypt-resource";

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    resource_type: Cow<'a, str>,
    resource: Sealed,
}

/// A refund as a notification tells it: without a currency, because there is one, and without the day on which it was
/// taken (pay.weixin.qq.com/wiki/doc/apiv3/apis/chapter3_1_11.shtml).
#[derive(Deserialize)]
struct Refund<'a> {
    #[serde(borrow)]
    mchid: Cow<'a, str>,
    #[serde(borrow)]
    out_refund_no: Cow<'a, str>,
    #[serde(borrow)]
    refund_status: Cow<'a, str>,
    #[serde(borrow, default)]
    refund_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    success_time: Option<Time<'a>>,
    amount: RefundAmount,
}

#[derive(Deserialize)]
struct RefundAmount {
    /// Of the whole payment.
    total: i64,
    refund: i64,
}

/// What a notification may be about; only these are ever sent of payments and refunds.
enum Kind {
    Payment,
    Refund(RefundStatus),
}

impl Kind {
    fn of(event_type: &str) -> Option<Self> {
        match event_type {
            "TRANSACTION.SUCCESS" => Some(Kind::Payment),
            "REFUND.SUCCESS" => Some(Kind::Refund(RefundStatus::Success)),
            "REFUND.ABNORMAL" => Some(Kind::Refund(RefundStatus::Abnormal)),
            "REFUND.CLOSED" => Some(Kind::Refund(RefundStatus::Closed)),
            _ => None,
        }
    }
}

impl Wechat {
    pub(super) fn hear(&self, received: &Received<'_>, now: Instant) -> Result<Heard, CallbackError> {
        if received.body.len() > BODY_MAX {
            return Err(CallbackError::Unreadable);
        }
        self.platform.verify(received.headers, received.body, now).map_err(|disbelief| match disbelief {
            Disbelief::Unsigned | Disbelief::UnknownSerial(_) | Disbelief::Expired | Disbelief::Forged => {
                CallbackError::Forged
            }
            Disbelief::Stale => CallbackError::Stale,
        })?;
        self.read_notice(received.body).ok_or(CallbackError::Unreadable)
    }

    pub(super) fn read_notice(&self, body: &[u8]) -> Option<Heard> {
        let envelope: Envelope<'_> = parse(body)?;
        let kind = Kind::of(&envelope.event_type).filter(|_| envelope.resource_type == RESOURCE_TYPE)?;
        let resource = self.opener.open(&envelope.resource)?;
        match kind {
            Kind::Payment => self.read_payment(&resource),
            Kind::Refund(status) => self.read_refunded(status, &resource),
        }
    }

    fn read_payment(&self, resource: &[u8]) -> Option<Heard> {
        let transaction: Transaction<'_> = parse(resource)?;
        let is_ours =
            transaction.mchid == self.mchid && transaction.appid.as_deref().is_some_and(|appid| self.appids.has(appid));
        if !is_ours || trade(&transaction.trade_state) != Some(Trade::Paid) {
            return None;
        }
        let (reference, amount_minor, currency) = transaction.capture()?;
        let notice = Notice::of(&transaction.out_trade_no, reference, amount_minor, currency)?;
        Some(Heard::Capture(notice.dated(transaction.dated())))
    }

    /// The envelope and what is sealed in it must tell the same.
    fn read_refunded(&self, status: RefundStatus, resource: &[u8]) -> Option<Heard> {
        let refund: Refund<'_> = parse(resource)?;
        let RefundAmount { total, refund: amount_minor } = refund.amount;
        let is_amount = Currency::parse(CURRENCY).is_some_and(|currency| currency.can_be(amount_minor));
        if refund.mchid != self.mchid
            || refund_status(&refund.refund_status) != Some(status)
            || !is_amount
            || amount_minor > total
        {
            return None;
        }
        let reference = refund.refund_id.as_deref().filter(|text| is_name(text)).map(Into::into);
        let dated = Time::instant(refund.success_time.as_ref()).map_or(Dated::NOT_TOLD, Dated::at);
        let outcome = refund_outcome(status, reference, dated);
        let word = RefundWord { amount_minor, currency: CURRENCY.into(), outcome };
        RefundNotice::of(&refund.out_refund_no, Some(word)).map(Heard::Refund)
    }
}
