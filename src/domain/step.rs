//! The order machine: what an event makes of an order. Pure.
//!
//! Effects are proposals: whoever performs them keeps one call in flight per attempt and drops the rest, because every
//! answer comes back as an event whose step proposes again what is still wanted.

use super::channel::{Channel, Closing, Lapse, Method, Proof};
use super::event::{
    CloseAnswer, Created, Effect, Event, Fact, Fault, Finding, RefundOutcome, Refusal, SendOutcome, Step, Verdict,
    WebhookKind, Write,
};
use super::id::Account;
use super::ledger::Entry;
use super::order::{
    Attempt, AttemptFailure, AttemptState, Capture, CloseStage, FeeBearer, Order, OrderFailure, Purpose, Reach,
    RefundStage, State, SuspenseReason, Webhooks, Wish,
};
use super::retry;
use super::time::Instant;

/// The least wait before something overdue is proposed again: its call may still be in flight.
const OVERDUE_GAP_MS: i64 = 1_000;

/// How long a claim stands against any denial: a query that was on its way when the callback came knows nothing of it.
const CLAIM_STANDS_MS: i64 = 60_000;

/// The order that a creation makes, at version 0: not durable yet.
pub fn create(facts: &Created, at: Instant) -> Order {
    Order {
        id: facts.id,
        platform: facts.platform,
        version: 0,
        state: State::Created,
        currency: facts.currency,
        amount_minor: facts.amount_minor,
        rates: facts.rates,
        fee_bearer: facts.fee_bearer,
        pace: facts.pace,
        webhooks: facts.webhooks,
        attempts_max: facts.attempts_max,
        created_at: at,
        expires_at: facts.expires_at,
        finished_at: None,
        last_at: at,
        failure: None,
        last_failure: None,
        wish: None,
        sequence: 0,
        attempts: Vec::new(),
        captures: Vec::new(),
    }
}

/// Decides what `event` makes of `order`. A step that changes nothing returns the order as it was; it may still
/// propose effects.
///
/// # Errors
/// A [`Refusal`] when the event is not allowed; nothing follows from it.
pub fn step(order: &Order, event: &Event) -> Result<Step, Refusal> {
    let mut draft = Draft::of(order.clone(), event.at);
    draft.take(&event.fact)?;
    Ok(draft.finish(order))
}

/// Decides several events as one commit: the order's version grows by one, if anything changed.
///
/// # Errors
/// The first refusal; then none of the events happened.
pub fn decide(order: &Order, events: &[Event]) -> Result<Step, Refusal> {
    let mut draft = Draft::of(order.clone(), order.last_at);
    for event in events {
        draft.at = event.at.max(draft.at);
        draft.take(&event.fact)?;
    }
    let mut step = draft.finish(order);
    if step.order != *order || order.version == 0 {
        step.order.version = order.version + 1;
    }
    Ok(step)
}

/// What a resting order still owes the world; asked after a restart. What may have happened is queried first.
pub fn resume(order: &Order, now: Instant) -> Vec<Effect> {
    let mut draft = Draft::of(order.clone(), now);
    draft.propose_overdue(Asking::Everything);
    draft.arm();
    draft.effects
}

/// The event that a timer stands for at `now`.
pub fn wake(order: &Order, now: Instant) -> Fact {
    let wanted = order.wish.is_none_or(|wish| wish.gives_way_to(Wish::Expiry));
    if !order.state.is_final() && now >= order.expires_at && wanted { Fact::DeadlinePassed } else { Fact::TimerFired }
}

/// How sure a capture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Witness {
    Callback,
    Query,
}

/// What is proposed when time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// What has come due.
    Due,
    /// All that is open, because nobody knows what happened before.
    Everything,
}

struct Draft {
    order: Order,
    at: Instant,
    writes: Vec<Write>,
    effects: Vec<Effect>,
}

impl Draft {
    fn of(order: Order, at: Instant) -> Self {
        let at = at.max(order.last_at);
        Draft { order, at, writes: Vec::new(), effects: Vec::new() }
    }

    fn finish(mut self, before: &Order) -> Step {
        if self.order != *before {
            self.order.last_at = self.at;
        }
        self.arm();
        Step { order: self.order, writes: self.writes, effects: self.effects }
    }

