//! HTTP: translation only. A request becomes a question to the engine or a read of the store, and what comes back
//! becomes an answer. Nothing here decides about money.

mod acts;
pub mod address;
mod auth;
mod balance;
mod calendars;
mod callbacks;
mod channels;
mod connections;
pub mod control;
mod debtors;
mod debts;
mod docs;
mod draft;
mod edge;
mod idempotency;
mod json;
mod limits;
mod lists;
mod meter;
mod nettings;
mod operator;
mod operators;
mod ops;
mod orders;
mod pages;
mod pay_page;
mod payouts;
mod problem;
mod proposals;
mod query;
mod refunds;
mod reservations;
pub mod routes;
pub mod schema;
pub mod server;
mod settlements;
mod statement;
mod terms;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use crate::config::{Config, ConfigError};
use crate::domain::pay_link::PayLinks;
use crate::domain::request::Asked;
use crate::domain::routing::Outlook;
use crate::domain::view::Beside;
use crate::engine::accounts::Accounts;
use crate::engine::advice::Advice;
use crate::engine::calendars::Calendars;
use crate::engine::changes::Changes;
use crate::engine::directory::Directory;
use crate::engine::inbox::Inbox;
use crate::engine::lane::Lanes;
use crate::engine::nettings::Nettings;
use crate::engine::order::desk::Desk;
use crate::engine::payout_desk::PayoutDesk;
use crate::engine::proposal::ProposalDesk;
use crate::engine::unreadable::UnreadableRows;
use crate::store::{Store, StoredPlatform};

/// The name of the store's setting that holds the key of the retry links.
pub const PAY_LINK_KEY: &str = "pay_link_key";
/// The name of the store's setting that holds the key under which payers are known again.
pub const PAYER_KEY: &str = "payer_key";

/// Renders all metrics in Prometheus' text format.
pub type RenderMetrics = Box<dyn Fn() -> String + Send + Sync>;

/// What all handlers share.
pub struct App {
    pub config: Arc<Config>,
    pub desk: Desk,
    pub accounts: Arc<Accounts>,
    pub advice: Arc<Advice>,
    pub inbox: Arc<Inbox>,
    pub lanes: Lanes,
    pub unreadable: Arc<UnreadableRows>,
    pub store: Arc<dyn Store>,
    links: PayLinks,
    keys: auth::Keys<StoredPlatform>,
    operators: auth::Keys<auth::Person>,
    /// What is changed by hand.
    pub changes: Arc<Changes>,
    proposals: Arc<ProposalDesk>,
    payouts: Arc<PayoutDesk>,
    nettings: Arc<Directory<Nettings>>,
    refusals: acts::Refusals,
    limits: limits::Limits,
    creating: reservations::Reservations,
    running: reservations::Reservations,
    refunding: reservations::Reservations,
    debts: debts::Debts,
    calendars: Arc<Directory<Calendars>>,
    statements: Arc<statement::Running>,
    terms: terms::Terms,
    metrics: RenderMetrics,
}

impl App {
    /// `pay_link_key` is the value of the setting [`PAY_LINK_KEY`]: base64 of at least 32 random bytes.
    ///
    /// # Errors
    /// The key cannot be used, or a channel's fee rate is missing or finer than nine decimals.
    pub fn new(
        config: Arc<Config>,
        store: Arc<dyn Store>,
        engine: &crate::engine::Engine,
        pay_link_key: &SecretString,
        metrics: RenderMetrics,
    ) -> Result<Self, ConfigError> {
        let key = read_key(PAY_LINK_KEY, pay_link_key)?;
        let strangers = auth::strangers();
        Ok(App {
            store,
            links: PayLinks::new(&config.server.public_url, &key),
            keys: auth::Keys::new(&config, strangers.clone()),
            operators: auth::Keys::new(&config, strangers),
            changes: engine.changes.clone(),
            proposals: engine.proposals.clone(),
            payouts: engine.payouts.clone(),
            nettings: engine.nettings.clone(),
            refusals: acts::Refusals::default(),
            limits: limits::Limits::new(&config),
            creating: reservations::Reservations::default(),
            running: reservations::Reservations::default(),
            refunding: reservations::Reservations::default(),
            debts: debts::Debts::default(),
            calendars: engine.calendars.clone(),
            statements: Arc::default(),
            terms: terms::Terms::new(&config)?,
            config,
            desk: engine.desk.clone(),
            accounts: engine.accounts.clone(),
            advice: engine.advice.clone(),
            inbox: engine.inbox.clone(),
            lanes: engine.lanes.clone(),
            unreadable: engine.unreadable.clone(),
            metrics,
        })
    }

    fn beside<'a>(&'a self, merchant_order_id: &'a str, asked: &'a Asked, outlook: &'a Outlook) -> Beside<'a> {
        let Asked { metadata, splits, .. } = asked;
        Beside { merchant_order_id, metadata, splits, links: &self.links, outlook }
    }
}

/// A new value for a setting that holds a key.
///
/// # Errors
/// The system gives no randomness.
pub fn new_key() -> Result<SecretString, ConfigError> {
    let mut key = [0u8; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| ConfigError("the system gives no randomness".into()))?;
    Ok(SecretString::from(STANDARD.encode(key)))
}

/// The bytes of a key as a setting holds it.
///
/// # Errors
/// It is not base64 of at least 32 bytes.
pub fn read_key(setting: &str, key: &SecretString) -> Result<Vec<u8>, ConfigError> {
    let bytes = STANDARD.decode(key.expose_secret()).ok().filter(|key| key.len() >= 32);
    bytes.ok_or_else(|| ConfigError(format!("the setting `{setting}` is not base64 of 32 bytes or more")))
}
