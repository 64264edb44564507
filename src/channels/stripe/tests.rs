//! The adapter against bodies as Stripe's documents have them.

mod callbacks;
mod refunds;

use serde_json::{Value, json};

use super::*;
use crate::channels::{NextAction, Payer};
use crate::domain::channel::Method;
use crate::domain::dated::Dated;
use crate::domain::id::{AttemptNumber, Incarnation, OrderId};
use crate::domain::money::Currency;

const SECRET: &str = "whsec_c2VjcmV0";
const NOW: Instant = Instant(1_790_000_000_000);
/// Where an intent is looked at, with the charge that tells when it was paid.
const INTENT: &str = "https://api.stripe.com/v1/payment_intents/pi_1?expand%5B%5D=latest_charge";

fn credentials() -> Credentials {
    Credentials {
        secret_key: SecretString::from("sk_test_key"),
        webhook_secrets: vec![SecretString::from("whsec_old"), SecretString::from(SECRET)],
        version: "2026-10-28.endive".into(),
    }
}

fn stripe() -> Stripe {
    Stripe::new("default", "https://api.stripe.com/", credentials()).unwrap()
}

fn number() -> AttemptNumber {
    AttemptNumber { order: OrderId::from_u128(7), ordinal: 1, incarnation: Incarnation::default() }
}

fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

fn stamp() -> Stamp {
    Stamp { at: NOW, nonce: "n0nce".into() }
}

static NOBODY: Payer = Payer { openid: None, ip: None };

fn ask() -> Ask<'static> {
    Ask {
        number: number(),
        method: Method::Card,
        payable_minor: 2000,
        currency: currency("USD"),
        description: "Tea & cake=1",
        notify_url: "https://pay.example/v1/callbacks/stripe".into(),
        return_url: Some("https://shop.example/done"),
        payer: &NOBODY,
        opened_at: NOW.plus_ms(-5_000),
        expires_at: NOW.plus_ms(3_600_000),
    }
}

fn attempted(reference: Option<&str>) -> Attempted {
    Attempted {
        number: number(),
        opened_at: NOW.plus_ms(-5_000),
        expires_at: NOW.plus_ms(3_600_000),
        arrives_by: NOW.plus_ms(4_800_000),
        payable_minor: 2000,
        currency: currency("USD"),
        reference: reference.map(Into::into),
    }
}

fn refund_ask() -> RefundAsk {
    RefundAsk {
        refund_number: crate::channels::properties::first_refund(number()),
        id: None,
        attempt: attempted(Some("pi_1")),
        reference: "pi_1".into(),
        dated_at: NOW,
        captured_minor: 2000,
        amount_minor: 500,
        reason: Some("货不对板, sold out".into()),
        notify_url: "https://pay.example/v1/callbacks/stripe".into(),
    }
}

fn intent(status: &str) -> Value {
    json!({
        "id": "pi_1", "object": "payment_intent", "status": status, "amount": 2000,
        "amount_received": if status == "succeeded" { 2000 } else { 0 },
        "currency": "usd", "client_secret": "pi_1_secret_x", "next_action": null, "last_payment_error": null,
        "livemode": false, "created": 1_790_000_000, "metadata": {"attempt": number().to_string()}
    })
}

fn with(mut value: Value, field: &str, new: Value) -> Value {
    value[field] = new;
    value
}

fn list(data: &[Value], has_more: bool) -> Value {
    json!({"object": "list", "url": "/v1/payment_intents", "has_more": has_more, "data": data})
}

fn answer(status: u16, body: &Value) -> Answer {
    raw(status, &body.to_string())
}

fn raw(status: u16, body: &str) -> Answer {
    Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

fn error(status: u16, kind: &str, code: &str) -> Answer {
    answer(status, &json!({"error": {"type": kind, "code": code, "message": "…"}}))
}

fn header<'a>(outgoing: &'a Outgoing, name: &str) -> Option<&'a str> {
    outgoing.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

