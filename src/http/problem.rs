//! What goes wrong at the edge: RFC 9457 problem details, one table of codes.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::domain::event::Refusal;
use crate::domain::order::AttemptFailure;
use crate::domain::time::Instant;
use crate::domain::view::optional_rfc3339;
use crate::engine::ask::AskError;
use crate::store::StoreError;

/// The one table: status, code, title. Answers and the OpenAPI document are made of it.
macro_rules! codes {
    ($($variant:ident = $status:literal, $name:literal, $title:literal;)+) => {
        /// Every stable code that an answer may carry.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($variant),+ }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$variant),+];

            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),+ }
            }

            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title),+ }
            }

            pub fn status(self) -> StatusCode {
                let status: u16 = match self { $(Code::$variant => $status),+ };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    };
}

codes! {
    BodyInvalid = 400, "body_invalid", "The body is not valid JSON";
    RequestInvalid = 400, "request_invalid", "The request cannot be read";
    CallbackUnreadable = 400, "callback_unreadable", "The callback cannot be read";
    Unauthenticated = 401, "unauthenticated", "A valid key is needed";
    CallbackUnverified = 401, "callback_unverified", "The callback's signature does not verify";
    CallbackStale = 401, "callback_stale", "The callback's time is too far from now";
    ForbiddenRole = 403, "forbidden_role", "The role may not do this";
    SecondOperatorRequired = 403, "second_operator_required", "Another person must approve it";
    NotFound = 404, "not_found", "There is no such thing";
    MethodNotAllowed = 405, "method_not_allowed", "The method is not allowed here";
    BodyTimeout = 408, "body_timeout", "The body did not arrive in time";
    OrderConflict = 409, "order_conflict", "The merchant order id names a different order";
    OrderFinal = 409, "order_final", "The order is final";
    AttemptOpen = 409, "attempt_open", "An attempt that cannot be closed is still open";
    AttemptsUsedUp = 409, "attempts_used_up", "All attempts are used up";
    ChannelUnsuitable = 409, "channel_unsuitable", "The channel cannot take this order";
    ChannelUnavailable = 409, "channel_unavailable", "The channel is down at the moment";
    RequestInProgress = 409, "request_in_progress", "A request with this Idempotency-Key is still running";
    CallbackRefused = 409, "callback_refused", "The callback contradicts what is on record";
    OrderNotPaid = 409, "order_not_paid", "The order is not paid";
    RefundExceedsRemaining = 409, "refund_exceeds_remaining", "Less is left of the payment";
    BalanceInsufficient = 409, "balance_insufficient", "The platform would owe more than it may";
    RefundConflict = 409, "refund_conflict", "The merchant refund id names a different refund";
    RefundWindowOver = 409, "refund_window_over", "The channel does not refund payments of that age";
    RefundLimit = 409, "refund_limit", "The channel takes no more refunds of this payment";
    RefundFinal = 409, "refund_final", "The refund is final";
    SettlementOpen = 409, "settlement_open", "The cycle is still open";
    CycleClosed = 409, "cycle_closed", "The cycle is closed";
    CycleClosing = 409, "cycle_closing", "A cycle of this calendar is being closed";
    CycleOutOfOrder = 409, "cycle_out_of_order", "A cycle before it is open";
    ResolutionRefused = 409, "resolution_refused", "The finding contradicts what is on record";
    ProposalLapsed = 409, "proposal_lapsed", "The proposal has lapsed";
    ProposalEnded = 409, "proposal_ended", "The proposal has come to its end";
    ProposalOutdated = 409, "proposal_outdated", "What the proposal would change has changed";
    ProposalRefused = 409, "proposal_refused", "What was approved was refused";
    PayoutsNotPermitted = 409, "payouts_not_permitted", "Payouts are not permitted";
    PayoutState = 409, "payout_state", "The payout's state does not allow it";
    PayoutAmountDiffers = 409, "payout_amount_differs", "The payout is of another amount";
    NothingToPay = 409, "nothing_to_pay", "There is nothing to pay out";
    CoverMissing = 409, "cover_missing", "The bank account does not cover it";
    BankDetailsMissing = 409, "bank_details_missing", "No bank details are in force";
    DebtExceeded = 409, "debt_exceeded", "The platform owes less";
    ChangeRefused = 409, "change_refused", "The change contradicts what is on record";
    BodyTooLarge = 413, "body_too_large", "The body is too large";
    ContentTypeUnsupported = 415, "content_type_unsupported", "The content type is not application/json";
    FieldUnknown = 422, "field_unknown", "The request has an unknown field";
    ParameterUnknown = 422, "parameter_unknown", "The request has an unknown or repeated query parameter";
    FieldInvalid = 422, "field_invalid", "A field is not valid";
    MerchantOrderIdInvalid = 422, "merchant_order_id_invalid", "The merchant order id is not valid";
    AmountInvalid = 422, "amount_invalid", "The amount is not valid";
    CurrencyUnknown = 422, "currency_unknown", "The currency is not known";
    CurrencyUnsuitable = 422, "currency_unsuitable", "The channel does not take this currency";
    ChannelUnknown = 422, "channel_unknown", "The channel is not known";
    MethodUnknown = 422, "method_unknown", "The channel has no such method";
    DescriptionInvalid = 422, "description_invalid", "The description is not valid";
    PayerInvalid = 422, "payer_invalid", "The payer is not valid";
    ReturnUrlInvalid = 422, "return_url_invalid", "The return URL is not valid";
    WebhookUrlInvalid = 422, "webhook_url_invalid", "The webhook URL is not valid";
    ExpiresInInvalid = 422, "expires_in_invalid", "The time to live is not valid";
    AttemptsMaxInvalid = 422, "attempts_max_invalid", "The number of attempts is not valid";
    MetadataInvalid = 422, "metadata_invalid", "The metadata is not valid";
    AttemptUnknown = 422, "attempt_unknown", "The order has no such attempt";
    FindingUnknown = 422, "finding_unknown", "The finding is not known";
    ReferenceInvalid = 422, "reference_invalid", "The channel's reference is not valid";
    ActUnknown = 422, "act_unknown", "The act is not known";
    EntryUnbalanced = 422, "entry_unbalanced", "The lines do not sum to zero";
    LedgerAccountUnknown = 422, "ledger_account_unknown", "The ledger account is not known";
    LedgerAccountFixed = 422, "ledger_account_fixed", "The ledger account is not changed by hand";
    PlatformUnknown = 422, "platform_unknown", "The platform is not known";
    OperatorUnknown = 422, "operator_unknown", "The operator is not known";
    ReasonInvalid = 422, "reason_invalid", "The reason is not valid";
    EvidenceInvalid = 422, "evidence_invalid", "The evidence is not valid";
    FileInvalid = 422, "file_invalid", "The file is not valid";
    StateUnknown = 422, "state_unknown", "The state is not known";
    CreatedAfterInvalid = 422, "created_after_invalid", "The instant is not valid";
    CreatedBeforeInvalid = 422, "created_before_invalid", "The instant is not valid";
    LimitInvalid = 422, "limit_invalid", "The limit is not valid";
    CursorInvalid = 422, "cursor_invalid", "The cursor is not valid";
    IdempotencyKeyInvalid = 422, "idempotency_key_invalid", "The Idempotency-Key is not valid";
    IdempotencyKeyReused = 422, "idempotency_key_reused", "The Idempotency-Key was used for another request";
    SplitInvalid = 422, "split_invalid", "A share is not valid";
    SplitsExceedAmount = 422, "splits_exceed_amount", "The shares are more than the amount";
    RateLimited = 429, "rate_limited", "Too many requests";
    Internal = 500, "internal", "Something went wrong on our side";
    Overloaded = 503, "overloaded", "Too much to do at the moment";
    StoreUnavailable = 503, "store_unavailable", "The store is away";
    OutcomeUnknown = 503, "outcome_unknown", "The outcome is not known";
    OrderQuarantined = 503, "order_quarantined", "The order is being looked after";
}

