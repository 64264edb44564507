//! Whose money: the channels, and the accounts that merchants have there.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Simpay,
    Wechat,
    Alipay,
    Unionpay,
    Stripe,
}

impl Channel {
    pub const ALL: [Channel; 5] =
        [Channel::Simpay, Channel::Wechat, Channel::Alipay, Channel::Unionpay, Channel::Stripe];

    pub const fn name(self) -> &'static str {
        match self {
            Channel::Simpay => "simpay",
            Channel::Wechat => "wechat",
            Channel::Alipay => "alipay",
            Channel::Unionpay => "unionpay",
            Channel::Stripe => "stripe",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Channel::ALL.into_iter().find(|channel| channel.name() == name)
    }

    /// Whether payments are asked for by the channel's own reference too, for which an index is kept. Load tests make
    /// millions of payments at simpay, which knows no such call.
    pub const fn looks_up(self) -> Lookup {
        match self {
            Channel::Simpay => Lookup::ByNumber,
            Channel::Wechat | Channel::Alipay | Channel::Unionpay | Channel::Stripe => Lookup::ByNumberAndReference,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    ByNumber,
    ByNumberAndReference,
}

/// Which account: its channel, and its place among all accounts of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    pub channel: Channel,
    pub(super) place: u16,
}

impl AccountId {
    pub(super) fn index(self) -> usize {
        usize::from(self.place)
    }
}