fn call(submission: Submission) -> Outgoing {
    match submission {
        Submission::Call(outgoing) => outgoing,
        Submission::Carried(submitted) => panic!("carried: {submitted:?}"),
    }
}

fn submit_outcome(answer: &Answer) -> SendOutcome {
    let stripe = stripe();
    stripe.read_submit(&stripe.freeze(&ask()), &stamp(), answer).outcome
}

fn found(attempt: &Attempted, answer: &Answer) -> Finding {
    match stripe().read_query(attempt, &stamp(), answer) {
        Reading::Told(finding) => finding,
        Reading::Ask(outgoing) => panic!("asks on: {outgoing:?}"),
    }
}

fn closed(attempt: &Attempted, answer: &Answer) -> CloseAnswer {
    match stripe().read_close(attempt, &stamp(), answer) {
        Reading::Told(answer) => answer,
        Reading::Ask(outgoing) => panic!("asks on: {outgoing:?}"),
    }
}

fn is_unknown(finding: &Finding) -> bool {
    matches!(finding, Finding::Unknown { .. })
}

#[test]
fn a_create_says_what_the_document_asks_for_and_every_send_repeats_it() {
    let stripe = stripe();
    let frozen = stripe.freeze(&ask());
    let first = call(stripe.submit(&frozen, &stamp()));
    assert_eq!((first.verb, first.url.as_str()), (Verb::Post, "https://api.stripe.com/v1/payment_intents"));
    assert_eq!(
        std::str::from_utf8(&first.body).unwrap(),
        format!(
            "amount=2000&currency=usd&description=Tea+%26+cake%3D1&metadata%5Battempt%5D={}&automatic_payment_methods%5Benabled%5D=true",
            number()
        )
    );
    assert_eq!(header(&first, "authorization"), Some("Bearer sk_test_key"));
    assert_eq!(header(&first, "stripe-version"), Some("2026-10-28.endive"));
    assert_eq!(header(&first, "idempotency-key"), Some(number().to_string().as_str()));
    assert_eq!(header(&first, "content-type"), Some("application/x-www-form-urlencoded"));
    let later = Stamp { at: NOW.plus_ms(60_000), nonce: "other".into() };
    assert_eq!(call(stripe.submit(&frozen, &later)), first);
    assert!(!format!("{first:?}").contains("sk_test"), "{first:?}");
}

/// `payment_method_types` is refused by the version that is built in, and what replaced it is unknown to older ones.
#[test]
fn a_create_is_the_same_in_every_version() {
    let body = |version: &str| {
        let credentials = Credentials { version: version.into(), ..credentials() };
        let stripe = Stripe::new("default", "https://api.stripe.com", credentials).unwrap();
        call(stripe.submit(&stripe.freeze(&ask()), &stamp())).body
    };
    let newest = body(crate::config::accounts::STRIPE_VERSION);
    assert_eq!(body("2023-08-16"), newest);
    assert!(!String::from_utf8_lossy(&newest).contains("types"));
}

#[test]
fn what_cannot_be_asked_for_is_refused_for_certain_without_a_call() {
    let stripe = stripe();
    for (ask, expected) in [
        (Ask { currency: currency("BHD"), ..ask() }, "currency_unsupported"),
        (Ask { payable_minor: 100_000_000, ..ask() }, "amount_unsupported"),
        (Ask { method: Method::Qr, ..ask() }, "method_unsupported"),
    ] {
        match stripe.submit(&stripe.freeze(&ask), &stamp()) {
            Submission::Carried(Submitted { outcome: SendOutcome::Impossible { code }, next_action: None }) => {
                assert_eq!(&*code, expected);
            }
            other => panic!("{other:?}"),
        }
    }
    let yen = stripe.freeze(&Ask { currency: currency("JPY"), payable_minor: 500, ..ask() });
    assert!(call(stripe.submit(&yen, &stamp())).body.starts_with(b"amount=500&currency=jpy&"));
}

