//! Orders that wait for their payers leave memory, and whatever comes for them brings them back.

mod support;

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::app::{self, App};
use support::client::{an_order, text, with};
use support::process::Kind;
use support::{eventually, seconds};

/// Cells leave after a second, so that the journey need not wait for a minute.
const FORGETFUL: &str = "[orders]\nidle_ms = 1000\nscan_ms = 200\n";

async fn nobody_is_in_memory(app: &App) {
    let none = async || (app.metric("tongbao_orders_active", "").await == 0.0).then_some(());
    eventually("nobody is in memory", seconds(40), none).await;
}

async fn queries(app: &App) -> f64 {
    app.metric("tongbao_channel_calls_total", r#"call="query""#).await
}

async fn waiting_orders_leave_memory(kind: Kind) {
    let app = app::start_with(kind, FORGETFUL).await;
    let client = app.client();
    let create = async |body: Value| text(&client.create(&body).await.order(201), "id").to_owned();
    let unpaid = || with(an_order("tea"), json!({"channel": null, "method": null}));
    let waiting: Vec<String> = join_all((0..40).map(|_| create(unpaid()))).await;
    let asked: Vec<String> = join_all((0..10).map(|_| create(an_order("sim:never")))).await;
    nobody_is_in_memory(&app).await;

    // Whoever only reads brings nobody back.
    for id in waiting.iter().chain(&asked) {
        client.order(id).await;
    }
    assert_eq!(app.metric("tongbao_orders_active", "").await, 0.0);

    // What falls due comes back for what is due, and asks its channel no more than it would have in memory: the sandbox
    // asks after 1.5, 4.5, 10.5 and 20.5 seconds and every ten from then on, so at most four times in 25.
    let before = queries(&app).await;
    tokio::time::sleep(seconds(25)).await;
    let asked_for = queries(&app).await - before;
    assert!((20.0..=40.0).contains(&asked_for), "{asked_for} queries of 10 orders");

    // Payers and platforms bring orders back, and so do the answers and callbacks that follow.
    nobody_is_in_memory(&app).await;
    assert_eq!(client.pay(&waiting[0], "simpay").await.status, 200);
    client.reaches(&waiting[0], "succeeded", seconds(10)).await;
    assert_eq!(client.cancel(&waiting[1]).await.status, 200);
    client.reaches(&waiting[1], "failed", seconds(10)).await;
    client.cancel(&asked[0]).await;
    client.reaches(&asked[0], "failed", seconds(20)).await;
    nobody_is_in_memory(&app).await;
    for id in waiting[2..].iter().chain(&asked[1..]) {
        client.cancel(id).await;
    }
    app.finish().await;
}

#[actix_web::test]
async fn waiting_orders_leave_memory_on_sqlite() {
    waiting_orders_leave_memory(Kind::Sqlite).await;
}

#[actix_web::test]
async fn waiting_orders_leave_memory_on_postgres() {
    waiting_orders_leave_memory(Kind::Postgres).await;
}
