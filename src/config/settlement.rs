//! Files of payouts: which columns a bank's own sheet has, and how its answers read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::ConfigError;
use crate::domain::bank::BankName;
use crate::domain::bank_details::{AccountNumber, Agent, BankAccount, BankDetails, Cnaps};
use crate::domain::calendar::Schedule;
use crate::domain::money::{Currency, parse_minor};

/// Characters of a column's title, and of a word for an outcome.
const TITLE_MAX: usize = 64;
const DAY_MS: i64 = 86_400_000;
const LINES_MAX: usize = 1_000_000;
const BYTES_MAX: usize = 1 << 30;
const FIELD_MAX: usize = 4_096;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    pub schedule: Schedule,
    pub close_after_ms: i64,
    pub look_ms: u64,
    /// In major units, by currency.
    pub payout_min: BTreeMap<String, String>,
    pub payouts_permitted: bool,
    /// Our own accounts, by the names that the ledger has for them.
    pub banks: BTreeMap<String, BankDetails>,
    pub payout_csv: PayoutCsv,
    pub bank_answers: BankAnswers,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayoutCsv {
    pub columns: Vec<PayoutColumn>,
    pub titles: PayoutTitles,
    pub byte_order_mark: bool,
}

/// What a column of a payout file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayoutColumn {
    /// Our reference, which the bank's answer must name again.
    Payout,
    /// The holder of the payee's account.
    Name,
    Account,
    /// The name of the payee's bank.
    Bank,
    /// Its BIC or CNAPS number.
    BankCode,
    Amount,
    Currency,
    Remark,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayoutTitles {
    pub payout: String,
    pub name: String,
    pub account: String,
    pub bank: String,
    pub bank_code: String,
    pub amount: String,
    pub currency: String,
    pub remark: String,
}

impl PayoutTitles {
    pub fn of(&self, column: PayoutColumn) -> &str {
        match column {
            PayoutColumn::Payout => &self.payout,
            PayoutColumn::Name => &self.name,
            PayoutColumn::Account => &self.account,
            PayoutColumn::Bank => &self.bank,
            PayoutColumn::BankCode => &self.bank_code,
            PayoutColumn::Amount => &self.amount,
            PayoutColumn::Currency => &self.currency,
            PayoutColumn::Remark => &self.remark,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankAnswers {
    pub columns: AnswerColumns,
    pub outcomes: OutcomeWords,
    /// Of amounts in a file without a column for it.
    pub currency: String,
    pub bytes_max: usize,
    pub lines_max: usize,
    pub field_max: usize,
}

/// The titles of the columns. Those that may be empty are then not looked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerColumns {
    pub payout: String,
    pub outcome: String,
    pub amount: String,
    /// May be empty.
    pub currency: String,
    /// May be empty.
    pub bank_reference: String,
    /// May be empty.
    pub reason: String,
}

/// A bank's words for what became of a payout.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeWords {
    pub paid: Vec<String>,
    pub failed: Vec<String>,
    pub returned: Vec<String>,
}

/// Whether money is real.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Sandbox,
    Production,
}

/// True numbers in form, of nobody.
fn sandbox_bank() -> Option<BankDetails> {
    let account = BankAccount::Number(AccountNumber::parse("6222021001116245702").ok()?);
    let agent = Agent::Cnaps(Cnaps::parse("102100099996").ok()?);
    BankDetails::new("Tongbao Sandbox", account, agent, "中国工商银行").ok()
}

fn refuse<T>(key: &str, why: &str) -> Result<T, ConfigError> {
    Err(ConfigError(format!("`settlement.{key}` {why}")))
}

fn is_title(title: &str) -> bool {
    (1..=TITLE_MAX).contains(&title.chars().count()) && !title.contains(char::is_control) && title.trim() == title
}

