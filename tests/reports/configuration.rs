//! Configuration that says what it means.

use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;

use crate::support::app::{self, App};
use crate::support::client::{an_order, text};
use crate::support::process::{Kind, Site};
use crate::support::seconds;

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[actix_web::test]
async fn report_a_kubernetes_service_named_tongbao_lets_the_server_start() {
    let site = Site::new(Kind::Sqlite, "");
    let service = [
        ("TONGBAO_SERVICE_HOST", "10.0.171.239"),
        ("TONGBAO_SERVICE_PORT", "8080"),
        ("TONGBAO_PORT", "tcp://10.0.171.239:8080"),
        ("TONGBAO_PORT_8080_TCP_ADDR", "10.0.171.239"),
    ];
    let listed = site.command(&["platform", "create", "shop"]).envs(service).output().await.expect("it runs");
    assert!(listed.status.success(), "{}", said(&listed));
    for (name, _) in service {
        assert!(said(&listed).contains(name), "what is ignored is told: {}", said(&listed));
    }
    let typo = site.command(&["platform", "list"]).env("TONGBAO_SERVER__LISTN", "x").output().await.expect("it runs");
    assert!(!typo.status.success() && said(&typo).contains("`TONGBAO_SERVER__LISTN`"), "{}", said(&typo));
}

#[actix_web::test]
async fn report_a_folder_called_like_an_escape_is_where_the_database_goes() {
    let site = Site::new(Kind::Sqlite, "");
    for folder in ["100%41", "a%2Fb", "what?"] {
        let dir = site.folder.path().join(folder);
        let mut command = site.command(&["platform", "create", "shop"]);
        let made =
            command.env("TONGBAO_DATA__DIR", &dir).env("TONGBAO_STORE__URL", "").output().await.expect("it runs");
        assert!(made.status.success(), "{folder}: {}", said(&made));
        let begins = std::fs::read(dir.join("tongbao.db")).expect("the database is in its folder");
        assert!(begins.starts_with(b"SQLite format 3"));
    }
    let here = std::fs::read_dir(site.folder.path()).expect("the folder");
    let names: Vec<_> = here.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(!names.iter().any(|name| name.as_bytes() == b"100A" || name.as_bytes() == b"a"), "{names:?}");
}

#[actix_web::test]
async fn report_a_taken_gateway_address_is_told_once_and_soon() {
    let site = Site::new(Kind::Sqlite, "");
    let _taken = TcpListener::bind(site.gateway).expect("the address is free");
    let ended = tokio::time::timeout(seconds(15), site.run(&["serve"])).await.expect("it gives up by itself");
    let said = said(&ended);
    assert!(!ended.status.success());
    assert_eq!(said.matches(&format!("`gateway.listen` {}", site.gateway)).count(), 1, "{said}");
    assert!(said.lines().count() < 10, "{said}");
}

/// The variables name the address of a sandbox that runs; the demo's traffic must not go there.
#[actix_web::test]
async fn report_a_demo_speaks_to_its_own_server_only() {
    let app = app::start().await;
    let demo = app.site.run(&["demo", "--orders", "20", "--rate", "100", "--mix", "plain=1"]).await;
    assert!(demo.status.success(), "{}", said(&demo));
    let listed = app.client().get("/v1/orders").await;
    assert_eq!(listed.body["data"], serde_json::json!([]), "no order of the demo came here");
    app.finish().await;
}

#[actix_web::test]
async fn report_a_platforms_webhook_address_is_checked_when_it_is_made() {
    let url = async |site: &Site, url: &str| {
        let output = site.run(&["platform", "create", "shop", "--webhook-url", url]).await;
        (output.status.success(), said(&output))
    };
    let mut live = Site::new(Kind::Sqlite, "sandbox = false\n");
    live.public_url = "https://pay.example".into();
    for bad in ["http://shop.example/hook", "shop.example", "https://localhost/", "ftp://shop.example/", "https://a b/"]
    {
        let (made, said) = url(&live, bad).await;
        assert!(!made && said.contains("--webhook-url"), "{bad}: {said}");
    }
    assert!(url(&live, "https://shop.example/hook").await.0);
    let sandbox = Site::new(Kind::Sqlite, "");
    assert!(url(&sandbox, "http://127.0.0.1:9000/").await.0);
    assert!(!url(&sandbox, "ftp://127.0.0.1/").await.0);
}

/// A reverse proxy takes the path away before the request gets here, and the browser knows only the address with it.
#[actix_web::test]
async fn report_the_pay_page_keeps_the_path_that_leads_to_the_server() {
    let mut site = Site::new(Kind::Sqlite, "");
    site.public_url = format!("http://{}/tongbao", site.listen);
    let app = App::start(site).await;
    let mut chosen = an_order("tea");
    chosen.as_object_mut().expect("an order").remove("channel");
    let order = app.client().create(&chosen).await.order(201);
    let link = text(&order, "retry_url");
    assert!(link.starts_with(&format!("{}/pay/", app.site.public_url)), "{link}");
    let page = app.client().anonymous().get(link.split_once("/tongbao").expect("a path").1).await.text;
    assert!(page.contains(r#"action="/tongbao/pay/"#) && !page.contains(r#"action="/pay/"#), "{page}");
    app.finish().await;
}
