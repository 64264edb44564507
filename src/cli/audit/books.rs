//! The store against itself: every order by its journal and entries, and all sums against all orders.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use super::nettings::examine_nettings;
use super::operators::examine_operators;
use super::platforms::examine_platforms;
use super::proposals::examine_proposals;
use super::replay::{Evidence, examine};
use super::report::{BalanceLine, Report, SuspenseLine, Totals, money};
use crate::domain::id::{OrderId, RefundOrdinal};
use crate::domain::ledger::LedgerAccount;
use crate::domain::merchant::Merchant;
use crate::domain::order::{Attempt, Order, Purpose, State, SuspenseReason, Wish};
use crate::domain::refund::Stage;
use crate::domain::stream::{Kind, StreamId};
use crate::domain::time::Instant;
use crate::engine::inbox::read_kept;
use crate::store::{ChannelTotal, Due, InboxReason, Places, RefundFilter, Store, StoreError, StoredRefund, last_key};

/// An order that moves between two reads is read again; no order moves this often in so short a time.
const READS_MAX: usize = 20;

/// A channel and a currency.
pub type Place = (String, String);

/// What the gateway may be ahead of us, by work that is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ahead {
    pub captures: i64,
    pub captured_minor: i128,
    pub refunded_minor: i128,
}

/// Sums over all orders, to be compared with the store's own sums.
#[derive(Default)]
pub struct Tally {
    balances: BTreeMap<(String, String), i128>,
    channels: BTreeMap<Place, (i64, i128, i128)>,
    /// What of it was captured and refunded by accounts of platforms' own: no ledger account holds that.
    sellers: BTreeMap<Place, (i64, i64)>,
    states: BTreeMap<String, u64>,
    due: u64,
    pub ahead: BTreeMap<Place, Ahead>,
}

/// How the store is read.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    pub store: &'a dyn Store,
    pub page: u32,
    pub readers: usize,
    pub now: Instant,
}

/// Examines every order, page by page; `done` hears how many more were examined.
pub async fn examine_orders(
    reading: Reading<'_>,
    report: &mut Report,
    mut done: impl FnMut(u64),
) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    let mut after = None;
    loop {
        let page = reading.store.scan(after, reading.page).await?;
        let Some(last) = last_key(&page) else { return Ok(tally) };
        after = Some(last);
        let mut orders = Vec::with_capacity(page.len());
        for row in page {
            match row.value {
                Ok(order) => orders.push(order),
                Err(error) => {
                    report.unreadable_row("order", row.key.map(|id| id.to_string()), &error);
                    report.orders.total += 1;
                    done(1);
                }
            }
        }
        let orders = stream::iter(orders).map(|order| evidence(reading.store, order));
        let mut orders = orders.buffer_unordered(reading.readers);
        while let Some((id, evidence)) = orders.next().await {
            let evidence = match evidence {
                Err(error @ StoreError::Corrupt(_)) => {
                    report.unreadable_row("order", Some(id.to_string()), &error);
                    report.orders.total += 1;
                    done(1);
                    continue;
                }
                other => other?,
            };
            match evidence {
                Read::Whole(evidence) => {
                    report.orders.replayed += 1;
                    for fault in examine(&evidence, reading.now) {
                        report.fault(fault);
                    }
                    tally.take(&evidence, reading.now, report);
                }
                Read::Moving(order) => report.in_flight(format!("{}: it moves too quickly to be read", order.id)),
            }
            report.orders.total += 1;
            done(1);
        }
    }
}

