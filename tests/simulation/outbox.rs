//! The outbox on virtual time: the dispatcher's decisions ([`tongbao::engine::outbox`]) over a table that is what was
//! committed, receivers that refuse and hang, a store that goes away, rows that cannot be read, a clock that is set back,
//! and lives of the server that end with everything they had in memory.
//!
//! Every webhook is delivered, byte for byte, or was given up after all its tries; none waits for ever. Nobody is told
//! again what is noted as delivered, and nobody's silence keeps others waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use tongbao::domain::event::WebhookKind;
use tongbao::domain::id::PlatformId;
use tongbao::domain::stream::{Kind, StreamId};
use tongbao::domain::time::Instant;
use tongbao::engine::outbox::{Found, Key, Look, Outbox, Post, Rules};
use tongbao::store::{Delivery, OutboxItem, OutboxPlace, OutboxRow, Seen, StoreError};

use crate::agenda::Agenda;
use crate::dice::Dice;
use crate::trace;

const START: Instant = Instant(1_800_000_000_000);
const LOOK_EVERY_MS: i64 = 1_000;
const TIMEOUT_MS: i64 = 10_000;
const TROUBLE_MS: i64 = 10 * 60_000;
const HOSTS: u64 = 6;
/// The first host is always well.
const WELL: u64 = 0;
/// With so much room, dead hosts leave enough of it to whoever is well.
const AMPLE: usize = 64;

/// What a run has got into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    FullRoom,
    FailedTry,
    DeadLetter,
    LostNote,
    LostLife,
    UnreadPage,
    UnreadableRow,
    ClockSetBack,
    SecondDelivery,
}

impl Sight {
    pub const ALL: [Sight; 9] = [
        Sight::FullRoom,
        Sight::FailedTry,
        Sight::DeadLetter,
        Sight::LostNote,
        Sight::LostLife,
        Sight::UnreadPage,
        Sight::UnreadableRow,
        Sight::ClockSetBack,
        Sight::SecondDelivery,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    Refuses,
    Hangs,
}

#[derive(Debug)]
enum What {
    Burst,
    /// The dispatcher hears of a commit.
    Written {
        life: u32,
        post: Post,
    },
    Look {
        life: u32,
    },
    /// The store answers with what it held when it was asked.
    Hastened {
        life: u32,
        done: Result<(), StoreError>,
    },
    Page {
        life: u32,
        page: Result<Vec<Seen<OutboxPlace, OutboxItem>>, StoreError>,
    },
    Arrive {
        life: u32,
        post: Post,
    },
    Noted {
        life: u32,
        post: Post,
        sent: Result<(), String>,
    },
    Moods,
    StoreAway,
    StoreBack,
    SetBack,
    Restart,
    Calm,
}

#[derive(Debug)]
struct Row {
    row: OutboxRow,
    tries: u32,
    next_at: Option<Instant>,
    readable: bool,
}

/// What happened to a webhook in truth.
#[derive(Debug)]
struct Truth {
    host: u64,
    told_at: Instant,
    /// When it was first delivered.
    taken_at: Option<Instant>,
    failed: u32,
}

struct World {
    dice: Dice,
    agenda: Agenda<What>,
    rules: Rules,
    outbox: Outbox,
    life: u32,
    in_flight: BTreeSet<Key>,
    table: BTreeMap<Key, Row>,
    /// The table's index of what is to be delivered.
    due: BTreeSet<OutboxPlace>,
    truth: BTreeMap<Key, Truth>,
    moods: Vec<Mood>,
    store_away: bool,
    /// How far the wall clock runs ahead of the true time, and how far this life has seen it set back.
    ahead_ms: i64,
    behind_ms: i64,
    calm: bool,
    bursts: u64,
    lost_ms: i64,
    sights: BTreeSet<Sight>,
}

/// One seed; what it has got into.
///
/// # Panics
/// When a webhook is lost, changed, forgotten or told again.
pub fn run(seed: u64) -> BTreeSet<Sight> {
    let dice = Dice::new(seed ^ 0x006f_7574_626f_7865);
    let gaps = dice.pick(&[&[1_000][..], &[1_000, 5_000, 30_000], &[200, 200, 60_000, 300_000, 600_000]]);
    let room = dice.pick(&[1, 2, 9, 20, AMPLE]);
    let batch_max = if room == AMPLE { 8 } else { dice.pick(&[1, 2, 3, 8]) };
    let rules = Rules { batch_max, retry_ms: gaps.to_vec(), room };
    let mut world = World {
        outbox: Outbox::new(rules.clone()),
        rules,
        agenda: Agenda::new(START),
        life: 0,
        in_flight: BTreeSet::new(),
        table: BTreeMap::new(),
        due: BTreeSet::new(),
        truth: BTreeMap::new(),
        moods: vec![Mood::Takes; HOSTS as usize],
        store_away: false,
        ahead_ms: dice.pick(&[0, 0, 40_000, 7_200_000]),
        behind_ms: 0,
        calm: false,
        bursts: 1 + dice.below(12),
        lost_ms: 0,
        sights: BTreeSet::new(),
        dice,
    };
    world.begin();
    world.go();
    world.sights
}

impl World {
    fn begin(&mut self) {
        for _ in 0..self.bursts {
            let at = self.dice.between((0, TROUBLE_MS / 2));
            self.agenda.after(at, What::Burst);
        }
        for _ in 0..self.dice.below(8) {
            let at = self.dice.between((0, TROUBLE_MS));
            self.agenda.after(at, What::Moods);
        }
        for _ in 0..self.dice.below(3) {
            let at = self.dice.between((0, TROUBLE_MS - 1));
            self.agenda.after(at, What::StoreAway);
        }
        // A life that begins after the clock was set back does not know of it.
        if self.ahead_ms > 0 {
            let at = self.dice.between((0, TROUBLE_MS));
            self.agenda.after(at, What::SetBack);
            if self.dice.happens(300) {
                self.agenda.after(at, What::StoreAway);
            }
        } else {
            for _ in 0..self.dice.below(3) {
                let at = self.dice.between((0, TROUBLE_MS));
                self.agenda.after(at, What::Restart);
            }
        }
        self.agenda.after(TROUBLE_MS, What::Calm);
        self.agenda.after(0, What::Look { life: 0 });
    }

