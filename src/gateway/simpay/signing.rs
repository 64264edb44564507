//! Signatures of simpay: HMAC-SHA256 over everything that a message means.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use crate::gateway::{GatewayError, alphanumeric};

pub const ACCOUNT: &str = "simpay-account";
pub const TIMESTAMP: &str = "simpay-timestamp";
pub const NONCE: &str = "simpay-nonce";
pub const SIGNATURE: &str = "simpay-signature";

pub struct Signer {
    pub account: String,
    key: hmac::Key,
}

impl Signer {
    /// The signer of an account, from the base64 text of its key.
    pub fn new(account: &str, key: &SecretString) -> Result<Self, GatewayError> {
        let bytes = STANDARD.decode(key.expose_secret()).map_err(|_| GatewayError::Key(account.to_owned()))?;
        Ok(Signer { account: account.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// One that nobody believes, for forged callbacks.
    pub fn forger(account: &str) -> Self {
        Signer { account: account.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &alphanumeric::<32>()) }
    }

    pub fn answer(&self, status: u16, timestamp: &str, nonce: &str, body: &[u8]) -> String {
        let status = status.to_string();
        self.sign(&["ANSWER", &status, &self.account, timestamp, nonce], body)
    }

    pub fn callback(&self, timestamp: &str, nonce: &str, body: &[u8]) -> String {
        self.sign(&["CALLBACK", &self.account, timestamp, nonce], body)
    }

    /// Whether a request bears this account's signature.
    pub fn signed(&self, path: &str, timestamp: &str, nonce: &str, body: &[u8], signature: &[u8]) -> bool {
        let text = text(&["REQUEST", path, &self.account, timestamp, nonce], body);
        hmac::verify(&self.key, &text, signature).is_ok()
    }

    fn sign(&self, lines: &[&str], body: &[u8]) -> String {
        STANDARD.encode(hmac::sign(&self.key, &text(lines, body)))
    }
}

fn text(lines: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(body.len() + 192);
    for line in lines {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(body);
    text.push(b'\n');
    text
}