/// Reads everything that waits and every platform: a row that a running server passes over is a fault here.
pub async fn examine_rows(reading: Reading<'_>, report: &mut Report) -> Result<(), StoreError> {
    let store = reading.store;
    let webhook = |(stream, sequence): (StreamId, u32)| format!("{sequence} of {stream}");
    let mut after = None;
    loop {
        let page = store.outbox(Instant(i64::MAX), after, reading.page).await?;
        after = last_key(&page);
        for row in page {
            let name = row.key.map(|(_, stream, sequence)| webhook((stream, sequence)));
            row.value.err().inspect(|error| report.unreadable_row("webhook", name, error));
        }
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        let page = store.dead_letters(after, reading.page).await?;
        after = last_key(&page);
        for row in page {
            row.value.err().inspect(|error| report.unreadable_row("webhook", row.key.map(webhook), error));
        }
        if after.is_none() {
            break;
        }
    }
    let mut after = 0;
    loop {
        let page = store.inbox_rows(after, reading.page).await?;
        let Some(last) = last_key(&page) else { break };
        after = last;
        for row in page {
            let read = row.value.and_then(|stored| match stored.row.reason {
                // Whatever number a callback gives that names no attempt of ours.
                InboxReason::OrderUnknown => Ok(()),
                InboxReason::OrderQuarantined => read_kept(&stored.row).map(|_| ()),
            });
            read.err().inspect(|error| report.unreadable_row("callback", row.key.map(|id| id.to_string()), error));
        }
    }
    let mut after = None;
    loop {
        let page = store.messages_due(after, reading.page).await?;
        after = last_key(&page);
        for row in page {
            let name = row.key.map(|key| format!("{} of {} to {}", key.number, key.from, key.to));
            row.value.err().inspect(|error| report.unreadable_row("message", name, error));
        }
        if after.is_none() {
            break;
        }
    }
    examine_platforms(store, report).await?;
    examine_operators(store, report).await?;
    examine_proposals(store, reading.page, report).await?;
    examine_nettings(store, reading.page, report).await
}

enum Read {
    Whole(Box<Evidence>),
    Moving(Box<Order>),
}

/// Reads an order's rows at one version: nothing was added if the journal, read last, ends where the order is.
async fn evidence(store: &dyn Store, order: Order) -> (OrderId, Result<Read, StoreError>) {
    (order.id, read_evidence(store, order).await)
}

async fn read_evidence(store: &dyn Store, mut order: Order) -> Result<Read, StoreError> {
    // With its request and its payer: an order is not whole without them.
    store.order(order.id).await?;
    for _ in 0..READS_MAX {
        let entries = store.entries(order.id.into()).await?;
        let refunds = refunds(store, &order).await?;
        let stuck_since = store.stuck_since(order.id).await?;
        let journal = store.journal(order.id.into()).await?;
        let moved = journal.last().is_some_and(|row| row.version > order.version);
        match moved {
            false => return Ok(Read::Whole(Box::new(Evidence { order, journal, entries, refunds, stuck_since }))),
            true => match store.order(order.id).await? {
                Some(now) if now.order.version > order.version => order = now.order,
                // The journal is ahead of an order that does not move: the replay will say so.
                Some(_) | None => {
                    return Ok(Read::Whole(Box::new(Evidence { order, journal, entries, refunds, stuck_since })));
                }
            },
        }
    }
    Ok(Read::Moving(Box::new(order)))
}

/// The rows of refunds of an order that has any.
async fn refunds(store: &dyn Store, order: &Order) -> Result<Vec<StoredRefund>, StoreError> {
    if order.asked_refunds().next().is_none() {
        return Ok(Vec::new());
    }
    let filter = RefundFilter {
        platform: order.platform,
        merchant_refund_id: None,
        order: Some(order.id),
        state: None,
        created_after: None,
        created_before: None,
        before: None,
        limit: u32::from(RefundOrdinal::COUNT),
    };
    store.refunds(&filter).await?.into_iter().map(|row| row.value).collect()
}

