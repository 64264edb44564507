//! The order in which calls are served, and what "later" means.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::{App, start_with};
use crate::support::client::{an_order, text, with};
use crate::support::meddler::{Deed, Meddler, Seen};
use crate::support::process::{Kind, Site};
use crate::support::seconds;
use crate::support::ways::visit;

/// The ways by which a call of ours makes the payment, and what their channels say when too many calls come.
const LATER: [(&str, &str, &str, u16, &str); 4] = [
    ("simpay", "qr", "CNY", 429, ""),
    ("wechat", "native", "CNY", 429, r#"{"code":"FREQUENCY_LIMITED","message":"频率超限"}"#),
    (
        "alipay",
        "qr",
        "CNY",
        200,
        r#"{"alipay_trade_precreate_response":{"code":"40005","msg":"Call Limited","sub_code":"isv.app-call-limited","sub_msg":"应用调用次数超限"}}"#,
    ),
    (
        "stripe",
        "card",
        "USD",
        429,
        r#"{"error":{"code":"rate_limit","message":"Request rate limit exceeded.","type":"invalid_request_error"}}"#,
    ),
];

/// A server whose channels are all reached through the meddler.
async fn beside(settings: &str, decide: impl Fn(&Seen, usize) -> Deed + Send + Sync + 'static) -> (App, Meddler) {
    let mut site = Site::new(Kind::Sqlite, "");
    let meddler = Meddler::start(site.gateway, decide).await;
    let at = |name: &str, path: &str| {
        format!("[channels.{name}]\nbase_url = \"http://{}{path}\"\n{settings}\n", meddler.address)
    };
    let channels = ["wechat", "alipay", "unionpay", "stripe"].map(|name| at(name, &format!("/{name}")));
    site.lay_over(&(at("simpay", "") + &channels.concat()));
    (App::start(site).await, meddler)
}

fn order_by(channel: &str, method: &str, currency: &str, description: &str) -> Value {
    with(an_order(description), json!({ "channel": channel, "method": method, "currency": currency }))
}

/// What a create says of its payment; what is signed anew with every send is not in it.
fn asked(seen: &Seen) -> Vec<u8> {
    seen.body.clone()
}

/// Queries of orders that nobody pays fill their own room and never that of creates: the channel has nothing else to do,
/// and new orders get what their payers need.
#[actix_web::test]
async fn report_queries_that_wait_keep_no_create_from_leaving() {
    // A tenth of 100 requests a second for the queries of 100 orders that are asked for every few seconds.
    let settings = "sandbox_calls_per_second = 100\nqueries_percent = 10\ncalls_waiting = 40";
    let app = start_with(Kind::Sqlite, &format!("[channels.simpay]\n{settings}\n")).await;
    let client = app.client();
    let create =
        async |description: &str| client.create(&order_by("simpay", "qr", "CNY", description)).await.order(201);
    let mut unpaid = join_all((0..50).map(|_| create("sim:never"))).await;
    unpaid.extend(join_all((0..50).map(|_| create("sim:never"))).await);
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for order in join_all((0..10).map(|_| create("tea"))).await {
            assert!(order["next_action"].is_object() && order["last_failure"].is_null(), "{order}");
        }
    }
    join_all(unpaid.iter().map(|order| client.cancel(text(order, "id")))).await;
    for order in &unpaid {
        client.reaches(text(order, "id"), "failed", seconds(20)).await;
    }
    app.finish().await;
}

/// The rate limit of Alipay comes with HTTP 200, those of the others with 429: the attempt lives, and goes out again
/// under the same number and byte for byte.
#[actix_web::test]
async fn report_a_rate_limit_puts_an_attempt_off_and_does_not_end_it() {
    // Longer than the tries of one call: two of its rounds are put off.
    const PUT_OFF: usize = 6;
    for (channel, method, currency, status, body) in LATER {
        let (app, meddler) = beside("call_retry_ms = [10, 10, 10]", move |seen, creates| match seen.is_create() {
            true if creates < PUT_OFF => Deed::Answer(status, body.to_owned()),
            true | false => Deed::Pass,
        })
        .await;
        let client = app.client();
        let order = client.create(&order_by(channel, method, currency, "tea")).await.order(201);
        assert_eq!(
            (&order["state"], &order["last_failure"]),
            (&json!("submitted"), &Value::Null),
            "{channel}: {order}"
        );
        let order = client.reaches(text(&order, "id"), "succeeded", seconds(20)).await;
        assert_eq!(order["attempts"].as_array().map(Vec::len), Some(1), "{channel}: {order}");
        let creates = meddler.creates();
        assert_eq!(creates.len(), PUT_OFF + 1, "{channel}");
        assert!(creates.iter().all(|(seen, _)| asked(seen) == asked(&creates[0].0)), "{channel}: {creates:?}");
        app.finish().await;
    }
}

