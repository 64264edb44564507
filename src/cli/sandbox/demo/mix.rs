//! What happens to each order: by which channel it is paid, the sandbox's scripts, whether another platform has a share,
//! what is asked back, and how often each is played.

use std::fmt;
use std::str::FromStr;

use super::refunding::Refunding;
use crate::domain::channel::{Channel, Closing};

/// Play mostly plain payments, by every channel, and everything else that can happen often enough to be seen.
pub const DEFAULT: &str = "plain=24,decline=2,refuse=2,underpay=2,hang=1,error=2,lost=2,twice=1,forge=1,late=2,never=1,\
    plain+split=6,plain+split+refund=2,plain+split+part=2,plain+refund=2,plain+part=2,plain+parts=2,\
    plain+poor=1,plain+refuse=1,plain+end=1,plain+return=1,\
    wechat/plain=2,wechat/decline=1,wechat/lost=1,wechat/underpay=1,wechat/late=1,\
    wechat/plain+split=1,wechat/plain+refund=1,wechat/plain+parts=1,wechat/plain+poor=1,\
    alipay/plain=2,alipay/decline=1,alipay/lost=1,alipay/underpay=1,alipay/twice=1,\
    alipay/plain+split+refund=1,alipay/plain+part=1,alipay/plain+poor=1,alipay/plain+refuse=1,\
    unionpay/plain=3,unionpay/underpay=1,unionpay/lost=1,unionpay/twice=1,unionpay/forge=1,\
    unionpay/plain+split+parts=1,unionpay/plain+refund=1,unionpay/plain+refuse=1,\
    stripe/plain=2,stripe/decline=1,stripe/lost=1,stripe/underpay=1,stripe/late=1,\
    stripe/plain+split+refund=1,stripe/plain+part=1,stripe/plain+poor=1,stripe/plain+return=1";

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

/// Whether another platform has a part of the order's amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    None,
    /// The first demo platform gives the second one a tenth.
    Tenth,
}

/// A script, the channel at which it is played, and what is done with the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub channel: Channel,
    pub script: Script,
    pub split: Split,
    pub refunding: Option<Refunding>,
}

impl Kind {
    pub const fn plain(channel: Channel, script: Script) -> Self {
        Kind { channel, script, split: Split::None, refunding: None }
    }

    /// UnionPay has no close and no word for "declined for good": what was not paid stays open there until its time is
    /// over, which is longer than a demo.
    fn ends_within_a_demo(self) -> bool {
        let closes = match self.channel.rules().closing {
            Closing::Certain | Closing::Confirmed => true,
            Closing::Impossible => false,
        };
        match self.script {
            Script::Decline | Script::Refuse | Script::Late | Script::Never => closes,
            Script::Plain
            | Script::Underpay
            | Script::Hang
            | Script::Error
            | Script::Lost
            | Script::Twice
            | Script::Forge => true,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.channel, self.script.word())?;
        match self.split {
            Split::None => {}
            Split::Tenth => write!(f, "+{SPLIT}")?,
        }
        match self.refunding {
            None => Ok(()),
            Some(refunding) => write!(f, "+{}", refunding.word()),
        }
    }
}

/// What says that an order is split.
const SPLIT: &str = "split";

impl FromStr for Kind {
    type Err = String;

    /// `[CHANNEL/]SCRIPT[+split][+REFUND]`, simpay where no channel is named.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split('+');
        let played = words.next().unwrap_or_default();
        let (channel, word) = match played.split_once('/') {
            Some((name, word)) => (Channel::parse(name).ok_or_else(|| format!("there is no channel `{name}`"))?, word),
            None => (Channel::Simpay, played),
        };
        let script = Script::ALL
            .into_iter()
            .find(|script| script.word().trim_start_matches("sim:") == word.trim_start_matches("sim:"))
            .ok_or_else(|| format!("there is no script `{word}`"))?;
        let mut kind = Kind::plain(channel, script);
        for word in words {
            let refunding = Refunding::ALL.into_iter().find(|refunding| refunding.word() == word);
            match (word, refunding, kind) {
                (SPLIT, _, Kind { split: Split::None, .. }) => kind.split = Split::Tenth,
                (_, Some(refunding), Kind { refunding: None, .. }) => kind.refunding = Some(refunding),
                (SPLIT, ..) | (_, Some(_), _) => return Err(format!("`{text}` is split or refunded twice")),
                (_, None, _) => return Err(format!("there is no refund `{word}`")),
            }
        }
        let is_paid = script.ending().state == "succeeded";
        if !is_paid && kind != Kind::plain(channel, script) {
            return Err(format!("`{kind}` is never paid, so nothing of it can be split or refunded"));
        }
        if kind.refunding.is_some_and(|refunding| !refunding.is_expressed_by(channel)) {
            return Err(format!("{channel} has no words for the refund of `{kind}`"));
        }
        if kind.ends_within_a_demo() { Ok(kind) } else { Err(format!("`{kind}` does not end within a demo")) }
    }
}

