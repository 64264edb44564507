//! What the platforms know of their orders: by the answers they got and the webhooks that came.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Deserialize;

use super::browser::NextAction;
use super::mix::{Kind, Money};

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

/// How an order stands, for people: its state and the code of its failure.
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
    /// It was never accepted, and nobody tries any more.
    refused: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Webhooks {
    pub received: u64,
    pub verified: u64,
    pub duplicates: u64,
    /// Of no order of ours.
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
    pub p50: Duration,
    pub p99: Duration,
    pub latency_max: Duration,
    pub webhooks: Webhooks,
}

impl Picture {
    pub fn is_over(&self) -> bool {
        self.settled == self.orders
    }
}

/// What became of some of the orders.
#[derive(Default)]
pub struct Outcome {
    pub orders: u64,
    pub as_scripted: u64,
    pub standings: BTreeMap<Standing, u64>,
}

impl Ledger {
    /// `prefix` begins every order's number, so that no two runs share any.
    pub fn new(prefix: String, kinds: &[Kind]) -> Result<Self, hdrhistogram::CreationError> {
        let line =
            |kind: &Kind| Line { kind: *kind, standing: None, sequence: 0, suspense_refunded: false, refused: false };
        let inner = Inner {
            lines: kinds.iter().map(line).collect(),
            accepted: 0,
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
    pub fn webhook(&self, id: &str, signature: Signature, kind: &str, told: Option<&Told>) {
        let mut inner = self.inner();
        inner.webhooks.received += 1;
        match signature {
            Signature::Right => inner.webhooks.verified += 1,
            Signature::Wrong => return,
        }
        if !inner.seen.insert(id.into()) {
            inner.webhooks.duplicates += 1;
        }
        match told.and_then(|told| self.learn(&mut inner, told)) {
            Some(serial) if kind == "order.suspense_refunded" => inner.lines[serial].suspense_refunded = true,
            Some(_) => {}
            None => inner.webhooks.strangers += 1,
        }
    }

    /// Takes what is newer than what is known; the order's serial number, if it is ours.
    fn learn(&self, inner: &mut Inner, told: &Told) -> Option<usize> {
        let serial = told.merchant_order_id.strip_prefix(&self.prefix)?.strip_prefix('-')?.parse().ok()?;
        let line: &mut Line = inner.lines.get_mut(serial)?;
        let sequence = told.sequence.unwrap_or(0);
        // An answer may be overtaken by the webhook of what came after it.
        if line.standing.is_none() || sequence > line.sequence {
            let failure = told.failure.as_ref().or(told.last_failure.as_ref());
            line.standing =
                Some(Standing { state: told.state.clone(), failure: failure.map(|failure| failure.code.clone()) });
            line.sequence = sequence;
        }
        Some(serial)
    }

    pub fn picture(&self) -> Picture {
        let inner = self.inner();
        let mut standings = BTreeMap::new();
        for standing in inner.lines.iter().filter_map(|line| line.standing.as_ref()) {
            match standings.get_mut(standing) {
                Some(count) => *count += 1,
                None => drop(standings.insert(standing.clone(), 1)),
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
            outcome.orders += 1;
            outcome.as_scripted += u64::from(line.is_as_scripted());
            if let Some(standing) = &line.standing {
                *outcome.standings.entry(standing.clone()).or_default() += 1;
            }
        }
        outcomes
    }
}

impl Line {
    /// Nothing more is to be expected: it was refused, or it is final or its attempt failed, and what money must go
    /// back has gone.
    fn is_settled(&self) -> bool {
        if self.refused {
            return true;
        }
        let Some(standing) = &self.standing else { return false };
        let ended = match standing.state.as_str() {
            "succeeded" => return true,
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
        }
    }

    #[test]
    fn an_order_is_settled_once_its_script_has_ended() {
        let kinds = [Script::Plain, Script::Underpay].map(|script| Kind { channel: Channel::Simpay, script });
        let ledger = Ledger::new("run".into(), &kinds).unwrap();
        let settled = || ledger.picture().settled;
        let webhook = |id: &str, kind: &str, told: &Told| ledger.webhook(id, Signature::Right, kind, Some(told));
        webhook("e1", "order.succeeded", &told(0, "succeeded", None, Some(1)));
        // The answer comes after the webhook and is older.
        ledger.accepted(&told(0, "submitted", None, None), Duration::from_millis(2));
        assert_eq!(settled(), 1);
        let failed = told(1, "created", Some("amount_insufficient"), Some(1));
        webhook("e2", "order.attempt_failed", &failed);
        assert_eq!(settled(), 1);
        let refunded = told(1, "created", Some("amount_insufficient"), Some(2));
        ledger.webhook("e3", Signature::Wrong, "order.suspense_refunded", Some(&refunded));
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
}
