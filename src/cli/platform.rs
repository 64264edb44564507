//! `tongbao platform`: who may post orders.

use std::collections::BTreeMap;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Subcommand, ValueEnum};
use comfy_table::Table;
use serde_json::json;

use super::adjust::currency;
use super::changer::{Absent, Changer};
use super::keys::{kept, new_key, random};
use super::operator::{self, At};
use super::output::say;
use super::{Failure, opening};
use crate::config::Config;
use crate::domain::money::{AmountError, Currency, format_minor, parse_minor};
use crate::domain::order::FeeBearer;
use crate::domain::platform::{Key, Terms, is_name};
use crate::engine::changes::{Change, ChangeError};
use crate::http::address::Addresses;
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub enum PlatformCommand {
    /// Make a platform and its first key; the key and the webhook secret are shown once
    Create {
        /// 1 to 64 of 0-9, a-z and -
        name: String,
        /// Where webhooks go when an order names no address
        #[arg(long, value_name = "URL")]
        webhook_url: Option<String>,
        /// Who bears the channel's fee
        #[arg(long, value_enum, default_value_t = Bearer::Payer)]
        fee_bearer: Bearer,
    },
    /// Show all platforms and their keys
    List,
    /// Make a further key; the old ones go on until they are revoked
    Rotate { name: String },
    /// Let a platform get shares of another one's orders
    AcceptShares {
        name: String,
        /// Whose orders may give it shares
        #[arg(long, value_name = "PLATFORM")]
        from: String,
    },
    /// Let it get no more of them; orders that are there keep their shares
    RefuseShares {
        name: String,
        #[arg(long, value_name = "PLATFORM")]
        from: String,
    },
    /// Propose a bound of what a platform may owe after refunds, at a running server: a refund that would take its balance lower is refused
    DebtMax {
        name: String,
        /// An ISO 4217 code such as CNY
        #[arg(long, value_name = "CODE", value_parser = currency)]
        currency: Currency,
        /// Major units such as 1000.00, or 0; without it any debt
        #[arg(long, value_name = "AMOUNT")]
        amount: Option<String>,
        /// Why; kept in the journal
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// Revoke a platform's keys; a running server forgets them within a second
    Revoke {
        name: String,
        /// The hint that `list` shows; without it all keys are revoked
        #[arg(long, value_name = "HINT")]
        key: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Bearer {
    Payer,
    Platform,
}

pub async fn run(config: Config, command: PlatformCommand) -> Result<ExitCode, Failure> {
    match command {
        PlatformCommand::Create { name, webhook_url, fee_bearer } => {
            if !is_name(&name) {
                return Err("a platform's name is 1 to 64 of 0-9, a-z and -".into());
            }
            if let Some(Err(why)) = webhook_url.as_deref().map(|url| Addresses::of(&config).check(url)) {
                return Err(format!("--webhook-url: {why}").into());
            }
            let fee_bearer = match fee_bearer {
                Bearer::Payer => FeeBearer::Payer,
                Bearer::Platform => FeeBearer::Platform,
            };
            let changer = Changer::reach(&config, Absent::Make).await?;
            let made =
                create(&changer, Terms { fee_bearer, name: name.into(), webhook_url: webhook_url.map(Into::into) });
            ended(made.await, changer).await?;
        }
        PlatformCommand::List => {
            let store = opening::open(&config).await?;
            say!("{}", table(store.as_ref()).await?)?;
            store.close().await?;
        }
        PlatformCommand::Rotate { name } => {
            let changer = Changer::reach(&config, Absent::Refuse).await?;
            let made = rotate(&changer, name).await;
            ended(made, changer).await?;
        }
        PlatformCommand::AcceptShares { name, from } => {
            let wanted = Change::AcceptShares { platform: name.as_str().into(), from: from.as_str().into() };
            change(&config, wanted, &format!("{name} gets shares of {from}'s orders")).await?;
        }
        PlatformCommand::RefuseShares { name, from } => {
            let wanted = Change::RefuseShares { platform: name.as_str().into(), from: from.as_str().into() };
            change(&config, wanted, &format!("{name} gets no more shares of {from}'s orders")).await?;
        }
        PlatformCommand::DebtMax { name, currency, amount, reason, at } => {
            let most = amount.as_deref().map(|amount| debt(amount, currency)).transpose()?;
            let most = most.map(|minor| if minor == 0 { "0".to_owned() } else { format_minor(minor, currency) });
            let act = json!({ "type": "bound_debt", "platform": name, "currency": currency, "most": most });
            return operator::ended(operator::propose(&config, &at, &act, &reason).await);
        }
        PlatformCommand::Revoke { name, key } => {
            let changer = Changer::reach(&config, Absent::Refuse).await?;
            let change = Change::RevokeKeys { platform: name.into(), hint: key.map(Into::into) };
            let made = revoke(&changer, change).await;
            ended(made, changer).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives the store back, whatever became of the change.
async fn ended(made: Result<(), Failure>, changer: Changer) -> Result<(), Failure> {
    let left = changer.leave().await;
    made.and(left)
}

async fn create(changer: &Changer, terms: Terms) -> Result<(), Failure> {
    let webhook_secret = format!("whsec_{}", STANDARD.encode(random()?));
    if changer.store.platform_by_name(&terms.name).await?.is_some() {
        return Err(format!("there is a platform {} already", terms.name).into());
    }
    let key = new_key("sk_")?;
    // Shown before it is made: a key that nobody saw would be lost for good.
    say!("platform        {}\nkey             {key}\nwebhook secret  {webhook_secret}", terms.name)?;
    say!("Keep both now: the key is stored hashed and is not shown again.")?;
    let change = Change::CreatePlatform { terms, key: stored(&key), webhook_secret: webhook_secret.into() };
    changer.make(change).await.map(drop).map_err(not_made)
}

async fn rotate(changer: &Changer, name: String) -> Result<(), Failure> {
    if changer.store.platform_by_name(&name).await?.is_none() {
        return Err(format!("there is no platform {name}").into());
    }
    let key = new_key("sk_")?;
    say!("key  {key}")?;
    say!("The older keys still work: revoke them with `tongbao platform revoke {name} --key HINT`.")?;
    let change = Change::AddKey { platform: name.into(), key: stored(&key) };
    changer.make(change).await.map(drop).map_err(not_made)
}

fn debt(amount: &str, currency: Currency) -> Result<i64, Failure> {
    match parse_minor(amount, currency) {
        Ok(minor) => Ok(minor),
        Err(AmountError::Zero) => Ok(0),
        Err(error) => Err(format!("--amount {error}").into()),
    }
}

async fn change(config: &Config, wanted: Change, done: &str) -> Result<(), Failure> {
    let changer = Changer::reach(config, Absent::Refuse).await?;
    let made = changer.make(wanted).await.map_err(Failure::from);
    ended(made.map(drop), changer).await?;
    Ok(say!("{done}")?)
}

async fn revoke(changer: &Changer, change: Change) -> Result<(), Failure> {
    match changer.make(change).await?.count {
        1 => say!("1 key revoked")?,
        count => say!("{count} keys revoked")?,
    }
    Ok(())
}

/// A key as it is kept.
fn stored(key: &str) -> Key {
    let (hash, hint) = kept(key);
    Key { hash, hint }
}

fn not_made(error: ChangeError) -> Failure {
    match error {
        ChangeError::Refused(_) | ChangeError::StoreAway(_) | ChangeError::Partly { .. } => {
            format!("the key shown above is not in force: {error}").into()
        }
        ChangeError::OutcomeUnknown => format!(
            "the key shown above may be in force ({error}): `tongbao platform list` shows its first characters if it is; \
             revoke it if you do not use it"
        )
        .into(),
    }
}

async fn table(store: &dyn Store) -> Result<Table, Failure> {
    let mut table = Table::new();
    table.set_header(["platform", "fee borne by", "webhooks to", "shares from", "key", "made", "revoked"]);
    let (mut names, mut consents) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
    for platform in store.platforms().await?.into_iter().filter_map(|platform| platform.value.ok()) {
        names.insert(platform.id, platform.name);
    }
    for (platform, from) in store.share_consents().await? {
        consents.entry(platform).or_default().extend(names.get(&from).cloned());
    }
    for platform in store.platforms().await? {
        let platform = match platform.value {
            Ok(platform) => platform,
            Err(error) => {
                let number = platform.key.map(|id| id.0.to_string()).unwrap_or_default();
                eprintln!("passed over: platform {number}: {error}");
                continue;
            }
        };
        let bearer = match platform.fee_bearer {
            FeeBearer::Payer => "payer",
            FeeBearer::Platform => "platform",
        };
        let to = platform.webhook_url.unwrap_or_default();
        let from = consents.get(&platform.id).map(|names| names.join(", ")).unwrap_or_default();
        for key in store.keys(platform.id).await? {
            let revoked = key.revoked_at.map(|at| at.rfc3339()).unwrap_or_default();
            table.add_row([&platform.name, bearer, &to, &from, &key.hint, &key.created_at.rfc3339(), &revoked]);
        }
    }
    Ok(table)
}
