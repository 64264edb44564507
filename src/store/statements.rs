//! The statements that both databases understand, written once. [`statements!`] makes them methods of a store whose
//! `lanes` lead to its database; `reading_fault` and `writing_fault` of the module it stands in judge their errors.

macro_rules! order_where {
    ($condition:literal) => {
        concat!(
            "SELECT o.id, h.snapshot, h.next_action, h.next_due_at, h.epoch, o.merchant_order_id, o.request, ",
            "o.webhook_url AS order_webhook_url, p.payer, ",
            "(SELECT l.payer FROM payers l WHERE l.order_id = o.id ORDER BY l.ordinal DESC LIMIT 1) AS last_payer ",
            "FROM orders o JOIN heads h ON h.kind = 1 AND h.id = o.id LEFT JOIN payers p ON p.order_id = o.id AND p.ordinal = -1 WHERE ",
            $condition
        )
    };
}

pub const ORDER: &str = order_where!("o.id = $1");
pub const ORDER_TERMS: &str = "SELECT o.platform_id, o.currency, o.amount_minor, b.most_minor AS debt_bound_minor \
     FROM orders o LEFT JOIN debt_bounds b ON b.platform_id = o.platform_id AND b.currency = o.currency WHERE o.id = $1";
pub const ORDER_BY_MERCHANT_ID: &str = order_where!("o.platform_id = $1 AND o.merchant_order_id = $2");
pub const ORDERS_OF_PLATFORM: &str = order_where!("o.platform_id = ");
macro_rules! refund_where {
    ($condition:literal) => {
        concat!(
            "SELECT order_id, ordinal, incarnation, platform_id, merchant_refund_id, currency, amount_minor, ",
            "refundable_minor, fee_minor, fee_policy, parts, reason, channel, account, created_at, state, attention, ",
            "failure, reference, finished_at FROM refunds WHERE ",
            $condition
        )
    };
}

pub const REFUND: &str = refund_where!("order_id = $1 AND ordinal = $2 AND incarnation = $3");
pub const REFUND_BY_MERCHANT_ID: &str = refund_where!("platform_id = $1 AND merchant_refund_id = $2");
pub const REFUNDS: &str = refund_where!("");
/// By way of the platforms, of which the refunds have an index.
pub const ACCOUNTS_OWING: &str = "SELECT DISTINCT r.channel, r.account FROM platforms p \
     JOIN refunds r ON r.platform_id = p.id AND r.state IN ('created', 'submitted')";
pub const TRANSACTIONS_OF_ORDER: &str = "SELECT l.at, l.kind, l.id, l.version, l.entry, l.line, l.transaction_kind, \
     l.account, l.amount_minor, l.currency, l.refund, r.incarnation, l.counterparty, \
     c.name AS counterparty_name, l.effective_at, l.cycle FROM lines l \
     LEFT JOIN refunds r ON l.kind = 1 AND r.order_id = l.id AND r.ordinal = l.refund \
     LEFT JOIN platforms c ON c.id = l.counterparty WHERE +l.platform_id = ";
/// Beside each order when it first had a refund that is stuck.
pub const STUCK_REFUNDS: &str = "SELECT s.order_id AS id, s.since, h.snapshot FROM stuck_refunds s \
     JOIN heads h ON h.kind = 1 AND h.id = s.order_id WHERE s.order_id > $1 ORDER BY s.order_id LIMIT $2";
pub const STUCK_SINCE: &str = "SELECT since FROM stuck_refunds WHERE order_id = $1";
pub const LANES: &str =
    "SELECT lane, epoch, beat, group_number, incarnation, holder, at, next_place, retired FROM lanes ORDER BY lane";
pub const TAKE_LANE: &str = "UPDATE lanes SET epoch = epoch + 1, beat = beat + 1, holder = $6, incarnation = $7 \
     WHERE lane = $1 AND epoch = $2 AND beat = $3 AND group_number = $4 AND holder = $5";
pub const BEAT: &str = "UPDATE lanes SET beat = beat + 1, at = $3 WHERE lane = $1 AND epoch = $2 \
     RETURNING lane, epoch, beat, group_number, incarnation, holder, at, next_place, retired";
pub const BEAT_ALL: &str = "UPDATE lanes SET beat = beat + 1 WHERE epoch = $1";
pub const RELEASE: &str = "UPDATE lanes SET beat = beat + 1, holder = '' WHERE epoch = $1";
pub const RETIRE: &str = "UPDATE lanes SET retired = 1 WHERE lane = $1";
pub const MAKE_LANE: &str = "INSERT INTO lanes (lane, epoch, beat, group_number, incarnation, holder, at, next_place, retired) \
     SELECT $1, epoch, 0, 0, incarnation, holder, at, 0, 0 FROM lanes WHERE lane = $2";
/// A lane that is made goes on in the cycles that are open in another one: nothing of its own is older.
pub const COPY_CUTS: &str = "INSERT INTO cuts (lane, calendar, number, place, at, ends_at, schedule) \
     SELECT $1, c.calendar, c.number, 0, c.at, c.ends_at, c.schedule FROM cuts c WHERE c.lane = $2 \
     AND c.number = (SELECT MAX(l.number) FROM cuts l WHERE l.lane = c.lane AND l.calendar = c.calendar)";
pub const COPY_MEMBERS: &str = "INSERT INTO calendar_members (lane, platform_id, currency, calendar) \
     SELECT $1, platform_id, currency, calendar FROM calendar_members WHERE lane = $2";
pub const BORN: &str = "UPDATE lanes SET next_place = 1 WHERE lane = $1 AND next_place = 0";
pub const BIRTH: &str =
    "INSERT INTO journal (lane, place, kind, id, version, at, body) VALUES ($1, 0, $2, $3, 1, $4, $5)";
pub const KEEP_SETTING: &str = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
pub const PARTITIONS: &str = "SELECT number, lane FROM partitions ORDER BY number";
pub const GIVE_PARTITIONS: &str = "UPDATE partitions SET lane = $1 WHERE number >= $2 AND number < $3";
pub const HEAD: &str = "SELECT version, epoch, state, facet, next_due_at, next_action, snapshot FROM heads \
     WHERE kind = $1 AND id = $2";
pub const HEADS: &str = "SELECT kind, id, snapshot FROM heads \
     WHERE kind = $1 AND id < $2 AND ($3 = '' OR state = $3) ORDER BY id DESC LIMIT $4";
pub const JOURNAL: &str = "SELECT kind, id, version, at, body, lane, place FROM journal WHERE kind = $1 AND id = $2 \
     ORDER BY version";
pub const JOURNAL_PAGE: &str = "SELECT kind, id, version, at, body, lane, place FROM journal \
     WHERE kind = $1 AND id = $2 AND version > $3 ORDER BY version LIMIT $4";
pub const DUE: &str = "SELECT next_due_at, kind, id FROM due \
     WHERE next_due_at <= $1 AND (next_due_at, kind, id) > ($2, $3, $4) ORDER BY next_due_at, kind, id LIMIT $5";
pub const MESSAGES_TO: &str = "SELECT to_kind, to_id, from_kind, from_id, number, at, body FROM messages \
     WHERE to_kind = $1 AND to_id = $2 ORDER BY from_kind, from_id, number";
pub const MESSAGES_DUE: &str = "SELECT to_kind, to_id, from_kind, from_id, number, at, body FROM messages \
     WHERE (to_kind, to_id, from_kind, from_id, number) > ($1, $2, $3, $4, $5) \
     ORDER BY to_kind, to_id, from_kind, from_id, number LIMIT $6";
pub const FROZEN: &str = "SELECT a.frozen, (SELECT p.payer FROM payers p \
     WHERE p.order_id = a.order_id AND p.ordinal <= a.ordinal ORDER BY p.ordinal DESC LIMIT 1) AS payer \
     FROM attempts a WHERE a.order_id = $1 AND a.ordinal = $2";
pub const INBOX: &str = "SELECT id, reason, channel, account, number, order_id, body, raw, digest, at FROM inbox \
     WHERE order_id = $1 ORDER BY id";
