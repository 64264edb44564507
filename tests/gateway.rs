//! The simulated gateway over real HTTP, spoken to by a client that knows simpay only from its description.

use std::future::Future;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tongbao::config::{Config, sandbox};
use tongbao::gateway::{self, GatewayError};

static UNIQUE: AtomicU32 = AtomicU32::new(0);

fn unique(prefix: &str) -> String {
    format!("{prefix}{:010}{:06}", std::process::id(), UNIQUE.fetch_add(1, Ordering::Relaxed))
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn client(timeout: Duration) -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(timeout).build().unwrap()
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(unique("tongbao-gateway-"));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn books(&self) -> PathBuf {
        self.0.join("gateway/books.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn config(folder: &Folder) -> Config {
    let mut config = Config::load(&[]).unwrap();
    config.data.dir = folder.0.clone();
    config.channels.retain(|name, _| name == "simpay");
    config.gateway.listen = free_address();
    config.gateway.callback_retry_ms = vec![200, 300, 400];
    config.gateway.callback_timeout_ms = 1000;
    config
}

/// A gateway on a thread of its own.
struct Running {
    config: Config,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), GatewayError>>>,
}

impl Running {
    async fn start(config: Config) -> Self {
        let (shutdown, stopped) = oneshot::channel::<()>();
        let own = config.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(gateway::run(&own, async { stopped.await.unwrap_or(()) }))
        });
        let mut running = Running { config, shutdown: Some(shutdown), thread: Some(thread) };
        let url = format!("{}/healthz", running.config.gateway_url());
        let client = client(Duration::from_secs(1));
        for _ in 0..250 {
            if running.thread.as_ref().unwrap().is_finished() {
                panic!("{:?}", running.thread.take().unwrap().join().unwrap());
            }
            if client.get(&url).send().await.is_ok_and(|response| response.status() == 200) {
                return running;
            }
            sleep_ms(20).await;
        }
        panic!("the gateway does not answer");
    }

    fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
        begun.elapsed()
    }

    /// A caller that signs as the default account.
    fn caller(&self) -> Caller {
        let key = sandbox::simpay_key(&self.config.data.dir, "default").unwrap();
        Caller {
            base: self.config.gateway_url(),
            key: STANDARD.decode(key.expose_secret()).unwrap(),
            client: client(Duration::from_secs(5)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.shutdown.take());
    }
}

fn signature(key: &[u8], text: &str) -> String {
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()))
}

#[derive(Clone)]
struct Caller {
    base: String,
    key: Vec<u8>,
    client: reqwest::Client,
}

/// A request's headers, right unless a test makes them wrong.
struct Envelope {
    account: String,
    timestamp: String,
    nonce: String,
    signature: Option<String>,
}

impl Envelope {
    fn fresh() -> Self {
        Envelope {
            account: "default".to_owned(),
            timestamp: (now_ms() / 1000).to_string(),
            nonce: unique("nonce"),
            signature: None,
        }
    }
}

impl Caller {
    /// Sends a body as it is and checks that the answer is signed for this very request.
    async fn send(&self, call: &str, body: &str) -> (u16, Value) {
        let envelope = Envelope::fresh();
        let nonce = envelope.nonce.clone();
        let response = self.post(call, body, envelope).await.unwrap();
        let status = response.status().as_u16();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let (timestamp, echoed, signed) =
            (header("simpay-timestamp"), header("simpay-nonce"), header("simpay-signature"));
        let body = response.text().await.unwrap();
        assert_eq!(echoed, nonce);
        let text = format!("ANSWER\n{status}\ndefault\n{timestamp}\n{nonce}\n{body}\n");
        assert_eq!(signed, signature(&self.key, &text));
        assert!(timestamp.parse::<i64>().unwrap().abs_diff(now_ms() / 1000) <= 5);
        (status, serde_json::from_str(&body).unwrap())
    }

    async fn call(&self, call: &str, body: Value) -> (u16, Value) {
        self.send(call, &body.to_string()).await
    }

    async fn post(&self, call: &str, body: &str, envelope: Envelope) -> reqwest::Result<reqwest::Response> {
        let path = format!("/simpay/v1{call}");
        let Envelope { account, timestamp, nonce, signature: given } = envelope;
        let text = format!("REQUEST\n{path}\n{account}\n{timestamp}\n{nonce}\n{body}\n");
        self.client
            .post(format!("{}{path}", self.base))
            .header("Simpay-Account", account)
            .header("Simpay-Timestamp", timestamp)
            .header("Simpay-Nonce", nonce)
            .header("Simpay-Signature", given.unwrap_or_else(|| signature(&self.key, &text)))
            .header("Content-Type", "application/json")
            .body(body.to_owned())
            .send()
            .await
    }

    async fn create(&self, body: &Value) -> (u16, Value) {
        self.call("/payments", body.clone()).await
    }

    async fn query(&self, number: &str) -> (u16, Value) {
        self.call("/payments/query", json!({ "number": number })).await
    }

    async fn close(&self, number: &str) -> (u16, Value) {
        self.call("/payments/close", json!({ "number": number })).await
    }

    async fn state(&self, number: &str) -> String {
        self.query(number).await.1["state"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn line(&self, number: &str) -> Value {
        self.get(&format!("/sim/orders/{number}")).await.1
    }

    async fn totals(&self) -> Value {
        self.get("/sim/totals").await.1
    }

    async fn reaches(&self, number: &str, state: &str, within_ms: u64) {
        eventually(within_ms, || async { self.state(number).await == state }).await;
    }
}

async fn eventually<F: Future<Output = bool>>(within_ms: u64, holds: impl Fn() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_millis(within_ms), "it did not happen within {within_ms} ms");
        sleep_ms(10).await;
    }
}

