//! What the sandbox makes for itself at first start: the keys that the server and the simulated gateway share.
//!
//! Each account has a folder of its own under `data.dir/sandbox` (simpay a file), made by whichever process asks first.
//! A build without the feature `sandbox` has `no_sandbox.rs` in place of this module.

mod alipay;
mod certificates;
mod folder;
mod stripe;
mod unionpay;
mod wechat;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

pub use alipay::Alipay;
pub use stripe::Stripe;
pub use unionpay::Unionpay;
pub use wechat::Wechat;

use super::accounts::DEFAULT_ACCOUNT;
use super::{Config, ConfigError, credentials, secret_file};

/// The account that the sandbox has at every channel where none is configured.
pub const ACCOUNT: &str = DEFAULT_ACCOUNT;

/// Bytes of a simpay account key: the output size of SHA-256, beyond which HMAC gains nothing.
const SIMPAY_KEY_BYTES: usize = 32;

/// Whether this build has a sandbox for a configuration that wants one.
///
/// # Errors
/// Never in a build with the feature `sandbox`.
pub fn check(_wanted: bool) -> Result<(), ConfigError> {
    Ok(())
}

/// Credentials that the sandbox makes for itself.
pub trait Made: Sized {
    /// Those of an account, made if they are not there.
    ///
    /// # Errors
    /// Their folder cannot be made or read.
    fn made(data_dir: &Path, account: &str) -> Result<Self, ConfigError>;
}

/// A key of simpay's.
impl Made for SecretString {
    fn made(data_dir: &Path, account: &str) -> Result<Self, ConfigError> {
        simpay_key(data_dir, account)
    }
}

impl Made for credentials::Wechat {
    fn made(data_dir: &Path, account: &str) -> Result<Self, ConfigError> {
        Ok(Wechat::open(data_dir, account)?.credentials())
    }
}

impl Made for credentials::Alipay {
    fn made(data_dir: &Path, account: &str) -> Result<Self, ConfigError> {
        Ok(Alipay::open(data_dir, account)?.credentials())
    }
}

impl Made for credentials::Unionpay {
    fn made(data_dir: &Path, account: &str) -> Result<Self, ConfigError> {
        Ok(Unionpay::open(data_dir, account)?.credentials())
    }
}

impl Made for credentials::Stripe {
    fn made(data_dir: &Path, account: &str) -> Result<Self, ConfigError> {
        Ok(Stripe::open(data_dir, account)?.credentials())
    }
}

/// Where the sandbox keeps the key of a simpay account (base64 text).
pub fn simpay_key_file(data_dir: &Path, account: &str) -> PathBuf {
    data_dir.join("sandbox").join(format!("simpay-{account}.key"))
}

/// The key of a simpay account, made by whichever process asks first.
///
/// # Errors
/// The folder or the file cannot be made or read.
pub fn simpay_key(data_dir: &Path, account: &str) -> Result<SecretString, ConfigError> {
    let path = simpay_key_file(data_dir, account);
    if !path.exists() {
        folder::write_once(&path, STANDARD.encode(random::<SIMPAY_KEY_BYTES>()?).as_bytes())?;
    }
    secret_file(&path)
}

/// The accounts of a channel that the simulated gateway answers for: [`ACCOUNT`] where the channel is enabled, and all
/// whose keys were ever made, as the gateway's books may hold payments of them. Keys take a while to make, so that
/// nobody makes them for nothing.
///
/// # Errors
/// The folder cannot be read.
pub fn accounts(config: &Config, channel: &str) -> Result<BTreeSet<String>, ConfigError> {
    let mut accounts = folder::accounts(&config.data.dir, channel)?;
    if config.channels.get(channel).is_some_and(|settings| settings.enabled) {
        accounts.insert(ACCOUNT.to_owned());
    }
    Ok(accounts)
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], ConfigError> {
    let mut bytes = [0u8; BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ConfigError("the system gives no randomness".into()))?;
    Ok(bytes)
}

/// Random decimal digits, the first of them not zero.
fn digits(length: usize) -> Result<String, ConfigError> {
    let bytes = random::<32>()?;
    let digit = |(place, byte): (usize, &u8)| match place {
        0 => char::from(b'1' + byte % 9),
        _ => char::from(b'0' + byte % 10),
    };
    Ok(bytes.iter().take(length).enumerate().map(digit).collect())
}

/// Random characters of `[0-9a-f]`.
fn hex<const BYTES: usize>() -> Result<String, ConfigError> {
    Ok(random::<BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeyPair;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use secrecy::ExposeSecret;

    use super::*;

    fn der(pem: &str) -> Vec<u8> {
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        BASE64.decode(lines.collect::<String>()).expect("PEM holds base64")
    }

    #[test]
    fn every_channel_gets_keys_once() {
        let dir = std::env::temp_dir().join(format!("tongbao-sandbox-{}", std::process::id()));
        let mut config = Config::load(&[]).unwrap();
        config.data.dir = dir.clone();
        config.channels.retain(|name, _| name == "simpay");
        let served = |channel| accounts(&config, channel).unwrap().into_iter().collect::<Vec<String>>().join(" ");
        assert_eq!([served("wechat"), served("simpay")], ["", "default"]);
        let (wechat, again) = (Wechat::open(&dir, ACCOUNT).unwrap(), Wechat::open(&dir, ACCOUNT).unwrap());
        simpay_key(&dir, "shop").unwrap();
        assert_eq!([served("wechat"), served("alipay"), served("simpay")], ["default", "", "default shop"]);
        assert_eq!(wechat.platform_certificate, again.platform_certificate);
        assert_eq!((wechat.mchid.len(), wechat.appid.len(), wechat.merchant_serial.len()), (10, 18, 40));
        assert_eq!(wechat.api_v3_key.expose_secret().len(), 32);
        assert!(wechat.public_key.starts_with("-----BEGIN PUBLIC KEY-----"));

        let alipay = Alipay::open(&dir, ACCOUNT).unwrap();
        assert_eq!((alipay.app_id.len(), alipay.seller_id.len()), (16, 16));
        let unionpay = Unionpay::open(&dir, ACCOUNT).unwrap();
        assert_eq!(unionpay.mer_id.len(), 15);
        let stripe = Stripe::open(&dir, ACCOUNT).unwrap();
        assert!(stripe.secret_key.expose_secret().starts_with("sk_test_"));
        assert!(stripe.webhook_secret.expose_secret().starts_with("whsec_"));
        let keys = [
            &wechat.merchant_key,
            &wechat.platform_key,
            &wechat.public_key_private,
            &alipay.app_key,
            &alipay.alipay_key,
            &unionpay.merchant_key,
            &unionpay.signer_key,
        ];
        for key in keys {
            KeyPair::from_pkcs8(&der(key.expose_secret())).expect("an RSA key in PKCS#8");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn random_texts_have_their_form() {
        let digits = digits(15).unwrap();
        assert!(digits.len() == 15 && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0'));
        assert!(hex::<16>().unwrap().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
