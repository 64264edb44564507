//! Random walks of an order between a payer, a platform, a clock, crashes and gateways that lose what they can.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tongbao::domain::channel::Channel;
use tongbao::domain::event::{Created, Effect, Event, Fact, Fault, RefundResolution, Refusal, Step, Write};
use tongbao::domain::id::{Account, Incarnation, PlatformId};
use tongbao::domain::journal::{Salt, Title};
use tongbao::domain::merchant::Merchant;
use tongbao::domain::order::{Attempt, FeeBearer, Order, Purpose, State};
use tongbao::domain::refund::{FeePolicy, PaidFrom, Stage};
use tongbao::domain::retry::Pace;
use tongbao::domain::splits::{Share, Split};
use tongbao::domain::step;
use tongbao::domain::time::Instant;
use tongbao::domain::validation::{Facts, Health, validate};

use crate::balances::Balances;
use crate::gateways::{Fate, Gateways, reference};
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
    /// The platform wants so many thousandths of what can be refunded: of nothing left, or more than all, a fen too many.
    Refund {
        per_1000: i64,
        fee_policy: FeePolicy,
    },
    /// The payer's bank sends a refund's money back.
    ComeBack(u16),
    /// The gateway tells of a refund, with a word or without one.
    Notice(u16, bool),
    /// A person has a refund stopped at the channel and says how it ends.
    Resolve(u16, RefundResolution),
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
        (0u16..4, channels()).prop_map(|(refund, channel)| Fact::RefundNoticed {
            number: format!("R{refund}").into(),
            account: account(channel),
            word: None,
        }),
    ]
}

fn policies() -> impl Strategy<Value = FeePolicy> {
    prop::sample::select(FeePolicy::ALL.to_vec())
}

fn refunding() -> impl Strategy<Value = Move> {
    let resolutions = prop::sample::select(vec![RefundResolution::Failed, RefundResolution::PaidOtherwise]);
    let part = prop_oneof![4 => 0i64..300, 2 => Just(1_000), 1 => 0i64..1_100];
    prop_oneof![
        8 => (part, policies()).prop_map(|(per_1000, fee_policy)| Move::Refund { per_1000, fee_policy }),
        2 => (0u16..6).prop_map(Move::ComeBack),
        3 => (0u16..6, any::<bool>()).prop_map(|(refund, with_word)| Move::Notice(refund, with_word)),
        1 => (0u16..6, resolutions).prop_map(|(refund, resolution)| Move::Resolve(refund, resolution)),
    ]
}

/// What happens to an order that is paid, and paid again.
fn moves_after_payment() -> impl Strategy<Value = Vec<Move>> {
    let extra = prop_oneof![4 => Just(0), 1 => Just(-1), 1 => Just(1)];
    let one = prop_oneof![
        10 => refunding(),
        12 => fates().prop_map(Move::Perform),
        12 => Just(Move::Answer),
        1 => Just(Move::Callback),
        1 => (extra, 0usize..3).prop_map(|(extra_minor, callbacks)| Move::Pay { extra_minor, callbacks }),
        2 => prop_oneof![0i64..3 * SECOND, 0i64..2 * MINUTE, 0i64..3 * HOUR].prop_map(Move::Wait),
        6 => Just(Move::Wake),
        1 => Just(Move::Crash),
        1 => strays().prop_map(Move::Stray),
    ];
    prop::collection::vec(one, 0..80)
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
        3 => refunding(),
        2 => prop_oneof![0i64..3 * SECOND, 0i64..MINUTE, 0i64..3 * HOUR].prop_map(Move::Wait),
        4 => Just(Move::Wake),
        1 => Just(Move::Crash),
        1 => strays().prop_map(Move::Stray),
    ];
    prop::collection::vec(one, 0..60)
}

/// Shares of up to three others, which are at most the amount.
fn splits(amount_minor: i64) -> impl Strategy<Value = Box<[Split]>> {
    let share = prop_oneof![
        (0i64..=amount_minor / 3).prop_map(Share::AmountMinor),
        (0u32..=333).prop_map(|thousandths| Share::Rate(rate(&format!("0.{thousandths:03}")))),
    ];
    prop::collection::vec(share, 0..=3)
        .prop_map(|shares| shares.into_iter().zip(8..).map(|(share, to)| Split { to: PlatformId(to), share }).collect())
}

