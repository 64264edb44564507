//! What platforms may owe after refunds: a refund that would take its seller's balance below the seller's bound is
//! refused. Those who have a share of the order give their parts back whatever they owe by then: they accepted shares and
//! with them their part of every refund, they cannot stop the seller's, and the payer must get the money.

use dashmap::DashMap;

use super::App;
use super::balance::{Booked, booked};
use super::problem::ApiError;
use crate::domain::id::PlatformId;
use crate::domain::money::Currency;

type Purse = (PlatformId, Currency);

/// Refunds of platforms with a bound that are being made durable, by what they may take. Bounded by requests under way.
#[derive(Default)]
pub struct Debts(DashMap<Purse, i64>);

/// What a refund may take from its seller; it counts against the refunds beside it until it is dropped.
pub struct Allowed<'a> {
    /// None where the platform has no bound.
    pub seller_max_minor: Option<i64>,
    held: Option<Held<'a>>,
}

struct Held<'a> {
    debts: &'a Debts,
    purse: Purse,
    amount_minor: i64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.debts.0.entry(self.purse).and_modify(|sum| *sum = sum.saturating_sub(self.amount_minor));
        self.debts.0.remove_if(&self.purse, |_, sum| *sum == 0);
    }
}

impl Allowed<'_> {
    /// The refund is durable, or came to nothing: what it took is in the balance.
    pub fn release(self) {
        drop(self.held);
    }
}

impl App {
    /// What a refund of at most this amount may take from the platform, which may owe at most `bound_minor`.
    ///
    /// # Errors
    /// The store is away.
    pub(super) async fn may_owe(
        &self,
        platform: PlatformId,
        (currency, bound_minor): (Currency, Option<i64>),
        amount_minor: i64,
    ) -> Result<Allowed<'_>, ApiError> {
        let Some(most_minor) = bound_minor else {
            return Ok(Allowed { seller_max_minor: None, held: None });
        };
        // Held before the balance is read: whatever is not in the balance yet is among what is held.
        let purse = (platform, currency);
        let before = {
            let mut sum = self.debts.0.entry(purse).or_default();
            let before = *sum;
            *sum = sum.saturating_add(amount_minor);
            before
        };
        let held = Held { debts: &self.debts, purse, amount_minor };
        let booked = booked(self.store.as_ref(), platform).await?;
        let owed_to_us = booked.get(currency.code()).map_or(0, Booked::owed_to_us_minor);
        let seller_max_minor = most_minor.saturating_sub(owed_to_us).saturating_sub(before).max(0);
        Ok(Allowed { seller_max_minor: Some(seller_max_minor), held: Some(held) })
    }
}
