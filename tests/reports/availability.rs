//! What a broken or absent store means to those who wait.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::app::{self, App};
use crate::support::beside::Beside;
use crate::support::books::{self, Left};
use crate::support::client::{an_order, text, with};
use crate::support::gateway::Callback;
use crate::support::postgres::{self, Cluster};
use crate::support::process::{Kind, Site};
use crate::support::{eventually, seconds, unique};

const OPERATOR_KEY: &str = "ok_sandbox";

/// What an operator is shown of rows that cannot be read: table and row.
async fn unreadable(app: &App) -> Vec<(String, String)> {
    let answer = app.client().with_key(OPERATOR_KEY).get("/v1/operator/unreadable").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let rows = answer.body["data"].as_array().expect("rows").clone();
    rows.iter().map(|row| (text(row, "table").to_owned(), text(row, "row").to_owned())).collect()
}

async fn audit(app: &App) -> (bool, String) {
    let audit = app.site.run(&["audit", "--json", "--no-gateway"]).await;
    (audit.status.success(), String::from_utf8_lossy(&audit.stdout).into_owned())
}

/// Three rows, more than a page, that a look comes to before any other: two of a kind that nobody knows, one whose
/// platform is not there.
async fn one_unreadable_outbox_row_stops_no_others(kind: Kind) {
    let settings = "[webhooks]\nretry_ms = [200, 200, 200, 200, 200, 200, 200, 200, 86400000]\nbatch_max = 1\n";
    let app = app::start_with(kind, settings).await;
    let client = app.client();
    let noted = |description| with(an_order(description), json!({ "webhook_url": app.receiver.url("platform-a") }));
    let first = client.create(&noted("tea")).await.order(201);
    let first = text(&first, "id");
    app.receiver.kinds_become(first, &["order.succeeded"], seconds(15)).await;

    let mut beside = Beside::of(&app.site).await;
    let damaged = "INSERT INTO outbox (kind, id, sequence, webhook_kind, at, next_at, platform_id, url, trace, body)";
    let (nobody, trace, body) = match kind {
        Kind::Sqlite => ("x'00000000000000000000000000000001'", "zeroblob(16)", "x'7b7d'"),
        Kind::Postgres => {
            ("'00000000-0000-0000-0000-000000000001'", r"decode(repeat('00', 16), 'hex')", r"'\x7b7d'::bytea")
        }
    };
    let url = app.receiver.url("platform-a");
    for sequence in [98, 99] {
        let unknown = format!(
            "{damaged} SELECT 1, id, {sequence}, 'order.teleported', 0, 0, platform_id, '{url}', {trace}, {body} FROM orders"
        );
        beside.run(&unknown).await;
    }
    beside
        .run(&format!("{damaged} VALUES (1, {nobody}, 1, 'order.succeeded', 0, 0, 4711, '{url}', {trace}, {body})"))
        .await;

    // The first try fails; only a look through the outbox finds it again.
    app.receiver.refuse(1);
    let second = client.create(&noted("tea")).await.order(201);
    app.receiver.kinds_become(text(&second, "id"), &["order.succeeded"], seconds(15)).await;

    let rows = unreadable(&app).await;
    assert_eq!(rows.iter().filter(|(table, _)| table == "outbox").count(), 3, "{rows:?}");
    eventually("they are counted", seconds(10), || async {
        (app.metric("tongbao_rows_unreadable", "table=\"outbox\"").await == 3.0).then_some(())
    })
    .await;
    assert_eq!(app.metric("tongbao_rows_passed_over_total", "outbox").await, 3.0, "each is said once");
    let (well, said) = audit(&app).await;
    for row in ["webhook 98 of", "webhook 99 of", "webhook 1 of"] {
        assert!(!well && said.contains(row) && said.contains(first), "{row}: {said}");
    }
    beside.run("DELETE FROM outbox").await;
    beside.close().await;
    app.finish().await;
}

#[actix_web::test]
async fn report_one_unreadable_outbox_row_stops_no_others_on_sqlite() {
    one_unreadable_outbox_row_stops_no_others(Kind::Sqlite).await;
}

