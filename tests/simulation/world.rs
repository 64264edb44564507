//! One run: the server, its store, the gateways and the people, on one clock.

use std::collections::BTreeSet;

use tongbao::domain::channel::{Channel, Method};
use tongbao::domain::event::{Effect, Event, Fact};
use tongbao::domain::id::{Account, AttemptNumber, Incarnation, OrderId};
use tongbao::domain::order::{Order, State};
use tongbao::domain::step::{self, Target};
use tongbao::domain::time::Instant;
use tongbao::domain::validation::{Facts, Health, validate};
use tongbao::engine::lane::WriteError;
use tongbao::engine::turn::{Turn, TurnError};

use crate::agenda::Agenda;
use crate::auditor;
use crate::dice::Dice;
use crate::gateways::{Gateways, Mood, Reply, Request, Shown};
use crate::people::{self, Buyer, Extent};
use crate::process::{Actor, Asker, End, Letter, Notice, Phase, Process, Way, poll};
use crate::shell::{Act, SimulatedShell};
use crate::store::{Store, Unit};
use crate::trace;
use crate::weather::Weather;

pub const SECOND: i64 = 1_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
const START: Instant = Instant(1_800_000_000_000);
/// When whatever has not come to rest after the last trouble is declared stuck.
const REST_MAX_MS: i64 = 20 * DAY;
/// More than any run needs; beyond it something turns in circles.
const HAPPENINGS_MAX: u32 = 60_000;
const TAKE_UP_AGAIN_MS: i64 = 1_000;

/// What can happen. What belongs to one life of the server carries its number, and is nothing after that life.
#[derive(Debug, Clone)]
pub enum What {
    Create {
        buyer: usize,
    },
    Pay {
        buyer: usize,
    },
    Cancel {
        buyer: usize,
    },
    Agree {
        buyer: usize,
    },
    /// A browser brings what it was given.
    Browse {
        number: AttemptNumber,
    },
    /// The payer pays when there is hardly any time left.
    LastMoment {
        shown: Shown,
    },
    Resolve {
        extent: Extent,
    },
    Timer {
        life: u32,
        id: OrderId,
    },
    Load {
        life: u32,
        id: OrderId,
    },
    TakeUp {
        life: u32,
        id: OrderId,
    },
    Choose {
        life: u32,
        id: OrderId,
        channel: Channel,
        method: Method,
    },
    Scan {
        life: u32,
    },
    Depart {
        life: u32,
        call: u64,
    },
    TimeOut {
        life: u32,
        call: u64,
    },
    Answer {
        life: u32,
        call: u64,
        reply: Reply,
    },
    Arrive {
        number: AttemptNumber,
        account: Account,
        request: Request,
        copy: Copy,
    },
    GroupEnds {
        life: u32,
    },
    StoreBack {
        life: u32,
    },
    Land,
    Take {
        number: AttemptNumber,
    },
    /// The payer's bank says no.
    Decline {
        number: AttemptNumber,
    },
    Lie {
        number: AttemptNumber,
    },
    Notify {
        notice: Notice,
    },
    Restart,
    Calm,
}

/// Which copy of a request arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    First {
        life: u32,
        call: u64,
    },
    /// Sent again on the way; nobody waits for its answer.
    Second,
}

pub struct World {
    pub dice: Dice,
    pub weather: Weather,
    pub agenda: Agenda<What>,
    pub store: Store,
    pub gateways: Gateways,
    pub process: Option<Process>,
    pub buyers: Vec<Buyer>,
    lives: u32,
    /// Calls and orders so far, for their numbers.
    pub calls: u64,
    pub orders: u128,
    /// Groups whose commit was told as lost and that may still be written.
    pub late_groups: Vec<Vec<Unit>>,
    /// When trouble ends.
    pub calm_at: Instant,
    /// Until when the store answers nobody.
    pub outage_until: Instant,
    /// Captures whose callback the gateway knows to have been heard.
    pub heard: BTreeSet<(AttemptNumber, String)>,
}

