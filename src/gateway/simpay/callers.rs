//! Who a request comes from.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Simpay;
use super::signing::{ACCOUNT, NONCE, SIGNATURE, TIMESTAMP};
use super::wire::SimpayWire;
use crate::gateway::accounts::AccountId;
use crate::gateway::nonces::{NonceError, WINDOW_S};

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
    if !wire.signer.signed(path, timestamp, nonce, body, &signature) {
        return Err(Disbelief::Unauthenticated);
    }
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
