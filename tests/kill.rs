//! SIGKILL to the real server at random moments, under load of payments and refunds, on each store; then the books.
//!
//! `TONGBAO_KILLS=20` kills that often; `TONGBAO_SEED` repeats the choices of a run (its timing is the machine's).

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use support::app::App;
use support::beside::Beside;
use support::books::{self, Left};
use support::client::{Client, an_order, text, with};
use support::process::{Kind, Site};
use support::refunds::{a_refund, path_of};
use support::{eventually, seconds};
use tongbao::domain::order::{AttemptFailure, Order, OrderFailure, State};
use tongbao::domain::refund::RefundState;

/// The gateway outlives the server, and its callbacks come again soon enough to be waited for.
const SETTINGS: &str = "
[gateway]
embedded = false
callback_retry_ms = [500, 1000, 2000, 4000, 8000, 15000]
";
/// Platforms that send at the same time.
const SENDERS: u64 = 8;
/// A server lives this long between two kills, in milliseconds after it was ready.
const LIFE_MS: std::ops::Range<u64> = 100..1_500;
/// How long a sender waits between two orders, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 5..60;
/// The money of `sim:late` comes 1 s after its attempt was closed, when everything else may be at rest.
const LATE_MONEY: Duration = Duration::from_millis(1_500);
/// How long a request is repeated until it is answered.
const ANSWER_LIMIT: Duration = seconds(60);
/// The scripts, each as often as it stands here. `tea` is no script: it is paid.
const MIX: [&str; 14] = [
    "tea",
    "tea",
    "tea",
    "tea",
    "sim:decline",
    "sim:refuse",
    "sim:hang",
    "sim:error",
    "sim:lost",
    "sim:twice",
    "sim:twice",
    "sim:underpay",
    "sim:late",
    "sim:never",
];
/// How the refunds of payments go; each ends well, some after a query or two.
const REFUNDS: [Option<&str>; 5] = [None, None, Some("sim:hang"), Some("sim:error"), Some("sim:poor")];
/// What is refunded of a payment of 200.00, in each of up to three refunds.
const REFUNDED: &str = "60.00";
/// How long after the order a refund of it is asked for, in milliseconds: its payer takes 300 ms to pay.
const PAID_MS: std::ops::Range<u64> = 350..900;

#[actix_web::test]
async fn killed_at_any_moment_on_sqlite() {
    killed_under_load(Kind::Sqlite, &[1]).await;
}

#[actix_web::test]
async fn killed_at_any_moment_on_postgres() {
    killed_under_load(Kind::Postgres, &[1]).await;
}

#[actix_web::test]
async fn killed_at_any_moment_on_postgres_with_four_lanes() {
    killed_under_load(Kind::Postgres, &[4]).await;
}

#[actix_web::test]
async fn killed_at_any_moment_on_postgres_and_divided_anew() {
    killed_under_load(Kind::Postgres, &[4, 1, 3]).await;
}

