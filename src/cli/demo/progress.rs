//! What is seen while the demo runs: bars at a terminal, a line every second elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::sleep;

use super::ledger::{Ledger, Picture, Standing};

const FRAME: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(1);

/// Shows the ledger until all orders are settled.
pub async fn show_until_settled(ledger: &Arc<Ledger>) {
    match std::io::stderr().is_terminal() {
        true => show_bars(ledger).await,
        false => print_lines(ledger).await,
    }
}

async fn print_lines(ledger: &Ledger) {
    loop {
        let picture = ledger.picture();
        println!(
            "accepted {} of {}, settled {}; {}; {}",
            picture.accepted,
            picture.orders,
            picture.settled,
            standings(&picture),
            figures(&picture)
        );
        if picture.is_over() {
            return;
        }
        sleep(LINE).await;
    }
}

async fn show_bars(ledger: &Ledger) {
    let orders = ledger.picture().orders;
    let all = MultiProgress::new();
    let accepted = all.add(ProgressBar::new(orders).with_style(style("accepted {bar:50.cyan} {pos:>6} of {len}")));
    let settled = all.add(ProgressBar::new(orders).with_style(style("settled  {bar:50.green} {pos:>6} of {len}")));
    let standing = all.add(ProgressBar::new_spinner().with_style(style("{wide_msg}")));
    let figure = all.add(ProgressBar::new_spinner().with_style(style("{wide_msg}")));
    loop {
        let picture = ledger.picture();
        accepted.set_position(picture.accepted);
        settled.set_position(picture.settled);
        standing.set_message(standings(&picture));
        figure.set_message(figures(&picture));
        if picture.is_over() {
            return;
        }
        sleep(FRAME).await;
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How many orders stand where, such as `submitted 12, succeeded 240, failed (cancelled) 3`.
fn standings(picture: &Picture) -> String {
    if picture.standings.is_empty() {
        return "no answer yet".to_owned();
    }
    let parts = picture.standings.iter().map(|(standing, count)| format!("{} {count}", name(standing)));
    parts.collect::<Vec<_>>().join(", ")
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
