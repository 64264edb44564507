//! What channels answer.

use super::{Draft, Told, Witness};
use crate::domain::channel::{Closing, Lapse, Unclosed};
use crate::domain::event::{CloseAnswer, Effect, Fault, Finding, Refusal, SendOutcome, Write};
use crate::domain::id::{Account, Incarnation};
use crate::domain::order::{Attempt, AttemptFailure, AttemptState, CloseStage, Order, Reach};
use crate::domain::retry;
use crate::domain::rules::Rulebook;
use crate::domain::time::Instant;

impl Draft {
    pub(super) fn send_answered(&mut self, ordinal: u8, send: u32, outcome: &SendOutcome) -> Result<(), Refusal> {
        let now = self.now;
        let attempt = self.attempt_mut(ordinal)?;
        if send > attempt.sends {
            return Err(Refusal::OutOfPlace);
        }
        if let SendOutcome::Paid { reference, amount_minor, dated } = outcome {
            attempt.answered = attempt.answered.max(send);
            attempt.reach = Reach::Shown;
            let told = Told { reference, amount_minor: *amount_minor, dated: *dated };
            return self.capture(ordinal, told, Witness::Query);
        }
        // An older send's answer never overwrites what a newer one brought.
        if send <= attempt.answered {
            return Ok(());
        }
        attempt.answered = send;
        match outcome {
            SendOutcome::Paid { .. } => {}
            SendOutcome::Accepted { reference } => {
                attempt.paced_from = now;
                if attempt.reference.is_none() {
                    attempt.reference = reference.clone();
                }
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
            SendOutcome::HeldBack { .. } => self.send_refused(ordinal, AttemptFailure::HeldBack),
            SendOutcome::Impossible { .. } => self.send_refused(ordinal, AttemptFailure::ChannelUnsuitable),
            // The attempt lives: its next tick asks, and sends it again.
            SendOutcome::Later { .. } => {
                attempt.paced_from = now;
                match attempt.state {
                    AttemptState::Closing => self.send_refused(ordinal, AttemptFailure::ChannelUnavailable),
                    AttemptState::Open | AttemptState::Dead | AttemptState::Captured => {}
                }
            }
            SendOutcome::Unknown { .. } => {
                attempt.reach = attempt.reach.at_least_perhaps();
                attempt.paced_from = now;
                match attempt.state {
                    AttemptState::Closing => self.propose_close(ordinal),
                    // Somebody waits for what the first send brings. Later ones wait for their tick: at once, a query
                    // that finds nothing and a resend that is lost again would chase each other.
                    AttemptState::Open if send == 1 => self.effects.push(Effect::Query { ordinal }),
                    AttemptState::Open | AttemptState::Dead | AttemptState::Captured => {}
                }
            }
        }
        Ok(())
    }

    /// One send was certainly not taken; the attempt is dead only if no other send of it may have been.
    pub(super) fn send_refused(&mut self, ordinal: u8, failure: AttemptFailure) {
        let book = self.order.rulebook();
        let Some(attempt) = self.order.attempt(ordinal).filter(|attempt| attempt.is_open()) else { return };
        match (attempt.may_exist(), attempt.state) {
            (false, _) => self.dies(ordinal, Some(failure)),
            (true, AttemptState::Closing) => self.propose_close(ordinal),
            // An earlier send may have been taken, though a later one is declined for good: sending and asking would
            // chase each other until the order expires, so the attempt is closed.
            (true, AttemptState::Open)
                if failure == AttemptFailure::ChannelDeclined
                    && attempt.can_be_closed(book)
                    && attempt.reach != Reach::Shown =>
            {
                self.close_open_attempts();
            }
            // An earlier send may have been taken. Asking waits for its tick: at once, a query that finds nothing and
            // a resend that is refused again would chase each other.
            (true, AttemptState::Open | AttemptState::Dead | AttemptState::Captured) => {}
        }
    }

    pub(super) fn propose_close(&mut self, ordinal: u8) {
        let book = self.order.rulebook();
        let Some(attempt) = self.order.attempt(ordinal) else { return };
        let ask = attempt.can_be_closed(book) && attempt.close != CloseStage::Answered;
        self.effects.push(if ask { Effect::Close { ordinal } } else { Effect::Query { ordinal } });
    }

    /// What was found by a question of `asked_at`: only what time had made certain by then is certain.
    pub(super) fn found(&mut self, ordinal: u8, finding: &Finding, asked_at: Instant) -> Result<(), Refusal> {
        let (asked_at, book) = (asked_at.min(self.now), self.order.rulebook());
        let attempt = self.attempt_mut(ordinal)?;
        match finding {
            Finding::Unknown { .. } => return Ok(()),
            Finding::Paid { reference, amount_minor, dated } => {
                attempt.claimed_at = None;
                attempt.reach = Reach::Shown;
                let told = Told { reference, amount_minor: *amount_minor, dated: *dated };
                self.capture(ordinal, told, Witness::Query)?;
                self.looked_again(ordinal, asked_at);
                return Ok(());
            }
            Finding::Pending | Finding::NotExist | Finding::Declined | Finding::Closed => {
                if attempt.disproves_claim(finding, asked_at, book) {
                    attempt.claimed_at = None;
                }
            }
        }
        if !self.order.attempts.iter().any(|attempt| attempt.ordinal == ordinal && attempt.is_open()) {
            self.looked_again(ordinal, asked_at);
            return Ok(());
        }
        match finding {
            Finding::Unknown { .. } | Finding::Paid { .. } => {}
            Finding::Pending => self.still_there(ordinal, asked_at)?,
            Finding::NotExist => self.not_there(ordinal, asked_at)?,
            Finding::Declined => self.dies(ordinal, Some(AttemptFailure::ChannelDeclined)),
            Finding::Closed => self.dies(ordinal, None),
        }
        Ok(())
    }

    /// A person's word, with evidence: it may tell what no query does, but not against money that is on record.
    pub(super) fn resolved(&mut self, ordinal: u8, finding: &Finding) -> Result<(), Refusal> {
        let contradicts = match finding {
            Finding::Paid { reference, amount_minor, .. } => self.order.contradicts(ordinal, reference, *amount_minor),
            Finding::NotExist | Finding::Declined | Finding::Closed => {
                self.order.captures.iter().any(|capture| capture.ordinal == ordinal)
            }
            Finding::Pending | Finding::Unknown { .. } => false,
        };
        if contradicts { Err(Refusal::CaptureContradicts) } else { self.found(ordinal, finding, self.now) }
    }

    /// An attempt of a failed order was looked at again: that settles every look at it that was due when it was asked
    /// for, whatever was found.
    pub(super) fn looked_again(&mut self, ordinal: u8, asked_at: Instant) {
        let is_due =
            |order: &Order, attempt: &Attempt| order.watch_since(attempt).is_some_and(|since| since <= asked_at);
        while self.order.attempt(ordinal).is_some_and(|attempt| is_due(&self.order, attempt)) {
            if let Some(attempt) = self.order.attempts.iter_mut().find(|attempt| attempt.ordinal == ordinal) {
                attempt.watched += 1;
            }
        }
    }

    /// The channel knows the attempt and waits for the payer.
    pub(super) fn still_there(&mut self, ordinal: u8, asked_at: Instant) -> Result<(), Refusal> {
        let book = self.order.rulebook();
        let attempt = self.attempt_mut(ordinal)?;
        attempt.reach = attempt.reach.at_least_perhaps();
        match attempt.lapsed(asked_at, book) {
            Some(Lapse::NotExistOrPending) => self.dies(ordinal, None),
            Some(Lapse::Never | Lapse::NotExist) | None => self.ask_on(ordinal)?,
        }
        Ok(())
    }

    pub(super) fn not_there(&mut self, ordinal: u8, asked_at: Instant) -> Result<(), Refusal> {
        let book = self.order.rulebook();
        match self.attempt_mut(ordinal)?.lapsed(asked_at, book) {
            Some(Lapse::NotExist | Lapse::NotExistOrPending) => self.dies(ordinal, None),
            Some(Lapse::Never) | None => self.ask_on(ordinal)?,
        }
        Ok(())
    }

    /// Nothing is certain yet. What was never shown to the payer is sent again, byte for byte; a wish to close is
    /// put to the channel if it was not before; the rest waits for its next query.
    pub(super) fn ask_on(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let (now, book) = (self.now, self.order.rulebook());
        let attempt = self.attempt_mut(ordinal)?;
        match attempt.state {
            AttemptState::Open => {
                // A send that is still unanswered when the first query falls due was lost, by a crash for instance.
                let answer_due_at = attempt.paced_from.plus_ms(retry::gap_ms(attempt.queries(book), 0));
                let under_way = attempt.sends > attempt.answered && now < answer_due_at;
                if attempt.reach != Reach::Shown && !under_way && now < attempt.expires_at {
                    self.send_again(ordinal)?;
                }
            }
            AttemptState::Closing if attempt.close == CloseStage::NotAsked && attempt.can_be_closed(book) => {
                self.effects.push(Effect::Close { ordinal });
            }
            AttemptState::Closing | AttemptState::Dead | AttemptState::Captured => {}
        }
        Ok(())
    }

    pub(super) fn close_answered(&mut self, ordinal: u8, answer: &CloseAnswer) -> Result<(), Refusal> {
        let book = self.order.rulebook();
        let attempt = self.attempt_mut(ordinal)?;
        if !attempt.is_open() {
            return Ok(());
        }
        match (answer, book.channel(attempt.channel()).closing) {
            (CloseAnswer::Closed, Closing::Certain) => self.dies(ordinal, None),
            (CloseAnswer::Closed, Closing::Confirmed) => {
                attempt.close = CloseStage::Answered;
                self.effects.push(Effect::Query { ordinal });
            }
            // What a close could not end may have been paid or may never have been there: only a query tells.
            (
                CloseAnswer::AlreadyPaid | CloseAnswer::NotExist | CloseAnswer::Unknown { .. },
                Closing::Certain | Closing::Confirmed,
            ) => {
                attempt.close = CloseStage::Asked;
                self.effects.push(Effect::Query { ordinal });
                if *answer == CloseAnswer::NotExist {
                    self.give_switch_up(ordinal)?;
                }
            }
            (
                CloseAnswer::Closed | CloseAnswer::AlreadyPaid | CloseAnswer::NotExist | CloseAnswer::Unknown { .. },
                Closing::Impossible,
            ) => return Err(Refusal::OutOfPlace),
        }
        Ok(())
    }

    pub(super) fn callback(
        &mut self,
        (ordinal, opened_in): (u8, Incarnation),
        account: &Account,
        (told, currency): (Told<'_>, &str),
    ) -> Result<(), Refusal> {
        let attempt = self.attempt_mut(ordinal)?;
        // Another attempt had this ordinal, in a life of the store that it does not remember.
        if attempt.incarnation != opened_in {
            return Err(Refusal::AttemptUnknown);
        }
        if attempt.account != *account {
            return Err(Refusal::AccountDiffers);
        }
        if currency != self.order.currency.code() {
            return self.claim(ordinal);
        }
        self.capture(ordinal, told, Witness::Callback)
    }
}

impl Reach {
    pub(super) fn at_least_perhaps(self) -> Self {
        match self {
            Reach::Nowhere | Reach::Perhaps => Reach::Perhaps,
            Reach::Shown => Reach::Shown,
        }
    }
}

impl Attempt {
    /// What an answer makes certain by time alone: it was asked for after the attempt's expiry and the channel's grace.
    pub(super) fn lapsed(&self, asked_at: Instant, book: Rulebook) -> Option<Lapse> {
        let rules = book.channel(self.channel());
        let lapse = match (rules.unclosed, self.reach) {
            // It was there when it was shown, and nothing but a close ends it.
            (Unclosed::Lives, Reach::Shown) => Lapse::Never,
            (Unclosed::Lives, Reach::Nowhere | Reach::Perhaps)
            | (Unclosed::Ends, Reach::Nowhere | Reach::Perhaps | Reach::Shown) => rules.lapse,
        };
        (asked_at > self.lapses_at(book)).then_some(lapse)
    }

    /// When its channel has stopped changing its mind.
    pub(super) fn lapses_at(&self, book: Rulebook) -> Instant {
        self.expires_at.plus_ms(book.grace_ms(self.channel()))
    }

    /// Whether time has ended it, so that a query is all that is missing. A channel refuses to close what has ended or
    /// what it never knew; such a refusal may open the breaker and keep the query behind it from leaving, every time.
    pub(super) fn needs_asking(&self, at: Instant, book: Rulebook) -> bool {
        match book.channel(self.channel()).unclosed {
            Unclosed::Ends => self.lapsed(at, book).is_some_and(|lapse| lapse != Lapse::Never),
            // Only a close ends what is there; it finds out whether it is, and a query follows if it is not.
            Unclosed::Lives => false,
        }
    }

    /// Whether a query's answer undoes what a verified callback claimed. One that time could still change does not.
    pub(super) fn disproves_claim(&self, finding: &Finding, asked_at: Instant, book: Rulebook) -> bool {
        let certain = match finding {
            Finding::Declined | Finding::Closed => true,
            Finding::Pending => self.lapsed(asked_at, book) == Some(Lapse::NotExistOrPending),
            Finding::NotExist => self.lapsed(asked_at, book).is_some_and(|lapse| lapse != Lapse::Never),
            Finding::Paid { .. } | Finding::Unknown { .. } => false,
        };
        certain && self.claimed_at.is_some_and(|since| asked_at.since_ms(since) >= book.claim_stands_ms())
    }
}
