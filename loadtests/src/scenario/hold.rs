//! Orders that stay open: what each costs the server in memory.

use std::time::{Duration, Instant};

use crate::cli::HoldArgs;
use crate::drive::{self, Load, Until};
use crate::mix::{Mix, Script};
use crate::order::{AnswerWhen, Orders, Terms};
use crate::report::{Bound, Goal, Memory, Report, Round};
use crate::tally::Tally;
use crate::way::Way;

use super::Problem;

const LENGTH_MAX: Duration = Duration::from_secs(600);
/// A million orders in 1.5 GiB.
const BYTES_PER_ORDER_MAX: f64 = 1610.0;

pub async fn run(args: &HoldArgs) -> Result<Report, Problem> {
    let common = &args.common;
    let server = super::server_pid(common).ok_or("whose memory? give --server-pid")?;
    let terms = Terms {
        way: args.channel.map(Way::usual),
        answer: AnswerWhen::Durable,
        expires_in: Some(args.expires_in),
        ..super::terms(common, &common.target)
    };
    let orders = Orders::new(&terms, Mix::only(Script::Never));
    let begin = Instant::now();
    let connections = args.connections as usize;
    let load = Load::new(common.target.clone(), orders, Tally::new(begin), common.patience, connections);

    let resident_before = server.resident_bytes()?;
    let progress = super::show("hold", LENGTH_MAX, &load);
    let watch = super::watch(common);
    let until = Until::Accepted(args.orders, begin + LENGTH_MAX);
    let posting = drive::closed(&load, connections, until);
    let stretch = watch.during(|| load.tally().accepted(), posting).await;
    drop(progress);
    tokio::time::sleep(args.rest).await;
    let resident_after = server.resident_bytes()?;

    let requests = load.tally().summary();
    let memory = Memory { orders: requests.accepted, resident_before, resident_after };
    let words = format!("{} orders that stay open", args.orders);
    let rounds = vec![Round { of: "hold", stretch, acceptance: Some(requests.acceptance) }];
    let mut report = super::report("hold", common, words, rounds, requests);
    if memory.orders < args.orders {
        report.failures.push(format!("only {} of {} orders were accepted", memory.orders, args.orders));
    }
    let name = "resident bytes of the server per open order";
    report.goals.push(Goal::new(name, Bound::AtMost(BYTES_PER_ORDER_MAX), memory.bytes_per_order()));
    report.memory = Some(memory);
    super::looked_up(common, &mut report, &load).await;
    super::audited(common, &mut report).await;
    Ok(report)
}
