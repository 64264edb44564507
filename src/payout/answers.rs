//! What a bank says became of payouts, as a sheet (CSV).
//!
//! Only a file without a fault is used. All faults are told at once, each with its line, so that a person mends the file
//! in one go. Which payout a reference names, and whether the amount is its own, the caller knows.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io::{self, Read};

use csv::{ByteRecord, StringRecord};

use super::order::{check_reference, shown};
use crate::config::settlement::BankAnswers;
use crate::domain::money::{Currency, parse_minor};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Paid,
    /// It never left the bank.
    Failed,
    /// It was paid, and came back.
    Returned,
}

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Paid => "paid",
            Outcome::Failed => "failed",
            Outcome::Returned => "returned",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub line: u64,
    /// The reference that we gave the payout (`EndToEndId`).
    pub payout: String,
    pub outcome: Outcome,
    pub amount_minor: i64,
    pub currency: Currency,
    pub bank_reference: Option<String>,
    pub reason: Option<String>,
}

impl Answer {
    /// Whether both say the same of one payout; the bank's own reference may differ, as it names the line.
    fn agrees_with(&self, other: &Answer) -> bool {
        let said = |answer: &Answer| (answer.outcome, answer.amount_minor, answer.currency);
        said(self) == said(other)
    }
}

/// All that a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// In the file's order, each payout once.
    pub answers: Vec<Answer>,
    /// Lines that said again what an earlier one had said.
    pub repeated: Vec<Repeat>,
    /// By outcome and currency, without the repeated lines.
    pub totals: Vec<Total>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    pub line: u64,
    pub first_line: u64,
    pub payout: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    pub outcome: Outcome,
    pub currency: Currency,
    pub count: u64,
    pub amount_minor: i64,
}

/// A line that cannot be used. Line 0 is the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub line: u64,
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "the file {}", self.why),
            line => write!(f, "line {line}: {}", self.why),
        }
    }
}

/// Reads a whole file.
///
/// # Errors
/// Every faulty line. A file that cannot be read on ends with the fault that stopped it.
pub fn read(file: impl Read, settings: &BankAnswers) -> Result<Answers, Vec<Fault>> {
    let bounded = Bounded::new(file, settings.bytes_max);
    let mut sheet = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bounded);
    let mut record = ByteRecord::new();
    match sheet.read_byte_record(&mut record) {
        Ok(true) => {}
        Ok(false) => return Err(vec![whole("is empty")]),
        Err(error) => return Err(vec![broken(&error, settings)]),
    }
    let columns = Columns::find(&record, settings)?;
    let mut found = Found::default();
    let mut lines = 0;
    loop {
        match sheet.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                found.faults.push(broken(&error, settings));
                break;
            }
        }
        lines += 1;
        if lines > settings.lines_max {
            let most = settings.lines_max;
            found.faults.push(whole(&format!("has more than {most} lines (`settlement.bank_answers.lines_max`)")));
            break;
        }
        let begins_at = record.position().map_or(0, csv::Position::byte);
        let line = sheet.get_mut().line_at(begins_at);
        match columns.read(&record, line, settings) {
            Ok(answer) => found.take(answer),
            Err(why) => found.faults.push(Fault { line, why }),
        }
    }
    found.finish()
}

fn whole(why: &str) -> Fault {
    Fault { line: 0, why: why.to_owned() }
}

fn broken(error: &csv::Error, settings: &BankAnswers) -> Fault {
    match error.kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let most = settings.bytes_max;
            whole(&format!("has more than {most} bytes (`settlement.bank_answers.bytes_max`)"))
        }
        _ => whole(&format!("cannot be read: {error}")),
    }
}

/// Ends with an error at a bound, where `Read::take` would end as if the file did. It also counts lines, which the CSV
/// reader counts wrong where they end with CR LF or are blank.
struct Bounded<R> {
    inner: R,
    left: usize,
    offset: u64,
    line: u64,
    after_return: bool,
    at_start: bool,
    /// Where lines that are not blank begin and which they are, as far as they are not asked for yet.
    starts: VecDeque<(u64, u64)>,
}

