-- Version 2: records of all kinds are kept alike, the topic has echoes, and a delivery may concern many hosts.

CREATE TABLE records (
    key     TEXT NOT NULL PRIMARY KEY, -- fleet/host
    version INTEGER NOT NULL,
    writer  TEXT NOT NULL,
    open    INTEGER NOT NULL, -- 1 when a sweep must know the record
    record  TEXT NOT NULL     -- JSON
) STRICT;
INSERT INTO records (key, version, writer, open, record)
    SELECT fleet || '/' || host, version, writer, open, entry FROM ledger;
DROP TABLE ledger;
ALTER TABLE records RENAME TO ledger;
CREATE INDEX ledger_open ON ledger (key) WHERE open = 1;

CREATE TABLE digests (
    key     TEXT NOT NULL PRIMARY KEY, -- the id
    version INTEGER NOT NULL,
    writer  TEXT NOT NULL,
    open    INTEGER NOT NULL,
    record  TEXT NOT NULL
) STRICT;
CREATE INDEX digests_open ON digests (key) WHERE open = 1;

CREATE TABLE receivers (
    key     TEXT NOT NULL PRIMARY KEY, -- the region
    version INTEGER NOT NULL,
    writer  TEXT NOT NULL,
    open    INTEGER NOT NULL,
    record  TEXT NOT NULL
) STRICT;
CREATE INDEX receivers_open ON receivers (key) WHERE open = 1;

-- What was accepted before was told, or is: nobody waits for its echo.
ALTER TABLE notices ADD COLUMN echoed INTEGER NOT NULL DEFAULT 1;
CREATE INDEX notices_to_echo ON notices (identity) WHERE echoed = 0;

-- Each host that a delivery concerns which is not over. Of one subscription and host the lowest number goes first, so
-- that a digest and the notices of its hosts keep their order.
CREATE TABLE lanes (
    subscription TEXT NOT NULL,
    host         TEXT NOT NULL, -- fleet/host
    number       INTEGER NOT NULL,
    PRIMARY KEY (subscription, host, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX lanes_number ON lanes (number);
INSERT INTO lanes (subscription, host, number)
    SELECT subscription, host, number FROM deliveries WHERE state IN ('due', 'waiting');
CREATE TRIGGER lanes_end AFTER DELETE ON deliveries BEGIN
    DELETE FROM lanes WHERE number = OLD.number;
END;
DROP INDEX deliveries_waiting;
