//! What is wrong is refused with its own error, and changes nothing.

mod support;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use support::app::App;
use support::books::{Left, counts};
use support::client::{Client, an_order, text, with};
use support::gateway::{CALLBACK_PATH, Callback, now_s};
use support::{app, seconds, unique};
use tongbao::domain::id::AttemptNumber;

/// A field's bad value, the code and the field that the refusal names.
type Case = (Value, &'static str, &'static str);

fn bad_orders() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut bad = |field: &'static str, code: &'static str, values: Vec<Value>| {
        cases.extend(values.into_iter().map(|value| (json!({ field: value }), code, field)));
    };
    let amounts = [
        "1e3",
        "-1.00",
        "+1.00",
        "0.001",
        "0.00",
        "0",
        "10000000000000000",
        "1000000000000.00",
        "",
        " 1.00",
        "1.00 ",
        "1.",
        ".5",
        "01.00",
        "1,000.00",
        "1_000",
        "0x10",
        "NaN",
        "٣",
        "1.00\u{0}",
        "200.00 CNY",
    ];
    bad("amount", "amount_invalid", amounts.into_iter().map(Value::from).collect());
    bad(
        "amount",
        "amount_invalid",
        vec![json!(200), json!(200.0), json!(1e3), json!(null), json!(["1.00"]), json!(true)],
    );
    bad(
        "currency",
        "currency_unknown",
        vec![json!("cny"), json!("XQX"), json!("CN"), json!(""), json!(156), json!(null)],
    );
    let long_id = "m".repeat(65);
    let ids =
        vec![json!(""), json!(long_id), json!("a b"), json!("a/b"), json!("é"), json!("a\u{0}"), json!(7), json!(null)];
    bad("merchant_order_id", "merchant_order_id_invalid", ids);
    bad("channel", "channel_unknown", vec![json!("paypal"), json!(""), json!("SIMPAY"), json!(1)]);
    bad("method", "method_unknown", vec![json!("native"), json!(""), json!(1)]);
    let texts = vec![json!(""), json!("d".repeat(128)), json!("a\nb"), json!("a\u{0}b"), json!("\u{7f}"), json!(1)];
    bad("description", "description_invalid", texts);
    bad("payer", "payer_invalid", vec![json!("x"), json!([])]);
    let urls = || {
        let long = format!("http://127.0.0.1/{}", "p".repeat(512));
        [
            "",
            "nonsense",
            "ftp://127.0.0.1/",
            "javascript:alert(1)",
            "http://",
            "http://user:secret@127.0.0.1/",
            "//host/",
            &long,
        ]
        .into_iter()
        .map(Value::from)
        .chain([json!(1)])
        .collect::<Vec<_>>()
    };
    bad("return_url", "return_url_invalid", urls());
    bad("webhook_url", "webhook_url_invalid", urls());
    let times = vec![json!(59), json!(604_801), json!(-1), json!(0), json!(60.5), json!("60"), json!(1e30)];
    bad("expires_in", "expires_in_invalid", times);
    bad("attempts_max", "attempts_max_invalid", vec![json!(0), json!(11), json!(-1), json!(1.5), json!("5")]);
    let many: Value = (0..21).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let pairs = vec![
        json!([]),
        json!("x"),
        many,
        json!({ "k": 1 }),
        json!({ "k": null }),
        json!({ "k": { "k": "v" } }),
        json!({ "": "v" }),
        json!({ "k".repeat(41): "v" }),
        json!({ "k": "v".repeat(4_097) }),
        json!({ "k": "a\u{0}" }),
        json!({ "a\nb": "v" }),
    ];
    bad("metadata", "metadata_invalid", pairs);
    cases.extend([
        (json!({ "amount": "1.5", "currency": "JPY" }), "amount_invalid", "amount"),
        (json!({ "channel": null, "method": "qr" }), "method_unknown", "method"),
        (json!({ "payer": {} }), "payer_invalid", "payer.id"),
        (json!({ "payer": { "id": "" } }), "payer_invalid", "payer.id"),
        (json!({ "payer": { "id": "p".repeat(129) } }), "payer_invalid", "payer.id"),
        (json!({ "payer": { "id": "p", "ip": "999.1.1.1" } }), "payer_invalid", "payer.ip"),
        (json!({ "payer": { "id": "p", "openid": "" } }), "payer_invalid", "payer.openid"),
        (json!({ "payer": { "id": "p", "name": "x" } }), "field_unknown", "payer.name"),
        (json!({ "amonut": "1.00" }), "field_unknown", "amonut"),
    ]);
    cases
}

