//! Callbacks of real channels, signed by whatever key a test wants.

use aws_lc_rs::rsa::{KeyPair, KeySize};
use serde_json::json;
use tongbao::config::sandbox;

use super::client::{Answer, Client};
use super::far_ends::{rsa_key, stripe_signed, wechat_sealed, wechat_signed};
use super::gateway::now_s;
use super::process::Site;

/// An event of Stripe's that has no consequence, signed with this endpoint's secret.
pub async fn stripe_event(client: &Client, secret: &str) -> Answer {
    let event = json!({
        "id": "evt_1", "object": "event", "type": "customer.created", "livemode": false, "data": { "object": {} },
    });
    stripe_signed(event.to_string(), secret, now_s()).send(client, "/v1/callbacks/stripe/default").await
}

/// WeChat Pay's side of an account.
pub struct Far {
    account: sandbox::Wechat,
}

/// A key that signs, under the name that it is told by.
pub struct Named {
    pub serial: String,
    key: KeyPair,
}

impl Far {
    pub fn of(site: &Site, account: &str) -> Self {
        Far { account: sandbox::Wechat::open(site.folder.path(), account).expect("an account") }
    }

    pub fn certificate(&self) -> Named {
        Named { serial: self.account.platform_serial.clone(), key: rsa_key(&self.account.platform_key) }
    }

    pub fn public_key(&self) -> Named {
        Named { serial: self.account.public_key_id.clone(), key: rsa_key(&self.account.public_key_private) }
    }

    /// Another key under the public one's name.
    pub fn stranger(&self) -> Named {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key is made");
        Named { serial: self.account.public_key_id.clone(), key }
    }
}

/// A notice of some refund, which has no consequence.
pub async fn wechat_refund_notice(client: &Client, far: &Far, named: &Named) -> Answer {
    let resource = json!({ "mchid": far.account.mchid }).to_string();
    let sealed = wechat_sealed(&far.account, ("REFUND.SUCCESS", "refund"), resource);
    wechat_signed(sealed, (&named.serial, &named.key), now_s()).send(client, "/v1/callbacks/wechat/default").await
}
