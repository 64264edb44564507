//! Signatures of Alipay: RSA2 (SHA256withRSA, PKCS#1 v1.5), and how certificates are named.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use secrecy::{ExposeSecret, SecretString};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::form::Parameters;

/// PKCS#1 v1.5 signatures with RSA keys, as certificates name them (RFC 8017, 1.2.840.113549.1.1.*).
const RSA_SIGNATURES: &str = "1.2.840.113549.1.1.";

/// The parts that the issuers of Alipay's certificates have, by their object identifiers (RFC 4519).
const NAME_PARTS: &[(&str, &str)] = &[("2.5.4.3", "CN"), ("2.5.4.6", "C"), ("2.5.4.10", "O"), ("2.5.4.11", "OU")];

/// The parameters as they are signed: sorted, none of them empty, without those that are left out, not URL-encoded.
pub fn signed_text(parameters: &Parameters, left_out: &[&str]) -> String {
    let is_signed = |(name, value): &(&String, &String)| !left_out.contains(&name.as_str()) && !value.is_empty();
    let pairs = parameters.iter().filter(is_signed).map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

/// What Alipay signs with.
pub struct SigningKey(RsaKeyPair);

impl SigningKey {
    pub fn from_pem(pem: &SecretString) -> Option<Self> {
        let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()).ok()?;
        match key {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
            _ => None,
        }
        .map(SigningKey)
    }

    /// One that nobody trusts.
    pub fn stranger() -> Option<Self> {
        RsaKeyPair::generate(KeySize::Rsa2048).ok().map(SigningKey)
    }

    pub fn sign(&self, text: &[u8]) -> String {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)
            .expect("a key that was read can sign");
        STANDARD.encode(signature)
    }
}

/// What a merchant's requests are verified with.
pub struct AppKey(Vec<u8>);

impl AppKey {
    pub fn from_pem(pem: &str) -> Option<Self> {
        Some(AppKey(SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?.to_vec()))
    }

    pub fn verify(&self, text: &[u8], signature: &str) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.0);
        STANDARD.decode(signature).is_ok_and(|signature| key.verify(text, &signature).is_ok())
    }
}

/// How Alipay names a certificate: MD5 of its issuer's name, the last part first, and its serial number in decimal.
pub fn certificate_sn(pem: &str) -> Option<String> {
    sn(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?)
}

/// How Alipay names a chain of roots: the names of those with an RSA signature.
pub fn root_sn(pem: &str) -> Option<String> {
    let mut names = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = der.ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        if certificate.signature_algorithm.algorithm.to_id_string().starts_with(RSA_SIGNATURES) {
            names.push(sn(&der)?);
        }
    }
    (!names.is_empty()).then(|| names.join("_"))
}

fn sn(der: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut parts = Vec::new();
    for attribute in certificate.issuer().iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        let (_, name) = NAME_PARTS.iter().find(|(known, _)| *known == oid)?;
        parts.push(format!("{name}={}", attribute.as_str().ok()?));
    }
    parts.reverse();
    let text = format!("{}{}", parts.join(","), certificate.tbs_certificate.serial);
    Some(Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the description of the signature in Alipay's documents: sorted, `sign` left out, `sign_type` kept.
    #[test]
    fn trap_03_a_request_is_signed_over_its_sorted_parameters_with_sign_type() {
        let parameters: Parameters = [
            ("method", "alipay.trade.page.pay"),
            ("app_id", "2021"),
            ("sign_type", "RSA2"),
            ("sign", "x"),
            ("return_url", ""),
            ("biz_content", "{\"subject\":\"a b\"}"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        assert_eq!(
            signed_text(&parameters, &["sign"]),
            "app_id=2021&biz_content={\"subject\":\"a b\"}&method=alipay.trade.page.pay&sign_type=RSA2"
        );
        assert!(!signed_text(&parameters, &["sign", "sign_type"]).contains("RSA2"));
    }

    #[test]
    fn a_certificate_is_named_by_its_issuer_and_its_serial_number() {
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CountryName, "CN");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Ant Financial");
        params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "Certification Authority");
        params.distinguished_name.push(rcgen::DnType::CommonName, "Root R1");
        params.serial_number = Some(rcgen::SerialNumber::from(vec![0x01, 0x00]));
        let pem = params.self_signed(&key).unwrap().pem();
        let text = "CN=Root R1,OU=Certification Authority,O=Ant Financial,C=CN256";
        let expected: String = Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(certificate_sn(&pem), Some(expected.clone()));
        assert_eq!(root_sn(&format!("{pem}\n{pem}")), Some(format!("{expected}_{expected}")));
        let elliptic = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap().cert.pem();
        assert_eq!(root_sn(&format!("{elliptic}\n{pem}")), Some(expected));
        assert_eq!((certificate_sn("x"), root_sn(&elliptic)), (None, None));
    }

    /// The root certificates that Alipay gives to every merchant, and their name, as in the tests of its own SDK
    /// (alipay/alipay-sdk-nodejs-all, `test/antcertutil.test.ts`). Two of the four are not signed with RSA.
    #[test]
    fn the_published_roots_have_their_published_name() {
        let roots = include_str!("tests/alipay_root.pem");
        assert_eq!(roots.matches("BEGIN CERTIFICATE").count(), 4);
        assert_eq!(
            root_sn(roots).as_deref(),
            Some("687b59193f3f462dd5336e5abf83c5d8_02941eef3187dddf3d3b83462e1dfcf6")
        );
    }

    #[test]
    fn what_one_key_signs_only_its_public_half_verifies() {
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let signing = SigningKey::from_pem(&SecretString::from(key.serialize_pem())).unwrap();
        let app = AppKey::from_pem(&key.public_key_pem()).unwrap();
        let signature = signing.sign(b"text");
        assert!(app.verify(b"text", &signature));
        assert!(!app.verify(b"texT", &signature));
        assert!(!app.verify(b"text", &SigningKey::stranger().unwrap().sign(b"text")));
        assert!(!app.verify(b"text", "not base64"));
    }
}
