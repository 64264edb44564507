//! Whose certificate a message was signed with, and whether it is UnionPay's.
//!
//! Every message brings its signer's certificate along, so all trust lies here: it must be in date, be issued by the
//! middle certificate that the account was set up with, which the root must have issued, and name UnionPay as its
//! holder. That holder is the third part of a common name such as `041@8310000000083040@中国银联股份有限公司@00016494`.
//!
//! The issuer's signature may be made with SHA-1. UnionPay's chain has no other: its own signing certificate in use
//! until July 2025 is signed so, by the middle and root that its kit of 2018 carries. The issuer is one certificate
//! that we were given, not any of a store, so what SHA-1 leaves open is a collision that this one issuer would have
//! to sign. SHA-256 is taken as well, MD5 is not. The messages themselves are always signed over SHA-256.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::domain::time::Instant;

/// A certificate of UnionPay's has about 1,600 bytes as PEM.
const PEM_MAX: usize = 8 * 1024;

/// What a signer's certificate must come from.
pub struct Chain {
    root: CertificateDer<'static>,
    middle: CertificateDer<'static>,
    signer_name: String,
}

impl Chain {
    /// # Errors
    /// Which certificate is none, or does not belong to the other.
    pub fn new(root: &str, middle: &str, signer_name: &str) -> Result<Self, String> {
        let chain = Chain {
            root: read(root).map_err(|why| format!("root_certificate {why}"))?,
            middle: read(middle).map_err(|why| format!("middle_certificate {why}"))?,
            signer_name: signer_name.to_owned(),
        };
        if chain.signer_name.is_empty() {
            return Err("signer_name is empty".into());
        }
        let (root, middle) = (parse(&chain.root), parse(&chain.middle));
        let (Some(root), Some(middle)) = (root, middle) else { return Err("a certificate cannot be read".into()) };
        if !has_issued(&root, &root) || !has_issued(&root, &middle) {
            return Err("root_certificate did not issue middle_certificate".into());
        }
        Ok(chain)
    }

    /// The public key, a DER `RSAPublicKey`, of a certificate that is UnionPay's at this time.
    ///
    /// # Errors
    /// Why it is not.
    pub fn key_of(&self, certificate: &str, now: Instant) -> Result<Vec<u8>, &'static str> {
        let der = read(certificate).map_err(|_| "the signer's certificate cannot be read")?;
        let signer = parse(&der).ok_or("the signer's certificate cannot be read")?;
        let root = parse(&self.root).ok_or("the root certificate cannot be read")?;
        let middle = parse(&self.middle).ok_or("the middle certificate cannot be read")?;
        let at = ASN1Time::from_timestamp(now.0.div_euclid(1_000)).map_err(|_| "the time cannot be compared")?;
        if [&root, &middle, &signer].into_iter().any(|certificate| !certificate.validity().is_valid_at(at)) {
            return Err("a certificate of the signer's chain is out of date");
        }
        if !has_issued(&middle, &signer) {
            return Err("the signer's certificate was issued by somebody else");
        }
        if signer.is_ca() || !may_sign(&signer) {
            return Err("the signer's certificate is not for signing");
        }
        if holder(&signer) != Some(&self.signer_name) {
            return Err("the signer's certificate is somebody else's");
        }
        Ok(signer.public_key().subject_public_key.data.to_vec())
    }
}

/// Our own certificate's decimal serial number, which UnionPay calls `certId`, and its public key.
///
/// # Errors
/// It is no certificate.
pub fn identity(certificate: &str) -> Result<(String, Vec<u8>), String> {
    let der = read(certificate)?;
    let certificate = parse(&der).ok_or("cannot be read")?;
    Ok((certificate.serial.to_string(), certificate.public_key().subject_public_key.data.to_vec()))
}

fn read(pem: &str) -> Result<CertificateDer<'static>, String> {
    if pem.len() > PEM_MAX {
        return Err("is too long".into());
    }
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| "is no PEM certificate")?;
    parse(&der).map(|_| ()).ok_or("cannot be read")?;
    Ok(der)
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
