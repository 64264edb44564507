//! The sandbox's application at Alipay: keys and certificates of both sides.

use std::path::Path;

use secrecy::SecretString;

use super::certificates::{holder, keys, root};
use super::folder::{Files, Folder};
use crate::config::ConfigError;
use crate::config::credentials::{self, AlipayTrust};

pub struct Alipay {
    pub app_id: String,
    pub seller_id: String,
    pub app_key: SecretString,
    pub app_public_key: String,
    pub app_certificate: String,
    pub alipay_key: SecretString,
    pub alipay_public_key: String,
    pub alipay_certificate: String,
    pub root_certificate: String,
}

impl Alipay {
    /// The application, made if it is not there.
    ///
    /// # Errors
    /// Its folder cannot be made or read.
    pub fn open(data_dir: &Path, account: &str) -> Result<Self, ConfigError> {
        let folder = Folder::open(data_dir, "alipay", account, make)?;
        Ok(Alipay {
            app_id: folder.text("app_id")?,
            seller_id: folder.text("seller_id")?,
            app_key: folder.secret("app.key.pem")?,
            app_public_key: folder.text("app.public.pem")?,
            app_certificate: folder.text("app.pem")?,
            alipay_key: folder.secret("alipay.key.pem")?,
            alipay_public_key: folder.text("alipay.public.pem")?,
            alipay_certificate: folder.text("alipay.pem")?,
            root_certificate: folder.text("root.pem")?,
        })
    }

    /// What the merchant has of it.
    pub fn credentials(&self) -> credentials::Alipay {
        credentials::Alipay {
            app_id: self.app_id.clone(),
            seller_id: Some(self.seller_id.clone()),
            app_key: self.app_key.clone(),
            trust: AlipayTrust::Certificates {
                app: self.app_certificate.clone(),
                alipay: self.alipay_certificate.clone(),
                root: self.root_certificate.clone(),
            },
        }
    }
}

fn make() -> Result<Files, ConfigError> {
    let [authority, app, alipay] = keys()?;
    let authority = root("Tongbao Sandbox Ant Financial Certification Authority R1", authority)?;
    let app_id = format!("2021{}", super::digits(12)?);
    let app_certificate = holder(&format!("{app_id}-sandbox"), &app, &authority)?;
    let alipay_certificate = holder("Tongbao Sandbox Alipay", &alipay, &authority)?;
    Ok(vec![
        ("app_id", app_id),
        ("seller_id", format!("2088{}", super::digits(12)?)),
        ("app.key.pem", app.serialize_pem()),
        ("app.public.pem", app.public_key_pem()),
        ("app.pem", app_certificate.pem),
        ("alipay.key.pem", alipay.serialize_pem()),
        ("alipay.public.pem", alipay.public_key_pem()),
        ("alipay.pem", alipay_certificate.pem),
        ("root.pem", authority.pem()),
    ])
}