    fn go(&mut self) {
        while let Some(what) = self.agenda.next() {
            self.happen(what);
            assert!(self.in_flight.len() <= self.rules.room, "more in memory than there is room for");
            if self.calm && self.due.is_empty() {
                break;
            }
            let limit = START.plus_ms(TROUBLE_MS).plus_ms(self.patience_ms());
            assert!(self.agenda.now <= limit, "{} webhooks wait for ever", self.due.len());
        }
        self.audit();
    }

    /// Every gap once more, and every webhook one second after the other thrice.
    fn patience_ms(&self) -> i64 {
        let gaps: i64 = self.rules.retry_ms.iter().map(|gap| i64::try_from(*gap).expect("a gap") * 11 / 10).sum();
        let told = i64::try_from(self.truth.len()).expect("a few");
        gaps + 3_000 * told + 120_000
    }

    fn audit(&self) {
        let limit_ms = 60_000 + 100 * i64::try_from(self.truth.len()).expect("a few") + self.lost_ms;
        for (key, truth) in &self.truth {
            match self.table.get(key) {
                None => assert!(truth.taken_at.is_some(), "{key:?} was noted as delivered and nobody took it"),
                Some(row) => {
                    let all = u32::try_from(self.rules.retry_ms.len() + 1).expect("a few");
                    assert!(row.tries == all && truth.failed >= all, "{key:?} was given up early: {truth:?}");
                }
            }
            if self.rules.room == AMPLE && truth.host == WELL {
                let taken_at = truth.taken_at.expect("who is always well takes everything");
                let waited_ms = taken_at.since_ms(truth.told_at);
                assert!(waited_ms <= limit_ms, "{key:?} waited {waited_ms} ms for the silence of others");
            }
        }
    }

    /// By the wall clock.
    fn now(&self) -> Instant {
        self.agenda.now.plus_ms(self.ahead_ms)
    }

