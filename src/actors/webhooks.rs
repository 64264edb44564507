//! The outbox: what platforms are told, by the Standard Webhooks specification (<https://www.standardwebhooks.com>).
//!
//! One webhook per fact, stable over its tries; a receiver that fails or hangs never holds back another one's.

mod addresses;
mod room;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tokio::sync::Semaphore;

use addresses::{PublicOnly, is_public, literal_address};
use room::{Entrance, Room};

use super::clock;
use super::registry::Registry;
use super::supervisor::traceparent;
use super::writer::Lane;
use crate::channels::sender;
use crate::config;
use crate::domain::channel::Channel;
use crate::domain::id::OrderId;
use crate::domain::pay_link::PayLinks;
use crate::domain::retry::Pace;
use crate::domain::time::Instant;
use crate::domain::validation::Health;
use crate::domain::view::{self, Beside, Metadata};
use crate::store::{Delivery, OutboxItem, Unit};

/// How often the outbox is looked through for what is due again or was never announced.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// Pages per look; the next look goes on where this one ended, so that it passes any number of rows in the end.
const SCAN_PAGES: u32 = 20;
/// Announcements kept in memory; one more is found by the next look instead.
const ANNOUNCED_MAX: usize = 100_000;
/// What a webhook secret begins with.
const SECRET_PREFIX: &str = "whsec_";

type Key = (OrderId, u32);
/// Where a webhook stands in the outbox.
type Place = (Instant, OrderId, u32);

/// The way to the dispatcher.
#[derive(Clone)]
pub struct WebhookHandle {
    address: Addr<WebhookDispatcher>,
    announced: Arc<AtomicUsize>,
}

