//! How fast a store commits. Not a test: it judges nothing. To be run with
//! `cargo test --release --test store -- --ignored --nocapture measure`.

use std::time::{Duration, Instant};

use secrecy::SecretString;
use tongbao::domain::id::PlatformId;
use tongbao::domain::partition::LaneId;
use tongbao::store::{self, Birth, Delivery, Group, Store, Unit};

use super::postgres;
use super::units::{self, START};

const GROUPS: usize = 80;
const UNITS: usize = 500;

struct Bench<'a> {
    store: &'a dyn Store,
    epoch: i64,
    number: i64,
    next_place: i64,
}

impl Bench<'_> {
    /// Commits group by group; only the commits are measured.
    async fn run(&mut self, what: &str, groups: &[Vec<Unit>]) -> Duration {
        let mut spent = Duration::ZERO;
        let mut slowest = Duration::ZERO;
        let mut count = 0;
        for units in groups {
            self.number += 1;
            let (lane, number, first_place) = (LaneId::FIRST, self.number, self.next_place);
            let group = Group { lane, epoch: self.epoch, at: START, number, first_place, units };
            let start = Instant::now();
            let committed = self.store.commit(&group).await.expect("the group is committed");
            let took = start.elapsed();
            assert!(committed.duplicates.is_empty());
            self.next_place = committed.next_place;
            (spent, slowest, count) = (spent + took, slowest.max(took), count + units.len());
        }
        let each = spent.as_secs_f64() / count as f64;
        println!(
            "{what:<28} {count:>6} units in groups of {:>4}: {:>8.0} units/s, {:>6.1} µs each, slowest group {:>5.1} ms",
            groups[0].len(),
            1.0 / each,
            each * 1e6,
            slowest.as_secs_f64() * 1e3
        );
        spent
    }
}

async fn measure(store: &dyn Store) {
    store.migrate(Birth { mode: "sandbox", at: START }).await.expect("the schema is made");
    let seen = store.owner().await.expect("there is an owner");
    let owner = store.take_over(&seen, "measure").await.expect("the store answers").expect("nobody else is there");
    let mut bench = Bench { store, epoch: owner.epoch, number: owner.group, next_place: owner.lanes[0].next_place };
    // What is measured comes after a warming up.
    for (round, groups, units) in [("warm", 8, UNITS), ("large", GROUPS, UNITS), ("small", 200, 8)] {
        let created = each(groups, units, |group, unit| {
            units::new_order(PlatformId(1 + unit as u32 % 4), &format!("{round}-{group}-{unit}"))
        });
        let submitted = each(groups, units, |group, unit| units::submit(&created[group][unit].order));
        let succeeded = each(groups, units, |group, unit| {
            let order = &submitted[group][unit].order;
            units::paid(order, &order.number(&order.attempts[0]).to_string())
        });
        let delivered: Vec<Vec<Unit>> = each(groups, units, |group, unit| {
            Unit::Delivery(Delivery::Delivered { stream: created[group][unit].id.into(), sequence: 1 })
        });
        let mut spent = Duration::ZERO;
        for (what, steps) in [("created", created), ("submitted", submitted), ("succeeded", succeeded)] {
            let steps: Vec<_> = steps.into_iter().map(units::group).collect();
            spent += bench.run(&format!("{round} {what}"), &steps).await;
        }
        spent += bench.run(&format!("{round} delivered"), &delivered).await;
        println!("{round}: {:.0} whole payments/s", (groups * units) as f64 / spent.as_secs_f64());
    }
}

fn each<T>(groups: usize, units: usize, make: impl Fn(usize, usize) -> T) -> Vec<Vec<T>> {
    (0..groups).map(|group| (0..units).map(|unit| make(group, unit)).collect()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn measure_sqlite() {
    let folder = std::env::temp_dir().join(format!("tongbao-measure-{}", std::process::id()));
    let url = SecretString::from(format!("sqlite://{}/store.db", folder.display()));
    let store = store::open(&url, 2, Duration::from_secs(5)).expect("the store opens");
    measure(&*store).await;
    drop(store);
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn measure_postgres() {
    let url = postgres::shared().database();
    for (way, url) in [("socket", url.clone()), ("tcp", postgres::shared().over_tcp(&postgres::shared().database()))] {
        println!("PostgreSQL by {way}");
        let store = store::open(&SecretString::from(url), 2, Duration::from_secs(5)).expect("the store opens");
        measure(&*store).await;
    }
}
