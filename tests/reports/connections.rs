//! Connections that strangers hold.

use std::time::{Duration, Instant};

use actix_web::rt::time::timeout;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tongbao::config::sandbox::Stripe;

use super::support::app::{self, App};
use super::support::client::{Client, an_order, text};
use super::support::far_ends::{Message, stripe_signed};
use super::support::gateway::now_s;
use super::support::process::{Kind, Site, free_address};
use super::support::{eventually, seconds};

/// A stranger's own patience: what is still open by then is held for ever.
const LONG: Duration = seconds(12);
/// Deadlines short enough for a test. actix-web reads its clock twice a second, so that heads and silence may have half a
/// second less; the server adds two seconds of grace to them.
const SHORT: &str = "[server]\nhead_timeout_ms = 1000\nbody_timeout_ms = 600\nanswer_timeout_ms = 700\n\
                     idle_timeout_ms = 1200\n";

/// The largest answer that needs no key.
const SCRIPT: &str = "/docs/swagger-ui-bundle.js";

async fn connect(app: &App) -> TcpStream {
    TcpStream::connect(app.site.listen).await.expect("a connection")
}

async fn say(connection: &mut TcpStream, words: &str) {
    connection.write_all(words.as_bytes()).await.expect("it is sent");
}

/// Reads to the end that the server makes, and returns what came before it.
async fn until_closed(what: &str, connection: &mut TcpStream) -> String {
    let mut told = Vec::new();
    let read = timeout(LONG, connection.read_to_end(&mut told)).await;
    // A reset is an end as well.
    drop(read.unwrap_or_else(|_| panic!("{what}: open after {LONG:?}")));
    String::from_utf8_lossy(&told).into_owned()
}

fn chunked(method: &str, path: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
}

/// "Chunked and then silence, on any route, without a key, even after the answer: open for ever."
#[actix_web::test]
async fn report_chunked_and_then_silence_is_closed_on_every_route() {
    let app = app::start_with(Kind::Sqlite, SHORT).await;
    let routes = [
        ("GET", "/healthz", "200"),
        ("GET", "/docs", "308"),
        ("GET", "/nowhere", "404"),
        ("POST", "/v1/orders", "401"),
        ("POST", "/v1/operator/quarantine/ord_1/retry", "401"),
        ("DELETE", "/v1/orders", "405"),
        ("POST", "/v1/callbacks/simpay", "408"),
    ];
    let held = routes.map(async |(method, path, status)| {
        for rest in ["", "5\r\nhello\r\n"] {
            let mut connection = connect(&app).await;
            say(&mut connection, &(chunked(method, path) + rest)).await;
            let told = until_closed(path, &mut connection).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {told}");
            assert!(told.to_lowercase().contains("connection: close"), "{method} {path}: {told}");
        }
    });
    futures_util::future::join_all(held).await;
    app.finish().await;
}

