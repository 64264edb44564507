//! The sandbox's merchant at UnionPay: keys and certificates of both sides.

use std::path::Path;

use secrecy::SecretString;

use super::certificates::{holder, keys, middle, root};
use super::folder::{Files, Folder};
use crate::config::ConfigError;
use crate::config::credentials;

/// What UnionPay's signing certificate has as the third part of its common name.
pub const SIGNER_NAME: &str = "中国银联股份有限公司";

pub struct Unionpay {
    pub mer_id: String,
    pub merchant_key: SecretString,
    pub merchant_certificate: String,
    pub root_certificate: String,
    pub middle_certificate: String,
    /// What UnionPay signs with, and sends along as `signPubKeyCert`.
    pub signer_key: SecretString,
    pub signer_certificate: String,
}

impl Unionpay {
    /// The merchant, made if it is not there.
    ///
    /// # Errors
    /// Its folder cannot be made or read.
    pub fn open(data_dir: &Path, account: &str) -> Result<Self, ConfigError> {
        let folder = Folder::open(data_dir, "unionpay", account, make)?;
        Ok(Unionpay {
            mer_id: folder.text("mer_id")?,
            merchant_key: folder.secret("merchant.key.pem")?,
            merchant_certificate: folder.text("merchant.pem")?,
            root_certificate: folder.text("root.pem")?,
            middle_certificate: folder.text("middle.pem")?,
            signer_key: folder.secret("signer.key.pem")?,
            signer_certificate: folder.text("signer.pem")?,
        })
    }

    /// What the merchant has of it.
    pub fn credentials(&self) -> credentials::Unionpay {
        credentials::Unionpay {
            mer_id: self.mer_id.clone(),
            signing_key: self.merchant_key.clone(),
            signing_certificate: self.merchant_certificate.clone(),
            root: self.root_certificate.clone(),
            middle: self.middle_certificate.clone(),
            signer_name: SIGNER_NAME.to_owned(),
        }
    }
}

fn make() -> Result<Files, ConfigError> {
    let [root_key, middle_key, merchant, signer] = keys()?;
    let root = root("Tongbao Sandbox CFCA CS CA", root_key)?;
    let middle = middle("Tongbao Sandbox CFCA ACS OCA31", middle_key, &root)?;
    let mer_id = format!("777{}", super::digits(12)?);
    let merchant_certificate = holder(&format!("041@{mer_id}@Tongbao Sandbox@00000001"), &merchant, &middle)?;
    let signer_certificate = holder(&format!("041@8310000000083040@{SIGNER_NAME}@00016493"), &signer, &middle)?;
    Ok(vec![
        ("mer_id", mer_id),
        ("merchant.key.pem", merchant.serialize_pem()),
        ("merchant.pem", merchant_certificate.pem),
        ("root.pem", root.pem()),
        ("middle.pem", middle.pem()),
        ("signer.key.pem", signer.serialize_pem()),
        ("signer.pem", signer_certificate.pem),
    ])
}
