//! What UnionPay's answer codes mean.

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

/// What says of a question that it is to be asked again later: 06 (busy) and 37 (asked too often).
const LATER: &[&str] = &["06", "37"];

pub fn is_later(code: &str) -> bool {
    LATER.contains(&code)
}

/// A code that is not in the table leaves everything open.
pub fn meaning(code: &str) -> Meaning {
    let numbered = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_digit());
    MEANINGS
        .iter()
        .find(|(first, last, _)| code == *first || (numbered && (*first..=*last).contains(&code)))
        .map_or(Meaning::Open, |(_, _, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

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
