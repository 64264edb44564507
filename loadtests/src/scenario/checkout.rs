//! Whole payments: from the order to the webhook that tells its end, and to the end of its refunds where the mix has any.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::audit::{Comparison, Expected, GatewayBooks, Unsure};
use crate::browser::Browser;
use crate::cli::CheckoutArgs;
use crate::drive::{self, Accepted, Load, Posted, Shown};
use crate::ledger::Ledger;
use crate::mix::{Kind, Script};
use crate::order::{AnswerWhen, Orders, Terms};
use crate::process::Watch;
use crate::receiver::{self, Receiver};
use crate::refund::{self, Asked, Paid, Refund, Refunds};
use crate::report::{self, Bound, Goal, Report, Round};
use crate::seller::{self, Seller};
use crate::tally::{Summary, Tally};
use crate::way::{Carried, Channel, Channels, Way};

use super::{Pattern, Problem};

const PAUSE: Duration = Duration::from_millis(50);
/// Orders that are kept for --refunds-after; further ones are not refunded.
const KEPT_MAX: usize = 1_000_000;

/// A run by each channel that was asked for, one after the other.
pub async fn run(args: &CheckoutArgs) -> Result<Vec<Report>, Problem> {
    let ways = args.channel.ways(args.method)?;
    for way in &ways {
        check(args, *way)?;
    }
    let mut rounds = super::ceiling_round(&args.common).await?;
    let mut reports = Vec::new();
    for way in ways {
        reports.push(by(args, way, std::mem::take(&mut rounds)).await?);
    }
    if let Some(last) = reports.last_mut() {
        super::audited(&args.common, last).await;
    }
    Ok(reports)
}

/// Refuses a run that could not be paid.
fn check(args: &CheckoutArgs, way: Way) -> Result<(), Problem> {
    let named = args.mix.kinds().iter().filter_map(|kind| kind.channel);
    if args.channel == Channels::All && named.clone().next().is_some() {
        return Err("--channel all pays every kind by every channel: the mix must name none".into());
    }
    // UnionPay has no word for "declined for good": such a payment stays open there until its time is over.
    let for_good = [Script::Decline, Script::Refuse];
    let mut kinds = args.mix.kinds().iter().map(|kind| (kind.channel.unwrap_or(way.channel), kind.script));
    if let Some((channel, script)) =
        kinds.find(|(channel, script)| *channel == Channel::Unionpay && for_good.contains(script))
    {
        return Err(format!("{} does not end within a run by {channel}", script.word()).into());
    }
    let shares = args.mix.kinds().iter().map(|kind| usize::from(kind.shares)).max().unwrap_or_default();
    if shares > args.split_to.len() {
        return Err(format!("{shares} shares of an order need as many platforms in --split-to").into());
    }
    if args.mix.kinds().iter().any(|kind| kind.refund == Some(Refund::Parts))
        && refund::half(&args.common.amount).is_none()
    {
        return Err(format!("{} cannot be given back in two parts", args.common.amount).into());
    }
    for way in named.map(Way::usual).chain([way]) {
        way.takes(&args.common.currency)?;
        if args.respond_async && way.carried() == Carried::ByBrowser {
            return Err(format!("{way}: with --async no answer shows the form that a browser must carry").into());
        }
    }
    Ok(())
}

