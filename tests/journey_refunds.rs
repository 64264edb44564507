//! Refunds from the request to the last webhook: every script by every channel, names, remainders, fees, restarts.

mod support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::app::{self, App};
use support::client::{Client, text};
use support::process::Kind;
use support::receiver::DELIVERY;
use support::refunds::{a_refund, each_fact_is_told_once, minor, numbers_taken, one_of_each, paid, path_of};
use support::ways::Way;
use support::{seconds, unique};
use tongbao::domain::time::Instant as At;

/// How a refund by a script goes.
#[derive(Debug)]
struct Script {
    /// How its reason starts.
    reason: Option<&'static str>,
    within: Duration,
    /// It does not end before.
    least: Duration,
    end: &'static str,
    failure: Option<&'static str>,
    /// Why it waits, before it ends or for ever.
    attention: Option<&'static str>,
    webhooks: &'static [&'static str],
    /// How many numbers of it the gateway takes.
    numbers: usize,
}

const SUCCEEDED: &[&str] = &["refund.succeeded"];
const FAILED: &[&str] = &["refund.failed"];
const RETURNED: &[&str] = &["refund.succeeded", "refund.returned"];

const PLAIN: Script = Script {
    reason: Some("changed my mind"),
    within: seconds(15),
    least: Duration::ZERO,
    end: "succeeded",
    failure: None,
    attention: None,
    webhooks: SUCCEEDED,
    numbers: 1,
};

/// A number that the channel ends is followed by five others, up to 28 s after the first.
#[rustfmt::skip]
const SCRIPTS: &[Script] = &[
    PLAIN,
    Script { reason: None, ..PLAIN },
    Script { reason: Some("sim:hang"),   within: seconds(25), ..PLAIN },
    Script { reason: Some("sim:error"),  within: seconds(25), ..PLAIN },
    Script { reason: Some("sim:refuse"), end: "failed", failure: Some("channel_refused"), webhooks: FAILED, numbers: 0, ..PLAIN },
    Script { reason: Some("sim:end"),    within: seconds(75), least: seconds(28), end: "failed", failure: Some("channel_ended"), webhooks: FAILED, numbers: 6, ..PLAIN },
    Script { reason: Some("sim:late"),   within: seconds(45), least: seconds(20), ..PLAIN },
    Script { reason: Some("sim:poor"),   within: seconds(30), least: seconds(5), attention: Some("channel_balance"), ..PLAIN },
    Script { reason: Some("sim:stuck"),  end: "submitted", attention: Some("person"), webhooks: &[], ..PLAIN },
    Script { reason: Some("sim:return"), within: seconds(25), least: seconds(3), end: "returned", webhooks: RETURNED, ..PLAIN },
];

/// What a channel's protocol has no words for goes as if nothing were asked. docs/sandbox.md says the same.
const WORDLESS: &[(&str, &[&str])] = &[
    ("wechat", &["sim:return"]),
    ("alipay", &["sim:end", "sim:stuck", "sim:return"]),
    ("unionpay", &["sim:poor", "sim:stuck", "sim:return"]),
];

fn is_wordless(channel: &str, reason: Option<&str>) -> bool {
    let at = WORDLESS.iter().filter(|(known, _)| *known == channel);
    reason.is_some_and(|reason| at.flat_map(|(_, scripts)| *scripts).any(|script| *script == reason))
}

#[actix_web::test]
async fn every_script_by_every_channel() {
    every_script(Kind::Sqlite).await;
}

#[actix_web::test]
async fn every_script_by_every_channel_on_postgres() {
    every_script(Kind::Postgres).await;
}

async fn every_script(kind: Kind) {
    let app = app::start_with(kind, "").await;
    let cells = one_of_each().into_iter().flat_map(|way| SCRIPTS.iter().map(move |script| (way, script)));
    let told = join_all(cells.map(|(way, script)| follows(&app, way, script))).await;
    for (order, refund, webhooks) in told {
        let kinds = app.receiver.kinds(&refund);
        assert_eq!(kinds, webhooks, "{refund}: whatever comes twice has come by now");
        each_fact_is_told_once(&app, &order);
    }
    app.client().balance_agrees().await;
    app.finish().await;
}

