//! Answers that are errors, in Stripe's words.

use serde_json::{Map, Value, json};

use super::Began;
use super::reply::Reply;
use crate::gateway::books::Refusal;

#[derive(Debug)]
pub struct Failure {
    status: u16,
    error: Map<String, Value>,
    pub began: Began,
}

impl Failure {
    fn new(status: u16, kind: &str, message: impl Into<String>) -> Self {
        let failure = Failure { status, error: Map::new(), began: Began::Nothing };
        failure.with("type", json!(kind)).with("message", json!(message.into()))
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.error.insert(name.to_owned(), value);
        self
    }

    fn executing(self) -> Self {
        Failure { began: Began::Executing, ..self }
    }

    /// Something about the request that shows before anything is done.
    pub fn invalid(message: impl Into<String>) -> Self {
        Failure::new(400, "invalid_request_error", message)
    }

    pub fn parameter(code: &str, param: &str, message: impl Into<String>) -> Self {
        Failure::invalid(message).with("code", json!(code)).with("param", json!(param))
    }

    pub fn unauthorized(message: &str) -> Self {
        Failure::new(401, "invalid_request_error", message)
    }

    pub fn no_such(what: &str, param: &str, id: &str) -> Self {
        let message = format!("No such {what}: '{id}'");
        let failure = Failure::parameter("resource_missing", param, message);
        Failure { status: 404, ..failure }.executing()
    }

    pub fn unknown_route() -> Self {
        Failure::new(404, "invalid_request_error", "Unrecognized request URL.")
    }

    /// Something that shows when it is done.
    pub fn conflict(message: impl Into<String>) -> Self {
        Failure::invalid(message).executing()
    }

    pub fn unexpected_state(message: impl Into<String>, intent: Value) -> Self {
        let failure = Failure::conflict(message).with("code", json!("payment_intent_unexpected_state"));
        failure.with("payment_intent", intent)
    }

    pub fn already_refunded() -> Self {
        let failure = Failure::conflict("The charge has already been refunded.");
        failure.with("code", json!("charge_already_refunded"))
    }

    /// docs.stripe.com/error-codes: a payment that is disputed cannot be refunded.
    pub fn disputed() -> Self {
        let failure = Failure::conflict("You cannot refund a payment that has been disputed.");
        failure.with("code", json!("refund_disputed_payment"))
    }

    pub fn declined() -> Self {
        let failure = Failure::new(402, "card_error", "Your card was declined.").executing();
        failure.with("code", json!("card_declined")).with("decline_code", json!("generic_decline"))
    }

    pub fn other_parameters() -> Self {
        let message =
            "Keys for idempotent requests can only be used with the same parameters they were first used with.";
        Failure::new(400, "idempotency_error", message)
    }

    pub fn key_in_use() -> Self {
        let message = "There is currently another in-progress request using this Idempotency Key.";
        Failure::new(409, "invalid_request_error", message).with("code", json!("idempotency_key_in_use"))
    }

    pub fn too_many() -> Self {
        Failure::new(429, "invalid_request_error", "Too many requests.").with("code", json!("rate_limit"))
    }

    pub fn broken() -> Self {
        Failure::new(500, "api_error", "An unknown error occurred.").executing()
    }

    /// What the books refused, where a call has no words of its own for it.
    pub fn of_books(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Refused => Failure::declined(),
            Refusal::NumberUsed
            | Refusal::PaymentClosed
            | Refusal::Expired
            | Refusal::NotExist
            | Refusal::AlreadyPaid
            | Refusal::RefundExceeds
            | Refusal::RefundRefused
            | Refusal::RefundPoor
            | Refusal::RefundTooSoon
            | Refusal::TooManyRefunds
            | Refusal::Broken => Failure::broken(),
        }
    }

    pub fn reply(self) -> Reply {
        Reply { status: self.status, body: json!({ "error": self.error }).to_string().into() }
    }
}
