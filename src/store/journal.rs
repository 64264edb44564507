//! Rows of the journal as they are read.

use std::fmt;

use super::StoreError;
use crate::domain::journal::{Record, Title, Unreadable};
use crate::domain::machine::Machine;
use crate::domain::partition::LaneId;
use crate::domain::stream::StreamId;
use crate::domain::time::Instant;

#[derive(Clone, PartialEq, Eq)]
pub struct JournalRow {
    pub stream: StreamId,
    pub version: u32,
    pub at: Instant,
    /// As [`Title::write`] wrote it.
    pub body: Vec<u8>,
    pub lane: LaneId,
    /// In its lane: they are dense, in the order in which rows were committed.
    pub place: i64,
}

/// Without the body: its salt is shown to nobody.
impl fmt::Debug for JournalRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stream, version, lane, place) = (&self.stream, &self.version, &self.lane, &self.place);
        let mut shown = f.debug_struct("JournalRow");
        shown.field("stream", stream).field("version", version).field("lane", lane).field("place", place);
        shown.finish_non_exhaustive()
    }
}

impl JournalRow {
    /// What the row holds of a step of this machine.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], which names the row.
    pub fn record<M: Machine>(&self) -> Result<Record<M::Event>, StoreError> {
        let JournalRow { stream, version, at, .. } = *self;
        let title = Title { kind: M::NAME, stream, version, at };
        let corrupt = |why: Unreadable| StoreError::Corrupt(format!("version {version} of {stream}: {why}"));
        title.read(&self.body).map_err(corrupt)
    }
}
