//! The far end of UnionPay's online gateway, version 5.1.0: what its merchants call, and what it says.
//!
//! A purchase has no call: the payer's browser brings the merchant's form, and only then is there a trade. Nothing can
//! close one; it ends by its `payTimeout`. What a script says of the creating call befalls the first query, because that
//! is the first call there is. The description, and so the script, is what stands in `reqReserved`.

mod calls;
mod clock;
mod failure;
mod fields;
mod file;
mod form;
pub mod routes;
mod signing;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::GatewayError;
use super::accounts::{AccountId, Channel};
use super::roster::Roster;
use super::wire::TimeScale;
use crate::config::{Config, sandbox};
use signing::{Merchant, Signer};
use wire::UnionpayWire;

/// What UnionPay knows of its merchants.
pub struct Unionpay {
    wires: Vec<(AccountId, Arc<UnionpayWire>)>,
}

impl Unionpay {
    /// # Errors
    /// A key or certificate cannot be made or read, or is malformed.
    pub fn open(config: &Config, roster: &mut Roster) -> Result<Self, GatewayError> {
        let mut wires = Vec::new();
        let scale = TimeScale::percent(config.gateway.time_scale_percent);
        for name in sandbox::accounts(config, Channel::Unionpay.name()).map_err(GatewayError::Config)? {
            let account = sandbox::Unionpay::open(&config.data.dir, &name).map_err(GatewayError::Config)?;
            let malformed = || GatewayError::Key(name.clone());
            let merchant = Merchant::new(&account.mer_id, &account.merchant_certificate).ok_or_else(malformed)?;
            let signer = Signer::new(&account.signer_key, &account.signer_certificate).ok_or_else(malformed)?;
            let wire = Arc::new(UnionpayWire::new(merchant, signer, scale));
            wires.push((roster.enlist(Channel::Unionpay, &name, wire.clone()), wire));
        }
        Ok(Unionpay { wires })
    }

    fn wire(&self, mer_id: &str) -> Option<(AccountId, &Arc<UnionpayWire>)> {
        self.wires.iter().find(|(_, wire)| wire.merchant.mer_id == mer_id).map(|(id, wire)| (*id, wire))
    }
}
