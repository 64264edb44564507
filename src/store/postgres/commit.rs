//! One group as one statement, and so as one round trip and one transaction. Rows travel as arrays, a column each.
//!
//! The lane's row is changed first, and everything else depends on what that returned. The final SELECT raises an
//! error if the fence or a version does not hold; then nothing of the statement happens.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::types::Uuid;
use sqlx::{Arguments, AssertSqlSafe, query_as, query_scalar, query_scalar_with};

use super::super::batch::{Batch, Name};
use super::super::companions::{Calendars, Companions};
use super::super::line::{self, Line, Verb, Visitor};
use super::super::rows::{StoredCut, StoredMember, lane_version};
use super::super::statements::{BALANCES_OF_LANE, CUTS_OF_LANE, LANE_VERSION, MEMBERS_OF_LANE};
use super::super::tables::{HeadLine, KeyRevokedLine, MovedLine, PutOffLine, TakenLine};
use super::super::{Committed, LaneBalance, StoreError};
use super::{CONFLICT, FENCED, writing_fault};

/// Which names are on record, by their place among those that are asked for.
const NAMED: &str = "SELECT n.place FROM unnest($1::int8[], $2::text[]) WITH ORDINALITY \
     AS n (platform_id, merchant_order_id, place) WHERE EXISTS (SELECT FROM orders o \
     WHERE o.platform_id = n.platform_id AND o.merchant_order_id = n.merchant_order_id)";

static COMMIT: LazyLock<Arc<str>> = LazyLock::new(|| statement().into());

/// The statement as far as it is written, and how many parameters it has.
struct Statement {
    parts: Vec<String>,
    parameters: usize,
}

impl Statement {
    fn next(&mut self) -> String {
        self.parameters += 1;
        format!("${}", self.parameters)
    }

    /// A table `n` of rows to be written.
    fn rows<L: Line>(&mut self) -> String {
        let columns = L::COLUMNS.iter().map(|(_, of)| format!("{}::{of}[]", self.next())).collect::<Vec<_>>();
        format!("unnest({}) AS n ({})", columns.join(", "), line::names::<L>())
    }

    fn push(&mut self, name: &str, text: String) {
        self.parts.push(format!("{name} AS ({text})"));
    }
}

impl Visitor for Statement {
    type Fault = Infallible;

    fn visit<L: Line>(&mut self, _: &[L]) -> Result<(), Infallible> {
        let (rows, text) = (self.rows::<L>(), format!("part_{}", self.parts.len()));
        self.push(&text, written::<L>(&rows));
        Ok(())
    }
}

fn written<L: Line>(rows: &str) -> String {
    let table = L::TABLE;
    let each = |columns: &[(&str, &str)], before: &str, between: &str| {
        columns.iter().map(|(name, _)| format!("{before}{name} = n.{name}")).collect::<Vec<_>>().join(between)
    };
    match L::VERB {
        Verb::Insert(taken) => {
            format!("INSERT INTO {table} ({}) SELECT n.* FROM lane_now, {rows} {taken}", line::names::<L>())
        }
        Verb::Update { keys } => {
            let (key, rest) = L::COLUMNS.split_at(keys);
            let (set, found) = (each(rest, "", ", "), each(key, "x.", " AND "));
            format!("UPDATE {table} x SET {set} FROM lane_now, {rows} WHERE {found}")
        }
        Verb::Delete => {
            format!("DELETE FROM {table} x USING lane_now, {rows} WHERE {}", each(L::COLUMNS, "x.", " AND "))
        }
    }
}

