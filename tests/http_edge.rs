//! The edge over real connections: bodies that never come, and what is counted of requests.

mod support;

use std::time::{Duration, Instant};

use support::client::{KEY_A, an_order, text};
use support::process::Kind;
use support::{app, seconds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client that sends its body byte by byte is told so and let go, wherever bodies are read.
#[actix_web::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let app = app::start_with(Kind::Sqlite, "[server]\nbody_timeout_ms = 700\n").await;
    let order = app.client().create(&an_order("sim:never")).await.order(201);
    let (id, page) = (text(&order, "id"), text(&order, "retry_url"));
    let page = page.strip_prefix(&app.site.url()).expect("it is the server's own").to_owned();
    let (pay, resolve) = (format!("/v1/orders/{id}/pay"), format!("/v1/operator/orders/{id}/resolve"));
    for path in ["/v1/orders", "/v1/callbacks/simpay", &pay, &resolve, &page] {
        let mut connection = TcpStream::connect(app.site.listen).await.expect("a connection");
        let key = if path.contains("operator") { "ok_sandbox" } else { KEY_A };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: tongbao\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             content-length: 400\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.expect("the head is sent");
        let begun = Instant::now();
        let (mut reading, mut writing) = connection.split();
        let dripping = async {
            while writing.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let mut told = Vec::new();
        tokio::select! {
            read = reading.read_to_end(&mut told) => { read.ok(); }
            () = dripping => {}
            () = tokio::time::sleep(seconds(10)) => panic!("{path}: the connection stays open"),
        }
        let told = String::from_utf8(told).expect("UTF-8");
        assert!(told.starts_with("HTTP/1.1 408 "), "{path}: {told}");
        assert!(path == page || told.contains("\"code\":\"body_timeout\""), "{path}: {told}");
        assert!(told.to_lowercase().contains("connection: close"), "{told}");
        assert!((Duration::from_millis(600)..seconds(5)).contains(&begun.elapsed()), "{path}");
    }
    app.client().cancel(id).await.order(200);
    app.finish().await;
}

/// Metrics name routes by their pattern: paths that somebody makes up are no series of their own.
#[actix_web::test]
async fn requests_are_counted_by_the_pattern_of_their_route() {
    let app = app::start().await;
    let client = app.client();
    let order = client.create(&an_order("tea")).await.order(201);
    let id = text(&order, "id");
    client.reaches(id, "succeeded", seconds(10)).await;
    for _ in 0..3 {
        client.get("/v1/orders/ord_01K0000000000000000000000A").await.problem(404, "not_found");
    }
    client.get("/made/up").await.problem(404, "not_found");
    client.get("/v1/quote?amount=x").await;
    let count = async |labels: &str| app.metric("tongbao_http_requests_total", labels).await;
    assert_eq!(count(r#"route="/v1/orders",method="POST",status_class="2xx""#).await, 1.0);
    assert_eq!(count(r#"route="/v1/orders/{id}",method="GET",status_class="4xx""#).await, 3.0);
    assert!(count(r#"route="/v1/orders/{id}",method="GET",status_class="2xx""#).await >= 1.0);
    assert_eq!(count(r#"route="unmatched",method="GET",status_class="4xx""#).await, 1.0);
    assert_eq!(app.metric("tongbao_http_seconds_count", r#"route="/v1/orders""#).await, 1.0);
    assert_eq!(app.metric("tongbao_http_seconds_bucket", r#"route="/v1/orders",le="+Inf""#).await, 1.0);
    let told = client.get("/metrics").await.text;
    assert!(!told.contains("made/up") && !told.contains(id), "{told}");
    app.finish().await;
}