impl<R> Bounded<R> {
    fn new(inner: R, bytes_max: usize) -> Self {
        let starts = VecDeque::new();
        Bounded { inner, left: bytes_max, offset: 0, line: 1, after_return: false, at_start: true, starts }
    }

    fn count(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => {
                    self.line += 1;
                    self.at_start = true;
                }
                _ if self.at_start => {
                    self.starts.push_back((self.offset, self.line));
                    self.at_start = false;
                }
                _ => {}
            }
            self.after_return = *byte == b'\r';
            self.offset += 1;
        }
    }

    /// The line of a record that begins at an offset, or behind the blank lines there. Offsets must grow.
    fn line_at(&mut self, offset: u64) -> u64 {
        while self.starts.front().is_some_and(|(start, _)| *start < offset) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |(_, line)| *line)
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.left = self.left.checked_sub(count).ok_or(io::ErrorKind::FileTooLarge)?;
        self.count(&into[..count]);
        Ok(count)
    }
}

/// Where each column stands.
struct Columns {
    count: usize,
    payout: usize,
    outcome: usize,
    amount: usize,
    currency: Option<usize>,
    bank_reference: Option<usize>,
    reason: Option<usize>,
}

impl Columns {
    fn find(titles: &ByteRecord, settings: &BankAnswers) -> Result<Columns, Vec<Fault>> {
        let Ok(titles) = StringRecord::from_byte_record(titles.clone()) else {
            return Err(vec![Fault { line: 1, why: NOT_UTF8.to_owned() }]);
        };
        // A byte order mark at the front is the encoding's and no part of the first title.
        let titles: Vec<&str> = titles.iter().map(|title| title.trim_start_matches('\u{feff}').trim()).collect();
        let mut faults = Vec::new();
        let mut place = |title: &String| -> Option<usize> {
            if title.is_empty() {
                return None;
            }
            let mut places = titles.iter().enumerate().filter(|(_, is)| **is == title).map(|(place, _)| place);
            let first = places.next();
            if first.is_none() {
                faults.push(Fault { line: 1, why: format!("there is no column {title:?}") });
            }
            if places.next().is_some() {
                faults.push(Fault { line: 1, why: format!("there are two columns {title:?}") });
            }
            first
        };
        let columns = &settings.columns;
        let found = (
            place(&columns.payout),
            place(&columns.outcome),
            place(&columns.amount),
            place(&columns.currency),
            place(&columns.bank_reference),
            place(&columns.reason),
        );
        match found {
            (Some(payout), Some(outcome), Some(amount), currency, bank_reference, reason) if faults.is_empty() => {
                Ok(Columns { count: titles.len(), payout, outcome, amount, currency, bank_reference, reason })
            }
            _ => Err(faults),
        }
    }

    fn read(&self, record: &ByteRecord, line: u64, settings: &BankAnswers) -> Result<Answer, String> {
        if record.len() != self.count {
            return Err(format!("has {} cells, and the first line has {}", record.len(), self.count));
        }
        let cell = |place: usize, name: &str| -> Result<&str, String> {
            let bytes = &record[place];
            if bytes.len() > settings.field_max {
                let most = settings.field_max;
                return Err(format!("{name} has {} bytes; at most {most} are read", bytes.len()));
            }
            let text = std::str::from_utf8(bytes).map_err(|_| format!("{name} {NOT_UTF8}"))?.trim();
            if text.contains(char::is_control) {
                return Err(format!("{name} has a control character: {:?}", shown(text)));
            }
            Ok(text)
        };
        let optional = |place: Option<usize>, name: &str| -> Result<Option<String>, String> {
            let text = place.map(|place| cell(place, name)).transpose()?;
            Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
        };
        let payout = cell(self.payout, "payout")?;
        check_reference(payout).map_err(|why| format!("payout {:?} {why}", shown(payout)))?;
        let word = cell(self.outcome, "outcome")?;
        let outcome = outcome_of(word, settings).ok_or_else(|| {
            format!("outcome {:?} is none of the words in `settlement.bank_answers.outcomes`", shown(word))
        })?;
        let code = optional(self.currency, "currency")?;
        let code = match self.currency {
            Some(_) => code.unwrap_or_default(),
            None => settings.currency.clone(),
        };
        let currency = Currency::parse(&code).ok_or_else(|| format!("currency {:?} is unknown", shown(&code)))?;
        let amount = cell(self.amount, "amount")?;
        let amount_minor =
            parse_minor(amount, currency).map_err(|why| format!("amount {:?} {why} ({currency})", shown(amount)))?;
        let bank_reference = optional(self.bank_reference, "bank_reference")?;
        let reason = optional(self.reason, "reason")?;
        Ok(Answer { line, payout: payout.to_owned(), outcome, amount_minor, currency, bank_reference, reason })
    }
}

