//! `tongbao payout`: a thin client of a running server's payout routes.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use reqwest::Method;
use serde_json::{Value, json};

use super::Failure;
use super::operator::{At, Part, ask, cell, ended, request, show, turn};
use super::output::say;
use crate::config::Config;

const AFTER_HELP: &str = "\
One person proposes (create), another one with the role finance or admin approves; then export writes a file for the
bank, and paid, failed, returned or import record what the bank says.

Examples:
  tongbao payout create --currency CNY
  tongbao payout approve po_00000007434e590000000c
  tongbao payout export --currency CNY --out payouts.xml
  tongbao payout import answers.csv

Exit codes: 0 done, 1 refused, 2 wrong usage, 75 the server is away.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct PayoutArgs {
    #[command(subcommand)]
    command: PayoutCommand,
}

#[derive(Debug, Subcommand)]
pub enum PayoutCommand {
    /// Propose to pay out all that is settled in a currency
    Create {
        #[arg(long, value_name = "CODE")]
        currency: String,
        /// Only this platform's; else of all that have enough
        #[arg(long, value_name = "NAME")]
        platform: Option<String>,
        /// Our account that pays; default main
        #[arg(long, value_name = "NAME")]
        bank: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Show payouts
    List {
        /// created, approved, exported, unknown, paid, failed, cancelled or returned
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        #[command(flatten)]
        part: Part,
        #[command(flatten)]
        at: At,
    },
    /// Approve payouts that another person proposed
    Approve {
        #[arg(value_name = "PAYOUT", required = true)]
        payouts: Vec<String>,
        #[command(flatten)]
        at: At,
    },
    /// Take a payout back that has not left yet
    Cancel {
        #[arg(value_name = "PAYOUT")]
        payout: String,
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// Write approved payouts of a currency into a file for a bank
    Export {
        #[arg(long, value_name = "CODE")]
        currency: String,
        #[arg(long, value_name = "NAME")]
        bank: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Pain001)]
        format: Format,
        /// The file, which must not be there yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        at: At,
    },
    /// Write a file that was exported once more: it has the same bytes
    Download {
        #[arg(value_name = "ID")]
        file: String,
        #[arg(long, value_enum, default_value_t = Format::Pain001)]
        format: Format,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        at: At,
    },
    /// The bank has carried it out
    Paid(AnswerArgs),
    /// The bank has refused it
    Failed(AnswerArgs),
    /// The bank sent its money back
    Returned(AnswerArgs),
    /// The bank does not know
    Unknown(AnswerArgs),
    /// Take a file of the bank's answers (CSV; its columns stand in the configuration)
    Import {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        at: At,
    },
    /// Propose where a platform is to be paid to; another person approves
    Details {
        #[arg(long, value_name = "NAME")]
        platform: String,
        #[arg(long, value_name = "CODE")]
        currency: String,
        /// JSON: holder, bank_name, account ({"iban": …} or {"number": …}) and agent ({"bic": …} or {"cnaps": …})
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        at: At,
    },
    /// Approve bank details that another person proposed
    ApproveDetails {
        #[arg(long, value_name = "NAME")]
        platform: String,
        #[arg(long, value_name = "CODE")]
        currency: String,
        #[arg(long, value_name = "N")]
        number: u32,
        #[command(flatten)]
        at: At,
    },
    /// Record that a platform has paid what it owed us
    Received {
        #[arg(long, value_name = "NAME")]
        platform: String,
        #[arg(long, value_name = "CODE")]
        currency: String,
        #[arg(long, value_name = "A")]
        amount: String,
        #[arg(long, value_name = "NAME")]
        bank: Option<String>,
        /// The bank's own name of the payment
        #[arg(long, value_name = "TEXT")]
        reference: String,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Args)]
pub struct AnswerArgs {
    #[arg(value_name = "PAYOUT")]
    payout: String,
    /// What the bank says it paid; another amount than the payout's is refused
    #[arg(long, value_name = "A")]
    amount: Option<String>,
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// ISO 20022 pain.001.001.09
    Pain001,
    /// The bank's own columns, as the configuration has them
    Csv,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Format::Pain001 => "pain001",
            Format::Csv => "csv",
        }
    }
}

pub async fn run(config: Config, args: PayoutArgs) -> Result<ExitCode, Failure> {
    ended(perform(&config, args.command).await)
}

