//! Configuration: `config/default.toml` (built in), overlays, environment.
//!
//! Owns the meaning of every key. It must never hold a live secret in a form that prints: secrets come from files or
//! the environment and stay inside [`secrecy::SecretString`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::domain::channel;
use crate::domain::payer::PayerIds;
use crate::domain::retry::Pace;
use crate::domain::time::TimeScale;
use accounts::Accounts;

pub mod accounts;
pub mod credentials;
pub mod sandbox;

/// Every key with its default, its unit and its reason.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");

/// Characters of an operator's key outside the sandbox: 192 random bits in base64. The sandbox's own is shorter.
const OPERATOR_KEY_MIN: usize = 32;
/// Account names stand in the addresses of callbacks, which channels bound.
const ACCOUNT_NAME_MAX: usize = 32;

/// A day: eight bytes per minute and account.
const WINDOW_MINUTES_MAX: u16 = 1_440;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub sandbox: bool,
    pub data: Data,
    pub server: Server,
    pub store: Store,
    pub writer: Writer,
    pub orders: Orders,
    pub limits: Limits,
    pub operator: Operator,
    pub risk: Risk,
    pub routing: Routing,
    pub webhooks: Webhooks,
    pub bills: Bills,
    pub channels: BTreeMap<String, Channel>,
    /// By name; a platform that is not here uses the account `default` of every channel.
    #[serde(default)]
    pub platforms: BTreeMap<String, Platform>,
    pub gateway: Gateway,
    pub log: Log,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub dir: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: SocketAddr,
    pub public_url: String,
    pub workers: usize,
    pub body_max_bytes: usize,
    pub body_timeout_ms: u64,
    pub connections_max: usize,
    pub first_answer_wait_ms: u64,
    pub shutdown_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `sqlite://FILE` or `postgres://…`; empty: `sqlite://` + `data.dir` + `/tongbao.db`.
    pub url: SecretString,
    pub readers: u32,
    pub beat_ms: u64,
    pub missed_beats: u32,
    pub statement_timeout_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writer {
    pub group_max: usize,
    pub pending_max: usize,
    pub new_orders_percent: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    pub scan_ms: u64,
    pub scan_page: u32,
    pub takeup_per_second: u32,
    pub quarantine_retry_ms: Vec<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub platform_per_second: u32,
    pub platform_burst: u32,
    pub sandbox_platform_per_second: u32,
    pub failed_verifications_per_minute: u32,
    pub key_cache_ms: u64,
    pub idempotency_keep_hours: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// From the environment; empty: from `key_file`.
    pub key: SecretString,
    pub key_file: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    pub refused_payers: Vec<String>,
    pub refused_ips: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    pub window_minutes: u16,
    pub samples_min: u32,
    pub rate_step_percent: u16,
    pub neutral_rate_percent: u8,
    pub payer_ids: PayerIds,
    pub payer_memory_days: u16,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    pub concurrency: usize,
    pub concurrency_per_host: usize,
    pub timeout_ms: u64,
    pub batch_max: u32,
    pub retry_ms: Vec<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bills {
    pub answer_max_bytes: usize,
    pub lines_max: usize,
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    pub enabled: bool,
    pub fee_rate: Decimal,
    /// Empty: in the sandbox the simulated gateway at `gateway.listen`, elsewhere the channel itself.
    pub base_url: String,
    pub calls_per_second: u32,
    pub sandbox_calls_per_second: u32,
    pub calls_concurrent: usize,
    pub calls_waiting: usize,
    pub call_timeout_ms: u64,
    pub sandbox_call_timeout_ms: u64,
    pub call_retry_ms: Vec<u64>,
    pub queries_percent: u32,
    pub breaker_failures: u32,
    pub breaker_open_ms: u64,
    /// By name. `default` is the one used where a callback or a platform names none.
    #[serde(default)]
    pub accounts: Accounts,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// Channel to the account there that takes this platform's money, where it is not `default`.
    pub accounts: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    pub listen: SocketAddr,
    pub embedded: bool,
    pub workers: usize,
    pub payer_delay_ms: u64,
    pub time_scale_percent: u8,
    pub callback_timeout_ms: u64,
    pub callback_retry_ms: Vec<u64>,
    pub faults: Faults,
}

/// Faults that the simulated gateway adds by chance, drawn from `seed`; all zero by default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    pub seed: u64,
    /// Every answer waits this long, plus up to `latency_jitter_ms`.
    pub latency_ms: u64,
    pub latency_jitter_ms: u64,
    /// Chances per 10,000 requests.
    pub hang_per_10000: u32,
    pub error_per_10000: u32,
    pub callback_lost_per_10000: u32,
    pub callback_twice_per_10000: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Readable at a terminal, JSON elsewhere.
    Auto,
    Text,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub filter: String,
}