#[derive(Clone, Debug)]
struct Received {
    at: Instant,
    account: String,
    timestamp: String,
    nonce: String,
    signature: String,
    raw: String,
    body: Value,
}

impl Received {
    fn is_signed_by(&self, key: &[u8]) -> bool {
        let text = format!("CALLBACK\n{}\n{}\n{}\n{}\n", self.account, self.timestamp, self.nonce, self.raw);
        self.signature == signature(key, &text)
    }
}

#[derive(Clone, Copy)]
enum Manner {
    Acknowledges,
    /// Answers these many times in other ways first.
    AcknowledgesAfter(usize),
    Redirects,
    Hangs,
}

/// A receiver of callbacks.
#[derive(Clone)]
struct Receiver {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    async fn start(manner: Manner) -> Self {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let shared = Arc::clone(&received);
        let server = HttpServer::new(move || {
            let received = Arc::clone(&shared);
            App::new().default_service(web::to(move |request: HttpRequest, body: String| {
                let received = Arc::clone(&received);
                async move { receive(manner, &received, &request, body).await }
            }))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}/v1/callbacks/simpay", server.addrs()[0]);
        tokio::spawn(server.run());
        Receiver { url, received }
    }

    fn of(&self, number: &str) -> Vec<Received> {
        let received = self.received.lock().unwrap();
        received.iter().filter(|received| received.body["number"] == number).cloned().collect()
    }

    async fn reaches(&self, number: &str, count: usize, within_ms: u64) -> Vec<Received> {
        eventually(within_ms, || async { self.of(number).len() >= count }).await;
        self.of(number)
    }

    fn payment(&self, description: &str) -> Value {
        payment(description, &self.url)
    }
}

async fn receive(manner: Manner, received: &Mutex<Vec<Received>>, request: &HttpRequest, raw: String) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
    let count = {
        let mut received = received.lock().unwrap();
        received.push(Received {
            at: Instant::now(),
            account: header("simpay-account"),
            timestamp: header("simpay-timestamp"),
            nonce: header("simpay-nonce"),
            signature: header("simpay-signature"),
            body: serde_json::from_str(&raw).unwrap(),
            raw,
        });
        received.len()
    };
    match manner {
        Manner::AcknowledgesAfter(1) if count == 1 => HttpResponse::Ok().json(json!({ "code": "fail" })),
        Manner::AcknowledgesAfter(others) if count <= others => match count {
            1 => HttpResponse::Ok().json(json!({ "code": "fail" })),
            2 => HttpResponse::Accepted().json(json!({ "code": "ok" })),
            _ => HttpResponse::InternalServerError().finish(),
        },
        Manner::Acknowledges | Manner::AcknowledgesAfter(_) => HttpResponse::Ok().json(json!({ "code": "ok" })),
        Manner::Redirects => HttpResponse::TemporaryRedirect().insert_header(("Location", "/elsewhere")).finish(),
        Manner::Hangs => {
            sleep_ms(30_000).await;
            HttpResponse::Ok().json(json!({ "code": "ok" }))
        }
    }
}

fn payment(description: &str, notify_url: &str) -> Value {
    json!({
        "number": unique("number"), "amount_minor": 20060, "currency": "CNY", "method": "qr",
        "description": description, "notify_url": notify_url, "expires_at": now_ms() + 600_000,
    })
}

fn number(payment: &Value) -> &str {
    payment["number"].as_str().unwrap()
}

/// A gateway, one who calls it and one who is called back.
async fn stage() -> (Folder, Running, Caller, Receiver) {
    let folder = Folder::new();
    let running = Running::start(config(&folder)).await;
    let caller = running.caller();
    (folder, running, caller, Receiver::start(Manner::Acknowledges).await)
}

#[tokio::test]
async fn a_payment_is_paid_after_the_delay_and_told_of_once() {
    let (_folder, _running, caller, receiver) = stage().await;
    let payment = receiver.payment("books, 3 of them");
    let number = number(&payment);
    let begun = Instant::now();
    let (status, answer) = caller.create(&payment).await;
    assert_eq!(status, 200);
    let qr_code = answer["qr_code"].as_str().unwrap();
    assert!(qr_code.starts_with("simpay://pay/") && qr_code.len() > 30);
    let expected = json!({ "number": number, "state": "waiting", "amount_minor": 20060, "currency": "CNY",
        "qr_code": qr_code, "expires_at": payment["expires_at"] });
    assert_eq!(answer, expected);
    let (_, waiting) = caller.query(number).await;
    let expected = json!({ "number": number, "state": "waiting", "amount_minor": 20060, "captured_minor": 0,
        "currency": "CNY", "reference": null });
    assert_eq!(waiting, expected);

    let received = receiver.reaches(number, 1, 2_000).await.remove(0);
    let taken = received.at - begun;
    assert!((Duration::from_millis(280)..Duration::from_millis(900)).contains(&taken), "{taken:?}");
    assert!(received.is_signed_by(&caller.key));
    let (_, paid) = caller.query(number).await;
    let reference = paid["reference"].as_str().unwrap();
    assert!(reference.len() == 26 && reference.starts_with("SP"));
    assert_eq!(paid["state"], "paid");
    assert_eq!(paid["captured_minor"], 20060);
    let expected = json!({ "event": "payment.succeeded", "id": received.body["id"], "number": number,
        "account": "default", "reference": reference, "amount_minor": 20060, "currency": "CNY",
        "paid_at": received.body["paid_at"] });
    assert_eq!(received.body, expected);
    assert!(received.body["paid_at"].as_i64().unwrap().abs_diff(now_ms()) < 5_000);

    sleep_ms(1_500).await;
    assert_eq!(receiver.of(number).len(), 1);
    let expected = json!({ "asked_minor": 20060, "captured_minor": 20060, "refunded_minor": 0, "state": "paid",
        "callbacks_sent": 1 });
    assert_eq!(caller.line(number).await, expected);
    let expected = json!({ "simpay": { "CNY": { "captured_minor": 20060, "refunded_minor": 0, "captures": 1 } } });
    assert_eq!(caller.totals().await, expected);
    let (status, problem) = caller.get("/sim/orders/unknown").await;
    assert_eq!((status, &problem["status"]), (404, &json!(404)));
}

