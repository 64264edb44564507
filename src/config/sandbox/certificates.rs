//! The certificates of the sandbox, as short-named as their models and worth nothing outside it.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};

use crate::config::ConfigError;

pub type Authority = CertifiedIssuer<'static, KeyPair>;

/// Bytes of a serial number: 40 hexadecimal digits, which is how WeChat Pay writes them.
const SERIAL_BYTES: usize = 20;

/// RSA keys of 2048 bits, each made by a thread of its own: one takes a tenth of a second or more.
pub fn keys<const COUNT: usize>() -> Result<[KeyPair; COUNT], ConfigError> {
    let made: Vec<_> = std::thread::scope(|scope| {
        let make = || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        let threads: Vec<_> = (0..COUNT).map(|_| scope.spawn(make)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| ConfigError("no key could be made".into())))
            .collect()
    });
    let mut keys = Vec::with_capacity(COUNT);
    for key in made {
        keys.push(key?.map_err(failed)?);
    }
    keys.try_into().map_err(|_| ConfigError("no key could be made".into()))
}

/// An authority that signs itself.
pub fn root(name: &str, key: KeyPair) -> Result<Authority, ConfigError> {
    CertifiedIssuer::self_signed(authority(name)?, key).map_err(failed)
}

/// An authority that another one vouches for.
pub fn middle(name: &str, key: KeyPair, root: &Authority) -> Result<Authority, ConfigError> {
    CertifiedIssuer::signed_by(authority(name)?, key, root).map_err(failed)
}

/// A certificate of whoever holds a key.
pub fn holder(name: &str, key: &KeyPair, issuer: &Issuer<'_, KeyPair>) -> Result<Holder, ConfigError> {
    let serial = serial()?;
    let mut params = params(name, &serial);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let certificate = params.signed_by(key, issuer).map_err(failed)?;
    let serial = serial.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(Holder { pem: certificate.pem(), serial })
}

pub struct Holder {
    pub pem: String,
    /// 40 hexadecimal digits.
    pub serial: String,
}

fn authority(name: &str) -> Result<CertificateParams, ConfigError> {
    let mut params = params(name, &serial()?);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn params(name: &str, serial: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "CN");
    params.distinguished_name.push(DnType::OrganizationName, "Tongbao Sandbox");
    // Alipay's certificates have all four parts, and most programs that name them expect all four.
    params.distinguished_name.push(DnType::OrganizationalUnitName, "Certification Authority");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    // A sandbox that is found again after years must still work.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params.use_authority_key_identifier_extension = true;
    params
}

/// Positive, and without a zero in front that a reader might drop.
fn serial() -> Result<[u8; SERIAL_BYTES], ConfigError> {
    let mut serial = super::random::<SERIAL_BYTES>()?;
    serial[0] = serial[0] & 0x7f | 0x10;
    Ok(serial)
}

fn failed(error: rcgen::Error) -> ConfigError {
    ConfigError(format!("the sandbox's certificates cannot be made: {error}"))
}
