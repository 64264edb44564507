//! What a callback must not be, beside what the journeys show.

use super::*;
use crate::channels::RefundNotice;
use crate::channels::properties::{attempt, refund_ask, stamp};
use crate::domain::event::{Hold, RefundWord, Rejection};

const NOW: Instant = Instant(1_790_000_000_000);

fn simpay() -> Simpay {
    let key = STANDARD.encode([7; 32]).into();
    Simpay::new("default", "https://simpay.example", &key).expect("a good key")
}

fn callback() -> String {
    r#"{"event":"payment.succeeded","id":"cb_1","number":"01J0","account":"default","reference":"SP1","amount_minor":20060,"currency":"CNY","paid_at":1790000000000}"#.into()
}

/// `body`, with the signature of `signed`.
fn heard(body: &str, signed: &str) -> Result<Heard, CallbackError> {
    let simpay = simpay();
    let tag = simpay.sign(&["CALLBACK", "default", "1790000000", "n"], signed.as_bytes());
    let headers = [
        ("Simpay-Account", "default".to_owned()),
        ("Simpay-Timestamp", "1790000000".to_owned()),
        ("Simpay-Nonce", "n".to_owned()),
        ("Simpay-Signature", STANDARD.encode(tag.as_ref())),
    ]
    .map(|(name, value)| (name.to_owned(), value));
    simpay.callback(&Received { headers: &headers, body: body.as_bytes() }, NOW)
}

#[test]
fn trap_02_a_callback_is_verified_over_the_bytes_that_came() {
    let good = callback();
    let spaced = good.replace("\":", "\" : ").replace('/', "\\/");
    assert!(heard(&good, &good).is_ok() && heard(&spaced, &spaced) == heard(&good, &good));
    for changed in [spaced, good.replace("20060", "20061"), format!("{good}\n"), good[..good.len() - 1].to_owned()] {
        assert_eq!(heard(&changed, &good), Err(CallbackError::Forged), "{changed}");
    }
}

#[test]
fn trap_09_repeated_keys_and_amounts_that_are_no_integers_are_refused() {
    let good = callback();
    for (from, to) in [
        ("\"amount_minor\":20060", "\"amount_minor\":1,\"amount_minor\":20060"),
        ("\"amount_minor\":20060", "\"amount_minor\":\"20060\""),
        ("\"amount_minor\":20060", "\"amount_minor\":2006e1"),
        ("\"amount_minor\":20060", "\"amount_minor\":0"),
        ("\"amount_minor\":20060", "\"amount_minor\":9223372036854775807"),
        ("\"currency\":\"CNY\"", "\"currency\":\"\""),
        ("\"reference\":\"SP1\"", "\"reference\":\"a\\u0000b\""),
        ("{", "{\"extra\":1,"),
    ] {
        assert!(good.contains(from), "{from}");
        let changed = good.replacen(from, to, 1);
        assert_eq!(heard(&changed, &changed), Err(CallbackError::Unreadable), "{to}");
    }
    let array = r#"["payment.succeeded","cb_1","01J0","default","SP1",20060,"CNY",1790000000000]"#;
    assert_eq!(heard(array, array), Err(CallbackError::Unreadable));
}

