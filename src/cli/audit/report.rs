//! What an audit found, as a table for people and as JSON for tools.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::cli::Failure;
use crate::domain::money::{Currency, format_minor};
use crate::store::StoreError;

/// Findings beyond this many are counted and not listed.
const LISTED_MAX: usize = 100;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// No fault, and our books equal the gateway's.
    pub ok: bool,
    pub faults: Vec<String>,
    pub faults_in_all: u64,
    /// What of the database could not be looked at, and why.
    pub unchecked: Vec<String>,
    /// Differences that work under way explains.
    pub in_flight: Vec<String>,
    pub in_flight_in_all: u64,
    /// Somebody wrote while the audit read: sums over all orders could not be compared with the store's.
    pub moved: bool,
    pub orders: Orders,
    pub books: Books,
    /// None when no gateway was compared with.
    pub gateway: Option<Gateway>,
}

#[derive(Debug, Default, Serialize)]
pub struct Orders {
    pub total: u64,
    /// Orders whose journal was replayed.
    pub replayed: u64,
    pub by_state: BTreeMap<String, u64>,
    /// Orders with an open attempt, a claim to be confirmed or money to be given back.
    pub unsettled: u64,
}

#[derive(Debug, Default, Serialize)]
pub struct Books {
    pub balances: Vec<BalanceLine>,
    pub channels: Vec<Totals>,
    pub suspense: Suspense,
    pub outbox: i64,
    pub inbox: i64,
}

#[derive(Debug, Serialize)]
pub struct BalanceLine {
    pub account: String,
    pub currency: String,
    pub amount: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub channel: String,
    pub currency: String,
    pub captures: i64,
    pub captured: String,
    pub refunded: String,
}

#[derive(Debug, Default, Serialize)]
pub struct Suspense {
    /// Captures that no order was paid by, and how many of them were given back.
    pub captures: u64,
    pub given_back: u64,
    /// Those whose money is still here.
    pub lines: Vec<SuspenseLine>,
}

#[derive(Debug, Serialize)]
pub struct SuspenseLine {
    pub order: String,
    pub account: String,
    pub currency: String,
    pub amount: String,
    pub reason: &'static str,
    pub refund: &'static str,
}

#[derive(Debug, Default, Serialize)]
pub struct Gateway {
    pub url: String,
    /// Whether every total is ours.
    pub equal: bool,
    pub channels: Vec<Totals>,
    pub attempts_compared: u64,
}

impl Report {
    /// What an audit says of a store that is of no use to it.
    pub fn unreadable(error: &Failure) -> Self {
        let mut report = Report::default();
        report.fault(format!("the store cannot be read: {error}"));
        report.judge();
        report
    }

    pub fn fault(&mut self, fault: String) {
        self.faults_in_all += 1;
        list(&mut self.faults, fault);
    }

    /// A row that a server passes over.
    pub fn unreadable_row(&mut self, what: &str, row: Option<String>, error: &StoreError) {
        let row = row.unwrap_or_else(|| "without a readable key".to_owned());
        self.fault(format!("{what} {row} cannot be read: {error}"));
    }

    pub fn in_flight(&mut self, difference: String) {
        self.in_flight_in_all += 1;
        list(&mut self.in_flight, difference);
    }

    pub fn judge(&mut self) {
        let equal = self.gateway.as_ref().is_none_or(|gateway| gateway.equal);
        self.ok = equal && self.faults_in_all == 0 && self.in_flight_in_all == 0;
    }

    /// Nobody writes, nothing is under way and all is equal: waiting would bring nothing new.
    pub fn is_quiet(&self) -> bool {
        self.ok && !self.moved && self.orders.unsettled == 0
    }

