//! Refunds as platforms ask for them, and what must be true of their money.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::app::App;
use super::client::{Answer, Client, text, with};
use super::process::Site;
use super::ways::{WAYS, Way, opened};
use super::{eventually, seconds, unique};

/// Longer than any channel takes to be paid where nothing is scripted.
const PAID: Duration = seconds(25);

/// One way of each channel.
pub fn one_of_each() -> Vec<&'static Way> {
    let mut ways: Vec<&Way> = Vec::new();
    for way in WAYS {
        if ways.iter().all(|known| known.channel != way.channel) {
            ways.push(way);
        }
    }
    ways
}

/// An order of 200.00 that is paid.
pub async fn paid(app: &App, way: &Way) -> Value {
    paid_as(app, way, json!({})).await
}

/// The same with other fields.
pub async fn paid_as(app: &App, way: &Way, fields: Value) -> Value {
    let order = opened(app, &with(way.order(app, "tea"), fields)).await;
    app.client().reaches(text(&order, "id"), "succeeded", PAID).await
}

/// A refund of this much; none: of all that is left.
pub fn a_refund(amount: Option<&str>, reason: Option<&str>) -> Value {
    json!({ "merchant_refund_id": unique("r"), "amount": amount, "reason": reason })
}

pub fn path_of(order: &str) -> String {
    format!("/v1/orders/{order}/refunds")
}

impl Answer {
    /// The refund in it.
    pub fn refund(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.body["object"], "refund", "{}", self.text);
        self.body.clone()
    }
}

impl Client {
    pub async fn refund(&self, order: &str, asked: &Value) -> Answer {
        self.post(&path_of(order), asked).await
    }

    /// Does not wait for the channel.
    pub async fn refund_soon(&self, order: &str, asked: &Value) -> Answer {
        let request = self.request(reqwest::Method::POST, &path_of(order));
        self.send(request.header("prefer", "respond-async").json(asked)).await
    }

    pub async fn refund_now(&self, id: &str) -> Value {
        self.get(&format!("/v1/refunds/{id}")).await.refund(200)
    }

    /// Reads a refund until it is as wanted.
    pub async fn until_refund(&self, id: &str, what: &str, within: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{id} {what}"), within, || async {
            let refund = self.refund_now(id).await;
            wanted(&refund).then_some(refund)
        })
        .await
    }

    pub async fn refund_reaches(&self, id: &str, state: &str, within: Duration) -> Value {
        self.until_refund(id, state, within, |refund| refund["state"] == state).await
    }

    /// Everything on a list, page by page.
    pub async fn listed(&self, path: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut cursor = String::new();
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{joint}limit=100{cursor}")).await;
            assert_eq!(page.status, 200, "{path}: {}", page.text);
            rows.extend(page.body["data"].as_array().expect("a list").iter().cloned());
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
            assert!(rows.len() < 10_000, "the pages of {path} do not end");
        }
    }

    /// What is the platform's own, by currency in minor units: open, settled and held.
    pub async fn balance(&self) -> BTreeMap<String, i64> {
        let answer = self.get("/v1/balance").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let rows = answer.body["data"].as_array().expect("a list").clone();
        let sum = |row: &Value| ["open", "settled", "held"].map(|part| minor(text(row, part))).iter().sum::<i64>();
        rows.iter().map(|row| (text(row, "currency").to_owned(), sum(row))).filter(|(_, sum)| *sum != 0).collect()
    }

    /// The types and amounts of what changed the balance for a refund, the oldest first.
    pub async fn transactions_of(&self, refund: &str) -> Vec<(String, String)> {
        let rows = self.listed(&format!("/v1/balance_transactions?refund={refund}")).await;
        rows.iter().rev().map(|row| (text(row, "type").to_owned(), text(row, "amount").to_owned())).collect()
    }

    /// The balance is the sum of what changed it, in each currency.
    pub async fn balance_agrees(&self) {
        eventually("the balance is the sum of its transactions", seconds(10), || async {
            let before = self.balance().await;
            let mut sums: BTreeMap<String, i64> = BTreeMap::new();
            for row in self.listed("/v1/balance_transactions").await {
                *sums.entry(text(&row, "currency").to_owned()).or_default() += minor(text(&row, "amount"));
            }
            sums.retain(|_, sum| *sum != 0);
            // What moves meanwhile is in one of the two and not in the other.
            (before == self.balance().await && before == sums).then_some(())
        })
        .await;
    }
}

/// `"-20.00"` in minor units.
pub fn minor(amount: &str) -> i64 {
    amount.replace('.', "").parse().unwrap_or_else(|_| panic!("{amount} is an amount"))
}

/// The facts of this kind in the gateway's books.
pub fn facts(site: &Site, kind: &str) -> Vec<Value> {
    let file = std::fs::read_to_string(site.folder.path().join("gateway/books.jsonl")).unwrap_or_default();
    // The last line may just be written.
    let read = file.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    read.filter_map(|fact| fact.get(kind).cloned()).collect()
}

/// The refunds of a payment that the gateway has taken, in the order in which it took them.
pub fn taken(site: &Site, attempt: &str) -> Vec<Value> {
    facts(site, "refunded").into_iter().filter(|fact| fact["number"] == attempt).collect()
}

/// The numbers of the refunds that the gateway took of a payment.
///
/// # Panics
/// When it took a number twice.
pub fn numbers_taken(site: &Site, attempt: &str) -> Vec<String> {
    let numbers: Vec<String> = taken(site, attempt).iter().map(|fact| text(fact, "refund_number").to_owned()).collect();
    let different: BTreeSet<&String> = numbers.iter().collect();
    assert_eq!(different.len(), numbers.len(), "a number is taken once: {numbers:?}");
    numbers
}

/// The webhooks of an order and its refunds: one for each fact, numbered without a gap and delivered once.
pub fn each_fact_is_told_once(app: &App, order: &str) {
    let told = app.receiver.of_all(order);
    let ids: BTreeSet<&str> = told.iter().map(|webhook| webhook.id.as_str()).collect();
    assert_eq!(ids.len(), told.len(), "one delivery of each: {told:#?}");
    each_fact_is_told(app, order);
}

/// The same where the server died meanwhile: what it could not note as delivered may come again, the same bytes.
pub fn each_fact_is_told(app: &App, order: &str) {
    let told = app.receiver.of_all(order);
    let mut sequences = BTreeMap::new();
    for webhook in &told {
        let sequence = webhook.data["sequence"].as_u64().expect("a place");
        let known = sequences.entry(sequence).or_insert(&webhook.id);
        assert_eq!(**known, webhook.id, "one webhook of each place: {told:#?}");
        let tries = app.receiver.tries(&webhook.id);
        assert!(tries.iter().all(|body| *body == tries[0]), "the same bytes at every try: {told:#?}");
    }
    let ids: BTreeSet<&str> = told.iter().map(|webhook| webhook.id.as_str()).collect();
    assert_eq!(ids.len(), sequences.len(), "{told:#?}");
    assert_eq!(sequences.into_keys().collect::<Vec<_>>(), (1..=ids.len() as u64).collect::<Vec<_>>(), "{told:#?}");
}
