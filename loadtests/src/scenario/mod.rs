//! The scenarios, and what they share.

pub mod accept;
pub mod checkout;
pub mod hold;
pub mod overload;
pub mod saturate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit;
use crate::baseline::Baseline;
use crate::cli::{Common, Shape};
use crate::drive::{self, Load, Until};
use crate::endpoint::Endpoint;
use crate::lookup::{self, Lookup};
use crate::mix::{Mix, Script};
use crate::order::{AnswerWhen, Orders, Terms};
use crate::process::{Pid, Stretch, Watch};
use crate::progress::Progress;
use crate::report::{Bound, Goal, Report, Round};
use crate::schedule::Schedule;
use crate::tally::{Summary, Tally};

pub type Problem = Box<dyn std::error::Error>;

/// Of a closed loop that is told of none.
const CLOSED_WARM_UP: Duration = Duration::from_secs(1);
const CEILING_WARM_UP: Duration = Duration::from_millis(500);
const CEILING_LENGTH: Duration = Duration::from_secs(3);
const OFFERED_SHARE_MIN: f64 = 0.98;
const CEILING_CONNECTIONS: usize = 64;

/// Refuses targets beyond this machine unless the operator insists.
pub fn check_targets(common: &Common) -> Result<(), Problem> {
    for endpoint in [&common.target, &common.gateway] {
        if endpoint.is_loopback() {
            continue;
        }
        if !common.allow_remote {
            return Err(format!("{endpoint} is not on this machine; --allow-remote lets it be a target").into());
        }
        eprintln!("warning: {endpoint} is not on this machine: load only what is yours");
    }
    Ok(())
}

fn server_pid(common: &Common) -> Option<Pid> {
    common.server_pid.map(Pid).or_else(|| found_at(&common.target))
}

/// The server and, where its process is named, its database.
fn watch(common: &Common) -> Watch {
    Watch { server: server_pid(common), gateway: None, database: common.database_pid.map(Pid) }
}

fn found_at(endpoint: &Endpoint) -> Option<Pid> {
    endpoint.is_loopback().then(|| Pid::listening(endpoint.address())).flatten()
}

fn terms(common: &Common, endpoint: &Endpoint) -> Terms {
    Terms {
        endpoint: endpoint.clone(),
        keys: vec![common.key.clone()],
        takers: Vec::new(),
        amount: common.amount.clone(),
        currency: common.currency.clone(),
        way: None,
        webhook_url: None,
        answer: AnswerWhen::ChannelAnswered,
        expires_in: None,
        ids: common.ids,
    }
}

/// How a run puts its load on.
#[derive(Clone, Copy)]
enum Pattern {
    Open { schedule: Schedule, warm_up: Duration, in_flight_max: usize },
    Closed { slots: usize, warm_up: Duration, length: Duration },
}

impl Pattern {
    /// `saturating`: how many are in flight where neither a rate nor a number was given.
    fn of(shape: &Shape, saturating: Option<usize>) -> Result<Self, Problem> {
        match (shape.rate, shape.connections.map(|slots| slots as usize).or(saturating)) {
            (Some(rate), _) => {
                let warm_up = shape.warm_up.unwrap_or_default();
                Ok(Self::Open {
                    schedule: Schedule::new(rate, warm_up + shape.length),
                    warm_up,
                    in_flight_max: shape.in_flight_max as usize,
                })
            }
            (None, Some(slots)) => {
                let warm_up = shape.warm_up.unwrap_or(CLOSED_WARM_UP);
                Ok(Self::Closed { slots, warm_up, length: shape.length })
            }
            (None, None) => Err("either --rate or --connections".into()),
        }
    }

    fn warm_up(self) -> Duration {
        match self {
            Self::Open { warm_up, .. } | Self::Closed { warm_up, .. } => warm_up,
        }
    }

    fn length(self) -> Duration {
        match self {
            Self::Open { schedule, warm_up, .. } => schedule.length().saturating_sub(warm_up),
            Self::Closed { length, .. } => length,
        }
    }

    fn words(self) -> String {
        let seconds = self.length().as_secs_f64();
        match self {
            Self::Open { schedule, .. } => format!("open loop, {}/s for {seconds} s", schedule.per_second()),
            Self::Closed { slots, .. } => format!("closed loop, {slots} in flight for {seconds} s"),
        }
    }
}

/// One stage of acceptance: what it put on the server and what it measured.
struct Stage {
    load: Arc<Load>,
    round: Round,
    note: Option<String>,
}

async fn acceptance(common: &Common, of: &'static str, pattern: Pattern, sockets: usize) -> Result<Stage, Problem> {
    let begin = Instant::now();
    let from = begin + pattern.warm_up();
    let until = from + pattern.length();
    let orders = Orders::new(&terms(common, &common.target), Mix::only(Script::Plain));
    let load = Load::new(common.target.clone(), orders, Tally::new(from), common.patience, sockets);
    let watch = watch(common);
    let progress = show(of, pattern.warm_up() + pattern.length(), &load);
    let stretch = match pattern {
        Pattern::Closed { slots, .. } => acceptance_round(&load, watch, slots, from, until).await,
        Pattern::Open { schedule, in_flight_max, .. } => {
            let arrival = |intended| {
                let load = load.clone();
                async move {
                    let serial = load.orders().take_serial();
                    load.post(serial, intended).await;
                }
            };
            let measured = watch.stretch(from, until, || load.tally().accepted());
            let (stretch, driven) = tokio::join!(measured, drive::open(&load, schedule, begin, in_flight_max, arrival));
            driven?;
            stretch
        }
    };
    drop(progress);
    let acceptance = Some(load.tally().summary().acceptance);
    let note = offered(of, pattern, &load);
    Ok(Stage { note, load, round: Round { of, stretch, acceptance } })
}