    fn arm(&mut self) {
        if let Some(due_at) = self.order.next_due_at(self.at) {
            let at = if due_at > self.at { due_at } else { self.at.plus_ms(OVERDUE_GAP_MS) };
            self.effects.push(Effect::ArmTimer { at });
        }
    }

    fn take(&mut self, fact: &Fact) -> Result<(), Refusal> {
        match fact {
            // The first event of an order makes it; `create` has done that already.
            Fact::Created(_) if self.order.version == 0 => Ok(()),
            Fact::Created(_) => Err(Refusal::OutOfPlace),
            Fact::ChannelChosen { channel, method } => self.choose(*channel, *method),
            Fact::Validated { channel, method, verdict } => self.validated(*channel, *method, verdict),
            Fact::SendAnswered { ordinal, send, outcome } => self.send_answered(*ordinal, *send, outcome),
            Fact::QueryAnswered { ordinal, finding } => self.found(*ordinal, finding),
            Fact::OperatorResolved { ordinal, finding, .. } => self.found(*ordinal, finding),
            Fact::CloseAnswered { ordinal, answer } => self.close_answered(*ordinal, answer),
            Fact::CallbackVerified { ordinal, account, reference, amount_minor, currency } => {
                self.callback(*ordinal, account, (reference, *amount_minor, currency))
            }
            Fact::RefundAnswered { capture, outcome } => self.refund_answered(*capture, outcome),
            Fact::CancelAsked => self.cancel(),
            Fact::DeadlinePassed => self.deadline(),
            Fact::TimerFired => {
                self.propose_overdue(Asking::Due);
                Ok(())
            }
        }
    }

    fn attempt_mut(&mut self, ordinal: u8) -> Result<&mut Attempt, Refusal> {
        self.order.attempts.iter_mut().find(|attempt| attempt.ordinal == ordinal).ok_or(Refusal::AttemptUnknown)
    }

    fn webhook(&mut self, kind: WebhookKind) {
        self.order.sequence += 1;
        match self.order.webhooks {
            Webhooks::Wanted => self.writes.push(Write::Webhook { kind, sequence: self.order.sequence }),
            Webhooks::NotWanted => {}
        }
    }

    // --- what payers and platforms ask for -------------------------------------------------------------------

    fn choose(&mut self, channel: Channel, method: Method) -> Result<(), Refusal> {
        let used_up = self.order.attempts.len() >= usize::from(self.order.attempts_max);
        match self.order.state {
            State::Succeeded | State::Failed => Err(Refusal::OrderFinal),
            State::Validating => Err(Refusal::OutOfPlace),
            State::Created if used_up => Err(Refusal::AttemptsUsedUp),
            State::Created => {
                self.order.wish = None;
                self.order.state = State::Validating;
                Ok(())
            }
            State::Submitted => {
                let open = self.order.open_attempt().ok_or(Refusal::OutOfPlace)?;
                let (ordinal, same) = (open.ordinal, (open.channel, open.method) == (channel, method));
                if same && open.state == AttemptState::Open {
                    self.refresh(ordinal)
                } else if !open.can_be_closed() {
                    let dead_at = open.expires_at.plus_ms(open.channel.rules().grace_ms);
                    Err(Refusal::AttemptOpen { retry_after_ms: dead_at.since_ms(self.at).max(OVERDUE_GAP_MS) })
                } else if used_up {
                    Err(Refusal::AttemptsUsedUp)
                } else {
                    self.wish(Wish::Switch { channel, method })
                }
            }
        }
    }

    /// The payer asks again on the same channel: the frozen request goes out once more for a fresh `next_action`.
    fn refresh(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let attempt = self.attempt_mut(ordinal)?;
        if attempt.sends == attempt.answered {
            self.send_again(ordinal)?;
        }
        Ok(())
    }

    fn send_again(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let at = self.at;
        let attempt = self.attempt_mut(ordinal)?;
        if attempt.sends > attempt.answered {
            // Nobody will ever tell what became of the send before.
            attempt.reach = attempt.reach.at_least_perhaps();
        }
        attempt.sends = attempt.sends.saturating_add(1);
        attempt.paced_from = at;
        let send = attempt.sends;
        self.effects.push(Effect::Submit { ordinal, send });
        Ok(())
    }

