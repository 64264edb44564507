//! Random walks of an order between a payer, a platform, a clock, crashes and gateways that lose what they can.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tongbao::domain::channel::Channel;
use tongbao::domain::event::{Created, Effect, Event, Fact, Fault, Refusal, Step, Write};
use tongbao::domain::id::{Account, Incarnation};
use tongbao::domain::journal::{Salt, Title};
use tongbao::domain::ledger::LedgerAccount;
use tongbao::domain::order::{Attempt, FeeBearer, Order, Purpose, RefundStage, State};
use tongbao::domain::retry::Pace;
use tongbao::domain::step;
use tongbao::domain::time::Instant;
use tongbao::domain::validation::{Facts, Health, validate};

use crate::gateways::{Fate, Gateways};
use crate::notes::{compare, compare_told};
use crate::world::*;

/// Calls that one instant may see: more would be two answers chasing each other.
const CALLS_PER_INSTANT: usize = 24;
const CALL_TIMEOUT_MS: i64 = 10 * SECOND;
/// Timers until an order whose gateways are well again must rest.
const TIMERS_MAX: usize = 3_000;

/// Something that happens from outside.
#[derive(Debug, Clone)]
enum Move {
    /// The oldest proposal is taken up.
    Perform(Fate),
    /// The call that was made longest ago is answered.
    Answer,
    Callback,
    Pay {
        extra_minor: i64,
        callbacks: usize,
    },
    Decline,
    Choose(Channel),
    Cancel,
    Wait(i64),
    Wake,
    /// The process dies: proposals, calls and timers are gone.
    Crash,
    /// A fact that may have no place at all.
    Stray(Fact),
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Fails),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::NotSent),
        1 => Just(Fate::Later),
        1 => Just(Fate::Refused(Fault::Payment)),
        1 => Just(Fate::Refused(Fault::Ours)),
    ]
}

fn channels() -> impl Strategy<Value = Channel> {
    prop::sample::select(Channel::ALL.to_vec())
}