pub const INBOX_ROWS: &str = "SELECT id, reason, channel, account, number, order_id, body, raw, digest, at FROM inbox \
     WHERE id > $1 ORDER BY id LIMIT $2";
pub const INBOX_SIZE_OF: &str = "SELECT COUNT(*) FROM inbox WHERE order_id = $1";
pub const INBOX_ORDERS: &str = "SELECT DISTINCT order_id FROM inbox \
     WHERE reason = 'order_quarantined' AND order_id > $1 ORDER BY order_id LIMIT $2";
pub const ANSWER: &str = "SELECT platform_id, key, fingerprint, order_id, status, body, at FROM answers \
     WHERE platform_id = $1 AND key = $2";
pub const FORGET_ANSWERS: &str = "DELETE FROM answers WHERE (platform_id, key) IN \
     (SELECT platform_id, key FROM answers WHERE at < $1 ORDER BY at LIMIT $2)";
pub const LAST_CHANNELS: &str = "SELECT payer, channel, at FROM payer_channels WHERE payer IN (";
pub const FORGET_LAST_CHANNELS: &str = "DELETE FROM payer_channels WHERE payer IN \
     (SELECT payer FROM payer_channels WHERE at < $1 ORDER BY at LIMIT $2)";
/// Outbox rows with all that their delivery needs; one whose platform is not there is seen all the same.
pub const OUTBOX: &str = "SELECT x.kind, x.id, x.sequence, x.webhook_kind, x.at, x.tries, x.next_at, \
     x.platform_id, x.url, x.trace, x.body, f.webhook_secret FROM outbox x LEFT JOIN platforms f ON f.id = x.platform_id \
     WHERE x.next_at <= $1 AND (x.next_at, x.kind, x.id, x.sequence) > ($2, $3, $4, $5) \
     ORDER BY x.next_at, x.kind, x.id, x.sequence LIMIT $6";
pub const DEAD_LETTERS: &str = "SELECT kind, id, sequence, webhook_kind, at, tries, why FROM outbox \
     WHERE next_at IS NULL AND (kind, id, sequence) > ($1, $2, $3) ORDER BY kind, id, sequence LIMIT $4";
pub const HASTEN: &str = "UPDATE outbox SET next_at = next_at - $1 WHERE next_at > $2";
pub const PLATFORM_BY_KEY: &str = "SELECT f.id AS platform_id, f.name, f.fee_bearer, f.webhook_secret, f.webhook_url \
     FROM keys k JOIN platforms f ON f.id = k.platform_id WHERE k.hash = $1 AND k.revoked_at IS NULL";
pub const PLATFORM_BY_NAME: &str = "SELECT id AS platform_id, name, fee_bearer, webhook_secret, webhook_url \
     FROM platforms WHERE name = $1";
pub const PLATFORMS: &str = "SELECT id AS platform_id, name, fee_bearer, webhook_secret, webhook_url \
     FROM platforms ORDER BY id";
pub const PLATFORM: &str = "SELECT id AS platform_id, name, fee_bearer, webhook_secret, webhook_url \
     FROM platforms WHERE id = $1";
pub const DEBT_BOUND: &str = "SELECT most_minor FROM debt_bounds \
     WHERE platform_id = $1 AND currency = $2 AND most_minor IS NOT NULL";
pub const SHARE_RECEIVERS: &str = "SELECT f.id AS platform_id, f.name FROM platforms f \
     JOIN share_consents c ON c.platform_id = f.id AND c.from_id = ";
pub const SHARE_CONSENTS: &str = "SELECT platform_id, from_id FROM share_consents ORDER BY platform_id, from_id";
pub const LAST_PLATFORM: &str = "SELECT id AS platform_id FROM platforms ORDER BY id DESC LIMIT 1";
pub const KEY_OWNER: &str = "SELECT platform_id FROM keys WHERE hash = $1";
pub const KEYS: &str = "SELECT platform_id, hash, hint, created_at, revoked_at FROM keys WHERE platform_id = $1 \
     ORDER BY created_at, hash";
pub const OPERATOR_BY_KEY: &str = "SELECT o.id AS operator_id, o.name, o.role, k.hash, k.hint, k.expires_at \
     FROM operator_keys k JOIN operators o ON o.id = k.operator_id WHERE k.hash = $1 AND k.revoked_at IS NULL";
pub const OPERATOR_BY_NAME: &str = "SELECT id AS operator_id, name, role FROM operators WHERE name = $1";
pub const OPERATORS: &str = "SELECT id AS operator_id, name, role FROM operators ORDER BY id";
pub const LAST_OPERATOR: &str = "SELECT id AS operator_id FROM operators ORDER BY id DESC LIMIT 1";
pub const OPERATOR_KEY_OWNER: &str = "SELECT operator_id FROM operator_keys WHERE hash = $1";
pub const OPERATOR_KEYS: &str = "SELECT operator_id, hash, hint, created_at, expires_at, revoked_at FROM operator_keys \
     WHERE operator_id = $1 ORDER BY created_at, hash";
pub const OPERATORS_IN_FORCE: &str = "SELECT COUNT(DISTINCT o.id) FROM operators o JOIN operator_keys k ON k.operator_id = o.id \
     WHERE o.role = $1 AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $2)";
pub const OPERATOR_ACTS: &str = "SELECT id, at, operator, act, subject, outcome FROM operator_acts \
     WHERE id < $1 ORDER BY id DESC LIMIT $2";
/// An update that changes nothing, because only a row that was written is returned.
pub const SETTING: &str = "INSERT INTO settings (name, value) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET value = settings.value RETURNING value";
pub const KEPT_SETTING: &str = "SELECT value FROM settings WHERE name = $1";
pub const COUNTS_BY_STATE: &str = "SELECT state AS name, COUNT(*) AS count FROM heads WHERE kind = 1 \
     GROUP BY state ORDER BY state";
pub const SCAN: &str = "SELECT id, snapshot FROM heads WHERE kind = 1 AND id > $1 ORDER BY id LIMIT $2";
pub const SCAN_FROM_START: &str = "SELECT id, snapshot FROM heads WHERE kind = 1 ORDER BY id LIMIT $1";
pub const LINES: &str = "SELECT version, entry, entry_kind, account, currency, amount_minor, effective_at, bill_day, \
     transaction_kind, counterparty, refund FROM lines \
     WHERE kind = $1 AND id = $2 ORDER BY version, entry, line";
/// The last sums, of which a condition on `a` says which.
macro_rules! balances_where {
    ($condition:literal) => {
        concat!(
            "SELECT a.lane, a.account, a.currency, a.cycle, a.heading, a.counterparty, ",
            "(SELECT b.amount_minor FROM balances b WHERE b.lane = a.lane AND b.account = a.account ",
            "AND b.currency = a.currency AND b.cycle = a.cycle AND b.heading = a.heading ",
            "AND b.counterparty = a.counterparty ORDER BY b.place DESC LIMIT 1) AS amount_minor ",
            "FROM ledger_accounts a",
            $condition
        )
    };
}

pub const BALANCES: &str = balances_where!("");
pub const BALANCES_OF_LANE: &str = balances_where!(" WHERE a.lane = $1");
pub const SUMS_OF_CYCLE: &str = balances_where!(" WHERE a.cycle = $1 AND a.account IN ($2, $3, $4)");
pub const ACCOUNTS_OF_CYCLE: &str = "SELECT DISTINCT account FROM ledger_accounts WHERE cycle = $1 AND account > $2 \
     ORDER BY account LIMIT $3";
pub const CUTS_OF_CYCLE: &str = "SELECT lane, place FROM cuts WHERE calendar = $1 AND number = $2 ORDER BY lane";
pub const BOOKED_CURRENCIES: &str = "SELECT DISTINCT currency FROM ledger_accounts ORDER BY currency";
pub const STREAMS: &str = "SELECT id, version, epoch, state, facet, next_due_at, next_action, snapshot FROM heads \
     WHERE kind = $1 AND id > $2 ORDER BY id LIMIT $3";
