//! A server that answers like Tongbao and its gateway as far as the load tester looks, with faults on demand.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const SECRET: &str = "c2FuZGJveC1hLXdlYmhvb2stc2VjcmV0LTAwMDE=";
const PAYABLE_MINOR: u64 = 20_060;
/// A field of every form, with what must be escaped on the way.
const SUBJECT: &str = "茶 a+b=c&d";

#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// Every so-many-th order is answered with 503.
    pub busy_every: Option<u64>,
    /// Every so-many-th order is answered with 201 and forgotten.
    pub forget_every: Option<u64>,
    /// This order stops the whole server for half a second.
    pub stall_at: Option<u64>,
    /// This order's payment is captured, but its webhook never comes.
    pub lose_webhook_of: Option<u64>,
    /// Captures that the gateway alone knows of.
    pub stray_captures: u64,
    /// Orders that need a form are shown without one.
    pub hide_forms: bool,
    /// What becomes of refunds.
    pub refunds: RefundsEnd,
    pub signature: Signature,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Signature {
    #[default]
    Right,
    Wrong,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum RefundsEnd {
    #[default]
    Paid,
    /// Accepted, and paid by the gateway, but no webhook comes.
    Untold,
    Refused,
}

#[derive(Default)]
struct Seen {
    orders: AtomicU64,
    /// By channel.
    captures: Mutex<HashMap<String, u64>>,
    /// By channel, in minor units.
    refunded: Mutex<HashMap<String, u64>>,
    /// What the payers of orders have not got back, by the server's own ids.
    refundable: Mutex<HashMap<String, Refundable>>,
    /// How many orders each platform got a share of.
    shares: Mutex<HashMap<String, u64>>,
    /// What is paid once its form was posted, by merchant order id.
    unpaid: Mutex<HashMap<String, Unpaid>>,
    ids: Mutex<HashSet<String>>,
}

pub struct Stub {
    address: SocketAddr,
    seen: Arc<Seen>,
    server: ServerHandle,
}

struct Context {
    faults: Faults,
    seen: Arc<Seen>,
    webhooks: mpsc::Sender<Webhook>,
}

/// A payment that its payer has not made yet.
struct Unpaid {
    channel: String,
    webhook: Webhook,
}

struct Refundable {
    channel: String,
    receiver: SocketAddr,
    left_minor: u64,
}

struct Webhook {
    receiver: SocketAddr,
    event: &'static str,
    data: Value,
}

/// A platform's key.
fn is_authorised(request: &HttpRequest) -> bool {
    let known = ["Bearer sk_sandbox_a", "Bearer sk_sandbox_b"];
    request.headers().get("authorization").is_some_and(|value| known.iter().any(|known| value == known))
}

async fn create(request: HttpRequest, order: web::Json<Value>, context: web::Data<Context>) -> HttpResponse {
    let number = context.seen.orders.fetch_add(1, Ordering::SeqCst) + 1;
    if context.faults.stall_at == Some(number) {
        // Blocks the only worker on purpose: everybody waits.
        std::thread::sleep(Duration::from_millis(500));
    }
    if !is_authorised(&request) {
        return HttpResponse::Unauthorized().finish();
    }
    if context.faults.busy_every.is_some_and(|every| number.is_multiple_of(every)) {
        return HttpResponse::ServiceUnavailable().insert_header(("retry-after", "1")).body("busy");
    }
    let text = |field: &str| order[field].as_str().map(str::to_owned);
    let id = text("merchant_order_id").unwrap();
    if context.faults.forget_every.is_some_and(|every| number.is_multiple_of(every)) {
        return HttpResponse::Created().json(json!({"merchant_order_id": id}));
    }
    assert!(context.seen.ids.lock().unwrap().insert(id.clone()), "{id} came twice");
    for split in order["splits"].as_array().into_iter().flatten() {
        *context.seen.shares.lock().unwrap().entry(split["to"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    if let Some(url) = text("webhook_url") {
        let receiver = url.strip_prefix("http://").unwrap().split('/').next().unwrap().parse().unwrap();
        let event = match text("description").unwrap().as_str() {
            "sim:decline" => "order.attempt_failed",
            _ => "order.succeeded",
        };
        let channel = text("channel").unwrap();
        let refundable = Refundable { channel: channel.clone(), receiver, left_minor: PAYABLE_MINOR };
        context.seen.refundable.lock().unwrap().insert(format!("ord_{number}"), refundable);
        let data = json!({"merchant_order_id": id, "payable": "200.60", "sequence": 3});
        let payment = Unpaid { channel, webhook: Webhook { receiver, event, data } };
        if ["page", "wap"].contains(&order["method"].as_str().unwrap_or_default()) {
            context.seen.unpaid.lock().unwrap().insert(id.clone(), payment);
            let url = format!("http://{}/cashier?charset=UTF-8", request.app_config().local_addr());
            let form = json!({"type": "form", "url": url, "fields": {"subject": SUBJECT, "number": id}});
            let next_action = if context.faults.hide_forms { Value::Null } else { form };
            return HttpResponse::Created()
                .json(json!({"id": format!("ord_{number}"), "merchant_order_id": id, "next_action": next_action}));
        }
        pay(&context, payment, context.faults.lose_webhook_of != Some(number));
    }
    HttpResponse::Created().json(json!({"id": format!("ord_{number}"), "merchant_order_id": id, "state": "created"}))
}

fn pay(context: &Context, payment: Unpaid, tell: bool) {
    if payment.webhook.event == "order.succeeded" {
        *context.seen.captures.lock().unwrap().entry(payment.channel).or_default() += 1;
    }
    if tell {
        context.webhooks.send(payment.webhook).unwrap();
    }
}

async fn refund(
    request: HttpRequest,
    order: web::Path<String>,
    refund: web::Json<Value>,
    context: web::Data<Context>,
) -> HttpResponse {
    assert!(is_authorised(&request));
    if context.faults.refunds == RefundsEnd::Refused {
        return HttpResponse::Conflict().body("refund_window_over");
    }
    let mut refundable = context.seen.refundable.lock().unwrap();
    let of = refundable.get_mut(order.as_str()).expect("the order is known");
    let amount = refund["amount"].as_str().map(|amount| amount.replace('.', "").parse().unwrap());
    let amount_minor = amount.unwrap_or(of.left_minor);
    of.left_minor = of.left_minor.checked_sub(amount_minor).expect("no more than is left");
    *context.seen.refunded.lock().unwrap().entry(of.channel.clone()).or_default() += amount_minor;
    let amount = format!("{}.{:02}", amount_minor / 100, amount_minor % 100);
    let data = json!({"id": "re_1", "merchant_refund_id": refund["merchant_refund_id"], "amount": amount});
    if context.faults.refunds == RefundsEnd::Paid {
        let webhook = Webhook { receiver: of.receiver, event: "refund.succeeded", data: data.clone() };
        context.webhooks.send(webhook).unwrap();
    }
    HttpResponse::Created().json(data)
}

/// Where a payer's browser posts forms to.
async fn cashier(
    request: HttpRequest,
    fields: web::Form<HashMap<String, String>>,
    context: web::Data<Context>,
) -> HttpResponse {
    assert_eq!((request.query_string(), fields["subject"].as_str()), ("charset=UTF-8", SUBJECT));
    let payment = context.seen.unpaid.lock().unwrap().remove(&fields["number"]);
    pay(&context, payment.expect("each form is posted once"), true);
    HttpResponse::Ok().body("<html>paid</html>")
}

async fn list(request: HttpRequest, context: web::Data<Context>) -> HttpResponse {
    let id = request.query_string().strip_prefix("merchant_order_id=").unwrap().to_owned();
    let known = context.seen.ids.lock().unwrap().contains(&id);
    let data: Vec<Value> = known.then(|| json!({"merchant_order_id": id})).into_iter().collect();
    HttpResponse::Ok().json(json!({"data": data, "next_cursor": null}))
}

async fn totals(context: web::Data<Context>) -> HttpResponse {
    let stray = if context.seen.orders.load(Ordering::SeqCst) > 0 { context.faults.stray_captures } else { 0 };
    let captures = context.seen.captures.lock().unwrap();
    let refunded = context.seen.refunded.lock().unwrap();
    let of = |channel: &str| {
        let captures = 1_000 + captures.get(channel).copied().unwrap_or_default() + stray;
        let refunded = refunded.get(channel).copied().unwrap_or_default();
        json!({"CNY": {"captured_minor": captures * PAYABLE_MINOR, "refunded_minor": refunded, "captures": captures}})
    };
    let channels = ["simpay", "wechat", "alipay", "unionpay", "stripe"];
    HttpResponse::Ok().json(channels.map(|channel| (channel, of(channel))).into_iter().collect::<HashMap<_, _>>())
}

impl Webhook {
    fn deliver(&self, number: u64, signature: Signature) -> std::io::Result<()> {
        let body = json!({"type": self.event, "timestamp": "2026-01-01T00:00:00.000Z", "data": self.data}).to_string();
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(SECRET).unwrap());
        let signed = match signature {
            Signature::Right => format!("evt_{number}.{stamp}.{body}"),
            Signature::Wrong => format!("evt_{number}.{stamp}.{body} "),
        };
        let tag = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        let mut stream = TcpStream::connect(self.receiver)?;
        write!(
            stream,
            "POST /webhooks HTTP/1.1\r\nHost: x\r\nWebhook-Id: evt_{number}\r\nWebhook-Timestamp: {stamp}\r\n\
             Webhook-Signature: v1,{tag}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        stream.read_to_end(&mut Vec::new()).map(|_| ())
    }
}

impl Stub {
    pub fn start(faults: Faults) -> Self {
        let seen = Arc::new(Seen::default());
        let (webhooks, outgoing) = mpsc::channel::<Webhook>();
        std::thread::spawn(move || {
            for (number, webhook) in outgoing.iter().enumerate() {
                // The load tester may have ended meanwhile.
                let _ = webhook.deliver(number as u64, faults.signature);
            }
        });
        let context = web::Data::new(Context { faults, seen: seen.clone(), webhooks });
        let (ready, started) = mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(context.clone())
                        .route("/v1/orders", web::post().to(create))
                        .route("/v1/orders", web::get().to(list))
                        .route("/v1/orders/{id}/refunds", web::post().to(refund))
                        .route("/cashier", web::post().to(cashier))
                        .route("/sim/totals", web::get().to(totals))
                });
                let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
                let address = server.addrs()[0];
                let running = server.run();
                ready.send((address, running.handle())).unwrap();
                running.await.unwrap();
            });
        });
        let (address, server) = started.recv().unwrap();
        Self { address, seen, server }
    }

    /// Distinct orders that were accepted.
    pub fn accepted(&self) -> u64 {
        self.seen.ids.lock().unwrap().len() as u64
    }

    pub fn orders(&self) -> u64 {
        self.seen.orders.load(Ordering::SeqCst)
    }

    /// Orders that this platform got a share of.
    pub fn shares(&self, of: &str) -> u64 {
        self.seen.shares.lock().unwrap().get(of).copied().unwrap_or_default()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs the load tester against this stub; its exit code, its report, and what it printed.
    pub fn load(&self, arguments: &str) -> Run {
        let file =
            std::env::temp_dir().join(format!("tongbao-load-{}-{}.json", std::process::id(), self.address.port()));
        let output = Command::new(env!("CARGO_BIN_EXE_tongbao-load"))
            .args(arguments.split_whitespace())
            .args(["--target", &self.url(), "--gateway", &self.url(), "--json"])
            .arg(&file)
            .output()
            .unwrap();
        let report = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let _ = std::fs::remove_file(&file);
        Run { report: report.unwrap_or_default(), output }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        // Not awaited: the worker ends with the test process at the latest.
        drop(self.server.stop(false));
    }
}

pub struct Run {
    pub report: Value,
    pub output: Output,
}

impl Run {
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// A whole number in the report, by JSON pointer.
    pub fn number(&self, pointer: &str) -> u64 {
        let found = self.report.pointer(pointer).and_then(Value::as_u64);
        found.unwrap_or_else(|| panic!("{pointer} is missing\n{}", self.text()))
    }

    pub fn text(&self) -> String {
        let both = [&self.output.stdout[..], &self.output.stderr[..]].concat();
        String::from_utf8_lossy(&both).into_owned()
    }
}
