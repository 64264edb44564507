//! Refunds: requests, answers and notifications.

use super::callbacks::{envelope, hear, heard};
use super::money::body;
use super::*;
use crate::channels::{CallbackError, Heard, RefundNotice};
use crate::domain::event::{Hold, RefundOutcome, RefundWord, Rejection};

const REFUND_ID: &str = "50300807092021020105990201735";

/// As the page of the call shows it (merchant document 4013071036); it was taken before midnight and done after it.
fn refunded(status: &str) -> Value {
    json!({
        "refund_id": REFUND_ID, "out_refund_no": refund_ask().refund_number, "transaction_id": REFERENCE,
        "out_trade_no": attempt().number.to_string(), "channel": "ORIGINAL", "user_received_account": "招商银行信用卡0403",
        "success_time": "2026-09-22T00:00:12+08:00", "create_time": "2026-09-21T23:59:58+08:00", "status": status,
        "funds_account": "UNSETTLED",
        "amount": {"total": 20_059, "refund": 20_059, "payer_total": 20_059, "payer_refund": 20_059,
            "settlement_refund": 20_059, "settlement_total": 20_059, "discount_refund": 0, "currency": "CNY"},
    })
}

fn dated() -> Dated {
    let effective_at = Instant::parse_rfc3339("2026-09-22T00:00:12+08:00");
    Dated { effective_at, bill_day: crate::domain::dated::Day::new(2026, 9, 21) }
}

fn sent(answer: &Answer) -> RefundOutcome {
    wechat().read_refund(&refund_ask(), &stamp(), answer)
}

fn found(answer: &Answer) -> RefundOutcome {
    wechat().read_refund_query(&refund_ask(), &stamp(), answer)
}

fn is_unknown(outcome: &RefundOutcome) -> bool {
    matches!(outcome, RefundOutcome::Unknown { .. })
}

#[test]
fn a_refund_says_what_is_asked_and_why_the_same_in_every_try() {
    let wechat = wechat();
    let outgoing = wechat.refund(&refund_ask(), &stamp());
    assert_eq!(outgoing.url, format!("{BASE_URL}/v3/refund/domestic/refunds"));
    let expected = json!({
        "transaction_id": REFERENCE, "out_refund_no": refund_ask().refund_number, "reason": "货不对板, sold out",
        "notify_url": "https://m.example/v1/callbacks/wechat",
        "amount": {"refund": 20_059, "total": 20_059, "currency": "CNY"},
    });
    assert_eq!(body(&outgoing), expected);
    let later = Stamp { at: NOW.plus_ms(61_000), nonce: "ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOP".into() };
    assert_eq!(wechat.refund(&refund_ask(), &later).body, outgoing.body);
    let reason = |reason: Option<&str>| {
        let ask = RefundAsk { reason: reason.map(Into::into), ..refund_ask() };
        body(&wechat.refund(&ask, &stamp())).get("reason").cloned()
    };
    assert_eq!(reason(None), None);
    // Three bytes each: 26 of them are 78.
    assert_eq!(reason(Some(&"货".repeat(80))), Some(json!("货".repeat(26))));
    assert_eq!(reason(Some(&"a".repeat(81))), Some(json!("a".repeat(80))));
    let query = wechat.query_refund(&refund_ask(), &stamp());
    assert_eq!(query.url, format!("{BASE_URL}/v3/refund/domestic/refunds/{}", refund_ask().refund_number));
}

#[test]
fn a_refund_is_what_its_status_says() {
    let done = RefundOutcome::Done { reference: Some(REFUND_ID.into()), dated: dated() };
    for (status, expected) in [
        ("SUCCESS", done),
        ("PROCESSING", RefundOutcome::Pending { hold: Hold::Processing }),
        ("ABNORMAL", RefundOutcome::Stuck { code: "ABNORMAL".into() }),
        ("CLOSED", RefundOutcome::Ended { code: "CLOSED".into() }),
    ] {
        let answer = far().answer(200, refunded(status));
        assert_eq!((sent(&answer), found(&answer)), (expected.clone(), expected), "{status}");
    }
    for (path, value) in [
        ("out_refund_no", json!("another")),
        ("transaction_id", json!("4200000925202101284997714293")),
        ("out_trade_no", json!("another")),
        ("amount.refund", json!(20_058)),
        ("amount.refund", json!("20059")),
        ("amount.currency", json!("USD")),
        ("status", json!("DONE")),
        ("status", json!("success")),
    ] {
        let answer = far().answer(200, changed(refunded("SUCCESS"), path, value));
        assert!(is_unknown(&sent(&answer)) && is_unknown(&found(&answer)), "{path}");
    }
    assert!(is_unknown(&sent(&unsigned(200, refunded("SUCCESS")))));
    assert!(is_unknown(&sent(&unsigned(200, refunded("CLOSED")))));
}

