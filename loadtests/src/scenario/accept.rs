//! Durable acceptance only: orders without a channel.

use crate::cli::AcceptArgs;
use crate::report::{Bound, Goal, Report};

use super::{Pattern, Problem, acceptance};

pub async fn run(args: &AcceptArgs) -> Result<Report, Problem> {
    let common = &args.common;
    let pattern = Pattern::of(&args.shape, None)?;
    let mut rounds = super::ceiling_round(common).await?;
    let stage = acceptance(common, "accept", pattern, args.shape.sockets as usize).await?;
    rounds.push(stage.round);
    let requests = stage.load.tally().summary();
    let mut report = super::report("accept", common, pattern.words(), rounds, requests);
    report.notes.extend(stage.note);
    match pattern {
        Pattern::Open { .. } => {
            let found = report.requests.acceptance;
            report.goals.push(Goal::new("p50 of acceptance, ms", Bound::AtMost(3.0), found.p50_us as f64 / 1e3));
            report.goals.push(Goal::new("p99 of acceptance, ms", Bound::AtMost(15.0), found.p99_us as f64 / 1e3));
        }
        Pattern::Closed { .. } => {}
    }
    super::looked_up(common, &mut report, &stage.load).await;
    super::audited(common, &mut report).await;
    Ok(report)
}
