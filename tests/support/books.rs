//! The audit at the end of every journey: our books against themselves, against the journal and against the gateway's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tongbao::domain::event::Fact;
use tongbao::domain::order::{Attempt, Order, Purpose, State};
use tongbao::domain::refund::{Attention, Refund, RefundState};
use tongbao::domain::step;
use tongbao::store::{ChannelTotal, Store, whole};

use super::gateway::Gateway;
use super::process::Site;
use super::seconds;

/// Longer than a payer of `sim:slow` takes, with the queries after it.
const QUIET_LIMIT: Duration = seconds(45);

/// What a journey leaves over on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Webhooks that nobody takes.
    pub webhooks: i64,
    /// Callbacks that no order could take.
    pub inbox: i64,
}

/// Opens a store for reading, beside its server.
pub fn open(site: &Site) -> Arc<dyn Store> {
    tongbao::store::open(&site.store_url(), 2, seconds(10)).expect("the store opens")
}

/// All orders of a store.
pub async fn orders(store: &dyn Store) -> Vec<Order> {
    const PAGE: u32 = 500;
    let mut orders: Vec<Order> = Vec::new();
    loop {
        let after = orders.last().map(|order| order.id);
        let page = store.scan(after, PAGE).await.and_then(whole).expect("orders are read");
        let last = page.len() < PAGE as usize;
        orders.extend(page);
        if last {
            return orders;
        }
    }
}

/// How many rows of everything that an operation could have changed there are; the journal's as the sum of versions.
pub async fn counts(site: &Site) -> Value {
    let store = open(site);
    let orders = orders(store.as_ref()).await;
    json!({
        "orders": orders.len(),
        "steps": orders.iter().map(|order| order.version).sum::<u32>(),
        "captures": orders.iter().map(|order| order.captures.len()).sum::<usize>(),
        "balances": balances(store.as_ref()).await,
        "outbox": store.outbox_size().await.expect("the outbox is counted"),
        "inbox": store.inbox_size().await.expect("the inbox is counted"),
    })
}

/// Waits until nothing moves any more, then checks everything.
///
/// # Panics
/// When it does not come to rest, or something is not right.
pub async fn settle(site: &Site, gateway: &Gateway, left: Left) {
    let store = open(site);
    rest(store.as_ref(), gateway, left).await;
    let orders = orders(store.as_ref()).await;
    for (account, sum) in balances_by_currency(store.as_ref()).await {
        assert_eq!(sum, 0, "all entries in {account} sum to zero");
    }
    for order in &orders {
        check_entries(store.as_ref(), order).await;
        check_journal(store.as_ref(), order).await;
        check_gateway(gateway, order).await;
    }
    assert_eq!(our_totals(store.as_ref()).await, their_totals(gateway).await, "our channel totals and the gateway's");
}

