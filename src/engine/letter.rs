//! What lies in the mailbox of a cell, and what comes back.

use tokio::sync::oneshot;

use super::host::{Host, RefusalOf};
use super::lane::WriteError;

/// Why nothing came of what an aggregate was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TellError<R> {
    Refused(R),
    /// The name of a new one is taken: compare with what is stored.
    Duplicate,
    /// Nothing was accepted; try again.
    Overloaded,
    StoreAway,
    /// The store went away while this was being committed: it may have happened.
    OutcomeUnknown,
    /// It is quarantined; operators were notified.
    Quarantined,
    NotFound,
}

impl<R> From<WriteError> for TellError<R> {
    fn from(error: WriteError) -> Self {
        TellError::from(&error)
    }
}

impl<R> From<&WriteError> for TellError<R> {
    fn from(error: &WriteError) -> Self {
        match error {
            WriteError::Overloaded => TellError::Overloaded,
            WriteError::Duplicate | WriteError::NameTaken => TellError::Duplicate,
            WriteError::Away | WriteError::Conflict(_) | WriteError::ReferenceTaken => TellError::StoreAway,
            WriteError::Unknown => TellError::OutcomeUnknown,
            WriteError::Culprit(_) => TellError::Quarantined,
        }
    }
}

/// The aggregate as it is once what it was told is durable.
pub type End<H> = Result<<H as Host>::Machine, TellError<RefusalOf<H>>>;

pub enum Letter<H: Host> {
    Told {
        told: H::Told,
        answer: Option<oneshot::Sender<End<H>>>,
    },
    /// An errand has ended.
    Errand(Vec<H::Told>),
    /// It may leave memory, if nothing keeps it.
    Idle,
}

impl<H: Host> Letter<H> {
    /// One that nobody waits for.
    pub fn told(told: H::Told) -> Self {
        Letter::Told { told, answer: None }
    }

    /// Tells whoever waits that nothing comes of it.
    pub fn refuse(self, error: &TellError<RefusalOf<H>>) {
        match self {
            Letter::Told { answer: Some(answer), .. } => {
                let _ = answer.send(Err(error.clone()));
            }
            Letter::Told { answer: None, .. } | Letter::Errand(_) | Letter::Idle => {}
        }
    }
}