#[test]
fn an_intent_is_paid_by_the_browser_with_its_secret_or_at_an_address() {
    let stripe = stripe();
    let frozen = stripe.freeze(&ask());
    let read = |body: &Value| stripe.read_submit(&frozen, &stamp(), &answer(200, body));
    let reference = SendOutcome::Accepted { reference: Some("pi_1".into()) };

    let submitted = read(&intent("requires_payment_method"));
    assert_eq!(submitted.outcome, reference);
    let Some(NextAction::Client { parameters, expires_at }) = submitted.next_action else { panic!("no parameters") };
    assert_eq!(parameters["client_secret"], "pi_1_secret_x");
    assert_eq!(parameters["payment_intent"], "pi_1");
    assert_eq!(parameters["return_url"], "https://shop.example/done");
    assert_eq!(expires_at, ask().expires_at);

    let redirect = json!({"type": "redirect_to_url", "redirect_to_url": {"url": "https://hooks.stripe.com/r"}});
    let submitted = read(&with(intent("requires_action"), "next_action", redirect));
    assert_eq!(submitted.outcome, reference);
    assert_eq!(
        submitted.next_action,
        Some(NextAction::Redirect { url: "https://hooks.stripe.com/r".into(), expires_at: ask().expires_at })
    );

    let nowhere = json!({"type": "redirect_to_url", "redirect_to_url": {"url": null, "return_url": null}});
    let submitted = read(&with(intent("requires_action"), "next_action", nowhere));
    assert!(matches!(submitted.next_action, Some(NextAction::Client { .. })), "by its secret, then");

    let paid = read(&intent("succeeded"));
    assert_eq!(
        paid.outcome,
        SendOutcome::Paid { reference: "pi_1".into(), amount_minor: 2000, dated: Dated::NOT_TOLD }
    );
    assert_eq!(read(&intent("processing")), Submitted { outcome: reference, next_action: None });
}

#[test]
fn an_answer_that_is_not_the_intent_asked_for_leaves_the_send_unknown() {
    let secretless = with(intent("requires_payment_method"), "client_secret", Value::Null);
    let bodies = [
        with(intent("requires_payment_method"), "amount", json!(1999)),
        with(intent("requires_payment_method"), "amount", json!("2000")),
        with(intent("requires_payment_method"), "amount", json!(2e3)),
        with(intent("requires_payment_method"), "currency", json!("eur")),
        with(intent("requires_payment_method"), "metadata", json!({"attempt": "another"})),
        with(intent("requires_payment_method"), "metadata", json!({})),
        with(intent("requires_payment_method"), "id", json!("pi_1/../x")),
        with(intent("requires_payment_method"), "object", json!("charge")),
        with(intent("succeeded"), "amount_received", json!(0)),
        secretless,
        intent("canceled"),
        intent("requires_capture"),
        intent("a_new_status"),
        list(&[intent("succeeded")], false),
        json!([]),
    ];
    for body in bodies {
        assert!(matches!(submit_outcome(&answer(200, &body)), SendOutcome::Unknown { .. }), "{body}");
    }
    let twice = intent("succeeded").to_string().replacen("\"amount\":2000", "\"amount\":1,\"amount\":2000", 1);
    assert!(matches!(submit_outcome(&raw(200, &twice)), SendOutcome::Unknown { .. }));
    let whole = intent("succeeded").to_string();
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        assert!(matches!(submit_outcome(&raw(200, &whole[..cut])), SendOutcome::Unknown { .. }));
    }
    // A redirect, a proxy's page, and an answer with the right words under the wrong status.
    for (status, body) in [(302, ""), (403, "<html>"), (502, "bad gateway"), (201, whole.as_str()), (402, &whole)] {
        assert!(matches!(submit_outcome(&raw(status, body)), SendOutcome::Unknown { .. }), "{status}");
    }
}

