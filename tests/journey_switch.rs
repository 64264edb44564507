//! From one channel to another: the first attempt is closed before the second one begins, and money counts once.

mod support;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use support::app::{self, App};
use support::client::{an_order, text, with};
use support::process::Kind;
use support::receiver::DELIVERY;
use support::seconds;
use support::ways::{HURRIED, HURRIED_END, TIMELY_END, WAYS, Way, opened, visit};

/// One way of each channel.
fn one_of_each() -> Vec<&'static Way> {
    let mut ways: Vec<&Way> = Vec::new();
    for way in WAYS {
        if ways.iter().all(|known| known.channel != way.channel) {
            ways.push(way);
        }
    }
    ways
}

/// Every channel with every other one.
fn pairs() -> Vec<(&'static Way, &'static Way)> {
    let ways = one_of_each();
    let pairs = ways.iter().flat_map(|from| ways.iter().map(move |to| (*from, *to)));
    pairs.filter(|(from, to)| from.channel != to.channel).collect()
}

/// An order in yuan, which every channel takes.
async fn begun(app: &App, way: &Way, script: &str) -> String {
    let order = opened(app, &with(way.order(app, script), json!({ "currency": "CNY" }))).await;
    assert_eq!(order["state"], "submitted", "{way:?}: {order}");
    text(&order, "id").to_owned()
}

/// The payer chooses another channel; the order once that one is open, or over, and the payer has been there.
async fn switched(app: &App, id: &str, to: &Way) -> Value {
    let client = app.client();
    let asked = client.pay(id, to.channel).await;
    assert!([200, 202].contains(&asked.status), "to {}: {}", to.channel, asked.text);
    let is_open = |order: &Value| order["attempts"][1]["channel"] == to.channel && !order["next_action"].is_null();
    let order =
        client.until(id, to.channel, seconds(20), |order| is_open(order) || order["state"] == "succeeded").await;
    visit(&order["next_action"]).await;
    order
}

#[actix_web::test]
async fn every_channel_gives_way_to_every_other_one() {
    let app = app::start().await;
    let client = app.client();
    join_all(pairs().into_iter().map(async |(from, to)| {
        let what = format!("from {} to {}", from.channel, to.channel);
        let id = begun(&app, from, "sim:slow").await;
        let paid_by = if from.can_be_closed() {
            let order = switched(&app, &id, to).await;
            assert_eq!(order["attempts"][0]["state"], "dead", "{what}: {order}");
            assert_eq!(order["payable"], order["attempts"][1]["payable"], "{what}: the new channel's price");
            to
        } else {
            let refused = client.pay(&id, to.channel).await;
            refused.problem(409, "attempt_open");
            let wait_s: u64 = refused.header("retry-after").expect("when to come again").parse().expect("seconds");
            assert!((1..=75).contains(&wait_s), "{what}: {wait_s} s of 45 and 30");
            from
        };
        let order = client.reaches(&id, "succeeded", seconds(45)).await;
        assert_eq!(order["channel"], paid_by.channel, "{what}: {order}");
        assert_eq!(order["suspense"], json!([]), "{what}");
        app.receiver.kinds_become(&id, &["order.succeeded"], DELIVERY).await;
    }))
    .await;
    app.finish().await;
}