#[tokio::test]
async fn declined_refused_never_and_underpaid() {
    let (_folder, _running, caller, receiver) = stage().await;
    let [decline, refuse, never, underpay] =
        ["sim:decline", "sim:refuse", "sim:never", "sim:underpay"].map(|script| receiver.payment(script));
    let mut one = receiver.payment("sim:underpay");
    one["amount_minor"] = json!(1);

    let (status, answer) = caller.create(&refuse).await;
    assert_eq!((status, &answer["code"]), (422, &json!("refused")));
    assert_eq!(caller.query(number(&refuse)).await.0, 404);
    assert_eq!(caller.get(&format!("/sim/orders/{}", number(&refuse))).await.0, 404);
    for payment in [&decline, &never, &underpay, &one] {
        assert_eq!(caller.create(payment).await.1["state"], "waiting");
    }
    caller.reaches(number(&decline), "declined", 1_500).await;
    caller.reaches(number(&one), "declined", 1_500).await;
    let received = receiver.reaches(number(&underpay), 1, 1_500).await.remove(0);
    assert_eq!(received.body["amount_minor"], 20059);
    let (_, paid) = caller.query(number(&underpay)).await;
    assert_eq!(
        (&paid["state"], &paid["captured_minor"], &paid["amount_minor"]),
        (&json!("paid"), &json!(20059), &json!(20060))
    );

    sleep_ms(500).await;
    assert_eq!(caller.state(number(&never)).await, "waiting");
    for payment in [&decline, &refuse, &never, &one] {
        assert_eq!(receiver.of(number(payment)).len(), 0);
    }
    assert_eq!(caller.create(&decline).await.1["code"], "payment_closed");
    assert_eq!(caller.close(number(&decline)).await, (200, json!({ "number": number(&decline), "state": "closed" })));
    assert_eq!(caller.state(number(&decline)).await, "declined");
    assert_eq!(caller.close(number(&never)).await.0, 200);
    assert_eq!(caller.state(number(&never)).await, "closed");
    assert_eq!(caller.totals().await["simpay"]["CNY"]["captured_minor"], 20059);
}