/// The one type that knows how refusals look over HTTP.
#[derive(Debug, Clone)]
pub struct ApiError {
    pub code: Code,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    /// When what is in the way will be gone at the latest.
    until: Option<Instant>,
    /// What is left of a payment, in major units.
    remaining: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_rfc3339")]
    until: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<&'a str>,
}

impl ApiError {
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        ApiError { code, detail: detail.into(), field: None, until: None, remaining: None, headers: Vec::new() }
    }

    /// A refusal that one field is the reason of.
    pub fn field(code: Code, field: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        ApiError { field: Some(field.into()), ..ApiError::new(code, detail) }
    }

    pub fn not_found() -> Self {
        ApiError::new(Code::NotFound, "There is nothing at this address, or it is not yours.")
    }

    pub fn method_not_allowed(allowed: &str) -> Self {
        ApiError::new(Code::MethodNotAllowed, format!("This address takes {allowed}.")).with_text(ALLOW, allowed)
    }

    pub fn internal() -> Self {
        ApiError::new(Code::Internal, "The request id helps us to find out what happened.")
    }

    /// The field that is the reason of it.
    pub fn at(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The rest of a body that was not waited for may come at any time, or never.
    pub fn ends_connection(&self) -> bool {
        self.code == Code::BodyTimeout
    }

    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub fn with_text(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The same, telling what is left of a payment.
    #[must_use]
    pub fn with_remaining(self, remaining: String) -> Self {
        ApiError { remaining: Some(remaining), ..self }
    }

    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_text(RETRY_AFTER, &seconds.to_string())
    }

    /// Nothing to be done but to come again in a moment.
    fn come_again(code: Code, detail: &'static str) -> Self {
        ApiError::new(code, detail).retry_after(1)
    }

    pub fn outcome_unknown() -> Self {
        ApiError::come_again(Code::OutcomeUnknown, "It may have happened or not; the same request, sent again, tells.")
    }

    pub fn store_unavailable() -> Self {
        ApiError::come_again(Code::StoreUnavailable, "Nothing was accepted; try again.")
    }

    /// The answer: RFC 9457, with the id under which the logs know the request.
    pub fn render(&self, request_id: &str) -> HttpResponse {
        let problem = Problem {
            kind: format!("urn:tongbao:problem:{}", self.code.name()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code: self.code.name(),
            request_id,
            field: self.at(),
            until: self.until,
            remaining: self.remaining.as_deref(),
        };
        let mut answer = HttpResponse::build(self.code.status());
        if self.ends_connection() {
            answer.force_close();
        }
        for header in &self.headers {
            answer.insert_header(header.clone());
        }
        answer
            .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/problem+json")))
            .body(serde_json::to_vec(&problem).expect("plain structs always serialise"))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    /// The layer around all handlers renders it anew, with the request's id.
    fn error_response(&self) -> HttpResponse {
        self.render("")
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => refusal.into(),
            AskError::Duplicate => ApiError::new(Code::OrderConflict, "The merchant order id is taken."),
            AskError::Overloaded => ApiError::come_again(Code::Overloaded, "Nothing was accepted; try again."),
            AskError::StoreAway => ApiError::store_unavailable(),
            AskError::OutcomeUnknown => ApiError::outcome_unknown(),
            AskError::Quarantined => ApiError::come_again(
                Code::OrderQuarantined,
                "The order cannot be spoken to for now; it is being looked after.",
            ),
            AskError::NotFound => ApiError::not_found(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::OrderFinal => ApiError::new(Code::OrderFinal, "Nothing can be done to a final order."),
            Refusal::AttemptOpen { retry_after_ms, until } => {
                let seconds = u64::try_from(retry_after_ms).unwrap_or(0).div_ceil(1_000).max(1);
                let detail = match until {
                    None => "The open attempt is being closed; nothing else may begin before that is done.",
                    Some(_) => {
                        "The open attempt cannot be closed: the payer may pay by it until its time is over, so no \
                         other may begin. Its own channel can still be paid by."
                    }
                };
                ApiError { until, ..ApiError::new(Code::AttemptOpen, detail) }.retry_after(seconds)
            }
            Refusal::AttemptsUsedUp => {
                ApiError::new(Code::AttemptsUsedUp, "The order has had as many attempts as it may have.")
            }
            Refusal::ChannelUnusable { failure: AttemptFailure::ChannelUnavailable | AttemptFailure::HeldBack } => {
                ApiError::new(Code::ChannelUnavailable, "The open attempt stays; try the channel again later.")
            }
            Refusal::ChannelUnusable {
                failure:
                    AttemptFailure::AmountInsufficient
                    | AttemptFailure::AmountMismatch
                    | AttemptFailure::ChannelDeclined
                    | AttemptFailure::ChannelUnsuitable,
            } => ApiError::new(Code::ChannelUnsuitable, "The open attempt stays; choose another channel."),
            Refusal::OrderNotPaid => {
                ApiError::new(Code::OrderNotPaid, "Only an order that has succeeded can be refunded.")
            }
            Refusal::RefundExceeds { .. } => {
                ApiError::field(Code::RefundExceedsRemaining, "amount", "Less is left of what the order was paid by.")
            }
            Refusal::BalanceInsufficient => ApiError::new(
                Code::BalanceInsufficient,
                "Your balance does not cover this refund: you would owe more than was agreed.",
            ),
            Refusal::RefundLimit { most } => {
                ApiError::new(Code::RefundLimit, format!("The channel takes {most} refunds of one payment."))
            }
            Refusal::RefundWindowOver => {
                ApiError::new(Code::RefundWindowOver, "The payment is older than what the channel refunds.")
            }
            Refusal::RefundFinal => ApiError::new(
                Code::RefundFinal,
                "Nothing can be done to a refund that is over, and suspense money is never given up.",
            ),
            Refusal::RefundUnknown => ApiError::new(Code::CallbackRefused, "The order has no such refund."),
            Refusal::AttemptUnknown => ApiError::new(Code::CallbackRefused, "The order has no such attempt."),
            Refusal::AccountDiffers => ApiError::new(Code::CallbackRefused, "The attempt belongs to another account."),
            Refusal::CaptureContradicts => {
                ApiError::new(Code::CallbackRefused, "This reference is on record with another amount.")
            }
            // What an order is asked over HTTP always has its place: this would be our own mistake.
            Refusal::OutOfPlace => ApiError::internal(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::InDoubt(_) | StoreError::Fenced => ApiError::store_unavailable(),
            StoreError::Broken(_) => {
                tracing::error!(%error, "the store is broken");
                ApiError::store_unavailable()
            }
            StoreError::Conflict(_)
            | StoreError::ReferenceTaken(_)
            | StoreError::NameTaken(_)
            | StoreError::Corrupt(_) => {
                tracing::error!(%error, "a read of the store failed");
                ApiError::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::to_bytes;
    use serde_json::{Value, json};
    use std::collections::HashSet;

    async fn rendered(error: ApiError) -> (HttpResponse<()>, Value) {
        let (head, body) = error.render("req-1").into_parts();
        (head, serde_json::from_slice(&to_bytes(body).await.unwrap()).unwrap())
    }

    #[actix_web::test]
    async fn a_problem_names_its_code_its_field_and_the_request() {
        let (head, body) = rendered(ApiError::field(Code::AmountInvalid, "amount", "must be more than zero")).await;
        assert_eq!(head.status().as_u16(), 422);
        assert_eq!(head.headers().get("content-type").unwrap(), "application/problem+json");
        assert_eq!(
            body,
            json!({
                "type": "urn:tongbao:problem:amount_invalid",
                "title": "The amount is not valid",
                "status": 422,
                "detail": "must be more than zero",
                "code": "amount_invalid",
                "request_id": "req-1",
                "field": "amount",
            })
        );
    }

    #[actix_web::test]
    async fn who_may_come_again_is_told_when() {
        let refusal = |retry_after_ms| AskError::Refused(Refusal::AttemptOpen { retry_after_ms, until: None });
        let table = [
            (AskError::Overloaded, 503, "overloaded", Some("1")),
            (AskError::StoreAway, 503, "store_unavailable", Some("1")),
            (AskError::OutcomeUnknown, 503, "outcome_unknown", Some("1")),
            (AskError::Quarantined, 503, "order_quarantined", Some("1")),
            (refusal(1_001), 409, "attempt_open", Some("2")),
            (refusal(2_000), 409, "attempt_open", Some("2")),
            (refusal(-5), 409, "attempt_open", Some("1")),
            (AskError::Refused(Refusal::OrderFinal), 409, "order_final", None),
            (AskError::Refused(Refusal::AttemptsUsedUp), 409, "attempts_used_up", None),
            (AskError::NotFound, 404, "not_found", None),
        ];
        for (error, status, code, retry_after) in table {
            let (head, body) = rendered(error.into()).await;
            assert_eq!(head.status().as_u16(), status, "{code}");
            assert_eq!(body["code"], code);
            assert_eq!(head.headers().get("retry-after").map(|value| value.to_str().unwrap()), retry_after, "{code}");
            assert!(body.get("field").is_none());
        }
    }

    #[actix_web::test]
    async fn an_open_attempt_says_until_when_it_is_in_the_way() {
        let until = Some(Instant(1_790_000_000_000));
        let refusal = |until| AskError::Refused(Refusal::AttemptOpen { retry_after_ms: 1_000, until });
        let (_, body) = rendered(refusal(until).into()).await;
        assert_eq!(body["until"], "2026-09-21T14:13:20.000Z");
        let (_, body) = rendered(refusal(None).into()).await;
        assert!(body.get("until").is_none());
    }

    #[test]
    fn codes_are_unique_and_their_statuses_are_errors() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{}", code.name());
        }
    }
}