impl Tally {
    fn take(&mut self, evidence: &Evidence, now: Instant, report: &mut Report) {
        let order = &evidence.order;
        *self.states.entry(order.state.name().to_owned()).or_default() += 1;
        self.due += u64::from(order.next_due_at(now).is_some());
        report.orders.unsettled += u64::from(is_unsettled(order));
        for entry in &evidence.entries {
            for line in &entry.lines {
                let account = (line.account.clone(), entry.currency.clone());
                *self.balances.entry(account).or_default() += i128::from(line.amount_minor);
            }
        }
        self.take_captures(order, report);
        for attempt in order.attempts.iter().filter(|attempt| may_yet_capture(order, attempt)) {
            let ahead = self.ahead.entry(place(order, attempt)).or_default();
            ahead.captures += 1;
            ahead.captured_minor += i128::from(attempt.payable_minor);
        }
    }

    fn take_sellers(&mut self, (order, attempt): (&Order, &Attempt), (captured, refunded): (i64, i64)) {
        match attempt.merchant {
            Merchant::Operator => {}
            Merchant::Seller => {
                let sums = self.sellers.entry(place(order, attempt)).or_default();
                *sums = (sums.0.saturating_add(captured), sums.1.saturating_add(refunded));
            }
        }
    }

    fn take_captures(&mut self, order: &Order, report: &mut Report) {
        for (capture, index) in order.captures.iter().zip(0u16..) {
            let Some(attempt) = order.attempt(capture.ordinal) else { continue };
            let sums = self.channels.entry(place(order, attempt)).or_default();
            sums.0 += 1;
            sums.1 += i128::from(capture.amount_minor);
            self.take_sellers((order, attempt), (capture.amount_minor, 0));
            let Purpose::Suspense(reason) = capture.purpose else { continue };
            report.books.suspense.captures += 1;
            let Some(refund) = order.suspense_refund(index) else { continue };
            if refund.stage.is_paid() {
                report.books.suspense.given_back += 1;
                continue;
            }
            report.books.suspense.push(SuspenseLine {
                order: order.id.to_string(),
                account: LedgerAccount::Suspense(attempt.account.clone()).to_string(),
                currency: order.currency.code().to_owned(),
                amount: money(capture.amount_minor, order.currency.code()),
                reason: reason_name(reason),
                refund: stage_name(refund.stage),
            });
        }
        for refund in &order.refunds {
            let Some(attempt) = order.attempt_of(refund) else { continue };
            let amount = i128::from(refund.amount_minor);
            if refund.stage.is_paid_by_channel() {
                self.channels.entry(place(order, attempt)).or_default().2 += amount;
                self.take_sellers((order, attempt), (0, refund.amount_minor));
            } else if refund.stage.is_under_way() {
                self.ahead.entry(place(order, attempt)).or_default().refunded_minor += amount;
            }
        }
    }
}

/// The totals by channel with what platforms took themselves, which is in the captures and in no line.
fn with_sellers(mut totals: Vec<ChannelTotal>, tally: &Tally) -> Vec<ChannelTotal> {
    for total in &mut totals {
        let sellers = tally.sellers.get(&(total.channel.clone(), total.currency.clone()));
        let (captured, refunded) = sellers.copied().unwrap_or_default();
        total.captured_minor = total.captured_minor.saturating_add(captured);
        total.refunded_minor = total.refunded_minor.saturating_add(refunded);
    }
    totals
}

fn place(order: &Order, attempt: &Attempt) -> Place {
    (attempt.channel().name().to_owned(), order.currency.code().to_owned())
}

/// Whether something is under way for the order right now, other than its expiry and looks at what is over.
pub fn is_unsettled(order: &Order) -> bool {
    let switching = matches!((order.state, order.wish), (State::Created, Some(Wish::Switch { .. })));
    let attempts = order.attempts.iter().any(|attempt| attempt.is_open() || attempt.claimed_at.is_some());
    let refunds = order.refunds.iter().any(|refund| refund.stage.is_under_way());
    switching || attempts || refunds
}

/// Whether a capture that we do not know of may still reach us: the order goes on, or it will be looked at again.
fn may_yet_capture(order: &Order, attempt: &Attempt) -> bool {
    let captured = order.captures.iter().any(|capture| capture.ordinal == attempt.ordinal);
    !captured && attempt.may_exist() && is_watched(order)
}

