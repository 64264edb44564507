//! Settlements as platforms and operators see them: a cycle that is closed early, its figures to the fen, and statements
//! that add up in each format.

mod support;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use support::app::{self, App};
use support::client::{Client, an_order, text, with};
use support::process::Kind;
use support::{eventually, seconds, unique};

const FINANCE: &str = "ok_sandbox_2";
const LOOK_OFTEN: &str = "[settlement]\nlook_ms = 1000\n";

async fn paid(client: &Client, amount: &str, splits: Value) -> Value {
    let fields = json!({"channel": "simpay", "method": "qr", "amount": amount, "splits": splits});
    let order = client.create(&with(an_order("a book"), fields)).await.order(201);
    client.reaches(text(&order, "id"), "succeeded", seconds(20)).await
}

async fn refunded(client: &Client, order: &Value, amount: &str) {
    let path = format!("/v1/orders/{}/refunds", text(order, "id"));
    let asked = client.post(&path, &json!({"merchant_refund_id": unique("r"), "amount": amount})).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    let path = format!("/v1/refunds/{}", text(&asked.body, "id"));
    let done = || async { (client.get(&path).await.body["state"] == "succeeded").then_some(()) };
    eventually("a refund succeeds", seconds(20), done).await;
}

async fn settlements(client: &Client, query: &str) -> Vec<Value> {
    let page = client.get(&format!("/v1/settlements{query}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    page.body["data"].as_array().expect("a list").clone()
}

/// The calendar of CNY, once it has begun.
async fn calendar(operator: &Client) -> Value {
    eventually("the calendar begins", seconds(20), || async {
        let page = operator.get("/v1/operator/calendars").await;
        assert_eq!(page.status, 200, "{}", page.text);
        let found = page.body["data"].as_array()?.iter().find(|calendar| calendar["currency"] == "CNY").cloned()?;
        (!found["open"].is_null() && found["closing"].is_null()).then_some(found)
    })
    .await
}

/// Closes the open cycle and waits until it is settled; its number.
async fn closed(operator: &Client) -> u64 {
    let before = calendar(operator).await;
    let number = before["open"]["number"].as_u64().expect("a number");
    let path = format!("/v1/operator/calendars/{}/close", before["id"]);
    operator.post(&path, &json!({"number": number + 1})).await.problem(409, "cycle_out_of_order");
    let asked = operator.post(&path, &json!({"number": number})).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    let after = calendar(operator).await;
    assert_eq!(after["open"]["number"], number + 1);
    operator.post(&path, &json!({"number": number})).await.problem(409, "cycle_closed");
    number
}

fn amount(value: &Value, field: &str) -> Decimal {
    text(value, field).parse().expect("an amount")
}

/// A statement has all lines of the settlement and nothing else, in each format, and is the same when asked again.
async fn statement_adds_up(client: &Client, settlement: &Value) {
    let path = format!("/v1/settlements/{}/statement", text(settlement, "id"));
    let own = amount(settlement, "net") - amount(settlement, "brought_forward");
    let answer = client.get(&path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let lines = answer.body["lines"].as_array().expect("lines").clone();
    let sum: Decimal = lines.iter().filter(|line| line["position"] == false).map(|line| amount(line, "amount")).sum();
    assert_eq!((sum, amount(&answer.body["sum"], "amount")), (own, own), "{}", answer.text);
    assert_eq!(answer.body["sum"]["lines"], lines.len());
    assert_eq!(answer.body["settlement"]["gross"], settlement["gross"]);
    assert!(lines.iter().all(|line| line["settlement"] == settlement["id"]), "{}", answer.text);
    assert_eq!(client.get(&path).await.text, answer.text, "the same bytes when asked again");

    let listed = client.get(&format!("/v1/balance_transactions?limit=100&settlement={}", text(settlement, "id"))).await;
    let mut listed: Vec<Value> = listed.body["data"].as_array().expect("a list").clone();
    let mut stated = lines.clone();
    listed.sort_by_key(|line| text(line, "id").to_owned());
    stated.sort_by_key(|line| text(line, "id").to_owned());
    assert_eq!(listed, stated);

    let csv = client.get(&format!("{path}?format=csv")).await;
    let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    let sum_of = |record: &str| -> Decimal {
        let rows = rows.iter().filter(|row| &row[0] == record && &row[5] != "true" && &row[1] != "position");
        rows.map(|row| row[2].parse::<Decimal>().expect("an amount")).sum()
    };
    assert_eq!((sum_of("line"), sum_of("sum")), (own, own), "{}", csv.text);
    assert_eq!(rows.iter().filter(|row| &row[0] == "line").count(), lines.len());

    let page = client.get(&format!("{path}?format=html&lang=zh")).await;
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(page.text.contains("结算单") && page.text.ends_with("</html>\n"), "{}", page.text);
    assert!(page.text.contains(&format!("合计 {} 笔", lines.len())), "{}", page.text);
    client.get(&format!("{path}?format=pdf")).await.problem(422, "field_invalid");
}

async fn a_cycle_is_closed_early(app: &App) {
    let (a, b) = (app.client(), app.client_b());
    let operator = a.with_key(FINANCE);
    let said = app.site.run(&["platform", "accept-shares", "platform-b", "--from", "platform-a"]).await;
    assert!(said.status.success(), "{said:?}");

    let first = paid(&a, "200.00", json!([{"to": "platform-b", "rate": "0.10"}])).await;
    paid(&b, "50.00", Value::Null).await;
    calendar(&operator).await;
    let open = settlements(&a, "").await;
    assert_eq!((open.len(), text(&open[0], "state"), text(&open[0], "net")), (1, "open", "180.00"), "{open:?}");
    let id = text(&open[0], "id").to_owned();
    a.get(&format!("/v1/settlements/{id}/statement")).await.problem(409, "settlement_open");

    assert_eq!(closed(&operator).await, 1);
    let of_a = a.get(&format!("/v1/settlements/{id}")).await.body;
    let figures = ["state", "gross", "shares_out", "refunds", "brought_forward", "net", "carried_forward"];
    assert_eq!(
        figures.map(|field| text(&of_a, field)),
        ["closed", "200.00", "-20.00", "0.00", "0.00", "180.00", "0.00"],
        "{of_a}"
    );
    assert_eq!((&of_a["payout"], &of_a["number"]), (&Value::Null, &json!(1)));
    assert!(!of_a["covers"].as_array().expect("covers").is_empty());
    statement_adds_up(&a, &of_a).await;
    let of_b = settlements(&b, "?state=closed&currency=CNY").await.remove(0);
    assert_eq!(["gross", "shares_in", "net"].map(|field| text(&of_b, field)), ["50.00", "20.00", "70.00"]);
    statement_adds_up(&b, &of_b).await;

    // What comes after the cut is of the next cycle; the closed one does not change. Half of 200.60 goes back: of 180.00,
    // 20.00 and the fee, half each.
    refunded(&a, &first, "100.30").await;
    let listed = settlements(&a, "").await;
    assert_eq!(listed.iter().map(|one| text(one, "state")).collect::<Vec<_>>(), ["open", "closed"]);
    assert_eq!(listed[1], of_a);
    assert_eq!(["brought_forward", "net"].map(|field| text(&listed[0], field)), ["180.00", "90.00"], "{listed:?}");
    let first_page = a.get("/v1/settlements?limit=1").await.body;
    assert_eq!(first_page["data"][0], listed[0]);
    let next = settlements(&a, &format!("?limit=1&cursor={}", text(&first_page, "next_cursor"))).await;
    assert_eq!(next, std::slice::from_ref(&of_a));
    assert_eq!(closed(&operator).await, 2);
    let second = settlements(&a, "").await.remove(0);
    assert_eq!((text(&second, "net"), &second["number"]), ("90.00", &json!(2)));
    statement_adds_up(&a, &second).await;
    statement_adds_up(&a, &of_a).await;

    // Another's is not there, and neither is what is no id.
    for missing in [id.as_str(), "set_1", "set_000000010000000100000001"] {
        b.get(&format!("/v1/settlements/{missing}")).await.problem(404, "not_found");
        b.get(&format!("/v1/settlements/{missing}/statement")).await.problem(404, "not_found");
    }
    a.get("/v1/settlements?state=paid").await.problem(422, "state_unknown");
    operator.post("/v1/operator/calendars/99/close", &json!({"number": 1})).await.problem(404, "not_found");
    let id = calendar(&operator).await["id"].clone();
    let path = format!("/v1/operator/calendars/{id}/reschedule");
    operator.post(&path, &json!({"schedule": "hourly"})).await.problem(422, "field_invalid");
    let changed = operator.post(&path, &json!({"schedule": "weekly mon 02:00 Asia/Shanghai"})).await;
    assert_eq!((changed.status, text(&changed.body, "schedule")), (200, "weekly mon 02:00 Asia/Shanghai"));
}

#[actix_web::test]
async fn a_cycle_is_closed_early_on_sqlite() {
    let app = app::start_with(Kind::Sqlite, LOOK_OFTEN).await;
    a_cycle_is_closed_early(&app).await;
    app.finish().await;
}

#[actix_web::test]
async fn a_cycle_is_closed_early_on_postgresql_in_two_lanes() {
    let app = app::start_with(Kind::Postgres, &format!("{LOOK_OFTEN}[store]\nlanes = 2\n")).await;
    a_cycle_is_closed_early(&app).await;
    app.finish().await;
}

/// What a command says as JSON.
async fn said(app: &App, arguments: &[&str]) -> Value {
    let output = app.site.run(arguments).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
}

fn nets(page: &Value) -> Vec<(&str, &str, &str)> {
    let rows = page["data"].as_array().expect("a list").iter();
    rows.map(|row| (text(row, "platform"), text(row, "state"), text(row, "net"))).collect()
}

/// A platform that is new joins a weekly calendar at once; one with money of the open cycle leaves with its end.
async fn daily_and_weekly_platforms_stand_side_by_side(kind: Kind) {
    let app = app::start_with(kind, LOOK_OFTEN).await;
    let (a, b) = (app.client(), app.client_b());
    let operator = a.with_key(FINANCE);
    let made = ["settle", "create", "weekly", "--currency", "CNY", "--schedule", "weekly mon 00:00 Europe/Berlin"];
    let weekly = said(&app, &[&made[..], &["--json"]].concat()).await["id"].to_string();
    let join = |platform: &'static str| vec!["settle", "join", &*weekly, "--platform", platform, "--json"];
    assert_eq!(said(&app, &join("platform-b")).await["from"], "now");
    paid(&a, "10.00", Value::Null).await;
    paid(&b, "20.00", Value::Null).await;
    assert_eq!(said(&app, &join("platform-a")).await["from"], "next_cycle");
    let daily = calendar(&operator).await["id"].to_string();
    paid(&a, "1.00", Value::Null).await;

    let dry = said(&app, &["settle", "close", &daily, "--dry-run", "--json"]).await;
    assert_eq!(nets(&dry), [("platform-a", "open", "11.00")], "{dry}");
    let closed = said(&app, &["settle", "close", &daily, "--json"]).await;
    assert_eq!(nets(&closed), [("platform-a", "closed", "11.00")], "{closed}");
    let again = app.site.run(&["settle", "close", &daily, "--cycle", "1"]).await;
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("cycle_closed"), "{again:?}");

    // From here on both are weekly.
    paid(&a, "2.00", Value::Null).await;
    let closed = said(&app, &["settle", "close", &daily, "--json"]).await;
    assert_eq!(nets(&closed), [], "{closed}");
    let closed = said(&app, &["settle", "close", &weekly, "--json"]).await;
    assert_eq!(nets(&closed), [("platform-a", "closed", "13.00"), ("platform-b", "closed", "20.00")], "{closed}");
    let of_a = settlements(&a, "?state=carried").await;
    assert_eq!(of_a.iter().map(|one| text(one, "net")).collect::<Vec<_>>(), ["11.00"], "it is in the weekly one");
    for client in [&a, &b] {
        let newest = settlements(client, "?state=closed").await.remove(0);
        statement_adds_up(client, &newest).await;
    }
    app.finish().await;
}

#[actix_web::test]
async fn daily_and_weekly_platforms_stand_side_by_side_on_sqlite() {
    daily_and_weekly_platforms_stand_side_by_side(Kind::Sqlite).await;
}

#[actix_web::test]
async fn daily_and_weekly_platforms_stand_side_by_side_on_postgresql() {
    daily_and_weekly_platforms_stand_side_by_side(Kind::Postgres).await;
}
