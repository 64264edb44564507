//! `tongbao netting`: what platforms pay each other, as a running server has it.

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Table;
use reqwest::Method;
use serde_json::Value;

use super::Failure;
use super::operator::{At, Part, ask, cell, ended, request, show, turn};
use super::output::say;
use crate::config::Config;
use crate::domain::cycle::CycleId;

#[derive(Debug, Subcommand)]
pub enum NettingCommand {
    /// Show netting runs, the newest cycle of each calendar first
    List {
        /// Only those of this calendar, by its number
        #[arg(long, value_name = "NUMBER")]
        calendar: Option<u32>,
        /// Only those that are open or done
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        at: At,
    },
    /// Show a run: what each platform pays or gets, and how far each transfer has got
    Show {
        /// The calendar and the cycle, such as 1805.3
        #[arg(value_name = "CYCLE", value_parser = cycle)]
        cycle: CycleId,
        #[command(flatten)]
        at: At,
    },
}

fn cycle(text: &str) -> Result<CycleId, String> {
    text.parse().map_err(|()| "a calendar's number and a cycle's, such as 1805.3".to_owned())
}

pub async fn run(config: Config, command: NettingCommand) -> Result<ExitCode, Failure> {
    ended(perform(config, command).await)
}

async fn perform(config: Config, command: NettingCommand) -> Result<(), Failure> {
    match command {
        NettingCommand::List { calendar, state, part, at } => {
            let calendar = calendar.map(|calendar| format!("calendar={calendar}&")).unwrap_or_default();
            let state = state.map(|state| format!("state={state}&")).unwrap_or_default();
            turn(&config, &at, &format!("/v1/operator/nettings?{calendar}{state}"), part, runs_table).await
        }
        NettingCommand::Show { cycle, at } => {
            let CycleId { calendar, number } = cycle;
            let path = format!("/v1/operator/nettings?calendar={calendar}&cycle={number}");
            let page = ask(request(&config, &at, Method::GET, &path)?).await?;
            let run = page["data"].get(0).ok_or_else(|| format!("nothing was netted for {cycle}"))?;
            show(&at, run, || positions_table(run))?;
            if !at.json {
                say!(
                    "{}\nall positions sum to {} {}",
                    transfers_table(run),
                    cell(&run["sum"]),
                    cell(&run["currency"])
                )?;
            }
            Ok(())
        }
    }
}

fn runs_table(runs: &[Value]) -> Table {
    let mut table = Table::new();
    table.set_header(["cycle", "state", "currency", "platforms", "transfers", "done", "outside", "made"]);
    let count = |list: &Value| list.as_array().map_or(0, Vec::len).to_string();
    for run in runs {
        let transfers = run["transfers"].as_array().map_or(&[][..], Vec::as_slice);
        let done = transfers.iter().filter(|transfer| transfer["state"] == "done").count();
        table.add_row([
            cell(&run["id"]),
            cell(&run["state"]),
            cell(&run["currency"]),
            count(&run["positions"]),
            transfers.len().to_string(),
            done.to_string(),
            count(&run["outside"]),
            cell(&run["created_at"]),
        ]);
    }
    table
}

fn positions_table(run: &Value) -> Table {
    let mut table = Table::new();
    table.set_header(["platform", "gets", "with", ""]);
    for position in run["positions"].as_array().into_iter().flatten() {
        table.add_row([cell(&position["platform"]), cell(&position["amount"]), String::new(), String::new()]);
    }
    for left in run["outside"].as_array().into_iter().flatten() {
        let fields = ["platform", "amount", "counterparty"].map(|name| cell(&left[name]));
        table.add_row(fields.into_iter().chain(["not netted".to_owned()]));
    }
    table
}

fn transfers_table(run: &Value) -> Table {
    const COLUMNS: [&str; 7] = ["id", "payer", "payee", "amount", "state", "paid_at", "received_at"];
    let mut table = Table::new();
    table.set_header(["transfer", "payer", "payee", "amount", "state", "paid", "received"]);
    for transfer in run["transfers"].as_array().into_iter().flatten() {
        table.add_row(COLUMNS.map(|name| cell(&transfer[name])));
    }
    table
}
