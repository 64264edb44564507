//! What SQLite's errors mean, whichever way they come.

use crate::store::StoreError;

const ERROR: i32 = 1;
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const SCHEMA: i32 = 17;
const AUTH: i32 = 23;
const NOTADB: i32 = 26;
/// Extended codes of a key that is taken.
const TAKEN: [i32; 2] = [1_555, 2_067];

/// Of the key by which no reference of an account is booked twice.
const REFERENCES: &str = "captures.reference";
/// Of the key by which no two refunds of a platform have one name.
const REFUND_NAMES: &str = "refunds.merchant_refund_id";
/// The keys that two may race for; every other constraint is one that a row never meets.
const RACES: [&str; 10] = [
    "heads.id",
    "journal.id",
    "orders.id",
    "orders.merchant_order_id",
    "platforms.id",
    "platforms.name",
    "keys.hash",
    "operators.id",
    "operators.name",
    "operator_keys.hash",
];

/// An error that SQLite gave, or one that says that it gave none.
pub enum Fault {
    /// By SQLite's extended result code.
    Code { code: i32, text: String },
    /// The way to it is lost.
    Lost(String),
    /// Nothing that trying again could mend.
    Misuse(String),
}

impl Fault {
    /// What it means for a write of which nothing was committed: what a file is too damaged to take is no row's fault.
    pub fn changing(self) -> StoreError {
        match self {
            Fault::Code { code, text } if code & 0xff == CORRUPT => StoreError::Broken(text),
            Fault::Code { .. } | Fault::Lost(_) | Fault::Misuse(_) => self.reading(),
        }
    }

    /// What it means for a read. A damaged page is the fault of the rows on it.
    pub fn reading(self) -> StoreError {
        match self {
            Fault::Code { code, text } => match code & 0xff {
                BUSY | LOCKED | NOMEM | READONLY | INTERRUPT | IOERR | FULL | CANTOPEN | PROTOCOL => {
                    StoreError::Unavailable(text)
                }
                PERM | AUTH | NOTADB | SCHEMA | ERROR => StoreError::Broken(text),
                _ if TAKEN.contains(&code) && text.contains(REFERENCES) => StoreError::ReferenceTaken(text),
                _ if TAKEN.contains(&code) && text.contains(REFUND_NAMES) => StoreError::NameTaken(text),
                _ if TAKEN.contains(&code) && RACES.iter().any(|key| text.contains(key)) => StoreError::Conflict(text),
                _ => StoreError::Corrupt(text),
            },
            Fault::Lost(text) => StoreError::Unavailable(text),
            Fault::Misuse(text) => StoreError::Corrupt(text),
        }
    }

    /// What it means while something may be being committed.
    pub fn writing(self) -> StoreError {
        match self {
            Fault::Code { code, text } if code & 0xff == IOERR => StoreError::InDoubt(text),
            Fault::Lost(text) => StoreError::InDoubt(text),
            Fault::Code { .. } | Fault::Misuse(_) => self.changing(),
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(fault) => match fault.code().and_then(|code| code.parse().ok()) {
                Some(code) => Fault::Code { code, text },
                None => Fault::Misuse(text),
            },
            sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
                Fault::Lost(text)
            }
            _ => Fault::Misuse(text),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error() {
            Some(fault) => Fault::Code { code: fault.extended_code, text },
            None => Fault::Misuse(text),
        }
    }
}

/// What an error means for a write of which nothing was committed.
pub fn changing_fault(error: impl Into<Fault>) -> StoreError {
    error.into().changing()
}

/// What an error means for a read.
pub fn reading_fault(error: impl Into<Fault>) -> StoreError {
    error.into().reading()
}

/// What an error means while something may be being committed.
pub fn writing_fault(error: impl Into<Fault>) -> StoreError {
    error.into().writing()
}
