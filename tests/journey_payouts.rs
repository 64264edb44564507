//! The worked example of settlement, to the fen: three platforms, two closings, payouts that are paid and one that comes
//! back, a debt, and what two persons book by hand until bills are read.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use support::app::{self, App};
use support::client::{Client, an_order, text, with};
use support::process::Kind;
use support::{eventually, seconds, unique};
use tongbao::domain::money::{Currency, format_minor};

const PAID: Duration = seconds(20);
/// Of the demo operator with the role finance; `ok_sandbox` is an admin's.
const FINANCE: &str = "ok_sandbox_2";
const ADMIN: &str = "ok_sandbox";
const SETTINGS: &str = "[settlement]\nlook_ms = 500\npayout_min = { CNY = \"50.00\" }\n";

/// Runs a command of the binary that must succeed; what it said.
async fn command(app: &App, arguments: &[&str]) -> String {
    let output = app.site.run(arguments).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

async fn platform(app: &App, name: &str, bearer: &str) -> Client {
    let said = command(app, &["platform", "create", name, "--fee-bearer", bearer]).await;
    let key = said.lines().find_map(|line| line.strip_prefix("key")).expect("a key is shown").trim().to_owned();
    app.client().with_key(&key)
}

/// The trial balance, by account; it sums to zero.
async fn ledger(app: &App) -> BTreeMap<String, String> {
    let shown: Value = serde_json::from_str(&command(app, &["ledger", "--json"]).await).expect("the ledger is JSON");
    assert!(shown["sums"].as_object().expect("sums").values().all(|sum| sum == "0.00"), "{shown}");
    let balances = shown["balances"].as_array().expect("balances").iter();
    let pair = |row: &Value| (text(row, "account").to_owned(), text(row, "balance").to_owned());
    balances.map(pair).filter(|(_, balance)| balance != "0.00").collect()
}

/// What every account sums to by the sheets of the months in which this journey takes place.
async fn entries(app: &App, first: &Value) -> BTreeMap<String, String> {
    let last = newest(&app.client()).await;
    let months = BTreeSet::from([text(first, "created_at"), text(&last, "to")].map(|at| at[..7].to_owned()));
    let mut sums = BTreeMap::<String, i64>::new();
    for month in months {
        let out = app.site.folder.path().join(format!("{month}.csv"));
        let out = out.to_str().expect("a path");
        let said = command(app, &["ledger", "entries", "--month", &month, "--out", out]).await;
        let sheet = std::fs::read_to_string(out).expect("the sheet is there");
        let mut lines = sheet.lines();
        assert!(lines.next().is_some_and(|titles| titles.starts_with("booked_at,effective_at,")), "{sheet}");
        let mut count = 0;
        for cells in lines.map(|line| line.split(',').collect::<Vec<_>>()) {
            assert!(cells[0].starts_with(&month), "{cells:?}");
            *sums.entry(cells[4].to_owned()).or_default() += fen(cells[5]);
            count += 1;
        }
        assert!(said.starts_with(&format!("{count} lines in ")), "{said}");
    }
    let currency = Currency::parse("CNY").expect("a currency");
    let sums = sums.into_iter().filter(|(_, minor)| *minor != 0);
    sums.map(|(account, minor)| (account, format_minor(minor, currency))).collect()
}

fn fen(amount: &str) -> i64 {
    amount.replace('.', "").parse().expect("an amount in yuan")
}

fn expected(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(account, balance)| ((*account).to_owned(), (*balance).to_owned())).collect()
}

async fn paid(client: &Client, (channel, method): (&str, &str), amount: &str, splits: Value) -> Value {
    let fields = json!({"channel": channel, "method": method, "amount": amount, "splits": splits});
    let order = client.create(&with(an_order("a book"), fields)).await.order(201);
    client.reaches(text(&order, "id"), "succeeded", PAID).await
}

async fn refunded(client: &Client, order: &Value, amount: &str) {
    let path = format!("/v1/orders/{}/refunds", text(order, "id"));
    let asked = client.post(&path, &json!({"merchant_refund_id": unique("r"), "amount": amount})).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    let path = format!("/v1/refunds/{}", text(&asked.body, "id"));
    let done = || async { (client.get(&path).await.body["state"] == "succeeded").then_some(()) };
    eventually("a refund succeeds", PAID, done).await;
}

