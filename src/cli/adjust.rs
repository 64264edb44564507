//! `tongbao adjust`: proposes an entry by hand.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::operator::{At, ended, propose};
use super::output::say;
use crate::config::Config;
use crate::domain::money::{AmountError, Currency, parse_within};

const AFTER_HELP: &str = "\
What is owed to us is positive, what we owe is negative; the lines sum to zero. Another person approves it.

  tongbao adjust --currency CNY --line bank:main=200.00 --line equity=-200.00 --reason 'slip 4711'
  tongbao adjust --currency CNY --line platform:shop-a=12.50 --line written_off=-12.50 --reason 'note 12' --dry-run

Exit codes: 0 proposed, 1 refused, 2 the command line is wrong, 75 the server is away.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct AdjustArgs {
    /// An ISO 4217 code such as CNY
    #[arg(long, value_name = "CODE", value_parser = currency)]
    currency: Currency,
    /// An account and what is added to it, such as bank:main=200.00; of platforms by name
    #[arg(long = "line", value_name = "ACCOUNT=AMOUNT", required = true, value_parser = line)]
    lines: Vec<(String, String)>,
    /// What shows it; kept in the journal, so nothing personal
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only check that the lines are amounts that sum to zero; nothing is proposed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    at: At,
}

pub fn currency(code: &str) -> Result<Currency, String> {
    Currency::parse(code).ok_or_else(|| "an upper-case ISO 4217 code such as CNY".to_owned())
}

fn line(text: &str) -> Result<(String, String), String> {
    let (account, amount) = text.split_once('=').ok_or("an account and an amount, such as bank:main=200.00")?;
    Ok((account.to_owned(), amount.to_owned()))
}

pub async fn run(config: Config, args: AdjustArgs) -> Result<ExitCode, Failure> {
    let mut sum = 0i64;
    for (account, amount) in &args.lines {
        let minor = signed(amount, args.currency).map_err(|error| format!("{account}: the amount {error}"))?;
        sum = sum.checked_add(minor).ok_or("the lines are too much together")?;
    }
    if sum != 0 {
        let by = crate::domain::money::format_minor(sum, args.currency);
        return Err(format!("the lines sum to {by} {} instead of zero", args.currency).into());
    }
    if args.dry_run {
        say!("the lines sum to zero; nothing was proposed")?;
        return Ok(ExitCode::SUCCESS);
    }
    let line = |(account, amount): &(String, String)| json!({ "account": account, "amount": amount });
    let lines: Vec<Value> = args.lines.iter().map(line).collect();
    let act = json!({ "type": "adjust", "currency": args.currency, "lines": lines });
    ended(propose(&config, &args.at, &act, &args.reason).await)
}

/// The server bounds it.
fn signed(text: &str, currency: Currency) -> Result<i64, AmountError> {
    match text.strip_prefix('-') {
        Some(digits) => parse_within(digits, currency, i64::MAX).map(|minor| -minor),
        None => parse_within(text, currency, i64::MAX),
    }
}
