//! Who asks, and in whose name WeChat Pay answers: SHA256 with RSA over lines that each end in a line feed.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::certificate::X509Certificate;

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// Requests that are further from our clock are refused before their signature is looked at.
const SKEW_MAX_S: u64 = 300;
const NONCE_MAX: usize = 32;

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disbelief {
    /// The header is missing, or is not of its form.
    Malformed,
    Stale,
    /// There is no such merchant.
    Unknown,
    /// The serial is not of the merchant's certificate.
    Serial,
    Signature,
}

/// What a request says of its sender, not yet believed.
#[derive(Debug, PartialEq, Eq)]
pub struct Claim {
    pub mchid: String,
    nonce: String,
    timestamp: String,
    serial: String,
    signature: String,
}

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub verb: &'a str,
    /// With its query, as it was sent.
    pub path: &'a str,
    /// What of the path the true gateway's address would not have.
    pub prefix: &'a str,
    pub body: &'a [u8],
}

impl Claim {
    /// Reads an `Authorization`: five quoted fields, each once, in any order.
    pub fn read(authorization: &str) -> Result<Self, Disbelief> {
        let fields = authorization.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix(' '));
        let mut claim = [const { None }; 5];
        const NAMES: [&str; 5] = ["mchid", "nonce_str", "timestamp", "serial_no", "signature"];
        for field in fields.ok_or(Disbelief::Malformed)?.split(',') {
            let (name, value) = field.split_once('=').ok_or(Disbelief::Malformed)?;
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let place = NAMES.iter().position(|known| *known == name).ok_or(Disbelief::Malformed)?;
            let value = value.filter(|value| !value.is_empty() && !value.contains('"')).ok_or(Disbelief::Malformed)?;
            if claim[place].replace(value.to_owned()).is_some() {
                return Err(Disbelief::Malformed);
            }
        }
        let [Some(mchid), Some(nonce), Some(timestamp), Some(serial), Some(signature)] = claim else {
            return Err(Disbelief::Malformed);
        };
        if nonce.len() > NONCE_MAX || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Disbelief::Malformed);
        }
        Ok(Claim { mchid, nonce, timestamp, serial, signature })
    }
}

/// A merchant, by the certificate that WeChat Pay has of it.
pub struct Merchant {
    pub mchid: String,
    /// The first is what is told of payments that were kept without theirs.
    pub appids: Vec<String>,
    serial: String,
    key: ParsedPublicKey,
}

impl Merchant {
    /// None if the certificate is malformed.
    pub fn new(mchid: &str, appids: Vec<String>, certificate: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let parsed = parsed(&der)?;
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &parsed.public_key().subject_public_key.data);
        Some(Merchant { mchid: mchid.into(), appids, serial: serial(&parsed), key: key.ok()? })
    }

    pub fn verify(&self, claim: &Claim, request: &Request<'_>, now_s: u64) -> Result<(), Disbelief> {
        if claim.timestamp.parse::<u64>().map_err(|_| Disbelief::Malformed)?.abs_diff(now_s) > SKEW_MAX_S {
            return Err(Disbelief::Stale);
        }
        if !claim.serial.eq_ignore_ascii_case(&self.serial) {
            return Err(Disbelief::Serial);
        }
        let signature = STANDARD.decode(&claim.signature).map_err(|_| Disbelief::Signature)?;
        // SDKs that are told another host sign the path of the true gateway, whatever stands before it there.
        let short = request.path.strip_prefix(request.prefix).unwrap_or(request.path);
        let is_over = |path| {
            let text = lines(&[request.verb, path, &claim.timestamp, &claim.nonce], request.body);
            self.key.verify_sig(&text, &signature).is_ok()
        };
        if is_over(request.path) || is_over(short) { Ok(()) } else { Err(Disbelief::Signature) }
    }
}

/// One of WeChat Pay's own keys, by the name under which merchants know it.
pub struct Signer {
    pub serial: String,
    key: KeyPair,
}

impl Signer {
    /// None if the key is malformed.
    pub fn new(serial: &str, key: &SecretString) -> Option<Self> {
        let key = match PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).ok()? {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok()?,
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()).ok()?,
            _ => return None,
        };
        Some(Signer { serial: serial.to_owned(), key })
    }

    /// Somebody else under the same name, for forged callbacks.
    pub fn stranger(serial: &str) -> Option<Self> {
        Some(Signer { serial: serial.to_owned(), key: KeyPair::generate(KeySize::Rsa2048).ok()? })
    }

    /// The headers that make a body WeChat Pay's own.
    pub fn headers(&self, body: &[u8], nonce: String, now_s: i64) -> Vec<(&'static str, String)> {
        let timestamp = now_s.to_string();
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &lines(&[&timestamp, &nonce], body), &mut signature)
            .expect("a key that was read can sign");
        vec![
            ("wechatpay-timestamp", timestamp),
            ("wechatpay-nonce", nonce),
            ("wechatpay-signature", STANDARD.encode(signature)),
            ("wechatpay-serial", self.serial.clone()),
            ("wechatpay-signature-type", SCHEME.to_owned()),
        ]
    }
}

fn lines(head: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(body.len() + 160);
    for line in head {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(body);
    text.push(b'\n');
    text
}

/// A platform certificate's own dates, as unix seconds.
pub fn valid_s(certificate: &str) -> Option<(i64, i64)> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    let parsed = parsed(&der)?;
    Some((parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp()))
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, parsed)| parsed)
}

/// The serial as WeChat Pay writes it: hexadecimal, without the sign byte that DER may put before it.
fn serial(certificate: &X509Certificate<'_>) -> String {
    let raw = certificate.raw_serial();
    let raw = if raw.len() > 1 { raw.strip_prefix(&[0]).unwrap_or(raw) } else { raw };
    raw.iter().map(|byte| format!("{byte:02X}")).collect()
}