/// The columns of a settlement.
macro_rules! settlements_where {
    ($condition:literal) => {
        concat!(
            "SELECT platform_id, cycle, currency, number, starts_at, ends_at, closed_at, totals, state, payout, ",
            "(SELECT n.netted_at FROM settlements_netted n WHERE n.platform_id = settlements.platform_id ",
            "AND n.cycle = settlements.cycle) AS netted_at ",
            "FROM settlements WHERE platform_id = $1 ",
            $condition
        )
    };
}

pub const PAYOUT: &str = "SELECT platform_id, currency, number, body FROM payouts \
     WHERE platform_id = $1 AND currency = $2 AND number = $3";
pub const PAYOUTS: &str = "SELECT platform_id, currency, number, body FROM payouts \
     WHERE ($1 IS NULL OR state = $1) AND ($2 IS NULL OR platform_id = $2) AND ($3 IS NULL OR file = $3) \
     AND ($4 IS NULL OR currency = $4) AND (platform_id, currency, number) > ($5, $6, $7) \
     ORDER BY platform_id, currency, number LIMIT $8";
pub const LEAVING_BANK: &str = "SELECT CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM payouts \
     WHERE bank = $1 AND currency = $2 AND state IN ('exported', 'unknown')";
pub const BANK_DETAILS: &str = "SELECT details, in_force_at FROM bank_details \
     WHERE platform_id = $1 AND currency = $2 AND number = $3";
pub const CLOSED_CYCLES: &str = "SELECT platform_id, cycle FROM settlements ORDER BY platform_id, cycle";
/// By way of an index of the cycles.
pub const SETTLEMENTS_OF_CYCLE: &str = "SELECT platform_id, cycle, currency, number, starts_at, ends_at, closed_at, totals, \
     state, payout, (SELECT n.netted_at FROM settlements_netted n WHERE n.platform_id = settlements.platform_id \
     AND n.cycle = settlements.cycle) AS netted_at \
     FROM settlements WHERE cycle = $1 AND platform_id > $2 ORDER BY platform_id LIMIT $3";
/// All lanes have the same; the first one is always there.
pub const CALENDAR_OF: &str =
    "SELECT calendar FROM calendar_members WHERE lane = 1 AND platform_id = $1 AND currency = $2";
pub const SETTLEMENT: &str = settlements_where!("AND cycle = $2");
/// The newest first, of one currency.
pub const SETTLEMENTS: &str = settlements_where!(
    "AND currency = $2 AND number < $3 AND ($4 IS NULL OR state = $4) ORDER BY number DESC LIMIT $5"
);
pub const TOTALS_OF_CYCLE: &str = "SELECT platform_id, totals FROM settlements WHERE cycle = $1 AND platform_id > $2 \
     ORDER BY platform_id LIMIT $3";
/// The newest first.
pub const NETTINGS_OF_PLATFORM: &str = "SELECT made_at, cycle, number FROM netting_parties WHERE platform_id = $1 \
     AND (made_at, cycle, number) < ($2, $3, $4) ORDER BY made_at DESC, cycle DESC, number DESC LIMIT $5";
pub const BALANCES_OF_PLATFORM: &str =
    balances_where!(" WHERE a.lane IN (SELECT lane FROM lanes) AND a.account IN ($1, $2, $3, $4, $5, $6)");
/// By the sign of lines too: what a line is to its platform may hang on that.
pub const SUMS_OF_LINES: &str = "SELECT lane, kind, account, currency, cycle, transaction_kind, counterparty, CAST(SUM(amount_minor) AS BIGINT) AS amount_minor \
     FROM lines GROUP BY lane, kind, account, currency, cycle, transaction_kind, counterparty, amount_minor > 0";
pub const CUTS_OF_LANE: &str = "SELECT c.calendar, c.number, c.ends_at, c.schedule FROM cuts c WHERE c.lane = $1 \
     AND c.number = (SELECT MAX(l.number) FROM cuts l WHERE l.lane = c.lane AND l.calendar = c.calendar)";
pub const LANE_VERSION: &str =
    "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM journal WHERE kind = 0 AND id = $1";
pub const MEMBERS_OF_LANE: &str = "SELECT platform_id, currency, calendar FROM calendar_members WHERE lane = $1";
pub const BALANCES_AT: &str = "SELECT account, currency, CAST(SUM(amount_minor) AS BIGINT) AS amount_minor FROM lines \
     WHERE at <= $1 GROUP BY account, currency ORDER BY account, currency";
pub const LEDGER_LINES: &str = "SELECT kind, id, version, entry_kind, transaction_kind, counterparty, currency, amount_minor, \
     at, effective_at, bill_day FROM lines WHERE account = $1 AND at <= $2 \
     ORDER BY at DESC, kind DESC, id DESC, version DESC, entry DESC, line DESC LIMIT $3";
/// By way of the journal, whose places are what a page is cut by: no index of the lines is kept for this.
pub const BOOKED_LINES: &str = "SELECT l.kind, l.id, l.version, l.entry, l.line, l.at, l.lane, l.place, l.entry_kind, \
     l.account, l.currency, l.amount_minor, l.transaction_kind, l.counterparty, l.cycle, l.effective_at, l.bill_day \
     FROM journal j JOIN lines l ON l.kind = j.kind AND l.id = j.id AND l.version = j.version \
     WHERE j.lane = $1 AND j.place >= $2 AND j.place < $3 AND l.at >= $4 AND l.at < $5 \
     ORDER BY j.place, l.entry, l.line";
pub const PLACES: &str = "SELECT lane, COUNT(*) AS count, MIN(place) AS first, MAX(place) AS last FROM journal \
     GROUP BY lane ORDER BY lane";
pub const OUTBOX_SIZE: &str = "SELECT COUNT(*) FROM outbox";
pub const INBOX_SIZE: &str = "SELECT COUNT(*) FROM inbox";

