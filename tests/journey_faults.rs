//! What goes wrong around the server: it is killed, stopped, doubled; its store or a receiver goes away and comes back.

mod support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use support::app::App;
use support::beside::Beside;
use support::books::{Left, counts};
use support::client::{Answer, Client, an_order, text, with};
use support::postgres::Cluster;
use support::process::{Kind, Site, free_address};
use support::receiver::DELIVERY;
use support::{app, eventually, seconds};
use tokio::sync::Mutex;
use tongbao::domain::id::OrderId;

/// Locks are given up soon, so that the journey need not wait for the default.
const IMPATIENT: &str = "[store]\nstatement_timeout_ms = 500\n";

fn of_lanes(lanes: u16) -> String {
    format!("[store]\nlanes = {lanes}\n")
}

/// Tries an order until it is accepted; the answers before that.
async fn accepted(client: &Client, within: Duration) -> (String, Vec<Answer>) {
    let order = an_order("tea");
    let begun = Instant::now();
    let mut refusals = Vec::new();
    loop {
        if let Ok(answer) = client.try_send(client.request(reqwest::Method::POST, "/v1/orders").json(&order)).await {
            if [200, 201].contains(&answer.status) {
                return (text(&answer.body, "id").to_owned(), refusals);
            }
            refusals.push(answer);
        }
        assert!(begun.elapsed() < within, "no order is accepted within {within:?}; last {:?}", refusals.last());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The store has one owner: another server is refused and told who it is, and the first one goes on.
#[actix_web::test]
async fn a_second_server_is_refused() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let app = app::start_with(kind, "[gateway]\nembedded = true\n").await;
        let mut second = app.site.command(&["serve"]);
        second.env("TONGBAO_SERVER__LISTEN", free_address().to_string());
        second.env("TONGBAO_GATEWAY__LISTEN", free_address().to_string());
        let refused = tokio::time::timeout(seconds(20), second.output()).await.expect("it gives up").unwrap();
        assert!(!refused.status.success());
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(&format!("process {}", app.server.id())), "it names the holder: {said}");
        let client = app.client();
        let order = client.create(&an_order("tea")).await.order(201);
        client.reaches(text(&order, "id"), "succeeded", seconds(10)).await;
        app.finish().await;
    }
}

/// After SIGKILL the next server takes the store over by itself and accepts orders: within 2 s, as `make bench` measures
/// (`loadtests/compare.sh memory`), and here in a time that no wrong count of beats reaches.
#[actix_web::test]
async fn a_killed_server_is_replaced() {
    let mut app = app::start().await;
    let client = app.client();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(accepted(&client, seconds(5)).await.0);
        app.kill().await;
        app.restart();
        ids.push(accepted(&client, seconds(6)).await.0);
        app.ready().await;
    }
    for id in &ids {
        client.reaches(id, "succeeded", seconds(15)).await;
    }
    app.finish().await;
}

/// A server that is halted is taken for dead. When it goes on it writes nothing any more and ends, and its successor
/// never notices.
async fn a_halted_server_is_fenced(kind: Kind, lanes: u16) {
    const STORE_LOST: i32 = 70;
    let settings = format!("[gateway]\nembedded = false\n{}", of_lanes(lanes));
    let mut app = App::start_beside_gateway(Site::new(kind, &settings)).await;
    let before = app.client();
    let order = before.create(&an_order("sim:lost")).await.order(201);
    app.server.pause().await;
    app.site.listen = free_address();
    let mut halted = std::mem::replace(&mut app.server, app.site.start(&["serve"]));
    app.ready().await;
    // Commands ask the heir, though the halted server's socket takes connections still.
    let made = app.site.run(&["platform", "create", "shop"]).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let client = app.client();
    let (accepted_by_heir, _) = accepted(&client, seconds(5)).await;

    halted.go_on().await;
    let late = before.request(reqwest::Method::POST, "/v1/orders").json(&an_order("tea"));
    if let Ok(answer) = before.try_send(late).await {
        assert_eq!(answer.status, 503, "{}", answer.text);
    }
    let status = halted.ends(seconds(5)).await;
    assert_eq!(status.code(), Some(STORE_LOST), "{}", halted.log_tail());
    for id in [text(&order, "id"), &accepted_by_heir] {
        client.reaches(id, "succeeded", seconds(15)).await;
    }
    app.finish().await;
}

#[actix_web::test]
async fn a_halted_server_is_fenced_on_sqlite() {
    a_halted_server_is_fenced(Kind::Sqlite, 1).await;
}

#[actix_web::test]
async fn a_halted_server_is_fenced_on_postgres() {
    a_halted_server_is_fenced(Kind::Postgres, 1).await;
    a_halted_server_is_fenced(Kind::Postgres, 4).await;
}

