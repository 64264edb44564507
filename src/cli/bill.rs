//! `tongbao bill`: a channel's statement of a day, fetched with the accounts' own credentials.

mod lines;
mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use time::Date;
use time::macros::format_description;

use self::lines::{Totals, lines_table, write_csv};
use self::progress::Watch;
use super::output::say;
use super::{Failure, accounts};
use crate::channels::Adapter;
use crate::channels::bill::{BillError, BillLine, Day};
use crate::channels::sender::Allowance;
use crate::config::accounts::DEFAULT_ACCOUNT;
use crate::config::{self, Config};
use crate::domain::channel::Channel;
use crate::domain::id::Account;
use crate::engine::bills::{Bounds, FetchError, fetch};
use crate::engine::clock;

/// What scripts can tell from a failure: worth another try later (`EX_TEMPFAIL` of sysexits.h).
const EXIT_NOT_READY: u8 = 75;
/// Lines that are shown where no file takes them.
const SHOWN: usize = 10;

const EXAMPLES: &str = "\
Days are the channel's own: Beijing's for wechat, alipay and unionpay (its settlement day), UTC's for stripe. True \
channels have a day's bill on the next one: wechat from 10:00, alipay from about 9:00 in Beijing; stripe at once, and it \
grows until the day is over. The simulated gateway has today's. A bill is used whole or not at all: one line that cannot \
be read, or totals that are not those of the lines, is a failure.

Exit code: 0, also for a day without trades; 75 where the bill is not there yet; 1 for anything else.

  tongbao bill wechat --date 2026-11-22
  tongbao bill alipay --date 2026-11-22 --account brand-b --out bill.csv
  tongbao --config site.toml bill stripe --date 2026-11-22 --save-original stripe.json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BillArgs {
    /// wechat, alipay, unionpay or stripe; it must be enabled in the configuration
    #[arg(value_parser = channel)]
    channel: Channel,
    /// The day, such as 2026-11-22
    #[arg(long, value_parser = date)]
    date: Date,
    /// Which of our accounts at the channel
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ACCOUNT)]
    account: String,
    /// Write all lines there as CSV: kind, number, refund_number, reference, amount, currency, fee, at (UTC). Empty is
    /// what the channel does not tell. A file that is there is replaced once the new one is whole
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Keep what the channel sent, unchanged and even if it cannot be read: WeChat Pay's table, Alipay's zip, UnionPay's
    /// signed answer, Stripe's pages one after the other. It may name payers: only its owner may read the file
    #[arg(long, value_name = "FILE")]
    save_original: Option<PathBuf>,
}

fn channel(text: &str) -> Result<Channel, String> {
    Channel::parse(text).ok_or_else(|| "there is no such channel".to_owned())
}

fn date(text: &str) -> Result<Date, String> {
    let form = format_description!("[year]-[month]-[day]");
    // The parser itself takes years with a sign.
    let is_plain = text.len() == 10 && text.starts_with(|first: char| first.is_ascii_digit());
    Date::parse(text, form).ok().filter(|_| is_plain).ok_or_else(|| "must be a day such as 2026-11-22".to_owned())
}

pub async fn run(config: Config, args: BillArgs) -> Result<ExitCode, Failure> {
    for file in args.out.iter().chain(&args.save_original) {
        check_folder(file)?;
    }
    if args.out.is_some() && args.out == args.save_original {
        return Err("`--out` and `--save-original` must be two files".into());
    }
    let adapter = account(&config, &args)?;
    let bill = adapter.bill(args.date).ok_or_else(|| format!("{} has no bills", args.channel))?;
    let day = bill.day;
    if clock::now() < day.begins {
        return Err(format!("{} has not begun yet by {}'s calendar", args.date, args.channel).into());
    }
    let mut watch = Watch::new(args.save_original.as_deref());
    let fetched = fetch(adapter.as_ref(), bill, &bounds(&config.bills), &mut watch).await;
    watch.finish();
    let lines = match fetched {
        Ok(lines) => lines,
        Err(FetchError::Bill(error @ BillError::NotReady { .. })) => {
            eprintln!("tongbao: {error}");
            return Ok(ExitCode::from(EXIT_NOT_READY));
        }
        Err(error) => return Err(error.into()),
    };
    show(&args, day, &lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Before anything is fetched: a bill of minutes should not end in a misspelt path.
fn check_folder(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() { Ok(()) } else { Err(format!("{} is no folder", folder.display()).into()) }
}

fn account(config: &Config, args: &BillArgs) -> Result<Arc<dyn Adapter>, Failure> {
    let (channel, wanted) = (args.channel, args.account.as_str());
    if !config.channels.get(channel.name()).is_some_and(|settings| settings.enabled) {
        return Err(format!("`channels.{channel}.enabled` is false").into());
    }
    let adapters = accounts::adapters(config)?;
    let of_channel = || adapters.iter().filter(|adapter| adapter.account().channel() == channel);
    let found = of_channel().find(|adapter| *adapter.account() == Account::new(channel, wanted));
    found.cloned().ok_or_else(|| {
        let known: Vec<&str> = of_channel().map(|adapter| adapter.account().name()).collect();
        format!("there is no account {wanted:?} at {channel}; there is: {}", known.join(", ")).into()
    })
}

fn bounds(settings: &config::Bills) -> Bounds {
    let answer = Allowance { time: Duration::from_millis(settings.timeout_ms), bytes: settings.answer_max_bytes };
    Bounds { answer, lines_max: settings.lines_max }
}

fn show(args: &BillArgs, day: Day, lines: &[BillLine]) -> Result<(), Failure> {
    let totals = Totals::of(lines)?;
    say!(
        "{}, account {}, {}: from {} until {}",
        args.channel,
        args.account,
        args.date,
        day.begins.rfc3339(),
        day.ends.rfc3339()
    )?;
    if clock::now() < day.ends {
        say!("That day is not over: this is what moved so far.")?;
    }
    if lines.is_empty() {
        say!("No trades.")?;
    } else {
        say!("{}", totals.table())?;
    }
    match &args.out {
        Some(file) => {
            write_csv(file, lines)?;
            say!("{} lines written to {}", lines.len(), file.display())?;
        }
        None if lines.is_empty() => {}
        None => {
            say!("{}", lines_table(&lines[..lines.len().min(SHOWN)]))?;
            if lines.len() > SHOWN {
                say!("and {} more lines; --out FILE writes them all", lines.len() - SHOWN)?;
            }
        }
    }
    if let Some(file) = args.save_original.as_deref().filter(|file| file.exists()) {
        say!("the original is in {}", file.display())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_in_full() {
        assert_eq!(date("2026-11-22").map(|date| date.ordinal()), Ok(326));
        for wrong in ["2026-11-31", "2026-1-22", "20261122", "+026-11-22", "-026-11-22", "2026-11-22 ", "today", ""] {
            assert!(date(wrong).is_err(), "{wrong}");
        }
    }
}