    fn cancel(&mut self) -> Result<(), Refusal> {
        match self.order.state {
            State::Succeeded | State::Failed => Err(Refusal::OrderFinal),
            State::Validating => Err(Refusal::OutOfPlace),
            State::Created => {
                self.fail(OrderFailure::Cancelled);
                Ok(())
            }
            State::Submitted if self.order.wish == Some(Wish::Cancel) => Ok(()),
            State::Submitted => self.wish(Wish::Cancel),
        }
    }

    fn deadline(&mut self) -> Result<(), Refusal> {
        let passed = self.at >= self.order.expires_at;
        match self.order.state {
            State::Succeeded | State::Failed => Ok(()),
            State::Validating => Err(Refusal::OutOfPlace),
            State::Created | State::Submitted if !passed => Ok(()),
            State::Created => {
                self.fail(OrderFailure::Expired);
                Ok(())
            }
            State::Submitted if self.order.wish.is_some_and(|wish| !wish.gives_way_to(Wish::Expiry)) => Ok(()),
            State::Submitted => self.wish(Wish::Expiry),
        }
    }

    /// Stores what is wanted once the open attempt is dead, and begins to close it.
    fn wish(&mut self, wish: Wish) -> Result<(), Refusal> {
        if self.order.wish.is_some_and(|standing| !standing.gives_way_to(wish)) {
            return Err(Refusal::AttemptOpen { retry_after_ms: OVERDUE_GAP_MS });
        }
        self.order.wish = Some(wish);
        self.close_open_attempts();
        Ok(())
    }

    fn close_open_attempts(&mut self) {
        let at = self.at;
        for attempt in &mut self.order.attempts {
            if attempt.state == AttemptState::Open {
                attempt.state = AttemptState::Closing;
                attempt.paced_from = at;
                let ordinal = attempt.ordinal;
                self.effects.push(if attempt.can_be_closed() {
                    Effect::Close { ordinal }
                } else {
                    Effect::Query { ordinal }
                });
            }
        }
    }

    fn validated(&mut self, channel: Channel, method: Method, verdict: &Verdict) -> Result<(), Refusal> {
        match self.order.state {
            State::Created | State::Submitted | State::Succeeded | State::Failed => Err(Refusal::OutOfPlace),
            State::Validating => {
                match verdict {
                    Verdict::Suitable { account, expires_at } => self.open(channel, method, account, *expires_at),
                    Verdict::Unsuitable { failure } => self.back_to_created(*failure),
                    Verdict::RiskRefused { .. } => self.fail(OrderFailure::RiskRefused),
                }
                Ok(())
            }
        }
    }

    fn back_to_created(&mut self, failure: AttemptFailure) {
        self.order.state = State::Created;
        self.order.last_failure = Some(failure);
    }

    fn open(&mut self, channel: Channel, method: Method, account: &Account, expires_at: Instant) {
        let Some(quote) = self.order.quote(channel) else {
            return self.back_to_created(AttemptFailure::ChannelUnsuitable);
        };
        let ordinal = u8::try_from(self.order.attempts.len()).expect("attempts are bounded by attempts_max");
        // Exactly one more: an actor keeps the order in memory, and most orders have one attempt and one capture.
        self.order.attempts.reserve_exact(1);
        self.order.attempts.push(Attempt {
            ordinal,
            channel,
            method,
            account: account.clone(),
            payable_minor: quote.payable_minor,
            fee_minor: quote.fee_minor,
            state: AttemptState::Open,
            opened_at: self.at,
            expires_at,
            paced_from: self.at,
            sends: 1,
            answered: 0,
            reach: Reach::Nowhere,
            close: CloseStage::NotAsked,
            claimed_at: None,
            watched: 0,
            failure: None,
            reference: None,
        });
        self.order.state = State::Submitted;
        self.writes.push(Write::OpenAttempt { ordinal });
        self.effects.push(Effect::Submit { ordinal, send: 1 });
    }

    // --- what channels answer --------------------------------------------------------------------------------

