//! The requests of a run, serialised once: only the order's number within `merchant_order_id` changes from order to order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::endpoint::Endpoint;
use crate::mix::{Kind, Mix, Script};
use crate::scramble::Scramble;
use crate::way::{Carried, Payer, Way};

/// Stands where an order's number is written; the run's tag beside it keeps other zeros from being taken for it.
const DECIMAL: &str = "000000000000";
const HEXADECIMAL: &str = "0000000000000000";
/// An address that is nobody's (RFC 5737).
const PAYER_IP: &str = "192.0.2.7";
/// What each taker gets of an order.
const SHARE_RATE: &str = "0.01";
/// Spreads consecutive numbers evenly (Knuth's multiplicative hashing), whatever cycle else they go through.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Whether an answer may wait for the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerWhen {
    ChannelAnswered,
    Durable,
}

/// How merchant order ids follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ids {
    /// As platforms make them that draw them: each meets the server's index at another place
    Random,
    /// Each behind the one before
    Sequential,
}

pub struct Terms {
    pub endpoint: Endpoint,
    /// Of the platforms that sell, by turns.
    pub keys: Vec<String>,
    /// The platforms that get shares, by turns, where a kind has any.
    pub takers: Vec<String>,
    pub amount: String,
    pub currency: String,
    /// For kinds that name no channel of their own.
    pub way: Option<Way>,
    pub webhook_url: Option<String>,
    pub answer: AnswerWhen,
    pub expires_in: Option<u32>,
    pub ids: Ids,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    splits: Vec<SplitBody<'a>>,
}

#[derive(Serialize)]
struct SplitBody<'a> {
    to: &'a str,
    rate: &'static str,
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
    number_at: Vec<usize>,
    carried: Carried,
}

pub struct Orders {
    naming: Naming,
    mix: Mix,
    keys: Vec<String>,
    /// By kind, and of each as many as there are platforms that take turns.
    templates: Vec<Vec<Template>>,
    next: AtomicU64,
}

impl Orders {
    pub fn new(terms: &Terms, mix: Mix) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let naming = Naming::new(terms.ids, u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
        let of_kind = |kind: &Kind| {
            let takers = if kind.shares == 0 { 0 } else { terms.takers.len() };
            (0..terms.keys.len().max(takers)).map(|turn| Template::new(terms, kind, turn, &naming)).collect()
        };
        let templates = mix.kinds().iter().map(of_kind).collect();
        Self { naming, mix, keys: terms.keys.clone(), templates, next: AtomicU64::new(0) }
    }

    pub fn take_serial(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Replaces what `request` holds by the request for the order with this serial number.
    pub fn write(&self, serial: u64, request: &mut Vec<u8>) {
        let template = self.template(serial);
        request.clear();
        request.extend_from_slice(&template.request);
        for &number_at in &template.number_at {
            self.naming.write(serial, &mut request[number_at..]);
        }
    }

    /// Who carries the order with this serial number on to the gateway.
    pub fn carried(&self, serial: u64) -> Carried {
        self.template(serial).carried
    }

    fn template(&self, serial: u64) -> &Template {
        &self.templates[self.mix.index(serial)][self.turn(serial)]
    }

    fn turn(&self, serial: u64) -> usize {
        let turns = self.templates[self.mix.index(serial)].len() as u64;
        ((serial.wrapping_mul(SPREAD) >> 32) % turns) as usize
    }

    pub fn kind(&self, serial: u64) -> &Kind {
        &self.mix.kinds()[self.mix.index(serial)]
    }

    /// Which platform sells the order with this serial number.
    pub fn seller(&self, serial: u64) -> usize {
        self.turn(serial) % self.keys.len()
    }

    /// Its key.
    pub fn key(&self, serial: u64) -> &str {
        &self.keys[self.seller(serial)]
    }

    /// What the order with this serial number is called.
    pub fn id(&self, serial: u64) -> String {
        self.naming.id(serial)
    }

    /// What a refund of that order is called.
    pub fn refund_id(&self, serial: u64, number: u8) -> String {
        format!("{}.{number}", self.naming.id(serial))
    }

    /// The serial number of the order whose refund it is, and the refund's; none for a stranger's.
    pub fn refund_of(&self, merchant_refund_id: &str) -> Option<(u64, u8)> {
        let (order, number) = merchant_refund_id.rsplit_once('.')?;
        Some((self.serial_of(order)?, number.parse().ok()?))
    }

    /// The serial number of one of this run's orders; none for a stranger's.
    pub fn serial_of(&self, merchant_order_id: &str) -> Option<u64> {
        let serial = self.naming.serial_of(merchant_order_id)?;
        (serial < self.next.load(Ordering::Relaxed)).then_some(serial)
    }
}

/// What a run calls its orders. The run's tag differs from run to run, so that none meets the orders of an earlier one,
/// and finds them all in a store: `l…-NUMBER` in sequence, `NUMBER-l…` at random.
enum Naming {
    Sequential { tag: String },
    Random { tag: String, scramble: Scramble },
}

impl Naming {
    fn new(ids: Ids, run: u64) -> Self {
        match ids {
            Ids::Sequential => Self::Sequential { tag: format!("l{run:x}-") },
            Ids::Random => Self::Random { tag: format!("-l{run:x}"), scramble: Scramble::new(run) },
        }
    }

