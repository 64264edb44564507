//! Every channel and method against the simulated gateway, script by script, over real HTTP.
//!
//! What a protocol cannot express is a cell of [`impossible`]; the documents hold the same table.

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::app::App;
use support::client::{an_order, http, text, with};
use support::process::Kind;
use support::receiver::DELIVERY;
use support::{app, seconds};

/// A channel's way to pay, and what an order of 200.00 by it looks like.
struct Way {
    channel: &'static str,
    method: &'static str,
    currency: &'static str,
    payable: &'static str,
    next_action: &'static str,
}

#[rustfmt::skip]
const WAYS: &[Way] = &[
    Way { channel: "wechat",   method: "native", currency: "CNY", payable: "200.60", next_action: "qr_code" },
    Way { channel: "wechat",   method: "jsapi",  currency: "CNY", payable: "200.60", next_action: "client" },
    Way { channel: "wechat",   method: "h5",     currency: "CNY", payable: "200.60", next_action: "redirect" },
    Way { channel: "wechat",   method: "app",    currency: "CNY", payable: "200.60", next_action: "client" },
    Way { channel: "alipay",   method: "page",   currency: "CNY", payable: "201.00", next_action: "form" },
    Way { channel: "alipay",   method: "qr",     currency: "CNY", payable: "201.00", next_action: "qr_code" },
    Way { channel: "alipay",   method: "wap",    currency: "CNY", payable: "201.00", next_action: "form" },
    Way { channel: "unionpay", method: "page",   currency: "CNY", payable: "201.20", next_action: "form" },
    Way { channel: "unionpay", method: "wap",    currency: "CNY", payable: "201.20", next_action: "form" },
    Way { channel: "stripe",   method: "card",   currency: "USD", payable: "205.80", next_action: "client" },
];

/// How a payment by a script ends.
struct Script {
    description: &'static str,
    within: Duration,
    state: &'static str,
    last_failure: Option<&'static str>,
    webhooks: &'static [&'static str],
}

const PAID: &[&str] = &["order.succeeded"];
const DEAD: &[&str] = &["order.attempt_failed"];
const BACK: &[&str] = &["order.attempt_failed", "order.suspense_refunded"];

#[rustfmt::skip]
const SCRIPTS: &[Script] = &[
    Script { description: "tea",          within: seconds(15), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:hang",     within: seconds(25), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:error",    within: seconds(25), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:lost",     within: seconds(25), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:twice",    within: seconds(15), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:forge",    within: seconds(25), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:slow",     within: seconds(40), state: "succeeded", last_failure: None, webhooks: PAID },
    Script { description: "sim:underpay", within: seconds(25), state: "created", last_failure: Some("amount_insufficient"), webhooks: BACK },
    Script { description: "sim:decline",  within: seconds(25), state: "created", last_failure: Some("channel_declined"), webhooks: DEAD },
    Script { description: "sim:refuse",   within: seconds(25), state: "created", last_failure: Some("channel_declined"), webhooks: DEAD },
];

const SETTINGS: &str = "
[channels.wechat]
enabled = true
[channels.alipay]
enabled = true
[channels.unionpay]
enabled = true
[channels.stripe]
enabled = true
";

#[actix_web::test]
async fn every_script_by_every_channel_and_method() {
    let app = app::start_with(Kind::Sqlite, SETTINGS).await;
    let cells = WAYS.iter().flat_map(|way| SCRIPTS.iter().map(move |script| (way, script)));
    join_all(cells.filter(|(way, script)| exists(way, script)).map(|(way, script)| follows(&app, way, script))).await;
    app.finish().await;
}

/// Cells of script, channel and method that the protocol cannot express.
///
/// UnionPay has no close and no word for "declined for good": until `payTimeout` and its grace have passed, a failure may
/// still become a payment, so that an attempt that was declined or refused stays open until then.
fn exists(way: &Way, script: &Script) -> bool {
    way.channel != "unionpay" || !["sim:decline", "sim:refuse"].contains(&script.description)
}

async fn follows(app: &App, way: &Way, script: &Script) {
    let what = format!("{} by {} {}", script.description, way.channel, way.method);
    let client = app.client();
    let asked = with(
        an_order(script.description),
        json!({
            "channel": way.channel, "method": way.method, "currency": way.currency,
            "payer": { "id": "u-1", "ip": "192.0.2.7", "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o" },
            "return_url": app.receiver.url("back"), "webhook_url": app.receiver.url("platform-a"),
        }),
    );
    let order = client.create(&asked).await.order(201);
    let id = text(&order, "id").to_owned();
    assert_eq!(order["attempts"][0]["payable"], way.payable, "{what}: {order}");
    if !order["next_action"].is_null() {
        assert_eq!(order["next_action"]["type"], way.next_action, "{what}: {order}");
        visit(&order["next_action"]).await;
    }
    let order = client.until(&id, &what, script.within, |order| {
        order["state"] == script.state && order["last_failure"]["code"].as_str() == script.last_failure
    });
    let order = order.await;
    if script.state == "succeeded" {
        assert_eq!(order["attempts"][0]["state"], "captured", "{what}");
        assert!(order["attempts"][0]["channel_reference"].is_string(), "{what}");
    }
    app.receiver.kinds_become(&id, script.webhooks, DELIVERY).await;
}

/// Does what the payer's browser would do with what it is shown.
async fn visit(next_action: &Value) {
    let sent = match text(next_action, "type") {
        "form" => {
            let fields = next_action["fields"].as_object().expect("a form has fields");
            let fields = fields.iter().map(|(name, value)| (name, value.as_str().expect("a field is text")));
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            let post = http().post(text(next_action, "url"));
            post.header("content-type", "application/x-www-form-urlencoded; charset=UTF-8").body(body).send().await
        }
        "redirect" => http().get(text(next_action, "url")).send().await,
        "qr_code" | "client" => return,
        other => panic!("no browser knows {other}"),
    };
    // A gateway that fails or hangs on purpose is part of the scripts.
    drop(sent);
}