fn settings(lanes: u16) -> String {
    format!("{SETTINGS}\n[store]\nlanes = {lanes}\n")
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// What the senders share.
#[derive(Default)]
struct Log {
    /// Acknowledged orders and their scripts.
    acknowledged: Mutex<BTreeMap<String, &'static str>>,
    /// Acknowledged refunds and their orders.
    refunds: Mutex<BTreeMap<String, String>>,
    unanswered: AtomicU32,
    turned_away: AtomicU32,
    repeated: AtomicU32,
    enough: AtomicBool,
}

/// Each start has the next number of lanes.
async fn killed_under_load(kind: Kind, lanes: &[u16]) {
    let kills = from_environment("TONGBAO_KILLS").unwrap_or(3);
    let seed = from_environment("TONGBAO_SEED").unwrap_or_else(rand::random);
    println!("{kind:?}, {lanes:?} lanes: TONGBAO_SEED={seed} TONGBAO_KILLS={kills}");
    let mut lanes = lanes.iter().copied().cycle().map(settings);
    let mut next = || lanes.next().expect("they go round");
    let mut app = App::start_beside_gateway(Site::new(kind, &next())).await;
    let log = Arc::new(Log::default());
    let senders: Vec<_> = (0..SENDERS)
        .map(|number| {
            let random = StdRng::seed_from_u64(seed.wrapping_add(1 + number));
            let sender =
                Sender { client: app.client(), webhooks: app.receiver.url("platform-a"), log: log.clone(), random };
            actix_web::rt::spawn(sender.run())
        })
        .collect();

    let mut random = StdRng::seed_from_u64(seed);
    let (mut slowest, mut under_way) = (Duration::ZERO, Vec::new());
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(LIFE_MS))).await;
        app.kill().await;
        under_way.push(refunds_under_way(&app).await);
        app.site.lay_over(&next());
        app.restart();
        slowest = slowest.max(app.ready().await);
    }
    log.enough.store(true, Ordering::SeqCst);
    for sender in join_all(senders).await {
        sender.expect("a sender ends well");
    }

    tokio::time::sleep(LATE_MONEY).await;
    books::settle(&app.site, &app.gateway, Left::default()).await;
    let orders = books::orders(books::open(&app.site).as_ref()).await;
    let acknowledged = log.acknowledged.lock().unwrap().clone();
    let kept: BTreeSet<String> = orders.iter().map(|order| order.id.to_string()).collect();
    assert_eq!(kept, acknowledged.keys().cloned().collect(), "orders there and orders acknowledged; seed {seed}");
    let refunds = log.refunds.lock().unwrap().clone();
    let mut kept = BTreeMap::new();
    let mut captured_minor = 0;
    for order in &orders {
        check_end(order, acknowledged[&order.id.to_string()]);
        check_webhooks(&app, order).await;
        for (refund, _) in order.asked_refunds() {
            assert_eq!(refund.state(), RefundState::Succeeded, "seed {seed}: {order:?}");
            let id = order.refund_id(refund).expect("it was asked for");
            kept.insert(id.to_string(), order.id.to_string());
        }
        captured_minor += order.net_captured_minor();
    }
    assert_eq!(kept, refunds, "refunds there and refunds acknowledged; seed {seed}");
    let busy = under_way.iter().filter(|count| **count > 0).count();
    assert!(
        2 * busy >= under_way.len(),
        "refunds were under way at {busy} of {kills} kills: {under_way:?}; seed {seed}"
    );
    println!(
        "{kind:?}: {kills} kills, seed {seed}: {} orders acknowledged and there, {} refunds acknowledged and paid, {} \
         met under way by {busy} of the kills, {} repeats, {} unanswered, {} turned away, \
         ready again after {slowest:?} at most, {captured_minor} minor units captured on both books",
        orders.len(),
        refunds.len(),
        under_way.iter().sum::<i64>(),
        log.repeated.load(Ordering::SeqCst),
        log.unanswered.load(Ordering::SeqCst),
        log.turned_away.load(Ordering::SeqCst),
    );
    app.finish().await;
}

/// How many refunds were neither paid nor refused, as the killed server left its store.
async fn refunds_under_way(app: &App) -> i64 {
    let mut beside = Beside::of(&app.site).await;
    let counted = beside.column("SELECT COUNT(*) FROM refunds WHERE state IN ('created', 'submitted')").await;
    beside.close().await;
    counted[0]
}

/// A platform that sends orders and does not let go of one until it is acknowledged.
struct Sender {
    client: Client,
    webhooks: String,
    log: Arc<Log>,
    random: StdRng,
}