#[tokio::test]
async fn hanging_and_failing_creations_take_effect() {
    let (_folder, mut running, mut caller, receiver) = stage().await;
    caller.client = client(Duration::from_millis(700));
    let (hang, error) = (receiver.payment("sim:hang"), receiver.payment("sim:error"));
    for _ in 0..2 {
        let outcome = caller.post("/payments", &hang.to_string(), Envelope::fresh()).await;
        assert!(outcome.unwrap_err().is_timeout());
        let outcome = caller.post("/payments", &error.to_string(), Envelope::fresh()).await.unwrap();
        assert_eq!(outcome.status(), 500);
        assert!(outcome.headers().get("simpay-signature").is_none());
    }
    for payment in [&hang, &error] {
        caller.reaches(number(payment), "paid", 1_500).await;
        assert!(receiver.reaches(number(payment), 1, 1_500).await[0].is_signed_by(&caller.key));
    }
    assert_eq!(caller.totals().await["simpay"]["CNY"]["captures"], 2);

    // The end does not wait for those that hang.
    let patient = Caller { client: client(Duration::from_secs(30)), ..caller.clone() };
    let hanging = tokio::spawn(async move { patient.post("/payments", &hang.to_string(), Envelope::fresh()).await });
    sleep_ms(200).await;
    let took = tokio::task::spawn_blocking(move || running.stop()).await.unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn lost_repeated_and_forged_callbacks() {
    let (_folder, _running, caller, receiver) = stage().await;
    let [lost, twice, forge] = ["sim:lost", "sim:twice", "sim:forge"].map(|script| receiver.payment(script));
    let begun = Instant::now();
    for payment in [&lost, &twice, &forge] {
        assert_eq!(caller.create(payment).await.0, 200);
    }
    let forged = receiver.reaches(number(&forge), 1, 1_000).await.remove(0);
    assert!(forged.at - begun < Duration::from_millis(500));
    assert!(!forged.is_signed_by(&caller.key));
    assert_eq!(forged.body["amount_minor"], 20060);
    assert_eq!(caller.state(number(&forge)).await, "waiting");

    let copies = receiver.reaches(number(&twice), 3, 3_000).await;
    assert!(copies.iter().all(|copy| copy.is_signed_by(&caller.key) && copy.body == copies[0].body));
    assert!(copies[1].at - copies[0].at < Duration::from_millis(300));
    assert!((Duration::from_millis(700)..Duration::from_millis(1500)).contains(&(copies[2].at - copies[1].at)));
    assert!(copies[0].nonce != copies[1].nonce && copies[1].nonce != copies[2].nonce);

    let callbacks = receiver.reaches(number(&forge), 2, 4_000).await;
    assert!((Duration::from_millis(2900)..Duration::from_millis(3900)).contains(&(callbacks[1].at - begun)));
    assert!(callbacks[1].is_signed_by(&caller.key));
    assert_ne!(callbacks[1].body["reference"], forged.body["reference"]);
    assert_eq!(caller.state(number(&lost)).await, "paid");
    assert_eq!(receiver.of(number(&lost)).len(), 0);
    for (payment, sent) in [(&lost, 0), (&twice, 3), (&forge, 1)] {
        eventually(1_000, || async { caller.line(number(payment)).await["callbacks_sent"] == sent }).await;
    }
    assert_eq!(caller.totals().await["simpay"]["CNY"]["captures"], 3);
}

#[tokio::test]
async fn late_money_comes_after_the_close() {
    let (_folder, _running, caller, receiver) = stage().await;
    let late = receiver.payment("sim:late");
    caller.create(&late).await;
    sleep_ms(700).await;
    assert_eq!(caller.state(number(&late)).await, "waiting");
    let begun = Instant::now();
    for _ in 0..2 {
        assert_eq!(caller.close(number(&late)).await.1["state"], "closed");
    }
    assert_eq!(caller.state(number(&late)).await, "closed");
    let received = receiver.reaches(number(&late), 1, 2_500).await.remove(0);
    assert!((Duration::from_millis(950)..Duration::from_millis(1700)).contains(&(received.at - begun)));
    assert_eq!(caller.state(number(&late)).await, "paid");
    assert_eq!(caller.close(number(&late)).await.1["code"], "already_paid");
    sleep_ms(1_200).await;
    assert_eq!(receiver.of(number(&late)).len(), 1);
    assert_eq!(caller.totals().await["simpay"]["CNY"]["captures"], 1);
}

#[tokio::test]
async fn slow_payers_take_twenty_seconds() {
    let (_folder, _running, caller, receiver) = stage().await;
    let slow = receiver.payment("sim:slow");
    let begun = Instant::now();
    caller.create(&slow).await;
    let received = receiver.reaches(number(&slow), 1, 22_000).await.remove(0);
    assert!((Duration::from_millis(19_900)..Duration::from_millis(21_000)).contains(&(received.at - begun)));
}

#[tokio::test]
async fn a_payment_expires_by_itself() {
    let (_folder, _running, caller, receiver) = stage().await;
    let mut payment = receiver.payment("sim:never");
    payment["expires_at"] = json!(now_ms() + 400);
    assert_eq!(caller.create(&payment).await.0, 200);
    caller.reaches(number(&payment), "closed", 1_000).await;
    assert_eq!(caller.create(&payment).await.1["code"], "payment_closed");
    let mut payer_too_late = receiver.payment("plain");
    payer_too_late["expires_at"] = json!(now_ms() + 150);
    assert_eq!(caller.create(&payer_too_late).await.0, 200);
    sleep_ms(800).await;
    assert_eq!(caller.state(number(&payer_too_late)).await, "closed");
    let mut past = receiver.payment("plain");
    past["expires_at"] = json!(now_ms() - 1);
    let (status, answer) = caller.create(&past).await;
    assert_eq!((status, &answer["code"]), (422, &json!("expired")));
    assert_eq!(caller.query(number(&past)).await.0, 404);
}

#[tokio::test]
async fn only_fresh_and_rightly_signed_requests_are_believed() {
    let (_folder, _running, caller, receiver) = stage().await;
    let body = receiver.payment("plain").to_string();
    let now = now_ms() / 1000;
    let fresh = Envelope::fresh;
    let wrong: Vec<(&str, &str, Envelope)> = vec![
        ("unknown account", "unauthenticated", Envelope { account: "other".into(), ..fresh() }),
        ("other key", "unauthenticated", Envelope { signature: Some(signature(b"other", "text")), ..fresh() }),
        ("no base64", "unauthenticated", Envelope { signature: Some("%".into()), ..fresh() }),
        ("empty signature", "unauthenticated", Envelope { signature: Some(String::new()), ..fresh() }),
        ("short nonce", "unauthenticated", Envelope { nonce: "n".repeat(15), ..fresh() }),
        ("long nonce", "unauthenticated", Envelope { nonce: "n".repeat(65), ..fresh() }),
        ("strange nonce", "unauthenticated", Envelope { nonce: "nonce-nonce-nonce".into(), ..fresh() }),
        ("no number", "unauthenticated", Envelope { timestamp: "soon".into(), ..fresh() }),
        ("signed number", "unauthenticated", Envelope { timestamp: format!("+{now}"), ..fresh() }),
        ("past", "stale", Envelope { timestamp: (now - 302).to_string(), ..fresh() }),
        ("future", "stale", Envelope { timestamp: (now + 310).to_string(), ..fresh() }),
        ("far future", "stale", Envelope { timestamp: u64::MAX.to_string(), ..fresh() }),
    ];
    for (what, code, envelope) in wrong {
        let response = caller.post("/payments", &body, envelope).await.unwrap();
        assert_eq!(response.status(), 401, "{what}");
        assert!(response.headers().get("simpay-signature").is_none(), "{what}");
        assert_eq!(response.json::<Value>().await.unwrap()["code"], code, "{what}");
    }
    // A right signature of another body, and of another path.
    let envelope = fresh();
    let sign = |path: &str, body: &str| {
        let (timestamp, nonce) = (&envelope.timestamp, &envelope.nonce);
        signature(&caller.key, &format!("REQUEST\n{path}\ndefault\n{timestamp}\n{nonce}\n{body}\n"))
    };
    for signed in [sign("/simpay/v1/payments", "{}"), sign("/simpay/v1/payments/close", &body)] {
        let envelope = Envelope {
            nonce: envelope.nonce.clone(),
            timestamp: envelope.timestamp.clone(),
            signature: Some(signed),
            ..fresh()
        };
        assert_eq!(caller.post("/payments", &body, envelope).await.unwrap().status(), 401);
    }
    // What was refused has used up no nonce; what was taken has.
    let again = || Envelope { nonce: envelope.nonce.clone(), ..fresh() };
    assert_eq!(caller.post("/payments", &body, again()).await.unwrap().status(), 200);
    let response = caller.post("/payments", &body, again()).await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.json::<Value>().await.unwrap()["code"], "nonce_used");
    // At the edge of the window.
    let edge = Envelope { timestamp: (now - 295).to_string(), ..fresh() };
    assert_eq!(caller.post("/payments", &body, edge).await.unwrap().status(), 200);
    // No headers at all, and a body beyond the bound.
    let bare = caller.client.post(format!("{}/simpay/v1/payments", caller.base)).body(body).send().await.unwrap();
    assert_eq!(bare.status(), 401);
    let large = format!("{{\"number\":\"{}\"}}", "n".repeat(70_000));
    assert_eq!(caller.post("/payments/query", &large, fresh()).await.unwrap().status(), 413);
}

