//! One group as one statement, and so as one round trip and one transaction. Rows travel as arrays, a column each.
//!
//! The owner's row is changed first, and everything else depends on what that returned. The final SELECT raises an
//! error if the fence or a version does not hold; then nothing of the statement happens.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use sqlx::postgres::PgConnection;
use sqlx::types::Uuid;
use sqlx::{AssertSqlSafe, query_scalar};

use super::super::batch::Batch;
use super::super::{Committed, NextActionChange, StoreError};
use super::{CONFLICT, FENCED, writing_fault};

static COMMIT: LazyLock<Arc<str>> = LazyLock::new(|| statement().into());

/// Numbers the parameters in the order in which [`commit`] binds them.
struct Parameters(usize);

impl Parameters {
    fn next(&mut self) -> String {
        self.0 += 1;
        format!("${}", self.0)
    }

    /// A table of columns of these types.
    fn table(&mut self, types: &str) -> String {
        let columns = types.split(' ').map(|name| format!("{}::{name}[]", self.next()));
        format!("unnest({})", columns.collect::<Vec<_>>().join(", "))
    }
}

/// Rows of an order are written only with the order itself. The test is kept from becoming a join, so that it is a
/// look into a hash table.
const WRITTEN: &str = "WHERE (n.order_id IN (SELECT id FROM written)) IS TRUE";

fn statement() -> String {
    let mut parameters = Parameters(0);
    let (epoch, number, at) = (parameters.next(), parameters.next(), parameters.next());
    let created = parameters.table("uuid int8 text text text int8 text int8 int8 int8 int8 text text text text");
    let moved_ids = parameters.0 + 1;
    let moved = parameters.table("uuid int8 int8 text text int8 bool text text");
    let mut ctes = vec![
        format!(
            "owner_now AS (UPDATE owner SET beat = beat + 1, group_number = {number}, at = {at} \
             WHERE id = 1 AND epoch = {epoch} RETURNING epoch)"
        ),
        format!(
            "created AS (INSERT INTO orders (id, platform_id, merchant_order_id, state, channel, version, currency, \
             amount_minor, created_at, expires_at, next_due_at, request, webhook_url, next_action, snapshot) \
             SELECT n.* FROM owner_now, {created} AS n \
             ON CONFLICT (platform_id, merchant_order_id) DO NOTHING RETURNING id)"
        ),
        format!(
            "moved AS (UPDATE orders o SET version = n.version, state = n.state, channel = n.channel, \
             next_due_at = n.next_due_at, snapshot = n.snapshot, \
             next_action = CASE WHEN n.changes_action THEN n.next_action ELSE o.next_action END \
             FROM owner_now, {moved} AS n (id, expected, version, state, channel, next_due_at, changes_action, \
             next_action, snapshot) WHERE o.id = n.id AND o.version = n.expected RETURNING o.id)"
        ),
        "written AS (SELECT id FROM created UNION ALL SELECT id FROM moved)".to_owned(),
    ];
    let payers = parameters.table("uuid int8 text");
    ctes.push(format!(
        "new_payers AS (INSERT INTO payers (order_id, ordinal, payer) \
         SELECT order_id, ordinal, payer FROM {payers} AS n (order_id, ordinal, payer) {WRITTEN} \
         ON CONFLICT (order_id, ordinal) DO UPDATE SET payer = excluded.payer)"
    ));
    for (table, columns, types) in [
        ("journal", "order_id, version, at, body", "uuid int8 int8 bytea"),
        (
            "attempts",
            "order_id, ordinal, channel, account, payable_minor, opened_at, frozen",
            "uuid int8 text text int8 int8 text",
        ),
        (
            "captures",
            "channel, account, reference, order_id, ordinal, currency, amount_minor, at",
            "text text text uuid int8 text int8 int8",
        ),
        ("entries", "order_id, version, place, kind, currency, at, lines", "uuid int8 int8 text text int8 text"),
        (
            "outbox",
            "order_id, sequence, kind, at, next_at, platform_id, url, trace, body",
            "uuid int8 text int8 int8 int8 text bytea bytea",
        ),
    ] {
        let rows = parameters.table(types);
        ctes.push(format!(
            "new_{table} AS (INSERT INTO {table} ({columns}) SELECT {columns} FROM {rows} AS n ({columns}) {WRITTEN})"
        ));
    }
    let delivered = parameters.table("uuid int8");
    ctes.push(format!(
        "delivered AS (DELETE FROM outbox x USING owner_now, {delivered} AS n (order_id, sequence) \
         WHERE x.order_id = n.order_id AND x.sequence = n.sequence)"
    ));
    let undelivered = parameters.table("uuid int8 int8 int8 text");
    ctes.push(format!(
        "undelivered AS (UPDATE outbox x SET tries = n.tries, next_at = n.next_at, why = n.why \
         FROM owner_now, {undelivered} AS n (order_id, sequence, tries, next_at, why) \
         WHERE x.order_id = n.order_id AND x.sequence = n.sequence)"
    ));
    let inbox = parameters.table("text text text text uuid bytea bytea bytea int8");
    ctes.push(format!(
        "new_inbox AS (INSERT INTO inbox (reason, channel, account, number, order_id, body, raw, digest, at) \
         SELECT n.* FROM owner_now, {inbox} AS n ON CONFLICT (digest) DO NOTHING)"
    ));
    let inbox_done = parameters.table("int8");
    ctes.push(format!("inbox_done AS (DELETE FROM inbox x USING owner_now, {inbox_done} AS n (id) WHERE x.id = n.id)"));
    let answers = parameters.table("int8 text bytea uuid int8 text int8");
    ctes.push(format!(
        "new_answers AS (INSERT INTO answers (platform_id, key, fingerprint, order_id, status, body, at) \
         SELECT n.* FROM owner_now, {answers} AS n \
         ON CONFLICT (platform_id, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
         order_id = excluded.order_id, status = excluded.status, body = excluded.body, at = excluded.at)"
    ));
    let paid_by = parameters.table("bytea text int8");
    ctes.push(format!(
        "new_paid_by AS (INSERT INTO payer_channels (payer, channel, at) SELECT n.* FROM owner_now, {paid_by} AS n \
         ON CONFLICT (payer) DO UPDATE SET channel = excluded.channel, at = excluded.at \
         WHERE excluded.at >= payer_channels.at)"
    ));
    format!(
        "WITH {ctes} SELECT ARRAY(SELECT id FROM created) FROM (SELECT CASE \
         WHEN NOT EXISTS (SELECT FROM owner_now) THEN refuse('{FENCED}', 'another epoch') \
         WHEN (SELECT COUNT(*) FROM moved) <> cardinality(${moved_ids}::uuid[]) THEN refuse('{CONFLICT}', \
         COALESCE((SELECT n.id::text \
         FROM unnest(${moved_ids}::uuid[]) AS n (id) WHERE (n.id IN (SELECT id FROM moved)) IS NOT TRUE LIMIT 1), \
         'an order has two steps in one group')) \
         ELSE TRUE END AS holds) agreed WHERE agreed.holds",
        ctes = ctes.join(", ")
    )
}

