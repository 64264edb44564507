//! Every channel and method against the simulated gateway, script by script, over real HTTP.

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::app::{self, App};
use support::client::{text, with};
use support::process::{Kind, Site};
use support::receiver::DELIVERY;
use support::seconds;
use support::ways::{HURRIED, HURRIED_END, TIMELY_END, WAYS, Way, opened};

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
const FAILED: &[&str] = &["order.failed"];
const TOO_LATE: &[&str] = &["order.failed", "order.suspense_refunded"];

/// `sim:never` and `sim:late` have journeys of their own.
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

/// The nearest thing to a script that a protocol can express.
#[derive(Debug, PartialEq, Eq)]
enum Nearest {
    /// No call of ours creates the payment: what the script says of that call befalls the first query.
    NextCall,
    /// No call of ours creates the payment: the trade that the form makes is declined.
    Declined,
    /// Nothing closes an attempt, and a failure may still become a payment: it ends when `payTimeout` and grace are over.
    EndsByTime,
    /// Nothing closes an attempt: the end of its `payTimeout` stands for the close, and the money still finds it open.
    PaidAfterItsTime,
}

/// Every cell of script, channel and method that is not what the scripts' table says, and what it is. No cell is
/// missing; README.md has the same table.
#[rustfmt::skip]
const NEAREST: &[(&str, &[&str], &[&str], Nearest)] = &[
    ("alipay",   &["page", "wap"], &["sim:hang", "sim:error"],                   Nearest::NextCall),
    ("alipay",   &["page", "wap"], &["sim:refuse"],                              Nearest::Declined),
    ("unionpay", &["page", "wap"], &["sim:hang", "sim:error"],                   Nearest::NextCall),
    ("unionpay", &["page", "wap"], &["sim:decline", "sim:refuse", "sim:never"],  Nearest::EndsByTime),
    ("unionpay", &["page", "wap"], &["sim:late"],                                Nearest::PaidAfterItsTime),
];

fn nearest(way: &Way, script: &str) -> Option<&'static Nearest> {
    let is_it = |(channel, methods, scripts, _): &&(&str, &[&str], &[&str], Nearest)| {
        *channel == way.channel && methods.contains(&way.method) && scripts.contains(&script)
    };
    NEAREST.iter().find(is_it).map(|(.., nearest)| nearest)
}

fn ends_by_time(way: &Way, script: &str) -> bool {
    nearest(way, script) == Some(&Nearest::EndsByTime)
}

#[actix_web::test]
async fn every_script_by_every_channel_and_method() {
    let app = app::start().await;
    let cells = WAYS.iter().flat_map(|way| SCRIPTS.iter().map(move |script| (way, script)));
    let cells = cells.filter(|(way, script)| !ends_by_time(way, script.description));
    join_all(cells.map(|(way, script)| follows(&app, way, script, script.within))).await;
    app.finish().await;
}

/// What is declined or refused where only time ends an attempt is declined once that time is over.
#[actix_web::test]
async fn what_only_time_ends_is_declined_when_it_is_over() {
    let app = app::start_with(Kind::Sqlite, HURRIED).await;
    let cells = WAYS.iter().flat_map(|way| SCRIPTS.iter().map(move |script| (way, script)));
    let cells = cells.filter(|(way, script)| ends_by_time(way, script.description));
    join_all(cells.map(|(way, script)| follows(&app, way, script, HURRIED_END))).await;
    app.finish().await;
}

async fn follows(app: &App, way: &Way, script: &Script, within: Duration) {
    let what = format!("{} by {} {}", script.description, way.channel, way.method);
    let order = opened(app, &way.order(app, script.description)).await;
    let id = text(&order, "id");
    assert_eq!(order["attempts"][0]["payable"], way.payable, "{what}: {order}");
    let is_shown = match script.description {
        "sim:hang" | "sim:error" | "sim:refuse" => nearest(way, script.description).is_some(),
        _ => true,
    };
    assert_eq!(!order["next_action"].is_null(), is_shown, "{what}: {order}");
    if is_shown {
        assert_eq!(order["next_action"]["type"], way.next_action, "{what}: {order}");
    }
    let has_ended =
        |order: &Value| order["state"] == script.state && order["last_failure"]["code"].as_str() == script.last_failure;
    let ended = app.client().until(id, &what, within, has_ended).await;
    if script.state == "succeeded" {
        assert_eq!(ended["attempts"][0]["state"], "captured", "{what}");
        assert!(ended["attempts"][0]["channel_reference"].is_string(), "{what}");
    } else {
        assert_eq!(ended["alternative_channels"].as_array().map(Vec::len), Some(usable(way)), "{what}: {ended}");
    }
    app.receiver.kinds_become(id, script.webhooks, DELIVERY).await;
}

/// Channels that take 200.00 of a way's currency: the four others only take yuan where this is dollars.
fn usable(way: &Way) -> usize {
    if way.currency == "CNY" { 5 } else { 2 }
}