const NOT_UTF8: &str = "is not UTF-8: save the file as \"CSV UTF-8\"";

fn outcome_of(word: &str, settings: &BankAnswers) -> Option<Outcome> {
    let words = &settings.outcomes;
    let of = [(Outcome::Paid, &words.paid), (Outcome::Failed, &words.failed), (Outcome::Returned, &words.returned)];
    of.into_iter().find(|(_, words)| words.iter().any(|known| known == word)).map(|(outcome, _)| outcome)
}

#[derive(Default)]
struct Found {
    answers: Vec<Answer>,
    /// By payout, its place among the answers.
    places: HashMap<String, usize>,
    repeated: Vec<Repeat>,
    faults: Vec<Fault>,
}

impl Found {
    fn take(&mut self, answer: Answer) {
        let Some(first) = self.places.get(&answer.payout).map(|place| &self.answers[*place]) else {
            self.places.insert(answer.payout.clone(), self.answers.len());
            self.answers.push(answer);
            return;
        };
        if answer.agrees_with(first) {
            self.repeated.push(Repeat { line: answer.line, first_line: first.line, payout: answer.payout });
            return;
        }
        let why = format!(
            "payout {} is {} with another outcome or amount than in line {}, where it is {}",
            answer.payout,
            answer.outcome.name(),
            first.line,
            first.outcome.name()
        );
        self.faults.push(Fault { line: answer.line, why });
    }

    fn finish(mut self) -> Result<Answers, Vec<Fault>> {
        let totals = match totals(&self.answers) {
            Ok(totals) => totals,
            Err(fault) => {
                self.faults.push(fault);
                Vec::new()
            }
        };
        if self.faults.is_empty() && self.answers.is_empty() {
            self.faults.push(whole("names no payout"));
        }
        if self.faults.is_empty() {
            Ok(Answers { answers: self.answers, repeated: self.repeated, totals })
        } else {
            Err(self.faults)
        }
    }
}

