//! What UnionPay's answer codes mean.

use crate::domain::event::Rejection;

/// What a code says about the transaction that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It was carried out; of a call, that it was taken.
    Done,
    /// UnionPay has no such transaction.
    NotFound,
    /// It was not carried out so far. A purchase may still be, until its time is over.
    Failed,
    /// It is not carried out yet. A purchase that still is not when its time has been over for a while never will be.
    UnderWay,
    /// Nobody can tell yet, or the code tells of money in a way that only a person can judge.
    Open,
}

/// Codes from the first to the second, and what they mean.
///
/// Source: 平台接入接口规范 part 5, as UnionPay's kit of 2018 acts on it (`Form_6_4_Refund`, `Form_6_5_Query`): 00 and
/// A6 alone are success, 03, 04 and 05 are asked again, and any other code is a failure, for a purchase once
/// `payTimeout` has passed. What its texts leave in doubt is kept open here: 12 (number used before), 37 (asked too
/// often), 42 (paid after its time), 45 (already given back), 46 (reversed) and 83 (the issuer is at it). 06 (busy) is
/// as much as 03 to 05 to a purchase that is asked about.
const MEANINGS: &[(&str, &str, Meaning)] = &[
    ("00", "00", Meaning::Done),
    ("01", "02", Meaning::Failed),
    ("03", "06", Meaning::UnderWay),
    ("10", "11", Meaning::Failed),
    ("12", "12", Meaning::Open),
    ("13", "13", Meaning::Failed),
    ("31", "33", Meaning::Failed),
    ("34", "34", Meaning::NotFound),
    ("35", "36", Meaning::Failed),
    ("37", "37", Meaning::Open),
    ("38", "39", Meaning::Failed),
    ("42", "42", Meaning::Open),
    ("45", "46", Meaning::Open),
    ("60", "82", Meaning::Failed),
    ("83", "83", Meaning::Open),
    ("84", "89", Meaning::Failed),
    ("99", "99", Meaning::Failed),
    ("A6", "A6", Meaning::Done),
];

/// Of a transaction that is not carried out yet: UnionPay has it, and it is to be asked about (05, 交易已受理). 03 and 04
/// say that nobody knows, and 06 that nobody looked.
const TAKEN: &[&str] = &["05"];

pub fn is_taken(code: &str) -> bool {
    TAKEN.contains(&code)
}

/// Codes from the first to the second by which a refund is refused, and whose affair that is. Every code that says that
/// it was not carried out is here, and no other.
///
/// A refused number is used up, so most let another one go: what an issuer or UnionPay's clock says may be otherwise
/// then. 38 is its control of risks, and 36 an amount that is not to be had. What is wrong with the request or with what
/// the merchant may do is ours, and to be mended first.
const REFUNDS: &[(&str, &str, Rejection)] = &[
    ("01", "02", Rejection::DeadNumber),
    ("10", "11", Rejection::Ours),
    ("13", "13", Rejection::Ours),
    ("31", "33", Rejection::Ours),
    // It is the purchase that is not found, or that is not there yet for a refund.
    ("34", "35", Rejection::DeadNumber),
    ("36", "36", Rejection::Refused),
    ("38", "38", Rejection::Refused),
    ("39", "39", Rejection::DeadNumber),
    ("60", "82", Rejection::DeadNumber),
    ("84", "89", Rejection::DeadNumber),
    ("99", "99", Rejection::DeadNumber),
];

/// Why a refund was certainly not carried out; none where the code leaves that open, or says otherwise.
pub fn of_refund(code: &str) -> Option<Rejection> {
    found(REFUNDS, code)
}

/// What says of a question that it is to be asked again later: 06 (busy) and 37 (asked too often).
const LATER: &[&str] = &["06", "37"];

pub fn is_later(code: &str) -> bool {
    LATER.contains(&code)
}

/// A code that is not in the table leaves everything open.
pub fn meaning(code: &str) -> Meaning {
    found(MEANINGS, code).unwrap_or(Meaning::Open)
}

fn found<T: Copy>(table: &[(&str, &str, T)], code: &str) -> Option<T> {
    let numbered = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_digit());
    table
        .iter()
        .find(|(first, last, _)| code == *first || (numbered && (*first..=*last).contains(&code)))
        .map(|(_, _, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_says_no_has_a_class_and_no_other_has_one() {
        for code in (0..100).map(|code| format!("{code:02}")).chain(["A6".into(), "A5".into(), "xyz".into()]) {
            let says_no = matches!(meaning(&code), Meaning::Failed | Meaning::NotFound);
            assert_eq!(of_refund(&code).is_some(), says_no, "{code}");
            assert!(!is_taken(&code) || meaning(&code) == Meaning::UnderWay, "{code}");
        }
    }

    #[test]
    fn only_two_codes_are_success_and_unknown_ones_are_open() {
        let all = (0..100).map(|code| format!("{code:02}")).chain(["A6".into(), "A5".into(), "A7".into()]);
        let done: Vec<String> = all.filter(|code| meaning(code) == Meaning::Done).collect();
        assert_eq!(done, ["00", "A6"]);
        for code in ["07", "12", "37", "42", "83", "98", "", "0", "000", "6", "6x", "60 ", "成"] {
            assert_eq!(meaning(code), Meaning::Open, "{code}");
        }
        for code in ["03", "04", "05", "06"] {
            assert_eq!(meaning(code), Meaning::UnderWay, "{code}");
        }
        for code in ["01", "11", "60", "64", "89", "99"] {
            assert_eq!(meaning(code), Meaning::Failed, "{code}");
        }
        assert_eq!(meaning("34"), Meaning::NotFound);
    }
}
