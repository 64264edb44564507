//! What a run found, for eyes and for machines.

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::audit::{CommandOutcome, Comparison};
use crate::browser::Visits;
use crate::ledger::{Payments, RefundsSummary};
use crate::lookup::Lookup;
use crate::process::Stretch;
use crate::tally::{Percentiles, Summary};
use crate::way::Way;

#[derive(Serialize)]
pub struct Report {
    pub scenario: &'static str,
    /// How the payments of a checkout were made.
    pub way: Option<Way>,
    pub target: String,
    /// The load in words.
    pub load: String,
    pub rounds: Vec<Round>,
    pub ratio_of_medians: Option<f64>,
    pub requests: Summary,
    pub payments: Option<Payments>,
    /// Null where the mix has none.
    pub refunds: Option<Refunds>,
    /// What the payers' browser carried to the gateway; null where no form was shown.
    pub browser: Option<Visits>,
    pub memory: Option<Memory>,
    pub lookup: Lookup,
    pub books: Option<Comparison>,
    pub audit: Option<CommandOutcome>,
    pub goals: Vec<Goal>,
    /// What limits how far the figures may be trusted.
    pub notes: Vec<String>,
    /// What makes the exit code 1.
    pub failures: Vec<String>,
}

#[derive(Clone, Serialize)]
pub struct Round {
    pub of: &'static str,
    #[serde(flatten)]
    pub stretch: Stretch,
    /// From the intended start; null where rounds share their histogram.
    pub acceptance: Option<Percentiles>,
}

/// What was given back.
#[derive(Clone, Serialize)]
pub struct Refunds {
    pub requests: Summary,
    #[serde(flatten)]
    pub outcome: RefundsSummary,
}

#[derive(Clone, Copy, Serialize)]
pub struct Memory {
    pub orders: u64,
    pub resident_before: u64,
    pub resident_after: u64,
}

impl Memory {
    pub fn bytes_per_order(&self) -> f64 {
        self.resident_after.saturating_sub(self.resident_before) as f64 / self.orders.max(1) as f64
    }
}

/// A target of the project's performance, and what this run found.
#[derive(Clone, Serialize)]
pub struct Goal {
    pub name: String,
    pub bound: Bound,
    pub found: f64,
    pub met: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    pub fn new(name: impl Into<String>, bound: Bound, found: f64) -> Self {
        let met = match bound {
            Bound::AtLeast(least) => found >= least,
            Bound::AtMost(most) => found <= most,
        };
        Self { name: name.into(), bound, found, met }
    }
}

impl Report {
    pub fn print(&self) {
        println!("\n{}: {} at {}", self.scenario, self.load, self.target);
        println!("{}", self.rates());
        if let Some(ratio) = self.ratio_of_medians {
            println!("ratio of medians, {} to baseline: {ratio:.3}", self.scenario);
        }
        println!("{}", self.latencies());
        println!("{}", self.outcomes());
        for refused in &self.requests.refused {
            println!("first {}: {}", refused.status, refused.example);
        }
        for refused in self.refunds.iter().flat_map(|refunds| &refunds.requests.refused) {
            println!("first refund refused with {}: {}", refused.status, refused.example);
        }
        if let Some(memory) = &self.memory {
            println!(
                "memory: {} -> {} resident bytes for {} orders, {:.0} each",
                memory.resident_before,
                memory.resident_after,
                memory.orders,
                memory.bytes_per_order()
            );
        }
        if self.lookup.looked_up > 0 {
            let Lookup { looked_up, lost, unanswered } = &self.lookup;
            println!("looked up {looked_up} accepted orders: {} lost, {} unanswered", lost.len(), unanswered.len());
        }
        if let Some(books) = &self.books {
            let verdict = if books.differences.is_empty() { "agree" } else { "DIFFER" };
            let gateway = books.gateway;
            println!(
                "books {verdict}: the gateway captured {} ({} minor units), refunded {}",
                gateway.captures, gateway.captured_minor, gateway.refunded_minor
            );
            if let Some(ours) = &books.ours {
                println!(
                    "  we saw {} captures, {} minor units net, {} orders and {} refunds uncertain",
                    ours.captures, ours.net_minor, ours.uncertain, ours.uncertain_refunds
                );
            }
        }
        if let Some(audit) = &self.audit {
            println!("audit `{}` ended with {:?}:\n{}", audit.command, audit.exit_code, audit.output);
        }
        if !self.goals.is_empty() {
            println!("{}", self.goals());
        }
        for note in &self.notes {
            println!("NOTE: {note}");
        }
        for failure in &self.failures {
            println!("FAILED: {failure}");
        }
    }

    fn rates(&self) -> Table {
        let mut table = table([
            "round",
            "seconds",
            "done",
            "per second",
            "server µs each",
            "gateway µs each",
            "database µs each",
            "generator µs each",
            "generator processors",
            "server MiB",
            "p50 ms",
            "p99 ms",
        ]);
        for Round { of, stretch, acceptance } in &self.rounds {
            table.add_row([
                (*of).to_owned(),
                format!("{:.1}", stretch.seconds),
                stretch.done.to_string(),
                format!("{:.0}", stretch.per_second),
                optional(stretch.server_us, 1),
                optional(stretch.gateway_us, 1),
                optional(stretch.database_us, 1),
                optional(stretch.generator_us, 1),
                optional(stretch.generator_processors, 2),
                optional(stretch.server_resident_after.map(|bytes| bytes as f64 / (1024.0 * 1024.0)), 0),
                optional(acceptance.map(|of| of.p50_us as f64 / 1e3), 2),
                optional(acceptance.map(|of| of.p99_us as f64 / 1e3), 2),
            ]);
        }
        table
    }