async fn rest(store: &dyn Store, gateway: &Gateway, left: Left) {
    let begun = Instant::now();
    loop {
        let mut stirring: Vec<String> = orders(store).await.iter().filter_map(stirs).collect();
        let webhooks = store.outbox_size().await.expect("the outbox is counted");
        if webhooks != left.webhooks {
            stirring.push(format!("{webhooks} webhooks in the outbox, {} expected", left.webhooks));
        }
        let inbox = store.inbox_size().await.expect("the inbox is counted");
        if inbox != left.inbox {
            stirring.push(format!("{inbox} callbacks in the inbox, {} expected", left.inbox));
        }
        let (ours, theirs) = (our_totals(store).await, their_totals(gateway).await);
        if ours != theirs {
            stirring.push(format!("our totals are {ours:?}, the gateway's {theirs:?}"));
        }
        if stirring.is_empty() {
            return;
        }
        stirring.truncate(10);
        assert!(begun.elapsed() < QUIET_LIMIT, "it does not come to rest: {stirring:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Why an order is not at rest, if it is not: money may still move.
pub fn stirs(order: &Order) -> Option<String> {
    // What waits for a person moves by nobody else.
    let is_moving = |refund: &Refund| refund.stage.is_under_way() && refund.attention != Some(Attention::Person);
    let owed = order.refunds.iter().any(is_moving);
    let open = order.attempts.iter().any(|attempt| attempt.is_open());
    let moving = match order.state {
        State::Validating | State::Submitted => true,
        State::Created => order.wish.is_some(),
        State::Succeeded | State::Failed => false,
    };
    (owed || open || moving).then(|| format!("{order:?}"))
}

async fn balances(store: &dyn Store) -> BTreeMap<String, i64> {
    let balances = store.balances().await.expect("balances are read");
    balances.into_iter().map(|line| (format!("{} {}", line.account, line.currency), line.amount_minor)).collect()
}

async fn balances_by_currency(store: &dyn Store) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for line in store.balances().await.expect("balances are read") {
        *sums.entry(line.currency).or_insert(0) += line.amount_minor;
    }
    sums
}

/// Every entry sums to zero, and a paid order has the entry of its payment exactly once. What moves in an account of the
/// seller's own has none, but for its fees and shares.
async fn check_entries(store: &dyn Store, order: &Order) {
    let entries = store.entries(order.id.into()).await.expect("entries are read");
    for entry in &entries {
        let sum: i64 = entry.lines.iter().map(|line| line.amount_minor).sum();
        assert_eq!(sum, 0, "{entry:?} of {}", order.id);
    }
    let of = |kind: &str| entries.iter().filter(|entry| entry.kind == kind).count();
    let paid = usize::from(order.state == State::Succeeded);
    let is_ours = |attempt: Option<&Attempt>| attempt.is_some_and(|attempt| attempt.merchant.is_operator());
    let suspense = order
        .captures
        .iter()
        .filter(|capture| capture.purpose != Purpose::Payment && is_ours(order.attempt(capture.ordinal)));
    let ours: Vec<&Refund> = order.refunds.iter().filter(|refund| is_ours(order.attempt_of(refund))).collect();
    let sellers = order.refunds.iter().filter(|refund| !is_ours(order.attempt_of(refund)) && !refund.is_of_suspense());
    let paid_back =
        ours.iter().filter(|refund| matches!(refund.state(), RefundState::Succeeded | RefundState::Returned));
    let refunds = (of("refund"), of("refund_paid") + of("refund_paid_otherwise"));
    assert_eq!(
        (of("payment"), of("suspense"), refunds),
        (paid, suspense.count(), (ours.len() + sellers.count(), paid_back.count())),
        "{order:?}"
    );
}

/// What the channel has given back of what an order was paid by.
fn by_channel(order: &Order) -> i64 {
    let given = order.asked_refunds().filter(|(refund, _)| refund.stage.is_paid_by_channel());
    given.map(|(refund, _)| refund.amount_minor).sum()
}

/// Replaying the journal gives the stored order.
async fn check_journal(store: &dyn Store, order: &Order) {
    let rows = store.journal(order.id.into()).await.expect("the journal is read");
    let mut replayed: Option<Order> = None;
    // A failed order is looked at again later, perhaps since it was read.
    for row in rows.into_iter().filter(|row| row.version <= order.version) {
        let events = row.record::<Order>().expect("a journal row is read").events;
        let value: serde_json::Value = serde_json::from_slice(&row.body).expect("a journal row is JSON");
        let canonical = serde_json_canonicalizer::to_vec(&value).expect("JSON has a canonical form");
        assert_eq!(canonical, row.body, "a journal row of {} is canonical", order.id);
        assert_eq!(value["events"], serde_json::to_value(&events).expect("events are JSON"), "nothing is passed over");
        let before = replayed.unwrap_or_else(|| match &events[0].fact {
            Fact::Created(facts) => step::create(facts, events[0].at),
            other => panic!("{} begins with {other:?}", order.id),
        });
        let after = step::decide(&before, &events).expect("what is in the journal was allowed").after;
        assert_eq!(after.version, row.version);
        replayed = Some(after);
    }
    assert_eq!(replayed.as_ref(), Some(order), "the journal of {} gives the stored order", order.id);
}

/// By the gateway's own books, an order's net captured money is its payable if it succeeded, and else nothing.
async fn check_gateway(gateway: &Gateway, order: &Order) {
    let numbers: Vec<String> = order.attempts.iter().map(|attempt| order.number(attempt).to_string()).collect();
    let expected = match order.state {
        State::Succeeded => {
            order.current_attempt().expect("a paid order has its attempt").payable_minor - by_channel(order)
        }
        State::Created | State::Validating | State::Submitted | State::Failed => 0,
    };
    assert_eq!(gateway.net_minor(&numbers).await, expected, "net captured at the gateway for {order:?}");
}

/// Captures, captured and refunded minor units, by channel and currency.
type Totals = BTreeMap<(String, String), (i64, i64, i64)>;

async fn our_totals(store: &dyn Store) -> Totals {
    let totals = store.channel_totals().await.expect("totals are read");
    let line = |total: &ChannelTotal| (total.captures, total.captured_minor, total.refunded_minor);
    let mut totals: Totals =
        totals.into_iter().map(|total| ((total.channel.clone(), total.currency.clone()), line(&total))).collect();
    // What sellers took themselves is booked on no channel.
    for order in orders(store).await {
        let place = |attempt: &Attempt| (attempt.channel().name().to_owned(), order.currency.code().to_owned());
        let is_sellers = |attempt: &&Attempt| !attempt.merchant.is_operator();
        for capture in &order.captures {
            if let Some(attempt) = order.attempt(capture.ordinal).filter(is_sellers) {
                totals.entry(place(attempt)).or_default().1 += capture.amount_minor;
            }
        }
        for refund in order.refunds.iter().filter(|refund| refund.stage.is_paid_by_channel()) {
            if let Some(attempt) = order.attempt_of(refund).filter(is_sellers) {
                totals.entry(place(attempt)).or_default().2 += refund.amount_minor;
            }
        }
    }
    totals
}

async fn their_totals(gateway: &Gateway) -> Totals {
    let totals = gateway.totals().await;
    let mut read = Totals::new();
    for (channel, currencies) in totals.as_object().expect("totals by channel") {
        for (currency, line) in currencies.as_object().expect("totals by currency") {
            let number = |name: &str| line[name].as_i64().expect("a number");
            let line = (number("captures"), number("captured_minor"), number("refunded_minor"));
            // A currency in which nothing was taken is no line of ours.
            if line != (0, 0, 0) {
                read.insert((channel.clone(), currency.clone()), line);
            }
        }
    }
    read
}

/// A server that stopped well has given its store back.
pub async fn released(site: &Site) {
    let owner = open(site).owner().await.expect("the owner's row is read");
    assert_eq!(owner.holder, "", "the lease was given back");
}
