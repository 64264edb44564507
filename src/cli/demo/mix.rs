//! What happens to each order: the sandbox's scripts and how often each is played.

use std::str::FromStr;

/// Play mostly plain payments, and everything else that can happen often enough to be seen.
pub const DEFAULT: &str = "plain=80,sim:decline=3,sim:refuse=2,sim:underpay=3,sim:hang=1,sim:error=2,sim:lost=2,\
    sim:twice=2,sim:forge=2,sim:late=2,sim:never=1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Script {
    Plain,
    Decline,
    Refuse,
    Underpay,
    Hang,
    Error,
    Lost,
    Twice,
    Forge,
    Late,
    Never,
}

/// Where a script's order ends, as its platform sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    pub state: &'static str,
    /// The code of its failure, or of its last attempt's.
    pub failure: Option<&'static str>,
    pub money: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Money {
    /// Nothing comes that the order is not paid by.
    Expected,
    /// Money comes that must go back.
    GoesBack,
}

impl Script {
    pub const ALL: [Script; 11] = [
        Script::Plain,
        Script::Decline,
        Script::Refuse,
        Script::Underpay,
        Script::Hang,
        Script::Error,
        Script::Lost,
        Script::Twice,
        Script::Forge,
        Script::Late,
        Script::Never,
    ];

    /// The first word of the order's description.
    pub const fn word(self) -> &'static str {
        match self {
            Script::Plain => "plain",
            Script::Decline => "sim:decline",
            Script::Refuse => "sim:refuse",
            Script::Underpay => "sim:underpay",
            Script::Hang => "sim:hang",
            Script::Error => "sim:error",
            Script::Lost => "sim:lost",
            Script::Twice => "sim:twice",
            Script::Forge => "sim:forge",
            Script::Late => "sim:late",
            Script::Never => "sim:never",
        }
    }

    /// What it plays, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Script::Plain => "paid",
            Script::Decline => "the payer's attempt is declined",
            Script::Refuse => "the channel refuses the order",
            Script::Underpay => "paid one fen short",
            Script::Hang => "the channel never answers, then paid",
            Script::Error => "the channel answers 500, then paid",
            Script::Lost => "paid, the callback is lost",
            Script::Twice => "paid, the callback comes three times",
            Script::Forge => "a forged callback, then paid",
            Script::Late => "cancelled, then paid all the same",
            Script::Never => "never paid, cancelled",
        }
    }

    pub const fn ending(self) -> Ending {
        let (state, failure, money) = match self {
            Script::Plain | Script::Hang | Script::Error | Script::Lost | Script::Twice | Script::Forge => {
                ("succeeded", None, Money::Expected)
            }
            Script::Decline | Script::Refuse => ("created", Some("channel_declined"), Money::Expected),
            Script::Underpay => ("created", Some("amount_insufficient"), Money::GoesBack),
            Script::Late => ("failed", Some("cancelled"), Money::GoesBack),
            Script::Never => ("failed", Some("cancelled"), Money::Expected),
        };
        Ending { state, failure, money }
    }

    /// Whether the platform cancels the order a second after it was accepted.
    pub const fn is_cancelled(self) -> bool {
        match self {
            Script::Late | Script::Never => true,
            Script::Plain
            | Script::Decline
            | Script::Refuse
            | Script::Underpay
            | Script::Hang
            | Script::Error
            | Script::Lost
            | Script::Twice
            | Script::Forge => false,
        }
    }
}

/// Scripts and their shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(Vec<(Script, i64)>);

/// The largest share: sums of all shares stay far from overflow.
const SHARE_MAX: i64 = 1_000_000;

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut shares: Vec<(Script, i64)> = Vec::new();
        for part in text.split(',') {
            let (word, share) = part.trim().split_once('=').ok_or_else(|| format!("`{part}` is not SCRIPT=SHARE"))?;
            let script = Script::ALL
                .into_iter()
                .find(|script| script.word().trim_start_matches("sim:") == word.trim_start_matches("sim:"))
                .ok_or_else(|| format!("there is no script `{word}`"))?;
            let share = share.parse().ok().filter(|share| (0..=SHARE_MAX).contains(share));
            let share = share.ok_or_else(|| format!("the share of `{word}` is a number up to {SHARE_MAX}"))?;
            if shares.iter().any(|(known, _)| *known == script) {
                return Err(format!("`{word}` stands there twice"));
            }
            shares.push((script, share));
        }
        if shares.iter().all(|(_, share)| *share == 0) {
            return Err("no script has a share".to_owned());
        }
        Ok(Mix(shares))
    }
}

impl Mix {
    /// The scripts of so many orders: each as often as its share says, and evenly spread.
    pub fn deal(&self, orders: usize) -> Vec<Script> {
        let total: i64 = self.0.iter().map(|(_, share)| share).sum();
        let mut owed = vec![0; self.0.len()];
        let mut dealt = Vec::with_capacity(orders);
        for _ in 0..orders {
            let mut most = 0;
            for (place, (_, share)) in self.0.iter().enumerate() {
                owed[place] += share;
                if owed[place] > owed[most] {
                    most = place;
                }
            }
            owed[most] -= total;
            dealt.push(self.0[most].0);
        }
        dealt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(dealt: &[Script], script: Script) -> usize {
        dealt.iter().filter(|dealt| **dealt == script).count()
    }

    #[test]
    fn each_script_is_dealt_as_often_as_its_share_says() {
        let dealt = DEFAULT.parse::<Mix>().unwrap().deal(3_000);
        assert_eq!(count(&dealt, Script::Plain), 2_400);
        assert_eq!(count(&dealt, Script::Late), 60);
        assert_eq!(count(&dealt, Script::Never), 30);
        assert_eq!(count(&dealt[..100], Script::Plain), 80);
        let few = "decline=1,plain=2".parse::<Mix>().unwrap().deal(3);
        assert_eq!((count(&few, Script::Decline), count(&few, Script::Plain)), (1, 2));
    }

    #[test]
    fn what_is_no_mix_is_refused() {
        for text in ["", "plain", "plain=", "plain=-1", "plain=0", "sim:nothing=1", "plain=1,plain=2", "plain=1000001"]
        {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }
}
