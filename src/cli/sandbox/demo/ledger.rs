//! What the platforms know of their orders and refunds: by the answers they got and the webhooks that came.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::browser::NextAction;
use super::mix::{Kind, Money, Split};
use super::refunding::Refunding;

/// Latencies beyond a minute are written down as a minute.
const LATENCY_MAX_US: u64 = 60_000_000;

/// An order as the server tells of it, in an answer or a webhook.
#[derive(Debug, Clone, Deserialize)]
pub struct Told {
    pub id: String,
    pub merchant_order_id: String,
    pub state: String,
    pub failure: Option<Failure>,
    pub last_failure: Option<Failure>,
    pub sequence: Option<u32>,
    /// Never in webhooks.
    pub next_action: Option<NextAction>,
    pub splits: Vec<ToldSplit>,
}

/// A share of an order; its amount is known once the order is paid.
#[derive(Debug, Clone, Deserialize)]
pub struct ToldSplit {
    pub amount: Option<String>,
}

/// A refund as the server tells of it, in an answer or a webhook.
#[derive(Debug, Clone, Deserialize)]
pub struct ToldRefund {
    pub merchant_refund_id: String,
    pub state: String,
    pub failure: Option<Failure>,
    pub sequence: Option<u32>,
}

/// What a webhook tells of.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum News {
    Order(Told),
    Refund(ToldRefund),
}

#[derive(Debug, Clone, Deserialize)]
pub struct Failure {
    pub code: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    Right,
    Wrong,
}

/// How an order or a refund stands, for people: its state and the code of its failure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    pub state: String,
    pub failure: Option<String>,
}

struct Line {
    kind: Kind,
    standing: Option<Standing>,
    /// Of the newest webhook.
    sequence: u32,
    suspense_refunded: bool,
    /// All its shares were told with their amounts.
    shared: bool,
    /// It was never accepted, and nobody tries any more.
    refused: bool,
    /// Who waits for it to be paid.
    awaited: Option<oneshot::Sender<()>>,
    /// What is asked back of it, in order.
    refunds: Box<[RefundLine]>,
}

#[derive(Clone, Default)]
struct RefundLine {
    standing: Option<Standing>,
    /// Of the newest webhook.
    sequence: u32,
    /// It was never accepted, and nobody tries any more.
    refused: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Webhooks {
    pub received: u64,
    pub verified: u64,
    pub duplicates: u64,
    /// Of no order and no refund of ours.
    pub strangers: u64,
}

/// The lines of all orders, by serial number.
pub struct Ledger {
    prefix: String,
    inner: Mutex<Inner>,
}

struct Inner {
    lines: Vec<Line>,
    accepted: u64,
    refunds_accepted: u64,
    in_vain: BTreeMap<String, u64>,
    latency: Histogram<u64>,
    webhooks: Webhooks,
    seen: HashSet<Box<str>>,
}

/// A picture of the moment.
pub struct Picture {
    pub orders: u64,
    pub accepted: u64,
    pub settled: u64,
    /// Requests that nothing came of, by why.
    pub in_vain: BTreeMap<String, u64>,
    pub standings: BTreeMap<Standing, u64>,
    /// Orders whose shares were told with their amounts.
    pub shared: u64,
    pub refunds: RefundPicture,
    pub p50: Duration,
    pub p99: Duration,
    pub latency_max: Duration,
    pub webhooks: Webhooks,
}

#[derive(Default)]
pub struct RefundPicture {
    /// That there will be, if every order ends as its script says.
    pub wanted: u64,
    pub accepted: u64,
    pub standings: BTreeMap<Standing, u64>,
}

impl Picture {
    pub fn is_over(&self) -> bool {
        self.settled == self.orders
    }
}

/// What became of some of the orders or refunds.
#[derive(Default)]
pub struct Outcome {
    pub in_all: u64,
    pub as_scripted: u64,
    pub standings: BTreeMap<Standing, u64>,
}

impl Outcome {
    fn count(&mut self, standing: Option<&Standing>, as_scripted: bool) {
        self.in_all += 1;
        self.as_scripted += u64::from(as_scripted);
        tally(&mut self.standings, standing);
    }
}

fn tally(standings: &mut BTreeMap<Standing, u64>, standing: Option<&Standing>) {
    let Some(standing) = standing else { return };
    match standings.get_mut(standing) {
        Some(count) => *count += 1,
        None => drop(standings.insert(standing.clone(), 1)),
    }
}

impl Ledger {
    /// `prefix` begins every order's number, so that no two runs share any.
    pub fn new(prefix: String, kinds: &[Kind]) -> Result<Self, hdrhistogram::CreationError> {
        let inner = Inner {
            lines: kinds.iter().map(|kind| Line::new(*kind)).collect(),
            accepted: 0,
            refunds_accepted: 0,
            in_vain: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?,
            webhooks: Webhooks::default(),
            seen: HashSet::new(),
        };
        Ok(Ledger { prefix, inner: Mutex::new(inner) })
    }

