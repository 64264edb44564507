//! AEAD_AES_256_GCM under the merchant's APIv3 key, in which notifications and certificates travel.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::gateway::alphanumeric;

const NONCE_LENGTH: usize = 12;
const ALGORITHM: &str = "AEAD_AES_256_GCM";

/// What was sealed, as it stands in a message.
#[derive(Debug, Serialize)]
pub struct Sealed {
    pub algorithm: &'static str,
    /// Base64; the tag stands at the end.
    pub ciphertext: String,
    pub nonce: String,
    pub associated_data: &'static str,
}

pub struct Sealing(LessSafeKey);

impl Sealing {
    /// None unless the text of the key is 32 bytes.
    pub fn new(api_v3_key: &SecretString) -> Option<Self> {
        UnboundKey::new(&AES_256_GCM, api_v3_key.expose_secret().as_bytes()).ok().map(LessSafeKey::new).map(Sealing)
    }

    pub fn seal(&self, plain: &[u8], associated_data: &'static str) -> Sealed {
        let nonce = alphanumeric::<NONCE_LENGTH>();
        let mut bytes = plain.to_vec();
        let aad = Aad::from(associated_data.as_bytes());
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes)
            .expect("messages are far below the bound of AES-GCM");
        Sealed {
            algorithm: ALGORITHM,
            ciphertext: STANDARD.encode(bytes),
            nonce: String::from_utf8_lossy(&nonce).into_owned(),
            associated_data,
        }
    }
}
