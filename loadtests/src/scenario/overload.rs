//! What happens around saturation: finds it, then offers half of it and three times it.

use std::time::Duration;

use crate::cli::OverloadArgs;
use crate::report::{Bound, Goal, Report};
use crate::schedule::Schedule;

use super::{Pattern, Problem, acceptance};

const WARM_UP: Duration = Duration::from_secs(1);
const RATE_MAX: f64 = 1_000_000.0;

pub async fn run(args: &OverloadArgs) -> Result<Report, Problem> {
    let common = &args.common;
    let mut rounds = super::ceiling_round(common).await?;
    let (slots, sockets) = (args.connections as usize, args.sockets as usize);
    let closed = Pattern::Closed { slots, warm_up: WARM_UP, length: args.length };
    let saturation = acceptance(common, "saturation", closed, slots).await?;
    let peak = saturation.round.stretch.per_second;
    rounds.push(saturation.round);

    let offer = |factor: f64| {
        let rate = (peak * factor).clamp(1.0, RATE_MAX) as u32;
        let schedule = Schedule::new(rate, WARM_UP + args.length);
        Pattern::Open { schedule, warm_up: WARM_UP, in_flight_max: sockets }
    };
    let half = acceptance(common, "half", offer(0.5), sockets).await?;
    let at_half = half.load.tally().summary();
    rounds.push(half.round);
    let triple = acceptance(common, "triple", offer(3.0), sockets).await?;
    let accepted = triple.round.stretch.per_second;
    rounds.push(triple.round);

    let requests = triple.load.tally().summary();
    let words = format!("{peak:.0}/s is saturation; then half and three times of it, {} s each", args.length.as_secs());
    let mut report = super::report("overload", common, words, rounds, requests);
    report.notes.extend([half.note, triple.note].into_iter().flatten());
    let found = at_half.acceptance;
    report.goals.push(Goal::new("p50 at half of saturation, ms", Bound::AtMost(3.0), found.p50_us as f64 / 1e3));
    report.goals.push(Goal::new("p99 at half of saturation, ms", Bound::AtMost(15.0), found.p99_us as f64 / 1e3));
    let kept = accepted / peak.max(f64::EPSILON);
    report.goals.push(Goal::new("accepted at three times saturation, of saturation", Bound::AtLeast(0.9), kept));
    let broken: u64 = report.requests.broken.values().sum();
    report.goals.push(Goal::new("broken exchanges at three times saturation", Bound::AtMost(0.0), broken as f64));
    for load in [&saturation.load, &half.load, &triple.load] {
        super::looked_up(common, &mut report, load).await;
    }
    super::audited(common, &mut report).await;
    Ok(report)
}
