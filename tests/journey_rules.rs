//! The design's rules about what is durable, by the real binary over real stores.

mod support;

use std::time::{Duration, Instant};

use actix_web::rt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use support::app::App;
use support::beside::Beside;
use support::books::{self, Left, counts};
use support::client::{Answer, an_order, text, with};
use support::postgres;
use support::process::{Kind, Site};
use support::proxy::{Cut, Proxy};
use support::receiver::DELIVERY;
use support::{app, eventually, seconds, unique};
use tokio::task::JoinHandle;
use tongbao::domain::id::OrderId;

/// An order for which no channel is chosen.
fn undecided() -> Value {
    let mut order = an_order("tea");
    order.as_object_mut().expect("an order").remove("channel");
    order
}

/// While nothing can be written nothing new is revealed, by whatever question; and what was revealed then is there
/// after a kill.
async fn nothing_is_revealed_before_it_is_durable(kind: Kind) {
    let mut app = App::start_beside_gateway(Site::new(kind, "[gateway]\nembedded = false\n")).await;
    let client = app.client();
    let (unpaid, fresh) = (client.create(&undecided()).await.order(201), undecided());
    let paid = client.create(&an_order("tea")).await.order(201);
    let (unpaid, paid, attempt) = (text(&unpaid, "id"), text(&paid, "id"), text(&paid["attempts"][0], "id"));

    let mut beside = Beside::of(&app.site).await;
    beside.hold().await;
    let ask = |path: String, body: Value| -> JoinHandle<Answer> {
        let client = client.clone();
        rt::spawn(async move { client.post(&path, &body).await })
    };
    let orders = || "/v1/orders".to_owned();
    let created = ask(orders(), fresh.clone());
    let cancelled = ask(format!("/v1/orders/{unpaid}/cancel"), json!({}));
    // The first of their kind are in the writer's hands before the others come.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let repeated = ask(orders(), fresh.clone());
    let changed = ask(orders(), with(fresh.clone(), json!({ "amount": "7.00" })));
    let too_late = ask(format!("/v1/orders/{unpaid}/pay"), json!({ "channel": "simpay" }));
    eventually("the payer has paid", seconds(2), || async {
        app.gateway.attempt(attempt).await.filter(|seen| seen["captured_minor"] == 20_060)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(400)).await;

    let asked = [created, cancelled, repeated, changed, too_late];
    for (place, answer) in asked.iter().enumerate() {
        assert!(!answer.is_finished(), "question {place} is answered though nothing was written");
    }
    let found = client.get(&format!("/v1/orders?merchant_order_id={}", text(&fresh, "merchant_order_id"))).await;
    assert_eq!(found.body["data"], json!([]), "a list");
    assert_eq!(client.order(unpaid).await["state"], "created", "a read");
    assert_eq!(client.order(paid).await["state"], "submitted", "a read after a callback");
    let steps = client.get(&format!("/v1/orders/{unpaid}/events")).await;
    assert_eq!(steps.body["data"].as_array().map(Vec::len), Some(1), "the journal: {}", steps.text);

    beside.let_go().await;
    let answers = join_all(asked).await;
    app.kill().await;
    let [created, cancelled, repeated, changed, too_late] =
        <[_; 5]>::try_from(answers).expect("five answers").map(|answer| answer.expect("an answer"));
    let created = created.order(201);
    assert_eq!(cancelled.order(200)["failure"]["code"], "cancelled");
    assert_eq!((repeated.header("idempotent-replayed"), repeated.order(200)), (Some("true"), created.clone()));
    assert_eq!(changed.problem(409, "order_conflict"), Some("amount"));
    too_late.problem(409, "order_final");

    app.restart();
    app.ready().await;
    assert_eq!(client.order(text(&created, "id")).await, created, "what was answered is there");
    assert_eq!(client.order(unpaid).await, cancelled.body);
    client.reaches(paid, "succeeded", seconds(10)).await;
    beside.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn rule_12_nothing_is_revealed_before_it_is_durable_on_sqlite() {
    nothing_is_revealed_before_it_is_durable(Kind::Sqlite).await;
}

#[actix_web::test]
async fn rule_12_nothing_is_revealed_before_it_is_durable_on_postgres() {
    nothing_is_revealed_before_it_is_durable(Kind::Postgres).await;
}

/// The platform never learns that its order's commit was cut off, on the way there or on the way back; and while its
/// outcome is being found out, nobody else is kept waiting.
#[actix_web::test]
async fn rule_15_a_commit_that_is_cut_off_is_answered_as_it_turned_out() {
    let cluster = postgres::shared();
    let proxy = Proxy::start(cluster.address()).await;
    let url = cluster.by_way_of(proxy.address, &cluster.database());
    let app = App::start(Site::at(Some(url), "")).await;
    let client = app.client();
    for cut in [Cut::Answer, Cut::Request] {
        let order = an_order("tea");
        proxy.cut(cut, text(&order, "merchant_order_id"));
        let meanwhile = async {
            proxy.was_cut().await;
            eventually("others are refused", seconds(2), || async {
                (client.get("/readyz").await.status == 503).then_some(())
            })
            .await;
            let begun = Instant::now();
            client.create(&an_order("tea")).await.problem(503, "store_unavailable");
            assert!(begun.elapsed() < seconds(1), "at once, not after {:?}", begun.elapsed());
            proxy.open();
        };
        let (created, ()) = tokio::join!(client.create(&order), meanwhile);
        let created = created.order(201);
        let id = text(&created, "id");
        client.reaches(id, "succeeded", seconds(10)).await;
        let repeated = client.create(&order).await;
        assert_eq!(repeated.header("idempotent-replayed"), Some("true"), "{cut:?}");
        assert_eq!(text(&repeated.order(200), "id"), id, "{cut:?}");
    }
    assert_eq!(counts(&app.site).await["orders"], 2, "of what was refused nothing is there");
    app.finish().await;
}

/// The log of an embedded store cannot grow any further, which SQLite is told as an I/O error of a commit.
#[actix_web::test]
async fn rule_15_an_io_error_at_commit_stops_the_process() {
    const STORE_LOST: i32 = 70;
    const FILE_MAX_BYTES: u32 = 2 << 20;
    let mut app = App::start_beside_gateway(Site::new(Kind::Sqlite, "[gateway]\nembedded = false\n")).await;
    app.server.stop().await;
    app.server = app.site.start_with_files_of(FILE_MAX_BYTES, &["serve"]);
    app.ready().await;

    let client = app.client();
    let mut acknowledged = Vec::new();
    while app.server.ended().is_none() {
        let order = client.request(reqwest::Method::POST, "/v1/orders").json(&undecided());
        match client.try_send(order).await {
            Ok(answer) if answer.status == 201 => acknowledged.push(text(&answer.body, "id").to_owned()),
            // Who was in the group hears that nobody knows, who came after it that nothing was accepted.
            Ok(answer) if answer.body["code"] == "store_unavailable" => drop(answer.problem(503, "store_unavailable")),
            Ok(answer) => drop(answer.problem(503, "outcome_unknown")),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(acknowledged.len() < 2_000, "the disk is never full");
    }
    assert!(acknowledged.len() > 5, "only {} orders were accepted", acknowledged.len());
    let status = app.server.ended().expect("it has ended");
    assert_eq!(status.code(), Some(STORE_LOST), "{}", app.server.log_tail());
    assert!(app.server.log_tail().contains("disk I/O error"), "{}", app.server.log_tail());

    app.restart();
    app.ready().await;
    for id in &acknowledged {
        assert_eq!(client.order(id).await["state"], "created");
    }
    app.finish().await;
}

/// An order whose request or payer cannot be read is nobody's guess: it rests until a person has repaired the row.
async fn a_damaged_request_or_payer_quarantines_its_order(kind: Kind) {
    const SETTINGS: &str = "[orders]\nquarantine_retry_ms = [300]\n";
    let mut app = app::start_with(kind, SETTINGS).await;
    let client = app.client();
    // It is asked for every few seconds.
    let open = with(an_order("sim:never"), json!({ "payer": { "id": "u-1" } }));
    let create =
        async || client.create(&with(open.clone(), json!({ "merchant_order_id": unique("m") }))).await.order(201);
    let (by_request, by_payer) = (create().await, create().await);
    let ids = [text(&by_request, "id"), text(&by_payer, "id")];
    app.server.stop().await;
    let mut beside = Beside::of(&app.site).await;
    let name = text(&by_request, "merchant_order_id");
    beside.run(&format!("UPDATE orders SET request = '?' || request WHERE merchant_order_id = '{name}'")).await;
    let name = text(&by_payer, "merchant_order_id");
    let its = format!("order_id IN (SELECT id FROM orders WHERE merchant_order_id = '{name}')");
    beside.run(&format!("UPDATE payers SET payer = '?' || payer WHERE {its}")).await;
    app.restart();
    app.ready().await;
    eventually("both are held back", seconds(15), || async {
        (app.metric("tongbao_streams_quarantined", "").await == 2.0).then_some(())
    })
    .await;
    for id in ids {
        assert_eq!(client.get(&format!("/v1/orders/{id}")).await.status, 500, "nothing is said of what cannot be read");
    }
    let other = client.create(&an_order("tea")).await.order(201);
    client.reaches(text(&other, "id"), "succeeded", seconds(10)).await;

    beside.run("UPDATE orders SET request = substr(request, 2) WHERE request LIKE '?%'").await;
    beside.run("UPDATE payers SET payer = substr(payer, 2) WHERE payer LIKE '?%'").await;
    beside.close().await;
    for id in ids {
        eventually("it is taken up again", seconds(10), || async {
            matches!(client.cancel(id).await.status, 200 | 202).then_some(())
        })
        .await;
        client.reaches(id, "failed", seconds(15)).await;
    }
    eventually("both are released", seconds(10), || async {
        (app.metric("tongbao_streams_quarantined", "").await == 0.0).then_some(())
    })
    .await;
    app.finish().await;
}

#[actix_web::test]
async fn rule_16_a_damaged_request_or_payer_quarantines_its_order_on_sqlite() {
    a_damaged_request_or_payer_quarantines_its_order(Kind::Sqlite).await;
}

#[actix_web::test]
async fn rule_16_a_damaged_request_or_payer_quarantines_its_order_on_postgres() {
    a_damaged_request_or_payer_quarantines_its_order(Kind::Postgres).await;
}

/// An order whose row cannot be read any more is held back. What its gateway says of it meanwhile is kept, and proves
/// the payment when the row is repaired.
#[actix_web::test]
async fn rule_16_a_callback_for_a_quarantined_order_waits_in_the_inbox() {
    const SETTINGS: &str = "
[gateway]
embedded = false
payer_delay_ms = 1000
callback_retry_ms = [300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300, 300]
[orders]
quarantine_retry_ms = [300]
";
    let mut app = App::start_beside_gateway(Site::new(Kind::Sqlite, SETTINGS)).await;
    let client = app.client();
    let noted = with(an_order("tea"), json!({ "webhook_url": app.receiver.url("platform-a") }));
    let order = client.create(&noted).await.order(201);
    let id = text(&order, "id");
    app.server.stop().await;
    let mut beside = Beside::of(&app.site).await;
    beside.run("UPDATE heads SET snapshot = 'damaged' || snapshot").await;
    app.restart();
    app.ready().await;

    let store = books::open(&app.site);
    let kept = async || store.inbox_size().await.expect("the inbox is counted");
    eventually("the callback is kept", seconds(10), || async { (kept().await == 1).then_some(()) }).await;
    eventually("it is acknowledged", seconds(5), || async {
        (app.metric("tongbao_callbacks_total", "kept").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(app.metric("tongbao_callbacks_total", "").await, 1.0, "it came once, because it was acknowledged");
    assert_eq!(app.metric("tongbao_streams_quarantined", "").await, 1.0);
    assert_eq!(client.get(&format!("/v1/orders/{id}")).await.status, 500, "nothing is said of what cannot be read");
    let audit = app.site.run(&["audit"]).await;
    let said = String::from_utf8_lossy(&audit.stdout) + String::from_utf8_lossy(&audit.stderr);
    assert!(!audit.status.success() && said.contains(id), "the audit names the order: {said}");
    let other = client.create(&an_order("tea")).await.order(201);
    client.reaches(text(&other, "id"), "succeeded", seconds(10)).await;

    // Only the callback that was kept can tell of the payment now.
    app.stop_gateway().await;
    let repaired = "UPDATE heads SET snapshot = substr(snapshot, 8) WHERE snapshot LIKE 'damaged%'";
    beside.run(repaired).await;
    client.reaches(id, "succeeded", seconds(10)).await;
    eventually("the inbox is empty", seconds(5), || async { (kept().await == 0).then_some(()) }).await;
    eventually("the order is released", seconds(5), || async {
        (app.metric("tongbao_streams_quarantined", "").await == 0.0).then_some(())
    })
    .await;
    let steps = client.get(&format!("/v1/orders/{id}/events")).await.text;
    assert!(steps.contains("callback_verified"), "{steps}");

    beside.close().await;
    app.restart_gateway().await;
    app.receiver.kinds_become(id, &["order.succeeded"], DELIVERY).await;
    app.finish().await;
}

/// Payers are known by one table alone, and journal rows are the canonical form of what they say.
async fn the_journal_is_canonical_and_knows_no_payer(kind: Kind) {
    const PERSONAL: [&str; 3] = ["payer-7Q", "203.0.113.77", "openid-7Q"];
    let [id, ip, openid] = PERSONAL;
    let app = app::start_with(kind, "[channels.wechat]\nenabled = true\n").await;
    let client = app.client();
    let payer = json!({ "id": id, "ip": ip, "openid": openid });
    let noted = json!({ "payer": payer, "webhook_url": app.receiver.url("platform-a") });
    let scripts = ["tea", "sim:decline", "sim:underpay", "sim:twice", "sim:error"].map(an_order);
    // Their requests tell the channel of the payer.
    let telling = ["jsapi", "h5"].map(|method| with(an_order("tea"), json!({ "channel": "wechat", "method": method })));
    let asked = scripts.into_iter().chain(telling).map(|order| {
        let (client, order) = (client.clone(), with(order, noted.clone()));
        async move { client.create(&order).await.order(201) }
    });
    let orders = join_all(asked).await;
    books::settle(&app.site, &app.gateway, Left::default()).await;

    let store = books::open(&app.site);
    for order in &orders {
        let id = text(order, "id");
        let rows =
            store.journal(id.parse::<OrderId>().expect("an order's id").into()).await.expect("the journal is read");
        assert!(rows.len() > 2, "{id} has taken steps");
        for row in &rows {
            let read: Value = serde_json::from_slice(&row.body).expect("a journal row is JSON");
            let canonical = serde_json_canonicalizer::to_vec(&read).expect("JSON has a canonical form");
            assert_eq!(row.body, canonical, "{}", String::from_utf8_lossy(&row.body));
        }
    }
    let mut beside = Beside::of(&app.site).await;
    for (table, values) in beside.contents().await {
        for secret in PERSONAL {
            assert_eq!(
                values.contains(secret),
                table == "payers" && values.starts_with('{'),
                "{secret}, {table}: {values}"
            );
        }
    }
    assert_eq!(beside.column::<String>("SELECT payer FROM payers").await.len(), orders.len());
    for secret in PERSONAL {
        assert!(!app.server.log().contains(secret), "{secret} is logged");
    }
    // So they can be forgotten, and the orders stand.
    beside.run("DELETE FROM payers").await;
    beside.close().await;
    for order in &orders {
        client.order(text(order, "id")).await;
    }
    app.finish().await;
}

#[actix_web::test]
async fn rule_18_the_journal_is_canonical_and_knows_no_payer_on_sqlite() {
    the_journal_is_canonical_and_knows_no_payer(Kind::Sqlite).await;
}

#[actix_web::test]
async fn rule_18_the_journal_is_canonical_and_knows_no_payer_on_postgres() {
    the_journal_is_canonical_and_knows_no_payer(Kind::Postgres).await;
}

/// What tells of the payer is put in anew with each send: while it is known, a repeat is the first request byte for
/// byte (else the gateway refuses its number); once it is erased, the attempt is asked about and closed, never sent.
#[actix_web::test]
async fn rule_18_an_attempt_of_an_erased_payer_is_sent_no_more_and_comes_to_its_end() {
    let app = app::start_with(Kind::Sqlite, "[channels.wechat]\nenabled = true\n").await;
    let client = app.client();
    let orders = ["jsapi", "h5"].map(|method| {
        let payer = json!({ "id": "payer-8R", "ip": "203.0.113.88", "openid": "openid-8R" });
        let asked = json!({ "channel": "wechat", "method": method, "payer": payer });
        (method, with(an_order("sim:never"), asked))
    });
    for (method, asked) in orders {
        let order = client.create(&asked).await.order(201);
        let id = text(&order, "id");
        let pay = async || {
            let chosen = json!({ "channel": "wechat", "method": method });
            client.post(&format!("/v1/orders/{id}/pay"), &chosen).await.order(200)
        };
        let again = pay().await;
        assert_eq!(again["attempts"].as_array().map(Vec::len), Some(1), "{method}: {again}");
        assert_eq!(again["attempts"][0]["state"], "open", "{method}: {again}");
        if method == "jsapi" {
            assert_ne!(again["next_action"], order["next_action"], "its parameters are signed anew");
        }
        let mut beside = Beside::of(&app.site).await;
        beside.run("DELETE FROM payers").await;
        beside.close().await;
        let kept = pay().await;
        assert_eq!((&kept["state"], &kept["attempts"][0]["state"]), (&json!("submitted"), &json!("open")), "{kept}");
        let kept = client.order(id).await;
        assert_eq!(kept["next_action"], again["next_action"], "{method}: what was shown is still good");
        assert_eq!(client.cancel(id).await.order(200)["state"], "failed");
    }
    app.finish().await;
}
