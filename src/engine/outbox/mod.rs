//! The outbox's decisions: which webhooks go out and when, whether there is room for one, when a try that failed is
//! made again and when it is given up.
//!
//! [`Outbox`] is a plain struct without a clock, tasks or I/O. It is told what happens and says what to do next. Whoever
//! carries it reads the store, sends, and makes durable what became of a try; the server does that with an actor, the
//! simulation on virtual time.
//!
//! The table is the truth: what is in memory may be lost at any time and is found again. A look goes through it page by
//! page and goes on where the one before ended, so that it passes any number of rows in the end; after the table's end
//! the next look begins at its start.

mod room;

use std::collections::HashSet;

use crate::domain::stream::StreamId;
use crate::domain::time::Instant;
use crate::store::{Delivery, OutboxItem, OutboxPlace, OutboxRow, Seen, StoreError};
use room::{Entrance, Room};

/// Pages per look.
const LOOK_PAGES: u32 = 20;
/// Webhooks in memory at once, waiting or under way (some 3 KiB each).
pub const ROOM: usize = 8_192;

/// A webhook: its stream, and its place among the stream's.
pub type Key = (StreamId, u32);

/// What the outbox goes by.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Rows per page.
    pub batch_max: u32,
    /// The gap after each try that failed; after the last one the webhook is given up.
    pub retry_ms: Vec<u64>,
    /// Webhooks in memory at once.
    pub room: usize,
}

/// A webhook on its way.
#[derive(Debug)]
pub struct Post {
    pub key: Key,
    pub row: OutboxRow,
    /// Tries before this one.
    pub tries: u32,
    /// `host:port`; empty where the address cannot be read.
    pub host: String,
}

impl Post {
    /// A webhook that was just committed.
    pub fn new(stream: StreamId, row: OutboxRow) -> Self {
        Post::again(stream, row, 0)
    }

    fn again(stream: StreamId, row: OutboxRow, tries: u32) -> Self {
        Post { key: (stream, row.sequence), host: host_of(&row.url), row, tries }
    }
}

/// What a look needs of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The clock was set back: what is due later is due so much earlier. Answered by [`Outbox::hastened`].
    Hasten { by_ms: i64 },
    /// Answered by [`Outbox::page`].
    Page { after: Option<OutboxPlace>, limit: u32 },
}

/// What a page comes to.
#[derive(Debug, Default)]
pub struct Found {
    /// To be delivered, each with the secret that signs it.
    pub posts: Vec<(Post, Box<str>)>,
    /// Rows that cannot be read: they keep no others from being delivered.
    pub unreadable: Vec<(Option<Key>, StoreError)>,
    /// None when the look is over.
    pub next: Option<Look>,
}

/// Where a look stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looking {
    Idle,
    /// The clock is this far behind what was seen of it before.
    Hastening {
        behind_ms: i64,
    },
    /// So many more pages may be asked for.
    Reading {
        pages: u32,
    },
}

/// Whether there may be more to look through at once.
enum More {
    Yes,
    No,
}

/// The dispatcher's state and decisions.
#[derive(Debug)]
pub struct Outbox {
    rules: Rules,
    room: Room,
    lately: Lately,
    /// How far the table has been looked through; none: from its start.
    looked_to: Option<OutboxPlace>,
    /// How far the clock has been set back, as far as the table knows of it.
    behind_ms: i64,
    looking: Looking,
}

impl Outbox {
    pub fn new(rules: Rules) -> Self {
        Outbox {
            room: Room::new(rules.room),
            rules,
            lately: Lately::default(),
            looked_to: None,
            behind_ms: 0,
            looking: Looking::Idle,
        }
    }

    /// It is time to look through the table; `behind_ms` is how far the clock has been set back since the start. None
    /// while a look is under way.
    pub fn look(&mut self, behind_ms: i64) -> Option<Look> {
        match self.looking {
            Looking::Idle => {}
            Looking::Hastening { .. } | Looking::Reading { .. } => return None,
        }
        self.lately.age();
        if behind_ms > self.behind_ms {
            // Tries that were put off while the clock ran ahead. One that was put off before is made once too early,
            // which does no harm.
            self.looking = Looking::Hastening { behind_ms };
            return Some(Look::Hasten { by_ms: behind_ms - self.behind_ms });
        }
        Some(self.read(LOOK_PAGES))
    }

