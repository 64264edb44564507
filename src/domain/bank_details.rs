//! Where a payee is paid: whose account it is, its number, and the bank that keeps it.
//!
//! All is checked when it is given, so that no file of payouts fails by it later. What shows an account shows its last
//! four characters only; the whole number stands in the stored form and in the file for the bank.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Characters of a name, as ISO 20022 bounds those of parties and banks.
pub const NAME_MAX: usize = 140;
/// Of an account that is no IBAN, as ISO 20022 bounds it; banks of China use up to 32 digits.
const NUMBER_LENGTH: std::ops::RangeInclusive<usize> = 6..=34;
const CNAPS_LENGTH: usize = 12;
/// Characters of an account that may be shown.
const SHOWN: usize = 4;
/// What a text may hold besides letters and digits of any script: what payment systems carry unchanged, and what Chinese
/// names of companies and branches are written with. Banks cut or refuse the rest.
const PUNCTUATION: &str = " /-?:().,'+&（）·、，。：《》“”—";

/// How a payee is paid. The texts have passed [`check_text`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct BankDetails {
    account: BankAccount,
    agent: Agent,
    bank_name: String,
    holder: String,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BankAccount {
    Iban(Iban),
    /// Where there are no IBANs, as in China and the United States.
    Number(AccountNumber),
}

/// The bank that keeps the account, by the name that its payment system has for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    Bic(Bic),
    Cnaps(Cnaps),
}

/// In electronic form: `DE89370400440532013000`.
#[derive(Clone, PartialEq, Eq)]
pub struct Iban(String);

/// 6 to 34 of `0-9 A-Z a-z -`.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountNumber(String);

/// ISO 9362, of 8 or 11 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Bic(String);

/// 联行号, the twelve digits of a branch in China's payment systems. The last one checks the others.
#[derive(Clone, PartialEq, Eq)]
pub struct Cnaps(String);

/// Which field was refused, and why. It never quotes an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BankDetailsError {
    pub field: &'static str,
    pub why: String,
}

impl fmt::Display for BankDetailsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.why)
    }
}

impl std::error::Error for BankDetailsError {}

fn refused<T>(field: &'static str, why: impl Into<String>) -> Result<T, BankDetailsError> {
    Err(BankDetailsError { field, why: why.into() })
}

/// Why a text cannot be given to a bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextError {
    Empty,
    TooLong {
        characters: usize,
        max: usize,
    },
    /// A blank at an end, which banks cut off.
    Blank,
    Character(char),
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Empty => write!(f, "is empty"),
            TextError::TooLong { characters, max } => write!(f, "has {characters} characters; at most {max} fit"),
            TextError::Blank => write!(f, "begins or ends with a blank"),
            TextError::Character(character) => {
                write!(f, "has {character:?}; letters, digits and {} are taken", PUNCTUATION.trim_start())
            }
        }
    }
}

/// Whether banks take a text as it is: 1 to `max` letters and digits of any script, blanks within, and punctuation that
/// payment systems carry. Control characters, line ends and symbols are refused, never replaced: a holder's name must
/// arrive as the bank knows it.
pub fn check_text(text: &str, max: usize) -> Result<(), TextError> {
    let characters = text.chars().count();
    if characters == 0 {
        return Err(TextError::Empty);
    }
    if characters > max {
        return Err(TextError::TooLong { characters, max });
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(TextError::Blank);
    }
    match text.chars().find(|character| !character.is_alphanumeric() && !PUNCTUATION.contains(*character)) {
        Some(character) => Err(TextError::Character(character)),
        None => Ok(()),
    }
}

impl BankDetails {
    pub fn new(
        holder: &str,
        account: BankAccount,
        agent: Agent,
        bank_name: &str,
    ) -> Result<BankDetails, BankDetailsError> {
        for (field, text) in [("holder", holder), ("bank_name", bank_name)] {
            if let Err(error) = check_text(text, NAME_MAX) {
                return refused(field, error.to_string());
            }
        }
        Ok(BankDetails { account, agent, bank_name: bank_name.to_owned(), holder: holder.to_owned() })
    }

