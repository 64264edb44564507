//! The keys of an account: ours, which signs, and Alipay's, one of which must have signed what we believe.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use secrecy::{ExposeSecret, SecretString};

use super::certificates::{self, Ancestry, Certificate};
use super::{Credentials, Trust};
use crate::domain::time::Instant;

/// RSA2 asks for at least 2048 bits.
const MODULUS_MIN_BYTES: usize = 256;
/// A new key stands beside an old one while Alipay changes over.
const PUBLIC_KEYS_MAX: usize = 4;
/// A certificate lives for years; as many of them are not learnt between two restarts.
const LEARNT_MAX: usize = 8;
const PEM: &str = "-----BEGIN";

/// What certificate mode adds to every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serials {
    pub app_cert_sn: String,
    pub alipay_root_cert_sn: String,
}

/// Why a signature is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It names a certificate that is not among ours.
    CertificateUnknown,
    /// The certificate's time has passed or has not come.
    CertificateOutOfDate,
    /// No key of ours finds it right.
    Wrong,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Distrust::CertificateUnknown => "the answer names a certificate that is not known",
            Distrust::CertificateOutOfDate => "the answer's certificate is out of date",
            Distrust::Wrong => "the answer's signature does not verify",
        })
    }
}

pub struct Keys {
    signing: KeyPair,
    verifying: RwLock<Vec<Verifying>>,
    papers: Option<Papers>,
}

/// What certificate mode has beside the keys.
struct Papers {
    serials: Serials,
    /// The roots, and the authorities that were configured beside Alipay's certificate: one of them must have issued
    /// what is learnt.
    anchors: Vec<CertificateDer<'static>>,
    /// Alipay's certificate and what stands between it and the roots.
    alipay: Vec<CertificateDer<'static>>,
    /// How many of the verifying keys were configured; those behind them were learnt.
    configured: usize,
    vouched: Vouched,
}

struct Verifying {
    key: ParsedPublicKey,
    /// In certificate mode.
    certified: Option<Certified>,
}

struct Certified {
    sn: String,
    holder: String,
    valid_s: RangeInclusive<i64>,
}

impl Keys {
    /// # Errors
    /// Which piece is malformed, and how; never what it is.
    pub fn new(credentials: &Credentials) -> Result<Self, String> {
        let signing = private_key(&credentials.app_key).map_err(|why| format!("app_key {why}"))?;
        match &credentials.trust {
            Trust::PublicKey { pem } => {
                let verifying = public_keys(pem).map_err(|why| format!("alipay_public_key {why}"))?;
                Ok(Keys { signing, verifying: RwLock::new(verifying), papers: None })
            }
            Trust::Certificates { app, alipay, root } => {
                let roots = certificates::bundle(root).map_err(|why| format!("root_certificate {why}"))?;
                let serials = serials(app, &roots, &signing)?;
                let wrong = |why: String| format!("alipay_certificate {why}");
                let alipay = certificates::bundle(alipay).map_err(wrong)?;
                let signers = configured_keys(&alipay, &roots, signing.public_key().as_ref()).map_err(wrong)?;
                let anchors = roots.into_iter().chain(signers.authorities).collect();
                let papers =
                    Papers { serials, anchors, alipay, configured: signers.keys.len(), vouched: signers.vouched };
                Ok(Keys { signing, verifying: RwLock::new(signers.keys), papers: Some(papers) })
            }
        }
    }

    pub fn serials(&self) -> Option<&Serials> {
        self.papers.as_ref().map(|papers| &papers.serials)
    }

    /// How many keys are believed.
    #[cfg(test)]
    pub fn signers(&self) -> usize {
        self.verifying.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Who vouches for the configured certificates, in certificate mode.
    pub fn vouched(&self) -> Option<Vouched> {
        self.papers.as_ref().map(|papers| papers.vouched)
    }

    /// Takes over the certificate of this serial, which the gateway brought.
    ///
    /// # Errors
    /// Why it is not to be trusted.
    pub fn learn(&self, sn: &str, pem: &str) -> Result<(), String> {
        let papers = self.papers.as_ref().ok_or("is of no use: the account has none")?;
        let brought = certificates::bundle(pem)?;
        let mut between = brought.clone();
        between.extend(papers.alipay.iter().cloned());
        for der in &brought {
            let certificate = certificates::certificate(der)?;
            if certificate.sn != sn {
                continue;
            }
            if certificate.is_authority {
                return Err("is an authority's, which signs no messages".into());
            }
            if certificates::ancestry(der, &between, &papers.anchors) != Ancestry::Rooted {
                return Err("was issued by none of the roots".into());
            }
            let mut verifying = self.verifying.write().unwrap_or_else(PoisonError::into_inner);
            // Merchants have certificates of the same authorities.
            let is_holder = |known: &Verifying| {
                known.certified.as_ref().is_some_and(|certified| certified.holder == certificate.holder)
            };
            if !verifying.iter().take(papers.configured).any(is_holder) {
                return Err("was issued to another holder than the configured one".into());
            }
            let fresh = certified(certificate)?;
            if verifying.len() == papers.configured + LEARNT_MAX {
                verifying.remove(papers.configured);
            }
            verifying.push(fresh);
            return Ok(());
        }
        Err("is not what was brought".into())
    }

    /// The base64 RSA2 signature of a text.
    pub fn sign(&self, text: &str) -> String {
        let mut signature = vec![0; self.signing.public_modulus_len()];
        // PKCS#1 v1.5 uses no randomness, and a key that was read can sign.
        self.signing
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .expect("a sound key of at least 2048 bits signs");
        STANDARD.encode(signature)
    }

    /// Whether one of Alipay's keys signed the text.
    ///
    /// # Errors
    /// None did, or it is not to be believed at `now`.
    pub fn verify(&self, text: &str, signature: &str, cert_sn: Option<&str>, now: Instant) -> Result<(), Distrust> {
        let signature = STANDARD.decode(signature).map_err(|_| Distrust::Wrong)?;
        let now_s = now.0.div_euclid(1_000);
        let mut distrust = Distrust::CertificateUnknown;
        for verifying in self.verifying.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(certified) = &verifying.certified {
                if cert_sn.is_some_and(|sn| sn != certified.sn) {
                    continue;
                }
                if !certified.valid_s.contains(&now_s) {
                    distrust = Distrust::CertificateOutOfDate;
                    continue;
                }
            }
            if verifying.key.verify_sig(text.as_bytes(), &signature).is_ok() {
                return Ok(());
            }
            distrust = Distrust::Wrong;
        }
        Err(distrust)
    }
}

