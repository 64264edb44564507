//! What the platform learns of its payments and refunds: each is opened before it is asked for and ends with a webhook.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::oneshot;

use crate::mix::{End, Mix, Script};
use crate::tally::{Latency, Percentiles};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Succeeded,
    Failed,
    AttemptFailed,
    SuspenseRefunded,
}

impl Event {
    const ALL: [Self; 4] = [Self::Succeeded, Self::Failed, Self::AttemptFailed, Self::SuspenseRefunded];

    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "order.succeeded",
            Self::Failed => "order.failed",
            Self::AttemptFailed => "order.attempt_failed",
            Self::SuspenseRefunded => "order.suspense_refunded",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }

    fn bit(self) -> u8 {
        match self {
            Self::Succeeded => 1,
            Self::Failed => 1 << 1,
            Self::AttemptFailed => 1 << 2,
            Self::SuspenseRefunded => 1 << 3,
        }
    }

    /// The end that this event makes of a payment, if it makes one.
    fn end(self) -> Option<End> {
        match self {
            Self::Succeeded => Some(End::Succeeded),
            Self::Failed | Self::AttemptFailed => Some(End::AttemptFailed),
            Self::SuspenseRefunded => None,
        }
    }
}

/// How a refund ends. None is scripted to fail or to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefundEvent {
    Succeeded,
    Failed,
}

impl RefundEvent {
    const ALL: [Self; 2] = [Self::Succeeded, Self::Failed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "refund.succeeded",
            Self::Failed => "refund.failed",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }
}

/// In an order's byte: that its refund with this number has ended.
fn refund_bit(number: u8) -> u8 {
    1 << (4 + number.min(3))
}

struct Waiting {
    kind: usize,
    intended: Instant,
    ended: oneshot::Sender<()>,
}

struct RefundWaiting {
    asked: Instant,
    ended: oneshot::Sender<()>,
}

#[derive(Default)]
struct OfRefunds {
    waiting: HashMap<(u64, u8), RefundWaiting>,
    asked: u64,
    ended: u64,
    succeeded: u64,
    failed: u64,
    unfinished: u64,
    /// Sum over those that succeeded, in minor units.
    refunded_minor: u64,
    latency: Latency,
}

#[derive(Default)]
struct OfKind {
    opened: u64,
    ended: u64,
    unexpected: u64,
    unfinished: u64,
    withdrawn: u64,
    latency: Latency,
}

struct State {
    waiting: HashMap<u64, Waiting>,
    /// One byte per order: which events have come.
    seen: Vec<u8>,
    kinds: Vec<OfKind>,
    refunds: OfRefunds,
    events: BTreeMap<&'static str, u64>,
    ended: u64,
    repeated: u64,
    strangers: u64,
    checked: u64,
    forged: u64,
    /// Sum of `payable` over succeeded orders, in minor units.
    paid_minor: u64,
    payable_max_minor: u64,
}

impl State {
    /// Whether it came before; if not, it is counted.
    fn has_seen(&mut self, serial: u64, bit: u8, event: &'static str) -> bool {
        let place = serial as usize;
        if self.seen.len() <= place {
            self.seen.resize(place + 1, 0);
        }
        if self.seen[place] & bit != 0 {
            self.repeated += 1;
            return true;
        }
        self.seen[place] |= bit;
        *self.events.entry(event).or_default() += 1;
        false
    }
}

pub struct Ledger {
    mix: Mix,
    record_from: Instant,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Serialize)]
pub struct KindSummary {
    pub kind: String,
    pub opened: u64,
    pub ended: u64,
    /// Ended otherwise than the script says.
    pub unexpected: u64,
    /// Nothing came in time.
    pub unfinished: u64,
    /// Not accepted, so not waited for.
    pub withdrawn: u64,
    pub latency: Percentiles,
}

