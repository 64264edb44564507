//! A bill's lines as tables and as CSV.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use comfy_table::Table;

use crate::channels::bill::{BillKind, BillLine};
use crate::cli::Failure;
use crate::cli::audit::{right, table};
use crate::domain::money::{Currency, format_minor};

const COLUMNS: [&str; 8] = ["kind", "number", "refund_number", "reference", "amount", "currency", "fee", "at"];

/// What a bill's lines come to, by kind and currency.
pub struct Totals(BTreeMap<(BillKind, &'static str), Total>);

struct Total {
    currency: Currency,
    count: usize,
    amount_minor: i64,
    fee_minor: i64,
    /// Lines whose fee the channel does not tell in this currency.
    without_fee: usize,
}

impl Totals {
    /// # Errors
    /// A sum has no place in 64 bits.
    pub fn of(lines: &[BillLine]) -> Result<Self, Failure> {
        let mut totals = BTreeMap::new();
        for line in lines {
            let currency = line.currency;
            let none = Total { currency, count: 0, amount_minor: 0, fee_minor: 0, without_fee: 0 };
            let total = totals.entry((line.kind, currency.code())).or_insert(none);
            total.add(line).ok_or("the bill's sums are beyond all bounds")?;
        }
        Ok(Totals(totals))
    }

    pub fn table(&self) -> Table {
        let mut shown = table(["kind", "currency", "lines", "amount", "fees", "lines without a fee"]);
        for ((kind, code), total) in &self.0 {
            shown.add_row([
                kind.name(),
                code,
                &total.count.to_string(),
                &format_minor(total.amount_minor, total.currency),
                &format_minor(total.fee_minor, total.currency),
                &total.without_fee.to_string(),
            ]);
        }
        right(shown, &[2, 3, 4, 5])
    }
}

impl Total {
    fn add(&mut self, line: &BillLine) -> Option<()> {
        self.count += 1;
        self.amount_minor = self.amount_minor.checked_add(line.amount_minor)?;
        match line.fee_minor {
            Some(fee_minor) => self.fee_minor = self.fee_minor.checked_add(fee_minor)?,
            None => self.without_fee += 1,
        }
        Some(())
    }
}

pub fn lines_table(lines: &[BillLine]) -> Table {
    let mut shown = table(COLUMNS);
    for line in lines {
        shown.add_row(cells(line));
    }
    right(shown, &[4, 6])
}

/// Writes beside the file and moves it into place, so that nobody ever reads half of a bill.
///
/// # Errors
/// The disk's.
pub fn write_csv(file: &Path, lines: &[BillLine]) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut draft = file.as_os_str().to_owned();
    draft.push(".draft");
    let draft = PathBuf::from(draft);
    let written = || -> Result<(), csv::Error> {
        let mut writer = csv::Writer::from_writer(File::create(&draft)?);
        writer.write_record(COLUMNS)?;
        for line in lines {
            writer.write_record(cells(line))?;
        }
        writer.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        Ok(())
    };
    written().map_err(|error| failed(&error))?;
    fs::rename(&draft, file).map_err(|error| failed(&error))?;
    Ok(())
}

fn cells(line: &BillLine) -> [String; COLUMNS.len()] {
    let money = |amount_minor| format_minor(amount_minor, line.currency);
    [
        line.kind.name().to_owned(),
        line.number.clone(),
        line.refund_number.clone().unwrap_or_default(),
        line.reference.clone(),
        money(line.amount_minor),
        line.currency.code().to_owned(),
        line.fee_minor.map(money).unwrap_or_default(),
        line.at.map(|at| at.rfc3339()).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Instant;

    fn line(kind: BillKind, code: &str, amount_minor: i64, fee_minor: Option<i64>) -> BillLine {
        BillLine {
            kind,
            number: "A1, \"茶\"".into(),
            refund_number: None,
            reference: "r\n1".into(),
            amount_minor,
            fee_minor,
            currency: Currency::parse(code).unwrap(),
            at: Some(Instant(1_790_000_000_123)),
        }
    }

    #[test]
    fn totals_are_by_kind_and_currency_and_never_wrap() {
        let lines = [
            line(BillKind::Payment, "CNY", 20_060, Some(120)),
            line(BillKind::Payment, "CNY", 1, None),
            line(BillKind::Payment, "JPY", 500, Some(15)),
            line(BillKind::Refund, "CNY", 60, Some(-1)),
        ];
        let shown = Totals::of(&lines).ok().unwrap().table().to_string();
        for row in [["payment", "CNY", "2", "200.61", "1.20", "1"], ["payment", "JPY", "1", "500", "15", "0"]] {
            let is_row = |text: &str| {
                let cells: Vec<&str> = text.split(['│', '┆']).map(str::trim).filter(|cell| !cell.is_empty()).collect();
                cells == row
            };
            assert!(shown.lines().any(is_row), "{row:?} in\n{shown}");
        }
        assert!(shown.contains("-0.01"), "{shown}");
        let huge = [line(BillKind::Payment, "CNY", i64::MAX, None), line(BillKind::Payment, "CNY", 1, None)];
        assert!(Totals::of(&huge).is_err());
    }

    #[test]
    fn what_is_written_is_read_back_cell_by_cell() {
        let folder = std::env::temp_dir().join(format!("tongbao-bill-csv-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("bill.csv");
        fs::write(&file, "an older one").unwrap();
        write_csv(&file, &[line(BillKind::Other, "CNY", 1, None)]).ok().unwrap();
        let mut reader = csv::Reader::from_path(&file).unwrap();
        assert_eq!(reader.headers().unwrap(), &COLUMNS[..]);
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0], ["other", "A1, \"茶\"", "", "r\n1", "0.01", "CNY", "", "2026-09-21T14:13:20.123Z"][..]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no draft is left");
        assert!(write_csv(&folder.join("nowhere/bill.csv"), &[]).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