    fn send_answered(&mut self, ordinal: u8, send: u16, outcome: &SendOutcome) -> Result<(), Refusal> {
        let at = self.at;
        let attempt = self.attempt_mut(ordinal)?;
        if send > attempt.sends {
            return Err(Refusal::OutOfPlace);
        }
        if let SendOutcome::Paid { reference, amount_minor } = outcome {
            attempt.answered = attempt.answered.max(send);
            attempt.reach = Reach::Shown;
            return self.capture(ordinal, reference, *amount_minor, Witness::Query);
        }
        // An older send's answer never overwrites what a newer one brought.
        if send <= attempt.answered {
            return Ok(());
        }
        attempt.answered = send;
        match outcome {
            SendOutcome::Paid { .. } => {}
            SendOutcome::Accepted => {
                attempt.paced_from = at;
                match attempt.state {
                    AttemptState::Open => {
                        attempt.reach = Reach::Shown;
                        self.writes.push(Write::StoreNextAction);
                    }
                    AttemptState::Closing => {
                        attempt.reach = attempt.reach.at_least_perhaps();
                        self.propose_close(ordinal);
                    }
                    AttemptState::Dead | AttemptState::Captured => {
                        attempt.reach = attempt.reach.at_least_perhaps();
                    }
                }
            }
            SendOutcome::Rejected { fault: Fault::Payment, .. } => {
                self.send_refused(ordinal, AttemptFailure::ChannelDeclined);
            }
            SendOutcome::Rejected { fault: Fault::Ours, .. } | SendOutcome::NotSent { .. } => {
                self.send_refused(ordinal, AttemptFailure::ChannelUnavailable);
            }
            SendOutcome::Unknown { .. } => {
                attempt.reach = attempt.reach.at_least_perhaps();
                attempt.paced_from = at;
                if attempt.state == AttemptState::Closing {
                    self.propose_close(ordinal);
                }
            }
        }
        Ok(())
    }

    /// One send was certainly not taken; the attempt is dead only if no other send of it may have been.
    fn send_refused(&mut self, ordinal: u8, failure: AttemptFailure) {
        let Some(attempt) = self.order.attempt(ordinal).filter(|attempt| attempt.is_open()) else { return };
        match (attempt.may_exist(), attempt.state) {
            (false, _) => self.dies(ordinal, Some(failure)),
            (true, AttemptState::Closing) => self.propose_close(ordinal),
            // An earlier send may have been taken, though a later one is declined for good: sending and asking would
            // chase each other until the order expires, so the attempt is closed.
            (true, AttemptState::Open)
                if failure == AttemptFailure::ChannelDeclined
                    && attempt.can_be_closed()
                    && attempt.reach != Reach::Shown =>
            {
                self.close_open_attempts();
            }
            // An earlier send may have been taken. Asking waits for its tick: at once, a query that finds nothing and
            // a resend that is refused again would chase each other.
            (true, AttemptState::Open | AttemptState::Dead | AttemptState::Captured) => {}
        }
    }

    fn propose_close(&mut self, ordinal: u8) {
        let Some(attempt) = self.order.attempt(ordinal) else { return };
        let ask = attempt.can_be_closed() && attempt.close != CloseStage::Answered;
        self.effects.push(if ask { Effect::Close { ordinal } } else { Effect::Query { ordinal } });
    }

    fn found(&mut self, ordinal: u8, finding: &Finding) -> Result<(), Refusal> {
        let at = self.at;
        let attempt = self.attempt_mut(ordinal)?;
        match finding {
            Finding::Unknown { .. } => return Ok(()),
            Finding::Paid { reference, amount_minor } => {
                attempt.claimed_at = None;
                attempt.reach = Reach::Shown;
                self.capture(ordinal, reference, *amount_minor, Witness::Query)?;
                self.looked_again(ordinal);
                return Ok(());
            }
            Finding::Pending | Finding::NotExist | Finding::Declined | Finding::Closed => {
                if attempt.disproves_claim(finding, at) {
                    attempt.claimed_at = None;
                }
            }
        }
        if !self.order.attempts.iter().any(|attempt| attempt.ordinal == ordinal && attempt.is_open()) {
            self.looked_again(ordinal);
            return Ok(());
        }
        match finding {
            Finding::Unknown { .. } | Finding::Paid { .. } => {}
            Finding::Pending => self.still_there(ordinal)?,
            Finding::NotExist => self.not_there(ordinal)?,
            Finding::Declined => self.dies(ordinal, Some(AttemptFailure::ChannelDeclined)),
            Finding::Closed => self.dies(ordinal, None),
        }
        Ok(())
    }