/// Refunds half of a payment; the order, the refund, and what must have been told of it.
async fn follows(app: &App, way: &Way, script: &Script) -> (String, String, &'static [&'static str]) {
    let what = format!("{} by {}", script.reason.unwrap_or("no reason"), way.channel);
    let client = app.client();
    let order = paid(app, way).await;
    let (id, attempt) = (text(&order, "id"), text(&order["attempts"][0], "id"));
    assert_eq!((&order["payable"], &order["amount_refunded"]), (&json!(way.payable), &json!("0.00")), "{what}");
    assert_eq!(order["amount_refundable"], way.payable, "{what}");
    let half_minor = minor(way.payable) / 2;
    let half = format!("{}.{:02}", half_minor / 100, half_minor % 100);
    let reason = script.reason.map(|first| format!("{first} 多付退回"));
    let asked = a_refund(Some(&half), reason.as_deref());

    let answer = client.refund(id, &asked).await;
    let refund = answer.refund(201);
    let refund_id = text(&refund, "id");
    let location = format!("{}/v1/refunds/{refund_id}", app.site.url());
    assert_eq!(answer.header("location"), Some(location.as_str()), "{what}");
    let nothing_asked = is_wordless(way.channel, script.reason);
    let script = if nothing_asked { &Script { reason: script.reason, ..PLAIN } } else { script };

    if let Some(attention) = script.attention {
        let waits = |refund: &Value| refund["attention"] == attention;
        let waiting = client.until_refund(refund_id, attention, seconds(10), waits).await;
        assert_eq!((&waiting["state"], &waiting["finished_at"]), (&json!("submitted"), &Value::Null), "{what}");
    }
    if script.least > Duration::ZERO && script.end != "returned" {
        let order = client.order(id).await;
        assert_eq!((&order["amount_refunded"], &order["amount_refundable"]), (&json!("0.00"), &json!(half)), "{what}");
    }
    if script.end == "returned" {
        client.refund_reaches(refund_id, "succeeded", script.within).await;
        let order = client.order(id).await;
        assert_eq!((&order["amount_refunded"], &order["amount_refundable"]), (&json!(half), &json!(half)), "{what}");
    }
    let ended = client.refund_reaches(refund_id, script.end, script.within).await;
    check_shape(&ended, &order, &asked, way, script, &what);
    check_money(app, &order, refund_id, script, &half, &what).await;
    assert_eq!(numbers_taken(&app.site, attempt).len(), script.numbers, "{what}");

    app.receiver.kinds_become(refund_id, script.webhooks, DELIVERY).await;
    check_webhooks(app, &ended, &what);
    assert_eq!(client.listed(&path_of(id)).await, [ended.clone()], "{what}");
    let by_name = format!("/v1/refunds?merchant_refund_id={}", text(&asked, "merchant_refund_id"));
    assert_eq!(client.listed(&by_name).await, [ended.clone()], "{what}");
    // What failed or came back is the payer's to have again, the whole payment at once.
    if script.end == "failed" || script.end == "returned" {
        given_back_whole(app, id, way, &what).await;
    }
    (id.to_owned(), refund_id.to_owned(), script.webhooks)
}