impl WebhookHandle {
    /// A webhook is durable.
    pub fn written(&self, order: OrderId, sequence: u32) {
        if self.announced.fetch_add(1, Ordering::Relaxed) < ANNOUNCED_MAX {
            self.address.do_send(Written((order, sequence)));
        } else {
            self.announced.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Written(Key);

/// What every delivery shares.
struct Desk {
    registry: Arc<Registry>,
    settings: config::Webhooks,
    links: Arc<PayLinks>,
    pace: Pace,
    client: reqwest::Client,
    places: Semaphore,
}

pub struct WebhookDispatcher {
    desk: Rc<Desk>,
    announced: Arc<AtomicUsize>,
    fresh: VecDeque<Key>,
    room: Room,
    hosts: HashMap<String, Rc<Semaphore>>,
    /// How far the outbox has been looked through; none: from its start.
    looked_to: Option<Place>,
    loading: Loading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loading {
    Idle,
    Busy,
}

impl WebhookDispatcher {
    /// Starts the dispatcher on a thread of its own.
    pub fn start(registry: Arc<Registry>, links: Arc<PayLinks>) -> WebhookHandle {
        let announced = Arc::new(AtomicUsize::new(0));
        let counter = announced.clone();
        let address = WebhookDispatcher::start_in_arbiter(&Arbiter::new().handle(), move |_| {
            let settings = registry.config().webhooks.clone();
            let pace = registry.config().pace();
            let client = client(pace).expect("a client with built-in roots can always be made");
            WebhookDispatcher {
                desk: Rc::new(Desk {
                    places: Semaphore::new(settings.concurrency),
                    registry,
                    settings,
                    links,
                    pace,
                    client,
                }),
                announced: counter,
                fresh: VecDeque::new(),
                room: Room::default(),
                hosts: HashMap::new(),
                looked_to: None,
                loading: Loading::Idle,
            }
        });
        WebhookHandle { address, announced }
    }

    /// Loads what was announced, if there is room for it.
    fn load_fresh(&mut self, context: &mut Context<Self>) {
        if self.loading == Loading::Busy || self.fresh.is_empty() || self.room.left() == 0 {
            return;
        }
        self.loading = Loading::Busy;
        let size = self.fresh.len().min(self.desk.settings.batch_max as usize).min(self.room.left());
        let keys: Vec<Key> = self.fresh.drain(..size).collect();
        self.announced.fetch_sub(size, Ordering::Relaxed);
        let desk = self.desk.clone();
        let work = async move { desk.registry.store().outbox_items(&keys).await };
        context.spawn(work.into_actor(self).map(|items, actor, context| {
            actor.loading = Loading::Idle;
            match items {
                // What finds no room is found by a look through the outbox.
                Ok(items) => {
                    for item in items {
                        actor.admit(item, context);
                    }
                }
                // The next look through the outbox finds them.
                Err(error) => tracing::warn!(%error, "webhooks cannot be read"),
            }
            actor.load_fresh(context);
        }));
    }

    fn scan(&mut self, context: &mut Context<Self>) {
        self.hosts.retain(|_, places| Rc::strong_count(places) > 1);
        if self.loading == Loading::Busy {
            return;
        }
        self.loading = Loading::Busy;
        self.scan_page(SCAN_PAGES, context);
    }

    fn scan_page(&mut self, pages: u32, context: &mut Context<Self>) {
        let desk = self.desk.clone();
        let (after, limit) = (self.looked_to, desk.settings.batch_max);
        let work = async move { desk.registry.store().outbox(clock::now(), after, limit).await };
        context.spawn(work.into_actor(self).map(move |items, actor, context| {
            let more = match items {
                Ok(items) => actor.look_through(items, limit, context),
                Err(error) => {
                    tracing::warn!(%error, "the outbox cannot be read");
                    More::No
                }
            };
            match more {
                More::Yes if pages > 1 => actor.scan_page(pages - 1, context),
                More::Yes | More::No => {
                    actor.loading = Loading::Idle;
                    actor.load_fresh(context);
                }
            }
        }));
    }

    /// Takes a page up as far as there is room. Rows of a host that has its share are passed: after the outbox's end
    /// the next look begins at its start again.
    fn look_through(&mut self, items: Vec<OutboxItem>, limit: u32, context: &mut Context<Self>) -> More {
        let full = items.len() == limit as usize;
        for item in items {
            let place = (item.next_at, item.order_id, item.sequence);
            match self.admit(item, context) {
                Entrance::Free | Entrance::Inside | Entrance::HostFull => self.looked_to = Some(place),
                Entrance::Full => return More::No,
            }
        }
        if full {
            More::Yes
        } else {
            self.looked_to = None;
            More::No
        }
    }

    /// Sends a webhook out if there is room for it.
    fn admit(&mut self, item: OutboxItem, context: &mut Context<Self>) -> Entrance {
        let host = host_of(&item);
        let entrance = self.room.enter((item.order_id, item.sequence), &host);
        match entrance {
            Entrance::Free => self.deliver(item, host, context),
            Entrance::Inside | Entrance::HostFull | Entrance::Full => {}
        }
        entrance
    }

    fn deliver(&mut self, item: OutboxItem, host: String, context: &mut Context<Self>) {
        let per_host = self.desk.settings.concurrency_per_host;
        let host_places = self.hosts.entry(host.clone()).or_insert_with(|| Rc::new(Semaphore::new(per_host))).clone();
        let (desk, address, key) = (self.desk.clone(), context.address(), (item.order_id, item.sequence));
        // A task of its own: a future of this actor's context would be polled at every message.
        actix::spawn(async move {
            let _done = Done { key, host, address };
            let sent = {
                let _host_place = host_places.acquire().await;
                let _place = desk.places.acquire().await;
                send(&desk, &item).await
            };
            // Nobody's place is held while the outcome is being committed.
            note(&desk, &item, sent).await;
        });
    }
}

/// Whether there may be more to look through at once.
enum More {
    Yes,
    No,
}

/// Tells the dispatcher that a delivery is over, however it ended.
struct Done {
    key: Key,
    host: String,
    address: Addr<WebhookDispatcher>,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.address.do_send(Over { key: self.key, host: std::mem::take(&mut self.host) });
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Over {
    key: Key,
    host: String,
}

impl Actor for WebhookDispatcher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.scan(context);
        context.run_interval(SCAN_EVERY, Self::scan);
    }
}

impl Handler<Written> for WebhookDispatcher {
    type Result = ();

    fn handle(&mut self, Written(key): Written, context: &mut Self::Context) {
        self.fresh.push_back(key);
        self.load_fresh(context);
    }
}

impl Handler<Over> for WebhookDispatcher {
    type Result = ();

    fn handle(&mut self, over: Over, context: &mut Self::Context) {
        self.room.leave(over.key, &over.host);
        self.load_fresh(context);
    }
}

fn host_of(item: &OutboxItem) -> String {
    let url = item.request.webhook_url.as_deref().and_then(|url| url::Url::parse(url).ok());
    url.and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))).unwrap_or_default()
}

