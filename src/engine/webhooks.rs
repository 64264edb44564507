//! The outbox: what platforms are told, by the Standard Webhooks specification (<https://www.standardwebhooks.com>).
//!
//! One webhook per fact, stable over its tries; a receiver that fails or hangs never holds back another one's.

mod addresses;
mod room;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;

use addresses::{PublicOnly, is_public, literal_address};
use room::{Entrance, Room};

use super::ask::Trace;
use super::clock;
use super::lane::{Admission, Lanes};
use super::supervisor::traceparent;
use super::unreadable::{Table, UnreadableRows};
use crate::channels::sender;
use crate::config::{self, Config};
use crate::domain::id::{OrderId, PlatformId};
use crate::domain::retry::Pace;
use crate::store::{Delivery, OutboxItem, OutboxPlace, OutboxRow, Seen, Store, Unit};

/// How often the outbox is looked through for what is due again or was never delivered.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// Pages per look; the next look goes on where this one ended, so that it passes any number of rows in the end.
const SCAN_PAGES: u32 = 20;
/// Webhooks that were just committed and not yet looked at; one more is found by the next look instead.
const HANDED_OVER_MAX: usize = 8_192;
/// What a webhook secret begins with.
const SECRET_PREFIX: &str = "whsec_";

type Key = (OrderId, u32);

/// The way to the dispatcher.
#[derive(Clone)]
pub struct WebhookHandle {
    address: Addr<WebhookDispatcher>,
    handed_over: Arc<AtomicUsize>,
}

impl WebhookHandle {
    /// A webhook is durable. Where there is no room for it, the next look through the outbox finds it.
    pub fn written(&self, letter: Letter) {
        if self.handed_over.fetch_add(1, Ordering::Relaxed) < HANDED_OVER_MAX {
            self.address.do_send(letter);
        } else {
            self.handed_over.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A webhook that was just committed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Letter {
    pub order: OrderId,
    pub row: OutboxRow,
}

/// A webhook on its way.
struct Post {
    key: Key,
    row: OutboxRow,
    /// Tries before this one.
    tries: u32,
    /// `whsec_…`
    secret: Rc<str>,
}

/// What every delivery shares.
struct Desk {
    store: Arc<dyn Store>,
    lanes: Lanes,
    unreadable: Arc<UnreadableRows>,
    /// How often the secrets are read.
    secrets_every: Duration,
    settings: config::Webhooks,
    pace: Pace,
    client: reqwest::Client,
    places: Semaphore,
}

pub struct WebhookDispatcher {
    desk: Rc<Desk>,
    handed_over: Arc<AtomicUsize>,
    /// Webhook secrets, read anew every now and then.
    secrets: HashMap<PlatformId, Rc<str>>,
    room: Room,
    lately: Lately,
    hosts: HashMap<String, Rc<Semaphore>>,
    /// How far the outbox has been looked through; none: from its start.
    looked_to: Option<OutboxPlace>,
    /// What was seen of [`clock::behind_ms`].
    behind_ms: i64,
    loading: Loading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loading {
    Idle,
    Busy,
}

impl WebhookDispatcher {
    /// Starts the dispatcher on a thread of its own.
    pub fn start(
        config: &Config,
        store: Arc<dyn Store>,
        lanes: Lanes,
        unreadable: Arc<UnreadableRows>,
    ) -> WebhookHandle {
        let (settings, pace) = (config.webhooks.clone(), config.pace());
        let secrets_every = Duration::from_millis(config.limits.key_cache_ms);
        let handed_over = Arc::new(AtomicUsize::new(0));
        let counter = handed_over.clone();
        let address = WebhookDispatcher::start_in_arbiter(&Arbiter::new().handle(), move |_| {
            let client = client(pace).expect("a client with built-in roots can always be made");
            WebhookDispatcher {
                desk: Rc::new(Desk {
                    places: Semaphore::new(settings.concurrency),
                    store,
                    lanes,
                    unreadable,
                    secrets_every,
                    settings,
                    pace,
                    client,
                }),
                handed_over: counter,
                secrets: HashMap::new(),
                room: Room::default(),
                lately: Lately::default(),
                hosts: HashMap::new(),
                looked_to: None,
                behind_ms: 0,
                loading: Loading::Idle,
            }
        });
        WebhookHandle { address, handed_over }
    }

    fn read_secrets(&mut self, context: &mut Context<Self>) {
        let desk = self.desk.clone();
        let work = async move { desk.store.platforms().await };
        context.spawn(work.into_actor(self).map(|platforms, actor, _| match platforms {
            Ok(platforms) => {
                let unreadable = actor.desk.unreadable.clone();
                let name = |platform: &PlatformId| platform.0.to_string();
                actor.secrets = unreadable
                    .pass_over(Table::Platforms, platforms, name, clock::now())
                    .into_iter()
                    .map(|platform| (platform.id, Rc::from(platform.webhook_secret.as_str())))
                    .collect();
            }
            Err(error) => tracing::warn!(%error, "webhook secrets cannot be read"),
        }));
    }

    fn scan(&mut self, context: &mut Context<Self>) {
        self.hosts.retain(|_, places| Rc::strong_count(places) > 1);
        if self.loading == Loading::Busy {
            return;
        }
        self.loading = Loading::Busy;
        self.lately.age();
        let behind_ms = clock::behind_ms();
        if behind_ms > self.behind_ms { self.hasten(behind_ms, context) } else { self.scan_page(SCAN_PAGES, context) }
    }

    /// The clock was set back: tries that were put off while it ran ahead are due as much earlier. One that was put off
    /// before is made once too early, which does no harm.
    fn hasten(&mut self, behind_ms: i64, context: &mut Context<Self>) {
        let (desk, by_ms) = (self.desk.clone(), behind_ms - self.behind_ms);
        let work = async move { desk.store.hasten_outbox(by_ms, clock::now()).await };
        context.spawn(work.into_actor(self).map(move |hastened, actor, context| {
            match hastened {
                Ok(_) => {
                    actor.behind_ms = behind_ms;
                    actor.looked_to = None;
                }
                Err(error) => tracing::warn!(%error, "webhooks wait for a clock that was set back"),
            }
            actor.scan_page(SCAN_PAGES, context);
        }));
    }

    fn scan_page(&mut self, pages: u32, context: &mut Context<Self>) {
        let desk = self.desk.clone();
        let (after, limit) = (self.looked_to, desk.settings.batch_max);
        let work = async move { desk.store.outbox(clock::now(), after, limit).await };
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
                More::Yes | More::No => actor.loading = Loading::Idle,
            }
        }));
    }

