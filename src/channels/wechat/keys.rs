//! The two ends' keys: ours, which signs, and WeChat Pay's, by which is verified what it signed.

use std::collections::BTreeMap;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use secrecy::{ExposeSecret, SecretString};

use crate::channels::only;
use crate::domain::time::Instant;

/// The one way that both ends sign.
pub(super) const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// From this on a signature is too old, or too far ahead of us.
const SKEW_S: i64 = 300;

/// The merchant's key.
pub(super) struct Signer(RsaKeyPair);

impl Signer {
    /// # Errors
    /// It is no PEM of an RSA key of at least 2048 bits, in PKCS#8 or PKCS#1.
    pub(super) fn new(pem: &SecretString) -> Result<Self, String> {
        let refused = |_| "is no RSA private key of at least 2048 bits in PEM (PKCS#8 or PKCS#1)".to_owned();
        let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()).map_err(|_| refused(()))?;
        let pair = match &key {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| refused(()))?,
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| refused(()))?,
            // Elliptic keys, and what the library may learn to read: WeChat Pay takes RSA alone.
            _ => return Err(refused(())),
        };
        Ok(Signer(pair))
    }

    /// The base64 signature of `lines`, each ended by a line feed.
    pub(super) fn sign(&self, lines: &[&[u8]]) -> String {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &text(lines), &mut signature)
            .expect("an RSA key that was accepted signs into a buffer of its own length");
        STANDARD.encode(signature)
    }
}

/// A key by which WeChat Pay signs.
pub(super) struct PlatformKey {
    key: ParsedPublicKey,
    /// Unix seconds, both included; a bare public key does not expire.
    valid: Option<(i64, i64)>,
}

impl PlatformKey {
    /// # Errors
    /// It is no PEM of an RSA public key.
    pub(super) fn of_public_key(pem: &str) -> Result<Self, String> {
        let refused = || "is no RSA public key of at least 2048 bits in PEM".to_owned();
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| refused())?;
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &*der).map_err(|_| refused())?;
        Ok(PlatformKey { key, valid: None })
    }

    /// A platform certificate's serial number and key. Who issued it is not asked: what vouches for it is the way it came,
    /// by the operator's hand or encrypted with the key that only WeChat Pay and we have.
    ///
    /// # Errors
    /// It is no PEM of an X.509 certificate with an RSA key, or an authority's.
    pub(super) fn of_certificate(pem: &str) -> Result<(String, Self), String> {
        let refused = || "is no certificate with an RSA key of at least 2048 bits in PEM".to_owned();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| refused())?;
        let (rest, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|_| refused())?;
        if !rest.is_empty() {
            return Err(refused());
        }
        if certificate.is_ca() {
            return Err("is an authority's, which signs no messages".into());
        }
        let key =
            ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, certificate.public_key().raw).map_err(|_| refused())?;
        let valid = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
        Ok((serial(&format!("{:X}", certificate.tbs_certificate.serial)), PlatformKey { key, valid: Some(valid) }))
    }

    pub(super) fn is_valid(&self, at: Instant) -> bool {
        let now = at.0.div_euclid(1_000);
        self.valid.is_none_or(|(from, until)| (from..=until).contains(&now))
    }

    /// Whether it will be valid at some time from `at` on.
    pub(super) fn has_future(&self, at: Instant) -> bool {
        self.valid.is_none_or(|(_, until)| at.0.div_euclid(1_000) <= until)
    }
}

/// A serial number as keys are found by it: in capitals and, unless it is a public key's id, without leading zeros.
pub(super) fn serial(text: &str) -> String {
    if text.starts_with(PUBLIC_KEY_ID) { text.to_owned() } else { text.trim_start_matches('0').to_ascii_uppercase() }
}

/// How the ids of WeChat Pay's public keys begin.
pub(super) const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_";
/// The longest that may follow. True ids have 34 digits there, such as `PUB_KEY_ID_0117346559632025120500192382001802`:
/// 01, the merchant's number, a day and 14 digits more (merchant document 4012154180 and published configurations; no
/// page fixes the length, so a longer one is taken as well).
const PUBLIC_KEY_NUMBER_MAX: usize = 64;

/// Whether a text is the id of a public key.
pub(super) fn is_public_key_id(text: &str) -> bool {
    text.strip_prefix(PUBLIC_KEY_ID).is_some_and(|number| {
        (1..=PUBLIC_KEY_NUMBER_MAX).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

pub(super) type Keys = BTreeMap<String, PlatformKey>;

/// Why a message is not believed to be WeChat Pay's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Disbelief {
    Unsigned,
    /// Signed by a key that we do not have.
    UnknownSerial(String),
    /// The certificate is not valid now.
    Expired,
    Forged,
    Stale,
}

impl Disbelief {
    pub(super) const fn why(&self) -> &'static str {
        match self {
            Disbelief::Unsigned => "the answer is not signed",
            Disbelief::UnknownSerial(_) => "the answer is signed by a key that is not known",
            Disbelief::Expired => "the answer is signed by a certificate that is not valid now",
            Disbelief::Forged => "the answer's signature does not verify",
            Disbelief::Stale => "the answer is stale",
        }
    }
}

/// Verifies what WeChat Pay signed, over the bytes as they came.
///
/// # Errors
/// [`Disbelief`].
pub(super) fn verify(keys: &Keys, headers: &[(String, String)], body: &[u8], now: Instant) -> Result<(), Disbelief> {
    let header = |name| only(headers, name).ok_or(Disbelief::Unsigned);
    let (timestamp, nonce) = (header("wechatpay-timestamp")?, header("wechatpay-nonce")?);
    let (signature, signer) = (header("wechatpay-signature")?, header("wechatpay-serial")?);
    if count(headers, "wechatpay-signature-type") > 0 && only(headers, "wechatpay-signature-type") != Some(SCHEME) {
        return Err(Disbelief::Forged);
    }
    let signer = serial(signer);
    let Some(key) = keys.get(&signer) else { return Err(Disbelief::UnknownSerial(signer)) };
    if !key.is_valid(now) {
        return Err(Disbelief::Expired);
    }
    let signature = STANDARD.decode(signature).map_err(|_| Disbelief::Forged)?;
    let signed = text(&[timestamp.as_bytes(), nonce.as_bytes(), body]);
    key.key.verify_sig(&signed, &signature).map_err(|_| Disbelief::Forged)?;
    if is_fresh(timestamp, now) { Ok(()) } else { Err(Disbelief::Stale) }
}

fn is_fresh(timestamp: &str, now: Instant) -> bool {
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let Some(seconds) = timestamp.parse::<i64>().ok().filter(|_| digits) else { return false };
    now.0.div_euclid(1_000).checked_sub(seconds).is_some_and(|skew| skew.abs() < SKEW_S)
}

fn count(headers: &[(String, String)], name: &str) -> usize {
    headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count()
}

fn text(lines: &[&[u8]]) -> Vec<u8> {
    let mut text = Vec::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
    for line in lines {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text
}
