//! What is wrong with a refund is refused with its own error, and nothing is written for it.

mod support;

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use support::app::{self, App};
use support::beside::Beside;
use support::books::{counts, open};
use support::client::{Client, an_order, text, with};
use support::process::Kind;
use support::refunds::{a_refund, one_of_each, paid, path_of};
use support::{seconds, unique};

/// What any step, refund, booking, webhook or kept answer would show in.
const TABLES: [&str; 11] = [
    "answers", "attempts", "balances", "captures", "inbox", "journal", "lines", "messages", "orders", "outbox",
    "refunds",
];

/// Everything in them.
async fn contents(app: &App) -> Vec<(String, String)> {
    let mut beside = Beside::of(&app.site).await;
    let mut contents = beside.contents().await;
    beside.close().await;
    contents.retain(|(table, _)| TABLES.contains(&table.as_str()));
    contents.sort();
    contents
}

#[actix_web::test]
async fn a_wrong_refund_is_refused_and_nothing_is_written() {
    refused(Kind::Sqlite).await;
}

#[actix_web::test]
async fn a_wrong_refund_is_refused_and_nothing_is_written_on_postgres() {
    refused(Kind::Postgres).await;
}

async fn refused(kind: Kind) {
    let app = app::start_with(kind, "").await;
    let (client, stranger) = (app.client(), app.client_b());
    let order = paid(&app, one_of_each()[0]).await;
    let id = text(&order, "id");
    let refund = client.refund(id, &a_refund(Some("20.06"), Some("too much"))).await.refund(201);
    client.refund_reaches(text(&refund, "id"), "succeeded", seconds(10)).await;
    let unpaid = client.create(&with(an_order("tea"), json!({ "channel": null }))).await.order(201);
    let failed = client.create(&with(an_order("tea"), json!({ "channel": null }))).await.order(201);
    client.cancel(text(&failed, "id")).await.order(200);
    let foreign = stranger.create(&an_order("tea")).await.order(201);
    stranger.reaches(text(&foreign, "id"), "succeeded", seconds(10)).await;
    let store = open(&app.site);
    let idle = || async { (store.outbox_size().await.expect("it is counted") == 0).then_some(()) };
    support::eventually("all webhooks are out", seconds(10), idle).await;

    let ours = client.order(id).await;
    let (before, counted) = (contents(&app).await, counts(&app.site).await);
    let balances = (client.balance().await, stranger.balance().await);
    let name = text(&refund, "merchant_refund_id");
    assert!(before.iter().any(|(table, values)| table == "refunds" && values.contains(name)), "rows are read");

    orders(&client, &unpaid, &failed, &foreign).await;
    fields(&client, id).await;
    remainders(&client, id, name).await;
    requests(&client, id).await;
    strangers(&client, id, text(&refund, "id")).await;
    lists(&client, id).await;

    assert_eq!(counts(&app.site).await, counted);
    assert_eq!((client.balance().await, stranger.balance().await), balances);
    assert_eq!(contents(&app).await, before, "what is refused is written nowhere");
    assert_eq!(client.order(id).await, ours);
    assert_eq!(client.listed(&path_of(id)).await, [client.refund_now(text(&refund, "id")).await]);
    // All of it is still there to be had.
    let rest = client.refund(id, &a_refund(None, None)).await.refund(201);
    assert_eq!(rest["amount"], "180.54");
    app.finish().await;
}

async fn orders(client: &Client, unpaid: &Value, failed: &Value, foreign: &Value) {
    for order in [unpaid, failed] {
        for amount in [None, Some("1.00"), Some("999.00")] {
            let answer = client.refund(text(order, "id"), &a_refund(amount, None)).await;
            assert_eq!(answer.problem(409, "order_not_paid"), None);
        }
        assert_eq!(client.listed(&path_of(text(order, "id"))).await, Vec::<Value>::new());
    }
    let foreign = text(foreign, "id");
    for order in ["ord_00000000000000000000000000", "ord_x", "1", "%00", foreign, &foreign.to_uppercase()] {
        for asked in [a_refund(Some("1.00"), None), a_refund(None, None), json!({}), json!({ "amount": 1 })] {
            client.refund(order, &asked).await.problem(404, "not_found");
        }
        client.get(&path_of(order)).await.problem(404, "not_found");
    }
    for refund in ["re_x", "re_", "1", "%00", "ord_00000000000000000000000000", &format!("re_{}", "0".repeat(31))] {
        client.get(&format!("/v1/refunds/{refund}")).await.problem(404, "not_found");
    }
}