/// Who waits is asked for no money any more once the platform calls the order off.
#[actix_web::test]
async fn a_payment_that_waits_can_be_called_off_by_every_way() {
    let app = app::start_with(Kind::Sqlite, HURRIED).await;
    let called_off = async |way: &Way, script: &str| {
        let order = opened(&app, &way.order(&app, script)).await;
        let id = text(&order, "id");
        let asked = app.client().cancel(id).await;
        assert!([200, 202].contains(&asked.status), "{way:?}: {}", asked.text);
        if !way.can_be_closed() {
            assert_eq!((asked.status, &asked.body["state"]), (202, &json!("submitted")), "{way:?}");
        }
        not_paid(&app, way, script, id, "cancelled", HURRIED_END).await;
    };
    join_all(WAYS.iter().flat_map(|way| ["sim:never", "sim:late"].map(|script| called_off(way, script)))).await;
    app.finish().await;
}

#[actix_web::test]
async fn a_payment_that_nobody_makes_expires_by_every_way() {
    let app = app::start().await;
    let expires = async |way: &Way, script: &str| {
        let order = opened(&app, &with(way.order(&app, script), json!({ "expires_in": 75 }))).await;
        let id = text(&order, "id");
        assert_eq!(order["state"], "submitted", "{script} by {way:?}: {order}");
        tokio::time::sleep(seconds(40)).await;
        assert_eq!(app.client().order(id).await["state"], "submitted", "{way:?}: nothing is decided before its time");
        not_paid(&app, way, script, id, "expired", TIMELY_END).await;
    };
    join_all(WAYS.iter().flat_map(|way| ["sim:never", "sim:late"].map(|script| expires(way, script)))).await;
    app.finish().await;
}

/// Waits for the end of an order whose payer never paid, or only once the attempt was closed.
async fn not_paid(app: &App, way: &Way, script: &str, id: &str, failure: &str, within: Duration) {
    let what = format!("{script} by {} {} is {failure}", way.channel, way.method);
    let (client, late) = (app.client(), script == "sim:late");
    if nearest(way, script) == Some(&Nearest::PaidAfterItsTime) {
        client.until(id, &what, within, |order| order["state"] == "succeeded").await;
        return app.receiver.kinds_become(id, PAID, DELIVERY).await;
    }
    let order = client.until(id, &what, within, |order| order["state"] == "failed").await;
    assert_eq!(
        (&order["failure"]["code"], &order["attempts"][0]["state"]),
        (&json!(failure), &json!("dead")),
        "{what}"
    );
    let returned = |order: &Value| !late || order["suspense"][0]["state"] == "refunded";
    let order = client.until(id, &what, seconds(30), returned).await;
    assert_eq!(order["state"], "failed", "{what}: a final state never changes");
    app.receiver.kinds_become(id, if late { TOO_LATE } else { FAILED }, DELIVERY).await;
    if let Some(seen) = app.gateway.attempt(text(&order["attempts"][0], "id")).await {
        assert_eq!(seen["captured_minor"], seen["refunded_minor"], "{what}: {seen}");
        assert_eq!(seen["captured_minor"] != 0, late, "{what}: {seen}");
    }
}

/// Nothing but a folder: every channel is wired, and makes its own keys.
#[actix_web::test]
async fn a_first_start_wires_every_channel() {
    let site = Site::new(Kind::Sqlite, "");
    std::fs::remove_dir_all(site.folder.path().join("sandbox")).expect("the copies of the keys go");
    let app = App::start(site).await;
    assert_eq!(app.server.log().matches("making the sandbox's keys").count(), 4, "simpay has no folder");
    let client = app.client();
    let channels = client.get("/v1/channels").await;
    for channel in channels.body["data"].as_array().expect("a list") {
        assert_eq!((&channel["enabled"], &channel["health"]), (&json!(true), &json!("up")), "{channel}");
    }
    join_all(WAYS.iter().map(async |way| {
        let order = opened(&app, &way.order(&app, "tea")).await;
        app.client().reaches(text(&order, "id"), "succeeded", seconds(15)).await;
    }))
    .await;
    app.finish().await;
}

/// Outside the sandbox a channel that is on wants its account: the start says what is missing, of all channels at once.
#[actix_web::test]
async fn a_live_start_names_every_channel_without_an_account() {
    let mut site = Site::new(Kind::Sqlite, "sandbox = false\n");
    site.public_url = "https://pay.example".into();
    let refused = site.run(&["serve"]).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    for channel in ["simpay", "wechat", "alipay", "unionpay", "stripe"] {
        assert!(said.contains(&format!("`channels.{channel}.accounts.default` is missing")), "{said}");
        assert!(said.contains(&format!("`channels.{channel}.enabled = false`")), "{said}");
    }
}

/// The document has the table of this file.
#[actix_web::test]
async fn the_table_of_cells_is_in_the_document() {
    let readme = include_str!("../README.md");
    for (channel, methods, scripts, nearest) in NEAREST {
        let methods: Vec<String> = methods.iter().map(|method| format!("`{method}`")).collect();
        let scripts: Vec<String> = scripts.iter().map(|script| format!("`{script}`")).collect();
        let row = format!("| `{channel}` | {} | {} |", methods.join(", "), scripts.join(", "));
        assert!(readme.contains(&row), "{row} ({nearest:?})");
    }
}
