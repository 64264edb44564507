//! Alipay's certificate mode: the serial that names a certificate in its messages, and who issued it.

use std::ops::RangeInclusive;

use md5::{Digest, Md5};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::Oid;
use x509_parser::x509::X509Name;

/// A bundle holds a chain; more is not one.
const BUNDLE_MAX: usize = 16;
/// sha1WithRSAEncryption, sha256WithRSAEncryption and their kin: what the root's serial counts.
const RSA_SIGNATURES: &str = "1.2.840.113549.1.1.";
/// The names that Alipay's certificates have their issuers made of.
const NAME_PARTS: &[(&str, &str)] =
    &[("2.5.4.3", "CN"), ("2.5.4.11", "OU"), ("2.5.4.10", "O"), ("2.5.4.6", "C"), ("2.5.4.7", "L"), ("2.5.4.8", "ST")];

/// What is kept of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub sn: String,
    /// The name of whom it was issued to.
    pub holder: String,
    /// It issues certificates and signs nothing else.
    pub is_authority: bool,
    /// The RSA public key as PKCS#1 DER.
    pub public_key: Vec<u8>,
    /// Unix seconds in which it holds.
    pub valid_s: RangeInclusive<i64>,
}

/// The certificates of a PEM text.
///
/// # Errors
/// It has none, or one that cannot be read.
pub fn bundle(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .take(BUNDLE_MAX + 1)
        .collect::<Result<_, _>>()
        .map_err(|_| "is not PEM".to_owned())?;
    match found.len() {
        0 => Err("has no certificate".into()),
        1..=BUNDLE_MAX => Ok(found),
        _ => Err("has too many certificates".into()),
    }
}

/// Reads one certificate.
///
/// # Errors
/// It is none, or its issuer has a part that Alipay's rule does not name.
pub fn certificate(der: &CertificateDer<'_>) -> Result<Certificate, String> {
    let parsed = parsed(der)?;
    let validity = parsed.validity();
    Ok(Certificate {
        sn: serial(&parsed)?,
        holder: parsed.subject().to_string(),
        is_authority: parsed.is_ca(),
        public_key: parsed.public_key().subject_public_key.data.to_vec(),
        valid_s: validity.not_before.timestamp()..=validity.not_after.timestamp(),
    })
}

/// The serial of a root bundle: those of its RSA-signed certificates, joined. Others cannot sign what we verify.
///
/// # Errors
/// One cannot be read, or none is RSA-signed.
pub fn root_serial(bundle: &[CertificateDer<'_>]) -> Result<String, String> {
    let mut serials = Vec::new();
    for der in bundle {
        let parsed = parsed(der)?;
        if parsed.signature_algorithm.algorithm.to_id_string().starts_with(RSA_SIGNATURES) {
            serials.push(serial(&parsed)?);
        }
    }
    if serials.is_empty() {
        return Err("has no RSA-signed certificate".into());
    }
    Ok(serials.join("_"))
}

/// Where a certificate's chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ancestry {
    /// At one of the roots.
    Rooted,
    /// At an authority that is none of the roots, and none of them has its name either.
    RootAbsent,
    /// At nobody: it vouches for itself, or whoever has its issuer's name did not issue it.
    Broken,
}

/// Looks for who issued a certificate: one of the roots, or another of its own bundle, and who issued that.
///
/// A root is trusted because it was configured, whatever stands in it; another of the bundle leads on to a root only if
/// it is an authority by its own words. The authority of Alipay's sandbox is none by those: its certificate has no basic
/// constraints.
pub fn ancestry(leaf: &CertificateDer<'_>, own: &[CertificateDer<'_>], roots: &[CertificateDer<'_>]) -> Ancestry {
    let mut current = leaf;
    // Each round goes one certificate up, so that a chain that bites its tail ends too.
    for _ in 0..=BUNDLE_MAX {
        if roots.iter().any(|root| has_issued(root, current)) {
            return Ancestry::Rooted;
        }
        if is_issuer_named(current, roots) {
            return Ancestry::Broken;
        }
        match own.iter().find(|other| has_issued(other, current)) {
            Some(next) if next == current && current == leaf => return Ancestry::Broken,
            Some(next) if next != current && is_authority(next) => current = next,
            // An authority at the top of its own bundle.
            Some(_) => return Ancestry::RootAbsent,
            None if is_issuer_named(current, own) => return Ancestry::Broken,
            None => return Ancestry::RootAbsent,
        }
    }
    Ancestry::Broken
}

/// Whether one certificate has issued the other: its name is the issuer's, and its key verifies.
pub fn has_issued(parent: &CertificateDer<'_>, child: &CertificateDer<'_>) -> bool {
    let (Ok(parent), Ok(child)) = (parsed(parent), parsed(child)) else { return false };
    parent.subject().as_raw() == child.issuer().as_raw() && child.verify_signature(Some(parent.public_key())).is_ok()
}

fn is_authority(der: &CertificateDer<'_>) -> bool {
    parsed(der).is_ok_and(|certificate| certificate.is_ca())
}

/// Whether one of these has the issuer's name, right or not.
fn is_issuer_named(of: &CertificateDer<'_>, among: &[CertificateDer<'_>]) -> bool {
    let Ok(child) = parsed(of) else { return false };
    let is_named = |der| parsed(der).is_ok_and(|parent| parent.subject().as_raw() == child.issuer().as_raw());
    among.iter().any(is_named)
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) | Err(_) => Err("is not an X.509 certificate".into()),
    }
}

fn serial(certificate: &X509Certificate<'_>) -> Result<String, String> {
    Ok(digest(&written(certificate.issuer())?, &certificate.serial.to_string()))
}

/// MD5 names, it does not protect: the chain does that.
fn digest(issuer: &str, decimal_serial: &str) -> String {
    Md5::new()
        .chain_update(issuer)
        .chain_update(decimal_serial)
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// `CN=…,OU=…,O=…,C=…`: the parts of a name in the reverse of their order in the certificate.
fn written(name: &X509Name<'_>) -> Result<String, String> {
    let mut parts = Vec::new();
    for attribute in name.iter_attributes() {
        let part = abbreviation(attribute.attr_type()).ok_or("has an issuer with an unusual name")?;
        let value = attribute.as_str().map_err(|_| "has an issuer whose name is no text")?;
        parts.push(format!("{part}={value}"));
    }
    parts.reverse();
    Ok(parts.join(","))
}

fn abbreviation(oid: &Oid<'_>) -> Option<&'static str> {
    let id = oid.to_id_string();
    NAME_PARTS.iter().find(|(known, _)| *known == id).map(|(_, part)| *part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The certificate that Alipay signed with in 2020 and the SN that its Node SDK expects of it
    /// (`alipay-sdk-nodejs-all`, `test/antcertutil.test.ts`, `alipayPublicCertSnVal`).
    #[test]
    fn the_serial_of_alipays_own_certificate_is_the_published_one() {
        let issuer =
            "CN=Ant Financial Certification Authority Class 2 R1,OU=Certification Authority,O=Ant Financial,C=CN";
        let serial = 0x2020_0514_e63c_2fe0_4d53_8716_fe21_358b_u128;
        assert_eq!(digest(issuer, &serial.to_string()), "7513daaaa48aa3ba2e4018d84402479c");
    }
}
