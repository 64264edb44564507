//! `tongbao ledger`: the trial balance, an account's lines, a month's lines, and who owes us.

mod entries;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use comfy_table::Table;
use serde::Serialize;

use self::entries::Month;
use super::audit::{right, table};
use super::output::say;
use super::{Failure, opening};
use crate::config::Config;
use crate::domain::id::PlatformId;
use crate::domain::ledger::LedgerAccount;
use crate::domain::money::{Currency, format_minor};
use crate::domain::time::Instant;
use crate::engine::clock;
use crate::engine::cover::{Cover, covers};
use crate::engine::debtors::{Debtor, debtors};
use crate::store::{Balance, LedgerLine, Store};

const DEBTORS_AT_ONCE: usize = 200;

const AFTER_HELP: &str = "\
What is owed to us is positive, what we owe is negative; in every currency the balances sum to zero.

  tongbao ledger                                   the trial balance
  tongbao ledger --at 2026-11-30T00:00:00+08:00    the same as it was booked by then
  tongbao ledger --account platform:shop-a         its lines, the newest first
  tongbao ledger --account channel:wechat:default --json
  tongbao ledger debtors                           platforms that owe us, and since when
  tongbao ledger entries --month 2026-11 --out november.csv

Below it stands what we hold (bank, transit, wallet, channel) against what we owe (platforms after their fees, settlements,
payouts, held money, suspense, refunds that are pending, unclaimed money). The debt of one platform pays no other.

