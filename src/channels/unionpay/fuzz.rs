//! Fuzz targets: see [`crate::channels::fuzz`].

use std::io::{Cursor, Write};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use time::Date;
use time::macros::date;

use super::message::{self, Fields};
use super::signature::Signer;
use super::{Credentials, Unionpay, amount, bill as statement};
use crate::channels::properties::{
    NOW, ask, is_sound_bill, is_sound_notice, never_believed, never_heard, number, read_all,
};
use crate::channels::{Adapter, Answer, Heard, Received};
use crate::domain::channel::Method;
use crate::domain::event::{Finding, RefundOutcome};

const MER_ID: &str = "777290058167151";
const SIGNER_NAME: &str = "中国银联股份有限公司";
const SETTLED_ON: Date = date!(2015 - 09 - 05);

/// Us, and the gateway's end with its certificate.
struct World {
    unionpay: Unionpay,
    gateway: Signer,
    certificate: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let params = |name: &str, is_ca: IsCa| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = is_ca;
        params
    };
    let authority = |name: &str| params(name, IsCa::Ca(BasicConstraints::Unconstrained));
    let (root_params, root_key) = (authority("root"), key());
    let root = root_params.self_signed(&root_key).expect("a root").pem();
    let root_issuer = Issuer::new(root_params, root_key);
    let (middle_params, middle_key) = (authority("middle"), key());
    let middle = middle_params.signed_by(&middle_key, &root_issuer).expect("a middle").pem();
    let middle_issuer = Issuer::new(middle_params, middle_key);
    let issue = |name: &str| {
        let key = key();
        let certificate = params(name, IsCa::NoCa).signed_by(&key, &middle_issuer).expect("a certificate").pem();
        (certificate, key.serialize_pem())
    };
    let (certificate, gateway_key) = issue(&format!("041@8310000000083040@{SIGNER_NAME}@00016495"));
    let (signing_certificate, signing_key) = issue("041@merchant");
    let credentials = Credentials {
        mer_id: MER_ID.into(),
        signing_key: signing_key.into(),
        signing_certificate,
        root,
        middle,
        signer_name: SIGNER_NAME.into(),
    };
    World {
        unionpay: Unionpay::new("default", "https://gateway.95516.com", credentials).expect("good credentials"),
        gateway: Signer::new(&gateway_key.into(), &certificate).expect("a signer"),
        certificate,
    }
});

/// A form in front of the signature.
pub fn notification(data: &[u8]) {
    never_heard(&WORLD.unionpay, data);
    let Ok(fields) = message::read_form(data) else { return };
    assert_eq!(message::read_form(&message::write_form(&fields)).as_ref(), Ok(&fields), "decoding undoes encoding");
}

/// The splitting of a direct answer, which brackets keep together, in front of the signature.
pub fn answer(data: &[u8]) {
    let frozen = WORLD.unionpay.freeze(&ask(Method::Page, "CNY"));
    never_believed(&WORLD.unionpay, &frozen, "CNY", data);
    let Ok(fields) = message::read_answer(data) else { return };
    let text = std::str::from_utf8(data).expect("what was read is text");
    for (name, value) in &fields {
        assert!(text.contains(&format!("{name}={value}")), "{name}={value} stands there as it is");
        assert!(!name.contains('='));
    }
    let length: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    assert!(length <= text.len() + 1, "nothing was added");
}

/// Fields that the gateway has signed: a direct answer to every question, and a notification.
pub fn fields(data: &[u8]) {
    let Ok(mut fields) = message::read_answer(data) else { return };
    fields.insert("signPubKeyCert".into(), WORLD.certificate.clone());
    let fields = WORLD.gateway.sign(fields);
    let body = fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&").into_bytes();
    let frozen = WORLD.unionpay.freeze(&ask(Method::Page, "CNY"));
    let answer = Answer { status: 200, headers: Vec::new(), body };
    let all = read_all(&WORLD.unionpay, &frozen, "CNY", &answer);
    if let Some(Finding::Paid { amount_minor, .. }) = all.finding {
        is_ours(&fields);
        assert_eq!(fields["orderId"], number().to_string());
        is_amount(&fields["txnAmt"], amount_minor);
    }
    assert!(!matches!(all.refund, RefundOutcome::Done { .. }), "only a query tells that a refund was done");
    if matches!(all.refund_query, RefundOutcome::Done { .. }) {
        is_ours(&fields);
        is_amount(&fields["txnAmt"], 20_060);
    }
    let form = message::write_form(&fields);
    let Ok(heard) = WORLD.unionpay.callback(&Received { headers: &[], body: &form }, NOW) else { return };
    is_ours(&fields);
    if let Some(notice) = is_sound_notice(&heard) {
        is_amount(&fields["txnAmt"], notice.amount_minor);
    }
    if let Heard::Refund(notice) = &heard {
        assert_eq!((fields["txnType"].as_str(), &fields["orderId"]), ("04", &notice.number));
        assert_eq!(notice.word, None, "a notification is a reason to ask");
    }
}

fn is_ours(fields: &Fields) {
    assert_eq!((fields["merId"].as_str(), fields["version"].as_str()), (MER_ID, "5.1.0"));
}

fn is_amount(text: &str, amount_minor: i64) {
    assert_eq!(amount_minor.to_string(), text.trim_start_matches('0'));
}

/// A certificate as it comes in a message. None from outside is of this chain.
pub fn certificate(data: &[u8]) {
    let Ok(pem) = std::str::from_utf8(data) else { return };
    assert!(WORLD.unionpay.chains.key_of(pem, NOW).is_err(), "a stranger's certificate is trusted");
    for (serial, _) in super::certificate::identities(pem).unwrap_or_default() {
        assert!(!serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'), "{serial}");
    }
}

/// The field that a file comes in, or the lines of the file.
pub fn bill(data: &[u8]) {
    if let Ok(content) = std::str::from_utf8(data) {
        is_sound_bill(&statement::read(content, MER_ID, SETTLED_ON), usize::MAX);
    }
    is_sound_bill(&statement::read(&packed(data), MER_ID, SETTLED_ON), data.len());
    if let Some(fen) = std::str::from_utf8(data).ok().and_then(amount::read_padded) {
        assert_eq!(format!("{fen:012}").as_bytes(), data);
    }
}

fn packed(lines: &[u8]) -> String {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    archive.start_file(format!("INN15090588ZM_{MER_ID}"), options).expect("an entry");
    archive.write_all(lines).expect("its content");
    let archive = archive.finish().expect("a zip").into_inner();
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&archive).expect("it is packed");
    STANDARD.encode(encoder.finish().expect("it is packed"))
}

#[test]
fn a_frozen_request_is_kept_as_it_was() {
    crate::channels::properties::frozen_is_kept(&WORLD.unionpay, Method::Page, "CNY");
}