/// Whether somebody will ask the channel about this order again, so that a difference will not stay.
pub fn is_watched(order: &Order) -> bool {
    !order.state.is_final() || !order.is_quiet() || order.next_due_at(order.last_at).is_some()
}

const fn reason_name(reason: SuspenseReason) -> &'static str {
    match reason {
        SuspenseReason::WrongAmount => "wrong amount",
        SuspenseReason::Further => "paid already",
        SuspenseReason::TooLate => "too late",
    }
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Unconfirmed { .. } => "to be confirmed",
        Stage::Waiting { .. } | Stage::Owed { .. } => "owed",
        Stage::Doubtful { .. } => "in doubt",
        Stage::Succeeded { .. } => "done",
        Stage::Failed { .. } => "failed",
        Stage::Returned { .. } => "came back",
    }
}

/// Lane, account, currency, cycle, heading and counterparty.
type SumKey = (i64, String, String, i64, String, i64);

/// The store's sums: shown, checked to be zero per currency, and kept for the comparisons.
pub struct Sums {
    /// As they run, and as the lines make them.
    balances: BTreeMap<SumKey, i128>,
    lines: BTreeMap<SumKey, i128>,
    /// The lines of orders alone, by account and currency.
    of_orders: BTreeMap<(String, String), i128>,
    places: Vec<Places>,
    next_places: Vec<(i64, i64)>,
    pub channels: Vec<ChannelTotal>,
    states: BTreeMap<String, u64>,
    due: u64,
}

pub async fn read_sums(reading: Reading<'_>, tally: &Tally, report: &mut Report) -> Result<Sums, StoreError> {
    let store = reading.store;
    let mut by_currency: BTreeMap<String, i128> = BTreeMap::new();
    for balance in store.balances().await? {
        report.books.balances.push(BalanceLine {
            amount: money(balance.amount_minor, &balance.currency),
            account: balance.account.clone(),
            currency: balance.currency.clone(),
        });
        *by_currency.entry(balance.currency).or_default() += i128::from(balance.amount_minor);
    }
    for (currency, sum) in by_currency.into_iter().filter(|(_, sum)| *sum != 0) {
        report.fault(format!("the balances in {currency} sum to {sum} minor units instead of zero"));
    }
    let balances = store.balances_by_lane().await?.into_iter();
    let balances = balances.map(|row| {
        let key = (row.lane, row.account, row.currency, row.cycle, row.heading, row.counterparty);
        (key, i128::from(row.amount_minor))
    });
    let balances = balances.collect();
    let (mut lines, mut of_orders) = (BTreeMap::<SumKey, i128>::new(), BTreeMap::new());
    let of_cycles = [LedgerAccount::Platform, LedgerAccount::FeesDue, LedgerAccount::Position];
    let closed = store.closed_cycles().await?.into_iter();
    let closed: BTreeSet<(String, i64)> = closed
        .flat_map(|(platform, cycle)| of_cycles.map(|of| (of(platform).to_string(), cycle.as_number())))
        .collect();
    for sum in store.sums_of_lines().await? {
        let amount = i128::from(sum.amount_minor);
        if sum.kind == i64::from(Kind::ORDER.0) {
            *of_orders.entry((sum.account.clone(), sum.currency.clone())).or_default() += amount;
        }
        let (heading, counterparty) = sum.sum_key()?;
        let key = (sum.lane, sum.account, sum.currency, sum.cycle, heading.to_owned(), counterparty);
        *lines.entry(key).or_default() += amount;
    }
    leave_closed_out(&mut lines, &closed, report);
    let places = store.places().await?;
    let next_places = store.owner().await?.lanes.iter().map(|row| (i64::from(row.lane.0), row.next_place)).collect();
    let channels = with_sellers(store.channel_totals().await?, tally);
    report.books.channels = channels.iter().map(totals).collect();
    report.books.outbox = store.outbox_size().await?;
    report.books.inbox = store.inbox_size().await?;
    let counts = store.counts_by_state().await?;
    let states: BTreeMap<String, u64> =
        counts.into_iter().map(|count| (count.name, u64::try_from(count.count).unwrap_or_default())).collect();
    report.orders.by_state.clone_from(&states);
    let due = count_due(reading).await?;
    Ok(Sums { balances, lines, of_orders, places, next_places, channels, states, due })
}

