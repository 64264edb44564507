mod audit;
mod baseline;
mod browser;
mod cli;
mod drive;
mod endpoint;
mod ledger;
mod lookup;
mod mix;
mod order;
mod pool;
mod process;
mod progress;
mod receiver;
mod refund;
mod report;
mod sample;
mod scenario;
mod schedule;
mod scramble;
mod seller;
mod signature;
mod tally;
mod way;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::baseline::Lifetime;
use crate::cli::{Cli, Command, Common};
use crate::scenario::Problem;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("tongbao-load: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Problem> {
    let (common, reports) = match &command {
        Command::Baseline(args) => {
            let lifetime = if args.with_parent { Lifetime::WithParent } else { Lifetime::UntilSignalled };
            baseline::serve(args.listen, lifetime)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Accept(args) => (&args.common, vec![drive(&args.common, 1, scenario::accept::run(args))?]),
        Command::Checkout(args) => (&args.common, drive(&args.common, 1, scenario::checkout::run(args))?),
        Command::Saturate(args) => (&args.common, vec![drive(&args.common, 2, scenario::saturate::run(args))?]),
        Command::Overload(args) => (&args.common, vec![drive(&args.common, 2, scenario::overload::run(args))?]),
        Command::Hold(args) => (&args.common, vec![drive(&args.common, 1, scenario::hold::run(args))?]),
    };
    for report in &reports {
        report.print();
    }
    if let Some(table) = report::by_channel(&reports) {
        println!("\n{table}");
    }
    if let Some(file) = &common.json {
        let json = match &reports[..] {
            [report] => serde_json::to_vec_pretty(report)?,
            reports => serde_json::to_vec_pretty(reports)?,
        };
        std::fs::write(file, json)?;
    }
    let missed = common.enforce && reports.iter().flat_map(|report| &report.goals).any(|goal| !goal.met);
    let failed = reports.iter().any(|report| !report.failures.is_empty());
    Ok(if missed || failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn drive<T>(common: &Common, threads: u8, scenario: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    scenario::check_targets(common)?;
    let threads = common.threads.unwrap_or(threads);
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.into()).enable_all().build()?.block_on(scenario)
}