/// Facts that change nothing, or nothing that the gateways would have to know of.
fn strays() -> impl Strategy<Value = Fact> {
    prop_oneof![
        Just(Fact::Created(Box::new(creation()))),
        Just(Fact::TimerFired),
        (0u8..4, 0u32..4).prop_map(|(ordinal, send)| sent(ordinal, send, no_answer())),
        (0u8..4).prop_map(|ordinal| found(ordinal, unclear())),
        (0u8..4).prop_map(|ordinal| closed(ordinal, close_unclear())),
        (0u8..4, channels()).prop_map(|(ordinal, channel)| {
            called_back_in("CNY", Account::new(channel, "second"), (ordinal, REFERENCE, PAYABLE))
        }),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let extra = prop_oneof![4 => Just(0), 1 => Just(-1), 1 => Just(1)];
    let one = prop_oneof![
        10 => fates().prop_map(Move::Perform),
        10 => Just(Move::Answer),
        3 => Just(Move::Callback),
        4 => (extra, 0usize..3).prop_map(|(extra_minor, callbacks)| Move::Pay { extra_minor, callbacks }),
        1 => Just(Move::Decline),
        4 => channels().prop_map(Move::Choose),
        1 => Just(Move::Cancel),
        2 => prop_oneof![0i64..3 * SECOND, 0i64..MINUTE, 0i64..3 * HOUR].prop_map(Move::Wait),
        4 => Just(Move::Wake),
        1 => Just(Move::Crash),
        1 => strays().prop_map(Move::Stray),
    ];
    prop::collection::vec(one, 0..60)
}

fn creations() -> impl Strategy<Value = Created> {
    (
        1i64..=10_000_000,
        1u8..=4,
        prop::sample::select(vec![FeeBearer::Payer, FeeBearer::Platform]),
        prop::sample::select(vec![Pace::Production, Pace::Sandbox]),
    )
        .prop_map(|(amount_minor, attempts_max, fee_bearer, pace)| Created {
            amount_minor,
            attempts_max,
            fee_bearer,
            pace,
            ..creation()
        })
}

/// One commit: the bytes that are journaled, and how the world was at that moment.
#[derive(Debug, Clone)]
struct Commit {
    journal: Vec<u8>,
    order: Order,
    gateways: Gateways,
    at: Instant,
}

/// The shared loop in small: decide, commit, adopt, act, with one call in flight per attempt.
struct Run {
    order: Order,
    at: Instant,
    gateways: Gateways,
    proposals: Vec<Effect>,
    calls: Vec<(Effect, Fact)>,
    commits: Vec<Commit>,
    balances: BTreeMap<LedgerAccount, i64>,
}

impl Run {
    fn of(facts: &Created) -> Self {
        let mut run = Run {
            order: step::create(facts, START),
            at: START,
            gateways: Gateways::default(),
            proposals: Vec::new(),
            calls: Vec::new(),
            commits: Vec::new(),
            balances: BTreeMap::new(),
        };
        run.tell(vec![Fact::Created(Box::new(facts.clone()))]).expect("a new order is taken");
        run
    }

    /// As after a crash: the order is folded from its journal, and the gateways know what they knew.
    fn resumed(commits: &[Commit]) -> Self {
        let last = commits.last().expect("a prefix has the creation");
        let mut run = Run {
            order: replayed(commits),
            at: last.at,
            gateways: last.gateways.clone(),
            proposals: Vec::new(),
            calls: Vec::new(),
            commits: commits.to_vec(),
            balances: BTreeMap::new(),
        };
        run.crash();
        run
    }

    fn tell(&mut self, facts: Vec<Fact>) -> Result<Step, Refusal> {
        let events: Vec<Event> =
            facts.into_iter().map(|fact| Event { at: self.at, incarnation: Incarnation::default(), fact }).collect();
        let step = step::decide(&self.order, &events)?;
        check(&self.order, &step, self.at);
        if let [event] = &events[..] {
            compare_told(&self.order, &event.fact, &step);
        }
        if step.after == self.order {
            assert!(step.writes.is_empty(), "what changes nothing writes nothing: {events:?}");
        } else {
            assert_eq!(step.after.version, self.order.version + 1);
            let journal = title(&step.after).write(Salt([7; 16]), &events).expect("events are JSON");
            let gateways = self.gateways.clone();
            self.commits.push(Commit { journal, order: step.after.clone(), gateways, at: self.at });
        }
        for write in &step.writes {
            if let Write::Entry(entry) = write {
                for (account, amount_minor) in entry.lines() {
                    *self.balances.entry(account.clone()).or_default() += amount_minor;
                }
            }
        }
        self.order = step.after.clone();
        for effect in proposed(&step) {
            self.propose(effect);
        }
        Ok(step)
    }

    fn propose(&mut self, effect: Effect) {
        let place = subject(&self.order, effect);
        let busy = self.calls.iter().any(|(call, _)| subject(&self.order, *call) == place);
        if !busy && !self.proposals.contains(&effect) {
            self.proposals.push(effect);
        }
    }

    fn perform(&mut self, fate: Fate) {
        if self.proposals.is_empty() {
            return;
        }
        let effect = self.proposals.remove(0);
        let place = subject(&self.order, effect);
        if self.calls.iter().any(|(call, _)| subject(&self.order, *call) == place) {
            return;
        }
        match effect {
            Effect::Choose { channel, .. } => self.choose(channel),
            Effect::Submit { .. }
            | Effect::Query { .. }
            | Effect::Close { .. }
            | Effect::Refund { .. }
            | Effect::QueryRefund { .. }
            | Effect::ArmTimer { .. } => {
                let answer = self.gateways.call(&self.order, effect, fate, self.at);
                self.calls.extend(answer.map(|answer| (effect, answer)));
            }
        }
    }

    fn answer(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let (effect, answer) = self.calls.remove(0);
        let step = self.tell(vec![answer.clone()]).expect("an answer to a call is taken");
        // The same answer again, at the same moment, has no second effect.
        let event = Event { at: self.at, incarnation: Incarnation::default(), fact: answer };
        let again = step::decide(&step.after, &[event]).expect("an answer that was taken is taken again");
        assert_eq!(again.writes, [], "{effect:?}");
        compare(&step.after, &again);
        let sends = |order: &Order| order.attempts.iter().map(|attempt| attempt.sends).collect::<Vec<_>>();
        assert_eq!(sends(&again.after), sends(&step.after), "{effect:?}");
        assert_eq!((again.after.state, again.after.sequence), (step.after.state, step.after.sequence));
    }

    fn choose(&mut self, channel: Channel) {
        let before = self.order.clone();
        let method = method_of(channel);
        let looked = Facts { channel, method, account: Some(account(channel)), health: Health::Up, risk: None };
        let verdict = validate(&self.order, &looked, self.at);
        let first = match self.order.state {
            State::Created => self.tell(vec![chosen(channel), Fact::Validated { channel, method, verdict }]),
            State::Submitted => self.tell(vec![chosen(channel)]),
            State::Validating | State::Succeeded | State::Failed => return,
        };
        match first {
            Ok(_) => {}
            Err(Refusal::AttemptsUsedUp | Refusal::AttemptOpen { .. }) => assert_eq!(self.order, before),
            Err(other) => panic!("{other:?} is no answer to a choice"),
        }
    }

    fn callback(&mut self) {
        if self.gateways.callbacks.is_empty() {
            return;
        }
        let ordinal = self.gateways.callbacks.remove(0);
        self.deliver(ordinal);
    }

    fn deliver(&mut self, ordinal: u8) {
        self.gateways.delivered.insert(ordinal);
        let channel = self.order.attempt(ordinal).map(Attempt::channel);
        if let Some(fact) = channel.and_then(|channel| self.gateways.callback(channel, ordinal)) {
            self.tell(vec![fact]).expect("a true callback is taken");
        }
    }

    fn crash(&mut self) {
        self.proposals.clear();
        self.calls.clear();
        for effect in step::resume(&self.order, self.at) {
            match effect {
                Effect::ArmTimer { .. } => {}
                Effect::Submit { .. } | Effect::Close { .. } | Effect::Refund { .. } => {
                    panic!("what may have happened is queried first, not {effect:?}")
                }
                Effect::Query { .. } | Effect::QueryRefund { .. } | Effect::Choose { .. } => self.propose(effect),
            }
        }
    }

    fn make(&mut self, next: Move) {
        match next {
            Move::Perform(fate) => self.perform(fate),
            Move::Answer => self.answer(),
            Move::Callback => self.callback(),
            Move::Pay { extra_minor, callbacks } => {
                if let Some(attempt) = self.order.attempts.last().cloned() {
                    self.gateways.pay(&attempt, extra_minor, callbacks);
                }
            }
            Move::Decline => {
                if let Some(attempt) = self.order.attempts.last() {
                    self.gateways.decline(attempt.ordinal);
                }
            }
            Move::Choose(channel) => self.choose(channel),
            Move::Cancel => {
                let refused = self.tell(vec![Fact::CancelAsked]).is_err();
                assert!(!refused || self.order.state.is_final(), "only a final order cannot be cancelled");
            }
            Move::Wait(span_ms) => self.pass(self.at.plus_ms(span_ms)),
            Move::Wake => {
                if let Some(due_at) = self.order.next_due_at(self.at) {
                    self.pass(due_at);
                    self.tell(vec![step::wake(&self.order, self.at)]).expect("a timer is taken");
                }
            }
            Move::Crash => self.crash(),
            Move::Stray(fact) => {
                let before = self.order.clone();
                // Answers of the future and to the unknown are refused; what is refused changes nothing.
                if self.tell(vec![fact]).is_err() {
                    assert_eq!(self.order, before);
                }
            }
        }
    }

    /// No call outlives its time-out.
    fn pass(&mut self, until: Instant) {
        if until.since_ms(self.at) > CALL_TIMEOUT_MS {
            while !self.calls.is_empty() {
                self.answer();
            }
        }
        self.at = self.at.max(until);
    }

    /// The gateways are well, every callback comes, and time runs until nothing is due.
    fn come_to_rest(&mut self) -> Result<(), TestCaseError> {
        let mut timers = 0;
        loop {
            let mut calls = 0;
            loop {
                while !self.calls.is_empty() {
                    self.answer();
                }
                if let Some(ordinal) = self.gateways.untold().first() {
                    self.deliver(*ordinal);
                } else if self.proposals.is_empty() {
                    break;
                } else {
                    self.perform(Fate::Answered);
                    calls += 1;
                    prop_assert!(calls <= CALLS_PER_INSTANT, "answers chase each other: {:?}", self.order);
                }
            }
            let Some(due_at) = self.order.next_due_at(self.at) else { break };
            timers += 1;
            prop_assert!(timers <= TIMERS_MAX, "it never rests: {:?}", self.order);
            // A call needs its time, so the clock never stands still.
            self.at = due_at.max(self.at.plus_ms(1));
            self.tell(vec![step::wake(&self.order, self.at)]).expect("a timer is taken");
        }
        Ok(())
    }

    fn audit(&self) -> Result<(), TestCaseError> {
        let order = &self.order;
        prop_assert!(order.state.is_final() && order.is_quiet(), "{order:?}");
        let payment = order.attempts.iter().find(|attempt| attempt_paid(order, attempt));
        let due = payment.map_or(0, |attempt| attempt.payable_minor);
        prop_assert_eq!(payment.is_some(), order.state == State::Succeeded);
        prop_assert_eq!(order.net_captured_minor(), due, "net captured is the payable or nothing");
        prop_assert_eq!(self.gateways.net_minor(), due, "the gateways' books say the same: {:?}", self.gateways);
        for capture in &order.captures {
            match capture.purpose {
                Purpose::Payment | Purpose::Suspense { refund: RefundStage::Done { .. }, .. } => {}
                Purpose::Suspense { refund, .. } => prop_assert!(false, "{refund:?} at rest"),
            }
        }
        Ok(())
    }

    fn audit_ledger(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.balances.values().sum::<i64>(), 0);
        let held = |account: &LedgerAccount| matches!(account, LedgerAccount::Channel(..));
        let held: i64 = self.balances.iter().filter(|(account, _)| held(account)).map(|(_, amount)| amount).sum();
        prop_assert_eq!(held, self.order.net_captured_minor(), "the ledger says the same");
        for (account, balance) in &self.balances {
            if matches!(account, LedgerAccount::Suspense(..)) {
                prop_assert_eq!(*balance, 0, "suspense is empty at rest");
            }
        }
        Ok(())
    }
}

