//! `tongbao ledger entries`: all that was booked in a month, as a sheet.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Names, money};
use crate::cli::Failure;
use crate::cli::output::say;
use crate::config::settlement::begins_formula;
use crate::domain::cycle::CycleId;
use crate::domain::ledger::LedgerAccount;
use crate::domain::settlement::SettlementId;
use crate::domain::time::Instant;
use crate::store::{BookedLine, BookedSpan, Store};

/// Places of a lane that are read at once.
const PLACES_AT_ONCE: i64 = 2_000;
const OWNER_ONLY: u32 = 0o600;
const COLUMNS: [&str; 16] = [
    "booked_at",
    "effective_at",
    "bill_day",
    "entry_kind",
    "account",
    "amount",
    "currency",
    "transaction",
    "counterparty",
    "settlement",
    "stream",
    "version",
    "entry",
    "line",
    "lane",
    "place",
];

/// A month of UTC: its first instant, and that of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Month {
    from: Instant,
    until: Instant,
}

impl Month {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Month::read(text).ok_or_else(|| "a month such as 2026-11".to_owned())
    }

    fn read(text: &str) -> Option<Self> {
        let is_number = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        let (year, month) = text.split_once('-').filter(|(year, month)| is_number(year, 4) && is_number(month, 2))?;
        let (year, month): (u16, u8) = (year.parse().ok()?, month.parse().ok()?);
        let (next_year, next_month) =
            if month == 12 { (year.checked_add(1)?, 1) } else { (year, month.checked_add(1)?) };
        let first = |year, month| Instant::parse_rfc3339(&format!("{year:04}-{month:02}-01T00:00:00Z"));
        Some(Month { from: first(year, month)?, until: first(next_year, next_month)? })
    }
}

/// Writes beside the file and moves it into place, so that nobody ever reads half a month.
pub(super) async fn write(store: &dyn Store, names: &Names, month: Month, file: &Path) -> Result<ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut draft = file.as_os_str().to_owned();
    draft.push(".draft");
    let draft = PathBuf::from(draft);
    let opened = open(&draft).map_err(|error| failed(&error))?;
    let mut writer = csv::Writer::from_writer(opened);
    writer.write_record(COLUMNS).map_err(|error| failed(&error))?;
    let lanes = store.owner().await?.lanes;
    let bar = bar(lanes.iter().map(|lane| lane.next_place).sum());
    let (mut count, mut sums) = (0_u64, BTreeMap::<String, i128>::new());
    for lane in lanes {
        let mut place = 0;
        while place < lane.next_place {
            let next = place.saturating_add(PLACES_AT_ONCE).min(lane.next_place);
            let span = BookedSpan { lane: lane.lane, places: place..next, from: month.from, until: month.until };
            for line in store.booked_lines(&span).await? {
                count += 1;
                *sums.entry(line.currency.clone()).or_default() += i128::from(line.amount_minor);
                writer.write_record(cells(&line, names)).map_err(|error| failed(&error))?;
            }
            bar.inc(next.abs_diff(place));
            place = next;
        }
    }
    bar.finish_and_clear();
    let written = writer.into_inner().map_err(|error| failed(error.error()))?;
    written.sync_all().and_then(|()| fs::rename(&draft, file)).map_err(|error| failed(&error))?;
    say!("{count} lines in {}", file.display())?;
    for (currency, sum) in &sums {
        say!("{currency}: they sum to {}.", money(*sum, currency))?;
    }
    Ok(if sums.values().all(|sum| *sum == 0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(path)?;
    // One that was there before keeps its own otherwise.
    file.set_permissions(fs::Permissions::from_mode(OWNER_ONLY))?;
    Ok(file)
}

/// A bar at a terminal, and nothing elsewhere.
fn bar(places: i64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let places = u64::try_from(places).unwrap_or_default();
    let style = ProgressStyle::with_template("reading the journal {bar:40} {pos} of {len}, {eta} left");
    ProgressBar::with_draw_target(Some(places), ProgressDrawTarget::stderr())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn cells(line: &BookedLine, names: &Names) -> [String; COLUMNS.len()] {
    let platform = LedgerAccount::parse(&line.account).and_then(|account| account.platform());
    let settlement = platform.zip(CycleId::from_number(line.cycle));
    let settlement = settlement.map(|(platform, cycle)| SettlementId { platform, cycle }.to_string());
    [
        line.at.rfc3339(),
        line.effective_at.rfc3339(),
        line.bill_day.to_string(),
        safe(line.entry_kind.clone()),
        safe(names.shown(&line.account)),
        money(i128::from(line.amount_minor), &line.currency),
        safe(line.currency.clone()),
        safe(line.transaction_kind.clone().unwrap_or_default()),
        safe(line.counterparty.map(|platform| names.of(platform)).unwrap_or_default()),
        settlement.unwrap_or_default(),
        line.key.stream.to_string(),
        line.key.version.to_string(),
        line.key.entry.to_string(),
        line.key.line.to_string(),
        line.lane.to_string(),
        line.place.to_string(),
    ]
}

/// A spreadsheet must not take a text for a formula.
fn safe(text: String) -> String {
    if begins_formula(&text) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_and_ends_in_utc() {
        let month = |text: &str| Month::read(text).map(|month| (month.from.rfc3339(), month.until.rfc3339()));
        let of = |from: &str, until: &str| Some((format!("{from}T00:00:00.000Z"), format!("{until}T00:00:00.000Z")));
        assert_eq!(month("2026-11"), of("2026-11-01", "2026-12-01"));
        assert_eq!(month("2026-12"), of("2026-12-01", "2027-01-01"));
        for wrong in ["", "2026", "2026-13", "2026-00", "2026-1", "26-11", "2026-11-01", "2026-+1", "9999-12"] {
            assert_eq!(month(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_text_is_no_formula() {
        assert_eq!(safe("-shop".to_owned()), "'-shop");
        assert_eq!(safe("platform:-shop".to_owned()), "platform:-shop");
    }
}
