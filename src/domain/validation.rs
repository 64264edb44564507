//! The look at a chosen channel: amount, currency, limits, time, health, payer. Facts in, a verdict out.

use super::channel::{Channel, Method};
use super::event::{Refusal, Verdict};
use super::id::Account;
use super::merchant::Merchant;
use super::order::{Attempt, AttemptFailure, Order, Quote};
use super::time::Instant;
use serde::Serialize;

/// What the outside knows at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub channel: Channel,
    pub method: Method,
    /// The account that would be used; none when the channel is not enabled.
    pub account: Option<Account>,
    pub merchant: Merchant,
    pub health: Health,
    /// The risk rule that this payer breaks, if any.
    pub risk: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Up,
    Down,
}

/// Why a channel cannot take an order, however well it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsuited {
    Currency,
    BelowMinimum,
    AboveMaximum,
    /// The order expires before the channel's shortest attempt would.
    TooLate,
}

/// What `order` costs by this way to pay at a channel that could take it now; none where the order was created before there was such a
/// channel, and has no rate for it.
///
/// # Errors
/// Why the channel could not.
pub fn price(order: &Order, (channel, method): (Channel, Method), now: Instant) -> Option<Result<Quote, Unsuited>> {
    order.rates.of(channel, method).map(|_| price_by_rules(order, (channel, method), now))
}

/// Whether a channel could take `order` now, by the way to pay that a choice of it means which names none.
pub fn can_take(order: &Order, channel: Channel, now: Instant) -> bool {
    let method = order.rulebook().channel(channel).methods.first();
    method.is_some_and(|method| can_take_by(order, (channel, *method), now))
}

/// Whether a channel could take `order` now by this way to pay.
fn can_take_by(order: &Order, way: (Channel, Method), now: Instant) -> bool {
    matches!(price(order, way, now), Some(Ok(_)))
}

fn price_by_rules(order: &Order, (channel, method): (Channel, Method), now: Instant) -> Result<Quote, Unsuited> {
    let rules = order.rulebook().channel(channel);
    let limit = rules.limit(order.currency).ok_or(Unsuited::Currency)?;
    let quote = order.quote(channel, method).ok_or(Unsuited::AboveMaximum)?;
    if !limit.is_reached(quote.payable_minor) {
        Err(Unsuited::BelowMinimum)
    } else if limit.is_passed(quote.payable_minor) {
        Err(Unsuited::AboveMaximum)
    } else if order.expires_at.since_ms(now) < rules.live_min_ms {
        Err(Unsuited::TooLate)
    } else {
        Ok(quote)
    }
}

/// Decides whether `order` may be paid through the chosen channel now.
pub fn validate(order: &Order, facts: &Facts, now: Instant) -> Verdict {
    if let Some(rule) = &facts.risk {
        return Verdict::RiskRefused { rule: rule.clone() };
    }
    let unsuitable = Verdict::Unsuitable { failure: AttemptFailure::ChannelUnsuitable };
    let Some(account) = &facts.account else { return unsuitable };
    let book = order.rulebook();
    if !book.channel(facts.channel).methods.contains(&facts.method)
        || !can_take_by(order, (facts.channel, facts.method), now)
    {
        return unsuitable;
    }
    match facts.health {
        Health::Down => Verdict::Unsuitable { failure: AttemptFailure::ChannelUnavailable },
        Health::Up => Verdict::Suitable {
            account: account.clone(),
            merchant: facts.merchant,
            expires_at: order.expires_at.min(now.plus_ms(book.life_ms(facts.channel))),
        },
    }
}

/// Whether a payer may leave an open attempt for the chosen channel: nothing is closed for a channel that cannot take
/// the order.
///
/// # Errors
/// [`Refusal::ChannelUnusable`].
pub fn check_switch(order: &Order, facts: &Facts, now: Instant) -> Result<(), Refusal> {
    let stays = |attempt: &Attempt| attempt.is_renewed_by(facts.channel, facts.method, now);
    if order.state.is_final() || order.open_attempt().is_none_or(stays) {
        return Ok(());
    }
    match validate(order, facts, now) {
        Verdict::Suitable { .. } | Verdict::RiskRefused { .. } => Ok(()),
        Verdict::Unsuitable { failure } => Err(Refusal::ChannelUnusable { failure }),
    }
}