fn bad_bodies() -> Vec<(Vec<u8>, u16, &'static str)> {
    let good = an_order("tea").to_string();
    let with_text = |text: &str| good.replace("\"tea\"", text).into_bytes();
    let mut not_utf8 = with_text("\"te\u{1}a\"");
    not_utf8.iter_mut().filter(|byte| **byte == 1).for_each(|byte| *byte = 0xff);
    vec![
        (good.as_bytes()[..good.len() - 1].to_vec(), 400, "body_invalid"),
        (good.replace("\"currency\"", "\"amount\":\"1.00\",\"currency\"").into_bytes(), 400, "body_invalid"),
        (with_text(r#""tea","metadata":{"k":"1","k":"2"}"#), 400, "body_invalid"),
        (with_text(r#""tea","metadata":{"k":"1","\u006b":"2"}"#), 400, "body_invalid"),
        (format!("{good}{good}").into_bytes(), 400, "body_invalid"),
        (format!("{good},").into_bytes(), 400, "body_invalid"),
        (format!("\u{feff}{good}").into_bytes(), 400, "body_invalid"),
        ("[".repeat(60_000).into_bytes(), 400, "body_invalid"),
        (
            with_text(&format!("\"tea\",\"metadata\":{}1{}", "{\"k\":".repeat(5_000), "}".repeat(5_000))),
            400,
            "body_invalid",
        ),
        (with_text("\"te\u{0}a\""), 400, "body_invalid"),
        (with_text("\"te\na\""), 400, "body_invalid"),
        (with_text(r#""te\ud800a""#), 400, "body_invalid"),
        (not_utf8, 400, "body_invalid"),
        (with_text("NaN"), 400, "body_invalid"),
        (with_text("'tea'"), 400, "body_invalid"),
        (with_text("\"tea\" /* or coffee */"), 400, "body_invalid"),
        (Vec::new(), 400, "body_invalid"),
        (b"[]".to_vec(), 400, "body_invalid"),
        (b"null".to_vec(), 400, "body_invalid"),
        (b"\"order\"".to_vec(), 400, "body_invalid"),
        (with_text(&format!("\"{}\"", "t".repeat(1 << 20))), 413, "body_too_large"),
        (with_text(&format!("\"tea\"{}", " ".repeat(65_536))), 413, "body_too_large"),
    ]
}

#[actix_web::test]
async fn what_is_wrong_is_refused_and_changes_nothing() {
    let app = app::start().await;
    let (client, stranger) = (app.client(), app.client_b());
    let paid = client.create(&an_order("tea")).await.order(201);
    let paid = client.reaches(text(&paid, "id"), "succeeded", seconds(10)).await;
    let open = client.create(&an_order("sim:never")).await.order(201);
    let revoked = a_revoked_key(&app).await;
    let before = counts(&app.site).await;

    orders(&client).await;
    commands(&client, &paid, &open).await;
    reads(&client).await;
    strangers(&client, &stranger, &revoked, &open).await;
    callbacks(&app, &paid, &open).await;

    assert_eq!(counts(&app.site).await, before, "what is refused changes nothing");
    assert_eq!(client.order(text(&paid, "id")).await, paid);
    assert_eq!(client.order(text(&open, "id")).await, open);
    assert_eq!(client.cancel(text(&open, "id")).await.order(200)["state"], "failed");
    app.finish().await;
}

async fn orders(client: &Client) {
    for (fields, code, field) in bad_orders() {
        let answer = client.create(&with(an_order("tea"), fields.clone())).await;
        assert_eq!(answer.status, 422, "{fields}: {}", answer.text);
        assert_eq!(answer.problem(422, code), Some(field), "{fields}");
    }
    for missing in ["amount", "currency", "merchant_order_id"] {
        let mut asked = an_order("tea");
        asked.as_object_mut().unwrap().remove(missing);
        assert_eq!(client.create(&asked).await.status, 422, "without {missing}");
    }
    for (body, status, code) in bad_bodies() {
        let start = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let answer = client.post_text("/v1/orders", "application/json", body).await;
        assert_eq!(answer.status, status, "{start}: {}", answer.text);
        answer.problem(status, code);
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json5", "", "json"] {
        let answer = client.post_text("/v1/orders", content_type, an_order("tea").to_string()).await;
        answer.problem(415, "content_type_unsupported");
    }
}

async fn commands(client: &Client, paid: &Value, open: &Value) {
    let (paid, open) = (text(paid, "id"), text(open, "id"));
    client.pay(paid, "simpay").await.problem(409, "order_final");
    client.cancel(paid).await.problem(409, "order_final");
    let pay = format!("/v1/orders/{open}/pay");
    for (body, code, field) in [
        (json!({}), "channel_unknown", "channel"),
        (json!({ "channel": null }), "channel_unknown", "channel"),
        (json!({ "channel": "paypal" }), "channel_unknown", "channel"),
        (json!({ "channel": "simpay", "method": "native" }), "method_unknown", "method"),
        (json!({ "channel": "simpay", "amount": "1.00" }), "field_unknown", "amount"),
    ] {
        assert_eq!(client.post(&pay, &body).await.problem(422, code), Some(field), "{body}");
    }
    client.post_text(&pay, "application/json", "{").await.problem(400, "body_invalid");
    client.post_text(&pay, "text/plain", "{}").await.problem(415, "content_type_unsupported");
    let cancel = format!("/v1/orders/{open}/cancel");
    assert_eq!(client.post(&cancel, &json!({ "why": "x" })).await.problem(422, "field_unknown"), Some("why"));
    for key in ["", "a b", &"k".repeat(256), "é"] {
        let value = reqwest::header::HeaderValue::from_bytes(key.as_bytes()).unwrap();
        let answer = client.send(client.request(Method::POST, &cancel).header("idempotency-key", value)).await;
        answer.problem(422, "idempotency_key_invalid");
    }
}

async fn reads(client: &Client) {
    for (path, code, field) in [
        ("/v1/orders?limit=0", "limit_invalid", "limit"),
        ("/v1/orders?limit=101", "limit_invalid", "limit"),
        ("/v1/orders?limit=x", "limit_invalid", "limit"),
        ("/v1/orders?cursor=x", "cursor_invalid", "cursor"),
        ("/v1/orders?state=paid", "state_unknown", "state"),
        ("/v1/orders?channel=paypal", "channel_unknown", "channel"),
        ("/v1/orders?created_after=yesterday", "created_after_invalid", "created_after"),
        ("/v1/orders?created_before=2026-13-01T00:00:00Z", "created_before_invalid", "created_before"),
        ("/v1/orders?merchant_order_id=a%20b", "merchant_order_id_invalid", "merchant_order_id"),
        ("/v1/orders?page=2", "parameter_unknown", "page"),
        ("/v1/orders?limit=1&limit=2", "parameter_unknown", "limit"),
        ("/v1/quote?amount=-1&currency=CNY&channel=simpay", "amount_invalid", "amount"),
        ("/v1/quote?amount=1.00&currency=cny&channel=simpay", "currency_unknown", "currency"),
        ("/v1/quote?amount=1.00&currency=CNY", "channel_unknown", "channel"),
    ] {
        assert_eq!(client.get(path).await.problem(422, code), Some(field), "{path}");
    }
    for path in ["/v1/orders/ord_x", "/v1/orders/1", "/v1/orders/%00", "/v1/settlements/set_1", "/v2/orders", "/pay/x"]
    {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    let answer = client.send(client.request(Method::DELETE, "/v1/orders")).await;
    answer.problem(405, "method_not_allowed");
    assert!(answer.header("allow").is_some());
}

/// Without a key that is in force nothing is told; another platform's order is not there.
async fn strangers(client: &Client, stranger: &Client, revoked: &str, open: &Value) {
    let id = text(open, "id");
    let order = format!("/v1/orders/{id}");
    for client in [client.anonymous(), client.with_key("sk_unknown"), client.with_key(revoked), client.with_key("")] {
        for answer in [client.create(&an_order("tea")).await, client.get(&order).await, client.cancel(id).await] {
            answer.problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    let unknown = stranger.get("/v1/orders/ord_00000000000000000000000000").await;
    for answer in [
        stranger.get(&order).await,
        stranger.get(&format!("{order}/events")).await,
        stranger.pay(id, "simpay").await,
        stranger.cancel(id).await,
    ] {
        answer.problem(404, "not_found");
        assert_eq!(answer.body["detail"], unknown.body["detail"], "another's and an unknown one are not told apart");
    }
    let listed = stranger.get(&format!("/v1/orders?merchant_order_id={}", text(open, "merchant_order_id"))).await;
    assert_eq!(listed.body["data"], json!([]));
}

async fn a_revoked_key(app: &App) -> String {
    let made = app.site.run(&["platform", "create", "gone"]).await;
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).unwrap();
    let key = said.split_whitespace().find(|word| word.starts_with("sk_")).expect("the key is shown").to_owned();
    assert!(app.site.run(&["platform", "revoke", "gone"]).await.status.success());
    key
}

async fn callbacks(app: &App, paid: &Value, open: &Value) {
    let client = app.client();
    let number = |order: &Value| text(&order["attempts"][0], "id").to_owned();
    let (paid_number, open_number) = (number(paid), number(open));
    let reference = paid["attempts"][0]["channel_reference"].clone();
    let callback = |number: &str| Callback::of(&app.site, number, 20_060);

    // Forged: another key, another account, a changed body, no signature at all.
    callback(&open_number).signed_by(b"another key").send(&client).await.problem(401, "callback_unverified");
    callback(&open_number).posing_as("other").send(&client).await.problem(401, "callback_unverified");
    client.anonymous().post(CALLBACK_PATH, &callback(&open_number).body).await.problem(401, "callback_unverified");
    // Replayed, with the time that it was signed at.
    for timestamp in [now_s() - 3_600, now_s() + 3_600] {
        callback(&open_number).sent_at(timestamp).send(&client).await.problem(401, "callback_stale");
    }
    for body in ["", "{", "[]", "{\"event\":\"payment.succeeded\"}"] {
        callback(&open_number).send_text(&client, body).await.problem(400, "callback_unreadable");
    }
    for (field, value) in [
        ("event", json!("payment.failed")),
        ("account", json!("other")),
        ("amount_minor", json!(0)),
        ("amount_minor", json!(-20_060)),
        ("amount_minor", json!("20060")),
        ("amount_minor", json!(1e30)),
        ("reference", json!("")),
        ("number", json!("n".repeat(1_000))),
    ] {
        let answer = callback(&open_number).with(field, value.clone()).send(&client).await;
        assert_eq!(answer.status, 400, "{field} {value}: {}", answer.text);
    }
    // The order has this capture, with another amount.
    let contradiction = callback(&paid_number).with("reference", reference.clone()).with("amount_minor", json!(1));
    contradiction.send(&client).await.problem(409, "callback_refused");
    // The journal holds this very capture: acknowledged again, without a write.
    let again = callback(&paid_number).with("reference", reference).send(&client).await;
    assert_eq!((again.status, again.body), (200, json!({ "code": "ok" })));
    for path in ["/v1/callbacks/paypal", "/v1/callbacks/wechat/other", "/v1/callbacks/simpay/other"] {
        client.anonymous().post(path, &json!({})).await.problem(404, "not_found");
    }
}

/// What a verified callback says of money is not believed before a query confirms it, unless it is what was asked.
#[actix_web::test]
async fn a_verified_callback_of_another_amount_or_an_unknown_order_moves_nothing() {
    let app = app::start().await;
    let client = app.client();
    let order = client.create(&an_order("sim:never")).await.order(201);
    let (id, number) = (text(&order, "id"), text(&order["attempts"][0], "id"));
    for wrong in [
        Callback::of(&app.site, number, 1),
        Callback::of(&app.site, number, 20_061),
        Callback::of(&app.site, number, 20_060).with("currency", json!("USD")),
    ] {
        assert_eq!(wrong.send(&client).await.status, 200);
    }
    let before = counts(&app.site).await;
    assert_eq!((&before["captures"], &before["balances"]), (&json!(0), &json!({})), "no money was taken");

    let opened: AttemptNumber = number.parse().unwrap();
    let further = AttemptNumber { ordinal: 7, ..opened };
    let of_another_life = AttemptNumber { incarnation: opened.incarnation.another(0), ..opened };
    let unknown = ["0".repeat(28), further.to_string(), of_another_life.to_string(), unique("SHOP")];
    for number in &unknown {
        let answer = Callback::of(&app.site, number, 20_060).send(&client).await;
        assert_eq!((answer.status, answer.body), (200, json!({ "code": "ok" })), "{number} is acknowledged");
    }
    let after = counts(&app.site).await;
    assert_eq!(after["inbox"], unknown.len(), "and kept");
    assert_eq!((&after["captures"], &after["orders"]), (&json!(0), &json!(1)));

    assert_eq!(client.order(id).await["state"], "submitted");
    assert_eq!(client.cancel(id).await.order(200)["state"], "failed");
    app.finish_with(Left { inbox: unknown.len() as i64, ..Left::default() }).await;
}

/// One name, one order: a repeat is the same order, a changed one is refused, naming the field.
#[actix_web::test]
async fn a_merchant_order_id_names_one_order() {
    let app = app::start().await;
    let client = app.client();
    let first = with(
        an_order("sim:never"),
        json!({
            "payer": { "id": "p1", "ip": "192.0.2.1" },
            "return_url": "http://127.0.0.1/back",
            "webhook_url": app.receiver.url("platform-a"),
            "expires_in": 600,
            "attempts_max": 3,
            "metadata": { "k": "v" },
        }),
    );
    let together = join_all((0..8).map(|_| client.create(&first))).await;
    let created = together.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "one of the duplicates is the first");
    let id = text(&together[0].body, "id").to_owned();
    for answer in &together {
        assert!([200, 201].contains(&answer.status), "{}", answer.text);
        assert_eq!(answer.body["id"], json!(id));
        assert_eq!(answer.header("idempotent-replayed"), (answer.status == 200).then_some("true"));
    }
    let before = counts(&app.site).await;
    assert_eq!(before["orders"], 1);

    for (field, value) in [
        ("amount", json!("200.01")),
        ("currency", json!("USD")),
        ("channel", json!("wechat")),
        ("channel", json!(null)),
        ("description", json!("sim:never again")),
        ("payer", json!({ "id": "p2", "ip": "192.0.2.1" })),
        ("payer", json!(null)),
        ("return_url", json!("http://127.0.0.1/elsewhere")),
        ("webhook_url", json!(null)),
        ("expires_in", json!(601)),
        ("attempts_max", json!(4)),
        ("metadata", json!({ "k": "w" })),
    ] {
        let answer = client.create(&with(first.clone(), json!({ field: value }))).await;
        assert_eq!(answer.problem(409, "order_conflict"), Some(field), "{value}");
    }
    for same in [json!({ "amount": "200" }), json!({ "amount": "200.0" }), json!({ "method": "qr" })] {
        let answer = client.create(&with(first.clone(), same.clone())).await;
        assert_eq!((answer.status, &answer.body["id"]), (200, &json!(id)), "{same}: {}", answer.text);
    }
    // Another platform's names are its own.
    let elsewhere = with(first.clone(), json!({ "webhook_url": app.receiver.url("platform-b") }));
    let theirs = client.with_key(support::client::KEY_B).create(&elsewhere).await.order(201);
    assert_ne!(theirs["id"], json!(id));
    let after = counts(&app.site).await;
    assert_eq!(after["orders"], 2);

    let replayed = client.create(&first).await.order(200);
    assert_eq!(replayed["state"], "submitted");
    for (client, id) in [(client.clone(), id.as_str()), (app.client_b(), text(&theirs, "id"))] {
        assert_eq!(client.cancel(id).await.order(200)["state"], "failed");
    }
    assert_eq!(client.create(&first).await.order(200)["state"], "failed", "the order as it is now");
    app.finish().await;
}
