//! How an order looks from outside: in answers and in webhooks. Pure translation, in the order of the contract.

mod payouts;
mod refunds;
mod routes;
mod settlements;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::channel::{Channel, Method};
use super::event::WebhookKind;
use super::id::OrderId;
use super::money::{Currency, Rate, format_minor};
use super::order::{
    Attempt, AttemptFailure, AttemptState, Capture, FeeBearer, Order, OrderFailure, Purpose, State, SuspenseReason,
};
use super::pay_link::PayLinks;
use super::refund::FeePolicy;
use super::routing::{self, Outlook};
use super::splits::{self, AskedSplit};
use super::time::Instant;

pub use payouts::{PayoutView, payout_webhook_body};
pub use refunds::{PartView, RefundView, refund_failure, refund_webhook_body};
pub use routes::{RouteView, reason_view};
pub use settlements::{SettlementFigures, SettlementView, carried_minor, settlement_figures, settlement_webhook_body};

/// The platform's own pairs, given back as they came.
pub type Metadata = BTreeMap<String, String>;

/// What a view shows that the order itself does not hold. `M` are the metadata, read or as their JSON.
pub struct Beside<'a, M: ?Sized = Metadata> {
    pub merchant_order_id: &'a str,
    pub metadata: &'a M,
    /// The shares as they were asked for, in the order's order.
    pub splits: &'a [AskedSplit],
    pub links: &'a PayLinks,
    pub outlook: &'a Outlook,
}

#[derive(Serialize)]
pub struct OrderView<'a, M: ?Sized = Metadata> {
    pub id: OrderId,
    pub object: &'static str,
    pub merchant_order_id: &'a str,
    pub state: State,
    pub amount: String,
    pub currency: Currency,
    pub fee: Option<String>,
    #[serde(serialize_with = "optional_text")]
    pub fee_rate: Option<Rate>,
    pub fee_bearer: FeeBearer,
    pub payable: Option<String>,
    pub channel: Option<Channel>,
    pub method: Option<Method>,
    #[serde(skip_serializing_if = "NextAction::is_kept_back")]
    pub next_action: NextAction<'a>,
    pub attempts: Vec<AttemptView<'a>>,
    pub last_failure: Option<FailureView>,
    pub failure: Option<FailureView>,
    pub retry_url: String,
    pub alternative_channels: Vec<Channel>,
    /// While a channel is to be chosen.
    pub routing: Vec<RouteView>,
    pub suspense: Vec<SuspenseView<'a>>,
    /// Of what the order was paid by.
    pub amount_refunded: String,
    /// What of it may still be asked for.
    pub amount_refundable: String,
    pub splits: Vec<SplitView<'a>>,
    pub metadata: &'a M,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Instant,
    #[serde(serialize_with = "rfc3339")]
    pub expires_at: Instant,
    #[serde(serialize_with = "optional_rfc3339")]
    pub finished_at: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u32>,
}

/// What remains to be done by the payer, if this reader may know.
#[derive(Serialize)]
#[serde(untagged)]
pub enum NextAction<'a> {
    /// As it was stored.
    Told(Option<&'a RawValue>),
    /// Webhooks never carry it: it may hold a secret of the payer's.
    KeptBack,
}

#[derive(Serialize)]
pub struct AttemptView<'a> {
    pub id: String,
    pub number: u8,
    pub channel: Channel,
    pub method: Method,
    pub account: &'a str,
    pub state: AttemptState,
    pub payable: String,
    pub channel_reference: Option<&'a str>,
    pub failure: Option<FailureView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FailureView {
    pub code: &'static str,
    pub message: Message,
    pub advice: Option<Advice>,
}

/// For the payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Message {
    pub zh: &'static str,
    pub en: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    Retry,
    OtherChannel,
    ContactChannel,
}

/// Money that came and is not what the order was paid by.
#[derive(Serialize)]
pub struct SuspenseView<'a> {
    pub reference: &'a str,
    pub amount: String,
    pub reason: SuspenseReason,
    pub state: SuspenseState,
    pub attempt: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspenseState {
    Owed,
    Refunded,
}

impl NextAction<'_> {
    fn is_kept_back(&self) -> bool {
        match self {
            NextAction::Told(_) => false,
            NextAction::KeptBack => true,
        }
    }
}