#[test]
fn a_refusal_is_certain_only_where_the_document_says_so() {
    let declined = answer(
        402,
        &json!({"error": {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds",
            "payment_intent": intent("requires_payment_method")}}),
    );
    assert_eq!(
        submit_outcome(&declined),
        SendOutcome::Rejected { fault: Fault::Payment, code: "insufficient_funds".into() }
    );
    assert_eq!(
        submit_outcome(&error(401, "invalid_request_error", "api_key_expired")),
        SendOutcome::Rejected { fault: Fault::Ours, code: "api_key_expired".into() }
    );
    assert_eq!(
        submit_outcome(&error(429, "invalid_request_error", "rate_limit")),
        SendOutcome::Later { why: "rate_limit".into() }
    );
    for status in [409, 424, 500, 502, 503, 504] {
        let outcome = submit_outcome(&error(status, "api_error", "something"));
        assert_eq!(outcome, SendOutcome::Unknown { why: "something".into() }, "{status}");
    }
    let shouting = error(400, "invalid_request_error", "<script>");
    assert_eq!(
        submit_outcome(&shouting),
        SendOutcome::Rejected { fault: Fault::Payment, code: "unreadable_code".into() }
    );
}

#[test]
fn trap_11_a_number_with_changed_parameters_is_our_fault() {
    let refused = error(400, "idempotency_error", "idempotency_key_reused");
    assert_eq!(
        submit_outcome(&refused),
        SendOutcome::Rejected { fault: Fault::Ours, code: "idempotency_key_reused".into() }
    );
    // So every send is the first one, under the same key.
    let stripe = stripe();
    let frozen = stripe.freeze(&ask());
    let later = Stamp { at: NOW.plus_ms(60_000), nonce: "an0ther".into() };
    let [first, second] = [stamp(), later].map(|stamp| call(stripe.submit(&frozen, &stamp)));
    assert_eq!(first, second);
    assert_eq!(header(&first, "idempotency-key"), Some(number().to_string().as_str()));
}

#[test]
fn a_query_tells_the_status_of_the_attempts_own_intent() {
    let attempt = attempted(Some("pi_1"));
    let outgoing = stripe().query(&attempt, &stamp());
    assert_eq!((outgoing.verb, outgoing.url.as_str()), (Verb::Get, INTENT));
    assert_eq!(header(&outgoing, "idempotency-key"), None);

    let status = |status: &str| found(&attempt, &answer(200, &intent(status)));
    for open in
        ["requires_payment_method", "requires_confirmation", "requires_action", "processing", "requires_capture"]
    {
        assert_eq!(status(open), Finding::Pending, "{open}");
    }
    assert_eq!(
        status("succeeded"),
        Finding::Paid { reference: "pi_1".into(), amount_minor: 2000, dated: Dated::NOT_TOLD }
    );
    assert_eq!(status("canceled"), Finding::Closed);
    assert!(is_unknown(&status("a_new_status")));
    // One declined card ends nothing; the cap on tries does.
    let last_error = json!({"type": "card_error"});
    let tried = |status: &str| with(intent(status), "last_payment_error", last_error.clone());
    assert_eq!(found(&attempt, &answer(200, &tried("requires_payment_method"))), Finding::Pending);
    assert_eq!(found(&attempt, &answer(200, &tried("canceled"))), Finding::Declined);
}

/// By its charge, where that was expanded: the intent is as old as its attempt.
#[test]
fn a_payment_is_as_old_as_its_charge() {
    let dated = |charge: Value| {
        let paid = with(intent("succeeded"), "latest_charge", charge);
        let Finding::Paid { dated, .. } = found(&attempted(Some("pi_1")), &answer(200, &paid)) else {
            panic!("{paid}")
        };
        let SendOutcome::Paid { dated: of_create, .. } = submit_outcome(&answer(200, &paid)) else { panic!("{paid}") };
        assert_eq!(dated, of_create);
        dated
    };
    let charge = json!({"id": "ch_1", "object": "charge", "created": 1_790_000_123, "amount": 2000, "paid": true});
    assert_eq!(dated(charge.clone()), Dated::at(Instant(1_790_000_123_000)));
    for untold in [
        json!("ch_1"),
        Value::Null,
        json!({"id": "ch_1"}),
        with(charge.clone(), "created", json!("1790000123")),
        with(charge, "created", json!(i64::MAX)),
    ] {
        assert_eq!(dated(untold.clone()), Dated::NOT_TOLD, "{untold}");
    }
}