    /// The store has made what is due later due earlier, or has failed to, and is asked again by the next look.
    pub fn hastened<T>(&mut self, done: &Result<T, StoreError>) -> Look {
        match (self.looking, done) {
            (Looking::Hastening { behind_ms }, Ok(_)) => {
                self.behind_ms = behind_ms;
                self.looked_to = None;
            }
            (Looking::Hastening { .. }, Err(_)) | (Looking::Idle | Looking::Reading { .. }, _) => {}
        }
        self.read(LOOK_PAGES)
    }

    /// A page was read, or could not be, which ends the look.
    pub fn page(&mut self, page: Result<Vec<Seen<OutboxPlace, OutboxItem>>, StoreError>) -> Found {
        let mut found = Found::default();
        let more = match page {
            Ok(items) => self.look_through(items, &mut found),
            Err(_) => More::No,
        };
        match (more, self.looking) {
            (More::Yes, Looking::Reading { pages }) if pages > 1 => found.next = Some(self.read(pages - 1)),
            (More::Yes | More::No, _) => self.looking = Looking::Idle,
        }
        found
    }

    /// A webhook was committed. None where it must not go out now: the next look finds it.
    pub fn written(&mut self, post: Post) -> Option<Post> {
        if self.lately.has(&post.key) {
            return None;
        }
        match self.room.enter(post.key, &post.host) {
            Entrance::Free => Some(post),
            Entrance::Inside | Entrance::HostFull | Entrance::Full => None,
        }
    }

    /// A delivery is over, however it ended, and what became of it is durable or was lost.
    pub fn over(&mut self, key: Key, host: &str) {
        self.lately.add(key);
        self.room.leave(key, host);
    }

    fn read(&mut self, pages: u32) -> Look {
        self.looking = Looking::Reading { pages };
        Look::Page { after: self.looked_to, limit: self.rules.batch_max }
    }

    /// Takes a page up as far as there is room. Rows of a host that has its share are passed, and so are those that
    /// cannot be read.
    fn look_through(&mut self, items: Vec<Seen<OutboxPlace, OutboxItem>>, found: &mut Found) -> More {
        // A page of rows without a single place leads nowhere.
        let full = items.len() == self.rules.batch_max as usize && items.iter().any(|item| item.key.is_some());
        for Seen { key, value } in items {
            let item = match value {
                Ok(item) => item,
                Err(error) => {
                    found.unreadable.push((key.map(|(_, stream, sequence)| (stream, sequence)), error));
                    self.looked_to = key.or(self.looked_to);
                    continue;
                }
            };
            let OutboxItem { stream, row, tries, next_at, secret } = item;
            let post = Post::again(stream, row, tries);
            let place = (next_at, stream, post.key.1);
            if !self.lately.has(&post.key) {
                match self.room.enter(post.key, &post.host) {
                    Entrance::Free => found.posts.push((post, secret)),
                    Entrance::Inside | Entrance::HostFull => {}
                    Entrance::Full => return More::No,
                }
            }
            self.looked_to = Some(place);
        }
        if full {
            More::Yes
        } else {
            self.looked_to = None;
            More::No
        }
    }
}

impl Rules {
    /// What becomes of a webhook by a try. `jitter` of a gap is what is added to it.
    pub fn delivery(
        &self,
        post: &Post,
        sent: Result<(), String>,
        now: Instant,
        jitter: impl FnOnce(u64) -> u64,
    ) -> Delivery {
        let ((stream, sequence), tries) = (post.key, post.tries + 1);
        let why = match sent {
            Ok(()) => return Delivery::Delivered { stream, sequence },
            Err(why) => why.into(),
        };
        match self.retry_ms.get(post.tries as usize) {
            Some(gap_ms) => {
                let gap_ms = gap_ms.saturating_add(jitter(*gap_ms));
                let next_at = now.plus_ms(i64::try_from(gap_ms).unwrap_or(i64::MAX));
                Delivery::Failed { stream, sequence, tries, next_at, why }
            }
            None => Delivery::Dead { stream, sequence, tries, why },
        }
    }
}

/// Webhooks that were seen to within the last look or two: a page that was read before, or one that was committed and
/// waited longer, may still speak of them as new.
#[derive(Debug, Default)]
struct Lately {
    now: HashSet<Key>,
    before: HashSet<Key>,
}

impl Lately {
    fn add(&mut self, key: Key) {
        self.now.insert(key);
    }

    fn has(&self, key: &Key) -> bool {
        self.now.contains(key) || self.before.contains(key)
    }

    fn age(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

fn host_of(url: &str) -> String {
    let Ok(url) = url::Url::parse(url) else { return String::new() };
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}
