//! `tongbao audit`: the books against themselves, against the journal and against the simulated gateway's.

mod books;
mod gateway;
mod nettings;
mod operators;
mod platforms;
mod proposals;
mod replay;
mod report;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::books::{Reading, Sums, Tally};
use self::gateway::GatewayBooks;
pub use self::report::{Report, right, table};
use super::output::say;
use super::{Failure, opening};
use crate::config::Config;
use crate::engine::clock;
use crate::store::{Store, StoreError};

/// Between two looks of an audit that waits.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// The simulated gateway to compare with; in the sandbox the one at gateway.listen
    #[arg(long, value_name = "URL", conflicts_with = "no_gateway")]
    gateway: Option<String>,
    /// Look at our own books only
    #[arg(long)]
    no_gateway: bool,
    /// How many orders, spread over all of them, are compared with the gateway attempt by attempt: a number or `all`
    #[arg(long, value_name = "N", default_value = "200")]
    orders: Sample,
    /// Look again until nothing is under way and all is equal, at most this long
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3600))]
    wait: u64,
}

/// How many orders are compared with the gateway one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    All,
    AtMost(u64),
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(Sample::All),
            (_, Ok(count)) if count > 0 => Ok(Sample::AtMost(count)),
            (_, Ok(_) | Err(_)) => Err("a number from 1, or `all`".to_owned()),
        }
    }
}

impl Sample {
    /// One order in so many is compared.
    fn stride(self, orders: u64) -> u64 {
        match self {
            Sample::All => 1,
            Sample::AtMost(count) => orders.div_ceil(count).max(1),
        }
    }
}

pub async fn run(config: Config, args: AuditArgs) -> Result<ExitCode, Failure> {
    let gateway = match (&args.gateway, args.no_gateway, config.sandbox) {
        (Some(url), _, _) => Some(url.clone()),
        (None, false, true) => Some(config.gateway_url()),
        (None, true, _) | (None, _, false) => None,
    };
    let progress = if args.json || !std::io::stderr().is_terminal() { Progress::Hidden } else { Progress::Shown };
    let report = match opening::open(&config).await {
        Ok(store) => {
            let auditor = Auditor::new(store.as_ref(), &config, gateway.as_deref(), args.orders, progress)?;
            auditor.wait(Duration::from_secs(args.wait)).await
        }
        Err(error) => Report::unreadable(&error),
    };
    match args.json {
        true => say!("{}", serde_json::to_string(&report)?)?,
        false => say!("{}", report.for_people())?,
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Shown,
    Hidden,
}

pub struct Auditor<'a> {
    store: &'a dyn Store,
    page: u32,
    readers: usize,
    gateway: Option<GatewayBooks>,
    sample: Sample,
    progress: Progress,
}

impl<'a> Auditor<'a> {
    pub fn new(
        store: &'a dyn Store,
        config: &Config,
        gateway: Option<&str>,
        sample: Sample,
        progress: Progress,
    ) -> Result<Self, Failure> {
        let gateway = gateway.map(GatewayBooks::new).transpose()?;
        let readers = usize::try_from(config.store.readers)?.max(1);
        Ok(Auditor { store, page: config.orders.scan_page, readers, gateway, sample, progress })
    }

    /// Audits until all is quiet and equal, at least once and at most `patience` long.
    pub async fn wait(&self, patience: Duration) -> Report {
        let deadline = Instant::now() + patience;
        loop {
            let report = self.audit().await;
            if report.is_quiet() || Instant::now() + LOOK_AGAIN > deadline {
                return report;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Looks at everything once. What cannot be read is a fault.
    pub async fn audit(&self) -> Report {
        let mut report = Report::default();
        if let Err(error) = self.look(&mut report).await {
            report.fault(error);
        }
        report.judge();
        report
    }

    /// The gateway is read after our sums and before the look for movement, so that a store that stood still stood
    /// still for both.
    async fn look(&self, report: &mut Report) -> Result<(), String> {
        let unreadable = |error: StoreError| format!("the store cannot be read: {error}");
        let before = self.store.owner().await.map_err(unreadable)?.group;
        let integrity = self.store.integrity().await.map_err(unreadable)?;
        for fault in integrity.faults {
            report.fault(format!("the database finds: {fault}"));
        }
        report.unchecked = integrity.unchecked;
        let (tally, sums) = self.read_store(report).await.map_err(unreadable)?;
        let theirs = match &self.gateway {
            Some(gateway) => Some((gateway, gateway.totals().await)),
            None => None,
        };
        report.moved = self.store.owner().await.map_err(unreadable)?.group != before;
        if !report.moved {
            books::compare(&sums, &tally, report);
        }
        let Some((gateway, theirs)) = theirs else { return Ok(()) };
        report.gateway = Some(gateway.describe(&BTreeMap::new()));
        let theirs = theirs?;
        let mut compared = gateway.describe(&theirs);
        compared.equal = gateway::compare_totals(&sums.channels, &theirs, &tally.ahead, report);
        let stride = self.sample.stride(report.orders.total);
        compared.attempts_compared = gateway.compare_attempts(self.reading(), stride, report).await?;
        report.gateway = Some(compared);
        Ok(())
    }

    async fn read_store(&self, report: &mut Report) -> Result<(Tally, Sums), StoreError> {
        let bar = self.bar().await?;
        let tally = books::examine_orders(self.reading(), report, |count| bar.inc(count)).await?;
        bar.finish_and_clear();
        books::examine_rows(self.reading(), report).await?;
        let sums = books::read_sums(self.reading(), &tally, report).await?;
        Ok((tally, sums))
    }

    fn reading(&self) -> Reading<'a> {
        Reading { store: self.store, page: self.page, readers: self.readers, now: clock::now() }
    }

    async fn bar(&self) -> Result<ProgressBar, StoreError> {
        if self.progress == Progress::Hidden {
            return Ok(ProgressBar::hidden());
        }
        let counts = self.store.counts_by_state().await?;
        let orders = counts.iter().filter_map(|count| u64::try_from(count.count).ok()).sum();
        let style = ProgressStyle::with_template("replaying {bar:40} {human_pos} of {human_len} orders, {eta} left");
        let bar = ProgressBar::with_draw_target(Some(orders), ProgressDrawTarget::stderr());
        Ok(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }
}
