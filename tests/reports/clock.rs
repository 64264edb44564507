//! Wall clocks that step. The server's is shifted by `clock.offset_file`; the gateway's, which channels tell in `Date`,
//! is not.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::support::app::App;
use crate::support::beside::Beside;
use crate::support::client::{an_order, text, with};
use crate::support::process::{Kind, Site};
use crate::support::receiver::DELIVERY;
use crate::support::{eventually, seconds};

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// The watch looks twice a second, and whoever waits for a query waits for 1.5 s.
const PROMPTLY: Duration = seconds(10);

/// A wall clock that is set from outside.
struct Wall(PathBuf);

impl Wall {
    /// A site whose server reads its wall clock by it; the clock is right.
    fn site(kind: Kind, settings: &str) -> (Self, Site) {
        let mut site = Site::new(kind, "");
        let wall = Wall(site.folder.path().join("clock"));
        site.lay_over(&format!("[clock]\noffset_file = \"{}\"\n{settings}", wall.0.display()));
        wall.set(0);
        (wall, site)
    }

    /// In one act, so that nobody reads half a number.
    fn set(&self, off_ms: i64) {
        let whole = self.0.with_extension("new");
        std::fs::write(&whole, off_ms.to_string()).expect("the offset is written");
        std::fs::rename(whole, &self.0).expect("the offset takes its place");
    }
}

/// Whether the step that people are alarmed by is about this one.
async fn alarmed(app: &App, step_ms: i64) {
    eventually(&format!("an alarm of {step_ms} ms"), seconds(5), || async {
        let shown = app.metric("tongbao_clock_step_ms", "").await;
        ((shown - step_ms as f64).abs() < 2_000.0).then_some(())
    })
    .await;
}

async fn doubt_is(app: &App, doubt: f64) {
    eventually(&format!("doubt is {doubt}"), PROMPTLY, || async {
        (app.metric("tongbao_clock_in_doubt", "").await == doubt).then_some(())
    })
    .await;
}

fn by_wechat(description: &str) -> serde_json::Value {
    with(an_order(description), json!({ "channel": "wechat", "method": "native" }))
}

/// Calls of two accounts, whose answers tell the time.
async fn two_channels_tell_the_time(app: &App) {
    let client = app.client();
    for order in [an_order("sim:never"), by_wechat("sim:never")] {
        client.create(&order).await.order(201);
    }
}

#[actix_web::test]
async fn report_after_30_days_for_6_s_a_paid_order_succeeds_promptly_and_nothing_expired() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let (wall, site) = Wall::site(kind, "");
        let mut app = App::start(site).await;
        let client = app.client();
        let waiting = client.create(&an_order("sim:never")).await.order(201);
        let before = client.create(&an_order("sim:lost")).await.order(201);
        wall.set(30 * DAY);
        alarmed(&app, 30 * DAY).await;
        let during = client.create(&an_order("sim:lost")).await.order(201);
        for order in [&before, &during] {
            client.reaches(text(order, "id"), "succeeded", PROMPTLY).await;
        }
        assert_eq!(client.order(text(&waiting, "id")).await["state"], "submitted", "nothing expired");
        wall.set(0);
        alarmed(&app, 0).await;
        doubt_is(&app, 0.0).await;
        let after = client.create(&an_order("sim:lost")).await.order(201);
        client.reaches(text(&after, "id"), "succeeded", PROMPTLY).await;
        app.server.stop().await;
        app.restart();
        app.ready().await;
        assert_eq!(app.metric("tongbao_clock_step_ms", "").await, 0.0, "the store holds no instant of that time");
        assert_eq!(client.order(text(&waiting, "id")).await["state"], "submitted");
        client.cancel(text(&waiting, "id")).await;
        app.finish().await;
    }
}

/// An order whose look comes due behind the place that take-up had reached.
#[actix_web::test]
async fn report_after_an_hour_ahead_for_a_while_late_money_is_found_without_a_restart() {
    let (wall, site) = Wall::site(Kind::Sqlite, "[gateway.faults]\ncallback_lost_per_10000 = 10000\n");
    let app = App::start(site).await;
    let client = app.client();
    let order = client.create(&an_order("sim:late")).await.order(201);
    let id = text(&order, "id");
    client.cancel(id).await;
    client.reaches(id, "failed", PROMPTLY).await;
    wall.set(HOUR);
    alarmed(&app, HOUR).await;
    tokio::time::sleep(seconds(2)).await;
    wall.set(0);
    alarmed(&app, 0).await;
    // Its first look is a minute after its end: that minute is over.
    let mut beside = Beside::of(&app.site).await;
    beside
        .run(
            "UPDATE heads SET next_due_at = next_due_at - 60000, snapshot = json_set(snapshot, '$.finished_at', \
             json_extract(snapshot, '$.finished_at') - 60000)",
        )
        .await;
    // Looked through anew every 30 s, whatever was seen.
    client
        .until(id, "gives the late money back", seconds(45), |order| order["suspense"][0]["state"] == "refunded")
        .await;
}

