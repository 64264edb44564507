-- The store of Tongbao on PostgreSQL.
--
-- Instants are milliseconds since 1970-01-01T00:00:00Z, money is in minor units, an order's id is its UUID. There
-- are no foreign keys on the way of an order: its rows come from one step, in one commit.

-- One row per lane, a writer of some partitions: which process may write, and how far it has got. Every commit begins by
-- changing its lane's row. One process has all lanes. The number of a lane that has retired is never given again.
CREATE TABLE lanes (
    lane         BIGINT PRIMARY KEY,
    epoch        BIGINT NOT NULL,
    beat         BIGINT NOT NULL,
    group_number BIGINT NOT NULL,
    -- Drawn anew at each take-over, from 0 to 16383: numbers of attempts and refunds hold it.
    incarnation  BIGINT NOT NULL,
    holder       TEXT   NOT NULL,
    -- When it last wrote, by its owner's clock: a start compares its own with it.
    at           BIGINT NOT NULL,
    -- The place that its next journal row has: they are dense. 0 is its birth.
    next_place   BIGINT NOT NULL,
    -- 1: it writes nothing any more.
    retired      BIGINT NOT NULL CHECK (retired IN (0, 1))
);
INSERT INTO lanes (lane, epoch, beat, group_number, incarnation, holder, at, next_place, retired)
    VALUES (1, 0, 0, 0, 0, '', 0, 0, 0);

-- Which lane writes the streams of a partition.
CREATE TABLE partitions (
    number BIGINT PRIMARY KEY CHECK (number BETWEEN 0 AND 1023),
    lane   BIGINT NOT NULL
);
INSERT INTO partitions (number, lane) SELECT number, 1 FROM generate_series(0, 1023) AS n (number);

-- Who posts orders. Rows of a platform and its keys are written with its steps; what it is, but for the secret, stands in
-- its head and its journal too.
CREATE TABLE platforms (
    id             BIGINT PRIMARY KEY,
    name           TEXT   NOT NULL UNIQUE,
    fee_bearer     TEXT   NOT NULL CHECK (fee_bearer IN ('payer', 'platform')),
    webhook_secret TEXT   NOT NULL,
    webhook_url    TEXT
);

-- Only hashes of keys are kept.
CREATE TABLE keys (
    hash        BYTEA  PRIMARY KEY CHECK (length(hash) = 32),
    platform_id BIGINT NOT NULL REFERENCES platforms (id),
    hint        TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    revoked_at  BIGINT
);

-- Persons who work on the payments of others, with a role each. Rows of an operator and the keys are written with the
-- operator's steps; what they say stands in its head and its journal too.
CREATE TABLE operators (
    id   BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL
);

-- Only hashes of keys are kept. A key is one operator's for ever.
CREATE TABLE operator_keys (
    hash        BYTEA   PRIMARY KEY CHECK (length(hash) = 32),
    operator_id BIGINT  NOT NULL REFERENCES operators (id),
    hint        TEXT    NOT NULL,
    created_at  BIGINT  NOT NULL,
    -- Null: until it is revoked.
    expires_at  BIGINT,
    revoked_at  BIGINT
);

-- What operators did and what was refused them, by an id that grows with time. Rows are only ever added.
CREATE TABLE operator_acts (
    id       UUID    PRIMARY KEY,
    at       BIGINT  NOT NULL,
    operator TEXT    NOT NULL,
    act      TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    outcome  TEXT    NOT NULL
);

-- From whom a platform has agreed to get shares. Its head and its journal say so too.
CREATE TABLE share_consents (
    platform_id BIGINT NOT NULL,
    from_id     BIGINT NOT NULL,
    PRIMARY KEY (platform_id, from_id)
);

-- What platforms may owe after refunds; null is any debt. Their heads and journals say so too.
CREATE TABLE debt_bounds (
    platform_id BIGINT NOT NULL,
    currency    TEXT NOT NULL,
    most_minor  BIGINT,
    PRIMARY KEY (platform_id, currency)
);