async fn fields(client: &Client, order: &str) {
    let mut cases: Vec<(Value, &str, &str)> = Vec::new();
    let mut bad = |field: &'static str, code: &'static str, values: Vec<Value>| {
        cases.extend(values.into_iter().map(|value| (json!({ field: value }), code, field)));
    };
    let texts = [
        "0",
        "0.00",
        "-1.00",
        "+1.00",
        "0.001",
        "1.000",
        "1e2",
        "1000000000000.00",
        "",
        " 1.00",
        "1.00 ",
        "1.",
        ".5",
        "01.00",
        "1,000.00",
        "0x10",
        "NaN",
        "٣",
        "1.00\u{0}",
        "1.00 CNY",
    ];
    bad("amount", "amount_invalid", texts.into_iter().map(Value::from).collect());
    let others =
        vec![json!(1), json!(1.0), json!(0), json!(-1), json!(true), json!(["1.00"]), json!({ "amount": "1.00" })];
    bad("amount", "amount_invalid", others);
    let reasons = vec![
        json!(""),
        json!("r".repeat(81)),
        json!("退".repeat(81)),
        json!("a\nb"),
        json!("a\u{0}b"),
        json!("\u{7f}"),
        json!("\u{85}"),
        json!(1),
        json!([]),
        json!({}),
    ];
    bad("reason", "field_invalid", reasons);
    let policies =
        vec![json!("none"), json!(""), json!("Kept"), json!("KEPT"), json!("kept "), json!(1), json!(true), json!([])];
    bad("fee_policy", "field_invalid", policies);
    let names = vec![
        json!(""),
        json!("m".repeat(65)),
        json!("a b"),
        json!("a/b"),
        json!("é"),
        json!("a\u{0}"),
        json!("a\n"),
        json!(7),
        json!(null),
        json!([]),
    ];
    bad("merchant_refund_id", "field_invalid", names);
    for unknown in ["amonut", "currency", "Amount", "id", "state", ""] {
        cases.push((json!({ unknown: "1.00" }), "field_unknown", unknown));
    }
    for (fields, code, field) in cases {
        let answer = client.refund(order, &with(a_refund(Some("1.00"), None), fields.clone())).await;
        assert_eq!(answer.status, 422, "{fields}: {}", answer.text);
        assert_eq!(answer.problem(422, code), Some(field), "{fields}");
    }
    let nameless = client.refund(order, &json!({ "amount": "1.00" })).await;
    assert_eq!(nameless.problem(422, "field_invalid"), Some("merchant_refund_id"));
}

/// More than there is: of 200.60, 20.06 went back, 20.00 of it from the platform.
async fn remainders(client: &Client, order: &str, taken: &str) {
    for (amount, policy, remaining) in [
        (Some("180.55"), "proportional", "180.54"),
        (Some("200.60"), "proportional", "180.54"),
        (Some("999999999999.99"), "proportional", "180.54"),
        (Some("180.01"), "kept", "180.00"),
        (Some("180.54"), "kept", "180.00"),
    ] {
        let asked = with(a_refund(amount, None), json!({ "fee_policy": policy }));
        let answer = client.refund(order, &asked).await;
        assert_eq!(answer.problem(409, "refund_exceeds_remaining"), Some("amount"), "{asked}");
        assert_eq!(answer.body["remaining"], remaining, "{asked}");
    }
    // Its name is another refund's, whatever else is wrong with it.
    for (field, value) in [("amount", json!("999.00")), ("reason", json!("other")), ("fee_policy", json!("kept"))] {
        let asked = json!({ "merchant_refund_id": taken, "amount": "20.06", "reason": "too much" });
        let answer = client.refund(order, &with(asked, json!({ field: value }))).await;
        assert_eq!(answer.problem(409, "refund_conflict"), Some(field));
    }
}

async fn requests(client: &Client, order: &str) {
    let path = path_of(order);
    let good = a_refund(Some("1.00"), None).to_string();
    for body in [
        String::new(),
        "{".into(),
        "[]".into(),
        "null".into(),
        format!("{good}{good}"),
        format!("{good},"),
        good.replace("\"amount\"", "\"amount\":\"2.00\",\"amount\""),
        good.replace("\"1.00\"", "NaN"),
        good.replace("\"1.00\"", r#""\ud800""#),
        "[".repeat(60_000),
    ] {
        let start: String = body.chars().take(80).collect();
        let answer = client.post_text(&path, "application/json", body).await;
        assert_eq!(answer.status, 400, "{start}: {}", answer.text);
        answer.problem(400, "body_invalid");
    }
    let huge = good.replace("1.00", &"1".repeat(1 << 17));
    client.post_text(&path, "application/json", huge).await.problem(413, "body_too_large");
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "", "json"] {
        let answer = client.post_text(&path, content_type, good.clone()).await;
        answer.problem(415, "content_type_unsupported");
    }
    for key in ["", "a b", &"k".repeat(256), "é"] {
        let value = HeaderValue::from_bytes(key.as_bytes()).unwrap();
        let request = client.request(Method::POST, &path).header("idempotency-key", value);
        let answer = client.send(request.json(&a_refund(Some("1.00"), None))).await;
        answer.problem(422, "idempotency_key_invalid");
    }
    // Under a good key too.
    for asked in [a_refund(Some("999.00"), None), a_refund(Some("0"), None), json!({})] {
        let request = client.request(Method::POST, &path).header("idempotency-key", unique("key"));
        assert!([409, 422].contains(&client.send(request.json(&asked)).await.status), "{asked}");
    }
    for (method, path) in [(Method::PUT, path.as_str()), (Method::DELETE, &path), (Method::POST, "/v1/refunds")] {
        let answer = client.send(client.request(method, path)).await;
        answer.problem(405, "method_not_allowed");
        assert!(answer.header("allow").is_some());
    }
}

