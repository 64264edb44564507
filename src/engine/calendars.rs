//! The calendar in the engine: it has lanes cut, and platforms settled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;

use super::clock::course::Certainty;
use super::directory::Directory;
use super::host::{Act, Errand, Hands, Hearing, Host, Loaded, Stored, message_rows};
use super::lane::{Admission, WriteError};
use super::letter::TellError;
use super::nettings::Nettings;
use super::payees::{self, Payees};
use super::ports::{CycleReads, Lanes, Salts, StreamReads, Time};
use super::quiet::Word;
use crate::domain::calendar::Schedule;
use crate::domain::closing::{
    Calendar, Closing, Cover, Cycle, Effect, Event, Fact, Note, Refusal, Stage, Step, Target, Terms,
};
use crate::domain::cycle::{CalendarId, CycleId};
use crate::domain::id::PlatformId;
use crate::domain::journal::{Salt, Title};
use crate::domain::ledger::{Heading, LedgerAccount};
use crate::domain::machine::Machine;
use crate::domain::money::Currency;
use crate::domain::netting::{self, Fact as Netting, Made};
use crate::domain::partition::LaneId;
use crate::domain::payee::{self, ClosedCycle, PayeeId};
use crate::domain::settlement::{CycleTotals, Overflow};
use crate::domain::time::Instant;
use crate::store::{
    ClosedSum, Cut, Head, LaneBalance, NextActionChange, Reply, StepUnit, StoreError, StoredMessage, Unit,
};

/// Ledger accounts that are looked for at once.
const ACCOUNTS_AT_ONCE: u32 = 500;
/// Settlements that are looked through at once for positions.
const SETTLEMENTS_AT_ONCE: u32 = 500;
/// Platforms that are settled at once: enough to fill a group, and few enough to leave the lanes to payments.
const PLATFORMS_AT_ONCE: usize = 64;

pub enum Told {
    Create {
        terms: Terms,
        schedule: Schedule,
    },
    CloseEarly {
        number: u32,
        operator: Box<str>,
    },
    Reschedule {
        schedule: Schedule,
        operator: Box<str>,
    },
    /// A platform belongs to another calendar from the end of the open cycle on.
    Leave {
        platform: PlatformId,
        calendar: CalendarId,
    },
    /// A platform that nothing is booked of yet belongs to this one.
    Join {
        platform: PlatformId,
    },
    Cut {
        number: u32,
        covers: Vec<Cover>,
    },
    Settled {
        number: u32,
        platforms: u32,
    },
    /// A stage came to nothing; it is tried again.
    Failed(Target),
    Due,
}

/// What calendars need of the rest of the engine.
pub struct Calendars {
    pub time: Arc<dyn Time>,
    pub salts: Arc<dyn Salts>,
    pub reads: Arc<dyn StreamReads>,
    pub lanes: Arc<dyn Lanes>,
    pub closer: Arc<Closer>,
}

/// Sums a cycle, platform by platform, and has it settled.
pub struct Closer {
    pub cycles: Arc<dyn CycleReads>,
    pub payees: Arc<Directory<Payees>>,
    pub nettings: Arc<Directory<Nettings>>,
    /// In a currency's minor units, less is not paid out.
    pub payout_min: Box<dyn Fn(Currency) -> i64 + Send + Sync>,
}

/// What is to be closed.
struct Task {
    calendar: CalendarId,
    currency: Currency,
    cycle: Cycle,
    covers: Vec<Cover>,
}

/// Why a platform could not be settled.
#[derive(Debug)]
enum Failure {
    Store(StoreError),
    Payee(TellError<payee::Refusal>),
    Netting(TellError<netting::Refusal>),
    /// Its sums are damaged.
    Sums(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Store(error) => write!(f, "{error}"),
            Failure::Payee(error) => write!(f, "{error:?}"),
            Failure::Netting(error) => write!(f, "its positions are not netted: {error:?}"),
            Failure::Sums(why) => f.write_str(why),
        }
    }
}