-- The changing part of every stream: what has a state, decides on events and keeps a journal of them. It is loaded from
-- its snapshot; the columns beside it are what rows are found by. Kind 1 is orders, kind 2 platforms, kind 3
-- operators, kind 4 proposals. No index has a column that a step
-- changes, and half of every page is left free: so a step's row stays on its page, and no index hears of it.
CREATE TABLE heads (
    kind        BIGINT NOT NULL,
    id          UUID   NOT NULL,
    version     BIGINT NOT NULL,
    state       TEXT   NOT NULL,
    -- What lists filter by besides: the channel of an order's attempt that matters, or else of its last one.
    facet       TEXT,
    -- When the stream next owes the world something; null when it owes nothing.
    next_due_at BIGINT,
    -- Of the owner under which the last step was taken.
    epoch       BIGINT NOT NULL,
    -- What remains to be done by whoever the stream waits for. It may hold a channel's secret, and is wiped with the
    -- order's end.
    next_action TEXT,
    snapshot    TEXT   NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 50);

-- What heads say of when they are due, as an index.
CREATE TABLE due (
    next_due_at BIGINT NOT NULL,
    kind        BIGINT NOT NULL,
    id          UUID   NOT NULL,
    PRIMARY KEY (next_due_at, kind, id)
);

-- The fixed part of an order: what was asked for, and by whom.
CREATE TABLE orders (
    id                UUID   PRIMARY KEY,
    platform_id       BIGINT NOT NULL,
    merchant_order_id TEXT   NOT NULL,
    currency          TEXT   NOT NULL,
    amount_minor      BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    request           TEXT   NOT NULL,
    webhook_url       TEXT
);
CREATE UNIQUE INDEX orders_by_merchant_id ON orders (platform_id, merchant_order_id);
CREATE INDEX orders_by_platform ON orders (platform_id, id);

-- Who pays, apart from everything else, so that it can be erased. Ordinal -1 is who the order was created with; another
-- one is who was named for that attempt and for those after it, until somebody else is named.
CREATE TABLE payers (
    order_id UUID   NOT NULL,
    ordinal  BIGINT NOT NULL,
    payer    TEXT   NOT NULL,
    PRIMARY KEY (order_id, ordinal)
);

-- A row for each step of a stream. Its body is one object in canonical JSON, byte for byte, of any kind of stream: form,
-- kind, stream, version, at, salt and events; the columns beside it say the same. The place is that of the row in its
-- lane, in the order in which rows were committed; place 0 is the lane's birth, of kind 0.
CREATE TABLE journal (
    kind    BIGINT NOT NULL,
    id      UUID   NOT NULL,
    version BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    body    BYTEA  NOT NULL,
    lane    BIGINT NOT NULL,
    place   BIGINT NOT NULL,
    PRIMARY KEY (kind, id, version),
    UNIQUE (lane, place)
);

-- The business fields that each attempt's request was first sent with. The columns beside them are for people.
CREATE TABLE attempts (
    order_id      UUID   NOT NULL,
    ordinal       BIGINT NOT NULL,
    channel       TEXT   NOT NULL,
    account       TEXT   NOT NULL,
    payable_minor BIGINT NOT NULL,
    opened_at     BIGINT NOT NULL,
    frozen        TEXT   NOT NULL,
    PRIMARY KEY (order_id, ordinal)
);

-- Money that a channel says it took: no reference of an account is ever booked twice.
CREATE TABLE captures (
    channel      TEXT   NOT NULL,
    account      TEXT   NOT NULL,
    reference    TEXT   NOT NULL,
    order_id     UUID   NOT NULL,
    ordinal      BIGINT NOT NULL,
    currency     TEXT   NOT NULL,
    amount_minor BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    effective_at BIGINT NOT NULL,
    -- As 20261130, by the channel's calendar.
    bill_day     BIGINT NOT NULL,
    PRIMARY KEY (channel, account, reference)
);

