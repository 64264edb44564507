//! How a settlement looks from outside, and the webhook that tells of its closing.

use serde::Serialize;

use super::{optional_rfc3339, rfc3339};
use crate::domain::event::WebhookKind;
use crate::domain::money::{Currency, format_minor};
use crate::domain::payee::Settlement;
use crate::domain::settlement::{SettlementId, SettlementState, Totals};
use crate::domain::time::Instant;

/// What of a settlement never changes once its cycle is closed.
#[derive(Serialize)]
pub struct SettlementFigures {
    pub id: SettlementId,
    pub object: &'static str,
    pub number: u32,
    pub currency: Currency,
    #[serde(serialize_with = "optional_rfc3339")]
    pub from: Option<Instant>,
    #[serde(serialize_with = "optional_rfc3339")]
    pub to: Option<Instant>,
    pub gross: String,
    pub refunds: String,
    pub fees: String,
    pub shares_in: String,
    pub shares_out: String,
    pub adjustments: String,
    pub brought_forward: String,
    pub net: String,
    pub positions: Vec<PositionView>,
    pub covers: Vec<CoverView>,
}

#[derive(Serialize)]
pub struct PositionView {
    pub platform: String,
    pub amount: String,
}

#[derive(Serialize)]
pub struct CoverView {
    pub lane: u32,
    pub places: i64,
}

#[derive(Serialize)]
pub struct SettlementView {
    #[serde(flatten)]
    pub figures: SettlementFigures,
    pub state: &'static str,
    pub carried_forward: String,
    pub payout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u32>,
}

#[derive(Serialize)]
struct WebhookView {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(serialize_with = "rfc3339")]
    timestamp: Instant,
    data: SettlementView,
}

/// `names` are those of the platforms that the positions are with, in their order.
pub fn settlement_figures(
    (id, currency, number): (SettlementId, Currency, u32),
    span: Option<(Instant, Instant)>,
    totals: &Totals,
    names: Vec<String>,
) -> SettlementFigures {
    let Totals { brought_forward_minor, covers, net_minor, sums } = totals;
    let shown = |minor: i64| format_minor(minor, currency);
    let position = |(platform, (_, minor)): (String, &_)| PositionView { platform, amount: shown(*minor) };
    SettlementFigures {
        id,
        object: "settlement",
        number,
        currency,
        from: span.map(|(from, _)| from),
        to: span.map(|(_, to)| to),
        gross: shown(sums.gross_minor),
        refunds: shown(sums.refunds_minor),
        fees: shown(sums.fees_minor),
        shares_in: shown(sums.shares_in_minor),
        shares_out: shown(sums.shares_out_minor),
        adjustments: shown(sums.adjustments_minor),
        brought_forward: shown(*brought_forward_minor),
        net: shown(*net_minor),
        positions: names.into_iter().zip(&sums.positions).map(position).collect(),
        covers: covers.iter().map(|cover| CoverView { lane: cover.lane.0, places: cover.places }).collect(),
    }
}

/// What the next settlement brings forward of one in this state.
pub const fn carried_minor(state: SettlementState, net_minor: i64) -> i64 {
    match state {
        SettlementState::Carried => net_minor,
        SettlementState::Closed | SettlementState::PaidOut => 0,
    }
}

/// The body of `settlement.closed`: the settlement as it is at this moment, with the place of the webhook among its
/// payee's.
///
/// # Errors
/// None in practice: every field can be written.
pub fn settlement_webhook_body(
    (sequence, at): (u32, Instant),
    (id, currency): (SettlementId, Currency),
    settlement: &Settlement,
    names: Vec<String>,
) -> serde_json::Result<Vec<u8>> {
    let span = Some((settlement.from, settlement.to));
    let carried = carried_minor(settlement.state, settlement.totals.net_minor);
    let data = SettlementView {
        figures: settlement_figures((id, currency, settlement.number), span, &settlement.totals, names),
        state: settlement.state.name(),
        carried_forward: format_minor(carried, currency),
        payout: None,
        sequence: Some(sequence),
    };
    serde_json::to_vec(&WebhookView { kind: WebhookKind::SettlementClosed.name(), timestamp: at, data })
}
