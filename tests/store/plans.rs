//! What a page of a long list costs: as many rows as it has, though the platform has many others beside them.

use std::path::Path;

use rusqlite::{Connection as Sqlite, StatementStatus, ToSql};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::types::Uuid;
use sqlx::{AssertSqlSafe, ConnectOptions, Row, query, raw_sql};
use tongbao::store::pages;

use super::book::Place;

/// Rows of one type and one state, beside which those that are asked for are a handful.
const MANY: i64 = 20_000;
const FEW: i64 = 30;
const LIMIT: i64 = 21;

/// Rows in both databases' words, from numbers in the table `n (i)`.
const FILL: &str = "
INSERT INTO lines (kind, id, version, entry, line, entry_kind, account, currency, amount_minor, lane, place, at,
    effective_at, bill_day, cycle, transaction_kind, platform_id)
    SELECT 1, ID, i, 0, 0, 'payment', 'platform:1', 'CNY', -1, 1, i, i, i, 20261130, 1,
    CASE WHEN i % (MANY / FEW) = 0 THEN 'refund' ELSE 'payment' END, 1 FROM n;
";
const FILL_REFUNDS: &str = "
INSERT INTO refunds (order_id, ordinal, incarnation, platform_id, merchant_refund_id, currency, amount_minor,
    refundable_minor, fee_minor, fee_policy, parts, channel, account, created_at, state)
    SELECT ID, i, 0, 1, 'r-' || i, 'CNY', 1, 1, 0, 'kept', '[]', 'simpay', 'default', i,
    CASE WHEN i % (MANY / FEW) = 0 THEN 'failed' ELSE 'succeeded' END FROM n;
";

fn fill(text: &str, numbers: &str, id: &str) -> String {
    let text = text.replace("ID", id).replace("MANY", &MANY.to_string()).replace("FEW", &FEW.to_string());
    let (insert, select) = text.split_at(text.find("SELECT").expect("it selects"));
    format!("{insert} {select}").replace("FROM n", &format!("FROM ({numbers}) n"))
}

/// The pages that are asked for: the last rows, and some in the middle.
const PLACES: [i64; 2] = [i64::MAX, MANY / 2];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_one_type_or_state_reads_no_other_rows_on_sqlite() {
    let place = Place::sqlite();
    let book = place.book().await;
    book.store.close().await.unwrap();
    let file = place.url.strip_prefix("sqlite://").expect("a file");
    let connection = Sqlite::open(Path::new(file)).unwrap();
    let numbers =
        format!("WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {MANY}) SELECT i FROM c");
    for text in [FILL, FILL_REFUNDS] {
        connection.execute_batch(&fill(text, &numbers, "zeroblob(16)")).unwrap();
    }
    let (nil, last) = (Uuid::nil().into_bytes(), Uuid::max().into_bytes());
    let cost = |text: &str, values: &[&dyn ToSql]| {
        let mut ask = connection.prepare(text).unwrap();
        for (value, number) in values.iter().zip(1..) {
            let index = ask.parameter_index(&format!("${number}")).unwrap().expect("it is a parameter");
            ask.raw_bind_parameter(index, value).unwrap();
        }
        let (mut rows, mut count) = (ask.raw_query(), 0);
        while rows.next().unwrap().is_some() {
            count += 1;
        }
        drop(rows);
        (count, ask.get_status(StatementStatus::VmStep))
    };
    for at in PLACES {
        let all: [&dyn ToSql; 9] = [&1, &0, &at, &1, &last, &0, &0, &0, &LIMIT];
        for (text, kind) in [(&*pages::TRANSACTIONS, None), (&*pages::TRANSACTIONS_OF_KIND, Some("refund"))] {
            let values: Vec<&dyn ToSql> = all.into_iter().chain(kind.iter().map(|kind| kind as &dyn ToSql)).collect();
            let (rows, steps) = cost(text, &values);
            assert!(rows > 10 && steps < 20_000, "{rows} rows of {kind:?} before {at} in {steps} steps");
        }
        let all: [&dyn ToSql; 6] = [&1, &0, &at, &nil, &0, &LIMIT];
        for (text, state) in [(&*pages::REFUNDS, None), (&*pages::REFUNDS_OF_STATE, Some("failed"))] {
            let values: Vec<&dyn ToSql> =
                all.into_iter().chain(state.iter().map(|state| state as &dyn ToSql)).collect();
            let (rows, steps) = cost(text, &values);
            assert!(rows > 10 && steps < 20_000, "{rows} refunds {state:?} before {at} in {steps} steps");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_one_type_or_state_reads_no_other_rows_on_postgres() {
    let place = Place::postgres();
    drop(place.book().await);
    let options: PgConnectOptions = place.url.parse().expect("an address of PostgreSQL");
    let mut connection = options.connect().await.unwrap();
    let numbers = format!("SELECT i FROM generate_series(1, {MANY}) AS c (i)");
    for text in [FILL, FILL_REFUNDS] {
        let id = format!("'{}'::uuid", Uuid::nil());
        raw_sql(AssertSqlSafe(fill(text, &numbers, &id))).execute(&mut connection).await.unwrap();
    }
    query("ANALYZE").execute(&mut connection).await.unwrap();
    let explain = |text: &str| AssertSqlSafe(format!("EXPLAIN (ANALYZE, FORMAT JSON) {text}"));
    for at in PLACES {
        for (text, kind) in [(&*pages::TRANSACTIONS, None), (&*pages::TRANSACTIONS_OF_KIND, Some("refund"))] {
            let ask = query(explain(text)).bind(1i64).bind(0i64).bind(at).bind(1i64);
            let ask = ask.bind(Uuid::max()).bind(0i64).bind(0i64).bind(0i64).bind(LIMIT);
            let ask = if let Some(kind) = kind { ask.bind(kind) } else { ask };
            check(ask.fetch_one(&mut connection).await.unwrap(), "lines");
        }
        for (text, state) in [(&*pages::REFUNDS, None), (&*pages::REFUNDS_OF_STATE, Some("failed"))] {
            let ask = query(explain(text)).bind(1i64).bind(0i64).bind(at);
            let ask = ask.bind(Uuid::nil()).bind(0i64).bind(LIMIT);
            let ask = if let Some(state) = state { ask.bind(state) } else { ask };
            check(ask.fetch_one(&mut connection).await.unwrap(), "refunds");
        }
    }
}

/// Every visit of the table is by its index, and reads no more than a page.
fn check(row: PgRow, table: &str) {
    let plan = row.try_get_unchecked::<String, _>(0).expect("a text");
    let plan: Value = serde_json::from_str(&plan).expect("a plan in JSON");
    let mut visits = 0;
    let mut open = vec![&plan[0]["Plan"]];
    while let Some(node) = open.pop() {
        open.extend(node["Plans"].as_array().into_iter().flatten());
        if node["Relation Name"] != table || node["Index Name"] == format!("{table}_pkey") {
            continue;
        }
        visits += 1;
        let number = |name: &str| node[name].as_f64().unwrap_or_default();
        let rows = number("Actual Rows") * number("Actual Loops") + number("Rows Removed by Filter");
        assert!(node["Index Name"] == format!("{table}_by_platform") && rows <= LIMIT as f64, "{rows} rows: {plan:#}");
    }
    assert!(visits > 0, "{plan:#}");
}
