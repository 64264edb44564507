//! How simpay tells of money: JSON, signed as its answers are.

use serde::{Deserialize, Serialize};

use super::refunds::is_finished;
use super::signing::{ACCOUNT, NONCE, SIGNATURE, Signer, TIMESTAMP};
use crate::domain::money::Currency;
use crate::gateway::books::{Notice, RefundNotice};
use crate::gateway::fate::RefundState;
use crate::gateway::wire::{Callback, Wire};
use crate::gateway::{alphanumeric, signed};

const NONCE_LENGTH: usize = 24;
const REFERENCE_LENGTH: usize = 24;

#[derive(Serialize)]
struct CallbackBody<'a> {
    event: &'a str,
    id: String,
    number: &'a str,
    account: &'a str,
    reference: &'a str,
    amount_minor: i64,
    currency: Currency,
    paid_at: i64,
}

#[derive(Serialize)]
struct RefundCallbackBody<'a> {
    refund_number: &'a str,
    number: &'a str,
    state: RefundState,
    amount_minor: i64,
    currency: Currency,
    finished_at: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledgement<'a> {
    code: &'a str,
}

pub struct SimpayWire {
    pub signer: Signer,
    retry_ms: Vec<i64>,
}

impl SimpayWire {
    pub fn new(signer: Signer, retry_ms: &[u64]) -> Self {
        SimpayWire { signer, retry_ms: retry_ms.iter().copied().map(signed).collect() }
    }
}

impl Wire for SimpayWire {
    fn reference(&self, _at: i64) -> String {
        format!("SP{}", String::from_utf8_lossy(&alphanumeric::<REFERENCE_LENGTH>()))
    }

    fn callback(&self, notice: &Notice, sent_at: i64) -> Callback {
        callback(&self.signer, notice, sent_at)
    }

    fn forged(&self, notice: &Notice, sent_at: i64) -> Callback {
        callback(&Signer::forger(&self.signer.account), notice, sent_at)
    }

    /// Of what is over; whoever waits for more asks.
    fn tells(&self, state: RefundState) -> bool {
        is_finished(state)
    }

    fn refund_callback(&self, notice: &RefundNotice, sent_at: i64) -> Option<Callback> {
        let news = Some(notice.news).filter(|news| self.tells(news.state))?;
        let body = RefundCallbackBody {
            refund_number: &notice.refund_number,
            number: &notice.number,
            state: news.state,
            amount_minor: notice.refund.amount_minor,
            currency: notice.refund.currency,
            finished_at: news.at,
        };
        Some(signed_callback(&self.signer, &body, sent_at))
    }

    /// Only a 200 with the very word is one.
    fn is_acknowledgement(&self, status: u16, body: &[u8]) -> bool {
        status == 200 && serde_json::from_slice::<Acknowledgement<'_>>(body).is_ok_and(|answer| answer.code == "ok")
    }

    fn retry_ms(&self) -> &[i64] {
        &self.retry_ms
    }
}

fn callback(signer: &Signer, notice: &Notice, sent_at: i64) -> Callback {
    let body = CallbackBody {
        event: "payment.succeeded",
        id: format!("cb_{}", notice.capture.reference),
        number: &notice.number,
        account: &signer.account,
        reference: &notice.capture.reference,
        amount_minor: notice.capture.amount_minor,
        currency: notice.currency,
        paid_at: notice.capture.at,
    };
    signed_callback(signer, &body, sent_at)
}

fn signed_callback(signer: &Signer, body: &impl Serialize, sent_at: i64) -> Callback {
    let body = serde_json::to_vec(body).expect("our own structs are JSON");
    let timestamp = (sent_at / 1000).to_string();
    let nonce = String::from_utf8_lossy(&alphanumeric::<NONCE_LENGTH>()).into_owned();
    let signature = signer.callback(&timestamp, &nonce, &body);
    let headers =
        vec![(ACCOUNT, signer.account.clone()), (TIMESTAMP, timestamp), (NONCE, nonce), (SIGNATURE, signature)];
    Callback { headers, content_type: "application/json", body }
}