/// An answer as the gateway signs it.
fn answer(status: u16, body: String) -> Answer {
    let (simpay, stamp) = (simpay(), stamp());
    let timestamp = (stamp.at.0 / 1_000).to_string();
    let tag = simpay.sign(&["ANSWER", &status.to_string(), "default", &timestamp, &stamp.nonce], body.as_bytes());
    let headers = [
        ("simpay-timestamp", timestamp),
        ("simpay-nonce", stamp.nonce.clone()),
        ("simpay-signature", STANDARD.encode(tag.as_ref())),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Answer { status, headers, body: body.into_bytes() }
}

/// The row of the certainly dead table, as far as answers go.
#[test]
fn dead_is_what_was_closed_and_what_a_query_says_is_declined_or_closed() {
    let (simpay, attempt, stamp) = (simpay(), attempt("CNY"), stamp());
    let state = |state: &str| answer(200, format!(r#"{{"number":"{}","state":"{state}"}}"#, attempt.number));
    let found = |answer: &Answer| simpay.read_query(&attempt, &stamp, answer);
    assert_eq!(simpay.read_close(&attempt, &stamp, &state("closed")), Reading::Told(CloseAnswer::Closed));
    for (name, expected) in
        [("declined", Finding::Declined), ("closed", Finding::Closed), ("waiting", Finding::Pending)]
    {
        assert_eq!(found(&state(name)), Reading::Told(expected), "{name}");
    }
    assert_eq!(found(&answer(404, r#"{"code":"not_exist"}"#.into())), Reading::Told(Finding::NotExist));
    let unsigned = Answer { headers: Vec::new(), ..state("closed") };
    assert!(matches!(simpay.read_close(&attempt, &stamp, &unsigned), Reading::Told(CloseAnswer::Unknown { .. })));
    assert!(matches!(found(&unsigned), Reading::Told(Finding::Unknown { .. })));
}

#[test]
fn when_it_was_paid_is_told_by_callbacks_and_answers() {
    let paid_at = Dated::at(Instant(1_790_000_000_000));
    let good = callback();
    let Ok(Heard::Capture(notice)) = heard(&good, &good) else { panic!("a capture") };
    assert_eq!(notice.dated, paid_at);
    let number = attempt("CNY").number;
    let paid = |more: &str| {
        let body = format!(r#"{{"number":"{number}","state":"paid","captured_minor":20060,"reference":"SP1"{more}}}"#);
        match simpay().read_query(&attempt("CNY"), &stamp(), &answer(200, body)) {
            Reading::Told(Finding::Paid { dated, .. }) => dated,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(paid(r#","paid_at":1790000000000"#), paid_at);
    assert_eq!((paid(""), paid(r#","paid_at":null"#)), (Dated::NOT_TOLD, Dated::NOT_TOLD));
}

fn ask() -> RefundAsk {
    RefundAsk { reason: Some("货不对板, sold out".into()), ..refund_ask("CNY", "SP1") }
}

fn sent(answer: &Answer) -> RefundOutcome {
    simpay().read_refund(&ask(), &stamp(), answer)
}

fn found(answer: &Answer) -> RefundOutcome {
    simpay().read_refund_query(&ask(), &stamp(), answer)
}

fn refund(state: &str) -> String {
    let number = ask().refund_number;
    format!(r#"{{"refund_number":"{number}","state":"{state}","amount_minor":20060,"finished_at":1790000000123}}"#)
}

#[test]
fn a_refund_says_what_is_asked_and_why_the_same_in_every_try() {
    let body = |ask: &RefundAsk| String::from_utf8(simpay().refund(ask, &stamp()).body).unwrap();
    let (number, payment) = (ask().refund_number, ask().attempt.number);
    let expected = |reason: &str| {
        format!(
            r#"{{"refund_number":"{number}","number":"{payment}","amount_minor":20060,"currency":"CNY",{reason}"notify_url":"https://pay.example/v1/callbacks"}}"#
        )
    };
    assert_eq!(body(&ask()), expected(r#""reason":"货不对板, sold out","#));
    assert_eq!(body(&RefundAsk { reason: None, ..ask() }), expected(""));
    let long = RefundAsk { reason: Some("长".repeat(81).into()), ..ask() };
    assert_eq!(body(&long), expected(&format!(r#""reason":"{}","#, "长".repeat(80))));
    let later = Stamp { at: stamp().at.plus_ms(61_000), nonce: "another".into() };
    assert_eq!(simpay().refund(&ask(), &later).body, simpay().refund(&ask(), &stamp()).body);
}

#[test]
fn a_refund_is_what_its_state_says() {
    let dated = Dated::at(Instant(1_790_000_000_123));
    for (state, expected) in [
        ("pending", RefundOutcome::Pending { hold: Hold::Processing }),
        ("refunded", RefundOutcome::Done { reference: None, dated }),
        ("ended", RefundOutcome::Ended { code: "ended".into() }),
        ("stuck", RefundOutcome::Stuck { code: "stuck".into() }),
        ("returned", RefundOutcome::Returned { code: "returned".into(), dated }),
    ] {
        let answer = answer(200, refund(state));
        assert_eq!((sent(&answer), found(&answer)), (expected.clone(), expected), "{state}");
    }
    let undated = answer(200, refund("refunded").replace("1790000000123", "null"));
    assert_eq!(found(&undated), RefundOutcome::Done { reference: None, dated: Dated::NOT_TOLD });
    for wrong in [
        answer(200, refund("succeeded")),
        answer(200, refund("refunded").replace("20060", "20059")),
        answer(200, refund("refunded").replace(&ask().refund_number, "another")),
        answer(201, refund("refunded")),
        answer(200, "{}".into()),
        Answer { headers: Vec::new(), ..answer(200, refund("refunded")) },
        Answer { body: refund("refunded").into(), ..answer(200, refund("pending")) },
    ] {
        assert!(matches!(sent(&wrong), RefundOutcome::Unknown { .. }), "{wrong:?}");
        assert!(matches!(found(&wrong), RefundOutcome::Unknown { .. }), "{wrong:?}");
    }
}

#[test]
fn a_refused_refund_has_its_class() {
    let refused = |status, code: &str| answer(status, format!(r#"{{"code":"{code}"}}"#));
    for (status, code, class) in [
        (409, "not_enough", Rejection::Poor),
        (409, "refund_refused", Rejection::Refused),
        (422, "refund_exceeds", Rejection::Refused),
        (404, "not_exist", Rejection::Ours),
        (400, "malformed", Rejection::Ours),
        (409, "unheard_of", Rejection::Ours),
        (422, "refund_refused", Rejection::Ours),
    ] {
        assert_eq!(sent(&refused(status, code)), RefundOutcome::Rejected { class, code: code.into() }, "{status}");
        let asked = found(&refused(status, code));
        assert!(code == "not_exist" || matches!(asked, RefundOutcome::Unknown { .. }), "{code}");
    }
    assert_eq!(sent(&refused(409, "number_used")), RefundOutcome::Unknown { why: "number_used".into() });
    assert_eq!(sent(&refused(500, "not_enough")), RefundOutcome::Unknown { why: "not_enough".into() });
    assert_eq!(found(&refused(404, "not_exist")), RefundOutcome::NotExist);
    for unreadable in ["", "a\\u0000b", &"A".repeat(256)] {
        assert!(matches!(sent(&refused(409, unreadable)), RefundOutcome::Unknown { .. }), "{unreadable}");
    }
    let unsigned = Answer { headers: Vec::new(), ..refused(409, "refund_refused") };
    assert!(matches!(sent(&unsigned), RefundOutcome::Unknown { .. }));
}

fn refund_callback(state: &str) -> String {
    let (number, payment) = (ask().refund_number, ask().attempt.number);
    format!(
        r#"{{"refund_number":"{number}","number":"{payment}","state":"{state}","amount_minor":20060,"currency":"CNY","finished_at":1790000000123}}"#
    )
}

#[test]
fn a_refund_is_heard_with_what_became_of_it() {
    let dated = Dated::at(Instant(1_790_000_000_123));
    for (state, outcome) in [
        ("refunded", RefundOutcome::Done { reference: None, dated }),
        ("ended", RefundOutcome::Ended { code: "ended".into() }),
        ("returned", RefundOutcome::Returned { code: "returned".into(), dated }),
    ] {
        let word = RefundWord { amount_minor: 20_060, currency: "CNY".into(), outcome };
        let told = RefundNotice { number: ask().refund_number, word: Some(word) };
        let body = refund_callback(state);
        assert_eq!(heard(&body, &body), Ok(Heard::Refund(told)), "{state}");
        assert_eq!(heard(&body, &callback()), Err(CallbackError::Forged));
    }
    let good = refund_callback("refunded");
    let undated = good.replace("1790000000123", "null");
    assert!(matches!(heard(&undated, &undated), Ok(Heard::Refund(_))));
    for (from, to) in [
        ("refunded", "pending"),
        ("refunded", "stuck"),
        ("refunded", "succeeded"),
        ("20060", "0"),
        ("20060", "-1"),
        ("20060", "\"20060\""),
        ("CNY", "ZZZ"),
        ("\"currency\"", "\"amount_minor\":1,\"currency\""),
        ("{", "{\"event\":\"payment.succeeded\","),
        (&ask().refund_number, ""),
        (&ask().refund_number, "a\\u0000b"),
    ] {
        assert!(good.contains(from), "{from}");
        let changed = good.replacen(from, to, 1);
        assert_eq!(heard(&changed, &changed), Err(CallbackError::Unreadable), "{to}");
    }
}
