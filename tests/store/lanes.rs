//! Several lanes over one PostgreSQL.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, query, query_scalar};
use tongbao::domain::channel::Channel;
use tongbao::domain::id::OrderId;
use tongbao::domain::order::Order;
use tongbao::domain::partition::Partition;
use tongbao::domain::payer::PayerMark;
use tongbao::domain::time::Instant;
use tongbao::engine::lane::WriteError;
use tongbao::store::{LastChannel, whole};

use super::book::Place;
use super::units::{OrderUnit, new_order, paid, refund, submit};
use super::writer::{Bench, SHOP, orders};

const LANES: u16 = 4;

struct Hall {
    place: Place,
    bench: Bench,
}

impl Hall {
    async fn new() -> Self {
        let place = Place::postgres();
        let bench = Bench::with_lanes(&place, LANES, 100_000).await;
        Hall { place, bench }
    }

    async fn session(&self) -> PgConnection {
        let options: PgConnectOptions = self.place.url.parse().expect("the address is PostgreSQL's");
        options.connect().await.expect("another comes to the database")
    }

    async fn deadlocks(&self) -> i64 {
        let ask = query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
        ask.fetch_one(&mut self.session().await).await.expect("deadlocks are counted")
    }

    /// The orders after their submission, written.
    async fn submitted(&self, units: Vec<OrderUnit>) -> Vec<Order> {
        let steps: Vec<OrderUnit> = units.iter().map(|unit| submit(&unit.order)).collect();
        let orders = steps.iter().map(|step| step.order.clone()).collect();
        for written in [self.bench.write_all(units).await, self.bench.write_all(steps).await] {
            assert!(written.iter().all(Result::is_ok), "{written:?}");
        }
        orders
    }

    /// The orders once they are paid for, written.
    async fn paid(&self, units: Vec<OrderUnit>) -> Vec<Order> {
        let submitted = self.submitted(units).await;
        let steps: Vec<OrderUnit> = submitted.iter().map(|order| paid(order, &format!("T-{}", order.id))).collect();
        let orders = steps.iter().map(|step| step.order.clone()).collect();
        let written = self.bench.write_all(steps).await;
        assert!(written.iter().all(Result::is_ok), "{written:?}");
        orders
    }
}

/// The quarter of all partitions that an order's is in, which is its lane in a store that was divided once.
fn lane(id: OrderId) -> u16 {
    id.partition().index() * LANES / Partition::COUNT
}

/// New orders of one lane.
fn orders_in(wanted: u16, count: usize, name: &str) -> Vec<OrderUnit> {
    let made = (0..).map(|number| new_order(SHOP, &format!("{name}-{number}")));
    made.filter(|unit| lane(unit.id) == wanted).take(count).collect()
}

fn on_its_own(work: impl Future<Output = ()>) {
    actix::System::new().block_on(work);
}

#[test]
fn every_lane_writes_its_own_partitions() {
    on_its_own(async {
        let hall = Hall::new().await;
        let units = orders(400, "spread");
        let ids: BTreeSet<OrderId> = units.iter().map(|unit| unit.id).collect();
        let written = hall.bench.write_all(units).await;
        assert!(written.iter().all(Result::is_ok), "{written:?}");
        let owner = hall.bench.store.owner().await.unwrap();
        assert!(owner.lanes.iter().all(|row| row.group > 0), "{:?}", owner.lanes);
        let stored = hall.bench.store.scan(None, 1_000).await.and_then(whole).unwrap();
        assert_eq!(stored.into_iter().map(|order| order.id).collect::<BTreeSet<_>>(), ids);
        let twins = hall.bench.write_all((0..8).map(|_| new_order(SHOP, "spread-7")).collect()).await;
        assert!(twins.iter().all(|twin| *twin == Err(WriteError::Duplicate)), "{twins:?}");
        hall.bench.writer.stop().await;
        assert_eq!(hall.bench.store.owner().await.unwrap().holder, "", "all lanes are given back");
    });
}

/// Payments in all lanes at once, by the same payers: what lanes contend for are rows of payers and references, and they
/// take both in one order.
#[test]
fn lanes_under_load_never_deadlock() {
    on_its_own(async {
        let hall = Hall::new().await;
        let count = 600;
        let waiting = hall.submitted(orders(count, "load")).await;
        let payments = waiting.iter().enumerate().map(|(number, order)| {
            let mut unit = paid(order, &format!("R-{}", (number * 7_919) % count));
            let payer = |salt: usize| LastChannel {
                payer: PayerMark([((number * salt) % 20) as u8; 16]),
                channel: Channel::Simpay,
                at: Instant(number as i64),
            };
            let (one, other) = (payer(1), payer(3));
            unit.paid_by = if one.payer == other.payer { vec![one] } else { vec![one, other] };
            unit
        });
        // A few at a time, so that there are many groups.
        let mut payments: Vec<OrderUnit> = payments.collect();
        while !payments.is_empty() {
            let part = payments.split_off(payments.len().saturating_sub(24));
            let written = hall.bench.write_all(part).await;
            assert!(written.iter().all(Result::is_ok), "{written:?}");
        }
        assert_eq!(hall.deadlocks().await, 0);
    });
}

