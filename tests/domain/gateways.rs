//! A model of the outside: what the channels' gateways know, who pays there, and what becomes of our calls.

use std::collections::{BTreeMap, BTreeSet};

use tongbao::domain::channel::{Channel, Closing, Unclosed};
use tongbao::domain::event::{
    CloseAnswer, Effect, Fact, Fault, Finding, RefundOutcome, RefundWord, Rejection, SendOutcome,
};
use tongbao::domain::id::Round;
use tongbao::domain::order::{Attempt, Order};
use tongbao::domain::retry;
use tongbao::domain::time::Instant;

use crate::world::{
    called_back, close_unclear, closed, found, later, no_answer, not_sent, paid, refund_by_asking_at, refund_done,
    refund_ended, refund_not_sent, refund_poor, refund_rejected, refund_returned, refund_unclear, refused, sent,
    unclear,
};

/// What a gateway knows of one number of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    Paid(i64),
    /// Nothing was paid, and nothing will be.
    Ended,
    /// It was paid and came back.
    Returned,
}

/// What a gateway knows of one attempt. What is in none of its books it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Waiting,
    Paid { amount_minor: i64 },
    Closed,
    Declined,
}

/// What becomes of a call on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// It takes effect, and the answer is lost.
    AnswerLost,
    /// The same, and a refund ends without being paid.
    Fails,
    /// It never arrives, and nobody can tell.
    RequestLost,
    NotSent,
    /// The gateway puts it off; it did not look at it.
    Later,
    /// The gateway refuses it for certain, where a refusal exists.
    Refused(Fault),
}

#[derive(Debug, Clone, Default)]
pub struct Gateways {
    books: BTreeMap<u8, Known>,
    /// Refunds by their numbers, which make each of them happen once.
    refunds: BTreeMap<(u16, Round), Back>,
    /// Refunds that a person had stopped here.
    stopped: BTreeSet<u16>,
    /// Callbacks on their way, by attempt.
    pub callbacks: Vec<u8>,
    /// Refunds that have come back, which is told until it is heard.
    pub came_back: Vec<u16>,
    pub delivered: BTreeSet<u8>,
}

pub fn reference(ordinal: u8) -> String {
    format!("reference-{ordinal}")
}

impl Gateways {
    /// Makes a call and returns its answer.
    pub fn call(&mut self, order: &Order, effect: Effect, fate: Fate, now: Instant) -> Option<Fact> {
        self.lapse(order, now);
        let (arrives, answered) = match fate {
            Fate::Answered => (true, true),
            Fate::AnswerLost | Fate::Fails => (true, false),
            Fate::RequestLost | Fate::NotSent | Fate::Later | Fate::Refused(_) => (false, false),
        };
        match effect {
            Effect::Submit { ordinal, send } => {
                let outcome = if arrives { self.submit(ordinal) } else { no_answer() };
                Some(sent(
                    ordinal,
                    send,
                    match fate {
                        Fate::Answered => outcome,
                        Fate::AnswerLost | Fate::Fails | Fate::RequestLost => no_answer(),
                        Fate::NotSent => not_sent(),
                        Fate::Later => later(),
                        Fate::Refused(fault) => refused(fault),
                    },
                ))
            }
            Effect::Query { ordinal } => Some(found(ordinal, if answered { self.query(ordinal) } else { unclear() })),
            Effect::Close { ordinal } => {
                let attempt = order.attempt(ordinal).expect("only attempts are closed");
                assert_ne!(attempt.channel().rules().closing, Closing::Impossible, "there is no such call");
                let answer = if arrives { self.close(attempt) } else { close_unclear() };
                Some(closed(ordinal, if answered { answer } else { close_unclear() }))
            }
            Effect::Refund { refund } => {
                let round = order.refunds[usize::from(refund)].round;
                if arrives {
                    self.refund(order, refund, fate);
                }
                let outcome = match fate {
                    Fate::Answered => self.refund_stands(refund, round),
                    Fate::AnswerLost | Fate::Fails | Fate::RequestLost => refund_unclear(),
                    Fate::NotSent => refund_not_sent(),
                    Fate::Later => refund_poor(),
                    Fate::Refused(Fault::Payment) => refund_rejected(Rejection::Refused),
                    Fate::Refused(Fault::Ours) => refund_rejected(Rejection::Ours),
                };
                Some(refund_by_asking_at(now, round, refund, outcome))
            }
            Effect::QueryRefund { refund } => {
                let round = order.refunds[usize::from(refund)].round;
                let outcome = if answered { self.refund_stands(refund, round) } else { refund_unclear() };
                Some(refund_by_asking_at(now, round, refund, outcome))
            }
            Effect::Choose { .. } | Effect::ArmTimer { .. } => None,
        }
    }