#[derive(Clone, Debug, Serialize)]
pub struct Payments {
    pub kinds: Vec<KindSummary>,
    pub webhooks: BTreeMap<&'static str, u64>,
    pub repeated: u64,
    pub strangers: u64,
    pub signatures_checked: u64,
    pub signatures_wrong: u64,
    pub succeeded: u64,
    pub paid_minor: u64,
    /// Attempts that were captured and given back: too little was paid.
    pub underpaid: u64,
    /// Orders whose captures this tool cannot tell: their scripts leave them open, or nothing came.
    pub uncertain: u64,
    pub payable_max_minor: u64,
}

/// What became of the refunds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RefundsSummary {
    pub asked: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Nothing came in time.
    pub unfinished: u64,
    pub refunded_minor: u64,
    /// From the request to the webhook.
    pub latency: Percentiles,
}

impl Payments {
    /// Accepted payments that did not come to the end that their script has.
    pub fn unaccounted(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.unfinished + kind.unexpected).sum()
    }
}

impl Ledger {
    pub fn new(mix: Mix, record_from: Instant) -> Self {
        let state = State {
            waiting: HashMap::new(),
            seen: Vec::new(),
            kinds: mix.kinds().iter().map(|_| OfKind::default()).collect(),
            refunds: OfRefunds::default(),
            events: BTreeMap::new(),
            ended: 0,
            repeated: 0,
            strangers: 0,
            checked: 0,
            forged: 0,
            paid_minor: 0,
            payable_max_minor: 0,
        };
        Self { mix, record_from, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a payment; what is returned resolves when its webhook has come. None when its script lets none come.
    pub fn open(&self, serial: u64, intended: Instant) -> Option<oneshot::Receiver<()>> {
        let kind = self.mix.index(serial);
        let mut state = self.state();
        state.kinds[kind].opened += 1;
        match self.mix.kinds()[kind].script.end() {
            End::Open => None,
            End::Succeeded | End::AttemptFailed => {
                let (ended, receiver) = oneshot::channel();
                state.waiting.insert(serial, Waiting { kind, intended, ended });
                Some(receiver)
            }
        }
    }

    /// The order was refused: nothing will come.
    pub fn withdraw(&self, serial: u64) {
        let mut state = self.state();
        state.waiting.remove(&serial);
        state.kinds[self.mix.index(serial)].withdrawn += 1;
    }

    /// Nothing came in time.
    pub fn give_up(&self, serial: u64) {
        let mut state = self.state();
        if let Some(waiting) = state.waiting.remove(&serial) {
            state.kinds[waiting.kind].unfinished += 1;
        }
    }

    /// A webhook came. `payable_minor` is what the payer owed.
    pub fn learn(&self, serial: u64, event: Event, payable_minor: u64, now: Instant) {
        let mut state = self.state();
        if state.has_seen(serial, event.bit(), event.name()) {
            return;
        }
        state.payable_max_minor = state.payable_max_minor.max(payable_minor);
        if event == Event::Succeeded {
            state.paid_minor = state.paid_minor.saturating_add(payable_minor);
        }
        let Some(end) = event.end() else { return };
        let Some(waiting) = state.waiting.remove(&serial) else { return };
        state.ended += 1;
        let script = self.mix.kinds()[waiting.kind].script;
        let kind = &mut state.kinds[waiting.kind];
        kind.ended += 1;
        if script.end() != end {
            kind.unexpected += 1;
        }
        if waiting.intended >= self.record_from {
            kind.latency.record(now.duration_since(waiting.intended));
        }
        // The slot may have given up waiting at this very moment: then nobody is left to tell.
        let _ = waiting.ended.send(());
    }

    /// A refund is about to be asked for; what is returned resolves when its webhook has come.
    pub fn open_refund(&self, serial: u64, number: u8) -> oneshot::Receiver<()> {
        let (ended, receiver) = oneshot::channel();
        let mut state = self.state();
        state.refunds.asked += 1;
        state.refunds.waiting.insert((serial, number), RefundWaiting { asked: Instant::now(), ended });
        receiver
    }

    /// It was not accepted: nothing is waited for.
    pub fn withdraw_refund(&self, serial: u64, number: u8) {
        self.state().refunds.waiting.remove(&(serial, number));
    }

    /// Nothing came in time.
    pub fn give_up_refund(&self, serial: u64, number: u8) {
        let mut state = self.state();
        if state.refunds.waiting.remove(&(serial, number)).is_some() {
            state.refunds.unfinished += 1;
        }
    }

    /// A webhook of a refund came. `amount_minor` is what the payer got back.
    pub fn learn_refund(&self, (serial, number): (u64, u8), event: RefundEvent, amount_minor: u64, now: Instant) {
        let mut state = self.state();
        if state.has_seen(serial, refund_bit(number), event.name()) {
            return;
        }
        let refunds = &mut state.refunds;
        match event {
            RefundEvent::Succeeded => {
                refunds.succeeded += 1;
                refunds.refunded_minor = refunds.refunded_minor.saturating_add(amount_minor);
            }
            RefundEvent::Failed => refunds.failed += 1,
        }
        let Some(waiting) = refunds.waiting.remove(&(serial, number)) else { return };
        refunds.ended += 1;
        if waiting.asked >= self.record_from {
            refunds.latency.record(now.duration_since(waiting.asked));
        }
        // The slot may have given up waiting at this very moment: then nobody is left to tell.
        let _ = waiting.ended.send(());
    }

    pub fn refunds_ended(&self) -> u64 {
        self.state().refunds.ended
    }

    pub fn refunds(&self) -> RefundsSummary {
        let state = self.state();
        let of = &state.refunds;
        RefundsSummary {
            asked: of.asked,
            succeeded: of.succeeded,
            failed: of.failed,
            unfinished: of.unfinished,
            refunded_minor: of.refunded_minor,
            latency: of.latency.percentiles(),
        }
    }

    pub fn stranger(&self) {
        self.state().strangers += 1;
    }

    pub fn checked(&self, genuine: Genuine) {
        let mut state = self.state();
        state.checked += 1;
        match genuine {
            Genuine::Yes => {}
            Genuine::No => state.forged += 1,
        }
    }

    pub fn ended(&self) -> u64 {
        self.state().ended
    }

    pub fn summary(&self) -> Payments {
        let state = self.state();
        let kinds: Vec<KindSummary> = self
            .mix
            .kinds()
            .iter()
            .zip(&state.kinds)
            .map(|(kind, of)| KindSummary {
                kind: kind.to_string(),
                opened: of.opened,
                ended: of.ended,
                unexpected: of.unexpected,
                unfinished: of.unfinished,
                withdrawn: of.withdrawn,
                latency: of.latency.percentiles(),
            })
            .collect();
        let scripts = || self.mix.kinds().iter().map(|kind| kind.script).zip(&kinds);
        let underpaid = scripts()
            .filter(|(script, _)| *script == Script::Underpay)
            .map(|(_, of)| of.ended.saturating_sub(of.unexpected))
            .sum();
        let uncertain = scripts()
            .map(|(script, of)| match script.end() {
                End::Open => of.opened.saturating_sub(of.withdrawn),
                End::Succeeded | End::AttemptFailed => of.unfinished + of.unexpected,
            })
            .sum();
        Payments {
            kinds,
            webhooks: state.events.clone(),
            repeated: state.repeated,
            strangers: state.strangers,
            signatures_checked: state.checked,
            signatures_wrong: state.forged,
            succeeded: state.events.get(Event::Succeeded.name()).copied().unwrap_or_default(),
            paid_minor: state.paid_minor,
            underpaid,
            uncertain,
            payable_max_minor: state.payable_max_minor,
        }
    }
}

/// Whether a webhook's signature is the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Genuine {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_payment_ends_once_and_repeats_are_told_apart() {
        let begin = Instant::now();
        let ledger = Ledger::new(Mix::only(Script::Plain), begin);
        let mut ended = ledger.open(0, begin).unwrap();
        assert!(ended.try_recv().is_err());
        ledger.learn(0, Event::Succeeded, 20_060, begin + Duration::from_millis(350));
        ledger.learn(0, Event::Succeeded, 20_060, begin + Duration::from_millis(900));
        assert!(ended.try_recv().is_ok());
        let summary = ledger.summary();
        assert_eq!((summary.succeeded, summary.repeated, summary.paid_minor), (1, 1, 20_060));
        assert_eq!(summary.kinds[0].latency.count, 1);
        assert!(summary.kinds[0].latency.max_us >= 350_000 && summary.kinds[0].latency.max_us < 400_000);
        assert_eq!(ledger.state().waiting.len(), 0);
    }

