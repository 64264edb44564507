//! Every operation of the store, on SQLite and on PostgreSQL.

#[path = "store/measure.rs"]
mod measure;
#[path = "store/units.rs"]
mod units;
