//! `tongbao settle`: a thin client of a running server's calendars and settlements.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};

use super::Failure;
use super::operator::{At, Part, ask, cell, ended, request, show, turn};
use crate::config::Config;

/// How often it is looked whether a closing has come to its end.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Longer than a closing of a million orders takes; the server goes on without us.
const CLOSING_PATIENCE: Duration = Duration::from_secs(300);

const AFTER_HELP: &str = "\
A calendar's cycle ends by itself; closing ends it at once. What moved before the end is settled, and never changes.

Examples:
  tongbao settle calendars
  tongbao settle close 1715 --dry-run      what platforms would be settled for
  tongbao settle close 1715
  tongbao settle list 1715 --cycle 7
  tongbao settle create weekly --currency CNY --schedule 'weekly mon 00:00 Asia/Shanghai'
  tongbao settle join 100000 --platform shop-a

Exit codes: 0 done, 1 refused or not done yet, 2 wrong usage, 75 the server is away.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct SettleArgs {
    #[command(subcommand)]
    command: SettleCommand,
}

#[derive(Debug, Subcommand)]
pub enum SettleCommand {
    /// Show the calendars: which cycle is open, and when it ends
    Calendars {
        #[command(flatten)]
        at: At,
    },
    /// End the open cycle of a calendar now, and wait until all platforms are settled
    Close {
        #[arg(value_name = "CALENDAR")]
        calendar: u32,
        /// The cycle's number; default: the one that is open
        #[arg(long, value_name = "N")]
        cycle: Option<u32>,
        /// Only show what platforms have of the cycle so far
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        at: At,
    },
    /// Show what platforms are settled for in a cycle
    List {
        #[arg(value_name = "CALENDAR")]
        calendar: u32,
        #[arg(long, value_name = "N")]
        cycle: u32,
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        at: At,
    },
    /// Change when cycles end, from the end of the open one on
    Reschedule {
        #[arg(value_name = "CALENDAR")]
        calendar: u32,
        /// Such as 'daily 02:00 Asia/Shanghai', 'weekly mon 00:00 Europe/Berlin' or 'monthly 1 00:00 UTC'
        #[arg(long, value_name = "SCHEDULE")]
        schedule: String,
        #[command(flatten)]
        at: At,
    },
    /// Make a calendar for platforms that join it
    Create {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(long, value_name = "CODE")]
        currency: String,
        #[arg(long, value_name = "SCHEDULE")]
        schedule: String,
        #[command(flatten)]
        at: At,
    },
    /// Have a platform settled by a calendar
    Join {
        #[arg(value_name = "CALENDAR")]
        calendar: u32,
        #[arg(long, value_name = "NAME")]
        platform: String,
        #[command(flatten)]
        at: At,
    },
}

pub async fn run(config: Config, args: SettleArgs) -> Result<ExitCode, Failure> {
    ended(perform(&config, args.command).await)
}