/// The order as its platform reads it. `next_action` is the stored JSON.
pub fn order_view<'a>(order: &'a Order, beside: &Beside<'a>, next_action: Option<&'a str>) -> OrderView<'a> {
    let told = next_action.and_then(|json| serde_json::from_str(json).ok());
    view(order, beside, NextAction::Told(told), None)
}

#[derive(Serialize)]
struct WebhookView<'a, M: ?Sized> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(serialize_with = "rfc3339")]
    timestamp: Instant,
    data: OrderView<'a, M>,
}

/// The body of a webhook: the order as it is at this fact, without `next_action`, with the place of the webhook among
/// the order's.
///
/// # Errors
/// Where the metadata are no JSON.
pub fn webhook_body<M: Serialize + ?Sized>(
    kind: WebhookKind,
    sequence: u32,
    at: Instant,
    order: &Order,
    beside: &Beside<'_, M>,
) -> serde_json::Result<Vec<u8>> {
    let data = view(order, beside, NextAction::KeptBack, Some(sequence));
    serde_json::to_vec(&WebhookView { kind: kind.name(), timestamp: at, data })
}

fn view<'a, M: ?Sized>(
    order: &'a Order,
    beside: &Beside<'a, M>,
    next_action: NextAction<'a>,
    sequence: Option<u32>,
) -> OrderView<'a, M> {
    let current = order.current_attempt();
    let money = |amount_minor| format_minor(amount_minor, order.currency);
    let routes = routing::rank(order, beside.outlook);
    let explained = if routing::awaits_choice(order) { routes.as_slice() } else { &[] };
    OrderView {
        id: order.id,
        object: "order",
        merchant_order_id: beside.merchant_order_id,
        state: order.state,
        amount: money(order.amount_minor),
        currency: order.currency,
        fee: current.map(|attempt| money(attempt.fee_minor)),
        fee_rate: current.and_then(|attempt| order.rates.of(attempt.channel(), attempt.method)),
        fee_bearer: order.fee_bearer,
        payable: current.map(|attempt| money(attempt.payable_minor)),
        channel: current.map(Attempt::channel),
        method: current.map(|attempt| attempt.method),
        next_action,
        attempts: order.attempts.iter().map(|attempt| attempt_view(order, attempt)).collect(),
        last_failure: order.last_failure.map(attempt_failure),
        failure: order.failure.map(order_failure),
        retry_url: beside.links.url(order.id),
        alternative_channels: routing::alternatives(&routes),
        routing: explained.iter().map(|route| routes::route_view(order, route)).collect(),
        suspense: order.captures.iter().zip(0u16..).filter_map(|capture| suspense_view(order, capture)).collect(),
        amount_refunded: money(order.refunded_minor()),
        amount_refundable: money(order.refundable_minor(FeePolicy::Proportional)),
        splits: split_views(order, beside.splits),
        metadata: beside.metadata,
        created_at: order.created_at,
        expires_at: order.expires_at,
        finished_at: order.finished_at,
        sequence,
    }
}

/// A share of the order; its amount is null until the order is paid.
#[derive(Serialize)]
pub struct SplitView<'a> {
    pub to: &'a str,
    pub amount: Option<String>,
    #[serde(serialize_with = "optional_text")]
    pub rate: Option<Rate>,
}

fn split_views<'a>(order: &Order, asked: &'a [AskedSplit]) -> Vec<SplitView<'a>> {
    let parts = order.payment().and_then(|_| splits::divide(order.amount_minor, &order.splits));
    let amount = |place: usize| Some(format_minor(*parts.as_ref()?.get(place + 1)?, order.currency));
    let view =
        |(place, split): (usize, &'a AskedSplit)| SplitView { to: &split.to, amount: amount(place), rate: split.rate };
    asked.iter().enumerate().map(view).collect()
}

fn attempt_view<'a>(order: &Order, attempt: &'a Attempt) -> AttemptView<'a> {
    AttemptView {
        id: order.number(attempt).to_string(),
        number: attempt.ordinal + 1,
        channel: attempt.channel(),
        method: attempt.method,
        account: attempt.account.name(),
        state: attempt.state,
        payable: format_minor(attempt.payable_minor, order.currency),
        channel_reference: attempt.reference.as_deref(),
        failure: attempt.failure.map(attempt_failure),
    }
}