/// SIGTERM: what was begun is answered, what was acknowledged is there, and the exit is 0 in time.
#[actix_web::test]
async fn a_stopped_server_finishes_what_it_has() {
    let mut app = app::start().await;
    let client = app.client();
    let slow: Vec<_> = (0..3).map(|_| an_order("sim:error")).chain((0..20).map(|_| an_order("tea"))).collect();
    let sending = join_all(slow.iter().map(|order| {
        let client = client.clone();
        async move { client.try_send(client.request(reqwest::Method::POST, "/v1/orders").json(order)).await }
    }));
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        app.server.stop().await;
    };
    let (answers, ()) = tokio::join!(sending, stopping);
    let acknowledged: Vec<String> = answers
        .iter()
        .flatten()
        .filter(|answer| answer.status == 201)
        .map(|answer| text(&answer.body, "id").to_owned())
        .collect();
    assert!(!acknowledged.is_empty(), "nothing was under way");
    for answer in answers.iter().flatten().filter(|answer| answer.status != 201) {
        assert_eq!(answer.status, 503, "{}", answer.text);
    }
    app.restart();
    app.ready().await;
    for id in &acknowledged {
        client.reaches(id, "succeeded", seconds(15)).await;
    }
    app.finish().await;
}

/// A receiver that is down gets its webhooks when it is back, each under the id of its first try.
#[actix_web::test]
async fn webhooks_wait_for_their_receiver() {
    let mut app = app::start().await;
    let client = app.client();
    let noted = || with(an_order("tea"), json!({ "webhook_url": app.receiver.url("platform-a") }));
    let (first, second) = (noted(), noted());

    app.receiver.refuse(2);
    let order = client.create(&first).await.order(201);
    app.receiver.kinds_become(text(&order, "id"), &["order.succeeded"], seconds(15)).await;

    app.receiver.close().await;
    let order = client.create(&second).await.order(201);
    let id = text(&order, "id");
    client.reaches(id, "succeeded", seconds(10)).await;
    eventually("the webhook waits", seconds(5), || async { (counts(&app.site).await["outbox"] == 1).then_some(()) })
        .await;
    // What waits is not lost with the server.
    app.kill().await;
    app.restart();
    app.ready().await;
    app.receiver.open();
    app.receiver.kinds_become(id, &["order.succeeded"], seconds(15)).await;
    app.finish().await;
}

/// A webhook that nobody takes is explained, and holds nothing back.
#[actix_web::test]
async fn a_receiver_that_stays_away_holds_nobody_back() {
    let app = app::start().await;
    let client = app.client();
    let nowhere = format!("http://{}/", free_address());
    let lost = client.create(&with(an_order("tea"), json!({ "webhook_url": nowhere }))).await.order(201);
    let told = client.create(&with(an_order("tea"), json!({ "webhook_url": app.receiver.url("platform-a") }))).await;
    let told = told.order(201);
    client.reaches(text(&lost, "id"), "succeeded", seconds(10)).await;
    app.receiver.kinds_become(text(&told, "id"), &["order.succeeded"], seconds(10)).await;
    app.finish_with(Left { webhooks: 1, ..Left::default() }).await;
}

/// A row of the outbox that cannot be read waits until it can be, and holds nobody back.
#[actix_web::test]
async fn an_unreadable_webhook_holds_nobody_back() {
    let app = app::start().await;
    let client = app.client();
    let noted = || with(an_order("tea"), json!({ "webhook_url": app.receiver.url("platform-a") }));
    // Both wait for their second try, which only a look through the outbox brings.
    app.receiver.refuse(2);
    let (first, second) = (client.create(&noted()).await.order(201), client.create(&noted()).await.order(201));
    let (first, second) = (text(&first, "id"), text(&second, "id"));
    let mut beside = Beside::of(&app.site).await;
    eventually("both were refused", seconds(10), || async {
        (app.metric("tongbao_webhooks_total", "failed").await == 2.0).then_some(())
    })
    .await;
    let hexadecimal = format!("{:032x}", first.parse::<OrderId>().expect("an order's id").as_u128());
    let at = format!("WHERE kind = 1 AND id = unhex('{hexadecimal}')");
    beside.run(&format!("UPDATE outbox SET webhook_kind = 'damaged' || webhook_kind, next_at = 0 {at}")).await;
    app.receiver.kinds_become(second, &["order.succeeded"], seconds(10)).await;
    assert_eq!(app.receiver.of(first).len(), 0);

    beside.run(&format!("UPDATE outbox SET webhook_kind = substr(webhook_kind, 8), next_at = 0 {at}")).await;
    app.receiver.kinds_become(first, &["order.succeeded"], seconds(10)).await;
    beside.close().await;
    app.finish().await;
}

