//! What platforms are told, by the Standard Webhooks specification (<https://www.standardwebhooks.com>).
//!
//! One webhook per fact, stable over its tries; a receiver that fails or hangs never holds back another one's. What goes
//! out when is decided by [`super::outbox`]; this actor carries it.

mod addresses;

use std::collections::HashMap;
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

use super::clock;
use super::lane::{Admission, Lanes};
use super::outbox::{Found, Key, Look, Outbox, Post, ROOM, Rules};
use super::supervisor::traceparent;
use super::unreadable::{Table, UnreadableRows};
use crate::channels::sender;
use crate::config::{self, Config};
use crate::domain::id::PlatformId;
use crate::domain::request::Trace;
use crate::domain::retry::Pace;
use crate::domain::stream::StreamId;
use crate::store::{Delivery, OutboxRow, Store, Unit};

/// How often the outbox is looked through for what is due again or was never delivered.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// Webhooks that were just committed and not yet looked at; one more is found by the next look instead.
const HANDED_OVER_MAX: usize = 8_192;
/// What a webhook secret begins with.
const SECRET_PREFIX: &str = "whsec_";

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
    pub stream: StreamId,
    pub row: OutboxRow,
}

/// What every delivery shares.
struct Desk {
    store: Arc<dyn Store>,
    lanes: Lanes,
    unreadable: Arc<UnreadableRows>,
    /// How often the secrets are read.
    secrets_every: Duration,
    settings: config::Webhooks,
    rules: Rules,
    pace: Pace,
    client: reqwest::Client,
    places: Semaphore,
}

pub struct WebhookDispatcher {
    desk: Rc<Desk>,
    handed_over: Arc<AtomicUsize>,
    /// Webhook secrets, read anew every now and then.
    secrets: HashMap<PlatformId, Rc<str>>,
    outbox: Outbox,
    hosts: HashMap<String, Rc<Semaphore>>,
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
            let (batch_max, retry_ms) = (settings.batch_max, settings.retry_ms.clone());
            let rules = Rules { batch_max, retry_ms, room: ROOM };
            let client = client(pace).expect("a client with built-in roots can always be made");
            WebhookDispatcher {
                outbox: Outbox::new(rules.clone()),
                desk: Rc::new(Desk {
                    places: Semaphore::new(settings.concurrency),
                    rules,
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
                hosts: HashMap::new(),
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
        if let Some(look) = self.outbox.look(clock::behind_ms()) {
            self.ask(look, context);
        }
    }

    /// Asks the store what a look needs.
    fn ask(&mut self, look: Look, context: &mut Context<Self>) {
        let desk = self.desk.clone();
        match look {
            Look::Hasten { by_ms } => {
                let work = async move { desk.store.hasten_outbox(by_ms, clock::now()).await };
                context.spawn(work.into_actor(self).map(|done, actor, context| {
                    if let Err(error) = &done {
                        tracing::warn!(%error, "webhooks wait for a clock that was set back");
                    }
                    let look = actor.outbox.hastened(&done);
                    actor.ask(look, context);
                }));
            }
            Look::Page { after, limit } => {
                let work = async move { desk.store.outbox(clock::now(), after, limit).await };
                context.spawn(work.into_actor(self).map(|page, actor, context| {
                    if let Err(error) = &page {
                        tracing::warn!(%error, "the outbox cannot be read");
                    }
                    let found = actor.outbox.page(page);
                    actor.take(found, context);
                }));
            }
        }
    }

    fn take(&mut self, found: Found, context: &mut Context<Self>) {
        let Found { posts, unreadable, next } = found;
        for (key, error) in unreadable {
            let name = key.map(|(stream, sequence)| webhook_id(stream, sequence));
            self.desk.unreadable.met(Table::Outbox, name, &error, clock::now());
        }
        for (post, secret) in posts {
            self.deliver(post, Rc::from(secret), context);
        }
        if let Some(look) = next {
            self.ask(look, context);
        }
    }

    fn deliver(&mut self, post: Post, secret: Rc<str>, context: &mut Context<Self>) {
        let per_host = self.desk.settings.concurrency_per_host;
        let host_places = self.hosts.entry(post.host.clone());
        let host_places = host_places.or_insert_with(|| Rc::new(Semaphore::new(per_host))).clone();
        let desk = self.desk.clone();
        let done = Done { post, address: context.address() };
        // A task of its own: a future of this actor's context would be polled at every message.
        actix::spawn(async move {
            let sent = {
                let _host_place = host_places.acquire().await;
                let _place = desk.places.acquire().await;
                send(&desk, &done.post, &secret).await
            };
            // Nobody's place is held while the outcome is being committed.
            note(&desk, &done.post, sent).await;
        });
    }
}

/// Tells the dispatcher that a delivery is over, however it ended.
struct Done {
    post: Post,
    address: Addr<WebhookDispatcher>,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.address.do_send(Over { key: self.post.key, host: std::mem::take(&mut self.post.host) });
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
        let Letter { stream, row } = letter;
        // A platform that is so new that its secret was not read yet waits for the next look.
        if let Some(secret) = self.secrets.get(&row.platform).cloned()
            && let Some(post) = self.outbox.written(Post::new(stream, row))
        {
            self.deliver(post, secret, context);
        }
    }
}

impl Handler<Over> for WebhookDispatcher {
    type Result = ();