/// One whole run of a seed.
pub fn run(seed: u64) {
    let mut dice = Dice::new(seed);
    let weather = Weather::draw(&mut dice);
    trace::note(|| format!("{weather:?}"));
    let mut world = World {
        agenda: Agenda::new(START),
        store: Store::default(),
        gateways: Gateways::default(),
        process: Some(Process::new(1)),
        buyers: Vec::new(),
        lives: 1,
        calls: 0,
        orders: 0,
        late_groups: Vec::new(),
        outage_until: START,
        calm_at: START,
        heard: BTreeSet::new(),
        dice,
        weather,
    };
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

    fn live(&mut self) {
        let mut happenings = 0;
        while let Some(what) = self.agenda.next() {
            if self.now() > self.calm_at.plus_ms(REST_MAX_MS) {
                break;
            }
            let now = self.now();
            if what.life().is_some_and(|life| !self.is_alive(life)) {
                continue;
            }
            happenings += 1;
            assert!(happenings < HAPPENINGS_MAX, "the run does not come to rest");
            trace::note(|| format!("+{:>10} ms  {what:?}", now.since_ms(START)));
            self.happen(what);
            self.stir();
            auditor::look(self);
            if self.dice.happens(self.weather.crash) {
                self.crash();
            }
        }
    }

    fn is_alive(&self, life: u32) -> bool {
        self.process.as_ref().is_some_and(|process| process.life == life)
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Create { buyer } => people::create(self, buyer),
            What::Pay { buyer } => people::pay(self, buyer),
            What::Cancel { buyer } => people::cancel(self, buyer),
            What::Agree { buyer } => people::agree(self, buyer),
            What::Browse { number } => {
                let now = self.now();
                self.gateways.open(number, now);
            }
            What::LastMoment { shown } => people::hurry(self, shown),
            What::Resolve { extent } => people::resolve(self, extent),
            // An order that has left has no timers.
            What::Timer { id, .. } => self.put(id, Letter::Timer),
            What::Load { id, .. } => self.load(id),
            What::TakeUp { id, .. } => self.take_up(id),
            What::Choose { id, channel, method, .. } => self.look_up_and_choose(id, channel, method),
            What::Scan { .. } => self.scan(),
            What::Depart { call, .. } => self.depart(call),
            What::TimeOut { call, .. } => self.answer(call, None),
            What::Answer { call, reply, .. } => self.answer(call, Some(reply)),
            What::Arrive { number, account, request, copy } => {
                self.arrive((number, account), &request, copy);
            }
            What::GroupEnds { .. } => self.end_group(),
            What::StoreBack { .. } => self.store_back(),
            What::Land => self.land(),
            What::Take { number } => self.take(number),
            What::Decline { number } => {
                let mood = if self.dice.happens(300) { Mood::Other } else { Mood::Plain };
                self.gateways.decline(number, mood);
            }
            What::Lie { number } => self.lie(number),
            What::Notify { notice } => self.notify(notice),
            What::Restart => self.restart(),
            What::Calm => {
                self.weather = Weather::calm();
                self.outage_until = self.now();
                // What no rule can end is for a person to end, with the channel's word in hand.
                for wait_ms in [HOUR, DAY, 2 * DAY, 3 * DAY, 4 * DAY] {
                    self.agenda.after(wait_ms, What::Resolve { extent: Extent::Endless });
                }
            }
        }
    }

    /// Something that belongs to the life of the server that now is.
    pub fn later(&mut self, span_ms: i64, what: impl FnOnce(u32) -> What) {
        if let Some(process) = &self.process {
            self.agenda.after(span_ms, what(process.life));
        }
    }

    pub fn actor(&mut self, id: OrderId) -> Option<&mut Actor> {
        self.process.as_mut()?.actors.get_mut(&id)
    }

    // --- life and death --------------------------------------------------------------------------------------------

    fn crash(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        trace::note(|| "         the process crashes".to_owned());
        if let Some(group) = process.committing.take() {
            self.late_groups.push(group.into_iter().map(|pending| pending.unit).collect());
        }
        let down_ms = self.dice.between(self.weather.down_ms);
        self.agenda.after(down_ms, What::Restart);
    }

    /// Of the store in this life of the server: another one in each.
    pub fn incarnation(&self) -> Incarnation {
        let life = u16::try_from(self.lives).expect("a server has few lives");
        Incarnation::default().another(life)
    }

    fn restart(&mut self) {
        // Taking the store over waits for what was under way there, and fences the rest out.
        for group in std::mem::take(&mut self.late_groups) {
            if self.dice.happens(500) {
                self.write_late(&group);
            }
        }
        self.lives += 1;
        self.process = Some(Process::new(self.lives));
        self.later(10, |life| What::Scan { life });
        let dues: Vec<Instant> = self.store.rows().filter_map(|row| row.next_due_at).collect();
        let now = self.now();
        for due_at in dues {
            self.later(due_at.since_ms(now).max(0) + SECOND, |life| What::Scan { life });
        }
    }

    // --- orders in memory ------------------------------------------------------------------------------------------

    /// Puts a letter into the mailbox of an order that is in memory.
    pub fn put(&mut self, id: OrderId, letter: Letter) {
        if let Some(actor) = self.actor(id) {
            actor.mailbox.push_back(letter);
        }
    }

    /// Puts a letter into an order's mailbox, taking the order up if it is not in memory.
    pub fn tell(&mut self, id: OrderId, letter: Letter) {
        match self.actor(id) {
            Some(actor) => actor.mailbox.push_back(letter),
            None => self.activate(id, Some(letter)),
        }
    }

    fn activate(&mut self, id: OrderId, letter: Option<Letter>) {
        let now = self.now();
        let Some(process) = &mut self.process else { return };
        process.actors.insert(id, Actor::loading(letter, now));
        let load_ms = self.dice.between((0, 20));
        self.later(load_ms, |life| What::Load { life, id });
    }

    /// A new order, not durable yet.
    pub fn open(&mut self, order: Order, events: Vec<Event>, merchant: u32) {
        let now = self.now();
        let Some(process) = &mut self.process else { return };
        let id = order.id;
        let mut actor = Actor::loading(Some(Letter::Open { events, merchant }), now);
        actor.phase = Phase::Resting(Box::new(Turn::new(order)));
        process.actors.insert(id, actor);
    }

    fn load(&mut self, id: OrderId) {
        let now = self.now();
        // Readers have connections of their own: some still reach the store, and see what may be about to change.
        let is_away = now < self.outage_until && self.dice.happens(500);
        let Some(process) = &mut self.process else { return };
        if is_away {
            process.actors.remove(&id);
            return self.take_up_later(id);
        }
        let Some(order) = self.store.row(id).map(|row| row.load()) else {
            process.actors.remove(&id);
            return;
        };
        let Some(actor) = process.actors.get_mut(&id) else { return };
        let mut turn = Box::new(Turn::new(order));
        let mut shell = SimulatedShell { desk: process.desk.clone(), merchant: None, shown: None };
        turn.resume(now, &mut shell);
        if turn.machine().may_leave(now) {
            actor.mailbox.push_back(Letter::Leave);
        }
        actor.phase = Phase::Resting(turn);
    }

    fn take_up_later(&mut self, id: OrderId) {
        if let Some(process) = &mut self.process {
            process.retries.insert(id);
        }
        self.later(TAKE_UP_AGAIN_MS, |life| What::TakeUp { life, id });
    }

    fn take_up(&mut self, id: OrderId) {
        let Some(process) = &mut self.process else { return };
        if process.way == Way::Away {
            return self.take_up_later(id);
        }
        process.retries.remove(&id);
        if !process.actors.contains_key(&id) {
            self.activate(id, None);
        }
    }

    fn scan(&mut self) {
        let now = self.now();
        let Some(process) = &mut self.process else { return };
        if now < self.outage_until {
            return self.later(SECOND, |life| What::Scan { life });
        }
        let mut due: Vec<(Instant, OrderId)> = self
            .store
            .rows()
            .filter_map(|row| Some((row.next_due_at?, row.order.id)))
            .filter(|place| place.0 <= now && process.cursor.is_none_or(|cursor| *place > cursor))
            .collect();
        due.sort_unstable();
        process.cursor = due.last().copied().or(process.cursor);
        for (_, id) in due {
            if self.actor(id).is_none() {
                self.activate(id, None);
            }
        }
    }

    /// Lets everything go on that can, until nothing moves at this instant any more.
    fn stir(&mut self) {
        loop {
            self.perform_acts();
            let Some(process) = &self.process else { return };
            let ids: Vec<OrderId> = process.actors.keys().copied().collect();
            let mut moved = false;
            for id in ids {
                moved |= self.advance(id) == Motion::Moved;
                self.perform_acts();
            }
            moved |= self.begin_group() == Motion::Moved;
            if !moved {
                return;
            }
        }
    }

    fn advance(&mut self, id: OrderId) -> Motion {
        let Some(actor) = self.actor(id) else { return Motion::Still };
        match std::mem::replace(&mut actor.phase, Phase::Loading) {
            Phase::Loading => Motion::Still,
            Phase::Working { mut work, letter } => match poll(&mut work) {
                None => {
                    actor.phase = Phase::Working { work, letter };
                    Motion::Still
                }
                Some((turn, end)) => {
                    self.finish(id, turn, end, *letter);
                    Motion::Moved
                }
            },
            Phase::Resting(turn) => match actor.mailbox.pop_front() {
                None => {
                    actor.phase = Phase::Resting(turn);
                    Motion::Still
                }
                Some(letter) => {
                    self.begin(id, turn, letter);
                    Motion::Moved
                }
            },
        }
    }

    fn begin(&mut self, id: OrderId, mut turn: Box<Turn<Order>>, letter: Letter) {
        let now = self.now();
        let incarnation = self.incarnation();
        let event = |fact| Event { at: now, incarnation, fact };
        let (mut merchant_number, mut next_action) = (None, None);
        let events = match &letter {
            Letter::Open { events, merchant } => {
                merchant_number = Some(*merchant);
                events.clone()
            }
            Letter::Fact { fact, shown, .. } => {
                next_action = *shown;
                vec![event(fact.clone())]
            }
            Letter::Choice { channel, method, .. } => self.choice(turn.machine(), *channel, *method),
            Letter::Timer => vec![event(step::wake(turn.machine(), now))],
            Letter::ChoiceFailed | Letter::Leave => Vec::new(),
        };
        let Some(process) = &mut self.process else { return };
        let armed = process.actors.get(&id).and_then(|actor| actor.armed);
        let phase = match &letter {
            Letter::Leave if turn.machine().may_leave(now) => {
                process.actors.remove(&id);
                return;
            }
            Letter::Leave => Phase::Resting(turn),
            Letter::ChoiceFailed => {
                turn.give_up(Target::Choice);
                Phase::Resting(turn)
            }
            // A timer that was armed anew is not this one.
            Letter::Timer if armed.is_none_or(|armed| armed > now) => Phase::Resting(turn),
            Letter::Open { .. } | Letter::Fact { .. } | Letter::Choice { .. } | Letter::Timer => {
                let work = process.work(turn, events, (merchant_number, next_action));
                Phase::Working { work, letter: Box::new(letter) }
            }
        };
        if let Some(actor) = process.actors.get_mut(&id) {
            actor.phase = phase;
        }
    }

    /// What a choice of a channel means to this order, as the server's actor puts it together.
    pub fn choice(&mut self, order: &Order, channel: Channel, method: Method) -> Vec<Event> {
        let now = self.now();
        let incarnation = self.incarnation();
        let event = |fact| Event { at: now, incarnation, fact };
        let mut events = vec![event(Fact::ChannelChosen { channel, method })];
        match order.state {
            State::Created => {
                let account = Account::new(channel, self.dice.pick(&["default", "second"]));
                let risk = self.dice.happens(5).then(|| "refused_payer".into());
                let waits = self.process.as_mut().and_then(|process| process.breaker(&account).is_open(now));
                let health = if waits.is_some() { Health::Down } else { Health::Up };
                let facts = Facts { channel, method, account: Some(account), health, risk };
                let verdict = validate(order, &facts, now);
                events.push(event(Fact::Validated { channel, method, verdict }));
            }
            State::Validating | State::Submitted | State::Succeeded | State::Failed => {}
        }
        events
    }

    fn finish(&mut self, id: OrderId, turn: Box<Turn<Order>>, end: End, letter: Letter) {
        let asker = match letter {
            Letter::Open { .. } => Asker::Client,
            Letter::Fact { asker, .. } | Letter::Choice { asker, .. } => asker,
            Letter::ChoiceFailed | Letter::Timer | Letter::Leave => Asker::Nobody,
        };
        match end {
            Ok(()) => {
                self.answer_asker(turn.machine(), asker);
                let now = self.now();
                let Some(actor) = self.actor(id) else { return };
                if turn.machine().may_leave(now) {
                    actor.mailbox.push_back(Letter::Leave);
                }
                actor.phase = Phase::Resting(turn);
            }
            Err(TurnError::Refused(refusal)) => {
                trace::note(|| format!("         refused: {refusal:?}"));
                auditor::refused(turn.machine(), &refusal, self.now());
                if let Some(actor) = self.actor(id) {
                    actor.phase = Phase::Resting(turn);
                }
            }
            Err(TurnError::Lost(error)) => {
                trace::note(|| format!("         {id} is lost: {error:?}"));
                if let Some(process) = &mut self.process {
                    process.actors.remove(&id);
                }
                match (error, turn.machine().version) {
                    (WriteError::Culprit(why), _) => panic!("a unit was refused: {why}"),
                    (WriteError::ReferenceTaken, _) => panic!("the gateways give no reference twice"),
                    (
                        WriteError::Overloaded | WriteError::Duplicate | WriteError::Away | WriteError::Conflict(_),
                        0,
                    ) => {}
                    (
                        WriteError::Overloaded
                        | WriteError::Duplicate
                        | WriteError::Away
                        | WriteError::Conflict(_)
                        | WriteError::Unknown,
                        _,
                    ) => self.take_up_later(id),
                }
            }
        }
    }

    fn answer_asker(&mut self, order: &Order, asker: Asker) {
        match asker {
            Asker::Nobody => {}
            Asker::Client => auditor::acknowledged(&self.store, order),
            Asker::Gateway(notice) => {
                auditor::acknowledged(&self.store, order);
                auditor::callback_acknowledged(&self.store, &notice);
                if !self.dice.happens(self.weather.acknowledgement_lost) {
                    self.heard.insert((notice.number, notice.reference));
                }
            }
        }
    }

    fn perform_acts(&mut self) {
        let Some(process) = &self.process else { return };
        let acts = std::mem::take(&mut process.desk.borrow_mut().acts);
        for (order, act) in acts {
            match act {
                Act::Note => auditor::noted(&self.store, &order),
                Act::Perform(effect) => self.perform(&order, effect),
                Act::Withdraw { ordinal } => {
                    let attempt = order.attempt(ordinal).expect("what is withdrawn is an attempt");
                    self.withdraw(order.number(attempt));
                }
            }
        }
    }

    fn perform(&mut self, order: &Order, effect: Effect) {
        trace::note(|| format!("         → {effect:?} of {}", order.id));
        let id = order.id;
        match effect {
            Effect::ArmTimer { at } => {
                let now = self.now();
                // What is due before its commit ended comes up at once.
                let at = at.max(now);
                if let Some(actor) = self.actor(id) {
                    actor.armed = Some(at);
                }
                self.later(at.since_ms(now), |life| What::Timer { life, id });
            }
            Effect::Choose { channel, method } => {
                let look_ms = self.dice.between((1, 50));
                self.later(look_ms, |life| What::Choose { life, id, channel, method });
            }
            Effect::Submit { .. }
            | Effect::Query { .. }
            | Effect::Close { .. }
            | Effect::Refund { .. }
            | Effect::QueryRefund { .. } => self.call(order, effect),
        }
    }

    fn look_up_and_choose(&mut self, id: OrderId, channel: Channel, method: Method) {
        let is_away = self.now() < self.outage_until;
        let found = Letter::Choice { channel, method, asker: Asker::Nobody };
        self.put(id, if is_away { Letter::ChoiceFailed } else { found });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    Moved,
    Still,
}

impl What {
    /// The life of the server that it belongs to.
    fn life(&self) -> Option<u32> {
        match self {
            What::Timer { life, .. }
            | What::Load { life, .. }
            | What::TakeUp { life, .. }
            | What::Choose { life, .. }
            | What::Scan { life }
            | What::Depart { life, .. }
            | What::TimeOut { life, .. }
            | What::Answer { life, .. }
            | What::GroupEnds { life }
            | What::StoreBack { life } => Some(*life),
            What::Create { .. }
            | What::Pay { .. }
            | What::Cancel { .. }
            | What::Agree { .. }
            | What::Browse { .. }
            | What::LastMoment { .. }
            | What::Resolve { .. }
            | What::Arrive { .. }
            | What::Land
            | What::Take { .. }
            | What::Decline { .. }
            | What::Lie { .. }
            | What::Notify { .. }
            | What::Restart
            | What::Calm => None,
        }
    }
}
