//! The far end of WeChat Pay, API v3: what its merchants call, and what it says.
//!
//! Requests are signed by the merchant's certificate. Whatever succeeds is signed by WeChat Pay, with its public key if
//! the request names that, else with the platform certificate; errors and the bill's file are signed by nobody.

mod bill;
mod bodies;
mod calls;
mod failure;
mod refunds;
pub mod routes;
mod sealing;
mod signing;
mod statement;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_lc_rs::hmac;

use super::accounts::{AccountId, Channel};
use super::roster::Roster;
use super::wire::TimeScale;
use super::{GatewayError, alphanumeric};
use crate::config::{Config, sandbox};
use wire::WechatWire;

/// What WeChat Pay knows of its merchants.
pub struct Wechat {
    wires: Vec<(AccountId, Arc<WechatWire>)>,
    /// Seals the addresses of bills; they are short-lived, so that none has to survive this process.
    bill_key: hmac::Key,
}

impl Wechat {
    /// # Errors
    /// A key or certificate cannot be made or read, or is malformed.
    pub fn open(config: &Config, roster: &mut Roster) -> Result<Self, GatewayError> {
        let mut wires = Vec::new();
        let scale = TimeScale::percent(config.gateway.time_scale_percent);
        for name in sandbox::accounts(config, Channel::Wechat.name()).map_err(GatewayError::Config)? {
            let account = sandbox::Wechat::open(&config.data.dir, &name).map_err(GatewayError::Config)?;
            let wire = WechatWire::new(&account, scale).ok_or_else(|| GatewayError::Key(name.clone()))?;
            let wire = Arc::new(wire);
            wires.push((roster.enlist(Channel::Wechat, &name, wire.clone()), wire));
        }
        let bill_key = hmac::Key::new(hmac::HMAC_SHA256, &alphanumeric::<32>());
        Ok(Wechat { wires, bill_key })
    }

    fn wire(&self, mchid: &str) -> Option<(AccountId, &Arc<WechatWire>)> {
        self.wires.iter().find(|(_, wire)| wire.merchant.mchid == mchid).map(|(id, wire)| (*id, wire))
    }
}