impl Closer {
    /// Settles all platforms that have anything in the cycle; how many there were.
    async fn settle(&self, task: &Task) -> Result<u32, Failure> {
        let cycle = CycleId { calendar: task.calendar, number: task.cycle.number };
        let mut platforms = std::collections::BTreeSet::new();
        let mut after = String::new();
        loop {
            let page = self.cycles.accounts(cycle, &after, ACCOUNTS_AT_ONCE).await.map_err(Failure::Store)?;
            let Some(last) = page.last() else { break };
            for account in &page {
                let platform = LedgerAccount::parse(account).and_then(|account| account.platform());
                platforms.insert(platform.ok_or_else(|| Failure::Sums(format!("{account} is of no cycle")))?);
            }
            after.clone_from(last);
        }
        let count = u32::try_from(platforms.len()).unwrap_or(u32::MAX);
        let settled = stream::iter(platforms).map(|platform| async move {
            let settled = self.settle_one(task, platform).await;
            settled.inspect_err(
                |error| tracing::error!(%cycle, platform = platform.0, %error, "a platform cannot be settled"),
            )
        });
        // One that fails keeps no other from being settled.
        let verdicts: Vec<Result<(), Failure>> = settled.buffer_unordered(PLATFORMS_AT_ONCE).collect().await;
        verdicts.into_iter().collect::<Result<(), Failure>>()?;
        self.net(task).await?;
        Ok(count)
    }

    /// Nets what platforms owe each other by the settlements of the cycle, which never change: told again after a crash,
    /// the run is the same.
    async fn net(&self, task: &Task) -> Result<(), Failure> {
        let cycle = CycleId { calendar: task.calendar, number: task.cycle.number };
        let (mut bilateral, mut after) = (Vec::new(), PlatformId(0));
        loop {
            let page = self.cycles.totals(cycle, after, SETTLEMENTS_AT_ONCE).await.map_err(Failure::Store)?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            let positions = page.into_iter().map(|(platform, totals)| (platform, totals.sums.positions));
            bilateral.extend(positions.filter(|(_, positions)| !positions.is_empty()));
        }
        let made = Made::of(task.currency, &bilateral);
        let made = made.map_err(|Overflow| Failure::Sums(format!("the positions of {cycle} are no numbers")))?;
        if made.is_empty() {
            return Ok(());
        }
        if !made.outside.is_empty() {
            let count = made.outside.len();
            tracing::warn!(%cycle, count, "positions with platforms of other calendars are in no netting run");
        }
        let told = Word::Told(Netting::Made(made));
        self.nettings.tell(netting::stream_number(cycle), told).await.map(drop).map_err(Failure::Netting)
    }

    async fn settle_one(&self, task: &Task, platform: PlatformId) -> Result<(), Failure> {
        let cycle = CycleId { calendar: task.calendar, number: task.cycle.number };
        let kept = self.cycles.sums(platform, cycle).await.map_err(Failure::Store)?;
        if kept.is_empty() {
            return Ok(());
        }
        let mut totals = CycleTotals::default();
        let mut closed = Vec::with_capacity(kept.len());
        for sum in &kept {
            add(&mut totals, sum, task.currency)?;
            let heading = Heading::parse(&sum.heading).map_or("", Heading::name);
            let lane = u32::try_from(sum.lane).map_err(|_| Failure::Sums(format!("lane {}", sum.lane)))?;
            let (account, counterparty) = (sum.account.as_str().into(), sum.counterparty);
            closed.push(ClosedSum { lane: LaneId(lane), account, heading, counterparty });
        }
        let payee = PayeeId { currency: task.currency, platform };
        let told = payees::Told::CycleClosed {
            closed: Box::new(ClosedCycle {
                calendar: task.calendar,
                covers: task.covers.clone(),
                cycle: task.cycle,
                payout_min_minor: (self.payout_min)(task.currency),
                totals,
            }),
            kept: closed,
        };
        match self.payees.tell(payee.as_u128(), told).await {
            Ok(_) | Err(TellError::Refused(payee::Refusal::IsClosed)) => Ok(()),
            Err(error) => Err(Failure::Payee(error)),
        }
    }
}

fn add(totals: &mut CycleTotals, sum: &LaneBalance, currency: Currency) -> Result<(), Failure> {
    let damaged = || Failure::Sums(format!("the sum of {} under {:?} is damaged", sum.account, sum.heading));
    if sum.currency != currency.code() {
        return Err(damaged());
    }
    let account = LedgerAccount::parse(&sum.account).ok_or_else(damaged)?;
    let heading = Heading::parse(&sum.heading).ok_or_else(damaged)?;
    let counterparty = match sum.counterparty {
        0 => None,
        other => Some(u32::try_from(other).map(PlatformId).map_err(|_| damaged())?),
    };
    totals.add(&account, heading, counterparty, sum.amount_minor).map_err(|_| damaged())
}