/// The ways to put one statement to a store.
macro_rules! questions {
    ($store:ident, $database:ty) => {
        type Ask<C> = sqlx::query::QueryAs<'static, $database, C, <$database as sqlx::Database>::Arguments>;
        type Change = sqlx::query::Query<'static, $database, <$database as sqlx::Database>::Arguments>;

        /// A row of this database that is read as a value.
        trait Columns:
            Readable<Value: Send> + for<'r> sqlx::FromRow<'r, <$database as sqlx::Database>::Row> + Send + Unpin + 'static
        {
        }
        impl<C> Columns for C where
            C: Readable<Value: Send>
                + for<'r> sqlx::FromRow<'r, <$database as sqlx::Database>::Row>
                + Send
                + Unpin
                + 'static
        {
        }

        fn read_row<C: Columns>(row: &<$database as sqlx::Database>::Row) -> Result<C::Value, StoreError> {
            C::from_row(row).map_err(reading_fault).and_then(C::read)
        }

        fn seen<K: Columns, C: Columns>(row: &<$database as sqlx::Database>::Row) -> Seen<K::Value, C::Value> {
            Seen { key: read_row::<K>(row).ok(), value: read_row::<C>(row) }
        }

        /// Writes the first row of the journals of lanes that have none yet.
        async fn bear(
            transaction: &mut sqlx::Transaction<'_, $database>,
            at: Option<Instant>,
        ) -> Result<(), StoreError> {
            let owner = owner_within(transaction).await?;
            let mut told = Vec::new();
            for name in [STORE_ID, MODE] {
                let ask = query_scalar::<_, String>(KEPT_SETTING).bind(name.to_owned());
                told.push(ask.fetch_one(&mut **transaction).await.map_err(writing_fault)?);
            }
            for row in owner.lanes {
                let lane = i64::from(row.lane.0);
                let born = query(BORN).bind(lane).execute(&mut **transaction).await.map_err(writing_fault)?;
                if born.rows_affected() == 0 {
                    continue;
                }
                let title = Title::of_birth(row.lane.0, at.unwrap_or(row.at));
                let event = LaneEvent::Born { mode: told[1].as_str().into(), store: told[0].as_str().into() };
                let body = title.write(Salt(rand::random()), &[event]);
                let body = body.map_err(|error| StoreError::Corrupt(format!("a birth cannot be written: {error}")))?;
                let (kind, id) = stream_key(title.stream);
                let birth = query(BIRTH).bind(lane).bind(kind).bind(id).bind(title.at.0).bind(body);
                birth.execute(&mut **transaction).await.map_err(writing_fault)?;
            }
            Ok(())
        }

        /// Gives a store that was just made what it keeps for ever.
        async fn give_birth(
            connection: &mut <$database as sqlx::Database>::Connection,
            birth: Birth,
        ) -> Result<(), StoreError> {
            let mut transaction = connection.begin().await.map_err(writing_fault)?;
            let id = format!("{:032x}", rand::random::<u128>());
            for (name, value) in [(STORE_ID, id), (MODE, birth.mode.to_owned())] {
                let keep = query(KEEP_SETTING).bind(name.to_owned()).bind(value);
                keep.execute(&mut *transaction).await.map_err(writing_fault)?;
            }
            bear(&mut transaction, Some(birth.at)).await?;
            transaction.commit().await.map_err(writing_fault)
        }

        async fn owner_within(
            transaction: &mut sqlx::Transaction<'_, $database>,
        ) -> Result<Owner, StoreError> {
            let ask = query_as::<_, LaneColumns>(LANES).fetch_all(&mut **transaction);
            Owner::of(read_all(ask.await.map_err(writing_fault)?)?)
        }

        impl $store {
            fn all<C: Columns>(&self, ask: Ask<C>) -> Reply<'_, Vec<C::Value>> {
                Box::pin(async move {
                    let read = |pool| async move { ask.fetch_all(&pool).await.map_err(reading_fault) };
                    self.lanes.read(read).await.and_then(read_all)
                })
            }

            /// All rows, each for itself: `K` reads what a row is found by, `C` the rest of it.
            fn each<K: Columns, C: Columns>(&self, ask: Change) -> Reply<'_, Vec<Seen<K::Value, C::Value>>> {
                Box::pin(async move {
                    let read = |pool| async move { ask.fetch_all(&pool).await.map_err(reading_fault) };
                    let rows = self.lanes.read(read).await?;
                    Ok(rows.iter().map(seen::<K, C>).collect())
                })
            }

            /// All rows that can be read.
            fn readable<C: Columns>(&self, table: &'static str, ask: Change) -> Reply<'_, Vec<C::Value>> {
                Box::pin(async move {
                    let read = |pool| async move { ask.fetch_all(&pool).await.map_err(reading_fault) };
                    let rows = self.lanes.read(read).await?;
                    Ok(rows.iter().filter_map(|row| passed_over(table, read_row::<C>(row))).collect())
                })
            }

            fn one<C: Columns>(&self, ask: Ask<C>) -> Reply<'_, C::Value> {
                Box::pin(async move {
                    let read = |pool| async move { ask.fetch_one(&pool).await.map_err(reading_fault) };
                    self.lanes.read(read).await.and_then(C::read)
                })
            }

            fn maybe<C: Columns>(&self, ask: Ask<C>) -> Reply<'_, Option<C::Value>> {
                Box::pin(async move {
                    let read = |pool| async move { ask.fetch_optional(&pool).await.map_err(reading_fault) };
                    self.lanes.read(read).await?.map(C::read).transpose()
                })
            }

            /// Writes, and reads what was written. The statement runs to its end: cut off after its first row, it
            /// would commit unseen, and a commit that fails would be told as one that succeeded.
            fn written<C: Columns>(&self, ask: Ask<C>) -> Reply<'_, Option<C::Value>> {
                Box::pin(async move {
                    let rows: Vec<C> = self
                        .lanes
                        .write(LaneId::FIRST, move |connection| {
                            Box::pin(async move { ask.fetch_all(connection).await.map_err(writing_fault) })
                        })
                        .await?;
                    rows.into_iter().next().map(C::read).transpose()
                })
            }

            /// Writes; how many rows.
            fn change(&self, change: Change) -> Reply<'_, u64> {
                Box::pin(self.lanes.write(LaneId::FIRST, move |connection| {
                    Box::pin(async move {
                        let done = change.execute(connection).await.map_err(writing_fault)?;
                        Ok(done.rows_affected())
                    })
                }))
            }
        }
    };
}

