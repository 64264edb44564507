//! The sandbox's account at Stripe: two secrets.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use super::folder::{Files, Folder};
use crate::config::ConfigError;
use crate::config::accounts::STRIPE_VERSION;
use crate::config::credentials;

/// Bytes of randomness in a secret of Stripe's length.
const SECRET_BYTES: usize = 24;

pub struct Stripe {
    /// `sk_test_…`
    pub secret_key: SecretString,
    /// `whsec_…`, all of which is the key.
    pub webhook_secret: SecretString,
}

impl Stripe {
    /// The account, made if it is not there.
    ///
    /// # Errors
    /// Its folder cannot be made or read.
    pub fn open(data_dir: &Path, account: &str) -> Result<Self, ConfigError> {
        let folder = Folder::open(data_dir, "stripe", account, make)?;
        Ok(Stripe { secret_key: folder.secret("secret.key")?, webhook_secret: folder.secret("webhook.secret")? })
    }

    /// What the merchant has of it.
    pub fn credentials(&self) -> credentials::Stripe {
        credentials::Stripe {
            secret_key: self.secret_key.clone(),
            webhook_secrets: vec![self.webhook_secret.clone()],
            version: STRIPE_VERSION.to_owned(),
        }
    }
}

fn make() -> Result<Files, ConfigError> {
    Ok(vec![
        ("secret.key", format!("sk_test_{}", super::hex::<SECRET_BYTES>()?)),
        ("webhook.secret", format!("whsec_{}", STANDARD.encode(super::random::<SECRET_BYTES>()?))),
    ])
}
