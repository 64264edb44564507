//! Commits of which PostgreSQL's answer never came: what the writer makes of them.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, query};
use tongbao::domain::id::OrderId;
use tongbao::engine::lane::WriteError;

use super::book::Place;
use super::postgres;
use super::proxy::{Cut, Proxy};
use super::units::{OrderUnit, new_order, submit};
use super::writer::{Bench, SHOP, orders};

/// A writer that comes to its store through a proxy, and the way past it.
struct Line {
    bench: Bench,
    proxy: Proxy,
    straight: Place,
}

impl Line {
    async fn new() -> Self {
        let cluster = postgres::shared();
        let proxy = Proxy::start(cluster.address()).await;
        let straight = Place::postgres();
        let bench = Bench::new(&Place::at(cluster.by_way_of(proxy.address, &straight.url)), 10_000).await;
        Line { bench, proxy, straight }
    }

    /// A session that holds the owner's row, so that nobody can write to the store until it is dropped.
    async fn hold_owner(&self) -> PgConnection {
        let options: PgConnectOptions = self.straight.url.parse().expect("the address is PostgreSQL's");
        let mut connection = options.connect().await.expect("another comes to the database");
        query("BEGIN").execute(&mut connection).await.expect("it begins");
        query("SELECT FROM lanes FOR UPDATE").execute(&mut connection).await.expect("it holds the row");
        connection
    }

    /// The versions in the journal of an order, past the proxy.
    async fn versions(&self, id: OrderId) -> Vec<u32> {
        let journal = self.straight.open().journal(id.into()).await.expect("the journal is read");
        journal.into_iter().map(|row| row.version).collect()
    }
}

async fn lets_go(session: PgConnection) {
    sqlx::Connection::close(session).await.expect("the session ends");
}

fn on_its_own(work: impl Future<Output = ()>) {
    actix::System::new().block_on(work);
}

/// Writes an order and cuts its commit off; how often it is in the journal in the end.
async fn cut_off(cut: Cut) -> Vec<u32> {
    let line = Line::new().await;
    line.bench.write(new_order(SHOP, "before")).await.expect("nothing is cut off yet");
    let doubtful = new_order(SHOP, "doubtful");
    let id = doubtful.id;
    line.proxy.cut(cut, r#""n":"doubtful""#);
    let answered = async {
        line.proxy.was_cut().await;
        line.proxy.open();
    };
    let (written, ()) = tokio::join!(line.bench.write(doubtful), answered);
    assert_eq!(written, Ok(()), "{cut:?}");
    let group = line.bench.store.owner().await.expect("the owner is read").group;
    line.bench.write(new_order(SHOP, "after")).await.expect("everything goes on");
    assert_eq!(line.bench.store.owner().await.expect("the owner is read").group, group + 1);
    line.versions(id).await
}

#[test]
fn rule_15_a_group_whose_answer_was_lost_is_found_and_not_written_again() {
    on_its_own(async { assert_eq!(cut_off(Cut::Answer).await, [1]) });
}

#[test]
fn rule_15_a_group_that_never_arrived_is_written_after_it_was_looked_for() {
    on_its_own(async { assert_eq!(cut_off(Cut::Request).await, [1]) });
}

/// The row that the read-back writes is held by somebody else, while every plain read would show the order. So the
/// answer must wait until the row is free.
#[test]
fn rule_15_an_open_outcome_is_read_back_by_a_write() {
    on_its_own(async {
        let line = Line::new().await;
        let doubtful = new_order(SHOP, "doubtful");
        let id = doubtful.id;
        line.proxy.cut(Cut::Answer, r#""n":"doubtful""#);
        let looking = async {
            line.proxy.was_cut().await;
            let holder = line.hold_owner().await;
            assert_eq!(line.versions(id).await, [1], "everybody who reads can see it");
            line.proxy.open();
            holder
        };
        let writing = line.bench.write(doubtful);
        tokio::pin!(writing);
        let holder = tokio::select! {
            early = &mut writing => panic!("answered before the outcome was read back: {early:?}"),
            holder = looking => holder,
        };
        let early = tokio::time::timeout(Duration::from_millis(1_000), &mut writing).await;
        assert!(early.is_err(), "answered without a write: {early:?}");
        lets_go(holder).await;
        assert_eq!(writing.await, Ok(()));
    });
}

/// New orders whose merchant order ids are taken, by an order of before and by one in the same group, are told so,
/// though the answer that named them was lost.
#[test]
fn rule_15_losers_of_a_group_whose_answer_was_lost_are_found() {
    on_its_own(async {
        let line = Line::new().await;
        let stored = new_order(SHOP, "stored");
        let step = submit(&stored.order);
        let stored_id = stored.id;
        line.bench.write(stored).await.expect("nothing is cut off yet");
        let before = line.bench.store.owner().await.expect("the owner is read").group;

        let mut units: Vec<OrderUnit> = orders(6, "bystander");
        units.insert(1, new_order(SHOP, "twin"));
        units.insert(3, new_order(SHOP, "stored"));
        units.insert(5, new_order(SHOP, "twin"));
        units.push(step);
        let ids: Vec<OrderId> = units.iter().map(|unit| unit.id).collect();

        // The first one is a group of its own, kept waiting until all others stand behind it.
        let holder = line.hold_owner().await;
        line.proxy.cut(Cut::Answer, r#""n":"twin""#);
        let letting_go = async {
            while line.bench.writer.pending() < ids.len() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            lets_go(holder).await;
            line.proxy.was_cut().await;
            line.proxy.open();
        };
        let (written, ()) = tokio::join!(line.bench.write_all(units), letting_go);

        let groups = line.bench.store.owner().await.expect("the owner is read").group - before;
        assert!(groups <= 2, "they stood in {groups} groups");
        let mut losers: Vec<usize> = (0..ids.len()).filter(|place| written[*place].is_err()).collect();
        for place in &losers {
            assert_eq!(written[*place], Err(WriteError::Duplicate), "{place}");
        }
        let twins = losers.iter().filter(|place| [1, 5].contains(*place)).count();
        assert_eq!(twins, 1, "one of the twins: {written:?}");
        losers.retain(|place| ![1, 5].contains(place));
        assert_eq!(losers, [3], "{written:?}");
        for (place, id) in ids.into_iter().enumerate() {
            let versions = line.versions(id).await;
            match (written[place].is_ok(), id == stored_id) {
                (true, true) => assert_eq!(versions, [1, 2]),
                (true, false) => assert_eq!(versions, [1]),
                (false, _) => assert_eq!(versions, [0; 0], "of a loser nothing is written"),
            }
        }
    });
}