fn check_shape(refund: &Value, order: &Value, asked: &Value, way: &Way, script: &Script, what: &str) {
    for field in ["merchant_refund_id", "amount", "reason"] {
        assert_eq!(refund[field], asked[field], "{what}: {field}");
    }
    assert_eq!((&refund["order"], &refund["channel"]), (&order["id"], &json!(way.channel)), "{what}");
    assert_eq!((&refund["currency"], &refund["fee_policy"]), (&json!(way.currency), &json!("proportional")), "{what}");
    let fee_minor = minor(text(refund, "amount")) - 10_000;
    assert_eq!(refund["fee_returned"], format!("{}.{:02}", fee_minor / 100, fee_minor % 100), "{what}");
    assert_eq!(refund["parts"], json!([{ "platform": "platform-a", "amount": "100.00" }]), "{what}");
    assert_eq!(refund["failure"]["code"].as_str(), script.failure, "{what}: {refund}");
    if script.failure.is_some() {
        let message = &refund["failure"]["message"];
        assert!(!text(message, "zh").is_empty() && !text(message, "en").is_empty(), "{what}");
    }
    let attention = if script.end == "submitted" { json!(script.attention) } else { Value::Null };
    assert_eq!(refund["attention"], attention, "{what}");
    match refund["finished_at"].as_str() {
        None => assert_eq!(script.end, "submitted", "{what}"),
        Some(finished_at) => {
            let at = |text: &str| At::parse_rfc3339(text).expect("an instant");
            let took_ms = at(finished_at).since_ms(at(text(refund, "created_at")));
            let least_ms = i64::try_from(script.least.as_millis()).expect("some seconds");
            assert!(took_ms >= least_ms, "{what} took {took_ms} ms");
        }
    }
}

/// The order, the gateway's books and the platform's balance say the same of the refund.
async fn check_money(app: &App, order: &Value, refund: &str, script: &Script, half: &str, what: &str) {
    let client = app.client();
    let now = client.order(text(order, "id")).await;
    let is_paid = script.end == "succeeded";
    let is_free = script.end == "failed" || script.end == "returned";
    let refunded = if is_paid { half } else { "0.00" };
    let refundable = if is_free { text(order, "payable") } else { half };
    assert_eq!((&now["amount_refunded"], &now["amount_refundable"]), (&json!(refunded), &json!(refundable)), "{what}");
    assert_eq!((&now["state"], &now["finished_at"]), (&json!("succeeded"), &order["finished_at"]), "{what}");
    let seen = app.gateway.attempt(text(&order["attempts"][0], "id")).await.expect("it is paid");
    assert_eq!(seen["refunded_minor"], minor(refunded), "{what}: {seen}");
    let mut changes = vec![("refund", "-100.00")];
    match script.end {
        "failed" => changes.push(("refund_failed", "100.00")),
        "returned" => changes.push(("refund_returned", "100.00")),
        _ => {}
    }
    let changes: Vec<(String, String)> = changes.into_iter().map(|(kind, sum)| (kind.into(), sum.into())).collect();
    assert_eq!(client.transactions_of(refund).await, changes, "{what}");
}

/// Each webhook holds the refund as it was then, the last one as it is.
fn check_webhooks(app: &App, ended: &Value, what: &str) {
    let told = app.receiver.of(text(ended, "id"));
    for webhook in &told {
        let mut data = webhook.data.clone();
        let fields = data.as_object_mut().expect("a refund");
        fields.remove("sequence");
        assert_eq!(webhook.kind, format!("refund.{}", text(&data, "state")), "{what}");
        if data["state"] == ended["state"] {
            assert_eq!(data, *ended, "{what}");
        } else {
            let same = |name: &str| data[name] == ended[name];
            assert!(["id", "order", "amount", "parts", "reason", "created_at"].into_iter().all(same), "{what}: {data}");
            assert!(data["finished_at"].is_string() && data["attention"].is_null(), "{what}: {data}");
        }
    }
}

async fn given_back_whole(app: &App, order: &str, way: &Way, what: &str) {
    let client = app.client();
    let refund = client.refund(order, &a_refund(None, None)).await.refund(201);
    assert_eq!(refund["amount"], way.payable, "{what}: all of it");
    client.refund_reaches(text(&refund, "id"), "succeeded", seconds(30)).await;
    app.receiver.kinds_become(text(&refund, "id"), SUCCEEDED, DELIVERY).await;
    let now = client.order(order).await;
    assert_eq!((&now["amount_refunded"], &now["amount_refundable"]), (&json!(way.payable), &json!("0.00")), "{what}");
    let more = client.refund(order, &a_refund(Some("0.01"), None)).await;
    assert_eq!(more.problem(409, "refund_exceeds_remaining"), Some("amount"), "{what}");
    assert_eq!(more.body["remaining"], "0.00", "{what}");
}

