//! Open connections: how long each may take for what, and which one gives way where there is no room.
//!
//! actix-web times the first head and an idle connection, but neither writes nor what is left of a body that nobody
//! reads. So every connection is read and written through a [`Guarded`] stream, which fails once a deadline has passed,
//! whatever the dispatcher above waits for.

mod guarded;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

pub use guarded::Guarded;

use super::limits::{is_exempt, network};
use crate::config::{Network, Server};

/// How much later than its own time-out the dispatcher is cut off: a client that is slow with its head still hears 408.
const GRACE: Duration = Duration::from_secs(2);

/// How long a connection may take for each part of its work.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    pub head: Duration,
    /// What is left of a body once its answer was given; before that its reader has a deadline of its own.
    pub body: Duration,
    /// From an answer until all of it is taken.
    pub answer: Duration,
    pub idle: Duration,
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub all: usize,
    pub per_address: usize,
}

/// Why a connection is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Head,
    Body,
    Answer,
    Idle,
    /// Another one needed the room.
    Room,
}

impl Cut {
    const fn name(self) -> &'static str {
        match self {
            Cut::Head => "head",
            Cut::Body => "body",
            Cut::Answer => "answer",
            Cut::Idle => "idle",
            Cut::Room => "room",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing of the next request has come.
    Idle,
    /// Some bytes of a head.
    Head,
    /// A head whose body has not ended; its handler is at work.
    Body,
    /// A complete request; its handler is at work.
    Serving,
    /// The answer was given before the body ended.
    Draining,
}

#[derive(Debug)]
struct Progress {
    phase: Phase,
    since: Instant,
    /// The last complete request; until there is one, the opening.
    complete: Instant,
    /// When the last answer was given.
    answered: Instant,
    /// When the answer was given of which the client has not taken all.
    blocked: Option<Instant>,
}

/// What a request brings along behind its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Absent,
    Outstanding,
}

/// What is to become of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Reuse,
    Close,
}

/// One connection, as its stream, its requests and the room see it.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    /// Whose bound it counts for.
    address: Option<IpAddr>,
    gives_way: AtomicBool,
    task: AtomicWaker,
    progress: Mutex<Progress>,
}

