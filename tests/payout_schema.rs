//! The file for a bank against the schema itself: two copies that came by different ways, read by libxml2.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tongbao::domain::bank_details::{AccountNumber, Agent, BankAccount, BankDetails, Bic, Cnaps, Iban};
use tongbao::domain::dated::Day;
use tongbao::domain::money::Currency;
use tongbao::domain::time::Instant;
use tongbao::payout::order::Transfer;
use tongbao::payout::pain001::{Initiation, Payment, write};

/// Where each comes from is said beside them.
const SCHEMAS: [&str; 2] = ["sepaxml.xsd", "pain001.xsd"];

/// Whether a schema takes a document, and what libxml2 says of it.
fn validate(document: &str, schema: &str) -> Result<(), String> {
    use std::io::Write;

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pain.001.001.09");
    let schema: PathBuf = folder.join(schema);
    // --nonet: nothing is looked up elsewhere.
    let mut xmllint = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema"])
        .arg(&schema)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xmllint is missing: `apt-get install libxml2-utils` (Debian, Ubuntu), or libxml2 elsewhere");
    let mut stdin = xmllint.stdin.take().expect("a pipe");
    stdin.write_all(document.as_bytes()).expect("the document is taken");
    drop(stdin);
    let output = xmllint.wait_with_output().expect("xmllint ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => Ok(()),
        // The document does not follow the schema; every other code is a failure of the tool, or of the test's XML.
        Some(3) => Err(said),
        code => panic!("xmllint failed with {code:?}: {said}"),
    }
}

fn validate_by_all(document: &str) -> Vec<Result<(), String>> {
    SCHEMAS.iter().map(|schema| validate(document, schema)).collect()
}

fn chinese(holder: &str, account: &str, cnaps: &str, bank_name: &str) -> BankDetails {
    let account = BankAccount::Number(AccountNumber::parse(account).expect("a number"));
    BankDetails::new(holder, account, Agent::Cnaps(Cnaps::parse(cnaps).expect("a CNAPS number")), bank_name)
        .expect("details")
}

fn european(holder: &str, iban: &str, bic: &str, bank_name: &str) -> BankDetails {
    let account = BankAccount::Iban(Iban::parse(iban).expect("an IBAN"));
    BankDetails::new(holder, account, Agent::Bic(Bic::parse(bic).expect("a BIC")), bank_name).expect("details")
}

fn transfer(id: &str, amount_minor: i64, currency: &str, payee: BankDetails, remittance: &str) -> Transfer {
    let currency = Currency::parse(currency).expect("a currency");
    Transfer { end_to_end_id: id.to_owned(), amount_minor, currency, payee, remittance: remittance.to_owned() }
}

/// Both forms of accounts and banks, three exponents, every field as long as it may be.
fn document() -> String {
    let ours = chinese("通宝支付有限公司", "0200001009014415823", "102100099996", "中国工商银行");
    let german = european("Tongbao GmbH", "DE89370400440532013000", "COBADEFFXXX", "Commerzbank");
    let execution_date = Day::parse("2026-12-02").expect("a day");
    let file = Initiation {
        message_id: "M".repeat(35),
        created_at: Instant(1_796_101_200_123),
        initiating_party: "通".repeat(140),
        payments: vec![
            Payment {
                id: "P".repeat(35),
                debtor: ours,
                execution_date,
                transfers: vec![
                    transfer(
                        &"E".repeat(35),
                        99_999_999_999_999,
                        "CNY",
                        chinese(&"张".repeat(140), &"9".repeat(34), "313333007331", &"行".repeat(140)),
                        &"款".repeat(140),
                    ),
                    transfer(
                        "po-2",
                        1,
                        "CNY",
                        chinese("欧阳·阿卜杜拉（北京）", "6222021001116245702", "105100000017", "建设银行"),
                        "x",
                    ),
                ],
            },
            Payment {
                id: "eur-1".to_owned(),
                debtor: german,
                execution_date,
                transfers: vec![
                    transfer(
                        "po-3",
                        8_583,
                        "EUR",
                        european("Müller & Söhne, O'Brien", "GB29NWBK60161331926819", "NWBKGB2L", "NatWest"),
                        "Invoice 7/2026: (settlement)",
                    ),
                    transfer("po-4", 7, "JPY", european("A", "NL91ABNA0417164300", "ABNANL2A", "ABN AMRO"), "7"),
                    transfer(
                        "po-5",
                        1_001,
                        "BHD",
                        european("B", "AE070331234567890123456", "BOMLAEAD", "Mashreq"),
                        "1.001",
                    ),
                ],
            },
        ],
    };
    let mut bytes = Vec::new();
    write(&mut bytes, &file).expect("the file is written");
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn the_file_follows_both_copies_of_the_schema() {
    let document = document();
    for (result, schema) in validate_by_all(&document).into_iter().zip(SCHEMAS) {
        assert_eq!(result, Ok(()), "{schema}");
    }
    for needed in ["<IBAN>", "<Othr>", "<BICFI>", "<ClrSysMmbId>", "<CtrlSum>", "&amp;", "Ccy=\"BHD\">1.001<"] {
        assert!(document.contains(needed), "the document has no {needed}");
    }
}

/// A schema that took anything would prove nothing: both must refuse each of these.
#[test]
fn a_damaged_file_is_refused_by_both() {
    let document = document();
    let without = |name: &str| {
        let lines: Vec<&str> = document.lines().filter(|line| !line.contains(&format!("<{name}>"))).collect();
        lines.join("\n")
    };
    let execution = "<ReqdExctnDt>\n        <Dt>2026-12-02</Dt>\n      </ReqdExctnDt>\n";
    let moved = document.replacen(execution, "", 1).replacen("</DbtrAgt>\n", &format!("</DbtrAgt>\n{execution}"), 1);
    assert_eq!(moved.matches("<ReqdExctnDt>").count(), 2, "it was moved, not lost or doubled");
    let damaged = [
        ("no message id", without("MsgId")),
        ("no number of transfers", document.replacen("<NbOfTxs>5</NbOfTxs>", "", 1)),
        ("no reference", without("EndToEndId")),
        ("no payment method", without("PmtMtd")),
        ("no amount", document.lines().filter(|line| !line.contains("<InstdAmt")).collect::<Vec<_>>().join("\n")),
        ("the day behind the agent", moved),
        ("no currency", document.replacen(" Ccy=\"CNY\"", "", 1)),
        ("an amount below zero", document.replacen(">0.01<", ">-0.01<", 1)),
        ("a reference too long", document.replacen(&"E".repeat(35), &"E".repeat(36), 1)),
        ("a remittance text too long", document.replacen(&"款".repeat(140), &"款".repeat(141), 1)),
        ("an element of ours", document.replacen("<GrpHdr>", "<GrpHdr><Ours/>", 1)),
        ("another namespace", document.replacen("pain.001.001.09", "pain.001.001.03", 1)),
    ];
    for (what, text) in damaged {
        assert_ne!(text, document, "{what}: nothing was changed");
        for (result, schema) in validate_by_all(&text).into_iter().zip(SCHEMAS) {
            assert!(result.is_err(), "{schema} took a document with {what}");
        }
    }
}