#[derive(Debug)]
pub struct ConfigError(pub String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "configuration: {}", self.0)
    }
}

impl std::error::Error for ConfigError {}

impl From<config::ConfigError> for ConfigError {
    fn from(error: config::ConfigError) -> Self {
        ConfigError(error.to_string())
    }
}

impl Config {
    /// Reads defaults, then each overlay file in order, then `TONGBAO_…` variables (`__` between levels).
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value of the wrong kind or out of its bounds, each named.
    pub fn load(overlays: &[PathBuf]) -> Result<Self, ConfigError> {
        let mut builder =
            config::Config::builder().add_source(config::File::from_str(DEFAULT_TOML, config::FileFormat::Toml));
        for overlay in overlays {
            builder = builder.add_source(config::File::from(overlay.as_path()).format(config::FileFormat::Toml));
        }
        let environment =
            config::Environment::with_prefix("TONGBAO").prefix_separator("_").separator("__").try_parsing(true);
        let config: Config = builder.add_source(environment).build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, why: &str| Err(ConfigError(format!("`{key}` {why}")));
        if self.writer.pending_max == 0 || self.writer.group_max == 0 {
            return refuse("writer.pending_max", "and `writer.group_max` must be at least 1");
        }
        if self.server.body_timeout_ms == 0 {
            return refuse("server.body_timeout_ms", "must be at least 1");
        }
        if !(1..=100).contains(&self.writer.new_orders_percent) {
            return refuse("writer.new_orders_percent", "must be 1 to 100");
        }
        if self.webhooks.retry_ms.len() < 9 {
            return refuse("webhooks.retry_ms", "must hold at least 9 gaps: ten tries are promised");
        }
        if self.webhooks.retry_ms.iter().sum::<u64>() < 24 * 3_600_000 {
            return refuse("webhooks.retry_ms", "must add up to at least 24 hours: that much is promised");
        }
        if self.orders.quarantine_retry_ms.is_empty() {
            return refuse("orders.quarantine_retry_ms", "must hold at least one gap");
        }
        if !(1..=WINDOW_MINUTES_MAX).contains(&self.routing.window_minutes) {
            return refuse("routing.window_minutes", "must be 1 to 1440");
        }
        if self.routing.samples_min == 0 {
            return refuse("routing.samples_min", "must be at least 1");
        }
        if !(1..=100).contains(&self.routing.rate_step_percent) {
            return refuse("routing.rate_step_percent", "must be 1 to 100");
        }
        if self.routing.neutral_rate_percent > 100 {
            return refuse("routing.neutral_rate_percent", "must be 0 to 100");
        }
        if self.routing.payer_memory_days == 0 {
            return refuse("routing.payer_memory_days", "must be at least 1");
        }
        let Bills { answer_max_bytes, lines_max, timeout_ms } = self.bills;
        let bounds = [
            ("bills.answer_max_bytes", answer_max_bytes == 0),
            ("bills.lines_max", lines_max == 0),
            ("bills.timeout_ms", timeout_ms == 0),
        ];
        if let Some((key, _)) = bounds.iter().find(|(_, is_zero)| *is_zero) {
            return refuse(key, "must be at least 1");
        }
        url::Url::parse(&self.server.public_url)
            .map_err(|error| ConfigError(format!("`server.public_url`: {error}")))?;
        for (name, channel) in &self.channels {
            if channel.fee_rate.is_sign_negative() || channel.fee_rate >= Decimal::ONE {
                return refuse(&format!("channels.{name}.fee_rate"), "must be at least 0 and below 1");
            }
            let known = channel::Channel::parse(name)
                .ok_or_else(|| ConfigError(format!("`channels.{name}`: there is no such channel")))?;
            channel.accounts.check(known)?;
            if let Some(account) = channel.accounts.names().find(|name| !is_account_name(name)) {
                return refuse(
                    &format!("channels.{name}.accounts.{account}"),
                    "must be named by 1 to 32 of 0-9, a-z and -",
                );
            }
            if channel.calls_per_second == 0 || channel.sandbox_calls_per_second == 0 || channel.calls_concurrent == 0 {
                return refuse(&format!("channels.{name}.calls_per_second"), "must be at least 1");
            }
        }
        if TimeScale::percent(self.gateway.time_scale_percent).is_none() {
            return refuse("gateway.time_scale_percent", "must be 1 to 100");
        }
        for (platform, settings) in &self.platforms {
            for (channel, account) in &settings.accounts {
                let known = self.channels.get(channel).is_some_and(|channel| {
                    account == sandbox::ACCOUNT || channel.accounts.names().any(|name| name == account)
                });
                if !known {
                    let key = format!("platforms.{platform}.accounts.{channel}");
                    return refuse(&key, &format!("names an account that is not in `channels.{channel}.accounts`"));
                }
            }
        }
        Ok(())
    }

