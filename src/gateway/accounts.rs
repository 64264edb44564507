//! Whose money: the channels, and the accounts that merchants have there.

use std::sync::Arc;

use serde::Serialize;

use super::wire::Wire;

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

/// The accounts that the gateway answers for, in the order in which the far ends enlist them at the start.
#[derive(Default)]
pub struct Roster {
    pub(super) accounts: Vec<Enlisted>,
}

pub struct Enlisted {
    pub channel: Channel,
    pub name: String,
    pub wire: Arc<dyn Wire>,
}

impl Roster {
    /// Adds an account, and the wire that tells its merchant of money.
    ///
    /// # Panics
    /// More accounts than a configuration can name in earnest.
    pub fn enlist(&mut self, channel: Channel, name: &str, wire: Arc<dyn Wire>) -> AccountId {
        let place = u16::try_from(self.accounts.len()).expect("accounts are few");
        self.accounts.push(Enlisted { channel, name: name.to_owned(), wire });
        AccountId { channel, place }
    }
}