/// A sheet reads a cell that begins so as a formula.
pub fn begins_formula(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

impl Settlement {
    /// Less is not paid out.
    pub fn payout_min_minor(&self, currency: Currency) -> i64 {
        let amount = self.payout_min.get(currency.code()).and_then(|amount| parse_minor(amount, currency).ok());
        amount.unwrap_or(1)
    }

    /// An account of ours; in the sandbox `main` is made up where it is missing.
    pub fn bank(&self, name: &BankName, mode: Mode) -> Option<BankDetails> {
        let known = self.banks.get(name.as_str()).cloned();
        match mode {
            Mode::Sandbox if *name == BankName::main() => known.or_else(sandbox_bank),
            Mode::Sandbox | Mode::Production => known,
        }
    }

    fn check_cycles(&self) -> Result<(), ConfigError> {
        if !(0..=DAY_MS).contains(&self.close_after_ms) {
            return refuse("close_after_ms", "must be 0 to 86400000");
        }
        if !(10..=3_600_000).contains(&self.look_ms) {
            return refuse("look_ms", "must be 10 to 3600000");
        }
        for (code, amount) in &self.payout_min {
            let currency = Currency::parse(code);
            if currency.is_none_or(|currency| parse_minor(amount, currency).is_err()) {
                return refuse(
                    &format!("payout_min.{code}"),
                    "must be an amount of a currency, such as CNY = \"50.00\"",
                );
            }
        }
        match self.banks.keys().find(|name| BankName::parse(name).is_none()) {
            Some(name) => refuse(&format!("banks.{name}"), "must be named by 1 to 64 of 0-9, a-z and -"),
            None => Ok(()),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.check_cycles()?;
        self.payout_csv.check()?;
        self.bank_answers.check()
    }
}

impl PayoutCsv {
    fn check(&self) -> Result<(), ConfigError> {
        let columns: BTreeSet<PayoutColumn> = self.columns.iter().copied().collect();
        if columns.len() != self.columns.len() {
            return refuse("payout_csv.columns", "names a column twice");
        }
        // Without them the bank does not know whom to pay what, and its answer could not be told from another's.
        let needed = [PayoutColumn::Payout, PayoutColumn::Name, PayoutColumn::Account, PayoutColumn::Amount];
        if !needed.iter().all(|column| columns.contains(column)) {
            return refuse("payout_csv.columns", "must have payout, name, account and amount");
        }
        let titles: BTreeSet<&str> = self.columns.iter().map(|column| self.titles.of(*column)).collect();
        if titles.len() != self.columns.len() {
            return refuse("payout_csv.titles", "gives two columns the same title");
        }
        if !titles.iter().all(|title| is_title(title) && !begins_formula(title)) {
            return refuse(
                "payout_csv.titles",
                "must each be 1 to 64 characters without blanks at the ends, and begin no formula",
            );
        }
        Ok(())
    }
}

impl BankAnswers {
    fn check(&self) -> Result<(), ConfigError> {
        let AnswerColumns { payout, outcome, amount, currency, bank_reference, reason } = &self.columns;
        if [payout, outcome, amount].iter().any(|title| title.is_empty()) {
            return refuse("bank_answers.columns", "must have titles of payout, outcome and amount");
        }
        let titles: Vec<&String> = [payout, outcome, amount, currency, bank_reference, reason]
            .into_iter()
            .filter(|title| !title.is_empty())
            .collect();
        if !titles.iter().all(|title| is_title(title)) {
            return refuse("bank_answers.columns", "must be titles of 1 to 64 characters without blanks at the ends");
        }
        if titles.iter().collect::<BTreeSet<_>>().len() != titles.len() {
            return refuse("bank_answers.columns", "gives two columns the same title");
        }
        let OutcomeWords { paid, failed, returned } = &self.outcomes;
        let mut known = BTreeMap::new();
        for (outcome, words) in [("paid", paid), ("failed", failed), ("returned", returned)] {
            if words.is_empty() || !words.iter().all(|word| is_title(word)) {
                return refuse("bank_answers.outcomes", "must hold words of 1 to 64 characters for each outcome");
            }
            for word in words {
                if known.insert(word, outcome).is_some() {
                    return refuse("bank_answers.outcomes", "uses one word twice");
                }
            }
        }
        if Currency::parse(&self.currency).is_none() {
            return refuse("bank_answers.currency", "must be an ISO 4217 code such as CNY");
        }
        for (key, value, most) in [
            ("bank_answers.bytes_max", self.bytes_max, BYTES_MAX),
            ("bank_answers.lines_max", self.lines_max, LINES_MAX),
            ("bank_answers.field_max", self.field_max, FIELD_MAX),
        ] {
            if !(1..=most).contains(&value) {
                return refuse(key, &format!("must be 1 to {most}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_no_bank_could_read_is_refused_by_its_key() {
        type Change = fn(&mut Settlement);
        let table: [(&str, Change); 16] = [
            ("payout_csv.columns", |it| it.payout_csv.columns.push(PayoutColumn::Name)),
            ("payout_csv.columns", |it| it.payout_csv.columns.retain(|column| *column != PayoutColumn::Payout)),
            ("payout_csv.columns", |it| it.payout_csv.columns.clear()),
            ("payout_csv.titles", |it| it.payout_csv.titles.name = it.payout_csv.titles.account.clone()),
            ("payout_csv.titles", |it| it.payout_csv.titles.name = "=name".to_owned()),
            ("payout_csv.titles", |it| it.payout_csv.titles.name = String::new()),
            ("bank_answers.columns", |it| it.bank_answers.columns.outcome = String::new()),
            ("bank_answers.columns", |it| it.bank_answers.columns.reason = "payout".to_owned()),
            ("bank_answers.columns", |it| it.bank_answers.columns.reason = " reason".to_owned()),
            ("bank_answers.outcomes", |it| it.bank_answers.outcomes.failed.clear()),
            ("bank_answers.outcomes", |it| it.bank_answers.outcomes.failed.push("paid".to_owned())),
            ("bank_answers.currency", |it| it.bank_answers.currency = "RMB".to_owned()),
            ("bank_answers.bytes_max", |it| it.bank_answers.bytes_max = 0),
            ("bank_answers.lines_max", |it| it.bank_answers.lines_max = LINES_MAX + 1),
            ("bank_answers.field_max", |it| it.bank_answers.field_max = 0),
            ("bank_answers.outcomes", |it| it.bank_answers.outcomes.paid.push("paid ".to_owned())),
        ];
        let defaults = Config::load(&[]).expect("the defaults").settlement;
        for (key, change) in table {
            let mut settlement = defaults.clone();
            change(&mut settlement);
            let said = settlement.check().expect_err(key).to_string();
            assert!(said.starts_with(&format!("configuration: `settlement.{key}` ")), "{said}");
        }
    }
}
