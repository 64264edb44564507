//! One order and what happens to it: facts go in, the step comes out, and the invariants hold after each.

use tongbao::domain::channel::{Channel, Method};
use tongbao::domain::dated::Dated;
use tongbao::domain::event::{
    CloseAnswer, Created, Effect, Event, Fact, Fault, Finding, RefundOutcome, RefundResolution, Refusal, Rejection,
    SendOutcome, Step, Verdict, WebhookKind, Write,
};
use tongbao::domain::id::{Account, Incarnation, OrderId, PlatformId, Round};
use tongbao::domain::ledger::{EntryKind, Fee};
use tongbao::domain::merchant::Merchant;
use tongbao::domain::money::{Currency, Rate};
use tongbao::domain::order::{Attempt, FeeBearer, Order, State, Webhooks};
use tongbao::domain::refund::{FeePolicy, Refund, RefundState};
use tongbao::domain::retry::Pace;
use tongbao::domain::rules::RulesVersion;
use tongbao::domain::step;
use tongbao::domain::time::{Instant, TimeScale};

use crate::notes::compare;

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const START: Instant = Instant(1_800_000_000_000);
/// Of an order of 200.00 by simpay or WeChat Pay, whose rate is 0.003.
pub const PAYABLE: i64 = 20_060;
pub const REFERENCE: &str = "channel-reference-1";

pub fn rate(text: &str) -> Rate {
    Rate::new(text.parse().expect("a rate is a decimal")).expect("a rate lies between 0 and 1")
}

/// An order of 200.00 CNY that lives for two hours and may be tried five times.
pub fn creation() -> Created {
    Created {
        id: OrderId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        platform: PlatformId(7),
        currency: Currency::parse("CNY").expect("CNY is a currency"),
        amount_minor: 20_000,
        rates: ["0.003", "0.003", "0.005", "0.006", "0.029"].map(rate).into(),
        rules: RulesVersion::CURRENT,
        fee_bearer: FeeBearer::Payer,
        pace: Pace::Production,
        time_scale: TimeScale::TRUE,
        webhooks: Webhooks::Wanted,
        attempts_max: 5,
        expires_at: START.plus_ms(2 * HOUR),
        splits: Box::default(),
    }
}

/// Every channel has an account of this name.
pub fn account(channel: Channel) -> Account {
    Account::new(channel, "default")
}

/// The channel's default method.
pub fn method_of(channel: Channel) -> Method {
    channel.rules().methods[0]
}

pub fn chosen(channel: Channel) -> Fact {
    Fact::ChannelChosen { channel, method: method_of(channel) }
}

pub fn suitable(channel: Channel, expires_at: Instant) -> Fact {
    let verdict = Verdict::Suitable { account: account(channel), merchant: Merchant::Operator, expires_at };
    Fact::Validated { channel, method: method_of(channel), verdict }
}

pub fn sent(ordinal: u8, send: u32, outcome: SendOutcome) -> Fact {
    Fact::SendAnswered { ordinal, send, outcome }
}

pub fn refused(fault: Fault) -> SendOutcome {
    SendOutcome::Rejected { fault, code: "REFUSED".into() }
}

pub fn not_sent() -> SendOutcome {
    SendOutcome::NotSent { why: "connection refused".into() }
}

pub fn later() -> SendOutcome {
    SendOutcome::Later { why: "RATELIMIT_EXCEEDED".into() }
}

pub fn no_answer() -> SendOutcome {
    SendOutcome::Unknown { why: "timed out".into() }
}

/// By a query that was asked no earlier than it is answered.
pub fn found(ordinal: u8, finding: Finding) -> Fact {
    found_by_asking_at(START.plus_ms(1_000 * HOUR), ordinal, finding)
}

pub fn found_by_asking_at(asked_at: Instant, ordinal: u8, finding: Finding) -> Fact {
    Fact::QueryAnswered { ordinal, finding, asked_at }
}

pub fn paid(reference: &str, amount_minor: i64) -> Finding {
    Finding::Paid { reference: reference.into(), amount_minor, dated: Dated::NOT_TOLD }
}

pub fn unclear() -> Finding {
    Finding::Unknown { why: "timed out".into() }
}

pub fn resolved(ordinal: u8, finding: Finding) -> Fact {
    Fact::OperatorResolved { ordinal, finding, operator: "li".into(), evidence: "the channel's statement".into() }
}

pub fn closed(ordinal: u8, answer: CloseAnswer) -> Fact {
    Fact::CloseAnswered { ordinal, answer }
}

pub fn close_unclear() -> CloseAnswer {
    CloseAnswer::Unknown { why: "timed out".into() }
}

/// By the default account of an attempt's channel.
pub fn called_back(channel: Channel, ordinal: u8, reference: &str, amount_minor: i64) -> Fact {
    called_back_in("CNY", account(channel), (ordinal, reference, amount_minor))
}

pub fn called_back_in(currency: &str, account: Account, (ordinal, reference, amount_minor): (u8, &str, i64)) -> Fact {
    Fact::CallbackVerified {
        ordinal,
        opened_in: Incarnation::default(),
        account,
        reference: reference.into(),
        amount_minor,
        currency: currency.into(),
        dated: Dated::NOT_TOLD,
    }
}