/// A run by one way to pay; `rounds` are those before it.
async fn by(args: &CheckoutArgs, way: Way, mut rounds: Vec<Round>) -> Result<Report, Problem> {
    let common = &args.common;
    let pattern = Pattern::of(&args.shape, Some(way.channel.in_flight()))?;
    let (listener, address) = receiver::bind(args.receiver).await?;
    let sellers = match &args.platforms {
        Some(file) => seller::read(file)?,
        None => vec![Seller { key: common.key.clone(), secret: args.webhook_secret.parse()? }],
    };
    let books = GatewayBooks::new(common.gateway.clone(), channels(args, way), common.currency.clone());
    let totals_before = if args.no_books { None } else { Some(books.totals().await?) };

    let begin = Instant::now();
    let from = begin + pattern.warm_up();
    let until = from + pattern.length();
    let orders = Orders::new(&order_terms(args, way, address, &sellers), args.mix.clone());
    let sockets = args.shape.sockets as usize;
    let bounds = (sockets, common.patience);
    let checkout = Arc::new(Checkout {
        load: Load::new(common.target.clone(), orders, Tally::new(from), common.patience, sockets),
        ledger: Arc::new(Ledger::new(args.mix.clone(), from)),
        browser: Browser::new(common.gateway.clone(), sockets, common.patience),
        refunds: Refunds::new(common.target.clone(), bounds, &common.amount, Tally::new(from)),
        kept: args.refunds_after.then(Mutex::default),
        patience: args.settle,
    });
    let receiver = Receiver {
        ledger: checkout.ledger.clone(),
        load: checkout.load.clone(),
        sellers,
        check_one_in: args.check_one_in,
        count: AtomicU64::new(0),
    };
    let receiving = tokio::spawn(Arc::new(receiver).run(listener));

    let watch = Watch { gateway: super::found_at(&common.gateway), ..super::watch(common) };
    let progress = super::show("checkout", pattern.warm_up() + pattern.length(), &checkout.load);
    let measured = watch.stretch(from, until, || checkout.ledger.ended());
    let (stretch, driven) = match pattern {
        Pattern::Closed { slots, .. } => tokio::join!(measured, checkout.closed(slots, until)),
        Pattern::Open { schedule, in_flight_max, .. } => {
            let arrival = |intended| {
                let checkout = checkout.clone();
                async move {
                    checkout.pay(intended).await;
                }
            };
            tokio::join!(measured, drive::open(&checkout.load, schedule, begin, in_flight_max, arrival))
        }
    };
    driven?;
    drop(progress);
    let requests = checkout.load.tally().summary();
    rounds.push(Round { of: "payments", stretch, acceptance: Some(requests.acceptance) });
    if args.refunds_after {
        let slots = match pattern {
            Pattern::Closed { slots, .. } => slots,
            Pattern::Open { .. } => way.channel.in_flight(),
        };
        let stretch = watch.during(|| checkout.ledger.refunds_ended(), checkout.give_back_kept(slots)).await;
        rounds.push(Round { of: "refunds", stretch, acceptance: Some(checkout.refunds.summary().acceptance) });
    }
    let words = format!("{way}, {}", pattern.words());
    let mut report = super::report("checkout", common, words, rounds, requests);
    report.way = Some(way);
    report.notes.extend(super::offered("checkout", pattern, &checkout.load));
    let refunded = checkout.refunds.summary();
    if let Some(before) = totals_before {
        let unsure = Unsure { orders: unsure_posts(&report.requests), refunds: unsure_posts(&refunded) };
        let ours = || Expected::new(&checkout.ledger.summary(), &checkout.ledger.refunds(), unsure);
        report.books = Some(books.compare(before, ours, args.settle).await);
    }
    receiving.abort();
    let visits = checkout.browser.visits();
    report.browser = (!visits.is_empty()).then_some(visits);
    if args.mix.kinds().iter().any(|kind| kind.refund.is_some()) {
        report.refunds = Some(report::Refunds { requests: refunded, outcome: checkout.ledger.refunds() });
    }
    judge(&mut report, &checkout.ledger);
    if args.platforms.is_none() && args.mix.kinds().iter().all(Kind::is_bare) {
        report.goals.extend(goals(&report, pattern, &channels(args, way)));
    }
    super::looked_up(common, &mut report, &checkout.load).await;
    Ok(report)
}

fn order_terms(args: &CheckoutArgs, way: Way, receiver: SocketAddr, sellers: &[Seller]) -> Terms {
    let answer = if args.respond_async { AnswerWhen::Durable } else { AnswerWhen::ChannelAnswered };
    Terms {
        way: Some(way),
        webhook_url: Some(format!("http://{receiver}/webhooks")),
        answer,
        keys: sellers.iter().map(|seller| seller.key.clone()).collect(),
        takers: args.split_to.clone(),
        ..super::terms(&args.common, &args.common.target)
    }
}

/// Every channel that some kind is paid by.
fn channels(args: &CheckoutArgs, way: Way) -> Vec<Channel> {
    let is_used =
        |channel: &Channel| args.mix.kinds().iter().any(|kind| kind.channel.unwrap_or(way.channel) == *channel);
    Channel::ALL.into_iter().filter(is_used).collect()
}

/// Requests that may have been carried out although no answer says so.
fn unsure_posts(requests: &Summary) -> u64 {
    let refused: u64 = requests.refused.iter().filter(|r| r.status >= 500).map(|r| r.count).sum();
    refused + requests.broken.values().sum::<u64>()
}

fn judge(report: &mut Report, ledger: &Ledger) {
    let payments = ledger.summary();
    let refunds = ledger.refunds();
    let refused = report.refunds.iter().flat_map(|refunds| &refunds.requests.refused);
    let refused = refused.filter(|refused| !matches!(refused.status, 429 | 503)).map(|refused| refused.count).sum();
    let visits = report.browser.clone().unwrap_or_default();
    for (count, what) in [
        (payments.kinds.iter().map(|kind| kind.unfinished).sum(), "accepted payments never came to an end"),
        (payments.kinds.iter().map(|kind| kind.unexpected).sum(), "payments ended otherwise than scripted"),
        (refunds.unfinished, "refunds never came to an end"),
        (refunds.failed, "refunds failed"),
        (refused, "refunds were refused, and not for want of room"),
        (payments.signatures_wrong, "webhooks had a wrong signature"),
        (visits.unshown, "accepted orders showed no form to be paid by"),
        (visits.elsewhere, "forms lead to another place than the gateway"),
    ] {
        if count > 0 {
            report.failures.push(format!("{count} {what}"));
        }
    }
    let differences = report.books.iter().flat_map(|Comparison { differences, .. }| differences);
    report.failures.extend(differences.map(|difference| format!("the gateway's books differ: {difference}")));
    report.payments = Some(payments);
}

