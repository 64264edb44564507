//! What one platform's mistakes do to another.

use reqwest::Method;
use reqwest::header::ACCEPT_LANGUAGE;
use serde_json::{Value, json};

use crate::support::app::{self, App};
use crate::support::beside::Beside;
use crate::support::client::{Client, an_order, text, with};
use crate::support::door::{Door, State};
use crate::support::process::{Kind, Site};
use crate::support::seconds;

async fn success_rate(client: &Client, name: &str) -> Value {
    let channels = client.get("/v1/channels").await;
    let listed = channels.body["data"].as_array().expect("a list").iter().find(|channel| channel["name"] == name);
    listed.unwrap_or_else(|| panic!("{name} in {}", channels.text))["success_rate"].clone()
}

fn undecided() -> Value {
    with(an_order("tea"), json!({ "channel": null, "payer": null }))
}

#[actix_web::test]
async fn report_what_a_way_to_pay_needs_of_its_payer_is_asked_for_at_the_edge_and_harms_nobody() {
    let app = app::start_with(Kind::Sqlite, "[routing]\nsamples_min = 1\n").await;
    let (a, b) = (app.client(), app.client_b());
    let before = b.create(&undecided()).await.order(201);
    for (method, missing) in [("jsapi", "payer.openid"), ("h5", "payer.ip")] {
        for payer in [Value::Null, json!({ "id": "u-1" })] {
            let asked = with(an_order("tea"), json!({ "channel": "wechat", "method": method, "payer": payer }));
            for _ in 0..3 {
                assert_eq!(a.create(&asked).await.problem(422, "payer_invalid"), Some(missing), "{method} {payer}");
            }
            let known = format!("/v1/orders?merchant_order_id={}", text(&asked, "merchant_order_id"));
            assert_eq!(a.get(&known).await.body["data"], json!([]), "nothing was accepted");
            let order = a.create(&with(undecided(), json!({ "payer": payer }))).await.order(201);
            let chosen = json!({ "channel": "wechat", "method": method });
            let path = format!("/v1/orders/{}/pay", text(&order, "id"));
            assert_eq!(a.post(&path, &chosen).await.problem(422, "payer_invalid"), Some(missing), "{method} {payer}");
            let order = a.order(text(&order, "id")).await;
            assert_eq!((&order["attempts"], &order["last_failure"]), (&json!([]), &Value::Null), "{order}");
        }
    }
    assert_eq!(success_rate(&b, "wechat").await, Value::Null, "nothing was asked of WeChat Pay");
    assert_eq!(app.metric("tongbao_attempts_ended_total", "").await, 0.0);
    assert_eq!(b.order(text(&before, "id")).await["routing"], before["routing"]);
    let page = b.anonymous().request(Method::GET, text(&before, "retry_url")).header(ACCEPT_LANGUAGE, "en");
    let page = b.send(page).await.text;
    assert!(!page.contains("of late"), "no channel has figures: {page}");
    app.finish().await;
}

#[actix_web::test]
async fn report_what_we_hold_back_ourselves_never_counts_as_the_channels_doing() {
    let mut site = Site::new(Kind::Sqlite, "[routing]\nsamples_min = 1\n");
    let door = Door::before(site.gateway).await;
    site.lay_over(&format!(
        "[channels.simpay]\nbase_url = \"http://{}\"\ncalls_concurrent = 1\ncalls_waiting = 1\n\
         sandbox_call_timeout_ms = 3000\n",
        door.address
    ));
    let app = App::start(site).await;
    let (a, b) = (app.client(), app.client_b());
    door.becomes(State::Silent);
    // One is under way, one waits; there is room for no more.
    let mut fills = Vec::new();
    for _ in 0..2 {
        let fill = a.request(Method::POST, "/v1/orders").header("prefer", "respond-async").json(&an_order("tea"));
        fills.push(a.send(fill).await.order(201));
    }
    for _ in 0..3 {
        let held_back = a.create(&an_order("tea")).await.order(201);
        let failure = &held_back["last_failure"];
        assert_eq!((&failure["code"], &failure["advice"]), (&json!("channel_unavailable"), &json!("other_channel")));
        assert!(text(&failure["message"], "en").contains("was not passed on"), "{failure}");
    }
    door.becomes(State::Open);
    assert_eq!(app.metric("tongbao_attempts_ended_total", "ending=\"failed\"").await, 0.0);
    assert_eq!(success_rate(&b, "simpay").await, Value::Null);
    for fill in &fills {
        a.reaches(text(fill, "id"), "succeeded", seconds(20)).await;
    }
    app.finish().await;
}