/// A webhook that was given up is shown with the last answer, and delivered under its id when it is replayed.
#[actix_web::test]
async fn a_dead_letter_is_replayed_under_its_id() {
    let app = app::start().await;
    let client = app.client();
    app.receiver.refuse(u32::MAX);
    let noted = with(an_order("tea"), json!({ "webhook_url": app.receiver.url("platform-a") }));
    let order = client.create(&noted).await.order(201);
    let id = text(&order, "id");
    eventually("the first try", seconds(10), || async { (app.receiver.refused().len() == 1).then_some(()) }).await;
    let retried = || async { (app.metric("tongbao_webhooks_total", "failed").await >= 1.0).then_some(()) };
    eventually("it is noted", seconds(5), retried).await;
    // Two days and all tries but the last one later.
    let mut beside = Beside::of(&app.site).await;
    beside.run("UPDATE outbox SET tries = 11, next_at = 0").await;
    let died = || async { (app.metric("tongbao_webhooks_total", "dead").await == 1.0).then_some(()) };
    eventually("the last try", seconds(5), died).await;

    let run = async |arguments: &[&str]| {
        let output = app.site.run(&[&["webhook"], arguments].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    };
    let shown = run(&["dead"]).await;
    for part in [id, "order.succeeded", "12", "answered 500"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(app.receiver.refused().len(), 2, "nobody sends what is dead");

    app.receiver.refuse(0);
    let another = text(&client.create(&an_order("tea")).await.order(201), "id").to_owned();
    assert_eq!(run(&["replay", "--order", &another]).await, "0 webhooks are due again\n");
    assert_eq!(run(&["replay", "--order", id]).await, "1 webhooks are due again\n");
    app.receiver.kinds_become(id, &["order.succeeded"], DELIVERY).await;
    let mut ids = app.receiver.refused();
    ids.extend(app.receiver.of(id).into_iter().map(|webhook| webhook.id));
    assert_eq!(ids, vec![ids[0].clone(); 3], "one webhook, three tries");
    assert!(!run(&["dead"]).await.contains(id));
    beside.close().await;
    app.finish().await;
}

/// While the store is away nothing is accepted, at once; then everything goes on.
async fn away_and_back(app: App, away: impl AsyncFnOnce(), back: impl AsyncFnOnce()) {
    let client = app.client();
    let before = join_all(["tea", "sim:lost", "sim:error"].map(|script| {
        let client = client.clone();
        async move { text(&client.create(&an_order(script)).await.order(201), "id").to_owned() }
    }))
    .await;

    away().await;
    let ready = || async { (client.get("/readyz").await.status == 503).then_some(()) };
    eventually("the server is not ready", seconds(10), ready).await;
    let begun = Instant::now();
    let refusals = join_all((0..5).map(|_| async { client.create(&an_order("tea")).await })).await;
    assert!(begun.elapsed() < seconds(3), "refused at once, not after {:?}", begun.elapsed());
    for refusal in refusals {
        assert_eq!(refusal.status, 503, "{}", refusal.text);
        assert!(["store_unavailable", "outcome_unknown"].contains(&text(&refusal.body, "code")), "{}", refusal.text);
        assert_eq!(refusal.header("retry-after"), Some("1"));
    }
    assert_eq!(client.get("/healthz").await.status, 200, "the process is well");

    back().await;
    let (after, _) = accepted(&client, seconds(15)).await;
    for id in before.iter().chain([&after]) {
        client.reaches(id, "succeeded", seconds(20)).await;
    }
    assert_eq!(client.get("/readyz").await.status, 200);
    app.finish().await;
}

#[actix_web::test]
async fn a_locked_store_refuses_and_goes_on() {
    let app = app::start_with(Kind::Sqlite, IMPATIENT).await;
    let file = app.site.store_file().to_owned();
    let other = Mutex::new(SqliteConnectOptions::new().filename(file).connect().await.unwrap());
    let run = async |statement: &'static str| {
        sqlx::query(statement).execute(&mut *other.lock().await).await.unwrap();
    };
    away_and_back(app, async || run("BEGIN EXCLUSIVE").await, async || run("ROLLBACK").await).await;
}

#[actix_web::test]
async fn a_postgres_that_goes_and_comes_is_waited_for() {
    let cluster = Cluster::start();
    for (over_tcp, lanes) in [(false, 1), (true, 1), (true, 4)] {
        let url = cluster.database();
        let url = if over_tcp { cluster.over_tcp(&url) } else { url };
        let app = App::start(Site::at(Some(url), &of_lanes(lanes))).await;
        away_and_back(app, async || cluster.stop(), async || cluster.restart()).await;
    }
}

/// What was paid while the server was dead is found when it is back.
#[actix_web::test]
async fn a_payment_is_made_while_the_server_is_dead() {
    let settings = format!("[gateway]\nembedded = false\n{}", of_lanes(4));
    let mut app = App::start_beside_gateway(Site::new(Kind::Postgres, &settings)).await;
    let client = app.client();
    let noted = with(an_order("tea"), json!({ "webhook_url": app.receiver.url("platform-a") }));
    let order = client.create(&noted).await.order(201);
    app.kill().await;
    let number = text(&order["attempts"][0], "id");
    eventually("the payer pays", seconds(5), || async {
        app.gateway.attempt(number).await.filter(|seen| seen["captured_minor"] == 20_060)
    })
    .await;
    app.restart();
    app.ready().await;
    let id = text(&order, "id");
    client.reaches(id, "succeeded", seconds(15)).await;
    app.receiver.kinds_become(id, &["order.succeeded"], DELIVERY).await;
    app.finish().await;
}
