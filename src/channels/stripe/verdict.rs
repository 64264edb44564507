//! What an error means to a request that could have moved money.

use super::super::Answer;
use super::objects::{self, Failure, IntentStatus};
use crate::domain::event::Rejection;

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
    // By this very refund, perhaps.
    row(400, None, Some("charge_already_refunded"), Verdict::Unknown),
    row(400, None, Some("return_intent_already_processed"), Verdict::Unknown),
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

/// Codes of a refund that was looked at and refused (docs.stripe.com/error-codes). `insufficient_balance_for_refund` is a
/// `message_code` without a `code` beside it, as Stripe answers where the balance may not fall any lower
/// (github.com/Automattic/woocommerce-payments/issues/10025); elsewhere such a refund is taken and pending.
///
/// Under its key each of these is repeated from memory for a day. So *poor* waits that long after the money has come; to
/// another number it need not, but those are few, and a want of money ends no refund.
const REFUNDS: &[(&str, Rejection)] = &[
    ("balance_insufficient", Rejection::Poor),
    ("charge_disputed", Rejection::Refused),
    ("charge_not_refundable", Rejection::Refused),
    ("insufficient_balance_for_refund", Rejection::Poor),
    ("refund_disputed_payment", Rejection::Refused),
];

/// What a refusal means to a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfRefund {
    Rejected(Rejection),
    /// Turned away before it was looked at.
    NotSent,
    Unknown,
}

pub fn of_refund(answer: &Answer, failure: &Failure) -> OfRefund {
    match of(answer, failure) {
        // Something was asked under this number before, and may have been done.
        Verdict::Ours if failure.kind == "idempotency_error" => OfRefund::Unknown,
        Verdict::Ours => OfRefund::Rejected(Rejection::Ours),
        // What was looked at and refused is repeated from memory under the same key, for a day. That is known to be the
        // issuer's word; with a code that is not known another number might pay what the first one did after all.
        Verdict::Payment => OfRefund::Rejected(refused(failure)),
        Verdict::NotSent => OfRefund::NotSent,
        Verdict::Unknown => OfRefund::Unknown,
    }
}

fn refused(failure: &Failure) -> Rejection {
    let code = failure.code.as_deref().or(failure.message_code.as_deref());
    let known = REFUNDS.iter().find(|(known, _)| Some(*known) == code).map(|(_, class)| *class);
    known.unwrap_or(if failure.kind == "card_error" { Rejection::DeadNumber } else { Rejection::Ours })
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

    fn verdict_of_refund(status: u16, error: &str) -> OfRefund {
        let answer = Answer { status, headers: Vec::new(), body: format!(r#"{{"error":{error}}}"#).into_bytes() };
        of_refund(&answer, &objects::failure(&answer).unwrap())
    }

    #[test]
    fn every_refusal_of_a_refund_has_its_class() {
        assert!(REFUNDS.is_sorted_by(|(left, _), (right, _)| left < right));
        for (code, class) in REFUNDS {
            let error = format!(r#"{{"type":"invalid_request_error","code":"{code}"}}"#);
            assert_eq!(verdict_of_refund(400, &error), OfRefund::Rejected(*class), "{code}");
            assert_eq!(verdict_of_refund(500, &error), OfRefund::Unknown, "{code}");
        }
        // Without a `code`, as Stripe wrote it to woocommerce-payments.
        let poor = r#"{"message":"Insufficient funds in your Stripe balance to refund this amount.",
            "message_code":"insufficient_balance_for_refund","type":"invalid_request_error"}"#;
        assert_eq!(verdict_of_refund(400, poor), OfRefund::Rejected(Rejection::Poor));
        let table = [
            (400, r#"{"type":"invalid_request_error"}"#, OfRefund::Rejected(Rejection::Ours)),
            (400, r#"{"type":"invalid_request_error","code":"a_new_code"}"#, OfRefund::Rejected(Rejection::Ours)),
            (
                400,
                r#"{"type":"invalid_request_error","code":"parameter_unknown"}"#,
                OfRefund::Rejected(Rejection::Ours),
            ),
            (400, r#"{"type":"invalid_request_error","code":"charge_already_refunded"}"#, OfRefund::Unknown),
            (400, r#"{"type":"invalid_request_error","code":"return_intent_already_processed"}"#, OfRefund::Unknown),
            (400, r#"{"type":"invalid_request_error","code":"rate_limit"}"#, OfRefund::NotSent),
            (400, r#"{"type":"idempotency_error"}"#, OfRefund::Unknown),
            (401, r#"{"type":"invalid_request_error"}"#, OfRefund::Rejected(Rejection::Ours)),
            (402, r#"{"type":"card_error","code":"card_declined"}"#, OfRefund::Rejected(Rejection::DeadNumber)),
            (403, r#"{"type":"invalid_request_error"}"#, OfRefund::Rejected(Rejection::Ours)),
            (404, r#"{"type":"invalid_request_error","code":"resource_missing"}"#, OfRefund::Rejected(Rejection::Ours)),
            (409, r#"{"type":"invalid_request_error","code":"idempotency_key_in_use"}"#, OfRefund::Unknown),
            (429, r#"{"type":"invalid_request_error","code":"rate_limit"}"#, OfRefund::NotSent),
            (429, r#"{"type":"invalid_request_error","code":"lock_timeout"}"#, OfRefund::Unknown),
        ];
        for (status, error, expected) in table {
            assert_eq!(verdict_of_refund(status, error), expected, "{status} {error}");
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
