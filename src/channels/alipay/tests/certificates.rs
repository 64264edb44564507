//! Certificate mode, with a throwaway authority.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair as SigningKey,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SerialNumber,
};
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;

const FROM: OffsetDateTime = datetime!(2025-01-01 00:00 UTC);
const UNTIL: OffsetDateTime = datetime!(2027-01-01 00:00 UTC);

pub fn key(pair: &Pair) -> SigningKey {
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from(pair.private_der.as_slice());
    SigningKey::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256).unwrap()
}

pub fn params(name: &str, serial: u64, authority: IsCa) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut names = DistinguishedName::new();
    names.push(DnType::CountryName, "CN");
    names.push(DnType::OrganizationName, "Example");
    names.push(DnType::OrganizationalUnitName, "Authority");
    names.push(DnType::CommonName, name);
    params.distinguished_name = names;
    params.serial_number = Some(SerialNumber::from(serial));
    (params.not_before, params.not_after) = (FROM, UNTIL);
    params.is_ca = authority;
    params
}

pub fn authority(name: &str, serial: u64) -> CertificateParams {
    params(name, serial, IsCa::Ca(BasicConstraints::Unconstrained))
}

/// The PEM of a root, and of the certificates that it issues for our application and for Alipay.
pub struct Papers {
    pub app: String,
    pub alipay: String,
    pub root: String,
}

pub fn root_pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(Pair::new)
}

pub fn papers() -> Papers {
    let root_key = key(root_pair());
    let root = authority("Root", 7).self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::new(authority("Root", 7), root_key);
    let issued = |name, serial, pair| params(name, serial, IsCa::NoCa).signed_by(&key(pair), &issuer).unwrap().pem();
    Papers { app: issued("App", 11, app()), alipay: issued("Alipay", 12, theirs()), root }
}

pub fn with(papers: Papers) -> Result<Alipay, String> {
    let Papers { app, alipay, root } = papers;
    Alipay::new(account(), "https://openapi.example", credentials(Trust::Certificates { app, alipay, root }))
}

