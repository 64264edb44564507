//! Accounts at the real channels as an operator sets them up: each key in a file of its own, named by the configuration.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use tongbao::config::credentials::AlipayTrust;
use tongbao::config::sandbox;

use super::process::Site;

pub const REAL: [&str; 4] = ["wechat", "alipay", "unionpay", "stripe"];

/// Where the files of an account lie.
pub fn folder(site: &Site, channel: &str, account: &str) -> PathBuf {
    site.folder.path().join("keys").join(format!("{channel}-{account}"))
}

/// Writes a file that only its owner may read.
pub fn write(path: &Path, content: &str) {
    use std::io::Write;
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
    let _ = std::fs::remove_file(path);
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.expect("the file is made").write_all(content.as_bytes()).expect("the file is written");
}

/// What a merchant has of an account: plain settings, and texts for files.
pub struct Account {
    pub channel: &'static str,
    pub name: String,
    plain: Vec<(&'static str, String)>,
    /// By the name of their keys, without `_file`.
    pub files: Vec<(&'static str, String)>,
}

impl Account {
    /// The merchant's side of an account that the simulated gateway knows by what lies in `data_dir`, made there if it
    /// is not yet.
    pub fn known_in(data_dir: &Path, channel: &'static str, name: &str) -> Self {
        let (plain, files) = match channel {
            "wechat" => {
                let it = sandbox::Wechat::open(data_dir, name).expect("an account");
                let plain = vec![
                    ("mchid", it.mchid.clone()),
                    ("appid", it.appid.clone()),
                    ("merchant_serial", it.merchant_serial.clone()),
                    ("public_key_id", it.public_key_id.clone()),
                ];
                let files = vec![
                    ("merchant_key", it.merchant_key.expose_secret().to_owned()),
                    ("api_v3_key", it.api_v3_key.expose_secret().to_owned()),
                    ("public_key", it.public_key.clone()),
                    ("platform_certificates", it.platform_certificate.clone()),
                ];
                (plain, files)
            }
            "alipay" => {
                let it = sandbox::Alipay::open(data_dir, name).expect("an account").credentials();
                let AlipayTrust::Certificates { app, alipay, root } = it.trust else { panic!("by certificates") };
                let plain = vec![("app_id", it.app_id), ("seller_id", it.seller_id.expect("a seller"))];
                let files = vec![
                    ("app_key", it.app_key.expose_secret().to_owned()),
                    ("app_certificate", app),
                    ("alipay_certificate", alipay),
                    ("root_certificate", root),
                ];
                (plain, files)
            }
            "unionpay" => {
                let it = sandbox::Unionpay::open(data_dir, name).expect("an account").credentials();
                let files = vec![
                    ("signing_key", it.signing_key.expose_secret().to_owned()),
                    ("signing_certificate", it.signing_certificate),
                    ("root_certificate", it.root),
                    ("middle_certificate", it.middle),
                ];
                (vec![("mer_id", it.mer_id)], files)
            }
            "stripe" => {
                let it = sandbox::Stripe::open(data_dir, name).expect("an account");
                let files = vec![
                    ("secret_key", it.secret_key.expose_secret().to_owned()),
                    ("webhook_secrets", it.webhook_secret.expose_secret().to_owned()),
                ];
                (Vec::new(), files)
            }
            other => panic!("{other} is no real channel"),
        };
        Account { channel, name: name.to_owned(), plain, files }
    }

    /// The account of the site's own gateway.
    pub fn of(site: &Site, channel: &'static str, name: &str) -> Self {
        Account::known_in(site.folder.path(), channel, name)
    }

    /// One setting or text of it.
    pub fn text(&self, key: &str) -> &str {
        let mut texts = self.plain.iter().chain(&self.files);
        &texts.find(|(known, _)| *known == key).unwrap_or_else(|| panic!("{key} of {}", self.channel)).1
    }

    /// The same with some texts of another one.
    pub fn with_texts_of(mut self, other: &Account, keys: &[&str]) -> Self {
        for (key, text) in self.plain.iter_mut().chain(&mut self.files) {
            if keys.contains(key) {
                other.text(key).clone_into(text);
            }
        }
        self
    }

    /// Writes the files, and says what the configuration has of the account.
    pub fn keep(&self, site: &Site) -> String {
        let folder = folder(site, self.channel, &self.name);
        let mut toml = format!("[channels.{}.accounts.{}]\n", self.channel, self.name);
        for (key, text) in &self.plain {
            toml += &format!("{key} = {text:?}\n");
        }
        for (key, text) in &self.files {
            write(&folder.join(key), text);
            toml += &format!("{key}_file = {:?}\n", folder.join(key).display().to_string());
        }
        toml
    }
}

/// Enables these of the real channels and no other. Their breakers stay out of it.
pub fn enabled(channels: &[&str]) -> String {
    let section = |channel| {
        let enabled = channels.contains(&channel);
        format!("[channels.{channel}]\nenabled = {enabled}\nbreaker_failures = 1000\n")
    };
    REAL.map(section).concat()
}
