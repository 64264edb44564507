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
    // Of no refund of ours: what was refunded in the channel's own console is told of too.
    let resource = json!({
        "mchid": far.account.mchid,
        "transaction_id": "1008450740201411110005820873",
        "out_trade_no": "20150806125346",
        "refund_id": "50200207182018070300011301001",
        "out_refund_no": "7752501201407033233368018",
        "refund_status": "SUCCESS",
        "success_time": "2018-06-08T10:34:56+08:00",
        "user_received_account": "招商银行信用卡0403",
        "amount": { "total": 999, "refund": 999, "payer_total": 999, "payer_refund": 999 },
    });
    let sealed = wechat_sealed(&far.account, ("REFUND.SUCCESS", "refund"), resource.to_string());
    wechat_signed(sealed, (&named.serial, &named.key), now_s()).send(client, "/v1/callbacks/wechat/default").await
}