    /// An attempt of a failed order was looked at again: that settles every look at it that is due, whatever was found.
    fn looked_again(&mut self, ordinal: u8) {
        let at = self.at;
        let is_due = |order: &Order, attempt: &Attempt| order.watch_since(attempt).is_some_and(|since| since <= at);
        while self.order.attempt(ordinal).is_some_and(|attempt| is_due(&self.order, attempt)) {
            if let Some(attempt) = self.order.attempts.iter_mut().find(|attempt| attempt.ordinal == ordinal) {
                attempt.watched += 1;
            }
        }
    }

    /// The channel knows the attempt and waits for the payer.
    fn still_there(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let at = self.at;
        let attempt = self.attempt_mut(ordinal)?;
        attempt.reach = attempt.reach.at_least_perhaps();
        match attempt.lapsed(at) {
            Some(Lapse::NotExistOrPending) => self.dies(ordinal, None),
            Some(Lapse::Never | Lapse::NotExist) | None => self.ask_on(ordinal)?,
        }
        Ok(())
    }

    fn not_there(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let at = self.at;
        match self.attempt_mut(ordinal)?.lapsed(at) {
            Some(Lapse::NotExist | Lapse::NotExistOrPending) => self.dies(ordinal, None),
            Some(Lapse::Never) | None => self.ask_on(ordinal)?,
        }
        Ok(())
    }

    /// Nothing is certain yet. What was never shown to the payer is sent again, byte for byte; a wish to close is
    /// put to the channel if it was not before; the rest waits for its next query.
    fn ask_on(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let (at, pace) = (self.at, self.order.pace);
        let attempt = self.attempt_mut(ordinal)?;
        match attempt.state {
            AttemptState::Open => {
                // A send that is still unanswered when the first query falls due was lost, by a crash for instance.
                let answer_due_at = attempt.paced_from.plus_ms(retry::gap_ms(retry::queries(attempt.channel, pace), 0));
                let under_way = attempt.sends > attempt.answered && at < answer_due_at;
                if attempt.reach != Reach::Shown && !under_way && at < attempt.expires_at {
                    self.send_again(ordinal)?;
                }
            }
            AttemptState::Closing if attempt.close == CloseStage::NotAsked && attempt.can_be_closed() => {
                self.effects.push(Effect::Close { ordinal });
            }
            AttemptState::Closing | AttemptState::Dead | AttemptState::Captured => {}
        }
        Ok(())
    }

    fn close_answered(&mut self, ordinal: u8, answer: &CloseAnswer) -> Result<(), Refusal> {
        let attempt = self.attempt_mut(ordinal)?;
        if !attempt.is_open() {
            return Ok(());
        }
        match (answer, attempt.channel.rules().closing) {
            (CloseAnswer::Closed, Closing::Certain) => self.dies(ordinal, None),
            (CloseAnswer::Closed, Closing::Confirmed) => {
                attempt.close = CloseStage::Answered;
                self.effects.push(Effect::Query { ordinal });
            }
            // What a close could not end may have been paid or may never have been there: only a query tells.
            (CloseAnswer::AlreadyPaid | CloseAnswer::Unknown { .. }, Closing::Certain | Closing::Confirmed) => {
                attempt.close = CloseStage::Asked;
                self.effects.push(Effect::Query { ordinal });
            }
            (CloseAnswer::Closed | CloseAnswer::AlreadyPaid | CloseAnswer::Unknown { .. }, Closing::Impossible) => {
                return Err(Refusal::OutOfPlace);
            }
        }
        Ok(())
    }

    fn callback(
        &mut self,
        ordinal: u8,
        account: &Account,
        (reference, amount_minor, currency): (&str, i64, &str),
    ) -> Result<(), Refusal> {
        if self.attempt_mut(ordinal)?.account != *account {
            return Err(Refusal::AccountDiffers);
        }
        if currency != self.order.currency.code() {
            return self.claim(ordinal);
        }
        self.capture(ordinal, reference, amount_minor, Witness::Callback)
    }

    // --- money -----------------------------------------------------------------------------------------------

