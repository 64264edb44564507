//! Our accounts at the channels: which are served, which platform's money each of them takes, and who may not pay.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::ask::Details;
use super::clock;
use super::ports;
use super::supervisor::{Call, SupervisorHandle};
use crate::channels::{Adapter, Ask, CallbackError, Heard, Received};
use crate::config::Config;
use crate::config::accounts::DEFAULT_ACCOUNT;
use crate::domain::channel::{Channel, Method, PayerFact};
use crate::domain::id::{Account, PlatformId};
use crate::domain::merchant::Merchant;
use crate::domain::validation::{Facts, Health};

/// Which accounts take the money of which platforms, where they are not the default ones. They are configured by a
/// platform's name, which may be given to a platform only later.
#[derive(Default)]
pub struct Assignments {
    by_name: HashMap<Box<str>, Arc<ByChannel>>,
    by_platform: HashMap<PlatformId, Arc<ByChannel>>,
}

pub type ByChannel = HashMap<Channel, Assignment>;

/// The account that takes a platform's money at a channel, and who is the merchant there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub account: Account,
    pub merchant: Merchant,
}

impl Assignments {
    pub fn add(&mut self, name: &str, accounts: ByChannel) {
        self.by_name.insert(name.into(), Arc::new(accounts));
    }

    /// The platform of this number has this name.
    pub fn know(&mut self, platform: PlatformId, name: &str) {
        match self.by_name.get(name) {
            Some(accounts) => self.by_platform.insert(platform, accounts.clone()),
            None => self.by_platform.remove(&platform),
        };
    }

    fn of(&self, platform: PlatformId, channel: Channel) -> Option<&Assignment> {
        self.by_platform.get(&platform)?.get(&channel)
    }
}

pub struct Accounts {
    config: Arc<Config>,
    supervisors: RwLock<HashMap<Account, SupervisorHandle>>,
    assignments: RwLock<Assignments>,
}

impl Accounts {
    pub fn new(config: Arc<Config>) -> Self {
        Accounts { config, supervisors: RwLock::default(), assignments: RwLock::default() }
    }

    /// Starts serving an account.
    pub fn serve(&self, supervisor: SupervisorHandle) {
        let account = supervisor.adapter.account().clone();
        self.supervisors.write().unwrap_or_else(PoisonError::into_inner).insert(account, supervisor);
    }

    /// The accounts that are served, in order.
    pub fn served(&self) -> BTreeSet<Account> {
        self.supervisors.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub fn supervisor(&self, account: &Account) -> Option<SupervisorHandle> {
        let supervisors = self.supervisors.read().unwrap_or_else(PoisonError::into_inner);
        supervisors.get(account).cloned()
    }

    /// The adapter of an account; none when the channel or the account is not configured.
    pub fn adapter(&self, account: &Account) -> Option<Arc<dyn Adapter>> {
        self.supervisor(account).map(|supervisor| supervisor.adapter.current())
    }

    /// What a callback for an account says; none when the channel or the account is not configured.
    pub fn hear(&self, account: &Account, received: &Received<'_>) -> Option<Result<Heard, CallbackError>> {
        let supervisor = self.supervisor(account)?;
        Some(supervisor.adapter.callback(received, clock::now()))
    }

    /// Says which accounts take the money of which platforms, where it is not the default one.
    pub fn assign(&self, assignments: Assignments) {
        *self.assignments.write().unwrap_or_else(PoisonError::into_inner) = assignments;
    }

    /// A platform is about to be made: its first order goes where its name is sent.
    pub fn know(&self, platform: PlatformId, name: &str) {
        self.assignments.write().unwrap_or_else(PoisonError::into_inner).know(platform, name);
    }

    /// The account that takes a platform's money at a channel.
    pub fn of(&self, platform: PlatformId, channel: Channel) -> Assignment {
        let assignments = self.assignments.read().unwrap_or_else(PoisonError::into_inner);
        assignments.of(platform, channel).cloned().unwrap_or_else(|| Assignment {
            account: Account::new(channel, DEFAULT_ACCOUNT),
            merchant: Merchant::Operator,
        })
    }

    /// How an account is; none when it is not served.
    pub fn health(&self, account: &Account) -> Option<Health> {
        self.supervisor(account).map(|supervisor| supervisor.health())
    }

    /// The risk rule that a payer breaks, if any.
    fn broken_rule(&self, details: &Details) -> Option<Box<str>> {
        let payer = details.payer.as_deref()?;
        let risk = &self.config.risk;
        if risk.refused_payers.contains(&payer.id) {
            Some("refused_payer".into())
        } else if payer.told(PayerFact::Ip).is_some_and(|ip| risk.refused_ips.contains(&ip)) {
            Some("refused_ip".into())
        } else {
            None
        }
    }
}

impl ports::Accounts for Accounts {
    fn facts(&self, platform: PlatformId, (channel, method): (Channel, Method), details: &Details) -> Facts {
        let Assignment { account, merchant } = self.of(platform, channel);
        let health = self.health(&account);
        Facts {
            channel,
            method,
            account: health.map(|_| account),
            merchant,
            health: health.unwrap_or(Health::Down),
            risk: self.broken_rule(details),
        }
    }

    fn freeze(&self, account: &Account, ask: &Ask<'_>) -> Option<Box<str>> {
        self.adapter(account).map(|adapter| adapter.freeze(ask))
    }

    fn notify_url(&self, account: &Account) -> String {
        self.config.public_url(&format!("/v1/callbacks/{}/{}", account.channel(), account.name()))
    }

    fn call(&self, account: &Account, call: Call) -> Result<(), Box<Call>> {
        match self.supervisor(account) {
            Some(supervisor) => {
                supervisor.call(call);
                Ok(())
            }
            None => Err(Box::new(call)),
        }
    }
}