fn creations() -> impl Strategy<Value = Created> {
    let amounts = prop_oneof![1i64..=100, 1i64..=10_000_000];
    amounts.prop_flat_map(|amount_minor| {
        (
            Just(amount_minor),
            splits(amount_minor),
            1u8..=4,
            prop::sample::select(vec![FeeBearer::Payer, FeeBearer::Platform]),
            prop::sample::select(vec![Pace::Production, Pace::Sandbox]),
        )
            .prop_map(|(amount_minor, splits, attempts_max, fee_bearer, pace)| Created {
                amount_minor,
                splits,
                attempts_max,
                fee_bearer,
                pace,
                ..creation()
            })
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
    balances: Balances,
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
            balances: Balances::default(),
        };
        run.tell(vec![Fact::Created(Box::new(facts.clone()))]).expect("a new order is taken");
        run
    }

    /// As after a crash: the order is folded from its journal, and the gateways know what they knew.
    fn resumed(commits: &[Commit]) -> Self {
        let last = commits.last().expect("a prefix has the creation");
        let (order, balances) = replayed(commits);
        let mut run = Run {
            order,
            at: last.at,
            gateways: last.gateways.clone(),
            proposals: Vec::new(),
            calls: Vec::new(),
            commits: commits.to_vec(),
            balances,
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
        book(&mut self.balances, &step);
        assert_eq!(self.balances.iter().map(|(_, amount_minor)| amount_minor).sum::<i64>(), 0);
        assert_eq!(self.balances.clone().settled(), Balances::of(&step.after), "the ledger is what the order says");
        self.order = step.after.clone();
        for effect in proposed(&step) {
            self.propose(effect);
        }
        Ok(step)
    }

    fn propose(&mut self, effect: Effect) {
        let place = subject(effect);
        let busy = self.calls.iter().any(|(call, _)| subject(*call) == place);
        if !busy && !self.proposals.contains(&effect) {
            self.proposals.push(effect);
        }
    }

    fn perform(&mut self, fate: Fate) {
        if self.proposals.is_empty() {
            return;
        }
        let effect = self.proposals.remove(0);
        let place = subject(effect);
        if self.calls.iter().any(|(call, _)| subject(*call) == place) {
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
        // The same answer again, at the same moment, has no second effect: it only counts as one more try.
        let event = Event { at: self.at, incarnation: Incarnation::default(), fact: answer };
        let again = step::decide(&step.after, &[event]).expect("an answer that was taken is taken again");
        assert!(again.writes.iter().all(|write| *write == Write::RefundsStuck), "{effect:?}: {:?}", again.writes);
        compare(&step.after, &again);
        let sends = |order: &Order| order.attempts.iter().map(|attempt| attempt.sends).collect::<Vec<_>>();
        assert_eq!(sends(&again.after), sends(&step.after), "{effect:?}");
        assert_eq!((again.after.state, again.after.sequence), (step.after.state, step.after.sequence));
    }

    fn choose(&mut self, channel: Channel) {
        let before = self.order.clone();
        let method = method_of(channel);
        // At one of the channels the seller takes the money itself.
        let merchant = if channel == Channel::Alipay { Merchant::Seller } else { Merchant::Operator };
        let account = Some(account(channel));
        let looked = Facts { channel, method, account, merchant, health: Health::Up, risk: None };
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

    fn ask_for_refund(&mut self, per_1000: i64, fee_policy: FeePolicy) {
        let refundable_minor = self.order.refundable_minor(fee_policy);
        let amount_minor = (refundable_minor * per_1000 / 1_000).max(1);
        let before = self.order.clone();
        match self.tell(vec![refund_asked(amount_minor, fee_policy)]) {
            Ok(step) => {
                assert!(amount_minor <= refundable_minor, "{amount_minor} of {refundable_minor}: {before:?}");
                let refund = step.after.refunds.last().expect("it was opened");
                let asked = refund.asked().expect("it was asked for");
                let fee_minor = if self.order.fee_bearer == FeeBearer::Payer { asked.fee_minor } else { 0 };
                assert_eq!(asked.parts.iter().sum::<i64>() + fee_minor, amount_minor, "{refund:?}");
                assert!(asked.parts.iter().all(|part| *part >= 0), "{refund:?}");
                assert!(fee_policy == FeePolicy::Proportional || asked.fee_minor == 0, "{refund:?}");
            }
            Err(Refusal::OrderNotPaid) => assert_ne!(before.state, State::Succeeded),
            Err(Refusal::RefundExceeds { remaining_minor }) => {
                assert_eq!(remaining_minor, refundable_minor);
                assert!(amount_minor > remaining_minor, "{before:?}");
            }
            Err(Refusal::RefundLimit { most }) => assert_eq!(most, 50),
            Err(other) => panic!("{other:?} is no answer to a refund"),
        }
    }

    /// A gateway's word on a refund; one that comes before its time is refused.
    fn notice(&mut self, refund: u16, with_word: bool) {
        if let Some(fact) = self.gateways.refund_notice(&self.order, refund, with_word) {
            self.tell(vec![fact]).expect("a true callback is taken");
        }
    }

    fn resolve(&mut self, index: u16, resolution: RefundResolution) {
        let Some(refund) = self.order.refunds.get(usize::from(index)) else { return };
        if !refund.stage.is_under_way() {
            return;
        }
        let is_confirmed = !matches!(refund.stage, Stage::Unconfirmed { .. });
        let may_be = is_confirmed && (resolution == RefundResolution::PaidOtherwise || !refund.is_of_suspense());
        // Nobody has a refund stopped whose end they cannot tell.
        if may_be && !self.gateways.stop(index, refund.round) {
            return;
        }
        let taken = self.tell(vec![refund_resolved(index, resolution)]);
        assert_eq!(taken.is_ok(), may_be, "{:?}", self.order);
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
            Move::Refund { per_1000, fee_policy } => self.ask_for_refund(per_1000, fee_policy),
            Move::ComeBack(refund) => self.gateways.bring_back(refund),
            Move::Notice(refund, with_word) => self.notice(refund, with_word),
            Move::Resolve(refund, resolution) => self.resolve(refund, resolution),
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
                } else if let Some(refund) = self.gateways.came_back.pop() {
                    self.notice(refund, false);
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

    /// What is at the channels, and what the payer has paid: the payable less what was refunded, or nothing.
    fn audit(&self) -> Result<(), TestCaseError> {
        let order = &self.order;
        prop_assert!(order.state.is_final() && order.is_quiet(), "{order:?}");
        let payment = order.attempts.iter().find(|attempt| attempt_paid(order, attempt));
        let payable = payment.map_or(0, |attempt| attempt.payable_minor);
        prop_assert_eq!(payment.is_some(), order.state == State::Succeeded);
        prop_assert_eq!(order.payment().is_some(), order.state == State::Succeeded);
        let (mut by_bank, mut stranded) = (0, 0);
        for refund in &order.refunds {
            match (refund.stage, refund.is_of_suspense()) {
                (Stage::Succeeded { paid_from: PaidFrom::Bank, .. }, false) => by_bank += refund.amount_minor,
                // Suspense that could not stay with its payer, and what a person paid in its place.
                (Stage::Returned { .. } | Stage::Succeeded { paid_from: PaidFrom::Bank, .. }, true) => {
                    stranded += refund.amount_minor;
                }
                (Stage::Succeeded { paid_from: PaidFrom::Channel, .. }, _) => {}
                (Stage::Failed { .. } | Stage::Returned { .. }, false) => {}
                (
                    Stage::Unconfirmed { .. }
                    | Stage::Waiting { .. }
                    | Stage::Owed { .. }
                    | Stage::Doubtful { .. }
                    | Stage::Failed { .. },
                    _,
                ) => prop_assert!(false, "{refund:?} at rest"),
            }
        }
        let held = payable - order.refunded_minor() + by_bank + stranded;
        prop_assert_eq!(order.net_captured_minor(), held, "net captured is the payable less what was refunded");
        prop_assert_eq!(self.gateways.net_minor(), held, "the gateways' books say the same: {:?}", self.gateways);
        for capture in 0..order.captures.len() {
            let capture = u16::try_from(capture).expect("few captures");
            let is_payment = order.captures[usize::from(capture)].purpose == Purpose::Payment;
            prop_assert_eq!(order.suspense_refund(capture).is_none(), is_payment, "suspense goes back, and only that");
        }
        Ok(())
    }
}

fn book(balances: &mut Balances, step: &Step) {
    for write in &step.writes {
        if let Write::Entry(entry) = write {
            balances.book(entry);
        }
    }
}

fn attempt_paid(order: &Order, attempt: &Attempt) -> bool {
    let paid = |purpose| match purpose {
        Purpose::Payment => true,
        Purpose::Suspense(_) => false,
    };
    order.captures.iter().any(|capture| capture.ordinal == attempt.ordinal && paid(capture.purpose))
}

/// What one call at a time is counted by: an attempt, or a refund.
fn subject(effect: Effect) -> (u8, Option<u16>) {
    match effect {
        Effect::Submit { ordinal, .. } | Effect::Query { ordinal } | Effect::Close { ordinal } => (ordinal, None),
        Effect::Refund { refund } | Effect::QueryRefund { refund } => (u8::MAX, Some(refund)),
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

/// The order that a journal leads to, and what its steps have booked.
fn replayed(commits: &[Commit]) -> (Order, Balances) {
    let first = read(commits.first().expect("a journal begins with the creation"));
    let Fact::Created(facts) = &first[0].fact else { panic!("a journal begins with the creation") };
    let begun = (step::create(facts, first[0].at), Balances::default());
    commits.iter().fold(begun, |(order, mut balances), commit| {
        let step = step::decide(&order, &read(commit)).expect("what was taken once is taken again");
        book(&mut balances, &step);
        (step.after, balances)
    })
}

fn walked(facts: &Created, moves: Vec<Move>) -> Run {
    let mut run = Run::of(facts);
    for next in moves {
        run.make(next);
    }
    run
}

/// An order that was paid through this channel, and what then happens to it.
fn walked_from_payment(facts: &Created, channel: Channel, moves: Vec<Move>) -> Run {
    let mut run = Run::of(facts);
    run.choose(channel);
    run.perform(Fate::Answered);
    run.answer();
    if let Some(attempt) = run.order.attempts.last().cloned() {
        run.gateways.pay(&attempt, 0, 1);
        run.gateways.delivered.insert(attempt.ordinal);
        run.tell(vec![found(attempt.ordinal, paid(&reference(attempt.ordinal), attempt.payable_minor))])
            .expect("money is taken");
        assert_eq!(run.order.state, State::Succeeded);
    }
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
    }

    #[test]
    fn every_refund_ends_and_what_is_left_is_the_payable_less_what_was_refunded(
        facts in creations(),
        channel in channels(),
        moves in moves_after_payment(),
    ) {
        let mut run = walked_from_payment(&facts, channel, moves);
        run.come_to_rest()?;
        run.audit()?;
    }

    #[test]
    fn a_journal_of_refunds_leads_to_its_order_and_resumes_anywhere(
        facts in creations(),
        channel in channels(),
        moves in moves_after_payment(),
    ) {
        let run = walked_from_payment(&facts, channel, moves);
        for (place, commit) in run.commits.iter().enumerate() {
            let (order, balances) = replayed(&run.commits[..=place]);
            prop_assert_eq!(&order, &commit.order);
            prop_assert_eq!(balances.settled(), Balances::of(&order));
        }
        for cut in (1..=run.commits.len()).step_by(5) {
            let mut resumed = Run::resumed(&run.commits[..cut]);
            resumed.come_to_rest()?;
            resumed.audit()?;
        }
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
            prop_assert_eq!(&replayed(&run.commits[..=place]).0, &commit.order);
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
