//! Rows of the journal: each is one object that says whose step it is, which, when, and what happened in it. Every kind
//! of stream is written and read here, and nowhere else.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::calendar::Schedule;
use super::canonical;
use super::cycle::CalendarId;
use super::form::{Form, read_digits, write_digits};
use super::id::PlatformId;
use super::machine::Machine;
use super::money::Currency;
use super::partition::LaneId;
use super::stream::{Kind, StreamId};
use super::time::Instant;

/// What a row says besides its events; the columns beside it say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Title {
    /// The kind's name.
    pub kind: &'static str,
    pub stream: StreamId,
    pub version: u32,
    pub at: Instant,
}

/// What a row holds under its title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<E> {
    pub salt: Salt,
    pub events: Vec<E>,
}

/// 16 random bytes of a row's own, so that nobody who knows its hash can find out by guessing what it says. They are
/// drawn outside the domain, and shown to nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

/// Why a row cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

/// What happened to a lane: the first row of its journal tells of its birth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum LaneEvent {
    Born {
        mode: Box<str>,
        store: Box<str>,
    },
    /// A cycle ended in the lane: what it booked from here on is of a later one.
    Cut {
        calendar: CalendarId,
        /// 0 begins the calendar.
        number: u32,
        /// When the cycle after it ends, and by what schedule those after that.
        ends_at: Instant,
        schedule: Schedule,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        joins: Vec<Join>,
    },
}

/// That a platform's lines in a currency belong to this calendar's cycles from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    pub calendar: CalendarId,
    pub currency: Currency,
    pub platform: PlatformId,
}

/// The first form. The fields are in the order of their names.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct First<K, E> {
    at: Instant,
    events: E,
    form: Form<1>,
    kind: K,
    salt: Salt,
    stream: StreamId,
    version: u32,
}

/// Of whatever form a row is, it says which.
#[derive(Deserialize)]
struct Formed {
    form: u8,
}

impl Title {
    pub fn of<M: Machine>(id: u128, version: u32, at: Instant) -> Self {
        Title { kind: M::NAME, stream: StreamId { kind: M::KIND, id }, version, at }
    }

    /// Of a lane's birth.
    pub fn of_birth(lane: u32, at: Instant) -> Self {
        Title::of_lane(LaneId(lane), 1, at)
    }

    pub fn of_lane(lane: LaneId, version: u32, at: Instant) -> Self {
        Title { kind: "lane", stream: StreamId { kind: Kind::LANE, id: u128::from(lane.0) }, version, at }
    }

    /// The row in the form that this version writes: canonical JSON.
    ///
    /// # Errors
    /// None that an event could cause.
    pub fn write(&self, salt: Salt, events: &[impl Serialize]) -> Result<Vec<u8>, serde_json::Error> {
        let Title { kind, stream, version, at } = *self;
        canonical::to_vec(&First { at, events, form: Form, kind, salt, stream, version })
    }

    /// Reads a row of any form that was ever written.
    ///
    /// # Errors
    /// It is damaged, or another row than this title says.
    pub fn read<E: DeserializeOwned>(&self, body: &[u8]) -> Result<Record<E>, Unreadable> {
        let Formed { form } = parse(body)?;
        match form {
            1 => self.read_first(body),
            form => Err(Unreadable(format!("its form {form} is not known"))),
        }
    }

    fn read_first<E: DeserializeOwned>(&self, body: &[u8]) -> Result<Record<E>, Unreadable> {
        let First { at, events, form: Form, kind, salt, stream, version } = parse::<First<String, Vec<E>>>(body)?;
        let differs = |what: &str| Err(Unreadable(format!("it is a row of another {what}")));
        match *self {
            Title { kind: told, .. } if told != kind => differs("kind"),
            Title { stream: told, .. } if told != stream => differs("stream"),
            Title { version: told, .. } if told != version => differs("version"),
            Title { at: told, .. } if told != at => differs("instant"),
            Title { .. } => Ok(Record { salt, events }),
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_digits(u128::from_be_bytes(self.0), serializer)
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_digits(deserializer).map(|bits| Salt(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Instant = Instant(1_800_000_000_000);
    const SALT: Salt = Salt(*b"\x00\x01\x7f\x80\xfe\xff0123456789");

    fn title() -> Title {
        Title { kind: "toy", stream: StreamId { kind: Kind(200), id: 7 }, version: 3, at: AT }
    }

    fn row() -> String {
        let events = [serde_json::json!({"type": "rang", "at": 5})];
        String::from_utf8(title().write(SALT, &events).unwrap()).unwrap()
    }

    #[test]
    fn a_row_is_one_canonical_object_and_read_as_it_was_written() {
        let row = row();
        assert_eq!(
            row,
            r#"{"at":1800000000000,"events":[{"at":5,"type":"rang"}],"form":1,"kind":"toy","#.to_owned()
                + r#""salt":"00017f80feff30313233343536373839","#
                + r#""stream":"200:00000000000000000000000000000007","version":3}"#
        );
        let read: Record<serde_json::Value> = title().read(row.as_bytes()).unwrap();
        assert_eq!((read.salt, read.events), (SALT, vec![serde_json::json!({"type": "rang", "at": 5})]));
        assert!(!format!("{read:?}", read = title().read::<serde_json::Value>(row.as_bytes())).contains("30313233"));
    }

    #[test]
    fn a_row_that_is_damaged_or_another_is_refused() {
        let row = row();
        for (written, instead) in [
            (r#""form":1"#, r#""form":2"#),
            (r#""form":1"#, r#""form":"1""#),
            (r#""form":1,"#, ""),
            (r#""form":1,"#, r#""form":1,"form":1,"#),
            (r#""form":1,"#, r#""form":1,"foam":1,"#),
            (r#""kind":"toy","#, ""),
            (r#""kind":"toy""#, r#""kind":"order""#),
            (r#""salt":"00017f80feff30313233343536373839","#, ""),
            (r#""salt":"00"#, r#""salt":"0"#),
            (r#""salt":"00017f"#, r#""salt":"00017F"#),
            (r#""salt":"00"#, r#""salt":"+0"#),
            (r#""stream":"200:"#, r#""stream":"201:"#),
            (r#"07","version""#, r#"08","version""#),
            (r#""version":3"#, r#""version":4"#),
            (r#""version":3"#, r#""version":-3"#),
            (r#","version":3"#, ""),
            (r#"{"at":18"#, r#"{"at":19"#),
            (r#""events":["#, r#""events":[3,"#),
            (r#""events":[{"#, r#""happened":[{"#),
            (r#"3}"#, r#"3"#),
            (r#"3}"#, r#"3}]"#),
        ] {
            let damaged = row.replacen(written, instead, 1);
            assert_ne!(damaged, row, "{written}");
            let read = title().read::<std::collections::BTreeMap<String, serde_json::Value>>(damaged.as_bytes());
            assert!(read.is_err(), "{damaged}");
        }
        for nothing in ["", "[]", "null", "[{}]", "{}"] {
            assert!(title().read::<serde_json::Value>(nothing.as_bytes()).is_err(), "{nothing}");
        }
    }
}
