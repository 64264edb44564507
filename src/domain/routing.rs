//! Which channel first: the channels that an order could be paid by, in the order in which its payer is offered them,
//! each with the reason of its place.
//!
//! Channels that are up and take the order come first. Among them the one leads that this payer paid by last; then the
//! success rate of late decides, then the fee, then the fixed order of channels. Rates are compared in steps, because
//! what lies within one step is chance. A channel with too few samples counts as neutral, with a rate of its own in the
//! configuration: one that is known to do well stands before it, one that is known to fail stands behind it.

use super::channel::Channel;
use super::order::{Attempt, FeeBearer, Order, Quote};
use super::success::{BasisPoints, Tally};
use super::time::Instant;
use super::validation::{Health, Unsuited, price};

/// How rates are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Fewer endings than this say nothing about a channel.
    pub samples_min: u32,
    pub rate_step_percent: u16,
    /// What a channel with too few samples counts as.
    pub neutral_rate: BasisPoints,
}

/// How an enabled channel stands at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub health: Health,
    pub tally: Tally,
}

/// What is known when a channel is to be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    pub at: Instant,
    pub policy: Policy,
    /// By [`Channel::index`]; none where the channel is not enabled.
    pub channels: [Option<Standing>; Channel::COUNT],
    /// What this payer paid by last, on whatever platform.
    pub last_channel: Option<Channel>,
}

/// A channel in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub channel: Channel,
    pub health: Health,
    /// None with too few samples.
    pub success_rate: Option<BasisPoints>,
    pub price: Result<Quote, Unsuited>,
    pub reason: Reason,
}

/// Why a channel has its place. A channel that leads another is told by what; the last one, by what it is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    UsedBefore,
    OnlyOne,
    HigherSuccessRate,
    LowerFee,
    LowerSuccessRate,
    HigherFee,
    /// Nothing tells it from its neighbour but the fixed order.
    Available,
    Down,
    Unsuited(Unsuited),
}

impl Reason {
    /// What the payer is told of it: a fee that the platform bears is no reason for anybody else.
    pub fn for_payer(self, bearer: FeeBearer) -> Reason {
        let of_fee = self == Reason::LowerFee || self == Reason::HigherFee;
        match bearer {
            FeeBearer::Platform if of_fee => Reason::Available,
            FeeBearer::Platform | FeeBearer::Payer => self,
        }
    }
}

impl Route {
    /// Whether the payer can be sent there now.
    pub fn is_usable(&self) -> bool {
        match self.health {
            Health::Up => self.price.is_ok(),
            Health::Down => false,
        }
    }
}

/// Whether the order waits for somebody to choose a channel.
pub fn awaits_choice(order: &Order) -> bool {
    !order.state.is_final() && order.open_attempt().is_none()
}

/// The enabled channels in order, without the one that the order is being paid by; of a final order, none.
pub fn rank(order: &Order, outlook: &Outlook) -> Vec<Route> {
    if order.state.is_final() {
        return Vec::new();
    }
    let current = order.open_attempt().map(Attempt::channel);
    let mut candidates: Vec<Candidate> = Channel::ALL
        .into_iter()
        .filter(|channel| Some(*channel) != current)
        .filter_map(|channel| Candidate::of(order, outlook, channel))
        .collect();
    candidates.sort_by_key(|candidate| candidate.place);
    let reasons: Vec<Reason> = (0..candidates.len()).map(|place| reason(&candidates, place)).collect();
    candidates.into_iter().zip(reasons).map(|(candidate, reason)| Route { reason, ..candidate.route }).collect()
}

/// The channels among them that the payer could turn to.
pub fn alternatives(routes: &[Route]) -> Vec<Channel> {
    routes.iter().filter(|route| route.is_usable()).map(|route| route.channel).collect()
}

