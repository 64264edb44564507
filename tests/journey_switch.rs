//! A payer who wants another channel than the open one, where that one cannot be closed.

mod support;

use serde_json::{Value, json};
use support::client::{an_order, http, text, with};
use support::process::Kind;
use support::{app, seconds};

const SETTINGS: &str = "
[channels.alipay]
enabled = true
[channels.unionpay]
enabled = true
";

/// Rule 7: Alipay knows no trade before the payer opens its page, and UnionPay has no close. Money can come by either
/// until its time is over, so the platform is told to wait until then, and the payer may go on as before.
#[actix_web::test]
async fn a_page_that_cannot_be_closed_holds_a_switch_back_and_stays_payable() {
    let app = app::start_with(Kind::Sqlite, SETTINGS).await;
    let client = app.client();
    for channel in ["alipay", "unionpay"] {
        let asked = with(
            an_order("tea"),
            json!({ "channel": channel, "method": "page", "return_url": app.receiver.url("back") }),
        );
        let order = client.create(&asked).await.order(201);
        let id = text(&order, "id").to_owned();
        let refused = client.pay(&id, "simpay").await;
        assert_eq!(refused.problem(409, "attempt_open"), None, "{channel}");
        let wait_s: i64 = refused.header("retry-after").expect("when to come again").parse().expect("seconds");
        assert!(wait_s > 60, "{channel} is open for longer than {wait_s} s");
        let until = text(&refused.body, "until").to_owned();
        assert!(until.as_str() > text(&order["next_action"], "expires_at"), "{channel}: the grace is counted, {until}");
        let order = client.order(&id).await;
        assert_eq!((text(&order, "state"), text(&order, "channel")), ("submitted", channel));
        assert_eq!(order["attempts"][0]["state"], "open", "{channel}");
        visit(&order["next_action"]).await;
        client.reaches(&id, "succeeded", seconds(25)).await;
    }
    app.finish().await;
}

async fn visit(form: &Value) {
    let fields = form["fields"].as_object().expect("a form has fields");
    let fields = fields.iter().map(|(name, value)| (name, value.as_str().expect("a field is text")));
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let post = http().post(text(form, "url"));
    let sent = post.header("content-type", "application/x-www-form-urlencoded; charset=UTF-8").body(body).send().await;
    drop(sent);
}
