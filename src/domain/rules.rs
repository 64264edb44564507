//! The rules and schedules that orders live by, in versions. An order keeps the version that it was created under: what
//! is changed in a later one says nothing about a journal that was written before.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::channel::{self, Absence, Channel, Rules};
use super::id::Round;
use super::retry::{self, Pace, Schedule};
use super::time::{Instant, TimeScale};

/// A version of all tables that decide about an order. Stored as its number; one that is unknown is refused.
#[derive(Clone, Copy)]
pub struct RulesVersion(&'static Tables);

struct Tables {
    number: u16,
    channel: fn(Channel) -> &'static Rules,
    queries: fn(Channel, Pace) -> Schedule,
    refunds: fn(Pace) -> Schedule,
    refund_rounds: fn(Pace) -> Schedule,
    watches: Schedule,
    claim_stands_ms: i64,
}

/// A version that is written anywhere is never changed: what is to be different becomes the next one.
static V1: Tables = Tables {
    number: 1,
    channel: channel::rules_1,
    queries: retry::queries,
    refunds: retry::refunds,
    refund_rounds: retry::refund_rounds,
    watches: &retry::WATCHES,
    claim_stands_ms: retry::CLAIM_STANDS_MS,
};

impl RulesVersion {
    const KNOWN: [RulesVersion; 1] = [RulesVersion(&V1)];
    /// What new orders live by.
    pub const CURRENT: RulesVersion = RulesVersion(&V1);

    pub const fn number(self) -> u16 {
        self.0.number
    }
}

impl PartialEq for RulesVersion {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for RulesVersion {}

impl fmt::Debug for RulesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RulesVersion({})", self.number())
    }
}

impl Serialize for RulesVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.number())
    }
}

impl<'de> Deserialize<'de> for RulesVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u16::deserialize(deserializer)?;
        RulesVersion::KNOWN
            .into_iter()
            .find(|version| version.number() == number)
            .ok_or_else(|| D::Error::custom("unknown version of rules"))
    }
}

impl Channel {
    /// The rules that new orders live by. What decides about an order that exists is its [`Rulebook`].
    pub fn rules(self) -> &'static Rules {
        (RulesVersion::CURRENT.0.channel)(self)
    }
}

/// What one order lives by: its version of the tables, at its pace and scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rulebook {
    pub version: RulesVersion,
    pub pace: Pace,
    pub time_scale: TimeScale,
}

impl Rulebook {
    pub fn channel(self, channel: Channel) -> &'static Rules {
        (self.version.0.channel)(channel)
    }

    /// See [`Rules::life_ms`].
    pub fn life_ms(self, channel: Channel) -> i64 {
        self.channel(channel).life_ms(self.time_scale)
    }

    pub fn grace_ms(self, channel: Channel) -> i64 {
        self.channel(channel).grace_ms(self.time_scale)
    }

    /// See [`retry::queries`].
    pub fn queries(self, channel: Channel) -> Schedule {
        (self.version.0.queries)(channel, self.pace)
    }

    /// See [`retry::refunds`].
    pub fn refunds(self) -> Schedule {
        (self.version.0.refunds)(self.pace)
    }

    /// How long the number after this round's waits, see [`retry::refund_rounds`]; none after the last.
    pub fn next_round_ms(self, round: Round) -> Option<i64> {
        (self.version.0.refund_rounds)(self.pace).get(usize::from(round.0)).copied()
    }

    /// What the channel wants between two refunds of one payment.
    pub fn refund_pause_ms(self, channel: Channel) -> i64 {
        self.time_scale.of(self.channel(channel).refunding.pause_ms)
    }

    /// How long a refund can wait for its turn, at any channel.
    pub fn refunds_wait_max_ms(self) -> i64 {
        let waits = Channel::ALL.map(|channel| {
            let most = i64::from(self.channel(channel).refunding.most);
            self.refund_pause_ms(channel).saturating_mul(most)
        });
        waits.into_iter().max().unwrap_or_default()
    }

    /// How long a send of a refund may take to arrive.
    fn refund_arrives_ms(self, channel: Channel) -> i64 {
        self.time_scale.of(self.channel(channel).refunding.arrives_ms)
    }

    /// Whether a refund that a channel did not find at `asked_at` was never sent there: whatever was sent by `sent_at` had
    /// the time to arrive by then, and would be found.
    pub fn is_absence_certain(self, channel: Channel, sent_at: Instant, asked_at: Instant) -> bool {
        match self.channel(channel).refunding.absence {
            Absence::Certain => asked_at > sent_at.plus_ms(self.refund_arrives_ms(channel)),
            Absence::Nothing => false,
        }
    }

    /// How long after it was paid a refund is looked at again, after so many looks; none where no look follows.
    pub fn refund_look_ms(self, channel: Channel, looks: u8) -> Option<i64> {
        let look_ms = self.channel(channel).refunding.looks_ms.get(usize::from(looks))?;
        Some(self.time_scale.of(*look_ms))
    }

    /// See [`retry::WATCHES`].
    pub fn watches(self) -> Schedule {
        self.version.0.watches
    }

    /// See [`retry::CLAIM_STANDS_MS`].
    pub fn claim_stands_ms(self) -> i64 {
        self.version.0.claim_stands_ms
    }
}

#[cfg(test)]
pub(in crate::domain) mod tests;
