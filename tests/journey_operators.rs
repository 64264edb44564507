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
    assert!(third.contains("name your own key"), "a third one is proposed: {third}");

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

/// A site outside the sandbox with two admins, a finance person and a viewer, each with a key.
struct Staff {
    site: Site,
    server: Process,
    keys: [(&'static str, String); 4],
}

impl Staff {
    /// The third and the fourth are proposed by one admin and approved by the other.
    async fn of(kind: Kind, settings: &str) -> Self {
        let mut site = Site::new(kind, &format!("{LIVE}{settings}"));
        site.public_url = "https://pay.example".into();
        let mut server = up(&site).await;
        let mut keys = Vec::new();
        for name in ["li", "wang"] {
            keys.push((name, key_in(&said(&site, None, &["operator", "add", name, "--role", "admin"]).await.unwrap())));
        }
        for (name, role) in [("chen", "finance"), ("zhao", "viewer")] {
            let shown = said(&site, Some(&keys[0].1), &["operator", "add", name, "--role", role]).await.unwrap();
            let (key, proposal) = (key_in(&shown), id_in(&shown));
            let early = Client::new(site.url(), &key).get("/v1/operator/acts").await;
            early.problem(401, "unauthenticated");
            let own = said(&site, Some(&keys[0].1), &["operator", "approve", &proposal]).await.unwrap_err();
            assert!(own.contains("second_operator_required"), "{own}");
            let done = said(&site, Some(&keys[1].1), &["operator", "approve", &proposal]).await.unwrap();
            assert!(done.contains("done"), "{done}");
            keys.push((name, key));
        }
        assert!(server.ended().is_none());
        Staff { site, server, keys: keys.try_into().expect("four") }
    }

    fn client(&self, name: &str) -> Client {
        let key = self.keys.iter().find(|(known, _)| *known == name).map(|(_, key)| key);
        Client::new(self.site.url(), key.expect("one of the staff"))
    }

    async fn finish(mut self) {
        self.server.stop().await;
        said(&self.site, None, &["audit"]).await.expect("the books agree");
    }
}

fn id_in(said: &str) -> String {
    said.split_whitespace().find(|word| word.starts_with("prp_")).expect("an id is shown").to_owned()
}

fn lines(amounts: &[(&str, &str)]) -> Value {
    let line = |(account, amount): &(&str, &str)| json!({ "account": account, "amount": amount });
    let lines: Vec<Value> = amounts.iter().map(line).collect();
    json!({ "act": { "type": "adjust", "currency": "CNY", "lines": lines }, "reason": "slip 4711" })
}

const PROPOSALS: &str = "/v1/operator/proposals";

async fn decide(operator: &Client, id: &str, verdict: &str) -> Answer {
    operator.post(&format!("{PROPOSALS}/{id}/{verdict}"), &Value::Null).await
}

/// What moves money takes two persons, and both stand in the journal.
async fn four_eyes(kind: Kind) {
    let staff = Staff::of(kind, "").await;
    let [li, wang, chen, zhao] = ["li", "wang", "chen", "zhao"].map(|name| staff.client(name));
    let good = lines(&[("bank:main", "200.00"), ("equity", "-200.00")]);
    let proposed = chen.post(PROPOSALS, &good).await;
    assert_eq!((proposed.status, &proposed.body["state"]), (201, &json!("open")), "{}", proposed.text);
    let booked = &proposed.body["books"][0];
    assert_eq!((&booked["kind"], &booked["lines"]), (&json!("adjustment"), &good["act"]["lines"]));
    let id = text(&proposed.body, "id").to_owned();
    decide(&chen, &id, "approve").await.problem(403, "second_operator_required");
    // Another key is no other person.
    let second = said(&staff.site, Some(&staff.keys[2].1), &["operator", "add-key"]).await.unwrap();
    decide(&chen.with_key(&key_in(&second)), &id, "approve").await.problem(403, "second_operator_required");
    decide(&zhao, &id, "approve").await.problem(403, "forbidden_role");
    decide(&li, "prp_01K0000000000000000000000A", "approve").await.problem(404, "not_found");
    // Of two at once one wins.
    let (one, other) = futures_util::future::join(decide(&li, &id, "approve"), decide(&wang, &id, "approve")).await;
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", one.text, other.text);
    let (won, lost) = if one.status == 200 { (one, other) } else { (other, one) };
    lost.problem(409, "proposal_ended");
    decide(&li, &id, "reject").await.problem(409, "proposal_ended");
    assert_eq!((&won.body["state"], &won.body["proposed_by"]), (&json!("done"), &json!("chen")));
    let approver = text(&won.body, "decided_by").to_owned();
    assert!(["li", "wang"].contains(&&*approver));

    // By the command line, to the ledger.
    let ask = ["adjust", "--currency", "CNY", "--line", "bank:main=-20.00", "--reason", "slip 4712"];
    let unbalanced = said(&staff.site, Some(&staff.keys[2].1), &ask).await.unwrap_err();
    assert!(unbalanced.contains("-20.00 CNY instead of zero"), "{unbalanced}");
    let ask = [&ask[..], &["--line", "bank_cost=20.00"]].concat();
    let dry = said(&staff.site, None, &[&ask[..], &["--dry-run"]].concat()).await.unwrap();
    assert!(dry.contains("nothing was proposed"), "{dry}");
    let shown = said(&staff.site, Some(&staff.keys[2].1), &ask).await.unwrap();
    said(&staff.site, Some(&staff.keys[0].1), &["operator", "approve", &id_in(&shown)]).await.unwrap();
    let ledger = said(&staff.site, None, &["ledger"]).await.unwrap();
    for word in ["180.00", "-200.00", "20.00", "bank_cost"] {
        assert!(ledger.contains(word), "{word}: {ledger}");
    }

    // A role; and what has changed since it was proposed is not approved.
    let role = |role: &str| json!({ "act": { "type": "change_role", "name": "zhao", "role": role }, "reason": "new" });
    let (first, second) = (li.post(PROPOSALS, &role("risk")).await, wang.post(PROPOSALS, &role("support")).await);
    decide(&chen, text(&first.body, "id"), "approve").await.problem(403, "forbidden_role");
    assert_eq!(decide(&wang, text(&first.body, "id"), "approve").await.body["state"], "done");
    decide(&li, text(&second.body, "id"), "approve").await.problem(409, "proposal_outdated");
    let outdated = li.get(&format!("{PROPOSALS}/{}", text(&second.body, "id"))).await.body;
    assert_eq!((&outdated["state"], &outdated["why"]), (&json!("refused"), &json!("proposal_outdated")));
    let listed = li.get("/v1/operator/operators").await.body;
    assert_eq!(listed["data"][3]["role"], "risk");

    let taken_back = chen.post(PROPOSALS, &good).await;
    assert_eq!(decide(&chen, text(&taken_back.body, "id"), "reject").await.body["state"], "rejected");
    let open = li.get(&format!("{PROPOSALS}?state=open")).await.body;
    assert_eq!(open["data"], json!([]));
    let page = li.get(&format!("{PROPOSALS}?limit=1")).await.body;
    let next = li.get(&format!("{PROPOSALS}?limit=100&cursor={}", text(&page, "next_cursor"))).await.body;
    assert_eq!(next["data"].as_array().map(Vec::len), Some(6), "{next}");

    let refused = ["second_operator_required", "forbidden_role", "proposal_ended", "proposal_outdated"];
    eventually("the refusals are listed", seconds(5), || async {
        let listed = acts(&li).await;
        refused.iter().all(|code| listed.iter().any(|row| row.3 == **code)).then_some(())
    })
    .await;
    let listed = acts(&li).await;
    let has = |who: &str, act: &str| {
        let subject = format!("{id} adjust");
        listed.iter().any(|row| row.0 == who && row.1 == act && row.2 == subject && row.3 == "done")
    };
    assert!(has("chen", "proposed") && has(&approver, "proposal_approved"), "{listed:?}");
    staff.finish().await;
}

#[actix_web::test]
async fn four_eyes_on_sqlite() {
    four_eyes(Kind::Sqlite).await;
}

#[actix_web::test]
async fn four_eyes_on_postgres() {
    four_eyes(Kind::Postgres).await;
}

/// What cannot be booked is not even proposed.
#[actix_web::test]
async fn an_adjustment_is_looked_over_when_it_is_proposed() {
    let app = app::start().await;
    let operator = app.client().with_key(ADMIN);
    let table = [
        (lines(&[("bank:main", "1.00"), ("equity", "-0.99")]), "entry_unbalanced"),
        (lines(&[]), "entry_unbalanced"),
        (lines(&[("bank:main", "1.00"), ("nowhere", "-1.00")]), "ledger_account_unknown"),
        (lines(&[("bank:main", "1.00"), ("platform:nobody", "-1.00")]), "platform_unknown"),
        (lines(&[("bank:main", "1.00"), ("platform:1", "-1.00")]), "platform_unknown"),
        (lines(&[("bank:main", "1.00"), ("settlement:platform-a", "-1.00")]), "ledger_account_fixed"),
        (lines(&[("payout:main", "1.00"), ("equity", "-1.00")]), "ledger_account_fixed"),
        (lines(&[("bank:main", "1.001"), ("equity", "-1.00")]), "amount_invalid"),
        (lines(&[("bank:main", "9999999999999999.00"), ("equity", "-9999999999999999.00")]), "amount_invalid"),
        (lines(&[("bank:main", "0.00"), ("equity", "1.00")]), "amount_invalid"),
        (lines(&[("equity", "1.00"); 21]), "field_invalid"),
        (json!({ "act": { "type": "burn" }, "reason": "why" }), "act_unknown"),
        (json!({ "act": "adjust", "reason": "why" }), "act_unknown"),
        (json!({ "reason": "why" }), "act_unknown"),
    ];
    for (body, code) in table {
        operator.post(PROPOSALS, &body).await.problem(422, code);
    }
    let mut body = lines(&[("bank:main", "1.00"), ("equity", "-1.00")]);
    body["reason"] = json!("");
    operator.post(PROPOSALS, &body).await.problem(422, "reason_invalid");
    body["act"]["currency"] = json!("XXQ");
    operator.post(PROPOSALS, &body).await.problem(422, "currency_unknown");
    body["act"]["lime"] = json!(1);
    operator.post(PROPOSALS, &body).await.problem(422, "field_unknown");
    // A platform's line is a transaction of its own.
    let good = lines(&[("platform:platform-a", "-5.00"), ("equity", "5.00")]);
    assert_eq!(operator.post(PROPOSALS, &good).await.status, 201);
    app.approve_all().await;
    let transactions = app.client().get("/v1/balance_transactions").await.body;
    let first = &transactions["data"][0];
    assert_eq!((&first["type"], &first["amount"]), (&json!("adjustment"), &json!("5.00")), "{transactions}");
    let away = Site::new(Kind::Sqlite, "");
    let output = away.run(&["operator", "list"]).await;
    assert_eq!(output.status.code(), Some(75), "{}", String::from_utf8_lossy(&output.stderr));
    let mut app = app;
    app.server.stop().await;
    said(&app.site, None, &["audit", "--no-gateway"]).await.expect("the books agree");
}

#[actix_web::test]
async fn after_its_time_nobody_approves() {
    let app = app::start_with(Kind::Sqlite, "[operators]\nproposal_lapses_ms = 700\n").await;
    let (admin, finance) = (app.client().with_key(ADMIN), app.client().with_key(FINANCE));
    let proposed = admin.post(PROPOSALS, &lines(&[("bank:main", "1.00"), ("equity", "-1.00")])).await;
    let id = text(&proposed.body, "id");
    eventually("it lapses by itself", seconds(10), || async {
        (admin.get(&format!("{PROPOSALS}/{id}")).await.body["state"] == "lapsed").then_some(())
    })
    .await;
    decide(&finance, id, "approve").await.problem(409, "proposal_lapsed");
    decide(&finance, id, "reject").await.problem(409, "proposal_lapsed");
    app.finish().await;
}

/// What was approved is done, once, whatever happens to the server in between.
async fn a_kill_after_the_approval(kind: Kind) {
    let site = Site::new(kind, "[gateway]\nembedded = false\n");
    let mut app = app::App::start_beside_gateway(site).await;
    let (admin, finance) = (app.client().with_key(ADMIN), app.client().with_key(FINANCE));
    for round in 0..6u64 {
        let order = app.client().create(&an_order("sim:never")).await.order(201);
        let id = text(&order, "id").to_owned();
        let resolution = json!({ "attempt": 1, "finding": "paid", "reference": format!("SP-{round}"),
            "amount": "200.60", "evidence": "statement 7" });
        let proposed = admin.post(&format!("/v1/operator/orders/{id}/resolve"), &resolution).await;
        assert_eq!(proposed.status, 202, "{}", proposed.text);
        let proposal = text(&proposed.body, "id").to_owned();
        let path = format!("{PROPOSALS}/{proposal}/approve");
        let approval = finance.try_send(finance.request(Method::POST, &path));
        let kill = async {
            tokio::time::sleep(std::time::Duration::from_millis(round)).await;
            app.server.kill().await;
        };
        let (answer, ()) = futures_util::future::join(approval, kill).await;
        app.restart();
        app.ready().await;
        let state = eventually("it is decided", seconds(20), || async {
            let state = admin.get(&format!("{PROPOSALS}/{proposal}")).await.body["state"].clone();
            (state == "done" || state == "open").then_some(state)
        })
        .await;
        assert!(answer.is_err() || state == "done", "what was answered is durable");
        if state == "open" {
            assert_eq!(decide(&finance, &proposal, "approve").await.body["state"], "done");
        }
        let order = app.client().order(&id).await;
        assert_eq!(order["state"], "succeeded");
        let journal = app.client().get(&format!("/v1/orders/{id}/events")).await.body.to_string();
        assert_eq!(journal.matches("operator_resolved").count(), 1, "{journal}");
    }
    app.server.stop().await;
    said(&app.site, None, &["audit", "--no-gateway"]).await.expect("the books agree");
}

#[actix_web::test]
async fn a_kill_after_the_approval_on_sqlite() {
    a_kill_after_the_approval(Kind::Sqlite).await;
}

#[actix_web::test]
async fn a_kill_after_the_approval_on_postgres() {
    a_kill_after_the_approval(Kind::Postgres).await;
}