impl Calendars {
    /// Has every lane cut; where they all did, it is told.
    fn cut(&self, calendar: &Calendar) -> Option<Errand<Told>> {
        let (Some(closing), Some(open), Some(schedule)) = (&calendar.closing, calendar.open, &calendar.schedule) else {
            return None;
        };
        let (id, number, joins) = (calendar.id, closing.cycle.number, closing.joins.clone());
        let (lanes, cycles, at) = (self.lanes.clone(), self.closer.cycles.clone(), self.time.now());
        let (schedule, salts) = (schedule.clone(), self.salts.clone());
        Some(Box::pin(async move {
            let active = lanes.active();
            let cut = |lane| Cut {
                lane,
                calendar: id,
                number,
                at,
                ends_at: open.to,
                schedule: schedule.clone(),
                joins: joins.clone(),
                salt: salts.salt(),
            };
            let writes = active.iter().map(|lane| lanes.write(Admission::Existing, Unit::Cut(Box::new(cut(*lane)))));
            let verdicts = join_all(writes).await;
            if let Some(error) = verdicts.into_iter().find_map(Result::err) {
                tracing::warn!(calendar = id.0, number, ?error, "a lane was not cut; it is tried again");
                return vec![Told::Failed(Target::Cut)];
            }
            match cycles.cuts(CycleId { calendar: id, number }).await {
                Ok(covers) if active.iter().all(|lane| covers.iter().any(|cover| cover.lane == *lane)) => {
                    vec![Told::Cut { number, covers }]
                }
                Ok(_) => {
                    tracing::error!(calendar = id.0, number, "a lane that was cut does not say so");
                    vec![Told::Failed(Target::Cut)]
                }
                Err(error) => {
                    tracing::warn!(calendar = id.0, number, %error, "cuts cannot be read");
                    vec![Told::Failed(Target::Cut)]
                }
            }
        }))
    }

    fn settle(&self, calendar: &Calendar) -> Option<Errand<Told>> {
        let (Some(Closing { cycle, stage: Stage::Settling { covers }, .. }), Some(currency)) =
            (&calendar.closing, calendar.currency())
        else {
            return None;
        };
        let task = Task { calendar: calendar.id, currency, cycle: *cycle, covers: covers.clone() };
        let closer = self.closer.clone();
        Some(Box::pin(async move {
            match closer.settle(&task).await {
                Ok(platforms) => vec![Told::Settled { number: task.cycle.number, platforms }],
                Err(error) => {
                    metrics::counter!("tongbao_closings_failed_total").increment(1);
                    tracing::error!(calendar = task.calendar.0, number = task.cycle.number, %error, "a cycle is not settled yet; it is tried again");
                    vec![Told::Failed(Target::Settle)]
                }
            }
        }))
    }
}

fn unit(step: &Step, events: &[Event], salt: Salt) -> Result<StepUnit, WriteError> {
    let (after, at) = (&step.after, step.after.last_at);
    Ok(StepUnit {
        stream: after.stream(),
        expected_version: after.version - 1,
        version: after.version,
        at,
        decided_at: events.last().map_or(at, |event| event.at),
        head: Head {
            state: if after.closing.is_some() { "closing" } else { "open" },
            facet: None,
            next_due_at: after.next_due_at(at),
            next_action: NextActionChange::Keep,
            snapshot: serde_json::to_string(after).map_err(|error| culprit(&error))?.into(),
        },
        journal: Title::of::<Calendar>(after.id(), after.version, at)
            .write(salt, events)
            .map_err(|error| culprit(&error))?,
        name: None,
        rows: Vec::new(),
        entries: Vec::new(),
        webhooks: Vec::new(),
        messages: message_rows(step, at)?,
        taken: None,
        claim: None,
    })
}

fn culprit(error: &serde_json::Error) -> WriteError {
    WriteError::Culprit(format!("a calendar's step cannot be written: {error}"))
}

impl Host for Calendars {
    type Machine = Calendar;
    type Told = Told;
    type Beside = ();
    type Memory = ();

    fn now(&self) -> Instant {
        self.time.now()
    }

