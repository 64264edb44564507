//! What the orders of a run ask for: scripts of the simulated gateway, by weight.

use std::fmt;
use std::str::FromStr;

use crate::way::Channel;

const WEIGHTS_MAX: u32 = 10_000;

/// The first word of a description, as the sandbox understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Plain,
    Decline,
    Refuse,
    Never,
    Underpay,
    Hang,
    Error,
    Lost,
    Twice,
    Forge,
    Late,
    Slow,
}

/// How a payment ends for the platform: the webhook that finishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Succeeded,
    AttemptFailed,
    /// Nothing comes within the time of a run.
    Open,
}

impl Script {
    const ALL: [Self; 12] = [
        Self::Plain,
        Self::Decline,
        Self::Refuse,
        Self::Never,
        Self::Underpay,
        Self::Hang,
        Self::Error,
        Self::Lost,
        Self::Twice,
        Self::Forge,
        Self::Late,
        Self::Slow,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Decline => "sim:decline",
            Self::Refuse => "sim:refuse",
            Self::Never => "sim:never",
            Self::Underpay => "sim:underpay",
            Self::Hang => "sim:hang",
            Self::Error => "sim:error",
            Self::Lost => "sim:lost",
            Self::Twice => "sim:twice",
            Self::Forge => "sim:forge",
            Self::Late => "sim:late",
            Self::Slow => "sim:slow",
        }
    }

    pub fn end(self) -> End {
        match self {
            Self::Plain | Self::Hang | Self::Error | Self::Lost | Self::Twice | Self::Forge | Self::Slow => {
                End::Succeeded
            }
            Self::Decline | Self::Refuse | Self::Underpay => End::AttemptFailed,
            Self::Never | Self::Late => End::Open,
        }
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|script| script.word() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|script| script.word()).collect();
            format!("unknown script {text:?}, known: {}", known.join(", "))
        })
    }
}

/// One kind of order within a mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Where it differs from the channel of the run.
    pub channel: Option<Channel>,
    pub script: Script,
    weight: u32,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.channel {
            Some(channel) => write!(f, "{channel}/{}", self.script.word()),
            None => f.write_str(self.script.word()),
        }
    }
}

/// `[CHANNEL/]SCRIPT=WEIGHT,…`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    kinds: Vec<Kind>,
    /// The index of the kind for each place of a cycle, so that the mix is the same in every run and even within it.
    cycle: Vec<u16>,
}

impl Mix {
    pub fn only(script: Script) -> Self {
        Self::new(vec![Kind { channel: None, script, weight: 1 }])
    }

    fn new(kinds: Vec<Kind>) -> Self {
        let total: i64 = kinds.iter().map(|kind| i64::from(kind.weight)).sum();
        let mut credit = vec![0_i64; kinds.len()];
        let mut cycle = Vec::new();
        for _ in 0..total {
            for (credit, kind) in credit.iter_mut().zip(&kinds) {
                *credit += i64::from(kind.weight);
            }
            let richest = (0..kinds.len()).rev().max_by_key(|&index| credit[index]).unwrap_or_default();
            credit[richest] -= total;
            cycle.push(u16::try_from(richest).unwrap_or_default());
        }
        Self { kinds, cycle }
    }

    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Which kind the order with this serial number is.
    pub fn index(&self, serial: u64) -> usize {
        let place = serial % self.cycle.len() as u64;
        usize::from(self.cycle[place as usize])
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds: Vec<Kind> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.trim().split_once('=').ok_or("expected [CHANNEL/]SCRIPT=WEIGHT,…")?;
            let (channel, script) = match name.split_once('/') {
                Some((channel, script)) => (Some(channel.parse()?), script),
                None => (None, name),
            };
            let weight: u32 = weight.parse().map_err(|_| format!("{weight:?} is not a weight"))?;
            if weight == 0 {
                return Err(format!("{name}: a weight is at least 1"));
            }
            let kind = Kind { channel, script: script.parse()?, weight };
            if kinds.iter().any(|other| other.channel == kind.channel && other.script == kind.script) {
                return Err(format!("{kind} stands twice"));
            }
            kinds.push(kind);
        }
        let total: u64 = kinds.iter().map(|kind| u64::from(kind.weight)).sum();
        if total > u64::from(WEIGHTS_MAX) {
            return Err(format!("the weights add up to more than {WEIGHTS_MAX}"));
        }
        Ok(Self::new(kinds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_holds_each_kind_by_its_weight() {
        let mix: Mix = "plain=90,sim:decline=5,wechat/sim:hang=5".parse().unwrap();
        let mut counts = [0; 3];
        for serial in 1_000..1_100 {
            counts[mix.index(serial)] += 1;
        }
        assert_eq!(counts, [90, 5, 5]);
        assert_eq!(mix.kinds()[2].to_string(), "wechat/sim:hang");
    }

    #[test]
    fn rare_kinds_are_spread_over_the_cycle() {
        let mix: Mix = "plain=8,sim:decline=2".parse().unwrap();
        let rare: Vec<u64> = (0..10).filter(|&serial| mix.index(serial) == 1).collect();
        assert_eq!(rare.len(), 2);
        assert_eq!(rare[1] - rare[0], 5);
    }

    #[test]
    fn every_script_is_read_by_its_word() {
        for script in Script::ALL {
            assert_eq!(script.word().parse(), Ok(script));
        }
    }

    #[test]
    fn refuses_what_is_not_a_mix() {
        for text in [
            "",
            "plain",
            "plain=0",
            "plain=-1",
            "plain=x",
            "sim:nope=1",
            "plain=1,plain=2",
            "plain=10001",
            "plain=4294967295,sim:lost=4294967295",
            "/plain=1",
            "paypal/plain=1",
            "plain=1,",
        ] {
            assert!(text.parse::<Mix>().is_err(), "{text:?}");
        }
    }
}