#[actix_web::test]
async fn report_one_unreadable_outbox_row_stops_no_others_on_postgres() {
    one_unreadable_outbox_row_stops_no_others(Kind::Postgres).await;
}

#[actix_web::test]
async fn report_one_unreadable_order_is_passed_over_by_lists() {
    let app = app::start().await;
    let client = app.client();
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..3 {
        let order = client.create(&an_order("sim:never")).await.order(201);
        client.cancel(text(&order, "id")).await.order(200);
        ids.insert(0, text(&order, "id").to_owned());
    }
    let mut beside = Beside::of(&app.site).await;
    let second = "(SELECT id FROM orders ORDER BY id LIMIT 1 OFFSET 1)";
    beside.run(&format!("UPDATE heads SET snapshot = '?' || snapshot WHERE id = {second}")).await;

    let shown = |page: &Value| -> Vec<String> {
        page["data"].as_array().expect("orders").iter().map(|order| text(order, "id").to_owned()).collect()
    };
    let list = client.get("/v1/orders").await;
    assert_eq!((list.status, shown(&list.body)), (200, vec![ids[0].clone(), ids[2].clone()]), "{}", list.text);
    // A page whose last order cannot be read leads on all the same.
    let page = client.get("/v1/orders?limit=2").await.body;
    assert_eq!(shown(&page), ids[..1]);
    let next = client.get(&format!("/v1/orders?limit=2&cursor={}", text(&page, "next_cursor"))).await.body;
    assert_eq!((shown(&next), &next["next_cursor"]), (ids[2..].to_vec(), &Value::Null));
    assert_eq!(unreadable(&app).await, [("orders".to_owned(), ids[1].clone())]);
    let (well, said) = audit(&app).await;
    assert!(!well && said.contains(&format!("order {} cannot be read", ids[1])), "{said}");
    beside.run("UPDATE heads SET snapshot = substr(snapshot, 2) WHERE snapshot LIKE '?%'").await;
    beside.close().await;
    app.finish().await;
}

/// One platform that cannot be read keeps no other from hearing.
#[actix_web::test]
async fn report_one_unreadable_platform_is_passed_over() {
    let mut app = app::start().await;
    app.server.stop().await;
    assert!(app.site.run(&["platform", "create", "shop"]).await.status.success());
    let mut beside = Beside::of(&app.site).await;
    let damage = "PRAGMA ignore_check_constraints = ON; UPDATE platforms SET fee_bearer = 'nobody' WHERE name = 'shop'";
    beside.run(damage).await;
    app.restart();
    app.ready().await;
    let noted = with(an_order("tea"), json!({ "webhook_url": app.receiver.url("platform-a") }));
    let order = app.client().create(&noted).await.order(201);
    app.receiver.kinds_become(text(&order, "id"), &["order.succeeded"], seconds(15)).await;
    let rows = unreadable(&app).await;
    assert!(matches!(rows.as_slice(), [(table, _)] if table == "platforms"), "{rows:?}");
    let listed = app.site.run(&["platform", "list"]).await;
    let said = String::from_utf8_lossy(&listed.stdout) + String::from_utf8_lossy(&listed.stderr);
    assert!(listed.status.success() && said.contains("platform-a") && said.contains("passed over"), "{said}");
    let (well, said) = audit(&app).await;
    assert!(!well && said.contains("fee bearer"), "{said}");
    beside.run("UPDATE platforms SET fee_bearer = 'payer' WHERE fee_bearer = 'nobody'").await;
    beside.close().await;
    app.finish().await;
}

