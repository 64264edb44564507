//! Every operation of the store, on SQLite and on PostgreSQL.

#[path = "store/measure.rs"]
mod measure;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "store/units.rs"]
mod units;
