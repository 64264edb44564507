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
    let data = RefundView { sequence: Some(sequence), ..refund };
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
