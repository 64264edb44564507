//! Answers that are errors, in Stripe's words.

use serde_json::{Map, Value, json};

use super::Began;
use super::idempotency::Reply;
use crate::gateway::books::Refusal;

#[derive(Debug)]
pub struct Failure {
    status: u16,
    kind: &'static str,
    message: String,
    code: Option<&'static str>,
    decline_code: Option<&'static str>,
    param: Option<String>,
    intent: Option<Value>,
    pub began: Began,
}

impl Failure {
    fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Failure {
            status,
            kind,
            message: message.into(),
            code: None,
            decline_code: None,
            param: None,
            intent: None,
            began: Began::Nothing,
        }
    }

    /// Something about the request that shows before anything is done.
    pub fn invalid(message: impl Into<String>) -> Self {
        Failure::new(400, "invalid_request_error", message)
    }

    pub fn parameter(code: &'static str, param: &str, message: impl Into<String>) -> Self {
        Failure { code: Some(code), param: Some(param.to_owned()), ..Failure::invalid(message) }
    }

    pub fn unauthorized(message: &str) -> Self {
        Failure { status: 401, ..Failure::invalid(message) }
    }

    pub fn no_such(what: &str, param: &str, id: &str) -> Self {
        let message = format!("No such {what}: '{id}'");
        Failure { status: 404, began: Began::Executing, ..Failure::parameter("resource_missing", param, message) }
    }

    pub fn unknown_route() -> Self {
        Failure { status: 404, ..Failure::invalid("Unrecognized request URL.") }
    }

    /// Something that shows when it is done.
    pub fn conflict(code: Option<&'static str>, message: impl Into<String>) -> Self {
        Failure { code, began: Began::Executing, ..Failure::invalid(message) }
    }

    pub fn with_intent(self, intent: Value) -> Self {
        Failure { intent: Some(intent), ..self }
    }

    pub fn declined() -> Self {
        Failure {
            code: Some("card_declined"),
            decline_code: Some("generic_decline"),
            began: Began::Executing,
            ..Failure::new(402, "card_error", "Your card was declined.")
        }
    }

    pub fn other_parameters() -> Self {
        let message =
            "Keys for idempotent requests can only be used with the same parameters they were first used with.";
        Failure::new(400, "idempotency_error", message)
    }

    pub fn key_in_use() -> Self {
        let message = "There is currently another in-progress request using this Idempotency Key.";
        Failure { code: Some("idempotency_key_in_use"), ..Failure::new(409, "invalid_request_error", message) }
    }

    pub fn too_many() -> Self {
        Failure { code: Some("rate_limit"), ..Failure::new(429, "invalid_request_error", "Too many requests.") }
    }

    pub fn broken() -> Self {
        Failure { began: Began::Executing, ..Failure::new(500, "api_error", "An unknown error occurred.") }
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
            | Refusal::Broken => Failure::broken(),
        }
    }

    pub fn reply(self) -> Reply {
        let mut error = Map::new();
        error.insert("type".into(), json!(self.kind));
        error.insert("message".into(), json!(self.message));
        for (name, text) in [("code", self.code), ("decline_code", self.decline_code), ("param", self.param.as_deref())]
        {
            if let Some(text) = text {
                error.insert(name.into(), json!(text));
            }
        }
        if let Some(intent) = self.intent {
            error.insert("payment_intent".into(), intent);
        }
        Reply { status: self.status, body: json!({ "error": error }).to_string().into() }
    }
}
