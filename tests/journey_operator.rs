//! What people do where asking does not help: they resolve attempts, and see to quarantined orders.

mod support;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};
use support::app::App;
use support::client::{Answer, Client, an_order, text};
use support::process::{Kind, Site};
use support::{app, eventually, seconds};

const OPERATOR_KEY: &str = "ok_sandbox";

fn not_paid(attempt: u8) -> Value {
    json!({ "attempt": attempt, "finding": "not_paid", "evidence": "the channel's answer of today" })
}

fn paid(attempt: u8, reference: &str, amount: &str) -> Value {
    json!({
        "attempt": attempt,
        "finding": "paid",
        "reference": reference,
        "amount": amount,
        "evidence": "statement 7, line 12",
    })
}

async fn resolve(operator: &Client, id: &str, resolution: &Value) -> Answer {
    operator.post(&format!("/v1/operator/orders/{id}/resolve"), resolution).await
}

async fn said(app: &App, arguments: &[&str]) -> String {
    let output = app.site.run(arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[actix_web::test]
async fn an_operator_resolves_what_was_never_paid() {
    let app = app::start().await;
    let (client, operator) = (app.client(), app.client().with_key(OPERATOR_KEY));
    let order = client.create(&an_order("sim:never")).await.order(201);
    let id = text(&order, "id");

    resolve(&client, id, &not_paid(1)).await.problem(401, "unauthenticated");
    resolve(&client.anonymous(), id, &not_paid(1)).await.problem(401, "unauthenticated");
    resolve(&operator, "ord_01K0000000000000000000000A", &not_paid(1)).await.problem(404, "not_found");
    resolve(&operator, id, &not_paid(2)).await.problem(422, "attempt_unknown");
    resolve(&operator, id, &json!({ "attempt": 1 })).await.problem(422, "finding_unknown");
    assert_eq!(client.order(id).await["state"], "submitted", "a refused finding changes nothing");

    // Nothing follows from what one person says.
    let proposed = resolve(&operator, id, &not_paid(1)).await;
    assert_eq!((proposed.status, &proposed.body["state"]), (202, &json!("open")), "{}", proposed.text);
    assert_eq!(proposed.body["before"]["attempts"][0]["state"], "open");
    assert_eq!(proposed.body["after"]["attempts"][0]["state"], "dead");
    assert_eq!(client.order(id).await["attempts"][0]["state"], "open");
    // The attempt is dead by the operators' word, though the channel still waits for its payer.
    assert_eq!(app.approve_all().await[0]["state"], "done");
    let resolved = client.order(id).await;
    assert_eq!((&resolved["state"], &resolved["attempts"][0]["state"]), (&json!("created"), &json!("dead")));
    let journal = client.get(&format!("/v1/orders/{id}/events")).await;
    let steps = journal.body["data"].as_array().expect("steps").len();
    let last = &journal.body["data"][steps - 1]["events"][0];
    assert_eq!((&last["type"], &last["operator"]), (&json!("operator_resolved"), &json!("demo-admin, demo-finance")));
    assert_eq!(last["evidence"], "the channel's answer of today");

    assert_eq!(resolve(&operator, id, &not_paid(1)).await.status, 202);
    assert_eq!(app.approve_all().await[0]["state"], "done");
    let journal = client.get(&format!("/v1/orders/{id}/events")).await;
    assert_eq!(journal.body["data"].as_array().map(Vec::len), Some(steps), "the same again changes nothing");
    client.cancel(id).await.order(200);
    assert_eq!(app.metric("tongbao_operator_resolutions_total", "finding=\"not_paid\"").await, 2.0);
    app.finish().await;
}

/// The command line does the same; the books of the simulated gateway know nothing of this money, so they are not asked.
#[actix_web::test]
async fn an_operator_resolves_what_was_paid() {
    let mut app = app::start().await;
    let (client, operator) = (app.client(), app.client().with_key(OPERATOR_KEY));
    let order = client.create(&an_order("sim:never")).await.order(201);
    let id = text(&order, "id");
    let finding = ["--attempt", "1", "--finding", "paid", "--evidence", "statement 7, line 12"];
    let unfinished = app.site.run(&[&["operator", "resolve", id], &finding[..]].concat()).await;
    assert!(!unfinished.status.success(), "what was paid has a reference and an amount");
    let money = ["--reference", "SP-7", "--amount", "200.60"];
    let shown = said(&app, &[&["operator", "resolve", id], &finding[..], &money[..]].concat()).await;
    for word in ["prp_", "open", "resolve_attempt", "demo-admin", "channel:simpay:default", "200.60"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let proposal = shown.split_whitespace().find(|word| word.starts_with("prp_")).expect("an id").to_owned();
    let own = app.site.run(&["operator", "approve", &proposal]).await;
    assert!(!own.status.success() && String::from_utf8_lossy(&own.stderr).contains("second_operator_required"));
    let mut approve = app.site.command(&["operator", "approve", &proposal, "--json"]);
    let approved = approve.env("TONGBAO_OPERATOR_KEY", "ok_sandbox_2").output().await.expect("the binary runs");
    let approved: Value = serde_json::from_slice(&approved.stdout).expect("JSON");
    assert_eq!((&approved["state"], &approved["decided_by"]), (&json!("done"), &json!("demo-finance")));
    assert_eq!(client.order(id).await["state"], "succeeded");
    let capture = |order: &Value| order["attempts"][0]["channel_reference"].clone();
    assert_eq!(capture(&client.order(id).await), "SP-7");

    resolve(&operator, id, &paid(1, "SP-7", "200.61")).await.problem(409, "resolution_refused");
    resolve(&operator, id, &not_paid(1)).await.problem(409, "resolution_refused");
    let refused = app.site.run(&["operator", "retry", id]).await;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("not_found"));
    app.server.stop().await;
}

async fn execute(app: &App, kind: Kind, statement: &'static str) {
    let url = &app.site.store_url;
    match kind {
        Kind::Sqlite => {
            let mut connection = SqliteConnection::connect(url).await.expect("the store opens");
            sqlx::query(statement).execute(&mut connection).await.expect("it is done");
        }
        Kind::Postgres => {
            let mut connection = PgConnection::connect(url).await.expect("the store opens");
            sqlx::query(statement).execute(&mut connection).await.expect("it is done");
        }
    }
}

/// A row that cannot be read holds its order back; callbacks wait for it; once it is mended an operator lets it go on.
async fn a_quarantined_order_is_mended(kind: Kind) {
    let settings = "[gateway]\nembedded = false\n[orders]\nquarantine_retry_ms = [3600000]\n";
    let mut app = App::start_beside_gateway(Site::new(kind, settings)).await;
    let (client, operator) = (app.client(), app.client().with_key(OPERATOR_KEY));
    let done = client.create(&an_order("sim:never")).await.order(201);
    let done = text(&done, "id");
    client.cancel(done).await.order(200);
    let order = client.create(&an_order("tea")).await.order(201);
    let id = text(&order, "id");
    app.kill().await;
    execute(&app, kind, "UPDATE heads SET snapshot = '?' || snapshot, next_due_at = 0").await;
    match kind {
        Kind::Sqlite => {}
        Kind::Postgres => {
            execute(&app, kind, "DELETE FROM due").await;
            execute(&app, kind, "INSERT INTO due SELECT next_due_at, kind, id FROM heads").await;
        }
    }
    app.restart();
    app.ready().await;

    let held = eventually("the order is held, and its callback waits", seconds(20), || async {
        let listed = operator.get("/v1/operator/quarantine").await;
        let [first, held] = listed.body["data"].as_array()?.as_slice() else { return None };
        assert_eq!((&first["order"], &first["inbox"]), (&json!(done), &json!(0)), "by id");
        (held["inbox"].as_i64()? > 0).then(|| held.clone())
    })
    .await;
    assert_eq!((&held["order"], &held["held"], &held["tries"]), (&json!(id), &json!("back"), &json!(0)));
    assert!(text(&held, "why").contains("cannot be read"), "{held}");
    let shown = said(&app, &["operator", "quarantine"]).await;
    assert!(shown.contains(id) && shown.contains("cannot be read"), "{shown}");

    let retry = format!("/v1/operator/quarantine/{id}/retry");
    assert_eq!(operator.post(&retry, &json!({})).await.status, 202);
    eventually("it was tried in vain", seconds(10), || async {
        let listed = operator.get("/v1/operator/quarantine").await;
        (listed.body["data"][1]["tries"] == 1).then_some(())
    })
    .await;
    let page = operator.get("/v1/operator/quarantine?limit=1").await.body;
    assert_eq!(page["data"][0]["order"], done);
    let next = operator.get(&format!("/v1/operator/quarantine?limit=1&cursor={}", text(&page, "next_cursor"))).await;
    assert_eq!((&next.body["data"][0]["order"], &next.body["next_cursor"]), (&json!(id), &Value::Null));

    execute(&app, kind, "UPDATE heads SET snapshot = substr(snapshot, 2)").await;
    for id in [done, id] {
        said(&app, &["operator", "retry", id]).await;
    }
    client.reaches(id, "succeeded", seconds(15)).await;
    eventually("they are held no longer", seconds(10), || async {
        (operator.get("/v1/operator/quarantine").await.body["data"] == json!([])).then_some(())
    })
    .await;
    operator.post(&retry, &json!({})).await.problem(404, "not_found");
    app.finish().await;
}

#[actix_web::test]
async fn a_quarantined_order_is_mended_on_sqlite() {
    a_quarantined_order_is_mended(Kind::Sqlite).await;
}

#[actix_web::test]
async fn a_quarantined_order_is_mended_on_postgres() {
    a_quarantined_order_is_mended(Kind::Postgres).await;
}
