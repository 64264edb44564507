//! Notifications: a signed envelope around an encrypted resource.

use std::borrow::Cow;

use serde::Deserialize;

use super::Wechat;
use super::codes::{Trade, trade};
use super::keys::Disbelief;
use super::sealed::Sealed;
use super::wire::{Transaction, parse};
use crate::channels::{CallbackError, Heard, Notice, Received};
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

/// Whose refund a notification tells of.
#[derive(Deserialize)]
struct RefundNotice<'a> {
    #[serde(borrow)]
    mchid: Cow<'a, str>,
}

/// What a notification may be about; only these are ever sent of payments and refunds.
enum Kind {
    Payment,
    Refund,
}

impl Kind {
    fn of(event_type: &str) -> Option<Self> {
        match event_type {
            "TRANSACTION.SUCCESS" => Some(Kind::Payment),
            "REFUND.SUCCESS" | "REFUND.ABNORMAL" | "REFUND.CLOSED" => Some(Kind::Refund),
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
            // A refund's state is asked for; that the payment was a success stays true.
            Kind::Refund => {
                let refund: RefundNotice<'_> = parse(&resource)?;
                (refund.mchid == self.mchid).then_some(Heard::Nothing)
            }
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
        Notice::of(&transaction.out_trade_no, reference, amount_minor, currency).map(Heard::Capture)
    }
}