    /// Takes a page up as far as there is room. Rows of a host that has its share are passed, and so are those that
    /// cannot be read: after the outbox's end the next look begins at its start again.
    fn look_through(
        &mut self,
        items: Vec<Seen<OutboxPlace, OutboxItem>>,
        limit: u32,
        context: &mut Context<Self>,
    ) -> More {
        // A page of rows without a single place leads nowhere.
        let full = items.len() == limit as usize && items.iter().any(|item| item.key.is_some());
        for Seen { key, value } in items {
            let item = match value {
                Ok(item) => item,
                Err(error) => {
                    let name = key.map(|(_, order, sequence)| webhook_id(order, sequence));
                    self.desk.unreadable.met(Table::Outbox, name, &error, clock::now());
                    self.looked_to = key.or(self.looked_to);
                    continue;
                }
            };
            let place = (item.next_at, item.order_id, item.row.sequence);
            if !self.lately.has(&(item.order_id, item.row.sequence)) {
                match self.admit(post_of(item), context) {
                    Entrance::Free | Entrance::Inside | Entrance::HostFull => {}
                    Entrance::Full => return More::No,
                }
            }
            self.looked_to = Some(place);
        }
        if full {
            More::Yes
        } else {
            self.looked_to = None;
            More::No
        }
    }

    /// Sends a webhook out if there is room for it.
    fn admit(&mut self, post: Post, context: &mut Context<Self>) -> Entrance {
        let url = url::Url::parse(&post.row.url);
        let host = url.as_ref().map(host_of).unwrap_or_default();
        let entrance = self.room.enter(post.key, &host);
        match entrance {
            Entrance::Free => self.deliver(post, url, host, context),
            Entrance::Inside | Entrance::HostFull | Entrance::Full => {}
        }
        entrance
    }

    fn deliver(
        &mut self,
        post: Post,
        url: Result<url::Url, url::ParseError>,
        host: String,
        context: &mut Context<Self>,
    ) {
        let per_host = self.desk.settings.concurrency_per_host;
        let host_places = self.hosts.entry(host.clone()).or_insert_with(|| Rc::new(Semaphore::new(per_host))).clone();
        let (desk, address, key) = (self.desk.clone(), context.address(), post.key);
        // A task of its own: a future of this actor's context would be polled at every message.
        actix::spawn(async move {
            let _done = Done { key, host, address };
            let sent = {
                let _host_place = host_places.acquire().await;
                let _place = desk.places.acquire().await;
                match url {
                    Ok(url) => send(&desk, &post, url).await,
                    Err(error) => Err(error.to_string()),
                }
            };
            // Nobody's place is held while the outcome is being committed.
            note(&desk, &post, sent).await;
        });
    }
}

/// Webhooks that were seen to within the last look or two: a page that was read before, or a letter that waited
/// longer, may still speak of them as new.
#[derive(Default)]
struct Lately {
    now: HashSet<Key>,
    before: HashSet<Key>,
}

impl Lately {
    fn add(&mut self, key: Key) {
        self.now.insert(key);
    }