#[test]
fn a_paid_finding_needs_the_right_intent_an_amount_and_the_orders_currency() {
    let attempt = attempted(Some("pi_1"));
    for body in [
        with(intent("succeeded"), "currency", json!("eur")),
        with(intent("succeeded"), "currency", json!("USD")),
        with(intent("succeeded"), "amount_received", json!(0)),
        with(intent("succeeded"), "amount_received", json!(-1)),
        with(intent("succeeded"), "metadata", json!({"attempt": "another"})),
        with(intent("succeeded"), "id", json!("pi_2")),
        with(intent("canceled"), "amount_received", json!(5)),
    ] {
        assert!(is_unknown(&found(&attempt, &answer(200, &body))), "{body}");
    }
    // Less than was asked is told as it is: the order decides.
    let short = with(intent("succeeded"), "amount_received", json!(1999));
    assert_eq!(
        found(&attempt, &answer(200, &short)),
        Finding::Paid { reference: "pi_1".into(), amount_minor: 1999, dated: Dated::NOT_TOLD }
    );
    for status in [400, 401, 403, 404, 409, 429, 500, 503] {
        let refused = error(status, "invalid_request_error", "resource_missing");
        assert!(is_unknown(&found(&attempt, &refused)), "{status}");
    }
}

#[test]
fn without_an_id_the_intent_is_found_by_its_metadata() {
    let stripe = stripe();
    let attempt = attempted(None);
    let outgoing = stripe.query(&attempt, &stamp());
    assert_eq!(
        outgoing.url,
        "https://api.stripe.com/v1/payment_intents?created%5Bgte%5D=1789999695&created%5Blte%5D=1790000300&limit=40"
    );
    // Long after its end: as long as a send may have been on its way, and not for ever.
    let late = Stamp { at: attempt.expires_at.plus_ms(24 * 3_600_000), ..stamp() };
    let last_s = attempt.expires_at.0 / 1_000 + 20 * 60 + 300;
    assert!(stripe.query(&attempt, &late).url.contains(&format!("created%5Blte%5D={last_s}&")));
    let other = |id: &str| with(with(intent("succeeded"), "metadata", json!({"attempt": "other"})), "id", json!(id));
    let nameless = with(intent("succeeded"), "metadata", json!({}));
    let page = |data: &[Value], has_more| answer(200, &list(data, has_more));

    // It is looked at by itself, with the charge that tells when it was paid.
    let asks = |data: &[Value], has_more| match stripe.read_query(&attempt, &stamp(), &page(data, has_more)) {
        Reading::Ask(next) => next.url,
        Reading::Told(finding) => panic!("{finding:?}"),
    };
    assert_eq!(asks(&[other("pi_9"), nameless, intent("succeeded")], true), INTENT);
    let paid = Finding::Paid { reference: "pi_1".into(), amount_minor: 2000, dated: Dated::NOT_TOLD };
    assert_eq!(found(&attempt, &answer(200, &intent("succeeded"))), paid);
    assert_eq!(found(&attempt, &page(&[other("pi_9"), intent("processing")], true)), Finding::Pending);
    assert_eq!(found(&attempt, &page(&[other("pi_9")], false)), Finding::NotExist);
    assert_eq!(found(&attempt, &page(&[], false)), Finding::NotExist);
    assert!(is_unknown(&found(&attempt, &page(&[], true))));
    let dead = with(intent("canceled"), "id", json!("pi_0"));
    assert_eq!(asks(&[dead, intent("succeeded")], false), INTENT);

    // While the create can be sent again it finds the intent by its key; only after its end all must be looked through.
    let elsewhere = page(&[other("pi_9"), other("pi_8")], true);
    assert_eq!(found(&attempt, &elsewhere), Finding::NotExist);
    match stripe.read_query(&attempt, &late, &elsewhere) {
        Reading::Ask(next) => {
            assert_eq!(next.url, format!("{}&starting_after=pi_8", stripe.query(&attempt, &late).url));
        }
        Reading::Told(finding) => panic!("{finding:?}"),
    }
    // A stored name that could lead elsewhere is not put into a path.
    assert_eq!(stripe.query(&attempted(Some("pi_1/../../x")), &stamp()).url, outgoing.url);
}

