//! Refunds from the request to the last webhook: every script by every channel, names, remainders, fees, restarts.

mod support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::app::{self, App};
use support::beside::Beside;
use support::books::{self, Left};
use support::client::{Client, text};
use support::postgres;
use support::process::{Kind, Site};
use support::receiver::DELIVERY;
use support::refunds::{
    a_refund, each_fact_is_told, each_fact_is_told_once, facts, minor, numbers_taken, one_of_each, paid, paid_as,
    path_of, taken,
};
use support::ways::{Way, opened, visit};
use support::{eventually, seconds, unique};
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

// Most of a journey is waiting, so those on the one store and on the other go together.

#[actix_web::test]
async fn every_script_by_every_channel_on_both_stores() {
    tokio::join!(every_script(Kind::Sqlite), every_script(Kind::Postgres));
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

    let begun = Instant::now();
    let answer = client.refund(id, &asked).await;
    if script.reason == Some("sim:late") {
        let waited = begun.elapsed();
        assert!((seconds(3)..seconds(10)).contains(&waited), "{what}: it waits 3 s for a certain word, not {waited:?}");
        assert_eq!(answer.body["state"], "submitted", "{what}");
    }
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
    assert_eq!(client.listed(&path_of(id)).await, std::slice::from_ref(&ended), "{what}");
    let by_name = format!("/v1/refunds?merchant_refund_id={}", text(&asked, "merchant_refund_id"));
    assert_eq!(client.listed(&by_name).await, std::slice::from_ref(&ended), "{what}");
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
async fn a_name_is_one_refunds_on_both_stores() {
    tokio::join!(names_and_keys(Kind::Sqlite), names_and_keys(Kind::Postgres));
}

async fn names_and_keys(kind: Kind) {
    let app = app::start_with(kind, "").await;
    tokio::join!(repeats(&app), duplicates(&app), strangers(&app), waits(&app), keys(&app), defaults(&app));
    app.client().balance_agrees().await;
    app.client_b().balance_agrees().await;
    app.finish().await;
}

/// A name that another process or lane gives while a request with it is on its way: who comes second finds the first
/// refund, as if it had come later, and nothing of its own is reserved.
#[actix_web::test]
async fn a_name_that_is_given_meanwhile_is_a_repeat_on_both_stores() {
    tokio::join!(given_meanwhile(Kind::Sqlite), given_meanwhile(Kind::Postgres));
}

async fn given_meanwhile(kind: Kind) {
    let app = app::start_with(kind, "").await;
    let client = app.client();
    let (order, other) = tokio::join!(paid(&app, simpay()), paid(&app, simpay()));
    let first = json!({ "merchant_refund_id": "first", "amount": "10.00" });
    client.refund(text(&order, "id"), &first).await.refund(201);
    let mut beside = Beside::of(&app.site).await;
    for (name, ordinal, id, status) in [("same", 40, &order, 200), ("another", 41, &other, 409)] {
        // Of this order by its columns, and durable once the request waits for the row.
        let copied = "incarnation, platform_id, currency, amount_minor, refundable_minor, fee_minor, fee_policy, parts, \
            channel, account, created_at, state";
        beside
            .run(&format!(
                "BEGIN; INSERT INTO refunds (order_id, ordinal, merchant_refund_id, {copied}) \
                 SELECT order_id, {ordinal}, '{name}', {copied} FROM refunds WHERE merchant_refund_id = 'first'"
            ))
            .await;
        let asked = json!({ "merchant_refund_id": name, "amount": "10.00" });
        let commit = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            beside.run("COMMIT").await;
        };
        let (answer, ()) = tokio::join!(client.refund(text(id, "id"), &asked), commit);
        match status {
            200 => {
                assert_eq!(answer.header("idempotent-replayed"), Some("true"), "{}", answer.text);
                assert_eq!(text(&answer.refund(200), "merchant_refund_id"), name);
            }
            _ => assert_eq!(answer.problem(409, "refund_conflict"), Some("order")),
        }
    }
    let refundable = async |order: &Value| text(&client.order(text(order, "id")).await, "amount_refundable").to_owned();
    assert_eq!((refundable(&order).await, refundable(&other).await), ("190.60".to_owned(), "200.60".to_owned()));
    assert_eq!(app.metric("tongbao_contradictions_total", "").await, 0.0, "no channel contradicts itself");
    beside.run("DELETE FROM refunds WHERE ordinal >= 40").await;
    beside.close().await;
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

/// Not for the channel's word where it is not wanted, nor for money at the channel.
async fn waits(app: &App) {
    let client = app.client();
    let order = paid(app, simpay()).await;
    let id = text(&order, "id");
    let begun = Instant::now();
    let hasty = client.refund_soon(id, &a_refund(Some("10.00"), Some("sim:hang"))).await;
    assert!(begun.elapsed() < seconds(2), "durable is enough, not after {:?}", begun.elapsed());
    assert_eq!(hasty.header("preference-applied"), Some("respond-async"));
    let begun = Instant::now();
    let poor = client.refund(id, &a_refund(Some("10.00"), Some("sim:poor"))).await;
    assert!(begun.elapsed() < seconds(2), "what waits for money is told at once, not after {:?}", begun.elapsed());
    assert_eq!(poor.body["attention"], "channel_balance");
    for answer in [hasty, poor] {
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

/// What is not paid has nothing to give back, whatever is on its way; what is paid has, at once.
#[actix_web::test]
async fn a_refund_waits_for_no_callback_and_goes_before_none() {
    let app = app::start().await;
    let scripts = ["sim:forge", "sim:slow", "sim:lost", "sim:twice"];
    let cells = one_of_each().into_iter().flat_map(|way| scripts.map(|script| (way, script)));
    let early = join_all(cells.map(|(way, script)| asked_early(&app, way, script)));
    let ways = one_of_each().into_iter().filter(|way| way.can_be_closed());
    let called_off = join_all(ways.map(|way| late_money_is_nobodys_refund(&app, way)));
    let paid_twice = join_all(one_of_each().into_iter().filter(|way| way.can_be_closed()).map(|from| {
        let to = one_of_each()[usize::from(from.channel == "simpay")];
        late_money_beside_a_refund(&app, from, to)
    }));
    let (orders, _, twice) = tokio::join!(early, called_off, paid_twice);
    assert!(twice.iter().filter(|twice| **twice).count() > twice.len() / 2, "most are paid twice: {twice:?}");
    for order in orders {
        each_fact_is_told_once(&app, &order);
    }
    app.client().balance_agrees().await;
    app.finish().await;
}

/// Asks for all of an order again and again, from before its payment on; the order.
async fn asked_early(app: &App, way: &Way, script: &str) -> String {
    let what = format!("{script} by {}", way.channel);
    let client = app.client();
    let order = opened(app, &way.order(app, script)).await;
    let id = text(&order, "id").to_owned();
    let asked = a_refund(None, None);
    let refused = client.refund(&id, &asked).await;
    assert_eq!(refused.problem(409, "order_not_paid"), None, "{what}");
    let refund = eventually(&format!("{what} is refunded"), seconds(45), || async {
        let state = client.order(&id).await["state"].clone();
        let answer = client.refund(&id, &asked).await;
        if answer.status == 201 {
            return Some(answer.refund(201));
        }
        answer.problem(409, "order_not_paid");
        assert_ne!(state, "succeeded", "{what}: it was paid");
        None
    })
    .await;
    assert_eq!(refund["amount"], way.payable, "{what}");
    let refund = text(&refund, "id");
    client.refund_reaches(refund, "succeeded", seconds(20)).await;
    app.receiver.kinds_become(refund, SUCCEEDED, DELIVERY).await;
    // The callbacks of the payment may come after it was given back.
    app.receiver.kinds_become(&id, &["order.succeeded"], DELIVERY).await;
    let order = client.order(&id).await;
    assert_eq!(order["state"], "succeeded", "{what}");
    assert_eq!(
        (&order["amount_refunded"], &order["amount_refundable"]),
        (&json!(way.payable), &json!("0.00")),
        "{what}"
    );
    assert_eq!(numbers_taken(&app.site, text(&order["attempts"][0], "id")).len(), 1, "{what}");
    id
}

/// The order was called off before its payer paid: that money goes back by itself, and is no refund of the platform's.
async fn late_money_is_nobodys_refund(app: &App, way: &Way) {
    let what = format!("late money by {}", way.channel);
    let client = app.client();
    let order = opened(app, &way.order(app, "sim:late")).await;
    let id = text(&order, "id");
    client.refund(id, &a_refund(None, None)).await.problem(409, "order_not_paid");
    let cancelled = client.cancel(id).await;
    assert!([200, 202].contains(&cancelled.status), "{what}: {}", cancelled.text);
    let order = client
        .until(id, &what, seconds(60), |order| {
            order["state"] == "failed" && order["suspense"][0]["state"] == "refunded"
        })
        .await;
    client.refund(id, &a_refund(Some("1.00"), None)).await.problem(409, "order_not_paid");
    assert_eq!((&order["amount_refunded"], &order["amount_refundable"]), (&json!("0.00"), &json!("0.00")), "{what}");
    for path in [path_of(id), format!("/v1/refunds?order={id}"), format!("/v1/balance_transactions?order={id}")] {
        assert_eq!(client.listed(&path).await, Vec::<Value>::new(), "{what}: {path}");
    }
    app.receiver.kinds_become(id, &["order.failed", "order.suspense_refunded"], DELIVERY).await;
    assert_eq!(app.receiver.of_all(id).len(), 2, "{what}: no refund is told of");
    let seen = app.gateway.attempt(text(&order["attempts"][0], "id")).await.expect("it was opened");
    assert_eq!(
        (&seen["refunded_minor"], &seen["captured_minor"]),
        (&json!(minor(way.payable)), &json!(minor(way.payable)))
    );
    assert_eq!(numbers_taken(&app.site, text(&order["attempts"][0], "id")).len(), 1, "{what}");
}

/// An order that is paid by two channels: the platform refunds half of the payment that counts while the other one goes
/// back by itself. Whether it was paid by both, which a busy machine may be too slow for.
async fn late_money_beside_a_refund(app: &App, from: &Way, to: &Way) -> bool {
    let what = format!("paid by {} and {}", from.channel, to.channel);
    let client = app.client();
    let asked = support::client::with(from.order(app, "sim:late"), json!({ "currency": "CNY" }));
    let order = opened(app, &asked).await;
    let id = text(&order, "id");
    let chosen = client.pay(id, to.channel).await;
    assert!([200, 202].contains(&chosen.status), "{what}: {}", chosen.text);
    let order = client.reaches(id, "succeeded", seconds(45)).await;
    assert_eq!(order["channel"], from.channel, "{what}: the money that came first counts");
    let refund = client.refund(id, &a_refund(Some("100.00"), None)).await.refund(201);
    let refund = client.refund_reaches(text(&refund, "id"), "succeeded", seconds(20)).await;
    let of_order = || async { (client.order(id).await, client.listed(&path_of(id)).await) };
    let was_second_open = order["attempts"].as_array().expect("attempts").len() == 2;
    if was_second_open {
        client.until(id, &what, seconds(90), |order| order["suspense"][0]["state"] == "refunded").await;
        let second = app.gateway.attempt(text(&order["attempts"][1], "id")).await.expect("it was opened");
        assert_eq!(second["captured_minor"], second["refunded_minor"], "{what}: {second}");
        assert_ne!(second["captured_minor"], 0, "{what}: {second}");
    }
    let (order, refunds) = of_order().await;
    assert_eq!(refunds, [refund], "{what}: suspense is in no list");
    assert_eq!(order["amount_refunded"], "100.00", "{what}");
    let rest = minor(text(&order, "payable")) - 10_000;
    assert_eq!(minor(text(&order, "amount_refundable")), rest, "{what}");
    let first = app.gateway.attempt(text(&order["attempts"][0], "id")).await.expect("it was opened");
    assert_eq!(first["refunded_minor"], 10_000, "{what}: {first}");
    let mut kinds = vec!["order.succeeded", "refund.succeeded"];
    kinds.extend(was_second_open.then_some("order.suspense_refunded"));
    kinds.sort_unstable();
    eventually(&format!("{what}: {kinds:?} are told"), DELIVERY, || async {
        let mut told: Vec<String> = app.receiver.of_all(id).into_iter().map(|webhook| webhook.kind).collect();
        told.sort_unstable();
        (told == kinds).then_some(())
    })
    .await;
    each_fact_is_told_once(app, id);
    was_second_open
}

/// WeChat Pay's minute between two refunds is 0.6 s, so that thirty of them, one after the other, take 18 s: at the
/// sandbox's usual 3 s it would be 90.
const HASTY: &str = "[gateway]\ntime_scale_percent = 1\n";
const HASTY_PAUSE_MS: i64 = 600;

#[actix_web::test]
async fn of_sixty_thirtieths_thirty_are_refunded() {
    tokio::join!(sixty_by_turns(), sixty_by_four_writers());
}

async fn sixty_by_turns() {
    let app = app::start_with(Kind::Sqlite, HASTY).await;
    let ways = one_of_each();
    tokio::join!(sixty_thirtieths(&app, ways[0]), sixty_thirtieths(&app, ways[1]), fifty_one(&app));
    app.client().balance_agrees().await;
    app.finish().await;
}

async fn sixty_by_four_writers() {
    let app = app::start_with(Kind::Postgres, "[store]\nlanes = 4\n").await;
    let ways = one_of_each();
    tokio::join!(sixty_thirtieths(&app, ways[0]), sixty_thirtieths(&app, ways[0]), sixty_thirtieths(&app, ways[4]));
    app.client().balance_agrees().await;
    app.finish().await;
}

async fn sixty_thirtieths(app: &App, way: &Way) {
    let client = app.client();
    // Thirty times something after the fee, by each channel that it is paid by here.
    let amount = if way.channel == "stripe" { "3000.00" } else { "300.00" };
    let order = paid_as(app, way, json!({ "amount": amount })).await;
    let (id, attempt) = (text(&order, "id"), text(&order["attempts"][0], "id"));
    let payable_minor = minor(text(&order, "payable"));
    assert_eq!(payable_minor % 30, 0, "{order}");
    let part = format!("{}.{:02}", payable_minor / 30 / 100, payable_minor / 30 % 100);
    let begun = Instant::now();
    let asked: Vec<Value> = (0..60).map(|_| a_refund(Some(&part), None)).collect();
    let answers = join_all(asked.iter().map(|asked| client.refund_soon(id, asked))).await;
    let mut refunds = Vec::new();
    for answer in &answers {
        if answer.status == 201 {
            refunds.push(answer.refund(201));
        } else {
            assert_eq!(answer.problem(409, "refund_exceeds_remaining"), Some("amount"));
            assert_eq!(answer.body["remaining"], "0.00");
        }
    }
    assert_eq!(refunds.len(), 30, "{}", way.channel);
    let now = client.order(id).await;
    assert_eq!(now["amount_refundable"], "0.00", "all of it is taken");
    if way.channel == "wechat" {
        let waiting = client.listed(&format!("/v1/refunds?order={id}&state=created")).await;
        assert!(waiting.len() >= 20, "{} wait {:?} after the first", waiting.len(), begun.elapsed());
        assert!(waiting.iter().all(|refund| refund["finished_at"].is_null() && refund["attention"].is_null()));
    }
    let ends = join_all(refunds.iter().map(|refund| async {
        let refund = client.refund_reaches(text(refund, "id"), "succeeded", seconds(60)).await;
        app.receiver.kinds_become(text(&refund, "id"), SUCCEEDED, seconds(15)).await;
        refund
    }))
    .await;
    let sum = |field: &str| ends.iter().map(|refund| minor(text(refund, field))).sum::<i64>();
    let fee_minor = minor(text(&order, "fee"));
    assert_eq!((sum("amount"), sum("fee_returned")), (payable_minor, fee_minor), "{}", way.channel);
    let parts: i64 = ends.iter().map(|refund| minor(text(&refund["parts"][0], "amount"))).sum();
    assert_eq!(parts, minor(amount), "{}: the platform has given back what it got", way.channel);
    let now = client.order(id).await;
    assert_eq!((&now["amount_refunded"], &now["amount_refundable"]), (&order["payable"], &json!("0.00")));
    let seen = app.gateway.attempt(attempt).await.expect("it is paid");
    assert_eq!((&seen["refunded_minor"], &seen["captured_minor"]), (&json!(payable_minor), &json!(payable_minor)));
    assert_eq!(numbers_taken(&app.site, attempt).len(), 30, "{}: each number once", way.channel);
    if way.channel == "wechat" {
        let at: Vec<i64> =
            taken(&app.site, attempt).iter().map(|fact| fact["at"].as_i64().expect("an instant")).collect();
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= HASTY_PAUSE_MS), "{at:?}");
        // Sends that are too early are refused and come again; the machine may be too busy for a few of them.
        let sends = app.metric("tongbao_channel_calls_total", "channel=\"wechat\",call=\"refund\"").await;
        assert!((30.0..=36.0).contains(&sends), "{sends} sends of thirty refunds");
    }
    let of_order = client.listed(&format!("/v1/balance_transactions?order={id}")).await;
    assert_eq!(of_order.iter().map(|row| minor(text(row, "amount"))).sum::<i64>(), 0, "{}", way.channel);
    each_fact_is_told_once(app, id);
}

/// As many as WeChat Pay ever takes of one payment, by a channel that wants no pause; and not one more.
async fn fifty_one(app: &App) {
    let client = app.client();
    let order = paid(app, simpay()).await;
    let id = text(&order, "id");
    for answer in join_all((0..50).map(|_| async { client.refund_soon(id, &a_refund(Some("0.01"), None)).await })).await
    {
        answer.refund(201);
    }
    client.refund(id, &a_refund(Some("0.01"), None)).await.problem(409, "refund_limit");
    client.until(id, "has given back fifty", seconds(20), |order| order["amount_refunded"] == "0.50").await;
    client.refund(id, &a_refund(Some("0.01"), None)).await.problem(409, "refund_limit");
    assert_eq!(client.order(id).await["amount_refundable"], "200.10");
    assert_eq!(client.listed(&path_of(id)).await.len(), 50);
    assert_eq!(numbers_taken(&app.site, text(&order["attempts"][0], "id")).len(), 50);
}

/// Who bears the fee, and whether it goes back.
#[actix_web::test]
async fn the_fee_goes_back_in_proportion_or_stays_on_both_stores() {
    tokio::join!(fees(Kind::Sqlite), fees(Kind::Postgres));
}

async fn fees(kind: Kind) {
    let app = app::start_with(kind, "").await;
    tokio::join!(
        borne_by_the_payer(&app),
        kept_of_the_payer(&app),
        odd_amounts(&app),
        borne_by_the_platform(&app),
        shares_are_given_again(&app)
    );
    app.client_b().balance_agrees().await;
    app.client().balance_agrees().await;
    app.finish().await;
}

/// Asks for a refund, and waits for it; what it took from the platform, and of the fee.
async fn given(client: &Client, order: &str, amount: &str, policy: &str) -> (String, String) {
    let asked = with(&a_refund(Some(amount), None), &json!({ "fee_policy": policy }));
    let refund = client.refund(order, &asked).await.refund(201);
    let refund = client.refund_reaches(text(&refund, "id"), "succeeded", seconds(20)).await;
    assert_eq!((&refund["amount"], &refund["fee_policy"]), (&json!(amount), &json!(policy)));
    let parts = refund["parts"].as_array().expect("parts");
    assert_eq!(parts.len(), 1, "{refund}");
    (text(&parts[0], "amount").to_owned(), text(&refund, "fee_returned").to_owned())
}

fn pair(part: &str, fee: &str) -> (String, String) {
    (part.to_owned(), fee.to_owned())
}

/// 100.30 of 200.60 are 100.00 and 0.30 of the fee, twice.
async fn borne_by_the_payer(app: &App) {
    let client = app.client();
    let order = paid(app, simpay()).await;
    let id = text(&order, "id");
    assert_eq!(
        (&order["payable"], &order["fee"], &order["fee_bearer"]),
        (&json!("200.60"), &json!("0.60"), &json!("payer"))
    );
    for refundable in ["100.30", "0.00"] {
        assert_eq!(given(&client, id, "100.30", "proportional").await, pair("100.00", "0.30"));
        assert_eq!(client.order(id).await["amount_refundable"], refundable);
    }
    let rows = client.listed(&format!("/v1/balance_transactions?order={id}")).await;
    let rows: Vec<_> = rows.iter().rev().map(|row| (text(row, "type"), text(row, "amount"))).collect();
    assert_eq!(rows, [("payment", "200.00"), ("refund", "-100.00"), ("refund", "-100.00")]);
}

/// The fee stays: at most the platform's part goes back, and what is left is the fee alone.
async fn kept_of_the_payer(app: &App) {
    let client = app.client();
    let order = paid(app, simpay()).await;
    let id = text(&order, "id");
    let kept = |amount: &str| with(&a_refund(Some(amount), None), &json!({ "fee_policy": "kept" }));
    for too_much in ["200.01", "200.60"] {
        let refused = client.refund(id, &kept(too_much)).await;
        assert_eq!(refused.problem(409, "refund_exceeds_remaining"), Some("amount"));
        assert_eq!(refused.body["remaining"], "200.00");
    }
    assert_eq!(given(&client, id, "50.00", "kept").await, pair("50.00", "0.00"));
    // Of 150.00 and 0.60 that are left.
    assert_eq!(given(&client, id, "75.30", "proportional").await, pair("75.00", "0.30"));
    // All that the policy allows, where no amount is named.
    let rest = client.refund(id, &with(&a_refund(None, None), &json!({ "fee_policy": "kept" }))).await.refund(201);
    assert_eq!((&rest["amount"], &rest["fee_returned"]), (&json!("75.00"), &json!("0.00")));
    client.refund_reaches(text(&rest, "id"), "succeeded", seconds(20)).await;
    assert_eq!(client.order(id).await["amount_refundable"], "0.30");
    let refused = client.refund(id, &kept("0.01")).await;
    assert_eq!(refused.problem(409, "refund_exceeds_remaining"), Some("amount"));
    assert_eq!(refused.body["remaining"], "0.00");
    assert_eq!(given(&client, id, "0.30", "proportional").await, pair("0.00", "0.30"));
    let rows = client.listed(&format!("/v1/balance_transactions?order={id}")).await;
    assert_eq!(rows.iter().map(|row| minor(text(row, "amount"))).sum::<i64>(), 0, "{rows:?}");
}

/// Each refund is divided over what is left, to the minor unit, and the last one takes what is left of each.
async fn odd_amounts(app: &App) {
    let client = app.client();
    let order = paid_as(app, simpay(), json!({ "amount": "9.99" })).await;
    let id = text(&order, "id");
    assert_eq!((&order["payable"], &order["fee"]), (&json!("10.02"), &json!("0.03")));
    // 999 : 3; 332 of it is 331.006 : 0.994; of 668 : 2, 335 is 334 : 1; of 334 : 1, 1 is 0.997 : 0.003.
    for (amount, part, fee) in
        [("3.32", "3.31", "0.01"), ("3.35", "3.34", "0.01"), ("0.01", "0.01", "0.00"), ("3.34", "3.33", "0.01")]
    {
        assert_eq!(given(&client, id, amount, "proportional").await, pair(part, fee), "{amount}");
    }
    assert_eq!(client.order(id).await["amount_refundable"], "0.00");
}

/// The platform pays the fee beside the amount, and has it back in proportion, half up, or not.
async fn borne_by_the_platform(app: &App) {
    let name = unique("shop");
    let made = app.site.run(&["platform", "create", &name, "--fee-bearer", "platform"]).await;
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).expect("text");
    let word = |start: &str| said.split_whitespace().find(|word| word.starts_with(start)).expect("it is shown");
    app.receiver.knows(&name, word("whsec_"));
    let client = app.client().with_key(word("sk_"));
    let alipay = one_of_each()[2];
    let asked = json!({ "amount": "99.99", "webhook_url": app.receiver.url(&name) });
    let order = client.create(&support::client::with(alipay.order(app, "tea"), asked)).await.order(201);
    visit(&order["next_action"]).await;
    let order = client.reaches(text(&order, "id"), "succeeded", seconds(20)).await;
    let id = text(&order, "id");
    assert_eq!(
        (&order["payable"], &order["fee"], &order["fee_bearer"]),
        (&json!("99.99"), &json!("0.50"), &json!("platform"))
    );
    let balance = async || client.balance().await.get("CNY").copied();
    assert_eq!(balance().await, Some(9_949));
    // 0.50 × 10.00 / 99.99 is 0.050005.
    assert_eq!(given(&client, id, "10.00", "proportional").await, pair("10.00", "0.05"));
    assert_eq!(balance().await, Some(9_949 - 1_000 + 5));
    assert_eq!(given(&client, id, "40.00", "kept").await, pair("40.00", "0.00"));
    assert_eq!(balance().await, Some(8_954 - 4_000));
    // Of 49.99 and 0.45 that are left: 0.45 × 0.56 / 49.99 is 0.00504, half a fen and a little more.
    assert_eq!(given(&client, id, "0.56", "proportional").await, pair("0.56", "0.01"));
    // 0.44 × 0.56 / 49.43 is 0.00498, a little less than half a fen.
    assert_eq!(given(&client, id, "0.56", "proportional").await, pair("0.56", "0.00"));
    assert_eq!(balance().await, Some(4_954 - 56 + 1 - 56));
    let rest = client.refund(id, &a_refund(None, None)).await.refund(201);
    assert_eq!((&rest["amount"], &rest["fee_returned"]), (&json!("48.87"), &json!("0.44")));
    let rest = client.refund_reaches(text(&rest, "id"), "succeeded", seconds(20)).await;
    assert_eq!(balance().await, None, "all of the fee came back, by what was not kept of it");
    let changes = client.transactions_of(text(&rest, "id")).await;
    assert_eq!(changes, [pair("refund", "-48.87"), pair("fee_returned", "0.44")]);
    client.balance_agrees().await;
}