    /// An id in which the number is still to be written, and where.
    fn blank(&self) -> (String, usize) {
        match self {
            Self::Sequential { tag } => (format!("{tag}{DECIMAL}"), tag.len()),
            Self::Random { tag, .. } => (format!("{HEXADECIMAL}{tag}"), 0),
        }
    }

    /// Writes the number of an order to the front of `place`.
    fn write(&self, serial: u64, place: &mut [u8]) {
        match self {
            Self::Sequential { .. } => {
                let mut rest = serial;
                for digit in place[..DECIMAL.len()].iter_mut().rev() {
                    *digit = b'0' + (rest % 10) as u8;
                    rest /= 10;
                }
            }
            Self::Random { scramble, .. } => {
                let mut rest = scramble.apply(serial);
                for digit in place[..HEXADECIMAL.len()].iter_mut().rev() {
                    *digit = b"0123456789abcdef"[(rest % 16) as usize];
                    rest /= 16;
                }
            }
        }
    }

    fn id(&self, serial: u64) -> String {
        match self {
            Self::Sequential { tag } => format!("{tag}{serial:012}"),
            Self::Random { tag, scramble } => format!("{:016x}{tag}", scramble.apply(serial)),
        }
    }

    fn serial_of(&self, id: &str) -> Option<u64> {
        match self {
            Self::Sequential { tag } => id.strip_prefix(tag)?.parse().ok(),
            Self::Random { tag, scramble } => {
                let number = u64::from_str_radix(id.strip_suffix(tag)?, 16).ok()?;
                Some(scramble.undo(number))
            }
        }
    }
}

impl Template {
    /// `turn` chooses who sells and who gets shares.
    fn new(terms: &Terms, kind: &Kind, turn: usize, naming: &Naming) -> Self {
        let shares = usize::from(kind.shares);
        let takers = terms.takers.iter().cycle().skip(turn * shares % terms.takers.len().max(1)).take(shares);
        let way = kind.channel.map(Way::usual).or(terms.way);
        let (number, offset) = naming.blank();
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
            splits: takers.map(|to| SplitBody { to, rate: SHARE_RATE }).collect(),
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
            terms.keys[turn % terms.keys.len()],
            body.len()
        );
        let number_at = body.match_indices(&number).map(|(at, _)| head.len() + at + offset).collect();
        let carried = way.map_or(Carried::ByNobody, Way::carried);
        Self { request: (head + &body).into_bytes(), number_at, carried }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::way::{Channel, Method};

