//! What the choice of a channel rests on: how the attempts at each account have ended of late, and what a payer paid by
//! last.
//!
//! It decides nothing: `domain::routing` does. The counts live in memory and begin empty with every start, when too few
//! samples count as neutral.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;

use super::accounts::Accounts;
use super::clock;
use super::ports;
use crate::config;
use crate::domain::channel::Channel;
use crate::domain::id::{Account, PlatformId};
use crate::domain::note::{AttemptEnd, Note};
use crate::domain::order::Order;
use crate::domain::payer::{Payer, PayerMark, PayerMarks};
use crate::domain::routing::{Outlook, Policy, Standing, awaits_choice};
use crate::domain::success::{BasisPoints, Ending, Tally, Window};
use crate::domain::time::Instant;
use crate::store::{LastChannel, Store, StoredOrder};

const DAY_MS: i64 = 24 * 3_600_000;
/// Nobody waits longer for what is only advice.
const ADVICE_PATIENCE: Duration = Duration::from_secs(1);

/// What is counted, and how payers are known again.
pub struct RoutingStats {
    policy: Policy,
    window_minutes: u16,
    memory_ms: i64,
    marks: PayerMarks,
    /// One per platform and account that it had attempts at: what the payers of one platform do, or what it asks for
    /// them, says nothing to another one.
    windows: DashMap<(PlatformId, Account), Window>,
}

impl RoutingStats {
    /// `payer_key` holds at least 32 random bytes.
    pub fn new(settings: &config::Routing, payer_key: &[u8]) -> Self {
        RoutingStats {
            policy: Policy {
                samples_min: settings.samples_min,
                rate_step_percent: settings.rate_step_percent,
                neutral_rate: BasisPoints::percent(settings.neutral_rate_percent).unwrap_or(BasisPoints::WHOLE),
            },
            window_minutes: settings.window_minutes,
            memory_ms: i64::from(settings.payer_memory_days) * DAY_MS,
            marks: PayerMarks::new(payer_key, settings.payer_ids),
            windows: DashMap::new(),
        }
    }

    /// Counts an attempt of the platform that has ended at the account.
    pub fn record(&self, platform: PlatformId, account: &Account, ending: Ending) {
        metrics::counter!("tongbao_attempts_ended_total", "channel" => account.channel().name(),
            "account" => account.name().to_owned(), "ending" => ending.name())
        .increment(1);
        let window = self.windows.entry((platform, account.clone()));
        window.or_insert_with(|| Window::new(self.window_minutes)).record(ending, clock::steady());
    }

    pub fn tally(&self, platform: PlatformId, account: &Account) -> Tally {
        let now = clock::steady();
        self.windows.get(&(platform, account.clone())).map_or_else(Tally::default, |window| window.tally(now))
    }

    /// Tells the rates as they are now, of all platforms together; one with too few samples is not a number.
    pub fn measure(&self) {
        let now = clock::steady();
        let mut tallies: HashMap<Account, Tally> = HashMap::new();
        for window in &self.windows {
            let (_, account) = window.key();
            let tally = tallies.entry(account.clone()).or_default();
            *tally = tally.plus(window.tally(now));
        }
        for (account, tally) in &tallies {
            let rate = tally.rate(self.policy.samples_min);
            metrics::gauge!("tongbao_attempt_success_rate", "channel" => account.channel().name(), "account" => account.name().to_owned())
                .set(rate.map_or(f64::NAN, |rate| rate.as_ratio()));
        }
    }

    /// The payer's marks.
    pub fn marks(&self, platform: PlatformId, payer: Option<&Payer>) -> Vec<PayerMark> {
        self.marks.of(platform, payer)
    }

    /// Before this instant nothing of a payer is remembered.
    pub fn remembers_since(&self, now: Instant) -> Instant {
        now.plus_ms(-self.memory_ms)
    }

    /// The newest that is known of a payer.
    pub fn last_channel(&self, payer: &[PayerMark], known: &[LastChannel], now: Instant) -> Option<Channel> {
        let since = self.remembers_since(now);
        let of_payer = known.iter().filter(|last| payer.contains(&last.payer) && last.at >= since);
        of_payer.max_by_key(|last| last.at).map(|last| last.channel)
    }
}

/// What is advised about channels.
pub struct Advice {
    stats: RoutingStats,
    accounts: Arc<Accounts>,
    store: Arc<dyn Store>,
}

impl Advice {
    pub fn new(stats: RoutingStats, accounts: Arc<Accounts>, store: Arc<dyn Store>) -> Self {
        Advice { stats, accounts, store }
    }

    pub fn stats(&self) -> &RoutingStats {
        &self.stats
    }

    /// How the channels stand now as a platform finds them, each by the account that takes its money there, whoever pays.
    pub fn outlook(&self, platform: PlatformId) -> Outlook {
        let at = clock::now();
        let standing = |channel| {
            let account = self.accounts.of(platform, channel).account;
            let health = self.accounts.health(&account)?;
            Some(Standing { health, tally: self.stats.tally(platform, &account) })
        };
        Outlook { at, policy: self.stats.policy, channels: Channel::ALL.map(standing), last_channel: None }
    }