    /// The store's address, with the default of an embedded database under `data.dir`.
    pub fn store_url(&self) -> SecretString {
        if self.store.url.expose_secret().is_empty() {
            return SecretString::from(format!("sqlite://{}", self.data.dir.join("tongbao.db").display()));
        }
        self.store.url.clone()
    }

    /// The key that operators show; none: their routes do not exist.
    ///
    /// # Errors
    /// The file cannot be read, or outside the sandbox the key is too short or everybody knows it.
    pub fn operator_key(&self) -> Result<Option<SecretString>, ConfigError> {
        let Operator { key, key_file } = &self.operator;
        let key = match (key.expose_secret().is_empty(), key_file.as_os_str().is_empty()) {
            (false, true) => key.clone(),
            (true, false) => {
                if is_open_to_all(key_file) {
                    tracing::warn!(key = "operator.key_file", "everybody on this machine may read or change the file");
                }
                secret_file(key_file)?
            }
            (true, true) if self.sandbox => SecretString::from(sandbox::OPERATOR_KEY),
            (true, true) => return Ok(None),
            (false, false) => {
                return Err(ConfigError("`operator.key` and `operator.key_file` exclude each other".into()));
            }
        };
        if !self.sandbox && key.expose_secret().len() < OPERATOR_KEY_MIN {
            return Err(ConfigError(format!("`operator.key` must have at least {OPERATOR_KEY_MIN} characters")));
        }
        Ok(Some(key))
    }

    /// Where the simulated gateway answers.
    pub fn gateway_url(&self) -> String {
        format!("http://{}", self.gateway.listen)
    }

    pub fn pace(&self) -> Pace {
        if self.sandbox { Pace::Sandbox } else { Pace::Production }
    }

    /// How much faster than at the true channels their own spans pass: in the sandbox as at its gateway.
    pub fn time_scale(&self) -> TimeScale {
        match self.pace() {
            Pace::Sandbox => TimeScale::percent(self.gateway.time_scale_percent).unwrap_or_default(),
            Pace::Production => TimeScale::TRUE,
        }
    }

    /// What the simulated gateway writes.
    pub fn gateway_dir(&self) -> PathBuf {
        self.data.dir.join("gateway")
    }

    pub fn public_url(&self, path: &str) -> String {
        format!("{}{path}", self.server.public_url.trim_end_matches('/'))
    }
}

impl Channel {
    pub fn outbound_per_second(&self, pace: Pace) -> u32 {
        match pace {
            Pace::Sandbox => self.sandbox_calls_per_second,
            Pace::Production => self.calls_per_second,
        }
    }

    pub fn timeout(&self, pace: Pace) -> Duration {
        Duration::from_millis(match pace {
            Pace::Sandbox => self.sandbox_call_timeout_ms,
            Pace::Production => self.call_timeout_ms,
        })
    }
}

fn is_account_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-';
    (1..=ACCOUNT_NAME_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Whether those who are neither the file's owner nor of its group may read or change it.
fn is_open_to_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o006 != 0)
}

/// Reads a secret file, without the line end that editors leave.
///
/// # Errors
/// The file cannot be read or is empty; the path is named, never the content.
pub fn secret_file(path: &Path) -> Result<SecretString, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("secret file {}: {error}", path.display())))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(ConfigError(format!("secret file {} is empty", path.display())));
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_bills_that_is_zero_is_told_by_its_own_key() {
        type Change = fn(&mut Bills);
        let changes: [(&str, Change); 3] = [
            ("answer_max_bytes", |bills| bills.answer_max_bytes = 0),
            ("lines_max", |bills| bills.lines_max = 0),
            ("timeout_ms", |bills| bills.timeout_ms = 0),
        ];
        for (key, change) in changes {
            let mut config = Config::load(&[]).unwrap();
            change(&mut config.bills);
            let error = config.check().unwrap_err().to_string();
            assert_eq!(error, format!("configuration: `bills.{key}` must be at least 1"));
        }
    }
}