fn private_key(text: &SecretString) -> Result<KeyPair, String> {
    let text = text.expose_secret();
    let parsed = if text.contains(PEM) {
        match PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| "is not a PEM private key")? {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            // Alipay's calls are signed by RSA alone.
            _ => return Err("is not an RSA key".into()),
        }
    } else {
        // Alipay's own tool saves bare base64, of either form.
        let der = bare(text).ok_or("is neither PEM nor base64")?;
        KeyPair::from_pkcs8(&der).or_else(|_| KeyPair::from_der(&der))
    };
    let key = parsed.map_err(|_| "is not a sound RSA key")?;
    if key.public_modulus_len() < MODULUS_MIN_BYTES {
        return Err("is shorter than 2048 bits".into());
    }
    Ok(key)
}

fn public_keys(text: &str) -> Result<Vec<Verifying>, String> {
    let ders: Vec<Vec<u8>> = if text.contains(PEM) {
        SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes())
            .take(PUBLIC_KEYS_MAX + 1)
            .map(|der| der.map(|der| der.as_ref().to_vec()))
            .collect::<Result<_, _>>()
            .map_err(|_| "is not PEM")?
    } else {
        vec![bare(text).ok_or("is neither PEM nor base64")?]
    };
    if ders.is_empty() || ders.len() > PUBLIC_KEYS_MAX {
        return Err(format!("must be 1 to {PUBLIC_KEYS_MAX} public keys"));
    }
    ders.iter().map(|der| Ok(Verifying { key: verifying_key(der)?, certified: None })).collect()
}

fn serials(app: &str, roots: &[CertificateDer<'_>], signing: &KeyPair) -> Result<Serials, String> {
    let app = certificates::bundle(app)
        .and_then(|bundle| certificates::certificate(&bundle[0]))
        .map_err(|why| format!("app_certificate {why}"))?;
    if app.public_key != signing.public_key().as_ref() {
        return Err("app_certificate is not the certificate of app_key".into());
    }
    let alipay_root_cert_sn = certificates::root_serial(roots).map_err(|why| format!("root_certificate {why}"))?;
    Ok(Serials { app_cert_sn: app.sn, alipay_root_cert_sn })
}

/// The keys of Alipay's own certificates; the authorities that stand beside them sign certificates and no messages.
///
/// What vouches for them is the operator's hand. A root vouches besides where it can: Alipay's sandbox hands out
/// certificates whose root is not in the root file that comes with them, and a root that were added to the file would
/// change `alipay_root_cert_sn`. The official SDKs compute serials of the three files and look at no chain. A
/// certificate that contradicts a root that *is* there is refused.
fn configured_keys(bundle: &[CertificateDer<'_>], roots: &[CertificateDer<'_>], own: &[u8]) -> Result<Signers, String> {
    let mut signers = Signers { keys: Vec::new(), authorities: Vec::new(), vouched: Vouched::ByRoot };
    let mut holder: Option<String> = None;
    for der in bundle {
        let certificate = certificates::certificate(der)?;
        let has_issued = |other: &CertificateDer<'_>| other != der && certificates::has_issued(der, other);
        if certificate.is_authority || bundle.iter().any(has_issued) {
            signers.authorities.push(der.clone().into_owned());
            continue;
        }
        if certificate.public_key == own {
            return Err("is the certificate of app_key, and must be Alipay's".into());
        }
        if holder.get_or_insert_with(|| certificate.holder.clone()) != &certificate.holder {
            return Err("has certificates of several holders".into());
        }
        match certificates::ancestry(der, bundle, roots) {
            Ancestry::Rooted => {}
            Ancestry::RootAbsent => signers.vouched = Vouched::ByConfiguration,
            Ancestry::Broken => return Err("was issued by none of the roots".into()),
        }
        signers.keys.push(certified(certificate)?);
    }
    if signers.keys.is_empty() {
        return Err("has certificates of authorities alone, and none of Alipay's that signs messages".into());
    }
    Ok(signers)
}

/// What Alipay's bundle holds.
struct Signers {
    keys: Vec<Verifying>,
    authorities: Vec<CertificateDer<'static>>,
    vouched: Vouched,
}

/// Who says that the configured certificates are Alipay's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    ByRoot,
    ByConfiguration,
}

fn certified(certificate: Certificate) -> Result<Verifying, String> {
    let Certificate { sn, holder, public_key, valid_s, is_authority: _ } = certificate;
    Ok(Verifying { key: verifying_key(&public_key)?, certified: Some(Certified { sn, holder, valid_s }) })
}

fn verifying_key(der: &[u8]) -> Result<ParsedPublicKey, String> {
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(|_| "is not an RSA key of 2048 to 8192 bits".into())
}

/// The bytes of a base64 text, lines and blanks in it or not.
pub fn bare(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(compact).ok().filter(|der| !der.is_empty())
}
