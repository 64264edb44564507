//! Captures, suspense and its way back.

use std::cmp::Ordering;

use super::{Draft, Witness};
use crate::domain::channel::Proof;
use crate::domain::event::{Effect, RefundOutcome, Refusal, WebhookKind, Write};
use crate::domain::id::Round;
use crate::domain::ledger::Entry;
use crate::domain::note::{AttemptEnd, Note};
use crate::domain::order::{
    AttemptFailure, AttemptState, Capture, FeeBearer, Order, Purpose, RefundStage, State, SuspenseReason,
};
use crate::domain::retry;

impl Draft {
    pub(super) fn capture(
        &mut self,
        ordinal: u8,
        reference: &str,
        amount_minor: i64,
        witness: Witness,
    ) -> Result<(), Refusal> {
        if let Some(index) = self.known_capture(ordinal, reference) {
            return self.capture_again(index, ordinal, amount_minor, witness);
        }
        let (now, at, incarnation) = (self.now, self.at, self.incarnation);
        let (final_state, book) = (self.order.state, self.order.rulebook());
        let attempt = self.attempt_mut(ordinal)?;
        let matching = amount_minor == attempt.payable_minor;
        let proven = match (witness, book.channel(attempt.channel()).proof) {
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
                let refund = RefundStage::Owed { tries: 0, due_at: now };
                Purpose::Suspense { reason, round: Round::FIRST, incarnation, dated_at: now, refund }
            }
            (Some(reason), Witness::Callback) => {
                let refund = RefundStage::Unconfirmed { since: now };
                Purpose::Suspense { reason, round: Round::FIRST, incarnation, dated_at: now, refund }
            }
        };
        let index = u16::try_from(self.order.captures.len()).map_err(|_| Refusal::OutOfPlace)?;
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
    pub(super) fn claim(&mut self, ordinal: u8) -> Result<(), Refusal> {
        let now = self.now;
        let attempt = self.attempt_mut(ordinal)?;
        attempt.claimed_at = attempt.claimed_at.or(Some(now));
        self.effects.push(Effect::Query { ordinal });
        Ok(())
    }

    pub(super) fn known_capture(&self, ordinal: u8, reference: &str) -> Option<u16> {
        let place = self.order.captures.iter().position(|capture| self.order.is_of(capture, ordinal, reference))?;
        u16::try_from(place).ok()
    }