#[test]
fn a_close_is_a_cancel_that_only_the_intent_confirms() {
    let stripe = stripe();
    let attempt = attempted(Some("pi_1"));
    let cancel = stripe.close(&attempt, &stamp()).unwrap();
    assert_eq!(cancel.url, "https://api.stripe.com/v1/payment_intents/pi_1/cancel");
    assert_eq!(cancel.body, b"cancellation_reason=abandoned");
    assert_eq!(header(&cancel, "idempotency-key"), Some("n0nce"));

    assert_eq!(closed(&attempt, &answer(200, &intent("canceled"))), CloseAnswer::Closed);
    assert_eq!(closed(&attempt, &answer(200, &intent("succeeded"))), CloseAnswer::AlreadyPaid);
    for body in [intent("processing"), with(intent("canceled"), "id", json!("pi_2"))] {
        assert!(matches!(closed(&attempt, &answer(200, &body)), CloseAnswer::Unknown { .. }), "{body}");
    }
    assert!(matches!(closed(&attempt, &error(500, "api_error", "x")), CloseAnswer::Unknown { .. }));
    // A refusal says nothing of why; the intent is looked at.
    let refused = error(400, "invalid_request_error", "payment_intent_unexpected_state");
    match stripe.read_close(&attempt, &stamp(), &refused) {
        Reading::Ask(next) => {
            assert_eq!((next.verb, next.url.as_str()), (Verb::Get, INTENT));
        }
        Reading::Told(answer) => panic!("{answer:?}"),
    }
}

#[test]
fn without_an_id_a_close_looks_for_the_intent_first() {
    let stripe = stripe();
    let attempt = attempted(None);
    assert_eq!(stripe.close(&attempt, &stamp()), Some(stripe.query(&attempt, &stamp())));
    let page = |data: &[Value]| answer(200, &list(data, false));
    match stripe.read_close(&attempt, &stamp(), &page(&[intent("requires_payment_method")])) {
        Reading::Ask(next) => assert_eq!(next, stripe.close(&attempted(Some("pi_1")), &stamp()).unwrap()),
        Reading::Told(answer) => panic!("{answer:?}"),
    }
    assert_eq!(closed(&attempt, &page(&[intent("canceled")])), CloseAnswer::Closed);
    assert_eq!(closed(&attempt, &page(&[intent("succeeded")])), CloseAnswer::AlreadyPaid);
    assert_eq!(closed(&attempt, &page(&[])), CloseAnswer::NotExist);
    let refused = answer(
        400,
        &json!({"error": {"type": "invalid_request_error", "code": "payment_intent_unexpected_state",
            "payment_intent": intent("succeeded")}}),
    );
    match stripe.read_close(&attempt, &stamp(), &refused) {
        Reading::Ask(next) => assert_eq!(next.url, INTENT),
        Reading::Told(answer) => panic!("{answer:?}"),
    }
}