/// A head says when its stream is due, and `due` finds it by that: apart, so that a step touches no index of heads. A
/// head that is there is joined with itself, to see what it said before.
fn statement() -> String {
    let mut statement = Statement { parts: Vec::new(), parameters: 0 };
    let [lane, epoch, number, at, first_place, next_place] = [(); 6].map(|()| statement.next());
    statement.push(
        "lane_now",
        format!(
            "UPDATE lanes SET beat = beat + 1, group_number = {number}, at = {at}, next_place = {next_place} \
             WHERE lane = {lane} AND epoch = {epoch} AND next_place = {first_place} RETURNING epoch"
        ),
    );
    let new = statement.rows::<HeadLine>();
    statement.push("new", format!("{} RETURNING kind, id, next_due_at", written::<HeadLine>(&new)));
    let first_moved = statement.parameters + 1;
    let moved = statement.rows::<MovedLine>();
    statement.push(
        "moved",
        format!(
            "UPDATE heads h SET version = n.version, state = n.state, facet = n.facet, next_due_at = n.next_due_at, \
             epoch = n.epoch, next_action = CASE n.changes_action WHEN 1 THEN n.next_action ELSE h.next_action END, \
             snapshot = n.snapshot \
             FROM lane_now, {moved}, heads o WHERE o.kind = n.kind AND o.id = n.id AND o.version = n.expected \
             AND h.kind = n.kind AND h.id = n.id AND h.version = n.expected \
             RETURNING h.kind, h.id, h.next_due_at, o.next_due_at AS was_due_at"
        ),
    );
    let put_off = statement.rows::<PutOffLine>();
    statement.push(
        "put_off",
        format!(
            "UPDATE heads h SET next_due_at = n.next_due_at, epoch = n.epoch FROM lane_now, {put_off}, heads o \
             WHERE o.kind = n.kind AND o.id = n.id AND o.version = n.version \
             AND h.kind = n.kind AND h.id = n.id AND h.version = n.version \
             RETURNING h.kind, h.id, h.next_due_at, o.next_due_at AS was_due_at"
        ),
    );
    statement.push(
        "changed",
        "SELECT * FROM (SELECT * FROM moved UNION ALL SELECT * FROM put_off) c \
         WHERE c.next_due_at IS DISTINCT FROM c.was_due_at"
            .to_owned(),
    );
    statement.push(
        "due_no_more",
        "DELETE FROM due d USING changed c \
         WHERE d.next_due_at = c.was_due_at AND d.kind = c.kind AND d.id = c.id"
            .to_owned(),
    );
    statement.push(
        "due_now",
        "INSERT INTO due (next_due_at, kind, id) SELECT next_due_at, kind, id FROM new \
         WHERE next_due_at IS NOT NULL UNION ALL SELECT next_due_at, kind, id FROM changed \
         WHERE next_due_at IS NOT NULL"
            .to_owned(),
    );
    let first_taken = statement.parameters + 1;
    let taken = statement.rows::<TakenLine>();
    statement.push("taken", format!("{} RETURNING x.number", written::<TakenLine>(&taken)));
    let first_revoked = statement.parameters + 1;
    let revoked = statement.rows::<KeyRevokedLine>();
    statement.push("revoked", format!("{} RETURNING x.hash", written::<KeyRevokedLine>(&revoked)));
    let Ok(()) = Batch::default().visit(&mut statement);
    format!(
        "WITH {parts} SELECT agreed.holds FROM (SELECT CASE \
         WHEN NOT EXISTS (SELECT FROM lane_now) THEN refuse('{FENCED}', 'another epoch') \
         WHEN (SELECT COUNT(*) FROM moved) <> cardinality(${first_moved}::int8[]) THEN refuse('{CONFLICT}', \
         COALESCE((SELECT n.kind || ' ' || n.id FROM unnest(${first_moved}::int8[], ${moved_id}::uuid[]) AS n (kind, id) \
         WHERE ((n.kind, n.id) IN (SELECT kind, id FROM moved)) IS NOT TRUE LIMIT 1), \
         'a stream has two steps in one group')) \
         WHEN (SELECT COUNT(*) FROM taken) <> cardinality(${first_taken}::int8[]) \
         THEN refuse('{CONFLICT}', 'a message that is taken is not there') \
         WHEN (SELECT COUNT(*) FROM revoked) <> cardinality(${first_revoked}::bytea[]) \
         THEN refuse('{CONFLICT}', 'a key that is revoked is not there') \
         ELSE TRUE END AS holds) agreed WHERE agreed.holds",
        parts = statement.parts.join(", "),
        moved_id = first_moved + 1,
    )
}

/// The rows of a group, in the order in which [`statement`] numbered their columns.
struct Columns(PgArguments);

impl Visitor for Columns {
    type Fault = BoxDynError;

