//! One run: the server, its store, the gateways and the people, on one clock.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard};

use tongbao::domain::id::{AttemptNumber, OrderId, RefundId};
use tongbao::domain::time::Instant;
use tongbao::engine::ask::{AskError, Placed, Taken};
use tongbao::engine::finder::Found;

use crate::agenda::Agenda;
use crate::auditor;
use crate::cycles;
use crate::dice::Dice;
use crate::gateways::{Gateways, Mood};
use crate::lanes::{self, LateGroup};
use crate::life::{Asked, Heard, Life, Look, Notice, RefundTold};
use crate::people::{self, Buyer, Extent};
use crate::ports::incarnation;
use crate::reminders;
use crate::scene::{Scene, lock};
use crate::sights::{self, Sight};
use crate::store::Store;
use crate::trace;
use crate::weather::{Habits, Weather};
use crate::what::What;

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
pub const START: Instant = Instant(1_800_000_000_000);
/// When whatever has not come to rest after the last trouble is declared stuck.
const REST_MAX_MS: i64 = 60 * DAY;
/// More than twice what any run needs; beyond it something turns in circles.
const HAPPENINGS_MAX: u32 = 60_000;
/// More than ever go on at one instant.
const STIRS_MAX: u32 = 20_000;
/// How often callbacks are looked for in the inbox while some lie there.
pub const INBOX_EVERY_MS: i64 = 30 * SECOND;

pub struct World {
    pub dice: Arc<Dice>,
    pub scene: Arc<Scene>,
    pub weather: Weather,
    pub habits: Habits,
    pub agenda: Agenda<What>,
    pub gateways: Gateways,
    pub life: Option<Life>,
    pub buyers: Vec<Buyer>,
    lives: u32,
    /// Calls and orders so far, for their numbers.
    pub calls: u64,
    pub orders: u128,
    pub reminders: u128,
    pub late_groups: Vec<LateGroup>,
    /// How often something of the server or its store has moved.
    pub moves: u64,
    waking: Waking,
    /// A lane has said that this process must not go on.
    pub is_stopping: bool,
    /// When trouble ends.
    pub calm_at: Instant,
    /// Captures whose callback the gateway knows to have been heard.
    pub heard: BTreeSet<(AttemptNumber, String)>,
    /// The same of refunds, by their numbers and whether they came back.
    pub heard_refunds: BTreeSet<(AttemptNumber, String, bool)>,
    /// Webhooks that their receivers have taken.
    pub received: BTreeSet<(OrderId, u32)>,
}

/// Whether it is on the agenda when the engine next waits for time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waking {
    Planned,
    Unplanned,
}

/// One whole run of a seed.
pub fn run(seed: u64) {
    let dice = Arc::new(Dice::new(seed));
    let weather = Weather::draw(&dice);
    let habits = Habits::draw(&dice);
    trace::note(|| format!("{weather:?} {habits:?}"));
    let scene = Scene::new(dice.clone(), START, Store::new(habits.lanes, START));
    let mut world = World {
        agenda: Agenda::new(START),
        scene,
        gateways: Gateways::default(),
        life: None,
        buyers: Vec::new(),
        lives: 0,
        calls: 0,
        orders: 0,
        reminders: 0,
        late_groups: Vec::new(),
        moves: 0,
        waking: Waking::Unplanned,
        is_stopping: false,
        calm_at: START,
        heard: BTreeSet::new(),
        heard_refunds: BTreeSet::new(),
        received: BTreeSet::new(),
        dice,
        weather,
        habits,
    };
    world.begin_life();
    let calm_at = people::arrive(&mut world);
    world.calm_at = calm_at;
    world.agenda.at(calm_at, What::Calm);
    world.live();
    auditor::at_the_end(&world);
}

impl World {
    pub fn now(&self) -> Instant {
        self.agenda.now
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.scene.store()
    }