/// Makes durable what became of a try.
async fn note(desk: &Desk, item: &OutboxItem, sent: Result<(), String>) {
    let (order, sequence, tries) = (item.order_id, item.sequence, item.tries + 1);
    let lag_s = clock::now().since_ms(item.at) as f64 / 1_000.0;
    let (delivery, outcome) = match sent {
        Ok(()) => {
            metrics::histogram!("tongbao_webhook_lag_seconds").record(lag_s);
            (Delivery::Delivered { order, sequence }, "delivered")
        }
        Err(why) => {
            let gap = desk.settings.retry_ms.get(item.tries as usize);
            match gap {
                Some(gap_ms) => {
                    let jittered = gap_ms + rand::random_range(0..=gap_ms / 10);
                    let next_at = clock::now().plus_ms(i64::try_from(jittered).unwrap_or(i64::MAX));
                    tracing::info!(%order, sequence, tries, why, "webhook not delivered");
                    (Delivery::Failed { order, sequence, tries, next_at, why: why.into() }, "failed")
                }
                None => {
                    tracing::error!(%order, sequence, tries, why, "webhook given up; it can be replayed");
                    (Delivery::Dead { order, sequence, tries, why: why.into() }, "dead")
                }
            }
        }
    };
    metrics::counter!("tongbao_webhooks_total", "outcome" => outcome).increment(1);
    // If this is lost the webhook goes out once more, under the same id.
    if let Err(error) = desk.registry.writer().write(Lane::Existing, Unit::Delivery(delivery)).await {
        tracing::warn!(%order, sequence, ?error, "a delivery was not noted");
    }
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    data: view::OrderView<'a>,
}

async fn send(desk: &Desk, item: &OutboxItem) -> Result<(), String> {
    let url = item.request.webhook_url.as_deref().ok_or("the order has no webhook address")?;
    let url = url::Url::parse(url).map_err(|error| error.to_string())?;
    match (desk.pace, literal_address(&url)) {
        (Pace::Production, Some(address)) if !is_public(address) => return Err("a private address is refused".into()),
        (Pace::Production | Pace::Sandbox, _) => {}
    }
    let body = payload(desk, item)?;
    let id = webhook_id(item.order_id, item.sequence);
    let timestamp = clock::now().0.div_euclid(1_000);
    let signature = sign(&item.platform.webhook_secret, &id, timestamp, &body)?;
    let response = desk
        .client
        .post(url)
        .timeout(Duration::from_millis(desk.settings.timeout_ms))
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature)
        .header("traceparent", traceparent(desk.registry.trace(item.order_id, &item.request)))
        .body(body)
        .send()
        .await
        .map_err(|error| sender::describe(&error.without_url()))?;
    if response.status().is_success() { Ok(()) } else { Err(format!("answered {}", response.status().as_u16())) }
}

fn payload(desk: &Desk, item: &OutboxItem) -> Result<String, String> {
    let request: serde_json::Value = serde_json::from_str(&item.request.body).map_err(|error| error.to_string())?;
    let metadata: Metadata = match request.get("metadata") {
        Some(metadata) => serde::Deserialize::deserialize(metadata).map_err(|_| "unreadable metadata")?,
        None => Metadata::new(),
    };
    let usable = |channel: Channel| desk.registry.health(channel) == Some(Health::Up);
    let beside = Beside {
        merchant_order_id: &item.request.merchant_order_id,
        metadata: &metadata,
        links: &desk.links,
        usable: &usable,
    };
    let payload = Payload {
        kind: item.kind.name(),
        timestamp: item.at.rfc3339(),
        data: view::webhook_view(&item.order, &beside, item.sequence),
    };
    serde_json::to_string(&payload).map_err(|error| error.to_string())
}

/// The id of a webhook: of its order and its place among the order's, so that it is the same over all tries.
pub fn webhook_id(order: OrderId, sequence: u32) -> String {
    format!("evt_{}{sequence:04}", order.to_string().trim_start_matches("ord_"))
}

/// `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`, by the bytes that the secret encodes.
///
/// # Errors
/// The secret is not `whsec_` and base64; it is never shown.
pub fn sign(secret: &str, id: &str, timestamp: i64, body: &str) -> Result<String, String> {
    let encoded = secret.strip_prefix(SECRET_PREFIX).ok_or("the platform's webhook secret is malformed")?;
    let key = STANDARD.decode(encoded).map_err(|_| "the platform's webhook secret is malformed")?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(tag.as_ref())))
}

fn client(pace: Pace) -> Result<reqwest::Client, reqwest::Error> {
    match pace {
        Pace::Sandbox => sender::client_builder().build(),
        Pace::Production => sender::client_builder().dns_resolver(PublicOnly).build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_what_the_standard_webhooks_crate_expects() {
        let secret = "whsec_c2FuZGJveC1hLXdlYmhvb2stc2VjcmV0LTAwMDE=";
        let (id, body) = (webhook_id(OrderId::from_u128(7), 3), "{\"type\":\"order.succeeded\"}");
        let now = clock::now().0 / 1_000;
        let oracle = standardwebhooks::Webhook::new(secret).unwrap();
        assert_eq!(sign(secret, &id, now, body).unwrap(), oracle.sign(&id, now, body.as_bytes()).unwrap());
    }
}