fn attempt_paid(order: &Order, attempt: &Attempt) -> bool {
    let paid = |purpose| match purpose {
        Purpose::Payment => true,
        Purpose::Suspense { .. } => false,
    };
    order.captures.iter().any(|capture| capture.ordinal == attempt.ordinal && paid(capture.purpose))
}

/// What one call at a time is counted by: an attempt, or a refund.
fn subject(order: &Order, effect: Effect) -> (u8, Option<u16>) {
    match effect {
        Effect::Submit { ordinal, .. } | Effect::Query { ordinal } | Effect::Close { ordinal } => (ordinal, None),
        Effect::Refund { capture } | Effect::QueryRefund { capture } => {
            (order.captures[usize::from(capture)].ordinal, Some(capture))
        }
        Effect::Choose { .. } | Effect::ArmTimer { .. } => (u8::MAX, None),
    }
}

/// What stands beside the row of the step that has led to this order.
fn title(after: &Order) -> Title {
    Title::of::<Order>(after.id.as_u128(), after.version, after.last_at)
}

fn read(commit: &Commit) -> Vec<Event> {
    title(&commit.order).read(&commit.journal).expect("a journal is read back").events
}

fn replayed(commits: &[Commit]) -> Order {
    let mut commits = commits.iter();
    let first = read(commits.next().expect("a journal begins with the creation"));
    let Fact::Created(facts) = &first[0].fact else { panic!("a journal begins with the creation") };
    let created = step::decide(&step::create(facts, first[0].at), &first).expect("a creation is taken").after;
    commits.fold(created, |order, commit| {
        step::decide(&order, &read(commit)).expect("what was taken once is taken again").after
    })
}