    pub fn for_people(&self) -> String {
        let mut text = String::new();
        for table in [self.orders_table(), self.totals_table(), self.balances_table()] {
            let _ = writeln!(text, "{table}");
        }
        if !self.books.suspense.lines.is_empty() {
            let _ = writeln!(text, "{}", self.suspense_table());
        }
        for (heading, listed, in_all) in
            [("FAULT", &self.faults, self.faults_in_all), ("in flight", &self.in_flight, self.in_flight_in_all)]
        {
            for line in listed {
                let _ = writeln!(text, "{heading}: {line}");
            }
            let unlisted = in_all.saturating_sub(listed.len() as u64);
            if unlisted > 0 {
                let _ = writeln!(text, "{heading}: and {unlisted} more");
            }
        }
        for line in &self.unchecked {
            let _ = writeln!(text, "not checked: {line}");
        }
        if self.moved {
            let _ = writeln!(text, "The store was written to meanwhile: sums over all orders were not compared.");
        }
        text.push_str(&self.verdict());
        text
    }

    fn verdict(&self) -> String {
        let against = match &self.gateway {
            Some(gateway) if gateway.equal => format!(
                "they equal the gateway's at {} ({} attempts compared one by one)",
                gateway.url, gateway.attempts_compared
            ),
            Some(gateway) if gateway.channels.is_empty() => format!("the gateway's at {} were not seen", gateway.url),
            Some(gateway) => format!("they DIFFER from the gateway's at {}", gateway.url),
            None => "no gateway was compared".to_owned(),
        };
        let own = match self.faults_in_all {
            0 => format!("no fault in {} orders", self.orders.total),
            1 => format!("one FAULT in {} orders", self.orders.total),
            count => format!("{count} FAULTS in {} orders", self.orders.total),
        };
        let verdict = if self.ok { "The books are right" } else { "The books are NOT right" };
        format!("{verdict}: {own}; {against}.")
    }

    fn orders_table(&self) -> Table {
        let mut table = table(["orders", "count"]);
        for (state, count) in &self.orders.by_state {
            table.add_row([state.clone(), count.to_string()]);
        }
        for (name, count) in [
            ("in all", self.orders.total.to_string()),
            ("replayed from the journal", self.orders.replayed.to_string()),
            ("unsettled", self.orders.unsettled.to_string()),
            ("captures given back", self.books.suspense.given_back.to_string()),
            ("webhooks to deliver", self.books.outbox.to_string()),
            ("callbacks not taken up", self.books.inbox.to_string()),
        ] {
            table.add_row([name.to_owned(), count]);
        }
        right(table, &[1])
    }

    fn totals_table(&self) -> Table {
        let mut table = table(["books of", "channel", "currency", "captures", "captured", "refunded"]);
        let gateway = self.gateway.iter().flat_map(|gateway| &gateway.channels).map(|totals| ("the gateway", totals));
        for (whose, totals) in self.books.channels.iter().map(|totals| ("ours", totals)).chain(gateway) {
            table.add_row([
                whose,
                &totals.channel,
                &totals.currency,
                &totals.captures.to_string(),
                &totals.captured,
                &totals.refunded,
            ]);
        }
        right(table, &[3, 4, 5])
    }

    fn balances_table(&self) -> Table {
        let mut table = table(["account", "currency", "balance"]);
        for line in &self.books.balances {
            table.add_row([&line.account, &line.currency, &line.amount]);
        }
        right(table, &[2])
    }

    fn suspense_table(&self) -> Table {
        let mut table = table(["suspense of", "account", "currency", "amount", "why", "refund"]);
        for line in &self.books.suspense.lines {
            table.add_row([&line.order, &line.account, &line.currency, &line.amount, line.reason, line.refund]);
        }
        right(table, &[3])
    }
}

impl Suspense {
    pub fn push(&mut self, line: SuspenseLine) {
        list(&mut self.lines, line);
    }
}

fn list<T>(listed: &mut Vec<T>, item: T) {
    if listed.len() < LISTED_MAX {
        listed.push(item);
    }
}

/// A table as all reports have it.
pub fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// The table with these columns, which hold numbers, set to the right.
pub fn right(mut table: Table, columns: &[usize]) -> Table {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// An amount as the store names it; in minor units where the currency is unknown.
pub fn money(amount_minor: i64, currency: &str) -> String {
    match Currency::parse(currency) {
        Some(currency) => format_minor(amount_minor, currency),
        None => amount_minor.to_string(),
    }
}