    fn refund(&mut self, order: &Order, index: u16, fate: Fate) {
        let refund = &order.refunds[usize::from(index)];
        let fails = fate == Fate::Fails && usize::from(refund.round.0) < retry::refund_rounds(order.pace).len();
        let known = match () {
            () if fails || self.stopped.contains(&index) => Back::Ended,
            () => Back::Paid(refund.amount_minor),
        };
        self.refunds.entry((index, refund.round)).or_insert(known);
        let numbers = self.refunds.range((index, Round::FIRST)..=(index, Round(u8::MAX)));
        let paid = numbers.filter(|(_, back)| matches!(back, Back::Paid(_) | Back::Returned)).count();
        assert!(paid <= 1, "a refund is paid under two numbers: {refund:?}");
        for (capture, place) in order.captures.iter().zip(0u16..) {
            let of_it =
                self.refunds.iter().filter(|((index, _), _)| order.refunds[usize::from(*index)].capture == place);
            let given: i64 = of_it.map(|(_, back)| back.given_minor()).sum();
            assert!(given <= capture.amount_minor, "more goes back than was taken: {order:?}");
        }
    }

    fn refund_stands(&self, refund: u16, round: Round) -> RefundOutcome {
        match self.refunds.get(&(refund, round)) {
            None => RefundOutcome::NotExist,
            Some(Back::Ended) => refund_ended(),
            Some(Back::Paid(_)) => refund_done(),
            Some(Back::Returned) => refund_returned(),
        }
    }

    /// The money of a refund comes back from the payer's bank, if it is there.
    pub fn bring_back(&mut self, index: u16) {
        for ((refund, _), back) in &mut self.refunds {
            if *refund == index && matches!(back, Back::Paid(_)) {
                *back = Back::Returned;
                self.came_back.push(index);
            }
        }
    }

    /// A person has a refund stopped, unless it was paid; whether nothing of it is paid or ever will be.
    pub fn stop(&mut self, index: u16, round: Round) -> bool {
        let is_paid = |((refund, _), back): (&(u16, Round), &Back)| *refund == index && *back != Back::Ended;
        if self.refunds.iter().any(is_paid) {
            return false;
        }
        self.stopped.insert(index);
        self.refunds.entry((index, round)).or_insert(Back::Ended);
        true
    }

    /// What this gateway tells of a refund by itself.
    pub fn refund_notice(&self, order: &Order, index: u16, with_word: bool) -> Option<Fact> {
        let refund = order.refunds.get(usize::from(index))?;
        let outcome = self.refund_stands(index, refund.round);
        if outcome == RefundOutcome::NotExist {
            return None;
        }
        let word = RefundWord { amount_minor: refund.amount_minor, currency: order.currency.code().into(), outcome };
        Some(Fact::RefundNoticed {
            number: order.refund_number(refund, refund.round)?.to_string().into(),
            account: order.attempt_of(refund)?.account.clone(),
            word: with_word.then_some(word),
        })
    }

    fn submit(&mut self, ordinal: u8) -> SendOutcome {
        match self.books.entry(ordinal).or_insert(Known::Waiting) {
            Known::Waiting => SendOutcome::Accepted { reference: None },
            // The refusal of a number that was paid already says that there is something to be asked.
            Known::Paid { .. } => no_answer(),
            Known::Closed | Known::Declined => refused(Fault::Payment),
        }
    }