/// MD5 of `CN=Root,OU=Authority,O=Example,C=CN` and the serial.
pub fn sn(serial: u64) -> String {
    use md5::{Digest, Md5};
    let digest = Md5::digest(format!("CN=Root,OU=Authority,O=Example,C=CN{serial}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn requests_name_our_certificate_and_the_root() {
    let alipay = with(papers()).unwrap();
    let parameters = called(&alipay.query(&attempted(), &stamp()));
    assert_eq!(parameters["app_cert_sn"], sn(11));
    assert_eq!(parameters["alipay_root_cert_sn"], sn(7));
}

#[test]
fn a_root_bundle_counts_only_its_rsa_signed_certificates() {
    let mut papers = papers();
    let elliptic = SigningKey::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    papers.root.push_str(&authority("Elliptic", 8).self_signed(&elliptic).unwrap().pem());
    let second = authority("Root", 9).self_signed(&key(root_pair())).unwrap().pem();
    papers.root.push_str(&second);
    let parameters = called(&with(papers).unwrap().query(&attempted(), &stamp()));
    assert_eq!(parameters["alipay_root_cert_sn"], format!("{}_{}", sn(7), sn(9)));
}

fn found(alipay: &Alipay, cert_sn: &str, at: OffsetDateTime) -> Finding {
    let content = trade("WAIT_BUYER_PAY", "");
    let body = format!(
        r#"{{"alipay_trade_query_response":{content},"alipay_cert_sn":"{cert_sn}","sign":"{}"}}"#,
        theirs().sign(&content)
    );
    let stamp = Stamp { at: Instant(at.unix_timestamp() * 1_000), ..stamp() };
    match alipay.read_query(&attempted(), &stamp, &plain(body)) {
        Reading::Told(finding) => finding,
        Reading::Ask(_) => panic!("one request is enough"),
    }
}

#[test]
fn answers_are_believed_by_the_certificate_that_they_name_while_it_holds() {
    let alipay = with(papers()).unwrap();
    let inside = datetime!(2026-01-01 00:00 UTC);
    assert_eq!(found(&alipay, &sn(12), inside), Finding::Pending);
    let unknown = |why: &str| Finding::Unknown { why: why.into() };
    assert_eq!(found(&alipay, &sn(13), inside), unknown("the answer names a certificate that is not known"));
    let out_of_date = unknown("the answer's certificate is out of date");
    assert_eq!(found(&alipay, &sn(12), datetime!(2027-01-01 00:00:01 UTC)), out_of_date);
    assert_eq!(found(&alipay, &sn(12), datetime!(2024-12-31 23:59:59 UTC)), out_of_date);
}

#[test]
fn an_old_certificate_stands_beside_a_new_one() {
    let Papers { app: app_pem, alipay, root } = papers();
    let issuer = Issuer::new(authority("Root", 7), key(root_pair()));
    let other = params("Alipay", 21, IsCa::NoCa).signed_by(&key(root_pair()), &issuer).unwrap().pem();
    let alipay = with(Papers { app: app_pem, alipay: format!("{other}{alipay}"), root }).unwrap();
    let inside = datetime!(2026-01-01 00:00 UTC);
    assert_eq!(found(&alipay, &sn(12), inside), Finding::Pending);
    // The right key under another certificate's name.
    assert!(matches!(found(&alipay, &sn(21), inside), Finding::Unknown { .. }));
}

#[test]
fn certificates_that_do_not_belong_together_are_refused() {
    let fault = |papers: Papers| with(papers).err().unwrap();
    let stranger = SigningKey::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let self_made = params("Alipay", 12, IsCa::NoCa).self_signed(&key(theirs())).unwrap().pem();
    assert!(
        fault(Papers { alipay: self_made, ..papers() }).contains("alipay_certificate was issued by none of the roots")
    );
    // A root of the right name and another key.
    let namesake = authority("Root", 7).self_signed(&stranger).unwrap().pem();
    let both = Papers { root: format!("{namesake}{}", papers().root), ..papers() };
    assert!(with(both).is_ok());
    let issuer = Issuer::new(authority("Root", 7), stranger);
    let forged = params("Alipay", 12, IsCa::NoCa).signed_by(&key(theirs()), &issuer).unwrap().pem();
    assert!(fault(Papers { alipay: forged, ..papers() }).contains("was issued by none"));
    // A certificate that is no authority issues nothing.
    let leaf = Issuer::new(params("App", 11, IsCa::NoCa), key(app()));
    let below = params("App", 12, IsCa::NoCa).signed_by(&key(theirs()), &leaf).unwrap().pem();
    let issued = Issuer::new(authority("Root", 7), key(root_pair()));
    let no_authority = params("App", 13, IsCa::NoCa).signed_by(&key(root_pair()), &issued).unwrap().pem();
    assert!(fault(Papers { alipay: format!("{below}{no_authority}"), ..papers() }).contains("was issued by none"));
    assert!(fault(Papers { alipay: papers().app, ..papers() }).contains("is the certificate of app_key"));
    let other = params("Somebody", 14, IsCa::NoCa).signed_by(&key(root_pair()), &issued).unwrap().pem();
    let two = Papers { alipay: format!("{}{other}", papers().alipay), ..papers() };
    assert!(fault(two).contains("certificates of several holders"));
    assert!(fault(Papers { alipay: papers().root, ..papers() }).contains("certificates of authorities alone"));
    let swapped = Papers { app: papers().alipay, ..papers() };
    assert!(fault(swapped).contains("app_certificate is not the certificate of app_key"));
    for (field, papers) in [
        ("app_certificate", Papers { app: String::new(), ..papers() }),
        ("root_certificate", Papers { root: pem("CERTIFICATE", b"abc"), ..papers() }),
        ("alipay_certificate", Papers { alipay: "-----BEGIN CERTIFICATE-----".into(), ..papers() }),
    ] {
        assert!(fault(papers).contains(field), "{field}");
    }
}

fn middle_pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(Pair::new)
}

fn middle() -> CertificateParams {
    authority("Class 2", 8)
}

/// Alipay's certificate below an authority, as its files have it: both of them, under a root.
fn chained(root: &Issuer<'_, SigningKey>, holder: &str, serial: u64, pair: &Pair) -> String {
    let below = Issuer::new(middle(), key(middle_pair()));
    let leaf = params(holder, serial, IsCa::NoCa).signed_by(&key(pair), &below).unwrap().pem();
    leaf + &middle().signed_by(&key(middle_pair()), root).unwrap().pem()
}

/// Our root: the one in `root_certificate`.
fn here() -> Issuer<'static, SigningKey> {
    Issuer::new(authority("Root", 7), key(root_pair()))
}

/// The root of Alipay's sandbox, which its root file lacks.
fn elsewhere() -> Issuer<'static, SigningKey> {
    Issuer::new(authority("Sandbox Root", 70), key(middle_pair()))
}

