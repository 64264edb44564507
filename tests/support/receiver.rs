//! A platform's webhook receiver, which believes nothing that the reference implementation does not.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::client::{SECRET_A, SECRET_B, text};
use super::process::free_address;
use super::{eventually, seconds};

/// One delivery that verified.
#[derive(Debug, Clone)]
pub struct Webhook {
    pub id: String,
    pub kind: String,
    pub data: Value,
}

#[derive(Default)]
struct Seen {
    /// By the last part of the address.
    secrets: Mutex<HashMap<String, String>>,
    webhooks: Mutex<Vec<Webhook>>,
    faults: Mutex<Vec<String>>,
    /// Deliveries to be refused before any is taken.
    refusals: AtomicU32,
    /// The ids of those that were.
    refused: Mutex<Vec<String>>,
    /// The id and the bytes of each delivery, refused or not.
    tries: Mutex<Vec<(String, Vec<u8>)>>,
}

pub struct Receiver {
    address: SocketAddr,
    seen: Arc<Seen>,
    server: Option<ServerHandle>,
}

impl Receiver {
    pub fn start() -> Self {
        let mut receiver = Receiver { address: free_address(), seen: Arc::default(), server: None };
        receiver.knows("platform-a", SECRET_A);
        receiver.knows("platform-b", SECRET_B);
        receiver.open();
        receiver
    }

    /// Tells it a platform's secret.
    pub fn knows(&self, platform: &str, secret: &str) {
        self.seen.secrets.lock().unwrap().insert(platform.to_owned(), secret.to_owned());
    }

    /// Listens (again).
    pub fn open(&mut self) {
        let seen = web::Data::from(self.seen.clone());
        let server =
            HttpServer::new(move || App::new().app_data(seen.clone()).route("/{platform}", web::post().to(receive)))
                .workers(1)
                .shutdown_timeout(1)
                .disable_signals()
                .bind(self.address)
                .expect("the receiver listens")
                .run();
        self.server = Some(server.handle());
        actix_web::rt::spawn(server);
    }

    /// Listens no more: connections are refused.
    pub async fn close(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(false).await;
        }
    }

    /// Answers the next deliveries with 500.
    pub fn refuse(&self, deliveries: u32) {
        self.seen.refusals.store(deliveries, Ordering::SeqCst);
    }

    /// The ids of the deliveries that were refused, in the order in which they came.
    pub fn refused(&self) -> Vec<String> {
        self.seen.refused.lock().unwrap().clone()
    }

    /// The bytes of each delivery of a webhook, in the order in which they came.
    pub fn tries(&self, id: &str) -> Vec<Vec<u8>> {
        let tries = self.seen.tries.lock().unwrap();
        tries.iter().filter(|(of, _)| of == id).map(|(_, body)| body.clone()).collect()
    }

    pub fn url(&self, platform: &str) -> String {
        format!("http://{}/{platform}", self.address)
    }

    /// All deliveries about an order, or about a refund, in the order in which they came.
    pub fn of(&self, order: &str) -> Vec<Webhook> {
        let webhooks = self.seen.webhooks.lock().unwrap();
        webhooks.iter().filter(|webhook| webhook.data["id"] == order).cloned().collect()
    }

    /// All deliveries about an order and its refunds.
    pub fn of_all(&self, order: &str) -> Vec<Webhook> {
        let webhooks = self.seen.webhooks.lock().unwrap();
        let is_of = |webhook: &&Webhook| webhook.data["id"] == order || webhook.data["order"] == order;
        webhooks.iter().filter(is_of).cloned().collect()
    }

    /// The types of the webhooks of an order by sequence.
    pub fn kinds(&self, order: &str) -> Vec<String> {
        let mut webhooks = self.of(order);
        webhooks.sort_by_key(|webhook| webhook.data["sequence"].as_u64());
        webhooks.into_iter().map(|webhook| webhook.kind).collect()
    }

    pub async fn kinds_become(&self, order: &str, kinds: &[&str], within: Duration) {
        eventually(
            &format!("the webhooks {kinds:?} of {order}; there are {:?}", self.kinds(order)),
            within,
            || async { (self.kinds(order) == kinds).then_some(()) },
        )
        .await;
    }

    /// What did not verify, or was not as the contract has it.
    pub fn faults(&self) -> Vec<String> {
        self.seen.faults.lock().unwrap().clone()
    }
}

async fn receive(
    seen: web::Data<Seen>,
    platform: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let refused = seen.refusals.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    seen.tries.lock().unwrap().push((id.to_owned(), body.to_vec()));
    if refused {
        seen.refused.lock().unwrap().push(id.to_owned());
        return HttpResponse::InternalServerError().finish();
    }
    match read(&seen, &platform, &request, &body) {
        Ok(webhook) => {
            seen.webhooks.lock().unwrap().push(webhook);
            HttpResponse::NoContent().finish()
        }
        Err(fault) => {
            seen.faults.lock().unwrap().push(fault);
            HttpResponse::BadRequest().finish()
        }
    }
}

fn read(seen: &Seen, platform: &str, request: &HttpRequest, body: &[u8]) -> Result<Webhook, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(|error| error.to_string())?;
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|error| error.to_string())?);
    }
    let secret = seen.secrets.lock().unwrap().get(platform).cloned().ok_or("an unknown platform")?;
    let oracle = standardwebhooks::Webhook::new(&secret).map_err(|error| error.to_string())?;
    oracle.verify(body, &headers).map_err(|error| format!("{error} ({platform})"))?;
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let data = body["data"].clone();
    if data.get("next_action").is_some() {
        return Err(format!("a webhook carries next_action: {body}"));
    }
    // The metadata are the order's.
    let is_whole = data["object"] != "order" || data["metadata"].is_object();
    if !data["sequence"].is_u64() || !body["timestamp"].is_string() || !is_whole {
        return Err(format!("a webhook lacks something: {body}"));
    }
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).ok_or("no webhook-id")?.to_owned();
    Ok(Webhook { id, kind: text(&body, "type").to_owned(), data })
}

/// How long a delivery may take when nothing is wrong.
pub const DELIVERY: Duration = seconds(5);
