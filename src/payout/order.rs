//! What a bank is told to pay, whichever form the file has.

use std::collections::HashSet;
use std::fmt;

use crate::domain::bank_details::{BankDetails, check_text};
use crate::domain::money::Currency;

/// Characters of a reference, as ISO 20022 bounds them.
pub const REFERENCE_MAX: usize = 35;
/// Characters of a remittance text, as ISO 20022 bounds them.
pub const REMITTANCE_MAX: usize = 140;
/// How much of a refused value an error shows.
const SHOWN_MAX: usize = 60;

/// One payment to a payee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Our name of it, which the payee's bank gets too and the answer names. See [`check_reference`].
    pub end_to_end_id: String,
    pub amount_minor: i64,
    pub currency: Currency,
    pub payee: BankDetails,
    pub remittance: String,
}

/// What in a file cannot be written, and by which bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// By its path in the file, such as `PmtInf[1]/CdtTrfTxInf[2]/RmtInf/Ustrd`. Counted from 1.
    pub field: String,
    /// Cut to what an operator can read; never an account.
    pub value: String,
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} {}", self.field, self.value, self.why)
    }
}

impl std::error::Error for Refused {}

#[derive(Debug)]
pub enum WriteError {
    /// Nothing was written.
    Refused(Refused),
    Io(std::io::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Refused(refused) => refused.fmt(f),
            WriteError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<Refused> for WriteError {
    fn from(refused: Refused) -> Self {
        WriteError::Refused(refused)
    }
}

impl From<std::io::Error> for WriteError {
    fn from(error: std::io::Error) -> Self {
        WriteError::Io(error)
    }
}

pub(super) fn refused<T>(field: String, value: &str, why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { field, value: shown(value), why: why.into() })
}

/// The beginning of a value that came from outside.
pub(super) fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_MAX) {
        None => value.to_owned(),
        Some((end, _)) => format!("{}…", &value[..end]),
    }
}

/// References travel through systems that know little but ASCII: 1 to 35 of `0-9 A-Z a-z -`, beginning with a letter or
/// a digit. The set of SEPA is wider, but its slashes are signs to some banks and its quotes to sheets.
pub fn check_reference(text: &str) -> Result<(), &'static str> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !(1..=REFERENCE_MAX).contains(&text.len()) || !is_plain || text.starts_with('-') {
        return Err("must be 1 to 35 of 0-9, A-Z, a-z and -, and not begin with -");
    }
    Ok(())
}

/// `path` is where the transfer stands, and ends the names of its fields.
fn check_transfer(transfer: &Transfer, path: &str) -> Result<(), Refused> {
    let Transfer { end_to_end_id, amount_minor, currency, payee: _, remittance } = transfer;
    if let Err(why) = check_reference(end_to_end_id) {
        return refused(format!("{path}/PmtId/EndToEndId"), end_to_end_id, why);
    }
    if !currency.can_be(*amount_minor) {
        let why = format!("must be 1 to {} minor units of {currency}", currency.max_minor());
        return refused(format!("{path}/Amt/InstdAmt"), &amount_minor.to_string(), why);
    }
    match check_text(remittance, REMITTANCE_MAX) {
        Ok(()) => Ok(()),
        Err(error) => refused(format!("{path}/RmtInf/Ustrd"), remittance, error.to_string()),
    }
}

/// Checks transfers one by one, and that none is there twice.
#[derive(Default)]
pub(super) struct Checked<'a> {
    seen: HashSet<&'a str>,
}

impl<'a> Checked<'a> {
    pub fn check(&mut self, transfer: &'a Transfer, path: &str) -> Result<(), Refused> {
        check_transfer(transfer, path)?;
        if self.seen.insert(&transfer.end_to_end_id) {
            return Ok(());
        }
        refused(
            format!("{path}/PmtId/EndToEndId"),
            &transfer.end_to_end_id,
            "is in this file already: it would be paid twice",
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::bank_details::{AccountNumber, Agent, BankAccount, Bic, Cnaps, Iban};

    pub fn chinese(holder: &str) -> BankDetails {
        let account = BankAccount::Number(AccountNumber::parse("6222021001116245702").expect("a number"));
        let agent = Agent::Cnaps(Cnaps::parse("102100099996").expect("a CNAPS number"));
        BankDetails::new(holder, account, agent, "中国工商银行").expect("details")
    }

    pub fn german(holder: &str) -> BankDetails {
        let account = BankAccount::Iban(Iban::parse("DE89370400440532013000").expect("an IBAN"));
        let agent = Agent::Bic(Bic::parse("COBADEFFXXX").expect("a BIC"));
        BankDetails::new(holder, account, agent, "Commerzbank").expect("details")
    }

    pub fn transfer(end_to_end_id: &str, amount_minor: i64, currency: &str, payee: BankDetails) -> Transfer {
        Transfer {
            end_to_end_id: end_to_end_id.to_owned(),
            amount_minor,
            currency: Currency::parse(currency).expect("a currency"),
            payee,
            remittance: "2026-12 结算款".to_owned(),
        }
    }

    #[test]
    fn references_are_plain() {
        for text in ["po-1", "0", &"A".repeat(35)] {
            assert_eq!(check_reference(text), Ok(()), "{text}");
        }
        for text in ["", "-1", "a/b", "a b", "结算", "=1", "+1", "@x", "a\u{0}", &"A".repeat(36)] {
            assert!(check_reference(text).is_err(), "{text}");
        }
    }
}