    #[test]
    fn another_end_than_the_scripted_one_is_unexpected() {
        let begin = Instant::now();
        let ledger = Ledger::new("plain=1,sim:decline=1".parse().unwrap(), begin);
        let _ends = [ledger.open(0, begin), ledger.open(1, begin)];
        ledger.learn(0, Event::AttemptFailed, 20_060, begin);
        ledger.learn(1, Event::Succeeded, 20_060, begin);
        let summary = ledger.summary();
        assert_eq!(summary.kinds.iter().map(|kind| kind.unexpected).sum::<u64>(), 2);
        assert_eq!(summary.uncertain, 2);
    }

    #[test]
    fn what_cannot_be_told_is_uncertain() {
        let begin = Instant::now();
        let ledger = Ledger::new("sim:late=1,plain=1,sim:underpay=1".parse().unwrap(), begin);
        for serial in 0..6 {
            let waited = ledger.open(serial, begin).is_some();
            let script = ledger.mix.kinds()[ledger.mix.index(serial)].script;
            assert_eq!(waited, script != Script::Late);
            if script == Script::Underpay {
                ledger.learn(serial, Event::AttemptFailed, 20_060, begin);
            } else {
                ledger.give_up(serial);
            }
        }
        let summary = ledger.summary();
        assert_eq!((summary.succeeded, summary.underpaid, summary.uncertain), (0, 2, 4));
    }

