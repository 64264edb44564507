//! The file of the books: one JSON line per fact, appended by one `write` each and never changed.
//!
//! What was written outlives a kill of the process (the kernel has it); it need not outlive a loss of power.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::fate::{Fate, RefundState};
use super::payer::Script;
use super::refund_script::RefundScript;
use crate::domain::money::Currency;

/// Something that happened, as it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fact<'a> {
    #[serde(borrow)]
    Created(Created<'a>),
    Captured {
        #[serde(borrow)]
        account: Cow<'a, str>,
        #[serde(borrow)]
        number: Cow<'a, str>,
        #[serde(borrow)]
        reference: Cow<'a, str>,
        captured_minor: i64,
        at: i64,
    },
    Declined {
        #[serde(borrow)]
        account: Cow<'a, str>,
        #[serde(borrow)]
        number: Cow<'a, str>,
    },
    Closed {
        #[serde(borrow)]
        account: Cow<'a, str>,
        #[serde(borrow)]
        number: Cow<'a, str>,
        at: i64,
    },
    /// The wire keeps something else with the payment.
    Noted {
        #[serde(borrow)]
        account: Cow<'a, str>,
        #[serde(borrow)]
        number: Cow<'a, str>,
        #[serde(borrow)]
        data: Cow<'a, str>,
    },
    CallbackSent {
        #[serde(borrow)]
        account: Cow<'a, str>,
        #[serde(borrow)]
        number: Cow<'a, str>,
        acknowledged: bool,
    },
    /// A refund was taken.
    Refunded(Refunded<'a>),
    /// There was no money for a refund when it was first asked for.
    RefundPutOff {
        #[serde(borrow)]
        account: Cow<'a, str>,
        #[serde(borrow)]
        refund_number: Cow<'a, str>,
        at: i64,
    },
    /// A callback of a refund was sent.
    RefundTold {
        #[serde(borrow)]
        account: Cow<'a, str>,
        #[serde(borrow)]
        refund_number: Cow<'a, str>,
        #[serde(default = "done")]
        news: RefundState,
        acknowledged: bool,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Created<'a> {
    #[serde(borrow)]
    pub account: Cow<'a, str>,
    #[serde(borrow)]
    pub number: Cow<'a, str>,
    /// Base64 of the SHA-256 of the business fields.
    #[serde(borrow)]
    pub fingerprint: Cow<'a, str>,
    pub asked_minor: i64,
    pub currency: Currency,
    pub script: Script,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub notify_url: Option<Cow<'a, str>>,
    pub expires_at: i64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Cow<'a, str>>,
    pub at: i64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refunded<'a> {
    #[serde(borrow)]
    pub account: Cow<'a, str>,
    #[serde(borrow)]
    pub refund_number: Cow<'a, str>,
    #[serde(borrow)]
    pub number: Cow<'a, str>,
    pub amount_minor: i64,
    pub currency: Currency,
    #[serde(default)]
    pub at: i64,
    #[serde(default)]
    pub script: RefundScript,
    /// None where refunds were done as soon as they were asked for, which they once all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub notify_url: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Cow<'a, str>>,
}

impl Refunded<'_> {
    pub fn fate(&self) -> Fate {
        self.fate.unwrap_or(Fate::Refunded { at: self.at })
    }
}

/// All that was told of a refund when it was done at once.
fn done() -> RefundState {
    RefundState::Refunded
}

pub struct Journal {
    tail: Mutex<Tail>,
}

struct Tail {
    file: File,
    length: u64,
    state: TailState,
}

#[derive(PartialEq, Eq)]
enum TailState {
    Open,
    /// A fact was torn and could not be cut off, or the gateway has stopped: nothing may be appended any more.
    Sealed,
}

impl Journal {
    /// Opens the file for this process alone and hands every whole line to `replay`, in order. A torn last line is
    /// cut off: nobody was answered for it.
    ///
    /// # Errors
    /// Another process has the file, it cannot be read, or `replay` refuses a line.
    pub fn open(path: &Path, mut replay: impl FnMut(Fact<'_>) -> Result<(), String>) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another gateway has these books")
            }
            std::fs::TryLockError::Error(error) => error,
        })?;
        let mut reader = BufReader::with_capacity(1 << 20, &mut file);
        let mut line = Vec::new();
        let mut length = 0u64;
        for number in 1u64.. {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 || line.last() != Some(&b'\n') {
                break;
            }
            let corrupt = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {why}"));
            let fact = serde_json::from_slice(&line).map_err(|error| corrupt(error.to_string()))?;
            replay(fact).map_err(corrupt)?;
            length += read as u64;
        }
        if file.metadata()?.len() != length {
            tracing::warn!(length, "the last line of the books was torn and is dropped");
            file.set_len(length)?;
        }
        Ok(Journal { tail: Mutex::new(Tail { file, length, state: TailState::Open }) })
    }

    /// Appends a fact. When this returns well, a kill of the process does not lose it.
    ///
    /// # Errors
    /// The file does not take the line: then the fact is not in it.
    pub fn append(&self, fact: &Fact<'_>) -> io::Result<()> {
        let mut line = Vec::with_capacity(384);
        serde_json::to_writer(&mut line, fact)?;
        line.push(b'\n');
        let mut tail = self.tail.lock().expect("no append panics");
        if tail.state == TailState::Sealed {
            return Err(io::Error::other("the books are sealed"));
        }
        match tail.file.write(&line) {
            Ok(written) if written == line.len() => {
                tail.length += written as u64;
                Ok(())
            }
            Ok(_) => Err(tail.cut_off(io::Error::from(io::ErrorKind::WriteZero))),
            Err(error) => Err(tail.cut_off(error)),
        }
    }

    /// Ends the use of the file, so that another gateway may open it even while a late request still holds this one.
    pub fn seal(&self) {
        let mut tail = self.tail.lock().expect("no append panics");
        tail.state = TailState::Sealed;
        if let Err(error) = tail.file.unlock() {
            tracing::warn!(%error, "the books stay locked until the process ends");
        }
    }
}

impl Tail {
    /// Removes what a failed write may have left, so that the next line does not run on from it.
    fn cut_off(&mut self, error: io::Error) -> io::Error {
        if self.file.set_len(self.length).is_err() {
            self.state = TailState::Sealed;
        }
        tracing::error!(%error, "the books do not take a fact");
        error
    }
}