    pub fn merchant_order_id(&self, serial: usize) -> String {
        format!("{}-{serial}", self.prefix)
    }

    pub fn merchant_refund_id(&self, serial: usize, number: usize) -> String {
        format!("{}-{serial}-{number}", self.prefix)
    }

    /// The serial number of an order, and its refund's, if the text names one.
    fn serials(&self, text: &str) -> Option<(usize, Option<usize>)> {
        let serials = text.strip_prefix(&self.prefix)?.strip_prefix('-')?;
        match serials.split_once('-') {
            None => Some((serials.parse().ok()?, None)),
            Some((order, refund)) => Some((order.parse().ok()?, Some(refund.parse().ok()?))),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn accepted(&self, told: &Told, latency: Duration) {
        let mut inner = self.inner();
        inner.accepted += 1;
        let latency = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US);
        inner.latency.saturating_record(latency);
        self.learn(&mut inner, told);
    }

    /// The order was not accepted, in spite of all tries.
    pub fn refused(&self, serial: usize, why: String) {
        let mut inner = self.inner();
        if let Some(line) = inner.lines.get_mut(serial) {
            line.refused = true;
        }
        *inner.in_vain.entry(why).or_default() += 1;
    }

    /// Resolves once the order is paid.
    pub fn paid(&self, serial: usize) -> oneshot::Receiver<()> {
        let (told, waiting) = oneshot::channel();
        if let Some(line) = self.inner().lines.get_mut(serial) {
            line.awaited = Some(told);
        }
        waiting
    }

    pub fn refund_accepted(&self, told: &ToldRefund) {
        let mut inner = self.inner();
        inner.refunds_accepted += 1;
        self.learn_refund(&mut inner, told);
    }

    /// This refund and those after it of the order were not accepted, in spite of all tries.
    pub fn refunds_refused(&self, serial: usize, number: usize, why: String) {
        let mut inner = self.inner();
        let refunds = inner.lines.get_mut(serial).and_then(|line| line.refunds.get_mut(number..));
        for refund in refunds.into_iter().flatten() {
            refund.refused = true;
        }
        *inner.in_vain.entry(why).or_default() += 1;
    }

    /// A request about an order that goes on all the same.
    pub fn in_vain(&self, why: String) {
        *self.inner().in_vain.entry(why).or_default() += 1;
    }

    /// An answer to something other than the order's creation.
    pub fn heard(&self, told: &Told) {
        let mut inner = self.inner();
        self.learn(&mut inner, told);
    }

    /// A webhook that was received; one that cannot be believed changes nothing but the count.
    pub fn webhook(&self, id: &str, signature: Signature, kind: &str, news: Option<&News>) {
        let mut inner = self.inner();
        inner.webhooks.received += 1;
        match signature {
            Signature::Right => inner.webhooks.verified += 1,
            Signature::Wrong => return,
        }
        if !inner.seen.insert(id.into()) {
            inner.webhooks.duplicates += 1;
        }
        let serial = news.and_then(|news| match news {
            News::Order(told) => self.learn(&mut inner, told),
            News::Refund(told) => self.learn_refund(&mut inner, told),
        });
        match serial {
            Some(serial) if kind == "order.suspense_refunded" => inner.lines[serial].suspense_refunded = true,
            Some(_) => {}
            None => inner.webhooks.strangers += 1,
        }
    }

    /// Takes what is newer than what is known; the order's serial number, if it is ours.
    fn learn(&self, inner: &mut Inner, told: &Told) -> Option<usize> {
        let (serial, None) = self.serials(&told.merchant_order_id)? else { return None };
        let line = inner.lines.get_mut(serial)?;
        let failure = told.failure.as_ref().or(told.last_failure.as_ref());
        renew((&mut line.standing, &mut line.sequence), Standing::new(&told.state, failure), told.sequence);
        line.shared |= !told.splits.is_empty() && told.splits.iter().all(|split| split.amount.is_some());
        if told.state == "succeeded"
            && let Some(awaited) = line.awaited.take()
        {
            // Whoever waited may have given it up at this very moment.
            let _ = awaited.send(());
        }
        Some(serial)
    }

    /// The same for a refund; the serial number of its order.
    fn learn_refund(&self, inner: &mut Inner, told: &ToldRefund) -> Option<usize> {
        let (serial, Some(number)) = self.serials(&told.merchant_refund_id)? else { return None };
        let line = inner.lines.get_mut(serial)?.refunds.get_mut(number)?;
        renew(
            (&mut line.standing, &mut line.sequence),
            Standing::new(&told.state, told.failure.as_ref()),
            told.sequence,
        );
        Some(serial)
    }

    pub fn picture(&self) -> Picture {
        let inner = self.inner();
        let mut standings = BTreeMap::new();
        let mut refunds = RefundPicture { accepted: inner.refunds_accepted, ..RefundPicture::default() };
        for line in &inner.lines {
            tally(&mut standings, line.standing.as_ref());
            for refund in &line.refunds {
                refunds.wanted += 1;
                tally(&mut refunds.standings, refund.standing.as_ref());
            }
        }
        let at = |quantile| Duration::from_micros(inner.latency.value_at_quantile(quantile));
        let count = |number: usize| number as u64;
        Picture {
            orders: count(inner.lines.len()),
            accepted: inner.accepted,
            settled: count(inner.lines.iter().filter(|line| line.is_settled()).count()),
            in_vain: inner.in_vain.clone(),
            standings,
            shared: count(inner.lines.iter().filter(|line| line.shared).count()),
            refunds,
            p50: at(0.5),
            p99: at(0.99),
            latency_max: Duration::from_micros(inner.latency.max()),
            webhooks: inner.webhooks,
        }
    }

    /// What became of the orders, by what `group` makes of their kinds.
    pub fn outcomes<Group: Ord>(&self, group: impl Fn(Kind) -> Group) -> BTreeMap<Group, Outcome> {
        let inner = self.inner();
        let mut outcomes: BTreeMap<Group, Outcome> = BTreeMap::new();
        for line in &inner.lines {
            let outcome = outcomes.entry(group(line.kind)).or_default();
            outcome.count(line.standing.as_ref(), line.is_as_scripted());
        }
        outcomes
    }

    /// What became of the refunds, by what was asked back.
    pub fn refund_outcomes(&self) -> BTreeMap<Refunding, Outcome> {
        let inner = self.inner();
        let mut outcomes: BTreeMap<Refunding, Outcome> = BTreeMap::new();
        for line in &inner.lines {
            let Some(refunding) = line.kind.refunding else { continue };
            for refund in &line.refunds {
                let outcome = outcomes.entry(refunding).or_default();
                outcome.count(refund.standing.as_ref(), refund.is_as_scripted(refunding));
            }
        }
        outcomes
    }
}

impl Standing {
    fn new(state: &str, failure: Option<&Failure>) -> Self {
        Standing { state: state.to_owned(), failure: failure.map(|failure| failure.code.clone()) }
    }
}

/// Takes what is newer than what is known: an answer may be overtaken by the webhook of what came after it.
fn renew((known, known_sequence): (&mut Option<Standing>, &mut u32), told: Standing, sequence: Option<u32>) {
    let sequence = sequence.unwrap_or(0);
    if known.is_none() || sequence > *known_sequence {
        *known = Some(told);
        *known_sequence = sequence;
    }
}

impl Line {
    fn new(kind: Kind) -> Self {
        let refunds = kind.refunding.map_or(0, |refunding| refunding.portions().len());
        Line {
            kind,
            standing: None,
            sequence: 0,
            suspense_refunded: false,
            shared: false,
            refused: false,
            awaited: None,
            refunds: vec![RefundLine::default(); refunds].into(),
        }
    }