/// Every party gives its part when a refund is created, and has it again when that fails or comes back.
async fn shares_are_given_again(app: &App) {
    let accepted = app.site.run(&["platform", "accept-shares", "platform-b", "--from", "platform-a"]).await;
    assert!(accepted.status.success(), "{accepted:?}");
    let (client, other) = (app.client(), app.client_b());
    let splits = json!([{ "to": "platform-b", "rate": "0.10" }]);
    let order = paid_as(app, simpay(), json!({ "splits": splits })).await;
    let id = text(&order, "id");
    let parts =
        json!([{ "platform": "platform-a", "amount": "90.00" }, { "platform": "platform-b", "amount": "10.00" }]);
    for (script, end, again) in
        [("sim:refuse", "failed", "refund_failed"), ("sim:return", "returned", "refund_returned")]
    {
        let refund = client.refund(id, &a_refund(Some("100.30"), Some(script))).await.refund(201);
        assert_eq!((&refund["parts"], &refund["fee_returned"]), (&parts, &json!("0.30")), "{script}");
        client.refund_reaches(text(&refund, "id"), end, seconds(20)).await;
        let ours = client.transactions_of(text(&refund, "id")).await;
        let mut expected =
            [pair("refund", "-100.00"), pair("share_back", "10.00"), pair(again, "100.00"), pair(again, "-10.00")];
        expected.sort_unstable();
        assert_eq!(sorted(ours), expected, "{script}");
        let theirs = other.transactions_of(text(&refund, "id")).await;
        assert_eq!(theirs, [pair("share_back", "-10.00"), pair(again, "10.00")], "{script}");
        other.get(&format!("/v1/refunds/{}", text(&refund, "id"))).await.problem(404, "not_found");
    }
    assert_eq!(client.order(id).await["amount_refundable"], "200.60");
    let whole = client.refund(id, &a_refund(None, None)).await.refund(201);
    client.refund_reaches(text(&whole, "id"), "succeeded", seconds(20)).await;
    for client in [&client, &other] {
        let rows = client.listed(&format!("/v1/balance_transactions?order={id}")).await;
        assert!(!rows.is_empty());
        assert_eq!(rows.iter().map(|row| minor(text(row, "amount"))).sum::<i64>(), 0, "{rows:?}");
    }
}

