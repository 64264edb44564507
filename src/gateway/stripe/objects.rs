//! Stripe's objects, as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::money::Currency;
use crate::gateway::books::{BookedRefund, Capture, State, View};
use crate::gateway::cost::Cost;
use crate::gateway::fate::RefundState;
use crate::gateway::refund_script::RefundScript;

/// What the id of a failure's balance transaction has behind that of its refund's.
const FAILURE: &str = "Failure";
/// Fields of an intent behind which nothing stands here, in the names of stripe-python 16.1.0 and
/// of stripe/openapi's `fixtures3.json` (August 2026).
const INTENT_NULLS: [&str; 19] = [
    "allowed_payment_method_types",
    "application",
    "application_fee_amount",
    "customer",
    "customer_account",
    "excluded_payment_method_types",
    "managed_payments",
    "on_behalf_of",
    "payment_record",
    "processing",
    "receipt_email",
    "review",
    "setup_future_usage",
    "shipping",
    "source",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_data",
    "transfer_group",
];
/// The same of a refund.
const REFUND_NULLS: [&str; 6] = [
    "customer",
    "customer_account",
    "payment_method",
    "receipt_number",
    "source_transfer_reversal",
    "transfer_reversal",
];
/// The same of a charge.
const CHARGE_NULLS: [&str; 23] = [
    "application",
    "application_fee",
    "application_fee_amount",
    "calculated_statement_descriptor",
    "customer",
    "failure_balance_transaction",
    "failure_code",
    "failure_message",
    "on_behalf_of",
    "outcome",
    "payment_method",
    "payment_method_details",
    "receipt_email",
    "receipt_number",
    "receipt_url",
    "review",
    "shipping",
    "source",
    "source_transfer",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_data",
    "transfer_group",
];

/// What the books keep with a payment for us. It holds the payer's secret, and is not for printing.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentData {
    pub id: String,
    pub created: i64,
    pub client_secret: String,
    pub description: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub payment_method_types: Vec<String>,
    /// None unless Stripe is to choose the types.
    #[serde(default)]
    pub allow_redirects: Option<String>,
    /// None until the payer's way to pay is known.
    pub confirmation: Option<Confirmation>,
    pub cancellation_reason: Option<String>,
    pub made_by: Option<MadeBy>,
}

/// Which request made something, so that its key is known again after a restart.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeBy {
    pub key: String,
    /// Base64.
    pub fingerprint: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    pub payment_method: String,
    pub return_url: Option<String>,
}

/// What the books keep with a refund for us.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundData {
    pub metadata: BTreeMap<String, String>,
    pub reason: Option<String>,
    pub made_by: Option<MadeBy>,
}

/// An intent as it stands.
pub struct Intent {
    pub data: IntentData,
    pub state: State,
    pub amount: i64,
    pub currency: Currency,
    pub capture: Option<Capture>,
    /// What was given back, or is about to be: Stripe counts a refund from when it was created.
    pub refunded: i64,
    pub canceled_at: Option<i64>,
}

impl IntentData {
    pub fn read(text: Option<&Arc<str>>) -> Option<Self> {
        serde_json::from_str(text?).ok()
    }

    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("plain structs always serialise")
    }
}

impl RefundData {
    pub fn read(text: Option<&Arc<str>>) -> Option<Self> {
        serde_json::from_str(text?).ok()
    }

    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("plain structs always serialise")
    }
}

impl Intent {
    pub fn of(view: &View) -> Option<Self> {
        Some(Intent {
            data: IntentData::read(view.data.as_ref())?,
            state: view.state,
            amount: view.asked_minor,
            currency: view.currency,
            capture: view.capture.clone(),
            refunded: view.reserved_minor,
            canceled_at: view.closed_at,
        })
    }

    /// As it stood when it had just been made.
    pub fn fresh(data: IntentData, amount: i64, currency: Currency) -> Self {
        Intent { data, state: State::Waiting, amount, currency, capture: None, refunded: 0, canceled_at: None }
    }

