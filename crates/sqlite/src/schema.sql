-- Version 1. Instants are milliseconds since 1970; JSON is text.

CREATE TABLE heartbeats (
    fleet    TEXT NOT NULL,
    host     TEXT NOT NULL,
    region   TEXT NOT NULL,
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    interval INTEGER NOT NULL,
    signal   INTEGER NOT NULL, -- of the last beat: 0 ok, 1 fail
    failed   INTEGER,          -- the last failure
    message  TEXT,             -- what came with it
    PRIMARY KEY (fleet, host, region)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger (
    fleet   TEXT NOT NULL,
    host    TEXT NOT NULL,
    version INTEGER NOT NULL,
    writer  TEXT NOT NULL,
    open    INTEGER NOT NULL, -- 1 when a sweep must know the entry
    entry   TEXT NOT NULL,
    PRIMARY KEY (fleet, host)
) STRICT;

CREATE INDEX ledger_open ON ledger (fleet, host) WHERE open = 1;

CREATE TABLE keys (
    id       TEXT NOT NULL PRIMARY KEY,
    name     TEXT NOT NULL,
    hash     BLOB NOT NULL, -- SHA-256 of the secret
    fleet    TEXT NOT NULL,
    scope    TEXT NOT NULL,
    prefixes TEXT NOT NULL, -- JSON
    created  INTEGER NOT NULL,
    expires  INTEGER,
    revoked  INTEGER
) STRICT;

CREATE TABLE subscriptions (
    id       TEXT NOT NULL PRIMARY KEY,
    protocol TEXT NOT NULL,
    address  TEXT NOT NULL,
    filter   TEXT NOT NULL, -- JSON
    created  INTEGER NOT NULL
) STRICT;

CREATE TABLE notices (
    identity TEXT NOT NULL PRIMARY KEY,
    id       TEXT NOT NULL,
    notice   TEXT NOT NULL, -- JSON
    accepted INTEGER NOT NULL
) STRICT;

CREATE INDEX notices_accepted ON notices (accepted);

-- `due` is the head of the queue of its subscription and host: to be sent from the instant `due` on. While `owner`
-- holds it, that instant is the end of the lease. `waiting` stands behind a head, `delivered` and `dead` are over.
CREATE TABLE deliveries (
    number       INTEGER PRIMARY KEY, -- the order of acceptance
    notice       TEXT NOT NULL,       -- its identity
    subscription TEXT NOT NULL,
    host         TEXT NOT NULL,       -- fleet/host
    accepted     INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('due', 'waiting', 'delivered', 'dead')),
    due          INTEGER NOT NULL,
    owner        TEXT,
    tries        INTEGER NOT NULL DEFAULT 0, -- that failed
    tried        INTEGER,                    -- when the last one ended
    error        TEXT,                       -- what it said
    UNIQUE (notice, subscription)
) STRICT;

-- Makes a second head impossible, and so `recovered` before `missing`.
CREATE UNIQUE INDEX deliveries_head ON deliveries (subscription, host) WHERE state = 'due';
CREATE INDEX deliveries_due ON deliveries (subscription, due) WHERE state = 'due';
CREATE INDEX deliveries_waiting ON deliveries (subscription, host, number) WHERE state = 'waiting';
CREATE INDEX deliveries_over ON deliveries (accepted) WHERE state IN ('delivered', 'dead');

CREATE TABLE system (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
