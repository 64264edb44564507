//! The requests of a run, serialised once: only the number within `merchant_order_id` changes from order to order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::endpoint::Endpoint;
use crate::mix::{Kind, Mix, Script};
use crate::way::{Carried, Payer, Way};

const DIGITS: usize = 12;
const PLACEHOLDER: &str = "000000000000";
/// An address that is nobody's (RFC 5737).
const PAYER_IP: &str = "192.0.2.7";

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
    /// For kinds that name no channel of their own.
    pub way: Option<Way>,
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
    channel: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer: Option<PayerBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u32>,
}

/// Every order has a payer of its own, so that none meets what the server remembers of another.
#[derive(Serialize)]
struct PayerBody<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    openid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'static str>,
}

struct Template {
    request: Vec<u8>,
    /// Where the order's number stands.
    digits_at: Vec<usize>,
    carried: Carried,
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
        for &digits_at in &template.digits_at {
            let mut rest = serial;
            for place in request[digits_at..digits_at + DIGITS].iter_mut().rev() {
                *place = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
    }

    /// Who carries the order with this serial number on to the gateway.
    pub fn carried(&self, serial: u64) -> Carried {
        self.templates[self.mix.index(serial)].carried
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
        let way = kind.channel.map(Way::usual).or(terms.way);
        // The run's own prefix precedes the digits, so that no other zeros can be taken for them.
        let number = format!("{run}{PLACEHOLDER}");
        let body = Body {
            merchant_order_id: &number,
            amount: &terms.amount,
            currency: &terms.currency,
            description: match kind.script {
                Script::Plain => "load test",
                scripted => scripted.word(),
            },
            channel: way.map(|way| way.channel.name()),
            method: way.map(|way| way.method.name()),
            payer: way.and_then(|way| match way.payer() {
                Payer::Nothing => None,
                Payer::Openid => Some(PayerBody { id: &number, openid: Some(&number), ip: None }),
                Payer::Ip => Some(PayerBody { id: &number, openid: None, ip: Some(PAYER_IP) }),
            }),
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
        let digits_at = body.match_indices(&number).map(|(at, _)| head.len() + at + run.len()).collect();
        let carried = way.map_or(Carried::ByNobody, Way::carried);
        Self { request: (head + &body).into_bytes(), digits_at, carried }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::way::{Channel, Method};

    fn terms() -> Terms {
        Terms {
            endpoint: "http://127.0.0.1:8080".parse().unwrap(),
            key: "sk_test".into(),
            amount: "200.00".into(),
            currency: "CNY".into(),
            way: Some(Way::usual(Channel::Simpay)),
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
            assert_eq!(body["channel"], kind.channel.unwrap_or(Channel::Simpay).name());
        }
        assert!(String::from_utf8_lossy(&request).contains("prefer: respond-async\r\n"));
    }

    #[test]
    fn what_a_way_needs_is_said_and_each_payer_is_another() {
        let by = |channel, method| Terms { way: Some(Way::by(channel, Some(method)).unwrap()), ..terms() };
        let mut request = Vec::new();
        let jsapi = Orders::new(&by(Channel::Wechat, Method::Jsapi), Mix::only(Script::Plain));
        jsapi.write(42, &mut request);
        let body = body_of(&request);
        assert_eq!((&body["method"], &body["payer"]["openid"]), (&"jsapi".into(), &jsapi.id(42).into()));
        assert_eq!((&body["payer"]["id"], jsapi.carried(42)), (&jsapi.id(42).into(), Carried::ByNobody));
        let h5 = Orders::new(&by(Channel::Wechat, Method::H5), Mix::only(Script::Plain));
        h5.write(0, &mut request);
        assert_eq!(body_of(&request)["payer"]["ip"], PAYER_IP);
        let page = Orders::new(&by(Channel::Unionpay, Method::Page), "plain=1,simpay/plain=1".parse().unwrap());
        page.write(0, &mut request);
        assert!(body_of(&request).get("payer").is_none());
        assert_eq!([0, 1].map(|serial| page.carried(serial)), [Carried::ByBrowser, Carried::ByNobody]);
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