impl Outlook {
    /// Where nobody will ask for a channel again.
    pub const fn none(at: Instant, policy: Policy) -> Self {
        Outlook { at, policy, channels: [None; Channel::COUNT], last_channel: None }
    }
}

/// What a place is decided by, the first difference deciding: smaller is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    usability: Usability,
    habit: Habit,
    /// Steps from the best possible rate.
    rate_steps_lost: u16,
    fee_minor: i64,
    channel: Channel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Usability {
    Usable,
    Down,
    Unsuited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Habit {
    UsedBefore,
    Unfamiliar,
}

struct Candidate {
    place: Place,
    route: Route,
}

impl Candidate {
    /// None where the channel is not enabled, or the order is older than it.
    fn of(order: &Order, outlook: &Outlook, channel: Channel) -> Option<Self> {
        let Standing { health, tally } = outlook.channels[channel.index()]?;
        // A choice that names no way to pay means the channel's first.
        let method = *order.rulebook().channel(channel).methods.first()?;
        let price = price(order, (channel, method), outlook.at)?;
        let Policy { samples_min, rate_step_percent, neutral_rate } = outlook.policy;
        let success_rate = tally.rate(samples_min);
        let (usability, reason) = match (price, health) {
            (Err(why), _) => (Usability::Unsuited, Reason::Unsuited(why)),
            (Ok(_), Health::Down) => (Usability::Down, Reason::Down),
            (Ok(_), Health::Up) => (Usability::Usable, Reason::Available),
        };
        // Whoever was turned away there wants another channel, whatever they are used to.
        let turned_away =
            order.attempts.iter().any(|attempt| attempt.channel() == channel && attempt.was_turned_away());
        let place = Place {
            usability,
            habit: match outlook.last_channel == Some(channel) && !turned_away {
                true => Habit::UsedBefore,
                false => Habit::Unfamiliar,
            },
            rate_steps_lost: success_rate.unwrap_or(neutral_rate).steps_lost(rate_step_percent),
            fee_minor: price.map_or(0, |quote| quote.fee_minor),
            channel,
        };
        Some(Candidate { place, route: Route { channel, health, success_rate, price, reason } })
    }
}

/// What tells two neighbours apart, if anything of importance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    SuccessRate,
    Fee,
    Nothing,
}

fn difference(a: &Place, b: &Place) -> Difference {
    if a.rate_steps_lost != b.rate_steps_lost {
        Difference::SuccessRate
    } else if a.fee_minor != b.fee_minor {
        Difference::Fee
    } else {
        Difference::Nothing
    }
}

/// The reason of a place among candidates in order.
fn reason(candidates: &[Candidate], place: usize) -> Reason {
    let usable = |candidate: &&Candidate| candidate.place.usability == Usability::Usable;
    let at = |place: usize| candidates.get(place).filter(usable).map(|candidate| &candidate.place);
    let Some(own) = at(place) else { return candidates[place].route.reason };
    if own.habit == Habit::UsedBefore {
        return Reason::UsedBefore;
    }
    // What a channel without figures counts as places it, and is nothing that can be said of it.
    let has_figures = candidates[place].route.success_rate.is_some();
    // One that leads by habit is no measure for those behind it.
    let before = place.checked_sub(1).and_then(at).filter(|before| before.habit == own.habit);
    match (before, at(place + 1)) {
        (_, Some(next)) => match difference(own, next) {
            Difference::SuccessRate if has_figures => Reason::HigherSuccessRate,
            Difference::Fee => Reason::LowerFee,
            Difference::SuccessRate | Difference::Nothing => Reason::Available,
        },
        (Some(before), None) => match difference(before, own) {
            Difference::SuccessRate if has_figures => Reason::LowerSuccessRate,
            Difference::Fee => Reason::HigherFee,
            Difference::SuccessRate | Difference::Nothing => Reason::Available,
        },
        (None, None) if place == 0 => Reason::OnlyOne,
        (None, None) => Reason::Available,
    }
}

#[cfg(test)]
mod tests;
