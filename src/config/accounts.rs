//! Our accounts at the channels, as they are configured: `channels.<channel>.accounts.<account>`.
//!
//! A key or certificate is named as a file (`…_file`) or comes from the environment under its own name; both at once
//! are refused. Files are read when the credentials are asked for, which is at the start and at every SIGHUP.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::credentials::{self, AlipayTrust, WechatPublicKey};
use super::{ConfigError, is_open_to_all, secret_file};
use crate::domain::channel::{Channel, Method};

/// The account that is meant where none is named.
pub const DEFAULT_ACCOUNT: &str = "default";
/// The version of Stripe's API that requests are made in, unless an account says otherwise.
pub const STRIPE_VERSION: &str = "2026-10-28.endive";
/// What UnionPay's signing certificate has as the third part of its common name, unless an account says otherwise.
const UNIONPAY_SIGNER: &str = "中国银联股份有限公司";

/// The accounts at one channel, not yet read: each channel has keys of its own.
#[derive(Clone, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, BTreeMap<String, config::Value>>")]
pub struct Accounts(BTreeMap<String, Configured>);

#[derive(Clone)]
struct Configured {
    /// The platform that is the merchant of record there; none where the operator is.
    owner: Option<String>,
    keys: config::Value,
}

impl TryFrom<BTreeMap<String, BTreeMap<String, config::Value>>> for Accounts {
    type Error = config::ConfigError;

    fn try_from(accounts: BTreeMap<String, BTreeMap<String, config::Value>>) -> Result<Self, Self::Error> {
        let configured = |(name, mut keys): (String, BTreeMap<String, config::Value>)| {
            let owner = keys.remove("owner").map(config::Value::into_string).transpose()?;
            let keys = keys.into_iter().collect::<config::Map<String, config::Value>>();
            Ok((name, Configured { owner, keys: config::Value::new(None, keys) }))
        };
        accounts.into_iter().map(configured).collect::<Result<_, _>>().map(Accounts)
    }
}