    fn query(&self, ordinal: u8) -> Finding {
        match self.books.get(&ordinal) {
            None => Finding::NotExist,
            Some(Known::Waiting) => Finding::Pending,
            Some(Known::Paid { amount_minor }) => paid(&reference(ordinal), *amount_minor),
            Some(Known::Closed) => Finding::Closed,
            Some(Known::Declined) => Finding::Declined,
        }
    }

    fn close(&mut self, attempt: &Attempt) -> CloseAnswer {
        match (self.books.get(&attempt.ordinal), attempt.channel().rules().closing) {
            (None, Closing::Confirmed | Closing::Impossible) => close_unclear(),
            (Some(Known::Paid { .. }), _) => CloseAnswer::AlreadyPaid,
            (Some(Known::Declined), _) => CloseAnswer::Closed,
            // A number that was closed before it was known stays closed.
            (None, Closing::Certain) | (Some(Known::Waiting | Known::Closed), _) => {
                self.books.insert(attempt.ordinal, Known::Closed);
                CloseAnswer::Closed
            }
        }
    }

    /// A channel whose attempts end by time ends them.
    fn lapse(&mut self, order: &Order, now: Instant) {
        for attempt in &order.attempts {
            let ends = attempt.channel().rules().unclosed == Unclosed::Ends && now > attempt.expires_at;
            if let (Some(known @ Known::Waiting), true) = (self.books.get_mut(&attempt.ordinal), ends) {
                *known = Known::Closed;
            }
        }
    }

    /// The payer pays `extra_minor` more than asked, even what was closed a moment ago.
    pub fn pay(&mut self, attempt: &Attempt, extra_minor: i64, callbacks: usize) {
        let late = attempt.channel() != Channel::Stripe;
        match self.books.get(&attempt.ordinal) {
            None | Some(Known::Paid { .. } | Known::Declined) => return,
            Some(Known::Closed) if !late => return,
            Some(Known::Waiting | Known::Closed) => {}
        }
        let amount_minor = attempt.payable_minor + extra_minor;
        if amount_minor == 0 {
            return;
        }
        self.books.insert(attempt.ordinal, Known::Paid { amount_minor });
        self.callbacks.extend(std::iter::repeat_n(attempt.ordinal, callbacks));
    }

    pub fn decline(&mut self, ordinal: u8) {
        if let Some(known @ Known::Waiting) = self.books.get_mut(&ordinal) {
            *known = Known::Declined;
        }
    }

    pub fn callback(&self, channel: Channel, ordinal: u8) -> Option<Fact> {
        self.paid_minor(ordinal).map(|amount_minor| called_back(channel, ordinal, &reference(ordinal), amount_minor))
    }

    fn paid_minor(&self, ordinal: u8) -> Option<i64> {
        match self.books.get(&ordinal)? {
            Known::Paid { amount_minor } => Some(*amount_minor),
            Known::Waiting | Known::Closed | Known::Declined => None,
        }
    }

    /// Attempts whose payment was not told yet: a gateway repeats its callback until it is acknowledged.
    pub fn untold(&self) -> Vec<u8> {
        let untold = |ordinal: &u8| !self.delivered.contains(ordinal) && self.paid_minor(*ordinal).is_some();
        self.books.keys().copied().filter(untold).collect()
    }

    /// What the gateways hold for us of this order: the truth that ours must equal.
    pub fn net_minor(&self) -> i64 {
        let taken = |known: &Known| match known {
            Known::Paid { amount_minor } => *amount_minor,
            Known::Waiting | Known::Closed | Known::Declined => 0,
        };
        self.books.values().map(taken).sum::<i64>() - self.refunds.values().map(|back| back.given_minor()).sum::<i64>()
    }
}

impl Back {
    fn given_minor(self) -> i64 {
        match self {
            Back::Paid(amount_minor) => amount_minor,
            Back::Ended | Back::Returned => 0,
        }
    }
}
