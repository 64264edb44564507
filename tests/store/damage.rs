//! Rows that somebody else has changed: what cannot be read is corrupt, and is never completed by a default.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};
use tongbao::store::{NamedPayer, OrderFilter, StoreError, whole};

use super::book::{Place, cancel};
use super::cases::platform;
use super::units::{START, new_order_of, payer, request, submit};

/// What is changed, and whose order cannot be read then.
const DAMAGES: [(&str, Whose); 7] = [
    ("orders SET request = '{}'", Whose::Everybodys),
    (r#"orders SET request = replace(request, '"form":1', '"form":2')"#, Whose::Everybodys),
    ("orders SET request = replace(request, 'metadata', 'metadatum')", Whose::Everybodys),
    ("orders SET request = substr(request, 2)", Whose::Everybodys),
    ("payers SET payer = '{}' WHERE ordinal = -1", Whose::TheFirsts),
    (r#"payers SET payer = replace(payer, '"u-2"', '"u-2","name":"x"')"#, Whose::TheFirsts),
    ("payers SET payer = substr(payer, 2) WHERE ordinal = 0", Whose::TheFirsts),
];
const KEEP: &str = "CREATE TABLE kept_orders AS SELECT id, request FROM orders; \
    CREATE TABLE kept_payers AS SELECT order_id, ordinal, payer FROM payers";
const REPAIR: &str = "UPDATE orders SET request = (SELECT k.request FROM kept_orders k WHERE k.id = orders.id); \
    UPDATE payers SET payer = (SELECT k.payer FROM kept_payers k \
    WHERE k.order_id = payers.order_id AND k.ordinal = payers.ordinal)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    TheFirsts,
    Everybodys,
}

enum Beside {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Beside {
    async fn of(place: &Place) -> Self {
        if place.url.starts_with("sqlite:") {
            let options: SqliteConnectOptions = place.url.parse().expect("an address of SQLite");
            Beside::Sqlite(options.connect().await.expect("the file is opened"))
        } else {
            let options: PgConnectOptions = place.url.parse().expect("an address of PostgreSQL");
            Beside::Postgres(options.connect().await.expect("the database is opened"))
        }
    }

    async fn run(&mut self, statement: &str) {
        let statement = raw_sql(AssertSqlSafe(statement));
        let done = match self {
            Beside::Sqlite(connection) => statement.execute(connection).await.map(drop),
            Beside::Postgres(connection) => statement.execute(connection).await.map(drop),
        };
        done.expect("the statement is executed");
    }

    async fn close(self) {
        let closed = match self {
            Beside::Sqlite(connection) => connection.close().await,
            Beside::Postgres(connection) => connection.close().await,
        };
        closed.expect("the store is left");
    }
}

async fn a_damaged_request_or_payer_makes_its_order_unreadable(place: Place) {
    let mut book = place.book().await;
    let shop = book.platform(&platform("shop"), &[]).await;
    let mut wanted = request("order-1");
    wanted.payer = Some(payer("u-1"));
    let created = new_order_of(shop, wanted.clone());
    let mut submitted = submit(&created.order);
    submitted.payer = Some(NamedPayer { ordinal: 0, payer: payer("u-2") });
    let told = new_order_of(shop, request("order-2"));
    let (id, told_id, cancelled) = (created.id, told.id, cancel(&told.order));
    book.write(vec![created, told]).await;
    book.write(vec![submitted, cancelled]).await;
    let stored = book.store.order(id).await.expect("it is read").expect("it is there");
    assert_eq!((&stored.request, &stored.payer), (&wanted, &Some(payer("u-2"))));

    let mut beside = Beside::of(&place).await;
    beside.run(KEEP).await;
    let page = OrderFilter {
        platform: shop,
        merchant_order_id: None,
        state: None,
        channel: None,
        created_after: None,
        created_before: None,
        before: None,
        limit: 10,
    };
    for (damage, whose) in DAMAGES {
        beside.run(&format!("UPDATE {damage}")).await;
        let read = book.store.order(id).await;
        let Err(StoreError::Corrupt(why)) = read else { panic!("{damage}: it is read as {read:?}") };
        assert!(why.contains(&id.to_string()), "{damage}: {why}");
        let by_name = book.store.order_by_merchant_id(shop, "order-1").await;
        assert!(matches!(by_name, Err(StoreError::Corrupt(_))), "{damage}");
        let listed = book.store.orders(&page).await.expect("a page");
        let unreadable: Vec<_> = listed.iter().filter(|row| row.value.is_err()).map(|row| row.key).collect();
        match whose {
            Whose::TheFirsts => assert_eq!(unreadable, [Some(id)], "{damage}"),
            Whose::Everybodys => assert_eq!(unreadable, [Some(told_id), Some(id)], "{damage}"),
        }
        let webhooks = whole(book.store.outbox(START.plus_ms(1_000_000), None, 10).await.expect("a page"));
        assert_eq!(webhooks.expect("a webhook was rendered before and needs neither").len(), 1, "{damage}");
        beside.run(REPAIR).await;
        assert_eq!(book.store.order(id).await.expect("it is read again"), Some(stored.clone()), "{damage}");
    }
    beside.run("UPDATE payers SET payer = '{}' WHERE ordinal = 0").await;
    let frozen = book.store.frozen(id, 0).await;
    assert!(matches!(frozen, Err(StoreError::Corrupt(_))), "{frozen:?}");
    // Erased is not damaged.
    beside.run("DELETE FROM payers").await;
    let erased = book.store.order(id).await.expect("it is read").expect("it is there");
    assert_eq!((erased.request.payer, erased.payer), (None, None));
    assert_eq!(book.store.frozen(id, 0).await.expect("it is read").expect("it is there").payer, None);
    beside.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_request_or_payer_is_corrupt_on_sqlite() {
    a_damaged_request_or_payer_makes_its_order_unreadable(Place::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_request_or_payer_is_corrupt_on_postgres() {
    a_damaged_request_or_payer_makes_its_order_unreadable(Place::postgres()).await;
}