    fn handle(&mut self, over: Over, _: &mut Self::Context) {
        self.outbox.over(over.key, &over.host);
    }
}

/// Makes durable what became of a try.
async fn note(desk: &Desk, post: &Post, sent: Result<(), String>) {
    let now = clock::now();
    let delivery = desk.rules.delivery(post, sent, now, |gap_ms| rand::random_range(0..=gap_ms / 10));
    let outcome = match &delivery {
        Delivery::Delivered { .. } => {
            let lag_s = now.since_ms(post.row.at) as f64 / 1_000.0;
            metrics::histogram!("tongbao_webhook_lag_seconds").record(lag_s);
            "delivered"
        }
        Delivery::Failed { stream, sequence, tries, why, .. } => {
            tracing::info!(%stream, sequence, tries, why, "webhook not delivered");
            "failed"
        }
        Delivery::Dead { stream, sequence, tries, why } => {
            tracing::error!(%stream, sequence, tries, why, "webhook given up; it can be replayed");
            "dead"
        }
    };
    metrics::counter!("tongbao_webhooks_total", "outcome" => outcome).increment(1);
    // If this is lost the webhook goes out once more, under the same id.
    if let Err(error) = desk.lanes.write(Admission::Existing, Unit::Delivery(delivery)).await {
        let (stream, sequence) = post.key;
        tracing::warn!(%stream, sequence, ?error, "a delivery was not noted");
    }
}

async fn send(desk: &Desk, post: &Post, secret: &str) -> Result<(), String> {
    let url = url::Url::parse(&post.row.url).map_err(|error| error.to_string())?;
    match desk.pace {
        Pace::Production if url.scheme() != "https" => return Err("plain http is refused".into()),
        Pace::Production | Pace::Sandbox => {}
    }
    match (desk.pace, literal_address(&url)) {
        (Pace::Production, Some(address)) if !is_public(address) => return Err("a private address is refused".into()),
        (Pace::Production | Pace::Sandbox, _) => {}
    }
    let (stream, sequence) = post.key;
    let id = webhook_id(stream, sequence);
    let timestamp = clock::now().0.div_euclid(1_000);
    let signature = sign(secret, &id, timestamp, &post.row.body)?;
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

/// The id of a webhook: of its stream and its place among the stream's, so that it is the same over all tries. Streams
/// of other kinds than orders stand in it with their kind, which no order's digits look like.
pub fn webhook_id(stream: StreamId, sequence: u32) -> String {
    match stream.order() {
        Some(order) => format!("evt_{}{sequence:04}", order.to_string().trim_start_matches("ord_")),
        None => format!("evt_{}_{:032x}{sequence:04}", stream.kind.0, stream.id),
    }
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
    use crate::domain::id::OrderId;
    use crate::domain::stream::Kind;

    #[test]
    fn signatures_are_what_the_standard_webhooks_crate_expects() {
        let secret = "whsec_c2FuZGJveC1hLXdlYmhvb2stc2VjcmV0LTAwMDE=";
        let (id, body) = (webhook_id(OrderId::from_u128(7).into(), 3), b"{\"type\":\"order.succeeded\"}");
        let now = clock::now().0 / 1_000;
        let oracle = standardwebhooks::Webhook::new(secret).unwrap();
        assert_eq!(sign(secret, &id, now, body).unwrap(), oracle.sign(&id, now, body).unwrap());
    }

    /// They are told to receivers, so they never change.
    #[test]
    fn ids_are_of_the_stream_and_its_sequence() {
        let order = OrderId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
        assert_eq!(webhook_id(order.into(), 7), "evt_01J0000000E0080000000000010007");
        let other = StreamId { kind: Kind(200), id: 7 };
        assert_eq!(webhook_id(other, 12_345), "evt_200_0000000000000000000000000000000712345");
    }
}
