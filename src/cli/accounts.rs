//! Our accounts at the channels: their adapters, which platform uses which, and how both are renewed without a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::prelude::*;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, expiry};
use crate::channels::Adapter;
use crate::channels::alipay::Alipay;
use crate::channels::simpay::Simpay;
use crate::channels::stripe::Stripe;
use crate::channels::unionpay::Unionpay;
use crate::channels::wechat::Wechat;
use crate::config::accounts::DEFAULT_ACCOUNT;
use crate::config::credentials::Certified;
use crate::config::sandbox::Made;
use crate::config::{self, Config, ConfigError};
use crate::domain::breaker::Limits;
use crate::domain::channel::Channel;
use crate::domain::id::Account;
use crate::domain::ledger::LedgerAccount;
use crate::domain::merchant::Merchant;
use crate::engine::Engine;
use crate::engine::accounts::{Assignment, Assignments, ByChannel};
use crate::engine::clock;
use crate::engine::supervisor::{ChannelSupervisor, Settings};
use crate::store::Store;

/// The accounts that are served.
pub type Adapters = Vec<Arc<dyn Adapter>>;

/// One adapter per account of every enabled channel, with its credentials as they are in the files now.
///
/// # Errors
/// What is missing or malformed, by the name of its key.
pub fn adapters(config: &Config) -> Result<Adapters, Failure> {
    check_accounts(config)?;
    let mut adapters = Adapters::new();
    for (name, settings) in config.channels.iter().filter(|(_, settings)| settings.enabled) {
        let channel = Channel::parse(name).ok_or_else(|| format!("`channels.{name}`: there is no such channel"))?;
        adapters.extend(of_channel(config, channel, settings)?);
    }
    Ok(adapters)
}

/// Every enabled channel has the account that a callback or a platform means when it names none, unless all that it has
/// are platforms' own. All channels that lack it are told of at once.
fn check_accounts(config: &Config) -> Result<(), Failure> {
    let has_default = |settings: &config::Channel| {
        let made = config.sandbox && settings.accounts.is_empty();
        made || settings.accounts.are_owned() || settings.accounts.names().any(|account| account == DEFAULT_ACCOUNT)
    };
    let lacking = config.channels.iter().filter(|(_, settings)| settings.enabled && !has_default(settings));
    let lacking: Vec<String> = lacking
        .map(|(name, _)| {
            let account = format!("channels.{name}.accounts.{DEFAULT_ACCOUNT}");
            format!("`{account}` is missing: give the channel this account, or set `channels.{name}.enabled = false`")
        })
        .collect();
    if lacking.is_empty() { Ok(()) } else { Err(lacking.join("\n").into()) }
}

fn of_channel(config: &Config, channel: Channel, settings: &config::Channel) -> Result<Vec<Arc<dyn Adapter>>, Failure> {
    let base_url = base_url(config, channel, settings)?;
    let made_in = (config.sandbox && settings.accounts.is_empty()).then_some(config.data.dir.as_path());
    let accounts = &settings.accounts;
    match channel {
        Channel::Simpay => {
            each(channel, or_made(accounts.simpay()?, made_in)?, |name, key| Simpay::new(name, &base_url, &key))
        }
        Channel::Wechat => {
            each(channel, or_made(accounts.wechat()?, made_in)?, |name, texts| Wechat::new(name, &base_url, texts))
        }
        Channel::Alipay => {
            each(channel, or_made(accounts.alipay()?, made_in)?, |name, texts| Alipay::new(name, &base_url, texts))
        }
        Channel::Unionpay => {
            each(channel, or_made(accounts.unionpay()?, made_in)?, |name, texts| Unionpay::new(name, &base_url, texts))
        }
        Channel::Stripe => {
            each(channel, or_made(accounts.stripe()?, made_in)?, |name, texts| Stripe::new(name, &base_url, texts))
        }
    }
}