/// Saturation is asked of one channel alone; other mixes and the open loop have no target of their own.
fn goals(report: &Report, pattern: Pattern, channels: &[Channel]) -> Vec<Goal> {
    let (Pattern::Closed { .. }, Some(round), [channel]) = (pattern, report.rounds.last(), channels) else {
        return Vec::new();
    };
    let rate = |least| {
        let name = format!("whole payments per second by {channel}");
        Goal::new(name, Bound::AtLeast(least), round.stretch.per_second)
    };
    let cost = |micros| Goal::new("processor time of the server per whole payment, µs", Bound::AtMost(120.0), micros);
    match channel {
        Channel::Simpay => [rate(7_000.0)].into_iter().chain(round.stretch.server_us.map(cost)).collect(),
        Channel::Wechat => vec![rate(1_200.0)],
        Channel::Alipay | Channel::Unionpay | Channel::Stripe => Vec::new(),
    }
}

struct Checkout {
    load: Arc<Load>,
    ledger: Arc<Ledger>,
    browser: Browser,
    refunds: Refunds,
    /// Paid orders that are refunded in a round of their own, where they are.
    kept: Option<Mutex<Vec<Paid>>>,
    patience: Duration,
}

impl Checkout {
    /// One payment, from its order to its webhook and to those of its refunds.
    async fn pay(&self, intended: Instant) -> Posted {
        let serial = self.load.orders().take_serial();
        // Opened first: the webhook may be quicker than the answer.
        let end = self.ledger.open(serial, intended);
        let posted = self.load.post(serial, intended).await;
        match &posted {
            Posted::Accepted(Accepted { shown, id }) => {
                match shown {
                    Shown::NothingToCarry => {}
                    Shown::Form(form) => self.browser.carry(form).await,
                    Shown::NoForm => self.browser.unshown(),
                }
                if let Some(end) = end {
                    match tokio::time::timeout(self.patience, end).await {
                        Ok(_) => self.refund(serial, id.clone()).await,
                        Err(_) => self.ledger.give_up(serial),
                    }
                }
            }
            Posted::Refused | Posted::Unsure => self.ledger.withdraw(serial),
        }
        posted
    }

    /// Gives a paid order back, now or later, if its kind says so.
    async fn refund(&self, serial: u64, id: Option<Box<str>>) {
        let Some(refund) = self.load.orders().kind(serial).refund else { return };
        let Some(id) = id else {
            // The answer did not tell what the order is called: nothing of it can be asked for.
            for number in refund.numbers() {
                drop(self.ledger.open_refund(serial, number));
                self.ledger.give_up_refund(serial, number);
            }
            return;
        };
        let paid = Paid { serial, id, refund };
        match &self.kept {
            None => self.give_back(&paid).await,
            Some(kept) => {
                let mut kept = lock(kept);
                if kept.len() < KEPT_MAX {
                    kept.push(paid);
                }
            }
        }
    }

    /// The refunds of one order, each once the one before was accepted, and until all have ended.
    async fn give_back(&self, paid: &Paid) {
        let orders = self.load.orders();
        let mut ends = Vec::new();
        for number in paid.refund.numbers() {
            // Opened first: the webhook may be quicker than the answer.
            let end = self.ledger.open_refund(paid.serial, number);
            let name = orders.refund_id(paid.serial, number);
            match self.refunds.ask(paid, number, &name, orders.key(paid.serial)).await {
                Asked::Accepted => ends.push((number, end)),
                Asked::Refused | Asked::Unsure => {
                    self.ledger.withdraw_refund(paid.serial, number);
                    tokio::time::sleep(PAUSE).await;
                    break;
                }
            }
        }
        for (number, end) in ends {
            if tokio::time::timeout(self.patience, end).await.is_err() {
                self.ledger.give_up_refund(paid.serial, number);
            }
        }
    }

    /// Gives back what was kept, so many orders at once.
    async fn give_back_kept(self: &Arc<Self>, slots: usize) {
        let mut payers = JoinSet::new();
        for _ in 0..slots {
            let checkout = self.clone();
            payers.spawn(async move {
                while let Some(paid) = checkout.next_kept() {
                    checkout.give_back(&paid).await;
                }
            });
        }
        while payers.join_next().await.is_some() {}
    }

    fn next_kept(&self) -> Option<Paid> {
        lock(self.kept.as_ref()?).pop()
    }

    async fn closed(self: &Arc<Self>, slots: usize, until: Instant) -> std::io::Result<()> {
        let mut payers = JoinSet::new();
        for _ in 0..slots {
            let checkout = self.clone();
            payers.spawn(async move {
                while Instant::now() < until {
                    match checkout.pay(Instant::now()).await {
                        Posted::Accepted(_) => {}
                        Posted::Refused | Posted::Unsure => tokio::time::sleep(PAUSE).await,
                    }
                }
            });
        }
        while payers.join_next().await.is_some() {}
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