-- The lines of balanced entries of any stream, by the version that booked them, the entry's number there and the line's
-- number in it. Lane and place are those of the journal's row, and so is the instant `at`. A line of a platform is its
-- balance transaction.
CREATE TABLE lines (
    kind             BIGINT NOT NULL,
    id               UUID NOT NULL,
    version          BIGINT NOT NULL,
    entry            BIGINT NOT NULL,
    line             BIGINT NOT NULL,
    entry_kind       TEXT NOT NULL,
    account          TEXT NOT NULL,
    currency         TEXT NOT NULL,
    amount_minor     BIGINT NOT NULL,
    lane             BIGINT NOT NULL,
    place            BIGINT NOT NULL,
    at               BIGINT NOT NULL,
    -- When the money moved by its channel's clock, and the day of the bill that it stands in, as 20261130.
    effective_at     BIGINT NOT NULL,
    bill_day         BIGINT NOT NULL,
    -- Which cycle of its calendar a platform's line belongs to: the calendar's number times 2^32, and the cycle's number
    -- there; 0 where it is settled by no cycle.
    cycle            BIGINT NOT NULL,
    -- Of a platform's line: what it is to the platform, and the other platform where there is one.
    transaction_kind TEXT,
    platform_id      BIGINT,
    counterparty     BIGINT,
    -- The refund that it is about, by its ordinal.
    refund           BIGINT,
    PRIMARY KEY (kind, id, version, entry, line)
);
-- By type, so that a page of one type reads no other's lines; a page of all types merges them (`store::pages`). A second
-- index by time alone would cost every payment.
CREATE INDEX lines_by_platform ON lines (platform_id, transaction_kind, at, kind, id, version, entry, line)
    WHERE platform_id IS NOT NULL;

-- The sums that a lane keeps: of an account in a currency and a cycle, and of a platform's also by the total of a
-- settlement that its lines add to (the heading) and by the other platform. Where there is none, the heading is empty and
-- the counterparty 0; cycle 0 is no cycle. Those of a closed cycle are gone: over all lanes they were brought to zero.
CREATE TABLE ledger_accounts (
    lane         BIGINT NOT NULL,
    account      TEXT NOT NULL,
    currency     TEXT NOT NULL,
    cycle        BIGINT NOT NULL,
    heading      TEXT NOT NULL,
    counterparty BIGINT NOT NULL,
    PRIMARY KEY (lane, account, currency, cycle, heading, counterparty)
);

CREATE INDEX ledger_accounts_by_cycle ON ledger_accounts (cycle, account);

-- How a group left a sum that it booked on: that of the lane's lines up to this place. The last row of each lane makes
-- the sum. Rows are only ever added.
CREATE TABLE balances (
    lane         BIGINT NOT NULL,
    account      TEXT NOT NULL,
    currency     TEXT NOT NULL,
    cycle        BIGINT NOT NULL,
    heading      TEXT NOT NULL,
    counterparty BIGINT NOT NULL,
    place        BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    PRIMARY KEY (lane, account, currency, cycle, heading, counterparty, place)
);

-- Where in a lane a cycle ended: what the lane booked from this place on is of a later one. Number 0 is where a calendar
-- began. `ends_at` and the schedule are those of the cycle after it, by which the lane stamps what it books.
CREATE TABLE cuts (
    lane     BIGINT NOT NULL,
    calendar BIGINT NOT NULL,
    number   BIGINT NOT NULL,
    place    BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    ends_at  BIGINT NOT NULL,
    schedule TEXT NOT NULL,
    PRIMARY KEY (lane, calendar, number)
);

-- Which calendar a lane stamps a platform's lines by, where it is not the currency's own.
CREATE TABLE calendar_members (
    lane        BIGINT NOT NULL,
    platform_id BIGINT NOT NULL,
    currency    TEXT NOT NULL,
    calendar    BIGINT NOT NULL,
    PRIMARY KEY (lane, platform_id, currency)
);