/// In the sandbox a channel without accounts of its own has the one that the simulated gateway knows; `made_in` is the
/// data folder then.
fn or_made<C: Made>(
    configured: BTreeMap<String, C>,
    made_in: Option<&Path>,
) -> Result<BTreeMap<String, C>, ConfigError> {
    match made_in {
        Some(dir) => Ok(BTreeMap::from([(DEFAULT_ACCOUNT.to_owned(), C::made(dir, DEFAULT_ACCOUNT)?)])),
        None => Ok(configured),
    }
}

fn each<C: Certified, A: Adapter>(
    channel: Channel,
    credentials: BTreeMap<String, C>,
    adapter: impl Fn(&str, C) -> Result<A, String>,
) -> Result<Vec<Arc<dyn Adapter>>, Failure> {
    let each = |(name, credentials): (String, C)| {
        let certificates = expiry::of(&credentials);
        let adapter = adapter(&name, credentials)?;
        expiry::tell(channel, &name, &certificates, clock::now());
        Ok(Arc::new(adapter) as Arc<dyn Adapter>)
    };
    credentials.into_iter().map(each).collect()
}

fn base_url(config: &Config, channel: Channel, settings: &config::Channel) -> Result<String, Failure> {
    if !settings.base_url.is_empty() {
        return Ok(settings.base_url.clone());
    }
    let home = match channel {
        Channel::Simpay if config.sandbox => return Ok(config.gateway_url()),
        Channel::Simpay => {
            let why = "outside the sandbox it must be set, or `channels.simpay.enabled = false`";
            return Err(format!("`channels.simpay.base_url` is missing: {why}").into());
        }
        Channel::Wechat => "https://api.mch.weixin.qq.com",
        Channel::Alipay => "https://openapi.alipay.com",
        Channel::Unionpay => "https://gateway.95516.com",
        Channel::Stripe => "https://api.stripe.com",
    };
    match config.sandbox {
        true => Ok(format!("{}/{channel}", config.gateway_url())),
        false => Ok(home.to_owned()),
    }
}

/// Warns of channels of the sandbox that have a gateway of their own while the spans of their protocols shrink.
pub fn tell_of_shrunk_spans(config: &Config) {
    let percent = config.gateway.time_scale_percent;
    if !config.sandbox || percent == 100 {
        return;
    }
    for (name, _) in config.channels.iter().filter(|(_, channel)| channel.enabled && !channel.base_url.is_empty()) {
        tracing::warn!(
            key = format!("channels.{name}.base_url"),
            "the channel's own spans (payTimeout, grace after an expiry) take {percent} % of the true ones, and a \
             channel's own test gateway keeps to the true ones: set `gateway.time_scale_percent = 100`"
        );
    }
}

/// Where card networks forbid that payers are asked for the fee, the operator must have been allowed to.
pub fn tell_of_payers_fees(config: &Config) {
    if config.sandbox {
        return;
    }
    for channel in [Channel::Unionpay, Channel::Stripe] {
        let asks = |settings: &config::Channel| settings.enabled && !settings.fee_rate.is_zero();
        if config.channels.get(channel.name()).is_some_and(asks) {
            tracing::warn!(
                channel = channel.name(),
                "payers bear the fee on platforms whose terms say so: card networks and law may forbid to ask them for \
                 it, so the operator must be allowed to"
            );
        }
    }
}