#[actix_web::test]
async fn report_after_120_s_back_queries_and_webhook_retries_go_on() {
    let (wall, site) = Wall::site(Kind::Sqlite, "");
    let app = App::start(site).await;
    let client = app.client();
    app.receiver.refuse(2);
    let noted = with(an_order("tea"), json!({ "webhook_url": app.receiver.url("platform-a") }));
    let paid = client.create(&noted).await.order(201);
    let lost = client.create(&an_order("sim:lost")).await.order(201);
    eventually("the first try", seconds(10), || async { (!app.receiver.refused().is_empty()).then_some(()) }).await;
    wall.set(-120 * SECOND);
    alarmed(&app, -120 * SECOND).await;
    client.reaches(text(&lost, "id"), "succeeded", PROMPTLY).await;
    app.receiver.kinds_become(text(&paid, "id"), &["order.succeeded"], DELIVERY + PROMPTLY).await;
    wall.set(0);
    app.finish().await;
}

/// The clock was ahead from the start and is set right: two accounts confirm it, and what was dated ahead goes on.
#[actix_web::test]
async fn report_a_step_back_that_two_channels_confirm_is_followed_and_nobody_waits_for_it() {
    let (wall, site) = Wall::site(Kind::Sqlite, "");
    wall.set(120 * SECOND);
    let app = App::start(site).await;
    let client = app.client();
    app.receiver.refuse(3);
    let noted = with(an_order("tea"), json!({ "webhook_url": app.receiver.url("platform-a") }));
    let paid = client.create(&noted).await.order(201);
    eventually("the second try", seconds(15), || async { (app.receiver.refused().len() >= 2).then_some(()) }).await;
    let slow = client.create(&an_order("sim:slow")).await.order(201);
    let lost = client.create(&by_wechat("sim:lost")).await.order(201);
    doubt_is(&app, 1.0).await;
    wall.set(0);
    two_channels_tell_the_time(&app).await;
    doubt_is(&app, 0.0).await;
    alarmed(&app, 0).await;
    client.reaches(text(&lost, "id"), "succeeded", PROMPTLY).await;
    client.reaches(text(&slow, "id"), "succeeded", seconds(30)).await;
    app.receiver.kinds_become(text(&paid, "id"), &["order.succeeded"], seconds(30)).await;
}

/// The store's owner wrote last in two minutes from now: that clock or ours is wrong.
#[actix_web::test]
async fn report_a_start_behind_the_last_instant_ends_nothing_by_time_until_the_clock_is_confirmed() {
    let (_wall, site) = Wall::site(Kind::Sqlite, "");
    let mut app = App::start(site).await;
    let client = app.client();
    let open = client.create(&an_order("sim:slow")).await.order(201);
    let mut chosen = an_order("tea");
    chosen.as_object_mut().expect("an order").remove("channel");
    let over = client.create(&chosen).await.order(201);
    let (open, over) = (text(&open, "id"), text(&over, "id"));
    app.server.stop().await;
    let mut beside = Beside::of(&app.site).await;
    beside.run("UPDATE lanes SET at = at + 120000").await;
    let past = "json_extract(snapshot, '$.created_at') - 1000";
    let ended = format!(
        "UPDATE heads SET next_due_at = {past}, \
         snapshot = json_set(snapshot, '$.expires_at', {past}) WHERE state = 'created'"
    );
    beside.run(&ended).await;
    beside.close().await;

    app.restart();
    app.ready().await;
    alarmed(&app, -120 * SECOND).await;
    doubt_is(&app, 1.0).await;
    client.reaches(open, "succeeded", seconds(30)).await;
    assert_eq!(client.order(over).await["state"], "created", "its deadline has passed, if the clock is right");
    two_channels_tell_the_time(&app).await;
    doubt_is(&app, 0.0).await;
    assert_eq!(client.reaches(over, "failed", PROMPTLY).await["failure"]["code"], "expired");
}

#[actix_web::test]
async fn a_clock_is_shifted_in_the_sandbox_only() {
    let site = Site::new(Kind::Sqlite, "sandbox = false\n[clock]\noffset_file = \"clock\"\n");
    let refused = site.run(&["serve"]).await;
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("`clock.offset_file` is for tests of the sandbox"), "{said}");
}
