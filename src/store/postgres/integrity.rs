//! What PostgreSQL finds wrong with our tables: every row read by the table and by each of its indexes, and the indexes
//! themselves by `amcheck` where that is installed.

use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Connection as _, query, query_as, query_scalar};

use super::super::Integrity;

/// Columns that every table's rows are read by, whole: what is stored apart is fetched too.
const TABLES: &str = "SELECT c.oid::regclass::text FROM pg_class c \
     WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace ORDER BY 1";
/// Whole indexes, with the columns they are ordered by.
const INDEXES: &str = "SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text, \
         (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a \
         WHERE a.attrelid = i.indexrelid), i.indpred IS NOT NULL \
     FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid \
     JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree' \
     WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace ORDER BY 1";
const BY_TABLE: &str = "SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; \
     SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off";
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; \
     SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off";
/// One picture for all questions, which take as long as they take.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0";

pub async fn check(pool: &PgPool) -> Result<Integrity, sqlx::Error> {
    let mut connection = pool.acquire().await?.detach();
    let found = look(&mut connection).await;
    drop(connection.close().await);
    found
}

async fn look(connection: &mut PgConnection) -> Result<Integrity, sqlx::Error> {
    let mut integrity = Integrity::default();
    sqlx::raw_sql(BEGIN).execute(&mut *connection).await?;
    let tables: Vec<String> = query_scalar(TABLES).fetch_all(&mut *connection).await?;
    let mut rows = std::collections::BTreeMap::new();
    for table in tables {
        let question = format!("SELECT COUNT(*) FROM (SELECT length(t::text) FROM {table} t OFFSET 0) read");
        match count(connection, BY_TABLE, question).await? {
            Ok(count) => drop(rows.insert(table, count)),
            Err(why) => integrity.faults.push(format!("table {table}: {why}")),
        }
    }
    let indexes: Vec<(String, String, String, bool)> = query_as(INDEXES).fetch_all(&mut *connection).await?;
    for (index, table, columns, is_partial) in &indexes {
        if *is_partial {
            continue;
        }
        let question = format!("SELECT COUNT(*) FROM (SELECT * FROM {table} ORDER BY {columns} OFFSET 0) read");
        match (count(connection, BY_INDEX, question).await?, rows.get(table)) {
            (Ok(found), Some(count)) if found != *count => {
                integrity.faults.push(format!("index {index}: it leads to {found} rows of {count}"));
            }
            (Ok(_), _) => {}
            (Err(why), _) => integrity.faults.push(format!("index {index}: {why}")),
        }
    }
    let amcheck = "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
        WHERE e.extname = 'amcheck'";
    let Some(schema) = query_scalar::<_, String>(amcheck).fetch_optional(&mut *connection).await? else {
        let why = "the order within indexes was not checked: `CREATE EXTENSION amcheck` makes it possible";
        integrity.unchecked.push(why.to_owned());
        return Ok(integrity);
    };
    for (index, ..) in indexes {
        let question = format!("SELECT \"{schema}\".bt_index_check('{index}'::regclass, true)::text");
        if let Err(why) = within(connection, &question).await? {
            match why.code.as_str() {
                "42501" => integrity.unchecked.push(format!("index {index}: {}", why.text)),
                _ => integrity.faults.push(format!("index {index}: {}", why.text)),
            }
        }
    }
    Ok(integrity)
}

struct Refused {
    code: String,
    text: String,
}

/// Rows by a question, planned as `plan` wants it; or why the database could not answer.
async fn count(
    connection: &mut PgConnection,
    plan: &'static str,
    question: String,
) -> Result<Result<i64, String>, sqlx::Error> {
    sqlx::raw_sql(plan).execute(&mut *connection).await?;
    query("SAVEPOINT look").execute(&mut *connection).await?;
    let counted = query_scalar::<_, i64>(AssertSqlSafe(question)).fetch_one(&mut *connection).await;
    match counted {
        Ok(count) => Ok(Ok(count)),
        Err(sqlx::Error::Database(fault)) => {
            query("ROLLBACK TO SAVEPOINT look").execute(&mut *connection).await?;
            Ok(Err(fault.to_string()))
        }
        Err(lost) => Err(lost),
    }
}

async fn within(connection: &mut PgConnection, question: &str) -> Result<Result<(), Refused>, sqlx::Error> {
    query("SAVEPOINT look").execute(&mut *connection).await?;
    match query(AssertSqlSafe(question.to_owned())).execute(&mut *connection).await {
        Ok(_) => Ok(Ok(())),
        Err(sqlx::Error::Database(fault)) => {
            query("ROLLBACK TO SAVEPOINT look").execute(&mut *connection).await?;
            let code = fault.code().unwrap_or_default().into_owned();
            Ok(Err(Refused { code, text: fault.to_string() }))
        }
        Err(lost) => Err(lost),
    }
}