fn suspense_view<'a>(order: &Order, (capture, index): (&'a Capture, u16)) -> Option<SuspenseView<'a>> {
    let Purpose::Suspense(reason) = capture.purpose else { return None };
    let is_paid = order.suspense_refund(index).is_some_and(|refund| refund.stage.is_paid());
    let state = if is_paid { SuspenseState::Refunded } else { SuspenseState::Owed };
    Some(SuspenseView {
        reference: &capture.reference,
        amount: format_minor(capture.amount_minor, order.currency),
        reason,
        state,
        attempt: order.number(order.attempt(capture.ordinal)?).to_string(),
    })
}

pub fn attempt_failure(failure: AttemptFailure) -> FailureView {
    match failure {
        AttemptFailure::AmountInsufficient => FailureView {
            code: "amount_insufficient",
            message: Message {
                zh: "支付金额不足，已付款项将原路退回，请重新支付。",
                en: "Less than the amount due was paid. It is being returned; please pay again.",
            },
            advice: Some(Advice::Retry),
        },
        AttemptFailure::AmountMismatch => FailureView {
            code: "amount_mismatch",
            message: Message {
                zh: "支付金额与应付金额不符，已付款项将原路退回，请重新支付。",
                en: "Another amount than the one due was paid. It is being returned; please pay again.",
            },
            advice: Some(Advice::Retry),
        },
        AttemptFailure::ChannelDeclined => FailureView {
            code: "channel_declined",
            message: Message {
                zh: "支付渠道拒绝了本次支付，未扣款。请联系该渠道了解原因，或换一种方式支付。",
                en: "The payment channel declined this payment; nothing was taken. Ask the channel why, or pay another way.",
            },
            advice: Some(Advice::ContactChannel),
        },
        AttemptFailure::ChannelUnsuitable => FailureView {
            code: "channel_unsuitable",
            message: Message {
                zh: "该支付渠道不适用于本订单，请选择其他渠道。",
                en: "This payment channel cannot take this order. Please choose another one.",
            },
            advice: Some(Advice::OtherChannel),
        },
        AttemptFailure::ChannelUnavailable => FailureView {
            code: "channel_unavailable",
            message: Message {
                zh: "该支付渠道暂时不可用，未扣款。请选择其他渠道或稍后再试。",
                en: "This payment channel is out of order for now; nothing was taken. Choose another one or try later.",
            },
            advice: Some(Advice::OtherChannel),
        },
        AttemptFailure::HeldBack => FailureView {
            code: "channel_unavailable",
            message: Message {
                zh: "本次支付未能提交到该渠道，未扣款。请选择其他渠道或稍后再试。",
                en: "This payment was not passed on to the channel; nothing was taken. Choose another one or try later.",
            },
            advice: Some(Advice::OtherChannel),
        },
    }
}

pub fn order_failure(failure: OrderFailure) -> FailureView {
    let (code, zh, en) = match failure {
        OrderFailure::Expired => ("expired", "订单已过期，请重新下单。", "The order has expired. Please order again."),
        OrderFailure::Cancelled => ("cancelled", "订单已取消。", "The order was cancelled."),
        OrderFailure::RiskRefused => {
            ("risk_refused", "出于风险控制，无法完成本次支付。", "This payment was refused for reasons of risk.")
        }
        OrderFailure::AttemptsUsedUp => (
            "attempts_used_up",
            "支付尝试次数已用完，请重新下单。",
            "All attempts to pay this order are used up. Please order again.",
        ),
    };
    FailureView { code, message: Message { zh, en }, advice: None }
}

pub fn rfc3339<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.rfc3339())
}

pub fn optional_rfc3339<S: Serializer>(at: &Option<Instant>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}