Exit codes: 0 the balances sum to zero and we hold what we owe, 1 else or if the ledger cannot be read.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct LedgerArgs {
    #[command(subcommand)]
    command: Option<LedgerCommand>,
    /// Show the lines of this account: channel:C:A, refund_pending:C:A, suspense:C:A, platform:P, fees_due:P,
    /// position:P, settlement:P, fees:C, bank:B and so on, with a platform's name or number
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// As it was booked by this instant (RFC 3339)
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    at: Option<Instant>,
    /// At most so many lines of an account, the newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000), requires = "account")]
    limit: u32,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// All lines that were booked in a month (UTC), as CSV
    Entries {
        #[arg(long, value_name = "YYYY-MM", value_parser = Month::parse)]
        month: Month,
        /// Where they are written to
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Platforms that owe us of closed cycles, how much, and since when
    Debtors {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

fn instant(text: &str) -> Result<Instant, String> {
    Instant::parse_rfc3339(text).ok_or_else(|| "an instant such as 2026-11-30T00:00:00Z".to_owned())
}

pub async fn run(config: Config, args: LedgerArgs) -> Result<ExitCode, Failure> {
    let store = opening::open(&config).await?;
    let shown = match &args.command {
        Some(LedgerCommand::Debtors { json }) => owing(store.as_ref(), *json).await,
        Some(LedgerCommand::Entries { month, out }) => month_to(store.as_ref(), *month, out).await,
        None => show(store.as_ref(), &args).await,
    };
    store.close().await?;
    shown
}

async fn show(store: &dyn Store, args: &LedgerArgs) -> Result<ExitCode, Failure> {
    let names = Names::read(store).await?;
    let at = args.at.unwrap_or(Instant(i64::MAX));
    match &args.account {
        None => trial(store, &names, (args, at)).await,
        Some(account) => {
            let account = names.account(account)?;
            let lines = store.ledger_lines(&account, at, args.limit).await?;
            let shown: Vec<LineShown> = lines.iter().map(|line| LineShown::of(line, &names)).collect();
            if args.json {
                say!("{}", serde_json::to_string_pretty(&shown)?)?;
            } else {
                say!("{}", lines_table(&shown))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn month_to(store: &dyn Store, month: Month, out: &Path) -> Result<ExitCode, Failure> {
    entries::write(store, &Names::read(store).await?, month, out).await
}

/// Everybody who owes us.
async fn owing(store: &dyn Store, json: bool) -> Result<ExitCode, Failure> {
    let (names, now) = (Names::read(store).await?, clock::now());
    let (mut shown, mut after) = (Vec::new(), 0);
    loop {
        let page = debtors(store, after, DEBTORS_AT_ONCE).await?;
        let Some(last) = page.last() else { break };
        after = last.payee.as_u128();
        shown.extend(page.iter().map(|debtor| DebtorShown::of(debtor, &names, now)));
    }
    if json {
        say!("{}", serde_json::to_string_pretty(&shown)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = table(["platform", "currency", "owes", "since", "days"]);
    for debtor in &shown {
        let days = debtor.days.map(|days| days.to_string()).unwrap_or_default();
        let since = debtor.since.as_deref().unwrap_or_default();
        rows.add_row([debtor.platform.as_str(), debtor.currency, &debtor.owed, since, &days]);
    }
    say!("{}", right(rows, &[2, 4]))?;
    Ok(ExitCode::SUCCESS)
}

/// The balance of every account, and whether they sum to zero.
async fn trial(store: &dyn Store, names: &Names, (args, at): (&LedgerArgs, Instant)) -> Result<ExitCode, Failure> {
    let balances = match args.at {
        None => store.balances().await?,
        Some(_) => store.balances_at(at).await?,
    };
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    for balance in &balances {
        *sums.entry(&balance.currency).or_default() += i128::from(balance.amount_minor);
    }
    let is_balanced = sums.values().all(|sum| *sum == 0);
    let covers = covers(&balances)?;
    let is_covered = covers.values().all(|cover| cover.short_minor() == 0);
    let shown = TrialShown {
        balances: balances.iter().map(|balance| BalanceShown::of(balance, names)).collect(),
        sums: sums.iter().map(|(currency, sum)| ((*currency).to_owned(), money(*sum, currency))).collect(),
        cover: covers.iter().map(|(currency, cover)| (currency.clone(), CoverShown::of(cover, currency))).collect(),
    };
    if args.json {
        say!("{}", serde_json::to_string_pretty(&shown)?)?;
    } else {
        say!("{}", trial_table(&shown))?;
        for (currency, sum) in &shown.sums {
            say!("{currency}: all accounts sum to {sum}.")?;
        }
        for (currency, cover) in &shown.cover {
            say!("{currency}: held {}, owed {}.", cover.held, cover.owed)?;
        }
        for (currency, _) in covers.iter().filter(|(_, cover)| cover.short_minor() > 0) {
            say!("ALARM {currency}: {} less is held than is owed.", shown.cover[currency].short)?;
        }
    }
    Ok(if is_balanced && is_covered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Platforms by their numbers.
struct Names(BTreeMap<PlatformId, String>);

impl Names {
    async fn read(store: &dyn Store) -> Result<Self, Failure> {
        let rows = store.platforms().await?.into_iter();
        Ok(Names(rows.filter_map(|row| row.value.ok()).map(|platform| (platform.id, platform.name)).collect()))
    }

    fn of(&self, platform: PlatformId) -> String {
        self.0.get(&platform).cloned().unwrap_or_else(|| platform.0.to_string())
    }

    /// An account as people know it.
    fn shown(&self, text: &str) -> String {
        let account = LedgerAccount::parse(text);
        match (text.split_once(':'), account.and_then(|account| account.platform())) {
            (Some((kind, _)), Some(platform)) => format!("{kind}:{}", self.of(platform)),
            (Some(_) | None, Some(_) | None) => text.to_owned(),
        }
    }

    fn account(&self, text: &str) -> Result<LedgerAccount, Failure> {
        let by_name = text.split_once(':').and_then(|(kind, name)| {
            let (platform, _) = self.0.iter().find(|(_, known)| *known == name)?;
            LedgerAccount::parse(&format!("{kind}:{}", platform.0)).filter(|account| account.platform().is_some())
        });
        let account = by_name.or_else(|| LedgerAccount::parse(text));
        account.ok_or_else(|| format!("{text} is no account: see `tongbao ledger --help`").into())
    }
}

#[derive(Serialize)]
struct TrialShown {
    balances: Vec<BalanceShown>,
    sums: BTreeMap<String, String>,
    cover: BTreeMap<String, CoverShown>,
}

#[derive(Serialize)]
struct CoverShown {
    held: String,
    owed: String,
    /// How much less is held than is owed.
    short: String,
}

impl CoverShown {
    fn of(cover: &Cover, currency: &str) -> Self {
        let shown = |minor| money(minor, currency);
        CoverShown { held: shown(cover.held_minor), owed: shown(cover.owed_minor), short: shown(cover.short_minor()) }
    }
}

#[derive(Serialize)]
struct BalanceShown {
    account: String,
    currency: String,
    balance: String,
}

impl BalanceShown {
    fn of(balance: &Balance, names: &Names) -> Self {
        BalanceShown {
            account: names.shown(&balance.account),
            currency: balance.currency.clone(),
            balance: money(i128::from(balance.amount_minor), &balance.currency),
        }
    }
}

#[derive(Serialize)]
struct DebtorShown {
    platform: String,
    currency: &'static str,
    owed: String,
    since: Option<String>,
    days: Option<i64>,
}

impl DebtorShown {
    fn of(debtor: &Debtor, names: &Names, now: Instant) -> Self {
        DebtorShown {
            platform: names.of(debtor.platform()),
            currency: debtor.currency().code(),
            owed: format_minor(debtor.owed_minor, debtor.currency()),
            since: debtor.since.map(|since| since.rfc3339()),
            days: debtor.days(now),
        }
    }
}

#[derive(Serialize)]
struct LineShown {
    at: String,
    effective_at: String,
    bill_day: i64,
    entry: String,
    transaction: Option<String>,
    counterparty: Option<String>,
    stream: String,
    version: u32,
    amount: String,
    currency: String,
}

impl LineShown {
    fn of(line: &LedgerLine, names: &Names) -> Self {
        LineShown {
            at: line.at.rfc3339(),
            effective_at: line.effective_at.rfc3339(),
            bill_day: line.bill_day,
            entry: line.entry_kind.clone(),
            transaction: line.transaction_kind.clone(),
            counterparty: line.counterparty.map(|platform| names.of(platform)),
            stream: line.stream.to_string(),
            version: line.version,
            amount: money(i128::from(line.amount_minor), &line.currency),
            currency: line.currency.clone(),
        }
    }
}

/// Minor units in the currency's own decimals; a sum that no amount can be, or of a currency that nobody knows, as it is.
fn money(minor: i128, code: &str) -> String {
    match (Currency::parse(code), i64::try_from(minor)) {
        (Some(currency), Ok(minor)) => format_minor(minor, currency),
        (Some(_) | None, Ok(_) | Err(_)) => minor.to_string(),
    }
}

fn trial_table(shown: &TrialShown) -> Table {
    let mut rows = table(["account", "currency", "balance"]);
    for balance in &shown.balances {
        rows.add_row([&balance.account, &balance.currency, &balance.balance]);
    }
    right(rows, &[2])
}

fn lines_table(lines: &[LineShown]) -> Table {
    let mut rows = table(["booked", "effective", "bill", "entry", "transaction", "with", "of", "amount", ""]);
    for line in lines {
        rows.add_row([
            line.at.as_str(),
            &line.effective_at,
            &line.bill_day.to_string(),
            &line.entry,
            line.transaction.as_deref().unwrap_or_default(),
            line.counterparty.as_deref().unwrap_or_default(),
            &line.stream,
            &line.amount,
            &line.currency,
        ]);
    }
    right(rows, &[7])
}
