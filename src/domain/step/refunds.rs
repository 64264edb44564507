//! Refunds, of what platforms ask for and of suspense: one machine for both.

use super::{Asking, Draft};
use crate::domain::channel::{BilledBy, Proof};
use crate::domain::dated::{Dated, Plausible};
use crate::domain::event::{
    Effect, Hold, RefundOutcome, RefundResolution, RefundWord, Refusal, Rejection, RowChange, WebhookKind, Write,
};
use crate::domain::id::{Account, RefundOrdinal, Round};
use crate::domain::ledger::{Booking, Entry, Fee, Parts};
use crate::domain::note::Note;
use crate::domain::order::State;
use crate::domain::refund::{
    Asked, Attention, Cause, FeePolicy, LastNumber, PaidEarlier, PaidFrom, Refund, RefundFailure, Stage,
};
use crate::domain::retry;
use crate::domain::time::Instant;

impl Draft {
    /// A platform wants money back at the payer. What goes back is taken from its parties now, so that nothing can be
    /// refunded twice; whether it can be sent at once depends on what its channel wants between two refunds.
    pub(super) fn refund_asked(&mut self, amount_minor: i64, fee_policy: FeePolicy) -> Result<(), Refusal> {
        let (now, book) = (self.now, self.order.rulebook());
        match self.order.state {
            State::Created | State::Validating | State::Submitted | State::Failed => return Err(Refusal::OrderNotPaid),
            State::Succeeded => {}
        }
        let (capture, payment) = self.order.payment().ok_or(Refusal::OrderNotPaid)?;
        let channel = self.order.attempt(payment.ordinal).ok_or(Refusal::AttemptUnknown)?.channel();
        let refunding = &book.channel(channel).refunding;
        if refunding.is_over(channel, payment.effective_at, now) {
            return Err(Refusal::RefundWindowOver);
        }
        let used: u32 = self.order.asked_refunds().map(|(refund, _)| refund.numbers_used()).sum();
        let limit = Refusal::RefundLimit { most: refunding.most };
        if used >= u32::from(refunding.most) {
            return Err(limit);
        }
        let ordinal = RefundOrdinal::after(self.order.asked_refunds().count()).ok_or(limit)?;
        let left = self.order.left().ok_or(Refusal::OutOfPlace)?;
        let remaining_minor = left.refundable_minor(fee_policy);
        if amount_minor > remaining_minor || amount_minor <= 0 {
            return Err(Refusal::RefundExceeds { remaining_minor });
        }
        let (parts, fee_minor) = left.give(amount_minor, fee_policy).ok_or(Refusal::OutOfPlace)?;
        // Those that wait have their turns already.
        let others = self.order.refunds.iter().filter(|refund| refund.capture == capture);
        let due_at = turn_beside(others, now, book.refund_pause_ms(channel));
        let stage = if due_at > now { Stage::Waiting { due_at } } else { Stage::Owed { tries: 0, due_at } };
        let asked = Asked { ordinal, fee_policy, parts, fee_minor };
        let index = self.open_refund(Refund {
            capture,
            cause: Cause::Asked(asked),
            amount_minor,
            incarnation: self.incarnation,
            round: Round::FIRST,
            paid_earlier: None,
            dated_at: due_at,
            stage,
            attention: None,
            reference: None,
        })?;
        self.writes.push(Write::Refund { index, change: RowChange::New });
        self.book_asked(index, Dated::NOT_TOLD, Entry::refund_created)?;
        match stage {
            Stage::Owed { .. } => self.effects.push(Effect::Refund { refund: index }),
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Doubtful { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => {}
        }
        Ok(())
    }

    pub(super) fn open_refund(&mut self, refund: Refund) -> Result<u16, Refusal> {
        let index = u16::try_from(self.order.refunds.len()).map_err(|_| Refusal::OutOfPlace)?;
        // Most orders that have one have one.
        self.order.refunds.reserve_exact(1);
        self.order.refunds.push(refund);
        Ok(index)
    }

    /// A query confirmed suspense money: it is to go back from now on.
    pub(super) fn suspense_confirmed(&mut self, capture: u16) -> Result<(), Refusal> {
        let (now, mut confirmed) = (self.now, None);
        for (refund, index) in self.order.refunds.iter_mut().zip(0u16..) {
            if refund.capture == capture && refund.is_of_suspense() && matches!(refund.stage, Stage::Unconfirmed { .. })
            {
                refund.dated_at = now;
                refund.stage = Stage::Owed { tries: 0, due_at: now };
                confirmed = Some((index, refund.amount_minor));
            }
        }
        let Some((index, amount_minor)) = confirmed else { return Ok(()) };
        self.suspense_owed(index, amount_minor)
    }

    /// Suspense money leaves suspense and waits for its channel.
    pub(super) fn suspense_owed(&mut self, index: u16, amount_minor: i64) -> Result<(), Refusal> {
        self.book_refund(index, Dated::NOT_TOLD, |booking| Entry::suspense_refund(booking, amount_minor))?;
        self.effects.push(Effect::Refund { refund: index });
        Ok(())
    }

    pub(super) fn refund_answered(
        &mut self,
        index: u16,
        asked: Round,
        asked_at: Instant,
        outcome: &RefundOutcome,
    ) -> Result<(), Refusal> {
        let refund = self.refund(index)?;
        if asked > refund.round {
            return Err(Refusal::OutOfPlace);
        }
        match refund.stage {
            Stage::Unconfirmed { .. } | Stage::Waiting { .. } => Err(Refusal::OutOfPlace),
            Stage::Owed { .. } | Stage::Doubtful { .. } if asked < refund.round => {
                self.earlier_number_told(index, asked, outcome)
            }
            Stage::Owed { .. } | Stage::Doubtful { .. } => self.refund_goes_on(index, asked_at, outcome),
            Stage::Succeeded { .. } | Stage::Failed { .. } | Stage::Returned { .. }
                if asked != refund.paying_round() =>
            {
                self.other_number_told(index, (asked, asked_at), outcome)
            }
            Stage::Succeeded { paid_from: PaidFrom::Channel, .. } => self.refund_looked_at(index, asked_at, outcome),
            Stage::Succeeded { paid_from: PaidFrom::Bank, .. } | Stage::Failed { .. } => {
                self.contradicted_if_paid(index, outcome);
                Ok(())
            }
            Stage::Returned { .. } => Ok(()),
        }
    }

    /// What a channel tells of an earlier number of a refund that is under way. By its own word that number was dead; if
    /// it has paid it all the same, the payer has the money, and the last number must not go again. Whatever else it
    /// tells says nothing of the number that took its place.
    fn earlier_number_told(&mut self, index: u16, round: Round, outcome: &RefundOutcome) -> Result<(), Refusal> {
        let Some(paid) = outcome.paid() else { return Ok(()) };
        let (now, book) = (self.now, self.order.rulebook());
        let due_at = now.plus_ms(retry::gap_ms(book.refunds(), 0));
        // Whether the last number was sent, nobody can tell for certain: a call may be under way.
        let doubt = Some(LastNumber { tries: 0, due_at, sent_by: now });
        self.refund_mut(index)?.paid_earlier = Some(PaidEarlier { round, doubt });
        self.notes.push(Note::RefundContradicted { refund: index });
        self.refund_paid(index, paid)
    }

    /// What is told of a number of a refund that was paid by another one. The last one is asked about until it is certain
    /// what became of it; if it was paid too, that money is lost to us, and a person must see to it.
    fn other_number_told(
        &mut self,
        index: u16,
        (asked, asked_at): (Round, Instant),
        outcome: &RefundOutcome,
    ) -> Result<(), Refusal> {
        self.contradicted_if_paid(index, outcome);
        let (now, book) = (self.now, self.order.rulebook());
        let refund = self.refund(index)?;
        let Some(last) = refund.last_in_doubt().copied().filter(|_| asked == refund.round) else { return Ok(()) };
        let channel = self.order.attempt_of(refund).ok_or(Refusal::AttemptUnknown)?.channel();
        let is_certain = book.is_absence_certain(channel, last.sent_by, asked_at);
        let due_at = now.plus_ms(retry::gap_ms(book.refunds(), last.tries));
        let again = LastNumber { tries: last.tries.saturating_add(1), due_at, ..last };
        let doubt = match outcome {
            RefundOutcome::Done { .. } | RefundOutcome::Ended { .. } | RefundOutcome::Returned { .. } => None,
            RefundOutcome::NotExist if is_certain => None,
            // It may be a send that was under way.
            RefundOutcome::Unknown { .. } => Some(LastNumber { sent_by: now, ..again }),
            RefundOutcome::Pending { .. }
            | RefundOutcome::Rejected { .. }
            | RefundOutcome::Stuck { .. }
            | RefundOutcome::NotSent { .. }
            | RefundOutcome::NotExist => Some(again),
        };
        if let Some(paid) = &mut self.refund_mut(index)?.paid_earlier {
            paid.doubt = doubt;
        }
        Ok(())
    }

    /// What a channel tells of the last number of a refund that is under way.
    fn refund_goes_on(&mut self, index: u16, asked_at: Instant, outcome: &RefundOutcome) -> Result<(), Refusal> {
        match outcome {
            RefundOutcome::Done { reference, dated } => {
                return self.refund_paid(index, (reference.as_deref(), *dated));
            }
            RefundOutcome::Returned { dated, .. } => {
                self.refund_paid(index, (None, *dated))?;
                return self.refund_came_back(index, *dated);
            }
            RefundOutcome::Ended { .. } => return self.number_is_dead(index),
            RefundOutcome::Pending { hold: Hold::Processing } => self.refund_waits(index, Doubt::Stands, None),
            RefundOutcome::Pending { hold: Hold::Balance } => {
                self.refund_waits(index, Doubt::Stands, Some(Attention::ChannelBalance));
            }
            RefundOutcome::Stuck { .. } => {
                self.refund_waits(index, Doubt::Stands, Some(Attention::Person));
                self.notes.push(Note::RefundStuck { refund: index });
            }
            RefundOutcome::Unknown { .. } => {
                let attention = self.refund(index)?.attention;
                self.refund_waits(index, Doubt::Grows, attention);
            }
            RefundOutcome::NotSent { .. } => {
                let attention = self.refund(index)?.attention;
                self.refund_waits(index, Doubt::NotOfThis, attention);
            }
            RefundOutcome::NotExist => return self.refund_absent(index, asked_at),
            RefundOutcome::Rejected { class, .. } => return self.refund_rejected(index, *class),
        }
        Ok(())
    }

    fn refund_rejected(&mut self, index: u16, class: Rejection) -> Result<(), Refusal> {
        let refund = self.refund(index)?;
        let (is_of_suspense, is_in_doubt) = (refund.is_of_suspense(), refund.stage.is_in_doubt());
        match class {
            Rejection::Poor => self.refund_waits(index, Doubt::NotOfThis, Some(Attention::ChannelBalance)),
            Rejection::Ours => {
                self.refund_waits(index, Doubt::NotOfThis, Some(Attention::Person));
                self.notes.push(Note::RefundNotPermitted { refund: index });
            }
            // It judges one send, and says nothing of those before it: a query tells. Where none ever does, a person must.
            Rejection::Refused if is_in_doubt => {
                self.refund_waits(index, Doubt::NotOfThis, Some(Attention::Person));
                self.notes.push(Note::RefundStuck { refund: index });
            }
            Rejection::DeadNumber if is_in_doubt => {
                let attention = self.refund(index)?.attention;
                self.refund_waits(index, Doubt::NotOfThis, attention);
            }
            Rejection::Refused if is_of_suspense => {
                self.refund_waits(index, Doubt::NotOfThis, Some(Attention::Person));
                self.notes.push(Note::RefundStuck { refund: index });
            }
            Rejection::Refused => return self.refund_fails(index, RefundFailure::Refused),
            Rejection::DeadNumber => return self.number_is_dead(index),
        }
        Ok(())
    }

    /// Nothing is there under its number: what was asked about may still be on its way, unless it had the time to
    /// arrive and would be found. It is sent again, under the same number.
    fn refund_absent(&mut self, index: u16, asked_at: Instant) -> Result<(), Refusal> {
        let (now, book) = (self.now, self.order.rulebook());
        let refund = self.refund(index)?;
        let channel = self.order.attempt_of(refund).ok_or(Refusal::AttemptUnknown)?.channel();
        let last_sent_at = refund.stage.last_sent_at();
        let arrived = last_sent_at.is_some_and(|sent_at| book.is_absence_certain(channel, sent_at, asked_at));
        let (tries, sent_at) = (refund.stage.tries(), refund.stage.unknown_since().unwrap_or(now));
        let due_at = now.plus_ms(retry::gap_ms(book.refunds(), tries));
        let tries = tries.saturating_add(1);
        self.refund_mut(index)?.stage = if arrived {
            // It leaves now, like everything that is owed: what nobody hears of after a crash is asked about first.
            Stage::Owed { tries, due_at: now }
        } else {
            Stage::Doubtful { tries, due_at, sent_at, resent_at: Some(now) }
        };
        self.effects.push(Effect::Refund { refund: index });
        Ok(())
    }

    /// The refund is asked about or sent again at its next turn. A send that was not taken counts as one all the same
    /// where its channel wants a pause between two: it may be what came too soon.
    fn refund_waits(&mut self, index: u16, doubt: Doubt, attention: Option<Attention>) {
        let (now, book) = (self.now, self.order.rulebook());
        let Some(refund) = self.order.refunds.get(usize::from(index)) else { return };
        let tries = refund.stage.tries();
        let gap_ms = retry::gap_ms(book.refunds(), tries);
        let due_at = match doubt {
            Doubt::NotOfThis => {
                let paused_until = now.plus_ms(gap_ms.max(self.pause_ms_of(refund)));
                self.refund_turn(usize::from(index), paused_until, |_| true)
            }
            Doubt::Stands | Doubt::Grows => now.plus_ms(gap_ms),
        };
        let Some(refund) = self.order.refunds.get_mut(usize::from(index)) else { return };
        let tries = tries.saturating_add(1);
        refund.stage = match (doubt, refund.stage) {
            (Doubt::NotOfThis, Stage::Doubtful { sent_at, .. }) => {
                Stage::Doubtful { tries, due_at, sent_at, resent_at: None }
            }
            (Doubt::NotOfThis, _) => Stage::Owed { tries, due_at },
            // What answers a question changes nothing of what was sent before it.
            (Doubt::Stands | Doubt::Grows, Stage::Doubtful { sent_at, resent_at: None, .. }) => {
                Stage::Doubtful { tries, due_at, sent_at, resent_at: None }
            }
            (Doubt::Stands | Doubt::Grows, _) => Stage::Doubtful { tries, due_at, sent_at: now, resent_at: None },
        };
        self.refund_attends(index, attention);
    }

    /// What a refund waits for changes; its platform is shown that of its own.
    fn refund_attends(&mut self, index: u16, attention: Option<Attention>) {
        let Some(refund) = self.order.refunds.get_mut(usize::from(index)) else { return };
        let changed = refund.attention != attention;
        refund.attention = attention;
        if changed && !refund.is_of_suspense() {
            self.writes.push(Write::Refund { index, change: RowChange::Changed });
        }
    }

    /// Nothing was paid under its number, and nothing ever will be: nothing but that opens a round, because under
    /// another number what may still be paid would be paid twice.
    fn number_is_dead(&mut self, index: u16) -> Result<(), Refusal> {
        let (now, book) = (self.now, self.order.rulebook());
        let refund = self.refund(index)?;
        let channel = self.order.attempt_of(refund).ok_or(Refusal::AttemptUnknown)?.channel();
        let (capture, is_of_suspense) = (refund.capture, refund.is_of_suspense());
        let of_capture = self.order.refunds.iter().filter(|other| other.capture == capture);
        let used: u32 = of_capture.map(Refund::numbers_used).sum();
        let has_room = used < u32::from(book.channel(channel).refunding.most);
        match book.next_round_ms(refund.round).filter(|_| has_room) {
            Some(gap_ms) => {
                let due_at = self.refund_turn(usize::from(index), now.plus_ms(gap_ms), |_| true);
                let refund = self.refund_mut(index)?;
                refund.round = refund.round.next();
                refund.dated_at = due_at;
                refund.stage = Stage::Owed { tries: 0, due_at };
                self.refund_attends(index, None);
                Ok(())
            }
            None if is_of_suspense => {
                self.refund_waits(index, Doubt::Stands, Some(Attention::Person));
                self.notes.push(Note::RefundStuck { refund: index });
                Ok(())
            }
            None => self.refund_fails(index, RefundFailure::Ended),
        }
    }

    /// The payer has the money.
    fn refund_paid(&mut self, index: u16, (reference, dated): (Option<&str>, Dated)) -> Result<(), Refusal> {
        let (at, book) = (self.at, self.order.rulebook());
        let channel = self.order.attempt_of(self.refund(index)?).ok_or(Refusal::AttemptUnknown)?.channel();
        let refund = self.refund_mut(index)?;
        let dated = match book.channel(channel).refunding.billed_by {
            BilledBy::Payment => dated,
            // When an earlier number was asked for is not known any more.
            BilledBy::Acceptance if refund.paid_earlier.is_some() => dated,
            BilledBy::Acceptance => {
                Dated { bill_day: dated.bill_day.or(Some(channel.day_of(refund.dated_at))), ..dated }
            }
        };
        refund.stage = Stage::Succeeded { at, looks: 0, paid_from: PaidFrom::Channel };
        refund.attention = None;
        refund.reference = reference.map(Into::into).or(refund.reference.take());
        let amount_minor = refund.amount_minor;
        self.book_refund(index, dated, |booking| Entry::refund_paid(booking, amount_minor))?;
        self.refund_ended(index, (WebhookKind::RefundSucceeded, WebhookKind::OrderSuspenseRefunded))
    }

    fn refund_fails(&mut self, index: u16, failure: RefundFailure) -> Result<(), Refusal> {
        let at = self.at;
        let refund = self.refund_mut(index)?;
        refund.stage = Stage::Failed { at, failure };
        refund.attention = None;
        self.book_asked(index, Dated::NOT_TOLD, Entry::refund_failed)?;
        self.writes.push(Write::Refund { index, change: RowChange::Changed });
        self.refund_webhook(WebhookKind::RefundFailed, index);
        Ok(())
    }

    /// The payer had the money, and it is at the channel again. A platform's is its parties' again; of suspense, where it
    /// could not stay, a person must see where it can go.
    fn refund_came_back(&mut self, index: u16, dated: Dated) -> Result<(), Refusal> {
        let at = self.at;
        let refund = self.refund_mut(index)?;
        refund.stage = Stage::Returned { at };
        let amount_minor = refund.amount_minor;
        if refund.is_of_suspense() {
            refund.attention = Some(Attention::Person);
            self.notes.push(Note::RefundStuck { refund: index });
            return self.book_refund(index, dated, |booking| Entry::suspense_returned(booking, amount_minor));
        }
        self.book_asked(index, dated, Entry::refund_returned)?;
        self.writes.push(Write::Refund { index, change: RowChange::Changed });
        self.refund_webhook(WebhookKind::RefundReturned, index);
        Ok(())
    }

    /// What is told of a refund that was paid: a look at it is answered by anything but silence.
    fn refund_looked_at(&mut self, index: u16, asked_at: Instant, outcome: &RefundOutcome) -> Result<(), Refusal> {
        let book = self.order.rulebook();
        match outcome {
            // Only where a refund that succeeded can fail is that its end; elsewhere the channel contradicts itself.
            RefundOutcome::Ended { .. } => {
                let channel = self.order.attempt_of(self.refund(index)?).map(|attempt| attempt.channel());
                let may_fail = |channel| !book.channel(channel).refunding.looks_ms.is_empty();
                if channel.is_some_and(may_fail) {
                    return self.refund_came_back(index, Dated::NOT_TOLD);
                }
                self.notes.push(Note::RefundContradicted { refund: index });
                return Ok(());
            }
            RefundOutcome::Returned { dated, .. } => return self.refund_came_back(index, *dated),
            RefundOutcome::NotSent { .. } | RefundOutcome::Unknown { .. } => return Ok(()),
            RefundOutcome::Done { .. }
            | RefundOutcome::Pending { .. }
            | RefundOutcome::Rejected { .. }
            | RefundOutcome::Stuck { .. }
            | RefundOutcome::NotExist => {}
        }
        let refund = self.refund(index)?;
        let channel = self.order.attempt_of(refund).ok_or(Refusal::AttemptUnknown)?.channel();
        if let Stage::Succeeded { at, looks, .. } = &mut self.refund_mut(index)?.stage {
            while book.refund_look_ms(channel, *looks).is_some_and(|look_ms| at.plus_ms(look_ms) <= asked_at) {
                *looks += 1;
            }
        }
        Ok(())
    }

    /// A refund that is over by our books, or by another of its numbers, has gone out after all.
    fn contradicted_if_paid(&mut self, index: u16, outcome: &RefundOutcome) {
        if outcome.paid().is_some() {
            self.notes.push(Note::RefundContradicted { refund: index });
        }
    }

    /// A verified callback is proof where its channel's callbacks are, and where it tells of this very refund; else it
    /// is a reason to ask.
    pub(super) fn refund_noticed(
        &mut self,
        number: &str,
        account: &Account,
        word: Option<&RefundWord>,
    ) -> Result<(), Refusal> {
        let (index, round) = self.order.refund_numbered(number).ok_or(Refusal::RefundUnknown)?;
        let refund = self.refund(index)?;
        let attempt = self.order.attempt_of(refund).ok_or(Refusal::AttemptUnknown)?;
        if attempt.account != *account {
            return Err(Refusal::AccountDiffers);
        }
        let (book, currency) = (self.order.rulebook(), self.order.currency.code());
        let told = word.filter(|word| word.amount_minor == refund.amount_minor && *word.currency == *currency);
        match (told, book.channel(attempt.channel()).proof) {
            (Some(word), Proof::Callback) => self.refund_answered(index, round, self.now, &word.outcome),
            // What became of a number that is over says nothing of the one that took its place.
            (None, Proof::Callback) | (_, Proof::Query) if round != refund.asked_round() => {
                // Where money may come back, the word may be older than the number's end.
                if book.channel(attempt.channel()).refunding.looks_ms.is_empty() {
                    told.into_iter().for_each(|word| self.contradicted_if_paid(index, &word.outcome));
                }
                Ok(())
            }
            (None, Proof::Callback) | (_, Proof::Query) => {
                match refund.stage {
                    Stage::Unconfirmed { .. } | Stage::Waiting { .. } => return Err(Refusal::OutOfPlace),
                    Stage::Owed { .. } | Stage::Doubtful { .. } | Stage::Succeeded { .. } => {
                        self.effects.push(Effect::QueryRefund { refund: index });
                    }
                    Stage::Failed { .. } | Stage::Returned { .. } => {}
                }
                Ok(())
            }
        }
    }

    /// A person's word, with evidence, on a refund that its channel does not bring to an end.
    pub(super) fn refund_resolved(&mut self, index: u16, resolution: RefundResolution) -> Result<(), Refusal> {
        let at = self.at;
        let refund = self.refund(index)?;
        let (is_of_suspense, amount_minor) = (refund.is_of_suspense(), refund.amount_minor);
        match (refund.stage, resolution) {
            (Stage::Unconfirmed { .. } | Stage::Succeeded { .. } | Stage::Failed { .. }, _) => {
                Err(Refusal::RefundFinal)
            }
            (Stage::Returned { .. }, _) if !is_of_suspense => Err(Refusal::RefundFinal),
            (_, RefundResolution::Failed) if is_of_suspense => Err(Refusal::RefundFinal),
            (_, RefundResolution::Failed) => self.refund_fails(index, RefundFailure::GivenUp),
            (stage, RefundResolution::PaidOtherwise) => {
                match stage {
                    // It is suspense again and leaves it once more.
                    Stage::Returned { .. } => {
                        self.book_refund(index, Dated::NOT_TOLD, |booking| {
                            Entry::suspense_refund(booking, amount_minor)
                        })?;
                    }
                    Stage::Unconfirmed { .. }
                    | Stage::Waiting { .. }
                    | Stage::Owed { .. }
                    | Stage::Doubtful { .. }
                    | Stage::Succeeded { .. }
                    | Stage::Failed { .. } => {}
                }
                let refund = self.refund_mut(index)?;
                refund.stage = Stage::Succeeded { at, looks: 0, paid_from: PaidFrom::Bank };
                refund.attention = None;
                self.book_refund(index, Dated::NOT_TOLD, |booking| {
                    Entry::refund_paid_otherwise(booking, amount_minor)
                })?;
                self.refund_ended(index, (WebhookKind::RefundSucceeded, WebhookKind::OrderSuspenseRefunded))
            }
        }
    }

    /// Tells of a refund's success, by its cause.
    fn refund_ended(&mut self, index: u16, (asked, suspense): (WebhookKind, WebhookKind)) -> Result<(), Refusal> {
        if self.refund(index)?.is_of_suspense() {
            self.webhook(suspense);
        } else {
            self.writes.push(Write::Refund { index, change: RowChange::Changed });
            self.refund_webhook(asked, index);
        }
        Ok(())
    }

    /// Refunds that waited for their pause, and whose turn has come. Several of them may be overdue: they go one after
    /// the other all the same.
    pub(super) fn begin_refunds(&mut self) {
        let now = self.now;
        for (place, index) in (0..self.order.refunds.len()).zip(0u16..) {
            let is_due = |refund: &Refund| matches!(refund.stage, Stage::Waiting { due_at } if due_at <= now);
            if !self.order.refunds.get(place).is_some_and(is_due) {
                continue;
            }
            // Of those that wait the first one goes first.
            let turn_at = self.refund_turn(place, now, |other| !matches!(other.stage, Stage::Waiting { .. }));
            let Some(refund) = self.order.refunds.get_mut(place) else { continue };
            refund.dated_at = turn_at;
            if turn_at > now {
                refund.stage = Stage::Waiting { due_at: turn_at };
                continue;
            }
            refund.stage = Stage::Owed { tries: 0, due_at: now };
            self.writes.push(Write::Refund { index, change: RowChange::Changed });
        }
    }

    /// The first instant from `from` on that keeps the pause from those others of its capture that are heeded.
    fn refund_turn(&self, place: usize, from: Instant, is_heeded: fn(&Refund) -> bool) -> Instant {
        let Some(refund) = self.order.refunds.get(place) else { return from };
        let is_other =
            |(at, other): &(usize, &Refund)| *at != place && other.capture == refund.capture && is_heeded(other);
        let others = self.order.refunds.iter().enumerate().filter(is_other).map(|(_, other)| other);
        turn_beside(others, from, self.pause_ms_of(refund))
    }

    /// What the channel of a refund wants between two of them.
    fn pause_ms_of(&self, refund: &Refund) -> i64 {
        let channel = self.order.attempt_of(refund).map(|attempt| attempt.channel());
        channel.map_or(0, |channel| self.order.rulebook().refund_pause_ms(channel))
    }

    pub(super) fn propose_refunds(&mut self, asking: Asking) {
        let now = self.now;
        for (refund, index) in self.order.refunds.iter().zip(0u16..) {
            let is_due = self.order.refund_due_at(refund, now).is_some_and(|due_at| due_at <= now);
            if refund.last_in_doubt().is_some() {
                if is_due {
                    self.effects.push(Effect::QueryRefund { refund: index });
                }
                continue;
            }
            match (refund.stage, asking) {
                (Stage::Unconfirmed { .. }, _) => {
                    let capture = self.order.captures.get(usize::from(refund.capture));
                    self.effects.extend(capture.map(|capture| Effect::Query { ordinal: capture.ordinal }));
                }
                (Stage::Owed { .. }, Asking::Due) if is_due => self.effects.push(Effect::Refund { refund: index }),
                (Stage::Owed { .. }, Asking::Everything) | (Stage::Doubtful { .. }, _) if is_due => {
                    self.effects.push(Effect::QueryRefund { refund: index });
                }
                (Stage::Succeeded { .. }, _) if self.order.look_since(refund).is_some_and(|since| since <= now) => {
                    self.effects.push(Effect::QueryRefund { refund: index });
                }
                (
                    Stage::Waiting { .. }
                    | Stage::Owed { .. }
                    | Stage::Doubtful { .. }
                    | Stage::Succeeded { .. }
                    | Stage::Failed { .. }
                    | Stage::Returned { .. },
                    Asking::Due | Asking::Everything,
                ) => {}
            }
        }
    }

    fn refund(&self, index: u16) -> Result<&Refund, Refusal> {
        self.order.refunds.get(usize::from(index)).ok_or(Refusal::RefundUnknown)
    }

    fn refund_mut(&mut self, index: u16) -> Result<&mut Refund, Refusal> {
        self.order.refunds.get_mut(usize::from(index)).ok_or(Refusal::RefundUnknown)
    }

    /// Books a movement of a refund's money.
    fn book_refund(
        &mut self,
        index: u16,
        dated: Dated,
        entry: impl FnOnce(&Booking<'_>) -> Entry,
    ) -> Result<(), Refusal> {
        let refund = self.refund(index)?;
        let capture = self.order.captures.get(usize::from(refund.capture)).ok_or(Refusal::OutOfPlace)?;
        let attempt = self.order.attempt(capture.ordinal).ok_or(Refusal::AttemptUnknown)?;
        let (booking, plausible) = self.order.booking(attempt, (dated, capture.effective_at, self.at));
        let entry = entry(&booking).about(refund.asked().map(|asked| asked.ordinal));
        self.note_implausible(plausible);
        self.book(entry);
        Ok(())
    }

    /// Books what the parties of a refund give or get again.
    fn book_asked(
        &mut self,
        index: u16,
        dated: Dated,
        entry: fn(&Booking<'_>, Parts<'_>, Fee) -> Entry,
    ) -> Result<(), Refusal> {
        let asked = self.refund(index)?.asked().ok_or(Refusal::OutOfPlace)?.clone();
        let others = self.order.others(&asked.parts);
        let fee = self.order.fee(asked.fee_minor);
        self.book_refund(index, dated, |booking| entry(booking, asked.parts(&others), fee))
    }

    pub(super) fn note_implausible(&mut self, plausible: Plausible) {
        match plausible {
            Plausible::Told | Plausible::NotTold => {}
            Plausible::Impossible => self.notes.push(Note::InstantImplausible),
        }
    }
}

/// The first instant from `from` on that keeps the pause from these refunds: some of them may go long after.
fn turn_beside<'a>(others: impl Iterator<Item = &'a Refund>, from: Instant, pause_ms: i64) -> Instant {
    if pause_ms == 0 {
        return from;
    }
    // What was not taken the first time counts where it went and where it goes again.
    let mut turns: Vec<Instant> = others.flat_map(|other| [other.dated_at, other.goes_at()]).collect();
    turns.sort_unstable();
    turns.into_iter().fold(from, |turn_at, other_at| {
        let is_near = turn_at.since_ms(other_at).abs() < pause_ms;
        if is_near { other_at.plus_ms(pause_ms) } else { turn_at }
    })
}

/// What an answer says of whether anything may have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// The send that it answers was not taken.
    NotOfThis,
    /// The channel has it, or a person must see to it.
    Stands,
    /// Nobody knows what became of what it answers.
    Grows,
}

impl Stage {
    const fn is_in_doubt(self) -> bool {
        match self {
            Stage::Doubtful { .. } => true,
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => false,
        }
    }

    const fn tries(self) -> u16 {
        match self {
            Stage::Owed { tries, .. } | Stage::Doubtful { tries, .. } => tries,
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => 0,
        }
    }

    /// When the last send went out of which nobody knows what became.
    const fn unknown_since(self) -> Option<Instant> {
        match self {
            Stage::Doubtful { sent_at, .. } => Some(sent_at),
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => None,
        }
    }

    /// The last send that may have arrived, one that was not answered yet included.
    fn last_sent_at(self) -> Option<Instant> {
        match self {
            Stage::Doubtful { sent_at, resent_at, .. } => Some(resent_at.map_or(sent_at, |resent| resent.max(sent_at))),
            Stage::Unconfirmed { .. }
            | Stage::Waiting { .. }
            | Stage::Owed { .. }
            | Stage::Succeeded { .. }
            | Stage::Failed { .. }
            | Stage::Returned { .. } => None,
        }
    }
}
