//! Captures: what pays an order, and suspense.

use std::cmp::Ordering;

use super::{Draft, Told, Witness};
use crate::domain::channel::Proof;
use crate::domain::dated::Dated;
use crate::domain::event::{Effect, Refusal, WebhookKind, Write};
use crate::domain::id::Round;
use crate::domain::ledger::{Entry, Parts};
use crate::domain::note::{AttemptEnd, Note};
use crate::domain::order::{AttemptFailure, AttemptState, Capture, Order, Purpose, State, SuspenseReason};
use crate::domain::refund::{Cause, Refund, Stage};
use crate::domain::splits;

impl Draft {
    pub(super) fn capture(&mut self, ordinal: u8, told: Told<'_>, witness: Witness) -> Result<(), Refusal> {
        let Told { reference, amount_minor, dated } = told;
        if let Some(index) = self.known_capture(ordinal, reference) {
            return self.capture_again(index, ordinal, amount_minor, witness);
        }
        let at = self.at;
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
        let attempt = self.order.attempt(ordinal).ok_or(Refusal::AttemptUnknown)?;
        let (booking, plausible) = self.order.booking(attempt, (dated, attempt.opened_at, at));
        let effective = booking.effective;
        self.note_implausible(plausible);
        let index = u16::try_from(self.order.captures.len()).map_err(|_| Refusal::OutOfPlace)?;
        self.writes.push(Write::Capture { index });
        self.order.captures.reserve_exact(1);
        self.order.captures.push(Capture {
            ordinal,
            reference: reference.into(),
            amount_minor,
            at,
            effective_at: effective.at,
            bill_day: effective.bill_day,
            purpose: reason.map_or(Purpose::Payment, Purpose::Suspense),
        });
        match reason {
            None => self.succeed(ordinal, dated),
            Some(_) => self.book_suspense(ordinal, index, told, witness),
        }
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
        let known = &self.order.captures[usize::from(index)];
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
        let stage = self.order.suspense_refund(index).map(|refund| refund.stage);
        match (stage, witness) {
            (Some(Stage::Unconfirmed { .. }), Witness::Query) => self.suspense_confirmed(index),
            (Some(Stage::Unconfirmed { .. }), Witness::Callback) => {
                self.effects.push(Effect::Query { ordinal });
                Ok(())
            }
            (
                None
                | Some(
                    Stage::Waiting { .. }
                    | Stage::Owed { .. }
                    | Stage::Doubtful { .. }
                    | Stage::Succeeded { .. }
                    | Stage::Failed { .. }
                    | Stage::Returned { .. },
                ),
                Witness::Callback | Witness::Query,
            ) => Ok(()),
        }
    }

    /// The first capture of the amount asked: it beats every wish, and all other open attempts are closed.
    fn succeed(&mut self, ordinal: u8, dated: Dated) -> Result<(), Refusal> {
        let attempt = self.attempt_mut(ordinal)?;
        attempt.state = AttemptState::Captured;
        attempt.failure = None;
        let order = &self.order;
        let attempt = order.attempt(ordinal).ok_or(Refusal::AttemptUnknown)?;
        // Shares are at most the amount: that was checked when the order was created.
        let parts = splits::divide(order.amount_minor, &order.splits).ok_or(Refusal::OutOfPlace)?;
        let others = order.others(&parts);
        let (booking, _) = order.booking(attempt, (dated, attempt.opened_at, self.at));
        let seller_minor = parts.first().copied().unwrap_or_default();
        let entry = Entry::payment(&booking, Parts { seller_minor, others: &others }, order.fee(attempt.fee_minor));
        let account = attempt.account.clone();
        self.notes.push(Note::AttemptEnded { ordinal, account, end: AttemptEnd::Paid });
        self.book(entry);
        self.finish_as(State::Succeeded);
        self.order.last_failure = None;
        self.webhook(WebhookKind::OrderSucceeded);
        self.close_open_attempts();
        Ok(())
    }

    fn book_suspense(&mut self, ordinal: u8, capture: u16, told: Told<'_>, witness: Witness) -> Result<(), Refusal> {
        let (now, amount_minor) = (self.now, told.amount_minor);
        let attempt = self.order.attempt(ordinal).ok_or(Refusal::AttemptUnknown)?;
        let (booking, _) = self.order.booking(attempt, (told.dated, attempt.opened_at, self.at));
        let entry = Entry::suspense(&booking, amount_minor);
        let is_open = attempt.is_open();
        let failure = match amount_minor.cmp(&attempt.payable_minor) {
            Ordering::Less => Some(AttemptFailure::AmountInsufficient),
            Ordering::Greater => Some(AttemptFailure::AmountMismatch),
            Ordering::Equal => None,
        };
        self.book(entry);
        let stage = match witness {
            Witness::Query => Stage::Owed { tries: 0, due_at: now },
            Witness::Callback => Stage::Unconfirmed { since: now },
        };
        let refund = self.open_refund(Refund {
            capture,
            cause: Cause::Suspense,
            amount_minor,
            incarnation: self.incarnation,
            round: Round::FIRST,
            paid_earlier: None,
            dated_at: now,
            stage,
            attention: None,
            reference: None,
        })?;
        if is_open {
            self.dies(ordinal, failure);
        }
        match witness {
            Witness::Query => self.suspense_owed(refund, amount_minor),
            Witness::Callback => {
                self.effects.push(Effect::Query { ordinal });
                Ok(())
            }
        }
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