/// Which platforms have their money taken by other accounts than the default ones.
///
/// # Errors
/// The store is away, or an account is not served.
pub async fn assignments(config: &Config, store: &dyn Store) -> Result<Assignments, Failure> {
    let mut assignments = Assignments::default();
    for (name, settings) in &config.platforms {
        let mut by_channel = ByChannel::new();
        for (channel, account) in &settings.accounts {
            let channel = Channel::parse(channel)
                .ok_or_else(|| format!("`platforms.{name}.accounts.{channel}`: there is no such channel"))?;
            let accounts = config.channels.get(channel.name()).map(|settings| &settings.accounts);
            // Who owns it was checked when the configuration was read: nobody but this platform.
            let merchant = match accounts.and_then(|accounts| accounts.owner(account)) {
                Some(_) => Merchant::Seller,
                None => Merchant::Operator,
            };
            let account = Account::new(channel, account);
            by_channel.insert(channel, Assignment { account, merchant });
        }
        assignments.add(name, by_channel);
        match store.platform_by_name(name).await? {
            Some(platform) => assignments.know(platform.id, name),
            None => {
                tracing::warn!(
                    platform = name,
                    "`platforms.{name}` is configured, and holds once there is such a platform"
                );
            }
        }
    }
    Ok(assignments)
}

/// Every account by which money is still owed back to payers must be served. What an account of a platform's own owes is
/// on no ledger account, but among the refunds.
///
/// # Errors
/// The store is away, or such an account is not served.
pub async fn check_owing(store: &dyn Store, adapters: &Adapters) -> Result<(), Failure> {
    let mut owing = BTreeSet::from_iter(store.accounts_owing().await?);
    for balance in store.balances().await?.into_iter().filter(|balance| balance.amount_minor != 0) {
        if let Some(LedgerAccount::RefundPending(account) | LedgerAccount::Suspense(account)) =
            LedgerAccount::parse(&balance.account)
        {
            owing.insert(account);
        }
    }
    let is_served = |account: &Account| adapters.iter().any(|adapter| adapter.account() == account);
    let lacking = owing.into_iter().filter(|account| !is_served(account)).map(|account| {
        let key = format!("channels.{}.accounts.{}", account.channel(), account.name());
        format!("`{key}` is not configured, but refunds are owed by it: give it back until they are done")
    });
    let lacking: Vec<String> = lacking.collect();
    if lacking.is_empty() { Ok(()) } else { Err(lacking.join("\n").into()) }
}

/// Serves an account from now on, within the limits that the server was started with.
pub fn serve(config: &Config, store: &Arc<dyn Store>, engine: &Engine, adapter: Arc<dyn Adapter>) {
    let settings = supervisor_settings(config, adapter.account().channel());
    let (arbiter, answers) = (Arbiter::new().handle(), engine.desk.directory().clone());
    let reads = (store.clone(), engine.unreadable.clone());
    engine.accounts.serve(ChannelSupervisor::start(&arbiter, adapter, answers, reads, settings));
}

fn supervisor_settings(config: &Config, channel: Channel) -> Settings {
    let (pace, channel) = (config.pace(), &config.channels[channel.name()]);
    Settings {
        per_second: channel.outbound_per_second(pace),
        queries_percent: channel.queries_percent,
        concurrent: channel.calls_concurrent,
        waiting_max: channel.calls_waiting,
        queries_wait_ms: channel.queries_wait_ms,
        timeout: channel.timeout(pace),
        retry_ms: channel.call_retry_ms.clone(),
        breaker: Limits {
            failures: channel.breaker_failures,
            open_ms: i64::try_from(channel.breaker_open_ms).unwrap_or(i64::MAX),
        },
    }
}

/// What a running server was started with.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    pub config: &'a Config,
    pub store: &'a Arc<dyn Store>,
    pub engine: &'a Engine,
}

/// Renews credentials and assignments at every SIGHUP, until the terminal that this process was started from is gone:
/// such a hang-up asks it to end.
pub async fn renew_when_asked(hangups: Option<Signal>, overlays: &[PathBuf], running: Running<'_>) {
    let Some(mut hangups) = hangups else { return std::future::pending().await };
    let had_terminal = std::io::stdin().is_terminal();
    while hangups.recv().await.is_some() {
        if had_terminal && !std::io::stdin().is_terminal() {
            return;
        }
        match renew(overlays, running).await {
            Ok(Renewed { renewed, added }) => tracing::info!(renewed, added, "the accounts' credentials were renewed"),
            Err(error) => tracing::error!(%error, "credentials and accounts stay as they were"),
        }
    }
}

