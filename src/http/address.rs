//! Addresses that platforms give us: where payers come back to, and where webhooks go.

use url::Url;

use crate::config::{Config, names_this_machine};
use crate::domain::retry::Pace;

/// Characters of an address: what browsers and proxies take without a second thought, and a bound for our rows.
pub const URL_MAX: usize = 512;

/// Where addresses may point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// https, and no loopback.
    Public,
    /// http and loopback too.
    Sandbox,
}

impl Addresses {
    /// What a server with this configuration takes.
    pub fn of(config: &Config) -> Self {
        match config.pace() {
            Pace::Sandbox => Addresses::Sandbox,
            Pace::Production => Addresses::Public,
        }
    }

    /// # Errors
    /// Why the address is refused, for a person.
    pub fn check(self, text: &str) -> Result<(), &'static str> {
        if text.chars().count() > URL_MAX {
            return Err("a URL of at most 512 characters");
        }
        if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
            return Err("a URL must have no blanks");
        }
        let url = Url::parse(text).map_err(|_| "not a URL")?;
        let scheme_fits = match self {
            Addresses::Public => url.scheme() == "https",
            Addresses::Sandbox => matches!(url.scheme(), "https" | "http"),
        };
        if !scheme_fits {
            return Err("the URL must be https");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not hold credentials");
        }
        let host = url.host().ok_or("the URL names no host")?;
        match self {
            Addresses::Public if names_this_machine(&host) => Err("the URL must not point to this machine"),
            Addresses::Public | Addresses::Sandbox => Ok(()),
        }
    }
}