    /// One that nobody has made yet is there all the same, and takes nothing but its creation.
    fn load(&self, id: u128) -> Reply<'_, Option<Loaded<Self>>> {
        Box::pin(async move {
            let Ok(id) = u32::try_from(id).map(CalendarId) else { return Ok(None) };
            let Some(head) = self.reads.head(id.into()).await? else {
                let stored = Stored { due_at: None, hands: Hands::Ours };
                return Ok(Some(Loaded { machine: Calendar::unborn(id), memory: (), stored }));
            };
            let machine = read(id, &head.snapshot)?;
            let hands = if self.lanes.is_ours(id.into(), head.epoch) { Hands::Ours } else { Hands::Others };
            Ok(Some(Loaded { machine, memory: (), stored: Stored { due_at: head.next_due_at, hands } }))
        })
    }

    fn woken(&self) -> Told {
        Told::Due
    }

    fn activated(&self, _: u128) {}

    fn received(&self, _: &StoredMessage) -> Option<Told> {
        None
    }

    fn hear(&self, _: &Calendar, (): &mut (), told: Told) -> Hearing<Self> {
        let fact = match told {
            Told::Create { terms, schedule } => Fact::Created { terms, schedule },
            Told::CloseEarly { number, operator } => Fact::ClosedEarly { number, operator },
            Told::Reschedule { schedule, operator } => Fact::Rescheduled { schedule, operator },
            Told::Leave { platform, calendar } => Fact::Leaves { platform, calendar },
            Told::Join { platform } => Fact::Joins { platform },
            Told::Cut { number, covers } => Fact::Cut { number, covers },
            Told::Settled { number, platforms } => Fact::Settled { number, platforms },
            Told::Failed(target) => return Hearing::Nothing { over: Some(target) },
            Told::Due => match self.time.certainty() {
                Certainty::Sure => Fact::TimerFired,
                Certainty::InDoubt => Fact::TimeInDoubt,
            },
        };
        Hearing::Turn { events: vec![Event { at: self.time.now(), fact }], beside: () }
    }

    async fn unit(&self, step: &Step, events: &[Event], (): &(), (): &mut ()) -> Result<StepUnit, WriteError> {
        unit(step, events, self.salts.salt())
    }

    async fn write(&self, admission: Admission, unit: Unit) -> Result<(), WriteError> {
        self.lanes.write(admission, unit).await
    }

    fn act(&self, calendar: &Calendar, (): &mut (), (): &(), effect: Effect) -> Act<Told> {
        let errand = match effect {
            Effect::Wake(at) => return Act::Wake(at),
            Effect::Cut => self.cut(calendar),
            Effect::Settle => self.settle(calendar),
        };
        errand.map_or(Act::Called, Act::Errand)
    }

    fn take_back(&self, (): &mut (), _: Effect) {}

    fn noted(&self, calendar: &Calendar, notes: &[Note]) {
        for Note::Closed(cycle) in notes {
            metrics::counter!("tongbao_cycles_closed_total").increment(1);
            let name = calendar.terms.as_ref().map(|terms| terms.name.as_ref());
            tracing::info!(%cycle, name, "a cycle is closed");
        }
    }

    fn ended(&self, _: &Calendar, (): &mut (), (): ()) {}

    fn refused_by_store(&self, _: u128) -> Option<Refusal> {
        None
    }

    fn is_followed(&self, (): &()) -> bool {
        false
    }
}

/// Reads a calendar from its snapshot.
///
/// # Errors
/// [`StoreError::Corrupt`] where it is damaged, or another's.
pub fn read(id: CalendarId, snapshot: &str) -> Result<Calendar, StoreError> {
    let read = serde_json::from_str::<Calendar>(snapshot).ok().filter(|calendar| calendar.id == id);
    read.ok_or_else(|| StoreError::Corrupt(format!("the stored calendar {id} cannot be read")))
}

/// Sees to it that every currency that anything is booked in has its calendar.
pub struct Keeper {
    pub calendars: Arc<Directory<Calendars>>,
    pub cycles: Arc<dyn CycleReads>,
    pub schedule: Schedule,
    pub close_after_ms: i64,
}

impl Keeper {
    /// Looks again and again, for as long as the process runs.
    pub async fn run(self, every: Duration) {
        let time = self.calendars.host().time.clone();
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "calendars cannot be looked after");
            }
            time.sleep(every).await;
        }
    }

    /// Makes the calendars that are missing.
    ///
    /// # Errors
    /// The store's.
    pub async fn look(&self) -> Result<(), StoreError> {
        for code in self.cycles.currencies().await? {
            let Some(currency) = Currency::parse(&code) else { continue };
            let id = CalendarId::of_currency(currency);
            if self.calendars.host().reads.head(id.into()).await?.is_some() {
                continue;
            }
            let name = code.to_ascii_lowercase().into();
            let terms = Terms { close_after_ms: self.close_after_ms, currency, name };
            let told = Told::Create { terms, schedule: self.schedule.clone() };
            match self.calendars.tell(u128::from(id.0), told).await {
                Ok(_) | Err(TellError::Refused(Refusal::OutOfPlace)) => {
                    tracing::info!(currency = code, schedule = %self.schedule, "a calendar begins")
                }
                Err(error) => tracing::warn!(currency = code, ?error, "a calendar was not made; it is tried again"),
            }
        }
        Ok(())
    }
}