fn walked(facts: &Created, moves: Vec<Move>) -> Run {
    let mut run = Run::of(facts);
    for next in moves {
        run.make(next);
    }
    run
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_walk_ends_with_the_payable_or_nothing(facts in creations(), moves in moves()) {
        let mut run = walked(&facts, moves);
        run.come_to_rest()?;
        run.audit()?;
        run.audit_ledger()?;
    }

    #[test]
    fn every_prefix_of_a_journal_resumes_and_ends(facts in creations(), moves in moves()) {
        let run = walked(&facts, moves);
        for cut in 1..=run.commits.len() {
            let mut resumed = Run::resumed(&run.commits[..cut]);
            resumed.come_to_rest()?;
            resumed.audit()?;
        }
    }

    #[test]
    fn replaying_the_journal_gives_the_order_at_every_version(facts in creations(), moves in moves()) {
        let mut run = walked(&facts, moves);
        run.come_to_rest()?;
        for (place, commit) in run.commits.iter().enumerate() {
            prop_assert_eq!(&replayed(&run.commits[..=place]), &commit.order);
            prop_assert_eq!(commit.order.version as usize, place + 1);
        }
    }

    #[test]
    fn orders_and_events_are_read_back_and_journals_are_canonical(facts in creations(), moves in moves()) {
        let run = walked(&facts, moves);
        for commit in &run.commits {
            let row = serde_json::to_string(&commit.order).expect("an order is JSON");
            prop_assert_eq!(&serde_json::from_str::<Order>(&row).expect("an order is read back"), &commit.order);
            let value: serde_json::Value = serde_json::from_slice(&commit.journal).expect("it is JSON");
            prop_assert_eq!(&serde_json::to_value(read(commit)).expect("events are JSON"), &value["events"]);
            prop_assert_eq!(&serde_json_canonicalizer::to_vec(&value).expect("JSON is JSON"), &commit.journal);
        }
    }
}

#[test]
fn an_order_with_one_attempt_is_small_in_memory() {
    let order = Walk::shown_at(Channel::Simpay).order;
    let attempts: usize = order.attempts.iter().map(|attempt| attempt.account.name().len()).sum();
    let heap = order.attempts.capacity() * size_of::<Attempt>() + attempts;
    let total = size_of::<Order>() + heap;
    assert!(total <= 400, "{} bytes of order, {heap} on the heap", size_of::<Order>());
}