    pub fn status(&self) -> &'static str {
        match (self.state, &self.data.confirmation) {
            (State::Waiting, None) => "requires_payment_method",
            (State::Waiting, Some(_)) => "requires_action",
            (State::Paid, _) => "succeeded",
            (State::Declined | State::Closed, _) => "canceled",
        }
    }

    pub fn json(&self) -> Value {
        let data = &self.data;
        let status = self.status();
        let next_action = match (&data.confirmation, status) {
            (Some(confirmation), "requires_action") => json!({
                "type": "redirect_to_url",
                "redirect_to_url": {
                    "url": format!("https://hooks.stripe.example/redirect/authenticate/{}", data.id),
                    "return_url": confirmation.return_url,
                },
            }),
            (Some(_) | None, _) => Value::Null,
        };
        let (last_payment_error, cancellation_reason) = match self.state {
            // The payer was declined until Stripe gave up.
            State::Declined => (declined(), json!("automatic")),
            State::Closed => (Value::Null, json!(data.cancellation_reason)),
            State::Waiting | State::Paid => (Value::Null, Value::Null),
        };
        let intent = json!({
            "id": data.id,
            "object": "payment_intent",
            "amount": self.amount,
            "amount_capturable": 0,
            "amount_details": { "tip": {} },
            "amount_received": self.capture.as_ref().map_or(0, |capture| capture.amount_minor),
            "automatic_payment_methods": data.allow_redirects.as_ref().map(|allowed| {
                json!({ "allow_redirects": allowed, "enabled": true })
            }),
            "canceled_at": self.canceled_at.filter(|_| status == "canceled").map(seconds),
            "cancellation_reason": cancellation_reason,
            "capture_method": "automatic",
            "client_secret": data.client_secret,
            "confirmation_method": "automatic",
            "created": data.created,
            "currency": code(self.currency),
            "description": data.description,
            "last_payment_error": last_payment_error,
            "latest_charge": self.capture.as_ref().map(|_| related(&data.id, "ch")),
            "livemode": false,
            "metadata": data.metadata,
            "next_action": next_action,
            "payment_method": data.confirmation.as_ref().map(|confirmation| confirmation.payment_method.as_str()),
            "payment_method_options": {},
            "payment_method_types": data.payment_method_types,
            "status": status,
        });
        with_nulls(intent, &INTENT_NULLS)
    }

    /// With its charge whole, if that is wanted.
    pub fn shown(&self, expand: &[String]) -> Value {
        let mut shown = self.json();
        if !expand.is_empty() {
            shown["latest_charge"] = self.charge().unwrap_or_default();
        }
        shown
    }

    /// The charge of an intent that was paid.
    pub fn charge(&self) -> Option<Value> {
        let capture = self.capture.as_ref()?;
        let charge = json!({
            "id": related(&self.data.id, "ch"),
            "object": "charge",
            "amount": capture.amount_minor,
            "amount_captured": capture.amount_minor,
            "amount_refunded": self.refunded,
            "balance_transaction": related(&self.data.id, "txn"),
            "billing_details": {
                "address": null, "email": null, "name": null, "phone": null, "tax_id": null,
            },
            "captured": true,
            "created": seconds(capture.at),
            "currency": code(self.currency),
            "description": self.data.description,
            "disputed": false,
            "fraud_details": {},
            "livemode": false,
            "metadata": self.data.metadata,
            "paid": true,
            "payment_intent": self.data.id,
            "refunded": self.refunded == capture.amount_minor,
            "status": "succeeded",
        });
        Some(with_nulls(charge, &CHARGE_NULLS))
    }
}

fn with_nulls(mut object: Value, names: &[&str]) -> Value {
    for name in names {
        object[name] = Value::Null;
    }
    object
}

fn declined() -> Value {
    json!({
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "generic_decline",
        "message": "Your card was declined.",
    })
}

