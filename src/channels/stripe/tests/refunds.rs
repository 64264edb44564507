use super::*;
use crate::domain::event::{Hold, Rejection};

/// As the object is documented (docs.stripe.com/api/refunds/object).
pub fn refund(status: &str) -> Value {
    json!({
        "id": "re_1Nispe2eZvKYlo2Cd31jOCgZ", "object": "refund", "amount": 500, "charge": "ch_1NirD82eZvKYlo2CIvbtLWuY",
        "balance_transaction": "txn_1Nispe2eZvKYlo2CYezqFhEx", "created": 1_790_000_005, "currency": "usd",
        "payment_intent": "pi_1", "reason": null, "receipt_number": null, "status": status, "failure_reason": null,
        "metadata": {"attempt": number().to_string(), "refund_number": refund_ask().refund_number}
    })
}

fn done() -> RefundOutcome {
    RefundOutcome::Done {
        reference: Some("re_1Nispe2eZvKYlo2Cd31jOCgZ".into()),
        dated: Dated::at(Instant(1_790_000_005_000)),
    }
}

fn read(answer: &Answer) -> RefundOutcome {
    stripe().read_refund(&refund_ask(), &stamp(), answer)
}

fn found(data: &[Value], has_more: bool) -> RefundOutcome {
    stripe().read_refund_query(&refund_ask(), &stamp(), &answer(200, &list(data, has_more)))
}

#[test]
fn a_refund_is_asked_for_under_its_number_the_same_in_every_try() {
    let (stripe, ask) = (stripe(), refund_ask());
    let outgoing = stripe.refund(&ask, &stamp());
    assert_eq!(outgoing.url, "https://api.stripe.com/v1/refunds");
    assert_eq!(header(&outgoing, "idempotency-key"), Some(ask.refund_number.as_str()));
    let body = |outgoing: &Outgoing| std::str::from_utf8(&outgoing.body).unwrap().to_owned();
    let expected = format!(
        "amount=500&metadata%5Battempt%5D={}&metadata%5Brefund_number%5D={}&payment_intent=pi_1",
        number(),
        ask.refund_number
    );
    let reason = "&metadata%5Breason%5D=%E8%B4%A7%E4%B8%8D%E5%AF%B9%E6%9D%BF%2C+sold+out";
    assert_eq!(body(&outgoing), format!("{expected}{reason}"));
    let later = Stamp { at: NOW.plus_ms(60_000), nonce: "other".into() };
    assert_eq!(stripe.refund(&ask, &later), outgoing);
    let silent = RefundAsk { reason: None, ..refund_ask() };
    assert_eq!(body(&stripe.refund(&silent, &stamp())), expected);
    let long = RefundAsk { reason: Some("a".repeat(600).into()), ..refund_ask() };
    let long = body(&stripe.refund(&long, &stamp()));
    assert!(long.ends_with(&format!("={}", "a".repeat(500))), "{long}");
}

#[test]
fn a_refund_is_what_its_status_says() {
    let pending = |reason: Value| with(refund("pending"), "pending_reason", reason);
    let waits = |hold| RefundOutcome::Pending { hold };
    for (body, expected) in [
        (refund("succeeded"), done()),
        (refund("pending"), waits(Hold::Processing)),
        (pending(json!("processing")), waits(Hold::Processing)),
        (pending(json!("charge_pending")), waits(Hold::Processing)),
        (pending(Value::Null), waits(Hold::Processing)),
        (pending(json!("insufficient_funds")), waits(Hold::Balance)),
        (refund("requires_action"), RefundOutcome::Stuck { code: "requires_action".into() }),
        (refund("failed"), RefundOutcome::Ended { code: "failed".into() }),
        (with(refund("failed"), "failure_reason", json!("declined")), RefundOutcome::Ended { code: "declined".into() }),
        (refund("canceled"), RefundOutcome::Ended { code: "canceled".into() }),
    ] {
        assert_eq!(read(&answer(200, &body)), expected, "{body}");
        assert_eq!(found(&[body], false), expected);
    }
    // That it had left our balance does not mean that its payer had it: whoever knows that it succeeded knows more.
    let mut returned = with(refund("failed"), "failure_reason", json!("lost_or_stolen_card"));
    returned["failure_balance_transaction"] = json!("txn_1Nispe2eZvKYlo2CYezqFhEy");
    let expected = RefundOutcome::Ended { code: "lost_or_stolen_card".into() };
    assert_eq!(read(&answer(200, &returned)), expected);
    for body in [
        refund("a_new_status"),
        with(refund("succeeded"), "amount", json!(499)),
        with(refund("succeeded"), "currency", json!("eur")),
        with(refund("succeeded"), "payment_intent", json!("pi_2")),
        with(refund("succeeded"), "payment_intent", Value::Null),
        with(refund("succeeded"), "metadata", json!({})),
        with(refund("succeeded"), "object", json!("charge")),
        with(refund("failed"), "amount", json!(499)),
    ] {
        assert!(matches!(read(&answer(200, &body)), RefundOutcome::Unknown { .. }), "{body}");
    }
    let bare = with(with(refund("succeeded"), "id", json!("re\u{0}")), "created", Value::Null);
    let expected = RefundOutcome::Done { reference: None, dated: Dated::NOT_TOLD };
    assert_eq!(read(&answer(200, &bare)), expected);
}

