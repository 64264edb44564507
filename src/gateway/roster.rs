//! Who the gateway answers for, and how each account's merchant is told of money.

use std::sync::Arc;

use super::accounts::{AccountId, Channel};
use super::wire::Wire;

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