#[test]
fn what_a_refund_need_not_say_or_what_is_unreadable_is_not_told() {
    for (path, value) in [("success_time", json!("today")), ("success_time", json!(7)), ("success_time", Value::Null)] {
        let answer = far().answer(200, changed(refunded("SUCCESS"), path, value));
        let expected = Dated { effective_at: None, ..dated() };
        assert_eq!(sent(&answer), RefundOutcome::Done { reference: Some(REFUND_ID.into()), dated: expected });
    }
    let mut bare = refunded("SUCCESS");
    for name in ["success_time", "create_time", "refund_id", "user_received_account"] {
        bare.as_object_mut().unwrap().remove(name);
    }
    let answer = far().answer(200, bare);
    assert_eq!(found(&answer), RefundOutcome::Done { reference: None, dated: Dated::NOT_TOLD });
    let odd = far().answer(200, changed(refunded("SUCCESS"), "refund_id", json!("5030'; --")));
    assert_eq!(found(&odd), RefundOutcome::Done { reference: None, dated: dated() });
}

/// With the statuses of the page's table.
#[test]
fn a_refused_refund_has_its_class_and_a_refused_question_tells_nothing() {
    for (status, code, class) in [
        (400, "INVALID_REQUEST", Rejection::Refused),
        (404, "MCH_NOT_EXISTS", Rejection::Ours),
        (403, "NOT_ENOUGH", Rejection::Poor),
        (403, "NO_AUTH", Rejection::Ours),
        (400, "PARAM_ERROR", Rejection::Ours),
        (404, "RESOURCE_NOT_EXISTS", Rejection::Ours),
        (401, "SIGN_ERROR", Rejection::Ours),
        (403, "USER_ACCOUNT_ABNORMAL", Rejection::Refused),
    ] {
        assert_eq!(sent(&failure(status, code)), RefundOutcome::Rejected { class, code: code.into() });
        assert!(code == "RESOURCE_NOT_EXISTS" || is_unknown(&found(&failure(status, code))), "{code}");
    }
    let door = RefundOutcome::Rejected { class: Rejection::Ours, code: "401".into() };
    assert_eq!(sent(&unsigned(401, "")), door);
    for (status, code) in [(429, "FREQUENCY_LIMITED"), (429, "RATELIMIT_EXCEEDED"), (403, "FREQUENCY_LIMITED")] {
        assert_eq!(sent(&failure(status, code)), RefundOutcome::NotSent { why: code.into() });
        assert!(is_unknown(&found(&failure(status, code))), "{code}");
    }
    for (status, code) in [(500, "SYSTEM_ERROR"), (500, "NOT_ENOUGH"), (400, "UNHEARD_OF"), (403, "RULE_LIMIT")] {
        assert_eq!(sent(&failure(status, code)), RefundOutcome::Unknown { why: code.into() });
    }
    assert_eq!(found(&failure(404, "RESOURCE_NOT_EXISTS")), RefundOutcome::NotExist);
    assert!(is_unknown(&found(&failure(404, ""))));
    assert!(is_unknown(&sent(&unsigned(403, "<html>"))));
}

/// As the page of the notification shows it (`wiki/doc/apiv3/apis/chapter3_1_11.shtml`): no currency, and not when it was taken.
fn notified(status: &str) -> Value {
    json!({
        "mchid": MCHID, "transaction_id": REFERENCE, "out_trade_no": attempt().number.to_string(),
        "refund_id": REFUND_ID, "out_refund_no": refund_ask().refund_number, "refund_status": status,
        "success_time": "2026-09-22T00:00:12+08:00", "user_received_account": "招商银行信用卡0403",
        "amount": {"total": 20_060, "refund": 60, "payer_total": 20_060, "payer_refund": 60},
    })
}

