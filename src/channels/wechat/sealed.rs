//! What WeChat Pay encrypts: resources of notifications and platform certificates, by AES-256-GCM with the APIv3 key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

const ALGORITHM: &str = "AEAD_AES_256_GCM";

/// An encrypted text as it stands in JSON.
#[derive(Deserialize)]
pub(super) struct Sealed {
    algorithm: String,
    ciphertext: String,
    nonce: String,
    /// It may be empty, and then it may be left out.
    #[serde(default)]
    associated_data: Option<String>,
}

/// The APIv3 key, which only WeChat Pay and the merchant have.
pub(super) struct Opener(LessSafeKey);

impl Opener {
    /// # Errors
    /// It has not exactly 32 bytes.
    pub(super) fn new(key: &SecretString) -> Result<Self, String> {
        let key = UnboundKey::new(&AES_256_GCM, key.expose_secret().as_bytes())
            .map_err(|_| "must have exactly 32 bytes".to_owned())?;
        Ok(Opener(LessSafeKey::new(key)))
    }

    /// The plain bytes; none where the key, the nonce, the associated data or the text is not what it was sealed with.
    pub(super) fn open(&self, sealed: &Sealed) -> Option<Vec<u8>> {
        if sealed.algorithm != ALGORITHM {
            return None;
        }
        // The nonce is twelve bytes of plain text, not base64 as its neighbour is.
        let nonce = Nonce::try_assume_unique_for_key(sealed.nonce.as_bytes()).ok()?;
        let mut text = STANDARD.decode(&sealed.ciphertext).ok()?;
        let associated = Aad::from(sealed.associated_data.as_deref().unwrap_or_default().as_bytes());
        let length = self.0.open_in_place(nonce, associated, &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}