/// What is in the accounts may be secret.
impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Accounts {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The platform that is the merchant of record of an account; none where the operator is.
    pub fn owner(&self, account: &str) -> Option<&str> {
        self.0.get(account)?.owner.as_deref()
    }

    /// The accounts that belong to a platform, each with it.
    pub fn owners(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, account)| Some((name.as_str(), account.owner.as_deref()?)))
    }

    /// Whether every account belongs to a platform, and there is one.
    pub fn are_owned(&self) -> bool {
        !self.is_empty() && self.owners().count() == self.0.len()
    }

    /// Checks that every account has the keys of its channel and no others. Files are not looked at.
    pub fn check(&self, channel: Channel) -> Result<(), ConfigError> {
        match channel {
            Channel::Simpay => self.read::<Simpay>(channel).map(drop),
            Channel::Wechat => self.read::<Wechat>(channel).map(drop),
            Channel::Alipay => self.read::<Alipay>(channel).map(drop),
            Channel::Unionpay => self.read::<Unionpay>(channel).map(drop),
            Channel::Stripe => self.read::<Stripe>(channel).map(drop),
        }
    }

    fn read<A: DeserializeOwned>(&self, channel: Channel) -> Result<BTreeMap<String, A>, ConfigError> {
        let read = |(name, configured): (&String, &Configured)| {
            let account: A =
                configured.keys.clone().try_deserialize().map_err(|error| refused(&place(channel, name), &error))?;
            Ok((name.clone(), account))
        };
        self.0.iter().map(read).collect()
    }

    /// What every account shows its channel.
    fn credentials<A: DeserializeOwned, C>(
        &self,
        channel: Channel,
        read: impl Fn(&A, &Place) -> Result<C, ConfigError>,
    ) -> Result<BTreeMap<String, C>, ConfigError> {
        let credentials = |(name, account): (String, A)| Ok((name.clone(), read(&account, &place(channel, &name))?));
        self.read(channel)?.into_iter().map(credentials).collect()
    }

    /// # Errors
    /// A file cannot be read, here and in the following.
    pub fn simpay(&self) -> Result<BTreeMap<String, SecretString>, ConfigError> {
        self.credentials(Channel::Simpay, |account: &Simpay, place| {
            place.secret("key", account.key.as_ref(), account.key_file.as_ref())
        })
    }

    pub fn wechat(&self) -> Result<BTreeMap<String, credentials::Wechat>, ConfigError> {
        self.credentials(Channel::Wechat, Wechat::credentials)
    }

    pub fn alipay(&self) -> Result<BTreeMap<String, credentials::Alipay>, ConfigError> {
        self.credentials(Channel::Alipay, Alipay::credentials)
    }

    pub fn unionpay(&self) -> Result<BTreeMap<String, credentials::Unionpay>, ConfigError> {
        self.credentials(Channel::Unionpay, Unionpay::credentials)
    }

    pub fn stripe(&self) -> Result<BTreeMap<String, credentials::Stripe>, ConfigError> {
        self.credentials(Channel::Stripe, Stripe::credentials)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Simpay {
    /// Base64.
    key: Option<SecretString>,
    key_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wechat {
    mchid: String,
    appid: String,
    /// By the name of a method.
    #[serde(default)]
    appids: BTreeMap<String, String>,
    merchant_serial: String,
    merchant_key: Option<SecretString>,
    merchant_key_file: Option<PathBuf>,
    api_v3_key: Option<SecretString>,
    api_v3_key_file: Option<PathBuf>,
    public_key_id: Option<String>,
    public_key: Option<SecretString>,
    public_key_file: Option<PathBuf>,
    /// One after the other in one text.
    platform_certificates: Option<SecretString>,
    platform_certificates_file: Option<PathBuf>,
}

impl Wechat {
    fn credentials(&self, place: &Place) -> Result<credentials::Wechat, ConfigError> {
        let pem = place.optional("public_key", self.public_key.as_ref(), self.public_key_file.as_ref())?;
        let public_key = match (&self.public_key_id, pem) {
            (Some(id), Some(pem)) => Some(WechatPublicKey { id: id.clone(), pem: exposed(&pem) }),
            (None, None) => None,
            (Some(_), None) => return Err(place.missing("public_key_file", "as `public_key_id` is given")),
            (None, Some(_)) => return Err(place.missing("public_key_id", "as a public key is given")),
        };
        let certificates = place.optional(
            "platform_certificates",
            self.platform_certificates.as_ref(),
            self.platform_certificates_file.as_ref(),
        )?;
        let is_given = certificates.is_some();
        let platform_certificates = certificates.map_or_else(Vec::new, |text| certificates_of(text.expose_secret()));
        if is_given && platform_certificates.is_empty() {
            return Err(place.refused("platform_certificates", "has no certificate in PEM"));
        }
        if public_key.is_none() && platform_certificates.is_empty() {
            return Err(place.missing("public_key_file", "or `platform_certificates_file`: one of the two must verify"));
        }
        let of_method = |(name, appid): (&String, &String)| match Method::parse(name) {
            Some(method) if Channel::Wechat.rules().methods.contains(&method) => Ok((method, appid.clone())),
            Some(_) | None => Err(place.refused(&format!("appids.{name}"), "is of no method of this channel")),
        };
        let appids = self.appids.iter().map(of_method).collect::<Result<_, _>>()?;
        Ok(credentials::Wechat {
            mchid: self.mchid.clone(),
            appid: self.appid.clone(),
            appids,
            merchant_serial: self.merchant_serial.clone(),
            merchant_key: place.secret("merchant_key", self.merchant_key.as_ref(), self.merchant_key_file.as_ref())?,
            api_v3_key: place.secret("api_v3_key", self.api_v3_key.as_ref(), self.api_v3_key_file.as_ref())?,
            public_key,
            platform_certificates,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alipay {
    app_id: String,
    seller_id: Option<String>,
    app_key: Option<SecretString>,
    app_key_file: Option<PathBuf>,
    /// Alipay's public key, or all three certificates.
    alipay_public_key: Option<SecretString>,
    alipay_public_key_file: Option<PathBuf>,
    app_certificate: Option<SecretString>,
    app_certificate_file: Option<PathBuf>,
    alipay_certificate: Option<SecretString>,
    alipay_certificate_file: Option<PathBuf>,
    root_certificate: Option<SecretString>,
    root_certificate_file: Option<PathBuf>,
}

impl Alipay {
    fn credentials(&self, place: &Place) -> Result<credentials::Alipay, ConfigError> {
        let public_key = place.optional(
            "alipay_public_key",
            self.alipay_public_key.as_ref(),
            self.alipay_public_key_file.as_ref(),
        )?;
        let app =
            place.optional("app_certificate", self.app_certificate.as_ref(), self.app_certificate_file.as_ref())?;
        let alipay = place.optional(
            "alipay_certificate",
            self.alipay_certificate.as_ref(),
            self.alipay_certificate_file.as_ref(),
        )?;
        let root =
            place.optional("root_certificate", self.root_certificate.as_ref(), self.root_certificate_file.as_ref())?;
        let trust = match (public_key, app, alipay, root) {
            (Some(pem), None, None, None) => AlipayTrust::PublicKey { pem: exposed(&pem) },
            (None, Some(app), Some(alipay), Some(root)) => {
                AlipayTrust::Certificates { app: exposed(&app), alipay: exposed(&alipay), root: exposed(&root) }
            }
            (Some(_), _, _, _) => return Err(place.refused("alipay_public_key", "and certificates exclude each other")),
            (None, None, None, None) => {
                return Err(
                    place.missing("alipay_public_key_file", "or three certificates: one of the two must verify")
                );
            }
            (None, None, _, _) => return Err(place.missing("app_certificate_file", "beside the other certificates")),
            (None, _, None, _) => return Err(place.missing("alipay_certificate_file", "beside the other certificates")),
            (None, _, _, None) => return Err(place.missing("root_certificate_file", "beside the other certificates")),
        };
        Ok(credentials::Alipay {
            app_id: self.app_id.clone(),
            seller_id: self.seller_id.clone(),
            app_key: place.secret("app_key", self.app_key.as_ref(), self.app_key_file.as_ref())?,
            trust,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unionpay {
    mer_id: String,
    signing_key: Option<SecretString>,
    signing_key_file: Option<PathBuf>,
    signing_certificate: Option<SecretString>,
    signing_certificate_file: Option<PathBuf>,
    root_certificate: Option<SecretString>,
    root_certificate_file: Option<PathBuf>,
    middle_certificate: Option<SecretString>,
    middle_certificate_file: Option<PathBuf>,
    signer_name: Option<String>,
}

impl Unionpay {
    fn credentials(&self, place: &Place) -> Result<credentials::Unionpay, ConfigError> {
        let text = |name, text: &Option<SecretString>, file: &Option<PathBuf>| {
            place.required(name, text.as_ref(), file.as_ref()).map(|text| exposed(&text))
        };
        Ok(credentials::Unionpay {
            mer_id: self.mer_id.clone(),
            signing_key: place.secret("signing_key", self.signing_key.as_ref(), self.signing_key_file.as_ref())?,
            signing_certificate: text(
                "signing_certificate",
                &self.signing_certificate,
                &self.signing_certificate_file,
            )?,
            root: text("root_certificate", &self.root_certificate, &self.root_certificate_file)?,
            middle: text("middle_certificate", &self.middle_certificate, &self.middle_certificate_file)?,
            signer_name: self.signer_name.clone().unwrap_or_else(|| UNIONPAY_SIGNER.to_owned()),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stripe {
    secret_key: Option<SecretString>,
    secret_key_file: Option<PathBuf>,
    /// One a line: the new one and the old one while one takes the place of the other.
    webhook_secrets: Option<SecretString>,
    webhook_secrets_file: Option<PathBuf>,
    version: Option<String>,
}

impl Stripe {
    fn credentials(&self, place: &Place) -> Result<credentials::Stripe, ConfigError> {
        let secrets =
            place.secret("webhook_secrets", self.webhook_secrets.as_ref(), self.webhook_secrets_file.as_ref())?;
        let secrets = secrets.expose_secret().split_whitespace().map(SecretString::from);
        Ok(credentials::Stripe {
            secret_key: place.secret("secret_key", self.secret_key.as_ref(), self.secret_key_file.as_ref())?,
            webhook_secrets: secrets.collect(),
            version: self.version.clone().unwrap_or_else(|| STRIPE_VERSION.to_owned()),
        })
    }
}

/// Where an account stands in the configuration, for errors.
struct Place(String);

fn place(channel: Channel, account: &str) -> Place {
    Place(format!("channels.{channel}.accounts.{account}"))
}

impl Place {
    /// What only we may know.
    fn secret(
        &self,
        name: &str,
        text: Option<&SecretString>,
        file: Option<&PathBuf>,
    ) -> Result<SecretString, ConfigError> {
        let secret = self.required(name, text, file)?;
        if file.is_some_and(|file| is_open_to_all(file)) {
            let key = format!("{}.{name}_file", self.0);
            tracing::warn!(key, "everybody on this machine may read or change the file: `chmod o= FILE` ends that");
        }
        Ok(secret)
    }

    fn required(
        &self,
        name: &str,
        text: Option<&SecretString>,
        file: Option<&PathBuf>,
    ) -> Result<SecretString, ConfigError> {
        self.optional(name, text, file)?.ok_or_else(|| self.missing(&format!("{name}_file"), "or the text itself"))
    }

    fn optional(
        &self,
        name: &str,
        text: Option<&SecretString>,
        file: Option<&PathBuf>,
    ) -> Result<Option<SecretString>, ConfigError> {
        match (text, file) {
            (Some(_), Some(_)) => Err(self.refused(name, &format!("and `{name}_file` exclude each other"))),
            (Some(text), None) if text.expose_secret().is_empty() => Err(self.refused(name, "is empty")),
            (Some(text), None) => Ok(Some(text.clone())),
            (None, Some(file)) => match secret_file(file) {
                Ok(text) => Ok(Some(text)),
                Err(error) => Err(self.refused(&format!("{name}_file"), &error.0)),
            },
            (None, None) => Ok(None),
        }
    }

    fn missing(&self, name: &str, why: &str) -> ConfigError {
        self.refused(name, &format!("is missing, {why}"))
    }

    fn refused(&self, name: &str, why: &str) -> ConfigError {
        ConfigError(format!("`{}.{name}` {why}", self.0))
    }
}

fn refused(place: &Place, error: &config::ConfigError) -> ConfigError {
    ConfigError(format!("`{}`: {error}", place.0))
}

fn exposed(text: &SecretString) -> String {
    text.expose_secret().to_owned()
}

/// The certificates of a text, one after the other.
fn certificates_of(text: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    text.split_inclusive(END).map(str::trim).filter(|part| part.ends_with(END)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
