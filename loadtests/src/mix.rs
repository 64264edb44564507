//! What the orders of a run ask for: scripts of the simulated gateway, shares and refunds, by weight.

use std::fmt;
use std::str::FromStr;

use crate::refund::Refund;
use crate::way::Channel;

const WEIGHTS_MAX: u32 = 10_000;
/// Shares that an order may have, by the contract.
const SHARES_MAX: u8 = 20;
const SHARED: &str = "split";

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
    /// How many other platforms get a share of it.
    pub shares: u8,
    /// How it is given back once it is paid.
    pub refund: Option<Refund>,
    weight: u32,
}

impl Kind {
    fn new(channel: Option<Channel>, script: Script) -> Self {
        Self { channel, script, shares: 0, refund: None, weight: 1 }
    }

    /// Nothing is done with its money but to take it.
    pub fn is_bare(&self) -> bool {
        self.shares == 0 && self.refund.is_none()
    }

    fn is_like(&self, other: &Self) -> bool {
        Self { weight: other.weight, ..self.clone() } == *other
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(channel) = &self.channel {
            write!(f, "{channel}/")?;
        }
        f.write_str(self.script.word())?;
        match self.shares {
            0 => {}
            1 => write!(f, "+{SHARED}")?,
            shares => write!(f, "+{SHARED}{shares}")?,
        }
        match self.refund {
            None => Ok(()),
            Some(refund) => write!(f, "+{}", refund.word()),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    /// `[CHANNEL/]SCRIPT[+split[N]][+refund|+parts]`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split('+');
        let played = words.next().unwrap_or_default();
        let mut kind = match played.split_once('/') {
            Some((channel, script)) => Self::new(Some(channel.parse()?), script.parse()?),
            None => Self::new(None, played.parse()?),
        };
        for word in words {
            let refund = Refund::ALL.into_iter().find(|refund| refund.word() == word);
            match (word.strip_prefix(SHARED), refund) {
                (Some(number), _) if kind.shares == 0 => kind.shares = shares(number)?,
                (None, Some(refund)) if kind.refund.is_none() => kind.refund = Some(refund),
                (Some(_), _) | (None, Some(_)) => return Err(format!("{text}: split or refunded twice")),
                (None, None) => return Err(format!("{text}: expected +split, +splitN, +refund or +parts")),
            }
        }
        match kind.script.end() {
            End::AttemptFailed | End::Open if kind.refund.is_some() => {
                Err(format!("{text}: what is not paid cannot be refunded"))
            }
            End::Succeeded | End::AttemptFailed | End::Open => Ok(kind),
        }
    }
}

fn shares(number: &str) -> Result<u8, String> {
    let shares = if number.is_empty() { Some(1) } else { number.parse().ok() };
    let shares = shares.filter(|shares| (1..=SHARES_MAX).contains(shares));
    shares.ok_or_else(|| format!("an order has 1 to {SHARES_MAX} shares, not {number:?}"))
}

/// `[CHANNEL/]SCRIPT[+split[N]][+refund|+parts]=WEIGHT,…`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    kinds: Vec<Kind>,
    /// The index of the kind for each place of a cycle, so that the mix is the same in every run and even within it.
    cycle: Vec<u16>,
}

impl Mix {
    pub fn only(script: Script) -> Self {
        Self::new(vec![Kind::new(None, script)])
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
            let (name, weight) = part.trim().split_once('=').ok_or("expected KIND=WEIGHT,…")?;
            let weight: u32 = weight.parse().map_err(|_| format!("{weight:?} is not a weight"))?;
            if weight == 0 {
                return Err(format!("{name}: a weight is at least 1"));
            }
            let kind = Kind { weight, ..name.parse()? };
            if kinds.iter().any(|other| other.is_like(&kind)) {
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
    fn a_kind_reads_as_it_is_written() {
        for text in ["plain", "wechat/sim:hang", "plain+split", "plain+split20+refund", "alipay/plain+parts"] {
            assert_eq!(text.parse::<Kind>().unwrap().to_string(), text);
        }
        let kind: Kind = "plain+parts+split3".parse().unwrap();
        assert_eq!((kind.shares, kind.refund, kind.is_bare()), (3, Some(Refund::Parts), false));
        let mix: Mix = "plain=8,plain+refund=1,plain+split=1".parse().unwrap();
        assert_eq!(mix.kinds().iter().filter(|kind| kind.is_bare()).count(), 1);
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
            "plain+=1",
            "plain+split0=1",
            "plain+split21=1",
            "plain+splits=1",
            "plain+split+split2=1",
            "plain+refund+parts=1",
            "plain+return=1",
            "sim:decline+refund=1",
            "sim:late+parts=1",
            "plain+refund=1,plain+refund=2",
        ] {
            assert!(text.parse::<Mix>().is_err(), "{text:?}");
        }
    }
}