#[tokio::test]
async fn malformed_requests_change_nothing() {
    let (_folder, _running, caller, receiver) = stage().await;
    let right = receiver.payment("plain");
    let changed = |field: &str, value: Value| {
        let mut body = right.clone();
        body[field] = value;
        body.to_string()
    };
    let mut missing = right.clone();
    missing.as_object_mut().unwrap().remove("currency");
    let twice = right.to_string().replacen('{', "{\"amount_minor\":1,", 1);
    let long_url = format!("http://127.0.0.1/{}", "n".repeat(240));
    let bodies = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        json!([right["number"], 20060, "CNY", "qr", "plain", receiver.url, right["expires_at"]]).to_string(),
        format!("{right}x"),
        twice,
        missing.to_string(),
        changed("unknown", json!(1)),
        changed("number", json!("short")),
        changed("number", json!("n".repeat(65))),
        changed("number", json!("number-1234")),
        changed("number", json!(123_456)),
        changed("amount_minor", json!(0)),
        changed("amount_minor", json!(-1)),
        changed("amount_minor", json!(1.5)),
        changed("amount_minor", json!("100")),
        changed("amount_minor", json!(100_000_000_000_000i64)),
        changed("currency", json!("cny")),
        changed("currency", json!("XXX")),
        changed("method", json!("card")),
        changed("description", json!("通".repeat(128))),
        changed("description", json!("nul\u{0}")),
        changed("notify_url", json!("ftp://127.0.0.1/")),
        changed("notify_url", json!("callbacks")),
        changed("notify_url", json!(long_url)),
        changed("expires_at", json!("2030-01-01T00:00:00Z")),
    ];
    for body in bodies {
        let (status, answer) = caller.send("/payments", &body).await;
        assert_eq!((status, &answer["code"]), (400, &json!("malformed")), "{body}");
    }
    for (call, body) in [
        ("/payments/query", json!({ "number": "short" })),
        ("/payments/close", json!({ "number": "number1", "reason": "none" })),
        ("/refunds", json!({ "refund_number": "refund1", "number": "number1", "amount_minor": 0, "currency": "CNY" })),
        (
            "/refunds",
            json!({ "refund_number": "refund1", "number": "number1", "amount_minor": 1, "currency": "CNY",
            "reason": "x".repeat(81) }),
        ),
        ("/refunds/query", json!({})),
    ] {
        assert_eq!(caller.call(call, body).await.0, 400, "{call}");
    }
    assert_eq!(caller.query(number(&right)).await.0, 404);
    // The very bounds pass.
    let description = changed("description", json!("通".repeat(127)));
    assert_eq!(caller.send("/payments", &description).await.0, 200);
    assert_eq!(caller.get("/nothing").await.0, 404);
}

#[tokio::test]
async fn the_same_request_again_has_one_effect_and_a_changed_one_none() {
    let (_folder, _running, caller, receiver) = stage().await;
    let payment = receiver.payment("plain");
    let (_, first) = caller.create(&payment).await;
    let (status, second) = caller.create(&payment).await;
    assert_eq!((status, &second["state"]), (200, &json!("waiting")));
    assert_ne!(first["qr_code"], second["qr_code"]);
    // Written otherwise, but the same.
    let spaced = serde_json::to_string_pretty(&payment).unwrap();
    assert_eq!(caller.send("/payments", &spaced).await.0, 200);
    let changes = [
        ("amount_minor", json!(20061)),
        ("currency", json!("USD")),
        ("description", json!("other")),
        ("notify_url", json!("http://127.0.0.1/other")),
        ("expires_at", json!(payment["expires_at"].as_i64().unwrap() + 1)),
    ];
    let refuse_changes = async || {
        for (field, value) in &changes {
            let mut changed = payment.clone();
            changed[*field] = value.clone();
            let (status, answer) = caller.create(&changed).await;
            assert_eq!((status, &answer["code"]), (409, &json!("number_used")), "{field}");
        }
    };
    refuse_changes().await;
    caller.reaches(number(&payment), "paid", 1_500).await;
    let reference = caller.query(number(&payment)).await.1["reference"].clone();
    let expected = json!({ "number": payment["number"], "state": "paid", "amount_minor": 20060, "currency": "CNY",
        "reference": reference });
    assert_eq!(caller.create(&payment).await, (200, expected));
    refuse_changes().await;
    sleep_ms(500).await;
    assert_eq!(receiver.of(number(&payment)).len(), 1);
    assert_eq!(caller.totals().await["simpay"]["CNY"]["captures"], 1);

    // Of many at once, too.
    let crowded = receiver.payment("plain");
    let calls = (0..20).map(|_| caller.create(&crowded));
    assert!(futures_util::future::join_all(calls).await.iter().all(|(status, _)| *status == 200));
    receiver.reaches(number(&crowded), 1, 1_500).await;
    sleep_ms(300).await;
    assert_eq!(caller.line(number(&crowded)).await["callbacks_sent"], 1);
}