fn totals(answers: &[Answer]) -> Result<Vec<Total>, Fault> {
    let mut sums: BTreeMap<(Outcome, &str), Total> = BTreeMap::new();
    for Answer { line, outcome, currency, amount_minor, .. } in answers {
        let nothing = Total { outcome: *outcome, currency: *currency, count: 0, amount_minor: 0 };
        let total = sums.entry((*outcome, currency.code())).or_insert(nothing);
        total.count += 1;
        let sum = total.amount_minor.checked_add(*amount_minor);
        total.amount_minor = sum.ok_or_else(|| Fault { line: *line, why: "makes a sum too large".to_owned() })?;
    }
    Ok(sums.into_values().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    const TITLES: &str = "payout,outcome,amount,bank_reference,reason\n";

    fn settings() -> BankAnswers {
        Config::load(&[]).expect("the defaults").settlement.bank_answers
    }

    fn faults(text: &str, settings: &BankAnswers) -> Vec<String> {
        read(text.as_bytes(), settings).expect_err("faults").iter().map(Fault::to_string).collect()
    }

    fn total(outcome: Outcome, code: &str, count: u64, amount_minor: i64) -> Total {
        Total { outcome, currency: Currency::parse(code).expect("a currency"), count, amount_minor }
    }

    #[test]
    fn a_file_without_a_fault_is_read_with_its_totals() {
        let text = format!(
            "\u{feff}{TITLES}po-1,成功,120.83,B-1,\npo-2,failed,85.83,,\"户名不符, 请核对\"\r\npo-3, paid ,0.01,B-3,\npo-4,退票,5,,账户已销户\n"
        );
        let read = read(text.as_bytes(), &settings()).expect("no fault");
        assert_eq!(
            read.totals,
            [
                total(Outcome::Paid, "CNY", 2, 12_084),
                total(Outcome::Failed, "CNY", 1, 8_583),
                total(Outcome::Returned, "CNY", 1, 500)
            ]
        );
        assert_eq!(read.answers.iter().map(|answer| answer.line).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!(read.answers[0].bank_reference.as_deref(), Some("B-1"));
        assert_eq!(read.answers[0].reason, None);
        assert_eq!(read.answers[1].reason.as_deref(), Some("户名不符, 请核对"));
        assert_eq!(read.repeated, []);
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!(
                "\u{feff}payout,outcome,amount,bank_reference,reason{end}po-1,paid,1.00,,{end}{end}{end}po-2,paid,1.00,,\"two{end}lines\"{end}po-3,paid,1.00,,{end}po-4,paid,1.00,,"
            );
            let said = faults(&text, &settings());
            assert_eq!(
                said,
                ["line 5: reason has a control character: \"two".to_owned()
                    + &end.escape_debug().to_string()
                    + "lines\""]
            );
            let text = text.replace(&format!("two{end}lines"), "one line");
            let read = read(text.as_bytes(), &settings()).expect("no fault");
            assert_eq!(read.answers.iter().map(|answer| answer.line).collect::<Vec<_>>(), [2, 5, 6, 7], "{end:?}");
        }
        let many: String = (0..5_000).map(|number| format!("po-{number},paid,1.00,,\r\n")).collect();
        let read = read(format!("{TITLES}{many}").as_bytes(), &settings()).expect("no fault");
        assert!(read.answers.iter().zip(2..).all(|(answer, line)| answer.line == line));
    }

    #[test]
    fn columns_are_found_by_their_titles() {
        let mut settings = settings();
        settings.columns.payout = "业务参考号".to_owned();
        settings.columns.currency = "币种".to_owned();
        settings.columns.bank_reference = String::new();
        settings.columns.reason = String::new();
        let text = "序号,币种,outcome,业务参考号,amount\n1,JPY,paid,po-1,7\n2,BHD,paid,po-2,1.001\n";
        let read = read(text.as_bytes(), &settings).expect("no fault");
        assert_eq!(read.totals, [total(Outcome::Paid, "BHD", 1, 1_001), total(Outcome::Paid, "JPY", 1, 7)]);
        assert_eq!(
            faults("序号,outcome,amount,outcome\n", &settings),
            [
                "line 1: there is no column \"业务参考号\"",
                "line 1: there are two columns \"outcome\"",
                "line 1: there is no column \"币种\""
            ]
        );
    }

    #[test]
    fn every_faulty_line_is_told() {
        let text = format!(
            "{TITLES}po-1,paid,1.00,,\n=cmd,paid,1.00,,\npo-3,maybe,1.00,,\npo-4,paid,1.001,,\npo-5,paid,-1,,\npo-6,paid\n\
             po-7,paid,\"1,000.00\",,\npo-8,paid,0.00,,\npo-9,paid,1.00,{},\npo-10,paid,1.00,a\u{1}b,\n",
            "x".repeat(513)
        );
        assert_eq!(
            faults(&text, &settings()),
            [
                "line 3: payout \"=cmd\" must be 1 to 35 of 0-9, A-Z, a-z and -, and not begin with -",
                "line 4: outcome \"maybe\" is none of the words in `settlement.bank_answers.outcomes`",
                "line 5: amount \"1.001\" has more decimals than its currency (CNY)",
                "line 6: amount \"-1\" must be plain decimal digits such as \"200.00\", without sign, exponent or blanks (CNY)",
                "line 7: has 2 cells, and the first line has 5",
                "line 8: amount \"1,000.00\" must be plain decimal digits such as \"200.00\", without sign, exponent or blanks (CNY)",
                "line 9: amount \"0.00\" must be more than zero (CNY)",
                "line 10: bank_reference has 513 bytes; at most 512 are read",
                "line 11: bank_reference has a control character: \"a\\u{1}b\"",
            ]
        );
    }

    #[test]
    fn a_file_that_is_not_utf_8_says_so() {
        let mut bytes = TITLES.as_bytes().to_vec();
        // 成功 in GBK.
        bytes.extend_from_slice(b"po-1,\xb3\xc9\xb9\xa6,1.00,,\n");
        let faults = read(bytes.as_slice(), &settings()).expect_err("a fault");
        assert_eq!(faults[0].to_string(), "line 2: outcome is not UTF-8: save the file as \"CSV UTF-8\"");
    }

    #[test]
    fn a_payout_named_twice_is_told_once_and_refused_when_it_differs() {
        let same = format!("{TITLES}po-1,paid,1.00,B-1,\npo-2,failed,2.00,,\npo-1,paid,1.00,B-1,\n");
        let read = read(same.as_bytes(), &settings()).expect("no fault");
        assert_eq!(read.repeated, [Repeat { line: 4, first_line: 2, payout: "po-1".to_owned() }]);
        assert_eq!(read.answers.len(), 2);
        assert_eq!(read.totals[0], total(Outcome::Paid, "CNY", 1, 100));
        for (line, outcome) in [("po-1,failed,1.00,,", "failed"), ("po-1,paid,1.01,,", "paid")] {
            let text = format!("{TITLES}po-1,paid,1.00,,\n{line}\n");
            assert_eq!(
                faults(&text, &settings()),
                [format!(
                    "line 3: payout po-1 is {outcome} with another outcome or amount than in line 2, where it is paid"
                )]
            );
        }
    }

    #[test]
    fn a_file_past_its_bounds_is_refused() {
        let mut settings = settings();
        settings.lines_max = 2;
        let text = format!("{TITLES}po-1,paid,1.00,,\npo-2,paid,1.00,,\n");
        assert!(read(text.as_bytes(), &settings).is_ok());
        let more = format!("{text}po-3,paid,1.00,,\npo-4,paid,1.00,,\n");
        assert_eq!(faults(&more, &settings), ["the file has more than 2 lines (`settlement.bank_answers.lines_max`)"]);
        settings.bytes_max = text.len();
        assert!(read(text.as_bytes(), &settings).is_ok());
        settings.bytes_max = text.len() - 1;
        let most = settings.bytes_max;
        assert_eq!(
            faults(&text, &settings),
            [format!("the file has more than {most} bytes (`settlement.bank_answers.bytes_max`)")]
        );
        // A quote that never ends makes one cell of all that follows.
        let endless = format!("{TITLES}po-1,paid,1.00,\"{}", "a,\n".repeat(1_000));
        settings.bytes_max = 1 << 20;
        assert!(faults(&endless, &settings)[0].starts_with("line 2: "));
        assert_eq!(faults("", &settings), ["the file is empty"]);
        assert_eq!(faults(TITLES, &settings), ["the file names no payout"]);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let settings = settings();
            let _ = read(bytes.as_slice(), &settings);
            let mut behind = TITLES.as_bytes().to_vec();
            behind.extend_from_slice(&bytes);
            if let Ok(read) = read(behind.as_slice(), &settings) {
                let sum: u64 = read.totals.iter().map(|total| total.count).sum();
                prop_assert_eq!(sum, read.answers.len() as u64);
            }
        }
    }
}
