//! Callbacks: who is told of a capture, how often, and what counts as an acknowledgement.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;

use super::address::Address;
use super::agenda::{Deed, Delivery, PaymentId};
use super::books::{Capture, Notice, Standing};
use super::fate::RefundState;
use super::wire::{Callback, Wire};
use super::{Gateway, GatewayError, now_ms};

/// Callbacks under way per host; further ones wait their turn, so that a slow receiver costs no memory but a queue.
const PER_HOST_MAX: usize = 256;
/// Longer answers are no acknowledgement and are not read to their end.
const ANSWER_MAX: usize = 1024;
/// Shorter than any usual server keeps an idle connection: a callback must not run into its closing.
const IDLE: Duration = Duration::from_secs(4);

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
        let books = &self.gateway.books;
        let address = match &delivery {
            Delivery::Assured { .. } | Delivery::Copy | Delivery::Forged => books.standing(&payment)?.address,
            Delivery::Refund { refund_number, news, .. } => {
                books.refund_notice(payment.account, refund_number, *news, now_ms())?.address
            }
        };
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
        let wire = self.gateway.wire(job.payment.account);
        if let Delivery::Refund { refund_number, news, tries } = &job.delivery {
            return self.tell_refund(job, wire, refund_number, *news, *tries).await;
        }
        let Some(standing) = self.gateway.books.standing(&job.payment) else { return };
        match (&job.delivery, &standing.capture) {
            (Delivery::Assured { tries }, Some(capture)) => {
                // A copy may have been acknowledged since.
                if *tries > 0 && standing.acknowledged {
                    return;
                }
                if !self.tell(job, wire, notice(job, &standing, capture.clone())).await {
                    self.try_again(job, wire, *tries, |tries| Delivery::Assured { tries });
                }
            }
            (Delivery::Copy, Some(capture)) => {
                self.tell(job, wire, notice(job, &standing, capture.clone())).await;
            }
            (Delivery::Forged, _) => {
                let now = now_ms();
                let reference = wire.reference(now).into();
                let capture = Capture { reference, amount_minor: standing.asked_minor, at: now };
                let callback = wire.forged(&notice(job, &standing, capture), now);
                self.post(job, wire, callback).await;
            }
            (Delivery::Assured { .. } | Delivery::Copy, None) | (Delivery::Refund { .. }, _) => {}
        }
    }

    /// Sends the true callback of a capture and books that it was sent. True if it was acknowledged.
    async fn tell(&self, job: &Job, wire: &dyn Wire, notice: Notice) -> bool {
        let acknowledged = self.post(job, wire, wire.callback(&notice, now_ms())).await;
        if self.gateway.books.callback_sent(&job.payment, acknowledged).is_err() {
            tracing::error!(number = %job.payment.number, "a callback was sent but could not be booked");
        }
        acknowledged
    }

    async fn tell_refund(&self, job: &Job, wire: &dyn Wire, refund_number: &Arc<str>, news: RefundState, tries: u16) {
        let (books, account, now) = (&self.gateway.books, job.payment.account, now_ms());
        let notice = books.refund_notice(account, refund_number, news, now);
        let Some(callback) = notice.and_then(|notice| wire.refund_callback(&notice, now)) else { return };
        let acknowledged = self.post(job, wire, callback).await;
        if books.refund_told(account, refund_number, news, acknowledged).is_err() {
            tracing::error!(%refund_number, "a refund's callback was sent but could not be booked");
        }
        if !acknowledged {
            let refund_number = Arc::clone(refund_number);
            self.try_again(job, wire, tries, |tries| Delivery::Refund { refund_number, news, tries });
        }
    }

    fn try_again(&self, job: &Job, wire: &dyn Wire, tries: u16, delivery: impl FnOnce(u16) -> Delivery) {
        match wire.retry_ms().get(usize::from(tries)) {
            Some(gap_ms) => {
                let at = now_ms().saturating_add(*gap_ms);
                self.gateway.agenda.arrange(at, job.payment.clone(), Deed::Deliver(delivery(tries + 1)));
            }
            None => tracing::warn!(number = %job.payment.number, "a callback was never acknowledged; given up"),
        }
    }

    async fn post(&self, job: &Job, wire: &dyn Wire, callback: Callback) -> bool {
        let mut request = self.client.post(job.address.url.clone()).header(CONTENT_TYPE, callback.content_type);
        for (name, value) in callback.headers {
            request = request.header(name, value);
        }
        match request.body(callback.body).send().await {
            Ok(response) => match read(response).await {
                Some((status, body)) => wire.is_acknowledgement(status, &body),
                None => false,
            },
            Err(error) => {
                tracing::debug!(number = %job.payment.number, %error, "a callback was not taken");
                false
            }
        }
    }
}

fn notice(job: &Job, standing: &Standing, capture: Capture) -> Notice {
    Notice {
        number: Arc::clone(&job.payment.number),
        address: Arc::clone(&standing.address),
        asked_minor: standing.asked_minor,
        currency: standing.currency,
        capture,
        data: standing.data.clone(),
    }
}

/// An answer's status and body; none if it is too long or breaks off.
async fn read(mut response: reqwest::Response) -> Option<(u16, Vec<u8>)> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_MAX => body.extend_from_slice(&chunk),
            Ok(None) => return Some((status, body)),
            Ok(Some(_)) | Err(_) => return None,
        }
    }
}
