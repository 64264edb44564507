//! Calendars whose cycles end by themselves, now and then early, and what is held against their closing: each line is in
//! one cycle, no lane books in a cycle that it has cut, and what is settled is what the lines say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tongbao::domain::calendar::Schedule;
use tongbao::domain::closing::{Calendar, Purpose, Refusal, Terms};
use tongbao::domain::cycle::{CalendarId, CycleId};
use tongbao::domain::id::PlatformId;
use tongbao::domain::ledger::LedgerAccount;
use tongbao::domain::machine::Machine;
use tongbao::domain::money::Currency;
use tongbao::domain::netting::NettingRun;
use tongbao::domain::payee::Payee;
use tongbao::domain::settlement::Totals;
use tongbao::engine::calendars::{Calendars, Closer, Keeper, Told, read};
use tongbao::engine::directory::Directory;
use tongbao::engine::letter::{End, TellError};
use tongbao::engine::nettings::Nettings;
use tongbao::engine::payees::Payees;
use tongbao::store::SettlementRow;

use crate::life::{Heard, Life};
use crate::people::CURRENCY;
use crate::ports::Port;
use crate::sights::{self, Sight};
use crate::store::Store;
use crate::trace;
use crate::what::What;
use crate::world::{SECOND, World};

/// The calendar beside the currency's own, which platforms join.
const WEEKLY: CalendarId = CalendarId::FIRST_MADE;
const MONTHLY: &str = "monthly 1 00:00 UTC";
const CLOSE_AFTER_MS: i64 = 300 * SECOND;
/// Less than this is carried.
const PAYOUT_MIN_MINOR: i64 = 5_000;

fn currency() -> Currency {
    Currency::parse(CURRENCY).expect("a currency")
}

/// One of the two calendars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    OfCurrency,
    Weekly,
}

fn id_of(which: Which) -> CalendarId {
    match which {
        Which::OfCurrency => CalendarId::of_currency(currency()),
        Which::Weekly => WEEKLY,
    }
}

/// The hosts of a life.
pub fn hosts(port: &Arc<Port>, payees: Arc<Directory<Payees>>, nettings: Arc<Directory<Nettings>>) -> Calendars {
    let closer = Closer { cycles: port.clone(), payees, nettings, payout_min: Box::new(|_| PAYOUT_MIN_MINOR) };
    Calendars {
        time: port.clone(),
        salts: port.clone(),
        reads: port.clone(),
        lanes: port.clone(),
        closer: Arc::new(closer),
    }
}

/// Puts early ends of cycles on the agenda, and platforms that change their calendar.
pub fn plan(world: &mut World, window_ms: i64) {
    for _ in 0..world.dice.pick(&[0, 1, 3, 8]) {
        let at_ms = world.dice.between((0, window_ms));
        let calendar = world.dice.pick(&[Which::OfCurrency, Which::Weekly]);
        let ahead = world.dice.pick(&[0, 0, 0, 0, 1, -1]);
        world.agenda.after(at_ms, What::CloseEarly { calendar, ahead });
    }
    for _ in 0..world.dice.pick(&[0, 0, 1, 2]) {
        let at_ms = world.dice.between((0, window_ms));
        let platform = u32::try_from(world.dice.between((1, 3))).expect("few platforms");
        world.agenda.after(at_ms, What::Join { platform });
    }
}

/// Makes the calendars that are missing.
fn look_after(life: &mut Life) {
    let (calendars, cycles) = (life.calendars.clone(), life.calendars.host().closer.cycles.clone());
    let schedule = Schedule::parse(MONTHLY).expect("a schedule");
    let keeper = Keeper { calendars, cycles, schedule, close_after_ms: CLOSE_AFTER_MS };
    life.crew.add(Box::pin(async move { drop(keeper.look().await) }));
    let weekly = life.calendars.clone();
    if life.ship.scene.store().head(WEEKLY.into()).is_some() {
        return;
    }
    let terms = Terms { close_after_ms: CLOSE_AFTER_MS, currency: currency(), name: "weekly".into() };
    let schedule = Schedule::parse("weekly wed 08:00 Europe/Berlin").expect("a schedule");
    let told = Told::Create { terms, schedule };
    life.ask(async move { Heard::Calendar(0, weekly.tell(u128::from(WEEKLY.0), told).await) });
}

