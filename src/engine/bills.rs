//! Fetching the bill of an account, part by part.
//!
//! It has a client and time-outs of its own and takes no place in an account's supervisor: a file that takes minutes
//! must not hold up a payment, and a bill that cannot be had says nothing of whether the channel takes money.

use std::fmt;
use std::io;

use super::supervisor::{fresh_stamp, traceparent};
use crate::channels::bill::{Bill, BillError, BillLine, Content};
use crate::channels::sender::{self, Allowance, Transfer, Undelivered};
use crate::channels::{Adapter, Answer, Outgoing};
use crate::domain::request::Trace;

/// What a bill may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of each of its answers.
    pub answer: Allowance,
    pub lines_max: usize,
}

/// Who follows the fetching of a bill.
pub trait Follower {
    /// More of the answer under way has come.
    fn transferred(&mut self, transfer: Transfer);
    /// An answer with lines has come, and nothing of it was read yet.
    ///
    /// # Errors
    /// It cannot be kept, which ends the fetching.
    fn received(&mut self, original: &[u8]) -> io::Result<()>;
}

#[derive(Debug)]
pub enum FetchError {
    /// The channel cannot be reached, or its answer is longer than it may be.
    Unanswered(String),
    Bill(BillError),
    /// More lines than [`Bounds::lines_max`].
    TooManyLines(usize),
    /// The [`Follower`] could not keep it.
    Unkept(io::Error),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Unanswered(why) => write!(f, "the channel gave no answer that could be taken: {why}"),
            FetchError::Bill(error) => error.fmt(f),
            FetchError::TooManyLines(most) => write!(f, "the bill has more than {most} lines (`bills.lines_max`)"),
            FetchError::Unkept(error) => write!(f, "the original cannot be kept: {error}"),
        }
    }
}

impl std::error::Error for FetchError {}

impl From<BillError> for FetchError {
    fn from(error: BillError) -> Self {
        FetchError::Bill(error)
    }
}

impl From<Undelivered> for FetchError {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::HeldBack(why) | Undelivered::NotSent(why) | Undelivered::Unknown(why) => {
                FetchError::Unanswered(why)
            }
        }
    }
}

/// Fetches all of a bill.
///
/// # Errors
/// [`FetchError`]; nothing of the bill may be used then.
pub async fn fetch(
    adapter: &dyn Adapter,
    bill: Bill<'_>,
    bounds: &Bounds,
    follower: &mut dyn Follower,
) -> Result<Vec<BillLine>, FetchError> {
    let client = sender::client().map_err(|error| FetchError::Unanswered(sender::describe(&error)))?;
    let date = bill.day.date;
    let mut fetching = Fetching { client, adapter, bounds, follower, has_received: false };
    // A signature by a key that came after the configured ones must verify here as it does in the server.
    fetching.look_after().await?;
    let error = match fetching.lines(bill).await {
        // What the follower has cannot be taken back.
        Err(FetchError::Bill(error @ BillError::Unreadable { .. })) if !fetching.has_received => error,
        ended => return ended,
    };
    // Which key a channel has gone over to may be known by its answer alone.
    match adapter.bill(date) {
        Some(again) if fetching.look_after().await? => fetching.lines(again).await,
        Some(_) | None => Err(error.into()),
    }
}

struct Fetching<'a> {
    client: reqwest::Client,
    adapter: &'a dyn Adapter,
    bounds: &'a Bounds,
    follower: &'a mut dyn Follower,
    /// Whether the follower has been given lines.
    has_received: bool,
}

impl Fetching<'_> {
    async fn answered(&mut self, outgoing: Outgoing) -> Result<Answer, Undelivered> {
        let trace = traceparent(Trace(rand::random()));
        let watch = |transfer| self.follower.transferred(transfer);
        sender::send_watched(&self.client, outgoing, &trace, self.bounds.answer, watch).await
    }

    /// Does the account's upkeep, if any is due. Whether something came of it.
    async fn look_after(&mut self) -> Result<bool, FetchError> {
        let stamp = fresh_stamp();
        let Some(outgoing) = self.adapter.upkeep(&stamp) else { return Ok(false) };
        let answer = self.answered(outgoing).await?;
        let read = self.adapter.read_upkeep(&stamp, &answer);
        if let Err(why) = &read {
            tracing::warn!(account = %self.adapter.account(), why, "the account's upkeep failed");
        }
        Ok(read.is_ok())
    }

    async fn lines(&mut self, bill: Bill<'_>) -> Result<Vec<BillLine>, FetchError> {
        let mut lines = Vec::new();
        let mut next = Some(bill.first);
        while let Some(request) = next {
            let stamp = fresh_stamp();
            let answer = self.answered(request.outgoing(&stamp)).await?;
            match request.content() {
                Content::Address => {}
                Content::Lines => {
                    self.has_received = true;
                    self.follower.received(&answer.body).map_err(FetchError::Unkept)?;
                }
            }
            let part = request.read(&stamp, &answer)?;
            lines.extend(part.lines);
            if lines.len() > self.bounds.lines_max {
                return Err(FetchError::TooManyLines(self.bounds.lines_max));
            }
            next = part.next;
        }
        Ok(lines)
    }
}
