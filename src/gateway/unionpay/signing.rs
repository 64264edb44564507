//! Signatures of UnionPay 5.1.0, method 01: RSA over the hexadecimal digits of a SHA-256, which is hashed once more.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use secrecy::{ExposeSecret, SecretString};

use super::form::{Fields, SIGNATURE, signed_text};

/// A merchant's certificate as UnionPay has it on file.
pub struct Merchant {
    pub mer_id: String,
    /// The serial number of the certificate, in decimal digits.
    pub cert_id: String,
    key: ParsedPublicKey,
}

impl Merchant {
    /// None if the text is no certificate with an RSA key.
    pub fn new(mer_id: &str, certificate: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
        Some(Merchant {
            mer_id: mer_id.to_owned(),
            cert_id: certificate.tbs_certificate.serial.to_string(),
            key: ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, certificate.public_key().raw).ok()?,
        })
    }

    /// Whether the merchant signed all these fields.
    pub fn signed(&self, fields: &Fields) -> bool {
        let signature = fields.get(SIGNATURE).and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|signature| self.key.verify_sig(&digits(fields), &signature).is_ok())
    }
}

/// UnionPay's own key.
pub struct Signer {
    key: RsaKeyPair,
    /// PEM with CRLF, as it is sent along and signed over.
    certificate: String,
}

impl Signer {
    /// None if the key is no RSA key in PKCS#8.
    pub fn new(key: &SecretString, certificate: &str) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(key.expose_secret().as_bytes()).ok()?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok()?;
        let certificate: Vec<&str> = certificate.lines().collect();
        Some(Signer { key, certificate: certificate.join("\r\n") })
    }

    /// The same certificate with a key that it does not belong to.
    pub fn forger(&self) -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("the system has randomness for a key");
        Signer { key, certificate: self.certificate.clone() }
    }

    /// Adds certificate and signature.
    pub fn sign(&self, mut fields: Fields) -> Fields {
        fields.insert("signMethod".into(), "01".into());
        fields.insert("signPubKeyCert".into(), self.certificate.clone());
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &digits(&fields), &mut signature)
            .expect("an RSA key signs into a buffer of its own length");
        fields.insert(SIGNATURE.into(), STANDARD.encode(signature));
        fields
    }
}

/// The first of the two hashes, as 64 lower-case digits.
fn digits(fields: &Fields) -> Vec<u8> {
    let hash = digest(&SHA256, signed_text(fields).as_bytes());
    hash.as_ref().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}
