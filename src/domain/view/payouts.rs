//! How a payout looks to the platform that it pays, and the webhooks about it.

use serde::Serialize;

use super::rfc3339;
use crate::domain::event::WebhookKind;
use crate::domain::money::{Currency, format_minor};
use crate::domain::payee::PayeeId;
use crate::domain::payout::{Payout, PayoutState};
use crate::domain::payout_id::PayoutId;
use crate::domain::time::Instant;

#[derive(Serialize)]
pub struct PayoutView {
    pub id: PayoutId,
    pub object: &'static str,
    pub platform: String,
    pub amount: String,
    pub currency: Currency,
    pub state: PayoutState,
    pub bank_reference: Option<Box<str>>,
    pub reason: Option<Box<str>>,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Instant,
    #[serde(serialize_with = "rfc3339")]
    pub state_at: Instant,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u32>,
}

impl PayoutView {
    pub fn of(payee: PayeeId, payout: &Payout, platform: String) -> Self {
        PayoutView {
            id: PayoutId { payee, number: payout.number },
            object: "payout",
            platform,
            amount: format_minor(payout.amount_minor, payee.currency),
            currency: payee.currency,
            state: payout.state,
            bank_reference: payout.reference.clone(),
            reason: payout.reason.clone(),
            created_at: payout.created_at,
            state_at: payout.state_at,
            sequence: None,
        }
    }
}

#[derive(Serialize)]
struct WebhookView {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(serialize_with = "rfc3339")]
    timestamp: Instant,
    data: PayoutView,
}

/// The body of a webhook about a payout, with the place of the webhook among its payee's.
///
/// # Errors
/// None in practice: every field can be written.
pub fn payout_webhook_body(
    kind: WebhookKind,
    (sequence, at): (u32, Instant),
    payout: PayoutView,
) -> serde_json::Result<Vec<u8>> {
    let data = PayoutView { sequence: Some(sequence), ..payout };
    serde_json::to_vec(&WebhookView { kind: kind.name(), timestamp: at, data })
}
