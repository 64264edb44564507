//! One refund in the books.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{PendingWhat, Refund};
use crate::domain::money::Currency;
use crate::gateway::address::Address;
use crate::gateway::fate::{Fate, RefundState};
use crate::gateway::refund_script::RefundScript;

/// A refund that the channel took; how far it has come by an instant follows from its fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedRefund {
    pub number: Arc<str>,
    pub amount_minor: i64,
    pub currency: Currency,
    /// When it was taken.
    pub at: i64,
    /// As far as the channel can express it.
    pub script: RefundScript,
    pub fate: Fate,
    /// The channel's own name of it.
    pub reference: Option<Arc<str>>,
    pub data: Option<Arc<str>>,
    pub address: Option<Arc<Address>>,
    /// By the news that were told.
    pub told: BTreeMap<RefundState, Told>,
}

/// How far the merchant was told of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    pub tries: u16,
    pub acknowledged: bool,
}

impl Told {
    pub fn again(&mut self, acknowledged: bool) {
        self.tries = self.tries.saturating_add(1);
        self.acknowledged |= acknowledged;
    }
}

/// One of the states that a refund gets into, which its merchant may want to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    pub state: RefundState,
    pub at: i64,
}

impl BookedRefund {
    pub fn state_at(&self, now: i64) -> RefundState {
        self.fate.state_at(now)
    }

    pub fn history(&self) -> impl Iterator<Item = News> + use<> {
        self.fate.history(self.at).map(|(state, at)| News { state, at })
    }

    /// The state in which it was taken.
    pub fn is_first(&self, news: News) -> bool {
        news.at <= self.at
    }

    /// What is left to be done about it; nothing where nobody is to hear of it, or its merchant has.
    pub fn pending(&self, refund_number: &Arc<str>) -> impl Iterator<Item = PendingWhat> {
        self.history().filter(|_| self.address.is_some()).filter_map(|news| {
            let told = self.told.get(&news.state).copied().unwrap_or_default();
            let refund_number = Arc::clone(refund_number);
            (!told.acknowledged).then_some(PendingWhat::RefundCallback { refund_number, news, sent: told.tries })
        })
    }

    pub fn is(&self, refund: &Refund<'_>) -> bool {
        *self.number == *refund.number && self.amount_minor == refund.amount_minor && self.currency == refund.currency
    }
}
