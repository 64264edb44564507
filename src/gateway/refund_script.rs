//! The simulated fate of refunds: what the first word of a refund's reason makes of it, at each channel.

use serde::{Deserialize, Serialize};

use super::accounts::Channel;
use super::fate::Fate;
use super::payer::Conduct;

/// How long a refund usually takes where it is not done at once.
const TAKES_MS: i64 = 300;
/// How long the refund of `sim:late` takes.
const LATE_MS: i64 = 20_000;
/// How long the channel has no money for `sim:poor`, from the first call under a number on.
const POOR_MS: i64 = 5_000;
/// How long the payer of `sim:return` has the money.
const RETURNS_MS: i64 = 3_000;

/// What happens to a refund, named by the first word of its reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundScript {
    #[default]
    Plain,
    Hang,
    Error,
    Refuse,
    End,
    Late,
    Poor,
    Stuck,
    Return,
}

/// How the first call of a refund is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    Taken,
    /// For certain.
    Refused,
    /// There is no money for it until this long after the first call under its number.
    Poor {
        for_ms: i64,
    },
}

impl RefundScript {
    pub fn of(reason: Option<&str>) -> Self {
        match reason.and_then(|reason| reason.split_whitespace().next()) {
            Some("sim:hang") => RefundScript::Hang,
            Some("sim:error") => RefundScript::Error,
            Some("sim:refuse") => RefundScript::Refuse,
            Some("sim:end") => RefundScript::End,
            Some("sim:late") => RefundScript::Late,
            Some("sim:poor") => RefundScript::Poor,
            Some("sim:stuck") => RefundScript::Stuck,
            Some("sim:return") => RefundScript::Return,
            Some(_) | None => RefundScript::Plain,
        }
    }

    /// What is left of the script at a channel: what its protocol has no words for goes as if nothing were asked.
    ///
    /// Alipay answers a refund with its result and knows no later one: its `alipay.trade.refund.depositback.completed`
    /// tells of a bank card alone, behind which the payer's balance stands. WeChat Pay's and UnionPay's refunds do not
    /// leave success again, and UnionPay has no codes for a poor merchant or a person who must act.
    pub const fn at(self, channel: Channel) -> Self {
        match (self, channel) {
            (RefundScript::End, Channel::Alipay)
            | (RefundScript::Poor, Channel::Unionpay)
            | (RefundScript::Stuck, Channel::Alipay | Channel::Unionpay)
            | (RefundScript::Return, Channel::Wechat | Channel::Alipay | Channel::Unionpay) => RefundScript::Plain,
            (
                RefundScript::Plain
                | RefundScript::Hang
                | RefundScript::Error
                | RefundScript::Refuse
                | RefundScript::Late,
                Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay | Channel::Stripe,
            )
            | (RefundScript::End, Channel::Simpay | Channel::Wechat | Channel::Unionpay | Channel::Stripe)
            | (RefundScript::Poor, Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Stripe)
            | (RefundScript::Stuck, Channel::Simpay | Channel::Wechat | Channel::Stripe)
            | (RefundScript::Return, Channel::Simpay | Channel::Stripe) => self,
        }
    }

    /// How a channel receives the refund. Stripe takes one that it has no money for, and lets it wait.
    pub const fn reception(self, channel: Channel) -> Reception {
        match self {
            RefundScript::Refuse => Reception::Refused,
            RefundScript::Poor => match channel {
                Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay => {
                    Reception::Poor { for_ms: POOR_MS }
                }
                Channel::Stripe => Reception::Taken,
            },
            RefundScript::Plain
            | RefundScript::Hang
            | RefundScript::Error
            | RefundScript::End
            | RefundScript::Late
            | RefundScript::Stuck
            | RefundScript::Return => Reception::Taken,
        }
    }

    /// What becomes of a refund that a channel takes at this instant.
    pub const fn fate(self, channel: Channel, taken_at: i64) -> Fate {
        let usual = taken_at.saturating_add(usual_ms(channel));
        match self {
            RefundScript::Plain | RefundScript::Hang | RefundScript::Error | RefundScript::Refuse => {
                Fate::Refunded { at: usual }
            }
            RefundScript::Poor => match channel {
                Channel::Stripe => Fate::Refunded { at: taken_at.saturating_add(POOR_MS) },
                Channel::Simpay | Channel::Wechat | Channel::Alipay | Channel::Unionpay => Fate::Refunded { at: usual },
            },
            RefundScript::Late => Fate::Refunded { at: taken_at.saturating_add(LATE_MS) },
            RefundScript::End => Fate::Ended { at: usual },
            RefundScript::Stuck => match channel {
                // They say so in their first answer; WeChat Pay finds out from the payer's bank.
                Channel::Simpay | Channel::Stripe => Fate::Stuck { at: taken_at },
                Channel::Wechat | Channel::Alipay | Channel::Unionpay => Fate::Stuck { at: usual },
            },
            RefundScript::Return => Fate::Returned { refunded_at: usual, at: usual.saturating_add(RETURNS_MS) },
        }
    }