fn sorted(mut rows: Vec<(String, String)>) -> Vec<(String, String)> {
    rows.sort_unstable();
    rows
}

const BESIDE: &str = "[gateway]\nembedded = false\n";
const HARD: [Option<&str>; 4] = [None, Some("sim:hang"), Some("sim:late"), Some("sim:poor")];

/// A refund by each of these scripts, each of a payment of its own, by every channel: orders and refunds, just begun.
async fn many_begun(app: &App, repeat: bool) -> Vec<(Value, Value)> {
    let cells = one_of_each().into_iter().flat_map(|way| HARD.map(|reason| (way, reason)));
    let orders = join_all(cells.map(|(way, reason)| async move { (paid(app, way).await, reason) })).await;
    let asked: Vec<_> = orders.into_iter().map(|(order, reason)| (order, a_refund(Some("100.00"), reason))).collect();
    let client = app.client();
    let refunds = join_all(asked.iter().map(|(order, asked)| client.refund_soon(text(order, "id"), asked))).await;
    if repeat {
        for ((order, asked), answer) in asked.iter().zip(&refunds) {
            let again = client.refund_soon(text(order, "id"), asked).await.refund(200);
            assert_eq!(again["id"], answer.refund(201)["id"]);
        }
    }
    asked.into_iter().zip(refunds).map(|((order, _), answer)| (order, answer.refund(201))).collect()
}

