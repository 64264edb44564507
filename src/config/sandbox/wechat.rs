//! The sandbox's account at WeChat Pay: keys of both sides.

use std::path::Path;

use secrecy::SecretString;

use super::certificates::{holder, keys, root};
use super::folder::{Files, Folder};
use crate::config::ConfigError;
use crate::config::credentials::{self, WechatPublicKey};
use crate::domain::channel::Method;

pub struct Wechat {
    pub mchid: String,
    pub appid: String,
    /// Further ones of this merchant, the app's first.
    pub more_appids: Vec<String>,
    pub api_v3_key: SecretString,
    pub merchant_key: SecretString,
    pub merchant_certificate: String,
    /// Hexadecimal, as requests name it.
    pub merchant_serial: String,
    /// What WeChat Pay signs with by certificate.
    pub platform_key: SecretString,
    pub platform_certificate: String,
    pub platform_serial: String,
    /// What WeChat Pay signs with by public key.
    pub public_key_id: String,
    pub public_key: String,
    pub public_key_private: SecretString,
}

impl Wechat {
    /// The account, made if it is not there.
    ///
    /// # Errors
    /// Its folder cannot be made or read.
    pub fn open(data_dir: &Path, account: &str) -> Result<Self, ConfigError> {
        let folder = Folder::open(data_dir, "wechat", account, make)?;
        let appids = folder.text("appid")?;
        let mut appids = appids.lines().map(str::to_owned);
        Ok(Wechat {
            mchid: folder.text("mchid")?,
            appid: appids.next().unwrap_or_default(),
            more_appids: appids.collect(),
            api_v3_key: folder.secret("api_v3.key")?,
            merchant_key: folder.secret("merchant.key.pem")?,
            merchant_certificate: folder.text("merchant.pem")?,
            merchant_serial: folder.text("merchant.serial")?,
            platform_key: folder.secret("platform.key.pem")?,
            platform_certificate: folder.text("platform.pem")?,
            platform_serial: folder.text("platform.serial")?,
            public_key_id: folder.text("public_key.id")?,
            public_key: folder.text("public_key.pem")?,
            public_key_private: folder.secret("public_key.key.pem")?,
        })
    }

    /// What the merchant has of it.
    pub fn credentials(&self) -> credentials::Wechat {
        credentials::Wechat {
            mchid: self.mchid.clone(),
            appid: self.appid.clone(),
            appids: self.more_appids.first().map(|appid| (Method::App, appid.clone())).into_iter().collect(),
            merchant_serial: self.merchant_serial.clone(),
            merchant_key: self.merchant_key.clone(),
            api_v3_key: self.api_v3_key.clone(),
            public_key: Some(WechatPublicKey { id: self.public_key_id.clone(), pem: self.public_key.clone() }),
            platform_certificates: vec![self.platform_certificate.clone()],
        }
    }
}

fn make() -> Result<Files, ConfigError> {
    let [authority, merchant, platform, public] = keys()?;
    let authority = root("Tongbao Sandbox WeChat Pay Root CA", authority)?;
    let mchid = format!("19{}", super::digits(8)?);
    let merchant_certificate = holder(&mchid, &merchant, &authority)?;
    let platform_certificate = holder("Tenpay.com sign", &platform, &authority)?;
    Ok(vec![
        ("appid", format!("wx{}\nwx{}", super::hex::<8>()?, super::hex::<8>()?)),
        ("api_v3.key", super::hex::<16>()?),
        ("merchant.key.pem", merchant.serialize_pem()),
        ("merchant.pem", merchant_certificate.pem),
        ("merchant.serial", merchant_certificate.serial),
        ("platform.key.pem", platform.serialize_pem()),
        ("platform.pem", platform_certificate.pem),
        ("platform.serial", platform_certificate.serial),
        // The form of WeChat Pay's own: 01, the merchant's number, a day, and 14 digits more.
        ("public_key.id", format!("PUB_KEY_ID_01{mchid}20261130{}", super::digits(14)?)),
        ("mchid", mchid),
        ("public_key.pem", public.public_key_pem()),
        ("public_key.key.pem", public.serialize_pem()),
    ])
}