/// The document has the table of this file.
#[actix_web::test]
async fn the_table_of_refund_scripts_is_in_the_document() {
    const HEADING: &str = "## Refund scripts by channel";
    let page = include_str!("../docs/sandbox.md");
    let (_, section) = page.split_once(HEADING).expect("the document has the section");
    let section = section.split("\n## ").next().expect("it has an end");
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).collect();
    let channels: Vec<&str> = one_of_each().iter().map(|way| way.channel).collect();
    let names: Vec<String> = channels.iter().map(|channel| format!("`{channel}`")).collect();
    let mut expected = vec![format!("| reason starts | {} |", names.join(" | ")), "|---|---|---|---|---|---|".into()];
    for script in SCRIPTS.iter().filter(|script| script.reason.is_some()) {
        let reason = script.reason.filter(|reason| reason.starts_with("sim:"));
        let name = reason.map_or("anything else, or none".into(), |reason| format!("`{reason}`"));
        let cell = |channel: &&str| {
            if is_wordless(channel, reason) { "as if nothing were asked".into() } else { end_of(script) }
        };
        let cells: Vec<String> = channels.iter().map(cell).collect();
        expected.push(format!("| {name} | {} |", cells.join(" | ")));
    }
    assert_eq!(rows, expected);
}

fn end_of(script: &Script) -> String {
    match script.attention {
        None => format!("`{}`", script.end),
        Some(attention) if script.end == "submitted" => format!("`submitted`, `{attention}`"),
        Some(attention) => format!("`{attention}`, then `{}`", script.end),
    }
}

/// One name, one refund: a repeat is the same refund, a changed one is refused, naming the field.
#[actix_web::test]
async fn a_name_is_one_refunds_on_sqlite() {
    names_and_keys(Kind::Sqlite).await;
}

#[actix_web::test]
async fn a_name_is_one_refunds_on_postgres() {
    names_and_keys(Kind::Postgres).await;
}

async fn names_and_keys(kind: Kind) {
    let app = app::start_with(kind, "").await;
    tokio::join!(repeats(&app), duplicates(&app), strangers(&app), waits(&app), keys(&app), defaults(&app));
    app.client().balance_agrees().await;
    app.client_b().balance_agrees().await;
    app.finish().await;
}

fn simpay() -> &'static Way {
    one_of_each()[0]
}

async fn repeats(app: &App) {
    let client = app.client();
    let order = paid(app, simpay()).await;
    let (id, elsewhere) = (text(&order, "id"), paid(app, simpay()).await);
    let asked = json!({
        "merchant_refund_id": unique("r"), "amount": "50.15", "reason": "too much", "fee_policy": "proportional",
    });
    let first = client.refund(id, &asked).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let first = first.refund(201);
    assert_eq!(first["state"], "succeeded", "it waits for the channel's word");
    for same in [json!({}), json!({ "amount": "50.15" }), json!({ "fee_policy": null })] {
        let again = client.refund(id, &with(&asked, &same)).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{same}");
        assert_eq!(again.refund(200), first, "{same}");
    }
    for (field, value) in [
        ("amount", json!("50.16")),
        ("amount", Value::Null),
        ("reason", json!("too little")),
        ("reason", Value::Null),
        ("fee_policy", json!("kept")),
    ] {
        let other = client.refund(id, &with(&asked, &json!({ field: value }))).await;
        assert_eq!(other.problem(409, "refund_conflict"), Some(field), "{value}");
    }
    let other = client.refund(text(&elsewhere, "id"), &asked).await;
    assert_eq!(other.problem(409, "refund_conflict"), Some("order"));
    assert_eq!(client.listed(&path_of(id)).await, [first]);
    assert_eq!(client.listed(&path_of(text(&elsewhere, "id"))).await, Vec::<Value>::new());
    assert_eq!(client.order(id).await["amount_refunded"], "50.15");
}