    fn visit<L: Line>(&mut self, rows: &[L]) -> Result<(), BoxDynError> {
        L::add(rows, &mut self.0)
    }
}

fn columns(batch: &Batch, next_place: i64) -> Result<PgArguments, BoxDynError> {
    let mut columns = Columns(PgArguments::default());
    for value in [batch.lane, batch.epoch, batch.number, batch.at, batch.first_place, next_place] {
        columns.0.add(value)?;
    }
    columns.visit(batch.new_heads())?;
    columns.visit(&batch.moved)?;
    columns.visit(&batch.put_off)?;
    columns.visit(&batch.taken)?;
    columns.visit(&batch.keys_revoked)?;
    batch.visit(&mut columns)?;
    Ok(columns.0)
}

/// How the last groups of lanes left what goes along with them, where that is known.
pub type Kept = Arc<Mutex<BTreeMap<i64, Companions>>>;

fn kept(kept: &Kept) -> MutexGuard<'_, BTreeMap<i64, Companions>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

pub async fn commit(connection: &mut PgConnection, mut batch: Batch, all: Kept) -> Result<Committed, StoreError> {
    let duplicates = batch.leave_losers_out(&taken(connection, &batch.names).await?);
    let last = kept(&all).remove(&batch.lane).filter(|companions| companions.next_place == batch.first_place);
    let mut companions = match last {
        Some(companions) => companions,
        None => companions_of(connection, &batch).await?,
    };
    let written = match batch.place(&companions) {
        Ok(stamped) => write(connection, &batch, stamped.next_place).await.map(|()| stamped),
        Err(error) => Err(error),
    };
    let written = written.map(|stamped| {
        let next_place = stamped.next_place;
        companions.adopt(stamped);
        Committed { duplicates, next_place }
    });
    kept(&all).insert(batch.lane, companions);
    written
}

async fn write(connection: &mut PgConnection, batch: &Batch, next_place: i64) -> Result<(), StoreError> {
    let columns = columns(batch, next_place).map_err(|error| writing_fault(sqlx::Error::Encode(error)))?;
    let ask = query_scalar_with::<_, bool, _>(AssertSqlSafe(Arc::clone(&COMMIT)), columns);
    ask.fetch_one(connection).await.map(drop).map_err(writing_fault)
}

/// What goes along with a lane, as the store has it.
async fn companions_of(connection: &mut PgConnection, batch: &Batch) -> Result<Companions, StoreError> {
    let ask = query_as::<_, LaneBalance>(BALANCES_OF_LANE).bind(batch.lane);
    let balances = ask.fetch_all(&mut *connection).await.map_err(writing_fault)?.into_iter();
    let balances = balances.map(LaneBalance::into_sum).collect();
    let mut calendars = Calendars::default();
    let ask = query_as::<_, StoredCut>(CUTS_OF_LANE).bind(batch.lane);
    for cut in ask.fetch_all(&mut *connection).await.map_err(writing_fault)? {
        cut.read_into(&mut calendars)?;
    }
    let ask = query_as::<_, StoredMember>(MEMBERS_OF_LANE).bind(batch.lane);
    for member in ask.fetch_all(&mut *connection).await.map_err(writing_fault)? {
        member.read_into(&mut calendars)?;
    }
    let ask = query_scalar::<_, i64>(LANE_VERSION).bind(Uuid::from_u128(u128::from(batch.lane.unsigned_abs())));
    let version = ask.fetch_one(connection).await.map_err(writing_fault)?;
    Ok(Companions::new(batch.first_place, lane_version(version)?, balances, calendars))
}

async fn taken(connection: &mut PgConnection, names: &[Name]) -> Result<HashSet<usize>, StoreError> {
    if names.is_empty() {
        return Ok(HashSet::new());
    }
    let platforms: Vec<i64> = names.iter().map(|name| name.platform_id).collect();
    let merchant_order_ids: Vec<&str> = names.iter().map(|name| name.merchant_order_id.as_ref()).collect();
    let ask = query_scalar::<_, i64>(NAMED).bind(platforms).bind(merchant_order_ids);
    let places = ask.fetch_all(connection).await.map_err(writing_fault)?;
    Ok(places.into_iter().filter_map(|place| usize::try_from(place - 1).ok()).collect())
}
