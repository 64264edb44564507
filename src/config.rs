//! Configuration: `config/default.toml` (built in), overlays, environment.
//!
//! Owns the meaning of every key. It must never hold a live secret in a form that prints: secrets come from files or
//! the environment and stay inside [`secrecy::SecretString`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::domain::channel;
use crate::domain::payer::PayerIds;
use crate::domain::platform;
use crate::domain::retry::Pace;
use crate::domain::time::TimeScale;
use accounts::{Accounts, DEFAULT_ACCOUNT};
use environment::Environment;
pub use environment::OPERATOR_KEY;
pub use network::{Network, names_this_machine};

pub mod accounts;
pub mod credentials;
mod environment;
mod network;
#[cfg_attr(not(feature = "sandbox"), path = "config/no_sandbox.rs")]
pub mod sandbox;
pub mod settlement;

/// Every key with its default, its unit and its reason.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");

/// Account names stand in the addresses of callbacks, which channels bound.
const ACCOUNT_NAME_MAX: usize = 32;

/// Below, NTP's own steps would be alarms; above, channels refuse us by our clock (WeChat Pay: five minutes).
const CLOCK_STEP_MS: std::ops::RangeInclusive<i64> = 100..=60_000;

/// A day: eight bytes per minute and account.
const WINDOW_MINUTES_MAX: u16 = 1_440;
/// Writers of a store: each is a thread and a connection, and has at least 64 partitions.
const LANES_MAX: u16 = 16;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub sandbox: bool,
    pub clock: Clock,
    pub data: Data,
    pub server: Server,
    pub store: Store,
    pub writer: Writer,
    pub orders: Orders,
    pub limits: Limits,
    pub ops: Ops,
    pub operators: Operators,
    pub risk: Risk,
    pub routing: Routing,
    pub webhooks: Webhooks,
    pub bills: Bills,
    pub settlement: settlement::Settlement,
    pub channels: BTreeMap<String, Channel>,
    /// Besides each channel's own.
    pub fee_rates: Vec<FeeRate>,
    /// By name; a platform that is not here uses the account `default` of every channel.
    #[serde(default)]
    pub platforms: BTreeMap<String, Platform>,
    pub gateway: Gateway,
    pub log: Log,
    /// Variables with our prefix that were not meant for us, for the log.
    #[serde(skip)]
    pub ignored_variables: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    pub step_ms: i64,
    pub offset_file: PathBuf,
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
    pub head_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub answer_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub trusted_proxies: Vec<Network>,
    pub first_answer_wait_ms: u64,
    pub shutdown_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `sqlite://FILE` or `postgres://…`; empty: `sqlite://` + `data.dir` + `/tongbao.db`.
    pub url: SecretString,
    pub readers: u32,
    pub lanes: u16,
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
    pub inbox_max: i64,
    pub idle_ms: i64,
    pub in_memory_max: usize,
    pub quarantine_retry_ms: Vec<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub platform_per_second: u32,
    pub platform_burst: u32,
    pub sandbox_platform_per_second: u32,
    pub pay_presses_per_minute: u32,
    pub platform_pay_presses_per_second: u32,
    pub failed_verifications_per_minute: u32,
    pub key_cache_ms: u64,
    pub idempotency_keep_hours: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ops {
    /// None: probes and scrapes are served at `server.listen`.
    #[serde(deserialize_with = "network::optional_address")]
    pub listen: Option<SocketAddr>,
    pub dumpable: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operators {
    pub proposal_lapses_ms: i64,
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

/// A fee rate for one way to pay, one platform, or both.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeRate {
    pub channel: String,
    pub method: Option<String>,
    pub platform: Option<String>,
    pub rate: Decimal,
    /// RFC 3339.
    pub from: Option<String>,
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
    pub queries_wait_ms: u64,
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
    pub cost_rate: CostRates,
    pub faults: Faults,
}

/// What the simulated channels charge us of each payment, as their bills show it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostRates {
    pub simpay: Decimal,
    pub wechat: Decimal,
    pub alipay: Decimal,
    pub unionpay: Decimal,
    pub stripe: Decimal,
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
        Config::read(overlays, std::env::vars_os())
    }

    fn read(
        overlays: &[PathBuf],
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let defaults = config::File::from_str(DEFAULT_TOML, config::FileFormat::Toml);
        let mut builder = config::Config::builder().add_source(defaults);
        let environment = Environment::read(variables, &builder.build_cloned()?)?;
        for overlay in overlays {
            builder = builder.add_source(config::File::from(overlay.as_path()).format(config::FileFormat::Toml));
        }
        for (key, value) in environment.values {
            builder = builder.set_override(key, value)?;
        }
        let mut config: Config = builder.build()?.try_deserialize()?;
        config.ignored_variables = environment.ignored;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, why: &str| Err(ConfigError(format!("`{key}` {why}")));
        sandbox::check(self.sandbox)?;
        if !CLOCK_STEP_MS.contains(&self.clock.step_ms) {
            return refuse("clock.step_ms", "must be 100 to 60000");
        }
        if !self.sandbox && !self.clock.offset_file.as_os_str().is_empty() {
            return refuse("clock.offset_file", "is for tests of the sandbox");
        }
        if self.writer.pending_max == 0 || self.writer.group_max == 0 {
            return refuse("writer.pending_max", "and `writer.group_max` must be at least 1");
        }
        if !(1..=LANES_MAX).contains(&self.store.lanes) {
            return refuse("store.lanes", "must be 1 to 16");
        }
        if self.store.lanes > 1 && self.store_url().expose_secret().starts_with("sqlite:") {
            return refuse("store.lanes", "must be 1: SQLite has one writer");
        }
        let server = &self.server;
        let bounds = [
            ("server.head_timeout_ms", server.head_timeout_ms == 0),
            ("server.body_timeout_ms", server.body_timeout_ms == 0),
            ("server.answer_timeout_ms", server.answer_timeout_ms == 0),
            ("server.idle_timeout_ms", server.idle_timeout_ms == 0),
            ("server.connections_max", server.connections_max == 0),
            ("server.connections_per_address_max", server.connections_per_address_max == 0),
        ];
        if let Some((key, _)) = bounds.iter().find(|(_, is_zero)| *is_zero) {
            return refuse(key, "must be at least 1");
        }
        if self.ops.listen == Some(self.server.listen) {
            return refuse("ops.listen", "must be another address than `server.listen`");
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
        if !(1_000..=10_000_000).contains(&self.orders.inbox_max) {
            return refuse("orders.inbox_max", "must be 1000 to 10000000");
        }
        if !(1_000..=86_400_000).contains(&self.orders.idle_ms) {
            return refuse("orders.idle_ms", "must be 1000 to 86400000");
        }
        if !(1_000..=10_000_000).contains(&self.orders.in_memory_max) {
            return refuse("orders.in_memory_max", "must be 1000 to 10000000");
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
        let Limits { pay_presses_per_minute, platform_pay_presses_per_second, .. } = &self.limits;
        if *pay_presses_per_minute == 0 {
            return refuse("limits.pay_presses_per_minute", "must be at least 1");
        }
        if *platform_pay_presses_per_second == 0 {
            return refuse("limits.platform_pay_presses_per_second", "must be at least 1");
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
        self.settlement.check()?;
        self.check_public_url()?;
        self.check_cost_rates()?;
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
            for (account, owner) in channel.accounts.owners() {
                let key = format!("channels.{name}.accounts.{account}.owner");
                if account == DEFAULT_ACCOUNT {
                    return refuse(&key, "cannot be: every platform without an account of its own uses `default`");
                }
                if !platform::is_name(owner) {
                    return refuse(&key, "must be a platform's name");
                }
            }
            if channel.calls_per_second == 0 || channel.sandbox_calls_per_second == 0 || channel.calls_concurrent == 0 {
                return refuse(&format!("channels.{name}.calls_per_second"), "must be at least 1");
            }
            if !(1..=100).contains(&channel.queries_percent) {
                return refuse(&format!("channels.{name}.queries_percent"), "must be 1 to 100");
            }
            if channel.calls_waiting == 0 {
                return refuse(&format!("channels.{name}.calls_waiting"), "must be at least 1");
            }
            if !(1..=600_000).contains(&channel.queries_wait_ms) {
                return refuse(&format!("channels.{name}.queries_wait_ms"), "must be 1 to 600000");
            }
        }
        if TimeScale::percent(self.gateway.time_scale_percent).is_none() {
            return refuse("gateway.time_scale_percent", "must be 1 to 100");
        }
        for (platform, settings) in &self.platforms {
            for (channel, account) in &settings.accounts {
                let key = format!("platforms.{platform}.accounts.{channel}");
                let accounts = self.channels.get(channel).map(|channel| &channel.accounts);
                let is_known =
                    |accounts: &&Accounts| account == DEFAULT_ACCOUNT || accounts.names().any(|name| name == account);
                let Some(accounts) = accounts.filter(is_known) else {
                    return refuse(&key, &format!("names an account that is not in `channels.{channel}.accounts`"));
                };
                if let Some(owner) = accounts.owner(account).filter(|owner| owner != platform) {
                    return refuse(
                        &key,
                        &format!("names an account that belongs to {owner}, whose orders alone may use it"),
                    );
                }
            }
        }
        Ok(())
    }

    fn check_cost_rates(&self) -> Result<(), ConfigError> {
        let CostRates { simpay, wechat, alipay, unionpay, stripe } = self.gateway.cost_rate;
        let rates =
            [("simpay", simpay), ("wechat", wechat), ("alipay", alipay), ("unionpay", unionpay), ("stripe", stripe)];
        match rates.iter().find(|(_, rate)| rate.is_sign_negative() || *rate >= Decimal::ONE) {
            None => Ok(()),
            Some((channel, _)) => {
                Err(ConfigError(format!("`gateway.cost_rate.{channel}` must be at least 0 and below 1")))
            }
        }
    }

    /// Links are made by writing a path behind it, and channels and payers follow them.
    fn check_public_url(&self) -> Result<(), ConfigError> {
        let refuse = |why: &str| Err(ConfigError(format!("`server.public_url` {why}")));
        let address = &self.server.public_url;
        if address.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return refuse("must have no blanks");
        }
        let url = url::Url::parse(address).map_err(|error| ConfigError(format!("`server.public_url`: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("must begin with https://, or with http:// in the sandbox");
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return refuse("must be a scheme, a host and at most a path: no user, no `?`, no `#`");
        }
        if self.sandbox {
            return Ok(());
        }
        if url.scheme() != "https" {
            return refuse("must begin with https:// outside the sandbox: payers and channels are sent there");
        }
        let is_here = url.host().is_none_or(|host| names_this_machine(&host));
        if is_here { refuse("names this machine itself, where no payer and no channel gets") } else { Ok(()) }
    }

    /// The store's address, with the default of an embedded database under `data.dir`.
    pub fn store_url(&self) -> SecretString {
        if self.store.url.expose_secret().is_empty() {
            return SecretString::from(sqlite_url(&self.data.dir.join("tongbao.db")));
        }
        self.store.url.clone()
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

    /// A path of ours as a browser sees it: `server.public_url` may lead to us under a path of its own.
    pub fn public_path(&self, path: &str) -> String {
        let before =
            url::Url::parse(&self.server.public_url).map_or_else(|_| String::new(), |url| url.path().to_owned());
        format!("{}{path}", before.trim_end_matches('/'))
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

/// A file as the address of an embedded store. What has a meaning in addresses is escaped: a folder may be called
/// `100%41?`.
fn sqlite_url(file: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in file.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' | 0..=0x20 | 0x7f.. => url.push_str(&format!("%{byte:02X}")),
            _ => url.push(char::from(*byte)),
        }
    }
    url
}

fn is_account_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-';
    (1..=ACCOUNT_NAME_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Whether those who are neither the file's owner nor of its group may read or change it.
fn is_open_to_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o006 != 0)
}

/// How every part of a PEM file begins.
const PEM_BEGIN: &[u8] = b"-----BEGIN ";

/// Reads a secret file, without the line end that editors leave. Of PEM what stands before its first `-----BEGIN` is
/// left out, and what stands between its parts need not be UTF-8: `openssl pkcs12` writes a `friendlyName` there as the
/// bytes that it finds.
///
/// # Errors
/// The file cannot be read or is empty; the path is named, never the content.
pub fn secret_file(path: &Path) -> Result<SecretString, ConfigError> {
    let refused = |why: &str| ConfigError(format!("secret file {}: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| refused(&error.to_string()))?;
    let text = match bytes.windows(PEM_BEGIN.len()).position(|window| window == PEM_BEGIN) {
        Some(begin) => String::from_utf8_lossy(&bytes[begin..]),
        None => std::str::from_utf8(&bytes).map_err(|_| refused("it is neither PEM nor text in UTF-8"))?.into(),
    };
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
    fn a_bound_of_the_server_that_is_zero_is_told_by_its_own_key() {
        type Change = fn(&mut Server);
        let changes: [(&str, Change); 6] = [
            ("head_timeout_ms", |server| server.head_timeout_ms = 0),
            ("body_timeout_ms", |server| server.body_timeout_ms = 0),
            ("answer_timeout_ms", |server| server.answer_timeout_ms = 0),
            ("idle_timeout_ms", |server| server.idle_timeout_ms = 0),
            ("connections_max", |server| server.connections_max = 0),
            ("connections_per_address_max", |server| server.connections_per_address_max = 0),
        ];
        for (key, change) in changes {
            let mut config = Config::load(&[]).unwrap();
            change(&mut config.server);
            let error = config.check().unwrap_err().to_string();
            assert_eq!(error, format!("configuration: `server.{key}` must be at least 1"));
        }
        let mut config = Config::load(&[]).unwrap();
        assert_eq!(config.ops.listen, None, "all is served at server.listen");
        config.ops.listen = Some(config.server.listen);
        assert!(config.check().unwrap_err().to_string().contains("`ops.listen`"));
    }

    #[test]
    fn lanes_are_bounded_and_sqlite_has_one() {
        let mut config = Config::load(&[]).unwrap();
        assert_eq!(config.store.lanes, 1);
        config.store.lanes = 2;
        assert!(config.check().unwrap_err().to_string().contains("SQLite has one writer"));
        config.store.url = SecretString::from("postgres://db/tongbao");
        assert!(config.check().is_ok());
        for lanes in [0, LANES_MAX + 1] {
            config.store.lanes = lanes;
            assert!(config.check().unwrap_err().to_string().contains("`store.lanes` must be 1 to 16"));
        }
    }

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

    #[test]
    fn a_cost_rate_out_of_bounds_is_told_by_its_own_key() {
        let config = Config::load(&[]).unwrap();
        let rate = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!((config.gateway.cost_rate.wechat, config.gateway.cost_rate.stripe), (rate("0.006"), rate("0.029")));
        type Change = fn(&mut CostRates, Decimal);
        let changes: [(&str, Change); 5] = [
            ("simpay", |rates, rate| rates.simpay = rate),
            ("wechat", |rates, rate| rates.wechat = rate),
            ("alipay", |rates, rate| rates.alipay = rate),
            ("unionpay", |rates, rate| rates.unionpay = rate),
            ("stripe", |rates, rate| rates.stripe = rate),
        ];
        for (channel, change) in changes {
            for (text, is_taken) in [("0", true), ("0.999999", true), ("1", false), ("-0.000001", false)] {
                let mut config = config.clone();
                change(&mut config.gateway.cost_rate, rate(text));
                let said = config.check().err().map(|error| error.to_string());
                let refusal = format!("configuration: `gateway.cost_rate.{channel}` must be at least 0 and below 1");
                assert_eq!(said, (!is_taken).then_some(refusal), "{text}");
            }
        }
        assert!(
            with(&[("TONGBAO_GATEWAY__COST_RATE__ALIPAY", "0.0055")])
                .is_ok_and(|config| { config.gateway.cost_rate.alipay == rate("0.0055") })
        );
        assert!(with(&[("TONGBAO_GATEWAY__COST_RATE__PAYPAL", "0.0055")]).is_err());
    }

    fn with(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(&[], variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn report_a_public_url_that_would_break_links_is_refused() {
        let url = "TONGBAO_SERVER__PUBLIC_URL";
        for bad in [
            " https://pay.example",
            "https://pay.example\n",
            "https://pay.example/?a=1",
            "https://pay.example/#top",
            "https://li:pw@pay.example",
            "ftp://pay.example",
            "pay.example",
        ] {
            let said = with(&[(url, bad)]).unwrap_err().to_string();
            assert!(said.contains("`server.public_url`"), "{bad:?}: {said}");
        }
        for bad in [
            "http://pay.example",
            "https://127.0.0.1:8080",
            "https://localhost",
            "https://[::1]",
            "https://0.0.0.0",
            "https://localhost.",
            "https://[::ffff:127.0.0.1]",
        ] {
            assert!(with(&[(url, bad)]).is_ok(), "{bad}: the sandbox takes it");
            let said = with(&[(url, bad), ("TONGBAO_SANDBOX", "false")]).unwrap_err().to_string();
            assert!(said.contains("`server.public_url`"), "{bad:?}: {said}");
        }
        let config = with(&[(url, "https://pay.example/tongbao/"), ("TONGBAO_SANDBOX", "false")]).unwrap();
        assert_eq!(config.public_url("/pay/x"), "https://pay.example/tongbao/pay/x");
        assert_eq!(config.public_path("/pay/x"), "/tongbao/pay/x");
        assert_eq!(with(&[]).unwrap().public_path("/pay/x"), "/pay/x");
    }

    #[test]
    fn report_a_folder_with_a_percent_sign_is_the_folder_it_names() {
        for folder in ["100%41", "a%2Fb", "what?mode=memory", "a b", "中文", "x#y"] {
            let config = with(&[("TONGBAO_DATA__DIR", &format!("/srv/{folder}"))]).unwrap();
            let url = config.store_url();
            let options: sqlx::sqlite::SqliteConnectOptions = url.expose_secret().parse().unwrap();
            assert_eq!(options.get_filename(), Path::new(&format!("/srv/{folder}/tongbao.db")));
        }
    }
}
