//! Baseline and acceptance in turn, so that their ratio is of one run: neighbours and clocks change within minutes.

use std::time::{Duration, Instant};

use crate::cli::{SaturateArgs, Store};
use crate::drive::Load;
use crate::mix::{Mix, Script};
use crate::order::Orders;
use crate::report::{Bound, Goal, Report, Round, median};
use crate::tally::Tally;

use super::Problem;

const WARM_UP: Duration = Duration::from_millis(500);

pub async fn run(args: &SaturateArgs) -> Result<Report, Problem> {
    let common = &args.common;
    let connections = args.connections as usize;
    let orders = Orders::new(&super::terms(common, &common.target), Mix::only(Script::Plain));
    let tally = Tally::new(Instant::now() + WARM_UP);
    let load = Load::new(common.target.clone(), orders, tally, common.patience, connections);
    let watch = super::watch(common);

    let mut rounds = Vec::new();
    let whole = (WARM_UP + args.round) * args.rounds;
    let progress = super::show("saturate", if common.no_baseline { whole } else { whole * 2 }, &load);
    for _ in 0..args.rounds {
        if !common.no_baseline {
            rounds.push(super::ceiling(common, connections, args.round).await?);
        }
        let from = Instant::now() + WARM_UP;
        let stretch = super::acceptance_round(&load, watch, connections, from, from + args.round).await;
        rounds.push(Round { of: "accept", stretch, acceptance: None });
    }
    drop(progress);

    let median_of = |name: &str| {
        median(rounds.iter().filter(|round| round.of == name).map(|round| round.stretch.per_second).collect())
    };
    let ratio = median_of("accept").zip(median_of("baseline")).map(|(accept, baseline)| accept / baseline);
    let requests = load.tally().summary();
    let words = format!("{} rounds of {} s, {connections} connections", args.rounds, args.round.as_secs_f64());
    let mut report = super::report("saturate", common, words, rounds, requests);
    report.ratio_of_medians = ratio;
    if let Some(ratio) = ratio {
        let (name, least) = match args.store_label {
            Store::Sqlite => ("accepted and durable (SQLite) to the baseline", 0.50),
            Store::Postgres => ("accepted and durable (PostgreSQL) to the baseline", 0.40),
        };
        report.goals.push(Goal::new(name, Bound::AtLeast(least), ratio));
    }
    super::looked_up(common, &mut report, &load).await;
    super::audited(common, &mut report).await;
    Ok(report)
}