    /// How the call that a refund is taken by is answered; whoever calls again is answered.
    pub const fn conduct(self) -> Conduct {
        match self {
            RefundScript::Hang => Conduct::Hangs,
            RefundScript::Error => Conduct::Fails,
            RefundScript::Plain
            | RefundScript::Refuse
            | RefundScript::End
            | RefundScript::Late
            | RefundScript::Poor
            | RefundScript::Stuck
            | RefundScript::Return => Conduct::Answers,
        }
    }

    /// Whether the merchant is told of what becomes of the refund.
    pub const fn is_told(self) -> bool {
        match self {
            RefundScript::Late => false,
            RefundScript::Plain
            | RefundScript::Hang
            | RefundScript::Error
            | RefundScript::Refuse
            | RefundScript::End
            | RefundScript::Poor
            | RefundScript::Stuck
            | RefundScript::Return => true,
        }
    }
}

/// Alipay's refunds are done when they are answered.
const fn usual_ms(channel: Channel) -> i64 {
    match channel {
        Channel::Alipay => 0,
        Channel::Simpay | Channel::Wechat | Channel::Unionpay | Channel::Stripe => TAKES_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_first_word_is_a_script() {
        assert_eq!(RefundScript::of(Some("sim:return")), RefundScript::Return);
        assert_eq!(RefundScript::of(Some("  sim:poor and the rest")), RefundScript::Poor);
        for plain in [None, Some(""), Some("sim:returns"), Some("a sim:return"), Some("SIM:RETURN"), Some("sim:slow")] {
            assert_eq!(RefundScript::of(plain), RefundScript::Plain, "{plain:?}");
        }
    }

    /// The whole table: what each script comes to at each channel that is asked at instant 0.
    #[test]
    fn every_script_goes_its_way_at_every_channel() {
        let done = |at| (Reception::Taken, Fate::Refunded { at });
        let poor = |at| (Reception::Poor { for_ms: 5_000 }, Fate::Refunded { at });
        let returned = (Reception::Taken, Fate::Returned { refunded_at: 300, at: 3_300 });
        let ended = (Reception::Taken, Fate::Ended { at: 300 });
        let stuck = |at| (Reception::Taken, Fate::Stuck { at });
        // Simpay, WeChat Pay, Alipay, UnionPay, Stripe.
        let usual = [done(300), done(300), done(0), done(300), done(300)];
        for (script, expected) in [
            (RefundScript::Plain, usual),
            (RefundScript::Hang, usual),
            (RefundScript::Error, usual),
            (RefundScript::Late, [done(20_000); 5]),
            (RefundScript::End, [ended, ended, done(0), ended, ended]),
            (RefundScript::Poor, [poor(300), poor(300), poor(0), done(300), done(5_000)]),
            (RefundScript::Stuck, [stuck(0), stuck(300), done(0), done(300), stuck(0)]),
            (RefundScript::Return, [returned, done(300), done(0), done(300), returned]),
        ] {
            for (channel, expected) in Channel::ALL.into_iter().zip(expected) {
                let script = script.at(channel);
                assert_eq!((script.reception(channel), script.fate(channel, 0)), expected, "{script:?} {channel:?}");
            }
        }
        for channel in Channel::ALL {
            assert_eq!(RefundScript::Refuse.at(channel).reception(channel), Reception::Refused, "{channel:?}");
        }
    }

    #[test]
    fn a_script_may_keep_the_answer_or_the_news_back() {
        for (word, conduct, is_told) in [
            ("", Conduct::Answers, true),
            ("sim:hang", Conduct::Hangs, true),
            ("sim:error", Conduct::Fails, true),
            ("sim:refuse", Conduct::Answers, true),
            ("sim:end", Conduct::Answers, true),
            ("sim:late", Conduct::Answers, false),
            ("sim:poor", Conduct::Answers, true),
            ("sim:stuck", Conduct::Answers, true),
            ("sim:return", Conduct::Answers, true),
        ] {
            let script = RefundScript::of(Some(word));
            assert_eq!((script.conduct(), script.is_told()), (conduct, is_told), "{word}");
        }
    }
}