/// A refund as it stands.
pub fn refund(id: &str, intent_id: &str, refund: &BookedRefund, now: i64) -> Value {
    let data = RefundData::read(refund.data.as_ref()).unwrap_or_default();
    let has_moved = |at: Option<i64>| at.is_some_and(|at| at <= now);
    let state = refund.state_at(now);
    let shown = json!({
        "id": id,
        "object": "refund",
        "amount": refund.amount_minor,
        "balance_transaction": has_moved(refund.fate.refunded_at()).then(|| related(id, "txn")),
        "charge": related(intent_id, "ch"),
        "created": seconds(refund.at),
        "currency": code(refund.currency),
        "failure_balance_transaction": has_moved(refund.fate.returned_at()).then(|| failure_transaction(id)),
        "failure_reason": failure_reason(state),
        "metadata": data.metadata,
        "payment_intent": intent_id,
        "pending_reason": pending_reason(refund, state),
        "reason": data.reason,
        "status": refund_status(state),
    });
    with_nulls(shown, &REFUND_NULLS)
}

/// docs.stripe.com/api/refunds/object: one that looked done can still fail.
const fn refund_status(state: RefundState) -> &'static str {
    match state {
        RefundState::Pending => "pending",
        RefundState::Refunded => "succeeded",
        RefundState::Ended | RefundState::Returned => "failed",
        RefundState::Stuck => "requires_action",
    }
}

const fn failure_reason(state: RefundState) -> Option<&'static str> {
    match state {
        RefundState::Ended => Some("declined"),
        RefundState::Returned => Some("expired_or_canceled_card"),
        RefundState::Pending | RefundState::Refunded | RefundState::Stuck => None,
    }
}

/// docs.stripe.com/changelog/basil/2025-04-30/refund-pending-reason: `processing`, `insufficient_funds` or
/// `charge_pending`.
fn pending_reason(refund: &BookedRefund, state: RefundState) -> Option<&'static str> {
    (state == RefundState::Pending).then_some(match refund.script {
        RefundScript::Poor => "insufficient_funds",
        RefundScript::Plain
        | RefundScript::Hang
        | RefundScript::Error
        | RefundScript::Refuse
        | RefundScript::End
        | RefundScript::Late
        | RefundScript::Stuck
        | RefundScript::Return => "processing",
    })
}

/// The id of the balance transaction by which the money of a refund that failed came back.
pub fn failure_transaction(refund_id: &str) -> String {
    format!("{}{FAILURE}", related(refund_id, "txn"))
}

/// The refund whose failure this balance transaction is, by its id.
pub fn failed_refund(transaction_id: &str) -> Option<String> {
    Some(related(transaction_id.strip_suffix(FAILURE)?, "re"))
}

/// Which way money went on the balance.
#[derive(Debug, Clone, Copy)]
pub enum Movement {
    /// At this cost, which is kept when money goes back.
    Charge(Cost),
    Refund,
    /// The money of a refund came back.
    RefundFailure,
}

pub fn balance_transaction(
    movement: Movement,
    id: &str,
    amount: i64,
    currency: Currency,
    at: i64,
    source: Value,
) -> Value {
    let (kind, txn, amount, fee) = match movement {
        Movement::Charge(cost) => ("charge", related(id, "txn"), amount, cost.fee_minor(amount)),
        Movement::Refund => ("refund", related(id, "txn"), -amount, 0),
        Movement::RefundFailure => ("refund_failure", failure_transaction(id), amount, 0),
    };
    let stripe_fee = json!({
        "amount": fee,
        "application": null,
        "currency": code(currency),
        "description": "Stripe processing fees",
        "type": "stripe_fee",
    });
    json!({
        "id": txn,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": seconds(at),
        "balance_type": "payments",
        "created": seconds(at),
        "currency": code(currency),
        "description": null,
        "exchange_rate": null,
        "fee": fee,
        "fee_details": if fee == 0 { json!([]) } else { json!([stripe_fee]) },
        "net": amount - fee,
        "reporting_category": kind,
        "source": source,
        "status": "available",
        "type": kind,
    })
}

/// The id of what belongs to another object: its charge, its balance transaction.
pub fn related(id: &str, prefix: &str) -> String {
    let rest = id.split_once('_').map_or(id, |(_, rest)| rest);
    format!("{prefix}_{rest}")
}

pub fn seconds(at: i64) -> i64 {
    at.div_euclid(1_000)
}

fn code(currency: Currency) -> String {
    currency.code().to_ascii_lowercase()
}
