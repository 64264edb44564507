//! What a store says when its database is locked, away or cut off.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, query};
use tongbao::domain::id::PlatformId;
use tongbao::domain::partition::LaneId;
use tongbao::store::{self, Birth, StoreError, whole};

use super::book::{Book, Place};
use super::postgres::{self, Cluster};
use super::units::{START, group, new_order};

const SHOP: PlatformId = PlatformId(1);

#[tokio::test]
async fn an_address_that_cannot_be_understood_is_not_quoted() {
    for url in ["mysql://user:hush@host/db", "postgres//user:hush@host", "hush", "postgres://user:hush@host:port/db"] {
        let refused = store::open(&SecretString::from(url), 1, Duration::from_secs(1)).err().expect("it is refused");
        assert!(matches!(refused, StoreError::Unavailable(_)));
        assert!(!refused.to_string().contains("hush"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_sqlite_is_unavailable_and_then_fine() {
    let place = Place::sqlite();
    let mut book = place.book().await;
    let options: SqliteConnectOptions = place.url.parse().expect("the address is SQLite's");
    let mut other = options.connect().await.expect("another comes to the file");
    query("BEGIN IMMEDIATE").execute(&mut other).await.expect("it locks the file");
    for _ in 0..2 {
        let refused = book.commit(group(vec![new_order(SHOP, "order-1")])).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        assert!(matches!(book.store.beat(LaneId::FIRST, book.epoch, START).await, Err(StoreError::Unavailable(_))));
    }
    assert_eq!(book.store.scan(None, 10).await, Ok(Vec::new()), "reading goes on");
    query("ROLLBACK").execute(&mut other).await.expect("it lets go");
    book.write(vec![new_order(SHOP, "order-1")]).await;
    assert_eq!(book.store.beat(LaneId::FIRST, book.epoch, START).await.map(|owner| owner.group), Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_postgres_is_unavailable_and_then_fine() {
    let cluster = Cluster::start();
    let url = SecretString::from(cluster.database());
    let store = store::open(&url, 2, Duration::from_secs(1)).expect("the store opens");
    store.migrate(Birth { mode: "sandbox", at: START }).await.expect("the schema is made");
    let mut book = Book::take(store).await;
    book.write(vec![new_order(SHOP, "before")]).await;
    book.store.scan(None, 10).await.expect("a reader is connected");

    cluster.stop();
    // The first one may find out by a connection that broke under it.
    let first = book.commit(group(vec![new_order(SHOP, "during")])).await;
    assert!(matches!(first, Err(StoreError::Unavailable(_) | StoreError::InDoubt(_))), "{first:?}");
    let second = book.commit(group(vec![new_order(SHOP, "during")])).await;
    assert!(matches!(second, Err(StoreError::Unavailable(_))), "{second:?}");
    let beat = book.store.beat(LaneId::FIRST, book.epoch, START).await;
    assert!(matches!(beat, Err(StoreError::Unavailable(_))), "{beat:?}");
    let read = book.store.scan(None, 10).await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");

    cluster.restart();
    let owner = book.store.beat(LaneId::FIRST, book.epoch, START).await.expect("the writer comes back");
    assert_eq!(owner.group, book.number);
    book.write(vec![new_order(SHOP, "after")]).await;
    assert_eq!(book.store.scan(None, 10).await.expect("readers come back").len(), 2);
}

/// Sessions are ended all the time while groups are committed. Whatever the store answered, reading back by a beat
/// tells the truth: the group is there as a whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_session_was_ended_is_there_or_not_at_all() {
    let url = postgres::shared().database();
    let store = store::open(&SecretString::from(url.clone()), 2, Duration::from_secs(1)).expect("the store opens");
    store.migrate(Birth { mode: "sandbox", at: START }).await.expect("the schema is made");
    let mut book = Book::take(store).await;
    let killer = tokio::spawn(async move {
        let options: PgConnectOptions = url.parse().expect("the address is PostgreSQL's");
        let mut connection = options.connect().await.expect("the killer connects");
        loop {
            query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .execute(&mut connection)
            .await
            .expect("the killer kills");
            tokio::time::sleep(Duration::from_millis(17)).await;
        }
    });
    let (mut there, mut lost) = (BTreeSet::new(), 0);
    for round in 0..120 {
        let steps: Vec<_> = (0..50).map(|n| new_order(SHOP, &format!("{round}-{n}"))).collect();
        let ids: Vec<_> = steps.iter().map(|step| step.id).collect();
        match book.commit(group(steps)).await {
            Ok(_) => there.extend(ids),
            Err(error) => {
                assert!(matches!(error, StoreError::InDoubt(_) | StoreError::Unavailable(_)), "{error}");
                lost += 1;
                let owner = read_back(&book).await;
                let came_through = owner == book.number + 1;
                assert!(came_through || owner == book.number, "group {owner} after {}", book.number);
                assert!(
                    !(came_through && matches!(error, StoreError::Unavailable(_))),
                    "it said that nothing happened"
                );
                if came_through {
                    book.number = owner;
                    there.extend(ids);
                }
            }
        }
    }
    killer.abort();
    let _ = killer.await;
    assert!(lost > 0, "no session was ended during a commit");
    let stored = loop {
        match book.store.scan(None, 100_000).await {
            Ok(orders) => break whole(orders).expect("orders can be read"),
            Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
        }
    };
    assert_eq!(stored.into_iter().map(|order| order.id).collect::<BTreeSet<_>>(), there);
}

/// The number of the last group, by a beat that came through.
async fn read_back(book: &Book) -> i64 {
    loop {
        match book.store.beat(LaneId::FIRST, book.epoch, START).await {
            Ok(owner) => return owner.group,
            Err(StoreError::Unavailable(_) | StoreError::InDoubt(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
