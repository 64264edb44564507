//! How a refund looks from outside, in answers and in webhooks.

use serde::Serialize;

use super::{FailureView, Message, optional_rfc3339, rfc3339};
use crate::domain::channel::Channel;
use crate::domain::event::WebhookKind;
use crate::domain::id::{OrderId, RefundId};
use crate::domain::money::Currency;
use crate::domain::refund::{Attention, FeePolicy, RefundFailure, RefundState};
use crate::domain::time::Instant;

#[derive(Debug, Clone, Serialize)]
pub struct RefundView {
    pub id: RefundId,
    pub object: &'static str,
    pub order: OrderId,
    pub merchant_refund_id: Box<str>,
    pub state: RefundState,
    pub amount: String,
    pub currency: Currency,
    pub fee_returned: String,
    pub parts: Vec<PartView>,
    pub fee_policy: FeePolicy,
    pub reason: Option<Box<str>>,
    pub channel: Channel,
    pub channel_reference: Option<Box<str>>,
    pub attention: Option<Attention>,
    pub failure: Option<FailureView>,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Instant,
    #[serde(serialize_with = "optional_rfc3339")]
    pub finished_at: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u32>,
}

/// What one party gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartView {
    pub platform: Box<str>,
    pub amount: String,
}

#[derive(Serialize)]
struct WebhookView {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(serialize_with = "rfc3339")]
    timestamp: Instant,
    data: RefundView,
}

/// The body of a webhook about a refund, with the place of the webhook among its order's.
///
/// # Errors
/// None in practice: every field can be written.
pub fn refund_webhook_body(
    kind: WebhookKind,
    sequence: u32,
    at: Instant,
    refund: RefundView,
) -> serde_json::Result<Vec<u8>> {
    // One step may bring a refund further than this webhook tells of.
    let state = match kind {
        WebhookKind::RefundSucceeded => RefundState::Succeeded,
        WebhookKind::RefundFailed => RefundState::Failed,
        WebhookKind::RefundReturned => RefundState::Returned,
        WebhookKind::OrderSucceeded
        | WebhookKind::OrderFailed
        | WebhookKind::OrderAttemptFailed
        | WebhookKind::OrderSuspenseRefunded
        | WebhookKind::SettlementClosed
        | WebhookKind::PayoutPaid
        | WebhookKind::PayoutFailed
        | WebhookKind::PayoutReturned => refund.state,
    };
    let data = RefundView { sequence: Some(sequence), state, ..refund };
    serde_json::to_vec(&WebhookView { kind: kind.name(), timestamp: at, data })
}

pub fn refund_failure(failure: RefundFailure) -> FailureView {
    let (code, zh, en) = match failure {
        RefundFailure::Refused => (
            "channel_refused",
            "支付渠道拒绝了本次退款，款项未退回。",
            "The payment channel refused this refund; nothing was returned.",
        ),
        RefundFailure::Ended => (
            "channel_ended",
            "支付渠道多次受理后关闭了本次退款，款项未退回。",
            "The payment channel took this refund and ended it, each time, without paying it.",
        ),
        RefundFailure::GivenUp => (
            "given_up",
            "本次退款已由运营人员终止，款项未退回。",
            "This refund was ended by an operator; nothing was returned.",
        ),
    };
    FailureView { code, message: Message { zh, en }, advice: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::OrderId;

    /// A refund that was paid and came back before anybody asked is told of twice by one step.
    #[test]
    fn a_webhook_tells_the_state_of_its_own_moment() {
        let order = OrderId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
        let returned = RefundView {
            id: RefundId { order, ordinal: Default::default(), incarnation: Default::default() },
            object: "refund",
            order,
            merchant_refund_id: "tea-1-back".into(),
            state: RefundState::Returned,
            amount: "1.00".into(),
            currency: Currency::parse("CNY").unwrap(),
            fee_returned: "0.00".into(),
            parts: Vec::new(),
            fee_policy: FeePolicy::Kept,
            reason: None,
            channel: Channel::Simpay,
            channel_reference: None,
            attention: None,
            failure: None,
            created_at: Instant(1),
            finished_at: Some(Instant(2)),
            sequence: None,
        };
        let state = |kind| {
            let body = refund_webhook_body(kind, 2, Instant(2), returned.clone()).unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            body["data"]["state"].as_str().map(str::to_owned)
        };
        assert_eq!(state(WebhookKind::RefundSucceeded).as_deref(), Some("succeeded"));
        assert_eq!(state(WebhookKind::RefundReturned).as_deref(), Some("returned"));
    }
}