    fn live(&mut self) {
        let mut happenings = 0;
        while let Some(what) = self.agenda.next() {
            if self.now() > self.calm_at.plus_ms(REST_MAX_MS) {
                break;
            }
            if what.life().is_some_and(|life| !self.is_alive(life)) {
                continue;
            }
            let now = self.now();
            self.scene.go_to(now);
            happenings += 1;
            assert!(happenings < HAPPENINGS_MAX, "the run does not come to rest");
            trace::note(|| format!("+{:>10} ms  {what:?}", now.since_ms(START)));
            let before = self.moves;
            self.happen(what);
            self.stir();
            // Where nothing has moved, all is as it was.
            if self.moves > before {
                auditor::look(self);
            }
            if self.is_stopping || self.dice.happens(self.weather.crash) {
                self.crash();
            }
            if self.moves > before || self.waking == Waking::Unplanned {
                self.plan();
            }
        }
    }

    fn is_alive(&self, life: u32) -> bool {
        self.life.as_ref().is_some_and(|alive| alive.number == life)
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Create { buyer } => people::create(self, buyer),
            What::Pay { buyer } => people::pay(self, buyer),
            What::Cancel { buyer } => people::cancel(self, buyer),
            What::Agree { buyer } => people::agree(self, buyer),
            What::Refund { buyer, name } => people::refund(self, buyer, name),
            What::Remind { buyer, wait_ms } => reminders::set(self, buyer, wait_ms),
            What::CloseEarly { calendar, ahead } => cycles::close_early(self, calendar, ahead),
            What::Join { platform } => cycles::join(self, platform),
            What::Browse { number } => {
                let now = self.now();
                self.gateways.open(number, now);
            }
            What::LastMoment { shown } => people::hurry(self, shown),
            What::Resolve { extent } => people::resolve(self, extent),
            What::Wake { .. } => self.wake(),
            What::Scan { .. } => self.scan(),
            What::LookIntoInbox { .. } => self.look_into_inbox(),
            What::Post { key, .. } => self.post(key),
            What::LookIntoOutbox { .. } => self.look_into_outbox(),
            What::Deliver { .. } => self.deliver(),
            What::Depart { call, .. } => self.depart(call),
            What::TimeOut { call, .. } => self.answer(call, None),
            What::Answer { call, reply, .. } => self.answer(call, Some(reply)),
            What::Arrive { number, account, request, copy } => {
                self.arrive((number, account), &request, copy);
            }
            What::StoreAnswers { lane, .. } => self.store_answers(lane),
            What::Land => self.land(),
            What::Damage { buyer } => self.damage(buyer),
            What::Repair { id } => drop(self.store().damaged.remove(&id)),
            What::Take { number } => self.take(number),
            What::Decline { number } => {
                let mood = if self.dice.happens(300) { Mood::Other } else { Mood::Plain };
                self.gateways.decline(number, mood);
            }
            What::Lie { number } => self.lie(number),
            What::Notify { notice } => self.notify(notice),
            What::ComeBack { number, refund_number } => self.refund_comes_back(number, refund_number),
            What::NotifyRefund { notice } => self.notify_refund(notice),
            What::Restart => self.restart(),
            What::Calm => {
                self.weather = Weather::calm();
                self.scene.end_outage_at(self.now());
                self.store().damaged.clear();
                // What no rule can end is for a person to end, with the channel's word in hand.
                for wait_ms in [HOUR, DAY, 2 * DAY, 3 * DAY, 4 * DAY] {
                    self.agenda.after(wait_ms, What::Resolve { extent: Extent::Endless });
                }
            }
        }
    }

    /// Something that belongs to the life of the server that now is.
    pub fn later(&mut self, span_ms: i64, what: impl FnOnce(u32) -> What) {
        if let Some(life) = &self.life {
            self.agenda.after(span_ms, what(life.number));
        }
    }

    fn damage(&mut self, buyer: usize) {
        let Some(id) = self.store().by_name(&self.buyers[buyer].name()) else { return };
        self.store().damaged.insert(id);
        let span_ms = self.dice.pick(&[100, 2 * SECOND, MINUTE, 20 * MINUTE]);
        self.agenda.after(span_ms, What::Repair { id });
    }

    // --- life and death --------------------------------------------------------------------------------------------

    fn crash(&mut self) {
        self.is_stopping = false;
        let Some(mut life) = self.life.take() else { return };
        trace::note(|| "         the process crashes".to_owned());
        for (lane, (asked, _)) in std::mem::take(&mut life.asked) {
            match asked {
                Asked::Commit(group, draft) => self.late_groups.push(LateGroup { lane, group, draft: *draft }),
                Asked::Beat { .. } | Asked::FindLosers(_) => {}
            }
        }
        drop(life);
        self.scene.forget_sleepers();
        auditor::books_add_up(&self.store());
        let down_ms = self.dice.between(self.weather.down_ms);
        self.agenda.after(down_ms, What::Restart);
    }

    fn restart(&mut self) {
        // Taking the store over waits for what was under way there, and fences the rest out.
        for late in std::mem::take(&mut self.late_groups) {
            if self.dice.happens(500) {
                self.write_late(&late);
            }
        }
        self.begin_life();
        self.later(10, |life| What::Scan { life });
        self.plan_inbox(10);
        self.plan_outbox(10);
        self.plan_messages(10);
        let dues: Vec<Instant> = self.store().dues().map(|(due_at, _)| due_at).collect();
        for due_at in dues {
            self.plan_scan(due_at);
        }
    }

    fn begin_life(&mut self) {
        self.lives += 1;
        let owners = self.store().take_over(incarnation(self.lives));
        self.life = Some(Life::begin(self.lives, &self.scene, owners, &self.habits, START));
    }

    // --- what goes on ----------------------------------------------------------------------------------------------

    /// Lets everything go on that can, until nothing moves at this instant any more.
    fn stir(&mut self) {
        for _ in 0..STIRS_MAX {
            let Some(life) = &mut self.life else { return };
            match life.crew.choose() {
                Some((number, way)) => {
                    *lock(&life.ship.at_work) = way;
                    life.crew.go_on(number);
                    self.moves += 1;
                    *lock(&life.ship.at_work) = None;
                    life.moved_at = self.agenda.now;
                    self.follow();
                }
                None if self.lanes_proceed() => {}
                None => return,
            }
        }
        panic!("it does not come to rest at this instant");
    }

    /// Takes up what the engine did to the world.
    fn follow(&mut self) {
        let Some(life) = &mut self.life else { return };
        let calls = std::mem::take(&mut *lock(&life.ship.called));
        let posted = std::mem::take(&mut *lock(&life.ship.posted));
        let heard = std::mem::take(&mut *lock(&life.heard));
        for key in std::mem::take(&mut *lock(&life.ship.delivered)) {
            life.delivering.remove(&key);
        }
        auditor::left(life);
        for (way, account, call) in calls {
            self.call(way, account, call);
        }
        for key in posted {
            let way_ms = self.dice.between((1, 500));
            self.later(way_ms, |life| What::Post { life, key });
        }
        for heard in heard {
            self.hear(heard);
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Created(Ok(placed)) => self.answered(&placed),
            Heard::Asked(_, Ok(placed)) => self.answered(&placed),
            Heard::Set(Ok(reminder)) => reminders::is_set(&self.store(), &reminder),
            Heard::Calendar(ahead, end) => cycles::heard(&self.store(), ahead, end),
            Heard::Set(Err(error)) => trace::note(|| format!("         no reminder: {error:?}")),
            Heard::Resolved(_, Ok(order)) => auditor::acknowledged(&self.store(), &order),
            Heard::Created(Err(error)) => trace::note(|| format!("         refused: {error:?}")),
            Heard::Asked(id, Err(error)) | Heard::Resolved(id, Err(error)) => self.refused(id, &error),
            Heard::Notified(notice, end) => self.notified(notice, end),
            Heard::Refunded(id, name, end) => self.refunded(id, &name, end),
            Heard::RefundNotified(notice, is_back, end) => self.refund_notified(notice, is_back, end),
            Heard::Looked(found) => match found {
                Found::More => self.later(50, |life| What::Scan { life }),
                Found::NoMore if self.scene.is_out() => self.plan_scan(self.now()),
                Found::NoMore => {}
            },
        }
    }

    fn answered(&self, placed: &Placed) {
        auditor::acknowledged(&self.store(), &placed.order);
    }

    fn refused(&self, id: OrderId, error: &AskError) {
        trace::note(|| format!("         {id} refuses: {error:?}"));
        let life = self.life.as_ref().expect("it has just answered");
        auditor::refused(life, &self.store(), id, error, self.now());
    }

    fn notified(&mut self, notice: Notice, end: Result<Taken, AskError>) {
        match end {
            Ok(Taken::ByOrder) => auditor::callback_acknowledged(&self.store(), &notice),
            Ok(Taken::ByInbox) => {
                sights::note(Sight::CallbackParked);
                auditor::callback_parked(&self.store(), &notice);
            }
            Err(error) => return self.refused(notice.number.order, &error),
        }
        if !self.dice.happens(self.weather.acknowledgement_lost) {
            self.heard.insert((notice.number, notice.reference));
        }
    }

    fn refunded(&mut self, id: OrderId, name: &str, end: Result<RefundId, AskError>) {
        match end {
            Ok(refund) => auditor::refund_acknowledged(&self.store(), refund, name),
            Err(error) => {
                auditor::refund_refused(&self.store(), id, name, &error);
                self.refused(id, &error);
            }
        }
    }

    fn refund_notified(&mut self, notice: RefundTold, is_back: bool, end: Result<(), AskError>) {
        match end {
            Ok(()) => auditor::refund_notice_acknowledged(&self.store(), &notice, is_back),
            Err(error) => {
                assert!(!matches!(error, AskError::Refused(_)), "{error:?} is no answer to {notice:?}");
                return self.refused(notice.number.order, &error);
            }
        }
        if !self.dice.happens(self.weather.acknowledgement_lost) {
            self.heard_refunds.insert((notice.number, notice.refund_number, is_back));
        }
    }

    // --- time ------------------------------------------------------------------------------------------------------

    /// Has the world woken when the engine next waits for time.
    fn plan(&mut self) {
        let now = self.now();
        self.waking = Waking::Planned;
        let Some(life) = &mut self.life else { return };
        // Nothing wakes in the directory of reminders before there is one.
        let reminders = if self.reminders > 0 { life.reminders.wakes_at() } else { None };
        let settling =
            life.calendars.wakes_at().into_iter().chain(life.payees.wakes_at()).chain(life.nettings.wakes_at());
        life.timers_at = life.directory.wakes_at().into_iter().chain(reminders).chain(settling).min();
        let lanes = life.ship.lanes.iter().enumerate().filter_map(|(place, lane)| {
            let wakes_at = lanes::wakes_at(&lock(lane))?;
            // Once the store has answered it is looked at again.
            let is_answered = life.asked.get(&place).is_some_and(|(_, answered_at)| *answered_at <= wakes_at);
            (!is_answered).then_some(wakes_at)
        });
        let times = lanes.chain(self.scene.wakes_at()).chain(life.timers_at).chain(sweeps_at(life, &self.habits));
        let Some(wakes_at) = times.min().map(|at| at.max(now.plus_ms(1))) else { return };
        life.wakes.retain(|at| *at > now);
        // Whoever wakes earlier plans again.
        if life.wakes.first().is_none_or(|first| *first > wakes_at) {
            life.wakes.insert(wakes_at);
            let life = life.number;
            self.agenda.at(wakes_at, What::Wake { life });
        }
    }

    fn wake(&mut self) {
        let now = self.now();
        self.waking = Waking::Unplanned;
        self.lanes_tick();
        let Some(life) = &mut self.life else { return };
        if life.timers_at.is_some_and(|at| at <= now) {
            life.directory.tick(now);
            life.reminders.tick(now);
            life.calendars.tick(now);
            life.payees.tick(now);
            life.nettings.tick(now);
        }
        if sweeps_at(life, &self.habits).is_none_or(|at| at > now) {
            return;
        }
        self.stir();
        let Some(life) = &mut self.life else { return };
        let moved_at = life.moved_at;
        life.swept_at = now;
        life.sweep();
        self.stir();
        // A cell that was asked to leave and stays was told nothing by that.
        if let Some(life) = &mut self.life {
            life.moved_at = moved_at;
        }
    }

    /// Has the finder look once something is due. One look finds all that comes due within a second.
    pub fn plan_scan(&mut self, due_at: Instant) {
        let from = due_at.max(self.now()).plus_ms(SECOND);
        let Some(life) = &mut self.life else { return };
        if life.scans.range(from..=from.plus_ms(SECOND)).next().is_none() {
            life.scans.insert(from);
            let life = life.number;
            self.agenda.at(from, What::Scan { life });
        }
    }

    fn scan(&mut self) {
        let now = self.now();
        let Some(life) = &mut self.life else { return };
        life.scans = life.scans.split_off(&now.plus_ms(1));
        // One that is looking now will not see what has come due meanwhile.
        let Some(mut finder) = lock(&life.finder).take() else {
            return self.later(50, |life| What::Scan { life });
        };
        let place = life.finder.clone();
        life.ask(async move {
            let found = finder.slice().await;
            *lock(&place) = Some(finder);
            Heard::Looked(found)
        });
    }

    pub fn plan_inbox(&mut self, wait_ms: i64) {
        let Some(life) = &mut self.life else { return };
        if std::mem::replace(&mut life.looks_into_inbox, Look::Planned) == Look::Needless {
            self.later(wait_ms, |life| What::LookIntoInbox { life });
        }
    }

    pub fn plan_outbox(&mut self, wait_ms: i64) {
        let Some(life) = &mut self.life else { return };
        if std::mem::replace(&mut life.looks_into_outbox, Look::Planned) == Look::Needless {
            self.later(wait_ms, |life| What::LookIntoOutbox { life });
        }
    }

    pub fn plan_messages(&mut self, wait_ms: i64) {
        let Some(life) = &mut self.life else { return };
        if std::mem::replace(&mut life.looks_for_messages, Look::Planned) == Look::Needless {
            self.later(wait_ms, |life| What::Deliver { life });
        }
    }

    /// Has every courier make a round that is not on one.
    fn deliver(&mut self) {
        let is_empty = self.store().messages.is_empty();
        let Some(life) = &mut self.life else { return };
        life.looks_for_messages = Look::Needless;
        if is_empty {
            return;
        }
        for place in &life.couriers {
            let Some(mut courier) = lock(place).take() else { continue };
            let place = place.clone();
            life.crew.add(Box::pin(async move {
                courier.round().await;
                *lock(&place) = Some(courier);
            }));
        }
        let wait_ms = self.dice.pick(&[SECOND, SECOND, MINUTE]);
        self.plan_messages(wait_ms);
    }

    fn look_into_inbox(&mut self) {
        let is_empty = self.store().inbox().next().is_none();
        let Some(life) = &mut self.life else { return };
        life.looks_into_inbox = Look::Needless;
        if is_empty {
            return;
        }
        self.plan_inbox(INBOX_EVERY_MS);
        let Some(life) = &mut self.life else { return };
        let inbox = life.inbox.clone();
        life.crew.add(Box::pin(async move {
            // It is told of orders that are back only while something is known to lie there.
            let _ = inbox.measure().await;
            inbox.look_through().await;
        }));
    }
}

/// When cells are next asked to leave, while there are some that may have become idle since they were last.
fn sweeps_at(life: &Life, habits: &Habits) -> Option<Instant> {
    let span_ms = habits.idle_ms + SECOND;
    let may_be_idle = life.yard.alive() > 0 && life.moved_at.plus_ms(span_ms) > life.swept_at;
    may_be_idle.then(|| life.swept_at.plus_ms(span_ms))
}