#[tokio::test]
async fn what_was_closed_is_never_paid() {
    let (_folder, _running, caller, receiver) = stage().await;
    let payment = receiver.payment("plain");
    caller.create(&payment).await;
    for _ in 0..2 {
        assert_eq!(
            caller.close(number(&payment)).await,
            (200, json!({ "number": number(&payment), "state": "closed" }))
        );
    }
    let (status, answer) = caller.create(&payment).await;
    assert_eq!((status, &answer["code"]), (409, &json!("payment_closed")));
    // The close overtook the create.
    let unseen = receiver.payment("plain");
    assert_eq!(caller.close(number(&unseen)).await.1["state"], "closed");
    assert_eq!(caller.close(number(&unseen)).await.0, 200);
    let (status, answer) = caller.create(&unseen).await;
    assert_eq!((status, &answer["code"]), (409, &json!("payment_closed")));
    sleep_ms(700).await;
    assert_eq!(caller.state(number(&payment)).await, "closed");
    assert_eq!(receiver.received.lock().unwrap().len(), 0);
    assert_eq!(caller.totals().await["simpay"]["CNY"]["captures"], 0);
    let paid = receiver.payment("plain");
    caller.create(&paid).await;
    caller.reaches(number(&paid), "paid", 1_500).await;
    let (status, answer) = caller.close(number(&paid)).await;
    assert_eq!((status, &answer["code"]), (409, &json!("already_paid")));
}