/// The same body with other values.
fn with(asked: &Value, fields: &Value) -> Value {
    support::client::with(asked.clone(), fields.clone())
}

/// Many at once under one name make one refund.
async fn duplicates(app: &App) {
    let client = app.client();
    let order = paid(app, simpay()).await;
    let id = text(&order, "id");
    let asked = a_refund(Some("30.00"), None);
    let together = join_all((0..12).map(|_| client.refund(id, &asked))).await;
    let first = together.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(first, 1, "one of the duplicates is the first");
    for answer in &together {
        assert!([200, 201].contains(&answer.status), "{}", answer.text);
        assert_eq!(answer.header("idempotent-replayed"), (answer.status == 200).then_some("true"));
        assert_eq!(answer.body["id"], together[0].body["id"]);
    }
    let refund = text(&together[0].body, "id");
    client.refund_reaches(refund, "succeeded", seconds(10)).await;
    app.receiver.kinds_become(refund, SUCCEEDED, DELIVERY).await;
    assert_eq!(numbers_taken(&app.site, text(&order["attempts"][0], "id")).len(), 1);
    assert_eq!(client.order(id).await["amount_refunded"], "30.00");
    each_fact_is_told_once(app, id);
}

/// Another platform's names are its own, and what is not its own is not there.
async fn strangers(app: &App) {
    let (client, stranger) = (app.client(), app.client_b());
    let order = paid(app, simpay()).await;
    let id = text(&order, "id");
    let asked = a_refund(Some("10.00"), None);
    let ours = client.refund(id, &asked).await.refund(201);
    let order =
        support::client::with(simpay().order(app, "tea"), json!({ "webhook_url": app.receiver.url("platform-b") }));
    let theirs = stranger.create(&order).await.order(201);
    let theirs = stranger.reaches(text(&theirs, "id"), "succeeded", seconds(15)).await;
    let refund = stranger.refund(text(&theirs, "id"), &asked).await.refund(201);
    assert_eq!(refund["merchant_refund_id"], ours["merchant_refund_id"]);
    assert_ne!(refund["id"], ours["id"]);
    assert_eq!(refund["parts"], json!([{ "platform": "platform-b", "amount": "9.97" }]));
    app.receiver.kinds_become(text(&refund, "id"), SUCCEEDED, DELIVERY).await;

    let unknown = stranger.get("/v1/refunds/re_0").await;
    unknown.problem(404, "not_found");
    for answer in [
        stranger.get(&format!("/v1/refunds/{}", text(&ours, "id"))).await,
        stranger.get(&path_of(id)).await,
        stranger.refund(id, &a_refund(Some("1.00"), None)).await,
        // The name is on record at home, and that is nobody's business.
        stranger.refund(id, &asked).await,
    ] {
        answer.problem(404, "not_found");
        assert_eq!(answer.body["detail"], unknown.body["detail"], "another's and an unknown one are not told apart");
    }
    for (client, own) in [(&client, &ours), (&stranger, &refund)] {
        let by_name = format!("/v1/refunds?merchant_refund_id={}", text(own, "merchant_refund_id"));
        let listed = client.listed(&by_name).await;
        assert_eq!(listed.iter().map(|refund| &refund["id"]).collect::<Vec<_>>(), [&own["id"]]);
    }
    let of_order = stranger.listed(&format!("/v1/refunds?order={id}")).await;
    assert_eq!(of_order, Vec::<Value>::new());
    for path in [
        format!("/v1/balance_transactions?order={id}"),
        format!("/v1/balance_transactions?refund={}", text(&ours, "id")),
    ] {
        assert_eq!(stranger.listed(&path).await, Vec::<Value>::new(), "{path}");
    }
}

