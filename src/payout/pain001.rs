//! ISO 20022 `pain.001.001.09`, the customer's credit transfer initiation.
//!
//! The same instructions give the same bytes. `NbOfTxs` and `CtrlSum` are computed, in exact decimals.

use std::collections::HashSet;
use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use rust_decimal::Decimal;

use super::order::{Checked, Refused, Transfer, WriteError, check_reference, refused};
use crate::domain::bank_details::{Agent, BankAccount, BankDetails, NAME_MAX, check_text};
use crate::domain::dated::Day;
use crate::domain::money::format_minor;
use crate::domain::time::Instant;

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09";
/// China National Advanced Payment System, in ISO's external list of clearing systems.
const CNAPS: &str = "CNAPS";
/// Digits of a `CtrlSum`, as the schema bounds them.
const SUM_DIGITS_MAX: u32 = 18;
/// The last instant of the year 9999, past which the schema's `dateTime` has another form.
const LAST: Instant = Instant(253_402_300_799_999);

/// One file for one bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initiation {
    /// Unique for the bank, for ever: it refuses a second file of the same id. See [`check_reference`].
    pub message_id: String,
    pub created_at: Instant,
    pub initiating_party: String,
    pub payments: Vec<Payment>,
}

/// Transfers from one account on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: String,
    pub debtor: BankDetails,
    pub execution_date: Day,
    pub transfers: Vec<Transfer>,
}

/// Writes the file, if all of it can be written.
///
/// # Errors
/// A field out of its bounds, before anything is written; what the writer says.
pub fn write(out: impl Write, file: &Initiation) -> Result<(), WriteError> {
    let totals = check(file)?;
    let mut xml = Writer::new_with_indent(out, b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.create_element("Document").with_attribute(("xmlns", NAMESPACE)).write_inner_content(|xml| {
        parent(xml, "CstmrCdtTrfInitn", |xml| {
            parent(xml, "GrpHdr", |xml| {
                text(xml, "MsgId", &file.message_id)?;
                text(xml, "CreDtTm", &file.created_at.rfc3339())?;
                totals.file.write(xml)?;
                parent(xml, "InitgPty", |xml| text(xml, "Nm", &file.initiating_party))
            })?;
            file.payments
                .iter()
                .zip(&totals.payments)
                .try_for_each(|(payment, total)| parent(xml, "PmtInf", |xml| write_payment(xml, payment, total)))
        })
    })?;
    xml.get_mut().write_all(b"\n")?;
    Ok(())
}

fn write_payment<W: Write>(xml: &mut Writer<W>, payment: &Payment, total: &Total) -> io::Result<()> {
    text(xml, "PmtInfId", &payment.id)?;
    text(xml, "PmtMtd", "TRF")?;
    total.write(xml)?;
    parent(xml, "ReqdExctnDt", |xml| text(xml, "Dt", &payment.execution_date.to_string()))?;
    parent(xml, "Dbtr", |xml| text(xml, "Nm", payment.debtor.holder()))?;
    parent(xml, "DbtrAcct", |xml| write_account(xml, payment.debtor.account()))?;
    parent(xml, "DbtrAgt", |xml| write_agent(xml, &payment.debtor))?;
    payment.transfers.iter().try_for_each(|transfer| parent(xml, "CdtTrfTxInf", |xml| write_transfer(xml, transfer)))
}

fn write_transfer<W: Write>(xml: &mut Writer<W>, transfer: &Transfer) -> io::Result<()> {
    let amount = format_minor(transfer.amount_minor, transfer.currency);
    parent(xml, "PmtId", |xml| text(xml, "EndToEndId", &transfer.end_to_end_id))?;
    parent(xml, "Amt", |xml| {
        let element = xml.create_element("InstdAmt").with_attribute(("Ccy", transfer.currency.code()));
        element.write_text_content(BytesText::new(&amount)).map(drop)
    })?;
    parent(xml, "CdtrAgt", |xml| write_agent(xml, &transfer.payee))?;
    parent(xml, "Cdtr", |xml| text(xml, "Nm", transfer.payee.holder()))?;
    parent(xml, "CdtrAcct", |xml| write_account(xml, transfer.payee.account()))?;
    parent(xml, "RmtInf", |xml| text(xml, "Ustrd", &transfer.remittance))
}

fn write_account<W: Write>(xml: &mut Writer<W>, account: &BankAccount) -> io::Result<()> {
    parent(xml, "Id", |xml| match account {
        BankAccount::Iban(_) => text(xml, "IBAN", account.expose()),
        BankAccount::Number(_) => parent(xml, "Othr", |xml| text(xml, "Id", account.expose())),
    })
}

fn write_agent<W: Write>(xml: &mut Writer<W>, details: &BankDetails) -> io::Result<()> {
    let agent = details.agent();
    parent(xml, "FinInstnId", |xml| match agent {
        // A BIC names its bank in the whole world; some banks refuse a name beside it.
        Agent::Bic(_) => text(xml, "BICFI", agent.code()),
        Agent::Cnaps(_) => {
            parent(xml, "ClrSysMmbId", |xml| {
                parent(xml, "ClrSysId", |xml| text(xml, "Cd", CNAPS))?;
                text(xml, "MmbId", agent.code())
            })?;
            text(xml, "Nm", details.bank_name())
        }
    })
}

fn parent<W: Write>(
    xml: &mut Writer<W>,
    name: &str,
    content: impl FnOnce(&mut Writer<W>) -> io::Result<()>,
) -> io::Result<()> {
    xml.create_element(name).write_inner_content(content).map(drop)
}

fn text<W: Write>(xml: &mut Writer<W>, name: &str, content: &str) -> io::Result<()> {
    xml.create_element(name).write_text_content(BytesText::new(content)).map(drop)
}

/// How many transfers, and the sum of their amounts whatever their currencies, as the standard has it.
struct Total {
    count: usize,
    sum: Decimal,
}

impl Total {
    fn write<W: Write>(&self, xml: &mut Writer<W>) -> io::Result<()> {
        text(xml, "NbOfTxs", &self.count.to_string())?;
        text(xml, "CtrlSum", &self.sum.to_string())
    }

    fn of<'a>(transfers: impl Iterator<Item = &'a Transfer>, path: &str) -> Result<Total, Refused> {
        let mut total = Total { count: 0, sum: Decimal::ZERO };
        for transfer in transfers {
            let amount = Decimal::new(transfer.amount_minor, transfer.currency.exponent());
            let sum = total.sum.checked_add(amount).filter(|sum| sum.mantissa() < 10i128.pow(SUM_DIGITS_MAX));
            let Some(sum) = sum else {
                let why = format!("and {amount} are more than {SUM_DIGITS_MAX} digits: make two files");
                return refused(format!("{path}/CtrlSum"), &total.sum.to_string(), why);
            };
            total = Total { count: total.count + 1, sum };
        }
        Ok(total)
    }
}

