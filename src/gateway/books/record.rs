//! One payment in the books: its states, and what may follow.

use std::sync::Arc;

use serde::Serialize;

use super::parts::Parts;
use super::{Acted, Asked, Fingerprint, PendingWhat, Refusal, Taken};
use crate::domain::money::Currency;
use crate::gateway::address::Address;
use crate::gateway::payer::{Payer, Script};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Waiting,
    Paid,
    Declined,
    Closed,
}

/// Money that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The channel's own name of it.
    pub reference: Arc<str>,
    pub amount_minor: i64,
    pub at: i64,
}

/// A payment as it is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub state: State,
    pub script: Script,
    pub asked_minor: i64,
    /// What the payer has back.
    pub refunded_minor: i64,
    /// That, and what is on its way back.
    pub reserved_minor: i64,
    pub currency: Currency,
    pub created_at: i64,
    pub expires_at: i64,
    pub closed_at: Option<i64>,
    /// The channel's own name of it, from when it has one.
    pub reference: Option<Arc<str>>,
    pub capture: Option<Capture>,
    pub callbacks_sent: u16,
    /// What the wire keeps with it.
    pub data: Option<Arc<str>>,
}

impl View {
    pub fn captured_minor(&self) -> i64 {
        self.capture.as_ref().map_or(0, |capture| capture.amount_minor)
    }
}

/// What `/sim/orders` shows.
#[derive(Debug, Serialize)]
pub struct OrderLine {
    pub asked_minor: i64,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    pub state: State,
    pub callbacks_sent: u16,
}

pub enum Record {
    /// Closed before it was ever asked for: a create that arrives later is refused.
    ClosedUnseen,
    Payment(Payment),
}

pub struct Payment {
    pub fingerprint: Fingerprint,
    pub script: Script,
    pub state: State,
    pub currency: Currency,
    pub acknowledged: bool,
    pub callbacks_sent: u16,
    /// Calls answered since the start; only faults and scripts ask for it.
    pub calls: u16,
    pub asked_minor: i64,
    pub created_at: i64,
    pub expires_at: i64,
    pub closed_at: Option<i64>,
    pub reference: Option<Arc<str>>,
    pub parts: Parts,
    pub money: Option<Money>,
    pub data: Option<Arc<str>>,
    /// Where its callbacks go, if its request named a place.
    pub address: Option<Arc<Address>>,
}

/// What a payer handed over, and when.
#[derive(Clone, Copy)]
pub struct Money {
    pub amount_minor: i64,
    pub at: i64,
}

/// What the payer's turn comes to.
pub enum Turn {
    Pays { amount_minor: i64 },
    Declines,
    Nothing,
}

impl Payment {
    pub fn new(asked: &Asked<'_>, address: Option<Arc<Address>>, now: i64) -> Self {
        Payment {
            fingerprint: asked.fingerprint,
            script: asked.script,
            state: State::Waiting,
            currency: asked.currency,
            acknowledged: false,
            callbacks_sent: 0,
            calls: 0,
            asked_minor: asked.amount_minor,
            created_at: now,
            expires_at: asked.expires_at,
            closed_at: None,
            reference: asked.reference.map(Arc::from),
            parts: Parts::default(),
            money: None,
            data: asked.data.map(Arc::from),
            address,
        }
    }

    pub fn state_at(&self, now: i64) -> State {
        match self.state {
            State::Waiting if self.expires_at <= now => State::Closed,
            State::Waiting => State::Waiting,
            State::Paid => State::Paid,
            State::Declined => State::Declined,
            State::Closed => State::Closed,
        }
    }

    pub fn captured_minor(&self) -> i64 {
        self.money.map_or(0, |money| money.amount_minor)
    }

    pub fn capture(&self) -> Option<Capture> {
        let (money, reference) = (self.money?, self.reference.as_ref()?);
        Some(Capture { reference: Arc::clone(reference), amount_minor: money.amount_minor, at: money.at })
    }

