//! What an error means to a request that could have moved money.

use super::super::Answer;
use super::objects::{self, Failure, IntentStatus};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Certain: Stripe refuses this payment.
    Payment,
    /// Certain: Stripe refuses us or what we wrote.
    Ours,
    /// Certain: turned away before it was looked at; the same request may be made again.
    NotSent,
    /// Only a question tells.
    Unknown,
}

struct Row {
    status: u16,
    kind: Option<&'static str>,
    code: Option<&'static str>,
    verdict: Verdict,
}

const fn row(status: u16, kind: Option<&'static str>, code: Option<&'static str>, verdict: Verdict) -> Row {
    Row { status, kind, code, verdict }
}

/// The first row that fits is taken; where none does, nothing is known. Statuses and types: docs.stripe.com/api/errors
/// and /error-low-level; codes: /error-codes; what is stored under an idempotency key: /api/idempotent_requests.
const TABLE: &[Row] = &[
    row(400, Some("idempotency_error"), None, Verdict::Ours),
    row(400, None, Some("payment_intent_unexpected_state"), Verdict::Unknown),
    row(400, None, Some("charge_already_refunded"), Verdict::Unknown),
    row(400, None, Some("lock_timeout"), Verdict::Unknown),
    // As stripe-python 16.1.0 (`_api_requestor.py`) still expects it beside 429.
    row(400, None, Some("rate_limit"), Verdict::NotSent),
    row(400, None, Some("parameter_missing"), Verdict::Ours),
    row(400, None, Some("parameter_unknown"), Verdict::Ours),
    row(400, None, Some("parameter_invalid_empty"), Verdict::Ours),
    row(400, None, Some("parameter_invalid_integer"), Verdict::Ours),
    row(400, None, Some("payment_method_types_no_longer_supported"), Verdict::Ours),
    row(400, None, Some("secret_key_required"), Verdict::Ours),
    row(400, None, Some("livemode_mismatch"), Verdict::Ours),
    row(400, None, Some("testmode_charges_only"), Verdict::Ours),
    row(400, None, Some("account_invalid"), Verdict::Ours),
    row(400, Some("invalid_request_error"), None, Verdict::Payment),
    row(401, None, None, Verdict::Ours),
    row(402, Some("card_error"), None, Verdict::Payment),
    row(403, None, None, Verdict::Ours),
    row(404, Some("invalid_request_error"), None, Verdict::Ours),
    row(409, None, None, Verdict::Unknown),
    row(424, None, None, Verdict::Unknown),
    row(429, None, Some("lock_timeout"), Verdict::Unknown),
    row(429, None, Some("rate_limit"), Verdict::NotSent),
];

pub fn of(answer: &Answer, failure: &Failure) -> Verdict {
    let fits = |wanted: Option<&str>, found: Option<&str>| wanted.is_none() || wanted == found;
    let verdict = TABLE
        .iter()
        .find(|row| {
            row.status == answer.status
                && fits(row.kind, Some(&failure.kind))
                && fits(row.code, failure.code.as_deref())
        })
        .map_or(Verdict::Unknown, |row| row.verdict);
    let asks_again = answer.header("stripe-should-retry") == Some("true");
    match verdict {
        // What Stripe wants repeated is not over, whatever its code says.
        Verdict::Payment | Verdict::Ours if asks_again => Verdict::Unknown,
        Verdict::Payment if may_be_paid(failure) => Verdict::Unknown,
        Verdict::Payment | Verdict::Ours | Verdict::NotSent | Verdict::Unknown => verdict,
    }
}

/// What says "later", whichever call it answers: under the same idempotency key a repeat is the same request.
///
/// Source: docs.stripe.com/rate-limits (429), /error-low-level and /api/idempotent_requests (409: the first request by
/// this key is still under way); 400 as above.
const LATER: &[(u16, Option<&str>)] = &[(400, Some("rate_limit")), (409, None), (429, None)];

pub fn is_later(answer: &Answer) -> bool {
    let failure = objects::failure(answer).ok();
    let code = failure.as_ref().and_then(|failure| failure.code.as_deref());
    LATER.iter().any(|(status, wanted)| *status == answer.status && (wanted.is_none() || *wanted == code))
}