/// A gateway that cuts every second request of a connection off keeps no create from getting through, and whoever waits
/// for it gets what the payer needs.
#[actix_web::test]
async fn report_a_create_whose_kept_connection_was_cut_brings_its_next_action() {
    let (app, meddler) = beside("", |seen, _| match seen.place % 2 {
        0 => Deed::Cut,
        _ => Deed::Pass,
    })
    .await;
    let client = app.client();
    for (channel, method, currency, ..) in LATER {
        let before = meddler.creates().len();
        let was_cut = |(_, deed): &(Seen, Deed)| matches!(deed, Deed::Cut);
        // Other calls of the account decide where on its connection a create comes.
        for _ in 0..10 {
            let order = client.create(&order_by(channel, method, currency, "tea")).await.order(201);
            assert_eq!(order["state"], "submitted", "{channel}: {order}");
            assert!(order["next_action"].is_object(), "{channel}: {order}");
            if meddler.creates()[before..].iter().any(was_cut) {
                break;
            }
        }
        let creates = meddler.creates()[before..].to_vec();
        let place = creates.iter().position(was_cut).unwrap_or_else(|| panic!("no create of {channel} was cut off"));
        assert_eq!(asked(&creates[place].0), asked(&creates[place + 1].0), "{channel}");
    }
    app.finish().await;
}

/// Closes and refunds get through it as well.
#[actix_web::test]
async fn report_closes_and_refunds_get_through_a_gateway_that_cuts_connections() {
    let (app, _meddler) = beside("", |seen, _| match seen.place % 2 {
        0 => Deed::Cut,
        _ => Deed::Pass,
    })
    .await;
    let client = app.client();
    let each = LATER.map(async |(channel, method, currency, ..)| {
        let order = client.create(&order_by(channel, method, currency, "sim:never")).await.order(201);
        client.cancel(text(&order, "id")).await;
        client.reaches(text(&order, "id"), "failed", seconds(30)).await;
        let order = client.create(&order_by(channel, method, currency, "sim:underpay")).await.order(201);
        client
            .until(text(&order, "id"), "is given back", seconds(30), |order| {
                order["suspense"].as_array().is_some_and(|all| all.iter().any(|one| one["state"] == "refunded"))
            })
            .await;
    });
    join_all(each).await;
    app.finish().await;
}

/// Answers are asked for as they are, and read all the same when they come packed: by their unpacked bytes, which are
/// what was signed.
#[actix_web::test]
async fn report_a_packed_answer_that_nobody_asked_for_is_read() {
    let (app, meddler) = beside("", |_, _| Deed::Pack).await;
    let client = app.client();
    for (channel, method, currency, ..) in LATER.into_iter().chain([("unionpay", "page", "CNY", 0, "")]) {
        // Its callback never comes: a query tells.
        let order = client.create(&order_by(channel, method, currency, "sim:lost")).await.order(201);
        assert!(order["next_action"].is_object(), "{channel}: {order}");
        visit(&order["next_action"]).await;
        client.reaches(text(&order, "id"), "succeeded", seconds(20)).await;
    }
    let seen = meddler.seen();
    assert!(seen.len() >= 5);
    // The payer's browser says what it likes.
    for (seen, _) in seen.iter().filter(|(seen, _)| !seen.target.ends_with("frontTransReq.do")) {
        assert_eq!(seen.header("accept-encoding"), Some("identity"), "{}", seen.target);
    }
    app.finish().await;
}