async fn one_unknown_callback_is_kept_once(kind: Kind) {
    let app = app::start_with(kind, "").await;
    let client = app.client();
    let unknown = Callback::of(&app.site, &unique("SHOP"), 20_060);
    let body = unknown.body.to_string();
    for _ in 0..300 {
        assert_eq!(unknown.send_text(&client, &body).await.status, 200, "it is acknowledged each time");
    }
    let mut beside = Beside::of(&app.site).await;
    assert_eq!(beside.column::<Vec<u8>>("SELECT raw FROM inbox").await, [body.as_bytes()], "byte for byte");
    // The same in other bytes is the same; another payment is not.
    let sealed_anew = unknown.with("id", json!("another"));
    assert_eq!(sealed_anew.send(&client).await.status, 200);
    let other = sealed_anew.with("reference", json!("SPOTHER"));
    assert_eq!(other.send(&client).await.status, 200);
    beside.close().await;
    app.finish_with(Left { inbox: 2, ..Left::default() }).await;
}

#[actix_web::test]
async fn report_one_unknown_callback_300_times_is_one_inbox_row_on_sqlite() {
    one_unknown_callback_is_kept_once(Kind::Sqlite).await;
}

#[actix_web::test]
async fn report_one_unknown_callback_300_times_is_one_inbox_row_on_postgres() {
    one_unknown_callback_is_kept_once(Kind::Postgres).await;
}