    #[test]
    fn refunds_are_told_apart_by_their_numbers() {
        let begin = Instant::now();
        let ledger = Ledger::new("plain+parts=1".parse().unwrap(), begin);
        let mut ends: Vec<_> = (0..2).map(|number| ledger.open_refund(5, number)).collect();
        let learn = |number, event| ledger.learn_refund((5, number), event, 10_030, Instant::now());
        learn(0, RefundEvent::Succeeded);
        learn(0, RefundEvent::Succeeded);
        assert!(ends[0].try_recv().is_ok() && ends[1].try_recv().is_err());
        assert_eq!(ledger.refunds_ended(), 1);
        learn(1, RefundEvent::Failed);
        let _late = ledger.open_refund(6, 0);
        ledger.give_up_refund(6, 0);
        ledger.learn_refund((6, 0), RefundEvent::Succeeded, 20_060, Instant::now());
        let of = ledger.refunds();
        assert_eq!((of.asked, of.succeeded, of.failed, of.unfinished), (3, 2, 1, 1));
        assert_eq!((of.refunded_minor, of.latency.count, ledger.summary().repeated), (30_090, 2, 1));
        assert_eq!(ledger.summary().webhooks["refund.succeeded"], 2);
    }

    #[test]
    fn a_refused_order_is_not_waited_for() {
        let begin = Instant::now();
        let ledger = Ledger::new(Mix::only(Script::Plain), begin);
        let _end = ledger.open(3, begin);
        ledger.withdraw(3);
        let summary = ledger.summary();
        assert_eq!((summary.kinds[0].withdrawn, summary.uncertain, ledger.state().waiting.len()), (1, 0, 0));
    }
}