-- What a platform had of a closed cycle. `totals` is JSON and never changes; the state and the payout are those of the
-- payee, which says so too. `number` counts a platform's settlements in a currency.
CREATE TABLE settlements (
    platform_id BIGINT NOT NULL,
    cycle       BIGINT NOT NULL,
    currency    TEXT NOT NULL,
    number      BIGINT NOT NULL,
    starts_at   BIGINT NOT NULL,
    ends_at     BIGINT NOT NULL,
    closed_at   BIGINT NOT NULL,
    totals      TEXT NOT NULL,
    state       TEXT NOT NULL,
    payout      BIGINT,
    PRIMARY KEY (platform_id, cycle)
);
CREATE UNIQUE INDEX settlements_by_number ON settlements (platform_id, currency, number);
CREATE INDEX settlements_by_cycle ON settlements (cycle, platform_id);

-- Payouts, as their payees left them. `body` is JSON: who proposed and approved it, what it pays, what the bank said.
CREATE TABLE payouts (
    platform_id  BIGINT NOT NULL,
    currency     TEXT NOT NULL,
    number       BIGINT NOT NULL,
    bank         TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    state        TEXT NOT NULL,
    -- The file for the bank that it stands in.
    file         TEXT,
    body         TEXT NOT NULL,
    PRIMARY KEY (platform_id, currency, number)
);
CREATE INDEX payouts_by_state ON payouts (state, bank, currency, platform_id, number);
CREATE INDEX payouts_by_file ON payouts (file, platform_id, number) WHERE file IS NOT NULL;

-- Where payees are paid to, apart from everything else. A number is never given twice; the last one that is in force
-- counts, and a payout keeps the one that it was approved with.
CREATE TABLE bank_details (
    platform_id BIGINT NOT NULL,
    currency    TEXT NOT NULL,
    number      BIGINT NOT NULL,
    details     TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    -- Null until another person has approved them.
    in_force_at BIGINT,
    PRIMARY KEY (platform_id, currency, number)
);

-- Which transfers of netting runs a platform pays or gets. What they are is in the snapshot of the cycle's run.
CREATE TABLE netting_parties (
    platform_id BIGINT NOT NULL,
    made_at     BIGINT NOT NULL,
    cycle       BIGINT NOT NULL,
    number      BIGINT NOT NULL,
    PRIMARY KEY (platform_id, made_at, cycle, number)
);

-- Platforms of whose closed cycle all is paid that they owed others, and others them. It stands beside the settlement,
-- whose row is its payee's to change.
CREATE TABLE settlements_netted (
    platform_id BIGINT NOT NULL,
    cycle       BIGINT NOT NULL,
    netted_at   BIGINT NOT NULL,
    PRIMARY KEY (platform_id, cycle)
);

-- Refunds that platforms asked for: what was asked, which never changes, and how far each has got, which is the order's
-- to say and stands here to be found. `refundable_minor` is what could have been asked for then. `parts` is JSON: a pair
-- of platform and amount for each party, the seller first.
CREATE TABLE refunds (
    order_id           UUID NOT NULL,
    ordinal            BIGINT NOT NULL,
    incarnation        BIGINT NOT NULL,
    platform_id        BIGINT NOT NULL,
    merchant_refund_id TEXT NOT NULL,
    currency           TEXT NOT NULL,
    amount_minor       BIGINT NOT NULL,
    refundable_minor   BIGINT NOT NULL,
    fee_minor          BIGINT NOT NULL,
    fee_policy         TEXT NOT NULL,
    parts              TEXT NOT NULL,
    reason             TEXT,
    channel            TEXT NOT NULL,
    account            TEXT NOT NULL,
    created_at         BIGINT NOT NULL,
    state              TEXT NOT NULL,
    attention          TEXT,
    failure            TEXT,
    reference          TEXT,
    finished_at        BIGINT,
    PRIMARY KEY (order_id, ordinal)
);
CREATE UNIQUE INDEX refunds_by_merchant_id ON refunds (platform_id, merchant_refund_id);
-- By state, as lines are by type.
CREATE INDEX refunds_by_platform ON refunds (platform_id, state, created_at, order_id, ordinal);

