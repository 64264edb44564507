//! The deterministic simulation: thousands of seeded runs of the true engine on virtual time. Cells, directories, timers,
//! quarantine, lanes, due finder, couriers, inbox and desk are those of the server; the world around them is a model: a
//! store that loses what was not committed and is away now and then, gateways that delay, lose, repeat, reorder and lie,
//! people who pay, platforms that want some of it back, operators who end what got stuck, and the receivers of webhooks. Beside orders there are reminders,
//! a kind of stream that the engine has never heard of, which tell orders when they fall due. An auditor keeps the
//! gateways' truth.
//!
//! `TONGBAO_SIM_RUNS=20000` sets how many seeds are run, `TONGBAO_SIM_SEED=17` repeats one of them.
//!
//! That it finds bugs was tried by planting these, one at a time, and counting the first seed that failed. In a debug
//! build, on two busy cores, each took less than 2 s but those with their seconds beside the seed:
//!
//! | planted | seed | seen as |
//! |---|---|---|
//! | a send without an answer counts as refused | 1 | declared dead and can still take money |
//! | effects go out before the commit | 1 | a call leaves before its intent is durable |
//! | notes go out before the commit | 1 | what is noted is stored |
//! | a further capture is acknowledged and not booked | 276 (7 s) | a callback was acknowledged and nothing holds its money |
//! | an order that comes back forgets the wish that an attempt is closed for | 20 | the journal leads to the snapshot |
//! | an attempt lapses at its end, without the grace | 2 | declared dead and can still take money |
//! | the same at Stripe alone | 109 (3 s) | declared dead and then began to live |
//! | what Alipay does not know is dead before its end | 1 | declared dead and can still take money |
//! | a callback of UnionPay is believed | 3 | booked, and the gateway's truth is another |
//! | a refund without an answer gets another number | 8 | has failed by our books and was paid |
//! | a refund that a query did not find gets another number | 8 | has failed by our books and was paid |
//! | a refund is reserved when it succeeds instead of when it is asked for | 1 | what is left is what is not reserved |
//! | what came back stays reserved | 51 (2 s) | what is left is what is not reserved |
//! | a refund's parts are of the order's first shares instead of what is left | 67 (2 s) | a party has less than nothing |
//! | a suspense refund that is refused fails | 32 (2 s) | suspense has failed |
//! | a refund that is refused while a send is unknown fails | 85 (2 s) | has failed by our books and was paid |
//! | what a query does not find is certain at once | 85 (2 s) | has failed by our books and was paid |
//! | a refund callback of UnionPay and Stripe is believed | 712 (21 s) | how often a refund was paid |
//! | refunds whose turns were missed go all at once | 202 (6 s) | goes so soon after another |
//! | a refund's next number does not heed the refunds beside it | 2,349 (65 s) | goes so soon after another |
//! | what is told of a refund's earlier number is refused | 18 | is no answer to |
//! | a refund that was paid is not looked at again | 6 (5 s) | has not come to its end |
//! | an order leaves with such a look due | 18 | still has something due |
//! | a refund that fails is not booked | 20 | the ledger is what the order says |
//! | money that a seller takes itself is booked as the operator's | 8 | the ledger is what the order says |
//! | a refund that is paid does not move its row | 1 | a refund's row is what its order says |
//! | the last sum of a group is left out | 1 | a balance is the sum of its lines |
//! | a cell that was put off leaves with a letter waiting | 27 | told something, and nobody knows what became of it |
//! | a cell leaves with a call in flight | 1 | a cell has left with a call in flight |
//! | a cell leaves where the due finder has passed its row | 1 | it is due and nobody will look |
//! | an order asks its channel whenever it comes back | 1 | nothing is due, and it asks its channel |
//! | a stream is taken up though it is in memory | 1 | a cell has left with a call in flight |
//! | a timer is forgotten | 1 | an order waits for nothing |
//! | an inbox row goes before its order is durable | 15 | a callback has left the inbox, and its order knows nothing of it |
//! | what is in doubt is read all the same | 3 | it is due and nobody will look |
//! | a loser is told that it was accepted | 9 | what is noted is stored |
//! | a group that is read back as written is taken for lost | 13 | what this process decides on is what is stored |
//! | a read-back does not bring the lane's next place | 13 | a group comes after its lane's last one |
//! | a place is given twice | 1 | places are dense and given once |
//! | companions are not built anew after doubt | 3 | places are dense and given once |
//! | a companion is adopted before its commit | 39 | whether an account is new |
//! | webhooks that found no room are forgotten: no look at the outbox begins anew | 1 | webhooks wait for ever |
//! | a message is lost | 5 | an order takes each message once |
//! | an order takes a message and does not take it out | 5 | a message that is taken is taken out |
//! | a message that is not there any more is taken again | 7 | an order takes each message once |
//!
//! Not found in 8,411 seeds: a store that does not check versions. A lane reads back before anything of it is read
//! again, so nothing is decided on an old version; `tests/store` holds that check. Not found in 3,000 seeds: a refund that
//! a query does not find at Alipay is taken for absent once it had the time to arrive; `tests/domain/asked.rs` holds that.
//!
//! Found and not planted: an attempt that was sent again after its own time made a second payment at Stripe, and a close
//! that was refused for ever kept the query behind it from leaving.
//!
//! A change of the model moves the seeds, not the finding. Those of refunds, but the next number that heeds nobody and the
//! earlier number that is refused, were counted before refunds could get stuck and operators ended them.