/// The first attempt was closed for the second one and is paid all the same: that money counts, since it was the amount
/// asked. The second one is closed for it, its money comes late too, and goes back.
#[actix_web::test]
async fn of_two_channels_that_are_paid_the_later_one_gives_its_money_back() {
    let app = app::start().await;
    let client = app.client();
    let both = join_all(pairs().into_iter().filter(|(from, _)| from.can_be_closed()).map(async |(from, to)| {
        let what = format!("from {} to {}", from.channel, to.channel);
        let id = begun(&app, from, "sim:late").await;
        switched(&app, &id, to).await;
        let order = client.reaches(&id, "succeeded", seconds(30)).await;
        assert_eq!(
            (&order["channel"], &order["attempts"][0]["state"]),
            (&json!(from.channel), &json!("captured")),
            "{what}"
        );
        // On a busy machine the money may be there before the second attempt is.
        let was_second_open = order["attempts"].as_array().expect("attempts").len() == 2;
        if was_second_open {
            let returned = |order: &Value| order["suspense"][0]["state"] == "refunded";
            let order = client.until(&id, &what, TIMELY_END, returned).await;
            assert_eq!(order["suspense"].as_array().map(Vec::len), Some(1), "{what}: {order}");
            let second = app.gateway.attempt(text(&order["attempts"][1], "id")).await.expect("it was opened");
            assert_eq!(second["captured_minor"], second["refunded_minor"], "{what}: {second}");
            app.receiver.kinds_become(&id, &["order.succeeded", "order.suspense_refunded"], DELIVERY).await;
        }
        was_second_open
    }))
    .await;
    assert!(both.iter().filter(|both| **both).count() > both.len() / 2, "most are paid twice: {both:?}");
    app.finish().await;
}

/// Where only time ends an attempt, every other channel is free once that is over.
#[actix_web::test]
async fn what_cannot_be_closed_gives_way_when_its_time_is_over() {
    let app = app::start_with(Kind::Sqlite, HURRIED).await;
    let client = app.client();
    join_all(pairs().into_iter().filter(|(from, _)| !from.can_be_closed()).map(async |(from, to)| {
        let id = begun(&app, from, "sim:never").await;
        client.pay(&id, to.channel).await.problem(409, "attempt_open");
        let over = |order: &Value| order["state"] == "created" && order["attempts"][0]["state"] == "dead";
        client.until(&id, "is over", HURRIED_END, over).await;
        let order = switched(&app, &id, to).await;
        assert_eq!((&order["state"], &order["channel"]), (&json!("submitted"), &json!(to.channel)));
        let asked = client.cancel(&id).await;
        assert!([200, 202].contains(&asked.status), "{}", asked.text);
        client.reaches(&id, "failed", seconds(20)).await;
        app.receiver.kinds_become(&id, &["order.attempt_failed", "order.failed"], DELIVERY).await;
    }))
    .await;
    app.finish().await;
}

/// Rule 7: Alipay knows no trade before the payer opens its page, and UnionPay has no close. Money can come by either
/// until its time is over, so the platform is told to wait until then, and the payer may go on as before.
#[actix_web::test]
async fn a_page_that_cannot_be_closed_holds_a_switch_back_and_stays_payable() {
    let app = app::start().await;
    let client = app.client();
    for channel in ["alipay", "unionpay"] {
        let asked = with(
            an_order("tea"),
            json!({ "channel": channel, "method": "page", "return_url": app.receiver.url("back") }),
        );
        let order = client.create(&asked).await.order(201);
        let id = text(&order, "id").to_owned();
        let refused = client.pay(&id, "simpay").await;
        assert_eq!(refused.problem(409, "attempt_open"), None, "{channel}");
        let wait_s: i64 = refused.header("retry-after").expect("when to come again").parse().expect("seconds");
        assert!(wait_s > 30, "{channel} is open for longer than {wait_s} s");
        // Refusals are not kept: the same request is refused anew.
        for _ in 0..2 {
            let asked = client.request(Method::POST, &format!("/v1/orders/{id}/pay"));
            let asked = asked.header("idempotency-key", format!("key-{id}")).json(&json!({ "channel": "simpay" }));
            assert_eq!(client.send(asked).await.problem(409, "attempt_open"), None, "{channel}");
        }
        let until = text(&refused.body, "until").to_owned();
        assert!(until.as_str() > text(&order["next_action"], "expires_at"), "{channel}: the grace is counted, {until}");
        let order = client.order(&id).await;
        assert_eq!((text(&order, "state"), text(&order, "channel")), ("submitted", channel));
        assert_eq!(order["attempts"][0]["state"], "open", "{channel}");
        visit(&order["next_action"]).await;
        client.reaches(&id, "succeeded", seconds(25)).await;
    }
    app.finish().await;
}