    /// A request to create this payment once more.
    pub fn repeated(&self, fingerprint: &Fingerprint, now: i64) -> Result<Taken, Refusal> {
        if self.fingerprint != *fingerprint {
            return Err(Refusal::NumberUsed);
        }
        match (self.state_at(now), self.capture()) {
            (State::Waiting, _) => Ok(Taken::Again),
            (State::Paid, Some(capture)) => Ok(Taken::Paid(capture)),
            (State::Paid, None) | (State::Declined | State::Closed, _) => Err(Refusal::PaymentClosed),
        }
    }

    /// What the payer does now, if the payment is still open to it.
    pub fn turn(&self, now: i64) -> Turn {
        let pays = Turn::Pays { amount_minor: self.script.captured_minor(self.asked_minor) };
        match (self.script.payer(self.asked_minor, 0), self.state_at(now)) {
            (Payer::Pays { .. }, State::Waiting) => pays,
            // Closed on record, that is: the money of a payment that merely expired never comes.
            (Payer::PaysOnceClosed { .. }, State::Closed) if self.closed_at.is_some() => pays,
            (Payer::Declines { .. }, State::Waiting) => Turn::Declines,
            (
                Payer::Pays { .. } | Payer::PaysOnceClosed { .. } | Payer::Declines { .. } | Payer::StaysAway,
                State::Waiting | State::Paid | State::Declined | State::Closed,
            ) => Turn::Nothing,
        }
    }

    pub fn pay(&mut self, reference: Arc<str>, money: Money) -> Acted {
        self.state = State::Paid;
        self.reference = Some(reference);
        self.money = Some(money);
        Acted::Paid(self.script)
    }

    pub fn close(&mut self, at: i64) {
        self.state = State::Closed;
        self.closed_at = Some(at);
    }

    pub fn callback_sent(&mut self, acknowledged: bool) {
        self.callbacks_sent = self.callbacks_sent.saturating_add(1);
        self.acknowledged |= acknowledged;
    }

    pub fn view(&self, now: i64) -> View {
        View {
            state: self.state_at(now),
            script: self.script,
            asked_minor: self.asked_minor,
            refunded_minor: self.parts.refunded_minor(now),
            reserved_minor: self.parts.reserved_minor(now),
            currency: self.currency,
            created_at: self.created_at,
            expires_at: self.expires_at,
            closed_at: self.closed_at,
            reference: self.reference.clone(),
            capture: self.capture(),
            callbacks_sent: self.callbacks_sent,
            data: self.data.clone(),
        }
    }

    pub fn pending(&self, now: i64) -> Option<PendingWhat> {
        let (script, asked_minor) = (self.script, self.asked_minor);
        match (self.state_at(now), self.closed_at) {
            (State::Waiting | State::Closed, None) if script.waits_for_the_end(asked_minor) => {
                Some(PendingWhat::End { script, asked_minor, expires_at: self.expires_at })
            }
            (State::Waiting, _) => Some(PendingWhat::Payer { script, asked_minor, created_at: self.created_at }),
            (State::Closed, Some(closed_at)) => Some(PendingWhat::PayerOnceClosed { script, asked_minor, closed_at }),
            (State::Paid, _) => {
                Some(PendingWhat::Callbacks { script, sent: self.callbacks_sent, acknowledged: self.acknowledged })
            }
            (State::Closed, None) | (State::Declined, _) => None,
        }
    }
}

impl Record {
    pub fn line(&self, now: i64) -> OrderLine {
        match self {
            Record::ClosedUnseen => OrderLine {
                asked_minor: 0,
                captured_minor: 0,
                refunded_minor: 0,
                state: State::Closed,
                callbacks_sent: 0,
            },
            Record::Payment(payment) => OrderLine {
                asked_minor: payment.asked_minor,
                captured_minor: payment.captured_minor(),
                refunded_minor: payment.parts.refunded_minor(now),
                state: payment.state_at(now),
                callbacks_sent: payment.callbacks_sent,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_is_small_enough_to_keep_millions() {
        // Number and reference (64 characters at most, counted) and table slot come on top, under 200 bytes.
        assert!(size_of::<Record>() <= 240, "{}", size_of::<Record>());
    }
}
