//! Which channel a payer is offered first, and what is told of why.

mod support;

use reqwest::Method;
use reqwest::header::ACCEPT_LANGUAGE;
use serde_json::{Value, json};
use support::app::{self, App};
use support::beside::Beside;
use support::client::{Client, an_order, text, with};
use support::door::{Door, State};
use support::process::{Kind, Site};
use support::receiver::DELIVERY;
use support::ways::{WAYS, opened};
use support::{eventually, seconds};

/// What is told of one channel is told of that one alone.
const ONLY_SIMPAY: &str = "[channels]\nwechat.enabled = false\nalipay.enabled = false\nunionpay.enabled = false\n\
    stripe.enabled = false\n";

async fn start(kind: Kind, settings: &str) -> App {
    app::start_with(kind, &format!("{ONLY_SIMPAY}{settings}")).await
}

/// An order whose payer chooses the channel later.
fn undecided(payer: Value) -> Value {
    with(an_order("tea"), json!({ "channel": null, "payer": payer }))
}

async fn channel(client: &Client, name: &str) -> Value {
    let channels = client.get("/v1/channels").await;
    let listed = channels.body["data"].as_array().expect("a list").iter().find(|channel| channel["name"] == name);
    listed.unwrap_or_else(|| panic!("{name} in {}", channels.text)).clone()
}

/// Places with their reasons.
fn told(order: &Value) -> Vec<(&str, &str)> {
    let routing = order["routing"].as_array().expect("places");
    routing.iter().map(|route| (text(route, "channel"), text(&route["reason"], "code"))).collect()
}

async fn paid(client: &Client, order: Value) -> Value {
    let order = client.create(&order).await.order(201);
    client.reaches(text(&order, "id"), "succeeded", seconds(10)).await
}

async fn page(client: &Client, order: &Value) -> String {
    let ask = client.anonymous().request(Method::GET, text(order, "retry_url")).header(ACCEPT_LANGUAGE, "en");
    let page = client.send(ask).await;
    assert_eq!(page.status, 200);
    page.text
}

#[actix_web::test]
async fn channels_tell_what_they_take() {
    let app = start(Kind::Sqlite, "").await;
    let client = app.client();
    let alipay = channel(&client, "alipay").await;
    assert_eq!(alipay["limits"], json!([{ "currency": "CNY", "min": "0.01", "max": "100000000.00" }]));
    assert_eq!((&alipay["health"], &alipay["success_rate"]), (&Value::Null, &Value::Null));
    let stripe = channel(&client, "stripe").await;
    let limits = stripe["limits"].as_array().expect("a list");
    let dollars = json!({ "currency": "USD", "min": "0.50", "max": "999999.99" });
    let yen = json!({ "currency": "JPY", "min": "50", "max": "99999999" });
    assert!(limits.contains(&dollars) && limits.contains(&yen), "{stripe}");
    let wechat = channel(&client, "wechat").await;
    assert_eq!(wechat["limits"], json!([{ "currency": "CNY", "min": "0.01", "max": null }]));
    assert_eq!(channel(&client, "simpay").await["limits"], json!([]));
    app.finish().await;
}

#[actix_web::test]
async fn how_often_attempts_succeed_is_counted_and_told() {
    let mut app = start(Kind::Sqlite, "[routing]\nsamples_min = 3\n").await;
    let client = app.client();
    for _ in 0..2 {
        paid(&client, an_order("tea")).await;
    }
    assert_eq!(channel(&client, "simpay").await["success_rate"], Value::Null, "two are too few");
    let noted = with(an_order("sim:decline"), json!({ "webhook_url": app.receiver.url("platform-a") }));
    let declined = client.create(&noted).await.order(201);
    let id = text(&declined, "id");
    assert_eq!((&declined["routing"], &declined["alternative_channels"]), (&json!([]), &json!([])), "it is being paid");
    // The decline is durable, and can be read, a moment before it is counted.
    let is_counted =
        |order: &Value| order["last_failure"].is_object() && order["routing"][0]["success_rate"] != Value::Null;
    let declined = client.until(id, "is declined and counted", seconds(10), is_counted).await;
    let message = json!({ "zh": "目前唯一可用的渠道", "en": "The only channel available now" });
    let place = json!([{ "channel": "simpay", "usable": true, "health": "up", "success_rate": "0.6666", "fee": "0.60",
        "payable": "200.60", "reason": { "code": "only_one", "message": message } }]);
    assert_eq!(declined["routing"], place);
    assert_eq!(declined["alternative_channels"], json!(["simpay"]));
    assert!(page(&client, &declined).await.contains("The only channel available now"));
    app.receiver.kinds_become(id, &["order.attempt_failed"], DELIVERY).await;
    assert_eq!(app.receiver.of(id)[0].data["routing"], place, "the webhook explains it too");

    // A payer who leaves says nothing about the channel.
    let left = client.create(&an_order("sim:never")).await.order(201);
    assert_eq!(client.cancel(text(&left, "id")).await.order(200)["state"], "failed");
    assert_eq!(channel(&client, "simpay").await["success_rate"], "0.6666");
    let rate = || async {
        let rate = app.metric("tongbao_attempt_success_rate", "channel=\"simpay\"").await;
        (rate == 0.6666).then_some(())
    };
    eventually("the metric tells the rate", seconds(12), rate).await;
    assert_eq!(app.metric("tongbao_attempts_ended_total", "ending=\"succeeded\"").await, 2.0);
    assert_eq!(app.metric("tongbao_attempts_ended_total", "ending=\"failed\"").await, 1.0);

    app.kill().await;
    app.restart();
    app.ready().await;
    assert_eq!(channel(&client, "simpay").await["success_rate"], Value::Null, "counts begin anew");
    client.pay(id, "simpay").await.order(200);
    client.until(id, "is declined again", seconds(10), |order| order["attempts"][1]["state"] == "dead").await;
    app.finish().await;
}

