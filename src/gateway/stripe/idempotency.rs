//! Keys of requests that change something: the first answer is kept for a day and repeated, errors included.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::Fingerprint;
use super::failure::Failure;
use super::reply::Reply;
use crate::gateway::accounts::AccountId;

/// After this the same key acts anew.
pub const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;
/// Answers have about two kilobytes.
const KEYS_MAX: usize = 50_000;

/// In memory; the keys of what was made stand in the books, and are recalled from there after a restart.
#[derive(Default)]
pub struct Keys(DashMap<(AccountId, Box<str>), Kept>);

struct Kept {
    request: Fingerprint,
    since: i64,
    /// None while the first request is under way.
    reply: Option<Reply>,
}

pub enum Claim {
    First,
    Known(Reply),
}

impl Keys {
    /// Takes a key for a request. Whoever is first must [`Keys::keep`] or [`Keys::release`] it.
    ///
    /// # Errors
    /// The key is another request's, or its first request is still under way.
    pub fn claim(&self, account: AccountId, key: &str, request: Fingerprint, now: i64) -> Result<Claim, Failure> {
        if self.0.len() >= KEYS_MAX {
            self.0.retain(|_, kept| kept.is_kept(now));
            if self.0.len() >= KEYS_MAX {
                return Err(Failure::too_many());
            }
        }
        let kept = Kept { request, since: now, reply: None };
        match self.0.entry((account, key.into())) {
            Entry::Vacant(entry) => {
                entry.insert(kept);
            }
            Entry::Occupied(mut entry) if !entry.get().is_kept(now) => {
                entry.insert(kept);
            }
            Entry::Occupied(entry) if entry.get().request != request => return Err(Failure::other_parameters()),
            Entry::Occupied(entry) => {
                return entry.get().reply.clone().map(Claim::Known).ok_or_else(Failure::key_in_use);
            }
        }
        Ok(Claim::First)
    }

    pub fn keep(&self, account: AccountId, key: &str, reply: Reply) {
        if let Some(mut kept) = self.0.get_mut(&(account, key.into())) {
            kept.reply = Some(reply);
        }
    }

    /// Puts back what was kept before a restart.
    pub fn recall(&self, account: AccountId, key: &str, request: Fingerprint, since: i64, reply: Reply) {
        self.0.insert((account, key.into()), Kept { request, since, reply: Some(reply) });
    }

    pub fn release(&self, account: AccountId, key: &str) {
        self.0.remove(&(account, key.into()));
    }
}

impl Kept {
    fn is_kept(&self, now: i64) -> bool {
        now.saturating_sub(self.since) < KEPT_MS
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gateway::accounts::Channel;
    use crate::gateway::roster::Roster;
    use crate::gateway::stripe::wire::StripeWire;
    use crate::gateway::wire::TimeScale;

    fn account() -> AccountId {
        let wire = Arc::new(StripeWire::new(&"whsec_test".into(), TimeScale::percent(100)));
        Roster::default().enlist(Channel::Stripe, "default", wire)
    }

    fn claim(keys: &Keys, key: &str, request: u8, now: i64) -> String {
        match keys.claim(account(), key, [request; 32], now) {
            Ok(Claim::First) => "first".into(),
            Ok(Claim::Known(reply)) => format!("known {}", reply.status),
            Err(failure) => failure.reply().status.to_string(),
        }
    }

    #[test]
    fn trap_11_a_key_belongs_to_its_first_request_for_a_day() {
        let keys = Keys::default();
        assert_eq!(claim(&keys, "a", 1, 0), "first");
        assert_eq!(claim(&keys, "a", 1, 1), "409", "it is under way");
        keys.keep(account(), "a", Reply { status: 500, body: "{}".into() });
        assert_eq!(claim(&keys, "a", 1, 2), "known 500");
        assert_eq!(claim(&keys, "a", 2, 3), "400", "other parameters");
        assert_eq!(claim(&keys, "b", 2, 3), "first");
        assert_eq!(claim(&keys, "a", 1, KEPT_MS - 1), "known 500");
        assert_eq!(claim(&keys, "a", 2, KEPT_MS), "first", "a day later it acts anew");
    }

    #[test]
    fn what_did_not_begin_leaves_its_key_free() {
        let keys = Keys::default();
        assert_eq!(claim(&keys, "a", 1, 0), "first");
        keys.release(account(), "a");
        assert_eq!(claim(&keys, "a", 2, 1), "first");
    }
}