/// Proposes an entry on the command line and has the other person approve it.
async fn adjusted(app: &App, lines: &[&str]) {
    let mut arguments = vec!["adjust", "--currency", "CNY", "--reason", "by the bank's statement"];
    for line in lines {
        arguments.extend(["--line", line]);
    }
    command(app, &arguments).await;
    let approved = app.approve_all().await;
    assert_eq!(approved.len(), 1, "{approved:?}");
    assert_eq!(approved[0]["state"], "done", "{approved:?}");
}

/// Closes the open cycle of CNY, once its calendar has begun, and waits until it is settled.
async fn closed(operator: &Client) {
    let calendar = || async {
        let page = operator.get("/v1/operator/calendars").await;
        let found = page.body["data"].as_array()?.iter().find(|calendar| calendar["currency"] == "CNY").cloned()?;
        (!found["open"].is_null() && found["closing"].is_null()).then_some(found)
    };
    let before = eventually("the calendar begins", PAID, calendar).await;
    let number = before["open"]["number"].clone();
    let path = format!("/v1/operator/calendars/{}/close", before["id"]);
    let asked = operator.post(&path, &json!({"number": number})).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let settled = || async { calendar().await.filter(|after| after["open"]["number"] != number) };
    eventually("the cycle is settled", PAID, settled).await;
}

/// The newest closed settlement.
async fn newest(client: &Client) -> Value {
    let page = client.get("/v1/settlements").await;
    let rows = page.body["data"].as_array().expect("a list").clone();
    rows.into_iter().find(|row| row["state"] != "open").expect("a closed one")
}

fn figures(settlement: &Value) -> [&str; 4] {
    ["state", "brought_forward", "net", "carried_forward"].map(|field| text(settlement, field))
}

/// Two persons agree where a platform is to be paid to.
async fn with_details(admin: &Client, finance: &Client, platform: &str) {
    let details = json!({"holder": platform, "bank_name": "中国工商银行",
        "account": {"number": "6222021001116245702"}, "agent": {"cnaps": "102100099996"}});
    let body = json!({"platform": platform, "currency": "CNY", "details": details});
    let proposed = admin.post("/v1/operator/bank_details", &body).await;
    assert_eq!(proposed.status, 201, "{}", proposed.text);
    assert!(!proposed.text.contains("6222021001116245702"), "{}", proposed.text);
    let meant = json!({"platform": platform, "currency": "CNY", "number": proposed.body["number"]});
    admin.post("/v1/operator/bank_details/approve", &meant).await.problem(403, "second_operator_required");
    let approved = finance.post("/v1/operator/bank_details/approve", &meant).await;
    assert_eq!(approved.status, 200, "{}", approved.text);
}

