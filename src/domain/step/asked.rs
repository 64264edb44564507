//! What payers and platforms ask for, and the deadline.

use super::{Draft, OVERDUE_GAP_MS};
use crate::domain::channel::{Channel, Method};
use crate::domain::event::{Effect, Refusal, Verdict, Write};
use crate::domain::id::Account;
use crate::domain::merchant::Merchant;
use crate::domain::note::Note;
use crate::domain::order::{
    Attempt, AttemptFailure, AttemptState, CloseStage, Order, OrderFailure, Reach, State, Wish,
};
use crate::domain::rules::Rulebook;
use crate::domain::time::Instant;

impl Attempt {
    /// Why another channel has to wait for this attempt: it cannot be closed, so only time ends it.
    fn holds_back(&self, at: Instant, book: Rulebook) -> Refusal {
        let until = self.lapses_at(book);
        Refusal::AttemptOpen { retry_after_ms: until.since_ms(at).max(OVERDUE_GAP_MS), until: Some(until) }
    }
}

impl Order {
    /// What holds back a payer who asked for another way to pay than this attempt, if it was not closed for that.
    pub fn held_back_by(&self, ordinal: u8, now: Instant) -> Option<Refusal> {
        let open = self.attempt(ordinal).filter(|attempt| attempt.state == AttemptState::Open)?;
        Some(open.holds_back(now, self.rulebook()))
    }
}

impl Draft {
    pub(super) fn choose(&mut self, channel: Channel, method: Method) -> Result<(), Refusal> {
        let used_up = self.order.attempts_used_up();
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
                let ordinal = open.ordinal;
                if open.state == AttemptState::Open && open.is_renewed_by(channel, method, self.now) {
                    self.refresh(ordinal)
                } else if !open.can_be_closed(self.order.rulebook()) {
                    Err(open.holds_back(self.now, self.order.rulebook()))
                } else if used_up {
                    Err(Refusal::AttemptsUsedUp)
                } else {
                    self.wish(Wish::Switch { channel, method })
                }
            }
        }
    }

    /// The payer asks again on the same channel: the frozen request goes out once more for a fresh `next_action`.
    pub(super) fn refresh(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let attempt = self.attempt_mut(ordinal)?;
        if attempt.sends == attempt.answered {
            self.send_again(ordinal)?;
        }
        Ok(())
    }

    pub(super) fn send_again(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let now = self.now;
        let attempt = self.attempt_mut(ordinal)?;
        // After four thousand million sends it is only asked about.
        let Some(send) = attempt.sends.checked_add(1) else { return Ok(()) };
        if attempt.sends > attempt.answered {
            // Nobody will ever tell what became of the send before.
            attempt.reach = attempt.reach.at_least_perhaps();
        }
        attempt.sends = send;
        attempt.paced_from = now;
        self.effects.push(Effect::Submit { ordinal, send });
        Ok(())
    }

    pub(super) fn cancel(&mut self) -> Result<(), Refusal> {
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

    pub(super) fn deadline(&mut self) -> Result<(), Refusal> {
        let passed = self.now >= self.order.expires_at;
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
    pub(super) fn wish(&mut self, wish: Wish) -> Result<(), Refusal> {
        if self.order.wish.is_some_and(|standing| !standing.gives_way_to(wish)) {
            return Err(Refusal::AttemptOpen { retry_after_ms: OVERDUE_GAP_MS, until: None });
        }
        self.order.wish = Some(wish);
        self.close_open_attempts();
        Ok(())
    }

    /// There is nothing to close yet, and what the payer was shown can be opened and paid until its time is over. A
    /// switch does not wait so long: it is given up, and the payer may go on with what is open. A cancel or an expiry
    /// waits.
    pub(super) fn give_switch_up(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let (now, wish, book) = (self.now, self.order.wish, self.order.rulebook());
        let attempt = self.attempt_mut(ordinal)?;
        let lives = attempt.state == AttemptState::Closing && attempt.reach == Reach::Shown;
        if let (Some(Wish::Switch { .. }), true, None) = (wish, lives, attempt.lapsed(now, book)) {
            attempt.state = AttemptState::Open;
            attempt.paced_from = now;
            self.order.wish = None;
        }
        Ok(())
    }

    pub(super) fn close_open_attempts(&mut self) {
        let (now, book) = (self.now, self.order.rulebook());
        // What was only ever put off by its channel is not there to be closed.
        let open = self.order.attempts.iter().filter(|attempt| attempt.state == AttemptState::Open);
        let absent: Vec<u8> = open.filter(|attempt| !attempt.may_exist()).map(|attempt| attempt.ordinal).collect();
        for ordinal in absent {
            self.dies(ordinal, Some(AttemptFailure::ChannelUnavailable));
        }
        for attempt in &mut self.order.attempts {
            if attempt.state == AttemptState::Open {
                attempt.state = AttemptState::Closing;
                attempt.paced_from = now;
                let ordinal = attempt.ordinal;
                self.effects.push(if attempt.can_be_closed(book) {
                    Effect::Close { ordinal }
                } else {
                    Effect::Query { ordinal }
                });
            }
        }
    }

    pub(super) fn validated(&mut self, channel: Channel, method: Method, verdict: &Verdict) -> Result<(), Refusal> {
        match self.order.state {
            State::Created | State::Submitted | State::Succeeded | State::Failed => Err(Refusal::OutOfPlace),
            State::Validating => {
                match verdict {
                    Verdict::Suitable { account, .. } if account.channel() != channel => {
                        return Err(Refusal::OutOfPlace);
                    }
                    Verdict::Suitable { account, merchant, expires_at } => {
                        self.open((account, *merchant), method, *expires_at);
                    }
                    Verdict::Unsuitable { failure } => self.back_to_created(*failure),
                    Verdict::RiskRefused { .. } => self.fail(OrderFailure::RiskRefused),
                }
                Ok(())
            }
        }
    }

    pub(super) fn back_to_created(&mut self, failure: AttemptFailure) {
        self.order.state = State::Created;
        self.order.last_failure = Some(failure);
    }

    pub(super) fn open(&mut self, (account, merchant): (&Account, Merchant), method: Method, expires_at: Instant) {
        let Some(quote) = self.order.quote(account.channel(), method) else {
            return self.back_to_created(AttemptFailure::ChannelUnsuitable);
        };
        let ordinal = u8::try_from(self.order.attempts.len()).expect("attempts are bounded by the ordinals");
        // Exactly one more: an actor keeps the order in memory, and most orders have one attempt and one capture.
        self.order.attempts.reserve_exact(1);
        self.order.attempts.push(Attempt {
            ordinal,
            incarnation: self.incarnation,
            account: account.clone(),
            merchant,
            method,
            payable_minor: quote.payable_minor,
            fee_minor: quote.fee_minor,
            state: AttemptState::Open,
            opened_at: self.now,
            expires_at,
            paced_from: self.now,
            sends: 1,
            answered: 0,
            reach: Reach::Nowhere,
            close: CloseStage::NotAsked,
            claimed_at: None,
            watched: 0,
            failure: None,
            reference: None,
        });
        self.notes.push(Note::AttemptOpened { ordinal });
        self.reach(State::Submitted);
        self.writes.push(Write::OpenAttempt { ordinal });
        self.effects.push(Effect::Submit { ordinal, send: 1 });
    }
}