async fn perform(config: &Config, command: PayoutCommand) -> Result<(), Failure> {
    match command {
        PayoutCommand::Create { currency, platform, bank, at } => {
            let body = json!({ "currency": currency, "platform": platform, "bank": bank });
            let made = ask(request(config, &at, Method::POST, "/v1/operator/payouts")?.json(&body)).await?;
            let rows = rows(&made).to_vec();
            show(&at, &made, || table(&rows))?;
            if !at.json && !rows.is_empty() {
                say!("Another person approves: tongbao payout approve {}", cell(&rows[0]["id"]))?;
            }
        }
        PayoutCommand::List { state, part, at } => {
            let state = state.map(|state| format!("state={state}&")).unwrap_or_default();
            turn(config, &at, &format!("/v1/operator/payouts?{state}"), part, table).await?;
        }
        PayoutCommand::Approve { payouts, at } => {
            for payout in payouts {
                let path = format!("/v1/operator/payouts/{payout}/approve");
                let approved = ask(request(config, &at, Method::POST, &path)?).await?;
                show(&at, &approved, || table(std::slice::from_ref(&approved)))?;
            }
        }
        PayoutCommand::Cancel { payout, reason, at } => {
            let path = format!("/v1/operator/payouts/{payout}/cancel");
            let cancelled = ask(request(config, &at, Method::POST, &path)?.json(&json!({ "reason": reason }))).await?;
            show(&at, &cancelled, || table(std::slice::from_ref(&cancelled)))?;
        }
        PayoutCommand::Export { currency, bank, format, out, at } => {
            let file = create(&out)?;
            let body = json!({ "currency": currency, "bank": bank });
            let exported = request(config, &at, Method::POST, "/v1/operator/payout_files")?.json(&body);
            let exported = ask(exported).await.inspect_err(|_| drop(std::fs::remove_file(&out)))?;
            let id = cell(&exported["id"]);
            if let Err(error) = download(config, &at, &id, format, file).await {
                return Err(format!(
                    "the payouts stand in file {id}, which was not written ({error}): tongbao payout download {id}"
                )
                .into());
            }
            show(&at, &exported, || {
                let mut table = Table::new();
                table.set_header(["file", "bank", "payouts", "amount", "currency"]);
                table.add_row([
                    id.clone(),
                    cell(&exported["bank"]),
                    exported["count"].to_string(),
                    cell(&exported["amount"]),
                    cell(&exported["currency"]),
                ]);
                table
            })?;
        }
        PayoutCommand::Download { file, format, out, at } => {
            download(config, &at, &file, format, create(&out)?).await?;
        }
        PayoutCommand::Paid(args) => answer(config, "paid", args).await?,
        PayoutCommand::Failed(args) => answer(config, "failed", args).await?,
        PayoutCommand::Returned(args) => answer(config, "returned", args).await?,
        PayoutCommand::Unknown(args) => answer(config, "unknown", args).await?,
        PayoutCommand::Import { file, at } => {
            let body = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let asked = request(config, &at, Method::POST, "/v1/operator/payouts/answers")?;
            let taken = ask(asked.header("content-type", "text/csv").body(body)).await?;
            show(&at, &taken, || {
                let mut table = Table::new();
                table.set_header(["line", "payout", "why it was refused"]);
                for row in taken["refused"].as_array().into_iter().flatten() {
                    table.add_row([row["line"].to_string(), cell(&row["payout"]), cell(&row["why"])]);
                }
                table
            })?;
            if !at.json {
                say!("{} taken, {} repeated", taken["taken"], taken["repeated"])?;
            }
            if taken["refused"].as_array().is_some_and(|refused| !refused.is_empty()) {
                return Err("some lines were refused; the others are done".into());
            }
        }
        PayoutCommand::Details { platform, currency, file, at } => {
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let details: Value = serde_json::from_str(&text)?;
            let body = json!({ "platform": platform, "currency": currency, "details": details });
            let proposed = ask(request(config, &at, Method::POST, "/v1/operator/bank_details")?.json(&body)).await?;
            show(&at, &proposed, || details_table(&proposed))?;
        }
        PayoutCommand::ApproveDetails { platform, currency, number, at } => {
            let body = json!({ "platform": platform, "currency": currency, "number": number });
            let path = "/v1/operator/bank_details/approve";
            let approved = ask(request(config, &at, Method::POST, path)?.json(&body)).await?;
            show(&at, &approved, || details_table(&approved))?;
        }
        PayoutCommand::Received { platform, currency, amount, bank, reference, at } => {
            let body = json!({ "platform": platform, "currency": currency, "amount": amount, "bank": bank,
                "reference": reference });
            let path = "/v1/operator/payments_received";
            let received = ask(request(config, &at, Method::POST, path)?.json(&body)).await?;
            show(&at, &received, || {
                let mut table = Table::new();
                table.set_header(["platform", "currency", "settled"]);
                table.add_row([&received["platform"], &received["currency"], &received["settled"]].map(cell));
                table
            })?;
        }
    }
    Ok(())
}

async fn answer(config: &Config, answer: &str, args: AnswerArgs) -> Result<(), Failure> {
    let AnswerArgs { payout, amount, reference, reason, at } = args;
    let body = json!({ "answer": answer, "amount": amount, "reference": reference, "reason": reason });
    let path = format!("/v1/operator/payouts/{payout}/answer");
    let answered = ask(request(config, &at, Method::POST, &path)?.json(&body)).await?;
    Ok(show(&at, &answered, || table(std::slice::from_ref(&answered)))?)
}

/// A new file for its owner only: it says who is paid, and where.
fn create(path: &PathBuf) -> Result<std::fs::File, Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(path);
    Ok(made.map_err(|error| format!("{}: {error}", path.display()))?)
}

async fn download(config: &Config, at: &At, id: &str, format: Format, mut file: std::fs::File) -> Result<(), Failure> {
    let path = format!("/v1/operator/payout_files/{id}?format={}", format.name());
    let answer = request(config, at, Method::GET, &path)?.send().await?;
    if !answer.status().is_success() {
        return Err(answer.text().await?.into());
    }
    file.write_all(&answer.bytes().await?)?;
    Ok(file.sync_all()?)
}

fn rows(page: &Value) -> &[Value] {
    page["data"].as_array().map_or(&[], Vec::as_slice)
}

fn table(payouts: &[Value]) -> Table {
    let mut table = Table::new();
    table.set_header(["payout", "platform", "amount", "currency", "state", "proposed by", "approved by", "file"]);
    for row in payouts {
        table.add_row(
            [
                &row["id"],
                &row["platform"],
                &row["amount"],
                &row["currency"],
                &row["state"],
                &row["proposed_by"],
                &row["approved_by"],
                &row["file"],
            ]
            .map(cell),
        );
    }
    table
}

fn details_table(details: &Value) -> Table {
    let mut table = Table::new();
    table.set_header(["platform", "currency", "number", "details", "in force from"]);
    table.add_row([
        cell(&details["platform"]),
        cell(&details["currency"]),
        details["number"].to_string(),
        cell(&details["details"]),
        cell(&details["in_force_at"]),
    ]);
    table
}