fn told(kind: &str, refund: &Value) -> Result<Heard, CallbackError> {
    hear(envelope(kind, sealed(refund.to_string().as_bytes(), "refund")).to_string().as_bytes())
}

fn word(outcome: RefundOutcome) -> Heard {
    let word = RefundWord { amount_minor: 60, currency: "CNY".into(), outcome };
    Heard::Refund(RefundNotice { number: refund_ask().refund_number, word: Some(word) })
}

#[test]
fn a_refund_is_heard_with_what_became_of_it() {
    let dated = Dated { bill_day: None, ..dated() };
    let done = RefundOutcome::Done { reference: Some(REFUND_ID.into()), dated };
    assert_eq!(told("REFUND.SUCCESS", &notified("SUCCESS")), Ok(word(done)));
    let closed = RefundOutcome::Ended { code: "CLOSED".into() };
    assert_eq!(told("REFUND.CLOSED", &notified("CLOSED")), Ok(word(closed)));
    let abnormal = RefundOutcome::Stuck { code: "ABNORMAL".into() };
    assert_eq!(told("REFUND.ABNORMAL", &notified("ABNORMAL")), Ok(word(abnormal)));
    let undated = RefundOutcome::Done { reference: Some(REFUND_ID.into()), dated: Dated::NOT_TOLD };
    let unreadable = changed(notified("SUCCESS"), "success_time", json!("now"));
    assert_eq!(told("REFUND.SUCCESS", &unreadable), Ok(word(undated)));
    // Made at WeChat Pay's console: whose it is, is not for this to say.
    let foreign = changed(notified("SUCCESS"), "out_refund_no", json!("50300807092021020105990201735"));
    assert!(matches!(told("REFUND.SUCCESS", &foreign), Ok(Heard::Refund(_))));
}

#[test]
fn a_refunds_notification_that_is_not_whole_is_not_heard() {
    for (path, value) in [
        ("mchid", json!("1900000002")),
        ("out_refund_no", json!("")),
        ("out_refund_no", json!("a\u{0}b")),
        ("out_refund_no", json!("A".repeat(256))),
        ("refund_status", json!("CLOSED")),
        ("refund_status", json!("PROCESSING")),
        ("refund_status", json!("DONE")),
        ("amount.refund", json!(0)),
        ("amount.refund", json!(-60)),
        ("amount.refund", json!("60")),
        ("amount.refund", json!(20_061)),
        ("amount.total", json!(59)),
        ("amount", Value::Null),
    ] {
        let refund = changed(notified("SUCCESS"), path, value.clone());
        assert_eq!(told("REFUND.SUCCESS", &refund), Err(CallbackError::Unreadable), "{path} {value}");
    }
    // The envelope and the resource differ, or a payment comes as a refund.
    for (kind, refund) in [
        ("REFUND.CLOSED", notified("SUCCESS")),
        ("REFUND.SUCCESS", notified("CLOSED")),
        ("TRANSACTION.SUCCESS", notified("SUCCESS")),
        ("REFUND.SUCCESS", transaction()),
        ("REFUND.PROCESSING", notified("PROCESSING")),
    ] {
        assert_eq!(told(kind, &refund), Err(CallbackError::Unreadable), "{kind}");
    }
    let text = notified("SUCCESS").to_string();
    for text in
        [text.replacen('{', r#"{"refund_status":"CLOSED","#, 1), text.replace("\"refund\":60", "\"refund\":6e1")]
    {
        let body = envelope("REFUND.SUCCESS", sealed(text.as_bytes(), "refund")).to_string();
        assert_eq!(hear(body.as_bytes()), Err(CallbackError::Unreadable), "{text}");
    }
    let body = envelope("REFUND.SUCCESS", sealed(notified("SUCCESS").to_string().as_bytes(), "refund")).to_string();
    let stranger = Far { key: &STRANGER, ..far() };
    assert_eq!(heard(&stranger.headers(body.as_bytes()), body.as_bytes()), Err(CallbackError::Forged));
    assert_eq!(heard(&[], body.as_bytes()), Err(CallbackError::Forged));
}