impl Connection {
    fn new(id: u64, address: Option<IpAddr>) -> Self {
        let now = Instant::now();
        let progress = Progress { phase: Phase::Head, since: now, complete: now, answered: now, blocked: None };
        Connection {
            id,
            address,
            gives_way: AtomicBool::new(false),
            task: AtomicWaker::new(),
            progress: Mutex::new(progress),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's head is complete.
    pub fn head_came(&self, body: Body) {
        let mut progress = self.progress();
        let now = Instant::now();
        progress.since = now;
        match body {
            Body::Absent => {
                progress.phase = Phase::Serving;
                progress.complete = now;
            }
            Body::Outstanding => progress.phase = Phase::Body,
        }
    }

    /// The request's body was read to its end.
    pub fn body_came(&self) {
        let mut progress = self.progress();
        if progress.phase == Phase::Body {
            let now = Instant::now();
            progress.phase = Phase::Serving;
            progress.since = now;
            progress.complete = now;
        }
    }

    /// The answer is about to be written. A body that nobody read to its end may go on for ever where its length was
    /// not announced: it gets its time, and no request follows it.
    pub fn answered(&self, is_chunked: impl FnOnce() -> bool) -> After {
        let mut progress = self.progress();
        progress.since = Instant::now();
        progress.answered = progress.since;
        let (phase, after) = match progress.phase {
            Phase::Body if is_chunked() => (Phase::Draining, After::Close),
            Phase::Idle | Phase::Head | Phase::Body | Phase::Serving | Phase::Draining => (Phase::Idle, After::Reuse),
        };
        progress.phase = phase;
        after
    }

    /// Bytes came from the client.
    fn received(&self) {
        let mut progress = self.progress();
        // What comes before the answer was taken waits for its turn.
        if progress.phase == Phase::Idle && progress.blocked.is_none() {
            progress.phase = Phase::Head;
            progress.since = Instant::now();
        }
    }

    /// The client takes nothing at present. However often it takes a little, the answer's time goes on; and answers to
    /// requests that it sent meanwhile give it no more.
    fn is_blocked(&self) {
        let mut progress = self.progress();
        let answered = progress.answered;
        progress.blocked.get_or_insert(answered);
    }

    /// The client took all that there was.
    fn is_flushed(&self) {
        self.progress().blocked = None;
    }

    /// When it is cut off, and why. A handler at work has its own bounds.
    fn deadline(&self, spans: &Spans) -> Option<(Instant, Cut)> {
        let progress = self.progress();
        let waiting = match progress.phase {
            Phase::Idle => Some((progress.since + spans.idle + GRACE, Cut::Idle)),
            Phase::Head => Some((progress.since + spans.head + GRACE, Cut::Head)),
            Phase::Draining => Some((progress.since + spans.body, Cut::Body)),
            Phase::Body | Phase::Serving => None,
        };
        let answer = progress.blocked.map(|since| (since + spans.answer, Cut::Answer));
        [waiting, answer].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// When it last had a complete request; one that is being served has it now.
    fn complete(&self, now: Instant) -> Instant {
        let progress = self.progress();
        match progress.phase {
            Phase::Serving => now,
            Phase::Idle | Phase::Head | Phase::Body | Phase::Draining => progress.complete,
        }
    }

    /// Ends it, wherever it stands.
    fn give_way(&self) {
        self.gives_way.store(true, Ordering::Release);
        self.task.wake();
    }
}

/// All connections of a listener.
#[derive(Debug)]
pub struct Room {
    bounds: Bounds,
    spans: Spans,
    trusted: Vec<Network>,
    inside: Mutex<Inside>,
}

/// In the order of their last complete request, as far as it is known: a request does not come here to say so, so that
/// whoever looks for the first one sorts in again those that have had one since.
#[derive(Debug, Default)]
struct Inside {
    last_id: u64,
    connections: HashMap<u64, (Arc<Connection>, Instant)>,
    all: BTreeSet<(Instant, u64)>,
    by_address: HashMap<IpAddr, BTreeSet<(Instant, u64)>>,
}

impl Room {
    pub fn new(bounds: Bounds, settings: &Server) -> Self {
        let spans = Spans {
            head: Duration::from_millis(settings.head_timeout_ms),
            body: Duration::from_millis(settings.body_timeout_ms),
            answer: Duration::from_millis(settings.answer_timeout_ms),
            idle: Duration::from_millis(settings.idle_timeout_ms),
        };
        Room { bounds, spans, trusted: settings.trusted_proxies.clone(), inside: Mutex::default() }
    }

    pub fn spans(&self) -> Spans {
        self.spans
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one in. Where there is no room, the one that has gone longest without a complete request gives way: of
    /// the same address at that address's bound, of all at the bound of all.
    pub fn enter(&self, peer: Option<SocketAddr>) -> Arc<Connection> {
        let address = peer.map(|peer| peer.ip()).filter(|address| !is_exempt(*address, &self.trusted)).map(network);
        let mut inside = self.inside();
        let crowded = address.is_some_and(|address| {
            inside.by_address.get(&address).is_some_and(|those| those.len() >= self.bounds.per_address)
        });
        if crowded {
            inside.make_way(address);
        } else if inside.all.len() >= self.bounds.all {
            inside.make_way(None);
        }
        inside.last_id += 1;
        let connection = Arc::new(Connection::new(inside.last_id, address));
        let opened = connection.progress().complete;
        inside.put(Arc::clone(&connection), opened);
        metrics::gauge!("tongbao_connections").increment(1.0);
        connection
    }

    /// It is closed.
    fn leave(&self, connection: &Connection) {
        self.inside().take(connection.id);
        metrics::gauge!("tongbao_connections").decrement(1.0);
    }
}

impl Inside {
    fn put(&mut self, connection: Arc<Connection>, at: Instant) {
        let place = (at, connection.id);
        self.all.insert(place);
        if let Some(address) = connection.address {
            self.by_address.entry(address).or_default().insert(place);
        }
        self.connections.insert(connection.id, (connection, at));
    }

    fn take(&mut self, id: u64) -> Option<Arc<Connection>> {
        let (connection, at) = self.connections.remove(&id)?;
        self.all.remove(&(at, id));
        if let Some(address) = connection.address
            && let Some(those) = self.by_address.get_mut(&address)
        {
            those.remove(&(at, id));
            if those.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(connection)
    }

    /// Ends the one that has gone longest without a complete request, of this address or of all.
    fn make_way(&mut self, address: Option<IpAddr>) {
        let now = Instant::now();
        loop {
            let those = match &address {
                Some(address) => self.by_address.get(address),
                None => Some(&self.all),
            };
            let Some((known, id)) = those.and_then(BTreeSet::first).copied() else { return };
            let Some(connection) = self.take(id) else { return };
            let complete = connection.complete(now);
            if complete <= known {
                connection.give_way();
                return;
            }
            self.put(connection, complete);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn room(all: usize, per_address: usize) -> Room {
        let mut settings = Config::load(&[]).unwrap().server;
        settings.trusted_proxies = vec![Network::try_from("10.0.0.0/8".to_owned()).unwrap()];
        Room::new(Bounds { all, per_address }, &settings)
    }

    fn from(address: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(address.parse().unwrap(), 1_024))
    }

    /// Which of them had to give way.
    fn gone(connections: &[Arc<Connection>]) -> Vec<usize> {
        let gives_way = |connection: &Connection| connection.gives_way.load(Ordering::Acquire);
        (0..connections.len()).filter(|number| gives_way(&connections[*number])).collect()
    }

    /// Makes the next instant a later one.
    fn pass() {
        std::thread::sleep(Duration::from_millis(1));
    }

    #[test]
    fn the_one_that_has_gone_longest_without_a_complete_request_gives_way() {
        let room = room(4, 100);
        let mut connections = Vec::new();
        for _ in 0..4 {
            connections.push(room.enter(from("192.0.2.1")));
            pass();
        }
        // The first has asked since, the second is being served, the third has sent a head and no body.
        connections[0].head_came(Body::Absent);
        assert_eq!(connections[0].answered(|| false), After::Reuse);
        connections[1].head_came(Body::Outstanding);
        connections[1].body_came();
        connections[2].head_came(Body::Outstanding);
        pass();
        let mut order = Vec::new();
        for _ in 0..4 {
            connections.push(room.enter(from("192.0.2.2")));
            let new: Vec<usize> = gone(&connections).into_iter().filter(|number| !order.contains(number)).collect();
            order.extend(new);
            pass();
        }
        // Whoever is being served stays before those who came later and said nothing.
        assert_eq!(order, [2, 3, 0, 4]);
        assert_eq!(room.inside().all.len(), 4);
        for connection in &connections {
            room.leave(connection);
        }
        let inside = room.inside();
        assert!(inside.all.is_empty() && inside.by_address.is_empty() && inside.connections.is_empty());
    }

    #[test]
    fn an_address_takes_no_more_than_its_share_unless_many_stand_behind_it() {
        let room = room(100, 2);
        let mut connections = vec![room.enter(from("198.51.100.9"))];
        pass();
        for address in ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            connections.push(room.enter(from(address)));
            pass();
        }
        for _ in 0..3 {
            for address in ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"] {
                connections.push(room.enter(from(address)));
            }
        }
        assert_eq!(gone(&connections), [1], "one /64 is one address");
    }

    #[test]
    fn every_part_of_the_work_has_its_deadline() {
        let room = room(1, 1);
        let spans = room.spans();
        let connection = room.enter(None);
        let due = || connection.deadline(&spans).map(|(at, why)| (why, at - connection.progress().since));
        assert_eq!(due(), Some((Cut::Head, spans.head + GRACE)));
        connection.head_came(Body::Outstanding);
        assert_eq!(due(), None, "the handler has its own");
        assert_eq!(connection.answered(|| true), After::Close);
        let since = connection.progress().since;
        assert_eq!(due(), Some((Cut::Body, spans.body)));
        connection.received();
        assert_eq!(
            (due(), connection.progress().since),
            (Some((Cut::Body, spans.body)), since),
            "dripping is no way out"
        );
        connection.head_came(Body::Absent);
        assert_eq!(connection.answered(|| false), After::Reuse);
        let answered = connection.progress().answered;
        let late = Some((answered + spans.answer, Cut::Answer));
        pass();
        connection.is_blocked();
        assert_eq!(connection.deadline(&spans), late);
        connection.is_flushed();
        connection.is_blocked();
        assert_eq!(connection.deadline(&spans), late, "taking a part gives no more time");
        connection.received();
        connection.head_came(Body::Absent);
        connection.answered(|| false);
        assert_eq!(connection.deadline(&spans), late, "nor does asking again");
        connection.is_flushed();
        assert_eq!(due(), Some((Cut::Idle, spans.idle + GRACE)));
        connection.received();
        assert_eq!(due(), Some((Cut::Head, spans.head + GRACE)));
    }
}