    /// Nothing more is to be expected: it was refused, or it is final or its attempt failed, and what money must go
    /// back has gone; what was asked back is at rest.
    fn is_settled(&self) -> bool {
        if self.refused {
            return true;
        }
        let Some(standing) = &self.standing else { return false };
        let ended = match standing.state.as_str() {
            "succeeded" => return self.refunds.iter().all(|refund| refund.is_at_rest(self.kind.refunding)),
            "failed" => true,
            _ => standing.state == "created" && standing.failure.is_some(),
        };
        ended && (self.suspense_refunded || self.kind.script.ending().money == Money::Expected)
    }

    fn is_as_scripted(&self) -> bool {
        let ending = self.kind.script.ending();
        let Some(standing) = &self.standing else { return false };
        standing.state == ending.state
            && standing.failure.as_deref() == ending.failure
            && self.suspense_refunded == (ending.money == Money::GoesBack)
            && self.shared == (self.kind.split == Split::Tenth)
    }
}

impl RefundLine {
    /// Nothing more is to be expected. One that succeeded may still be scripted to come back.
    fn is_at_rest(&self, refunding: Option<Refunding>) -> bool {
        if self.refused {
            return true;
        }
        let Some(standing) = &self.standing else { return false };
        match standing.state.as_str() {
            "succeeded" => refunding.is_none_or(|refunding| refunding.ending().state != "returned"),
            state => matches!(state, "failed" | "returned"),
        }
    }