struct Totals {
    file: Total,
    payments: Vec<Total>,
}

fn check(file: &Initiation) -> Result<Totals, Refused> {
    let Initiation { message_id, created_at, initiating_party, payments } = file;
    if let Err(why) = check_reference(message_id) {
        return refused("GrpHdr/MsgId".to_owned(), message_id, why);
    }
    if !(Instant::EPOCH..=LAST).contains(created_at) {
        let why = "milliseconds since 1970 are not between the years 1970 and 9999";
        return refused("GrpHdr/CreDtTm".to_owned(), &created_at.0.to_string(), why);
    }
    if let Err(error) = check_text(initiating_party, NAME_MAX) {
        return refused("GrpHdr/InitgPty/Nm".to_owned(), initiating_party, error.to_string());
    }
    if payments.is_empty() {
        return refused("PmtInf".to_owned(), "", "is missing: there is nothing to pay");
    }
    let mut ids = HashSet::new();
    let mut checked = Checked::default();
    let mut totals = Vec::with_capacity(payments.len());
    for (payment, number) in payments.iter().zip(1..) {
        let path = format!("PmtInf[{number}]");
        if let Err(why) = check_reference(&payment.id) {
            return refused(format!("{path}/PmtInfId"), &payment.id, why);
        }
        if !ids.insert(&payment.id) {
            return refused(format!("{path}/PmtInfId"), &payment.id, "is in this file already");
        }
        if payment.transfers.is_empty() {
            return refused(format!("{path}/CdtTrfTxInf"), "", "is missing: there is nothing to pay");
        }
        for (transfer, number) in payment.transfers.iter().zip(1..) {
            checked.check(transfer, &format!("{path}/CdtTrfTxInf[{number}]"))?;
        }
        totals.push(Total::of(payment.transfers.iter(), &path)?);
    }
    let all = payments.iter().flat_map(|payment| &payment.transfers);
    Ok(Totals { file: Total::of(all, "GrpHdr")?, payments: totals })
}

#[cfg(test)]
mod tests {
    use super::super::order::tests::{chinese, german, transfer};
    use super::*;

    fn initiation() -> Initiation {
        let payment = |id: &str, debtor, transfers| Payment {
            id: id.to_owned(),
            debtor,
            execution_date: Day::parse("2026-12-02").expect("a day"),
            transfers,
        };
        Initiation {
            message_id: "tongbao-20261201-1".to_owned(),
            created_at: Instant(1_796_101_200_000),
            initiating_party: "通宝支付".to_owned(),
            payments: vec![
                payment(
                    "cny-1",
                    chinese("通宝支付有限公司"),
                    vec![
                        transfer("po-1", 12_083, "CNY", chinese("张三")),
                        transfer("po-2", 8_583, "CNY", chinese("李四")),
                    ],
                ),
                payment("eur-1", german("Tongbao GmbH"), vec![transfer("po-3", 5, "EUR", german("Müller & Söhne"))]),
                payment("bhd-1", german("Tongbao GmbH"), vec![transfer("po-4", 1_001, "BHD", german("A"))]),
                payment("jpy-1", german("Tongbao GmbH"), vec![transfer("po-5", 7, "JPY", german("B"))]),
            ],
        }
    }