    fn capture(&mut self, ordinal: u8, reference: &str, amount_minor: i64, witness: Witness) -> Result<(), Refusal> {
        if let Some(index) = self.known_capture(ordinal, reference) {
            return self.capture_again(index, ordinal, amount_minor, witness);
        }
        let at = self.at;
        let final_state = self.order.state;
        let attempt = self.attempt_mut(ordinal)?;
        let matching = amount_minor == attempt.payable_minor;
        let proven = match (witness, attempt.channel.rules().proof) {
            (Witness::Query, Proof::Callback | Proof::Query) => true,
            (Witness::Callback, Proof::Callback) => matching,
            (Witness::Callback, Proof::Query) => false,
        };
        if !proven {
            return self.claim(ordinal);
        }
        if attempt.reference.is_none() {
            attempt.reference = Some(reference.into());
        }
        let reason = match final_state {
            State::Created | State::Validating | State::Submitted if matching => None,
            State::Created | State::Validating | State::Submitted => Some(SuspenseReason::WrongAmount),
            State::Succeeded => Some(SuspenseReason::Further),
            State::Failed => Some(SuspenseReason::TooLate),
        };
        let purpose = match (reason, witness) {
            (None, _) => Purpose::Payment,
            (Some(reason), Witness::Query) => {
                Purpose::Suspense { reason, refund: RefundStage::Owed { tries: 0, due_at: at } }
            }
            (Some(reason), Witness::Callback) => {
                Purpose::Suspense { reason, refund: RefundStage::Unconfirmed { since: at } }
            }
        };
        let index = u8::try_from(self.order.captures.len()).map_err(|_| Refusal::OutOfPlace)?;
        let capture = Capture { ordinal, reference: reference.into(), amount_minor, at, purpose };
        self.writes.push(Write::Capture { index });
        self.order.captures.reserve_exact(1);
        match purpose {
            Purpose::Payment => {
                self.order.captures.push(capture);
                self.succeed(ordinal);
            }
            Purpose::Suspense { .. } => {
                self.order.captures.push(capture);
                self.book_suspense(ordinal, index, amount_minor, witness);
            }
        }
        Ok(())
    }

    /// A verified callback spoke of money that is not proven by it: a query decides.
    fn claim(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let at = self.at;
        let attempt = self.attempt_mut(ordinal)?;
        attempt.claimed_at = attempt.claimed_at.or(Some(at));
        self.effects.push(Effect::Query { ordinal });
        Ok(())
    }

    fn known_capture(&self, ordinal: u8, reference: &str) -> Option<u8> {
        let at = |ordinal| self.order.attempt(ordinal).map(|attempt| (attempt.channel, &attempt.account));
        let place = self
            .order
            .captures
            .iter()
            .position(|capture| &*capture.reference == reference && at(capture.ordinal) == at(ordinal))?;
        u8::try_from(place).ok()
    }

    fn capture_again(&mut self, index: u8, ordinal: u8, amount_minor: i64, witness: Witness) -> Result<(), Refusal> {
        let at = self.at;
        let known = &mut self.order.captures[usize::from(index)];
        if known.amount_minor != amount_minor || known.ordinal != ordinal {
            return Err(Refusal::CaptureContradicts);
        }
        match (&mut known.purpose, witness) {
            (Purpose::Suspense { refund: refund @ RefundStage::Unconfirmed { .. }, .. }, Witness::Query) => {
                *refund = RefundStage::Owed { tries: 0, due_at: at };
                self.effects.push(Effect::Refund { capture: index });
            }
            (Purpose::Suspense { refund: RefundStage::Unconfirmed { .. }, .. }, Witness::Callback) => {
                self.effects.push(Effect::Query { ordinal });
            }
            (
                Purpose::Payment
                | Purpose::Suspense {
                    refund: RefundStage::Owed { .. } | RefundStage::Doubtful { .. } | RefundStage::Done { .. },
                    ..
                },
                Witness::Callback | Witness::Query,
            ) => {}
        }
        Ok(())
    }

    /// The first capture of the amount asked: it beats every wish, and all other open attempts are closed.
    fn succeed(&mut self, ordinal: u8) {
        let order = &mut self.order;
        let attempt = order
            .attempts
            .iter_mut()
            .find(|attempt| attempt.ordinal == ordinal)
            .expect("a capture belongs to an attempt of its order");
        attempt.state = AttemptState::Captured;
        attempt.failure = None;
        let at = (attempt.channel, &attempt.account);
        let money = (order.amount_minor, attempt.fee_minor);
        let entry = match order.fee_bearer {
            FeeBearer::Payer => Entry::payment_by_payer(at, order.platform, order.currency, money),
            FeeBearer::Platform => Entry::payment_by_platform(at, order.platform, order.currency, money),
        };
        self.writes.push(Write::Entry(entry));
        self.finish_as(State::Succeeded);
        self.order.last_failure = None;
        self.webhook(WebhookKind::OrderSucceeded);
        self.close_open_attempts();
    }