/// A body that drips after its answer has the same deadline as a silent one, and a whole one keeps its connection.
#[actix_web::test]
async fn report_a_body_that_drips_after_its_answer_is_closed() {
    let app = app::start_with(Kind::Sqlite, SHORT).await;
    let mut connection = connect(&app).await;
    say(&mut connection, &chunked("GET", "/healthz")).await;
    let (mut reading, mut writing) = connection.split();
    let dripping = async {
        while writing.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut told = Vec::new();
    let closed = async { drop(reading.read_to_end(&mut told).await) };
    timeout(LONG, async {
        tokio::select! { () = closed => {}, () = dripping => {} }
    })
    .await
    .expect("it is closed");

    let mut connection = connect(&app).await;
    for _ in 0..2 {
        let order = an_order("sim:never").to_string();
        let body = format!("{:x}\r\n{order}\r\n0\r\n\r\n", order.len());
        let head = chunked("POST", "/v1/orders").replace("host: t", "host: t\r\nauthorization: Bearer sk_sandbox_a");
        say(&mut connection, &(head + &body)).await;
        let mut told = vec![0; 64 * 1_024];
        let length = timeout(LONG, connection.read(&mut told)).await.expect("in time").expect("an answer");
        let told = String::from_utf8_lossy(&told[..length]).into_owned();
        assert!(told.starts_with("HTTP/1.1 201 ") && !told.contains("connection: close"), "{told}");
        let id = told.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
        app.client().cancel(id).await.order(200);
    }
    app.finish().await;
}

/// "Answers that nobody reads (8 pipelined requests for the documentation's script) hold 1.65 MB each, for ever."
#[actix_web::test]
async fn report_answers_that_nobody_reads_are_not_kept() {
    let app = app::start_with(Kind::Sqlite, SHORT).await;
    let mut held = Vec::new();
    for last in ["", "connection: close\r\n"] {
        let mut connection = connect(&app).await;
        let ask = format!("GET {SCRIPT} HTTP/1.1\r\nhost: t\r\n");
        say(&mut connection, &(format!("{ask}\r\n").repeat(7) + &ask + last + "\r\n")).await;
        held.push(connection);
    }
    let cut = || async { app.metric("tongbao_connections_cut_total", r#"why="answer""#).await };
    eventually("both are cut", LONG, || async { (cut().await == 2.0).then_some(()) }).await;
    drop(held);

    // Who reads slowly, but within the time, gets all of it.
    let script = app.client().get(SCRIPT).await;
    assert_eq!(script.status, 200);
    assert!(script.text.len() > 1_000_000);
    app.finish().await;
}

/// Heads have a deadline, the second one of a connection too, and so has silence.
#[actix_web::test]
async fn report_slow_heads_and_idle_connections_are_closed() {
    let app = app::start_with(Kind::Sqlite, SHORT).await;
    let whole = "GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n";
    let partial = "GET /healthz HTTP/1.1\r\nhost: t\r\n";
    for (what, words, answers) in [
        ("nothing", String::new(), "HTTP/1.1 408"),
        ("a partial head", partial.to_owned(), "HTTP/1.1 408"),
        ("an idle connection", whole.to_owned(), "HTTP/1.1 200"),
        ("a partial second head", format!("{whole}{partial}"), "HTTP/1.1 200"),
    ] {
        let mut connection = connect(&app).await;
        let begun = Instant::now();
        say(&mut connection, &words).await;
        let told = until_closed(what, &mut connection).await;
        assert!(told.starts_with(answers), "{what}: {told}");
        assert!(begun.elapsed() > Duration::from_millis(400), "{what}: cut too early");
    }
    // The second head begins after the answer was taken, and drips.
    let mut connection = connect(&app).await;
    say(&mut connection, whole).await;
    let mut told = [0; 4_096];
    let length = connection.read(&mut told).await.expect("an answer");
    assert!(told[..length].starts_with(b"HTTP/1.1 200"));
    let (mut reading, mut writing) = connection.split();
    let dripping = async {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut rest = Vec::new();
    let closed = async { drop(reading.read_to_end(&mut rest).await) };
    timeout(LONG, async {
        tokio::select! { () = closed => {}, () = dripping => {} }
    })
    .await
    .expect("it is closed");
    app.finish().await;
}

/// "1,100 of them at 1,024 descriptors shut everybody out": here 500 at 256, with the default deadlines.
#[actix_web::test]
async fn report_stuck_connections_do_not_shut_out_an_honest_client() {
    let app = App::start_with_descriptors(Site::new(Kind::Sqlite, ""), 256).await;
    let asked = "GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n";
    // It is unpacked when it is first asked for.
    assert_eq!(app.client().get(SCRIPT).await.status, 200);
    let mut kept = connect(&app).await;
    let mut stuck = Vec::new();
    for number in 0..500 {
        let mut connection = connect(&app).await;
        let words = match number % 4 {
            0 => chunked("GET", "/healthz"),
            1 => chunked("POST", "/v1/callbacks/simpay"),
            2 => format!("GET {SCRIPT} HTTP/1.1\r\nhost: t\r\n\r\n").repeat(8),
            _ => "GET /heal".to_owned(),
        };
        // Those that came first are cut off while others still come.
        drop(connection.write_all(words.as_bytes()).await);
        stuck.push(connection);
        // Whoever goes on asking stays.
        if number % 10 == 0 {
            say(&mut kept, asked).await;
            let mut told = [0; 4_096];
            let length = timeout(LONG, kept.read(&mut told)).await.expect("in time").expect("an answer");
            assert!(told[..length].starts_with(b"HTTP/1.1 200"), "after {number}");
        }
    }
    let order = app.client().create(&an_order("tea")).await.order(201);
    app.client().reaches(text(&order, "id"), "succeeded", seconds(10)).await;
    assert!(app.metric("tongbao_connections_cut_total", r#"why="room""#).await >= 300.0);
    let open = || async { app.metric("tongbao_connections", "").await };
    eventually("half of the descriptors", seconds(5), || async { (open().await <= 128.0).then_some(()) }).await;
    drop(stuck);
    app.finish().await;
}

/// "Forged callbacks are verified before the 429 is decided": beyond the limit they are not, but for ten a second, so
/// that a gateway behind the same address is heard. Others are not concerned.
#[actix_web::test]
async fn report_forged_callbacks_beyond_the_limit_are_not_verified() {
    let settings = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[limits]\nfailed_verifications_per_minute = 3\n";
    let app = app::start_with(Kind::Sqlite, settings).await;
    let keys = Stripe::open(app.site.folder.path(), "default").expect("keys");
    let event = r#"{"id":"evt_1","object":"event","type":"customer.created","livemode":false,"data":{"object":{}}}"#;
    let from = |secret: &str, address: &str| {
        let mut message = stripe_signed(event.to_owned(), secret, now_s());
        message.headers.push(("x-forwarded-for", address.to_owned()));
        message
    };
    let send = async |message: Message| message.send(&app.client(), "/v1/callbacks/stripe").await;
    let begun = Instant::now();
    for number in 0..100 {
        let answer = send(from("whsec_made_up", "198.51.100.7")).await;
        match number {
            0..3 => answer.problem(401, "callback_unverified"),
            _ => answer.problem(429, "rate_limited"),
        };
    }
    let verified = app.metric("tongbao_callbacks_total", r#"verdict="forged""#).await;
    let now_and_then = begun.elapsed().as_secs_f64() / 0.1 + 1.0;
    assert!((3.0..=3.0 + now_and_then).contains(&verified), "{verified} of 100 in {:?}", begun.elapsed());
    let unheard = app.metric("tongbao_callbacks_total", r#"verdict="unheard""#).await;
    assert_eq!(verified + unheard, 100.0);
    send(from("whsec_made_up", "198.51.100.8")).await.problem(401, "callback_unverified");
    let secret = keys.webhook_secret.expose_secret();
    assert_eq!(send(from(secret, "198.51.100.8")).await.status, 200);
    eventually("a gateway's repeat is heard", seconds(5), || async {
        (send(from(secret, "198.51.100.7")).await.status == 200).then_some(())
    })
    .await;
    app.finish().await;
}

/// Probes and scrapes have a listener of their own, and what is counted is not told to strangers.
#[actix_web::test]
async fn report_probes_and_scrapes_need_no_room_among_strangers() {
    let listen = free_address();
    let settings = format!("[server]\nconnections_max = 1\n[ops]\nlisten = \"{listen}\"\n");
    let app = App::start(Site::new(Kind::Sqlite, &settings)).await;
    let ops = Client::new(format!("http://{listen}"), "").anonymous();
    for (path, here, there) in [
        ("/healthz", 200, 200),
        ("/readyz", 200, 200),
        ("/metrics", 404, 200),
        ("/openapi.json", 200, 404),
        ("/v1/channels", 401, 404),
    ] {
        assert_eq!(app.client().anonymous().get(path).await.status, here, "{path} at server.listen");
        assert_eq!(ops.get(path).await.status, there, "{path} at ops.listen");
    }
    let _held = connect(&app).await;
    assert_eq!(ops.get("/readyz").await.status, 200);
    app.finish().await;
}
