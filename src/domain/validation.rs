//! The look at a chosen channel: amount, currency, limits, time, health, payer. Facts in, a verdict out.

use super::channel::{Channel, Method};
use super::event::{Refusal, Verdict};
use super::id::Account;
use super::order::{Attempt, AttemptFailure, Order};
use super::time::Instant;

/// What the outside knows at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub channel: Channel,
    pub method: Method,
    /// The account that would be used; none when the channel is not enabled.
    pub account: Option<Account>,
    pub health: Health,
    /// The risk rule that this payer breaks, if any.
    pub risk: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Up,
    Down,
}

/// Decides whether `order` may be paid through the chosen channel now.
pub fn validate(order: &Order, facts: &Facts, now: Instant) -> Verdict {
    if let Some(rule) = &facts.risk {
        return Verdict::RiskRefused { rule: rule.clone() };
    }
    let unsuitable = Verdict::Unsuitable { failure: AttemptFailure::ChannelUnsuitable };
    let Some(account) = &facts.account else { return unsuitable };
    let rules = facts.channel.rules();
    let time_left_ms = order.expires_at.since_ms(now);
    if !rules.methods.contains(&facts.method)
        || !rules.takes(order.currency)
        || order.quote(facts.channel).is_none()
        || time_left_ms < rules.live_min_ms
    {
        return unsuitable;
    }
    match facts.health {
        Health::Down => Verdict::Unsuitable { failure: AttemptFailure::ChannelUnavailable },
        Health::Up => Verdict::Suitable {
            account: account.clone(),
            expires_at: order.expires_at.min(now.plus_ms(rules.live_max_ms)),
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
