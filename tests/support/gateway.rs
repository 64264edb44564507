//! The far end of simpay, spoken for by its keys: what the simulated gateway shows, and callbacks of our own making.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

use super::client::{Answer, Client, http};
use super::process::Site;
use super::unique;

pub const CALLBACK_PATH: &str = "/v1/callbacks/simpay";

pub fn now_s() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()).expect("a time")
}

/// The books of the simulated gateway.
#[derive(Clone)]
pub struct Gateway {
    base: String,
    http: reqwest::Client,
}

impl Gateway {
    pub fn new(site: &Site) -> Self {
        Gateway { base: format!("http://{}", site.gateway), http: http() }
    }

    async fn read(&self, path: &str) -> Option<Value> {
        let response = self.http.get(format!("{}{path}", self.base)).send().await.ok()?;
        let found = response.status().is_success();
        let body = response.json().await.ok()?;
        found.then_some(body)
    }

    pub async fn is_up(&self) -> bool {
        self.read("/sim/totals").await.is_some()
    }

    pub async fn totals(&self) -> Value {
        self.read("/sim/totals").await.expect("the gateway shows its totals")
    }

    /// What it has of an attempt; none if it never heard of it.
    pub async fn attempt(&self, number: &str) -> Option<Value> {
        self.read(&format!("/sim/orders/{number}")).await
    }

    /// Captured minus given back, over all these attempts.
    pub async fn net_minor(&self, numbers: &[String]) -> i64 {
        let mut net = 0;
        for number in numbers {
            if let Some(seen) = self.attempt(number).await {
                net += seen["captured_minor"].as_i64().expect("minor units");
                net -= seen["refunded_minor"].as_i64().expect("minor units");
            }
        }
        net
    }
}

/// A callback of simpay, right in every part that a test does not make wrong.
pub struct Callback {
    pub body: Value,
    pub account: String,
    pub timestamp: i64,
    key: Vec<u8>,
}

impl Callback {
    /// Of the default account, for a payment of an attempt.
    pub fn of(site: &Site, number: &str, amount_minor: i64) -> Self {
        let file = site.folder.path().join("sandbox/simpay-default.key");
        let key = std::fs::read_to_string(file).expect("the sandbox made its key");
        let body = json!({
            "event": "payment.succeeded",
            "id": unique("cb"),
            "number": number,
            "account": "default",
            "reference": unique("SPTEST").replace('-', "X"),
            "amount_minor": amount_minor,
            "currency": "CNY",
            "paid_at": now_s() * 1_000,
        });
        let key = STANDARD.decode(key.trim()).expect("the key is base64");
        Callback { body, account: "default".into(), timestamp: now_s(), key }
    }

    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.body[field] = value;
        self
    }

    pub fn posing_as(mut self, account: &str) -> Self {
        self.account = account.into();
        self.with("account", json!(account))
    }

    pub fn sent_at(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }

    pub fn signed_by(mut self, key: &[u8]) -> Self {
        self.key = key.to_vec();
        self
    }

    pub async fn send(&self, client: &Client) -> Answer {
        self.send_text(client, &self.body.to_string()).await
    }

    /// Signs and sends a body as it stands.
    pub async fn send_text(&self, client: &Client, body: &str) -> Answer {
        use aws_lc_rs::hmac;
        let nonce = unique("nonce").replace('-', "x") + "0123456789abcdef";
        let (account, timestamp) = (&self.account, self.timestamp);
        let text = format!("CALLBACK\n{account}\n{timestamp}\n{nonce}\n{body}\n");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.key), text.as_bytes());
        let request = client
            .anonymous()
            .request(reqwest::Method::POST, CALLBACK_PATH)
            .header("content-type", "application/json")
            .header("simpay-account", account)
            .header("simpay-timestamp", timestamp.to_string())
            .header("simpay-nonce", nonce)
            .header("simpay-signature", STANDARD.encode(signature))
            .body(body.to_owned());
        client.send(request).await
    }
}
