//! Durable acceptance only: orders without a channel.

use std::time::Instant;

use crate::cli::AcceptArgs;
use crate::drive::{self, Load};
use crate::mix::{Mix, Script};
use crate::order::Orders;
use crate::process::Watch;
use crate::report::{Bound, Goal, Report, Round};
use crate::tally::Tally;

use super::{Pattern, Problem};

pub async fn run(args: &AcceptArgs) -> Result<Report, Problem> {
    let common = &args.common;
    let pattern = Pattern::of(&args.shape)?;
    let mut rounds = super::ceiling_round(common).await?;
    let begin = Instant::now();
    let from = begin + pattern.warm_up();
    let until = from + pattern.length();
    let orders = Orders::new(&super::terms(common, &common.target), Mix::only(Script::Plain));
    let sockets = args.shape.sockets as usize;
    let load = Load::new(common.target.clone(), orders, Tally::new(from), common.patience, sockets);
    let watch = Watch { server: super::server_pid(common), gateway: None };

    let progress = super::show("accept", pattern.warm_up() + pattern.length(), &load);
    let stretch = match pattern {
        Pattern::Closed { slots, .. } => super::acceptance_round(&load, watch, slots, from, until).await,
        Pattern::Open { schedule, in_flight_max } => {
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
    rounds.push(Round { of: "accept", stretch });
    let requests = load.tally().summary();
    let mut report = super::report("accept", common, pattern.words(), rounds, requests);
    match pattern {
        Pattern::Open { .. } => {
            let found = report.requests.acceptance;
            report.goals.push(Goal::new("p50 of acceptance, ms", Bound::AtMost(3.0), found.p50_us as f64 / 1e3));
            report.goals.push(Goal::new("p99 of acceptance, ms", Bound::AtMost(15.0), found.p99_us as f64 / 1e3));
        }
        Pattern::Closed { .. } => {}
    }
    super::audited(common, &mut report).await;
    Ok(report)
}
