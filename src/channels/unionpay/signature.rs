//! Signing by method 01: RSA with SHA-256 (PKCS #1 v1.5) over the *hex text* of the fields' SHA-256.

use std::fmt::Write;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};

use super::certificate;
use super::message::Fields;
use crate::channels::joined::joined;

const SIGNATURE: &str = "signature";
const CERTIFICATE_ID: &str = "certId";

/// Our key, and the certificate that UnionPay knows it by.
pub struct Signer {
    key: RsaKeyPair,
    certificate_id: String,
}

impl Signer {
    /// # Errors
    /// What is malformed, or that key and certificate do not belong together; neither is shown.
    pub fn new(key: &SecretString, certificate: &str) -> Result<Self, String> {
        let unreadable = || "signing_key is no RSA key in PEM, PKCS #8 or PKCS #1".to_owned();
        let key = match PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()) {
            Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            Ok(_) | Err(_) => return Err(unreadable()),
        }
        .map_err(|_| unreadable())?;
        // A file that `openssl pkcs12` made of a `.pfx` has the authorities' certificates beside ours, in any order.
        let own = certificate::identities(certificate).map_err(|why| format!("signing_certificate {why}"))?;
        let own = own.into_iter().find(|(_, public_key)| key.public_key().as_ref() == public_key);
        let (certificate_id, _) = own.ok_or("signing_certificate is not the certificate of signing_key")?;
        Ok(Signer { key, certificate_id })
    }

    /// Adds `certId` and `signature`; empty fields go, because UnionPay does not count them.
    pub fn sign(&self, mut fields: Fields) -> Fields {
        fields.retain(|_, value| !value.is_empty());
        fields.insert(CERTIFICATE_ID.into(), self.certificate_id.clone());
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), digest_text(&fields).as_bytes(), &mut signature)
            .expect("a key that was read can sign 64 bytes");
        fields.insert(SIGNATURE.into(), STANDARD.encode(signature));
        fields
    }
}

/// Whether the fields are signed with the key that belongs to this public one, a DER `RSAPublicKey`.
pub fn is_signed(fields: &Fields, public_key: &[u8]) -> bool {
    let signature = fields.get(SIGNATURE).and_then(|text| STANDARD.decode(text.trim_end()).ok());
    let Some(signature) = signature else { return false };
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key)
        .verify(digest_text(fields).as_bytes(), &signature)
        .is_ok()
}

/// The 64 hex digits that are signed in the fields' stead.
fn digest_text(fields: &Fields) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest::digest(&digest::SHA256, signed_text(fields).as_bytes()).as_ref() {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

/// `k=v&k=v` of all fields but the signature, values raw, in the order of their names' bytes.
pub fn signed_text(fields: &Fields) -> String {
    joined(fields.iter().filter(|(name, _)| *name != SIGNATURE))
}
