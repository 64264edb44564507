//! Which cycle of which calendar a platform's line belongs to. A cycle is the span between two closings: its lines are
//! settled together, and every line is in exactly one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::money::Currency;

/// Which calendar says when cycles end. Each currency has one of its own, whose number follows from the currency, so that
/// a line can be stamped before anybody has made the calendar. Those that operators make come after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CalendarId(pub u32);

impl CalendarId {
    /// The first number that an operator's calendar may have.
    pub const FIRST_MADE: CalendarId = CalendarId(100_000);

    /// The calendar of whoever has none of their own in this currency.
    pub fn of_currency(currency: Currency) -> Self {
        CalendarId::of_code(currency.code())
    }

    /// The same by the currency's code, three capital letters: a number below [`CalendarId::FIRST_MADE`].
    pub fn of_code(code: &str) -> Self {
        let digit = |byte: u8| u32::from(byte.saturating_sub(b'A').min(25));
        CalendarId(code.bytes().take(3).fold(0, |number, byte| number * 26 + digit(byte)) + 1)
    }
}

impl fmt::Display for CalendarId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A cycle: its calendar, and its number there. They are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CycleId {
    pub calendar: CalendarId,
    pub number: u32,
}

impl CycleId {
    /// As it is stored: one number that orders cycles of a calendar. 0 is no cycle.
    pub fn as_number(self) -> i64 {
        i64::from(self.calendar.0) << 32 | i64::from(self.number)
    }

    pub fn from_number(number: i64) -> Option<Self> {
        let calendar = u32::try_from(number >> 32).ok().filter(|calendar| *calendar > 0)?;
        let number = u32::try_from(number & 0xffff_ffff).ok().filter(|number| *number > 0)?;
        Some(CycleId { calendar: CalendarId(calendar), number })
    }

    /// The cycle after it.
    pub const fn next(self) -> Self {
        CycleId { calendar: self.calendar, number: self.number.saturating_add(1) }
    }
}

/// `12345.7`: the calendar's number and the cycle's.
impl fmt::Display for CycleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.calendar, self.number)
    }
}

impl FromStr for CycleId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (calendar, number) = text.split_once('.').ok_or(())?;
        let (calendar, number) = (calendar.parse().map_err(|_| ())?, number.parse().map_err(|_| ())?);
        let cycle = CycleId { calendar: CalendarId(calendar), number };
        if cycle.to_string() == text && CycleId::from_number(cycle.as_number()) == Some(cycle) {
            Ok(cycle)
        } else {
            Err(())
        }
    }
}

impl Serialize for CycleId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CycleId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("not a cycle"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_one_number_and_one_text() {
        let cny = CalendarId::of_currency(Currency::parse("CNY").unwrap());
        let usd = CalendarId::of_currency(Currency::parse("USD").unwrap());
        assert!(cny != usd && cny < CalendarId::FIRST_MADE && usd < CalendarId::FIRST_MADE);
        assert!(CalendarId::of_code("ZZZ") < CalendarId::FIRST_MADE);
        let cycle = CycleId { calendar: cny, number: 7 };
        assert_eq!(CycleId::from_number(cycle.as_number()), Some(cycle));
        assert_eq!(cycle.to_string().parse(), Ok(cycle));
        assert!(cycle.as_number() < cycle.next().as_number());
        assert!(cycle.next().as_number() < CycleId { calendar: usd, number: 1 }.as_number());
        for number in [0, 7, -1, i64::from(cny.0) << 32] {
            assert_eq!(CycleId::from_number(number), None, "{number}");
        }
        for text in ["", "1", "1.0", "0.1", "01.1", "1.1.1", "x.1"] {
            assert_eq!(text.parse::<CycleId>(), Err(()), "{text}");
        }
    }
}