    fn terms() -> Terms {
        Terms {
            endpoint: "http://127.0.0.1:8080".parse().unwrap(),
            keys: vec!["sk_test".into()],
            takers: Vec::new(),
            amount: "200.00".into(),
            currency: "CNY".into(),
            way: Some(Way::usual(Channel::Simpay)),
            webhook_url: None,
            answer: AnswerWhen::Durable,
            expires_in: None,
            ids: Ids::Random,
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
        let mut request = Vec::new();
        for ids in [Ids::Random, Ids::Sequential] {
            let terms = Terms { ids, ..terms() };
            let orders = Orders::new(&terms, "plain=1,wechat/sim:decline=1".parse().unwrap());
            for serial in [0, 1, 9, 10, 123_456_789_012] {
                orders.write(serial, &mut request);
                let body = body_of(&request);
                let id = body["merchant_order_id"].as_str().unwrap();
                assert_eq!(id, orders.id(serial));
                assert!(id.len() <= 64);
                let kind = &orders.mix.kinds()[orders.mix.index(serial)];
                assert_eq!(body["channel"], kind.channel.unwrap_or(Channel::Simpay).name());
            }
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
        for ids in [Ids::Random, Ids::Sequential] {
            let orders = Orders::new(&Terms { ids, ..terms() }, Mix::only(Script::Plain));
            let serial = (0..8).map(|_| orders.take_serial()).last().unwrap();
            let mut request = Vec::new();
            orders.write(serial, &mut request);
            let id = body_of(&request)["merchant_order_id"].as_str().unwrap().to_owned();
            assert_eq!(orders.serial_of(&id), Some(7));
            assert_eq!(orders.serial_of(&orders.id(8)), None, "not taken yet");
            for stranger in ["l1-000000000001", "0000000000000001-l1", ""] {
                assert_eq!(orders.serial_of(stranger), None);
            }
        }
    }

    #[test]
    fn sellers_and_takers_take_turns() {
        let names = |of: &str, count: usize| (0..count).map(|number| format!("{of}-{number}")).collect::<Vec<_>>();
        let terms = Terms { keys: names("key", 4), takers: names("taker", 10), ..terms() };
        let orders = Orders::new(&terms, "plain=1,plain+split3+refund=1".parse().unwrap());
        let (mut sold, mut taken) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
        let mut request = Vec::new();
        for serial in (0..10_000).map(|_| orders.take_serial()) {
            orders.write(serial, &mut request);
            let head = String::from_utf8_lossy(&request);
            assert!(head.contains(&format!("authorization: Bearer {}\r\n", orders.key(serial))));
            *sold.entry(orders.seller(serial)).or_insert(0) += 1;
            let splits = body_of(&request)["splits"].as_array().cloned().unwrap_or_default();
            assert_eq!(splits.len(), usize::from(orders.kind(serial).shares));
            for split in &splits {
                *taken.entry(split["to"].as_str().unwrap().to_owned()).or_insert(0) += 1;
            }
            let mut takers: Vec<_> = splits.iter().map(|split| split["to"].as_str()).collect();
            takers.dedup();
            assert_eq!(takers.len(), splits.len(), "nobody gets two shares of an order");
        }
        assert!(sold.len() == 4 && sold.values().all(|count| (2_000..3_000).contains(count)), "{sold:?}");
        assert!(taken.len() == 10 && taken.values().all(|count| (1_200..1_800).contains(count)), "{taken:?}");
        assert_eq!(orders.refund_of(&orders.refund_id(7, 1)), Some((7, 1)));
        for stranger in [orders.id(7), format!("{}.x", orders.id(7)), orders.refund_id(10_000, 0)] {
            assert_eq!(orders.refund_of(&stranger), None);
        }
    }

    #[test]
    fn only_sequential_ids_grow() {
        let grow = |ids| {
            let orders = Orders::new(&Terms { ids, ..terms() }, Mix::only(Script::Plain));
            (0..1_000)
                .map(|serial| orders.id(serial))
                .collect::<Vec<_>>()
                .windows(2)
                .filter(|ids| ids[0] < ids[1])
                .count()
        };
        assert_eq!(grow(Ids::Sequential), 999);
        assert!((400..600).contains(&grow(Ids::Random)));
    }
}
