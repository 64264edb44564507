//! The orders of the two demo platforms, posted at a steady rate over connections that are kept, and what they ask back of
//! them once they are paid.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::browser;
use super::ledger::{Ledger, Told, ToldRefund};
use super::mix::{Kind, Split};
use super::refunding::{Portion, Refunding};
use crate::cli::sandbox::platforms;
use crate::domain::money::{Currency, format_minor};

/// Requests that wait for their answer; later ones wait for a place, and their latency counts from when they were due.
const CONCURRENT: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(10);
/// A request that was not answered, or with 429 or 503, is put again: its number makes it the same one.
const TRIES: u32 = 5;
const TRY_GAP: Duration = Duration::from_millis(300);
const CANCEL_AFTER: Duration = Duration::from_secs(1);
/// An order that is to be refunded and is not paid by then has gone astray.
const PAID_WITHIN: Duration = Duration::from_secs(30);
/// Who gives a share in the sandbox, by its place, and who has agreed to get one from it.
const GIVER: usize = 0;
const TAKER: &str = "platform-b";

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
enum Answer<T> {
    Taken(T),
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

    /// Posts all orders, `rate` a second, and returns when the last one was answered, and the last refund of one. Dropped,
    /// it stops.
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
        let (platform, splits) = match kind.split {
            Split::None => (serial % platforms::DEMOS.len(), Value::Null),
            Split::Tenth => (GIVER, json!([{"to": TAKER, "rate": "0.10"}])),
        };
        let key = platforms::DEMOS[platform].key;
        let number = self.ledger.merchant_order_id(serial);
        let body = json!({
            "merchant_order_id": number,
            "amount": format_minor(amount_minor(serial), self.currency),
            "currency": self.currency.code(),
            "channel": kind.channel.name(),
            "description": format!("{} {number}", kind.script.word()),
            "webhook_url": format!("{}/{platform}", self.webhooks),
            "splits": splits,
        });
        // The webhook may be quicker than the answer.
        let asked_back = kind.refunding.map(|refunding| (refunding, self.ledger.paid(serial)));
        let when = if browser::is_needed(kind.channel) { AnswerWhen::Shown } else { AnswerWhen::Durable };
        match self.post::<Told>("/v1/orders", key, &body.to_string(), when).await {
            Answer::Taken(told) => {
                self.ledger.accepted(&told, due_at.elapsed());
                if let Some(next_action) = &told.next_action {
                    // The order's webhooks tell what came of it, which a browser's page does not.
                    browser::visit(&self.client, next_action).await;
                }
                if kind.script.is_cancelled() {
                    sleep(CANCEL_AFTER).await;
                    self.cancel(&told.id, key).await;
                }
                if let Some((refunding, paid)) = asked_back {
                    match timeout(PAID_WITHIN, paid).await {
                        Ok(Ok(())) => self.ask_back(&told.id, key, (serial, refunding)).await,
                        Ok(Err(_)) | Err(_) => {
                            self.ledger.refunds_refused(serial, 0, "refund of what is not paid".to_owned())
                        }
                    }
                }
            }
            Answer::Refused(status) => self.ledger.refused(serial, status.as_str().to_owned()),
            Answer::None(why) => self.ledger.refused(serial, why),
        }
    }

    /// Asks for the refunds of a paid order, each once the one before was accepted.
    async fn ask_back(&self, id: &str, key: &str, (serial, refunding): (usize, Refunding)) {
        for (number, portion) in refunding.portions().iter().enumerate() {
            let amount = match portion {
                Portion::Third => Some(format_minor(amount_minor(serial) / 3, self.currency)),
                Portion::Rest => None,
            };
            let body = json!({
                "merchant_refund_id": self.ledger.merchant_refund_id(serial, number),
                "amount": amount,
                "reason": refunding.reason(),
            });
            let path = format!("/v1/orders/{id}/refunds");
            let why = match self.post::<ToldRefund>(&path, key, &body.to_string(), AnswerWhen::Durable).await {
                Answer::Taken(told) => {
                    self.ledger.refund_accepted(&told);
                    continue;
                }
                Answer::Refused(status) => status.as_str().to_owned(),
                Answer::None(why) => why,
            };
            return self.ledger.refunds_refused(serial, number, format!("refund {why}"));
        }
    }

    async fn cancel(&self, id: &str, key: &str) {
        match self.post::<Told>(&format!("/v1/orders/{id}/cancel"), key, "{}", AnswerWhen::Durable).await {
            Answer::Taken(told) => self.ledger.heard(&told),
            // What the order became instead is told by its webhook.
            Answer::Refused(StatusCode::CONFLICT) => {}
            Answer::Refused(status) => self.ledger.in_vain(format!("cancel {}", status.as_str())),
            Answer::None(why) => self.ledger.in_vain(format!("cancel {why}")),
        }
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, key: &str, body: &str, when: AnswerWhen) -> Answer<T> {
        let mut answer = Answer::None("not sent".to_owned());
        for again in 0..TRIES {
            if again > 0 {
                sleep(TRY_GAP * again).await;
            }
            let Ok(_place) = self.places.acquire().await else { return answer };
            answer = self.send(path, key, body, when).await;
            match &answer {
                Answer::Refused(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) | Answer::None(_) => {}
                Answer::Taken(_) | Answer::Refused(_) => return answer,
            }
        }
        answer
    }

    async fn send<T: DeserializeOwned>(&self, path: &str, key: &str, body: &str, when: AnswerWhen) -> Answer<T> {
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
                Ok(told) => Answer::Taken(told),
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