/// At most 3 s for the channel's word, and none where it is not wanted.
async fn waits(app: &App) {
    let client = app.client();
    let order = paid(app, simpay()).await;
    let id = text(&order, "id");
    let begun = Instant::now();
    let hasty = client.refund_soon(id, &a_refund(Some("10.00"), Some("sim:hang"))).await;
    assert!(begun.elapsed() < seconds(2), "durable is enough, not after {:?}", begun.elapsed());
    assert_eq!(hasty.header("preference-applied"), Some("respond-async"));
    let begun = Instant::now();
    let patient = client.refund(id, &a_refund(Some("10.00"), Some("sim:late"))).await;
    assert!((seconds(2)..seconds(5)).contains(&begun.elapsed()), "it waits 3 s, not {:?}", begun.elapsed());
    assert_eq!(patient.header("preference-applied"), None);
    for answer in [hasty, patient] {
        let refund = answer.refund(201);
        assert_eq!((&refund["state"], &refund["finished_at"]), (&json!("submitted"), &Value::Null));
        client.refund_reaches(text(&refund, "id"), "succeeded", seconds(40)).await;
    }
}

async fn keyed(client: &Client, order: &str, key: &str, asked: &Value) -> support::client::Answer {
    let request = client.request(reqwest::Method::POST, &path_of(order)).header("idempotency-key", key);
    client.send(request.json(asked)).await
}

async fn keys(app: &App) {
    let client = app.client();
    let order = paid(app, simpay()).await;
    let (id, key) = (text(&order, "id"), unique("key"));
    let asked = a_refund(Some("20.00"), Some("sim:poor"));
    let together = join_all((0..4).map(|_| keyed(&client, id, &key, &asked))).await;
    let answered: Vec<_> = together.iter().filter(|answer| answer.status == 201).collect();
    let first = answered.first().expect("one was the first");
    assert_eq!(answered.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count(), 1);
    for answer in &together {
        match answer.status {
            201 => assert_eq!(answer.text, first.text),
            _ => assert_eq!(answer.problem(409, "request_in_progress"), None),
        }
    }
    let refund = first.refund(201);
    let ended = client.refund_reaches(text(&refund, "id"), "succeeded", seconds(20)).await;
    assert_ne!(ended, refund);
    let again = keyed(&client, id, &key, &asked).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!((again.status, &again.text), (201, &first.text), "the same answer, not the refund as it is now");
    keyed(&client, id, &key, &with(&asked, &json!({ "reason": "x" }))).await.problem(422, "idempotency_key_reused");
    let elsewhere = paid(app, simpay()).await;
    keyed(&client, text(&elsewhere, "id"), &key, &asked).await.problem(422, "idempotency_key_reused");
    let another_key = keyed(&client, id, &unique("key"), &asked).await;
    assert_eq!(another_key.refund(200), ended, "its name finds it under any key");
    // What is refused leaves a key free.
    let key = unique("key");
    keyed(&client, id, &key, &a_refund(Some("999.00"), None)).await.problem(409, "refund_exceeds_remaining");
    keyed(&client, id, &key, &a_refund(Some("1.00"), None)).await.refund(201);
    assert_eq!(client.listed(&path_of(id)).await.len(), 2);
}

/// Without an amount it is all that was left then, and so it is for its repeats.
async fn defaults(app: &App) {
    let client = app.client();
    let order = paid(app, simpay()).await;
    let id = text(&order, "id");
    client.refund(id, &a_refund(Some("60.00"), None)).await.refund(201);
    let rest = json!({ "merchant_refund_id": unique("r") });
    let refund = client.refund(id, &rest).await.refund(201);
    assert_eq!(refund["amount"], "140.60");
    client.refund_reaches(text(&refund, "id"), "succeeded", seconds(10)).await;
    for same in [json!({}), json!({ "amount": "140.60" }), json!({ "amount": "140.6" })] {
        let again = client.refund(id, &with(&rest, &same)).await;
        assert_eq!(again.refund(200)["id"], refund["id"], "{same}");
    }
    let other = client.refund(id, &with(&rest, &json!({ "amount": "140.59" }))).await;
    assert_eq!(other.problem(409, "refund_conflict"), Some("amount"));
    let nothing = client.refund(id, &json!({ "merchant_refund_id": unique("r") })).await;
    nothing.problem(409, "refund_exceeds_remaining");
    assert_eq!(nothing.body["remaining"], "0.00");
}