/// What is certain of an attempt that no list shows rests on this.
#[test]
fn no_create_leaves_after_the_attempt_s_end() {
    let (stripe, frozen) = (stripe(), stripe().freeze(&ask()));
    let at = |at| Stamp { at, ..stamp() };
    assert!(matches!(stripe.submit(&frozen, &at(ask().expires_at.plus_ms(-1))), Submission::Call(_)));
    for late_ms in [0, 1, 24 * 3_600_000] {
        match stripe.submit(&frozen, &at(ask().expires_at.plus_ms(late_ms))) {
            Submission::Carried(Submitted { outcome: SendOutcome::HeldBack { .. }, next_action: None }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn malformed_credentials_are_named_and_not_shown() {
    type Change = fn(&mut Credentials);
    let changed: [(&str, Change); 6] = [
        ("secret_key", |known| known.secret_key = SecretString::from("pk_live_hidden")),
        ("secret_key", |known| known.secret_key = SecretString::from("sk_hidden\n")),
        ("webhook_secrets", |known| known.webhook_secrets.clear()),
        ("webhook_secrets", |known| known.webhook_secrets = vec![SecretString::from("hidden")]),
        ("webhook_secrets", |known| known.webhook_secrets = vec![SecretString::from("whsec_")]),
        ("version", |known| known.version = "hidden\r\n".into()),
    ];
    for (named, change) in changed {
        let mut known = credentials();
        change(&mut known);
        let error = Stripe::new("default", "https://api.stripe.com", known).err().unwrap();
        assert!(error.contains(named) && !error.contains("hidden"), "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_adapter_panic(status in 100u16..600, body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let (stripe, attempt) = (stripe(), attempted(None));
        let answer = Answer { status, headers: Vec::new(), body };
        let _ = stripe.read_submit(&stripe.freeze(&ask()), &stamp(), &answer);
        let _ = stripe.read_query(&attempt, &stamp(), &answer);
        let _ = stripe.read_close(&attempt, &stamp(), &answer);
        let _ = stripe.read_refund_query(&refund_ask(), &stamp(), &answer);
        let _ = callbacks::hear_signed(&answer.body);
        let _ = bill::read(&answer.body, &mut HashSet::new());
    }

    #[test]
    fn no_header_makes_the_reader_panic(header in "\\PC{0,120}") {
        let _ = callbacks::hear(&header, b"{}", NOW);
    }
}

/// The row of the certainly dead table, as far as answers go: `canceled`, by a cancel or a GET, or a refused create.
#[test]
fn dead_is_what_is_canceled_and_what_was_refused_for_certain() {
    let attempt = attempted(Some("pi_1"));
    let canceled = answer(200, &intent("canceled"));
    assert_eq!((closed(&attempt, &canceled), found(&attempt, &canceled)), (CloseAnswer::Closed, Finding::Closed));
    let open = answer(200, &intent("requires_payment_method"));
    assert!(matches!(closed(&attempt, &open), CloseAnswer::Unknown { .. }), "a cancel that did not cancel");
    assert_eq!(found(&attempt, &open), Finding::Pending);
    let refused = submit_outcome(&error(402, "card_error", "card_declined"));
    assert!(matches!(refused, SendOutcome::Rejected { fault: Fault::Payment, .. }));
}

/// Live keys, whole and restricted, and the signing secret of an endpoint, as long as the dashboard makes them; and an id
/// of the length that Stripe reserves for its own.
#[test]
fn report_credentials_and_ids_are_taken_in_their_production_form() {
    for kind in ["sk", "rk"] {
        let taken = Credentials {
            secret_key: SecretString::from(format!("{kind}_live_51{}", "Ab3".repeat(32))),
            webhook_secrets: vec![SecretString::from(format!("whsec_{}", "Ab3d".repeat(8)))],
            version: "2026-10-28.endive".into(),
        };
        assert!(Stripe::new("default", "https://api.stripe.com", taken).is_ok(), "{kind}");
    }
    for (length, is_id) in [(27, true), (255, true), (256, false)] {
        let id = format!("pi_{}", "3".repeat(length - 3));
        assert_eq!(objects::is_id(&id, "pi_"), is_id, "{length}");
        assert_eq!(crate::channels::is_name(&id), is_id, "{length}");
    }
}