    pub fn holder(&self) -> &str {
        &self.holder
    }

    pub const fn account(&self) -> &BankAccount {
        &self.account
    }

    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    pub fn bank_name(&self) -> &str {
        &self.bank_name
    }
}

/// As they are stored, before they are believed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    account: BankAccount,
    agent: Agent,
    bank_name: String,
    holder: String,
}

impl TryFrom<Unchecked> for BankDetails {
    type Error = BankDetailsError;

    fn try_from(unchecked: Unchecked) -> Result<Self, BankDetailsError> {
        let Unchecked { account, agent, bank_name, holder } = unchecked;
        BankDetails::new(&holder, account, agent, &bank_name)
    }
}

/// The holder's name is left out as well: it tells of a person.
impl fmt::Display for BankDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ({})", self.account, self.agent, self.bank_name)
    }
}

impl fmt::Debug for BankDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BankDetails({self})")
    }
}

impl BankAccount {
    /// The whole number, for the bank and the store.
    pub fn expose(&self) -> &str {
        match self {
            BankAccount::Iban(iban) => &iban.0,
            BankAccount::Number(number) => &number.0,
        }
    }
}

impl fmt::Display for BankAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ASCII, and longer than what is shown.
        let number = self.expose();
        write!(f, "****{}", &number[number.len() - SHOWN..])
    }
}

impl fmt::Debug for BankAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Agent {
    pub fn code(&self) -> &str {
        match self {
            Agent::Bic(bic) => &bic.0,
            Agent::Cnaps(cnaps) => &cnaps.0,
        }
    }
}

impl Iban {
    /// Checks country, length, structure and check digits.
    pub fn parse(text: &str) -> Result<Self, BankDetailsError> {
        match text.parse::<iban::Iban>() {
            // The library reads the form with blanks too; one account has one text here.
            Ok(known) if iban::IbanLike::electronic_str(&known) == text => Ok(Iban(text.to_owned())),
            Ok(_) => refused("account.iban", "must be written without blanks, in capitals"),
            Err(iban::ParseIbanError::UnknownCountry { .. }) => {
                refused("account.iban", "is of a country that has no IBANs")
            }
            Err(iban::ParseIbanError::InvalidBban { .. }) => {
                refused("account.iban", "has not the length and form of its country's IBANs")
            }
            Err(iban::ParseIbanError::InvalidBaseIban { source }) => {
                refused("account.iban", format!("is no IBAN: {source}"))
            }
        }
    }
}

impl AccountNumber {
    pub fn parse(text: &str) -> Result<Self, BankDetailsError> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        // A hyphen at the front would be a formula in a sheet.
        if !NUMBER_LENGTH.contains(&text.len()) || !is_plain || text.starts_with('-') || text.ends_with('-') {
            return refused("account.number", "must be 6 to 34 of 0-9, A-Z, a-z and - within");
        }
        Ok(AccountNumber(text.to_owned()))
    }
}

impl Bic {
    pub fn parse(text: &str) -> Result<Self, BankDetailsError> {
        let is_form = |(at, byte): (usize, u8)| match at {
            4 | 5 => byte.is_ascii_uppercase(),
            _ => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        };
        if !matches!(text.len(), 8 | 11) || !text.bytes().enumerate().all(is_form) {
            return refused("agent.bic", "must be 8 or 11 of 0-9 and A-Z, with a country in the fifth and sixth place");
        }
        Ok(Bic(text.to_owned()))
    }
}

impl Cnaps {
    /// Three digits of the bank, four of the place, four of the branch, and one that makes the number pass
    /// ISO 7064 MOD 11,10 (GB/T 17710).
    pub fn parse(text: &str) -> Result<Self, BankDetailsError> {
        if text.len() != CNAPS_LENGTH || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return refused("agent.cnaps", "must be 12 digits");
        }
        let (front, check) = text.as_bytes().split_at(CNAPS_LENGTH - 1);
        let product = front.iter().fold(10, |product, digit| {
            let sum = match (product + u32::from(digit - b'0')) % 10 {
                0 => 10,
                sum => sum,
            };
            sum * 2 % 11
        });
        if (product + u32::from(check[0] - b'0')) % 10 != 1 {
            return refused("agent.cnaps", "has a wrong check digit: one of its digits is mistyped");
        }
        Ok(Cnaps(text.to_owned()))
    }
}

