//! What platforms and payers do: order, choose, pay again, call off, look up; and what they are told.

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use reqwest::header::ACCEPT_LANGUAGE;
use serde_json::{Value, json};
use support::app::App;
use support::client::{Answer, Client, an_order, text, with};
use support::process::{Kind, Site};
use support::receiver::DELIVERY;
use support::{app, eventually, seconds, unique};
use tongbao::store::whole;

/// An order whose payer chooses the channel later.
fn undecided(description: &str) -> Value {
    with(an_order(description), json!({ "channel": null }))
}

fn qr_code(order: &Value) -> &str {
    assert_eq!(order["next_action"]["type"], "qr_code", "{order}");
    text(&order["next_action"], "qr_code")
}

async fn post_with(client: &Client, path: &str, header: (&str, &str), body: &Value) -> Answer {
    client.send(client.request(Method::POST, path).header(header.0, header.1).json(body)).await
}

#[actix_web::test]
async fn an_answer_waits_for_the_channel_unless_it_is_asked_not_to() {
    let app = app::start().await;
    let client = app.client();
    let begun = Instant::now();
    let patient = client.create(&an_order("sim:hang")).await;
    assert!(begun.elapsed() < seconds(4), "it waits at most 3 s, not {:?}", begun.elapsed());
    assert_eq!(patient.header("preference-applied"), None);
    let order = patient.order(201);
    assert!(order["state"] == "submitted" || order["state"] == "succeeded", "the payer may be faster: {order}");

    let begun = Instant::now();
    let hasty = post_with(&client, "/v1/orders", ("prefer", "respond-async"), &an_order("sim:hang")).await;
    assert!(begun.elapsed() < seconds(1), "durable is enough, not after {:?}", begun.elapsed());
    assert_eq!(hasty.header("preference-applied"), Some("respond-async"));
    for order in [patient.order(201), hasty.order(201)] {
        client.reaches(text(&order, "id"), "succeeded", seconds(15)).await;
    }
    app.finish().await;
}

#[actix_web::test]
async fn the_payer_chooses_pays_again_and_calls_off() {
    let app = app::start().await;
    let client = app.client();
    tokio::join!(chosen_later(&client), refreshed(&client), unsuitable(&client), called_off(&app), keys(&client));
    app.finish().await;
}

async fn chosen_later(client: &Client) {
    let order = client.create(&undecided("tea")).await.order(201);
    assert_eq!(order["state"], "created");
    for unknown in ["fee", "fee_rate", "payable", "channel", "method", "next_action", "last_failure", "failure"] {
        assert_eq!(order.get(unknown), Some(&Value::Null), "{unknown} is null, not absent");
    }
    // Nothing is known of any channel yet: the fee decides.
    let all = json!(["simpay", "wechat", "alipay", "unionpay", "stripe"]);
    assert_eq!((&order["attempts"], &order["alternative_channels"]), (&json!([]), &all));
    let id = text(&order, "id");
    let paying = client.pay(id, "simpay").await.order(200);
    assert_eq!((&paying["state"], &paying["payable"]), (&json!("submitted"), &json!("200.60")));
    qr_code(&paying);
    client.reaches(id, "succeeded", seconds(10)).await;
}