/// Somebody ends the open cycle before its time, or one that is not open.
pub fn close_early(world: &mut World, calendar: Which, ahead: i64) {
    let id = id_of(calendar);
    let head = world.store().head(id.into());
    let Some(life) = &mut world.life else { return };
    look_after(life);
    let Some(open) = head.and_then(|head| read(id, &head.snapshot).expect("a written calendar can be read").open)
    else {
        return;
    };
    let Ok(number) = u32::try_from(i64::from(open.number) + ahead) else { return };
    let calendars = life.calendars.clone();
    let told = Told::CloseEarly { number, operator: "li".into() };
    life.ask(async move { Heard::Calendar(ahead, calendars.tell(u128::from(id.0), told).await) });
}

/// A platform belongs to the other calendar: from the next cut on.
pub fn join(world: &mut World, platform: u32) {
    let Some(life) = &mut world.life else { return };
    look_after(life);
    let (calendars, own) = (life.calendars.clone(), id_of(Which::OfCurrency));
    let told = Told::Leave { platform: PlatformId(platform), calendar: WEEKLY };
    life.ask(async move { Heard::Calendar(0, calendars.tell(u128::from(own.0), told).await) });
}

/// Somebody hears what became of it.
pub fn heard(store: &Store, ahead: i64, end: End<Calendars>) {
    match end {
        Ok(calendar) => {
            assert_eq!(ahead, 0, "a cycle that is not open was closed: {calendar:?}");
            let stored = store.head(calendar.stream()).expect("a calendar that was acknowledged is stored");
            assert!(stored.version >= calendar.version(), "a calendar was acknowledged, not stored");
        }
        Err(TellError::Refused(refusal)) => {
            let fits = match refusal {
                Refusal::IsClosed | Refusal::IsClosing => ahead <= 0 || refusal == Refusal::IsClosing,
                Refusal::OutOfOrder => ahead > 0,
                // There is no such calendar yet, or there is one already.
                Refusal::OutOfPlace => true,
                Refusal::TooManyJoins => false,
            };
            assert!(fits, "{refusal:?} is no answer to a close {ahead} ahead");
        }
        Err(error) => trace::note(|| format!("         nothing is closed: {error:?}")),
    }
}

/// After everything that happens.
pub fn look(life: &Life, store: &Store) {
    for (stream, plain) in store.plain_of(Calendar::KIND) {
        if plain.head.next_due_at.is_some() && life.calendars.is_active(stream.id) {
            let is_armed = life.calendars.armed_at(stream.id).is_some();
            assert!(is_armed || life.is_at_work(stream), "{stream} waits for nothing");
        }
    }
}

type Sums = BTreeMap<(PlatformId, CycleId), (i64, i64)>;

