//! Payments from the order to the webhook: every script of the sandbox, and the end that it must reach.

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::app::App;
use support::client::{Client, an_order, text, with};
use support::process::Kind;
use support::receiver::DELIVERY;
use support::{app, seconds};

/// How a payment by a script must end.
struct Script {
    description: &'static str,
    within: Duration,
    state: &'static str,
    last_failure: Option<&'static str>,
    webhooks: &'static [&'static str],
}

const PAID: &[&str] = &["order.succeeded"];
const DEAD: &[&str] = &["order.attempt_failed"];

#[rustfmt::skip]
const SCRIPTS: &[Script] = &[
    Script { description: "tea",          within: seconds(5),  state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:decline",  within: seconds(8),  state: "created",   last_failure: Some("channel_declined"), webhooks: DEAD },
    Script { description: "sim:refuse",   within: seconds(5),  state: "created",   last_failure: Some("channel_declined"), webhooks: DEAD },
    Script { description: "sim:underpay", within: seconds(5),  state: "created",   last_failure: Some("amount_insufficient"), webhooks: &["order.attempt_failed", "order.suspense_refunded"] },
    Script { description: "sim:hang",     within: seconds(15), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:error",    within: seconds(15), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:lost",     within: seconds(15), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:twice",    within: seconds(5),  state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:forge",    within: seconds(15), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:slow",     within: seconds(30), state: "succeeded", last_failure: None, webhooks: PAID },
];

#[actix_web::test]
async fn every_script_reaches_its_end() {
    let app = app::start().await;
    let scripts = join_all(SCRIPTS.iter().map(|script| follows(&app, script)));
    tokio::join!(scripts, never_paid(&app), late_after_cancel(&app), late_after_expiry(&app));
    assert!(app.metric("tongbao_callbacks_total", "verdict=\"forged\"").await >= 1.0, "forged callbacks are counted");
    app.finish().await;
}

#[actix_web::test]
async fn every_script_reaches_its_end_on_postgres() {
    let app = app::start_with(Kind::Postgres, "").await;
    tokio::join!(join_all(SCRIPTS.iter().map(|script| follows(&app, script))), late_after_cancel(&app));
    app.finish().await;
}

fn noted(app: &App, order: Value) -> Value {
    with(order, json!({ "webhook_url": app.receiver.url("platform-a"), "metadata": { "room": "7" } }))
}

async fn follows(app: &App, script: &Script) {
    let client = app.client();
    let asked = noted(app, an_order(script.description));
    let begun = tokio::time::Instant::now();
    let created = client.create(&asked).await;
    let order = created.order(201);
    let id = text(&order, "id");
    assert_eq!(created.header("location"), Some(format!("{}/v1/orders/{id}", app.site.url()).as_str()));
    if script.state == "succeeded" && order["state"] == "submitted" {
        check_submitted(&order, script);
    }
    let wanted = |order: &Value| {
        let failure = order["last_failure"]["code"].as_str();
        order["state"] == script.state && failure == script.last_failure
    };
    let order = client.until(id, script.description, script.within, wanted).await;
    if script.description == "sim:forge" {
        assert!(begun.elapsed() >= seconds(3) - Duration::from_millis(50), "a forged callback was believed");
    }
    if script.state == "succeeded" {
        check_paid(app, &order).await;
    } else {
        check_payable_again(app, &order).await;
    }
    app.receiver.kinds_become(id, script.webhooks, DELIVERY).await;
    if script.description == "sim:underpay" {
        check_underpaid(app, &client.order(id).await).await;
    }
    // Whatever comes twice has come by now.
    tokio::time::sleep(seconds(2)).await;
    let webhooks = app.receiver.of(id);
    assert_eq!(webhooks.len(), script.webhooks.len(), "one webhook per fact: {webhooks:#?}");
    for (place, webhook) in webhooks.iter().enumerate() {
        assert_eq!(webhook.data["metadata"], json!({ "room": "7" }));
        assert_eq!(webhooks.iter().filter(|other| other.id == webhook.id).count(), 1, "ids are unique");
        assert!((1..=webhooks.len() as u64).contains(&webhook.data["sequence"].as_u64().unwrap()), "{place}");
    }
}

fn check_submitted(order: &Value, script: &Script) {
    assert_eq!(order["fee"], "0.60");
    assert_eq!(order["fee_rate"], "0.003");
    assert_eq!(order["payable"], "200.60");
    assert_eq!((&order["channel"], &order["method"]), (&json!("simpay"), &json!("qr")));
    assert_eq!(order["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(text(&order["attempts"][0], "id").len(), 28);
    let answered = !["sim:hang", "sim:error"].contains(&script.description);
    if answered {
        assert_eq!(order["next_action"]["type"], "qr_code", "{order}");
        assert!(text(&order["next_action"], "qr_code").starts_with("simpay://"));
    }
}

async fn check_paid(app: &App, order: &Value) {
    assert_eq!(order["payable"], "200.60");
    assert!(order["next_action"].is_null() && order["failure"].is_null() && order["last_failure"].is_null());
    assert!(order["finished_at"].is_string());
    assert_eq!(order["suspense"], json!([]));
    let attempt = &order["attempts"][0];
    assert_eq!(attempt["state"], "captured");
    assert!(text(attempt, "channel_reference").starts_with("SP"));
    let seen = app.gateway.attempt(text(attempt, "id")).await.unwrap();
    assert_eq!((&seen["captured_minor"], &seen["refunded_minor"]), (&json!(20_060), &json!(0)));
}

/// An order whose attempt died tells the payer why, and where to try again.
async fn check_payable_again(app: &App, order: &Value) {
    assert!(order["finished_at"].is_null() && order["next_action"].is_null() && order["channel"].is_null(), "{order}");
    assert!(text(order, "retry_url").starts_with(&format!("{}/pay/", app.site.url())));
    let alternatives = order["alternative_channels"].as_array().expect("a list");
    for channel in ["simpay", "wechat", "alipay", "unionpay", "stripe"] {
        assert!(alternatives.contains(&json!(channel)), "every channel is up: {order}");
    }
    assert_eq!(order["attempts"][0]["state"], "dead");
    let failure = &order["last_failure"];
    assert!(!text(&failure["message"], "zh").is_empty() && !text(&failure["message"], "en").is_empty());
    assert!(["retry", "other_channel", "contact_channel"].contains(&text(failure, "advice")));
}

async fn check_underpaid(app: &App, order: &Value) {
    assert_eq!(order["suspense"][0]["amount"], "200.59");
    assert_eq!(order["suspense"][0]["state"], "refunded");
    assert_eq!(order["amount_refunded"], "0.00", "the platform's refunds are another matter");
    let seen = app.gateway.attempt(text(&order["attempts"][0], "id")).await.unwrap();
    assert_eq!((&seen["captured_minor"], &seen["refunded_minor"]), (&json!(20_059), &json!(20_059)));
}

/// Nobody pays: the attempt is closed at its expiry, and the order has failed.
async fn never_paid(app: &App) {
    let client = app.client();
    let order = client.create(&noted(app, with(an_order("sim:never"), json!({ "expires_in": 60 })))).await.order(201);
    let id = text(&order, "id");
    assert_eq!(order["state"], "submitted");
    tokio::time::sleep(seconds(50)).await;
    assert_eq!(client.order(id).await["state"], "submitted", "nothing is decided before the expiry");
    let order = client.reaches(id, "failed", seconds(20)).await;
    assert_eq!(order["failure"]["code"], "expired");
    assert_eq!(order["attempts"][0]["state"], "dead");
    let seen = app.gateway.attempt(text(&order["attempts"][0], "id")).await.unwrap();
    assert_eq!(seen["state"], "closed", "the attempt was closed at its channel");
    app.receiver.kinds_become(id, &["order.failed"], DELIVERY).await;
}

/// The money comes after the close was answered as done: the order stays cancelled, the money goes back.
async fn late_after_cancel(app: &App) {
    let client = app.client();
    let order = client.create(&noted(app, an_order("sim:late"))).await.order(201);
    let id = text(&order, "id");
    let cancelled = client.cancel(id).await;
    assert!([200, 202].contains(&cancelled.status), "{}", cancelled.text);
    late_money(app, &client, id, "cancelled").await;
}

async fn late_after_expiry(app: &App) {
    let client = app.client();
    let order = client.create(&noted(app, with(an_order("sim:late"), json!({ "expires_in": 60 })))).await.order(201);
    tokio::time::sleep(seconds(55)).await;
    late_money(app, &client, text(&order, "id"), "expired").await;
}

async fn late_money(app: &App, client: &Client, id: &str, failure: &str) {
    let order = client.reaches(id, "failed", seconds(15)).await;
    assert_eq!(order["failure"]["code"], failure);
    let settled = |order: &Value| order["suspense"][0]["state"] == "refunded";
    let order = client.until(id, "gives the late money back", seconds(15), settled).await;
    assert_eq!(order["state"], "failed", "a final state never changes");
    let seen = app.gateway.attempt(text(&order["attempts"][0], "id")).await.unwrap();
    assert_eq!((&seen["captured_minor"], &seen["refunded_minor"]), (&json!(20_060), &json!(20_060)));
    app.receiver.kinds_become(id, &["order.failed", "order.suspense_refunded"], DELIVERY).await;
}