#[tokio::test]
async fn refunds_are_booked_once_and_never_exceed() {
    let (_folder, _running, caller, receiver) = stage().await;
    let payment = receiver.payment("plain");
    let number = number(&payment);
    caller.create(&payment).await;
    let refund = |refund_number: &str, amount_minor: i64| json!({ "refund_number": refund_number, "number": number, "amount_minor": amount_minor, "currency": "CNY" });
    let code = async |body: Value| {
        let (status, answer) = caller.call("/refunds", body).await;
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(code(refund("refund-early", 1)).await, (422, "refund_exceeds".to_owned()));
    caller.reaches(number, "paid", 1_500).await;

    let pending =
        json!({ "refund_number": "refund_1", "state": "pending", "amount_minor": 20000, "finished_at": null });
    for _ in 0..2 {
        assert_eq!(caller.call("/refunds", refund("refund_1", 20000)).await, (200, pending.clone()));
    }
    assert_eq!(code(refund("refund_1", 60)).await, (409, "number_used".to_owned()));
    assert_eq!(code(refund("refund_2", 61)).await, (422, "refund_exceeds".to_owned()));
    let mut dollars = refund("refund_2", 60);
    dollars["currency"] = json!("USD");
    assert_eq!(code(dollars).await, (422, "refused".to_owned()));
    let mut unknown = refund("refund_2", 60);
    unknown["number"] = json!("unknown1");
    assert_eq!(code(unknown).await, (404, "not_exist".to_owned()));
    // Of ten for the rest at once, one succeeds.
    let names: Vec<String> = (0..10).map(|n| format!("refund_at_once_{n}")).collect();
    let calls = names.iter().map(|name| caller.call("/refunds", refund(name, 60)));
    let outcomes = futures_util::future::join_all(calls).await;
    assert_eq!(outcomes.iter().filter(|(status, _)| *status == 200).count(), 1);

    eventually(1_000, || async { caller.line(number).await["refunded_minor"] == 20060 }).await;
    let (status, done) = caller.call("/refunds/query", json!({ "refund_number": "refund_1" })).await;
    assert_eq!((status, &done["state"]), (200, &json!("refunded")));
    assert!(done["finished_at"].as_i64().unwrap().abs_diff(now_ms()) < 1_000);
    let (status, answer) = caller.call("/refunds/query", json!({ "refund_number": "refund_2" })).await;
    assert_eq!((status, &answer["code"]), (404, &json!("not_exist")));
    assert_eq!(receiver.of(number).len(), 1, "of the payment: nobody asked to hear of refunds");
    let expected = json!({ "captured_minor": 20060, "refunded_minor": 20060, "captures": 1 });
    assert_eq!(caller.totals().await["simpay"]["CNY"], expected);
}

/// A refund whose payer has the money for three seconds is told of twice, and the gateway may go in between.
#[tokio::test]
async fn a_refund_goes_on_after_a_restart() {
    let (_folder, mut running, caller, receiver) = stage().await;
    let payment = receiver.payment("plain");
    let number = number(&payment);
    caller.create(&payment).await;
    receiver.reaches(number, 1, 1_500).await;
    let refund = |refund_number: &str, reason: &str| {
        json!({ "refund_number": refund_number, "number": number, "amount_minor": 10000, "currency": "CNY",
            "reason": reason, "notify_url": receiver.url })
    };
    assert_eq!(caller.call("/refunds", refund("refund_1", "sim:return it")).await.1["state"], "pending");
    let told = receiver.reaches(number, 2, 1_000).await.remove(1);
    assert!(told.is_signed_by(&caller.key));
    let finished_at = told.body["finished_at"].as_i64().unwrap();
    let expected = json!({ "refund_number": "refund_1", "number": number, "state": "refunded", "amount_minor": 10000,
        "currency": "CNY", "finished_at": finished_at });
    assert_eq!(told.body, expected);
    // One that is on its way when the gateway goes, and one that there is no money for yet.
    assert_eq!(caller.call("/refunds", refund("refund_2", "the cup is broken")).await.0, 200);
    let poor = refund("refund_3", "sim:poor");
    assert_eq!(caller.call("/refunds", poor.clone()).await.1["code"], "refund_exceeds");
    let (own, config) = (running.config.clone(), running.config.clone());
    tokio::task::spawn_blocking(move || running.stop()).await.unwrap();

    let _running = Running::start(config).await;
    let caller = Caller { base: own.gateway_url(), ..caller };
    let state = async |refund_number: &str| {
        caller.call("/refunds/query", json!({ "refund_number": refund_number })).await.1["state"].clone()
    };
    let later = receiver.reaches(number, 4, 5_000).await;
    let states: Vec<_> = later[2..].iter().map(|told| (&told.body["refund_number"], &told.body["state"])).collect();
    assert_eq!(states, [(&json!("refund_2"), &json!("refunded")), (&json!("refund_1"), &json!("returned"))]);
    assert_eq!(later[3].body["finished_at"], finished_at + 3_000);
    assert_eq!([state("refund_1").await, state("refund_2").await], [json!("returned"), json!("refunded")]);
    assert_eq!(caller.line(number).await["refunded_minor"], 10000);
    assert_eq!(caller.totals().await["simpay"]["CNY"]["refunded_minor"], 10000);
    assert_eq!(caller.call("/refunds", poor).await.1["code"], "not_enough", "what came back is free");
    sleep_ms(1_000).await;
    assert_eq!(receiver.of(number).len(), 4, "each is told once");
}

#[tokio::test]
async fn a_refund_takes_effect_though_its_call_is_not_answered() {
    let (_folder, _running, caller, receiver) = stage().await;
    let payment = receiver.payment("plain");
    let number = number(&payment);
    caller.create(&payment).await;
    caller.reaches(number, "paid", 1_500).await;
    for (refund_number, reason) in [("refund_1", "sim:hang"), ("refund_2", "sim:error")] {
        let body = json!({ "refund_number": refund_number, "number": number, "amount_minor": 1, "currency": "CNY",
            "reason": reason });
        let impatient = Caller { client: client(Duration::from_millis(500)), ..caller.clone() };
        match impatient.post("/refunds", &body.to_string(), Envelope::fresh()).await {
            Err(error) => assert!(error.is_timeout() && reason == "sim:hang", "{error}"),
            Ok(response) => assert_eq!((response.status().as_u16(), reason), (500, "sim:error")),
        }
        let (status, answer) = caller.call("/refunds", body).await;
        assert_eq!((status, &answer["refund_number"]), (200, &json!(refund_number)), "a repeat is answered");
    }
    eventually(1_000, || async { caller.line(number).await["refunded_minor"] == 2 }).await;
}

#[tokio::test]
async fn callbacks_are_repeated_until_acknowledged() {
    let (_folder, _running, caller, _) = stage().await;
    let receiver = Receiver::start(Manner::AcknowledgesAfter(3)).await;
    let payment = receiver.payment("plain");
    caller.create(&payment).await;
    let tries = receiver.reaches(number(&payment), 4, 3_000).await;
    assert!(tries.iter().all(|one| one.is_signed_by(&caller.key) && one.raw == tries[0].raw));
    for (pair, gap_ms) in tries.windows(2).zip([200, 300, 400]) {
        let gap = (pair[1].at - pair[0].at).as_millis() as u64;
        assert!((gap_ms - 20..gap_ms + 300).contains(&gap), "{gap} instead of {gap_ms}");
        assert_ne!(pair[0].nonce, pair[1].nonce);
    }
    eventually(1_000, || async { caller.line(number(&payment)).await["callbacks_sent"] == 4 }).await;

    // After the last gap it gives up: redirects are not followed, and silence is no acknowledgement.
    for (manner, within_ms) in [(Manner::Redirects, 2_500), (Manner::Hangs, 6_500)] {
        let receiver = Receiver::start(manner).await;
        let payment = receiver.payment("plain");
        caller.create(&payment).await;
        receiver.reaches(number(&payment), 4, within_ms).await;
        sleep_ms(1_500).await;
        assert_eq!(receiver.received.lock().unwrap().len(), 4);
        assert_eq!(caller.line(number(&payment)).await["callbacks_sent"], 4);
    }
}

#[tokio::test]
async fn the_books_go_on_after_a_restart() {
    let (folder, mut running, caller, receiver) = stage().await;
    let silent = free_address();
    let paid = receiver.payment("paid before");
    let refunded = receiver.payment("refunded before");
    let closed = receiver.payment("sim:never");
    let declined = receiver.payment("sim:decline");
    let unheard = payment("nobody hears of it yet", &format!("http://{silent}/callbacks"));
    for payment in [&paid, &refunded, &closed, &declined, &unheard] {
        assert_eq!(caller.create(payment).await.0, 200);
    }
    caller.close(number(&closed)).await;
    caller.close("unseen00001").await;
    for payment in [&paid, &refunded] {
        receiver.reaches(number(payment), 1, 1_500).await;
    }
    caller.reaches(number(&unheard), "paid", 1_500).await;
    caller.reaches(number(&declined), "declined", 1_500).await;
    let refund =
        json!({ "refund_number": "refund1", "number": number(&refunded), "amount_minor": 500, "currency": "CNY" });
    assert_eq!(caller.call("/refunds", refund.clone()).await.0, 200);
    eventually(2_000, || async { caller.line(number(&unheard)).await["callbacks_sent"] == 1 }).await;
    eventually(1_000, || async { caller.line(number(&refunded)).await["refunded_minor"] == 500 }).await;
    let late = receiver.payment("sim:late");
    caller.create(&late).await;
    let waiting = receiver.payment("pays after the restart");
    let forever = receiver.payment("sim:never");
    caller.create(&waiting).await;
    caller.create(&forever).await;
    caller.close(number(&late)).await;
    let (totals, paid_before) = (caller.totals().await, caller.query(number(&paid)).await);

    // A second gateway on these books is refused while the first one lives.
    let mut second = running.config.clone();
    second.gateway.listen = free_address();
    let refused = gateway::run(&second, std::future::pending()).await;
    assert!(matches!(refused, Err(GatewayError::Books(..))), "{refused:?}");

    let config = running.config.clone();
    let took = tokio::task::spawn_blocking(move || running.stop()).await.unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}");
    // A fact that was being written when the process was killed.
    let whole = std::fs::read(folder.books()).unwrap();
    let mut books = std::fs::OpenOptions::new().append(true).open(folder.books()).unwrap();
    books.write_all(b"{\"captured\":{\"account\":\"default\",\"num").unwrap();
    drop(books);

    let running = Running::start(config.clone()).await;
    let caller = running.caller();
    assert!(std::fs::read(folder.books()).unwrap().starts_with(&whole));
    assert_eq!(caller.query(number(&paid)).await, paid_before);
    assert_eq!(caller.state(number(&closed)).await, "closed");
    assert_eq!(caller.state(number(&declined)).await, "declined");
    assert_eq!(caller.state(number(&forever)).await, "waiting");
    assert_eq!(caller.create(&paid).await.1["state"], "paid");
    assert_eq!(caller.create(&closed).await.1["code"], "payment_closed");
    assert_eq!(caller.call("/refunds", refund).await.0, 200);
    assert_eq!(caller.line(number(&refunded)).await["refunded_minor"], 500);
    assert_eq!(caller.line("unseen00001").await["state"], "closed");
    for payment in [&waiting, &late] {
        assert!(receiver.reaches(number(payment), 1, 2_500).await[0].is_signed_by(&caller.key));
        assert_eq!(caller.state(number(payment)).await, "paid");
    }
    // The callback that nobody took is sent on; those that were acknowledged are not.
    eventually(2_000, || async { caller.line(number(&unheard)).await["callbacks_sent"].as_u64() >= Some(2) }).await;
    assert_eq!(receiver.of(number(&paid)).len(), 1);
    assert_eq!(caller.line(number(&paid)).await["callbacks_sent"], 1);
    let captured = totals["simpay"]["CNY"]["captured_minor"].as_i64().unwrap() + 2 * 20060;
    let expected = json!({ "captured_minor": captured, "refunded_minor": 500, "captures": 5 });
    assert_eq!(caller.totals().await["simpay"]["CNY"], expected);

    // The torn line is gone for good: every line is whole and a third start reads them.
    drop(running);
    sleep_ms(1_500).await;
    let text = std::fs::read_to_string(folder.books()).unwrap();
    assert!(text.ends_with('\n') && text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let running = Running::start(config).await;
    assert_eq!(running.caller().totals().await["simpay"]["CNY"], expected);
}

#[tokio::test]
async fn corrupt_books_are_refused() {
    for corrupt in [
        "{\"captured\":\n{\"declined\":{\"account\":\"default\",\"number\":\"number1\"}}\n",
        "{\"declined\":{\"account\":\"default\",\"number\":\"number1\"}}\n",
        "{\"invented\":{}}\n",
    ] {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.books().parent().unwrap()).unwrap();
        std::fs::write(folder.books(), corrupt).unwrap();
        let refused = gateway::run(&config(&folder), std::future::pending()).await;
        assert!(matches!(refused, Err(GatewayError::Books(..))), "{refused:?}");
        assert_eq!(std::fs::read_to_string(folder.books()).unwrap(), corrupt);
    }
}