pub fn refund_asked(amount_minor: i64, fee_policy: FeePolicy) -> Fact {
    Fact::RefundAsked { amount_minor, fee_policy }
}

pub fn refund_resolved(refund: u16, resolution: RefundResolution) -> Fact {
    let (operator, evidence) = ("li".into(), "the channel's statement".into());
    Fact::RefundResolved { refund, resolution, operator, evidence }
}

/// What a channel tells of a refund's first number, as it stood when nothing could be certain by time.
pub fn refund(refund: u16, outcome: RefundOutcome) -> Fact {
    refund_of(Round::FIRST, refund, outcome)
}

pub fn refund_of(round: Round, refund: u16, outcome: RefundOutcome) -> Fact {
    refund_by_asking_at(START, round, refund, outcome)
}

pub fn refund_by_asking_at(asked_at: Instant, round: Round, refund: u16, outcome: RefundOutcome) -> Fact {
    Fact::RefundAnswered { refund, round, asked_at, outcome }
}

pub fn refund_done() -> RefundOutcome {
    RefundOutcome::Done { reference: None, dated: Dated::NOT_TOLD }
}

pub fn refund_unclear() -> RefundOutcome {
    RefundOutcome::Unknown { why: "timed out".into() }
}

pub fn refund_not_sent() -> RefundOutcome {
    RefundOutcome::NotSent { why: "connection refused".into() }
}

/// The channel has ended the refund without paying it.
pub fn refund_ended() -> RefundOutcome {
    RefundOutcome::Ended { code: "CLOSED".into() }
}

pub fn refund_rejected(class: Rejection) -> RefundOutcome {
    RefundOutcome::Rejected { class, code: "REFUSED".into() }
}

pub fn refund_poor() -> RefundOutcome {
    refund_rejected(Rejection::Poor)
}

pub fn refund_stuck() -> RefundOutcome {
    RefundOutcome::Stuck { code: "ABNORMAL".into() }
}

pub fn refund_returned() -> RefundOutcome {
    RefundOutcome::Returned { code: "CARD_CLOSED".into(), dated: Dated::NOT_TOLD }
}

pub fn send_paid(reference: &str, amount_minor: i64) -> SendOutcome {
    SendOutcome::Paid { reference: reference.into(), amount_minor, dated: Dated::NOT_TOLD }
}

/// What the step proposes beside the timer.
pub fn proposed(step: &Step) -> Vec<Effect> {
    let timed = |effect: &&Effect| !matches!(effect, Effect::ArmTimer { .. });
    step.effects.iter().filter(timed).copied().collect()
}

pub fn webhooks(step: &Step) -> Vec<WebhookKind> {
    let kind = |write: &Write| if let Write::Webhook { kind, .. } = write { Some(*kind) } else { None };
    step.writes.iter().filter_map(kind).collect()
}

pub fn entries(step: &Step) -> Vec<EntryKind> {
    let kind = |write: &Write| if let Write::Entry(entry) = write { Some(entry.kind()) } else { None };
    step.writes.iter().filter_map(kind).collect()
}

/// What holds of every order after every step.
pub fn check(before: &Order, step: &Step, at: Instant) {
    let order = &step.after;
    if before.state.is_final() {
        assert_eq!(order.state, before.state, "a final state never changes");
        assert_eq!((order.failure, order.finished_at), (before.failure, before.finished_at));
    }
    let open = order.attempts.iter().filter(|attempt| attempt.is_open()).count();
    match order.state {
        State::Created | State::Validating | State::Failed => assert_eq!(open, 0, "{order:?}"),
        State::Submitted => assert_eq!(open, 1, "{order:?}"),
        State::Succeeded => {}
    }
    if !order.state.is_final() {
        assert!(order.next_due_at(at).is_some(), "what is not final has something due: {order:?}");
    }
    for write in &step.writes {
        if let Write::Entry(entry) = write {
            assert_eq!(entry.lines().iter().map(|line| line.amount_minor).sum::<i64>(), 0, "{entry:?}");
        }
    }
    check_refunds(before, order);
    compare(before, step);
}

