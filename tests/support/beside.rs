//! A way into a server's store that does not lead through the server.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Decode, Postgres, Sqlite, Type, query_scalar, raw_sql};

use super::process::Site;

pub enum Beside {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Beside {
    pub async fn of(site: &Site) -> Self {
        if site.store_url.starts_with("sqlite:") {
            let options: SqliteConnectOptions = site.store_url.parse().expect("an address of SQLite");
            Beside::Sqlite(options.connect().await.expect("the file is opened"))
        } else {
            let options: PgConnectOptions = site.store_url.parse().expect("an address of PostgreSQL");
            Beside::Postgres(options.connect().await.expect("the database is opened"))
        }
    }

    pub async fn run(&mut self, statement: &str) {
        let statement = raw_sql(AssertSqlSafe(statement));
        let done = match self {
            Beside::Sqlite(connection) => statement.execute(connection).await.map(drop),
            Beside::Postgres(connection) => statement.execute(connection).await.map(drop),
        };
        done.expect("the statement is executed");
    }

    /// All values of a column.
    pub async fn column<T>(&mut self, question: &str) -> Vec<T>
    where
        T: Send + Unpin + Type<Sqlite> + Type<Postgres>,
        T: for<'r> Decode<'r, Sqlite> + for<'r> Decode<'r, Postgres>,
    {
        let question = AssertSqlSafe(question);
        let values = match self {
            Beside::Sqlite(connection) => query_scalar(question).fetch_all(connection).await,
            Beside::Postgres(connection) => query_scalar(question).fetch_all(connection).await,
        };
        values.expect("the question is answered")
    }

    /// Keeps everybody else from writing until it lets go; reading goes on.
    pub async fn hold(&mut self) {
        match self {
            Beside::Sqlite(_) => self.run("BEGIN IMMEDIATE").await,
            Beside::Postgres(_) => self.run("BEGIN; SELECT FROM lanes FOR UPDATE").await,
        }
    }

    pub async fn let_go(&mut self) {
        self.run("ROLLBACK").await;
    }

    /// What stands in each column: the table's name and all values, one after the other.
    pub async fn contents(&mut self) -> Vec<(String, String)> {
        let columns = match self {
            Beside::Sqlite(_) => {
                "SELECT t.name || ' CAST(' || c.name || ' AS BLOB)' FROM sqlite_master t, pragma_table_info(t.name) c \
                 WHERE t.type = 'table'"
            }
            Beside::Postgres(_) => {
                "SELECT table_name || ' ' || CASE data_type WHEN 'bytea' THEN column_name \
                 ELSE 'convert_to(' || column_name || '::text, ''UTF8'')' END \
                 FROM information_schema.columns WHERE table_schema = 'public'"
            }
        };
        let mut contents = Vec::new();
        for line in self.column::<String>(columns).await {
            let (table, column) = line.split_once(' ').expect("a table and a column");
            let question = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL");
            let values: Vec<Vec<u8>> = self.column(&question).await;
            contents.push((table.to_owned(), String::from_utf8_lossy(&values.join(&b'\n')).into_owned()));
        }
        contents
    }

    pub async fn close(self) {
        let closed = match self {
            Beside::Sqlite(connection) => connection.close().await,
            Beside::Postgres(connection) => connection.close().await,
        };
        closed.expect("the store is left");
    }
}
