//! Our accounts at the channels: their adapters, which platform uses which, and how both are renewed without a restart.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use crate::actors::registry::{Assignments, DEFAULT_ACCOUNT, Registry, Renewal};
use crate::channels::Adapter;
use crate::channels::alipay::Alipay;
use crate::channels::simpay::Simpay;
use crate::channels::stripe::Stripe;
use crate::channels::unionpay::Unionpay;
use crate::channels::wechat::Wechat;
use crate::config::{self, Config, sandbox};
use crate::domain::channel::Channel;
use crate::domain::id::Account;
use crate::store::Store;

/// The accounts that are served.
pub type Adapters = Vec<(Channel, Arc<dyn Adapter>)>;

/// One adapter per account of every enabled channel, with its credentials as they are in the files now.
///
/// # Errors
/// What is missing or malformed, by the name of its key.
pub fn adapters(config: &Config) -> Result<Adapters, Failure> {
    check_accounts(config)?;
    let mut adapters = Adapters::new();
    for (name, settings) in config.channels.iter().filter(|(_, settings)| settings.enabled) {
        let channel = Channel::parse(name).ok_or_else(|| format!("`channels.{name}`: there is no such channel"))?;
        let accounts = of_channel(config, channel, settings)?;
        adapters.extend(accounts.into_iter().map(|adapter| (channel, adapter)));
    }
    Ok(adapters)
}

/// Every enabled channel has the account that a callback or a platform means when it names none. All channels that lack
/// it are told of at once.
fn check_accounts(config: &Config) -> Result<(), Failure> {
    let has_default = |settings: &config::Channel| {
        let made = config.sandbox && settings.accounts.is_empty();
        made || settings.accounts.names().any(|account| account == DEFAULT_ACCOUNT)
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
    // In the sandbox a channel without accounts of its own has those that the simulated gateway knows.
    let made = config.sandbox && settings.accounts.is_empty();
    let sandboxed = || sandbox::ACCOUNT.to_owned();
    match channel {
        Channel::Simpay => {
            let mut keys = settings.accounts.simpay()?;
            if made {
                for account in sandbox::SIMPAY_ACCOUNTS {
                    keys.insert(account.to_owned(), sandbox::simpay_key(&config.data.dir, account)?);
                }
            }
            each(keys, |account, key| Simpay::new(account, &base_url, &key))
        }
        Channel::Wechat => {
            let mut accounts = settings.accounts.wechat()?;
            if made {
                accounts.insert(sandboxed(), sandbox::Wechat::open(&config.data.dir, sandbox::ACCOUNT)?.credentials());
            }
            each(accounts, |account, texts| Wechat::new(account, &base_url, texts))
        }
        Channel::Alipay => {
            let mut accounts = settings.accounts.alipay()?;
            if made {
                accounts.insert(sandboxed(), sandbox::Alipay::open(&config.data.dir, sandbox::ACCOUNT)?.credentials());
            }
            each(accounts, |account, texts| Alipay::new(account, &base_url, texts))
        }
        Channel::Unionpay => {
            let mut accounts = settings.accounts.unionpay()?;
            if made {
                accounts
                    .insert(sandboxed(), sandbox::Unionpay::open(&config.data.dir, sandbox::ACCOUNT)?.credentials());
            }
            each(accounts, |account, texts| Unionpay::new(account, &base_url, texts))
        }
        Channel::Stripe => {
            let mut accounts = settings.accounts.stripe()?;
            if made {
                accounts.insert(sandboxed(), sandbox::Stripe::open(&config.data.dir, sandbox::ACCOUNT)?.credentials());
            }
            each(accounts, |account, texts| Stripe::new(account, &base_url, texts))
        }
    }
}

fn each<C, A: Adapter, E: Into<Failure>>(
    credentials: BTreeMap<String, C>,
    adapter: impl Fn(Account, C) -> Result<A, E>,
) -> Result<Vec<Arc<dyn Adapter>>, Failure> {
    let each = |(name, credentials): (String, C)| {
        let adapter = adapter(Account::from(name.as_str()), credentials).map_err(Into::into)?;
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

/// Which platforms have their money taken by other accounts than the default ones.
///
/// # Errors
/// The store is away, or an account is not served.
pub async fn assignments(config: &Config, store: &dyn Store) -> Result<Assignments, Failure> {
    let mut assignments = Assignments::new();
    for (name, settings) in &config.platforms {
        let Some(platform) = store.platform_by_name(name).await? else {
            tracing::warn!(platform = name, "`platforms.{name}` is configured, but there is no such platform yet");
            continue;
        };
        for (channel, account) in &settings.accounts {
            let channel = Channel::parse(channel)
                .ok_or_else(|| format!("`platforms.{name}.accounts.{channel}`: there is no such channel"))?;
            assignments.insert((platform.id, channel), Account::from(account.as_str()));
        }
    }
    Ok(assignments)
}

/// Renews credentials and assignments at every SIGHUP, until the terminal that this process was started from is gone:
/// such a hang-up asks it to end.
pub async fn renew_when_asked(hangups: Option<Signal>, overlays: &[PathBuf], registry: &Registry) {
    let Some(mut hangups) = hangups else { return std::future::pending().await };
    let had_terminal = std::io::stdin().is_terminal();
    while hangups.recv().await.is_some() {
        if had_terminal && !std::io::stdin().is_terminal() {
            return;
        }
        match renew(overlays, registry).await {
            Ok(renewed) => tracing::info!(renewed, "the accounts' credentials were renewed"),
            Err(error) => tracing::error!(%error, "credentials stay as they were"),
        }
    }
}

/// Hears SIGHUP from now on.
pub fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup())
        .inspect_err(|error| tracing::error!(%error, "SIGHUP cannot be heard: credentials are renewed by a restart"))
        .ok()
}

/// Reads the configuration and all files again. Nothing is changed unless all of it is good.
async fn renew(overlays: &[PathBuf], registry: &Registry) -> Result<usize, Failure> {
    let config = Config::load(overlays)?;
    let adapters = adapters(&config)?;
    let assignments = assignments(&config, registry.store().as_ref()).await?;
    let mut renewed = 0;
    for (channel, adapter) in adapters {
        let account = adapter.account().clone();
        match registry.renew(channel, adapter) {
            Renewal::Done => renewed += 1,
            Renewal::NoSuchAccount => {
                tracing::warn!(channel = channel.name(), %account, "a new account is served after a restart");
            }
        }
    }
    registry.assign(assignments);
    Ok(renewed)
}