#[test]
fn a_refused_refund_has_its_class() {
    let rejected = |class, code: &str| RefundOutcome::Rejected { class, code: code.into() };
    for (status, kind, code, class) in [
        (400, "invalid_request_error", "balance_insufficient", Rejection::Poor),
        (400, "invalid_request_error", "charge_disputed", Rejection::Refused),
        (400, "invalid_request_error", "charge_not_refundable", Rejection::Refused),
        (400, "invalid_request_error", "refund_disputed_payment", Rejection::Refused),
        (400, "invalid_request_error", "a_new_code", Rejection::Ours),
        (401, "invalid_request_error", "api_key_expired", Rejection::Ours),
        (404, "invalid_request_error", "resource_missing", Rejection::Ours),
        (402, "card_error", "card_declined", Rejection::DeadNumber),
    ] {
        assert_eq!(read(&error(status, kind, code)), rejected(class, code));
    }
    let poor = json!({"error": {"type": "invalid_request_error", "message_code": "insufficient_balance_for_refund",
        "message": "Insufficient funds in your Stripe balance to refund this amount."}});
    assert_eq!(read(&answer(400, &poor)), rejected(Rejection::Poor, "insufficient_balance_for_refund"));
    let before = error(400, "invalid_request_error", "charge_already_refunded");
    assert_eq!(read(&before), RefundOutcome::Unknown { why: "charge_already_refunded".into() });
    let used = answer(400, &json!({"error": {"type": "idempotency_error", "message": "…"}}));
    assert_eq!(read(&used), RefundOutcome::Unknown { why: "idempotency_error".into() });
    let busy = error(429, "invalid_request_error", "rate_limit");
    assert_eq!(read(&busy), RefundOutcome::NotSent { why: "rate_limit".into() });
    for status in [409, 424, 500, 503] {
        assert!(matches!(read(&error(status, "api_error", "x")), RefundOutcome::Unknown { .. }), "{status}");
    }
}

#[test]
fn a_refund_is_found_by_its_number_among_those_of_its_intent() {
    let (stripe, ask) = (stripe(), refund_ask());
    let outgoing = stripe.query_refund(&ask, &stamp());
    assert_eq!(outgoing.url, "https://api.stripe.com/v1/refunds?payment_intent=pi_1&limit=100");
    let dead = RefundOutcome::Ended { code: "failed".into() };
    // Of the same amount, as the next part of a payment may be.
    let other = with(refund("succeeded"), "metadata", json!({"refund_number": "another"}));
    let nameless = with(refund("succeeded"), "metadata", json!({}));
    assert_eq!(found(&[other.clone(), nameless.clone(), refund("succeeded")], true), done());
    assert_eq!(found(&[refund("failed"), refund("succeeded")], false), done());
    assert_eq!(found(&[refund("failed"), other.clone()], false), dead);
    // What may yet be paid under the number keeps it alive,
    let waits = RefundOutcome::Pending { hold: Hold::Processing };
    assert_eq!(found(&[refund("pending"), refund("failed")], false), waits);
    assert_eq!(found(&[refund("failed"), refund("pending")], false), waits);
    // and so does what is not understood, and a page that nobody has looked at.
    for (data, has_more) in [
        (vec![refund("canceled"), refund("failed"), refund("a_new_status")], false),
        (vec![with(refund("succeeded"), "amount", json!(499)), refund("failed")], false),
        (vec![refund("failed")], true),
        (vec![refund("pending")], true),
    ] {
        assert!(matches!(found(&data, has_more), RefundOutcome::Unknown { .. }), "{data:?}");
    }
    assert_eq!(found(&[other.clone(), nameless], false), RefundOutcome::NotExist);
    assert!(matches!(found(&[other], true), RefundOutcome::Unknown { .. }));
    let missing = error(404, "invalid_request_error", "resource_missing");
    assert!(matches!(stripe.read_refund_query(&ask, &stamp(), &missing), RefundOutcome::Unknown { .. }));
}
