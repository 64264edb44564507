-- The store of Tongbao on SQLite.
--
-- Instants are milliseconds since 1970-01-01T00:00:00Z, money is in minor units, an order's id is the 16 bytes of its
-- UUID. Tables that are looked up by their whole key have no row number: their rows lie in the order of the key, and
-- because ids grow with time, what is written together lies together. There are no foreign keys on the way of an
-- order: its rows come from one step, in one commit.

-- One row: which process may write, and how far it has got. Every commit begins by changing it.
CREATE TABLE owner (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    epoch        INTEGER NOT NULL,
    beat         INTEGER NOT NULL,
    group_number INTEGER NOT NULL,
    -- Drawn anew at each take-over, from 0 to 16383: numbers of attempts and refunds hold it.
    incarnation  INTEGER NOT NULL,
    holder       TEXT    NOT NULL,
    -- When it last wrote, by its owner's clock: a start compares its own with it.
    at           INTEGER NOT NULL
) STRICT;
INSERT INTO owner (id, epoch, beat, group_number, incarnation, holder, at) VALUES (1, 0, 0, 0, 0, '', 0);

CREATE TABLE platforms (
    id             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    fee_bearer     TEXT NOT NULL CHECK (fee_bearer IN ('payer', 'platform')),
    webhook_secret TEXT NOT NULL,
    webhook_url    TEXT
) STRICT;

-- Only hashes of keys are kept.
CREATE TABLE keys (
    hash        BLOB    PRIMARY KEY CHECK (length(hash) = 32),
    platform_id INTEGER NOT NULL REFERENCES platforms (id),
    hint        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT, WITHOUT ROWID;

-- An order is loaded from its snapshot; the columns beside it are what rows are found by, and what was asked for.
CREATE TABLE orders (
    id                BLOB    PRIMARY KEY CHECK (length(id) = 16),
    platform_id       INTEGER NOT NULL,
    merchant_order_id TEXT    NOT NULL,
    state             TEXT    NOT NULL,
    -- Of the attempt that matters, or else of the last one.
    channel           TEXT,
    version           INTEGER NOT NULL,
    currency          TEXT    NOT NULL,
    amount_minor      INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,
    -- When the order next owes the world something; null when it owes nothing.
    next_due_at       INTEGER,
    request           TEXT    NOT NULL,
    webhook_url       TEXT,
    -- May hold a channel's secret; wiped when the order is final.
    next_action       TEXT,
    snapshot          TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX orders_by_merchant_id ON orders (platform_id, merchant_order_id);
CREATE INDEX orders_by_platform ON orders (platform_id, id);
CREATE INDEX orders_due ON orders (next_due_at, id) WHERE next_due_at IS NOT NULL;

-- Who pays, apart from everything else, so that it can be erased. Ordinal -1 is who the order was created with; another
-- one is who was named for that attempt and for those after it, until somebody else is named.
CREATE TABLE payers (
    order_id BLOB    NOT NULL,
    ordinal  INTEGER NOT NULL,
    payer    TEXT    NOT NULL,
    PRIMARY KEY (order_id, ordinal)
) STRICT, WITHOUT ROWID;

-- The canonical JSON of each step's events, byte for byte.
CREATE TABLE journal (
    order_id BLOB    NOT NULL,
    version  INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    PRIMARY KEY (order_id, version)
) STRICT, WITHOUT ROWID;

-- The business fields that each attempt's request was first sent with. The columns beside them are for people.
CREATE TABLE attempts (
    order_id      BLOB    NOT NULL,
    ordinal       INTEGER NOT NULL,
    channel       TEXT    NOT NULL,
    account       TEXT    NOT NULL,
    payable_minor INTEGER NOT NULL,
    opened_at     INTEGER NOT NULL,
    frozen        TEXT    NOT NULL,
    PRIMARY KEY (order_id, ordinal)
) STRICT, WITHOUT ROWID;

-- Money that a channel says it took: no reference of an account is ever booked twice.
CREATE TABLE captures (
    channel      TEXT    NOT NULL,
    account      TEXT    NOT NULL,
    reference    TEXT    NOT NULL,
    order_id     BLOB    NOT NULL,
    ordinal      INTEGER NOT NULL,
    currency     TEXT    NOT NULL,
    amount_minor INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (channel, account, reference)
) STRICT, WITHOUT ROWID;

-- Balanced entries; lines is [["account", amount], …].
CREATE TABLE entries (
    order_id BLOB    NOT NULL,
    version  INTEGER NOT NULL,
    place    INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    currency TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    lines    TEXT    NOT NULL,
    PRIMARY KEY (order_id, version, place)
) STRICT, WITHOUT ROWID;

-- Webhooks that were not delivered yet. The body is what every try sends, rendered when the fact was committed.
CREATE TABLE outbox (
    order_id    BLOB    NOT NULL CHECK (length(order_id) = 16),
    sequence    INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    tries       INTEGER NOT NULL DEFAULT 0,
    -- Null in a dead letter.
    next_at     INTEGER,
    why         TEXT    NOT NULL DEFAULT '',
    platform_id INTEGER NOT NULL,
    url         TEXT    NOT NULL,
    trace       BLOB    NOT NULL CHECK (length(trace) = 16),
    body        BLOB    NOT NULL,
    PRIMARY KEY (order_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (next_at, order_id, sequence);

-- Verified callbacks that no order could take yet: what they tell, and the bytes it was read from. The same again is
-- kept once. A number is never used again.
CREATE TABLE inbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    reason   TEXT    NOT NULL,
    channel  TEXT    NOT NULL,
    account  TEXT    NOT NULL,
    number   TEXT    NOT NULL,
    order_id BLOB,
    body     BLOB    NOT NULL,
    raw      BLOB    NOT NULL,
    digest   BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    at       INTEGER NOT NULL
) STRICT;
CREATE INDEX inbox_by_order ON inbox (order_id, id);

-- Requests under an Idempotency-Key. The row is written with what the request did; status and body follow with the
-- answer. The body has no next_action: it may hold a channel's secret, and stands in the order's row.
CREATE TABLE answers (
    platform_id INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    order_id    BLOB    NOT NULL CHECK (length(order_id) = 16),
    status      INTEGER,
    body        TEXT,
    at          INTEGER NOT NULL,
    CHECK ((status IS NULL) = (body IS NULL)),
    PRIMARY KEY (platform_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_by_age ON answers (at);

-- What a payer paid by last, on whatever platform, under a keyed hash of one of the payer's names: nobody is known by
-- it without the key. Rows are forgotten by age.
CREATE TABLE payer_channels (
    payer   BLOB    PRIMARY KEY CHECK (length(payer) = 16),
    channel TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX payer_channels_by_age ON payer_channels (at);

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
