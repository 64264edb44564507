//! How an order looks from outside: in answers and in webhooks. Pure translation, in the order of the contract.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;
use time::OffsetDateTime;

use super::channel::{Channel, Method};
use super::id::OrderId;
use super::money::{Currency, Rate, format_minor};
use super::order::{
    Attempt, AttemptFailure, AttemptState, Capture, FeeBearer, Order, OrderFailure, Purpose, RefundStage, State,
    SuspenseReason,
};
use super::pay_link::PayLinks;
use super::time::Instant;

/// The platform's own pairs, given back as they came.
pub type Metadata = BTreeMap<String, String>;

/// What a view shows that the order itself does not hold.
pub struct Beside<'a> {
    pub merchant_order_id: &'a str,
    pub metadata: &'a Metadata,
    pub links: &'a PayLinks,
    /// Whether a channel is enabled and up at this moment.
    pub usable: &'a dyn Fn(Channel) -> bool,
}

#[derive(Serialize)]
pub struct OrderView<'a> {
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
    pub next_action: NextAction,
    pub attempts: Vec<AttemptView<'a>>,
    pub last_failure: Option<FailureView>,
    pub failure: Option<FailureView>,
    pub retry_url: String,
    pub alternative_channels: Vec<Channel>,
    pub suspense: Vec<SuspenseView<'a>>,
    pub amount_refunded: String,
    pub metadata: &'a Metadata,
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
pub enum NextAction {
    Told(Option<Value>),
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

impl NextAction {
    fn is_kept_back(&self) -> bool {
        match self {
            NextAction::Told(_) => false,
            NextAction::KeptBack => true,
        }
    }
}

/// The order as its platform reads it. `next_action` is the stored JSON.
pub fn order_view<'a>(order: &'a Order, beside: &Beside<'a>, next_action: Option<&str>) -> OrderView<'a> {
    view(order, beside, NextAction::Told(next_action.and_then(readable)), None)
}

/// The order as a webhook tells of it: without `next_action`, with the place of the webhook among the order's.
pub fn webhook_view<'a>(order: &'a Order, beside: &Beside<'a>, sequence: u32) -> OrderView<'a> {
    view(order, beside, NextAction::KeptBack, Some(sequence))
}

fn view<'a>(order: &'a Order, beside: &Beside<'a>, next_action: NextAction, sequence: Option<u32>) -> OrderView<'a> {
    let current = order.current_attempt();
    let money = |amount_minor| format_minor(amount_minor, order.currency);
    OrderView {
        id: order.id,
        object: "order",
        merchant_order_id: beside.merchant_order_id,
        state: order.state,
        amount: money(order.amount_minor),
        currency: order.currency,
        fee: current.map(|attempt| money(attempt.fee_minor)),
        fee_rate: current.map(|attempt| order.rates[attempt.channel.index()]),
        fee_bearer: order.fee_bearer,
        payable: current.map(|attempt| money(attempt.payable_minor)),
        channel: current.map(|attempt| attempt.channel),
        method: current.map(|attempt| attempt.method),
        next_action,
        attempts: order.attempts.iter().map(|attempt| attempt_view(order, attempt)).collect(),
        last_failure: order.last_failure.map(attempt_failure),
        failure: order.failure.map(order_failure),
        retry_url: beside.links.url(order.id),
        alternative_channels: alternatives(order, beside.usable),
        suspense: order.captures.iter().filter_map(|capture| suspense_view(order, capture)).collect(),
        amount_refunded: money(0),
        metadata: beside.metadata,
        created_at: order.created_at,
        expires_at: order.expires_at,
        finished_at: order.finished_at,
        sequence,
    }
}

fn attempt_view<'a>(order: &Order, attempt: &'a Attempt) -> AttemptView<'a> {
    AttemptView {
        id: order.number(attempt.ordinal).to_string(),
        number: attempt.ordinal + 1,
        channel: attempt.channel,
        method: attempt.method,
        account: attempt.account.as_str(),
        state: attempt.state,
        payable: format_minor(attempt.payable_minor, order.currency),
        channel_reference: attempt.reference.as_deref(),
        failure: attempt.failure.map(attempt_failure),
    }
}

fn suspense_view<'a>(order: &Order, capture: &'a Capture) -> Option<SuspenseView<'a>> {
    let (reason, state) = match capture.purpose {
        Purpose::Payment => return None,
        Purpose::Suspense { reason, refund: RefundStage::Done { .. } } => (reason, SuspenseState::Refunded),
        Purpose::Suspense {
            reason,
            refund: RefundStage::Unconfirmed { .. } | RefundStage::Owed { .. } | RefundStage::Doubtful { .. },
        } => (reason, SuspenseState::Owed),
    };
    Some(SuspenseView {
        reference: &capture.reference,
        amount: format_minor(capture.amount_minor, order.currency),
        reason,
        state,
        attempt: order.number(capture.ordinal).to_string(),
    })
}

/// The channels that the payer could turn to instead.
pub fn alternatives(order: &Order, usable: &dyn Fn(Channel) -> bool) -> Vec<Channel> {
    if order.state.is_final() {
        return Vec::new();
    }
    let current = order.current_attempt().map(|attempt| attempt.channel);
    let suits = |channel: &Channel| {
        Some(*channel) != current && channel.rules().takes(order.currency) && order.quote(*channel).is_some()
    };
    Channel::ALL.into_iter().filter(|channel| suits(channel) && usable(*channel)).collect()
}

/// A stored `next_action` with its instant as people and programs outside read it.
fn readable(stored: &str) -> Option<Value> {
    let mut action: Value = serde_json::from_str(stored).ok()?;
    let expires_at = action.get("expires_at").and_then(Value::as_i64).map(|at| rfc3339_text(Instant(at)));
    if let (Some(text), Some(fields)) = (expires_at, action.as_object_mut()) {
        fields.insert("expires_at".into(), Value::String(text));
    }
    Some(action)
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

/// RFC 3339 in UTC with milliseconds. Instants beyond the calendar show its end.
pub fn rfc3339_text(at: Instant) -> String {
    let nanos = i128::from(at.0) * 1_000_000;
    let at =
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(time::macros::datetime!(9999-12-31 23:59:59 UTC));
    let (date, clock) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond()
    )
}

pub fn rfc3339<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339_text(*at))
}

fn optional_rfc3339<S: Serializer>(at: &Option<Instant>, serializer: S) -> Result<S::Ok, S::Error> {
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
