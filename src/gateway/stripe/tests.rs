//! Calls against books in a folder of their own; the payer acts when a test says so.

mod refunds;

use std::path::{Path, PathBuf};

use super::*;
use crate::gateway::agenda::PaymentId;
use crate::gateway::books::{Capture, Notice};

const NOW: i64 = 1_790_000_000_123;
/// When the payer who acts by the machine's clock has acted, and refunds of `NOW` are done.
const LATER: i64 = 4_000_000_000_000;
const ATTEMPT: &str = "01JG00048HE8H86CT48HANASK600";

struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        Folder(std::env::temp_dir().join(format!("tongbao-stripe-{test}-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind in the system's folder for such things harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(folder: &Path) -> Gateway {
    let mut config = Config::load(&[]).expect("the defaults");
    config.data.dir = folder.to_path_buf();
    config.channels.retain(|name, _| name == "stripe");
    Gateway::open(&config).expect("a gateway")
}

fn account(gateway: &Gateway) -> AccountId {
    gateway.stripe.merchants[0].account
}

fn outcome(gateway: &Gateway, call: Call<'_>, form: &str, key: Option<&str>) -> Outcome {
    outcome_at(gateway, call, form, key, NOW)
}

fn outcome_at(gateway: &Gateway, call: Call<'_>, form: &str, key: Option<&str>, now: i64) -> Outcome {
    answer(gateway, &Asking { account: account(gateway), call, form: form.as_bytes(), key, now })
}

/// The status and the body of an answer.
fn ask(gateway: &Gateway, call: Call<'_>, form: &str, key: Option<&str>) -> (u16, Value) {
    let reply = outcome(gateway, call, form, key).reply;
    (reply.status, serde_json::from_str(&reply.body).expect("JSON"))
}

/// The same at another instant, without a key.
fn ask_at(gateway: &Gateway, call: Call<'_>, form: &str, now: i64) -> (u16, Value) {
    let reply = outcome_at(gateway, call, form, None, now).reply;
    (reply.status, serde_json::from_str(&reply.body).expect("JSON"))
}

fn form(description: &str) -> String {
    format!(
        "amount=2000&currency=usd&automatic_payment_methods[enabled]=true&metadata[attempt]={ATTEMPT}&description={description}"
    )
}

/// Makes an intent and gives its id.
fn made(gateway: &Gateway, description: &str) -> String {
    let (status, intent) = ask(gateway, Call::CreateIntent, &form(description), Some(ATTEMPT));
    assert_eq!(status, 200, "{intent}");
    intent["id"].as_str().expect("an id").to_owned()
}

fn payer_acts(gateway: &Gateway) {
    gateway.payer_acts(PaymentId { account: account(gateway), number: ATTEMPT.into() });
}

fn error(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or("none"))
}

#[test]
fn an_intent_waits_for_its_payer_and_is_paid() {
    let folder = Folder::new("paid");
    let gateway = open(&folder.0);
    let (_, intent) = ask(&gateway, Call::CreateIntent, &form("Tea"), Some(ATTEMPT));
    assert_eq!((&intent["status"], &intent["amount"]), (&"requires_payment_method".into(), &2_000.into()));
    assert_eq!(intent["metadata"]["attempt"], ATTEMPT);
    let id = intent["id"].as_str().expect("an id");
    assert!(intent["client_secret"].as_str().expect("a secret").starts_with(&format!("{id}_secret_")));
    payer_acts(&gateway);
    let (status, paid) = ask(&gateway, Call::RetrieveIntent(id), "", None);
    assert_eq!((status, &paid["status"], &paid["amount_received"]), (200, &"succeeded".into(), &2_000.into()));
    assert!(paid["latest_charge"].as_str().expect("a charge").starts_with("ch_"));
    assert_eq!(error(&ask(&gateway, Call::RetrieveIntent("pi_x"), "", None)), (404, "resource_missing"));
    let line = gateway.books.order_line(ATTEMPT, NOW).expect("it goes by the attempt's number");
    assert_eq!(line.captured_minor, 2_000);
}

#[test]
fn a_key_repeats_the_first_answer() {
    let folder = Folder::new("key");
    let gateway = open(&folder.0);
    let first = outcome(&gateway, Call::CreateIntent, &form("Tea"), Some("k"));
    payer_acts(&gateway);
    let again = outcome(&gateway, Call::CreateIntent, &form("Tea"), Some("k"));
    assert_eq!((again.reply, again.replayed), (first.reply, true), "as it was, not as it is");
    let other = ask(&gateway, Call::CreateIntent, &form("Coffee"), Some("k"));
    assert_eq!((other.0, &other.1["error"]["type"]), (400, &"idempotency_error".into()));
    let elsewhere = ask(&gateway, Call::CreateRefund, "payment_intent=pi_x", Some("k"));
    assert_eq!(elsewhere.1["error"]["type"], "idempotency_error");
    let malformed = ask(&gateway, Call::CreateIntent, "amount=0&currency=usd", Some("m"));
    assert_eq!(malformed.0, 400);
    let mended = ask(&gateway, Call::CreateIntent, "amount=100&currency=usd", Some("m"));
    assert_eq!(mended.0, 200, "a request that did not begin leaves its key free");
    assert_eq!(ask(&gateway, Call::CreateIntent, &form("Tea"), Some(&"k".repeat(256))).0, 400);
}

#[test]
fn keys_outlive_a_restart() {
    let folder = Folder::new("restart");
    let gateway = open(&folder.0);
    let intent = outcome(&gateway, Call::CreateIntent, &form("Tea"), Some("k")).reply;
    payer_acts(&gateway);
    let refund_form = format!("payment_intent={}", serde_json::from_str::<Value>(&intent.body).expect("JSON")["id"]);
    let refund_form = refund_form.replace('"', "");
    let refund = outcome(&gateway, Call::CreateRefund, &refund_form, Some("r")).reply;
    assert_eq!(refund.status, 200, "{}", refund.body);
    gateway.books.seal();
    drop(gateway);
    let gateway = open(&folder.0);
    gateway.stripe.recall(&gateway.books, NOW);
    assert_eq!(outcome(&gateway, Call::CreateIntent, &form("Tea"), Some("k")).reply, intent);
    assert_eq!(outcome(&gateway, Call::CreateRefund, &refund_form, Some("r")).reply, refund);
    assert_eq!(ask(&gateway, Call::CreateIntent, &form("Coffee"), Some("k")).0, 400);
}

#[test]
fn another_key_makes_another_intent_for_the_same_attempt() {
    let folder = Folder::new("second");
    let gateway = open(&folder.0);
    let first = made(&gateway, "Tea");
    let (status, second) = ask(&gateway, Call::CreateIntent, &form("Tea"), Some("another"));
    assert_eq!(status, 200);
    assert_ne!(second["id"], first.as_str());
    let (_, list) = ask(&gateway, Call::ListIntents, &format!("created[gte]={}", NOW / 1_000), None);
    assert_eq!(list["data"].as_array().map(Vec::len), Some(2));
}

#[test]
fn scripts_befall_an_intent_as_far_as_the_protocol_can_tell() {
    let folder = Folder::new("scripts");
    let gateway = open(&folder.0.join("refuse"));
    for _ in 0..2 {
        let refused = ask(&gateway, Call::CreateIntent, &form("sim:refuse"), Some("k"));
        assert_eq!(error(&refused), (402, "card_declined"));
    }

    let gateway = open(&folder.0.join("error"));
    let first = outcome(&gateway, Call::CreateIntent, &form("sim:error"), Some("k"));
    assert_eq!(first.fault.conduct, Conduct::Fails);
    let (status, again) = ask(&gateway, Call::CreateIntent, &form("sim:error"), Some("k"));
    assert_eq!((status, &again["error"]["type"]), (500, &"api_error".into()), "a 500 is repeated");
    let (_, list) = ask(&gateway, Call::ListIntents, &format!("created[gte]={}", NOW / 1_000), None);
    assert_eq!(list["data"][0]["metadata"]["attempt"], ATTEMPT, "and yet it took effect");

    let gateway = open(&folder.0.join("hang"));
    let hung = outcome(&gateway, Call::CreateIntent, &form("sim:hang"), Some("k"));
    assert_eq!(hung.fault.conduct, Conduct::Hangs);
    let again = outcome(&gateway, Call::CreateIntent, &form("sim:hang"), Some("k"));
    assert_eq!((again.reply.status, again.fault.conduct), (200, Conduct::Answers));

    let gateway = open(&folder.0.join("decline"));
    let id = made(&gateway, "sim:decline");
    payer_acts(&gateway);
    let (_, declined) = ask(&gateway, Call::RetrieveIntent(&id), "", None);
    assert_eq!((&declined["status"], &declined["cancellation_reason"]), (&"canceled".into(), &"automatic".into()));
    assert_eq!(declined["last_payment_error"]["code"], "card_declined");

    let gateway = open(&folder.0.join("underpay"));
    let id = made(&gateway, "sim:underpay");
    payer_acts(&gateway);
    let (_, short) = ask(&gateway, Call::RetrieveIntent(&id), "", None);
    assert_eq!((&short["status"], &short["amount_received"]), (&"succeeded".into(), &1_999.into()));

    let gateway = open(&folder.0.join("late"));
    let id = made(&gateway, "sim:late");
    payer_acts(&gateway);
    let (status, closed) = ask(&gateway, Call::CancelIntent(&id), "", Some("c"));
    assert_eq!((status, &closed["status"]), (200, &"canceled".into()));
    payer_acts(&gateway);
    assert_eq!(ask(&gateway, Call::RetrieveIntent(&id), "", None).1["status"], "succeeded");
}

#[test]
fn an_intent_is_cancelled_once_and_not_after_it_was_paid() {
    let folder = Folder::new("cancel");
    let gateway = open(&folder.0.join("open"));
    let id = made(&gateway, "Tea");
    let (status, cancelled) = ask(&gateway, Call::CancelIntent(&id), "cancellation_reason=abandoned", Some("c"));
    assert_eq!((status, &cancelled["status"]), (200, &"canceled".into()));
    assert_eq!(cancelled["cancellation_reason"], "abandoned");
    let again = ask(&gateway, Call::CancelIntent(&id), "", Some("d"));
    assert_eq!(error(&again), (400, "payment_intent_unexpected_state"));
    assert_eq!(again.1["error"]["payment_intent"]["status"], "canceled");
    payer_acts(&gateway);
    assert_eq!(ask(&gateway, Call::RetrieveIntent(&id), "", None).1["amount_received"], 0);
    assert_eq!(ask(&gateway, Call::CancelIntent(&id), "cancellation_reason=whim", None).0, 400);

    let gateway = open(&folder.0.join("paid"));
    let id = made(&gateway, "Tea");
    payer_acts(&gateway);
    let refused = ask(&gateway, Call::CancelIntent(&id), "", Some("c"));
    assert_eq!(error(&refused), (400, "payment_intent_unexpected_state"));
    assert_eq!(refused.1["error"]["payment_intent"]["status"], "succeeded");
}

#[test]
fn a_confirmed_intent_sends_the_payer_to_a_page() {
    let folder = Folder::new("confirm");
    let gateway = open(&folder.0);
    let id = made(&gateway, "Tea");
    let confirm = "payment_method=pm_card_visa&return_url=https%3A%2F%2Fshop.example%2Fdone";
    let (status, intent) = ask(&gateway, Call::ConfirmIntent(&id), confirm, Some("c"));
    assert_eq!((status, &intent["status"]), (200, &"requires_action".into()));
    assert_eq!(intent["next_action"]["redirect_to_url"]["return_url"], "https://shop.example/done");
    payer_acts(&gateway);
    let (_, paid) = ask(&gateway, Call::RetrieveIntent(&id), "", None);
    assert_eq!((&paid["status"], &paid["next_action"]), (&"succeeded".into(), &Value::Null));
    let late = ask(&gateway, Call::ConfirmIntent(&id), confirm, Some("d"));
    assert_eq!(error(&late), (400, "payment_intent_unexpected_state"));
    let at_once = "amount=100&currency=eur&confirm=true&payment_method=pm_card_visa";
    assert_eq!(ask(&gateway, Call::CreateIntent, at_once, None).1["status"], "requires_action");
}

#[test]
fn malformed_requests_are_refused() {
    let folder = Folder::new("malformed");
    let gateway = open(&folder.0);
    let table = [
        ("currency=usd", "parameter_missing"),
        ("amount=100", "parameter_missing"),
        ("amount=49&currency=usd", "amount_too_small"),
        ("amount=100000000&currency=usd", "amount_too_large"),
        ("amount=20.00&currency=usd", "parameter_invalid_integer"),
        ("amount=100&currency=USD", "parameter_invalid"),
        ("amount=100&currency=bhd", "parameter_invalid"),
        ("amount=100&currency=usd&colour=red", "parameter_unknown"),
        ("amount=100&amount=100&currency=usd", "parameter_invalid"),
        ("amount=100&currency=usd&confirm=true", "parameter_missing"),
        ("amount=100&currency=usd&capture_method=manual", "parameter_invalid"),
        ("amount=100&currency=usd&payment_method=pm_x&return_url=https%3A%2F%2Fa", "none"),
        ("amount=100&currency=usd&payment_method_types[]=card&automatic_payment_methods[enabled]=true", "none"),
        ("amount=100&currency=usd&allowed_payment_method_types[]=card&automatic_payment_methods[enabled]=true", "none"),
        ("amount=100&currency=usd&allowed_payment_method_types[]=card&payment_method_types[]=card", "none"),
    ];
    for (form, code) in table {
        assert_eq!(error(&ask(&gateway, Call::CreateIntent, form, None)), (400, code), "{form}");
    }
    let (_, list) = ask(&gateway, Call::ListIntents, "", None);
    assert_eq!(list["data"].as_array().map(Vec::len), Some(0));
}

#[test]
fn refunds_never_exceed_what_was_captured() {
    let folder = Folder::new("refunds");
    let gateway = open(&folder.0);
    let id = made(&gateway, "Tea");
    let form = |amount: &str| format!("payment_intent={id}{amount}&metadata[refund_number]=R1");
    assert_eq!(error(&ask(&gateway, Call::CreateRefund, &form(""), None)), (400, "none"), "not paid yet");
    payer_acts(&gateway);
    let (status, part) = ask(&gateway, Call::CreateRefund, &form("&amount=500"), Some("a"));
    assert_eq!((status, &part["status"], &part["amount"]), (200, &"pending".into(), &500.into()));
    assert_eq!(ask(&gateway, Call::CreateRefund, &form("&amount=500"), Some("a")).1["id"], part["id"]);
    assert_eq!(error(&ask(&gateway, Call::CreateRefund, &form("&amount=1501"), Some("b"))), (400, "none"));
    let charge = part["charge"].as_str().expect("a charge");
    let rest = ask(&gateway, Call::CreateRefund, &format!("charge={charge}"), Some("c"));
    assert_eq!(rest.1["amount"], 1_500);
    let over = ask(&gateway, Call::CreateRefund, &form(""), Some("d"));
    assert_eq!(error(&over), (400, "charge_already_refunded"));
    let refund_id = part["id"].as_str().expect("an id");
    assert_eq!(ask(&gateway, Call::RetrieveRefund(refund_id), "", None).1, part);
    let (_, list) = ask(&gateway, Call::ListRefunds, &format!("payment_intent={id}"), None);
    assert_eq!(list["data"].as_array().map(Vec::len), Some(2));
    let (_, other) = ask(&gateway, Call::ListRefunds, "payment_intent=pi_x", None);
    assert_eq!(other["data"].as_array().map(Vec::len), Some(0));
    assert_eq!(error(&ask(&gateway, Call::CreateRefund, "payment_intent=pi_x", None)), (404, "resource_missing"));
    assert_eq!(ask(&gateway, Call::CreateRefund, "", None).0, 400);
    assert_eq!(error(&ask(&gateway, Call::RetrieveRefund("re_x"), "", None)), (404, "resource_missing"));
}

#[test]
fn the_balance_has_a_line_for_each_movement() {
    let folder = Folder::new("balance");
    let gateway = open(&folder.0);
    let id = made(&gateway, "Tea");
    payer_acts(&gateway);
    ask(&gateway, Call::CreateRefund, &format!("payment_intent={id}&amount=500"), Some("r"));
    let lines = |form: &str| ask_at(&gateway, Call::ListBalance, form, LATER).1["data"].clone();
    let charge = &lines("type=charge")[0];
    assert_eq!((&charge["amount"], &charge["fee"], &charge["net"]), (&2_000.into(), &58.into(), &1_942.into()));
    assert!(charge["source"].as_str().expect("an id").starts_with("ch_"));
    let refund = &lines("type=refund&expand[]=data.source")[0];
    assert_eq!((&refund["amount"], &refund["source"]["payment_intent"]), (&(-500).into(), &id.as_str().into()));
    let expanded = &lines("type=charge&expand[]=data.source")[0]["source"];
    assert_eq!((&expanded["payment_intent"], &expanded["metadata"]["attempt"]), (&id.as_str().into(), &ATTEMPT.into()));
    assert_eq!(lines("created[lt]=5").as_array().map(Vec::len), Some(0));
    assert_eq!(ask(&gateway, Call::ListBalance, "expand[]=data.customer", None).0, 400);
}

/// The fields that stripe-python 16.1.0 and the sample objects of stripe/openapi (`fixtures3.json`, August 2026) have,
/// but for those that come only with features that are not simulated.
#[test]
fn objects_have_the_fields_that_sdks_count_on() {
    let folder = Folder::new("fields");
    let gateway = open(&folder.0);
    let id = made(&gateway, "Tea");
    payer_acts(&gateway);
    let intent = ask(&gateway, Call::RetrieveIntent(&id), "expand[]=latest_charge", None).1;
    let form = format!("payment_intent={id}&amount=500&expand[]=payment_intent&expand[]=charge");
    let refund = ask(&gateway, Call::CreateRefund, &form, Some("r")).1;
    let line = ask(&gateway, Call::ListBalance, "type=charge", None).1["data"][0].clone();
    let of_intent = "allowed_payment_method_types payment_record amount amount_capturable amount_details amount_received application application_fee_amount \
        automatic_payment_methods canceled_at cancellation_reason capture_method client_secret confirmation_method created \
        currency customer description id last_payment_error latest_charge livemode metadata next_action object on_behalf_of \
        payment_method payment_method_options payment_method_types processing receipt_email review setup_future_usage \
        shipping source statement_descriptor statement_descriptor_suffix status transfer_data transfer_group";
    let of_charge = "amount amount_captured amount_refunded application application_fee application_fee_amount \
        balance_transaction billing_details calculated_statement_descriptor captured created currency customer description \
        disputed failure_balance_transaction failure_code failure_message fraud_details id livemode metadata object \
        on_behalf_of outcome paid payment_intent payment_method payment_method_details receipt_email receipt_number \
        receipt_url refunded review shipping source source_transfer statement_descriptor statement_descriptor_suffix status \
        transfer_data transfer_group";
    let of_refund = "amount balance_transaction charge created currency customer failure_balance_transaction failure_reason \
        payment_method pending_reason id metadata object payment_intent reason \
        receipt_number source_transfer_reversal status transfer_reversal";
    let of_line = "amount available_on balance_type created currency description exchange_rate fee fee_details id net object \
        reporting_category source status type";
    for (object, fields) in [
        (&intent, of_intent),
        (&intent["latest_charge"], of_charge),
        (&refund["charge"], of_charge),
        (&refund["payment_intent"], of_intent),
        (&refund, of_refund),
        (&line, of_line),
    ] {
        let missing: Vec<&str> = fields.split_whitespace().filter(|field| object.get(field).is_none()).collect();
        assert!(missing.is_empty(), "{} lacks {missing:?}", object["object"]);
    }
    assert_eq!(intent["automatic_payment_methods"]["enabled"], true);
    assert_eq!(line["fee_details"][0]["amount"], line["fee"]);
    // Every id that is told leads to the object.
    let told = |value: &Value| value.as_str().expect("an id").to_owned();
    let charge_id = told(&ask(&gateway, Call::RetrieveIntent(&id), "", None).1["latest_charge"]);
    let charge = ask(&gateway, Call::RetrieveCharge(&charge_id), "", None);
    assert_eq!((charge.0, &charge.1["amount_refunded"]), (200, &500.into()));
    let (status, done) = ask_at(&gateway, Call::RetrieveRefund(&told(&refund["id"])), "", LATER);
    assert_eq!(
        (status, &refund["balance_transaction"]),
        (200, &Value::Null),
        "it had not moved money when it was made"
    );
    for (id, kind) in [(&charge.1["balance_transaction"], "charge"), (&done["balance_transaction"], "refund")] {
        let line = ask_at(&gateway, Call::RetrieveBalance(&told(id)), "expand[]=source", LATER);
        assert_eq!((line.0, &line.1["id"], &line.1["source"]["object"]), (200, id, &kind.into()));
    }
    for wrong in ["txn_x", &charge_id, &id] {
        assert_eq!(error(&ask(&gateway, Call::RetrieveBalance(wrong), "", None)), (404, "resource_missing"));
    }
    assert_eq!(error(&ask(&gateway, Call::RetrieveCharge(&id), "", None)), (404, "resource_missing"));
    let unknown = ask(&gateway, Call::RetrieveIntent(&id), "expand[]=customer.tax_ids", None);
    assert_eq!((unknown.0, &unknown.1["error"]["type"]), (400, &"invalid_request_error".into()));
}

#[test]
fn only_the_accounts_own_key_opens_it() {
    let folder = Folder::new("secret");
    let gateway = open(&folder.0);
    let key = gateway.stripe.merchants[0].secret_key.expose_secret().to_owned();
    assert_eq!(gateway.stripe.account_of(&key), Some(account(&gateway)));
    for wrong in ["", "sk_test_", &key[1..], &format!("{key}x")] {
        assert_eq!(gateway.stripe.account_of(wrong), None);
    }
}

#[test]
fn events_are_the_same_in_every_copy_and_forged_ones_only_in_their_fields() {
    let folder = Folder::new("events");
    let gateway = open(&folder.0);
    let id = made(&gateway, "sim:forge");
    let standing = gateway.books.standing(&PaymentId { account: account(&gateway), number: ATTEMPT.into() });
    let standing = standing.expect("it is known");
    assert_eq!(standing.address.url.path(), "/v1/callbacks/stripe/default");
    let notice = Notice {
        number: ATTEMPT.into(),
        address: standing.address,
        asked_minor: standing.asked_minor,
        currency: standing.currency,
        capture: Capture { reference: id.as_str().into(), amount_minor: 2_000, at: NOW },
        data: standing.data,
    };
    let wire = gateway.wire(account(&gateway));
    let (one, other) = (wire.callback(&notice, NOW), wire.callback(&notice, NOW + 5_000));
    assert_eq!(one.body, other.body);
    assert_ne!(one.headers, other.headers, "each try is signed anew");
    let forged = wire.forged(&notice, NOW);
    assert_eq!(forged.body, one.body);
    assert_ne!(forged.headers, one.headers);
    let event: Value = serde_json::from_slice(&one.body).expect("JSON");
    assert_eq!((&event["type"], &event["data"]["object"]["id"]), (&"payment_intent.succeeded".into(), &id.into()));
    assert_eq!(event["data"]["object"]["amount_received"], 2_000);
}

#[actix_web::test]
async fn callers_are_known_by_their_key_and_repeats_say_so() {
    use actix_web::http::header::HeaderMap;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, web};

    let folder = Folder::new("routes");
    let gateway = web::Data::new(open(&folder.0));
    let key = gateway.stripe.merchants[0].secret_key.expose_secret().to_owned();
    let scope = web::scope("/stripe").configure(routes::routes);
    let app = init_service(App::new().app_data(gateway.clone()).service(scope)).await;
    let bearer = format!("Bearer {key}");
    let form_type = "application/x-www-form-urlencoded";
    let post = |headers: Vec<(&'static str, &str)>| {
        let request = TestRequest::post().uri("/stripe/v1/payment_intents").set_payload(form("Tea"));
        headers.into_iter().fold(request, |request, header| request.append_header(header)).to_request()
    };
    let status = |response: &actix_web::dev::ServiceResponse| response.status().as_u16();
    let told = |headers: &HeaderMap, name: &str| headers.get(name).is_some();

    for headers in [
        vec![("content-type", form_type)],
        vec![("content-type", form_type), ("authorization", "Bearer sk_test_x")],
        vec![("content-type", form_type), ("authorization", key.as_str())],
    ] {
        assert_eq!(status(&call_service(&app, post(headers)).await), 401);
    }
    for headers in [
        vec![("authorization", bearer.as_str())],
        vec![("authorization", bearer.as_str()), ("content-type", "application/json")],
        vec![("authorization", bearer.as_str()), ("content-type", form_type), ("stripe-version", "latest")],
        vec![
            ("authorization", bearer.as_str()),
            ("content-type", form_type),
            ("idempotency-key", "a"),
            ("idempotency-key", "b"),
        ],
    ] {
        assert_eq!(status(&call_service(&app, post(headers)).await), 400);
    }
    let good = || {
        vec![
            ("authorization", bearer.as_str()),
            ("content-type", form_type),
            ("stripe-version", "2026-10-28.endive"),
            ("idempotency-key", "k"),
        ]
    };
    let first = call_service(&app, post(good())).await;
    assert_eq!((status(&first), told(first.headers(), "idempotent-replayed")), (200, false));
    assert!(told(first.headers(), "request-id") && told(first.headers(), "idempotency-key"));
    assert_eq!(first.headers().get("stripe-version").expect("a version"), "2026-10-28.endive");
    let again = call_service(&app, post(good())).await;
    assert_eq!((status(&again), told(again.headers(), "idempotent-replayed")), (200, true));
    let list =
        TestRequest::get().uri("/stripe/v1/payment_intents?limit=5").append_header(("authorization", bearer.as_str()));
    assert_eq!(status(&call_service(&app, list.to_request()).await), 200);
    let basic = |user: &str| format!("Basic {}", STANDARD.encode(user));
    for (user, expected) in [(format!("{key}:"), 200), (format!("{key}:x"), 401), (key.clone(), 401)] {
        let list = TestRequest::get().uri("/stripe/v1/refunds").append_header(("authorization", basic(&user)));
        assert_eq!(status(&call_service(&app, list.to_request()).await), expected);
    }
    let nowhere = TestRequest::get().uri("/stripe/v1/customers").append_header(("authorization", bearer.as_str()));
    assert_eq!(status(&call_service(&app, nowhere.to_request()).await), 404);
}