    fn has(&self, key: &Key) -> bool {
        self.now.contains(key) || self.before.contains(key)
    }

    fn age(&mut self) {
        self.before = std::mem::take(&mut self.now);
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
        self.read_secrets(context);
        self.scan(context);
        context.run_interval(SCAN_EVERY, Self::scan);
        context.run_interval(self.desk.secrets_every, Self::read_secrets);
    }
}

impl Handler<Letter> for WebhookDispatcher {
    type Result = ();

    fn handle(&mut self, letter: Letter, context: &mut Self::Context) {
        self.handed_over.fetch_sub(1, Ordering::Relaxed);
        let Letter { order, row } = letter;
        let key = (order, row.sequence);
        if self.lately.has(&key) {
            return;
        }
        // A platform that is so new that its secret was not read yet waits for the next look.
        if let Some(secret) = self.secrets.get(&row.platform).cloned() {
            // Where there is no room, the next look finds it.
            self.admit(Post { key, row, tries: 0, secret }, context);
        }
    }
}

impl Handler<Over> for WebhookDispatcher {
    type Result = ();

    fn handle(&mut self, over: Over, _: &mut Self::Context) {
        self.lately.add(over.key);
        self.room.leave(over.key, &over.host);
    }
}

/// A webhook as the outbox holds it.
fn post_of(item: OutboxItem) -> Post {
    let OutboxItem { order_id, row, tries, next_at: _, secret } = item;
    Post { key: (order_id, row.sequence), row, tries, secret: Rc::from(secret) }
}

fn host_of(url: &url::Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// Makes durable what became of a try.
async fn note(desk: &Desk, post: &Post, sent: Result<(), String>) {
    let ((order, sequence), tries) = (post.key, post.tries + 1);
    let lag_s = clock::now().since_ms(post.row.at) as f64 / 1_000.0;
    let (delivery, outcome) = match sent {
        Ok(()) => {
            metrics::histogram!("tongbao_webhook_lag_seconds").record(lag_s);
            (Delivery::Delivered { order, sequence }, "delivered")
        }
        Err(why) => {
            let gap = desk.settings.retry_ms.get(post.tries as usize);
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
    if let Err(error) = desk.lanes.write(Admission::Existing, Unit::Delivery(delivery)).await {
        tracing::warn!(%order, sequence, ?error, "a delivery was not noted");
    }
}

async fn send(desk: &Desk, post: &Post, url: url::Url) -> Result<(), String> {
    match desk.pace {
        Pace::Production if url.scheme() != "https" => return Err("plain http is refused".into()),
        Pace::Production | Pace::Sandbox => {}
    }
    match (desk.pace, literal_address(&url)) {
        (Pace::Production, Some(address)) if !is_public(address) => return Err("a private address is refused".into()),
        (Pace::Production | Pace::Sandbox, _) => {}
    }
    let (order, sequence) = post.key;
    let id = webhook_id(order, sequence);
    let timestamp = clock::now().0.div_euclid(1_000);
    let signature = sign(&post.secret, &id, timestamp, &post.row.body)?;
    let response = desk
        .client
        .post(url)
        .timeout(Duration::from_millis(desk.settings.timeout_ms))
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature)
        .header("traceparent", traceparent(Trace(post.row.trace)))
        .body(post.row.body.to_vec())
        .send()
        .await
        .map_err(|error| sender::describe(&error.without_url()))?;
    if response.status().is_success() { Ok(()) } else { Err(format!("answered {}", response.status().as_u16())) }
}

/// The id of a webhook: of its order and its place among the order's, so that it is the same over all tries.
pub fn webhook_id(order: OrderId, sequence: u32) -> String {
    format!("evt_{}{sequence:04}", order.to_string().trim_start_matches("ord_"))
}

/// `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`, by the bytes that the secret encodes.
///
/// # Errors
/// The secret is not `whsec_` and base64; it is never shown.
pub fn sign(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Result<String, String> {
    let encoded = secret.strip_prefix(SECRET_PREFIX).ok_or("the platform's webhook secret is malformed")?;
    let key = STANDARD.decode(encoded).map_err(|_| "the platform's webhook secret is malformed")?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let mut signed = hmac::Context::with_key(&key);
    signed.update(format!("{id}.{timestamp}.").as_bytes());
    signed.update(body);
    Ok(format!("v1,{}", STANDARD.encode(signed.sign().as_ref())))
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
        let (id, body) = (webhook_id(OrderId::from_u128(7), 3), b"{\"type\":\"order.succeeded\"}");
        let now = clock::now().0 / 1_000;
        let oracle = standardwebhooks::Webhook::new(secret).unwrap();
        assert_eq!(sign(secret, &id, now, body).unwrap(), oracle.sign(&id, now, body).unwrap());
    }
}
