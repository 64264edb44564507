//! Messages from stream to stream: a row of the sender's commit, delivered until it is taken, and taken once.
//!
//! The receiver's own step removes the row and journals where it came from, in one commit. So a message that is delivered
//! twice is taken once, and one that is lost on the way lies in the store until the next round.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::homes::{Homes, Taken};
use super::ports::{MessageReads, Time};
use crate::store::{MessageKey, StoredMessage, last_key};

/// Messages that are delivered at once.
const PAGE: u32 = 256;
/// How often it is looked for messages.
const ROUND_EVERY: Duration = Duration::from_secs(1);

pub struct Courier {
    time: Arc<dyn Time>,
    reads: Arc<dyn MessageReads>,
    homes: Arc<Homes>,
    after: Option<MessageKey>,
}

impl Courier {
    pub fn new(time: Arc<dyn Time>, reads: Arc<dyn MessageReads>, homes: Arc<Homes>) -> Self {
        Courier { time, reads, homes, after: None }
    }

    /// Delivers for as long as the process runs.
    pub async fn run(mut self) {
        loop {
            self.time.sleep(ROUND_EVERY).await;
            while self.round().await == Round::More {}
        }
    }

    /// Delivers a page of messages. Each round goes on where the one before ended, so that messages which nobody takes
    /// keep no others from being delivered.
    pub async fn round(&mut self) -> Round {
        let page = match self.reads.messages(self.after, PAGE).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "messages cannot be read");
                return Round::Over;
            }
        };
        let is_full = page.len() == PAGE as usize;
        self.after = last_key(&page).filter(|_| is_full);
        let deliveries = page.into_iter().filter_map(|row| match row.value {
            Ok(message) => Some(self.deliver(message)),
            Err(error) => {
                tracing::error!(key = ?row.key, %error, "a message cannot be read");
                None
            }
        });
        join_all(deliveries).await;
        if is_full { Round::More } else { Round::Over }
    }

    async fn deliver(&self, message: StoredMessage) {
        let MessageKey { to, from, number } = message.key;
        let taken = match self.homes.of(to) {
            Some(home) => home.receive(message).await,
            None => Taken::Never("its kind is not known here".to_owned()),
        };
        match taken {
            Taken::Yes | Taken::Later => {}
            Taken::Never(why) => {
                metrics::counter!("tongbao_messages_refused_total").increment(1);
                tracing::error!(%to, %from, number, why, "a message is not taken and waits for a person");
            }
        }
    }
}

/// Whether there may be more to deliver at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    More,
    Over,
}