/// A rate as decimal text.
fn optional_text<S: Serializer>(rate: &Option<Rate>, serializer: S) -> Result<S::Ok, S::Error> {
    match rate {
        Some(rate) => serializer.collect_str(rate),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::id::{Incarnation, Round};
    use super::super::order::example::{AT, order};
    use super::super::refund::{Cause, PaidFrom, Refund, Stage};
    use super::super::routing::{Policy, Standing};
    use super::super::success::{BasisPoints, Tally};
    use super::super::validation::Health;
    use super::*;
    use serde_json::{Value, json};

    fn links() -> PayLinks {
        PayLinks::new("https://pay.example", &[7; 32])
    }

    /// All channels but UnionPay are up, and the payer used Alipay last.
    pub(crate) fn outlook() -> Outlook {
        let standing = |channel| {
            let health = if channel == Channel::Unionpay { Health::Down } else { Health::Up };
            Some(Standing { health, tally: Tally { succeeded: 99, failed: 1 } })
        };
        Outlook {
            at: AT,
            policy: Policy { samples_min: 20, rate_step_percent: 2, neutral_rate: BasisPoints::WHOLE },
            channels: Channel::ALL.map(standing),
            last_channel: Some(Channel::Alipay),
        }
    }

    /// As a platform sees it.
    pub(crate) fn shown(order: &Order, next_action: Option<&str>) -> Value {
        let (links, metadata) = (links(), Metadata::from([("cart".into(), "7".into())]));
        let outlook = outlook();
        let beside =
            Beside { merchant_order_id: "shop-1", metadata: &metadata, splits: &[], links: &links, outlook: &outlook };
        serde_json::to_value(order_view(order, &beside, next_action)).unwrap()
    }

    #[test]
    fn an_order_reads_as_the_contract_has_it() {
        let order = order();
        let number = order.number(&order.attempts[0]).to_string();
        let stored = r#"{"type":"qr_code","qr_code":"weixin://x","expires_at":"2026-01-01T00:00:00.123Z"}"#;
        assert_eq!(
            shown(&order, Some(stored)),
            json!({
                "id": order.id.to_string(),
                "object": "order",
                "merchant_order_id": "shop-1",
                "state": "submitted",
                "amount": "200.00",
                "currency": "CNY",
                "fee": "0.60",
                "fee_rate": "0.003",
                "fee_bearer": "payer",
                "payable": "200.60",
                "channel": "wechat",
                "method": "native",
                "next_action": {"type": "qr_code", "qr_code": "weixin://x", "expires_at": "2026-01-01T00:00:00.123Z"},
                "attempts": [{
                    "id": number,
                    "number": 1,
                    "channel": "wechat",
                    "method": "native",
                    "account": "default",
                    "state": "open",
                    "payable": "200.60",
                    "channel_reference": null,
                    "failure": null,
                }],
                "last_failure": null,
                "failure": null,
                "retry_url": links().url(order.id),
                "alternative_channels": ["alipay", "simpay", "stripe"],
                "routing": [],
                "suspense": [],
                "amount_refunded": "0.00",
                "amount_refundable": "0.00",
                "splits": [],
                "metadata": {"cart": "7"},
                "created_at": "2026-01-01T00:00:00.123Z",
                "expires_at": "2026-01-01T02:00:00.123Z",
                "finished_at": null,
            })
        );
    }

    #[test]
    fn before_a_channel_is_chosen_nothing_has_a_price_and_nothing_is_absent() {
        let mut order = order();
        order.state = State::Created;
        order.attempts[0].state = AttemptState::Dead;
        order.attempts[0].failure = Some(AttemptFailure::ChannelDeclined);
        order.last_failure = Some(AttemptFailure::ChannelDeclined);
        let shown = shown(&order, None);
        for field in ["fee", "fee_rate", "payable", "channel", "method", "next_action", "failure", "finished_at"] {
            assert_eq!(shown.get(field), Some(&Value::Null), "{field}");
        }
        assert_eq!(shown["last_failure"]["code"], "channel_declined");
        assert_eq!(shown["last_failure"]["advice"], "contact_channel");
        assert_eq!(shown["attempts"][0]["state"], "dead");
        assert_eq!(shown["attempts"][0]["failure"], shown["last_failure"]);
        assert_eq!(shown["alternative_channels"], json!(["alipay", "simpay", "wechat", "stripe"]));
        let routing = shown["routing"].as_array().unwrap();
        let told: Vec<_> = routing.iter().map(|route| (&route["channel"], &route["reason"]["code"])).collect();
        assert_eq!(
            json!(told),
            json!([
                ["alipay", "used_before"],
                ["simpay", "available"],
                ["wechat", "lower_fee"],
                ["stripe", "higher_fee"],
                ["unionpay", "down"]
            ])
        );
        let message = json!({"zh": "您上次用的就是它", "en": "You paid this way last time"});
        assert_eq!(
            routing[0],
            json!({"channel": "alipay", "usable": true, "health": "up", "success_rate": "0.9900", "fee": "1.00",
                "payable": "201.00", "reason": {"code": "used_before", "message": message}})
        );
    }

    #[test]
    fn a_final_order_has_no_alternatives_and_shows_its_suspense() {
        let mut order = order();
        order.state = State::Failed;
        order.failure = Some(OrderFailure::Expired);
        order.finished_at = Some(AT);
        order.attempts[0].state = AttemptState::Dead;
        let capture = |reference: &str, purpose| Capture {
            ordinal: 0,
            reference: reference.into(),
            amount_minor: 20_060,
            at: AT,
            effective_at: AT,
            bill_day: Channel::Wechat.day_of(AT),
            purpose,
        };
        let late = Purpose::Suspense(SuspenseReason::TooLate);
        order.captures = vec![capture("c-1", late), capture("c-2", late), capture("c-3", Purpose::Payment)];
        let refund = |capture, stage| Refund {
            capture,
            cause: Cause::Suspense,
            amount_minor: 20_060,
            incarnation: Incarnation::default(),
            round: Round::FIRST,
            paid_earlier: None,
            dated_at: AT,
            stage,
            attention: None,
            reference: None,
        };
        let paid = Stage::Succeeded { at: AT, looks: 0, paid_from: PaidFrom::Channel };
        order.refunds = vec![refund(0, Stage::Owed { tries: 0, due_at: AT }), refund(1, paid)];
        let shown = shown(&order, None);
        let number = order.number(&order.attempts[0]).to_string();
        assert_eq!(
            shown["suspense"],
            json!([
                {"reference": "c-1", "amount": "200.60", "reason": "too_late", "state": "owed", "attempt": number},
                {"reference": "c-2", "amount": "200.60", "reason": "too_late", "state": "refunded", "attempt": number},
            ])
        );
        assert_eq!(shown["failure"]["code"], "expired");
        assert_eq!(shown["failure"]["advice"], Value::Null);
        assert_eq!((&shown["alternative_channels"], &shown["routing"]), (&json!([]), &json!([])));
        assert_eq!(shown["finished_at"], "2026-01-01T00:00:00.123Z");
    }

    #[test]
    fn a_webhook_holds_its_place_and_no_next_action() {
        let (order, links, metadata, outlook) = (order(), links(), Metadata::new(), outlook());
        let beside =
            Beside { merchant_order_id: "shop-1", metadata: &metadata, splits: &[], links: &links, outlook: &outlook };
        let body = webhook_body(WebhookKind::OrderSucceeded, 3, AT, &order, &beside).unwrap();
        let told: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&told["type"], &told["timestamp"]),
            (&json!("order.succeeded"), &json!("2026-01-01T00:00:00.123Z"))
        );
        assert_eq!(told["data"]["sequence"], 3);
        assert!(told["data"].get("next_action").is_none());
        assert!(shown(&order, None).get("sequence").is_none());
    }

    #[test]
    fn metadata_read_the_same_as_a_map_and_as_json() {
        let (order, links, outlook) = (order(), links(), outlook());
        let metadata = Metadata::from([("n".into(), "\"\u{7f}/茶".into()), ("cart".into(), "7".into())]);
        let raw = serde_json::value::to_raw_value(&metadata).unwrap();
        let (links, outlook) = (&links, &outlook);
        let map = Beside { merchant_order_id: "shop-1", metadata: &metadata, splits: &[], links, outlook };
        let json = Beside { merchant_order_id: "shop-1", metadata: &*raw, splits: &[], links, outlook };
        let kind = WebhookKind::OrderFailed;
        assert_eq!(webhook_body(kind, 1, AT, &order, &map).unwrap(), webhook_body(kind, 1, AT, &order, &json).unwrap());
    }
}