#[actix_web::test]
async fn report_a_full_inbox_acknowledges_nothing_that_it_does_not_keep() {
    let app = app::start_with(Kind::Sqlite, "[orders]\ninbox_max = 1000\n").await;
    let client = app.client();
    let mut beside = Beside::of(&app.site).await;
    let fill = "INSERT INTO inbox (reason, channel, account, number, body, raw, digest, at) \
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) \
        SELECT 'order_unknown', 'simpay', 'default', 'SHOP', '{}', '{}', CAST(printf('%032d', i) AS BLOB), 0 FROM n";
    beside.run(&fill.replace("'{}'", "x'7b7d'")).await;
    let full = eventually("it is full", seconds(10), || async {
        let answer = Callback::of(&app.site, &unique("SHOP"), 1).send(&client).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    full.problem(503, "overloaded");
    beside.run("DELETE FROM inbox").await;
    eventually("there is room again", seconds(10), || async {
        let answer = Callback::of(&app.site, &unique("SHOP"), 1).send(&client).await;
        (answer.status == 200).then_some(())
    })
    .await;
    beside.close().await;
    app.finish_with(Left { inbox: 1, ..Left::default() }).await;
}

#[actix_web::test]
async fn report_unreadable_inbox_rows_are_counted_and_reported() {
    let mut app = app::start().await;
    let client = app.client();
    let order = client.create(&an_order("sim:never")).await.order(201);
    let id = text(&order, "id");
    app.server.stop().await;
    let mut beside = Beside::of(&app.site).await;
    // The first cannot be read as a row, the second as what a callback tells.
    for (digest, channel) in [("01", "pigeon"), ("02", "simpay")] {
        let digest = digest.repeat(32);
        beside
            .run(&format!(
                "INSERT INTO inbox (reason, channel, account, number, order_id, body, raw, digest, at) SELECT \
                 'order_quarantined', '{channel}', 'default', '?', id, x'3f', x'3f', x'{digest}', 0 FROM orders"
            ))
            .await;
    }
    app.restart();
    app.ready().await;
    eventually("both are reported", seconds(10), || async {
        let rows = unreadable(&app).await;
        (rows == [("inbox".to_owned(), "1".to_owned()), ("inbox".to_owned(), "2".to_owned())]).then_some(())
    })
    .await;
    eventually("and counted", seconds(10), || async {
        (app.metric("tongbao_rows_unreadable", "table=\"inbox\"").await == 2.0).then_some(())
    })
    .await;
    let (well, said) = audit(&app).await;
    assert!(!well && said.contains("callback 1 cannot be read") && said.contains("callback 2 cannot"), "{said}");
    assert_eq!(books::counts(&app.site).await["inbox"], 2, "they stay for a person");
    client.cancel(id).await.order(200);
    beside.run("DELETE FROM inbox").await;
    beside.close().await;
    app.finish().await;
}

async fn is_ready(app: &App) -> bool {
    app.client().anonymous().get("/readyz").await.status == 200
}

/// A page of an index is overwritten in the file. Writes fail by it, and no order is to blame.
#[actix_web::test]
async fn report_a_damaged_index_is_the_stores_fault() {
    let mut app = app::start().await;
    let client = app.client();
    let order = client.create(&an_order("sim:never")).await.order(201);
    let id = text(&order, "id").to_owned();
    client.cancel(&id).await.order(200);
    app.server.stop().await;
    let mut beside = Beside::of(&app.site).await;
    beside.run("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let root = "SELECT rootpage FROM sqlite_master WHERE name = 'orders_by_merchant_id'";
    let page = beside.column::<i64>(root).await[0];
    let size = beside.column::<i64>("SELECT page_size FROM pragma_page_size").await[0];
    beside.close().await;
    let file = std::fs::OpenOptions::new().write(true).open(app.site.store_file()).expect("the file is opened");
    let place = u64::try_from((page - 1) * size).expect("a place in the file");
    let garbage = vec![0xa5; usize::try_from(size).expect("a size")];
    std::os::unix::fs::FileExt::write_all_at(&file, &garbage, place).expect("the page is overwritten");
    drop(file);

    app.restart();
    app.ready().await;
    let refused = client.create(&an_order("tea")).await;
    refused.problem(503, "store_unavailable");
    assert!(!is_ready(&app).await, "who refuses every order is not ready");
    assert_eq!(app.metric("tongbao_store_broken", "").await, 1.0);
    assert!(app.metric("tongbao_store_refusals_total", "").await >= 1.0);
    assert_eq!(app.metric("tongbao_streams_quarantined", "").await, 0.0);
    assert_eq!(client.order(&id).await["state"], "failed", "what can be read is read");
    let (well, said) = audit(&app).await;
    assert!(!well && said.contains("the database finds"), "{said}");
    app.server.stop().await;
}

/// The server's own role loses a right that it needs, and gets it back.
#[actix_web::test]
async fn report_a_missing_right_is_the_stores_fault() {
    let url = postgres::shared().database();
    let role = unique("role").replace('-', "_");
    let mut above = Beside::Postgres(PgConnection::connect(&url).await.expect("the database is opened"));
    above.run(&format!("CREATE ROLE {role} LOGIN; GRANT CREATE ON SCHEMA public TO {role}")).await;
    let (user, place) = url.split_once('@').expect("a user");
    let scheme = user.split_once("//").expect("a scheme").0;
    let app = App::start(Site::at(Some(format!("{scheme}//{role}@{place}")), "")).await;
    let client = app.client();
    let order = client.create(&an_order("sim:never")).await.order(201);
    let id = text(&order, "id");

    above.run(&format!("REVOKE INSERT ON journal FROM {role}")).await;
    client.create(&an_order("tea")).await.problem(503, "store_unavailable");
    client.cancel(id).await.problem(503, "store_unavailable");
    assert!(!is_ready(&app).await);
    assert_eq!(app.metric("tongbao_store_broken", "").await, 1.0);
    assert_eq!(app.metric("tongbao_streams_quarantined", "").await, 0.0);
    above.run(&format!("GRANT INSERT ON journal TO {role}")).await;
    eventually("it is ready once it is taken again", seconds(20), || async {
        client.create(&an_order("tea")).await.order(201);
        is_ready(&app).await.then_some(())
    })
    .await;

    above.run(&format!("REVOKE SELECT ON keys FROM {role}")).await;
    eventually("a right to read is missed too", seconds(10), || async {
        let answer = client.get("/v1/orders").await;
        (answer.body["code"] == "store_unavailable" && !is_ready(&app).await).then_some(())
    })
    .await;
    above.run(&format!("GRANT SELECT ON keys TO {role}")).await;
    eventually("it can be read again", seconds(10), || async {
        (client.get("/v1/orders").await.status == 200).then_some(())
    })
    .await;
    client.cancel(id).await.order(200);
    above.close().await;
    app.finish().await;
}

/// A page of an index is overwritten in PostgreSQL's own file.
#[actix_web::test]
async fn report_the_audit_checks_the_databases_own_integrity() {
    let cluster = Cluster::start();
    let mut app = App::start(Site::at(Some(cluster.database()), "")).await;
    let order = app.client().create(&an_order("sim:never")).await.order(201);
    app.client().cancel(text(&order, "id")).await.order(200);
    app.server.stop().await;
    let (well, said) = audit(&app).await;
    assert!(well && said.contains("CREATE EXTENSION amcheck"), "what is not checked is said: {said}");
    let mut beside = Beside::of(&app.site).await;
    let index = "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('orders_by_platform')";
    let path = beside.column::<String>(index).await.remove(0);
    beside.run("CHECKPOINT").await;
    beside.close().await;
    cluster.stop();
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("the index's file is opened");
    // The first page tells where the tree begins; the second is all of it.
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 8_192], 8_192).expect("the page is overwritten");
    cluster.restart();
    let (well, said) = audit(&app).await;
    assert!(!well && said.contains("the database finds: index orders_by_platform"), "{said}");
}

/// Halts the store where it writes, and lets it go on.
enum Halt {
    Lock(Beside),
    Backend(i32),
}

impl Halt {
    async fn of(app: &App, kind: Kind) -> Self {
        let mut beside = Beside::of(&app.site).await;
        match kind {
            Kind::Sqlite => {
                beside.hold().await;
                Halt::Lock(beside)
            }
            Kind::Postgres => {
                let writer = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND \
                    pid <> pg_backend_pid() AND (query LIKE 'WITH lane_now%' OR query LIKE 'UPDATE lanes%')";
                let pids = beside.column::<i32>(writer).await;
                let [pid] = pids.as_slice() else { panic!("one session writes: {pids:?}") };
                beside.close().await;
                signal("-STOP", *pid);
                Halt::Backend(*pid)
            }
        }
    }

    async fn end(self) {
        match self {
            Halt::Lock(mut beside) => {
                beside.let_go().await;
                beside.close().await;
            }
            Halt::Backend(pid) => signal("-CONT", pid),
        }
    }
}

fn signal(signal: &str, pid: i32) {
    let sent = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Clients wait 15 s for an answer; the store is given 20 s and more. Beats are rare, so that the halt meets a group.
async fn who_waits_hears_of_a_halted_store(kind: Kind) {
    let app = app::start_with(kind, "[store]\nstatement_timeout_ms = 20000\nbeat_ms = 10000\n").await;
    let client = app.client();
    let order = client.create(&an_order("sim:never")).await.order(201);
    let (id, number) = (text(&order, "id"), text(&order["attempts"][0], "id").to_owned());
    let halt = Halt::of(&app, kind).await;
    let queued = an_order("sim:never");
    let later = async {
        // The group of the one before has begun by then.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        client.create(&queued).await
    };
    let (in_the_group, in_the_queue) = tokio::join!(client.cancel(id), later);
    in_the_group.problem(503, "outcome_unknown");
    in_the_queue.problem(503, "store_unavailable");
    assert!(!is_ready(&app).await);
    client.create(&an_order("sim:never")).await.problem(503, "store_unavailable");
    // Nobody may speak to the order before it is known what became of it.
    assert_eq!(client.cancel(id).await.problem(503, "outcome_unknown"), None);
    assert_eq!(Callback::of(&app.site, &number, 20_060).send(&client).await.status, 503);

    halt.end().await;
    eventually("it is ready again", seconds(20), || async { is_ready(&app).await.then_some(()) }).await;
    client.reaches(id, "failed", seconds(15)).await;
    let orders = client.get("/v1/orders").await.body["data"].as_array().map(Vec::len);
    assert_eq!(orders, Some(1), "what was taken out of the queue was never written");
    let again = client.create(&queued).await.order(201);
    client.cancel(text(&again, "id")).await.order(200);
    app.finish().await;
}

#[actix_web::test]
async fn report_who_waits_hears_of_a_halted_store_on_sqlite() {
    who_waits_hears_of_a_halted_store(Kind::Sqlite).await;
}

#[actix_web::test]
async fn report_who_waits_hears_of_a_halted_store_on_postgres() {
    who_waits_hears_of_a_halted_store(Kind::Postgres).await;
}
