//! Whose certificate a message was signed with, and whether it is UnionPay's.
//!
//! Every message brings its signer's certificate along, so all trust lies here: it must be in date, be issued by a
//! middle certificate that the account was set up with, which a root of the account's must have issued, and name UnionPay
//! as its holder. That holder is the third part of a common name such as `041@8310000000083040@中国银联股份有限公司@00016494`.
//!
//! The issuer's signature may be made with SHA-1. UnionPay's chain has no other: its own signing certificate in use
//! until July 2025 is signed so, by the middle and root that its kit of 2018 carries. The issuer is a certificate
//! that we were given, not any of a store, so what SHA-1 leaves open is a collision that this issuer would have to
//! sign. SHA-256 is taken as well, MD5 is not. The messages themselves are always signed over SHA-256.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::domain::time::Instant;

/// A certificate in a message has about 1,600 bytes as PEM.
const PEM_MAX: usize = 8 * 1024;
/// Certificates of one configured file. Two chains stand side by side while UnionPay changes over, as in October 2023
/// and in 2025.
const BUNDLE_MAX: usize = 16;

/// What a signer's certificate must come from: a middle certificate, which a root has issued.
pub struct Chains {
    roots: Vec<CertificateDer<'static>>,
    middles: Vec<CertificateDer<'static>>,
    signer_name: String,
}

impl Chains {
    /// # Errors
    /// Which certificate is none, or does not belong to the others.
    pub fn new(root: &str, middle: &str, signer_name: &str) -> Result<Self, String> {
        let chains = Chains {
            roots: bundle(root).map_err(|why| format!("root_certificate {why}"))?,
            middles: bundle(middle).map_err(|why| format!("middle_certificate {why}"))?,
            signer_name: signer_name.to_owned(),
        };
        if chains.signer_name.is_empty() {
            return Err("signer_name is empty".into());
        }
        let (roots, middles) = (chains.parsed(&chains.roots), chains.parsed(&chains.middles));
        if !roots.iter().all(|root| has_issued(root, root)) {
            return Err("root_certificate has one that is no root".into());
        }
        if !middles.iter().all(|middle| roots.iter().any(|root| has_issued(root, middle))) {
            return Err("root_certificate did not issue middle_certificate".into());
        }
        Ok(chains)
    }

    /// The public key, a DER `RSAPublicKey`, of a certificate that is UnionPay's at this time.
    ///
    /// # Errors
    /// Why it is not.
    pub fn key_of(&self, certificate: &str, now: Instant) -> Result<Vec<u8>, &'static str> {
        if certificate.len() > PEM_MAX {
            return Err("the signer's certificate cannot be read");
        }
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| "the signer's certificate cannot be read")?;
        let signer = parse(&der).ok_or("the signer's certificate cannot be read")?;
        let at = ASN1Time::from_timestamp(now.0.div_euclid(1_000)).map_err(|_| "the time cannot be compared")?;
        let is_in_date = |certificate: &X509Certificate<'_>| certificate.validity().is_valid_at(at);
        let (roots, middles) = (self.parsed(&self.roots), self.parsed(&self.middles));
        let mut issuers = middles.iter().filter(|middle| has_issued(middle, &signer)).peekable();
        if issuers.peek().is_none() {
            return Err("the signer's certificate was issued by somebody else");
        }
        // Of two middle certificates of one authority, the older may have ended.
        let is_chained = |middle: &X509Certificate<'_>| {
            is_in_date(middle) && roots.iter().any(|root| is_in_date(root) && has_issued(root, middle))
        };
        if !is_in_date(&signer) || !issuers.any(is_chained) {
            return Err("a certificate of the signer's chain is out of date");
        }
        if signer.is_ca() || !may_sign(&signer) {
            return Err("the signer's certificate is not for signing");
        }
        if holder(&signer) != Some(&self.signer_name) {
            return Err("the signer's certificate is somebody else's");
        }
        Ok(signer.public_key().subject_public_key.data.to_vec())
    }

    /// They were read before they were kept.
    fn parsed<'a>(&self, ders: &'a [CertificateDer<'static>]) -> Vec<X509Certificate<'a>> {
        ders.iter().filter_map(parse).collect()
    }
}

/// Of each certificate of ours its decimal serial number, which UnionPay calls `certId`, and its public key.
///
/// # Errors
/// It is no certificate.
pub fn identities(certificates: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
    let identity = |certificate: X509Certificate<'_>| {
        (certificate.serial.to_string(), certificate.public_key().subject_public_key.data.to_vec())
    };
    Ok(bundle(certificates)?.iter().filter_map(parse).map(identity).collect())
}

/// The certificates of a configured text.
fn bundle(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let ders: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .take(BUNDLE_MAX + 1)
        .collect::<Result<_, _>>()
        .map_err(|_| "is no PEM certificate")?;
    match ders.len() {
        0 => Err("is no PEM certificate".into()),
        1..=BUNDLE_MAX if ders.iter().all(|der| parse(der).is_some()) => Ok(ders),
        1..=BUNDLE_MAX => Err("cannot be read".into()),
        _ => Err("has too many certificates".into()),
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, certificate)| certificate)
}

fn has_issued(issuer: &X509Certificate<'_>, issued: &X509Certificate<'_>) -> bool {
    issuer.is_ca()
        && issuer.subject().as_raw() == issued.issuer().as_raw()
        && issued.verify_signature(Some(issuer.public_key())).is_ok()
}

/// A certificate without the extension says nothing against it.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.digital_signature()))
}

/// The third part of the one common name.
fn holder<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    let mut names = certificate.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    // The test gateway's older certificates have a teletex string here, whose bytes are ASCII as well.
    std::str::from_utf8(name.attr_value().data).ok()?.split('@').nth(2)
}