    pub(super) fn capture_again(
        &mut self,
        index: u16,
        ordinal: u8,
        amount_minor: i64,
        witness: Witness,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let known = &mut self.order.captures[usize::from(index)];
        if known.differs(ordinal, amount_minor) {
            return match witness {
                Witness::Callback => Err(Refusal::CaptureContradicts),
                // What is booked stands, and suspense that is not confirmed by this goes on being asked for. Refused,
                // it would also keep claims and looks open that this answer settles.
                Witness::Query => {
                    self.notes.push(Note::CaptureContradicted { capture: index, ordinal });
                    Ok(())
                }
            };
        }
        match (&mut known.purpose, witness) {
            (Purpose::Suspense { dated_at, refund: refund @ RefundStage::Unconfirmed { .. }, .. }, Witness::Query) => {
                *dated_at = now;
                *refund = RefundStage::Owed { tries: 0, due_at: now };
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
    pub(super) fn succeed(&mut self, ordinal: u8) {
        let order = &mut self.order;
        let attempt = order
            .attempts
            .iter_mut()
            .find(|attempt| attempt.ordinal == ordinal)
            .expect("a capture belongs to an attempt of its order");
        attempt.state = AttemptState::Captured;
        attempt.failure = None;
        let account = &attempt.account;
        let money = (order.amount_minor, attempt.fee_minor);
        let entry = match order.fee_bearer {
            FeeBearer::Payer => Entry::payment_by_payer(account, order.platform, order.currency, money),
            FeeBearer::Platform => Entry::payment_by_platform(account, order.platform, order.currency, money),
        };
        let account = account.clone();
        self.notes.push(Note::AttemptEnded { ordinal, account, end: AttemptEnd::Paid });
        self.book(entry);
        self.finish_as(State::Succeeded);
        self.order.last_failure = None;
        self.webhook(WebhookKind::OrderSucceeded);
        self.close_open_attempts();
    }

    pub(super) fn book_suspense(&mut self, ordinal: u8, capture: u16, amount_minor: i64, witness: Witness) {
        let Some(attempt) = self.order.attempt(ordinal) else { return };
        let entry = Entry::suspense(&attempt.account, self.order.currency, amount_minor);
        let is_open = attempt.is_open();
        let failure = match amount_minor.cmp(&attempt.payable_minor) {
            Ordering::Less => Some(AttemptFailure::AmountInsufficient),
            Ordering::Greater => Some(AttemptFailure::AmountMismatch),
            Ordering::Equal => None,
        };
        self.book(entry);
        if is_open {
            self.dies(ordinal, failure);
        }
        self.effects.push(match witness {
            Witness::Query => Effect::Refund { capture },
            Witness::Callback => Effect::Query { ordinal },
        });
    }

    pub(super) fn refund_answered(&mut self, index: u16, asked: Round, outcome: &RefundOutcome) -> Result<(), Refusal> {
        let (now, at, book) = (self.now, self.at, self.order.rulebook());
        let capture = self.order.captures.get_mut(usize::from(index)).ok_or(Refusal::OutOfPlace)?;
        let Purpose::Suspense { round, dated_at, refund, .. } = &mut capture.purpose else {
            return Err(Refusal::OutOfPlace);
        };
        let (tries, doubtful) = match refund {
            RefundStage::Owed { tries, .. } => (*tries, false),
            RefundStage::Doubtful { tries, .. } => (*tries, true),
            RefundStage::Unconfirmed { .. } => return Err(Refusal::OutOfPlace),
            RefundStage::Done { .. } => return Ok(()),
        };
        match asked.cmp(round) {
            Ordering::Equal => {}
            // A call of a round that is over was still under way. That money went back is true of any number; whatever
            // else it tells is about a number that is dead, and not about the one that took its place.
            Ordering::Less if *outcome == RefundOutcome::Done => {}
            Ordering::Less => return Ok(()),
            Ordering::Greater => return Err(Refusal::OutOfPlace),
        }
        let due_at = now.plus_ms(retry::gap_ms(book.refunds(), tries));
        let tried = tries.saturating_add(1);
        let doubt = RefundStage::Doubtful { tries: tried, due_at };
        match (outcome, book.next_round_ms(*round)) {
            (RefundOutcome::Done, _) => {
                *refund = RefundStage::Done { at };
                let (ordinal, amount_minor) = (capture.ordinal, capture.amount_minor);
                let attempt = self.order.attempt(ordinal).ok_or(Refusal::AttemptUnknown)?;
                let entry = Entry::suspense_refund(&attempt.account, self.order.currency, amount_minor);
                self.book(entry);
                self.webhook(WebhookKind::OrderSuspenseRefunded);
            }
            (RefundOutcome::NotExist, _) => {
                // What was asked about may still be on its way.
                *refund = doubt;
                self.effects.push(Effect::Refund { capture: index });
            }
            // The channel waits for somebody, or no number is left to try.
            (RefundOutcome::Stuck { .. }, _) | (RefundOutcome::Spent { .. } | RefundOutcome::Dead { .. }, None) => {
                *refund = doubt;
                self.notes.push(Note::RefundStuck { capture: index });
            }
            // It judges one send, and says nothing of those before it.
            (RefundOutcome::Rejected { .. } | RefundOutcome::Spent { .. } | RefundOutcome::NotSent { .. }, _)
                if doubtful =>
            {
                *refund = doubt;
            }
            (RefundOutcome::Rejected { .. } | RefundOutcome::NotSent { .. }, _) => {
                *refund = RefundStage::Owed { tries: tried, due_at };
            }
            // Nothing but certainty opens a round: under another number what may still be paid would be paid twice.
            (RefundOutcome::Spent { .. } | RefundOutcome::Dead { .. }, Some(gap_ms)) => {
                *round = round.next();
                *dated_at = now.plus_ms(gap_ms);
                *refund = RefundStage::Owed { tries: 0, due_at: *dated_at };
            }
            (RefundOutcome::Unknown { .. }, _) => *refund = doubt,
        }
        Ok(())
    }
}

impl Order {
    /// Whether this capture is money of that reference, at the account of that attempt.
    fn is_of(&self, capture: &Capture, ordinal: u8, reference: &str) -> bool {
        let account = |ordinal| self.attempt(ordinal).map(|attempt| &attempt.account);
        &*capture.reference == reference && account(capture.ordinal) == account(ordinal)
    }

    /// Whether this money is on record with another amount or by another attempt: a person must look at it.
    pub(super) fn contradicts(&self, ordinal: u8, reference: &str, amount_minor: i64) -> bool {
        let known = self.captures.iter().find(|capture| self.is_of(capture, ordinal, reference));
        known.is_some_and(|capture| capture.differs(ordinal, amount_minor))
    }
}

impl Capture {
    fn differs(&self, ordinal: u8, amount_minor: i64) -> bool {
        self.amount_minor != amount_minor || self.ordinal != ordinal
    }
}
