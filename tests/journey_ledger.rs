//! The worked example of docs/ledger.md, over HTTP: three platforms that share, two channels, refunds; and what bounds
//! it: consent, shares that are no shares, debt, and an account that owes.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use support::accounts::Account;
use support::app::{self, App};
use support::client::{Client, an_order, text, with};
use support::process::{Kind, Site};
use support::{seconds, unique};

const PAID: Duration = seconds(20);

/// Runs a command of the binary that must succeed; what it said.
async fn command(app: &App, arguments: &[&str]) -> String {
    let output = app.site.run(arguments).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// Makes a platform; its client.
async fn platform(app: &App, name: &str, bearer: &str) -> Client {
    let said = command(app, &["platform", "create", name, "--fee-bearer", bearer]).await;
    let key = said.lines().find_map(|line| line.strip_prefix("key")).expect("a key is shown").trim().to_owned();
    app.client().with_key(&key)
}

/// The trial balance, by account.
async fn ledger(app: &App) -> BTreeMap<String, String> {
    let shown: Value = serde_json::from_str(&command(app, &["ledger", "--json"]).await).expect("the ledger is JSON");
    assert!(shown["sums"].as_object().expect("sums").values().all(|sum| sum == "0.00"), "{shown}");
    let balances = shown["balances"].as_array().expect("balances").iter();
    let pair = |row: &Value| (text(row, "account").to_owned(), text(row, "balance").to_owned());
    balances.map(pair).filter(|(_, balance)| balance != "0.00").collect()
}

/// The open balance in CNY, which is the sum of all transactions.
async fn balance(client: &Client) -> String {
    standing(client).await.0
}

/// The open balance and the position in CNY, which are the sums of their transactions.
async fn standing(client: &Client) -> (String, String) {
    let balances = client.get("/v1/balance").await;
    assert_eq!(balances.status, 200, "{}", balances.text);
    let row = balances.body["data"].as_array().expect("rows").first();
    let of = |field: &str| row.map_or_else(|| "0.00".to_owned(), |row| text(row, field).to_owned());
    let (mut open, mut position) = (Decimal::ZERO, Decimal::ZERO);
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/v1/balance_transactions?limit=2&cursor={cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        for row in page.body["data"].as_array().expect("rows") {
            let sum = if row["position"].as_bool().expect("a boolean") { &mut position } else { &mut open };
            *sum += text(row, "amount").parse::<Decimal>().expect("an amount");
        }
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    let sums = (format!("{open:.2}"), format!("{position:.2}"));
    assert_eq!(sums, (of("open"), of("position")), "transactions add up to the balance and to the position");
    sums
}

async fn paid(client: &Client, channel: &str, method: &str, amount: &str, splits: Value) -> Value {
    let fields = json!({"channel": channel, "method": method, "amount": amount, "splits": splits});
    let order = client.create(&with(an_order("a book"), fields)).await.order(201);
    client.reaches(text(&order, "id"), "succeeded", PAID).await
}

async fn refunded(client: &Client, order: &Value, amount: &str) -> Value {
    let path = format!("/v1/orders/{}/refunds", text(order, "id"));
    let asked = client.post(&path, &json!({"merchant_refund_id": unique("r"), "amount": amount})).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    let path = format!("/v1/refunds/{}", text(&asked.body, "id"));
    support::eventually("a refund succeeds", PAID, || async {
        let refund = client.get(&path).await.body;
        (refund["state"] == "succeeded").then_some(refund)
    })
    .await
}

fn expected(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(account, balance)| ((*account).to_owned(), (*balance).to_owned())).collect()
}

fn parts(refund: &Value) -> Vec<(&str, &str)> {
    let parts = refund["parts"].as_array().expect("parts").iter();
    parts.map(|part| (text(part, "platform"), text(part, "amount"))).collect()
}

#[actix_web::test]
async fn the_worked_example_books_to_the_fen() {
    let app = app::start().await;
    let a = app.client();
    let (b, c) = (platform(&app, "shop-b", "platform").await, platform(&app, "shop-c", "payer").await);
    for (name, from) in
        [("shop-b", "platform-a"), ("shop-c", "platform-a"), ("platform-a", "shop-b"), ("shop-c", "shop-b")]
    {
        command(&app, &["platform", "accept-shares", name, "--from", from]).await;
    }

    // 1: 200.00 by WeChat Pay, of which B gets a tenth and C 5.00; the payer bears the fee of 0.60.
    let shares = json!([{"to": "shop-b", "rate": "0.10"}, {"to": "shop-c", "amount": "5.00"}]);
    let first = paid(&a, "wechat", "native", "200.00", shares).await;
    assert_eq!((text(&first, "payable"), text(&first, "amount_refundable")), ("200.60", "200.60"));
    let split = |order: &Value| {
        let splits = order["splits"].as_array().expect("splits").clone();
        splits.iter().map(|split| (text(split, "to").to_owned(), text(split, "amount").to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(split(&first), [("shop-b".to_owned(), "20.00".to_owned()), ("shop-c".to_owned(), "5.00".to_owned())]);
    // 2: 99.99 by Alipay in thirds; B sells and bears the fee of 0.50.
    let thirds = json!([{"to": "platform-a", "rate": "0.333333"}, {"to": "shop-c", "rate": "0.333333"}]);
    let second = paid(&b, "alipay", "qr", "99.99", thirds).await;
    assert_eq!((text(&second, "payable"), text(&second, "fee")), ("99.99", "0.50"));
    assert_eq!(
        split(&second),
        [("platform-a".to_owned(), "33.33".to_owned()), ("shop-c".to_owned(), "33.33".to_owned())]
    );
    // 3: 50.00 by WeChat Pay, all C's.
    paid(&c, "wechat", "native", "50.00", Value::Null).await;
    assert_eq!(
        ledger(&app).await,
        expected(&[
            ("channel:alipay:default", "99.99"),
            ("channel:wechat:default", "250.75"),
            ("fees:alipay", "-0.50"),
            ("fees:wechat", "-0.75"),
            ("fees_due:shop-b", "0.50"),
            ("platform:platform-a", "-208.33"),
            ("platform:shop-b", "-53.33"),
            ("platform:shop-c", "-88.33"),
        ])
    );
    // 4: 1.00 by Alipay that pays nothing, a fen short of what was asked, and back.
    let fields = json!({"channel": "alipay", "method": "qr", "amount": "1.01", "description": "sim:underpay"});
    let wrong = b.create(&with(an_order("a book"), fields)).await.order(201);
    b.until(text(&wrong, "id"), "is given back", PAID, |order| order["suspense"][0]["state"] == "refunded").await;
    let suspense = command(&app, &["ledger", "--account", "suspense:alipay:default", "--json"]).await;
    let suspense: Value = serde_json::from_str(&suspense).expect("lines are JSON");
    let lines: Vec<&str> = suspense.as_array().expect("lines").iter().map(|line| text(line, "amount")).collect();
    assert_eq!(lines, ["1.00", "-1.00"], "{suspense}");

    // 5 and 11: half of what is left each time, to the last fen.
    for _ in 0..2 {
        let refund = refunded(&a, &first, "100.30").await;
        assert_eq!(text(&refund, "fee_returned"), "0.30");
        assert_eq!(parts(&refund), [("platform-a", "87.50"), ("shop-b", "10.00"), ("shop-c", "2.50")]);
    }
    // 12: 10.00 of the thirds: the seller gives the odd fen, and the fee goes back half up beside it.
    let refund = refunded(&b, &second, "10.00").await;
    assert_eq!(text(&refund, "fee_returned"), "0.05");
    assert_eq!(parts(&refund), [("shop-b", "3.34"), ("platform-a", "3.33"), ("shop-c", "3.33")]);
    // 10: 60.00 by WeChat Pay, all B's.
    paid(&b, "wechat", "native", "60.00", Value::Null).await;
    assert_eq!(
        ledger(&app).await,
        expected(&[
            ("channel:alipay:default", "89.99"),
            ("channel:wechat:default", "110.15"),
            ("fees:alipay", "-0.45"),
            ("fees:wechat", "-0.33"),
            ("fees_due:shop-b", "0.63"),
            ("platform:platform-a", "-30.00"),
            ("platform:shop-b", "-89.99"),
            ("platform:shop-c", "-80.00"),
        ])
    );
    let balances = [balance(&a).await, balance(&b).await, balance(&c).await];
    assert_eq!(balances, ["30.00", "89.36", "80.00"]);
    let over = a.get(&format!("/v1/orders/{}", text(&first, "id"))).await.order(200);
    assert_eq!((text(&over, "amount_refunded"), text(&over, "amount_refundable")), ("200.60", "0.00"));
    app.finish().await;
}

/// Entries 16 and 17: `platform-a` takes the money of its orders by WeChat Pay itself, in an account that is its own beside
/// the operator's.
#[actix_web::test]
async fn of_money_that_a_platform_takes_itself_only_shares_and_fees_are_booked() {
    let site = Site::new(Kind::Sqlite, "");
    let default = Account::of(&site, "wechat", "default").keep(&site);
    let owned = |owner: &str, name: &str| {
        let account = Account::of(&site, "wechat", name).keep(&site);
        format!("{account}owner = \"{owner}\"\n[platforms.{owner}.accounts]\nwechat = \"{name}\"\n")
    };
    // `shop-c` is made only later.
    let settings = default + &owned("platform-a", "own") + &owned("shop-c", "own-too");
    std::fs::write(site.folder.path().join("overlay.toml"), settings).expect("the overlay is written");
    let app = App::start(site).await;
    let a = app.client();
    let (b, c) = (platform(&app, "shop-b", "platform").await, platform(&app, "shop-c", "payer").await);
    for name in ["shop-b", "shop-c"] {
        command(&app, &["platform", "accept-shares", name, "--from", "platform-a"]).await;
    }

    // 16: the payer pays 200.60 to A. B and C will get their shares from A, and we our fee.
    let shares = json!([{"to": "shop-b", "amount": "20.00"}, {"to": "shop-c", "amount": "5.00"}]);
    let order = paid(&a, "wechat", "native", "200.00", shares).await;
    assert_eq!((text(&order, "payable"), text(&order["attempts"][0], "account")), ("200.60", "own"));
    assert_eq!(
        ledger(&app).await,
        expected(&[
            ("fees:wechat", "-0.60"),
            ("fees_due:platform-a", "0.60"),
            ("position:platform-a", "25.00"),
            ("position:shop-b", "-20.00"),
            ("position:shop-c", "-5.00"),
        ])
    );
    // 17: half of it goes back from A's account; the shares and the fee go back with it.
    let refund = refunded(&a, &order, "100.30").await;
    assert_eq!(parts(&refund), [("platform-a", "87.50"), ("shop-b", "10.00"), ("shop-c", "2.50")]);
    // Money that came wrong is the payer's again, and was never in our books.
    let fields = json!({"channel": "wechat", "method": "native", "description": "sim:underpay"});
    let short = a.create(&with(an_order("a book"), fields)).await.order(201);
    a.until(text(&short, "id"), "is given back", PAID, |order| order["suspense"][0]["state"] == "refunded").await;
    // B's own sale goes by the operator's account, as ever.
    paid(&b, "wechat", "native", "60.00", Value::Null).await;
    // C has an account of its own too.
    let other = paid(&c, "wechat", "native", "10.00", Value::Null).await;
    assert_eq!(text(&other["attempts"][0], "account"), "own-too");
    assert_eq!(
        ledger(&app).await,
        expected(&[
            ("channel:wechat:default", "60.00"),
            ("fees:wechat", "-0.51"),
            ("fees_due:platform-a", "0.30"),
            ("fees_due:shop-b", "0.18"),
            ("fees_due:shop-c", "0.03"),
            ("platform:shop-b", "-60.00"),
            ("position:platform-a", "12.50"),
            ("position:shop-b", "-10.00"),
            ("position:shop-c", "-2.50"),
        ])
    );
    let standings = [standing(&a).await, standing(&b).await, standing(&c).await];
    let standings = standings.each_ref().map(|(open, position)| (open.as_str(), position.as_str()));
    assert_eq!(standings, [("-0.30", "-12.50"), ("59.82", "10.00"), ("-0.03", "2.50")]);
    // A bound of what A may owe us says nothing about money that A gives back itself.
    command(&app, &["platform", "debt-max", "platform-a", "--currency", "CNY", "--amount", "0", "--reason", "agreed"])
        .await;
    app.approve_all().await;
    refunded(&a, &order, "100.30").await;
    assert_eq!(standing(&a).await, ("0.00".to_owned(), "0.00".to_owned()));
    app.finish().await;
}

#[actix_web::test]
async fn shares_that_are_none_are_refused_and_nothing_is_written() {
    let app = app::start().await;
    let client = app.client();
    platform(&app, "silent", "payer").await;
    let many: Vec<Value> = (0..21).map(|n| json!({"to": format!("p-{n}"), "amount": "0.01"})).collect();
    let table = [
        (json!([{"to": "platform-b", "amount": "200.01"}]), "splits_exceed_amount", "splits"),
        (
            json!([{"to": "platform-b", "amount": "150.00"}, {"to": "silent", "rate": "0.3"}]),
            "splits_exceed_amount",
            "splits",
        ),
        (
            json!([{"to": "platform-b", "rate": "0.6"}, {"to": "silent", "rate": "0.400001"}]),
            "splits_exceed_amount",
            "splits",
        ),
        (Value::Array(many), "split_invalid", "splits"),
        (json!({"to": "platform-b"}), "split_invalid", "splits"),
        (json!(["platform-b"]), "split_invalid", "splits[0]"),
        (json!([{"to": "platform-a", "amount": "5.00"}]), "split_invalid", "splits[0].to"),
        (
            json!([{"to": "platform-b", "amount": "5.00"}, {"to": "platform-b", "rate": "0.1"}]),
            "split_invalid",
            "splits[1].to",
        ),
        (json!([{"to": "nobody", "amount": "5.00"}]), "split_invalid", "splits[0].to"),
        (json!([{"to": "silent", "amount": "5.00"}]), "split_invalid", "splits[0].to"),
        (json!([{"to": "Platform B", "amount": "5.00"}]), "split_invalid", "splits[0].to"),
        (json!([{"to": "platform-b"}]), "split_invalid", "splits[0].amount"),
        (json!([{"to": "platform-b", "amount": "5.001"}]), "split_invalid", "splits[0].amount"),
        (json!([{"to": "platform-b", "amount": "0.00"}]), "split_invalid", "splits[0].amount"),
        (json!([{"to": "platform-b", "amount": 5}]), "split_invalid", "splits[0].amount"),
        (json!([{"to": "platform-b", "amount": "5.00", "rate": "0.1"}]), "split_invalid", "splits[0].rate"),
        (json!([{"to": "platform-b", "rate": "0"}]), "split_invalid", "splits[0].rate"),
        (json!([{"to": "platform-b", "rate": "0.0"}]), "split_invalid", "splits[0].rate"),
        (json!([{"to": "platform-b", "rate": "1"}]), "split_invalid", "splits[0].rate"),
        (json!([{"to": "platform-b", "rate": "0.1234567"}]), "split_invalid", "splits[0].rate"),
        (json!([{"to": "platform-b", "rate": "-0.1"}]), "split_invalid", "splits[0].rate"),
        (json!([{"to": "platform-b", "share": "0.1"}]), "field_unknown", "splits[0].share"),
    ];
    for (splits, code, field) in table {
        let answer = client.create(&with(an_order("a book"), json!({ "splits": splits }))).await;
        assert_eq!(answer.problem(422, code), Some(field), "{splits}");
    }
    assert_eq!(client.get("/v1/orders").await.body["data"], json!([]));

    // A share of a fen, and of a rate that comes to none.
    let tiny = json!([{"to": "platform-b", "rate": "0.000001"}]);
    let order = paid(&client, "simpay", "qr", "0.01", tiny).await;
    assert_eq!(order["splits"], json!([{"to": "platform-b", "amount": "0.00", "rate": "0.000001"}]));
    let fen = paid(&client, "simpay", "qr", "0.02", json!([{"to": "platform-b", "amount": "0.01"}])).await;
    assert_eq!(fen["splits"][0]["amount"], "0.01");
    assert_eq!([balance(&client).await, balance(&app.client_b()).await], ["0.02", "0.01"]);
    // The same order with other shares is another one.
    let asked = with(an_order("a book"), json!({"splits": [{"to": "platform-b", "rate": "0.10"}]}));
    client.create(&asked).await.order(201);
    client.create(&with(asked.clone(), json!({"splits": [{"to": "platform-b", "rate": "0.100"}]}))).await.order(200);
    let other = client.create(&with(asked, json!({"splits": [{"to": "platform-b", "rate": "0.11"}]}))).await;
    assert_eq!(other.problem(409, "order_conflict"), Some("splits"));
    app.finish().await;
}

async fn bound(app: &App, platform: &str, amount: &str) {
    command(app, &["platform", "debt-max", platform, "--currency", "CNY", "--amount", amount, "--reason", "agreed"])
        .await;
    app.approve_all().await;
}

/// A refund that keeps the fee, which its platform bears.
fn kept(name: &str, amount: &str) -> Value {
    json!({"merchant_refund_id": name, "amount": amount, "fee_policy": "kept"})
}

#[actix_web::test]
async fn a_platform_may_owe_so_much_and_not_a_fen_more() {
    let app = app::start().await;
    let lean = platform(&app, "lean", "platform").await;
    let order = paid(&lean, "simpay", "qr", "100.00", Value::Null).await;
    assert_eq!(balance(&lean).await, "99.70");
    let path = format!("/v1/orders/{}/refunds", text(&order, "id"));
    // Another platform's bound and another currency's are no matter of it.
    bound(&app, "platform-a", "0").await;
    command(&app, &["platform", "debt-max", "lean", "--currency", "USD", "--amount", "5.00", "--reason", "agreed"])
        .await;
    app.approve_all().await;
    for most in ["0", "0.29"] {
        bound(&app, "lean", most).await;
        lean.post(&path, &kept("whole", "100.00")).await.problem(409, "balance_insufficient");
        assert_eq!(lean.get("/v1/refunds").await.body["data"], json!([]), "nothing of it was written");
    }
    bound(&app, "lean", "0.30").await;
    let asked = lean.post(&path, &kept("whole", "100.00")).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    assert_eq!(balance(&lean).await, "-0.30");

    // With its fee back it owes nothing more: the bound of nothing lets that pass, and no bound lets all pass.
    let second = paid(&lean, "simpay", "qr", "100.00", Value::Null).await;
    assert_eq!(balance(&lean).await, "99.40");
    bound(&app, "lean", "0.30").await;
    refunded(&lean, &second, "100.00").await;
    assert_eq!(balance(&lean).await, "-0.30");
    let third = paid(&lean, "simpay", "qr", "100.00", Value::Null).await;
    command(&app, &["platform", "debt-max", "lean", "--currency", "CNY", "--reason", "agreed"]).await;
    app.approve_all().await;
    let path = format!("/v1/orders/{}/refunds", text(&third, "id"));
    assert_eq!(lean.post(&path, &kept("third", "100.00")).await.status, 201);
    assert_eq!(balance(&lean).await, "-0.60");
    app.finish().await;
}

#[actix_web::test]
async fn refunds_beside_each_other_do_not_pass_the_bound_together() {
    let app = app::start().await;
    let lean = platform(&app, "lean", "platform").await;
    let order = paid(&lean, "simpay", "qr", "100.00", Value::Null).await;
    bound(&app, "lean", "0").await;
    let path = format!("/v1/orders/{}/refunds", text(&order, "id"));
    // Of five fifths, the last one would leave it owing 0.30.
    let ask = |n: usize| {
        let (lean, path) = (lean.clone(), path.clone());
        async move { lean.post(&path, &kept(&format!("fifth-{n}"), "20.00")).await }
    };
    let mut accepted = 0;
    for answer in futures_util::future::join_all((0..10).map(ask)).await {
        match answer.status {
            201 => accepted += 1,
            _ => assert_eq!(answer.problem(409, "balance_insufficient"), None),
        }
    }
    assert!(accepted <= 4, "{accepted} of ten");
    for n in accepted..4 {
        assert_eq!(ask(10 + n).await.status, 201, "there is room for the next one");
    }
    ask(20).await.problem(409, "balance_insufficient");
    assert_eq!(balance(&lean).await, "19.70");
    app.finish().await;
}

/// No ledger account holds what an account of a platform's own owes, and it cannot be taken away all the same.
#[actix_web::test]
async fn an_account_of_a_platform_that_owes_a_refund_cannot_be_taken_away() {
    let mut site = Site::new(Kind::Sqlite, "");
    let default = Account::of(&site, "wechat", "default").keep(&site);
    let own = Account::of(&site, "wechat", "own").keep(&site);
    let both = format!("{default}{own}owner = \"platform-a\"\n[platforms.platform-a.accounts]\nwechat = \"own\"\n");
    site.lay_over(&both);
    let mut app = App::start(site).await;
    let client = app.client();
    let order = paid(&client, "wechat", "native", "20.00", Value::Null).await;
    let path = format!("/v1/orders/{}/refunds", text(&order, "id"));
    let asked = client.post(&path, &json!({"merchant_refund_id": "stuck", "reason": "sim:stuck"})).await;
    assert_eq!((asked.status, asked.body["attention"].as_str()), (201, Some("person")), "{}", asked.text);
    app.server.stop().await;

    app.site.lay_over(&default);
    let refused = app.site.run(&["serve"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("channels.wechat.accounts.own"), "{said}");
    app.site.lay_over(&both);
    app.restart();
    app.ready().await;
    let arguments = ["operator", "resolve-refund", text(&order, "id"), "--refund", text(&asked.body, "id")];
    let evidence = ["--evidence", "the shop paid it in cash", "--resolution", "paid-otherwise"];
    command(&app, &[&arguments[..], &evidence[..]].concat()).await;
    assert_eq!(app.approve_all().await[0]["state"], "done");
    // The shop's own money went back, so nothing of it is in our books.
    assert_eq!(ledger(&app).await, expected(&[]));
    app.finish().await;
}

#[actix_web::test]
async fn an_account_that_owes_a_refund_cannot_be_taken_away() {
    const BESIDE: &str = "[gateway]\nembedded = false\n";
    let mut app = App::start_beside_gateway(Site::new(Kind::Sqlite, BESIDE)).await;
    let client = app.client();
    let order = paid(&client, "wechat", "native", "20.00", Value::Null).await;
    let path = format!("/v1/orders/{}/refunds", text(&order, "id"));
    let asked = client.post(&path, &json!({"merchant_refund_id": "stuck", "reason": "sim:stuck"})).await;
    assert_eq!((asked.status, asked.body["attention"].as_str()), (201, Some("person")), "{}", asked.text);
    app.server.stop().await;

    app.site.lay_over(&format!("{BESIDE}[channels.wechat]\nenabled = false\n"));
    let refused = app.site.run(&["serve"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("channels.wechat.accounts.default"), "{said}");

    app.site.lay_over(BESIDE);
    app.restart();
    app.ready().await;
    let shown = command(&app, &["operator", "stuck-refunds"]).await;
    for word in [text(&order, "id"), text(&asked.body, "id"), "asked", "wechat:default", "20.06", "person"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let listed: Value =
        serde_json::from_str(&command(&app, &["operator", "stuck-refunds", "--json"]).await).expect("JSON");
    let row = &listed["data"][0];
    assert_eq!(
        (&row["refund"], &row["state"], &row["cause"]),
        (&asked.body["id"], &json!("submitted"), &json!("asked"))
    );
    assert_eq!((listed["data"].as_array().map(Vec::len), &listed["next_cursor"]), (Some(1), &Value::Null));
    let resolve = |resolution| {
        let arguments = ["operator", "resolve-refund", text(&order, "id"), "--refund", text(&asked.body, "id")];
        let evidence = ["--evidence", "transfer 7 of 30 November", "--resolution", resolution];
        [&arguments[..], &evidence[..]].concat()
    };
    command(&app, &resolve("paid-otherwise")).await;
    assert_eq!(app.approve_all().await[0]["state"], "done");
    let refund = client.get(&format!("/v1/refunds/{}", text(&asked.body, "id"))).await.body;
    assert_eq!((text(&refund, "state"), &refund["attention"]), ("succeeded", &Value::Null));
    assert!(!app.site.run(&resolve("failed")).await.status.success(), "it is over");
    let listed: Value =
        serde_json::from_str(&command(&app, &["operator", "stuck-refunds", "--json"]).await).expect("JSON");
    assert_eq!(listed["data"], json!([]), "nobody needs to look at it any more");
    assert_eq!(
        ledger(&app).await,
        expected(&[("bank:main", "-20.06"), ("channel:wechat:default", "20.06")]),
        "the channel has the money, and ours went to the payer"
    );
    // Nothing is owed by the channel any more.
    app.server.stop().await;
    app.site.lay_over(&format!("{BESIDE}[channels.wechat]\nenabled = false\n"));
    app.restart();
    app.ready().await;
    app.finish().await;
}