fn told(alipay: &Alipay, signer: &Pair, cert_sn: Option<&str>) -> Finding {
    let content = trade("WAIT_BUYER_PAY", "");
    let named = cert_sn.map_or_else(String::new, |sn| format!(r#""alipay_cert_sn":"{sn}","#));
    let sign = signer.sign(&content);
    let body = format!(r#"{{{named}"alipay_trade_query_response":{content},"sign":"{sign}"}}"#);
    match alipay.read_query(&attempted(), &stamp(), &plain(body)) {
        Reading::Told(finding) => finding,
        Reading::Ask(_) => panic!("one request is enough"),
    }
}

/// An SN as `Class 2` gives them.
fn middle_sn(serial: u64) -> String {
    use md5::{Digest, Md5};
    let digest = Md5::digest(format!("CN=Class 2,OU=Authority,O=Example,C=CN{serial}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn report_an_authority_in_the_bundle_signs_no_messages() {
    let bundle = chained(&here(), "Alipay", 12, theirs()) + &papers().root;
    let alipay = with(Papers { alipay: bundle, ..papers() }).unwrap();
    assert_eq!(told(&alipay, theirs(), None), Finding::Pending);
    assert_eq!(told(&alipay, theirs(), Some(&middle_sn(12))), Finding::Pending);
    for (authority, sn) in [(middle_pair(), sn(8)), (root_pair(), sn(7))] {
        assert!(matches!(told(&alipay, authority, None), Finding::Unknown { .. }));
        assert!(matches!(told(&alipay, authority, Some(&sn)), Finding::Unknown { .. }));
    }
}

/// Alipay's sandbox hands out a certificate whose root is not in the root file beside it, and the serial of the root
/// file is part of every request: another root in it makes another serial.
#[test]
fn report_the_certificates_of_alipays_own_sandbox_are_taken() {
    let app_pem = params("App", 11, IsCa::NoCa).signed_by(&key(app()), &elsewhere()).unwrap().pem();
    let bundle = chained(&elsewhere(), "Alipay", 12, theirs());
    let of_sandbox = || Papers { app: app_pem.clone(), alipay: bundle.clone(), root: papers().root };
    let alipay = with(of_sandbox()).unwrap();
    assert_eq!(called(&alipay.query(&attempted(), &stamp()))["alipay_root_cert_sn"], sn(7));
    assert_eq!(told(&alipay, theirs(), Some(&middle_sn(12))), Finding::Pending);
    assert!(matches!(told(&alipay, middle_pair(), None), Finding::Unknown { .. }));
    // The leaf alone, and with its root at the end of its own file.
    let leaf = bundle.split_inclusive("-----END CERTIFICATE-----").next().unwrap().to_owned();
    assert!(with(Papers { alipay: leaf, ..of_sandbox() }).is_ok());
    let root = authority("Sandbox Root", 70).self_signed(&key(middle_pair())).unwrap().pem();
    assert!(with(Papers { alipay: format!("{bundle}{root}"), ..of_sandbox() }).is_ok());
    // What contradicts a root that is there is still refused.
    let namesake = Issuer::new(authority("Root", 7), key(middle_pair()));
    let contradicting = Papers { alipay: chained(&namesake, "Alipay", 12, theirs()), ..papers() };
    assert!(with(contradicting).err().unwrap().contains("was issued by none of the roots"));

    // A later certificate is believed if the configured authority issued it to the same holder, and no other is.
    let brought = |pem: &str| plain(brought_body(pem));
    for (serial, pem, is_taken) in [
        (31, chained(&elsewhere(), "Alipay", 31, root_pair()), true),
        (32, chained(&elsewhere(), "Somebody", 32, root_pair()), false),
    ] {
        assert!(matches!(told(&alipay, root_pair(), Some(&middle_sn(serial))), Finding::Unknown { .. }));
        let stamp = Stamp { at: NOW.plus_ms(i64::try_from(serial).unwrap() * 60_000), ..stamp() };
        assert!(alipay.upkeep(&stamp).is_some());
        assert_eq!(alipay.read_upkeep(&stamp, &brought(&pem)).is_ok(), is_taken, "{serial}");
    }
    assert_eq!(told(&alipay, root_pair(), Some(&middle_sn(31))), Finding::Pending);
}

fn brought_body(pem: &str) -> String {
    let content = STANDARD.encode(pem);
    format!(
        r#"{{"alipay_open_app_alipaycert_download_response":{{"code":"10000","msg":"Success","alipay_cert_content":"{content}"}}}}"#
    )
}