/// What holds of every order's refunds after every step.
fn check_refunds(before: &Order, order: &Order) {
    for (refund, known) in order.refunds.iter().zip(&before.refunds) {
        let fixed = |refund: &Refund| (refund.capture, refund.cause.clone(), refund.amount_minor, refund.incarnation);
        assert_eq!(fixed(refund), fixed(known), "what a refund is never changes");
        let may_become = match (known.state(), refund.state()) {
            (RefundState::Failed | RefundState::Succeeded | RefundState::Returned, same) if same == known.state() => {
                true
            }
            (RefundState::Created | RefundState::Submitted, _) => true,
            (RefundState::Succeeded, RefundState::Returned) => true,
            // Suspense that came back is paid by other means.
            (RefundState::Returned, RefundState::Succeeded) => refund.is_of_suspense(),
            (RefundState::Failed | RefundState::Succeeded | RefundState::Returned, _) => false,
        };
        assert!(may_become, "{known:?} became {refund:?}");
        let fails = refund.is_of_suspense() && refund.state() == RefundState::Failed;
        assert!(!fails, "suspense never fails: {refund:?}");
    }
    assert!(order.refunds.len() >= before.refunds.len(), "a refund never goes away");
    let Some((_, payment)) = order.payment() else {
        assert_eq!(order.asked_refunds().count(), 0, "nothing was paid that could be asked for");
        return;
    };
    let reserved: i64 = order
        .asked_refunds()
        .filter(|(refund, _)| refund.stage.reserves())
        .map(|(refund, _)| refund.amount_minor)
        .sum();
    assert!(reserved <= payment.amount_minor, "{reserved} is reserved of {payment:?}");
    let left = order.left().expect("what was paid has parties");
    assert!(left.parts.iter().all(|part| *part >= 0), "a party has less than nothing: {left:?}");
    let (Fee::OfPayer(fee) | Fee::OfPlatform(fee)) = left.fee;
    assert!(fee >= 0, "less than nothing is left of the fee: {left:?}");
    assert_eq!(left.payable_minor(), payment.amount_minor - reserved, "what is left is what is not reserved");
}

/// An order on its way, at a virtual clock.
#[derive(Debug, Clone)]
pub struct Walk {
    pub order: Order,
    pub at: Instant,
}

impl Walk {
    /// A created order of [`creation`].
    pub fn new() -> Self {
        Walk::of(&creation())
    }

    pub fn of(facts: &Created) -> Self {
        let mut walk = Walk { order: step::create(facts, START), at: START };
        walk.tell(Fact::Created(Box::new(facts.clone())));
        walk
    }

    /// An order whose payer saw the first attempt's `next_action`.
    pub fn shown_at(channel: Channel) -> Self {
        let mut walk = Walk::new();
        walk.pay_by(channel);
        walk.tell(sent(0, 1, SendOutcome::Accepted { reference: None }));
        walk
    }

    /// An order that was paid through simpay.
    pub fn succeeded() -> Self {
        let mut walk = Walk::shown_at(Channel::Simpay);
        walk.tell(called_back(Channel::Simpay, 0, REFERENCE, PAYABLE));
        walk
    }

    /// An order that was paid through a channel.
    pub fn paid_at(channel: Channel) -> Self {
        Walk::paid_of(&creation(), channel)
    }

    pub fn paid_of(facts: &Created, channel: Channel) -> Self {
        let mut walk = Walk::of(facts);
        walk.pay_by(channel);
        walk.tell(sent(0, 1, SendOutcome::Accepted { reference: None }));
        let payable = walk.attempt(0).payable_minor;
        walk.tell(found(0, paid(REFERENCE, payable)));
        walk
    }

    /// An order that was cancelled after its first attempt had been shown and closed.
    pub fn cancelled() -> Self {
        let mut walk = Walk::shown_at(Channel::Simpay);
        walk.tell(Fact::CancelAsked);
        walk.tell(closed(0, CloseAnswer::Closed));
        walk
    }

    pub fn wait(&mut self, span_ms: i64) -> &mut Self {
        self.at = self.at.plus_ms(span_ms);
        self
    }

    pub fn wait_until(&mut self, at: Instant) -> &mut Self {
        self.at = self.at.max(at);
        self
    }

    pub fn try_tell(&mut self, facts: Vec<Fact>) -> Result<Step, Refusal> {
        let events: Vec<Event> =
            facts.into_iter().map(|fact| Event { at: self.at, incarnation: Incarnation::default(), fact }).collect();
        let step = step::decide(&self.order, &events)?;
        check(&self.order, &step, self.at);
        self.order = step.after.clone();
        Ok(step)
    }

    /// One fact that must be taken.
    pub fn tell(&mut self, fact: Fact) -> Step {
        let told = format!("{fact:?}");
        self.try_tell(vec![fact]).unwrap_or_else(|refusal| panic!("{told} was refused: {refusal:?}"))
    }

    /// One fact that must be refused.
    pub fn refusal(&mut self, fact: Fact) -> Refusal {
        let told = format!("{fact:?}");
        self.try_tell(vec![fact]).err().unwrap_or_else(|| panic!("{told} was taken"))
    }

    /// The payer chooses a channel and it suits: one commit.
    pub fn pay_by(&mut self, channel: Channel) -> Step {
        let expires_at = self.order.expires_at.min(self.at.plus_ms(channel.rules().life_ms(self.order.time_scale)));
        self.try_tell(vec![chosen(channel), suitable(channel, expires_at)]).expect("the channel suits")
    }

    /// Waits for what is due and tells what the timer stands for.
    pub fn wake(&mut self) -> Step {
        let due_at = self.order.next_due_at(self.at).expect("something is due");
        self.wait_until(due_at);
        self.tell(step::wake(&self.order, self.at))
    }

    pub fn attempt(&self, ordinal: u8) -> &Attempt {
        self.order.attempt(ordinal).expect("the order has this attempt")
    }
}