#[tokio::test]
async fn faults_by_chance_take_effect_all_the_same() {
    let folder = Folder::new();
    let mut config = config(&folder);
    config.gateway.faults.error_per_10000 = 5_000;
    config.gateway.faults.latency_ms = 50;
    config.gateway.faults.callback_lost_per_10000 = 10_000;
    let running = Running::start(config).await;
    let caller = running.caller();
    let receiver = Receiver::start(Manner::Acknowledges).await;
    let payments: Vec<Value> = (0..40).map(|_| receiver.payment("plain")).collect();
    let mut failed = 0;
    for payment in &payments {
        let begun = Instant::now();
        let response = caller.post("/payments", &payment.to_string(), Envelope::fresh()).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(50));
        failed += u32::from(response.status() == 500);
    }
    assert!((8..32).contains(&failed), "{failed}");
    eventually(2_000, || async { caller.totals().await["simpay"]["CNY"]["captures"] == 40 }).await;
    // A query that failed succeeds when it is repeated.
    for payment in &payments {
        let body = json!({ "number": number(payment) }).to_string();
        let mut answered = false;
        for _ in 0..30 {
            let response = caller.post("/payments/query", &body, Envelope::fresh()).await.unwrap();
            answered |= response.status() == 200;
            if answered {
                break;
            }
        }
        assert!(answered);
    }
    assert_eq!(receiver.received.lock().unwrap().len(), 0);
}

/// `cargo test --release --test gateway -- --ignored --nocapture`: whole payments, client and receiver included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn payments_per_second() {
    const CONNECTIONS: usize = 64;
    const SPAN: Duration = Duration::from_secs(10);
    let (folder, _running, caller, receiver) = stage().await;
    let begun = Instant::now();
    let slots = (0..CONNECTIONS).map(|_| {
        let (caller, receiver) = (caller.clone(), receiver.clone());
        tokio::spawn(async move {
            let mut created = 0u64;
            while begun.elapsed() < SPAN {
                let body = receiver.payment("plain").to_string();
                let response = caller.post("/payments", &body, Envelope::fresh()).await.unwrap();
                assert_eq!(response.status(), 200);
                response.bytes().await.unwrap();
                created += 1;
            }
            created
        })
    });
    let created: u64 = futures_util::future::join_all(slots).await.into_iter().map(Result::unwrap).sum();
    let created_in = begun.elapsed();
    eventually(20_000, || async { receiver.received.lock().unwrap().len() as u64 == created }).await;
    let told_in = begun.elapsed();
    let bytes = std::fs::metadata(folder.books()).unwrap().len() / created;
    println!(
        "{created} payments created in {created_in:?}, all called back in {told_in:?}, {bytes} bytes each on disk"
    );
    assert_eq!(caller.totals().await["simpay"]["CNY"]["captures"], created);
}