    fn happen(&mut self, what: What) {
        trace::note(|| format!("{} {what:?}", self.agenda.now.since_ms(START)));
        match what {
            What::Burst => self.burst(),
            What::Written { life, post } if life == self.life => {
                let post = self.outbox.written(post);
                self.deliver(post);
            }
            What::Look { life } if life == self.life => {
                self.agenda.after(LOOK_EVERY_MS, What::Look { life });
                let look = self.outbox.look(self.behind_ms);
                self.ask(look);
            }
            What::Hastened { life, done } if life == self.life => {
                let look = self.outbox.hastened(&done);
                self.ask(Some(look));
            }
            What::Page { life, page } if life == self.life => self.page(page),
            What::Arrive { life, post } => self.arrive(life, post),
            What::Noted { life, post, sent } if life == self.life => self.note(post, sent),
            What::Moods => {
                for host in WELL + 1..HOSTS {
                    self.moods[host as usize] = self.dice.pick(&[Mood::Takes, Mood::Refuses, Mood::Hangs, Mood::Hangs]);
                }
            }
            What::StoreAway => {
                let span_ms = self.dice.between((1, 20_000));
                self.lost_ms += span_ms;
                self.store_away = true;
                self.agenda.after(span_ms, What::StoreBack);
            }
            What::StoreBack => self.store_away = false,
            What::SetBack => {
                self.sights.insert(Sight::ClockSetBack);
                self.behind_ms += std::mem::take(&mut self.ahead_ms);
            }
            What::Restart => {
                self.sights.insert(Sight::LostLife);
                self.lost_ms += TIMEOUT_MS;
                self.life += 1;
                self.behind_ms = 0;
                self.in_flight.clear();
                self.outbox = Outbox::new(self.rules.clone());
                self.agenda.after(0, What::Look { life: self.life });
            }
            What::Calm => {
                self.calm = true;
                self.moods.fill(Mood::Takes);
                self.table.values_mut().for_each(|row| row.readable = true);
            }
            // Of a life that has ended.
            What::Written { .. }
            | What::Look { .. }
            | What::Hastened { .. }
            | What::Page { .. }
            | What::Noted { .. } => {}
        }
    }

    /// Writes when a webhook is due; never, where it was given up.
    fn is_due(&mut self, key: Key, next_at: Option<Instant>) -> &mut Row {
        let row = self.table.get_mut(&key).expect("it is not delivered");
        if let Some(before) = std::mem::replace(&mut row.next_at, next_at) {
            self.due.remove(&(before, key.0, key.1));
        }
        self.due.extend(next_at.map(|next_at| (next_at, key.0, key.1)));
        row
    }

    /// Some orders tell something at once.
    fn burst(&mut self) {
        if self.store_away {
            return self.agenda.after(1_000, What::Burst);
        }
        let busy = self.dice.below(HOSTS);
        let many = if self.rules.room == AMPLE && busy != WELL { 200 } else { 40 };
        for _ in 0..1 + self.dice.below(many) {
            let host = if self.dice.happens(600) { busy } else { self.dice.below(HOSTS) };
            let key = (StreamId { kind: Kind::ORDER, id: self.truth.len() as u128 }, 1);
            let row = OutboxRow {
                kind: WebhookKind::OrderSucceeded,
                sequence: key.1,
                at: self.now(),
                platform: PlatformId(1),
                url: format!("https://host-{host}.example/hook").into(),
                trace: key.0.id,
                body: body_of(key).into(),
            };
            let readable = host == WELL || !self.dice.happens(30);
            self.truth.insert(key, Truth { host, told_at: self.agenda.now, taken_at: None, failed: 0 });
            self.table.insert(key, Row { row: row.clone(), tries: 0, next_at: None, readable });
            self.is_due(key, Some(self.now()));
            // Those that nobody hears of are found by a look.
            if self.dice.happens(700) && readable {
                let delay_ms = self.dice.between((0, 900));
                let written = What::Written { life: self.life, post: Post::new(key.0, row) };
                self.agenda.after(delay_ms, written);
            }
        }
    }

    fn ask(&mut self, look: Option<Look>) {
        let Some(look) = look else { return };
        let life = self.life;
        let answer = match look {
            Look::Hasten { by_ms } => {
                let done = self.store().map(|()| {
                    let first = StreamId { kind: Kind(0), id: 0 };
                    let late = self.due.range((self.now().plus_ms(1), first, 0)..);
                    for (next_at, stream, sequence) in late.copied().collect::<Vec<_>>() {
                        self.is_due((stream, sequence), Some(next_at.plus_ms(-by_ms)));
                    }
                });
                What::Hastened { life, done }
            }
            Look::Page { after, limit } => What::Page { life, page: self.store().map(|()| self.read(after, limit)) },
        };
        let delay_ms = if self.dice.happens(20) { 2_500 } else { self.dice.between((1, 50)) };
        self.agenda.after(delay_ms, answer);
    }