#[actix_web::test]
async fn a_server_that_is_killed_ends_its_refunds_once_on_both_stores() {
    tokio::join!(killed(Kind::Sqlite), killed(Kind::Postgres));
}

async fn killed(kind: Kind) {
    const PARTS: usize = 5;
    let mut app = App::start_beside_gateway(Site::new(kind, BESIDE)).await;
    let client = app.client();
    // WeChat Pay wants 3 s between these: four wait, and all of them are due before the server is there again for good.
    let shared = paid(&app, one_of_each()[1]).await;
    let shared_id = text(&shared, "id");
    let begun = many_begun(&app, false).await;
    let parts = join_all(
        (0..PARTS).map(|_| async { client.refund_soon(shared_id, &a_refund(Some("10.00"), None)).await.refund(201) }),
    )
    .await;
    // One whose answer nobody gets.
    let lost = paid(&app, simpay()).await;
    let lost_asked = a_refund(Some("100.00"), Some("sim:hang"));
    let request = client.request(reqwest::Method::POST, &path_of(text(&lost, "id"))).json(&lost_asked);
    let (answer, ()) = tokio::join!(client.try_send(request), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        app.kill().await;
    });
    answer.expect_err("the server is gone");
    app.restart();
    app.ready().await;
    // The refunds that hang are sent by now or asked about.
    tokio::time::sleep(Duration::from_millis(500)).await;
    app.kill().await;
    tokio::time::sleep(seconds(5)).await;
    app.restart();
    app.ready().await;

    let again = client.refund(text(&lost, "id"), &lost_asked).await;
    assert!([200, 201].contains(&again.status), "{}", again.text);
    let lost = (lost, again.refund(again.status));
    let parts = parts.into_iter().map(|refund| (shared.clone(), refund));
    let all: Vec<(Value, Value)> = begun.into_iter().chain([lost]).chain(parts).collect();
    join_all(all.iter().map(|(order, refund)| async {
        let refund = client.refund_reaches(text(refund, "id"), "succeeded", seconds(60)).await;
        let told = || async {
            let told = app.receiver.of(text(&refund, "id"));
            told.first().map(|webhook| assert_eq!(webhook.kind, "refund.succeeded"))
        };
        eventually(&format!("{refund} is told of"), seconds(15), told).await;
        each_fact_is_told(&app, text(order, "id"));
    }))
    .await;
    for (order, refund) in &all {
        let attempt = text(&order["attempts"][0], "id");
        let (count, each) = if order["id"] == shared["id"] { (PARTS, "10.00") } else { (1, "100.00") };
        assert_eq!(numbers_taken(&app.site, attempt).len(), count, "{refund}");
        let seen = app.gateway.attempt(attempt).await.expect("it is paid");
        let sum = i64::try_from(count).expect("a few") * minor(each);
        assert_eq!(seen["refunded_minor"], sum, "{refund}: {seen}");
        assert_eq!(minor(text(&client.order(text(order, "id")).await, "amount_refunded")), sum, "{refund}");
    }
    client.balance_agrees().await;
    app.finish().await;
}