    fn book_suspense(&mut self, ordinal: u8, capture: u8, amount_minor: i64, witness: Witness) {
        let Some(attempt) = self.order.attempt(ordinal) else { return };
        let entry = Entry::suspense((attempt.channel, &attempt.account), self.order.currency, amount_minor);
        self.writes.push(Write::Entry(entry));
        let failure = match amount_minor.cmp(&attempt.payable_minor) {
            std::cmp::Ordering::Less => Some(AttemptFailure::AmountInsufficient),
            std::cmp::Ordering::Greater => Some(AttemptFailure::AmountMismatch),
            std::cmp::Ordering::Equal => None,
        };
        if attempt.is_open() {
            self.dies(ordinal, failure);
        }
        self.effects.push(match witness {
            Witness::Query => Effect::Refund { capture },
            Witness::Callback => Effect::Query { ordinal },
        });
    }

    fn refund_answered(&mut self, index: u8, outcome: &RefundOutcome) -> Result<(), Refusal> {
        let (at, pace) = (self.at, self.order.pace);
        let capture = self.order.captures.get_mut(usize::from(index)).ok_or(Refusal::OutOfPlace)?;
        let Purpose::Suspense { refund, .. } = &mut capture.purpose else { return Err(Refusal::OutOfPlace) };
        let (tries, doubtful) = match refund {
            RefundStage::Owed { tries, .. } => (*tries, false),
            RefundStage::Doubtful { tries, .. } => (*tries, true),
            RefundStage::Unconfirmed { .. } => return Err(Refusal::OutOfPlace),
            RefundStage::Done { .. } => return Ok(()),
        };
        let due_at = at.plus_ms(retry::gap_ms(retry::refunds(pace), tries));
        let tried = tries.saturating_add(1);
        match outcome {
            RefundOutcome::Done => {
                *refund = RefundStage::Done { at };
                let (ordinal, amount_minor) = (capture.ordinal, capture.amount_minor);
                let attempt = self.order.attempt(ordinal).ok_or(Refusal::AttemptUnknown)?;
                let account = (attempt.channel, &attempt.account);
                let entry = Entry::suspense_refund(account, self.order.currency, amount_minor);
                self.writes.push(Write::Entry(entry));
                self.webhook(WebhookKind::OrderSuspenseRefunded);
            }
            RefundOutcome::NotExist => {
                *refund = RefundStage::Owed { tries: tried, due_at: at };
                self.effects.push(Effect::Refund { capture: index });
            }
            RefundOutcome::Rejected { .. } => *refund = RefundStage::Owed { tries: tried, due_at },
            // In doubt it was the query that was not sent, and that says nothing of the refund.
            RefundOutcome::NotSent { .. } if doubtful => *refund = RefundStage::Doubtful { tries: tried, due_at },
            RefundOutcome::NotSent { .. } => *refund = RefundStage::Owed { tries: tried, due_at },
            RefundOutcome::Unknown { .. } => *refund = RefundStage::Doubtful { tries: tried, due_at },
        }
        Ok(())
    }

    // --- ends ------------------------------------------------------------------------------------------------

    /// The attempt is certainly dead; what was wished for then comes true.
    fn dies(&mut self, ordinal: u8, failure: Option<AttemptFailure>) {
        if let Some(attempt) = self.order.attempts.iter_mut().find(|attempt| attempt.ordinal == ordinal) {
            attempt.state = AttemptState::Dead;
            attempt.failure = failure;
        }
        if self.order.state.is_final() {
            return;
        }
        match self.order.wish {
            Some(Wish::Cancel) => self.fail(OrderFailure::Cancelled),
            Some(Wish::Expiry) => self.fail(OrderFailure::Expired),
            Some(Wish::Switch { channel, method }) => {
                self.order.state = State::Created;
                self.writes.push(Write::WipeNextAction);
                self.effects.push(Effect::Choose { channel, method });
            }
            None => {
                let failure = failure.unwrap_or(AttemptFailure::ChannelDeclined);
                self.order.last_failure = Some(failure);
                if let Some(attempt) = self.order.attempts.iter_mut().find(|attempt| attempt.ordinal == ordinal) {
                    attempt.failure = Some(failure);
                }
                if self.order.attempts.len() >= usize::from(self.order.attempts_max) {
                    self.fail(OrderFailure::AttemptsUsedUp);
                } else {
                    self.order.state = State::Created;
                    self.writes.push(Write::WipeNextAction);
                    self.webhook(WebhookKind::OrderAttemptFailed);
                }
            }
        }
    }

