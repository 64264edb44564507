//! What is seen while the demo runs: bars at a terminal, a line every second elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::sleep;

use super::ledger::{Ledger, Picture, Standing};
use crate::cli::output::{Lost, say};

const FRAME: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(1);

/// Shows the ledger until all orders are settled and their refunds at rest.
pub async fn show_until_settled(ledger: &Arc<Ledger>) -> Result<(), Lost> {
    if std::io::stderr().is_terminal() {
        show_bars(ledger).await;
        return Ok(());
    }
    print_lines(ledger).await
}

async fn print_lines(ledger: &Ledger) -> Result<(), Lost> {
    loop {
        let picture = ledger.picture();
        let all = picture.orders;
        let (words, figures) = (words(&picture).join("; "), figures(&picture));
        say!("accepted {} of {all}, settled {}; {words}; {figures}", picture.accepted, picture.settled)?;
        if picture.is_over() {
            return Ok(());
        }
        sleep(LINE).await;
    }
}

async fn show_bars(ledger: &Ledger) {
    let orders = ledger.picture().orders;
    let all = MultiProgress::new();
    let accepted = all.add(ProgressBar::new(orders).with_style(style("accepted {bar:50.cyan} {pos:>6} of {len}")));
    let settled = all.add(ProgressBar::new(orders).with_style(style("settled  {bar:50.green} {pos:>6} of {len}")));
    let line = || all.add(ProgressBar::new_spinner().with_style(style("{wide_msg}")));
    let (in_words, in_figures) = ([line(), line(), line(), line()], line());
    loop {
        let picture = ledger.picture();
        accepted.set_position(picture.accepted);
        settled.set_position(picture.settled);
        for (line, words) in in_words.iter().zip(words(&picture)) {
            line.set_message(words);
        }
        in_figures.set_message(figures(&picture));
        if picture.is_over() {
            return;
        }
        sleep(FRAME).await;
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How many orders stand where: those in flight by state, those that succeeded, and the failures by their reason; then
/// the refunds.
fn words(picture: &Picture) -> [String; 4] {
    let orders = Stood::of(&picture.standings);
    let refunds = Stood::of(&picture.refunds.standings);
    [
        format!("in flight {}", listed(&orders.in_flight)),
        format!("succeeded {}", orders.succeeded),
        format!("failed {}", listed(&orders.failed)),
        format!(
            "refunds asked {} of {}: in flight {}, succeeded {}, failed {}, returned {}",
            picture.refunds.accepted,
            picture.refunds.wanted,
            listed(&refunds.in_flight),
            refunds.succeeded,
            listed(&refunds.failed),
            refunds.returned
        ),
    ]
}

#[derive(Default)]
struct Stood<'a> {
    in_flight: Vec<(&'a str, u64)>,
    succeeded: u64,
    failed: Vec<(&'a str, u64)>,
    /// Of refunds alone.
    returned: u64,
}

impl<'a> Stood<'a> {
    fn of(standings: &'a BTreeMap<Standing, u64>) -> Self {
        let mut stood = Stood::default();
        for (standing, &count) in standings {
            match (&standing.failure, standing.state.as_str()) {
                (Some(failure), _) => stood.failed.push((failure, count)),
                (None, "succeeded") => stood.succeeded += count,
                (None, "returned") => stood.returned += count,
                (None, state) => stood.in_flight.push((state, count)),
            }
        }
        stood
    }
}

fn listed(counts: &[(&str, u64)]) -> String {
    match counts {
        [] => "0".to_owned(),
        counts => counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "),
    }
}

pub fn name(standing: &Standing) -> String {
    match &standing.failure {
        Some(failure) => format!("{} ({failure})", standing.state),
        None => standing.state.clone(),
    }
}

fn figures(picture: &Picture) -> String {
    format!(
        "acceptance p50 {} p99 {}; webhooks {}",
        milliseconds(picture.p50),
        milliseconds(picture.p99),
        picture.webhooks.verified
    )
}

/// Tenths of a millisecond are as fine as anybody looks.
pub fn milliseconds(span: Duration) -> String {
    let tenths = span.as_micros() / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}
