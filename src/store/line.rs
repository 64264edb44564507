//! A table's rows as they are written, declared once for both databases: which columns they fill, of what type each is,
//! and what is done with them.

use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::types::Uuid;

/// What is done with the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// They are new. The text says what becomes of a row whose key is taken; an error, where it is empty.
    Insert(&'static str),
    /// The first `keys` columns find a row, the others are what it gets.
    Update { keys: usize },
    /// All columns are the key.
    Delete,
}

/// A row to be written.
pub trait Line: Sized {
    const TABLE: &'static str;
    /// Names, and types on PostgreSQL.
    const COLUMNS: &'static [(&'static str, &'static str)];
    const VERB: Verb;

    /// Hands over the row's values, column by column.
    fn put<'r>(&'r self, values: &mut impl FnMut(ToSqlOutput<'r>) -> rusqlite::Result<()>) -> rusqlite::Result<()>;

    /// Adds the columns of `rows`, an array each.
    fn add(rows: &[Self], arguments: &mut PgArguments) -> Result<(), BoxDynError>;
}

/// The columns' names, separated by commas.
pub fn names<L: Line>() -> String {
    L::COLUMNS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// A value in a column of either database.
pub trait Field {
    const TYPE: &'static str;

    fn value(&self) -> ToSqlOutput<'_>;

    fn add<'r>(column: impl Iterator<Item = &'r Self>, arguments: &mut PgArguments) -> Result<(), BoxDynError>
    where
        Self: 'r;
}

const fn text(value: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes()))
}

const NULL: ToSqlOutput<'static> = ToSqlOutput::Owned(Value::Null);

macro_rules! fields {
    ($($field:ty: $type:literal, $self:ident => $value:expr, $row:ident => $column:expr;)*) => {$(
        impl Field for $field {
            const TYPE: &'static str = $type;

            fn value(&self) -> ToSqlOutput<'_> {
                let $self = self;
                $value
            }

            fn add<'r>(column: impl Iterator<Item = &'r Self>, arguments: &mut PgArguments) -> Result<(), BoxDynError> {
                arguments.add(column.map(|$row| $column).collect::<Vec<_>>())
            }
        }
    )*};
}

fields! {
    i64: "int8", value => ToSqlOutput::Owned(Value::Integer(*value)), row => *row;
    Option<i64>: "int8", value => value.map_or(NULL, |value| ToSqlOutput::Owned(Value::Integer(value))), row => *row;
    Uuid: "uuid", value => ToSqlOutput::Borrowed(ValueRef::Blob(value.as_bytes())), row => *row;
    Option<Uuid>: "uuid",
        value => value.as_ref().map_or(NULL, |id| ToSqlOutput::Borrowed(ValueRef::Blob(id.as_bytes()))), row => *row;
    &'static str: "text", value => text(value), row => *row;
    Option<&'static str>: "text", value => value.map_or(NULL, text), row => *row;
    Box<str>: "text", value => text(value), row => row.as_ref();
    Option<Box<str>>: "text", value => value.as_deref().map_or(NULL, text), row => row.as_deref();
    Arc<str>: "text", value => text(value), row => row.as_ref();
    Arc<[u8]>: "bytea", value => ToSqlOutput::Borrowed(ValueRef::Blob(value)), row => row.as_ref();
    Vec<u8>: "bytea", value => ToSqlOutput::Borrowed(ValueRef::Blob(value)), row => row.as_slice();
    [u8; 16]: "bytea", value => ToSqlOutput::Borrowed(ValueRef::Blob(value)), row => row.as_slice();
    [u8; 32]: "bytea", value => ToSqlOutput::Borrowed(ValueRef::Blob(value)), row => row.as_slice();
}

/// Declares a table's rows: `struct NAME in "table", VERB { column: type, … }`.
macro_rules! lines {
    ($(
        $(#[$doc:meta])*
        struct $line:ident in $table:literal, $verb:expr => { $($(#[$said:meta])* $column:ident: $field:ty,)+ }
    )+) => {$(
        $(#[$doc])*
        pub struct $line {
            $($(#[$said])* pub $column: $field,)+
        }

        impl $crate::store::line::Line for $line {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($column), <$field as $crate::store::line::Field>::TYPE),)+];
            const VERB: $crate::store::line::Verb = $verb;

            fn put<'r>(
                &'r self,
                values: &mut impl FnMut(rusqlite::types::ToSqlOutput<'r>) -> rusqlite::Result<()>,
            ) -> rusqlite::Result<()> {
                $(values($crate::store::line::Field::value(&self.$column))?;)+
                Ok(())
            }

            fn add(
                rows: &[Self],
                arguments: &mut sqlx::postgres::PgArguments,
            ) -> Result<(), sqlx::error::BoxDynError> {
                $($crate::store::line::Field::add(rows.iter().map(|row| &row.$column), arguments)?;)+
                Ok(())
            }
        }
    )+};
}

pub(super) use lines;

/// Whoever goes through a group's rows, table by table.
pub trait Visitor {
    type Fault;

    fn visit<L: Line>(&mut self, rows: &[L]) -> Result<(), Self::Fault>;
}

/// A row's values as the parameters of a statement of SQLite's.
pub fn bind<L: Line>(row: &L, statement: &mut rusqlite::Statement<'_>) -> rusqlite::Result<()> {
    let mut bound = 0;
    row.put(&mut |value| {
        bound += 1;
        statement.raw_bind_parameter(bound, value)
    })
}