/// Paying again on the open channel renews what the payer is shown, by the same attempt.
async fn refreshed(client: &Client) {
    let order = client.create(&an_order("sim:never")).await.order(201);
    let again = client.pay(text(&order, "id"), "simpay").await.order(200);
    assert_ne!(qr_code(&order), qr_code(&again));
    assert_eq!(again["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(client.cancel(text(&order, "id")).await.order(200)["state"], "failed");
}

/// A channel that cannot take the order uses up no attempt.
async fn unsuitable(client: &Client) {
    let asked = with(an_order("tea"), json!({ "channel": "wechat", "currency": "USD" }));
    let order = client.create(&asked).await.order(201);
    assert_eq!((&order["state"], &order["attempts"]), (&json!("created"), &json!([])));
    assert_eq!(order["last_failure"]["code"], "channel_unsuitable", "WeChat Pay takes no dollars");
    assert_eq!(order["last_failure"]["advice"], "other_channel");
    let id = text(&order, "id");
    client.pay(id, "simpay").await.order(200);
    client.reaches(id, "succeeded", seconds(10)).await;
}

async fn called_off(app: &App) {
    let client = app.client();
    let noted = |order: Value| with(order, json!({ "webhook_url": app.receiver.url("platform-a") }));
    for asked in [undecided("tea"), an_order("sim:never"), an_order("sim:slow")] {
        let order = client.create(&noted(asked)).await.order(201);
        let id = text(&order, "id");
        let cancelled = client.cancel(id).await.order(200);
        assert_eq!((&cancelled["state"], &cancelled["failure"]["code"]), (&json!("failed"), &json!("cancelled")));
        assert!(cancelled["finished_at"].is_string() && cancelled["next_action"].is_null());
        client.cancel(id).await.problem(409, "order_final");
        client.pay(id, "simpay").await.problem(409, "order_final");
        app.receiver.kinds_become(id, &["order.failed"], DELIVERY).await;
    }
}

async fn keys(client: &Client) {
    let order = client.create(&undecided("sim:never")).await.order(201);
    let pay = format!("/v1/orders/{}/pay", text(&order, "id"));
    let body = json!({ "channel": "simpay" });
    let key = unique("key");
    let together = join_all((0..4).map(|_| post_with(client, &pay, ("idempotency-key", &key), &body))).await;
    let answered: Vec<&Answer> = together.iter().filter(|answer| answer.status == 200).collect();
    assert!(!answered.is_empty());
    for answer in &together {
        if answer.status != 200 {
            answer.problem(409, "request_in_progress");
        }
        assert!(answer.status != 200 || answer.text == answered[0].text);
    }
    let replayed = post_with(client, &pay, ("idempotency-key", &key), &body).await;
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
    assert_eq!((replayed.status, &replayed.text), (200, &answered[0].text), "the same answer, not a fresh code");
    let other_body = json!({ "channel": "simpay", "method": "qr" });
    let reused = post_with(client, &pay, ("idempotency-key", &key), &other_body).await;
    reused.problem(422, "idempotency_key_reused");
    let cancel = format!("/v1/orders/{}/cancel", text(&order, "id"));
    post_with(client, &cancel, ("idempotency-key", &key), &json!({})).await.problem(422, "idempotency_key_reused");

    let key = unique("key");
    let cancelled = post_with(client, &cancel, ("idempotency-key", &key), &json!({})).await;
    assert_eq!(cancelled.order(200)["state"], "failed");
    let again = post_with(client, &cancel, ("idempotency-key", &key), &json!({})).await;
    assert_eq!((again.status, again.text), (200, cancelled.text), "a replay, though the order is final");
    let refused = post_with(client, &cancel, ("idempotency-key", &unique("key")), &json!({})).await;
    refused.problem(409, "order_final");
}

/// Whoever wins, payer or platform: the order is paid for or the money goes back.
#[actix_web::test]
async fn a_cancel_that_races_a_success_ends_one_way() {
    let app = app::start().await;
    let client = app.client();
    let race = |place: u64| {
        let client = client.clone();
        async move {
            let order = client.create(&an_order("tea")).await.order(201);
            // The payer takes about 300 ms.
            tokio::time::sleep(Duration::from_millis(200 + 10 * place)).await;
            let id = text(&order, "id").to_owned();
            let answer = client.cancel(&id).await;
            let ended = |order: &Value| order["state"] == "succeeded" || order["state"] == "failed";
            let order = client.until(&id, "ends", seconds(10), ended).await;
            match answer.status {
                200 => assert_eq!(answer.body["state"], order["state"], "a final state never changes"),
                202 => {}
                _ => {
                    answer.problem(409, "order_final");
                    assert_eq!(order["state"], "succeeded");
                }
            }
            order["state"] == "succeeded"
        }
    };
    let paid = join_all((0..24).map(race)).await.into_iter().filter(|paid| *paid).count();
    assert!(paid > 0, "no payer was fast enough to race with");
    app.finish().await;
}

#[actix_web::test]
async fn orders_are_listed_and_told() {
    let app = app::start_with(Kind::Postgres, "").await;
    let client = app.client();
    let payer = json!({ "id": "payer-7f3a", "ip": "192.0.2.77", "openid": "openid-91c2" });
    let mut ids = Vec::new();
    for place in 0..7 {
        let description = if place % 2 == 0 { "tea" } else { "sim:decline" };
        let asked =
            with(an_order(description), json!({ "payer": payer, "webhook_url": app.receiver.url("platform-a") }));
        let order = client.create(&asked).await.order(201);
        ids.push((text(&order, "id").to_owned(), order));
    }
    let wanted = ["succeeded", "created", "succeeded", "created", "succeeded", "created", "succeeded"];
    for ((id, _), state) in ids.iter().zip(wanted) {
        client.reaches(id, state, seconds(10)).await;
    }
    app.client_b().create(&undecided("tea")).await.order(201);

    let newest_first: Vec<&str> = ids.iter().rev().map(|(id, _)| id.as_str()).collect();
    assert_eq!(pages(&client, "limit=3").await, newest_first);
    assert_eq!(pages(&client, "limit=100").await, newest_first);
    let of_state = |state: &str| {
        let states = newest_first.iter().zip(wanted.iter().rev());
        states.filter(|(_, is)| **is == state).map(|(id, _)| *id).collect::<Vec<_>>()
    };
    for state in ["succeeded", "created", "failed"] {
        assert_eq!(pages(&client, &format!("limit=2&state={state}")).await, of_state(state), "{state}");
    }
    assert_eq!(pages(&client, "channel=alipay").await, Vec::<String>::new());
    let (middle, order) = &ids[3];
    let name = text(order, "merchant_order_id");
    assert_eq!(pages(&client, &format!("merchant_order_id={name}")).await, [middle.as_str()]);
    let at = text(order, "created_at");
    let later = pages(&client, &format!("created_after={at}&limit=2")).await;
    let earlier = pages(&client, &format!("created_before={at}&limit=2")).await;
    assert!(later.contains(&ids[4].0) && !later.contains(&ids[2].0), "{later:?}");
    assert!(earlier.contains(&ids[2].0) && !earlier.contains(&ids[4].0), "{earlier:?}");

    let events = client.get(&format!("/v1/orders/{}/events", ids[0].0)).await;
    assert_eq!((events.status, &events.body["next_cursor"]), (200, &Value::Null));
    let steps = events.body["data"].as_array().unwrap();
    for (step, version) in steps.iter().zip(1u64..) {
        assert_eq!(step["version"], version);
        assert!(text(step, "at").ends_with('Z'));
    }
    assert_eq!(steps[0]["events"][0]["type"], "created");
    assert!(steps.last().unwrap().to_string().contains("20060"), "the journal ends with the capture");

    let webhooks: String =
        ids.iter().flat_map(|(id, _)| app.receiver.of(id)).map(|webhook| webhook.data.to_string()).collect();
    for secret in ["payer-7f3a", "192.0.2.77", "openid-91c2", "sk_sandbox_a", "whsec_", "simpay://"] {
        for (place, said) in [("the journal", &events.text), ("a webhook", &webhooks), ("the log", &app.server.log())] {
            assert!(!said.contains(secret), "{secret} stands in {place}");
        }
    }
    app.finish().await;
}

/// The ids of a list, page by page.
async fn pages(client: &Client, query: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/v1/orders?{query}{cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        ids.extend(page.body["data"].as_array().unwrap().iter().map(|order| text(order, "id").to_owned()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
        assert!(ids.len() < 1_000, "the pages of {query} do not end");
    }
}

#[actix_web::test]
async fn too_many_requests_are_told_when_to_come_again() {
    let app = app::start_with(
        Kind::Sqlite,
        "[limits]\nsandbox_platform_per_second = 5\nfailed_verifications_per_minute = 3\n",
    )
    .await;
    let client = app.client();
    let answers = join_all((0..30).map(|_| client.get("/v1/orders?limit=1"))).await;
    let limited: Vec<&Answer> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!((15..=25).contains(&limited.len()), "{} of 30 were limited", limited.len());
    for answer in &limited {
        answer.problem(429, "rate_limited");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"platform\";q=5;w=1"));
        assert!(answer.header("ratelimit").is_some_and(|told| told.starts_with("\"platform\";r=0;t=")));
    }
    assert_eq!(app.client_b().get("/v1/orders?limit=1").await.status, 200, "each platform has its own");
    let wait: u64 = limited[0].header("retry-after").expect("it is told when").parse().unwrap();
    tokio::time::sleep(seconds(wait)).await;
    assert_eq!(client.get("/v1/orders?limit=1").await.status, 200);

    let stranger = client.with_key("sk_unknown");
    let told = join_all((0..10).map(|_| stranger.get("/v1/orders"))).await;
    assert_eq!(told.iter().filter(|answer| answer.status == 401).count(), 3);
    for answer in told.iter().filter(|answer| answer.status != 401) {
        answer.problem(429, "rate_limited");
    }
    assert_eq!(client.get("/v1/orders?limit=1").await.status, 200, "verified traffic is never counted");
    app.finish().await;
}

#[actix_web::test]
async fn what_is_promised_is_served() {
    let app = app::start().await;
    let client = app.client();
    let order = client.create(&an_order("tea")).await.order(201);
    client.reaches(text(&order, "id"), "succeeded", seconds(10)).await;

    for path in ["/healthz", "/readyz"] {
        assert_eq!(client.anonymous().get(path).await.status, 200, "{path}");
    }
    let metrics = client.anonymous().get("/metrics").await;
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    for family in [
        "tongbao_orders_total",
        "tongbao_callbacks_total",
        "tongbao_channel_calls_total",
        "tongbao_channel_call_seconds",
        "tongbao_commit_seconds",
        "tongbao_group_size",
        "tongbao_writer_pending",
        "tongbao_store_away",
    ] {
        assert!(metrics.text.lines().any(|line| line.starts_with(family)), "no {family} in\n{}", metrics.text);
    }

    let document = client.anonymous().get("/openapi.json").await;
    assert!(text(&document.body, "openapi").starts_with("3.1"));
    for path in
        ["/v1/orders", "/v1/orders/{id}", "/v1/orders/{id}/pay", "/v1/callbacks/{channel}", "/v1/quote", "/metrics"]
    {
        assert!(document.body["paths"][path].is_object(), "{path} is described");
    }
    let docs = client.anonymous().get("/docs").await;
    assert!(docs.status == 200 || docs.header("location").is_some(), "{}", docs.status);

    let quote = client.get("/v1/quote?amount=200.00&currency=CNY&channel=wechat").await;
    let expected = json!({ "amount": "200.00", "currency": "CNY", "channel": "wechat", "fee": "0.60", "fee_rate": "0.003", "payable": "200.60" });
    assert_eq!((quote.status, quote.body), (200, expected));
    for (channel, payable) in [("alipay", "201.00"), ("unionpay", "201.20"), ("stripe", "205.80"), ("simpay", "200.60")]
    {
        let quote = client.get(&format!("/v1/quote?amount=200.00&currency=CNY&channel={channel}")).await;
        assert_eq!(quote.body["payable"], payable, "{channel}");
    }
    let channels = client.get("/v1/channels").await;
    let simpay = channels.body["data"].as_array().unwrap().iter().find(|channel| channel["name"] == "simpay");
    let simpay = simpay.expect("simpay is listed");
    assert_eq!(
        (&simpay["enabled"], &simpay["health"], &simpay["methods"]),
        (&json!(true), &json!("up"), &json!(["qr"]))
    );
    app.finish().await;
}

#[actix_web::test]
async fn the_payer_pays_by_the_page() {
    let app = app::start().await;
    let client = app.client();
    let order =
        client.create(&with(undecided("tea <b>"), json!({ "return_url": "http://127.0.0.1/back" }))).await.order(201);
    let (id, page) = (text(&order, "id"), text(&order, "retry_url"));
    let payer = client.anonymous();
    let read =
        async |language: &str| payer.send(payer.request(Method::GET, page).header(ACCEPT_LANGUAGE, language)).await;
    let chinese = read("zh-CN,zh;q=0.9").await;
    let english = read("en").await;
    for (shown, language) in [(&chinese, "zh-CN"), (&english, "en")] {
        assert_eq!((shown.status, shown.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(shown.text.contains(&format!("<html lang=\"{language}\">")));
        assert!(shown.text.contains("200.60 CNY") && shown.text.contains("value=\"simpay\""), "{}", shown.text);
        assert!(shown.text.contains("请选择支付渠道") && shown.text.contains("Please choose how to pay"));
        assert!(!shown.text.contains("tea <b>"), "texts of others are escaped");
        assert!(shown.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
        assert_eq!(
            (shown.header("cache-control"), shown.header("referrer-policy")),
            (Some("no-store"), Some("strict-origin"))
        );
    }
    let form = "application/x-www-form-urlencoded";
    assert_eq!(payer.post_text(page, form, "channel=paypal").await.status, 422);
    let chosen = payer.post_text(page, form, "channel=simpay").await;
    assert_eq!(chosen.status, 200);
    assert!(chosen.text.contains("simpay://") && chosen.text.contains("<svg"), "{}", chosen.text);
    client.reaches(id, "succeeded", seconds(10)).await;
    let paid = read("en").await;
    assert!(paid.text.contains("Paid. Thank you.") && paid.text.contains("http://127.0.0.1/back"));
    assert_eq!(payer.post_text(page, form, "channel=simpay").await.status, 409);

    let (start, end) = page.split_at(page.len() - 1);
    let forged = format!("{start}{}", if end == "A" { "B" } else { "A" });
    assert_eq!(payer.get(&forged).await.status, 404, "a link is signed");
    app.finish().await;
}

/// The operator's commands, beside a running server.
#[actix_web::test]
async fn platforms_are_made_and_their_keys_come_and_go() {
    let app = app::start().await;
    let url = app.receiver.url("shop");
    let made = said(&app, &["platform", "create", "shop", "--webhook-url", &url, "--fee-bearer", "platform"]).await;
    let word = |said: &str, start: &str| {
        said.split_whitespace().find(|word| word.starts_with(start)).expect("it is shown").to_owned()
    };
    let (first, secret) = (word(&made, "sk_"), word(&made, "whsec_"));
    app.receiver.knows("shop", &secret);
    let taken = app.site.run(&["platform", "create", "shop"]).await;
    assert!(!taken.status.success(), "a name is taken once");
    assert!(!app.site.run(&["platform", "create", "Not A Name"]).await.status.success());

    let client = app.client().with_key(&first);
    let order = client.create(&an_order("tea")).await.order(201);
    let id = text(&order, "id");
    assert_eq!(
        (&order["payable"], &order["fee"], &order["fee_bearer"]),
        (&json!("200.00"), &json!("0.60"), &json!("platform"))
    );
    client.reaches(id, "succeeded", seconds(10)).await;
    app.receiver.kinds_become(id, &["order.succeeded"], DELIVERY).await;

    let second = word(&said(&app, &["platform", "rotate", "shop"]).await, "sk_");
    let renewed = client.with_key(&second);
    for client in [&client, &renewed] {
        assert_eq!(client.get(&format!("/v1/orders/{id}")).await.status, 200, "both keys are in force");
    }
    let listed = said(&app, &["platform", "list"]).await;
    for name in ["shop", "platform-a", "platform-b"] {
        assert!(listed.contains(name), "{listed}");
    }
    assert!(!listed.contains(&first) && !listed.contains(&secret), "keys are shown once");

    let hints: BTreeSet<&str> = [&first[..12], &second[..12]].into();
    assert_eq!(hints.len(), 2);
    said(&app, &["platform", "revoke", "shop", "--key", &first[..12]]).await;
    let refused = || async { (client.get("/v1/orders").await.status == 401).then_some(()) };
    eventually("the revoked key dies", seconds(3), refused).await;
    assert_eq!(renewed.get("/v1/orders").await.status, 200);
    assert!(!app.site.run(&["platform", "revoke", "nobody"]).await.status.success());
    app.finish().await;
}

/// A store is changed by the process that holds it: the server where one runs, else the command itself.
#[actix_web::test]
async fn a_store_is_changed_by_whoever_holds_it() {
    let mut app = App::start(Site::new(Kind::Postgres, "")).await;
    said(&app, &["platform", "create", "by-the-server"]).await;

    // Another machine comes to the database and not to the server.
    let elsewhere = Site::at(Some(app.site.store_url.clone()), "");
    let refused = elsewhere.run(&["platform", "create", "from-elsewhere"]).await;
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && why.contains("the store is held by process"), "{why}");
    assert!(why.contains("control-"), "it says where no server answers: {why}");
    assert!(refused.stdout.is_empty(), "a key that is not in force is not shown");

    app.server.stop().await;
    said(&app, &["platform", "create", "by-the-command"]).await;
    said(&app, &["platform", "rotate", "by-the-server"]).await;
    app.restart();
    app.ready().await;
    // What a killed server leaves behind is no server.
    app.kill().await;
    assert!(sockets(&app) == 1);
    said(&app, &["platform", "revoke", "by-the-command"]).await;
    app.restart();
    app.ready().await;

    let store = tongbao::store::open(&app.site.store_url(), 1, seconds(5)).unwrap();
    let mut steps = Vec::new();
    for platform in store.platforms().await.and_then(whole).unwrap() {
        steps.push((platform.name, store.journal(platform.id.into()).await.unwrap().len()));
    }
    // The sandbox's own were made, and agreed to get each other's shares.
    let expected = [("platform-a", 2), ("platform-b", 2), ("by-the-server", 2), ("by-the-command", 2)];
    assert_eq!(steps, expected.map(|(name, count)| (name.to_owned(), count)));
    app.finish().await;
}

fn sockets(app: &App) -> usize {
    let files = std::fs::read_dir(app.site.folder.path()).unwrap();
    files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "sock")).count()
}

async fn said(app: &App, arguments: &[&str]) -> String {
    let output = app.site.run(arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
