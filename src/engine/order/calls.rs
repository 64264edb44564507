//! An order's effects as calls to its attempts' accounts.

use crate::channels::{Attempted, RefundAsk};
use crate::domain::id::Round;
use crate::domain::order::{Attempt, AttemptState, CloseStage, Order, Reach};
use crate::domain::refund::{Refund, Stage};
use crate::domain::time::Instant;
use crate::engine::supervisor::{Connection, Question};
use crate::store::RefundName;

/// A refund, as its channel is asked for it. Where nothing is known of what its platform asked for, its reason is added
/// where it is sent.
pub fn refund_ask<'a>(
    order: &Order,
    index: u16,
    asked: impl FnOnce(&Refund) -> Option<&'a RefundName>,
    notify_url: impl Fn(&Attempt) -> String,
) -> Option<(u8, Round, RefundAsk)> {
    let refund = order.refunds.get(usize::from(index))?;
    let capture = order.captures.get(usize::from(refund.capture))?;
    let attempt = order.attempt(capture.ordinal)?;
    let (round, asked) = (refund.asked_round(), asked(refund));
    let ask = RefundAsk {
        refund_number: order.refund_number(refund, round)?.to_string(),
        id: order.refund_id(refund).filter(|_| asked.is_none()),
        attempt: attempted(order, attempt),
        reference: capture.reference.clone(),
        dated_at: refund.dated_at,
        captured_minor: capture.amount_minor,
        amount_minor: refund.amount_minor,
        reason: asked.and_then(|asked| asked.reason.clone()),
        notify_url: notify_url(attempt),
    };
    Some((capture.ordinal, round, ask))
}

/// Which connection a call goes out on: what is asked because nobody knows what became of a call goes on one of its own.
pub fn connection(order: &Order, attempt: &Attempt, question: &Question) -> Connection {
    let follows_doubt = match question {
        Question::Submit { send, .. } => *send > 1,
        Question::Query => attempt.reach == Reach::Perhaps,
        Question::QueryRefund { .. } => false,
        Question::Close => attempt.close != CloseStage::NotAsked,
        Question::Refund { refund, .. } => order.refunds.get(usize::from(*refund)).is_some_and(was_sent),
    };
    if follows_doubt { Connection::Fresh } else { Connection::Kept }
}

/// How old a question is: one that only asks whether the payer has paid by now is as old as its attempt. Where something
/// has happened that an answer must settle, it is new.
pub fn since(attempt: &Attempt, question: &Question, now: Instant) -> Instant {
    let waits_for_payer = match attempt.state {
        AttemptState::Open => attempt.reach == Reach::Shown && attempt.claimed_at.is_none(),
        AttemptState::Closing => false,
        AttemptState::Dead | AttemptState::Captured => attempt.claimed_at.is_none(),
    };
    match question {
        Question::Query if waits_for_payer => attempt.opened_at,
        Question::Query
        | Question::Submit { .. }
        | Question::Close
        | Question::Refund { .. }
        | Question::QueryRefund { .. } => now,
    }
}

fn was_sent(refund: &Refund) -> bool {
    match refund.stage {
        Stage::Owed { tries, .. } | Stage::Doubtful { tries, .. } => tries > 0,
        Stage::Unconfirmed { .. }
        | Stage::Waiting { .. }
        | Stage::Succeeded { .. }
        | Stage::Failed { .. }
        | Stage::Returned { .. } => false,
    }
}

/// An attempt as its channel may be asked about it.
pub fn attempted(order: &Order, attempt: &Attempt) -> Attempted {
    let rules = order.rulebook().channel(attempt.channel());
    Attempted {
        number: order.number(attempt),
        opened_at: attempt.opened_at,
        expires_at: attempt.expires_at,
        arrives_by: attempt.expires_at.plus_ms(rules.grace_ms),
        payable_minor: attempt.payable_minor,
        currency: order.currency,
        reference: attempt.reference.clone(),
    }
}
