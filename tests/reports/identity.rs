//! Whole identities: an account is a channel and a name.

use serde_json::{Value, json};
use tongbao::config::sandbox::Stripe;

use super::support::app::App;
use super::support::books::counts;
use super::support::client::{Answer, an_order, text, with};
use super::support::far_ends::{Payment, stripe};
use super::support::gateway::Callback;
use super::support::process::{Kind, Site};
use super::support::seconds;
use super::support::ways::visit;

const SETTINGS: &str = "[channels.wechat]\nenabled = true\n[channels.alipay]\nenabled = true\n\
                        [channels.stripe]\nenabled = true\n";

/// Rightly signed by its own channel's key, of the right amount and currency; only the attempt is at another channel.
async fn told_by(app: &App, other: &str, number: &str, payable_minor: i64) -> Answer {
    let client = app.client();
    match other {
        "simpay" => Callback::of(&app.site, number, payable_minor).send(&client).await,
        "stripe" => {
            let signer = Stripe::open(app.site.folder.path(), "default").expect("keys");
            let event = stripe(&signer, &Payment::of(number, payable_minor, "cny"), None);
            event.send(&client, "/v1/callbacks/stripe").await
        }
        other => panic!("{other} is not one of the two"),
    }
}

/// Every channel has an account called `default`. What the key of one says counts for no attempt at another.
#[actix_web::test]
async fn report_a_callback_of_one_channel_is_believed_for_an_attempt_at_another() {
    let app = App::start(Site::new(Kind::Sqlite, SETTINGS)).await;
    let client = app.client();
    let asked = |channel, method, description| {
        let webhook_url = app.receiver.url("platform-a");
        with(an_order(description), json!({"channel": channel, "method": method, "webhook_url": webhook_url}))
    };
    let mut orders: Vec<Value> = Vec::new();
    for (channel, method, description, payable_minor) in
        [("wechat", "native", "sim:never", 20_060), ("alipay", "page", "tea", 20_100)]
    {
        let order = client.create(&asked(channel, method, description)).await.order(201);
        let (id, number) = (text(&order, "id"), text(&order["attempts"][0], "id"));
        let before = counts(&app.site).await;
        for other in ["simpay", "stripe"] {
            told_by(&app, other, number, payable_minor).await.problem(409, "callback_refused");
            let now = client.order(id).await;
            assert_eq!(
                (&now["state"], &now["attempts"]),
                (&order["state"], &order["attempts"]),
                "{channel} by {other}"
            );
            assert_eq!(counts(&app.site).await, before, "{channel} by {other}");
        }
        orders.push(order);
    }
    for other in ["simpay", "stripe"] {
        let refused = format!("channel=\"{other}\",verdict=\"refused\"");
        assert_eq!(app.metric("tongbao_callbacks_total", &refused).await, 2.0, "{other}'s signatures verify");
    }

    // Its own channel is believed of either.
    let [wechat, alipay] = &orders[..] else { panic!("two orders") };
    client.cancel(text(wechat, "id")).await;
    client.reaches(text(wechat, "id"), "failed", seconds(25)).await;
    visit(&alipay["next_action"]).await;
    client.reaches(text(alipay, "id"), "succeeded", seconds(25)).await;
    app.finish().await;
}

/// A reference that an account has given is on record for good. A second order that is told to be paid by it is not, and
/// stays as good as it was.
#[actix_web::test]
async fn report_a_reference_on_record_elsewhere_quarantines_the_second_order() {
    let app = App::start(Site::new(Kind::Sqlite, "")).await;
    let client = app.client();
    let by_simpay = |description| {
        let webhook_url = app.receiver.url("platform-a");
        with(an_order(description), json!({"channel": "simpay", "webhook_url": webhook_url}))
    };
    let first = client.create(&by_simpay("tea")).await.order(201);
    let paid = client.reaches(text(&first, "id"), "succeeded", seconds(25)).await;
    let reference = &paid["attempts"][0]["channel_reference"];
    assert!(reference.is_string(), "{paid}");

    let second = client.create(&by_simpay("sim:never")).await.order(201);
    let (id, number) = (text(&second, "id"), text(&second["attempts"][0], "id"));
    let before = counts(&app.site).await;
    let told = Callback::of(&app.site, number, 20_060).with("reference", reference.clone());
    told.send(&client).await.problem(409, "callback_refused");
    assert_eq!(counts(&app.site).await, before, "nothing is booked twice");
    let now = client.order(id).await;
    assert_eq!((&now["state"], &now["attempts"]), (&second["state"], &second["attempts"]));
    assert_eq!(app.metric("tongbao_streams_quarantined", "").await, 0.0);
    assert_eq!(app.metric("tongbao_contradictions_total", "").await, 1.0, "somebody is told");
    client.cancel(id).await;
    client.reaches(id, "failed", seconds(25)).await;
    app.finish().await;
}