/// A store that was copied while refunds were under way, and served when the first one's server is gone: the copy asks
/// about them and sends them again under the numbers that the gateway knows.
#[actix_web::test]
async fn a_copy_of_the_store_pays_no_refund_again_on_both_stores() {
    tokio::join!(copied(Kind::Sqlite), copied(Kind::Postgres));
}

/// The copy's address. PostgreSQL copies what nobody uses, and waits 5 s for those who leave: so there the server is killed
/// for it and goes on afterwards.
async fn copy(app: &mut App, kind: Kind) -> String {
    match kind {
        Kind::Sqlite => {
            let copy = app.site.folder.path().join("copy.db");
            let mut beside = Beside::of(&app.site).await;
            beside.run(&format!("VACUUM INTO '{}'", copy.display())).await;
            beside.close().await;
            format!("sqlite://{}", copy.display())
        }
        Kind::Postgres => {
            app.kill().await;
            let name = app.site.store_url.rsplit('/').next().expect("a URL ends in the database's name");
            let copy = postgres::shared().database_with(&format!("TEMPLATE {name}"));
            app.restart();
            app.ready().await;
            copy
        }
    }
}

async fn copied(kind: Kind) {
    let mut app = App::start_beside_gateway(Site::new(kind, BESIDE)).await;
    let client = app.client();
    let begun = many_begun(&app, true).await;
    let copy = copy(&mut app, kind).await;
    join_all(begun.iter().map(|(_, refund)| client.refund_reaches(text(refund, "id"), "succeeded", seconds(45)))).await;
    let (taken, totals) = (facts(&app.site, "refunded"), app.gateway.totals().await);
    assert_eq!(taken.len(), begun.len());
    books::settle(&app.site, &app.gateway, Left::default()).await;
    app.server.stop().await;

    app.site.store_url = copy;
    let orders = books::orders(books::open(&app.site).as_ref()).await;
    let under_way = orders.iter().filter(|order| books::stirs(order).is_some()).count();
    assert!(under_way >= begun.len() / 2, "{under_way} refunds were under way when the copy was taken");
    app.restart();
    app.ready().await;
    join_all(begun.iter().map(async |(order, refund)| {
        let refund = client.refund_reaches(text(refund, "id"), "succeeded", seconds(60)).await;
        let order = client.order(text(order, "id")).await;
        assert_eq!((&order["amount_refunded"], &refund["attention"]), (&json!("100.00"), &Value::Null), "{refund}");
    }))
    .await;
    // Each question of the copy was about a number that is known, or sent one that is.
    let asked = app.metric("tongbao_channel_calls_total", "call=\"query_refund\"").await;
    let sent = app.metric("tongbao_channel_calls_total", "call=\"refund\"").await;
    assert!(asked + sent >= under_way as f64, "{asked} questions and {sent} sends for {under_way} refunds");
    assert_eq!(facts(&app.site, "refunded"), taken, "the gateway has taken no other refund");
    assert_eq!(app.gateway.totals().await, totals, "and paid nothing again");
    client.balance_agrees().await;
    app.finish().await;
}