    fn written(file: &Initiation) -> Result<String, String> {
        let mut bytes = Vec::new();
        let result = write(&mut bytes, file);
        if result.is_err() {
            assert!(bytes.is_empty(), "a refused file has no bytes");
        }
        result.map(|()| String::from_utf8(bytes).expect("UTF-8")).map_err(|error| error.to_string())
    }

    fn refused_when(change: impl FnOnce(&mut Initiation)) -> String {
        let mut file = initiation();
        change(&mut file);
        written(&file).expect_err("refused")
    }

    #[test]
    fn counts_and_sums_are_computed_exactly() {
        let text = written(&initiation()).expect("written");
        assert!(
            text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Document xmlns=\"urn:iso:std:iso:20022:")
        );
        let values = |name: &str| -> Vec<&str> {
            let (open, close) = (format!("<{name}>"), format!("</{name}>"));
            text.split(&open).skip(1).filter_map(|rest| rest.split(&close).next()).collect()
        };
        assert_eq!(values("NbOfTxs"), ["5", "2", "1", "1", "1"]);
        assert_eq!(values("CtrlSum"), ["214.711", "206.66", "0.05", "1.001", "7"]);
        assert!(text.contains("<InstdAmt Ccy=\"BHD\">1.001</InstdAmt>"));
        assert!(text.contains("<Nm>Müller &amp; Söhne</Nm>"));
        assert!(text.contains("<Cd>CNAPS</Cd>"));
    }

    #[test]
    fn the_same_instructions_give_the_same_bytes() {
        assert_eq!(written(&initiation()), written(&initiation()));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_value_and_bound() {
        let long = "X".repeat(36);
        let said = refused_when(|file| file.message_id.clone_from(&long));
        assert!(said.starts_with(&format!("GrpHdr/MsgId: {long:?} must be 1 to 35")), "{said}");
        let said = refused_when(|file| file.payments[0].transfers[1].remittance = "款".repeat(141));
        assert!(said.starts_with("PmtInf[1]/CdtTrfTxInf[2]/RmtInf/Ustrd: \"款款"), "{said}");
        assert!(said.contains("has 141 characters; at most 140 fit"), "{said}");
        let said = refused_when(|file| file.payments[0].transfers[1].amount_minor = 0);
        assert_eq!(said, "PmtInf[1]/CdtTrfTxInf[2]/Amt/InstdAmt: \"0\" must be 1 to 99999999999999 minor units of CNY");
        assert!(refused_when(|file| file.payments[0].transfers[0].amount_minor = -1).contains("InstdAmt"));
        assert!(refused_when(|file| file.initiating_party = "a\u{0}".to_owned()).contains("GrpHdr/InitgPty/Nm"));
        assert!(refused_when(|file| file.created_at = Instant(i64::MAX)).contains("CreDtTm"));
        assert!(refused_when(|file| file.created_at = Instant(-1)).contains("CreDtTm"));
    }

    #[test]
    fn nothing_is_paid_twice_by_one_file() {
        let said = refused_when(|file| file.payments[1].transfers[0].end_to_end_id = "po-1".to_owned());
        assert!(said.contains("PmtInf[2]/CdtTrfTxInf[1]/PmtId/EndToEndId: \"po-1\" is in this file already"), "{said}");
        assert!(refused_when(|file| file.payments[1].id = "cny-1".to_owned()).contains("PmtInf[2]/PmtInfId"));
    }

    #[test]
    fn an_empty_file_is_refused() {
        assert!(refused_when(|file| file.payments.clear()).contains("nothing to pay"));
        assert!(refused_when(|file| file.payments[2].transfers.clear()).contains("PmtInf[3]/CdtTrfTxInf"));
    }

    #[test]
    fn a_sum_past_the_schemas_digits_is_refused() {
        let most = 999_999_999_999_990;
        let fits: Vec<Transfer> =
            (0..999).map(|number| transfer(&format!("a{number}"), most, "BHD", german("A"))).collect();
        let more: Vec<Transfer> =
            (0..2).map(|number| transfer(&format!("b{number}"), most, "BHD", german("A"))).collect();
        let mut file = initiation();
        file.payments.truncate(1);
        file.payments[0].transfers = fits;
        assert!(written(&file).expect("written").contains("<CtrlSum>998999999999990.010</CtrlSum>"));
        file.payments[0].transfers.extend(more);
        assert!(written(&file).expect_err("refused").contains("PmtInf[1]/CtrlSum"));
    }
}
