//! `Idempotency-Key` where it is hard: the process dies between what a request did and its answer.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};
use support::app::App;
use support::client::{Answer, Client, an_order, text, with};
use support::process::Kind;
use support::{app, eventually, seconds, unique};
use tongbao::domain::id::PlatformId;

fn undecided(description: &str) -> Value {
    let mut order = an_order(description);
    order.as_object_mut().expect("an order").remove("channel");
    order
}

async fn keyed(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    let request = client.request(reqwest::Method::POST, path).header("idempotency-key", key).json(body);
    client.send(request).await
}

/// The server dies after the commands' commits and before those of their answers.
async fn loses_its_answers(app: &mut App, kind: Kind) {
    const LOSE: &str = "UPDATE answers SET status = NULL, body = NULL";
    app.kill().await;
    let url = &app.site.store_url;
    let lost = match kind {
        Kind::Sqlite => {
            let mut connection = SqliteConnection::connect(url).await.expect("the store opens");
            sqlx::query(LOSE).execute(&mut connection).await.expect("the answers go").rows_affected()
        }
        Kind::Postgres => {
            let mut connection = PgConnection::connect(url).await.expect("the store opens");
            sqlx::query(LOSE).execute(&mut connection).await.expect("the answers go").rows_affected()
        }
    };
    assert_eq!(lost, 2);
    app.restart();
    app.ready().await;
}

async fn a_lost_answer_is_made_up_for(kind: Kind) {
    let mut app = app::start_with(kind, "").await;
    let client = app.client();
    let noted = |order: Value| with(order, json!({ "webhook_url": app.receiver.url("platform-a") }));
    let (cancelled, paid) = (noted(undecided("tea")), noted(undecided("sim:never")));
    let cancelled = client.create(&cancelled).await.order(201);
    let paid = client.create(&paid).await.order(201);
    let cancel = format!("/v1/orders/{}/cancel", text(&cancelled, "id"));
    let pay = format!("/v1/orders/{}/pay", text(&paid, "id"));
    let choice = json!({ "channel": "simpay" });
    let (cancel_key, pay_key) = (unique("key"), unique("key"));
    keyed(&client, &cancel, &cancel_key, &json!({})).await.order(200);
    let first = keyed(&client, &pay, &pay_key, &choice).await.order(200);
    assert_eq!(first["next_action"]["type"], "qr_code");

    loses_its_answers(&mut app, kind).await;
    let repeated = keyed(&client, &cancel, &cancel_key, &json!({})).await;
    assert_eq!(repeated.header("idempotent-replayed"), Some("true"));
    assert_eq!(repeated.order(200)["failure"]["code"], "cancelled");
    keyed(&client, &cancel, &unique("key"), &json!({})).await.problem(409, "order_final");
    let without_body = client.request(reqwest::Method::POST, &cancel).header("idempotency-key", &cancel_key);
    client.send(without_body).await.problem(422, "idempotency_key_reused");

    let shown = keyed(&client, &pay, &pay_key, &choice).await;
    assert_eq!(shown.header("idempotent-replayed"), Some("true"));
    let order = shown.order(200);
    assert_eq!(order["attempts"].as_array().map(Vec::len), Some(1), "nothing was sent again: {order}");
    assert_eq!(order["next_action"], first["next_action"]);
    assert_eq!(keyed(&client, &pay, &pay_key, &choice).await.text, shown.text, "from then on it is the answer");

    client.cancel(text(&paid, "id")).await;
    client.reaches(text(&paid, "id"), "failed", seconds(10)).await;
    app.finish().await;
}

#[actix_web::test]
async fn a_lost_answer_is_made_up_for_on_sqlite() {
    a_lost_answer_is_made_up_for(Kind::Sqlite).await;
}

#[actix_web::test]
async fn a_lost_answer_is_made_up_for_on_postgres() {
    a_lost_answer_is_made_up_for(Kind::Postgres).await;
}

/// `next_action` may hold a channel's secret: it stands in the order's row alone, which is wiped when it is final.
#[actix_web::test]
async fn no_kept_answer_holds_a_next_action() {
    let app = app::start().await;
    let client = app.client();
    let order = client.create(&undecided("sim:never")).await.order(201);
    let id = text(&order, "id");
    let (pay, key, choice) = (format!("/v1/orders/{id}/pay"), unique("key"), json!({ "channel": "simpay" }));
    let first = keyed(&client, &pay, &key, &choice).await;
    assert!(first.order(200)["next_action"].is_object());
    let platform = PlatformId(1);
    let kept = support::books::open(&app.site).answer(platform, &key).await.unwrap().expect("it is kept");
    let body: Value = serde_json::from_str(&kept.given.expect("it was given").body).unwrap();
    assert_eq!((&body["id"], &body["next_action"]), (&json!(id), &Value::Null));

    assert_eq!(keyed(&client, &pay, &key, &choice).await.text, first.text, "the same answer, put together again");
    client.cancel(id).await;
    client.reaches(id, "failed", seconds(10)).await;
    let after = keyed(&client, &pay, &key, &choice).await.order(200);
    assert_eq!((&after["state"], &after["next_action"]), (&json!("submitted"), &Value::Null));
    app.finish().await;
}

/// A client that goes away leaves its key taken until what it asked for is over; then it is told what became of it.
#[actix_web::test]
async fn a_client_that_goes_and_comes_again_has_asked_once() {
    let app = app::start().await;
    let client = app.client();
    let order = client.create(&undecided("sim:hang")).await.order(201);
    let id = text(&order, "id");
    let (pay, key, choice) = (format!("/v1/orders/{id}/pay"), unique("key"), json!({ "channel": "simpay" }));
    let impatient = client.request(reqwest::Method::POST, &pay).header("idempotency-key", &key).json(&choice);
    let gone = client.try_send(impatient.timeout(Duration::from_millis(300))).await;
    assert!(gone.expect_err("no answer comes so soon").is_timeout());
    keyed(&client, &pay, &key, &choice).await.problem(409, "request_in_progress");
    let told = eventually("the first request is over", seconds(10), || async {
        let answer = keyed(&client, &pay, &key, &choice).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(told.header("idempotent-replayed"), Some("true"));
    client.reaches(id, "succeeded", seconds(15)).await;
    app.finish().await;
}