/// Pays out all that is settled: proposed by one, approved by another, exported; the payouts by platform.
async fn exported(app: &App, admin: &Client, finance: &Client) -> BTreeMap<String, Value> {
    let made = admin.post("/v1/operator/payouts", &json!({"currency": "CNY"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let mut payouts = BTreeMap::new();
    for payout in made.body["data"].as_array().expect("a list") {
        let path = format!("/v1/operator/payouts/{}/approve", text(payout, "id"));
        admin.post(&path, &Value::Null).await.problem(403, "second_operator_required");
        let approved = finance.post(&path, &Value::Null).await;
        assert_eq!(approved.status, 200, "{}", approved.text);
        payouts.insert(text(payout, "platform").to_owned(), approved.body);
    }
    let out = app.site.folder.path().join(format!("{}.xml", unique("payouts")));
    let out = out.to_str().expect("a path");
    let key = app.site.folder.path().join("finance.key");
    std::fs::write(&key, FINANCE).expect("the key is written");
    let key = key.to_str().expect("a path");
    let said =
        command(app, &["payout", "export", "--currency", "CNY", "--out", out, "--key-file", key, "--json"]).await;
    let file: Value = serde_json::from_str(&said).expect("the file is JSON");
    let first = std::fs::read_to_string(out).expect("the file is there");
    let path = format!("/v1/operator/payout_files/{}", text(&file, "id"));
    assert_eq!(finance.get(&path).await.text, first, "the same bytes when asked again");
    for payout in payouts.values() {
        assert!(first.contains(text(payout, "end_to_end_id")), "{first}");
    }
    let sheet = finance.get(&format!("{path}?format=csv")).await;
    assert_eq!(sheet.text.lines().count(), payouts.len() + 1, "{}", sheet.text);
    payouts
}

async fn answered(operator: &Client, payout: &Value, body: Value) -> Value {
    let path = format!("/v1/operator/payouts/{}/answer", text(payout, "id"));
    let answer = operator.post(&path, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

async fn the_worked_example_is_settled_to_the_fen(kind: Kind) {
    let mut app = app::start_with(kind, SETTINGS).await;
    let a = app.client();
    let (b, c) = (platform(&app, "shop-b", "platform").await, platform(&app, "shop-c", "payer").await);
    let (admin, finance) = (a.with_key(ADMIN), a.with_key(FINANCE));
    for (name, from) in
        [("shop-b", "platform-a"), ("shop-c", "platform-a"), ("platform-a", "shop-b"), ("shop-c", "shop-b")]
    {
        command(&app, &["platform", "accept-shares", name, "--from", from]).await;
    }
    // 0: what the operator put in.
    adjusted(&app, &["bank:main=200.00", "equity=-200.00"]).await;
    // 1 to 3.
    let shares = json!([{"to": "shop-b", "rate": "0.10"}, {"to": "shop-c", "amount": "5.00"}]);
    let first = paid(&a, ("wechat", "native"), "200.00", shares).await;
    let thirds = json!([{"to": "platform-a", "rate": "0.333333"}, {"to": "shop-c", "rate": "0.333333"}]);
    let second = paid(&b, ("alipay", "qr"), "99.99", thirds).await;
    paid(&c, ("wechat", "native"), "50.00", Value::Null).await;
    // 5, and 6: what the channels kept, by their bills.
    refunded(&a, &first, "100.30").await;
    adjusted(&app, &["cost:wechat:default=0.90", "channel:wechat:default=-0.90"]).await;
    adjusted(&app, &["cost:alipay:default=0.60", "channel:alipay:default=-0.60"]).await;
    // 7.
    closed(&finance).await;
    assert_eq!(figures(&newest(&a).await), ["closed", "0.00", "120.83", "0.00"]);
    assert_eq!(figures(&newest(&b).await), ["carried", "0.00", "42.83", "42.83"]);
    assert_eq!(figures(&newest(&c).await), ["closed", "0.00", "85.83", "0.00"]);
    // 8.
    adjusted(&app, &["wallet:wechat:default=149.55", "channel:wechat:default=-149.55"]).await;
    adjusted(&app, &["wallet:alipay:default=99.39", "channel:alipay:default=-99.39"]).await;
    adjusted(&app, &["bank:main=49.55", "wallet:wechat:default=-49.55"]).await;
    adjusted(&app, &["bank:main=79.39", "wallet:alipay:default=-79.39"]).await;
    // 9: A and C are paid, and C's money comes back.
    for name in ["platform-a", "shop-b", "shop-c"] {
        with_details(&admin, &finance, name).await;
    }
    let payouts = exported(&app, &admin, &finance).await;
    assert_eq!(payouts.keys().collect::<Vec<_>>(), ["platform-a", "shop-c"], "what is carried is not paid out");
    let of_a = &payouts["platform-a"];
    let wrong = format!("/v1/operator/payouts/{}/answer", text(of_a, "id"));
    finance.post(&wrong, &json!({"answer": "paid", "amount": "120.84"})).await.problem(409, "payout_amount_differs");
    for _ in 0..2 {
        let done = answered(&finance, of_a, json!({"answer": "paid", "amount": "120.83", "reference": "slip 1"})).await;
        assert_eq!(done["state"], "paid");
    }
    finance.post(&wrong, &json!({"answer": "failed"})).await.problem(409, "payout_state");
    assert_eq!(newest(&a).await["state"], "paid_out");
    let rows = format!("{},paid,85.83,slip 2,\r\n", text(&payouts["shop-c"], "end_to_end_id"));
    let sheet = format!("payout,outcome,amount,bank_reference,reason\r\n{rows}");
    let answers = app.site.folder.path().join("answers.csv");
    std::fs::write(&answers, sheet).expect("the answers are written");
    command(&app, &["payout", "import", answers.to_str().expect("a path")]).await;
    let returned = answered(&finance, &payouts["shop-c"], json!({"answer": "returned", "reason": "closed"})).await;
    assert_eq!(returned["state"], "returned");
    let own = c.get(&format!("/v1/payouts/{}", text(&returned, "id"))).await;
    assert_eq!((&own.body["state"], &own.body["amount"]), (&json!("returned"), &json!("85.83")));
    assert_eq!(own.body["proposed_by"], Value::Null, "who did it is not the platform's business");
    a.get(&format!("/v1/payouts/{}", text(&returned, "id"))).await.problem(404, "not_found");

    app.kill().await;
    app.restart();
    app.ready().await;
    // 10 to 13.
    paid(&b, ("wechat", "native"), "60.00", Value::Null).await;
    refunded(&a, &first, "100.30").await;
    refunded(&b, &second, "10.00").await;
    adjusted(&app, &["cost:wechat:default=-0.24", "channel:wechat:default=0.24"]).await;
    adjusted(&app, &["cost:alipay:default=-0.06", "channel:alipay:default=0.06"]).await;
    adjusted(&app, &["wallet:wechat:default=-40.06", "channel:wechat:default=40.06"]).await;
    adjusted(&app, &["wallet:alipay:default=-9.94", "channel:alipay:default=9.94"]).await;
    // 14: A owes; B's carry and C's return are in their nets.
    closed(&finance).await;
    assert_eq!(figures(&newest(&a).await), ["carried", "0.00", "-90.83", "-90.83"]);
    assert_eq!(figures(&newest(&b).await), ["closed", "42.83", "89.36", "0.00"]);
    assert_eq!(figures(&newest(&c).await), ["closed", "85.83", "80.00", "0.00"]);
    // 15.
    let payouts = exported(&app, &admin, &finance).await;
    assert_eq!(payouts.keys().collect::<Vec<_>>(), ["shop-b", "shop-c"], "a debt is not paid out");
    for payout in payouts.values() {
        answered(&finance, payout, json!({"answer": "paid"})).await;
    }
    assert_eq!(
        ledger(&app).await,
        expected(&[
            ("bank:main", "38.75"),
            ("cost:alipay:default", "0.54"),
            ("cost:wechat:default", "0.66"),
            ("equity", "-200.00"),
            ("fees:alipay", "-0.45"),
            ("fees:wechat", "-0.33"),
            ("settlement:platform-a", "90.83"),
            ("wallet:alipay:default", "10.06"),
            ("wallet:wechat:default", "59.94"),
        ])
    );
    assert_eq!(entries(&app, &first).await, ledger(&app).await, "the months hold every line");
    let owing = finance.get("/v1/operator/debtors").await.body["data"].clone();
    assert_eq!(owing.as_array().map(Vec::len), Some(1), "{owing}");
    let figures = |of: &Value| ["platform", "currency", "owed", "since"].map(|field| text(of, field).to_owned());
    let since = figures(&owing[0])[3].clone();
    assert_eq!(figures(&owing[0]), ["platform-a", "CNY", "90.83", &since]);
    assert_eq!(owing[0]["days"], 0);
    assert_eq!(a.get("/v1/operator/debtors").await.status, 401);
    let told: Value = serde_json::from_str(&command(&app, &["ledger", "debtors", "--json"]).await).expect("JSON");
    assert_eq!(told, owing, "the command tells the same");
    let body = json!({"platform": "platform-a", "currency": "CNY", "amount": "90.84", "reference": "slip 9"});
    finance.post("/v1/operator/payments_received", &body).await.problem(409, "debt_exceeded");
    command(
        &app,
        &[
            "payout",
            "received",
            "--platform",
            "platform-a",
            "--currency",
            "CNY",
            "--amount",
            "90.83",
            "--reference",
            "slip 9",
        ],
    )
    .await;
    assert_eq!(ledger(&app).await.get("settlement:platform-a"), None, "the debt is paid");
    assert_eq!(finance.get("/v1/operator/debtors").await.body["data"], json!([]));
    app.finish().await;
}

#[actix_web::test]
async fn the_worked_example_is_settled_to_the_fen_on_sqlite() {
    the_worked_example_is_settled_to_the_fen(Kind::Sqlite).await;
}

#[actix_web::test]
async fn the_worked_example_is_settled_to_the_fen_on_postgresql() {
    the_worked_example_is_settled_to_the_fen(Kind::Postgres).await;
}

/// A platform with an address hears of its settlement and of what becomes of its payout, each once and with one amount.
#[actix_web::test]
async fn what_is_settled_and_paid_is_told_once() {
    let app = app::start_with(Kind::Sqlite, SETTINGS).await;
    let (admin, finance) = (app.client().with_key(ADMIN), app.client().with_key(FINANCE));
    let said = command(&app, &["platform", "create", "shop-w", "--webhook-url", &app.receiver.url("shop-w")]).await;
    let shown = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).expect("it is shown").trim();
    app.receiver.knows("shop-w", shown("webhook secret"));
    let shop = app.client().with_key(shown("key"));
    paid(&shop, ("simpay", "qr"), "200.00", Value::Null).await;
    adjusted(&app, &["bank:main=500.00", "equity=-500.00"]).await;
    closed(&finance).await;
    let settlement = newest(&shop).await;
    let settled = text(&settlement, "id");
    app.receiver.kinds_become(settled, &["settlement.closed"], PAID).await;
    let told = &app.receiver.of(settled)[0].data;
    assert_eq!(told, &with(settlement.clone(), json!({"sequence": 1})), "as it is asked for");

    with_details(&admin, &finance, "shop-w").await;
    let payouts = exported(&app, &admin, &finance).await;
    for _ in 0..2 {
        answered(&finance, &payouts["shop-w"], json!({"answer": "paid", "reference": "slip 1"})).await;
    }
    let payout = text(&payouts["shop-w"], "id");
    app.receiver.kinds_become(payout, &["payout.paid"], PAID).await;
    let told = &app.receiver.of(payout)[0].data;
    let own = shop.get(&format!("/v1/payouts/{payout}")).await.body;
    assert_eq!(told, &with(own, json!({"sequence": 2})), "as it is asked for");
    assert_eq!(told["amount"], settlement["net"]);
    answered(&finance, &payouts["shop-w"], json!({"answer": "returned", "reason": "closed"})).await;
    app.receiver.kinds_become(payout, &["payout.paid", "payout.returned"], PAID).await;
    assert_eq!(app.receiver.kinds(settled), ["settlement.closed"]);
    app.finish().await;
}

/// The bank account holds nothing by our books: nothing may leave it.
#[actix_web::test]
async fn an_export_without_cover_is_refused() {
    let app = app::start_with(Kind::Sqlite, SETTINGS).await;
    let a = app.client();
    let (admin, finance) = (a.with_key(ADMIN), a.with_key(FINANCE));
    paid(&a, ("simpay", "qr"), "200.00", Value::Null).await;
    closed(&finance).await;
    with_details(&admin, &finance, "platform-a").await;
    let made = admin.post("/v1/operator/payouts", &json!({"currency": "CNY"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let payout = made.body["data"][0].clone();
    let path = format!("/v1/operator/payouts/{}", text(&payout, "id"));
    let viewer = app.client_b();
    assert_eq!(viewer.post(&format!("{path}/approve"), &Value::Null).await.status, 401);
    assert_eq!(finance.post(&format!("{path}/approve"), &Value::Null).await.status, 200);
    let export = json!({"currency": "CNY"});
    finance.post("/v1/operator/payout_files", &export).await.problem(409, "cover_missing");
    let early = json!({"answer": "paid"});
    finance.post(&format!("{path}/answer"), &early).await.problem(409, "payout_state");
    let taken_back = finance.post(&format!("{path}/cancel"), &json!({"reason": "no cover"})).await;
    assert_eq!((taken_back.status, &taken_back.body["state"]), (200, &json!("cancelled")), "{}", taken_back.text);
    finance.post("/v1/operator/payout_files", &export).await.problem(409, "nothing_to_pay");
    let balance = a.get("/v1/balance").await;
    assert_eq!(balance.body["data"][0]["settled"], "200.00", "{}", balance.text);
    app.finish().await;
}
