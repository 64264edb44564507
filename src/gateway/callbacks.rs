//! Callbacks: who is told of a capture, how often, and what counts as an acknowledgement.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use serde::{Deserialize, Serialize};

use super::agenda::{Deed, Delivery, PaymentId};
use super::books::{Address, Capture, Notice, Reference};
use super::signing::{ACCOUNT, NONCE, SIGNATURE, Signer, TIMESTAMP};
use super::{Gateway, GatewayError, alphanumeric, now_ms};
use crate::domain::money::Currency;

/// Callbacks under way per host; further ones wait their turn, so that a slow receiver costs no memory but a queue.
const PER_HOST_MAX: usize = 256;
/// Longer answers are no acknowledgement and are not read to their end.
const ANSWER_MAX: usize = 1024;
/// Shorter than any usual server keeps an idle connection: a callback must not run into its closing.
const IDLE: Duration = Duration::from_secs(4);
const NONCE_LENGTH: usize = 24;

#[derive(Serialize)]
struct CallbackBody<'a> {
    event: &'a str,
    id: String,
    number: &'a str,
    account: &'a str,
    reference: Reference,
    amount_minor: i64,
    currency: Currency,
    paid_at: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledgement<'a> {
    code: &'a str,
}

/// One callback to be sent.
pub struct Job {
    payment: PaymentId,
    delivery: Delivery,
    address: Arc<Address>,
}

/// The turns of callbacks, per host.
#[derive(Default)]
pub struct Lanes(Mutex<HashMap<String, Lane>>);

#[derive(Default)]
struct Lane {
    under_way: usize,
    waiting: VecDeque<Job>,
}

impl Lanes {
    /// Gives a job back if it may be sent now; otherwise it waits until [`Lanes::next`] returns it.
    fn admit(&self, job: Job) -> Option<Job> {
        let mut lanes = self.0.lock().expect("no holder panics");
        if !lanes.contains_key(&job.address.host) {
            lanes.insert(job.address.host.clone(), Lane::default());
        }
        let lane = lanes.get_mut(&job.address.host)?;
        if lane.under_way < PER_HOST_MAX {
            lane.under_way += 1;
            return Some(job);
        }
        lane.waiting.push_back(job);
        None
    }

    /// What the sender that has just finished sends next; none ends it.
    fn next(&self, host: &str) -> Option<Job> {
        let mut lanes = self.0.lock().expect("no holder panics");
        let lane = lanes.get_mut(host)?;
        if let Some(job) = lane.waiting.pop_front() {
            return Some(job);
        }
        lane.under_way -= 1;
        if lane.under_way == 0 {
            lanes.remove(host);
        }
        None
    }
}

/// Sends callbacks. It belongs to the runtime that made it, as its connections do.
pub struct Sender {
    gateway: Arc<Gateway>,
    client: reqwest::Client,
    lanes: Lanes,
}

impl Sender {
    /// # Errors
    /// The client cannot be built.
    pub fn new(gateway: Arc<Gateway>, timeout: Duration) -> Result<Self, GatewayError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            // The system's certificates may be missing, and callbacks of the sandbox go to plain http.
            .tls_certs_only([])
            .pool_max_idle_per_host(PER_HOST_MAX)
            .pool_idle_timeout(IDLE)
            .timeout(timeout)
            .build()
            .map_err(GatewayError::Client)?;
        Ok(Sender { gateway, client, lanes: Lanes::default() })
    }

    /// Takes a callback that is due; what comes back is to be sent by [`Sender::work`].
    pub fn admit(&self, payment: PaymentId, delivery: Delivery) -> Option<Job> {
        let address = self.gateway.books.notice(&payment)?.address;
        self.lanes.admit(Job { payment, delivery, address })
    }

    /// Sends a callback and then whatever waits for the same host.
    pub async fn work(self: Arc<Self>, first: Job) {
        let mut next = Some(first);
        while let Some(job) = next {
            self.deliver(&job).await;
            next = self.lanes.next(&job.address.host);
        }
    }

    async fn deliver(&self, job: &Job) {
        let Some(notice) = self.gateway.books.notice(&job.payment) else { return };
        match (job.delivery, notice.capture) {
            (Delivery::Assured { tries }, Some(capture)) => {
                // A copy may have been acknowledged since.
                if tries > 0 && notice.acknowledged {
                    return;
                }
                if !self.tell(job, &notice, capture).await {
                    self.try_again(job, tries);
                }
            }
            (Delivery::Copy, Some(capture)) => {
                self.tell(job, &notice, capture).await;
            }
            (Delivery::Forged, _) => {
                let capture =
                    Capture { reference: Reference::random(), amount_minor: notice.asked_minor, at: now_ms() };
                let signer = Signer::forger(&self.gateway.signers[job.payment.account.0].account);
                self.post(job, &notice, capture, &signer).await;
            }
            (Delivery::Assured { .. } | Delivery::Copy, None) => {}
        }
    }

    /// Sends the true callback of a capture and books that it was sent. True if it was acknowledged.
    async fn tell(&self, job: &Job, notice: &Notice, capture: Capture) -> bool {
        let acknowledged = self.post(job, notice, capture, &self.gateway.signers[job.payment.account.0]).await;
        if self.gateway.books.callback_sent(&job.payment, acknowledged).is_err() {
            tracing::error!(number = %job.payment.number, "a callback was sent but could not be booked");
        }
        acknowledged
    }

    fn try_again(&self, job: &Job, tries: u16) {
        match self.gateway.callback_retry_ms.get(usize::from(tries)) {
            Some(gap_ms) => {
                let delivery = Delivery::Assured { tries: tries + 1 };
                let at = now_ms().saturating_add(*gap_ms);
                self.gateway.agenda.arrange(at, job.payment.clone(), Deed::Deliver(delivery));
            }
            None => tracing::warn!(number = %job.payment.number, "a callback was never acknowledged; given up"),
        }
    }

    async fn post(&self, job: &Job, notice: &Notice, capture: Capture, signer: &Signer) -> bool {
        let body = serde_json::to_vec(&CallbackBody {
            event: "payment.succeeded",
            id: format!("cb_{}", capture.reference),
            number: &job.payment.number,
            account: &signer.account,
            reference: capture.reference,
            amount_minor: capture.amount_minor,
            currency: notice.currency,
            paid_at: capture.at,
        })
        .expect("our own structs are JSON");
        let timestamp = (now_ms() / 1000).to_string();
        let nonce = alphanumeric::<NONCE_LENGTH>();
        let nonce = String::from_utf8_lossy(&nonce);
        let signature = signer.callback(&timestamp, &nonce, &body);
        let request = self
            .client
            .post(job.address.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCOUNT, &signer.account)
            .header(TIMESTAMP, timestamp)
            .header(NONCE, &*nonce)
            .header(SIGNATURE, signature)
            .body(body);
        match request.send().await {
            Ok(response) => is_acknowledgement(response).await,
            Err(error) => {
                tracing::debug!(number = %job.payment.number, %error, "a callback was not taken");
                false
            }
        }
    }
}

/// Only a 200 with the very word is one.
async fn is_acknowledgement(mut response: reqwest::Response) -> bool {
    if response.status() != reqwest::StatusCode::OK {
        return false;
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_MAX => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Ok(Some(_)) | Err(_) => return false,
        }
    }
    serde_json::from_slice::<Acknowledgement<'_>>(&body).is_ok_and(|answer| answer.code == "ok")
}