macro_rules! stored_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $name::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

stored_as_text!(Iban, AccountNumber, Bic, Cnaps);

macro_rules! shown_masked {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "****{}", &self.0[self.0.len() - SHOWN..])
            }
        }
    )*};
}

shown_masked!(Iban, AccountNumber);

macro_rules! shown_whole {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

// A bank's own name is no secret.
shown_whole!(Bic, Cnaps);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::canonical;

    /// The example of Germany in the IBAN registry of ISO 13616.
    const GERMAN: &str = "DE89370400440532013000";

    fn chinese() -> BankDetails {
        let account = BankAccount::Number(AccountNumber::parse("6222021001116245702").expect("a number"));
        let agent = Agent::Cnaps(Cnaps::parse("102100099996").expect("a CNAPS number"));
        BankDetails::new("北京知识平台科技有限公司（朝阳）", account, agent, "中国工商银行").expect("details")
    }

    fn german() -> BankDetails {
        let account = BankAccount::Iban(Iban::parse(GERMAN).expect("an IBAN"));
        let agent = Agent::Bic(Bic::parse("COBADEFFXXX").expect("a BIC"));
        BankDetails::new("Müller & Söhne GmbH", account, agent, "Commerzbank").expect("details")
    }

    #[test]
    fn ibans_of_the_registry_pass_and_damaged_ones_do_not() {
        // Examples of the IBAN registry of ISO 13616 (SWIFT, release 99).
        for text in [
            GERMAN,
            "GB29NWBK60161331926819",
            "FR1420041010050500013M02606",
            "NL91ABNA0417164300",
            "CH9300762011623852957",
            "NO9386011117947",
            "AE070331234567890123456",
            "BR1800360305000010009795493C1",
        ] {
            assert!(Iban::parse(text).is_ok(), "{text}");
            let swapped: String = [&text[..2], &text[3..4], &text[2..3], &text[4..]].concat();
            assert!(swapped == text || Iban::parse(&swapped).is_err(), "{swapped}");
            assert!(Iban::parse(&text[..text.len() - 1]).is_err(), "{text} cut");
        }
        for text in ["", "DE", "DE89 3704 0044 0532 0130 00", "de89370400440532013000", "DE89370400440532013001", "CN"]
        {
            assert!(Iban::parse(text).is_err(), "{text}");
        }
        // Right by its digits, and of a country without IBANs; too long by one, whatever its digits.
        assert!(Iban::parse("ZZ89370400440532013000").is_err());
        assert!(Iban::parse("DE893704004405320130000").is_err());
    }

    #[test]
    fn every_published_cnaps_number_passes_and_no_neighbour_does() {
        // Numbers of head offices and clearing centres, as banks publish them; the check digit by ISO 7064 MOD 11,10:
        // bbs.chinaunix.net/thread-3729478-1-1.html.
        for text in [
            "102100099996",
            "103100000026",
            "104100000004",
            "105100000017",
            "301290000007",
            "302100011000",
            "303100000006",
            "304521041448",
            "305100000013",
            "306581000003",
            "307584007998",
            "308584000013",
            "309391000011",
            "310290000013",
            "313121006888",
            "313333007331",
            "403100000004",
        ] {
            assert!(Cnaps::parse(text).is_ok(), "{text}");
            for place in 0..text.len() {
                let mut digits = text.as_bytes().to_vec();
                digits[place] = b'0' + (digits[place] - b'0' + 1) % 10;
                let mistyped = String::from_utf8(digits).expect("digits");
                assert!(Cnaps::parse(&mistyped).is_err(), "{mistyped}");
            }
        }
        for text in ["", "10210009999", "1021000999960", "10210009999X", "１０２１０００９９９９６"] {
            assert!(Cnaps::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bic_has_the_form_of_iso_9362() {
        // Published by ICBC, Deutsche Bank and JPMorgan Chase.
        for text in ["ICBKCNBJ", "ICBKCNBJXXX", "DEUTDEFF", "DEUTDEFF500", "CHASUS33"] {
            assert!(Bic::parse(text).is_ok(), "{text}");
        }
        for text in ["", "ICBKCNB", "ICBKCNBJX", "icbkcnbj", "ICBK12BJ", "ICBKCNBJXX\n", "ICBKCN-J"] {
            assert!(Bic::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_account_number_is_plain() {
        for text in ["123456", "6222021001116245702", "0302-0123-4567", "A1234567890123456789012345678901-Z"] {
            assert!(AccountNumber::parse(text).is_ok(), "{text}");
        }
        for text in ["", "12345", "-123456", "123456-", "12 34 56", "=123456", "１２３４５６", &"1".repeat(35)] {
            assert!(AccountNumber::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_is_what_banks_carry() {
        for text in
            ["张三", "欧阳·阿卜杜拉", "北京（朝阳）有限公司", "Müller & Söhne GmbH", "O'Brien", "株式会社カナ", "7"]
        {
            assert_eq!(check_text(text, 140), Ok(()), "{text}");
        }
        for (text, character) in [
            ("a\u{0}b", '\u{0}'),
            ("a\nb", '\n'),
            ("a\tb", '\t'),
            ("=1+1", '='),
            ("@SUM", '@'),
            ("a\u{202e}b", '\u{202e}'),
            ("a\u{feff}", '\u{feff}'),
            ("<b>", '<'),
            ("\u{fffd}", '\u{fffd}'),
            ("😀", '😀'),
        ] {
            assert_eq!(check_text(text, 140), Err(TextError::Character(character)), "{text}");
        }
        assert_eq!(check_text("", 140), Err(TextError::Empty));
        assert_eq!(check_text(" a", 140), Err(TextError::Blank));
        assert_eq!(check_text("a ", 140), Err(TextError::Blank));
        // Characters, not bytes.
        assert_eq!(check_text(&"张".repeat(140), 140), Ok(()));
        assert_eq!(check_text(&"张".repeat(141), 140), Err(TextError::TooLong { characters: 141, max: 140 }));
    }

    #[test]
    fn they_are_stored_as_canonical_json_and_read_strictly() {
        for details in [chinese(), german()] {
            let stored = serde_json::to_vec(&details).expect("written");
            assert_eq!(stored, canonical::to_vec(&details).expect("written"));
            assert_eq!(serde_json::from_slice::<BankDetails>(&stored).expect("read"), details);
        }
        assert_eq!(
            serde_json::to_string(&german()).expect("written"),
            r#"{"account":{"iban":"DE89370400440532013000"},"agent":{"bic":"COBADEFFXXX"},"bank_name":"Commerzbank","holder":"Müller & Söhne GmbH"}"#
        );
        for damaged in [
            r#"{"account":{"iban":"DE89370400440532013001"},"agent":{"bic":"COBADEFFXXX"},"bank_name":"B","holder":"H"}"#,
            r#"{"account":{"number":"123456"},"agent":{"cnaps":"102100099997"},"bank_name":"B","holder":"H"}"#,
            r#"{"account":{"number":"123456"},"agent":{"cnaps":"102100099996"},"bank_name":"B","holder":"H\u0000"}"#,
            r#"{"account":{"number":"123456"},"agent":{"cnaps":"102100099996"},"bank_name":"","holder":"H"}"#,
            r#"{"account":{"number":"123456"},"agent":{"cnaps":"102100099996"},"bank_name":"B","holder":"H","more":1}"#,
        ] {
            assert!(serde_json::from_str::<BankDetails>(damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn what_is_shown_holds_four_characters_of_the_account_and_no_holder() {
        assert_eq!(german().to_string(), "****3000 at COBADEFFXXX (Commerzbank)");
        assert_eq!(chinese().to_string(), "****5702 at 102100099996 (中国工商银行)");
        let debug = format!("{:?} {:?} {:?}", german(), chinese().account(), Iban::parse(GERMAN));
        assert!(!debug.contains("0532013000") && !debug.contains("6222") && !debug.contains("Müller"), "{debug}");
    }
}