    fn fail(&mut self, failure: OrderFailure) {
        self.order.failure = Some(failure);
        self.finish_as(State::Failed);
        self.webhook(WebhookKind::OrderFailed);
    }

    fn finish_as(&mut self, state: State) {
        assert!(!self.order.state.is_final(), "a final state never changes");
        self.order.state = state;
        self.order.finished_at = Some(self.at);
        self.order.wish = None;
        self.writes.push(Write::WipeNextAction);
    }

    // --- time ------------------------------------------------------------------------------------------------

    fn propose_overdue(&mut self, asking: Asking) {
        let (at, pace) = (self.at, self.order.pace);
        for attempt in &self.order.attempts {
            let ordinal = attempt.ordinal;
            let first_gap = retry::gap_ms(retry::queries(attempt.channel, pace), 0);
            let since = if attempt.is_open() { Some(attempt.paced_from) } else { attempt.claimed_at };
            let due = since.is_some_and(|since| at.since_ms(since) >= first_gap);
            match (asking, attempt.state) {
                (Asking::Due, _) if !due => {}
                (Asking::Everything, _) if since.is_none() => {}
                (Asking::Due, AttemptState::Closing)
                    if attempt.can_be_closed() && attempt.close != CloseStage::Answered =>
                {
                    self.effects.push(Effect::Close { ordinal });
                }
                (
                    Asking::Due | Asking::Everything,
                    AttemptState::Open | AttemptState::Closing | AttemptState::Dead | AttemptState::Captured,
                ) => self.effects.push(Effect::Query { ordinal }),
            }
        }
        self.propose_refunds(asking);
        for attempt in &self.order.attempts {
            if self.order.watch_since(attempt).is_some_and(|since| since <= at) {
                self.effects.push(Effect::Query { ordinal: attempt.ordinal });
            }
        }
        if let (State::Created, Some(Wish::Switch { channel, method })) = (self.order.state, self.order.wish) {
            self.effects.push(Effect::Choose { channel, method });
        }
    }

    fn propose_refunds(&mut self, asking: Asking) {
        for (capture, index) in self.order.captures.iter().zip(0u8..) {
            let Purpose::Suspense { refund, .. } = capture.purpose else { continue };
            match (refund, asking) {
                (RefundStage::Done { .. }, _) => {}
                (RefundStage::Unconfirmed { .. }, _) => self.effects.push(Effect::Query { ordinal: capture.ordinal }),
                (RefundStage::Owed { due_at, .. } | RefundStage::Doubtful { due_at, .. }, _) if due_at > self.at => {}
                (RefundStage::Owed { .. }, Asking::Due) => self.effects.push(Effect::Refund { capture: index }),
                (RefundStage::Owed { .. }, Asking::Everything) | (RefundStage::Doubtful { .. }, _) => {
                    self.effects.push(Effect::QueryRefund { capture: index });
                }
            }
        }
    }
}

impl Reach {
    fn at_least_perhaps(self) -> Self {
        match self {
            Reach::Nowhere | Reach::Perhaps => Reach::Perhaps,
            Reach::Shown => Reach::Shown,
        }
    }
}

impl Attempt {
    /// What is certain by time alone, once the attempt's expiry and the channel's grace have passed.
    fn lapsed(&self, at: Instant) -> Option<Lapse> {
        let rules = self.channel.rules();
        (at > self.expires_at.plus_ms(rules.grace_ms)).then_some(rules.lapse)
    }

    /// Whether a query's answer undoes what a verified callback claimed. One that time could still change does not.
    fn disproves_claim(&self, finding: &Finding, at: Instant) -> bool {
        let certain = match finding {
            Finding::Declined | Finding::Closed => true,
            Finding::Pending => self.lapsed(at) == Some(Lapse::NotExistOrPending),
            Finding::NotExist => self.lapsed(at).is_some_and(|lapse| lapse != Lapse::Never),
            Finding::Paid { .. } | Finding::Unknown { .. } => false,
        };
        certain && self.claimed_at.is_some_and(|since| at.since_ms(since) >= CLAIM_STANDS_MS)
    }
}