/// One column of some rows.
fn column<'r, T, C>(rows: &'r [T], of: impl Fn(&'r T) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}

pub async fn commit(connection: &mut PgConnection, batch: Batch) -> Result<Committed, StoreError> {
    let Batch { created, moved, payers, journal, attempts, captures, entries, outbox, .. } = &batch;
    let Batch { delivered, undelivered, inbox, inbox_done, answers, paid_by, .. } = &batch;
    let ask = query_scalar::<_, Vec<Uuid>>(AssertSqlSafe(Arc::clone(&COMMIT)))
        .bind(batch.epoch)
        .bind(batch.number)
        .bind(batch.at)
        .bind(column(created, |row| row.head.id))
        .bind(column(created, |row| row.platform_id))
        .bind(column(created, |row| row.merchant_order_id.as_str()))
        .bind(column(created, |row| row.head.state))
        .bind(column(created, |row| row.head.channel))
        .bind(column(created, |row| row.head.version))
        .bind(column(created, |row| row.currency))
        .bind(column(created, |row| row.amount_minor))
        .bind(column(created, |row| row.created_at))
        .bind(column(created, |row| row.expires_at))
        .bind(column(created, |row| row.head.next_due_at))
        .bind(column(created, |row| row.request.as_str()))
        .bind(column(created, |row| row.webhook_url.as_deref()))
        .bind(column(created, |row| row.next_action.as_deref()))
        .bind(column(created, |row| row.head.snapshot.as_str()))
        .bind(column(moved, |row| row.head.id))
        .bind(column(moved, |row| row.expected_version))
        .bind(column(moved, |row| row.head.version))
        .bind(column(moved, |row| row.head.state))
        .bind(column(moved, |row| row.head.channel))
        .bind(column(moved, |row| row.head.next_due_at))
        .bind(column(moved, |row| row.next_action != NextActionChange::Keep))
        .bind(column(moved, |row| match &row.next_action {
            NextActionChange::Keep | NextActionChange::Wipe => None,
            NextActionChange::Store(action) => Some(action.as_ref()),
        }))
        .bind(column(moved, |row| row.head.snapshot.as_str()))
        .bind(column(payers, |row| row.order_id))
        .bind(column(payers, |row| row.ordinal))
        .bind(column(payers, |row| row.payer.as_str()))
        .bind(column(journal, |row| row.order_id))
        .bind(column(journal, |row| row.version))
        .bind(column(journal, |row| row.at))
        .bind(column(journal, |row| row.body.as_slice()))
        .bind(column(attempts, |row| row.order_id))
        .bind(column(attempts, |row| row.ordinal))
        .bind(column(attempts, |row| row.channel))
        .bind(column(attempts, |row| row.account.as_str()))
        .bind(column(attempts, |row| row.payable_minor))
        .bind(column(attempts, |row| row.opened_at))
        .bind(column(attempts, |row| row.frozen.as_str()))
        .bind(column(captures, |row| row.channel))
        .bind(column(captures, |row| row.account.as_str()))
        .bind(column(captures, |row| row.reference.as_str()))
        .bind(column(captures, |row| row.order_id))
        .bind(column(captures, |row| row.ordinal))
        .bind(column(captures, |row| row.currency))
        .bind(column(captures, |row| row.amount_minor))
        .bind(column(captures, |row| row.at))
        .bind(column(entries, |row| row.order_id))
        .bind(column(entries, |row| row.version))
        .bind(column(entries, |row| row.place))
        .bind(column(entries, |row| row.kind))
        .bind(column(entries, |row| row.currency))
        .bind(column(entries, |row| row.at))
        .bind(column(entries, |row| row.lines.as_str()))
        .bind(column(outbox, |row| row.order_id))
        .bind(column(outbox, |row| row.sequence))
        .bind(column(outbox, |row| row.kind))
        .bind(column(outbox, |row| row.at))
        .bind(column(outbox, |row| row.next_at))
        .bind(column(outbox, |row| row.platform_id))
        .bind(column(outbox, |row| row.url.as_ref()))
        .bind(column(outbox, |row| row.trace.as_slice()))
        .bind(column(outbox, |row| row.body.as_ref()))
        .bind(column(delivered, |row| row.0))
        .bind(column(delivered, |row| row.1))
        .bind(column(undelivered, |row| row.order_id))
        .bind(column(undelivered, |row| row.sequence))
        .bind(column(undelivered, |row| row.tries))
        .bind(column(undelivered, |row| row.next_at))
        .bind(column(undelivered, |row| row.why.as_str()))
        .bind(column(inbox, |row| row.reason))
        .bind(column(inbox, |row| row.channel))
        .bind(column(inbox, |row| row.account.as_str()))
        .bind(column(inbox, |row| row.number.as_str()))
        .bind(column(inbox, |row| row.order_id))
        .bind(column(inbox, |row| row.body.as_slice()))
        .bind(column(inbox, |row| row.raw.as_slice()))
        .bind(column(inbox, |row| row.digest.as_slice()))
        .bind(column(inbox, |row| row.at))
        .bind(inbox_done.as_slice())
        .bind(column(answers, |row| row.platform_id))
        .bind(column(answers, |row| row.key.as_str()))
        .bind(column(answers, |row| row.fingerprint.as_slice()))
        .bind(column(answers, |row| row.order_id))
        .bind(column(answers, |row| row.status))
        .bind(column(answers, |row| row.body.as_deref()))
        .bind(column(answers, |row| row.at))
        .bind(column(paid_by, |row| row.payer.as_slice()))
        .bind(column(paid_by, |row| row.channel))
        .bind(column(paid_by, |row| row.at));
    let inserted: HashSet<Uuid> = ask.fetch_one(connection).await.map_err(writing_fault)?.into_iter().collect();
    let losers = created.iter().filter(|row| !inserted.contains(&row.head.id));
    let mut duplicates: Vec<usize> = losers.map(|row| row.place).collect();
    duplicates.sort_unstable();
    Ok(Committed { duplicates })
}
