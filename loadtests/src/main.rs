mod audit;
mod baseline;
mod cli;
mod drive;
mod endpoint;
mod ledger;
mod lookup;
mod mix;
mod order;
mod process;
mod progress;
mod receiver;
mod report;
mod sample;
mod scenario;
mod schedule;
mod signature;
mod tally;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::baseline::Lifetime;
use crate::cli::{Cli, Command, Common};
use crate::report::Report;
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
    let (common, report) = match &command {
        Command::Baseline(args) => {
            let lifetime = if args.with_parent { Lifetime::WithParent } else { Lifetime::UntilSignalled };
            baseline::serve(args.listen, lifetime)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Accept(args) => (&args.common, drive(&args.common, 1, scenario::accept::run(args))?),
        Command::Checkout(args) => (&args.common, drive(&args.common, 1, scenario::checkout::run(args))?),
        Command::Saturate(args) => (&args.common, drive(&args.common, 2, scenario::saturate::run(args))?),
        Command::Overload(args) => (&args.common, drive(&args.common, 2, scenario::overload::run(args))?),
        Command::Hold(args) => (&args.common, drive(&args.common, 1, scenario::hold::run(args))?),
    };
    report.print();
    if let Some(file) = &common.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    let missed = common.enforce && report.goals.iter().any(|goal| !goal.met);
    Ok(if missed || !report.failures.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn drive(
    common: &Common,
    threads: u8,
    scenario: impl Future<Output = Result<Report, Problem>>,
) -> Result<Report, Problem> {
    scenario::check_targets(common)?;
    let threads = common.threads.unwrap_or(threads);
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.into()).enable_all().build()?.block_on(scenario)
}