-- Orders with refunds that an operator should look at, and since when. A row comes and goes with the step that makes it
-- so; most refunds end without one.
CREATE TABLE stuck_refunds (
    order_id UUID NOT NULL PRIMARY KEY,
    since    BIGINT NOT NULL
);

-- Messages from stream to stream: written with the sender's step, and gone with the receiver's that takes it.
CREATE TABLE messages (
    to_kind   BIGINT NOT NULL,
    to_id     UUID   NOT NULL,
    from_kind BIGINT NOT NULL,
    from_id   UUID   NOT NULL,
    number    BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    body      BYTEA  NOT NULL,
    PRIMARY KEY (to_kind, to_id, from_kind, from_id, number)
);

-- Webhooks that were not delivered yet, by the stream that tells something and their number among all it ever tells. The body is what every try sends, rendered when the fact was committed.
CREATE TABLE outbox (
    kind         BIGINT NOT NULL,
    id           UUID   NOT NULL,
    sequence     BIGINT NOT NULL,
    webhook_kind TEXT   NOT NULL,
    at           BIGINT NOT NULL,
    tries        BIGINT NOT NULL DEFAULT 0,
    -- Null in a dead letter.
    next_at      BIGINT,
    why          TEXT   NOT NULL DEFAULT '',
    platform_id  BIGINT NOT NULL,
    url          TEXT   NOT NULL,
    trace        BYTEA  NOT NULL CHECK (octet_length(trace) = 16),
    body         BYTEA  NOT NULL,
    PRIMARY KEY (kind, id, sequence)
);
CREATE INDEX outbox_due ON outbox (next_at, kind, id, sequence);

-- Verified callbacks that no order could take yet: what they tell, and the bytes it was read from. The same again is
-- kept once. A number is never used again.
CREATE TABLE inbox (
    id       BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    reason   TEXT   NOT NULL,
    channel  TEXT   NOT NULL,
    account  TEXT   NOT NULL,
    number   TEXT   NOT NULL,
    order_id UUID,
    body     BYTEA  NOT NULL,
    raw      BYTEA  NOT NULL,
    digest   BYTEA  NOT NULL UNIQUE CHECK (length(digest) = 32),
    at       BIGINT NOT NULL
);
CREATE INDEX inbox_by_order ON inbox (order_id, id);

-- Requests under an Idempotency-Key. The row is written with what the request did; status and body follow with the
-- answer. The body has no next_action: it may hold a channel's secret, and stands in the order's row.
CREATE TABLE answers (
    platform_id BIGINT NOT NULL,
    key         TEXT   NOT NULL,
    fingerprint BYTEA  NOT NULL CHECK (length(fingerprint) = 32),
    order_id    UUID   NOT NULL,
    status      BIGINT,
    body        TEXT,
    at          BIGINT NOT NULL,
    CHECK ((status IS NULL) = (body IS NULL)),
    PRIMARY KEY (platform_id, key)
);
CREATE INDEX answers_by_age ON answers (at);

-- What a payer paid by last, on whatever platform, under a keyed hash of one of the payer's names: nobody is known by
-- it without the key. Rows are forgotten by age.
CREATE TABLE payer_channels (
    payer   BYTEA  PRIMARY KEY CHECK (length(payer) = 16),
    channel TEXT   NOT NULL,
    at      BIGINT NOT NULL
);
CREATE INDEX payer_channels_by_age ON payer_channels (at);

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Ends a commit from within its one statement, so that nothing of it happens.
CREATE FUNCTION refuse(state TEXT, why TEXT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = why;
END
$$;
