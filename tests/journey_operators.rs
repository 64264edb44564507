//! Operators are persons: who may come, what each may, and what is written of it.

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::client::{Answer, Client, an_order, text};
use support::process::{Kind, Process, Site};
use support::{app, eventually, seconds};

const ADMIN: &str = "ok_sandbox";
const FINANCE: &str = "ok_sandbox_2";
const LIVE: &str = "sandbox = false\n[channels]\nsimpay.enabled = false\nwechat.enabled = false\nalipay.enabled = false\n\
    unionpay.enabled = false\nstripe.enabled = false\n";

async fn said(site: &Site, key: Option<&str>, arguments: &[&str]) -> Result<String, String> {
    let mut command = site.command(arguments);
    if let Some(key) = key {
        command.env("TONGBAO_OPERATOR_KEY", key);
    }
    let output = command.output().await.expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn key_in(said: &str) -> String {
    said.split_whitespace().find(|word| word.starts_with("ok_")).expect("a key is shown").to_owned()
}

async fn up(site: &Site) -> Process {
    let server = site.start(&["serve"]);
    let client = Client::new(site.url(), "");
    let probe = || async { client.try_send(client.request(Method::GET, "/readyz")).await.ok() };
    eventually("the server answers", seconds(20), probe).await;
    server
}

async fn acts(operator: &Client) -> Vec<(String, String, String, String)> {
    let page = operator.get("/v1/operator/acts?limit=100").await;
    assert_eq!(page.status, 200, "{}", page.text);
    let act = |act: &Value| {
        let [operator, name, subject, outcome] =
            ["operator", "act", "subject", "outcome"].map(|field| text(act, field).to_owned());
        (operator, name, subject, outcome)
    };
    page.body["data"].as_array().expect("a list").iter().map(act).collect()
}

/// The first two admins are added on the server's machine, whether it runs or not, and nobody else there.
async fn admins_begin_on_the_servers_machine(kind: Kind) {
    let mut site = Site::new(kind, LIVE);
    site.public_url = "https://pay.example".into();
    let shown = said(&site, None, &["operator", "add", "li", "--role", "admin", "--expires", "90d"]).await.unwrap();
    let li = key_in(&shown);
    let mut server = up(&site).await;
    let operator = Client::new(site.url(), &li);
    let list = "/v1/operator/operators";
    assert_eq!(operator.get(list).await.body["data"][0]["name"], "li");
    let stranger = operator.with_key(ADMIN);
    stranger.get(list).await.problem(401, "unauthenticated");

    let taken = said(&site, None, &["operator", "add", "li", "--role", "admin"]).await.unwrap_err();
    assert!(taken.contains("there is an operator li already"), "{taken}");
    let wang = key_in(&said(&site, None, &["operator", "add", "wang", "--role", "admin"]).await.unwrap());
    let third = said(&site, None, &["operator", "add", "zhao", "--role", "admin"]).await.unwrap_err();
    assert!(third.contains("two admins are in force"), "{third}");

    // A further key of one's own; the first one goes, and with it whoever holds it.
    let second = key_in(&said(&site, Some(&wang), &["operator", "add-key", "--expires", "12h"]).await.unwrap());
    let listed = said(&site, Some(&second), &["operator", "list"]).await.unwrap();
    assert!(listed.contains(&second[..12]) && !listed.contains(&second), "{listed}");
    said(&site, Some(&li), &["operator", "revoke", "wang", "--hint", &wang[..12]]).await.unwrap();
    operator.with_key(&wang).get(list).await.problem(401, "unauthenticated");
    assert_eq!(operator.with_key(&second).get(list).await.status, 200);
    let again = said(&site, Some(&li), &["operator", "revoke", "wang", "--hint", &wang[..12]]).await.unwrap_err();
    assert!(again.contains("change_refused"), "{again}");
    said(&site, None, &["operator", "list"]).await.expect_err("outside the sandbox a key is shown");

    // Whoever has lost all keys does not keep the others from having a second admin.
    said(&site, Some(&li), &["operator", "revoke", "wang"]).await.unwrap();
    said(&site, None, &["operator", "add", "zhao", "--role", "admin"]).await.unwrap();

    let wanted = [
        ("command line", "operator_added", "li", "done"),
        ("command line", "operator_added", "wang", "done"),
        ("wang", "key_added", &second[..12], "done"),
        ("li", "keys_revoked", "wang", "done"),
        ("li", "keys_revoked", "wang", "change_refused"),
        ("unknown", "request", "GET /v1/operator/operators", "unauthenticated"),
    ];
    eventually("what they did is listed", seconds(5), || async {
        let listed = acts(&operator).await;
        let has = |(operator, act, subject, outcome): &(&str, &str, &str, &str)| {
            listed.iter().any(|row| (&*row.0, &*row.1, &*row.2, &*row.3) == (*operator, *act, *subject, *outcome))
        };
        wanted.iter().all(has).then_some(())
    })
    .await;
    server.stop().await;
    said(&site, None, &["audit"]).await.expect("operators follow from their journals");
}

#[actix_web::test]
async fn admins_begin_on_the_servers_machine_on_sqlite() {
    admins_begin_on_the_servers_machine(Kind::Sqlite).await;
}

#[actix_web::test]
async fn admins_begin_on_the_servers_machine_on_postgres() {
    admins_begin_on_the_servers_machine(Kind::Postgres).await;
}

/// A role that may not is told who may, and both the refusal and the act are on the list.
#[actix_web::test]
async fn a_role_may_what_it_may() {
    let app = app::start().await;
    let (admin, finance) = (app.client().with_key(ADMIN), app.client().with_key(FINANCE));
    let order = app.client().create(&an_order("sim:never")).await.order(201);
    let id = text(&order, "id");
    let retry = &format!("/v1/operator/quarantine/{id}/retry");
    let refused: Answer = finance.post(retry, &json!({})).await;
    refused.problem(403, "forbidden_role");
    assert!(text(&refused.body, "detail").contains("support, operator, admin"), "{}", refused.text);
    admin.post(retry, &json!({})).await.problem(404, "not_found");
    let revoke = "/v1/operator/operators/demo-admin/revoke";
    finance.post(revoke, &json!({})).await.problem(403, "forbidden_role");
    app.client().get("/v1/operator/acts").await.problem(401, "unauthenticated");
    app.client().anonymous().get("/v1/operator/acts").await.problem(401, "unauthenticated");
    app.client().cancel(id).await.order(200);
    eventually("the refusals are listed", seconds(5), || async {
        let listed = acts(&finance).await;
        let refusals = [
            ("demo-finance", format!("POST {retry}"), "forbidden_role"),
            ("demo-finance", format!("POST {revoke}"), "forbidden_role"),
            ("demo-admin", id.to_owned(), "not_found"),
        ];
        let has = |(operator, subject, outcome): &(&str, String, &str)| {
            listed.iter().any(|row| (&*row.0, &*row.2, &*row.3) == (*operator, subject, *outcome))
        };
        refusals.iter().all(has).then_some(())
    })
    .await;
    app.finish().await;
}

/// Whoever guesses keys does not fill the store.
#[actix_web::test]
async fn a_storm_of_refusals_is_counted_and_not_written() {
    let app = app::start().await;
    let stranger = app.client().with_key("ok_guess");
    for _ in 0..90 {
        let answer = stranger.get("/v1/operator/acts").await;
        assert!([401, 429].contains(&answer.status), "{}", answer.text);
    }
    let unwritten = app.metric("tongbao_operator_refusals_unwritten_total", "").await;
    assert!(unwritten >= 25.0, "{unwritten}");
    let listed = acts(&app.client().with_key(ADMIN)).await;
    assert!(listed.len() <= 65, "{}", listed.len());
    app.finish().await;
}
