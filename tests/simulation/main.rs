//! The deterministic simulation: thousands of seeded runs of the true engine on virtual time. Cells, directory, timers,
//! quarantine, lanes, due finder, inbox and desk are those of the server; the world around them is a model: a store that
//! loses what was not committed and is away now and then, gateways that delay, lose, repeat, reorder and lie, people, and
//! the receivers of webhooks. An auditor keeps the gateways' truth.
//!
//! `TONGBAO_SIM_RUNS=20000` sets how many seeds are run, `TONGBAO_SIM_SEED=17` repeats one of them.
//!
//! That it finds bugs was tried by planting these, one at a time, and counting the first seed that failed; none took
//! longer than 12 s:
//!
//! | planted | seed | seen as |
//! |---|---|---|
//! | a send without an answer counts as refused | 3 | declared dead and can still take money |
//! | effects go out before the commit | 1 | a request leaves only for a stored order |
//! | a further capture is acknowledged and not booked | 21 | a callback was acknowledged and nothing holds its money |
//! | `Turn::resume` forgets the wish that an attempt is closed for | 2 | what was acknowledged is what is stored |
//! | the store does not check versions | 2088 | one row of the journal for each version |
//! | an attempt lapses at its end, without the grace | 2 | declared dead and can still take money |
//! | the same at Stripe alone | 705 | declared dead and then began to live |
//! | what Alipay does not know is dead before its end | 3 | declared dead and can still take money |
//! | a callback of UnionPay is believed | 3 | booked, and the gateway's truth is another |
//! | a refund without an answer gets another number | 12 | paid out twice |
//! | a refund that a query did not find gets another number | 118 | paid out twice |
//!
//! Two were not planted: an attempt that was sent again after its own time made a second payment at Stripe (seed 3336),
//! and a close that was refused for ever kept the query behind it from leaving (seed 139).
//!
//! A change of the model moves the seeds, not the finding.

mod agenda;
#[path = "../support/asked.rs"]
mod asked;
mod auditor;
mod crew;
mod dice;
mod gateways;
mod lanes;
mod life;
mod outbox;
mod people;
mod ports;
mod scene;
mod sights;
mod store;
mod trace;
mod weather;
mod wire;
mod world;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sights::Sight;

const RUNS: u64 = 2_000;
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
