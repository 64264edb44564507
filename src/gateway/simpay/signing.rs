//! Signatures of simpay: HMAC-SHA256 over everything that a message means, and who a request comes from.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::Simpay;
use super::wire::SimpayWire;
use crate::gateway::accounts::AccountId;
use crate::gateway::nonces::{NonceError, WINDOW_S};
use crate::gateway::{GatewayError, alphanumeric};

pub const ACCOUNT: &str = "simpay-account";
pub const TIMESTAMP: &str = "simpay-timestamp";
pub const NONCE: &str = "simpay-nonce";
pub const SIGNATURE: &str = "simpay-signature";
const NONCE_LENGTHS: std::ops::RangeInclusive<usize> = 16..=64;

/// Why a request is not believed.
pub enum Disbelief {
    Unauthenticated,
    Stale,
    NonceUsed,
    /// Rightly signed, but no further nonce can be remembered at present.
    TooMany(Caller),
}

/// A request whose signature was found to be right.
pub struct Caller {
    pub account: AccountId,
    pub wire: Arc<SimpayWire>,
    pub nonce: String,
}

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

/// Finds out who sent a request, and that it is fresh.
///
/// # Errors
/// Anything missing, repeated or wrong. The nonce is taken last, so that only a believed request uses one up.
pub fn verify(simpay: &Simpay, request: &HttpRequest, body: &[u8], now_s: u64) -> Result<Caller, Disbelief> {
    let headers = request.headers();
    let account = header(headers, ACCOUNT)?;
    let mut wires = simpay.wires.iter();
    let (id, wire) = wires.find(|(_, wire)| wire.signer.account == account).ok_or(Disbelief::Unauthenticated)?;
    let timestamp = header(headers, TIMESTAMP)?;
    let timestamp_s = seconds(timestamp).ok_or(Disbelief::Unauthenticated)?;
    let nonce = header(headers, NONCE)?;
    if !NONCE_LENGTHS.contains(&nonce.len()) || !nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Disbelief::Unauthenticated);
    }
    let signature = STANDARD.decode(header(headers, SIGNATURE)?).map_err(|_| Disbelief::Unauthenticated)?;
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let text = text(&["REQUEST", path, account, timestamp, nonce], body);
    hmac::verify(&wire.signer.key, &text, &signature).map_err(|_| Disbelief::Unauthenticated)?;
    if timestamp_s.abs_diff(now_s) > WINDOW_S {
        return Err(Disbelief::Stale);
    }
    let caller = Caller { account: *id, wire: Arc::clone(wire), nonce: nonce.to_owned() };
    match simpay.nonces.take(account, nonce, timestamp_s, now_s) {
        Ok(()) => Ok(caller),
        Err(NonceError::Used) => Err(Disbelief::NonceUsed),
        Err(NonceError::Full) => Err(Disbelief::TooMany(caller)),
    }
}

/// The one value of a header: of two, the signature could mean either.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Disbelief> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| Disbelief::Unauthenticated),
        (None | Some(_), _) => Err(Disbelief::Unauthenticated),
    }
}

/// Plain decimal seconds, without the sign that `parse` would let pass.
fn seconds(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
