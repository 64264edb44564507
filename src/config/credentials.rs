//! What an account shows a channel and believes of it, as texts read from files: PEM, keys, certificates. Whether they
//! are well formed is for the channel's adapter to say.

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::domain::channel::Method;

#[derive(Debug, Clone)]
pub struct Wechat {
    pub mchid: String,
    /// Of every method that has none of its own.
    pub appid: String,
    /// An official account, an app and a website of one merchant each have an appid of their own.
    pub appids: BTreeMap<Method, String>,
    pub merchant_serial: String,
    /// PEM, PKCS#8 or PKCS#1.
    pub merchant_key: SecretString,
    /// 32 bytes.
    pub api_v3_key: SecretString,
    pub public_key: Option<WechatPublicKey>,
    /// PEM, one certificate each.
    pub platform_certificates: Vec<String>,
}

/// The key that WeChat Pay signs with instead of a certificate's.
#[derive(Debug, Clone)]
pub struct WechatPublicKey {
    /// `PUB_KEY_ID_…`
    pub id: String,
    pub pem: String,
}

#[derive(Debug, Clone)]
pub struct Alipay {
    pub app_id: String,
    /// Our own user at Alipay, which notifications name; checked where it is given.
    pub seller_id: Option<String>,
    /// PEM, PKCS#8 or PKCS#1, or the bare base64 that Alipay's own tool saves.
    pub app_key: SecretString,
    pub trust: AlipayTrust,
}

/// How Alipay and the merchant know each other.
#[derive(Debug, Clone)]
pub enum AlipayTrust {
    /// One key, or several while Alipay changes over.
    PublicKey { pem: String },
    /// Our application's certificate, Alipay's (several while it changes over), and the roots.
    Certificates { app: String, alipay: String, root: String },
}

#[derive(Debug, Clone)]
pub struct Unionpay {
    pub mer_id: String,
    pub signing_key: SecretString,
    pub signing_certificate: String,
    pub root: String,
    pub middle: String,
    /// The third part of the common name of UnionPay's signing certificate.
    pub signer_name: String,
}

#[derive(Debug, Clone)]
pub struct Stripe {
    pub secret_key: SecretString,
    /// Several while one takes the place of another.
    pub webhook_secrets: Vec<SecretString>,
    pub version: String,
}

/// What has certificates among its texts.
pub trait Certified {
    /// Each text, of one certificate or several, after the name of its key in the configuration. Of roots that stand
    /// there together some may have ended: they are none of these.
    fn certificates(&self) -> Vec<(&'static str, &str)>;
}

impl Certified for Wechat {
    fn certificates(&self) -> Vec<(&'static str, &str)> {
        self.platform_certificates.iter().map(|pem| ("platform_certificates", pem.as_str())).collect()
    }
}

impl Certified for Alipay {
    fn certificates(&self) -> Vec<(&'static str, &str)> {
        match &self.trust {
            AlipayTrust::PublicKey { .. } => Vec::new(),
            AlipayTrust::Certificates { app, alipay, .. } => {
                vec![("app_certificate", app), ("alipay_certificate", alipay)]
            }
        }
    }
}

impl Certified for Unionpay {
    fn certificates(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("signing_certificate", &self.signing_certificate),
            ("root_certificate", &self.root),
            ("middle_certificate", &self.middle),
        ]
    }
}

impl Certified for Stripe {
    fn certificates(&self) -> Vec<(&'static str, &str)> {
        Vec::new()
    }
}

/// A key of simpay's.
impl Certified for SecretString {
    fn certificates(&self) -> Vec<(&'static str, &str)> {
        Vec::new()
    }
}