impl Sender {
    async fn run(mut self) {
        let mut refunding = Vec::new();
        while !self.log.enough.load(Ordering::SeqCst) {
            let script = MIX[self.random.random_range(0..MIX.len())];
            let asked = with(an_order(script), json!({ "webhook_url": self.webhooks }));
            let order = self.insist("/v1/orders", &asked, &[201, 200]).await;
            let id = text(&order, "id").to_owned();
            self.log.acknowledged.lock().unwrap().insert(id.clone(), script);
            tokio::time::sleep(Duration::from_millis(self.random.random_range(PAUSE_MS))).await;
            if script == "tea" {
                let parts = self.random.random_range(0..=3);
                refunding.extend((0..parts).map(|_| {
                    let random = StdRng::seed_from_u64(self.random.random());
                    let (client, webhooks, log) = (self.client.clone(), self.webhooks.clone(), self.log.clone());
                    let sender = Sender { client, webhooks, log, random };
                    actix_web::rt::spawn(sender.refund(id.clone()))
                }));
            }
            // Who may wait for ever is called off.
            if ["sim:never", "sim:late"].contains(&script) {
                self.insist(&format!("/v1/orders/{id}/cancel"), &json!({}), &[200, 202, 409]).await;
            }
        }
        for refund in join_all(refunding).await {
            refund.expect("a refund ends well");
        }
    }

    /// Asks for a refund of a payment, beside others, until it is acknowledged.
    async fn refund(mut self, order: String) {
        let reason = REFUNDS[self.random.random_range(0..REFUNDS.len())];
        let asked = a_refund(Some(REFUNDED), reason);
        tokio::time::sleep(Duration::from_millis(self.random.random_range(PAID_MS))).await;
        let refund = self.insist(&path_of(&order), &asked, &[201, 200]).await;
        self.log.refunds.lock().unwrap().insert(text(&refund, "id").to_owned(), order);
    }

    /// Sends a request until it is answered as expected.
    async fn insist(&self, path: &str, body: &Value, expected: &[u16]) -> Value {
        let begun = Instant::now();
        loop {
            match self.client.try_send(self.client.request(reqwest::Method::POST, path).json(body)).await {
                Ok(answer) if expected.contains(&answer.status) => {
                    if answer.header("idempotent-replayed").is_some() {
                        self.log.repeated.fetch_add(1, Ordering::SeqCst);
                    }
                    return answer.body;
                }
                // The payer has not paid yet, or nobody has told the server.
                Ok(answer) if answer.body["code"] == "order_not_paid" => {}
                Ok(answer) => {
                    assert_eq!(answer.status, 503, "{path}: {}", answer.text);
                    self.log.turned_away.fetch_add(1, Ordering::SeqCst);
                }
                Err(_) => {
                    self.log.unanswered.fetch_add(1, Ordering::SeqCst);
                }
            }
            assert!(begun.elapsed() < ANSWER_LIMIT, "{path} is not answered");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// An order stands where its script leaves it.
fn check_end(order: &Order, script: &str) {
    let end = (order.state, order.failure, order.last_failure);
    let fits = match script {
        "tea" | "sim:hang" | "sim:error" | "sim:lost" | "sim:twice" => end.0 == State::Succeeded,
        "sim:decline" | "sim:refuse" => end == (State::Created, None, Some(AttemptFailure::ChannelDeclined)),
        "sim:underpay" => end == (State::Created, None, Some(AttemptFailure::AmountInsufficient)),
        "sim:never" => end == (State::Failed, Some(OrderFailure::Cancelled), None),
        // The money may come before the close is known to be done.
        "sim:late" => end.0 == State::Succeeded || end == (State::Failed, Some(OrderFailure::Cancelled), None),
        other => panic!("no script {other}"),
    };
    assert!(fits, "{script} ends so: {order:?}");
}

/// Every fact was told, by one webhook (perhaps delivered more than once).
async fn check_webhooks(app: &App, order: &Order) {
    let id = order.id.to_string();
    let told = || {
        let webhooks = app.receiver.of_all(&id);
        let ids: BTreeSet<String> = webhooks.iter().map(|webhook| webhook.id.clone()).collect();
        let sequences: BTreeSet<u64> =
            webhooks.iter().filter_map(|webhook| webhook.data["sequence"].as_u64()).collect();
        (ids.len(), sequences)
    };
    let expected = (order.sequence as usize, (1..=u64::from(order.sequence)).collect());
    eventually(&format!("webhooks of {order:?}"), seconds(5), || async { (told() == expected).then_some(()) }).await;
}