async fn perform(config: &Config, command: SettleCommand) -> Result<(), Failure> {
    match command {
        SettleCommand::Calendars { at } => {
            let page = ask(request(config, &at, Method::GET, "/v1/operator/calendars")?).await?;
            show(&at, &page, || calendars_table(rows(&page)))?;
        }
        SettleCommand::Close { calendar, cycle, dry_run, at } => {
            let number = match cycle {
                Some(number) => number,
                None => open_cycle(&calendar_of(config, &at, calendar).await?)?,
            };
            if dry_run {
                return list(config, &at, calendar, number, Part::first(100)).await;
            }
            let path = format!("/v1/operator/calendars/{calendar}/close");
            ask(request(config, &at, Method::POST, &path)?.json(&json!({ "number": number }))).await?;
            wait(config, &at, calendar, number).await?;
            list(config, &at, calendar, number, Part::first(100)).await?;
        }
        SettleCommand::List { calendar, cycle, part, at } => list(config, &at, calendar, cycle, part).await?,
        SettleCommand::Reschedule { calendar, schedule, at } => {
            let path = format!("/v1/operator/calendars/{calendar}/reschedule");
            let body = json!({ "schedule": schedule });
            let changed = ask(request(config, &at, Method::POST, &path)?.json(&body)).await?;
            show(&at, &changed, || calendars_table(std::slice::from_ref(&changed)))?;
        }
        SettleCommand::Create { name, currency, schedule, at } => {
            let body = json!({ "name": name, "currency": currency, "schedule": schedule });
            let made = ask(request(config, &at, Method::POST, "/v1/operator/calendars")?.json(&body)).await?;
            show(&at, &made, || calendars_table(std::slice::from_ref(&made)))?;
        }
        SettleCommand::Join { calendar, platform, at } => {
            let path = format!("/v1/operator/calendars/{calendar}/join");
            let body = json!({ "platform": platform });
            let joined = ask(request(config, &at, Method::POST, &path)?.json(&body)).await?;
            show(&at, &joined, || {
                let mut table = Table::new();
                table.set_header(["platform", "calendar", "from"]);
                table.add_row([cell(&joined["platform"]), joined["calendar"].to_string(), cell(&joined["from"])]);
                table
            })?;
        }
    }
    Ok(())
}

async fn calendar_of(config: &Config, at: &At, calendar: u32) -> Result<Value, Failure> {
    let page = ask(request(config, at, Method::GET, "/v1/operator/calendars")?).await?;
    let found = rows(&page).iter().find(|row| row["id"] == calendar).cloned();
    Ok(found.ok_or_else(|| format!("there is no calendar {calendar}: tongbao settle calendars"))?)
}

fn open_cycle(calendar: &Value) -> Result<u32, Failure> {
    let number = calendar["open"]["number"].as_u64().and_then(|number| u32::try_from(number).ok());
    Ok(number.ok_or("the calendar has not begun yet")?)
}

/// Waits until a cycle is settled, with a sign of life for people.
async fn wait(config: &Config, at: &At, calendar: u32, number: u32) -> Result<(), Failure> {
    let bar = if at.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.set_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
    bar.set_message(format!("closing cycle {number} of calendar {calendar}: cutting lanes, settling platforms"));
    let begun = Instant::now();
    while begun.elapsed() < CLOSING_PATIENCE {
        let now = calendar_of(config, at, calendar).await?;
        if now["closing"].is_null() || now["closing"]["number"] != number {
            bar.finish_and_clear();
            return Ok(());
        }
        bar.tick();
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bar.finish_and_clear();
    Err(format!("cycle {number} is still being closed: tongbao settle calendars tells when it is done").into())
}

async fn list(config: &Config, at: &At, calendar: u32, cycle: u32, part: Part) -> Result<(), Failure> {
    let path = format!("/v1/operator/settlements?calendar={calendar}&cycle={cycle}&");
    turn(config, at, &path, part, settled_table).await
}

fn rows(page: &Value) -> &[Value] {
    page["data"].as_array().map_or(&[], Vec::as_slice)
}

fn calendars_table(calendars: &[Value]) -> Table {
    let mut table = Table::new();
    table.set_header(["calendar", "name", "currency", "schedule", "open", "until", "closing"]);
    for row in calendars {
        table.add_row([
            row["id"].to_string(),
            cell(&row["name"]),
            cell(&row["currency"]),
            cell(&row["schedule"]),
            row["open"]["number"].to_string(),
            cell(&row["open"]["to"]),
            row["closing"]["number"].as_u64().map_or_else(String::new, |number| number.to_string()),
        ]);
    }
    table
}

fn settled_table(settled: &[Value]) -> Table {
    let mut table = Table::new();
    table.set_header(["settlement", "platform", "currency", "state", "brought forward", "net"]);
    for row in settled {
        let columns =
            [&row["id"], &row["platform"], &row["currency"], &row["state"], &row["brought_forward"], &row["net"]];
        table.add_row(columns.map(cell));
    }
    if settled.is_empty() {
        table.add_row(["nobody has anything of this cycle", "", "", "", "", ""]);
    }
    table
}
