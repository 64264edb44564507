//! What a callback must not be, beside what the journeys show.

use super::*;

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

/// The row of the certainly dead table, as far as answers go.
#[test]
fn dead_is_what_was_closed_and_what_a_query_says_is_declined_or_closed() {
    let (simpay, attempt, stamp) =
        (simpay(), crate::channels::properties::attempt("CNY"), crate::channels::properties::stamp());
    let answer = |status: u16, body: String| {
        let timestamp = (stamp.at.0 / 1_000).to_string();
        let tag = simpay.sign(&["ANSWER", &status.to_string(), "default", &timestamp, &stamp.nonce], body.as_bytes());
        let headers = [
            ("simpay-timestamp", timestamp),
            ("simpay-nonce", stamp.nonce.clone()),
            ("simpay-signature", STANDARD.encode(tag.as_ref())),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Answer { status, headers, body: body.into_bytes() }
    };
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