/// What is closed is kept no more: its closing has brought it to zero, over all lanes.
fn leave_closed_out(lines: &mut BTreeMap<SumKey, i128>, closed: &BTreeSet<(String, i64)>, report: &mut Report) {
    let mut left: BTreeMap<(String, i64), i128> = BTreeMap::new();
    lines.retain(|(_, account, _, cycle, _, _), amount| {
        let key = (account.clone(), *cycle);
        let is_closed = closed.contains(&key);
        if is_closed {
            *left.entry(key).or_insert(0) += *amount;
        }
        !is_closed
    });
    for ((account, cycle), amount) in left.into_iter().filter(|(_, amount)| *amount != 0) {
        report.fault(format!("{account} has {amount} minor units left in the closed cycle {cycle}"));
    }
}

fn totals(total: &ChannelTotal) -> Totals {
    Totals {
        channel: total.channel.clone(),
        currency: total.currency.clone(),
        captures: total.captures,
        captured: money(total.captured_minor, &total.currency),
        refunded: money(total.refunded_minor, &total.currency),
    }
}

/// The orders that a server which starts now would find.
async fn count_due(reading: Reading<'_>) -> Result<u64, StoreError> {
    let mut count = 0;
    let mut after: Option<Due> = None;
    loop {
        let page = reading.store.due(after, Instant(i64::MAX), reading.page).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(*last);
        count += page.iter().filter(|due| due.stream.order().is_some()).count() as u64;
    }
}

/// Compares the store's sums with the sums over all orders; only meaningful when nobody wrote in between.
pub fn compare(sums: &Sums, tally: &Tally, report: &mut Report) {
    if without_zeros(&sums.balances) != without_zeros(&sums.lines) {
        report.fault("the balances are not the sums of the lines".to_owned());
    }
    if without_zeros(&sums.of_orders) != without_zeros(&tally.balances) {
        report.fault("the balances are not the sums of the orders' entries".to_owned());
    }
    for (lane, next_place) in &sums.next_places {
        let found = sums.places.iter().find(|places| places.lane == *lane);
        let (count, first, last) = found.map_or((0, 0, -1), |places| (places.count, places.first, places.last));
        if (count, first, last) != (*next_place, 0, next_place - 1) {
            report.fault(format!(
                "the journal of lane {lane} has {count} rows, from place {first} to {last}, and goes on at {next_place}"
            ));
        }
    }
    let channels: BTreeMap<Place, (i64, i128, i128)> = sums
        .channels
        .iter()
        .map(|total| {
            let sums = (total.captures, i128::from(total.captured_minor), i128::from(total.refunded_minor));
            ((total.channel.clone(), total.currency.clone()), sums)
        })
        .collect();
    if channels != tally.channels {
        report.fault(format!("the channels' totals {channels:?} are not the orders' captures {:?}", tally.channels));
    }
    if sums.states != tally.states {
        report.fault(format!("the orders' states are stored as {:?} and beside it as {:?}", tally.states, sums.states));
    }
    if sums.due != tally.due {
        report.fault(format!("{} orders owe the world something and {} would be found", tally.due, sums.due));
    }
}

fn without_zeros<K: Ord + Clone>(balances: &BTreeMap<K, i128>) -> BTreeMap<K, i128> {
    balances.iter().filter(|(_, amount)| **amount != 0).map(|(account, amount)| (account.clone(), *amount)).collect()
}