    /// What the choice of a channel for this order rests on. What the payer used last is
    /// looked up while somebody is to choose, and only then: orders that are being paid are most of all answers.
    pub async fn outlook_for(&self, order: &Order, payer: Option<&Payer>) -> Outlook {
        let marks = if awaits_choice(order) { self.stats.marks(order.platform, payer) } else { Vec::new() };
        self.outlook_by(order, &marks).await
    }

    /// The same where the payer's marks are at hand.
    pub async fn outlook_by(&self, order: &Order, payer: &[PayerMark]) -> Outlook {
        if order.state.is_final() {
            return Outlook::none(clock::now(), self.stats.policy);
        }
        let mut outlook = self.outlook(order.platform);
        if awaits_choice(order) {
            let known = self.last_channels(payer).await;
            outlook.last_channel = self.stats.last_channel(payer, &known, outlook.at);
        }
        outlook
    }

    /// The same for many orders of a platform by one look.
    pub async fn outlooks_for(&self, platform: PlatformId, stored: impl Iterator<Item = &StoredOrder>) -> Vec<Outlook> {
        let marks_of = |stored: &StoredOrder| match awaits_choice(&stored.order) {
            true => self.stats.marks(platform, stored.payer.as_deref()),
            false => Vec::new(),
        };
        let marks: Vec<Vec<PayerMark>> = stored.map(marks_of).collect();
        let known = self.last_channels(&marks.concat()).await;
        let outlook = self.outlook(platform);
        let of_payer = |payer: &Vec<PayerMark>| Outlook {
            last_channel: self.stats.last_channel(payer, &known, outlook.at),
            ..outlook.clone()
        };
        marks.iter().map(of_payer).collect()
    }

    /// What is known of these payers. Advice rests on it and nothing else: where the store does not answer, there is
    /// less advice.
    async fn last_channels(&self, payers: &[PayerMark]) -> Vec<LastChannel> {
        if payers.is_empty() {
            return Vec::new();
        }
        match tokio::time::timeout(ADVICE_PATIENCE, self.store.last_channels(payers)).await {
            Ok(Ok(known)) => known,
            Ok(Err(error)) => {
                tracing::warn!(%error, "what payers paid by cannot be read");
                Vec::new()
            }
            Err(_) => {
                tracing::warn!("what payers paid by is not read in time");
                Vec::new()
            }
        }
    }
}

impl ports::Advice for Advice {
    fn noted(&self, order: &Order, notes: &[Note]) {
        for (account, end) in ended(notes) {
            if let Some(ending) = end.ending() {
                self.stats.record(order.platform, account, ending);
            }
        }
    }

    fn marks(&self, platform: PlatformId, payer: Option<&Payer>) -> Vec<PayerMark> {
        self.stats.marks(platform, payer)
    }

    /// The ends of attempts in the step belong to what there is to tell, and are counted only once they are durable.
    fn outlook_after<'a>(
        &'a self,
        order: &'a Order,
        notes: &'a [Note],
        payer: Arc<[PayerMark]>,
    ) -> Pin<Box<dyn Future<Output = Outlook> + Send + 'a>> {
        Box::pin(async move {
            let mut outlook = self.outlook_by(order, &payer).await;
            for (account, end) in ended(notes) {
                let (channel, ending) = (account.channel(), end.ending());
                if let (Some(ending), Some(standing)) = (ending, &mut outlook.channels[channel.index()])
                    && self.accounts.of(order.platform, channel).account == *account
                {
                    standing.tally.count(ending);
                }
            }
            outlook
        })
    }
}

/// The attempts that ended.
fn ended(notes: &[Note]) -> impl Iterator<Item = (&Account, AttemptEnd)> {
    notes.iter().filter_map(|note| match note {
        Note::AttemptEnded { account, end, .. } => Some((account, *end)),
        Note::OrderCreated
        | Note::StateReached { .. }
        | Note::AttemptOpened { .. }
        | Note::CaptureContradicted { .. }
        | Note::RefundStuck { .. }
        | Note::RefundNotPermitted { .. }
        | Note::RefundContradicted { .. }
        | Note::InstantImplausible
        | Note::EntryBooked { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::domain::form::Form;

    #[test]
    fn the_newest_within_the_memory_is_the_last() {
        let stats = RoutingStats::new(&Config::load(&[]).unwrap().routing, &[7; 32]);
        let payer = Payer { form: Form, id: "u-1".into(), ip: None, openid: Some("o-1".into()) };
        let payer = stats.marks(PlatformId(1), Some(&payer));
        let now = Instant(1_767_225_600_000);
        let days_ago = |days: i64| now.plus_ms(-days * DAY_MS);
        let last = |payer, channel, at| LastChannel { payer, channel, at };
        let known = [
            last(payer[0], Channel::Alipay, days_ago(3)),
            last(payer[1], Channel::Wechat, days_ago(2)),
            last(PayerMark([0; 16]), Channel::Stripe, days_ago(1)),
        ];
        assert_eq!(stats.last_channel(&payer, &known, now), Some(Channel::Wechat));
        assert_eq!(stats.last_channel(&payer[..1], &known, now), Some(Channel::Alipay));
        assert_eq!(stats.last_channel(&payer, &known[..1], days_ago(3).plus_ms(180 * DAY_MS)), Some(Channel::Alipay));
        assert_eq!(stats.last_channel(&payer, &known[..1], days_ago(3).plus_ms(180 * DAY_MS + 1)), None);
        assert_eq!(stats.last_channel(&[], &known, now), None);
    }
}