/// A refund's row that cannot be read is no silence: what would send it is listed, and what would end it holds its order
/// back, until the row is repaired.
#[actix_web::test]
async fn a_refund_whose_row_cannot_be_read_is_loud() {
    let settings = "[orders]\nquarantine_retry_ms = [300]\n[gateway]\nembedded = false\n";
    let mut app = App::start_beside_gateway(Site::new(Kind::Sqlite, settings)).await;
    let (client, operator) = (app.client(), app.client().with_key("ok_sandbox"));
    let noted = json!({ "webhook_url": app.receiver.url("platform-a") });
    let order = paid_as(&app, one_of_each()[0], noted).await;
    let id = text(&order, "id");
    let poor = client.refund(id, &a_refund(Some("1.00"), Some("sim:poor"))).await.refund(201);
    let stuck = client.refund(id, &a_refund(Some("2.00"), Some("sim:stuck"))).await.refund(201);
    assert_eq!((&poor["attention"], &stuck["attention"]), (&json!("channel_balance"), &json!("person")));
    // A server that has seen the refund begin reads its row no more.
    app.server.stop().await;
    let mut beside = Beside::of(&app.site).await;
    beside.run("UPDATE refunds SET fee_policy = '?' || fee_policy").await;
    app.restart();
    app.ready().await;
    eventually("it is listed when it is to be sent", seconds(15), || async {
        let rows = operator.get("/v1/operator/unreadable").await.body["data"].clone();
        let is_it = |row: &Value| row["table"] == "refunds" && row["row"] == poor["id"];
        rows.as_array().is_some_and(|rows| rows.iter().any(is_it)).then_some(())
    })
    .await;
    eventually("it is measured", seconds(15), || async {
        (app.metric("tongbao_rows_unreadable", "table=\"refunds\"").await == 1.0).then_some(())
    })
    .await;
    let resolution = json!({ "refund": stuck["id"], "resolution": "paid_otherwise", "evidence": "slip" });
    let proposed = operator.post(&format!("/v1/operator/orders/{id}/refunds/resolve"), &resolution).await;
    assert_eq!(proposed.status, 202, "{}", proposed.text);
    assert_eq!(app.approve_all().await[0]["state"], "approved", "nobody can tell the platform what it is");
    let proposal = format!("/v1/operator/proposals/{}", text(&proposed.body, "id"));
    eventually("its order is held back", seconds(10), || async {
        (app.metric("tongbao_streams_quarantined", "").await == 1.0).then_some(())
    })
    .await;
    beside.run("UPDATE refunds SET fee_policy = substr(fee_policy, 2)").await;
    beside.close().await;
    client.refund_reaches(text(&poor, "id"), "succeeded", seconds(30)).await;
    eventually("the other one is ended", seconds(20), || async {
        (operator.get(&proposal).await.body["state"] == "done").then_some(())
    })
    .await;
    client.refund_reaches(text(&stuck, "id"), "succeeded", seconds(5)).await;
    client.balance_agrees().await;
    app.finish().await;
}
