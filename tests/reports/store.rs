//! A store that knows its mode, its encoding and its last group.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::app::App;
use crate::support::client::{an_order, text};
use crate::support::postgres;
use crate::support::process::{Kind, Site};
use crate::support::seconds;

const LIVE: &str = "sandbox = false\n[channels]\nsimpay.enabled = false\nwechat.enabled = false\nalipay.enabled = false\n\
    unionpay.enabled = false\nstripe.enabled = false\n";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn refused(site: &Site, arguments: &[&str]) -> String {
    let ended = tokio::time::timeout(seconds(30), site.run(arguments)).await.expect("it ends by itself");
    assert!(!ended.status.success(), "{arguments:?} is refused: {}", said(&ended));
    said(&ended)
}

async fn a_store_keeps_its_mode(kind: Kind) {
    let mut site = Site::new(kind, LIVE);
    site.public_url = "https://pay.example".into();
    let made = site.run(&["platform", "create", "shop"]).await;
    assert!(made.status.success(), "{}", said(&made));

    site.lay_over("");
    for arguments in [&["serve"][..], &["platform", "create", "other"], &["platform", "list"], &["audit"]] {
        let said = refused(&site, arguments).await;
        assert!(said.contains("the store is of the production and `sandbox` is true"), "{arguments:?}: {said}");
    }
    site.lay_over(LIVE);
    let listed = site.run(&["platform", "list"]).await;
    assert!(listed.status.success(), "{}", said(&listed));
    let listed = said(&listed);
    assert!(listed.contains("shop") && !listed.contains("platform-a") && !listed.contains("other"), "{listed}");

    let mut site = Site::new(kind, "");
    assert!(site.run(&["platform", "create", "shop"]).await.status.success());
    site.lay_over(LIVE);
    site.public_url = "https://pay.example".into();
    let said = refused(&site, &["serve"]).await;
    assert!(said.contains("the store is of the sandbox and `sandbox` is false"), "{said}");
}

#[actix_web::test]
async fn report_a_production_store_is_not_started_as_a_sandbox_on_sqlite() {
    a_store_keeps_its_mode(Kind::Sqlite).await;
}

#[actix_web::test]
async fn report_a_production_store_is_not_started_as_a_sandbox_on_postgres() {
    a_store_keeps_its_mode(Kind::Postgres).await;
}

#[actix_web::test]
async fn report_a_mistyped_folder_makes_no_store() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let site = Site::new(kind, "");
        for arguments in [&["platform", "list"][..], &["platform", "rotate", "shop"], &["webhook", "dead"], &["audit"]]
        {
            let said = refused(&site, arguments).await;
            assert!(said.contains("no store"), "{arguments:?}: {said}");
        }
        assert!(kind == Kind::Postgres || !site.store_file().exists(), "nothing was made");
    }
}

async fn paid(app: &App, name: &str) {
    let order = app.client().post("/v1/orders", &an_order(name)).await;
    app.client().reaches(text(&order.body, "id"), "succeeded", seconds(15)).await;
}

/// Orders in a copy of the database file alone.
async fn orders_in(file: &Path) -> Value {
    let copy = Site::new(Kind::Sqlite, "");
    fs::copy(file, copy.store_file()).expect("the file is copied");
    let audit = copy.run(&["audit", "--no-gateway", "--json"]).await;
    let report: Value = serde_json::from_slice(&audit.stdout).unwrap_or_else(|_| panic!("{}", said(&audit)));
    assert_eq!(report["ok"], true, "{report}");
    report["orders"]["total"].clone()
}

#[actix_web::test]
async fn report_a_clean_stop_leaves_one_whole_file() {
    let mut app = App::start(Site::new(Kind::Sqlite, "")).await;
    paid(&app, "tea").await;
    // Whoever reads along must not keep the log from being carried over.
    let reader = rusqlite::Connection::open(app.site.store_file()).expect("another process reads");
    let orders: i64 = reader.query_row("SELECT COUNT(*) FROM orders", [], |row| row.get(0)).expect("it reads");
    assert_eq!(orders, 1);
    app.server.stop().await;
    assert_eq!(orders_in(app.site.store_file()).await, 1);
    drop(reader);
}

#[actix_web::test]
async fn report_an_older_copy_of_the_store_is_said_aloud() {
    const ALOUD: &str = "THE STORE IS AN OLDER COPY";
    let mut app = App::start(Site::new(Kind::Sqlite, "")).await;
    paid(&app, "first").await;
    app.server.stop().await;
    let (file, copy) = (app.site.store_file().to_owned(), app.site.folder.path().join("copy.db"));
    fs::copy(&file, &copy).expect("the file is copied");

    let mut app = App::start(app.site).await;
    paid(&app, "second").await;
    app.server.stop().await;
    assert!(!app.server.log().contains(ALOUD), "it is the newest: {}", app.server.log_tail());

    fs::copy(&copy, &file).expect("the older copy takes its place");
    let mut app = App::start(app.site).await;
    assert_eq!(app.server.log().matches(ALOUD).count(), 1, "{}", app.server.log_tail());
    app.server.stop().await;
    let mut app = App::start(app.site).await;
    assert_eq!(app.server.log().matches(ALOUD).count(), 1, "said once");
    app.server.stop().await;
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

#[actix_web::test]
async fn report_the_files_of_a_store_are_their_owners_alone() {
    let mut site = Site::new(Kind::Sqlite, "");
    let folder = site.folder.path().join("nested/data");
    site.store_url = format!("sqlite://{}", folder.join("tongbao.db").display());
    let mut app = App::start(site).await;
    paid(&app, "tea").await;
    assert_eq!(mode(&folder), 0o700);
    for file in ["tongbao.db", "tongbao.db-wal", "tongbao.db-shm"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&app.site.folder.path().join("gateway/books.jsonl")), 0o600);
    app.server.stop().await;

    fs::set_permissions(folder.join("tongbao.db"), Permissions::from_mode(0o644)).expect("ours");
    let mut app = App::start(app.site).await;
    assert_eq!(mode(&folder.join("tongbao.db")), 0o600, "an earlier version left it to everybody");
    app.server.stop().await;
}

#[actix_web::test]
async fn report_a_database_that_is_not_utf8_is_refused_at_start() {
    let url = postgres::shared().database_with("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    let site = Site::at(Some(url), "");
    for arguments in [&["serve"][..], &["platform", "create", "shop"]] {
        let said = refused(&site, arguments).await;
        assert!(said.contains("LATIN1") && said.contains("must be UTF8"), "{arguments:?}: {said}");
    }
}