    fn store(&self) -> Result<(), StoreError> {
        if self.store_away { Err(StoreError::Unavailable("away".to_owned())) } else { Ok(()) }
    }

    fn read(&self, after: Option<OutboxPlace>, limit: u32) -> Vec<Seen<OutboxPlace, OutboxItem>> {
        let now = self.now();
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let due = self.due.range((after, Bound::Unbounded)).take_while(|place| place.0 <= now);
        let seen = |place: OutboxPlace| {
            let row = &self.table[&(place.1, place.2)];
            let value = match row.readable {
                false => Err(StoreError::Corrupt("damaged".to_owned())),
                true => Ok(OutboxItem {
                    stream: place.1,
                    row: row.row.clone(),
                    tries: row.tries,
                    next_at: place.0,
                    secret: "whsec_".into(),
                }),
            };
            Seen { key: Some(place), value }
        };
        due.copied().take(limit as usize).map(seen).collect()
    }

    fn page(&mut self, page: Result<Vec<Seen<OutboxPlace, OutboxItem>>, StoreError>) {
        if page.is_err() {
            self.sights.insert(Sight::UnreadPage);
        }
        let Found { posts, unreadable, next } = self.outbox.page(page);
        if !unreadable.is_empty() {
            self.sights.insert(Sight::UnreadableRow);
        }
        for (post, _) in posts {
            self.deliver(Some(post));
        }
        if self.in_flight.len() == self.rules.room {
            self.sights.insert(Sight::FullRoom);
        }
        self.ask(next);
    }

    fn deliver(&mut self, post: Option<Post>) {
        let Some(post) = post else { return };
        assert!(self.table.contains_key(&post.key), "{:?} goes out again, though it is noted as delivered", post.key);
        assert!(self.in_flight.insert(post.key), "{:?} goes out twice at once", post.key);
        let delay_ms = self.dice.between((1, 400));
        self.agenda.after(delay_ms, What::Arrive { life: self.life, post });
    }

    /// A delivery reaches its receiver, also where the life that sent it has ended.
    fn arrive(&mut self, life: u32, post: Post) {
        assert_eq!(*post.row.body, *body_of(post.key), "every try sends the same");
        let truth = self.truth.get_mut(&post.key).expect("it was told");
        let mood = self.moods[truth.host as usize];
        let (sent, after_ms) = match mood {
            Mood::Takes => {
                if truth.taken_at.is_some() {
                    self.sights.insert(Sight::SecondDelivery);
                }
                truth.taken_at.get_or_insert(self.agenda.now);
                (Ok(()), 1)
            }
            Mood::Refuses => (Err("answered 500".to_owned()), 1),
            Mood::Hangs => (Err("timed out".to_owned()), TIMEOUT_MS),
        };
        if sent.is_err() {
            truth.failed += 1;
            self.sights.insert(Sight::FailedTry);
        }
        self.agenda.after(after_ms, What::Noted { life, post, sent });
    }

    fn note(&mut self, post: Post, sent: Result<(), String>) {
        let now = self.now();
        let jitter = self.dice.roll();
        let delivery = self.rules.delivery(&post, sent, now, |gap_ms| jitter % (gap_ms / 10 + 1));
        if self.store_away {
            self.sights.insert(Sight::LostNote);
        } else {
            match delivery {
                Delivery::Delivered { stream, sequence } => {
                    self.is_due((stream, sequence), None);
                    self.table.remove(&(stream, sequence));
                }
                Delivery::Failed { stream, sequence, tries, next_at, .. } => {
                    self.is_due((stream, sequence), Some(next_at)).tries = tries;
                }
                Delivery::Dead { stream, sequence, tries, .. } => {
                    self.sights.insert(Sight::DeadLetter);
                    self.is_due((stream, sequence), None).tries = tries;
                }
            }
        }
        self.in_flight.remove(&post.key);
        self.outbox.over(post.key, &post.host);
    }
}

/// What is told of a webhook, which is the same at every try.
fn body_of((stream, sequence): Key) -> Vec<u8> {
    format!("{stream} {sequence}").into_bytes()
}
