//! Keys that commands make: they are shown once, and only their hash goes on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Failure;
use crate::domain::platform::KeyHash;

/// Random bytes of a key: 192 bits.
const KEY_BYTES: usize = 24;
/// Characters of a key that are kept readable, so that people can tell keys apart.
const HINT_LENGTH: usize = 12;

/// A new key that begins with `prefix`.
///
/// # Errors
/// The system gives no randomness.
pub fn new_key(prefix: &str) -> Result<String, Failure> {
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random()?)))
}

/// # Errors
/// The system gives no randomness.
pub fn random() -> Result<[u8; KEY_BYTES], Failure> {
    let mut bytes = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system gives no randomness")?;
    Ok(bytes)
}

/// A key as it is kept: its hash, and its first characters.
pub fn kept(key: &str) -> (KeyHash, Box<str>) {
    (KeyHash::of(key), key.get(..HINT_LENGTH).unwrap_or(key).into())
}
