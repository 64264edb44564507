//! Messages of UnionPay's own, and forged, damaged and foreign ones.
//!
//! Golden vectors lie in `vectors/`. The gateway's messages, its certificate of 2020 to 2025 and a merchant's signed
//! request are those of the test gateway in the tests of `yansongda/pay` (`CallbackPluginTest`, `UnipayTest`), of
//! 2022 and 2024; `{certificate}` stands for the certificate with its CRLFs. Roots and middles, and the lines of a
//! reconciliation file, are from UnionPay's Java kit of 2018. The production certificate stood in a message of 2022
//! that a public repository's test holds (`RsaTest::testUnionPay1`).

mod bills;
mod callbacks;
mod certificates;
mod golden;
mod messages;
mod queries;
mod refunds;

use std::sync::LazyLock;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, SerialNumber};

use super::*;
use crate::domain::id::{AttemptNumber, Incarnation, OrderId};
use crate::domain::money::Currency;

const MER_ID: &str = "777290058167151";
const OPENED_AT: Instant = Instant(1_790_000_000_123);
const SIGNER_NAME: &str = "中国银联股份有限公司";

/// One end of the world: a chain, the gateway's signer in it, and ours.
struct World {
    root: String,
    middle: String,
    gateway: Issued,
    merchant: Issued,
    /// Holds a certificate of the same chain, but is not UnionPay.
    neighbour: Issued,
    /// Its certificate is no longer valid.
    former: Issued,
}

struct Issued {
    certificate: String,
    key: String,
}

/// RSA keys take long to make; all tests share these.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, rsa_key())
    };
    let (root_params, root_key) = authority("root");
    let root = root_params.self_signed(&root_key).expect("a root").pem();
    let root_issuer = Issuer::new(root_params, root_key);
    let (middle_params, middle_key) = authority("middle");
    let middle = middle_params.signed_by(&middle_key, &root_issuer).expect("a middle").pem();
    let middle_issuer = Issuer::new(middle_params, middle_key);
    let issue = |name: &str, until_year: i32| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(69_903_319_369));
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        let key = rsa_key();
        let certificate = params.signed_by(&key, &middle_issuer).expect("a certificate").pem();
        Issued { certificate, key: key.serialize_pem() }
    };
    World {
        root,
        middle,
        gateway: issue(&format!("041@8310000000083040@{SIGNER_NAME}@00016495"), 2030),
        merchant: issue("041@merchant", 2030),
        neighbour: issue("041@8310000000083040@somebody@00016495", 2030),
        former: issue(&format!("041@8310000000083040@{SIGNER_NAME}@00016495"), 2026),
    }
});

fn rsa_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key")
}

fn credentials() -> Credentials {
    Credentials {
        mer_id: MER_ID.into(),
        signing_key: WORLD.merchant.key.clone().into(),
        signing_certificate: WORLD.merchant.certificate.clone(),
        root: WORLD.root.clone(),
        middle: WORLD.middle.clone(),
        signer_name: SIGNER_NAME.into(),
    }
}

fn adapter() -> Unionpay {
    Unionpay::new("default", "https://gateway.95516.com/", credentials()).expect("good credentials")
}

fn stamp() -> Stamp {
    Stamp { at: OPENED_AT.plus_ms(5_000), nonce: "n".repeat(32) }
}

fn number() -> AttemptNumber {
    let order = OrderId::from_u128(0x0194_0000_1111_7222_8333_4444_5555_6666);
    AttemptNumber { order, ordinal: 0, incarnation: Incarnation::default() }
}

fn cny() -> Currency {
    Currency::parse("CNY").expect("CNY")
}

fn attempt() -> Attempted {
    Attempted {
        number: number(),
        opened_at: OPENED_AT,
        expires_at: OPENED_AT.plus_ms(900_000),
        arrives_by: OPENED_AT.plus_ms(1_500_000),
        payable_minor: 20_060,
        currency: cny(),
        reference: None,
    }
}

fn refund_ask() -> RefundAsk {
    RefundAsk {
        refund_number: crate::channels::properties::first_refund(number()),
        id: None,
        attempt: attempt(),
        reference: "782209081322060674028".into(),
        dated_at: OPENED_AT.plus_ms(60_000),
        captured_minor: 20_060,
        amount_minor: 20_060,
        reason: Some("货不对板, sold out".into()),
        notify_url: "https://pay.example/v1/callbacks/unionpay/default".into(),
    }
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What the gateway signs all its messages with.
fn signed_by(issued: &Issued, mut fields: Fields) -> Fields {
    fields.insert("signPubKeyCert".into(), issued.certificate.replace('\n', "\r\n"));
    let signer = Signer::new(&issued.key.clone().into(), &issued.certificate).expect("a signer");
    signer.sign(fields)
}

/// A direct answer: raw, and not encoded.
fn answer_of(fields: &Fields) -> Answer {
    let body = fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    Answer { status: 200, headers: Vec::new(), body: body.into_bytes() }
}

fn answer(fields: Fields) -> Answer {
    answer_of(&signed_by(&WORLD.gateway, fields))
}

fn with(mut fields: Fields, changes: &[(&str, &str)]) -> Fields {
    for (name, value) in changes {
        match *value {
            "" => fields.remove(*name),
            value => fields.insert((*name).into(), value.into()),
        };
    }
    fields
}

fn sent(outgoing: &Outgoing) -> Fields {
    message::read_form(&outgoing.body).expect("a form")
}