/// Hears SIGHUP from now on.
pub fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup())
        .inspect_err(|error| tracing::error!(%error, "SIGHUP cannot be heard: credentials are renewed by a restart"))
        .ok()
}

/// How many accounts have other credentials now, or are served for the first time.
struct Renewed {
    renewed: usize,
    added: usize,
}

/// Reads the configuration and all files again. Nothing is changed unless all of it is good. Of the configuration only
/// the accounts count, and which platforms use them; the rest is as it was at the start, and what would lead accounts
/// elsewhere than the server was started for is refused.
async fn renew(overlays: &[PathBuf], running: Running<'_>) -> Result<Renewed, Failure> {
    let Running { config: started, store, engine } = running;
    let config = Config::load(overlays)?;
    if let Some(key) = leading_elsewhere(started, &config) {
        return Err(format!("`{key}` is not what the server was started with: it is changed by a restart").into());
    }
    let adapters = adapters(&config)?;
    let assignments = assignments(&config, store.as_ref()).await?;
    let mut done = Renewed { renewed: 0, added: 0 };
    let mut gone = engine.accounts.served();
    for adapter in adapters {
        let channel = adapter.account().channel();
        gone.remove(adapter.account());
        match engine.accounts.supervisor(adapter.account()) {
            Some(supervisor) => {
                supervisor.adapter.renew(adapter);
                done.renewed += 1;
            }
            // What a channel's orders are told and charged was settled at the start, with the channels there were.
            None if !started.channels[channel.name()].enabled => {
                tracing::warn!(channel = channel.name(), "the channel is enabled by a restart, and not before");
            }
            None => {
                tracing::info!(account = %adapter.account(), "a new account is served");
                serve(started, store, engine, adapter);
                done.added += 1;
            }
        }
    }
    for account in gone {
        tracing::warn!(%account, "the account is not configured any more; it is served until a restart");
    }
    engine.accounts.assign(assignments);
    Ok(done)
}

/// The first key by which adapters of the configuration as it is now would speak to other gateways than the running
/// ones, be told at other addresses, or have other keys made for them.
fn leading_elsewhere(running: &Config, now: &Config) -> Option<String> {
    let base_url = |config: &Config, name: &str| config.channels.get(name).map(|channel| channel.base_url.clone());
    let keys = [
        ("sandbox", running.sandbox != now.sandbox),
        ("data.dir", running.data.dir != now.data.dir),
        ("gateway.listen", running.gateway.listen != now.gateway.listen),
        ("server.public_url", running.server.public_url != now.server.public_url),
    ];
    let key = keys.into_iter().find(|(_, differs)| *differs).map(|(key, _)| key.to_owned());
    key.or_else(|| {
        let mut names = now.channels.keys();
        let name = names.find(|name| base_url(running, name) != base_url(now, name))?;
        Some(format!("channels.{name}.base_url"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_accounts_elsewhere_is_named() {
        let running = Config::load(&[]).unwrap();
        assert_eq!(leading_elsewhere(&running, &running), None);
        type Change = fn(&mut Config);
        let changes: [(&str, Change); 6] = [
            ("sandbox", |config| config.sandbox = !config.sandbox),
            ("data.dir", |config| config.data.dir.push("elsewhere")),
            ("gateway.listen", |config| config.gateway.listen.set_port(1)),
            ("server.public_url", |config| config.server.public_url.push('x')),
            ("channels.alipay.base_url", |config| config.channels.get_mut("alipay").unwrap().base_url.push('x')),
            ("channels.wechat.base_url", |config| config.channels.get_mut("wechat").unwrap().base_url.push('x')),
        ];
        for (key, change) in changes {
            let mut now = running.clone();
            change(&mut now);
            assert_eq!(leading_elsewhere(&running, &now).as_deref(), Some(key));
        }
    }
}