    fn is_as_scripted(&self, refunding: Refunding) -> bool {
        let ending = refunding.ending();
        let is_scripted =
            |standing: &Standing| standing.state == ending.state && standing.failure.as_deref() == ending.failure;
        self.standing.as_ref().is_some_and(is_scripted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sandbox::demo::mix::Script;
    use crate::domain::channel::Channel;

    fn told(serial: usize, state: &str, failure: Option<&str>, sequence: Option<u32>) -> Told {
        Told {
            id: "ord_1".into(),
            merchant_order_id: format!("run-{serial}"),
            state: state.into(),
            failure: None,
            last_failure: failure.map(|code| Failure { code: code.into() }),
            sequence,
            next_action: None,
            splits: Vec::new(),
        }
    }

    fn told_refund(id: &str, state: &str, failure: Option<&str>, sequence: Option<u32>) -> ToldRefund {
        ToldRefund {
            merchant_refund_id: id.into(),
            state: state.into(),
            failure: failure.map(|code| Failure { code: code.into() }),
            sequence,
        }
    }

    #[test]
    fn an_order_is_settled_once_its_script_has_ended() {
        let kinds = [Script::Plain, Script::Underpay].map(|script| Kind::plain(Channel::Simpay, script));
        let ledger = Ledger::new("run".into(), &kinds).unwrap();
        let settled = || ledger.picture().settled;
        let webhook = |id: &str, kind: &str, told: &Told| {
            ledger.webhook(id, Signature::Right, kind, Some(&News::Order(told.clone())));
        };
        webhook("e1", "order.succeeded", &told(0, "succeeded", None, Some(1)));
        // The answer comes after the webhook and is older.
        ledger.accepted(&told(0, "submitted", None, None), Duration::from_millis(2));
        assert_eq!(settled(), 1);
        let failed = told(1, "created", Some("amount_insufficient"), Some(1));
        webhook("e2", "order.attempt_failed", &failed);
        assert_eq!(settled(), 1);
        let refunded = told(1, "created", Some("amount_insufficient"), Some(2));
        ledger.webhook("e3", Signature::Wrong, "order.suspense_refunded", Some(&News::Order(refunded.clone())));
        assert_eq!(settled(), 1);
        webhook("e3", "order.suspense_refunded", &refunded);
        webhook("e3", "order.suspense_refunded", &refunded);
        webhook("e4", "order.succeeded", &told(7, "succeeded", None, Some(1)));
        let picture = ledger.picture();
        assert_eq!((picture.settled, picture.accepted), (2, 1));
        let webhooks = picture.webhooks;
        assert_eq!((webhooks.received, webhooks.verified, webhooks.duplicates, webhooks.strangers), (6, 5, 1, 1));
        assert!(ledger.outcomes(|kind| kind.script).values().all(|outcome| outcome.as_scripted == 1));
    }

    #[test]
    fn an_order_is_settled_once_its_refunds_are_at_rest() {
        let kinds: Vec<Kind> =
            ["plain+parts", "plain+split+return", "plain+refuse"].map(|kind| kind.parse().unwrap()).into();
        let ledger = Ledger::new("run".into(), &kinds).unwrap();
        let mut paid = ledger.paid(0);
        let order = |serial| ledger.heard(&told(serial, "succeeded", None, Some(1)));
        let refund = |id: &str, state, failure, sequence| {
            let news = News::Refund(told_refund(id, state, failure, Some(sequence)));
            ledger.webhook(&format!("{id} {sequence}"), Signature::Right, "", Some(&news));
        };
        let settled = || ledger.picture().settled;
        assert!(paid.try_recv().is_err());
        order(0);
        order(2);
        assert!(paid.try_recv().is_ok());
        let splits = vec![ToldSplit { amount: Some("1.00".into()) }];
        ledger.heard(&Told { splits, ..told(1, "succeeded", None, Some(1)) });
        assert_eq!(settled(), 0);

        refund("run-0-0", "succeeded", None, 2);
        // The answer comes after the webhook and is older.
        ledger.refund_accepted(&told_refund("run-0-0", "submitted", None, None));
        assert_eq!(settled(), 0, "the second part is missing");
        refund("run-0-1", "succeeded", None, 3);
        refund("run-1-0", "succeeded", None, 2);
        assert_eq!(settled(), 1, "what succeeded is to be returned");
        refund("run-1-0", "returned", None, 3);
        refund("run-2-0", "failed", Some("channel_refused"), 2);
        for stranger in ["run-2-1", "run-3-0", "run-0", "stop-0-0"] {
            refund(stranger, "succeeded", None, 9);
        }
        let picture = ledger.picture();
        assert!(picture.is_over());
        assert_eq!((picture.shared, picture.refunds.wanted, picture.refunds.accepted), (1, 4, 1));
        assert_eq!(picture.webhooks.strangers, 4);
        assert!(ledger.outcomes(|kind| kind.script).values().all(|outcome| outcome.as_scripted == 3));
        assert!(ledger.refund_outcomes().values().all(|outcome| outcome.as_scripted == outcome.in_all));
    }

    #[test]
    fn refunds_that_nobody_takes_are_not_waited_for() {
        let ledger = Ledger::new("run".into(), &["plain+parts".parse().unwrap()]).unwrap();
        ledger.heard(&told(0, "succeeded", None, Some(1)));
        ledger.refunds_refused(0, 0, "refund 409".into());
        assert!(ledger.picture().is_over());
        assert_eq!(ledger.refund_outcomes()[&Refunding::Parts].as_scripted, 0);
    }

    #[test]
    fn a_webhook_tells_of_an_order_or_of_a_refund() {
        let read = |json| serde_json::from_str::<News>(json).unwrap();
        let order = r#"{"id":"ord_1","merchant_order_id":"run-1","state":"succeeded","failure":null,"last_failure":null,
            "splits":[{"to":"platform-b","amount":"1.00","rate":"0.1"}],"sequence":1}"#;
        assert!(matches!(read(order), News::Order(Told { splits, .. }) if splits[0].amount.is_some()));
        let refund = r#"{"id":"re_1","order":"ord_1","merchant_refund_id":"run-1-0","state":"failed",
            "failure":{"code":"channel_ended"},"sequence":2}"#;
        assert!(matches!(read(refund), News::Refund(ToldRefund { failure: Some(_), .. })));
    }
}