/// Kinds and their shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(Vec<(Kind, i64)>);

/// The largest share: sums of all shares stay far from overflow.
const SHARE_MAX: i64 = 1_000_000;

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut shares: Vec<(Kind, i64)> = Vec::new();
        for part in text.split(',') {
            let (word, share) = part.trim().split_once('=').ok_or_else(|| format!("`{part}` is not KIND=SHARE"))?;
            let kind: Kind = word.parse()?;
            let share = share.parse().ok().filter(|share| (0..=SHARE_MAX).contains(share));
            let share = share.ok_or_else(|| format!("the share of `{word}` is a number up to {SHARE_MAX}"))?;
            if shares.iter().any(|(known, _)| *known == kind) {
                return Err(format!("`{word}` stands there twice"));
            }
            shares.push((kind, share));
        }
        if shares.iter().all(|(_, share)| *share == 0) {
            return Err("no kind has a share".to_owned());
        }
        Ok(Mix(shares))
    }
}

impl Mix {
    /// The channels that it needs.
    pub fn channels(&self) -> impl Iterator<Item = Channel> {
        let is_played = |channel: &Channel| self.0.iter().any(|(kind, share)| kind.channel == *channel && *share > 0);
        Channel::ALL.into_iter().filter(is_played)
    }

    /// The kinds of so many orders: each as often as its share says, and evenly spread.
    pub fn deal(&self, orders: usize) -> Vec<Kind> {
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

    fn count(dealt: &[Kind], channel: Channel, script: Script) -> usize {
        dealt.iter().filter(|dealt| dealt.channel == channel && dealt.script == script).count()
    }

    #[test]
    fn each_kind_is_dealt_as_often_as_its_share_says() {
        let mix = DEFAULT.parse::<Mix>().unwrap();
        let dealt = mix.deal(3_000);
        assert_eq!(count(&dealt, Channel::Simpay, Script::Plain), 1_320);
        assert_eq!(count(&dealt, Channel::Wechat, Script::Late), 30);
        assert_eq!(count(&dealt[..100], Channel::Simpay, Script::Plain), 44);
        for channel in [Channel::Wechat, Channel::Alipay, Channel::Unionpay, Channel::Stripe] {
            assert_eq!(dealt.iter().filter(|kind| kind.channel == channel).count(), 300, "{channel}");
        }
        assert_eq!(mix.channels().count(), Channel::COUNT);
        assert_eq!(dealt.iter().filter(|kind| kind.split == Split::Tenth).count(), 420);
        for refunding in Refunding::ALL {
            let dealt = dealt.iter().filter(|kind| kind.refunding == Some(refunding));
            assert!(dealt.count() >= 30, "{refunding:?}");
        }
        let few = "decline=1,plain=2,stripe/plain=0".parse::<Mix>().unwrap();
        assert_eq!(few.channels().collect::<Vec<_>>(), [Channel::Simpay]);
        let few = few.deal(3);
        let counts = [Script::Decline, Script::Plain].map(|script| count(&few, Channel::Simpay, script));
        assert_eq!(counts, [1, 2]);
    }

    #[test]
    fn a_kind_reads_as_it_is_written() {
        let kind: Kind = "stripe/lost+split+return".parse().unwrap();
        let (split, refunding) = (Split::Tenth, Some(Refunding::Return));
        assert_eq!(kind, Kind { channel: Channel::Stripe, script: Script::Lost, split, refunding });
        for text in ["simpay/plain", "simpay/sim:twice+split", "alipay/plain+parts", "stripe/sim:lost+split+return"] {
            assert_eq!(text.parse::<Kind>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_mix_is_refused() {
        for text in [
            "",
            "plain",
            "plain=",
            "plain=-1",
            "plain=0",
            "sim:nothing=1",
            "plain=1,simpay/plain=2",
            "plain=1000001",
            "paypal/plain=1",
            "unionpay/never=1",
            "plain+=1",
            "plain+sim:poor=1",
            "plain+split+split=1",
            "plain+part+refund=1",
            "decline+refund=1",
            "never+split=1",
            "wechat/plain+return=1",
            "alipay/plain+end=1",
            "unionpay/plain+poor=1",
            "plain+part=1,simpay/plain+part=1",
        ] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }
}