mod agenda;
#[path = "../support/asked.rs"]
mod asked;
mod auditor;
#[path = "../domain/balances.rs"]
mod balances;
mod book;
mod crew;
mod cycles;
mod dice;
mod gateways;
mod lanes;
mod life;
mod outbox;
mod people;
mod ports;
#[path = "../support/reminder.rs"]
mod reminder;
mod reminders;
mod scene;
mod sights;
mod store;
mod trace;
mod weather;
mod what;
mod wire;
mod world;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sights::Sight;

const RUNS: u64 = 1_500;
const OUTBOX_RUNS: u64 = 500;
const THREADS: usize = 2;
const SIGHT_RUNS_MAX: u64 = 1_000;

static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    static FAILURE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What a seed makes happen; it panics when something goes wrong.
type Run = fn(u64);

/// Runs one seed; what went wrong, if anything did.
fn attempt(run: Run, seed: u64) -> Result<(), String> {
    FAILURE.take();
    catch_unwind(AssertUnwindSafe(|| run(seed))).map_err(|_| FAILURE.take())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// The first of these seeds that fails, and what went wrong. Failures print nothing by themselves.
fn first_failure(run: Run, seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    // There is one panic hook, and tests run side by side.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicU64::new(u64::MAX);
    let loud = std::panic::take_hook();
    // The engine ends a cell that panics and goes on: the first panic is the one that tells.
    std::panic::set_hook(Box::new(|panic| {
        FAILURE.with_borrow_mut(|failure| {
            if failure.is_empty() {
                *failure = panic.to_string();
            }
        });
    }));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.load(Ordering::Relaxed) < seed {
                        return;
                    }
                    if attempt(run, seed).is_err() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let seed = failed.into_inner();
    let failure = (seed < u64::MAX).then(|| {
        trace::start();
        let why = attempt(run, seed).err().unwrap_or_else(|| "it fails only now and then".to_owned());
        (seed, why)
    });
    std::panic::set_hook(loud);
    failure
}

/// Tries as many seeds as are asked for; `runs` where nobody asks.
fn try_all(run: Run, runs: u64) {
    let seeds = match number("TONGBAO_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("TONGBAO_SIM_RUNS").unwrap_or(runs),
    };
    if let Some((seed, why)) = first_failure(run, seeds) {
        let story = trace::stop().join("\n");
        panic!("{story}\n{why}\nrepeat it with TONGBAO_SIM_SEED={seed} cargo test --test simulation");
    }
}

#[test]
fn nothing_is_lost_doubled_or_guessed_in_any_run() {
    try_all(world::run, RUNS);
}

#[test]
fn every_webhook_is_delivered_or_given_up_in_any_run() {
    try_all(|seed| drop(outbox::run(seed)), OUTBOX_RUNS);
}

#[test]
fn the_runs_of_the_outbox_get_into_trouble() {
    let mut missing = BTreeSet::from(outbox::Sight::ALL);
    for seed in 1..=SIGHT_RUNS_MAX {
        let seen = outbox::run(seed);
        missing.retain(|sight| !seen.contains(sight));
        if missing.is_empty() {
            return;
        }
    }
    panic!("no run has seen {missing:?}");
}

#[test]
fn the_runs_get_into_the_trouble_that_they_are_for() {
    sights::take();
    let mut missing: Vec<Sight> = Sight::ALL.to_vec();
    for seed in 1..=SIGHT_RUNS_MAX {
        world::run(seed);
        let seen = sights::take();
        missing.retain(|sight| !seen.contains(sight));
        if missing.is_empty() {
            return;
        }
    }
    panic!("no run has seen {missing:?}");
}

#[test]
fn a_seed_is_always_the_same_run() {
    let story = |seed| {
        trace::start();
        world::run(seed);
        trace::stop()
    };
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}