/// Whatever a platform's payers are declined for, a wrong openid included, is told to that platform alone.
#[actix_web::test]
async fn report_what_one_platforms_payers_are_declined_for_says_nothing_to_another() {
    let app = app::start_with(Kind::Sqlite, "[routing]\nsamples_min = 3\n").await;
    let (a, b) = (app.client(), app.client_b());
    let before = b.create(&undecided()).await.order(201);
    for _ in 0..3 {
        let refused = with(an_order("sim:refuse"), json!({ "channel": "wechat" }));
        let refused = a.create(&refused).await.order(201);
        assert_eq!(refused["last_failure"]["code"], "channel_declined", "{refused}");
    }
    assert_eq!(success_rate(&a, "wechat").await, json!("0.0000"));
    assert_eq!(success_rate(&b, "wechat").await, Value::Null);
    assert_eq!(b.order(text(&before, "id")).await["routing"], before["routing"]);
    let last = a.create(&undecided()).await.order(201);
    assert_eq!(last["routing"].as_array().and_then(|places| places.last()).expect("places")["channel"], "wechat");
    app.finish().await;
}

async fn the_payer_belongs_to_the_attempt(kind: Kind) {
    let mut app = app::start_with(kind, "").await;
    let client = app.client();
    let asked = with(an_order("sim:never"), json!({ "channel": null, "payer": { "id": "who-asked" } }));
    let order = client.create(&asked).await.order(201);
    let id = text(&order, "id");
    let path = format!("/v1/orders/{id}/pay");
    let pay = async |method: &str, payer: Value| {
        client.post(&path, &json!({ "channel": "wechat", "method": method, "payer": payer })).await
    };
    let by_openid = |openid: &str| json!({ "id": "who-pays", "openid": openid });
    assert_eq!(pay("jsapi", Value::Null).await.problem(422, "payer_invalid"), Some("payer.openid"));
    assert_eq!(pay("jsapi", json!({ "openid": "x" })).await.problem(422, "payer_invalid"), Some("payer.id"));
    let first = pay("jsapi", by_openid("oUpF8uFirst")).await.order(200);
    assert_eq!(first["next_action"]["type"], "client", "{first}");

    // Sent again, whoever is meant: byte for byte, or the gateway would refuse its number.
    for payer in [Value::Null, by_openid("oUpF8uFirst")] {
        let again = pay("jsapi", payer).await.order(200);
        assert_eq!(again["attempts"].as_array().map(Vec::len), Some(1), "{again}");
        assert_eq!(again["next_action"]["type"], "client", "{again}");
        assert_ne!(again["next_action"], first["next_action"], "signed anew");
    }
    assert_eq!(pay("jsapi", by_openid("oUpF8uOther")).await.problem(409, "attempt_open"), Some("payer.openid"));
    app.kill().await;
    app.restart();
    app.ready().await;
    let again = pay("jsapi", Value::Null).await.order(200);
    assert_eq!((&again["attempts"][0]["state"], &again["last_failure"]), (&json!("open"), &Value::Null));

    // Another attempt has another payer, and keeps the one before out of it.
    let other = pay("native", Value::Null).await.order(200);
    assert_eq!(other["next_action"]["type"], "qr_code", "{other}");
    let second = pay("jsapi", by_openid("oUpF8uSecond")).await.order(200);
    assert_eq!(
        (second["attempts"].as_array().map(Vec::len), &second["method"]),
        (Some(3), &json!("jsapi")),
        "{second}"
    );
    assert_eq!(second["next_action"]["type"], "client", "{second}");
    let mut beside = Beside::of(&app.site).await;
    let payers = beside.column::<String>("SELECT payer FROM payers ORDER BY ordinal").await;
    let named: Vec<Value> = payers.iter().map(|payer| serde_json::from_str(payer).expect("JSON")).collect();
    let openids: Vec<&Value> = named.iter().map(|payer| &payer["openid"]).collect();
    let [first, second] = [json!("oUpF8uFirst"), json!("oUpF8uSecond")];
    assert_eq!(openids, [&Value::Null, &first, &first, &second], "the create's, then one for each attempt");
    beside.close().await;

    // A repeat of the create is compared with the create.
    let repeated = client.create(&asked).await;
    assert_eq!((repeated.status, repeated.header("idempotent-replayed")), (200, Some("true")), "{}", repeated.text);
    let differing = with(asked, json!({ "payer": { "id": "who-pays", "openid": "oUpF8uSecond" } }));
    assert_eq!(client.create(&differing).await.problem(409, "order_conflict"), Some("payer"));
    assert_eq!(client.cancel(id).await.order(200)["state"], "failed");
    app.finish().await;
}

#[actix_web::test]
async fn report_the_payer_belongs_to_the_attempt_on_sqlite() {
    the_payer_belongs_to_the_attempt(Kind::Sqlite).await;
}

#[actix_web::test]
async fn report_the_payer_belongs_to_the_attempt_on_postgres() {
    the_payer_belongs_to_the_attempt(Kind::Postgres).await;
}