    fn latencies(&self) -> Table {
        let mut table = table(["latency", "count", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"]);
        let mut row = |name: String, of: &Percentiles| {
            let times = [of.p50_us, of.p90_us, of.p99_us, of.p999_us, of.max_us];
            let cells = times.iter().map(|&micros| format!("{:.2}", micros as f64 / 1e3));
            table.add_row([name, of.count.to_string()].into_iter().chain(cells).collect::<Vec<_>>());
        };
        row("accepted, from the intended start".into(), &self.requests.acceptance);
        row("  of which before it was sent".into(), &self.requests.lag);
        for refused in &self.requests.refused {
            row(format!("refused with {}", refused.status), &refused.latency);
        }
        if let Some(visits) = &self.browser {
            row("forms posted to the gateway".into(), &visits.latency);
        }
        for kind in self.payments.iter().flat_map(|payments| &payments.kinds) {
            row(format!("whole payment, {}", kind.kind), &kind.latency);
        }
        if let Some(refunds) = &self.refunds {
            row("refund accepted".into(), &refunds.requests.acceptance);
            for refused in &refunds.requests.refused {
                row(format!("refund refused with {}", refused.status), &refused.latency);
            }
            row("refund done, from the request to the webhook".into(), &refunds.outcome.latency);
        }
        table
    }

    fn outcomes(&self) -> Table {
        let mut table = table(["outcome", "count"]);
        let mut row = |name: String, count: u64| {
            table.add_row([name, count.to_string()]);
        };
        row("accepted".into(), self.requests.accepted);
        for refused in &self.requests.refused {
            row(format!("refused with {}", refused.status), refused.count);
        }
        for (name, &count) in &self.requests.broken {
            row(format!("broken: {name}"), count);
        }
        row("skipped, in-flight bound reached".into(), self.requests.skipped);
        if let Some(visits) = &self.browser {
            for (status, &count) in &visits.answers {
                row(format!("forms answered with {status}"), count);
            }
            for (name, &count) in &visits.broken {
                row(format!("forms broken: {name}"), count);
            }
        }
        if let Some(payments) = &self.payments {
            for kind in &payments.kinds {
                row(format!("{} ended", kind.kind), kind.ended);
                row(format!("{} ended otherwise than scripted", kind.kind), kind.unexpected);
                row(format!("{} unfinished", kind.kind), kind.unfinished);
            }
            if let Some(Refunds { requests, outcome }) = &self.refunds {
                row("refunds accepted".into(), requests.accepted);
                for refused in &requests.refused {
                    row(format!("refunds refused with {}", refused.status), refused.count);
                }
                for (name, &count) in &requests.broken {
                    row(format!("refunds broken: {name}"), count);
                }
                row("refunds succeeded".into(), outcome.succeeded);
                row("refunds failed".into(), outcome.failed);
                row("refunds unfinished".into(), outcome.unfinished);
            }
            for (name, &count) in &payments.webhooks {
                row(format!("webhooks {name}"), count);
            }
            row("webhooks again".into(), payments.repeated);
            row("webhooks for unknown orders and refunds".into(), payments.strangers);
            row("signatures checked".into(), payments.signatures_checked);
            row("signatures wrong".into(), payments.signatures_wrong);
        }
        table
    }

    fn goals(&self) -> Table {
        let mut table = table(["target", "bound", "found", ""]);
        for goal in &self.goals {
            let bound = match goal.bound {
                Bound::AtLeast(least) => format!(">= {least}"),
                Bound::AtMost(most) => format!("<= {most}"),
            };
            let verdict = if goal.met { "met" } else { "MISSED" };
            table.add_row([goal.name.clone(), bound, format!("{:.2}", goal.found), verdict.to_owned()]);
        }
        table
    }
}

/// The runs of several channels, side by side.
pub fn by_channel(reports: &[Report]) -> Option<Table> {
    if reports.len() < 2 {
        return None;
    }
    let mut table = table([
        "by channel",
        "method",
        "per second",
        "server µs each",
        "gateway µs each",
        "generator µs each",
        "result p50 ms",
        "result p99 ms",
        "accepted",
        "unaccounted for",
        "books",
    ]);
    for report in reports {
        let (Some(way), Some(round)) = (report.way, report.rounds.last()) else { continue };
        // Every kind has its own histogram, and percentiles cannot be added up: the first kind stands for the run.
        let result = report.payments.iter().flat_map(|payments| &payments.kinds).next().map(|kind| kind.latency);
        let books = report.books.as_ref().map(|books| if books.differences.is_empty() { "equal" } else { "DIFFER" });
        table.add_row([
            way.channel.name().to_owned(),
            way.method.name().to_owned(),
            format!("{:.0}", round.stretch.per_second),
            optional(round.stretch.server_us, 1),
            optional(round.stretch.gateway_us, 1),
            optional(round.stretch.generator_us, 1),
            optional(result.map(|of| of.p50_us as f64 / 1e3), 2),
            optional(result.map(|of| of.p99_us as f64 / 1e3), 2),
            report.requests.accepted.to_string(),
            report.payments.as_ref().map(|payments| payments.unaccounted().to_string()).unwrap_or_default(),
            books.unwrap_or("-").to_owned(),
        ]);
    }
    Some(table)
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn goals_are_met_at_their_bound() {
        assert!(Goal::new("a", Bound::AtLeast(0.5), 0.5).met);
        assert!(!Goal::new("a", Bound::AtLeast(0.5), 0.499).met);
        assert!(Goal::new("a", Bound::AtMost(15.0), 15.0).met);
        assert!(!Goal::new("a", Bound::AtMost(15.0), f64::NAN).met);
    }
}
