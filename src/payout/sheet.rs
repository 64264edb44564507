//! Payouts as a sheet (CSV) with a bank's own columns.
//!
//! A cell that a sheet would take for a formula is refused, not escaped: an apostrophe in front would change the name
//! that the bank compares. References, accounts and amounts cannot begin so by their own rules.

use std::io::Write;

use super::order::{Checked, Refused, Transfer, WriteError, refused};
use crate::config::settlement::{PayoutColumn, PayoutCsv, begins_formula};
use crate::domain::money::format_minor;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Writes the sheet, if all of it can be written. The same transfers give the same bytes.
///
/// # Errors
/// A field out of its bounds, before anything is written; what the writer says.
pub fn write(mut out: impl Write, settings: &PayoutCsv, transfers: &[Transfer]) -> Result<(), WriteError> {
    check(settings, transfers)?;
    if settings.byte_order_mark {
        out.write_all(BYTE_ORDER_MARK)?;
    }
    let mut sheet = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    let columns = &settings.columns;
    sheet.write_record(columns.iter().map(|column| settings.titles.of(*column))).map_err(std::io::Error::from)?;
    for transfer in transfers {
        sheet.write_record(columns.iter().map(|column| cell(*column, transfer))).map_err(std::io::Error::from)?;
    }
    Ok(sheet.flush()?)
}

fn cell(column: PayoutColumn, transfer: &Transfer) -> String {
    let payee = &transfer.payee;
    match column {
        PayoutColumn::Payout => transfer.end_to_end_id.clone(),
        PayoutColumn::Name => payee.holder().to_owned(),
        PayoutColumn::Account => payee.account().expose().to_owned(),
        PayoutColumn::Bank => payee.bank_name().to_owned(),
        PayoutColumn::BankCode => payee.agent().code().to_owned(),
        PayoutColumn::Amount => format_minor(transfer.amount_minor, transfer.currency),
        PayoutColumn::Currency => transfer.currency.code().to_owned(),
        PayoutColumn::Remark => transfer.remittance.clone(),
    }
}

fn check(settings: &PayoutCsv, transfers: &[Transfer]) -> Result<(), Refused> {
    if transfers.is_empty() {
        return refused("sheet".to_owned(), "", "would be empty: there is nothing to pay");
    }
    let has = |column| settings.columns.contains(&column);
    let mut checked = Checked::default();
    for (transfer, number) in transfers.iter().zip(1..) {
        let path = format!("payout[{number}]");
        checked.check(transfer, &path)?;
        for column in &settings.columns {
            let cell = cell(*column, transfer);
            if begins_formula(&cell) {
                let title = settings.titles.of(*column);
                return refused(
                    format!("{path}/{title}"),
                    &cell,
                    "would be a formula in a sheet: change how it begins",
                );
            }
        }
        // A sheet without currencies is one of the currency that its bank has in mind.
        if !has(PayoutColumn::Currency) && transfer.currency != transfers[0].currency {
            let why =
                format!("is not {} as the first one's, and the sheet has no column for it", transfers[0].currency);
            return refused(format!("{path}/currency"), transfer.currency.code(), why);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::order::tests::{chinese, german, transfer};
    use super::*;
    use crate::config::Config;

    fn settings() -> PayoutCsv {
        Config::load(&[]).expect("the defaults").settlement.payout_csv
    }

    fn written(settings: &PayoutCsv, transfers: &[Transfer]) -> Result<String, String> {
        let mut bytes = Vec::new();
        let result = write(&mut bytes, settings, transfers);
        assert!(result.is_ok() || bytes.is_empty(), "a refused file has no bytes");
        result.map(|()| String::from_utf8(bytes).expect("UTF-8")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_sheet_has_the_columns_and_titles_that_its_bank_wants() {
        let mut settings = settings();
        let transfers = [transfer("po-1", 12_083, "CNY", chinese("张三")), transfer("po-2", 7, "JPY", german("A, B"))];
        assert_eq!(
            written(&settings, &transfers).expect("written"),
            "\u{feff}payout,name,account,bank,bank_code,amount,currency,remark\r\n\
             po-1,张三,6222021001116245702,中国工商银行,102100099996,120.83,CNY,2026-12 结算款\r\n\
             po-2,\"A, B\",DE89370400440532013000,Commerzbank,COBADEFFXXX,7,JPY,2026-12 结算款\r\n"
        );
        settings.byte_order_mark = false;
        settings.columns = vec![PayoutColumn::Account, PayoutColumn::Name, PayoutColumn::Amount, PayoutColumn::Payout];
        settings.titles.account = "收款账号".to_owned();
        settings.titles.name = "户名".to_owned();
        assert_eq!(
            written(&settings, &transfers[..1]).expect("written"),
            "收款账号,户名,amount,payout\r\n6222021001116245702,张三,120.83,po-1\r\n"
        );
        let said = written(&settings, &transfers).expect_err("refused");
        assert_eq!(
            said,
            "payout[2]/currency: \"JPY\" is not CNY as the first one's, and the sheet has no column for it"
        );
    }

    #[test]
    fn a_cell_that_would_be_a_formula_is_refused() {
        for begin in ['-', '+'] {
            let name = format!("{begin}cmd");
            let said = written(&settings(), &[transfer("po-1", 1, "CNY", chinese(&name))]).expect_err("refused");
            assert_eq!(said, format!("payout[1]/name: {name:?} would be a formula in a sheet: change how it begins"));
            let mut remarked = transfer("po-1", 1, "CNY", chinese("A"));
            remarked.remittance.clone_from(&name);
            assert!(written(&settings(), &[remarked]).expect_err("refused").starts_with("payout[1]/remark"));
        }
        // These are refused by what a text for a bank may hold.
        for text in ["=1", "@a", "\ta", "＝1"] {
            let mut remarked = transfer("po-1", 1, "CNY", chinese("A"));
            remarked.remittance = text.to_owned();
            assert!(written(&settings(), &[remarked]).is_err(), "{text}");
        }
        let within = transfer("po-1", 1, "CNY", chinese("A-B+C"));
        assert!(written(&settings(), &[within]).is_ok());
    }

    #[test]
    fn nothing_is_paid_twice_and_an_empty_sheet_is_refused() {
        let twice = [transfer("po-1", 1, "CNY", chinese("A")), transfer("po-1", 2, "CNY", chinese("A"))];
        assert!(written(&settings(), &twice).expect_err("refused").contains("is in this file already"));
        assert!(written(&settings(), &[]).expect_err("refused").contains("nothing to pay"));
    }
}