/// Whoever comes second waits for the first one's commit, and is told.
#[test]
fn two_lanes_that_claim_one_reference_are_told_who_has_it() {
    on_its_own(async {
        let hall = Hall::new().await;
        let rounds = 40;
        let pair = 6;
        let left = hall.submitted(orders_in(0, rounds * pair, "left")).await;
        let right = hall.submitted(orders_in(2, rounds * pair, "right")).await;
        for round in 0..rounds {
            let part = round * pair..(round + 1) * pair;
            // Each group holds references of its own, and two that the other one claims too, in another order.
            let claims = |side: &str, orders: &[Order], shared: [usize; 2]| -> Vec<OrderUnit> {
                let own = |place: usize| match shared.iter().position(|at| *at == place) {
                    Some(which) => format!("{round}-shared-{which}"),
                    None => format!("{round}-{side}-{place}"),
                };
                orders.iter().enumerate().map(|(place, order)| paid(order, &own(place))).collect()
            };
            let (lefts, rights) =
                (claims("left", &left[part.clone()], [1, 4]), claims("right", &right[part.clone()], [5, 0]));
            let (lefts, rights) = tokio::join!(hall.bench.write_all(lefts), hall.bench.write_all(rights));
            for (one, other) in [(1, 5), (4, 0)] {
                let taken = [&lefts[one], &rights[other]].map(|end| end.as_ref().err());
                assert!(
                    matches!(
                        taken,
                        [None, Some(WriteError::ReferenceTaken)] | [Some(WriteError::ReferenceTaken), None]
                    ),
                    "{taken:?}"
                );
            }
            let fine = lefts.iter().chain(&rights).filter(|end| end.is_ok()).count();
            assert_eq!(fine, 2 * pair - 2, "nothing else fails: {lefts:?} {rights:?}");
        }
        assert_eq!(hall.deadlocks().await, 0);
    });
}

/// What a platform calls a refund is one refund's, whichever lanes its orders lie in; the other's money stays free.
#[test]
fn two_lanes_that_claim_one_refund_s_name_are_told_who_has_it() {
    on_its_own(async {
        let hall = Hall::new().await;
        let rounds = 20;
        let pair = 4;
        let left = hall.paid(orders_in(0, rounds * pair, "left")).await;
        let right = hall.paid(orders_in(2, rounds * pair, "right")).await;
        for round in 0..rounds {
            let part = round * pair..(round + 1) * pair;
            let claims = |side: &str, orders: &[Order], shared: usize| -> Vec<OrderUnit> {
                let name = |place| match place == shared {
                    true => format!("{round}-shared"),
                    false => format!("{round}-{side}-{place}"),
                };
                orders.iter().enumerate().map(|(place, order)| refund(order, &name(place), 100)).collect()
            };
            let (lefts, rights) = (claims("left", &left[part.clone()], 1), claims("right", &right[part.clone()], 2));
            let (lefts, rights) = tokio::join!(hall.bench.write_all(lefts), hall.bench.write_all(rights));
            let taken = [&lefts[1], &rights[2]].map(|end| end.as_ref().err());
            let (winner, loser) = match taken {
                [None, Some(WriteError::NameTaken)] => (&left[part.start + 1], &right[part.start + 2]),
                [Some(WriteError::NameTaken), None] => (&right[part.start + 2], &left[part.start + 1]),
                _ => panic!("{taken:?}"),
            };
            let fine = lefts.iter().chain(&rights).filter(|end| end.is_ok()).count();
            assert_eq!(fine, 2 * pair - 1, "nothing else fails: {lefts:?} {rights:?}");
            let named = hall.bench.store.refund_by_merchant_id(SHOP, &format!("{round}-shared")).await.unwrap();
            assert_eq!(named.map(|stored| stored.order), Some(winner.id));
            let kept = hall.bench.store.order(loser.id).await.unwrap().unwrap().order;
            assert_eq!(&kept, loser, "nothing is reserved in the loser");
        }
        assert_eq!(hall.deadlocks().await, 0);
    });
}

/// While one lane does not know, nothing is decided by what is read; the others go on writing.
#[test]
fn a_lane_that_has_halted_keeps_no_other_from_writing() {
    on_its_own(async {
        let hall = Hall::new().await;
        let mut holder = hall.session().await;
        query("BEGIN").execute(&mut holder).await.unwrap();
        query(AssertSqlSafe("SELECT FROM lanes WHERE lane = 2 FOR UPDATE")).execute(&mut holder).await.unwrap();
        let halted = orders_in(1, 3, "halted");
        let writing = hall.bench.write_all(halted);
        let others = async {
            for lane in [0, 2, 3] {
                let written = hall.bench.write_all(orders_in(lane, 5, "other")).await;
                assert!(written.iter().all(Result::is_ok), "{written:?}");
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert!(hall.bench.writer.is_away());
            let written = hall.bench.write_all(orders_in(3, 5, "later")).await;
            assert!(written.iter().all(Result::is_ok), "{written:?}");
            holder.close().await.unwrap();
        };
        let (told, ()) = tokio::join!(writing, others);
        assert!(told.iter().all(|end| matches!(end, Err(WriteError::Unknown | WriteError::Away))), "{told:?}");
        for _ in 0..100 {
            if !hall.bench.writer.is_away() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the lane does not come back");
    });
}

#[test]
fn rule_20_lanes_are_taken_over_together() {
    on_its_own(async {
        let hall = Hall::new().await;
        let store = &hall.bench.store;
        while store.take_over(&store.owner().await.unwrap(), "another").await.unwrap().is_none() {}
        let late = join_all((0..LANES).flat_map(|lane| orders_in(lane, 1, "late")).map(|unit| hall.bench.write(unit)));
        assert!(late.await.iter().all(Result::is_err));
        assert_eq!(store.scan(None, 10).await.and_then(whole).unwrap(), []);
        for _ in 0..100 {
            if hall.bench.stops.load(Ordering::SeqCst) == usize::from(LANES) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} lanes have stopped", hall.bench.stops.load(Ordering::SeqCst));
    });
}