async fn the_channel_of_last_time_leads(kind: Kind) {
    let mut app = start(kind, "").await;
    let (a, b) = (app.client(), app.client_b());
    let payer = json!({ "id": "wang-xiaoming", "openid": "oUpF8uMuAJO" });
    let stranger = json!({ "id": "li-lei", "openid": "oUpF8uOther" });
    for (payer, reason) in [(&payer, "only_one"), (&stranger, "only_one")] {
        let order = b.create(&undecided(payer.clone())).await.order(201);
        assert_eq!(told(&order), [("simpay", reason)], "nobody has paid yet");
    }
    paid(&a, with(an_order("tea"), json!({ "payer": payer }))).await;
    // Neither declined nor paid with too little is paid.
    for script in ["sim:decline", "sim:underpay"] {
        let order = a.create(&with(an_order(script), json!({ "payer": stranger }))).await.order(201);
        a.until(text(&order, "id"), script, seconds(10), |order| order["last_failure"].is_object()).await;
    }

    for restarted in [false, true] {
        if restarted {
            app.kill().await;
            app.restart();
            app.ready().await;
        }
        for (payer, reason) in [
            (payer.clone(), "used_before"),
            (json!({ "id": "wang-xiaoming" }), "used_before"),
            (json!({ "id": "known-here-as-another", "openid": "oUpF8uMuAJO" }), "used_before"),
            (stranger.clone(), "only_one"),
            (json!({ "id": "oUpF8uMuAJO" }), "only_one"),
        ] {
            let order = b.create(&undecided(payer.clone())).await.order(201);
            assert_eq!(told(&order), [("simpay", reason)], "{payer}");
            let again = b.order(text(&order, "id")).await;
            assert_eq!(again["routing"], order["routing"]);
            let newest = b.get("/v1/orders?limit=1").await;
            assert_eq!(newest.body["data"][0]["routing"], order["routing"], "the list says the same");
            let shown = page(&b, &order).await.contains("You paid this way last time");
            assert_eq!(shown, reason == "used_before", "{payer}");
        }
    }
    let mut beside = Beside::of(&app.site).await;
    let channels = beside.column::<String>("SELECT channel FROM payer_channels").await;
    assert_eq!(channels, ["simpay", "simpay"], "by id and by openid");
    for (table, values) in beside.contents().await.iter().filter(|(table, _)| table == "payer_channels") {
        assert!(!values.contains("wang") && !values.contains("oUpF8"), "{table}: {values}");
    }
    beside.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn the_channel_of_last_time_leads_on_sqlite() {
    the_channel_of_last_time_leads(Kind::Sqlite).await;
}

#[actix_web::test]
async fn the_channel_of_last_time_leads_on_postgres() {
    the_channel_of_last_time_leads(Kind::Postgres).await;
}

#[actix_web::test]
async fn where_platforms_name_their_payers_only_an_openid_crosses_over() {
    let app = start(Kind::Sqlite, "[routing]\npayer_ids = \"own\"\n").await;
    let (a, b) = (app.client(), app.client_b());
    let payer = json!({ "id": "wang-xiaoming", "openid": "oUpF8uMuAJO" });
    paid(&a, with(an_order("tea"), json!({ "payer": payer }))).await;
    for (client, payer, reason) in [
        (&a, json!({ "id": "wang-xiaoming" }), "used_before"),
        (&b, json!({ "id": "wang-xiaoming" }), "only_one"),
        (&b, payer, "used_before"),
    ] {
        let order = client.create(&undecided(payer.clone())).await.order(201);
        assert_eq!(told(&order), [("simpay", reason)], "{payer}");
    }
    app.finish().await;
}

#[actix_web::test]
async fn a_channel_that_is_down_is_told_and_not_offered() {
    let settings = "[channels.simpay]\nbreaker_failures = 2\nbreaker_open_ms = 3000\ncall_retry_ms = [10]\n\
        [gateway]\nembedded = false\n";
    let site = Site::new(Kind::Sqlite, &format!("{ONLY_SIMPAY}{settings}"));
    let mut app = App::start_beside_gateway(site).await;
    let client = app.client();
    let waiting = client.create(&undecided(Value::Null)).await.order(201);
    assert_eq!(waiting["alternative_channels"], json!(["simpay"]));
    app.stop_gateway().await;
    let refused = client.create(&an_order("tea")).await.order(201);
    let refused =
        client.until(text(&refused, "id"), "is refused", seconds(10), |o| o["last_failure"].is_object()).await;
    for id in [text(&refused, "id"), text(&waiting, "id")] {
        let order = client.order(id).await;
        assert_eq!(order["alternative_channels"], json!([]), "{order}");
        assert_eq!(told(&order), [("simpay", "down")]);
        assert_eq!((&order["routing"][0]["usable"], &order["routing"][0]["health"]), (&json!(false), &json!("down")));
        assert_eq!(order["routing"][0]["payable"], "200.60", "it would take the order");
    }
    assert_eq!(channel(&client, "simpay").await["health"], "down");
    let chosen = client.create(&an_order("tea")).await.order(201);
    assert_eq!(chosen["last_failure"]["code"], "channel_unavailable");
    assert_eq!((&chosen["attempts"], told(&chosen)), (&json!([]), vec![("simpay", "down")]));

    app.restart_gateway().await;
    eventually("the channel is tried again", seconds(10), || async {
        (channel(&client, "simpay").await["health"] == "up").then_some(())
    })
    .await;
    for order in [&refused, &waiting, &chosen] {
        let id = text(order, "id");
        assert_eq!(client.order(id).await["alternative_channels"], json!(["simpay"]));
        client.pay(id, "simpay").await.order(200);
        client.reaches(id, "succeeded", seconds(10)).await;
    }
    app.finish().await;
}

/// Both accounts are strangers to the gateway, and the breaker of the one that is used opens.
#[actix_web::test]
async fn a_platform_is_told_of_the_account_that_takes_its_money() {
    let settings = "[routing]\nsamples_min = 1\n\
        [channels.simpay]\nbreaker_failures = 1\nbreaker_open_ms = 600000\ncall_retry_ms = [10]\n\
        [channels.simpay.accounts]\n\
        default.key = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n\
        own.key = \"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\"\n\
        [platforms.platform-b.accounts]\nsimpay = \"own\"\n";
    let app = start(Kind::Sqlite, settings).await;
    let (a, b) = (app.client(), app.client_b());
    let refused = a.create(&an_order("tea")).await.order(201);
    let id = text(&refused, "id");
    let refused = a.until(id, "is refused", seconds(10), |order| order["last_failure"].is_object()).await;
    assert_eq!(refused["last_failure"]["code"], "channel_unavailable");
    let other = b.create(&undecided(Value::Null)).await.order(201);
    for (client, order, health, rate, reason) in
        [(&a, &refused, "down", json!("0.0000"), "down"), (&b, &other, "up", Value::Null, "only_one")]
    {
        let simpay = channel(client, "simpay").await;
        assert_eq!((&simpay["health"], &simpay["success_rate"]), (&json!(health), &rate));
        let order = client.order(text(order, "id")).await;
        assert_eq!(told(&order), [("simpay", reason)]);
        let listed = client.get("/v1/orders?limit=1").await;
        assert_eq!(listed.body["data"][0]["routing"], order["routing"], "the list says the same");
        let offered = page(client, &order).await.contains("The only channel available now");
        assert_eq!(offered, health == "up");
        client.cancel(text(&order, "id")).await.order(200);
    }
    app.finish().await;
}

/// Five channels at once: what is known of them, and whether they answer, moves them.
#[actix_web::test]
async fn health_goes_before_success_and_success_before_the_fee() {
    // Alipay stands behind a door. Three endings tell of a channel, and no two fees are the same.
    let mut site = Site::new(Kind::Sqlite, "");
    let door = Door::before(site.gateway).await;
    site.lay_over(&format!(
        "[routing]\nsamples_min = 3\n[channels.simpay]\nfee_rate = \"0.004\"\n\
         [channels.alipay]\nbase_url = \"http://{}/alipay\"\nbreaker_failures = 2\nbreaker_open_ms = 1000\n\
         call_retry_ms = [10]\nsandbox_call_timeout_ms = 1000\n",
        door.address
    ));
    let app = App::start(site).await;
    let (a, b) = (app.client(), app.client_b());
    let listed = async |expected: &[(&str, &str)]| {
        let order = a.create(&undecided(Value::Null)).await.order(201);
        assert_eq!(told(&order), expected, "{order}");
        let usable = expected.iter().filter(|(_, reason)| *reason != "down").map(|(channel, _)| *channel);
        assert_eq!(order["alternative_channels"], json!(usable.collect::<Vec<_>>()));
    };
    let fees = [("wechat", "lower_fee"), ("simpay", "lower_fee"), ("alipay", "lower_fee"), ("unionpay", "lower_fee")];
    listed(&[&fees[..], &[("stripe", "higher_fee")]].concat()).await;

    let by =
        |channel: &str| WAYS.iter().find(|way| way.channel == channel && way.next_action != "form").expect("a way");
    for _ in 0..3 {
        let order = opened(&app, &with(by("wechat").order(&app, "sim:decline"), json!({ "payer": null }))).await;
        a.until(text(&order, "id"), "is declined", seconds(25), |order| order["last_failure"].is_object()).await;
        paid(&a, with(by("alipay").order(&app, "tea"), json!({ "payer": null }))).await;
    }
    let alipay_leads = [
        ("alipay", "higher_success_rate"),
        ("simpay", "lower_fee"),
        ("unionpay", "lower_fee"),
        ("stripe", "available"),
        ("wechat", "lower_success_rate"),
    ];
    listed(&alipay_leads).await;
    let rates = [("alipay", json!("1.0000")), ("wechat", json!("0.0000")), ("simpay", Value::Null)];
    for (name, rate) in rates {
        assert_eq!(channel(&a, name).await["success_rate"], rate, "{name}");
    }

    // A payer's habit goes before both, on whatever platform, for as long as the channel answers.
    let payer = json!({ "id": "wang-xiaoming" });
    paid(&a, with(by("wechat").order(&app, "tea"), json!({ "payer": payer }))).await;
    let known = b.create(&undecided(payer.clone())).await.order(201);
    assert_eq!(told(&known)[..2], [("wechat", "used_before"), ("simpay", "lower_fee")], "what ended at a is a's");
    paid(&a, with(by("alipay").order(&app, "tea"), json!({ "payer": payer }))).await;
    let known = b.order(text(&known, "id")).await;
    assert_eq!(told(&known)[0], ("alipay", "used_before"), "the last one counts");
    assert!(page(&b, &known).await.contains("You paid this way last time"));

    let open = opened(&app, &with(by("alipay").order(&app, "sim:never"), json!({ "payer": null }))).await;
    for trouble in [State::Silent, State::Shut] {
        door.becomes(trouble);
        // A code that cannot be had anew is good for as long as the payment is open.
        let path = format!("/v1/orders/{}/pay", text(&open, "id"));
        let asked = a.post(&path, &json!({ "channel": "alipay", "method": "qr" })).await;
        assert_eq!((asked.status, &asked.body["next_action"]), (200, &open["next_action"]), "{}", asked.text);
        let down = async || {
            let order = a.create(&with(by("alipay").order(&app, "tea"), json!({ "payer": null }))).await.order(201);
            (channel(&a, "alipay").await["health"] == "down").then_some(order)
        };
        eventually("alipay is down", seconds(20), down).await;
        listed(&[
            ("simpay", "lower_fee"),
            ("unionpay", "lower_fee"),
            ("stripe", "available"),
            ("wechat", "lower_success_rate"),
            ("alipay", "down"),
        ])
        .await;
        let turned = a.create(&with(by("alipay").order(&app, "tea"), json!({ "payer": payer }))).await.order(201);
        assert_eq!(
            (&turned["state"], &turned["last_failure"]["code"]),
            (&json!("created"), &json!("channel_unavailable"))
        );
        assert_eq!(turned["alternative_channels"][0], "simpay", "habit is of no use where nobody answers");
        assert!(!page(&a, &turned).await.contains("You paid this way last time"));

        door.becomes(State::Open);
        eventually("alipay is back", seconds(30), async || {
            (channel(&a, "alipay").await["health"] == "up").then_some(())
        })
        .await;
        assert_eq!(told(&b.order(text(&known, "id")).await)[0], ("alipay", "used_before"), "{trouble:?} is over");
    }
    a.cancel(text(&open, "id")).await;
    a.reaches(text(&open, "id"), "failed", seconds(20)).await;
    app.finish().await;
}