/// Without a key that is in force nothing is told.
async fn strangers(client: &Client, order: &str, refund: &str) {
    for client in [client.anonymous(), client.with_key("sk_unknown"), client.with_key("")] {
        for answer in [
            client.refund(order, &a_refund(Some("1.00"), None)).await,
            client.get(&path_of(order)).await,
            client.get("/v1/refunds").await,
            client.get(&format!("/v1/refunds/{refund}")).await,
            client.get("/v1/balance").await,
            client.get("/v1/balance_transactions").await,
        ] {
            answer.problem(401, "unauthenticated");
        }
    }
}

async fn lists(client: &Client, order: &str) {
    let own = path_of(order);
    let cases = [
        ("limit=0", "limit_invalid", "limit"),
        ("limit=101", "limit_invalid", "limit"),
        ("limit=-1", "limit_invalid", "limit"),
        ("limit=x", "limit_invalid", "limit"),
        ("cursor=x", "cursor_invalid", "cursor"),
        ("page=2", "parameter_unknown", "page"),
        ("limit=1&limit=2", "parameter_unknown", "limit"),
    ];
    for path in [own.as_str(), "/v1/refunds", "/v1/balance_transactions"] {
        for (query, code, field) in cases {
            assert_eq!(client.get(&format!("{path}?{query}")).await.problem(422, code), Some(field), "{path} {query}");
        }
    }
    for (path, code, field) in [
        ("/v1/refunds?state=paid", "state_unknown", "state"),
        ("/v1/refunds?state=Succeeded", "state_unknown", "state"),
        ("/v1/refunds?order=x", "field_invalid", "order"),
        ("/v1/refunds?merchant_refund_id=a%20b", "field_invalid", "merchant_refund_id"),
        ("/v1/refunds?created_after=yesterday", "created_after_invalid", "created_after"),
        ("/v1/refunds?created_before=2026-13-01T00:00:00Z", "created_before_invalid", "created_before"),
        ("/v1/refunds?channel=simpay", "parameter_unknown", "channel"),
        ("/v1/balance_transactions?type=refunds", "field_invalid", "type"),
        ("/v1/balance_transactions?order=re_1", "field_invalid", "order"),
        ("/v1/balance_transactions?settlement=se_1", "field_invalid", "settlement"),
        ("/v1/balance_transactions?settlement=set_", "field_invalid", "settlement"),
        ("/v1/balance_transactions?type=payout&cursor=x", "cursor_invalid", "cursor"),
        ("/v1/balance_transactions?refund=ord_1", "field_invalid", "refund"),
        ("/v1/balance_transactions?created_after=0", "created_after_invalid", "created_after"),
        ("/v1/balance_transactions?state=succeeded", "parameter_unknown", "state"),
    ] {
        assert_eq!(client.get(path).await.problem(422, code), Some(field), "{path}");
    }
    // What settlement will bring is known, and there is nothing of it yet.
    for wanted in [
        "settlement=set_00000001000007cb00000099",
        "type=adjustment",
        "type=hold",
        "type=release",
        "type=payout",
        "type=payout_failed",
        "type=payout_returned",
        "type=payment_received",
        "type=dispute",
    ] {
        let answer = client.get(&format!("/v1/balance_transactions?{wanted}")).await;
        assert_eq!((answer.status, &answer.body["data"], &answer.body["next_cursor"]), (200, &json!([]), &Value::Null));
    }
    // A cursor is good for its own list alone.
    let mut cursors = Vec::new();
    for list in ["/v1/orders", "/v1/balance_transactions"] {
        let page = client.get(&format!("{list}?limit=1")).await;
        cursors.push((list, text(&page.body, "next_cursor").to_owned()));
    }
    let events = client.get(&format!("/v1/orders/{order}/events?limit=1")).await;
    cursors.push(("/v1/orders/{id}/events", text(&events.body, "next_cursor").to_owned()));
    for path in [own.as_str(), "/v1/refunds", "/v1/balance_transactions", "/v1/orders"] {
        for (list, cursor) in cursors.iter().filter(|(list, _)| *list != path) {
            let answer = client.get(&format!("{path}?cursor={cursor}")).await;
            assert_eq!(answer.problem(422, "cursor_invalid"), Some("cursor"), "{path} by a cursor of {list}");
        }
    }
    for (path, good) in [("/v1/refunds", "?state=succeeded"), ("/v1/refunds", "?limit=1&cursor="), (&own, "?limit=100")]
    {
        assert_eq!(
            client.get(&format!("{path}{good}")).await.body["data"].as_array().map(Vec::len),
            Some(1),
            "{path}{good}"
        );
    }
}
