//! The requests of a run, serialised once: only the number within `merchant_order_id` changes from order to order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::endpoint::Endpoint;
use crate::mix::{Kind, Mix, Script};

const DIGITS: usize = 12;
const PLACEHOLDER: &str = "000000000000";

/// Whether an answer may wait for the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerWhen {
    ChannelAnswered,
    Durable,
}

pub struct Terms {
    pub endpoint: Endpoint,
    pub key: String,
    pub amount: String,
    pub currency: String,
    /// For kinds that name none of their own.
    pub channel: Option<String>,
    pub webhook_url: Option<String>,
    pub answer: AnswerWhen,
    pub expires_in: Option<u32>,
}

#[derive(Serialize)]
struct Body<'a> {
    merchant_order_id: &'a str,
    amount: &'a str,
    currency: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u32>,
}

struct Template {
    request: Vec<u8>,
    digits_at: usize,
}

pub struct Orders {
    /// Differs from run to run, so that no run meets the orders of an earlier one.
    run: String,
    mix: Mix,
    templates: Vec<Template>,
    next: AtomicU64,
}

impl Orders {
    pub fn new(terms: &Terms, mix: Mix) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = format!("l{:x}-", since.as_micros());
        let templates = mix.kinds().iter().map(|kind| Template::new(terms, kind, &run)).collect();
        Self { run, mix, templates, next: AtomicU64::new(0) }
    }

    pub fn take_serial(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Replaces what `request` holds by the request for the order with this serial number.
    pub fn write(&self, serial: u64, request: &mut Vec<u8>) {
        let template = &self.templates[self.mix.index(serial)];
        request.clear();
        request.extend_from_slice(&template.request);
        let mut rest = serial;
        for place in request[template.digits_at..template.digits_at + DIGITS].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    /// What the order with this serial number is called.
    pub fn id(&self, serial: u64) -> String {
        format!("{}{serial:012}", self.run)
    }

    /// The serial number of one of this run's orders; none for a stranger's.
    pub fn serial_of(&self, merchant_order_id: &str) -> Option<u64> {
        let serial = merchant_order_id.strip_prefix(&self.run)?.parse().ok()?;
        (serial < self.next.load(Ordering::Relaxed)).then_some(serial)
    }
}

impl Template {
    fn new(terms: &Terms, kind: &Kind, run: &str) -> Self {
        let body = Body {
            merchant_order_id: &format!("{run}{PLACEHOLDER}"),
            amount: &terms.amount,
            currency: &terms.currency,
            description: match kind.script {
                Script::Plain => "load test",
                scripted => scripted.word(),
            },
            channel: kind.channel.as_deref().or(terms.channel.as_deref()),
            webhook_url: terms.webhook_url.as_deref(),
            expires_in: terms.expires_in,
        };
        let body = serde_json::to_string(&body).expect("a struct of texts and numbers serialises");
        let preference = match terms.answer {
            AnswerWhen::ChannelAnswered => "",
            AnswerWhen::Durable => "prefer: respond-async\r\n",
        };
        let head = format!(
            "POST /v1/orders HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             {preference}content-length: {}\r\n\r\n",
            terms.endpoint.host(),
            terms.key,
            body.len()
        );
        // The run's own prefix precedes the digits, so that no other zeros can be taken for them.
        let digits = format!("{run}{PLACEHOLDER}");
        let digits_in_body = body.find(&digits).expect("the body holds its own id") + run.len();
        let digits_at = head.len() + digits_in_body;
        Self { request: (head + &body).into_bytes(), digits_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            endpoint: "http://127.0.0.1:8080".parse().unwrap(),
            key: "sk_test".into(),
            amount: "200.00".into(),
            currency: "CNY".into(),
            channel: Some("simpay".into()),
            webhook_url: None,
            answer: AnswerWhen::Durable,
            expires_in: None,
        }
    }

    fn body_of(request: &[u8]) -> serde_json::Value {
        let text = std::str::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())) || head.ends_with(&body.len().to_string())
        );
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn each_request_has_its_own_number() {
        let orders = Orders::new(&terms(), "plain=1,wechat/sim:decline=1".parse().unwrap());
        let mut request = Vec::new();
        for serial in [0, 1, 9, 10, 123_456_789_012] {
            orders.write(serial, &mut request);
            let body = body_of(&request);
            let id = body["merchant_order_id"].as_str().unwrap();
            assert_eq!(id, orders.id(serial));
            assert!(id.len() <= 64);
            let kind = &orders.mix.kinds()[orders.mix.index(serial)];
            assert_eq!(body["channel"], kind.channel.as_deref().unwrap_or("simpay"));
        }
        assert!(String::from_utf8_lossy(&request).contains("prefer: respond-async\r\n"));
    }

    #[test]
    fn a_number_is_found_again_and_strangers_are_not() {
        let orders = Orders::new(&terms(), Mix::only(Script::Plain));
        let serial = (0..8).map(|_| orders.take_serial()).last().unwrap();
        let mut request = Vec::new();
        orders.write(serial, &mut request);
        let id = body_of(&request)["merchant_order_id"].as_str().unwrap().to_owned();
        assert_eq!(orders.serial_of(&id), Some(7));
        assert_eq!(orders.serial_of(&format!("{}000000000008", orders.run)), None);
        assert_eq!(orders.serial_of("l1-000000000001"), None);
    }
}
