//! The orders of the two demo platforms, posted at a steady rate over connections that are kept.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::browser;
use super::ledger::{Ledger, Told};
use super::mix::Kind;
use crate::cli::sandbox::platforms;
use crate::domain::money::{Currency, format_minor};

/// Requests that wait for their answer; later ones wait for a place, and their latency counts from when they were due.
const CONCURRENT: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(10);
/// A request that was not answered, or with 429 or 503, is put again: the order's number makes it the same order.
const TRIES: u32 = 5;
const TRY_GAP: Duration = Duration::from_millis(300);
const CANCEL_AFTER: Duration = Duration::from_secs(1);

pub struct Traffic {
    client: reqwest::Client,
    server: String,
    /// Where webhooks go, without the platform's place.
    webhooks: String,
    currency: Currency,
    places: Semaphore,
    ledger: Arc<Ledger>,
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerWhen {
    Durable,
    /// What the payer is to do is in the answer, too.
    Shown,
}

/// What came of a request after all its tries.
enum Answer {
    Order(Box<Told>),
    Refused(StatusCode),
    None(String),
}

impl Traffic {
    pub fn new(
        client: reqwest::Client,
        server: String,
        webhooks: String,
        currency: Currency,
        ledger: Arc<Ledger>,
    ) -> Self {
        Traffic { client, server, webhooks, currency, places: Semaphore::new(CONCURRENT), ledger }
    }

    /// Posts all orders, `rate` a second, and returns when the last one was answered. Dropped, it stops.
    pub async fn run(self: Arc<Self>, kinds: &[Kind], rate: u32) {
        let start = Instant::now();
        let mut posts = JoinSet::new();
        for (serial, kind) in kinds.iter().enumerate() {
            let due_at = start + Duration::from_secs(1) * u32::try_from(serial).unwrap_or(u32::MAX) / rate;
            sleep_until(due_at).await;
            posts.spawn(self.clone().play(serial, *kind, due_at));
            while posts.try_join_next().is_some() {}
        }
        while posts.join_next().await.is_some() {}
    }

    async fn play(self: Arc<Self>, serial: usize, kind: Kind, due_at: Instant) {
        let platform = serial % platforms::DEMOS.len();
        let key = platforms::DEMOS[platform].key;
        let number = self.ledger.merchant_order_id(serial);
        let body = json!({
            "merchant_order_id": number,
            "amount": format_minor(amount_minor(serial), self.currency),
            "currency": self.currency.code(),
            "channel": kind.channel.name(),
            "description": format!("{} {number}", kind.script.word()),
            "webhook_url": format!("{}/{platform}", self.webhooks),
        });
        let when = if browser::is_needed(kind.channel) { AnswerWhen::Shown } else { AnswerWhen::Durable };
        match self.post("/v1/orders", key, &body.to_string(), when).await {
            Answer::Order(told) => {
                self.ledger.accepted(&told, due_at.elapsed());
                if let Some(next_action) = &told.next_action {
                    // The order's webhooks tell what came of it, which a browser's page does not.
                    browser::visit(&self.client, next_action).await;
                }
                if kind.script.is_cancelled() {
                    sleep(CANCEL_AFTER).await;
                    self.cancel(&told.id, key).await;
                }
            }
            Answer::Refused(status) => self.ledger.refused(serial, status.as_str().to_owned()),
            Answer::None(why) => self.ledger.refused(serial, why),
        }
    }

    async fn cancel(&self, id: &str, key: &str) {
        match self.post(&format!("/v1/orders/{id}/cancel"), key, "{}", AnswerWhen::Durable).await {
            Answer::Order(told) => self.ledger.heard(&told),
            // What the order became instead is told by its webhook.
            Answer::Refused(StatusCode::CONFLICT) => {}
            Answer::Refused(status) => self.ledger.in_vain(format!("cancel {}", status.as_str())),
            Answer::None(why) => self.ledger.in_vain(format!("cancel {why}")),
        }
    }

    async fn post(&self, path: &str, key: &str, body: &str, when: AnswerWhen) -> Answer {
        let mut answer = Answer::None("not sent".to_owned());
        for again in 0..TRIES {
            if again > 0 {
                sleep(TRY_GAP * again).await;
            }
            let Ok(_place) = self.places.acquire().await else { return answer };
            answer = self.send(path, key, body, when).await;
            match &answer {
                Answer::Refused(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) | Answer::None(_) => {}
                Answer::Order(_) | Answer::Refused(_) => return answer,
            }
        }
        answer
    }

    async fn send(&self, path: &str, key: &str, body: &str, when: AnswerWhen) -> Answer {
        let request = self
            .client
            .post(format!("{}{path}", self.server))
            .header(AUTHORIZATION, format!("Bearer {key}"))
            .header(CONTENT_TYPE, "application/json")
            .timeout(TIMEOUT)
            .body(body.to_owned());
        let request = match when {
            AnswerWhen::Durable => request.header("prefer", "respond-async"),
            AnswerWhen::Shown => request,
        };
        match request.send().await {
            Ok(response) if response.status().is_success() => match response.json().await {
                Ok(told) => Answer::Order(Box::new(told)),
                Err(_) => Answer::None("unreadable answer".to_owned()),
            },
            Ok(response) => Answer::Refused(response.status()),
            Err(error) if error.is_timeout() => Answer::None("no answer in time".to_owned()),
            Err(_) => Answer::None("no connection".to_owned()),
        }
    }
}

/// From 4.00, which every channel takes, to 502.98; different from order to order, so that a sum tells which order is
/// missing.
fn amount_minor(serial: usize) -> i64 {
    const LEAST: i64 = 400;
    const SPREAD: usize = 49_899;
    let spread = (serial % SPREAD) * 7_919 % SPREAD;
    LEAST + i64::try_from(spread).unwrap_or_default()
}
