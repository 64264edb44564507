//! The deterministic simulation: thousands of seeded runs on virtual time of the shared loop (`actors::turn`), the order
//! machine, the schedules and the breaker, over a store that loses what was not committed and gateways that delay, lose,
//! repeat, reorder and lie. An auditor keeps the gateways' truth.
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
mod auditor;
mod dice;
mod gateways;
mod people;
mod process;
mod shell;
mod sights;
mod store;
mod trace;
mod weather;
mod wire;
mod world;
mod writer;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use sights::Sight;

const RUNS: u64 = 2_000;
const THREADS: usize = 2;
const SIGHT_RUNS_MAX: u64 = 1_000;

thread_local! {
    static FAILURE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs one seed; what went wrong, if anything did.
fn attempt(seed: u64) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| world::run(seed))).map_err(|_| FAILURE.take())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// The first of these seeds that fails, and what went wrong. Failures print nothing by themselves.
fn first_failure(seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicU64::new(u64::MAX);
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|panic| FAILURE.set(panic.to_string())));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.load(Ordering::Relaxed) < seed {
                        return;
                    }
                    if attempt(seed).is_err() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let seed = failed.into_inner();
    let failure = (seed < u64::MAX).then(|| {
        trace::start();
        let why = attempt(seed).err().unwrap_or_else(|| "it fails only now and then".to_owned());
        (seed, why)
    });
    std::panic::set_hook(loud);
    failure
}

#[test]
fn nothing_is_lost_doubled_or_guessed_in_any_run() {
    let seeds = match number("TONGBAO_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("TONGBAO_SIM_RUNS").unwrap_or(RUNS),
    };
    if let Some((seed, why)) = first_failure(seeds) {
        let story = trace::stop().join("\n");
        panic!("{story}\n{why}\nrepeat it with TONGBAO_SIM_SEED={seed} cargo test --test simulation");
    }
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