/// A refusal that comes with an intent on which money may be under way is none.
fn may_be_paid(failure: &Failure) -> bool {
    failure.payment_intent.as_ref().is_some_and(|intent| match intent.status {
        IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation | IntentStatus::Canceled => false,
        IntentStatus::RequiresAction
        | IntentStatus::Processing
        | IntentStatus::RequiresCapture
        | IntentStatus::Succeeded
        | IntentStatus::Unheard => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, error: &str, headers: &[(&str, &str)]) -> Verdict {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = Answer { status, headers, body: format!(r#"{{"error":{error}}}"#).into_bytes() };
        of(&answer, &objects::failure(&answer).unwrap())
    }

    #[test]
    fn every_error_has_one_verdict() {
        let table = [
            (400, r#"{"type":"invalid_request_error","code":"amount_too_small"}"#, Verdict::Payment),
            (400, r#"{"type":"invalid_request_error","code":"parameter_unknown"}"#, Verdict::Ours),
            (400, r#"{"type":"invalid_request_error","code":"payment_intent_unexpected_state"}"#, Verdict::Unknown),
            (400, r#"{"type":"idempotency_error"}"#, Verdict::Ours),
            (400, r#"{"type":"invalid_request_error","code":"rate_limit"}"#, Verdict::NotSent),
            (
                400,
                r#"{"type":"invalid_request_error","code":"payment_method_types_no_longer_supported"}"#,
                Verdict::Ours,
            ),
            (400, r#"{"type":"a_new_error"}"#, Verdict::Unknown),
            (401, r#"{"type":"invalid_request_error"}"#, Verdict::Ours),
            (
                402,
                r#"{"type":"card_error","code":"card_declined","decline_code":"insufficient_funds"}"#,
                Verdict::Payment,
            ),
            (402, r#"{"type":"api_error"}"#, Verdict::Unknown),
            (403, r#"{"type":"invalid_request_error"}"#, Verdict::Ours),
            (404, r#"{"type":"invalid_request_error","code":"resource_missing"}"#, Verdict::Ours),
            (409, r#"{"type":"invalid_request_error","code":"idempotency_key_in_use"}"#, Verdict::Unknown),
            (424, r#"{"type":"api_error"}"#, Verdict::Unknown),
            (429, r#"{"type":"invalid_request_error","code":"rate_limit"}"#, Verdict::NotSent),
            (429, r#"{"type":"invalid_request_error","code":"lock_timeout"}"#, Verdict::Unknown),
            (500, r#"{"type":"api_error"}"#, Verdict::Unknown),
            (500, r#"{"type":"card_error"}"#, Verdict::Unknown),
            (503, r#"{"type":"api_error"}"#, Verdict::Unknown),
        ];
        for (status, error, expected) in table {
            assert_eq!(verdict(status, error, &[]), expected, "{status} {error}");
        }
    }

    #[test]
    fn what_stripe_wants_repeated_is_not_over() {
        let declined = r#"{"type":"card_error","code":"card_declined"}"#;
        assert_eq!(verdict(402, declined, &[("Stripe-Should-Retry", "true")]), Verdict::Unknown);
        assert_eq!(verdict(402, declined, &[("Stripe-Should-Retry", "false")]), Verdict::Payment);
        assert_eq!(verdict(500, declined, &[("Stripe-Should-Retry", "false")]), Verdict::Unknown);
    }

    #[test]
    fn a_refusal_with_money_under_way_is_none() {
        for (status, expected) in [
            ("requires_payment_method", Verdict::Payment),
            ("canceled", Verdict::Payment),
            ("processing", Verdict::Unknown),
            ("succeeded", Verdict::Unknown),
            ("a_new_status", Verdict::Unknown),
        ] {
            let error = format!(
                r#"{{"type":"card_error","payment_intent":{{"id":"pi_1","object":"payment_intent","status":"{status}","amount":1,"currency":"usd"}}}}"#
            );
            assert_eq!(verdict(402, &error, &[]), expected, "{status}");
        }
    }
}