/// What is cut stays cut, and what is settled is what the lines say.
pub fn add_up(store: &Store) {
    let (mut sums, mut closed) = (Sums::new(), Sums::new());
    for (book, _) in store.books() {
        for line in book.lines().filter(|line| line.purse.cycle != 0) {
            let cycle = CycleId::from_number(line.purse.cycle).expect("a cycle");
            let account = LedgerAccount::parse(&line.purse.account).expect("an account");
            let platform = account.platform().expect("a platform's");
            let to = if line.is_closing() { &mut closed } else { &mut sums };
            let (own, position) = to.entry((platform, cycle)).or_default();
            match account {
                LedgerAccount::Position(_) => *position -= line.amount_minor,
                _ => *own -= line.amount_minor,
            }
            let last = book.last_cut_before(cycle.calendar, line.place);
            let is_late = line.is_closing() || cycle.number > last;
            assert!(is_late, "a lane books in cycle {cycle}, which it has cut: {line:?}");
        }
    }
    let settled: BTreeMap<(PlatformId, CycleId), &SettlementRow> =
        store.settlements().map(|row| ((row.platform, row.cycle), row)).collect();
    for (key @ (platform, cycle), row) in &settled {
        let totals: Totals = serde_json::from_str(&row.totals).expect("written totals can be read");
        let (own, position) = sums.get(key).copied().unwrap_or_default();
        let told = (totals.sums.own_minor().expect("a sum"), totals.sums.position_minor().expect("a sum"));
        assert_eq!(told, (own, position), "a settlement is the sum of its lines: {platform:?} {cycle}");
        let (own_closed, position_closed) = closed.get(key).copied().unwrap_or_default();
        assert_eq!((own + own_closed, position + position_closed), (0, 0), "nothing is left of a closed cycle");
        for cover in &totals.covers {
            let book = store.book_of(cover.lane);
            let place = book.place_of_cut(*cycle);
            assert_eq!(Some(cover.places), place, "a settlement covers its lanes up to their cuts");
        }
        assert_eq!(totals.covers.len(), store.books().count(), "every lane is covered");
    }
    let of_nobody = closed.keys().find(|key| !settled.contains_key(key));
    assert_eq!(of_nobody, None, "what is closed is settled");
    for (stream, plain) in store.plain_of(Calendar::KIND) {
        let id = CalendarId(u32::try_from(stream.id).expect("a calendar's number"));
        let calendar = read(id, &plain.head.snapshot).expect("a written calendar can be read");
        let under_way = calendar.closing.filter(|closing| closing.purpose == Purpose::Settle);
        let first_open = under_way.map_or(calendar.open.expect("one is open").number, |closing| closing.cycle.number);
        let unsettled = sums.keys().find(|(platform, cycle)| {
            cycle.calendar == id && cycle.number < first_open && !settled.contains_key(&(*platform, *cycle))
        });
        assert_eq!(unsettled, None, "a closed cycle has a platform that was not settled");
    }
    let numbers: BTreeSet<_> = settled.values().map(|row| (row.platform, row.number)).collect();
    assert_eq!(numbers.len(), settled.len(), "a settlement's number is given once");
    let netted: BTreeMap<CycleId, NettingRun> = store
        .plain_of(NettingRun::KIND)
        .map(|(_, plain)| serde_json::from_str(&plain.head.snapshot).expect("a written run can be read"))
        .map(|run: NettingRun| (run.id, run))
        .collect();
    for (cycle, run) in &netted {
        let made = run.made.as_ref().expect("what is written was made");
        assert_eq!(made.positions.iter().map(|(_, net)| net).sum::<i64>(), 0, "the positions of {cycle} sum to zero");
        let mut nets: BTreeMap<PlatformId, i64> = made.positions.iter().copied().collect();
        for left in &made.outside {
            *nets.entry(left.platform).or_default() += left.amount_minor;
        }
        for (platform, net) in nets {
            let (_, position) = sums.get(&(platform, *cycle)).copied().unwrap_or_default();
            assert_eq!(net, position, "{platform:?} has its position of {cycle} in the run, or outside of it");
        }
        sights::note(Sight::Netted);
    }
    for (stream, plain) in store.plain_of(Payee::KIND) {
        let payee: Payee = serde_json::from_str(&plain.head.snapshot).expect("a written payee can be read");
        let own: i64 =
            closed.iter().filter(|((platform, _), _)| *platform == payee.id.platform).map(|(_, sum)| sum.0).sum();
        assert_eq!(payee.settled_minor, -own, "{stream} has what was settled");
        let count = settled.keys().filter(|(platform, _)| *platform == payee.id.platform).count();
        assert_eq!(payee.settlements as usize, count, "{stream} counts its settlements");
        if count > 1 {
            sights::note(Sight::SettledTwice);
        }
    }
    if settled.values().any(|row| row.state.name() == "carried") {
        sights::note(Sight::Carried);
    }
    if settled.keys().any(|(_, cycle)| cycle.calendar == WEEKLY) {
        sights::note(Sight::SettledElsewhere);
    }
}

/// Once all is quiet nothing is being closed.
pub fn at_the_end(store: &Store) {
    for (stream, plain) in store.plain_of(Calendar::KIND) {
        let id = CalendarId(u32::try_from(stream.id).expect("a calendar's number"));
        let calendar = read(id, &plain.head.snapshot).expect("a written calendar can be read");
        assert_eq!(calendar.closing, None, "a closing never ends");
    }
}