/// The methods of [`Store`](super::Store) that are the same for both databases: all but `migrate`, `commit`, and what an
/// order is brought back by (`order`, `frozen`). The totals by channel have a statement in the module, under the name `CHANNEL_TOTALS`.
macro_rules! statements {
    ($database:ty) => {
        fn refusals(&self) -> u64 {
            self.lanes.refusals()
        }

        fn owner(&self) -> Reply<'_, Owner> {
            let ask = self.all(query_as::<_, LaneColumns>(LANES));
            Box::pin(async move { Owner::of(ask.await?) })
        }

        fn take_over<'a>(&'a self, seen: &'a Owner, holder: &'a str) -> Reply<'a, Option<Owner>> {
            let drawn = seen.incarnation.another(rand::random_range(0..Incarnation::COUNT - 1));
            let (lanes, holder) = (seen.lanes.clone(), holder.to_owned());
            Box::pin(self.lanes.write(LaneId::FIRST, move |connection| {
                Box::pin(async move {
                    let mut transaction = connection.begin().await.map_err(writing_fault)?;
                    for seen in lanes {
                        let change = query(TAKE_LANE).bind(i64::from(seen.lane.0));
                        let change = change.bind(seen.epoch).bind(seen.beat).bind(seen.group).bind(seen.holder);
                        let change = change.bind(holder.clone()).bind(i64::from(u16::from(drawn)));
                        let done = change.execute(&mut *transaction).await.map_err(writing_fault)?;
                        if done.rows_affected() == 0 {
                            transaction.rollback().await.map_err(writing_fault)?;
                            return Ok(None);
                        }
                    }
                    let owner = owner_within(&mut transaction).await?;
                    transaction.commit().await.map_err(writing_fault)?;
                    Ok(Some(owner))
                })
            }))
        }

        fn divide(&self, epoch: i64, count: u16) -> Reply<'_, Owner> {
            Box::pin(self.lanes.write(LaneId::FIRST, move |connection| {
                Box::pin(async move {
                    let mut transaction = connection.begin().await.map_err(writing_fault)?;
                    let beaten = query(BEAT_ALL).bind(epoch).execute(&mut *transaction).await.map_err(writing_fault)?;
                    if beaten.rows_affected() == 0 {
                        transaction.rollback().await.map_err(writing_fault)?;
                        return Err(StoreError::Fenced);
                    }
                    let division = Division::of(&owner_within(&mut transaction).await?, count);
                    let mut changes = Vec::new();
                    for lane in division.retired {
                        changes.push(query(RETIRE).bind(i64::from(lane.0)));
                    }
                    for lane in division.made {
                        for statement in [MAKE_LANE, COPY_CUTS, COPY_MEMBERS] {
                            changes.push(query(statement).bind(i64::from(lane.0)).bind(i64::from(LaneId::FIRST.0)));
                        }
                    }
                    for (lane, share) in division.shares {
                        let change = query(GIVE_PARTITIONS).bind(i64::from(lane.0));
                        changes.push(change.bind(i64::from(share.start)).bind(i64::from(share.end)));
                    }
                    for change in changes {
                        change.execute(&mut *transaction).await.map_err(writing_fault)?;
                    }
                    bear(&mut transaction, None).await?;
                    let owner = owner_within(&mut transaction).await?;
                    transaction.commit().await.map_err(writing_fault)?;
                    Ok(owner)
                })
            }))
        }

        fn partitions(&self) -> Reply<'_, Vec<(Partition, LaneId)>> {
            self.all(query_as::<_, PartitionColumns>(PARTITIONS))
        }

        fn beat(&self, lane: LaneId, epoch: i64, at: Instant) -> Reply<'_, LaneRow> {
            let ask = query_as::<_, LaneColumns>(BEAT).bind(i64::from(lane.0)).bind(epoch).bind(at.0);
            let work = self.lanes.write(lane, move |connection| {
                Box::pin(async move { ask.fetch_all(connection).await.map_err(writing_fault) })
            });
            Box::pin(async move {
                let row = work.await?.into_iter().next().ok_or(StoreError::Fenced)?;
                LaneColumns::read(row)
            })
        }

        fn release(&self, epoch: i64) -> Reply<'_, ()> {
            Box::pin(async move {
                match self.change(query(RELEASE).bind(epoch)).await? {
                    0 => Err(StoreError::Fenced),
                    _ => Ok(()),
                }
            })
        }

        fn order_by_merchant_id<'a>(&'a self, platform: PlatformId, id: &'a str) -> Reply<'a, Option<StoredOrder>> {
            let ask = query_as::<_, OrderColumns>(ORDER_BY_MERCHANT_ID).bind(i64::from(platform.0));
            self.maybe(ask.bind(id.to_owned()))
        }

        fn orders<'a>(&'a self, filter: &'a OrderFilter) -> Reply<'a, Vec<Seen<OrderId, StoredOrder>>> {
            let mut ask = QueryBuilder::<$database>::new(ORDERS_OF_PLATFORM);
            ask.push_bind(i64::from(filter.platform.0));
            if let Some(id) = &filter.merchant_order_id {
                ask.push(" AND o.merchant_order_id = ").push_bind(id.clone());
            }
            if let Some(state) = filter.state {
                ask.push(" AND h.state = ").push_bind(state.name());
            }
            if let Some(channel) = filter.channel {
                ask.push(" AND h.facet = ").push_bind(channel.name());
            }
            if let Some(after) = filter.created_after {
                ask.push(" AND o.created_at > ").push_bind(after.0);
            }
            if let Some(before) = filter.created_before {
                ask.push(" AND o.created_at < ").push_bind(before.0);
            }
            if let Some(id) = filter.before {
                ask.push(" AND o.id < ").push_bind(key(id));
            }
            ask.push(" ORDER BY o.id DESC LIMIT ").push_bind(i64::from(filter.limit));
            Box::pin(async move {
                let read = |pool| async move { ask.build().fetch_all(&pool).await.map_err(reading_fault) };
                let rows = self.lanes.read(read).await?;
                Ok(rows.iter().map(seen::<IdColumn, OrderColumns>).collect())
            })
        }

        fn refunds<'a>(&'a self, filter: &'a RefundFilter) -> Reply<'a, Vec<Seen<RefundPlace, StoredRefund>>> {
            if filter.order.is_none() && filter.merchant_refund_id.is_none() {
                let statement = if filter.state.is_some() { &pages::REFUNDS_OF_STATE } else { &pages::REFUNDS };
                let ask = query(statement.as_str()).bind(i64::from(filter.platform.0));
                let (created_at, order, ordinal) = pages::before_refund(filter);
                let ask = ask.bind(filter.created_after.map_or(i64::MIN, |after| after.0));
                let ask = ask.bind(created_at).bind(order).bind(ordinal).bind(i64::from(filter.limit));
                return self.each::<RefundKeyColumns, RefundColumns>(match filter.state {
                    Some(state) => ask.bind(state.name()),
                    None => ask,
                });
            }
            // An order has few refunds, and a name one. The plus keeps them from being looked for among all of the
            // platform's.
            let mut ask = QueryBuilder::<$database>::new(REFUNDS);
            ask.push(if filter.order.is_some() { "+platform_id = " } else { "platform_id = " });
            ask.push_bind(i64::from(filter.platform.0));
            if let Some(id) = &filter.merchant_refund_id {
                ask.push(" AND merchant_refund_id = ").push_bind(id.clone());
            }
            if let Some(order) = filter.order {
                ask.push(" AND order_id = ").push_bind(key(order));
            }
            if let Some(state) = filter.state {
                ask.push(" AND state = ").push_bind(state.name());
            }
            if let Some(after) = filter.created_after {
                ask.push(" AND created_at > ").push_bind(after.0);
            }
            if let Some(before) = filter.created_before {
                ask.push(" AND created_at < ").push_bind(before.0);
            }
            if let Some((created_at, order, ordinal)) = filter.before {
                ask.push(" AND (created_at, order_id, ordinal) < (").push_bind(created_at.0);
                ask.push(", ").push_bind(key(order)).push(", ").push_bind(i64::from(u8::from(ordinal))).push(")");
            }
            ask.push(" ORDER BY created_at DESC, order_id DESC, ordinal DESC LIMIT ");
            ask.push_bind(i64::from(filter.limit));
            Box::pin(async move {
                let read = |pool| async move { ask.build().fetch_all(&pool).await.map_err(reading_fault) };
                let rows = self.lanes.read(read).await?;
                Ok(rows.iter().map(seen::<RefundKeyColumns, RefundColumns>).collect())
            })
        }

        fn stuck_refunds(&self, after: Option<OrderId>, limit: u32) -> Reply<'_, Vec<Seen<OrderId, (Instant, Order)>>> {
            let ask = query(STUCK_REFUNDS).bind(after.map_or(Uuid::nil(), key)).bind(i64::from(limit));
            self.each::<IdColumn, StuckColumns>(ask)
        }

        fn stuck_since(&self, order: OrderId) -> Reply<'_, Option<Instant>> {
            let ask = query_as::<_, NumberColumn>(STUCK_SINCE).bind(key(order));
            Box::pin(async move { Ok(self.maybe(ask).await?.map(Instant)) })
        }

        fn balances_at(&self, at: Instant) -> Reply<'_, Vec<Balance>> {
            self.all(query_as::<_, Balance>(BALANCES_AT).bind(at.0))
        }

        fn ledger_lines<'a>(
            &'a self,
            account: &'a LedgerAccount,
            at: Instant,
            limit: u32,
        ) -> Reply<'a, Vec<LedgerLine>> {
            let ask = query_as::<_, LedgerLineColumns>(LEDGER_LINES).bind(account.to_string()).bind(at.0);
            self.all(ask.bind(i64::from(limit)))
        }

        fn booked_lines<'a>(&'a self, span: &'a BookedSpan) -> Reply<'a, Vec<BookedLine>> {
            let ask = query_as::<_, BookedLineColumns>(BOOKED_LINES).bind(i64::from(span.lane.0));
            let ask = ask.bind(span.places.start).bind(span.places.end);
            self.all(ask.bind(span.from.0).bind(span.until.0))
        }

        fn cuts(&self, cycle: CycleId) -> Reply<'_, Vec<Cover>> {
            let ask = query_as::<_, CoverColumns>(CUTS_OF_CYCLE).bind(i64::from(cycle.calendar.0));
            self.all(ask.bind(i64::from(cycle.number)))
        }

        fn accounts_of_cycle<'a>(&'a self, cycle: CycleId, after: &'a str, limit: u32) -> Reply<'a, Vec<String>> {
            let ask = query_as::<_, NameColumn>(ACCOUNTS_OF_CYCLE).bind(cycle.as_number()).bind(after.to_owned());
            self.all(ask.bind(i64::from(limit)))
        }

        fn sums_of_cycle(&self, platform: PlatformId, cycle: CycleId) -> Reply<'_, Vec<LaneBalance>> {
            let accounts = [LedgerAccount::Platform, LedgerAccount::FeesDue, LedgerAccount::Position];
            let ask = query_as::<_, LaneBalance>(SUMS_OF_CYCLE).bind(cycle.as_number());
            self.all(accounts.into_iter().fold(ask, |ask, account| ask.bind(account(platform).to_string())))
        }

        fn booked_currencies(&self) -> Reply<'_, Vec<String>> {
            self.all(query_as::<_, NameColumn>(BOOKED_CURRENCIES))
        }

        fn streams(&self, kind: Kind, after: u128, limit: u32) -> Reply<'_, Vec<Seen<u128, StoredHead>>> {
            let ask = query(STREAMS).bind(i64::from(kind.0)).bind(Uuid::from_u128(after)).bind(i64::from(limit));
            self.each::<StreamIdColumn, HeadColumns>(ask)
        }

        fn settlement(&self, platform: PlatformId, cycle: CycleId) -> Reply<'_, Option<StoredSettlement>> {
            let ask = query_as::<_, SettlementColumns>(SETTLEMENT).bind(i64::from(platform.0)).bind(cycle.as_number());
            self.maybe(ask)
        }

        fn payout(&self, payee: PayeeId, number: u32) -> Reply<'_, Option<PayoutRow>> {
            let ask = query_as::<_, PayoutColumns>(PAYOUT).bind(i64::from(payee.platform.0));
            self.maybe(ask.bind(payee.currency.code()).bind(i64::from(number)))
        }

        fn payouts<'a>(&'a self, filter: &'a PayoutFilter) -> Reply<'a, Vec<PayoutRow>> {
            let ask = query_as::<_, PayoutColumns>(PAYOUTS).bind(filter.state.map(PayoutState::name));
            let ask = ask.bind(filter.platform.map(|platform| i64::from(platform.0))).bind(filter.file.clone());
            let ask = ask.bind(filter.currency.map(Currency::code));
            let (platform, currency, number) = match filter.after {
                Some((payee, number)) => (i64::from(payee.platform.0), payee.currency.code(), i64::from(number)),
                None => (-1, "", 0),
            };
            self.all(ask.bind(platform).bind(currency).bind(number).bind(i64::from(filter.limit)))
        }

        fn leaving_bank<'a>(&'a self, bank: &'a BankName, currency: Currency) -> Reply<'a, i64> {
            let ask = query_as::<_, NumberColumn>(LEAVING_BANK).bind(bank.as_str().to_owned()).bind(currency.code());
            Box::pin(async move { Ok(self.maybe(ask).await?.unwrap_or_default()) })
        }

        fn bank_details(&self, payee: PayeeId, number: u32) -> Reply<'_, Option<StoredBankDetails>> {
            let ask = query_as::<_, BankDetailsColumns>(BANK_DETAILS).bind(i64::from(payee.platform.0));
            self.maybe(ask.bind(payee.currency.code()).bind(i64::from(number)))
        }

        fn settlements_of_cycle(
            &self,
            cycle: CycleId,
            after: PlatformId,
            limit: u32,
        ) -> Reply<'_, Vec<StoredSettlement>> {
            let ask = query_as::<_, SettlementColumns>(SETTLEMENTS_OF_CYCLE).bind(cycle.as_number());
            self.all(ask.bind(i64::from(after.0)).bind(i64::from(limit)))
        }

        fn calendar_of(&self, platform: PlatformId, currency: Currency) -> Reply<'_, CalendarId> {
            let ask = query_as::<_, NumberColumn>(CALENDAR_OF).bind(i64::from(platform.0)).bind(currency.code());
            Box::pin(async move {
                let Some(own) = self.maybe(ask).await? else { return Ok(CalendarId::of_currency(currency)) };
                let own = u32::try_from(own).map(CalendarId);
                own.map_err(|_| StoreError::Corrupt(format!("the calendar of platform {} cannot be read", platform.0)))
            })
        }

        fn closed_cycles(&self) -> Reply<'_, Vec<(PlatformId, CycleId)>> {
            self.all(query_as::<_, ClosedColumns>(CLOSED_CYCLES))
        }

        fn settlements<'a>(&'a self, filter: &'a SettlementFilter) -> Reply<'a, Vec<StoredSettlement>> {
            let ask = query_as::<_, SettlementColumns>(SETTLEMENTS).bind(i64::from(filter.platform.0));
            let ask = ask.bind(filter.currency.code()).bind(filter.before.map_or(i64::MAX, i64::from));
            self.all(ask.bind(filter.state.map(SettlementState::name)).bind(i64::from(filter.limit)))
        }

        fn totals_of_cycle(
            &self,
            cycle: CycleId,
            after: PlatformId,
            limit: u32,
        ) -> Reply<'_, Vec<(PlatformId, Totals)>> {
            let ask = query_as::<_, TotalsColumns>(TOTALS_OF_CYCLE).bind(cycle.as_number());
            self.all(ask.bind(i64::from(after.0)).bind(i64::from(limit)))
        }

        fn nettings_of_platform(
            &self,
            platform: PlatformId,
            before: Option<NettingPlace>,
            limit: u32,
        ) -> Reply<'_, Vec<NettingPlace>> {
            let (made_at, cycle, number) =
                before.map_or((i64::MAX, 0, 0), |(at, cycle, number)| (at.0, cycle.as_number(), i64::from(number)));
            let ask = query_as::<_, NettingPlaceColumns>(NETTINGS_OF_PLATFORM).bind(i64::from(platform.0));
            self.all(ask.bind(made_at).bind(cycle).bind(number).bind(i64::from(limit)))
        }

        fn balances_of_platform(&self, platform: PlatformId) -> Reply<'_, Vec<LaneBalance>> {
            let accounts = [
                LedgerAccount::Platform,
                LedgerAccount::FeesDue,
                LedgerAccount::Settlement,
                LedgerAccount::Held,
                LedgerAccount::Position,
                LedgerAccount::Netting,
            ];
            let ask = query_as::<_, LaneBalance>(BALANCES_OF_PLATFORM);
            self.all(accounts.into_iter().fold(ask, |ask, account| ask.bind(account(platform).to_string())))
        }

        fn statement_lines<'a>(
            &'a self,
            filter: &'a StatementFilter,
        ) -> Reply<'a, Vec<Seen<TransactionPlace, StoredTransaction>>> {
            let ask = query(pages::STATEMENT_LINES.as_str()).bind(i64::from(filter.platform.0));
            let ask = ask.bind(filter.kind.name()).bind(filter.until.0);
            let (at, kind, id, version, entry, line) = pages::after_line(filter);
            let ask = ask.bind(at).bind(kind).bind(id).bind(version).bind(entry).bind(line);
            self.each::<LineKeyColumns, TransactionColumns>(ask.bind(i64::from(filter.limit)))
        }

        fn transactions<'a>(
            &'a self,
            filter: &'a TransactionFilter,
        ) -> Reply<'a, Vec<Seen<TransactionPlace, StoredTransaction>>> {
            if filter.order.is_none() && filter.refund.is_none() {
                let statement = match (filter.kind, filter.cycle) {
                    (Some(_), None) => &pages::TRANSACTIONS_OF_KIND,
                    (None, None) => &pages::TRANSACTIONS,
                    (Some(_), Some(_)) => &pages::TRANSACTIONS_OF_KIND_AND_CYCLE,
                    (None, Some(_)) => &pages::TRANSACTIONS_OF_CYCLE,
                };
                let ask = query(statement.as_str()).bind(i64::from(filter.platform.0));
                let ask = ask.bind(filter.created_after.map_or(i64::MIN, |after| after.0));
                let (at, kind, id, version, entry, line) = pages::before_line(filter);
                let ask = ask.bind(at).bind(kind).bind(id).bind(version).bind(entry).bind(line);
                let ask = ask.bind(i64::from(filter.limit));
                let ask = match filter.kind {
                    Some(kind) => ask.bind(kind.name()),
                    None => ask,
                };
                return self.each::<LineKeyColumns, TransactionColumns>(match filter.cycle {
                    Some(cycle) => ask.bind(cycle.as_number()),
                    None => ask,
                });
            }
            // An order has few lines. The plus keeps them from being looked for among all of its platform's.
            let mut ask = QueryBuilder::<$database>::new(TRANSACTIONS_OF_ORDER);
            ask.push_bind(i64::from(filter.platform.0));
            if let Some(kind) = filter.kind {
                ask.push(" AND l.transaction_kind = ").push_bind(kind.name());
            }
            let order = filter.order.into_iter().chain(filter.refund.map(|refund| refund.order));
            for order in order {
                let (kind, id) = stream_key(order.into());
                ask.push(" AND l.kind = ").push_bind(kind).push(" AND l.id = ").push_bind(id);
            }
            if let Some(refund) = filter.refund {
                ask.push(" AND l.refund = ").push_bind(i64::from(u8::from(refund.ordinal)));
                ask.push(" AND r.incarnation = ").push_bind(i64::from(u16::from(refund.incarnation)));
            }
            if let Some(cycle) = filter.cycle {
                ask.push(" AND l.cycle = ").push_bind(cycle.as_number());
            }
            if let Some(after) = filter.created_after {
                ask.push(" AND l.at > ").push_bind(after.0);
            }
            if let Some(before) = filter.created_before {
                ask.push(" AND l.at < ").push_bind(before.0);
            }
            if let Some((at, place)) = filter.before {
                let (kind, id) = stream_key(place.stream);
                ask.push(" AND (l.at, l.kind, l.id, l.version, l.entry, l.line) < (").push_bind(at.0);
                ask.push(", ").push_bind(kind).push(", ").push_bind(id);
                for number in [place.version, place.entry, place.line] {
                    ask.push(", ").push_bind(i64::from(number));
                }
                ask.push(")");
            }
            ask.push(" ORDER BY l.at DESC, l.kind DESC, l.id DESC, l.version DESC, l.entry DESC, l.line DESC LIMIT ");
            ask.push_bind(i64::from(filter.limit));
            Box::pin(async move {
                let read = |pool| async move { ask.build().fetch_all(&pool).await.map_err(reading_fault) };
                let rows = self.lanes.read(read).await?;
                Ok(rows.iter().map(seen::<LineKeyColumns, TransactionColumns>).collect())
            })
        }

        fn platform(&self, id: PlatformId) -> Reply<'_, Option<StoredPlatform>> {
            self.maybe(query_as::<_, PlatformColumns>(PLATFORM).bind(i64::from(id.0)))
        }

        fn head(&self, stream: StreamId) -> Reply<'_, Option<StoredHead>> {
            let (kind, id) = stream_key(stream);
            self.maybe(query_as::<_, HeadColumns>(HEAD).bind(kind).bind(id))
        }

        fn journal(&self, stream: StreamId) -> Reply<'_, Vec<JournalRow>> {
            let (kind, id) = stream_key(stream);
            self.all(query_as::<_, JournalColumns>(JOURNAL).bind(kind).bind(id))
        }

        fn journal_page(&self, stream: StreamId, after: u32, limit: u32) -> Reply<'_, Vec<JournalRow>> {
            let (kind, id) = stream_key(stream);
            let ask = query_as::<_, JournalColumns>(JOURNAL_PAGE).bind(kind).bind(id);
            self.all(ask.bind(i64::from(after)).bind(i64::from(limit)))
        }

        fn due(&self, after: Option<Due>, until: Instant, limit: u32) -> Reply<'_, Vec<Due>> {
            let start = (i64::MIN, (0, Uuid::nil()));
            let (due_at, (kind, id)) = after.map_or(start, |after| (after.due_at.0, stream_key(after.stream)));
            let ask = query(DUE).bind(until.0).bind(due_at).bind(kind).bind(id);
            self.readable::<DueColumns>("heads", ask.bind(i64::from(limit)))
        }

        fn messages_to(&self, stream: StreamId) -> Reply<'_, Vec<Seen<MessageKey, StoredMessage>>> {
            let (kind, id) = stream_key(stream);
            self.each::<MessageKeyColumns, MessageColumns>(query(MESSAGES_TO).bind(kind).bind(id))
        }

        fn messages_due(
            &self,
            after: Option<MessageKey>,
            limit: u32,
        ) -> Reply<'_, Vec<Seen<MessageKey, StoredMessage>>> {
            let start = ((0, Uuid::nil()), (0, Uuid::nil()), -1);
            let ((to_kind, to_id), (from_kind, from_id), number) =
                after.map_or(start, |after| (stream_key(after.to), stream_key(after.from), i64::from(after.number)));
            let ask = query(MESSAGES_DUE).bind(to_kind).bind(to_id).bind(from_kind).bind(from_id).bind(number);
            self.each::<MessageKeyColumns, MessageColumns>(ask.bind(i64::from(limit)))
        }

        fn inbox(&self, order: OrderId) -> Reply<'_, Vec<Seen<i64, StoredInboxRow>>> {
            self.each::<InboxKey, InboxColumns>(query(INBOX).bind(key(order)))
        }

        fn inbox_rows(&self, after: i64, limit: u32) -> Reply<'_, Vec<Seen<i64, StoredInboxRow>>> {
            self.each::<InboxKey, InboxColumns>(query(INBOX_ROWS).bind(after).bind(i64::from(limit)))
        }

        fn inbox_size_of(&self, order: OrderId) -> Reply<'_, i64> {
            self.one(query_as::<_, NumberColumn>(INBOX_SIZE_OF).bind(key(order)))
        }

        fn inbox_orders(&self, after: Option<OrderId>, limit: u32) -> Reply<'_, Vec<OrderId>> {
            let after = after.map_or(Uuid::nil(), key);
            self.readable::<OrderIdColumn>("inbox", query(INBOX_ORDERS).bind(after).bind(i64::from(limit)))
        }

        fn answer<'a>(&'a self, platform: PlatformId, key: &'a str) -> Reply<'a, Option<KeptAnswer>> {
            self.maybe(query_as::<_, AnswerColumns>(ANSWER).bind(i64::from(platform.0)).bind(key.to_owned()))
        }

        fn forget_answers(&self, before: Instant, limit: u32) -> Reply<'_, u64> {
            self.change(query(FORGET_ANSWERS).bind(before.0).bind(i64::from(limit)))
        }

        fn last_channels<'a>(&'a self, payers: &'a [PayerMark]) -> Reply<'a, Vec<LastChannel>> {
            if payers.is_empty() {
                return Box::pin(async { Ok(Vec::new()) });
            }
            let mut ask = QueryBuilder::<$database>::new(LAST_CHANNELS);
            let mut marks = ask.separated(", ");
            for payer in payers {
                marks.push_bind(payer.0.to_vec());
            }
            ask.push(")");
            Box::pin(async move {
                let read = |pool| async move { ask.build().fetch_all(&pool).await.map_err(reading_fault) };
                let rows = self.lanes.read(read).await?;
                let rows = rows.iter().map(read_row::<LastChannelColumns>);
                Ok(rows.filter_map(|row| passed_over("payer_channels", row)).collect())
            })
        }

        fn forget_last_channels(&self, before: Instant, limit: u32) -> Reply<'_, u64> {
            self.change(query(FORGET_LAST_CHANNELS).bind(before.0).bind(i64::from(limit)))
        }

        fn outbox<'a>(
            &'a self,
            now: Instant,
            after: Option<OutboxPlace>,
            limit: u32,
        ) -> Reply<'a, Vec<Seen<OutboxPlace, OutboxItem>>> {
            let start = (i64::MIN, (0, Uuid::nil()), 0);
            let (next_at, (kind, id), sequence) =
                after.map_or(start, |(next_at, stream, sequence)| (next_at.0, stream_key(stream), i64::from(sequence)));
            let ask = query(OUTBOX).bind(now.0).bind(next_at).bind(kind).bind(id).bind(sequence);
            self.each::<OutboxKey, OutboxColumns>(ask.bind(i64::from(limit)))
        }

        fn dead_letters(
            &self,
            after: Option<(StreamId, u32)>,
            limit: u32,
        ) -> Reply<'_, Vec<Seen<(StreamId, u32), DeadLetter>>> {
            let start = ((0, Uuid::nil()), -1);
            let ((kind, id), sequence) =
                after.map_or(start, |(stream, sequence)| (stream_key(stream), i64::from(sequence)));
            let ask = query(DEAD_LETTERS).bind(kind).bind(id).bind(sequence);
            self.each::<DeadLetterKey, DeadLetterColumns>(ask.bind(i64::from(limit)))
        }

        fn hasten_outbox(&self, by_ms: i64, now: Instant) -> Reply<'_, u64> {
            self.change(query(HASTEN).bind(by_ms).bind(now.0))
        }

        fn platform_by_name<'a>(&'a self, name: &'a str) -> Reply<'a, Option<StoredPlatform>> {
            self.maybe(query_as::<_, PlatformColumns>(PLATFORM_BY_NAME).bind(name.to_owned()))
        }

        fn platforms(&self) -> Reply<'_, Vec<Seen<PlatformId, StoredPlatform>>> {
            self.each::<PlatformKey, PlatformColumns>(query(PLATFORMS))
        }

        fn last_platform(&self) -> Reply<'_, Option<PlatformId>> {
            self.maybe(query_as::<_, PlatformKey>(LAST_PLATFORM))
        }

        fn accounts_owing(&self) -> Reply<'_, Vec<Account>> {
            self.all(query_as::<_, AccountColumns>(ACCOUNTS_OWING))
        }

        fn debt_bound(&self, platform: PlatformId, currency: Currency) -> Reply<'_, Option<i64>> {
            let ask = query_as::<_, NumberColumn>(DEBT_BOUND).bind(i64::from(platform.0));
            self.maybe(ask.bind(currency.code().to_owned()))
        }

        fn share_receivers<'a>(
            &'a self,
            names: &'a [&'a str],
            from: PlatformId,
        ) -> Reply<'a, BTreeMap<String, PlatformId>> {
            if names.is_empty() {
                return Box::pin(async { Ok(BTreeMap::new()) });
            }
            let mut ask = QueryBuilder::<$database>::new(SHARE_RECEIVERS);
            ask.push_bind(i64::from(from.0)).push(" WHERE f.name IN (");
            let mut asked = ask.separated(", ");
            for name in names {
                asked.push_bind((*name).to_owned());
            }
            ask.push(")");
            Box::pin(async move {
                let read = |pool| async move { ask.build().fetch_all(&pool).await.map_err(reading_fault) };
                let rows = self.lanes.read(read).await?;
                rows.iter().map(read_row::<NamedPlatformColumns>).collect()
            })
        }

        fn share_consents(&self) -> Reply<'_, Vec<(PlatformId, PlatformId)>> {
            self.all(query_as::<_, ConsentColumns>(SHARE_CONSENTS))
        }

        fn key_owner<'a>(&'a self, key_hash: &'a [u8; 32]) -> Reply<'a, Option<PlatformId>> {
            self.maybe(query_as::<_, PlatformKey>(KEY_OWNER).bind(key_hash.to_vec()))
        }

        fn keys(&self, platform: PlatformId) -> Reply<'_, Vec<KeyRow>> {
            self.all(query_as::<_, KeyColumns>(KEYS).bind(i64::from(platform.0)))
        }

        fn heads<'a>(
            &'a self,
            kind: Kind,
            state: Option<&'a str>,
            before: Option<u128>,
            limit: u32,
        ) -> Reply<'a, Vec<(StreamId, Box<str>)>> {
            let before = Uuid::from_u128(before.unwrap_or(u128::MAX));
            let ask = query_as::<_, HeadSnapshotColumns>(HEADS).bind(i64::from(kind.0)).bind(before);
            self.all(ask.bind(state.unwrap_or_default().to_owned()).bind(i64::from(limit)))
        }

        fn operator_by_key<'a>(&'a self, key_hash: &'a [u8; 32]) -> Reply<'a, Option<(StoredOperator, operator::Key)>> {
            self.maybe(query_as::<_, KeyedOperatorColumns>(OPERATOR_BY_KEY).bind(key_hash.to_vec()))
        }

        fn operator_by_name<'a>(&'a self, name: &'a str) -> Reply<'a, Option<StoredOperator>> {
            self.maybe(query_as::<_, OperatorColumns>(OPERATOR_BY_NAME).bind(name.to_owned()))
        }

        fn last_operator(&self) -> Reply<'_, Option<OperatorId>> {
            self.maybe(query_as::<_, OperatorNumber>(LAST_OPERATOR))
        }

        fn operator_key_owner<'a>(&'a self, key_hash: &'a [u8; 32]) -> Reply<'a, Option<OperatorId>> {
            self.maybe(query_as::<_, OperatorNumber>(OPERATOR_KEY_OWNER).bind(key_hash.to_vec()))
        }

        fn operators(&self) -> Reply<'_, Vec<Seen<OperatorId, StoredOperator>>> {
            self.each::<OperatorNumber, OperatorColumns>(query(OPERATORS))
        }

        fn operator_keys(&self, operator: OperatorId) -> Reply<'_, Vec<OperatorKeyRow>> {
            self.all(query_as::<_, OperatorKeyColumns>(OPERATOR_KEYS).bind(i64::from(operator.0)))
        }

        fn operators_in_force(&self, role: Role, now: Instant) -> Reply<'_, i64> {
            self.one(query_as::<_, NumberColumn>(OPERATORS_IN_FORCE).bind(role.name()).bind(now.0))
        }

        fn operator_acts(&self, before: Option<u128>, limit: u32) -> Reply<'_, Vec<OperatorAct>> {
            let before = Uuid::from_u128(before.unwrap_or(u128::MAX));
            self.all(query_as::<_, OperatorActColumns>(OPERATOR_ACTS).bind(before).bind(i64::from(limit)))
        }

        fn kept_setting<'a>(&'a self, name: &'a str) -> Reply<'a, Option<String>> {
            let ask = query_as::<_, TextColumn>(KEPT_SETTING).bind(name.to_owned());
            Box::pin(async move { Ok(self.maybe(ask).await?.map(String::from)) })
        }

        fn setting<'a>(&'a self, name: &'a str, value: &'a str) -> Reply<'a, String> {
            let ask = query_as::<_, TextColumn>(SETTING).bind(name.to_owned()).bind(value.to_owned());
            Box::pin(async move {
                let kept = self.written(ask).await?;
                kept.map(String::from).ok_or_else(|| StoreError::Corrupt("a setting was not kept".to_owned()))
            })
        }

        fn balances(&self) -> Reply<'_, Vec<Balance>> {
            let ask = self.all(query_as::<_, LaneBalance>(BALANCES));
            Box::pin(async move { Balance::over_lanes(ask.await?) })
        }

        fn balances_by_lane(&self) -> Reply<'_, Vec<LaneBalance>> {
            self.all(query_as::<_, LaneBalance>(BALANCES))
        }

        fn sums_of_lines(&self) -> Reply<'_, Vec<SumOfLines>> {
            self.all(query_as::<_, SumOfLines>(SUMS_OF_LINES))
        }

        fn places(&self) -> Reply<'_, Vec<Places>> {
            self.all(query_as::<_, Places>(PLACES))
        }

        fn channel_totals(&self) -> Reply<'_, Vec<ChannelTotal>> {
            self.all(query_as::<_, ChannelTotal>(CHANNEL_TOTALS))
        }

        fn counts_by_state(&self) -> Reply<'_, Vec<Count>> {
            self.all(query_as::<_, Count>(COUNTS_BY_STATE))
        }

        fn scan(&self, after: Option<OrderId>, limit: u32) -> Reply<'_, Vec<Seen<OrderId, Order>>> {
            let limit = i64::from(limit);
            self.each::<IdColumn, SnapshotColumns>(match after {
                None => query(SCAN_FROM_START).bind(limit),
                Some(after) => query(SCAN).bind(key(after)).bind(limit),
            })
        }

        fn entries(&self, stream: StreamId) -> Reply<'_, Vec<StoredEntry>> {
            let (kind, id) = stream_key(stream);
            let ask = query_as::<_, LineColumns>(LINES).bind(kind).bind(id);
            Box::pin(async move {
                let read = |pool| async move { ask.fetch_all(&pool).await.map_err(reading_fault) };
                Ok(entries(self.lanes.read(read).await?))
            })
        }

        fn outbox_size(&self) -> Reply<'_, i64> {
            self.one(query_as::<_, NumberColumn>(OUTBOX_SIZE))
        }

        fn inbox_size(&self) -> Reply<'_, i64> {
            self.one(query_as::<_, NumberColumn>(INBOX_SIZE))
        }
    };
}

pub(super) use {questions, statements};
