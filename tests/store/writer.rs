//! The writer over a real store, by the design's rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tongbao::domain::id::PlatformId;
use tongbao::engine::clock;
use tongbao::engine::lane::{Admission, Bounds, Lanes, WriteError};
use tongbao::store::Store;

use crate::book::{Book, Place};
use crate::units::{OrderUnit, misplaced, new_order, paid, submit};

pub const SHOP: PlatformId = PlatformId(1);

/// A writer over a store that was just made, and how often it asked the process to stop.
pub struct Bench {
    pub store: Arc<dyn Store>,
    pub writer: Lanes,
    pub stops: Arc<AtomicUsize>,
}

impl Bench {
    pub const BEAT: Duration = Duration::from_millis(50);

    pub async fn new(place: &Place, new_orders_max: usize) -> Self {
        Bench::with_lanes(place, 1, new_orders_max).await
    }

    pub async fn with_lanes(place: &Place, lanes: u16, new_orders_max: usize) -> Self {
        let Book { store, epoch, .. } = place.book().await;
        let owner = store.divide(epoch, lanes).await.expect("the store is divided");
        let stops = Arc::new(AtomicUsize::new(0));
        let counter = stops.clone();
        let stop = Arc::new(move |_: &str| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let bounds = Bounds { group_max: 1_000, new_streams_max: new_orders_max, beat: Bench::BEAT };
        let writer = Lanes::start(store.clone(), &owner, bounds, clock::to_store, stop).await.expect("the lanes start");
        Bench { store, writer, stops }
    }

    pub async fn write(&self, unit: OrderUnit) -> Result<(), WriteError> {
        let admission = if unit.expected_version == 0 { Admission::NewStream } else { Admission::Existing };
        self.writer.write(admission, unit.unit()).await
    }

    /// All at once, so that they gather.
    pub async fn write_all(&self, units: Vec<OrderUnit>) -> Vec<Result<(), WriteError>> {
        join_all(units.into_iter().map(|unit| self.write(unit))).await
    }
}

pub fn orders(count: usize, name: &str) -> Vec<OrderUnit> {
    (0..count).map(|number| new_order(SHOP, &format!("{name}-{number}"))).collect()
}

pub async fn rule_13_what_gathers_while_a_group_is_committed_is_the_next_group(place: Place) {
    let bench = Bench::new(&place, 10_000).await;
    let before = bench.store.owner().await.unwrap().group;
    let written = bench.write_all(orders(300, "gathered")).await;
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    let groups = bench.store.owner().await.unwrap().group - before;
    assert!((1..150).contains(&groups), "{groups} groups for 300 orders");
}

pub async fn rule_14_a_step_decided_on_another_version_is_refused_and_the_others_are_written(place: Place) {
    let bench = Bench::new(&place, 10_000).await;
    let (first, others) = (new_order(SHOP, "first"), orders(9, "other"));
    let (step, late) = (submit(&first.order), submit(&first.order));
    let id = first.id;
    bench.write(first).await.unwrap();
    bench.write(step).await.unwrap();
    let mut units = others;
    units.insert(4, late);
    let written = bench.write_all(units).await;
    assert!(matches!(written[4], Err(WriteError::Conflict(_))), "{:?}", written[4]);
    assert_eq!(written.iter().filter(|one| one.is_ok()).count(), 9);
    assert_eq!(bench.store.order(id).await.unwrap().unwrap().order.version, 2);
    assert_eq!(bench.store.journal(id.into()).await.unwrap().len(), 2);
}

pub async fn rule_16_one_bad_row_is_found_and_the_rest_is_committed(place: Place) {
    let bench = Bench::new(&place, 10_000).await;
    let (good, bad) = (new_order(SHOP, "good"), new_order(SHOP, "bad"));
    let (good_submitted, bad_submitted) = (submit(&good.order), submit(&bad.order));
    let good_paid = paid(&good_submitted.order, "REFERENCE");
    // The very reference of another order's capture can never be written.
    let culprit = paid(&bad_submitted.order, "REFERENCE");
    let bad_id = bad.id;
    for unit in [good, bad, good_submitted, bad_submitted, good_paid] {
        bench.write(unit).await.unwrap();
    }
    let mut units = orders(40, "bystander");
    units.insert(17, culprit);
    let ids: Vec<_> = units.iter().map(|unit| unit.id).filter(|id| *id != bad_id).collect();
    let written = bench.write_all(units).await;
    assert!(matches!(written[17], Err(WriteError::ReferenceTaken)), "{:?}", written[17]);
    assert_eq!(written.iter().filter(|one| one.is_ok()).count(), 40);
    for id in ids {
        assert!(bench.store.order(id).await.unwrap().is_some());
    }
    assert_eq!(bench.store.order(bad_id).await.unwrap().unwrap().order.version, 2, "nothing of it was written");
}

/// Elsewhere, another lane could give its name to another order.
pub async fn a_new_order_outside_of_its_names_partition_is_its_own_fault(place: Place) {
    let bench = Bench::new(&place, 10_000).await;
    let mut units = orders(9, "bystander");
    units.insert(4, misplaced(SHOP, "astray"));
    let astray = units[4].id;
    let written = bench.write_all(units).await;
    assert!(matches!(written[4], Err(WriteError::Culprit(_))), "{:?}", written[4]);
    assert_eq!(written.iter().filter(|one| one.is_ok()).count(), 9);
    assert_eq!(bench.store.order(astray).await.unwrap(), None);
    assert_eq!(bench.store.journal(astray.into()).await.unwrap(), []);
    // The name is free.
    bench.write(new_order(SHOP, "astray")).await.unwrap();
}

pub async fn rule_17_new_orders_stop_at_their_bound_and_steps_are_never_shed(place: Place) {
    let bench = Bench::new(&place, 1).await;
    let first = new_order(SHOP, "first");
    let step = submit(&first.order);
    bench.write(first).await.unwrap();
    let mut units = orders(50, "flood");
    units.push(step);
    let written = bench.write_all(units).await;
    assert_eq!(written[50], Ok(()), "the step");
    let shed = written[..50].iter().filter(|one| **one == Err(WriteError::Overloaded)).count();
    assert_eq!(shed, 49, "{written:?}");
}

pub async fn rule_19_of_a_loser_nothing_is_written(place: Place) {
    let bench = Bench::new(&place, 10_000).await;
    let units: Vec<OrderUnit> = (0..8).map(|_| new_order(SHOP, "same")).collect();
    let ids: Vec<_> = units.iter().map(|unit| unit.id).collect();
    let written = bench.write_all(units).await;
    let won: Vec<usize> = (0..8).filter(|place| written[*place].is_ok()).collect();
    assert_eq!(won.len(), 1, "{written:?}");
    for (place, id) in ids.into_iter().enumerate() {
        let there = bench.store.order(id).await.unwrap().is_some();
        assert_eq!(there, won[0] == place);
        assert_eq!(!bench.store.journal(id.into()).await.unwrap().is_empty(), there);
        assert!(there || written[place] == Err(WriteError::Duplicate));
    }
}

pub async fn rule_20_a_writer_whose_store_was_taken_over_writes_nothing_and_stops(place: Place) {
    let bench = Bench::new(&place, 10_000).await;
    bench.write(new_order(SHOP, "before")).await.unwrap();
    // The row moves with every beat, so the take-over is tried until it meets it as it was seen.
    while bench.store.take_over(&bench.store.owner().await.unwrap(), "another").await.unwrap().is_none() {}
    let late = new_order(SHOP, "after");
    let id = late.id;
    assert!(bench.write(late).await.is_err());
    assert_eq!(bench.store.order(id).await.unwrap(), None);
    for _ in 0..100 {
        if bench.stops.load(Ordering::SeqCst) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the process was not asked to stop");
}