/// A closed-loop stretch of acceptance, after a warm-up that does not count.
async fn acceptance_round(
    load: &Arc<Load>,
    watch: Watch,
    connections: usize,
    from: Instant,
    until: Instant,
) -> Stretch {
    let measured = watch.stretch(from, until, || load.tally().accepted());
    tokio::join!(measured, drive::closed(load, connections, Until::Time(until))).0
}

/// How fast the baseline answers the same generator in the same run.
async fn ceiling(common: &Common, connections: usize, length: Duration) -> Result<Round, Problem> {
    let baseline = Baseline::start().await?;
    let from = Instant::now() + CEILING_WARM_UP;
    let orders = Orders::new(&terms(common, baseline.endpoint()), Mix::only(Script::Plain));
    let load = Load::new(baseline.endpoint().clone(), orders, Tally::new(from), common.patience, connections);
    let watch = Watch { server: baseline.pid(), ..Watch::default() };
    let stretch = acceptance_round(&load, watch, connections, from, from + length).await;
    let summary = load.tally().summary();
    if !summary.refused.is_empty() || !summary.broken.is_empty() {
        return Err(format!("the baseline did not answer properly: {summary:?}").into());
    }
    Ok(Round { of: "baseline", stretch, acceptance: Some(summary.acceptance) })
}

async fn ceiling_round(common: &Common) -> Result<Vec<Round>, Problem> {
    if common.no_baseline {
        return Ok(Vec::new());
    }
    Ok(vec![ceiling(common, CEILING_CONNECTIONS, CEILING_LENGTH).await?])
}

fn show(name: &'static str, length: Duration, load: &Arc<Load>) -> Progress {
    let load = load.clone();
    let mut before = (Instant::now(), 0);
    let rate = std::sync::Mutex::new(move |accepted: u64| {
        let now = Instant::now();
        let rate = accepted.saturating_sub(before.1) as f64 / now.duration_since(before.0).as_secs_f64().max(1e-3);
        before = (now, accepted);
        rate
    });
    Progress::start(name, length, move || {
        let (accepted, refused) = {
            let tally = load.tally();
            (tally.accepted(), tally.refused())
        };
        let rate = rate.lock().map(|mut rate| rate(accepted)).unwrap_or_default();
        format!("{accepted} accepted, {refused} refused, {rate:.0}/s")
    })
}

fn report(scenario: &'static str, common: &Common, load: String, rounds: Vec<Round>, requests: Summary) -> Report {
    let mut failures = Vec::new();
    if requests.accepted == 0 {
        failures.push("nothing was accepted".to_owned());
    }
    Report {
        scenario,
        way: None,
        target: common.target.to_string(),
        load,
        rounds,
        ratio_of_medians: None,
        goals: refusal_goals(&requests),
        requests,
        payments: None,
        refunds: None,
        browser: None,
        memory: None,
        lookup: Lookup::default(),
        books: None,
        audit: None,
        notes: Vec::new(),
        failures,
    }
}

/// An open loop that could not start its arrivals has not offered its rate, and proves nothing about it.
fn offered(of: &str, pattern: Pattern, load: &Load) -> Option<String> {
    let Pattern::Open { schedule, .. } = pattern else { return None };
    let (sent, arrivals) = (load.tally().answered_or_broken(), schedule.arrivals());
    let share = sent as f64 / arrivals.max(1) as f64;
    (share < OFFERED_SHARE_MIN).then(|| {
        format!(
            "{of}: only {:.0}/s of {}/s were sent; what is said of the whole rate is not proven \
             (too few connections, or the generator was short of processor time)",
            f64::from(schedule.per_second()) * share,
            schedule.per_second()
        )
    })
}

/// A refusal under overload must be quick.
fn refusal_goals(requests: &Summary) -> Vec<Goal> {
    let overload = requests.refused.iter().filter(|refused| matches!(refused.status, 429 | 503));
    overload
        .map(|refused| {
            let found = refused.latency.p99_us as f64 / 1e3;
            Goal::new(format!("p99 of refusals with {}, ms", refused.status), Bound::AtMost(50.0), found)
        })
        .collect()
}

/// Asks the server for some of the orders that it accepted.
async fn looked_up(common: &Common, report: &mut Report, load: &Load) {
    if common.no_lookup {
        return;
    }
    let found = lookup::look_up(load, common.patience).await;
    for (ids, what) in [(&found.lost, "accepted orders are lost"), (&found.unanswered, "look-ups were not answered")] {
        if let Some(first) = ids.first() {
            report.failures.push(format!("{} {what}, the first {first}", ids.len()));
        }
    }
    report.lookup.looked_up += found.looked_up;
    report.lookup.lost.extend(found.lost);
    report.lookup.unanswered.extend(found.unanswered);
}

async fn audited(common: &Common, report: &mut Report) {
    let Some(command) = &common.audit else { return };
    let outcome = audit::run_command(command).await;
    if !outcome.passed() {
        report.failures.push(format!("the audit ended with {:?}", outcome.exit_code));
    }
    report.audit = Some(outcome);
}
