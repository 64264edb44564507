//! The far end of the channel `alipay`: the open API's one address `gateway.do`, as its documents describe it.
//!
//! A payment is asked for by the merchant (`precreate`, for a code) or brought by the payer's browser (`page.pay`,
//! `wap.pay`), and is a trade only from when the payer opened it. Answers are signed over their very text; those to
//! nobody in particular are not.

mod answers;
mod bill;
mod calls;
mod cashier;
mod content;
mod form;
mod request;
pub mod routes;
mod signing;
#[cfg(test)]
mod tests;
mod units;
mod wire;

use std::sync::Arc;

use super::GatewayError;
use super::accounts::{AccountId, Channel};
use super::roster::Roster;
use super::wire::TimeScale;
use crate::config::{Config, sandbox};
use bill::Links;
use wire::AlipayWire;

/// What Alipay knows of its merchants.
pub struct Alipay {
    wires: Vec<(AccountId, Arc<AlipayWire>)>,
    links: Links,
}

impl Alipay {
    /// # Errors
    /// A key cannot be made or read, or is malformed.
    pub fn open(config: &Config, roster: &mut Roster) -> Result<Self, GatewayError> {
        let mut wires = Vec::new();
        let scale = TimeScale::percent(config.gateway.time_scale_percent);
        for name in sandbox::accounts(config, Channel::Alipay.name()).map_err(GatewayError::Config)? {
            let account = sandbox::Alipay::open(&config.data.dir, &name).map_err(GatewayError::Config)?;
            let wire = AlipayWire::new(&account, scale).ok_or_else(|| GatewayError::Key(name.clone()))?;
            let wire = Arc::new(wire);
            wires.push((roster.enlist(Channel::Alipay, &name, wire.clone()), wire));
        }
        Ok(Alipay { wires, links: Links::new() })
    }
}
